/* session.c - sequences of tokens with their KV caches: ids in, logits out, in runs of many tokens or of one.
 *
 * Owns the caches, which grow with the sequences in powers of two, and the programs, one for each length of run in use. The model is
 * another's. A run's surplus rows (padding, on devices where a new length of run is dear) land behind the positions in use, and are
 * overwritten before anybody sees them. */
#include "gen/session.h"
#include <rusty/ops.h>
#include <string.h>

enum { LEAST_ROWS = 256 };

static void close_programs(ry_session *s) {
    for (int i = 0; i < GEN_PROGRAMS; i++) {
        ry_program_close(s->programs[i].program);
        s->programs[i] = (gen_program){0};
    }
}

void ry_session_close(ry_session *s) {
    if (!s) return;
    gen_draft_close(s);
    gen_ahead_close(s);
    close_programs(s);
    for (int64_t i = 0; s->cache && i < 2 * s->m->cfg.num_hidden_layers; i++) ry_var_close(s->cache[i]);
    for (int64_t b = 0; s->seq && b < s->opt.batch; b++) {
        RY_VEC_FREE(&s->seq[b].ids);
        ry_mem_free(s->seq[b].logits);
    }
    model_ropes_close(&s->ropes);
    gen_sampler_free(&s->sampler);
    ry_mem_free(s->seq);
    ry_mem_free(s->cache);
    ry_mem_free(s->feed);
    ry_mem_free(s->lengths);
    ry_mem_free(s->each);
    ry_mem_free(s->counts);
    ry_mem_free(s->spare);
    ry_mem_free(s);
}

static ry_status check_options(ry_session_options *o, const ry_model *m) {
    if (!o->context) o->context = m->cfg.max_position_embeddings;
    if (m->cfg.positions && o->context > m->cfg.positions) o->context = m->cfg.positions; /* the table of positions ends there */
    if (!o->batch) o->batch = 1;
    if (!o->cache) o->cache = RY_F32;
    if (o->context < 0 || o->context > (int64_t)1 << 28) RY_FAIL(RY_EARG, "a context of %lld positions: it must be from 1 to 2^28", (long long)o->context);
    if (o->batch < 0 || o->batch > 4096 || o->batch * o->context > (int64_t)1 << 30)
        RY_FAIL(RY_EARG, "%lld sequences of %lld positions are too many", (long long)o->batch, (long long)o->context);
    const ry_dtype_info *t = ry_dtype_row(o->cache);
    if (o->cache != RY_F32 && o->cache != RY_F16 && o->cache != RY_BF16 && o->cache != RY_Q8_0)
        RY_FAIL(RY_EDTYPE, "a KV cache of %s: it can be f32, f16, bf16 or q8_0", t->name);
    for (int64_t i = 0; i < 2 * m->cfg.num_hidden_layers; i++) {
        model_cache_spec kept = model_cache_of(m, i / 2, 1, 1, o->cache);
        if (kept.by_position && kept.at[i % 2].dim[3] % t->block)
            RY_FAIL(RY_EUNSUPPORTED, "a KV cache of %s needs heads of a multiple of %d numbers, this model's have %lld: use f16", t->name, t->block, (long long)kept.at[i % 2].dim[3]);
    }
    return RY_OK;
}

