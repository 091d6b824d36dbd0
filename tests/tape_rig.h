/* What the tests of training share: a model with its parameters and tape. */
#ifndef GYEOL_TESTS_TAPE_RIG_H
#define GYEOL_TESTS_TAPE_RIG_H

#include "model/tape.h"
#include "testing.h"

#include <math.h>

#define FIXTURES "tests/fixtures/"
enum { TOKENS = 24, VOCABULARY = 256 };

static const int32_t input[TOKENS] = {1,  17, 42,  200, 255, 3,   3,  99, 128, 64,  7, 250,
                                      31, 5,  180, 77,  12,  230, 66, 2,  111, 140, 9, 54};

struct rig {
    struct checkpoint *checkpoint;
    struct model *model;
    struct peft *peft;
    struct parameters *p;
    struct tape *tape;
};

static struct tape *new_tape(const struct rig *r, const struct tape_options *o)
{
    struct tape *t;
    ok(tape_new(&t, r->model, r->p, o, &error));
    return t;
}

static inline void close_rig(struct rig *r)
{
    tape_free(r->tape);
    parameters_free(r->p);
    peft_close(r->peft);
    model_close(r->model);
    checkpoint_close(r->checkpoint);
}

static const struct tape_options plain_options = {
    .tokens = 64, .positions = 64, .runs = 16, .targets = 64, .compute = DT_F32, .seed = 1};

/* A model of the fixtures; every weight trains. */
static inline struct rig full_rig(const char *base, enum model_type type, const struct tape_options *o)
{
    char path[256];
    struct rig r = {0};
    snprintf(path, sizeof path, FIXTURES "%s", base);
    ok(checkpoint_open(&r.checkpoint, path, &error));
    ok(model_load(&r.model, r.checkpoint, type, &error));
    ok(parameters_full(&r.p, r.model, r.checkpoint, 0, &error));
    r.tape = new_tape(&r, o);
    return r;
}

/* The same with LoRA pairs: those of the adapter's files, or (lora NULL) drawn as o says. */
static inline struct rig lora_rig(const char *base, const char *lora, enum model_type type,
                                  const struct lora_options *lo, const struct tape_options *o)
{
    char path[256];
    struct rig r = {0};
    snprintf(path, sizeof path, FIXTURES "%s", base);
    ok(checkpoint_open(&r.checkpoint, path, &error));
    ok(model_load(&r.model, r.checkpoint, type, &error));
    ok(parameters_lora(&r.p, r.model, lo, &error));
    if (lora) {
        snprintf(path, sizeof path, FIXTURES "%s", lora);
        ok(peft_open(&r.peft, path, &r.model->config, NULL, &error));
        ok(parameters_load_lora(r.p, r.peft, &error));
    }
    r.tape = new_tape(&r, o);
    return r;
}

static inline double furthest(const float *a, const float *b, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        most = d > most || d != d ? d : most;
    }
    return most;
}

#endif
