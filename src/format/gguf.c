/* Reading GGUF: one pass of a checked cursor over the description, then a proof that every tensor's bytes are
 * in the file and its own. Names and keys are printable ASCII (the specification's rule for keys), so they
 * can be shown. */
#include "format/gguf.h"

#include "base/arena.h"
#include "base/file.h"
#include "base/le.h"
#include "base/size.h"
#include "format/gguf_int.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    const char *key;
    struct gguf_value value;
};

struct gguf {
    struct file_map map;
    struct arena arena;
    char *name;
    size_t keys, tensors;
    struct entry *key;             /* [keys] in the file's order */
    const struct entry **by_key;   /* [keys] */
    struct tensor *tensor;         /* [tensors] in the file's order */
    const struct tensor **by_name; /* [tensors] */
    uint64_t *offset;              /* [tensors] from the start of the data; of use while reading */
};

/* at <= n always. Messages begin after the file's name. */
struct cursor {
    const unsigned char *data;
    size_t n, at;
    struct err *e;
};

/* ggml.h, enum ggml_type. */
static const struct {
    enum dtype type;
    int number;
} ggml_type[] = {
    {DT_F32, 0},  {DT_F16, 1},   {DT_Q4_0, 2},  {DT_Q4_1, 3},  {DT_Q5_0, 6}, {DT_Q5_1, 7},
    {DT_Q8_0, 8}, {DT_Q4_K, 12}, {DT_Q5_K, 13}, {DT_Q6_K, 14}, {DT_I8, 24},  {DT_I16, 25},
    {DT_I32, 26}, {DT_I64, 27},  {DT_F64, 28},  {DT_BF16, 30},
};

int gguf_number(enum dtype t)
{
    for (size_t i = 0; i < COUNT_OF(ggml_type); i++)
        if (ggml_type[i].type == t)
            return ggml_type[i].number;
    return -1;
}

static enum dtype type_of(uint32_t number)
{
    for (size_t i = 0; i < COUNT_OF(ggml_type); i++)
        if ((uint32_t)ggml_type[i].number == number)
            return ggml_type[i].type;
    return DT_OTHER;
}

/* ---- cursor ---- */

/* n bytes, or NULL with the error set. */
static const unsigned char *take(struct cursor *c, size_t n)
{
    if (n > c->n - c->at) {
        err_set(c->e, ERR_FORMAT, "cut short: %zu bytes wanted at byte %zu of %zu", n, c->at, c->n);
        return NULL;
    }
    c->at += n;
    return c->data + c->at - n;
}

static int take_u32(struct cursor *c, uint32_t *out)
{
    const unsigned char *p = take(c, 4);
    *out = p ? le32(p) : 0;
    return p ? 0 : ERR_FORMAT;
}

static int take_u64(struct cursor *c, uint64_t *out)
{
    const unsigned char *p = take(c, 8);
    *out = p ? le64(p) : 0;
    return p ? 0 : ERR_FORMAT;
}

static int take_string(struct cursor *c, struct gguf_string *s)
{
    uint64_t len;
    size_t at = c->at;
    if (take_u64(c, &len))
        return ERR_FORMAT;
    if (len > c->n - c->at)
        return err_set(c->e, ERR_FORMAT, "string of %llu bytes at byte %zu, but the file has %zu",
                       (unsigned long long)len, at, c->n);
    s->len = (size_t)len;
    s->data = (const char *)take(c, s->len);
    return 0;
}

/* A key or a tensor's name, copied. */
static int take_name(struct cursor *c, struct arena *a, size_t max, const char **out)
{
    struct gguf_string s;
    size_t at = c->at;
    if (take_string(c, &s))
        return ERR_FORMAT;
    if (s.len == 0 || s.len > max)
        return err_set(c->e, ERR_FORMAT, "name of %zu bytes at byte %zu, wanted 1 to %zu", s.len, at, max);
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < 0x20 || s.data[i] > 0x7E)
            return err_set(c->e, ERR_FORMAT, "name at byte %zu is not printable ASCII", at);
    *out = arena_copy(a, s.data, s.len);
    return *out ? 0 : err_set(c->e, ERR_MEMORY, "out of memory");
}

/* ---- metadata ---- */

