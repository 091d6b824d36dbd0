/* gyeol eval --append: an instruction written under a post must not change its verdict. */
#include "base/file.h"
#include "cli/eval.h"
#include "data/rows.h"
#include "judge/resistance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORST_SHOWN = 10 };

struct instruction {
    const char *text; /* in the arena */
    size_t line;
    struct resistance r;
};

struct attack {
    struct instruction *item;
    size_t n;
    struct resistance total;
    struct arena arena;
    struct judge_input *input; /* [n + 1][rows]: alone, then with each instruction */
    struct judge_verdict *verdict;
};

static int add_instruction(struct attack *k, const struct rows *r, const char *path, struct err *e)
{
    const char *text = rows_get(r, 0);
    if (!text || !*text)
        return err_set(e, ERR_FORMAT, "%s:%zu: text is empty", path, rows_line(r));
    struct instruction *grown = realloc(k->item, (k->n + 1) * sizeof *grown);
    if (!grown)
        return err_set(e, ERR_MEMORY, "out of memory for %zu instructions", k->n + 1);
    k->item = grown;
    const char *copy = arena_copy(&k->arena, text, strlen(text));
    if (!copy)
        return err_set(e, ERR_MEMORY, "out of memory for %zu instructions", k->n + 1);
    k->item[k->n++] = (struct instruction){.text = copy, .line = rows_line(r)};
    return 0;
}

static int read_instructions(struct attack *k, const char *path, struct err *e)
{
    static const char *const wanted[] = {"text"};
    enum rows_format format;
    struct rows *r = NULL;
    char *bytes = NULL;
    size_t n;
    int rc = rows_format_of(&format, path, e);
    if (!rc)
        rc = file_read(&bytes, &n, path, (size_t)1 << 24, e);
    if (!rc)
        rc = rows_open(&r, path, format, bytes, n, wanted, 1, e);
    if (!rc && !rows_has(r, 0))
        rc = err_set(e, ERR_FORMAT, "%s:1: no column text", path);
    while (!rc && (rc = rows_next(r, e)) > 0)
        rc = add_instruction(k, r, path, e);
    if (!rc && k->n == 0)
        rc = err_set(e, ERR_FORMAT, "%s: no rows after the header", path);
    rows_close(r);
    free(bytes);
    return rc;
}

/* The post, one space, the instruction: as somebody would go on writing. */
static const char *joined(struct arena *a, const char *post, const char *instruction)
{
    size_t n = strlen(post), m = strlen(instruction);
    char *text = arena_alloc(a, n + m + 2, 1);
    if (text) {
        memcpy(text, post, n);
        text[n] = ' ';
        memcpy(text + n + 1, instruction, m + 1);
    }
    return text;
}

static int fill(struct attack *k, const struct eval_rows *rows, struct err *e)
{
    size_t all = (k->n + 1) * rows->n;
    k->input = calloc(all, sizeof *k->input);
    k->verdict = calloc(all, sizeof *k->verdict);
    if (!k->input || !k->verdict)
        return err_set(e, ERR_MEMORY, "out of memory for %zu posts", all);
    for (size_t i = 0; i < all; i++) {
        const struct labelled_post *p = rows->row[i % rows->n];
        size_t with = i / rows->n;
        const char *text = with ? joined(&k->arena, p->text, k->item[with - 1].text) : p->text;
        if (!text)
            return err_set(e, ERR_MEMORY, "out of memory for %zu posts", all);
        k->input[i] = (struct judge_input){text, p->mission};
    }
    return 0;
}

static int judge_all(struct attack *k, const struct eval_rows *rows, const struct eval_arguments *o,
                     const struct judge *j, struct err *e)
{
    size_t at = 0;
    int rc = eval_judge(j, k->input, (k->n + 1) * rows->n, "judging", k->verdict, &at, e);
    if (rc && at / rows->n > 0)
        err_prefix(e, "with %s:%zu behind it: ", o->append, k->item[at / rows->n - 1].line);
    if (rc)
        return rc == ERR_STOPPED ? rc : err_prefix(e, "%s:%zu: ", o->path, rows->row[at % rows->n]->line);
    for (size_t i = 0; i < k->n; i++) {
        for (size_t x = 0; x < rows->n; x++)
            resistance_count(&k->item[i].r, &k->verdict[x], &k->verdict[(i + 1) * rows->n + x]);
        resistance_add(&k->total, &k->item[i].r);
    }
    return 0;
}

static int worst_first(const void *x, const void *y)
{
    const struct instruction *a = x, *b = y;
    size_t m = resistance_all(&a->r), n = resistance_all(&b->r);
    return m != n ? (m < n) - (m > n) : (a->line > b->line) - (a->line < b->line);
}

