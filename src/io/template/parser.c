/* parser.c - tokens to nodes, by Jinja's grammar  Owns the template object. */
#include "io/template/jinja.h"
#include <string.h>

typedef struct parser {
    jinja *t;
    jtokens tokens;
    size_t at;
    int nest;
} parser;

typedef struct nodes { jnode **at; size_t n, cap; } nodes;

static ry_status expression(parser *p, bool cond, jnode **out);
static ry_status statements(parser *p, const char *const *ends, jnode **out);

static const jtoken *now(const parser *p) { return &p->tokens.at[p->at]; }
static const jtoken *after(const parser *p) { return now(p)->kind == JT_EOF ? now(p) : now(p) + 1; }
static void skip(parser *p) {
    if (now(p)->kind != JT_EOF) p->at++;
}
static bool is_name(const jtoken *k, const char *w) { return k->kind == JT_NAME && strlen(w) == k->n && !memcmp(w, k->at, k->n); }
static bool is_op(const jtoken *k, int op) { return k->kind == JT_OP && k->op == op; }
static bool take_name(parser *p, const char *w) {
    bool yes = is_name(now(p), w);
    if (yes) skip(p);
    return yes;
}
static bool take_op(parser *p, int op) {
    bool yes = is_op(now(p), op);
    if (yes) skip(p);
    return yes;
}

static ry_status unexpected(const parser *p, const char *wanted) {
    const jtoken *k = now(p);
    char op[3] = {(char)(k->op >> 8 ? k->op >> 8 : k->op), (char)(k->op >> 8 ? k->op & 255 : 0), 0};
    static const char *const kinds[] = {"the end of the template", "text", "{{", "}}", "{%", "%}", "a name", "a text", "an integer", "a number", ""};
    const char *what = k->kind == JT_OP ? op : k->kind == JT_NAME ? k->at : kinds[k->kind];
    return ry_fail(RY_EFORMAT, "%s:%d: expected %s, found '%.*s'", p->t->what, k->line, wanted, k->kind == JT_NAME ? (int)(k->n > 40 ? 40 : k->n) : 40, what);
}
static ry_status need_op(parser *p, int op) {
    char wanted[5] = {'\'', (char)op, '\'', 0};
    return take_op(p, op) ? RY_OK : unexpected(p, wanted);
}
static ry_status need_name(parser *p, const jname **out) {
    if (now(p)->kind != JT_NAME) return unexpected(p, "a name");
    *out = jinja_name(p->t, now(p)->at, now(p)->n);
    skip(p);
    return *out ? RY_OK : RY_ENOMEM;
}
static ry_status need_kind(parser *p, jtoken_kind kind) {
    if (now(p)->kind != kind) return unexpected(p, kind == JT_BLOCK_END ? "'%}'" : "'}}'");
    skip(p);
    return RY_OK;
}
static ry_status nest(parser *p, int by) {
    p->nest += by;
    if (p->nest > JINJA_MAX_NEST) RY_FAIL(RY_EUNSUPPORTED, "%s:%d: limit: more than %d levels within each other", p->t->what, now(p)->line, (int)JINJA_MAX_NEST);
    return RY_OK;
}

static ry_status node(parser *p, jnode_kind kind, jnode **out) {
    jnode *x = RY_NEW(&p->t->arena, jnode, 1);
    if (!x) return RY_ENOMEM;
    x->kind = (uint8_t)kind;
    x->line = now(p)->line;
    *out = x;
    return RY_OK;
}
static ry_status add(parser *p, nodes *l, jnode *x) {
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 4;
        jnode **more = RY_NEW(&p->t->arena, jnode *, cap);
        if (!more) return RY_ENOMEM;
        if (l->n) memcpy(more, l->at, l->n * sizeof *more);
        l->at = more, l->cap = cap;
    }
    l->at[l->n++] = x;
    return RY_OK;
}

/* ---- expressions ---- */

