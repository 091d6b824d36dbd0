#include "train/engine_calibrate.h"

#include "base/stop.h"
#include "judge/onepass.h"
#include "train/calibrate.h"

#include <stdlib.h>
#include <string.h>

enum { GROUP = 60 };

/* Rows that go to the model together, and where their logits belong. */
struct group {
    struct judge_input in[GROUP];
    size_t row[GROUP], n;
    float logits[GROUP][AXES][3];
};

/* The next rows from *at on that are left to the model. */
static int next_group(struct group *k, const struct labelled_posts *dev, size_t *at, bool *settled,
                      struct err *e)
{
    for (k->n = 0; *at < dev->n && k->n < GROUP; ++*at) {
        const struct labelled_post *p = &dev->row[*at];
        struct judge_verdict verdict;
        k->in[k->n] = (struct judge_input){p->text, p->mission};
        if (judge_settle(&k->in[k->n], &verdict, &settled[*at], e))
            return err_prefix(e, "line %zu: ", p->line);
        k->row[k->n] = *at;
        k->n += !settled[*at];
    }
    return 0;
}

/* Raw logits of every row that is not settled without the model. */
static int judge_rows(struct engine *g, const struct labelled_posts *dev, float (*logits)[AXES][3],
                      bool *settled, void (*progress)(void *context, size_t rows), void *context,
                      struct err *e)
{
    struct group k;
    for (size_t at = 0; at < dev->n;) {
        if (stop_requested())
            return err_set(e, ERR_STOPPED, "interrupted");
        int rc = next_group(&k, dev, &at, settled, e);
        if (!rc)
            rc = onepass_logits(g, k.in, k.n, k.logits, e);
        if (rc)
            return rc;
        for (size_t i = 0; i < k.n; i++)
            memcpy(logits[k.row[i]], k.logits[i], sizeof k.logits[i]);
        if (progress)
            progress(context, at);
    }
    return 0;
}

static void axis_rows(struct calibrate_axis *d, const struct labelled_posts *dev, float (*logits)[AXES][3],
                      const bool *settled, int a)
{
    d->n = 0;
    for (size_t i = 0; i < dev->n; i++) {
        const float *z = logits[i][a];
        if (settled[i] || dev->row[i].label[a] == LABEL_UNKNOWN)
            continue;
        d->z[d->n][SIDE_UP] = (double)z[0] - (double)z[1];
        d->z[d->n][SIDE_DOWN] = (double)z[2] - (double)z[1];
        d->label[d->n++] = dev->row[i].label[a];
    }
}

static int fit_axis(struct calibration_axis *k, struct calibrate_axis *d, int a, double budget,
                    struct calibrate_fit *fit, struct err *e)
{
    double c[3] = {1, 0, 0};
    fit->before[a] = calibrate_loss(d, c);
    calibrate_fit(d, c);
    fit->after[a] = calibrate_loss(d, c);
    k->scale = c[0];
    k->up = c[1 + SIDE_UP];
    k->down = c[1 + SIDE_DOWN];
    for (size_t i = 0; i < d->n; i++)
        for (int s = 0; s < SIDES; s++)
            d->z[i][s] = c[0] * d->z[i][s] + c[1 + s];
    int rc = calibrate_threshold(d, budget, &k->threshold, axis_info[a].key, e);
    if (!rc)
        calibrate_measure(d, k->threshold, &fit->meaningful[a], &fit->unneeded[a]);
    return rc;
}

int engine_ask(struct engine *g, const struct labelled_posts *dev, struct engine_said *said,
               void (*progress)(void *context, size_t rows), void *context, struct err *e)
{
    said->logits = calloc(dev->n + 1, sizeof *said->logits);
    said->settled = calloc(dev->n + 1, sizeof *said->settled);
    if (!said->logits || !said->settled)
        return err_set(e, ERR_MEMORY, "out of memory for %zu rows", dev->n);
    return judge_rows(g, dev, said->logits, said->settled, progress, context, e);
}

void engine_said_deinit(struct engine_said *said)
{
    free(said->logits);
    free(said->settled);
    *said = (struct engine_said){0};
}

int engine_fit(struct engine *g, const struct labelled_posts *dev, const struct engine_said *said,
               double budget, struct calibrate_fit *fit, struct err *e)
{
    struct calibrate_axis d = {.z = calloc(dev->n + 1, sizeof *d.z), .label = calloc(dev->n + 1, 1)};
    struct calibration c = {.fitted = true};
    int rc = d.z && d.label ? 0 : err_set(e, ERR_MEMORY, "out of memory for %zu rows", dev->n);
    for (int a = 0; !rc && a < AXES; a++) {
        axis_rows(&d, dev, said->logits, said->settled, a);
        rc = fit_axis(&c.axis[a], &d, a, budget, fit, e);
    }
    for (size_t i = 0; !rc && i < dev->n; i++)
        c.rows += !said->settled[i];
    if (!rc) {
        memcpy(c.prompt_sha256, g->prompt.sha256, DIGEST_HEX);
        memcpy(c.model_sha256, g->model_sha256, DIGEST_HEX);
        memcpy(c.adapter_sha256, g->adapter_sha256, DIGEST_HEX);
        memcpy(c.data_sha256, dev->sha256, DIGEST_HEX);
        g->calibration = c;
    }
    free(d.z);
    free(d.label);
    return rc;
}

int engine_calibrate(struct engine *g, const struct labelled_posts *dev, double budget,
                     struct calibrate_fit *fit, void (*progress)(void *context, size_t rows), void *context,
                     struct err *e)
{
    struct engine_said said = {0};
    int rc = engine_ask(g, dev, &said, progress, context, e);
    if (!rc)
        rc = engine_fit(g, dev, &said, budget, fit, e);
    engine_said_deinit(&said);
    return rc;
}
