/* gguf.c - reads GGUF files (version 2 and 3) in place.  Owns the mapping and the tables of values and tensors.  Believes no number
 * that a file states before it is checked; knows no model.
 *
 * The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md */
#include "io/gguf.h"
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/os.h"
#include "core/op.h"
#include "io/utf8.h"

enum { GGUF_MAX_KEY = 65535, GGUF_MAX_NAME = 64, GGUF_MAX_DIMS = 4, GGUF_MAX_NESTING = 8, GGUF_ALIGNMENT = 32 };

static const struct {
    const char *name;
    unsigned bytes; /* 0: as long as it says */
    bool whole, sign;
} gguf_types[] = {
    [GGUF_U8] = {"u8", 1, true, false},   [GGUF_I8] = {"i8", 1, true, true},      [GGUF_U16] = {"u16", 2, true, false},
    [GGUF_I16] = {"i16", 2, true, true},  [GGUF_U32] = {"u32", 4, true, false},   [GGUF_I32] = {"i32", 4, true, true},
    [GGUF_F32] = {"f32", 4, false, true}, [GGUF_BOOL] = {"bool", 1, false, false}, [GGUF_TEXT] = {"string", 0, false, false},
    [GGUF_ARRAY] = {"array", 0, false, false}, [GGUF_U64] = {"u64", 8, true, false}, [GGUF_I64] = {"i64", 8, true, true},
    [GGUF_F64] = {"f64", 8, false, true},
};
enum { GGUF_TYPES = sizeof gguf_types / sizeof *gguf_types };

/* Tensor types of the format that Rusty does not compute with (ggml's block structs); all others are rows of core/dtype.c. */
static const struct {
    uint32_t number;
    const char *name;
    int block, bytes;
} gguf_foreign[] = {
    {9, "q8_1", 32, 36},      {15, "q8_K", 256, 292},  {16, "iq2_xxs", 256, 66}, {17, "iq2_xs", 256, 74}, {18, "iq3_xxs", 256, 98},
    {19, "iq1_s", 256, 50},   {21, "iq3_s", 256, 110}, {22, "iq2_s", 256, 82},   {23, "iq4_xs", 256, 136}, {25, "i16", 1, 2},
    {29, "iq1_m", 256, 56},   {34, "tq1_0", 256, 54},  {35, "tq2_0", 256, 66},   {40, "nvfp4", 64, 36},
    {41, "q1_0", 128, 18},    {42, "q2_0", 64, 18},
};

struct gguf_file {
    ry_arena arena; /* names and texts */
    os_map map;
    const char *what;
    const unsigned char *base;
    size_t bytes;
    gguf_value *value;
    const gguf_value **by_key;
    size_t n_values;
    gguf_tensor *tensor;
    const gguf_tensor **by_name;
    size_t n_tensors, alignment;
    uint32_t version;
};

/* ---- numbers ---- */
static uint64_t gguf_le(const void *data, size_t n) {
    const unsigned char *p = data;
    uint64_t v = 0;
    while (n-- > 0) v = v << 8 | p[n];
    return v;
}

const char *gguf_type_name(gguf_type t) { return (unsigned)t < GGUF_TYPES ? gguf_types[t].name : "unknown"; }

size_t gguf_type_bytes(gguf_type t) { return (unsigned)t < GGUF_TYPES ? gguf_types[t].bytes : 0; }

/* The row of a tensor type: its dtype (RY_NONE: not ours), block and bytes of a block. NULL: no type of the format. */
static const char *gguf_tensor_row(uint32_t number, ry_dtype *type, int *block, int *bytes) {
    for (int t = RY_NONE + 1; t < RY_DTYPE_COUNT; t++) {
        const ry_dtype_info *r = ry_dtype_row((ry_dtype)t);
        if (r->gguf < 0 || (uint32_t)r->gguf != number) continue;
        *type = (ry_dtype)t, *block = r->block, *bytes = r->bytes;
        return r->name;
    }
    for (size_t i = 0; i < sizeof gguf_foreign / sizeof *gguf_foreign; i++) {
        if (gguf_foreign[i].number != number) continue;
        *type = RY_NONE, *block = gguf_foreign[i].block, *bytes = gguf_foreign[i].bytes;
        return gguf_foreign[i].name;
    }
    return NULL;
}

