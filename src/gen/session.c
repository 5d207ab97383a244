/* session.c - generation with a KV cache: one kept program per token, prompts in chunks.  Owns the cache; the model is another's. */
#include "base/mem.h"
#include "core/device.h"
#include "core/op.h"
#include "core/program.h"
#include "gen/gen.h"
#include "model/model.h"
#include <rusty/ops.h>
#include <string.h>

/* Prompt tokens a run, by kind of program; the last chunk is padded: its surplus rows are overwritten before anybody sees them. Long
 * chunks are for devices that want much work at once. */
enum { SHORT, LONG, KINDS };
static const int64_t chunk_rows[KINDS] = {64, 512};

struct ry_session {
    ry_model *m;
    int64_t context, rows;      /* positions that may be used; rows of the cache */
    ry_var **k, **v;            /* by layer: [1,rows,G,D] */
    ry_var *freq;               /* its own: it changes with the length under dynamic scalings */
    float *freq_host;
    double rope_scale;
    int64_t freq_length;        /* length that freq was made for; 0 = the plain table, -1 = none yet */
    int kinds;                  /* of chunks that are used */
    ry_program *token, *chunk[KINDS], *every[KINDS]; /* one token; a chunk, last logits; a chunk, all logits. Built when first needed */
    float *logits, *all;        /* [V]; [longest chunk,V] */
    int64_t used;               /* positions filled */
    int32_t pending;            /* sampled, not yet fed; -1 none */
    bool ready;                 /* logits belong to position used - 1 */
};

void ry_session_close(ry_session *s) {
    if (!s) return;
    for (int64_t i = 0; i < s->m->cfg.num_hidden_layers; i++) {
        if (s->k) ry_var_close(s->k[i]);
        if (s->v) ry_var_close(s->v[i]);
    }
    ry_program_close(s->token);
    for (int k = 0; k < KINDS; k++) ry_program_close(s->chunk[k]), ry_program_close(s->every[k]);
    ry_var_close(s->freq);
    ry_mem_free(s->k);
    ry_mem_free(s->v);
    ry_mem_free(s->freq_host);
    ry_mem_free(s->logits);
    ry_mem_free(s->all);
    ry_mem_free(s);
}

ry_status ry_session_open(ry_session **out, ry_model *m, int64_t context) {
    const model_config *c = &m->cfg;
    if (context <= 0) context = c->max_position_embeddings;
    if (context > (int64_t)1 << 28) RY_FAIL(RY_EARG, "a context of %lld positions is too long", (long long)context);
    size_t L = (size_t)c->num_hidden_layers, V = (size_t)c->vocab_size;
    ry_session *s = ry_mem_zalloc(sizeof *s);
    ry_status st = RY_ENOMEM;
    if (!s) return st;
    s->m = m;
    s->context = context;
    s->kinds = m->dev->api->work && context >= chunk_rows[LONG] ? KINDS : 1;
    int64_t longest = chunk_rows[s->kinds - 1];
    s->rows = (context + longest - 1) / longest * longest + longest;
    s->pending = -1;
    s->freq_length = -1;
    s->k = ry_mem_zalloc(L * sizeof *s->k);
    s->v = ry_mem_zalloc(L * sizeof *s->v);
    s->freq_host = ry_mem_zalloc((size_t)rope_rotary(c) * sizeof(float));
    s->logits = ry_mem_zalloc(ry_mem_size(V, sizeof(float), 0));
    if (!s->k || !s->v || !s->freq_host || !s->logits) goto fail;
    RY_GO(st, fail, ry_var_open(&s->freq, m->dev, &RY_SHAPE(RY_F32, rope_rotary(c) / 2), "rope.freq"));
    ry_spec cache = RY_SHAPE(RY_F32, 1, s->rows, c->num_key_value_heads, c->head_dim);
    for (size_t i = 0; i < L; i++) {
        RY_GO(st, fail, ry_var_open(&s->k[i], m->dev, &cache, "cache.k"));
        RY_GO(st, fail, ry_var_open(&s->v[i], m->dev, &cache, "cache.v"));
    }
    *out = s;
    return RY_OK;
fail:
    ry_session_close(s);
    return st;
}

void ry_session_reset(ry_session *s) {
    s->used = 0;
    s->pending = -1;
    s->ready = false;
}

/* Inputs in order: ids [1,T], pos [T], length [1], and last [1] where only one row's logits are wanted of many. */
static ry_status build(ry_session *s, ry_program **out, int64_t T, bool all) {
    ry_graph *g;
    if (*out) return RY_OK;
    RY_TRY(ry_graph_open(&g, s->m->dev));
    ry_graph_precision(g, s->m->opt.precision);
    model_pass p = {.g = g, .m = s->m, .rope_scale = s->rope_scale, .cache_k = s->k, .cache_v = s->v};
    p.ids = ry_input(g, &RY_SHAPE(RY_I32, 1, T), "ids");
    p.pos = p.cache_at = ry_input(g, &RY_SHAPE(RY_I32, T), "pos");
    p.length = ry_input(g, &RY_SHAPE(RY_I32, 1), "length");
    p.freq = ry_use(g, s->freq);
    ry_tensor h = s->m->family->hidden(&p);
    if (T > 1 && !all) h = ry_take(g, h, ry_input(g, &RY_SHAPE(RY_I32, 1), "last"), 1);
    ry_tensor y = ry_cast(g, model_logits(g, s->m, h), RY_F32);
    ry_status st = s->m->opt.tune ? ry_tune(g, 1, &y, 0, NULL, s->m->opt.tune) : RY_OK;
    if (st == RY_OK) st = ry_compile(out, g, 1, &y, &(ry_compile_options){.profile = s->m->opt.profile});
    ry_graph_close(g);
    return st;
}

