/* test_gguf_write.c - what is written is read back as it was; what cannot be written leaves nothing behind. */
#define _POSIX_C_SOURCE 200809L /* setenv */
#include "io/gguf_write.h"
#include "unit/io_help.h"
#include <stdlib.h>

static float a[2][32], scalar = 3;
static unsigned char q[3 * 34];

static ry_status given(void *ud, size_t i, const void **data) {
    *data = ((const ry_named_data *)ud)[i].data;
    return RY_OK;
}

static ry_status write_it(void *path) {
    gguf_meta m = {0};
    gguf_put_text(&m, "general.architecture", "llama", 5);
    gguf_put_u32(&m, "u32", UINT32_MAX);
    gguf_put_f32(&m, "f32", 0.1);
    gguf_put_bool(&m, "bool", true);
    gguf_put_u32s(&m, "u32s", (const uint32_t[]){1, 2}, 2);
    gguf_put_i32s(&m, "i32s", (const int32_t[]){-1, 2}, 2);
    gguf_put_f32s(&m, "f32s", (const float[]){0.5f}, 1);
    gguf_put_bools(&m, "bools", (const bool[]){true, false}, 2);
    gguf_put_texts(&m, "texts", (const gguf_text[]){{"x\0y", 3}, {"", 0}}, 2);
    ry_named_data t[] = {{"scalar", {.dtype = RY_F32}, &scalar}, {"a", RY_SHAPE(RY_F32, 2, 32), a}, {"q", RY_SHAPE(RY_Q8_0, 3, 32), q}, {"none", RY_SHAPE(RY_F16, 0, 8), q}};
    ry_status st = gguf_write(path, &m, 4, t, given, t);
    gguf_meta_free(&m);
    return st;
}

static void round_trip(void **state) {
    (void)state;
    gguf_file *f;
    gguf_text s;
    int64_t i;
    fresh_folder("tmp_gguf_write");
    for (size_t k = 0; k < sizeof q; k++) q[k] = (unsigned char)(k * 7);
    for (int k = 0; k < 64; k++) a[k / 32][k % 32] = (float)k;
    char path[] = "tmp_gguf_write/a.gguf";
    sweep_allocations(write_it, path);
    assert_ok(gguf_open(&f, path));
    assert_int_equal(gguf_value_count(f), 9);
    assert_ok(gguf_string(&s, f, "general.architecture", true));
    assert_memory_equal(s.at, "llama", 5);
    assert_ok(gguf_int(&i, f, "u32", 0, INT64_MAX, true));
    assert_int_equal(i, UINT32_MAX);
    assert_true(gguf_item_real(gguf_find(f, "f32"), 0) == (double)0.1f);
    assert_int_equal(gguf_item_int(gguf_find(f, "bool"), 0), 1);
    assert_int_equal(gguf_item_int(gguf_find(f, "u32s"), 1), 2);
    assert_int_equal(gguf_item_int(gguf_find(f, "i32s"), 0), -1);
    assert_true(gguf_item_real(gguf_find(f, "f32s"), 0) == 0.5);
    assert_int_equal(gguf_item_int(gguf_find(f, "bools"), 0), 1);
    assert_int_equal(gguf_item_int(gguf_find(f, "bools"), 1), 0);
    const gguf_value *v = gguf_find(f, "texts");
    assert_true(v->n == 2 && v->texts[0].n == 3 && !memcmp(v->texts[0].at, "x\0y", 3) && v->texts[1].n == 0);
    const gguf_tensor *t = gguf_tensor_find(f, "a");
    assert_true(t->type == RY_F32 && t->spec.rank == 2 && t->spec.dim[0] == 2 && t->spec.dim[1] == 32 && !memcmp(t->data, a, sizeof a));
    t = gguf_tensor_find(f, "q");
    assert_true(t->type == RY_Q8_0 && t->spec.dim[0] == 3 && !memcmp(t->data, q, sizeof q));
    assert_int_equal(gguf_tensor_find(f, "scalar")->spec.rank, 0);
    assert_int_equal(gguf_tensor_find(f, "none")->bytes, 0);
    gguf_meta copy = {0}; /* what was read can be put again */
    for (size_t k = 0; k < gguf_value_count(f); k++) gguf_put_value(&copy, gguf_value_at(f, k));
    assert_ok(gguf_write("tmp_gguf_write/copy.gguf", &copy, 0, NULL, given, NULL));
    gguf_meta_free(&copy);
    gguf_file *g;
    assert_ok(gguf_open(&g, "tmp_gguf_write/copy.gguf"));
    assert_int_equal(gguf_value_count(g), 9);
    for (size_t k = 0; k < 9; k++) {
        const gguf_value *x = gguf_value_at(f, k), *y = gguf_value_at(g, k);
        assert_true(x->type == y->type && x->item == y->item && x->n == y->n && x->key.n == y->key.n && !memcmp(x->key.at, y->key.at, x->key.n));
        for (size_t j = 0; j < x->n; j++) assert_true(x->texts ? x->texts[j].n == y->texts[j].n && !memcmp(x->texts[j].at, y->texts[j].at, x->texts[j].n) : gguf_item_real(x, j) == gguf_item_real(y, j));
    }
    gguf_close(g);
    gguf_close(f);
}

static void refuses(ry_status want, const gguf_meta *m, size_t n, ry_named_data *t, const char *word) {
    fresh_folder("tmp_gguf_write");
    assert_is(want, gguf_write("tmp_gguf_write/b.gguf", m, n, t, given, t));
    assert_says("b.gguf", word);
    assert_int_equal(os_kind("tmp_gguf_write/b.gguf"), OS_NOTHING);
}

static void refused(void **state) {
    (void)state;
    gguf_meta none = {0}, twice = {0};
    char name[65] = "";
    memset(name, 'n', 64);
    gguf_put_u32(&twice, "k", 1);
    gguf_put_bool(&twice, "k", true);
    refuses(RY_EARG, &twice, 0, NULL, "k stands twice");
    refuses(RY_EARG, &none, 2, (ry_named_data[]){{"a", RY_SHAPE(RY_F32, 2), a}, {"a", RY_SHAPE(RY_F32, 2), a}}, "named a");
    refuses(RY_EARG, &none, 1, (ry_named_data[]){{name, RY_SHAPE(RY_F32, 2), a}}, "64 bytes");
    refuses(RY_EARG, &none, 1, (ry_named_data[]){{"", RY_SHAPE(RY_F32, 2), a}}, "0 bytes");
    refuses(RY_EDTYPE, &none, 1, (ry_named_data[]){{"a", RY_SHAPE(RY_BOOL, 2), a}}, "bool");
    refuses(RY_EARG, &none, 1, (ry_named_data[]){{"a", RY_SHAPE(RY_F32, 1, 1, 1, 1, 1), a}}, "5 dimensions");
    refuses(RY_ESHAPE, &none, 1, (ry_named_data[]){{"a", RY_SHAPE(RY_Q4_0, 2, 33), a}}, "multiple of 32");
    gguf_meta_free(&twice);
    for (int n = 1; n < 4; n++) { /* a full disk at every write */
        char fault[32];
        snprintf(fault, sizeof fault, "write:%d", n);
        fresh_folder("tmp_gguf_write");
        setenv("RUSTY_FAULT", fault, 1);
        char path[] = "tmp_gguf_write/c.gguf";
        assert_is(RY_EIO, write_it(path));
        unsetenv("RUSTY_FAULT");
        assert_int_equal(os_kind(path), OS_NOTHING);
    }
    assert_ok(os_remove_tree("tmp_gguf_write"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
