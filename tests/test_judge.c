/* judge/, train/ and the public API: features, quotes, reasons, the model file, training. */
#include "base/file.h"
#include "base/rng.h"
#include "base/size.h"
#include "gyeol.h"
#include "judge/guard.h"
#include "judge/linear.h"
#include "judge/quote.h"
#include "judge/reason.h"
#include "text/utf8.h"
#include "train/linear_train.h"

#include <math.h>
#include <omp.h>
#include <unistd.h>

#include "testing.h"

#define TEST(name) static void name(__attribute__((unused)) void **state)

static struct arena arena; /* emptied after each test */

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static void near(double got, double want)
{
    if (!(fabs(got - want) < 1e-6))
        fail_msg("%.9f, want %.9f", got, want);
}

static double uniform(struct rng *r)
{
    return (double)(rng_next(r) >> 11) / 9007199254740992.0; /* 2^53 */
}

/* clang-format off */
static const char *const pieces[] = {
    "나는", "친구들이랑", "노는게", "재밌어", "혼자", "책을 읽었다",
    "\u1112\u1161\u11AB\u1100\u1173\u11AF", "ㅋㅋㅋ", "Seoul", "2026", "😀", "👨‍👩‍👧",
    "e\u0301a\u0300", "か\u3099", "\u3000", "아주아주아주아주아주아주아주아주아주아주아주아주아주아주아주아주긴낱말", "(정말)", "...",
    "!?", "\u00A0", "x", "가", "\u200B"};
/* clang-format on */
static const char *const gaps[] = {" ",  " ",    " ",  " ",      " ",    "",  "  ",
                                   "\n", "\n\n", "\t", "      ", "\r\n", ", "};

/* Several pieces and gaps in one block of its own, so that reading past the end is seen. */
static char *random_post(struct rng *r, size_t most)
{
    struct buf b = {0};
    buf_str(&b, "");
    for (size_t k = rng_below(r, most + 1); k > 0; k--) {
        buf_str(&b, gaps[rng_below(r, COUNT_OF(gaps))]);
        buf_str(&b, pieces[rng_below(r, COUNT_OF(pieces))]);
    }
    buf_str(&b, gaps[rng_below(r, COUNT_OF(gaps))]);
    char *text = arena_copy(&arena, b.data, b.len);
    buf_deinit(&b);
    return text;
}

static struct features extract(const char *text, const char *mission)
{
    static const int8_t none[FEATURE_BUCKETS * LINEAR_COLUMNS];
    struct linear_model no_guard = {.guard_threshold = 1, .weight = none};
    struct features f;
    bool *skip;
    ok(guard_mask(&no_guard, text, strlen(text), mission, &arena, &skip, &error));
    ok(features_extract(&f, text, strlen(text), skip, &arena, &error));
    return f;
}

static bool on_boundary(const char *text, size_t at)
{
    return (text[at] & 0xC0) != 0x80;
}

static void check_features(const char *text, const struct features *f)
{
    size_t n = strlen(text), total = 0;
    unsigned char *seen = arena_alloc(&arena, FEATURE_BUCKETS, 1);
    for (size_t i = 0; i < f->n_distinct; i++) {
        assert_true(f->bucket[i] < FEATURE_BUCKETS);
        assert_int_equal(seen[f->bucket[i]]++, 0); /* each bucket once */
        total += f->times[i];
    }
    assert_int_equal(total, f->n);
    uint32_t *times = arena_alloc(&arena, f->n_distinct + 1, sizeof *times);
    for (size_t i = 0; i < f->n; i++) {
        const struct feature *x = &f->all[i];
        assert_true(x->begin <= x->end && x->end <= n);
        assert_true(on_boundary(text, x->begin) && on_boundary(text, x->end));
        assert_true(x->distinct < f->n_distinct);
        assert_int_equal(f->bucket[x->distinct], x->bucket);
        times[x->distinct]++;
    }
    if (f->n_distinct)
        assert_memory_equal(times, f->times, f->n_distinct * sizeof *times);
}

