#include "train/guard_train.h"

#include "judge/guard.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FALSE_ALARMS 0.02 /* sentences of other posts that may be masked */

/* Sentences of many posts: their features, the post each is from, and what it is taken for. */
struct sentences {
    struct feature_rows x;
    int8_t *label;  /* [x.n] */
    uint32_t *post; /* [x.n] */
};

static bool talks(const struct labelled_post *p)
{
    return p->kind && strcmp(p->kind, GUARD_KIND) == 0;
}

static void sentences_deinit(struct sentences *s)
{
    feature_rows_deinit(&s->x);
    free(s->label);
    free(s->post);
    *s = (struct sentences){0};
}

static int add_sentences(struct sentences *s, size_t *capacity, const struct labelled_posts *p, size_t i,
                         bool whole, struct arena *a, struct err *e)
{
    struct sentence one = {0, strlen(p->row[i].text)}, *part = &one;
    struct features f;
    size_t n = 1;
    int rc = whole ? 0 : guard_split(p->row[i].text, one.len, a, &part, &n, e);
    for (size_t k = 0; k < n && !rc; k++) {
        if (s->x.n == *capacity) {
            *capacity = *capacity ? 2 * *capacity : 4096;
            int8_t *label = realloc(s->label, *capacity);
            s->label = label ? label : s->label;
            uint32_t *post = realloc(s->post, *capacity * sizeof *post);
            s->post = post ? post : s->post;
            if (!label || !post)
                return err_set(e, ERR_MEMORY, "out of memory for %zu sentences", *capacity);
        }
        s->label[s->x.n] = talks(&p->row[i]);
        s->post[s->x.n] = (uint32_t)i;
        rc = features_extract(&f, p->row[i].text + part[k].begin, part[k].len, NULL, a, e);
        if (!rc)
            rc = feature_rows_add(&s->x, &f, e);
    }
    return rc;
}

static int collect(struct sentences *s, const struct labelled_posts *p, bool whole, struct err *e)
{
    struct arena a = {0};
    size_t capacity = 0;
    int rc = 0;
    *s = (struct sentences){0};
    for (size_t i = 0; i < p->n && !rc; i++) {
        arena_reset(&a);
        rc = add_sentences(s, &capacity, p, i, whole, &a, e);
    }
    arena_deinit(&a);
    if (rc)
        sentences_deinit(s);
    return rc;
}

/* Of a post that talks to the judge the likeliest sentence does, and every one more likely than not. */
static void mark(struct sentences *s, const struct softmax *first)
{
    for (size_t i = 0; i < s->x.n;) {
        size_t post = s->post[i], best = i;
        bool judge = s->label[i];
        double most = -INFINITY;
        for (; i < s->x.n && s->post[i] == post; i++) {
            double z[SIDES];
            softmax_logits(first, s->x.bucket + s->x.start[i], s->x.start[i + 1] - s->x.start[i], z);
            s->label[i] = judge && z[SIDE_UP] > 0;
            if (z[SIDE_UP] > most) {
                most = z[SIDE_UP];
                best = i;
            }
        }
        s->label[best] = judge;
    }
}

static int descending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a < b) - (a > b);
}

/* Of every sentence of a split the probability that it, or its likeliest part, talks to the judge. */
struct probabilities {
    struct {
        double p;
        uint32_t post;
    } * x;
    size_t n, capacity;
};

static int add_probability(struct probabilities *s, double p, uint32_t post, struct err *e)
{
    if (s->n == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 4096;
        void *grown = realloc(s->x, s->capacity * sizeof *s->x);
        if (!grown)
            return err_set(e, ERR_MEMORY, "out of memory for %zu sentences", s->capacity);
        s->x = grown;
    }
    s->x[s->n].p = p;
    s->x[s->n++].post = post;
    return 0;
}

