/* judge/engine, judge/onepass and judge/evidence on a small random model (tests/random_model.c): what company
 * a post has, who asks and with how many threads must not change one bit of its verdict, evidence must stay
 * within its price and quote the post, and what is beside a model is believed only where it fits. */
#include "base/buf.h"
#include "base/file.h"
#include "base/size.h"
#include "judge/onepass_int.h"
#include "text/utf8.h"

#include <math.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model_folder.h"

static char model_path[400]; /* "FOLDER/m.gguf" */

static void make_model(const char *path)
{
    char program[300];
    const char *build = getenv("BUILD");
    int status = 1;
    snprintf(program, sizeof program, "%s/random_model", build ? build : "build");
    pid_t child = fork();
    if (child == 0) {
        execl(program, program, path, "tiny", "f32", "3", (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status)
        fail_msg("%s: status %d", program, status);
}

static int setup(void **state)
{
    if (folder_new(state))
        return -1;
    snprintf(model_path, sizeof model_path, "%s", in_folder("m.gguf"));
    make_model(model_path);
    return 0;
}

static struct engine *open_engine(int threads)
{
    const struct judge_options o = {.model = model_path, .threads = threads};
    struct engine *g;
    ok(engine_open(&g, &o, &error));
    return g;
}

static struct judge *open_judge(struct engine *g, bool quotes)
{
    struct judge *j;
    ok(onepass_over(&j, g, quotes, &error));
    return j;
}

/* ---- posts ---- */

/* clang-format off */
static const char *const words[] = {
    "나는", "친구들이랑", "노는게", "재밌어", "혼자", "책을 읽었다", "계획", "싫다", "좋다", "상승", "\u2581하락",
    "\u1112\u1161\u11AB\u1100\u1173\u11AF", "ㅋㅋㅋ", "Seoul", "2026", "😀", "👨‍👩‍👧", "e\u0301a\u0300",
    "아주아주아주아주아주아주아주아주아주아주아주아주아주아주아주아주긴낱말", "(정말)", "...", "!?", "x", "\u200D", "</s>",
    "<|im_end|>", "\x01\x02", "\u3164"};
static const char *const gaps[] = {" ", " ", " ", " ", " ", "", "  ", "\n", "\t", ", ", ". ", "\u00A0", "\u200B"};
/* clang-format on */

/* Long enough to be judged; in a block of its own, so that reading past the end is seen. */
static char *random_post(struct rng *r, size_t most)
{
    struct buf b = {0};
    for (size_t k = rng_below(r, most) + 1; k > 0; k--) {
        buf_str(&b, gaps[rng_below(r, COUNT_OF(gaps))]);
        buf_str(&b, words[rng_below(r, COUNT_OF(words))]);
    }
    buf_str(&b, " 여섯글자임다");
    char *text = strdup(b.data);
    buf_deinit(&b);
    assert_non_null(text);
    return text;
}

static char *repeated(const char *unit, size_t bytes)
{
    struct buf b = {0};
    while (b.len + strlen(unit) <= bytes)
        buf_str(&b, unit);
    return b.data;
}

enum { POSTS = 60 };

/* Short ones, ones of more than a pass, ones that are cut, with missions and without. */
static void some_posts(struct rng *r, struct judge_input in[POSTS])
{
    static const size_t most[] = {3, 3, 8, 8, 8, 20, 60, 200};
    for (size_t i = 0; i < POSTS; i++)
        in[i] =
            (struct judge_input){.text = random_post(r, most[rng_below(r, COUNT_OF(most))]),
                                 .mission = rng_below(r, 2) ? words[rng_below(r, COUNT_OF(words))] : NULL};
}

static void free_posts(struct judge_input *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free((char *)in[i].text);
}

static void same(const struct judge_verdict *a, const struct judge_verdict *b, const char *text)
{
    assert_int_equal(a->too_short, b->too_short);
    for (int i = 0; i < AXES; i++)
        if (memcmp(&a->axis[i], &b->axis[i], sizeof a->axis[i]) != 0)
            fail_msg("axis %d: %d %.17g %.17g %.17g quote %zu+%zu, else %d %.17g %.17g %.17g quote %zu+%zu, "
                     "of \"%s\"",
                     i, a->axis[i].decision, a->axis[i].up, a->axis[i].keep, a->axis[i].down,
                     a->axis[i].quote, a->axis[i].quote_len, b->axis[i].decision, b->axis[i].up,
                     b->axis[i].keep, b->axis[i].down, b->axis[i].quote, b->axis[i].quote_len, text);
}

/* ---- company, threads, callers ---- */

static void test_company_changes_nothing(void **state)
{
    (void)state;
    struct rng r = seeded();
    struct judge_input in[POSTS];
    struct judge_verdict alone[POSTS], together[POSTS];
    struct judge_result result[POSTS];
    struct engine *g = open_engine(1), *more = open_engine(3);
    struct judge *j = open_judge(g, true), *many = open_judge(more, true);
    some_posts(&r, in);
    for (size_t i = 0; i < POSTS; i++)
        ok(judge_text(j, &in[i], &alone[i], &error));
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < POSTS;) {
            size_t n = rng_below(&r, POSTS - i) + 1;
            judge_texts(round == 1 ? many : j, in + i, n, 0, together + i, result + i);
            i += n;
        }
        for (size_t i = 0; i < POSTS; i++) {
            assert_int_equal(result[i].rc, 0);
            same(&together[i], &alone[i], in[i].text);
        }
        for (size_t i = POSTS; i-- > 1;) { /* another order next time */
            size_t k = rng_below(&r, i + 1);
            struct judge_input x = in[i];
            struct judge_verdict v = alone[i];
            in[i] = in[k], in[k] = x;
            alone[i] = alone[k], alone[k] = v;
        }
    }
    free_posts(in, POSTS);
    judge_close(j);
    judge_close(many);
    engine_close(g);
    engine_close(more);
}

