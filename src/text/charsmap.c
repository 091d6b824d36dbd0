#include "text/charsmap.h"

#include <stdbool.h>
#include <string.h>

static uint32_t u32(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int charsmap_init(struct charsmap *m, const char *bytes, size_t n, struct err *e)
{
    const unsigned char *p = (const unsigned char *)bytes;
    *m = (struct charsmap){0};
    if (n == 0)
        return 0;
    if (n < 4)
        return err_set(e, ERR_FORMAT, "precompiled_charsmap: %zu bytes, want at least 4", n);
    size_t size = u32(p);
    if (size > n - 4 || size % 4 != 0)
        return err_set(e, ERR_FORMAT,
                       "precompiled_charsmap: trie of %zu bytes in %zu, want a multiple of 4 within", size,
                       n - 4);
    if (n - 4 - size > 0 && bytes[n - 1] != 0)
        return err_set(e, ERR_FORMAT, "precompiled_charsmap: the last replacement does not end in NUL");
    *m = (struct charsmap){p + 4, size / 4, bytes + 4 + size, n - 4 - size};
    return 0;
}

/* Darts-clone's units (github.com/s-yata/darts-clone): bit 8 has a leaf; bits 0-7 and 31 the label; bits
 * 10-30 the offset, in steps of 256 if bit 9 is set; a leaf's bits 0-30 are its value. */
static uint32_t offset_of(uint32_t unit)
{
    return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}

static bool unit_at(const struct charsmap *m, uint32_t i, uint32_t *unit)
{
    if (i >= m->units)
        return false;
    *unit = u32(m->unit + 4 * (size_t)i);
    return true;
}

size_t charsmap_find(const struct charsmap *m, enum charsmap_choice choice, const char *s, size_t n,
                     const char **out, size_t *out_n)
{
    uint32_t node, unit, leaf;
    size_t length = 0;
    if (!unit_at(m, 0, &unit))
        return 0;
    node = offset_of(unit);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == 0 && choice == CHARSMAP_SHORTEST) /* where the library's search ends */
            break;
        node ^= c;
        if (!unit_at(m, node, &unit) || (unit & (1u << 31 | 0xFF)) != c)
            break;
        node ^= offset_of(unit);
        if (!(unit >> 8 & 1))
            continue;
        if (!unit_at(m, node, &leaf) || (leaf & 0x7FFFFFFF) >= m->bytes)
            break;
        *out = m->replacement + (leaf & 0x7FFFFFFF);
        length = i + 1;
        if (choice == CHARSMAP_SHORTEST)
            break;
    }
    if (length)
        *out_n = strlen(*out); /* the last string ends in NUL: checked at init */
    return length;
}
