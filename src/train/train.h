/* train.h - the parts of a training run, for the files of this folder. */
#ifndef RY_TRAIN_TRAIN_H
#define RY_TRAIN_TRAIN_H
#include "base/mem.h"
#include "base/os.h"
#include "core/program.h"
#include "model/model.h"

/* ---- one optimiser step as programs (step.c) ---- */
typedef struct train_step {
    ry_model *m;
    nn_optim optim;
    int64_t batch, len, accum;
    size_t n;                         /* trained variables */
    ry_var **w, **mom, **sq, **acc;   /* moments (sq NULL for sgd); acc only with accumulation */
    ry_program *whole;                /* accum == 1: loss, gradients, update in one */
    ry_program *first, *more, *update;/* accum > 1: gradients assigned, added, applied */
    double ms[3];                     /* of the last step: forward, backward, update */
    bool debug_nan, profile;
} train_step;
ry_status train_step_open(train_step **out, ry_model *m, const ry_train_options *o, int64_t batch, int64_t len);
void train_step_close(train_step *s);
/* Micro-batch k of the step: ids, targets [batch,len]; scale multiplies its summed loss. The last one updates the weights and gives
 * the norm of the whole gradient. step counts from 1. */
ry_status train_step_run(train_step *s, int64_t k, const int32_t *ids, const int32_t *targets, double scale, double lr, int64_t step,
                         double *loss, double *norm);
void train_step_plan(const train_step *s, ry_plan_info *out);
/* The gradients of one micro-batch are added to sum[i] (host, f32): for --grads-out. */
ry_status train_grads(ry_model *m, int64_t batch, int64_t len, const int32_t *ids, const int32_t *targets, double scale, float **sum, double *loss);

/* ---- evaluation (evaluate.c): the program kept between evaluations ---- */
typedef struct train_eval { ry_model *m; ry_program *p; int64_t batch, len; int32_t *ids, *targets; } train_eval;
ry_status train_eval_open(train_eval **out, ry_model *m, int64_t batch, int64_t len);
ry_status train_eval_run(train_eval *e, const ry_data *d, ry_eval_result *out, ry_eval_sample_fn fn, void *ud);
void train_eval_close(train_eval *e);

/* ---- schedules (schedule.c) ---- */
typedef enum { SCHEDULE_COSINE, SCHEDULE_LINEAR, SCHEDULE_CONSTANT } train_schedule;
ry_status train_schedule_find(train_schedule *out, const char *name);
/* Factor of the learning rate of step (from 0) of total, after transformers' get_scheduler. */
double train_schedule_at(train_schedule s, int64_t step, int64_t warmup, int64_t total);

/* ---- the run's folder (folder.c, checkpoint.c) ---- */
typedef struct train_state { /* what a checkpoint remembers beside tensors: state.json */
    int64_t step, log_bytes;
    bool finished;
} train_state;
typedef struct train_folder {
    const char *path;
    os_lock *lock;
    os_out *log;
    int64_t log_bytes;
} train_folder;
/* Locks OUT, refuses or clears or finds what is there; *from: the checkpoint to go on from (ry_mem_free), or NULL. */
ry_status train_folder_open(train_folder *f, const ry_train_options *o, char **from);
ry_status train_folder_log(train_folder *f, const train_state *from); /* opens log.jsonl, cut to what the checkpoint saw */
ry_status train_log_line(train_folder *f, const ry_train_step *s);
void train_folder_close(train_folder *f);
int64_t train_checkpoint_step(const char *name); /* of a folder "step-N"; -1: another name */

/* options' fingerprint: what must be equal for a resume to go on as if nothing had happened. */
ry_status train_checkpoint_save(const train_folder *f, const train_step *s, const ry_train_options *o, const train_state *st, int64_t rows);
/* Before any program is compiled: the device takes the kernel variants of the checkpoint's run. */
ry_status train_checkpoint_kernels(const char *path, ry_device *d);
ry_status train_checkpoint_load(const char *path, const train_step *s, const ry_train_options *o, train_state *st, int64_t rows);
#endif
