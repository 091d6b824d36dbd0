/* The Korean sentence that explains a decision. It is built from the decision itself, so it cannot contradict
 * it, and quotes the post, so it can be checked. */
#ifndef GYEOL_JUDGE_REASON_H
#define GYEOL_JUDGE_REASON_H

#include "base/buf.h"
#include "judge/judge.h"

/* The first clause, "'친구들이랑 노는게'에서 다른 사람과 어울리며 힘을 얻는 외향(E) 성향이 드러나". What
 * became of the score is added where the score is known (store/fold.h). Appends nothing for keep. */
void reason_clause(struct buf *out, const char *text, enum axis a, const struct judge_axis *x);

/* The whole reason of a judgement outside a database: one sentence per moved axis, joined by spaces, with the
 * points that `weight` moves under the fixed policy; the fixed text for a post too short; nothing when every
 * axis keeps. */
void reason_text(struct buf *out, const char *text, const struct judge_verdict *v, int weight);

#endif
