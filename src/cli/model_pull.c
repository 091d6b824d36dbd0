#include "base/progress.h"
#include "base/stop.h"
#include "cli/cli.h"
#include "net/pull.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct command cmd_model_pull;

enum {
    OPT_REVISION = OPT_FIRST,
    OPT_OUT,
    OPT_INCLUDE,
    OPT_ENDPOINT,
    OPT_REPLACE,
    OPT_JSON,
    INCLUDES_MAX = 64
};

static const struct option options[] = {{"revision", required_argument, NULL, OPT_REVISION},
                                        {"out", required_argument, NULL, OPT_OUT},
                                        {"include", required_argument, NULL, OPT_INCLUDE},
                                        {"endpoint", required_argument, NULL, OPT_ENDPOINT},
                                        {"replace", no_argument, NULL, OPT_REPLACE},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"help", no_argument, NULL, 'h'},
                                        {0}};

struct arguments {
    const char *name, *revision, *endpoint, *include[INCLUDES_MAX];
    struct pull_options pull;
    bool json;
};

static const char *environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

struct bar {
    struct progress progress;
    uint64_t done;
};

/* One bar for each stretch of work: a file that is checked, or the bytes fetched between two checks. */
static void show(void *context, const char *what, uint64_t done, uint64_t total)
{
    struct bar *b = context;
    struct progress *p = &b->progress;
    if (!p->what || strcmp(p->what, what) != 0 || p->total != total || done < b->done) {
        progress_finish(p);
        progress_start(p, what, total);
        p->bytes = true;
        p->before = done;
    }
    b->done = done;
    progress_update(p, done);
}

static json_t *file_json(const struct hub_file *f, enum pull_state state)
{
    return json_pack("{s:s, s:I, s:s, s:s}", "path", f->path, "size", (json_int_t)f->size,
                     strlen(f->hash) == 40 ? "git_sha1" : "sha256", f->hash, "state", pull_state_name[state]);
}

static int print_json(const struct hub *hub, const char *dir, const struct pull_result *r)
{
    json_t *files = json_array();
    for (size_t i = 0; i < r->listing.n; i++)
        if (r->listing.file[i].chosen)
            json_array_append_new(files, file_json(&r->listing.file[i], r->state[i]));
    return cli_print_json(json_pack("{s:s, s:s, s:s, s:o, s:o, s:I, s:I}", "model", hub->name, "revision",
                                    hub->revision, "commit", r->listing.commit, "dir", cli_json_text(dir),
                                    "files", files, "bytes", (json_int_t)r->bytes, "fetched",
                                    (json_int_t)r->fetched));
}

static int print_text(const struct hub *hub, const char *dir, const struct pull_result *r)
{
    char size[PROGRESS_BYTES], fetched[PROGRESS_BYTES];
    for (size_t i = 0; i < r->listing.n; i++) {
        const struct hub_file *f = &r->listing.file[i];
        if (f->chosen)
            printf("%-8s %8s  %s\n", pull_state_name[r->state[i]], progress_bytes(size, (double)f->size),
                   f->path);
    }
    printf("%s at %.12s is in %s: %zu file%s, %s, of which %s were fetched now\n", hub->name,
           r->listing.commit, dir, r->files, r->files == 1 ? "" : "s", progress_bytes(size, (double)r->bytes),
           progress_bytes(fetched, (double)r->fetched));
    return EXIT_OK;
}

static int pull(struct arguments *o, struct err *e)
{
    struct hub hub;
    struct pull_result r;
    struct bar bar = {0};
    const char *token = environment("HF_TOKEN", environment("HUGGING_FACE_HUB_TOKEN", NULL));
    int rc = hub_init(&hub, o->endpoint ? o->endpoint : environment("HF_ENDPOINT", HUB_ENDPOINT), o->name,
                      o->revision, token, e);
    if (rc)
        return rc;
    const char *slash = strchr(hub.name, '/');
    if (!o->pull.dir)
        o->pull.dir = slash ? slash + 1 : hub.name;
    o->pull.progress = show;
    o->pull.context = &bar;
    rc = pull_model(&hub, &o->pull, &r, e);
    progress_finish(&bar.progress);
    if (!rc)
        rc = o->json ? print_json(&hub, o->pull.dir, &r) : print_text(&hub, o->pull.dir, &r);
    pull_result_deinit(&r);
    return rc;
}

static int take(struct arguments *o, int option, const char *value, struct err *e)
{
    switch (option) {
    case OPT_REVISION:
        o->revision = value;
        return 0;
    case OPT_OUT:
        o->pull.dir = value;
        return *value ? 0 : err_set(e, ERR_USAGE, "--out: want a directory");
    case OPT_INCLUDE:
        if (o->pull.n_include == INCLUDES_MAX)
            return err_set(e, ERR_USAGE, "--include: at most %d of them", INCLUDES_MAX);
        o->include[o->pull.n_include++] = value;
        return 0;
    case OPT_ENDPOINT:
        o->endpoint = value;
        return 0;
    case OPT_REPLACE:
        o->pull.replace = true;
        return 0;
    }
    o->json = true;
    return 0;
}

static int run(int argc, char **argv)
{
    struct arguments o = {0};
    struct err e;
    int c;
    while ((c = cli_option(&cmd_model_pull, argc, argv, options)) != -1) {
        if (c == 'h' || c == '?')
            return c == 'h' ? EXIT_OK : EXIT_USAGE;
        if (take(&o, c, optarg, &e))
            return cli_fail(&e);
    }
    if (optind + 1 != argc)
        return cli_usage(&cmd_model_pull, "want one OWNER/NAME");
    o.name = argv[optind];
    o.pull.include = o.include;
    stop_install();
    int rc = pull(&o, &e);
    return rc < 0 ? cli_fail(&e) : rc;
}

const struct command cmd_model_pull = {
    "model pull", "fetch a model from a hub",
    "usage: gyeol model pull OWNER/NAME [OPTIONS]\n\n"
    "Fetches a model from huggingface.co, or another hub of its kind, and checks every file's hash. What "
    "was\n"
    "interrupted goes on where it ended; files that are there already are not fetched again.\n\n"
    "Without --include: configuration, tokenizer, licence, README and the *.safetensors at the top; where "
    "there\n"
    "are none, the one *.gguf.\n\n"
    "  --revision REVISION  branch, tag or commit (default: main)\n"
    "  --out DIR            where the files go (default: NAME in the working directory)\n"
    "  --include PATTERN    files to fetch instead; may be repeated. '*' stays within a folder; a pattern "
    "without\n"
    "                       a slash matches names in every folder\n"
    "  --replace            put the hub's files in the place of those there that differ\n"
    "  --endpoint URL       the hub (default: $HF_ENDPOINT, else https://huggingface.co)\n"
    "  --json               JSON instead of text\n\n"
    "A private or gated model needs an access token in $HF_TOKEN (or $HUGGING_FACE_HUB_TOKEN). It is sent to "
    "the\n"
    "hub alone, never to where the hub redirects, and only over https (or to this machine).\n",
    run};
