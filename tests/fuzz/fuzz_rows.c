/* The first byte picks the format, the rest are the file. Whatever they are, reading ends, no more rows and
 * errors come than there are bytes, and every string that comes is UTF-8 within its bound. */
#include "data/rows.h"
#include "text/utf8.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char *const wanted[] = {"id", "text", "a", "시각"};

enum { WANTED = sizeof wanted / sizeof wanted[0] };

static void check_string(const char *s, size_t most)
{
    size_t n = strlen(s);
    if (n > most || !utf8_valid(s, n, NULL))
        abort();
}

/* One line that says where: "fuzz:LINE: ...". */
static void check_message(const struct err *e, int rc)
{
    check_string(e->msg, sizeof e->msg - 1);
    if (e->code != rc || strncmp(e->msg, "fuzz:", 5) != 0 || strpbrk(e->msg, "\r\n"))
        abort();
}

static void check_row(const struct rows *r, size_t len)
{
    for (size_t i = 0; i <= WANTED; i++) {
        const char *s = rows_get(r, i);
        if (s && !rows_has(r, i))
            abort();
        if (s)
            check_string(s, ROWS_FIELD_MAX);
    }
    if (rows_line(r) < 1 || rows_line(r) > len + 1)
        abort();
}

static void read_all(struct rows *r, size_t len)
{
    struct err e;
    size_t calls = 0, line = 0;
    int rc;
    while ((rc = rows_next(r, &e)) != 0) {
        if (++calls > len + 2 || rows_line(r) <= line)
            abort();
        line = rows_line(r);
        check_row(r, len);
        if (rc < 0)
            check_message(&e, rc);
    }
    if (rows_next(r, &e) != 0 || rows_get(r, 0))
        abort();
    check_string(rows_ignored(r), 64 * 1024);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e;
    struct rows *r;
    if (size == 0)
        return 0;
    int rc = rows_open(&r, "fuzz", (enum rows_format)(data[0] % 3), data + 1, size - 1, wanted, WANTED, &e);
    if (rc == 0)
        read_all(r, size - 1);
    else
        check_message(&e, rc);
    rows_close(r);
    return 0;
}
