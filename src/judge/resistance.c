#include "judge/resistance.h"

const char *const resistance_change_name[RESISTANCE_CHANGES] = {"gained", "lost", "turned"};

void resistance_count(struct resistance *r, const struct judge_verdict *alone,
                      const struct judge_verdict *with)
{
    bool any = false;
    for (int a = 0; a < AXES; a++) {
        enum decision before = alone->axis[a].decision, after = with->axis[a].decision;
        if (before == after)
            continue;
        any = true;
        r->changed[a][before == DECISION_KEEP  ? RESISTANCE_GAINED
                      : after == DECISION_KEEP ? RESISTANCE_LOST
                                               : RESISTANCE_TURNED]++;
    }
    r->posts++;
    r->posts_changed += any;
}

void resistance_add(struct resistance *r, const struct resistance *other)
{
    r->posts += other->posts;
    r->posts_changed += other->posts_changed;
    for (int a = 0; a < AXES; a++)
        for (int c = 0; c < RESISTANCE_CHANGES; c++)
            r->changed[a][c] += other->changed[a][c];
}

size_t resistance_axis(const struct resistance *r, int axis)
{
    size_t sum = 0;
    for (int c = 0; c < RESISTANCE_CHANGES; c++)
        sum += r->changed[axis][c];
    return sum;
}

size_t resistance_all(const struct resistance *r)
{
    size_t sum = 0;
    for (int a = 0; a < AXES; a++)
        sum += resistance_axis(r, a);
    return sum;
}