static ry_status make_text(parser *p, jnode *x, const char *s, size_t n) {
    jtext *t = RY_NEW(&p->t->arena, jtext, 1);
    if (!t) return RY_ENOMEM;
    *t = (jtext){.at = s, .n = n, .chars = SIZE_MAX};
    jtext_chars(t); /* now, so that renderings in several threads only read it */
    x->kind = JN_CONST;
    x->value = (jv){.kind = JV_TEXT, .text = t};
    return RY_OK;
}

static bool tuple_ends(const parser *p, const char *end) {
    const jtoken *k = now(p);
    return k->kind == JT_PRINT_END || k->kind == JT_BLOCK_END || is_op(k, ')') || (end && is_name(k, end));
}

static ry_status primary(parser *p, bool space, jnode **out);

/* simple: only names and literals; space: namespace attributes too (targets of set). */
static ry_status tuple(parser *p, bool simple, bool cond, const char *end, bool brackets, bool space, jnode **out) {
    nodes l = {0};
    bool is_tuple = false;
    jnode *x;
    RY_TRY(node(p, JN_TUPLE, out));
    for (;;) {
        if (l.n) RY_TRY(need_op(p, ','));
        if (tuple_ends(p, end)) break;
        RY_TRY(simple ? primary(p, space, &x) : expression(p, cond, &x));
        RY_TRY(add(p, &l, x));
        if (!is_op(now(p), ',')) break;
        is_tuple = true;
    }
    if (!is_tuple && l.n) {
        *out = l.at[0];
        return RY_OK;
    }
    if (!is_tuple && !brackets) return unexpected(p, "an expression");
    (*out)->list = l.at, (*out)->n = l.n;
    return RY_OK;
}

static ry_status bracketed(parser *p, jnode **out) { /* [a, b] and {a: b} */
    bool dict = is_op(now(p), '{');
    int end = dict ? '}' : ']';
    nodes l = {0};
    RY_TRY(node(p, dict ? JN_DICT : JN_LIST, out));
    skip(p);
    while (!is_op(now(p), end)) {
        jnode *x, *pair;
        if (l.n) RY_TRY(need_op(p, ','));
        if (is_op(now(p), end)) break;
        RY_TRY(expression(p, true, &x));
        if (dict) {
            RY_TRY(node(p, JN_KEYWORD, &pair));
            RY_TRY(need_op(p, ':'));
            pair->a = x;
            RY_TRY(expression(p, true, &pair->b));
            x = pair;
        }
        RY_TRY(add(p, &l, x));
    }
    skip(p);
    (*out)->list = l.at, (*out)->n = l.n;
    return RY_OK;
}

static ry_status texts(parser *p, jnode *x) { /* adjacent texts are one */
    size_t n = 0, first = p->at;
    while (now(p)->kind == JT_TEXT) {
        n += now(p)->n;
        skip(p);
    }
    char *s = ry_arena_alloc(&p->t->arena, n + 1);
    if (!s) return RY_ENOMEM;
    n = 0;
    for (size_t i = first; i < p->at; i++) {
        memcpy(s + n, p->tokens.at[i].at, p->tokens.at[i].n);
        n += p->tokens.at[i].n;
    }
    return make_text(p, x, s, n);
}

static ry_status primary(parser *p, bool space, jnode **out) {
    const jtoken *k = now(p);
    jnode *x;
    RY_TRY(node(p, JN_CONST, out));
    x = *out;
    switch (k->kind) {
    case JT_NAME:
        if (is_name(k, "true") || is_name(k, "True")) x->value = jv_bool(true);
        else if (is_name(k, "false") || is_name(k, "False")) x->value = jv_bool(false);
        else if (is_name(k, "none") || is_name(k, "None")) x->value = JV_NOTHING;
        else {
            x->kind = JN_NAME;
            RY_TRY(need_name(p, &x->name));
            if (!space || !take_op(p, '.')) return RY_OK;
            x->kind = JN_SPACE_REF;
            RY_TRY(node(p, JN_NAME, &x->a));
            x->a->name = x->name;
            return need_name(p, &x->name);
        }
        skip(p);
        return RY_OK;
    case JT_TEXT: return texts(p, x);
    case JT_INT: x->value = jv_int(k->i); break;
    case JT_REAL: x->value = jv_real(k->f); break;
    case JT_OP:
        if (k->op == '[' || k->op == '{') {
            RY_TRY(nest(p, 1));
            RY_TRY(bracketed(p, out));
            return nest(p, -1);
        }
        if (k->op == '(') {
            RY_TRY(nest(p, 1));
            skip(p);
            RY_TRY(tuple(p, false, true, NULL, true, false, out));
            RY_TRY(need_op(p, ')'));
            return nest(p, -1);
        }
        /* fall through */
    default: return unexpected(p, "an expression");
    }
    skip(p);
    return RY_OK;
}

