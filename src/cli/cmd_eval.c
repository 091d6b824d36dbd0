#include "base/progress.h"
#include "base/stop.h"
#include "base/when.h"
#include "cli/eval.h"
#include "judge/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPT_KIND = OPT_FIRST,
    OPT_ROWS,
    OPT_APPEND,
    OPT_AGAINST,
    OPT_SEED,
    OPT_ERRORS,
    OPT_JSON,
    ROUNDS = 1000
};

static const struct option options[] = {JUDGE_OPTIONS,
                                        {"kind", required_argument, NULL, OPT_KIND},
                                        {"rows", required_argument, NULL, OPT_ROWS},
                                        {"append", required_argument, NULL, OPT_APPEND},
                                        {"against", required_argument, NULL, OPT_AGAINST},
                                        {"seed", required_argument, NULL, OPT_SEED},
                                        {"errors", no_argument, NULL, OPT_ERRORS},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"help", no_argument, NULL, 'h'},
                                        {0}};

struct evaluation {
    struct scored *row;
    double *ms; /* per row, sorted by summarise() */
    size_t n;
    struct metrics metrics;
    double p50, p95, mean;
};

static void print_error(const struct labelled_post *p, const struct scored *r)
{
    char labels[AXES + 1] = {0}, decisions[AXES + 1] = {0};
    bool wrong = false;
    for (int a = 0; a < AXES; a++) {
        labels[a] = label_char(r->label[a]);
        decisions[a] = label_char(r->decision[a]);
        wrong |= r->label[a] != LABEL_UNKNOWN && r->label[a] != r->decision[a];
    }
    if (!wrong)
        return;
    printf("%zu\t%s\t%s\t", p->line, labels, decisions);
    for (const char *s = p->text; *s; s++)
        putchar((unsigned char)*s < ' ' ? ' ' : *s);
    putchar('\n');
}

static int judge_row(const struct judge *j, const struct labelled_post *p, struct scored *r, double *ms,
                     struct err *e)
{
    struct judge_input in = {p->text, p->mission};
    struct judge_verdict v;
    uint64_t start = when_monotonic_ns();
    int rc = judge_text(j, &in, &v, e);
    *ms = (double)(when_monotonic_ns() - start) / 1e6;
    if (rc)
        return err_prefix(e, "line %zu: ", p->line);
    eval_scored(r, p, &v);
    return 0;
}

static int judge_rows(struct evaluation *v, const struct eval_arguments *o, const struct judge *j,
                      const struct eval_rows *rows, struct err *e)
{
    struct progress bar;
    int rc = 0;
    v->row = calloc(rows->n, sizeof *v->row);
    v->ms = calloc(rows->n, sizeof *v->ms);
    if (!v->row || !v->ms)
        return err_set(e, ERR_MEMORY, "out of memory for %zu rows", rows->n);
    progress_start(&bar, "judging", rows->n);
    for (; v->n < rows->n && !rc; v->n += rc == 0) {
        if (stop_requested()) {
            rc = err_set(e, ERR_STOPPED, "interrupted");
            break;
        }
        rc = judge_row(j, rows->row[v->n], &v->row[v->n], &v->ms[v->n], e);
        if (rc)
            err_prefix(e, "%s: ", o->path);
        if (!rc && o->errors)
            print_error(rows->row[v->n], &v->row[v->n]);
        progress_update(&bar, v->n);
    }
    progress_finish(&bar);
    return rc;
}

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void summarise_latency(struct evaluation *v)
{
    qsort(v->ms, v->n, sizeof *v->ms, ascending);
    v->p50 = v->ms[v->n / 2];
    v->p95 = v->ms[(size_t)((double)(v->n - 1) * 0.95 + 0.5)];
    for (size_t i = 0; i < v->n; i++)
        v->mean += v->ms[i] / (double)v->n;
}

