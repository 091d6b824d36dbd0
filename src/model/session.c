/* One pass through the decoder. Buffers are [T][width rounded up to 16] and live as long as the session;
 * every row (token) goes through the same operations in the same order whatever else is in the pass, so a
 * token's result does not depend on its company. */
#include "model/session.h"

#include "base/size.h"
#include "model/attention.h"
#include "model/rope.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* Models up to this width multiply every row twice under 8- and 4-bit weights: rounded to 8 bits, and what rounding left.
 * In a narrow model the rounding of activations is most of the error, and the second product costs next to nothing. */
enum { NARROW = 512 };

struct session {
    const struct model *model;
    bool twice;
    const struct adapter *adapter;
    struct session_options limit;
    int threads;
    size_t ld, ld_q, ld_kv, ld_ff;                     /* D, H Dh, Hk Dh, F rounded up to 16 */
    float *x, *norm, *q, *k, *v, *o, *gate, *up, *low; /* [T][ld of each] */
    float *spare;                                      /* [2][V]: one token's logits in two parts */
    void *activation;                                  /* prepared rows for the integer and bf16 kernels */
    float *scores;                                     /* per thread, see attention.h */
    float *rope[2];       /* [positions][2][half]: cos, sin; full and sliding layers */
    struct query *query;  /* [T] */
    struct query *pruned; /* [T] */
    void *space;
    size_t bytes, work;
};

static size_t round16(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

/* --- memory */

/* Called twice: first to add up, then, with the space there, to hand out. */
static void *take(unsigned char **at, size_t *total, size_t n, size_t size, bool *overflow)
{
    size_t bytes;
    void *p = *at;
    if (!size_mul(n, size, &bytes) || !size_add(bytes, 63, &bytes) ||
        !size_add(*total, bytes & ~(size_t)63, total))
        *overflow = true;
    else if (*at)
        *at += bytes & ~(size_t)63;
    return p;
}

/* Rows that T tokens take in the buffers: behind them what their rounding leaves. */
static size_t rows_of(const struct session *s, size_t T)
{
    return s->twice ? 2 * T : T;
}

static size_t widest_activation(const struct session *s)
{
    const struct config *c = &s->model->config;
    size_t widest = c->ff_width > c->width ? c->ff_width : c->width;
    size_t q = (size_t)c->heads * c->head_width;
    widest = q > widest ? q : widest;
    size_t most = 0;
    const enum dtype types[] = {DT_BF16, DT_Q8_0, DT_Q4_0};
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        size_t n = activation_bytes(types[i], rows_of(s, s->limit.tokens), widest);
        most = n > most ? n : most;
    }
    return most;
}

static size_t carve(struct session *s, unsigned char *at, bool *overflow)
{
    const struct config *c = &s->model->config;
    size_t T = rows_of(s, s->limit.tokens), n = 0, f = sizeof(float);
    s->x = take(&at, &n, T * s->ld, f, overflow);
    s->norm = take(&at, &n, T * s->ld, f, overflow);
    s->q = take(&at, &n, T * s->ld_q, f, overflow);
    s->k = take(&at, &n, T * s->ld_kv, f, overflow);
    s->v = take(&at, &n, T * s->ld_kv, f, overflow);
    s->o = take(&at, &n, T * (s->ld_q > s->ld ? s->ld_q : s->ld), f, overflow);
    s->gate = take(&at, &n, T * s->ld_ff, f, overflow);
    s->up = take(&at, &n, T * s->ld_ff, f, overflow);
    s->low = take(&at, &n, T * ADAPTER_RANK_MAX, f, overflow);
    s->activation = take(&at, &n, widest_activation(s), 1, overflow);
    s->scores = take(&at, &n, (size_t)s->threads * attention_scratch(s->limit.positions), f, overflow);
    for (int kind = 0; kind < 2; kind++)
        s->rope[kind] = take(&at, &n, s->limit.positions * c->rope_width, f, overflow);
    s->spare = take(&at, &n, s->twice ? 2 * round16(s->model->head.rows) : 0, f, overflow);
    s->query = take(&at, &n, T, sizeof *s->query, overflow);
    s->pruned = take(&at, &n, T, sizeof *s->pruned, overflow);
    return n;
}

