/* One layer forward and backward: the same steps as model/session.c, and their gradients. */
#include "model/tape_int.h"

#include <string.h>

static const enum activation_function function_of[] = {
    [ACT_SILU] = ACTIVATION_SILU, [ACT_GELU_TANH] = ACTIVATION_GELU_TANH, [ACT_GELU] = ACTIVATION_GELU};

/* --- rows */

static void norm_rows(const struct tape *t, float *out, const float *x, const float *w, size_t T)
{
    const struct config *c = &t->model->config;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < T; i++)
        tape_kernels(t)->rmsnorm(out + i * t->ld, x + i * t->ld, w, c->width, c->norm_eps);
}

/* The partial sums of chunk rows, chunks in order. */
static void add_partial(struct tape *t, float *dw, size_t n, size_t ld, size_t T)
{
    size_t chunks = (T + TAPE_CHUNK - 1) / TAPE_CHUNK;
    for (size_t i = 0; dw && i < chunks; i++)
        tape_kernels(t)->add(dw, t->partial + i * ld, n);
}

void tape_norm_backward(struct tape *t, const struct tape_norm *w, float *dx, const float *x, const float *dy,
                        size_t ld, size_t T)
{
    size_t chunks = (T + TAPE_CHUNK - 1) / TAPE_CHUNK;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < chunks; i++) {
        float *dw = w->dw ? t->partial + i * ld : NULL;
        if (dw)
            memset(dw, 0, w->n * sizeof *dw);
        for (size_t r = i * TAPE_CHUNK; r < T && r < (i + 1) * TAPE_CHUNK; r++)
            tape_kernels(t)->rmsnorm_backward(dx + r * ld, dw, x + r * ld, w->w, dy + r * ld, w->n,
                                              t->model->config.norm_eps);
    }
    add_partial(t, w->dw, w->n, ld, T);
}

/* y = x + y; `which` rows of x (NULL: all). */
static void add_stream(const struct tape *t, float *y, const float *x, const size_t *which, size_t T)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < T; i++)
        tape_kernels(t)->add(y + i * t->ld, x + (which ? which[i] : i) * t->ld, t->model->config.width);
}

static void copy_rows(float *to, const float *from, size_t ld, const size_t *which, size_t T)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < T; i++)
        memcpy(to + i * ld, from + (which ? which[i] : i) * ld, ld * sizeof *to);
}

/* --- dropout: a mask is a function of where its element stands, so that it can be made again */

struct dropping {
    const struct tape *tape;
    const struct tape_token *token;
    uint64_t seed;
    float scale;
    uint32_t below; /* an element falls when its 32 bits are */
};

static struct dropping dropping_of(const struct tape *t, size_t layer, enum role r,
                                   const struct tape_token *token)
{
    double p = t->p->dropout;
    uint64_t seed = tape_mix(tape_mix(t->o.seed, t->step), layer * ROLE_COUNT + (uint64_t)r);
    return (struct dropping){t, token, seed, (float)(1 / (1 - p)), (uint32_t)(p * 0x1p32)};
}

static void drop_row(const struct dropping *d, size_t i, float *out, const float *x, size_t n)
{
    const struct tape_token *at = &d->token[i];
    uint64_t seed = tape_mix(tape_mix(d->seed, d->tape->span[at->run].key), at->at);
    tape_kernels(d->tape)->dropout(out, x, n, seed, d->below, d->scale);
}

static bool drops(const struct tape *t)
{
    return t->train && t->p->adapter && t->p->dropout > 0;
}

/* --- products */

/* T rows of x, and them as the kernels multiply them. */
struct rows {
    const float *x;
    size_t ld, n;
    const struct tape_token *token;
    struct activation act;
};

static void prepare_in(const struct tape *t, struct activation *a, void *space, const float *x, size_t ld,
                       size_t n, size_t cols)
{
    activation_init(a, t->o.compute, n, cols, space);
    matmul_prepare(tape_kernels(t), a, x, ld);
}

