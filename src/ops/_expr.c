/* _expr.c - a recursive-descent reader of the formula language of map.def (head of that file), and the builder of
 * graphs from it.
 *
 *  * The language is C's expressions over the letters a b c y g, literals T(x), sel(c, x, y) and calls of rows by
 * their names. Knows the names of the rows that the operators mean; owns nothing. */
#include "ops/_expr.h"
#include <string.h>

typedef struct reader {
    expr *e;
    const char *text, *at;
    bool failed;
} reader;

static int fail(reader *r, const char *what) {
    if (!r->failed) ry_fail(RY_EINTERNAL, "formula '%s': %s at '%.20s'", r->text, what, r->at);
    r->failed = true;
    return 0;
}

static int add(reader *r, const expr_node *n) {
    if (r->failed) return 0;
    if (r->e->n == EXPR_MAX) return fail(r, "too long");
    r->e->at[r->e->n] = *n;
    return r->e->n++;
}

static int call(reader *r, const char *row, size_t len, int n, const int *kid) {
    expr_node node = {.kind = EXPR_CALL, .n_kid = n};
    if (len >= sizeof node.row) return fail(r, "name too long");
    memcpy(node.row, row, len);
    for (int i = 0; i < n; i++) node.kid[i] = (int16_t)kid[i];
    return add(r, &node);
}

static void space(reader *r) {
    while (*r->at == ' ') r->at++;
}
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_'; }

/* The token stands here; two-character operators are not mistaken for one-character ones. */
static bool token(reader *r, const char *t) {
    space(r);
    size_t n = strlen(t);
    if (strncmp(r->at, t, n)) return false;
    char next = r->at[n];
    if (n == 1 && ((strchr("&|", *t) && next == *t) || (strchr("<>!=", *t) && next == '='))) return false;
    r->at += n;
    return true;
}

static int binary_level(reader *r, int level);
static int expression(reader *r) { return binary_level(r, 0); }

/* strtod obeys the locale; this does not. Digits beyond the 19th are below every rounding that matters here. */
static double number(reader *r) {
    bool negative = token(r, "-");
    uint64_t digits = 0;
    int scale = 0;
    bool point = false, any = false;
    for (space(r); is_digit(*r->at) || (*r->at == '.' && !point); r->at++) {
        if (*r->at == '.') {
            point = true;
            continue;
        }
        any = true;
        if (digits >= UINT64_MAX / 10 - 1) {
            if (!point) fail(r, "number too long");
            continue;
        }
        digits = digits * 10 + (uint64_t)(*r->at - '0');
        if (point) scale++;
    }
    if (!any) fail(r, "a number belongs");
    double v = (double)digits, ten = 1;
    for (int i = 0; i < scale; i++) ten *= 10;
    return negative ? -(v / ten) : v / ten;
}

static int primary(reader *r) {
    space(r);
    if (token(r, "(")) {
        int x = expression(r);
        if (!token(r, ")")) return fail(r, "')' belongs");
        return x;
    }
    if (is_digit(*r->at)) return add(r, &(expr_node){.kind = EXPR_NUMBER, .value = number(r)});
    const char *word = r->at;
    while (is_word(*r->at)) r->at++;
    size_t len = (size_t)(r->at - word);
    if (!len) return fail(r, "a value belongs");
    if (!token(r, "(")) {
        static const char letters[] = "abcyg";
        const char *letter = len == 1 ? strchr(letters, *word) : NULL;
        if (!letter) return fail(r, "not a letter of a formula");
        return add(r, &(expr_node){.kind = EXPR_LETTER, .letter = (int)(letter - letters)});
    }
    if (len == 1 && *word == 'T') {
        double v = number(r);
        if (!token(r, ")")) return fail(r, "')' belongs");
        return add(r, &(expr_node){.kind = EXPR_NUMBER, .value = v});
    }
    int kid[EXPR_KIDS], n = 0;
    do {
        if (n == EXPR_KIDS) return fail(r, "too many arguments");
        kid[n++] = expression(r);
    } while (!r->failed && token(r, ","));
    if (!token(r, ")")) return fail(r, "')' belongs");
    if (len == 3 && !memcmp(word, "sel", 3)) return call(r, "select", 6, n, kid);
    return call(r, word, len, n, kid);
}

static int unary(reader *r) {
    static const struct { const char *token, *row; } ops[] = {{"-", "neg"}, {"!", "not"}, {"~", "bit_not"}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (token(r, ops[i].token)) {
            int x = unary(r);
            return call(r, ops[i].row, strlen(ops[i].row), 1, &x);
        }
    return primary(r);
}

/* C's levels of binary operators, loosest first. */
static const struct {
    int level;
    const char *token, *row;
} binary[] = {{0, "||", "or"}, {1, "&&", "and"}, {2, "|", "bit_or"}, {3, "^", "bit_xor"}, {4, "&", "bit_and"},
              {5, "==", "eq"}, {5, "!=", "ne"},  {6, "<=", "le"},    {6, ">=", "ge"},     {6, "<", "lt"},
              {6, ">", "gt"},  {7, "+", "add"},  {7, "-", "sub"},    {8, "*", "mul"},     {8, "/", "div"}};
enum { LEVELS = 9 };

static int binary_level(reader *r, int level) {
    if (level == LEVELS) return unary(r);
    int x = binary_level(r, level + 1);
    for (bool more = true; more && !r->failed;) {
        more = false;
        for (size_t i = 0; i < sizeof binary / sizeof *binary && !more; i++)
            if (binary[i].level == level && token(r, binary[i].token)) {
                int kid[2] = {x, binary_level(r, level + 1)};
                const char *row = binary[i].row;
                x = call(r, row, strlen(row), 2, kid);
                more = true;
            }
    }
    return x;
}

ry_status expr_parse(expr *out, const char *text) {
    reader r = {.e = out, .text = text, .at = text};
    out->n = 0;
    expression(&r);
    space(&r);
    if (*r.at) fail(&r, "an operator belongs");
    return r.failed ? RY_EINTERNAL : RY_OK;
}

ry_tensor expr_build(ry_graph *g, const expr *e, const ry_tensor in[EXPR_LETTERS]) {
    ry_tensor at[EXPR_MAX];
    for (int i = 0; i < e->n; i++) {
        const expr_node *n = &e->at[i];
        if (n->kind == EXPR_NUMBER)
            at[i] = ry_scalar(g, n->value);
        else if (n->kind == EXPR_LETTER)
            at[i] = in[n->letter];
        else {
            ry_tensor kid[EXPR_KIDS];
            for (int k = 0; k < n->n_kid; k++) kid[k] = at[n->kid[k]];
            at[i] = ry_apply_row(g, ry_row(n->row), (size_t)n->n_kid, kid, NULL);
        }
    }
    return e->n ? at[e->n - 1] : RY_NULL;
}
