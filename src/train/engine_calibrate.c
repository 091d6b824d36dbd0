#include "train/engine_calibrate.h"

#include "base/stop.h"
#include "judge/onepass.h"
#include "train/calibrate.h"

#include <stdlib.h>
#include <string.h>

enum { GROUP = 60 };

/* Raw logits of every row; rows too short to be judged get zeros and take no part. */
static int judge_rows(struct engine *g, const struct labelled_posts *dev, float (*logits)[AXES][3],
                      void (*progress)(void *context, size_t rows), void *context, struct err *e)
{
    struct judge_input in[GROUP];
    for (size_t i = 0; i < dev->n;) {
        size_t n = dev->n - i < GROUP ? dev->n - i : GROUP;
        if (stop_requested())
            return err_set(e, ERR_STOPPED, "interrupted");
        for (size_t k = 0; k < n; k++)
            in[k] = (struct judge_input){dev->row[i + k].text, dev->row[i + k].mission};
        int rc = onepass_logits(g, in, n, logits + i, e);
        if (rc)
            return rc;
        i += n;
        if (progress)
            progress(context, i);
    }
    return 0;
}

static void axis_rows(struct calibrate_axis *d, const struct labelled_posts *dev, float (*logits)[AXES][3],
                      int a)
{
    d->n = 0;
    for (size_t i = 0; i < dev->n; i++) {
        const float *z = logits[i][a];
        if (dev->row[i].label[a] == LABEL_UNKNOWN)
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

int engine_calibrate(struct engine *g, const struct labelled_posts *dev, double budget,
                     struct calibrate_fit *fit, void (*progress)(void *context, size_t rows), void *context,
                     struct err *e)
{
    float(*logits)[AXES][3] = calloc(dev->n + 1, sizeof *logits);
    struct calibrate_axis d = {.z = calloc(dev->n + 1, sizeof *d.z), .label = calloc(dev->n + 1, 1)};
    struct calibration c = {.fitted = true, .rows = (int64_t)dev->n};
    int rc = logits && d.z && d.label ? 0 : err_set(e, ERR_MEMORY, "out of memory for %zu rows", dev->n);
    if (!rc)
        rc = judge_rows(g, dev, logits, progress, context, e);
    for (int a = 0; !rc && a < AXES; a++) {
        axis_rows(&d, dev, logits, a);
        rc = fit_axis(&c.axis[a], &d, a, budget, fit, e);
    }
    if (!rc) {
        memcpy(c.prompt_sha256, g->prompt.sha256, DIGEST_HEX);
        memcpy(c.model_sha256, g->model_sha256, DIGEST_HEX);
        memcpy(c.data_sha256, dev->sha256, DIGEST_HEX);
        g->calibration = c;
    }
    free(logits);
    free(d.z);
    free(d.label);
    return rc;
}
