/* Memory of the tape, and the pass: what is checked, embedded, and put through the layers. */
#include "model/tape_int.h"

#include "base/size.h"
#include "model/rope.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { LOGITS = 4 << 20, CHUNK_MIN = 16 }; /* floats of logits at once; rows of them */

/* --- memory */

struct carve {
    unsigned char *at;
    size_t total;
    bool overflow;
};

/* Called twice: first to add up, then, with the space there, to hand out. */
static void *take(struct carve *c, size_t rows, size_t columns, size_t size)
{
    size_t n = 0, bytes = 0;
    void *p = c->at;
    if (!size_mul(rows, columns, &n) || !size_mul(n, size, &bytes) || !size_add(bytes, 63, &bytes) ||
        !size_add(c->total, bytes & ~(size_t)63, &c->total))
        c->overflow = true;
    else if (c->at)
        c->at += bytes & ~(size_t)63;
    return p;
}

static float *floats(struct carve *c, size_t rows, size_t columns)
{
    return take(c, rows, columns, sizeof(float));
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t rank_of(const struct parameters *p)
{
    return p->adapter ? p->adapter->rank_max : 0;
}

static bool trains_all(const struct parameters *p)
{
    return !p->adapter;
}

static size_t rows_bytes(const struct tape *t, size_t rows, size_t columns)
{
    return larger(activation_bytes(t->o.compute, rows, columns), 64);
}

/* Of the largest gradient of a weight: T rows of so many outputs and inputs. */
static size_t outer_bytes(const struct tape *t, const struct config *c)
{
    size_t T = larger(t->o.tokens, t->chunk), D = c->width, F = c->ff_width,
           q = (size_t)c->heads * c->head_width;
    size_t r = rank_of(t->p), most = 0;
    const size_t shapes[][2] = {{q, D}, {D, q}, {F, D}, {D, F}, {c->vocabulary, D}};
    const size_t pairs[][2] = {{r, D}, {r, q}, {r, F}, {D, r}, {q, r}, {F, r}};
    if (trains_all(t->p))
        for (size_t i = 0; i < COUNT_OF(shapes); i++)
            most = larger(most, matmul_outer_bytes(shapes[i][0], shapes[i][1], T, t->o.compute));
    else
        for (size_t i = 0; i < COUNT_OF(pairs); i++)
            most = larger(most, matmul_outer_bytes(pairs[i][0], pairs[i][1], T, t->o.compute));
    return most;
}

static void carve_kept(const struct tape *t, const struct config *c, struct tape_kept *k, size_t W,
                       struct carve *at)
{
    size_t T = t->o.tokens;
    k->q = floats(at, W, t->ld_q);
    k->k = floats(at, T, t->ld_kv);
    k->v = floats(at, T, t->ld_kv);
    if (c->qk_norm) {
        k->q0 = floats(at, W, t->ld_q);
        k->k0 = floats(at, T, t->ld_kv);
    }
    k->o = floats(at, W, t->ld_q);
    k->x1 = floats(at, W, t->ld);
    if (c->post_norms) {
        k->a = floats(at, W, t->ld);
        k->d = floats(at, W, t->ld);
    }
    k->gate = floats(at, W, t->ld_ff);
    k->up = floats(at, W, t->ld_ff);
}

/* Kept for all layers, in tables that are carved first. */
static void carve_layers(struct tape *t, const struct config *c, struct carve *at)
{
    size_t T = t->o.tokens, W = t->o.targets < T ? t->o.targets : T;
    size_t kept = t->o.checkpointing ? 1 : c->layers;
    struct tape_kept sized;
    t->x = take(at, c->layers, 1, sizeof *t->x);
    t->kept = take(at, kept, 1, sizeof *t->kept);
    for (size_t l = 0; l < c->layers; l++) {
        float *x = floats(at, T, t->ld);
        if (at->at)
            t->x[l] = x;
    }
    for (size_t l = 0; l < kept; l++)
        carve_kept(t, c, at->at ? &t->kept[l] : &sized, l + 1 == c->layers ? W : T, at);
}

static void carve_pass(struct tape *t, struct carve *at)
{
    size_t T = t->o.tokens, W = t->o.targets < T ? t->o.targets : T;
    t->token = take(at, T, 1, sizeof *t->token);
    t->pruned = take(at, W, 1, sizeof *t->pruned);
    t->wanted = take(at, W, 1, sizeof *t->wanted);
    t->span = take(at, t->o.runs, 1, sizeof *t->span);
    t->target_row = take(at, t->o.targets, 1, sizeof *t->target_row);
    t->target_loss = take(at, t->o.targets, 1, sizeof *t->target_loss);
    t->out = floats(at, W, t->ld);
    t->hidden = floats(at, W, t->ld);
    t->dhidden = floats(at, W, t->ld);
    t->some = floats(at, W, t->ld);
}

static void carve_work(struct tape *t, const struct config *c, struct carve *at)
{
    size_t T = t->o.tokens, threads = (size_t)t->o.threads;
    t->norm = floats(at, T, t->ld);
    t->dx = floats(at, T, t->ld);
    t->dn = floats(at, T, t->ld);
    t->wide = floats(at, T, t->ld_ff);
    t->low = floats(at, T, t->ld_rank);
    t->dlow = floats(at, T, t->ld_rank);
    t->drop = t->p->dropout > 0 ? floats(at, T, t->ld_wide) : NULL;
    t->partial = floats(at, T / TAPE_CHUNK + 1, larger(t->ld, round16(c->head_width)));
    t->rows[0] = take(at, larger(rows_bytes(t, T, t->ld_wide), rows_bytes(t, t->chunk, t->ld_v)), 1, 1);
    t->rows[1] = take(at, rows_bytes(t, T, t->ld_wide), 1, 1);
    t->low_rows = take(at, rows_bytes(t, T, t->ld_rank), 1, 1);
    t->outer = take(at, outer_bytes(t, c), 1, 1);
    t->attention = floats(at, threads, t->attention_floats);
    t->logits = floats(at, t->chunk, t->ld_v);
    t->from = floats(at, t->chunk, t->ld);
    t->onto = floats(at, t->chunk, t->ld);
    t->ld_spare = c->logit_softcap > 0 ? larger(t->ld_v, t->ld) : t->ld;
    t->spare = floats(at, threads, t->ld_spare);
    for (int kind = 0; kind < 2; kind++)
        t->rope[kind] = floats(at, t->o.positions, 3 * (size_t)c->rope_width / 2);
}

/* Widths, and every buffer's place from `space` on (NULL: sizes alone). */
static size_t lay_out(struct tape *t, const struct config *c, unsigned char *space)
{
    struct carve at = {.at = space};
    t->ld = round16(c->width);
    t->ld_q = round16((size_t)c->heads * c->head_width);
    t->ld_kv = round16((size_t)c->kv_heads * c->head_width);
    t->ld_ff = round16(c->ff_width);
    t->ld_v = round16(c->vocabulary);
    t->ld_rank = round16(rank_of(t->p));
    t->ld_wide = larger(larger(t->ld, t->ld_ff), larger(t->ld_q, t->ld_kv));
    size_t cells;
    if (t->o.runs > SIZE_MAX / 64 || !size_add(round16(t->o.tokens), 16 * t->o.runs, &cells))
        return SIZE_MAX;
    t->cells = cells;
    t->chunk = LOGITS / t->ld_v;
    t->chunk = t->chunk < CHUNK_MIN ? CHUNK_MIN : t->chunk > TAPE_LOGITS ? TAPE_LOGITS : t->chunk;
    t->chunk = t->o.targets < t->chunk ? t->o.targets : t->chunk;
    t->attention_floats = tape_attention_floats(c, &t->o, t->cells);
    carve_pass(t, &at);
    carve_layers(t, c, &at);
    carve_work(t, c, &at);
    return at.overflow || t->attention_floats == SIZE_MAX ? SIZE_MAX : at.total;
}

static void set_options(struct tape *t, struct parameters *p, const struct tape_options *o)
{
    *t = (struct tape){.p = p, .o = *o};
    t->o.threads = o->threads > 0 ? o->threads : omp_get_max_threads();
}

size_t tape_bytes(const struct config *c, const struct parameters *p, const struct tape_options *o)
{
    struct tape t;
    set_options(&t, (struct parameters *)p, o);
    return lay_out(&t, c, NULL);
}

static void fill_rope(const struct tape *t, int kind)
{
    size_t half = t->model->config.rope_width / 2;
    rope_fill(t->rope[kind], 3 * half, t->model, kind, t->o.positions);
    for (size_t p = 0; p < t->o.positions; p++)
        for (size_t i = 0; i < half; i++)
            t->rope[kind][(3 * p + 2) * half + i] = -t->rope[kind][(3 * p + 1) * half + i];
}

int tape_new(struct tape **out, const struct model *m, struct parameters *p, const struct tape_options *o,
             struct err *e)
{
    struct tape *t = malloc(sizeof *t);
    *out = NULL;
    if (!t)
        return err_set(e, ERR_MEMORY, "out of memory for training");
    if ((o->compute != DT_F32 && o->compute != DT_BF16) || !o->tokens || !o->positions || !o->runs ||
        !o->targets) {
        free(t);
        return err_set(e, ERR_USAGE, "a pass of nothing, or computed in neither f32 nor bf16");
    }
    set_options(t, p, o);
    t->model = m;
    t->bytes = lay_out(t, &m->config, NULL);
    t->space = t->bytes >= SIZE_MAX / 2 ? NULL : aligned_alloc(64, t->bytes);
    if (!t->space) {
        free(t);
        return err_set(e, ERR_MEMORY, "out of memory for training passes of %zu tokens", o->tokens);
    }
    memset(t->space, 0, t->bytes);
    lay_out(t, &m->config, t->space);
    fill_rope(t, 0);
    fill_rope(t, 1);
    *out = t;
    return 0;
}

void tape_free(struct tape *t)
{
    if (!t)
        return;
    free(t->space);
    free(t);
}

float *tape_grad(const struct tape *t, enum role r, size_t layer, enum parameter_part part)
{
    const struct parameter *x = parameters_find(t->p, r, (uint32_t)layer, part);
    return x ? x->grad : NULL;
}

/* --- what a pass may be */

static int place_run(struct tape *t, const struct tape_run *runs, size_t r, struct err *e)
{
    struct tape_span *s = &t->span[r];
    const struct tape_run *run = &runs[r];
    size_t depth = 0, start = 0;
    if (run->parent >= 0 && (size_t)run->parent >= r)
        return err_set(e, ERR_USAGE, "run %zu follows run %d, which is not before it", r, run->parent);
    if (run->parent >= 0) {
        const struct tape_span *p = &t->span[run->parent];
        depth = p->depth;
        start = p->start + p->n;
        memcpy(s->chain, p->chain, depth * sizeof *s->chain);
    }
    if (depth == TAPE_DEPTH)
        return err_set(e, ERR_LIMIT, "more than %d runs hang one on another", TAPE_DEPTH);
    s->chain[depth] = r;
    s->depth = depth + 1;
    s->start = start;
    s->first = t->T;
    s->n = run->n;
    s->key = run->key;
    if (run->n > t->o.tokens - t->T)
        return err_set(e, ERR_LIMIT, "more than %zu tokens in one pass", t->o.tokens);
    if (run->n > t->o.positions || start > t->o.positions - run->n)
        return err_set(e, ERR_LIMIT, "%zu positions, want at most %zu", start + run->n, t->o.positions);
    t->T += run->n;
    return 0;
}

/* Runs of one tree share an arena; each begins at a multiple of 16 cells. */
static void place_cells(struct tape *t)
{
    for (size_t r = 0; r < t->spans; r++) {
        struct tape_span *s = &t->span[r];
        s->cell = 0;
        for (size_t p = r; s->depth > 1 && p-- > 0;)
            if (t->span[p].chain[0] == s->chain[0]) {
                s->cell = t->span[p].cell + round16(t->span[p].n);
                break;
            }
    }
}

static int check_target(const struct tape *t, const struct target *x, size_t i, struct err *e)
{
    uint32_t V = t->model->config.vocabulary;
    bool found = x->among_n == 0;
    if (x[0].token >= t->T || (i && x[0].token < x[-1].token))
        return err_set(e, ERR_USAGE, "target %zu at token %zu of %zu, want them in order", i, x->token, t->T);
    if (x->among_n > TAPE_AMONG)
        return err_set(e, ERR_LIMIT, "a target among %zu tokens, want at most %d", x->among_n, TAPE_AMONG);
    for (size_t k = 0; k < x->among_n; k++) {
        if (x->among[k] < 0 || (uint32_t)x->among[k] >= V)
            return err_set(e, ERR_FORMAT, "token id %d, want 0..%u", x->among[k], V - 1);
        found = found || x->among[k] == x->id;
    }
    if (x->id < 0 || (uint32_t)x->id >= V)
        return err_set(e, ERR_FORMAT, "token id %d, want 0..%u", x->id, V - 1);
    return found ? 0 : err_set(e, ERR_USAGE, "target %zu: token %d is not among its choices", i, x->id);
}

static int check_targets(struct tape *t, const struct target *targets, size_t n, struct err *e)
{
    if (n > t->o.targets)
        return err_set(e, ERR_LIMIT, "%zu targets in one pass, want at most %zu", n, t->o.targets);
    t->W = 0;
    for (size_t i = 0; i < n; i++) {
        int rc = check_target(t, &targets[i], i, e);
        if (rc)
            return rc;
        if (!i || targets[i].token != targets[i - 1].token) {
            t->wanted[t->W] = targets[i].token;
            t->pruned[t->W++] = t->token[targets[i].token];
        }
        t->target_row[i] = t->W - 1;
    }
    t->target = targets;
    t->targets = n;
    return 0;
}

/* Words that this step does not read. */
static void drop_words(struct tape *t, size_t r, float share)
{
    const struct tape_span *s = &t->span[r];
    uint64_t seed = tape_mix(tape_mix(tape_mix(t->o.seed, t->step), ROLE_EMBEDDING), s->key);
    for (size_t i = 0; i < s->n; i++)
        if ((double)(tape_mix(seed, i) >> 11) * 0x1p-53 < (double)share)
            t->token[s->first + i].id = TAPE_DROPPED;
}

static int begin(struct tape *t, const struct tape_run *runs, size_t n, const struct target *targets,
                 size_t n_targets, struct err *e)
{
    if (n > t->o.runs)
        return err_set(e, ERR_LIMIT, "%zu runs in one pass, want at most %zu", n, t->o.runs);
    t->T = t->W = t->targets = 0;
    t->spans = n;
    for (size_t r = 0; r < n; r++) {
        int rc = place_run(t, runs, r, e);
        if (rc)
            return rc;
        for (size_t i = 0; i < runs[r].n; i++) {
            if (runs[r].ids[i] < 0 || (uint32_t)runs[r].ids[i] >= t->model->config.vocabulary)
                return err_set(e, ERR_FORMAT, "token id %d, want 0..%u", runs[r].ids[i],
                               t->model->config.vocabulary - 1);
            t->token[t->span[r].first + i] = (struct tape_token){r, i, t->span[r].start + i, runs[r].ids[i]};
        }
        if (t->train && runs[r].drop > 0)
            drop_words(t, r, runs[r].drop);
    }
    place_cells(t);
    return check_targets(t, targets, n_targets, e);
}

/* --- a pass */

static void embed(struct tape *t)
{
    const struct config *c = &t->model->config;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < t->T; i++) {
        float *x = t->x[0] + i * t->ld;
        if (t->token[i].id == TAPE_DROPPED) {
            memset(x, 0, t->ld * sizeof *x);
            continue;
        }
        matrix_row(x, &t->model->embedding, (size_t)t->token[i].id);
        for (size_t d = 0; c->embedding_scale != 1 && d < c->width; d++)
            x[d] *= c->embedding_scale;
    }
}

