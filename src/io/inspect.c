/* inspect.c - what is inside a file or folder, line by line: tensors, metadata, settings.  Owns nothing after it returns.  Looks
 * leniently where nothing depends on it (equal keys in a JSON file), strictly at tensors. */
#include "io/inspect.h"
#include <string.h>
#include "base/mem.h"
#include "base/os.h"
#include "io/json.h"
#include "io/safetensors.h"

ry_status inspect_emit(inspector *v) {
    ry_status st = ry_text_status(&v->text);
    if (st == RY_OK) v->line(v->ud, v->text.at);
    ry_text_free(&v->text);
    return st;
}

size_t inspect_word(ry_text *out, const char *s, size_t most) {
    size_t n = strlen(s), kept = n < most ? n : most;
    while (kept < n && kept > 0 && ((unsigned char)s[kept] & 0xC0) == 0x80) kept--; /* never inside a character */
    for (size_t i = 0; i < kept; i++) {
        unsigned char c = (unsigned char)s[i], next = (unsigned char)s[i + 1];
        bool control = c < 32 || c == 127 || (c == 0xC2 && next >= 0x80 && next < 0xA0); /* U+0080 to U+009F */
        ry_text_add(out, control ? "?" : s + i, 1);
        i += control && c == 0xC2;
    }
    if (kept < n) ry_text_puts(out, "...");
    return kept;
}

void inspect_bytes(ry_text *out, size_t bytes) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    int u = -1;
    for (; v >= 1024 && u < 3; u++) v /= 1024;
    ry_text_printf(out, "%zu bytes", bytes);
    if (u >= 0) ry_text_printf(out, " (%.2f %s)", v, units[u]);
}

static void inspect_shape(ry_text *out, int rank, const int64_t *dim) {
    ry_text_puts(out, "[");
    for (int i = 0; i < rank; i++) ry_text_printf(out, "%s%lld", i ? "," : "", (long long)dim[i]);
    ry_text_puts(out, "]");
}

void inspect_key(ry_text *out, const char *key, const char *value) {
    ry_text_json(out, key, strlen(key));
    ry_text_puts(out, ": ");
    ry_text_json(out, value, strlen(value));
}

/* ---- tensors ---- */
static uint64_t inspect_weights(const st_entry *e) { /* the reader has checked that it does not overflow */
    uint64_t n = 1;
    for (int i = 0; i < e->rank; i++) n *= (uint64_t)e->dim[i];
    return n;
}

static ry_status inspect_tensor_head(inspector *v, const ry_tensor_file *f, const char *path) {
    size_t n = ry_tensor_file_count(f), bytes = 0, parts = st_part_count(f);
    uint64_t weights = 0;
    for (size_t i = 0; i < n; i++) {
        weights += inspect_weights(st_entry_at(f, i));
        bytes += st_entry_at(f, i)->bytes;
    }
    const char *key, *value;
    if (!v->json) {
        inspect_word(&v->text, path, SIZE_MAX);
        ry_text_printf(&v->text, ": safetensors, %zu tensor%s, %llu weights, ", n, n == 1 ? "" : "s",
                       (unsigned long long)weights);
        inspect_bytes(&v->text, bytes);
        if (parts > 1) ry_text_printf(&v->text, ", in %zu files", parts);
        RY_TRY(inspect_emit(v));
        for (size_t i = 0; i < st_meta_count(f); i++) {
            st_meta_at(f, i, &key, &value);
            ry_text_puts(&v->text, "  metadata ");
            inspect_word(&v->text, key, INSPECT_NAME);
            ry_text_puts(&v->text, " = ");
            inspect_word(&v->text, value, INSPECT_VALUE);
            RY_TRY(inspect_emit(v));
        }
        return RY_OK;
    }
    ry_text_puts(&v->text, "{");
    inspect_key(&v->text, "file", path);
    ry_text_printf(&v->text,
                   ", \"format\": \"safetensors\", \"tensors\": %zu, \"weights\": %llu, \"bytes\": %zu, \"files\": "
                   "%zu, \"metadata\": {",
                   n, (unsigned long long)weights, bytes, parts);
    for (size_t i = 0; i < st_meta_count(f); i++) {
        st_meta_at(f, i, &key, &value);
        if (i) ry_text_puts(&v->text, ", ");
        inspect_key(&v->text, key, value);
    }
    ry_text_puts(&v->text, "}}");
    return inspect_emit(v);
}

