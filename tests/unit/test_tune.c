/* test_tune.c - the table of measured variants: keys, the file and its ways to be wrong, what is committed, what a run takes and gives
 * on; and the walks that launch() may ask for, evaluated as a kernel would. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif
#include "base/kernel_text.h"
#include "core/launch.h"
#include "core/program.h"
#include "core/tune.h"
#include "unit/cm.h"
#include <rusty/ops.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(_WIN32)
#define setenv(name, value, replace) _putenv_s(name, value)
#define unsetenv(name)               _putenv_s(name, "")
#endif

#define CACHE "test_tune.dir"

static const ry_caps caps = {.features = 0, .align = 256, .max_bindings = 8, .shared_bytes = 16384, .max_invocations = 256,
                             .max_binding = 128u << 20, .max_buffer = 256u << 20};
static ry_device *cpu;
static ry_graph *graph;
static const ry_node *node; /* a product with several variants */

static ry_device gpu(const char *name, const char *driver) {
    ry_device d = {.caps = caps};
    snprintf(d.info.name, sizeof d.info.name, "%s", name);
    snprintf(d.info.driver, sizeof d.info.driver, "%s", driver);
    return d;
}

static int set_up(void **state) {
    (void)state;
    setenv("RUSTY_CACHE", CACHE, 1);
    unsetenv("RUSTY_TUNE"), unsetenv("RUSTY_VARIANT"); /* the caller's */
    assert_ok(ry_device_open(&cpu, "cpu", NULL));
    assert_ok(ry_graph_open(&graph, cpu));
    ry_tensor a = ry_input(graph, &RY_SHAPE(RY_F32, 512, 512), "a"), b = ry_input(graph, &RY_SHAPE(RY_F32, 512, 512), "b");
    node = ry_node_of(graph, ry_matmul(graph, a, ry_transpose(graph, b, 0, 1)));
    return 0;
}
static int tear_down(void **state) {
    (void)state;
    ry_graph_close(graph);
    ry_device_close(cpu);
    os_remove_tree(CACHE);
    return ry_mem_live() != 0;
}

static const ry_variant *last(void) {
    int n;
    (void)launch_variant(node, &caps, &n);
    assert_true(n > 1);
    return launch_variant_at(node, &caps, n - 1);
}

static ry_tuning *open_for(const char *name, const char *driver) {
    ry_device d = gpu(name, driver);
    ry_tuning *t = NULL;
    assert_ok(tune_open(&t, &d));
    return t;
}

static bool take_name(void *ud, const char *name) {
    *(char **)ud = os_join(CACHE, name);
    return false;
}

/* A file in which the node has its last variant; its path (ry_mem_free). */
static char *write_file(void) {
    ry_text key = {0};
    char *path = NULL;
    os_remove_tree(CACHE);
    ry_tuning *t = open_for("A chip", "1.0");
    assert_ok(tune_key(&key, node));
    assert_ok(tune_set(t, key.at, last()->name));
    assert_ok(tune_save(t));
    tune_close(t);
    ry_text_free(&key);
    assert_ok(os_list(CACHE, take_name, &path));
    assert_non_null(path);
    return path;
}

static const ry_variant *chosen(const char *name, const char *driver) {
    ry_tuning *t = open_for(name, driver);
    const ry_variant *v = tune_choose(t, node, &caps);
    tune_close(t);
    return v;
}

