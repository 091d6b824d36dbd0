/* metrics.csv: a line per record, empty where nothing was measured; numbers come back as the same doubles. */
#include "base/file.h"
#include "base/size.h"
#include "train/output_int.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME "metrics.csv"
enum { FILE_MAX = 1 << 28 };

static const char *const column[] = {"epoch", "loss", "lr", "grad_norm", "tokens_per_s", "dev_loss"};
#define COLUMNS (COUNT_OF(column) + METRICS) /* besides the step */

static double *cell(struct train_record *r, size_t i)
{
    double *const at[] = {&r->epoch, &r->loss, &r->lr, &r->grad_norm, &r->tokens_per_s, &r->dev_loss};
    return i < COUNT_OF(at) ? at[i] : &r->dev[i - COUNT_OF(at)];
}

static void header(struct buf *out)
{
    buf_str(out, "step");
    for (size_t i = 0; i < COLUMNS; i++)
        if (i < COUNT_OF(column))
            buf_printf(out, ",%s", column[i]);
        else
            buf_printf(out, ",dev_%s", metric_name[i - COUNT_OF(column)]);
    buf_str(out, "\n");
}

int output_metrics(const char *dir, const struct output_run *r, struct err *e)
{
    struct buf out = {0};
    header(&out);
    for (size_t k = 0; k < r->records; k++) {
        struct train_record at = r->record[k];
        char number[OUTPUT_NUMBER_MAX];
        buf_printf(&out, "%llu", (unsigned long long)at.step);
        for (size_t i = 0; i < COLUMNS; i++)
            buf_printf(&out, ",%s", output_number(number, *cell(&at, i)));
        buf_str(&out, "\n");
    }
    int rc = output_text(dir, FILE_NAME, &out, e);
    buf_deinit(&out);
    return rc;
}

/* ---- reading ---- */

/* One line: its numbers, and *next behind its end. */
static bool read_line(struct train_record *r, char *s, char **next)
{
    char *end;
    *r = train_record_none(0);
    errno = 0;
    if (*s < '0' || *s > '9')
        return false;
    r->step = strtoull(s, &end, 10);
    if (errno == ERANGE)
        return false;
    for (size_t i = 0; i < COLUMNS; i++) {
        if (*end != ',')
            return false;
        s = end + 1;
        if (*s == ',' || *s == '\n') {
            end = s;
            continue;
        }
        *cell(r, i) = strtod(s, &end);
        if (end == s || !isfinite(*cell(r, i)))
            return false;
    }
    *next = end + 1;
    return *end == '\n';
}

static size_t count_lines(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += *s == '\n';
    return n;
}

static int parse(struct train_record **record, size_t *n, const char *path, char *text, struct err *e)
{
    struct buf want = {0};
    header(&want);
    int rc = buf_check(&want, path, e);
    if (!rc && strncmp(text, want.data, want.len) != 0)
        rc = err_set(e, ERR_FORMAT, "%s:1: other columns than this version writes: want %.*s", path,
                     (int)want.len - 1, want.data);
    struct train_record *r = rc ? NULL : calloc(count_lines(text), sizeof *r);
    if (!rc && !r)
        rc = err_set(e, ERR_MEMORY, "%s: out of memory", path);
    *n = 0;
    for (char *s = text + want.len; !rc && *s;)
        if (read_line(&r[*n], s, &s))
            ++*n;
        else
            rc = err_set(e, ERR_FORMAT, "%s:%zu: want a step and %zu numbers, which may be empty", path,
                         *n + 2, COLUMNS);
    buf_deinit(&want);
    if (rc)
        free(r);
    else
        *record = r;
    return rc;
}

int output_read_metrics(struct train_record **record, size_t *n, const char *dir, struct err *e)
{
    char *path, *text;
    size_t len;
    *record = NULL;
    if (asprintf(&path, "%s/" FILE_NAME, dir) < 0)
        return err_set(e, ERR_MEMORY, "out of memory");
    int rc = file_read(&text, &len, path, FILE_MAX, e);
    if (!rc) {
        rc = parse(record, n, path, text, e);
        free(text);
    }
    free(path);
    return rc;
}