static json_t *overall_json(const struct metrics *m)
{
    json_t *o = json_object(), *ci = json_object();
    for (int k = 0; k < METRICS; k++)
        json_object_set_new(o, metric_name[k], cli_json_real(m->overall[k], 4));
    for (int k = 0; k < METRICS_BOOTSTRAPPED; k++)
        json_object_set_new(ci, metric_name[k],
                            isnan(m->ci95[k][0]) ? json_null()
                                                 : json_pack("[o, o]", cli_json_real(m->ci95[k][0], 4),
                                                             cli_json_real(m->ci95[k][1], 4)));
    json_object_set_new(o, "ci95", ci);
    return o;
}

static int print_json(const struct evaluation *v, const struct eval_arguments *o, const struct judge *j)
{
    json_t *axes = json_object();
    for (int a = 0; a < AXES; a++) {
        const struct axis_metrics *m = &v->metrics.axis[a];
        json_t *x = json_pack("{s:I, s:I}", "moved", (json_int_t)m->moved, "kept", (json_int_t)m->kept);
        for (int k = 0; k < METRICS; k++)
            json_object_set_new(x, metric_name[k], cli_json_real(m->value[k], 4));
        json_object_set_new(x, "majority", cli_json_real(m->majority, 4));
        json_object_set_new(axes, axis_info[a].key, x);
    }
    return cli_print_json(json_pack("{s:o, s:I, s:o, s:o, s:o, s:{s:o, s:o, s:o}}", "data",
                                    cli_json_text(o->path), "rows", (json_int_t)v->n, "judge",
                                    cli_json_identity(j), "axes", axes, "overall", overall_json(&v->metrics),
                                    "latency_ms", "p50", cli_json_real(v->p50, 4), "p95",
                                    cli_json_real(v->p95, 4), "mean", cli_json_real(v->mean, 4)));
}

static void print_figure(double v)
{
    if (isnan(v))
        printf("      -");
    else
        printf("  %.3f", v);
}

static int print_table(const struct evaluation *v, const struct eval_arguments *o, const struct judge *j)
{
    const struct metrics *m = &v->metrics;
    printf("%s: %zu rows, judged by %s (%s)\n\n%-20s", o->path, v->n, j->identity.model, j->identity.mode,
           "");
    for (int a = 0; a < AXES; a++)
        printf("  %5s", axis_info[a].column);
    printf("  overall  95 %% interval\n");
    for (int k = 0; k < METRICS; k++) {
        printf("%-20s", metric_name[k]);
        for (int a = 0; a < AXES; a++)
            print_figure(m->axis[a].value[k]);
        print_figure(m->overall[k]);
        if (k < METRICS_BOOTSTRAPPED && !isnan(m->ci95[k][0]))
            printf("    %.3f to %.3f", m->ci95[k][0], m->ci95[k][1]);
        puts("");
    }
    printf("%-20s", "majority (floor)");
    for (int a = 0; a < AXES; a++)
        print_figure(m->axis[a].majority);
    printf("\n%-20s", "rows moved / kept");
    for (int a = 0; a < AXES; a++)
        printf("  %zu/%zu", m->axis[a].moved, m->axis[a].kept);
    printf("\nlatency              median %.3f ms, 95th percentile %.3f ms, mean %.3f ms\n", v->p50, v->p95,
           v->mean);
    return EXIT_OK;
}

static int evaluate(const struct eval_rows *rows, const struct eval_arguments *o, const struct judge *j,
                    struct err *e)
{
    struct evaluation v = {0};
    int rc = judge_rows(&v, o, j, rows, e);
    if (!rc)
        rc = metrics_compute(&v.metrics, v.row, v.n, ROUNDS, (uint64_t)o->seed, e);
    if (!rc) {
        summarise_latency(&v);
        rc = o->json ? print_json(&v, o, j) : print_table(&v, o, j);
    }
    free(v.row);
    free(v.ms);
    return rc;
}

