/* os_windows.c - Windows 8 and newer behind os.h.
 *
 * Owns every system call of the library there.  Paths are UTF-8 outside and UTF-16 inside.  Never retries what a user should
 * hear about.  One difference that cannot be hidden: a file cannot be replaced while somebody has it mapped. */
#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define _WIN32_WINNT 0x0602
#include "base/mem.h"
#include "base/os.h"
#include "base/os_out.h"
#include <process.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

/* ---------------------------------------------------------------- failures and paths */

static ry_status status_of(DWORD error) {
    switch (error) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_INVALID_NAME: return RY_ENOENT;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY: return RY_ENOMEM;
    default: return RY_EIO;
    }
}

static void error_text(DWORD error, char *buf, size_t n) {
    DWORD got =
        FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, error, 0, buf, (DWORD)n, NULL);
    if (got == 0) snprintf(buf, n, "error %lu", (unsigned long)error);
    buf[strcspn(buf, "\r\n")] = 0;
}

static ry_status fail_as(DWORD error, const char *what, const char *path) {
    char buf[256];
    error_text(error, buf, sizeof buf);
    return ry_fail(status_of(error), "cannot %s %s: %s", what, path, buf);
}

static ry_status fail(const char *what, const char *path) { return fail_as(GetLastError(), what, path); }

/* UTF-16 of path followed by tail; ry_mem_free; NULL with a message if there is no memory or the path is no UTF-8. */
static wchar_t *wide(const char *path, const wchar_t *tail) {
    int n = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, NULL, 0);
    if (n <= 0) {
        ry_fail(RY_EARG, "the path %s is not UTF-8", path);
        return NULL;
    }
    wchar_t *w = ry_mem_alloc(((size_t)n + wcslen(tail)) * sizeof *w);
    if (w == NULL) return NULL;
    MultiByteToWideChar(CP_UTF8, 0, path, -1, w, n);
    wcscpy(w + n - 1, tail);
    return w;
}

/* Why wide() gave nothing, seen from what the caller can do about it. */
static ry_status no_path(const char *path) {
    return MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, NULL, 0) <= 0 ? RY_EARG : RY_ENOMEM;
}

static HANDLE open_file(const char *path, DWORD access, DWORD share, DWORD how, ry_status *st) {
    wchar_t *w = wide(path, L"");
    if (w == NULL) {
        *st = no_path(path);
        return INVALID_HANDLE_VALUE;
    }
    HANDLE h = CreateFileW(w, access, share, NULL, how, FILE_ATTRIBUTE_NORMAL, NULL);
    DWORD error = GetLastError();
    ry_mem_free(w);
    *st = h == INVALID_HANDLE_VALUE ? fail_as(error, "open", path) : RY_OK;
    return h;
}

/* ---------------------------------------------------------------- threads */

struct os_thread {
    HANDLE h;
    void (*fn)(void *);
    void *arg;
};
struct os_mutex {
    SRWLOCK lock;
};
struct os_cond {
    CONDITION_VARIABLE c;
};
enum { STACK_BYTES = 8 << 20 };

static unsigned __stdcall thread_main(void *arg) {
    os_thread *t = arg;
    t->fn(t->arg);
    return 0;
}