static void defaults_and_choices(void **state) {
    (void)state;
    ry_text key = {0}, taken = {0};
    os_remove_tree(CACHE);
    ry_tuning *t = open_for("A chip", "1.0");
    const ry_variant *first = launch_variant(node, &caps, NULL);
    uint64_t version = tune_version(t);
    assert_ptr_equal(tune_choose(t, node, &caps), first);
    assert_ok(tune_key(&key, node));
    assert_non_null(strstr(key.at, "matmul f32[512,512] f32[512,512]"));
    assert_ok(tune_taken(t, &taken));
    assert_int_equal(taken.n, 0); /* the default is no choice */
    assert_ok(tune_set(t, key.at, last()->name));
    assert_true(tune_version(t) != version);
    assert_ok(tune_taken(t, &taken));
    assert_int_equal(taken.n, 0); /* nobody has asked */
    assert_ptr_equal(tune_choose(t, node, &caps), last());
    assert_ok(tune_taken(t, &taken));
    char want[400];
    snprintf(want, sizeof want, "%s\t%s\n", key.at, last()->name);
    assert_string_equal(taken.at, want);
    tune_try(t, 0);
    assert_ptr_equal(tune_choose(t, node, &caps), first);
    tune_try(t, 1000);
    assert_ptr_equal(tune_choose(t, node, &caps), last());
    tune_try(t, -1);
    /* What a checkpoint says stands for all. */
    assert_ok(tune_take(t, ""));
    assert_ptr_equal(tune_choose(t, node, &caps), first);
    assert_ok(tune_take(t, want));
    assert_ptr_equal(tune_choose(t, node, &caps), last());
    assert_ok(tune_take(t, "no tab\n\t\n\tx\nmatmul\tnothing of that name"));
    assert_ptr_equal(tune_choose(t, node, &caps), first);
    assert_true(tune_fixed(t));
    assert_ok(tune_take(t, NULL)); /* that run is over */
    assert_false(tune_fixed(t));
    assert_ptr_equal(tune_choose(t, node, &caps), last());
    assert_int_equal(tune_set(t, "no_such_row f32[1] -> f32[1]", "x"), RY_EARG);
    tune_close(t);
    ry_text_free(&key);
    ry_text_free(&taken);
    assert_ptr_equal(tune_choose(NULL, node, &caps), first); /* a device without a table */
}

static void the_file(void **state) {
    (void)state;
    const ry_variant *first = launch_variant(node, &caps, NULL);
    char *path = write_file(), *text, *now;
    size_t n, size;
    assert_ptr_equal(chosen("A chip", "1.0"), last());
    assert_ptr_equal(chosen("A chip", "1.1"), first);
    assert_ptr_equal(chosen("Another", "1.0"), first);
    setenv("RUSTY_TUNE", "off", 1);
    assert_ptr_equal(chosen("A chip", "1.0"), first);
    unsetenv("RUSTY_TUNE");
    setenv("RUSTY_VARIANT", last()->name, 1);
    assert_ptr_equal(chosen("Another", "1.0"), last());
    unsetenv("RUSTY_VARIANT");
    assert_ok(os_file_read(path, &text, &n));
    /* Written again: the same bytes. */
    ry_tuning *t = open_for("A chip", "1.0");
    assert_ok(tune_save(t));
    tune_close(t);
    assert_ok(os_file_read(path, &now, &size));
    assert_int_equal(size, n);
    assert_memory_equal(now, text, n);
    ry_mem_free(now);
    /* Cut anywhere, any byte changed: what is left is taken or not, nothing else happens. */
    for (size_t cut = 0; cut < n; cut++) {
        assert_ok(os_file_write(path, text, cut));
        const ry_variant *v = chosen("A chip", "1.0");
        assert_true(v == first || v == last());
        assert_true(cut + 1 >= n || v == first); /* the last byte ends the line */
    }
    for (size_t i = 0; i < n; i++) {
        char *bad = ry_mem_alloc(n);
        memcpy(bad, text, n);
        bad[i] ^= 0x15;
        assert_ok(os_file_write(path, bad, n));
        const ry_variant *v = chosen("A chip", "1.0");
        bool matters = i + 1 < n;
        if (matters && v == last()) fail_msg("byte %zu of the file does not matter", i);
        ry_mem_free(bad);
    }
    /* Another device's lines under this one's name. */
    char *other = strstr(text, "A chip");
    assert_non_null(other);
    memcpy(other, "B chip", 6);
    assert_ok(os_file_write(path, text, n));
    assert_ptr_equal(chosen("A chip", "1.0"), first);
    ry_mem_free(text);
    ry_mem_free(path);
}

