/* tune.c - the table of measured variants: keys, what is committed and filed, what a run has taken.
 *
 * Owns the user's file and the order of who is asked: a checkpoint's choices alone where a run took them, else what was measured here,
 * else what src/ops/tuned says about the chip, else the row's default.  Never measures. */
#include "core/tune.h"
#include "base/kernel_text.h"
#include "core/launch.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum origin { COMMITTED, FILED, MEASURED, GIVEN }; /* by src/ops/tuned, the user's file, this process, a checkpoint */
static const double WAIT = 10;                     /* seconds for another process to write the file */

typedef struct choice {
    char *key;
    char variant[32];
    enum origin from;
    bool taken;
} choice;
typedef RY_VEC(choice) choices;

struct ry_tuning {
    os_mutex *lock;
    choices known, given;
    bool fixed;         /* only what was given counts */
    char *path;         /* NULL: no file */
    char head[400];     /* the file's first line: device and driver */
    int trying;         /* -1: not searching */
    RY_VEC(const ry_op *) trusted; /* an application's rows */
    const char *forced; /* RUSTY_VARIANT: every node takes the variant of this name where it may */
    uint64_t version;
};

/* ---- keys ---- */

/* Changes when the kernel does: its file, any that may be included (_*.wgsl), and the library's version where the row writes text of its own. */
static uint64_t text_version(const ry_op *op) {
    char file[64];
    uint64_t h = ry_text_hash(RY_TEXT_HASH, op->text ? ry_version() : "", op->text ? strlen(ry_version()) : 0);
    snprintf(file, sizeof file, "%.48s.wgsl", op->name);
    const char *name = op->wgsl ? op->wgsl : file;
    for (size_t i = 0; i < ry_kernel_text_count; i++)
        if (ry_kernel_texts[i].name[0] == '_' || !strcmp(ry_kernel_texts[i].name, name)) h = ry_text_hash(h, ry_kernel_texts[i].text, ry_kernel_texts[i].n);
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
    int n_src = n->tail && n->n_src > n->op->max_src ? n->op->max_src : n->n_src; /* a tail's sources do not count */
    while (n->tail && n_src > n->op->min_src && !n->src[n_src - 1]) n_src--;
    for (int i = 0; i < n_src; i++)
        if (n->src[i]) add_value(out, n->src[i]);
        else ry_text_puts(out, " -");
    ry_text_puts(out, " ->");
    for (int i = 0; i < (n->tail ? 1 : n->n_out); i++) add_value(out, &n->out[i]);
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

/* ---- tables ---- */

static choice *find(choices *all, const char *key) {
    for (size_t i = 0; i < all->n; i++)
        if (!strcmp(all->at[i].key, key)) return &all->at[i];
    return NULL;
}

static ry_status put(choices *all, const char *key, const char *variant, enum origin from) {
    choice *c = find(all, key);
    if (!c) {
        char *copy = ry_mem_alloc(strlen(key) + 1);
        if (!copy || !(c = RY_PUSH(all))) {
            ry_mem_free(copy);
            return RY_ENOMEM;
        }
        *c = (choice){.key = memcpy(copy, key, strlen(key) + 1)};
    }
    snprintf(c->variant, sizeof c->variant, "%s", variant);
    c->from = from;
    return RY_OK;
}

static void clear(choices *all) {
    for (size_t i = 0; i < all->n; i++) ry_mem_free(all->at[i].key);
    all->n = 0;
}

static void drop(choices *all) {
    clear(all);
    RY_VEC_FREE(all);
}

/* The line at *at, ended by a 0, and *at behind it; NULL: there is none. */
static char *next_line(char **at) {
    char *line = *at;
    if (!*line) return NULL;
    *at += strcspn(line, "\n");
    if (**at) *(*at)++ = 0;
    return line;
}

/* One line into two fields at its last tab. */
static bool split(char *line, char **tail) {
    *tail = strrchr(line, '\t');
    if (!*tail || *tail == line) return false;
    *(*tail)++ = 0;
    return true;
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
    choices *all = t->fixed ? &t->given : &t->known;
    if (t->forced) {
        for (int i = 0; i < count; i++)
            if (!strcmp(launch_variant_at(n, caps, i)->name, t->forced)) v = launch_variant_at(n, caps, i);
    } else if (t->trying >= 0) v = launch_variant_at(n, caps, t->trying < count ? t->trying : count - 1);
    else if (all->n && tune_key(&key, n) == RY_OK) {
        choice *c = find(all, key.at);
        for (int i = 0; c && i < count; i++) {
            const ry_variant *x = launch_variant_at(n, caps, i);
            if (!strcmp(x->name, c->variant)) v = x, c->taken = true;
        }
    }
    os_mutex_unlock(t->lock);
    ry_text_free(&key);
    return v;
}

bool tune_trusts(ry_tuning *t, const ry_op *op) {
    bool found = op_is_ours(op);
    if (found || !t) return found;
    os_mutex_lock(t->lock);
    for (size_t i = 0; i < t->trusted.n; i++) found |= t->trusted.at[i] == op;
    os_mutex_unlock(t->lock);
    return found;
}

ry_status tune_trust(ry_tuning *t, const ry_op *op, bool agrees) {
    if (!t || op_is_ours(op)) return RY_OK;
    ry_status st = RY_OK;
    os_mutex_lock(t->lock);
    size_t i = 0;
    while (i < t->trusted.n && t->trusted.at[i] != op) i++;
    if (agrees && i == t->trusted.n) {
        const ry_op **slot = RY_PUSH(&t->trusted);
        if (slot) *slot = op;
        else st = RY_ENOMEM;
    } else if (!agrees && i < t->trusted.n) t->trusted.at[i] = t->trusted.at[--t->trusted.n];
    t->version++;
    os_mutex_unlock(t->lock);
    return st;
}

void tune_try(ry_tuning *t, int r) {
    os_mutex_lock(t->lock);
    t->trying = r;
    t->version++;
    os_mutex_unlock(t->lock);
}

bool tune_fixed(ry_tuning *t) {
    os_mutex_lock(t->lock);
    bool fixed = t->fixed || t->forced;
    os_mutex_unlock(t->lock);
    return fixed;
}

ry_status tune_set(ry_tuning *t, const char *key, const char *variant) {
    if (!row_of_key(key)) RY_FAIL(RY_EARG, "no operator of this build begins '%s'", key);
    os_mutex_lock(t->lock);
    ry_status st = put(&t->known, key, variant, MEASURED);
    t->version++;
    os_mutex_unlock(t->lock);
    return st;
}

ry_status tune_taken(ry_tuning *t, ry_text *out) {
    if (!t) return RY_OK;
    os_mutex_lock(t->lock);
    choices *all = t->fixed ? &t->given : &t->known;
    for (size_t i = 0; i < all->n; i++)
        if (all->at[i].taken) ry_text_printf(out, "%s\t%s\n", all->at[i].key, all->at[i].variant);
    os_mutex_unlock(t->lock);
    return ry_text_status(out);
}

ry_status tune_take(ry_tuning *t, const char *lines) {
    ry_status st = RY_OK;
    char *variant, *copy = NULL;
    if (!t) return RY_OK;
    if (lines) {
        size_t n = strlen(lines) + 1;
        if (!(copy = ry_mem_alloc(n))) return RY_ENOMEM;
        memcpy(copy, lines, n);
    }
    os_mutex_lock(t->lock);
    clear(&t->given);
    t->fixed = lines != NULL;
    t->version++;
    for (char *at = copy, *line; at && st == RY_OK && (line = next_line(&at));)
        if (split(line, &variant)) st = put(&t->given, line, variant, GIVEN);
    os_mutex_unlock(t->lock);
    ry_mem_free(copy);
    return st;
}

/* ---- what is committed: src/ops/tuned/NAME.tune ---- */

static bool has_variant(const ry_op *op, const char *name) {
    for (const ry_variant *v = op->variants; v && v->name; v++)
        if (!strcmp(v->name, name)) return true;
    return false;
}

/* Whether a line `chip: TEXT` before the first choice names a part of the device's name. */
static bool is_about(const char *text, const char *chip) {
    static const char mark[] = "chip: ";
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line != 0) {
        const char *name = line + sizeof mark - 1;
        if (*line == '#') continue;
        if (strncmp(line, mark, sizeof mark - 1) != 0) return false;
        size_t n = strcspn(name, "\n");
        for (const char *at = chip; n && strlen(at) >= n; at++)
            if (!strncmp(at, name, n)) return true;
    }
    return false;
}

