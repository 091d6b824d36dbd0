/* safetensors (https://github.com/huggingface/safetensors): u64 header length, a JSON header that gives every
 * tensor's dtype, shape and byte range, then the bytes. Mapped, never copied. Untrusted: every offset is
 * proved to lie inside the file, ranges may not overlap, and the size must be what dtype and shape say. */
#ifndef GYEOL_FORMAT_SAFETENSORS_H
#define GYEOL_FORMAT_SAFETENSORS_H

#include "base/err.h"
#include "format/tensor.h"

struct safetensors;

int safetensors_open(struct safetensors **out, const char *path, struct err *e) MUST_CHECK;

/* The same on bytes in memory, borrowed until close; `name` for messages. */
int safetensors_parse(struct safetensors **out, const char *name, const unsigned char *bytes, size_t n,
                      struct err *e) MUST_CHECK;
void safetensors_close(struct safetensors *s); /* NULL allowed */

size_t safetensors_count(const struct safetensors *s);
const struct tensor *safetensors_at(const struct safetensors *s, size_t i);           /* in order of offset */
const struct tensor *safetensors_find(const struct safetensors *s, const char *name); /* NULL when absent */
const char *safetensors_metadata(const struct safetensors *s, const char *key);       /* NULL when absent */

struct safetensors_pair {
    const char *key, *value;
};

/* Writes tensors (F32, F16, BF16, U8, ... any type with a safetensors name) with a "__metadata__" of `pairs`
 * (may be none): header padded to 8 bytes with spaces, through a temporary name, synced, renamed. */
int safetensors_write(const char *path, const struct tensor *tensors, size_t n,
                      const struct safetensors_pair *metadata, size_t pairs, struct err *e) MUST_CHECK;

#endif
