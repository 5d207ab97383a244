/* tune.h - which variant of its kernel a node gets on a device: what was measured there, or the row's default.
 *
 * The table of what was measured lies in a file by device, driver and kernel text. A run's choices can be written down and given to a
 * later one, so that a resumed run computes with the same kernels. */
#ifndef RY_CORE_TUNE_H
#define RY_CORE_TUNE_H
#include "core/device.h"

typedef struct ry_tuning ry_tuning;
/* Reads the device's file where there is one; without one the defaults are taken. RUSTY_TUNE=off: no file. */
ry_status tune_open(ry_tuning **out, const ry_device *d);
void tune_close(ry_tuning *t);
uint64_t tune_version(ry_tuning *t); /* changes with every choice: part of a plan's key, for the plan holds the scratch of its variants */
/* NULL: the row has none. Same answer for equal nodes until tune_set, tune_try or tune_take. */
const ry_variant *tune_choose(ry_tuning *t, const ry_node *n, const ry_caps *caps);
ry_status tune_key(ry_text *out, const ry_node *n); /* "matmul f32[512,512] f32[512,512](1,512) -> f32[512,512] product=1 b_rows=0": strides where it is not dense */
/* For the search: every node takes its r-th variant that holds (its last, if there are fewer); -1 ends that. */
void tune_try(ry_tuning *t, int r);
ry_status tune_set(ry_tuning *t, const char *key, const char *variant);
ry_status tune_save(ry_tuning *t); /* the file, written beside its place and renamed */
/* The choices that differ from the defaults and were taken so far, a line each: KEY<tab>VARIANT. */
ry_status tune_taken(ry_tuning *t, ry_text *out);
/* From here on these choices, and the defaults for the rest. */
ry_status tune_take(ry_tuning *t, const char *lines);
#endif
