/* os_posix.c - Linux, macOS and the BSDs behind os.h.
 *
 * Owns every system call of the library on these systems.  Never retries what a user should hear about, never leaves a half
 * written file in the place of a whole one. */
#if !defined(_WIN32)
#if defined(__APPLE__)
#define _DARWIN_C_SOURCE
#else
#define _GNU_SOURCE
#endif
#include "base/mem.h"
#include "base/os.h"
#include "base/os_out.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif
#include <sys/utsname.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#if defined(__APPLE__)
#include <mach-o/dyld.h>
#include <sys/sysctl.h>
#endif

/* ---------------------------------------------------------------- failures */

static ry_status status_of(int error) {
    switch (error) {
    case ENOENT:
    case ENOTDIR: return RY_ENOENT;
    case ENOMEM: return RY_ENOMEM;
    default: return RY_EIO;
    }
}

/* The two strerror_r of this world: one returns the text, one fills the buffer. */
static const char *text_if_int(int result, const char *buf) { return result == 0 ? buf : "unknown error"; }
static const char *text_if_pointer(const char *result, const char *buf) {
    (void)buf;
    return result;
}
#define error_text(error, buf) \
    _Generic(strerror_r((error), (buf), sizeof(buf)), int: text_if_int, char *: text_if_pointer)(                      \
        strerror_r((error), (buf), sizeof(buf)), (buf))

static ry_status fail(const char *what, const char *path) {
    int error = errno;
    char buf[256];
    return ry_fail(status_of(error), "cannot %s %s: %s", what, path, error_text(error, buf));
}

/* ---------------------------------------------------------------- threads */

struct os_thread {
    pthread_t id;
    void (*fn)(void *);
    void *arg;
};
struct os_mutex {
    pthread_mutex_t m;
};
struct os_cond {
    pthread_cond_t c;
};
enum { STACK_BYTES = 8 << 20 }; /* some systems give 128 KiB to all but the first thread */

static void *thread_main(void *arg) {
    os_thread *t = arg;
    t->fn(t->arg);
    return NULL;
}

ry_status os_thread_start(os_thread **out, void (*fn)(void *), void *arg) {
    os_thread *t = ry_mem_alloc(sizeof *t);
    if (t == NULL) return RY_ENOMEM;
    *t = (os_thread){.fn = fn, .arg = arg};
    pthread_attr_t attr;
    int error = pthread_attr_init(&attr);
    if (error == 0) {
        pthread_attr_setstacksize(&attr, STACK_BYTES);
        /* Signals go to the application's own threads. */
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        error = pthread_create(&t->id, &attr, thread_main, t);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attr);
    }
    if (error != 0) {
        char buf[256];
        ry_mem_free(t);
        return ry_fail(error == ENOMEM ? RY_ENOMEM : RY_EUNSUPPORTED, "cannot start a thread: %s",
                       error_text(error, buf));
    }
    *out = t;
    return RY_OK;
}

void os_thread_join(os_thread *t) {
    if (t == NULL) return;
    pthread_join(t->id, NULL);
    ry_mem_free(t);
}

ry_status os_mutex_open(os_mutex **out) {
    os_mutex *m = ry_mem_alloc(sizeof *m);
    if (m == NULL) return RY_ENOMEM;
    if (pthread_mutex_init(&m->m, NULL) != 0) {
        ry_mem_free(m);
        return ry_fail(RY_ENOMEM, "the system has no room for a mutex");
    }
    *out = m;
    return RY_OK;
}

void os_mutex_close(os_mutex *m) {
    if (m == NULL) return;
    pthread_mutex_destroy(&m->m);
    ry_mem_free(m);
}

void os_mutex_lock(os_mutex *m) { pthread_mutex_lock(&m->m); }
void os_mutex_unlock(os_mutex *m) { pthread_mutex_unlock(&m->m); }

