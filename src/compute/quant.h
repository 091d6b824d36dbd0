/* Number formats: exact decoding of every type a model file may hold, and encoding of those we write. Layouts
 * and rounding are ggml's (ggml-quants.c, reference functions quantize_row_*_ref) and bitsandbytes' (NF4,
 * double quantisation: functional.py, create_dynamic_map); tests/test_quant.c compares with their output. */
#ifndef GYEOL_COMPUTE_QUANT_H
#define GYEOL_COMPUTE_QUANT_H

#include "base/dtype.h"

#include <stddef.h>
#include <stdint.h>

float quant_f16_to_f32(uint16_t h);
uint16_t quant_f32_to_f16(float f); /* round to nearest even, as F16C does */
float quant_bf16_to_f32(uint16_t h);
uint16_t quant_f32_to_bf16(float f); /* round to nearest even; NaN stays NaN */

/* n values (a multiple of the block) from bytes that need no alignment. `t` must be a number type
 * (dtype_info). Exact, but for F64, which is rounded. */
void quant_decode(float *out, enum dtype t, const void *bytes, size_t n);

/* The other way, for F32, F16, BF16, Q8_0, Q4_0. */
void quant_encode(void *out, enum dtype t, const float *values, size_t n);

/* NF4 of bitsandbytes: blocks of 64 values share an absolute maximum; code[2i] is the high nibble. */
#define NF4_BLOCK  64
#define NF4_BLOCK2 256 /* absmax values that share a scale under double quantisation */
extern const float nf4_codebook[16];
const float *nf4_dynamic_map(void); /* [256], signed; thread-safe */

/* packed [n/2], absmax [ceil(n/64)]. n even. */
void nf4_encode(uint8_t *packed, float *absmax, const float *values, size_t n);
void nf4_decode(float *out, const uint8_t *packed, const float *absmax, size_t n);
/* Double quantisation of `n` absmax values: codes [n], scale [ceil(n/256)], their mean *offset. */
void nf4_encode_absmax(uint8_t *codes, float *scale, float *offset, const float *absmax, size_t n);
void nf4_decode_absmax(float *absmax, const uint8_t *codes, const float *scale, float offset,
                       const float *map, size_t n);

/* Maxima -> double quantisation -> maxima, in place. */
int nf4_round_absmax(float *absmax, size_t blocks); /* 0, or ERR_MEMORY */

/* values -> NF4 with double quantisation -> values, in place: what a QLoRA base of these weights is. */
int nf4_round_trip(float *values, size_t n); /* 0, or ERR_MEMORY */

#endif
