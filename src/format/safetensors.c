/* The reader proves the whole header once, so that everybody after it may use names, shapes and bytes without
 * a second thought. */
#include "format/safetensors.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/le.h"
#include "base/size.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* The reference implementation's own bound on the header. */
#define HEADER_MAX 100000000u

struct safetensors {
    struct file_map map;
    struct arena arena;
    json_t *metadata; /* NULL: none */
    size_t count;
    struct tensor *tensor;         /* [count] by offset */
    const struct tensor **by_name; /* [count] */
};

static const struct {
    const char *name;
    enum dtype type;
} known[] = {
    {"F32", DT_F32}, {"F16", DT_F16}, {"BF16", DT_BF16}, {"F64", DT_F64}, {"U8", DT_U8},
    {"I8", DT_I8},   {"I16", DT_I16}, {"I32", DT_I32},   {"I64", DT_I64}, {"BOOL", DT_BOOL},
};

static enum dtype type_of(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].type;
    return DT_OTHER;
}

static const char *name_of(enum dtype t)
{
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (known[i].type == t)
            return known[i].name;
    return NULL;
}

/* ---- one entry of the header; messages begin after "FILE: tensor NAME: " ---- */

static int read_size(size_t *out, const json_t *number, const char *what, struct err *e)
{
    if (!json_is_integer(number) || json_integer_value(number) < 0)
        return err_set(e, ERR_FORMAT, "%s is not a whole number of 0 or more", what);
    *out = (size_t)json_integer_value(number);
    return 0;
}

static int read_shape(struct tensor *t, const json_t *shape, size_t *values, struct err *e)
{
    size_t rank = json_array_size(shape); /* 0 for what is no array */
    if (!json_is_array(shape) || rank > TENSOR_RANK_MAX)
        return err_set(e, ERR_FORMAT, "shape is not a list of at most %d numbers", TENSOR_RANK_MAX);
    t->rank = (int)rank;
    *values = 1;
    bool fits = true;
    for (size_t i = 0; i < rank; i++) {
        int rc = read_size(&t->dim[i], json_array_get(shape, i), "a number in shape", e);
        if (rc)
            return rc;
        fits = size_mul(*values, t->dim[i], values) && fits;
    }
    return fits ? 0 : err_set(e, ERR_FORMAT, "shape has more values than can be counted");
}

/* data: the bytes after the header, n of them. */
static int read_range(struct tensor *t, const json_t *range, const unsigned char *data, size_t n,
                      struct err *e)
{
    size_t begin = 0, end = 0;
    if (!json_is_array(range) || json_array_size(range) != 2)
        return err_set(e, ERR_FORMAT, "data_offsets is not a list of two numbers");
    int rc = read_size(&begin, json_array_get(range, 0), "a number in data_offsets", e);
    if (rc == 0)
        rc = read_size(&end, json_array_get(range, 1), "a number in data_offsets", e);
    if (rc)
        return rc;
    if (begin > end || end > n)
        return err_set(e, ERR_FORMAT, "data_offsets are [%zu, %zu], wanted a range within %zu bytes of data",
                       begin, end, n);
    t->data = data + begin;
    t->bytes = end - begin;
    return 0;
}

static int read_tensor(struct tensor *t, const json_t *o, const unsigned char *data, size_t n, struct err *e)
{
    size_t values = 0, want;
    const char *dtype = json_string_value(json_object_get(o, "dtype"));
    if (!dtype)
        return err_set(e, ERR_FORMAT, "no dtype");
    t->type = type_of(dtype);
    int rc = read_shape(t, json_object_get(o, "shape"), &values, e);
    if (rc == 0)
        rc = read_range(t, json_object_get(o, "data_offsets"), data, n, e);
    if (rc || t->type == DT_OTHER)
        return rc;
    if (!dtype_row_bytes(t->type, values, &want) || want != t->bytes)
        return err_set(e, ERR_FORMAT, "%zu bytes of data, wanted %zu values of %s", t->bytes, values, dtype);
    return 0;
}

/* ---- the header ---- */