ry_status os_cond_open(os_cond **out) {
    os_cond *c = ry_mem_alloc(sizeof *c);
    if (c == NULL) return RY_ENOMEM;
    if (pthread_cond_init(&c->c, NULL) != 0) {
        ry_mem_free(c);
        return ry_fail(RY_ENOMEM, "the system has no room for a condition");
    }
    *out = c;
    return RY_OK;
}

void os_cond_close(os_cond *c) {
    if (c == NULL) return;
    pthread_cond_destroy(&c->c);
    ry_mem_free(c);
}

void os_cond_wait(os_cond *c, os_mutex *m) { pthread_cond_wait(&c->c, &m->m); }
void os_cond_wake_all(os_cond *c) { pthread_cond_broadcast(&c->c); }

static pthread_mutex_t static_lock = PTHREAD_MUTEX_INITIALIZER;
void os_static_lock(void) { pthread_mutex_lock(&static_lock); }
void os_static_unlock(void) { pthread_mutex_unlock(&static_lock); }

/* ---------------------------------------------------------------- the machine */

/* First line of a small file of /proc or /sys; false if there is none. */
static bool first_line(const char *path, char *buf, size_t n) {
    FILE *f = fopen(path, "re");
    if (f == NULL) return false;
    bool ok = fgets(buf, (int)n, f) != NULL;
    fclose(f);
    return ok;
}

/* CPUs' worth of time a control group grants; 0 = no limit. A container of two CPUs may see all of the host's. */
static int group_cpus(void) {
    char line[128];
    long long quota = 0, period = 0;
    if (first_line("/sys/fs/cgroup/cpu.max", line, sizeof line)) {
        if (sscanf(line, "%lld %lld", &quota, &period) != 2) return 0; /* "max 100000" */
    } else if (first_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", line, sizeof line)) {
        quota = strtoll(line, NULL, 10);
        if (!first_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", line, sizeof line)) return 0;
        period = strtoll(line, NULL, 10);
    }
    if (quota <= 0 || period <= 0) return 0;
    long long n = (quota + period - 1) / period;
    return n < 4096 ? (int)n : 4096;
}

int os_cpu_count(void) {
    long n = 0;
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
#endif
    if (n <= 0) n = sysconf(_SC_NPROCESSORS_ONLN);
    int limit = group_cpus();
    if (limit > 0 && n > limit) n = limit;
    return n < 1 ? 1 : n < 4096 ? (int)n : 4096;
}

bool os_cpu_tiles(void) {
#if defined(__linux__) && defined(__x86_64__) && defined(SYS_arch_prctl)
    enum { REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XTILEDATA) == 0;
#else
    return false;
#endif
}

void os_cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

void os_cpu_yield(void) { sched_yield(); }

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void os_sleep(double seconds) {
    struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL); /* a signal may end it early: sleeping is only ever patience */
}

double os_now(void) { return seconds(CLOCK_MONOTONIC); }
double os_wall(void) { return seconds(CLOCK_REALTIME); }

size_t os_memory_total(void) {
    unsigned long long total = 0;
#if defined(__APPLE__)
    size_t n = sizeof total;
    if (sysctlbyname("hw.memsize", &total, &n, NULL, 0) != 0) total = 0;
#else
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0) total = (unsigned long long)pages * (unsigned long long)page;
#endif
    char line[64];
    if (first_line("/sys/fs/cgroup/memory.max", line, sizeof line) ||
        first_line("/sys/fs/cgroup/memory/memory.limit_in_bytes", line, sizeof line)) {
        unsigned long long limit = strtoull(line, NULL, 10); /* "max" reads as 0 */
        if (limit > 0 && limit < total) total = limit;
    }
    return total < SIZE_MAX ? (size_t)total : SIZE_MAX;
}

void os_memory_huge(void *p, size_t bytes) {
#if defined(MADV_HUGEPAGE)
    long page = sysconf(_SC_PAGESIZE);
    if (page <= 0) return;
    uintptr_t mask = (uintptr_t)page - 1, from = ((uintptr_t)p + mask) & ~mask, to = ((uintptr_t)p + bytes) & ~mask;
    /* Measured on a Xeon: first touch three times, random reads one and a half times as fast. A refusal costs nothing. */
    if (to > from) (void)madvise((void *)from, to - from, MADV_HUGEPAGE);
#else
    (void)p;
    (void)bytes;
#endif
}

