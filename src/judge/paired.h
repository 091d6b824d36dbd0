/* Two judges on the same labelled rows: who is better, and are there rows enough to say so? */
#ifndef GYEOL_JUDGE_PAIRED_H
#define GYEOL_JUDGE_PAIRED_H

#include "judge/metrics.h"

enum paired_measure {
    PAIRED_DIRECTION,  /* as METRIC_DIRECTION, mean over the axes that have moved rows */
    PAIRED_MEANINGFUL, /* as METRIC_MEANINGFUL */
    PAIRED_UNNEEDED,   /* as METRIC_UNNEEDED: less is better */
    PAIRED_WHOLE,      /* rows on which every axis that is labelled is decided as labelled */
    PAIRED_MEASURES
};

extern const char *const paired_name[PAIRED_MEASURES];

/* McNemar's exact test (McNemar 1947, with the binomial in place of chi-squared): of n = only_a + only_b
 * cells on which the judges differ, is one side's share one half? Two-sided: twice the smaller tail, at most
 * 1. It takes cells for independent, the bootstrap does not. */
struct mcnemar {
    size_t only_a, only_b;
    double p;
};

struct paired {
    size_t rows, groups;
    double a[PAIRED_MEASURES], b[PAIRED_MEASURES]; /* NAN where there are no rows */
    double difference[PAIRED_MEASURES];            /* a - b */
    double ci95[PAIRED_MEASURES][2];               /* of the difference */
    struct mcnemar direction; /* moved cells whose forced choice is right in one judge only; a tie is wrong */
    struct mcnemar unneeded;  /* kept cells that one judge only moves */
};

enum paired_better { PAIRED_A, PAIRED_B, PAIRED_MIXED, PAIRED_UNKNOWN };

double mcnemar_p(size_t only_a, size_t only_b);

/* a[i] and b[i] hold the same label. group[i] < n numbers, from 0 on without gaps, what is resampled as one
 * (a person's rows); NULL: each row by itself. Percentile intervals from `rounds` paired bootstrap resamples
 * (Efron 1979) drawn with the seed. */
int paired_compute(struct paired *out, const struct scored *a, const struct scored *b, const uint32_t *group,
                   size_t n, int rounds, uint64_t seed, struct err *e) MUST_CHECK;

/* By direction accuracy and unneeded changes: a judge is better when an interval of the two lies on its side
 * of 0 and none on the other's. Each on its own side: mixed. None anywhere: not enough rows to tell. */
enum paired_better paired_better(const struct paired *p);

/* Whose side of 0 one measure's interval lies on: PAIRED_A, PAIRED_B or PAIRED_UNKNOWN. */
enum paired_better paired_side(const struct paired *p, enum paired_measure m);

#endif
