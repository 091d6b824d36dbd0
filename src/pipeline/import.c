#include "pipeline/import.h"

#include "base/file.h"
#include "base/size.h"
#include "base/stop.h"
#include "base/when.h"
#include "data/rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const import_kind_name[IMPORT_KINDS] = {"people", "missions", "surveys", "posts"};

/* Ids seen in the files of one kind, so that the second row of one id is refused instead of quietly replacing
 * the first. */
struct seen {
    struct {
        const char *id, *path;
        size_t line;
    } * slot;
    size_t n, capacity; /* a power of two, at most half full */
    struct arena arena;
};

struct import {
    struct store *store;
    struct import_result *result;
    bool keep_going;
    import_report_fn *report;
    void *context;
    const char *path;
    struct rows *rows;
    struct seen seen;
};

typedef int row_fn(struct import *im, enum store_put *what, struct err *e);

static uint64_t hash_text(const char *s)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h ^ (h >> 32);
}

static int seen_grow(struct seen *t, struct err *e)
{
    struct seen bigger = {.capacity = t->capacity ? 2 * t->capacity : 1024};
    bigger.slot = calloc(bigger.capacity, sizeof *bigger.slot);
    if (!bigger.slot)
        return err_set(e, ERR_MEMORY, "out of memory for %zu ids", t->n);
    for (size_t i = 0; i < t->capacity; i++) {
        if (!t->slot[i].id)
            continue;
        size_t k = hash_text(t->slot[i].id) & (bigger.capacity - 1);
        while (bigger.slot[k].id)
            k = (k + 1) & (bigger.capacity - 1);
        bigger.slot[k] = t->slot[i];
    }
    free(t->slot);
    t->slot = bigger.slot;
    t->capacity = bigger.capacity;
    return 0;
}

static int first_time(struct import *im, const char *id, struct err *e)
{
    struct seen *t = &im->seen;
    int rc = 2 * t->n >= t->capacity ? seen_grow(t, e) : 0;
    if (rc)
        return rc;
    size_t k = hash_text(id) & (t->capacity - 1);
    for (; t->slot[k].id; k = (k + 1) & (t->capacity - 1))
        if (strcmp(t->slot[k].id, id) == 0)
            return err_set(e, ERR_FORMAT, "id \"%.80s\" is in %s:%zu already", id, t->slot[k].path,
                           t->slot[k].line);
    t->slot[k].id = arena_copy(&t->arena, id, strlen(id));
    t->slot[k].path = im->path;
    t->slot[k].line = rows_line(im->rows);
    t->n++;
    return t->slot[k].id ? 0 : err_set(e, ERR_MEMORY, "out of memory for %zu ids", t->n);
}

/* ---- fields ---- */

static const char *optional(const struct import *im, size_t column)
{
    const char *v = rows_get(im->rows, column);
    return v && *v ? v : NULL;
}

static int required(const struct import *im, const char **out, size_t column, const char *name, struct err *e)
{
    *out = optional(im, column);
    return *out ? 0 : err_set(e, ERR_FORMAT, "%s is empty", name);
}

static int optional_time(const struct import *im, int64_t *out, size_t column, const char *name,
                         struct err *e)
{
    const char *v = optional(im, column);
    *out = STORE_NO_TIME;
    int rc = v ? when_parse(out, v, e) : 0;
    return rc ? err_prefix(e, "%s: ", name) : 0;
}

static int score(const struct import *im, int *out, size_t column, int axis, struct err *e)
{
    const char *v = rows_get(im->rows, column);
    char *end;
    errno = 0;
    long n = v ? strtol(v, &end, 10) : -1;
    if (!v || !*v || *end || errno || n < 0 || n > SCORE_MAX)
        return err_set(e, ERR_FORMAT, "%s is \"%.20s\", want a whole number from 0 to 100",
                       axis_info[axis].key, v ? v : "");
    *out = (int)n;
    return 0;
}

/* ---- one row of each kind ---- */

static int put_person(struct import *im, enum store_put *what, struct err *e)
{
    const char *id;
    int rc = required(im, &id, 0, "id", e);
    if (!rc)
        rc = first_time(im, id, e);
    return rc ? rc : store_put_person(im->store, id, what, e);
}

