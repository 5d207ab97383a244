/* test_text.c - growing strings, JSON strings, the expander: what it gives and every way it refuses. */
#include "base/mem.h"
#include "base/text.h"
#include "unit/cm.h"
#include <string.h>

static void adding(void **state) {
    (void)state;
    ry_text t = {0};
    assert_ok(ry_text_status(&t));
    ry_text_add(&t, "", 0);
    assert_string_equal(t.at, "");
    for (int i = 0; i < 1000; i++) ry_text_printf(&t, "%d,", i);
    ry_text_puts(&t, "end");
    assert_int_equal(t.n, strlen(t.at));
    assert_int_equal(t.n, 10 * 2 + 90 * 3 + 900 * 4 + 3);
    assert_string_equal(t.at + t.n - 7, "999,end");
    ry_text_free(&t);
    assert_null(t.at);
    ry_text_add(&t, "x", SIZE_MAX);
    assert_is(RY_ENOMEM, ry_text_status(&t));
    ry_text_puts(&t, "ignored");
    assert_is(RY_ENOMEM, ry_text_status(&t));
    ry_text_free(&t);
}

#define BAD "\xEF\xBF\xBD"
static void json(void **state) {
    (void)state;
    static const struct {
        const char *in;
        size_t n;
        const char *out;
    } rows[] = {
        {"plain", 5, "\"plain\""},
        {"a\"b\\c/\n\t\r", 9, "\"a\\\"b\\\\c/\\n\\t\\u000d\""},
        {"\0\x1f\x7f", 3, "\"\\u0000\\u001f\\u007f\""},
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x99\x82", 9, "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x99\x82\""},
        {"\xC0\x80", 2, "\"" BAD BAD "\""},                 /* overlong */
        {"\xE0\x80\x80", 3, "\"" BAD BAD BAD "\""},         /* overlong */
        {"\xED\xA0\x80", 3, "\"" BAD BAD BAD "\""},         /* a surrogate */
        {"\xF4\x90\x80\x80", 4, "\"" BAD BAD BAD BAD "\""}, /* beyond U+10FFFF */
        {"\xE2\x82", 2, "\"" BAD BAD "\""},                 /* cut off */
        {"\xE2\x82x", 3, "\"" BAD BAD "x\""},
        {"\xFF", 1, "\"" BAD "\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ry_text t = {0};
        ry_text_json(&t, rows[i].in, rows[i].n);
        assert_string_equal(t.at, rows[i].out);
        ry_text_free(&t);
    }
}

static const ry_text_var vars[] = {{"N", "4"}, {"M", "-3"}, {"T", "vec4<f32>"}, {"HALF", "0"}, {"BIG", "0x10"}};
static const char *include(void *ud, const char *name) {
    (void)ud;
    return strcmp(name, "tail") == 0 ? "tail ${N}" : strcmp(name, "self") == 0 ? "#include self\n" : NULL;
}

static ry_status expand(ry_text *out, const char *text) {
    return ry_text_expand(out, "k.wgsl", text, vars, sizeof vars / sizeof *vars, include, NULL);
}

static void expanding(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", ""},
        {"no names\n", "no names\n"},
        {"${T} x${N} ${N*2+1} $N {N}", "vec4<f32> x4 9 $N {N}"},
        {"${M} ${-M} ${BIG + 0x0f}", "-3 3 31"},
        {"${1+2*3} ${(1+2)*3} ${7/2} ${-7/2} ${7%4} ${10-4-3}", "7 9 3 -3 3 3"},
        {"${1<2}${2<=2}${3>4}${4>=4}${1==1}${1!=1}${!N}${!!N}", "11011001"},
        {"${N && HALF}${N || HALF}${0 && UNKNOWN}${1 || UNKNOWN / 0}", "0101"},
        {"#if N == 4\nfour\n#else\nother\n#end\nafter\n", "four\nafter\n"},
        {"#if HALF\nenable f16;\n#end\n", ""},
        {"#if HALF\n#if UNKNOWN\n#else\n${UNKNOWN}\n#end\n#include nothing\n#else\nb\n#end", "b\n"},
        {"  #for I 0 N\n  a${I} = b[${I * N}];\n  #end\n", "  a0 = b[0];\n  a1 = b[4];\n  a2 = b[8];\n  a3 = b[12];\n"},
        {"#for I 0 2\n#for J I N-1\n${I}${J}\n#end\n#end\n", "00\n01\n02\n11\n12\n"},
        {"#for I 0 2\n#for I 5 6\n${I}\n#end\n${I}\n#end\n", "5\n0\n5\n1\n"},
        {"#for N 7 8\n${N}\n#end\n${N}\n", "7\n4\n"},
        {"#for I 3 3\n${UNKNOWN}\n#end\n#for I 3 1\nx\n#end\n", ""},
        {"a\n#include tail\nb\n", "a\ntail 4\nb\n"},
        {"#include <mma.h>\n#include \"x.h\"\n#pragma unroll\n#define A 1\n",
         "#include <mma.h>\n#include \"x.h\"\n#pragma unroll\n#define A 1\n"},
        {"#let A ${N}+1\n${A}\n#let A 7 \n#include tail\n${A + 1}${N}\n#let N\n<${N}>\n", "4+1\ntail 4\n84\n<>\n"},
        {"#if HALF\n#let A 1\n#else\n#let A 2\n#end\n#for I 0 2\n#let B ${I * A}\n${B}\n#end\n", "0\n2\n"},
        {"# if N\r\nx\r\n# end\r\n", "x\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ry_text t = {0};
        assert_ok(expand(&t, rows[i].in));
        assert_string_equal(t.at ? t.at : "", rows[i].out);
        ry_text_free(&t);
    }
}

