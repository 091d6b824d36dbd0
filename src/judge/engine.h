/* A language model set up to judge: weights, tokenizer, adapter, prompt, calibration, and the instruction's
 * keys and values, computed once. The modes one-pass and per-axis are two ways of asking it. */
#ifndef GYEOL_JUDGE_ENGINE_H
#define GYEOL_JUDGE_ENGINE_H

#include "judge/calibration.h"
#include "judge/judge.h"
#include "judge/prompt.h"
#include "model/session.h"

#define ENGINE_PASS_TOKENS 256 /* of one forward pass; longer posts take several */
#define ENGINE_POST_TOKENS 400 /* a post (with its mission) is cut to this many */
#define ENGINE_ANSWER_MAX  96  /* tokens of a generated answer */

struct engine {
    struct checkpoint *checkpoint;
    struct model *model;
    struct peft *peft;       /* NULL without adapter */
    struct adapter *adapter; /* NULL without adapter */
    struct tokenizer *tokenizer;
    struct prompt prompt;
    struct calibration calibration;
    struct session *session;
    struct kv *prefix; /* the instruction's keys and values */
    char *name;        /* what people call the model: the last part of its path */
    char *
        home; /* file that keeps its calibration: gyeol.json of adapter or directory, or beside the GGUF; NULL:
                   of the model compiled in, or in training */
    char model_sha256[DIGEST_HEX], adapter_sha256[DIGEST_HEX];
    double open_ms[4]; /* what opening took: weights, tokenizer, adapter, prefix */
    bool borrowed;     /* model, adapter and tokenizer are the caller's: engine_over */
};

/* o->model: a judge directory (gyeol.json names base, adapter, calibration), a Hugging Face directory or a
 * GGUF file; NULL: the model compiled in, packed in memory (ERR_MISSING: there is none). o->adapter: a PEFT directory in place of the judge
 * directory's, or "none". */
int engine_open(struct engine **out, const struct judge_options *o, struct err *e) MUST_CHECK;
void engine_close(struct engine *g); /* NULL allowed */

/* An uncalibrated engine over weights that are being trained: model, adapter (NULL: none) and tokenizer are the
 * caller's and stay open; it has no home. The prefix is computed by engine_refresh, each time after they
 * changed. chat: as prompt_init takes it. */
int engine_over(struct engine **out, struct model *m, struct adapter *a, struct tokenizer *t,
                const struct chat_template *chat, int threads, struct err *e) MUST_CHECK;
int engine_refresh(struct engine *g, struct err *e) MUST_CHECK;

/* Writes g->calibration into g->home, whatever else is there staying. ERR_STATE: it has none. */
int engine_save_calibration(const struct engine *g, struct err *e) MUST_CHECK;

#endif