const char *gguf_tensor_type_name(uint32_t number) {
    ry_dtype type;
    int block, bytes;
    const char *name = gguf_tensor_row(number, &type, &block, &bytes);
    return name ? name : "unknown";
}

int64_t gguf_item_int(const gguf_value *v, size_t i) {
    gguf_type t = v->type == GGUF_ARRAY ? v->item : v->type;
    unsigned n = gguf_types[t].bytes;
    if (i >= v->n || (!gguf_types[t].whole && t != GGUF_BOOL)) return 0;
    uint64_t u = gguf_le((const unsigned char *)v->data + i * n, n);
    if (t == GGUF_BOOL) return u != 0;
    if (!gguf_types[t].sign) return u > INT64_MAX ? INT64_MAX : (int64_t)u;
    uint64_t top = UINT64_C(1) << (8 * n - 1);
    return (int64_t)((u ^ top) - top);
}

double gguf_item_real(const gguf_value *v, size_t i) {
    gguf_type t = v->type == GGUF_ARRAY ? v->item : v->type;
    if (i >= v->n) return 0;
    uint64_t u = t == GGUF_F32 || t == GGUF_F64 ? gguf_le((const unsigned char *)v->data + i * gguf_types[t].bytes, gguf_types[t].bytes) : 0;
    if (t == GGUF_F32) {
        uint32_t bits = (uint32_t)u;
        float f;
        memcpy(&f, &bits, sizeof f);
        return (double)f;
    }
    if (t == GGUF_F64) {
        double d;
        memcpy(&d, &u, sizeof d);
        return d;
    }
    return t == GGUF_U64 ? (double)gguf_le((const unsigned char *)v->data + i * 8, 8) : (double)gguf_item_int(v, i);
}

/* ---- reading ---- */
typedef struct gguf_cursor {
    gguf_file *f;
    size_t at;
    const char *section; /* "metadata" */
    uint64_t index;      /* of the value or tensor */
} gguf_cursor;

static ry_status gguf_take(gguf_cursor *c, uint64_t n, const unsigned char **p) {
    size_t left = c->f->bytes - c->at;
    if (n > left)
        RY_FAIL(RY_EFORMAT, "%s: %s %llu needs %llu bytes at byte %zu, the file has %zu more (truncated?)", c->f->what, c->section,
                (unsigned long long)c->index, (unsigned long long)n, c->at, left);
    *p = c->f->base + c->at;
    c->at += (size_t)n;
    return RY_OK;
}

static ry_status gguf_number(gguf_cursor *c, size_t n, uint64_t *v) {
    const unsigned char *p = NULL;
    RY_TRY(gguf_take(c, n, &p));
    *v = gguf_le(p, n);
    return RY_OK;
}

static ry_status gguf_text_at(gguf_cursor *c, gguf_text *t) {
    uint64_t n = 0;
    const unsigned char *p = NULL;
    RY_TRY(gguf_number(c, 8, &n));
    RY_TRY(gguf_take(c, n, &p));
    *t = (gguf_text){(const char *)p, (size_t)n};
    return RY_OK;
}

/* A key or a tensor's name: not empty, not too long, UTF-8 without 0. */
static ry_status gguf_name_at(gguf_cursor *c, gguf_text *t, size_t most) {
    uint64_t n = 0;
    const unsigned char *p = NULL;
    RY_TRY(gguf_number(c, 8, &n));
    if (n == 0 || n > most)
        RY_FAIL(RY_EFORMAT, "%s: %s %llu: its name has %llu bytes, the format allows 1 to %zu", c->f->what, c->section,
                (unsigned long long)c->index, (unsigned long long)n, most);
    RY_TRY(gguf_take(c, n, &p));
    *t = (gguf_text){(const char *)p, (size_t)n};
    if (utf8_valid(t->at, t->n) != t->n || memchr(t->at, 0, t->n))
        RY_FAIL(RY_EFORMAT, "%s: %s %llu: its name is not UTF-8 text", c->f->what, c->section, (unsigned long long)c->index);
    return RY_OK;
}

