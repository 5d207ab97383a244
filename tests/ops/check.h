/* check.h - what the checks of one row share: where we are, how a graph is run, how results are compared and failures told. */
#ifndef TESTS_OPS_CHECK_H
#define TESTS_OPS_CHECK_H
#include "core/sample.h"
#include "oracle.h"

enum { CHECK_DEVICES = 3, CHECK_MAX_WANT = 32, CHECK_MAX_SHOWN = 12 };

typedef struct check {
    const ry_op *op;
    const ry_sample *sample;
    ry_dtype floats;
    const char *path; /* instruction set in use */
    const char
        *device; /* NULL: the CPU. Another one finds numbers out of range no error: what may hold some is left out */
    ry_device *dev[CHECK_DEVICES]; /* 1, 2 and 3 threads; another device is one and the same */
    double usual
        [RY_MAX_OUT]; /* largest entry of each output on the sample as it is: where a variant's result nearly cancels,
                                       * its errors are still measured against this */
    bool brief;       /* the row as it stands alone, against the oracle */
    bool stale;       /* a run ended in an error that it may end in: the device is void, open another */
    int64_t compared, failed;
} check;
bool check_devices(check *c); /* opens them anew where none are or one is stale */
void check_devices_close(check *c);

/* Prints "row/sample dtype path: text", counts it, returns false. */
bool check_fail(check *c, const char *how, const char *fmt, ...) RY_PRINTF(3, 4);

typedef struct result { /* wanted outputs as stored */
    int n;
    ry_spec spec[CHECK_MAX_WANT];
    void *data[CHECK_MAX_WANT];
    size_t bytes[CHECK_MAX_WANT];
} result;
void result_free(result *r);
bool result_equal(const result *a, const result *b); /* bits */

typedef struct feed {
    const void *data;
    size_t bytes;
} feed; /* of the graph's inputs in the order of creation */

/* Compiles, feeds, runs `runs` times and fetches. The status is the first that failed; nothing is reported. */
ry_status run_graph(result *out, ry_graph *g, int n_want, const ry_tensor *want, int n_feed, const feed *f,
                    const ry_compile_options *opt, int runs);

/* Output j as doubles; free. */
double *result_doubles(const result *r, int j);
/* Compares with tolerance relative to the largest entry of want (integers and truths: exactly). */
bool check_close(check *c, const char *how, int j, const result *r, const double *want, double tol);
double check_tol(const check *c, ry_dtype out); /* of a result in dtype out against double */

void check_forward(check *c);
void check_views(check *c);
void check_grad(check *c);
void check_empty(check *c);
#endif
