/* test_gpu_train.c - training on a GPU as a user runs it: the same bits at every run, across a resume and with measured kernels;
 * a lost device.  Exits 77 where there is neither a GPU nor a driver in software. */
#define _POSIX_C_SOURCE 200809L
#include <unistd.h>

#include "cli/cli.h"
#include "core/launch.h"
#include "core/program.h"
#include "core/tune.h"
#include "train/train.h"
#include <math.h>

#define OPTIONS "--config shape.yaml --data text.txt --tokenizer chars --seq-len 32 -b 2 --iters 12 --save-every 3 --lr 0.003 "
#define TRAIN "$R train --device webgpu " OPTIONS

static void same_runs(const char *a, const char *b) {
    static const char *const file[] = {"model.safetensors", "checkpoints/step-12/optimizer.safetensors"};
    char x[128], y[128];
    for (int i = 0; i < 2; i++) {
        snprintf(x, sizeof x, "%s/%s", a, file[i]);
        snprintf(y, sizeof y, "%s/%s", b, file[i]);
        same_files(x, y);
    }
}

static void test_lost_and_resumed(void **state) {
    (void)state;
    enter("gpu_lost");
    assert_run(0, TRAIN "-o whole");
    assert_run(0, "grep '\"step\":12,' whole/log.jsonl > last.txt");
    double loss = number_in("last.txt", "\"loss\":");
    assert_run(0, "$R train --device cpu " OPTIONS "-o cpu && grep '\"step\":12,' cpu/log.jsonl > last.txt");
    assert_true(fabs(loss - number_in("last.txt", "\"loss\":")) < 1e-3);
    assert_run(0, TRAIN "-o again");
    same_runs("whole", "again");
    /* The device goes away in the middle of a step, between two checkpoints and before the first. */
    for (int at = 2; at <= 8; at += 6) {
        assert_run(1, "rm -rf out; RUSTY_FAULT=device:%d " TRAIN "-o out", at);
        assert_in("err.txt", "device is lost");
        assert_run(0, "if [ -d out/checkpoints ]; then for c in out/checkpoints/step-*; do $R inspect $c || exit 1; done; fi");
        assert_run(at > 3 ? 0 : 1, "[ -d out/checkpoints/step-3 ]");
        assert_run(0, TRAIN "-o out --resume auto");
        same_runs("whole", "out");
    }
    /* A signal: a checkpoint at once. */
    assert_run(0, TRAIN "-o told & P=$!; while [ ! -d told/checkpoints/step-3 ]; do sleep 0.01; done; kill -INT $P; wait $P; S=$?; [ $S = 130 ] || [ $S = 0 ]");
    assert_run(0, TRAIN "-o told --resume auto");
    same_runs("whole", "told");
    assert_run(1, "RUSTY_FAULT=device:2 $R run --device webgpu -m whole -p 'line 3' -n 20 --temp 0");
    assert_in("err.txt", "device is lost");
}

/* A tuning file in ./cache that takes the last of its variants for every kernel of the run's step. */
static int write_tuning(void) {
    char folder[512];
    ry_device *d;
    ry_model *m;
    train_step *s;
    ry_train_options o = {.optimizer = "adamw", .grad_accum = 1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01, .clip = 1};
    int changed = 0;
    assert_non_null(getcwd(folder, sizeof folder - 8));
    strcat(folder, "/cache");
    setenv("RUSTY_CACHE", folder, 1);
    assert_ok(ry_device_open(&d, "webgpu", NULL));
    assert_ok(ry_model_open(&m, d, "whole", &(ry_model_options){.master_f32 = true}));
    assert_ok(train_step_open(&s, m, &o, 2, 32));
    const ry_plan *p = s->whole->plan;
    for (int i = 0; i < p->n_steps; i++) {
        ry_text key = {0};
        int count;
        const ry_variant *first = launch_variant(p->steps[i].node, &d->caps, &count);
        if (!first || count < 2) continue;
        assert_ok(tune_key(&key, p->steps[i].node));
        assert_ok(tune_set(d->tuning, key.at, launch_variant_at(p->steps[i].node, &d->caps, count - 1)->name));
        ry_text_free(&key);
        changed++;
    }
    assert_ok(tune_save(d->tuning));
    train_step_close(s);
    ry_model_close(m);
    ry_device_close(d);
    unsetenv("RUSTY_CACHE");
    return changed;
}

/* Measured variants are part of a run: a resume takes those it began with, whatever the file says by then. */
static void test_measured_kernels(void **state) {
    (void)state;
    enter("gpu_tuned");
    assert_run(0, TRAIN "-o whole");
    assert_in("whole/checkpoints/step-12/state.json", "\"kernels\": \"\"");
    assert_true(write_tuning() > 0);
    assert_run(0, "RUSTY_CACHE=cache " TRAIN "-o tuned");
    assert_run(0, "RUSTY_CACHE=cache " TRAIN "-o again");
    same_runs("tuned", "again");
    assert_in("tuned/checkpoints/step-12/state.json", "matmul f32[");
    assert_run(1, "cmp whole/model.safetensors tuned/model.safetensors"); /* other kernels round otherwise: what follows means something */
    assert_run(1, "RUSTY_CACHE=cache RUSTY_FAULT=device:8 " TRAIN "-o out");
    assert_run(0, TRAIN "-o out --resume auto");
    same_runs("tuned", "out");
    assert_run(1, "RUSTY_FAULT=device:8 " TRAIN "-o plain");
    assert_run(0, "RUSTY_CACHE=cache " TRAIN "-o plain --resume auto");
    same_runs("whole", "plain");
    /* Off, or damaged: the defaults. */
    assert_run(0, "RUSTY_TUNE=off RUSTY_CACHE=cache " TRAIN "-o off");
    same_runs("whole", "off");
    assert_run(0, "for f in cache/tune-*; do head -c 40 $f > cut; cp cut $f; done; RUSTY_CACHE=cache " TRAIN "-o damaged");
    same_runs("whole", "damaged");
}

/* What the CPU's run with the same options has as its loss after the last step; recomputation changes no bit. */
static void test_options(void **state) {
    static const char *const with[] = {"--grad-accum 2", "--grad-accum 2 --grad-checkpoint block", "--optimizer sgd --momentum 0.9 --clip 0",
                                       "--precision bf16 --hold-out 0.2 --eval-every 6 --sample-every 6 --schedule linear --warmup 2"};
    (void)state;
    enter("gpu_options");
    for (int i = 0; i < 4; i++) {
        assert_run(0, "$R train --device cpu " OPTIONS "%s -o cpu%d && grep '\"step\":12,.*\"loss\"' cpu%d/log.jsonl > cpu.txt", with[i], i, i);
        assert_run(0, TRAIN "%s -o gpu%d && grep '\"step\":12,.*\"loss\"' gpu%d/log.jsonl > gpu.txt", with[i], i, i);
        double cpu = number_in("cpu.txt", "\"loss\":"), gpu = number_in("gpu.txt", "\"loss\":");
        if (!(fabs(cpu - gpu) < 2e-3)) fail_msg("%s: the loss is %.6f, not %.6f", with[i], gpu, cpu);
    }
    same_runs("gpu0", "gpu1");
}

int main(void) {
    if (!gpu_is_here("gpu_train_here")) return 77;
    unsetenv("RUSTY_TUNE"), unsetenv("RUSTY_VARIANT"); /* the caller's */
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lost_and_resumed), cmocka_unit_test(test_measured_kernels), cmocka_unit_test(test_options)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
