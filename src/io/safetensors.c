/* safetensors.c - reads safetensors files, whole or in shards, in place; writes them tensor by tensor.  Owns the mappings.  Believes
 * no number that a file states before it is checked.
 *
 * The format: https://github.com/huggingface/safetensors (README, safetensors/src/tensor.rs). */
#include "io/safetensors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/os.h"
#include "base/text.h"
#include "core/op.h"
#include "io/json.h"
#include "io/utf8.h"

enum { ST_MAX_HEADER = 100000000 };
static const char st_metadata[] = "__metadata__";

/* Every dtype of the format in its writers' order (ascending alignment). bits: of those that Rusty does not compute with. */
static const struct {
    const char *name;
    unsigned bits;
} st_dtypes[] = {
    {"BOOL", 0},    {"F4", 4},      {"F6_E2M3", 6},     {"F6_E3M2", 6},     {"U8", 0},      {"I8", 0},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E5M2FNUZ", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E8M0", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 0},     {"BF16", 0},        {"I32", 0},         {"U32", 32},    {"F32", 0},
    {"C64", 64},    {"F64", 0},     {"I64", 0},         {"U64", 64},
};
enum { ST_DTYPES = sizeof st_dtypes / sizeof *st_dtypes };

static int st_dtype_find(const char *name) {
    for (int i = 0; i < ST_DTYPES; i++)
        if (!strcmp(st_dtypes[i].name, name)) return i;
    return -1;
}

typedef struct st_part {
    os_map map;
    const char *name;
} st_part;
typedef struct st_pair {
    const char *key, *value;
} st_pair;

struct ry_tensor_file {
    ry_arena arena; /* names, shapes, metadata */
    const char *what;
    RY_VEC(st_part) part;
    RY_VEC(st_entry) entry;
    RY_VEC(st_pair) meta;
    const st_entry **by_name;
};

/* ---- one file ---- */
/* A list of n non-negative integers into out. */
static bool st_sizes(const ry_json *list, size_t n, int64_t *out) {
    for (size_t i = 0; i < n; i++) {
        const ry_json *j = ry_json_at(list, i);
        if (ry_json_kind_of(j) != RY_JSON_INT || !ry_json_as_int(j, &out[i]) || out[i] < 0) return false;
    }
    return true;
}

/* Bytes that dtype and shape ask for. */
static ry_status st_bytes(uint64_t *out, const st_entry *e, int dtype, const char *what) {
    uint64_t bits = st_dtypes[dtype].bits, n = 1;
    if (e->type != RY_NONE) bits = 8u * (uint64_t)ry_dtype_row(e->type)->bytes;
    for (int i = 0; i < e->rank; i++) {
        uint64_t dim = (uint64_t)e->dim[i];
        if (dim && n > UINT64_MAX / dim)
            RY_FAIL(RY_EFORMAT, "%s: tensor %s: its shape overflows 64 bits", what, e->name);
        n *= dim;
    }
    if (n > UINT64_MAX / bits) RY_FAIL(RY_EFORMAT, "%s: tensor %s: its shape overflows 64 bits", what, e->name);
    if (n * bits % 8)
        RY_FAIL(RY_EFORMAT, "%s: tensor %s: %s of this shape does not fill whole bytes", what, e->name, e->dtype);
    *out = n * bits / 8;
    return RY_OK;
}

