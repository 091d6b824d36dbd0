#include "data/split.h"

#include "base/rng.h"
#include "data/near.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const split_part_name[SPLIT_PARTS] = {"train", "dev", "test"};

/* ---- groups: union-find with path halving; the root is the group's first row ---- */

static uint32_t root_of(uint32_t *parent, uint32_t i)
{
    while (parent[i] != i)
        i = parent[i] = parent[parent[i]];
    return i;
}

static void join(uint32_t *parent, uint32_t a, uint32_t b)
{
    a = root_of(parent, a);
    b = root_of(parent, b);
    parent[a > b ? a : b] = a < b ? a : b;
}

static void join_near(void *context, uint32_t a, uint32_t b, double similarity)
{
    (void)similarity;
    join(context, a, b);
}

static void join_people(uint32_t *parent, struct near_key *key, size_t n)
{
    near_key_sort(key, n);
    for (size_t i = 0, end; i < n; i = end) {
        end = near_key_run(key, n, i);
        for (size_t k = i + 1; k < end; k++)
            join(parent, key[i].row, key[k].row);
    }
}

static int join_rows(uint32_t *parent, const struct labelled_posts *p, double similarity, struct err *e)
{
    struct arena a = {0};
    struct near_text *text = arena_alloc(&a, p->n, sizeof *text), user;
    struct near_key *key = arena_alloc(&a, p->n, sizeof *key);
    size_t n = 0;
    int rc = text && key ? 0 : err_set(e, ERR_MEMORY, "out of memory for %zu rows", p->n);
    for (size_t i = 0; i < p->n && !rc; i++) {
        parent[i] = (uint32_t)i;
        rc = near_fold(&text[i], p->row[i].text, &a, e);
        if (!rc && p->row[i].user && !(rc = near_fold(&user, p->row[i].user, &a, e)) && user.len > 0)
            key[n++] = near_key(user.s, user.len, (uint32_t)i);
    }
    if (!rc) {
        join_people(parent, key, n);
        rc = near_pairs(text, p->n, similarity, join_near, parent, e);
    }
    arena_deinit(&a);
    return rc;
}

/* Roots become group numbers. */
static void number_groups(struct split *s, uint32_t *parent)
{
    for (size_t i = 0; i < s->n; i++) {
        uint32_t root = root_of(parent, (uint32_t)i);
        s->group[i] = root == i ? (uint32_t)s->groups++ : s->group[root];
    }
}

/* ---- parts ---- */

/* Whole rows by largest remainder. */
static int set_targets(struct split *s, const double fraction[SPLIT_PARTS], struct err *e)
{
    double sum = 0, rest[SPLIT_PARTS];
    size_t given = 0;
    for (int k = 0; k < SPLIT_PARTS; k++) {
        if (!(fraction[k] >= 0 && fraction[k] <= 1.001))
            return err_set(e, ERR_USAGE, "%s fraction %g: want 0 to 1", split_part_name[k], fraction[k]);
        sum += fraction[k];
    }
    if (fabs(sum - 1) > 0.001 + 1e-9)
        return err_set(e, ERR_USAGE, "the fractions sum to %g, want 1", sum);
    for (int k = 0; k < SPLIT_PARTS; k++) {
        double want = fraction[k] / sum * (double)s->n;
        s->target[k] = (size_t)(want + 1e-9); /* 0.7 x 10 is 7 */
        rest[k] = want - (double)s->target[k];
        given += s->target[k];
    }
    for (; given < s->n; given++) {
        int most = 0;
        for (int k = 1; k < SPLIT_PARTS; k++)
            most = rest[k] > rest[most] ? k : most;
        s->target[most]++;
        rest[most] -= 1;
    }
    return 0;
}

/* A part drawn in proportion to its room among those the group fits in, so that no part gets only the large
 * groups or only single rows; the roomiest where it fits in none. */
