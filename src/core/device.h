/* device.h - what core asks of a device, and what lasts on it.  A device file in src/device exports one ry_device_api. */
#ifndef RY_CORE_DEVICE_H
#define RY_CORE_DEVICE_H
#include "base/mem.h"
#include "base/os.h"
#include "core/op.h"

/* Memory of a device. On the CPU `at` is the address; on others it is the device's own handle. */
typedef struct ry_buffer {
    void *at;
    size_t bytes;
    size_t row;                    /* bytes of a row of axis 0, where the owner says so before alloc: a device that gives memory in pieces ends them there; 0: no matter */
    bool borrowed;                 /* somebody else's memory, used in place */
    void (*release)(void *ud);     /* called when it is freed; may be NULL */
    void *release_ud;
} ry_buffer;

typedef struct ry_device_api {
    const char *backend;           /* the name a user gives: "cpu" */
    size_t (*count)(void);         /* devices of this kind here */
    ry_status (*describe)(size_t i, ry_device_info *out); /* all but info.device; where count is 0, the error says what is missing */
    ry_status (*open)(ry_device *d, size_t i, const ry_device_options *o); /* sets d->impl and d->info */
    void (*close)(ry_device *d);
    /* Zeroed; ENOMEM says how much was asked and held. Where kernels store whole words, room is a multiple of 16 bytes. */
    ry_status (*alloc)(ry_device *d, ry_buffer *b, size_t bytes);
    ry_status (*wrap)(ry_device *d, ry_buffer *b, void *data, size_t bytes);/* uses data in place if it can, else copies */
    void (*free)(ry_device *d, ry_buffer *b);
    ry_status (*write)(ry_device *d, ry_buffer *b, size_t at, const void *data, size_t bytes); /* at: a multiple of 4; a ragged end: the buffer's */
    ry_status (*read)(ry_device *d, const ry_buffer *b, size_t at, void *data, size_t bytes);
    /* Reading without waiting: ask is for the bytes as they are after the next run, take waits for them and gives them (data NULL: away).
     * Under the device's lock. NULL: only read. */
    ry_status (*ask)(ry_device *d, const ry_buffer *b, size_t at, size_t bytes, void **ticket);
    ry_status (*take)(ry_device *d, void *ticket, void *data);
    ry_status (*copy)(ry_device *d, ry_buffer *to, const ry_buffer *from, size_t bytes);
    /* What a node needs here: scratch, as its kernel's launch says. EUNSUPPORTED, by the node's name, where there is no kernel.
     * NULL: the rows' own work() and cpu(). */
    ry_status (*work)(ry_device *d, const ry_node *n, ry_work *w);
    ry_status (*build)(ry_device *d, ry_program *p);                       /* kernels, bindings: p->impl */
    void (*unbuild)(ry_device *d, ry_program *p);
    ry_status (*run)(ry_device *d, ry_program *p);                         /* submits; under the device's lock */
    ry_status (*sync)(ry_device *d);
    size_t (*held)(ry_device *d);                                          /* bytes of all buffers; NULL: the host's memory */
} ry_device_api;
/* The list of src/device/<stem>.c, each `const ry_device_api ry_device_<stem>`; written by the build. */
extern const ry_device_api *const ry_device_apis[];
extern const size_t ry_device_api_count;

struct ry_plan_cache;
struct ry_tuning;
struct ry_device {
    const ry_device_api *api;
    ry_device_info info;
    ry_caps caps;                  /* what kernels may count on; all 0 on devices without kernels */
    void *impl;
    os_mutex *lock;                /* of the turns, which ry_device_lock gives out */
    os_cond *turn;
    uint64_t next_turn, now_serving;
    os_mutex *cache_lock;          /* the plans */
    ry_buffer slab;                /* intermediates of whatever program runs now */
    uint64_t slab_version;         /* grows when the slab moves: programs bind again */
    struct ry_plan_cache *cache;
    struct ry_tuning *tuning;      /* measured variants; NULL on devices without kernels */
    size_t lasting;                /* bytes of variables */
    bool failed;                   /* set by run: a submission failed after it had begun to write variables, which are void */
};
/* The device for one submission or transfer, in the order of asking: who runs without pause keeps nobody out. */
void ry_device_lock(ry_device *d);
void ry_device_unlock(ry_device *d);
ry_status ry_device_slab(ry_device *d, size_t bytes); /* at least so large; under lock */
size_t device_held(ry_device *d); /* bytes of all its buffers; where they are the host's memory, the most that the process held */

struct ry_var {
    ry_device *dev;
    uint64_t id;                   /* no other variable of the process has or had it */
    ry_spec spec;
    char *name;
    size_t bytes;
    bool read_only;                /* a file's mapped bytes: writes are refused */
    ry_buffer buf;
};
#endif
