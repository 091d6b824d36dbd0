/* A binary heap of merges that could be made next: the smallest rank first, then the leftmost. */
#ifndef GYEOL_TEXT_HEAP_H
#define GYEOL_TEXT_HEAP_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_item {
    uint32_t rank, at; /* at: the left symbol */
    uint32_t right;    /* the right symbol */
    int32_t made;      /* what tells whether the item is still true: the id made, or the bytes of it */
};

struct heap {
    struct heap_item *item; /* owned */
    size_t n, capacity;
};

int heap_push(struct heap *h, struct heap_item x, struct err *e) MUST_CHECK;
struct heap_item heap_pop(struct heap *h); /* n > 0 */
void heap_deinit(struct heap *h);

#endif
