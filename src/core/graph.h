/* graph.h - the graph's inside, for core's own files only. */
#ifndef RY_CORE_GRAPH_H
#define RY_CORE_GRAPH_H
#include "core/device.h"
#include "core/op.h"

typedef struct graph_var { /* a variable in this graph: its newest version */
    ry_var *var;
    ry_value *now;
} graph_var;

struct ry_graph {
    ry_device *dev;
    ry_arena arena;                 /* nodes, arguments, names: freed by reset */
    RY_VEC(ry_node *) nodes;        /* by id */
    RY_VEC(graph_var) vars;
    RY_VEC(ry_value *) inputs;      /* in the order of creation */
    ry_status status;
    char message[512];
    uint32_t gen;                   /* of this step; process-wide unique, so a handle names its graph too */
    uint32_t scope, scopes;         /* recomputation scope now, and how many there were */
    bool backward;                  /* inside ry_grad */
    ry_dtype product;
    ry_numerics numerics;
    ry_program *last;               /* of ry_eval, kept for the next one */
    RY_VEC(ry_tensor) last_want;
};

enum { GRAPH_MAX_ARGS = 512 }; /* bytes of a row's argument struct: ry_op_add refuses more */
extern const ry_op graph_input_row, graph_var_row;
typedef struct graph_input_args { int64_t index; } graph_input_args;

ry_tensor graph_sticky(ry_graph *g, ry_status st); /* keeps the first error, from the thread's message; returns null */
ry_node *graph_node(ry_graph *g, uint32_t id);
const ry_value *graph_real(const ry_value *v); /* what plans see: what computes v on this device */
ry_tensor graph_handle(const ry_graph *g, const ry_value *v);
size_t graph_args_key(const ry_op *op, const void *args, unsigned char *out); /* static fields, packed; returns bytes (out may be NULL) */
bool graph_has_dynamic(const ry_op *op);
size_t graph_arg_size(ry_arg_type t);
#endif
