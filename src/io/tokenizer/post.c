/* post.c - post-processors: special tokens around one or two sequences, the sequences' types, and spans without their spaces.  Owns the
 * templates.
 *
 * All kinds are one template: a list of special tokens and sequences for one text, and one for two. Behaviour: Hugging Face's. */
#include <stdio.h>
#include <string.h>
#include "io/tokenizer/bytelevel.h"
#include "io/tokenizer/chars.h"
#include "io/tokenizer/steps.h"

typedef struct post_part {
    int32_t sequence; /* 0, 1; -1: a special token */
    int32_t type;
    int32_t id; /* of the special token */
} post_part;

typedef struct post_trim { bool add_prefix_space; } post_trim;

struct tok_post {
    RY_VEC(post_part) part[2]; /* for one text, for two */
    bool has_template;
    RY_VEC(post_trim) trims;
};

void tok_post_free(tok_post *p) {
    if (!p) return;
    for (int i = 0; i < 2; i++) RY_VEC_FREE(&p->part[i]);
    RY_VEC_FREE(&p->trims);
    ry_mem_free(p);
}

/* ---- reading ---- */
static ry_status post_add(tok_post *p, int which, int32_t sequence, int32_t type, int32_t id) {
    post_part *part = RY_PUSH(&p->part[which]);
    if (!part) return RY_ENOMEM;
    *part = (post_part){sequence, type, id};
    return RY_OK;
}

static ry_status post_id(int32_t *out, const ry_json *j, const char *what, const char *field, const char *key) {
    int64_t id;
    if (!ry_json_as_int(j, &id) || id < 0 || id > INT32_MAX) return tok_step_fail(RY_EFORMAT, what, field, key, "must hold ids");
    *out = (int32_t)id;
    return RY_OK;
}

static ry_status post_special(tok_post *p, int which, const char *name, int32_t type, const ry_json *specials, const char *what,
                              const char *field) {
    const ry_json *ids = ry_json_find(ry_json_find(specials, name), "ids");
    if (ry_json_kind_of(ids) != RY_JSON_ARRAY)
        RY_FAIL(RY_EFORMAT, "%s: %s.special_tokens lacks \"%.60s\" with its ids", what, field, name);
    for (size_t i = 0; i < ry_json_count(ids); i++) {
        int32_t id = 0;
        RY_TRY(post_id(&id, ry_json_at(ids, i), what, field, "special_tokens"));
        RY_TRY(post_add(p, which, -1, type, id));
    }
    return RY_OK;
}

/* "$A", "$0", "[CLS]:1": a part of a template as text. */
static ry_status post_text_part(tok_post *p, int which, const char *s, const ry_json *specials, const char *what, const char *field) {
    char name[256];
    const char *colon = strchr(s, ':');
    size_t n = colon ? (size_t)(colon - s) : strlen(s);
    unsigned type = 0;
    int used = 0;
    if (n >= sizeof name || (colon && (sscanf(colon, ":%9u%n", &type, &used) != 1 || colon[used])))
        RY_FAIL(RY_EFORMAT, "%s: %s: a template cannot hold \"%.60s\"", what, field, s);
    snprintf(name, sizeof name, "%.*s", (int)n, s);
    if (*name != '$') return post_special(p, which, name, (int32_t)type, specials, what, field);
    bool second = name[1] == 'B' || name[1] == 'b', first = !name[1] || name[1] == 'A' || name[1] == 'a';
    if (!(first || second) || (name[1] && name[2])) {
        unsigned own;
        if (sscanf(name, "$%9u%n", &own, &used) != 1 || name[used])
            RY_FAIL(RY_EFORMAT, "%s: %s: a template cannot hold \"%.60s\"", what, field, s);
        if (!colon) type = own;
    }
    return post_add(p, which, second, (int32_t)type, 0);
}

