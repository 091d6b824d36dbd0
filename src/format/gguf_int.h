/* What the reader and the writer of GGUF share. */
#ifndef GYEOL_FORMAT_GGUF_INT_H
#define GYEOL_FORMAT_GGUF_INT_H

#include "format/gguf.h"

#define GGUF_ALIGNMENT_KEY "general.alignment"
#define GGUF_ALIGNMENT     32u /* where the key is absent */
#define GGUF_ALIGNMENT_MAX (1u << 20)
#define GGUF_RANK_MAX      4
#define GGUF_NAME_MAX      255 /* of a tensor; the specification says 64 */
#define GGUF_KEY_MAX       65535

/* Bytes of a value, 0 for strings and arrays. */
size_t gguf_size(enum gguf_type t);
const char *gguf_type_name(enum gguf_type t);

/* An integer of any width that fits. */
bool gguf_as_u32(const struct gguf_value *v, uint32_t *out);

/* ggml's number of a type, or -1. */
int gguf_number(enum dtype t);

static inline bool gguf_alignment_ok(uint32_t a)
{
    return a > 0 && a % 8 == 0 && a <= GGUF_ALIGNMENT_MAX;
}

#endif
