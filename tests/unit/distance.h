/* distance.h - how far two results lie apart.  Header of tests only. */
#ifndef TEST_DISTANCE_H
#define TEST_DISTANCE_H
#include <math.h>
#include <stdint.h>

static inline double distance(const float *a, const float *b, int64_t n) {
    double d = 0;
    for (int64_t i = 0; i < n; i++) d = fmax(d, fabs((double)a[i] - (double)b[i]));
    return d;
}
#endif
