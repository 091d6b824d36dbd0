/* Tables of rotary position embeddings (Su et al., "RoFormer", 2021) for one kind of layer. */
#ifndef GYEOL_MODEL_ROPE_H
#define GYEOL_MODEL_ROPE_H

#include "model/model.h"

/* Row p of `table`, `stride` floats apart: the cosines, then the sines, of p times each of the rope_width / 2
 * frequencies. kind: 0 full, 1 sliding layers (config.rope). */
void rope_fill(float *table, size_t stride, const struct model *m, int kind, size_t positions);

#endif
