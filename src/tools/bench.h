/* bench.h - what the benchmarks share. */
#ifndef RY_TOOLS_BENCH_H
#define RY_TOOLS_BENCH_H
#include <rusty.h>

ry_status bench_real_device(ry_device *d, const char *what);             /* EUNSUPPORTED on the null device */
double bench_median(double *x, int n);                                   /* sorts x */
ry_status bench_peak(double *gflops, ry_device *d, ry_dtype product);    /* measured multiply-adds of the whole device */
ry_status bench_copy_speed(double *bytes_per_s, ry_device *d);           /* read and written */
#endif
