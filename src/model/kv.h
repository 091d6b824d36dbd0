/* Keys and values of a run of positions. Segments form a tree: a token sees all cells of its ancestors and
 * those of its own segment up to itself, so a prefix is shared by many posts, and a post by its branches,
 * without copying.
 *
 * Per layer and key/value head, keys lie in panels of 16 positions, [capacity/16][Dh][16], and values in
 * panels of 16 of the head's dimensions, [ceil(Dh/16)][capacity][16]: both are what kernels->matmul_f32
 * reads, scores being q K^T and the output p V. */
#ifndef GYEOL_MODEL_KV_H
#define GYEOL_MODEL_KV_H

#include "model/model.h"

struct kv {
    struct kv *parent;     /* borrowed; NULL for a root. Must not grow while it has children in use */
    size_t start;          /* position of the first cell: the parent's end */
    size_t n;              /* cells filled */
    size_t capacity;       /* multiple of 16 */
    size_t heads;          /* Hk */
    size_t layers;         /* 1 when transient */
    float *k, *v;          /* [layers][Hk] of the above */
    size_t k_head, v_head; /* floats of one head's keys, values */
    void *space;
};

/* transient: cells of one layer only, each layer overwriting the last one's: enough for branches, which
 * nothing is appended to after their pass. */
int kv_new(struct kv **out, const struct model *m, struct kv *parent, size_t capacity, bool transient,
           struct err *e) MUST_CHECK;
void kv_free(struct kv *kv); /* NULL allowed; not the parent */

/* Bytes that kv_new allocates for the cells. */
size_t kv_bytes(const struct config *c, size_t capacity);

/* Forgets the cells from n on. */
void kv_truncate(struct kv *kv, size_t n);
/* The same, and begins at another place of the tree (a branch's memory used again). */
void kv_reuse(struct kv *kv, struct kv *parent);

float *kv_keys(const struct kv *kv, size_t layer, size_t head);
float *kv_values(const struct kv *kv, size_t layer, size_t head);

/* Stores one position's key and value [Dh] of one head at cell i. */
void kv_put(struct kv *kv, size_t layer, size_t head, size_t Dh, size_t i, const float *k, const float *v);

#endif
