#include "train/trainer.h"

#include "base/stop.h"
#include "base/when.h"
#include "train/trainer_int.h"
#include "train/world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { RECORDS = 500 }; /* of a whole run, besides those with dev figures */
#define LEARNED 1e-4    /* a loss below may have gradients of 0 */

/* ---- one step ---- */

size_t trainer_step_items(struct trainer *t, uint64_t step, const uint32_t **items)
{
    uint64_t epoch = step / t->per_epoch;
    size_t whole = t->o.batch * t->o.accumulate, first = (size_t)(step % t->per_epoch) * whole;
    if (t->order_epoch != epoch)
        corpus_order(t->corpus, t->o.seed, epoch, t->o.batch, t->order);
    t->order_epoch = epoch;
    *items = t->order + first;
    return t->corpus->n - first < whole ? t->corpus->n - first : whole;
}

int trainer_pass(struct trainer *t, const uint32_t *items, size_t n, double normaliser, double *loss,
                 struct err *e)
{
    batch_clear(&t->batch);
    int rc = corpus_batch(t->corpus, items, n, normaliser, &t->batch, e);
    if (!rc)
        rc = tape_forward(t->tape, t->batch.runs, t->batch.n_runs, t->batch.targets, t->batch.n_targets,
                          t->step, true, loss, e);
    if (!rc && isfinite(*loss))
        tape_backward(t->tape);
    return rc;
}

/* This process's share of the step's passes; *loss and *tokens over all processes. ERR_STATE where any failed.
 */
static int passes(struct trainer *t, double *loss, double *tokens, struct err *e)
{
    const uint32_t *items;
    size_t n = trainer_step_items(t, t->step, &items), batch = t->o.batch, share;
    double normaliser = 0, sum[2] = {0, 0};
    int rc = 0;
    for (size_t i = 0; i < n; i++)
        normaliser += t->corpus->weight[items[i]];
    share = rounded_up(n, (uint64_t)world_size()); /* more processes than passes: smaller passes */
    batch = share < batch ? share : batch;
    memset(t->p->grads, 0, t->p->count * sizeof *t->p->grads);
    for (size_t k = (size_t)world_rank() * batch; !rc && k < n; k += (size_t)world_size() * batch) {
        double mine = 0;
        rc = trainer_pass(t, items + k, n - k < batch ? n - k : batch, normaliser, &mine, e);
        sum[0] += mine;
        sum[1] += (double)t->batch.n_tokens;
    }
    if (world_any(rc != 0))
        return rc ? rc : err_set(e, ERR_STATE, "another of the processes failed");
    world_sum(t->p->grads, t->p->count);
    world_sum_double(sum, 2);
    *loss = sum[0];
    *tokens = sum[1];
    return 0;
}

static int diverged(const struct trainer *t, const char *what, double value, struct err *e)
{
    if (t->saved != NEVER)
        return err_set(
            e, ERR_STATE,
            "the %s of step %llu is %g: the run diverged; %s/checkpoint holds step %llu, want a lower "
            "--lr",
            what, (unsigned long long)t->step + 1, value, t->o.out, (unsigned long long)t->saved);
    return err_set(e, ERR_STATE, "the %s of step %llu is %g: the run diverged; want a lower --lr", what,
                   (unsigned long long)t->step + 1, value);
}

static double learning_rate(const struct trainer *t)
{
    uint64_t warmup = (uint64_t)t->o.warmup;
    return t->o.lr * schedule_factor(t->o.schedule, t->step, warmup, t->steps);
}

/* As torch.nn.utils.clip_grad_norm_. */
static double clipping(double norm, double most)
{
    double scale = most > 0 ? most / (norm + 1e-6) : 1;
    return scale < 1 ? scale : 1;
}

static int step(struct trainer *t, struct trainer_progress *p, double *tokens, struct err *e)
{
    int rc = passes(t, &p->loss, tokens, e);
    if (rc)
        return rc;
    if (!isfinite(p->loss))
        return diverged(t, "loss", p->loss, e);
    p->grad_norm = gradient_norm(t->p->grads, t->p->count);
    bool dead = p->grad_norm == 0 && p->loss > LEARNED; /* activations overflowed: nothing comes back */
    if (!isfinite(p->grad_norm) || dead)
        return diverged(t, "gradient", p->grad_norm, e);
    p->lr = learning_rate(t);
    adamw_step(t->adam, t->p->values, t->p->grads, p->lr, clipping(p->grad_norm, t->o.clip));
    parameters_sync(t->p, t->model);
    p->step = ++t->step;
    p->steps = t->steps;
    return 0;
}

