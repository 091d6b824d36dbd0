#include "base/rng.h"
#include "base/size.h"
#include "data/check.h"
#include "data/near.h"
#include "data/split.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static uint64_t seed;

/* ---- helpers ---- */

enum { MANY = 250 };

static struct near_text fold(const char *s, struct arena *a)
{
    struct near_text t = {0};
    struct err e = {0};
    if (near_fold(&t, s, a, &e))
        fail_msg("%s", e.msg);
    return t;
}

/* Posts on lines 2, 3, ... */
static struct labelled_posts posts_of(struct labelled_post *row, size_t n)
{
    for (size_t i = 0; i < n; i++)
        row[i].line = i + 2;
    return (struct labelled_posts){.row = row, .n = n};
}

static void run_check(struct check_report *r, const struct labelled_posts *posts, size_t n)
{
    static const char *const names[] = {"train", "dev", "test"};
    struct err e = {0};
    if (check_posts(r, posts, names, n, &e))
        fail_msg("%s", e.msg);
}

static void expect_counts(const struct check_report *r, const size_t want[CHECK_KINDS])
{
    for (int k = 0; k < CHECK_KINDS; k++) {
        if (r->count[k] != want[k])
            fail_msg("%s: %zu findings, want %zu", check_kind_name[k], r->count[k], want[k]);
        assert_int_equal(r->stored[k], want[k] < CHECK_STORED ? want[k] : CHECK_STORED);
    }
}

static void expect_place(struct check_place p, uint32_t file, size_t line)
{
    assert_int_equal(p.file, file);
    assert_int_equal(p.line, line);
}

/* ---- near-duplicate search against all pairs ---- */

/* One of few syllables, so that sets overlap by chance too. */
static size_t random_char(char *out, struct rng *r, size_t letters)
{
    static const char *const all[] = {"가", "a", "나", " ", "b", "😀", "다", "라", "é", "c"};
    const char *s = all[rng_below(r, letters)];
    memcpy(out, s, strlen(s));
    return strlen(s);
}

/* Afresh, a copy of an earlier text, or a copy with some characters left out, put in or said again. */
static char *random_text(struct rng *r, char *const *earlier, size_t n)
{
    char *s = calloc(1, 1024);
    assert_non_null(s);
    size_t len = 0, letters = 3 + rng_below(r, 8), want = rng_below(r, 40), how = rng_below(r, 4);
    if (n == 0 || how == 0) {
        for (size_t i = 0; i < want; i++)
            len += random_char(s + len, r, letters);
        return s;
    }
    const char *from = earlier[rng_below(r, n)];
    for (const char *p = from; *p && len < 1000; p++) {
        bool lead = (*p & 0xC0) != 0x80;
        if (lead && how > 1 && rng_below(r, 12) == 0)
            len += random_char(s + len, r, letters);
        if (lead && (unsigned char)*p < 0x80 && how > 1 && rng_below(r, 6) == 0)
            continue;
        s[len++] = *p;
    }
    return s;
}

static bool trigram_in(const uint32_t *t, const struct near_text *x, size_t end)
{
    for (size_t i = 0; i < end; i++)
        if (memcmp(t, x->code + i, 3 * sizeof *t) == 0)
            return true;
    return false;
}

static double jaccard(const struct near_text *x, const struct near_text *y)
{
    if (x->n < 3 || y->n < 3)
        return x->n == y->n && memcmp(x->code, y->code, x->n * sizeof *x->code) == 0;
    size_t shared = 0, all = 0;
    for (size_t i = 0; i + 2 < x->n; i++)
        if (!trigram_in(x->code + i, x, i)) {
            all++;
            shared += trigram_in(x->code + i, y, y->n - 2);
        }
    for (size_t i = 0; i + 2 < y->n; i++)
        all += !trigram_in(y->code + i, y, i) && !trigram_in(y->code + i, x, x->n - 2);
    return (double)shared / (double)all;
}

