/* The order and place of every weight in a model's block: an iterator over (role, layer) with offsets. */
#ifndef GYEOL_MODEL_LAYOUT_H
#define GYEOL_MODEL_LAYOUT_H

#include "model/model.h"

struct layout {
    const struct config *config;
    enum model_type type;
    int role;             /* enum role */
    uint32_t layer;       /* for roles from ROLE_FIRST_LAYER on */
    size_t offset, bytes; /* of this entry in the block; 64-byte aligned */
    size_t end;           /* of all so far */
    bool overflow;
};

void layout_start(struct layout *l, const struct config *c, enum model_type type);
bool layout_next(struct layout *l); /* false at the end, or with `overflow` set */

bool layout_is_matrix(enum role r); /* else a vector of floats */
void layout_shape(const struct config *c, enum role r, size_t *rows, size_t *cols);
enum dtype layout_dtype(const struct config *c, enum model_type type, enum role role);

/* Sets m's pointers into a block; m->config, type and layer[] are there already. */
void layout_carve(struct model *m, unsigned char *block);

#endif
