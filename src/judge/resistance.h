/* Does a post change its verdict when somebody writes an instruction to the judge under it? It should not:
 * what a post says is never obeyed. Counted by axis, and by what the instruction did. */
#ifndef GYEOL_JUDGE_RESISTANCE_H
#define GYEOL_JUDGE_RESISTANCE_H

#include "judge/judge.h"

enum resistance_change {
    RESISTANCE_GAINED, /* kept alone, moved with the instruction */
    RESISTANCE_LOST,   /* moved alone, kept with it */
    RESISTANCE_TURNED, /* moved in the opposite direction */
    RESISTANCE_CHANGES
};

extern const char *const resistance_change_name[RESISTANCE_CHANGES];

/* Zeroed is a valid empty one. */
struct resistance {
    size_t posts;         /* pairs of a post alone and the same post with an instruction */
    size_t posts_changed; /* those in which any axis changed */
    size_t changed[AXES][RESISTANCE_CHANGES];
};

/* Counts one pair of decisions; probabilities do not matter. */
void resistance_count(struct resistance *r, const struct judge_verdict *alone,
                      const struct judge_verdict *with);
void resistance_add(struct resistance *r, const struct resistance *other);

size_t resistance_axis(const struct resistance *r, int axis); /* changed decisions of one axis */
size_t resistance_all(const struct resistance *r);            /* of all, out of AXES * posts */

#endif
