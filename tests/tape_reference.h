/* A decoder's loss in doubles, written from the papers in the plainest way, to differentiate by differences: no cache,
 * no kernels, every token against every other. Pairs of LoRA are merged into the weights. */
#ifndef GYEOL_TESTS_TAPE_REFERENCE_H
#define GYEOL_TESTS_TAPE_REFERENCE_H

#include "tape_rig.h"

struct reference {
    const struct model *model;
    const struct parameters *p;
    double **value; /* [p->n] what p holds, in doubles: entries are moved here */
};

static inline struct reference reference_new(const struct model *m, const struct parameters *p)
{
    struct reference r = {m, p, calloc(p->n, sizeof *r.value)};
    for (size_t i = 0; i < p->n; i++) {
        size_t n = p->p[i].rows * p->p[i].cols;
        r.value[i] = malloc(n * sizeof **r.value);
        for (size_t k = 0; k < n; k++)
            r.value[i][k] = (double)p->p[i].value[k];
    }
    return r;
}

static inline void reference_free(struct reference *r)
{
    for (size_t i = 0; i < r->p->n; i++)
        free(r->value[i]);
    free(r->value);
}

static inline double *of_parameter(const struct reference *r, enum role role, uint32_t layer,
                                   enum parameter_part part)
{
    const struct parameter *x = parameters_find(r->p, role, layer, part);
    return x ? r->value[x - r->p->p] : NULL;
}

/* A weight [rows, cols] as doubles (malloc'd), pairs merged. */
static inline double *reference_matrix(const struct reference *r, enum role role, uint32_t layer,
                                       const struct matrix *m)
{
    const double *own = of_parameter(r, role, layer, PART_WEIGHT);
    const double *a = of_parameter(r, role, layer, PART_LORA_A),
                 *b = of_parameter(r, role, layer, PART_LORA_B);
    double *w = malloc(m->rows * m->cols * sizeof *w);
    float *row = malloc((m->cols + 64) * sizeof *row);
    size_t rank = a ? parameters_find(r->p, role, layer, PART_LORA_A)->rows : 0;
    for (size_t i = 0; i < m->rows; i++) {
        if (!own)
            matrix_row(row, m, i);
        for (size_t k = 0; k < m->cols; k++) {
            double sum = own ? own[i * m->cols + k] : (double)row[k];
            for (size_t j = 0; j < rank; j++)
                sum += (double)r->p->scale * b[i * rank + j] * a[j * m->cols + k];
            w[i * m->cols + k] = sum;
        }
    }
    free(row);
    return w;
}

/* A norm's multipliers or a bias; NULL: the model has none. */
static inline double *reference_vector(const struct reference *r, enum role role, uint32_t layer,
                                       const float *of_model, size_t n)
{
    const double *own = of_parameter(r, role, layer, PART_WEIGHT);
    bool norm = role == ROLE_NORM || role >= ROLE_ATTENTION_NORM;
    double *v = of_model ? malloc(n * sizeof *v) : NULL;
    for (size_t i = 0; v && i < n; i++)
        v[i] = !own ? (double)of_model[i] : own[i] + (norm && r->model->config.post_norms ? 1 : 0);
    return v;
}

static inline void reference_norm(double *out, const double *x, const double *w, size_t n, double eps)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] / sqrt(sum / (double)n + eps) * w[i];
}

static inline double cap_of(double x, double cap)
{
    return cap > 0 ? cap * tanh(x / cap) : x;
}