static struct rows rows_of(const struct tape *t, const float *x, size_t ld, size_t n, size_t cols,
                           const struct tape_token *token)
{
    struct rows r = {.x = x, .ld = ld, .n = n, .token = token};
    prepare_in(t, &r.act, t->rows[0], x, ld, n, cols);
    return r;
}

static const struct lora *lora_of(const struct tape *t, size_t layer, enum role r)
{
    const struct adapter *a = t->p->adapter;
    const struct lora *l = a ? &a->lora[layer * LINEARS + (size_t)(r - ROLE_Q)] : NULL;
    return l && l->a.rows ? l : NULL;
}

/* What A multiplies: the rows, or what dropout leaves of them (in t->drop). */
static struct rows dropped(const struct tape *t, size_t layer, enum role r, const struct rows *x, size_t cols)
{
    struct rows out = *x;
    if (!drops(t))
        return out;
    struct dropping d = dropping_of(t, layer, r, x->token);
    out.x = t->drop;
    out.ld = t->ld_wide;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < x->n; i++)
        drop_row(&d, i, t->drop + i * t->ld_wide, x->x + i * x->ld, cols);
    prepare_in(t, &out.act, t->rows[1], out.x, out.ld, out.n, cols);
    return out;
}

static void add_lora(struct tape *t, size_t layer, enum role r, const struct rows *x, float *y, size_t ld)
{
    const struct lora *l = lora_of(t, layer, r);
    struct activation low;
    if (!l)
        return;
    struct rows in = dropped(t, layer, r, x, l->a.cols);
    matmul_run(tape_kernels(t), t->low, t->ld_rank, &l->a, &in.act);
    prepare_in(t, &low, t->low_rows, t->low, t->ld_rank, x->n, l->b.cols);
    matmul_add(tape_kernels(t), y, ld, &l->b, &low);
}

static void add_bias(float *y, size_t ld, const float *bias, size_t n, size_t T)
{
    for (size_t i = 0; bias && i < T; i++)
        for (size_t k = 0; k < n; k++)
            y[i * ld + k] += bias[k];
}

struct output {
    enum role role;
    float *y;
    size_t ld;
};

/* y = x W^T + b + lora, for n <= 3 projections of the same rows. */
static void project(struct tape *t, size_t layer, const struct rows *x, const struct output *out, size_t n)
{
    const struct layer *l = &t->model->layer[layer];
    struct product product[3] = {0};
    for (size_t i = 0; i < n; i++)
        product[i] = (struct product){out[i].y, out[i].ld, &l->w[out[i].role - ROLE_Q]};
    matmul_many(tape_kernels(t), product, n, &x->act);
    for (size_t i = 0; i < n; i++) {
        add_bias(out[i].y, out[i].ld, l->bias[out[i].role - ROLE_Q], product[i].w->rows, x->n);
        add_lora(t, layer, out[i].role, x, out[i].y, out[i].ld);
    }
}

/* --- forward */

/* Per-head norm and rotation of `heads` heads of T rows; x0: where they are kept as they were before the norm. */
static void turn(const struct tape *t, size_t layer, float *x, float *x0, size_t heads, size_t ld,
                 const float *norm, const struct tape_token *token, size_t T)
{
    const struct config *c = &t->model->config;
    const struct kernels *k = tape_kernels(t);
    size_t half = c->rope_width / 2, Dh = c->head_width;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < T; i++) {
        const float *rope = t->rope[c->sliding[layer] ? 1 : 0] + token[i].position * 3 * half;
        if (norm)
            memcpy(x0 + i * ld, x + i * ld, ld * sizeof *x);
        for (size_t h = 0; h < heads; h++) {
            float *head = x + i * ld + h * Dh;
            if (norm)
                k->rmsnorm(head, head, norm, Dh, c->norm_eps);
            k->rope(head, rope, rope + half, half);
        }
    }
}

