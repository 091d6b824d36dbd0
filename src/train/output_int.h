/* What the parts of train/output.h share. */
#ifndef GYEOL_TRAIN_OUTPUT_INT_H
#define GYEOL_TRAIN_OUTPUT_INT_H

#include "base/buf.h"
#include "train/output.h"

#include <jansson.h>
#include <math.h>

/* "DIR/NAME" as malloc'd *path; makes dir when it is missing. */
int output_path(char **path, const char *dir, const char *name, struct err *e) MUST_CHECK;

/* Writes the text, or the JSON, to DIR/NAME. Neither is given back here. */
int output_text(const char *dir, const char *name, const struct buf *text, struct err *e) MUST_CHECK;
int output_json(const char *dir, const char *name, const json_t *value, size_t flags,
                struct err *e) MUST_CHECK;

/* Hugging Face's name of a parameter's weight, in the caller's buffer. */
#define OUTPUT_NAME_MAX 160
void output_weight_name(char out[OUTPUT_NAME_MAX], const struct parameter *p, const struct config *c);

/* The shortest decimal number that is read as the same double; "" for what is no number. */
#define OUTPUT_NUMBER_MAX 40
const char *output_number(char out[OUTPUT_NUMBER_MAX], double v);

/* A figure as people read it; an en dash for what is no number, or beyond any such figure. */
const char *output_figure(char out[OUTPUT_NUMBER_MAX], double v, int decimals);

/* "1 h 4 min", "3 min 20 s", "12 s". */
const char *output_duration(char out[OUTPUT_NUMBER_MAX], double seconds);

/* "LoRA adapter" or "All weights trained". */
const char *output_method(const struct output_run *r);

/* metrics.csv alone. */
int output_metrics(const char *dir, const struct output_run *r, struct err *e) MUST_CHECK;

/* NULL and "" are nothing to show. */
static inline bool output_has(const char *s)
{
    return s && *s;
}

static inline const struct train_record *output_best(const struct output_run *r)
{
    return r->best < r->records ? &r->record[r->best] : NULL;
}

/* A figure of the dev split for tiles and tables; NAN when it was not measured. */
static inline double output_dev(const struct output_run *r, enum metric m)
{
    const struct train_record *best = output_best(r);
    return r->finished ? r->finished[m] : best ? best->dev[m] : NAN;
}

#endif