/* ---- saving beside others ---- */

static const char *lines_of(const char *path, char **text) {
    size_t n;
    ry_mem_free(*text);
    assert_ok(os_file_read(path, text, &n));
    return *text;
}

/* A resumed run that measures: its checkpoint's choices stay out of the file, and the file's stay in. */
static void a_resume_saves(void **state) {
    (void)state;
    char *path = write_file(), *text = NULL, was[600];
    snprintf(was, sizeof was, "%s", strchr(lines_of(path, &text), '\n'));
    ry_tuning *t = open_for("A chip", "1.0");
    assert_ok(tune_take(t, "matmul f32[8,8] f32[8,8] -> f32[8,8] product=1 b_rows=0\tof a checkpoint\n"));
    assert_ok(tune_set(t, "matmul f32[9,9] f32[9,9] -> f32[9,9] product=1 b_rows=0", "measured"));
    assert_ok(tune_save(t));
    tune_close(t);
    assert_non_null(strstr(lines_of(path, &text), was));
    assert_non_null(strstr(text, "matmul f32[9,9]"));
    assert_null(strstr(text, "of a checkpoint"));
    assert_null(strstr(text, "0000000000000000\t"));
    assert_ptr_equal(chosen("A chip", "1.0"), last());
    ry_mem_free(text);
    ry_mem_free(path);
}

enum { SAVERS = 4, SAVES = 8 };

static void save_some(void *arg) {
    char key[64];
    int who = *(const int *)arg;
    for (int i = 0; i < SAVES; i++) {
        ry_device d = gpu("A chip", "1.0");
        ry_tuning *t = NULL;
        if (tune_open(&t, &d) != RY_OK) return;
        snprintf(key, sizeof key, "matmul saver %d line %d", who, i);
        if (tune_set(t, key, "x") != RY_OK || tune_save(t) != RY_OK) i = SAVES; /* the test misses the line */
        tune_close(t);
    }
}

/* Several save at once, each one a line more: none is lost. */
static void many_save(void **state) {
    (void)state;
    os_thread *thread[SAVERS];
    int who[SAVERS];
    char *path = write_file(), *text = NULL, key[64];
    for (int i = 0; i < SAVERS; i++) {
        who[i] = i;
        assert_ok(os_thread_start(&thread[i], save_some, &who[i]));
    }
    for (int i = 0; i < SAVERS; i++) os_thread_join(thread[i]);
    (void)lines_of(path, &text);
    for (int i = 0; i < SAVERS * SAVES; i++) {
        snprintf(key, sizeof key, "matmul saver %d line %d\tx\n", i / SAVES, i % SAVES);
        if (!strstr(text, key)) fail_msg("lost: %s", key);
    }
    assert_ptr_equal(chosen("A chip", "1.0"), last());
    ry_mem_free(text);
    ry_mem_free(path);
}

static void count_calls(void *ud, const char *text) {
    (void)text;
    ++*(int *)ud;
}

/* A run that goes on with its checkpoint's choices measures nothing. */
static void fixed_is_not_measured(void **state) {
    (void)state;
    int calls = 0;
    ry_graph *g;
    assert_ok(ry_graph_open(&g, cpu));
    ry_tensor a = ry_input(g, &RY_SHAPE(RY_F32, 4, 4), "a"), y = ry_matmul(g, a, a);
    float x[16] = {1, 2, 3};
    ry_feed feed = {.input = a, .data = x, .bytes = sizeof x};
    ry_tune_options opt = {.progress = count_calls, .ud = &calls};
    os_remove_tree(CACHE);
    cpu->tuning = open_for("A chip", "1.0"); /* as if it had kernels */
    assert_ok(tune_take(cpu->tuning, ""));
    assert_ok(ry_tune(g, 1, &y, 1, &feed, &opt));
    assert_int_equal(calls, 0);
    assert_ok(tune_take(cpu->tuning, NULL));
    assert_ok(ry_tune(g, 1, &y, 1, &feed, &opt));
    assert_true(calls > 0);
    tune_close(cpu->tuning);
    cpu->tuning = NULL;
    ry_graph_close(g);
}

