/* Opening an SQLite database: ours, made new, or refused. */
#include "store/sqlite.h"

#include "base/stop.h"
#include "store/sqlite_int.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    APPLICATION_ID = 0x6779656f, /* "gyeo" */
    SCHEMA_VERSION = 1,
    BUSY_STEP_MS = 20,
};

extern const char sqlite_sql_begin[]; /* sqlite.sql, NUL-terminated (the Makefile embeds it) */

static int pragma_int(struct sqlite_store *s, const char *sql, int64_t *out, struct err *e)
{
    sqlite3_stmt *q = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) || sqlite3_step(q) != SQLITE_ROW)
        rc = sqlite_fail(s, e);
    else
        *out = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return rc;
}

/* An empty file becomes ours; a database of somebody else's is left alone. */
static int migrate(struct sqlite_store *s, struct err *e)
{
    int64_t app = 0, version = 0, tables = 0;
    int rc = pragma_int(s, "PRAGMA application_id", &app, e);
    if (!rc)
        rc = pragma_int(s, "PRAGMA user_version", &version, e);
    if (!rc)
        rc = pragma_int(s, "SELECT count(*) FROM sqlite_schema", &tables, e);
    if (rc)
        return rc;
    if (app == APPLICATION_ID && version == SCHEMA_VERSION)
        return 0;
    if (app == APPLICATION_ID && version > SCHEMA_VERSION)
        return err_set(e, ERR_STATE, "%s: schema version %lld, this gyeol knows up to %d; use a newer gyeol",
                       s->path, (long long)version, SCHEMA_VERSION);
    if (app || version || tables)
        return err_set(e, ERR_FORMAT, "%s: not a gyeol database (application id %lld, want %d)", s->path,
                       (long long)app, APPLICATION_ID);
    char header[96];
    snprintf(header, sizeof header, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID,
             SCHEMA_VERSION);
    rc = sqlite_exec(s, sqlite_sql_begin, e);
    return rc ? rc : sqlite_exec(s, header, e);
}

static int needs_migration(struct sqlite_store *s, bool *needed, struct err *e)
{
    int64_t app = 0, version = 0;
    int rc = pragma_int(s, "PRAGMA application_id", &app, e);
    if (!rc)
        rc = pragma_int(s, "PRAGMA user_version", &version, e);
    *needed = app != APPLICATION_ID || version != SCHEMA_VERSION;
    return rc;
}

/* SQLite's own waiting would keep SIGTERM waiting as well. */
static int wait_for_lock(void *unused, int times)
{
    (void)unused;
    if (stop_requested() || times * BUSY_STEP_MS >= SQLITE_BUSY_MS)
        return 0;
    stop_sleep(BUSY_STEP_MS);
    return 1;
}

static int prepare_database(struct sqlite_store *s, enum store_open_mode mode, struct err *e)
{
    sqlite3_busy_handler(s->db, wait_for_lock, NULL);
    bool needed;
    int rc = needs_migration(s, &needed, e);
    if (rc)
        return rc;
    if (needed) {
        int64_t empty = 0;
        rc = pragma_int(s, "SELECT count(*) = 0 FROM sqlite_schema", &empty, e);
        if (!rc && mode == STORE_EXISTING && empty)
            rc = err_set(e, ERR_FORMAT, "%s: not a gyeol database (empty); gyeol import fills one", s->path);
        if (!rc)
            rc = sqlite_exec(s, "BEGIN IMMEDIATE", e);
        if (!rc && !(rc = migrate(s, e)))
            rc = sqlite_exec(s, "COMMIT", e);
        if (rc) {
            sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
            return rc;
        }
    }
    rc = sqlite_exec(s,
                     "PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; PRAGMA synchronous = FULL; PRAGMA "
                     "temp_store = MEMORY",
                     e);
    /* A database that cannot be written is still good to read; writing then says so. */
    if (!rc && sqlite3_db_readonly(s->db, "main") == 0)
        rc = sqlite_exec(s, "PRAGMA journal_mode = WAL", e);
    return rc;
}

static void sqlite_close(struct store *base)
{
    struct sqlite_store *s = self(base);
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(s->stmt[i]);
    sqlite3_close(s->db); /* rolls back; the last one to close writes the log back and removes it */
    free(s->touched);
    free(s->path);
    free(s);
}

static const struct store_ops ops = {
    .close = sqlite_close,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .begin_read = sqlite_begin_read,
    .end_read = sqlite_end_read,
    .put_person = sqlite_put_person,
    .put_mission = sqlite_put_mission,
    .put_survey = sqlite_put_survey,
    .put_post = sqlite_put_post,
    .delete_post = sqlite_delete_post,
    .put_model = sqlite_put_model,
    .put_judgement = sqlite_put_judgement,
    .pending = sqlite_pending,
    .count_pending = sqlite_count_pending,
    .set_frozen = sqlite_set_frozen,
    .erase = sqlite_erase,
    .person = sqlite_person,
    .people = sqlite_people,
    .history = sqlite_history,
    .surveys = sqlite_surveys,
    .freezes = sqlite_freezes,
    .posts = sqlite_posts,
    .judgements = sqlite_judgements,
};

static int open_file(struct sqlite_store *s, const char *path, enum store_open_mode mode, struct err *e)
{
    if (mode != STORE_SCRATCH && (!*path || *path == ':' || strncmp(path, "file:", 5) == 0))
        return err_set(e, ERR_USAGE, "database \"%.60s\": want the path of a file", path);
    if (mode == STORE_EXISTING && access(path, F_OK))
        return err_set(e, ERR_MISSING, "%s: no such database; gyeol import creates one", path);
    int flags = SQLITE_OPEN_READWRITE | (mode != STORE_EXISTING ? SQLITE_OPEN_CREATE : 0);
    s->path = strdup(path);
    if (!s->path)
        return err_set(e, ERR_MEMORY, "%s: out of memory", path);
    /* SQLite would make it readable by everybody; it gives its log the mode of the database. Only a file that
     * is not there is opened: closing one that is would drop the locks that another connection of this
     * process holds. */
    int fd = mode == STORE_CREATE && access(path, F_OK) ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd >= 0)
        close(fd);
    if (sqlite3_open_v2(path, &s->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL))
        return s->db ? sqlite_fail(s, e) : err_set(e, ERR_MEMORY, "%s: out of memory", path);
    return prepare_database(s, mode, e);
}

int sqlite_store_open(struct store **out, const char *path, enum store_open_mode mode, struct err *e)
{
    struct sqlite_store *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_MEMORY, "%s: out of memory", path);
    s->base.ops = &ops;
    int rc = open_file(s, path, mode, e);
    if (rc) {
        sqlite_close(&s->base);
        return rc;
    }
    *out = &s->base;
    return 0;
}