ry_status inspect_rows(inspector *v, size_t n, inspect_row (*row)(const void *f, size_t i), const void *f) {
    size_t widest = 4;
    for (size_t i = 0; i < n; i++) {
        size_t w = strlen(row(f, i).name);
        if (w > widest) widest = w < INSPECT_NAME ? w : INSPECT_NAME;
    }
    if (!v->json && n) {
        ry_text_printf(&v->text, "  %-*s  %-12s %-20s %14s", (int)widest, "name", "dtype", "shape", "bytes");
        RY_TRY(inspect_emit(v));
    }
    for (size_t i = 0; i < n; i++) {
        inspect_row e = row(f, i);
        if (v->json) {
            ry_text_puts(&v->text, "{");
            inspect_key(&v->text, "name", e.name);
            ry_text_printf(&v->text, ", \"dtype\": \"%s\", \"shape\": ", e.dtype);
            inspect_shape(&v->text, e.rank, e.dim);
            ry_text_printf(&v->text, ", \"bytes\": %zu, ", e.bytes);
            inspect_key(&v->text, "file", e.file);
            ry_text_puts(&v->text, "}");
        } else {
            ry_text shape = {0};
            inspect_shape(&shape, e.rank, e.dim);
            ry_status st = ry_text_status(&shape);
            ry_text_puts(&v->text, "  ");
            size_t w = inspect_word(&v->text, e.name, INSPECT_NAME);
            if (st == RY_OK)
                ry_text_printf(&v->text, "%*s  %-12s %-20s %14zu", (int)(w < widest ? widest - w : 0), "", e.dtype,
                               shape.at, e.bytes);
            ry_text_free(&shape);
            RY_TRY(st);
        }
        RY_TRY(inspect_emit(v));
    }
    return RY_OK;
}

static inspect_row inspect_st_row(const void *f, size_t i) {
    const st_entry *e = st_entry_at(f, i);
    return (inspect_row){e->name, e->dtype, st_part_name(f, e->part), e->rank, e->dim, e->bytes};
}

static ry_status inspect_tensor_file(inspector *v, const ry_tensor_file *f, const char *path) {
    RY_TRY(inspect_tensor_head(v, f, path));
    return inspect_rows(v, ry_tensor_file_count(f), inspect_st_row, f);
}

/* ---- JSON ---- */
/* A value at a glance: big lists and objects by their size. */
static void inspect_glance(ry_text *out, const ry_json *j) {
    size_t n = ry_json_count(j);
    bool object = ry_json_kind_of(j) == RY_JSON_OBJECT;
    if (n > INSPECT_FEW) {
        ry_text_printf(out, object ? "{%zu fields}" : "[%zu values]", n);
    } else if (!n) {
        ry_json_write(out, j, 0);
    } else if (object) {
        ry_text_puts(out, "{");
        bool first = true;
        for (ry_json_it it = ry_json_first(j); it.value; it = ry_json_next(j, it), first = false) {
            if (!first) ry_text_puts(out, ", ");
            ry_text_json(out, it.key, strlen(it.key));
            ry_text_puts(out, ": ");
            inspect_glance(out, it.value);
        }
        ry_text_puts(out, "}");
    } else {
        ry_text_puts(out, "[");
        for (size_t i = 0; i < n; i++) {
            if (i) ry_text_puts(out, ", ");
            inspect_glance(out, ry_json_at(j, i));
        }
        ry_text_puts(out, "]");
    }
}

static ry_status inspect_json(inspector *v, const char *path) {
    ry_json *root;
    RY_TRY(ry_json_read(&root, path, RY_JSON_LENIENT));
    ry_status st = RY_OK;
    if (v->json) {
        ry_text_puts(&v->text, "{");
        inspect_key(&v->text, "file", path);
        ry_text_puts(&v->text, ", \"format\": \"json\", \"content\": ");
        ry_json_write(&v->text, root, 0);
        ry_text_puts(&v->text, "}");
        st = inspect_emit(v);
    } else {
        bool object = ry_json_kind_of(root) == RY_JSON_OBJECT;
        ry_text glance = {0};
        inspect_word(&v->text, path, SIZE_MAX);
        if (object) {
            ry_text_printf(&v->text, ": JSON, %zu field%s", ry_json_count(root), ry_json_count(root) == 1 ? "" : "s");
        } else {
            ry_text_puts(&v->text, ": JSON, ");
            inspect_glance(&glance, root);
            if (glance.at) inspect_word(&v->text, glance.at, INSPECT_VALUE);
            st = ry_text_status(&glance);
        }
        if (st == RY_OK) st = inspect_emit(v);
        for (ry_json_it it = ry_json_first(root); object && it.value && st == RY_OK; it = ry_json_next(root, it)) {
            ry_text_free(&glance);
            inspect_glance(&glance, it.value);
            ry_text_puts(&v->text, "  ");
            inspect_word(&v->text, it.key, INSPECT_NAME);
            ry_text_puts(&v->text, " = ");
            if (glance.at) inspect_word(&v->text, glance.at, INSPECT_VALUE);
            if ((st = ry_text_status(&glance)) == RY_OK) st = inspect_emit(v);
        }
        ry_text_free(&glance);
    }
    ry_json_free(root);
    return st;
}

