/* exec.c - statements: output, conditions, loops, assignments, macros.  Owns nothing. */
#include "io/template/jinja.h"
#include <string.h>

static ry_status scope_in(jrun *r, jscope *parent, jscope **out) {
    jscope *s = JRUN_NEW(r, jscope, 1);
    if (!s) return jrun_nomem(r);
    s->parent = parent;
    *out = s;
    return RY_OK;
}

/* The body in a scope of its own, as a text. */
static ry_status capture(jrun *r, const jnode *body, jscope *parent, jbuf *b) {
    jscope *s = NULL;
    RY_TRY(scope_in(r, parent, &s));
    return jinja_exec_body(r, body, s, b);
}

ry_status jinja_assign(jrun *r, const jnode *target, jv v, jscope *s) {
    if (target->kind == JN_NAME) return jscope_put(r, s, target->name, v);
    if (target->kind == JN_SPACE_REF) {
        jv *space = jscope_find(s, target->a->name), name;
        if (!space || space->kind != JV_SPACE) return jrun_fail(r, RY_EARG, "'%s' is no namespace: its attributes cannot be set", target->a->name->at);
        if (target->name->at[0] == '_') return jrun_fail(r, RY_EARG, "the sandbox refuses a namespace's attribute that begins with _: '%s'", target->name->at);
        RY_TRY(jv_text(r, &name, target->name->at, target->name->n));
        return jdict_put(r, space->dict, name, v);
    }
    jiter *it = NULL;
    jv x;
    bool more;
    RY_TRY(jiter_open(r, v, &it));
    for (size_t i = 0; i < target->n; i++) {
        RY_TRY(jiter_next(r, it, &x, &more));
        if (!more) return jrun_fail(r, RY_EARG, "%zu values for %zu names", i, target->n);
        RY_TRY(jinja_assign(r, target->list[i], x, s));
    }
    RY_TRY(jiter_next(r, it, &x, &more));
    if (more) return jrun_fail(r, RY_EARG, "more than %zu values for %zu names", target->n, target->n);
    return RY_OK;
}

/* ---- loops ---- */

static ry_status next_tested(jrun *r, jiter *it, jv *out, bool *more) { /* for x in y if z */
    for (;;) {
        bool yes;
        jv c;
        jscope *s = NULL;
        RY_TRY(jiter_next(r, it->from, out, more));
        if (!*more) return RY_OK;
        RY_TRY(scope_in(r, it->scope, &s));
        RY_TRY(jinja_assign(r, it->node->a, *out, s));
        RY_TRY(jinja_eval(r, it->node->c, s, &c));
        RY_TRY(jv_true(r, c, &yes));
        if (yes) return RY_OK;
    }
}

static ry_status loop_open(jrun *r, const jnode *n, jv items, jscope *parent, int depth, jloop **out) {
    jloop *l = JRUN_NEW(r, jloop, 1);
    if (!l) return jrun_nomem(r);
    *l = (jloop){.source = items, .index0 = -1, .length = -1, .depth = depth, .recursive = n->flag ? n : NULL, .scope = parent};
    RY_TRY(jiter_open(r, items, &l->iter));
    if (n->c) {
        jiter *it = JRUN_NEW(r, jiter, 1);
        if (!it) return jrun_nomem(r);
        it->next = next_tested, it->from = l->iter, it->node = n, it->scope = parent;
        l->iter = it;
        l->source = (jv){.kind = JV_ITER, .iter = it};
    }
    *out = l;
    return RY_OK;
}

static ry_status run_for(jrun *r, const jnode *n, jv items, jscope *parent, int depth, jbuf *out) {
    jloop *l = NULL;
    jscope *s = NULL;
    const jname *loop_name = jinja_known(r->t, "loop", 4);
    RY_TRY(loop_open(r, n, items, parent, depth, &l));
    RY_TRY(scope_in(r, parent, &s));
    bool whole = false; /* Jinja's else is for loops of which no round came to its end */
    for (;;) {
        jv x = l->after;
        bool more = x.kind != JV_MISSING;
        if (!more) RY_TRY(jiter_next(r, l->iter, &x, &more));
        if (!more) break;
        l->after.kind = JV_MISSING;
        l->index0++;
        l->before = l->now;
        l->now = x;
        if (s->kept) RY_TRY(scope_in(r, parent, &s));
        s->n = 0;
        RY_TRY(jscope_put(r, s, loop_name, (jv){.kind = JV_LOOP, .loop = l}));
        RY_TRY(jinja_assign(r, n->a, x, s));
        RY_TRY(jinja_exec_body(r, n->body, s, out));
        bool stop = r->flow == JFLOW_BREAK;
        whole = whole || r->flow == JFLOW_ON;
        r->flow = JFLOW_ON;
        if (stop) break;
    }
    if (whole || !n->other) return RY_OK;
    RY_TRY(scope_in(r, parent, &s));
    return jinja_exec_body(r, n->other, s, out);
}

