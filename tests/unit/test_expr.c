/* test_expr.c - formulas read as trees: every formula of map.def, evaluated from its tree, gives what its row
 * gives; and second derivatives, which are built from such trees, agree with differences of first ones. */
#include "cm.h"
#include "core/op.h"
#include "ops/_expr.h"
#include "simd/map.h"
#include <math.h>
#include <rusty.h>
#include <rusty/ops.h>
#include <stdio.h>
#include <string.h>

static void show(char *out, size_t cap, const expr *e, int i) {
    const expr_node *n = &e->at[i];
    size_t used = strlen(out);
    if (n->kind == EXPR_NUMBER)
        snprintf(out + used, cap - used, "%g", n->value);
    else if (n->kind == EXPR_LETTER)
        snprintf(out + used, cap - used, "%c", "abcyg"[n->letter]);
    else {
        snprintf(out + used, cap - used, "%s(", n->row);
        for (int k = 0; k < n->n_kid; k++) {
            show(out, cap, e, n->kid[k]);
            used = strlen(out);
            snprintf(out + used, cap - used, "%s", k + 1 < n->n_kid ? "," : ")");
        }
    }
}
static void reads_as(const char *text, const char *want) {
    expr e;
    char got[512] = "";
    assert_ok(expr_parse(&e, text));
    show(got, sizeof got, &e, e.n - 1);
    assert_string_equal(got, want);
}

static void precedence(void **state) {
    (void)state;
    reads_as("a + b * c", "add(a,mul(b,c))");
    reads_as("a - b - c", "sub(sub(a,b),c)");
    reads_as("-a * b", "mul(neg(a),b)");
    reads_as("(a + b) * c / y", "div(mul(add(a,b),c),y)");
    reads_as("a < b && b <= c || !y", "or(and(lt(a,b),le(b,c)),not(y))");
    reads_as("a == b", "eq(a,b)");
    reads_as("!a != !b", "ne(not(a),not(b))");
    reads_as("a & b | c ^ y", "bit_or(bit_and(a,b),bit_xor(c,y))");
    reads_as("sel(a > T(0), g, T(-0.25) * g)", "select(gt(a,0),g,mul(-0.25,g))");
    reads_as("g * exp(-(a * a))", "mul(g,exp(neg(mul(a,a))))");
    reads_as("T(1.5957691216057308)", "1.59577");
}

static void bad_formulas(void **state) {
    static const char *const bad[] = {"",    "a +",   "a b", "(a", "a)", "q", "exp(a", "sel(a, b, c, y)",
                                      "T()", "a @ b", "T(a)"};
    expr e;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_is(RY_EINTERNAL, expr_parse(&e, bad[i]));
}

/* Every text of the table reads, and names rows that exist. */
static void whole_table(void **state) {
    (void)state;
    for (int op = 0; op < MAP_COUNT; op++)
        for (int form = 0; form < 4; form++) {
            const char *text = form ? map_table[op].d[form - 1] : map_table[op].formula;
            expr e;
            if (!text) continue;
            assert_ok(expr_parse(&e, text));
            for (int i = 0; i < e.n; i++) {
                if (e.at[i].kind != EXPR_CALL) continue;
                const ry_op *row = ry_op_find(e.at[i].row);
                assert_non_null(row);
                assert_int_equal(row->max_src, e.at[i].n_kid);
            }
        }
}

/* d2/da2 of each smooth operator of one source, through the tree, against a central difference of its derivative
 * row. */
static void second_derivatives(void **state) {
    enum { N = 16 };
    ry_device *d;
    ry_graph *g;
    (void)state;
    assert_ok(ry_device_open(&d, "cpu", NULL));
    assert_ok(ry_graph_open(&g, d));
    int checked = 0;
    for (int op = 0; op < MAP_COUNT; op++) {
        const map_info *m = &map_table[op];
        const ry_op *row = ry_op_find(m->name);
        float x[3][N], d1[3][N], d2[N], h = 1e-2f;
        if (!row || row->max_src != 1 || !m->d[0] || strchr("CLIPS", m->cls[0])) continue;
        for (int i = 0; i < N; i++) {
            x[1][i] = m->lo + (m->hi - m->lo) * (0.1f + 0.8f * ((float)i + 0.37f) / N);
            x[0][i] = x[1][i] - h;
            x[2][i] = x[1][i] + h;
        }
        for (int k = 0; k < 3; k++) {
            ry_spec s = RY_SHAPE(RY_F32, N);
            ry_tensor in = ry_input(g, &s, NULL), y = ry_apply(g, row, 1, &in, NULL), want[2];
            assert_ok(ry_grad(g, y, RY_NULL, 1, &in, &want[0]));
            assert_ok(ry_grad(g, want[0], RY_NULL, 1, &in, &want[1]));
            assert_ok(ry_eval(g, 2, want, 1, &(ry_feed){in, x[k], sizeof x[k]}));
            assert_ok(ry_read(g, want[0], d1[k], sizeof d1[k]));
            if (k == 1) assert_ok(ry_read(g, want[1], d2, sizeof d2));
            ry_graph_reset(g);
        }
        for (int i = 0; i < N; i++) {
            float slope = (d1[2][i] - d1[0][i]) / (2 * h), jump = fabsf(d1[2][i] - 2 * d1[1][i] + d1[0][i]);
            if (jump > 0.05f * (fabsf(d1[1][i]) + 1)) continue; /* a kink lies between */
            if (!(fabsf(slope - d2[i]) <= 0.02f * (1 + fabsf(slope)))) {
                print_error("%s at %g: %g by the tree, %g by differences\n", m->name, (double)x[1][i], (double)d2[i],
                            (double)slope);
                fail();
            }
            checked++;
        }
    }
    assert_true(checked > 400);
    ry_graph_close(g);
    ry_device_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(precedence), cmocka_unit_test(bad_formulas),
                                       cmocka_unit_test(whole_table), cmocka_unit_test(second_derivatives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
