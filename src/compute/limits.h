/* What this machine can do at most, measured in the same run as whatever is compared with it: `gyeol bench`
 * and `gyeol bench kernels` print their figures as fractions of these. All rates are of omp_get_max_threads()
 * threads together. The best of several measurements counts: a neighbour can only make a limit look lower. */
#ifndef GYEOL_COMPUTE_LIMITS_H
#define GYEOL_COMPUTE_LIMITS_H

#include "base/err.h"
#include "compute/kernels.h"

struct limits {
    const char *isa;
    int threads;
    double read; /* bytes/s read in order from memory that no cache holds */
    double
        f32; /* operations/s from registers alone, multiply and add counted as two: fused multiply-adds, ... */
    double bf16; /* ... dot products of pairs of bf16, ... */
    double int8; /* ... of four 8-bit integers; each in the table's own widest instruction for it */
};

/* Measures all of it five times; a fraction of a second. */
int limits_measure(struct limits *l, const struct kernels *k, struct err *e) MUST_CHECK;

/* Once more, keeping what is higher: operations, and reads of the n bytes at `memory`, 16-byte aligned,
 * unless it is NULL. For between
 * measurements on a machine with neighbours. */
void limits_again(struct limits *l, const void *memory, size_t n);

/* One reading of n bytes in order by all threads, in bytes/s: for a ratio to what memory gave just then, since on shared
 * machines it changes by the minute. */
double limits_read(const void *memory, size_t n);

/* The limit of the kernels for one type of weights. */
double limits_of(const struct limits *l, enum dtype type);

/* How much memory is more than the caches hold, and such memory, in large pages if the system has them; free() it. */
size_t limits_beyond_caches(void);
void *limits_memory(size_t bytes);

#endif