struct found {
    double similarity[MANY][MANY];
    size_t n;
};

static void note(void *context, uint32_t a, uint32_t b, double similarity)
{
    struct found *f = context;
    assert_true(a < b && b < MANY);
    assert_true(f->similarity[a][b] == 0); /* told once */
    f->similarity[a][b] = similarity;
    f->n++;
}

static size_t compare_all(const struct near_text *text, size_t n, double t)
{
    struct found *f = calloc(1, sizeof *f);
    struct err e = {0};
    assert_non_null(f);
    if (near_pairs(text, n, t, note, f, &e))
        fail_msg("%s", e.msg);
    size_t want = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++) {
            double s = jaccard(&text[i], &text[j]);
            if (f->similarity[i][j] != (s >= t ? s : 0))
                fail_msg("\"%s\" and \"%s\" at %g: %g, want %g", text[i].s, text[j].s, t, f->similarity[i][j],
                         s);
            want += s >= t;
        }
    assert_int_equal(f->n, want);
    free(f);
    return want;
}

static void test_pairs_like_all_pairs(void **state)
{
    (void)state;
    static const double thresholds[] = {0.4, 0.7, 1.0, 0.05, 0.5};
    struct rng r = {seed};
    for (int round = 0; round < 5; round++) {
        struct arena a = {0};
        struct near_text text[MANY];
        char *s[MANY];
        size_t n = MANY - rng_below(&r, 100);
        for (size_t i = 0; i < n; i++) {
            s[i] = random_text(&r, s, i);
            text[i] = fold(s[i], &a);
        }
        for (size_t k = 0; k < COUNT_OF(thresholds); k++)
            assert_true(compare_all(text, n, thresholds[k]) > 0);
        for (size_t i = 0; i < n; i++)
            free(s[i]);
        arena_deinit(&a);
    }
}

/* 7 of 10 trigrams is 0.7 and in; 9 of 13 is less and out. */
static void test_pairs_at_the_border(void **state)
{
    (void)state;
    struct arena a = {0};
    struct near_text in[] = {fold("abcdefghijkl", &a), fold("abcdefghi", &a)};
    struct near_text out[] = {fold("abcdefghijklmno", &a), fold("abcdefghijk", &a)};
    struct near_text small[] = {fold("", &a), fold(" ", &a), fold("ab", &a), fold("ab ", &a), fold("ba", &a)};
    assert_int_equal(compare_all(in, 2, 0.7), 1);
    assert_int_equal(compare_all(out, 2, 0.7), 0);
    assert_int_equal(compare_all(small, COUNT_OF(small), 0.7), 2);
    assert_int_equal(compare_all(small, COUNT_OF(small), 1), 2);
    assert_int_equal(compare_all(small, 1, 1), 0);
    assert_int_equal(compare_all(small, 0, 1), 0);
    arena_deinit(&a);
}

static void test_pairs_bad_threshold(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(near_pairs(NULL, 0, 0, note, NULL, &e), ERR_USAGE);
    assert_int_equal(near_pairs(NULL, 0, 1.01, note, NULL, &e), ERR_USAGE);
    assert_string_equal(e.msg, "similarity threshold 1.01: want above 0, at most 1");
}

static void test_fold(void **state)
{
    (void)state;
    struct arena a = {0};
    struct near_text t = fold(" \t가\u3000 \n나\u200B다\u00A0", &a);
    assert_string_equal(t.s, "가 나 다");
    assert_int_equal(t.len, 11);
    assert_int_equal(t.n, 5);
    assert_string_equal(fold("\u1112\u1161\u11AB", &a).s, "한");
    assert_string_equal(fold("", &a).s, "");
    assert_string_equal(fold("\n ", &a).s, "");
    arena_deinit(&a);
}

/* ---- check: counts and rows told twice ---- */