void os_cpu_name(char *buf, size_t n) {
    buf[0] = 0;
#if defined(__APPLE__)
    size_t got = n;
    if (sysctlbyname("machdep.cpu.brand_string", buf, &got, NULL, 0) != 0) buf[0] = 0;
#else
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256];
    while (f && buf[0] == 0 && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (colon && strncmp(line, "model name", 10) == 0) {
            snprintf(buf, n, "%s", colon + 1 + strspn(colon + 1, " \t"));
            buf[strcspn(buf, "\n")] = 0;
        }
    }
    if (f) fclose(f);
#endif
    struct utsname u;
    if (buf[0] == 0) snprintf(buf, n, "%s", uname(&u) == 0 ? u.machine : "unknown CPU");
}

void os_env_default(const char *name, const char *value) { setenv(name, value, 0); }

ry_status os_program_path(char *buf, size_t n) {
#if defined(__APPLE__)
    uint32_t room = (uint32_t)n;
    if (_NSGetExecutablePath(buf, &room) == 0) return RY_OK;
#else
    ssize_t got = readlink("/proc/self/exe", buf, n);
    if (got > 0 && (size_t)got < n) {
        buf[got] = 0;
        return RY_OK;
    }
#endif
    buf[0] = 0;
    return ry_fail(RY_ENOENT, "the system does not tell where this program lies");
}

/* ---------------------------------------------------------------- reading */

ry_status os_map_open(os_map *out, const char *path) {
    *out = (os_map){NULL, 0, NULL};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail("open", path);
    ry_status st = RY_OK;
    struct stat s;
    if (fstat(fd, &s) != 0) {
        st = fail("read", path);
    } else if (!S_ISREG(s.st_mode)) {
        st = ry_fail(RY_EIO, "cannot read %s: not a regular file", path);
    } else if ((unsigned long long)s.st_size > SIZE_MAX) {
        st = ry_fail(RY_EIO, "cannot read %s: larger than the address space", path);
    } else if (s.st_size > 0) {
        void *p = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            st = fail("map", path);
        } else {
            *out = (os_map){p, (size_t)s.st_size, p};
        }
    }
    close(fd);
    return st;
}

void os_map_close(os_map *m) {
    if (m->os) munmap(m->os, m->bytes);
    *m = (os_map){NULL, 0, NULL};
}

ry_status os_file_read(const char *path, char **data, size_t *bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail("open", path);
    struct stat s;
    size_t cap =
        fstat(fd, &s) == 0 && s.st_size > 0 && (unsigned long long)s.st_size < SIZE_MAX / 2 ? (size_t)s.st_size : 4096;
    size_t n = 0;
    char *p = ry_mem_alloc(cap + 1);
    ry_status st = p ? RY_OK : RY_ENOMEM;
    while (st == RY_OK) { /* a pipe's size is not known, and a file may grow */
        if (n == cap) {
            char extra;
            ssize_t more = read(fd, &extra, 1);
            if (more == 0) break;
            if (more > 0) {
                char *q = ry_mem_grow(p, ry_mem_size(cap, 2, 1));
                if (q == NULL) {
                    st = RY_ENOMEM;
                } else {
                    p = q;
                    cap *= 2;
                    p[n++] = extra;
                }
            } else if (errno != EINTR) {
                st = fail("read", path);
            }
            continue;
        }
        ssize_t got = read(fd, p + n, cap - n);
        if (got == 0) break;
        if (got > 0) {
            n += (size_t)got;
        } else if (errno != EINTR) {
            st = fail("read", path);
        }
    }
    close(fd);
    if (st != RY_OK) {
        ry_mem_free(p);
        return st;
    }
    p[n] = 0;
    *data = p;
    *bytes = n;
    return RY_OK;
}

