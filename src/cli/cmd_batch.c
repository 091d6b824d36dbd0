#include "base/log.h"
#include "base/progress.h"
#include "base/stop.h"
#include "cli/cli.h"
#include "pipeline/batch.h"

#include <stdio.h>
#include <string.h>

struct arguments {
    struct judge_options judge;
    struct batch_options batch;
    const char *db;
    bool follow, json;
};

enum {
    OPT_DB = OPT_FIRST,
    OPT_LIMIT,
    OPT_USER,
    OPT_WORKERS,
    OPT_FOLLOW,
    OPT_REJUDGE,
    OPT_POLICY,
    OPT_WEIGHT,
    OPT_JSON
};
enum { FOLLOW_MS = 500 };

static const struct option options[] = {JUDGE_OPTIONS,
                                        {"db", required_argument, NULL, OPT_DB},
                                        {"limit", required_argument, NULL, OPT_LIMIT},
                                        {"user", required_argument, NULL, OPT_USER},
                                        {"workers", required_argument, NULL, OPT_WORKERS},
                                        {"follow", no_argument, NULL, OPT_FOLLOW},
                                        {"rejudge", no_argument, NULL, OPT_REJUDGE},
                                        {"policy", required_argument, NULL, OPT_POLICY},
                                        {"weight", required_argument, NULL, OPT_WEIGHT},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"help", no_argument, NULL, 'h'},
                                        {0}};

static int parse_policy(enum policy *out, const char *name, struct err *e)
{
    int p = policy_parse(name);
    if (p < 0)
        return err_set(e, ERR_USAGE, "--policy %.40s: want fixed or weighted", name);
    *out = (enum policy)p;
    return 0;
}

static int take(struct arguments *o, int option, const char *value, struct err *e)
{
    int64_t n = 0;
    int rc = 0;
    switch (option) {
    case OPT_DB:
        o->db = value;
        return 0;
    case OPT_USER:
        o->batch.person = value;
        return 0;
    case OPT_FOLLOW:
        o->follow = true;
        return 0;
    case OPT_REJUDGE:
        o->batch.rejudge = true;
        return 0;
    case OPT_JSON:
        o->json = true;
        return 0;
    case OPT_POLICY:
        return parse_policy(&o->batch.policy, value, e);
    case OPT_LIMIT:
        return cli_number(&o->batch.limit, "--limit", value, 1, INT64_MAX, e);
    case OPT_WORKERS:
        rc = cli_number(&n, "--workers", value, 1, 256, e);
        o->batch.workers = (int)n;
        return rc;
    case OPT_WEIGHT:
        rc = cli_number(&n, "--weight", value, 1, SCORE_MAX, e);
        o->batch.weight = (int)n;
        return rc;
    }
    cli_judge_option(&o->judge, option, value);
    return 0;
}

static void show(void *context, int64_t done)
{
    progress_update(context, (uint64_t)done);
}

static json_t *result_json(const struct batch_result *r, const struct judge *j)
{
    json_t *axes = json_object();
    for (int a = 0; a < AXES; a++)
        json_object_set_new(
            axes, axis_info[a].key,
            json_pack("{s:I, s:I}", "up", (json_int_t)r->up[a], "down", (json_int_t)r->down[a]));
    return json_pack("{s:I, s:I, s:I, s:I, s:b, s:o, s:o}", "judged", (json_int_t)r->judged, "recounted",
                     (json_int_t)r->recounted, "too_short", (json_int_t)r->kept_short, "failed",
                     (json_int_t)r->failed, "interrupted", stop_requested(), "judge", cli_json_identity(j),
                     "axes", axes);
}

static void print_result(const struct batch_result *r)
{
    printf("%lld posts judged", (long long)r->judged);
    if (r->kept_short)
        printf(", %lld of them too short to judge", (long long)r->kept_short);
    puts("");
    if (r->recounted)
        printf("%lld judged by this model before count again, with the policy and weight of then\n",
               (long long)r->recounted);
    for (int a = 0; a < AXES && r->judged; a++)
        printf("  %s/%s  %lld towards %s, %lld towards %s\n", axis_info[a].pole_down, axis_info[a].pole_up,
               (long long)r->up[a], axis_info[a].pole_up, (long long)r->down[a], axis_info[a].pole_down);
}

