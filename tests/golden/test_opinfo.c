/* test_opinfo.c - PyTorch's OpInfo samples: every file of vectors/torch_opinfo, its operator built from ours, outputs and gradients
 * compared. What is not expressible is refused with a word and listed; a wrong value fails. Prints the coverage. */
#include "base/mem.h"
#include "base/os.h"
#include "golden/on_device.h"
#include "test_data.h"
#include "torch.h"
#include <stdio.h>
#include <string.h>

typedef struct tally {
    const char *only;
    ry_graph *g;
    int files, whole, partly, none;
    vec_score all;
    const char *folder;
} tally;

static const vec_row *const tables[] = {torch_nn, torch_loss, torch_math, torch_shape, torch_index, torch_reduce};

static const vec_row *exact(const char *name) {
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const vec_row *r = tables[t]; r->name; r++)
            if (!strcmp(r->name, name)) return r;
    return NULL;
}

/* "nn.functional.pad.reflect": without the module, then without variants from the end. */
static const vec_row *find(const char *op) {
    char name[128];
    bool nn = !strncmp(op, "nn.functional.", 14);
    if (!strcmp(op, "nn.functional.unfold")) return exact("nn.unfold"); /* im2col; torch.Tensor.unfold is another */
    snprintf(name, sizeof name, "%s", nn ? op + 14 : op);
    for (;;) {
        const vec_row *r = exact(name);
        char *dot = strrchr(name, '.');
        if (r || !dot) return r;
        *dot = 0;
    }
}

/* Operators whose float32 results are further from the exact ones than the usual 2e-5 (outputs) and 1e-4 (gradients), and why. */
static const struct {
    const char *op;
    double out, grad;
} loose[] = {{"norm", 2e-5, 5e-4},       /* p-norms of differences near zero */
             {"layer_norm", 2e-5, 5e-4}, /* rows of one element: what is left of 1 / sqrt(eps) times a rounding */
             {"native_layer_norm", 2e-5, 5e-4},
             {NULL, 0, 0}};

static void sample(tally *t, const ry_tensor_file *f, const char *file, const vec_row *row, const ry_json *s, int index,
                   vec_score *score, char *why, size_t n_why) {
    vec v;
    char where[160], name[64];
    vec_expect e = {.tol = slack * 2e-5, .grad_tol = slack * 1e-4};
    const ry_json *outs = ry_json_find(s, "outputs");
    vec_open(&v, t->g, f);
    v.self = ry_json_find(s, "input"), v.args = ry_json_find(s, "args"), v.kwargs = ry_json_find(s, "kwargs");
    snprintf(where, sizeof where, "%s s%d", file, index);
    for (int i = 0; loose[i].op; i++)
        if (!strcmp(loose[i].op, row->name)) e.tol = slack * loose[i].out, e.grad_tol = slack * loose[i].grad;
    if (row->fn)
        row->fn(&v, row->p);
    else
        vec_refuse(&v, "%s", row->p);
    if (v.refused[0] || ry_graph_status(v.g) == RY_EUNSUPPORTED) {
        score->refused++;
        snprintf(why, n_why, "%s", v.refused[0] ? v.refused : ry_message());
        vec_close(&v);
        return;
    }
    e.n = (int)ry_json_count(outs);
    for (int j = 0; j < e.n && j < VEC_MAX_OUT; j++) {
        const char *out = ry_json_as_text(ry_json_at(outs, (size_t)j), NULL);
        e.out[j] = vec_entry(f, out);
        snprintf(name, sizeof name, "s%d.gout%d", index, j);
        e.gout[j] = vec_entry(f, name);
    }
    for (int i = 0; i < v.n_in; i++) { /* s0.in1 -> s0.gin1; also inputs that only a gradient mentions */
        if (!v.in[i].name || strncmp(strchr(v.in[i].name, '.') + 1, "in", 2)) continue;
        snprintf(name, sizeof name, "s%d.g%s", index, strchr(v.in[i].name, '.') + 1);
        e.gin[i] = vec_entry(f, name);
    }
    bool ok = vec_check(&v, &e, where);
    if (v.refused[0]) snprintf(why, n_why, "%s", v.refused);
    score->passed += ok, score->refused += v.refused[0] != 0, score->failed += !ok && !v.refused[0];
    vec_close(&v);
}

static bool one_file(void *ud, const char *name) {
    tally *t = ud;
    size_t n = strlen(name);
    if (n < 12 || strcmp(name + n - 12, ".safetensors") || (t->only && !strstr(name, t->only))) return true;
    char *path = os_join(t->folder, name);
    ry_tensor_file *f = NULL;
    ry_json *samples = NULL;
    vec_score score = {0, 0, 0};
    char why[200] = "";
    t->files++;
    const char *op = NULL, *text = NULL;
    if (path && ry_tensor_file_open(&f, path) == RY_OK)
        op = ry_tensor_file_meta(f, "op"), text = ry_tensor_file_meta(f, "samples");
    if (!op || !text || ry_json_parse(&samples, text, strlen(text), name, 0) != RY_OK) {
        printf("FAIL %s: %s\n", name, f ? "no op or samples in the metadata" : ry_message());
        score.failed++;
    } else {
        const vec_row *row = find(op);
        for (size_t i = 0; i < ry_json_count(samples); i++) {
            if (row)
                sample(t, f, name, row, ry_json_at(samples, i), (int)i, &score, why, sizeof why);
            else
                score.refused++, snprintf(why, sizeof why, "no builder");
        }
    }
    t->whole += !score.refused && !score.failed, t->partly += score.refused && score.passed,
        t->none += !score.passed && score.refused;
    t->all.passed += score.passed, t->all.refused += score.refused, t->all.failed += score.failed;
    printf("%-34s %3d passed", op ? op : name, score.passed);
    if (score.refused) printf(", %d not expressible: %s", score.refused, why);
    if (score.failed) printf(", %d WRONG", score.failed);
    printf("\n");
    ry_json_free(samples);
    ry_tensor_file_close(f);
    ry_mem_free(path);
    return true;
}

int main(int argc, char **argv) {
    char folder[1024];
    ry_device *d = NULL;
    tally t = {.files = 0};
    if (!take_device(&argc, &argv)) return 77;
    t.only = argc > 1 ? argv[1] : NULL;
    t.folder = test_data(folder, sizeof folder, "vectors/torch_opinfo");
    if (!t.folder) return 77;
    if (ry_device_open(&d, device_name, NULL) != RY_OK || ry_graph_open(&t.g, d) != RY_OK ||
        os_list(t.folder, one_file, &t) != RY_OK) {
        printf("FAIL: %s\n", ry_message());
        return 1;
    }
    printf("%d operators: %d whole, %d in part, %d not; %d samples passed, %d not expressible, %d wrong\n", t.files,
           t.whole, t.partly, t.none, t.all.passed, t.all.refused, t.all.failed);
    ry_graph_close(t.g);
    ry_device_close(d);
    return t.all.failed || !t.files ? 1 : 0;
}
