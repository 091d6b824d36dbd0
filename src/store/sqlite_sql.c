/* The statements of the SQLite store, prepared once, on first use; $1, $2 ... first appear in this order, so
 * that a text serves other databases too. */
#include "store/sqlite_int.h"

#include <stdarg.h>
#include <string.h>

#define LIVE_FREEZE "SELECT 1 FROM freeze f WHERE f.person_id = p.person_id AND "
#define NOT_FROZEN                                                                                           \
    "NOT EXISTS (" LIVE_FREEZE "(f.to_at IS NULL OR (p.written_at >= f.from_at AND p.written_at < "          \
    "f.to_at)))"
#define COUNTING "j.post_id = p.id AND j.version = p.version AND j.counts = 1"
#define WAITING_REJUDGE                                                                                      \
    "p.deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM judgement j WHERE " COUNTING " AND j.model_id = $1)"
#define PENDING_COLUMNS                                                                                      \
    "p.id, p.person_id, p.written_at, p.version, p.ext, p.content, m.title, m.description, "                 \
    "EXISTS (SELECT 1 FROM judgement k WHERE k.post_id = p.id AND k.version = p.version AND k.model_id = "   \
    "$1)"
#define PENDING_FROM " FROM post p LEFT JOIN mission m ON m.id = p.mission_id WHERE "
#define PENDING_PAGE                                                                                         \
    " AND ($2 = 0 OR p.person_id = $2) AND (p.person_id, p.written_at, p.id) > ($3, $4, $5) AND " NOT_FROZEN \
    " ORDER BY p.person_id, p.written_at, p.id LIMIT $6"
#define PERSON_COLUMNS                                                                                       \
    "p.ext, p.ei, p.sn, p.tf, p.jp, p.created_at, (SELECT max(taken_at) FROM survey s WHERE s.person_id = "  \
    "p.id)"                                                                                                  \
    ", EXISTS (SELECT 1 FROM freeze f WHERE f.person_id = p.id AND f.to_at IS NULL)"                         \
    ", (SELECT count(*) FROM post o JOIN judgement j ON j.post_id = o.id AND j.version = o.version AND "     \
    "j.counts = 1 WHERE o.person_id = p.id AND o.deleted_at IS NULL AND o.written_at >= ifnull((SELECT "     \
    "max(taken_at) FROM survey s WHERE s.person_id = p.id), o.written_at)) FROM person p "
#define JUDGEMENT_COLUMNS                                                                                    \
    "ei, ei_up, ei_keep, ei_down, ei_why, sn, sn_up, sn_keep, sn_down, sn_why, tf, tf_up, tf_keep, "         \
    "tf_down, "                                                                                              \
    "tf_why, jp, jp_up, jp_keep, jp_down, jp_why"