/* One heavy word tells talk from the rest, so the part is known. */
TEST(test_the_guard_finds_the_talking_part)
{
    static const struct {
        const char *text, *part;
        bool talk;
    } cases[] = {{"혼자 있는 게 좋다 판정해", "판정해", true},
                 {"판정해  혼자 있는 게 좋다", "판정해", true},
                 {"조용한 방 판정해", "조용한 방 판정해", true}, /* nothing before it ends a sentence */
                 {"혼자 있는 게 좋다 그냥", NULL, false}};
    static int8_t table[FEATURE_BUCKETS * LINEAR_COLUMNS];
    struct linear_model m = {.guard_bias = -12, .guard_scale = 1, .guard_threshold = 0.5F, .weight = table};
    struct features f;
    ok(features_extract(&f, "판정해", strlen("판정해"), NULL, &arena, &error));
    for (size_t i = 0; i < f.n_distinct; i++)
        table[f.bucket[i] * LINEAR_COLUMNS + LINEAR_GUARD] = 10;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sentence part;
        double p;
        bool *skip;
        size_t n = strlen(cases[i].text);
        ok(guard_part(&m, cases[i].text, n, &part, &p, &arena, &error));
        assert_true((p > 0.5) == cases[i].talk);
        ok(guard_mask(&m, cases[i].text, n, NULL, &arena, &skip, &error));
        assert_true((skip != NULL) == cases[i].talk);
        if (!skip)
            continue;
        const char *at = strstr(cases[i].text, cases[i].part);
        for (size_t b = 0; b < n; b++)
            assert_int_equal(skip[b],
                             at <= cases[i].text + b && cases[i].text + b < at + strlen(cases[i].part));
        struct features alone;
        ok(features_extract(&alone, cases[i].part, strlen(cases[i].part), NULL, &arena, &error));
        double want = guard_probability(&m, &alone); /* the sums are those of the part by itself */
        assert_true(fabs(p - want) < 1e-12);
    }
}

TEST(test_features_are_within_the_text)
{
    struct rng r = seeded();
    for (int i = 0; i < 300; i++) {
        char *text = i ? random_post(&r, 40) : "";
        struct features f = extract(text, NULL);
        check_features(text, &f);
        arena_reset(&arena);
    }
}

static size_t missing(const struct features *from, const struct features *in)
{
    size_t n = from->n_distinct;
    for (size_t i = 0; i < from->n_distinct; i++)
        for (size_t k = 0; k < in->n_distinct; k++)
            n -= from->bucket[i] == in->bucket[k];
    return n;
}

static void assert_same_buckets(const struct features *x, const struct features *y)
{
    assert_int_equal(x->n_distinct, y->n_distinct);
    assert_int_equal(missing(x, y), 0);
}

/* "a " three times has what "a " twice has (the seam is new once), and twice holds all of once. */
TEST(test_repeating_a_post_adds_nothing)
{
    static const char line[] = "오늘은 혼자 걷고 책을 읽었다 ";
    char twice[200], thrice[200];
    snprintf(twice, sizeof twice, "%s%s", line, line);
    snprintf(thrice, sizeof thrice, "%s%s%s", line, line, line);
    struct features one = extract(line, NULL), two = extract(twice, NULL), three = extract(thrice, NULL);
    assert_same_buckets(&two, &three);
    assert_int_equal(missing(&one, &two), 0);
    assert_true(two.n_distinct - one.n_distinct <= 8); /* the 3- and 4-grams and the word pair at the seam */
    assert_true(three.n > two.n);
}

/* Written from features.h: each left column must give the buckets of the right one. */
TEST(test_features_normalise)
{
    static const char *const same[][2] = {
        {"\u1112\u1161\u11AB\u1100\u1173\u11AF 좋아", "한글 좋아"}, /* NFD, NFC */
        {"cafe\u0301", "caf\u00E9"},
        {"Hello SEOUL", "hello seoul"},
        {"2026년 5월", "1999년 3월"},
        {"٣월 ３월", "3월 7월"}, /* digits of other scripts */
        {"좋아요ㅋㅋㅋㅋㅋㅋㅋ", "좋아요ㅋㅋ"},
        {"  좋은 \t\n  날\u3000\u00A0이다\r\n", "좋은 날 이다"},
    };
    static const char *const differ[][2] = {
        {"좋아요ㅋ", "좋아요ㅋㅋ"}, {"좋은날", "좋은 날"}, {"가나", "나가"}, {"좋아", "좋아!"}};
    for (size_t i = 0; i < COUNT_OF(same); i++) {
        struct features x = extract(same[i][0], NULL), y = extract(same[i][1], NULL);
        if (x.n_distinct != y.n_distinct || missing(&x, &y))
            fail_msg("\"%s\" and \"%s\" differ", same[i][0], same[i][1]);
    }
    for (size_t i = 0; i < COUNT_OF(differ); i++) {
        struct features x = extract(differ[i][0], NULL), y = extract(differ[i][1], NULL);
        if (!missing(&x, &y) && !missing(&y, &x))
            fail_msg("\"%s\" and \"%s\" are the same", differ[i][0], differ[i][1]);
    }
}

TEST(test_mission_is_no_evidence)
{
    static const char mission[] = "여행 계획", text[] = "오늘의 여행 계획 말고 집에 있었다";
    struct features with = extract(text, mission), without = extract(text, NULL);
    size_t begin = (size_t)(strstr(text, mission) - text), end = begin + sizeof mission - 1, masked = 0;
    for (size_t i = 0; i < with.n; i++)
        assert_false(with.all[i].begin < end && with.all[i].end > begin);
    for (size_t i = 0; i < without.n; i++)
        masked += without.all[i].begin < end && without.all[i].end > begin;
    assert_true(masked > 0);
    assert_int_equal(with.n, without.n - masked); /* and nothing else is gone */
    struct features other = extract(text, "없는 말"), empty = extract(text, "");
    assert_same_buckets(&other, &without);
    assert_same_buckets(&empty, &without);
    assert_int_equal(extract(mission, mission).n_distinct, 0); /* nothing but the task */
}

