/* chat.c - a model's chat templates: finds them and the special tokens in a folder, a file or a GGUF, and renders conversations.  Owns
 * ry_template.  The language itself is in the other files here. */
#include "base/os.h"
#include "io/gguf.h"
#include "io/template/jinja.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct variant {
    char *name;    /* "default", "tool_use", ... */
    jinja *t;      /* NULL: it does not parse; why says so */
    char *why;
    ry_status st;
} variant;

struct ry_template {
    char *what; /* for messages */
    RY_VEC(variant) variants;
    ry_json *tokens; /* "bos_token": "<s>", ... */
};

/* ---- opening ---- */

static char *copy(const char *s) {
    size_t n = strlen(s) + 1;
    char *p = ry_mem_alloc(n);
    if (p) memcpy(p, s, n);
    return p;
}

static variant *find(const ry_template *t, const char *name) {
    for (size_t i = 0; i < t->variants.n; i++)
        if (!strcmp(t->variants.at[i].name, name)) return &t->variants.at[i];
    return NULL;
}

/* A variant that does not parse is an error when it is wanted: the others can still be used. */
static ry_status add_variant(ry_template *t, const char *name, const char *text, size_t n, const char *what) {
    if (find(t, name)) return RY_OK; /* the first one found counts */
    variant *v = RY_PUSH(&t->variants);
    if (!v) return RY_ENOMEM;
    if (!(v->name = copy(name))) return RY_ENOMEM;
    v->st = jinja_open(&v->t, text, n, what);
    if (v->st == RY_OK || v->st == RY_ENOMEM) return v->st;
    v->why = copy(ry_message());
    return v->why ? RY_OK : RY_ENOMEM;
}

static ry_status add_file(ry_template *t, const char *name, const char *path, const char *what) {
    char *text;
    size_t n;
    RY_TRY(os_file_read(path, &text, &n));
    ry_status st = add_variant(t, name, text, n, what);
    ry_mem_free(text);
    return st;
}

/* chat_template of a tokenizer_config.json: a text, or a list of {name, template}. */
static ry_status add_config(ry_template *t, const ry_json *config, const char *what) {
    const ry_json *j = ry_json_find(config, "chat_template");
    size_t n;
    const char *text = ry_json_as_text(j, &n);
    if (text) return add_variant(t, "default", text, n, what);
    if (ry_json_kind_of(j) == RY_JSON_OBJECT) {
        for (ry_json_it it = ry_json_first(j); it.value; it = ry_json_next(j, it)) {
            if (!(text = ry_json_as_text(it.value, &n))) RY_FAIL(RY_EFORMAT, "%s: chat_template.%s must be a text", what, it.key);
            RY_TRY(add_variant(t, it.key, text, n, what));
        }
        return RY_OK;
    }
    if (ry_json_kind_of(j) != RY_JSON_ARRAY && ry_json_kind_of(j) > RY_JSON_NULL) RY_FAIL(RY_EFORMAT, "%s: chat_template must be a text or a list", what);
    for (size_t i = 0; i < ry_json_count(j); i++) {
        const char *name = ry_json_as_text(ry_json_find(ry_json_at(j, i), "name"), NULL);
        text = ry_json_as_text(ry_json_find(ry_json_at(j, i), "template"), &n);
        if (!name || !text) RY_FAIL(RY_EFORMAT, "%s: chat_template[%zu] must have a name and a template", what, i);
        RY_TRY(add_variant(t, name, text, n, what));
    }
    return RY_OK;
}

