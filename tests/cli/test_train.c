/* test_train.c - the program trains, stops, is killed, resumes, refuses: always the same bits, never a half-written checkpoint. */
#include <unistd.h>

#include "cli/cli.h"

#define TRAIN "$R train --config shape.yaml --data text.txt --tokenizer chars --seq-len 32 -b 2 --iters 12 --save-every 3 --lr 0.003 "

static void test_learns_and_speaks(void **state) {
    (void)state;
    enter("speaks");
    assert_run(0, "$R train --config shape.yaml --data text.txt --tokenizer chars --seq-len 64 -b 8 --iters 150 --lr 0.01 --eval-every 50 --json -o out");
    assert_in("out.txt", "\"eval_loss\":");
    assert_run(0, "$R eval -m out --data text.txt --seq-len 64 --json");
    double loss = number_in("out.txt", "\"loss\":");
    assert_true(loss > 0 && loss < 1.5); /* ln 40 = 3.7 to begin with */
    assert_run(0, "$R run -m out -p 'line 3' -n 60 --temp 0");
    assert_in("out.txt", "lazy");
    assert_run(0, "$R run -m out -p 'line 3' -n 40 --temp 0.8 --top-k 40 --top-p 0.95 --seed 1 --json");
    assert_in("out.txt", "\"prompt_tokens\":6");
    assert_run(0, "$R inspect out/model.safetensors");
    assert_in("out.txt", "model.layers.1.mlp.down_proj.weight");
    assert_run(0, "$R plan --config shape.yaml --data text.txt --tokenizer chars --seq-len 64 -b 8 --json");
    assert_in("out.txt", "\"peak\":");
}

static void test_threads_and_accumulation(void **state) {
    (void)state;
    enter("threads");
    assert_run(0, TRAIN "-o one --threads 1");
    assert_run(0, TRAIN "-o three --threads 3");
    same_files("one/model.safetensors", "three/model.safetensors");
    assert_run(0, TRAIN "-o again --threads 3 --grad-accum 2 --grad-checkpoint block");
    assert_run(0, TRAIN "-o plain --threads 2 --grad-accum 2");
    same_files("again/model.safetensors", "plain/model.safetensors"); /* recomputation changes no bit */
}

static void test_resume(void **state) {
    (void)state;
    enter("resume");
    assert_run(0, TRAIN "-o whole");
    /* A signal after a while: a checkpoint, exit 130; then on to the end. */
    assert_run(0, TRAIN "-o out & P=$!; while [ ! -d out/checkpoints/step-3 ]; do sleep 0.01; done; kill -INT $P; wait $P; S=$?; [ $S = 130 ] || [ $S = 0 ]");
    assert_run(0, TRAIN "-o out --resume auto");
    same_files("whole/model.safetensors", "out/model.safetensors");
    same_files("whole/checkpoints/step-12/optimizer.safetensors", "out/checkpoints/step-12/optimizer.safetensors");
    assert_run(0, TRAIN "-o out --resume auto"); /* finished: says so */
    assert_in("err.txt", "finished");
    /* kill -9 at many moments. */
    for (int i = 1; i <= 8; i++) {
        assert_run(0, "rm -rf killed; " TRAIN "-o killed & P=$!; sleep 0.0%d; kill -9 $P; wait $P; true", i);
        assert_run(0, "if [ -d killed/checkpoints ]; then for c in killed/checkpoints/step-*; do [ ! -d $c ] || $R inspect $c/model.safetensors || exit 1; done; fi");
        assert_run(0, TRAIN "-o killed --resume auto");
        same_files("whole/model.safetensors", "killed/model.safetensors");
    }
    assert_run(1, TRAIN "-o out --resume auto --lr 0.1");
    assert_in("err.txt", "lr");
    /* The log goes on where the checkpoint was: every step once. */
    assert_run(0, "[ $(grep -c '\"loss\"' killed/log.jsonl) = 12 ] && [ $(grep -o '\"step\":[0-9]*' killed/log.jsonl | sort -u | wc -l) = 12 ]");
}

static void test_refusals(void **state) {
    (void)state;
    enter("refuse");
    assert_run(0, TRAIN "-o out");
    assert_run(1, TRAIN "-o out");
    assert_in("err.txt", "--resume auto");
    assert_run(0, TRAIN "-o out --overwrite");
    assert_run(0, TRAIN "--iters 100000 -o busy & P=$!; while [ ! -d busy/checkpoints ]; do sleep 0.01; done; " TRAIN "-o busy --resume auto; S=$?; kill $P; wait $P; [ $S = 1 ]");
    assert_in("err.txt", "another process");
    assert_run(2, "$R train --data text.txt -o x");
    assert_run(2, "$R train --config shape.yaml --data text.txt --itres 3 -o x");
    assert_in("err.txt", "--iters");
    assert_run(2, "$R nothing");
    assert_run(1, "$R train --config shape.yaml --data absent.txt -o x");
    assert_in("err.txt", "absent.txt");
    assert_run(1, "echo 'hidden_size: 30' > bad.yaml; $R train --config bad.yaml --data text.txt -o x");
    assert_in("err.txt", "num_hidden_layers");
    assert_run(1, "sed 's/num_attention_heads: 4/num_attention_heads: 3/' shape.yaml > bad.yaml; $R train --config bad.yaml --data text.txt -o x");
    assert_run(1, "$R run -m nowhere -p hi");
    assert_run(1, "head -c 1000 out/model.safetensors > out/model.cut; mv out/model.cut out/model.safetensors; $R run -m out -p hi");
    assert_in("err.txt", "model.safetensors");
    assert_run(1, TRAIN "--lr 1e20 --clip 0 --schedule constant -o nan");
    assert_in("err.txt", "step");
    assert_run(1, TRAIN "--lr 1e20 --clip 0 --schedule constant --debug-nan -o nan2");
}

/* Writes fail one after the other: the earlier checkpoint stays, the message says what happened, a later resume is exact. */
static void test_full_disk(void **state) {
    (void)state;
    enter("disk");
    assert_run(0, TRAIN "-o whole");
    int failed = 0;
    for (int i = 1; i < 60; i += 3) {
        int st = sh("rm -rf out; RUSTY_FAULT=write:%d " TRAIN "-o out", i);
        assert_true(st == 0 || st == 1);
        failed += st;
        if (!st) continue;
        assert_run(0, "if [ -d out/checkpoints ]; then for c in out/checkpoints/step-*; do [ ! -d $c ] || $R inspect $c || exit 1; done; fi");
        assert_run(0, TRAIN "-o out --resume auto");
        same_files("whole/model.safetensors", "out/model.safetensors");
    }
    assert_true(failed > 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_learns_and_speaks), cmocka_unit_test(test_threads_and_accumulation), cmocka_unit_test(test_resume),
                                       cmocka_unit_test(test_refusals), cmocka_unit_test(test_full_disk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
