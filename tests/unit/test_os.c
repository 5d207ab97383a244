/* test_os.c - files that appear whole or not at all, folders, locks, maps, the machine. Works in a folder of its own. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif
#include "base/mem.h"
#include "base/os.h"
#include "unit/cm.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if !defined(_WIN32)
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#else
#define setenv(name, value, replace) _putenv_s(name, value)
#define unsetenv(name)               _putenv_s(name, "")
#endif

#define DIR "test_os.tmp"

static int fresh(void **state) {
    (void)state;
    return os_remove_tree(DIR) != RY_OK || os_mkdirs(DIR) != RY_OK;
}

static int clean(void **state) {
    (void)state;
    return os_remove_tree(DIR) != RY_OK || ry_mem_live() != 0;
}

static bool count_name(void *ud, const char *name) {
    (void)name;
    ++*(int *)ud;
    return true;
}

static int names_in(const char *path) {
    int n = 0;
    assert_ok(os_list(path, count_name, &n));
    return n;
}

static void assert_file(const char *path, const char *text) {
    char *data = NULL;
    size_t n = 0;
    assert_ok(os_file_read(path, &data, &n));
    assert_int_equal(n, strlen(text));
    assert_string_equal(data, text);
    ry_mem_free(data);
}

static void writing(void **state) {
    (void)state;
    assert_ok(os_file_write(DIR "/a", "first", 5));
    assert_file(DIR "/a", "first");
    assert_ok(os_file_write(DIR "/a", "second", 6)); /* replaces */
    assert_file(DIR "/a", "second");
    assert_ok(os_file_write(DIR "/empty", NULL, 0));
    assert_file(DIR "/empty", "");
    assert_is(RY_ENOENT, os_file_write(DIR "/no/folder", "x", 1));
    assert_non_null(strstr(ry_message(), "no/folder"));
    assert_is(RY_EARG, os_file_write(DIR, "x", 1)); /* a folder stands there */

    os_out *o = NULL; /* small and large pieces, across the buffer */
    static char big[700000];
    for (size_t i = 0; i < sizeof big; i++) big[i] = (char)(i * 31 % 251);
    assert_ok(os_out_open(&o, DIR "/big"));
    size_t at = 0;
    for (size_t piece = 1; at < sizeof big; piece = piece * 3 + 1) {
        size_t n = piece < sizeof big - at ? piece : sizeof big - at;
        assert_ok(os_out_write(o, big + at, n));
        at += n;
    }
    assert_int_equal(os_kind(DIR "/big"), OS_NOTHING); /* not there before commit */
    assert_ok(os_out_commit(o));
    char *data = NULL;
    size_t n = 0;
    assert_ok(os_file_read(DIR "/big", &data, &n));
    assert_int_equal(n, sizeof big);
    assert_memory_equal(data, big, n);
    ry_mem_free(data);

    assert_ok(os_out_open(&o, DIR "/a"));
    assert_ok(os_out_write(o, "third", 5));
    os_out_abort(o);
    os_out_abort(NULL);
    assert_file(DIR "/a", "second");
    assert_int_equal(names_in(DIR), 3); /* no temporary file is left */
}

static void faults(void **state) {
    (void)state;
    assert_ok(os_file_write(DIR "/a", "old", 3));
    for (int n = 1; n <= 5; n++) {
        char value[32];
        unsetenv("RUSTY_FAULT");
        assert_ok(os_file_write(DIR "/b", "counting begins anew", 20));
        snprintf(value, sizeof value, "write:%d", n);
        setenv("RUSTY_FAULT", value, 1);
        os_out *o = NULL;
        assert_ok(os_out_open(&o, DIR "/a"));
        for (int i = 1; i <= 5; i++) {
            ry_status st = os_out_write(o, "new", 3);
            assert_int_equal(st, i < n ? RY_OK : RY_EIO); /* and it stays failed */
        }
        assert_is(RY_EIO, os_out_commit(o));
        assert_non_null(strstr(ry_message(), "No space left"));
        assert_non_null(strstr(ry_message(), DIR "/a"));
        assert_file(DIR "/a", "old");
        assert_int_equal(names_in(DIR), 2);
    }
    unsetenv("RUSTY_FAULT");
    assert_ok(os_file_write(DIR "/b", "x", 1));
    setenv("RUSTY_FAULT", "sync:2", 1);
    assert_ok(os_file_write(DIR "/b", "first", 5));
    assert_is(RY_EIO, os_file_write(DIR "/b", "second", 6));
    assert_ok(os_file_write(DIR "/c", "third", 5));
    unsetenv("RUSTY_FAULT");
    assert_file(DIR "/b", "first");
    assert_int_equal(names_in(DIR), 3);
}