static void test_labels(void **state)
{
    (void)state;
    struct labelled_post a[] = {{.text = "하나", .label = {1, -1, 0, LABEL_UNKNOWN}},
                                {.text = "둘째 글", .label = {1, 1, 0, LABEL_UNKNOWN}}};
    struct labelled_post b[] = {{.text = "셋째 이야기", .label = {-1, 0, 0, 1}}};
    struct labelled_posts p[] = {posts_of(a, 2), posts_of(b, 1)};
    p[1].weak = true;
    struct check_report r;
    run_check(&r, p, 2);
    assert_int_equal(r.n_files, 2);
    assert_int_equal(r.rows, 3);
    assert_string_equal(r.file[0].name, "train");
    assert_int_equal(r.file[0].rows, 2);
    assert_int_equal(r.file[0].label[AXIS_EI][CHECK_UP], 2);
    assert_int_equal(r.file[0].label[AXIS_SN][CHECK_UP], 1);
    assert_int_equal(r.file[0].label[AXIS_SN][CHECK_DOWN], 1);
    assert_int_equal(r.file[0].label[AXIS_TF][CHECK_KEEP], 2);
    assert_int_equal(r.file[0].label[AXIS_JP][CHECK_UNKNOWN], 2);
    assert_int_equal(r.file[1].label[AXIS_EI][CHECK_DOWN], 1);
    assert_true(r.file[1].weak && !r.file[0].weak);
    expect_counts(&r, (size_t[CHECK_KINDS]){0});
    check_deinit(&r);
}

static void test_duplicates(void **state)
{
    (void)state;
    struct labelled_post a[] = {{.text = "오늘 친구랑 놀아서 좋았다"},
                                {.text = "혼자 책을 읽으며 쉬었다"},
                                {.text = " 오늘  친구랑\n놀아서 좋았다 "}};
    struct labelled_post b[] = {{.text = "오늘 친구랑 놀아서 좋았다"}, {.text = "혼자 책을 읽으며 쉬었다!"}};
    struct labelled_posts p[] = {posts_of(a, 3), posts_of(b, 2)};
    struct check_report r;
    run_check(&r, p, 2);
    expect_counts(&r, (size_t[CHECK_KINDS]){
                          [CHECK_EXACT_WITHIN] = 1, [CHECK_EXACT_ACROSS] = 1, [CHECK_NEAR_ACROSS] = 1});
    expect_place(r.finding[CHECK_EXACT_WITHIN][0].at, 0, 4);
    expect_place(r.finding[CHECK_EXACT_WITHIN][0].other, 0, 2);
    expect_place(r.finding[CHECK_EXACT_ACROSS][0].at, 1, 2);
    expect_place(r.finding[CHECK_EXACT_ACROSS][0].other, 0, 2);
    assert_true(r.finding[CHECK_EXACT_ACROSS][0].similarity == 1);
    expect_place(r.finding[CHECK_NEAR_ACROSS][0].at, 1, 3);
    expect_place(r.finding[CHECK_NEAR_ACROSS][0].other, 0, 3);
    assert_true(r.finding[CHECK_NEAR_ACROSS][0].similarity == 11.0 / 12);
    assert_null(r.finding[CHECK_NEAR_ACROSS][0].what);
    check_deinit(&r);
}

/* The same set of trigrams is not yet the same text; pairs are told in order of their places. */
static void test_near_within(void **state)
{
    (void)state;
    struct labelled_post a[] = {{.text = "하하하하"},
                                {.text = "산책하고 왔다"},
                                {.text = "하하하"},
                                {.text = "하하"},
                                {.text = "하하하하하"}};
    struct labelled_posts p = posts_of(a, 5);
    struct check_report r;
    run_check(&r, &p, 1);
    expect_counts(&r, (size_t[CHECK_KINDS]){[CHECK_NEAR_WITHIN] = 3});
    expect_place(r.finding[CHECK_NEAR_WITHIN][0].at, 0, 4);
    expect_place(r.finding[CHECK_NEAR_WITHIN][0].other, 0, 2);
    expect_place(r.finding[CHECK_NEAR_WITHIN][1].at, 0, 6);
    expect_place(r.finding[CHECK_NEAR_WITHIN][1].other, 0, 2);
    expect_place(r.finding[CHECK_NEAR_WITHIN][2].other, 0, 4);
    check_deinit(&r);
}

