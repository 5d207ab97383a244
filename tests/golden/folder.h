/* folder.h - reference folders, walked at run time so that other files of the same formats are checked too.  Header of tests only. */
#ifndef GOLDEN_FOLDER_H
#define GOLDEN_FOLDER_H
#include "base/mem.h"
#include "base/os.h"
#include "io/json.h"
#include "test_data.h"
#include <math.h>
#include <string.h>

/* Largest |a - b| over n floats; NaN counts as infinite. */
static inline double largest_difference(const float *a, const float *b, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (isnan(d)) return INFINITY;
        if (d > most) most = d;
    }
    return most;
}
static inline double largest(const float *a, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++)
        if (fabs((double)a[i]) > most) most = fabs((double)a[i]);
    return most;
}

/* A tensor of a reference file that must be there, with its number of entries. */
static inline const void *reference(const ry_tensor_file *f, const char *name, ry_spec *s, size_t *n) {
    const void *data;
    if (ry_tensor_file_find(f, name, s, &data) != RY_OK) return NULL;
    int64_t count = ry_numel(s);
    *n = count > 0 ? (size_t)count : 0;
    return data;
}
#endif
