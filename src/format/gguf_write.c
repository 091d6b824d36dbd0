/* Writing GGUF v3. The description is small and kept in memory; tensor data goes straight through to the
 * file. */
#include "base/buf.h"
#include "base/file.h"
#include "base/size.h"
#include "format/gguf_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct described {
    char name[GGUF_NAME_MAX + 1];
    int number; /* ggml's */
    int rank;
    size_t dim[GGUF_RANK_MAX]; /* outermost first */
    size_t bytes;
};

struct gguf_writer {
    struct file_out out;
    struct buf metadata, tensors; /* keys and values as in the file; struct described [count] */
    struct err fault;             /* the first thing that could not be put */
    uint64_t keys;
    size_t count;
    uint32_t alignment;
    bool begun;
    size_t current, left; /* the tensor being written, and its bytes still to come */
};

static const struct described *described(const struct gguf_writer *w)
{
    return (const struct described *)w->tensors.data;
}

int gguf_create(struct gguf_writer **out, const char *path, struct err *e)
{
    struct gguf_writer *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(e, ERR_MEMORY, "%s: out of memory", path);
    w->alignment = GGUF_ALIGNMENT;
    int rc = file_out_open(&w->out, path, e);
    if (rc)
        free(w);
    else
        *out = w;
    return rc;
}

void gguf_abandon(struct gguf_writer *w)
{
    if (!w)
        return;
    file_out_abandon(&w->out);
    buf_deinit(&w->metadata);
    buf_deinit(&w->tensors);
    free(w);
}

/* ---- metadata ---- */

static void add_u32(struct buf *b, uint32_t v)
{
    buf_add(b, &v, sizeof v);
}

static void add_u64(struct buf *b, uint64_t v)
{
    buf_add(b, &v, sizeof v);
}

static void add_string(struct buf *b, const char *s, size_t n)
{
    add_u64(b, n);
    buf_add(b, s, n);
}

static void put_scalar(struct gguf_writer *w, const char *key, enum gguf_type t, const void *v)
{
    assert(!w->begun);
    add_string(&w->metadata, key, strlen(key));
    add_u32(&w->metadata, t);
    buf_add(&w->metadata, v, gguf_size(t));
    w->keys++;
}

static void put_array_head(struct gguf_writer *w, const char *key, enum gguf_type element, size_t n)
{
    put_scalar(w, key, GGUF_ARRAY, NULL);
    add_u32(&w->metadata, element);
    add_u64(&w->metadata, n);
}

/* Tensors are placed by what the file says of itself. */
static void watch_alignment(struct gguf_writer *w, const char *key, uint32_t v)
{
    if (strcmp(key, GGUF_ALIGNMENT_KEY) != 0)
        return;
    if (gguf_alignment_ok(v))
        w->alignment = v;
    else if (!w->fault.code)
        err_set(&w->fault, ERR_FORMAT, "%s: alignment of %u, wanted a multiple of 8 up to %u", w->out.path, v,
                GGUF_ALIGNMENT_MAX);
}

void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v)
{
    watch_alignment(w, key, v);
    put_scalar(w, key, GGUF_U32, &v);
}

void gguf_put_u64(struct gguf_writer *w, const char *key, uint64_t v)
{
    put_scalar(w, key, GGUF_U64, &v);
}

void gguf_put_f32(struct gguf_writer *w, const char *key, float v)
{
    put_scalar(w, key, GGUF_F32, &v);
}

void gguf_put_bool(struct gguf_writer *w, const char *key, bool v)
{
    uint8_t byte = v;
    put_scalar(w, key, GGUF_BOOL, &byte);
}

void gguf_put_string(struct gguf_writer *w, const char *key, const char *s, size_t n)
{
    put_scalar(w, key, GGUF_STRING, NULL);
    add_string(&w->metadata, s, n);
}

