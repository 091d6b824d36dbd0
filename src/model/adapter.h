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
void adapter_close(struct adapter *a); /* NULL allowed */

#endif
