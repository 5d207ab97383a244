/* tokenize.c - rusty tokenize and detokenize: text to ids and back, whole or as lines of JSON. */
#include "app.h"
#include <string.h>

typedef struct args {
    const char *model;
    bool json, no_special;
} args;

static ry_status read_stdin(ry_text *out) {
    char block[1 << 16];
    for (size_t n; (n = fread(block, 1, sizeof block, stdin)) > 0;) ry_text_add(out, block, n);
    if (ferror(stdin)) RY_FAIL(RY_EIO, "standard input cannot be read");
    ry_text_add(out, "", 0);
    return ry_text_status(out);
}

/* ---- JSON, as much as the lines need ---- */
typedef struct line {
    const char *at, *end;
    size_t number;
} line;

static ry_status line_wrong(const line *l, const char *must) { RY_FAIL(RY_EFORMAT, "standard input, line %zu: %s", l->number, must); }
static void line_space(line *l) {
    while (l->at < l->end && strchr(" \t\r", *l->at)) l->at++;
}
static bool line_take(line *l, const char *word) {
    size_t n = strlen(word);
    line_space(l);
    if ((size_t)(l->end - l->at) < n || memcmp(l->at, word, n)) return false;
    l->at += n;
    return true;
}

static bool hex4(line *l, unsigned *v) {
    *v = 0;
    for (int i = 0; i < 4; i++, l->at++) {
        const char *digits = "0123456789abcdef", *d = l->at < l->end && *l->at ? strchr(digits, *l->at | (*l->at >= 'A' ? 32 : 0)) : NULL;
        if (!d) return false;
        *v = *v * 16 + (unsigned)(d - digits);
    }
    return true;
}

/* A code point; half of a surrogate pair is U+FFFD. */
static void add_point(ry_text *out, unsigned c) {
    if (c >= 0xD800 && c < 0xE000) c = 0xFFFD;
    unsigned n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    unsigned char s[4] = {(unsigned char)c, 0, 0, 0};
    if (n > 1) {
        for (unsigned i = n; i-- > 1; c >>= 6) s[i] = (unsigned char)(0x80 | (c & 0x3F));
        s[0] = (unsigned char)((0xF00 >> n & 0xFF) | c);
    }
    ry_text_add(out, (const char *)s, n);
}

static ry_status line_string(line *l, ry_text *out) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (!line_take(l, "\"")) return line_wrong(l, "a JSON string must stand here");
    for (;;) {
        const char *run = l->at;
        while (l->at < l->end && *l->at != '"' && *l->at != '\\') l->at++;
        ry_text_add(out, run, (size_t)(l->at - run));
        if (l->at >= l->end) return line_wrong(l, "a string without an end");
        if (*l->at++ == '"') return ry_text_status(out);
        const char *known = l->at < l->end && *l->at ? strchr(from, *l->at) : NULL;
        unsigned c, low;
        if (known) {
            l->at++;
            ry_text_add(out, &to[known - from], 1);
            continue;
        }
        if (l->at >= l->end || *l->at++ != 'u' || !hex4(l, &c)) return line_wrong(l, "an escape that JSON does not know");
        line pair = *l;
        if (c >= 0xD800 && c < 0xDC00 && pair.end - pair.at > 1 && pair.at[0] == '\\' && pair.at[1] == 'u') {
            pair.at += 2;
            if (hex4(&pair, &low) && low >= 0xDC00 && low < 0xE000) {
                *l = pair;
                c = 0x10000 + (c - 0xD800) * 0x400 + (low - 0xDC00);
            }
        }
        add_point(out, c);
    }
}

typedef RY_VEC(int32_t) id_list;

/* Integers with spaces or commas between them, up to `close` (0: the end). */
static ry_status line_ids(line *l, char close, id_list *ids) {
    for (;;) {
        while (l->at < l->end && strchr(" \t\r\n,", *l->at)) l->at++;
        if (l->at == l->end && !close) return RY_OK;
        if (l->at < l->end && close && *l->at == close) {
            l->at++;
            return RY_OK;
        }
        int64_t v = 0;
        const char *start = l->at;
        while (l->at < l->end && *l->at >= '0' && *l->at <= '9' && v <= INT32_MAX) v = v * 10 + (*l->at++ - '0');
        if (l->at == start || v > INT32_MAX) return line_wrong(l, "ids must be integers from 0 to 2147483647");
        int32_t *id = RY_PUSH(ids);
        if (!id) return RY_ENOMEM;
        *id = (int32_t)v;
    }
}

/* ---- lines ---- */
static ry_status put_ids(const ry_tokenizer *t, const args *a, const char *text, size_t n, const char *head, const char *between, const char *tail) {
    int32_t *ids;
    size_t n_ids;
    RY_TRY(ry_encode(t, text, n, !a->no_special, &ids, &n_ids));
    fputs(head, stdout);
    for (size_t i = 0; i < n_ids; i++) printf("%s%d", i ? between : "", ids[i]);
    fputs(tail, stdout);
    ry_free(ids);
    return RY_OK;
}

