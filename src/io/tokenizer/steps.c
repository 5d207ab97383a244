/* steps.c - what the steps of a tokenizer share: reading them from a tokenizer.json, pieces, edits.  Owns nothing. */
#include "io/tokenizer/steps.h"
#include <stdio.h>
#include <string.h>
#include "io/tokenizer/bytelevel.h"

/* ---- reading ---- */
ry_status tok_step_fail(ry_status st, const char *what, const char *field, const char *key, const char *must) {
    RY_FAIL(st, "%s: %s.%s %s", what, field, key, must);
}

ry_status tok_step_text(ry_text *out, const ry_json *j, const char *what, const char *field, const char *key, bool needed, bool one) {
    const ry_json *v = ry_json_path(j, key);
    size_t n = 0;
    int32_t cp;
    if (!v && !needed) return RY_OK;
    const char *s = ry_json_as_text(v, &n);
    if (!s) return tok_step_fail(RY_EFORMAT, what, field, key, "must be a string");
    if (one && (!n || utf8_next(s, n, &cp) != n)) return tok_step_fail(RY_EFORMAT, what, field, key, "must be one character");
    out->n = 0;
    ry_text_add(out, s, n);
    return ry_text_status(out);
}

static ry_status steps_read_one(tok_steps *out, const ry_json *j, const char *field, const char *list, const tok_step_kind *table,
                                const char *what) {
    char inner[256];
    const char *type = ry_json_as_text(ry_json_find(j, "type"), NULL);
    if (!type) RY_FAIL(RY_EFORMAT, "%s: %s must be an object with a type", what, field);
    if (!strcmp(type, "Sequence") && !ry_json_find(j, "sentencepiece")) {
        const ry_json *members = ry_json_find(j, list);
        if (ry_json_kind_of(members) != RY_JSON_ARRAY) RY_FAIL(RY_EFORMAT, "%s: %s.%s must be a list", what, field, list);
        for (size_t i = 0; i < ry_json_count(members); i++) {
            snprintf(inner, sizeof inner, "%.180s.%s[%zu]", field, list, i);
            RY_TRY(steps_read_one(out, ry_json_at(members, i), inner, list, table, what));
        }
        return RY_OK;
    }
    while (table->name && strcmp(table->name, type)) table++;
    if (!table->name) RY_FAIL(RY_EUNSUPPORTED, "%s: %s.type is \"%.60s\", which this version does not know", what, field, type);
    if (table->expand) return table->expand(out, j, what, field);
    tok_step *s = RY_PUSH(out);
    if (!s) return RY_ENOMEM;
    s->kind = table;
    return table->read ? table->read(s, j, what, field) : RY_OK;
}

ry_status tok_steps_read(tok_steps *out, const ry_json *root, const char *field, const char *list, const tok_step_kind *table,
                         const char *what) {
    const ry_json *j = ry_json_path(root, field);
    return j ? steps_read_one(out, j, field, list, table, what) : RY_OK;
}

void tok_steps_free(tok_steps *s) {
    for (size_t i = 0; i < s->n; i++) {
        ry_text_free(&s->at[i].text);
        ry_text_free(&s->at[i].other);
        tok_pattern_free(s->at[i].pattern);
        if (s->at[i].kind->close) s->at[i].kind->close(&s->at[i]);
        ry_mem_free(s->at[i].data);
    }
    RY_VEC_FREE(s);
}

/* ---- pieces ---- */
static bool inside_char(const tok_piece *p, size_t at) { return at < p->n && ((unsigned char)p->at[at] & 0xC0) == 0x80; }

ry_span tok_piece_span(const tok_piece *p, size_t begin, size_t end) {
    if (!p->from && begin < end) { /* bytes of a character stand for all of it */
        for (int i = 0; i < 3 && begin && inside_char(p, begin); i++) begin--;
        for (int i = 0; i < 3 && inside_char(p, end); i++) end++;
    }
    if (!p->from) return (ry_span){p->base + begin, p->base + end};
    if (begin < end) return (ry_span){p->from[begin].begin, p->from[end - 1].end};
    size_t at = begin < p->n ? p->from[begin].begin : p->n ? p->from[p->n - 1].end : p->base;
    return (ry_span){at, at};
}

tok_piece tok_piece_cut(const tok_piece *p, size_t begin, size_t end) {
    return (tok_piece){p->at + begin, end - begin, p->from ? p->from + begin : NULL,
                       p->from ? tok_piece_span(p, begin, begin).begin : p->base + begin};
}

void tok_buffer_free(tok_buffer *b) {
    ry_text_free(&b->text);
    RY_VEC_FREE(&b->from);
}

/* ---- edits ---- */
static void edit_span(tok_edit *e, ry_span span, size_t n) {
    for (size_t i = 0; i < n && e->spans; i++) {
        ry_span *s = RY_PUSH(&e->out->from);
        if (!s) {
            e->out->text.failed = true;
            return;
        }
        *s = span;
    }
}

void tok_edit_put(tok_edit *e, const char *c, size_t n, int change) {
    size_t begin = e->at, end = begin;
    int32_t cp;
    for (int k = change; k <= 0 && end < e->in->n; k++) {
        end += utf8_next(e->in->at + end, e->in->n - end, &cp);
        if (k == change) edit_span(e, tok_piece_span(e->in, begin, end), n);
    }
    if (end == begin) {
        size_t origin = tok_piece_span(e->in, 0, 0).begin;
        edit_span(e, begin ? tok_piece_span(e->in, begin - 1, begin) : (ry_span){origin, origin}, n);
    }
    e->at = end;
    ry_text_add(&e->out->text, c, n);
}

