/* GGUF v2 and v3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): typed key-value metadata,
 * tensor descriptions, then aligned tensor data. Mapped, never copied. Untrusted: counts and offsets are
 * proved against the file's size before anything is allocated; what is allocated stays within a small
 * multiple of the file. */
#ifndef GYEOL_FORMAT_GGUF_H
#define GYEOL_FORMAT_GGUF_H

#include "base/err.h"
#include "format/tensor.h"

#include <stdbool.h>

/* Metadata value types, numbered as in the file. */
enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
};

struct gguf_string {
    const char *data; /* in the mapping: not NUL-terminated, may hold NULs, need not be UTF-8 */
    size_t len;
};

struct gguf_value {
    enum gguf_type type;    /* GGUF_ARRAY for arrays */
    enum gguf_type element; /* of an array (arrays of arrays are refused); else type again */
    size_t count;           /* of an array; else 1 */
    const unsigned char *data;
    const struct gguf_string *strings; /* of a string or an array of strings: [count] */
};

struct gguf;

int gguf_open(struct gguf **out, const char *path, struct err *e) MUST_CHECK;

/* The same on bytes in memory, borrowed until close; `name` for messages. */
int gguf_parse(struct gguf **out, const char *name, const unsigned char *bytes, size_t n,
               struct err *e) MUST_CHECK;
void gguf_close(struct gguf *g); /* NULL allowed */
const char *gguf_name(const struct gguf *g);

size_t gguf_keys(const struct gguf *g);
const char *gguf_key_at(const struct gguf *g, size_t i, const struct gguf_value **v);
const struct gguf_value *gguf_find(const struct gguf *g, const char *key); /* NULL when absent */

/* Typed reads. Absent keys leave *out as it was and give 0; present ones of another kind are ERR_FORMAT
 * naming the key. Integers of any width are accepted where they fit; reals from F32 or F64. */
int gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out, struct err *e) MUST_CHECK;
int gguf_get_f32(const struct gguf *g, const char *key, float *out, struct err *e) MUST_CHECK;
int gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct err *e) MUST_CHECK;
int gguf_get_string(const struct gguf *g, const char *key, struct gguf_string *out, struct err *e) MUST_CHECK;

/* Elements of number arrays, i < count; converts from the element type (checked by the caller to be a
 * number). */
double gguf_number_at(const struct gguf_value *v, size_t i);

/* Names and keys are printable ASCII. A tensor of a type that dtype.h lacks is listed as DT_OTHER with bytes
 * 0 and data NULL. No two tensors share a byte. */
size_t gguf_tensors(const struct gguf *g);
const struct tensor *gguf_tensor_at(const struct gguf *g, size_t i);
const struct tensor *gguf_tensor_find(const struct gguf *g, const char *name);

/* Writing: describe everything, then stream the tensor data in the order described, so that no tensor but the
 * current one is in memory. */
struct gguf_writer;

/* Starts writing to a temporary name beside path. */
int gguf_create(struct gguf_writer **out, const char *path, struct err *e) MUST_CHECK;
/* Metadata, before the first tensor data. What fails (memory, a tensor that GGUF cannot hold) is kept and
 * reported by gguf_begin_data; after any failure, gguf_abandon. "general.alignment" is obeyed. */
void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v);
void gguf_put_u64(struct gguf_writer *w, const char *key, uint64_t v);
void gguf_put_f32(struct gguf_writer *w, const char *key, float v);
void gguf_put_bool(struct gguf_writer *w, const char *key, bool v);
void gguf_put_string(struct gguf_writer *w, const char *key, const char *s, size_t n);
void gguf_put_strings(struct gguf_writer *w, const char *key, const struct gguf_string *s, size_t n);
void gguf_put_i32s(struct gguf_writer *w, const char *key, const int32_t *v, size_t n);
void gguf_put_f32s(struct gguf_writer *w, const char *key, const float *v, size_t n);
void gguf_put_value(struct gguf_writer *w, const char *key,
                    const struct gguf_value *v); /* copied from a reader */
/* Describes a tensor; dims outermost first; the type must have a ggml number. */
void gguf_put_tensor(struct gguf_writer *w, const char *name, enum dtype type, int rank, const size_t *dim);
/* Writes header and descriptions. */
int gguf_begin_data(struct gguf_writer *w, struct err *e) MUST_CHECK;
/* The next bytes of the current tensor; when a tensor is complete, padding follows by itself. More than was
 * described is our bug (assert). */
int gguf_write_data(struct gguf_writer *w, const void *data, size_t n, struct err *e) MUST_CHECK;
/* All data written: sync, rename, sync the directory. Frees w in any case. */
int gguf_finish(struct gguf_writer *w, struct err *e) MUST_CHECK;
void gguf_abandon(struct gguf_writer *w); /* removes the temporary file; NULL allowed */

#endif