/* Every "*_token", a text or {content: text}, and the lists of further ones; those that are there already stay. */
static ry_status add_tokens(ry_template *t, const ry_json *config) {
    for (ry_json_it it = ry_json_first(config); it.value; it = ry_json_next(config, it)) {
        size_t n, len = strlen(it.key);
        const ry_json *content = ry_json_kind_of(it.value) == RY_JSON_OBJECT ? ry_json_find(it.value, "content") : it.value;
        const char *text = ry_json_as_text(content, &n);
        if (len > 6 && !strcmp(it.key + len - 6, "_token") && text && !ry_json_find(t->tokens, it.key)) RY_TRY(ry_json_put(t->tokens, it.key, ry_json_new_text_n(text, n)));
        if (!strcmp(it.key, "extra_special_tokens") && ry_json_kind_of(it.value) == RY_JSON_OBJECT) RY_TRY(add_tokens(t, it.value));
        if (strcmp(it.key, "additional_special_tokens") || ry_json_kind_of(it.value) != RY_JSON_ARRAY || ry_json_find(t->tokens, it.key)) continue;
        ry_json *list = ry_json_new_array();
        if (!list) return ry_nomem(0);
        ry_status st = RY_OK;
        for (size_t i = 0; i < ry_json_count(it.value) && st == RY_OK; i++) {
            const ry_json *x = ry_json_at(it.value, i);
            text = ry_json_as_text(ry_json_kind_of(x) == RY_JSON_OBJECT ? ry_json_find(x, "content") : x, &n);
            if (text) st = ry_json_push(list, ry_json_new_text_n(text, n));
        }
        if (st != RY_OK) {
            ry_json_free(list);
            return st;
        }
        RY_TRY(ry_json_put(t->tokens, it.key, list));
    }
    return RY_OK;
}

static ry_status read_config(ry_template *t, const char *path, bool templates) {
    ry_json *config;
    RY_TRY(ry_json_read(&config, path, 0));
    ry_status st = ry_json_need_object(config, path);
    if (st == RY_OK) st = add_tokens(t, config);
    if (st == RY_OK && templates) st = add_config(t, config, path);
    ry_json_free(config);
    return st;
}

typedef struct extras { ry_template *t; const char *folder; ry_status st; } extras;

static bool extra(void *ud, const char *name) {
    extras *e = ud;
    size_t n = strlen(name);
    if (n <= 6 || strcmp(name + n - 6, ".jinja")) return true;
    char *path = os_join(e->folder, name), *plain = copy(name);
    e->st = path && plain ? RY_OK : RY_ENOMEM;
    if (e->st == RY_OK) {
        plain[n - 6] = 0;
        e->st = add_file(e->t, plain, path, name);
    }
    ry_mem_free(path);
    ry_mem_free(plain);
    return e->st == RY_OK;
}

static ry_status open_folder(ry_template *t, const char *folder) {
    static const char *const names[] = {"chat_template.jinja", "additional_chat_templates", "tokenizer_config.json", "special_tokens_map.json", "chat_template.json"};
    ry_status st = RY_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && st == RY_OK; i++) {
        char *path = os_join(folder, names[i]);
        if (!path) return RY_ENOMEM;
        int kind = os_kind(path);
        bool found = t->variants.n != 0;
        if (i == 0 && kind == OS_FILE) st = add_file(t, "default", path, names[i]);
        else if (i == 1 && kind == OS_FOLDER) {
            extras e = {t, path, RY_OK};
            st = os_list(path, extra, &e);
            if (st == RY_OK) st = e.st;
        } else if (i >= 2 && kind == OS_FILE) st = i == 4 && found ? RY_OK : read_config(t, path, i != 3 && !find(t, "default"));
        ry_mem_free(path);
    }
    return st;
}

