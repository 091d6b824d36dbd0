/* Attention over a tree of runs, forward and backward. A thread takes one tree and one key/value head at a time: it
 * packs their cells as matmul_f32 wants them (model/kv.h), goes over the queries in tiles of rows, and sums gradients of
 * keys and values in an arena of its own, so nothing is written by two threads and every sum has one order.
 *
 * Of weights P = softmax(S), S = scale q K^T: dV = P^T dO, dP = dO V^T, dS from dP and P, dQ = dS K, dK = dS^T q. */
#include "model/tape_int.h"

#include "base/size.h"

#include <omp.h>
#include <string.h>

enum { TILE = 24 }; /* rows that share a walk over the keys */

/* What one thread works in. Cells: of one tree, every run from a multiple of 16 on. */
struct arena {
    const struct tape *t;
    const struct tape_kept *kept;
    size_t layer, kv_head, tree; /* tree: its root's run */
    size_t Dh, ld_head;          /* Dh, and rounded up to 16 */
    float *keys, *values;        /* [cells / 16][Dh][16]; [ld_head / 16][cells][16] */
    float *v_keys, *k_values;    /* values in the order of keys, keys in that of values */
    float *dk, *dv;              /* [cells][ld_head] */
    size_t lds;                  /* floats from row to row of scores */
    float *s, *ds, *capped;      /* [TILE][lds] */
    float *turned;               /* [lds][TILE]: a tile transposed */
    float *q_tile, *o_tile;      /* [ld_head / 16][TILE][16] */
    float *sum;                  /* [TILE][ld_head] */
};

struct tile {
    const struct tape_span *span;
    const struct tape_token *row;
    size_t first, n;       /* rows of q */
    size_t low, positions; /* any row sees: from low on; below positions */
};

static size_t score_floats(size_t positions)
{
    /* The last run's panels may reach a panel past the last position, twice rounded. */
    return round16(positions) + 2 * PANEL;
}

size_t tape_attention_floats(const struct config *c, const struct tape_options *o, size_t cells)
{
    size_t ld_head = round16(c->head_width), lds, arenas, tiles, n;
    if (o->positions > SIZE_MAX / 64)
        return SIZE_MAX;
    lds = score_floats(o->positions);
    if (!size_mul(cells, 6 * ld_head, &arenas) || !size_mul(lds, 4 * TILE, &tiles) ||
        !size_add(arenas, tiles, &n) || !size_add(n, 3 * TILE * ld_head, &n))
        return SIZE_MAX;
    return n;
}

static struct arena arena_of(const struct tape *t, size_t layer)
{
    struct arena a = {.t = t, .kept = tape_kept(t, layer), .layer = layer};
    a.Dh = t->model->config.head_width;
    a.ld_head = round16(a.Dh);
    a.lds = score_floats(t->o.positions);
    size_t cells = t->cells * a.ld_head, tile = TILE * a.lds;
    float *at = t->attention + (size_t)omp_get_thread_num() * t->attention_floats;
    float **const of_cells[] = {&a.keys, &a.values, &a.v_keys, &a.k_values, &a.dk, &a.dv};
    float **const of_tiles[] = {&a.s, &a.ds, &a.capped, &a.turned};
    float **const of_heads[] = {&a.q_tile, &a.o_tile, &a.sum};
    for (size_t i = 0; i < COUNT_OF(of_cells); i++, at += cells)
        *of_cells[i] = at;
    for (size_t i = 0; i < COUNT_OF(of_tiles); i++, at += tile)
        *of_tiles[i] = at;
    for (size_t i = 0; i < COUNT_OF(of_heads); i++, at += TILE * a.ld_head)
        *of_heads[i] = at;
    return a;
}

/* --- packing */

/* Up to 16 rows of x side by side: a panel in the order of keys. */
static void put_across(const struct arena *a, float *panel, const float *x, size_t ld, size_t n)
{
    for (size_t d = 0; d < a->Dh; d++)
        for (size_t i = 0; i < n; i++)
            panel[d * PANEL + i] = x[i * ld + d];
}

/* A row of x into panels in the order of values, of so many rows each. */
static void put_along(const struct arena *a, float *panels, size_t rows, size_t row, const float *x)
{
    float *to = panels + row * PANEL;
    for (size_t d = 0; d < a->Dh; d += PANEL, to += rows * PANEL)
        memcpy(to, x + d, (a->Dh - d < PANEL ? a->Dh - d : PANEL) * sizeof *x);
}