static void test_stored_bound(void **state)
{
    (void)state;
    size_t n = CHECK_STORED + 5;
    struct labelled_post *a = calloc(n, sizeof *a);
    assert_non_null(a);
    for (size_t i = 0; i < n; i++)
        a[i].text = "같은 글";
    struct labelled_posts p = posts_of(a, n);
    struct check_report r;
    run_check(&r, &p, 1);
    expect_counts(&r, (size_t[CHECK_KINDS]){[CHECK_EXACT_WITHIN] = n - 1});
    check_deinit(&r);
    free(a);
}

static void test_nothing(void **state)
{
    (void)state;
    struct check_report r;
    run_check(&r, NULL, 0);
    expect_counts(&r, (size_t[CHECK_KINDS]){0});
    check_deinit(&r);
    struct labelled_posts p = {0};
    run_check(&r, &p, 1);
    expect_counts(&r, (size_t[CHECK_KINDS]){0});
    check_deinit(&r);
}

/* ---- check: phrases and people ---- */

static const char *const own_words[] = {"아침에 커피",   "점심에 산책",   "저녁에 독서",
                                        "밤늦게 영화",   "주말마다 등산", "방학동안 여행",
                                        "퇴근하고 운동", "비오는날 낮잠", "새벽부터 낚시"};

static void expect_phrase(size_t rows, bool found)
{
    struct labelled_post a[9];
    char text[9][256];
    memset(a, 0, sizeof a);
    for (size_t i = 0; i < 9; i++) {
        /* Twice in one row is one row; the three words alone are no finding. */
        bool has = i < rows;
        snprintf(text[i], sizeof text[i], "%s 나는 정말 이렇게%s느꼈다 %s%s", own_words[i],
                 has ? " \n" : " 또 ", own_words[8 - i], has ? " 나는 정말 이렇게 느꼈다" : "");
        a[i].text = text[i];
    }
    struct labelled_posts p[] = {posts_of(a, 5), posts_of(a + 5, 4)};
    struct check_report r;
    run_check(&r, p, 2);
    assert_int_equal(r.count[CHECK_PHRASE], found);
    if (found) {
        const struct check_finding *f = &r.finding[CHECK_PHRASE][0];
        assert_string_equal(f->what, "나는 정말 이렇게 느꼈다");
        assert_int_equal(f->rows, 9);
        expect_place(f->at, 0, 2);
        expect_place(f->other, 0, 3);
    }
    check_deinit(&r);
}

static void test_phrases(void **state)
{
    (void)state;
    expect_phrase(9, true);
    expect_phrase(8, false);
}

static void test_people(void **state)
{
    (void)state;
    struct labelled_post a[] = {{.text = "가나다", .user = "kim"},
                                {.text = "라마바", .user = "lee"},
                                {.text = "사아자"},
                                {.text = "차카타", .user = "kim"},
                                {.text = "파하", .user = " "}};
    struct labelled_post b[] = {{.text = "거너더", .user = "park"},
                                {.text = "러머버", .user = "kim"},
                                {.text = "서어저", .user = " "}};
    struct labelled_posts p[] = {posts_of(a, 5), posts_of(b, 3)};
    struct check_report r;
    run_check(&r, p, 2);
    expect_counts(&r, (size_t[CHECK_KINDS]){[CHECK_PERSON] = 1});
    const struct check_finding *f = &r.finding[CHECK_PERSON][0];
    assert_string_equal(f->what, "kim");
    assert_int_equal(f->rows, 3);
    expect_place(f->at, 0, 2);
    expect_place(f->other, 1, 3);
    check_deinit(&r);
}

/* ---- check: what a text gives away ---- */

