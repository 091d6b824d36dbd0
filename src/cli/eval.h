/* What the ways of `gyeol eval` share: its arguments, the rows they choose, and judging those. */
#ifndef GYEOL_CLI_EVAL_H
#define GYEOL_CLI_EVAL_H

#include "cli/cli.h"
#include "data/posts.h"
#include "judge/metrics.h"

struct eval_arguments {
    struct judge_options judge;
    const char *path, *kind, *append, *against;
    int64_t seed, rows; /* rows 0: all */
    bool errors, json;
};

struct eval_rows {
    struct labelled_posts posts;
    const struct labelled_post **row; /* [n] the chosen ones, in the file's order */
    size_t n;
};

/* Reads o->path: the rows of o->kind, and of those o->rows at random, drawn with o->seed. Ignored columns are
 * reported. */
int eval_read(struct eval_rows *out, const struct eval_arguments *o, struct err *e) MUST_CHECK;
void eval_rows_deinit(struct eval_rows *r);

/* Verdicts of n texts; `progress` names what is done. The first that cannot be judged ends it, with its index
 * in *at. */
int eval_judge(const struct judge *j, const struct judge_input *in, size_t n, const char *progress,
               struct judge_verdict *out, size_t *at, struct err *e) MUST_CHECK;

/* A row's labels beside what was decided. */
void eval_scored(struct scored *out, const struct labelled_post *p, const struct judge_verdict *v);

/* --against: j and the judge that o->against names on the same rows; prints who is better. */
int eval_against(const struct eval_rows *r, const struct eval_arguments *o, const struct judge *j,
                 struct err *e) MUST_CHECK;

/* --append: every row alone and with each line of o->append behind it; prints how many verdicts change. */
int eval_append(const struct eval_rows *r, const struct eval_arguments *o, const struct judge *j,
                struct err *e) MUST_CHECK;

#endif
