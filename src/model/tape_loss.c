/* The head and the loss. The head's gradient is made with its logits, a chunk of targets at a time, so that the logits
 * of all are never in memory together. */
#include "model/tape_int.h"

#include <math.h>
#include <omp.h>
#include <string.h>

/* Of logits z [n]: the loss of `want`, and in z the weighted gradient of the logits before the soft cap. spare [n]. */
struct entropy {
    size_t want;
    float weight, cap;
    float *spare;
};

/* Where the largest is. */
static size_t largest(const float *z, size_t n)
{
    float lane[PANEL], max = z[0];
    size_t i = 0;
    for (size_t j = 0; j < PANEL; j++)
        lane[j] = z[0];
    for (; i + PANEL <= n; i += PANEL)
        for (size_t j = 0; j < PANEL; j++)
            lane[j] = z[i + j] > lane[j] ? z[i + j] : lane[j];
    for (; i < n; i++)
        max = z[i] > max ? z[i] : max;
    for (size_t j = 0; j < PANEL; j++)
        max = lane[j] > max ? lane[j] : max;
    for (i = 0; i + 1 < n && z[i] != max;)
        i++;
    return i;
}

/* log sum e^(z - max) is less the logarithm of the largest probability. */
static double entropy_row(const struct kernels *k, float *z, size_t n, const struct entropy *e)
{
    if (e->cap > 0) {
        k->softcap(z, n, e->cap);
        memcpy(e->spare, z, n * sizeof *z);
    }
    size_t top = largest(z, n);
    double below = (double)z[top] - (double)z[e->want];
    k->softmax(z, 0, n, 1, 0);
    double loss = below - log((double)z[top]);
    z[e->want] -= 1;
    for (size_t i = 0; i < n; i++)
        z[i] *= e->weight;
    for (size_t i = 0; e->cap > 0 && i < n; i++) {
        float share = e->spare[i] / e->cap;
        z[i] *= 1 - share * share;
    }
    return loss;
}

static float *head_grad(const struct tape *t)
{
    return tape_grad(t, t->model->config.tied ? ROLE_EMBEDDING : ROLE_HEAD, 0, PART_WEIGHT);
}

/* --- over the whole vocabulary */

/* Up to t->chunk of the targets from `from` on that go over the whole vocabulary: their indices; returns how many, and
 * where to go on. */
static size_t next_chunk(const struct tape *t, size_t *from, size_t *index)
{
    size_t n = 0;
    for (; *from < t->targets && n < t->chunk; ++*from)
        if (!t->target[*from].among_n)
            index[n++] = *from;
    return n;
}

/* Logits of n targets, before the soft cap, in t->logits. */
static void chunk_logits(struct tape *t, const size_t *index, size_t n)
{
    const struct config *c = &t->model->config;
    struct activation a;
    for (size_t i = 0; i < n; i++)
        memcpy(t->from + i * t->ld, t->hidden + t->target_row[index[i]] * t->ld, t->ld * sizeof(float));
    activation_init(&a, t->o.compute, n, c->width, t->rows[0]);
    matmul_prepare(tape_kernels(t), &a, t->from, t->ld);
    matmul_run(tape_kernels(t), t->logits, t->ld_v, &t->model->head, &a);
}

static void chunk_backward(struct tape *t, const size_t *index, size_t n)
{
    const struct config *c = &t->model->config;
    const struct kernels *k = tape_kernels(t);
    float *grad = head_grad(t);
    struct activation a;
    activation_init(&a, t->o.compute, n, c->vocabulary, t->rows[0]);
    matmul_prepare(k, &a, t->logits, t->ld_v);
    matmul_transposed(k, t->onto, t->ld, &t->model->head, &a, false);
    for (size_t i = 0; i < n; i++)
        k->add(t->dhidden + t->target_row[index[i]] * t->ld, t->onto + i * t->ld, c->width);
    if (grad)
        matmul_outer(k, grad, t->logits, t->ld_v, c->vocabulary, t->from, t->ld, c->width, n, t->o.compute,
                     t->outer);
}

static void chunk_losses(struct tape *t, const size_t *index, size_t n)
{
    const struct config *c = &t->model->config;
#pragma omp parallel
    {
        float *spare = t->spare + (size_t)omp_get_thread_num() * t->ld_spare;
#pragma omp for schedule(static)
        for (size_t i = 0; i < n; i++) {
            const struct target *x = &t->target[index[i]];
            const struct entropy e = {(size_t)x->id, x->weight, c->logit_softcap, spare};
            t->target_loss[index[i]] =
                entropy_row(tape_kernels(t), t->logits + i * t->ld_v, c->vocabulary, &e);
        }
    }
}

/* --- among a few tokens */

static double among_loss(struct tape *t, size_t i)
{
    const struct config *c = &t->model->config;
    const struct target *x = &t->target[i];
    const float *hidden = t->hidden + t->target_row[i] * t->ld;
    float z[PANEL] = {0}, capped[PANEL], *row = t->spare, *grad = head_grad(t);
    struct entropy e = {0, x->weight, c->logit_softcap, capped};
    for (size_t j = 0; j < x->among_n; j++) {
        double sum = 0;
        matrix_row(row, &t->model->head, (size_t)x->among[j]);
        for (size_t d = 0; d < c->width; d++)
            sum += (double)row[d] * (double)hidden[d];
        z[j] = (float)sum;
        e.want = x->among[j] == x->id ? j : e.want;
    }
    double loss = entropy_row(tape_kernels(t), z, x->among_n, &e);
    float *onto = t->dhidden + t->target_row[i] * t->ld;
    for (size_t j = 0; t->train && j < x->among_n; j++) {
        float *to = grad ? grad + (size_t)x->among[j] * c->width : NULL;
        matrix_row(row, &t->model->head, (size_t)x->among[j]);
        for (size_t d = 0; d < c->width; d++)
            onto[d] += z[j] * row[d];
        for (size_t d = 0; to && d < c->width; d++)
            to[d] += z[j] * hidden[d];
    }
    return loss;
}

/* --- all targets */

static void hidden_rows(struct tape *t)
{
    const struct config *c = &t->model->config;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < t->W; i++)
        tape_kernels(t)->rmsnorm(t->hidden + i * t->ld, t->out + i * t->ld, t->model->norm, c->width,
                                 c->norm_eps);
}

double tape_loss(struct tape *t)
{
    double loss = 0;
    size_t index[TAPE_LOGITS], n, at = 0;
    hidden_rows(t);
    memset(t->dhidden, 0, t->W * t->ld * sizeof *t->dhidden);
    while ((n = next_chunk(t, &at, index)) > 0) {
        chunk_logits(t, index, n);
        chunk_losses(t, index, n);
        if (t->train)
            chunk_backward(t, index, n);
    }
    for (size_t i = 0; i < t->targets; i++) {
        if (t->target[i].among_n)
            t->target_loss[i] = among_loss(t, i);
        loss += t->target_loss[i] * (double)t->target[i].weight;
    }
    return loss;
}

void tape_logits(struct tape *t, float *out)
{
    const struct config *c = &t->model->config;
    size_t index[TAPE_LOGITS], n, at = 0;
    omp_set_num_threads(t->o.threads);
    while ((n = next_chunk(t, &at, index)) > 0) {
        chunk_logits(t, index, n);
        for (size_t i = 0; i < n; i++) {
            float *row = t->logits + i * t->ld_v;
            if (c->logit_softcap > 0)
                tape_kernels(t)->softcap(row, c->vocabulary, c->logit_softcap);
            memcpy(out + index[i] * c->vocabulary, row, c->vocabulary * sizeof *out);
        }
    }
}