int session_new(struct session **out, const struct model *m, const struct session_options *o, struct err *e)
{
    const struct config *c = &m->config;
    struct session *s = calloc(1, sizeof *s);
    bool overflow = false;
    *out = NULL;
    if (!s)
        return err_set(e, ERR_MEMORY, "out of memory for a session");
    s->model = m;
    s->limit = *o;
    s->twice = c->width <= NARROW && (m->type == MODEL_Q8_0 || m->type == MODEL_Q4_0);
    s->threads = o->threads > 0 ? o->threads : omp_get_max_threads();
    s->ld = round16(c->width);
    s->ld_q = round16((size_t)c->heads * c->head_width);
    s->ld_kv = round16((size_t)c->kv_heads * c->head_width);
    s->ld_ff = round16(c->ff_width);
    s->bytes = carve(s, NULL, &overflow);
    s->space = overflow ? NULL : aligned_alloc(64, s->bytes);
    if (!s->space) {
        free(s);
        return err_set(e, ERR_MEMORY, "out of memory for passes of %zu tokens", o->tokens);
    }
    memset(s->space, 0, s->bytes);
    carve(s, s->space, &overflow);
    for (int kind = 0; kind < 2; kind++)
        rope_fill(s->rope[kind], c->rope_width, m, kind, s->limit.positions);
    *out = s;
    return 0;
}

void session_free(struct session *s)
{
    if (!s)
        return;
    free(s->space);
    free(s);
}

const struct model *session_model(const struct session *s)
{
    return s->model;
}

size_t session_tokens(const struct session *s)
{
    return s->limit.tokens;
}

size_t session_bytes(const struct session *s)
{
    return s->bytes;
}

size_t session_work(const struct session *s)
{
    return s->work;
}

void session_set_adapter(struct session *s, const struct adapter *a)
{
    s->adapter = a;
}

/* --- the steps of a layer, each over T rows */

static void norm_rows(struct session *s, float *out, const float *x, size_t ld, const float *w, size_t T)
{
    const struct config *c = &s->model->config;
#pragma omp parallel for schedule(static) num_threads(s->threads) if (T > 3)
    for (size_t t = 0; t < T; t++)
        s->model->kernels->rmsnorm(out + t * ld, x + t * ld, w, c->width, c->norm_eps);
}

static void add_bias(float *y, size_t ld, const float *bias, size_t n, size_t T)
{
    for (size_t t = 0; bias && t < T; t++)
        for (size_t i = 0; i < n; i++)
            y[t * ld + i] += bias[i];
}

/* What rounding to `a` left of T rows of x, into the T rows behind them. */
static void leave_rest(const struct activation *a, float *x, size_t ld, size_t T)
{
    size_t padded = (a->cols + ACT_BLOCK - 1) / ACT_BLOCK * ACT_BLOCK, blocks = padded / ACT_BLOCK;
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < a->cols; i++)
            x[(T + t) * ld + i] =
                x[t * ld + i] - (float)a->q[t * padded + i] * a->scale[t * blocks + i / ACT_BLOCK];
}

/* The rows' type: under NF4 nothing but the weights is rounded. */
static enum dtype row_type(const struct session *s, enum dtype weights)
{
    return s->model->type == MODEL_NF4 ? DT_F32 : weights;
}

/* Rows of one of the session's buffers, ready for the layer's weights; all of one layer's projections have one type. */
static void prepare(struct session *s, struct activation *a, enum dtype type, float *x, size_t ld, size_t T,
                    size_t cols)
{
    activation_init(a, row_type(s, type), T, cols, s->activation);
    matmul_prepare(s->model->kernels, a, x, ld);
    if (!s->twice)
        return;
    leave_rest(a, x, ld, T);
    activation_init(a, type, 2 * T, cols, s->activation);
    matmul_prepare(s->model->kernels, a, x, ld);
}

/* Adds the rests' products to the rows'. */
static void join_rest(const struct session *s, float *y, size_t ld, size_t n, size_t T)
{
    for (size_t t = 0; s->twice && t < T; t++)
        s->model->kernels->add(y + t * ld, y + (T + t) * ld, n);
}

/* One projection of a layer and where its rows go. */
struct projection {
    enum role role;
    float *y;
    size_t ld;
};