static int once(const struct arguments *o, struct store *s, const struct judge *j, struct batch_result *r,
                struct err *e)
{
    struct progress bar;
    int64_t total;
    int rc = batch_count(s, j, &o->batch, &total, e);
    if (rc)
        return rc;
    if (o->batch.limit && total > o->batch.limit)
        total = o->batch.limit;
    progress_start(&bar, "judging", (uint64_t)total);
    rc = batch_run(s, j, &o->batch, r, show, &bar, e);
    progress_finish(&bar);
    return rc;
}

static int report(const struct arguments *o, const struct judge *j, const struct batch_result *r)
{
    if (o->json)
        return cli_print_json(result_json(r, j));
    print_result(r);
    return EXIT_OK;
}

static int judge_once(const struct arguments *o, struct store *s, const struct judge *j, struct err *e)
{
    struct batch_result r;
    int rc = once(o, s, j, &r, e);
    if (!rc)
        rc = report(o, j, &r);
    if (!rc && stop_requested())
        rc = err_set(e, ERR_STOPPED,
                     "interrupted; what was judged is kept, run gyeol batch again for the rest");
    if (!rc && r.failed)
        rc =
            err_set(e, ERR_FORMAT, "%lld post%s could not be judged and still wait%s; the first: %s",
                    (long long)r.failed, r.failed == 1 ? "" : "s", r.failed == 1 ? "s" : "", r.first_failure);
    return rc;
}

/* Until interrupted, which is how it is meant to end. A long import holds the lock; it will be free again. */
static int follow(const struct arguments *o, struct store *s, const struct judge *j, struct err *e)
{
    int64_t failed = 0;
    int rc = 0;
    while (!rc && !stop_requested()) {
        struct batch_result r = {0};
        rc = once(o, s, j, &r, e);
        if (rc == ERR_BUSY) {
            log_write(LOG_WARN, "%s", e->msg);
            rc = 0;
        }
        if (!rc && (r.judged || r.recounted)) /* also what was committed before the lock was taken away */
            rc = report(o, j, &r);
        if (!rc && r.failed != failed) /* not at every round again */
            log_write(LOG_WARN, "%lld posts cannot be judged and wait; the first: %s", (long long)r.failed,
                      r.first_failure);
        failed = r.failed;
        fflush(stdout);
        if (!rc)
            stop_sleep(FOLLOW_MS);
    }
    return rc;
}

static int run(int argc, char **argv)
{
    struct arguments o = {.batch = {.weight = WEIGHT_DEFAULT}};
    struct err e;
    struct store *s = NULL;
    struct judge *j = NULL;
    int c, rc = 0;
    while ((c = cli_option(&cmd_batch, argc, argv, options)) != -1) {
        if (c == 'h' || c == '?')
            return c == 'h' ? EXIT_OK : EXIT_USAGE;
        if ((rc = take(&o, c, optarg, &e)))
            return cli_fail(&e);
    }
    if (optind < argc)
        return cli_usage(&cmd_batch, "\"%.60s\": takes no argument", argv[optind]);
    stop_install();
    o.judge.quotes = true;
    rc = store_open(&s, cli_database(o.db), STORE_EXISTING, &e);
    if (!rc)
        rc = cli_judge_open(&j, &o.judge, &e); /* packing a model may take minutes */
    if (!rc)
        rc = o.follow ? follow(&o, s, j, &e) : judge_once(&o, s, j, &e);
    store_close(s);
    judge_close(j);
    return rc < 0 ? cli_fail(&e) : rc;
}

const struct command cmd_batch = {
    "batch", "judge every post not yet judged and update the scores",
    "usage: gyeol batch [OPTIONS]\n\n"
    "Judges every post that waits, in commits of 512: interrupt it (or pull the plug) whenever you like and "
    "run it\n"
    "again. Posts of frozen people, and posts written while frozen, are left alone.\n\n"
    "  --db PATH            the database (default $GYEOL_DB, else gyeol.db)\n"
    "  --limit N            at most N posts (with --follow: each time it looks)\n"
    "  --user ID            only this person's posts\n"
    "  --workers N          threads that judge (default: one per processor); the result is the same\n"
    "  --follow             go on: look for new posts every half second until interrupted\n"
    "  --rejudge            judge also posts that another model judged; this model's verdicts then count\n"
    "                       (those it gave before count as they were: policy and weight of then)\n"
    "  --policy POLICY      fixed: move by the weight (default); weighted: by\n"
    "                       round(weight x (p_up - p_down)), keep never moves\n"
    "  --weight N           points of a change, 1 to 100 (default 5)\n"
    "  --json               the summary as JSON\n" JUDGE_HELP,
    run};
