/* Calibration of one axis on labelled rows: temperature and two biases by maximum likelihood (Platt, 1999;
 * Guo et al., "On Calibration of Modern Neural Networks", 2017), then the threshold. Serves every judge that
 * has logits. */
#ifndef GYEOL_TRAIN_CALIBRATE_H
#define GYEOL_TRAIN_CALIBRATE_H

#include "base/err.h"
#include "train/softmax.h"

struct calibrate_axis {
    double (*z)[SIDES]; /* logits of up and down less keep's, of the rows with a label */
    int8_t *label;      /* -1 down, 0 keep, 1 up */
    size_t n;
};

/* Fits z' = c[0] z + c[1 + side] from a starting point {1, 0, 0}. */
void calibrate_fit(const struct calibrate_axis *d, double c[3]);

/* Mean negative log-likelihood of the labels at c. */
double calibrate_loss(const struct calibrate_axis *d, const double c[3]);

/* The smallest threshold that moves at most the share `budget` of kept rows, and fits a float. ERR_FORMAT
 * when there are no kept or no moved rows. */
int calibrate_threshold(const struct calibrate_axis *d, double budget, double *threshold, const char *axis,
                        struct err *e) MUST_CHECK;

/* At that threshold: share of moved rows decided rightly, of kept rows moved. */
void calibrate_measure(const struct calibrate_axis *d, double threshold, double *meaningful,
                       double *unneeded);

#endif