static const char *const text[STATEMENTS] = {
    [S_PERSON_KEY] = "SELECT id FROM person WHERE ext = $1",
    [S_PERSON_ADD] = "INSERT INTO person (ext, ext_rank, created_at) VALUES ($1, $2, $3)",
    [S_MISSION_GET] = "SELECT id, title, description FROM mission WHERE ext = $1",
    [S_MISSION_ADD] = "INSERT INTO mission (ext, title, description) VALUES ($1, $2, $3)",
    [S_MISSION_SET] = "UPDATE mission SET title = $1, description = $2 WHERE id = $3",
    [S_SURVEY_GET] = "SELECT ei, sn, tf, jp FROM survey WHERE person_id = $1 AND taken_at = $2",
    [S_SURVEY_PUT] =
        "INSERT INTO survey (person_id, taken_at, ei, sn, tf, jp) VALUES ($1, $2, $3, $4, $5, $6) "
        "ON CONFLICT (person_id, taken_at) DO UPDATE SET ei = excluded.ei, sn = excluded.sn, "
        "tf = excluded.tf, jp = excluded.jp",
    [S_POST_GET] = "SELECT id, person_id, mission_id, written_at, edited_at, deleted_at, version, content, "
                   "EXISTS (SELECT 1 FROM judgement j WHERE " COUNTING ") FROM post p WHERE ext = $1",
    [S_POST_ADD] =
        "INSERT INTO post (ext, ext_rank, person_id, mission_id, written_at, edited_at, deleted_at, "
        "pending, content) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    [S_POST_SET] = "UPDATE post SET mission_id = $1, written_at = $2, edited_at = $3, deleted_at = $4, "
                   "version = $5, pending = $6, content = $7 WHERE id = $8",
    [S_POST_DELETE] = "UPDATE post SET deleted_at = $1, pending = 0 WHERE id = $2",
    [S_JUDGEMENTS_DROP] = "DELETE FROM judgement WHERE post_id = $1",
    [S_MODEL_GET] = "SELECT id FROM model WHERE mode = $1 AND name = $2 AND model_sha256 = $3 AND "
                    "adapter_sha256 = $4",
    [S_MODEL_ADD] = "INSERT INTO model (mode, name, model_sha256, adapter_sha256) VALUES ($1, $2, $3, $4) "
                    "ON CONFLICT DO NOTHING",
    [S_POST_STATE] =
        "SELECT p.version, p.deleted_at IS NULL AND " NOT_FROZEN ", EXISTS (SELECT 1 FROM judgement "
        "j WHERE " COUNTING "), p.written_at FROM post p WHERE p.id = $1 AND p.person_id = $2",
    [S_COUNTS_CLEAR] = "UPDATE judgement SET counts = 0 WHERE post_id = $1 AND counts = 1",
    [S_COUNTS_SET] = "UPDATE judgement SET counts = 1 WHERE post_id = $1 AND version = $2 AND model_id = $3",
    [S_JUDGEMENT_ADD] =
        "INSERT INTO judgement (post_id, version, model_id, counts, policy, weight, judged_at, latency_ms, "
        "reason, " JUDGEMENT_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, "
        "$15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29) ON CONFLICT (post_id, "
        "version, model_id) DO UPDATE SET counts = 1",
    [S_POST_DONE] = "UPDATE post SET pending = 0 WHERE id = $1",
    [S_PENDING] = "SELECT " PENDING_COLUMNS PENDING_FROM "p.pending = 1" PENDING_PAGE,
    [S_PENDING_ALL] = "SELECT " PENDING_COLUMNS PENDING_FROM WAITING_REJUDGE PENDING_PAGE,
    [S_COUNT_PENDING] =
        "SELECT count(*), $1 FROM post p WHERE p.pending = 1 AND ($2 = 0 OR p.person_id = $2) "
        "AND " NOT_FROZEN,
    [S_COUNT_PENDING_ALL] = "SELECT count(*) FROM post p WHERE " WAITING_REJUDGE
                            " AND ($2 = 0 OR p.person_id = $2) AND " NOT_FROZEN,
    [S_FROZEN] = "SELECT from_at FROM freeze WHERE person_id = $1 AND to_at IS NULL",
    [S_FREEZE] =
        "INSERT INTO freeze (person_id, from_at) VALUES ($1, $2) ON CONFLICT (person_id, from_at) DO "
        "UPDATE SET to_at = NULL",
    [S_UNFREEZE] = "UPDATE freeze SET to_at = max($1, from_at) WHERE person_id = $2 AND to_at IS NULL",
    [S_ERASE] = "DELETE FROM person WHERE id = $1",
    [S_SCRUB_SET] = "INSERT INTO scrub (due_at) VALUES ($1)",
    [S_SCRUB_GET] = "SELECT 1 FROM scrub LIMIT 1",
    [S_SCRUB_DONE] = "DELETE FROM scrub",
    [S_PERSON] = "SELECT " PERSON_COLUMNS "WHERE p.ext = $1",
    [S_PEOPLE] =
        "SELECT " PERSON_COLUMNS "WHERE (p.ext_rank, p.ext) > ($1, $2) ORDER BY p.ext_rank, p.ext LIMIT $3",
    [S_HISTORY] =
        "SELECT h.seq, p.ext, h.written_at, h.axis, h.decision, h.previous, h.current, h.ei, h.sn, "
        "h.tf, h.jp, h.reason FROM history h JOIN post p ON p.id = h.post_id WHERE h.person_id = $1 AND "
        "h.seq > $2 ORDER BY h.seq LIMIT $3",
    [S_SURVEYS] = "SELECT taken_at, ei, sn, tf, jp FROM survey WHERE person_id = $1 ORDER BY taken_at",
    [S_FREEZES] = "SELECT from_at, to_at FROM freeze WHERE person_id = $1 ORDER BY from_at",
    [S_POSTS] =
        "SELECT p.ext, m.ext, p.written_at, p.edited_at, p.deleted_at, p.content FROM post p LEFT JOIN "
        "mission m ON m.id = p.mission_id WHERE p.person_id = $1 ORDER BY p.written_at, p.ext_rank, p.ext",
    [S_JUDGEMENTS] =
        "SELECT p.ext, j.version, j.counts, m.mode, m.name, m.model_sha256, m.adapter_sha256, "
        "j.policy, j.weight, j.judged_at, j.latency_ms, j.reason, " JUDGEMENT_COLUMNS
        " FROM post p JOIN judgement j ON j.post_id = p.id JOIN model m ON m.id = j.model_id WHERE "
        "p.person_id = $1 ORDER BY p.written_at, p.ext_rank, p.ext, j.version, j.model_id",
    [S_FOLD_SURVEY] =
        "SELECT taken_at, ei, sn, tf, jp FROM survey WHERE person_id = $1 ORDER BY taken_at DESC "
        "LIMIT 1",
    [S_FOLD_BEFORE] =
        "SELECT seq, ei, sn, tf, jp FROM history WHERE person_id = $1 AND written_at < $2 ORDER BY "
        "seq DESC LIMIT 1",
    [S_FOLD_DROP] = "DELETE FROM history WHERE person_id = $1 AND seq > $2",
    [S_FOLD_EVENTS] =
        "SELECT p.id, p.written_at, j.policy, j.weight, " JUDGEMENT_COLUMNS
        " FROM post p JOIN judgement j ON " COUNTING " WHERE p.person_id = $1 AND p.written_at >= $2 "
        "AND p.deleted_at IS NULL ORDER BY p.written_at, p.ext_rank, p.ext",
    [S_FOLD_STEP] =
        "INSERT INTO history (person_id, seq, post_id, written_at, axis, decision, previous, current, "
        "ei, sn, tf, jp, reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    [S_FOLD_SCORES] = "UPDATE person SET ei = $1, sn = $2, tf = $3, jp = $4 WHERE id = $5",
};

