/* on_device.h - for golden tests that run on any device: the program's first argument names it.  A program that includes this runs
 * twice, as golden.X on the CPU and as golden.X_gpu with the argument `webgpu`.  Header of tests only. */
#ifndef GOLDEN_ON_DEVICE_H
#define GOLDEN_ON_DEVICE_H
#include <rusty.h>
#include <stdio.h>
#include <string.h>

static const char *device_name = "cpu";
static double slack = 1; /* factor on tolerances: GPUs add in other orders and have functions of their own */

static inline bool on_cpu(void) { return !strcmp(device_name, "cpu"); }

/* Takes the first argument where it names a backend. False, with a word, where the device is not here. */
static inline bool take_device(int *argc, char ***argv) {
    ry_device *d;
    bool named = false;
    for (size_t i = 0; ry_backend_name(i) && *argc > 1; i++) named |= !strcmp(ry_backend_name(i), (*argv)[1]);
    if (!named) return true;
    device_name = (*argv)[1];
    slack = 2;
    --*argc, ++*argv;
    if (ry_device_open(&d, device_name, NULL) != RY_OK) {
        printf("skipped: %s\n", ry_message());
        return false;
    }
    ry_device_close(d);
    return true;
}
#endif
