/* gyeol eval --against: two judges on the same rows. */
#include "cli/eval.h"
#include "judge/paired.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 1000 };

struct match {
    const struct judge *judge[2];
    struct scored *row[2];
    uint32_t *group; /* NULL: each row by itself */
    struct paired result;
};

/* "linear": the linear judge compiled in; "builtin": what is compiled in as the default; else a path, judged
 * as --model of that path would be. */
static int open_other(struct judge **out, const struct eval_arguments *o, struct err *e)
{
    struct judge_options other = {.model = o->against, .threads = o->judge.threads};
    if (strcmp(o->against, "linear") == 0)
        other = (struct judge_options){.mode = "linear", .threads = o->judge.threads};
    else if (strcmp(o->against, "builtin") == 0)
        other = (struct judge_options){.threads = o->judge.threads};
    return judge_open(out, &other, e) ? err_prefix(e, "--against: ") : 0;
}

static int judge_rows(struct match *m, int k, const struct judge_input *in, const struct eval_rows *rows,
                      const struct eval_arguments *o, struct err *e)
{
    struct judge_verdict *v = calloc(rows->n, sizeof *v);
    size_t at = 0;
    m->row[k] = calloc(rows->n, sizeof *m->row[k]);
    int rc = v && m->row[k] ? 0 : err_set(e, ERR_MEMORY, "out of memory for %zu rows", rows->n);
    if (!rc) {
        rc = eval_judge(m->judge[k], in, rows->n, k ? "judging with the other" : "judging", v, &at, e);
        if (rc && rc != ERR_STOPPED)
            err_prefix(e, "%s:%zu: ", o->path, rows->row[at]->line);
    }
    for (size_t i = 0; i < rows->n && !rc; i++)
        eval_scored(&m->row[k][i], rows->row[i], &v[i]);
    free(v);
    return rc;
}

struct person {
    const char *name;
    size_t row;
};

static int by_name(const void *x, const void *y)
{
    const struct person *a = x, *b = y;
    int order = strcmp(a->name, b->name);
    return order ? order : (a->row > b->row) - (a->row < b->row);
}

/* One number for each person in order of first appearance; a row without a user is by itself. */
static int group_rows(struct match *m, const struct eval_rows *rows, struct err *e)
{
    struct person *p = calloc(rows->n + 1, sizeof *p);
    uint32_t *first = calloc(rows->n + 1, sizeof *first); /* of each row: the first one of its person */
    uint32_t next = 0;
    size_t n = 0;
    m->group = calloc(rows->n + 1, sizeof *m->group);
    if (!p || !first || !m->group) {
        free(p);
        free(first);
        return err_set(e, ERR_MEMORY, "out of memory for %zu rows", rows->n);
    }
    for (size_t i = 0; i < rows->n; i++) {
        first[i] = (uint32_t)i;
        if (rows->row[i]->user)
            p[n++] = (struct person){rows->row[i]->user, i};
    }
    qsort(p, n, sizeof *p, by_name);
    for (size_t i = 1; i < n; i++)
        if (strcmp(p[i].name, p[i - 1].name) == 0)
            first[p[i].row] = first[p[i - 1].row];
    for (size_t i = 0; i < rows->n; i++)
        m->group[i] = first[i] == i ? next++ : m->group[first[i]];
    free(p);
    free(first);
    return 0;
}

static int play(struct match *m, const struct eval_rows *rows, const struct eval_arguments *o, struct err *e)
{
    struct judge_input *in = calloc(rows->n, sizeof *in);
    int rc = in ? 0 : err_set(e, ERR_MEMORY, "out of memory for %zu rows", rows->n);
    for (size_t i = 0; i < rows->n && !rc; i++)
        in[i] = (struct judge_input){rows->row[i]->text, rows->row[i]->mission};
    for (int k = 0; k < 2 && !rc; k++)
        rc = judge_rows(m, k, in, rows, o, e);
    if (!rc)
        rc = group_rows(m, rows, e);
    if (!rc)
        rc =
            paired_compute(&m->result, m->row[0], m->row[1], m->group, rows->n, ROUNDS, (uint64_t)o->seed, e);
    free(in);
    return rc;
}

static json_t *mcnemar_json(const struct mcnemar *m)
{
    return json_pack("{s:I, s:I, s:f}", "only_a", (json_int_t)m->only_a, "only_b", (json_int_t)m->only_b, "p",
                     m->p);
}