static ry_status gguf_bad_type(const gguf_cursor *c, const gguf_text *key, uint64_t type) {
    return ry_fail(RY_EFORMAT, "%s: %.*s: %llu is not a type of the format", c->f->what, (int)key->n, key->at, (unsigned long long)type);
}

/* n items of a type, skipped; an array's items may be arrays. */
static ry_status gguf_skip(gguf_cursor *c, const gguf_text *key, uint64_t type, uint64_t n, int depth) {
    const unsigned char *p = NULL;
    if (type >= GGUF_TYPES) return gguf_bad_type(c, key, type);
    size_t size = gguf_types[type].bytes, least = size ? size : type == GGUF_TEXT ? 8 : 12, left = c->f->bytes - c->at;
    if (n > left / least)
        RY_FAIL(RY_EFORMAT, "%s: %.*s says it has %llu items of %s, the file has %zu more bytes (truncated?)", c->f->what, (int)key->n, key->at,
                (unsigned long long)n, gguf_types[type].name, left);
    if (size) return gguf_take(c, n * size, &p);
    if (type == GGUF_ARRAY && depth >= GGUF_MAX_NESTING)
        RY_FAIL(RY_EFORMAT, "%s: %.*s: more than %d arrays within each other", c->f->what, (int)key->n, key->at, GGUF_MAX_NESTING);
    for (uint64_t i = 0; i < n; i++) {
        gguf_text t;
        uint64_t item = 0, count = 0;
        if (type == GGUF_TEXT) {
            RY_TRY(gguf_text_at(c, &t));
            continue;
        }
        RY_TRY(gguf_number(c, 4, &item));
        RY_TRY(gguf_number(c, 8, &count));
        RY_TRY(gguf_skip(c, key, item, count, depth + 1));
    }
    return RY_OK;
}

static ry_status gguf_read_value(gguf_cursor *c, gguf_value *v) {
    uint64_t type = 0, item = 0, n = 1;
    RY_TRY(gguf_name_at(c, &v->key, GGUF_MAX_KEY));
    RY_TRY(gguf_number(c, 4, &type));
    if (type >= GGUF_TYPES) return gguf_bad_type(c, &v->key, type);
    item = type;
    if (type == GGUF_ARRAY) {
        RY_TRY(gguf_number(c, 4, &item));
        RY_TRY(gguf_number(c, 8, &n));
    }
    size_t begin = c->at;
    RY_TRY(gguf_skip(c, &v->key, item, n, 0));
    v->type = (gguf_type)type, v->item = (gguf_type)item, v->n = (size_t)n;
    v->data = c->f->base + begin;
    if (item != GGUF_TEXT) return RY_OK;
    gguf_cursor again = *c;
    gguf_text *t = RY_NEW(&c->f->arena, gguf_text, n ? n : 1);
    if (!t) return RY_ENOMEM;
    again.at = begin;
    for (uint64_t i = 0; i < n; i++) RY_TRY(gguf_text_at(&again, &t[i]));
    v->texts = t;
    return RY_OK;
}

static int gguf_compare(const gguf_text *a, const gguf_text *b) {
    int d = memcmp(a->at, b->at, a->n < b->n ? a->n : b->n);
    return d ? d : a->n < b->n ? -1 : a->n > b->n;
}
static int gguf_by_key(const void *a, const void *b) {
    return gguf_compare(&(*(const gguf_value *const *)a)->key, &(*(const gguf_value *const *)b)->key);
}
static int gguf_key_is(const void *key, const void *v) { return gguf_compare(key, &(*(const gguf_value *const *)v)->key); }
static int gguf_by_name(const void *a, const void *b) {
    return strcmp((*(const gguf_tensor *const *)a)->name, (*(const gguf_tensor *const *)b)->name);
}
static int gguf_name_is(const void *name, const void *t) { return strcmp(name, (*(const gguf_tensor *const *)t)->name); }

/* A count that the file states for records of at least `least` bytes. */
static ry_status gguf_count(const gguf_file *f, const char *section, uint64_t n, size_t least) {
    if (n > f->bytes / least)
        RY_FAIL(RY_EFORMAT, "%s: the header counts %llu %s, a file of %zu bytes cannot hold them", f->what, (unsigned long long)n, section, f->bytes);
    return RY_OK;
}

