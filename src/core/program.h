/* program.h - a plan bound to variables, inputs and outputs: what a device runs.  For core and device files. */
#ifndef RY_CORE_PROGRAM_H
#define RY_CORE_PROGRAM_H
#include "core/plan.h"

struct ry_program {
    ry_device *dev;
    ry_plan *plan;
    ry_var **vars;              /* by slot */
    uint64_t *var_ids;          /* theirs: an address may come again */
    ry_buffer *inputs, *outputs;/* by slot; the program's own */
    void **args;                /* by step: a copy of its own where the step has dynamic arguments */
    ry_arena arena;
    ry_compile_options opt;
    void *impl;                 /* the device's bindings */
    double ms[3];               /* last run: forward, backward, update */
    double *step_s;             /* profile: seconds by step, last run */
    double *step_at;            /* profile: start by step, last run, seconds */
    double *step_sum;           /* profile: seconds by step, all runs */
    int64_t runs;
    int repeat;                 /* for benches, on devices with kernels: a profiled run does each step so often and gives the mean; 0 = 1 */
};

/* Where an operand's storage is: the buffer and the byte offset of its element [0,..,0]. */
void program_operand(const ry_program *p, const ry_value *v, const ry_buffer **buf, size_t *at);
/* The whole storage behind an operand, for devices that bind buffers: where it begins and its bytes. The operand's element [0,..,0]
 * is v->offset elements from there. Returns the storage's number: operands with one number share one binding, and storages that
 * live at one time never overlap, rounded to caps.align too. */
int program_storage(const ry_program *p, const ry_value *v, const ry_buffer **buf, size_t *at, size_t *bytes);
/* ry_fetch in two steps, for devices with `ask`: the value as the next run gives it, whatever runs after. Each ticket is taken once, also
 * where that run fails; data NULL: thrown away. */
ry_status program_ask(ry_program *p, size_t want, void **ticket);
ry_status program_take(ry_device *d, void *ticket, void *data);
/* After a step ran: is every float of its outputs finite? For debug_nan; ENAN names the node. */
ry_status program_check_finite(const plan_step *s, void *const *out);
#endif
