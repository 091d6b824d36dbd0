/* Mode per-axis: the baseline people use today. Per axis one whole question and one generated answer, parsed
 * strictly: its first word is the verdict, anything else is keep and counted. For comparison only: slower by
 * the number of generated words, and what it answers can be talked into. */
#ifndef GYEOL_JUDGE_PERAXIS_H
#define GYEOL_JUDGE_PERAXIS_H

#include "judge/judge.h"

int peraxis_open(struct judge **out, const struct judge_options *o, struct err *e) MUST_CHECK;

/* The decision an answer states: its first word, after white space and quotation marks, is 상승, 유지 or 하락
 * and nothing of a longer word. False: it states none. */
bool peraxis_parse(const char *answer, size_t n, enum decision *out);

#endif
