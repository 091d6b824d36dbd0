/* A growing byte buffer with an upper bound. Appending past the bound or out of memory sets `failed` and
 * leaves the contents as they were; callers append freely and check once at the end. Always NUL-terminated
 * when data is not NULL. `struct buf b = {.limit = N}` is a valid empty buffer; limit 0 means BUF_LIMIT. */
#ifndef GYEOL_BASE_BUF_H
#define GYEOL_BASE_BUF_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define BUF_LIMIT ((size_t)1 << 30)

struct buf {
    char *data; /* owned */
    size_t len, capacity, limit;
    bool failed;
};

void buf_add(struct buf *b, const void *bytes, size_t n);
void buf_str(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_reset(struct buf *b); /* empties, keeps the memory, clears failed */
void buf_deinit(struct buf *b);

/* 0, or ERR_MEMORY naming `what` when an append failed. */
int buf_check(const struct buf *b, const char *what, struct err *e) MUST_CHECK;

#endif
