#include "judge/onepass_int.h"

#include "base/when.h"
#include "model/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- memory */

/* A segment with room for n tokens, empty, hanging on `parent`; an older one is used again when it is large
 * enough. */
static int segment(struct kv **kv, const struct model *m, struct kv *parent, size_t n, bool transient,
                   struct err *e)
{
    if (*kv && (*kv)->capacity >= n) {
        kv_reuse(*kv, parent);
        return 0;
    }
    kv_free(*kv);
    return kv_new(kv, m, parent, n, transient, e);
}

static int slot_ready(struct onepass *j, size_t slot, size_t n, struct err *e)
{
    const struct engine *g = j->engine;
    struct slot *s = &j->slot[slot];
    int rc = segment(&s->post, g->model, g->prefix, n, false, e);
    for (int a = 0; !rc && a < AXES; a++)
        rc = segment(&s->branch[a], g->model, s->post, g->prompt.branch[a].n, true, e);
    return rc;
}

/* --- the pass */

static size_t branch_tokens(const struct prompt *p)
{
    size_t n = 0;
    for (int a = 0; a < AXES; a++)
        n += p->branch[a].n;
    return n;
}

size_t onepass_cost(const struct onepass *j, const struct request *r)
{
    return r->ids.n + branch_tokens(&j->engine->prompt);
}

/* A post that is longer than a pass goes ahead in pieces; what is left of it takes its branches along. */
static int run_ahead(struct onepass *j, const struct request *r, struct kv *kv, size_t *done, struct err *e)
{
    size_t most = ENGINE_PASS_TOKENS, room = most - branch_tokens(&j->engine->prompt);
    struct outputs none = {0};
    *done = 0;
    while (r->ids.n - *done > room) {
        size_t n = r->ids.n - *done - 1 < most ? r->ids.n - *done - 1 : most;
        struct run run = {.kv = kv, .ids = r->ids.id + *done, .n = n};
        int rc = session_forward(j->engine->session, &run, 1, &none, e);
        if (rc)
            return rc;
        *done += n;
    }
    return 0;
}

/* Appends the runs of one post and its branches, and notes where the branches end. */
static size_t add_runs(struct onepass *j, const struct request *r, size_t slot, size_t done, struct run *run,
                       size_t *at, size_t *wanted)
{
    const struct prompt *p = &j->engine->prompt;
    struct slot *s = &j->slot[slot];
    run[0] = (struct run){.kv = s->post, .ids = r->ids.id + done, .n = r->ids.n - done};
    *at += run[0].n;
    for (int a = 0; a < AXES; a++) {
        run[1 + a] = (struct run){.kv = s->branch[a], .ids = p->branch[a].id, .n = p->branch[a].n};
        *at += p->branch[a].n;
        wanted[a] = *at - 1;
    }
    return 1 + AXES;
}

/* Soft-capped logits of an axis's own three rows. */
static void take_logits(struct onepass *j, struct request *r, size_t n)
{
    session_logits(j->engine->session, &j->verbalisers, j->hidden, n * AXES, j->logits, 16);
    for (size_t i = 0; i < n; i++)
        for (int a = 0; a < AXES; a++)
            memcpy(r[i].logits[a], j->logits + (i * AXES + (size_t)a) * 16 + (size_t)a * 3,
                   sizeof r[i].logits[a]);
}

int onepass_run_at(struct onepass *j, struct request *r, size_t n, size_t slot, struct err *e)
{
    struct run run[ONEPASS_SLOTS * (1 + AXES)];
    size_t wanted[ONEPASS_SLOTS * AXES], runs = 0, at = 0;
    for (size_t i = 0; i < n; i++) {
        size_t done;
        int rc = slot_ready(j, slot + i, r[i].ids.n, e);
        if (!rc)
            rc = run_ahead(j, &r[i], j->slot[slot + i].post, &done, e);
        if (rc)
            return rc;
        runs += add_runs(j, &r[i], slot + i, done, run + runs, &at, wanted + i * AXES);
    }
    struct outputs out = {.wanted = wanted, .wanted_n = n * AXES, .hidden = j->hidden};
    int rc = session_forward(j->engine->session, run, runs, &out, e);
    if (!rc)
        take_logits(j, r, n);
    return rc;
}

/* --- many posts */

static int prepare(const struct onepass *j, struct request *r, const struct judge_input *in, struct err *e)
{
    bool cut;
    *r = (struct request){.in = in};
    return prompt_post(&j->engine->prompt, in->text, in->mission, &r->ids, &cut, e);
}

/* Tokens of as many inputs as fit one pass, at least one; returns their number. 0: the first cannot be read,
 * and *rc says why. */
static size_t prepare_pass(const struct onepass *j, struct request *r, const struct judge_input *in, size_t n,
                           int *rc, struct err *e)
{
    size_t tokens = 0, i = 0;
    for (; i < ONEPASS_POSTS && i < n; i++) {
        *rc = prepare(j, &r[i], &in[i], e);
        tokens += onepass_cost(j, &r[i]);
        if (*rc || (i > 0 && tokens > ENGINE_PASS_TOKENS)) {
            tokens_deinit(&r[i].ids);
            break;
        }
    }
    return i;
}

/* Damaged weights give no numbers, and what is no number must not become a decision. */
static int check_logits(const struct onepass *j, const struct request *r, struct err *e)
{
    for (int a = 0; a < AXES; a++)
        for (int d = 0; d < 3; d++)
            if (!isfinite(r->logits[a][d]))
                return err_set(e, ERR_FORMAT,
                               "%s: its answer on %s is no number: the weights or the adapter are damaged",
                               j->engine->name, axis_info[a].key);
    return 0;
}