static ry_status open_gguf(ry_template *t, const char *path) {
    static const char *const ids[][2] = {{"bos", "bos_token"}, {"eos", "eos_token"}, {"unknown", "unk_token"}, {"padding", "pad_token"}, {"seperator", "sep_token"}, {"separator", "sep_token"}, {"cls", "cls_token"}, {"mask", "mask_token"}};
    static const char prefix[] = "tokenizer.chat_template.";
    gguf_file *f;
    ry_status st;
    gguf_text text = {0};
    const gguf_text *tokens = NULL;
    size_t n = 0;
    RY_TRY(gguf_open(&f, path));
    RY_GO(st, done, gguf_string(&text, f, "tokenizer.chat_template", false));
    if (text.at) RY_GO(st, done, add_variant(t, "default", text.at, text.n, "tokenizer.chat_template"));
    for (size_t i = 0; i < gguf_value_count(f); i++) {
        const gguf_value *v = gguf_value_at(f, i);
        char name[80];
        if (v->key.n < sizeof prefix || v->key.n - sizeof prefix + 1 >= sizeof name || memcmp(v->key.at, prefix, sizeof prefix - 1) || v->type != GGUF_TEXT) continue;
        memcpy(name, v->key.at + sizeof prefix - 1, v->key.n - sizeof prefix + 1);
        name[v->key.n - sizeof prefix + 1] = 0;
        RY_GO(st, done, add_variant(t, name, v->texts->at, v->texts->n, prefix));
    }
    RY_GO(st, done, gguf_texts(&tokens, &n, f, "tokenizer.ggml.tokens", false));
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char key[64];
        int64_t id = -1;
        snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", ids[i][0]);
        RY_GO(st, done, gguf_int(&id, f, key, -1, UINT32_MAX, false));
        if (id < 0 || (uint64_t)id >= n || ry_json_find(t->tokens, ids[i][1])) continue;
        RY_GO(st, done, ry_json_put(t->tokens, ids[i][1], ry_json_new_text_n(tokens[id].at, tokens[id].n)));
    }
done:
    gguf_close(f);
    return st;
}

static ry_status template_new(ry_template **out, const char *what) {
    ry_template *t = ry_mem_zalloc(sizeof *t);
    if (!t) return RY_ENOMEM;
    t->what = copy(what);
    t->tokens = ry_json_new_object();
    *out = t;
    return t->what && t->tokens ? RY_OK : ry_nomem(sizeof *t);
}

static bool ends_in(const char *s, const char *end) { return strlen(s) >= strlen(end) && !strcmp(s + strlen(s) - strlen(end), end); }

static ry_status finish(ry_template **out, ry_template *t, ry_status st) {
    const variant *v = st == RY_OK ? find(t, "default") : NULL;
    if (st == RY_OK && !t->variants.n) st = ry_fail(RY_ENOENT, "%s: there is no chat template in it", t->what);
    else if (v && v->st != RY_OK) st = ry_fail(v->st, "%s", v->why);
    if (st == RY_OK) *out = t;
    else ry_template_close(t);
    return st;
}

ry_status ry_template_open(ry_template **out, const char *path) {
    char *at;
    if (!out || !path) RY_FAIL(RY_EARG, "ry_template_open needs a path and a place for the template");
    RY_TRY(ry_model_path(&at, path));
    ry_template *t = NULL;
    ry_status st = template_new(&t, at);
    if (st == RY_OK) {
        if (os_kind(at) == OS_FOLDER) st = open_folder(t, at);
        else if (ends_in(at, ".gguf")) st = open_gguf(t, at);
        else if (ends_in(at, ".json")) st = read_config(t, at, true);
        else st = add_file(t, "default", at, at);
    }
    st = finish(out, t, st);
    ry_mem_free(at);
    return st;
}

ry_status ry_template_text(ry_template **out, const char *text, size_t n) {
    if (!out || (!text && n)) RY_FAIL(RY_EARG, "ry_template_text needs a text and a place for the template");
    ry_template *t = NULL;
    ry_status st = template_new(&t, "template");
    if (st == RY_OK) st = add_variant(t, "default", text, n, "template");
    return finish(out, t, st);
}

void ry_template_close(ry_template *t) {
    if (!t) return;
    for (size_t i = 0; i < t->variants.n; i++) {
        jinja_close(t->variants.at[i].t);
        ry_mem_free(t->variants.at[i].name);
        ry_mem_free(t->variants.at[i].why);
    }
    RY_VEC_FREE(&t->variants);
    ry_json_free(t->tokens);
    ry_mem_free(t->what);
    ry_mem_free(t);
}

