/* tune.c - the table of measured variants: keys, the file, what a run has taken. */
#include "core/tune.h"
#include "base/kernel_text.h"
#include "core/launch.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct choice {
    char *key;
    char variant[32];
    uint64_t version; /* of the kernel text */
    bool taken;
} choice;

struct ry_tuning {
    os_mutex *lock;
    RY_VEC(choice) at;
    char *path;       /* NULL: no file */
    char head[400];   /* the file's first line: device and driver */
    int trying;       /* -1: not searching */
    const char *forced; /* RUSTY_VARIANT: every node takes the variant of this name where it may */
    uint64_t version;
};

/* ---- keys ---- */

static uint64_t hash(uint64_t h, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 1099511628211u; /* FNV-1a */
    return h;
}

/* Changes when the kernel does: its file, any that may be included (_*.wgsl), and the library's version where the row writes text of its own. */
static uint64_t text_version(const ry_op *op) {
    char file[64];
    uint64_t h = hash(14695981039346656037u, op->text ? ry_version() : "", op->text ? strlen(ry_version()) : 0);
    snprintf(file, sizeof file, "%.48s.wgsl", op->name);
    const char *name = op->wgsl ? op->wgsl : file;
    for (size_t i = 0; i < ry_kernel_text_count; i++)
        if (ry_kernel_texts[i].name[0] == '_' || !strcmp(ry_kernel_texts[i].name, name)) h = hash(h, ry_kernel_texts[i].text, ry_kernel_texts[i].n);
    return h;
}

static const ry_op *row_of_key(const char *key) {
    char name[64];
    size_t n = strcspn(key, " ");
    if (n >= sizeof name) return NULL;
    memcpy(name, key, n);
    name[n] = 0;
    return ry_op_find(name);
}

static void add_value(ry_text *t, const ry_value *v) {
    ry_text_printf(t, " %s[", ry_dtype_name(v->spec.dtype));
    for (int i = 0; i < v->spec.rank; i++) ry_text_printf(t, "%s%lld", i ? "," : "", (long long)v->spec.dim[i]);
    ry_text_puts(t, "]");
    if (ry_is_dense(v)) return;
    ry_text_puts(t, "(");
    for (int i = 0; i < v->spec.rank; i++) ry_text_printf(t, "%s%lld", i ? "," : "", (long long)v->stride[i]);
    ry_text_puts(t, ")");
}

ry_status tune_key(ry_text *out, const ry_node *n) {
    ry_text_puts(out, n->op->name);
    for (int i = 0; i < n->n_src; i++)
        if (n->src[i]) add_value(out, n->src[i]);
        else ry_text_puts(out, " -");
    ry_text_puts(out, " ->");
    for (int i = 0; i < n->n_out; i++) add_value(out, &n->out[i]);
    for (const ry_arg *a = n->op->args; a && a->name && n->args; a++) {
        const char *p = (const char *)n->args + a->offset;
        if (a->dynamic || a->count) continue;
        switch (a->type) {
        case RY_ARG_BOOL: ry_text_printf(out, " %s=%d", a->name, *(const bool *)p); break;
        case RY_ARG_I32: ry_text_printf(out, " %s=%d", a->name, *(const int32_t *)(const void *)p); break;
        case RY_ARG_I64: ry_text_printf(out, " %s=%lld", a->name, (long long)*(const int64_t *)(const void *)p); break;
        default: break; /* scales and the like: no matter of speed */
        }
    }
    return ry_text_status(out);
}

/* ---- the table ---- */

static choice *find(ry_tuning *t, const char *key) {
    for (size_t i = 0; i < t->at.n; i++)
        if (!strcmp(t->at.at[i].key, key)) return &t->at.at[i];
    return NULL;
}

static ry_status put(ry_tuning *t, const char *key, const char *variant, uint64_t version) {
    choice *c = find(t, key);
    if (!c) {
        char *copy = ry_mem_alloc(strlen(key) + 1);
        if (!copy || !(c = RY_PUSH(&t->at))) {
            ry_mem_free(copy);
            return RY_ENOMEM;
        }
        *c = (choice){.key = memcpy(copy, key, strlen(key) + 1)};
    }
    snprintf(c->variant, sizeof c->variant, "%s", variant);
    c->version = version;
    t->version++;
    return RY_OK;
}

static void clear(ry_tuning *t) {
    for (size_t i = 0; i < t->at.n; i++) ry_mem_free(t->at.at[i].key);
    t->at.n = 0;
    t->version++;
}

uint64_t tune_version(ry_tuning *t) {
    if (!t) return 0;
    os_mutex_lock(t->lock);
    uint64_t v = t->version;
    os_mutex_unlock(t->lock);
    return v;
}

const ry_variant *tune_choose(ry_tuning *t, const ry_node *n, const ry_caps *caps) {
    int count;
    const ry_variant *first = launch_variant(n, caps, &count), *v = first;
    ry_text key = {0};
    if (!t || count < 2) return first;
    os_mutex_lock(t->lock);
    if (t->forced) {
        for (int i = 0; i < count; i++)
            if (!strcmp(launch_variant_at(n, caps, i)->name, t->forced)) v = launch_variant_at(n, caps, i);
    } else if (t->trying >= 0) v = launch_variant_at(n, caps, t->trying < count ? t->trying : count - 1);
    else if (t->at.n && tune_key(&key, n) == RY_OK) {
        choice *c = find(t, key.at);
        for (int i = 0; c && i < count; i++) {
            const ry_variant *x = launch_variant_at(n, caps, i);
            if (!strcmp(x->name, c->variant)) v = x, c->taken = true;
        }
    }
    os_mutex_unlock(t->lock);
    ry_text_free(&key);
    return v;
}

