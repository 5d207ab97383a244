/* plan.h - a planned graph: what runs, in which order, and where every byte lies.  Shared by programs of equal structure. */
#ifndef RY_CORE_PLAN_H
#define RY_CORE_PLAN_H
#include "core/device.h"
#include "core/op.h"

typedef enum plan_where { PLAN_SLAB, PLAN_INPUT, PLAN_VAR, PLAN_OUTPUT } plan_where;
typedef struct plan_storage {   /* the bytes of one value with a storage of its own, or of values that took each other's place */
    plan_where where;
    size_t bytes, at;           /* at: offset in the slab */
    int slot;                   /* input, variable or output number */
    int first, last;            /* steps that need it */
} plan_storage;

typedef struct plan_step {      /* one node to run */
    ry_node *node;
    ry_work work;
    size_t scratch_at;          /* in the slab */
    uint32_t origin;            /* position among the live nodes: where dynamic arguments come from */
    bool dynamic;               /* has any */
    uint8_t phase;              /* 0 forward, 1 backward, 2 update: for the time report */
} plan_step;

/* Numbers that a kernel takes from what the host feeds: to be checked then. */
typedef struct plan_fed { const ry_node *node; const ry_value *numbers; int input; } plan_fed;
typedef struct plan_want { const ry_value *value; int storage; } plan_want;

typedef struct ry_plan {
    ry_arena arena;
    unsigned char *key;         /* the structure, compared in full on a hit */
    size_t key_bytes;
    uint64_t hash;
    int refs;                   /* under the device's cache lock */
    bool cached;
    uint64_t used;              /* LRU clock */
    size_t held;                /* bytes of the plan itself */

    plan_step *steps;
    int n_steps;
    plan_fed *fed;              /* devices with kernels */
    int n_fed;
    plan_storage *storages;
    int n_storages;
    int *storage_of;            /* by ry_value.base: [base->node->id * RY_MAX_OUT + base->index] -> storage */
    plan_want *want;
    int n_want, n_inputs, n_vars, n_outputs;
    size_t *input_bytes, *output_bytes;
    size_t slab, local;         /* slab bytes; the largest scratch of a worker */
    ry_plan_info info;
} ry_plan;

typedef struct plan_live {      /* a graph's live nodes in order, its variables and inputs: how a program binds to a plan */
    ry_arena arena;
    ry_node **nodes;
    size_t n;
    int64_t *index;             /* [graph nodes] live position or -1 */
    ry_var **vars;              /* by slot, in order of first use */
    int n_vars;
    unsigned char *key;
    size_t key_bytes;
    uint64_t hash;
} plan_live;

ry_status plan_find_live(plan_live *l, ry_graph *g, size_t n, const ry_tensor *want, const ry_compile_options *opt); /* key included */
ry_status plan_make(ry_plan **out, ry_graph *g, plan_live *l, size_t n, const ry_tensor *want, const ry_compile_options *opt);
void plan_free(ry_plan *p);
ry_cost plan_cost(const ry_node *n); /* the row's, or bytes of operands and one operation an element */
int plan_storage_of(const ry_plan *p, const ry_value *v);

/* Passes, each a file: they work on a list of nodes in the plan's arena. */
typedef struct plan_list { ry_node **at; size_t n; } plan_list;
/* Merges elementwise chains; ids of the list are below n_ids; want[] is redirected where its value moved. */
ry_status plan_fuse(ry_plan *p, plan_list *l, size_t n_ids, size_t n_want, ry_value **want, int max_operands); /* of a merged node; 0 = no limit */
/* Lets rows put one node in the place of several (ry_op.join), in order. */
ry_status plan_join(ry_plan *p, plan_list *l, size_t n_want, ry_value **want, const ry_caps *caps);
/* align: a power of two; 0 = a cache line. piece: no tensor lies across a multiple of it; 0 = no limit. */
ry_status plan_place(ry_plan *p, bool inplace, size_t align, size_t piece);

/* The device's cache: LRU under a byte cap. find and put return the plan with a reference taken. */
typedef struct ry_plan_cache ry_plan_cache;
ry_status plan_cache_open(ry_plan_cache **out, size_t cap);
void plan_cache_close(ry_plan_cache *c);
ry_plan *plan_cache_find(ry_device *d, const plan_live *l);
ry_plan *plan_cache_put(ry_device *d, ry_plan *p); /* returns an equal one if another thread was first (p is then freed) */
void plan_release(ry_device *d, ry_plan *p);
#endif