/* ---------------------------------------------------------------- writing: the parts of os_out that are the system's */

ry_status os_raw_create(intptr_t *file, const char *temp, const char *path) {
    struct stat s;
    mode_t mode = 0666;
    bool there = stat(path, &s) == 0;
    if (there && !S_ISREG(s.st_mode))
        return ry_fail(RY_EARG, "cannot write %s: it is there and is not a regular file", path);
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) return fail("write", path);
    /* The file's rights outlast its contents; not all file systems know rights. */
    if (there) (void)fchmod(fd, s.st_mode & 07777);
    *file = fd;
    return RY_OK;
}

ry_status os_raw_append(intptr_t *file, const char *path, int64_t keep_bytes) {
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    struct stat s;
    if (fd < 0) return fail("write", path);
    if (keep_bytes >= 0 && (fstat(fd, &s) != 0 || (s.st_size > keep_bytes && ftruncate(fd, (off_t)keep_bytes) != 0))) {
        ry_status st = fail("shorten", path);
        close(fd);
        return st;
    }
    *file = fd;
    return RY_OK;
}

ry_status os_raw_write(intptr_t file, const char *data, size_t bytes, const char *path) {
    while (bytes > 0) {
        ssize_t put = write((int)file, data, bytes < (1u << 30) ? bytes : 1u << 30);
        if (put > 0) {
            data += put;
            bytes -= (size_t)put;
        } else if (put == 0) {
            return ry_fail(RY_EIO, "cannot write %s: the system takes no more bytes", path);
        } else if (errno != EINTR) {
            return fail("write", path);
        }
    }
    return RY_OK;
}

ry_status os_raw_sync(intptr_t file, const char *path) {
#if defined(__APPLE__)
    if (fcntl((int)file, F_FULLFSYNC) == 0) return RY_OK; /* fsync alone leaves the bytes in the drive's cache there */
#endif
    return fsync((int)file) == 0 || errno == EINVAL ? RY_OK : fail("write", path);
}

ry_status os_raw_close(intptr_t file, const char *path) {
    return close((int)file) == 0 || errno == EINTR ? RY_OK : fail("write", path);
}

void os_raw_remove(const char *path) { unlink(path); }
long os_raw_process(void) { return (long)getpid(); }

/* ---------------------------------------------------------------- folders */

int os_kind(const char *path) {
    struct stat s;
    if (stat(path, &s) != 0) return OS_NOTHING;
    return S_ISDIR(s.st_mode) ? OS_FOLDER : OS_FILE;
}

ry_status os_mkdirs(const char *path) {
    size_t n = strlen(path);
    char *part = ry_mem_alloc(n + 1);
    if (part == NULL) return RY_ENOMEM;
    memcpy(part, path, n + 1);
    ry_status st = RY_OK;
    for (size_t i = 1; i <= n && st == RY_OK; i++) {
        if (part[i] != '/' && part[i] != 0) continue;
        part[i] = 0;
        if (mkdir(part, 0777) != 0 && os_kind(part) != OS_FOLDER) {
            st = errno == EEXIST ? ry_fail(RY_EIO, "cannot make folder %s: %s is a file", path, part)
                                 : fail("make folder", part);
        }
        part[i] = i < n ? '/' : 0;
    }
    ry_mem_free(part);
    return st;
}

ry_status os_sync_folder(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail("open folder", path);
    /* EINVAL: this file system does not do that. */
    ry_status st = fsync(fd) == 0 || errno == EINVAL ? RY_OK : fail("write folder", path);
    close(fd);
    return st;
}

/* Makes the last change of names beside `path` last. */
static ry_status sync_parent(const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return os_sync_folder(".");
    if (slash == path) return os_sync_folder("/");
    size_t n = (size_t)(slash - path);
    char *folder = ry_mem_alloc(n + 1);
    if (folder == NULL) return RY_ENOMEM;
    memcpy(folder, path, n);
    folder[n] = 0;
    ry_status st = os_sync_folder(folder);
    ry_mem_free(folder);
    return st;
}

