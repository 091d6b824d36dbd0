/* text/: UTF-8 validity against Unicode's table 3-7, and normalisation against utf8proc on the whole string.
 */
#include "base/rng.h"
#include "base/size.h"
#include "text/utf8.h"

#include <utf8proc.h>

#include "testing.h"

/* ---- validity ---- */

enum { FINE = -1 };

struct sample {
    const char *bytes;
    size_t n;
    int bad; /* offset of the first bad byte, or FINE */
};

#define S(literal, bad)                                                                                      \
    {                                                                                                        \
        literal, sizeof literal - 1, bad                                                                     \
    }

static const struct sample samples[] = {
    S("", FINE),
    S("plain", FINE),
    S("a\0b", FINE),
    S("\x7F", FINE),
    S("가나다", FINE),
    /* the ends of every row of table 3-7 */
    S("\xC2\x80", FINE),
    S("\xDF\xBF", FINE),
    S("\xE0\xA0\x80", FINE),
    S("\xE1\x80\x80", FINE),
    S("\xEC\xBF\xBF", FINE),
    S("\xED\x9F\xBF", FINE),
    S("\xEE\x80\x80", FINE),
    S("\xEF\xBF\xBF", FINE), /* U+FFFF, a noncharacter, is well-formed */
    S("\xEF\xB7\x90", FINE), /* U+FDD0, another */
    S("\xF0\x90\x80\x80", FINE),
    S("\xF1\x80\x80\x80", FINE),
    S("\xF3\xBF\xBF\xBF", FINE),
    S("\xF4\x8F\xBF\xBF", FINE), /* U+10FFFF */
    /* just outside them */
    S("\xF4\x90\x80\x80", 0), /* U+110000 */
    S("ab\xF4\x90\x80\x80", 2),
    S("\xF5\x80\x80\x80", 0),
    S("\xED\xA0\x80", 0),               /* U+D800 */
    S("\xED\xBF\xBF", 0),               /* U+DFFF */
    S("가\xED\xA0\xBD\xED\xB8\x80", 3), /* CESU-8 of an emoji */
    /* overlong */
    S("\xC0\x80", 0),
    S("\xC0\xAF", 0),
    S("\xC1\xBF", 0),
    S("x\xE0\x80\xAF", 1),
    S("\xE0\x9F\xBF", 0),
    S("\xF0\x80\x80\xAF", 0),
    S("\xF0\x8F\xBF\xBF", 0),
    /* five and six bytes, and bytes that never occur */
    S("\xF8\x88\x80\x80\x80", 0),
    S("abc\xFC\x84\x80\x80\x80\x80", 3),
    S("\xFE", 0),
    S("a\xFF", 1),
    /* lone continuation bytes */
    S("\x80", 0),
    S("가\xBF", 3),
    S("\xEA\xB0\x80\x80", 3),
    /* cut short, at the end and before another character */
    S("\xC3", 0),
    S("ab\xEA\xB0", 2),
    S("ab\xEA", 2),
    S("\xF0\x9F\x98", 0),
    S("\xF0\x9F", 0),
    S("\xF0", 0),
    S("\xEA\xB0z", 0),
    S("z\xF0\x9F\x98z", 1),
    S("\xC3\xC3\xA9", 0),
    S("\xEA\xEA\xB0\x80", 0),
};

/* In a block of exactly n bytes, so that reading past them is an error the sanitizer sees. */
static void check_sample(const struct sample *x, size_t i)
{
    char *copy = malloc(x->n ? x->n : 1);
    memcpy(copy, x->bytes, x->n);
    size_t bad = 999;
    bool valid = utf8_valid(copy, x->n, &bad);
    if (valid != (x->bad == FINE))
        fail_msg("sample %zu is called %s", i, valid ? "valid" : "bad");
    if (!valid && bad != (size_t)x->bad)
        fail_msg("sample %zu: bad at %zu, want %d", i, bad, x->bad);
    assert_int_equal(utf8_valid(copy, x->n, NULL), valid);
    free(copy);
}

static void test_valid_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(samples); i++)
        check_sample(&samples[i], i);
}

/* Table 3-7 as it is printed: first byte, range of the second; the others are 80..BF. Returns the length of
 * the well-formed character at s, or 0. */