static double rate(size_t changed, size_t of)
{
    return (double)changed / (double)of;
}

static json_t *axes_json(const struct resistance *r)
{
    json_t *axes = json_object();
    for (int a = 0; a < AXES; a++) {
        json_t *x = json_pack("{s:I, s:o}", "changed", (json_int_t)resistance_axis(r, a), "rate",
                              cli_json_real(rate(resistance_axis(r, a), r->posts), 4));
        for (int c = 0; c < RESISTANCE_CHANGES; c++)
            json_object_set_new(x, resistance_change_name[c], json_integer((json_int_t)r->changed[a][c]));
        json_object_set_new(axes, axis_info[a].key, x);
    }
    return axes;
}

static int print_json(const struct attack *k, const struct eval_rows *rows, const struct eval_arguments *o,
                      const struct judge *j)
{
    const struct resistance *r = &k->total;
    json_t *each = json_array();
    for (size_t i = 0; i < k->n; i++) {
        size_t changed = resistance_all(&k->item[i].r);
        json_array_append_new(each,
                              json_pack("{s:I, s:o, s:I, s:o}", "line", (json_int_t)k->item[i].line, "text",
                                        cli_json_text(k->item[i].text), "changed", (json_int_t)changed,
                                        "rate", cli_json_real(rate(changed, AXES * rows->n), 4)));
    }
    size_t changed = resistance_all(r);
    return cli_print_json(json_pack(
        "{s:o, s:I, s:o, s:o, s:I, s:I, s:I, s:o, s:I, s:o, s:o, s:o}", "data", cli_json_text(o->path),
        "rows", (json_int_t)rows->n, "judge", cli_json_identity(j), "append", cli_json_text(o->append),
        "instructions", (json_int_t)k->n, "verdicts", (json_int_t)(AXES * r->posts), "changed",
        (json_int_t)changed, "rate", cli_json_real(rate(changed, AXES * r->posts), 4), "posts_changed",
        (json_int_t)r->posts_changed, "posts_rate", cli_json_real(rate(r->posts_changed, r->posts), 4),
        "axes", axes_json(r), "by_instruction", each));
}

static void print_text(const char *s)
{
    for (; *s; s++)
        putchar((unsigned char)*s < ' ' ? ' ' : *s);
}

static int print_table(const struct attack *k, const struct eval_rows *rows, const struct eval_arguments *o,
                       const struct judge *j)
{
    const struct resistance *r = &k->total;
    printf("%s: %zu rows, each alone and with %zu instructions of %s behind it, judged by %s (%s)\n\n",
           o->path, rows->n, k->n, o->append, j->identity.model, j->identity.mode);
    printf("verdicts changed     %zu of %zu (%.2f %%)\nposts changed        %zu of %zu (%.2f %%)\n\n",
           resistance_all(r), AXES * r->posts, 100 * rate(resistance_all(r), AXES * r->posts),
           r->posts_changed, r->posts, 100 * rate(r->posts_changed, r->posts));
    printf("%-20s", "");
    for (int a = 0; a < AXES; a++)
        printf("  %6s", axis_info[a].column);
    for (int c = 0; c < RESISTANCE_CHANGES; c++) {
        printf("\n%-20s", resistance_change_name[c]);
        for (int a = 0; a < AXES; a++)
            printf("  %6zu", r->changed[a][c]);
    }
    printf("\n%-20s", "of verdicts");
    for (int a = 0; a < AXES; a++)
        printf("  %4.2f %%", 100 * rate(resistance_axis(r, a), r->posts));
    puts("\n");
    for (size_t i = 0; i < k->n && i < WORST_SHOWN && resistance_all(&k->item[i].r); i++) {
        printf("%5.2f %%  line %zu  ", 100 * rate(resistance_all(&k->item[i].r), AXES * rows->n),
               k->item[i].line);
        print_text(k->item[i].text);
        puts("");
    }
    return EXIT_OK;
}

int eval_append(const struct eval_rows *rows, const struct eval_arguments *o, const struct judge *j,
                struct err *e)
{
    struct attack k = {0};
    int rc = read_instructions(&k, o->append, e);
    if (!rc)
        rc = fill(&k, rows, e);
    if (!rc)
        rc = judge_all(&k, rows, o, j, e);
    if (!rc) {
        qsort(k.item, k.n, sizeof *k.item, worst_first);
        rc = o->json ? print_json(&k, rows, o, j) : print_table(&k, rows, o, j);
    }
    free(k.item);
    free(k.input);
    free(k.verdict);
    arena_deinit(&k.arena);
    return rc;
}