ry_status ry_session_open(ry_session **out, ry_model *m, const ry_session_options *o) {
    ry_session_options opt = o ? *o : (ry_session_options){0};
    RY_TRY(check_options(&opt, m));
    ry_session *s = ry_mem_zalloc(sizeof *s);
    ry_status st = RY_ENOMEM;
    if (!s) return st;
    s->m = m;
    s->opt = opt;
    s->ropes.length = -1;
    for (int64_t i = 0; i < m->cfg.num_hidden_layers; i++) s->states |= !model_cache_of(m, i, 1, 1, RY_F32).by_position;
    s->feed = ry_mem_alloc(ry_mem_size((size_t)opt.batch + GEN_LONGEST, 3 * sizeof *s->feed, 0));
    s->seq = ry_mem_zalloc(ry_mem_size((size_t)opt.batch, sizeof *s->seq, 0));
    s->lengths = ry_mem_alloc((size_t)opt.batch * 3 * sizeof *s->lengths);
    s->each = ry_mem_alloc((size_t)opt.batch * sizeof *s->each);
    s->counts = ry_mem_alloc((size_t)opt.batch * sizeof *s->counts);
    if (!s->feed || !s->seq || !s->lengths || !s->each || !s->counts) goto fail;
    for (int64_t b = 0; b < opt.batch; b++) {
        s->seq[b].pending = -1;
        s->seq[b].logits = ry_mem_alloc(ry_mem_size((size_t)m->cfg.vocab_size, sizeof(float), 0));
        if (!s->seq[b].logits) goto fail;
    }
    RY_GO(st, fail, model_ropes_open(&s->ropes, m));
    *out = s;
    return RY_OK;
fail:
    ry_session_close(s);
    return st;
}

/* ---- caches ---- */

/* What is in use of every sequence, from one layout to the next, which is longer. */
static ry_status move_rows(const ry_session *s, ry_var *to, const ry_var *from) {
    ry_device *d = s->m->dev;
    if (s->opt.batch == 1) {
        ry_device_lock(d);
        ry_status st = d->api->copy(d, &to->buf, &from->buf, from->bytes);
        ry_device_unlock(d);
        return st;
    }
    size_t was = from->bytes / (size_t)s->opt.batch, is = to->bytes / (size_t)s->opt.batch;
    char *host = ry_mem_zalloc(to->bytes);
    ry_status st = host ? ry_var_read(from, host, from->bytes) : RY_ENOMEM;
    for (int64_t b = s->opt.batch - 1; b > 0 && st == RY_OK; b--) memmove(host + (size_t)b * is, host + (size_t)b * was, was);
    if (st == RY_OK) st = ry_var_write(to, host, to->bytes);
    ry_mem_free(host);
    return st;
}

ry_status gen_reserve(ry_session *s, int64_t rows) {
    const model_config *c = &s->m->cfg;
    int64_t most = s->opt.context + (gen_padded(s) ? GEN_LONGEST : 0), room = s->rows ? s->rows : LEAST_ROWS;
    size_t n = 2 * (size_t)c->num_hidden_layers;
    if (rows <= s->rows) return RY_OK;
    while (room < rows) room *= 2;
    if (room > most) room = most;
    ry_var **next = ry_mem_zalloc(n * sizeof *next);
    ry_status st = next ? RY_OK : RY_ENOMEM;
    for (size_t i = 0; i < n && st == RY_OK; i++) {
        model_cache_spec kept = model_cache_of(s->m, (int64_t)i / 2, s->opt.batch, room, s->opt.cache);
        if (!kept.at[i % 2].rank) continue;
        st = ry_var_open(&next[i], s->m->dev, &kept.at[i % 2], i % 2 ? "cache.v" : "cache.k");
        if (st == RY_OK && s->cache) st = move_rows(s, next[i], s->cache[i]);
    }
    if (st == RY_OK) { /* else all stays as it was */
        close_programs(s);
        ry_var **old = s->cache;
        s->cache = next, next = old;
        s->rows = room;
    }
    for (size_t i = 0; next && i < n; i++) ry_var_close(next[i]);
    ry_mem_free(next);
    return st;
}

/* ---- programs ---- */

/* Inputs in order: ids [B,T] (but ahead), pos [B,T], length [B]; where layers keep a state, how many tokens count [B]; where the session has several sequences, rows of the cache [B*T]; and where only
 * the last logits are wanted of many, last [B]. */
