/* Keyed hashing of short strings and pairs for tables that hold what files say: with a key nobody outside
 * knows, a file cannot be made of strings that all fall into one slot. */
#ifndef GYEOL_TEXT_HASH_H
#define GYEOL_TEXT_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

uint64_t hash_key(void); /* random */

static inline uint64_t hash_mix(uint64_t a, uint64_t b)
{
    unsigned __int128 m = (unsigned __int128)(a ^ 0x9E3779B97F4A7C15u) * (b ^ 0xD6E8FEB86659FD93u);
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint64_t hash_bytes(uint64_t key, const char *s, size_t n)
{
    uint64_t h = key ^ n, w;
    for (; n > 8; s += 8, n -= 8) {
        memcpy(&w, s, 8);
        h = hash_mix(h, w);
    }
    w = 0;
    if (n)
        memcpy(&w, s, n);
    return hash_mix(h, w);
}

#endif
