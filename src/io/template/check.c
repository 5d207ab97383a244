/* check.c - one walk over a parsed template, before anything runs: filters that do not exist, loops' words outside of loops, what macros ask
 * for, expressions too deep to be evaluated. Owns nothing. */
#include "io/template/jinja.h"
#include <string.h>

typedef struct around { jnode *macro; struct around *up; } around;
typedef struct place { bool soft, loop; around *in; int depth; } place; /* soft: within an if, where an unknown filter is an error only when it is reached */

static ry_status check(const jinja *t, jnode *x, place at);

static ry_status check_all(const jinja *t, jnode *const *list, size_t n, place at) {
    for (size_t i = 0; i < n; i++) RY_TRY(check(t, list[i], at));
    return RY_OK;
}

static ry_status check(const jinja *t, jnode *x, place at) {
    if (!x) return RY_OK;
    if (++at.depth > JINJA_MAX_DEPTH) RY_FAIL(RY_EUNSUPPORTED, "%s:%d: limit: an expression of too many parts", t->what, x->line);
    place soft = at, inner = at, within = at;
    around in = {x, at.in};
    soft.soft = true, inner.soft = false;
    within.soft = within.loop = false, within.in = &in;
    switch ((jnode_kind)x->kind) {
    case JN_BREAK:
    case JN_CONTINUE:
        if (!at.loop) RY_FAIL(RY_EFORMAT, "%s:%d: {%% %s %%} outside of a loop", t->what, x->line, x->name->at);
        return RY_OK;
    case JN_NAME:
        for (around *m = at.in; m; m = m->up) {
            if (!strcmp(x->name->at, "varargs")) m->macro->flag = true;
            if (!strcmp(x->name->at, "kwargs")) m->macro->flag2 = true;
            if (!strcmp(x->name->at, "caller")) m->macro->flag3 = true;
        }
        return RY_OK;
    case JN_IF:
        for (size_t i = 0; i < x->n; i++) {
            RY_TRY(check(t, x->list[i]->a, soft));
            RY_TRY(check_all(t, x->list[i]->list, x->list[i]->n, soft));
        }
        return RY_OK;
    case JN_FOR:
        RY_TRY(check(t, x->b, at));
        RY_TRY(check(t, x->c, inner));
        RY_TRY(check(t, x->other, inner));
        inner.loop = true;
        return check(t, x->body, inner);
    case JN_COND:
        RY_TRY(check(t, x->a, soft));
        RY_TRY(check(t, x->b, soft));
        return check(t, x->c, soft);
    case JN_MACRO:
    case JN_CALL_BLOCK:
    case JN_GENERATION:
        RY_TRY(check(t, x->a, at));
        RY_TRY(check(t, x->other, within));
        return check(t, x->body, within);
    case JN_FILTER_BLOCK:
    case JN_SET_BLOCK:
        RY_TRY(check(t, x->b, inner));
        return check(t, x->body, inner);
    case JN_WITH:
        RY_TRY(check_all(t, x->list, x->n, at));
        return check(t, x->body, inner);
    case JN_BLOCK: inner.loop = false; return check(t, x->body, inner);
    case JN_FILTER:
    case JN_TEST:
        if (!x->row && !at.soft) RY_FAIL(RY_EFORMAT, "%s:%d: there is no %s named '%s'", t->what, x->line, x->kind == JN_TEST ? "test" : "filter", x->name->at);
        break;
    default: break;
    }
    RY_TRY(check(t, x->a, at));
    RY_TRY(check(t, x->b, at));
    RY_TRY(check(t, x->c, at));
    RY_TRY(check_all(t, x->list, x->n, at));
    return RY_OK;
}

ry_status jinja_check(jinja *t) { return check(t, t->root, (place){0}); }
