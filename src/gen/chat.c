/* chat.c - a conversation: messages, rendered by the model's template, answered by its session.
 *
 * Owns the messages and the texts that end an answer; session, tokenizer and template are the caller's. What the session holds already
 * is never computed again: each rendering is compared with its ids, and only what differs is fed. */
#include "gen/session.h"
#include "io/json.h"
#include "io/utf8.h"
#include <string.h>

enum { MOST_ENDS = 4 };

struct ry_chat {
    ry_session *s;
    const ry_tokenizer *t;
    const ry_template *template;
    ry_json *messages;           /* a list */
    ry_text variables;           /* a JSON object, or nothing */
    ry_text written;             /* what ry_chat_messages gave last */
    int32_t end[MOST_ENDS];
    size_t n_end;
};

void ry_chat_close(ry_chat *c) {
    if (!c) return;
    ry_json_free(c->messages);
    ry_text_free(&c->variables);
    ry_text_free(&c->written);
    ry_mem_free(c);
}

static ry_status render(const ry_chat *c, const ry_json *messages, bool answer, char **text, size_t *n) {
    ry_text list = {0};
    ry_json_write(&list, messages, 0);
    ry_status st = ry_text_status(&list);
    if (st == RY_OK)
        st = ry_template_render(c->template, &(ry_template_args){.messages = list.at, .variables = c->variables.n ? c->variables.at : NULL, .add_generation_prompt = answer}, text, n, NULL, NULL);
    ry_text_free(&list);
    return st;
}

static ry_status push(ry_json *list, const char *role, const char *text, size_t n) {
    if (utf8_valid(text, n) != n) RY_FAIL(RY_EARG, "the text of a message must be UTF-8");
    ry_json *m = ry_json_new_object(), *content = ry_json_new_text_n(text, n);
    ry_status st = m && content ? RY_OK : RY_ENOMEM;
    if (st == RY_OK) st = ry_json_put(m, "role", ry_json_new_text(role));
    if (st != RY_OK) ry_json_free(content);
    else st = ry_json_put(m, "content", content);
    if (st == RY_OK) return ry_json_push(list, m);
    ry_json_free(m);
    return st;
}

/* The special token that the template puts behind an answer ends one, whatever the model's files list. */
static ry_status find_end(ry_chat *c) {
    static const char answer[] = "7jq2";
    ry_json *list = ry_json_new_array();
    char *text = NULL, *behind, *shown = NULL;
    int32_t *ids = NULL;
    size_t n, n_ids = 0, n_shown = 0;
    ry_status st = list ? push(list, "user", "x", 1) : RY_ENOMEM;
    if (st == RY_OK) st = push(list, "assistant", answer, sizeof answer - 1);
    if (st == RY_OK && render(c, list, false, &text, &n) == RY_OK && (behind = strstr(text, answer)) != NULL) { /* a template may refuse this conversation */
        behind += sizeof answer - 1;
        st = ry_encode(c->t, behind, n - (size_t)(behind - text), false, &ids, &n_ids);
        if (st == RY_OK && n_ids) st = ry_decode(c->t, ids, 1, true, false, &shown, &n_shown);
        if (st == RY_OK && n_ids && !n_shown) c->end[c->n_end++] = ids[0];
    }
    ry_free(shown);
    ry_free(ids);
    ry_free(text);
    ry_json_free(list);
    return st;
}

ry_status ry_chat_open(ry_chat **out, ry_session *s, const ry_tokenizer *t, const ry_template *template) {
    if (!t || !template) RY_FAIL(RY_EARG, "a chat needs a tokenizer and a template");
    ry_chat *c = ry_mem_zalloc(sizeof *c);
    if (!c) return RY_ENOMEM;
    c->s = s, c->t = t, c->template = template;
    ry_status st = (c->messages = ry_json_new_array()) ? find_end(c) : RY_ENOMEM;
    if (st == RY_OK) *out = c;
    else ry_chat_close(c);
    return st;
}

/* ---- messages ---- */

static const char *role_at(const ry_chat *c, size_t i) {
    const char *role = ry_json_as_text(ry_json_find(ry_json_at(c->messages, i), "role"), NULL);
    return role ? role : "";
}

size_t ry_chat_count(const ry_chat *c) { return ry_json_count(c->messages); }

ry_status ry_chat_add(ry_chat *c, const char *role, const char *text, size_t n) { return push(c->messages, role, text, n); }

static ry_status check_message(const ry_json *m, const char *what) {
    const char *role;
    RY_TRY(ry_json_need_object(m, what));
    return ry_json_text(&role, m, what, "role", true);
}

ry_status ry_chat_add_json(ry_chat *c, const char *text, size_t n) {
    ry_json *m;
    RY_TRY(ry_json_parse(&m, text, n, "message", 0));
    ry_status st = check_message(m, "message");
    if (st == RY_OK) return ry_json_push(c->messages, m);
    ry_json_free(m);
    return st;
}

