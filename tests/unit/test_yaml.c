/* test_yaml.c - YAML settings as JSON trees: the core schema's scalars, structure, what is refused. */
#include "io/yaml.h"
#include "unit/io_help.h"

#ifdef RUSTY_HAVE_YAML
/* text -> the JSON it must be, or the words that the message must hold */
static void becomes(const char *text, const char *json) {
    ry_json *j;
    ry_status st = ry_yaml_parse(&j, text, strlen(text), "t.yaml");
    if (st != RY_OK) print_error("%s: %s\n", text, ry_message());
    assert_ok(st);
    ry_text t = {0};
    ry_json_write(&t, j, 0);
    assert_ok(ry_text_status(&t));
    assert_string_equal(t.at, json);
    ry_text_free(&t);
    ry_json_free(j);
}

static void fails(const char *text, const char *word) {
    ry_json *j;
    assert_is(RY_EFORMAT, ry_yaml_parse(&j, text, strlen(text), "t.yaml"));
    assert_says("t.yaml", word);
}

static void scalars(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"null", "null"},
        {"~", "null"},
        {"Null", "null"},
        {"NULL", "null"},
        {"nULL", "\"nULL\""},
        {"''", "\"\""},
        {"true", "true"},
        {"True", "true"},
        {"FALSE", "false"},
        {"yes", "\"yes\""},
        {"on", "\"on\""},
        {"'true'", "\"true\""},
        {"0", "0"},
        {"-0", "0"},
        {"+12", "12"},
        {"012", "12"},
        {"0o17", "15"},
        {"0xfF", "255"},
        {"0x", "\"0x\""},
        {"0o8", "\"0o8\""},
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"9223372036854775808", "9.223372036854776e+18"},
        {"1e-5", "1e-05"},
        {"1E5", "100000.0"},
        {"1.", "1.0"},
        {".5", "0.5"},
        {"-.5e+3", "-500.0"},
        {"1.5", "1.5"},
        {".", "\".\""},
        {"-", "[null]"},
        {"1e", "\"1e\""},
        {"e5", "\"e5\""},
        {"1.2.3", "\"1.2.3\""},
        {"1_000", "\"1_000\""},
        {"12:30:00", "\"12:30:00\""},
        {"2024-01-01", "\"2024-01-01\""},
        {"\"1\"", "\"1\""},
        {"\"a\\0b\"", "\"a\\u0000b\""},
        {"|\n  a\n  b\n", "\"a\\nb\\n\""},
        {">\n  a\n  b\n", "\"a b\\n\""},
        {"inf", "\"inf\""},
        {"-.foo", "\"-.foo\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) becomes(rows[i][0], rows[i][1]);
}

static void structure(void **state) {
    (void)state;
    becomes("", "null");
    becomes("# only a comment\n", "null");
    becomes("---\n...\n", "null");
    becomes("\xef\xbb\xbf"
            "a: 1\n",
            "{\"a\": 1}"); /* a byte order mark */
    becomes("hidden_size: 64\nrms_norm_eps: 1e-5\nrope_scaling: {type: linear, factor: 2.0}\nlist:\n- 1\n- [a, 'b', "
            "null]\n-\n",
            "{\"hidden_size\": 64, \"rms_norm_eps\": 1e-05, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0},"
            " \"list\": [1, [\"a\", \"b\", null], null]}");
    becomes("a:\nb: &anchor 3\nnull: 1\n1: 2\n", "{\"a\": null, \"b\": 3, \"null\": 1, \"1\": 2}");
    becomes("{\"a\": [1, 2.5e3, true], \"b\": {}}", "{\"a\": [1, 2500.0, true], \"b\": {}}");
}