static ry_status gguf_read_values(gguf_cursor *c, uint64_t n) {
    gguf_file *f = c->f;
    RY_TRY(gguf_count(f, "metadata values", n, 8 + 1 + 4 + 1));
    f->n_values = (size_t)n;
    f->value = RY_NEW(&f->arena, gguf_value, n ? n : 1);
    f->by_key = RY_NEW(&f->arena, const gguf_value *, n ? n : 1);
    if (!f->value || !f->by_key) return RY_ENOMEM;
    c->section = "metadata value";
    for (size_t i = 0; i < f->n_values; i++) {
        c->index = i;
        RY_TRY(gguf_read_value(c, &f->value[i]));
        f->by_key[i] = &f->value[i];
    }
    if (n) qsort(f->by_key, f->n_values, sizeof *f->by_key, gguf_by_key);
    for (size_t i = 1; i < f->n_values; i++)
        if (!gguf_by_key(&f->by_key[i - 1], &f->by_key[i]))
            RY_FAIL(RY_EFORMAT, "%s: the metadata key %.*s stands twice", f->what, (int)f->by_key[i]->key.n, f->by_key[i]->key.at);
    return RY_OK;
}

static ry_status gguf_read_alignment(gguf_file *f) {
    const gguf_value *v = gguf_find(f, "general.alignment");
    f->alignment = GGUF_ALIGNMENT;
    if (!v) return RY_OK;
    int64_t a = v->type == GGUF_U32 ? gguf_item_int(v, 0) : 0;
    if (a <= 0 || (a & (a - 1))) RY_FAIL(RY_EFORMAT, "%s: general.alignment must be a power of two, as u32", f->what);
    f->alignment = (size_t)a;
    return RY_OK;
}

/* One row of the tensor table; *offset is relative to the data. */
static ry_status gguf_read_tensor(gguf_cursor *c, gguf_tensor *t, uint64_t *offset) {
    gguf_file *f = c->f;
    gguf_text name = {0};
    uint64_t rank = 0, dim[GGUF_MAX_DIMS] = {0}, number = 0, elements = 1;
    int block = 1, bytes = 0;
    RY_TRY(gguf_name_at(c, &name, GGUF_MAX_NAME));
    if (!(t->name = ry_arena_printf(&f->arena, "%.*s", (int)name.n, name.at))) return RY_ENOMEM;
    RY_TRY(gguf_number(c, 4, &rank));
    if (rank > GGUF_MAX_DIMS)
        RY_FAIL(RY_EFORMAT, "%s: tensor %s has %llu dimensions, the format allows %d", f->what, t->name, (unsigned long long)rank, GGUF_MAX_DIMS);
    bool empty = false;
    for (uint64_t i = 0; i < rank; i++) {
        RY_TRY(gguf_number(c, 8, &dim[i]));
        if (dim[i] > INT64_MAX)
            RY_FAIL(RY_EFORMAT, "%s: tensor %s: dimension %llu is %llu, which is too large", f->what, t->name, (unsigned long long)i,
                    (unsigned long long)dim[i]);
        empty |= dim[i] == 0;
    }
    for (uint64_t i = 0; i < rank && !empty; i++) {
        if (elements > (uint64_t)INT64_MAX / dim[i]) RY_FAIL(RY_EFORMAT, "%s: tensor %s: its shape overflows 64 bits", f->what, t->name);
        elements *= dim[i];
    }
    RY_TRY(gguf_number(c, 4, &number));
    t->type_number = (uint32_t)number;
    if (!gguf_tensor_row(t->type_number, &t->type, &block, &bytes))
        RY_FAIL(RY_EFORMAT, "%s: tensor %s: %llu is not a tensor type of the format, or one that was removed from it", f->what, t->name,
                (unsigned long long)number);
    if ((rank ? dim[0] : 1) % (uint64_t)block)
        RY_FAIL(RY_EFORMAT, "%s: tensor %s: a row of %llu is not a multiple of the blocks of %s, which have %d", f->what, t->name,
                (unsigned long long)(rank ? dim[0] : 1), gguf_tensor_type_name(t->type_number), block);
    uint64_t blocks = empty ? 0 : elements / (uint64_t)block;
    if (blocks > SIZE_MAX / 2 / (uint64_t)bytes) RY_FAIL(RY_EFORMAT, "%s: tensor %s: its size overflows 64 bits", f->what, t->name);
    t->bytes = (size_t)(blocks * (uint64_t)bytes);
    t->spec = (ry_spec){.dtype = t->type, .rank = (int)rank};
    for (uint64_t i = 0; i < rank; i++) t->spec.dim[i] = (int64_t)dim[rank - 1 - i];
    return gguf_number(c, 8, offset);
}