static ry_status post_template(tok_post *p, int which, const ry_json *list, const ry_json *specials, const char *what, const char *field) {
    const char *key = which ? "pair" : "single";
    if (ry_json_kind_of(list) != RY_JSON_ARRAY) return tok_step_fail(RY_EFORMAT, what, field, key, "must be a list");
    for (size_t i = 0; i < ry_json_count(list); i++) {
        const ry_json *j = ry_json_at(list, i), *sequence = ry_json_find(j, "Sequence"), *special = ry_json_find(j, "SpecialToken");
        const char *text = ry_json_as_text(j, NULL), *id = ry_json_as_text(ry_json_find(sequence ? sequence : special, "id"), NULL);
        int64_t type = 0;
        if (text) {
            RY_TRY(post_text_part(p, which, text, specials, what, field));
            continue;
        }
        if (!id || !ry_json_as_int(ry_json_find(sequence ? sequence : special, "type_id"), &type) || type < 0 || type > INT32_MAX ||
            (sequence && strcmp(id, "A") && strcmp(id, "B")))
            return tok_step_fail(RY_EFORMAT, what, field, key, "must hold Sequence and SpecialToken with id and type_id");
        if (sequence) {
            if (*id == 'B' && !which) return tok_step_fail(RY_EFORMAT, what, field, key, "cannot hold a second sequence");
            RY_TRY(post_add(p, which, *id == 'B', (int32_t)type, 0));
        } else {
            RY_TRY(post_special(p, which, id, (int32_t)type, specials, what, field));
        }
    }
    return RY_OK;
}

/* BertProcessing and RobertaProcessing: cls and sep are ["text", id]. */
static ry_status post_bert(tok_post *p, const ry_json *j, bool roberta, const char *what, const char *field) {
    int32_t cls = 0, sep = 0;
    RY_TRY(post_id(&cls, ry_json_at(ry_json_find(j, "cls"), 1), what, field, "cls"));
    RY_TRY(post_id(&sep, ry_json_at(ry_json_find(j, "sep"), 1), what, field, "sep"));
    for (int which = 0; which < 2; which++) {
        RY_TRY(post_add(p, which, -1, 0, cls));
        RY_TRY(post_add(p, which, 0, 0, 0));
        RY_TRY(post_add(p, which, -1, 0, sep));
    }
    int32_t type = !roberta;
    if (roberta) RY_TRY(post_add(p, 1, -1, 0, sep));
    RY_TRY(post_add(p, 1, 1, type, 0));
    return post_add(p, 1, -1, type, sep);
}

static ry_status post_trims(tok_post *p, const ry_json *j, const char *what) {
    bool trim = true, prefix = true;
    RY_TRY(ry_json_bool(&trim, j, what, "trim_offsets", false));
    RY_TRY(ry_json_bool(&prefix, j, what, "add_prefix_space", false));
    if (!trim) return RY_OK;
    post_trim *t = RY_PUSH(&p->trims);
    if (!t) return RY_ENOMEM;
    t->add_prefix_space = prefix;
    return RY_OK;
}

static ry_status post_read(tok_post *p, const ry_json *j, const char *what, const char *field) {
    const char *type = ry_json_as_text(ry_json_find(j, "type"), NULL);
    if (!type) RY_FAIL(RY_EFORMAT, "%s: %s must be an object with a type", what, field);
    if (!strcmp(type, "Sequence")) {
        const ry_json *list = ry_json_find(j, "processors");
        if (ry_json_kind_of(list) != RY_JSON_ARRAY) return tok_step_fail(RY_EFORMAT, what, field, "processors", "must be a list");
        for (size_t i = 0; i < ry_json_count(list); i++) {
            char inner[256];
            snprintf(inner, sizeof inner, "%.180s.processors[%zu]", field, i);
            RY_TRY(post_read(p, ry_json_at(list, i), what, inner));
        }
        return RY_OK;
    }
    if (!strcmp(type, "ByteLevel")) return post_trims(p, j, what);
    bool roberta = !strcmp(type, "RobertaProcessing"), bert = !strcmp(type, "BertProcessing");
    if (!roberta && !bert && strcmp(type, "TemplateProcessing"))
        RY_FAIL(RY_EUNSUPPORTED, "%s: %s.type is \"%.60s\", which this version does not know", what, field, type);
    if (p->has_template) RY_FAIL(RY_EUNSUPPORTED, "%s: %s: a second template around the first", what, field);
    p->has_template = true;
    if (roberta) RY_TRY(post_trims(p, j, what));
    if (roberta || bert) return post_bert(p, j, roberta, what, field);
    const ry_json *specials = ry_json_find(j, "special_tokens");
    RY_TRY(post_template(p, 0, ry_json_find(j, "single"), specials, what, field));
    return post_template(p, 1, ry_json_find(j, "pair"), specials, what, field);
}