ry_status ry_template_token(ry_template *t, const char *name, const char *value) {
    if (!t || !name || !value) RY_FAIL(RY_EARG, "ry_template_token needs a template, a name and a value");
    ry_json *v = ry_json_new_text(value);
    if (!v) RY_FAIL(RY_EARG, "%s must be UTF-8", name);
    return ry_json_put(t->tokens, name, v);
}

/* ---- rendering ---- */

static ry_status pick(const ry_template *t, bool tools, const variant **out) {
    const variant *v = tools ? find(t, "tool_use") : NULL;
    if (!v) v = find(t, "default");
    if (!v) RY_FAIL(RY_EUNSUPPORTED, "%s: of its chat templates none is named 'default' (the first is '%s')", t->what, t->variants.at[0].name);
    if (v->st != RY_OK) RY_FAIL(v->st, "%s", v->why);
    *out = v;
    return RY_OK;
}

static int day_of_week(int y, int m, int d) { /* Monday = 0; Sakamoto's table */
    static const int t[] = {0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4};
    if (m < 3) y--;
    return (y + y / 4 - y / 100 + y / 400 + t[m - 1] + d + 6) % 7;
}

static ry_status read_clock(jtime *out, const char *now) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    jtime t = {0};
    if (now) {
        int used = 0;
        if (sscanf(now, "%4d-%2d-%2d %2d:%2d:%2d%n", &t.year, &t.month, &t.day, &t.hour, &t.minute, &t.second, &used) != 6 || now[used])
            RY_FAIL(RY_EARG, "now must be like '2025-03-14 09:26:53', not '%s'", now);
    } else {
        time_t seconds = time(NULL);
        os_static_lock(); /* localtime's result is shared */
        const struct tm *local = localtime(&seconds);
        if (local) t = (jtime){local->tm_year + 1900, local->tm_mon + 1, local->tm_mday, local->tm_hour, local->tm_min, local->tm_sec > 59 ? 59 : local->tm_sec, 0, 0, 0};
        os_static_unlock();
    }
    int leap = (t.year % 4 == 0 && t.year % 100) || t.year % 400 == 0;
    if (t.year < 1 || t.year > 9999 || t.month < 1 || t.month > 12 || t.day < 1 || t.day > days[t.month - 1] + (t.month == 2 && leap) || t.hour < 0 || t.hour > 23 || t.minute < 0 ||
        t.minute > 59 || t.second < 0 || t.second > 59)
        RY_FAIL(RY_EARG, "now: there is no such time: '%s'", now ? now : "the clock's");
    t.week_day = day_of_week(t.year, t.month, t.day);
    t.year_day = t.day - 1 + (t.month > 2 && leap);
    for (int m = 1; m < t.month; m++) t.year_day += days[m - 1];
    *out = t;
    return RY_OK;
}

typedef struct inputs { ry_json *messages, *tools, *documents, *variables; bool large; } inputs;

static void free_inputs(inputs *in) {
    ry_json_free(in->messages);
    ry_json_free(in->tools);
    ry_json_free(in->documents);
    ry_json_free(in->variables);
}

/* Integers beyond 64 bits as texts that say so, as the JSON tree cannot hold them; *any: there are some. */
static ry_status spell_large(ry_text *out, const char *s, bool *any) {
    bool quoted = false;
    for (const char *p = s; *p;) {
        size_t n = 1;
        if (quoted && *p == '\\' && p[1]) n = 2;
        else if (*p == '"') quoted = !quoted;
        else if (!quoted && (*p == '-' || (*p >= '0' && *p <= '9'))) {
            n = strspn(p, "+-.0123456789eE");
            size_t digits = strspn(p + (*p == '-'), "0123456789");
            int64_t v;
            if (digits >= 19 && digits + (*p == '-') == n && (digits > 19 || (errno = 0, v = strtoll(p, NULL, 10), (v == INT64_MAX || v == INT64_MIN) && errno == ERANGE))) {
                *any = true;
                ry_text_puts(out, "\"\\u0001integer ");
                ry_text_add(out, p, n);
                ry_text_puts(out, "\"");
                p += n;
                continue;
            }
        }
        ry_text_add(out, p, n);
        p += n;
    }
    return ry_text_status(out);
}

