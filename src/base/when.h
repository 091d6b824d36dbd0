/* Times are milliseconds since 1970-01-01T00:00Z in int64_t. */
#ifndef GYEOL_BASE_WHEN_H
#define GYEOL_BASE_WHEN_H

#include "base/err.h"

#include <stdint.h>

#define WHEN_FIRST (-32400000LL)     /* 1970-01-01T00:00 in Seoul */
#define WHEN_LAST  253402268399999LL /* 9999-12-31T23:59:59.999 in Seoul */
#define WHEN_TEXT  32                /* bytes that when_format needs */

/* ISO 8601: date, or date and time separated by 'T' or a space, seconds and their fraction optional, then
 * 'Z', an offset (+09:00, +0900, +09) or nothing, which means Asia/Seoul (+09:00, no summer time since 1988).
 * WHEN_FIRST to WHEN_LAST. The message shows the text only if it is ASCII: it may be a post in the wrong
 * column. */
int when_parse(int64_t *ms, const char *text, struct err *e) MUST_CHECK;

/* "2026-05-03T14:00:00+09:00", milliseconds only when they are not zero. Returns text. */
char *when_format(char text[WHEN_TEXT], int64_t ms);

int64_t when_now(void);
uint64_t when_monotonic_ns(void);

#endif
