/* gyeol model logits: raw numbers, for checking this engine against others. Nothing but a pass's share of
 * them is in memory, so that long lists of ids come through whatever the vocabulary. */
#include "base/file.h"
#include "base/progress.h"
#include "base/size.h"
#include "base/stop.h"
#include "cli/cli.h"
#include "model/session.h"
#include "model/source.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPT_IDS = OPT_FIRST, OPT_OUT, OPT_HIDDEN, OPT_JSON };
enum {
    PASS_TOKENS = 256,
    LOGIT_VALUES = 4 << 20, /* computed at a time: 16 MB */
    IDS_BYTES = 64 << 20,
};

static const struct option options[] = {{"ids", required_argument, NULL, OPT_IDS},
                                        {"adapter", required_argument, NULL, OPT_ADAPTER},
                                        {"type", required_argument, NULL, OPT_TYPE},
                                        {"threads", required_argument, NULL, OPT_JUDGE_THREADS},
                                        {"out", required_argument, NULL, OPT_OUT},
                                        {"hidden", required_argument, NULL, OPT_HIDDEN},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"help", no_argument, NULL, 'h'},
                                        {0}};

struct arguments {
    const char *model, *ids, *adapter, *type, *out, *hidden;
    int64_t threads;
    bool json;
};

/* ---- ids ---- */

struct ids {
    int32_t *id;
    size_t n;
};

static bool between(char c)
{
    return c == ',' || isspace((unsigned char)c);
}

/* One id at *s, which moves on. */
static int parse_id(const char **s, int32_t *out, struct err *e)
{
    char *end;
    errno = 0;
    long v = isdigit((unsigned char)**s) ? strtol(*s, &end, 10) : -1;
    if (v < 0 || v > INT32_MAX || errno || (*end && !between(*end)))
        return err_set(e, ERR_USAGE, "--ids: \"%.*s\" is no token id; want numbers with commas between them",
                       (int)strcspn(*s, ", \n") < 40 ? (int)strcspn(*s, ", \n") : 40, *s);
    *out = (int32_t)v;
    *s = end;
    return 0;
}

static int parse_ids(struct ids *out, const char *s, struct err *e)
{
    *out = (struct ids){malloc((strlen(s) / 2 + 1) * sizeof *out->id), 0};
    if (!out->id)
        return err_set(e, ERR_MEMORY, "out of memory for the token ids");
    for (;;) {
        while (between(*s))
            s++;
        if (!*s)
            return out->n ? 0 : err_set(e, ERR_USAGE, "--ids: no token id in it");
        int rc = parse_id(&s, &out->id[out->n++], e);
        if (rc)
            return rc;
    }
}

/* "-" is standard input, so that what model tokenize prints can come through a pipe. */
static int read_ids(struct ids *out, const char *given, struct err *e)
{
    char *text;
    size_t n;
    if (strcmp(given, "-") != 0)
        return parse_ids(out, given, e);
    int rc = file_read(&text, &n, "-", IDS_BYTES, e);
    if (rc)
        return rc;
    rc = strlen(text) == n ? parse_ids(out, text, e) : err_set(e, ERR_FORMAT, "standard input: a NUL byte");
    free(text);
    return rc;
}

static int check_ids(const struct ids *ids, const char *model, const struct config *c, struct err *e)
{
    for (size_t i = 0; i < ids->n; i++)
        if ((uint32_t)ids->id[i] >= c->vocabulary)
            return err_set(e, ERR_FORMAT, "--ids: token id %d, but the vocabulary of %.200s is 0..%u",
                           ids->id[i], model, c->vocabulary - 1);
    return 0;
}

/* ---- where the numbers go ---- */

struct sink {
    struct file_out logits, hidden; /* idle: standard output; not asked for */
    size_t tokens;                  /* of the whole list */
};

static int open_sink(struct sink *s, const struct arguments *o, struct err *e)
{
    int rc = o->out ? file_out_open(&s->logits, o->out, e) : 0;
    return rc || !o->hidden ? rc : file_out_open(&s->hidden, o->hidden, e);
}

static int close_sink(struct sink *s, struct err *e)
{
    int rc = s->hidden.path ? file_out_commit(&s->hidden, e) : 0;
    return rc || !s->logits.path ? rc : file_out_commit(&s->logits, e);
}

static void abandon_sink(struct sink *s)
{
    file_out_abandon(&s->logits);
    file_out_abandon(&s->hidden);
}

static int put_logits(struct sink *s, const float *row, size_t n, struct err *e)
{
    if (s->logits.path)
        return file_out_write(&s->logits, row, n * sizeof *row, e);
    const char *from = (const char *)row; /* past stdio, which would tell of a full disk a second time */
    for (size_t left = n * sizeof *row; left > 0;) {
        ssize_t w = write(STDOUT_FILENO, from, left);
        if (w < 0 && errno != EINTR)
            return err_errno(e, "standard output");
        from += w > 0 ? w : 0;
        left -= w > 0 ? (size_t)w : 0;
    }
    return 0;
}

