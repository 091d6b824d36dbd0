#include "base/log.h"
#include "base/progress.h"
#include "base/rng.h"
#include "base/stop.h"
#include "cli/eval.h"

#include <stdlib.h>
#include <string.h>

enum { TOGETHER = 128 }; /* texts judged between two looks at the progress bar */

/* Every draw of `want` out of the n rows is as likely; they keep their order (selection sampling, Knuth
 * 3.4.2 S). */
static size_t draw(const struct labelled_post **row, size_t n, size_t want, uint64_t seed)
{
    struct rng rng = {seed};
    size_t taken = 0;
    for (size_t i = 0; i < n && taken < want; i++)
        if (rng_below(&rng, n - i) < want - taken)
            row[taken++] = row[i];
    return taken;
}

static int choose(struct eval_rows *r, const struct eval_arguments *o, struct err *e)
{
    r->row = calloc(r->posts.n + 1, sizeof *r->row);
    if (!r->row)
        return err_set(e, ERR_MEMORY, "out of memory for %zu rows", r->posts.n);
    for (size_t i = 0; i < r->posts.n; i++) {
        const struct labelled_post *p = &r->posts.row[i];
        if (!o->kind || (p->kind && strcmp(p->kind, o->kind) == 0))
            r->row[r->n++] = p;
    }
    if (r->n == 0)
        return err_set(e, ERR_FORMAT, "%s: no row of kind \"%.40s\"", o->path, o->kind);
    if (o->rows && (uint64_t)o->rows < r->n)
        r->n = draw(r->row, r->n, (size_t)o->rows, (uint64_t)o->seed);
    return 0;
}

int eval_read(struct eval_rows *out, const struct eval_arguments *o, struct err *e)
{
    *out = (struct eval_rows){0};
    int rc = labelled_read(&out->posts, o->path, e);
    if (rc)
        return rc;
    if (*out->posts.ignored)
        log_write(LOG_WARN, "%s: ignored columns: %s", o->path, out->posts.ignored);
    rc = choose(out, o, e);
    if (rc)
        eval_rows_deinit(out);
    return rc;
}

void eval_rows_deinit(struct eval_rows *r)
{
    free(r->row);
    labelled_deinit(&r->posts);
    *r = (struct eval_rows){0};
}

void eval_scored(struct scored *out, const struct labelled_post *p, const struct judge_verdict *v)
{
    for (int a = 0; a < AXES; a++) {
        out->label[a] = p->label[a];
        out->decision[a] = (int8_t)v->axis[a].decision;
        out->up[a] = (float)v->axis[a].up;
        out->keep[a] = (float)v->axis[a].keep;
        out->down[a] = (float)v->axis[a].down;
    }
}

int eval_judge(const struct judge *j, const struct judge_input *in, size_t n, const char *progress,
               struct judge_verdict *out, size_t *at, struct err *e)
{
    struct judge_result result[TOGETHER];
    struct progress bar;
    int rc = 0;
    progress_start(&bar, progress, n);
    for (size_t i = 0; i < n && !rc; i += TOGETHER) {
        size_t k = n - i < TOGETHER ? n - i : TOGETHER;
        *at = i;
        if (stop_requested()) {
            rc = err_set(e, ERR_STOPPED, "interrupted");
            break;
        }
        judge_texts(j, in + i, k, 0, out + i, result);
        for (size_t x = 0; x < k && !rc; x++)
            if ((rc = result[x].rc)) {
                *at = i + x;
                *e = result[x].error;
            }
        progress_update(&bar, i + k);
    }
    progress_finish(&bar);
    return rc;
}