static int put_mission(struct import *im, enum store_put *what, struct err *e)
{
    const char *id;
    int rc = required(im, &id, 0, "id", e);
    if (!rc)
        rc = first_time(im, id, e);
    return rc ? rc : store_put_mission(im->store, id, optional(im, 1), optional(im, 2), what, e);
}

static int put_survey(struct import *im, enum store_put *what, struct err *e)
{
    const char *person;
    struct store_survey v = {.taken_at = STORE_NO_TIME};
    int rc = required(im, &person, 0, "person", e);
    if (!rc)
        rc = optional_time(im, &v.taken_at, 1, "taken_at", e);
    if (v.taken_at == STORE_NO_TIME)
        v.taken_at = STORE_BEGINNING;
    for (int a = 0; a < AXES && !rc; a++)
        rc = score(im, &v.scores[a], 2 + (size_t)a, a, e);
    char key[STORE_ID_MAX + 32];
    snprintf(key, sizeof key, "%s@%lld", rc ? "" : person, rc ? 0LL : (long long)v.taken_at);
    if (!rc && (rc = first_time(im, key, e)) == ERR_FORMAT)
        err_set(e, rc, "a second survey of \"%.80s\" at the same time", person);
    return rc ? rc : store_put_survey(im->store, person, &v, what, e);
}

enum { POST_ID, POST_PERSON, POST_MISSION, POST_WRITTEN, POST_CONTENT, POST_EDITED, POST_DELETED };

static int put_post(struct import *im, enum store_put *what, struct err *e)
{
    struct store_post p = {.mission = optional(im, POST_MISSION),
                           .content = rows_get(im->rows, POST_CONTENT)};
    int rc = required(im, &p.id, POST_ID, "id", e);
    if (!rc)
        rc = required(im, &p.person, POST_PERSON, "person", e);
    if (!rc && !p.content)
        rc = err_set(e, ERR_FORMAT, "content is missing");
    if (!rc)
        rc = optional_time(im, &p.written_at, POST_WRITTEN, "written_at", e);
    if (!rc)
        rc = optional_time(im, &p.edited_at, POST_EDITED, "edited_at", e);
    if (!rc)
        rc = optional_time(im, &p.deleted_at, POST_DELETED, "deleted_at", e);
    if (!rc)
        rc = first_time(im, p.id, e);
    return rc ? rc : store_put_post(im->store, &p, what, e);
}

/* ---- files ---- */

static const struct kind {
    const char *columns[8];
    size_t n;
    unsigned needed; /* bit i: column i must be there */
    row_fn *put;
} kinds[IMPORT_KINDS] = {
    [IMPORT_PEOPLE] = {{"id"}, 1, 1, put_person},
    [IMPORT_MISSIONS] = {{"id", "title", "description"}, 3, 1, put_mission},
    [IMPORT_SURVEYS] = {{"person", "taken_at", "ei", "sn", "tf", "jp"}, 6, 1 | 4 | 8 | 16 | 32, put_survey},
    [IMPORT_POSTS] = {{"id", "person", "mission", "written_at", "content", "edited_at", "deleted_at"},
                      7,
                      1u << POST_ID | 1u << POST_PERSON | 1u << POST_CONTENT,
                      put_post},
};

int import_kind_of(enum import_kind *out, const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t stem = strcspn(name, ".");
    for (int k = 0; k < IMPORT_KINDS; k++)
        if (strlen(import_kind_name[k]) == stem && strncmp(name, import_kind_name[k], stem) == 0) {
            *out = (enum import_kind)k;
            return 0;
        }
    return err_set(e, ERR_FORMAT,
                   "%s: want a file named people, missions, surveys or posts (.csv, .tsv, .jsonl)", path);
}

static void report_bad(struct import *im, const struct err *e)
{
    im->result->bad++;
    im->report(im->context, false, e->msg);
}

static int list_columns(const struct kind *k, char *text, size_t size)
{
    int at = 0;
    for (size_t i = 0; i < k->n; i++)
        at += snprintf(text + at, size - (size_t)at, "%s%s", i ? ", " : "", k->columns[i]);
    return at;
}