static ry_status parse(ry_json **out, inputs *in, const char *text, const char *what, ry_json_kind kind) {
    ry_text spelt = {0};
    if (!text) return RY_OK;
    ry_status st = spell_large(&spelt, text, &in->large);
    if (st == RY_OK) st = ry_json_parse(out, spelt.at ? spelt.at : "", spelt.n, what, 0);
    ry_text_free(&spelt);
    RY_TRY(st);
    if (ry_json_kind_of(*out) == kind || (ry_json_kind_of(*out) == RY_JSON_NULL && strcmp(what, "messages"))) return RY_OK;
    RY_FAIL(RY_EARG, "%s must be a JSON %s", what, kind == RY_JSON_ARRAY ? "list" : "object");
}

static ry_status parse_inputs(inputs *in, const ry_template *t, const ry_template_args *a) {
    if (!t || !a || !a->messages) RY_FAIL(RY_EARG, "a rendering needs a template and messages");
    RY_TRY(parse(&in->messages, in, a->messages, "messages", RY_JSON_ARRAY));
    RY_TRY(parse(&in->tools, in, a->tools, "tools", RY_JSON_ARRAY));
    RY_TRY(parse(&in->documents, in, a->documents, "documents", RY_JSON_ARRAY));
    return parse(&in->variables, in, a->variables, "variables", RY_JSON_OBJECT);
}

static ry_status put(jrun *r, const char *name, const ry_json *j) { /* NULL: none */
    const jname *known = jinja_known(r->t, name, strlen(name));
    jv v;
    if (!known) return RY_OK; /* the template does not ask for it */
    RY_TRY(jv_json(r, &v, j));
    return jscope_put(r, &r->globals, known, v);
}

static ry_status put_all(jrun *r, const ry_json *object) {
    for (ry_json_it it = ry_json_first(object); it.value; it = ry_json_next(object, it)) RY_TRY(put(r, it.key, it.value));
    return RY_OK;
}

/* The first n messages. r: to be freed by the caller (arena, spans), also on failure. */
static ry_status run(jrun *r, const ry_template *t, const inputs *in, size_t n, bool prompt, const char *now) {
    const variant *v = NULL;
    jv messages;
    RY_TRY(pick(t, in->tools && ry_json_kind_of(in->tools) != RY_JSON_NULL, &v));
    *r = (jrun){.t = v->t, .line = 1, .large = in->large};
    RY_TRY(read_clock(&r->now, now));
    RY_TRY(put_all(r, t->tokens));
    RY_TRY(put(r, "tools", in->tools));
    RY_TRY(put(r, "documents", in->documents));
    RY_TRY(jv_list(r, &messages, JV_LIST, n));
    for (size_t i = 0; i < n; i++) RY_TRY(jv_json(r, &messages.list->at[i], ry_json_at(in->messages, i)));
    messages.list->n = n;
    const jname *name = jinja_known(r->t, "messages", 8);
    if (name) RY_TRY(jscope_put(r, &r->globals, name, messages));
    name = jinja_known(r->t, "add_generation_prompt", 21);
    if (name) RY_TRY(jscope_put(r, &r->globals, name, jv_bool(prompt)));
    RY_TRY(put_all(r, in->variables));
    return jinja_run(r);
}

static void run_free(jrun *r) {
    ry_arena_free(&r->arena);
    RY_VEC_FREE(&r->spans);
}