static void attention_block(struct tape *t, size_t layer)
{
    const struct config *c = &t->model->config;
    const struct layer *l = &t->model->layer[layer];
    struct tape_kept *kept = tape_kept(t, layer);
    size_t R = tape_rows(t, layer);
    const struct tape_token *token = tape_tokens(t, layer);
    const size_t *which = token == t->pruned ? t->wanted : NULL;
    const struct output out[] = {
        {ROLE_K, kept->k, t->ld_kv}, {ROLE_V, kept->v, t->ld_kv}, {ROLE_Q, kept->q, t->ld_q}};
    norm_rows(t, t->norm, t->x[layer], l->norm[NORM_ATTENTION], t->T);
    struct rows x = rows_of(t, t->norm, t->ld, t->T, c->width, t->token);
    project(t, layer, &x, out, which ? 2 : 3);
    if (which) {
        copy_rows(t->some, t->norm, t->ld, which, R);
        x = rows_of(t, t->some, t->ld, R, c->width, token);
        project(t, layer, &x, &out[2], 1);
    }
    turn(t, layer, kept->k, kept->k0, c->kv_heads, t->ld_kv, l->norm[NORM_K], t->token, t->T);
    turn(t, layer, kept->q, kept->q0, c->heads, t->ld_q, l->norm[NORM_Q], token, R);
    tape_attention_forward(t, layer);
    x = rows_of(t, kept->o, t->ld_q, R, (size_t)c->heads * c->head_width, token);
    float *y = kept->a ? kept->a : kept->x1;
    project(t, layer, &x, &(struct output){ROLE_O, y, t->ld}, 1);
    if (kept->a)
        norm_rows(t, kept->x1, kept->a, l->norm[NORM_POST_ATTENTION], R);
    add_stream(t, kept->x1, t->x[layer], which, R);
}

static void gated_rows(const struct tape *t, float *h, const struct tape_kept *kept, size_t R)
{
    const struct config *c = &t->model->config;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < R; i++) {
        memcpy(h + i * t->ld_ff, kept->gate + i * t->ld_ff, c->ff_width * sizeof *h);
        tape_kernels(t)->gated(h + i * t->ld_ff, kept->up + i * t->ld_ff, c->ff_width,
                               function_of[c->activation]);
    }
}

static void feed_forward(struct tape *t, size_t layer, float *to, bool again)
{
    const struct config *c = &t->model->config;
    const struct layer *l = &t->model->layer[layer];
    struct tape_kept *kept = tape_kept(t, layer);
    size_t R = tape_rows(t, layer);
    const struct tape_token *token = tape_tokens(t, layer);
    const struct output out[] = {{ROLE_GATE, kept->gate, t->ld_ff}, {ROLE_UP, kept->up, t->ld_ff}};
    norm_rows(t, t->norm, kept->x1, l->norm[NORM_FF], R);
    struct rows x = rows_of(t, t->norm, t->ld, R, c->width, token);
    project(t, layer, &x, out, 2);
    if (again && !kept->d)
        return;
    gated_rows(t, t->wide, kept, R);
    x = rows_of(t, t->wide, t->ld_ff, R, c->ff_width, token);
    project(t, layer, &x, &(struct output){ROLE_DOWN, kept->d ? kept->d : to, t->ld}, 1);
    if (again)
        return;
    if (kept->d)
        norm_rows(t, to, kept->d, l->norm[NORM_POST_FF], R);
    add_stream(t, to, kept->x1, NULL, R);
}

void tape_layer_forward(struct tape *t, size_t layer, float *to, bool again)
{
    attention_block(t, layer);
    feed_forward(t, layer, to, again);
}

/* --- backward */

/* Sums over rows: a thread has columns of its own. */
static void bias_backward(float *db, const float *dy, size_t ld, size_t n, size_t T)
{
#pragma omp parallel for schedule(static)
    for (size_t b = 0; b < n; b += PANEL)
        for (size_t i = 0; i < T; i++)
            for (size_t k = b; k < n && k < b + PANEL; k++)
                db[k] += dy[i * ld + k];
}