static void refusing(void **state) {
    (void)state;
    static const struct {
        const char *in, *message;
    } rows[] = {
        {"a\nb ${X}\n", "k.wgsl:2: unknown name X"},
        {"${T + 1}", "k.wgsl:1: T is \"vec4<f32>\", which is no integer"},
        {"${N", "'}' is missing"},
        {"${}", "a number, name or '(' is expected"},
        {"${(1}", "')' is missing"},
        {"${1/0}", "division by zero"},
        {"${1%HALF}", "division by zero"},
        {"${99999999999999999999}", "no integer of 64 bits"},
        {"${0x}", "no integer"},
        {"\n#if N\nx\n", "k.wgsl:2: this #if has no #end"},
        {"#for I 0 2\nx\n", "k.wgsl:1: this #for has no #end"},
        {"#for I 0 2\n#else\n#end\n", "this #for has no #end"},
        {"#for 0 2\n#end\n", "#for needs a name"},
        {"#for I 0\n#end\n", "expected"},
        {"#for I 0 99999999\n#end\n", "turns more than"},
        {"#for I 0 9999\n#for J 0 9999\n#end\n#end\n", "turns more than"},
        {"x\n#end\n", "k.wgsl:2: #end without"},
        {"#else\n", "#else without"},
        {"#if 1\n#else\n#else\n#end\n", "a second #else"},
        {"#if 1 2\n#end\n", "unexpected \"2\""},
        {"#if 1\n#end x\n", "unexpected text after #end"},
        {"#include nothing\n", "there is no text nothing"},
        {"#include\n", "one name"},
        {"#include self\n", "nested"},
        {"#let\n", "#let needs a name"},
        {"#let A ${UNKNOWN}\n", "k.wgsl:1: unknown name UNKNOWN"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ry_text t = {0};
        assert_is(RY_EFORMAT, expand(&t, rows[i].in));
        if (strstr(ry_message(), rows[i].message) == NULL) print_error("row %zu: %s\n", i, ry_message());
        assert_non_null(strstr(ry_message(), rows[i].message));
        ry_text_free(&t);
    }
    char deep[5000] = "${"; /* deep nesting is an error, not a full stack */
    memset(deep + 2, '(', 4000);
    ry_text t = {0};
    assert_is(RY_EFORMAT, expand(&t, deep));
    assert_non_null(strstr(ry_message(), "too deeply"));
    ry_text_free(&t);
    ry_text many = {0};
    for (int i = 0; i < 1000; i++) ry_text_puts(&many, "#if 1\n");
    assert_is(RY_EFORMAT, expand(&t, many.at));
    assert_non_null(strstr(ry_message(), "nested"));
    ry_text_free(&t);
    ry_text_free(&many);
    for (int i = 0; i < 100; i++) ry_text_printf(&many, "#let A%d %d\n", i, i);
    assert_is(RY_EFORMAT, expand(&t, many.at));
    assert_non_null(strstr(ry_message(), "names by #let"));
    ry_text_free(&t);
    ry_text_free(&many);
    ry_text_puts(&many, "#let A ");
    for (int i = 0; i < 200; i++) ry_text_puts(&many, "x");
    assert_is(RY_EFORMAT, expand(&t, many.at));
    assert_non_null(strstr(ry_message(), "longer than"));
    ry_text_free(&t);
    ry_text_free(&many);
    assert_int_equal(ry_mem_live(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(adding), cmocka_unit_test(json), cmocka_unit_test(expanding),
                                       cmocka_unit_test(refusing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