static int open_and_run(struct eval_arguments *o, struct err *e)
{
    struct eval_rows rows = {0};
    struct judge *j = NULL;
    int rc = eval_read(&rows, o, e);
    if (!rc)
        rc = cli_judge_open(&j, &o->judge, e);
    if (!rc)
        rc = o->append    ? eval_append(&rows, o, j, e)
             : o->against ? eval_against(&rows, o, j, e)
                          : evaluate(&rows, o, j, e);
    eval_rows_deinit(&rows);
    judge_close(j);
    return rc;
}

static int run(int argc, char **argv)
{
    struct eval_arguments o = {.seed = 1};
    struct err e;
    int c;
    while ((c = cli_option(&cmd_eval, argc, argv, options)) != -1)
        switch (c) {
        case 'h':
            return EXIT_OK;
        case '?':
            return EXIT_USAGE;
        case OPT_KIND:
            o.kind = optarg;
            break;
        case OPT_ROWS:
            if (cli_number(&o.rows, "--rows", optarg, 1, INT64_MAX, &e))
                return cli_fail(&e);
            break;
        case OPT_APPEND:
            o.append = optarg;
            break;
        case OPT_AGAINST:
            o.against = optarg;
            break;
        case OPT_SEED:
            if (cli_number(&o.seed, "--seed", optarg, 0, INT64_MAX, &e))
                return cli_fail(&e);
            break;
        case OPT_ERRORS:
            o.errors = true;
            break;
        case OPT_JSON:
            o.json = true;
            break;
        default:
            cli_judge_option(&o.judge, c, optarg);
        }
    if (argc - optind != 1)
        return cli_usage(&cmd_eval, "want one file of labelled posts");
    if (o.append && o.against)
        return cli_usage(&cmd_eval, "--append and --against are two commands");
    if (o.errors && (o.json || o.append || o.against))
        return cli_usage(&cmd_eval, "--errors prints text and cannot go with --%s",
                         o.json     ? "json"
                         : o.append ? "append"
                                    : "against");
    o.path = argv[optind];
    stop_install();
    int rc = open_and_run(&o, &e);
    return rc < 0 ? cli_fail(&e) : rc;
}

const struct command cmd_eval = {
    "eval", "quality of one judge on labelled posts",
    "usage: gyeol eval [OPTIONS] DATA.tsv\n\n"
    "Judges labelled posts and compares. On rows labelled + or - on an axis: `meaningful` is the share "
    "decided in\n"
    "that direction, `wrong` the share decided in the opposite one, `direction_accuracy`, "
    "`balanced_accuracy` and\n"
    "`auc` come from a forced choice by p_up - p_down, `majority` is what always answering the commoner "
    "direction\n"
    "scores. On rows labelled 0 `unneeded` is the share moved. `macro_f1` counts three classes, `ece` is "
    "the\n"
    "calibration error of the top class. Overall figures are means over the axes; intervals are 95 % "
    "percentile\n"
    "bootstrap intervals over rows.\n\n"
    "  --kind KIND          only rows whose column `kind` says so\n"
    "  --rows N             only N rows, drawn at random by the seed\n"
    "  --against JUDGE      instead: two judges on the same rows, A being the one below and B linear (the "
    "linear judge\n"
    "                       compiled in), builtin (the default compiled in) or a path as --model takes; "
    "figures of both,\n"
    "                       differences with paired bootstrap intervals (by `user` where there is one), "
    "McNemar's\n"
    "                       exact test, and who is better\n"
    "  --append FILE        instead: every row alone and with each `text` of FILE (TSV, CSV or JSON lines) "
    "behind it;\n"
    "                       says how many verdicts change\n"
    "  --errors             first every row judged otherwise than labelled: line, labels, decisions, text\n"
    "  --seed N             of the bootstrap and of --rows (default 1)\n"
    "  --json               one JSON object\n" JUDGE_HELP,
    run};
