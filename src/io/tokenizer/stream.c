/* stream.c - text while ids come one by one.  Owns the ids of a window, or bytes that wait for the rest of their character.
 *
 * With ByteLevel alone each id is some bytes. Else the text of a window of ids minus the text of its beginning, which was given before:
 * decoders treat the first string in a way of its own, so the beginning must have given some text. A run of ByteFallback's bytes is held
 * back, for it is characters or is not only as a whole. */
#include <string.h>
#include "io/tokenizer/steps.h"

struct ry_decoder {
    const ry_tokenizer *t;
    bool skip_special;
    bool bytes;          /* the decoder is ByteLevel alone */
    bool runs;           /* it has ByteFallback */
    bool at_end;         /* it looks across strings in a way that only the end settles */
    RY_VEC(int32_t) ids; /* the window */
    size_t given_ids;    /* of the window: their text was given, */
    size_t given;        /* so many bytes of the window's text */
    ry_text pending;     /* bytes */
    ry_text out;
};

ry_status ry_decoder_open(ry_decoder **out, const ry_tokenizer *t, bool skip_special) {
    if (!out || !t) RY_FAIL(RY_EARG, "ry_decoder_open: out and tokenizer must be given");
    ry_decoder *d = ry_mem_zalloc(sizeof *d);
    if (!d) return RY_ENOMEM;
    d->t = t;
    d->skip_special = skip_special;
    bool one = false; /* what comes here is one string */
    for (size_t i = 0; i < t->decoder.n; i++) {
        tok_decoder_nature nature = tok_decoder_is(&t->decoder.at[i]);
        d->bytes = nature == TOK_IS_BYTES && t->decoder.n == 1;
        d->runs |= nature == TOK_IS_RUNS;
        d->at_end |= nature == TOK_IS_LATE || (one && nature != TOK_IS_STRIP);
        one |= nature == TOK_IS_BYTES || nature == TOK_IS_FUSE;
    }
    d->at_end &= !d->bytes;
    *out = d;
    return RY_OK;
}

void ry_decoder_close(ry_decoder *d) {
    if (!d) return;
    RY_VEC_FREE(&d->ids);
    ry_text_free(&d->pending);
    ry_text_free(&d->out);
    ry_mem_free(d);
}

/* How many of the last bytes could be the beginning of a character. */
static size_t incomplete(const char *s, size_t n) {
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        int32_t cp;
        unsigned char c = (unsigned char)s[n - back];
        if ((c & 0xC0) == 0x80) continue;
        return c >= 0xC2 && c < 0xF5 && utf8_next(s + n - back, back, &cp) == back && cp < 0 ? back : 0;
    }
    return 0;
}

/* Moves what is whole from the pending bytes to out. */
static void give_bytes(ry_decoder *d, bool all) {
    ry_text *p = &d->pending;
    if (!p->n) return;
    size_t whole = p->n - (all ? 0 : incomplete(p->at, p->n));
    tok_add_mended(&d->out, p->at, whole);
    memmove(p->at, p->at + whole, p->n - whole);
    p->n -= whole;
}

static ry_status window_text(ry_decoder *d, size_t from, ry_text *text) {
    tok_strings s = {0};
    ry_status st = tok_decode(d->t, d->ids.at + from, d->ids.n - from, d->skip_special, &s);
    RY_VEC_FREE(&s.ends);
    if (st == RY_OK) *text = s.text;
    else ry_text_free(&s.text);
    return st;
}

/* Gives the window's new text and moves the window on. */
static ry_status give_window(ry_decoder *d) {
    ry_text text;
    RY_TRY(window_text(d, 0, &text));
    size_t n = text.n;
    if (n > d->given) ry_text_add(&d->out, text.at + d->given, n - d->given);
    ry_text_free(&text);
    if (n > d->given) d->given = n;
    RY_TRY(window_text(d, d->given_ids, &text));
    if (text.n) {
        memmove(d->ids.at, d->ids.at + d->given_ids, (d->ids.n - d->given_ids) * sizeof *d->ids.at);
        d->ids.n -= d->given_ids;
        d->given_ids = d->ids.n;
        d->given = text.n;
    }
    ry_text_free(&text);
    return RY_OK;
}

static ry_status decoder_out(ry_decoder *d, const char **text, size_t *n) {
    ry_text_add(&d->out, "", 0); /* so that there is a terminator */
    RY_TRY(ry_text_status(&d->out));
    *text = d->out.at;
    *n = d->out.n;
    return RY_OK;
}

ry_status ry_decoder_next(ry_decoder *d, int32_t id, const char **text, size_t *n) {
    if (!d || !text || !n) RY_FAIL(RY_EARG, "ry_decoder_next: decoder, text and n must be given");
    size_t len;
    const char *word = tok_shown_text(d->t, id, d->skip_special, &len);
    d->out.n = 0;
    if (!word) return decoder_out(d, text, n);
    if (d->bytes) {
        tok_add_bytes(&d->pending, word, len);
        RY_TRY(ry_text_status(&d->pending));
        give_bytes(d, false);
        return decoder_out(d, text, n);
    }
    int32_t *slot = RY_PUSH(&d->ids);
    if (!slot) return RY_ENOMEM;
    *slot = id;
    if (!d->at_end && !(d->runs && tok_fallback_byte(word, len) >= 0)) RY_TRY(give_window(d));
    return decoder_out(d, text, n);
}

ry_status ry_decoder_end(ry_decoder *d, const char **text, size_t *n) {
    if (!d || !text || !n) RY_FAIL(RY_EARG, "ry_decoder_end: decoder, text and n must be given");
    d->out.n = 0;
    if (d->bytes) give_bytes(d, true);
    else RY_TRY(give_window(d));
    d->ids.n = d->given_ids = d->given = 0;
    return decoder_out(d, text, n);
}
