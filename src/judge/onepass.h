/* Mode one-pass: prefix from the cache, then the post and its four branches in one forward pass; at the end
 * of each branch only the three verbalisers' logits. Nothing is generated, so nothing can fail to parse. */
#ifndef GYEOL_JUDGE_ONEPASS_H
#define GYEOL_JUDGE_ONEPASS_H

#include "judge/engine.h"

int onepass_open(struct judge **out, const struct judge_options *o, struct err *e) MUST_CHECK;

/* A judge over an engine that is the caller's and stays open. */
int onepass_over(struct judge **out, struct engine *g, bool quotes, struct err *e) MUST_CHECK;

/* Raw logits of up, keep, down per axis for n texts, each long enough and valid: what calibration is fitted
 * on. */
int onepass_logits(struct engine *g, const struct judge_input *in, size_t n, float (*logits)[AXES][3],
                   struct err *e) MUST_CHECK;

#endif
