/* The training loop: a LoRA adapter over a frozen base, or all weights of a small model, on labelled posts or
 * on plain text.
 *
 * A step is `accumulate` passes of `batch` items, their gradients added, clipped and given to AdamW. What step
 * s does depends on the options, the data and s alone, so a run can stop after any step (OUT/checkpoint) and
 * be taken up with the same bits. */
#ifndef GYEOL_TRAIN_TRAINER_H
#define GYEOL_TRAIN_TRAINER_H

#include "train/adamw.h"
#include "train/output.h"

enum trainer_metric { TRAINER_DEV_LOSS, TRAINER_DIRECTION };
extern const char *const trainer_metric_name[2]; /* "dev_loss", "direction_accuracy" */

#define TRAINER_DEFAULT (-1)

struct trainer_options {
    bool full; /* all weights; else LoRA */
    const char *model;
    const char *scratch;          /* full: a directory with config.json and a tokenizer; weights are drawn */
    const char *data, *dev, *out; /* *.txt is text (full only), else labelled posts */
    const char *chat;             /* chat template; NULL: the model's own */
    enum model_type quant;        /* LoRA: how the base is kept */
    struct lora_options lora;     /* its seed is `seed` */
    uint64_t epochs, steps;       /* steps 0: epochs count */
    size_t batch; /* items of a pass; 0: 8 sequences of text; as many posts as make a pass worth its prefix */
    size_t accumulate;
    size_t seq; /* tokens of a sequence of text; most tokens of a post (0: 256; as many as when judged) */
    double lr;  /* TRAINER_DEFAULT (LoRA): 0.5 / width, 2e-4 to 2e-3 */
    double weight_decay;
    double clip; /* largest gradient norm; 0: any */
    enum schedule schedule;
    int64_t warmup; /* steps; TRAINER_DEFAULT: 3 % of all */
    int optimizer_bits;
    uint64_t seed;
    uint64_t eval_every;          /* steps; 0: twice an epoch, unless that were much of the time */
    uint64_t save_every;          /* steps; 0: as often as evaluated */
    uint64_t patience;            /* evaluations without a better one that end the run; 0: never */
    enum trainer_metric metric;   /* better: lower loss, higher accuracy */
    double word_dropout;          /* of the posts' tokens */
    double reason_weight, budget; /* budget: of unneeded changes, as train/engine_calibrate.h takes it */
    bool no_class_weights;
    bool checkpointing; /* of activations */
    int compute;        /* DT_BF16, DT_F32, or TRAINER_DEFAULT: bf16 where the processor has it */
    bool resume;
    uint64_t stop_after; /* leave as an interrupt does after this step; 0: no */
    int threads;
};

extern const struct trainer_options trainer_defaults_lora, trainer_defaults_full;

/* What TRAINER_DEFAULT stands for as `compute`: DT_BF16 where this processor multiplies it faster. */
enum dtype trainer_compute(void);

/* What is known before the first step. */
struct trainer_plan {
    size_t items, dev_items;
    uint64_t steps, per_epoch, first; /* first: steps done already, by an earlier run */
    uint64_t eval_every;
    size_t parameters, weights;  /* trained; bytes of the base */
    size_t bytes, available;     /* resident at most, mapped files included; memory there is */
    double seconds, dev_seconds; /* forecast: of the steps to come; of evaluating and calibrating */
    double tokens_per_epoch;
    const char *compute, *isa;
};

struct trainer_progress {
    uint64_t step, steps;
    double loss, lr, grad_norm; /* of this step */
    double tokens_per_s, seconds_left;
};

/* What a run says of itself; any may be NULL. */
struct trainer_events {
    void (*plan)(void *context, const struct trainer_plan *p);
    void (*step)(void *context, const struct trainer_progress *p);
    void (*dev)(void *context, const struct train_record *r, bool best, uint64_t since_best);
    void (*saved)(void *context, uint64_t step);
    void *context;
};

struct trainer_result {
    uint64_t steps, best_step;
    bool early, judged; /* stopped by patience; the data were posts, so `best` has more than a loss */
    struct train_record best;
    double seconds;
};

/* Trains and writes o->out. ERR_STOPPED after SIGINT, SIGTERM or stop_after, with the checkpoint written;
 * ERR_STATE: options or data are not those of the checkpoint, the run diverged; ERR_LIMIT: it cannot fit into
 * memory, and what would; ERR_FORMAT: nothing to learn. */
int trainer_run(const struct trainer_options *o, const struct trainer_events *events,
                struct trainer_result *result, struct err *e) MUST_CHECK;

#endif
