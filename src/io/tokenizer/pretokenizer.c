/* pretokenizer.c - pre-tokenizers: a text into parts, each handed on as soon as it is found.  Owns nothing.  Behaviour: Hugging Face's
 * (pre_tokenizers/). */
#include <string.h>
#include "io/tokenizer/chars.h"
#include "io/tokenizer/steps.h"

/* ---- stretches that match and stretches between them, and what becomes of them ---- */
enum { REMOVED, ISOLATED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS };

typedef struct splitter {
    tok_walk *walk;
    size_t step; /* that parts go to */
    const tok_piece *piece;
    int64_t behavior;
    bool invert;
    bool waits, waiting_match; /* a stretch waits for its neighbour */
    size_t begin, end;
} splitter;

static ry_status give(splitter *s, size_t begin, size_t end) {
    tok_piece part = tok_piece_cut(s->piece, begin, end);
    return tok_walk_on(s->walk, s->step, &part);
}

static ry_status split_stretch(splitter *s, size_t begin, size_t end, bool match) {
    match ^= s->invert;
    if (s->behavior == ISOLATED) return give(s, begin, end);
    if (s->behavior == REMOVED) return match ? RY_OK : give(s, begin, end);
    bool joins = s->behavior == CONTIGUOUS             ? match == s->waiting_match
                 : s->behavior == MERGED_WITH_PREVIOUS ? match && !s->waiting_match
                                                       : !match && s->waiting_match;
    if (s->waits && joins) {
        s->end = end;
    } else {
        if (s->waits) RY_TRY(give(s, s->begin, s->end));
        s->waits = true;
        s->begin = begin;
        s->end = end;
    }
    s->waiting_match = match;
    return RY_OK;
}

static ry_status split_end(splitter *s) { return s->waits ? give(s, s->begin, s->end) : RY_OK; }

static ry_status split_pattern(splitter *s, tok_pattern *pattern) {
    tok_match m = {.pattern = pattern, .at = s->piece->at, .n = s->piece->n};
    size_t done = 0;
    for (bool found;;) {
        RY_TRY(tok_match_next(&m, &found));
        if (!found) break;
        if (done != m.begin) RY_TRY(split_stretch(s, done, m.begin, false));
        RY_TRY(split_stretch(s, m.begin, m.end, true));
        done = m.end;
    }
    if (done != m.n) RY_TRY(split_stretch(s, done, m.n, false));
    return split_end(s);
}

/* Each character for which is() holds matches by itself. */
static ry_status split_chars(splitter *s, bool (*is)(int32_t cp, const tok_step *step), const tok_step *step) {
    size_t done = 0, len;
    for (size_t i = 0; i < s->piece->n; i += len) {
        int32_t cp;
        len = utf8_next(s->piece->at + i, s->piece->n - i, &cp);
        if (!is(cp, step)) continue;
        if (done < i) RY_TRY(split_stretch(s, done, i, false));
        RY_TRY(split_stretch(s, i, i + len, true));
        done = i + len;
    }
    if (done < s->piece->n) RY_TRY(split_stretch(s, done, s->piece->n, false));
    return split_end(s);
}