struct caller {
    const struct judge *judge;
    const struct judge_input *in;
    const struct judge_verdict *want;
    size_t first;
    bool same;
};

static void *call(void *context)
{
    struct caller *c = context;
    c->same = true;
    for (size_t i = 0; i < POSTS; i++) {
        size_t k = (c->first + i) % POSTS;
        struct judge_verdict v;
        struct err e;
        if (judge_text(c->judge, &c->in[k], &v, &e) || memcmp(v.axis, c->want[k].axis, sizeof v.axis) != 0)
            c->same = false;
    }
    return NULL;
}

static void test_several_callers(void **state)
{
    (void)state;
    struct rng r = seeded();
    struct judge_input in[POSTS];
    struct judge_verdict want[POSTS];
    pthread_t thread[4];
    struct caller caller[4];
    struct engine *g = open_engine(1);
    struct judge *j = open_judge(g, true);
    some_posts(&r, in);
    for (size_t i = 0; i < POSTS; i++)
        ok(judge_text(j, &in[i], &want[i], &error));
    for (size_t t = 0; t < COUNT_OF(thread); t++) {
        caller[t] = (struct caller){j, in, want, 17 * t, false};
        assert_int_equal(pthread_create(&thread[t], NULL, call, &caller[t]), 0);
    }
    for (size_t t = 0; t < COUNT_OF(thread); t++) {
        pthread_join(thread[t], NULL);
        assert_true(caller[t].same);
    }
    free_posts(in, POSTS);
    judge_close(j);
    engine_close(g);
}

/* ---- evidence ---- */

static void check_quotes(const char *text, const struct judge_verdict *v)
{
    size_t n = strlen(text);
    for (int a = 0; a < AXES; a++) {
        const struct judge_axis *x = &v->axis[a];
        if (x->decision == DECISION_KEEP) {
            assert_int_equal(x->quote_len, 0);
            continue;
        }
        if (x->quote_len == 0 || x->quote > n || x->quote_len > n - x->quote ||
            (text[x->quote] & 0xC0) == 0x80 || (text[x->quote + x->quote_len] & 0xC0) == 0x80 ||
            !utf8_valid(text + x->quote, x->quote_len, NULL))
            fail_msg("axis %d: quote %zu+%zu of %zu bytes of \"%s\"", a, x->quote, x->quote_len, n, text);
    }
}

static void test_evidence_has_a_price(void **state)
{
    (void)state;
    struct rng r = seeded();
    struct engine *g = open_engine(1);
    struct judge *plain = open_judge(g, false), *quoting = open_judge(g, true);
    double dearest = 0;
    for (int i = 0; i < 300; i++) {
        static const char *const units[] = {"가",    "a ",     "a",    ". ",      "😀",
                                            "혼자 ", "\n친구", "</s>", "ㅋ\u200B"};
        struct judge_input in = {.text = i % 10 ? random_post(&r, (size_t)i)
                                                : repeated(units[rng_below(&r, COUNT_OF(units))],
                                                           20 + rng_below(&r, i % 30 ? 2000 : 65000)),
                                 .mission = rng_below(&r, 2) ? "혼자 산책하기" : NULL};
        struct judge_verdict v, w;
        size_t before = session_work(g->session);
        ok(judge_text(plain, &in, &v, &error));
        size_t judgement = session_work(g->session) - before;
        before = session_work(g->session);
        ok(judge_text(quoting, &in, &w, &error));
        size_t evidence = session_work(g->session) - before - judgement;
        if (judgement && (double)evidence / (double)judgement > dearest)
            dearest = (double)evidence / (double)judgement;
        if (evidence > ONEPASS_EVIDENCE_COST * judgement)
            fail_msg("evidence %zu tokens, judgement %zu: \"%s\"", evidence, judgement, in.text);
        check_quotes(in.text, &w);
        free((char *)in.text);
    }
    print_message("# dearest: %.3f judgements\n", dearest);
    judge_close(plain);
    judge_close(quoting);
    engine_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_company_changes_nothing),
        cmocka_unit_test(test_several_callers),
        cmocka_unit_test(test_evidence_has_a_price),
    };
    return cmocka_run_group_tests_name("engine", tests, setup, folder_remove);
}
