/* chat.c - rusty chat: a conversation on the terminal, or by lines of JSON.
 *
 * The conversation itself is the library's (ry_chat); here are keys, commands and what is shown. */
#include "app.h"
#include "line.h"
#include <stdlib.h>
#include <string.h>

typedef struct args {
    app_common common;
    app_speaker speaker;
    app_sampling sampling;
    const char *system, *template, *history;
    app_texts vars;
    int64_t n;
    ry_template *form;
    ry_chat *chat;
    bool tty; /* somebody is typing */
    uint64_t turns;
} args;

/* ---- answers ---- */

static void show(void *ud, const char *text, size_t n) {
    (void)ud;
    fwrite(text, 1, n, stdout);
    fflush(stdout);
}

static void print_json(const ry_speech *r, size_t n_prompt, size_t kept) {
    printf("{\"role\":\"assistant\",\"content\":");
    app_json_text(stdout, r->text, r->n_text);
    printf(",\"ids\":[");
    for (size_t i = 0; i < r->n_ids; i++) printf(i ? ",%d" : "%d", r->ids[i]);
    printf("],\"prompt_tokens\":%zu,\"cached_tokens\":%zu,\"ending\":\"%s\",\"tok_per_s\":%.2f}\n", n_prompt, kept, app_ending(r->ending), app_speed(r));
    fflush(stdout);
}

static ry_status answer(args *a) {
    ry_speech r;
    size_t n_prompt, kept;
    ry_sampling how = a->sampling.o;
    how.seed += a->turns++ << 32; /* another try is another answer */
    app_stop_clear();
    ry_speak_options o = {.max_tokens = a->n, .stop = a->sampling.stop.at, .n_stop = (size_t)a->sampling.stop.n, .on_text = a->common.json ? NULL : show, .cancel = app_stop_flag()};
    double began = os_now();
    ry_status st = ry_chat_answer(a->chat, &how, &o, &r, &n_prompt, &kept);
    if (st == RY_OK && a->common.json) print_json(&r, n_prompt, kept);
    if (!a->common.json && (st == RY_OK || r.n_text)) putchar('\n');
    if (st == RY_OK && a->tty) {
        const char *dim = app_colour(stdout) ? "\033[2m" : "", *off = *dim ? "\033[0m" : "";
        double before = os_now() - began - r.seconds;
        printf("%s[%zu tokens, %.1f tokens/s; %zu of %zu prompt tokens were new, %.2f s%s]%s\n", dim, r.n_ids, app_speed(&r), n_prompt - kept, n_prompt, before,
               r.ending == RY_ENDED_ON_REQUEST ? "; stopped" : r.ending == RY_ENDED_BY_LENGTH ? "; the length was reached" : "", off);
    }
    fflush(stdout);
    ry_speech_free(&r);
    return st;
}

/* A message and its answer; without an answer the message is taken back. */
static ry_status say(args *a, const char *text, size_t n) {
    size_t had = ry_chat_count(a->chat);
    ry_status st = ry_chat_add(a->chat, "user", text, n);
    if (st == RY_OK) st = answer(a);
    if (st != RY_OK) {
        char why[512];
        snprintf(why, sizeof why, "%s", ry_message());
        (void)ry_chat_cut(a->chat, had);
        return ry_fail(st, "%s", why);
    }
    return RY_OK;
}

/* ---- commands ---- */

static ry_status help(args *a, char *rest) {
    (void)a, (void)rest;
    puts("/reset            a new conversation; the system message stays\n"
         "/system [TEXT]    sets the system message, or removes it\n"
         "/retry            another answer to the last message\n"
         "/undo             takes the last message and its answer back\n"
         "/params [NAME X]  shows how tokens are chosen, or changes it (/params temp 0.2)\n"
         "/save FILE        keeps the conversation with what is computed; /load FILE goes on from there\n"
         "/quit             ends; so does Ctrl-D. Ctrl-C stops an answer. Alt-Enter begins a new line.");
    return RY_OK;
}

static ry_status reset(args *a, char *rest) {
    (void)rest;
    return ry_chat_cut(a->chat, ry_chat_last(a->chat, "system") == 0 && ry_chat_count(a->chat) ? 1 : 0);
}

static ry_status set_system(args *a, char *rest) { return ry_chat_system(a->chat, *rest ? rest : NULL); }

static ry_status undo(args *a, char *rest) {
    (void)rest;
    size_t at = ry_chat_last(a->chat, "user");
    if (at == ry_chat_count(a->chat)) RY_FAIL(RY_EARG, "there is nothing to take back");
    return ry_chat_cut(a->chat, at);
}