/* Up to 16 tokens from `first` on, into cells from `cell` on. */
static void pack_panel(const struct arena *a, size_t first, size_t cell, size_t n, bool backward)
{
    size_t ld = a->t->ld_kv, at = first * ld + a->kv_head * a->Dh, cells = a->t->cells;
    const float *k = a->kept->k + at, *v = a->kept->v + at;
    put_across(a, a->keys + cell * a->Dh, k, ld, n);
    if (backward)
        put_across(a, a->v_keys + cell * a->Dh, v, ld, n);
    for (size_t i = 0; i < n; i++)
        put_along(a, backward ? a->k_values : a->values, cells, cell + i, (backward ? k : v) + i * ld);
    if (backward) {
        memset(a->dk + cell * a->ld_head, 0, n * a->ld_head * sizeof *a->dk);
        memset(a->dv + cell * a->ld_head, 0, n * a->ld_head * sizeof *a->dv);
    }
}

static void pack(const struct arena *a, bool backward)
{
    const struct tape *t = a->t;
    for (size_t r = a->tree; r < t->spans; r++) {
        const struct tape_span *s = &t->span[r];
        for (size_t i = 0; s->chain[0] == a->tree && i < s->n; i += PANEL)
            pack_panel(a, s->first + i, s->cell + i, s->n - i < PANEL ? s->n - i : PANEL, backward);
    }
}

/* --- one tile of one head */

/* Rows of one run, from `first` on. */
static struct tile tile_at(const struct arena *a, size_t first, size_t rows)
{
    const struct tape *t = a->t;
    const struct tape_token *token = tape_tokens(t, a->layer) + first;
    const struct config *c = &t->model->config;
    struct tile x = {.span = &t->span[token->run], .row = token, .first = first, .n = 1};
    while (x.n < TILE && first + x.n < rows && token[x.n].run == token->run)
        x.n++;
    size_t window = c->sliding[a->layer] ? c->sliding_window : 0;
    x.low = window && token->position + 1 > window ? token->position + 1 - window : 0;
    x.positions = token[x.n - 1].position + 1;
    return x;
}

/* A run's part of what the tile sees: cells [begin, end). Begin is rounded down to a panel: masked scores
 * become zero weights. */
struct part {
    size_t cell, position, n; /* the first's; how many */
};

static bool part_of(const struct arena *a, const struct tile *x, size_t i, struct part *out)
{
    const struct tape_span *s = &a->t->span[x->span->chain[i]];
    size_t end = s->start + s->n < x->positions ? s->n
                 : x->positions > s->start      ? x->positions - s->start
                                                : 0;
    size_t begin = x->low > s->start ? (x->low - s->start) & ~(size_t)(PANEL - 1) : 0;
    *out = (struct part){s->cell + begin, s->start + begin, end > begin ? end - begin : 0};
    return end > begin;
}

/* out[row][position] = rows of x times cells, for panels in the order of keys. */
static void against_cells(const struct arena *a, const struct tile *x, float *out, const float *panels,
                          const float *rows)
{
    struct part p;
    for (size_t i = 0; i < x->span->depth; i++)
        if (part_of(a, x, i, &p))
            tape_kernels(a->t)->matmul_f32(out + p.position, a->lds, panels + p.cell * a->Dh, a->Dh * PANEL,
                                           matrix_panels(p.n), rows, a->t->ld_q, x->n, a->Dh, false);
}

/* a->sum = weights over positions times cells, for panels in the order of values. */
static void over_cells(const struct arena *a, const struct tile *x, const float *weights, const float *panels)
{
    struct part p;
    bool add = false;
    for (size_t i = 0; i < x->span->depth; i++)
        if (part_of(a, x, i, &p)) {
            tape_kernels(a->t)->matmul_f32(a->sum, a->ld_head, panels + p.cell * PANEL, a->t->cells * PANEL,
                                           a->ld_head / PANEL, weights + p.position, a->lds, x->n, p.n, add);
            add = true;
        }
}

/* Cells' gradients += weights^T times the tile's rows (packed in the order of values). */
static void onto_cells(const struct arena *a, const struct tile *x, float *gradient, const float *weights,
                       const float *rows)
{
    struct part p;
    for (size_t i = 0; i < x->span->depth; i++) {
        if (!part_of(a, x, i, &p))
            continue;
        for (size_t k = p.position; k < p.position + p.n; k++)
            for (size_t r = 0; r < x->n; r++)
                a->turned[k * TILE + r] = weights[r * a->lds + k];
        tape_kernels(a->t)->matmul_f32(gradient + p.cell * a->ld_head, a->ld_head, rows, TILE * PANEL,
                                       a->ld_head / PANEL, a->turned + p.position * TILE, TILE, p.n, x->n,
                                       true);
    }
}

static size_t seen_from(const struct arena *a, size_t seen)
{
    const struct config *c = &a->t->model->config;
    size_t window = c->sliding[a->layer] ? c->sliding_window : 0;
    return window && seen > window ? seen - window : 0;
}

/* Zeros from the end of a row's scores to the end of the tile's. */
static void clear_rest(float *row, size_t seen, size_t positions)
{
    size_t filled = round16(seen);
    if (filled < positions)
        memset(row + filled, 0, (positions - filled) * sizeof *row);
}

