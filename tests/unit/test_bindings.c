/* test_bindings.c - what devices with kernels rely on: storages that may be bound apart, and a device that says what a node needs. */
#include "core/program.h"
#include "unit/cm.h"
#include <rusty/ops.h>
#include <stdio.h>
#include <string.h>

/* A little of everything: in place, views of one storage, several outputs, scratch, a written variable, a wanted intermediate. */
static void build(ry_graph *g, ry_var *v, ry_tensor want[3]) {
    ry_tensor x = ry_input(g, &RY_SHAPE(RY_F32, 6, 5, 4, 3), "x"), w = ry_input(g, &RY_SHAPE(RY_F32, 3), "w"), gx;
    ry_tensor y = ry_rms_norm(g, x, w, 1e-5), att = ry_attention(g, y, y, ry_silu(g, y), NULL);
    ry_tensor flat = RY_RESHAPE(g, att, 120, 3), part = ry_slice(g, flat, 0, 7, 19, 2);
    want[0] = ry_softmax(g, ry_matmul(g, part, ry_transpose(g, part, 0, 1)), 1);
    assert_ok(ry_grad(g, ry_sum(g, want[0], 0, false), RY_NULL, 1, &x, &gx));
    want[1] = ry_assign(g, v, ry_sum(g, gx, RY_AXIS(0), false));
    want[2] = ry_out(g, att, 1);
}

typedef struct range { const ry_buffer *buf; size_t at, end; int id; } range;

static void check_step(const ry_program *p, const plan_step *s, size_t align) {
    range r[RY_MAX_SRC + RY_MAX_OUT + 1];
    int n = 0;
    for (int i = 0; i < s->node->n_src + s->node->n_out; i++) {
        const ry_value *v = i < s->node->n_src ? s->node->src[i] : &s->node->out[i - s->node->n_src];
        const ry_buffer *operand;
        size_t bytes, at;
        if (!v) continue;
        r[n].id = program_storage(p, v, &r[n].buf, &r[n].at, &bytes);
        r[n].end = r[n].at + bytes;
        program_operand(p, v, &operand, &at);
        assert_ptr_equal(operand, r[n].buf);
        assert_true(at == r[n].at + ry_bytes_of(v->spec.dtype, v->offset) && at <= r[n].end);
        n++;
    }
    if (s->work.scratch) r[n++] = (range){&p->dev->slab, s->scratch_at, s->scratch_at + s->work.scratch, -1};
    for (int i = 0; i < n; i++) {
        assert_int_equal(r[i].at % align, 0);
        assert_true(r[i].buf != &p->dev->slab || r[i].end <= p->plan->slab);
        for (int k = 0; k < i; k++) {
            if (r[i].buf != r[k].buf) assert_int_not_equal(r[i].id, r[k].id);
            else if (r[i].id == r[k].id) assert_int_equal(r[i].at, r[k].at);
            else assert_true((r[i].end + align - 1) / align * align <= r[k].at || (r[k].end + align - 1) / align * align <= r[i].at);
        }
    }
}

static void test_storages_apart(void **state) {
    (void)state;
    for (size_t align = 64; align <= 4096; align *= 8) {
        ry_device *d;
        ry_graph *g;
        ry_var *v;
        ry_program *p;
        ry_tensor want[3];
        assert_ok(ry_device_open(&d, "null", NULL));
        d->caps.align = (uint32_t)align;
        assert_ok(ry_graph_open(&g, d));
        assert_ok(ry_var_open(&v, d, &RY_SHAPE(RY_F32, 5, 4, 3), "v"));
        build(g, v, want);
        assert_ok(ry_compile(&p, g, 3, want, NULL));
        assert_true(p->plan->n_steps > 8);
        for (int i = 0; i < p->plan->n_steps; i++) check_step(p, &p->plan->steps[i], align);
        ry_program_close(p);
        ry_var_close(v);
        ry_graph_close(g);
        ry_device_close(d);
    }
}

/* Chains stop growing where a device could not bind their operands. */
static void test_chains_fit(void **state) {
    (void)state;
    for (int limit = 0; limit <= 8; limit += 4) {
        ry_device *d;
        ry_graph *g;
        ry_program *p;
        assert_ok(ry_device_open(&d, "null", NULL));
        d->caps.max_bindings = (uint32_t)limit;
        assert_ok(ry_graph_open(&g, d));
        ry_tensor sum = ry_input(g, &RY_SHAPE(RY_F32, 9), "x0");
        for (int i = 0; i < 11; i++) sum = ry_add(g, sum, ry_input(g, &RY_SHAPE(RY_F32, 9), "x"));
        assert_ok(ry_compile(&p, g, 1, &sum, NULL));
        int steps = p->plan->n_steps, most = 0;
        for (int i = 0; i < steps; i++) {
            const ry_node *n = p->plan->steps[i].node;
            if (n->n_src + n->n_out > most) most = n->n_src + n->n_out;
        }
        assert_int_equal(steps, limit == 4 ? 6 : limit == 8 ? 2 : 1);
        assert_true(limit == 0 ? most == 13 : most <= limit);
        ry_program_close(p);
        ry_graph_close(g);
        ry_device_close(d);
    }
}

static ry_status needs(ry_device *d, const ry_node *n, ry_work *w) {
    (void)d;
    if (!strcmp(n->op->name, "softmax")) return ry_fail_node(n, RY_EUNSUPPORTED, "has no kernel here");
    w->scratch = n->op == ry_op_find("matmul") ? 1000 : 0;
    return RY_OK;
}

/* Scratch is what the device says, not the row's work(); a node without a kernel is named. */
static void test_work_of_device(void **state) {
    (void)state;
    ry_device *d;
    ry_graph *g;
    ry_program *p;
    ry_plan_info info;
    assert_ok(ry_device_open(&d, "null", NULL));
    const ry_device_api *was = d->api;
    ry_device_api api = *was;
    api.work = needs;
    d->api = &api;
    assert_ok(ry_graph_open(&g, d));
    ry_tensor x = ry_input(g, &RY_SHAPE(RY_F32, 40, 40), "x"), y = ry_rms_norm(g, ry_matmul(g, x, x), RY_NULL, 1e-5), z = ry_softmax(g, y, 1);
    assert_ok(ry_compile(&p, g, 1, &y, NULL));
    ry_program_plan(p, &info);
    assert_int_equal(info.scratch, 1024);
    ry_program_close(p);
    z = ry_name(g, z, "weights");
    assert_is(RY_EUNSUPPORTED, ry_compile(&p, g, 1, &z, NULL));
    assert_non_null(strstr(ry_message(), "softmax"));
    assert_non_null(strstr(ry_message(), "weights"));
    ry_graph_close(g);
    d->api = was;
    ry_device_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_storages_apart), cmocka_unit_test(test_chains_fit), cmocka_unit_test(test_work_of_device)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
