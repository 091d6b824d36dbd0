#include "pipeline/batch.h"

#include "base/log.h"
#include "base/stop.h"
#include "base/when.h"
#include "judge/reason.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Posts of a judge that takes its time between two looks at the interrupt flag. */
enum { STEP = 16 };

/* One post on its way. */
struct item {
    struct judge_verdict verdict;
    struct buf why[AXES];
    double ms;
    int rc;
    struct err error;
};

struct batch {
    struct store *store;
    const struct judge *judge;
    const struct batch_options *o;
    struct batch_result *result;
    int64_t model;
    struct item *item; /* [BATCH_GROUP], as all of these */
    struct judge_input *input;
    struct judge_verdict *verdict;
    struct judge_result *judged;
    size_t *which; /* item of each input */
};

/* The reasons' first clauses, one per moved axis. */
static int explain(const struct store_pending *p, struct item *x)
{
    int rc = 0;
    for (int a = 0; a < AXES && !rc; a++) {
        buf_reset(&x->why[a]);
        reason_clause(&x->why[a], p->content, a, &x->verdict.axis[a]);
        rc = buf_check(&x->why[a], "reason", &x->error);
    }
    return rc;
}

/* Judges what is not judged yet. Returns how many of the posts are done with: all, unless interrupted. */
static size_t judge_group(struct batch *b, const struct store_pending *p, size_t n)
{
    size_t count = 0, done = 0, step = b->judge->ops->judge_many ? STEP : BATCH_GROUP;
    for (size_t i = 0; i < n; i++) {
        b->item[i].rc = 0;
        if (p[i].judged)
            continue;
        b->input[count] = (struct judge_input){p[i].content, p[i].mission_title};
        b->which[count++] = i;
    }
    while (done < count && !stop_requested()) {
        size_t k = count - done < step ? count - done : step;
        judge_texts(b->judge, b->input + done, k, b->o->workers, b->verdict + done, b->judged + done);
        done += k;
    }
    for (size_t k = 0; k < done; k++) {
        struct item *x = &b->item[b->which[k]];
        x->rc = b->judged[k].rc;
        x->error = b->judged[k].error;
        x->verdict = b->verdict[k];
        x->ms = x->verdict.judge_ms + x->verdict.evidence_ms;
        if (!x->rc)
            x->rc = explain(&p[b->which[k]], x);
    }
    return done < count ? b->which[done] : n;
}

static struct store_judgement judgement(const struct batch *b, const struct item *x)
{
    struct store_judgement j = {
        .policy = b->o->policy, .weight = b->o->weight, .judged_at = when_now(), .latency_ms = x->ms};
    for (int a = 0; a < AXES; a++) {
        const struct judge_axis *v = &x->verdict.axis[a];
        j.axis[a].decision = v->decision;
        j.axis[a].up = v->up;
        j.axis[a].keep = v->keep;
        j.axis[a].down = v->down;
        j.axis[a].why = x->why[a].len ? x->why[a].data : NULL;
    }
    j.reason = x->verdict.too_short ? JUDGE_SHORT_REASON : NULL;
    return j;
}

static void tally(struct batch_result *r, const struct item *x)
{
    r->judged++;
    r->kept_short += x->verdict.too_short;
    for (int a = 0; a < AXES; a++) {
        r->up[a] += x->verdict.axis[a].decision == DECISION_UP;
        r->down[a] += x->verdict.axis[a].decision == DECISION_DOWN;
    }
}

static int store_group(struct batch *b, const struct store_pending *p, size_t n, struct err *e)
{
    struct batch_result r = *b->result;
    int rc = store_begin(b->store, e);
    for (size_t i = 0; i < n && !rc; i++) {
        const struct item *x = &b->item[i];
        if (x->rc) {
            if (r.failed++ == 0)
                snprintf(r.first_failure, sizeof r.first_failure, "post %.80s: %s", p[i].id, x->error.msg);
            continue;
        }
        struct store_judgement j = judgement(b, x);
        bool stored;
        rc = store_put_judgement(b->store, &p[i], b->model, b->o->rejudge, &j, &stored, e);
        if (!rc && stored && !p[i].judged)
            tally(&r, x);
        else if (!rc && stored)
            r.recounted++;
    }
    if (rc) {
        store_rollback(b->store);
        return rc;
    }
    rc = store_commit(b->store, e);
    if (!rc) {
        log_write(LOG_DEBUG, "batch: %zu posts committed, %lld failed so far", n, (long long)r.failed);
        *b->result = r;
    }
    return rc;
}

static int model_key(struct store *s, const struct judge *j, int64_t *key, struct err *e)
{
    const struct judge_identity *id = &j->identity;
    struct store_model m = {id->mode, id->model, id->model_sha256,
                            *id->adapter_sha256 ? id->adapter_sha256 : NULL};
    return store_put_model(s, &m, key, e);
}

static int run_groups(struct batch *b, batch_progress_fn *progress, void *context, struct err *e)
{
    struct arena pages[2] = {0};
    struct store_pending *after = NULL;
    int64_t done = 0;
    int rc = 0;
    /* The cursor of the last page must outlive its arena's reset: two arenas take turns. */
    for (int turn = 0; !rc && !stop_requested(); turn ^= 1) {
        size_t n, want = BATCH_GROUP;
        struct store_pending *p;
        if (b->o->limit && b->o->limit - done < (int64_t)want)
            want = (size_t)(b->o->limit - done);
        if (want == 0)
            break;
        arena_reset(&pages[turn]);
        rc = store_pending(b->store, b->model, b->o->rejudge, b->o->person, after, want, &pages[turn], &p, &n,
                           e);
        if (rc || n == 0)
            break;
        n = judge_group(b, p, n);
        if (n == 0)
            break;
        rc = store_group(b, p, n, e);
        after = &p[n - 1];
        done += (int64_t)n;
        if (!rc && progress)
            progress(context, done);
    }
    arena_deinit(&pages[0]);
    arena_deinit(&pages[1]);
    return rc;
}

static int allocate(struct batch *b, struct err *e)
{
    b->item = calloc(BATCH_GROUP, sizeof *b->item);
    b->input = calloc(BATCH_GROUP, sizeof *b->input);
    b->verdict = calloc(BATCH_GROUP, sizeof *b->verdict);
    b->judged = calloc(BATCH_GROUP, sizeof *b->judged);
    b->which = calloc(BATCH_GROUP, sizeof *b->which);
    if (!b->item || !b->input || !b->verdict || !b->judged || !b->which)
        return err_set(e, ERR_MEMORY, "out of memory");
    return 0;
}

static void release(struct batch *b)
{
    for (int i = 0; b->item && i < BATCH_GROUP; i++)
        for (int a = 0; a < AXES; a++)
            buf_deinit(&b->item[i].why[a]);
    free(b->item);
    free(b->input);
    free(b->verdict);
    free(b->judged);
    free(b->which);
}

int batch_run(struct store *s, const struct judge *j, const struct batch_options *o,
              struct batch_result *result, batch_progress_fn *progress, void *context, struct err *e)
{
    struct batch b = {.store = s, .judge = j, .o = o, .result = result};
    *result = (struct batch_result){0};
    int rc = allocate(&b, e);
    if (!rc)
        rc = model_key(s, j, &b.model, e);
    if (!rc)
        rc = run_groups(&b, progress, context, e);
    release(&b);
    return rc;
}

int batch_count(struct store *s, const struct judge *j, const struct batch_options *o, int64_t *n,
                struct err *e)
{
    int64_t model;
    int rc = model_key(s, j, &model, e);
    return rc ? rc : store_count_pending(s, model, o->rejudge, o->person, n, e);
}
