/* test_json.c - the JSON layer: what parses and what must not, numbers, fields and their messages, the writer. */
#include "io/json.h"
#include "test_data.h"
#include "unit/io_help.h"
#include <float.h>
#include <math.h>

static ry_json *parse(const char *text, unsigned flags) {
    ry_json *j;
    assert_ok(ry_json_parse(&j, text, strlen(text), "t.json", flags));
    return j;
}

static void refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1]x",
        "[1],",
        "{",
        "}",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\" 1}",
        "{1:1}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":1}",
        "nan",
        "[NaN]",
        "[Infinity]",
        "[-Infinity]",
        "tru",
        "True",
        "nul",
        "-",
        "+1",
        "01",
        "-01",
        "1.",
        ".5",
        "1.e1",
        "1e",
        "1e+",
        "0x10",
        "1_000",
        "1e400",
        "'a'",
        "\"",
        "\"a",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\x01\"",
        "\"\t\"",
        "\"a\nb\"",
        "\"\xff\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\xe2\x82\"",
        "\xef\xbb\xbf{}",
        "// no\n1",
        "/* no */ 1",
        "[1]\f",
        "\xa0",
        "{\"\\u0000\":1}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ry_json *j = NULL;
        if (ry_json_parse(&j, bad[i], strlen(bad[i]), "bad.json", 0) != RY_EFORMAT)
            print_error("not refused: %s\n", bad[i]);
        assert_null(j);
        assert_is(RY_EFORMAT, ry_json_parse(&j, bad[i], strlen(bad[i]), "bad.json", 0));
        assert_says("bad.json:");
    }
    ry_json *j;
    assert_is(RY_EFORMAT, ry_json_parse(&j, "[1]\0", 4, "bad.json", 0)); /* a NUL is no space */
    assert_is(RY_EFORMAT, ry_json_parse(&j, "{\n \"a\": 1,\n \"b\" 2}", 19, "bad.json", 0));
    assert_says("bad.json:3:");
    assert_is(RY_EFORMAT, ry_json_parse(&j, NULL, 0, "bad.json", 0));
}

static void truncated(void **state) {
    (void)state;
    const char *whole = "{\"a\": [1, -2.5e3, true, null], \"b\": {\"c\\u00e9\": \"\xc3\xa9\\n\"}}";
    ry_json *j;
    for (size_t n = 0; n < strlen(whole); n++) assert_is(RY_EFORMAT, ry_json_parse(&j, whole, n, "t.json", 0));
    ry_json_free(parse(whole, 0));
}

static char *nested(int depth) {
    char *s = malloc((size_t)depth * 2 + 1);
    memset(s, '[', (size_t)depth);
    memset(s + depth, ']', (size_t)depth);
    s[2 * depth] = 0;
    return s;
}

static void depth(void **state) {
    (void)state;
    char *deep = nested(RY_JSON_MAX_DEPTH), *deeper = nested(RY_JSON_MAX_DEPTH + 1), *deepest = nested(100000);
    ry_json_free(parse(deep, 0));
    ry_json *j;
    assert_is(RY_EFORMAT, ry_json_parse(&j, deeper, strlen(deeper), "t.json", 0));
    assert_says("t.json:1:257: too many brackets");
    assert_is(RY_EFORMAT, ry_json_parse(&j, deepest, 100000, "t.json", 0));
    free(deep), free(deeper), free(deepest);
    ry_json_free(parse("[\"[[[[\\\"[[[\", \"]\", {}]", 0)); /* brackets in strings do not count */
}

