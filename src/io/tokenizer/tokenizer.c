/* tokenizer.c - the public tokenizer: a text through added tokens, normalizer, pre_tokenizer, model and post_processor, and ids back
 * through the decoder.  Owns the tokenizer and its idle scratch; knows no kind of model but by its row. */
#include <string.h>
#include "base/os.h"
#include "io/tokenizer/steps.h"

/* ---- scratch ---- */
static void state_free(const ry_tokenizer *t, tok_state *s) {
    if (!s) return;
    RY_VEC_FREE(&s->work.ids);
    RY_VEC_FREE(&s->work.spans);
    RY_VEC_FREE(&s->work.symbols);
    RY_VEC_FREE(&s->work.heap);
    ry_mem_free(s->work.cache);
    ry_text_free(&s->work.scratch);
    tok_buffer_free(&s->mended);
    tok_buffer_free(&s->ping);
    tok_buffer_free(&s->pong);
    for (size_t i = 0; i < t->pre_tokenizer.n && s->steps; i++) tok_buffer_free(&s->steps[i]);
    ry_mem_free(s->steps);
    ry_mem_free(s);
}

/* The lock guards the tokenizer's idle states, which a const tokenizer may hand out. */
static tok_state **state_idle(const ry_tokenizer *t) {
    union {
        const ry_tokenizer *in;
        ry_tokenizer *out;
    } u = {.in = t};
    return u.out->idle;
}

static ry_status state_take(const ry_tokenizer *t, tok_state **out) {
    tok_state **idle = state_idle(t), *s = NULL;
    os_mutex_lock(t->lock);
    for (size_t i = 0; i < TOK_IDLE && !s; i++)
        if (idle[i]) s = idle[i], idle[i] = NULL;
    os_mutex_unlock(t->lock);
    if (!s) {
        if (!(s = ry_mem_zalloc(sizeof *s))) return RY_ENOMEM;
        if (!(s->steps = ry_mem_zalloc(t->pre_tokenizer.n * sizeof *s->steps))) {
            ry_mem_free(s);
            return RY_ENOMEM;
        }
    }
    s->work.ids.n = s->work.spans.n = 0;
    *out = s;
    return RY_OK;
}

static void state_give(const ry_tokenizer *t, tok_state *s) {
    tok_state **idle = state_idle(t);
    bool large = s->mended.text.cap + s->ping.text.cap + s->pong.text.cap + s->work.symbols.cap * sizeof *s->work.symbols.at > TOK_IDLE_BYTES;
    for (size_t i = 0; i < t->pre_tokenizer.n; i++) large |= s->steps[i].text.cap > TOK_IDLE_BYTES;
    os_mutex_lock(t->lock);
    for (size_t i = 0; i < TOK_IDLE && s && !large; i++)
        if (!idle[i]) idle[i] = s, s = NULL;
    os_mutex_unlock(t->lock);
    state_free(t, s);
}

/* ---- opening and closing ---- */
void ry_tokenizer_close(ry_tokenizer *t) {
    if (!t) return;
    for (size_t i = 0; i < TOK_IDLE; i++) state_free(t, t->idle[i]);
    if (t->model) t->model->kind->close(t->model);
    tok_post_free(t->post);
    tok_steps_free(&t->normalizer);
    tok_steps_free(&t->pre_tokenizer);
    tok_steps_free(&t->decoder);
    tok_added_free(&t->added);
    tok_lists_free(&t->lists);
    ry_json_free(t->tree);
    ry_json_free(t->config);
    if (t->lock) os_mutex_close(t->lock);
    ry_mem_free(t);
}

int64_t ry_tokenizer_size(const ry_tokenizer *t) { return t->size; }

/* ---- vocabulary ---- */
const char *tok_any_text(const ry_tokenizer *t, int32_t id, size_t *n) {
    const tok_added_token *k = tok_added_of(&t->added, id);
    if (!k) return tok_word_text(&t->lists, id, n);
    if (n) *n = k->n;
    return t->added.bytes.at + k->at;
}

const char *tok_shown_text(const ry_tokenizer *t, int32_t id, bool skip_special, size_t *n) {
    const tok_added_token *k = tok_added_of(&t->added, id);
    if (!k) return tok_word_text(&t->lists, id, n);
    *n = k->shown_n;
    return skip_special && tok_added_hidden(&t->added, k) ? NULL : t->added.bytes.at + k->shown_at;
}

