/* schedule.c - learning rates over time, as transformers' get_scheduler defines them (warm-up starts at rate 0). */
#include "train/train.h"
#include <math.h>
#include <string.h>

static const char *const names[] = {[SCHEDULE_COSINE] = "cosine", [SCHEDULE_LINEAR] = "linear", [SCHEDULE_CONSTANT] = "constant"};

ry_status train_schedule_find(train_schedule *out, const char *name) {
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (!name || !strcmp(names[i], name)) {
            *out = (train_schedule)i;
            return RY_OK;
        }
    RY_FAIL(RY_EARG, "schedule '%s' is not known (cosine, linear, constant)", name);
}

double train_schedule_at(train_schedule s, int64_t step, int64_t warmup, int64_t total) {
    if (step < warmup) return (double)step / (double)(warmup > 1 ? warmup : 1);
    double left = (double)(total - warmup > 1 ? total - warmup : 1), done = (double)(step - warmup) / left;
    if (s == SCHEDULE_CONSTANT) return 1;
    if (s == SCHEDULE_LINEAR) return done < 1 ? (double)(total - step) / left : 0;
    double y = 0.5 * (1 + cos(3.141592653589793 * done));
    return y > 0 ? y : 0;
}
