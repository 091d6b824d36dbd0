#include "text/vocab.h"

#include "text/hash.h"

#include <stdlib.h>
#include <string.h>

/* The slot of a piece, or the free one where it would be. */
static size_t find(const struct vocab *v, uint64_t h, const char *s, size_t n)
{
    uint32_t tag = (uint32_t)(h >> 32);
    size_t i = (size_t)h & v->mask;
    for (; v->slot[i].id >= 0; i = (i + 1) & v->mask) {
        const struct spec_piece *p = &v->piece[v->slot[i].id];
        if (v->slot[i].tag == tag && p->len == n && memcmp(p->bytes, s, n) == 0)
            break;
    }
    return i;
}

int vocab_init(struct vocab *v, const struct spec_piece *piece, size_t n, struct err *e)
{
    size_t slots = 16;
    while (slots < 2 * n)
        slots *= 2;
    *v = (struct vocab){.piece = piece, .mask = slots - 1, .key = hash_key()};
    v->slot = malloc(slots * sizeof *v->slot);
    if (!v->slot)
        return err_set(e, ERR_MEMORY, "out of memory for a vocabulary of %zu pieces", n);
    for (size_t i = 0; i < slots; i++)
        v->slot[i] = (struct vocab_slot){0, -1};
    for (size_t id = 0; id < n; id++) {
        if (!piece[id].bytes || piece[id].len == 0)
            continue;
        uint64_t h = hash_bytes(v->key, piece[id].bytes, piece[id].len);
        size_t i = find(v, h, piece[id].bytes, piece[id].len);
        v->slot[i] = (struct vocab_slot){(uint32_t)(h >> 32), (int32_t)id};
        v->longest = piece[id].len > v->longest ? piece[id].len : v->longest;
    }
    return 0;
}

void vocab_deinit(struct vocab *v)
{
    free(v->slot);
    *v = (struct vocab){0};
}

int32_t vocab_find(const struct vocab *v, const char *s, size_t n)
{
    if (n == 0 || n > v->longest)
        return -1;
    return v->slot[find(v, hash_bytes(v->key, s, n), s, n)].id;
}