static ry_status arguments(parser *p, jnode **out) {
    nodes l = {0};
    bool keys = false;
    RY_TRY(node(p, JN_ARGS, out));
    RY_TRY(need_op(p, '('));
    RY_TRY(nest(p, 1));
    for (bool comma = false; !is_op(now(p), ')'); comma = true) {
        jnode *x, **star = NULL;
        if (comma) {
            RY_TRY(need_op(p, ','));
            if (is_op(now(p), ')')) break;
        }
        if ((*out)->b) return unexpected(p, "nothing after **");
        if (take_op(p, '*')) star = &(*out)->a;
        else if (take_op(p, JT_OP2('*', '*'))) star = &(*out)->b;
        if (star) {
            if (*star) return unexpected(p, "one * and one **");
            RY_TRY(expression(p, true, star));
            continue;
        }
        if (now(p)->kind == JT_NAME && is_op(after(p), '=')) {
            RY_TRY(node(p, JN_KEYWORD, &x));
            RY_TRY(need_name(p, &x->name));
            skip(p);
            RY_TRY(expression(p, true, &x->a));
            keys = true;
        } else {
            if ((*out)->a || keys) return unexpected(p, "a named argument after named ones");
            RY_TRY(expression(p, true, &x));
        }
        RY_TRY(add(p, &l, x));
    }
    skip(p);
    (*out)->list = l.at, (*out)->n = l.n;
    return nest(p, -1);
}

static ry_status call(parser *p, jnode **x) {
    jnode *c;
    RY_TRY(node(p, JN_CALL, &c));
    c->a = *x;
    RY_TRY(arguments(p, &c->b));
    *x = c;
    return RY_OK;
}

static ry_status subscribed(parser *p, jnode **out) { /* a key, or start:stop:step */
    jnode *first = NULL, *s;
    if (!is_op(now(p), ':')) {
        RY_TRY(expression(p, true, out));
        if (!is_op(now(p), ':')) return RY_OK;
        first = *out;
    }
    RY_TRY(node(p, JN_SLICE, &s));
    *out = s;
    s->a = first;
    skip(p);
    if (!is_op(now(p), ':') && !is_op(now(p), ']') && !is_op(now(p), ',')) RY_TRY(expression(p, true, &s->b));
    if (take_op(p, ':') && !is_op(now(p), ']') && !is_op(now(p), ',')) RY_TRY(expression(p, true, &s->c));
    return RY_OK;
}

static ry_status subscript(parser *p, jnode **x) {
    jnode *s;
    RY_TRY(node(p, JN_ITEM, &s));
    s->a = *x;
    *x = s;
    if (take_op(p, '.')) {
        if (now(p)->kind == JT_NAME) {
            s->kind = JN_ATTR;
            return need_name(p, &s->name);
        }
        if (now(p)->kind != JT_INT) return unexpected(p, "a name or an integer");
        return primary(p, false, &s->b);
    }
    skip(p);
    nodes l = {0};
    RY_TRY(nest(p, 1));
    while (!is_op(now(p), ']')) {
        jnode *k;
        if (l.n) RY_TRY(need_op(p, ','));
        RY_TRY(subscribed(p, &k));
        RY_TRY(add(p, &l, k));
    }
    skip(p);
    RY_TRY(nest(p, -1));
    if (l.n == 1) s->b = l.at[0];
    else {
        RY_TRY(node(p, JN_TUPLE, &s->b));
        s->b->list = l.at, s->b->n = l.n;
    }
    return RY_OK;
}