static int probabilities(struct probabilities *x, const struct linear_model *m,
                         const struct labelled_posts *p, struct err *e)
{
    struct arena a = {0};
    int rc = 0;
    for (size_t i = 0; i < p->n && !rc; i++) {
        const char *text = p->row[i].text;
        struct sentence *s, part;
        size_t n;
        double value;
        arena_reset(&a);
        rc = guard_split(text, strlen(text), &a, &s, &n, e);
        for (size_t k = 0; k < n && !rc; k++) {
            rc = guard_part(m, text + s[k].begin, s[k].len, &part, &value, &a, e);
            if (!rc)
                rc = add_probability(x, value, (uint32_t)i, e);
        }
    }
    arena_deinit(&a);
    return rc;
}

/* Shares of posts of either kind with a sentence over the threshold. */
static void measure(const struct linear_model *m, const struct probabilities *s,
                    const struct labelled_posts *p, struct linear_fit *fit)
{
    double posts[2] = {0}, masked[2] = {0};
    for (size_t i = 0; i < s->n;) {
        bool over = false, judge = talks(&p->row[s->x[i].post]);
        size_t post = s->x[i].post;
        for (; i < s->n && s->x[i].post == post; i++)
            over |= s->x[i].p > (double)m->guard_threshold;
        posts[judge]++;
        masked[judge] += over;
    }
    fit->guard_caught = posts[1] > 0 ? masked[1] / posts[1] : NAN;
    fit->guard_false = posts[0] > 0 ? masked[0] / posts[0] : NAN;
}

static int choose_threshold(struct linear_model *m, struct linear_fit *fit, const struct labelled_posts *dev,
                            struct err *e)
{
    struct probabilities s = {0};
    size_t n = 0;
    int rc = probabilities(&s, m, dev, e);
    double *p = calloc(s.n + 1, sizeof *p);
    if (!rc && !p)
        rc = err_set(e, ERR_MEMORY, "out of memory for %zu sentences", s.n);
    for (size_t i = 0; i < s.n && !rc; i++)
        if (!talks(&dev->row[s.x[i].post]))
            p[n++] = s.x[i].p;
    if (!rc) {
        qsort(p, n, sizeof *p, descending);
        size_t allowed = (size_t)(FALSE_ALARMS * (double)n);
        m->guard_threshold = (float)fmax(0.1, allowed < n ? p[allowed] : 0);
        fit->guard_threshold = (double)m->guard_threshold;
        measure(m, &s, dev, fit);
    }
    free(p);
    free(s.x);
    return rc;
}

static int fit_twice(struct softmax *second, const struct labelled_posts *train,
                     const struct softmax_options *o, struct err *e)
{
    struct sentences posts, s = {0};
    struct softmax first = {0};
    int rc = collect(&posts, train, true, e);
    if (!rc)
        rc = softmax_fit(&first, &posts.x, posts.label, o, e);
    sentences_deinit(&posts);
    if (!rc)
        rc = collect(&s, train, false, e);
    if (!rc) {
        mark(&s, &first);
        rc = softmax_fit(second, &s.x, s.label, o, e);
    }
    softmax_deinit(&first);
    sentences_deinit(&s);
    return rc;
}

int guard_train(struct linear_model *m, int8_t *table, struct linear_fit *fit,
                const struct labelled_posts *train, const struct labelled_posts *dev,
                const struct softmax_options *o, struct err *e)
{
    struct softmax x = {0};
    m->guard_threshold = 1;
    fit->guard_threshold = 1;
    for (size_t i = 0; i < train->n; i++)
        fit->guard_rows += talks(&train->row[i]);
    if (fit->guard_rows == 0 || fit->guard_rows == train->n)
        return 0;
    int rc = fit_twice(&x, train, o, e);
    if (rc)
        return rc;
    m->guard_scale = softmax_quantise(&x, SIDE_UP, table, LINEAR_GUARD);
    m->guard_bias = (float)x.bias[SIDE_UP];
    softmax_deinit(&x);
    return choose_threshold(m, fit, dev, e);
}
