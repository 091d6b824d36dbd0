/* People, what they wrote, what was judged, and the scores that follow. One vtable, one file per database.
 *
 * A person's scores are a fold (fold.h) over their latest survey and the counting judgements of their live
 * posts; every change that touches it is refolded inside the transaction that made it, so that judgement,
 * scores and history always agree on disk. Ids are the callers' own text (1..255 bytes of UTF-8); times are
 * UTC milliseconds (base/when.h). Strings handed out live in the caller's arena.
 *
 * A store belongs to one thread at a time. Several stores, in any number of processes, may be open on one
 * database. All writes happen between store_begin and store_commit. */
#ifndef GYEOL_STORE_STORE_H
#define GYEOL_STORE_STORE_H

#include "base/arena.h"
#include "base/axis.h"
#include "base/err.h"
#include "base/when.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_ID_MAX      255
#define STORE_CONTENT_MAX 65535      /* bytes of a post, as MySQL's TEXT */
#define STORE_BEGINNING   WHEN_FIRST /* the time of a survey that has none */
#define STORE_NO_TIME     INT64_MIN  /* "not given" */

struct store;

/* STORE_SCRATCH: a private database without a name that vanishes when closed; the url is ignored. */
enum store_open_mode { STORE_EXISTING, STORE_CREATE, STORE_SCRATCH };

enum store_put { STORE_SAME, STORE_ADDED, STORE_CHANGED };

struct store_post {
    const char *id, *person;
    const char *mission; /* mission id or NULL */
    const char *content; /* UTF-8 without NUL */
    int64_t written_at;  /* STORE_NO_TIME: keep what is stored, else now */
    int64_t edited_at;   /* STORE_NO_TIME: unknown */
    int64_t deleted_at;  /* STORE_NO_TIME: live */
};

/* What names a model version: a judgement is unique per post version and this. */
struct store_model {
    const char *mode, *name, *model_sha256;
    const char *adapter_sha256; /* NULL without adapter */
};

struct store_judgement {
    struct {
        enum decision decision;
        double up, keep, down; /* probabilities */
        const char *why;       /* the reason's first clause (judge/reason.h), NULL for keep */
    } axis[AXES];
    const char *reason; /* a reason for the whole post (too short), or NULL */
    enum policy policy;
    int weight;
    int64_t judged_at;
    double latency_ms;
};

/* A post waiting for this model's verdict. */
struct store_pending {
    int64_t post_key, person_key, written_at; /* with these three the next page begins */
    int version;
    bool judged; /* by this model already, though another's judgement counts (only with rejudge) */
    const char *id, *content;
    const char *mission_title, *mission_description; /* NULL without mission */
};

struct store_person {
    const char *id;
    int scores[AXES];
    bool surveyed, frozen;
    int64_t created_at;
    int64_t posts; /* live posts whose judgements the scores rest on */
};

/* One axis moved (or tried to, at the end of the scale) by one post. */
struct store_step {
    int64_t seq; /* 1.. within the person; pages continue after it */
    const char *post;
    int64_t written_at;
    enum axis axis;
    enum decision decision;
    int previous, current;
    int scores[AXES]; /* after the whole post */
    const char *reason;
};

struct store_survey {
    int64_t taken_at;
    int scores[AXES];
};

struct store_freeze {
    int64_t from, to; /* to is STORE_NO_TIME while frozen */
};

/* A judgement as export shows it. */
struct store_judged {
    const char *post;
    int version;
    bool counts;
    struct store_model model;
    struct store_judgement judgement;
};

/* Called once per row, in order; a negative return stops the walk and is returned. */
typedef int store_person_fn(void *context, const struct store_person *p, struct err *e);
typedef int store_step_fn(void *context, const struct store_step *s, struct err *e);
typedef int store_survey_fn(void *context, const struct store_survey *s, struct err *e);
typedef int store_freeze_fn(void *context, const struct store_freeze *f, struct err *e);
typedef int store_post_fn(void *context, const struct store_post *p, struct err *e);
typedef int store_judged_fn(void *context, const struct store_judged *j, struct err *e);

struct store_ops {
    void (*close)(struct store *s);
    int (*begin)(struct store *s, struct err *e);
    int (*commit)(struct store *s, struct err *e);
    void (*rollback)(struct store *s);
    int (*begin_read)(struct store *s, struct err *e);
    void (*end_read)(struct store *s);
    int (*put_person)(struct store *s, const char *id, enum store_put *what, struct err *e);
    int (*put_mission)(struct store *s, const char *id, const char *title, const char *description,
                       enum store_put *what, struct err *e);
    int (*put_survey)(struct store *s, const char *person, const struct store_survey *v, enum store_put *what,
                      struct err *e);
    int (*put_post)(struct store *s, const struct store_post *p, enum store_put *what, struct err *e);
    int (*delete_post)(struct store *s, const char *id, int64_t at, struct err *e);
    int (*put_model)(struct store *s, const struct store_model *m, int64_t *key, struct err *e);
    int (*put_judgement)(struct store *s, const struct store_pending *p, int64_t model_key, bool rejudge,
                         const struct store_judgement *j, bool *stored, struct err *e);
    int (*pending)(struct store *s, int64_t model_key, bool rejudge, const char *person,
                   const struct store_pending *after, size_t limit, struct arena *a,
                   struct store_pending **out, size_t *n, struct err *e);
    int (*count_pending)(struct store *s, int64_t model_key, bool rejudge, const char *person, int64_t *n,
                         struct err *e);
    int (*set_frozen)(struct store *s, const char *person, bool frozen, int64_t at, struct err *e);
    int (*erase)(struct store *s, const char *person, struct err *e);
    int (*person)(struct store *s, const char *id, struct arena *a, struct store_person *out, struct err *e);
    int (*people)(struct store *s, const char *after, size_t limit, store_person_fn *fn, void *context,
                  struct err *e);
    int (*history)(struct store *s, const char *person, int64_t after_seq, size_t limit, store_step_fn *fn,
                   void *context, struct err *e);
    int (*surveys)(struct store *s, const char *person, store_survey_fn *fn, void *context, struct err *e);
    int (*freezes)(struct store *s, const char *person, store_freeze_fn *fn, void *context, struct err *e);
    int (*posts)(struct store *s, const char *person, store_post_fn *fn, void *context, struct err *e);
    int (*judgements)(struct store *s, const char *person, store_judged_fn *fn, void *context, struct err *e);
};