/* Through check_posts, as case and width are folded there; want NULL: nothing is found. */
static void expect_match(enum check_kind kind, const char *text, const char *want)
{
    struct labelled_post a = {.text = text, .line = 7};
    struct labelled_posts p = {.row = &a, .n = 1};
    struct check_report r;
    run_check(&r, &p, 1);
    const char *got = r.stored[kind] ? r.finding[kind][0].what : NULL;
    if (r.count[kind] != (want != NULL) || (want && strcmp(got, want) != 0))
        fail_msg("%s in \"%s\": %zu, \"%s\", want \"%s\"", check_kind_name[kind], text, r.count[kind],
                 got ? got : "", want ? want : "");
    if (want)
        expect_place(r.finding[kind][0].at, 0, 7);
    check_deinit(&r);
}

static void test_latin_types(void **state)
{
    (void)state;
    for (int i = 0; i < 16; i++) {
        char type[AXES + 1] = {0}, text[32];
        for (int a = 0; a < AXES; a++)
            type[a] = (i >> a & 1 ? axis_info[a].pole_up : axis_info[a].pole_down)[0];
        char lower[AXES + 1];
        for (int a = 0; a <= AXES; a++)
            lower[a] = type[a] ? (char)(type[a] | 0x20) : 0;
        snprintf(text, sizeof text, "나는%s라서", type);
        expect_match(CHECK_TYPE_NAME, text, lower);
        expect_match(CHECK_TYPE_NAME, lower, lower);
    }
    expect_match(CHECK_TYPE_NAME, "ＩＮＦＰ라고", "infp");
    expect_match(CHECK_TYPE_NAME, "(eNfP-t)", "enfp");
    expect_match(CHECK_TYPE_NAME, "MBTI 검사", "mbti");
    expect_match(CHECK_TYPE_NAME, "#myMbtiTest", "mbti");
    static const char *const no[] = {"xinfp", "infpx",    "éinfp",    "infpé", "enf p",
                                     "est",   "infinite", "best job", ""};
    for (size_t i = 0; i < COUNT_OF(no); i++)
        expect_match(CHECK_TYPE_NAME, no[i], NULL);
}

static void test_korean_types(void **state)
{
    (void)state;
    static const char *const yes[] = {"엔프피",       "인프피",       "엔프제",
                                      "인프제",       "엔팁",         "엔티피",
                                      "인팁",         "인티피",       "엔티제",
                                      "인티제",       "잇팁",         "이스팁",
                                      "이스티피",     "잇티피",       "엣팁",
                                      "에스팁",       "엣티피",       "에스티피",
                                      "잇프피",       "이스프피",     "엣프피",
                                      "에스프피",     "잇티제",       "이스티제",
                                      "엣티제",       "에스티제",     "잇프제",
                                      "이스프제",     "엣프제",       "에스프제",
                                      "엔뿌삐",       "인프삐",       "엔티j",
                                      "인프p",        "앤프피",       "있프피",
                                      "아이엔에프피", "이에스티제이", "아이에스에프제이",
                                      "엠비티아이",   "엠비티",       "앰비티"};
    for (size_t i = 0; i < COUNT_OF(yes); i++) {
        char text[128];
        expect_match(CHECK_TYPE_NAME, yes[i], yes[i]);
        snprintf(text, sizeof text, "역시 나는%s 성격", yes[i]);
        expect_match(CHECK_TYPE_NAME, text, yes[i]);
    }
    expect_match(CHECK_TYPE_NAME, "파워인팁이라", "인팁");
    expect_match(CHECK_TYPE_NAME, "내가인프피라서", "인프피");
    expect_match(CHECK_TYPE_NAME, "인티제이면", "인티제이");
    expect_match(CHECK_TYPE_NAME, "엔티J라서", "엔티j");
    expect_match(CHECK_TYPE_NAME, "\u110B\u1166\u11AB프피", "엔프피");
}