/* Gradients of a pair; leaves the gradient of A's output, unscaled, in t->dlow. x may lie in t->drop. */
static void pair_backward(struct tape *t, size_t layer, enum role r, const struct lora *l,
                          const struct rows *x, const struct rows *dy)
{
    const struct kernels *k = tape_kernels(t);
    size_t rank = l->a.rows;
    struct rows in = dropped(t, layer, r, x, l->a.cols);
    if (in.x == x->x)
        prepare_in(t, &in.act, t->rows[1], x->x, x->ld, x->n, l->a.cols);
    matmul_run(k, t->low, t->ld_rank, &l->a, &in.act);
    matmul_outer(k, tape_grad(t, r, layer, PART_LORA_B), dy->x, dy->ld, l->b.rows, t->low, t->ld_rank, rank,
                 dy->n, t->o.compute, t->outer);
    matmul_transposed(k, t->dlow, t->ld_rank, &l->b, &dy->act, false);
    for (size_t i = 0; i < dy->n; i++)
        for (size_t j = 0; j < rank; j++)
            t->low[i * t->ld_rank + j] = t->dlow[i * t->ld_rank + j] * t->p->scale;
    matmul_outer(k, tape_grad(t, r, layer, PART_LORA_A), t->low, t->ld_rank, rank, in.x, in.ld, l->a.cols,
                 dy->n, t->o.compute, t->outer);
}

/* dx += what goes through the pair. */
static void pair_input(struct tape *t, size_t layer, enum role r, const struct lora *l, const struct rows *x,
                       float *dx, size_t ld)
{
    const struct kernels *k = tape_kernels(t);
    struct activation low;
    size_t n = l->a.cols;
    prepare_in(t, &low, t->low_rows, t->dlow, t->ld_rank, x->n, l->a.rows);
    if (!drops(t)) {
        matmul_transposed(k, dx, ld, &l->a, &low, true);
        return;
    }
    matmul_transposed(k, t->drop, t->ld_wide, &l->a, &low, false);
    struct dropping d = dropping_of(t, layer, r, x->token);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < x->n; i++) {
        float *row = t->drop + i * t->ld_wide;
        drop_row(&d, i, row, row, n);
        k->add(dx + i * ld, row, n);
    }
}

/* Of y = x W^T + b + lora: gradients of what trains, then dx, set or added to (NULL: not wanted). dx may be x. */
struct input {
    float *dx;
    size_t ld;
    bool accumulate;
};

static void linear_backward(struct tape *t, size_t layer, enum role r, const float *dy, size_t ld_dy,
                            const struct rows *x, const struct input *to)
{
    const struct matrix *w = &t->model->layer[layer].w[r - ROLE_Q];
    const struct lora *l = lora_of(t, layer, r);
    float *dw = tape_grad(t, r, layer, PART_WEIGHT);
    float *db = tape_grad(t, (enum role)(r - ROLE_Q + ROLE_Q_BIAS), layer, PART_WEIGHT);
    if (!l && !to->dx && !dw)
        return;
    struct rows g = rows_of(t, dy, ld_dy, x->n, w->rows, x->token);
    if (db)
        bias_backward(db, dy, ld_dy, w->rows, x->n);
    if (dw)
        matmul_outer(tape_kernels(t), dw, dy, ld_dy, w->rows, x->x, x->ld, w->cols, x->n, t->o.compute,
                     t->outer);
    if (l)
        pair_backward(t, layer, r, l, x, &g);
    if (to->dx)
        matmul_transposed(tape_kernels(t), to->dx, to->ld, w, &g.act, to->accumulate);
    if (to->dx && l)
        pair_input(t, layer, r, l, x, to->dx, to->ld);
}

static struct rows plain_rows(const float *x, size_t ld, size_t n, const struct tape_token *token)
{
    return (struct rows){.x = x, .ld = ld, .n = n, .token = token};
}