static int take_value_type(struct cursor *c, enum gguf_type *out)
{
    uint32_t t;
    if (take_u32(c, &t))
        return ERR_FORMAT;
    if (t > GGUF_F64)
        return err_set(c->e, ERR_FORMAT, "value type %u at byte %zu, at most %d is known", t, c->at - 4,
                       GGUF_F64);
    *out = (enum gguf_type)t;
    return 0;
}

static int take_array_head(struct cursor *c, struct gguf_value *v)
{
    uint64_t count;
    if (take_value_type(c, &v->element) || take_u64(c, &count))
        return ERR_FORMAT;
    if (v->element == GGUF_ARRAY)
        return err_set(c->e, ERR_FORMAT, "array of arrays at byte %zu", c->at);
    size_t each = v->element == GGUF_STRING ? 8 : gguf_size(v->element);
    if (count > (c->n - c->at) / each)
        return err_set(c->e, ERR_FORMAT, "array of %llu %ss at byte %zu, but the file has %zu bytes",
                       (unsigned long long)count, gguf_type_name(v->element), c->at, c->n);
    v->count = (size_t)count;
    return 0;
}

static int take_strings(struct cursor *c, struct gguf *g, struct gguf_value *v)
{
    struct gguf_string *s = arena_alloc(&g->arena, v->count, sizeof *s);
    if (!s)
        return err_set(c->e, ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < v->count; i++)
        if (take_string(c, &s[i]))
            return ERR_FORMAT;
    v->strings = s;
    return 0;
}

static int take_value(struct cursor *c, struct gguf *g, struct gguf_value *v)
{
    int rc = take_value_type(c, &v->type);
    v->element = v->type;
    v->count = 1;
    if (rc == 0 && v->type == GGUF_ARRAY)
        rc = take_array_head(c, v);
    if (rc)
        return rc;
    v->data = c->data + c->at;
    if (v->element == GGUF_STRING)
        return take_strings(c, g, v);
    if (!take(c, v->count * gguf_size(v->element))) /* take_array_head has bounded the product */
        return ERR_FORMAT;
    for (size_t i = 0; v->element == GGUF_BOOL && i < v->count; i++)
        if (v->data[i] > 1)
            return err_set(c->e, ERR_FORMAT, "bool of %d, wanted 0 or 1", v->data[i]);
    return 0;
}

static int by_key(const void *a, const void *b)
{
    return strcmp((*(const struct entry *const *)a)->key, (*(const struct entry *const *)b)->key);
}

static int take_keys(struct cursor *c, struct gguf *g)
{
    g->key = arena_alloc(&g->arena, g->keys, sizeof *g->key);
    g->by_key = arena_alloc(&g->arena, g->keys, sizeof *g->by_key);
    if (!g->key || !g->by_key)
        return err_set(c->e, ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < g->keys; i++) {
        struct entry *k = &g->key[i];
        int rc = take_name(c, &g->arena, GGUF_KEY_MAX, &k->key);
        if (rc)
            err_prefix(c->e, "key %zu: ", i);
        else if ((rc = take_value(c, g, &k->value)))
            err_prefix(c->e, "key %.100s: ", k->key);
        if (rc)
            return rc;
        g->by_key[i] = k;
    }
    qsort(g->by_key, g->keys, sizeof *g->by_key, by_key);
    for (size_t i = 1; i < g->keys; i++)
        if (by_key(&g->by_key[i - 1], &g->by_key[i]) == 0)
            return err_set(c->e, ERR_FORMAT, "key %.100s: twice", g->by_key[i]->key);
    return 0;
}

/* ---- tensors ---- */

/* dim[rank], innermost first in the file. */
static int take_dims(struct cursor *c, struct tensor *t)
{
    uint32_t rank;
    size_t values = 1;
    if (take_u32(c, &rank))
        return ERR_FORMAT;
    if (rank > GGUF_RANK_MAX)
        return err_set(c->e, ERR_FORMAT, "%u dimensions, at most %d", rank, GGUF_RANK_MAX);
    t->rank = (int)rank;
    for (int i = t->rank - 1; i >= 0; i--) {
        uint64_t dim;
        if (take_u64(c, &dim))
            return ERR_FORMAT;
        t->dim[i] = (size_t)dim;
        if (dim == 0 || t->dim[i] != dim || !size_mul(values, t->dim[i], &values))
            return err_set(c->e, ERR_FORMAT,
                           "dimension of %llu, wanted 1 or more and a product that can be counted",
                           (unsigned long long)dim);
    }
    return 0;
}

