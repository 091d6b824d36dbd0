/* Judge notes: what is kept beside a model or an adapter, gyeol.json in a directory, FILE.gyeol.json beside a
 * file. Keys that somebody reads: base, adapter (model/source.h), base_sha256 (format/peft.h), type, template,
 * calibration (judge/engine.h). Others are for people. */
#ifndef GYEOL_JUDGE_NOTES_H
#define GYEOL_JUDGE_NOTES_H

#include "base/err.h"
#include "format/fields.h"

struct notes {
    char *file;           /* owned; NULL: of no file */
    json_t *root;         /* NULL when there is no such file */
    struct fields fields; /* of root, or of nothing */
};

/* The notes of a model's or an adapter's path. */
int notes_read(struct notes *n, const char *path, struct err *e) MUST_CHECK;

/* Notes in memory: `name` (borrowed) for messages; file stays NULL. */
int notes_parse(struct notes *n, const char *name, const char *bytes, size_t len, struct err *e) MUST_CHECK;
void notes_deinit(struct notes *n);

/* Sets each key of `changes` in the file (a null takes it out), making the file when there is none; whatever
 * else is there stays, in its order. */
int notes_update(const char *file, const json_t *changes, struct err *e) MUST_CHECK;

#endif
