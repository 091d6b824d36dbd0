/* Work cut into numbered items that threads take from each other, for matmul and its backward. */
#ifndef GYEOL_COMPUTE_SHARE_H
#define GYEOL_COMPUTE_SHARE_H

#include <stdbool.h>
#include <stddef.h>

#define SHARE_ALONE (1 << 14) /* values to move, or weights, not worth waking a thread for */

/* Calls item(job, i) once for each i < items (below 2^32), on OpenMP's threads, or with `alone` on this one. */
void share_out(size_t items, bool alone, void (*item)(const void *job, size_t i), const void *job);

#endif