void gguf_put_strings(struct gguf_writer *w, const char *key, const struct gguf_string *s, size_t n)
{
    put_array_head(w, key, GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        add_string(&w->metadata, s[i].data, s[i].len);
}

void gguf_put_i32s(struct gguf_writer *w, const char *key, const int32_t *v, size_t n)
{
    put_array_head(w, key, GGUF_I32, n);
    buf_add(&w->metadata, v, n * sizeof *v);
}

void gguf_put_f32s(struct gguf_writer *w, const char *key, const float *v, size_t n)
{
    put_array_head(w, key, GGUF_F32, n);
    buf_add(&w->metadata, v, n * sizeof *v);
}

void gguf_put_value(struct gguf_writer *w, const char *key, const struct gguf_value *v)
{
    uint32_t n;
    if (gguf_as_u32(v, &n))
        watch_alignment(w, key, n);
    if (v->type == GGUF_STRING) {
        gguf_put_string(w, key, v->strings[0].data, v->strings[0].len);
    } else if (v->type != GGUF_ARRAY) {
        put_scalar(w, key, v->type, v->data);
    } else if (v->element == GGUF_STRING) {
        gguf_put_strings(w, key, v->strings, v->count);
    } else {
        put_array_head(w, key, v->element, v->count);
        buf_add(&w->metadata, v->data, v->count * gguf_size(v->element));
    }
}

/* ---- tensors ---- */

/* False when a file cannot hold such a tensor. */
static bool describe(struct described *d, const char *name, enum dtype type, int rank, const size_t *dim)
{
    size_t len = strlen(name);
    *d = (struct described){.number = gguf_number(type), .rank = rank};
    if (d->number < 0 || len == 0 || len > GGUF_NAME_MAX || rank < 0 || rank > GGUF_RANK_MAX)
        return false;
    memcpy(d->name, name, len);
    if (!dtype_row_bytes(type, rank ? dim[rank - 1] : 1, &d->bytes))
        return false;
    for (int i = 0; i < rank; i++) {
        d->dim[i] = dim[i];
        if (dim[i] == 0 || (i + 1 < rank && !size_mul(d->bytes, dim[i], &d->bytes)))
            return false;
    }
    return true;
}

void gguf_put_tensor(struct gguf_writer *w, const char *name, enum dtype type, int rank, const size_t *dim)
{
    struct described d;
    assert(!w->begun);
    if (describe(&d, name, type, rank, dim)) {
        buf_add(&w->tensors, &d, sizeof d);
        w->count++;
    } else if (!w->fault.code) {
        err_set(&w->fault, ERR_FORMAT, "%s: tensor %.100s: GGUF cannot hold %s of this shape", w->out.path,
                name, dtype_info[type].name);
    }
}

static size_t padding(const struct gguf_writer *w, size_t at)
{
    return (w->alignment - at % w->alignment) % w->alignment;
}

/* Name, rank, dimensions innermost first, type, offset. False when the whole would be too large to count. */
static bool add_descriptions(struct buf *b, const struct gguf_writer *w)
{
    size_t at = 0;
    for (size_t k = 0; k < w->count; k++) {
        const struct described *d = &described(w)[k];
        add_string(b, d->name, strlen(d->name));
        add_u32(b, (uint32_t)d->rank);
        for (int i = d->rank - 1; i >= 0; i--)
            add_u64(b, d->dim[i]);
        add_u32(b, (uint32_t)d->number);
        add_u64(b, at);
        if (!size_add(at, d->bytes, &at) || !size_add(at, padding(w, at), &at))
            return false;
    }
    return true;
}

static int write_padding(struct gguf_writer *w, size_t n, struct err *e)
{
    static const char zeros[4096];
    int rc = 0;
    for (size_t part; n > 0 && rc == 0; n -= part) {
        part = n < sizeof zeros ? n : sizeof zeros;
        rc = file_out_write(&w->out, zeros, part, e);
    }
    return rc;
}

static int write_description(struct gguf_writer *w, const struct buf *head, const struct buf *infos,
                             struct err *e)
{
    int rc = file_out_write(&w->out, head->data, head->len, e);
    if (rc == 0)
        rc = file_out_write(&w->out, w->metadata.data, w->metadata.len, e);
    if (rc == 0)
        rc = file_out_write(&w->out, infos->data, infos->len, e);
    return rc ? rc : write_padding(w, padding(w, head->len + w->metadata.len + infos->len), e);
}

int gguf_begin_data(struct gguf_writer *w, struct err *e)
{
    struct buf head = {0}, infos = {0};
    assert(!w->begun);
    w->begun = true;
    if (w->fault.code)
        return err_set(e, w->fault.code, "%s", w->fault.msg);
    buf_str(&head, "GGUF");
    add_u32(&head, 3);
    add_u64(&head, w->count);
    add_u64(&head, w->keys);
    int rc =
        add_descriptions(&infos, w) ? 0 : err_set(e, ERR_LIMIT, "%s: too many bytes to count", w->out.path);
    if (rc == 0)
        rc = buf_check(&w->metadata, w->out.path, e);
    if (rc == 0 && (w->tensors.failed || head.failed || infos.failed))
        rc = err_set(e, ERR_MEMORY, "%s: out of memory", w->out.path);
    if (rc == 0)
        rc = write_description(w, &head, &infos, e);
    w->left = w->count ? described(w)[0].bytes : 0;
    buf_deinit(&head);
    buf_deinit(&infos);
    return rc;
}

int gguf_write_data(struct gguf_writer *w, const void *data, size_t n, struct err *e)
{
    assert(w->begun && n <= w->left);
    int rc = file_out_write(&w->out, data, n, e);
    if (rc)
        return rc;
    w->left -= n;
    if (n == 0 || w->left > 0)
        return 0;
    size_t bytes = described(w)[w->current++].bytes; /* every tensor begins at a multiple of the alignment */
    if (w->current < w->count)
        w->left = described(w)[w->current].bytes;
    return write_padding(w, padding(w, bytes), e);
}

int gguf_finish(struct gguf_writer *w, struct err *e)
{
    assert(w->begun && w->current == w->count);
    int rc = file_out_commit(&w->out, e);
    gguf_abandon(w);
    return rc;
}