int32_t tok_any_id(const ry_tokenizer *t, const char *s, size_t n) {
    int32_t id = tok_word_id(&t->lists, s, n);
    return id < 0 ? tok_added_id(&t->added, s, n) : id;
}

int32_t ry_token_id(const ry_tokenizer *t, const char *token) { return t && token ? tok_any_id(t, token, strlen(token)) : -1; }
const char *ry_token_text(const ry_tokenizer *t, int32_t id, size_t *n) { return t ? tok_any_text(t, id, n) : NULL; }
int32_t ry_token_special(const ry_tokenizer *t, ry_special which) {
    return t && which >= RY_BOS && which <= RY_UNK ? t->special[which] : -1;
}
void tok_set_special(ry_tokenizer *t, ry_special which, int32_t id) { t->special[which] = id; }

ry_status tok_emit(tok_work *w, int32_t id, size_t begin, size_t end) {
    if (w->ids.n < w->ids.cap) {
        w->ids.at[w->ids.n++] = id;
    } else {
        int32_t *slot = RY_PUSH(&w->ids);
        if (!slot) return RY_ENOMEM;
        *slot = id;
    }
    if (!w->want_spans) return RY_OK;
    ry_span *span = RY_PUSH(&w->spans);
    if (!span) return RY_ENOMEM;
    *span = (ry_span){begin, end};
    return RY_OK;
}

/* ---- encoding ---- */
static ry_status added_emit(tok_walk *k, const tok_piece *part, int32_t id) {
    ry_span s = tok_piece_span(part, 0, part->n);
    return tok_emit(&k->state->work, id, s.begin, s.end);
}

static ry_status part_normalized(void *ud, const tok_piece *part, int32_t id) {
    return id >= 0 ? added_emit(ud, part, id) : tok_walk_on(ud, 0, part);
}

static ry_status part_raw(void *ud, const tok_piece *part, int32_t id) {
    tok_walk *k = ud;
    if (id >= 0) return added_emit(k, part, id);
    tok_piece p = *part;
    RY_TRY(tok_normalize(&k->t->normalizer, k->state, &p));
    return tok_added_cut(&k->t->added, k->t->added.normalized, &p, part_normalized, k);
}

/* A text that is not UTF-8, with U+FFFD for every piece that is not (as Rust's from_utf8_lossy). */
static ry_status mend(tok_state *s, tok_piece *p) {
    tok_piece in = *p;
    tok_buffer *b = &s->mended;
    b->text.n = b->from.n = 0;
    for (size_t i = 0, len; i < in.n; i += len) {
        int32_t cp;
        len = utf8_next(in.at + i, in.n - i, &cp);
        size_t n = cp < 0 ? 3 : len;
        ry_text_add(&b->text, cp < 0 ? "\xEF\xBF\xBD" : in.at + i, n);
        for (size_t k = 0; k < n && s->work.want_spans; k++) {
            ry_span *span = RY_PUSH(&b->from);
            if (!span) return RY_ENOMEM;
            *span = (ry_span){i, i + len};
        }
    }
    *p = (tok_piece){b->text.at, b->text.n, s->work.want_spans ? b->from.at : NULL, 0};
    return ry_text_status(&b->text);
}

/* Every character must be a word of the vocabulary. */
static ry_status strict_check(const ry_tokenizer *t, const char *text, size_t n) {
    int32_t cp;
    for (size_t i = 0, len; i < n; i += len) {
        len = utf8_next(text + i, n - i, &cp);
        if (cp < 0) RY_FAIL(RY_EARG, "the text is not UTF-8 at byte %zu", i);
        if (tok_word_id(&t->lists, text + i, len) < 0)
            RY_FAIL(RY_EARG, "the text's character U+%04X at byte %zu is not in the tokenizer's vocabulary of %lld characters",
                    (unsigned)cp, i, (long long)t->size);
    }
    return RY_OK;
}

/* The ids of a text, before the post-processor, into s->work. */
static ry_status encode(const ry_tokenizer *t, tok_state *s, const char *text, size_t n, bool want_spans) {
    tok_piece p = {n ? text : "", n, NULL, 0};
    tok_walk k = {t, s};
    s->work.want_spans = want_spans || t->align;
    if (t->strict) RY_TRY(strict_check(t, p.at, n));
    if (!t->raw && utf8_valid(p.at, n) != n) RY_TRY(mend(s, &p));
    return tok_added_cut(&t->added, t->added.raw, &p, part_raw, &k);
}