/* First member of every implementation. */
struct store {
    const struct store_ops *ops;
};

/* url: a path, "sqlite:PATH", or a server's URL. STORE_EXISTING refuses to create a database. Errors:
 * missing, unreadable, not a gyeol database, made by a newer gyeol, locked. */
int store_open(struct store **out, const char *url, enum store_open_mode mode, struct err *e) MUST_CHECK;
void store_close(struct store *s); /* NULL allowed; rolls back what was not committed */

/* Takes the write lock (waits up to 10 s for other writers). */
int store_begin(struct store *s, struct err *e) MUST_CHECK;
/* Refolds everybody whose fold changed, then makes all of it durable. On error nothing of it remains. */
int store_commit(struct store *s, struct err *e) MUST_CHECK;
void store_rollback(struct store *s);

/* Between these two all reads see one state of the database, whatever others write meanwhile. */
int store_begin_read(struct store *s, struct err *e) MUST_CHECK;
void store_end_read(struct store *s);

int store_put_person(struct store *s, const char *id, enum store_put *what, struct err *e) MUST_CHECK;
int store_put_mission(struct store *s, const char *id, const char *title, const char *description,
                      enum store_put *what, struct err *e) MUST_CHECK;
/* Creates the person if need be. The same person and time again replaces the scores (0..100 each). */
int store_put_survey(struct store *s, const char *person, const struct store_survey *v, enum store_put *what,
                     struct err *e) MUST_CHECK;
/* Creates the person (and an untitled mission) if need be. New content or mission makes a new version, which
 * waits to be judged; ERR_STATE when the id belongs to another person. */
int store_put_post(struct store *s, const struct store_post *p, enum store_put *what,
                   struct err *e) MUST_CHECK;
int store_delete_post(struct store *s, const char *id, int64_t at, struct err *e) MUST_CHECK;

/* The key of a model version, created on first use; also outside a transaction. */
int store_put_model(struct store *s, const struct store_model *m, int64_t *key, struct err *e) MUST_CHECK;
/* *stored is false when the post has meanwhile been edited, deleted, frozen or judged by another process:
 * that is no error. With rejudge this judgement becomes the counting one; j may be NULL if p->judged. */
int store_put_judgement(struct store *s, const struct store_pending *p, int64_t model_key, bool rejudge,
                        const struct store_judgement *j, bool *stored, struct err *e) MUST_CHECK;

/* Up to limit live posts of people not frozen, not written while frozen, without a counting judgement of
 * their version (rejudge: without one of this model), of one person or of all (NULL), ordered by person and
 * time, after the one given (NULL: from the start). */
int store_pending(struct store *s, int64_t model_key, bool rejudge, const char *person,
                  const struct store_pending *after, size_t limit, struct arena *a,
                  struct store_pending **out, size_t *n, struct err *e) MUST_CHECK;
int store_count_pending(struct store *s, int64_t model_key, bool rejudge, const char *person, int64_t *n,
                        struct err *e) MUST_CHECK;

/* Opens or closes the interval in which the person is not judged; STORE_SAME work is no error. */
int store_set_frozen(struct store *s, const char *person, bool frozen, int64_t at, struct err *e) MUST_CHECK;

/* Removes everything held about a person, commits, and leaves no byte of it in the database's files: its own
 * transaction, then the whole file is written anew (time and disk as its size). Waits for readers. ERR_BUSY
 * when one holds on for too long: the rows are gone, the log is not yet rewritten, and erasing again,
 * although it then says that there is no such person, finishes the job. */
int store_erase(struct store *s, const char *person, struct err *e) MUST_CHECK;

/* ERR_MISSING when there is no such person. */
int store_person(struct store *s, const char *id, struct arena *a, struct store_person *out,
                 struct err *e) MUST_CHECK;
/* People by id (fold order of ids), after the given one (NULL: all), at most limit (0: no limit). */
int store_people(struct store *s, const char *after, size_t limit, store_person_fn *fn, void *context,
                 struct err *e) MUST_CHECK;
/* The fold's trace, oldest first. */
int store_history(struct store *s, const char *person, int64_t after_seq, size_t limit, store_step_fn *fn,
                  void *context, struct err *e) MUST_CHECK;
int store_surveys(struct store *s, const char *person, store_survey_fn *fn, void *context,
                  struct err *e) MUST_CHECK;
int store_freezes(struct store *s, const char *person, store_freeze_fn *fn, void *context,
                  struct err *e) MUST_CHECK;
int store_posts(struct store *s, const char *person, store_post_fn *fn, void *context,
                struct err *e) MUST_CHECK;
int store_judgements(struct store *s, const char *person, store_judged_fn *fn, void *context,
                     struct err *e) MUST_CHECK;

#endif