#if !defined(_WIN32)
static void full_disk(void **state) {
    (void)state;
    if (os_kind("/dev/full") == OS_NOTHING) skip();
    os_out *o = NULL; /* the real thing: only an append may open a device */
    assert_ok(os_append_open(&o, "/dev/full", -1));
    assert_ok(os_out_write(o, "x", 1));
    assert_is(RY_EIO, os_append_flush(o));
    assert_non_null(strstr(ry_message(), "No space left"));
    os_append_close(o);
    assert_is(RY_EARG, os_file_write("/dev/full", "x", 1)); /* a rename would replace the device */
}

static void rights(void **state) {
    (void)state;
    struct stat s;
    assert_ok(os_file_write(DIR "/secret", "x", 1));
    assert_int_equal(chmod(DIR "/secret", 0600), 0);
    assert_ok(os_file_write(DIR "/secret", "y", 1));
    assert_int_equal(stat(DIR "/secret", &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);
    assert_file(DIR "/secret", "y");
}

/* A lock held by another process is EBUSY, and gone with that process, however it ends. */
static void locks_between_processes(void **state) {
    (void)state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        os_lock *l = NULL;
        char c = os_lock_open(&l, DIR "/lock") == RY_OK ? 'y' : 'n';
        if (write(ready[1], &c, 1) != 1) _exit(1);
        for (;;) pause();
    }
    char c = 0;
    os_lock *l = NULL;
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    assert_is(RY_EBUSY, os_lock_open(&l, DIR "/lock"));
    char owner[32];
    snprintf(owner, sizeof owner, "process %ld", (long)child);
    assert_non_null(strstr(ry_message(), owner));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_ok(os_lock_open(&l, DIR "/lock"));
    os_lock_close(l);
    close(ready[0]);
    close(ready[1]);
}

static void links_are_not_followed(void **state) {
    (void)state;
    assert_ok(os_mkdirs(DIR "/kept"));
    assert_ok(os_file_write(DIR "/kept/file", "x", 1));
    assert_ok(os_mkdirs(DIR "/gone"));
    assert_int_equal(symlink("../kept", DIR "/gone/link"), 0);
    assert_ok(os_remove_tree(DIR "/gone"));
    assert_int_equal(os_kind(DIR "/gone"), OS_NOTHING);
    assert_file(DIR "/kept/file", "x");
}
#endif

static void appending(void **state) {
    (void)state;
    os_out *o = NULL;
    assert_ok(os_append_open(&o, DIR "/log", -1));
    assert_ok(os_out_write(o, "one\n", 4));
    assert_ok(os_append_flush(o));
    assert_file(DIR "/log", "one\n");
    assert_ok(os_out_write(o, "two\n", 4));
    os_append_close(o);
    os_append_close(NULL);
    assert_file(DIR "/log", "one\ntwo\n");
    assert_ok(os_append_open(&o, DIR "/log", 4)); /* a resumed run forgets what came after its checkpoint */
    assert_ok(os_out_write(o, "2\n", 2));
    os_append_close(o);
    assert_file(DIR "/log", "one\n2\n");
    assert_ok(os_append_open(&o, DIR "/log", 100)); /* shorter than that already: nothing is made up */
    os_append_close(o);
    assert_file(DIR "/log", "one\n2\n");
    assert_ok(os_append_open(&o, DIR "/log", 0));
    os_append_close(o);
    assert_file(DIR "/log", "");
    assert_is(RY_ENOENT, os_append_open(&o, DIR "/no/log", -1));
}

static void maps(void **state) {
    (void)state;
    os_map m;
    assert_ok(os_file_write(DIR "/a", "mapped", 6));
    assert_ok(os_file_write(DIR "/empty", NULL, 0));
    assert_ok(os_map_open(&m, DIR "/a"));
    assert_int_equal(m.bytes, 6);
    assert_memory_equal(m.data, "mapped", 6);
    assert_ok(os_file_write(DIR "/a", "other", 5)); /* replaced by rename: the map keeps the old contents */
    assert_memory_equal(m.data, "mapped", 6);
    os_map_close(&m);
    assert_null(m.data);
    assert_ok(os_map_open(&m, DIR "/empty"));
    assert_null(m.data);
    assert_int_equal(m.bytes, 0);
    os_map_close(&m);
    assert_is(RY_ENOENT, os_map_open(&m, DIR "/nothing"));
    assert_non_null(strstr(ry_message(), DIR "/nothing"));
    assert_is(RY_EIO, os_map_open(&m, DIR));
    char *data = NULL;
    size_t n = 0;
    assert_is(RY_ENOENT, os_file_read(DIR "/nothing", &data, &n));
    assert_is(RY_EIO, os_file_read(DIR, &data, &n));
    assert_null(data);
}

