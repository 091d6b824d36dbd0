#include "text/utf8.h"

#include <stdlib.h>
#include <utf8proc.h>

bool utf8_valid(const char *s, size_t n, size_t *bad)
{
    const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)s;
    size_t i = 0;
    while (i < n) {
        utf8proc_int32_t code;
        if (p[i] < 0x80) {
            i++;
            continue;
        }
        size_t room = n - i < 4 ? n - i : 4;
        utf8proc_ssize_t k = utf8proc_iterate(p + i, (utf8proc_ssize_t)room, &code);
        if (k <= 0) {
            if (bad)
                *bad = i;
            return false;
        }
        i += (size_t)k;
    }
    return true;
}

/* Canonical ordering costs the square of a cluster's marks. UAX #15's Stream-Safe Text Format knows no more
 * than 30 in a row; a longer cluster is composed in pieces. */
enum { CLUSTER_MAX = 32 };

/* Ranges in which every code point is its own grapheme cluster under NFC next to others of these ranges:
 * ASCII without carriage return, compatibility jamo, Hangul syllables, kana, unified ideographs, general
 * punctuation without joiners.
 */
static bool is_plain(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } plain[] = {{0x00, 0x0C},     {0x0E, 0x7F},     {0xAC00, 0xD7A3}, {0x3131, 0x318E}, {0x2010, 0x2027},
                 {0x3001, 0x3029}, {0x3041, 0x3096}, {0x30A1, 0x30FA}, {0x4E00, 0x9FFF}};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (c >= plain[i].first && c <= plain[i].last)
            return true;
    return false;
}

static int compose_cluster(const char *s, uint32_t begin, uint32_t end, struct utf8_unit *out)
{
    utf8proc_uint8_t *nfc = NULL;
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)s + begin, (utf8proc_ssize_t)(end - begin),
                                      &nfc, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n < 0)
        return -1;
    int units = 0;
    for (utf8proc_ssize_t i = 0; i < n; units++) {
        utf8proc_int32_t code;
        i += utf8proc_iterate(nfc + i, n - i, &code);
        out[units] = (struct utf8_unit){(uint32_t)code, begin, end};
    }
    free(nfc);
    return units;
}

static size_t decode(const char *s, size_t n, struct utf8_unit *u, bool *plain)
{
    size_t k = 0;
    *plain = true;
    for (size_t i = 0; i < n; k++) {
        utf8proc_int32_t code;
        utf8proc_ssize_t w =
            utf8proc_iterate((const utf8proc_uint8_t *)s + i, (utf8proc_ssize_t)(n - i), &code);
        if (w <= 0) /* only if the caller did not validate */
            w = 1, code = 0xFFFD;
        u[k] = (struct utf8_unit){(uint32_t)code, (uint32_t)i, (uint32_t)(i + (size_t)w)};
        *plain &= is_plain((uint32_t)code);
        i += (size_t)w;
    }
    return k;
}

int utf8_nfc(const char *s, size_t n, struct arena *a, struct utf8_unit **out, size_t *count, struct err *e)
{
    if (n > UINT32_MAX / 4)
        return err_set(e, ERR_LIMIT, "text of %zu bytes: at most %u", n, UINT32_MAX / 4);
    /* NFC of a code point is at most three code points (U+1D160 and its like), each at most 4 bytes. */
    struct utf8_unit *raw = arena_alloc(a, n + 1, sizeof *raw);
    if (!raw)
        return err_set(e, ERR_MEMORY, "out of memory for a text of %zu bytes", n);
    bool plain;
    size_t k = decode(s, n, raw, &plain);
    *out = raw;
    *count = k;
    if (plain)
        return 0;
    struct utf8_unit *nfc = arena_alloc(a, 3 * k + 1, sizeof *nfc);
    if (!nfc)
        return err_set(e, ERR_MEMORY, "out of memory for a text of %zu bytes", n);
    size_t m = 0;
    for (size_t i = 0; i < k;) {
        utf8proc_int32_t state = 0;
        size_t j = i + 1;
        while (j < k && j - i < CLUSTER_MAX &&
               !utf8proc_grapheme_break_stateful((utf8proc_int32_t)raw[j - 1].code,
                                                 (utf8proc_int32_t)raw[j].code, &state))
            j++;
        int w = j == i + 1 && is_plain(raw[i].code)
                    ? (nfc[m] = raw[i], 1)
                    : compose_cluster(s, raw[i].begin, raw[j - 1].end, nfc + m);
        if (w < 0)
            return err_set(e, ERR_MEMORY, "out of memory for a text of %zu bytes", n);
        m += (size_t)w;
        i = j;
    }
    *out = nfc;
    *count = m;
    return 0;
}

bool utf8_is_space(uint32_t c)
{
    if (c <= 0x20 || c == 0x7F || c == 0x85 || c == 0xFEFF || c == 0x200B)
        return true;
    if (c < 0x80)
        return false;
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_ZS || k == UTF8PROC_CATEGORY_ZL || k == UTF8PROC_CATEGORY_ZP ||
           k == UTF8PROC_CATEGORY_CC;
}

size_t utf8_put(char *out, uint32_t code)
{
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)code, (utf8proc_uint8_t *)out);
}