/* ---- what is told and noted ---- */

static int note(struct trainer *t, struct train_record *r, struct err *e)
{
    r->epoch = (double)t->step / (double)t->per_epoch;
    if (t->sum_steps)
        r->loss = t->sum_loss / (double)t->sum_steps;
    if (t->sum_seconds > 0)
        r->tokens_per_s = t->sum_tokens / t->sum_seconds;
    t->sum_loss = t->sum_tokens = t->sum_seconds = 0;
    t->sum_steps = 0;
    return trainer_add_record(t, r, e);
}

static bool evaluation_due(const struct trainer *t)
{
    bool at = t->step % t->o.eval_every == 0 || t->step == t->steps;
    return t->o.dev && t->step > 0 && at && t->evaluated != t->step;
}

static int after_step(struct trainer *t, struct trainer_progress *p, double tokens, double seconds,
                      struct err *e)
{
    uint64_t every = t->steps / RECORDS ? t->steps / RECORDS : 1;
    t->sum_loss += p->loss;
    t->sum_steps++;
    t->sum_tokens += tokens;
    t->sum_seconds += seconds;
    t->seconds += seconds;
    t->run_tokens += tokens;
    t->run_seconds += seconds;
    p->tokens_per_s = t->run_tokens / t->run_seconds;
    double done = (double)(t->step - t->first);
    p->seconds_left = t->run_seconds / done * (double)(t->steps - t->step);
    t->lr = p->lr;
    t->grad_norm = p->grad_norm;
    if (t->events->step && world_rank() == 0)
        t->events->step(t->events->context, p);
    if (t->step % every || evaluation_due(t)) /* an evaluation makes the record itself */
        return 0;
    struct train_record r = train_record_none(t->step);
    r.lr = p->lr;
    r.grad_norm = p->grad_norm;
    return note(t, &r, e);
}

/* ---- evaluation ---- */

static bool better(const struct trainer *t, const struct train_record *r, double *value)
{
    bool loss = t->o.metric == TRAINER_DEV_LOSS;
    *value = loss ? r->dev_loss : r->dev[METRIC_DIRECTION];
    if (t->best_step == NEVER)
        return isfinite(*value);
    return loss ? *value < t->best_value : *value > t->best_value;
}

/* Rank 0 measures; all learn whether it is the best so far. */
static int evaluate(struct trainer *t, struct err *e)
{
    struct train_record r = train_record_none(t->step);
    int rc = world_rank() == 0 ? trainer_evaluate(t, &r, e) : 0;
    if (world_any(rc != 0))
        return rc ? rc : err_set(e, ERR_STATE, "another of the processes failed");
    world_broadcast(&r, sizeof r);
    r.lr = t->lr;
    r.grad_norm = t->grad_norm;
    double value;
    bool best = better(t, &r, &value);
    rc = note(t, &r, e);
    if (rc)
        return rc;
    t->bad = best ? 0 : t->bad + 1;
    if (best) {
        memcpy(t->best, t->p->values, t->p->count * sizeof *t->best);
        t->best_value = value;
        t->best_step = t->step;
        t->best_record = t->records - 1;
    }
    t->evaluated = t->step;
    if (t->events->dev && world_rank() == 0)
        t->events->dev(t->events->context, &t->record[t->records - 1], best, t->bad);
    return world_rank() == 0 ? trainer_write_report(t, NULL, e) : 0;
}

/* ---- the run ---- */

static int save(struct trainer *t, struct err *e)
{
    int rc = 0;
    if (t->saved == t->step)
        return 0;
    if (world_rank() == 0)
        rc = trainer_save(t, e);
    if (world_any(rc != 0))
        return rc ? rc : err_set(e, ERR_STATE, "another of the processes failed");
    t->saved = t->step;
    if (t->events->saved && world_rank() == 0)
        t->events->saved(t->events->context, t->step);
    return 0;
}