static size_t count_chars(const char *s, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        k += on_boundary(s, i);
    return k;
}

static void check_quote(const char *text, size_t begin, size_t len)
{
    size_t n = strlen(text);
    struct utf8_unit *u;
    size_t units;
    bool blank = true;
    ok(utf8_nfc(text, n, &arena, &u, &units, &error));
    for (size_t i = 0; i < units; i++)
        blank &= utf8_is_space(u[i].code);
    if (len == 0 && !blank)
        fail_msg("no quote of \"%s\"", text);
    assert_true(begin <= n && len <= n - begin);
    assert_true(on_boundary(text, begin) && on_boundary(text, begin + len));
    if (memchr(text + begin, '\n', len) || memchr(text + begin, '\r', len))
        fail_msg("\"%s\": the quote \"%.*s\" goes over lines", text, (int)len, text + begin);
    if (count_chars(text + begin, len) > QUOTE_CHARS_MAX)
        fail_msg("\"%s\": the quote \"%.*s\" has %zu characters", text, (int)len, text + begin,
                 count_chars(text + begin, len));
}

static void quote_of(const char *text, const struct features *f, const float *weight, size_t *begin,
                     size_t *len)
{
    ok(quote_find(text, f, weight, &arena, begin, len, &error));
    check_quote(text, *begin, *len);
}

TEST(test_quotes_on_random_weights)
{
    struct rng r = seeded();
    for (int i = 0; i < 2000; i++) {
        char *text = random_post(&r, 30);
        struct features f = extract(text, NULL);
        float *weight = arena_alloc(&arena, f.n + 1, sizeof *weight);
        double lean = uniform(&r); /* from all negative to all positive */
        for (size_t k = 0; k < f.n; k++)
            weight[k] = (float)(uniform(&r) - lean);
        size_t begin, len;
        quote_of(text, &f, weight, &begin, &len);
        arena_reset(&arena);
    }
}

/* Features within [begin, end) weigh 1, those wholly outside a little against. */
static void weigh_word(const struct features *f, size_t begin, size_t end, float *weight)
{
    for (size_t k = 0; k < f->n; k++) {
        const struct feature *x = &f->all[k];
        bool inside = x->begin >= begin && x->end <= end, outside = x->end <= begin || x->begin >= end;
        weight[k] = inside ? 1 : outside ? -0.01F : 0;
    }
}

TEST(test_the_word_that_carried_it_is_quoted)
{
    static const char text[] =
        "나는 오늘 친구들이랑\n(신나게), \u1112\u1161\u11AB\u1100\u1173\u11AF 놀았다 Yes!";
    static const char *const word[] = {
        "나는", "오늘", "친구들이랑", "신나게", "\u1112\u1161\u11AB\u1100\u1173\u11AF", "놀았다", "Yes"};
    struct features f = extract(text, NULL);
    float *weight = arena_alloc(&arena, f.n, sizeof *weight);
    for (size_t i = 0; i < COUNT_OF(word); i++) {
        size_t at = (size_t)(strstr(text, word[i]) - text), begin, len;
        weigh_word(&f, at, at + strlen(word[i]), weight);
        quote_of(text, &f, weight, &begin, &len);
        /* ... to the end of its line, which both lines are short enough for */
        const char *last = word[i < 3 ? 2 : 6];
        size_t end = (size_t)(strstr(text, last) - text) + strlen(last);
        if (begin != at || begin + len != end)
            fail_msg("\"%s\" carried it, \"%.*s\" is quoted", word[i], (int)len, text + begin);
    }
}

static void check_quote_with_equal_weights(const char *text)
{
    struct features f = extract(text, NULL);
    float *weight = arena_alloc(&arena, f.n, sizeof *weight);
    for (size_t k = 0; k < f.n; k++)
        weight[k] = 1;
    size_t begin, len;
    quote_of(text, &f, weight, &begin, &len);
}

TEST(test_quote_stays_within_a_sentence)
{
    static const char text[] =
        "혼자가 좋다. 아주아주아주아주아주 길고 길고 길고 길고 길고 길고 긴 문장이라 다 못 담는다. 끝";
    struct features f = extract(text, NULL);
    float *weight = arena_alloc(&arena, f.n, sizeof *weight);
    size_t at = (size_t)(strstr(text, "아주아주") - text), begin, len;
    weigh_word(&f, 0, strlen("혼자가"), weight);
    quote_of(text, &f, weight, &begin, &len);
    assert_true(begin == 0 && len == strlen("혼자가 좋다"));
    weigh_word(&f, at, at + strlen("아주아주아주아주아주"), weight); /* no room to the end: the word alone */
    quote_of(text, &f, weight, &begin, &len);
    assert_true(begin == at && len == strlen("아주아주아주아주아주"));
}

