#include "train/corpus_int.h"

#include "base/rng.h"
#include "base/size.h"

#include <stdlib.h>
#include <string.h>

enum { WINDOW = 64 /* batches sorted together */ };

/* ---- batches ---- */

void batch_clear(struct batch *b)
{
    b->n_runs = b->n_targets = b->n_tokens = 0;
}

void batch_deinit(struct batch *b)
{
    free(b->runs);
    free(b->targets);
    free(b->ids);
    *b = (struct batch){0};
}

/* Makes room for n more elements behind `used`; *array stays as it is on failure. */
static int room(void **array, size_t *capacity, size_t used, size_t n, size_t element, struct err *e)
{
    size_t want, bytes;
    void *more = NULL;
    if (size_add(used, n, &want) && want <= *capacity)
        return 0;
    if (size_add(used, n, &want) && size_mul(want, 2, &want) && size_mul(want, element, &bytes))
        more = realloc(*array, bytes);
    if (!more)
        return err_set(e, ERR_MEMORY, "out of memory for a batch");
    *array = more;
    *capacity = want;
    return 0;
}

int batch_add_run(struct batch *b, const int32_t *ids, size_t n, int parent, uint64_t key, struct err *e)
{
    int rc = room((void **)&b->ids, &b->ids_capacity, b->n_tokens, n, sizeof *b->ids, e);
    if (!rc)
        rc = room((void **)&b->runs, &b->runs_capacity, b->n_runs, 1, sizeof *b->runs, e);
    if (rc)
        return rc;
    if (n)
        memcpy(b->ids + b->n_tokens, ids, n * sizeof *ids);
    b->n_tokens += n;
    b->runs[b->n_runs++] = (struct tape_run){.n = n, .parent = parent, .key = key};
    return 0;
}

int batch_add_target(struct batch *b, struct target t, struct err *e)
{
    int rc = room((void **)&b->targets, &b->targets_capacity, b->n_targets, 1, sizeof *b->targets, e);
    if (!rc)
        b->targets[b->n_targets++] = t;
    return rc;
}

/* The tokens do not move any more. */
static void finish(struct batch *b, double normaliser)
{
    const int32_t *at = b->ids;
    for (size_t i = 0; i < b->n_runs; at += b->runs[i++].n)
        b->runs[i].ids = at;
    for (size_t i = 0; i < b->n_targets; i++)
        b->targets[i].weight = (float)((double)b->targets[i].weight / normaliser);
}

int corpus_batch(const struct corpus *c, const uint32_t *items, size_t n, double normaliser, struct batch *b,
                 struct err *e)
{
    int rc = 0;
    batch_clear(b);
    if (c->prefix)
        rc = batch_add_run(b, c->prefix_ids, c->prefix, -1, CORPUS_PREFIX_KEY, e);
    for (size_t i = 0; !rc && i < n; i++)
        rc = c->ops->add(c, items[i], b, e);
    if (!rc)
        finish(b, normaliser);
    return rc;
}

/* ---- order ---- */

struct sorting {
    const uint32_t *length;
    uint64_t salt;
};

/* Long ones first; what is alike in an order of its own, as sorting may not bring back that of the file. */
static int by_length(const void *a, const void *b, void *context)
{
    const struct sorting *s = context;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    struct rng p = {s->salt + x}, q = {s->salt + y};
    uint64_t m = rng_next(&p), n = rng_next(&q);
    if (s->length[x] != s->length[y])
        return s->length[x] < s->length[y] ? 1 : -1;
    return m != n ? (m < n ? -1 : 1) : (x > y) - (x < y);
}

static void swap_batches(uint32_t *a, uint32_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t t = a[i];
        a[i] = b[i];
        b[i] = t;
    }
}

void corpus_order(const struct corpus *c, uint64_t seed, uint64_t epoch, size_t batch, uint32_t *order)
{
    struct rng r = {seed};
    r.state = rng_next(&r) + epoch;
    r.state = rng_next(&r);
    struct sorting s = {c->length, rng_next(&r)};
    for (size_t i = 0; i < c->n; i++)
        order[i] = (uint32_t)i;
    rng_shuffle(&r, order, c->n);
    for (size_t at = 0, n; at < c->n; at += n) {
        n = c->n - at < WINDOW * batch ? c->n - at : WINDOW * batch;
        qsort_r(order + at, n, sizeof *order, by_length, &s);
    }
    for (size_t i = c->n / batch; i > 1; i--) /* a last one that is not full stays the last */
        swap_batches(order + (i - 1) * batch, order + rng_below(&r, i) * batch, batch);
}

/* ---- of every kind ---- */

int corpus_items(struct corpus *c, size_t n, struct err *e)
{
    if (n >= UINT32_MAX)
        return err_set(e, ERR_LIMIT, "%zu items to train on, at most %u", n, UINT32_MAX - 1);
    c->length = calloc(n + 1, sizeof *c->length);
    c->weight = calloc(n + 1, sizeof *c->weight);
    return c->length && c->weight ? 0 : err_set(e, ERR_MEMORY, "out of memory for %zu items", n);
}

void corpus_free(struct corpus *c)
{
    free(c->length);
    free(c->weight);
    free(c);
}

void corpus_close(struct corpus *c)
{
    if (c)
        c->ops->close(c);
}
