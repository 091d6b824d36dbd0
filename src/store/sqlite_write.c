/* What the SQLite store writes: people, missions, surveys, posts, judgements, freezes, and erasure. */
#include "store/sqlite_int.h"

#include "base/when.h"
#include "store/fold.h"

#include <string.h>

static int ensure_person(struct sqlite_store *s, const char *id, int64_t *key, enum store_put *what,
                         struct err *e)
{
    struct err missing;
    int rc = sqlite_person_key(s, id, key, &missing);
    *what = STORE_SAME;
    if (rc != ERR_MISSING)
        return rc ? err_set(e, rc, "%s", missing.msg) : 0;
    rc = sqlite_run(s, sqlite_bind(s, S_PERSON_ADD, e, "tii", id, I64(fold_id_rank(id)), when_now()), e);
    *key = sqlite3_last_insert_rowid(s->db);
    *what = STORE_ADDED;
    return rc;
}

int sqlite_put_person(struct store *base, const char *id, enum store_put *what, struct err *e)
{
    int64_t key;
    return ensure_person(self(base), id, &key, what, e);
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

int sqlite_put_mission(struct store *base, const char *id, const char *title, const char *description,
                       enum store_put *what, struct err *e)
{
    struct sqlite_store *s = self(base);
    sqlite3_stmt *q = sqlite_bind(s, S_MISSION_GET, e, "t", id);
    int rc = sqlite_step(s, q, e);
    if (rc < 0)
        return rc;
    *what = STORE_ADDED;
    if (rc == 0)
        return sqlite_run(s, sqlite_bind(s, S_MISSION_ADD, e, "ttt", id, title, description), e);
    int64_t key = sqlite3_column_int64(q, 0);
    bool same = same_text(sqlite_text(q, 1), title) && same_text(sqlite_text(q, 2), description);
    sqlite3_reset(q);
    *what = same ? STORE_SAME : STORE_CHANGED;
    return same ? 0 : sqlite_run(s, sqlite_bind(s, S_MISSION_SET, e, "tti", title, description, key), e);
}

static int ensure_mission(struct sqlite_store *s, const char *id, int64_t *key, struct err *e)
{
    *key = STORE_NO_TIME; /* NULL */
    if (!id)
        return 0;
    sqlite3_stmt *q = sqlite_bind(s, S_MISSION_GET, e, "t", id);
    int rc = sqlite_step(s, q, e);
    if (rc > 0) {
        *key = sqlite3_column_int64(q, 0);
        sqlite3_reset(q);
        return 0;
    }
    if (!rc)
        rc = sqlite_run(
            s, sqlite_bind(s, S_MISSION_ADD, e, "ttt", id, (const char *)NULL, (const char *)NULL), e);
    *key = sqlite3_last_insert_rowid(s->db);
    return rc;
}

int sqlite_put_survey(struct store *base, const char *person, const struct store_survey *v,
                      enum store_put *what, struct err *e)
{
    struct sqlite_store *s = self(base);
    int64_t key;
    int rc = ensure_person(s, person, &key, what, e);
    if (rc)
        return rc;
    sqlite3_stmt *q = sqlite_bind(s, S_SURVEY_GET, e, "ii", key, v->taken_at);
    if ((rc = sqlite_step(s, q, e)) < 0)
        return rc;
    *what = rc ? STORE_SAME : STORE_ADDED;
    for (int a = 0; a < AXES && rc; a++)
        if (sqlite3_column_int(q, a) != v->scores[a])
            *what = STORE_CHANGED;
    sqlite3_reset(q);
    if (*what == STORE_SAME)
        return 0;
    rc = sqlite_run(s,
                    sqlite_bind(s, S_SURVEY_PUT, e, "iiiiii", key, v->taken_at, I64(v->scores[0]),
                                I64(v->scores[1]), I64(v->scores[2]), I64(v->scores[3])),
                    e);
    return rc ? rc : sqlite_touch(s, key, STORE_NO_TIME, e);
}

static int add_post(struct sqlite_store *s, const struct store_post *p, int64_t person, int64_t mission,
                    struct err *e)
{
    int64_t written_at = p->written_at == STORE_NO_TIME ? when_now() : p->written_at;
    return sqlite_run(s,
                      sqlite_bind(s, S_POST_ADD, e, "tiimimmit", p->id, I64(fold_id_rank(p->id)), person,
                                  mission, written_at, p->edited_at, p->deleted_at,
                                  I64(p->deleted_at == STORE_NO_TIME), p->content),
                      e);
}

/* What the database holds of a post already there, and what the new one makes of it. */
struct post_change {
    int64_t key, person, mission, written_at, version;
    bool same, new_version, judged;
};

/* Times not given stay as they are. */
static struct post_change read_change(sqlite3_stmt *q, struct store_post *p)
{
    struct post_change c = {.key = sqlite3_column_int64(q, 0),
                            .person = sqlite3_column_int64(q, 1),
                            .mission = sqlite_time(q, 2),
                            .written_at = sqlite3_column_int64(q, 3),
                            .version = sqlite3_column_int64(q, 6),
                            .judged = sqlite3_column_int(q, 8) != 0};
    if (p->written_at == STORE_NO_TIME)
        p->written_at = c.written_at;
    if (p->edited_at == STORE_NO_TIME)
        p->edited_at = sqlite_time(q, 4);
    c.new_version = strcmp(sqlite_text(q, 7), p->content) != 0;
    c.same = p->written_at == c.written_at && p->edited_at == sqlite_time(q, 4) &&
             p->deleted_at == sqlite_time(q, 5);
    return c;
}

static int change_post(struct sqlite_store *s, const struct post_change *c, const struct store_post *p,
                       int64_t mission, struct err *e)
{
    bool judged = c->judged && !c->new_version, live = p->deleted_at == STORE_NO_TIME;
    int rc = sqlite_run(s,
                        sqlite_bind(s, S_POST_SET, e, "mimmiiti", mission, p->written_at, p->edited_at,
                                    p->deleted_at, c->version + c->new_version, I64(live && !judged),
                                    p->content, c->key),
                        e);
    if (!rc && c->new_version) /* they quote words that are no longer there */
        rc = sqlite_run(s, sqlite_bind(s, S_JUDGEMENTS_DROP, e, "i", c->key), e);
    int64_t from = p->written_at < c->written_at ? p->written_at : c->written_at;
    return rc || !c->judged ? rc : sqlite_touch(s, c->person, from, e);
}

/* 1 and *c when the post is there, 0 when it is not; ERR_STATE when it is somebody else's. Nothing is
 * written. */
static int find_post(struct sqlite_store *s, struct store_post *p, struct post_change *c, struct err *e)
{
    int64_t person;
    int rc = sqlite_person_key(s, p->person, &person, e);
    if (rc == ERR_MISSING)
        person = -1;
    else if (rc)
        return rc;
    sqlite3_stmt *q = sqlite_bind(s, S_POST_GET, e, "t", p->id);
    if ((rc = sqlite_step(s, q, e)) <= 0)
        return rc;
    *c = read_change(q, p);
    sqlite3_reset(q);
    if (c->person != person)
        return err_set(e, ERR_STATE, "post \"%.255s\" belongs to another person already, not to \"%.100s\"",
                       p->id, p->person);
    return 1;
}

int sqlite_put_post(struct store *base, const struct store_post *given, enum store_put *what, struct err *e)
{
    struct sqlite_store *s = self(base);
    struct store_post p = *given;
    struct post_change c = {0};
    int64_t person, mission;
    int found = find_post(s, &p, &c, e);
    int rc = found < 0 ? found : ensure_person(s, p.person, &person, what, e);
    if (!rc)
        rc = ensure_mission(s, p.mission, &mission, e);
    if (rc)
        return rc;
    *what = STORE_ADDED;
    if (!found)
        return add_post(s, &p, person, mission, e);
    c.new_version |= c.mission != mission;
    *what = c.same && !c.new_version ? STORE_SAME : STORE_CHANGED;
    return *what == STORE_SAME ? 0 : change_post(s, &c, &p, mission, e);
}

int sqlite_delete_post(struct store *base, const char *id, int64_t at, struct err *e)
{
    struct sqlite_store *s = self(base);
    sqlite3_stmt *q = sqlite_bind(s, S_POST_GET, e, "t", id);
    int rc = sqlite_step(s, q, e);
    if (rc == 0)
        return err_set(e, ERR_MISSING, "%s: no post \"%.255s\"", s->path, id);
    if (rc < 0)
        return rc;
    int64_t key = sqlite3_column_int64(q, 0), person = sqlite3_column_int64(q, 1);
    int64_t written_at = sqlite3_column_int64(q, 3);
    bool deleted = sqlite_time(q, 5) != STORE_NO_TIME, judged = sqlite3_column_int(q, 8);
    sqlite3_reset(q);
    if (deleted)
        return 0;
    rc = sqlite_run(s, sqlite_bind(s, S_POST_DELETE, e, "ii", at, key), e);
    return rc || !judged ? rc : sqlite_touch(s, person, written_at, e);
}

/* Outside a transaction the one INSERT is one of its own; another process may have won the race to it. */
int sqlite_put_model(struct store *base, const struct store_model *m, int64_t *key, struct err *e)
{
    struct sqlite_store *s = self(base);
    const char *adapter = m->adapter_sha256 ? m->adapter_sha256 : "";
    int rc = 0;
    for (int pass = 0; pass < 2 && !rc; pass++) {
        sqlite3_stmt *q = sqlite_bind(s, S_MODEL_GET, e, "tttt", m->mode, m->name, m->model_sha256, adapter);
        rc = sqlite_step(s, q, e);
        if (rc > 0) {
            *key = sqlite3_column_int64(q, 0);
            sqlite3_reset(q);
            return 0;
        }
        if (!rc)
            rc = sqlite_run(
                s, sqlite_bind(s, S_MODEL_ADD, e, "tttt", m->mode, m->name, m->model_sha256, adapter), e);
    }
    return rc ? rc : err_set(e, ERR_STATE, "%s: the model could not be recorded", s->path);
}

static int add_judgement(struct sqlite_store *s, const struct store_pending *p, int64_t model,
                         const struct store_judgement *j, struct err *e)
{
    sqlite3_stmt *q =
        sqlite_bind(s, S_JUDGEMENT_ADD, e, "iiiiiiidt", p->post_key, I64(p->version), model, I64(1),
                    I64(j->policy), I64(j->weight), j->judged_at, j->latency_ms, j->reason);
    for (int a = 0; a < AXES && q; a++) {
        int column = 10 + 5 * a;
        sqlite3_bind_int(q, column, j->axis[a].decision);
        sqlite3_bind_double(q, column + 1, j->axis[a].up);
        sqlite3_bind_double(q, column + 2, j->axis[a].keep);
        sqlite3_bind_double(q, column + 3, j->axis[a].down);
        sqlite3_bind_text(q, column + 4, j->axis[a].why, -1, SQLITE_STATIC);
    }
    return sqlite_run(s, q, e);
}

int sqlite_put_judgement(struct store *base, const struct store_pending *p, int64_t model, bool rejudge,
                         const struct store_judgement *j, bool *stored, struct err *e)
{
    struct sqlite_store *s = self(base);
    *stored = false;
    sqlite3_stmt *q = sqlite_bind(s, S_POST_STATE, e, "ii", p->post_key, p->person_key);
    int rc = sqlite_step(s, q, e);
    if (rc <= 0)
        return rc; /* erased meanwhile */
    bool current = sqlite3_column_int(q, 0) == p->version, live = sqlite3_column_int(q, 1) != 0;
    bool counted = sqlite3_column_int(q, 2) != 0;
    int64_t written_at = sqlite3_column_int64(q, 3);
    sqlite3_reset(q);
    if (!current || !live || (counted && !rejudge))
        return 0;
    rc = 0;
    if (counted)
        rc = sqlite_run(s, sqlite_bind(s, S_COUNTS_CLEAR, e, "i", p->post_key), e);
    if (!rc && p->judged)
        rc = sqlite_run(s, sqlite_bind(s, S_COUNTS_SET, e, "iii", p->post_key, I64(p->version), model), e);
    else if (!rc)
        rc = add_judgement(s, p, model, j, e);
    if (!rc && !counted)
        rc = sqlite_run(s, sqlite_bind(s, S_POST_DONE, e, "i", p->post_key), e);
    if (!rc)
        rc = sqlite_touch(s, p->person_key, written_at, e);
    *stored = rc == 0;
    return rc;
}

int sqlite_set_frozen(struct store *base, const char *person, bool frozen, int64_t at, struct err *e)
{
    struct sqlite_store *s = self(base);
    int64_t key;
    int rc = sqlite_person_key(s, person, &key, e);
    if (rc)
        return rc;
    sqlite3_stmt *q = sqlite_bind(s, S_FROZEN, e, "i", key);
    if ((rc = sqlite_step(s, q, e)) < 0)
        return rc;
    bool is = rc > 0;
    sqlite3_reset(q);
    if (is == frozen)
        return 0;
    return sqlite_run(
        s, frozen ? sqlite_bind(s, S_FREEZE, e, "ii", key, at) : sqlite_bind(s, S_UNFREEZE, e, "ii", at, key),
        e);
}

/* Erasure: secure_delete overwrites freed cells and pages, but when SQLite balances a tree an old copy of a
 * cell can stay in the unused part of a page that lives on. VACUUM writes every page anew; copying the log
 * back and truncating it then takes the old pages out of the log, too, once no reader needs them. */
static int write_anew(struct sqlite_store *s, struct err *e)
{
    int log = 0, done = 0;
    int rc = sqlite_exec(s, "PRAGMA temp_store = FILE; VACUUM; PRAGMA temp_store = MEMORY", e);
    if (!rc && sqlite3_wal_checkpoint_v2(s->db, "main", SQLITE_CHECKPOINT_TRUNCATE, &log, &done))
        rc = sqlite_fail(s, e);
    if (!rc)
        return 0;
    return err_set(
        e, rc,
        "%s: the rows are gone, but the file could not be written anew (%s), so it and its log may still "
        "hold bytes of what was erased; erase again, until it says only that there is no such person",
        s->path, rc == ERR_BUSY ? "another program is reading or writing" : sqlite3_errmsg(s->db));
}

/* What this erasure, or an earlier one that was cut short, has left to do. */
static int scrub_if_due(struct sqlite_store *s, struct err *e)
{
    int rc = sqlite_step(s, sqlite_bind(s, S_SCRUB_GET, e, ""), e);
    if (rc <= 0)
        return rc;
    sqlite3_reset(s->stmt[S_SCRUB_GET]); /* VACUUM wants no statement open */
    rc = write_anew(s, e);
    return rc ? rc : sqlite_run(s, sqlite_bind(s, S_SCRUB_DONE, e, ""), e);
}

int sqlite_erase(struct store *base, const char *person, struct err *e)
{
    struct sqlite_store *s = self(base);
    struct err left;
    int64_t key;
    int rc = sqlite_begin(base, e);
    if (!rc)
        rc = sqlite_person_key(s, person, &key, e);
    if (!rc)
        rc = sqlite_run(s, sqlite_bind(s, S_ERASE, e, "i", key), e);
    if (!rc)
        rc = sqlite_run(s, sqlite_bind(s, S_SCRUB_SET, e, "i", when_now()), e);
    if (!rc)
        rc = sqlite_commit(base, e);
    sqlite_rollback(base);
    if (rc && rc != ERR_MISSING)
        return rc;
    int due = scrub_if_due(s, &left);
    return due ? err_set(e, due, "%s", left.msg) : rc;
}