static enum split_part draw_part(const struct split *s, size_t size, struct rng *r)
{
    size_t room[SPLIT_PARTS], total = 0;
    int roomiest = 0;
    for (int k = 0; k < SPLIT_PARTS; k++) {
        room[k] = s->target[k] > s->rows[k] ? s->target[k] - s->rows[k] : 0;
        roomiest = room[k] > room[roomiest] ? k : roomiest;
        total += room[k] >= size ? room[k] : 0;
    }
    if (total == 0)
        return (enum split_part)roomiest;
    size_t at = rng_below(r, total);
    for (int k = 0; k < SPLIT_PARTS; k++) {
        if (room[k] < size)
            continue;
        if (at < room[k])
            return (enum split_part)k;
        at -= room[k];
    }
    return (enum split_part)roomiest;
}

/* Large groups first, while there is room for them; the small ones then fill what is left. Equal ones in
 * random order: a counting sort of a shuffle, as the library's sort need not be stable. */
static void order_groups(uint32_t *order, uint32_t *shuffled, const size_t *size, size_t *at,
                         const struct split *s, struct rng *r)
{
    for (size_t g = 0; g < s->groups; g++) {
        shuffled[g] = (uint32_t)g;
        at[s->largest - size[g] + 1]++;
    }
    rng_shuffle(r, shuffled, s->groups);
    for (size_t i = 0; i < s->largest; i++)
        at[i + 1] += at[i];
    for (size_t i = 0; i < s->groups; i++)
        order[at[s->largest - size[shuffled[i]]]++] = shuffled[i];
}

static int assign_groups(struct split *s, uint64_t seed, struct err *e)
{
    struct arena a = {0};
    struct rng r = {seed};
    size_t *size = arena_alloc(&a, s->n + 1, sizeof *size);
    size_t *at = arena_alloc(&a, s->n + 2, sizeof *at);
    uint32_t *order = arena_alloc(&a, s->n + 1, sizeof *order);
    uint32_t *shuffled = arena_alloc(&a, s->n + 1, sizeof *shuffled);
    uint8_t *part = arena_alloc(&a, s->n + 1, 1);
    int rc = size && at && order && shuffled && part
                 ? 0
                 : err_set(e, ERR_MEMORY, "out of memory for %zu rows", s->n);
    for (size_t i = 0; i < s->n && !rc; i++) {
        size_t n = ++size[s->group[i]];
        s->largest = n > s->largest ? n : s->largest;
    }
    if (!rc)
        order_groups(order, shuffled, size, at, s, &r);
    for (size_t k = 0; k < s->groups && !rc; k++) {
        uint32_t g = order[k];
        part[g] = (uint8_t)draw_part(s, size[g], &r);
        s->rows[part[g]] += size[g];
    }
    for (size_t i = 0; i < s->n && !rc; i++)
        s->part[i] = part[s->group[i]];
    arena_deinit(&a);
    return rc;
}

int split_make(struct split *out, const struct labelled_posts *posts, const double fraction[SPLIT_PARTS],
               double similarity, uint64_t seed, struct err *e)
{
    *out = (struct split){.n = posts->n};
    if (posts->n >= UINT32_MAX)
        return err_set(e, ERR_LIMIT, "%zu rows: at most %u", posts->n, UINT32_MAX - 1);
    int rc = set_targets(out, fraction, e);
    if (rc)
        return rc;
    uint32_t *parent = calloc(posts->n + 1, sizeof *parent);
    out->part = calloc(posts->n + 1, sizeof *out->part);
    out->group = calloc(posts->n + 1, sizeof *out->group);
    if (!parent || !out->part || !out->group)
        rc = err_set(e, ERR_MEMORY, "out of memory for %zu rows", posts->n);
    if (!rc)
        rc = join_rows(parent, posts, similarity, e);
    if (!rc) {
        number_groups(out, parent);
        rc = assign_groups(out, seed, e);
    }
    free(parent);
    if (rc)
        split_deinit(out);
    return rc;
}

void split_deinit(struct split *s)
{
    free(s->part);
    free(s->group);
    *s = (struct split){0};
}
