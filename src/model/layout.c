/* Where every weight lies in a model's block. One walk over the configuration gives the offsets; sizing,
 * carving, filling and the pack file all take it, so they cannot disagree. */
#include "model/layout.h"

#include "base/size.h"

#include <string.h>

const char *const model_type_name[MODEL_TYPES] = {"f32", "bf16", "q8_0", "q4_0", "nf4"};

int model_type_parse(const char *name)
{
    for (int t = 0; t < MODEL_TYPES; t++)
        if (strcmp(name, model_type_name[t]) == 0)
            return t;
    return -1;
}

/* Embedding and head under NF4 are as the checkpoint has them; a projection whose rows are no whole blocks holds rounded
 * floats. */
static enum dtype nf4_dtype(const struct config *c, enum role role)
{
    size_t rows, cols;
    layout_shape(c, role, &rows, &cols);
    if (role == ROLE_EMBEDDING || role == ROLE_HEAD)
        return c->bf16_tables ? DT_BF16 : DT_F32;
    return matrix_panel_bytes(DT_NF4, cols) ? DT_NF4 : DT_F32;
}

/* The projections are what quantisation is for. 4-bit embeddings and heads cost more quality than they save.
 */
enum dtype layout_dtype(const struct config *c, enum model_type type, enum role role)
{
    static const enum dtype projection[] = {DT_F32, DT_BF16, DT_Q8_0, DT_Q4_0};
    static const enum dtype table[] = {DT_F32, DT_BF16, DT_Q8_0, DT_Q8_0};
    if (type == MODEL_NF4)
        return nf4_dtype(c, role);
    return role == ROLE_EMBEDDING || role == ROLE_HEAD ? table[type] : projection[type];
}

bool layout_is_matrix(enum role r)
{
    return r == ROLE_EMBEDDING || r == ROLE_HEAD || (r >= ROLE_Q && r <= ROLE_DOWN);
}

void layout_shape(const struct config *c, enum role r, size_t *rows, size_t *cols)
{
    size_t dim[2] = {1, 1};
    int rank = role_shape(r, c, dim);
    *rows = rank == 2 ? dim[0] : 1;
    *cols = rank == 2 ? dim[1] : dim[0];
}

/* Bytes of one entry, a multiple of 64; 0 when it overflows. */
static size_t entry_bytes(const struct config *c, enum model_type type, enum role r)
{
    size_t rows, cols, n;
    layout_shape(c, r, &rows, &cols);
    if (layout_is_matrix(r))
        n = matrix_bytes(layout_dtype(c, type, r), rows, cols);
    else if (!size_mul(cols + PANEL, sizeof(float), &n)) /* room to read whole vectors */
        return 0;
    return n && size_add(n, 63, &n) ? n & ~(size_t)63 : 0;
}

void layout_start(struct layout *l, const struct config *c, enum model_type type)
{
    *l = (struct layout){.config = c, .type = type, .role = -1};
}

bool layout_next(struct layout *l)
{
    const struct config *c = l->config;
    for (;;) {
        l->role++;
        if (l->role == ROLE_COUNT) {
            l->role = ROLE_FIRST_LAYER;
            l->layer++;
        }
        if (l->role >= ROLE_FIRST_LAYER && l->layer >= c->layers)
            return false;
        size_t dim[2];
        if (role_shape((enum role)l->role, c, dim))
            break;
    }
    l->offset = l->end;
    l->bytes = entry_bytes(c, l->type, (enum role)l->role);
    if (!l->bytes || !size_add(l->end, l->bytes, &l->end))
        l->overflow = true;
    return !l->overflow;
}

size_t model_block_bytes(const struct config *c, enum model_type type)
{
    struct layout l;
    layout_start(&l, c, type);
    while (layout_next(&l))
        ;
    return l.overflow ? 0 : l.end;
}

static const struct {
    enum role role;
    int norm;
} norms[] = {{ROLE_ATTENTION_NORM, NORM_ATTENTION},
             {ROLE_POST_ATTENTION_NORM, NORM_POST_ATTENTION},
             {ROLE_FF_NORM, NORM_FF},
             {ROLE_POST_FF_NORM, NORM_POST_FF},
             {ROLE_Q_NORM, NORM_Q},
             {ROLE_K_NORM, NORM_K}};

static void carve_layer(struct layer *l, enum role r, const struct matrix *w, const float *v)
{
    if (r <= ROLE_DOWN)
        l->w[r - ROLE_Q] = *w;
    else if (r <= ROLE_DOWN_BIAS)
        l->bias[r - ROLE_Q_BIAS] = v;
    else
        for (size_t i = 0; i < COUNT_OF(norms); i++)
            if (norms[i].role == r)
                l->norm[norms[i].norm] = v;
}

void layout_carve(struct model *m, unsigned char *block)
{
    struct layout l;
    layout_start(&l, &m->config, m->type);
    while (layout_next(&l)) {
        enum role r = (enum role)l.role;
        struct matrix w = {.type = layout_dtype(&m->config, m->type, r), .data = block + l.offset};
        const float *v = (const float *)(const void *)(block + l.offset);
        layout_shape(&m->config, r, &w.rows, &w.cols);
        if (r == ROLE_EMBEDDING)
            m->embedding = m->head = w;
        else if (r == ROLE_HEAD)
            m->head = w;
        else if (r == ROLE_NORM)
            m->norm = v;
        else if (r == ROLE_ROPE_FREQS)
            m->rope_factors = v;
        else
            carve_layer(&m->layer[l.layer], r, &w, v);
    }
    m->block = block;
}
