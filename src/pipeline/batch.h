/* The loop that takes posts from the store through the judge into the fold. */
#ifndef GYEOL_PIPELINE_BATCH_H
#define GYEOL_PIPELINE_BATCH_H

#include "judge/judge.h"
#include "store/store.h"

#include <stdint.h>

/* Posts judged between two commits: their judgements, scores and history become durable together. */
#define BATCH_GROUP 512

struct batch_options {
    const char *person; /* NULL: everybody */
    int64_t limit;      /* posts at most; 0: no limit */
    int workers;        /* threads that judge; 0: one per processor */
    bool rejudge;       /* make this model's judgement the counting one */
    enum policy policy;
    int weight;
};

struct batch_result {
    int64_t judged, kept_short, failed;
    int64_t recounted; /* judged by this model before; that judgement counts again, as it was */
    int64_t up[AXES], down[AXES];
    char first_failure[600];
};

/* Called after each commit with the posts taken so far. */
typedef void batch_progress_fn(void *context, int64_t done);

/* Judges every post that waits, in groups, until none is left, the limit is reached or stop_requested(). A
 * post that cannot be judged is counted in failed and stays waiting; it does not stop the rest. A negative
 * result means the store or memory failed: groups committed before it stay. */
int batch_run(struct store *s, const struct judge *j, const struct batch_options *o,
              struct batch_result *result, batch_progress_fn *progress, void *context,
              struct err *e) MUST_CHECK;

/* How many posts batch_run would take. */
int batch_count(struct store *s, const struct judge *j, const struct batch_options *o, int64_t *n,
                struct err *e) MUST_CHECK;

#endif
