/* A set of byte strings with a number each, walked byte by byte: which of them begin at a place of a text. */
#ifndef GYEOL_TEXT_TRIE_H
#define GYEOL_TEXT_TRIE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trie_edge {
    uint32_t node, child; /* child 0: a free slot, for the root is nobody's child */
    unsigned char byte;
};

/* Zero-initialised is the empty set. */
struct trie {
    uint32_t root[256];     /* children of node 0 */
    struct trie_edge *edge; /* the others: a hash table, mask + 1 slots */
    size_t mask, edges;
    int32_t *value; /* of each node; -1: no string ends here */
    size_t nodes, capacity;
    uint64_t key;
};

/* Adds a string of n > 0 bytes; one that is there already gets the new value. value >= 0. */
int trie_add(struct trie *t, const char *s, size_t n, int32_t value, struct err *e) MUST_CHECK;
void trie_deinit(struct trie *t);

/* The node reached by one byte, or 0. */
uint32_t trie_child(const struct trie *t, uint32_t node, unsigned char byte);

static inline uint32_t trie_step(const struct trie *t, uint32_t node, unsigned char byte)
{
    return node ? trie_child(t, node, byte) : t->root[byte];
}

/* The longest string of the set at the start of s: its value and *length, or -1. */
int32_t trie_longest(const struct trie *t, const char *s, size_t n, size_t *length);

#endif
