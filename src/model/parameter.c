#include "model/parameter.h"

#include "base/rng.h"
#include "base/size.h"
#include "compute/quant.h"
#include "model/layout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16 }; /* floats: every tensor begins at a cache line */

/* --- memory */

/* The tensors' shapes are set; their views are laid one after another in one block. */
static int allocate(struct parameters *p, struct err *e)
{
    bool fits = true;
    size_t bytes = 0;
    for (size_t i = 0; i < p->n; i++) {
        size_t n = 0;
        fits = fits && size_mul(p->p[i].rows, p->p[i].cols, &n) && size_add(n, ALIGN - 1, &n) &&
               size_add(p->count, n / ALIGN * ALIGN, &p->count);
    }
    fits = fits && size_mul(p->count, 2 * sizeof(float), &bytes);
    p->space = fits ? aligned_alloc(ALIGN * sizeof(float), bytes) : NULL;
    if (!p->space)
        return err_set(e, ERR_MEMORY, "out of memory for %zu trained values", p->count);
    memset(p->space, 0, bytes);
    p->values = p->space;
    p->grads = p->values + p->count;
    size_t at = 0;
    for (size_t i = 0; i < p->n; i++) {
        p->p[i].value = p->values + at;
        p->p[i].grad = p->grads + at;
        at += (p->p[i].rows * p->p[i].cols + ALIGN - 1) / ALIGN * ALIGN;
    }
    return 0;
}

void parameters_free(struct parameters *p)
{
    if (!p)
        return;
    adapter_close(p->adapter);
    free(p->space);
    free(p->p);
    free(p);
}

struct parameter *parameters_find(const struct parameters *p, enum role r, uint32_t layer,
                                  enum parameter_part part)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->p[i].role == r && p->p[i].layer == layer && p->p[i].part == part)
            return &p->p[i];
    return NULL;
}

/* --- random values: each tensor has a stream of its own */

static struct rng stream(uint64_t seed, size_t tensor)
{
    struct rng r = {seed};
    r.state = rng_next(&r) + (uint64_t)tensor;
    r.state = rng_next(&r);
    return r;
}

static double uniform(struct rng *r)
{
    return ((double)(rng_next(r) >> 11) + 0.5) * 0x1p-53;
}

/* Box and Muller (1958). */
static void draw_normal(float *v, size_t n, double deviation, struct rng r)
{
    for (size_t i = 0; i < n; i += 2) {
        double radius = deviation * sqrt(-2 * log(uniform(&r))), angle = 2 * M_PI * uniform(&r);
        v[i] = (float)(radius * cos(angle));
        if (i + 1 < n)
            v[i + 1] = (float)(radius * sin(angle));
    }
}

static void draw_uniform(float *v, size_t n, double limit, struct rng r)
{
    for (size_t i = 0; i < n; i++)
        v[i] = (float)(limit * (2 * uniform(&r) - 1));
}

/* --- LoRA */

static int new_parameters(struct parameters **out, size_t n, struct err *e)
{
    struct parameters *p = calloc(1, sizeof *p);
    *out = NULL;
    if (p)
        p->p = calloc(n ? n : 1, sizeof *p->p);
    if (!p || !p->p) {
        free(p);
        return err_set(e, ERR_MEMORY, "out of memory for %zu trained tensors", n);
    }
    *out = p;
    return 0;
}

static int check_lora(const struct lora_options *o, struct err *e)
{
    if (o->rank < 1 || o->rank > ADAPTER_RANK_MAX)
        return err_set(e, ERR_USAGE, "LoRA rank %u, want 1..%d", o->rank, ADAPTER_RANK_MAX);
    if (!(o->alpha > 0) || !isfinite(o->alpha))
        return err_set(e, ERR_USAGE, "LoRA alpha %g, want more than 0", (double)o->alpha);
    if (!(o->dropout >= 0 && o->dropout < 1))
        return err_set(e, ERR_USAGE, "LoRA dropout %g, want 0 or more and less than 1", (double)o->dropout);
    if (!o->targets || o->targets >> LINEARS)
        return err_set(e, ERR_USAGE, "LoRA without a projection to adapt");
    return 0;
}

