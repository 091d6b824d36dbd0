/* Alignment of a normalised text with what it was made from: exact where Unicode says the texts are
 * equivalent, in order and covering everything whatever they are. */
#include "testing.h"

#include "text/align.h"

struct ranges {
    uint32_t begin[256], end[256];
};

static struct ranges align(const char *made, const char *source)
{
    struct ranges r;
    struct arena a = {0};
    ok(align_texts(made, strlen(made), source, strlen(source), r.begin, r.end, &a, &error));
    arena_deinit(&a);
    return r;
}

#define RANGE(r, byte, from, to)                                                                             \
    do {                                                                                                     \
        assert_int_equal((r).begin[byte], from);                                                             \
        assert_int_equal((r).end[byte], to);                                                                 \
    } while (0)

static void equal_texts(void **state)
{
    (void)state;
    struct ranges r = align("a가b", "a가b");
    RANGE(r, 0, 0, 1);
    RANGE(r, 1, 1, 4);
    RANGE(r, 3, 1, 4);
    RANGE(r, 4, 4, 5);
}

/* U+1100 U+1161 is U+AC00, e U+0301 is U+00E9: six bytes and three for three and two. */
static void decomposed_source(void **state)
{
    (void)state;
    struct ranges r = align("가é!", "\xE1\x84\x80\xE1\x85\xA1"
                                    "e\xCC\x81!");
    RANGE(r, 0, 0, 6);
    RANGE(r, 2, 0, 6);
    RANGE(r, 3, 6, 9);
    RANGE(r, 4, 6, 9);
    RANGE(r, 5, 9, 10);
}

static void compatibility_forms(void **state)
{
    (void)state;
    struct ranges r = align("[A]가", "［Ａ］가");
    RANGE(r, 0, 0, 3);
    RANGE(r, 1, 3, 6);
    RANGE(r, 3, 9, 12);
    r = align("kg씩 두 번", "㎏씩 두 번"); /* one character became two */
    RANGE(r, 0, 0, 3);
    RANGE(r, 1, 0, 3);
    RANGE(r, 2, 3, 6);
}

static void put_in_and_left_out(void **state)
{
    (void)state;
    struct ranges r = align(" 안녕", "안녕"); /* a dummy prefix stands for nothing */
    RANGE(r, 0, 0, 0);
    RANGE(r, 1, 0, 3);
    r = align("ab cd", "  ab    cd  "); /* extra white space is taken away */
    RANGE(r, 0, 0, 3);
    RANGE(r, 1, 3, 4);
    assert_int_equal(r.end[4], 12);
    r = align("가나다", "가\xE2\x80\x8B나다"); /* a zero-width space goes with what stands before it */
    RANGE(r, 0, 0, 6);
    RANGE(r, 3, 6, 9);
}

static void a_broken_text_stands_for_all(void **state)
{
    (void)state;
    struct ranges r = align("a\xEA\xB0", "a가");
    RANGE(r, 0, 0, 4);
    RANGE(r, 2, 0, 4);
}

static void in_order_and_complete(void **state)
{
    (void)state;
    static const char *const part[] = {"가",        "나",
                                       "a",         "b",
                                       " ",         "😀",
                                       "e\xCC\x81", "\xE1\x84\x80\xE1\x85\xA1",
                                       "é",         "#",
                                       "＃",        "\r",
                                       "\n",        "👨‍👩‍👧",
                                       "㎏",        "\xE2\x80\x8B"};
    struct rng g = seeded();
    for (int round = 0; round < 20000; round++) {
        char made[200] = "", source[200] = "";
        size_t kinds = sizeof part / sizeof *part;
        for (size_t k = rng_below(&g, 10); k; k--) {
            const char *s = part[rng_below(&g, kinds)];
            if (rng_below(&g, 6))
                strncat(made, rng_below(&g, 6) ? s : part[rng_below(&g, kinds)], 20);
            if (rng_below(&g, 6))
                strncat(source, s, 20);
        }
        struct ranges r = align(made, source);
        size_t n = strlen(made), from = 0, covered = 0;
        for (size_t i = 0; i < n; i++) {
            assert_true(r.begin[i] >= from && r.begin[i] <= r.end[i] && r.end[i] <= strlen(source));
            assert_true(r.begin[i] <= covered);
            assert_true((source[r.begin[i]] & 0xC0) != 0x80 && (source[r.end[i]] & 0xC0) != 0x80);
            from = r.begin[i];
            if (r.end[i] > covered)
                covered = r.end[i];
        }
        assert_true(!n || covered == strlen(source));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_texts),           cmocka_unit_test(decomposed_source),
        cmocka_unit_test(compatibility_forms),   cmocka_unit_test(put_in_and_left_out),
        cmocka_unit_test(in_order_and_complete), cmocka_unit_test(a_broken_text_stands_for_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
