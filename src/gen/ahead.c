/* ahead.c - greedy generation whose host is one token late: see gen_ahead in session.h.
 *
 * A run that turns out not to be wanted (the caller feeds something else, or stops) has only written rows of the cache behind those that
 * count, which the next tokens write again. Never: sampling that looks at logits on the host. */
#include "gen/session.h"
#include <rusty/ops.h>

static void drop(ry_session *s) {
    gen_ahead *a = &s->ahead;
    for (int i = 0; i < a->n; i++) (void)program_take(s->m->dev, a->ticket[i], NULL);
    a->n = 0;
}

void gen_ahead_close(ry_session *s) {
    drop(s);
    ry_var_close(s->ahead.next);
    s->ahead.next = NULL;
}

bool gen_ahead_may(const ry_session *s, const ry_sampling *o) {
    const gen_sequence *q = &s->seq[s->at];
    int64_t used = (int64_t)q->ids.n;
    bool greedy = o->temp == 0 && (o->repetition_penalty == 0 || o->repetition_penalty == 1) && o->presence_penalty == 0 && o->frequency_penalty == 0 &&
                  !o->no_repeat_ngram && !o->n_bias && q->sampled >= o->min_tokens;
    if (!greedy || q->pending < 0 || used >= s->opt.context || s->opt.batch > 1 || s->states || s->guess || !s->m->dev->api->ask) return false;
    for (int i = 0; i < MODEL_ROPES; i++)
        if (rope_varies(&s->m->cfg, i, used + 2)) return false; /* keys turn with the length */
    return true;
}

/* One more run behind those in flight, for the token at `position`. */
static ry_status launch(ry_session *s, int64_t position) {
    gen_ahead *a = &s->ahead;
    ry_program *p;
    int32_t pos = (int32_t)position, length = pos + 1;
    RY_TRY(gen_reserve(s, position + 1));
    RY_TRY(gen_program_for(s, &p, 1, (int)s->at, false, true));
    RY_TRY(ry_program_feed(p, 0, &pos, sizeof pos));
    RY_TRY(ry_program_feed(p, 1, &length, sizeof length));
    RY_TRY(program_ask(p, 0, &a->ticket[a->n]));
    ry_status st = ry_run(p);
    if (st == RY_OK) a->n++;
    else (void)program_take(s->m->dev, a->ticket[a->n], NULL);
    return st;
}

ry_status gen_ahead_next(ry_session *s, int32_t *id) {
    gen_ahead *a = &s->ahead;
    gen_sequence *q = &s->seq[s->at];
    int64_t at = (int64_t)q->ids.n;
    int32_t *slot, found;
    if (a->n && (a->sequence != s->at || a->position != at || a->token != q->pending)) drop(s);
    if (!a->n) {
        if (!a->next) RY_TRY(ry_var_open(&a->next, s->m->dev, &RY_SHAPE(RY_I32, 1, 1), "next"));
        RY_TRY(ry_var_write(a->next, &q->pending, sizeof q->pending));
        RY_TRY(launch(s, at));
    }
    if (at + 1 < s->opt.context) RY_TRY(launch(s, at + 1));
    ry_status st = program_take(s->m->dev, a->ticket[0], &found);
    a->ticket[0] = a->ticket[1];
    a->n--;
    if (st == RY_OK && found < 0) st = ry_fail(RY_ENAN, "the logits hold NaN: the model's numbers have overflowed");
    if (st == RY_OK && !(slot = RY_PUSH(&q->ids))) st = RY_ENOMEM;
    if (st != RY_OK) {
        drop(s);
        return st;
    }
    *slot = q->pending;
    q->ready = false;
    q->pending = *id = found;
    q->sampled++;
    a->sequence = s->at, a->position = at + 1, a->token = found;
    return RY_OK;
}