ry_status tune_add(ry_tuning *t, const char *chip, const char *text) {
    if (!is_about(text, chip)) return RY_OK;
    size_t n = strlen(text) + 1;
    char *copy = ry_mem_alloc(n), *variant;
    if (!copy) return RY_ENOMEM;
    memcpy(copy, text, n);
    ry_status st = RY_OK;
    os_mutex_lock(t->lock);
    for (char *at = copy, *line; st == RY_OK && (line = next_line(&at));) {
        if (*line == '#' || !split(line, &variant)) continue;
        const ry_op *op = row_of_key(line);
        if (op && has_variant(op, variant) && !find(&t->known, line)) st = put(&t->known, line, variant, COMMITTED);
    }
    t->version++;
    os_mutex_unlock(t->lock);
    ry_mem_free(copy);
    return st;
}

static ry_status add_committed(ry_tuning *t, const char *chip) {
    for (size_t i = 0; i < ry_kernel_text_count; i++) {
        const char *end = strrchr(ry_kernel_texts[i].name, '.');
        if (end && !strcmp(end, ".tune")) RY_TRY(tune_add(t, chip, ry_kernel_texts[i].text));
    }
    return RY_OK;
}

/* ---- the user's file: a head, then VERSION <tab> KEY <tab> VARIANT ---- */

