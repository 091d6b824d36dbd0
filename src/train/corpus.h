/* What a model is trained on, as items that can be put into a pass: labelled posts under the prompt that
 * serves (judge/prompt.h), or plain text cut into sequences. Order is a function of (seed, epoch) alone, so a
 * run can be taken up at any step. */
#ifndef GYEOL_TRAIN_CORPUS_H
#define GYEOL_TRAIN_CORPUS_H

#include "data/posts.h"
#include "judge/prompt.h"
#include "model/tape.h"

/* Runs and targets of one pass; arrays grow as needed, batch_clear keeps their memory. */
struct batch {
    struct tape_run *runs;
    struct target *targets;
    size_t n_runs, n_targets, n_tokens;
    size_t runs_capacity, targets_capacity;
    int32_t *ids; /* all runs' tokens; runs point into it once the batch is finished */
    size_t ids_capacity;
};

void batch_clear(struct batch *b);
void batch_deinit(struct batch *b);

struct corpus;

struct corpus_ops {
    /* Appends item i. Targets' weights are raw: class weights, 1 per token of text. */
    int (*add)(const struct corpus *c, size_t i, struct batch *b, struct err *e);
    void (*close)(struct corpus *c);
};

struct corpus {
    const struct corpus_ops *ops;
    size_t n;         /* items */
    uint32_t *length; /* [n] tokens of each, the shared prefix left out */
    double *weight; /* [n] sum of each item's raw target weights: the step's normaliser is known beforehand */
    size_t prefix;  /* tokens shared by all items of a pass, put in once by corpus_batch as run 0 */
    const int32_t *prefix_ids;
    char sha256[DIGEST_HEX]; /* of the data and of all that shapes the items */
};

struct corpus_posts_options {
    bool class_weights;   /* each of up, keep, down of an axis weighs the same in sum, within a factor of 8 */
    double word_dropout;  /* share of a post's tokens that a step does not read */
    double reason_weight; /* of the reason text's tokens where a row has one; 0: reasons are not learned */
};

/* Every post: a run under the prefix with four branches under it; targets at the branches' ends among the three
 * verbalisers, `?` left out, and the reason text written after the answer where there is one. Rows too short to
 * be judged, or without any label, are left out. posts and p are borrowed. ERR_FORMAT: no row has a label, or
 * one class alone. */
int corpus_posts(struct corpus **out, const struct labelled_posts *posts, const struct prompt *p,
                 const struct corpus_posts_options *o, struct err *e) MUST_CHECK;

/* Plain UTF-8 text, a document per line: documents, each closed by the end-of-text token, one after another,
 * cut into sequences of `length` tokens; targets are all tokens but the first of each sequence. */
int corpus_text(struct corpus **out, const char *path, const struct tokenizer *t, size_t length,
                struct err *e) MUST_CHECK;
void corpus_close(struct corpus *c); /* NULL allowed */

/* Items of one epoch in training order [n]: shuffled, in windows of 64 batches sorted by length (so that
 * passes are alike in size), batches shuffled again. */
void corpus_order(const struct corpus *c, uint64_t seed, uint64_t epoch, size_t batch, uint32_t *order);

/* One pass of the given items, prefix first; weights divided by `normaliser`. */
int corpus_batch(const struct corpus *c, const uint32_t *items, size_t n, double normaliser, struct batch *b,
                 struct err *e) MUST_CHECK;

#endif
