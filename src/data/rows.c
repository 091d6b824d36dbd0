#include "data/rows.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/size.h"
#include "text/utf8.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    LABEL_BYTES = 41, /* a message quotes at most 40 bytes of a name, and never a value */
    ROW_MAX =
        8 * ROWS_FIELD_MAX, /* one field may be \u escapes throughout: six bytes of JSON for one of text */
    JSON_VALUES_MAX = 4096, /* a parsed value takes some twenty times its bytes, so few are parsed at all */
};

#define NONE SIZE_MAX

struct rows {
    const char *name;  /* borrowed */
    const char *bytes; /* borrowed */
    size_t len, pos;
    enum rows_format format;
    size_t line, next_line; /* where the current row begins; where pos is */

    struct arena arena; /* owns wanted and slot */
    char **wanted;
    size_t
        *slot; /* wanted column -> field of the row, or NONE; fixed by a header, JSON lines set it per row */
    size_t n;

    struct buf row;                     /* the row's fields, each NUL-terminated */
    size_t at[ROWS_COLUMNS_MAX], begun; /* where each field begins in it; where the one being read does */
    size_t columns, fields;             /* fields a row may hold; met so far in this row */
    bool header, there;                 /* reading the header; a good row is current */

    bool in_field;
    const char *key; /* name of the field being read, NULL when it has none */
    int rc;          /* of the row being read */

    /* CSV, TSV: the columns. JSON lines: ignored keys met, one more than fit once the list says so. */
    char label[ROWS_COLUMNS_MAX][LABEL_BYTES];
    size_t labels;
    char ignored[(ROWS_COLUMNS_MAX + 1) * (LABEL_BYTES + 2)];
};

enum step {
    STEP_FIELD,
    STEP_ROW,
    STEP_BROKEN
}; /* another field follows; the row is over; it makes no sense */

int rows_format_of(enum rows_format *out, const char *path, struct err *e)
{
    static const struct {
        const char *extension;
        enum rows_format format;
    } known[] = {{".csv", ROWS_CSV}, {".tsv", ROWS_TSV}, {".jsonl", ROWS_JSONL}, {".ndjson", ROWS_JSONL}};
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    for (size_t i = 0; dot && i < COUNT_OF(known); i++) {
        if (strcasecmp(dot, known[i].extension) == 0) {
            *out = known[i].format;
            return 0;
        }
    }
    return err_set(e, ERR_FORMAT, "%s: unknown extension, want .csv, .tsv, .jsonl or .ndjson", path);
}

/* ---- messages ---- */

/* A name fit for one line: at most 40 bytes, cut between characters, without control characters. */
static void cut(char label[LABEL_BYTES], const char *s)
{
    size_t n = strnlen(s, LABEL_BYTES);
    bool whole = n < LABEL_BYTES;
    if (!whole) {
        n = LABEL_BYTES - sizeof "...";
        while (n > 0 && ((unsigned char)s[n] & 0xC0) == 0x80)
            n--;
    }
    for (size_t i = 0; i < n; i++)
        label[i] = (unsigned char)s[i] < 0x20 || s[i] == 0x7F ? '?' : s[i];
    memcpy(label + n, whole ? "" : "...", whole ? 1 : sizeof "...");
}

/* "column \"text\": ", or nothing when the fault is not in a field that has a name. */
static void describe(const struct rows *r, char *out, size_t room)
{
    char label[LABEL_BYTES];
    *out = 0;
    if (r->in_field && r->header) {
        snprintf(out, room, "header column %zu: ", r->fields + 1);
    } else if (r->in_field && r->key) {
        cut(label, r->key);
        snprintf(out, room, "%s \"%s\": ", r->format == ROWS_JSONL ? "key" : "column", label);
    }
}

/* Marks the row bad. Its first fault is the one reported: later ones may only follow from it. */
static void PRINTF_LIKE(4, 5) fault(struct rows *r, struct err *e, int code, const char *fmt, ...)
{
    char place[LABEL_BYTES + 32], what[200];
    va_list ap;
    if (r->rc)
        return;
    r->rc = code;
    describe(r, place, sizeof place);
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    err_set(e, code, "%s:%zu: %s%s", r->name, r->line, place, what);
}

/* The row's shape is lost. Overrides an earlier fault: a field is often too long only because its quote was
 * never closed. */
