/* registry.c - finding rows by name: the modules that the build collected, and an application's own rows. */
#include "base/mem.h"
#include "base/os.h"
#include "core/graph.h"
#include <assert.h>
#include <string.h>

extern const ry_op_module *const ry_op_modules[]; /* written by the build from the file names in src/ops */
extern const size_t ry_op_module_count;

static RY_VEC(const ry_op *) own_rows; /* under os_static_lock; lasts as long as the process */

const ry_op *ry_op_find(const char *name) {
    const ry_op *found = NULL;
    for (size_t m = 0; m < ry_op_module_count; m++)
        for (size_t i = 0; i < ry_op_modules[m]->n; i++)
            if (!strcmp(ry_op_modules[m]->rows[i]->name, name)) return ry_op_modules[m]->rows[i];
    os_static_lock();
    for (size_t i = 0; i < own_rows.n && !found; i++)
        if (!strcmp(own_rows.at[i]->name, name)) found = own_rows.at[i];
    os_static_unlock();
    return found;
}

const ry_op *ry_op_at(size_t i) {
    for (size_t m = 0; m < ry_op_module_count; m++) {
        if (i < ry_op_modules[m]->n) return ry_op_modules[m]->rows[i];
        i -= ry_op_modules[m]->n;
    }
    os_static_lock();
    const ry_op *own = i < own_rows.n ? own_rows.at[i] : NULL;
    os_static_unlock();
    return own;
}

bool op_is_ours(const ry_op *op) {
    for (size_t m = 0; m < ry_op_module_count; m++)
        for (size_t i = 0; i < ry_op_modules[m]->n; i++)
            if (ry_op_modules[m]->rows[i] == op) return true;
    return false;
}

const ry_op *ry_row(const char *name) {
    const ry_op *op = ry_op_find(name);
    assert(op);
    return op;
}

ry_status ry_op_add(const ry_op *row) {
    if (!row || !row->name || !row->infer || (!row->cpu && !row->lower && !(row->flags & RY_OP_VIEW)))
        RY_FAIL(RY_EARG, "a row needs a name, infer, and cpu or lower");
    if (row->max_src > RY_MAX_SRC || row->min_src > row->max_src) RY_FAIL(RY_EARG, "%s: at most %d sources", row->name, RY_MAX_SRC);
    if (row->arg_size > GRAPH_MAX_ARGS) RY_FAIL(RY_EARG, "%s: arguments of %zu bytes; at most %d", row->name, row->arg_size, GRAPH_MAX_ARGS);
    if (ry_op_find(row->name)) RY_FAIL(RY_EARG, "there is an operator '%s' already", row->name);
    os_static_lock();
    const ry_op **slot = RY_PUSH(&own_rows);
    if (slot) *slot = row;
    os_static_unlock();
    return slot ? RY_OK : RY_ENOMEM;
}
