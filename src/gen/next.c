/* next.c - speaking: the next token of a sequence, of all sequences, or of one with a draft model ahead of it.
 *
 * Owns the draft's session and the tokens that are verified but not yet given out: their keys and values are in the cache, behind the
 * positions that the session counts. */
#include "gen/session.h"
#include <string.h>

enum { MOST_AHEAD = 64, STREAM_ACCEPT = 0x41434350u, STREAM_AGAIN = 0x4147414Eu };

typedef struct gen_guess {
    ry_session *draft;
    int64_t ahead;
    int32_t ids[MOST_AHEAD + 1]; /* proposed; after verification those that stay, then the one that is pending */
    int64_t n, given;            /* verified, and how many of them were given out */
    struct { gen_candidate *c; int64_t n, cap; } q[MOST_AHEAD]; /* what each was drawn from */
    float *logits;               /* [ahead + 1, V]: of the run that verifies */
    ry_draft_info info;
} gen_guess;

void gen_forget_guess(ry_session *s) {
    if (s->guess) s->guess->n = s->guess->given = 0;
}

void gen_draft_close(ry_session *s) {
    gen_guess *g = s->guess;
    if (!g) return;
    ry_session_close(g->draft);
    for (int i = 0; i < MOST_AHEAD; i++) ry_mem_free(g->q[i].c);
    ry_mem_free(g->logits);
    ry_mem_free(g);
    s->guess = NULL;
}

ry_status ry_session_draft(ry_session *s, ry_model *draft, int64_t ahead) {
    gen_draft_close(s);
    if (!draft) return RY_OK;
    if (ahead < 1 || ahead > MOST_AHEAD) RY_FAIL(RY_EARG, "a draft of %lld tokens: it must be from 1 to %d", (long long)ahead, MOST_AHEAD);
    if (s->opt.batch > 1) RY_FAIL(RY_EUNSUPPORTED, "a draft model helps a session of one sequence, this one has %lld", (long long)s->opt.batch);
    if (s->states) RY_FAIL(RY_EUNSUPPORTED, "a draft model needs a model whose sequences can be cut back; this one's layers keep more than keys and values");
    int64_t V = s->m->cfg.vocab_size, D = draft->cfg.vocab_size;
    if (V - D > 1024 || D - V > 1024)
        RY_FAIL(RY_EARG, "the draft model's vocabulary has %lld tokens, the model's %lld: they must be of one family", (long long)D, (long long)V);
    gen_guess *g = s->guess = ry_mem_zalloc(sizeof *g);
    if (!g) return RY_ENOMEM;
    g->ahead = ahead;
    g->logits = ry_mem_alloc(ry_mem_size((size_t)(ahead + 1), (size_t)V * sizeof(float), 0));
    ry_status st = g->logits ? ry_session_open(&g->draft, draft, &(ry_session_options){.context = s->opt.context}) : RY_ENOMEM;
    if (st != RY_OK) gen_draft_close(s);
    return st;
}

void ry_session_draft_info(const ry_session *s, ry_draft_info *out) { *out = s->guess ? s->guess->info : (ry_draft_info){0}; }

/* ---- one token ---- */

static gen_scores scores_of(const ry_session *s, const gen_sequence *q, const float *logits, int64_t sampled, const ry_sampling *o) {
    return (gen_scores){.logits = logits, .n = s->m->cfg.vocab_size, .history = q->ids.at, .n_history = q->ids.n,
                        .banned = s->m->cfg.end, .n_banned = sampled < o->min_tokens ? s->m->cfg.n_end : 0};
}

static ry_status sample(ry_session *s, gen_sequence *q, const ry_sampling *o, int32_t *id) {
    gen_scores x = scores_of(s, q, q->logits, q->sampled, o);
    if (!q->ready) RY_FAIL(RY_EARG, "feed a prompt before sampling");
    RY_TRY(gen_sample(&s->sampler, &x, o, (uint64_t)q->ids.n, id));
    q->pending = *id;
    q->sampled++;
    return RY_OK;
}