static ry_status postfix(parser *p, jnode **x) {
    for (;;) {
        if (is_op(now(p), '.') || is_op(now(p), '[')) RY_TRY(subscript(p, x));
        else if (is_op(now(p), '(')) RY_TRY(call(p, x));
        else return RY_OK;
    }
}

static ry_status dotted(parser *p, jnode *x) { /* the name of a filter or test; none of ours has a dot */
    RY_TRY(need_name(p, &x->name));
    bool plain = true;
    while (take_op(p, '.')) {
        const jname *more;
        RY_TRY(need_name(p, &more));
        plain = false;
    }
    if (plain) x->row = x->kind == JN_TEST ? jinja_test(x->name->at, x->name->n) : jinja_filter(x->name->at, x->name->n);
    return RY_OK;
}

static ry_status filter(parser *p, jnode **x) { /* at the filter's name */
    jnode *f;
    RY_TRY(node(p, JN_FILTER, &f));
    f->a = *x;
    *x = f;
    RY_TRY(dotted(p, f));
    return is_op(now(p), '(') ? arguments(p, &f->b) : RY_OK;
}

static ry_status test(parser *p, jnode **x) { /* after "is" */
    bool negated = take_name(p, "not");
    jnode *t, *args;
    RY_TRY(node(p, JN_TEST, &t));
    t->a = *x;
    *x = t;
    RY_TRY(dotted(p, t));
    const jtoken *k = now(p);
    if (is_op(k, '(')) RY_TRY(arguments(p, &t->b));
    else if ((k->kind == JT_NAME && !is_name(k, "else") && !is_name(k, "or") && !is_name(k, "and")) || k->kind == JT_TEXT || k->kind == JT_INT || k->kind == JT_REAL ||
             is_op(k, '[') || is_op(k, '{')) {
        nodes l = {0};
        jnode *arg;
        if (is_name(k, "is")) return unexpected(p, "one test, not a chain of them");
        RY_TRY(node(p, JN_ARGS, &args));
        RY_TRY(primary(p, false, &arg));
        RY_TRY(postfix(p, &arg));
        RY_TRY(add(p, &l, arg));
        args->list = l.at, args->n = l.n;
        t->b = args;
    }
    if (!negated) return RY_OK;
    RY_TRY(node(p, JN_NOT, x));
    (*x)->a = t;
    return RY_OK;
}

static ry_status unary(parser *p, bool filters, jnode **out) {
    if (is_op(now(p), '-') || is_op(now(p), '+')) {
        jnode *x;
        RY_TRY(node(p, is_op(now(p), '-') ? JN_NEG : JN_POS, &x));
        skip(p);
        RY_TRY(nest(p, 1));
        RY_TRY(unary(p, false, &x->a));
        RY_TRY(nest(p, -1));
        *out = x;
    } else RY_TRY(primary(p, false, out));
    RY_TRY(postfix(p, out));
    while (filters) {
        if (take_op(p, '|')) RY_TRY(filter(p, out));
        else if (take_name(p, "is")) RY_TRY(test(p, out));
        else if (is_op(now(p), '(')) RY_TRY(call(p, out));
        else break;
    }
    return RY_OK;
}

/* The levels of arithmetic, loosest first; each is left-associative, ** too. ~ joins any number of parts. */
enum { LEVEL_ADD, LEVEL_CONCAT, LEVEL_MUL, LEVEL_POW, LEVEL_UNARY };
static int level_op(const jtoken *k, int level) { /* a jop, or -1 */
    if (k->kind != JT_OP) return -1;
    switch (k->op) {
    case '+': return level == LEVEL_ADD ? JO_ADD : -1;
    case '-': return level == LEVEL_ADD ? JO_SUB : -1;
    case '*': return level == LEVEL_MUL ? JO_MUL : -1;
    case '/': return level == LEVEL_MUL ? JO_DIV : -1;
    case JT_OP2('/', '/'): return level == LEVEL_MUL ? JO_FLOOR : -1;
    case '%': return level == LEVEL_MUL ? JO_MOD : -1;
    case JT_OP2('*', '*'): return level == LEVEL_POW ? JO_POW : -1;
    default: return -1;
    }
}

