#include "format/fields.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int fields_parse(struct fields *f, json_t **root, const char *file, const char *bytes, size_t n,
                 struct err *e)
{
    json_error_t at;
    *f = (struct fields){.file = file};
    *root = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &at);
    if (!*root && json_error_code(&at) == json_error_out_of_memory)
        return err_set(e, ERR_MEMORY, "%s: out of memory", file);
    if (!*root)
        return err_set(e, ERR_FORMAT, "%s:%d: not JSON: %s", file, at.line, at.text);
    if (!json_is_object(*root)) {
        json_decref(*root);
        *root = NULL;
        return err_set(e, ERR_FORMAT, "%s: want a JSON object", file);
    }
    f->object = *root;
    return 0;
}

int fields_read(struct fields *f, json_t **root, const char *path, size_t limit, struct err *e)
{
    char *bytes;
    size_t n;
    *root = NULL;
    int rc = file_read(&bytes, &n, path, limit, e);
    if (rc)
        return rc;
    rc = fields_parse(f, root, path, bytes, n, e);
    free(bytes);
    return rc;
}

const json_t *fields_get(const struct fields *f, const char *key)
{
    const json_t *v = json_object_get(f->object, key);
    return json_is_null(v) ? NULL : v;
}

bool fields_is_null(const struct fields *f, const char *key)
{
    return json_is_null(json_object_get(f->object, key));
}

/* A value as a message shows it: numbers and short strings themselves, of the rest the kind. */
static void describe(char out[64], const json_t *v)
{
    if (!v)
        snprintf(out, 64, "missing");
    else if (json_is_string(v))
        snprintf(out, 64, "\"%.40s\"", json_string_value(v));
    else if (json_is_integer(v))
        snprintf(out, 64, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        snprintf(out, 64, "%.9g", json_real_value(v));
    else
        snprintf(out, 64, "%s",
                 json_is_true(v)    ? "true"
                 : json_is_false(v) ? "false"
                 : json_is_null(v)  ? "null"
                 : json_is_array(v) ? "a list"
                                    : "an object");
}

int fields_bad(const struct fields *f, const char *key, const char *want, struct err *e)
{
    char found[64];
    describe(found, json_object_get(f->object, key));
    return err_set(e, ERR_FORMAT, "%s: %s%s is %s, want %s", f->file, f->scope, key, found, want);
}

int fields_u32(const struct fields *f, const char *key, uint32_t *out, uint32_t min, uint32_t max,
               struct err *e)
{
    const json_t *v = fields_get(f, key);
    if (!v)
        return 0;
    json_int_t i = json_integer_value(v);
    if (!json_is_integer(v) || i < min || i > max) {
        char want[64];
        snprintf(want, sizeof want, "a whole number from %u to %u", min, max);
        return fields_bad(f, key, want, e);
    }
    *out = (uint32_t)i;
    return 0;
}

int fields_f32(const struct fields *f, const char *key, float *out, struct err *e)
{
    const json_t *v = fields_get(f, key);
    if (!v)
        return 0;
    float x = (float)json_number_value(v);
    if (!json_is_number(v) || !isfinite(x))
        return fields_bad(f, key, "a number", e);
    *out = x;
    return 0;
}

int fields_positive(const struct fields *f, const char *key, float *out, struct err *e)
{
    float x = 1;
    if (!fields_get(f, key))
        return 0;
    if (fields_f32(f, key, &x, e) || !(x > 0))
        return fields_bad(f, key, "a number above 0", e);
    *out = x;
    return 0;
}

int fields_bool(const struct fields *f, const char *key, bool *out, struct err *e)
{
    const json_t *v = fields_get(f, key);
    if (!v)
        return 0;
    if (!json_is_boolean(v))
        return fields_bad(f, key, "true or false", e);
    *out = json_is_true(v);
    return 0;
}

int fields_string(const struct fields *f, const char *key, const char **out, struct err *e)
{
    const json_t *v = fields_get(f, key);
    if (!v)
        return 0;
    if (!json_is_string(v))
        return fields_bad(f, key, "a string", e);
    *out = json_string_value(v);
    return 0;
}

int fields_object(const struct fields *f, const char *key, struct fields *out, struct err *e)
{
    const json_t *v = fields_get(f, key);
    if (!json_is_object(v))
        return fields_bad(f, key, "an object", e);
    struct fields sub = {.file = f->file, .object = v};
    snprintf(sub.scope, sizeof sub.scope, "%.48s%.44s.", f->scope, key);
    *out = sub;
    return 0;
}
