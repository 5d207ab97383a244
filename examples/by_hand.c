/* by_hand.c - the graph itself: a network of two layers, its gradients and its update are built from operators, planned
 * once, and run two thousand times.  It learns y = sin(3 x) on [-1, 1].  Takes no arguments and a fraction of a second. */
#include <math.h>
#include <rusty.h>
#include <rusty/ops.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 64, HIDDEN = 32, STEPS = 2000, PARAMS = 4 };

static void check(ry_status st) {
    if (st != RY_OK) fprintf(stderr, "%s\n", ry_message()), exit(1);
}

static ry_var *random_var(ry_device *d, const char *name, ry_spec shape, double size) {
    ry_graph *g; /* a step of its own: what it computed is kept */
    ry_var *v;
    check(ry_graph_open(&g, d));
    ry_tensor values = ry_mul(g, ry_normal(g, &shape, 1, (uint32_t)name[0]), ry_scalar(g, size));
    check(ry_keep(&v, g, values, name));
    ry_graph_close(g);
    return v;
}

int main(void) {
    ry_device *d;
    ry_var *w[PARAMS], *m[PARAMS], *v[PARAMS]; /* weights and AdamW's two moments last from step to step */
    check(ry_device_open(&d, "auto", NULL));
    w[0] = random_var(d, "in", RY_SHAPE(RY_F32, HIDDEN, 1), 2);
    w[1] = random_var(d, "bias", RY_SHAPE(RY_F32, HIDDEN), 1);
    w[2] = random_var(d, "out", RY_SHAPE(RY_F32, 1, HIDDEN), 0.1);
    w[3] = random_var(d, "shift", RY_SHAPE(RY_F32, 1), 0);
    for (int i = 0; i < PARAMS; i++) {
        check(ry_var_open(&m[i], d, ry_var_spec(w[i]), "m"));
        check(ry_var_open(&v[i], d, ry_var_spec(w[i]), "v"));
    }

    /* One step. Builders return handles and never fail visibly: the first error waits in the graph for ry_compile. */
    ry_graph *g;
    check(ry_graph_open(&g, d));
    ry_tensor x = ry_input(g, &RY_SHAPE(RY_F32, BATCH, 1), "x"), y = ry_input(g, &RY_SHAPE(RY_F32, BATCH, 1), "y");
    ry_tensor p[PARAMS], grad[PARAMS];
    for (int i = 0; i < PARAMS; i++) p[i] = ry_use(g, w[i]);
    ry_tensor h = ry_tanh(g, ry_linear(g, x, p[0], p[1]));
    ry_tensor guess = ry_linear(g, h, p[2], p[3]);
    ry_tensor loss = ry_mean(g, ry_square(g, ry_sub(g, guess, y)), 0, false);
    check(ry_grad(g, loss, RY_NULL, PARAMS, p, grad));
    static const ry_adamw_options adamw = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 1};
    for (int i = 0; i < PARAMS; i++) ry_adamw(g, w[i], grad[i], m[i], v[i], RY_NULL, &adamw);

    ry_program *step; /* planned once: every byte has its place; running it allocates and builds nothing */
    ry_plan_info plan;
    check(ry_compile(&step, g, 1, &loss, NULL));
    ry_graph_close(g); /* the program outlives its graph */
    ry_program_plan(step, &plan);
    printf("%zu nodes became %zu kernels in a slab of %zu bytes\n", plan.nodes_before, plan.nodes, plan.slab);

    float xs[BATCH], ys[BATCH], error = 1;
    for (int i = 0; i < STEPS; i++) {
        for (int k = 0; k < BATCH; k++) {
            xs[k] = (float)(2.0 * rand() / RAND_MAX - 1);
            ys[k] = sinf(3 * xs[k]);
        }
        check(ry_program_set(step, "lr", 0.02 * (1 - (double)i / STEPS))); /* dynamic arguments: data, not structure */
        check(ry_program_set(step, "step", i + 1));
        check(ry_program_feed(step, 0, xs, sizeof xs));
        check(ry_program_feed(step, 1, ys, sizeof ys));
        check(ry_run(step));
        check(ry_fetch(step, 0, &error, sizeof error));
        if ((i + 1) % 500 == 0) printf("step %4d  mean squared error %.6f\n", i + 1, (double)error);
    }

    ry_program_close(step);
    for (int i = 0; i < PARAMS; i++) ry_var_close(w[i]), ry_var_close(m[i]), ry_var_close(v[i]);
    ry_device_close(d);
    return error < 1e-4f ? 0 : 1;
}