static int read_metadata(struct safetensors *s, json_t *o, struct err *e)
{
    const char *key;
    json_t *value;
    if (!json_is_object(o))
        return err_set(e, ERR_FORMAT, "__metadata__ is not an object");
    json_object_foreach(o, key, value) if (!json_is_string(value)) return err_set(
        e, ERR_FORMAT, "__metadata__ %s is not a string", key);
    s->metadata = json_incref(o);
    return 0;
}

/* Room for as many tensors as the header has entries. */
static int read_entries(struct safetensors *s, json_t *header, const unsigned char *data, size_t n,
                        struct err *e)
{
    const char *name;
    json_t *value;
    size_t room = json_object_size(header);
    s->tensor = arena_alloc(&s->arena, room + 1, sizeof *s->tensor);
    s->by_name = arena_alloc(&s->arena, room + 1, sizeof *s->by_name);
    if (!s->tensor || !s->by_name)
        return err_set(e, ERR_MEMORY, "out of memory");
    json_object_foreach(header, name, value)
    {
        struct tensor *t = &s->tensor[s->count];
        bool metadata = strcmp(name, "__metadata__") == 0;
        int rc = metadata ? read_metadata(s, value, e) : read_tensor(t, value, data, n, e);
        if (rc && !metadata)
            err_prefix(e, "tensor %.100s: ", name);
        if (rc)
            return rc;
        if (metadata)
            continue;
        if (!(t->name = arena_copy(&s->arena, name, strlen(name))))
            return err_set(e, ERR_MEMORY, "out of memory");
        s->count++;
    }
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const struct tensor *x = a, *y = b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct tensor *const *)a)->name, (*(const struct tensor *const *)b)->name);
}

static int sort_and_check(struct safetensors *s, struct err *e)
{
    qsort(s->tensor, s->count, sizeof *s->tensor, by_place);
    for (size_t i = 0; i < s->count; i++) {
        const struct tensor *t = &s->tensor[i];
        if (i > 0 && t[-1].data + t[-1].bytes > t->data)
            return err_set(e, ERR_FORMAT, "tensors %.100s and %.100s overlap", t[-1].name, t->name);
        s->by_name[i] = t;
    }
    qsort(s->by_name, s->count, sizeof *s->by_name, by_name);
    return 0;
}

static int read_header(struct safetensors *s, const unsigned char *bytes, size_t n, struct err *e)
{
    if (n < 8)
        return err_set(e, ERR_FORMAT, "%zu bytes, wanted the 8 of a safetensors header's length", n);
    uint64_t len = le64(bytes);
    if (len > n - 8)
        return err_set(e, ERR_FORMAT, "header of %llu bytes, but %zu follow: cut short, or not safetensors",
                       (unsigned long long)len, n - 8);
    if (len > HEADER_MAX)
        return err_set(e, ERR_LIMIT, "header of %llu bytes, at most %u", (unsigned long long)len, HEADER_MAX);
    json_error_t why;
    json_t *header = json_loadb((const char *)bytes + 8, (size_t)len, JSON_REJECT_DUPLICATES, &why);
    int rc;
    if (!json_is_object(header))
        rc = err_set(e, ERR_FORMAT, "header: %s at byte %d", header ? "not an object" : why.text,
                     header ? 8 : 8 + why.position);
    else
        rc = read_entries(s, header, bytes + 8 + len, n - 8 - (size_t)len, e);
    json_decref(header);
    return rc ? rc : sort_and_check(s, e);
}