static ry_status read_behavior(tok_step *s, const ry_json *j, const char *what, const char *field, bool needed) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *name = ry_json_as_text(ry_json_find(j, "behavior"), NULL);
    if (!ry_json_find(j, "behavior") && !needed) return RY_OK;
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i])) {
            s->from = (int64_t)i;
            return RY_OK;
        }
    return tok_step_fail(RY_EFORMAT, what, field, "behavior",
                         "must be Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

/* ---- ByteLevel ---- */
static const char gpt2_words[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static ry_status read_bytelevel(tok_step *s, const ry_json *j, const char *what, const char *field) {
    s->on = s->also = true;
    RY_TRY(ry_json_bool(&s->on, j, what, "add_prefix_space", false));
    RY_TRY(ry_json_bool(&s->also, j, what, "use_regex", false));
    return s->also ? tok_pattern_regex(&s->pattern, gpt2_words, sizeof gpt2_words - 1, what, field) : RY_OK;
}

/* Parts go on as they are where the model takes bytes, else as the characters that stand for them: by a step of its own behind this. */
static ry_status bytelevel(const tok_step *s, tok_walk *k, size_t step, const tok_piece *p) {
    tok_piece piece = *p;
    if (s->on && piece.at[0] != ' ') {
        tok_edit e = tok_walk_edit(k, step, p);
        tok_edit_prepend(&e, " ", 1);
        tok_edit_keep(&e, p->n - e.at);
        RY_TRY(ry_text_status(&e.out->text));
        piece = tok_edit_piece(&e);
    }
    splitter sp = {.walk = k, .step = step + 1, .piece = &piece, .behavior = ISOLATED};
    return s->also ? split_pattern(&sp, s->pattern) : tok_walk_on(k, step + 1, &piece);
}

static ry_status bytelevel_chars(const tok_step *s, tok_walk *k, size_t step, const tok_piece *p) {
    (void)s;
    tok_edit e = tok_walk_edit(k, step, p);
    tok_bytelevel_edit(&e);
    RY_TRY(ry_text_status(&e.out->text));
    tok_piece piece = tok_edit_piece(&e);
    return tok_walk_on(k, step + 1, &piece);
}
static const tok_step_kind tok_bytelevel_chars_kind = {.split = bytelevel_chars};

static ry_status expand_bytelevel(tok_steps *out, const ry_json *j, const char *what, const char *field) {
    static const tok_step_kind first = {.read = read_bytelevel, .split = bytelevel};
    for (int i = 0; i < 2; i++) {
        tok_step *s = RY_PUSH(out);
        if (!s) return RY_ENOMEM;
        s->kind = i ? &tok_bytelevel_chars_kind : &first;
        if (!i) RY_TRY(read_bytelevel(s, j, what, field));
    }
    return RY_OK;
}

/* ---- Split, Metaspace ---- */
static ry_status read_split(tok_step *s, const ry_json *j, const char *what, const char *field) {
    RY_TRY(read_behavior(s, j, what, field, true));
    RY_TRY(ry_json_bool(&s->on, j, what, "invert", false));
    return tok_pattern_read(&s->pattern, ry_json_find(j, "pattern"), what, field);
}

static ry_status split(const tok_step *s, tok_walk *k, size_t step, const tok_piece *p) {
    splitter sp = {.walk = k, .step = step + 1, .piece = p, .behavior = s->from, .invert = s->on};
    return split_pattern(&sp, s->pattern);
}

ry_status tok_metaspace_read(tok_step *s, const ry_json *j, const char *what, const char *field) {
    static const char *const names[] = {"always", "first", "never"};
    const ry_json *scheme = ry_json_path(j, "prepend_scheme");
    const char *name = ry_json_as_text(scheme, NULL);
    bool prefix = true;
    s->on = true;
    RY_TRY(tok_step_text(&s->text, j, what, field, "replacement", true, true));
    RY_TRY(ry_json_bool(&prefix, j, what, "add_prefix_space", false));
    RY_TRY(ry_json_bool(&s->on, j, what, "split", false));
    s->from = prefix ? TOK_ALWAYS : TOK_NEVER;
    for (size_t i = 0; scheme; i++) {
        if (!name || i == 3) return tok_step_fail(RY_EFORMAT, what, field, "prepend_scheme", "must be always, first or never");
        if (strcmp(name, names[i])) continue;
        if (!prefix && i != TOK_NEVER) return tok_step_fail(RY_EFORMAT, what, field, "prepend_scheme", "and add_prefix_space contradict each other");
        s->from = (int64_t)i;
        break;
    }
    return RY_OK;
}

static ry_status read_metaspace(tok_step *s, const ry_json *j, const char *what, const char *field) {
    int32_t cp;
    RY_TRY(tok_metaspace_read(s, j, what, field));
    utf8_next(s->text.at, s->text.n, &cp);
    s->to = cp;
    return tok_pattern_text(&s->pattern, " ", 1);
}

static bool is_replacement(int32_t cp, const tok_step *s) { return cp == s->to; }

static ry_status metaspace(const tok_step *s, tok_walk *k, size_t step, const tok_piece *p) {
    bool first = tok_piece_span(p, 0, p->n).begin == 0, starts = p->n >= s->text.n && !memcmp(p->at, s->text.at, s->text.n);
    starts |= p->at[0] == ' '; /* becomes one */
    tok_piece piece = *p;
    tok_edit e = tok_walk_edit(k, step, p);
    if (!starts && (s->from == TOK_ALWAYS || (s->from == TOK_FIRST && first))) tok_edit_prepend(&e, s->text.at, s->text.n);
    RY_TRY(tok_edit_replace(&e, s->pattern, s->text.at, s->text.n));
    if (e.at) {
        tok_edit_keep(&e, p->n - e.at);
        RY_TRY(ry_text_status(&e.out->text));
        piece = tok_edit_piece(&e);
    }
    if (!s->on) return tok_walk_on(k, step + 1, &piece);
    splitter sp = {.walk = k, .step = step + 1, .piece = &piece, .behavior = MERGED_WITH_NEXT};
    return split_chars(&sp, is_replacement, s);
}

/* ---- what a list of steps amounts to ---- */
bool tok_steps_ask_first(const tok_steps *s) {
    for (size_t i = 0; i < s->n; i++)
        if (s->at[i].kind->split == metaspace && s->at[i].from == TOK_FIRST) return true;
    return false;
}
bool tok_steps_end_in_bytes(const tok_steps *s) { return s->n && s->at[s->n - 1].kind == &tok_bytelevel_chars_kind; }
bool tok_steps_only_bytes(const tok_steps *s) { return !s->n || (s->n == 1 && !s->at[0].on && !s->at[0].also && s->at[0].kind->split == bytelevel); }

/* ---- by characters ---- */
static ry_status read_chars(tok_step *s, const ry_json *j, const char *what, const char *field) {
    (void)s, (void)j;
    return tok_chars_known(what, field);
}

static ry_status split_by(const tok_step *s, tok_walk *k, size_t step, const tok_piece *p, int64_t behavior,
                          bool (*is)(int32_t cp, const tok_step *step)) {
    splitter sp = {.walk = k, .step = step + 1, .piece = p, .behavior = behavior};
    return split_chars(&sp, is, s);
}

static bool is_space(int32_t cp, const tok_step *s) { return (void)s, tok_is_space(cp); }
static bool is_punct(int32_t cp, const tok_step *s) { return (void)s, tok_is_punct(cp); }
static bool is_number(int32_t cp, const tok_step *s) { return (void)s, tok_is_number(cp); }
static bool is_delimiter(int32_t cp, const tok_step *s) { return cp == s->from; }

static ry_status whitespace_split(const tok_step *s, tok_walk *k, size_t step, const tok_piece *p) {
    return split_by(s, k, step, p, REMOVED, is_space);
}

static ry_status read_punctuation(tok_step *s, const ry_json *j, const char *what, const char *field) {
    s->from = ISOLATED;
    RY_TRY(tok_chars_known(what, field));
    return read_behavior(s, j, what, field, false);
}
static ry_status punctuation(const tok_step *s, tok_walk *k, size_t step, const tok_piece *p) {
    return split_by(s, k, step, p, s->from, is_punct);
}

static ry_status read_digits(tok_step *s, const ry_json *j, const char *what, const char *field) {
    RY_TRY(tok_chars_known(what, field));
    return ry_json_bool(&s->on, j, what, "individual_digits", false);
}
static ry_status digits(const tok_step *s, tok_walk *k, size_t step, const tok_piece *p) {
    return split_by(s, k, step, p, s->on ? ISOLATED : CONTIGUOUS, is_number);
}

static ry_status read_delimiter(tok_step *s, const ry_json *j, const char *what, const char *field) {
    int32_t cp;
    RY_TRY(tok_step_text(&s->text, j, what, field, "delimiter", true, true));
    utf8_next(s->text.at, s->text.n, &cp);
    s->from = cp;
    return RY_OK;
}
static ry_status delimiter(const tok_step *s, tok_walk *k, size_t step, const tok_piece *p) {
    return split_by(s, k, step, p, REMOVED, is_delimiter);
}

static ry_status expand_bert(tok_steps *out, const ry_json *j, const char *what, const char *field) {
    static const tok_step_kind steps[] = {{.split = whitespace_split}, {.split = punctuation}};
    (void)j;
    RY_TRY(tok_chars_known(what, field));
    for (int i = 0; i < 2; i++) {
        tok_step *s = RY_PUSH(out);
        if (!s) return RY_ENOMEM;
        s->kind = &steps[i];
        s->from = ISOLATED;
    }
    return RY_OK;
}

static ry_status read_length(tok_step *s, const ry_json *j, const char *what, const char *field) {
    (void)field;
    s->from = 5;
    return ry_json_int(&s->from, j, what, "length", 1, INT64_MAX, false);
}
static ry_status fixed_length(const tok_step *s, tok_walk *k, size_t step, const tok_piece *p) {
    int64_t count = 0;
    size_t begin = 0;
    for (size_t i = 0; i < p->n;) {
        int32_t cp;
        i += utf8_next(p->at + i, p->n - i, &cp);
        if (++count < s->from && i < p->n) continue;
        tok_piece part = tok_piece_cut(p, begin, i);
        RY_TRY(tok_walk_on(k, step + 1, &part));
        begin = i;
        count = 0;
    }
    return RY_OK;
}

/* ---- by expressions: only what matches goes on ---- */
static ry_status matches(const tok_step *s, tok_walk *k, size_t step, const tok_piece *p) {
    splitter sp = {.walk = k, .step = step + 1, .piece = p, .behavior = REMOVED, .invert = true};
    return split_pattern(&sp, s->pattern);
}

static ry_status read_whitespace(tok_step *s, const ry_json *j, const char *what, const char *field) {
    static const char words[] = "[\\w\\x{200c}\\x{200d}]+|[^\\w\\x{200c}\\x{200d}\\s]+";
    (void)j;
    return tok_pattern_regex(&s->pattern, words, sizeof words - 1, what, field);
}

const tok_step_kind tok_pre_tokenizers[] = {
    {.name = "ByteLevel", .expand = expand_bytelevel},
    {.name = "Split", .read = read_split, .split = split},
    {.name = "Metaspace", .read = read_metaspace, .split = metaspace},
    {.name = "Whitespace", .read = read_whitespace, .split = matches},
    {.name = "WhitespaceSplit", .read = read_chars, .split = whitespace_split},
    {.name = "BertPreTokenizer", .expand = expand_bert},
    {.name = "Punctuation", .read = read_punctuation, .split = punctuation},
    {.name = "Digits", .read = read_digits, .split = digits},
    {.name = "CharDelimiterSplit", .read = read_delimiter, .split = delimiter},
    {.name = "FixedLength", .read = read_length, .split = fixed_length},
    {.name = NULL},
};