static int check_header(struct import *im, const struct kind *k, struct err *e)
{
    char known[128];
    list_columns(k, known, sizeof known);
    for (size_t i = 0; i < k->n; i++)
        if (k->needed >> i & 1 && !rows_has(im->rows, i))
            return err_set(e, ERR_FORMAT, "%s:1: no column \"%s\"; known columns: %s", im->path,
                           k->columns[i], known);
    return 0;
}

static int check_ignored(struct import *im, const struct kind *k, struct err *e)
{
    char known[128];
    const char *ignored = rows_ignored(im->rows);
    if (!*ignored)
        return 0;
    list_columns(k, known, sizeof known);
    err_set(e, ERR_FORMAT, "%s: unknown column %.120s; known columns: %s", im->path, ignored, known);
    if (!im->keep_going)
        return ERR_FORMAT;
    im->report(im->context, true, e->msg);
    return 0;
}

/* The row's own fault, or the database's? After the latter nothing more can be written. */
static bool is_row_fault(int rc)
{
    return rc == ERR_FORMAT || rc == ERR_LIMIT || rc == ERR_STATE || rc == ERR_MISSING;
}

static int import_rows(struct import *im, enum import_kind kind, struct err *e)
{
    int rc;
    while ((rc = rows_next(im->rows, e)) != 0) {
        if (stop_requested())
            return err_set(e, ERR_STOPPED, "interrupted; nothing was imported");
        if (rc < 0) {
            if (rc == ERR_MEMORY)
                return rc;
            report_bad(im, e);
            continue;
        }
        enum store_put what;
        rc = kinds[kind].put(im, &what, e);
        if (rc && !is_row_fault(rc))
            return rc;
        if (rc) {
            err_prefix(e, "%s:%zu: ", im->path, rows_line(im->rows));
            report_bad(im, e);
            continue;
        }
        size_t *count = what == STORE_ADDED     ? im->result->added
                        : what == STORE_CHANGED ? im->result->changed
                                                : im->result->same;
        count[kind]++;
    }
    return 0;
}

static int import_file(struct import *im, const char *path, enum import_kind kind, struct err *e)
{
    struct file_map file;
    enum rows_format format;
    const struct kind *k = &kinds[kind];
    im->path = path;
    int rc = rows_format_of(&format, path, e);
    if (!rc)
        rc = file_map_open(&file, path, e);
    if (rc)
        return rc;
    rc = rows_open(&im->rows, path, format, file.data ? (const void *)file.data : "", file.len, k->columns,
                   k->n, e);
    if (!rc)
        rc = check_header(im, k, e);
    if (!rc && format != ROWS_JSONL)
        rc = check_ignored(im, k, e);
    if (!rc)
        rc = import_rows(im, kind, e);
    if (!rc && format == ROWS_JSONL) /* known only after reading */
        rc = check_ignored(im, k, e);
    rows_close(im->rows);
    im->rows = NULL;
    file_map_close(&file);
    return rc;
}

static int import_kind(struct import *im, enum import_kind kind, const char *const *path, size_t n,
                       struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++) {
        enum import_kind k;
        rc = import_kind_of(&k, path[i], e);
        if (!rc && k == kind)
            rc = import_file(im, path[i], k, e);
    }
    free(im->seen.slot);
    arena_deinit(&im->seen.arena);
    im->seen = (struct seen){0};
    return rc;
}

static int import_all(struct import *im, const char *const *path, size_t n, struct err *e)
{
    for (int kind = 0; kind < IMPORT_KINDS; kind++) {
        int rc = import_kind(im, (enum import_kind)kind, path, n, e);
        if (rc)
            return rc;
    }
    if (im->result->bad && !im->keep_going)
        return err_set(e, ERR_FORMAT,
                       "%zu bad row%s, so nothing was imported; --keep-going imports the others",
                       im->result->bad, im->result->bad == 1 ? "" : "s");
    return 0;
}

int import_files(struct store *s, const char *const *path, size_t n, bool keep_going,
                 import_report_fn *report, void *context, struct import_result *result, struct err *e)
{
    struct import im = {
        .store = s, .result = result, .keep_going = keep_going, .report = report, .context = context};
    *result = (struct import_result){0};
    int rc = store_begin(s, e);
    if (rc)
        return rc;
    rc = import_all(&im, path, n, e);
    if (!rc)
        return store_commit(s, e);
    store_rollback(s);
    return rc;
}