static enum step broken(struct rows *r, struct err *e, const char *what)
{
    r->rc = 0;
    if (r->next_line == r->line)
        fault(r, e, ERR_FORMAT, "%s", what);
    else
        fault(r, e, ERR_FORMAT, "%s (line %zu)", what, r->next_line);
    return STEP_BROKEN;
}

/* ---- cursor: pos <= len always; a byte is taken only after peek or memchr has seen it ---- */

static int peek(const struct rows *r, size_t ahead)
{
    return ahead < r->len - r->pos ? (unsigned char)r->bytes[r->pos + ahead] : -1;
}

static bool take_line_end(struct rows *r)
{
    size_t k = peek(r, 0) == '\n' ? 1 : peek(r, 0) == '\r' && peek(r, 1) == '\n' ? 2 : 0;
    r->pos += k;
    r->next_line += k > 0;
    return k > 0;
}

/* Moves to the next `c`, or to the end, counting the lines passed; false at the end. */
static bool move_to(struct rows *r, char c)
{
    const char *from = r->bytes + r->pos, *end = r->bytes + r->len;
    const char *to = memchr(from, c, (size_t)(end - from));
    const char *stop = to ? to : end;
    while ((from = memchr(from, '\n', (size_t)(stop - from)))) {
        r->next_line++;
        from++;
    }
    r->pos = (size_t)(stop - r->bytes);
    return to != NULL;
}

static void skip_line(struct rows *r)
{
    if (move_to(r, '\n'))
        take_line_end(r);
}

static void skip_blank_lines(struct rows *r)
{
    if (r->format != ROWS_JSONL) {
        while (take_line_end(r))
            ;
        return;
    }
    size_t i =
        r->pos; /* pos itself stays on a line's first byte: the white space before an object is its line's */
    for (; i < r->len && memchr(" \t\r\n", r->bytes[i], 4); i++) {
        if (r->bytes[i] == '\n') {
            r->pos = i + 1;
            r->next_line++;
        }
    }
    if (i == r->len)
        r->pos = i;
}

/* ---- one field into the row's buffer ---- */

static void begin_field(struct rows *r)
{
    r->in_field = true;
    r->begun = r->row.len;
    if (r->fields < r->columns)
        r->at[r->fields] = r->begun;
}

static void end_field(struct rows *r, struct err *e)
{
    if (r->fields < r->columns)
        buf_add(&r->row, "", 1);
    if (r->row.failed)
        fault(r, e, ERR_MEMORY, "out of memory");
    r->in_field = false;
    r->fields++;
}

static void check_text(struct rows *r, struct err *e, const char *s, size_t n, size_t offset)
{
    size_t bad;
    const char *nul = memchr(s, 0, n);
    if (nul)
        fault(r, e, ERR_FORMAT, "byte %zu is NUL, want text", offset + (size_t)(nul - s) + 1);
    else if (!utf8_valid(s, n, &bad))
        fault(r, e, ERR_FORMAT, "byte %zu is not UTF-8, want UTF-8", offset + bad + 1);
}

/* Pieces end at ASCII bytes, so no character is split between two. Fields beyond the columns are only
 * counted. */
static void put(struct rows *r, struct err *e, const char *s, size_t n)
{
    size_t length = r->row.len - r->begun;
    if (r->rc || r->fields >= r->columns)
        return;
    if (n > ROWS_FIELD_MAX - length)
        fault(r, e, ERR_LIMIT, "more than %d bytes, want at most that many in a field", ROWS_FIELD_MAX);
    else if (n + r->row.len > ROW_MAX)
        fault(r, e, ERR_LIMIT, "more than %d bytes in this row, want at most that many", ROW_MAX);
    else
        check_text(r, e, s, n, length);
    if (!r->rc)
        buf_add(&r->row, s, n);
}

/* ---- CSV and TSV ---- */

static enum step after_field(struct rows *r, struct err *e, const char *otherwise)
{
    if (peek(r, 0) == (r->format == ROWS_TSV ? '\t' : ',')) {
        r->pos++;
        return STEP_FIELD;
    }
    if (r->pos == r->len || take_line_end(r))
        return STEP_ROW;
    return broken(r, e, otherwise);
}

