#include "base/file.h"
#include "base/log.h"
#include "base/size.h"
#include "cli/cli.h"
#include "data/check.h"
#include "data/split.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { OPT_ALLOW = OPT_FIRST, OPT_OUT, OPT_TRAIN, OPT_DEV, OPT_TEST, OPT_SEED, OPT_SIMILARITY, OPT_JSON };
enum { SHOWN = 10 }; /* findings of each kind printed as text; JSON gives all that are kept */

static const struct option options[] = {{"allow", required_argument, NULL, OPT_ALLOW},
                                        {"out", required_argument, NULL, OPT_OUT},
                                        {"train", required_argument, NULL, OPT_TRAIN},
                                        {"dev", required_argument, NULL, OPT_DEV},
                                        {"test", required_argument, NULL, OPT_TEST},
                                        {"seed", required_argument, NULL, OPT_SEED},
                                        {"similarity", required_argument, NULL, OPT_SIMILARITY},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"help", no_argument, NULL, 'h'},
                                        {0}};

struct arguments {
    bool allowed[CHECK_KINDS], json;
    const char *out;
    double fraction[SPLIT_PARTS], similarity;
    int64_t seed;
    char **path;
    size_t n;
};

static int allow(struct arguments *o, const char *list, struct err *e)
{
    while (*list) {
        size_t n = strcspn(list, ","), k = 0;
        while (k < CHECK_KINDS &&
               (strlen(check_kind_name[k]) != n || strncmp(list, check_kind_name[k], n) != 0))
            k++;
        if (k == CHECK_KINDS)
            return err_set(e, ERR_USAGE, "--allow %.*s: no such finding; see gyeol data --help", (int)n,
                           list);
        o->allowed[k] = true;
        list += n + (list[n] == ',');
    }
    return 0;
}

/* ---- check ---- */

static void print_finding(const struct check_report *r, enum check_kind kind, const struct check_finding *f)
{
    printf("  %s:%zu", r->file[f->at.file].name, f->at.line);
    if (kind <= CHECK_NEAR_ACROSS)
        printf(" ~ %s:%zu (%.2f)", r->file[f->other.file].name, f->other.line, f->similarity);
    if (f->what)
        printf(": %s", f->what);
    if (f->rows)
        printf(" (%zu rows)", f->rows);
    puts("");
}

static int print_check(const struct check_report *r, const struct arguments *o)
{
    for (size_t i = 0; i < r->n_files; i++) {
        const struct check_file *f = &r->file[i];
        printf("%s: %zu rows%s\n", f->name, f->rows, f->weak ? ", weak labels (type)" : "");
        for (int a = 0; a < AXES; a++)
            printf("  %s  + %-5zu - %-5zu 0 %-5zu ? %zu\n", axis_info[a].key, f->label[a][CHECK_UP],
                   f->label[a][CHECK_DOWN], f->label[a][CHECK_KEEP], f->label[a][CHECK_UNKNOWN]);
    }
    for (int k = 0; k < CHECK_KINDS; k++) {
        printf("%-14s %zu%s\n", check_kind_name[k], r->count[k],
               r->count[k] && o->allowed[k] ? " (allowed)" : "");
        for (size_t i = 0; i < r->stored[k] && i < SHOWN; i++)
            print_finding(r, k, &r->finding[k][i]);
        if (r->count[k] > SHOWN)
            printf("  ... and %zu more\n", r->count[k] - SHOWN);
    }
    return EXIT_OK;
}

static json_t *finding_json(const struct check_report *r, const struct check_finding *f)
{
    return json_pack("{s:s, s:I, s:s, s:I, s:o, s:I, s:s?}", "file", r->file[f->at.file].name, "line",
                     (json_int_t)f->at.line, "other_file", r->file[f->other.file].name, "other_line",
                     (json_int_t)f->other.line, "similarity", cli_json_real(f->similarity, 4), "rows",
                     (json_int_t)f->rows, "what", f->what);
}