/* The bound holds for what is quoted, gaps and punctuation within included. */
TEST(test_quote_length_counts_gaps_and_punctuation)
{
    check_quote_with_equal_weights(
        "가나다라마바사아자차카타파하가나다라마바사아자차카타파하가나다라마바사아자차카타");
    check_quote_with_equal_weights("좋아))))))))))))))))))) (((((((((((((((((((정말");
    check_quote_with_equal_weights("좋아                                          정말");
}

TEST(test_a_span_is_quoted_to_the_end_of_its_sentence)
{
    static const char text[] =
        "혼자인게 싫다. 아주아주아주아주아주아주아주아주아주아주아주아주아주아주아주아주긴낱말 참";
    struct quote_span *s;
    size_t n;
    ok(quote_spans(text, 4, &arena, &s, &n, &error));
    assert_int_equal(n, 4);
    assert_int_equal(s[0].end, strlen("혼자인게"));
    assert_int_equal(s[0].quote_end, strlen("혼자인게 싫다"));
    assert_int_equal(s[2].quote_end - s[2].quote_begin, strlen("아주") * 16); /* 32 of 35 characters */
    assert_int_equal(s[3].quote_end, strlen(text));
}

TEST(test_quote_stays_on_a_line_ended_by_a_carriage_return)
{
    check_quote_with_equal_weights("좋아 정말\r나도 그래");
}

static const char post[] = "친구들이랑 노는게 재밌어";

static struct judge_verdict decided(enum axis a, enum decision d)
{
    struct judge_verdict v = {0};
    v.axis[a] = (struct judge_axis){d, .quote = strlen("친구들이랑 "), .quote_len = strlen("노는게")};
    return v;
}

TEST(test_reason_of_every_axis_and_direction)
{
    static const char *const want[AXES][2] = {
        {"'노는게'에서 다른 사람과 어울리며 힘을 얻는 외향(E) 성향이 드러나 E 쪽으로 5점 올렸습니다.",
         "'노는게'에서 혼자 조용히 있을 때 힘을 얻는 내향(I) 성향이 드러나 I 쪽으로 5점 내렸습니다."},
        {"'노는게'에서 상상과 의미, 가능성에 끌리는 직관(N) 성향이 드러나 N 쪽으로 5점 올렸습니다.",
         "'노는게'에서 구체적인 사실과 경험을 살피는 감각(S) 성향이 드러나 S 쪽으로 5점 내렸습니다."},
        {"'노는게'에서 사람의 마음과 관계를 먼저 헤아리는 감정(F) 성향이 드러나 F 쪽으로 5점 올렸습니다.",
         "'노는게'에서 원인과 논리, 기준을 먼저 따지는 사고(T) 성향이 드러나 T 쪽으로 5점 내렸습니다."},
        {"'노는게'에서 그때그때 자유롭게 움직이는 인식(P) 성향이 드러나 P 쪽으로 5점 올렸습니다.",
         "'노는게'에서 미리 정하고 계획대로 움직이는 판단(J) 성향이 드러나 J 쪽으로 5점 내렸습니다."},
    };
    struct buf b = {0};
    for (int a = 0; a < AXES; a++)
        for (int down = 0; down < 2; down++) {
            struct judge_verdict v = decided((enum axis)a, down ? DECISION_DOWN : DECISION_UP);
            buf_reset(&b);
            reason_text(&b, post, &v, 5);
            assert_string_equal(b.data, want[a][down]);
        }
    buf_deinit(&b);
}

TEST(test_reason_of_several_axes_of_none_and_of_short_posts)
{
    struct buf b = {0};
    struct judge_verdict v = decided(AXIS_EI, DECISION_UP);
    v.axis[AXIS_JP] = (struct judge_axis){DECISION_DOWN, .quote = 0, .quote_len = strlen("친구들이랑")};
    reason_text(&b, post, &v, 12);
    assert_string_equal(
        b.data,
        "'노는게'에서 다른 사람과 어울리며 힘을 얻는 외향(E) 성향이 드러나 E 쪽으로 12점 올렸습니다. "
        "'친구들이랑'에서 미리 정하고 계획대로 움직이는 판단(J) 성향이 드러나 J 쪽으로 12점 내렸습니다.");
    buf_reset(&b);
    v = (struct judge_verdict){0};
    reason_text(&b, post, &v, 5);
    reason_clause(&b, post, AXIS_EI, &v.axis[AXIS_EI]);
    assert_int_equal(b.len, 0);
    v.too_short = true;
    reason_text(&b, post, &v, 5);
    assert_string_equal(b.data, "피드 내용이 너무 짧아 MBTI를 판단할 수 없습니다.");
    buf_deinit(&b);
}

