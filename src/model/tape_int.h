/* What the parts of the tape share. Buffers are [rows][width rounded up to 16], as in model/session.c.
 *
 * Of a layer is kept: its input, queries, keys and values as attention takes them, attention's output, the
 * stream between attention and feed-forward, gate and up before they are multiplied; where a norm follows
 * (queries and keys, Gemma's post norms), also what goes into it. Norms, gated products, LoRA's inner rows and
 * attention's weights are computed again in the backward. There gradients take the place of what they are
 * gradients of. */
#ifndef GYEOL_MODEL_TAPE_INT_H
#define GYEOL_MODEL_TAPE_INT_H

#include "base/rng.h"
#include "model/tape.h"

#define TAPE_DEPTH 16 /* runs that hang one on another */

/* A token: its run, its index there, its position, what it is. */
struct tape_token {
    size_t run, at, position;
    int32_t id; /* TAPE_DROPPED: read as nothing */
};

enum { TAPE_DROPPED = -1 };

struct tape_span {
    size_t chain[TAPE_DEPTH]; /* the runs it hangs on, root first, itself last */
    size_t depth;
    size_t first, n;    /* tokens of the pass */
    size_t start, cell; /* its first token's position; its place in its tree's arena, a multiple of 16 */
    uint64_t key;
};

struct tape_kept {
    float *q, *k, *v; /* after norm and rotation */
    float *q0, *k0;   /* before the norm; NULL: the model has none */
    float *o;         /* attention's output */
    float *a, *d;     /* what the post norms take; NULL: the model has none */
    float *x1;        /* the stream past attention */
    float *gate, *up; /* before they are multiplied */
};

struct tape {
    const struct model *model;
    struct parameters *p;
    struct tape_options o;
    size_t ld, ld_q, ld_kv, ld_ff, ld_v, ld_wide, ld_rank;
    size_t cells; /* of an arena: all runs' tokens, each run's rounded up to 16 */

    /* the pass */
    struct tape_token *token;  /* [T] */
    struct tape_token *pruned; /* [W] */
    size_t *wanted;            /* [W] tokens that targets need, ascending */
    struct tape_span *span;    /* [runs] */
    const struct target *target;
    size_t *target_row; /* [targets] index into wanted */
    double *target_loss;
    size_t T, W, spans, targets;
    uint64_t step;
    bool train;

    /* activations */
    float **x;               /* [layers] inputs [T][ld] */
    struct tape_kept *kept;  /* [layers], or one with checkpointing */
    float *out;              /* [W][ld] the last layer's */
    float *hidden, *dhidden; /* [W][ld] after the last norm */

    /* working space */
    float *norm, *dx, *dn; /* [T][ld] */
    float *wide;           /* [T][ld_ff] */
    float *some;           /* [W][ld] */
    float *drop;           /* [T][ld_wide]; NULL: no dropout */
    float *low, *dlow;     /* [T][ld_rank] */
    float *partial;        /* sums of norms' gradients, by chunks of rows */
    void *rows[2], *low_rows, *outer;
    float *attention; /* per thread */
    size_t attention_floats;
    float *logits; /* [chunk][ld_v] */
    float *spare;  /* per thread, a row of logits or of the head */
    size_t ld_spare;
    float *from, *onto; /* [chunk][ld]: rows of hidden and their gradients */
    size_t chunk;
    float *rope[2]; /* [positions][3][half]: cos, sin, -sin */
    void *space;
    size_t bytes;
};

static inline size_t round16(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

/* Kernels of the tape's model. */
static inline const struct kernels *tape_kernels(const struct tape *t)
{
    return t->model->kernels;
}

static inline struct tape_kept *tape_kept(const struct tape *t, size_t layer)
{
    return &t->kept[t->o.checkpointing ? 0 : layer];
}

/* Rows of a layer past attention. */
static inline size_t tape_rows(const struct tape *t, size_t layer)
{
    return layer + 1 == t->model->config.layers ? t->W : t->T;
}

static inline const struct tape_token *tape_tokens(const struct tape *t, size_t layer)
{
    return layer + 1 == t->model->config.layers ? t->pruned : t->token;
}

/* Random bits of two numbers: a mask is a function of where its element stands, so that it can be made again. */
static inline uint64_t tape_mix(uint64_t a, uint64_t b)
{
    struct rng r = {a ^ b * 0xD1342543DE82EF95u};
    return rng_next(&r);
}

/* One layer from x[layer] into `to` (x[layer + 1] or out). again: recomputed for the backward, which does not
 * need `to`. */
void tape_layer_forward(struct tape *t, size_t layer, float *to, bool again);

/* t->dx, the gradient of the layer's output [tape_rows][ld], becomes that of its input [T][ld]; not wanted of
 * the first layer unless the embedding trains. */
void tape_layer_backward(struct tape *t, size_t layer);

/* The gradient of a norm over n columns for T rows: dx +=, and dw += when dw is given. Sums over rows go by
 * chunks of TAPE_CHUNK rows, whatever the threads. */
#define TAPE_CHUNK 64
struct tape_norm {
    const float *w;
    float *dw;
    size_t n;
};
void tape_norm_backward(struct tape *t, const struct tape_norm *w, float *dx, const float *x, const float *dy,
                        size_t ld, size_t T);

/* Attention of one layer: o from q, k, v; and dq, dk, dv in place of q, k, v from dout, the gradient of o. */
void tape_attention_forward(struct tape *t, size_t layer);
void tape_attention_backward(struct tape *t, size_t layer, const float *dout);
size_t tape_attention_floats(const struct config *c, const struct tape_options *o, size_t cells);

/* The loss from t->out; when training also the gradient of t->out's norm in dhidden, and the head's. */
double tape_loss(struct tape *t);
#define TAPE_AMONG  8
#define TAPE_LOGITS 256 /* most rows of logits at once */

/* Gradient of a trained weight, or NULL. */
float *tape_grad(const struct tape *t, enum role r, size_t layer, enum parameter_part part);

#endif
