/* test_tokenizer_train.c - rusty tokenizer train: a tokenizer from text, and a model that is trained with it. */
#include "cli/cli.h"

static void test_train_and_use(void **state) {
    (void)state;
    enter("tokenizer");
    assert_run(0, "mkdir tok && $R tokenizer train --vocab 300 "
                  "--special '<|end|>,<|pad|>' --data text.txt --json -o tok/tokenizer.json");
    assert_int_equal((int)number_in("out.txt", "\"vocab\":"), 300);
    assert_in("tok/tokenizer.json", "<|pad|>");
    assert_run(0, "$R train --config shape.yaml --data text.txt --tokenizer tok --seq-len 32 -b 2 --iters 3 -o out");
    same_files("tok/tokenizer.json", "out/tokenizer.json");
    assert_run(0, "$R eval -m out --data text.txt --seq-len 32 --json");
    assert_true(number_in("out.txt", "\"loss\":") > 0);
    assert_run(0, "$R run -m out -p 'the' -n 5 --temp 0");
    assert_run(0, "$R plan --config shape.yaml --data text.txt --tokenizer tok/tokenizer.json --seq-len 32 -b 2 --json");
}

static void test_wrong(void **state) {
    (void)state;
    enter("tokenizer_wrong");
    assert_run(2, "$R tokenizer train --vocab 300 --data text.txt");
    assert_run(2, "$R tokenizer learn");
    assert_run(1, "$R tokenizer train --vocab 100 --data text.txt -o t.json");
    assert_in("err.txt", "256 bytes");
    assert_run(1, "$R tokenizer train --data missing.txt -o t.json");
    assert_in("err.txt", "missing.txt");
    assert_run(1, "$R train --config shape.yaml --data text.txt --tokenizer shape.yaml --iters 1 -o out");
    assert_in("err.txt", "shape.yaml");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_train_and_use), cmocka_unit_test(test_wrong)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
