/* Attention of one layer over a tree of key/value segments. */
#ifndef GYEOL_MODEL_ATTENTION_H
#define GYEOL_MODEL_ATTENTION_H

#include "model/kv.h"

struct query {
    struct kv *kv;               /* the segment the token is in */
    size_t position;             /* absolute */
    size_t hide_begin, hide_end; /* positions it does not see; the same for all tokens of a run */
};

struct attention {
    const struct config *config;
    const struct kernels *kernels;
    size_t layer;
    const struct query *query; /* [T] */
    size_t T;
    const float *q; /* [T][ld]: H heads of Dh, rotated */
    size_t ld;
    float *out;            /* [T][ld]; may not be q */
    float *scratch;        /* threads x scratch_floats */
    size_t scratch_floats; /* attention_scratch(positions) */
    int threads;
};

/* Floats of one thread's scratch for contexts of so many positions. */
size_t attention_scratch(size_t positions);

/* out = softmax(softcap(scale q K^T) over the visible keys) V, per query head; query heads h share key/value
 * head h / (H / Hk). Visible: all cells of the ancestors, own cells up to the token, within the layer's
 * sliding window. Sums run over positions in ascending order, so they depend neither on segments nor on what
 * else is computed. */
void attention_run(const struct attention *a);

#endif
