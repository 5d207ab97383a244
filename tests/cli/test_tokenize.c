/* test_tokenize.c - rusty tokenize and detokenize as a shell runs them. */
#include "cli/cli.h"
#include <rusty.h>

static const char *const model = "bytes";

static void verbs(void **state) {
    (void)state;
    ry_tokenizer *t;
    enter("tokenize");
    assert_int_equal(ry_tokenizer_bytes(&t), RY_OK);
    assert_int_equal(ry_tokenizer_save(t, model), RY_OK);
    ry_tokenizer_close(t);
    assert_run(0, "printf 'ab\\n' | $R tokenize -m %s > got.txt", model);
    assert_in("got.txt", "97 98 10\n");
    assert_run(0, "printf '97 98,10' | $R detokenize -m %s > got.txt", model);
    assert_in("got.txt", "ab\n");
    assert_run(0, "printf '\"a\\\\u0000\\\\n\"\\n\\n \"\\\\ud83d\\\\ude00\\\\\"\"\\n\"\\\\ud83d\"' | $R tokenize --json -m %s > got.txt", model);
    assert_in("got.txt", "{\"ids\":[97,0,10]}\n{\"ids\":[240,159,152,128,34]}\n{\"ids\":[239,191,189]}\n");
    assert_run(0, "$R detokenize --json -m %s < got.txt > back.txt", model);
    assert_in("back.txt", "\"a\\u0000\\n\"\n\"\xF0\x9F\x98\x80\\\"\"\n\"\xEF\xBF\xBD\"\n");
    assert_run(0, "echo '[255, 97]' | $R detokenize --json --no-special -m %s > got.txt", model);
    assert_in("got.txt", "\"\xEF\xBF\xBD" "a\"\n");
    assert_run(1, "echo '\"a' | $R tokenize --json -m %s 2> err.txt", model);
    assert_in("err.txt", "line 1: a string without an end");
    assert_run(1, "echo '{\"ids\":[1,-2]}' | $R detokenize --json -m %s 2> err.txt", model);
    assert_in("err.txt", "line 1: ids must be integers");
    assert_run(1, "echo '97 x' | $R detokenize -m %s 2> err.txt", model);
    assert_in("err.txt", "ids must be integers");
    assert_run(2, "$R tokenize 2> err.txt");
    assert_in("err.txt", "-m is needed");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(verbs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