static ry_status build(ry_session *s, gen_program *p) {
    ry_graph *g;
    int64_t B = p->sequence < 0 ? s->opt.batch : 1, T = p->T;
    RY_TRY(ry_graph_open(&g, s->m->dev));
    ry_graph_precision(g, s->m->opt.precision);
    ry_graph_numerics(g, s->m->opt.numerics);
    model_pass pass = {.g = g, .m = s->m, .cache = s->cache, .sequences = s->opt.batch, .sequence = p->sequence};
    pass.ids = p->ahead ? ry_use(g, s->ahead.next) : ry_input(g, &RY_SHAPE(RY_I32, B, T), "ids");
    pass.pos = ry_input(g, &RY_SHAPE(RY_I32, B, T), "pos");
    pass.length = ry_input(g, &RY_SHAPE(RY_I32, B), "length");
    if (s->states) pass.fresh = ry_input(g, &RY_SHAPE(RY_I32, B), "fresh");
    pass.cache_at = s->opt.batch > 1 ? ry_input(g, &RY_SHAPE(RY_I32, B * T), "rows") : RY_RESHAPE(g, pass.pos, B * T);
    model_pass_ropes(&pass, &s->ropes);
    ry_tensor h = model_hidden(&pass);
    if (T > 1 && !p->every) {
        ry_tensor last = ry_input(g, &RY_SHAPE(RY_I32, B), "last");
        h = ry_take(g, RY_RESHAPE(g, h, B * T, -1), last, 0);
    }
    ry_tensor y = ry_cast(g, model_logits(g, s->m, h), RY_F32);
    if (p->ahead) { /* the first of the likeliest; -1 where a logit is NaN, which wins */
        ry_tensor id = ry_cast(g, ry_argmax(g, RY_RESHAPE(g, y, -1), 0, false), RY_I32), one = RY_RESHAPE(g, id, 1);
        ry_tensor bad = ry_isnan(g, ry_take(g, RY_RESHAPE(g, y, -1), one, 0));
        y = ry_select(g, bad, ry_fill(g, &RY_SHAPE(RY_I32, 1), -1), one);
        ry_assign(g, s->ahead.next, RY_RESHAPE(g, y, 1, 1));
    }
    ry_status st = s->m->opt.tune ? ry_tune(g, 1, &y, 0, NULL, s->m->opt.tune) : RY_OK;
    if (st == RY_OK) st = ry_compile(&p->program, g, 1, &y, &(ry_compile_options){.profile = s->m->opt.profile});
    ry_graph_close(g);
    return st;
}

ry_status gen_program_for(ry_session *s, ry_program **out, int64_t T, int sequence, bool every, bool ahead) {
    gen_program *slot = &s->programs[0];
    every &= T > 1;
    for (int i = 0; i < GEN_PROGRAMS; i++) {
        gen_program *p = &s->programs[i];
        if (p->program && p->T == T && p->sequence == sequence && p->every == every && p->ahead == ahead) {
            slot = p;
            break;
        }
        if (p->used < slot->used) slot = p;
    }
    if (!slot->program || slot->T != T || slot->sequence != sequence || slot->every != every || slot->ahead != ahead) {
        ry_program_close(slot->program);
        *slot = (gen_program){.T = T, .sequence = sequence, .every = every, .ahead = ahead};
        RY_TRY(build(s, slot));
    }
    slot->used = ++s->runs;
    *out = slot->program;
    return RY_OK;
}

static ry_status need_spare(ry_session *s, size_t floats) {
    if (floats <= s->spare_floats) return RY_OK;
    float *p = ry_mem_alloc(ry_mem_size(floats, sizeof *p, 0));
    if (!p) return RY_ENOMEM;
    ry_mem_free(s->spare);
    s->spare = p, s->spare_floats = floats;
    return RY_OK;
}

/* ---- runs ---- */

/* Tokens of a run that takes n: all of them where programs are cheap to make, else one of a few numbers. */
static int64_t run_length(const ry_session *s, int64_t n) {
    int64_t T = 1;
    if (!gen_padded(s)) return n;
    if (n > 64) return (n + 63) / 64 * 64;
    while (T < n) T *= 2;
    return T;
}

