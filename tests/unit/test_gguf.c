/* test_gguf.c - every rule of the format, each broken once; odd but legal files; typed reading; failing allocations; given files. */
#include "test_data.h"
#include "unit/gguf_make.h"
#include "unit/io_help.h"

static make_gguf m;
static const uint64_t d32[] = {32, 1, 1, 1, 1};

static void refused(ry_status want, const char *a, const char *b) {
    gguf_file *f = NULL;
    size_t held = ry_mem_live();
    assert_is(want, gguf_open_memory(&f, m.at, m.n, "m.gguf"));
    assert_null(f);
    assert_says("m.gguf", a, b);
    assert_int_equal(ry_mem_live(), held);
}

static gguf_file *opens(void) {
    gguf_file *f = NULL;
    assert_ok(gguf_open_memory(&f, m.at, m.n, "m.gguf"));
    return f;
}

static void header(void **state) {
    (void)state;
    m.n = 0;
    refused(RY_EFORMAT, "not a GGUF file", "");
    mk_head(&m, 3, 0, 0);
    m.n = 23;
    refused(RY_EFORMAT, "23 bytes", "24");
    mk_head(&m, 3, 0, 0);
    m.at[0] = 'F';
    refused(RY_EFORMAT, "not a GGUF file", "");
    const uint32_t unknown[] = {0, 1, 4, 77};
    for (size_t i = 0; i < 4; i++) {
        mk_head(&m, unknown[i], 0, 0);
        refused(RY_EUNSUPPORTED, "version", "");
    }
    mk_head(&m, 3u << 24, 0, 0);
    refused(RY_EUNSUPPORTED, "big-endian", "");
    mk_head(&m, 3, UINT64_MAX, 0);
    refused(RY_EFORMAT, "18446744073709551615 tensors", "");
    mk_head(&m, 3, 0, UINT64_MAX);
    refused(RY_EFORMAT, "18446744073709551615 metadata values", "");
    mk_head(&m, 3, 0, 2);
    mk_fill(&m, 3);
    refused(RY_EFORMAT, "2 metadata values", "cannot hold");
    mk_head(&m, 3, 0, 1);
    mk_text(&m, "key");
    refused(RY_EFORMAT, "metadata value 0", "truncated");
    mk_head(&m, 3, 1, 0);
    mk_text(&m, "name");
    refused(RY_EFORMAT, "tensor 0", "truncated");
}

static void values(void **state) {
    (void)state;
    mk_head(&m, 3, 0, 1), mk_string(&m, "", "x");
    refused(RY_EFORMAT, "metadata value 0", "0 bytes");
    mk_head(&m, 3, 0, 1), mk_string(&m, "a\xff", "x");
    refused(RY_EFORMAT, "metadata value 0", "UTF-8");
    mk_head(&m, 3, 0, 1), mk_int(&m, 3, 8), mk_bytes(&m, "a\0b", 3), mk_int(&m, 0, 4), mk_int(&m, 0, 1);
    refused(RY_EFORMAT, "metadata value 0", "UTF-8");
    mk_head(&m, 3, 0, 1), mk_int(&m, UINT64_MAX, 8), mk_fill(&m, 64);
    refused(RY_EFORMAT, "18446744073709551615 bytes", "65535");
    mk_head(&m, 3, 0, 1), mk_value(&m, "k", 13, 0, 8);
    refused(RY_EFORMAT, "k: 13", "not a type");
    mk_head(&m, 3, 0, 1), mk_array(&m, "k", 13, 1), mk_fill(&m, 8);
    refused(RY_EFORMAT, "k: 13", "not a type");
    mk_head(&m, 3, 0, 2), mk_string(&m, "k", "x"), mk_value(&m, "k", GGUF_U8, 0, 1);
    refused(RY_EFORMAT, "key k", "twice");
    mk_head(&m, 3, 0, 1), mk_key(&m, "k", GGUF_TEXT), mk_int(&m, 5, 8), mk_fill(&m, 4);
    refused(RY_EFORMAT, "5 bytes", "truncated");
    mk_head(&m, 3, 0, 1), mk_key(&m, "k", GGUF_TEXT), mk_int(&m, UINT64_MAX - 7, 8), mk_fill(&m, 40);
    refused(RY_EFORMAT, "metadata value 0", "truncated");
    mk_head(&m, 3, 0, 1), mk_array(&m, "k", GGUF_U64, UINT64_C(1) << 61), mk_fill(&m, 64);
    refused(RY_EFORMAT, "k says it has 2305843009213693952 items", "u64");
    mk_head(&m, 3, 0, 1), mk_array(&m, "k", GGUF_TEXT, 9), mk_fill(&m, 64);
    refused(RY_EFORMAT, "k says it has 9 items", "string");
    mk_head(&m, 3, 0, 1), mk_array(&m, "k", GGUF_ARRAY, 1);
    for (int i = 0; i < 20; i++) mk_int(&m, GGUF_ARRAY, 4), mk_int(&m, 1, 8);
    refused(RY_EFORMAT, "k: more than 8 arrays", "");
    const uint32_t wrong[] = {0, 3, 13, 33, 1u << 31 | 1};
    for (size_t i = 0; i < 5; i++) {
        mk_head(&m, 3, 0, 1), mk_value(&m, "general.alignment", GGUF_U32, wrong[i], 4);
        refused(RY_EFORMAT, "general.alignment", "power of two");
    }
    mk_head(&m, 3, 0, 1), mk_value(&m, "general.alignment", GGUF_I32, 32, 4);
    refused(RY_EFORMAT, "general.alignment", "u32");
}