ry_status tok_post_read(tok_post **out, const ry_json *root, const char *what) {
    const ry_json *j = ry_json_path(root, "post_processor");
    tok_post *p = ry_mem_zalloc(sizeof *p);
    if (!p) return RY_ENOMEM;
    ry_status st = j ? post_read(p, j, what, "post_processor") : RY_OK;
    for (int which = 0; which < 2 && st == RY_OK && !p->has_template; which++)
        for (int i = 0; i <= which && st == RY_OK; i++) st = post_add(p, which, i, i, 0);
    *out = p;
    return st;
}

/* ---- spans without their spaces ---- */
static bool post_is_space(int32_t cp) { return cp == bytelevel_char(' ') || tok_is_space(cp); }

/* Spaces at the beginning and at the end of a token. */
static void post_spaces(const char *s, size_t n, size_t *lead, size_t *trail) {
    int32_t cp;
    bool all = true;
    *lead = *trail = 0;
    for (size_t i = 0; i < n; i += utf8_next(s + i, n - i, &cp)) {
        utf8_next(s + i, n - i, &cp);
        bool space = cp >= 0 && post_is_space(cp);
        *trail = space ? *trail + 1 : 0;
        all &= space;
        *lead += all;
    }
}

static void post_trim_spans(const ry_tokenizer *t, const post_trim *how, const tok_text_work *in) {
    tok_work *w = in->work;
    for (size_t i = 0; i < w->ids.n; i++) {
        ry_span *s = &w->spans.at[i];
        size_t n, lead, trail;
        const tok_added_token *k = tok_added_of(&t->added, w->ids.at[i]);
        const char *text = tok_any_text(t, w->ids.at[i], &n);
        if (k && (k->lstrip || k->rstrip)) text = in->text + s->begin, n = s->end - s->begin; /* with what it stripped */
        if (!text) continue;
        post_spaces(text, n, &lead, &trail);
        if (lead == 1 && how->add_prefix_space && (i == 0 || s->begin == 0)) lead = 0; /* the one that was added */
        s->begin = s->begin + lead < s->end ? s->begin + lead : s->end;
        if (trail && s->end >= trail) s->end = s->end - trail > s->begin ? s->end - trail : s->begin;
    }
}

/* ---- applying ---- */
/* Room for n in each block that is wanted; a block also where n is 0. */
static ry_status post_room(tok_sequence *out, size_t n) {
    if (!(out->ids.at = ry_mem_alloc(ry_mem_size(n, sizeof *out->ids.at, 0)))) return RY_ENOMEM;
    if (out->want_types && !(out->types.at = ry_mem_alloc(ry_mem_size(n, sizeof *out->types.at, 0)))) return RY_ENOMEM;
    if (out->want_spans && !(out->spans.at = ry_mem_alloc(ry_mem_size(n, sizeof *out->spans.at, 0)))) return RY_ENOMEM;
    return RY_OK;
}

ry_status tok_post_apply(const tok_post *p, const ry_tokenizer *t, tok_text_work in[], size_t n, tok_sequence *out) {
    size_t room = 0, parts = p->part[n - 1].n;
    for (size_t i = 0; i < parts; i++) {
        const post_part *part = &p->part[n - 1].at[i];
        room += part->sequence < 0 ? out->add_special : in[part->sequence].work->ids.n;
    }
    RY_TRY(post_room(out, room));
    for (size_t i = 0; i < n && out->want_spans; i++)
        for (size_t k = 0; k < p->trims.n; k++) post_trim_spans(t, &p->trims.at[k], &in[i]);
    for (size_t i = 0; i < parts; i++) {
        const post_part *part = &p->part[n - 1].at[i];
        if (part->sequence < 0) {
            if (!out->add_special) continue;
            if (out->want_types) out->types.at[out->ids.n] = part->type;
            if (out->want_spans) out->spans.at[out->ids.n] = (ry_span){0, 0};
            out->ids.at[out->ids.n++] = part->id;
            continue;
        }
        const tok_work *w = in[part->sequence].work;
        size_t at = out->ids.n, n_ids = w->ids.n;
        if (n_ids) memcpy(out->ids.at + at, w->ids.at, n_ids * sizeof *out->ids.at);
        for (size_t k = 0; k < n_ids && out->want_types; k++) out->types.at[at + k] = part->type;
        if (n_ids && out->want_spans) memcpy(out->spans.at + at, w->spans.at, n_ids * sizeof *out->spans.at);
        out->ids.n += n_ids;
    }
    return RY_OK;
}