enum { HEADER = 188, WEIGHTS = 9 << 18, FILE_SIZE = HEADER + WEIGHTS + 32 }; /* counted from linear.h */

static unsigned char *written(struct rng *r, struct linear_model *m)
{
    struct buf b = {0};
    int8_t *weight = arena_alloc(&arena, WEIGHTS, 1);
    *m = (struct linear_model){.seed = rng_next(r), .train_rows = (uint32_t)rng_next(r), .dev_rows = 77};
    digest_sha256(m->train_sha256, "train", 5);
    digest_sha256(m->dev_sha256, "dev", 3);
    for (int k = 0; k < LINEAR_GUARD; k++) {
        m->bias[k / SIDES][k % SIDES] = (float)uniform(r) - 0.5F;
        m->scale[k / SIDES][k % SIDES] = (float)uniform(r) / 20;
        m->threshold[k / SIDES] = 0.4F + (float)uniform(r) / 10;
    }
    m->guard_bias = -1.5F;
    m->guard_scale = (float)uniform(r) / 20;
    m->guard_threshold = 0.75F;
    for (size_t i = 0; i < WEIGHTS; i++)
        weight[i] = (int8_t)rng_next(r);
    m->weight = weight;
    ok(linear_write(&b, m, &error));
    assert_int_equal(b.len, FILE_SIZE);
    unsigned char *copy = (unsigned char *)arena_copy(&arena, b.data, b.len);
    buf_deinit(&b);
    return copy;
}

static void seal(unsigned char *file)
{
    char hex[DIGEST_HEX];
    digest_sha256(hex, file, FILE_SIZE - 32);
    for (int i = 0; i < 32; i++) {
        unsigned v;
        sscanf(hex + 2 * i, "%2x", &v);
        file[FILE_SIZE - 32 + i] = (unsigned char)v;
    }
}

TEST(test_model_file_round_trip)
{
    struct rng r = seeded();
    struct linear_model m, back;
    unsigned char *file = written(&r, &m);
    ok(linear_parse(&back, "m", file, FILE_SIZE, true, &error));
    assert_true(back.seed == m.seed && back.train_rows == m.train_rows && back.dev_rows == 77);
    assert_string_equal(back.train_sha256, m.train_sha256);
    assert_string_equal(back.dev_sha256, m.dev_sha256);
    assert_memory_equal(back.bias, m.bias, sizeof m.bias);
    assert_memory_equal(back.scale, m.scale, sizeof m.scale);
    assert_memory_equal(back.threshold, m.threshold, sizeof m.threshold);
    assert_memory_equal(back.weight, m.weight, WEIGHTS);
    assert_true(back.guard_bias == -1.5F && back.guard_scale == m.guard_scale &&
                back.guard_threshold == 0.75F);
    assert_memory_equal(file, "gyeol-l1\1\0\0\0\22\0\0\0", 16); /* little-endian: version 1, 18 bits */
    assert_memory_equal(file + HEADER, m.weight, WEIGHTS);
}

static void refused(const unsigned char *file, size_t n, bool verify, const char *what)
{
    struct linear_model m;
    error = (struct err){0};
    int rc = linear_parse(&m, "name.gyl", file, n, verify, &error);
    if (rc != ERR_FORMAT || strncmp(error.msg, "name.gyl: ", 10) != 0 || strlen(error.msg) < 20)
        fail_msg("%s: code %d, message \"%s\"", what, rc, error.msg);
}

TEST(test_model_with_any_changed_byte_is_refused)
{
    struct rng r = seeded();
    struct linear_model m;
    unsigned char *file = written(&r, &m);
    for (size_t i = 0; i < 320; i++) { /* each byte of the header and digest, some weights */
        size_t end = FILE_SIZE - 1 - (i - HEADER);
        size_t at = i < HEADER ? i : i < HEADER + 32 ? end : rng_below(&r, FILE_SIZE);
        unsigned char was = file[at];
        char what[60];
        snprintf(what, sizeof what, "byte %zu changed", at);
        file[at] ^= (unsigned char)(1u << rng_below(&r, 8));
        refused(file, FILE_SIZE, true, what);
        file[at] = was;
    }
    static const size_t size[] = {0, 1, 7, 8, 16, HEADER, FILE_SIZE / 2, FILE_SIZE - 1, FILE_SIZE + 1};
    for (size_t i = 0; i < COUNT_OF(size); i++) /* one byte more may be read: arena_copy adds a NUL */
        refused(file, size[i], i % 2, "another size");
    ok(linear_parse(&m, "m", file, FILE_SIZE, true, &error));
}

static void change_and_refuse(unsigned char *file, size_t at, const unsigned char *bytes, size_t n,
                              const char *what)
{
    unsigned char was[8];
    memcpy(was, file + at, n);
    memcpy(file + at, bytes, n);
    seal(file);
    refused(file, FILE_SIZE, true, what);
    refused(file, FILE_SIZE, false, what);
    memcpy(file + at, was, n);
    seal(file);
}

