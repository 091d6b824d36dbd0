/* A world of MPI processes: `make MPI=1` links this file in the place of world_single.c. The one user of mpi.h.
 * MPI's own sums have an order of their own, so here every rank adds up one part of the numbers, rank by rank, and
 * hands it round. */
#include "train/world.h"

#include <mpi.h>
#include <stddef.h>
#include <string.h>

enum { ROUND = 1 << 20 /* bytes that go round at a time */ };

static int rank, size = 1;

void world_init(int *argc, char ***argv)
{
    int given;
    MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &given);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
}

void world_finish(int status)
{
    int begun, over;
    MPI_Initialized(&begun);
    MPI_Finalized(&over);
    if (!begun || over)
        return;
    if (status && size > 1)
        MPI_Abort(MPI_COMM_WORLD, status);
    MPI_Finalize();
}

int world_rank(void)
{
    return rank;
}

int world_size(void)
{
    return size;
}

static void add_floats(void *to, const void *from, size_t bytes)
{
    float *a = to;
    const float *b = from;
    for (size_t i = 0; i < bytes / sizeof *a; i++)
        a[i] += b[i];
}

static void add_doubles(void *to, const void *from, size_t bytes)
{
    double *a = to;
    const double *b = from;
    for (size_t i = 0; i < bytes / sizeof *a; i++)
        a[i] += b[i];
}

/* In rounds: everybody gets everybody's share of one part, adds, and gives the sum to all. */
static void sum(void *v, size_t bytes, size_t element, void (*add)(void *to, const void *from, size_t bytes))
{
    static _Alignas(64) unsigned char mine[ROUND], theirs[ROUND];
    size_t ranks = (size_t)size, most = ROUND / ranks / element * element;
    for (size_t at = 0, n; size > 1 && at < bytes; at += n) {
        n = bytes - at < most * ranks ? bytes - at : most * ranks;
        size_t share = (n / element + ranks - 1) / ranks * element;
        memcpy(mine, (char *)v + at, n);
        memset(mine + n, 0, share * ranks - n);
        MPI_Alltoall(mine, (int)share, MPI_BYTE, theirs, (int)share, MPI_BYTE, MPI_COMM_WORLD);
        for (size_t r = 1; r < ranks; r++)
            add(theirs, theirs + r * share, share);
        MPI_Allgather(theirs, (int)share, MPI_BYTE, mine, (int)share, MPI_BYTE, MPI_COMM_WORLD);
        memcpy((char *)v + at, mine, n);
    }
}

void world_sum(float *v, size_t n)
{
    sum(v, n * sizeof *v, sizeof *v, add_floats);
}

void world_sum_double(double *v, size_t n)
{
    sum(v, n * sizeof *v, sizeof *v, add_doubles);
}

bool world_any(bool yes)
{
    int mine = yes, all = yes;
    if (size > 1)
        MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_LOR, MPI_COMM_WORLD);
    return all;
}

void world_broadcast(void *data, size_t bytes)
{
    for (size_t at = 0, n; size > 1 && at < bytes; at += n) {
        n = bytes - at < ROUND ? bytes - at : ROUND;
        MPI_Bcast((char *)data + at, (int)n, MPI_BYTE, 0, MPI_COMM_WORLD);
    }
}

void world_barrier(void)
{
    if (size > 1)
        MPI_Barrier(MPI_COMM_WORLD);
}