/* One tensor and n bytes of data behind its padding. */
static void one(const char *name, uint32_t rank, const uint64_t *dim, uint32_t type, uint64_t offset, size_t n) {
    mk_head(&m, 3, 1, 0);
    mk_tensor(&m, name, rank, dim, type, offset);
    mk_pad(&m, 32);
    mk_fill(&m, n);
}
#define DIM(...) ((const uint64_t[]){__VA_ARGS__})

static void two(uint64_t first, uint64_t second, const char *name, size_t n) { /* f16[32] each: 64 bytes */
    mk_head(&m, 3, 2, 0);
    mk_tensor(&m, "a", 1, d32, 1, first);
    mk_tensor(&m, name, 1, d32, 1, second);
    mk_pad(&m, 32);
    mk_fill(&m, n);
}

static void tensors(void **state) {
    (void)state;
    char name[66] = "";
    one("", 1, d32, 0, 0, 128);
    refused(RY_EFORMAT, "tensor 0", "0 bytes");
    memset(name, 'n', 65);
    one(name, 1, d32, 0, 0, 128);
    refused(RY_EFORMAT, "tensor 0", "65 bytes");
    name[64] = 0;
    one(name, 1, d32, 0, 0, 128);
    gguf_close(opens());
    one("\xc0\xaf", 1, d32, 0, 0, 128);
    refused(RY_EFORMAT, "tensor 0", "UTF-8");
    one("t", 5, d32, 0, 0, 128);
    refused(RY_EFORMAT, "tensor t", "5 dimensions");
    one("t", 2, DIM(32, UINT64_MAX), 0, 0, 128);
    refused(RY_EFORMAT, "tensor t", "too large");
    one("t", 2, DIM(UINT64_C(1) << 32, UINT64_C(1) << 32), 0, 0, 128);
    refused(RY_EFORMAT, "tensor t", "overflows");
    one("t", 2, DIM(UINT64_C(1) << 31, UINT64_C(1) << 31), 28, 0, 128); /* 2^62 doubles */
    refused(RY_EFORMAT, "tensor t", "overflows");
    one("t", 3, DIM(4, 1073741823, 1073741825), 0, 0, 128);             /* 2^64 - 16 bytes */
    refused(RY_EFORMAT, "tensor t", "overflows");
    const uint32_t none[] = {4, 5, 31, 32, 33, 36, 37, 38, 43, UINT32_MAX};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        one("t", 1, d32, none[i], 0, 128);
        refused(RY_EFORMAT, "tensor t", "not a tensor type");
    }
    one("t", 1, DIM(48), 8, 0, 128);
    refused(RY_EFORMAT, "tensor t", "blocks of q8_0");
    one("t", 0, d32, 12, 0, 256);
    refused(RY_EFORMAT, "tensor t", "blocks of q4_K");
    one("t", 1, d32, 0, 16, 256);
    refused(RY_EFORMAT, "tensor t", "alignment");
    one("t", 1, d32, 0, UINT64_MAX - 31, 256);
    refused(RY_EFORMAT, "tensor t", "truncated");
    one("t", 1, d32, 0, 0, 127);
    refused(RY_EFORMAT, "tensor t", "needs 128 bytes");
    one("t", 1, DIM(5), 0, 0, 21);
    refused(RY_EFORMAT, "padding", "truncated");
    one("t", 1, DIM(5), 0, 0, 20);
    gguf_close(opens());
    one("t", 1, d32, 0, 32, 256);
    refused(RY_EFORMAT, "tensor t", "gap from 0");
    two(0, 64, "a", 128);
    refused(RY_EFORMAT, "two tensors are named a", "");
    two(0, 32, "b", 128);
    refused(RY_EFORMAT, "tensor b", "overlaps a");
    two(0, 0, "b", 128);
    refused(RY_EFORMAT, "tensor b", "overlaps a");
    two(0, 96, "b", 160);
    refused(RY_EFORMAT, "tensor b", "gap from 64");
    two(0, 64, "b", 127);
    refused(RY_EFORMAT, "tensor b", "truncated");
    two(64, 0, "b", 131); /* in another order; more bytes behind them */
    gguf_file *f = opens();
    assert_ptr_equal((const char *)gguf_tensor_find(f, "a")->data, (const char *)gguf_tensor_find(f, "b")->data + 64);
    assert_null(gguf_tensor_find(f, "c"));
    gguf_close(f);
}