static void test_korean_words(void **state)
{
    (void)state;
    static const char *const no[] = {
        "인프라",       "엔프레소",   "엔티티",     "서비스티켓", "에스프레소", "온라인팁",   "디자인팁",
        "디자인티제작", "페이스팁",   "레이스티켓", "아이스티",   "할인팁",     "여행엔팁이", "포인트제도",
        "페인트제거",   "인티파다",   "인피니트",   "인플루언서", "라인프렌즈", "메인프레임", "이스탄불",
        "엔터테인먼트", "이비인후과", "엣지 있는",  "잇몸",       "있잖아",     "앤티피싱",   "에스티로더",
        "프린트",       "인프 제",    "엔 팁",      "유용한 팁",  "체인티피",   "코인티제",   "페이스티제품",
        "인티pop",      "엠비씨",     "엠비",       "티피오",     "보이스피싱", "네임펜",     "이엔티"};
    for (size_t i = 0; i < COUNT_OF(no); i++)
        expect_match(CHECK_TYPE_NAME, no[i], NULL);
}

static void test_email(void **state)
{
    (void)state;
    expect_match(CHECK_EMAIL, "메일은 Kim.min-ji_97@Naver.com으로", "kim.min-ji_97@naver.com");
    expect_match(CHECK_EMAIL, "a+b@mail.example.co.kr.", "a+b@mail.example.co.kr");
    expect_match(CHECK_EMAIL, "a＠b.kr", "a@b.kr");
    expect_match(CHECK_EMAIL, "010@1.com-으로", "010@1.com");
    static const char *const no[] = {"@kim",   "kim@",     "kim@home",   "kim@home.", "카페 @ 강남.com",
                                     "3@4.5",  "kim@.com", "@naver.com", "...@a.com", "naver.com",
                                     "kim@a.b"};
    for (size_t i = 0; i < COUNT_OF(no); i++)
        expect_match(CHECK_EMAIL, no[i], NULL);
}

static void test_phone(void **state)
{
    (void)state;
    static const char *const yes[] = {
        "010-1234-5678",     "01012345678",      "010 1234 5678", "010.1234.5678",       "010 - 1234 - 5678",
        "011-123-4567",      "02-123-4567",      "02-1234-5678",  "0212345678",          "02)123-4567",
        "031-123-4567",      "064 712 3456",     "070-1234-5678", "080-123-4567",        "0507-1234-5678",
        "+82 10 1234 5678",  "+82-10-1234-5678", "+821012345678", "+82 (0)10-1234-5678", "+82 2 123 4567",
        "0082 10 1234 5678", "82-10-1234-5678",  "010-12345678"};
    for (size_t i = 0; i < COUNT_OF(yes); i++) {
        char text[128];
        expect_match(CHECK_PHONE, yes[i], yes[i]);
        snprintf(text, sizeof text, "전화%s로 12시에", yes[i]);
        expect_match(CHECK_PHONE, text, yes[i]);
    }
    expect_match(CHECK_PHONE, "０１０－１２３４－５６７８", "010-1234-5678");
    expect_match(CHECK_PHONE, "010\u20131234\u20135678", "010-1234-5678");
    expect_match(CHECK_PHONE, "1.010-1234-5678", "010-1234-5678");
    static const char *const no[] = {
        "2026-05-03",    "2026.05.03",      "02-05-2026",     "12,000",         "1,012,345,678원",
        "010",           "010-1234",        "010-1234-56789", "1010-1234-5678", "2026-010-1234-5678",
        "1.01012345678", "0.0212345678",    "1592-1598",      "02:30",          "013-1234-5678",
        "09-1234-5678",  "82-2-123-4567",   "20101234567",    "010-12-345678",  "02-0123-4567",
        "010,1234,5678", "3/1 10:00-12:00", "100-200-3000",   "05-03"};
    for (size_t i = 0; i < COUNT_OF(no); i++)
        expect_match(CHECK_PHONE, no[i], NULL);
}

