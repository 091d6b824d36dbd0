/* What the SQLite store reads: pages of posts waiting for a judge, and everything held about a person. */
#include "store/sqlite_int.h"

#include "store/fold.h"

#include <string.h>

static int filter_key(struct sqlite_store *s, const char *person, int64_t *key, struct err *e)
{
    *key = 0; /* everybody */
    return person ? sqlite_person_key(s, person, key, e) : 0;
}

static const char *copy_text(struct arena *a, sqlite3_stmt *q, int column)
{
    const char *t = sqlite_text(q, column);
    return t ? arena_copy(a, t, (size_t)sqlite3_column_bytes(q, column)) : NULL;
}

int sqlite_pending(struct store *base, int64_t model, bool rejudge, const char *person,
                   const struct store_pending *after, size_t limit, struct arena *a,
                   struct store_pending **out, size_t *n, struct err *e)
{
    struct sqlite_store *s = self(base);
    struct store_pending first = {.person_key = -1};
    int64_t key;
    *n = 0;
    int rc = filter_key(s, person, &key, e);
    if (rc)
        return rc;
    *out = arena_alloc(a, limit, sizeof **out);
    if (!*out)
        return err_set(e, ERR_MEMORY, "out of memory for %zu posts", limit);
    if (!after)
        after = &first;
    sqlite3_stmt *q = sqlite_bind(s, rejudge ? S_PENDING_ALL : S_PENDING, e, "iiiiii", model, key,
                                  after->person_key, after->written_at, after->post_key, I64(limit));
    while ((rc = sqlite_step(s, q, e)) > 0) {
        struct store_pending *p = &(*out)[(*n)++];
        p->post_key = sqlite3_column_int64(q, 0);
        p->person_key = sqlite3_column_int64(q, 1);
        p->written_at = sqlite3_column_int64(q, 2);
        p->version = sqlite3_column_int(q, 3);
        p->id = copy_text(a, q, 4);
        p->content = copy_text(a, q, 5);
        p->mission_title = copy_text(a, q, 6);
        p->mission_description = copy_text(a, q, 7);
        p->judged = sqlite3_column_int(q, 8) != 0;
        if (!p->id || !p->content) {
            sqlite3_reset(q);
            return err_set(e, ERR_MEMORY, "out of memory for %zu posts", limit);
        }
    }
    return rc;
}

int sqlite_count_pending(struct store *base, int64_t model, bool rejudge, const char *person, int64_t *n,
                         struct err *e)
{
    struct sqlite_store *s = self(base);
    int64_t key;
    int rc = filter_key(s, person, &key, e);
    if (rc)
        return rc;
    sqlite3_stmt *q = sqlite_bind(s, rejudge ? S_COUNT_PENDING_ALL : S_COUNT_PENDING, e, "ii", model, key);
    rc = sqlite_step(s, q, e);
    if (rc > 0) {
        *n = sqlite3_column_int64(q, 0);
        sqlite3_reset(q);
    }
    return rc < 0 ? rc : 0;
}

static struct store_person read_person(sqlite3_stmt *q)
{
    struct store_person p = {.id = sqlite_text(q, 0)};
    for (int a = 0; a < AXES; a++)
        p.scores[a] = sqlite3_column_int(q, 1 + a);
    p.created_at = sqlite3_column_int64(q, 5);
    p.surveyed = sqlite_time(q, 6) != STORE_NO_TIME;
    p.frozen = sqlite3_column_int(q, 7) != 0;
    p.posts = sqlite3_column_int64(q, 8);
    return p;
}

int sqlite_person(struct store *base, const char *id, struct arena *a, struct store_person *out,
                  struct err *e)
{
    struct sqlite_store *s = self(base);
    sqlite3_stmt *q = sqlite_bind(s, S_PERSON, e, "t", id);
    int rc = sqlite_step(s, q, e);
    if (rc == 0)
        return err_set(e, ERR_MISSING, "%s: no person \"%.255s\"", s->path, id);
    if (rc < 0)
        return rc;
    *out = read_person(q);
    out->id = arena_copy(a, out->id, strlen(out->id));
    sqlite3_reset(q);
    return out->id ? 0 : err_set(e, ERR_MEMORY, "out of memory");
}

/* Walks a statement; `row` turns the current row into a struct and calls the caller's function. */

struct callback {
    union {
        store_person_fn *person;
        store_step_fn *step;
        store_survey_fn *survey;
        store_freeze_fn *freeze;
        store_post_fn *post;
        store_judged_fn *judged;
    } fn;
    void *context;
};

static int walk(struct sqlite_store *s, sqlite3_stmt *q,
                int (*row)(sqlite3_stmt *q, const struct callback *c, struct err *e),
                const struct callback *c, struct err *e)
{
    int rc;
    while ((rc = sqlite_step(s, q, e)) > 0)
        if ((rc = row(q, c, e))) {
            sqlite3_reset(q);
            return rc;
        }
    return rc;
}

static int row_person(sqlite3_stmt *q, const struct callback *c, struct err *e)
{
    struct store_person p = read_person(q);
    return c->fn.person(c->context, &p, e);
}

