/* test_safetensors.c - every rule of the format, each broken once; odd but legal files; shards; writing; failing allocations. */
#include "io/safetensors.h"
#include "test_data.h"
#include "unit/io_help.h"

typedef struct bytes {
    unsigned char *at;
    size_t n;
} bytes;

/* A file with this header and n bytes of data 0, 1, 2, ... */
static bytes make(const char *header, size_t n) {
    size_t len = strlen(header);
    bytes b = {malloc(8 + len + n), 8 + len + n};
    for (int i = 0; i < 8; i++) b.at[i] = (unsigned char)((uint64_t)len >> 8 * i);
    memcpy(b.at + 8, header, len);
    for (size_t i = 0; i < n; i++) b.at[8 + len + i] = (unsigned char)i;
    return b;
}

static ry_tensor_file *opens(const char *header, size_t n, bytes *keep) {
    ry_tensor_file *f = NULL;
    *keep = make(header, n);
    assert_ok(st_open_memory(&f, keep->at, keep->n, "m.safetensors"));
    return f;
}

static void fails(const char *header, size_t n, const char *a, const char *b) {
    ry_tensor_file *f = NULL;
    bytes m = make(header, n);
    size_t held = ry_mem_live();
    ry_status st = st_open_memory(&f, m.at, m.n, "m.safetensors");
    if (st != RY_EFORMAT) print_error("not refused: %s\n", header);
    assert_is(RY_EFORMAT, st);
    assert_null(f);
    assert_says("m.safetensors", a, b);
    assert_int_equal(ry_mem_live(), held);
    free(m.at);
}

