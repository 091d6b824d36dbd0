/* Transactions of the SQLite store. People whose fold a transaction touches are remembered with the earliest
 * time touched, and refolded from there when it commits. */
#include "store/sqlite_int.h"

#include "base/size.h"
#include "store/fold.h"

#include <stdlib.h>

int sqlite_begin(struct store *base, struct err *e)
{
    struct sqlite_store *s = self(base);
    s->n_touched = 0;
    int rc = sqlite_exec(s, "BEGIN IMMEDIATE", e);
    s->in_transaction = rc == 0;
    return rc;
}

void sqlite_rollback(struct store *base)
{
    struct sqlite_store *s = self(base);
    if (s->in_transaction)
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    s->in_transaction = false;
    s->n_touched = 0;
}

int sqlite_touch(struct sqlite_store *s, int64_t person, int64_t from, struct err *e)
{
    if (s->n_touched > 0 && s->touched[s->n_touched - 1].person == person) {
        struct touched *last = &s->touched[s->n_touched - 1];
        last->from = from < last->from ? from : last->from;
        return 0;
    }
    if (s->n_touched == s->touched_capacity) {
        size_t capacity = s->touched_capacity ? 2 * s->touched_capacity : 64, bytes;
        struct touched *t = size_mul(capacity, sizeof *t, &bytes) ? realloc(s->touched, bytes) : NULL;
        if (!t)
            return err_set(e, ERR_MEMORY, "out of memory for %zu changed people", capacity);
        s->touched = t;
        s->touched_capacity = capacity;
    }
    s->touched[s->n_touched++] = (struct touched){person, from};
    return 0;
}

struct folding {
    int64_t person, from, seq;
    int scores[AXES];
};

/* Where the fold resumes: after the last step before `from`, or at the survey, or at 50. */
static int fold_begin(struct sqlite_store *s, struct folding *f, struct err *e)
{
    for (int a = 0; a < AXES; a++)
        f->scores[a] = SCORE_START;
    sqlite3_stmt *q = sqlite_bind(s, S_FOLD_SURVEY, e, "i", f->person);
    int rc = sqlite_step(s, q, e);
    if (rc > 0) {
        int64_t taken_at = sqlite3_column_int64(q, 0);
        for (int a = 0; a < AXES; a++)
            f->scores[a] = sqlite3_column_int(q, 1 + a);
        sqlite3_reset(q);
        if (f->from <= taken_at) {
            f->from = taken_at;
            return 0;
        }
    }
    if (rc >= 0 &&
        (rc = sqlite_step(s, q = sqlite_bind(s, S_FOLD_BEFORE, e, "ii", f->person, f->from), e)) > 0) {
        f->seq = sqlite3_column_int64(q, 0);
        for (int a = 0; a < AXES; a++)
            f->scores[a] = sqlite3_column_int(q, 1 + a);
        sqlite3_reset(q);
    }
    return rc < 0 ? rc : 0;
}

enum { EVENT_JUDGEMENT = 4 }; /* first judgement column of S_FOLD_EVENTS */

static int fold_event(struct sqlite_store *s, struct folding *f, sqlite3_stmt *event, struct buf *reason,
                      struct err *e)
{
    struct store_judgement j = {0};
    int previous[AXES], rc = 0;
    enum policy policy = (enum policy)sqlite3_column_int(event, 2);
    int weight = sqlite3_column_int(event, 3);
    for (int a = 0; a < AXES; a++) {
        sqlite_read_axis(event, EVENT_JUDGEMENT, &j, a);
        int move = fold_move(policy, weight, j.axis[a].decision, j.axis[a].up, j.axis[a].down);
        previous[a] = f->scores[a];
        f->scores[a] = fold_clamp(previous[a], move);
    }
    for (int a = 0; a < AXES && !rc; a++) {
        enum decision d = j.axis[a].decision;
        if (d == DECISION_KEEP)
            continue;
        buf_reset(reason);
        fold_reason(reason, j.axis[a].why ? j.axis[a].why : "", a, d, previous[a], f->scores[a]);
        if ((rc = buf_check(reason, "reason", e)))
            break;
        rc = sqlite_run(s,
                        sqlite_bind(s, S_FOLD_STEP, e, "iiiiiiiiiiiit", f->person, ++f->seq,
                                    sqlite3_column_int64(event, 0), sqlite3_column_int64(event, 1), I64(a),
                                    I64(d), I64(previous[a]), I64(f->scores[a]), I64(f->scores[0]),
                                    I64(f->scores[1]), I64(f->scores[2]), I64(f->scores[3]), reason->data),
                        e);
    }
    return rc;
}

static int refold(struct sqlite_store *s, const struct touched *t, struct err *e)
{
    struct folding f = {.person = t->person, .from = t->from};
    struct buf reason = {0};
    int rc = fold_begin(s, &f, e);
    if (!rc)
        rc = sqlite_run(s, sqlite_bind(s, S_FOLD_DROP, e, "ii", f.person, f.seq), e);
    if (rc)
        return rc;
    sqlite3_stmt *q = sqlite_bind(s, S_FOLD_EVENTS, e, "ii", f.person, f.from);
    while ((rc = sqlite_step(s, q, e)) > 0)
        if ((rc = fold_event(s, &f, q, &reason, e))) {
            sqlite3_reset(q);
            break;
        }
    buf_deinit(&reason);
    if (rc)
        return rc;
    return sqlite_run(s,
                      sqlite_bind(s, S_FOLD_SCORES, e, "iiiii", I64(f.scores[0]), I64(f.scores[1]),
                                  I64(f.scores[2]), I64(f.scores[3]), f.person),
                      e);
}

static int by_person(const void *x, const void *y)
{
    const struct touched *a = x, *b = y;
    if (a->person != b->person)
        return a->person < b->person ? -1 : 1;
    return (a->from > b->from) - (a->from < b->from);
}

int sqlite_commit(struct store *base, struct err *e)
{
    struct sqlite_store *s = self(base);
    int rc = 0;
    if (s->n_touched)
        qsort(s->touched, s->n_touched, sizeof *s->touched, by_person);
    for (size_t i = 0; i < s->n_touched && !rc; i++)
        if (i == 0 || s->touched[i].person != s->touched[i - 1].person)
            rc = refold(s, &s->touched[i], e);
    if (!rc)
        rc = sqlite_exec(s, "COMMIT", e);
    if (rc)
        sqlite_rollback(base);
    s->in_transaction = false;
    s->n_touched = 0;
    return rc;
}

int sqlite_begin_read(struct store *base, struct err *e)
{
    return sqlite_exec(self(base), "BEGIN", e);
}

void sqlite_end_read(struct store *base)
{
    sqlite3_exec(self(base)->db, "ROLLBACK", NULL, NULL, NULL); /* nothing was written */
}
