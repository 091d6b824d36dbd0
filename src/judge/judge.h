/* A judge: text in, four axis verdicts out. One vtable; linear.c is the first implementation. */
#ifndef GYEOL_JUDGE_JUDGE_H
#define GYEOL_JUDGE_JUDGE_H

#include "base/arena.h"
#include "base/axis.h"
#include "base/digest.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* A post whose trimmed, NFC-normalised content has this many code points or fewer is not judged. */
#define JUDGE_SHORT_MAX    5
#define JUDGE_SHORT_REASON "피드 내용이 너무 짧아 MBTI를 판단할 수 없습니다."
#define JUDGE_TEXT_MAX     65535 /* bytes */

struct judge_input {
    const char *text;    /* UTF-8, NUL-terminated */
    const char *mission; /* title, or NULL; context, never evidence */
};

struct judge_axis {
    enum decision decision;
    double up, keep, down;   /* probabilities, sum 1 */
    size_t quote, quote_len; /* bytes of text that carried the decision; quote_len 0 for keep */
};

struct judge_verdict {
    struct judge_axis axis[AXES];
    bool too_short;               /* kept without judging */
    double judge_ms, evidence_ms; /* a language model's: the judgement, and finding what it rests on */
    size_t unparsed, generated;   /* mode per-axis: answers that state no verdict, tokens generated */
};

struct judge_identity {
    const char *mode, *model;
    char model_sha256[DIGEST_HEX];
    char adapter_sha256[DIGEST_HEX]; /* "" without adapter */
};

struct judge;

struct judge_result {
    int rc;
    struct err error; /* of rc < 0 */
};

struct judge_ops {
    /* One text that is long enough and valid UTF-8. Thread-safe. */
    int (*judge)(const struct judge *j, const struct judge_input *in, struct judge_verdict *out,
                 struct err *e);
    /* Many such texts at once, where that is faster than one by one; NULL: it is not. */
    void (*judge_many)(const struct judge *j, const struct judge_input *in, size_t n,
                       struct judge_verdict *out, struct judge_result *result);
    void (*close)(struct judge *j);
};

/* First member of every implementation. */
struct judge {
    const struct judge_ops *ops;
    struct judge_identity identity;
};

struct judge_options {
    const char *mode;  /* NULL: linear, or one-pass when the model is a language model */
    const char *model; /* path; NULL: compiled in, of that mode or, without one, the build's default */
    const char *adapter;
    const char *type; /* of a language model's weights: f32, bf16, q8_0, q4_0; NULL: as the file suggests */
    const char *chat; /* chat template; NULL: the model's own */
    int threads;      /* 0: as many as there are processors */
    bool recalibrate; /* leave a calibration that is there unread */
    bool quotes;      /* find the words that carried each decision (linear always does) */
};

/* Whether path names a language model: a directory, or a file that begins as GGUF does. NULL does not. */
bool judge_is_language_model(const char *path);

int judge_open(struct judge **out, const struct judge_options *o, struct err *e) MUST_CHECK;
void judge_close(struct judge *j); /* NULL allowed */

/* What every judge does alike: refuses bytes that are no text, keeps what is too short. *settled: out holds
 * the verdict, and nothing is left to judge. */
int judge_settle(const struct judge_input *in, struct judge_verdict *out, bool *settled,
                 struct err *e) MUST_CHECK;

/* Judges one text; may be called from several threads on one judge. The same text always gets the same
 * answer. ERR_FORMAT: not UTF-8; ERR_LIMIT: over JUDGE_TEXT_MAX bytes. */
int judge_text(const struct judge *j, const struct judge_input *in, struct judge_verdict *out,
               struct err *e) MUST_CHECK;

/* n texts. result[i].rc is 0 where out[i] holds a verdict. Posts are judged together where the judge can do
 * that, else by `workers` threads (0: as many as there are processors); the verdicts are the same either way.
 */
void judge_texts(const struct judge *j, const struct judge_input *in, size_t n, int workers,
                 struct judge_verdict *out, struct judge_result *result);

#endif