static ry_status give(const jrun *r, const ry_span *from, size_t count, char **text, size_t *n, ry_span **spans, size_t *n_spans) {
    char *s = ry_mem_alloc(ry_mem_size(r->out.n, 1, 1));
    ry_span *list = spans ? ry_mem_alloc(ry_mem_size(count, sizeof *list, 0)) : NULL;
    if (!s || (spans && !list)) {
        ry_mem_free(s);
        ry_mem_free(list);
        return RY_ENOMEM;
    }
    if (r->out.n) memcpy(s, r->out.at, r->out.n);
    s[r->out.n] = 0;
    if (list && count) memcpy(list, from, count * sizeof *list);
    *text = s, *n = r->out.n;
    if (spans) *spans = list;
    if (n_spans) *n_spans = count;
    return RY_OK;
}

ry_status ry_template_render(const ry_template *t, const ry_template_args *a, char **text, size_t *n, ry_span **spans, size_t *n_spans) {
    inputs in = {0};
    jrun r = {0};
    if (!text || !n) RY_FAIL(RY_EARG, "ry_template_render needs places for the text and its length");
    ry_status st = parse_inputs(&in, t, a);
    if (st == RY_OK) st = run(&r, t, &in, ry_json_count(in.messages), a->add_generation_prompt, a->now);
    if (st == RY_OK) st = give(&r, r.spans.at, r.spans.n, text, n, spans, n_spans);
    run_free(&r);
    free_inputs(&in);
    return st;
}

static bool begins(const jbuf *whole, const jbuf *part) { return part->n <= whole->n && (!part->n || !memcmp(whole->at, part->at, part->n)); }

/* What message i adds to the rendering of those before it and the generation prompt. */
static ry_status difference(const ry_template *t, const inputs *in, const char *now, const jbuf *whole, size_t i, ry_span *out) {
    jrun before = {0}, with = {0};
    ry_status st = run(&before, t, in, i, true, now);
    if (st == RY_OK) st = run(&with, t, in, i + 1, false, now);
    if (st == RY_OK && (!begins(&with.out, &before.out) || !begins(whole, &with.out)))
        st = ry_fail(RY_EUNSUPPORTED, "%s: the rendering of the first %zu messages is not the beginning of what follows: the assistant's part of message %zu cannot be told", t->what,
                     begins(&with.out, &before.out) ? i + 1 : i, i);
    *out = (ry_span){before.out.n, with.out.n};
    run_free(&before);
    run_free(&with);
    return st;
}

ry_status ry_template_assistant(const ry_template *t, const ry_template_args *a, char **text, size_t *n, ry_span **spans, size_t *n_spans) {
    inputs in = {0};
    jrun r = {0};
    RY_VEC(ry_span) found = {0};
    if (!text || !n || !spans || !n_spans) RY_FAIL(RY_EARG, "ry_template_assistant needs places for the text and the spans");
    ry_status st;
    RY_GO(st, done, parse_inputs(&in, t, a));
    size_t count = ry_json_count(in.messages);
    RY_GO(st, done, run(&r, t, &in, count, a->add_generation_prompt, a->now));
    for (size_t i = 0; i < count && !r.t->generation; i++) {
        const char *role = ry_json_as_text(ry_json_find(ry_json_at(in.messages, i), "role"), NULL);
        if (!role || strcmp(role, "assistant")) continue;
        ry_span *s = RY_PUSH(&found);
        st = s ? difference(t, &in, a->now, &r.out, i, s) : RY_ENOMEM;
        if (st != RY_OK) goto done;
    }
    if (r.t->generation) st = give(&r, r.spans.at, r.spans.n, text, n, spans, n_spans);
    else st = give(&r, found.at, found.n, text, n, spans, n_spans);
done:
    RY_VEC_FREE(&found);
    run_free(&r);
    free_inputs(&in);
    return st;
}