static ry_status tokenize_line(const ry_tokenizer *t, const args *a, line *l) {
    ry_text text = {0};
    ry_status st = line_string(l, &text);
    if (st == RY_OK) st = put_ids(t, a, text.at ? text.at : "", text.n, "{\"ids\":[", ",", "]}\n");
    ry_text_free(&text);
    return st;
}

static ry_status put_text(const ry_tokenizer *t, const args *a, const id_list *ids) {
    char *text;
    size_t n;
    RY_TRY(ry_decode(t, ids->at, ids->n, a->no_special, false, &text, &n));
    if (a->json) app_json_text(stdout, text, n);
    else fwrite(text, 1, n, stdout);
    if (a->json) putchar('\n');
    ry_free(text);
    return RY_OK;
}

static ry_status detokenize_line(const ry_tokenizer *t, const args *a, line *l) {
    id_list ids = {0};
    bool object = line_take(l, "{");
    ry_status st = RY_OK;
    if (object && (!line_take(l, "\"ids\"") || !line_take(l, ":"))) st = line_wrong(l, "{\"ids\":[...]} must stand here");
    if (st == RY_OK && !line_take(l, "[")) st = line_wrong(l, "{\"ids\":[...]} must stand here");
    if (st == RY_OK) st = line_ids(l, ']', &ids);
    if (st == RY_OK && object && !line_take(l, "}")) st = line_wrong(l, "a } must stand here");
    if (st == RY_OK) st = put_text(t, a, &ids);
    RY_VEC_FREE(&ids);
    return st;
}

static ry_status each_line(const ry_tokenizer *t, const args *a, const ry_text *in, ry_status (*fn)(const ry_tokenizer *, const args *, line *)) {
    const char *end = in->at + in->n;
    size_t number = 0;
    for (const char *at = in->at, *stop; at < end; at = stop + 1) {
        stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        line l = {at, stop, ++number};
        line_space(&l);
        if (l.at == l.end) continue;
        RY_TRY(fn(t, a, &l));
        line_space(&l);
        if (l.at < l.end) return line_wrong(&l, "more text after the value");
    }
    return RY_OK;
}

/* ---- verbs ---- */
static ry_status tokenize(const ry_tokenizer *t, const args *a, const ry_text *in) {
    return a->json ? each_line(t, a, in, tokenize_line) : put_ids(t, a, in->at, in->n, "", " ", "\n");
}

static ry_status detokenize(const ry_tokenizer *t, const args *a, const ry_text *in) {
    if (a->json) return each_line(t, a, in, detokenize_line);
    id_list ids = {0};
    line l = {in->at, in->at + in->n, 1};
    ry_status st = line_ids(&l, 0, &ids);
    if (st == RY_OK) st = put_text(t, a, &ids);
    RY_VEC_FREE(&ids);
    return st;
}

static int run(const app_verb *v, int argc, char **argv, const char *no_special, const char *json,
               ry_status (*fn)(const ry_tokenizer *, const args *, const ry_text *)) {
    args a = {0};
    const app_option options[] = {
        {"--model,-m", OPT_TEXT, &a.model, "MODEL", "folder, tokenizer.json, SentencePiece or tiktoken .model, GGUF", NULL},
        {"--no-special", OPT_FLAG, &a.no_special, NULL, no_special, NULL},
        {"--json", OPT_FLAG, &a.json, NULL, json, NULL},
        {0}};
    int code;
    if (!app_parse(v, options, argc, argv, NULL, 0, &code)) return code;
    if (!a.model) return app_usage(v, "-m is needed");
    ry_tokenizer *t = NULL;
    ry_text in = {0};
    ry_status st = ry_tokenizer_open(&t, a.model);
    if (st == RY_OK) st = read_stdin(&in);
    if (st == RY_OK) st = fn(t, &a, &in);
    ry_text_free(&in);
    ry_tokenizer_close(t);
    return st == RY_OK ? APP_OK : app_fail(st);
}

static int run_tokenize(const app_verb *v, int argc, char **argv) {
    return run(v, argc, argv, "no special tokens around the text", "one JSON string a line in, one {\"ids\":[...]} a line out", tokenize);
}
static int run_detokenize(const app_verb *v, int argc, char **argv) {
    return run(v, argc, argv, "leaves special tokens out", "one {\"ids\":[...]} a line in, one JSON string a line out", detokenize);
}

const app_verb verb_tokenize = {"tokenize", "-m MODEL [options] < TEXT", "text on stdin to token ids", "rusty tokenize -m model/ < book.txt", run_tokenize};
const app_verb verb_detokenize = {"detokenize", "-m MODEL [options] < IDS", "token ids on stdin to text", "echo 464 3290 | rusty detokenize -m model/", run_detokenize};