/* The messages from `from` to `to`, behind those of `list`. */
static ry_status copy_range(ry_json *list, const ry_chat *c, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        ry_text t = {0};
        ry_json *copy = NULL;
        ry_json_write(&t, ry_json_at(c->messages, i), 0);
        ry_status st = ry_text_status(&t);
        if (st == RY_OK) st = ry_json_parse(&copy, t.at, t.n, "message", 0);
        ry_text_free(&t);
        RY_TRY(st);
        RY_TRY(ry_json_push(list, copy));
    }
    return RY_OK;
}

static ry_status replace(ry_chat *c, ry_json *list, ry_status st) {
    if (st != RY_OK) {
        ry_json_free(list);
        return st;
    }
    ry_json_free(c->messages);
    c->messages = list;
    return RY_OK;
}

ry_status ry_chat_cut(ry_chat *c, size_t n) {
    ry_json *list = ry_json_new_array();
    return replace(c, list, list ? copy_range(list, c, 0, n < ry_chat_count(c) ? n : ry_chat_count(c)) : RY_ENOMEM);
}

ry_status ry_chat_system(ry_chat *c, const char *text) {
    ry_json *list = ry_json_new_array();
    size_t n = ry_chat_count(c);
    ry_status st = list ? RY_OK : RY_ENOMEM;
    if (st == RY_OK && text) st = push(list, "system", text, strlen(text));
    if (st == RY_OK) st = copy_range(list, c, n && !strcmp(role_at(c, 0), "system"), n);
    return replace(c, list, st);
}

size_t ry_chat_last(const ry_chat *c, const char *role) {
    size_t n = ry_chat_count(c);
    while (n > 0 && strcmp(role_at(c, n - 1), role) != 0) n--;
    return n ? n - 1 : ry_chat_count(c);
}

ry_status ry_chat_variables(ry_chat *c, const char *json) {
    ry_json *v = NULL;
    if (json) {
        RY_TRY(ry_json_parse(&v, json, strlen(json), "variables", 0));
        ry_status st = ry_json_need_object(v, "variables");
        ry_json_free(v);
        RY_TRY(st);
    }
    c->variables.n = 0;
    ry_text_puts(&c->variables, json ? json : "");
    return ry_text_status(&c->variables);
}

ry_status ry_chat_messages(ry_chat *c, const char **json) {
    c->written.n = 0;
    ry_json_write(&c->written, c->messages, 0);
    *json = c->written.at;
    return ry_text_status(&c->written);
}

ry_status ry_chat_set_messages(ry_chat *c, const char *json, size_t n) {
    ry_json *list;
    RY_TRY(ry_json_parse(&list, json, n, "messages", 0));
    ry_status st = ry_json_kind_of(list) == RY_JSON_ARRAY ? RY_OK : ry_fail(RY_EFORMAT, "messages: a list is needed");
    for (size_t i = 0; st == RY_OK && i < ry_json_count(list); i++) st = check_message(ry_json_at(list, i), "message");
    return replace(c, list, st);
}

/* ---- answers ---- */

ry_status ry_chat_answer(ry_chat *c, const ry_sampling *how, const ry_speak_options *o, ry_speech *out, size_t *n_prompt, size_t *kept) {
    ry_speak_options speak = o ? *o : (ry_speak_options){0};
    char *text = NULL;
    int32_t *ids = NULL;
    size_t n = 0, n_ids = 0, same = 0;
    *out = (ry_speech){0};
    speak.end = c->end, speak.n_end = c->n_end;
    ry_status st = render(c, c->messages, true, &text, &n);
    if (st == RY_OK) st = ry_encode(c->t, text, n, false, &ids, &n_ids);
    ry_free(text);
    if (st == RY_OK && (int64_t)n_ids > c->s->opt.context)
        st = ry_fail(RY_EARG, "the conversation has %zu tokens, the context %lld: begin anew (/reset), take back turns (/undo), or use a larger --ctx-size", n_ids, (long long)c->s->opt.context);
    c->s->cancel = speak.cancel;
    if (st == RY_OK) st = ry_session_prompt(c->s, ids, n_ids, &same);
    c->s->cancel = NULL;
    ry_free(ids);
    if (n_prompt) *n_prompt = n_ids;
    if (kept) *kept = same;
    if (st == RY_OK) st = ry_speak(c->s, c->t, how, &speak, out);
    if (st == RY_OK) st = push(c->messages, "assistant", out->text, out->n_text);
    return st;
}

ry_status ry_chat_save(ry_chat *c, const char *path) {
    const char *json;
    RY_TRY(ry_chat_messages(c, &json));
    return gen_save(c->s, path, "messages", json);
}

ry_status ry_chat_load(ry_chat *c, const char *path) {
    char *json = NULL;
    RY_TRY(gen_load(c->s, path, "messages", &json));
    ry_status st = json ? ry_chat_set_messages(c, json, strlen(json)) : ry_fail(RY_EARG, "%s: holds no conversation; it was saved by a prompt cache", path);
    ry_mem_free(json);
    return st;
}
