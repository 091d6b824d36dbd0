/* Rows of named text fields from CSV (RFC 4180), TSV or JSON lines, one at a time from bytes in memory.
 *
 * The bytes are not trusted. A bad row is reported with its line and skipped; reading goes on with the next
 * (the caller decides whether one bad row refuses the file). Each row's strings are NUL-terminated UTF-8
 * without NUL inside, borrowed until the next call.
 *
 * CSV: comma, fields optionally in double quotes, "" for a quote, line breaks allowed inside quotes, LF or
 * CRLF. After a quote that is never closed nothing more is read: the next row cannot be told from the open
 * text. TSV: tab; no quoting; the escapes \t \n \r \\ stand for tab, line feed, carriage return and
 * backslash, any other backslash for itself. A header row names the columns in both. A byte order mark is
 * skipped, blank lines are ignored. JSON lines: one object a line (RFC 8259), values string, number, true,
 * false or null (null is an absent field; numbers and booleans are given as written). */
#ifndef GYEOL_DATA_ROWS_H
#define GYEOL_DATA_ROWS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum rows_format { ROWS_CSV, ROWS_TSV, ROWS_JSONL };

#define ROWS_COLUMNS_MAX 64
#define ROWS_FIELD_MAX                                                                                       \
    (1 << 20) /* bytes of one field; a longer one is a bad row, as is a row of 8 times it */

struct rows;

/* By extension: .csv, .tsv, .jsonl, .ndjson; ERR_FORMAT names the path otherwise. */
int rows_format_of(enum rows_format *out, const char *path, struct err *e) MUST_CHECK;

/* `name` (for messages) and `bytes` are borrowed until rows_close. `wanted` lists n column names; get() uses
 * their numbers. Errors: empty file, header that is not UTF-8, a column named twice, too many columns.
 * Columns of the header not wanted are ignored and listed by rows_ignored. */
int rows_open(struct rows **out, const char *name, enum rows_format format, const void *bytes, size_t len,
              const char *const *wanted, size_t n, struct err *e) MUST_CHECK;
void rows_close(struct rows *r); /* NULL allowed */

/* 1: a row is there; 0: end; negative: this row is bad (message "NAME:LINE: ..."), call again for the next.
 */
int rows_next(struct rows *r, struct err *e) MUST_CHECK;

/* Field of wanted column i of the current row, NULL when the column or the JSON key is absent. Empty text in
 * CSV and TSV is "". */
const char *rows_get(const struct rows *r, size_t i);

bool rows_has(const struct rows *r,
              size_t i);                /* CSV, TSV: does the header hold wanted column i; JSONL: true */
size_t rows_line(const struct rows *r); /* 1-based line on which the current row begins */

/* Names of ignored columns joined by ", " ("" when none); in JSON lines those met so far. */
const char *rows_ignored(const struct rows *r);

#endif