static int print_json(const struct match *m, const struct eval_rows *rows, const struct eval_arguments *o)
{
    static const char *const better[] = {"a", "b", "mixed", NULL};
    const struct paired *r = &m->result;
    json_t *measures = json_object();
    for (int k = 0; k < PAIRED_MEASURES; k++) {
        json_t *ci = isnan(r->ci95[k][0]) ? json_null()
                                          : json_pack("[o, o]", cli_json_real(r->ci95[k][0], 4),
                                                      cli_json_real(r->ci95[k][1], 4));
        json_object_set_new(measures, paired_name[k],
                            json_pack("{s:o, s:o, s:o, s:o}", "a", cli_json_real(r->a[k], 4), "b",
                                      cli_json_real(r->b[k], 4), "difference",
                                      cli_json_real(r->difference[k], 4), "ci95", ci));
    }
    return cli_print_json(json_pack("{s:o, s:I, s:I, s:o, s:o, s:o, s:{s:o, s:o}, s:s?}", "data",
                                    cli_json_text(o->path), "rows", (json_int_t)rows->n, "groups",
                                    (json_int_t)r->groups, "a", cli_json_identity(m->judge[0]), "b",
                                    cli_json_identity(m->judge[1]), "measures", measures, "mcnemar",
                                    "direction", mcnemar_json(&r->direction), "unneeded",
                                    mcnemar_json(&r->unneeded), "better", better[paired_better(r)]));
}

static void print_measure(const struct paired *r, int k)
{
    static const char *const side[] = {"A is better", "B is better", "", ""};
    printf("%-20s", paired_name[k]);
    if (isnan(r->a[k])) {
        puts("       -      -");
        return;
    }
    printf("  %.3f  %.3f     %+.3f  %+.3f to %+.3f  %s\n", r->a[k], r->b[k], r->difference[k], r->ci95[k][0],
           r->ci95[k][1], side[paired_side(r, (enum paired_measure)k)]);
}

static void print_conclusion(const struct match *m, const struct eval_rows *rows)
{
    const struct paired *r = &m->result;
    enum paired_better x = paired_better(r);
    double better_choice = r->difference[PAIRED_DIRECTION], more_moves = r->difference[PAIRED_UNNEEDED];
    if (x == PAIRED_UNKNOWN)
        printf("These %zu rows are not enough to tell which judge is better.\n", rows->n);
    else if (x == PAIRED_MIXED)
        printf("Neither is better: %s is better in direction accuracy, %s in unneeded changes.\n",
               better_choice > 0 ? "A" : "B", more_moves < 0 ? "A" : "B");
    else
        printf("%s (%s) is better: direction accuracy %+.3f, unneeded changes %+.3f against the other.\n",
               x == PAIRED_A ? "A" : "B", m->judge[x == PAIRED_B]->identity.model,
               x == PAIRED_A ? better_choice : -better_choice, x == PAIRED_A ? more_moves : -more_moves);
}

static int print_table(const struct match *m, const struct eval_rows *rows, const struct eval_arguments *o)
{
    const struct paired *r = &m->result;
    printf("%s: %zu rows, resampled as %zu %s\n", o->path, rows->n, r->groups,
           r->groups < rows->n ? "people (and rows without a user)" : "rows");
    for (int k = 0; k < 2; k++)
        printf("%c: %s (%s)\n", "AB"[k], m -> judge[k] -> identity.model, m->judge[k]->identity.mode);
    printf("\n%-20s      A      B      A - B  95 %% interval\n", "");
    for (int k = 0; k < PAIRED_MEASURES; k++)
        print_measure(r, k);
    printf(
        "\nmoved axes whose direction only A has right: %zu, only B: %zu (McNemar's exact test, p = %.3g)\n",
        r->direction.only_a, r->direction.only_b, r->direction.p);
    printf("kept axes that only A moves: %zu, only B: %zu (p = %.3g)\n\n", r->unneeded.only_a,
           r->unneeded.only_b, r->unneeded.p);
    print_conclusion(m, rows);
    return EXIT_OK;
}

int eval_against(const struct eval_rows *rows, const struct eval_arguments *o, const struct judge *j,
                 struct err *e)
{
    struct judge *other = NULL;
    struct match m = {.judge = {j}};
    int rc = open_other(&other, o, e);
    m.judge[1] = other;
    if (!rc)
        rc = play(&m, rows, o, e);
    if (!rc)
        rc = o->json ? print_json(&m, rows, o) : print_table(&m, rows, o);
    for (int k = 0; k < 2; k++)
        free(m.row[k]);
    free(m.group);
    judge_close(other);
    return rc;
}
