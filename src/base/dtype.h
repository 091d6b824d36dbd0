/* Number formats of tensors: how values are packed into bytes. Block layouts are ggml's (ggml-common.h, the
 * GGUF specification) and, for NF4, bitsandbytes'. This file knows sizes only; compute/quant.h reads and
 * writes the values. */
#ifndef GYEOL_BASE_DTYPE_H
#define GYEOL_BASE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dtype {
    DT_F32,
    DT_F16,
    DT_BF16,
    DT_Q8_0,
    DT_Q4_0,
    DT_Q4_1,
    DT_Q5_0,
    DT_Q5_1,
    DT_Q4_K,
    DT_Q5_K,
    DT_Q6_K,
    DT_NF4, /* never a whole tensor's bytes: bitsandbytes keeps codes and scales in several tensors */
    DT_F64,
    DT_U8,
    DT_I8,
    DT_I16,
    DT_I32,
    DT_I64,
    DT_BOOL,
    DT_OTHER, /* a type this program does not compute with (F8, U16, ...); sizes unknown to it */
    DT_COUNT
};

struct dtype_info {
    const char *name; /* "f32", "q8_0": as users write it */
    size_t values;    /* per block */
    size_t bytes;     /* per block; 0 when unknown */
    bool number;      /* a type that quant_decode reads */
};

extern const struct dtype_info dtype_info[DT_COUNT];

/* Bytes of one row of n values; false when n is no multiple of the block, the type has no size, or it
 * overflows. */
bool dtype_row_bytes(enum dtype t, size_t n, size_t *bytes);

/* The type of that name, or -1. */
int dtype_parse(const char *name);

#endif