static int finish(struct onepass *j, const struct request *r, size_t slot, struct judge_verdict *out,
                  double ms, struct err *e)
{
    int rc = check_logits(j, r, e);
    for (int a = 0; !rc && a < AXES; a++)
        calibration_decide(&j->engine->calibration, a, r->logits[a], &out->axis[a]);
    out->judge_ms = ms;
    if (rc || !j->quotes)
        return rc;
    uint64_t start = when_monotonic_ns();
    rc = onepass_evidence(j, r, slot, out, e);
    out->evidence_ms = (double)(when_monotonic_ns() - start) / 1e6;
    return rc;
}

/* One pass over r[0..n): verdicts, and evidence while the posts' cells are still there. */
static void judge_group(struct onepass *j, struct request *r, size_t n, struct judge_verdict *out,
                        struct judge_result *result)
{
    struct err error;
    uint64_t start = when_monotonic_ns();
    int rc = onepass_run_at(j, r, n, 0, &error);
    double ms = (double)(when_monotonic_ns() - start) / 1e6 / (double)n;
    for (size_t i = 0; i < n; i++) {
        result[i].rc = rc;
        if (rc)
            result[i].error = error;
        else
            result[i].rc = finish(j, &r[i], i, &out[i], ms, &result[i].error);
    }
}

static void judge_many(const struct judge *base, const struct judge_input *in, size_t n,
                       struct judge_verdict *out, struct judge_result *result)
{
    struct onepass *j = (struct onepass *)base;
    struct request r[ONEPASS_POSTS];
    pthread_mutex_lock(&j->lock);
    for (size_t i = 0; i < n;) {
        size_t done = prepare_pass(j, r, in + i, n - i, &result[i].rc, &result[i].error);
        if (done)
            judge_group(j, r, done, out + i, result + i);
        for (size_t k = 0; k < done; k++)
            tokens_deinit(&r[k].ids);
        i += done ? done : 1; /* the first one failed: its result stands */
    }
    pthread_mutex_unlock(&j->lock);
}

static int judge_one(const struct judge *base, const struct judge_input *in, struct judge_verdict *out,
                     struct err *e)
{
    struct judge_result result;
    judge_many(base, in, 1, out, &result);
    if (result.rc && e)
        *e = result.error;
    return result.rc;
}

/* --- opening */

static void close_judge(struct judge *base)
{
    struct onepass *j = (struct onepass *)base;
    for (size_t i = 0; i < ONEPASS_SLOTS; i++) {
        kv_free(j->slot[i].post);
        for (int a = 0; a < AXES; a++)
            kv_free(j->slot[i].branch[a]);
    }
    pthread_mutex_destroy(&j->lock);
    free(j->verbaliser_space);
    free(j->hidden);
    free(j->logits);
    if (j->own_engine)
        engine_close(j->engine);
    free(j);
}

static const struct judge_ops ops = {.judge = judge_one, .judge_many = judge_many, .close = close_judge};

static int set_up(struct onepass *j, struct err *e)
{
    const struct engine *g = j->engine;
    int32_t ids[AXES * 3];
    for (int a = 0; a < AXES; a++)
        memcpy(ids + a * 3, g->prompt.verbaliser[a], sizeof g->prompt.verbaliser[a]);
    j->hidden = malloc((size_t)ONEPASS_SLOTS * AXES * g->model->config.width * sizeof *j->hidden);
    j->logits = malloc((size_t)ONEPASS_SLOTS * AXES * 16 * sizeof *j->logits);
    if (!j->hidden || !j->logits)
        return err_set(e, ERR_MEMORY, "out of memory");
    return model_head_rows(g->model, ids, AXES * 3, &j->verbalisers, &j->verbaliser_space, e);
}

int onepass_over(struct judge **out, struct engine *g, bool quotes, struct err *e)
{
    struct onepass *j = calloc(1, sizeof *j);
    *out = NULL;
    if (!j)
        return err_set(e, ERR_MEMORY, "out of memory");
    pthread_mutex_init(&j->lock, NULL);
    j->base.ops = &ops;
    j->base.identity.mode = "one-pass";
    j->base.identity.model = g->name;
    memcpy(j->base.identity.model_sha256, g->model_sha256, DIGEST_HEX);
    memcpy(j->base.identity.adapter_sha256, g->adapter_sha256, DIGEST_HEX);
    j->engine = g;
    j->quotes = quotes;
    int rc = set_up(j, e);
    if (rc)
        close_judge(&j->base);
    else
        *out = &j->base;
    return rc;
}

int onepass_open(struct judge **out, const struct judge_options *o, struct err *e)
{
    struct engine *g;
    int rc = engine_open(&g, o, e);
    if (rc)
        return rc;
    rc = onepass_over(out, g, o->quotes, e);
    if (rc)
        engine_close(g);
    else
        ((struct onepass *)*out)->own_engine = true;
    return rc;
}

int onepass_logits(struct engine *g, const struct judge_input *in, size_t n, float (*logits)[AXES][3],
                   struct err *e)
{
    struct judge *base;
    int rc = onepass_over(&base, g, false, e);
    if (rc)
        return rc;
    struct onepass *j = (struct onepass *)base;
    struct request r[ONEPASS_POSTS];
    for (size_t i = 0; !rc && i < n;) {
        size_t done = prepare_pass(j, r, in + i, n - i, &rc, e);
        if (done)
            rc = onepass_run_at(j, r, done, 0, e);
        for (size_t k = 0; !rc && k < done; k++) {
            rc = check_logits(j, &r[k], e);
            memcpy(logits[i + k], r[k].logits, sizeof r[k].logits);
        }
        for (size_t k = 0; k < done; k++)
            tokens_deinit(&r[k].ids);
        i += done;
    }
    judge_close(base);
    return rc;
}