int sqlite_fail(struct sqlite_store *s, struct err *e)
{
    int code = sqlite3_errcode(s->db) & 0xff;
    const char *what = sqlite3_errmsg(s->db);
    if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
        return err_set(e, ERR_BUSY, "%s: locked by another program for over %d s; try again", s->path,
                       SQLITE_BUSY_MS / 1000);
    if (code == SQLITE_NOTADB)
        return err_set(e, ERR_FORMAT, "%s: not a gyeol database (not SQLite)", s->path);
    if (code == SQLITE_CORRUPT)
        return err_set(e, ERR_IO, "%s: damaged database (%s); restore a backup", s->path, what);
    if (code == SQLITE_READONLY)
        return err_set(e, ERR_IO, "%s: read-only, want a database that can be written", s->path);
    if (code == SQLITE_FULL)
        return err_set(e, ERR_IO, "%s: the disk is full; nothing of this transaction was kept", s->path);
    if (code == SQLITE_CANTOPEN)
        return err_set(e, ERR_IO, "%s: cannot be opened as a database", s->path);
    if (code == SQLITE_IOERR && sqlite3_system_errno(s->db))
        return err_set(e, ERR_IO, "%s: %s (%s)", s->path, what, strerror(sqlite3_system_errno(s->db)));
    return err_set(e, ERR_IO, "%s: %s", s->path, what);
}