static ry_status retry(args *a, char *rest) {
    (void)rest;
    size_t at = ry_chat_last(a->chat, "user");
    if (at == ry_chat_count(a->chat)) RY_FAIL(RY_EARG, "there is no message to answer yet");
    RY_TRY(ry_chat_cut(a->chat, at + 1));
    return answer(a);
}

static void list_one(void *ud, const char *name, double value) {
    (void)ud;
    printf("%-24s %g\n", name, value);
}

static ry_status params(args *a, char *rest) {
    char *value = rest + strcspn(rest, " =");
    if (!*rest) {
        app_sampling_list(&a->sampling, list_one, NULL);
        printf("%-24s %lld\n", "max-tokens", (long long)a->n);
        return RY_OK;
    }
    if (*value) *value++ = 0;
    value += strspn(value, " =");
    if (strcmp(rest, "max-tokens") != 0) return app_sampling_set(&a->sampling, rest, value);
    a->n = strtoll(value, NULL, 10);
    if (a->n < 0) a->n = 0;
    return RY_OK;
}

static ry_status save(args *a, char *rest) { return *rest ? ry_chat_save(a->chat, rest) : ry_fail(RY_EARG, "/save needs a file"); }
static ry_status load(args *a, char *rest) { return *rest ? ry_chat_load(a->chat, rest) : ry_fail(RY_EARG, "/load needs a file"); }

static const struct command {
    const char *name;
    ry_status (*run)(args *a, char *rest);
} commands[] = {{"/help", help}, {"/reset", reset}, {"/system", set_system}, {"/retry", retry}, {"/undo", undo}, {"/params", params}, {"/save", save}, {"/load", load}};

static bool is_quit(const char *s) { return !strcmp(s, "/quit") || !strcmp(s, "/exit") || !strcmp(s, "/bye"); }

static ry_status command(args *a, char *line) {
    size_t n = strcspn(line, " ");
    char *rest = line + n + strspn(line + n, " ");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strlen(commands[i].name) == n && !strncmp(commands[i].name, line, n)) return commands[i].run(a, rest);
    RY_FAIL(RY_EARG, "there is no command %.*s; /help shows all", (int)n, line);
}

/* ---- loops ---- */

/* A line is a message, which is answered if it is a user's or a tool's; or a list of messages, which begins a conversation anew. */
static ry_status by_json(args *a) {
    ry_text line = {0};
    ry_status st = RY_OK;
    line_result got = LINE_END;
    while (st == RY_OK && (got = line_read(&line, "", NULL)) == LINE_DONE) {
        size_t from = strspn(line.at, " \t\r");
        if (!line.at[from]) continue;
        if (line.at[from] == '[') st = ry_chat_set_messages(a->chat, line.at, line.n);
        else st = ry_chat_add_json(a->chat, line.at, line.n);
        size_t last = ry_chat_count(a->chat) - 1;
        if (st == RY_OK && ry_chat_count(a->chat) && (ry_chat_last(a->chat, "user") == last || ry_chat_last(a->chat, "tool") == last)) st = answer(a);
        if (st == RY_OK && *app_stop_flag()) break;
    }
    if (st == RY_OK && got == LINE_FAILED && !*app_stop_flag()) st = ry_fail(RY_EIO, "cannot read standard input");
    ry_text_free(&line);
    return st;
}

static ry_status by_lines(args *a) {
    const char *prompt = !a->tty ? "" : app_colour(stdout) ? "\033[1;33m> \033[0m" : "> ";
    ry_text line = {0};
    line_history history = {0};
    ry_status st = RY_OK;
    bool warned = false;
    if (a->tty) line_history_open(&history, "chat_history");
    for (;;) {
        line_result got = line_read(&line, prompt, a->tty ? &history : NULL);
        if (got == LINE_END) break;
        if (got == LINE_FAILED) {
            if (!*app_stop_flag()) st = ry_fail(RY_EIO, "cannot read standard input");
            break;
        }
        if (got == LINE_INTERRUPTED) {
            if (!line.n && warned) break;
            if (!line.n) puts("(Ctrl-C once more, Ctrl-D or /quit ends)");
            warned = !line.n;
            continue;
        }
        warned = false;
        if (!line.n) continue;
        if (a->tty) line_history_add(&history, line.at);
        if (is_quit(line.at)) break;
        st = *line.at == '/' ? command(a, line.at) : say(a, line.at, line.n);
        if (st != RY_OK && a->tty) fprintf(stderr, "rusty: %s\n", ry_message()), st = RY_OK;
        if (st != RY_OK || (!a->tty && *app_stop_flag())) break;
    }
    line_history_close(&history);
    ry_text_free(&line);
    return st;
}