/* One run: n[b] ids for sequence b (of all, or the one given), T columns. Feeds what build() declares. */
static ry_status run(ry_session *s, ry_program *p, int sequence, int64_t T, const int32_t *const *ids, const int64_t *n, bool last_only) {
    int64_t B = sequence < 0 ? s->opt.batch : 1, size = B * T;
    int32_t *id = s->feed, *pos = id + size, *row = pos + size, *lengths = s->lengths, *lasts = lengths + B, *fresh = lasts + B;
    for (int64_t b = 0; b < B; b++) {
        int64_t q = sequence < 0 ? b : sequence, used = (int64_t)s->seq[q].ids.n;
        for (int64_t t = 0; t < T; t++) {
            id[b * T + t] = t < n[b] ? ids[b][t] : 0;
            pos[b * T + t] = (int32_t)(used + t);
            row[b * T + t] = (int32_t)(q * s->rows + used + t);
        }
        lengths[b] = (int32_t)(used + T);
        fresh[b] = (int32_t)n[b];
        lasts[b] = (int32_t)(b * T + (n[b] > 0 ? n[b] - 1 : 0));
    }
    size_t bytes = (size_t)size * sizeof *id, few = (size_t)B * sizeof *lengths, input = 3;
    RY_TRY(ry_program_feed(p, 0, id, bytes));
    RY_TRY(ry_program_feed(p, 1, pos, bytes));
    RY_TRY(ry_program_feed(p, 2, lengths, few));
    if (s->states) RY_TRY(ry_program_feed(p, input++, fresh, few));
    if (s->opt.batch > 1) RY_TRY(ry_program_feed(p, input++, row, bytes));
    if (last_only) RY_TRY(ry_program_feed(p, input, lasts, few));
    for (int64_t b = 0; b < B; b++) s->seq[sequence < 0 ? b : sequence].ready &= n[b] == 0;
    return ry_run(p);
}

static ry_status remember(gen_sequence *q, const int32_t *ids, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        int32_t *slot = RY_PUSH(&q->ids);
        if (!slot) {
            q->ids.n -= (size_t)i;
            return RY_ENOMEM;
        }
        *slot = ids[i];
    }
    return RY_OK;
}

static ry_status run_some(ry_session *s, const int32_t *ids, int64_t n, float *all) {
    gen_sequence *q = &s->seq[s->at];
    int sequence = (int)s->at;
    int64_t T = run_length(s, n), V = s->m->cfg.vocab_size;
    size_t row = (size_t)V * sizeof(float);
    bool every = all && T > 1;
    ry_program *p;
    RY_TRY(gen_reserve(s, (int64_t)q->ids.n + T));
    if (every && T > n) RY_TRY(need_spare(s, (size_t)(T * V)));
    RY_TRY(gen_program_for(s, &p, T, sequence, every, false));
    RY_TRY(run(s, p, sequence, T, &ids, &n, T > 1 && !every));
    if (every) {
        float *to = T > n ? s->spare : all;
        RY_TRY(ry_fetch(p, 0, to, row * (size_t)T));
        if (to != all) memcpy(all, to, row * (size_t)n);
        memcpy(q->logits, all + V * (n - 1), row);
    } else {
        RY_TRY(ry_fetch(p, 0, q->logits, row));
        if (all) memcpy(all, q->logits, row);
    }
    RY_TRY(remember(q, ids, n));
    q->ready = true;
    return RY_OK;
}

static ry_status run_all(ry_session *s, const int32_t *ids, int64_t n, float *all) {
    for (int64_t i = 0; i < n;) {
        int64_t k = n - i, most = all ? GEN_LONGEST_ALL : GEN_LONGEST;
        if (k > most) k = most;
        if (s->cancel && *s->cancel) RY_FAIL(RY_ESTOPPED, "stopped while the prompt was read");
        RY_TRY(run_some(s, ids + i, k, all ? all + s->m->cfg.vocab_size * i : NULL));
        i += k;
    }
    return RY_OK;
}

/* Zeros for what the sequence's layers keep beside keys and values. */
static ry_status clear_states(ry_session *s) {
    for (int64_t i = 0; s->cache && i < s->m->cfg.num_hidden_layers; i++) {
        ry_var *v = s->cache[2 * i];
        if (model_cache_of(s->m, i, 1, 1, RY_F32).by_position) continue;
        size_t row = v->bytes / (size_t)s->opt.batch;
        void *zero = ry_mem_zalloc(row);
        if (!zero) return RY_ENOMEM;
        ry_device_lock(s->m->dev);
        ry_status st = s->m->dev->api->write(s->m->dev, &v->buf, row * (size_t)s->at, zero, row);
        ry_device_unlock(s->m->dev);
        ry_mem_free(zero);
        RY_TRY(st);
    }
    return RY_OK;
}