typedef struct gguf_place {
    uint64_t offset;
    gguf_tensor *t;
} gguf_place;

static int gguf_by_place(const void *pa, const void *pb) {
    const gguf_place *a = pa, *b = pb;
    if (a->offset != b->offset) return a->offset < b->offset ? -1 : 1;
    if (a->t->bytes != b->t->bytes) return a->t->bytes < b->t->bytes ? -1 : 1;
    return a->t < b->t ? -1 : a->t > b->t;
}

/* Sorted by place the tensors must follow each other at the file's alignment. What is behind the last one is nobody's. */
static ry_status gguf_place_tensors(gguf_file *f, size_t data_at, gguf_place *place) {
    size_t mask = f->alignment - 1, begin = data_at + (-data_at & mask), left = f->bytes > begin ? f->bytes - begin : 0;
    uint64_t expected = 0;
    if (f->n_tensors) qsort(place, f->n_tensors, sizeof *place, gguf_by_place);
    for (size_t i = 0; i < f->n_tensors; i++) {
        gguf_tensor *t = place[i].t;
        uint64_t at = place[i].offset;
        if (at & mask)
            RY_FAIL(RY_EFORMAT, "%s: tensor %s begins at byte %llu of the data, which is no multiple of the alignment, %zu", f->what, t->name,
                    (unsigned long long)at, f->alignment);
        if (at < expected)
            RY_FAIL(RY_EFORMAT, "%s: tensor %s begins at byte %llu of the data and overlaps %s, which ends at %llu", f->what, t->name,
                    (unsigned long long)at, place[i - 1].t->name, (unsigned long long)(place[i - 1].offset + place[i - 1].t->bytes));
        if (at > left || t->bytes > left - at)
            RY_FAIL(RY_EFORMAT, "%s: tensor %s needs %zu bytes from byte %llu of the data, the file has %zu bytes of data (truncated?)", f->what,
                    t->name, t->bytes, (unsigned long long)at, left);
        if (at > expected)
            RY_FAIL(RY_EFORMAT, "%s: tensor %s begins at byte %llu of the data and leaves a gap from %llu", f->what, t->name, (unsigned long long)at,
                    (unsigned long long)expected);
        t->data = t->bytes ? f->base + begin + at : f->base; /* an empty one may lie behind the file's end */
        uint64_t end = at + t->bytes;
        expected = end + (-end & mask);
        if (i + 1 == f->n_tensors && left > end && left < expected) /* some writers leave the last padding out; none writes half of it */
            RY_FAIL(RY_EFORMAT, "%s: the file ends within the padding of its last tensor, %s (truncated?)", f->what, t->name);
    }
    return RY_OK;
}

static ry_status gguf_read_tensors(gguf_cursor *c, uint64_t n) {
    gguf_file *f = c->f;
    RY_TRY(gguf_count(f, "tensors", n, 8 + 1 + 4 + 4 + 8));
    f->n_tensors = (size_t)n;
    f->tensor = RY_NEW(&f->arena, gguf_tensor, n ? n : 1);
    f->by_name = RY_NEW(&f->arena, const gguf_tensor *, n ? n : 1);
    gguf_place *place = f->tensor && f->by_name ? ry_mem_alloc(ry_mem_size(f->n_tensors, sizeof *place, 1)) : NULL;
    ry_status st = place ? RY_OK : RY_ENOMEM;
    c->section = "tensor";
    for (size_t i = 0; i < f->n_tensors && st == RY_OK; i++) {
        c->index = i;
        st = gguf_read_tensor(c, &f->tensor[i], &place[i].offset);
        f->by_name[i] = place[i].t = &f->tensor[i];
    }
    if (st == RY_OK) {
        if (n) qsort(f->by_name, f->n_tensors, sizeof *f->by_name, gguf_by_name);
        for (size_t i = 1; i < f->n_tensors && st == RY_OK; i++)
            if (!gguf_by_name(&f->by_name[i - 1], &f->by_name[i]))
                st = ry_fail(RY_EFORMAT, "%s: two tensors are named %s", f->what, f->by_name[i]->name);
    }
    if (st == RY_OK) st = gguf_place_tensors(f, c->at, place);
    ry_mem_free(place);
    return st;
}