static size_t by_table(const unsigned char *s, size_t n)
{
    static const unsigned char row[][5] = {
        {0x00, 0x7F, 1, 0, 0},       {0xC2, 0xDF, 2, 0x80, 0xBF}, {0xE0, 0xE0, 3, 0xA0, 0xBF},
        {0xE1, 0xEC, 3, 0x80, 0xBF}, {0xED, 0xED, 3, 0x80, 0x9F}, {0xEE, 0xEF, 3, 0x80, 0xBF},
        {0xF0, 0xF0, 4, 0x90, 0xBF}, {0xF1, 0xF3, 4, 0x80, 0xBF}, {0xF4, 0xF4, 4, 0x80, 0x8F},
    };
    for (size_t r = 0; r < COUNT_OF(row); r++) {
        size_t width = row[r][2];
        if (s[0] < row[r][0] || s[0] > row[r][1])
            continue;
        if (width > n || (width > 1 && (s[1] < row[r][3] || s[1] > row[r][4])))
            return 0;
        for (size_t k = 2; k < width; k++)
            if (s[k] < 0x80 || s[k] > 0xBF)
                return 0;
        return width;
    }
    return 0;
}

static void test_valid_agrees_with_the_table_on_random_bytes(void **state)
{
    (void)state;
    static const unsigned char edge[] = {0x00, 'a',  0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0,
                                         0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC,
                                         0xED, 0xEE, 0xEF, 0xF0, 0xF3, 0xF4, 0xF5, 0xFF};
    struct rng r = seeded();
    size_t valid = 0, invalid = 0;
    for (int i = 0; i < 300000; i++) {
        unsigned char s[6];
        size_t n = 1 + rng_below(&r, sizeof s), at = 0, w, bad = 999;
        for (size_t k = 0; k < n; k++)
            s[k] = rng_below(&r, 4) ? edge[rng_below(&r, COUNT_OF(edge))] : (unsigned char)rng_below(&r, 256);
        while (at < n && (w = by_table(s + at, n - at)) > 0)
            at += w;
        if (utf8_valid((char *)s, n, &bad) != (at == n) || (at < n && bad != at))
            fail_msg("%02x %02x %02x %02x %02x %02x, %zu of them: bad at %zu, want %zu", s[0], s[1], s[2],
                     s[3], s[4], s[5], n, bad, at);
        at == n ? valid++ : invalid++;
    }
    assert_true(valid > 1000 && invalid > 1000);
}

static void test_every_code_point_survives_put(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c <= 0xDFFF)
            continue;
        char s[4];
        size_t n = utf8_put(s, c), width = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        uint32_t back = n == 1 ? (uint32_t)s[0] : (unsigned char)s[0] & (0x7Fu >> n);
        for (size_t k = 1; k < n; k++)
            back = back << 6 | ((unsigned char)s[k] & 0x3F);
        if (n != width || back != c || !utf8_valid(s, n, NULL))
            fail_msg("U+%04X is written as %zu bytes", c, n);
    }
}

static void test_space(void **state)
{
    (void)state;
    /* White_Space of Unicode's PropList.txt, and what utf8.h adds to it. */
    static const uint32_t space[] = {0,      1,      '\t',   '\n',   '\r',   0x1F,   ' ',
                                     0x85,   0xA0,   0x1680, 0x2000, 0x200A, 0x2028, 0x2029,
                                     0x202F, 0x205F, 0x3000, 0xFEFF, 0x200B};
    static const uint32_t other[] = {'!', 'a', '0', 0xAD, 0x200D, 0x2010, 0x3001, 0x3164, 0xAC00, 0x1F600};
    for (size_t i = 0; i < COUNT_OF(space); i++)
        if (!utf8_is_space(space[i]))
            fail_msg("U+%04X is not called a space", space[i]);
    for (size_t i = 0; i < COUNT_OF(other); i++)
        if (utf8_is_space(other[i]))
            fail_msg("U+%04X is called a space", other[i]);
}

/* ---- normalisation ---- */

static void describe(char *out, size_t room, const char *s, size_t n)
{
    size_t at = 0;
    out[0] = 0;
    for (size_t i = 0; i < n && at + 12 < room;) {
        utf8proc_int32_t code;
        i += (size_t)utf8proc_iterate((const utf8proc_uint8_t *)s + i, (utf8proc_ssize_t)(n - i), &code);
        at += (size_t)snprintf(out + at, room - at, "U+%04X ", (unsigned)code);
    }
}

