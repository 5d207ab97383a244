/* gpu_pair.h - a GPU and the CPU beside it, for tests that compare the two; the feeds of a graph that is built on either. */
#ifndef RY_TESTS_UNIT_GPU_PAIR_H
#define RY_TESTS_UNIT_GPU_PAIR_H
#include "unit/cm.h"
#include <rusty.h>
#include <stdlib.h>
#include <string.h>

static ry_device *cpu, *gpu; /* both NULL where no GPU is here */
static inline int open_devices(void **state) {
    (void)state;
    if (ry_device_open(&gpu, "webgpu", NULL) != RY_OK) {
        print_message("no GPU: %s\n", ry_message());
        return 0;
    }
    return ry_device_open(&cpu, "cpu", NULL) != RY_OK;
}
static inline int close_devices(void **state) {
    (void)state;
    ry_device_close(cpu);
    ry_device_close(gpu);
    return 0;
}

enum { FEEDS = 20 };
typedef struct feeds {
    ry_feed at[FEEDS];
    size_t n;
} feeds;
/* An input whose data are f's from now on: from malloc. */
static inline ry_tensor feed(ry_graph *g, feeds *f, ry_spec s, void *data) {
    size_t bytes;
    assert_ok(ry_spec_bytes(&bytes, &s));
    ry_tensor t = ry_input(g, &s, NULL);
    assert_true(f->n < FEEDS);
    f->at[f->n++] = (ry_feed){t, data, bytes};
    return t;
}
static inline ry_tensor feed_copy(ry_graph *g, feeds *f, ry_spec s, const void *data) {
    size_t bytes;
    assert_ok(ry_spec_bytes(&bytes, &s));
    void *own = malloc(bytes + 1);
    assert_non_null(own);
    memcpy(own, data, bytes);
    return feed(g, f, s, own);
}
#endif