static bool join_names(void *ud, const char *name) {
    strcat(ud, name);
    strcat(ud, " ");
    return strcmp(name, "c") != 0;
}

static void folders(void **state) {
    (void)state;
    char list[64] = "";
    assert_ok(os_mkdirs(DIR "/x/y/z"));
    assert_ok(os_mkdirs(DIR "/x/y/z/"));
    assert_int_equal(os_kind(DIR "/x/y/z"), OS_FOLDER);
    assert_ok(os_file_write(DIR "/x/file", "1", 1));
    assert_int_equal(os_kind(DIR "/x/file"), OS_FILE);
    assert_is(RY_EIO, os_mkdirs(DIR "/x/file/sub"));
    assert_non_null(strstr(ry_message(), "is a file"));
    const char *names[] = {"d", "b", "c", "a"};
    for (int i = 0; i < 4; i++) {
        char *path = os_join(DIR "/x/y", names[i]);
        assert_ok(os_file_write(path, "1", 1));
        ry_mem_free(path);
    }
    assert_ok(os_list(DIR "/x/y", join_names, list)); /* sorted, and stopped at c */
    assert_string_equal(list, "a b c ");
    assert_is(RY_ENOENT, os_list(DIR "/nothing", join_names, list));
    assert_ok(os_rename(DIR "/x/y", DIR "/x/w"));
    assert_int_equal(os_kind(DIR "/x/y"), OS_NOTHING);
    assert_int_equal(os_kind(DIR "/x/w/z"), OS_FOLDER);
    assert_is(RY_ENOENT, os_rename(DIR "/x/y", DIR "/x/v"));
    assert_ok(os_sync_folder(DIR));
    assert_is(RY_ENOENT, os_sync_folder(DIR "/nothing"));
    assert_ok(os_remove_tree(DIR "/x"));
    assert_int_equal(os_kind(DIR "/x"), OS_NOTHING);
    assert_ok(os_remove_tree(DIR "/x")); /* already gone */
    assert_ok(os_file_write(DIR "/f", "1", 1));
    assert_ok(os_remove_tree(DIR "/f"));
    assert_int_equal(os_kind(DIR "/f"), OS_NOTHING);
}

static void locks(void **state) {
    (void)state;
    os_lock *l = NULL, *again = NULL;
    assert_ok(os_lock_open(&l, DIR "/lock"));
    assert_is(RY_EBUSY, os_lock_open(&again, DIR "/lock"));
    os_lock_close(l);
    os_lock_close(NULL);
    assert_ok(os_lock_open(&l, DIR "/lock"));
    os_lock_close(l);
    assert_is(RY_ENOENT, os_lock_open(&l, DIR "/no/lock"));
}

static void paths_and_environment(void **state) {
    (void)state;
    static const char *rows[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"/", "b", "/b"}, {"a", "", "a/"}};
    for (int i = 0; i < 5; i++) {
        char *p = os_join(rows[i][0], rows[i][1]);
        assert_string_equal(p, rows[i][2]);
        ry_mem_free(p);
    }
    setenv("RUSTY_TEST_VALUE", "x", 1);
    assert_string_equal(os_env("RUSTY_TEST_VALUE"), "x");
    setenv("RUSTY_TEST_VALUE", "", 1);
    assert_null(os_env("RUSTY_TEST_VALUE"));
    unsetenv("RUSTY_TEST_VALUE");
    assert_null(os_env("RUSTY_TEST_VALUE"));
}

#if !defined(_WIN32)
static void do_nothing(void *count) { ++*(int *)count; }
static void give_up(void *count) {
    ++*(int *)count;
    abort();
}
static void give_up_within(void *count) {
    assert_false(os_guarded(give_up, count));
    assert_true(os_guarded(do_nothing, count));
    abort(); /* the outer guard is in force again */
}