static enum step csv_quoted(struct rows *r, struct err *e)
{
    r->pos++;
    for (;;) {
        size_t from = r->pos;
        bool closed = move_to(r, '"');
        put(r, e, r->bytes + from, r->pos - from);
        if (!closed) /* where the next row begins is anyone's guess: a guess would make rows out of a post's
                        text */
            return broken(r, e, "quote never closed, want a closing quote; nothing after it is read");
        r->pos++;
        if (peek(r, 0) != '"')
            return after_field(r, e, "text after the closing quote, want a comma or a line end");
        put(r, e, "\"", 1);
        r->pos++;
    }
}

static enum step csv_field(struct rows *r, struct err *e)
{
    if (peek(r, 0) == '"')
        return csv_quoted(r, e);
    size_t from = r->pos;
    int c;
    while ((c = peek(r, 0)) >= 0 && c != ',' && c != '\n' && c != '\r' && c != '"')
        r->pos++;
    put(r, e, r->bytes + from, r->pos - from);
    return after_field(r, e,
                       c == '"'
                           ? "a quote inside an unquoted field, want the field quoted and its quotes doubled"
                           : "a carriage return alone, want LF or CRLF at a line's end");
}

static void tsv_escape(struct rows *r, struct err *e)
{
    static const char letters[] = "tnr\\", meanings[] = "\t\n\r\\";
    int c = peek(r, 1);
    const char *letter = c > 0 ? strchr(letters, c) : NULL;
    put(r, e, letter ? &meanings[letter - letters] : "\\", 1);
    r->pos += letter ? 2 : 1;
}

static enum step tsv_field(struct rows *r, struct err *e)
{
    for (;;) {
        size_t from = r->pos;
        int c;
        while ((c = peek(r, 0)) >= 0 && c != '\t' && c != '\n' && c != '\r' && c != '\\')
            r->pos++;
        put(r, e, r->bytes + from, r->pos - from);
        if (c != '\\')
            return after_field(r, e, "a carriage return alone, want \\r in text, LF or CRLF at a line's end");
        tsv_escape(r, e);
    }
}

/* Takes at least one byte: the caller has skipped line ends, and a broken row is left at its next line. */
static void read_fields(struct rows *r, struct err *e)
{
    enum step s;
    do {
        r->key = r->fields < r->labels ? r->label[r->fields] : NULL;
        begin_field(r);
        s = r->format == ROWS_TSV ? tsv_field(r, e) : csv_field(r, e);
        end_field(r, e);
    } while (s == STEP_FIELD);
    if (s == STEP_BROKEN)
        skip_line(r);
}

static void table_row(struct rows *r, struct err *e)
{
    read_fields(r, e);
    if (r->fields != r->columns)
        fault(r, e, ERR_FORMAT, "%zu field%s, want %zu as in the header", r->fields,
              r->fields == 1 ? "" : "s", r->columns);
}

/* ---- JSON lines ---- */

static size_t wanted_index(const struct rows *r, const char *name)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->wanted[i], name) == 0)
            return i;
    return NONE;
}

/* `ignored` has room for every label and the dots. */
static void list_ignored(struct rows *r, const char *label)
{
    size_t used = strlen(r->ignored);
    snprintf(r->ignored + used, sizeof r->ignored - used, "%s%s", used ? ", " : "", label);
}

static void note_ignored_key(struct rows *r, const char *key)
{
    char label[LABEL_BYTES];
    cut(label, key);
    for (size_t i = 0; i < r->labels && i < ROWS_COLUMNS_MAX; i++)
        if (strcmp(r->label[i], label) == 0)
            return;
    if (r->labels < ROWS_COLUMNS_MAX)
        list_ignored(r, memcpy(r->label[r->labels++], label, sizeof label));
    else if (r->labels++ == ROWS_COLUMNS_MAX)
        list_ignored(r, "...");
}

static void put_value(struct rows *r, struct err *e, const json_t *v)
{
    char number[40];
    switch (json_typeof(v)) {
    case JSON_STRING:
        put(r, e, json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
        put(r, e, number,
            (size_t)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(v)));
        break;
    case JSON_REAL:
        put(r, e, number, (size_t)snprintf(number, sizeof number, "%.17g", json_real_value(v)));
        break;
    case JSON_TRUE:
        put(r, e, "true", 4);
        break;
    case JSON_FALSE:
        put(r, e, "false", 5);
        break;
    case JSON_NULL:
        break;
    default:
        fault(r, e, ERR_FORMAT, "an %s, want text, a number, true, false or null",
              json_is_array(v) ? "array" : "object");
    }
}