static ry_status gguf_read(gguf_file *f) {
    gguf_cursor c = {.f = f, .section = "header field"};
    const unsigned char *p = f->base;
    if (f->bytes < 4 || memcmp(p, "GGUF", 4)) RY_FAIL(RY_EFORMAT, "%s: not a GGUF file: it does not begin with GGUF", f->what);
    if (f->bytes < 24) RY_FAIL(RY_EFORMAT, "%s: %zu bytes are too few for a GGUF file (its header takes 24)", f->what, f->bytes);
    uint64_t version = gguf_le(p + 4, 4), tensors = gguf_le(p + 8, 8), values = gguf_le(p + 16, 8);
    if (version && !(version & 0xFFFF))
        RY_FAIL(RY_EUNSUPPORTED, "%s: a big-endian GGUF file; convert it (gguf-py's gguf-convert-endian) to little-endian", f->what);
    if (version == 1) RY_FAIL(RY_EUNSUPPORTED, "%s: GGUF version 1, which was short-lived; convert the model again (versions 2 and 3 are read)", f->what);
    if (version != 2 && version != 3)
        RY_FAIL(RY_EUNSUPPORTED, "%s: GGUF version %llu is not known; versions 2 and 3 are read", f->what, (unsigned long long)version);
    f->version = (uint32_t)version;
    c.at = 24;
    RY_TRY(gguf_read_values(&c, values));
    RY_TRY(gguf_read_alignment(f));
    return gguf_read_tensors(&c, tensors);
}

/* ---- opening ---- */
static ry_status gguf_new(gguf_file **out, const char *what) {
    gguf_file *f = ry_mem_zalloc(sizeof *f);
    if (!f) return RY_ENOMEM;
    if (!(f->what = ry_arena_strdup(&f->arena, what))) {
        gguf_close(f);
        return RY_ENOMEM;
    }
    *out = f;
    return RY_OK;
}

ry_status gguf_open_memory(gguf_file **out, const void *data, size_t bytes, const char *what) {
    gguf_file *f;
    RY_TRY(gguf_new(&f, what));
    f->base = data, f->bytes = bytes; /* no mapping: closing leaves the memory alone */
    ry_status st = gguf_read(f);
    if (st != RY_OK) {
        gguf_close(f);
        return st;
    }
    *out = f;
    return RY_OK;
}

ry_status gguf_open(gguf_file **out, const char *path) {
    gguf_file *f;
    RY_TRY(gguf_new(&f, path));
    ry_status st = os_map_open(&f->map, path);
    if (st == RY_OK) {
        f->base = f->map.data, f->bytes = f->map.bytes;
        st = gguf_read(f);
    }
    if (st != RY_OK) {
        gguf_close(f);
        return st;
    }
    *out = f;
    return RY_OK;
}

void gguf_close(gguf_file *f) {
    if (!f) return;
    os_map_close(&f->map); /* nothing where no file was mapped */
    ry_arena_free(&f->arena);
    ry_mem_free(f);
}

/* ---- looking ---- */
const char *gguf_name(const gguf_file *f) { return f->what; }
uint32_t gguf_version(const gguf_file *f) { return f->version; }
size_t gguf_value_count(const gguf_file *f) { return f->n_values; }
const gguf_value *gguf_value_at(const gguf_file *f, size_t i) { return &f->value[i]; }
size_t gguf_tensor_count(const gguf_file *f) { return f->n_tensors; }
const gguf_tensor *gguf_tensor_at(const gguf_file *f, size_t i) { return &f->tensor[i]; }

