/* fuzz_gguf.c - any bytes as a GGUF file: no crash, no leak, and every value and tensor that comes out lies within the file. */
#include "base/mem.h"
#include "fuzz/seeds.h"
#include "unit/gguf_make.h"

static bool within(const void *p, size_t n, const uint8_t *data, size_t size) {
    const uint8_t *at = p;
    return at >= data && at <= data + size && n <= (size_t)(data + size - at);
}

static size_t read_all(const void *p, size_t n) { /* the sanitizer looks on */
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += ((const uint8_t *)p)[i];
    return sum;
}

static void check_value(const gguf_file *f, const gguf_value *v, const uint8_t *data, size_t size) {
    char key[64] = "";
    int64_t i;
    double d;
    bool b;
    gguf_text t;
    const gguf_text *list;
    size_t n;
    must(within(v->key.at, v->key.n, data, size));
    for (size_t k = 0; v->texts && k < v->n; k++) {
        must(within(v->texts[k].at, v->texts[k].n, data, size));
        must(read_all(v->texts[k].at, v->texts[k].n) <= 255 * v->texts[k].n);
    }
    for (size_t k = 0; k < v->n && k < 1000 && v->item != GGUF_TEXT && v->item != GGUF_ARRAY; k++) {
        must(v->item == GGUF_F32 || v->item == GGUF_F64 || (double)gguf_item_int(v, k) <= gguf_item_real(v, k) || v->item == GGUF_U64);
    }
    if (v->key.n >= sizeof key) return;
    memcpy(key, v->key.at, v->key.n);
    must(gguf_find(f, key) == v);
    if (gguf_int(&i, f, key, -5, 5, true) == RY_OK) must(i >= -5 && i <= 5);
    if (gguf_real(&d, f, key, true) == RY_OK) must(v->n == 1);
    if (gguf_bool(&b, f, key, true) == RY_OK) must(v->type == GGUF_BOOL);
    if (gguf_string(&t, f, key, true) == RY_OK) must(v->type == GGUF_TEXT && t.at == v->texts->at);
    if (gguf_texts(&list, &n, f, key, true) == RY_OK) must(n == v->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gguf_file *f;
    if (gguf_open_memory(&f, data, size, "fuzz.gguf") == RY_OK) {
        size_t total = 0;
        for (size_t i = 0; i < gguf_value_count(f); i++) check_value(f, gguf_value_at(f, i), data, size);
        for (size_t i = 0; i < gguf_tensor_count(f); i++) {
            const gguf_tensor *t = gguf_tensor_at(f, i);
            size_t bytes;
            must(within(t->data, t->bytes, data, size) && read_all(t->data, t->bytes) <= 255 * t->bytes);
            must(gguf_tensor_find(f, t->name) == t);
            if (t->type) must(ry_spec_bytes(&bytes, &t->spec) == RY_OK && bytes == t->bytes);
            total += t->bytes;
        }
        must(total <= size);
        gguf_close(f);
    }
    must(ry_mem_live() == 0);
    return 0;
}

size_t fuzz_seeds(int i, unsigned char *buf, size_t cap) {
    make_gguf m;
    if (i < 0 || !mk_seed(&m, i) || m.n > cap) return 0;
    memcpy(buf, m.at, m.n);
    return m.n;
}