static void read_members(struct rows *r, struct err *e, json_t *object)
{
    const char *key;
    json_t *v;
    json_object_foreach(object, key, v)
    {
        size_t i = wanted_index(r, key);
        if (i == NONE)
            note_ignored_key(r, key);
        else if (!json_is_null(v))
            r->slot[i] = r->fields;
        r->key = key;
        begin_field(r);
        put_value(r, e, v);
        end_field(r, e);
    }
}

/* Jansson's own text is not shown: it quotes the line. */
static void json_fault(struct rows *r, struct err *e, const json_error_t *why)
{
    static const char *const text[] = {
        [json_error_stack_overflow] = "values nested too deep, want plain values",
        [json_error_premature_end_of_input] = "the line ends inside a value, want one JSON object a line",
        [json_error_end_of_input_expected] = "more after the object, want one JSON object a line",
        [json_error_null_character] = "\\u0000 in a string, want text without NUL",
        [json_error_null_byte_in_key] = "\\u0000 in a key, want text without NUL",
        [json_error_duplicate_key] = "a key given twice, want each key once",
        [json_error_numeric_overflow] = "a number out of range, want a 64-bit integer or a double",
    };
    size_t code = (size_t)json_error_code(why);
    const char *what = code < COUNT_OF(text) ? text[code] : NULL;
    if (code == json_error_out_of_memory)
        fault(r, e, ERR_MEMORY, "out of memory");
    else
        fault(r, e, ERR_FORMAT, "%s (at byte %d)", what ? what : "not JSON, want one JSON object a line",
              why->position);
}

/* Commas outside strings, which bound the values Jansson will build. Reads strings as it does, so up to the
 * first syntax error, where it stops, nothing is missed. */
static size_t count_commas(const char *s, size_t n)
{
    size_t commas = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '"')
            quoted = !quoted;
        else if (quoted && s[i] == '\\')
            i++;
        else
            commas += !quoted && s[i] == ',';
    }
    return commas;
}

static void read_object(struct rows *r, struct err *e, const char *line, size_t n)
{
    json_error_t why;
    json_t *o = json_loadb(line, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!o)
        json_fault(r, e, &why);
    else if (!json_is_object(o))
        fault(r, e, ERR_FORMAT, "JSON but not an object, want one JSON object a line");
    else if (json_object_size(o) > ROWS_COLUMNS_MAX)
        fault(r, e, ERR_LIMIT, "%zu keys, want at most %d", json_object_size(o), ROWS_COLUMNS_MAX);
    else
        read_members(r, e, o);
    json_decref(o);
    r->key = NULL; /* was the object's */
}

static void json_row(struct rows *r, struct err *e)
{
    const char *line = r->bytes + r->pos;
    size_t n;
    for (size_t i = 0; i < r->n; i++)
        r->slot[i] = NONE;
    skip_line(r);
    n = (size_t)(r->bytes + r->pos - line);
    if (n > ROW_MAX) {
        fault(r, e, ERR_LIMIT, "a line of %zu bytes, want at most %d", n, ROW_MAX);
        return;
    }
    check_text(r, e, line, n, 0);
    if (!r->rc && count_commas(line, n) >= JSON_VALUES_MAX)
        fault(r, e, ERR_LIMIT, "more than %d values, want at most %d keys with plain values", JSON_VALUES_MAX,
              ROWS_COLUMNS_MAX);
    if (!r->rc)
        read_object(r, e, line, n);
}

/* ---- opening ---- */

static void start_row(struct rows *r)
{
    buf_reset(&r->row);
    r->line = r->next_line;
    r->fields = 0;
    r->rc = 0;
    r->there = false;
}

/* The names are still in the row's buffer. Later only the labels remain, so a column's place is found here.
 */
