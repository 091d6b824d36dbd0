/* The parts of one run, shared by trainer*.c and forecast.c alone. */
#ifndef GYEOL_TRAIN_TRAINER_INT_H
#define GYEOL_TRAIN_TRAINER_INT_H

#include "base/arena.h"
#include "judge/engine.h"
#include "model/source.h"
#include "model/tape.h"
#include "train/corpus.h"
#include "train/trainer.h"

#define TRAINER_SETTINGS 40
#define NEVER            UINT64_MAX

static inline uint64_t rounded_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

struct trainer {
    struct trainer_options o; /* defaults filled in */
    const struct trainer_events *events;

    /* what is trained */
    struct source source; /* empty from scratch */
    const char *words;    /* path of the tokenizer and chat template */
    struct config config;
    char base_sha256[DIGEST_HEX]; /* "" from scratch */
    struct model *model;
    struct tokenizer *tokenizer;
    const struct chat_template *chat;
    struct parameters *p;
    struct adamw *adam;
    struct tape *tape;
    struct tape_options capacity; /* of the tape */

    /* on what */
    bool text;
    struct prompt prompt;             /* posts: as served, but cut to o.seq */
    struct labelled_posts data, dev;  /* posts */
    struct corpus *corpus, *dev_text; /* dev_text: NULL for posts, or without dev */
    struct engine *engine;            /* posts: the judge over the live weights */
    struct batch batch;
    uint32_t *order; /* items of epoch `order_epoch` */
    uint64_t order_epoch;
    uint64_t steps, per_epoch;
    double tokens; /* of one epoch, prefixes included */

    /* how far: all of it is in the checkpoint */
    uint64_t step, evaluated, best_step, bad; /* evaluated: the last step after which it was; NEVER */
    double best_value;
    float *best; /* [p->count]; meaningful from best_step on */
    size_t best_record;
    struct train_record *record;
    size_t records, record_capacity;
    double sum_loss, sum_tokens, sum_seconds; /* of the steps since the last record */
    uint64_t sum_steps;
    double lr, grad_norm; /* of the last step */
    double seconds;       /* of all steps so far */

    uint64_t saved, first;          /* step of the checkpoint there is, NEVER; step this run began at */
    double run_tokens, run_seconds; /* since then */
    size_t available;               /* memory when it began */

    /* All that decides about the result; the first `fingerprints` of them are hashes and not for people. */
    struct output_setting setting[TRAINER_SETTINGS];
    size_t settings, fingerprints;
    struct arena arena; /* owns the settings */
};

/* trainer_setup.c */
int trainer_open(struct trainer *t, struct err *e) MUST_CHECK;
void trainer_close(struct trainer *t);
void trainer_release(struct trainer *t); /* what only steps and evaluations need */
/* Pairs of name and value of all that decides about the result. */
int trainer_list_settings(struct trainer *t, struct err *e) MUST_CHECK;

/* trainer.c */
/* The items of a step, into t->order; returns their number. */
size_t trainer_step_items(struct trainer *t, uint64_t step, const uint32_t **items);
/* One pass over items of the training data, gradients added. */
int trainer_pass(struct trainer *t, const uint32_t *items, size_t n, double normaliser, double *loss,
                 struct err *e) MUST_CHECK;

/* trainer_eval.c: measures on dev into r. */
int trainer_evaluate(struct trainer *t, struct train_record *r, struct err *e) MUST_CHECK;
/* Refuses, before the first step, dev data that cannot be calibrated on. */
int trainer_check_dev(const struct trainer *t, struct err *e) MUST_CHECK;

/* trainer_state.c */
int trainer_save(struct trainer *t, struct err *e) MUST_CHECK;
int trainer_restore(struct trainer *t, struct err *e) MUST_CHECK; /* with o.resume: what was saved */
void trainer_forget(const struct trainer *t);                     /* removes OUT/checkpoint */
int trainer_add_record(struct trainer *t, const struct train_record *r, struct err *e) MUST_CHECK;

/* forecast.c */
/* ERR_LIMIT: more than there is, and what would fit. Before the weights are loaded it counts what is known by
 * then. */
int trainer_fits(struct trainer *t, struct err *e) MUST_CHECK;
size_t trainer_bytes(const struct trainer *t);
int trainer_forecast(struct trainer *t, struct trainer_plan *plan, struct err *e) MUST_CHECK;
size_t memory_available(void); /* bytes; SIZE_MAX: not known */

/* forecast_time.c: seconds of the steps to come, and of the evaluations with the last calibration. */
int trainer_forecast_time(struct trainer *t, double *steps, double *evaluating, struct err *e) MUST_CHECK;

/* trainer_finish.c: the best weights, calibrated, into o.out. */
int trainer_finish(struct trainer *t, const char *ended, struct err *e) MUST_CHECK;
int trainer_write_report(struct trainer *t, const char *ended, struct err *e) MUST_CHECK;

#endif