ry_status jinja_call_loop(jrun *r, jloop *l, jv items, jv *out) {
    jbuf b = {0};
    if (!l->recursive) return jrun_fail(r, RY_EARG, "a loop that is called must be marked 'recursive'");
    RY_TRY(run_for(r, l->recursive, items, l->scope, l->depth + 1, &b));
    return jv_text_buf(r, out, &b);
}

/* ---- macros ---- */

static ry_status make_macro(jrun *r, const jnode *n, jscope *s, jv *out) {
    jmacro *m = JRUN_NEW(r, jmacro, 1);
    if (!m) return jrun_nomem(r);
    *m = (jmacro){n, s, n->kind == JN_MACRO ? n->name : NULL};
    *out = (jv){.kind = JV_MACRO, .macro = m};
    return RY_OK;
}

static bool has_param(const jnode *m, const char *name) {
    for (size_t i = 0; i < m->other->n; i++)
        if (!strcmp(m->other->list[i]->name->at, name)) return true;
    return false;
}

ry_status jinja_call_macro(jrun *r, const jmacro *m, const jargs *args, jv *out) {
    const jnode *n = m->node, *params = n->other;
    jscope *s = NULL;
    jv kwargs, v;
    jbuf b = {0};
    bool wants_args = n->flag && !has_param(n, "varargs"), wants_keys = n->flag2 && !has_param(n, "kwargs"), wants_caller = n->flag3 && !has_param(n, "caller");
    const jkey *caller = NULL;
    RY_TRY(scope_in(r, m->scope, &s));
    RY_TRY(jv_dict(r, &kwargs, 0));
    for (size_t i = 0; i < args->keys; i++) { /* keys that are no parameters, or that come where a value stands already */
        const jkey *k = &args->key[i];
        size_t at = 0;
        while (at < params->n && params->list[at]->name != k->name) at++;
        if (at < params->n && at >= args->n) continue;
        if (wants_caller && k->n == 6 && !memcmp(k->text, "caller", 6)) {
            caller = k;
            continue;
        }
        if (!wants_keys) return jrun_fail(r, RY_EARG, "macro '%s' takes no argument '%.*s'", m->name ? m->name->at : "caller", (int)(k->n > 60 ? 60 : k->n), k->text);
        RY_TRY(jv_text(r, &v, k->text, k->n));
        RY_TRY(jdict_put(r, kwargs.dict, v, k->value));
    }
    if (args->n > params->n && !wants_args) return jrun_fail(r, RY_EARG, "macro '%s' takes %zu arguments at most, not %zu", m->name ? m->name->at : "caller", params->n, args->n);
    if (wants_caller) {
        if (caller && caller->value.kind != JV_NONE) v = caller->value;
        else RY_TRY(jv_undefined(r, &v, false, "no caller is defined"));
        RY_TRY(jscope_put(r, s, jinja_known(r->t, "caller", 6), v));
    }
    if (wants_keys) RY_TRY(jscope_put(r, s, jinja_known(r->t, "kwargs", 6), kwargs));
    if (wants_args) {
        RY_TRY(jv_list(r, &v, JV_TUPLE, 0));
        for (size_t i = params->n; i < args->n; i++) RY_TRY(jlist_push(r, v.list, args->at[i]));
        RY_TRY(jscope_put(r, s, jinja_known(r->t, "varargs", 7), v));
    }
    for (size_t i = 0; i < params->n; i++) {
        const jnode *p = params->list[i];
        bool given = i < args->n;
        if (given) v = args->at[i];
        for (size_t k = 0; !given && k < args->keys; k++)
            if (args->key[k].name == p->name) v = args->key[k].value, given = true;
        if (!given && p->a) RY_TRY(jinja_eval(r, p->a, s, &v));
        else if (!given) RY_TRY(jv_undefined(r, &v, false, "parameter '%s' was not provided", p->name->at));
        RY_TRY(jscope_put(r, s, p->name, v));
    }
    RY_TRY(jinja_exec_body(r, n->body, s, &b));
    return jv_text_buf(r, out, &b);
}

/* ---- statements ---- */

static ry_status exec_if(jrun *r, const jnode *n, jscope *s, jbuf *out) {
    for (size_t i = 0; i < n->n; i++) {
        const jnode *branch = n->list[i];
        bool yes = true;
        if (branch->a) {
            jv c;
            RY_TRY(jinja_eval(r, branch->a, s, &c));
            RY_TRY(jv_true(r, c, &yes));
        }
        if (yes) return jinja_exec_body(r, branch, s, out);
    }
    return RY_OK;
}