static ry_status set_freq(ry_session *s, int64_t length) {
    int64_t key = rope_varies(&s->m->cfg, length) ? length : 0;
    double scale = s->rope_scale;
    if (key == s->freq_length) return RY_OK;
    rope_frequencies(&s->m->cfg, length, s->freq_host, &s->rope_scale);
    if (s->freq_length >= 0 && scale != s->rope_scale) RY_FAIL(RY_EINTERNAL, "rope: the attention factor changed with the length");
    s->freq_length = key;
    return ry_var_write(s->freq, s->freq_host, (size_t)rope_rotary(&s->m->cfg) / 2 * sizeof(float));
}

static ry_status run(ry_session *s, const int32_t *ids, int64_t n, float *all) {
    enum { MOST = 512 };
    int kind = n > chunk_rows[SHORT] ? LONG : SHORT;
    int64_t T = n == 1 ? 1 : chunk_rows[kind], V = s->m->cfg.vocab_size;
    int32_t padded[MOST] = {0}, pos[MOST], length = (int32_t)(s->used + T), last = (int32_t)(n - 1);
    bool every = all && T > 1;
    ry_program **p = T == 1 ? &s->token : every ? &s->every[kind] : &s->chunk[kind];
    if (every && !s->all && !(s->all = ry_mem_alloc(ry_mem_size((size_t)V, (size_t)chunk_rows[s->kinds - 1] * sizeof(float), 0)))) return RY_ENOMEM;
    RY_TRY(build(s, p, T, every));
    memcpy(padded, ids, (size_t)n * sizeof *ids);
    for (int64_t i = 0; i < T; i++) pos[i] = (int32_t)(s->used + i);
    RY_TRY(ry_program_feed(*p, 0, padded, (size_t)T * sizeof *padded));
    RY_TRY(ry_program_feed(*p, 1, pos, (size_t)T * sizeof *pos));
    RY_TRY(ry_program_feed(*p, 2, &length, sizeof length));
    if (T > 1 && !every) RY_TRY(ry_program_feed(*p, 3, &last, sizeof last));
    s->ready = false;
    RY_TRY(ry_run(*p));
    size_t row = (size_t)V * sizeof(float);
    if (every) {
        RY_TRY(ry_fetch(*p, 0, s->all, row * (size_t)T));
        memcpy(all, s->all, row * (size_t)n);
        memcpy(s->logits, s->all + V * (n - 1), row);
    } else {
        RY_TRY(ry_fetch(*p, 0, s->logits, row));
        if (all) memcpy(all, s->logits, row);
    }
    s->used += n;
    s->ready = true;
    return RY_OK;
}

ry_status ry_session_feed(ry_session *s, const int32_t *ids, size_t n, float *logits, bool all) {
    int64_t count = (int64_t)n + (s->pending >= 0), V = s->m->cfg.vocab_size;
    if (s->used + count > s->context)
        RY_FAIL(RY_EARG, "the context of %lld positions is full: %lld are used, %lld more were given; use a larger --ctx-size", (long long)s->context, (long long)s->used, (long long)count);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= V) RY_FAIL(RY_EARG, "token id %d at position %zu is outside the vocabulary of %lld", ids[i], i, (long long)V);
    RY_TRY(set_freq(s, s->used + count));
    if (s->pending >= 0) {
        RY_TRY(run(s, &s->pending, 1, NULL)); /* a failure loses no token */
        s->pending = -1;
    }
    for (size_t i = 0; i < n;) {
        int64_t k = (int64_t)(n - i), most = chunk_rows[s->kinds > LONG && k > chunk_rows[LONG] / 2 ? LONG : SHORT];
        if (k > most) k = most;
        RY_TRY(run(s, ids + i, k, all && logits ? logits + V * (int64_t)i : NULL));
        i += (size_t)k;
    }
    if (logits && !all) memcpy(logits, s->logits, (size_t)V * sizeof(float));
    return RY_OK;
}

ry_status ry_session_next(ry_session *s, const ry_sampling *o, int32_t *id) {
    static const ry_sampling greedy;
    if (s->pending >= 0) RY_TRY(ry_session_feed(s, NULL, 0, NULL, false));
    if (!s->ready) RY_FAIL(RY_EARG, "feed a prompt before sampling");
    RY_TRY(ry_sample_logits(s->logits, s->m->cfg.vocab_size, o ? o : &greedy, (uint64_t)s->used, id));
    s->pending = *id;
    return RY_OK;
}

double gen_device_ms(const ry_session *s) { return s->token ? s->token->ms[0] + s->token->ms[1] + s->token->ms[2] : 0; }

static const ry_program *shown(const ry_session *s) { return s->token ? s->token : s->chunk[SHORT] ? s->chunk[SHORT] : s->chunk[LONG] ? s->chunk[LONG] : s->every[SHORT]; }

size_t ry_session_profile(const ry_session *s, ry_profile_row *rows, size_t cap) { return shown(s) ? ry_program_profile(shown(s), rows, cap) : 0; }

ry_status ry_session_trace(const ry_session *s, const char *path) {
    return shown(s) ? ry_program_trace(shown(s), path) : ry_fail(RY_EARG, "no profile: nothing has run yet");
}
