/* How long a run will take: a pass, an optimiser's step and some of the dev rows are timed before the first step.
 * Nothing that is timed leaves a trace in what the run computes. */
#include "base/when.h"
#include "train/engine_calibrate.h"
#include "train/trainer_int.h"
#include "train/world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE = 24 /* dev rows */, PIECE = 1 << 20 /* parameters */ };

static double since(uint64_t start)
{
    return (double)(when_monotonic_ns() - start) / 1e9;
}

/* ---- passes ---- */

/* Seconds per token of one process: a pass of the first step to come, the second time when the first was quick
 * (it also touched all memory for the first time). Gradients are cleared before they count. */
static int time_pass(struct trainer *t, double *per_token, struct err *e)
{
    const uint32_t *items;
    double loss, seconds = 0;
    size_t n = trainer_step_items(t, t->step, &items);
    int rc = 0;
    n = n < t->o.batch ? n : t->o.batch;
    for (int i = 0; !rc && i < 2 && seconds < 0.5; i++) {
        uint64_t start = when_monotonic_ns();
        rc = trainer_pass(t, items, n, 1, &loss, e);
        seconds = since(start);
    }
    *per_token = seconds / (double)t->batch.n_tokens;
    return rc;
}

/* A step of AdamW on part of the parameters, with a state of its own; then what else is done once a step. */
static int time_update(const struct trainer *t, double *seconds, struct err *e)
{
    const struct adamw_options ao = {0.9, 0.999, 1e-8, 0, t->o.optimizer_bits};
    size_t n = t->p->count < PIECE ? t->p->count : PIECE;
    struct adamw *adam = NULL;
    float *values = malloc(n * sizeof *values);
    int rc = values ? adamw_new(&adam, n, &ao, e) : err_set(e, ERR_MEMORY, "out of memory");
    if (!rc) {
        memcpy(values, t->p->values, n * sizeof *values);
        adamw_step(adam, values, t->p->grads, 0, 1); /* touches its memory */
        uint64_t start = when_monotonic_ns();
        adamw_step(adam, values, t->p->grads, 0, 1);
        *seconds = since(start) * (double)t->p->count / (double)n;
        start = when_monotonic_ns();
        bool finite = isfinite(gradient_norm(t->p->grads, t->p->count));
        parameters_sync(t->p, t->model);
        *seconds += finite ? since(start) : 0;
    }
    adamw_free(adam);
    free(values);
    return rc;
}

/* ---- evaluations ---- */

/* Rows from all over dev, asked as an evaluation asks all. */
static int time_posts(struct trainer *t, double *seconds, struct err *e)
{
    struct labelled_post row[SAMPLE];
    struct labelled_posts sample = {.row = row, .n = t->dev.n < SAMPLE ? t->dev.n : SAMPLE};
    struct engine_said said = {0};
    for (size_t i = 0; i < sample.n; i++)
        row[i] = t->dev.row[i * t->dev.n / sample.n];
    uint64_t start = when_monotonic_ns();
    int rc = engine_refresh(t->engine, e);
    double once = since(start);
    start = when_monotonic_ns();
    if (!rc)
        rc = engine_ask(t->engine, &sample, &said, NULL, NULL, e);
    *seconds = once + since(start) * (double)t->dev.n / (double)sample.n;
    engine_said_deinit(&said);
    return rc;
}

static int time_text(struct trainer *t, double *seconds, struct err *e)
{
    const struct corpus *c = t->dev_text;
    uint32_t item[SAMPLE];
    size_t n = c->n < t->o.batch ? c->n : t->o.batch;
    double loss;
    n = n < SAMPLE ? n : SAMPLE;
    for (uint32_t i = 0; i < n; i++)
        item[i] = i;
    batch_clear(&t->batch);
    uint64_t start = when_monotonic_ns();
    int rc = corpus_batch(c, item, n, 1, &t->batch, e);
    if (!rc)
        rc = tape_forward(t->tape, t->batch.runs, t->batch.n_runs, t->batch.targets, t->batch.n_targets, 0,
                          false, &loss, e);
    *seconds = since(start) * (double)c->n / (double)n;
    return rc;
}

/* Those to come, and the calibration of the judge that is written. */
static double evaluations(const struct trainer *t)
{
    return (double)(rounded_up(t->steps, t->o.eval_every) - t->step / t->o.eval_every) + !t->text;
}

int trainer_forecast_time(struct trainer *t, double *steps, double *evaluating, struct err *e)
{
    double per_token = 0, update = 0, dev = 0;
    *steps = *evaluating = 0;
    if (t->step >= t->steps)
        return 0;
    int rc = time_pass(t, &per_token, e);
    if (!rc)
        rc = time_update(t, &update, e);
    if (!rc && t->o.dev)
        rc = t->text ? time_text(t, &dev, e) : time_posts(t, &dev, e);
    double left = (double)(t->steps - t->step), epochs = left / (double)t->per_epoch;
    *steps = epochs * t->tokens * per_token / world_size() + left * update;
    *evaluating = evaluations(t) * dev;
    return rc;
}
