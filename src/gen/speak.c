/* speak.c - tokens as text: streaming, end tokens, stop texts.  Owns nothing that outlives a call. */
#include "base/os.h"
#include "base/text.h"
#include "gen/session.h"
#include <string.h>

typedef struct speaker {
    const ry_speak_options *o;
    ry_decoder *decoder;   /* NULL: ids only */
    ry_text text;
    size_t shown;
    RY_VEC(int32_t) ids;
} speaker;

/* New text may complete a stop text: the earliest one ends the text. True: it did. */
static bool stopped(speaker *k, size_t was) {
    size_t at = SIZE_MAX;
    for (size_t i = 0; i < k->o->n_stop; i++) {
        size_t n = strlen(k->o->stop[i]), from = was >= n ? was - n + 1 : 0;
        for (; n && from + n <= k->text.n && from < at; from++)
            if (!memcmp(k->text.at + from, k->o->stop[i], n)) at = from;
    }
    if (at == SIZE_MAX) return false;
    k->text.n = at;
    k->text.at[at] = 0;
    return true;
}

/* How much of the text's end may be the beginning of a stop text. */
static size_t withheld(const speaker *k) {
    size_t most = 0;
    for (size_t i = 0; i < k->o->n_stop; i++) {
        size_t n = strlen(k->o->stop[i]);
        for (size_t m = n ? n - 1 : 0; m > most; m--)
            if (m <= k->text.n && !memcmp(k->text.at + k->text.n - m, k->o->stop[i], m)) most = m;
    }
    return most;
}

static void show(speaker *k, size_t to) {
    while (to > k->shown && to < k->text.n && ((unsigned char)k->text.at[to] & 0xC0) == 0x80) to--;
    if (to <= k->shown) return;
    if (k->o->on_text) k->o->on_text(k->o->ud, k->text.at + k->shown, to - k->shown);
    k->shown = to;
}

static ry_status take(speaker *k, const char *piece, size_t n, bool *over) {
    size_t was = k->text.n;
    ry_text_add(&k->text, piece, n);
    RY_TRY(ry_text_status(&k->text));
    if (!n) return RY_OK;
    *over = stopped(k, was);
    show(k, *over ? k->text.n : k->text.n - withheld(k));
    return RY_OK;
}

static bool is_end(const ry_session *s, const ry_speak_options *o, int32_t id) {
    for (size_t i = 0; i < o->n_end; i++)
        if (o->end[i] == id) return true;
    return ry_model_is_end(s->m, id);
}

static ry_status speak(speaker *k, ry_session *s, const ry_sampling *how, ry_ending *ending) {
    const ry_speak_options *o = k->o;
    const gen_sequence *q = &s->seq[s->at];
    bool over = false;
    const char *piece;
    size_t n;
    for (;;) {
        int32_t id;
        *ending = RY_ENDED_BY_LENGTH;
        if ((o->max_tokens && (int64_t)k->ids.n >= o->max_tokens) || (q->pending >= 0 && (int64_t)q->ids.n >= s->opt.context)) break;
        *ending = RY_ENDED_ON_REQUEST;
        if (o->cancel && *o->cancel) break;
        RY_TRY(ry_session_next(s, how, &id));
        *ending = RY_ENDED_BY_TOKEN;
        if (!o->ignore_end && is_end(s, o, id)) break;
        int32_t *slot = RY_PUSH(&k->ids);
        if (!slot) return RY_ENOMEM;
        *slot = id;
        if (!k->decoder) continue;
        RY_TRY(ry_decoder_next(k->decoder, id, &piece, &n));
        RY_TRY(take(k, piece, n, &over));
        *ending = RY_ENDED_BY_TEXT;
        if (over) return RY_OK;
    }
    if (!k->decoder) return RY_OK;
    RY_TRY(ry_decoder_end(k->decoder, &piece, &n));
    RY_TRY(take(k, piece, n, &over));
    if (over) *ending = RY_ENDED_BY_TEXT;
    show(k, k->text.n);
    return RY_OK;
}

ry_status ry_speak(ry_session *s, const ry_tokenizer *t, const ry_sampling *how, const ry_speak_options *o, ry_speech *out) {
    static const ry_speak_options none;
    speaker k = {.o = o ? o : &none};
    *out = (ry_speech){0};
    if (k.o->n_stop && !t) RY_FAIL(RY_EARG, "stop texts need a tokenizer");
    double began = os_now();
    ry_status st = t ? ry_decoder_open(&k.decoder, t, !k.o->keep_special) : RY_OK;
    if (t) ry_text_add(&k.text, "", 0);
    if (st == RY_OK) st = ry_text_status(&k.text);
    if (st == RY_OK) st = speak(&k, s, how, &out->ending);
    out->seconds = os_now() - began;
    ry_decoder_close(k.decoder);
    out->text = k.text.at, out->n_text = k.text.n;
    out->ids = k.ids.at, out->n_ids = k.ids.n;
    return st;
}

void ry_speech_free(ry_speech *s) {
    ry_mem_free(s->text);
    ry_mem_free(s->ids);
    *s = (ry_speech){0};
}
