/* Shared by the pass itself and by the search for evidence. */
#ifndef GYEOL_JUDGE_ONEPASS_INT_H
#define GYEOL_JUDGE_ONEPASS_INT_H

#include "judge/onepass.h"

#include <pthread.h>

#define ONEPASS_POSTS 15                  /* of one pass */
#define ONEPASS_SLOTS (ONEPASS_POSTS + 1) /* and one to judge a post again without some of its words */

/* Cells of one post and its branches, used again from pass to pass. */
struct slot {
    struct kv *post, *branch[AXES];
};

struct onepass {
    struct judge base;
    struct engine *engine;
    bool own_engine, quotes;
    pthread_mutex_t lock; /* one pass at a time: the session's memory is shared */
    struct slot slot[ONEPASS_SLOTS];
    struct matrix verbalisers; /* [AXES * 3, D] rows of the head */
    void *verbaliser_space;
    float *hidden; /* [ONEPASS_SLOTS * AXES][D] */
    float *logits; /* [ONEPASS_SLOTS * AXES][16] */
};

/* One post ready to be judged. */
struct request {
    const struct judge_input *in;
    struct tokens ids;
    float logits[AXES][3];
};

/* Tokens of one judgement: the post and its branches. */
size_t onepass_cost(const struct onepass *j, const struct request *r);

/* Judges n posts that fit one pass together (or one of any length) in the slots from `slot` on. */
int onepass_run_at(struct onepass *j, struct request *r, size_t n, size_t slot, struct err *e) MUST_CHECK;

/* Fills out->axis[a].quote for every moved axis of a post just judged in slot 0..; judges hidden and deleted
 * spans. Costs at most ONEPASS_EVIDENCE_COST times the tokens of the judgement. */
#define ONEPASS_EVIDENCE_COST 3
int onepass_evidence(struct onepass *j, const struct request *r, size_t slot, struct judge_verdict *out,
                     struct err *e) MUST_CHECK;

#endif
