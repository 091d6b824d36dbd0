/* Work cut into numbered items that threads take from each other, for matmul and its backward. */
#ifndef GYEOL_COMPUTE_SHARE_H
#define GYEOL_COMPUTE_SHARE_H

#include <stdbool.h>
#include <stddef.h>

#define SHARE_ALONE (1 << 14) /* values to move, or weights times rows, not worth waking a thread for */

/* Parts to cut a product's rows into, 16 or more in each, when its items are fewer than the threads; else 1. What is
 * computed must not depend on it. */
size_t share_parts(size_t items, size_t rows);

/* Calls item(job, i) once for each i < items (below 2^32), on OpenMP's threads, or with `alone` on this one. */
void share_out(size_t items, bool alone, void (*item)(const void *job, size_t i), const void *job);

#endif
