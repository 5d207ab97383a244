/* mnist.c - a small convolutional network learns to read: one pass over 58,000 digits, then 2,000 that it never saw.
 * Takes a folder with MNIST's train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz; skips without. */
#define _POSIX_C_SOURCE 200809L /* popen */
#include <math.h>
#include <rusty.h>
#include <rusty/ops.h>
#include <stdio.h>
#include <stdlib.h>

enum { LEARN = 58000, HELD = 2000, PIXELS = 28 * 28, BATCH = 50, STEPS = LEARN / BATCH, PARAMS = 6 };

static const ry_spec shape[PARAMS] = {{RY_F32, 4, {8, 1, 3, 3}}, {RY_F32, 1, {8}},       /* convolution */
                                      {RY_F32, 4, {16, 8, 3, 3}}, {RY_F32, 1, {16}},     /* convolution */
                                      {RY_F32, 2, {10, 16 * 7 * 7}}, {RY_F32, 1, {10}}}; /* linear */
static unsigned char image[(LEARN + HELD) * PIXELS], label[LEARN + HELD];

static void check(ry_status st) {
    if (st != RY_OK) fprintf(stderr, "%s\n", ry_message()), exit(1);
}

static bool read_gz(const char *folder, const char *name, size_t header, void *data, size_t bytes) {
    char command[1024], skipped[16];
    snprintf(command, sizeof command, "gzip -dc '%s/%s' 2>/dev/null", folder, name);
    FILE *f = popen(command, "r");
    bool whole = f && fread(skipped, 1, header, f) == header && fread(data, 1, bytes, f) == bytes;
    if (f) pclose(f);
    return whole;
}

static ry_tensor network(ry_graph *g, ry_tensor x, const ry_tensor *w) { /* x [B,1,28,28] -> logits [B,10] */
    static const ry_conv2d_options same = {.pad = {1, 1}};
    static const ry_pool2d_options half = {.size = {2, 2}};
    x = ry_max_pool2d(g, ry_relu(g, ry_conv2d(g, x, w[0], w[1], &same)), &half); /* [B,8,14,14] */
    x = ry_max_pool2d(g, ry_relu(g, ry_conv2d(g, x, w[2], w[3], &same)), &half); /* [B,16,7,7] */
    return ry_linear(g, RY_RESHAPE(g, x, BATCH, 16 * 7 * 7), w[4], w[5]);
}

/* A planned step: of learning (result: the loss) or of guessing (the share that is right). v: weights and their moments. */
static ry_program *plan(ry_device *d, ry_var *const *v, bool learn) {
    ry_graph *g;
    ry_program *program;
    ry_tensor w[PARAMS], grad[PARAMS];
    static const ry_adamw_options adamw = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 1};
    check(ry_graph_open(&g, d));
    ry_tensor x = ry_input(g, &RY_SHAPE(RY_F32, BATCH, 1, 28, 28), "x"), y = ry_input(g, &RY_SHAPE(RY_I32, BATCH), "y");
    for (int i = 0; i < PARAMS; i++) w[i] = ry_use(g, v[i]);
    ry_tensor logits = network(g, x, w), right = ry_eq(g, ry_argmax(g, logits, 1, false), y);
    ry_tensor result = ry_mean(g, learn ? ry_cross_entropy(g, logits, y, -100) : ry_cast(g, right, RY_F32), 0, false);
    if (learn) check(ry_grad(g, result, RY_NULL, PARAMS, w, grad));
    for (int i = 0; learn && i < PARAMS; i++)
        ry_adamw(g, v[i], grad[i], v[PARAMS + i], v[2 * PARAMS + i], RY_NULL, &adamw);
    check(ry_compile(&program, g, 1, &result, NULL));
    ry_graph_close(g);
    return program;
}

static float run(ry_program *program, int first) {
    float x[BATCH * PIXELS], result;
    int32_t y[BATCH];
    for (int i = 0; i < BATCH * PIXELS; i++) x[i] = (float)image[first * PIXELS + i] / 255 - 0.13f;
    for (int i = 0; i < BATCH; i++) y[i] = label[first + i];
    check(ry_program_feed(program, 0, x, sizeof x));
    check(ry_program_feed(program, 1, y, sizeof y));
    check(ry_run(program));
    check(ry_fetch(program, 0, &result, sizeof result));
    return result;
}

int main(int argc, char **argv) {
    if (argc < 2 || !read_gz(argv[1], "train-images-idx3-ubyte.gz", 16, image, sizeof image) ||
        !read_gz(argv[1], "train-labels-idx1-ubyte.gz", 8, label, sizeof label))
        return puts("skipped: give the folder of MNIST's training files (gzip must be installed)"), 77;
    ry_device *d;
    ry_graph *g;
    ry_var *vars[3 * PARAMS];
    check(ry_device_open(&d, "auto", NULL));
    check(ry_graph_open(&g, d));
    for (int i = 0; i < 3 * PARAMS; i++) { /* zero, but for the weights that multiply: He et al. 2015 */
        const ry_spec *s = &shape[i % PARAMS];
        double spread = i < PARAMS && s->rank > 1 ? sqrt(2 / (double)(ry_numel(s) / s->dim[0])) : 0;
        check(ry_keep(&vars[i], g, ry_mul(g, ry_normal(g, s, 7, (uint32_t)i), ry_scalar(g, spread)), "parameter"));
    }
    ry_graph_close(g);
    ry_program *learn = plan(d, vars, true), *guess = plan(d, vars, false);
    for (int step = 0; step < STEPS; step++) {
        check(ry_program_set(learn, "lr", 3e-3 * (1 - (double)step / STEPS)));
        check(ry_program_set(learn, "step", step + 1));
        float loss = run(learn, step * BATCH);
        if ((step + 1) % 290 == 0) printf("digit %5d  loss %.3f\n", (step + 1) * BATCH, (double)loss);
    }
    float right = 0;
    for (int at = 0; at < HELD; at += BATCH) right += run(guess, LEARN + at) * BATCH * 100 / HELD;
    printf("%.2f %% of %d unseen digits are read correctly\n", (double)right, HELD);
    ry_program_close(learn);
    ry_program_close(guess);
    for (int i = 0; i < 3 * PARAMS; i++) ry_var_close(vars[i]);
    ry_device_close(d);
    return right > 97 ? 0 : 1;
}