static void numbers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t v;
        bool ok;
    } ints[] = {
        {"0", 0, true},
        {"-0", 0, true},
        {"9223372036854775807", INT64_MAX, true},
        {"-9223372036854775808", INT64_MIN, true},
        {"1e5", 100000, true},
        {"2.0", 2, true},
        {"-3.0E2", -300, true},
        {"2.5", 0, false},
        {"1e30", 0, false},
        {"\"1\"", 0, false},
        {"9007199254740992.0", 9007199254740992, true},
        {"9007199254740994.0", 0, false},
        {"true", 0, false},
        {"100000000000000000000", 0, false},
    };
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        ry_json *j = parse(ints[i].text, 0);
        int64_t v = 77;
        assert_int_equal(ry_json_as_int(j, &v), ints[i].ok);
        assert_int_equal(v, ints[i].ok ? ints[i].v : 77);
        ry_json_free(j);
    }
    ry_json *j = parse("{\"model_max_length\": 1000000000000000019884624838656, \"n\": 3}", 0), *k;
    double d;
    int64_t n;
    assert_true(ry_json_as_real(ry_json_find(j, "model_max_length"), &d));
    assert_true(d == 1e30);
    assert_true(ry_json_as_int(ry_json_find(j, "n"), &n) && n == 3);
    ry_json_free(j);
    assert_is(RY_EFORMAT, ry_json_parse(&k, "[18446744073709551616]", 22, "t.json", RY_JSON_EXACT));
    assert_says("t.json:1:", "integer");
    assert_ok(ry_json_number("1.5e3x", &d));
    assert_true(d == 1500);
}

static void fields(void **state) {
    (void)state;
    ry_json *j = parse("{\"hidden_size\": \"big\", \"layers\": 0, \"eps\": 1e-05, \"rope_scaling\": {\"factor\": 8, "
                       "\"rope.type\": \"x\"},"
                       " \"none\": null, \"tie\": 1, \"list\": [1], \"a.b\": 5, \"z\": \"q\\u0000\"}",
                       0);
    int64_t i = 42;
    double d = 0;
    bool b = false;
    const char *s = NULL;
    const ry_json *sub = NULL;
    assert_is(RY_EFORMAT, ry_json_int(&i, j, "config.json", "hidden_size", 1, INT64_MAX, true));
    assert_string_equal(ry_message(), "config.json: hidden_size must be a positive integer, it is \"big\"");
    assert_is(RY_EFORMAT, ry_json_int(&i, j, "config.json", "layers", 1, 100, true));
    assert_says("config.json: layers must be an integer from 1 to 100, it is 0");
    assert_is(RY_EFORMAT, ry_json_int(&i, j, "config.json", "vocab_size", 1, 100, true));
    assert_says("config.json: vocab_size is missing");
    assert_ok(ry_json_int(&i, j, "config.json", "vocab_size", 1, 100, false));
    assert_ok(ry_json_int(&i, j, "config.json", "none", 1, 100, false));
    assert_int_equal(i, 42);
    assert_is(RY_EFORMAT, ry_json_int(&i, j, "config.json", "none", 1, 100, true));
    assert_ok(ry_json_int(&i, j, "config.json", "rope_scaling.factor", 1, 100, true));
    assert_int_equal(i, 8);
    assert_ok(ry_json_int(&i, j, "config.json", "a.b", 1, 100, true));
    assert_int_equal(i, 5);
    assert_ok(ry_json_text(&s, j, "config.json", "rope_scaling.rope.type", true));
    assert_string_equal(s, "x");
    assert_is(RY_EFORMAT, ry_json_text(&s, j, "config.json", "z", true));
    assert_says("without NUL");
    assert_is(RY_EFORMAT, ry_json_text(&s, j, "config.json", "list", true));
    assert_says("config.json: list must be a string, it is [1]");
    assert_ok(ry_json_real(&d, j, "config.json", "eps", 0, 1, true));
    assert_true(d == 1e-5);
    assert_ok(ry_json_real(&d, j, "config.json", "layers", 0, INFINITY, true));
    assert_is(RY_EFORMAT, ry_json_real(&d, j, "config.json", "rope_scaling.factor", 0, 1, true));
    assert_says("rope_scaling.factor must be a number from 0 to 1, it is 8");
    assert_is(RY_EFORMAT, ry_json_bool(&b, j, "config.json", "tie", true));
    assert_says("tie must be true or false, it is 1");
    assert_ok(ry_json_array(&sub, j, "config.json", "list", true));
    assert_int_equal(ry_json_count(sub), 1);
    assert_null(ry_json_at(sub, 1));
    assert_is(RY_EFORMAT, ry_json_object(&sub, j, "config.json", "list", true));
    assert_says("config.json: list must be an object");
    assert_is(RY_EFORMAT, ry_json_array(&sub, j, "config.json", "rope_scaling", true));
    assert_ok(ry_json_object(&sub, j, "config.json", "rope_scaling", true));
    assert_ok(ry_json_need_object(sub, "config.json"));
    assert_is(RY_EFORMAT, ry_json_need_object(ry_json_find(j, "list"), "config.json"));
    assert_int_equal(ry_json_kind_of(ry_json_find(j, "nowhere")), RY_JSON_NONE);
    assert_null(ry_json_path(NULL, "x"));
    ry_json_free(j);
}

