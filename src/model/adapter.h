/* A LoRA adapter beside a model: applied unmerged (y = W x + B (scale A x), in f32), so one base serves many.
 */
#ifndef GYEOL_MODEL_ADAPTER_H
#define GYEOL_MODEL_ADAPTER_H

#include "format/peft.h"
#include "model/model.h"

#define ADAPTER_RANK_MAX 512

struct lora {
    struct matrix a; /* [r, inputs] F32, scale multiplied in; rows 0: this weight is not adapted */
    struct matrix b; /* [outputs, r] F32 */
};

struct adapter {
    struct lora *lora; /* [layers][LINEARS] */
    size_t layers, rank_max;
    void *block;
};

int adapter_load(struct adapter **out, const struct peft *p, const struct model *m, struct err *e) MUST_CHECK;

/* One of zeros, for training: pairs of one rank at the projections of `targets` (bit role - ROLE_Q). */
int adapter_new(struct adapter **out, const struct config *c, uint32_t rank, unsigned targets,
                struct err *e) MUST_CHECK;

/* Bytes of its pairs; 0: overflow. */
size_t adapter_bytes(const struct config *c, uint32_t rank, unsigned targets);

/* Writes the adapter's matrix m (a or b of a pair) from rows one after another [m->rows, m->cols], times
 * scale. */
void adapter_set(const struct adapter *a, const struct matrix *m, const float *rows, float scale);

void adapter_close(struct adapter *a); /* NULL allowed */

#endif
