/* The linear judge: per axis a softmax over up, keep and down on hashed n-grams, in 8-bit weights.
 *
 * Model file (.gyl), little-endian: 8 bytes "gyeol-l1"; u32 version 1, u32 feature bits; u64 seed; u32 rows
 * of training and dev data; f32 bias[4][2], scale[4][2], threshold[4], guard bias, scale, threshold; SHA-256
 * of the training and of the dev file; i8 weight[buckets][9] (axis-major: up, down; then the guard's);
 * SHA-256 of everything before. Nothing may follow.
 *
 * With n distinct features, logit(up) = bias + scale x sum(weight) / sqrt(n); keep's logit is 0. The sum is
 * over integers, so it is the same on every machine and in every order. */
#ifndef GYEOL_JUDGE_LINEAR_H
#define GYEOL_JUDGE_LINEAR_H

#include "base/buf.h"
#include "judge/features.h"
#include "judge/judge.h"

#include <stdint.h>

enum { SIDE_UP, SIDE_DOWN, SIDES };
#define LINEAR_GUARD   (AXES * SIDES) /* the column of judge/guard.h */
#define LINEAR_COLUMNS (LINEAR_GUARD + 1)

struct linear_model {
    uint64_t seed;
    uint32_t train_rows, dev_rows;
    char train_sha256[DIGEST_HEX], dev_sha256[DIGEST_HEX];
    float bias[AXES][SIDES], scale[AXES][SIDES];
    float threshold[AXES]; /* a side is decided when its probability is above this, and above the other's */
    float guard_bias, guard_scale, guard_threshold; /* a probability; 1: no guard */
    const int8_t *weight;                           /* [FEATURE_BUCKETS][LINEAR_COLUMNS], borrowed */
};

/* Reads a model file's bytes; weight points into them. Untrusted: every field is checked, non-finite numbers
 * and a wrong checksum refused. verify = false skips the checksum (of the copy in the binary). `name` for
 * messages. */
int linear_parse(struct linear_model *m, const char *name, const unsigned char *bytes, size_t n, bool verify,
                 struct err *e) MUST_CHECK;

/* Appends the file's bytes. */
int linear_write(struct buf *out, const struct linear_model *m, struct err *e) MUST_CHECK;

/* Verdict of one text, without the quote. */
void linear_verdict(const struct linear_model *m, const struct features *f, struct judge_verdict *out);

/* The judge compiled in (path NULL) or one from a file. */
int linear_open(struct judge **out, const char *path, struct err *e) MUST_CHECK;

/* Mode linear on a model in memory, borrowed until judge_close; its identity is the bytes' digest. */
int linear_open_bytes(struct judge **out, const char *name, const unsigned char *bytes, size_t n,
                      struct err *e) MUST_CHECK;

#endif