/* The file is [layers, tokens, D], and a pass has some tokens of every layer. */
static int put_hidden(struct sink *s, const float *trace, const struct config *c, size_t first, size_t n,
                      struct err *e)
{
    size_t row = c->width * sizeof *trace;
    for (size_t layer = 0; layer < c->layers; layer++) {
        const char *from = (const char *)(trace + layer * n * c->width);
        size_t at = (layer * s->tokens + first) * row;
        for (size_t done = 0; done < n * row;) {
            ssize_t w = pwrite(s->hidden.fd, from + done, n * row - done, (off_t)(at + done));
            if (w < 0 && errno != EINTR)
                return err_errno(e, "%s: writing %zu bytes", s->hidden.path, n * row);
            done += w > 0 ? (size_t)w : 0;
        }
    }
    return 0;
}

/* ---- the passes ---- */

struct work {
    struct source source;
    struct model *model;
    struct adapter *adapter;
    struct session *session;
    struct kv *kv;
    float *hidden, *logits, *trace; /* [PASS_TOKENS][D], [rows][ld], [layers][PASS_TOKENS][D] or NULL */
    size_t rows, ld;                /* of logits */
};

static int make_room(struct work *w, bool trace, struct err *e)
{
    const struct config *c = &w->model->config;
    size_t D = c->width, n = 0, all;
    w->ld = ((size_t)c->vocabulary + 15) & ~(size_t)15;
    w->rows = w->ld < LOGIT_VALUES ? LOGIT_VALUES / w->ld : 1;
    w->rows = w->rows < PASS_TOKENS ? w->rows : PASS_TOKENS;
    if (size_mul(w->rows, w->ld, &n))
        w->logits = calloc(n, sizeof *w->logits);
    w->hidden = calloc(PASS_TOKENS, D * sizeof *w->hidden);
    if (trace && size_mul((size_t)c->layers * PASS_TOKENS, D, &all))
        w->trace = calloc(all, sizeof *w->trace);
    if (!w->logits || !w->hidden || (trace && !w->trace))
        return err_set(e, ERR_MEMORY, "out of memory for passes of %d tokens", PASS_TOKENS);
    return 0;
}

static int open_work(struct work *w, const struct arguments *o, const struct ids *ids, struct err *e)
{
    int type = o->type ? model_type_parse(o->type) : MODEL_F32;
    if (type < 0)
        return err_set(e, ERR_USAGE, "--type %.40s: want f32, bf16, q8_0, q4_0 or nf4", o->type);
    int rc = source_open(&w->source, o->model, o->adapter, e);
    if (!rc)
        rc = check_ids(ids, w->source.base, checkpoint_config(w->source.checkpoint), e);
    if (!rc)
        rc = model_load(&w->model, w->source.checkpoint, (enum model_type)type, e);
    if (!rc && w->source.peft)
        rc = adapter_load(&w->adapter, w->source.peft, w->model, e);
    if (!rc)
        rc = make_room(w, o->hidden != NULL, e);
    const struct session_options so = {
        .tokens = PASS_TOKENS, .positions = ids->n, .threads = (int)o->threads};
    if (!rc)
        rc = session_new(&w->session, w->model, &so, e);
    if (!rc)
        session_set_adapter(w->session, w->adapter);
    return rc ? rc : kv_new(&w->kv, w->model, NULL, ids->n, false, e);
}

static void close_work(struct work *w)
{
    free(w->hidden);
    free(w->logits);
    free(w->trace);
    kv_free(w->kv);
    session_free(w->session);
    adapter_close(w->adapter);
    model_close(w->model);
    source_close(&w->source);
}

static int write_logits(struct work *w, struct sink *s, size_t n, struct err *e)
{
    const struct config *c = &w->model->config;
    int rc = 0;
    for (size_t i = 0, k; !rc && i < n; i += k) {
        k = n - i < w->rows ? n - i : w->rows;
        session_logits(w->session, &w->model->head, w->hidden + i * c->width, k, w->logits, w->ld);
        for (size_t r = 0; !rc && r < k; r++)
            rc = put_logits(s, w->logits + r * w->ld, c->vocabulary, e);
    }
    return rc;
}

static int run_pass(struct work *w, struct sink *s, const struct ids *ids, size_t first, size_t n,
                    struct err *e)
{
    size_t every[PASS_TOKENS];
    for (size_t i = 0; i < n; i++)
        every[i] = i;
    struct run run = {.kv = w->kv, .ids = ids->id + first, .n = n};
    struct outputs out = {every, n, w->hidden, w->trace};
    if (stop_requested())
        return err_set(e, ERR_STOPPED, "stopped after %zu of %zu tokens", first, ids->n);
    int rc = session_forward(w->session, &run, 1, &out, e);
    if (!rc && w->trace)
        rc = put_hidden(s, w->trace, &w->model->config, first, n, e);
    return rc ? rc : write_logits(w, s, n, e);
}