static void refused(void **state) {
    (void)state;
    fails("a: 1\na: 2\n", "t.yaml:2:1: the key \"a\" stands here twice");
    fails("a: &x [1]\nb: *x\n", "aliases");
    fails("*x : 1\n", "aliases");
    fails("a: !!int 3\n", "tags");
    fails("a: !foo {b: 1}\n", "tags");
    fails("a: !foo [b]\n", "tags");
    fails("a: 1\n---\nb: 2\n", "more than one document");
    fails("[a]: 1\n", "a key must be a word");
    fails("a: .inf\n", "no place");
    fails("a: -.INF\n", "no place");
    fails("a: .nan\n", "no place");
    fails("a: 1e999\n", "too large");
    fails("a: 0xFFFFFFFFFFFFFFFFF\n", "64 bits");
    fails("a: [1, 2\n", "t.yaml:2:");
    fails("a: 'x\n", "t.yaml:2:");
    fails("a: 1\n b: 2\n", "t.yaml:2:");
    fails("\ta: 1\n", "t.yaml:1:");
    fails("a: \xff\n", "t.yaml");
    fails("\"a\\0\": 1\n", "NUL");
    char deep[2 * RY_JSON_MAX_DEPTH + 16];
    memset(deep, '[', sizeof deep);
    deep[sizeof deep - 1] = 0;
    fails(deep, "too deep");
    char *large = calloc(1, (4 << 20) + 2);
    memset(large, '#', (4 << 20) + 1);
    fails(large, "too many");
    free(large);
}

static ry_status parse_once(void *text) {
    ry_json *j = NULL;
    ry_status st = ry_yaml_parse(&j, text, strlen(text), "t.yaml");
    ry_json_free(j);
    return st;
}

static void allocations(void **state) {
    (void)state;
    sweep_allocations(parse_once,
                      "a: [1, 2.5, {b: c}, true, ~]\nlong_key_of_more_than_one_word: \"text\"\nb:\n  c: 0x10\n");
}

static void truncated(void **state) {
    (void)state;
    const char *whole = "a: [1, 2.5, {b: c}]\nb: 'text'\nc: &k |\n  block\nd: \"\\u00e9\"\n";
    size_t held = ry_mem_live();
    for (size_t n = 0; n <= strlen(whole); n++) {
        ry_json *j;
        ry_status st = ry_yaml_parse(&j, whole, n, "t.yaml");
        if (st == RY_OK) {
            ry_json_free(j);
        } else {
            assert_is(RY_EFORMAT, st);
        }
        assert_int_equal(ry_mem_live(), held);
    }
}
#else
static void says_what_is_missing(void **state) {
    (void)state;
    ry_json *j;
    assert_is(RY_EUNSUPPORTED, ry_yaml_parse(&j, "a: 1", 4, "t.yaml"));
    assert_says("t.yaml", "libyaml", "JSON");
}
#endif

static void by_name(void **state) {
    (void)state;
    fresh_folder("tmp_yaml");
    write_text("tmp_yaml/a.json", "{\"a\": 1}");
    write_text("tmp_yaml/b.json", "a: 1"); /* its name promises JSON */
    write_text("tmp_yaml/c", "\n {\"a\": 1}");
    ry_json *j;
    assert_ok(ry_config_read(&j, "tmp_yaml/a.json"));
    ry_json_free(j);
    assert_is(RY_EFORMAT, ry_config_read(&j, "tmp_yaml/b.json"));
    assert_ok(ry_config_read(&j, "tmp_yaml/c"));
    ry_json_free(j);
    assert_is(RY_ENOENT, ry_config_read(&j, "tmp_yaml/none.yaml"));
#ifdef RUSTY_HAVE_YAML
    write_text("tmp_yaml/d.yaml", "a: 1\n");
    assert_ok(ry_config_read(&j, "tmp_yaml/d.yaml"));
    assert_int_equal(ry_json_count(j), 1);
    ry_json_free(j);
#endif
    assert_ok(os_remove_tree("tmp_yaml"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
#ifdef RUSTY_HAVE_YAML
        cmocka_unit_test(scalars),     cmocka_unit_test(structure), cmocka_unit_test(refused),
        cmocka_unit_test(allocations), cmocka_unit_test(truncated),
#else
        cmocka_unit_test(says_what_is_missing),
#endif
        cmocka_unit_test(by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
