/* sample.h - makes the inputs of an op row's samples: one list of shapes, ranges and arguments serves tests, doctor and bench.
 *
 * The same (row, sample, dtype, seed) gives the same bytes everywhere: values come from Philox streams. */
#ifndef RY_CORE_SAMPLE_H
#define RY_CORE_SAMPLE_H
#include "core/op.h"

typedef struct ry_sample_set {
    const ry_op *op;
    const ry_sample *sample;
    int n_src;
    ry_spec spec[RY_MAX_SRC]; /* dtype RY_NONE: left out */
    void *data[RY_MAX_SRC];   /* dense, in the storage type; NULL where left out */
    size_t bytes[RY_MAX_SRC];
    ry_var *var[RY_MAX_SRC]; /* sources that live in variables; opened by ry_sample_build */
} ry_sample_set;

/* floats: dtype that f32 sources take instead (RY_F32: as the sample says). Scalars and sources that the row writes stay as they
 * are: their dtype is the row's choice. ENOMEM; EARG for a shape that overflows. */
ry_status ry_sample_open(ry_sample_set *out, const ry_op *op, const ry_sample *s, ry_dtype floats, uint64_t seed);
void ry_sample_close(ry_sample_set *s);
/* True if some source changes with `floats`. */
bool ry_sample_has_floats(const ry_op *op, const ry_sample *s);
int ry_sample_sources(const ry_op *op, const ry_sample *s); /* number of sources, left-out optional ones counted */

/* Fills n elements of dtype t: floats and blocks uniform in [lo,hi), integers uniform in [lo,hi), both 0 = [-1,1) or [0,2).
 * After 2^20 elements they repeat. */
ry_status ry_sample_fill(void *data, ry_dtype t, int64_t n, float lo, float hi, uint64_t seed, uint32_t stream);

/* Gives the graph the sources (inputs; variables where the row writes them, or all of them if as_vars) without applying the row.
 * Variables are opened once per set, on g's device, and rewritten with the sample's data at each call. src[i] is null where left out. */
ry_status ry_sample_sources_build(ry_graph *g, ry_sample_set *s, bool as_vars, ry_tensor src[RY_MAX_SRC]);
/* Feeds the set's inputs, in the order of ry_sample_sources_build, the first being input `first` of the program. */
ry_status ry_sample_feed(ry_program *p, const ry_sample_set *s, size_t first);

/* Sources, then the row. The result is output 0, or the null tensor: the graph knows why. */
ry_tensor ry_sample_build(ry_graph *g, ry_sample_set *s, bool as_vars, ry_tensor src[RY_MAX_SRC]);
#endif
