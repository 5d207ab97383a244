/* own_op.c - an operator that Rusty does not have, added by an application: snake(x) = x + sin(a x)^2 / a, and its gradient
 * (Liu Ziyin et al. 2020, "Neural Networks Fail to Learn Periodic Functions and How to Fix It").
 *
 * One row says everything: shapes, work, kernel, gradient, samples. From then on the operator is like any other: planned,
 * run on all threads, differentiated (twice, if you like), checked by the doctor. */
#include <math.h>
#include <rusty.h>
#include <rusty/op.h>
#include <rusty/ops.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct snake_args {
    double a;
} snake_args;
static const ry_arg snake_arg[] = {RY_ARG(snake_args, a, RY_ARG_F64), {0}}; /* static: part of a program's structure */

static ry_status infer(const ry_node *n, ry_spec out[RY_MAX_OUT]) {
    const ry_spec *x = &n->src[0]->spec;
    if (!ry_is_float(x->dtype)) return ry_fail_node(n, RY_EDTYPE, "x is %s, floats are needed", ry_show(x).s);
    out[0] = *x;
    return RY_OK;
}

enum { PIECE = 4096 };
static ry_work work(const ry_node *n) { /* from shapes alone: the result never depends on the number of threads */
    return (ry_work){.parts = {(ry_count(&n->src[0]->spec) + PIECE - 1) / PIECE}, .local = 2 * PIECE * sizeof(float)};
}

static ry_status cpu(const ry_cpu *c) { /* one part; any float type is seen as f32 */
    ry_dtype t = c->n->src[0]->spec.dtype;
    float a = (float)((const snake_args *)c->args)->a, *buf = c->local;
    int64_t at = c->part * PIECE, left = ry_count(&c->n->src[0]->spec) - at, n = left < PIECE ? left : PIECE;
    if (n <= 0) return RY_OK; /* empty tensors have one part too */
    const float *x = ry_load_row(c->src[0], t, at, n, buf);
    float *y = ry_row_out(c->out[0], t, at, buf + PIECE);
    for (int64_t i = 0; i < n; i++) y[i] = x[i] + sinf(a * x[i]) * sinf(a * x[i]) / a;
    ry_store_row(c->out[0], t, at, n, y);
    return RY_OK;
}

static ry_status lower(ry_graph *g, const ry_node *n, ry_tensor out[]) { /* of simpler rows: a second opinion */
    ry_tensor x = ry_src(g, n, 0), a = ry_scalar(g, ((const snake_args *)n->args)->a);
    out[0] = ry_cast(g, ry_add(g, x, ry_div(g, ry_square(g, ry_sin(g, ry_mul(g, x, a))), a)), n->out[0].spec.dtype);
    return RY_OK;
}

static ry_status vjp(ry_graph *g, const ry_node *n, const ry_tensor gy[], ry_tensor gx[]) { /* 1 + sin(2 a x) */
    ry_tensor twice = ry_scalar(g, 2 * ((const snake_args *)n->args)->a);
    gx[0] = ry_mul(g, gy[0], ry_add(g, ry_sin(g, ry_mul(g, ry_src(g, n, 0), twice)), ry_scalar(g, 1)));
    return RY_OK;
}

static const ry_sample samples[] = {
    {.name = "rows", .src = {{RY_F32, 2, {3, 1500}, -4, 4, NULL}}, .n_src = 1, .args = &(const snake_args){1.5}},
    {.name = "empty", .src = {{RY_F32, 2, {0, 7}, 0, 0, NULL}}, .n_src = 1, .args = &(const snake_args){1}},
    {0}};
static const ry_op snake = {
    .name = "snake", .doc = "x -> x + sin(a x)^2 / a", .arg_size = sizeof(snake_args), .args = snake_arg, .min_src = 1,
    .max_src = 1, .flags = RY_OP_INPLACE0, .infer = infer, .work = work, .cpu = cpu, .lower = lower, .vjp = vjp,
    .samples = samples, .tol = 2e-6f};

static void check(ry_status st) {
    if (st != RY_OK) fprintf(stderr, "%s\n", ry_message()), exit(1);
}

static void hear(void *ud, const ry_doctor_row *r) { /* what the doctor says of our own row */
    if (strcmp(r->op, "snake")) return;
    printf("doctor: %-6s %-28s error %.1e, allowed %.1e\n", r->sample, r->message, r->err, r->tol);
    int *count = ud;
    count[r->result]++; /* 0 agrees, 1 is wrong, 2 skipped */
}

int main(int argc, char **argv) { /* own_op [DEVICE]; a GPU, for which there is no kernel here, takes `lower` */
    ry_device *d;
    ry_graph *g;
    float value, slope, bend;
    int count[3] = {0};
    check(ry_op_add(&snake));
    check(ry_device_open(&d, argc > 1 ? argv[1] : "cpu", NULL));
    check(ry_graph_open(&g, d));
    ry_tensor x = ry_fill(g, &RY_SHAPE(RY_F32, 1), 0.5), want[3];
    want[0] = ry_apply(g, &snake, 1, &x, &(snake_args){1.5});
    check(ry_grad(g, want[0], RY_NULL, 1, &x, &want[1]));
    check(ry_grad(g, want[1], RY_NULL, 1, &x, &want[2]));
    check(ry_eval(g, 3, want, 0, NULL));
    check(ry_read(g, want[0], &value, sizeof value));
    check(ry_read(g, want[1], &slope, sizeof slope));
    check(ry_read(g, want[2], &bend, sizeof bend));
    printf("snake(0.5) = %.6f, slope %.6f, bend %.6f\n", (double)value, (double)slope, (double)bend);
    check(ry_doctor_run(d, NULL, hear, count, NULL));
    ry_graph_close(g);
    ry_device_close(d);
    double errors = fabs(value - (0.5 + pow(sin(0.75), 2) / 1.5)) + fabs(slope - (1 + sin(1.5))) + fabs(bend - 3 * cos(1.5));
    return errors < 2e-6 && count[0] && !count[1] ? 0 : 1;
}