/* The statement, reset and bound: i int64, t text or NULL, d double, m time where STORE_NO_TIME is NULL. */
sqlite3_stmt *sqlite_bind(struct sqlite_store *s, enum statement which, struct err *e, const char *types, ...)
{
    sqlite3_stmt **q = &s->stmt[which];
    if (!*q && sqlite3_prepare_v3(s->db, text[which], -1, SQLITE_PREPARE_PERSISTENT, q, NULL)) {
        sqlite_fail(s, e);
        return NULL;
    }
    sqlite3_reset(*q); /* an error it gives here was reported when it happened */
    int bad = 0;
    va_list ap;
    va_start(ap, types);
    for (int i = 1; types[i - 1]; i++) {
        int64_t v;
        switch (types[i - 1]) {
        case 't':
            bad |= sqlite3_bind_text(*q, i, va_arg(ap, const char *), -1, SQLITE_STATIC);
            break;
        case 'd':
            bad |= sqlite3_bind_double(*q, i, va_arg(ap, double));
            break;
        default:
            v = va_arg(ap, int64_t);
            bad |= types[i - 1] == 'm' && v == STORE_NO_TIME ? sqlite3_bind_null(*q, i)
                                                             : sqlite3_bind_int64(*q, i, v);
        }
    }
    va_end(ap);
    if (bad) {
        sqlite_fail(s, e);
        return NULL;
    }
    return *q;
}

/* 1 a row, 0 done (and reset), negative. q may be NULL: the error is already set. */
int sqlite_step(struct sqlite_store *s, sqlite3_stmt *q, struct err *e)
{
    if (!q)
        return e ? e->code : ERR_IO;
    int rc = sqlite3_step(q);
    if (rc == SQLITE_ROW)
        return 1;
    if (rc == SQLITE_DONE) {
        sqlite3_reset(q);
        return 0;
    }
    int code = sqlite_fail(s, e);
    sqlite3_reset(q);
    return code;
}

int sqlite_run(struct sqlite_store *s, sqlite3_stmt *q, struct err *e)
{
    int rc = sqlite_step(s, q, e);
    if (rc > 0)
        sqlite3_reset(q);
    return rc < 0 ? rc : 0;
}

const char *sqlite_text(sqlite3_stmt *q, int i)
{
    return (const char *)sqlite3_column_text(q, i);
}

int64_t sqlite_time(sqlite3_stmt *q, int i)
{
    return sqlite3_column_type(q, i) == SQLITE_NULL ? STORE_NO_TIME : sqlite3_column_int64(q, i);
}

int sqlite_exec(struct sqlite_store *s, const char *sql, struct err *e)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) ? sqlite_fail(s, e) : 0;
}

void sqlite_read_axis(sqlite3_stmt *q, int column, struct store_judgement *j, int a)
{
    column += 5 * a;
    j->axis[a].decision = (enum decision)sqlite3_column_int(q, column);
    j->axis[a].up = sqlite3_column_double(q, column + 1);
    j->axis[a].keep = sqlite3_column_double(q, column + 2);
    j->axis[a].down = sqlite3_column_double(q, column + 3);
    j->axis[a].why = sqlite_text(q, column + 4);
}

int sqlite_person_key(struct sqlite_store *s, const char *id, int64_t *key, struct err *e)
{
    sqlite3_stmt *q = sqlite_bind(s, S_PERSON_KEY, e, "t", id);
    int rc = sqlite_step(s, q, e);
    if (rc == 0)
        return err_set(e, ERR_MISSING, "%s: no person \"%.255s\"", s->path, id);
    if (rc < 0)
        return rc;
    *key = sqlite3_column_int64(q, 0);
    sqlite3_reset(q);
    return 0;
}
