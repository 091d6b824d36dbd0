#include "base/size.h"
#include "base/stop.h"
#include "cli/cli.h"
#include "pipeline/import.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPT_DB = OPT_FIRST, OPT_KEEP_GOING, OPT_JSON, REPORTS_MAX = 20 };

static const struct option options[] = {{"db", required_argument, NULL, OPT_DB},
                                        {"keep-going", no_argument, NULL, OPT_KEEP_GOING},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"help", no_argument, NULL, 'h'},
                                        {0}};

struct files {
    char **path; /* owned */
    size_t n, capacity;
};

static int add_file(struct files *f, const char *path, struct err *e)
{
    if (f->n == f->capacity) {
        size_t want = f->capacity ? 2 * f->capacity : 8;
        char **p = realloc(f->path, want * sizeof *p);
        if (!p)
            return err_set(e, ERR_MEMORY, "out of memory");
        f->path = p;
        f->capacity = want;
    }
    f->path[f->n] = strdup(path);
    return f->path[f->n++] ? 0 : err_set(e, ERR_MEMORY, "out of memory");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Of a directory, the files whose names say what they are; the rest (a README) is none of ours. */
static int add_directory(struct files *f, const char *dir, struct err *e)
{
    static const char *const extensions[] = {".csv", ".tsv", ".jsonl", ".ndjson"};
    struct dirent **entry;
    size_t before = f->n;
    int n = scandir(dir, &entry, NULL, by_name), rc = 0;
    if (n < 0)
        return err_errno(e, "%s", dir);
    for (int i = 0; i < n; i++) {
        const char *name = entry[i]->d_name;
        char path[4096];
        enum import_kind kind;
        snprintf(path, sizeof path, "%s/%s", dir, name);
        for (size_t k = 0; k < COUNT_OF(extensions) && !rc; k++) {
            size_t stem = strcspn(name, ".");
            if (strcmp(name + stem, extensions[k]) == 0 && import_kind_of(&kind, path, NULL) == 0)
                rc = add_file(f, path, e);
        }
        free(entry[i]);
    }
    free(entry);
    if (!rc && f->n == before)
        rc = err_set(e, ERR_MISSING, "%s: holds no people, missions, surveys or posts (.csv, .tsv, .jsonl)",
                     dir);
    return rc;
}

static int add_path(struct files *f, const char *path, struct err *e)
{
    struct stat st;
    enum import_kind kind;
    if (stat(path, &st))
        return err_errno(e, "%s", path);
    if (S_ISDIR(st.st_mode))
        return add_directory(f, path, e);
    int rc = import_kind_of(&kind, path, e);
    return rc ? rc : add_file(f, path, e);
}

struct reports {
    bool quiet; /* they were told already */
    size_t lines;
};

static void report(void *context, bool notice, const char *message)
{
    struct reports *r = context;
    if (!r->quiet && (notice || r->lines++ < REPORTS_MAX))
        fprintf(stderr, "gyeol: %s%s\n", message, notice ? " (ignored)" : "");
}

static int print_result(const struct import_result *r, bool json)
{
    json_t *o = json_object();
    for (int k = 0; k < IMPORT_KINDS; k++) {
        if (!json)
            printf("%-9s %zu added, %zu changed, %zu as they were\n", import_kind_name[k], r->added[k],
                   r->changed[k], r->same[k]);
        json_object_set_new(o, import_kind_name[k],
                            json_pack("{s:I, s:I, s:I}", "added", (json_int_t)r->added[k], "changed",
                                      (json_int_t)r->changed[k], "same", (json_int_t)r->same[k]));
    }
    json_object_set_new(o, "bad", json_integer((json_int_t)r->bad));
    if (json)
        return cli_print_json(o);
    json_decref(o);
    return EXIT_OK;
}

struct arguments {
    const char *db;
    bool keep_going, json;
    struct files files;
};

static int import_into(const struct arguments *o, const char *url, enum store_open_mode mode, bool quiet,
                       struct import_result *r, struct err *e)
{
    struct store *s;
    struct reports reports = {.quiet = quiet};
    int rc = store_open(&s, url, mode, e);
    if (rc)
        return rc;
    rc = import_files(s, (const char *const *)o->files.path, o->files.n, o->keep_going, report, &reports, r,
                      e);
    store_close(s);
    if (reports.lines > REPORTS_MAX)
        fprintf(stderr, "gyeol: ... and %zu more such rows\n", reports.lines - REPORTS_MAX);
    return rc;
}

/* Before a database is made, the files are tried on one that vanishes: a first import that is refused leaves
 * nothing behind. */
static int import(const struct arguments *o, struct err *e)
{
    struct import_result r;
    const char *url = cli_database(o->db), *path = strncmp(url, "sqlite:", 7) ? url : url + 7;
    bool is_new = *path && !strstr(url, "://") && access(path, F_OK) != 0;
    int rc = is_new ? import_into(o, NULL, STORE_SCRATCH, false, &r, e) : 0;
    if (!rc)
        rc = import_into(o, url, STORE_CREATE, is_new, &r, e);
    return rc ? rc : print_result(&r, o->json);
}

static int run(int argc, char **argv)
{
    struct err e;
    struct arguments o = {0};
    int c, rc = 0;
    while ((c = cli_option(&cmd_import, argc, argv, options)) != -1)
        switch (c) {
        case 'h':
            return EXIT_OK;
        case '?':
            return EXIT_USAGE;
        case OPT_DB:
            o.db = optarg;
            break;
        case OPT_KEEP_GOING:
            o.keep_going = true;
            break;
        case OPT_JSON:
            o.json = true;
            break;
        }
    if (optind == argc)
        return cli_usage(&cmd_import, "want a directory or files");
    stop_install();
    for (int i = optind; i < argc && !rc; i++)
        rc = add_path(&o.files, argv[i], &e);
    if (!rc)
        rc = import(&o, &e);
    for (size_t i = 0; i < o.files.n; i++)
        free(o.files.path[i]);
    free(o.files.path);
    return rc < 0 ? cli_fail(&e) : rc;
}

const struct command cmd_import = {
    "import", "people, missions, surveys and posts from CSV, TSV or JSON lines",
    "usage: gyeol import [OPTIONS] PATH...\n\n"
    "PATH is a directory, or files named people, missions, surveys or posts with the extension .csv (RFC "
    "4180),\n"
    ".tsv, .jsonl or .ndjson. Their columns (those in brackets may be absent):\n\n"
    "  people    id\n"
    "  missions  id [title] [description]\n"
    "  surveys   person [taken_at] ei sn tf jp          scores 0 to 100; without taken_at from the "
    "beginning\n"
    "  posts     id person [mission] [written_at] content [edited_at] [deleted_at]\n\n"
    "Times are ISO 8601, without a zone Asia/Seoul. Creates the database if need be. Importing again "
    "changes\n"
    "only what is different: a row says all there is, so a post without deleted_at is live. People whom "
    "surveys\n"
    "and posts name are created too. If a row is not good, nothing is imported; the first 20 such rows are "
    "named.\n\n"
    "  --db PATH            the database (default $GYEOL_DB, else gyeol.db)\n"
    "  --keep-going         import the good rows although others are not (exit status 0); ignore unknown "
    "columns\n"
    "  --json               the summary as JSON\n",
    run};
