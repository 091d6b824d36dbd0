/* The contract of store.h. Every database runs these tests unchanged: `open_store` is the only thing to add.
 */
#include "base/when.h"
#include "store/fold.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define OK(call)                                                                                             \
    do {                                                                                                     \
        struct err *e_ = &error;                                                                             \
        if ((call) != 0)                                                                                     \
            fail_msg("%s: %s", #call, e_->msg);                                                              \
    } while (0)

static struct err error;
static char path[256];
static struct arena scratch; /* of person(); freed by teardown */

static unsigned random_seed(void)
{
    const char *given = getenv("SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("# SEED=%u\n", seed);
    return seed;
}

static struct store *open_store(enum store_open_mode mode)
{
    struct store *s;
    OK(store_open(&s, path, mode, &error));
    return s;
}

static int setup(void **state)
{
    const char *dir = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/gyeol-store-XXXXXX", dir ? dir : "/tmp");
    int fd = mkstemp(path);
    close(fd);
    unlink(path);
    *state = open_store(STORE_CREATE);
    return 0;
}

static int teardown(void **state)
{
    store_close(*state);
    arena_deinit(&scratch);
    char side[300];
    const char *suffix[] = {"", "-wal", "-shm"};
    for (int i = 0; i < 3; i++) {
        snprintf(side, sizeof side, "%s%s", path, suffix[i]);
        unlink(side);
    }
    return 0;
}

static void put_post(struct store *s, const char *person, const char *id, const char *content, int64_t at)
{
    struct store_post p = {id, person, NULL, content, at, STORE_NO_TIME, STORE_NO_TIME};
    enum store_put what;
    OK(store_put_post(s, &p, &what, &error));
}

static void survey(struct store *s, const char *person, int64_t at, int ei, int sn, int tf, int jp)
{
    struct store_survey v = {at, {ei, sn, tf, jp}};
    enum store_put what;
    OK(store_put_survey(s, person, &v, &what, &error));
}

static int64_t model_key(struct store *s, const char *name)
{
    struct store_model m = {"linear", name, "00", NULL};
    int64_t key;
    OK(store_put_model(s, &m, &key, &error));
    return key;
}

static struct store_judgement verdict(const int d[AXES])
{
    struct store_judgement j = {.policy = POLICY_FIXED, .weight = WEIGHT_DEFAULT, .judged_at = 1};
    for (int a = 0; a < AXES; a++) {
        j.axis[a].decision = (enum decision)d[a];
        j.axis[a].up = d[a] > 0 ? 0.8 : 0.1;
        j.axis[a].down = d[a] < 0 ? 0.8 : 0.1;
        j.axis[a].keep = 1 - j.axis[a].up - j.axis[a].down;
        j.axis[a].why = d[a] ? "'말'에서 성향이 드러나" : NULL;
    }
    return j;
}

/* Judges everything waiting: the decision on ei is the first byte of the post ('+', '-', else keep). */
static int judge_all(struct store *s, const char *model, bool rejudge, const char *person)
{
    struct arena a = {0};
    struct store_pending *p;
    size_t n;
    int judged = 0;
    OK(store_begin(s, &error));
    int64_t key = model_key(s, model);
    OK(store_pending(s, key, rejudge, person, NULL, 10000, &a, &p, &n, &error));
    for (size_t i = 0; i < n; i++) {
        char c = p[i].content[0];
        int sign = c == '+' ? 1 : c == '-' ? -1 : 0;
        struct store_judgement j = verdict((int[]){sign, 0, strcmp(model, "m2") == 0 ? sign : 0, 0});
        bool stored;
        OK(store_put_judgement(s, &p[i], key, rejudge, &j, &stored, &error));
        judged += stored;
    }
    OK(store_commit(s, &error));
    arena_deinit(&a);
    return judged;
}

static struct store_person person(struct store *s, const char *id)
{
    struct store_person p;
    arena_reset(&scratch);
    OK(store_person(s, id, &scratch, &p, &error));
    return p;
}

static int ei(struct store *s, const char *id)
{
    return person(s, id).scores[AXIS_EI];
}

struct trace {
    int n;
    char text[4096];
};

static int add_step(void *context, const struct store_step *v, struct err *e)
{
    (void)e;
    struct trace *t = context;
    t->n++;
    size_t at = strlen(t->text);
    snprintf(t->text + at, sizeof t->text - at, "%s:%d>%d ", v->post, v->previous, v->current);
    return 0;
}

static const char *history(struct store *s, const char *id)
{
    static struct trace t;
    memset(&t, 0, sizeof t);
    OK(store_history(s, id, 0, 0, add_step, &t, &error));
    return t.text;
}

static void test_person_without_survey_starts_at_50(void **state)
{
    struct store *s = *state;
    OK(store_begin(s, &error));
    put_post(s, "u", "p1", "+ first", 1000);
    OK(store_commit(s, &error));
    assert_false(person(s, "u").surveyed);
    assert_int_equal(ei(s, "u"), 50);
    assert_int_equal(judge_all(s, "m1", false, NULL), 1);
    assert_int_equal(ei(s, "u"), 55);
    assert_int_equal(person(s, "u").posts, 1);
    assert_string_equal(history(s, "u"), "p1:50>55 ");
    assert_int_equal(judge_all(s, "m1", false, NULL), 0); /* at most once */
    assert_int_equal(ei(s, "u"), 55);
}

static void test_new_survey_is_a_new_start(void **state)
{
    struct store *s = *state;
    OK(store_begin(s, &error));
    survey(s, "u", 100, 40, 41, 42, 43);
    put_post(s, "u", "p1", "+", 1000);
    put_post(s, "u", "p2", "+", 2000);
    OK(store_commit(s, &error));
    judge_all(s, "m1", false, NULL);
    assert_int_equal(ei(s, "u"), 50);
    OK(store_begin(s, &error));
    survey(s, "u", 2000, 10, 20, 30, 40); /* a post written at the survey's time counts */
    OK(store_commit(s, &error));
    assert_int_equal(ei(s, "u"), 15);
    assert_int_equal(person(s, "u").scores[AXIS_SN], 20);
    assert_string_equal(history(s, "u"), "p2:10>15 ");
    assert_int_equal(person(s, "u").posts, 1);
    OK(store_begin(s, &error));
    survey(s, "u", 500, 90, 90, 90, 90); /* an older survey arriving late changes nothing */
    OK(store_commit(s, &error));
    assert_int_equal(ei(s, "u"), 15);
}

static void test_out_of_order_import_and_clamping(void **state)
{
    struct store *s = *state;
    OK(store_begin(s, &error));
    survey(s, "u", 0, 98, 50, 50, 50);
    put_post(s, "u", "p2", "-", 2000);
    OK(store_commit(s, &error));
    judge_all(s, "m1", false, NULL);
    assert_int_equal(ei(s, "u"), 93);
    OK(store_begin(s, &error));
    put_post(s, "u", "p1", "+", 1000); /* earlier, arriving later: clamped at 100 first */
    OK(store_commit(s, &error));
    judge_all(s, "m1", false, NULL);
    assert_int_equal(ei(s, "u"), 95);
    assert_string_equal(history(s, "u"), "p1:98>100 p2:100>95 ");
}

static void test_same_time_orders_by_id_as_number(void **state)
{
    struct store *s = *state;
    OK(store_begin(s, &error));
    survey(s, "u", 0, 98, 50, 50, 50);
    put_post(s, "u", "10", "-", 1000);
    put_post(s, "u", "a", "+", 1000);
    put_post(s, "u", "9", "+", 1000);
    OK(store_commit(s, &error));
    judge_all(s, "m1", false, NULL);
    assert_string_equal(history(s, "u"), "9:98>100 10:100>95 a:95>100 ");
}

static void test_edit_delete_and_undelete(void **state)
{
    struct store *s = *state;
    enum store_put what;
    OK(store_begin(s, &error));
    put_post(s, "u", "p1", "+ was", 1000);
    put_post(s, "u", "p2", "+", 2000);
    OK(store_commit(s, &error));
    judge_all(s, "m1", false, NULL);
    assert_int_equal(ei(s, "u"), 60);

    OK(store_begin(s, &error)); /* an edit takes the old judgement out at once and waits for a new one */
    put_post(s, "u", "p1", "- is", 1000);
    OK(store_commit(s, &error));
    assert_int_equal(ei(s, "u"), 55);
    assert_int_equal(judge_all(s, "m1", false, NULL), 1);
    assert_int_equal(ei(s, "u"), 50);

    OK(store_begin(s, &error));
    OK(store_delete_post(s, "p2", 5000, &error));
    OK(store_commit(s, &error));
    assert_int_equal(ei(s, "u"), 45);
    assert_string_equal(history(s, "u"), "p1:50>45 ");

    struct store_post p = {"p2", "u", NULL, "+", 2000, STORE_NO_TIME, STORE_NO_TIME};
    OK(store_begin(s, &error)); /* back, same content: its judgement counts again */
    OK(store_put_post(s, &p, &what, &error));
    OK(store_commit(s, &error));
    assert_int_equal(what, STORE_CHANGED);
    assert_int_equal(ei(s, "u"), 50);
    assert_int_equal(judge_all(s, "m1", false, NULL), 0);

    OK(store_begin(s, &error));
    OK(store_put_post(s, &p, &what, &error));
    OK(store_commit(s, &error));
    assert_int_equal(what, STORE_SAME);

    OK(store_begin(s, &error)); /* moving a post in time refolds both ends */
    p.written_at = 10;
    OK(store_put_post(s, &p, &what, &error));
    OK(store_commit(s, &error));
    assert_string_equal(history(s, "u"), "p2:50>55 p1:55>50 ");
}

static void test_rejudge_makes_the_newer_model_count(void **state)
{
    struct store *s = *state;
    OK(store_begin(s, &error));
    put_post(s, "u", "p1", "+", 1000);
    OK(store_commit(s, &error));
    judge_all(s, "m1", false, NULL);
    assert_int_equal(judge_all(s, "m2", false, NULL), 0); /* judged by another model: that one counts */
    assert_int_equal(person(s, "u").scores[AXIS_TF], 50);
    assert_int_equal(judge_all(s, "m2", true, NULL), 1);
    assert_int_equal(person(s, "u").scores[AXIS_TF], 55);
    assert_int_equal(ei(s, "u"), 55);
    assert_int_equal(judge_all(s, "m2", true, NULL), 0);
    assert_int_equal(judge_all(s, "m1", true, NULL), 1); /* back: the judgement is there and counts again */
    assert_int_equal(person(s, "u").scores[AXIS_TF], 50);
}

static void test_frozen_posts_are_never_judged(void **state)
{
    struct store *s = *state;
    OK(store_begin(s, &error));
    put_post(s, "u", "before", "+", 1000);
    OK(store_set_frozen(s, "u", true, 2000, &error));
    put_post(s, "u", "during", "+", 3000);
    put_post(s, "v", "other", "+", 3000);
    OK(store_commit(s, &error));
    assert_true(person(s, "u").frozen);
    assert_int_equal(judge_all(s, "m1", false, NULL), 1);
    assert_int_equal(ei(s, "u"), 50);
    OK(store_begin(s, &error));
    OK(store_set_frozen(s, "u", false, 4000, &error));
    put_post(s, "u", "after", "+", 4000);
    OK(store_commit(s, &error));
    assert_false(person(s, "u").frozen);
    assert_int_equal(judge_all(s, "m1", false, NULL), 2);
    assert_string_equal(history(s, "u"), "before:50>55 after:55>60 ");
    int64_t n;
    OK(store_count_pending(s, 1, false, NULL, &n, &error));
    assert_int_equal(n, 0);
}

static void test_stale_judgement_is_not_stored(void **state)
{
    struct store *s = *state;
    struct arena a = {0};
    struct store_pending *p;
    size_t n;
    bool stored;
    OK(store_begin(s, &error));
    put_post(s, "u", "p1", "+ old", 1000);
    int64_t key = model_key(s, "m1");
    OK(store_commit(s, &error));
    OK(store_pending(s, key, false, NULL, NULL, 10, &a, &p, &n, &error));
    assert_int_equal(n, 1);
    struct store_judgement j = verdict((int[]){1, 0, 0, 0});
    OK(store_begin(s, &error));
    put_post(s, "u", "p1", "- new", 1000);
    OK(store_put_judgement(s, p, key, false, &j, &stored, &error));
    OK(store_commit(s, &error));
    assert_false(stored);
    assert_int_equal(ei(s, "u"), 50);
    arena_deinit(&a);
}

static void test_weighted_policy_moves_by_confidence(void **state)
{
    struct store *s = *state;
    struct arena a = {0};
    struct store_pending *p;
    size_t n;
    bool stored;
    OK(store_begin(s, &error));
    put_post(s, "u", "p1", "text", 1000);
    int64_t key = model_key(s, "m1");
    OK(store_pending(s, key, false, NULL, NULL, 10, &a, &p, &n, &error));
    struct store_judgement j = verdict((int[]){1, 0, 0, -1});
    j.policy = POLICY_WEIGHTED;
    j.weight = 10; /* round(10 x 0.7) */
    OK(store_put_judgement(s, p, key, false, &j, &stored, &error));
    OK(store_commit(s, &error));
    assert_int_equal(ei(s, "u"), 57);
    assert_int_equal(person(s, "u").scores[AXIS_JP], 43);
    arena_deinit(&a);
}

static void test_rollback_leaves_nothing(void **state)
{
    struct store *s = *state;
    struct arena a = {0};
    struct store_person p;
    OK(store_begin(s, &error));
    put_post(s, "u", "p1", "+", 1000);
    store_rollback(s);
    assert_int_equal(store_person(s, "u", &a, &p, &error), ERR_MISSING);
    arena_deinit(&a);
}

static void test_refuses_what_breaks_the_contract(void **state)
{
    struct store *s = *state;
    enum store_put what;
    char *big = malloc(STORE_CONTENT_MAX + 2);
    memset(big, 'a', STORE_CONTENT_MAX + 1);
    big[STORE_CONTENT_MAX + 1] = 0;
    struct store_post p = {"p1", "u", NULL, big, 1000, STORE_NO_TIME, STORE_NO_TIME};
    OK(store_begin(s, &error));
    assert_int_equal(store_put_post(s, &p, &what, &error), ERR_LIMIT);
    big[STORE_CONTENT_MAX] = 0;
    OK(store_put_post(s, &p, &what, &error));
    p.person = "v";
    assert_int_equal(store_put_post(s, &p, &what, &error), ERR_STATE); /* somebody else's id */
    p.person = "";
    assert_int_equal(store_put_post(s, &p, &what, &error), ERR_FORMAT);
    struct store_survey v = {0, {101, 50, 50, 50}};
    assert_int_equal(store_put_survey(s, "u", &v, &what, &error), ERR_FORMAT);
    assert_int_equal(store_set_frozen(s, "nobody", true, 1, &error), ERR_MISSING);
    assert_int_equal(store_delete_post(s, "nothing", 1, &error), ERR_MISSING);
    store_rollback(s);
    free(big);
}

/* ---- erasure: no byte left in any file of the database ---- */

static bool file_holds(const char *suffix, const char *needle)
{
    char name[300];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    FILE *f = fopen(name, "rb");
    if (!f)
        return false;
    fseek(f, 0, SEEK_END);
    size_t n = (size_t)ftell(f);
    rewind(f);
    char *bytes = malloc(n + 1);
    assert_int_equal(fread(bytes, 1, n, f), n);
    fclose(f);
    bool found = n && memmem(bytes, n, needle, strlen(needle)) != NULL;
    free(bytes);
    return found;
}

/* Posts of many lengths, some on overflow pages, written and edited over and over so that pages split and
 * merge. */
static void churn(struct store *s, unsigned *seed, int rounds)
{
    static char content[20000];
    for (int round = 0; round < rounds; round++) {
        OK(store_begin(s, &error));
        for (int i = 0; i < 120; i++) {
            int who = (int)(rand_r(seed) % 20);
            char owner[32], id[32];
            snprintf(owner, sizeof owner, "person-%02d-name", who);
            snprintf(id, sizeof id, "post-%02d-%d", who, (int)(rand_r(seed) % 40));
            size_t most = rand_r(seed) % 8 ? 600 : 18000, n = 2;
            strcpy(content, "+ ");
            for (size_t pad = rand_r(seed) % most; pad > 20; pad -= 20)
                n +=
                    (size_t)snprintf(content + n, sizeof content - n, "secret-%02d round-%03d, ", who, round);
            put_post(s, owner, id, content, 1000 + i);
        }
        OK(store_commit(s, &error));
        judge_all(s, "m1", false, NULL);
    }
}

static void test_erase_leaves_no_byte(void **state)
{
    struct store *s = *state;
    unsigned seed = random_seed();
    churn(s, &seed, 30);
    assert_true(file_holds("", "secret-07") || file_holds("-wal", "secret-07"));
    for (int who = 7; who < 10; who++) {
        char needle[3][32];
        const char *const suffixes[] = {"", "-wal", "-journal"};
        snprintf(needle[0], sizeof needle[0], "secret-%02d", who);
        snprintf(needle[1], sizeof needle[1], "person-%02d-name", who);
        snprintf(needle[2], sizeof needle[2], "post-%02d-", who);
        OK(store_erase(s, needle[1], &error));
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < 3; k++)
                if (file_holds(suffixes[k], needle[i]))
                    fail_msg("\"%s\" is still in the database's file '%s'", needle[i], suffixes[k]);
        struct store_person p;
        assert_int_equal(store_person(s, needle[1], &scratch, &p, &error), ERR_MISSING);
    }
    assert_true(file_holds("", "secret-11"));
}

/* A batch holds a post's key while its person is erased and somebody else's post takes the next key. */
static void test_an_erased_post_key_is_not_given_to_another(void **state)
{
    struct store *s = *state;
    struct arena a = {0};
    struct store_pending *p;
    size_t n;
    bool stored;
    OK(store_begin(s, &error));
    put_post(s, "alice", "p1", "+ alice's words", 1000);
    int64_t key = model_key(s, "m1");
    OK(store_commit(s, &error));
    OK(store_pending(s, key, false, NULL, NULL, 10, &a, &p, &n, &error));
    OK(store_erase(s, "alice", &error));
    OK(store_begin(s, &error));
    put_post(s, "bob", "p2", "- bob's words", 1000);
    struct store_judgement j = verdict((int[]){1, 0, 0, 0});
    OK(store_put_judgement(s, p, key, false, &j, &stored, &error));
    OK(store_commit(s, &error));
    assert_false(stored);
    assert_int_equal(ei(s, "bob"), 50);
    arena_deinit(&a);
}

/* ---- two processes, one database ---- */

/* A child's assertions cannot reach the parent's runner: it answers with its exit status. */
static int child_writes(const char *who)
{
    struct store *s;
    struct err e;
    char id[32];
    if (store_open(&s, path, STORE_EXISTING, &e))
        return 1;
    for (int i = 0; i < 60; i++) {
        enum store_put what;
        snprintf(id, sizeof id, "%s-%d", who, i);
        struct store_post p = {id, "shared", NULL, i % 3 ? "+" : "-", 1000 + i, STORE_NO_TIME, STORE_NO_TIME};
        if (store_begin(s, &e) || store_put_post(s, &p, &what, &e) || store_commit(s, &e))
            return 2;
        judge_all(s, "m1", false, NULL);
    }
    store_close(s);
    return 0;
}

static void test_two_processes_write_one_database(void **state)
{
    pid_t pid[2];
    for (int i = 0; i < 2; i++) {
        pid[i] = fork();
        if (pid[i] == 0)
            _exit(child_writes(i ? "b" : "a"));
    }
    for (int i = 0; i < 2; i++) {
        int status;
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_int_equal(status, 0);
    }
    struct store *s = *state;
    assert_int_equal(judge_all(s, "m1", false, NULL), 0); /* each judged what the other had not */
    assert_int_equal(person(s, "shared").posts, 120);
}

/* ---- the property: scores always equal a fold computed naively ---- */

enum { PEOPLE = 3, POSTS = 12, SURVEYS = 3 };

struct naive_post {
    bool live, judged;
    int person, decision, judged_decision;
    int64_t at;
};

struct naive {
    struct naive_post post[POSTS];
    struct {
        int64_t at;
        int ei;
    } survey[PEOPLE][SURVEYS];
    int surveys[PEOPLE];
    bool known[PEOPLE];
};

static int naive_fold(const struct naive *w, int who)
{
    int score = 50, latest = -1;
    for (int i = 0; i < w->surveys[who]; i++)
        if (latest < 0 || w->survey[who][i].at > w->survey[who][latest].at)
            latest = i;
    int64_t from = latest < 0 ? INT64_MIN : w->survey[who][latest].at;
    if (latest >= 0)
        score = w->survey[who][latest].ei;
    bool used[POSTS] = {false};
    for (;;) { /* ids are single characters 'A'.., so the index orders posts of one time */
        int next = -1;
        for (int i = 0; i < POSTS; i++) {
            const struct naive_post *p = &w->post[i];
            if (!used[i] && p->live && p->judged && p->person == who && p->at >= from &&
                (next < 0 || p->at < w->post[next].at))
                next = i;
        }
        if (next < 0)
            return score;
        used[next] = true;
        score += 5 * w->post[next].judged_decision;
        score = score < 0 ? 0 : score > 100 ? 100 : score;
    }
}

static void random_operation(struct store *s, struct naive *w, unsigned *seed)
{
    char id[2] = {0}, who[2] = {0};
    int i = (int)(rand_r(seed) % POSTS), person_index = i % PEOPLE;
    struct naive_post *p = &w->post[i];
    id[0] = (char)('A' + i);
    who[0] = (char)('u' + person_index);
    switch (rand_r(seed) % 8) {
    case 0: {
        int n = (int)(rand_r(seed) % SURVEYS);
        if (n > w->surveys[person_index])
            n = w->surveys[person_index];
        int64_t at = n < w->surveys[person_index] ? w->survey[person_index][n].at
                                                  : (int64_t)(rand_r(seed) % 40) * 10 + n;
        int score = (int)(rand_r(seed) % 101);
        survey(s, who, at, score, 50, 50, 50);
        w->survey[person_index][n].at = at;
        w->survey[person_index][n].ei = score;
        w->surveys[person_index] += n == w->surveys[person_index];
        w->known[person_index] = true;
        break;
    }
    case 1:
        if (p->live) {
            OK(store_delete_post(s, id, 9999, &error));
            p->live = false;
        }
        break;
    default: {
        int decision = (int)(rand_r(seed) % 3) - 1;
        int64_t at = (int64_t)(rand_r(seed) % 40) * 10;
        bool first = p->at == 0 && !p->live && !p->judged;
        put_post(s, who, id, decision > 0 ? "+" : decision < 0 ? "-" : "0", at);
        if (first || decision != p->decision)
            p->judged = false; /* a new version */
        p->live = true;
        p->person = person_index;
        p->decision = decision;
        p->at = at;
        w->known[person_index] = true;
    }
    }
}

static void test_scores_always_equal_a_naive_fold(void **state)
{
    struct store *s = *state;
    unsigned seed = random_seed();
    struct naive w = {0};
    for (int i = 0; i < POSTS; i++)
        w.post[i].decision = 9; /* differs from every decision: the first put is a new version */
    for (int round = 0; round < 400; round++) {
        OK(store_begin(s, &error));
        for (unsigned k = 1 + rand_r(&seed) % 4; k > 0; k--)
            random_operation(s, &w, &seed);
        OK(store_commit(s, &error));
        if (rand_r(&seed) % 2) {
            judge_all(s, "m1", false, NULL);
            for (int i = 0; i < POSTS; i++)
                if (w.post[i].live && !w.post[i].judged) {
                    w.post[i].judged = true;
                    w.post[i].judged_decision = w.post[i].decision;
                }
        }
        for (int u = 0; u < PEOPLE; u++) {
            char who[2] = {(char)('u' + u), 0};
            if (w.known[u] && ei(s, who) != naive_fold(&w, u))
                fail_msg("round %d, seed above: person %s has %d, naive fold %d; history %s", round, who,
                         ei(s, who), naive_fold(&w, u), history(s, who));
        }
    }
}

static void test_fold_arithmetic(void **state)
{
    (void)state;
    assert_int_equal(fold_move(POLICY_FIXED, 5, DECISION_DOWN, 0.1, 0.9), -5);
    assert_int_equal(fold_move(POLICY_WEIGHTED, 5, DECISION_KEEP, 0.9, 0), 0);
    assert_int_equal(fold_move(POLICY_WEIGHTED, 5, DECISION_UP, 0.6, 0.1), 3); /* 2.5 away from zero */
    assert_int_equal(fold_move(POLICY_WEIGHTED, 5, DECISION_DOWN, 0.1, 0.6), -3);
    assert_int_equal(fold_clamp(98, 5), 100);
    assert_int_equal(fold_clamp(2, -5), 0);
    assert_true(fold_id_rank("9") < fold_id_rank("10"));
    assert_int_equal(fold_id_rank("007"), 99);
    assert_int_equal(fold_id_rank("x1"), 99);
    struct buf b = {0};
    fold_reason(&b, "'말'에서", AXIS_EI, DECISION_DOWN, 3, 0);
    assert_string_equal(b.data, "'말'에서 I 쪽으로 3점 내렸습니다.");
    buf_reset(&b);
    fold_reason(&b, "'말'에서", AXIS_EI, DECISION_UP, 100, 100);
    assert_string_equal(b.data, "'말'에서 E 쪽이지만 점수는 100점 그대로입니다.");
    buf_deinit(&b);
}

static void test_foreign_and_newer_databases_are_refused(void **state)
{
    (void)state;
    struct store *s;
    char other[300];
    snprintf(other, sizeof other, "%s-other", path);
    FILE *f = fopen(other, "wb");
    fputs("this is no database, it is a text of some length, long enough for a header of SQLite's, 100 bytes",
          f);
    fclose(f);
    assert_int_equal(store_open(&s, other, STORE_CREATE, &error), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "not a gyeol database"));
    unlink(other);
    assert_int_equal(store_open(&s, other, STORE_EXISTING, &error), ERR_MISSING);
    assert_int_equal(access(other, F_OK), -1); /* refusing creates nothing */
    assert_int_equal(store_open(&s, "postgres://secret@host/db", STORE_EXISTING, &error), ERR_USAGE);
    assert_null(strstr(error.msg, "secret"));
    assert_int_equal(store_open(&s, "", STORE_CREATE, &error), ERR_USAGE);
    assert_int_equal(store_open(&s, ":memory:", STORE_CREATE, &error), ERR_USAGE);
    assert_int_equal(store_open(&s, "sqlite:", STORE_CREATE, &error), ERR_USAGE);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_person_without_survey_starts_at_50),
        T(test_new_survey_is_a_new_start),
        T(test_out_of_order_import_and_clamping),
        T(test_same_time_orders_by_id_as_number),
        T(test_edit_delete_and_undelete),
        T(test_rejudge_makes_the_newer_model_count),
        T(test_frozen_posts_are_never_judged),
        T(test_stale_judgement_is_not_stored),
        T(test_weighted_policy_moves_by_confidence),
        T(test_rollback_leaves_nothing),
        T(test_refuses_what_breaks_the_contract),
        T(test_erase_leaves_no_byte),
        T(test_an_erased_post_key_is_not_given_to_another),
        T(test_two_processes_write_one_database),
        T(test_scores_always_equal_a_naive_fold),
        T(test_fold_arithmetic),
        T(test_foreign_and_newer_databases_are_refused),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
