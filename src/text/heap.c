#include "text/heap.h"

#include "base/size.h"

#include <stdlib.h>

static bool before(const struct heap_item *a, const struct heap_item *b)
{
    return a->rank < b->rank || (a->rank == b->rank && a->at < b->at);
}

int heap_push(struct heap *h, struct heap_item x, struct err *e)
{
    if (h->n == h->capacity) {
        size_t capacity = h->capacity ? 2 * h->capacity : 256, bytes;
        struct heap_item *item = size_mul(capacity, sizeof *item, &bytes) ? realloc(h->item, bytes) : NULL;
        if (!item)
            return err_set(e, ERR_MEMORY, "out of memory for %zu merges", h->n);
        h->item = item;
        h->capacity = capacity;
    }
    size_t i = h->n++;
    for (; i > 0 && before(&x, &h->item[(i - 1) / 2]); i = (i - 1) / 2)
        h->item[i] = h->item[(i - 1) / 2];
    h->item[i] = x;
    return 0;
}

struct heap_item heap_pop(struct heap *h)
{
    struct heap_item top = h->item[0], x = h->item[--h->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && before(&h->item[child + 1], &h->item[child]))
            child++;
        if (!before(&h->item[child], &x))
            break;
        h->item[i] = h->item[child];
        i = child;
    }
    h->item[i] = x;
    return top;
}

void heap_deinit(struct heap *h)
{
    free(h->item);
    *h = (struct heap){0};
}
