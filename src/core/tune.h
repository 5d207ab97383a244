/* tune.h - which variant of its kernel a node gets on a device: what was measured there, or is committed for the chip, or the row's
 * default.
 *
 * What was measured lies in a file of the user's, by device, driver and kernel text; what is committed in src/ops/tuned/NAME.tune, by
 * chip. A run's choices, wherever they are from, can be written down and given to a later one, so that a resumed run computes with
 * the same kernels. */
#ifndef RY_CORE_TUNE_H
#define RY_CORE_TUNE_H
#include "core/device.h"

typedef struct ry_tuning ry_tuning;
/* What is committed for the device's chip, and over it the user's file where there is one. RUSTY_TUNE=off: neither. */
ry_status tune_open(ry_tuning **out, const ry_device *d);
void tune_close(ry_tuning *t);
uint64_t tune_version(ry_tuning *t); /* changes with every choice: part of a plan's key, for the plan holds the scratch of its variants */
/* NULL: the row has none. Same answer for equal nodes until tune_set, tune_try or tune_take. */
const ry_variant *tune_choose(ry_tuning *t, const ry_node *n, const ry_caps *caps);
/* Whether the row's kernels may run without bounds checks. Rusty's own may: its tests verify them. An application's row may after
 * tune_trust, for as long as the device is open: a file would know its text, but not the launch that came with it. */
bool tune_trusts(ry_tuning *t, const ry_op *op);
ry_status tune_trust(ry_tuning *t, const ry_op *op, bool agrees); /* what the doctor found on this device */
ry_status tune_key(ry_text *out, const ry_node *n); /* "matmul f32[512,512] f32[512,512](1,512) -> f32[512,512] product=1 b_rows=0": strides where it is not dense */
/* For the search: every node takes its r-th variant that holds (its last, if there are fewer); -1 ends that. */
void tune_try(ry_tuning *t, int r);
ry_status tune_set(ry_tuning *t, const char *key, const char *variant); /* measured here; EARG: no row of that name */
/* What was set here goes into the user's file beside what it says by then (under a lock: two may save at once). */
ry_status tune_save(ry_tuning *t);
/* The committed choices of `text` for the device of this name, where nothing else is said about their nodes. A text has lines
 * `chip: TEXT`, one of which the name must contain, then KEY<tab>VARIANT; # begins a remark. Unknown rows and variants are passed over. */
ry_status tune_add(ry_tuning *t, const char *chip, const char *text);
/* The choices that were taken so far, wherever they are from, a line each: KEY<tab>VARIANT. */
ry_status tune_taken(ry_tuning *t, ry_text *out);
/* From here on these choices and the rows' defaults for the rest, whatever is committed or measured; NULL: as before it. */
ry_status tune_take(ry_tuning *t, const char *lines);
bool tune_fixed(ry_tuning *t); /* after tune_take, or by RUSTY_VARIANT: nothing is to be measured, for it could not be taken */
#endif