#define T(shape, begin, end) "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static void rules(void **state) {
    (void)state;
    /* the header's JSON */
    fails("", 0, "header", "empty");
    fails("[]", 0, "object", "");
    fails("{\"x\":" T("[1]", "0", "4"), 4, "header", "m.safetensors:1:");
    fails("{\"x\":" T("[1]", "0", "4") "}x", 4, "header", "more text");
    fails("{\"x\":" T("[1]", "0", "4") ",\"x\":" T("[1]", "4", "8") "}", 8, "twice", "x");
    fails("{\"x\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "twice", "dtype");
    fails("{\"x\":[]}", 0, "tensor x", "object");
    fails("{\"\xff\":" T("[1]", "0", "4") "}", 4, "header", "UTF-8");
    /* dtype */
    fails("{\"x\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor x", "dtype");
    fails("{\"x\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor x", "dtype");
    fails("{\"x\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor x", "dtype F33");
    fails("{\"x\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor x", "dtype f32");
    /* shape */
    fails("{\"x\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "tensor x", "shape");
    fails("{\"x\":" T("1", "0", "4") "}", 4, "tensor x", "shape");
    fails("{\"x\":" T("[-1]", "0", "4") "}", 4, "tensor x", "shape");
    fails("{\"x\":" T("[1.0]", "0", "4") "}", 4, "tensor x", "shape");
    fails("{\"x\":" T("[\"1\"]", "0", "4") "}", 4, "tensor x", "shape");
    fails("{\"x\":" T("[null]", "0", "4") "}", 4, "tensor x", "shape");
    fails("{\"x\":" T("[18446744073709551616]", "0", "4") "}", 4, "header", "64 bits");
    fails("{\"x\":" T("[4294967296,4294967296]", "0", "0") "}", 0, "tensor x", "overflow");
    fails("{\"x\":" T("[9223372036854775807]", "0", "0") "}", 0, "tensor x", "overflow");
    fails("{\"x\":" T("[4611686018427387904,8,0]", "0", "0") "}", 0, "tensor x", "overflow");
    fails("{\"x\":" T("[4611686018427387904]", "0", "0") "}", 0, "tensor x", "overflow"); /* x 4 bytes = 2^64 */
    fails("{\"x\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1, "tensor x", "whole bytes");
    /* data_offsets */
    fails("{\"x\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "tensor x", "data_offsets");
    fails("{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "tensor x", "data_offsets");
    fails("{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}", 4, "tensor x", "data_offsets");
    fails("{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":4}}", 4, "tensor x", "data_offsets");
    fails("{\"x\":" T("[1]", "4", "0") "}", 4, "tensor x", "data_offsets");
    fails("{\"x\":" T("[1]", "-4", "0") "}", 4, "tensor x", "data_offsets");
    fails("{\"x\":" T("[1]", "0.0", "4") "}", 4, "tensor x", "data_offsets");
    fails("{\"x\":" T("[2]", "0", "4") "}", 4, "tensor x", "need 8");
    fails("{\"x\":" T("[1]", "0", "8") "}", 8, "tensor x", "need 4");
    fails("{\"x\":" T("[]", "0", "0") "}", 0, "tensor x", "need 4");
    fails("{\"x\":" T("[0]", "0", "4") "}", 4, "tensor x", "need 0");
    fails("{\"x\":" T("[2]", "0", "8") "}", 7, "tensor x", "truncated");
    fails("{\"x\":" T("[1]", "9223372036854775803", "9223372036854775807") "}", 4, "tensor x", "truncated");
    /* the tensors tile the data */
    fails("{\"x\":" T("[1]", "4", "8") "}", 8, "tensor x", "gap from 0");
    fails("{\"x\":" T("[1]", "0", "4") ",\"y\":" T("[1]", "8", "12") "}", 12, "tensor y", "gap from 4");
    fails("{\"x\":" T("[2]", "0", "8") ",\"y\":" T("[2]", "4", "12") "}", 12, "tensor y", "overlap those of x");
    fails("{\"x\":" T("[2]", "0", "8") ",\"y\":" T("[2]", "0", "8") "}", 8, "tensor y", "overlap those of x");
    fails("{\"x\":" T("[2]", "0", "8") ",\"y\":" T("[0]", "4", "4") "}", 8, "tensor y", "overlap those of x");
    fails("{\"x\":" T("[1]", "0", "4") "}", 5, "1 bytes after the last", "data_offsets end at 4");
    fails("{}", 1, "1 bytes after the last", "");
    /* __metadata__ */
    fails("{\"__metadata__\":[]}", 0, "__metadata__", "object");
    fails("{\"__metadata__\":{\"step\":3}}", 0, "__metadata__", "step");
    fails("{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", 0, "__metadata__", "a");
}

static void header_length(void **state) {
    (void)state;
    ry_tensor_file *f;
    static const unsigned char zero[8];
    for (size_t n = 0; n < 8; n++) assert_is(RY_EFORMAT, st_open_memory(&f, zero, n, "m.safetensors"));
    assert_says("m.safetensors", "too few");
    static const struct {
        unsigned char head[10];
        const char *word;
    } rows[] = {
        {{3, 0, 0, 0, 0, 0, 0, 0, '{', '}'}, "truncated"},
        {{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, '{', '}'}, "at most 100000000"},
        {{0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, '{', '}'}, "at most"},
        {{0x01, 0xE1, 0xF5, 0x05, 0, 0, 0, 0, '{', '}'}, "at most"},   /* 100 000 001 */
        {{0x00, 0xE1, 0xF5, 0x05, 0, 0, 0, 0, '{', '}'}, "truncated"}, /* 100 000 000 */
        {{2, 0, 0, 0, 0, 0, 0, 0x80, '{', '}'}, "at most"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_is(RY_EFORMAT, st_open_memory(&f, rows[i].head, 10, "m.safetensors"));
        assert_says("m.safetensors", rows[i].word);
    }
}

static void odd_but_legal(void **state) {
    (void)state;
    bytes m;
    ry_spec s;
    const void *data;
    const char *name;
    ry_tensor_file *f = opens(" \n\t{ } \r\n", 0, &m);
    assert_int_equal(ry_tensor_file_count(f), 0);
    assert_is(RY_ENOENT, ry_tensor_file_find(f, "x", &s, &data));
    assert_says("m.safetensors", "x");
    ry_tensor_file_close(f);
    free(m.at);
    /* out of order, unaligned, rank 0, empty, an unknown field, metadata null, the name "" */
    f = opens(
        "{\"y\":" T(
            "[]", "1",
            "5") ",\"__metadata__\":null,\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"more\":{}},"
                 "\"e\":" T("[3,0,2]", "5", "5") ",\"\":" T("[0]", "5", "5") ",\"e2\":" T("[0]", "0", "0") "}",
        5, &m);
    assert_int_equal(ry_tensor_file_count(f), 5);
    assert_ok(ry_tensor_file_find(f, "y", &s, &data));
    assert_int_equal(s.dtype, RY_F32);
    assert_int_equal(s.rank, 0);
    assert_memory_equal(data, "\1\2\3\4", 4);
    assert_ok(ry_tensor_file_find(f, "e", &s, &data));
    assert_int_equal(s.rank, 3);
    assert_int_equal(s.dim[1], 0);
    assert_ok(ry_tensor_file_find(f, "", &s, NULL));
    static const char *const order[] = {"e2", "b", "y", "", "e"};
    for (size_t i = 0; i < 5; i++) {
        assert_ok(ry_tensor_file_get(f, i, &name, &s, &data));
        assert_string_equal(name, order[i]);
    }
    assert_is(RY_EARG, ry_tensor_file_get(f, 5, &name, &s, &data));
    assert_null(ry_tensor_file_meta(f, "format"));
    ry_tensor_file_close(f);
    free(m.at);
    /* dtypes and ranks that are only looked at */
    f = opens("{\"a\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"F6_E2M3\",\"shape\":["
              "4],\"data_offsets\":[2,5]},"
              "\"c\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[5,6]},\"d\":{\"dtype\":\"C64\",\"shape\":["
              "1],\"data_offsets\":[6,14]},"
              "\"e\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[14,15]},\"__metadata__\":{"
              "\"format\":\"pt\"}}",
              15, &m);
    assert_is(RY_EDTYPE, ry_tensor_file_find(f, "a", &s, &data));
    assert_says("m.safetensors", "tensor a", "F4");
    assert_is(RY_EDTYPE, ry_tensor_file_get(f, 2, &name, &s, &data));
    assert_says("tensor c", "F8_E4M3");
    assert_is(RY_ESHAPE, ry_tensor_file_find(f, "e", &s, &data));
    assert_says("tensor e", "9 dimensions");
    assert_string_equal(st_entry_at(f, 3)->dtype, "C64");
    assert_string_equal(ry_tensor_file_meta(f, "format"), "pt");
    ry_tensor_file_close(f);
    free(m.at);
}

static void every_dtype(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int bytes;
        ry_dtype type;
    } rows[] = {
        {"BOOL", 1, RY_BOOL},
        {"U8", 1, RY_U8},
        {"I8", 1, RY_I8},
        {"F8_E5M2", 1, RY_NONE},
        {"F8_E4M3", 1, RY_NONE},
        {"F8_E8M0", 1, RY_NONE},
        {"F8_E5M2FNUZ", 1, RY_NONE},
        {"F8_E4M3FNUZ", 1, RY_NONE},
        {"I16", 2, RY_NONE},
        {"U16", 2, RY_NONE},
        {"F16", 2, RY_F16},
        {"BF16", 2, RY_BF16},
        {"I32", 4, RY_I32},
        {"U32", 4, RY_NONE},
        {"F32", 4, RY_F32},
        {"C64", 8, RY_NONE},
        {"F64", 8, RY_F64},
        {"I64", 8, RY_I64},
        {"U64", 8, RY_NONE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char header[128];
        snprintf(header, sizeof header, "{\"x\":{\"dtype\":\"%s\",\"shape\":[2],\"data_offsets\":[0,%d]}}",
                 rows[i].name, 2 * rows[i].bytes);
        bytes m;
        ry_tensor_file *f = opens(header, 2 * (size_t)rows[i].bytes, &m);
        assert_int_equal(st_entry_at(f, 0)->type, rows[i].type);
        assert_string_equal(st_entry_at(f, 0)->dtype, rows[i].name);
        ry_tensor_file_close(f);
        free(m.at);
    }
}

static void truncated(void **state) {
    (void)state;
    bytes m =
        make("{\"__metadata__\":{\"a\":\"b\"},\"x\":" T("[2,2]", "0", "16") ",\"y\":" T("[1]", "16", "20") "}  ", 20);
    ry_tensor_file *f;
    size_t held = ry_mem_live();
    for (size_t n = 0; n < m.n; n++) {
        unsigned char *exact = malloc(n ? n : 1); /* so that a read beyond the end is seen */
        memcpy(exact, m.at, n);
        assert_is(RY_EFORMAT, st_open_memory(&f, exact, n, "m.safetensors"));
        assert_int_equal(ry_mem_live(), held);
        free(exact);
    }
    assert_ok(st_open_memory(&f, m.at, m.n, "m.safetensors"));
    ry_tensor_file_close(f);
    free(m.at);
}

static void write_and_read(void **state) {
    (void)state;
    float w[6] = {1, 2, 3, 4, 5, 6};
    int64_t ids[2] = {-1, 1LL << 40};
    unsigned char flag[3] = {1, 0, 1};
    uint16_t half[2] = {0x3C00, 0x4000};
    const ry_named_data t[] = {
        {"flag", RY_SHAPE(RY_BOOL, 3), flag}, {"w.b\n\"\xc3\xa9", RY_SHAPE(RY_F32, 2, 3), w},
        {"scalar", {.dtype = RY_F32}, w},     {"ids", RY_SHAPE(RY_I64, 2), ids},
        {"half", RY_SHAPE(RY_F16, 2), half},  {"none", RY_SHAPE(RY_F32, 0, 5), NULL},
    };
    const char *const meta[] = {"format", "pt", "note", "line\n\"q\"", NULL};
    fresh_folder("tmp_st");
    assert_ok(ry_tensor_file_write("tmp_st/a.safetensors", 6, t, meta));
    ry_tensor_file *f;
    assert_ok(ry_tensor_file_open(&f, "tmp_st/a.safetensors"));
    assert_int_equal(ry_tensor_file_count(f), 6);
    assert_string_equal(ry_tensor_file_meta(f, "note"), "line\n\"q\"");
    for (size_t i = 0; i < 6; i++) {
        ry_spec s;
        const void *data;
        size_t n;
        assert_ok(ry_tensor_file_find(f, t[i].name, &s, &data));
        assert_int_equal(s.dtype, t[i].spec.dtype);
        assert_int_equal(s.rank, t[i].spec.rank);
        assert_memory_equal(s.dim, t[i].spec.dim, sizeof s.dim);
        assert_ok(ry_spec_bytes(&n, &s));
        if (n) assert_memory_equal(data, t[i].data, n);
        assert_int_equal((uintptr_t)data % (s.dtype == RY_I64 ? 8 : s.dtype == RY_F32 ? 4 : 1), 0);
    }
    static const char *const order[] = {"ids",  "none", "scalar", "w.b\n\"\xc3\xa9",
                                        "half", "flag"}; /* dtype descending, then name */
    for (size_t i = 0; i < 6; i++) assert_string_equal(st_entry_at(f, i)->name, order[i]);
    ry_tensor_file_close(f);

    /* the empty file, byte for byte as the format's own writer makes it */
    char *raw;
    size_t n;
    assert_ok(ry_tensor_file_write("tmp_st/e.safetensors", 0, NULL, NULL));
    assert_ok(os_file_read("tmp_st/e.safetensors", &raw, &n));
    assert_int_equal(n, 16);
    assert_memory_equal(raw, "\x08\0\0\0\0\0\0\0{}      ", 16);
    ry_mem_free(raw);

    /* what cannot be written, and that the old file stays */
    const ry_named_data twice[] = {{"x", RY_SHAPE(RY_F32, 1), w}, {"x", RY_SHAPE(RY_I64, 1), ids}};
    assert_is(RY_EARG, ry_tensor_file_write("tmp_st/e.safetensors", 2, twice, NULL));
    assert_says("tmp_st/e.safetensors", "two tensors are named x");
    const ry_named_data q = {"q", RY_SHAPE(RY_Q8_0, 32), w}, m = {"__metadata__", RY_SHAPE(RY_F32, 1), w},
                        bad = {"\xff", RY_SHAPE(RY_F32, 1), w}, neg = {"neg", RY_SHAPE(RY_F32, -1), w};
    assert_is(RY_EDTYPE, ry_tensor_file_write("tmp_st/e.safetensors", 1, &q, NULL));
    assert_says("tensor q");
    assert_is(RY_EARG, ry_tensor_file_write("tmp_st/e.safetensors", 1, &m, NULL));
    assert_is(RY_EARG, ry_tensor_file_write("tmp_st/e.safetensors", 1, &bad, NULL));
    assert_says("UTF-8");
    assert_is(RY_EARG, ry_tensor_file_write("tmp_st/e.safetensors", 1, &neg, NULL));
    assert_says("tensor neg");
    const char *const same[] = {"k", "1", "k", "2", NULL};
    assert_is(RY_EARG, ry_tensor_file_write("tmp_st/e.safetensors", 0, NULL, same));
    assert_says("k is given twice");
    assert_ok(ry_tensor_file_open(&f, "tmp_st/e.safetensors"));
    ry_tensor_file_close(f);
    assert_int_not_equal(RY_OK, ry_tensor_file_write("tmp_st/no/folder.safetensors", 0, NULL, NULL));
    assert_is(RY_ENOENT, ry_tensor_file_open(&f, "tmp_st/none.safetensors"));
    assert_says("tmp_st/none.safetensors");
    assert_is(RY_ENOENT, ry_tensor_file_open(&f, "tmp_st"));
    assert_says("tmp_st", "model.safetensors");
    assert_ok(os_remove_tree("tmp_st"));
}

static ry_status broken_source(void *ud, size_t i, const void **data) {
    static const float x[4];
    *data = x;
    return i == 1 ? ry_fail(RY_EDEVICE, "source %s broke", (const char *)ud) : RY_OK;
}

static void source_fails(void **state) {
    (void)state;
    fresh_folder("tmp_st2");
    write_text("tmp_st2/a.safetensors", "old");
    const ry_named_data t[] = {{"a", RY_SHAPE(RY_F32, 4), NULL}, {"b", RY_SHAPE(RY_F32, 4), NULL}};
    assert_is(RY_EDEVICE, st_write("tmp_st2/a.safetensors", 2, t, NULL, broken_source, "S"));
    assert_string_equal(ry_message(), "source S broke");
    char *raw;
    size_t n;
    assert_ok(os_file_read("tmp_st2/a.safetensors", &raw, &n));
    assert_string_equal(raw, "old");
    ry_mem_free(raw);
    assert_ok(os_remove_tree("tmp_st2"));
}

static void shard(const char *name, size_t n, const char *const *tensors) {
    float w[2] = {1, 2};
    ry_named_data t[4];
    char path[64];
    for (size_t i = 0; i < n; i++) t[i] = (ry_named_data){tensors[i], RY_SHAPE(RY_F32, 2), w};
    snprintf(path, sizeof path, "tmp_shards/%s", name);
    assert_ok(ry_tensor_file_write(path, n, t, NULL));
}

static void shards_fail(const char *map, ry_status want, const char *a, const char *b, const char *c) {
    ry_tensor_file *f = NULL;
    char index[512];
    snprintf(index, sizeof index, "{\"metadata\":{\"total_size\":1.0},\"weight_map\":%s}", map);
    write_text("tmp_shards/model.safetensors.index.json", index);
    size_t held = ry_mem_live();
    assert_is(want, ry_tensor_file_open(&f, "tmp_shards"));
    assert_says("model.safetensors.index.json", a, b, c);
    assert_int_equal(ry_mem_live(), held);
}

static void shards(void **state) {
    (void)state;
    fresh_folder("tmp_shards");
    shard("s1", 2, (const char *[]){"a", "b"});
    shard("s2", 1, (const char *[]){"c"});
    shard("s3", 2, (const char *[]){"b", "d"});
    write_text("tmp_shards/model.safetensors.index.json", "{\"weight_map\":{\"c\":\"s2\",\"a\":\"s1\",\"b\":\"s1\"}}");
    for (int i = 0; i < 2; i++) {
        ry_tensor_file *f;
        ry_spec s;
        assert_ok(ry_tensor_file_open(&f, i ? "tmp_shards" : "tmp_shards/model.safetensors.index.json"));
        assert_int_equal(ry_tensor_file_count(f), 3);
        assert_int_equal(st_part_count(f), 2);
        assert_string_equal(st_part_name(f, st_entry_at(f, 2)->part), "s2");
        assert_ok(ry_tensor_file_find(f, "c", &s, NULL));
        ry_tensor_file_close(f);
    }
    shards_fail("{\"a\":\"s1\",\"b\":\"s1\",\"c\":\"s1\"}", RY_EFORMAT, "tensor c is missing", "s1", "");
    shards_fail("{\"a\":\"s1\",\"b\":\"s1\",\"c\":\"s1\",\"x\":\"s2\"}", RY_EFORMAT, "tensor c", "s1", "lies in s2");
    shards_fail("{\"a\":\"s1\",\"c\":\"s2\"}", RY_EFORMAT, "does not name tensor b", "s1", "");
    shards_fail("{\"a\":\"s1\",\"b\":\"s1\",\"d\":\"s3\"}", RY_EFORMAT, "tensor b", "two files", "s1 and s3");
    shards_fail("{\"a\":\"s1\",\"b\":\"s1\",\"c\":\"s9\"}", RY_ENOENT, "s9", "not there", "");
    static const char *const outside[] = {"../s1", "/s1", "tmp/../s1", "..", ".", "", "C:s1", "a\\\\b", "s1\\u0000x"};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        char map[64];
        snprintf(map, sizeof map, "{\"a\":\"%s\"}", outside[i]);
        shards_fail(map, RY_EFORMAT, "weight_map", "tensor a", "same folder");
    }
    shards_fail("{\"a\":3}", RY_EFORMAT, "weight_map", "tensor a", "");
    shards_fail("[]", RY_EFORMAT, "weight_map", "object", "");
    shards_fail("{\"a\":\"s1\",\"a\":\"s1\"}", RY_EFORMAT, "twice", "a", "");
    ry_tensor_file *f;
    write_text("tmp_shards/model.safetensors.index.json", "{}");
    assert_is(RY_EFORMAT, ry_tensor_file_open(&f, "tmp_shards"));
    assert_says("weight_map is missing");
    write_text("tmp_shards/s2", "short");
    write_text("tmp_shards/model.safetensors.index.json", "{\"weight_map\":{\"c\":\"s2\"}}");
    assert_is(RY_EFORMAT, ry_tensor_file_open(&f, "tmp_shards"));
    assert_says("tmp_shards/s2", "too few");
    assert_ok(os_remove_tree("tmp_shards"));
}

static ry_status open_memory(void *ud) {
    const bytes *m = ud;
    ry_tensor_file *f = NULL;
    ry_status st = st_open_memory(&f, m->at, m->n, "m.safetensors");
    ry_tensor_file_close(f);
    return st;
}
static ry_status open_path(void *ud) {
    ry_tensor_file *f = NULL;
    ry_status st = ry_tensor_file_open(&f, ud);
    ry_tensor_file_close(f);
    return st;
}
static ry_status write_path(void *ud) {
    float w[2] = {1, 2};
    const ry_named_data t[] = {{"a", RY_SHAPE(RY_F32, 2), w}, {"b", RY_SHAPE(RY_F32, 1), w}};
    const char *const meta[] = {"format", "pt", NULL};
    return ry_tensor_file_write(ud, 2, t, meta);
}

static void allocations(void **state) {
    (void)state;
    bytes m =
        make("{\"__metadata__\":{\"a\":\"b\"},\"x\":" T("[2,2]", "0", "16") ",\"y\":" T("[1]", "16", "20") "}", 20);
    sweep_allocations(open_memory, &m);
    free(m.at);
    fresh_folder("tmp_shards");
    shard("s1", 2, (const char *[]){"a", "b"});
    shard("s2", 1, (const char *[]){"c"});
    write_text("tmp_shards/model.safetensors.index.json", "{\"weight_map\":{\"c\":\"s2\",\"a\":\"s1\",\"b\":\"s1\"}}");
    sweep_allocations(open_path, "tmp_shards");
    sweep_allocations(write_path, "tmp_shards/w.safetensors");
    assert_ok(os_remove_tree("tmp_shards"));
}

static bool opens_whole(void *folder, const char *name) {
    size_t n = strlen(name);
    if (n < 12 || strcmp(name + n - 12, ".safetensors")) return true;
    char *path = os_join(folder, name);
    assert_non_null(path);
    ry_tensor_file *f;
    assert_ok(ry_tensor_file_open(&f, path));
    ry_tensor_file_close(f);
    ry_mem_free(path);
    return true;
}

static void reference_files(void **state) {
    (void)state;
    static const char *const folders[] = {
        "malformed/safetensors/must_load", "vectors/onnx_node_st/dev", "vectors/torch_opinfo",
        "vectors/cs336_snapshots",         "hf/training/llama_untied", "weights/stories260K"};
    static const char *const sets[] = {"hf/models/qwen2", "hf/models/mistral", "hf/models/gemma",
                                       "weights/stories260K/hf"};
    char path[1024];
    if (!test_data(path, sizeof path, "README.md")) skip();
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (test_data(path, sizeof path, folders[i])) assert_ok(os_list(path, opens_whole, path));
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        if (!test_data(path, sizeof path, sets[i])) continue;
        ry_tensor_file *f;
        ry_spec s;
        assert_ok(ry_tensor_file_open(&f, path));
        assert_ok(ry_tensor_file_find(f, "model.embed_tokens.weight", &s, NULL));
        assert_int_equal(s.rank, 2);
        assert_int_equal(st_part_count(f) > 1, i == 0); /* qwen2 is sharded */
        ry_tensor_file_close(f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules),           cmocka_unit_test(header_length), cmocka_unit_test(odd_but_legal),
        cmocka_unit_test(every_dtype),     cmocka_unit_test(truncated),     cmocka_unit_test(write_and_read),
        cmocka_unit_test(source_fails),    cmocka_unit_test(shards),        cmocka_unit_test(allocations),
        cmocka_unit_test(reference_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
