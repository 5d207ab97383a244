/* test_gpu_poor.c - training and generation on GPUs with few features and small limits give the CPU's numbers; profiles; the first
 * operator that is not finite.  Exits 77 where there is neither a GPU nor a driver in software. */
#include "cli/cli.h"
#include <math.h>

#define OPTIONS "--config shape.yaml --data text.txt --tokenizer chars --seq-len 32 -b 2 --iters 12 --save-every 3 --lr 0.003 "
#define TRAIN "$R train --device webgpu " OPTIONS
#define TINY "RUSTY_WEBGPU_LIMITS=default,binding=1048576,buffer=4194304 "

static void test_poor_devices(void **state) {
    static const char *const poor[] = {"RUSTY_WEBGPU_LIMITS=default RUSTY_WEBGPU_FEATURES=none", "RUSTY_WEBGPU_SAFE=1", "RUSTY_WEBGPU_LIMITS=buffer=262144"};
    (void)state;
    enter("gpu_poor");
    assert_run(0, "$R train --device cpu " OPTIONS "-o cpu");
    assert_run(0, "grep '\"step\":12,' cpu/log.jsonl > last.txt");
    double loss = number_in("last.txt", "\"loss\":");
    for (size_t i = 0; i < sizeof poor / sizeof *poor; i++) {
        assert_run(0, "%s " TRAIN "-o out%zu && grep '\"step\":12,' out%zu/log.jsonl > last.txt", poor[i], i, i);
        double got = number_in("last.txt", "\"loss\":");
        if (!(fabs(got - loss) < 1e-3)) fail_msg("%s: the loss is %.6f, not %.6f", poor[i], got, loss);
    }
}

/* An embedding, tied to the output layer, that no binding and with its moments no buffer holds. */
static void test_tiny_bindings(void **state) {
    static const char shape[] = "hidden_size: 128\nintermediate_size: 128\nnum_hidden_layers: 1\nnum_attention_heads: 2\nvocab_size: 3000\n"
                                "max_position_embeddings: 128\ntie_word_embeddings: true\n";
    (void)state;
    enter("gpu_tiny");
    assert_ok(os_file_write("shape.yaml", shape, sizeof shape - 1));
    for (int gpu = 0; gpu < 2; gpu++) {
        const char *device = gpu ? "webgpu" : "cpu";
        assert_run(0, TINY "$R train --device %s " OPTIONS "-o %s && grep '\"step\":12,' %s/log.jsonl > %s.txt",
                   device, device, device, device);
        assert_run(0, TINY "$R run --device %s -m cpu -p 'line 3' -n 40 --temp 0 --ignore-eos > %s.said", device, device);
    }
    double cpu = number_in("cpu.txt", "\"loss\":"), gpu = number_in("webgpu.txt", "\"loss\":");
    if (!(fabs(cpu - gpu) < 1e-3)) fail_msg("the loss is %.6f, not %.6f", gpu, cpu);
    same_files("cpu.said", "webgpu.said");
}

/* What cannot be done is one line that names the limit. */
static void test_too_poor(void **state) {
    static const char *const limits[][2] = {{"invocations=128", "kernels count on what WebGPU promises, 256 and 16384"},
                                            {"shared=8192", "kernels count on what WebGPU promises"},
                                            {"groups=2", "workgroups; the device runs 2 by 2"},
                                            {"buffers=4", "storage buffers; the device binds 4"},
                                            {"binding=512", "(model."}};
    (void)state;
    enter("gpu_too_poor");
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        assert_run(0, "! RUSTY_WEBGPU_LIMITS=%s " TRAIN "-o out 2> all.txt && grep rusty: all.txt > why.txt && test $(wc -l < why.txt) = 1", limits[i][0]);
        assert_in("why.txt", limits[i][1]);
    }
}

static void test_reports(void **state) {
    (void)state;
    enter("gpu_reports");
    assert_run(0, TRAIN "--profile -o out");
    assert_in("err.txt", "linear_cross_entropy");
    assert_in("out/trace.json", "\"traceEvents\"");
    assert_in("out/trace.json", "\"cat\":\"backward\"");
    assert_run(1, TRAIN "--lr 1e20 --clip 0 --schedule constant -o nan");
    assert_in("err.txt", "step");
    assert_run(1, TRAIN "--lr 1e20 --clip 0 --schedule constant --debug-nan -o nan2");
    assert_in("err.txt", "element ");
}

int main(void) {
    if (!gpu_is_here("gpu_poor_here")) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_poor_devices), cmocka_unit_test(test_tiny_bindings), cmocka_unit_test(test_too_poor), cmocka_unit_test(test_reports)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
