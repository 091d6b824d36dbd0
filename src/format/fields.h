/* Fields of a JSON object from a model folder (config.json, adapter_config.json, ...), read with a type and a
 * range, every refusal naming the file and the field's whole path. */
#ifndef GYEOL_FORMAT_FIELDS_H
#define GYEOL_FORMAT_FIELDS_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct fields {
    const char *file;     /* for messages; borrowed */
    char scope[96];       /* "" or "text_config.", ...: where in the file */
    const json_t *object; /* borrowed from the root */
};

/* Parses bytes into *root, which the caller gives back with json_decref, and sets f to all of it. What is no
 * object, has a name twice or is not JSON is ERR_FORMAT with the line. */
int fields_parse(struct fields *f, json_t **root, const char *file, const char *bytes, size_t n,
                 struct err *e) MUST_CHECK;

/* fields_parse on a file of at most `limit` bytes. */
int fields_read(struct fields *f, json_t **root, const char *path, size_t limit, struct err *e) MUST_CHECK;

const json_t *fields_get(const struct fields *f, const char *key); /* NULL when absent or null */
bool fields_is_null(const struct fields *f, const char *key);      /* there, and null */

/* Typed reads. Absent and null leave *out as it was and give 0; another type, or a value outside the range,
 * is ERR_FORMAT. */
int fields_u32(const struct fields *f, const char *key, uint32_t *out, uint32_t min, uint32_t max,
               struct err *e) MUST_CHECK;
int fields_f32(const struct fields *f, const char *key, float *out, struct err *e) MUST_CHECK; /* finite */
int fields_positive(const struct fields *f, const char *key, float *out, struct err *e) MUST_CHECK;
int fields_bool(const struct fields *f, const char *key, bool *out, struct err *e) MUST_CHECK;
int fields_string(const struct fields *f, const char *key, const char **out, struct err *e) MUST_CHECK;

/* The object under key: ERR_FORMAT when it is anything else, or absent. */
int fields_object(const struct fields *f, const char *key, struct fields *out, struct err *e) MUST_CHECK;

/* "FILE: SCOPE.KEY is VALUE, want WANT": the ERR_FORMAT of a field that makes no sense. */
int fields_bad(const struct fields *f, const char *key, const char *want, struct err *e);

#endif
