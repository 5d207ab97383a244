/* test_ops.c - walks op rows x samples x dtypes x instruction sets: `test_ops ROW...`, all rows without arguments; --list names them.
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

static bool check_row(const ry_op *op, bool verbose) {
    check c = {.op = op, .floats = RY_F32, .path = "-"};
    int samples = 0;
    bool best_only = getenv("RUSTY_TEST_BEST_PATH") != NULL; /* where sanitizers make each path slow */
    for (int path = 0; path < SIMD_PATHS; path++) {
        if (!simd_has((simd_path)path) || (best_only && path != (int)simd_best())) continue;
        simd_force((simd_path)path, path == (int)simd_best() ? ~0u : 0);
        c.path = simd_name((simd_path)path);
        samples = 0;
        for (const ry_sample *s = op->samples; s && s->name; s++) {
            if (s->flags & RY_SAMPLE_BENCH) continue;
            c.sample = s;
            samples++;
            check_sample(&c);
        }
        check_devices_close(&c);
    }
    c.sample = NULL;
    if (!samples) check_fail(&c, "samples", "the row has no samples to test");
    if (!oracle_has_ref(op) && !(op->flags & RY_OP_VIEW))
        check_fail(&c, "reference", "no reference: neither formula, nor lower, nor an entry in tests/ops/ref_*.c");
    if (verbose || c.failed)
        printf("%-24s %d samples, %lld comparisons, %lld failed\n", op->name, samples, (long long)c.compared,
               (long long)c.failed);
    return c.failed == 0;
}

int main(int argc, char **argv) {
    bool list = argc == 2 && !strcmp(argv[1], "--list");
    int failed = 0, found = 0;
    const ry_op *op;
    for (size_t i = 0; (op = ry_op_at(i)) != NULL; i++) {
        bool asked = argc == 1 || list;
        for (int k = 1; k < argc && !list; k++) asked |= !strcmp(argv[k], op->name);
        if (!usable(op) || !asked) continue;
        found++;
        if (list)
            printf("%s\n", op->name);
        else
            failed += !check_row(op, true);
    }
    if (!found) {
        fprintf(stderr, "test_ops: no such row; --list names them\n");
        return 2;
    }
    if (!list && found > 1) printf("%d rows, %d failed\n", found, failed);
    return failed ? 1 : 0;
}
