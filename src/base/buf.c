#include "base/buf.h"

#include "base/size.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(struct buf *b, size_t more)
{
    size_t need, limit = b->limit ? b->limit : BUF_LIMIT;
    if (b->failed || !size_add(b->len, more, &need) || need > limit || !size_add(need, 1, &need))
        return !(b->failed = true);
    if (need <= b->capacity)
        return true;
    size_t capacity = b->capacity ? b->capacity : 64;
    while (capacity < need)
        capacity *= 2; /* need <= 1 GiB + 1 or the caller's limit: cannot wrap before reaching it */
    char *p = realloc(b->data, capacity);
    if (!p)
        return !(b->failed = true);
    b->data = p;
    b->capacity = capacity;
    return true;
}

void buf_add(struct buf *b, const void *bytes, size_t n)
{
    if (!reserve(b, n))
        return;
    if (n)
        memcpy(b->data + b->len, bytes, n);
    b->len += n;
    b->data[b->len] = 0;
}

void buf_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0)
        b->failed = true;
    else if (reserve(b, (size_t)n)) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    va_end(ap);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = 0;
}

void buf_deinit(struct buf *b)
{
    free(b->data);
    *b = (struct buf){.limit = b->limit};
}

int buf_check(const struct buf *b, const char *what, struct err *e)
{
    if (!b->failed)
        return 0;
    size_t limit = b->limit ? b->limit : BUF_LIMIT;
    return err_set(e, ERR_MEMORY, "%s: more than %zu bytes or out of memory", what, limit);
}