/* ---- what is committed ---- */

static void committed_choices(void **state) {
    (void)state;
    const ry_variant *first = launch_variant(node, &caps, NULL);
    ry_text key = {0}, text = {0}, line = {0}, taken = {0};
    os_remove_tree(CACHE);
    assert_ok(tune_key(&key, node));
    ry_text_printf(&line, "%s\t%s\n", key.at, last()->name);
    ry_text_printf(&text, "chip: Other\n# a remark\nchip: A chip\nno tab\nno_such_row f32[1]\tx\n%.20s\tno such variant\n%s\tno such variant\n%s", key.at, key.at, line.at);
    ry_tuning *t = open_for("Maker's A chip 80GB", "1.0");
    assert_ok(tune_add(t, "A chi", text.at));
    assert_ok(tune_add(t, "a chip", text.at));
    assert_ok(tune_add(t, "", text.at));
    assert_ok(tune_add(t, "A chip", line.at)); /* a text for no chip */
    assert_ok(tune_add(t, "A chip", "chip: \n"));
    assert_ptr_equal(tune_choose(t, node, &caps), first);
    uint64_t version = tune_version(t);
    assert_ok(tune_add(t, "Maker's A chip 80GB", text.at));
    assert_true(tune_version(t) != version);
    assert_ptr_equal(tune_choose(t, node, &caps), last());
    assert_ok(tune_taken(t, &taken)); /* a checkpoint says it like any other */
    assert_string_equal(taken.at, line.at);
    assert_ok(tune_save(t)); /* the user's file does not */
    tune_close(t);
    assert_ptr_equal(chosen("Maker's A chip 80GB", "1.0"), first);
    /* What was measured stands above it, the default too. */
    t = open_for("A chip", "1.0");
    assert_ok(tune_set(t, key.at, first->name));
    assert_ok(tune_save(t));
    tune_close(t);
    t = open_for("A chip", "1.0");
    assert_ok(tune_add(t, "A chip", text.at));
    assert_ptr_equal(tune_choose(t, node, &caps), first);
    tune_close(t);
    ry_text_free(&key);
    ry_text_free(&text);
    ry_text_free(&line);
    ry_text_free(&taken);
}

/* "matmul T[dims](strides) T[dims](strides) -> ..." without more operands, as a graph builds it; NULL: not so simple. */
static const ry_node *product_of_key(ry_graph *g, const char *key) {
    ry_tensor x[2];
    bool rows = strstr(key, "b_rows=1") != NULL;
    const char *p = key + strcspn(key, " ");
    for (int i = 0; i < 2; i++) {
        ry_spec s = {.dtype = RY_NONE};
        int used = 0, turned = 0;
        char name[8];
        if (sscanf(p, " %7[a-z0-9]%n", name, &used) != 1) return NULL;
        for (int d = 1; d < RY_DTYPE_COUNT; d++)
            if (!strcmp(ry_dtype_name((ry_dtype)d), name)) s.dtype = (ry_dtype)d;
        if (s.dtype == RY_NONE || p[used] != '[') return NULL;
        for (p += used; *p == '[' || *p == ','; p += used) {
            long long dim;
            if (sscanf(p + 1, "%lld%n", &dim, &used) != 1 || s.rank == RY_MAX_RANK) return NULL;
            s.dim[s.rank++] = dim;
            used++;
        }
        p++;
        if (*p == '(') {
            if (s.rank != 2) return NULL;
            int64_t d = s.dim[0];
            s.dim[0] = s.dim[1], s.dim[1] = d, turned = 1;
            p += strcspn(p, " ");
        }
        x[i] = ry_input(g, &s, i ? "b" : "a");
        if (turned) x[i] = ry_transpose(g, x[i], 0, 1);
    }
    if (strncmp(p, " -> ", 4) != 0) return NULL;
    return ry_node_of(g, rows ? ry_linear(g, x[0], x[1], (ry_tensor){0}) : ry_matmul(g, x[0], x[1]));
}

