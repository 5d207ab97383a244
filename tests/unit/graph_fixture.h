/* graph_fixture.h - a CPU device of two threads with an open graph, for each test anew.  Header of tests only. */
#ifndef TEST_GRAPH_FIXTURE_H
#define TEST_GRAPH_FIXTURE_H
#include "unit/cm.h"
#include <rusty.h>

typedef struct fixture {
    ry_device *dev;
    ry_graph *g;
} fixture;

static int setup(void **state) {
    static fixture f;
    assert_ok(ry_device_open(&f.dev, "cpu", &(ry_device_options){.threads = 2}));
    assert_ok(ry_graph_open(&f.g, f.dev));
    *state = &f;
    return 0;
}
static int teardown(void **state) {
    fixture *f = *state;
    ry_graph_close(f->g);
    ry_device_close(f->dev);
    return 0;
}
#endif
