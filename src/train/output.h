/* What a run of training leaves in its output directory:
 *
 *   lora   adapter_model.safetensors, adapter_config.json      as PEFT reads them
 *   full   model.safetensors, config.json, the tokenizer's files      as Transformers reads them
 *   both   gyeol.json      judge notes: what it was made from and measured at, its calibration
 *          metrics.csv, report.html      the curves, for programs and for people
 *          README.md      model card
 *
 * Every file is written to a temporary name, synced and renamed, so a run cut short leaves the last good ones.
 * The directory is made when it is missing (its parents are not). */
#ifndef GYEOL_TRAIN_OUTPUT_H
#define GYEOL_TRAIN_OUTPUT_H

#include "judge/calibration.h"
#include "judge/metrics.h"
#include "model/parameter.h"

/* One row of metrics.csv, one point of each curve; what was not measured at this step is NAN. */
struct train_record {
    uint64_t step;        /* steps taken, from 1; 0 for a measurement before the first */
    double epoch;         /* items seen / items there are */
    double loss;          /* mean over the steps since the last record */
    double lr, grad_norm; /* of this step, the norm before clipping */
    double tokens_per_s;  /* since the last record */
    double dev_loss;      /* mean over the dev split */
    double dev[METRICS];  /* overall figures of the dev split (judge/metrics.h) */
};

/* All figures NAN. */
struct train_record train_record_none(uint64_t step);

/* A hyperparameter or a fact as it is shown; `value` is text ("2e-4", "q, k, v, o"). */
struct output_setting {
    const char *name, *value;
    bool number; /* value is a JSON number */
};

#define OUTPUT_NO_BEST SIZE_MAX

/* Everything that gyeol.json, the report and the model card say. All borrowed; NULL and "" are left out. */
struct output_run {
    const char *method;      /* "lora" or "full" */
    const char *name;        /* title: the last part of the output directory's path */
    const char *base;        /* the base model's path as opened (not the judge directory's); NULL: none */
    const char *base_sha256; /* pack_source_sha256 */
    const char *data, *dev;  /* the files' names */
    const char *data_sha256, *dev_sha256;
    const char *chat;          /* chat template's name (prompt.chat->name) */
    const char *prompt_sha256; /* struct prompt's; none: trained on text, and not asked to judge */
    const char *type; /* of the weights when judging: "bf16", "q8_0", ...; NULL: as the file suggests */
    const struct calibration *calibration; /* NULL: not calibrated, and an old one is taken out */
    uint64_t seed, steps;                  /* steps: planned */
    const struct output_setting *setting;  /* hyperparameters, in the order they are shown */
    size_t settings;
    const struct train_record *record; /* by step */
    size_t records;
    /* Figures of the dev split as the finished judge decides there, [METRICS]; NULL: those of the kept record,
     * measured before calibration, are shown. */
    const double *finished;
    size_t best;       /* index of the record whose weights were kept, or OUTPUT_NO_BEST */
    const char *ended; /* a sentence, no full stop: "Stopped early: dev loss did not fall any more" */
    double seconds;    /* of training */
};

/* adapter_model.safetensors (f32, PEFT's names and order) and adapter_config.json. o: what p was made with.
 * base_name: base_model_name_or_path as PEFT shall open it. */
int output_adapter(const char *dir, const struct parameters *p, const struct lora_options *o,
                   const struct config *c, const char *base_name, struct err *e) MUST_CHECK;

/* model.safetensors of p (full training), all of it DT_F32 or DT_BF16, and config.json; from words_dir, unless
 * NULL, what belongs to the tokenizer, byte for byte. ERR_FORMAT: config.json cannot say what c is. */
int output_model(const char *dir, const struct parameters *p, const struct config *c, enum dtype type,
                 const char *words_dir, struct err *e) MUST_CHECK;

/* gyeol.json: for lora it makes dir a judge directory (base, adapter "."), so that `gyeol judge --model DIR`
 * works; what it held before and is not ours stays. */
int output_notes(const char *dir, const struct output_run *r, struct err *e) MUST_CHECK;

/* metrics.csv and report.html, anew from r->record: cheap enough to be called at every evaluation. */
int output_report(const char *dir, const struct output_run *r, struct err *e) MUST_CHECK;

/* Reads metrics.csv back, for a run that is taken up: *record is malloc'd. ERR_MISSING: there is none. */
int output_read_metrics(struct train_record **record, size_t *n, const char *dir, struct err *e) MUST_CHECK;

/* README.md. */
int output_card(const char *dir, const struct output_run *r, struct err *e) MUST_CHECK;

#endif