static void add_pair(struct parameters *p, enum role r, uint32_t layer, const struct lora *l)
{
    p->p[p->n++] = (struct parameter){
        .role = r, .layer = layer, .part = PART_LORA_A, .rows = l->a.rows, .cols = l->a.cols};
    p->p[p->n++] = (struct parameter){
        .role = r, .layer = layer, .part = PART_LORA_B, .rows = l->b.rows, .cols = l->b.cols};
}

int parameters_lora(struct parameters **out, const struct model *m, const struct lora_options *o,
                    struct err *e)
{
    const struct config *c = &m->config;
    struct parameters *p;
    int rc = check_lora(o, e);
    *out = NULL;
    if (!rc)
        rc = new_parameters(&p, 2 * (size_t)c->layers * LINEARS, e);
    if (rc)
        return rc;
    p->scale = o->rslora ? o->alpha / sqrtf((float)o->rank) : o->alpha / (float)o->rank;
    p->dropout = o->dropout;
    rc = adapter_new(&p->adapter, c, o->rank, o->targets, e);
    for (uint32_t l = 0; !rc && l < c->layers; l++)
        for (int r = ROLE_Q; r <= ROLE_DOWN; r++)
            if (o->targets >> (r - ROLE_Q) & 1)
                add_pair(p, (enum role)r, l, &p->adapter->lora[l * LINEARS + (size_t)(r - ROLE_Q)]);
    if (!rc)
        rc = allocate(p, e);
    if (rc) {
        parameters_free(p);
        return rc;
    }
    for (size_t i = 0; i < p->n; i += 2)
        draw_uniform(p->p[i].value, p->p[i].rows * p->p[i].cols, 1 / sqrt((double)p->p[i].cols),
                     stream(o->seed, i));
    parameters_sync(p, NULL);
    *out = p;
    return 0;
}

static int load_tensor(const struct parameter *p, const struct tensor *t, struct err *e)
{
    if (t->dim[0] != p->rows || t->dim[1] != p->cols)
        return err_set(e, ERR_FORMAT, "%.120s: [%zu, %zu], want [%zu, %zu] as this run trains", t->name,
                       t->dim[0], t->dim[1], p->rows, p->cols);
    quant_decode(p->value, t->type, t->data, p->rows * p->cols);
    return 0;
}

static int load_pair(struct parameters *p, const struct peft *from, enum role r, uint32_t layer,
                     struct err *e)
{
    struct peft_pair pair = peft_get(from, r, layer);
    const struct parameter *a = parameters_find(p, r, layer, PART_LORA_A);
    if (!a != !pair.a)
        return err_set(e, ERR_FORMAT, "%s: layer %u has %s pair of projection %d, this run trains %s",
                       peft_dir(from), layer, pair.a ? "a" : "no", (int)(r - ROLE_Q), a ? "one" : "none");
    if (!a)
        return 0;
    if (fabsf(pair.scale - p->scale) > 1e-6f * p->scale)
        return err_set(e, ERR_FORMAT, "%s: scales its pairs by %g, this run by %g (alpha, rank, rslora)",
                       peft_dir(from), (double)pair.scale, (double)p->scale);
    int rc = load_tensor(a, pair.a, e);
    return rc ? rc : load_tensor(a + 1, pair.b, e);
}

int parameters_load_lora(struct parameters *p, const struct peft *from, struct err *e)
{
    for (uint32_t l = 0; l < p->adapter->layers; l++)
        for (int r = ROLE_Q; r <= ROLE_DOWN; r++) {
            int rc = load_pair(p, from, (enum role)r, l, e);
            if (rc)
                return rc;
        }
    parameters_sync(p, NULL);
    return 0;
}

/* --- every weight */

static bool is_norm(enum role r)
{
    return r == ROLE_NORM || (r >= ROLE_ATTENTION_NORM && r < ROLE_COUNT);
}

/* Gemma's norms are kept as w for 1+w, whichever file they come from. */
static float norm_offset(const struct config *c, enum role r)
{
    return is_norm(r) && (c->norm_plus_one || c->post_norms) ? 1.0f : 0.0f;
}

static void draw(const struct parameter *p, const struct config *c, struct rng r)
{
    size_t n = p->rows * p->cols;
    double deviation = 0.02;
    if (p->role == ROLE_O || p->role == ROLE_DOWN)
        deviation /= sqrt(2.0 * c->layers);
    if (layout_is_matrix(p->role))
        draw_normal(p->value, n, deviation, r);
    else
        for (size_t i = 0; i < n; i++)
            p->value[i] = is_norm(p->role) ? 1 - norm_offset(c, p->role) : 0.0f;
}

