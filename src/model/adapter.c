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

void adapter_close(struct adapter *a)
{
    if (!a)
        return;
    free(a->lora);
    free(a->block);
    free(a);
}