/* Attention's weights of a tile in a->s; with keep_capped and a soft cap, the scores in a->capped. */
static void weigh(const struct arena *a, const struct tile *x, const float *q, bool keep_capped)
{
    const struct config *c = &a->t->model->config;
    const struct kernels *k = tape_kernels(a->t);
    against_cells(a, x, a->s, a->keys, q);
    for (size_t r = 0; r < x->n; r++) {
        size_t seen = x->row[r].position + 1, lo = seen_from(a, seen);
        float *s = a->s + r * a->lds, *capped = a->capped + r * a->lds;
        for (size_t i = lo; keep_capped && i < seen; i++)
            capped[i] = s[i] * c->attention_scale;
        if (keep_capped)
            k->softcap(capped + lo, seen - lo, c->attention_softcap);
        k->softmax(s, lo, seen, c->attention_scale, c->attention_softcap);
        clear_rest(s, seen, x->positions);
    }
}

static void store(const struct arena *a, const struct tile *x, float *out)
{
    for (size_t r = 0; r < x->n; r++)
        memcpy(out + r * a->t->ld_q, a->sum + r * a->ld_head, a->Dh * sizeof *out);
}

static void tile_forward(const struct arena *a, const struct tile *x, size_t head)
{
    size_t at = x->first * a->t->ld_q + head * a->Dh;
    weigh(a, x, a->kept->q + at, false);
    over_cells(a, x, a->s, a->values);
    store(a, x, a->kept->o + at);
}

static void tile_backward(const struct arena *a, const struct tile *x, size_t head, const float *dout)
{
    const struct config *c = &a->t->model->config;
    size_t at = x->first * a->t->ld_q + head * a->Dh;
    float *q = a->kept->q + at;
    bool cap = c->attention_softcap > 0;
    for (size_t r = 0; r < x->n; r++) {
        put_along(a, a->q_tile, TILE, r, q + r * a->t->ld_q);
        put_along(a, a->o_tile, TILE, r, dout + at + r * a->t->ld_q);
    }
    weigh(a, x, q, cap);
    onto_cells(a, x, a->dv, a->s, a->o_tile);
    against_cells(a, x, a->ds, a->v_keys, dout + at);
    for (size_t r = 0; r < x->n; r++) {
        size_t seen = x->row[r].position + 1, row = r * a->lds;
        tape_kernels(a->t)->softmax_backward(a->ds + row, a->s + row, cap ? a->capped + row : NULL,
                                             seen_from(a, seen), seen, c->attention_scale,
                                             c->attention_softcap);
        clear_rest(a->ds + row, seen, x->positions);
    }
    onto_cells(a, x, a->dk, a->ds, a->q_tile);
    over_cells(a, x, a->ds, a->k_values);
    store(a, x, q);
}

/* --- a tree */

/* Gradients of the tree's cells take the place of its keys and values. */
static void unpack(const struct arena *a)
{
    const struct tape *t = a->t;
    for (size_t r = a->tree; r < t->spans; r++) {
        const struct tape_span *s = &t->span[r];
        for (size_t i = 0; s->chain[0] == a->tree && i < s->n; i++) {
            size_t to = (s->first + i) * t->ld_kv + a->kv_head * a->Dh;
            memcpy(a->kept->k + to, a->dk + (s->cell + i) * a->ld_head, a->Dh * sizeof(float));
            memcpy(a->kept->v + to, a->dv + (s->cell + i) * a->ld_head, a->Dh * sizeof(float));
        }
    }
}

/* dout NULL: forward. */
static void tree(const struct arena *a, const float *dout)
{
    const struct tape *t = a->t;
    const struct config *c = &t->model->config;
    const struct tape_token *token = tape_tokens(t, a->layer);
    size_t group = c->heads / c->kv_heads, rows = tape_rows(t, a->layer);
    pack(a, dout != NULL);
    for (size_t first = 0; first < rows;) {
        struct tile x = tile_at(a, first, rows);
        bool ours = t->span[token[first].run].chain[0] == a->tree;
        for (size_t h = a->kv_head * group; ours && h < (a->kv_head + 1) * group; h++)
            if (dout)
                tile_backward(a, &x, h, dout);
            else
                tile_forward(a, &x, h);
        first += x.n;
    }
    if (dout)
        unpack(a);
}

static void all(struct tape *t, size_t layer, const float *dout)
{
    size_t heads = t->model->config.kv_heads, n = t->spans * heads;
#pragma omp parallel
    {
        struct arena a = arena_of(t, layer);
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < n; i++) {
            a.tree = i / heads;
            a.kv_head = i % heads;
            if (t->span[a.tree].depth == 1)
                tree(&a, dout);
        }
    }
}

void tape_attention_forward(struct tape *t, size_t layer)
{
    all(t, layer, NULL);
}

void tape_attention_backward(struct tape *t, size_t layer, const float *dout)
{
    all(t, layer, dout);
}
