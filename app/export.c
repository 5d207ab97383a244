/* export.c - rusty export: a model written anew, as a GGUF file or as a folder of safetensors. */
#include "app.h"
#include <string.h>

/* "q4_K" as ry_dtype_name has it, in small or capital letters; RY_NONE: no dtype's name. */
static ry_dtype dtype_named(const char *s) {
    for (int t = 1; t < RY_DTYPE_COUNT; t++) {
        const char *name = ry_dtype_name((ry_dtype)t);
        size_t i = 0;
        while (name[i] && s[i] && (name[i] | 32) == (s[i] | 32)) i++;
        if (!name[i] && !s[i]) return (ry_dtype)t;
    }
    return RY_NONE;
}

static int run(const app_verb *v, int argc, char **argv) {
    const char *model = NULL, *out = NULL, *format = NULL;
    const app_option o[] = {{"--model,-m", OPT_TEXT, &model, "PATH", "a model's folder or a GGUF file", NULL},
                            {"--out,-o", OPT_TEXT, &out, "PATH", "the GGUF file, or the folder of safetensors", NULL},
                            {"--format", OPT_TEXT, &format, "F", "gguf[:T] or safetensors[:T]; T: f32, f16, bf16, for gguf also q8_0, q4_0, q4_K, q6_K, ... (as they are)", NULL},
                            {0}};
    int code;
    if (!app_parse(v, o, argc, argv, NULL, 0, &code)) return code;
    if (!model || !out || !format) return app_usage(v, "give -m MODEL, -o OUT and --format");
    const char *colon = strchr(format, ':');
    size_t n = colon ? (size_t)(colon - format) : strlen(format);
    bool gguf = n == 4 && !strncmp(format, "gguf", n);
    if (!gguf && (n != 11 || strncmp(format, "safetensors", n))) return app_usage(v, "--format is gguf[:T] or safetensors[:T], not '%s'", format);
    ry_dtype t = colon ? dtype_named(colon + 1) : RY_NONE;
    if (colon && !t) return app_usage(v, "--format: '%s' is no type of weights (f32, f16, bf16, q8_0, q4_0, q4_K, ...)", colon + 1);
    ry_status st = ry_export(model, out, gguf, t);
    return st == RY_OK ? APP_OK : app_fail(st);
}

const app_verb verb_export = {"export", "-m MODEL -o OUT --format F", "writes a model as GGUF (also quantised) or as safetensors",
                              "rusty export -m out/ -o model-q4_K.gguf --format gguf:q4_K", run};