/* Rows are whole blocks, so the bytes of a tensor are those of all its values. */
static int size_of(struct tensor *t, struct err *e)
{
    size_t row = t->rank ? t->dim[t->rank - 1] : 1;
    if (t->type == DT_OTHER)
        return 0;
    if (!dtype_row_bytes(t->type, row, &t->bytes))
        return err_set(e, ERR_FORMAT, "rows of %zu values are no whole blocks of %s", row,
                       dtype_info[t->type].name);
    for (int i = 0; i + 1 < t->rank; i++)
        if (!size_mul(t->bytes, t->dim[i], &t->bytes))
            return err_set(e, ERR_FORMAT, "more bytes than can be counted");
    return 0;
}

static int take_tensor(struct cursor *c, struct tensor *t, uint64_t *offset)
{
    uint32_t number;
    int rc = take_dims(c, t);
    if (rc == 0)
        rc = take_u32(c, &number);
    if (rc == 0)
        rc = take_u64(c, offset);
    if (rc)
        return rc;
    t->type = type_of(number);
    return size_of(t, c->e);
}

static int take_tensors(struct cursor *c, struct gguf *g)
{
    g->tensor = arena_alloc(&g->arena, g->tensors, sizeof *g->tensor);
    g->by_name = arena_alloc(&g->arena, g->tensors, sizeof *g->by_name);
    g->offset = arena_alloc(&g->arena, g->tensors, sizeof *g->offset);
    if (!g->tensor || !g->by_name || !g->offset)
        return err_set(c->e, ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < g->tensors; i++) {
        struct tensor *t = &g->tensor[i];
        int rc = take_name(c, &g->arena, GGUF_NAME_MAX, &t->name);
        if (rc)
            err_prefix(c->e, "tensor %zu: ", i);
        else if ((rc = take_tensor(c, t, &g->offset[i])))
            err_prefix(c->e, "tensor %.100s: ", t->name);
        if (rc)
            return rc;
        g->by_name[i] = t;
    }
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const struct tensor *x = *(const struct tensor *const *)a, *y = *(const struct tensor *const *)b;
    return x->data < y->data ? -1 : x->data > y->data;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct tensor *const *)a)->name, (*(const struct tensor *const *)b)->name);
}

/* Gives tensors their bytes: `data` follows the description, `room` bytes of it. */
static int place(struct gguf *g, const unsigned char *data, size_t room, uint32_t alignment, struct err *e)
{
    for (size_t i = 0; i < g->tensors; i++) {
        struct tensor *t = &g->tensor[i];
        uint64_t at = g->offset[i];
        if (at % alignment)
            return err_set(e, ERR_FORMAT, "tensor %.100s: offset %llu, wanted a multiple of %u", t->name,
                           (unsigned long long)at, alignment);
        if (at > room || t->bytes > room - at)
            return err_set(e, ERR_FORMAT,
                           "tensor %.100s: %zu bytes at offset %llu of the data, which has %zu", t->name,
                           t->bytes, (unsigned long long)at, room);
        t->data = t->type == DT_OTHER ? NULL : data + at;
    }
    return 0;
}

/* No two share a byte, none a name; by_name is sorted in the end. */
static int check_apart(struct gguf *g, struct err *e)
{
    const struct tensor **t = g->by_name;
    qsort(t, g->tensors, sizeof *t, by_place);
    for (size_t i = 1; i < g->tensors; i++)
        if (t[i - 1]->data && t[i - 1]->data + t[i - 1]->bytes > t[i]->data)
            return err_set(e, ERR_FORMAT, "tensors %.100s and %.100s overlap", t[i - 1]->name, t[i]->name);
    qsort(t, g->tensors, sizeof *t, by_name);
    for (size_t i = 1; i < g->tensors; i++)
        if (strcmp(t[i - 1]->name, t[i]->name) == 0)
            return err_set(e, ERR_FORMAT, "tensor %.100s: twice", t[i]->name);
    return 0;
}