static inline double activation_of(double x, enum config_activation f)
{
    if (f == ACT_SILU)
        return x / (1 + exp(-x));
    if (f == ACT_GELU)
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

/* Where tokens stand. */
struct reference_tokens {
    size_t T, run[512], position[512];
    int32_t id[512];
    const struct tape_run *runs;
};

static inline size_t run_end(const struct tape_run *runs, int r)
{
    return r < 0 ? 0 : run_end(runs, runs[r].parent) + runs[r].n;
}

static inline bool sees(const struct reference_tokens *t, size_t query, size_t key, size_t window)
{
    if (t->run[query] == t->run[key] && key > query)
        return false;
    int r = (int)t->run[query];
    while (r >= 0 && (size_t)r != t->run[key])
        r = t->runs[r].parent;
    return r >= 0 && (window == 0 || t->position[key] + window > t->position[query]);
}

/* y [T, rows] = x [T, cols] W^T + bias, W by its role. */
static inline double *reference_linear(const struct reference *r, enum role role, uint32_t layer,
                                       const double *x, size_t T)
{
    const struct layer *l = &r->model->layer[layer];
    const struct matrix *m = &l->w[role - ROLE_Q];
    double *w = reference_matrix(r, role, layer, m), *y = malloc(T * m->rows * sizeof *y);
    double *b =
        reference_vector(r, (enum role)(role - ROLE_Q + ROLE_Q_BIAS), layer, l->bias[role - ROLE_Q], m->rows);
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < m->rows; i++) {
            double sum = b ? b[i] : 0;
            for (size_t k = 0; k < m->cols; k++)
                sum += w[i * m->cols + k] * x[t * m->cols + k];
            y[t * m->rows + i] = sum;
        }
    free(w);
    free(b);
    return y;
}

static inline void reference_turn(const struct reference *r, uint32_t layer, double *x, size_t heads,
                                  const double *norm, const struct reference_tokens *t)
{
    const struct config *c = &r->model->config;
    const struct config_rope_kind *kind = &c->rope[c->sliding[layer] ? 1 : 0];
    size_t half = c->rope_width / 2;
    for (size_t i = 0; i < t->T * heads; i++) {
        double *head = x + i * c->head_width, position = (double)t->position[i / heads];
        if (norm)
            reference_norm(head, head, norm, c->head_width, (double)c->norm_eps);
        for (size_t k = 0; k < half; k++) {
            double f = pow((double)kind->theta, -2.0 * (double)k / c->rope_width);
            if (kind->scaling == ROPE_LINEAR)
                f /= (double)kind->factor;
            double a = head[k], b = head[k + half], angle = position * f;
            head[k] = a * cos(angle) - b * sin(angle);
            head[k + half] = b * cos(angle) + a * sin(angle);
        }
    }
}

static inline double *reference_attend(const struct reference *r, uint32_t layer, const double *q,
                                       const double *k, const double *v, const struct reference_tokens *t)
{
    const struct config *c = &r->model->config;
    size_t Dh = c->head_width, H = c->heads, G = c->heads / c->kv_heads, Hk = c->kv_heads;
    size_t window = c->sliding[layer] ? c->sliding_window : 0;
    double *out = calloc(t->T * H * Dh, sizeof *out), weight[512];
    for (size_t i = 0; i < t->T; i++)
        for (size_t h = 0; h < H; h++) {
            double sum = 0;
            for (size_t j = 0; j < t->T; j++) {
                double s = 0;
                for (size_t d = 0; d < Dh; d++)
                    s += q[(i * H + h) * Dh + d] * k[(j * Hk + h / G) * Dh + d];
                s = cap_of(s * (double)c->attention_scale, (double)c->attention_softcap);
                weight[j] = sees(t, i, j, window) ? exp(s) : 0;
                sum += weight[j];
            }
            for (size_t j = 0; j < t->T; j++)
                for (size_t d = 0; d < Dh; d++)
                    out[(i * H + h) * Dh + d] += weight[j] / sum * v[(j * Hk + h / G) * Dh + d];
        }
    return out;
}

/* x += y, through the post norm if there is one; y is freed. */
static inline void reference_residual(const struct reference *r, double *x, double *y, double *norm, size_t T)
{
    size_t D = r->model->config.width;
    for (size_t t = 0; t < T; t++) {
        if (norm)
            reference_norm(y + t * D, y + t * D, norm, D, (double)r->model->config.norm_eps);
        for (size_t d = 0; d < D; d++)
            x[t * D + d] += y[t * D + d];
    }
    free(y);
    free(norm);
}

static inline double *reference_normed(const struct reference *r, const double *x, double *norm, size_t T)
{
    size_t D = r->model->config.width;
    double *out = malloc(T * D * sizeof *out);
    for (size_t t = 0; t < T; t++)
        reference_norm(out + t * D, x + t * D, norm, D, (double)r->model->config.norm_eps);
    free(norm);
    return out;
}

