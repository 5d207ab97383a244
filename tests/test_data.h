/* test_data.h - where reference data are: RUSTY_TEST_DATA, else ../shared/data beside the source folder.  Header of tests only. */
#ifndef TEST_DATA_H
#define TEST_DATA_H
#include <stdio.h>
#include <stdlib.h>

/* The path of a file or folder of the reference data in buf, or NULL (and a word) if it is not there: then the test skips. */
static inline const char *test_data(char *buf, size_t n, const char *name) {
    const char *root = getenv("RUSTY_TEST_DATA");
    snprintf(buf, n, "%s/%s", root && root[0] ? root : RUSTY_TEST_DATA_DEFAULT, name);
    FILE *f = fopen(buf, "rb"); /* opens folders too, on the systems we test on */
    if (f == NULL) {
        fprintf(stderr, "skipped: no reference data at %s (set RUSTY_TEST_DATA)\n", buf);
        return NULL;
    }
    fclose(f);
    return buf;
}
#endif