ry_status os_rename(const char *from, const char *to) {
    if (rename(from, to) != 0) {
        int error = errno;
        char buf[256];
        return ry_fail(status_of(error), "cannot rename %s to %s: %s", from, to, error_text(error, buf));
    }
    return sync_parent(to);
}

ry_status os_link(const char *target, const char *path) {
    size_t bytes = strlen(path) + 32;
    char *temp = ry_mem_alloc(bytes);
    if (temp == NULL) return RY_ENOMEM;
    snprintf(temp, bytes, "%s.%ld.tmp", path, (long)getpid());
    unlink(temp);
    ry_status st = symlink(target, temp) == 0 ? RY_OK : errno == EPERM || errno == ENOTSUP ? ry_fail(RY_EUNSUPPORTED, "no links can be made at %s", path) : fail("link", path);
    if (st == RY_OK && (st = os_rename(temp, path)) != RY_OK) unlink(temp);
    ry_mem_free(temp);
    return st;
}

/* Removes what folder `fd` holds; never follows a link. Closes fd. */
static bool empty_folder(int fd) {
    DIR *d = fdopendir(fd);
    if (d == NULL) {
        close(fd);
        return false;
    }
    bool ok = true;
    for (struct dirent *e; ok && (errno = 0, e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (unlinkat(dirfd(d), e->d_name, 0) == 0 || errno == ENOENT) continue;
        int inner = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        ok = inner >= 0 && empty_folder(inner) && unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR) == 0;
    }
    if (ok && errno != 0) ok = false;
    int error = errno;
    closedir(d);
    errno = error;
    return ok;
}

ry_status os_remove_tree(const char *path) {
    if (unlink(path) == 0 || errno == ENOENT) return RY_OK;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || !empty_folder(fd) || rmdir(path) != 0) return fail("remove", path);
    return RY_OK;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