ry_status os_thread_start(os_thread **out, void (*fn)(void *), void *arg) {
    os_thread *t = ry_mem_alloc(sizeof *t);
    if (t == NULL) return RY_ENOMEM;
    *t = (os_thread){.fn = fn, .arg = arg};
    t->h = (HANDLE)_beginthreadex(NULL, STACK_BYTES, thread_main, t, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (t->h == NULL) {
        ry_mem_free(t);
        return ry_fail(RY_EUNSUPPORTED, "cannot start a thread: the system refuses another");
    }
    *out = t;
    return RY_OK;
}

void os_thread_join(os_thread *t) {
    if (t == NULL) return;
    WaitForSingleObject(t->h, INFINITE);
    CloseHandle(t->h);
    ry_mem_free(t);
}

ry_status os_mutex_open(os_mutex **out) {
    os_mutex *m = ry_mem_alloc(sizeof *m);
    if (m == NULL) return RY_ENOMEM;
    InitializeSRWLock(&m->lock);
    *out = m;
    return RY_OK;
}

void os_mutex_close(os_mutex *m) { ry_mem_free(m); }
void os_mutex_lock(os_mutex *m) { AcquireSRWLockExclusive(&m->lock); }
void os_mutex_unlock(os_mutex *m) { ReleaseSRWLockExclusive(&m->lock); }

ry_status os_cond_open(os_cond **out) {
    os_cond *c = ry_mem_alloc(sizeof *c);
    if (c == NULL) return RY_ENOMEM;
    InitializeConditionVariable(&c->c);
    *out = c;
    return RY_OK;
}

void os_cond_close(os_cond *c) { ry_mem_free(c); }
void os_cond_wait(os_cond *c, os_mutex *m) { SleepConditionVariableSRW(&c->c, &m->lock, INFINITE, 0); }
void os_cond_wake_all(os_cond *c) { WakeAllConditionVariable(&c->c); }

static SRWLOCK static_lock = SRWLOCK_INIT;
void os_static_lock(void) { AcquireSRWLockExclusive(&static_lock); }
void os_static_unlock(void) { ReleaseSRWLockExclusive(&static_lock); }

/* ---------------------------------------------------------------- the machine */

int os_cpu_count(void) {
    DWORD_PTR mine = 0, all = 0;
    int n = 0;
    /* More than 64 processors come in groups, and then the mask is 0 or of one group only. */
    if (GetActiveProcessorGroupCount() == 1 && GetProcessAffinityMask(GetCurrentProcess(), &mine, &all))
        for (; mine; mine &= mine - 1) n++;
    if (n == 0) n = (int)GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    return n < 1 ? 1 : n < 4096 ? n : 4096;
}

bool os_cpu_tiles(void) { return false; }
void os_cpu_relax(void) { YieldProcessor(); }
void os_cpu_yield(void) { SwitchToThread(); }

void os_sleep(double seconds) { Sleep((DWORD)(seconds * 1000)); }

double os_now(void) {
    LARGE_INTEGER count, rate;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&rate);
    return (double)count.QuadPart / (double)rate.QuadPart;
}

double os_wall(void) {
    FILETIME t;
    GetSystemTimePreciseAsFileTime(&t);
    uint64_t ticks = (uint64_t)t.dwHighDateTime << 32 | t.dwLowDateTime; /* of 100 ns, since 1601 */
    return (double)(ticks - 116444736000000000u) * 1e-7;
}

size_t os_memory_total(void) {
    MEMORYSTATUSEX s = {.dwLength = sizeof s};
    if (!GlobalMemoryStatusEx(&s)) return 0;
    return s.ullTotalPhys < SIZE_MAX ? (size_t)s.ullTotalPhys : SIZE_MAX;
}

void os_memory_huge(void *p, size_t bytes) { /* large pages are a privilege there, not a hint */
    (void)p;
    (void)bytes;
}

void os_cpu_name(char *buf, size_t n) {
    char name[256];
    DWORD bytes = sizeof name;
    if (RegGetValueA(HKEY_LOCAL_MACHINE, "HARDWARE\\DESCRIPTION\\System\\CentralProcessor\\0", "ProcessorNameString",
                     RRF_RT_REG_SZ, NULL, name, &bytes) != ERROR_SUCCESS)
        snprintf(name, sizeof name, "unknown CPU");
    snprintf(buf, n, "%s", name);
}

ry_status os_program_path(char *buf, size_t n) {
    wchar_t path[1024];
    DWORD got = GetModuleFileNameW(NULL, path, 1024);
    if (got > 0 && got < 1024 && WideCharToMultiByte(CP_UTF8, 0, path, -1, buf, (int)n, NULL, NULL) > 0) return RY_OK;
    buf[0] = 0;
    return ry_fail(RY_ENOENT, "the system does not tell where this program lies");
}

