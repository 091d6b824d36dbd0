/* Rates of this machine: threads start together, the slowest counts. */
#include "compute/limits.h"

#include "base/size.h"
#include "base/when.h"
#include "compute/limits_rates.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ROUNDS = 5, REPEAT = 100000, HUGE_PAGE = 2 << 20 };

static const struct rates *rates_of(const char *isa)
{
    static const struct rates *const all[] = {
#if KERNELS_X86
        &rates_avx512,
        &rates_avx2,
#endif
        &rates_portable,
    };
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (!strcmp(all[i]->isa, isa))
            return all[i];
    return &rates_portable;
}

static double seconds_since(uint64_t start)
{
    return (double)(when_monotonic_ns() - start + 1) / 1e9;
}

static double rate_of(double (*loop)(size_t n))
{
    double done = 0;
    uint64_t start = 0;
#pragma omp parallel reduction(+ : done)
    {
#pragma omp barrier
#pragma omp master
        start = when_monotonic_ns();
        done += loop(REPEAT);
    }
    return done / seconds_since(start);
}

typedef uint64_t two_words __attribute__((vector_size(16)));

enum { LINE = 64 / sizeof(two_words) };

/* Named sums: gcc keeps an array of them in memory, and then they are what is measured. */
static uint64_t sum_lines(const two_words *p, size_t lines)
{
    two_words a = {0}, b = a, c = a, d = a;
    for (const two_words *end = p + lines * LINE; p < end; p += LINE) {
        a += p[0];
        b += p[1];
        c += p[2];
        d += p[3];
    }
    a += b + c + d;
    return a[0] + a[1];
}

double limits_read(const void *memory, size_t bytes)
{
    const two_words *words = memory;
    size_t lines = bytes / 64;
    uint64_t start = when_monotonic_ns(), sum = 0;
#pragma omp parallel reduction(+ : sum)
    {
        size_t n = (size_t)omp_get_num_threads(), i = (size_t)omp_get_thread_num();
        size_t from = lines * i / n, to = lines * (i + 1) / n;
        sum += sum_lines(words + from * LINE, to - from);
    }
    double rate = (double)bytes / seconds_since(start);
    volatile uint64_t used = sum; /* so that reading is not optimised away */
    (void)used;
    return rate;
}

static void raise_to(double *most, double rate)
{
    *most = rate > *most ? rate : *most;
}

void limits_again(struct limits *l, const void *memory, size_t n)
{
    const struct rates *r = rates_of(l->isa);
    raise_to(&l->f32, rate_of(r->f32));
    raise_to(&l->bf16, rate_of(r->bf16));
    raise_to(&l->int8, rate_of(r->int8));
    if (memory)
        raise_to(&l->read, limits_read(memory, n));
}

size_t limits_beyond_caches(void)
{
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    size_t least = (size_t)256 << 20, most = (size_t)1 << 30;
    if (cache <= 0 || (size_t)cache <= least / 8)
        return least;
    return (size_t)cache < most / 8 ? (size_t)cache * 8 : most;
}

void *limits_memory(size_t bytes)
{
    size_t rounded = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *p = rounded >= bytes ? aligned_alloc(HUGE_PAGE, rounded) : NULL;
    if (p)
        madvise(p, rounded, MADV_HUGEPAGE); /* only a hint: without it small pages take longer to touch */
    return p;
}

int limits_measure(struct limits *l, const struct kernels *k, struct err *e)
{
    size_t bytes = limits_beyond_caches();
    void *memory = limits_memory(bytes);
    if (!memory)
        return err_set(e, ERR_MEMORY, "out of memory for %zu MiB to read", bytes >> 20);
    memset(memory, 1, bytes);
    *l = (struct limits){.isa = k->isa, .threads = omp_get_max_threads()};
    for (int i = 0; i < ROUNDS; i++)
        limits_again(l, memory, bytes);
    free(memory);
    return 0;
}

double limits_of(const struct limits *l, enum dtype type)
{
    return type == DT_F32 ? l->f32 : type == DT_BF16 ? l->bf16 : l->int8;
}