/* A node of a committed line on the chip of the file gets the line's variant, without a file of the user's. */
static bool is_taken(const char *chip, const char *key, const char *variant) {
    static const ry_caps rich = {.features = ~(uint32_t)RY_FEATURE_SOFTWARE, .align = 16, .max_bindings = 16, .shared_bytes = 49152,
                                 .max_invocations = 1024, .max_binding = 2u << 30, .max_buffer = 2u << 30};
    ry_graph *g;
    ry_text now = {0};
    assert_ok(ry_graph_open(&g, cpu));
    const ry_node *n = strncmp(key, "matmul ", 7) ? NULL : product_of_key(g, key);
    bool alike = n && tune_key(&now, n) == RY_OK && !strcmp(now.at, key), holds = false;
    for (int i = 0; alike && launch_variant_at(n, &rich, i); i++) holds = holds || !strcmp(launch_variant_at(n, &rich, i)->name, variant);
    if (holds) {
        ry_tuning *t = open_for(chip, "any driver");
        assert_string_equal(tune_choose(t, n, &rich)->name, variant);
        tune_close(t);
        setenv("RUSTY_TUNE", "off", 1);
        t = open_for(chip, "any driver");
        assert_ptr_equal(tune_choose(t, n, &rich), launch_variant(n, &rich, NULL));
        tune_close(t);
        unsetenv("RUSTY_TUNE");
    }
    ry_text_free(&now);
    ry_graph_close(g);
    return holds;
}

/* Every line of every file names a row and one of its variants, once; and what it says is what a run takes. */
static void committed_files(void **state) {
    (void)state;
    int files = 0, taken = 0;
    os_remove_tree(CACHE);
    for (size_t i = 0; i < ry_kernel_text_count; i++) {
        const char *file = ry_kernel_texts[i].name, *p = ry_kernel_texts[i].text;
        if (!strstr(file, ".tune")) continue;
        char chip[200] = "", line[1000], row[64];
        int number = 0, lines = 0;
        for (files++; *p; lines++, number++) {
            size_t n = strcspn(p, "\n");
            assert_true(n < sizeof line && p[n] == '\n'); /* the last line is ended too */
            memcpy(line, p, n);
            line[n] = 0;
            const char *rest = p + n + 1;
            if (!number || (!strncmp(p, "chip: ", 6) && !lines)) {
                if (strncmp(line, "chip: ", 6) != 0 || !line[6]) fail_msg("%s does not begin with the name of a chip", file);
                if (!*chip) snprintf(chip, sizeof chip, "%.190s", line + 6);
                lines--;
            } else if (*line == '#') lines--;
            else {
                char *tab = strchr(line, '\t');
                if (!tab || strchr(tab + 1, '\t')) fail_msg("%s:%d: not KEY<tab>VARIANT", file, number + 1);
                *tab = 0;
                snprintf(row, sizeof row, "%.*s", (int)strcspn(line, " "), line);
                const ry_op *op = ry_op_find(row);
                if (!op) fail_msg("%s:%d: there is no row %s", file, number + 1, row);
                bool there = false;
                for (const ry_variant *v = op->variants; v && v->name; v++) there = there || !strcmp(v->name, tab + 1);
                if (!there) fail_msg("%s:%d: %s has no variant '%s'", file, number + 1, row, tab + 1);
                if (!strstr(line, " -> ")) fail_msg("%s:%d: no key", file, number + 1);
                *tab = '\t';
                tab[1] = 0; /* with the tab: the whole key */
                const char *again = strstr(rest, line);
                if (again && again[-1] == '\n') fail_msg("%s:%d: said twice", file, number + 1);
                *tab = 0;
                snprintf(row, sizeof row, "%.*s", (int)strcspn(p + (tab - line) + 1, "\n"), p + (tab - line) + 1);
                taken += is_taken(chip, line, row);
            }
            p = rest;
        }
        if (!lines) fail_msg("%s says nothing", file);
    }
    assert_true(files > 0);
    assert_true(taken > 0);
}