static ry_status exec_set(jrun *r, const jnode *n, jscope *s) {
    jv v;
    if (n->kind == JN_SET) RY_TRY(jinja_eval(r, n->b, s, &v));
    else {
        jbuf b = {0};
        RY_TRY(capture(r, n->body, s, &b));
        if (r->flow != JFLOW_ON) return RY_OK; /* left by break or continue */
        RY_TRY(jv_text_buf(r, &v, &b));
        r->input = v;
        if (n->b) RY_TRY(jinja_eval(r, n->b, s, &v));
    }
    r->line = n->line;
    return jinja_assign(r, n->a, v, s);
}

static ry_status exec_with(jrun *r, const jnode *n, jscope *s, jbuf *out) {
    jscope *in = NULL;
    RY_TRY(scope_in(r, s, &in));
    for (size_t i = 0; i < n->n; i++) {
        jv v;
        RY_TRY(jinja_eval(r, n->list[i]->b, s, &v)); /* in the scope around: a value does not see its neighbours */
        RY_TRY(jinja_assign(r, n->list[i]->a, v, in));
    }
    return jinja_exec_body(r, n->body, in, out);
}

static ry_status exec_filter(jrun *r, const jnode *n, jscope *s, jbuf *out) {
    jbuf b = {0};
    jv v;
    RY_TRY(capture(r, n->body, s, &b));
    if (r->flow != JFLOW_ON) return RY_OK;
    RY_TRY(jv_text_buf(r, &r->input, &b));
    RY_TRY(jinja_eval(r, n->b, s, &v));
    return jbuf_str(r, out, v);
}

static ry_status exec_call(jrun *r, const jnode *n, jscope *s, jbuf *out) {
    jv caller, v;
    RY_TRY(make_macro(r, n, s, &caller));
    RY_TRY(jinja_eval_call(r, n->a, s, &caller, &v));
    return jbuf_str(r, out, v);
}

/* A macro that is called at once. A span counts from what the template has put out so far; within another macro its text may yet be
 * moved, as in the reference. */
static ry_status exec_generation(jrun *r, const jnode *n, jscope *s, jbuf *out) {
    jv macro, v;
    RY_TRY(make_macro(r, n, s, &macro));
    RY_TRY(jinja_call_macro(r, macro.macro, &(jargs){0}, &v));
    ry_span *span = RY_PUSH(&r->spans);
    if (!span) return RY_ENOMEM;
    *span = (ry_span){r->out.n, r->out.n + v.text->n};
    return jbuf_add(r, out, v.text->at, v.text->n);
}

static ry_status exec_for(jrun *r, const jnode *n, jscope *s, jbuf *out) {
    jv items;
    RY_TRY(jinja_eval(r, n->b, s, &items));
    r->line = n->line;
    return run_for(r, n, items, s, 0, out);
}

static ry_status exec_macro(jrun *r, const jnode *n, jscope *s) {
    jv m;
    for (jscope *up = s; up; up = up->parent) up->kept = true;
    RY_TRY(make_macro(r, n, s, &m));
    return jscope_put(r, s, n->name, m);
}

static ry_status exec(jrun *r, const jnode *n, jscope *s, jbuf *out) {
    jv v;
    r->line = n->line;
    switch ((jnode_kind)n->kind) {
    case JN_DATA: return jbuf_add(r, out, n->value.text->at, n->value.text->n);
    case JN_PRINT:
        RY_TRY(jinja_eval(r, n->a, s, &v));
        return jbuf_str(r, out, v);
    case JN_BODY: return jinja_exec_body(r, n, s, out);
    case JN_IF: return exec_if(r, n, s, out);
    case JN_FOR: return exec_for(r, n, s, out);
    case JN_SET:
    case JN_SET_BLOCK: return exec_set(r, n, s);
    case JN_MACRO: return exec_macro(r, n, s);
    case JN_CALL_BLOCK: return exec_call(r, n, s, out);
    case JN_FILTER_BLOCK: return exec_filter(r, n, s, out);
    case JN_WITH: return exec_with(r, n, s, out);
    case JN_GENERATION: return exec_generation(r, n, s, out);
    case JN_BLOCK: return capture(r, n->body, &r->root, out);
    case JN_BREAK: r->flow = JFLOW_BREAK; return RY_OK;
    default: r->flow = JFLOW_CONTINUE; return RY_OK;
    }
}

ry_status jinja_exec_body(jrun *r, const jnode *body, jscope *s, jbuf *out) {
    if (++r->depth > JINJA_MAX_DEPTH) return jrun_fail(r, RY_EUNSUPPORTED, "limit: more than %d levels deep", (int)JINJA_MAX_DEPTH);
    for (size_t i = 0; i < body->n && r->flow == JFLOW_ON; i++) {
        RY_TRY(jrun_step(r, 1));
        RY_TRY(exec(r, body->list[i], s, out));
    }
    r->depth--;
    return RY_OK;
}

ry_status jinja_run(jrun *r) {
    r->root.parent = &r->globals;
    return jinja_exec_body(r, r->t->root, &r->root, &r->out);
}