const gguf_value *gguf_find(const gguf_file *f, const char *key) {
    gguf_text k = {key, strlen(key)};
    const gguf_value **v = f->n_values ? bsearch(&k, f->by_key, f->n_values, sizeof *f->by_key, gguf_key_is) : NULL;
    return v ? *v : NULL;
}

const gguf_tensor *gguf_tensor_find(const gguf_file *f, const char *name) {
    const gguf_tensor **t = f->n_tensors ? bsearch(name, f->by_name, f->n_tensors, sizeof *f->by_name, gguf_name_is) : NULL;
    return t ? *t : NULL;
}

/* *v: the value, or NULL where it is absent and need not be there. */
static ry_status gguf_get(const gguf_value **v, const gguf_file *f, const char *key, bool need) {
    *v = gguf_find(f, key);
    if (!*v && need) RY_FAIL(RY_EFORMAT, "%s: the metadata key %s is missing", f->what, key);
    return RY_OK;
}

static ry_status gguf_is_not(const gguf_file *f, const char *key, const char *wanted, const gguf_value *v) {
    bool array = v->type == GGUF_ARRAY;
    return ry_fail(RY_EFORMAT, "%s: %s must be %s, it is %s%s", f->what, key, wanted, array ? "an array of " : "",
                   gguf_types[array ? v->item : v->type].name);
}

ry_status gguf_int(int64_t *out, const gguf_file *f, const char *key, int64_t min, int64_t max, bool need) {
    const gguf_value *v;
    RY_TRY(gguf_get(&v, f, key, need));
    if (!v) return RY_OK;
    if (!gguf_types[v->type].whole) return gguf_is_not(f, key, "an integer", v);
    int64_t i = gguf_item_int(v, 0);
    if (i < min || i > max)
        RY_FAIL(RY_EFORMAT, "%s: %s must be from %lld to %lld, it is %lld", f->what, key, (long long)min, (long long)max, (long long)i);
    *out = i;
    return RY_OK;
}

ry_status gguf_real(double *out, const gguf_file *f, const char *key, bool need) {
    const gguf_value *v;
    RY_TRY(gguf_get(&v, f, key, need));
    if (!v) return RY_OK;
    if (!gguf_types[v->type].whole && v->type != GGUF_F32 && v->type != GGUF_F64) return gguf_is_not(f, key, "a number", v);
    *out = gguf_item_real(v, 0);
    return RY_OK;
}

ry_status gguf_bool(bool *out, const gguf_file *f, const char *key, bool need) {
    const gguf_value *v;
    RY_TRY(gguf_get(&v, f, key, need));
    if (!v) return RY_OK;
    if (v->type != GGUF_BOOL) return gguf_is_not(f, key, "a bool", v);
    *out = gguf_item_int(v, 0);
    return RY_OK;
}

static ry_status gguf_check_text(const gguf_file *f, const char *key, const gguf_text *t, size_t i) {
    if (utf8_valid(t->at, t->n) == t->n) return RY_OK;
    return ry_fail(RY_EFORMAT, "%s: %s: text %zu is not UTF-8", f->what, key, i);
}

ry_status gguf_string(gguf_text *out, const gguf_file *f, const char *key, bool need) {
    const gguf_value *v;
    RY_TRY(gguf_get(&v, f, key, need));
    if (!v) return RY_OK;
    if (v->type != GGUF_TEXT) return gguf_is_not(f, key, "a string", v);
    RY_TRY(gguf_check_text(f, key, v->texts, 0));
    *out = v->texts[0];
    return RY_OK;
}

ry_status gguf_texts(const gguf_text **out, size_t *n, const gguf_file *f, const char *key, bool need) {
    const gguf_value *v;
    RY_TRY(gguf_get(&v, f, key, need));
    if (!v) return RY_OK;
    if (v->type != GGUF_ARRAY || v->item != GGUF_TEXT) return gguf_is_not(f, key, "an array of strings", v);
    for (size_t i = 0; i < v->n; i++) RY_TRY(gguf_check_text(f, key, &v->texts[i], i));
    *out = v->texts, *n = v->n;
    return RY_OK;
}
