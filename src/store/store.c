/* Chooses the database by URL and hands every call to its implementation. */
#include "store/store.h"

#include "store/sqlite.h"

#include <string.h>

int store_open(struct store **out, const char *url, enum store_open_mode mode, struct err *e)
{
    *out = NULL;
    if (mode == STORE_SCRATCH)
        return sqlite_store_open(out, "", mode, e);
    if (strncmp(url, "sqlite:", 7) == 0)
        return sqlite_store_open(out, url + 7, mode, e);
    const char *scheme = strstr(url, "://");
    if (scheme)
        return err_set(e, ERR_USAGE, "database \"%.*s://...\": want a file path or sqlite:PATH",
                       (int)(scheme - url < 40 ? scheme - url : 40), url);
    return sqlite_store_open(out, url, mode, e);
}

void store_close(struct store *s)
{
    if (s)
        s->ops->close(s);
}

int store_begin(struct store *s, struct err *e)
{
    return s->ops->begin(s, e);
}

int store_commit(struct store *s, struct err *e)
{
    return s->ops->commit(s, e);
}

void store_rollback(struct store *s)
{
    s->ops->rollback(s);
}

/* What a terminal or a page would act on instead of showing: C0, DEL, C1, and the marks that turn the
 * direction of writing or begin a line (U+061C, U+200E, U+200F, U+2028..202E, U+2066..2069). */
static bool is_control(const unsigned char *s)
{
    if (*s < 0x20 || *s == 0x7F)
        return true;
    if (*s == 0xC2)
        return s[1] < 0xA0;
    if (*s == 0xD8)
        return s[1] == 0x9C;
    if (*s != 0xE2)
        return false;
    unsigned low = s[1] && s[2] ? (unsigned)(s[1] & 0x3F) << 6 | (s[2] & 0x3F) : 0;
    return low == 0x0E || low == 0x0F || (low >= 0x28 && low <= 0x2E) || (low >= 0x66 && low <= 0x69);
}

/* Ids are keys in URLs and files: some text, nothing invisible that acts, not longer than they need be. */
static int check_id(const char *what, const char *id, struct err *e)
{
    size_t n = strlen(id);
    if (n == 0 || n > STORE_ID_MAX)
        return err_set(e, ERR_FORMAT, "%s id of %zu bytes: want 1 to %d", what, n, STORE_ID_MAX);
    for (const char *p = id; *p; p++)
        if (is_control((const unsigned char *)p))
            return err_set(e, ERR_FORMAT, "%s id at byte %zu: a control character, want text", what,
                           (size_t)(p - id));
    return 0;
}

int store_begin_read(struct store *s, struct err *e)
{
    return s->ops->begin_read(s, e);
}

void store_end_read(struct store *s)
{
    s->ops->end_read(s);
}

int store_put_person(struct store *s, const char *id, enum store_put *what, struct err *e)
{
    int rc = check_id("person", id, e);
    return rc ? rc : s->ops->put_person(s, id, what, e);
}

int store_put_mission(struct store *s, const char *id, const char *title, const char *description,
                      enum store_put *what, struct err *e)
{
    int rc = check_id("mission", id, e);
    return rc ? rc : s->ops->put_mission(s, id, title, description, what, e);
}

int store_put_survey(struct store *s, const char *person, const struct store_survey *v, enum store_put *what,
                     struct err *e)
{
    int rc = check_id("person", person, e);
    for (int a = 0; a < AXES && !rc; a++)
        if (v->scores[a] < 0 || v->scores[a] > SCORE_MAX)
            rc = err_set(e, ERR_FORMAT, "survey of %.80s: %s is %d, want 0 to 100", person, axis_info[a].key,
                         v->scores[a]);
    return rc ? rc : s->ops->put_survey(s, person, v, what, e);
}

int store_put_post(struct store *s, const struct store_post *p, enum store_put *what, struct err *e)
{
    int rc = check_id("post", p->id, e);
    if (!rc)
        rc = check_id("person", p->person, e);
    if (!rc && p->mission)
        rc = check_id("mission", p->mission, e);
    size_t n = strlen(p->content);
    if (!rc && n > STORE_CONTENT_MAX)
        rc = err_set(e, ERR_LIMIT, "post %.80s: content of %zu bytes, want at most %d", p->id, n,
                     STORE_CONTENT_MAX);
    return rc ? rc : s->ops->put_post(s, p, what, e);
}

int store_delete_post(struct store *s, const char *id, int64_t at, struct err *e)
{
    return s->ops->delete_post(s, id, at, e);
}

int store_put_model(struct store *s, const struct store_model *m, int64_t *key, struct err *e)
{
    return s->ops->put_model(s, m, key, e);
}

int store_put_judgement(struct store *s, const struct store_pending *p, int64_t model_key, bool rejudge,
                        const struct store_judgement *j, bool *stored, struct err *e)
{
    return s->ops->put_judgement(s, p, model_key, rejudge, j, stored, e);
}

int store_pending(struct store *s, int64_t model_key, bool rejudge, const char *person,
                  const struct store_pending *after, size_t limit, struct arena *a,
                  struct store_pending **out, size_t *n, struct err *e)
{
    return s->ops->pending(s, model_key, rejudge, person, after, limit, a, out, n, e);
}

int store_count_pending(struct store *s, int64_t model_key, bool rejudge, const char *person, int64_t *n,
                        struct err *e)
{
    return s->ops->count_pending(s, model_key, rejudge, person, n, e);
}

int store_set_frozen(struct store *s, const char *person, bool frozen, int64_t at, struct err *e)
{
    return s->ops->set_frozen(s, person, frozen, at, e);
}

int store_erase(struct store *s, const char *person, struct err *e)
{
    return s->ops->erase(s, person, e);
}

int store_person(struct store *s, const char *id, struct arena *a, struct store_person *out, struct err *e)
{
    return s->ops->person(s, id, a, out, e);
}

int store_people(struct store *s, const char *after, size_t limit, store_person_fn *fn, void *context,
                 struct err *e)
{
    return s->ops->people(s, after, limit, fn, context, e);
}

int store_history(struct store *s, const char *person, int64_t after_seq, size_t limit, store_step_fn *fn,
                  void *context, struct err *e)
{
    return s->ops->history(s, person, after_seq, limit, fn, context, e);
}

int store_surveys(struct store *s, const char *person, store_survey_fn *fn, void *context, struct err *e)
{
    return s->ops->surveys(s, person, fn, context, e);
}

int store_freezes(struct store *s, const char *person, store_freeze_fn *fn, void *context, struct err *e)
{
    return s->ops->freezes(s, person, fn, context, e);
}

int store_posts(struct store *s, const char *person, store_post_fn *fn, void *context, struct err *e)
{
    return s->ops->posts(s, person, fn, context, e);
}

int store_judgements(struct store *s, const char *person, store_judged_fn *fn, void *context, struct err *e)
{
    return s->ops->judgements(s, person, fn, context, e);
}
