/* GPT-2's alphabet for bytes: the printable bytes of Latin-1 stand for themselves, the other 68 for U+0100
 * onwards, so that a vocabulary of byte strings can be written as text (openai/gpt-2, encoder.py,
 * bytes_to_unicode). */
#ifndef GYEOL_TEXT_BYTE_LEVEL_H
#define GYEOL_TEXT_BYTE_LEVEL_H

#include "base/buf.h"

#include <stdint.h>

static inline uint32_t byte_level_char(unsigned char b)
{
    if (b <= 32)
        return 256u + b;
    if (b >= 127 && b <= 160)
        return 256u + 33 + (b - 127u);
    return b == 173 ? 256u + 67 : b;
}

/* The byte a character stands for, or -1. */
static inline int byte_level_byte(uint32_t c)
{
    if (c >= 256 && c < 256 + 68)
        return c < 256 + 33 ? (int)c - 256 : c < 256 + 67 ? (int)c - 256 - 33 + 127 : 173;
    return c <= 32 || (c >= 127 && c <= 160) || c == 173 || c > 255 ? -1 : (int)c;
}

/* Appends the UTF-8 of the characters of n bytes. */
static inline void byte_level_put(struct buf *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t c = byte_level_char((unsigned char)s[i]);
        char two[2] = {(char)(0xC0 | c >> 6), (char)(0x80 | (c & 0x3F))};
        if (c < 0x80)
            two[0] = (char)c;
        buf_add(out, two, c < 0x80 ? 1 : 2);
    }
}

#endif