static ry_status read_file(choices *all, const ry_tuning *t) {
    char *text, *variant, *line;
    size_t bytes;
    RY_TRY(os_file_read(t->path, &text, &bytes));
    ry_status st = RY_OK;
    char *at = text;
    line = next_line(&at);
    if (line && !strcmp(line, t->head)) /* else of another device or driver, or damaged: measured anew */
        while (st == RY_OK && (line = next_line(&at))) {
            char *key;
            uint64_t version = strtoull(line, &key, 16);
            if (*key != '\t' || !split(++key, &variant)) continue;
            const ry_op *op = row_of_key(key);
            if (op && text_version(op) == version) st = put(all, key, variant, FILED);
        }
    ry_mem_free(text);
    return st;
}

static ry_status write_file(const ry_tuning *t, const choices *all) {
    ry_text text = {0};
    ry_text_printf(&text, "%s\n", t->head);
    for (size_t i = 0; i < all->n; i++)
        ry_text_printf(&text, "%016llx\t%s\t%s\n", (unsigned long long)text_version(row_of_key(all->at[i].key)), all->at[i].key, all->at[i].variant);
    ry_status st = ry_text_status(&text);
    if (st == RY_OK) st = os_file_write(t->path, text.at, text.n);
    ry_text_free(&text);
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
    if (st == RY_OK && !(off && !strcmp(off, "off"))) {
        t->path = cache_path(ry_text_hash(RY_TEXT_HASH, t->head, strlen(t->head)));
        st = add_committed(t, d->info.name);
    }
    if (st == RY_OK && t->path && os_kind(t->path) == OS_FILE && read_file(&t->known, t) != RY_OK)
        ry_log_line(RY_LOG_WARN, "measured kernel variants are not used: %s", ry_message());
    if (st == RY_OK) *out = t;
    else tune_close(t);
    return st;
}

void tune_close(ry_tuning *t) {
    if (!t) return;
    drop(&t->known);
    drop(&t->given);
    RY_VEC_FREE(&t->trusted);
    if (t->lock) os_mutex_close(t->lock);
    ry_mem_free(t->path);
    ry_mem_free(t);
}

/* The file as it is by now, with what was measured here. */
static ry_status merge(ry_tuning *t) {
    choices all = {0};
    ry_status st = os_kind(t->path) == OS_FILE ? read_file(&all, t) : RY_OK;
    os_mutex_lock(t->lock);
    for (size_t i = 0; i < t->known.n && st == RY_OK; i++)
        if (t->known.at[i].from == MEASURED) st = put(&all, t->known.at[i].key, t->known.at[i].variant, MEASURED);
    os_mutex_unlock(t->lock);
    if (st == RY_OK) st = write_file(t, &all);
    drop(&all);
    return st;
}

static ry_status lock_waiting(os_lock **out, const char *path) {
    ry_status st;
    for (double start = os_now(); (st = os_lock_open(out, path)) == RY_EBUSY && os_now() - start < WAIT;) os_cpu_yield();
    return st;
}

ry_status tune_save(ry_tuning *t) {
    if (!t->path) return RY_OK;
    ry_text beside = {0};
    os_lock *lock = NULL;
    ry_status st = RY_OK;
    char *slash = strrchr(t->path, '/');
    if (slash) {
        *slash = 0;
        st = os_mkdirs(t->path);
        *slash = '/';
    }
    ry_text_printf(&beside, "%s.lock", t->path);
    if (st == RY_OK) st = ry_text_status(&beside);
    if (st == RY_OK) st = lock_waiting(&lock, beside.at);
    if (st == RY_OK) st = merge(t);
    os_lock_close(lock);
    ry_text_free(&beside);
    return st;
}