static bool stopping(const struct trainer *t)
{
    return world_any(stop_requested() || (t->o.stop_after && t->step >= t->o.stop_after));
}

static int leave(struct trainer *t, struct err *e)
{
    if (t->step == 0)
        return err_set(e, ERR_STOPPED, "interrupted before the first step");
    int rc = save(t, e);
    return rc ? rc
              : err_set(e, ERR_STOPPED, "interrupted after step %llu of %llu; go on with --resume",
                        (unsigned long long)t->step, (unsigned long long)t->steps);
}

static bool exhausted(const struct trainer *t)
{
    return t->o.patience && t->bad >= t->o.patience;
}

static bool save_due(const struct trainer *t)
{
    return t->step > 0 && t->step < t->steps && t->step % t->o.save_every == 0;
}

static int timed_step(struct trainer *t, struct err *e)
{
    struct trainer_progress p = {0};
    double tokens = 0;
    uint64_t start = when_monotonic_ns();
    int rc = step(t, &p, &tokens, e);
    double seconds = (double)(when_monotonic_ns() - start) / 1e9;
    return rc ? rc : after_step(t, &p, tokens, seconds, e);
}

static int loop(struct trainer *t, struct err *e)
{
    for (;;) {
        int rc = 0;
        if (stopping(t))
            return leave(t, e);
        if (evaluation_due(t))
            rc = evaluate(t, e);
        if (rc == ERR_STOPPED) /* the evaluation is done anew when the run is taken up */
            return leave(t, e);
        if (!rc && save_due(t))
            rc = save(t, e);
        if (rc || t->step >= t->steps || exhausted(t))
            return rc;
        rc = timed_step(t, e);
        if (rc)
            return rc;
    }
}

static int make_directory(const char *path, struct err *e)
{
    struct stat st;
    if (mkdir(path, 0777) == 0 || (!stat(path, &st) && S_ISDIR(st.st_mode)))
        return 0;
    return err_errno(e, "%s: making the directory", path);
}

static int begin(struct trainer *t, struct err *e)
{
    struct trainer_plan plan;
    int rc = make_directory(t->o.out, e);
    if (!rc)
        rc = trainer_restore(t, e);
    if (rc)
        return rc;
    t->first = t->step;
    rc = trainer_forecast(t, &plan, e);
    if (rc == ERR_STOPPED)
        return 0; /* the loop leaves */
    if (!rc && t->events->plan && world_rank() == 0)
        t->events->plan(t->events->context, &plan);
    return rc;
}

static int finish(struct trainer *t, struct trainer_result *result, struct err *e)
{
    char ended[160] = "";
    if (exhausted(t) && t->step < t->steps)
        snprintf(ended, sizeof ended, "Stopped early: %s did not get better for %llu evaluations",
                 trainer_metric_name[t->o.metric], (unsigned long long)t->bad);
    else
        snprintf(ended, sizeof ended, "Ran all of its %llu steps", (unsigned long long)t->steps);
    int rc = save(t, e); /* should the end be interrupted, or the disk be full */
    if (!rc && world_rank() == 0)
        rc = trainer_finish(t, ended, e);
    if (rc == ERR_STOPPED)
        return err_set(e, ERR_STOPPED, "interrupted while calibrating; go on with --resume");
    *result = (struct trainer_result){.steps = t->step,
                                      .best_step = t->best_step == NEVER ? t->step : t->best_step,
                                      .early = t->step < t->steps,
                                      .judged = !t->text,
                                      .best = train_record_none(t->step),
                                      .seconds = t->seconds};
    if (t->best_record != OUTPUT_NO_BEST)
        result->best = t->record[t->best_record];
    return rc;
}

int trainer_run(const struct trainer_options *o, const struct trainer_events *events,
                struct trainer_result *result, struct err *e)
{
    static const struct trainer_events silent;
    struct trainer t = {.o = *o, .events = events ? events : &silent};
    int rc = trainer_open(&t, e);
    if (!rc)
        rc = begin(&t, e);
    if (!rc)
        rc = loop(&t, e);
    if (!rc)
        rc = finish(&t, result, e);
    trainer_close(&t);
    return rc;
}