static int place_tensors(struct cursor *c, struct gguf *g)
{
    uint32_t alignment = GGUF_ALIGNMENT;
    const struct gguf_value *v = gguf_find(g, GGUF_ALIGNMENT_KEY);
    if (v && (!gguf_as_u32(v, &alignment) || !gguf_alignment_ok(alignment)))
        return err_set(c->e, ERR_FORMAT, "key " GGUF_ALIGNMENT_KEY ": wanted a multiple of 8 up to %u",
                       GGUF_ALIGNMENT_MAX);
    size_t padding = (alignment - c->at % alignment) % alignment, left = c->n - c->at;
    padding = padding < left ? padding : left; /* a file without tensors need not be padded */
    int rc = place(g, c->data + c->at + padding, left - padding, alignment, c->e);
    return rc ? rc : check_apart(g, c->e);
}

/* ---- the whole ---- */

/* The counts, each proved to fit: a key takes at least 8 + 1 + 4 + 1 bytes, a tensor 8 + 1 + 4 + 4 + 8. */
static int take_head(struct cursor *c, struct gguf *g)
{
    uint32_t version = 0;
    uint64_t keys = 0, tensors = 0;
    const unsigned char *magic = take(c, 4);
    if (!magic || memcmp(magic, "GGUF", 4) != 0)
        return err_set(c->e, ERR_FORMAT, "not a GGUF file: does not begin with \"GGUF\"");
    if (take_u32(c, &version))
        return ERR_FORMAT;
    if (version && version % 65536 == 0)
        return err_set(c->e, ERR_FORMAT, "big-endian GGUF; wanted little-endian");
    if (version != 2 && version != 3)
        return err_set(c->e, ERR_FORMAT, "GGUF version %u, wanted 2 or 3", version);
    if (take_u64(c, &tensors) || take_u64(c, &keys))
        return ERR_FORMAT;
    size_t left = c->n - c->at;
    if (keys > left / 14 || tensors > left / 25)
        return err_set(c->e, ERR_FORMAT, "%llu keys and %llu tensors do not fit in %zu bytes",
                       (unsigned long long)keys, (unsigned long long)tensors, c->n);
    g->keys = (size_t)keys;
    g->tensors = (size_t)tensors;
    return 0;
}

static int read_all(struct cursor *c, struct gguf *g)
{
    int rc = take_head(c, g);
    if (rc == 0)
        rc = take_keys(c, g);
    if (rc == 0)
        rc = take_tensors(c, g);
    return rc ? rc : place_tensors(c, g);
}

int gguf_parse(struct gguf **out, const char *name, const unsigned char *bytes, size_t n, struct err *e)
{
    struct gguf *g = calloc(1, sizeof *g);
    struct cursor c = {bytes, n, 0, e};
    if (!g || !(g->name = strdup(name))) {
        gguf_close(g);
        return err_set(e, ERR_MEMORY, "%s: out of memory", name);
    }
    int rc = read_all(&c, g);
    if (rc) {
        err_prefix(e, "%s: ", name);
        gguf_close(g);
        return rc;
    }
    *out = g;
    return 0;
}

int gguf_open(struct gguf **out, const char *path, struct err *e)
{
    struct file_map map;
    int rc = file_map_open(&map, path, e);
    if (rc)
        return rc;
    rc = gguf_parse(out, path, map.data, map.len, e);
    if (rc)
        file_map_close(&map);
    else
        (*out)->map = map;
    return rc;
}

void gguf_close(struct gguf *g)
{
    if (!g)
        return;
    arena_deinit(&g->arena);
    file_map_close(&g->map);
    free(g->name);
    free(g);
}

const char *gguf_name(const struct gguf *g)
{
    return g->name;
}

size_t gguf_keys(const struct gguf *g)
{
    return g->keys;
}

const char *gguf_key_at(const struct gguf *g, size_t i, const struct gguf_value **v)
{
    *v = &g->key[i].value;
    return g->key[i].key;
}

const struct gguf_value *gguf_find(const struct gguf *g, const char *key)
{
    const struct entry wanted = {.key = key}, *w = &wanted;
    const struct entry *const *k = bsearch(&w, g->by_key, g->keys, sizeof *g->by_key, by_key);
    return k ? &(*k)->value : NULL;
}

size_t gguf_tensors(const struct gguf *g)
{
    return g->tensors;
}

const struct tensor *gguf_tensor_at(const struct gguf *g, size_t i)
{
    return &g->tensor[i];
}

const struct tensor *gguf_tensor_find(const struct gguf *g, const char *name)
{
    const struct tensor wanted = {.name = name}, *w = &wanted;
    const struct tensor *const *t = bsearch(&w, g->by_name, g->tensors, sizeof *g->by_name, by_name);
    return t ? *t : NULL;
}
