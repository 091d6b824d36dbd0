#include "model/generate.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int session_prefill(struct session *s, struct kv *kv, const int32_t *ids, size_t n, float *hidden,
                    struct err *e)
{
    size_t most = session_tokens(s), before = kv->n;
    for (size_t i = 0; i < n; i += most) {
        size_t k = n - i < most ? n - i : most, last = k - 1;
        struct run run = {.kv = kv, .ids = ids + i, .n = k};
        struct outputs out = {.wanted = &last, .wanted_n = i + k == n, .hidden = hidden};
        int rc = session_forward(s, &run, 1, &out, e);
        if (rc) {
            kv_truncate(kv, before);
            return rc;
        }
    }
    return 0;
}

static int32_t likeliest(const float *logits, size_t V)
{
    size_t best = 0;
    for (size_t i = 1; i < V; i++)
        if (logits[i] > logits[best])
            best = i;
    return (int32_t)best;
}

static float softmax_all(float *p, size_t V, float temperature)
{
    float top = p[likeliest(p, V)], total = 0;
    for (size_t i = 0; i < V; i++) {
        p[i] = expf((p[i] - top) / temperature);
        total += p[i];
    }
    return total;
}

/* Sift-down of a max-heap by probability, lower ids first among equals. */
static void sift(int32_t *heap, size_t n, size_t i, const float *p)
{
    for (;;) {
        size_t big = i, l = 2 * i + 1;
        for (size_t c = l; c < l + 2 && c < n; c++)
            if (p[heap[c]] > p[heap[big]] || (p[heap[c]] == p[heap[big]] && heap[c] < heap[big]))
                big = c;
        if (big == i)
            return;
        int32_t t = heap[i];
        heap[i] = heap[big];
        heap[big] = t;
        i = big;
    }
}

int32_t generate_choose(float *logits, size_t V, const struct generate_options *o, uint64_t *state,
                        int32_t *order)
{
    if (o->temperature <= 0)
        return likeliest(logits, V);
    float total = softmax_all(logits, V, o->temperature);
    float keep = o->top_p > 0 && o->top_p < 1 ? o->top_p * total : total, mass = 0;
    size_t n = V;
    for (size_t i = 0; i < V; i++)
        order[i] = (int32_t)i;
    for (size_t i = V / 2; i-- > 0;)
        sift(order, V, i, logits);
    /* Likeliest first, to the heap's end, until they weigh enough. */
    while (n > 0 && mass < keep) {
        mass += logits[order[0]];
        int32_t t = order[0];
        order[0] = order[--n];
        order[n] = t;
        sift(order, n, 0, logits);
    }
    struct rng rng = {*state};
    float at = (float)(rng_next(&rng) >> 40) * 0x1p-24f * mass;
    *state = rng.state;
    for (size_t i = V; i-- > n;) {
        at -= logits[order[i]];
        if (at < 0)
            return order[i];
    }
    return order[n];
}

int session_generate(struct session *s, struct kv *kv, float *hidden, const struct generate_options *o,
                     bool (*token)(void *context, int32_t id), void *context, struct err *e)
{
    const struct model *m = session_model(s);
    size_t V = m->head.rows, ld = (V + 15) & ~(size_t)15;
    float *logits = malloc(ld * sizeof *logits);
    int32_t *order = malloc(V * sizeof *order);
    uint64_t state = o->seed;
    int rc = logits && order ? 0 : err_set(e, ERR_MEMORY, "out of memory for %zu logits", V);
    for (size_t i = 0; !rc && i < o->max_tokens; i++) {
        session_logits(s, &m->head, hidden, 1, logits, ld);
        int32_t id = generate_choose(logits, V, o, &state, order);
        if (!token(context, id) || i + 1 == o->max_tokens)
            break;
        rc = session_prefill(s, kv, &id, 1, hidden, e);
    }
    free(logits);
    free(order);
    return rc;
}