static void add_lora(struct session *s, const struct lora *lora, const struct projection *p, const float *x,
                     size_t ld_x, size_t T)
{
    const struct kernels *k = s->model->kernels;
    struct activation in, low;
    activation_init(&in, DT_F32, T, lora->a.cols, NULL);
    matmul_prepare(k, &in, x, ld_x);
    matmul_run(k, s->low, ADAPTER_RANK_MAX, &lora->a, &in);
    activation_init(&low, DT_F32, T, lora->b.cols, NULL);
    matmul_prepare(k, &low, s->low, ADAPTER_RANK_MAX);
    matmul_add(k, p->y, p->ld, &lora->b, &low);
}

/* y = x W^T + b + lora for n <= 3 projections of the same T rows; x, ld_x: what `a` was prepared from. */
static void project(struct session *s, size_t layer, const struct projection *p, size_t n,
                    const struct activation *a, const float *x, size_t ld_x)
{
    const struct layer *l = &s->model->layer[layer];
    struct product product[3] = {0};
    for (size_t i = 0; i < n; i++)
        product[i] = (struct product){p[i].y, p[i].ld, &l->w[p[i].role - ROLE_Q]};
    matmul_many(s->model->kernels, product, n, a);
    size_t T = s->twice ? a->rows / 2 : a->rows;
    for (size_t i = 0; i < n; i++) {
        join_rest(s, p[i].y, p[i].ld, product[i].w->rows, T);
        size_t which = (size_t)(p[i].role - ROLE_Q);
        const struct lora *lora = s->adapter ? &s->adapter->lora[layer * LINEARS + which] : NULL;
        add_bias(p[i].y, p[i].ld, l->bias[which], l->w[which].rows, T);
        if (lora && lora->a.rows)
            add_lora(s, lora, &p[i], x, ld_x, T);
    }
}

/* Per-head norm and rotation of one token's `heads` heads. */
static void turn_heads(const struct session *s, float *x, size_t heads, const float *norm, const float *rope)
{
    const struct config *c = &s->model->config;
    const struct kernels *k = s->model->kernels;
    size_t half = c->rope_width / 2;
    for (size_t h = 0; h < heads; h++) {
        float *head = x + h * c->head_width;
        if (norm)
            k->rmsnorm(head, head, norm, c->head_width, c->norm_eps);
        k->rope(head, rope, rope + half, half);
    }
}

static const float *rope_row(const struct session *s, size_t layer, size_t position)
{
    const struct config *c = &s->model->config;
    return s->rope[c->sliding[layer] ? 1 : 0] + position * c->rope_width;
}

static void store_keys(struct session *s, size_t layer, const struct query *query, size_t T)
{
    const struct config *c = &s->model->config;
    const struct layer *l = &s->model->layer[layer];
#pragma omp parallel for schedule(static) num_threads(s->threads) if (T > 3)
    for (size_t t = 0; t < T; t++) {
        const struct query *at = &query[t];
        float *k = s->k + t * s->ld_kv, *v = s->v + t * s->ld_kv;
        turn_heads(s, k, c->kv_heads, l->norm[NORM_K], rope_row(s, layer, at->position));
        for (size_t h = 0; h < c->kv_heads; h++)
            kv_put(at->kv, layer, h, c->head_width, at->position - at->kv->start, k + h * c->head_width,
                   v + h * c->head_width);
    }
}

static void turn_queries(struct session *s, size_t layer, const struct query *query, size_t T)
{
    const struct config *c = &s->model->config;
    const float *norm = s->model->layer[layer].norm[NORM_Q];
#pragma omp parallel for schedule(static) num_threads(s->threads) if (T > 3)
    for (size_t t = 0; t < T; t++)
        turn_heads(s, s->q + t * s->ld_q, c->heads, norm, rope_row(s, layer, query[t].position));
}

static void residual(struct session *s, const float *y, size_t ld, const float *post_norm, size_t T)
{
    const struct config *c = &s->model->config;
    const struct kernels *k = s->model->kernels;
#pragma omp parallel for schedule(static) num_threads(s->threads) if (T > 3)
    for (size_t t = 0; t < T; t++) {
        float *row = (float *)y + t * ld;
        if (post_norm)
            k->rmsnorm(row, row, post_norm, c->width, c->norm_eps);
        k->add(s->x + t * s->ld, row, c->width);
    }
}

static void gated_rows(struct session *s, size_t T)
{
    const struct config *c = &s->model->config;
    static const enum activation_function f[] = {
        [ACT_SILU] = ACTIVATION_SILU, [ACT_GELU_TANH] = ACTIVATION_GELU_TANH, [ACT_GELU] = ACTIVATION_GELU};
#pragma omp parallel for schedule(static) num_threads(s->threads) if (T > 1)
    for (size_t t = 0; t < T; t++)
        s->model->kernels->gated(s->gate + t * s->ld_ff, s->up + t * s->ld_ff, c->ff_width, f[c->activation]);
}