static ry_status st_read_entry(ry_tensor_file *f, const char *what, size_t part, const char *key, const ry_json *j,
                               const unsigned char *data, size_t bytes) {
    st_entry *e = RY_PUSH(&f->entry);
    if (!e) return RY_ENOMEM;
    e->part = part;
    if (!(e->name = ry_arena_strdup(&f->arena, key))) return RY_ENOMEM;
    if (ry_json_kind_of(j) != RY_JSON_OBJECT) RY_FAIL(RY_EFORMAT, "%s: tensor %s must be an object", what, key);

    const char *dtype = ry_json_as_text(ry_json_find(j, "dtype"), NULL);
    if (!dtype) RY_FAIL(RY_EFORMAT, "%s: tensor %s: dtype must be a string", what, key);
    int known = st_dtype_find(dtype);
    if (known < 0) RY_FAIL(RY_EFORMAT, "%s: tensor %s: dtype %s is not one of the format", what, key, dtype);
    e->dtype = st_dtypes[known].name;
    e->type = ry_dtype_from_safetensors(e->dtype);

    const ry_json *shape = ry_json_find(j, "shape"), *offsets = ry_json_find(j, "data_offsets");
    size_t rank = ry_json_count(shape);
    int64_t *dim = RY_NEW(&f->arena, int64_t, rank ? rank : 1), at[2];
    if (!dim) return RY_ENOMEM;
    if (ry_json_kind_of(shape) != RY_JSON_ARRAY || rank > INT32_MAX || !st_sizes(shape, rank, dim))
        RY_FAIL(RY_EFORMAT, "%s: tensor %s: shape must be a list of sizes", what, key);
    e->rank = (int)rank;
    e->dim = dim;
    if (ry_json_kind_of(offsets) != RY_JSON_ARRAY || ry_json_count(offsets) != 2 || !st_sizes(offsets, 2, at) ||
        at[0] > at[1])
        RY_FAIL(RY_EFORMAT, "%s: tensor %s: data_offsets must be [begin, end]", what, key);

    uint64_t need = 0, begin = (uint64_t)at[0], end = (uint64_t)at[1];
    RY_TRY(st_bytes(&need, e, known, what));
    if (end - begin != need)
        RY_FAIL(RY_EFORMAT, "%s: tensor %s: data_offsets span %llu bytes, dtype and shape need %llu", what, key,
                (unsigned long long)(end - begin), (unsigned long long)need);
    if (end > bytes)
        RY_FAIL(RY_EFORMAT, "%s: tensor %s: data_offsets end at byte %llu, the file has %zu bytes of data (truncated?)",
                what, key, (unsigned long long)end, bytes);
    e->bytes = (size_t)need;
    e->data = data + begin;
    return RY_OK;
}

