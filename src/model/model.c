#include "model/model.h"

#include "base/rng.h"
#include "base/size.h"
#include "compute/quant.h"
#include "model/layout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int model_new(struct model **out, const struct config *c, enum model_type type, struct err *e)
{
    struct model *m = calloc(1, sizeof *m);
    *out = NULL;
    if (m)
        m->layer = calloc(c->layers, sizeof *m->layer);
    if (!m || !m->layer) {
        free(m);
        return err_set(e, ERR_MEMORY, "out of memory for a model of %u layers", c->layers);
    }
    m->config = *c;
    m->type = type;
    m->kernels = kernels_get();
    m->block_bytes = model_block_bytes(c, type);
    *out = m;
    if (!m->block_bytes)
        return err_set(e, ERR_LIMIT, "a model whose weights overflow memory's addresses");
    return 0;
}

void model_close(struct model *m)
{
    if (!m)
        return;
    if (m->map)
        munmap(m->map, m->map_bytes);
    free(m->layer);
    free(m);
}

void model_attach(struct model *m, void *map, size_t map_bytes, unsigned char *block)
{
    m->map = map;
    m->map_bytes = map_bytes;
    layout_carve(m, block);
}

/* Pages straight from the kernel: zeroed, aligned, and returned whole when the model closes. */
static int allocate_block(struct model *m, struct err *e)
{
    void *p = mmap(NULL, m->block_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return err_errno(e, "%zu MB for the weights", m->block_bytes >> 20);
    madvise(p, m->block_bytes, MADV_HUGEPAGE);
    model_attach(m, p, m->block_bytes, p);
    return 0;
}

int model_load(struct model **out, const struct checkpoint *c, enum model_type type, struct err *e)
{
    int rc = model_new(out, checkpoint_config(c), type, e);
    if (!rc)
        rc = allocate_block(*out, e);
    if (!rc)
        rc = model_fill((*out)->block, checkpoint_config(c), type, c, NULL, e);
    if (rc) {
        model_close(*out);
        *out = NULL;
    }
    return rc;
}

/* --- filling */

struct fill {
    const struct weight *weight;
    unsigned char *to;
    size_t rows, cols;
    enum dtype dtype;
    bool nf4;
};

/* The stored row that holds row r of Hugging Face's order: GGUF keeps the two halves of a rotated head
 * interleaved (convert_hf_to_gguf.py, LlamaModel.permute). */
static size_t stored_row(const struct weight *w, size_t r)
{
    if (!w->permuted)
        return r;
    size_t width = w->tensor.dim[0] / w->heads, head = r / width, i = r % width;
    return head * width + (i % (width / 2)) * 2 + i / (width / 2);
}

/* ggml's own 4- and 8-bit blocks are taken over as they are: nothing is rounded twice. */
static bool same_blocks(const struct fill *f)
{
    return (f->dtype == DT_Q8_0 || f->dtype == DT_Q4_0) && f->weight->tensor.type == f->dtype;
}

static void pack_blocks(const struct fill *f, size_t first, size_t n, void *panel, unsigned char *scratch)
{
    size_t bytes;
    dtype_row_bytes(f->dtype, f->cols, &bytes);
    for (size_t i = 0; i < n; i++)
        memcpy(scratch + i * bytes, f->weight->tensor.data + stored_row(f->weight, first + i) * bytes, bytes);
    matrix_pack_blocks(panel, f->dtype, scratch, bytes, n, f->cols);
}

static int pack_panel(const struct fill *f, size_t p, float *scratch, struct err *e)
{
    size_t first = p * PANEL, n = f->rows - first < PANEL ? f->rows - first : PANEL;
    void *panel = f->to + p * matrix_panel_bytes(f->dtype, f->cols);
    if (same_blocks(f)) {
        pack_blocks(f, first, n, panel, (unsigned char *)scratch);
        return 0;
    }
    int rc = weight_decode_rows(scratch, f->weight, first, n, e);
    if (!rc)
        matrix_pack(panel, f->dtype, scratch, n, f->cols);
    return rc;
}

static int pack_matrix(const struct fill *f, struct err *e)
{
    int rc = 0;
    size_t panels = matrix_panels(f->rows);
#pragma omp parallel
    {
        struct err mine;
        float *scratch = malloc((size_t)PANEL * f->cols * sizeof *scratch);
        int my = scratch ? 0 : err_set(&mine, ERR_MEMORY, "out of memory for rows of %zu", f->cols);
#pragma omp for schedule(static)
        for (size_t p = 0; p < panels; p++)
            if (!my)
                my = pack_panel(f, p, scratch, &mine);
        free(scratch);
        if (my)
#pragma omp critical
        {
            rc = my;
            if (e)
                *e = mine;
        }
    }
    return rc;
}

/* The file's own codes. */
static int take_nf4(const struct fill *f, float *absmax, struct err *e)
{
    const unsigned char *codes = f->weight->tensor.data;
    int rc = weight_nf4_absmax(absmax, f->weight, e);
    if (rc)
        return rc;
#pragma omp parallel for schedule(static)
    for (size_t p = 0; p < matrix_panels(f->rows); p++) {
        size_t first = p * PANEL, n = f->rows - first < PANEL ? f->rows - first : PANEL;
        matrix_pack_nf4(f->to + p * matrix_panel_bytes(DT_NF4, f->cols), codes + first * f->cols / 2,
                        absmax + first * (f->cols / NF4_BLOCK), n, f->cols);
    }
    return 0;
}

/* Blocks fill rows, so panels are made one by one; the second quantisation, of the blocks' maxima, runs over the whole
 * weight. */
static int make_nf4(const struct fill *f, float *absmax, struct err *e)
{
    size_t blocks = f->cols / NF4_BLOCK, n = f->rows * blocks;
    int rc = pack_matrix(f, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++)
        absmax[i] = *matrix_nf4_absmax(f->to, f->cols, i / blocks, i % blocks);
    if (nf4_round_absmax(absmax, n))
        return err_set(e, ERR_MEMORY, "out of memory for NF4");
    for (size_t i = 0; i < n; i++)
        *matrix_nf4_absmax(f->to, f->cols, i / blocks, i % blocks) = absmax[i];
    return 0;
}

static int pack_nf4(const struct fill *f, struct err *e)
{
    float *absmax = malloc((f->rows * f->cols / NF4_BLOCK + 1) * sizeof *absmax);
    if (!absmax)
        return err_set(e, ERR_MEMORY, "out of memory for the maxima of %zu rows", f->rows);
    int rc = f->weight->tensor.type == DT_NF4 ? take_nf4(f, absmax, e) : make_nf4(f, absmax, e);
    free(absmax);
    return rc;
}

/* Rows that are no whole blocks of 64: the blocks run on over the whole weight, so it is decoded whole, rounded, and
 * packed as floats. */
static int pack_rounded(const struct fill *f, struct err *e)
{
    size_t n = f->rows * f->cols;
    float *all = malloc(n * sizeof *all);
    int rc = all ? weight_decode_rows(all, f->weight, 0, f->rows, e)
                 : err_set(e, ERR_MEMORY, "out of memory for %zu weights", n);
    if (!rc && f->weight->tensor.type != DT_NF4 && nf4_round_trip(all, n))
        rc = err_set(e, ERR_MEMORY, "out of memory for NF4");
    for (size_t p = 0; !rc && p < matrix_panels(f->rows); p++) {
        size_t first = p * PANEL, k = f->rows - first < PANEL ? f->rows - first : PANEL;
        matrix_pack(f->to + p * matrix_panel_bytes(f->dtype, f->cols), f->dtype, all + first * f->cols, k,
                    f->cols);
    }
    free(all);
    return rc;
}

static int fill_one(const struct fill *f, enum role r, struct err *e)
{
    if (!layout_is_matrix(r))
        return weight_decode_rows((float *)(void *)f->to, f->weight, 0, 1, e);
    if (f->nf4 && r >= ROLE_Q)
        return f->dtype == DT_NF4 ? pack_nf4(f, e) : pack_rounded(f, e);
    return pack_matrix(f, e);
}

/* The source's pages have served: without this a loaded model would be resident twice. */
static void release(const struct tensor *t)
{
    size_t page = 4096;
    uintptr_t begin = ((uintptr_t)t->data + page - 1) & ~(uintptr_t)(page - 1);
    uintptr_t end = ((uintptr_t)t->data + t->bytes) & ~(uintptr_t)(page - 1);
    if (begin < end)
        madvise((void *)begin, end - begin, MADV_DONTNEED);
}

int model_fill(unsigned char *block, const struct config *config, enum model_type type,
               const struct checkpoint *c, struct progress *progress, struct err *e)
{
    struct layout l;
    layout_start(&l, config, type);
    while (layout_next(&l)) {
        enum role r = (enum role)l.role;
        struct fill f = {.weight = checkpoint_weight(c, r, l.layer),
                         .to = block + l.offset,
                         .dtype = layout_dtype(config, type, r),
                         .nf4 = type == MODEL_NF4};
        layout_shape(config, r, &f.rows, &f.cols);
        if (!f.weight)
            return err_set(e, ERR_FORMAT, "%s: no weight %s", checkpoint_path(c), role_hf_name(r, config));
        int rc = fill_one(&f, r, e);
        if (rc)
            return rc;
        release(&f.weight->tensor);
        if (progress)
            progress_update(progress, l.end);
    }
    return l.overflow ? err_set(e, ERR_LIMIT, "weights overflow") : 0;
}

/* --- random weights at real shapes, for measuring speed */

static void random_panel(unsigned char *panel, enum dtype t, size_t cols, float *rows, uint64_t seed)
{
    struct rng rng = {seed};
    float scale = 1.7f / sqrtf((float)cols); /* keeps the size of activations through a layer */
    for (size_t i = 0; i < PANEL * cols; i++)
        rows[i] = scale * ((float)(rng_next(&rng) >> 40) * 0x1p-23f - 1);
    matrix_pack(panel, t, rows, PANEL, cols);
}

static int random_matrix(unsigned char *to, enum dtype t, size_t rows, size_t cols, uint64_t seed)
{
    int failed = 0;
    size_t bytes = matrix_panel_bytes(t, cols);
#pragma omp parallel reduction(| : failed)
    {
        float *scratch = malloc(PANEL * cols * sizeof *scratch);
        failed = !scratch;
#pragma omp for schedule(static)
        for (size_t p = 0; p < matrix_panels(rows); p++)
            if (!failed)
                random_panel(to + p * bytes, t, cols, scratch, seed + p);
        free(scratch);
    }
    return failed;
}

int model_random(struct model **out, const struct config *c, enum model_type type, uint64_t seed,
                 struct err *e)
{
    struct layout l;
    int rc = model_new(out, c, type, e);
    if (!rc)
        rc = allocate_block(*out, e);
    for (layout_start(&l, c, type); !rc && layout_next(&l);) {
        enum role r = (enum role)l.role;
        unsigned char *to = (*out)->block + l.offset;
        size_t rows, cols;
        layout_shape(c, r, &rows, &cols);
        if (layout_is_matrix(r)) {
            if (random_matrix(to, layout_dtype(c, type, r), rows, cols, seed + ((uint64_t)l.offset << 8)))
                rc = err_set(e, ERR_MEMORY, "out of memory for random weights");
        } else {
            for (size_t i = 0; i < cols; i++)
                ((float *)(void *)to)[i] = r >= ROLE_Q_BIAS && r <= ROLE_DOWN_BIAS ? 0.0f : 1.0f;
        }
    }
    if (rc) {
        model_close(*out);
        *out = NULL;
    }
    return rc;
}

int model_head_rows(const struct model *m, const int32_t *ids, size_t n, struct matrix *out, void **space,
                    struct err *e)
{
    size_t bytes = matrix_bytes(m->head.type, n, m->head.cols);
    *space = bytes ? aligned_alloc(64, (bytes + 63) & ~(size_t)63) : NULL;
    if (!*space)
        return err_set(e, ERR_MEMORY, "out of memory for %zu output rows", n);
    matrix_gather(*space, &m->head, ids, n);
    *out = (struct matrix){.type = m->head.type, .rows = n, .cols = m->head.cols, .data = *space};
    return 0;
}