/* ---- files and folders ---- */
static bool inspect_ends(const char *s, const char *end) {
    size_t n = strlen(s), k = strlen(end);
    return n >= k && !strcmp(s + n - k, end);
}

static ry_status inspect_tensors_at(inspector *v, const char *path) {
    ry_tensor_file *f;
    RY_TRY(ry_tensor_file_open(&f, path));
    ry_status st = inspect_tensor_file(v, f, path);
    ry_tensor_file_close(f);
    return st;
}

static ry_status inspect_file(inspector *v, const char *path) {
    if (inspect_ends(path, ".index.json")) return inspect_tensors_at(v, path);
    if (inspect_ends(path, ".json")) return inspect_json(v, path);
    os_map m;
    RY_TRY(os_map_open(&m, path));
    bool gguf = m.bytes >= 4 && !memcmp(m.data, "GGUF", 4), other = !inspect_ends(path, ".safetensors") && (m.bytes < 9 || ((const char *)m.data)[8] != '{');
    os_map_close(&m);
    if (other && !gguf) RY_FAIL(RY_EFORMAT, "%s: neither a safetensors nor a GGUF file", path);
    return gguf ? inspect_gguf(v, path) : inspect_tensors_at(v, path);
}

typedef struct inspect_names {
    ry_arena arena;
    RY_VEC(const char *) name;
    bool failed;
} inspect_names;

static bool inspect_collect(void *ud, const char *name) {
    inspect_names *all = ud;
    if (!inspect_ends(name, ".json") && !inspect_ends(name, ".safetensors") && !inspect_ends(name, ".gguf")) return true;
    const char **slot = RY_PUSH(&all->name);
    const char *copy = slot ? ry_arena_strdup(&all->arena, name) : NULL;
    if (slot) *slot = copy;
    all->failed = !copy;
    return copy;
}

/* Settings first, then every set of tensors once: shards through their index. */
static ry_status inspect_folder(inspector *v, const char *path, inspect_names *all) {
    RY_TRY(os_list(path, inspect_collect, all));
    if (all->failed) return RY_ENOMEM;
    if (!all->name.n) RY_FAIL(RY_ENOENT, "%s: holds no .json, .safetensors or .gguf file", path);
    ry_tensor_file *set = NULL; /* what the last index names */
    ry_status st = RY_OK;
    for (int pass = 0; pass < 3 && st == RY_OK; pass++) {
        for (size_t i = 0; i < all->name.n && st == RY_OK; i++) {
            const char *name = all->name.at[i];
            bool index = inspect_ends(name, ".index.json"), settings = !index && inspect_ends(name, ".json");
            if (pass != (settings ? 0 : index ? 1 : 2)) continue;
            const char *at = ry_arena_printf(&all->arena, "%s/%s", path, name);
            bool known = false;
            for (size_t k = 0; set && k < st_part_count(set); k++) known |= !strcmp(st_part_name(set, k), name);
            if (!at) {
                st = RY_ENOMEM;
            } else if (index) {
                ry_tensor_file_close(set);
                set = NULL;
                st = ry_tensor_file_open(&set, at);
                if (st == RY_OK) st = inspect_tensor_file(v, set, at);
            } else if (!known) {
                st = inspect_file(v, at);
            }
        }
    }
    ry_tensor_file_close(set);
    return st;
}

ry_status ry_inspect(const char *path, bool json, void (*line)(void *ud, const char *text), void *ud) {
    if (!path || !line) RY_FAIL(RY_EARG, "ry_inspect: path and line must be given");
    inspector v = {.json = json, .line = line, .ud = ud};
    ry_status st;
    switch (os_kind(path)) {
    case OS_FILE: st = inspect_file(&v, path); break;
    case OS_FOLDER: {
        inspect_names all = {0};
        st = inspect_folder(&v, path, &all);
        RY_VEC_FREE(&all.name);
        ry_arena_free(&all.arena);
        break;
    }
    default: st = ry_fail(RY_ENOENT, "%s: there is no such file or folder", path); break;
    }
    ry_text_free(&v.text);
    return st;
}