static ry_status arithmetic(parser *p, int level, jnode **out) {
    if (level == LEVEL_UNARY) return unary(p, true, out);
    RY_TRY(arithmetic(p, level + 1, out));
    if (level == LEVEL_CONCAT) {
        nodes l = {0};
        while (is_op(now(p), '~')) {
            if (!l.n) RY_TRY(add(p, &l, *out));
            skip(p);
            jnode *x;
            RY_TRY(arithmetic(p, level + 1, &x));
            RY_TRY(add(p, &l, x));
        }
        if (!l.n) return RY_OK;
        RY_TRY(node(p, JN_CONCAT, out));
        (*out)->list = l.at, (*out)->n = l.n;
        return RY_OK;
    }
    for (int op; (op = level_op(now(p), level)) >= 0;) {
        jnode *x;
        RY_TRY(node(p, JN_BINARY, &x));
        x->op = (uint8_t)op;
        x->a = *out;
        skip(p);
        RY_TRY(arithmetic(p, level + 1, &x->b));
        *out = x;
    }
    return RY_OK;
}

static int compare_op(parser *p) { /* takes it; -1: there is none */
    static const struct { int op, is; } ops[] = {{JT_OP2('=', '='), JO_EQ}, {JT_OP2('!', '='), JO_NE}, {'<', JO_LT}, {JT_OP2('<', '='), JO_LE}, {'>', JO_GT}, {JT_OP2('>', '='), JO_GE}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (take_op(p, ops[i].op)) return ops[i].is;
    if (take_name(p, "in")) return JO_IN;
    if (!is_name(now(p), "not") || !is_name(after(p), "in")) return -1;
    skip(p);
    skip(p);
    return JO_NOT_IN;
}

static ry_status comparison(parser *p, jnode **out) {
    if (is_name(now(p), "not")) {
        jnode *x;
        RY_TRY(node(p, JN_NOT, &x));
        skip(p);
        RY_TRY(nest(p, 1));
        RY_TRY(comparison(p, &x->a));
        *out = x;
        return nest(p, -1);
    }
    nodes l = {0};
    RY_TRY(arithmetic(p, LEVEL_ADD, out));
    for (int op; (op = compare_op(p)) >= 0;) {
        jnode *x;
        RY_TRY(node(p, JN_OPERAND, &x));
        x->op = (uint8_t)op;
        RY_TRY(arithmetic(p, LEVEL_ADD, &x->a));
        RY_TRY(add(p, &l, x));
    }
    if (!l.n) return RY_OK;
    jnode *x;
    RY_TRY(node(p, JN_COMPARE, &x));
    x->a = *out, x->list = l.at, x->n = l.n;
    *out = x;
    return RY_OK;
}

static ry_status logic(parser *p, bool is_or, jnode **out) {
    RY_TRY(is_or ? logic(p, false, out) : comparison(p, out));
    while (take_name(p, is_or ? "or" : "and")) {
        jnode *x;
        RY_TRY(node(p, is_or ? JN_OR : JN_AND, &x));
        x->a = *out;
        RY_TRY(is_or ? logic(p, false, &x->b) : comparison(p, &x->b));
        *out = x;
    }
    return RY_OK;
}

static ry_status expression(parser *p, bool cond, jnode **out) {
    RY_TRY(logic(p, true, out));
    while (cond && take_name(p, "if")) {
        jnode *x;
        RY_TRY(node(p, JN_COND, &x));
        x->a = *out;
        RY_TRY(logic(p, true, &x->b));
        if (take_name(p, "else")) {
            RY_TRY(nest(p, 1));
            RY_TRY(expression(p, true, &x->c));
            RY_TRY(nest(p, -1));
        }
        *out = x;
    }
    return RY_OK;
}

/* ---- statements ---- */

static bool reserved(const jname *n) {
    static const char *const words[] = {"true", "false", "none", "True", "False", "None"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(n->at, words[i])) return true;
    return false;
}

static bool assignable(const jnode *x) {
    if (x->kind == JN_TUPLE) {
        for (size_t i = 0; i < x->n; i++)
            if (!assignable(x->list[i])) return false;
        return true;
    }
    return x->kind == JN_SPACE_REF || (x->kind == JN_NAME && !reserved(x->name));
}

static ry_status target(parser *p, const char *end, bool space, jnode **out) {
    int line = now(p)->line;
    RY_TRY(tuple(p, true, true, end, false, space, out));
    if (!assignable(*out)) RY_FAIL(RY_EFORMAT, "%s:%d: this cannot be assigned to", p->t->what, line);
    return RY_OK;
}

static ry_status target_name(parser *p, const jname **out) {
    RY_TRY(need_name(p, out));
    if (reserved(*out)) RY_FAIL(RY_EFORMAT, "%s:%d: '%s' cannot be assigned to", p->t->what, now(p)->line, (*out)->at);
    return RY_OK;
}

static ry_status signature(parser *p, jnode *m) {
    nodes l = {0};
    bool defaults = false;
    RY_TRY(need_op(p, '('));
    while (!is_op(now(p), ')')) {
        jnode *x;
        if (l.n) RY_TRY(need_op(p, ','));
        RY_TRY(node(p, JN_KEYWORD, &x));
        RY_TRY(target_name(p, &x->name));
        for (size_t i = 0; i < l.n; i++)
            if (l.at[i]->name == x->name) RY_FAIL(RY_EFORMAT, "%s:%d: two parameters named '%s'", p->t->what, x->line, x->name->at);
        if (take_op(p, '=')) {
            defaults = true;
            RY_TRY(expression(p, true, &x->a));
        } else if (defaults) return unexpected(p, "a default, as the parameters before have one");
        RY_TRY(add(p, &l, x));
    }
    skip(p);
    RY_TRY(node(p, JN_ARGS, &m->other));
    m->other->list = l.at, m->other->n = l.n;
    return RY_OK;
}

#define ENDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static ry_status body(parser *p, const char *end, jnode **out) {
    RY_TRY(statements(p, ENDS(end), out));
    skip(p);
    return RY_OK;
}

