/* The processes that train together: data parallel over MPI when built with `make MPI=1` (world_mpi.c), else one
 * process alone (world_single.c). Every call but rank and size is collective: all ranks make it, in the same
 * order and with the same sizes. Where the processes cannot talk to each other any more, MPI ends them all. */
#ifndef GYEOL_TRAIN_WORLD_H
#define GYEOL_TRAIN_WORLD_H

#include <stdbool.h>
#include <stddef.h>

/* Before anything else that looks at the arguments; a process started without mpirun is a world of one. */
void world_init(int *argc, char ***argv);

/* The end of it, once, with the process's exit status. status other than 0: this rank gives up alone, and the
 * others, which may be waiting for it, are ended (the call may not return). */
void world_finish(int status);

int world_rank(void); /* 0 .. size-1 */
int world_size(void);

/* v[i] = its sum over the ranks, added in the order of ranks: the same bits on all of them, and again for the
 * same number of ranks. */
void world_sum(float *v, size_t n);
void world_sum_double(double *v, size_t n);

/* True on all when true on any: whether to stop, whether somebody failed. */
bool world_any(bool yes);

/* The bytes of rank 0. */
void world_broadcast(void *data, size_t bytes);
void world_barrier(void);

#endif
