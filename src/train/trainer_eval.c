/* Measures on the dev split: of posts what gyeol eval says of the judge as it would be served now, of text the
 * mean loss per token. */
#include "base/stop.h"
#include "train/engine_calibrate.h"
#include "train/trainer_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

static int measure_text(struct trainer *t, struct train_record *r, struct err *e)
{
    const struct corpus *c = t->dev_text;
    double sum = 0, weight = 0, loss;
    uint32_t *item = malloc(t->o.batch * sizeof *item);
    int rc = item ? 0 : err_set(e, ERR_MEMORY, "out of memory");
    for (size_t i = 0, n; !rc && i < c->n; i += n) {
        n = c->n - i < t->o.batch ? c->n - i : t->o.batch;
        for (size_t k = 0; k < n; k++) {
            item[k] = (uint32_t)(i + k);
            weight += c->weight[i + k];
        }
        batch_clear(&t->batch);
        rc = corpus_batch(c, item, n, 1, &t->batch, e);
        if (!rc)
            rc = tape_forward(t->tape, t->batch.runs, t->batch.n_runs, t->batch.targets, t->batch.n_targets,
                              0, false, &loss, e);
        if (!rc && stop_requested())
            rc = err_set(e, ERR_STOPPED, "interrupted");
        sum += rc ? 0 : loss;
    }
    free(item);
    r->dev_loss = sum / weight;
    return rc;
}

/* ---- posts ---- */

static void score(const struct engine *g, const struct labelled_post *p, float (*logits)[3],
                  const struct judge_verdict *settled, struct scored *s)
{
    for (int a = 0; a < AXES; a++) {
        struct judge_axis v;
        if (settled)
            v = settled->axis[a];
        else
            calibration_decide(&g->calibration, a, logits[a], &v);
        s->label[a] = p->label[a];
        s->decision[a] = (int8_t)v.decision;
        s->up[a] = (float)v.up;
        s->keep[a] = (float)v.keep;
        s->down[a] = (float)v.down;
    }
}

/* Adds the negative log-likelihood of the row's labels; returns their number. */
static size_t add_loss(const struct scored *s, double *sum)
{
    size_t n = 0;
    for (int a = 0; a < AXES; a++) {
        if (s->label[a] == LABEL_UNKNOWN)
            continue;
        double p = (double)(s->label[a] > 0 ? s->up[a] : s->label[a] < 0 ? s->down[a] : s->keep[a]);
        *sum -= log(p > 1e-12 ? p : 1e-12);
        n++;
    }
    return n;
}

static int score_rows(const struct trainer *t, const struct engine_said *said, struct scored *row,
                      double *loss, struct err *e)
{
    double sum = 0;
    size_t labels = 0;
    for (size_t i = 0; i < t->dev.n; i++) {
        const struct labelled_post *p = &t->dev.row[i];
        const struct judge_input in = {p->text, p->mission};
        struct judge_verdict v;
        bool settled;
        int rc = judge_settle(&in, &v, &settled, e);
        if (rc)
            return err_prefix(e, "line %zu: ", p->line);
        score(t->engine, p, said->logits[i], settled ? &v : NULL, &row[i]);
        if (!settled)
            labels += add_loss(&row[i], &sum);
    }
    *loss = sum / (double)labels;
    return 0;
}

static int measure_posts(struct trainer *t, struct train_record *r, struct err *e)
{
    struct engine_said said = {0};
    struct calibrate_fit fit;
    struct metrics m;
    struct scored *row = calloc(t->dev.n, sizeof *row);
    int rc = row ? engine_refresh(t->engine, e) : err_set(e, ERR_MEMORY, "out of memory");
    if (!rc)
        rc = engine_ask(t->engine, &t->dev, &said, NULL, NULL, e);
    if (!rc)
        rc = engine_fit(t->engine, &t->dev, &said, t->o.budget, &fit, e);
    if (!rc)
        rc = score_rows(t, &said, row, &r->dev_loss, e);
    if (!rc)
        rc = metrics_compute(&m, row, t->dev.n, 0, 1, e);
    if (!rc)
        memcpy(r->dev, m.overall, sizeof r->dev);
    engine_said_deinit(&said);
    free(row);
    return rc;
}

int trainer_evaluate(struct trainer *t, struct train_record *r, struct err *e)
{
    return t->text ? measure_text(t, r, e) : measure_posts(t, r, e);
}

/* Every axis needs kept and moved rows, or its threshold cannot be chosen. */
int trainer_check_dev(const struct trainer *t, struct err *e)
{
    for (int a = 0; a < AXES; a++) {
        size_t moved = 0, kept = 0;
        for (size_t i = 0; i < t->dev.n; i++) {
            int label = t->dev.row[i].label[a];
            kept += label == 0;
            moved += label == 1 || label == -1;
        }
        if (!kept || !moved)
            return err_set(e, ERR_FORMAT, "%s: no row labelled %s on %s: a judge cannot be chosen on it",
                           t->o.dev, kept ? "+ or -" : "0", axis_info[a].key);
    }
    return 0;
}
