/* gguf_write.c - writes GGUF files, version 3, little-endian, at the usual alignment of 32.  Owns nothing after it returns. */
#include "io/gguf_write.h"
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/os.h"
#include "core/op.h"

enum { GGUF_OUT_VERSION = 3, GGUF_OUT_ALIGN = 32, GGUF_OUT_NAME = 63, GGUF_OUT_DIMS = 4 };

/* ---- metadata ---- */
static void put_le(ry_text *t, uint64_t v, size_t n) {
    char b[8];
    for (size_t i = 0; i < n; i++) b[i] = (char)(unsigned char)(v >> 8 * i);
    ry_text_add(t, b, n);
}
static void put_string(ry_text *t, const char *s, size_t n) {
    put_le(t, n, 8);
    ry_text_add(t, s, n);
}
static void put_key(gguf_meta *m, const char *key, gguf_type type) {
    put_string(&m->bytes, key, strlen(key));
    put_le(&m->bytes, type, 4);
    m->n++;
}
static void put_array(gguf_meta *m, const char *key, gguf_type item, size_t n) {
    put_key(m, key, GGUF_ARRAY);
    put_le(&m->bytes, item, 4);
    put_le(&m->bytes, n, 8);
}
static uint32_t float_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

void gguf_put_u32(gguf_meta *m, const char *key, uint32_t v) {
    put_key(m, key, GGUF_U32);
    put_le(&m->bytes, v, 4);
}
void gguf_put_f32(gguf_meta *m, const char *key, double v) {
    put_key(m, key, GGUF_F32);
    put_le(&m->bytes, float_bits((float)v), 4);
}
void gguf_put_bool(gguf_meta *m, const char *key, bool v) {
    put_key(m, key, GGUF_BOOL);
    put_le(&m->bytes, v, 1);
}
void gguf_put_text(gguf_meta *m, const char *key, const char *s, size_t n) {
    put_key(m, key, GGUF_TEXT);
    put_string(&m->bytes, s, n);
}
void gguf_put_u32s(gguf_meta *m, const char *key, const uint32_t *v, size_t n) {
    put_array(m, key, GGUF_U32, n);
    for (size_t i = 0; i < n; i++) put_le(&m->bytes, v[i], 4);
}
void gguf_put_i32s(gguf_meta *m, const char *key, const int32_t *v, size_t n) {
    put_array(m, key, GGUF_I32, n);
    for (size_t i = 0; i < n; i++) put_le(&m->bytes, (uint32_t)v[i], 4);
}
void gguf_put_f32s(gguf_meta *m, const char *key, const float *v, size_t n) {
    put_array(m, key, GGUF_F32, n);
    for (size_t i = 0; i < n; i++) put_le(&m->bytes, float_bits(v[i]), 4);
}
void gguf_put_u8s(gguf_meta *m, const char *key, const void *v, size_t n) {
    put_array(m, key, GGUF_U8, n);
    ry_text_add(&m->bytes, v, n);
}
void gguf_put_bools(gguf_meta *m, const char *key, const bool *v, size_t n) {
    put_array(m, key, GGUF_BOOL, n);
    for (size_t i = 0; i < n; i++) put_le(&m->bytes, v[i], 1);
}
void gguf_put_texts(gguf_meta *m, const char *key, const gguf_text *v, size_t n) {
    put_array(m, key, GGUF_TEXT, n);
    for (size_t i = 0; i < n; i++) put_string(&m->bytes, v[i].at, v[i].n);
}
void gguf_put_value(gguf_meta *m, const gguf_value *v) {
    if (v->item == GGUF_ARRAY) return;
    put_string(&m->bytes, v->key.at, v->key.n);
    put_le(&m->bytes, v->type, 4);
    m->n++;
    if (v->type == GGUF_ARRAY) {
        put_le(&m->bytes, v->item, 4);
        put_le(&m->bytes, v->n, 8);
    }
    for (size_t i = 0; i < v->n && v->item == GGUF_TEXT; i++) put_string(&m->bytes, v->texts[i].at, v->texts[i].n);
    if (v->item != GGUF_TEXT) ry_text_add(&m->bytes, v->data, v->n * gguf_type_bytes(v->item));
}
void gguf_meta_free(gguf_meta *m) {
    ry_text_free(&m->bytes);
    m->n = 0;
}

