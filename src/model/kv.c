#include "model/kv.h"

#include "base/size.h"

#include <stdlib.h>
#include <string.h>

static size_t value_panels(size_t Dh)
{
    return matrix_panels(Dh);
}

static bool head_floats(const struct config *c, size_t capacity, size_t *k, size_t *v)
{
    return size_mul(capacity, c->head_width, k) && size_mul(capacity, value_panels(c->head_width) * PANEL, v);
}

size_t kv_bytes(const struct config *c, size_t capacity)
{
    size_t k, v, n;
    capacity = (capacity + 15) & ~(size_t)15;
    if (!head_floats(c, capacity, &k, &v) || !size_add(k, v, &n) ||
        !size_mul(n, (size_t)c->layers * c->kv_heads, &n) || !size_mul(n, sizeof(float), &n))
        return 0;
    return n;
}

int kv_new(struct kv **out, const struct model *m, struct kv *parent, size_t capacity, bool transient,
           struct err *e)
{
    size_t layers = transient ? 1 : m->config.layers, heads = layers * m->config.kv_heads;
    size_t bytes = kv_bytes(&m->config, capacity) / m->config.layers * layers;
    struct kv *kv = calloc(1, sizeof *kv);
    /* Zeroed: cells not yet written are multiplied with zero probabilities, and must be finite. */
    float *cells = bytes ? calloc(1, bytes + 63) : NULL;
    *out = NULL;
    if (!kv || !cells) {
        free(kv);
        free(cells);
        return err_set(e, ERR_MEMORY, "out of memory for keys and values of %zu positions", capacity);
    }
    kv->heads = m->config.kv_heads;
    kv->layers = layers;
    kv->capacity = (capacity + 15) & ~(size_t)15;
    head_floats(&m->config, kv->capacity, &kv->k_head, &kv->v_head);
    kv->space = cells;
    kv->k = (float *)(((uintptr_t)cells + 63) & ~(uintptr_t)63);
    kv->v = kv->k + heads * kv->k_head;
    kv_reuse(kv, parent);
    *out = kv;
    return 0;
}

void kv_free(struct kv *kv)
{
    if (!kv)
        return;
    free(kv->space);
    free(kv);
}

void kv_truncate(struct kv *kv, size_t n)
{
    if (n < kv->n)
        kv->n = n;
}

void kv_reuse(struct kv *kv, struct kv *parent)
{
    kv->parent = parent;
    kv->start = parent ? parent->start + parent->n : 0;
    kv->n = 0;
}

float *kv_keys(const struct kv *kv, size_t layer, size_t head)
{
    return kv->k + (layer % kv->layers * kv->heads + head) * kv->k_head;
}

float *kv_values(const struct kv *kv, size_t layer, size_t head)
{
    return kv->v + (layer % kv->layers * kv->heads + head) * kv->v_head;
}

void kv_put(struct kv *kv, size_t layer, size_t head, size_t Dh, size_t i, const float *k, const float *v)
{
    float *keys = kv_keys(kv, layer, head) + i / PANEL * Dh * PANEL + i % PANEL;
    for (size_t d = 0; d < Dh; d++)
        keys[d * PANEL] = k[d];
    float *values = kv_values(kv, layer, head) + i * PANEL;
    for (size_t d = 0; d < Dh; d += PANEL)
        memcpy(values + d * kv->capacity, v + d, (Dh - d < PANEL ? Dh - d : PANEL) * sizeof *v);
}