static int st_by_place(const void *pa, const void *pb) {
    const st_entry *a = pa, *b = pb;
    const char *x = a->data, *y = b->data;
    if (x != y) return x < y ? -1 : 1;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* Sorted by place, the tensors must tile the data: no gap, no overlap, nothing left. */
static ry_status st_check_tiling(st_entry *e, size_t n, const char *data, size_t bytes, const char *what) {
    if (n) qsort(e, n, sizeof *e, st_by_place);
    size_t done = 0;
    for (size_t i = 0; i < n; i++) {
        size_t begin = (size_t)((const char *)e[i].data - data);
        if (begin > done)
            RY_FAIL(RY_EFORMAT, "%s: tensor %s: data_offsets begin at %zu and leave a gap from %zu", what, e[i].name,
                    begin, done);
        if (begin < done)
            RY_FAIL(RY_EFORMAT, "%s: tensor %s: data_offsets begin at %zu and overlap those of %s, which end at %zu",
                    what, e[i].name, begin, e[i - 1].name, done);
        done = begin + e[i].bytes;
    }
    if (done < bytes)
        RY_FAIL(RY_EFORMAT, "%s: %zu bytes after the last tensor belong to none (data_offsets end at %zu)", what,
                bytes - done, done);
    return RY_OK;
}

static ry_status st_read_meta(ry_tensor_file *f, const char *what, const ry_json *j) {
    if (ry_json_kind_of(j) == RY_JSON_NULL) return RY_OK;
    if (ry_json_kind_of(j) != RY_JSON_OBJECT)
        RY_FAIL(RY_EFORMAT, "%s: %s must be an object of strings", what, st_metadata);
    for (ry_json_it it = ry_json_first(j); it.value; it = ry_json_next(j, it)) {
        const char *value = ry_json_as_text(it.value, NULL);
        if (!value) RY_FAIL(RY_EFORMAT, "%s: %s: %s must be a string", what, st_metadata, it.key);
        bool seen = false; /* shards repeat it: the first file's word holds */
        for (size_t i = 0; i < f->meta.n && !seen; i++) seen = !strcmp(f->meta.at[i].key, it.key);
        if (seen) continue;
        st_pair *p = RY_PUSH(&f->meta);
        if (!p) return RY_ENOMEM;
        p->key = ry_arena_strdup(&f->arena, it.key);
        p->value = ry_arena_strdup(&f->arena, value);
        if (!p->key || !p->value) return RY_ENOMEM;
    }
    return RY_OK;
}

static ry_status st_read_header(ry_tensor_file *f, const char *what, size_t part, const ry_json *root, const char *data,
                                size_t bytes) {
    RY_TRY(ry_json_need_object(root, what));
    size_t first = f->entry.n;
    for (ry_json_it it = ry_json_first(root); it.value; it = ry_json_next(root, it))
        RY_TRY(strcmp(it.key, st_metadata)
                   ? st_read_entry(f, what, part, it.key, it.value, (const unsigned char *)data, bytes)
                   : st_read_meta(f, what, it.value));
    size_t n = f->entry.n - first;
    return st_check_tiling(n ? f->entry.at + first : NULL, n, data, bytes, what);
}

/* Appends the tensors of one whole file that lies in memory. */
static ry_status st_read_part(ry_tensor_file *f, const char *what, size_t part, const void *mem, size_t bytes) {
    const unsigned char *p = mem;
    if (bytes < 8)
        RY_FAIL(RY_EFORMAT, "%s: %zu bytes are too few for a safetensors file (its header's length takes 8)", what,
                bytes);
    uint64_t n = 0;
    for (int i = 8; i-- > 0;) n = n << 8 | p[i];
    if (n > ST_MAX_HEADER)
        RY_FAIL(RY_EFORMAT, "%s: not a safetensors file: its header would have %llu bytes (at most %d)", what,
                (unsigned long long)n, ST_MAX_HEADER);
    if (n > bytes - 8)
        RY_FAIL(RY_EFORMAT, "%s: the header's length says %llu bytes, the file has %zu after it (truncated?)", what,
                (unsigned long long)n, bytes - 8);
    const char *text = (const char *)p + 8;
    ry_json *root;
    ry_status st = ry_json_parse(&root, text, (size_t)n, what, RY_JSON_EXACT);
    if (st != RY_OK) return st == RY_EFORMAT ? ry_fail_in(st, "safetensors header") : st;
    st = st_read_header(f, what, part, root, text + n, bytes - 8 - (size_t)n);
    ry_json_free(root);
    return st;
}

/* ---- lookup ---- */
static int st_by_name(const void *pa, const void *pb) {
    return strcmp((*(const st_entry *const *)pa)->name, (*(const st_entry *const *)pb)->name);
}
static int st_name_is(const void *name, const void *pe) { return strcmp(name, (*(const st_entry *const *)pe)->name); }

static const st_entry *st_find(const ry_tensor_file *f, const char *name) {
    const st_entry **e = f->entry.n ? bsearch(name, f->by_name, f->entry.n, sizeof *f->by_name, st_name_is) : NULL;
    return e ? *e : NULL;
}

static ry_status st_index_names(ry_tensor_file *f) {
    size_t n = f->entry.n;
    if (!(f->by_name = RY_NEW(&f->arena, const st_entry *, n ? n : 1))) return RY_ENOMEM;
    for (size_t i = 0; i < n; i++) f->by_name[i] = &f->entry.at[i];
    if (n) qsort(f->by_name, n, sizeof *f->by_name, st_by_name);
    for (size_t i = 1; i < n; i++) /* within one file the JSON reader has refused it */
        if (!st_by_name(&f->by_name[i - 1], &f->by_name[i]))
            RY_FAIL(RY_EFORMAT, "%s: tensor %s lies in two files, %s and %s", f->what, f->by_name[i]->name,
                    st_part_name(f, f->by_name[i - 1]->part), st_part_name(f, f->by_name[i]->part));
    return RY_OK;
}

/* ---- opening ---- */
static ry_status st_new(ry_tensor_file **out, const char *what) {
    ry_tensor_file *f = ry_mem_zalloc(sizeof *f);
    if (!f) return RY_ENOMEM;
    if (!(f->what = ry_arena_strdup(&f->arena, what))) {
        ry_mem_free(f);
        return RY_ENOMEM;
    }
    *out = f;
    return RY_OK;
}

static const char *st_base_name(const char *path) {
    const char *slash = strrchr(path, '/');
#ifdef _WIN32
    const char *back = strrchr(path, '\\');
    if (back && (!slash || back > slash)) slash = back;
#endif
    return slash ? slash + 1 : path;
}

static ry_status st_add_file(ry_tensor_file *f, const char *path) {
    st_part *p = RY_PUSH(&f->part);
    if (!p || !(p->name = ry_arena_strdup(&f->arena, st_base_name(path)))) return RY_ENOMEM;
    RY_TRY(os_map_open(&p->map, path));
    return st_read_part(f, path, f->part.n - 1, p->map.data, p->map.bytes);
}

static int st_words(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Every tensor must lie where the index says, and the index must name every tensor. */
static ry_status st_check_index(const ry_tensor_file *f, const ry_json *map) {
    for (ry_json_it it = ry_json_first(map); it.value; it = ry_json_next(map, it)) {
        const char *file = ry_json_as_text(it.value, NULL);
        const st_entry *e = st_find(f, it.key);
        if (!e) RY_FAIL(RY_EFORMAT, "%s: weight_map: tensor %s is missing: %s does not hold it", f->what, it.key, file);
        if (strcmp(st_part_name(f, e->part), file))
            RY_FAIL(RY_EFORMAT, "%s: weight_map places tensor %s in %s, it lies in %s", f->what, it.key, file,
                    st_part_name(f, e->part));
    }
    for (size_t i = 0; i < f->entry.n; i++)
        if (!ry_json_find(map, f->entry.at[i].name))
            RY_FAIL(RY_EFORMAT, "%s: weight_map does not name tensor %s, which lies in %s", f->what,
                    f->entry.at[i].name, st_part_name(f, f->entry.at[i].part));
    return RY_OK;
}

static ry_status st_add_shards(ry_tensor_file *f, const char *index, const ry_json *map) {
    size_t n = 0;
    const char **names = RY_NEW(&f->arena, const char *, ry_json_count(map) + 1);
    char *folder = ry_arena_strdup(&f->arena, index);
    if (!names || !folder) return RY_ENOMEM;
    folder[st_base_name(folder) - folder] = 0;
    for (ry_json_it it = ry_json_first(map); it.value; it = ry_json_next(map, it)) {
        size_t len;
        const char *file = ry_json_as_text(it.value, &len);
        if (!file || !len || strlen(file) != len || strpbrk(file, "/\\:") || !strcmp(file, "..") || !strcmp(file, "."))
            RY_FAIL(RY_EFORMAT, "%s: weight_map: tensor %s must name a file in the same folder", f->what, it.key);
        names[n++] = file;
    }
    if (n) qsort(names, n, sizeof *names, st_words);
    for (size_t i = 0; i < n; i++) {
        if (i && !strcmp(names[i - 1], names[i])) continue;
        const char *path = ry_arena_printf(&f->arena, "%s%s", folder, names[i]);
        if (!path) return RY_ENOMEM;
        if (os_kind(path) != OS_FILE)
            RY_FAIL(RY_ENOENT, "%s: weight_map names %s, which is not there", f->what, names[i]);
        RY_TRY(st_add_file(f, path));
    }
    RY_TRY(st_index_names(f));
    return st_check_index(f, map);
}

static ry_status st_open_index(ry_tensor_file *f, const char *path) {
    ry_json *root;
    const ry_json *map;
    RY_TRY(ry_json_read(&root, path, 0));
    ry_status st = ry_json_need_object(root, path);
    if (st == RY_OK) st = ry_json_object(&map, root, path, "weight_map", true);
    if (st == RY_OK) st = st_add_shards(f, path, map);
    ry_json_free(root);
    return st;
}

ry_status st_find_file(char **out, const char *path) {
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json",
                                        "adapter_model.safetensors"};
    int kind = os_kind(path);
    if (kind == OS_NOTHING) RY_FAIL(RY_ENOENT, "%s: there is no such file or folder", path);
    for (size_t i = 0; i < sizeof names / sizeof *names && kind == OS_FOLDER; i++) {
        char *p = os_join(path, names[i]);
        if (!p) return RY_ENOMEM;
        if (os_kind(p) == OS_FILE) {
            *out = p;
            return RY_OK;
        }
        ry_mem_free(p);
    }
    if (kind == OS_FOLDER) RY_FAIL(RY_ENOENT, "%s: holds neither %s nor %s", path, names[0], names[1]);
    size_t n = strlen(path) + 1;
    char *copy = ry_mem_alloc(n);
    if (!copy) return RY_ENOMEM;
    memcpy(copy, path, n);
    *out = copy;
    return RY_OK;
}

ry_status ry_tensor_file_open(ry_tensor_file **out, const char *path) {
    if (!out || !path) RY_FAIL(RY_EARG, "ry_tensor_file_open: out and path must be given");
    ry_tensor_file *f = NULL;
    char *file;
    RY_TRY(st_find_file(&file, path));
    size_t n = strlen(file);
    ry_status st = st_new(&f, file);
    if (st == RY_OK) {
        if (n > 5 && !strcmp(file + n - 5, ".json")) {
            st = st_open_index(f, file);
        } else if ((st = st_add_file(f, file)) == RY_OK) {
            st = st_index_names(f);
        }
    }
    ry_mem_free(file);
    if (st != RY_OK) {
        ry_tensor_file_close(f);
        return st;
    }
    *out = f;
    return RY_OK;
}

ry_status st_open_memory(ry_tensor_file **out, const void *data, size_t bytes, const char *what) {
    ry_tensor_file *f;
    RY_TRY(st_new(&f, what));
    st_part *p = RY_PUSH(&f->part); /* no mapping: closing leaves the memory alone */
    ry_status st = p ? RY_OK : RY_ENOMEM;
    if (st == RY_OK) {
        p->name = f->what;
        st = st_read_part(f, what, 0, data, bytes);
    }
    if (st == RY_OK) st = st_index_names(f);
    if (st != RY_OK) {
        ry_tensor_file_close(f);
        return st;
    }
    *out = f;
    return RY_OK;
}

void ry_tensor_file_close(ry_tensor_file *f) {
    if (!f) return;
    for (size_t i = 0; i < f->part.n; i++) os_map_close(&f->part.at[i].map); /* nothing where no file was mapped */
    RY_VEC_FREE(&f->part);
    RY_VEC_FREE(&f->entry);
    RY_VEC_FREE(&f->meta);
    ry_arena_free(&f->arena);
    ry_mem_free(f);
}

size_t ry_tensor_file_count(const ry_tensor_file *f) { return f->entry.n; }
const st_entry *st_entry_at(const ry_tensor_file *f, size_t i) { return &f->entry.at[i]; }
size_t st_part_count(const ry_tensor_file *f) { return f->part.n; }
const char *st_part_name(const ry_tensor_file *f, size_t part) { return f->part.at[part].name; }
size_t st_meta_count(const ry_tensor_file *f) { return f->meta.n; }
void st_meta_at(const ry_tensor_file *f, size_t i, const char **key, const char **value) {
    *key = f->meta.at[i].key;
    *value = f->meta.at[i].value;
}

static ry_status st_give(const ry_tensor_file *f, const st_entry *e, ry_spec *s, const void **data) {
    if (e->type == RY_NONE)
        RY_FAIL(RY_EDTYPE, "%s: tensor %s is %s, which Rusty does not compute with", f->what, e->name, e->dtype);
    if (e->rank > RY_MAX_RANK)
        RY_FAIL(RY_ESHAPE, "%s: tensor %s has %d dimensions, Rusty takes at most %d", f->what, e->name, e->rank,
                RY_MAX_RANK);
    if (s) *s = ry_shape(e->type, e->rank, e->dim);
    if (data) *data = e->data;
    return RY_OK;
}

ry_status ry_tensor_file_get(const ry_tensor_file *f, size_t i, const char **name, ry_spec *s, const void **data) {
    if (i >= f->entry.n) RY_FAIL(RY_EARG, "%s: there is no tensor %zu, it holds %zu", f->what, i, f->entry.n);
    RY_TRY(st_give(f, &f->entry.at[i], s, data));
    if (name) *name = f->entry.at[i].name;
    return RY_OK;
}

ry_status ry_tensor_file_find(const ry_tensor_file *f, const char *name, ry_spec *s, const void **data) {
    const st_entry *e = st_find(f, name);
    if (!e) RY_FAIL(RY_ENOENT, "%s: there is no tensor %s", f->what, name);
    return st_give(f, e, s, data);
}

const char *ry_tensor_file_meta(const ry_tensor_file *f, const char *key) {
    for (size_t i = 0; i < f->meta.n; i++)
        if (!strcmp(f->meta.at[i].key, key)) return f->meta.at[i].value;
    return NULL;
}

/* ---- writing ---- */
typedef struct st_slot {
    const ry_named_data *t;
    size_t i, bytes;
    int dtype;
} st_slot; /* one tensor to write */

static int st_slot_name(const void *a, const void *b) {
    return strcmp(((const st_slot *)a)->t->name, ((const st_slot *)b)->t->name);
}
static int st_slot_order(const void *pa, const void *pb) {
    const st_slot *a = pa, *b = pb;
    return a->dtype != b->dtype ? b->dtype - a->dtype : st_slot_name(a, b);
}

static ry_status st_check_word(const char *path, const char *kind, const char *s) {
    if (!s) RY_FAIL(RY_EARG, "%s: a %s is NULL", path, kind);
    size_t n = strlen(s);
    if (utf8_valid(s, n) != n) RY_FAIL(RY_EARG, "%s: a %s is not UTF-8", path, kind);
    return RY_OK;
}

/* Fills the slots in the order of the file. */
static ry_status st_plan(st_slot *slot, const char *path, size_t n, const ry_named_data *t, const char *const *meta) {
    for (size_t i = 0; i < n; i++) {
        RY_TRY(st_check_word(path, "tensor's name", t[i].name));
        const char *dtype = t[i].spec.dtype < RY_DTYPE_COUNT ? ry_dtype_row(t[i].spec.dtype)->safetensors : NULL;
        if (!strcmp(t[i].name, st_metadata)) RY_FAIL(RY_EARG, "%s: no tensor may be named %s", path, st_metadata);
        if (!dtype) RY_FAIL(RY_EDTYPE, "%s: tensor %s: safetensors has no dtype for it", path, t[i].name);
        slot[i] = (st_slot){&t[i], i, 0, st_dtype_find(dtype)};
        ry_status st = ry_spec_bytes(&slot[i].bytes, &t[i].spec);
        if (st != RY_OK) return ry_fail_in(st, "%s: tensor %s", path, t[i].name);
    }
    if (n) qsort(slot, n, sizeof *slot, st_slot_name);
    for (size_t i = 1; i < n; i++)
        if (!st_slot_name(&slot[i - 1], &slot[i]))
            RY_FAIL(RY_EARG, "%s: two tensors are named %s", path, slot[i].t->name);
    if (n) qsort(slot, n, sizeof *slot, st_slot_order);
    for (const char *const *m = meta; m && *m; m += 2) {
        RY_TRY(st_check_word(path, "metadata key", m[0]));
        RY_TRY(st_check_word(path, "metadata value", m[1]));
        for (const char *const *k = meta; k < m; k += 2)
            if (!strcmp(*k, *m)) RY_FAIL(RY_EARG, "%s: the metadata key %s is given twice", path, *m);
    }
    return RY_OK;
}

static ry_status st_header(ry_text *out, const st_slot *slot, size_t n, const char *const *meta) {
    size_t at = 0;
    const char *comma = "";
    ry_text_puts(out, "{");
    if (meta && *meta) {
        ry_text_puts(out, "\"__metadata__\":{");
        for (const char *const *m = meta; *m; m += 2, comma = ",") {
            ry_text_puts(out, comma);
            ry_text_json(out, m[0], strlen(m[0]));
            ry_text_puts(out, ":");
            ry_text_json(out, m[1], strlen(m[1]));
        }
        ry_text_puts(out, "}");
    }
    for (size_t i = 0; i < n; i++, comma = ",") {
        const ry_spec *s = &slot[i].t->spec;
        ry_text_puts(out, comma);
        ry_text_json(out, slot[i].t->name, strlen(slot[i].t->name));
        ry_text_printf(out, ":{\"dtype\":\"%s\",\"shape\":[", st_dtypes[slot[i].dtype].name);
        for (int k = 0; k < s->rank; k++) ry_text_printf(out, "%s%lld", k ? "," : "", (long long)s->dim[k]);
        if (slot[i].bytes > SIZE_MAX - at) RY_FAIL(RY_EARG, "the tensors' sizes overflow");
        ry_text_printf(out, "],\"data_offsets\":[%zu,%zu]}", at, at + slot[i].bytes);
        at += slot[i].bytes;
    }
    ry_text_puts(out, "}");
    while (out->n % 8 && !out->failed) ry_text_puts(out, " ");
    RY_TRY(ry_text_status(out));
    if (out->n > ST_MAX_HEADER)
        RY_FAIL(RY_EARG, "the header would have %zu bytes, the format allows %d", out->n, ST_MAX_HEADER);
    return RY_OK;
}

static ry_status st_put(os_out *o, const ry_text *head, const st_slot *slot, size_t n, st_source source, void *ud) {
    unsigned char len[8];
    for (int i = 0; i < 8; i++) len[i] = (unsigned char)((uint64_t)head->n >> 8 * i);
    RY_TRY(os_out_write(o, len, sizeof len));
    RY_TRY(os_out_write(o, head->at, head->n));
    for (size_t i = 0; i < n; i++) {
        const void *data;
        RY_TRY(source(ud, slot[i].i, &data));
        if (slot[i].bytes) RY_TRY(os_out_write(o, data, slot[i].bytes));
    }
    return RY_OK;
}

ry_status st_write(const char *path, size_t n, const ry_named_data *t, const char *const *meta, st_source source,
                   void *ud) {
    ry_text head = {0};
    os_out *o;
    st_slot *slot = ry_mem_alloc(ry_mem_size(n, sizeof *slot, 0));
    if (!slot) return RY_ENOMEM;
    ry_status st;
    RY_GO(st, done, st_plan(slot, path, n, t, meta));
    st = st_header(&head, slot, n, meta);
    if (st == RY_EARG) st = ry_fail_in(st, "%s", path);
    if (st != RY_OK) goto done;
    RY_GO(st, done, os_out_open(&o, path));
    if ((st = st_put(o, &head, slot, n, source, ud)) == RY_OK) {
        st = os_out_commit(o);
    } else {
        os_out_abort(o);
    }
done:
    ry_text_free(&head);
    ry_mem_free(slot);
    return st;
}

static ry_status st_given(void *ud, size_t i, const void **data) {
    *data = ((const ry_named_data *)ud)[i].data;
    return RY_OK;
}

ry_status ry_tensor_file_write(const char *path, size_t n, const ry_named_data *t, const char *const *meta) {
    if (!path || (n && !t)) RY_FAIL(RY_EARG, "ry_tensor_file_write: path and tensors must be given");
    union {
        const ry_named_data *in;
        void *out;
    } ud = {.in = t};
    return st_write(path, n, t, meta, st_given, ud.out);
}