ry_status ry_session_next_each(ry_session *s, const ry_sampling *const *how, int32_t *ids) {
    bool any = false;
    for (int64_t b = 0; b < s->opt.batch; b++) {
        const gen_sequence *q = &s->seq[b];
        ids[b] = how[b] ? q->pending : -1;
        any |= ids[b] >= 0;
        if (how[b] && q->pending < 0 && !q->ready) RY_FAIL(RY_EARG, "sequence %lld: feed a prompt before sampling", (long long)b);
        if (ids[b] >= 0 && (int64_t)q->ids.n >= s->opt.context)
            RY_FAIL(RY_EARG, "sequence %lld: the context of %lld positions is full; use a larger --ctx-size", (long long)b, (long long)s->opt.context);
    }
    if (any) RY_TRY(gen_append_each(s, ids));
    for (int64_t b = 0; b < s->opt.batch; b++)
        if (ids[b] >= 0) s->seq[b].pending = -1;
    for (int64_t b = 0; b < s->opt.batch; b++) {
        ids[b] = -1;
        if (how[b]) RY_TRY(sample(s, &s->seq[b], how[b], &ids[b]));
    }
    return RY_OK;
}

/* ---- with a draft ---- */

static ry_status keep_candidates(gen_guess *g, int64_t i, const gen_sampler *from) {
    if (g->q[i].cap < from->n) {
        gen_candidate *c = ry_mem_grow(g->q[i].c, ry_mem_size((size_t)from->n, sizeof *c, 0));
        if (!c) return RY_ENOMEM;
        g->q[i].c = c, g->q[i].cap = from->n;
    }
    if (from->n) memcpy(g->q[i].c, from->c, (size_t)from->n * sizeof *from->c);
    g->q[i].n = from->n;
    return RY_OK;
}

/* The draft takes over what it lacks of the ids of s and its pending token. *knows: all are ids of its vocabulary. */
static ry_status follow(ry_session *s, bool *knows) {
    const gen_sequence *q = &s->seq[0], *d = &s->guess->draft->seq[0];
    int64_t V = s->guess->draft->m->cfg.vocab_size;
    size_t same = 0;
    while (same < d->ids.n && same < q->ids.n && d->ids.at[same] == q->ids.at[same]) same++;
    *knows = q->pending < V;
    for (size_t i = same; i < q->ids.n; i++) *knows &= q->ids.at[i] < V;
    if (!*knows) return RY_OK;
    RY_TRY(ry_session_rewind(s->guess->draft, (int64_t)same));
    int32_t two[2] = {same + 1 == q->ids.n ? q->ids.at[same] : 0, q->pending};
    if (same + 1 == q->ids.n) return gen_append(s->guess->draft, two, 2, NULL);
    if (same < q->ids.n) RY_TRY(gen_append(s->guess->draft, q->ids.at + same, (int64_t)(q->ids.n - same), NULL));
    return gen_append(s->guess->draft, two + 1, 1, NULL);
}

/* Proposals to g->ids, at most `most`; *k: how many. */
static ry_status propose(ry_session *s, const ry_sampling *o, int64_t most, int64_t *k) {
    gen_guess *g = s->guess;
    gen_sequence *q = &s->seq[0], *d = &g->draft->seq[0];
    bool knows = false;
    *k = 0;
    if (most > 0) RY_TRY(follow(s, &knows));
    while (knows && *k < most) {
        if (*k) RY_TRY(gen_append(g->draft, &g->ids[*k - 1], 1, NULL));
        gen_scores x = {.logits = d->logits, .n = g->draft->m->cfg.vocab_size, .history = d->ids.at, .n_history = d->ids.n,
                        .banned = s->m->cfg.end, .n_banned = q->sampled + *k < o->min_tokens ? s->m->cfg.n_end : 0};
        RY_TRY(gen_sample(&g->draft->sampler, &x, o, (uint64_t)d->ids.n, &g->ids[*k]));
        if (g->ids[*k] >= s->m->cfg.vocab_size) break;
        if (o->temp > 0) RY_TRY(keep_candidates(g, *k, &g->draft->sampler));
        ++*k;
    }
    return RY_OK;
}

