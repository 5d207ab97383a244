/* fuzz_safetensors.c - any bytes as a safetensors file: no crash, no leak, and every tensor that comes out lies within the file. */
#include "base/mem.h"
#include "fuzz/seeds.h"
#include "io/safetensors.h"

static void check(const ry_tensor_file *f, const uint8_t *data, size_t size) {
    size_t total = 0, sum = 0;
    for (size_t i = 0; i < ry_tensor_file_count(f); i++) {
        const st_entry *e = st_entry_at(f, i);
        const uint8_t *p = e->data;
        const char *name;
        ry_spec s;
        const void *at;
        must(p >= data && p <= data + size && e->bytes <= (size_t)(data + size - p));
        for (size_t k = 0; k < e->bytes; k++) sum += p[k]; /* the sanitizer looks on */
        total += e->bytes;
        if (ry_tensor_file_get(f, i, &name, &s, &at) == RY_OK) {
            size_t bytes;
            must(ry_spec_bytes(&bytes, &s) == RY_OK && bytes == e->bytes && at == e->data);
            must(ry_tensor_file_find(f, name, &s, &at) == RY_OK && at == e->data);
        }
    }
    must(total <= size && sum <= 255 * total);
    for (size_t i = 0; i < st_meta_count(f); i++) {
        const char *key, *value;
        st_meta_at(f, i, &key, &value);
        must(ry_tensor_file_meta(f, key) == value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ry_tensor_file *f;
    if (st_open_memory(&f, data, size, "fuzz.safetensors") == RY_OK) {
        check(f, data, size);
        ry_tensor_file_close(f);
    }
    must(ry_mem_live() == 0);
    return 0;
}

#define T(type, shape, begin, end) "{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

size_t fuzz_seeds(int i, unsigned char *buf, size_t cap) {
    static const struct {
        const char *header;
        size_t data;
    } seeds[] = {
        {"{}", 0},
        {" \n{\"x\":" T("F32", "[2,2]", "0", "16") "}  ", 16},
        {"{\"__metadata__\":{\"format\":\"pt\"},\"a\":" T("I64", "[1]", "0", "8") ",\"b\":" T("BF16", "[3]", "8",
                                                                                              "14") "}",
         14},
        {"{\"s\":" T("F64", "[]", "0", "8") ",\"e\":" T("U8", "[0,7]", "8", "8") "}", 8},
        {"{\"f\":" T("F4", "[4]", "0", "2") ",\"g\":" T("F8_E4M3", "[1]", "2", "3") "}", 3},
        {"{\"x\":" T("F32", "[4611686018427387904,8]", "0", "4") "}", 4},
    };
    if (i < 0 || (size_t)i >= sizeof seeds / sizeof *seeds) return 0;
    size_t n = strlen(seeds[i].header), all = 8 + n + seeds[i].data;
    if (all > cap) return 0;
    memset(buf, 0, all);
    buf[0] = (unsigned char)n; /* all are shorter than 256 */
    memcpy(buf + 8, seeds[i].header, n);
    return all;
}
