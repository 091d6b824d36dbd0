/* Speed of the linear judge and of batch, as ratios to limits measured in the same run: features and table
 * look-ups against what this core can read at random from a table of that size, batch against SQLite storing
 * the same rows with nothing else to do. Prints one line each; no threshold, no verdict: docs/SPEED.md keeps
 * the record. */
#include "base/rng.h"
#include "base/when.h"
#include "judge/features.h"
#include "judge/judge.h"
#include "pipeline/batch.h"
#include "store/store.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TEXTS = 2000, LOOKUPS = 1 << 24, ORDER = 1 << 20 };

static const char *const piece[] = {"오늘은 ",     "친구들이랑 ",  "집에서 ",      "계획을 세워서 ",
                                    "갑자기 ",     "혼자 ",        "생각해 보니 ", "카페에 갔다 ",
                                    "재밌었다 ",   "눈물이 났다 ", "정리했다 ",    "숫자를 확인하고 ",
                                    "걸었다ㅋㅋ ", "내일은 ",      "엄마가 ",      "회사에서 "};

static char *make_text(struct rng *r)
{
    char *s = calloc(1, 1024);
    size_t n = 3 + rng_below(r, 12);
    for (size_t i = 0; i < n; i++)
        strcat(s, piece[rng_below(r, sizeof piece / sizeof *piece)]);
    return s;
}

static double seconds_since(uint64_t start)
{
    return (double)(when_monotonic_ns() - start) / 1e9;
}

/* Random reads of 8 bytes from 2 MiB: what a table look-up costs at least. */
static double lookups_per_second(void)
{
    struct rng r = {1};
    size_t rows = FEATURE_BUCKETS;
    uint64_t *table = malloc(rows * sizeof *table), sum = 0;
    memset(table, 1, rows * sizeof *table);
    uint32_t *at = malloc(ORDER * sizeof *at);
    for (int i = 0; i < ORDER; i++)
        at[i] = (uint32_t)rng_below(&r, rows);
    uint64_t start = when_monotonic_ns();
    for (int i = 0; i < LOOKUPS; i++)
        sum += table[at[i & (ORDER - 1)]];
    double seconds = seconds_since(start);
    if (sum == 42)
        puts("");
    free(table);
    free(at);
    return LOOKUPS / seconds;
}

static double bench_judging(struct judge *j, char **text)
{
    struct err e;
    struct arena a = {0};
    struct features f;
    double features = 0;
    for (int i = 0; i < TEXTS; i++) {
        arena_reset(&a);
        if (features_extract(&f, text[i], strlen(text[i]), NULL, &a, &e))
            exit(1);
        features += (double)f.n_distinct;
    }
    arena_deinit(&a);
    uint64_t start = when_monotonic_ns();
    for (int i = 0; i < TEXTS; i++) {
        struct judge_verdict v;
        struct judge_input in = {text[i], NULL};
        if (judge_text(j, &in, &v, &e))
            exit(1);
    }
    double seconds = seconds_since(start), limit = lookups_per_second();
    printf("judge: %.0f posts/s on one core, %.0f distinct features a post; %.1f %% of the %.0f M random "
           "table reads/s\n",
           TEXTS / seconds, features / TEXTS, 100 * features / seconds / limit, limit / 1e6);
    return TEXTS / seconds;
}

static void run_sql(sqlite3 *db, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message)) {
        fprintf(stderr, "bench: %s\n", message);
        exit(1);
    }
}

/* The floor: one row of the size of a judgement and its history per post, in groups, durable, nothing else.
 */
static double sqlite_rows_per_second(const char *path, int n)
{
    sqlite3 *db;
    sqlite3_stmt *q;
    if (sqlite3_open(path, &db))
        exit(1);
    run_sql(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (id INTEGER PRIMARY "
                "KEY, b BLOB)");
    sqlite3_prepare_v2(db, "INSERT INTO t (b) VALUES (zeroblob(400))", -1, &q, NULL);
    uint64_t start = when_monotonic_ns();
    for (int i = 0; i < n; i++) {
        if (i % BATCH_GROUP == 0)
            run_sql(db, i ? "COMMIT; BEGIN" : "BEGIN");
        sqlite3_step(q);
        sqlite3_reset(q);
    }
    run_sql(db, "COMMIT");
    double rate = n / seconds_since(start);
    sqlite3_finalize(q);
    sqlite3_close(db);
    unlink(path);
    return rate;
}

static void fill(struct store *s, char **text, int n)
{
    struct err e;
    struct rng r = {2};
    if (store_begin(s, &e))
        exit(1);
    for (int i = 0; i < n; i++) {
        char id[32], person[32];
        enum store_put what;
        snprintf(id, sizeof id, "%d", i);
        snprintf(person, sizeof person, "u%zu", rng_below(&r, (size_t)n / 20 + 1));
        struct store_post p = {
            id,           person, NULL, text[i % TEXTS], (int64_t)rng_below(&r, 1u << 30), STORE_NO_TIME,
            STORE_NO_TIME};
        if (store_put_post(s, &p, &what, &e))
            exit(1);
    }
    if (store_commit(s, &e))
        exit(1);
}

static void bench_batch(struct judge *j, char **text, int n)
{
    char path[] = "bench-XXXXXX", side[64];
    struct err e;
    struct store *s;
    struct batch_result result;
    struct batch_options o = {.workers = 1, .weight = WEIGHT_DEFAULT};
    struct rusage before, after;
    close(mkstemp(path));
    unlink(path);
    double floor = sqlite_rows_per_second(path, n);
    if (store_open(&s, path, STORE_CREATE, &e))
        exit(1);
    fill(s, text, n);
    getrusage(RUSAGE_SELF, &before);
    uint64_t start = when_monotonic_ns();
    if (batch_run(s, j, &o, &result, NULL, NULL, &e)) {
        fprintf(stderr, "bench: %s\n", e.msg);
        exit(1);
    }
    double rate = n / seconds_since(start);
    getrusage(RUSAGE_SELF, &after);
    printf("batch: %.0f posts/s of %d, one thread; %.0f %% of the %.0f rows/s that SQLite stores bare; peak "
           "memory grew "
           "%ld KiB\n",
           rate, n, 100 * rate / floor, floor, after.ru_maxrss - before.ru_maxrss);
    store_close(s);
    unlink(path);
    for (int i = 0; i < 2; i++) {
        snprintf(side, sizeof side, "%s%s", path, i ? "-shm" : "-wal");
        unlink(side);
    }
}

int main(int argc, char **argv)
{
    struct err e;
    struct judge *j;
    struct judge_options o = {.mode = "linear"};
    struct rng r = {7};
    char *text[TEXTS];
    int posts = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 100000;
    if (judge_open(&j, &o, &e)) {
        fprintf(stderr, "bench: %s\n", e.msg);
        return 1;
    }
    for (int i = 0; i < TEXTS; i++)
        text[i] = make_text(&r);
    bench_judging(j, text);
    bench_batch(j, text, posts);
    for (int i = 0; i < TEXTS; i++)
        free(text[i]);
    judge_close(j);
    return 0;
}
