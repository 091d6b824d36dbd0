/* Labelled posts as the judge in mode one-pass is asked them: every token comes from judge/prompt.h, and what is
 * not left to the model there (judge_settle) is not learned here. */
#include "train/corpus_int.h"

#include "judge/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REASON_RUN = AXES + 1 /* run within an item: 0 the post, 1 + axis its branches */ };

struct item {
    size_t row;
    size_t post, reason, end; /* where its tokens are among all: post, reason (words of ours first) */
    size_t words;
};

struct posts {
    struct corpus base;
    const struct labelled_posts *data;
    const struct prompt *prompt;
    struct corpus_posts_options o;
    struct item *item;
    struct tokens ids;
    float class_weight[AXES][3]; /* as verbalisers: up, keep, down */
};

/* Where a label stands among verbalisers. */
static int class_of(int label)
{
    return 1 - label;
}

/* ---- an item ---- */

static int add_branch(const struct posts *x, size_t i, int a, int label, int post, struct batch *b,
                      struct err *e)
{
    const struct tokens *t = &x->prompt->branch[a];
    const int32_t *verbaliser = x->prompt->verbaliser[a];
    int rc = batch_add_run(b, t->id, t->n, post, corpus_key(i, 1 + a), e);
    struct target target = {.token = b->n_tokens - 1,
                            .id = verbaliser[class_of(label)],
                            .weight = x->class_weight[a][class_of(label)],
                            .among = verbaliser,
                            .among_n = 3};
    return rc ? rc : batch_add_target(b, target, e);
}

/* All tokens of the reason and the end behind it, each predicted from the one before. */
static int add_reason(const struct posts *x, size_t i, int post, struct batch *b, struct err *e)
{
    const struct item *k = &x->item[i];
    const int32_t *ids = x->ids.id + k->reason;
    size_t n = k->end - k->reason, first = b->n_tokens;
    int rc = batch_add_run(b, ids, n, post, corpus_key(i, REASON_RUN), e);
    for (size_t at = k->words; !rc && at < n; at++)
        rc = batch_add_target(
            b, (struct target){.token = first + at - 1, .id = ids[at], .weight = (float)x->o.reason_weight},
            e);
    return rc;
}

static int add_item(const struct corpus *c, size_t i, struct batch *b, struct err *e)
{
    const struct posts *x = (const struct posts *)c;
    const struct item *k = &x->item[i];
    const int8_t *label = x->data->row[k->row].label;
    int post = (int)b->n_runs;
    int rc =
        batch_add_run(b, x->ids.id + k->post, k->reason - k->post, c->prefix ? 0 : -1, corpus_key(i, 0), e);
    if (!rc)
        b->runs[post].drop = (float)x->o.word_dropout;
    for (int a = 0; !rc && a < AXES; a++)
        if (label[a] != LABEL_UNKNOWN)
            rc = add_branch(x, i, a, label[a], post, b, e);
    if (!rc && k->end > k->reason)
        rc = add_reason(x, i, post, b, e);
    return rc;
}

static void close_posts(struct corpus *c)
{
    struct posts *x = (struct posts *)c;
    tokens_deinit(&x->ids);
    free(x->item);
    corpus_free(c);
}

static const struct corpus_ops ops = {.add = add_item, .close = close_posts};

/* ---- making one ---- */

static bool has_label(const struct labelled_post *p)
{
    bool yes = false;
    for (int a = 0; a < AXES; a++)
        yes |= p->label[a] != LABEL_UNKNOWN;
    return yes;
}

/* *wanted false: the row is kept without judging, or says nothing. */
static int make_item(struct posts *x, struct item *k, bool *wanted, struct err *e)
{
    const struct labelled_post *p = &x->data->row[k->row];
    struct judge_verdict verdict;
    bool settled, cut;
    *wanted = false;
    if (!has_label(p))
        return 0;
    int rc = judge_settle(&(struct judge_input){p->text, p->mission}, &verdict, &settled, e);
    if (rc || settled)
        return rc;
    *wanted = true;
    k->post = x->ids.n;
    rc = prompt_post(x->prompt, p->text, p->mission, &x->ids, &cut, e);
    k->reason = x->ids.n;
    if (!rc && p->reason && x->o.reason_weight > 0)
        rc = prompt_reason(x->prompt, p->reason, &x->ids, &k->words, e);
    k->end = x->ids.n;
    return rc;
}