static int run_all(struct work *w, struct sink *s, const struct ids *ids, struct err *e)
{
    struct progress p;
    int rc = 0;
    progress_start(&p, "tokens", ids->n);
    for (size_t i = 0, n; !rc && i < ids->n; i += n) {
        n = ids->n - i < PASS_TOKENS ? ids->n - i : PASS_TOKENS;
        rc = run_pass(w, s, ids, i, n, e);
        progress_update(&p, i + n);
    }
    progress_finish(&p);
    return rc;
}

static int report(const struct work *w, const struct arguments *o, const struct ids *ids)
{
    const struct config *c = &w->model->config;
    if (o->json)
        return cli_print_json(
            json_pack("{s:o, s:s, s:o, s:I, s:I, s:o, s:o}", "model", cli_json_text(w->source.base), "type",
                      model_type_name[w->model->type], "adapter",
                      w->source.adapter ? cli_json_text(w->source.adapter) : json_null(), "tokens",
                      (json_int_t)ids->n, "vocabulary", (json_int_t)c->vocabulary, "out",
                      cli_json_text(o->out), "hidden", o->hidden ? cli_json_text(o->hidden) : json_null()));
    printf("%s: f32 [%zu, %u]\n", o->out, ids->n, c->vocabulary);
    if (o->hidden)
        printf("%s: f32 [%u, %zu, %u]\n", o->hidden, c->layers, ids->n, c->width);
    return EXIT_OK;
}

static int logits(const struct arguments *o, struct err *e)
{
    struct ids ids = {0};
    struct work w = {0};
    struct sink s = {0};
    int rc = read_ids(&ids, o->ids, e);
    if (!rc)
        rc = open_work(&w, o, &ids, e);
    s.tokens = ids.n;
    if (!rc)
        rc = open_sink(&s, o, e);
    if (!rc)
        rc = run_all(&w, &s, &ids, e);
    if (!rc)
        rc = close_sink(&s, e);
    abandon_sink(&s);
    if (!rc && o->out)
        rc = report(&w, o, &ids);
    close_work(&w);
    free(ids.id);
    return rc;
}

static int take(struct arguments *o, int option, const char *value, struct err *e)
{
    switch (option) {
    case OPT_IDS:
        o->ids = value;
        return 0;
    case OPT_ADAPTER:
        o->adapter = value;
        return 0;
    case OPT_TYPE:
        o->type = value;
        return 0;
    case OPT_JUDGE_THREADS:
        return cli_number(&o->threads, "--threads", value, 1, 1024, e);
    case OPT_OUT:
        o->out = value;
        return 0;
    case OPT_HIDDEN:
        o->hidden = value;
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
    while ((c = cli_option(&cmd_model_logits, argc, argv, options)) != -1) {
        if (c == 'h' || c == '?')
            return c == 'h' ? EXIT_OK : EXIT_USAGE;
        if (take(&o, c, optarg, &e))
            return cli_fail(&e);
    }
    if (argc - optind != 1 || !o.ids)
        return cli_usage(&cmd_model_logits, "want a model and --ids");
    if (!o.out && isatty(STDOUT_FILENO))
        return cli_usage(&cmd_model_logits, "logits are binary, want --out FILE or a pipe");
    if (!o.out && o.json)
        return cli_usage(&cmd_model_logits, "--json needs --out: standard output has the logits");
    o.model = argv[optind];
    stop_install();
    int rc = logits(&o, &e);
    return rc < 0 ? cli_fail(&e) : rc;
}

const struct command cmd_model_logits = {
    "model logits", "raw logits of given token ids",
    "usage: gyeol model logits MODEL --ids ID,ID,... [OPTIONS]\n\n"
    "Runs the ids from position 0, no token added, and writes the logits of every position: f32, "
    "little-endian,\n"
    "[tokens, vocabulary], to standard output unless --out says where. For checking against other programs; "
    "needs\n"
    "no tokenizer. MODEL is a Hugging Face directory, a GGUF file or a judge directory.\n\n"
    "  --ids LIST           token ids with commas or spaces between them; - reads them from standard input\n"
    "  --adapter DIR        a LoRA adapter as PEFT writes it; none: not even the judge directory's own\n"
    "  --type TYPE          convert the linear weights first: f32 (default), bf16, q8_0, q4_0, or nf4 (the\n"
    "                       layers' projections through 4-bit NormalFloat and back, what QLoRA trains on)\n"
    "  --out FILE           write here, and say on standard output what was written\n"
    "  --hidden FILE        also the residual stream after each layer: f32 [layers, tokens, width]\n"
    "  --threads N          (default: one per processor)\n"
    "  --json               what was written, as JSON\n\n"
    "Example:\n"
    "  gyeol model tokenize MODEL \"안녕\" | gyeol model logits MODEL --ids - --out logits.bin\n",
    run};
