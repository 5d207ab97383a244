/* os.h - the operating system behind one door: os_posix.c or os_windows.c.  Nothing else includes a system header. */
#ifndef RY_BASE_OS_H
#define RY_BASE_OS_H
#include "base/status.h"

typedef struct os_thread os_thread;
typedef struct os_mutex os_mutex;
typedef struct os_cond os_cond;
ry_status os_thread_start(os_thread **out, void (*fn)(void *), void *arg);
void os_thread_join(os_thread *t); /* and frees it */
ry_status os_mutex_open(os_mutex **out);
void os_mutex_close(os_mutex *m);
void os_mutex_lock(os_mutex *m);
void os_mutex_unlock(os_mutex *m);
ry_status os_cond_open(os_cond **out);
void os_cond_close(os_cond *c);
void os_cond_wait(os_cond *c, os_mutex *m);
void os_cond_wake_all(os_cond *c);
void os_static_lock(void); /* one process-wide lock, for registries; short sections only */
void os_static_unlock(void);

int os_cpu_count(void);            /* CPUs this process may use */
void os_cpu_relax(void);           /* pause in a spin loop */
void os_cpu_yield(void);           /* lets another thread have this CPU */
bool os_cpu_tiles(void);           /* asks for AMX's tile registers, which Linux hands out on request, once a process */
double os_now(void);               /* seconds, monotonic */
double os_wall(void);              /* seconds since 1970 */
void os_sleep(double seconds);     /* may end early */
size_t os_memory_total(void);
void os_memory_huge(void *p, size_t bytes); /* a hint: this block is large and may be backed by large pages */
void os_cpu_name(char *buf, size_t n);
ry_status os_program_path(char *buf, size_t n); /* of the running program's file; ENOENT where the system does not tell */

/* Mapped, read-only file. Empty files map to data == NULL, bytes == 0. */
typedef struct os_map { const void *data; size_t bytes; void *os; } os_map;
ry_status os_map_open(os_map *out, const char *path);
void os_map_close(os_map *m);

/* A file written beside its place (PATH.<process>-<count>.tmp); commit = fsync, rename, fsync of the folder. Abort removes it.
 * A path that is there and is no regular file is refused: a rename would replace the device or pipe itself.
 * For tests, RUSTY_FAULT=write:N makes the N-th os_out_write of the process fail as on a full disk, RUSTY_FAULT=sync:N the N-th
 * os_out_commit as on a broken one (N from 1; the variable is read at os_out_open, and counting begins anew after it was unset). */
typedef struct os_out os_out;
ry_status os_out_open(os_out **out, const char *path);
ry_status os_out_write(os_out *o, const void *data, size_t bytes);
ry_status os_out_commit(os_out *o); /* frees o, also on failure (then nothing was replaced) */
void os_out_abort(os_out *o);
ry_status os_file_write(const char *path, const void *data, size_t bytes); /* the four above */
ry_status os_file_read(const char *path, char **data, size_t *bytes);      /* 0-terminated; ry_mem_free */
ry_status os_append_open(os_out **out, const char *path, int64_t keep_bytes); /* log files: truncates to keep_bytes (-1: all), appends */
ry_status os_append_flush(os_out *o); /* to the system in one piece where it can: survives kill -9, not a power cut */
void os_append_close(os_out *o);

enum { OS_NOTHING, OS_FILE, OS_FOLDER };
int os_kind(const char *path);
ry_status os_mkdirs(const char *path);
ry_status os_rename(const char *from, const char *to); /* and fsync of the folder */
ry_status os_remove_tree(const char *path);
/* A symbolic link `path` that says `target`, in place of what is there; EUNSUPPORTED where the system or user may not make links. */
ry_status os_link(const char *target, const char *path);
ry_status os_sync_folder(const char *path);
/* Names in a folder, sorted; fn returning false stops. */
ry_status os_list(const char *path, bool (*fn)(void *ud, const char *name), void *ud);
typedef struct os_lock os_lock;
ry_status os_lock_open(os_lock **out, const char *path); /* EBUSY if another process holds it; the OS drops it with the process */
void os_lock_close(os_lock *l);
char *os_join(const char *a, const char *b); /* "a/b"; ry_mem_free; NULL = ENOMEM */
const char *os_env(const char *name);        /* NULL if unset or empty */
void os_env_default(const char *name, const char *value); /* sets it where it is unset: programs only, before their first thread */

/* Calls fn(arg); false if that ended in abort(): for libraries of others that give up where they should return an error. What they
 * held is lost. Elsewhere abort() stays what it is. On Windows nothing can be caught. */
bool os_guarded(void (*fn)(void *arg), void *arg);

/* The terminal at standard input: between open and close bytes come as keys are pressed, without echo, and Ctrl-C is a byte. ENOENT:
 * standard input or output is no terminal. */
typedef struct os_terminal os_terminal;
ry_status os_terminal_open(os_terminal **out);
void os_terminal_close(os_terminal *t);              /* as it was before */
enum { OS_TERMINAL_NONE = -1, OS_TERMINAL_END = -2 };
int os_terminal_byte(os_terminal *t, double seconds); /* the next one; NONE if none came within seconds (negative: waits), END */
int os_terminal_columns(void);                        /* of standard output; 80 if it is no terminal */

void *os_dl_open(const char *name);          /* NULL if absent */
void *os_dl_sym(void *lib, const char *name);
void os_dl_close(void *lib);
void os_dl_why(char *buf, size_t n);         /* why the last os_dl_open of this thread gave NULL */
#endif