/* The gradient that goes into a block from dx behind it: through the post norm if there is one (into t->dn). */
static const float *through_post_norm(struct tape *t, size_t layer, enum role r, const float *w,
                                      const float *before, size_t R)
{
    if (!w)
        return t->dx;
    memset(t->dn, 0, R * t->ld * sizeof *t->dn);
    const struct tape_norm norm = {w, tape_grad(t, r, layer, PART_WEIGHT), t->model->config.width};
    tape_norm_backward(t, &norm, t->dn, before, t->dx, t->ld, R);
    return t->dn;
}

static void feed_forward_backward(struct tape *t, size_t layer)
{
    const struct config *c = &t->model->config;
    const struct layer *l = &t->model->layer[layer];
    struct tape_kept *kept = tape_kept(t, layer);
    size_t R = tape_rows(t, layer), ld = t->ld_ff;
    const struct tape_token *token = tape_tokens(t, layer);
    const float *dd = through_post_norm(t, layer, ROLE_POST_FF_NORM, l->norm[NORM_POST_FF], kept->d, R);
    if (!t->p->adapter || lora_of(t, layer, ROLE_DOWN))
        gated_rows(t, t->wide, kept, R);
    struct rows h = plain_rows(t->wide, ld, R, token);
    linear_backward(t, layer, ROLE_DOWN, dd, t->ld, &h, &(struct input){t->wide, ld, false});
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < R; i++)
        tape_kernels(t)->gated_backward(kept->gate + i * ld, kept->up + i * ld, t->wide + i * ld, c->ff_width,
                                        function_of[c->activation]);
    norm_rows(t, t->norm, kept->x1, l->norm[NORM_FF], R);
    struct rows n = plain_rows(t->norm, t->ld, R, token);
    linear_backward(t, layer, ROLE_GATE, kept->gate, ld, &n, &(struct input){t->dn, t->ld, false});
    linear_backward(t, layer, ROLE_UP, kept->up, ld, &n, &(struct input){t->dn, t->ld, true});
    const struct tape_norm norm = {l->norm[NORM_FF], tape_grad(t, ROLE_FF_NORM, layer, PART_WEIGHT),
                                   c->width};
    tape_norm_backward(t, &norm, t->dx, kept->x1, t->dn, t->ld, R);
}

/* One head's gradient back through rotation and norm; x0: the head before the norm. */
static void unturn_head(const struct tape *t, float *dx, const float *x0, const float *norm, float *dw,
                        const float *rope)
{
    const struct config *c = &t->model->config;
    size_t half = c->rope_width / 2, Dh = c->head_width;
    tape_kernels(t)->rope(dx, rope, rope + 2 * half, half);
    if (!norm)
        return;
    float before[CONFIG_HEAD_MAX];
    memset(before, 0, Dh * sizeof *before);
    tape_kernels(t)->rmsnorm_backward(before, dw, x0, norm, dx, Dh, c->norm_eps);
    memcpy(dx, before, Dh * sizeof *before);
}

static void unturn(struct tape *t, size_t layer, float *dx, const float *x0, size_t heads, size_t ld,
                   const struct tape_norm *norm, const struct tape_token *token, size_t T)
{
    const struct config *c = &t->model->config;
    size_t half = c->rope_width / 2, Dh = c->head_width, chunks = (T + TAPE_CHUNK - 1) / TAPE_CHUNK;
    size_t ld_dw = round16(Dh);
#pragma omp parallel for schedule(static)
    for (size_t n = 0; n < chunks; n++) {
        float *dw = norm->dw ? t->partial + n * ld_dw : NULL;
        if (dw)
            memset(dw, 0, Dh * sizeof *dw);
        for (size_t i = n * TAPE_CHUNK; i < T && i < (n + 1) * TAPE_CHUNK; i++) {
            const float *rope = t->rope[c->sliding[layer] ? 1 : 0] + token[i].position * 3 * half;
            for (size_t h = 0; h < heads; h++)
                unturn_head(t, dx + i * ld + h * Dh, x0 ? x0 + i * ld + h * Dh : NULL, norm->w, dw, rope);
        }
    }
    add_partial(t, norm->dw, Dh, ld_dw, T);
}

