/* The table of operations and its CPU implementations: portable C, AVX2+FMA+F16C, AVX-512 (VNNI, BF16),
 * chosen once at start. Every kernel is checked against the portable one (tests/test_kernels.c, gyeol bench
 * kernels).
 *
 * Letters: T tokens (rows of x and y), K columns of the weight, N its rows. Rows of y and x are ld floats
 * apart and have room for N (K) rounded up to 16; what lies past N in y is written with garbage-free zeros or
 * sums of zero rows.
 *
 * Determinism: y[t][n] is computed by the same sequence of operations for every T, tile and thread. F32 and
 * BF16: one chain over k (BF16: over pairs). Integer types: per 32 columns an exact integer sum, times the
 * weight scale, added in order to the sum of a 128-column block; that, times the activation scale, added in
 * order to y. */
#ifndef GYEOL_COMPUTE_KERNELS_H
#define GYEOL_COMPUTE_KERNELS_H

#include "compute/matrix.h"

#include <stdint.h>

#define ACT_BLOCK 128 /* columns that share an activation scale */

/* T rows of activations made ready for one weight type; views into the caller's space. */
struct activation {
    enum dtype type; /* the weights' type; F32 and BF16 go with any weights */
    size_t rows, cols;
    size_t ld;        /* F32, BF16: values from row to row */
    const float *f32; /* F32: the rows themselves */
    uint16_t *bf16;   /* BF16: [T][cols rounded up to 2], rounded to nearest even */
    int8_t *q;        /* integer types: [T][cols rounded up to 128], value = q * scale */
    float *scale;     /* [T][blocks of 128]: max|x| / 127 */
    int32_t *sum;     /* [T][blocks of 32]: -(offset) * sum of q, offset 128 for Q8_0, 8 for Q4_0 */
};

enum activation_function { ACTIVATION_SILU, ACTIVATION_GELU_TANH, ACTIVATION_GELU };

struct kernels {
    const char *isa; /* "portable", "avx2", "avx512" */

    /* Rounds rows t0..t1-1 of x [T, cols] into a (bf16 or integers). Nothing to do for F32. */
    void (*prepare)(struct activation *a, const float *x, size_t ldx, size_t t0, size_t t1);

    /* y [T, N] = x W^T for panels p0 .. p1-1 of w, all rows of a. With accumulate, y is added to (F32, BF16
     * only). */
    void (*matmul)(float *y, size_t ldy, const struct matrix *w, const struct activation *a, size_t p0,
                   size_t p1, bool accumulate);

    /* The F32 product on loose panels, panel_stride floats apart: attention uses it on the KV cache.
     * y[t][16 p + lane] (+)= sum over k < K of x[t][k] * w[p * panel_stride + 16 k + lane]. */
    void (*matmul_f32)(float *y, size_t ldy, const float *w, size_t panel_stride, size_t panels,
                       const float *x, size_t ldx, size_t T, size_t K, bool accumulate);

    /* Columns k0 .. k1-1 (k0 a multiple of 128) of panels p0 .. p1-1 of w, of any type, as panels of `to` (F32, or
     * BF16 rounded to nearest even), matrix_panel_bytes(to, k1 - k0) apart. out: 64-byte aligned. */
    void (*unpack)(void *out, enum dtype to, const struct matrix *w, size_t p0, size_t p1, size_t k0,
                   size_t k1);

    /* Transposed: the columns from k0 (a multiple of 64) on, 64 or as many as there are, are the rows of panels of
     * `to`; w's rows n0 .. n1-1 (n0 a multiple of 16; n1 too unless w ends there) their columns. */
    void (*unpack_transposed)(void *out, enum dtype to, const struct matrix *w, size_t k0, size_t n0,
                              size_t n1);

    /* n <= 16 columns of x [T, ..] as a panel of `to` with T columns, or as n rows of T values, ld apart (BF16: ld
     * even, a pair filled up with zero). */
    void (*pack_panel)(void *panel, enum dtype to, const float *x, size_t ldx, size_t T, size_t n);
    void (*pack_rows)(void *rows, size_t ld, enum dtype to, const float *x, size_t ldx, size_t T, size_t n);

    /* out = x / sqrt(mean(x^2) + eps) * w; out may be x. The sum is in an order fixed by n. */
    void (*rmsnorm)(float *out, const float *x, const float *w, size_t n, float eps);

    /* s[i] = softmax over i in [lo, n) of softcap(scale * s[i]) (softcap 0: none); zeros in [0, lo) and up to
     * the next multiple of 16 after n. The order of the sum depends on positions alone. */
    void (*softmax)(float *s, size_t lo, size_t n, float scale, float softcap);