static int print_check_json(const struct check_report *r, const struct arguments *o)
{
    json_t *files = json_array(), *found = json_object();
    for (size_t i = 0; i < r->n_files; i++) {
        const struct check_file *f = &r->file[i];
        json_t *labels = json_object();
        for (int a = 0; a < AXES; a++)
            json_object_set_new(labels, axis_info[a].key,
                                json_pack("{s:I, s:I, s:I, s:I}", "+", (json_int_t)f->label[a][CHECK_UP], "-",
                                          (json_int_t)f->label[a][CHECK_DOWN], "0",
                                          (json_int_t)f->label[a][CHECK_KEEP], "?",
                                          (json_int_t)f->label[a][CHECK_UNKNOWN]));
        json_array_append_new(files, json_pack("{s:s, s:I, s:b, s:o}", "name", f->name, "rows",
                                               (json_int_t)f->rows, "weak", f->weak, "labels", labels));
    }
    for (int k = 0; k < CHECK_KINDS; k++) {
        json_t *list = json_array();
        for (size_t i = 0; i < r->stored[k]; i++)
            json_array_append_new(list, finding_json(r, &r->finding[k][i]));
        json_object_set_new(found, check_kind_name[k],
                            json_pack("{s:I, s:b, s:o}", "count", (json_int_t)r->count[k], "allowed",
                                      o->allowed[k], "findings", list));
    }
    return cli_print_json(
        json_pack("{s:I, s:o, s:o}", "rows", (json_int_t)r->rows, "files", files, "found", found));
}

static int verdict(const struct check_report *r, const struct arguments *o, struct err *e)
{
    char kinds[300] = "";
    size_t total = 0, at = 0;
    for (int k = 0; k < CHECK_KINDS; k++)
        if (r->count[k] && !o->allowed[k]) {
            total += r->count[k];
            at += (size_t)snprintf(kinds + at, sizeof kinds - at, "%s%s", at ? ", " : "", check_kind_name[k]);
        }
    return total ? err_set(e, ERR_FORMAT, "%zu findings that are not allowed (%s)", total, kinds) : 0;
}

static int data_check(struct arguments *o, struct err *e)
{
    struct labelled_posts *posts = calloc(o->n, sizeof *posts);
    struct check_report r = {0};
    size_t loaded = 0;
    int rc = posts ? 0 : err_set(e, ERR_MEMORY, "out of memory");
    while (!rc && loaded < o->n && !(rc = labelled_read(&posts[loaded], o->path[loaded], e)))
        loaded++;
    if (!rc)
        rc = check_posts(&r, posts, (const char *const *)o->path, o->n, e);
    if (!rc)
        rc = o->json ? print_check_json(&r, o) : print_check(&r, o);
    if (!rc)
        rc = verdict(&r, o, e);
    check_deinit(&r);
    for (size_t i = 0; i < loaded; i++)
        labelled_deinit(&posts[i]);
    free(posts);
    return rc;
}

/* ---- split ---- */

static int write_part(const struct arguments *o, const struct labelled_posts *p, const struct split *s,
                      int part, struct err *e)
{
    struct buf file = {0};
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.tsv", o->out, split_part_name[part]);
    labelled_write_header(&file, p);
    for (size_t i = 0; i < p->n; i++)
        if (s->part[i] == part)
            labelled_write_row(&file, p, i);
    int rc = buf_check(&file, path, e);
    if (!rc)
        rc = file_write(path, file.data, file.len, e);
    buf_deinit(&file);
    return rc;
}

static int print_split(const struct arguments *o, const struct split *s)
{
    json_t *rows = json_object();
    for (int k = 0; k < SPLIT_PARTS; k++) {
        json_object_set_new(rows, split_part_name[k], json_integer((json_int_t)s->rows[k]));
        if (!o->json)
            printf("%s/%s.tsv  %zu rows (wanted %zu)\n", o->out, split_part_name[k], s->rows[k],
                   s->target[k]);
    }
    if (o->json)
        return cli_print_json(json_pack("{s:s, s:o, s:I, s:I}", "out", o->out, "rows", rows, "groups",
                                        (json_int_t)s->groups, "largest_group", (json_int_t)s->largest));
    json_decref(rows);
    printf("%zu groups of near-relatives, the largest of %zu rows\n", s->groups, s->largest);
    return EXIT_OK;
}

