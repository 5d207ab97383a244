/* test_tune.c - the table of measured variants: keys, the file and its ways to be wrong, what a run takes and gives on; and the walks that
 * launch() may ask for, evaluated as a kernel would. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(defaults_and_choices), cmocka_unit_test(the_file), cmocka_unit_test(walks)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
