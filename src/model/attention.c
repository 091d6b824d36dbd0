#include "model/attention.h"

#include <omp.h>
#include <string.h>

/* Query rows that share one walk over the keys: enough for the widest tile of matmul_f32, few enough that
 * their scores stay in the second-level cache. */
enum { TILE = 24, CHAIN_MAX = 16 };

size_t attention_scratch(size_t positions)
{
    /* The last segment's panels may reach a panel past the last position, twice rounded. */
    return TILE * (((positions + 15) & ~(size_t)15) + 2 * PANEL);
}

/* Rows first .. first+n-1 of the queries: consecutive positions of one segment. */
struct tile {
    const struct kv *kv;
    size_t first, n;
    size_t position; /* of the first */
};

/* The longest tile that starts at query `first`. */
static struct tile tile_at(const struct attention *a, size_t first)
{
    const struct query *q = a->query + first;
    struct tile t = {q->kv, first, 1, q->position};
    while (t.n < TILE && first + t.n < a->T && q[t.n].kv == q->kv && q[t.n].position == q->position + t.n)
        t.n++;
    return t;
}

/* Root first. */
static size_t chain_of(const struct kv *kv, const struct kv *chain[CHAIN_MAX])
{
    size_t n = 0;
    for (const struct kv *p = kv; p && n < CHAIN_MAX; p = p->parent)
        n++;
    for (size_t i = n; i-- > 0; kv = kv->parent)
        chain[i] = kv;
    return n;
}

/* Cells of a segment that any row of the tile sees: [begin, end). Begin is rounded down to a panel: masked
 * scores become zero weights, and adding zero changes nothing. */
static void visible(const struct kv *s, size_t low, size_t positions, size_t *begin, size_t *end)
{
    *end = s->start + s->n < positions ? s->n : positions > s->start ? positions - s->start : 0;
    *begin = low > s->start ? (low - s->start) & ~(size_t)(PANEL - 1) : 0;
}

/* Takes the hidden positions' weight away and gives it to the others in proportion. */
static void hide(float *p, size_t n, const struct query *q)
{
    float gone = 0;
    for (size_t i = q->hide_begin; i < q->hide_end && i < n; i++) {
        gone += p[i];
        p[i] = 0;
    }
    if (gone > 0 && gone < 1)
        for (size_t i = 0; i < n; i++)
            p[i] /= 1 - gone;
}

static void tile_head(const struct attention *a, const struct tile *t, size_t h, float *s)
{
    const struct config *c = a->config;
    const struct kernels *k = a->kernels;
    const struct kv *chain[CHAIN_MAX];
    size_t n = chain_of(t->kv, chain), Dh = c->head_width, kv_head = h / (c->heads / c->kv_heads);
    size_t positions = t->position + t->n, lds = a->scratch_floats / TILE;
    size_t window = c->sliding[a->layer] ? c->sliding_window : 0;
    size_t low = window && t->position + 1 > window ? t->position + 1 - window : 0;
    const float *q = a->q + t->first * a->ld + h * Dh;
    float *out = a->out + t->first * a->ld + h * Dh;
    size_t begin, end;
    for (size_t i = 0; i < n; i++) {
        visible(chain[i], low, positions, &begin, &end);
        if (begin < end)
            k->matmul_f32(s + chain[i]->start + begin, lds, kv_keys(chain[i], a->layer, kv_head) + begin * Dh,
                          Dh * PANEL, matrix_panels(end - begin), q, a->ld, t->n, Dh, false);
    }
    for (size_t r = 0; r < t->n; r++) {
        size_t seen = t->position + r + 1, lo = window && seen > window ? seen - window : 0;
        k->softmax(s + r * lds, lo, seen, c->attention_scale, c->attention_softcap);
        hide(s + r * lds, seen, &a->query[t->first]);
        size_t filled = (seen + 15) & ~(size_t)15;
        if (filled < positions)
            memset(s + r * lds + filled, 0, (positions - filled) * sizeof *s);
    }
    float sum[TILE * CONFIG_HEAD_MAX];
    size_t ldo = (Dh + 15) & ~(size_t)15;
    bool add = false;
    for (size_t i = 0; i < n; i++) {
        visible(chain[i], low, positions, &begin, &end);
        if (begin >= end)
            continue;
        k->matmul_f32(sum, ldo, kv_values(chain[i], a->layer, kv_head) + begin * PANEL,
                      chain[i]->capacity * PANEL, matrix_panels(Dh), s + chain[i]->start + begin, lds, t->n,
                      end - begin, add);
        add = true;
    }
    for (size_t r = 0; r < t->n; r++)
        memcpy(out + r * a->ld, sum + r * ldo, Dh * sizeof *out);
}

void attention_run(const struct attention *a)
{
    size_t group = a->config->heads / a->config->kv_heads;
#pragma omp parallel num_threads(a->threads)
    {
        float *scratch = a->scratch + (size_t)omp_get_thread_num() * a->scratch_floats;
        size_t item = 0;
        for (size_t first = 0; first < a->T;) {
            struct tile t = tile_at(a, first);
            /* The query heads that share a key/value head go to one thread: it finds the cells in its caches. */
            for (size_t kv = 0; kv < a->config->kv_heads; kv++, item++)
                if (item % (size_t)omp_get_num_threads() == (size_t)omp_get_thread_num())
                    for (size_t h = kv * group; h < (kv + 1) * group; h++)
                        tile_head(a, &t, h, scratch);
            first += t.n;
        }
    }
}
