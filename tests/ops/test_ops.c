/* test_ops.c - walks op rows x samples x dtypes x instruction sets: `test_ops ROW...`, all rows without arguments; --list names them,
 * --groups as many in a line as one process should have;
 * `test_ops --device NAME ROW...` walks them on another device instead (77: there is none).
 *
 * The checks: check_forward.c (oracle, threads, options, aliases, empty sizes, views) and check_grad.c (first and second order). */
#include "check.h"
#include "simd/simd.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool usable(const ry_op *op) { return !(op->flags & RY_OP_LEAF); }

static void check_sample(check *c) {
    static const ry_dtype floats[] = {RY_F32, RY_BF16, RY_F16};
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        c->floats = floats[i];
        if (i && (!ry_sample_has_floats(c->op, c->sample) || (c->sample->flags & RY_SAMPLE_F32_ONLY))) break;
        check_forward(c);
        check_views(c);
    }
    c->floats = RY_F32;
    check_empty(c);
    if (!(c->sample->flags & RY_SAMPLE_NO_GRAD)) check_grad(c);
}

/* Kernels take long to compile: every sample in f32, the first in bf16, the second in f16 too; other graphs, layouts and empty sizes on the
 * first alone; one gradient shows that rows and their gradient rows meet. */
static void check_device_sample(check *c, int nth, bool *grad) {
    c->brief = nth > 0;
    check_forward(c);
    if (!c->brief) check_views(c), check_empty(c);
    if (!*grad && !(c->sample->flags & RY_SAMPLE_NO_GRAD)) check_grad(c), *grad = true;
    if (nth > 1 || !ry_sample_has_floats(c->op, c->sample) || (c->sample->flags & RY_SAMPLE_F32_ONLY)) return;
    c->floats = nth ? RY_F16 : RY_BF16;
    c->brief = true;
    check_forward(c);
    c->floats = RY_F32;
}

/* All samples on the present instruction set or device; returns how many. */
static int check_samples(check *c) {
    int samples = 0;
    bool grad = false;
    for (const ry_sample *s = c->op->samples; s && s->name; s++) {
        if (s->flags & RY_SAMPLE_BENCH) continue;
        c->sample = s;
        if (c->device)
            check_device_sample(c, samples, &grad);
        else
            check_sample(c);
        samples++;
    }
    return samples;
}

/* c holds the device from row to row, where it is not the CPU. */
static bool check_row(check *c, const ry_op *op) {
    int samples = 0;
    bool best_only = getenv("RUSTY_TEST_BEST_PATH") != NULL; /* where sanitizers make each path slow */
    c->op = op, c->floats = RY_F32, c->path = c->device ? c->device : "-";
    c->failed = c->compared = 0;
    if (c->device) samples = check_samples(c);
    for (int path = 0; path < SIMD_PATHS && !c->device; path++) {
        if (!simd_has((simd_path)path) || (best_only && path != (int)simd_best())) continue;
        simd_force((simd_path)path, path == (int)simd_best() ? ~0u : 0);
        c->path = simd_name((simd_path)path);
        samples = check_samples(c);
        check_devices_close(c);
    }
    c->sample = NULL;
    if (!samples) check_fail(c, "samples", "the row has no samples to test");
    if (!oracle_has_ref(op) && !(op->flags & RY_OP_VIEW))
        check_fail(c, "reference", "no reference: neither formula, nor lower, nor an entry in tests/ops/ref_*.c");
    printf("%-24s %d samples, %lld comparisons, %lld failed\n", op->name, samples, (long long)c->compared,
           (long long)c->failed);
    fflush(stdout);
    return c->failed == 0;
}

/* Rows for one process each, a line: elementwise ones are quick. */
static void list_groups(void) {
    enum { FULL = 24, EACH = 6 };
    int weight = 0;
    const ry_op *op;
    for (size_t i = 0; (op = ry_op_at(i)) != NULL; i++) {
        int w = op->flags & RY_OP_MAP ? 1 : EACH;
        if (!usable(op)) continue;
        if (weight + w > FULL) weight = 0, printf("\n");
        printf("%s%s", weight ? " " : "", op->name);
        weight += w;
    }
    printf("\n");
}

int main(int argc, char **argv) {
    bool list = argc == 2 && !strcmp(argv[1], "--list");
    int failed = 0, found = 0, first = 1;
    const ry_op *op;
    check c = {0};
    if (argc == 2 && !strcmp(argv[1], "--groups")) return list_groups(), 0;
    if (argc > 2 && !strcmp(argv[1], "--device")) c.device = argv[2], first = 3;
    if (c.device) {
        ry_device *d;
        ry_status st = ry_device_open(&d, c.device, NULL);
        if (st != RY_OK) {
            printf("skipped: %s\n", ry_message());
            return 77;
        }
        ry_device_close(d);
    }
    for (size_t i = 0; (op = ry_op_at(i)) != NULL; i++) {
        bool asked = argc == first || list;
        for (int k = first; k < argc && !list; k++) asked |= !strcmp(argv[k], op->name);
        if (!usable(op) || !asked) continue;
        found++;
        if (list)
            printf("%s\n", op->name);
        else
            failed += !check_row(&c, op);
    }
    check_devices_close(&c);
    if (!found) {
        fprintf(stderr, "test_ops: no such row; --list names them\n");
        return 2;
    }
    if (!list && found > 1) printf("%d rows, %d failed\n", found, failed);
    return failed ? 1 : 0;
}