    /* dx += the gradient of rmsnorm's x given dy of its output, dw (NULL: not wanted) += that of w. */
    void (*rmsnorm_backward)(float *dx, float *dw, const float *x, const float *w, const float *dy, size_t n,
                             float eps);

    /* gate[i] = f(gate[i]) * up[i] */
    void (*gated)(float *gate, const float *up, size_t n, enum activation_function f);

    /* From gate and up as they were before `gated`, and dy of its output: gate becomes dgate, up becomes dup. */
    void (*gated_backward)(float *gate, float *up, const float *dy, size_t n, enum activation_function f);

    /* From softmax's output p and dp of it: dp[i] becomes the gradient of the raw scores s[i] for i in [lo, n),
     * zeros elsewhere up to the next multiple of 16. capped: with softcap, the scores after scale and cap
     * (else NULL). */
    void (*softmax_backward)(float *dp, const float *p, const float *capped, size_t lo, size_t n, float scale,
                             float softcap);

    /* Dropout (Srivastava et al. 2014): out[i] = x[i] * scale, or 0 where the i-th 32 bits that SplitMix64 draws
     * from `seed` on (a draw's lower half first) are less than `below`. out may be x. */
    void (*dropout)(float *out, const float *x, size_t n, uint64_t seed, uint32_t below, float scale);

    void (*add)(float *y, const float *x, size_t n); /* y += x */
    void (*softcap)(float *x, size_t n, float cap);  /* x = cap * tanh(x / cap) */
    /* Rotates the pairs (x[i], x[i + half]) by angle i: cos, sin [half] (Hugging Face's half-split order). */
    void (*rope)(float *x, const float *cos, const float *sin, size_t half);
};

/* The widest table this processor runs, or the one $GYEOL_ISA names ("portable", "avx2", "avx512") if it can.
 */
const struct kernels *kernels_get(void);

/* All that this processor runs, portable first; returns how many (at most 3). For tests and benchmarks. */
size_t kernels_all(const struct kernels *out[3]);

/* Space for the activation of T rows: bytes (a multiple of 64), and carving it. */
size_t activation_bytes(enum dtype type, size_t T, size_t cols);
void activation_init(struct activation *a, enum dtype type, size_t T, size_t cols, void *space);

/* Columns k0 .. k0+n-1 of the same rows (F32, BF16; k0 even): a view. */
static inline struct activation activation_columns(const struct activation *a, size_t k0, size_t n)
{
    struct activation part = *a;
    part.cols = n;
    part.f32 = a->f32 ? a->f32 + k0 : NULL;
    part.bf16 = a->bf16 ? a->bf16 + k0 : NULL;
    return part;
}

/* Rows t0 .. t1-1 of them (F32, BF16): a view. */
static inline struct activation activation_rows(const struct activation *a, size_t t0, size_t t1)
{
    struct activation part = *a;
    part.rows = t1 - t0;
    part.f32 = a->f32 ? a->f32 + t0 * a->ld : NULL;
    part.bf16 = a->bf16 ? a->bf16 + t0 * a->ld : NULL;
    return part;
}

/* The threaded whole: prepares x (all threads), then multiplies panels split over OpenMP's threads. */
void matmul_prepare(const struct kernels *k, struct activation *a, const float *x, size_t ldx);
void matmul_run(const struct kernels *k, float *y, size_t ldy, const struct matrix *w,
                const struct activation *a);
/* Several products of the same rows at once. */
struct product {
    float *y;
    size_t ldy;
    const struct matrix *w;
};
void matmul_many(const struct kernels *k, const struct product *p, size_t n, const struct activation *a);

/* The rows' type may differ from the weights': rows in F32 or BF16 multiply weights of any type, which are
 * unpacked to the rows' type a few panels at a time (NF4 always is). Training computes so. */

/* dx [T, cols] = dy W, or added to with accumulate: the gradient of x in y = x W^T. dy is prepared as rows of
 * w->rows columns, in F32 or BF16; weights of any type. */
void matmul_transposed(const struct kernels *k, float *dx, size_t lddx, const struct matrix *w,
                       const struct activation *dy, bool accumulate);

/* dw [N, K], rows one after another, += dy^T x: the gradient of W in y = x W^T. T rows of dy [.., N] and of
 * x [.., K]; computed in `compute` (DT_F32 or DT_BF16). scratch: matmul_outer_bytes. */
void matmul_outer(const struct kernels *k, float *dw, const float *dy, size_t lddy, size_t N, const float *x,
                  size_t ldx, size_t K, size_t T, enum dtype compute, void *scratch);
size_t matmul_outer_bytes(size_t N, size_t K, size_t T, enum dtype compute);

/* y += x W^T; F32 and BF16 rows only. */
void matmul_add(const struct kernels *k, float *y, size_t ldy, const struct matrix *w,
                const struct activation *a);

#endif