static int make_items(struct posts *x, struct err *e)
{
    for (size_t i = 0; i < x->data->n; i++) {
        struct item *k = &x->item[x->base.n];
        bool wanted;
        k->row = i;
        if (make_item(x, k, &wanted, e))
            return err_prefix(e, "training data, line %zu: ", x->data->row[i].line);
        x->base.n += wanted;
    }
    return x->base.n
               ? 0
               : err_set(e, ERR_FORMAT, "training data: no row has a label and is long enough to be judged");
}

static int check_classes(const size_t rows[3], int a, struct err *e)
{
    static const char sign[] = {'+', '0', '-'};
    for (int c = 0; c < 3; c++)
        if (rows[c] && rows[c] == rows[0] + rows[1] + rows[2])
            return err_set(e, ERR_FORMAT,
                           "training data: every label of %s is %c, want at least two of + 0 -",
                           axis_info[a].key, sign[c]);
    return 0;
}

/* Inverse frequency, at most 8 times that of the most frequent class, 1 on the average of the axis's labels. */
static void weigh_classes(float weight[3], const size_t rows[3])
{
    size_t most = 0;
    double w[3], labels = 0, sum = 0;
    for (int c = 0; c < 3; c++)
        most = rows[c] > most ? rows[c] : most;
    for (int c = 0; c < 3; c++) {
        w[c] = rows[c] ? (double)most / (double)rows[c] : 0;
        w[c] = w[c] > 8 ? 8 : w[c];
        labels += (double)rows[c];
        sum += w[c] * (double)rows[c];
    }
    for (int c = 0; c < 3; c++)
        weight[c] = labels > 0 ? (float)(w[c] * labels / sum) : 0;
}

static int choose_weights(struct posts *x, struct err *e)
{
    for (int a = 0; a < AXES; a++) {
        size_t rows[3] = {0};
        for (size_t i = 0; i < x->base.n; i++) {
            int label = x->data->row[x->item[i].row].label[a];
            if (label != LABEL_UNKNOWN)
                rows[class_of(label)]++;
        }
        int rc = check_classes(rows, a, e);
        if (rc)
            return rc;
        weigh_classes(x->class_weight[a], rows);
        for (int c = 0; c < 3 && !x->o.class_weights; c++)
            x->class_weight[a][c] = 1;
    }
    return 0;
}

static void measure(struct posts *x, size_t i)
{
    const struct item *k = &x->item[i];
    const int8_t *label = x->data->row[k->row].label;
    size_t n = k->end - k->post;
    double weight = (double)(float)x->o.reason_weight * (double)(k->end - k->reason - k->words);
    for (int a = 0; a < AXES; a++)
        if (label[a] != LABEL_UNKNOWN) {
            n += x->prompt->branch[a].n;
            weight += (double)x->class_weight[a][class_of(label[a])];
        }
    x->base.length[i] = (uint32_t)n;
    x->base.weight[i] = weight;
}

static void name(struct posts *x)
{
    char words[200];
    struct digest d;
    int n = snprintf(words, sizeof words, "posts %d %.17g %.17g %zu %s %s\n", x->o.class_weights,
                     x->o.word_dropout, x->o.reason_weight, x->base.n, x->data->sha256, x->prompt->sha256);
    digest_init(&d, DIGEST_SHA256, 0);
    digest_update(&d, words, (size_t)n);
    digest_update(&d, x->ids.id, x->ids.n * sizeof *x->ids.id);
    digest_final(&d, x->base.sha256);
}

static int make(struct posts *x, struct err *e)
{
    const struct prompt *p = x->prompt;
    x->item = calloc(x->data->n + 1, sizeof *x->item);
    int rc = x->item ? 0 : err_set(e, ERR_MEMORY, "out of memory for %zu rows", x->data->n);
    x->base.prefix = p->prefix.n;
    x->base.prefix_ids = p->prefix.id;
    if (!rc)
        rc = make_items(x, e);
    if (!rc)
        rc = choose_weights(x, e);
    if (!rc)
        rc = corpus_items(&x->base, x->base.n, e);
    for (size_t i = 0; !rc && i < x->base.n; i++)
        measure(x, i);
    if (!rc)
        name(x);
    return rc;
}

int corpus_posts(struct corpus **out, const struct labelled_posts *posts, const struct prompt *p,
                 const struct corpus_posts_options *o, struct err *e)
{
    struct posts *x = calloc(1, sizeof *x);
    *out = NULL;
    if (!x)
        return err_set(e, ERR_MEMORY, "out of memory");
    x->base.ops = &ops;
    x->data = posts;
    x->prompt = p;
    x->o = *o;
    int rc = make(x, e);
    if (rc)
        close_posts(&x->base);
    else
        *out = &x->base;
    return rc;
}
