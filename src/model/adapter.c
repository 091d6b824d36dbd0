#include "model/adapter.h"

#include "base/size.h"
#include "compute/quant.h"

#include <stdlib.h>
#include <string.h>

static size_t pair_bytes(const struct peft_pair *p)
{
    return p->a ? matrix_bytes(DT_F32, p->rank, p->a->dim[1]) + matrix_bytes(DT_F32, p->b->dim[0], p->rank)
                : 0;
}

/* Packs a tensor [rows, cols] times `scale` and returns the bytes used. */
static size_t pack(struct matrix *m, unsigned char *to, const struct tensor *t, float scale, float *row)
{
    size_t bytes;
    *m = (struct matrix){.type = DT_F32, .rows = t->dim[0], .cols = t->dim[1], .data = to};
    dtype_row_bytes(t->type, m->cols, &bytes);
    for (size_t r = 0; r < m->rows; r += PANEL) {
        size_t n = m->rows - r < PANEL ? m->rows - r : PANEL;
        for (size_t i = 0; i < n; i++)
            quant_decode(row + i * m->cols, t->type, t->data + (r + i) * bytes, m->cols);
        for (size_t i = 0; i < n * m->cols; i++)
            row[i] *= scale;
        matrix_pack(to + r / PANEL * matrix_panel_bytes(DT_F32, m->cols), DT_F32, row, n, m->cols);
    }
    return matrix_bytes(DT_F32, m->rows, m->cols);
}

struct sizes {
    size_t bytes, widest, rank;
};

static struct sizes measure(const struct peft *p, const struct config *c)
{
    struct sizes s = {0};
    for (uint32_t l = 0; l < c->layers; l++)
        for (int r = ROLE_Q; r <= ROLE_DOWN; r++) {
            struct peft_pair x = peft_get(p, (enum role)r, l);
            if (!x.a)
                continue;
            s.bytes += pair_bytes(&x);
            s.rank = x.rank > s.rank ? x.rank : s.rank;
            s.widest = x.a->dim[1] > s.widest ? x.a->dim[1] : s.widest;
            s.widest = x.rank > s.widest ? x.rank : s.widest;
        }
    return s;
}

int adapter_load(struct adapter **out, const struct peft *p, const struct model *m, struct err *e)
{
    const struct config *c = &m->config;
    struct sizes size = measure(p, c);
    *out = NULL;
    if (size.rank > ADAPTER_RANK_MAX)
        return err_set(e, ERR_LIMIT, "%s: rank %zu, want at most %d", peft_dir(p), size.rank,
                       ADAPTER_RANK_MAX);
    struct adapter *a = calloc(1, sizeof *a);
    float *row = malloc((PANEL * size.widest + 1) * sizeof *row);
    if (a) {
        a->lora = calloc((size_t)c->layers * LINEARS, sizeof *a->lora);
        a->block = aligned_alloc(64, (size.bytes + 127) & ~(size_t)63);
    }
    if (!a || !row || !a->lora || !a->block) {
        adapter_close(a);
        free(row);
        return err_set(e, ERR_MEMORY, "out of memory for the adapter %s", peft_dir(p));
    }
    a->layers = c->layers;
    a->rank_max = size.rank;
    unsigned char *to = a->block;
    for (uint32_t l = 0; l < c->layers; l++)
        for (int r = ROLE_Q; r <= ROLE_DOWN; r++) {
            struct peft_pair x = peft_get(p, (enum role)r, l);
            struct lora *lora = &a->lora[l * LINEARS + (size_t)(r - ROLE_Q)];
            if (!x.a)
                continue;
            to += pack(&lora->a, to, x.a, x.scale, row);
            to += pack(&lora->b, to, x.b, 1, row);
        }
    free(row);
    *out = a;
    return 0;
}

static int pair_shape(const struct config *c, int role, uint32_t rank, struct lora *l)
{
    size_t dim[2];
    role_shape((enum role)role, c, dim);
    l->a = (struct matrix){.type = DT_F32, .rows = rank, .cols = dim[1]};
    l->b = (struct matrix){.type = DT_F32, .rows = dim[0], .cols = rank};
    return matrix_bytes(DT_F32, rank, dim[1]) && matrix_bytes(DT_F32, dim[0], rank) ? 0 : -1;
}

size_t adapter_bytes(const struct config *c, uint32_t rank, unsigned targets)
{
    size_t n = 0, all;
    for (int r = ROLE_Q; r <= ROLE_DOWN; r++) {
        struct lora l;
        if (!(targets >> (r - ROLE_Q) & 1))
            continue;
        if (pair_shape(c, r, rank, &l) || !size_add(n, matrix_bytes(DT_F32, l.a.rows, l.a.cols), &n) ||
            !size_add(n, matrix_bytes(DT_F32, l.b.rows, l.b.cols), &n))
            return 0;
    }
    return size_mul(n, c->layers, &all) ? all : 0;
}

int adapter_new(struct adapter **out, const struct config *c, uint32_t rank, unsigned targets, struct err *e)
{
    size_t bytes = adapter_bytes(c, rank, targets);
    struct adapter *a = calloc(1, sizeof *a);
    *out = NULL;
    if (a && bytes && bytes <= SIZE_MAX / 2) {
        a->lora = calloc((size_t)c->layers * LINEARS, sizeof *a->lora);
        a->block = aligned_alloc(64, (bytes + 127) & ~(size_t)63);
    }
    if (!a || !a->lora || !a->block) {
        adapter_close(a);
        return err_set(e, ERR_MEMORY, "out of memory for an adapter of rank %u", rank);
    }
    memset(a->block, 0, bytes);
    a->layers = c->layers;
    a->rank_max = rank;
    unsigned char *to = a->block;
    for (size_t i = 0; i < a->layers * LINEARS; i++) {
        struct lora *l = &a->lora[i];
        if (!(targets >> i % LINEARS & 1))
            continue;
        pair_shape(c, ROLE_Q + (int)(i % LINEARS), rank, l);
        l->a.data = to;
        to += matrix_bytes(DT_F32, l->a.rows, l->a.cols);
        l->b.data = to;
        to += matrix_bytes(DT_F32, l->b.rows, l->b.cols);
    }
    *out = a;
    return 0;
}

void adapter_set(const struct adapter *a, const struct matrix *m, const float *rows, float scale)
{
    size_t panel = matrix_panel_bytes(DT_F32, m->cols);
    unsigned char *to = (unsigned char *)a->block + (m->data - (const unsigned char *)a->block);
    for (size_t r = 0; r < m->rows; r += PANEL, to += panel) {
        float *values = (float *)(void *)to;
        matrix_pack(to, DT_F32, rows + r * m->cols, m->rows - r < PANEL ? m->rows - r : PANEL, m->cols);
        for (size_t i = 0; i < PANEL * m->cols; i++)
            values[i] *= scale;
    }
}

void adapter_close(struct adapter *a)
{
    if (!a)
        return;
    free(a->lora);
    free(a->block);
    free(a);
}
