#include "text/trie.h"

#include "base/size.h"
#include "text/hash.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

uint64_t hash_key(void)
{
    uint64_t key = 0;
    if (getrandom(&key, sizeof key, GRND_NONBLOCK) != sizeof key)
        key = (uint64_t)(uintptr_t)&key; /* early in boot: the stack's address will do */
    return key;
}

static size_t slot_of(const struct trie *t, uint32_t node, unsigned char byte)
{
    return (size_t)hash_mix(t->key, (uint64_t)node << 8 | byte) & t->mask;
}

static struct trie_edge *find(const struct trie *t, uint32_t node, unsigned char byte)
{
    size_t i = slot_of(t, node, byte);
    while (t->edge[i].child && (t->edge[i].node != node || t->edge[i].byte != byte))
        i = (i + 1) & t->mask;
    return &t->edge[i];
}

uint32_t trie_child(const struct trie *t, uint32_t node, unsigned char byte)
{
    return t->edge ? find(t, node, byte)->child : 0;
}

static int grow_edges(struct trie *t, struct err *e)
{
    size_t slots = t->edge ? 2 * (t->mask + 1) : 1024;
    struct trie_edge *old = t->edge, *now = calloc(slots, sizeof *now);
    if (!now)
        return err_set(e, ERR_MEMORY, "out of memory for a trie of %zu edges", t->edges);
    size_t n = old ? t->mask + 1 : 0;
    t->edge = now;
    t->mask = slots - 1;
    for (size_t i = 0; i < n; i++)
        if (old[i].child)
            *find(t, old[i].node, old[i].byte) = old[i];
    free(old);
    return 0;
}

static int add_node(struct trie *t, uint32_t *out, struct err *e)
{
    if (t->nodes == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 1024;
        int32_t *value = capacity < UINT32_MAX ? realloc(t->value, capacity * sizeof *value) : NULL;
        if (!value)
            return err_set(e, ERR_MEMORY, "out of memory for a trie of %zu nodes", t->nodes);
        t->value = value;
        t->capacity = capacity;
    }
    t->value[t->nodes] = -1;
    *out = (uint32_t)t->nodes++;
    return 0;
}

static int add_child(struct trie *t, uint32_t node, unsigned char byte, uint32_t *out, struct err *e)
{
    int rc = 0;
    if (t->edges * 3 >= (t->edge ? t->mask + 1 : 0) * 2)
        rc = grow_edges(t, e);
    if (!rc)
        rc = add_node(t, out, e);
    if (rc)
        return rc;
    if (node == 0) {
        t->root[byte] = *out;
        return 0;
    }
    *find(t, node, byte) = (struct trie_edge){node, *out, byte};
    t->edges++;
    return 0;
}

int trie_add(struct trie *t, const char *s, size_t n, int32_t value, struct err *e)
{
    uint32_t node = 0;
    int rc = 0;
    if (t->nodes == 0) {
        t->key = hash_key();
        rc = add_node(t, &node, e);
    }
    for (size_t i = 0; i < n && !rc; i++) {
        uint32_t next = trie_step(t, node, (unsigned char)s[i]);
        if (!next)
            rc = add_child(t, node, (unsigned char)s[i], &next, e);
        node = next;
    }
    if (!rc)
        t->value[node] = value;
    return rc;
}

void trie_deinit(struct trie *t)
{
    free(t->edge);
    free(t->value);
    *t = (struct trie){0};
}

int32_t trie_longest(const struct trie *t, const char *s, size_t n, size_t *length)
{
    int32_t best = -1;
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        node = trie_step(t, node, (unsigned char)s[i]);
        if (!node)
            break;
        if (t->value[node] >= 0) {
            best = t->value[node];
            *length = i + 1;
        }
    }
    return best;
}