/* ---- the file ---- */
static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static ry_status check_names(const char *path, size_t n, const ry_named_data *t) {
    const char **name = ry_mem_alloc(ry_mem_size(n, sizeof *name, 1));
    if (!name) return RY_ENOMEM;
    ry_status st = RY_OK;
    for (size_t i = 0; i < n; i++) name[i] = t[i].name;
    if (n) qsort(name, n, sizeof *name, by_name);
    for (size_t i = 1; i < n && st == RY_OK; i++)
        if (!strcmp(name[i - 1], name[i])) st = ry_fail(RY_EARG, "%s: two tensors are named %s", path, name[i]);
    ry_mem_free(name);
    return st;
}

static void pad(ry_text *t) {
    static const char zeros[GGUF_OUT_ALIGN];
    ry_text_add(t, zeros, -t->n % GGUF_OUT_ALIGN);
}

/* The table of tensors; *total: bytes of the data. */
static ry_status put_table(ry_text *head, const char *path, size_t n, const ry_named_data *t) {
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const ry_spec *s = &t[i].spec;
        int number = ry_dtype_row(s->dtype)->gguf;
        size_t bytes, len = strlen(t[i].name);
        if (!len || len > GGUF_OUT_NAME)
            RY_FAIL(RY_EARG, "%s: tensor %s: its name has %zu bytes, GGUF readers take 1 to %d", path, t[i].name, len, GGUF_OUT_NAME);
        if (number < 0) RY_FAIL(RY_EDTYPE, "%s: tensor %s: GGUF has no type for %s", path, t[i].name, ry_dtype_name(s->dtype));
        if (s->rank > GGUF_OUT_DIMS) RY_FAIL(RY_EARG, "%s: tensor %s has %d dimensions, GGUF takes %d", path, t[i].name, s->rank, GGUF_OUT_DIMS);
        ry_status st = ry_spec_bytes(&bytes, s);
        if (st != RY_OK) return ry_fail_in(st, "%s: tensor %s", path, t[i].name);
        put_string(head, t[i].name, len);
        put_le(head, (uint64_t)s->rank, 4);
        for (int k = s->rank; k-- > 0;) put_le(head, (uint64_t)s->dim[k], 8);
        put_le(head, (uint64_t)number, 4);
        put_le(head, at, 8);
        at += bytes + (-(uint64_t)bytes & (GGUF_OUT_ALIGN - 1));
    }
    pad(head);
    return ry_text_status(head);
}

static ry_status put_data(os_out *o, size_t n, const ry_named_data *t, gguf_source source, void *ud) {
    static const char zeros[GGUF_OUT_ALIGN];
    for (size_t i = 0; i < n; i++) {
        const void *data;
        size_t bytes;
        RY_TRY(ry_spec_bytes(&bytes, &t[i].spec));
        RY_TRY(source(ud, i, &data));
        if (bytes) RY_TRY(os_out_write(o, data, bytes));
        if (bytes % GGUF_OUT_ALIGN) RY_TRY(os_out_write(o, zeros, GGUF_OUT_ALIGN - bytes % GGUF_OUT_ALIGN));
    }
    return RY_OK;
}

/* The header as it will be read: a key put twice or that is no text is an error before anything is written. */
static ry_status check_meta(const char *path, const gguf_meta *m) {
    gguf_file *f;
    ry_text t = {0};
    ry_text_add(&t, "GGUF", 4);
    put_le(&t, GGUF_OUT_VERSION, 4);
    put_le(&t, 0, 8);
    put_le(&t, m->n, 8);
    ry_text_add(&t, m->bytes.at, m->bytes.n);
    ry_status st = m->bytes.failed ? RY_ENOMEM : ry_text_status(&t);
    if (st == RY_OK) st = gguf_open_memory(&f, t.at, t.n, path);
    if (st == RY_OK) gguf_close(f);
    ry_text_free(&t);
    return st == RY_EFORMAT ? RY_EARG : st;
}

ry_status gguf_write(const char *path, const gguf_meta *m, size_t n, const ry_named_data *t, gguf_source source, void *ud) {
    ry_text head = {0};
    os_out *o = NULL;
    ry_status st = check_meta(path, m);
    if (st == RY_OK) st = check_names(path, n, t);
    ry_text_add(&head, "GGUF", 4);
    put_le(&head, GGUF_OUT_VERSION, 4);
    put_le(&head, n, 8);
    put_le(&head, m->n, 8);
    ry_text_add(&head, m->bytes.at, m->bytes.n);
    if (st == RY_OK) st = put_table(&head, path, n, t);
    if (st == RY_OK) st = os_out_open(&o, path);
    if (st == RY_OK && (st = os_out_write(o, head.at, head.n)) == RY_OK) st = put_data(o, n, t, source, ud);
    if (o && st == RY_OK) st = os_out_commit(o);
    else if (o) os_out_abort(o);
    ry_text_free(&head);
    return st;
}
