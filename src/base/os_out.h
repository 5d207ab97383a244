/* os_out.h - what os_posix.c and os_windows.c give to os.c, the part of os.h that is the same everywhere.  For these only. */
#ifndef RY_BASE_OS_OUT_H
#define RY_BASE_OS_OUT_H
#include "base/status.h"

/* Makes `temp`, which is to replace `path`: its rights are path's. Messages name path. */
ry_status os_raw_create(intptr_t *file, const char *temp, const char *path);
ry_status os_raw_append(intptr_t *file, const char *path, int64_t keep_bytes);
ry_status os_raw_write(intptr_t file, const char *data, size_t bytes, const char *path); /* all of it */
ry_status os_raw_sync(intptr_t file, const char *path);
ry_status os_raw_close(intptr_t file, const char *path);
void os_raw_remove(const char *path);
long os_raw_process(void); /* this process's number */
#endif
