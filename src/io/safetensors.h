/* safetensors.h - what the other readers and savers here need beyond the public ry_tensor_file_*.  The public part's contract is in
 * rusty.h; data pointers are as aligned as the file makes them, which legal files need not do. */
#ifndef RY_IO_SAFETENSORS_H
#define RY_IO_SAFETENSORS_H
#include "base/status.h"

/* One tensor as the file describes it; also those that Rusty does not compute with. */
typedef struct st_entry {
    const char *name, *dtype; /* "F8_E4M3" */
    ry_dtype type;            /* RY_NONE: not ours */
    int rank;
    const int64_t *dim;
    size_t bytes;
    const void *data;
    size_t part; /* index of its file: st_part_name */
} st_entry;

/* Reads a whole file from memory, which stays the caller's and must outlive *out. what: its name for messages. */
ry_status st_open_memory(ry_tensor_file **out, const void *data, size_t bytes, const char *what);
const st_entry *st_entry_at(const ry_tensor_file *f,
                            size_t i); /* files in order of name, tensors in order of their data */
size_t st_part_count(const ry_tensor_file *f);
const char *st_part_name(const ry_tensor_file *f, size_t part); /* without its folder */
size_t st_meta_count(const ry_tensor_file *f);
void st_meta_at(const ry_tensor_file *f, size_t i, const char **key, const char **value);
/* The file that ry_tensor_file_open(path) would read: path itself, or what lies in the folder. *out: ry_mem_free. ENOENT. */
ry_status st_find_file(char **out, const char *path);

/* Writes tensors one after the other, so that only one need be in memory: source gives the bytes of t[i] (t[i].data is not looked
 * at), valid until the next call. It is called in the order of the file. */
typedef ry_status (*st_source)(void *ud, size_t i, const void **data);
ry_status st_write(const char *path, size_t n, const ry_named_data *t, const char *const *meta, st_source source,
                   void *ud);
#endif