int safetensors_parse(struct safetensors **out, const char *name, const unsigned char *bytes, size_t n,
                      struct err *e)
{
    struct safetensors *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_MEMORY, "%s: out of memory", name);
    int rc = read_header(s, bytes, n, e);
    if (rc) {
        err_prefix(e, "%s: ", name);
        safetensors_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

int safetensors_open(struct safetensors **out, const char *path, struct err *e)
{
    struct file_map map;
    int rc = file_map_open(&map, path, e);
    if (rc)
        return rc;
    rc = safetensors_parse(out, path, map.data, map.len, e);
    if (rc)
        file_map_close(&map);
    else
        (*out)->map = map;
    return rc;
}

void safetensors_close(struct safetensors *s)
{
    if (!s)
        return;
    json_decref(s->metadata);
    arena_deinit(&s->arena);
    file_map_close(&s->map);
    free(s);
}

size_t safetensors_count(const struct safetensors *s)
{
    return s->count;
}

const struct tensor *safetensors_at(const struct safetensors *s, size_t i)
{
    return &s->tensor[i];
}

const struct tensor *safetensors_find(const struct safetensors *s, const char *name)
{
    const struct tensor key = {.name = name}, *k = &key;
    const struct tensor *const *t = bsearch(&k, s->by_name, s->count, sizeof *s->by_name, by_name);
    return t ? *t : NULL;
}

const char *safetensors_metadata(const struct safetensors *s, const char *key)
{
    return json_string_value(json_object_get(s->metadata, key));
}

/* ---- writing ---- */

/* Takes `value`, which is NULL when it could not be made. */
static int put(json_t *o, const char *key, json_t *value, struct err *e)
{
    if (value && json_object_get(o, key)) {
        json_decref(value);
        return err_set(e, ERR_FORMAT, "%.100s: twice", key);
    }
    if (!value || json_object_set_new(o, key, value))
        return err_set(e, ERR_FORMAT, "%.100s: not UTF-8, or out of memory", key);
    return 0;
}

static int put_metadata(json_t *header, const struct safetensors_pair *p, size_t n, struct err *e)
{
    json_t *o = json_object();
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = put(o, p[i].key, json_string(p[i].value), e);
    if (rc == 0)
        return put(header, "__metadata__", o, e);
    json_decref(o);
    return rc;
}

static int describe(json_t *header, const struct tensor *t, size_t *at, struct err *e)
{
    size_t values = 1, want, end;
    json_t *shape = json_array();
    bool fits = true;
    for (int i = 0; i < t->rank; i++) {
        fits = size_mul(values, t->dim[i], &values) && fits;
        json_array_append_new(shape, json_integer((json_int_t)t->dim[i]));
    }
    if (!name_of(t->type) || !fits || !dtype_row_bytes(t->type, values, &want) || want != t->bytes ||
        !size_add(*at, want, &end)) {
        json_decref(shape);
        return err_set(e, ERR_FORMAT, "tensor %.100s: %zu bytes of %s cannot be written as this shape",
                       t->name, t->bytes, dtype_info[t->type].name);
    }
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", name_of(t->type), "shape", shape,
                              "data_offsets", (json_int_t)*at, (json_int_t)end);
    *at = end;
    return put(header, t->name, entry, e);
}

/* The 8 bytes of length, the JSON, and spaces up to a multiple of 8. */
static int header_of(struct buf *b, const struct tensor *tensors, size_t n,
                     const struct safetensors_pair *metadata, size_t pairs, struct err *e)
{
    json_t *header = json_object();
    size_t at = 0;
    int rc = pairs ? put_metadata(header, metadata, pairs, e) : 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = describe(header, &tensors[i], &at, e);
    char *text = rc ? NULL : json_dumps(header, JSON_COMPACT);
    json_decref(header);
    if (rc)
        return rc;
    if (!text)
        return err_set(e, ERR_MEMORY, "out of memory");
    uint64_t len = (strlen(text) + 7) / 8 * 8;
    buf_add(b, &len, sizeof len);
    buf_str(b, text);
    while (!b->failed && b->len % 8)
        buf_str(b, " ");
    free(text);
    return buf_check(b, "header", e);
}

int safetensors_write(const char *path, const struct tensor *tensors, size_t n,
                      const struct safetensors_pair *metadata, size_t pairs, struct err *e)
{
    struct buf header = {0};
    struct file_out o = {0};
    int rc = header_of(&header, tensors, n, metadata, pairs, e);
    if (rc)
        err_prefix(e, "%s: ", path);
    else
        rc = file_out_open(&o, path, e);
    if (rc == 0)
        rc = file_out_write(&o, header.data, header.len, e);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = file_out_write(&o, tensors[i].data, tensors[i].bytes, e);
    buf_deinit(&header);
    if (rc == 0)
        return file_out_commit(&o, e);
    file_out_abandon(&o);
    return rc;
}
