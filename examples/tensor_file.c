/* tensor_file.c - safetensors: tensors and metadata are written, looked up by name, and multiplied where they lie in the mapped
 * file, without a copy.
 *
 *   tensor_file [FILE]      lists FILE, or a folder's shards, instead */
#include <rusty.h>
#include <stdio.h>
#include <stdlib.h>

static void check(ry_status st) {
    if (st != RY_OK) fprintf(stderr, "%s\n", ry_message()), exit(1);
}

static void list(const ry_tensor_file *f) {
    for (size_t i = 0; i < ry_tensor_file_count(f); i++) {
        const char *name;
        ry_spec s;
        check(ry_tensor_file_get(f, i, &name, &s, NULL));
        printf("%-32s %s [", name, ry_dtype_name(s.dtype));
        for (int d = 0; d < s.rank; d++) printf(d ? ",%lld" : "%lld", (long long)s.dim[d]);
        puts("]");
    }
}

int main(int argc, char **argv) {
    static const float w[2][3] = {{1, 2, 3}, {4, 5, 6}}, x[3] = {1, 0, -1};
    const char *path = argc > 1 ? argv[1] : "layer.safetensors";
    const ry_named_data tensors[] = {{"layer.weight", RY_SHAPE(RY_F32, 2, 3), w}, {"layer.input", RY_SHAPE(RY_F32, 3), x}};
    if (argc < 2) /* written beside its place, flushed and renamed: nobody ever sees half a file */
        check(ry_tensor_file_write(path, 2, tensors, (const char *const[]){"made by", "examples/tensor_file.c", NULL}));

    ry_tensor_file *f;
    check(ry_tensor_file_open(&f, path)); /* every rule of the format is checked: what lies is an error by name */
    list(f);
    if (argc > 1) {
        ry_tensor_file_close(f);
        return 0;
    }
    printf("made by: %s\n", ry_tensor_file_meta(f, "made by"));

    ry_device *d;
    ry_graph *g;
    ry_var *v[2];
    float y[2];
    check(ry_device_open(&d, "auto", NULL));
    for (int i = 0; i < 2; i++) {
        ry_spec s;
        const void *data;
        check(ry_tensor_file_find(f, tensors[i].name, &s, &data));
        check(ry_var_wrap(&v[i], d, &s, tensors[i].name, (void *)(uintptr_t)data, NULL, NULL)); /* read, never written */
    }
    check(ry_graph_open(&g, d));
    ry_tensor product = ry_linear(g, RY_RESHAPE(g, ry_use(g, v[1]), 1, 3), ry_use(g, v[0]), RY_NULL);
    check(ry_eval(g, 1, &product, 0, NULL));
    check(ry_read(g, product, y, sizeof y));
    printf("weight x input = [%g, %g]\n", (double)y[0], (double)y[1]);

    ry_graph_close(g);
    ry_var_close(v[0]);
    ry_var_close(v[1]);
    ry_device_close(d);
    ry_tensor_file_close(f); /* after what lies in it */
    return y[0] == -2 && y[1] == -2 ? 0 : 1;
}
