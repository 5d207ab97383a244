/* test_onnx.c - ONNX's single-node tests: every file of vectors/onnx_node_st (all folders), its operator built from ours, outputs
 * compared. What is not expressible is refused with a word and listed; a wrong value fails. Prints the coverage. */
#include "base/mem.h"
#include "base/os.h"
#include "core/op.h"
#include "golden/on_device.h"
#include "onnx.h"
#include "test_data.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct line {
    char op[48];
    vec_score score;
    char why[200];
} line;
typedef struct tally {
    const char *only, *folder;
    ry_graph *g;
    line at[400];
    int n, files;
} tally;

static const vec_row *const tables[] = {onnx_nn, onnx_math, onnx_shape};
static const vec_row *find(const char *op) {
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const vec_row *r = tables[t]; r->name; r++)
            if (!strcmp(r->name, op)) return r;
    return NULL;
}
static line *line_of(tally *t, const char *op) {
    for (int i = 0; i < t->n; i++)
        if (!strcmp(t->at[i].op, op)) return &t->at[i];
    line *l = &t->at[t->n < 399 ? t->n++ : 399];
    snprintf(l->op, sizeof l->op, "%s", op);
    return l;
}

/* The k-th tensor of the file whose name begins with "input" or "output". */
static const st_entry *nth(const ry_tensor_file *f, const char *kind, int k) {
    char head[24];
    snprintf(head, sizeof head, "%s%d.", kind, k);
    for (size_t i = 0; i < ry_tensor_file_count(f); i++)
        if (!strncmp(st_entry_at(f, i)->name, head, strlen(head))) return st_entry_at(f, i);
    return NULL;
}
/* A list of names in the metadata; free with the tree. */
static ry_json *parsed(const ry_tensor_file *f, const char *key) {
    const char *text = ry_tensor_file_meta(f, key);
    ry_json *j = NULL;
    return text && ry_json_parse(&j, text, strlen(text), key, RY_JSON_LENIENT) == RY_OK ? j : NULL;
}

static double tolerance(const char *name, const st_entry *e, const vec *v) {
    bool half = !strcmp(e->dtype, "F16"), bhalf = !strcmp(e->dtype, "BF16");
    for (int i = 0; i < v->n_src; i++) {
        const st_entry *s = v->src[i] ? vec_entry(v->file, v->src[i]) : NULL;
        half |= s && !strcmp(s->dtype, "F16"), bhalf |= s && !strcmp(s->dtype, "BF16");
    }
    if (!strcmp(name, "test_averagepool_2d_ceil_last_window_starts_on_pad.safetensors"))
        return 3e-4;                          /* written down with four digits */
    return bhalf ? 1e-2 : half ? 2e-3 : 3e-5; /* the references are computed in float32, or in the shorter type */
}