static int read_weight(const struct parameter *p, const struct config *c, const struct checkpoint *from,
                       struct err *e)
{
    const struct weight *w = checkpoint_weight(from, p->role, p->layer);
    if (!w)
        return err_set(e, ERR_FORMAT, "%s: no weight %s", checkpoint_path(from), role_hf_name(p->role, c));
    struct weight raw = *w;
    raw.plus_one = false;
    int rc = weight_decode_rows(p->value, &raw, 0, p->rows, e);
    float offset = w->plus_one ? 0 : norm_offset(c, p->role);
    for (size_t i = 0; !rc && offset > 0 && i < p->cols; i++)
        p->value[i] -= offset;
    return rc;
}

static size_t count_entries(const struct model *m)
{
    struct layout l;
    size_t n = 0;
    for (layout_start(&l, &m->config, m->type); layout_next(&l);)
        n += l.role != ROLE_ROPE_FREQS;
    return n;
}

static int fill(struct parameters *p, const struct model *m, const struct checkpoint *c, uint64_t seed,
                struct err *e)
{
    struct layout l;
    for (layout_start(&l, &m->config, m->type); layout_next(&l);) {
        struct parameter *x = &p->p[p->n];
        if (l.role == ROLE_ROPE_FREQS)
            continue;
        *x = (struct parameter){.role = (enum role)l.role, .layer = l.layer, .part = PART_WEIGHT};
        layout_shape(&m->config, x->role, &x->rows, &x->cols);
        p->n++;
    }
    int rc = allocate(p, e);
    for (size_t i = 0; !rc && i < p->n; i++)
        if (c)
            rc = read_weight(&p->p[i], &m->config, c, e);
        else
            draw(&p->p[i], &m->config, stream(seed, i));
    return rc;
}

int parameters_full(struct parameters **out, const struct model *m, const struct checkpoint *c, uint64_t seed,
                    struct err *e)
{
    struct parameters *p;
    *out = NULL;
    if (m->type != MODEL_F32 && m->type != MODEL_BF16)
        return err_set(e, ERR_USAGE, "weights in %s cannot be trained, want f32 or bf16",
                       model_type_name[m->type]);
    if (m->map != m->block)
        return err_set(e, ERR_STATE, "weights in a mapped file cannot be trained");
    int rc = new_parameters(&p, count_entries(m), e);
    if (rc)
        return rc;
    rc = fill(p, m, c, seed, e);
    if (rc) {
        parameters_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

/* --- packing */

static void sync_pairs(struct parameters *p)
{
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < p->n; i++) {
        const struct parameter *x = &p->p[i];
        const struct lora *l = &p->adapter->lora[x->layer * LINEARS + (size_t)(x->role - ROLE_Q)];
        bool a = x->part == PART_LORA_A;
        adapter_set(p->adapter, a ? &l->a : &l->b, x->value, a ? p->scale : 1);
    }
}

static void sync_matrix(unsigned char *to, enum dtype t, const struct parameter *p)
{
    size_t bytes = matrix_panel_bytes(t, p->cols);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < matrix_panels(p->rows); i++) {
        size_t first = i * PANEL, n = p->rows - first < PANEL ? p->rows - first : PANEL;
        matrix_pack(to + i * bytes, t, p->value + first * p->cols, n, p->cols);
    }
}

static void sync_block(const struct parameters *p, struct model *m)
{
    const struct config *c = &m->config;
    struct layout l;
    size_t i = 0;
    for (layout_start(&l, c, m->type); layout_next(&l);) {
        enum role r = (enum role)l.role;
        if (r == ROLE_ROPE_FREQS)
            continue;
        const struct parameter *x = &p->p[i++];
        float *to = (float *)(void *)(m->block + l.offset), offset = norm_offset(c, r);
        if (layout_is_matrix(r))
            sync_matrix(m->block + l.offset, layout_dtype(c, m->type, r), x);
        else
            for (size_t k = 0; k < x->cols; k++)
                to[k] = x->value[k] + offset;
    }
}

void parameters_sync(struct parameters *p, struct model *m)
{
    if (p->adapter)
        sync_pairs(p);
    else
        sync_block(p, m);
}