static void keep_rows(float *x, size_t ld, const size_t *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (rows[i] != i)
            memmove(x + i * ld, x + rows[i] * ld, ld * sizeof *x);
}

/* Attention of one layer: keys and values of all T tokens; past them only the `wanted` rows go on (NULL:
 * all). Returns how many rows go on. */
static size_t attention_block(struct session *s, size_t layer, size_t T, const struct outputs *out, bool last)
{
    const struct config *c = &s->model->config;
    const struct layer *l = &s->model->layer[layer];
    struct activation a;
    const struct query *query = s->query;
    norm_rows(s, s->norm, s->x, s->ld, l->norm[NORM_ATTENTION], T);
    prepare(s, &a, l->w[0].type, s->norm, s->ld, T, c->width);
    const struct projection p[] = {
        {ROLE_K, s->k, s->ld_kv}, {ROLE_V, s->v, s->ld_kv}, {ROLE_Q, s->q, s->ld_q}};
    project(s, layer, p, last ? 2 : 3, &a, s->norm, s->ld);
    store_keys(s, layer, s->query, T);
    if (last) {
        T = out->wanted_n;
        keep_rows(s->x, s->ld, out->wanted, T);
        keep_rows(s->norm, s->ld, out->wanted, T);
        for (size_t i = 0; i < T; i++)
            s->pruned[i] = s->query[out->wanted[i]];
        query = s->pruned;
        if (!T)
            return 0;
        prepare(s, &a, l->w[0].type, s->norm, s->ld, T, c->width);
        project(s, layer, &p[2], 1, &a, s->norm, s->ld);
    }
    turn_queries(s, layer, query, T);
    struct attention at = {.config = c,
                           .kernels = s->model->kernels,
                           .layer = layer,
                           .query = query,
                           .T = T,
                           .q = s->q,
                           .ld = s->ld_q,
                           .out = s->o,
                           .scratch = s->scores,
                           .scratch_floats = attention_scratch(s->limit.positions),
                           .threads = s->threads};
    attention_run(&at);
    prepare(s, &a, l->w[ROLE_O - ROLE_Q].type, s->o, s->ld_q, T, (size_t)c->heads * c->head_width);
    project(s, layer, &(struct projection){ROLE_O, s->norm, s->ld}, 1, &a, s->o, s->ld_q);
    residual(s, s->norm, s->ld, l->norm[NORM_POST_ATTENTION], T);
    return T;
}

static void feed_forward(struct session *s, size_t layer, size_t T)
{
    const struct config *c = &s->model->config;
    const struct layer *l = &s->model->layer[layer];
    struct activation a;
    norm_rows(s, s->norm, s->x, s->ld, l->norm[NORM_FF], T);
    prepare(s, &a, l->w[ROLE_GATE - ROLE_Q].type, s->norm, s->ld, T, c->width);
    const struct projection p[] = {{ROLE_GATE, s->gate, s->ld_ff}, {ROLE_UP, s->up, s->ld_ff}};
    project(s, layer, p, 2, &a, s->norm, s->ld);
    gated_rows(s, T);
    prepare(s, &a, l->w[ROLE_DOWN - ROLE_Q].type, s->gate, s->ld_ff, T, c->ff_width);
    project(s, layer, &(struct projection){ROLE_DOWN, s->norm, s->ld}, 1, &a, s->gate, s->ld_ff);
    residual(s, s->norm, s->ld, l->norm[NORM_POST_FF], T);
}

/* --- a pass */

static void embed(struct session *s, const struct run *runs, size_t n)
{
    const struct config *c = &s->model->config;
    size_t t = 0;
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < runs[r].n; i++, t++) {
            float *x = s->x + t * s->ld;
            matrix_row(x, &s->model->embedding, (size_t)runs[r].ids[i]);
            for (size_t d = 0; c->embedding_scale != 1 && d < c->width; d++)
                x[d] *= c->embedding_scale;
            s->query[t] = (struct query){runs[r].kv, runs[r].kv->start + runs[r].kv->n + i,
                                         runs[r].hide_begin, runs[r].hide_end};
        }
}

