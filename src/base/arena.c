#include "base/arena.h"

#include "base/size.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 64 * 1024 };

struct arena_block {
    struct arena_block *next;
    size_t capacity;
    alignas(max_align_t) char bytes[];
};

static int grow(struct arena *a, size_t need)
{
    size_t capacity = need > BLOCK_BYTES ? need : BLOCK_BYTES, total;
    if (!size_add(capacity, sizeof(struct arena_block), &total))
        return -1;
    struct arena_block *b = malloc(total);
    if (!b)
        return -1;
    b->next = a->block;
    b->capacity = capacity;
    a->block = b;
    a->used = 0;
    return 0;
}

void *arena_alloc(struct arena *a, size_t n, size_t size)
{
    size_t need, padded;
    if (!size_mul(n, size, &need) || !size_add(need, alignof(max_align_t) - 1, &padded))
        return NULL;
    padded &= ~(alignof(max_align_t) - 1);
    if ((!a->block || a->block->capacity - a->used < padded) && grow(a, padded))
        return NULL;
    void *p = a->block->bytes + a->used;
    a->used += padded;
    return memset(p, 0, need);
}

char *arena_copy(struct arena *a, const char *s, size_t n)
{
    size_t need;
    char *p = size_add(n, 1, &need) ? arena_alloc(a, need, 1) : NULL;
    if (p && n)
        memcpy(p, s, n);
    return p;
}

static void free_list(struct arena_block *b)
{
    while (b) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
}

void arena_reset(struct arena *a)
{
    if (a->block) {
        free_list(a->block->next);
        a->block->next = NULL;
    }
    a->used = 0;
}

void arena_deinit(struct arena *a)
{
    free_list(a->block);
    a->block = NULL;
    a->used = 0;
}