/* The sequence's first n tokens once more, from the first. */
static ry_status again(ry_session *s, int64_t n) {
    gen_sequence *q = &s->seq[s->at];
    size_t bytes = (size_t)n * sizeof *q->ids.at;
    int32_t *ids = ry_mem_alloc(bytes);
    if (!ids) return RY_ENOMEM;
    memcpy(ids, q->ids.at, bytes);
    q->ids.n = 0;
    q->ready = false;
    ry_status st = s->states ? clear_states(s) : RY_OK;
    if (st == RY_OK) st = run_all(s, ids, n, NULL);
    ry_mem_free(ids);
    return st;
}

/* Frequencies for the longest sequence, of which one will have `length` tokens. */
static ry_status set_ropes(ry_session *s, int64_t length) {
    int64_t at = s->at;
    bool changed;
    ry_status st = RY_OK;
    for (int64_t b = 0; b < s->opt.batch; b++)
        if ((int64_t)s->seq[b].ids.n > length) length = (int64_t)s->seq[b].ids.n;
    RY_TRY(model_ropes_set(&s->ropes, s->m, length, &changed));
    for (s->at = 0; changed && st == RY_OK && s->at < s->opt.batch; s->at++)
        if (s->seq[s->at].ids.n) st = again(s, (int64_t)s->seq[s->at].ids.n);
    s->at = at;
    return st;
}

ry_status gen_append(ry_session *s, const int32_t *ids, int64_t n, float *all) {
    RY_TRY(set_ropes(s, gen_used(s) + n));
    return run_all(s, ids, n, all);
}

ry_status gen_append_each(ry_session *s, const int32_t *ids) {
    int64_t B = s->opt.batch, V = s->m->cfg.vocab_size, most = 0;
    const int32_t **each = s->each;
    int64_t *n = s->counts;
    ry_program *p;
    for (int64_t b = 0; b < B; b++) {
        each[b] = &ids[b], n[b] = ids[b] >= 0;
        if ((int64_t)s->seq[b].ids.n >= most) most = (int64_t)s->seq[b].ids.n + 1;
    }
    RY_TRY(set_ropes(s, most));
    RY_TRY(gen_reserve(s, most));
    RY_TRY(need_spare(s, (size_t)(B * V)));
    RY_TRY(gen_program_for(s, &p, 1, -1, false, false));
    RY_TRY(run(s, p, -1, 1, each, n, false));
    RY_TRY(ry_fetch(p, 0, s->spare, (size_t)(B * V) * sizeof(float)));
    for (int64_t b = 0; b < B; b++) {
        if (!n[b]) continue;
        memcpy(s->seq[b].logits, s->spare + b * V, (size_t)V * sizeof(float));
        RY_TRY(remember(&s->seq[b], &ids[b], 1));
        s->seq[b].ready = true;
    }
    return RY_OK;
}

ry_status gen_check(const ry_session *s, const int32_t *ids, int64_t n) {
    int64_t V = s->m->cfg.vocab_size, used = gen_used(s);
    if (used + n > s->opt.context)
        RY_FAIL(RY_EARG, "the context of %lld positions is full: %lld are used, %lld more were given; use a larger --ctx-size", (long long)s->opt.context, (long long)used, (long long)n);
    for (int64_t i = 0; ids && i < n; i++)
        if (ids[i] < 0 || ids[i] >= V) RY_FAIL(RY_EARG, "token id %d at position %lld is outside the vocabulary of %lld", ids[i], (long long)i, (long long)V);
    return RY_OK;
}

/* ---- what callers do ---- */

