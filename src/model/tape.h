/* Forward and backward of a decoder for training: one pass over a tree of runs of tokens, which keeps what
 * the backward needs (or recomputes it layer by layer: checkpointing, Chen et al. 2016), the cross-entropy at
 * chosen tokens, and the gradients of the parameters.
 *
 * The tree is how posts share an instruction and axes share a post, as in serving (model/session.h): a token
 * sees the runs it hangs on and its own run up to itself, positions going on where the parent ends. Runs that
 * do not hang together do not see each other, so packing many posts in one pass contaminates nothing.
 *
 * Arithmetic: products in `compute` (bf16 with f32 sums, or f32), all else in f32. The same runs give the
 * same bits for any number of threads. */
#ifndef GYEOL_MODEL_TAPE_H
#define GYEOL_MODEL_TAPE_H

#include "model/parameter.h"

struct tape_run {
    const int32_t *ids; /* borrowed until the backward is done */
    size_t n;
    int parent;   /* an earlier run of this pass, which it follows; -1: it begins at position 0 */
    uint64_t key; /* of its dropout mask: same seed, step and key, same mask, wherever the run lies */
    float drop;   /* share of its tokens that training reads as nothing, their embedding zero (word dropout,
                     Iyyer et al. 2015): a verdict then rests on more than a few telling words */
};

/* Cross-entropy of `id` at a token's logits, times weight. With `among`, over those ids alone (what a verdict
 * is decided by), else over the whole vocabulary. */
struct target {
    size_t token; /* index over all runs' tokens, in order; ascending over the targets */
    int32_t id;
    float weight;
    const int32_t *among; /* borrowed; holds id */
    size_t among_n;       /* 0: the whole vocabulary; at most 8 */
};

struct tape_options {
    size_t tokens, positions; /* most of one pass */
    size_t runs, targets;     /* likewise */
    enum dtype compute;       /* DT_BF16 or DT_F32 */
    bool checkpointing;       /* keep only the layers' inputs: half as much again to compute */
    int threads;              /* 0: OpenMP's default */
    uint64_t seed;            /* of dropout */
};

struct tape;

/* m, p: borrowed; p's adapter or m's own weights are what the pass reads (parameters_sync). */
int tape_new(struct tape **out, const struct model *m, struct parameters *p, const struct tape_options *o,
             struct err *e) MUST_CHECK;
void tape_free(struct tape *t); /* NULL allowed */

/* Bytes that tape_new would take, for the forecast. SIZE_MAX: overflow. */
size_t tape_bytes(const struct config *c, const struct parameters *p, const struct tape_options *o);

/* One pass; *loss is the weighted sum over the targets. step: of dropout; train false: no dropout, and no
 * backward may follow. When it trains, the head's gradient is added to p->grads here, while its logits are
 * there: all of them never are at once. ERR_LIMIT: more than the options allow; ERR_FORMAT: an id outside the vocabulary. */
int tape_forward(struct tape *t, const struct tape_run *runs, size_t n, const struct target *targets,
                 size_t n_targets, uint64_t step, bool train, double *loss, struct err *e) MUST_CHECK;

/* Adds the last pass's other gradients to p->grads. Once for each pass. */
void tape_backward(struct tape *t);

/* Logits [n_targets, vocabulary] of the last forward, for tests: targets over the whole vocabulary only. */
void tape_logits(struct tape *t, float *out);

#endif