static ry_status parse_if(parser *p, jnode *x) {
    nodes l = {0};
    for (bool more = true; more;) {
        jnode *cond, *branch;
        RY_TRY(tuple(p, false, false, NULL, false, false, &cond));
        RY_TRY(statements(p, ENDS("elif", "else", "endif"), &branch));
        branch->a = cond;
        RY_TRY(add(p, &l, branch));
        more = take_name(p, "elif");
    }
    if (take_name(p, "else")) {
        jnode *branch;
        RY_TRY(body(p, "endif", &branch));
        RY_TRY(add(p, &l, branch));
    } else skip(p);
    x->list = l.at, x->n = l.n;
    return RY_OK;
}

static ry_status parse_for(parser *p, jnode *x) {
    RY_TRY(target(p, "in", false, &x->a));
    if (!take_name(p, "in")) return unexpected(p, "'in'");
    RY_TRY(tuple(p, false, false, "recursive", false, false, &x->b));
    if (take_name(p, "if")) RY_TRY(expression(p, true, &x->c));
    x->flag = take_name(p, "recursive");
    RY_TRY(statements(p, ENDS("endfor", "else"), &x->body));
    if (take_name(p, "else")) return body(p, "endfor", &x->other);
    skip(p);
    return RY_OK;
}

static ry_status parse_set(parser *p, jnode *x) {
    RY_TRY(target(p, NULL, true, &x->a));
    if (take_op(p, '=')) return tuple(p, false, true, NULL, false, false, &x->b);
    x->kind = JN_SET_BLOCK;
    while (take_op(p, '|')) RY_TRY(filter(p, &x->b));
    return body(p, "endset", &x->body);
}