int sqlite_people(struct store *base, const char *after, size_t limit, store_person_fn *fn, void *context,
                  struct err *e)
{
    struct sqlite_store *s = self(base);
    struct callback c = {.fn.person = fn, .context = context};
    int64_t rank = after ? fold_id_rank(after) : 0;
    sqlite3_stmt *q =
        sqlite_bind(s, S_PEOPLE, e, "iti", rank, after ? after : "", limit ? I64(limit) : I64(-1));
    return walk(s, q, row_person, &c, e);
}

static int row_step(sqlite3_stmt *q, const struct callback *c, struct err *e)
{
    struct store_step v = {
        .seq = sqlite3_column_int64(q, 0),
        .post = sqlite_text(q, 1),
        .written_at = sqlite3_column_int64(q, 2),
        .axis = (enum axis)sqlite3_column_int(q, 3),
        .decision = (enum decision)sqlite3_column_int(q, 4),
        .previous = sqlite3_column_int(q, 5),
        .current = sqlite3_column_int(q, 6),
        .reason = sqlite_text(q, 11),
    };
    for (int a = 0; a < AXES; a++)
        v.scores[a] = sqlite3_column_int(q, 7 + a);
    return c->fn.step(c->context, &v, e);
}

int sqlite_history(struct store *base, const char *person, int64_t after_seq, size_t limit, store_step_fn *fn,
                   void *context, struct err *e)
{
    struct sqlite_store *s = self(base);
    struct callback c = {.fn.step = fn, .context = context};
    int64_t key;
    int rc = sqlite_person_key(s, person, &key, e);
    if (rc)
        return rc;
    int64_t most = limit ? I64(limit) : I64(-1);
    return walk(s, sqlite_bind(s, S_HISTORY, e, "iii", key, after_seq, most), row_step, &c, e);
}

/* The four walks over all that is held of one person. */
static int walk_person(struct store *base, const char *person, enum statement which,
                       int (*row)(sqlite3_stmt *q, const struct callback *c, struct err *e),
                       struct callback c, struct err *e)
{
    struct sqlite_store *s = self(base);
    int64_t key;
    int rc = sqlite_person_key(s, person, &key, e);
    return rc ? rc : walk(s, sqlite_bind(s, which, e, "i", key), row, &c, e);
}

static int row_survey(sqlite3_stmt *q, const struct callback *c, struct err *e)
{
    struct store_survey v = {.taken_at = sqlite3_column_int64(q, 0)};
    for (int a = 0; a < AXES; a++)
        v.scores[a] = sqlite3_column_int(q, 1 + a);
    return c->fn.survey(c->context, &v, e);
}

int sqlite_surveys(struct store *base, const char *person, store_survey_fn *fn, void *context, struct err *e)
{
    struct callback c = {.fn.survey = fn, .context = context};
    return walk_person(base, person, S_SURVEYS, row_survey, c, e);
}

static int row_freeze(sqlite3_stmt *q, const struct callback *c, struct err *e)
{
    struct store_freeze v = {sqlite3_column_int64(q, 0), sqlite_time(q, 1)};
    return c->fn.freeze(c->context, &v, e);
}

int sqlite_freezes(struct store *base, const char *person, store_freeze_fn *fn, void *context, struct err *e)
{
    struct callback c = {.fn.freeze = fn, .context = context};
    return walk_person(base, person, S_FREEZES, row_freeze, c, e);
}

static int row_post(sqlite3_stmt *q, const struct callback *c, struct err *e)
{
    struct store_post v = {
        .id = sqlite_text(q, 0),
        .mission = sqlite_text(q, 1),
        .written_at = sqlite3_column_int64(q, 2),
        .edited_at = sqlite_time(q, 3),
        .deleted_at = sqlite_time(q, 4),
        .content = sqlite_text(q, 5),
    };
    return c->fn.post(c->context, &v, e);
}

int sqlite_posts(struct store *base, const char *person, store_post_fn *fn, void *context, struct err *e)
{
    struct callback c = {.fn.post = fn, .context = context};
    return walk_person(base, person, S_POSTS, row_post, c, e);
}

static int row_judged(sqlite3_stmt *q, const struct callback *c, struct err *e)
{
    struct store_judged v = {
        .post = sqlite_text(q, 0),
        .version = sqlite3_column_int(q, 1),
        .counts = sqlite3_column_int(q, 2) != 0,
        .model = {sqlite_text(q, 3), sqlite_text(q, 4), sqlite_text(q, 5), sqlite_text(q, 6)},
    };
    struct store_judgement *j = &v.judgement;
    if (v.model.adapter_sha256[0] == 0)
        v.model.adapter_sha256 = NULL;
    j->policy = (enum policy)sqlite3_column_int(q, 7);
    j->weight = sqlite3_column_int(q, 8);
    j->judged_at = sqlite3_column_int64(q, 9);
    j->latency_ms = sqlite3_column_double(q, 10);
    j->reason = sqlite_text(q, 11);
    for (int a = 0; a < AXES; a++)
        sqlite_read_axis(q, 12, j, a);
    return c->fn.judged(c->context, &v, e);
}

int sqlite_judgements(struct store *base, const char *person, store_judged_fn *fn, void *context,
                      struct err *e)
{
    struct callback c = {.fn.judged = fn, .context = context};
    return walk_person(base, person, S_JUDGEMENTS, row_judged, c, e);
}