static void reading(void **state) {
    (void)state;
    int64_t i = 7;
    double d = 7;
    bool b = false;
    gguf_text t = {0};
    const gguf_text *list;
    size_t n = 0;
    assert_true(mk_seed(&m, 1));
    gguf_file *f = opens();
    assert_string_equal(gguf_name(f), "m.gguf");
    assert_int_equal(gguf_value_count(f), 5);
    assert_ok(gguf_string(&t, f, "general.architecture", true));
    assert_true(t.n == 5 && !memcmp(t.at, "llama", 5));
    assert_ok(gguf_int(&i, f, "llama.block_count", 1, 2, true));
    assert_int_equal(i, 2);
    assert_is(RY_EFORMAT, gguf_int(&i, f, "llama.block_count", 3, 9, true));
    assert_says("m.gguf", "llama.block_count", "from 3 to 9", "it is 2");
    assert_is(RY_EFORMAT, gguf_int(&i, f, "general.architecture", 3, 9, true));
    assert_says("must be an integer", "string");
    assert_is(RY_EFORMAT, gguf_int(&i, f, "nested", 3, 9, true));
    assert_says("array of array");
    assert_is(RY_EFORMAT, gguf_bool(&b, f, "absent", true));
    assert_says("absent is missing");
    assert_ok(gguf_bool(&b, f, "absent", false));
    assert_ok(gguf_real(&d, f, "llama.block_count", true));
    assert_true(d == 2);
    assert_ok(gguf_texts(&list, &n, f, "tokenizer.ggml.tokens", true));
    assert_true(n == 3 && list[0].n == 3 && list[1].n == 0 && list[2].n == 2);
    assert_is(RY_EFORMAT, gguf_texts(&list, &n, f, "nested", true));
    const gguf_tensor *a = gguf_tensor_find(f, "a"), *q = gguf_tensor_find(f, "b");
    assert_true(a->type == RY_F32 && a->spec.rank == 2 && a->spec.dim[0] == 2 && a->spec.dim[1] == 32 && a->bytes == 256);
    assert_true(q->type == RY_Q8_0 && q->spec.rank == 1 && q->bytes == 34 && (const char *)q->data == (const char *)a->data + 256);
    assert_int_equal(((const unsigned char *)a->data - m.at) % 64, 0);
    gguf_close(f);

    assert_true(mk_seed(&m, 2));
    f = opens();
    assert_ok(gguf_int(&i, f, "i8", -9, 9, true));
    assert_int_equal(i, -2);
    assert_ok(gguf_int(&i, f, "i64", -9, 9, true));
    assert_int_equal(i, -1);
    assert_is(RY_EFORMAT, gguf_int(&i, f, "u64", 0, INT64_MAX - 1, true));
    assert_true(gguf_item_real(gguf_find(f, "u64"), 0) == 18446744073709551616.0);
    assert_ok(gguf_bool(&b, f, "bool", true));
    assert_true(b);
    assert_is(RY_EFORMAT, gguf_bool(&b, f, "i8", true));
    assert_ok(gguf_real(&d, f, "f32", true));
    assert_true(d == 1.5);
    assert_ok(gguf_real(&d, f, "f64", true));
    assert_true(d == -0.5);
    assert_is(RY_EFORMAT, gguf_real(&d, f, "bool", true));
    const gguf_tensor *iq = gguf_tensor_find(f, "iq");
    assert_true(iq->type == RY_NONE && iq->bytes == 66 && iq->spec.dim[0] == 256);
    assert_string_equal(gguf_tensor_type_name(iq->type_number), "iq2_xxs");
    assert_int_equal(gguf_tensor_find(f, "scalar")->spec.rank, 0);
    assert_int_equal(gguf_tensor_find(f, "empty")->bytes, 0);
    gguf_close(f);

    mk_head(&m, 3, 0, 2), mk_string(&m, "s", "\xff"), mk_array(&m, "l", GGUF_TEXT, 2), mk_text(&m, "ok"), mk_text(&m, "\xc3");
    f = opens(); /* what is not UTF-8 is an error where text is asked for */
    assert_is(RY_EFORMAT, gguf_string(&t, f, "s", true));
    assert_says("s: text 0 is not UTF-8");
    assert_is(RY_EFORMAT, gguf_texts(&list, &n, f, "l", true));
    assert_says("l: text 1 is not UTF-8");
    gguf_close(f);
}