/* ---- walks ---- */

/* What the function of the text gives for i. */
static int64_t walked(const ry_launch *l, const char *name, int64_t i) {
    int64_t d[RY_MAX_RANK] = {0}, s[RY_MAX_RANK] = {0}, at = 0;
    int rank = 0;
    char field[24];
    if (strstr(l->text->at, "{ return i; }")) return i;
    for (int k = 0; k < RY_MAX_RANK; k++)
        for (int u = 0; u < l->n_uniform; u++) {
            snprintf(field, sizeof field, "%s_s%d", name, k);
            if (!strcmp(l->uniform[u].name, field)) s[k] = (int64_t)l->uniform[u].value, rank = k + 1;
            snprintf(field, sizeof field, "%s_d%d", name, k);
            if (!strcmp(l->uniform[u].name, field)) d[k] = (int64_t)l->uniform[u].value;
        }
    for (int k = rank - 1; k > 0; k--) at += i % d[k] * s[k], i /= d[k];
    return at + (rank ? i * s[0] : 0);
}

static void walks(void **state) {
    (void)state;
    uint32_t seed = 7;
    for (int round = 0; round < 400; round++) {
        int64_t dim[RY_MAX_RANK], count = 1;
        ry_value v = {.spec = {.dtype = RY_F32}};
        int rank = (int)((seed = seed * 1664525u + 1013904223u) >> 29) % 6, lead;
        for (int i = 0; i < rank; i++) count *= dim[i] = 1 + ((seed = seed * 1664525u + 1013904223u) >> 30);
        v.spec.rank = rank - (lead = rank ? (int)((seed = seed * 1664525u + 1013904223u) >> 30) % rank : 0);
        int64_t dense = 1;
        for (int i = v.spec.rank - 1; i >= 0; i--) { /* dense, broadcast, backwards, with gaps */
            seed = seed * 1664525u + 1013904223u;
            v.spec.dim[i] = seed >> 30 ? dim[i + lead] : 1;
            v.stride[i] = (seed >> 28 & 3) == 1 ? -dense : (seed >> 28 & 3) == 2 ? dense + 3 : dense;
            if (round % 3 == 0) v.spec.dim[i] = dim[i + lead], v.stride[i] = dense;
            dense *= v.spec.dim[i];
        }
        ry_launch *l = ry_mem_zalloc(sizeof *l);
        ry_text text = {0};
        l->caps = &caps, l->text = &text;
        ry_launch_walk(l, "walk", &v, rank, dim);
        for (int64_t i = 0; i < count; i++) {
            int64_t want = 0, rest = i;
            for (int k = rank - 1; k >= 0; k--) {
                int64_t index = rest % dim[k];
                rest /= dim[k];
                if (k >= lead && v.spec.dim[k - lead] != 1) want += index * v.stride[k - lead];
            }
            if (walked(l, "walk", i) != want) fail_msg("round %d: index %lld gives %lld, not %lld", round, (long long)i, (long long)walked(l, "walk", i), (long long)want);
        }
        if (round % 3 == 0 && !lead) assert_true(strstr(text.at, "{ return i; }") || count == 1); /* dense: nothing to compute */
        ry_text_free(&text);
        ry_mem_free(l);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(defaults_and_choices), cmocka_unit_test(the_file), cmocka_unit_test(a_resume_saves), cmocka_unit_test(many_save),
                                       cmocka_unit_test(fixed_is_not_measured), cmocka_unit_test(committed_choices), cmocka_unit_test(committed_files), cmocka_unit_test(walks)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