/* ---------------------------------------------------------------- reading */

ry_status os_map_open(os_map *out, const char *path) {
    *out = (os_map){NULL, 0, NULL};
    ry_status st = RY_OK;
    if (os_kind(path) == OS_FOLDER) return ry_fail(RY_EIO, "cannot read %s: not a regular file", path);
    HANDLE h = open_file(path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, OPEN_EXISTING, &st);
    if (st != RY_OK) return st;
    LARGE_INTEGER size;
    if (!GetFileSizeEx(h, &size)) {
        st = fail("read", path);
    } else if ((unsigned long long)size.QuadPart > SIZE_MAX) {
        st = ry_fail(RY_EIO, "cannot read %s: larger than the address space", path);
    } else if (size.QuadPart > 0) {
        HANDLE section = CreateFileMappingW(h, NULL, PAGE_READONLY, 0, 0, NULL);
        void *p = section ? MapViewOfFile(section, FILE_MAP_READ, 0, 0, 0) : NULL;
        if (p == NULL) {
            st = fail("map", path);
        } else {
            *out = (os_map){p, (size_t)size.QuadPart, p};
        }
        if (section) CloseHandle(section); /* the view keeps it alive */
    }
    CloseHandle(h);
    return st;
}

void os_map_close(os_map *m) {
    if (m->os) UnmapViewOfFile(m->os);
    *m = (os_map){NULL, 0, NULL};
}

ry_status os_file_read(const char *path, char **data, size_t *bytes) {
    ry_status st = RY_OK;
    if (os_kind(path) == OS_FOLDER) return ry_fail(RY_EIO, "cannot read %s: not a regular file", path);
    HANDLE h =
        open_file(path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, OPEN_EXISTING, &st);
    if (st != RY_OK) return st;
    size_t n = 0, cap = 1 << 16;
    char *p = ry_mem_alloc(cap + 1);
    if (p == NULL) st = RY_ENOMEM;
    while (st == RY_OK) {
        if (n == cap) {
            char *q = ry_mem_grow(p, ry_mem_size(cap, 2, 1));
            if (q == NULL) {
                st = RY_ENOMEM;
                break;
            }
            p = q;
            cap *= 2;
        }
        DWORD got = 0, ask = cap - n < (1u << 30) ? (DWORD)(cap - n) : 1u << 30;
        if (!ReadFile(h, p + n, ask, &got, NULL)) {
            if (GetLastError() == ERROR_BROKEN_PIPE) break;
            st = fail("read", path);
        } else if (got == 0) {
            break;
        }
        n += got;
    }
    CloseHandle(h);
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
    if (os_kind(path) == OS_FOLDER)
        return ry_fail(RY_EARG, "cannot write %s: it is there and is not a regular file", path);
    ry_status st = RY_OK;
    HANDLE h = open_file(temp, GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_DELETE, CREATE_NEW, &st);
    if (st == RY_OK) *file = (intptr_t)h;
    return st;
}

ry_status os_raw_append(intptr_t *file, const char *path, int64_t keep_bytes) {
    ry_status st = RY_OK;
    HANDLE h = open_file(path, GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, OPEN_ALWAYS, &st);
    if (st != RY_OK) return st;
    LARGE_INTEGER size, end;
    bool ok = GetFileSizeEx(h, &size);
    end.QuadPart = ok && keep_bytes >= 0 && keep_bytes < size.QuadPart ? keep_bytes : size.QuadPart;
    if (!ok || !SetFilePointerEx(h, end, NULL, FILE_BEGIN) || !SetEndOfFile(h)) {
        st = fail("shorten", path);
        CloseHandle(h);
        return st;
    }
    *file = (intptr_t)h;
    return RY_OK;
}