/* A child of a run of the same pass begins where that run will end. */
static int check_runs(struct session *s, const struct run *runs, size_t n, size_t *T, struct err *e)
{
    *T = 0;
    for (size_t r = 0; r < n; r++) {
        const struct kv *kv = runs[r].kv;
        size_t end = kv->start + kv->n + runs[r].n;
        *T += runs[r].n;
        if (*T > s->limit.tokens)
            return err_set(e, ERR_LIMIT, "more than %zu tokens in one pass", s->limit.tokens);
        if (end > s->limit.positions || kv->n + runs[r].n > kv->capacity)
            return err_set(e, ERR_LIMIT, "%zu positions, want at most %zu", end,
                           end > s->limit.positions ? s->limit.positions : kv->start + kv->capacity);
        for (size_t i = 0; i < runs[r].n; i++)
            if (runs[r].ids[i] < 0 || (uint32_t)runs[r].ids[i] >= s->model->config.vocabulary)
                return err_set(e, ERR_FORMAT, "token id %d, want 0..%u", runs[r].ids[i],
                               s->model->config.vocabulary - 1);
    }
    return 0;
}

/* Counts the new cells in, so that children of this pass find their place. */
static void extend(const struct run *runs, size_t n)
{
    for (size_t r = 0; r < n; r++)
        runs[r].kv->n += runs[r].n;
}

static void place_children(const struct run *runs, size_t n)
{
    for (size_t r = 0; r < n; r++) {
        struct kv *kv = runs[r].kv;
        if (kv->parent && !kv->n)
            kv->start = kv->parent->start + kv->parent->n;
        for (size_t p = 0; p < r; p++)
            if (runs[p].kv == kv->parent && !kv->n)
                kv->start += runs[p].n;
    }
}

int session_forward(struct session *s, const struct run *runs, size_t n, const struct outputs *out,
                    struct err *e)
{
    const struct config *c = &s->model->config;
    size_t T;
    omp_set_num_threads(s->threads);
    place_children(runs, n);
    int rc = check_runs(s, runs, n, &T, e);
    if (rc)
        return rc;
    s->work += T;
    embed(s, runs, n);
    extend(runs, n);
    for (size_t layer = 0; layer < c->layers; layer++) {
        bool last = layer + 1 == c->layers && !out->trace;
        size_t rows = attention_block(s, layer, T, out, last);
        if (!rows)
            return 0;
        feed_forward(s, layer, rows);
        for (size_t t = 0; out->trace && t < T; t++)
            memcpy(out->trace + (layer * T + t) * c->width, s->x + t * s->ld, c->width * sizeof(float));
    }
    if (out->trace)
        keep_rows(s->x, s->ld, out->wanted, out->wanted_n);
    for (size_t i = 0; i < out->wanted_n; i++)
        s->model->kernels->rmsnorm(out->hidden + i * c->width, s->x + i * s->ld, s->model->norm, c->width,
                                   c->norm_eps);
    return 0;
}

/* One token at a time, for the caller's rows have no room for rests. */
static void logits_twice(struct session *s, const struct matrix *head, size_t n, float *out, size_t ld)
{
    const struct config *c = &s->model->config;
    size_t ld_v = round16(head->rows);
    for (size_t i = 0; i < n; i++) {
        struct activation a;
        memcpy(s->o, s->norm + i * s->ld, s->ld * sizeof *s->o);
        prepare(s, &a, head->type, s->o, s->ld, 1, c->width);
        matmul_run(s->model->kernels, s->spare, ld_v, head, &a);
        join_rest(s, s->spare, ld_v, head->rows, 1);
        memcpy(out + i * ld, s->spare, head->rows * sizeof *out);
    }
}

void session_logits(struct session *s, const struct matrix *head, const float *hidden, size_t n, float *out,
                    size_t ld)
{
    const struct config *c = &s->model->config;
    struct activation a;
    omp_set_num_threads(s->threads);
    for (size_t i = 0; i < n; i++)
        memcpy(s->norm + i * s->ld, hidden + i * c->width, c->width * sizeof *hidden);
    if (s->twice) {
        logits_twice(s, head, n, out, ld);
    } else {
        prepare(s, &a, head->type, s->norm, s->ld, n, c->width);
        matmul_run(s->model->kernels, out, ld, head, &a);
    }
    for (size_t i = 0; c->logit_softcap != 0 && i < n; i++)
        s->model->kernels->softcap(out + i * ld, head->rows, c->logit_softcap);
}