/* Rows of the last layer that targets need go back to their places among all tokens, zeros between. */
static void spread(float *x, size_t ld, const size_t *which, size_t W, size_t T)
{
    for (size_t t = T, i = W; t-- > 0;)
        if (i && which[i - 1] == t) {
            i--;
            if (i != t)
                memcpy(x + t * ld, x + i * ld, ld * sizeof *x);
        } else {
            memset(x + t * ld, 0, ld * sizeof *x);
        }
}

/* From dq, dk, dv to the gradient of the normed input, in t->dn. */
static void qkv_backward(struct tape *t, size_t layer, bool wanted)
{
    struct tape_kept *kept = tape_kept(t, layer);
    size_t R = tape_rows(t, layer);
    const struct tape_token *token = tape_tokens(t, layer);
    float *dn = wanted ? t->dn : NULL;
    struct rows n = plain_rows(t->norm, t->ld, t->T, t->token);
    linear_backward(t, layer, ROLE_K, kept->k, t->ld_kv, &n, &(struct input){dn, t->ld, false});
    linear_backward(t, layer, ROLE_V, kept->v, t->ld_kv, &n, &(struct input){dn, t->ld, true});
    if (token == t->token) {
        linear_backward(t, layer, ROLE_Q, kept->q, t->ld_q, &n, &(struct input){dn, t->ld, true});
        return;
    }
    copy_rows(t->some, t->norm, t->ld, t->wanted, R);
    n = plain_rows(t->some, t->ld, R, token);
    linear_backward(t, layer, ROLE_Q, kept->q, t->ld_q, &n,
                    &(struct input){wanted ? t->some : NULL, t->ld, false});
    for (size_t i = 0; wanted && i < R; i++)
        tape_kernels(t)->add(t->dn + t->wanted[i] * t->ld, t->some + i * t->ld, t->model->config.width);
}

static void attention_block_backward(struct tape *t, size_t layer)
{
    const struct config *c = &t->model->config;
    const struct layer *l = &t->model->layer[layer];
    struct tape_kept *kept = tape_kept(t, layer);
    size_t R = tape_rows(t, layer);
    const struct tape_token *token = tape_tokens(t, layer);
    const float *da =
        through_post_norm(t, layer, ROLE_POST_ATTENTION_NORM, l->norm[NORM_POST_ATTENTION], kept->a, R);
    struct rows o = plain_rows(kept->o, t->ld_q, R, token);
    linear_backward(t, layer, ROLE_O, da, t->ld, &o, &(struct input){kept->o, t->ld_q, false});
    tape_attention_backward(t, layer, kept->o);
    const struct tape_norm qn = {l->norm[NORM_Q], tape_grad(t, ROLE_Q_NORM, layer, PART_WEIGHT), 0};
    const struct tape_norm kn = {l->norm[NORM_K], tape_grad(t, ROLE_K_NORM, layer, PART_WEIGHT), 0};
    unturn(t, layer, kept->q, kept->q0, c->heads, t->ld_q, &qn, token, R);
    unturn(t, layer, kept->k, kept->k0, c->kv_heads, t->ld_kv, &kn, t->token, t->T);
    norm_rows(t, t->norm, t->x[layer], l->norm[NORM_ATTENTION], t->T);
    bool wanted = layer > 0 || !t->p->adapter;
    qkv_backward(t, layer, wanted);
    if (token == t->pruned)
        spread(t->dx, t->ld, t->wanted, R, t->T);
    const struct tape_norm norm = {l->norm[NORM_ATTENTION],
                                   tape_grad(t, ROLE_ATTENTION_NORM, layer, PART_WEIGHT), c->width};
    if (wanted)
        tape_norm_backward(t, &norm, t->dx, t->x[layer], t->dn, t->ld, t->T);
}

void tape_layer_backward(struct tape *t, size_t layer)
{
    feed_forward_backward(t, layer);
    attention_block_backward(t, layer);
}