/* What follows the first `stays` proposals by the large model's logits: *id, and whether it is the next proposal. */
static ry_status verify(ry_session *s, const ry_sampling *o, int64_t stays, int64_t k, int32_t *id, bool *same) {
    gen_guess *g = s->guess;
    gen_sequence *q = &s->seq[0];
    uint64_t at = (uint64_t)q->ids.n;
    gen_chain chain;
    gen_scores x = scores_of(s, q, g->logits + stays * s->m->cfg.vocab_size, q->sampled + stays, o);
    if (stays == k || o->temp == 0) {
        RY_TRY(gen_sample(&s->sampler, &x, o, at, id));
        *same = stays < k && *id == g->ids[stays];
        return RY_OK;
    }
    gen_chain_of(&chain, o);
    RY_TRY(gen_candidates(&s->sampler, &x, o, &chain));
    *id = g->ids[stays];
    *same = s->sampler.n && gen_accept(s->sampler.c, s->sampler.n, g->q[stays].c, g->q[stays].n, gen_unit(o->seed, STREAM_ACCEPT, at),
                                       gen_unit(o->seed, STREAM_AGAIN, at), id);
    return s->sampler.n ? RY_OK : gen_sample(&s->sampler, &x, o, at, id);
}

/* One round: the pending token and the proposals in one run. Afterwards g->ids [n] is what comes next; all but the last of them have
 * their keys and values in the cache and stand behind the ids that count. */
static ry_status speculate(ry_session *s, const ry_sampling *o) {
    gen_guess *g = s->guess;
    gen_sequence *q = &s->seq[0];
    int64_t V = s->m->cfg.vocab_size, k, stays = 0;
    int32_t run[MOST_AHEAD + 1] = {q->pending}, id = -1;
    bool same = true;
    RY_TRY(gen_check(s, NULL, 1));
    int64_t room = s->opt.context - (int64_t)q->ids.n - 1, most = g->ahead < room ? g->ahead : room;
    for (int i = 0; i < MODEL_ROPES; i++)
        if (rope_varies(&s->m->cfg, i, (int64_t)q->ids.n + 1 + most)) most = 0; /* keys turn with the length of their run */
    RY_TRY(propose(s, o, most, &k));
    memcpy(run + 1, g->ids, (size_t)k * sizeof *run);
    RY_TRY(gen_append(s, run, k + 1, g->logits));
    size_t first = q->ids.n - (size_t)k; /* where the proposals stand */
    ry_status st = RY_OK;
    q->pending = -1;
    q->ready = false;
    for (; st == RY_OK; stays++) {
        q->ids.n = first + (size_t)stays;
        st = verify(s, o, stays, k, &id, &same);
        if (!same) break;
    }
    q->ids.n = first; /* what stays counts when it is given out */
    if (st != RY_OK) return st;
    memcpy(q->logits, g->logits + stays * V, (size_t)V * sizeof *q->logits);
    g->ids[stays] = id;
    g->n = stays + 1, g->given = 0;
    g->info.runs++, g->info.proposed += k, g->info.accepted += stays;
    return RY_OK;
}

static int32_t give(gen_guess *g, gen_sequence *q) {
    int32_t id = g->ids[g->given++];
    q->sampled++;
    if (g->given == g->n) q->pending = id;
    else q->ids.n++; /* it stands there already */
    q->ready = g->given == g->n; /* logits are those of the last that stays */
    return id;
}

ry_status ry_session_next(ry_session *s, const ry_sampling *o, int32_t *id) {
    static const ry_sampling greedy;
    gen_sequence *q = &s->seq[s->at];
    gen_guess *g = s->guess;
    if (!o) o = &greedy;
    if (gen_ahead_may(s, o)) {
        RY_TRY(gen_ahead_next(s, id));
        return RY_OK;
    }
    if (g && g->given == g->n && q->pending >= 0) RY_TRY(speculate(s, o));
    if (g && g->given < g->n) {
        *id = give(g, q);
        return RY_OK;
    }
    if (q->pending >= 0 || !q->ready) RY_TRY(ry_session_feed(s, NULL, 0, NULL, false));
    return sample(s, q, o, id);
}
