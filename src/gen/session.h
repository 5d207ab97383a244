/* session.h - what a session is inside, for the files of this folder: session.c feeds, next.c speaks, keep.c saves. */
#ifndef RY_GEN_SESSION_H
#define RY_GEN_SESSION_H
#include "core/device.h"
#include "core/program.h"
#include "gen/gen.h"
#include "model/model.h"

typedef struct gen_sequence {
    RY_VEC(int32_t) ids; /* at the positions that are filled */
    int32_t pending;     /* sampled, not yet fed; -1: none */
    bool ready;          /* logits belong to the last position */
    float *logits;       /* [V] */
    int64_t sampled;     /* since ids were last fed */
} gen_sequence;

/* A program for T tokens of one sequence, or of all (-1): the last logits of each, or all. */
typedef struct gen_program {
    int64_t T;
    int sequence;
    bool every;
    bool ahead;          /* one token that the device chose itself: gen_ahead */
    ry_program *program;
    uint64_t used; /* when: the oldest is dropped */
} gen_program;

/* Greedy generation on devices that run by themselves: the likeliest token stays there and begins the next run, so that the host reads it
 * while that one goes on. Runs in flight, the oldest first. */
typedef struct gen_ahead {
    ry_var *next;        /* i32 [1,1]: the token that the next run begins with */
    int n;
    void *ticket[2];     /* of what each run chose */
    int64_t sequence, position; /* of the oldest's token, */
    int32_t token;       /* and which it is */
} gen_ahead;

enum { GEN_PROGRAMS = 12, GEN_LONGEST = 512, GEN_LONGEST_ALL = 64 }; /* tokens a run; of runs that give all logits */

struct ry_session {
    ry_model *m;
    ry_session_options opt;
    int64_t rows;               /* positions that the caches hold of each sequence: they grow */
    ry_var **cache;             /* by layer, two each: model_cache_of */
    bool states;                /* some layers keep more than keys and values: a sequence that is cut back is computed again */
    model_ropes ropes;          /* its own: they change with the length under dynamic scalings */
    gen_program programs[GEN_PROGRAMS];
    uint64_t runs;
    gen_sequence *seq;          /* [batch] */
    int64_t at;                 /* the one that calls speak of */
    int32_t *feed, *lengths;    /* a run's ids, positions, rows of the cache; lengths, last rows, tokens that count [3*batch] */
    const int32_t **each;       /* [batch]: a run's ids of each sequence, */
    int64_t *counts;            /* and how many */
    float *spare;               /* logits on their way, of batches and padded runs */
    size_t spare_floats;
    gen_sampler sampler;
    gen_ahead ahead;
    const volatile int *cancel; /* non-zero: no further run of a prompt; NULL: none */
    struct gen_guess *guess;    /* speculation with a draft model; NULL: none */
};

static inline int64_t gen_used(const ry_session *s) { return (int64_t)s->seq[s->at].ids.n; }
/* Devices with kernels: a new length of run costs more than padding. */
static inline bool gen_padded(const ry_session *s) { return s->m->dev->api->work != NULL; }
/* Appends n ids to the present sequence, whose logits then are those of the last one; all (may be NULL): those of each, [n,V]. */
ry_status gen_append(ry_session *s, const int32_t *ids, int64_t n, float *all);
ry_status gen_check(const ry_session *s, const int32_t *ids, int64_t n); /* ids (NULL: not looked at), and room for them */
ry_status gen_reserve(ry_session *s, int64_t rows);
/* One token to each sequence whose id is not negative, in one run. */
ry_status gen_append_each(ry_session *s, const int32_t *ids);
void gen_forget_guess(ry_session *s); /* tokens that were verified and not yet given out */
void gen_draft_close(ry_session *s);
/* As ry_session_save and _load, with a text among the metadata; *text is the caller's (ry_mem_free), NULL if it is not there. */
ry_status gen_save(ry_session *s, const char *path, const char *key, const char *text);
ry_status gen_load(ry_session *s, const char *path, const char *key, char **text);
bool gen_ahead_may(const ry_session *s, const ry_sampling *o); /* is the next token to be found so? */
ry_status gen_ahead_next(ry_session *s, int32_t *id);
void gen_ahead_close(ry_session *s);
ry_status gen_program_for(ry_session *s, ry_program **out, int64_t T, int sequence, bool every, bool ahead);
#endif