void tune_try(ry_tuning *t, int r) {
    os_mutex_lock(t->lock);
    t->trying = r;
    t->version++;
    os_mutex_unlock(t->lock);
}

ry_status tune_set(ry_tuning *t, const char *key, const char *variant) {
    const ry_op *op = row_of_key(key);
    os_mutex_lock(t->lock);
    ry_status st = put(t, key, variant, op ? text_version(op) : 0);
    os_mutex_unlock(t->lock);
    return st;
}

ry_status tune_taken(ry_tuning *t, ry_text *out) {
    if (!t) return RY_OK;
    os_mutex_lock(t->lock);
    for (size_t i = 0; i < t->at.n; i++)
        if (t->at.at[i].taken) ry_text_printf(out, "%s\t%s\n", t->at.at[i].key, t->at.at[i].variant);
    os_mutex_unlock(t->lock);
    return ry_text_status(out);
}

/* One line into two fields at its last tab. */
static bool split(char *line, char **tail) {
    *tail = strrchr(line, '\t');
    if (!*tail || *tail == line) return false;
    *(*tail)++ = 0;
    return true;
}

ry_status tune_take(ry_tuning *t, const char *lines) {
    ry_status st = RY_OK;
    char *variant;
    size_t n = strlen(lines);
    if (!t) return RY_OK;
    char *copy = ry_mem_alloc(n + 1);
    if (!copy) return RY_ENOMEM;
    memcpy(copy, lines, n + 1);
    os_mutex_lock(t->lock);
    clear(t);
    for (char *line = copy, *end; *line && st == RY_OK; line = end) {
        end = line + strcspn(line, "\n");
        if (*end) *end++ = 0;
        if (split(line, &variant)) st = put(t, line, variant, 0);
    }
    os_mutex_unlock(t->lock);
    ry_mem_free(copy);
    return st;
}

/* ---- the file: a head, then VERSION <tab> KEY <tab> VARIANT ---- */

static ry_status read_file(ry_tuning *t) {
    char *text, *variant;
    size_t bytes;
    RY_TRY(os_file_read(t->path, &text, &bytes));
    ry_status st = RY_OK;
    char *line = text, *end = line + strcspn(line, "\n");
    if (*end) *end++ = 0;
    if (!strcmp(line, t->head)) /* of another device or driver, or damaged: measured anew */
        for (line = end; *line && st == RY_OK; line = end) {
            end = line + strcspn(line, "\n");
            if (*end) *end++ = 0;
            char *key;
            uint64_t version = strtoull(line, &key, 16);
            if (*key != '\t' || !split(++key, &variant)) continue;
            const ry_op *op = row_of_key(key);
            if (op && text_version(op) == version) st = put(t, key, variant, version);
        }
    ry_mem_free(text);
    return st;
}

static char *cache_path(uint64_t id) {
    const char *base = os_env("RUSTY_CACHE"), *home = os_env("XDG_CACHE_HOME");
    char name[48];
    char *folder = NULL, *path;
    if (base) folder = os_join(base, "");
    else if (home || (home = os_env("LOCALAPPDATA"))) folder = os_join(home, "rusty");
    else if ((home = os_env("HOME"))) folder = os_join(home, ".cache/rusty");
    if (!folder) return NULL;
    snprintf(name, sizeof name, "tune-%016llx.txt", (unsigned long long)id);
    path = os_join(folder, name);
    ry_mem_free(folder);
    return path;
}

ry_status tune_open(ry_tuning **out, const ry_device *d) {
    const char *off = os_env("RUSTY_TUNE");
    ry_tuning *t = ry_mem_zalloc(sizeof *t);
    if (!t) return RY_ENOMEM;
    t->trying = -1;
    t->forced = os_env("RUSTY_VARIANT");
    ry_status st = os_mutex_open(&t->lock);
    snprintf(t->head, sizeof t->head, "rusty tuning 1: %s, %s", d->info.name, d->info.driver);
    if (st == RY_OK && !(off && !strcmp(off, "off"))) t->path = cache_path(hash(14695981039346656037u, t->head, strlen(t->head)));
    if (st == RY_OK && t->path && os_kind(t->path) == OS_FILE && read_file(t) != RY_OK)
        ry_log_line(RY_LOG_WARN, "measured kernel variants are not used: %s", ry_message());
    if (st == RY_OK) *out = t;
    else tune_close(t);
    return st;
}

void tune_close(ry_tuning *t) {
    if (!t) return;
    clear(t);
    RY_VEC_FREE(&t->at);
    if (t->lock) os_mutex_close(t->lock);
    ry_mem_free(t->path);
    ry_mem_free(t);
}

ry_status tune_save(ry_tuning *t) {
    if (!t->path) return RY_OK;
    ry_text text = {0};
    ry_text_printf(&text, "%s\n", t->head);
    os_mutex_lock(t->lock);
    for (size_t i = 0; i < t->at.n; i++)
        ry_text_printf(&text, "%016llx\t%s\t%s\n", (unsigned long long)t->at.at[i].version, t->at.at[i].key, t->at.at[i].variant);
    os_mutex_unlock(t->lock);
    ry_status st = ry_text_status(&text);
    char *slash = strrchr(t->path, '/');
    if (st == RY_OK && slash) {
        *slash = 0;
        st = os_mkdirs(t->path);
        *slash = '/';
    }
    if (st == RY_OK) st = os_file_write(t->path, text.at, text.n);
    ry_text_free(&text);
    return st;
}
