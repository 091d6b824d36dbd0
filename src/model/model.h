/* A decoder ready to run: configuration, and all weights in one block of memory (an allocation, or a mapped
 * pack file) in the layout the kernels read. Read-only after opening, so any number of sessions and threads
 * share it.
 *
 * Letters: D width, H query heads, Hk key/value heads, Dh head width, F feed-forward width, V vocabulary, T
 * tokens. */
#ifndef GYEOL_MODEL_MODEL_H
#define GYEOL_MODEL_MODEL_H

#include "base/progress.h"
#include "compute/kernels.h"
#include "format/checkpoint.h"

#include <stdbool.h>

#define LINEARS (ROLE_DOWN - ROLE_Q + 1)
enum { NORM_ATTENTION, NORM_POST_ATTENTION, NORM_FF, NORM_POST_FF, NORM_Q, NORM_K, NORMS };

struct layer {
    struct matrix w[LINEARS];   /* by role - ROLE_Q: q, k, v, o, gate, up, down */
    const float *bias[LINEARS]; /* NULL: none */
    const float *norm[NORMS];   /* multipliers; NULL: none */
};

/* How the linear weights are kept. NF4 is what QLoRA trains on: the decoder's projections rounded to NF4
 * (blocks of 64, double quantised), multiplied in f32; embedding and head stay f32, or bf16 where the checkpoint has them
 * so. */
enum model_type { MODEL_F32, MODEL_BF16, MODEL_Q8_0, MODEL_Q4_0, MODEL_NF4, MODEL_TYPES };
extern const char *const model_type_name[MODEL_TYPES];
int model_type_parse(const char *name); /* -1: no such type */

struct model {
    struct config config;
    enum model_type type;
    const struct kernels *kernels;
    struct matrix embedding, head; /* [V, D]; the same when tied */
    const float *norm;             /* [D] */
    const float *rope_factors;     /* [rope_width / 2] or NULL */
    struct layer *layer;           /* [layers] */
    unsigned char *block;          /* the weights */
    size_t block_bytes;
    void *map; /* the mapping that holds the block: a pack file's, or anonymous */
    size_t map_bytes;
};

/* Weights of a checkpoint in memory of our own. */
int model_load(struct model **out, const struct checkpoint *c, enum model_type type,
               struct err *e) MUST_CHECK;
void model_close(struct model *m); /* NULL allowed */

/* Rows `ids` of the output head as a small matrix of their own (same values, same kernel, so the same logits
 * bit for bit); *space is malloc'd and the caller's. */
int model_head_rows(const struct model *m, const int32_t *ids, size_t n, struct matrix *out, void **space,
                    struct err *e) MUST_CHECK;

/* Weights drawn at random (seeded) at the scale of a trained model's: for measuring speed at real shapes. */
int model_random(struct model **out, const struct config *c, enum model_type type, uint64_t seed,
                 struct err *e) MUST_CHECK;

/* A model without weights, bytes of its block, and filling a block from a checkpoint (pack files do that). */
int model_new(struct model **out, const struct config *c, enum model_type type, struct err *e) MUST_CHECK;
/* Gives m a mapping, closed with it, that holds its block. */
void model_attach(struct model *m, void *map, size_t map_bytes, unsigned char *block);
size_t model_block_bytes(const struct config *c, enum model_type type); /* 0: overflow */
int model_fill(unsigned char *block, const struct config *config, enum model_type type,
               const struct checkpoint *c, struct progress *progress,
               struct err *e) MUST_CHECK; /* progress in bytes, or NULL */

#endif