/* ---- the verb ---- */

/* --var NAME=JSON, as the object that templates take; what is no JSON is a text. */
static ry_status set_variables(args *a) {
    ry_text t = {0};
    ry_text_puts(&t, "{");
    for (int i = 0; i < a->vars.n; i++) {
        const char *s = a->vars.at[i], *eq = strchr(s, '=');
        if (!eq || eq == s) {
            ry_text_free(&t);
            RY_FAIL(RY_EARG, "--var needs NAME=JSON, not '%s'", s);
        }
        ry_text_puts(&t, i ? "," : "");
        ry_text_json(&t, s, (size_t)(eq - s));
        ry_text_printf(&t, ":%s", eq + 1);
    }
    ry_text_puts(&t, "}");
    ry_status st = ry_text_status(&t);
    if (st == RY_OK && a->vars.n && ry_chat_variables(a->chat, t.at) != RY_OK) st = ry_fail(RY_EARG, "--var: %s (a text stands in quotes: --var 'name=\"x\"')", ry_message());
    ry_text_free(&t);
    return st;
}

static ry_status open_template(args *a) {
    ry_status st = ry_template_open(&a->form, a->template ? a->template : a->speaker.path);
    if (st == RY_ENOENT && !a->template)
        return ry_fail(st, "%s has no chat template: it is perhaps no model for conversations; give one with --template FILE.jinja, or use rusty run", a->speaker.model);
    return st;
}

static ry_status work(args *a) {
    ry_sampling base;
    RY_TRY(app_speaker_open(&a->speaker, &a->common, true, RY_Q8));
    RY_TRY(open_template(a));
    ry_model_sampling(a->speaker.m, &base);
    RY_TRY(app_sampling_of(&a->sampling, &base, a->common.seed));
    RY_TRY(app_speaker_session(&a->speaker, 0));
    RY_TRY(ry_chat_open(&a->chat, a->speaker.s, a->speaker.tokenizer, a->form));
    RY_TRY(set_variables(a));
    if (a->system) RY_TRY(ry_chat_system(a->chat, a->system));
    if (a->history) RY_TRY(ry_chat_load(a->chat, a->history));
    a->tty = !a->common.json && app_tty(stdin) && app_tty(stdout);
    if (a->tty) printf("%s, %lld positions; /help shows the commands\n", a->speaker.model, (long long)(a->speaker.ctx ? a->speaker.ctx : ry_model_context(a->speaker.m)));
    (void)app_stop_flag();
    RY_TRY(a->common.json ? by_json(a) : by_lines(a));
    return !a->tty && *app_stop_flag() ? ry_fail(RY_ESTOPPED, "stopped by a signal") : RY_OK;
}

static int run(const app_verb *v, int argc, char **argv) {
    args a = {.speaker.ahead = 5};
    const app_option o[] = {
        APP_SPEAKER_OPTIONS(a.speaker),
        {"--system,-sys,--system-prompt", OPT_TEXT, &a.system, "TEXT", "the system message", NULL},
        {"--load", OPT_TEXT, &a.history, "FILE", "goes on with a conversation that /save kept", NULL},
        {"--template,--chat-template-file", OPT_TEXT, &a.template, "FILE", "a chat template instead of the model's own", NULL},
        {"--var", OPT_TEXTS, &a.vars, "NAME=JSON", "a variable of the template (enable_thinking=false); repeatable", NULL},
        {"--n-predict,-n,--max-tokens,--predict", OPT_INT | OPT_FROM_0, &a.n, "N", "tokens of an answer at most (0: to the end of the context)", NULL},
        APP_SAMPLING_OPTIONS(a.sampling),
        APP_COMMON_OPTIONS(a.common), {0}};
    int code;
    if (!app_parse(v, o, argc, argv, NULL, 0, &code)) return code;
    if (!a.speaker.model) return app_usage(v, "give -m MODEL");
    if (a.n == -1) a.n = 0; /* as in run */
    ry_status st = work(&a);
    code = st == RY_OK ? APP_OK : app_fail(st);
    ry_chat_close(a.chat);
    ry_template_close(a.form);
    app_speaker_close(&a.speaker);
    return code;
}

const app_verb verb_chat = {"chat", "-m MODEL [--system TEXT] [options]", "a conversation on the terminal; --json: messages as lines of JSON",
                            "rusty chat -m HuggingFaceTB/SmolLM2-135M-Instruct --system \"Answer briefly.\"", run};