static void one_case(tally *t, const ry_tensor_file *f, const char *name) {
    const char *op = ry_tensor_file_meta(f, "op"), *opset = ry_tensor_file_meta(f, "opset");
    ry_json *attr = parsed(f, "attributes"), *ins = parsed(f, "node_inputs"), *outs = parsed(f, "node_outputs");
    if (!op || !ins || !outs) {
        printf("FAIL %s: no op, node_inputs or node_outputs in the metadata\n", name);
        line_of(t, "?")->score.failed++;
        goto done;
    }
    line *l = line_of(t, op);
    const vec_row *row = find(op);
    vec v;
    vec_expect e = {.tol = 0};
    vec_open(&v, t->g, f);
    v.kwargs = attr, v.opset = opset ? atoi(opset) : 1;
    int k = 0;
    for (size_t i = 0; i < ry_json_count(ins) && i < 24; i++) {
        const char *s = ry_json_as_text(ry_json_at(ins, i), NULL);
        const st_entry *x = s && *s ? nth(f, "input", k++) : NULL;
        v.src[i] = x ? x->name : NULL;
        v.n_src = (int)i + 1;
    }
    v.want = (int)ry_json_count(outs);
    if (!row)
        vec_refuse(&v, "no builder");
    else
        row->fn(&v, row->p);
    if (v.refused[0] || ry_graph_status(v.g) == RY_EUNSUPPORTED) {
        l->score.refused++;
        snprintf(l->why, sizeof l->why, "%s", v.refused[0] ? v.refused : ry_message());
        vec_close(&v);
        goto done;
    }
    k = 0;
    e.n = v.want;
    for (int j = 0; j < v.want && j < VEC_MAX_OUT; j++) {
        const char *s = ry_json_as_text(ry_json_at(outs, (size_t)j), NULL);
        e.out[j] = s && *s ? nth(f, "output", k++) : NULL;
        if (e.out[j] && slack * tolerance(name, e.out[j], &v) > e.tol) e.tol = slack * tolerance(name, e.out[j], &v);
    }
    bool ok = vec_check(&v, &e, name);
    if (v.refused[0]) snprintf(l->why, sizeof l->why, "%s", v.refused);
    l->score.passed += ok, l->score.refused += v.refused[0] != 0, l->score.failed += !ok && !v.refused[0];
    vec_close(&v);
done:
    ry_json_free(attr);
    ry_json_free(ins);
    ry_json_free(outs);
}

static bool one_file(void *ud, const char *name) {
    tally *t = ud;
    size_t n = strlen(name);
    char *path = os_join(t->folder, name);
    if (path && os_kind(path) == OS_FOLDER) {
        tally *inner = t;
        const char *folder = t->folder;
        inner->folder = path;
        (void)os_list(path, one_file, inner);
        t->folder = folder;
    } else if (path && n > 12 && !strcmp(name + n - 12, ".safetensors") && (!t->only || strstr(name, t->only))) {
        ry_tensor_file *f = NULL;
        t->files++;
        if (ry_tensor_file_open(&f, path) == RY_OK)
            one_case(t, f, name);
        else
            printf("FAIL %s: %s\n", name, ry_message()), line_of(t, "?")->score.failed++;
        ry_tensor_file_close(f);
    }
    ry_mem_free(path);
    return true;
}

static int by_name(const void *a, const void *b) { return strcmp(((const line *)a)->op, ((const line *)b)->op); }

int main(int argc, char **argv) {
    static tally t; /* large */
    char folder[1024];
    ry_device *d = NULL;
    vec_score all = {0, 0, 0};
    int whole = 0, partly = 0;
    if (!take_device(&argc, &argv)) return 77;
    t.only = argc > 1 ? argv[1] : NULL;
    t.folder = test_data(folder, sizeof folder, "vectors/onnx_node_st");
    if (!t.folder) return 77;
    if (ry_device_open(&d, device_name, NULL) != RY_OK || ry_graph_open(&t.g, d) != RY_OK ||
        os_list(t.folder, one_file, &t) != RY_OK) {
        printf("FAIL: %s\n", ry_message());
        return 1;
    }
    qsort(t.at, (size_t)t.n, sizeof *t.at, by_name);
    for (int i = 0; i < t.n; i++) {
        const line *l = &t.at[i];
        printf("%-26s %3d passed", l->op, l->score.passed);
        if (l->score.refused) printf(", %d not expressible: %s", l->score.refused, l->why);
        if (l->score.failed) printf(", %d WRONG", l->score.failed);
        printf("\n");
        whole += !l->score.refused && !l->score.failed, partly += l->score.refused && l->score.passed;
        all.passed += l->score.passed, all.refused += l->score.refused, all.failed += l->score.failed;
    }
    printf("%d operators: %d whole, %d in part; %d tests passed, %d not expressible, %d wrong\n", t.n, whole, partly,
           all.passed, all.refused, all.failed);
    ry_graph_close(t.g);
    ry_device_close(d);
    return all.failed || !t.files ? 1 : 0;
}