ry_status os_raw_write(intptr_t file, const char *data, size_t bytes, const char *path) {
    while (bytes > 0) {
        DWORD put = 0;
        if (!WriteFile((HANDLE)file, data, bytes < (1u << 30) ? (DWORD)bytes : 1u << 30, &put, NULL))
            return fail("write", path);
        if (put == 0) return ry_fail(RY_EIO, "cannot write %s: the system takes no more bytes", path);
        data += put;
        bytes -= put;
    }
    return RY_OK;
}

ry_status os_raw_sync(intptr_t file, const char *path) {
    return FlushFileBuffers((HANDLE)file) ? RY_OK : fail("write", path);
}

ry_status os_raw_close(intptr_t file, const char *path) {
    return CloseHandle((HANDLE)file) ? RY_OK : fail("write", path);
}

void os_raw_remove(const char *path) {
    wchar_t *w = wide(path, L"");
    if (w) DeleteFileW(w);
    ry_mem_free(w);
}

long os_raw_process(void) { return (long)GetCurrentProcessId(); }

/* ---------------------------------------------------------------- folders */

int os_kind(const char *path) {
    wchar_t *w = wide(path, L"");
    DWORD a = w ? GetFileAttributesW(w) : INVALID_FILE_ATTRIBUTES;
    ry_mem_free(w);
    if (a == INVALID_FILE_ATTRIBUTES) return OS_NOTHING;
    return a & FILE_ATTRIBUTE_DIRECTORY ? OS_FOLDER : OS_FILE;
}

ry_status os_mkdirs(const char *path) {
    wchar_t *w = wide(path, L"");
    if (w == NULL) return no_path(path);
    ry_status st = RY_OK;
    size_t n = wcslen(w);
    for (size_t i = 1; i <= n && st == RY_OK; i++) {
        if ((w[i] != L'/' && w[i] != L'\\' && w[i] != 0) || w[i - 1] == L':') continue;
        wchar_t kept = w[i];
        w[i] = 0;
        if (!CreateDirectoryW(w, NULL)) {
            DWORD error = GetLastError(), a = GetFileAttributesW(w);
            if (a == INVALID_FILE_ATTRIBUTES) {
                st = fail_as(error, "make folder", path);
            } else if (!(a & FILE_ATTRIBUTE_DIRECTORY)) {
                st = ry_fail(RY_EIO, "cannot make folder %s: a part of it is a file", path);
            }
        }
        w[i] = kept;
    }
    ry_mem_free(w);
    return st;
}

ry_status os_sync_folder(const char *path) {
    /* Names are written through by MoveFileEx; folders have no flush of their own. */
    return os_kind(path) == OS_FOLDER ? RY_OK : ry_fail(RY_ENOENT, "cannot open folder %s: it is not there", path);
}

ry_status os_link(const char *target, const char *path) { /* needs a right that users seldom have */
    (void)target;
    return ry_fail(RY_EUNSUPPORTED, "no links can be made at %s", path);
}

ry_status os_rename(const char *from, const char *to) {
    wchar_t *a = wide(from, L""), *b = a ? wide(to, L"") : NULL;
    ry_status st = RY_OK;
    if (b == NULL) {
        st = no_path(a ? to : from);
    } else if (!MoveFileExW(a, b, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH)) {
        char buf[256];
        DWORD error = GetLastError();
        error_text(error, buf, sizeof buf);
        st = ry_fail(status_of(error), "cannot rename %s to %s: %s", from, to, buf);
    }
    ry_mem_free(a);
    ry_mem_free(b);
    return st;
}

static bool is_dots(const wchar_t *name) { return wcscmp(name, L".") == 0 || wcscmp(name, L"..") == 0; }

