/* Running a model: a session owns the working memory of one forward pass at a time, allocated once from the
 * model's shape and the largest number of tokens and positions; nothing is allocated inside a layer. */
#ifndef GYEOL_MODEL_SESSION_H
#define GYEOL_MODEL_SESSION_H

#include "model/adapter.h"
#include "model/kv.h"

/* One run of tokens appended to a segment. Its tokens do not see positions [hide_begin, hide_end), if any:
 * what a decision rests on shows when it is hidden. */
struct run {
    struct kv *kv;
    const int32_t *ids;
    size_t n;
    size_t hide_begin, hide_end;
};

struct session;

struct session_options {
    size_t tokens; /* most tokens of one model_forward over all runs; longer input is the caller's to cut */
    size_t positions; /* largest position + 1 */
    int threads;      /* 0: OpenMP's default */
};

int session_new(struct session **out, const struct model *m, const struct session_options *o,
                struct err *e) MUST_CHECK;
void session_free(struct session *s); /* NULL allowed */
const struct model *session_model(const struct session *s);
size_t session_tokens(const struct session *s); /* most of one pass */
size_t session_bytes(const struct session *s);
size_t session_work(const struct session *s); /* tokens of all passes so far */

/* NULL: the base alone. Borrowed. */
void session_set_adapter(struct session *s, const struct adapter *a);

/* What a pass gives back: the final-normed hidden states of `wanted` tokens (indices into all runs' tokens,
 * in ascending order) in hidden [wanted_n, D]; with trace, the residual stream after each layer [layers, T,
 * D]. */
struct outputs {
    const size_t *wanted;
    size_t wanted_n;
    float *hidden;
    float *trace;
};

/* All runs in one pass: every run's keys and values are stored before any run of the same layer attends, so a
 * run may hang on another of the same pass (a branch on its post). A segment occurs at most once per pass; a
 * parent comes before its children. On error nothing is appended. ERR_LIMIT: more tokens or positions than
 * the session has; ERR_FORMAT: an id outside the vocabulary. */
int session_forward(struct session *s, const struct run *runs, size_t n, const struct outputs *out,
                    struct err *e) MUST_CHECK;

/* Logits of n hidden states over the rows of `head` (the model's, or of model_head_rows), soft-capped if the
 * model does that: out [n, ld], ld >= rows rounded up to 16. n <= tokens. */
void session_logits(struct session *s, const struct matrix *head, const float *hidden, size_t n, float *out,
                    size_t ld);

#endif