void tok_edit_keep(tok_edit *e, size_t n) {
    for (size_t i = e->at; i < e->at + n && e->spans;) {
        int32_t cp;
        size_t len = utf8_next(e->in->at + i, e->in->n - i, &cp);
        edit_span(e, tok_piece_span(e->in, i, i + len), len);
        i += len;
    }
    ry_text_add(&e->out->text, e->in->at + e->at, n);
    e->at += n;
}

void tok_edit_prepend(tok_edit *e, const char *s, size_t n) {
    int32_t cp;
    const char *first = e->in->at;
    size_t n_first = tok_edit_next(e, 0, &cp);
    for (size_t i = 0, len; i < n; i += len) {
        len = utf8_next(s + i, n - i, &cp);
        tok_edit_put(e, s + i, len, i ? 1 : 0);
    }
    tok_edit_put(e, first, n_first, n ? 1 : 0);
}

ry_status tok_edit_replace(tok_edit *e, tok_pattern *p, const char *with, size_t n) {
    tok_match m = {.pattern = p, .at = e->in->at, .n = e->in->n};
    int32_t cp;
    for (bool found;;) {
        RY_TRY(tok_match_next(&m, &found));
        if (!found) break;
        tok_edit_keep(e, m.begin - e->at);
        tok_edit_drop(e, m.end - m.begin);
        if (!e->spans) ry_text_add(&e->out->text, with, n);
        for (size_t i = 0, len; i < n && e->spans; i += len) {
            len = utf8_next(with + i, n - i, &cp);
            tok_edit_put(e, with + i, len, 1);
        }
    }
    if (m.any) tok_edit_keep(e, e->in->n - e->at);
    return RY_OK;
}

void tok_bytelevel_edit(tok_edit *e) {
    int32_t cp;
    for (size_t len; (len = tok_edit_next(e, 0, &cp)) != 0;) {
        const char *s = e->in->at + e->at;
        for (size_t i = 0; i < len; i++) {
            char c[4];
            tok_edit_put(e, c, utf8_put(c, bytelevel_char((unsigned char)s[i])), i ? 1 : 0);
        }
    }
}

tok_piece tok_edit_piece(const tok_edit *e) {
    return (tok_piece){e->out->text.at ? e->out->text.at : "", e->out->text.n, e->spans && e->out->from.n ? e->out->from.at : NULL,
                       e->in->base};
}

static tok_edit edit_into(tok_buffer *b, const tok_piece *p, bool spans) {
    b->text.n = 0;
    b->from.n = 0;
    return (tok_edit){.in = p, .out = b, .spans = spans};
}

ry_status tok_normalize(const tok_steps *steps, tok_state *s, tok_piece *p) {
    for (size_t i = 0; i < steps->n; i++) {
        tok_piece in = *p;
        tok_edit e = edit_into(in.at == s->ping.text.at ? &s->pong : &s->ping, &in, s->work.want_spans);
        RY_TRY(steps->at[i].kind->normalize(&steps->at[i], &e));
        RY_TRY(ry_text_status(&e.out->text));
        if (e.at || e.out->text.n || !in.n) *p = tok_edit_piece(&e); /* a step that did nothing left the piece as it was */
    }
    return RY_OK;
}

tok_edit tok_walk_edit(tok_walk *k, size_t step, const tok_piece *p) {
    return edit_into(&k->state->steps[step], p, k->state->work.want_spans);
}

ry_status tok_walk_on(tok_walk *k, size_t step, const tok_piece *p) {
    if (!p->n) return RY_OK;
    const tok_steps *steps = &k->t->pre_tokenizer;
    if (step < steps->n) return steps->at[step].kind->split(&steps->at[step], k, step, p);
    tok_work *w = &k->state->work;
    size_t first = w->ids.n;
    RY_TRY(k->t->model->kind->encode(k->t->model, w, p->at, p->n));
    for (size_t i = first; i < w->ids.n && w->want_spans; i++) {
        ry_span *span = &w->spans.at[i];
        size_t end = span->end < p->n ? span->end : p->n;
        *span = tok_piece_span(p, span->begin < end ? span->begin : end, end);
    }
    return RY_OK;
}

/* ---- decoders ---- */
ry_status tok_strings_end(tok_strings *s) {
    size_t *end = RY_PUSH(&s->ends);
    if (!end) return RY_ENOMEM;
    *end = s->text.n;
    return ry_text_status(&s->text);
}

ry_status tok_decode_steps(const tok_steps *steps, tok_strings *s) {
    for (size_t k = 0; k < steps->n; k++) {
        const tok_step *step = &steps->at[k];
        tok_strings out = {.raw = s->raw};
        ry_status st = step->kind->decode_all ? step->kind->decode_all(step, s, &out) : RY_OK;
        size_t begin = 0;
        for (size_t i = 0; i < s->ends.n && st == RY_OK && step->kind->decode; i++) {
            step->kind->decode(step, s->text.at + begin, s->ends.at[i] - begin, i, s->ends.n, &out.text);
            st = tok_strings_end(&out);
            begin = s->ends.at[i];
        }
        ry_text_free(&s->text);
        RY_VEC_FREE(&s->ends);
        *s = out;
        RY_TRY(st);
    }
    return RY_OK;
}
