/* resume.c - a run is stopped in the middle, goes on from its checkpoint in a new model, and ends with the very bits of a run
 * that nothing disturbed: weights, moments, data order and schedule are all where they were. */
#include <rusty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char shape[] = "hidden_size: 32\nintermediate_size: 64\nnum_hidden_layers: 2\nnum_attention_heads: 4\n";
static const char text[] =
    "A run that stops is no worse than a run that goes on, if all that it knows is written down: the weights, what the "
    "optimiser remembers of them, and how many steps were made. The order of the data follows from seed and step, and so "
    "does everything random. Then whoever comes back takes the next step, and nobody can tell that there was a night.";

static void check(ry_status st) {
    if (st != RY_OK) fprintf(stderr, "%s\n", ry_message()), exit(1);
}

static volatile int stop; /* a signal handler would set it as well */

static void on_step(void *ud, const ry_train_step *s) {
    const int *stop_at = ud;
    if (s->step % 10 == 0) printf("  step %2d  loss %.6f\n", (int)s->step, s->loss);
    if (s->step == *stop_at) stop = 1;
}

/* Trains a new model into `out`; returns how that ended. *weights: all of them, one after another. */
static ry_status train(ry_device *d, const ry_data *data, const char *out, const char *resume, int stop_at,
                       float **weights, size_t *n) {
    ry_model *m;
    ry_train_options o = {.out = out, .overwrite = !resume, .resume = resume, .batch_size = 2, .iters = 40, .lr = 1e-2,
                          .stop = &stop, .on_step = on_step, .ud = &stop_at};
    check(ry_model_init_text(&m, d, shape, 256, 1, NULL));
    stop = 0;
    ry_status st = ry_train(m, data, NULL, &o);
    *n = (size_t)ry_model_params(m);
    float *at = *weights = malloc(*n * sizeof(float));
    for (size_t i = 0; at && i < ry_model_var_count(m); i++) {
        size_t count = (size_t)ry_numel(ry_var_spec(ry_model_var(m, i)));
        check(ry_var_read(ry_model_var(m, i), at, count * sizeof(float)));
        at += count;
    }
    ry_model_close(m);
    return st;
}

int main(void) {
    ry_device *d;
    ry_tokenizer *bytes;
    ry_data *data;
    float *straight, *half, *resumed;
    size_t n;
    check(ry_device_open(&d, "auto", NULL));
    check(ry_tokenizer_bytes(&bytes));
    check(ry_data_text(&data, text, sizeof text - 1, bytes, &(ry_data_options){.seq_len = 32}));

    puts("undisturbed:");
    check(train(d, data, "straight", NULL, 0, &straight, &n));
    puts("stopped after step 17:");
    ry_status st = train(d, data, "broken", NULL, 17, &half, &n);
    printf("  %s: %s\n", ry_status_name(st), ry_message());
    puts("resumed:");
    check(train(d, data, "broken", "auto", 0, &resumed, &n));

    bool same = straight && resumed && !memcmp(straight, resumed, n * sizeof(float));
    bool moved = straight && half && memcmp(straight, half, n * sizeof(float));
    printf("%zu weights are %s\n", n, same ? "equal bit for bit" : "NOT equal");
    free(straight), free(half), free(resumed);
    ry_data_close(data);
    ry_tokenizer_close(bytes);
    ry_device_close(d);
    return st == RY_ESTOPPED && same && moved ? 0 : 1;
}
