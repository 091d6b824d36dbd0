#include "data/posts.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/size.h"
#include "data/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT, MISSION, USER, REASON, KIND, TYPE, EI, COLUMNS = EI + AXES };
static const char *const columns[COLUMNS] = {"text", "mission", "user", "reason", "kind",
                                             "type", "ei",      "sn",   "tf",     "jp"};

char label_char(int label)
{
    return label == LABEL_UNKNOWN ? '?' : label > 0 ? '+' : label < 0 ? '-' : '0';
}

static int parse_label(int8_t *out, const char *name, size_t line, int axis, const char *s, struct err *e)
{
    if (s && strlen(s) == 1)
        switch (s[0]) {
        case '+':
            *out = 1;
            return 0;
        case '-':
            *out = -1;
            return 0;
        case '0':
            *out = 0;
            return 0;
        case '?':
            *out = LABEL_UNKNOWN;
            return 0;
        }
    return err_set(e, ERR_FORMAT, "%s:%zu: %s is \"%.20s\", want +, -, 0 or ?", name, line,
                   axis_info[axis].key, s ? s : "");
}

static int parse_type(int8_t out[AXES], const char *name, size_t line, const char *s, struct err *e)
{
    bool ok = s && strlen(s) == AXES;
    for (int a = 0; a < AXES && ok; a++) {
        char c = (char)(s[a] & ~0x20);
        out[a] = c == axis_info[a].pole_up[0] ? 1 : -1;
        ok = out[a] > 0 || c == axis_info[a].pole_down[0];
    }
    return ok ? 0
              : err_set(e, ERR_FORMAT, "%s:%zu: type is \"%.20s\", want four letters such as INFP", name,
                        line, s ? s : "");
}

static int keep_text(struct arena *a, const char **out, const char *s, struct err *e)
{
    *out = s && *s ? arena_copy(a, s, strlen(s)) : NULL;
    return s && *s && !*out ? err_set(e, ERR_MEMORY, "out of memory") : 0;
}

static int read_row(struct labelled_posts *p, struct labelled_post *x, const struct rows *r, const char *name,
                    struct err *e)
{
    const char *text = rows_get(r, TEXT);
    x->line = rows_line(r);
    if (!text || !*text)
        return err_set(e, ERR_FORMAT, "%s:%zu: text is empty", name, x->line);
    const char **field[] = {&x->text, &x->mission, &x->user, &x->reason, &x->kind};
    int rc = 0;
    for (int i = TEXT; i <= KIND && !rc; i++) {
        rc = keep_text(&p->arena, field[i], rows_get(r, (size_t)i), e);
        p->used |= (unsigned)(*field[i] != NULL) << i;
    }
    if (!rc && p->weak)
        return parse_type(x->label, name, x->line, rows_get(r, TYPE), e);
    for (int a = 0; a < AXES && !rc; a++)
        rc = parse_label(&x->label[a], name, x->line, a, rows_get(r, (size_t)EI + a), e);
    return rc;
}

static int grow(struct labelled_posts *p, size_t *capacity, struct err *e)
{
    size_t want = *capacity ? 2 * *capacity : 1024, bytes;
    struct labelled_post *row = size_mul(want, sizeof *row, &bytes) ? realloc(p->row, bytes) : NULL;
    if (!row)
        return err_set(e, ERR_MEMORY, "out of memory for %zu rows", want);
    p->row = row;
    *capacity = want;
    return 0;
}

/* JSON lines have no header: there the first row decides which kind of label the file has. */
static int check_columns(struct labelled_posts *p, const struct rows *r, bool has_header, const char *name,
                         struct err *e)
{
    if (has_header && !rows_has(r, TEXT))
        return err_set(e, ERR_FORMAT, "%s:1: no column text; want text and ei sn tf jp (or type)", name);
    bool axes = true;
    for (int a = 0; a < AXES; a++)
        axes &= has_header ? rows_has(r, (size_t)EI + a) : rows_get(r, (size_t)EI + a) != NULL;
    p->weak = !axes && (has_header ? rows_has(r, TYPE) : rows_get(r, TYPE) != NULL);
    return axes || p->weak
               ? 0
               : err_set(e, ERR_FORMAT, "%s:%zu: want the columns ei sn tf jp, or type, beside text", name,
                         has_header ? (size_t)1 : rows_line(r));
}

static int read_rows(struct labelled_posts *p, struct rows *r, bool has_header, const char *name,
                     struct err *e)
{
    size_t capacity = 0;
    int rc = has_header ? check_columns(p, r, true, name, e) : 0;
    while (!rc && (rc = rows_next(r, e)) > 0) {
        if (!has_header && p->n == 0 && (rc = check_columns(p, r, false, name, e)))
            break;
        if (p->n == capacity && (rc = grow(p, &capacity, e)))
            break;
        p->row[p->n] = (struct labelled_post){0};
        rc = read_row(p, &p->row[p->n], r, name, e);
        p->n += rc == 0;
    }
    if (!rc && p->n == 0)
        rc = err_set(e, ERR_FORMAT, "%s: no rows after the header", name);
    return rc;
}

int labelled_read(struct labelled_posts *out, const char *path, struct err *e)
{
    *out = (struct labelled_posts){0};
    enum rows_format format;
    struct rows *r = NULL;
    char *bytes = NULL;
    size_t n;
    int rc = rows_format_of(&format, path, e);
    if (!rc)
        rc = file_read(&bytes, &n, path, BUF_LIMIT, e);
    if (!rc)
        rc = rows_open(&r, path, format, bytes, n, columns, COLUMNS, e);
    if (!rc)
        rc = read_rows(out, r, format != ROWS_JSONL, path, e);
    if (!rc) {
        digest_sha256(out->sha256, bytes, n);
        snprintf(out->ignored, sizeof out->ignored, "%s", rows_ignored(r));
    }
    rows_close(r);
    free(bytes);
    if (rc)
        labelled_deinit(out);
    return rc;
}

void labelled_deinit(struct labelled_posts *p)
{
    free(p->row);
    arena_deinit(&p->arena);
    *p = (struct labelled_posts){0};
}

void labelled_write_header(struct buf *out, const struct labelled_posts *p)
{
    for (int i = TEXT; i <= KIND; i++)
        if (p->used >> i & 1)
            buf_printf(out, "%s%s", i ? "\t" : "", columns[i]);
    buf_str(out, p->weak ? "\ttype\n" : "\tei\tsn\ttf\tjp\n");
}

static void write_field(struct buf *out, const char *s)
{
    for (; s && *s; s++)
        switch (*s) {
        case '\t':
            buf_str(out, "\\t");
            break;
        case '\n':
            buf_str(out, "\\n");
            break;
        case '\r':
            buf_str(out, "\\r");
            break;
        case '\\':
            buf_str(out, "\\\\");
            break;
        default:
            buf_add(out, s, 1);
        }
}

void labelled_write_row(struct buf *out, const struct labelled_posts *p, size_t i)
{
    const struct labelled_post *x = &p->row[i];
    const char *const field[] = {x->text, x->mission, x->user, x->reason, x->kind};
    for (int k = TEXT; k <= KIND; k++)
        if (p->used >> k & 1) {
            buf_str(out, k ? "\t" : "");
            write_field(out, field[k]);
        }
    if (p->weak)
        buf_str(out, "\t");
    for (int a = 0; a < AXES; a++)
        if (p->weak)
            buf_str(out, x->label[a] > 0 ? axis_info[a].pole_up : axis_info[a].pole_down);
        else
            buf_printf(out, "\t%c", label_char(x->label[a]));
    buf_str(out, "\n");
}