ry_status os_list(const char *path, bool (*fn)(void *ud, const char *name), void *ud) {
    DIR *d = opendir(path);
    if (d == NULL) return fail("open folder", path);
    ry_status st = RY_OK;
    ry_arena arena = {0};
    RY_VEC(char *) names = {0};
    for (struct dirent *e; st == RY_OK && (errno = 0, e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        char *name = ry_arena_strdup(&arena, e->d_name);
        char **slot = name ? RY_PUSH(&names) : NULL;
        if (slot == NULL) {
            st = RY_ENOMEM;
        } else {
            *slot = name;
        }
    }
    if (st == RY_OK && errno != 0) st = fail("read folder", path);
    closedir(d);
    if (st == RY_OK && names.n > 0) {
        qsort(names.at, names.n, sizeof *names.at, by_name);
        for (size_t i = 0; i < names.n && fn(ud, names.at[i]); i++)
            ;
    }
    RY_VEC_FREE(&names);
    ry_arena_free(&arena);
    return st;
}

struct os_lock {
    int fd;
};

ry_status os_lock_open(os_lock **out, const char *path) {
    os_lock *l = ry_mem_alloc(sizeof *l);
    if (l == NULL) return RY_ENOMEM;
    l->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (l->fd < 0) {
        ry_mem_free(l);
        return fail("open", path);
    }
    if (flock(l->fd, LOCK_EX | LOCK_NB) != 0) {
        char owner[32] = "";
        ssize_t n = errno == EWOULDBLOCK ? pread(l->fd, owner, sizeof owner - 1, 0) : -1;
        ry_status st = n >= 0 ? ry_fail(RY_EBUSY, "%s is held by another process (%.*s)", path,
                                        (int)strcspn(owner, "\n"), owner[0] ? owner : "unknown")
                              : fail("lock", path);
        close(l->fd);
        ry_mem_free(l);
        return st;
    }
    /* Who holds it is a courtesy to the reader of the message: that it cannot be written breaks nothing. */
    char owner[32];
    int n = snprintf(owner, sizeof owner, "process %ld\n", (long)getpid());
    if (ftruncate(l->fd, 0) != 0 || pwrite(l->fd, owner, (size_t)n, 0) != n) errno = 0;
    *out = l;
    return RY_OK;
}

void os_lock_close(os_lock *l) {
    if (l == NULL) return;
    close(l->fd);
    ry_mem_free(l);
}

/* ---------------------------------------------------------------- libraries */

/* C lets a handler of SIGABRT leave by a jump. A thread outside os_guarded gets what was there before us. */
static _Thread_local sigjmp_buf *guard;
static struct sigaction abort_before;

static void on_abort(int sig) {
    sigjmp_buf *to = guard;
    if (to) siglongjmp(*to, 1);
    sigaction(SIGABRT, &abort_before, NULL);
    raise(sig);
}

bool os_guarded(void (*fn)(void *arg), void *arg) {
    struct sigaction now, ours;
    sigjmp_buf here, *outer = guard;
    os_static_lock();
    if (sigaction(SIGABRT, NULL, &now) == 0 && ((now.sa_flags & SA_SIGINFO) || now.sa_handler != on_abort)) {
        abort_before = now;
        memset(&ours, 0, sizeof ours);
        ours.sa_handler = on_abort;
        ours.sa_flags = SA_NODEFER; /* so that the signal's mask need not be kept for the jump */
        sigaction(SIGABRT, &ours, NULL);
    }
    os_static_unlock();
    bool whole = sigsetjmp(here, 0) == 0;
    if (whole) {
        guard = &here;
        fn(arg);
    }
    guard = outer;
    return whole;
}

void *os_dl_open(const char *name) { return dlopen(name, RTLD_NOW | RTLD_LOCAL); }
void *os_dl_sym(void *lib, const char *name) { return dlsym(lib, name); }
void os_dl_close(void *lib) {
    if (lib) dlclose(lib);
}
void os_dl_why(char *buf, size_t n) {
    const char *why = dlerror();
    snprintf(buf, n, "%s", why ? why : "no reason was given");
}

/* ---------------------------------------------------------------- the terminal */

struct os_terminal {
    struct termios before;
    unsigned char bytes[256]; /* read at once: a key may be several */
    ssize_t n, at;
};

ry_status os_terminal_open(os_terminal **out) {
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) RY_FAIL(RY_ENOENT, "standard input or output is no terminal");
    os_terminal *t = ry_mem_zalloc(sizeof *t);
    if (!t) return RY_ENOMEM;
    if (tcgetattr(STDIN_FILENO, &t->before) != 0) {
        ry_status st = fail("ask the settings of", "the terminal");
        ry_mem_free(t);
        return st;
    }
    struct termios raw = t->before;
    raw.c_iflag &= ~(tcflag_t)(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
    raw.c_lflag &= ~(tcflag_t)(ECHO | ICANON | IEXTEN | ISIG);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) != 0) {
        ry_status st = fail("change the settings of", "the terminal");
        ry_mem_free(t);
        return st;
    }
    *out = t;
    return RY_OK;
}

void os_terminal_close(os_terminal *t) {
    if (!t) return;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &t->before);
    ry_mem_free(t);
}

int os_terminal_byte(os_terminal *t, double seconds) {
    while (t->at >= t->n) {
        struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
        int got = poll(&p, 1, seconds < 0 ? -1 : (int)(seconds * 1000));
        if (got < 0 && errno == EINTR) continue;
        if (got == 0) return OS_TERMINAL_NONE;
        t->at = 0;
        t->n = got < 0 ? 0 : read(STDIN_FILENO, t->bytes, sizeof t->bytes);
        if (t->n < 0 && errno == EINTR) continue;
        if (t->n <= 0) return OS_TERMINAL_END;
    }
    return t->bytes[t->at++];
}

int os_terminal_columns(void) {
    struct winsize w;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}
#else
typedef int os_posix_is_not_for_windows; /* a translation unit holds at least one declaration */
#endif
