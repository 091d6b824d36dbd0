/* What makes a language model's logits honest probabilities: per axis one inverse temperature and two biases,
 * fitted on labelled posts, and the threshold that decides (train/calibrate.h chooses them). Bound to the
 * words and weights it was fitted with. */
#ifndef GYEOL_JUDGE_CALIBRATION_H
#define GYEOL_JUDGE_CALIBRATION_H

#include "base/digest.h"
#include "judge/judge.h"

#include <jansson.h>

struct calibration_axis {
    double scale, up, down; /* z' = scale z + up or down; z: a side's logit less keep's */
    double threshold;       /* a side is decided when its probability is above this, and above the other's */
};

struct calibration {
    bool fitted; /* false: probabilities as the model gives them, and the likeliest of the three decides */
    struct calibration_axis axis[AXES];
    char prompt_sha256[DIGEST_HEX], model_sha256[DIGEST_HEX];
    char adapter_sha256[DIGEST_HEX]; /* "" without adapter */
    char data_sha256[DIGEST_HEX];
    int64_t rows;
};

void calibration_none(struct calibration *c);

/* Probabilities and decision of one axis from the logits of up, keep, down. */
void calibration_decide(const struct calibration *c, int axis, const float logit[3], struct judge_axis *out);

/* The object under "calibration" in gyeol.json. `name` for messages. Whose it is stays to be compared. */
int calibration_read(struct calibration *c, const char *name, const json_t *v, struct err *e) MUST_CHECK;
json_t *calibration_json(const struct calibration *c);

#endif