static void lenient(void **state) {
    (void)state;
    ry_json *j = parse("{\"a\":1,\"a\":2,\"n\\u0000\":3,\"\\\\u0000\":4,\"v\":\"\\u0000\"}", RY_JSON_LENIENT);
    int64_t v;
    size_t n;
    assert_true(ry_json_as_int(ry_json_find(j, "a"), &v) && v == 2);
    assert_true(ry_json_as_int(ry_json_find(j, "n\xe2\x90\x80"), &v) && v == 3);
    assert_true(ry_json_as_int(ry_json_find(j, "\\u0000"), &v) && v == 4); /* an escaped backslash, not a NUL */
    assert_non_null(ry_json_as_text(ry_json_find(j, "v"), &n));
    assert_int_equal(n, 1);
    ry_json_free(j);
}

static ry_status build(ry_json *o) {
    ry_json *list = ry_json_new_array();
    ry_status st = ry_json_push(list, ry_json_new_real(1e-5));
    if (st == RY_OK) st = ry_json_push(list, ry_json_new_real(1));
    if (st == RY_OK) st = ry_json_push(list, ry_json_new_real(0.1));
    if (st == RY_OK) st = ry_json_push(list, ry_json_new_bool(true));
    if (st == RY_OK) st = ry_json_push(list, ry_json_new_null());
    if (st != RY_OK) {
        ry_json_free(list);
        return st;
    }
    RY_TRY(ry_json_put(o, "z", list));
    RY_TRY(ry_json_put(o, "a", ry_json_new_text("q\"\\\n\xc3\xa9")));
    RY_TRY(ry_json_put(o, "e", ry_json_new_array()));
    RY_TRY(ry_json_put(o, "m", ry_json_new_object()));
    return ry_json_put(o, "n", ry_json_new_int(INT64_MIN));
}

static void writer(void **state) {
    (void)state;
    ry_json *o = ry_json_new_object();
    assert_ok(build(o));
    ry_text t = {0};
    ry_json_write(&t, o, 0);
    assert_ok(ry_text_status(&t));
    assert_string_equal(t.at, "{\"z\": [1e-05, 1.0, 0.1, true, null], \"a\": \"q\\\"\\\\\\n\xc3\xa9\", \"e\": [], "
                              "\"m\": {}, \"n\": -9223372036854775808}");
    ry_text_free(&t);
    ry_json_write(&t, o, 2);
    assert_non_null(strstr(t.at, "{\n  \"z\": [\n    1e-05,\n    1.0,"));
    ry_text_free(&t);
    assert_is(RY_EARG, ry_json_put(o, "x", ry_json_new_real(INFINITY)));
    assert_says("not finite");
    assert_is(RY_EARG, ry_json_put(o, "x", ry_json_new_text("\xff")));
    fresh_folder("tmp_json");
    assert_ok(ry_json_save(o, "tmp_json/a.json"));
    ry_json *back;
    assert_ok(ry_json_read(&back, "tmp_json/a.json", 0));
    assert_int_equal(ry_json_count(back), 5);
    ry_json_free(back);
    ry_json_free(o);
    assert_is(RY_ENOENT, ry_json_read(&back, "tmp_json/b.json", 0));
    assert_says("b.json");
    assert_ok(os_remove_tree("tmp_json"));
}