static void test_several_in_one(void **state)
{
    (void)state;
    struct labelled_post a[] = {
        {.text = "mbti는 ENFP, 남친은 인팁. a@b.com이나 c@d.kr, 010-1234-5678 02-123-4567"}};
    struct labelled_posts p = posts_of(a, 1);
    struct check_report r;
    run_check(&r, &p, 1);
    expect_counts(&r, (size_t[CHECK_KINDS]){[CHECK_TYPE_NAME] = 3, [CHECK_EMAIL] = 2, [CHECK_PHONE] = 2});
    check_deinit(&r);
}

/* ---- split ---- */

static const double eighty[SPLIT_PARTS] = {0.8, 0.1, 0.1};

static void run_split(struct split *s, const struct labelled_posts *p, const double *fraction, uint64_t with)
{
    struct err e = {0};
    if (split_make(s, p, fraction, SPLIT_SIMILARITY, with, &e))
        fail_msg("%s", e.msg);
}

struct random_posts {
    struct labelled_post row[MANY];
    char *text[MANY], user[MANY][16];
    struct labelled_posts posts;
};

static void random_posts(struct random_posts *p, struct rng *r)
{
    memset(p, 0, sizeof *p);
    size_t n = MANY - rng_below(r, 100), people = 20 + rng_below(r, 200);
    for (size_t i = 0; i < n; i++) {
        p->text[i] = random_text(r, p->text, rng_below(r, 3) == 0 ? i : 0);
        snprintf(p->user[i], sizeof p->user[i], "u%zu", rng_below(r, people));
        p->row[i] = (struct labelled_post){.text = p->text[i], .user = rng_below(r, 3) ? NULL : p->user[i]};
    }
    p->posts = posts_of(p->row, n);
}

static void expect_kin_together(const struct split *s, const struct random_posts *p)
{
    struct arena a = {0};
    struct near_text text[MANY];
    for (size_t i = 0; i < s->n; i++)
        text[i] = fold(p->text[i], &a);
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j < i; j++) {
            const char *u = p->row[i].user, *v = p->row[j].user;
            if ((u && v && strcmp(u, v) == 0) || jaccard(&text[i], &text[j]) >= SPLIT_SIMILARITY)
                assert_int_equal(s->group[i], s->group[j]);
            if (s->group[i] == s->group[j])
                assert_int_equal(s->part[i], s->part[j]);
        }
    arena_deinit(&a);
}

static void expect_sizes(const struct split *s)
{
    size_t rows[SPLIT_PARTS] = {0}, groups = 0, size[MANY] = {0};
    for (size_t i = 0; i < s->n; i++) {
        rows[s->part[i]]++;
        assert_true(s->group[i] <= groups);
        groups += s->group[i] == groups;
        assert_true(++size[s->group[i]] <= s->largest);
    }
    assert_int_equal(groups, s->groups);
    for (int k = 0; k < SPLIT_PARTS; k++) {
        assert_int_equal(rows[k], s->rows[k]);
        assert_true(rows[k] < s->target[k] + s->largest);
        assert_true(rows[k] + 2 * s->largest > s->target[k]);
    }
}

static void test_split_random(void **state)
{
    (void)state;
    static struct random_posts p;
    struct rng r = {seed ^ 0x5711};
    for (int round = 0; round < 5; round++) {
        random_posts(&p, &r);
        struct split s, again;
        run_split(&s, &p.posts, eighty, seed);
        expect_kin_together(&s, &p);
        expect_sizes(&s);
        run_split(&again, &p.posts, eighty, seed);
        assert_memory_equal(s.part, again.part, s.n);
        split_deinit(&again);
        split_deinit(&s);
        for (size_t i = 0; i < p.posts.n; i++)
            free(p.text[i]);
    }
}

