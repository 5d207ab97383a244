/* fuzz_json.c - any bytes as JSON: no crash, no leak; what parses is written so that it parses again, to the same text. */
#include "base/mem.h"
#include "fuzz/seeds.h"
#include "io/json.h"

static void round_trip(const ry_json *j) {
    ry_text once = {0}, twice = {0};
    ry_json *back;
    ry_json_write(&once, j, 2);
    must(ry_text_status(&once) == RY_OK);
    must(ry_json_parse(&back, once.at, once.n, "written", 0) == RY_OK);
    ry_json_write(&twice, back, 2);
    must(ry_text_status(&twice) == RY_OK && twice.n == once.n && !memcmp(once.at, twice.at, once.n));
    ry_json_free(back);
    ry_text_free(&once);
    ry_text_free(&twice);
}

/* The helpers that follow a path through whatever is there. */
static void look(const ry_json *j) {
    int64_t i;
    double d;
    bool b;
    const char *s;
    const ry_json *sub;
    if (ry_json_int(&i, j, "f", "a.b", 0, 9, true) == RY_OK) must(i >= 0 && i <= 9);
    if (ry_json_real(&d, j, "f", "a", -1, 1, true) == RY_OK) must(d >= -1 && d <= 1);
    if (ry_json_bool(&b, j, "f", "b.c", true) == RY_OK) must(b == true || b == false);
    if (ry_json_text(&s, j, "f", "a", true) == RY_OK) must(strlen(s) < SIZE_MAX);
    if (ry_json_array(&sub, j, "f", "b", true) == RY_OK) must(ry_json_count(sub) == 0 || ry_json_at(sub, 0));
    if (ry_json_object(&sub, j, "f", "c", true) == RY_OK) must(ry_json_count(sub) == 0 || ry_json_first(sub).value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const unsigned flags[] = {0, RY_JSON_LENIENT, RY_JSON_EXACT};
    for (size_t i = 0; i < 3; i++) {
        ry_json *j;
        if (ry_json_parse(&j, (const char *)data, size, "fuzz.json", flags[i]) != RY_OK) continue;
        round_trip(j);
        look(j);
        ry_json_free(j);
    }
    must(ry_mem_live() == 0);
    return 0;
}

size_t fuzz_seeds(int i, unsigned char *buf, size_t cap) {
    static const char *const seeds[] = {
        "{\"a\": {\"b\": 3}, \"b\": [1, -2.5e3, true, null], \"c\": {}}",
        "[\"\\u00e9\\ud83d\\ude00\\n\\\"\\/\", \"\xc3\xa9\", [], {}, [[]]]",
        "[0, -0, 1e5, 0.1, 1E+2, 9223372036854775807, 18446744073709551616, 1e308, 5e-324]",
        " { \"a\\u0000b\" : 1 , \"x\" : \"y\\u0000\" } ",
        "{\"a\":1,\"a\":2}",
        "true",
        "\"s\"",
        "-1.5",
        "[[[[[[[[]]]]]]]]",
        "{\"model_max_length\": 1000000000000000019884624838656, \"eps\": 1e-05}",
    };
    return seed_of(seeds, sizeof seeds / sizeof *seeds, i, buf, cap);
}