static void reals_survive(void **state) {
    (void)state;
    static const double values[] = {
        0.1, 1.0 / 3, 1e-5, 5e-324, DBL_MAX, DBL_MIN, 1e22, 123456789012345680.0, -0.0, 0.30000000000000004, 1e16};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        ry_json *v = ry_json_new_real(values[i]), *back;
        ry_text t = {0};
        ry_json_write(&t, v, 0);
        assert_ok(ry_json_parse(&back, t.at, t.n, "t.json", 0));
        double d;
        assert_int_equal(ry_json_kind_of(back), RY_JSON_REAL);
        assert_true(ry_json_as_real(back, &d));
        assert_memory_equal(&d, &values[i], sizeof d);
        ry_text_free(&t);
        ry_json_free(v);
        ry_json_free(back);
    }
}

static ry_status parse_once(void *text) {
    ry_json *j = NULL;
    ry_status st = ry_json_parse(&j, text, strlen(text), "t.json", 0);
    ry_json_free(j);
    return st;
}

static ry_status write_once(void *unused) {
    (void)unused;
    ry_json *o = ry_json_new_object();
    ry_status st = build(o);
    ry_text t = {0};
    if (st == RY_OK) {
        ry_json_write(&t, o, 2);
        st = ry_text_status(&t);
    }
    ry_text_free(&t);
    ry_json_free(o);
    return st;
}

static void allocations(void **state) {
    (void)state;
    /* a number and strings longer than jansson's first buffers */
    sweep_allocations(
        parse_once,
        "{\"a\": [1, 2.5, {\"b\": \"c\"}, 123456789012345678], \"0123456789012345678901234567890123456789\": \"x"
        "0123456789012345678901234567890123456789\", \"r\": 3.14159265358979323846264338327950288419716939937510,"
        " \"k1\":1,\"k2\":2,\"k3\":3,\"k4\":4,\"k5\":5,\"k6\":6,\"k7\":7,\"k8\":8,\"k9\":9,\"l\":[1,2,3,4,5,6,7,8,9,10]"
        "}");
    sweep_allocations(parse_once, "[100000000000000000000000, 1]"); /* read twice */
    sweep_allocations(write_once, NULL);
}

/* JSONTestSuite's files that must parse. Two of them give a key twice and one a NUL in a key, which only looking allows. */
static bool must_parse(void *folder, const char *name) {
    if (strncmp(name, "y_", 2)) return true;
    char *path = os_join(folder, name);
    assert_non_null(path);
    ry_json *j;
    ry_status strict = ry_json_read(&j, path, 0);
    bool odd = strstr(name, "duplicated_key") || strstr(name, "null_in_key");
    if ((strict == RY_OK) == odd) print_error("%s: %s\n", name, ry_message());
    assert_int_equal(strict == RY_OK, !odd);
    if (strict == RY_OK) ry_json_free(j);
    assert_ok(ry_json_read(&j, path, RY_JSON_LENIENT));
    ry_json_free(j);
    ry_mem_free(path);
    return true;
}

static void suite(void **state) {
    (void)state;
    char path[1024];
    if (!test_data(path, sizeof path, "malformed/json/test_parsing")) skip();
    assert_ok(os_list(path, must_parse, path));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused), cmocka_unit_test(truncated),     cmocka_unit_test(depth),
        cmocka_unit_test(numbers), cmocka_unit_test(fields),        cmocka_unit_test(lenient),
        cmocka_unit_test(writer),  cmocka_unit_test(reals_survive), cmocka_unit_test(allocations),
        cmocka_unit_test(suite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
