/* template.c - rusty template: a conversation as the model's chat template writes it. */
#include "app.h"
#include <string.h>

typedef struct args {
    const char *model, *tools, *documents, *now, *token[4];
    app_texts vars;
    bool no_prompt, json;
} args;
static const char *const token_names[] = {"bos_token", "eos_token", "pad_token", "unk_token"};

static ry_status read_stdin(ry_text *out) {
    char chunk[65536];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, stdin)) > 0) ry_text_add(out, chunk, n);
    if (ferror(stdin)) RY_FAIL(RY_EIO, "cannot read standard input");
    ry_text_add(out, "", 0);
    RY_TRY(ry_text_status(out));
    if (!out->n || strlen(out->at) != out->n) RY_FAIL(RY_EARG, "standard input must be a JSON list of messages");
    return RY_OK;
}

/* NAME=JSON, ... as one JSON object. */
static ry_status variables(ry_text *out, const app_texts *vars) {
    ry_text_puts(out, "{");
    for (int i = 0; i < vars->n; i++) {
        const char *v = vars->at[i], *eq = strchr(v, '=');
        if (!eq || eq == v || !eq[1]) RY_FAIL(RY_EARG, "--var needs NAME=JSON, not '%s'", v);
        if (i) ry_text_puts(out, ",");
        ry_text_json(out, v, (size_t)(eq - v));
        ry_text_printf(out, ":%s", eq + 1);
    }
    ry_text_puts(out, "}");
    return ry_text_status(out);
}

static void print_json(const char *text, size_t n, const ry_span *spans, size_t n_spans) {
    printf("{\"text\":");
    app_json_text(stdout, text, n);
    printf(",\"assistant\":[");
    for (size_t i = 0; i < n_spans; i++) printf("%s[%zu,%zu]", i ? "," : "", spans[i].begin, spans[i].end);
    puts("]}");
}

static ry_status render(const args *a, const ry_template *t, const ry_template_args *ta) {
    char *text = NULL;
    ry_span *spans = NULL;
    size_t n = 0, n_spans = 0;
    ry_status st = a->json ? ry_template_assistant(t, ta, &text, &n, &spans, &n_spans) : ry_template_render(t, ta, &text, &n, NULL, NULL);
    if (st == RY_OK && a->json) print_json(text, n, spans, n_spans);
    else if (st == RY_OK) fwrite(text, 1, n, stdout);
    ry_free(text);
    ry_free(spans);
    return st;
}

static ry_status work(const args *a) {
    ry_text messages = {0}, vars = {0};
    char *tools = NULL, *documents = NULL;
    size_t n;
    ry_template *t = NULL;
    ry_status st;
    RY_GO(st, done, ry_template_open(&t, a->model));
    for (int i = 0; i < 4; i++)
        if (a->token[i]) RY_GO(st, done, ry_template_token(t, token_names[i], a->token[i]));
    RY_GO(st, done, variables(&vars, &a->vars));
    if (a->tools) RY_GO(st, done, os_file_read(a->tools, &tools, &n));
    if (a->documents) RY_GO(st, done, os_file_read(a->documents, &documents, &n));
    RY_GO(st, done, read_stdin(&messages));
    st = render(a, t, &(ry_template_args){.messages = messages.at, .tools = tools, .documents = documents, .variables = vars.at, .add_generation_prompt = !a->no_prompt, .now = a->now});
done:
    ry_template_close(t);
    ry_mem_free(tools);
    ry_mem_free(documents);
    ry_text_free(&messages);
    ry_text_free(&vars);
    return st;
}

static int run(const app_verb *v, int argc, char **argv) {
    args a = {0};
    const app_option o[] = {
        {"--model,-m", OPT_TEXT, &a.model, "MODEL", "a folder, ORG/NAME, a GGUF, or a .jinja file", NULL},
        {"--tools", OPT_TEXT, &a.tools, "FILE", "a JSON list of tools", NULL},
        {"--documents", OPT_TEXT, &a.documents, "FILE", "a JSON list of documents", NULL},
        {"--no-generation-prompt", OPT_FLAG, &a.no_prompt, NULL, "end after the last message", NULL},
        {"--var", OPT_TEXTS, &a.vars, "NAME=JSON", "a further variable (may be repeated)", NULL},
        {"--now", OPT_TEXT, &a.now, "TIME", "'YYYY-MM-DD HH:MM:SS' for templates that ask for the date", NULL},
        {"--bos-token", OPT_TEXT, &a.token[0], "TEXT", "in place of the model's", NULL},
        {"--eos-token", OPT_TEXT, &a.token[1], "TEXT", "in place of the model's", NULL},
        {"--pad-token", OPT_TEXT, &a.token[2], "TEXT", "in place of the model's", NULL},
        {"--unk-token", OPT_TEXT, &a.token[3], "TEXT", "in place of the model's", NULL},
        {"--json", OPT_FLAG, &a.json, NULL, "the text, and the bytes that the assistant says, as JSON", NULL},
        {0},
    };
    int code;
    if (!app_parse(v, o, argc, argv, NULL, 0, &code)) return code;
    if (!a.model) return app_usage(v, "give the model: -m MODEL");
    ry_status st = work(&a);
    return st == RY_OK ? APP_OK : app_fail(st);
}

const app_verb verb_template = {"template", "-m MODEL [options] < messages.json", "a conversation as the model's chat template writes it",
                                "echo '[{\"role\":\"user\",\"content\":\"Hello\"}]' | rusty template -m model", run};