static void take_columns(struct rows *r, struct err *e)
{
    for (size_t f = 0; f < r->columns; f++) {
        const char *name = r->row.data + r->at[f];
        cut(r->label[f], name);
        for (size_t g = 0; g < f; g++)
            if (strcmp(name, r->row.data + r->at[g]) == 0)
                fault(r, e, ERR_FORMAT, "column \"%s\" named twice, want each column once", r->label[f]);
        size_t i = wanted_index(r, name);
        if (i == NONE)
            list_ignored(r, r->label[f]);
        else
            r->slot[i] = f;
    }
    r->labels = r->columns;
}

static void read_header(struct rows *r, struct err *e)
{
    r->header = true;
    read_fields(r, e);
    r->header = false;
    if (r->fields > ROWS_COLUMNS_MAX)
        fault(r, e, ERR_LIMIT, "%zu columns, want at most %d", r->fields, ROWS_COLUMNS_MAX);
    if (r->rc)
        return;
    r->columns = r->fields;
    take_columns(r, e);
}

/* Spreadsheets save "Unicode text" as UTF-16, for which "not UTF-8" alone would say too little. */
static void skip_mark(struct rows *r, struct err *e)
{
    int a = peek(r, 0), b = peek(r, 1);
    if (a == 0xEF && b == 0xBB && peek(r, 2) == 0xBF)
        r->pos = 3;
    else if ((a == 0xFF && b == 0xFE) || (a == 0xFE && b == 0xFF))
        fault(r, e, ERR_FORMAT, "UTF-16, want UTF-8");
}

static void read_start(struct rows *r, struct err *e)
{
    start_row(r);
    skip_mark(r, e);
    skip_blank_lines(r);
    if (r->rc)
        return;
    if (r->pos == r->len) {
        fault(r, e, ERR_FORMAT, "empty, want %s", r->format == ROWS_JSONL ? "JSON objects" : "a header row");
        return;
    }
    r->line = r->next_line;
    if (r->format != ROWS_JSONL)
        read_header(r, e);
}

static bool copy_wanted(struct rows *r, const char *const *wanted, size_t n)
{
    r->wanted = arena_alloc(&r->arena, n, sizeof *r->wanted);
    r->slot = arena_alloc(&r->arena, n, sizeof *r->slot);
    if (!r->wanted || !r->slot)
        return false;
    for (; r->n < n; r->n++) {
        r->slot[r->n] = NONE;
        r->wanted[r->n] = arena_copy(&r->arena, wanted[r->n], strlen(wanted[r->n]));
        if (!r->wanted[r->n])
            return false;
    }
    return true;
}

int rows_open(struct rows **out, const char *name, enum rows_format format, const void *bytes, size_t len,
              const char *const *wanted, size_t n, struct err *e)
{
    *out = NULL;
    struct rows *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_MEMORY, "%s: out of memory", name);
    r->name = name;
    r->bytes = len ? bytes : "";
    r->len = len;
    r->format = format;
    r->next_line = 1;
    r->columns = ROWS_COLUMNS_MAX;
    r->row.limit = ROW_MAX + ROWS_COLUMNS_MAX; /* the rows' own bound and a NUL for each field */
    if (copy_wanted(r, wanted, n))
        read_start(r, e);
    else
        r->rc = err_set(e, ERR_MEMORY, "%s: out of memory", name);
    int rc = r->rc;
    if (rc)
        rows_close(r);
    else
        *out = r;
    return rc;
}

void rows_close(struct rows *r)
{
    if (!r)
        return;
    buf_deinit(&r->row);
    arena_deinit(&r->arena);
    free(r);
}

/* ---- reading ---- */

int rows_next(struct rows *r, struct err *e)
{
    skip_blank_lines(r);
    start_row(r);
    if (r->pos == r->len)
        return 0;
    if (r->format == ROWS_JSONL)
        json_row(r, e);
    else
        table_row(r, e);
    r->there = r->rc == 0;
    return r->there ? 1 : r->rc;
}

const char *rows_get(const struct rows *r, size_t i)
{
    return r->there && i < r->n && r->slot[i] != NONE ? r->row.data + r->at[r->slot[i]] : NULL;
}

bool rows_has(const struct rows *r, size_t i)
{
    return i < r->n && (r->format == ROWS_JSONL || r->slot[i] != NONE);
}

size_t rows_line(const struct rows *r)
{
    return r->line;
}

const char *rows_ignored(const struct rows *r)
{
    return r->ignored;
}
