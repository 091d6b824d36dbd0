/* Memory of one lifetime: many small allocations, freed together. Grows by blocks; what was handed out never
 * moves. Zero-initialised `struct arena a = {0}` is a valid empty arena. Not for several threads at once. */
#ifndef GYEOL_BASE_ARENA_H
#define GYEOL_BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *block; /* newest first */
    size_t used;               /* bytes handed out of the newest block */
};

/* n * size zeroed bytes aligned for any type, or NULL when memory is out or n * size overflows. */
void *arena_alloc(struct arena *a, size_t n, size_t size);

/* A NUL-terminated copy of n bytes, or NULL. */
char *arena_copy(struct arena *a, const char *s, size_t n);

/* Forgets everything handed out but keeps one block for reuse. */
void arena_reset(struct arena *a);

/* Frees all blocks; the arena is empty and usable again. */
void arena_deinit(struct arena *a);

#endif