/* Removes w and what it holds; never follows a link. false: GetLastError says why. */
static bool remove_wide(const wchar_t *w) {
    DWORD a = GetFileAttributesW(w);
    if (a == INVALID_FILE_ATTRIBUTES)
        return GetLastError() == ERROR_FILE_NOT_FOUND || GetLastError() == ERROR_PATH_NOT_FOUND;
    if (!(a & FILE_ATTRIBUTE_DIRECTORY)) return DeleteFileW(w);
    if (!(a & FILE_ATTRIBUTE_REPARSE_POINT)) {
        size_t n = wcslen(w);
        wchar_t *inner = ry_mem_alloc((n + MAX_PATH + 4) * sizeof *inner);
        if (inner == NULL) {
            SetLastError(ERROR_NOT_ENOUGH_MEMORY);
            return false;
        }
        wcscpy(inner, w);
        wcscpy(inner + n, L"\\*");
        WIN32_FIND_DATAW found;
        HANDLE h = FindFirstFileW(inner, &found);
        bool ok = h != INVALID_HANDLE_VALUE;
        for (bool more = ok; ok && more; more = FindNextFileW(h, &found)) {
            if (is_dots(found.cFileName)) continue;
            wcscpy(inner + n + 1, found.cFileName);
            ok = remove_wide(inner);
        }
        DWORD error = GetLastError();
        if (h != INVALID_HANDLE_VALUE) FindClose(h);
        ry_mem_free(inner);
        SetLastError(error);
        if (!ok) return false;
    }
    return RemoveDirectoryW(w);
}

