/* test_templates.c - published chat templates and snippets of Jinja against transformers' renderings: hf/chat_templates, byte for byte. Every
 * folder in it is walked: X.jinja with X.json, {case: {output} or {error}}, for the conversations of cases.json. */
#include "unit/cm.h"

#include "golden/folder.h"

static char root[1024];
static ry_json *cases;
static size_t checked, wrong;

static char *json_of(const ry_json *j) { /* NULL: absent */
    ry_text t = {0};
    if (!j) return NULL;
    ry_json_write(&t, j, 0);
    assert_ok(ry_text_status(&t));
    return t.at;
}

static void compare(const char *what, const ry_json *want, ry_status st, const char *text, size_t n) {
    size_t len = 0;
    const char *output = ry_json_as_text(ry_json_find(want, "output"), &len);
    checked++;
    if (output ? st == RY_OK && n == len && !memcmp(text, output, n) : st != RY_OK) return;
    wrong++;
    print_error("%s: %s\n", what, st == RY_OK ? (output ? "another text" : "no error") : ry_message());
    if (st == RY_OK && output) {
        size_t i = 0;
        while (i < n && i < len && text[i] == output[i]) i++;
        print_error("  from byte %zu: want '%.60s'\n                got '%.60s'\n", i, output + i, text + i);
    }
}

static void one_case(const ry_template *t, const char *name, const char *id, const ry_json *want) {
    const ry_json *c = ry_json_find(ry_json_find(cases, "cases"), id), *tools = ry_json_path(c, "tools");
    char what[512], *m = json_of(ry_json_find(c, "messages")), *tool_text = json_of(tools), *vars = json_of(ry_json_find(c, "kwargs")), *text = NULL;
    size_t n = 0;
    ry_template_args a = {.messages = m, .tools = tool_text, .variables = vars, .now = ry_json_as_text(ry_json_find(cases, "now"), NULL)};
    ry_json_as_bool(ry_json_find(c, "add_generation_prompt"), &a.add_generation_prompt);
    assert_non_null(m);
    snprintf(what, sizeof what, "%s, %s", name, id);
    ry_status st = ry_template_render(t, &a, &text, &n, NULL, NULL);
    compare(what, want, st, text, n);
    ry_free(text);
    ry_mem_free(m);
    ry_mem_free(tool_text);
    ry_mem_free(vars);
}

static bool one_file(void *ud, const char *name) {
    const char *folder = ud;
    char path[2048];
    size_t n = strlen(name);
    ry_json *want;
    ry_template *t = NULL;
    if (n < 6 || strcmp(name + n - 6, ".jinja")) return true;
    snprintf(path, sizeof path, "%s/%.*s.json", folder, (int)(n - 6), name);
    assert_ok(ry_json_read(&want, path, 0));
    snprintf(path, sizeof path, "%s/%s", folder, name);
    ry_status opened = ry_template_open(&t, path);
    if (opened != RY_OK) print_error("%s: %s\n", name, ry_message());
    const ry_json *tokens = ry_json_find(cases, "special_tokens");
    for (ry_json_it it = ry_json_first(tokens); t && it.value; it = ry_json_next(tokens, it)) assert_ok(ry_template_token(t, it.key, ry_json_as_text(it.value, NULL)));
    for (ry_json_it it = ry_json_first(want); it.value; it = ry_json_next(want, it)) {
        if (t) one_case(t, name, it.key, it.value);
        else compare(name, it.value, opened, NULL, 0);
    }
    ry_template_close(t);
    ry_json_free(want);
    return true;
}

static bool one_folder(void *ud, const char *name) {
    char path[1536];
    (void)ud;
    snprintf(path, sizeof path, "%s/%s", root, name);
    if (os_kind(path) == OS_FOLDER) assert_ok(os_list(path, one_file, path));
    return true;
}

static void test_templates(void **state) {
    char path[1100];
    (void)state;
    snprintf(path, sizeof path, "%s/cases.json", root);
    assert_ok(ry_json_read(&cases, path, 0));
    checked = wrong = 0;
    assert_ok(os_list(root, one_folder, NULL));
    print_message("%zu renderings, %zu wrong\n", checked, wrong);
    ry_json_free(cases);
    assert_true(checked > 0);
    assert_int_equal(wrong, 0);
}

/* The object at "context" as it stands in the file: the tree would round integers beyond 64 bits. */
static char *context_text(const char *file) {
    const char *p = strstr(file, "\"context\"");
    assert_non_null(p);
    p = strchr(p, '{');
    assert_non_null(p);
    size_t n = 0, deep = 0;
    bool quoted = false;
    do {
        if (quoted && p[n] == '\\') n++;
        else if (p[n] == '"') quoted = !quoted;
        else if (!quoted && p[n] == '{') deep++;
        else if (!quoted && p[n] == '}') deep--;
        n++;
    } while (deep);
    char *s = ry_mem_alloc(n + 1);
    assert_non_null(s);
    memcpy(s, p, n);
    s[n] = 0;
    return s;
}

static void test_snippets(void **state) {
    char path[1100], *file;
    size_t bytes;
    ry_json *j;
    (void)state;
    snprintf(path, sizeof path, "%s/jinja_snippets.json", root);
    if (os_kind(path) != OS_FILE) skip();
    assert_ok(os_file_read(path, &file, &bytes));
    assert_ok(ry_json_parse(&j, file, bytes, path, 0));
    char *variables = context_text(file);
    const ry_json *list = ry_json_find(j, "snippets");
    checked = wrong = 0;
    for (size_t i = 0; i < ry_json_count(list); i++) {
        const ry_json *s = ry_json_at(list, i);
        size_t len, n = 0;
        const char *source = ry_json_as_text(ry_json_find(s, "template"), &len);
        char *text = NULL;
        ry_template *t = NULL;
        assert_non_null(source);
        ry_status st = ry_template_text(&t, source, len);
        ry_template_args a = {.messages = "[]", .variables = variables, .now = ry_json_as_text(ry_json_find(j, "now"), NULL)};
        if (st == RY_OK) st = ry_template_render(t, &a, &text, &n, NULL, NULL);
        compare(source, s, st, text, n);
        ry_free(text);
        ry_template_close(t);
    }
    print_message("%zu snippets, %zu wrong\n", checked, wrong);
    assert_true(checked > 0);
    assert_int_equal(wrong, 0);
    ry_mem_free(variables);
    ry_mem_free(file);
    ry_json_free(j);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_templates), cmocka_unit_test(test_snippets)};
    if (!test_data(root, sizeof root, "hf/chat_templates")) return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
