/* gyeol model pack and merge: a model written as one GGUF file. */
#include "base/progress.h"
#include "base/stop.h"
#include "cli/cli.h"
#include "model/export.h"
#include "model/source.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { OPT_JSON = OPT_FIRST };

struct arguments {
    const char *model, *adapter, *out;
    enum dtype type;
    bool json;
};

/* ---- telling ---- */

static int print_json(const struct arguments *o, const struct source *s, const struct export_report *r)
{
    json_t *kept = r->kept ? json_pack("{s:I, s:s, s:s}", "tensors", (json_int_t)r->kept, "type",
                                       dtype_info[r->kept_type].name, "first", r->kept_name)
                           : json_null();
    return cli_print_json(json_pack(
        "{s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:b, s:o}", "out", cli_json_text(o->out), "model",
        cli_json_text(s->base), "adapter", s->adapter ? cli_json_text(s->adapter) : json_null(), "type",
        dtype_info[o->type].name, "tensors", (json_int_t)r->tensors, "parameters", (json_int_t)r->parameters,
        "bytes", (json_int_t)r->bytes, "tokenizer", (int)r->tokenizer, "kept", kept));
}

static int print_text(const struct arguments *o, const struct source *s, const struct export_report *r)
{
    char size[PROGRESS_BYTES];
    printf("%s: %s%s%s as %s, %zu tensors, %llu parameters, %s\n", o->out, s->base,
           s->adapter ? " with " : "", s->adapter ? s->adapter : "", dtype_info[o->type].name, r->tensors,
           (unsigned long long)r->parameters, progress_bytes(size, (double)r->bytes));
    return EXIT_OK;
}

static void print_notes(const struct arguments *o, const struct source *s, const struct export_report *r)
{
    if (r->kept)
        fprintf(stderr,
                "gyeol: note: %zu tensors (%s first) have rows that are no whole blocks of %s; they are %s\n",
                r->kept, r->kept_name, dtype_info[o->type].name, dtype_info[r->kept_type].name);
    if (!r->tokenizer)
        fprintf(stderr, "gyeol: note: %s has no tokenizer, so the file has none\n", s->base);
}

/* ---- doing ---- */

static int write_model(const struct arguments *o, struct err *e)
{
    struct source s;
    struct export_report r;
    struct stat st;
    if (!stat(o->out, &st) && S_ISDIR(st.st_mode)) /* better now than after an hour */
        return err_set(e, ERR_USAGE, "%s: is a directory, want a file's name", o->out);
    int rc = source_open(&s, o->model, o->adapter, e);
    if (rc)
        return rc;
    const struct export_options eo = {.type = o->type, .folded = s.peft};
    rc = export_gguf(o->out, s.checkpoint, &eo, &r, e);
    if (!rc) {
        print_notes(o, &s, &r);
        rc = o->json ? print_json(o, &s, &r) : print_text(o, &s, &r);
    }
    source_close(&s);
    return rc;
}

static int take(struct arguments *o, int option, const char *value, struct err *e)
{
    switch (option) {
    case OPT_TYPE:
        return export_type_parse(&o->type, value)
                   ? 0
                   : err_set(e, ERR_USAGE, "--type %.40s: want f32, bf16, q8_0 or q4_0", value);
    case OPT_ADAPTER:
        o->adapter = value;
        return 0;
    }
    o->json = true;
    return 0;
}

/* 0, or the exit status to leave with. */
static int parse(struct arguments *o, const struct command *command, const struct option *options, int argc,
                 char **argv, bool *done)
{
    struct err e;
    int c;
    *done = true;
    while ((c = cli_option(command, argc, argv, options)) != -1) {
        if (c == 'h' || c == '?')
            return c == 'h' ? EXIT_OK : EXIT_USAGE;
        if (take(o, c, optarg, &e))
            return cli_fail(&e);
    }
    if (argc - optind != 2)
        return cli_usage(command, "want a model and the file to write");
    o->model = argv[optind];
    o->out = argv[optind + 1];
    *done = false;
    return 0;
}

static int finish(const struct arguments *o)
{
    struct err e;
    stop_install();
    int rc = write_model(o, &e);
    return rc < 0 ? cli_fail(&e) : rc;
}

static int run_pack(int argc, char **argv)
{
    static const struct option options[] = {{"type", required_argument, NULL, OPT_TYPE},
                                            {"json", no_argument, NULL, OPT_JSON},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct arguments o = {.type = DT_OTHER, .adapter = "none"};
    bool done;
    int status = parse(&o, &cmd_model_pack, options, argc, argv, &done);
    if (done)
        return status;
    if (o.type == DT_OTHER)
        return cli_usage(&cmd_model_pack, "--type is missing, want f32, bf16, q8_0 or q4_0");
    return finish(&o);
}

static int run_merge(int argc, char **argv)
{
    static const struct option options[] = {{"adapter", required_argument, NULL, OPT_ADAPTER},
                                            {"type", required_argument, NULL, OPT_TYPE},
                                            {"json", no_argument, NULL, OPT_JSON},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct arguments o = {.type = DT_BF16};
    struct source s;
    struct err e;
    bool done;
    int status = parse(&o, &cmd_model_merge, options, argc, argv, &done);
    if (done)
        return status;
    if (source_find(&s, o.model, o.adapter, &e))
        return cli_fail(&e);
    bool adapted = s.adapter != NULL;
    source_close(&s);
    if (!adapted)
        return cli_usage(&cmd_model_merge, "want --adapter DIR, or a judge directory that names one");
    return finish(&o);
}

#define FORM                                                                                                 \
    "MODEL is a Hugging Face directory or a GGUF file, OUT.gguf a file that any program which reads GGUF\n"  \
    "can load, the tokenizer inside. It takes its name only when it is complete.\n\n"
#define TYPES                                                                                                \
    "With q8_0 and q4_0 the embedding and the output head are q8_0, and tensors whose rows are no "          \
    "multiple\n"                                                                                             \
    "of 32 stay f16 or bf16. Norms and biases are always f32.\n"

const struct command cmd_model_pack = {
    "model pack", "write a model as one GGUF file",
    "usage: gyeol model pack MODEL OUT.gguf --type TYPE [--json]\n\n"
    "Writes the model as a GGUF file of another type, or of the same.\n" FORM
    "  --type TYPE          f32, bf16, q8_0 or q4_0\n"
    "  --json               what was written, as JSON\n\n" TYPES,
    run_pack};

const struct command cmd_model_merge = {"model merge", "write a model with its adapter folded in",
                                        "usage: gyeol model merge MODEL --adapter DIR OUT.gguf [OPTIONS]\n\n"
                                        "Adds the adapter's product to the weights (W + scale B A, in f32) "
                                        "and writes the sum as a GGUF file.\n" FORM
                                        "  --adapter DIR        a LoRA adapter as PEFT writes it (default: "
                                        "the judge directory's, if MODEL is one)\n"
                                        "  --type TYPE          f32, bf16 (default), q8_0 or q4_0\n"
                                        "  --json               what was written, as JSON\n\n" TYPES,
                                        run_merge};