static ry_status parse_with(parser *p, jnode *x) {
    nodes l = {0};
    while (now(p)->kind != JT_BLOCK_END && now(p)->kind != JT_EOF) {
        jnode *pair;
        if (l.n) RY_TRY(need_op(p, ','));
        RY_TRY(node(p, JN_KEYWORD, &pair));
        RY_TRY(target(p, NULL, false, &pair->a));
        RY_TRY(need_op(p, '='));
        RY_TRY(expression(p, true, &pair->b));
        RY_TRY(add(p, &l, pair));
    }
    x->list = l.at, x->n = l.n;
    return body(p, "endwith", &x->body);
}

static ry_status parse_print(parser *p, jnode *x) {
    nodes l = {0};
    while (now(p)->kind != JT_BLOCK_END && now(p)->kind != JT_EOF) {
        jnode *print;
        if (l.n) RY_TRY(need_op(p, ','));
        RY_TRY(node(p, JN_PRINT, &print));
        RY_TRY(expression(p, true, &print->a));
        RY_TRY(add(p, &l, print));
    }
    x->kind = JN_BODY;
    x->list = l.at, x->n = l.n;
    return RY_OK;
}

static ry_status parse_macro(parser *p, jnode *x) {
    RY_TRY(target_name(p, &x->name));
    RY_TRY(signature(p, x));
    return body(p, "endmacro", &x->body);
}

static ry_status parse_call(parser *p, jnode *x) {
    if (is_op(now(p), '(')) RY_TRY(signature(p, x));
    else RY_TRY(node(p, JN_ARGS, &x->other));
    RY_TRY(expression(p, true, &x->a));
    if (x->a->kind != JN_CALL) return unexpected(p, "a call");
    return body(p, "endcall", &x->body);
}

static ry_status parse_filter(parser *p, jnode *x) {
    do RY_TRY(filter(p, &x->b));
    while (take_op(p, '|'));
    return body(p, "endfilter", &x->body);
}

static ry_status parse_generation(parser *p, jnode *x) {
    p->t->generation = true;
    RY_TRY(node(p, JN_ARGS, &x->other));
    return body(p, "endgeneration", &x->body);
}

static ry_status parse_block(parser *p, jnode *x) {
    RY_TRY(need_name(p, &x->name));
    take_name(p, "scoped");
    RY_TRY(body(p, "endblock", &x->body));
    take_name(p, x->name->at);
    return RY_OK;
}

static ry_status parse_nothing(parser *p, jnode *x) {
    (void)p, (void)x;
    return RY_OK;
}

static ry_status refuse(parser *p, jnode *x) {
    RY_FAIL(RY_EUNSUPPORTED, "%s:%d: {%% %s %%} is refused: a chat template reads no other templates", p->t->what, x->line, x->name->at);
}

static ry_status refuse_escape(parser *p, jnode *x) { RY_FAIL(RY_EUNSUPPORTED, "%s:%d: {%% autoescape %%} is not supported", p->t->what, x->line); }

static ry_status statement(parser *p, jnode **out) {
    static const struct { const char *word; jnode_kind kind; ry_status (*parse)(parser *p, jnode *x); } tags[] = {
        {"if", JN_IF, parse_if}, {"for", JN_FOR, parse_for}, {"set", JN_SET, parse_set}, {"macro", JN_MACRO, parse_macro}, {"call", JN_CALL_BLOCK, parse_call},
        {"filter", JN_FILTER_BLOCK, parse_filter}, {"with", JN_WITH, parse_with}, {"generation", JN_GENERATION, parse_generation}, {"print", JN_PRINT, parse_print},
        {"block", JN_BLOCK, parse_block}, {"break", JN_BREAK, parse_nothing}, {"continue", JN_CONTINUE, parse_nothing}, {"include", JN_BODY, refuse},
        {"import", JN_BODY, refuse}, {"from", JN_BODY, refuse}, {"extends", JN_BODY, refuse}, {"autoescape", JN_BODY, refuse_escape}};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (is_name(now(p), tags[i].word)) {
            RY_TRY(node(p, tags[i].kind, out));
            const jname *word;
            RY_TRY(need_name(p, &word));
            (*out)->name = word;
            RY_TRY(nest(p, 1));
            RY_TRY(tags[i].parse(p, *out));
            return nest(p, -1);
        }
    return unexpected(p, "a tag that Jinja knows, or the end of the one that is open");
}