static ry_status encode_all(const ry_tokenizer *t, const char *const text[], const size_t n[], size_t count, tok_sequence *out) {
    tok_state *s[2] = {NULL, NULL};
    tok_text_work in[2] = {{NULL, NULL}, {NULL, NULL}};
    ry_status st = RY_OK;
    for (size_t i = 0; i < count && st == RY_OK; i++) {
        RY_GO(st, done, state_take(t, &s[i]));
        RY_GO(st, done, encode(t, s[i], text[i], n[i], out->want_spans));
        in[i] = (tok_text_work){&s[i]->work, text[i]};
    }
    st = tok_post_apply(t->post, t, in, count, out);
done:
    for (size_t i = 0; i < count; i++)
        if (s[i]) state_give(t, s[i]);
    if (st != RY_OK) {
        RY_VEC_FREE(&out->ids);
        RY_VEC_FREE(&out->types);
        RY_VEC_FREE(&out->spans);
    }
    return st;
}

ry_status ry_encode(const ry_tokenizer *t, const char *text, size_t n, bool add_special, int32_t **ids, size_t *n_ids) {
    if (!t || !ids || !n_ids || (n && !text)) RY_FAIL(RY_EARG, "ry_encode: tokenizer, text, ids and n_ids must be given");
    tok_sequence q = {.add_special = add_special};
    RY_TRY(encode_all(t, &text, &n, 1, &q));
    *ids = q.ids.at;
    *n_ids = q.ids.n;
    return RY_OK;
}

ry_status ry_encode_spans(const ry_tokenizer *t, const char *text, size_t n, bool add_special, int32_t **ids, ry_span **spans,
                          size_t *n_ids) {
    if (!t || !ids || !spans || !n_ids || (n && !text))
        RY_FAIL(RY_EARG, "ry_encode_spans: tokenizer, text, ids, spans and n_ids must be given");
    tok_sequence q = {.add_special = add_special, .want_spans = true};
    RY_TRY(encode_all(t, &text, &n, 1, &q));
    *ids = q.ids.at;
    *spans = q.spans.at;
    *n_ids = q.ids.n;
    return RY_OK;
}

ry_status ry_encode_pair(const ry_tokenizer *t, const char *a, size_t n_a, const char *b, size_t n_b, bool add_special, int32_t **ids,
                         int32_t **types, size_t *n_ids) {
    if (!t || !ids || !types || !n_ids || (n_a && !a) || (n_b && !b))
        RY_FAIL(RY_EARG, "ry_encode_pair: tokenizer, texts, ids, types and n_ids must be given");
    tok_sequence q = {.add_special = add_special, .want_types = true};
    RY_TRY(encode_all(t, (const char *const[]){a, b}, (const size_t[]){n_a, n_b}, 2, &q));
    *ids = q.ids.at;
    *types = q.types.at;
    *n_ids = q.ids.n;
    return RY_OK;
}

/* ---- decoding ---- */
ry_status tok_decode(const ry_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, tok_strings *s) {
    for (size_t i = 0; i < n; i++) {
        size_t len;
        const char *text = tok_shown_text(t, ids[i], skip_special, &len);
        if (!text) continue;
        if (!t->decoder.n && s->ends.n) ry_text_add(&s->text, " ", 1); /* what the reference does without a decoder */
        ry_text_add(&s->text, text, len);
        RY_TRY(tok_strings_end(s));
    }
    RY_TRY(tok_decode_steps(&t->decoder, s));
    ry_text_add(&s->text, "", 0); /* so that there is a terminator */
    return ry_text_status(&s->text);
}

ry_status ry_decode(const ry_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, bool raw, char **text, size_t *n_text) {
    if (!t || !text || (n && !ids)) RY_FAIL(RY_EARG, "ry_decode: tokenizer, ids and text must be given");
    tok_strings s = {.raw = raw};
    ry_status st = tok_decode(t, ids, n, skip_special, &s);
    RY_VEC_FREE(&s.ends);
    if (st != RY_OK) {
        ry_text_free(&s.text);
        return st;
    }
    *text = s.text.at;
    if (n_text) *n_text = s.text.n;
    return RY_OK;
}