static void truncated(void **state) { /* at every byte of a file that is whole */
    (void)state;
    assert_true(mk_seed(&m, 1));
    size_t whole = m.n, data = whole - 320; /* 256 + 34, padded to 64 */
    for (m.n = 0; m.n < whole; m.n++) {
        gguf_file *f = NULL;
        bool legal = m.n == data + 256 + 34;
        ry_status st = gguf_open_memory(&f, m.at, m.n, "m.gguf");
        assert_is(legal ? RY_OK : RY_EFORMAT, st);
        gguf_close(f);
    }
}

static ry_status open_and_close(void *ud) {
    gguf_file *f;
    RY_TRY(gguf_open(&f, ud));
    gguf_close(f);
    return RY_OK;
}

static void memory(void **state) {
    (void)state;
    fresh_folder("tmp_gguf");
    assert_true(mk_seed(&m, 1));
    write_file("tmp_gguf/a.gguf", m.at, m.n);
    char path[] = "tmp_gguf/a.gguf";
    sweep_allocations(open_and_close, path);
    gguf_file *f = NULL;
    assert_is(RY_ENOENT, gguf_open(&f, "tmp_gguf/none.gguf"));
    write_file("tmp_gguf/empty.gguf", "", 0);
    assert_is(RY_EFORMAT, gguf_open(&f, "tmp_gguf/empty.gguf"));
    assert_null(f);
}

/* ---- given files ---- */

typedef struct walk { const char *folder; size_t seen; } walk;

static bool must_load(void *ud, const char *name) {
    walk *w = ud;
    size_t n = strlen(name);
    if (n < 5 || strcmp(name + n - 5, ".gguf")) return true;
    char *path = os_join(w->folder, name);
    gguf_file *f = NULL;
    ry_status st = gguf_open(&f, path);
    if (strstr(name, "TENSORS") && st != RY_OK) assert_says("truncated"); /* tables without their data */
    else assert_ok(st);
    gguf_close(f);
    ry_mem_free(path);
    w->seen++;
    return true;
}

static void given(void **state) {
    (void)state;
    static const char *const folders[] = {"malformed/gguf/must_load", "tokenizers/llama.cpp-vocab", "weights/stories260K/gguf"};
    size_t seen = 0;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char buf[1024];
        const char *path = test_data(buf, sizeof buf, folders[i]);
        if (!path) continue;
        walk w = {path, 0};
        assert_ok(os_list(path, must_load, &w));
        seen += w.seen;
    }
    if (!seen) skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(header),  cmocka_unit_test(values),    cmocka_unit_test(tensors), cmocka_unit_test(reading),
                                       cmocka_unit_test(truncated), cmocka_unit_test(memory), cmocka_unit_test(given)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
