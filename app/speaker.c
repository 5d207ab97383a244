/* speaker.c - what the verbs that speak share: how tokens are chosen, and opening all that it takes. */
#include "app.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- sampling ---- */

static ry_status parse_bias(const char *s, ry_token_bias *out) {
    char *end;
    long id = strtol(s, &end, 10);
    double x = 0;
    bool good = end > s && id >= 0 && id <= INT32_MAX && (*end == '+' || *end == '-');
    if (good) {
        const char *from = end;
        x = strtod(from, &end);
        good = end > from && !*end && !isnan(x) && x < HUGE_VAL;
    }
    if (!good) RY_FAIL(RY_EARG, "--logit-bias needs a token's id and a number with its sign (1234-1.5, 1234-inf), not '%s'", s);
    *out = (ry_token_bias){(int32_t)id, (float)x};
    return RY_OK;
}

static double real_at(const app_option *o) { return (o->kind & OPT_KINDS) == OPT_INT ? (double)*(int64_t *)o->to : *(double *)o->to; }

ry_status app_sampling_of(app_sampling *a, const ry_sampling *base, int64_t seed) {
    const app_option mine[] = {APP_SAMPLING_OPTIONS(*a), {0}};
    app_sampling from = {.o = *base};
    const app_option theirs[] = {APP_SAMPLING_OPTIONS(from), {0}};
    for (int i = 0; mine[i].kind; i++) {
        if (!mine[i].given || *mine[i].given) continue;
        if ((mine[i].kind & OPT_KINDS) == OPT_INT) *(int64_t *)mine[i].to = *(int64_t *)theirs[i].to;
        else *(double *)mine[i].to = *(double *)theirs[i].to;
    }
    for (int i = 0; i < a->bias.n; i++) RY_TRY(parse_bias(a->bias.at[i], &a->biases[i]));
    a->o.bias = a->biases, a->o.n_bias = (size_t)a->bias.n;
    a->o.seed = (uint64_t)seed;
    return RY_OK;
}

ry_status app_sampling_set(app_sampling *a, const char *name, const char *value) {
    const app_option o[] = {APP_SAMPLING_OPTIONS(*a), {0}};
    size_t n = strlen(name);
    for (int i = 0; o[i].kind; i++) {
        const char *first = o[i].names + 2;
        if (!o[i].given || strlen(first) < n || strncmp(first, name, n) != 0 || (first[n] && first[n] != ',')) continue;
        bool given = *o[i].given;
        ry_status st = app_set(&o[i], name, value);
        *o[i].given = given; /* a later change is none of the command's */
        return st;
    }
    RY_FAIL(RY_ENOENT, "there is no parameter %s", name);
}

void app_sampling_list(const app_sampling *a, void (*each)(void *ud, const char *name, double value), void *ud) {
    app_sampling copy = *a;
    const app_option o[] = {APP_SAMPLING_OPTIONS(copy), {0}};
    for (int i = 0; o[i].kind; i++) {
        char name[32];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(o[i].names + 2, ","), o[i].names + 2);
        if (o[i].given) each(ud, name, real_at(&o[i]));
    }
}

/* ---- models ---- */

static ry_status cache_dtype(const char *name, ry_dtype *out) {
    static const ry_dtype kinds[] = {RY_F32, RY_F16, RY_BF16, RY_Q8_0};
    *out = RY_NONE;
    for (size_t i = 0; name && i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(ry_dtype_name(kinds[i]), name)) *out = kinds[i];
    return !name || *out ? RY_OK : ry_fail(RY_EARG, "--cache-type is f32, f16, bf16 or q8_0, not '%s'", name);
}

ry_status app_no_tokenizer(ry_status st, const char *model, const char *advice) {
    char why[600];
    ry_device *d;
    ry_model *m;
    snprintf(why, sizeof why, "%s%s", ry_message(), advice);
    if (ry_device_open(&d, "null", NULL) != RY_OK) return st;
    ry_status opened = ry_model_open(&m, d, model, NULL);
    if (opened == RY_OK) ry_model_close(m);
    ry_device_close(d);
    return opened == RY_EFORMAT || opened == RY_ENOENT ? opened : ry_fail(st, "%s", why);
}

ry_status app_speaker_open(app_speaker *a, const app_common *c, bool needs_text, ry_numerics otherwise) {
    ry_numerics numerics;
    ry_dtype t;
    RY_TRY(cache_dtype(a->cache_type, &t));
    RY_TRY(app_numerics(&numerics, c, otherwise));
    RY_TRY(ry_model_path(&a->path, a->model));
    if (a->draft) RY_TRY(ry_model_path(&a->draft_path, a->draft));
    ry_status st = ry_tokenizer_open(&a->tokenizer, a->path);
    if (st != RY_OK && (needs_text || (st != RY_ENOENT && st != RY_EUNSUPPORTED)))
        return app_no_tokenizer(st, a->path, st == RY_ENOENT ? " (give the prompt as --ids)" : "");
    RY_TRY(app_device(&a->device, c));
    const ry_model_options o = {.precision = c->precision, .numerics = numerics, .profile = c->profile};
    RY_TRY(ry_model_open(&a->m, a->device, a->path, &o));
    return a->draft ? ry_model_open(&a->small, a->device, a->draft_path, &o) : RY_OK;
}

ry_status app_speaker_session(app_speaker *a, int64_t context) {
    ry_dtype t;
    RY_TRY(cache_dtype(a->cache_type, &t));
    RY_TRY(ry_session_open(&a->s, a->m, &(ry_session_options){.context = a->ctx ? a->ctx : context, .cache = t}));
    return a->small ? ry_session_draft(a->s, a->small, a->ahead) : RY_OK;
}

void app_speaker_close(app_speaker *a) {
    ry_session_close(a->s);
    ry_model_close(a->small);
    ry_model_close(a->m);
    ry_device_close(a->device);
    ry_tokenizer_close(a->tokenizer);
    ry_free(a->path);
    ry_free(a->draft_path);
}

const char *app_ending(ry_ending e) {
    static const char *const names[] = {[RY_ENDED_BY_TOKEN] = "token", [RY_ENDED_BY_TEXT] = "stop", [RY_ENDED_BY_LENGTH] = "length", [RY_ENDED_ON_REQUEST] = "request"};
    return names[e];
}

double app_speed(const ry_speech *r) { return r->seconds > 0 ? (double)r->n_ids / r->seconds : 0; }
