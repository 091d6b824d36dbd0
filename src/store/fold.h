/* The fold: how judgements move scores. Pure arithmetic and text; every database implementation calls it. */
#ifndef GYEOL_STORE_FOLD_H
#define GYEOL_STORE_FOLD_H

#include "base/axis.h"
#include "base/buf.h"

#include <stdint.h>

/* Points an axis moves before clamping: 0 for keep, +-weight, or round(weight x (p_up - p_down)), halves away
 * from zero. */
int fold_move(enum policy policy, int weight, enum decision d, double p_up, double p_down);

/* previous + move, clamped to 0..100. */
int fold_clamp(int previous, int move);

/* Ids order posts of the same time: ids of 1 to 18 digits come first and by number, all others after them by
 * bytes, so that 9 precedes 10 and the order does not depend on when a post was imported. This is the first
 * key: the number of digits, or 99. */
int fold_id_rank(const char *id);

/* The finished sentence of a stored change: `why` and what became of the score, e.g.
 * "... 드러나 E 쪽으로 5점 올렸습니다." The points are those the score really moved. */
void fold_reason(struct buf *out, const char *why, enum axis a, enum decision d, int previous, int current);

#endif