int tape_forward(struct tape *t, const struct tape_run *runs, size_t n, const struct target *targets,
                 size_t n_targets, uint64_t step, bool train, double *loss, struct err *e)
{
    const struct config *c = &t->model->config;
    *loss = 0;
    omp_set_num_threads(t->o.threads);
    t->step = step;
    t->train = train;
    int rc = begin(t, runs, n, targets, n_targets, e);
    if (rc) {
        t->W = 0;
        return rc;
    }
    if (!t->W)
        return 0;
    embed(t);
    for (size_t l = 0; l < c->layers; l++)
        tape_layer_forward(t, l, l + 1 < c->layers ? t->x[l + 1] : t->out, false);
    *loss = tape_loss(t);
    return 0;
}

/* A thread has columns of its own, so every sum goes over the tokens in order. */
static void embed_backward(struct tape *t)
{
    const struct config *c = &t->model->config;
    float *grad = tape_grad(t, ROLE_EMBEDDING, 0, PART_WEIGHT);
    size_t blocks = t->ld / PANEL;
    if (!grad)
        return;
#pragma omp parallel for schedule(static)
    for (size_t b = 0; b < blocks; b++)
        for (size_t i = 0; i < t->T; i++) {
            if (t->token[i].id == TAPE_DROPPED)
                continue;
            const float *dx = t->dx + i * t->ld;
            float *to = grad + (size_t)t->token[i].id * c->width;
            for (size_t d = b * PANEL; d < (b + 1) * PANEL && d < c->width; d++)
                to[d] += dx[d] * c->embedding_scale;
        }
}

void tape_backward(struct tape *t)
{
    const struct config *c = &t->model->config;
    if (!t->W || !t->train)
        return;
    omp_set_num_threads(t->o.threads);
    memset(t->dx, 0, t->W * t->ld * sizeof *t->dx);
    tape_norm_backward(t,
                       &(struct tape_norm){t->model->norm, tape_grad(t, ROLE_NORM, 0, PART_WEIGHT), c->width},
                       t->dx, t->out, t->dhidden, t->ld, t->W);
    for (size_t l = c->layers; l-- > 0;) {
        if (t->o.checkpointing && l + 1 < c->layers) /* the last one's is still there */
            tape_layer_forward(t, l, NULL, true);
        tape_layer_backward(t, l);
    }
    embed_backward(t);
    t->train = false;
}