static int data_split(struct arguments *o, struct err *e)
{
    struct labelled_posts p;
    struct split s = {0};
    int rc = labelled_read(&p, o->path[0], e);
    if (rc)
        return rc;
    if (*p.ignored)
        log_write(LOG_WARN, "%s: columns not carried over: %s", o->path[0], p.ignored);
    rc = split_make(&s, &p, o->fraction, o->similarity, (uint64_t)o->seed, e);
    if (!rc && mkdir(o->out, 0777) && errno != EEXIST)
        rc = err_errno(e, "%s", o->out);
    for (int k = 0; k < SPLIT_PARTS && !rc; k++)
        rc = write_part(o, &p, &s, k, e);
    if (!rc)
        rc = print_split(o, &s);
    split_deinit(&s);
    labelled_deinit(&p);
    return rc;
}

static int take(struct arguments *o, int option, const char *value, struct err *e)
{
    switch (option) {
    case OPT_ALLOW:
        return allow(o, value, e);
    case OPT_OUT:
        o->out = value;
        return 0;
    case OPT_TRAIN:
        return cli_real(&o->fraction[SPLIT_TRAIN], "--train", value, 0, 1, e);
    case OPT_DEV:
        return cli_real(&o->fraction[SPLIT_DEV], "--dev", value, 0, 1, e);
    case OPT_TEST:
        return cli_real(&o->fraction[SPLIT_TEST], "--test", value, 0, 1, e);
    case OPT_SEED:
        return cli_number(&o->seed, "--seed", value, 0, INT64_MAX, e);
    case OPT_SIMILARITY:
        return cli_real(&o->similarity, "--similarity", value, 0.05, 1, e);
    }
    o->json = true;
    return 0;
}

static int run(int argc, char **argv)
{
    struct arguments o = {.fraction = {0.8, 0.1, 0.1}, .similarity = SPLIT_SIMILARITY, .seed = 1};
    struct err e;
    int c, rc;
    while ((c = cli_option(&cmd_data, argc, argv, options)) != -1) {
        if (c == 'h' || c == '?')
            return c == 'h' ? EXIT_OK : EXIT_USAGE;
        if (take(&o, c, optarg, &e))
            return cli_fail(&e);
    }
    const char *action = optind < argc ? argv[optind] : "";
    o.path = argv + optind + 1;
    o.n = optind < argc ? (size_t)(argc - optind - 1) : 0;
    if (strcmp(action, "check") == 0 && o.n >= 1)
        rc = data_check(&o, &e);
    else if (strcmp(action, "split") == 0 && o.n == 1 && o.out)
        rc = data_split(&o, &e);
    else
        return cli_usage(&cmd_data, "want check FILE..., or split FILE --out DIR");
    return rc < 0 ? cli_fail(&e) : rc;
}

const struct command cmd_data = {
    "data", "check labelled posts for leaks and duplicates, or split them",
    "usage: gyeol data check FILE... [--allow FINDING,...] [--json]\n"
    "       gyeol data split FILE --out DIR [OPTIONS]\n\n"
    "check counts rows and labels and looks for:\n"
    "  exact-within, exact-across   the same text twice in a file, or in two\n"
    "  near-within, near-across     character-trigram Jaccard similarity of 0.7 or more\n"
    "  phrase                       the same four words in a row in more than 8 rows\n"
    "  person                       a user in two files\n"
    "  type-name                    INFP, MBTI, their Korean spellings\n"
    "  email, phone                 addresses and Korean telephone numbers\n"
    "and exits 1 if it finds what --allow does not name.\n\n"
    "split writes DIR/train.tsv, dev.tsv and test.tsv; rows of one user, and rows alike, stay together.\n"
    "  --out DIR                    where they go; made if need be\n"
    "  --train X --dev X --test X   shares, together 1 (default 0.8 0.1 0.1)\n"
    "  --similarity X               what counts as alike (default 0.4)\n"
    "  --seed N                     (default 1)\n"
    "  --json                       JSON instead of text\n",
    run};