/* Rows without relatives meet the fractions to a row, and another seed gives another split. */
static void test_split_singles(void **state)
{
    (void)state;
    struct labelled_post row[103];
    char text[103][64];
    struct rng r = {seed};
    memset(row, 0, sizeof row);
    for (size_t i = 0; i < 103; i++) {
        snprintf(text[i], sizeof text[i], "%016llx%016llx", (unsigned long long)rng_next(&r),
                 (unsigned long long)rng_next(&r));
        row[i].text = text[i];
    }
    struct labelled_posts p = posts_of(row, 103);
    struct split a, b;
    run_split(&a, &p, eighty, 1);
    run_split(&b, &p, eighty, 2);
    assert_int_equal(a.groups, 103);
    assert_int_equal(a.largest, 1);
    assert_int_equal(a.rows[SPLIT_TRAIN], 83); /* 82.4, 10.3, 10.3 */
    assert_int_equal(a.rows[SPLIT_DEV], 10);
    assert_int_equal(a.rows[SPLIT_TEST], 10);
    assert_memory_equal(a.rows, b.rows, sizeof a.rows);
    assert_memory_not_equal(a.part, b.part, 103);
    split_deinit(&a);
    split_deinit(&b);
    run_split(&a, &p, (double[]){0, 0, 1}, 1);
    assert_int_equal(a.rows[SPLIT_TEST], 103);
    split_deinit(&a);
}

/* 1-2 by person, 2-3 by text, 4 alone: by way of others still one group. */
static void test_split_chain(void **state)
{
    (void)state;
    struct labelled_post row[] = {{.text = "바다에 다녀왔다", .user = "kim"},
                                  {.text = "오늘은 친구들과 축구를 했다", .user = "kim"},
                                  {.text = "오늘은 친구들과 농구를 했다"},
                                  {.text = "혼자 그림을 그렸다", .user = "lee"}};
    struct labelled_posts p = posts_of(row, 4);
    struct split s;
    run_split(&s, &p, (double[]){0.75, 0.25, 0}, seed);
    assert_int_equal(s.groups, 2);
    assert_int_equal(s.largest, 3);
    static const uint32_t group[] = {0, 0, 0, 1};
    static const uint8_t part[] = {SPLIT_TRAIN, SPLIT_TRAIN, SPLIT_TRAIN, SPLIT_DEV};
    assert_memory_equal(s.group, group, sizeof group);
    assert_memory_equal(s.part, part, sizeof part);
    split_deinit(&s);
}

static void test_split_errors(void **state)
{
    (void)state;
    struct labelled_posts none = {0};
    struct split s;
    struct err e = {0};
    assert_int_equal(split_make(&s, &none, (double[]){0.8, 0.3, 0.1}, 0.4, 1, &e), ERR_USAGE);
    assert_string_equal(e.msg, "the fractions sum to 1.2, want 1");
    assert_int_equal(split_make(&s, &none, (double[]){1.5, -0.5, 0}, 0.4, 1, &e), ERR_USAGE);
    assert_string_equal(e.msg, "train fraction 1.5: want 0 to 1");
    assert_int_equal(split_make(&s, &none, eighty, 0, 1, &e), ERR_USAGE);
    run_split(&s, &none, eighty, 1);
    assert_int_equal(s.groups, 0);
    split_deinit(&s);
}

int main(void)
{
    const char *given = getenv("SEED");
    seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("# SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs_like_all_pairs),
        cmocka_unit_test(test_pairs_at_the_border),
        cmocka_unit_test(test_pairs_bad_threshold),
        cmocka_unit_test(test_fold),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_near_within),
        cmocka_unit_test(test_stored_bound),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_phrases),
        cmocka_unit_test(test_people),
        cmocka_unit_test(test_latin_types),
        cmocka_unit_test(test_korean_types),
        cmocka_unit_test(test_korean_words),
        cmocka_unit_test(test_email),
        cmocka_unit_test(test_phone),
        cmocka_unit_test(test_several_in_one),
        cmocka_unit_test(test_split_random),
        cmocka_unit_test(test_split_singles),
        cmocka_unit_test(test_split_chain),
        cmocka_unit_test(test_split_errors),
    };
    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