/* With the checksum made right again, so that each check stands alone. */
TEST(test_model_fields_are_checked_one_by_one)
{
    struct rng r = {2};
    struct linear_model m;
    unsigned char *file = written(&r, &m);
    static const unsigned char number[] = {0,    0,    0xC0, 0x7F, 0,    0,
                                           0x80, 0x7F, 0,    0,    0x80, 0xFF}; /* NaN, +-inf */
    change_and_refuse(file, 7, (const unsigned char *)"2", 1, "another magic");
    change_and_refuse(file, 8, (const unsigned char *)"\2", 1, "version 2");
    change_and_refuse(file, 11, (const unsigned char *)"\1", 1, "version 2^24 + 1");
    change_and_refuse(file, 12, (const unsigned char *)"\23", 1, "19 feature bits");
    for (size_t at = 32; at < 32 + 23 * 4; at += 4)
        for (size_t k = 0; k < 12; k += 4)
            change_and_refuse(file, at, number + k, 4, "a number that is not finite");
    ok(linear_parse(&m, "m", file, FILE_SIZE, true, &error));
}

static bool same_verdict(const struct judge_verdict *x, const struct judge_verdict *y)
{
    bool same = x->too_short == y->too_short;
    for (const struct judge_axis *p = x->axis, *q = y->axis; p < x->axis + AXES; p++, q++)
        same &= p->decision == q->decision && p->up == q->up && p->keep == q->keep && p->down == q->down &&
                p->quote == q->quote && p->quote_len == q->quote_len;
    return same;
}

TEST(test_verdict_does_not_depend_on_threads)
{
    enum { N = 200 };
    static struct judge_input in[N];
    static struct judge_verdict alone[N], together[N];
    struct rng r = seeded();
    struct judge *j;
    int moved = 0, bad = 0;
    ok(judge_open(&j, &(struct judge_options){.mode = "linear"}, &error));
    for (int i = 0; i < N; i++) {
        in[i] = (struct judge_input){random_post(&r, 40), i % 3 ? NULL : "노는게"};
        ok(judge_text(j, &in[i], &alone[i], &error));
        for (int a = 0; a < AXES; a++)
            moved += alone[i].axis[a].decision != DECISION_KEEP;
    }
#pragma omp parallel for schedule(dynamic, 1) num_threads(4) reduction(+ : bad)
    for (int i = 0; i < N; i++) {
        struct err e;
        bad += judge_text(j, &in[i], &together[i], &e) != 0;
    }
    assert_int_equal(bad, 0);
    for (int i = 0; i < N; i++)
        if (!same_verdict(&alone[i], &together[i]))
            fail_msg("post %d is judged differently: \"%s\"", i, in[i].text);
    assert_true(moved > 0); /* else equality would prove little */
    judge_close(j);
}

/* Row: label, decision, up, keep, down on EI; the other axes have no label.
 *  1:  +  +  .7 .2 .1  lean +.6   top up, right
 *  2:  +  -  .2 .3 .5  lean -.3   top down, wrong
 *  3:  +  0  .3 .4 .3  lean  0    top keep, wrong
 *  4:  -  -  .1 .1 .8  lean -.7   top down, right
 *  5:  -  0  .3 .4 .3  lean  0    top keep, wrong
 *  6:  0  +  .6 .3 .1             top up, wrong
 *  7:  0  0  .1 .9 .0             top keep, right
 * meaningful 2/5 (1, 4); wrong 1/5 (2); unneeded 1/2 (6). Direction: 1, 4 right, 3, 5 half: 3/5. Up: (1 + 0 +
 * .5) / 3 = .5, down: (1 + .5) / 2 = .75: balanced .625. F1: up 2x1/(3+2) = .4, keep 2x1/(2+3) = .4, down
 * 2x1/(2+2) = .5: macro 1.3/3. AUC: pairs up over down: .6 beats both, -.3 beats -.7, 0 beats -.7 and ties 0:
 * (2 + 1 + 1.5) / 6 = .75. ECE: ten bins of at most one row each, so the mean of |confidence - hit|:
 * (.3 + .5 + .4 + .2 + .4 + .6 + .1) / 7 = 2.5/7. Majority: up, 3/5. */

enum { TOY = 200 };

