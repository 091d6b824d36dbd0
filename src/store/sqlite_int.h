/* Shared by the files of the SQLite store, and the only place that includes sqlite3.h. sqlite_sql.c holds the
 * statements and the helpers that run them, sqlite_fold.c transactions and refolding, sqlite_write.c and
 * sqlite_read.c the operations, sqlite.c opening and the table of operations. */
#ifndef GYEOL_STORE_SQLITE_INT_H
#define GYEOL_STORE_SQLITE_INT_H

#include "store/store.h"

#include <sqlite3.h>

enum { SQLITE_BUSY_MS = 10000 };

enum statement {
    S_PERSON_KEY,
    S_PERSON_ADD,
    S_MISSION_GET,
    S_MISSION_ADD,
    S_MISSION_SET,
    S_SURVEY_GET,
    S_SURVEY_PUT,
    S_POST_GET,
    S_POST_ADD,
    S_POST_SET,
    S_POST_DELETE,
    S_JUDGEMENTS_DROP,
    S_MODEL_GET,
    S_MODEL_ADD,
    S_POST_STATE,
    S_COUNTS_CLEAR,
    S_COUNTS_SET,
    S_JUDGEMENT_ADD,
    S_POST_DONE,
    S_PENDING,
    S_PENDING_ALL,
    S_COUNT_PENDING,
    S_COUNT_PENDING_ALL,
    S_FROZEN,
    S_FREEZE,
    S_UNFREEZE,
    S_ERASE,
    S_SCRUB_SET,
    S_SCRUB_GET,
    S_SCRUB_DONE,
    S_PERSON,
    S_PEOPLE,
    S_HISTORY,
    S_SURVEYS,
    S_FREEZES,
    S_POSTS,
    S_JUDGEMENTS,
    S_FOLD_SURVEY,
    S_FOLD_BEFORE,
    S_FOLD_DROP,
    S_FOLD_EVENTS,
    S_FOLD_STEP,
    S_FOLD_SCORES,
    STATEMENTS
};

struct touched {
    int64_t person, from; /* refold from this time on */
};

struct sqlite_store {
    struct store base;
    sqlite3 *db;
    char *path;
    sqlite3_stmt *stmt[STATEMENTS];
    struct touched *touched;
    size_t n_touched, touched_capacity;
    bool in_transaction;
};

#define I64(x) ((int64_t)(x)) /* every 'i' of sqlite_bind is an int64_t */

static inline struct sqlite_store *self(struct store *s)
{
    return (struct sqlite_store *)s;
}

/* The error of the last SQLite call as one line. */
int sqlite_fail(struct sqlite_store *s, struct err *e);

/* The statement, reset and bound: i int64, t text or NULL, d double, m time where STORE_NO_TIME is NULL.
 * Texts are borrowed until it is reset. NULL on error, which sqlite_step passes on. */
sqlite3_stmt *sqlite_bind(struct sqlite_store *s, enum statement which, struct err *e, const char *types,
                          ...);

/* 1 a row, 0 done (and reset), negative on error (and reset). */
int sqlite_step(struct sqlite_store *s, sqlite3_stmt *q, struct err *e);

/* A statement without rows. */
int sqlite_run(struct sqlite_store *s, sqlite3_stmt *q, struct err *e);
int sqlite_exec(struct sqlite_store *s, const char *sql, struct err *e);

const char *sqlite_text(sqlite3_stmt *q, int column);
int64_t sqlite_time(sqlite3_stmt *q, int column);

/* The five columns of axis a (JUDGEMENT_COLUMNS begin at `column`); `why` is borrowed from the row. */
void sqlite_read_axis(sqlite3_stmt *q, int column, struct store_judgement *j, int a);

/* ERR_MISSING names the person. */
int sqlite_person_key(struct sqlite_store *s, const char *id, int64_t *key, struct err *e);

/* Remembers that the person's fold changed at that time; STORE_NO_TIME: from the start. */
int sqlite_touch(struct sqlite_store *s, int64_t person, int64_t from, struct err *e);

int sqlite_begin(struct store *base, struct err *e);
int sqlite_commit(struct store *base, struct err *e);
void sqlite_rollback(struct store *base);
int sqlite_begin_read(struct store *base, struct err *e);
void sqlite_end_read(struct store *base);

int sqlite_put_person(struct store *base, const char *id, enum store_put *what, struct err *e);
int sqlite_put_mission(struct store *base, const char *id, const char *title, const char *description,
                       enum store_put *what, struct err *e);
int sqlite_put_survey(struct store *base, const char *person, const struct store_survey *v,
                      enum store_put *what, struct err *e);
int sqlite_put_post(struct store *base, const struct store_post *given, enum store_put *what, struct err *e);
int sqlite_delete_post(struct store *base, const char *id, int64_t at, struct err *e);
int sqlite_put_model(struct store *base, const struct store_model *m, int64_t *key, struct err *e);
int sqlite_put_judgement(struct store *base, const struct store_pending *p, int64_t model, bool rejudge,
                         const struct store_judgement *j, bool *stored, struct err *e);
int sqlite_set_frozen(struct store *base, const char *person, bool frozen, int64_t at, struct err *e);
int sqlite_erase(struct store *base, const char *person, struct err *e);

int sqlite_pending(struct store *base, int64_t model, bool rejudge, const char *person,
                   const struct store_pending *after, size_t limit, struct arena *a,
                   struct store_pending **out, size_t *n, struct err *e);
int sqlite_count_pending(struct store *base, int64_t model, bool rejudge, const char *person, int64_t *n,
                         struct err *e);
int sqlite_person(struct store *base, const char *id, struct arena *a, struct store_person *out,
                  struct err *e);
int sqlite_people(struct store *base, const char *after, size_t limit, store_person_fn *fn, void *context,
                  struct err *e);
int sqlite_history(struct store *base, const char *person, int64_t after_seq, size_t limit, store_step_fn *fn,
                   void *context, struct err *e);
int sqlite_surveys(struct store *base, const char *person, store_survey_fn *fn, void *context, struct err *e);
int sqlite_freezes(struct store *base, const char *person, store_freeze_fn *fn, void *context, struct err *e);
int sqlite_posts(struct store *base, const char *person, store_post_fn *fn, void *context, struct err *e);
int sqlite_judgements(struct store *base, const char *person, store_judged_fn *fn, void *context,
                      struct err *e);

#endif