static void guarded_calls(void **state) {
    (void)state;
    int n = 0;
    assert_true(os_guarded(do_nothing, &n));
    for (int i = 0; i < 3; i++) assert_false(os_guarded(give_up, &n)); /* not only once */
    assert_int_equal(n, 4);
    assert_false(os_guarded(give_up_within, &n));
    assert_int_equal(n, 6);
    /* Outside, abort() ends the process as ever. */
    pid_t child = fork();
    if (child == 0) {
        os_guarded(do_nothing, &n);
        abort();
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
#endif

static void machine(void **state) {
    (void)state;
    char name[128], tiny[4];
    assert_in_range(os_cpu_count(), 1, 4096);
    assert_true(os_memory_total() > 1 << 20);
    os_cpu_name(name, sizeof name);
    assert_true(strlen(name) > 0 && strchr(name, '\n') == NULL);
    os_cpu_name(tiny, sizeof tiny);
    assert_true(strlen(tiny) < sizeof tiny);
    double a = os_now();
    os_cpu_relax();
    os_cpu_yield();
    assert_true(os_now() >= a);
    assert_true(os_wall() > 1.6e9);
    assert_null(os_dl_open("no-such-library-anywhere"));
    os_dl_close(NULL);
}

static void set_flag(void *arg) { *(int *)arg = 1; }

typedef struct gate {
    os_mutex *lock;
    os_cond *changed;
    int value;
} gate;

static void open_gate(void *arg) {
    gate *g = arg;
    os_mutex_lock(g->lock);
    g->value = 7;
    os_cond_wake_all(g->changed);
    os_mutex_unlock(g->lock);
}

static void threads(void **state) {
    (void)state;
    int flag = 0;
    os_thread *t = NULL;
    assert_ok(os_thread_start(&t, set_flag, &flag));
    os_thread_join(t);
    assert_int_equal(flag, 1);
    gate g = {0};
    assert_ok(os_mutex_open(&g.lock));
    assert_ok(os_cond_open(&g.changed));
    assert_ok(os_thread_start(&t, open_gate, &g));
    os_mutex_lock(g.lock);
    while (g.value != 7) os_cond_wait(g.changed, g.lock);
    os_mutex_unlock(g.lock);
    os_thread_join(t);
    os_thread_join(NULL);
    os_cond_close(g.changed);
    os_mutex_close(g.lock);
    os_static_lock();
    os_static_unlock();
}

static long calls, refuse;
static void *refusing(void *ud, void *ptr, size_t old_size, size_t new_size) {
    (void)ud;
    (void)old_size;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return ++calls == refuse ? NULL : realloc(ptr, new_size);
}

static ry_status script(void) {
    char *data = NULL;
    size_t n = 0;
    int count = 0;
    os_lock *l = NULL;
    os_out *o = NULL;
    RY_TRY(os_mkdirs(DIR "/s"));
    RY_TRY(os_file_write(DIR "/s/f", "new", 3));
    RY_TRY(os_file_read(DIR "/s/f", &data, &n));
    ry_mem_free(data);
    RY_TRY(os_list(DIR "/s", count_name, &count));
    RY_TRY(os_append_open(&o, DIR "/s/f", 0));
    os_append_close(o);
    RY_TRY(os_lock_open(&l, DIR "/s/lock"));
    os_lock_close(l);
    return os_remove_tree(DIR "/s");
}

static void every_allocation_fails_once(void **state) {
    (void)state;
    ry_status st = RY_ENOMEM;
    ry_alloc_set(refusing, NULL);
    for (refuse = 1; st != RY_OK && refuse < 100; refuse++) {
        calls = 0;
        st = script();
        assert_true(st == RY_OK || st == RY_ENOMEM);
        assert_int_equal(ry_mem_live(), 0);
    }
    ry_alloc_set(NULL, NULL);
    assert_true(refuse > 8 && refuse < 100);
}

int main(void) {
#define in_folder(f) cmocka_unit_test_setup_teardown(f, fresh, clean)
    const struct CMUnitTest tests[] = {
        in_folder(writing),
        in_folder(faults),
        in_folder(appending),
        in_folder(maps),
        in_folder(folders),
        in_folder(locks),
#if !defined(_WIN32)
        in_folder(full_disk),
        in_folder(rights),
        in_folder(locks_between_processes),
        in_folder(links_are_not_followed),
        in_folder(guarded_calls),
#endif
        in_folder(paths_and_environment),
        in_folder(machine),
        in_folder(threads),
        in_folder(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