/* One word per axis and direction, neutral words besides; with noise, labels now and then lie. */
static void toy(struct labelled_posts *p, struct labelled_post *row, struct rng *r, double noise)
{
    static const char *const word[AXES][3] = {{"조용히", "", "파티에서"},
                                              {"사실은", "", "상상"},
                                              {"논리로", "", "마음"},
                                              {"계획대로", "", "즉흥으로"}};
    *p = (struct labelled_posts){.row = row, .n = TOY};
    digest_sha256(p->sha256, r, sizeof *r);
    for (size_t i = 0; i < TOY; i++) {
        int label[AXES];
        row[i] = (struct labelled_post){.line = i + 2};
        for (int a = 0; a < AXES; a++) {
            label[a] = (int)rng_below(r, 3) - 1;
            row[i].label[a] = (int8_t)(uniform(r) < noise ? (int)rng_below(r, 3) - 1 : label[a]);
        }
        char text[300];
        int n = snprintf(text, sizeof text, "%s %s %s %s %s 하루 %zu번째", pieces[rng_below(r, 5)],
                         word[0][label[0] + 1], word[1][label[1] + 1], word[2][label[2] + 1],
                         word[3][label[3] + 1], i);
        row[i].text = arena_copy(&arena, text, (size_t)n);
    }
}

/* Judges dev with the trained file: shares of moved rows decided rightly, of kept rows moved. */
static void measure(const struct buf *file, const struct labelled_posts *dev, double right[AXES],
                    double over[AXES])
{
    struct linear_model m;
    double moved[AXES] = {0}, kept[AXES] = {0};
    ok(linear_parse(&m, "m", (unsigned char *)file->data, file->len, true, &error));
    for (size_t i = 0; i < dev->n; i++) {
        struct features f = extract(dev->row[i].text, NULL);
        struct judge_verdict v = {0};
        linear_verdict(&m, &f, &v);
        for (int a = 0; a < AXES; a++) {
            int label = dev->row[i].label[a], d = v.axis[a].decision;
            *(label ? &moved[a] : &kept[a]) += 1;
            right[a] += label && d == label;
            over[a] += !label && d;
        }
    }
    for (int a = 0; a < AXES; a++) {
        right[a] /= moved[a];
        over[a] /= kept[a];
    }
}

static struct labelled_post rows[2][TOY];

TEST(test_training_learns_and_is_reproducible)
{
    struct rng r = {11};
    struct labelled_posts train, dev;
    struct linear_options o = LINEAR_OPTIONS_DEFAULT;
    struct linear_fit fit;
    struct buf file[3] = {0};
    double right[AXES] = {0}, over[AXES] = {0};
    toy(&train, rows[0], &r, 0);
    toy(&dev, rows[1], &r, 0);
    for (int i = 0; i < 3; i++) {
        omp_set_num_threads(i == 1 ? 4 : 1);
        o.softmax.seed = i == 2 ? 2 : 1;
        ok(linear_train(&file[i], &fit, &train, &dev, &o, &error));
    }
    assert_int_equal(file[0].len, file[1].len);
    assert_memory_equal(file[0].data, file[1].data, file[0].len);
    assert_memory_not_equal(file[0].data + HEADER, file[2].data + HEADER, WEIGHTS); /* the order matters */
    measure(&file[2], &dev, right, over);
    for (int a = 0; a < AXES; a++) {
        if (right[a] <= .95 || over[a] > .1)
            fail_msg("axis %d: %.3f right, %.3f of the kept moved", a, right[a], over[a]);
        near(fit.meaningful[a], right[a]);
    }
    for (int i = 0; i < 3; i++)
        buf_deinit(&file[i]);
}

TEST(test_the_trained_judge_keeps_to_the_budget)
{
    struct rng r = seeded();
    for (int round = 0; round < 4; round++) {
        struct labelled_posts train, dev;
        struct linear_options o = LINEAR_OPTIONS_DEFAULT;
        struct linear_fit fit;
        struct buf file = {0};
        double right[AXES] = {0}, over[AXES] = {0};
        o.budget = .05 + .05 * round;
        toy(&train, rows[0], &r, .5);
        toy(&dev, rows[1], &r, .5);
        ok(linear_train(&file, &fit, &train, &dev, &o, &error));
        measure(&file, &dev, right, over);
        for (int a = 0; a < AXES; a++)
            if (fit.unneeded[a] > o.budget || over[a] > o.budget)
                fail_msg("axis %d: budget %.4f, said %.4f, the file moves %.4f", a, o.budget, fit.unneeded[a],
                         over[a]);
        buf_deinit(&file);
    }
}

static void check_train_refusal(const struct labelled_posts *train, const struct labelled_posts *dev, int a)
{
    struct linear_options o = LINEAR_OPTIONS_DEFAULT;
    struct linear_fit fit;
    struct buf file = {0};
    o.softmax.epochs = 1;
    assert_int_equal(linear_train(&file, &fit, train, dev, &o, &error), ERR_FORMAT);
    assert_non_null(strstr(error.msg, axis_info[a].key));
    assert_int_equal(file.len, 0);
    buf_deinit(&file);
}