/* Statements until one of `ends` (NULL: the template's end), whose word is then the present token. */
static ry_status until(parser *p, const char *const *ends, jnode **out) {
    nodes l = {0};
    jnode *x = NULL;
    RY_TRY(node(p, JN_BODY, out));
    for (;;) {
        switch (now(p)->kind) {
        case JT_DATA:
            RY_TRY(node(p, JN_DATA, &x));
            RY_TRY(make_text(p, x, now(p)->at, now(p)->n));
            x->kind = JN_DATA;
            skip(p);
            break;
        case JT_PRINT_BEGIN:
            RY_TRY(node(p, JN_PRINT, &x));
            skip(p);
            RY_TRY(tuple(p, false, true, NULL, false, false, &x->a));
            RY_TRY(need_kind(p, JT_PRINT_END));
            break;
        case JT_BLOCK_BEGIN:
            skip(p);
            for (const char *const *e = ends; e && *e; e++)
                if (is_name(now(p), *e)) {
                    (*out)->list = l.at, (*out)->n = l.n;
                    return RY_OK;
                }
            RY_TRY(statement(p, &x));
            RY_TRY(need_kind(p, JT_BLOCK_END));
            break;
        default: /* the lexer gives nothing else here but the end */
            if (ends) RY_FAIL(RY_EFORMAT, "%s:%d: the template ends where {%% %s %%} should close the tag of line %d", p->t->what, now(p)->line, ends[0], (*out)->line);
            (*out)->list = l.at, (*out)->n = l.n;
            return RY_OK;
        }
        RY_TRY(add(p, &l, x));
    }
}

static ry_status statements(parser *p, const char *const *ends, jnode **out) {
    take_op(p, ':');
    RY_TRY(need_kind(p, JT_BLOCK_END));
    return until(p, ends, out);
}

/* ---- the template ---- */

static jname **place_of(const jinja *t, const char *s, size_t n, uint64_t hash) {
    jname **at = (jname **)&t->names[hash & 255];
    while (*at && ((*at)->hash != hash || (*at)->n != n || memcmp((*at)->at, s, n))) at = &(*at)->next;
    return at;
}

const jname *jinja_known(const jinja *t, const char *s, size_t n) { return *place_of(t, s, n, ry_text_hash(RY_TEXT_HASH, s, n)); }

const jname *jinja_name(jinja *t, const char *s, size_t n) {
    uint64_t hash = ry_text_hash(RY_TEXT_HASH, s, n);
    jname **at = place_of(t, s, n, hash);
    if (*at) return *at;
    jname *x = ry_arena_alloc(&t->arena, sizeof *x + n + 1);
    if (!x) return NULL;
    x->hash = hash, x->n = n;
    memcpy(x->at, s, n);
    return *at = x;
}

void jinja_close(jinja *t) {
    if (!t) return;
    ry_arena_free(&t->arena);
    ry_mem_free(t);
}

ry_status jinja_open(jinja **out, const char *text, size_t n, const char *what) {
    static const char *const own[] = {"loop", "caller", "varargs", "kwargs"}; /* what the interpreter binds itself */
    parser p = {.t = ry_mem_zalloc(sizeof *p.t)};
    ry_status st = RY_ENOMEM;
    if (!p.t) return RY_ENOMEM;
    p.t->max_steps = JINJA_MAX_STEPS;
    p.t->max_bytes = JINJA_MAX_BYTES;
    if (!(p.t->what = ry_arena_strdup(&p.t->arena, what))) goto done;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!jinja_name(p.t, own[i], strlen(own[i]))) goto done;
    RY_GO(st, done, jinja_lex(p.t, &p.tokens, text, n));
    RY_GO(st, done, until(&p, NULL, &p.t->root));
    RY_GO(st, done, jinja_check(p.t));
done:
    RY_VEC_FREE(&p.tokens);
    if (st == RY_OK) *out = p.t;
    else jinja_close(p.t);
    return st;
}