ry_status os_remove_tree(const char *path) {
    wchar_t *w = wide(path, L"");
    if (w == NULL) return no_path(path);
    ry_status st = remove_wide(w) ? RY_OK : fail("remove", path);
    ry_mem_free(w);
    return st;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

ry_status os_list(const char *path, bool (*fn)(void *ud, const char *name), void *ud) {
    wchar_t *w = wide(path, L"\\*");
    if (w == NULL) return no_path(path);
    WIN32_FIND_DATAW found;
    HANDLE h = FindFirstFileW(w, &found);
    DWORD error = GetLastError();
    ry_mem_free(w);
    if (h == INVALID_HANDLE_VALUE) return fail_as(error, "open folder", path);
    ry_status st = RY_OK;
    ry_arena arena = {0};
    RY_VEC(char *) names = {0};
    for (bool more = true; more && st == RY_OK; more = FindNextFileW(h, &found)) {
        char name[MAX_PATH * 4];
        if (is_dots(found.cFileName)) continue;
        if (WideCharToMultiByte(CP_UTF8, 0, found.cFileName, -1, name, sizeof name, NULL, NULL) <= 0) continue;
        char *copy = ry_arena_strdup(&arena, name);
        char **slot = copy ? RY_PUSH(&names) : NULL;
        if (slot == NULL) {
            st = RY_ENOMEM;
        } else {
            *slot = copy;
        }
    }
    FindClose(h);
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
    HANDLE h;
};

ry_status os_lock_open(os_lock **out, const char *path) {
    ry_status st = RY_OK;
    os_lock *l = ry_mem_alloc(sizeof *l);
    if (l == NULL) return RY_ENOMEM;
    l->h = open_file(path, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, OPEN_ALWAYS, &st);
    if (st != RY_OK) {
        ry_mem_free(l);
        return st;
    }
    /* A byte far behind the contents, so that others can read who holds the lock. */
    OVERLAPPED place = {.OffsetHigh = 1};
    if (!LockFileEx(l->h, LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &place)) {
        DWORD error = GetLastError(), n = 0;
        char owner[32] = "unknown";
        if (error == ERROR_LOCK_VIOLATION || error == ERROR_IO_PENDING) {
            if (!ReadFile(l->h, owner, sizeof owner - 1, &n, NULL)) n = 0;
            if (n > 0) owner[n] = 0;
            owner[strcspn(owner, "\r\n")] = 0;
            st = ry_fail(RY_EBUSY, "%s is held by another process (%s)", path, owner);
        } else {
            st = fail_as(error, "lock", path);
        }
        CloseHandle(l->h);
        ry_mem_free(l);
        return st;
    }
    /* Who holds it is a courtesy to the reader of the message: that it cannot be written breaks nothing. */
    char owner[32];
    DWORD n = (DWORD)snprintf(owner, sizeof owner, "process %ld\n", os_raw_process());
    SetEndOfFile(l->h);
    WriteFile(l->h, owner, n, &n, NULL);
    *out = l;
    return RY_OK;
}

void os_lock_close(os_lock *l) {
    if (l == NULL) return;
    CloseHandle(l->h);
    ry_mem_free(l);
}

/* ---------------------------------------------------------------- libraries */

void os_env_default(const char *name, const char *value) {
    if (!os_env(name)) _putenv_s(name, value);
}

bool os_guarded(void (*fn)(void *arg), void *arg) {
    fn(arg);
    return true;
}

static _Thread_local DWORD dl_error;

void *os_dl_open(const char *name) {
    wchar_t *w = wide(name, L"");
    HMODULE m = w ? LoadLibraryW(w) : NULL;
    dl_error = GetLastError();
    ry_mem_free(w);
    return m;
}

void *os_dl_sym(void *lib, const char *name) {
    FARPROC f = GetProcAddress(lib, name);
    void *p = NULL;
    memcpy(&p, &f, sizeof p); /* C has no conversion between the two kinds of pointer */
    return p;
}

void os_dl_close(void *lib) {
    if (lib) FreeLibrary(lib);
}

void os_dl_why(char *buf, size_t n) { error_text(dl_error, buf, n); }

/* ---------------------------------------------------------------- the terminal */

struct os_terminal {
    HANDLE in, out;
    DWORD in_before, out_before;
    UINT in_page;
    unsigned char bytes[256];
    DWORD n, at;
};

ry_status os_terminal_open(os_terminal **out) {
    os_terminal t = {.in = GetStdHandle(STD_INPUT_HANDLE), .out = GetStdHandle(STD_OUTPUT_HANDLE), .in_page = GetConsoleCP()};
    if (!GetConsoleMode(t.in, &t.in_before) || !GetConsoleMode(t.out, &t.out_before)) RY_FAIL(RY_ENOENT, "standard input or output is no terminal");
    os_terminal *p = ry_mem_alloc(sizeof *p);
    if (!p) return RY_ENOMEM;
    *p = t;
    DWORD raw = (t.in_before & ~(DWORD)(ENABLE_ECHO_INPUT | ENABLE_LINE_INPUT | ENABLE_PROCESSED_INPUT)) | 0x0200; /* keys as escape sequences */
    SetConsoleMode(t.out, t.out_before | 0x0004); /* escape sequences are obeyed */
    SetConsoleCP(CP_UTF8);
    SetConsoleOutputCP(CP_UTF8);
    if (!SetConsoleMode(t.in, raw)) {
        ry_status st = fail("change the settings of", "the terminal");
        os_terminal_close(p);
        return st;
    }
    *out = p;
    return RY_OK;
}

void os_terminal_close(os_terminal *t) {
    if (!t) return;
    SetConsoleMode(t->in, t->in_before);
    SetConsoleMode(t->out, t->out_before | 0x0004);
    SetConsoleCP(t->in_page);
    ry_mem_free(t);
}

int os_terminal_byte(os_terminal *t, double seconds) {
    if (t->at >= t->n) {
        if (WaitForSingleObject(t->in, seconds < 0 ? INFINITE : (DWORD)(seconds * 1000)) != WAIT_OBJECT_0) return OS_TERMINAL_NONE;
        t->at = 0;
        if (!ReadFile(t->in, t->bytes, sizeof t->bytes, &t->n, NULL) || t->n == 0) return OS_TERMINAL_END;
    }
    return t->bytes[t->at++];
}

int os_terminal_columns(void) {
    CONSOLE_SCREEN_BUFFER_INFO i;
    return GetConsoleScreenBufferInfo(GetStdHandle(STD_OUTPUT_HANDLE), &i) ? i.srWindow.Right - i.srWindow.Left + 1 : 80;
}

#else
typedef int os_windows_is_only_for_windows; /* a translation unit holds at least one declaration */
#endif