TEST(test_training_refuses_data_without_both_directions)
{
    /* train: no down, no up; dev: no kept, no moved, no label (from LABEL_UNKNOWN: every label) */
    static const int8_t from[] = {-1, 1, 0, LABEL_UNKNOWN, LABEL_UNKNOWN}, to[] = {0, 0, 1, 0, LABEL_UNKNOWN};
    for (int i = 0; i < 5 * AXES; i++) {
        struct rng r = {3};
        struct labelled_posts train, dev;
        int a = i / 5, kind = i % 5;
        toy(&train, rows[0], &r, 0);
        toy(&dev, rows[1], &r, 0);
        for (size_t k = 0; k < TOY; k++) {
            int8_t *label = &rows[kind >= 2][k].label[a];
            if (from[kind] == LABEL_UNKNOWN || *label == from[kind])
                *label = to[kind];
        }
        check_train_refusal(&train, &dev, a);
    }
}

TEST(test_api_judges)
{
    struct gyeol *g;
    struct gyeol_error e;
    struct gyeol_verdict v, again;
    char *longest = arena_alloc(&arena, 65537, 1);
    assert_string_equal(gyeol_version(), GYEOL_VERSION);
    assert_int_equal(gyeol_open(&g, NULL, &e), 0);
    assert_int_equal(gyeol_judge(g, "나는 친구들이랑 노는게 재밌어", NULL, &v, &e), 0);
    assert_int_equal(gyeol_judge(g, "나는 친구들이랑 노는게 재밌어", NULL, &again, &e), 0);
    assert_string_equal(v.reason, again.reason);
    assert_memory_equal(v.axis, again.axis, sizeof v.axis);
    assert_int_equal(v.axis[GYEOL_EI].decision, 1); /* the example of gyeol.h */
    assert_non_null(strstr(v.reason, "외향(E)"));
    for (int a = 0; a < GYEOL_AXES; a++)
        near(v.axis[a].up + v.axis[a].keep + v.axis[a].down, 1);
    gyeol_verdict_clear(&v);
    gyeol_verdict_clear(&v); /* twice is harmless */
    gyeol_verdict_clear(&again);
    memset(longest, 'a', 65535);
    assert_int_equal(gyeol_judge(g, longest, NULL, &v, &e), 0);
    gyeol_verdict_clear(&v);
    longest[65535] = 'a';
    assert_int_equal(gyeol_judge(g, longest, NULL, &v, &e), ERR_LIMIT);
    assert_null(v.reason);
    assert_int_equal(gyeol_judge(g, "나는 \xEA\xB0 친구", NULL, &v, &e), ERR_FORMAT);
    assert_true(e.code == ERR_FORMAT && strstr(e.message, "0xea") && strstr(e.message, "offset 7"));
    assert_int_equal(gyeol_judge(g, "\xFF", NULL, &v, NULL), ERR_FORMAT);
    gyeol_close(g);
    gyeol_close(NULL);
}

TEST(test_api_opens_files)
{
    struct gyeol *g = (struct gyeol *)&error;
    struct gyeol_error e;
    struct linear_model m;
    char path[] = "/tmp/gyeol-judge-XXXXXX";
    close(mkstemp(path));
    assert_int_equal(gyeol_open(&g, path, &e), ERR_FORMAT); /* empty */
    assert_null(g);
    struct rng r = {8};
    ok(file_write(path, written(&r, &m), FILE_SIZE, &error));
    assert_int_equal(gyeol_open(&g, path, &e), 0);
    gyeol_close(g);
    unlink(path);
    assert_int_equal(gyeol_open(&g, path, &e), ERR_MISSING);
    assert_true(e.code == ERR_MISSING && strstr(e.message, path) && !g);
    assert_int_equal(gyeol_open(&g, "/", &e), ERR_FORMAT); /* a folder would be a language model */
}

#define T(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
    /* clang-format off */
    const struct CMUnitTest tests[] = {
        T(test_the_guard_finds_the_talking_part), T(test_features_are_within_the_text), T(test_repeating_a_post_adds_nothing),
        T(test_features_normalise), T(test_mission_is_no_evidence), T(test_quotes_on_random_weights),
        T(test_the_word_that_carried_it_is_quoted), T(test_quote_length_counts_gaps_and_punctuation),
        T(test_quote_stays_within_a_sentence), T(test_a_span_is_quoted_to_the_end_of_its_sentence),
        T(test_quote_stays_on_a_line_ended_by_a_carriage_return),
        T(test_reason_of_every_axis_and_direction),
        T(test_reason_of_several_axes_of_none_and_of_short_posts), T(test_model_file_round_trip),
        T(test_model_with_any_changed_byte_is_refused), T(test_model_fields_are_checked_one_by_one),
        T(test_verdict_does_not_depend_on_threads),
        T(test_training_learns_and_is_reproducible), T(test_the_trained_judge_keeps_to_the_budget),
        T(test_training_refuses_data_without_both_directions), T(test_api_judges), T(test_api_opens_files),
    };
    /* clang-format on */
    return cmocka_run_group_tests_name("judge", tests, NULL, NULL);
}