ry_status ry_session_feed(ry_session *s, const int32_t *ids, size_t n, float *logits, bool all) {
    gen_sequence *q = &s->seq[s->at];
    if (n > INT32_MAX) RY_FAIL(RY_EARG, "%zu tokens are too many", n);
    int64_t pending = q->pending >= 0, V = s->m->cfg.vocab_size;
    RY_TRY(gen_check(s, NULL, pending + (int64_t)n));
    RY_TRY(gen_check(s, ids, (int64_t)n));
    gen_forget_guess(s);
    if (pending) {
        RY_TRY(gen_append(s, &q->pending, 1, NULL)); /* a failure loses no token */
        q->pending = -1;
    }
    if (!n && !q->ready && q->ids.n && s->states) RY_TRY(again(s, (int64_t)q->ids.n));
    if (!n && !q->ready && q->ids.n) { /* the end was dropped: its last token once more, for its logits */
        int32_t last = q->ids.at[q->ids.n - 1];
        q->ids.n--;
        RY_TRY(gen_append(s, &last, 1, NULL));
    }
    if (n) {
        RY_TRY(gen_append(s, ids, (int64_t)n, all ? logits : NULL));
        q->sampled = 0;
    }
    if (logits && !all) memcpy(logits, q->logits, (size_t)V * sizeof(float));
    return RY_OK;
}

ry_status ry_session_select(ry_session *s, int64_t sequence) {
    if (sequence < 0 || sequence >= s->opt.batch) RY_FAIL(RY_EARG, "sequence %lld: the session has %lld", (long long)sequence, (long long)s->opt.batch);
    s->at = sequence;
    return RY_OK;
}

const int32_t *ry_session_ids(const ry_session *s, size_t *n) {
    *n = s->seq[s->at].ids.n;
    return s->seq[s->at].ids.at;
}

ry_status ry_session_rewind(ry_session *s, int64_t n) {
    gen_sequence *q = &s->seq[s->at];
    if (n < 0 || n > (int64_t)q->ids.n) RY_FAIL(RY_EARG, "rewind to %lld: the sequence has %zu positions", (long long)n, q->ids.n);
    gen_forget_guess(s);
    bool back = n < (int64_t)q->ids.n;
    if (back) q->ready = false;
    q->pending = -1;
    q->sampled = 0;
    if (back && s->states && n) return again(s, n); /* a state cannot be cut back */
    q->ids.n = (size_t)n;
    return back && s->states ? clear_states(s) : RY_OK;
}

void ry_session_reset(ry_session *s) {
    (void)ry_session_rewind(s, 0);
}

ry_status ry_session_prompt(ry_session *s, const int32_t *ids, size_t n, size_t *kept) {
    gen_sequence *q = &s->seq[s->at];
    size_t k = 0, all = q->ids.n;
    if (!n) RY_FAIL(RY_EARG, "the prompt is empty: a model needs at least one token to go on from");
    while (k < all && k < n && q->ids.at[k] == ids[k]) k++;
    if (k == n && (k < all || !q->ready)) k--; /* its logits are wanted */
    RY_TRY(ry_session_rewind(s, (int64_t)k));
    if (kept) *kept = k;
    return k < n ? ry_session_feed(s, ids + k, n - k, NULL, false) : RY_OK;
}

/* ---- measuring ---- */

static const ry_program *of_length(const ry_session *s, bool token) {
    for (int i = 0; i < GEN_PROGRAMS; i++)
        if (s->programs[i].program && (s->programs[i].T == 1) == token) return s->programs[i].program;
    return NULL;
}

double gen_device_ms(const ry_session *s) {
    const ry_program *p = of_length(s, true);
    return p ? p->ms[0] + p->ms[1] + p->ms[2] : 0;
}

static const ry_program *shown(const ry_session *s) { return of_length(s, true) ? of_length(s, true) : of_length(s, false); }

size_t ry_session_profile(const ry_session *s, ry_profile_row *rows, size_t cap) { return shown(s) ? ry_program_profile(shown(s), rows, cap) : 0; }

ry_status ry_session_trace(const ry_session *s, const char *path) {
    return shown(s) ? ry_program_trace(shown(s), path) : ry_fail(RY_EARG, "no profile: nothing has run yet");
}
