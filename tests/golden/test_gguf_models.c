/* test_gguf_models.c - every reference GGUF model: logits with exact numerics against transformers in double precision on the dequantised
 * weights, with the weights as they are stored and widened for training.  Tolerance: hf/README.md, 2e-4. */
#include "unit/cm.h"

#include "golden/folder.h"

static const double tolerance = 2e-4;
static int checked, unknown;
static ry_device *dev;

static float *logits_of(ry_model *m, const int32_t *ids, int64_t T) {
    int64_t V = ry_model_vocab(m);
    float *y = ry_mem_alloc((size_t)(T * V) * sizeof *y);
    ry_graph *g;
    assert_ok(ry_graph_open(&g, dev));
    ry_tensor in = ry_input(g, &RY_SHAPE(RY_I32, 1, T), "ids"), t = ry_cast(g, ry_model_logits(g, m, in), RY_F32);
    assert_ok(ry_eval(g, 1, &t, 1, &(ry_feed){in, ids, (size_t)T * sizeof *ids}));
    assert_ok(ry_read(g, t, y, (size_t)(T * V) * sizeof *y));
    ry_graph_close(g);
    return y;
}

static void check_file(const char *path, const char *ref_path, const char *key) {
    ry_tensor_file *ref;
    ry_spec is, ls;
    size_t T = 0, n = 0;
    assert_ok(ry_tensor_file_open(&ref, ref_path));
    const int32_t *ids = reference(ref, "input_ids", &is, &T);
    const float *want = reference(ref, key, &ls, &n);
    for (int f32 = 0; ids && want && f32 < 2; f32++) {
        ry_model *m = NULL;
        ry_status st = ry_model_open(&m, dev, path, &(ry_model_options){.master_f32 = f32});
        if (st == RY_EUNSUPPORTED) { /* another architecture: comes with another family */
            fprintf(stderr, "%s\n", ry_message());
            unknown++;
            break;
        }
        assert_ok(st);
        assert_int_equal((int64_t)n, (int64_t)T * ry_model_vocab(m));
        float *got = logits_of(m, ids, (int64_t)T);
        double err = largest_difference(got, want, n);
        printf("%s: %s %.2g\n", path, f32 ? "f32" : "as stored", err);
        if (!(err <= tolerance)) fail_msg("%s: logits differ by %.3g", path, err);
        ry_mem_free(got);
        ry_model_close(m);
        checked++;
    }
    ry_tensor_file_close(ref);
}

/* NAME-TYPE.gguf beside NAME.safetensors ("logits"), or beside logits.safetensors, which has every type's. */
static bool check_name(void *ud, const char *name) {
    char path[1024], ref[1024], key[256];
    size_t n = strlen(name);
    const char *type = strrchr(name, '-');
    if (n < 5 || strcmp(name + n - 5, ".gguf") || !type || strstr(name, ".lora.")) return true;
    snprintf(path, sizeof path, "%s/%s", (const char *)ud, name);
    snprintf(ref, sizeof ref, "%s/%.*s.safetensors", (const char *)ud, (int)(type - name), name);
    snprintf(key, sizeof key, "logits");
    if (os_kind(ref) != OS_FILE) {
        snprintf(ref, sizeof ref, "%s/logits.safetensors", (const char *)ud);
        int len = (int)(strlen(type + 1) - 5);
        if (!strncmp(type + 1, "f32", 3)) snprintf(key, sizeof key, "logits_hf_f64");
        else snprintf(key, sizeof key, "%.*s.logits_dequantised_f64", len, type + 1);
    }
    if (os_kind(ref) == OS_FILE) check_file(path, ref, key);
    return true;
}

static bool check_folder(void *ud, const char *name) {
    char *path = os_join(ud, name);
    if (os_kind(path) == OS_FOLDER) assert_ok(os_list(path, check_name, path));
    ry_mem_free(path);
    return true;
}

static void all(void **state) {
    (void)state;
    char buf[512];
    if (!test_data(buf, sizeof buf, "hf/gguf")) skip();
    assert_ok(ry_device_open(&dev, "cpu", NULL));
    assert_ok(os_list(buf, check_folder, buf));
    ry_device_close(dev);
    printf("%d checks, %d architectures unknown\n", checked, unknown);
    assert_true(checked > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