static void check_ranges(const char *s, size_t n, const struct utf8_unit *u, size_t count)
{
    uint32_t end = 0;
    for (size_t i = 0; i < count; i++) {
        bool same = i > 0 && u[i].begin == u[i - 1].begin && u[i].end == u[i - 1].end;
        if (!same && u[i].begin != end)
            fail_msg("unit %zu begins at byte %u, the one before ends at %u", i, u[i].begin, end);
        if (u[i].begin >= u[i].end || u[i].end > n)
            fail_msg("unit %zu: bytes %u to %u of %zu", i, u[i].begin, u[i].end, n);
        if ((s[u[i].begin] & 0xC0) == 0x80 || (u[i].end < n && (s[u[i].end] & 0xC0) == 0x80))
            fail_msg("unit %zu: bytes %u to %u cut a character", i, u[i].begin, u[i].end);
        end = u[i].end;
    }
    assert_int_equal(end, n); /* every byte belongs to a unit */
}

static void check_nfc(const char *s, size_t n)
{
    struct arena a = {0};
    struct utf8_unit *u;
    size_t count, got_n = 0;
    utf8proc_uint8_t *want;
    utf8proc_ssize_t want_n = utf8proc_map((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &want,
                                           UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    assert_true(want_n >= 0);
    assert_int_equal(utf8_nfc(s, n, &a, &u, &count, &error), 0);
    char *got = arena_alloc(&a, count + 1, 4);
    for (size_t i = 0; i < count; i++)
        got_n += utf8_put(got + got_n, u[i].code);
    if (got_n != (size_t)want_n || memcmp(got, want, got_n) != 0) {
        char text[3][400];
        describe(text[0], 400, s, n);
        describe(text[1], 400, got, got_n);
        describe(text[2], 400, (const char *)want, (size_t)want_n);
        fail_msg("%s: gives %s, utf8proc %s", text[0], text[1], text[2]);
    }
    check_ranges(s, n, u, count);
    free(want);
    arena_deinit(&a);
}

/* Ranges to draw from; the first is drawn within every kind to mix them. */
static const uint32_t ranges[][2] = {
    {0x00, 0x7F},       {0x1100, 0x1112},   {0x1161, 0x1175},   {0x11A7, 0x11C2},   {0xAC00, 0xD7A3},
    {0x1113, 0x115F},   {0x1176, 0x11A6},   {0x11C3, 0x11FF},   {0xA960, 0xA97C},   {0xD7B0, 0xD7FB},
    {0x3131, 0x318E},   {0xC0, 0x24F},      {0x0300, 0x036F},   {0x1E00, 0x1FFE},   {0x3041, 0x309F},
    {0x30A1, 0x30FF},   {0x3099, 0x309C},   {0xFF61, 0xFF9F},   {0x1F600, 0x1F64F}, {0x1F468, 0x1F469},
    {0x1F3FB, 0x1F3FF}, {0x1F1E6, 0x1F1FF}, {0x200B, 0x200F},   {0x20D0, 0x20F0},   {0xFE0E, 0xFE0F},
    {0x2010, 0x2027},   {0x3001, 0x302F},   {0x4E00, 0x9FFF},   {0xF900, 0xFAD9},   {0x0F71, 0x0F84},
    {0x09BC, 0x09D7},   {0x0DCF, 0x0DDF},   {0x1D158, 0x1D172}, {0xFB1D, 0xFB4E},   {0x0590, 0x05C7},
    {0x0600, 0x0605},   {0x0BC6, 0x0BD7},   {0x110A5, 0x110BD}, {0x2126, 0x212B},   {0x0E31, 0x0ECD},
};

static uint32_t draw(struct rng *r, size_t kind)
{
    uint32_t first = ranges[kind][0], last = ranges[kind][1];
    return first + (uint32_t)rng_below(r, last - first + 1);
}

/* Code points of `kinds` few ranges, so that neighbours often interact. */
static size_t random_string(struct rng *r, char *out, size_t chars)
{
    size_t n = 0, kind[4];
    for (int i = 0; i < 4; i++)
        kind[i] = rng_below(r, COUNT_OF(ranges));
    for (size_t i = 0; i < chars; i++)
        n += utf8_put(out + n, draw(r, kind[rng_below(r, 4)]));
    return n;
}

static void test_nfc_equals_utf8proc_on_random_strings(void **state)
{
    (void)state;
    struct rng r = seeded();
    for (int i = 0; i < 60000; i++) {
        char s[4 * 24];
        size_t n = random_string(&r, s, rng_below(&r, 25));
        check_nfc(s, n);
    }
}

/* Korean as people type it: syllables decomposed or not, jamo, spaces, emoji. */
static void test_nfc_equals_utf8proc_on_korean(void **state)
{
    (void)state;
    static const size_t kind[] = {0, 1, 2, 3, 4, 4, 4, 10, 12, 18, 22};
    struct rng r = seeded();
    for (int i = 0; i < 20000; i++) {
        char s[4 * 60];
        size_t n = 0;
        for (size_t k = rng_below(&r, 60); k > 0; k--)
            n += utf8_put(s + n, draw(&r, kind[rng_below(&r, COUNT_OF(kind))]));
        check_nfc(s, n);
    }
}

/* Every pair of a base and a following character that canonically composes, or blocks, lies in one cluster:
 * all code points that utf8proc calls combining, and the vowels and finals of Hangul, after several bases. */
static void test_nfc_of_every_code_point_after_a_base(void **state)
{
    (void)state;
    static const uint32_t base[] = {'a',    '\n',   0x1100, 0xAC00,  0xAC01,
                                    0x304B, 0x09C7, 0x0DD9, 0x1F468, 0x0600};
    for (uint32_t c = 1; c < 0x20000; c++) {
        if (c >= 0xD800 && c <= 0xDFFF)
            continue;
        char s[16];
        size_t n = utf8_put(s, base[c % COUNT_OF(base)]);
        n += utf8_put(s + n, c);
        n += utf8_put(s + n, 0x0301);
        check_nfc(s, n);
        check_nfc(s, n - 2);
    }
}

/* Every composition of Unicode: what utf8proc decomposes must come back together across all clusters. */
static void test_nfc_undoes_nfd_of_every_code_point(void **state)
{
    (void)state;
    size_t decomposed = 0;
    for (uint32_t c = 1; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c <= 0xDFFF)
            continue;
        char s[4];
        size_t n = utf8_put(s, c);
        utf8proc_uint8_t *nfd;
        utf8proc_ssize_t w = utf8proc_map((utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &nfd,
                                          UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
        if ((size_t)w != n || memcmp(nfd, s, n) != 0) {
            check_nfc((char *)nfd, (size_t)w);
            check_nfc(s, n);
            decomposed++;
        }
        free(nfd);
    }
    assert_in_range(decomposed, 11172 + 2000, 20000); /* the syllables and UnicodeData's canonical mappings */
}

static void test_units_of_a_known_text(void **state)
{
    (void)state;
    /* 한 in three jamo (9 bytes), a space, e with acute accent (3 bytes), 가 (3 bytes), U+1D15E (4 bytes, of
     * which NFC is two code points). */
    static const char s[] = "\u1112\u1161\u11AB e\u0301가\U0001D15E";
    static const struct utf8_unit want[] = {{0xD55C, 0, 9},   {' ', 9, 10},      {0xE9, 10, 13},
                                            {0xAC00, 13, 16}, {0x1D157, 16, 20}, {0x1D165, 16, 20}};
    struct arena a = {0};
    struct utf8_unit *u;
    size_t n;
    assert_int_equal(utf8_nfc(s, sizeof s - 1, &a, &u, &n, &error), 0);
    assert_int_equal(n, COUNT_OF(want));
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(u[i].code, want[i].code);
        assert_int_equal(u[i].begin, want[i].begin);
        assert_int_equal(u[i].end, want[i].end);
    }
    assert_int_equal(utf8_nfc("", 0, &a, &u, &n, &error), 0);
    assert_int_equal(n, 0);
    assert_int_equal(utf8_nfc(s, (size_t)1 << 31, &a, &u, &n, &error), ERR_LIMIT);
    arena_deinit(&a);
}

#define T(f) cmocka_unit_test(f)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_valid_table),
        T(test_valid_agrees_with_the_table_on_random_bytes),
        T(test_every_code_point_survives_put),
        T(test_space),
        T(test_units_of_a_known_text),
        T(test_nfc_equals_utf8proc_on_random_strings),
        T(test_nfc_equals_utf8proc_on_korean),
        T(test_nfc_of_every_code_point_after_a_base),
        T(test_nfc_undoes_nfd_of_every_code_point),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