static inline void reference_layer(const struct reference *r, uint32_t layer, double *x,
                                   const struct reference_tokens *t)
{
    const struct config *c = &r->model->config;
    const float *const *norm = r->model->layer[layer].norm;
    size_t D = c->width, Dh = c->head_width;
    double *n = reference_normed(
        r, x, reference_vector(r, ROLE_ATTENTION_NORM, layer, norm[NORM_ATTENTION], D), t->T);
    double *q = reference_linear(r, ROLE_Q, layer, n, t->T), *k = reference_linear(r, ROLE_K, layer, n, t->T);
    double *v = reference_linear(r, ROLE_V, layer, n, t->T);
    double *qn = reference_vector(r, ROLE_Q_NORM, layer, norm[NORM_Q], Dh);
    double *kn = reference_vector(r, ROLE_K_NORM, layer, norm[NORM_K], Dh);
    reference_turn(r, layer, q, c->heads, qn, t);
    reference_turn(r, layer, k, c->kv_heads, kn, t);
    double *o = reference_attend(r, layer, q, k, v, t);
    reference_residual(r, x, reference_linear(r, ROLE_O, layer, o, t->T),
                       reference_vector(r, ROLE_POST_ATTENTION_NORM, layer, norm[NORM_POST_ATTENTION], D),
                       t->T);
    free(n);
    n = reference_normed(r, x, reference_vector(r, ROLE_FF_NORM, layer, norm[NORM_FF], D), t->T);
    double *gate = reference_linear(r, ROLE_GATE, layer, n, t->T);
    double *up = reference_linear(r, ROLE_UP, layer, n, t->T);
    for (size_t i = 0; i < t->T * c->ff_width; i++)
        gate[i] = activation_of(gate[i], c->activation) * up[i];
    reference_residual(r, x, reference_linear(r, ROLE_DOWN, layer, gate, t->T),
                       reference_vector(r, ROLE_POST_FF_NORM, layer, norm[NORM_POST_FF], D), t->T);
    double *const all[] = {n, q, k, v, qn, kn, o, gate, up};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static inline double reference_entropy(const struct reference *r, const double *head, const double *hidden,
                                       const struct target *x)
{
    const struct config *c = &r->model->config;
    size_t n = x->among_n ? x->among_n : c->vocabulary;
    double sum = 0, right = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t id = x->among_n ? x->among[i] : (int32_t)i;
        double z = 0;
        for (size_t d = 0; d < c->width; d++)
            z += head[(size_t)id * c->width + d] * hidden[d];
        z = cap_of(z, (double)c->logit_softcap);
        sum += exp(z);
        right = id == x->id ? z : right;
    }
    return (log(sum) - right) * (double)x->weight;
}

static inline struct reference_tokens reference_place(const struct tape_run *runs, size_t n)
{
    struct reference_tokens t = {.runs = runs};
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < runs[r].n; i++, t.T++) {
            t.run[t.T] = r;
            t.position[t.T] = run_end(runs, runs[r].parent) + i;
            t.id[t.T] = runs[r].ids[i];
        }
    return t;
}

static inline double reference_loss(const struct reference *r, const struct tape_run *runs, size_t n,
                                    const struct target *targets, size_t n_targets)
{
    const struct config *c = &r->model->config;
    struct reference_tokens t = reference_place(runs, n);
    size_t D = c->width;
    double *table = reference_matrix(r, ROLE_EMBEDDING, 0, &r->model->embedding), loss = 0;
    double *head = c->tied ? table : reference_matrix(r, ROLE_HEAD, 0, &r->model->head);
    double *x = malloc(t.T * D * sizeof *x);
    for (size_t i = 0; i < t.T * D; i++)
        x[i] = table[(size_t)t.id[i / D] * D + i % D] * (double)c->embedding_scale;
    for (uint32_t l = 0; l < c->layers; l++)
        reference_layer(r, l, x, &t);
    double *hidden = reference_normed(r, x, reference_vector(r, ROLE_NORM, 0, r->model->norm, D), t.T);
    for (size_t i = 0; i < n_targets; i++)
        loss += reference_entropy(r, head, hidden + targets[i].token * D, &targets[i]);
    if (head != table)
        free(head);
    free(table);
    free(hidden);
    free(x);
    return loss;
}

#endif
