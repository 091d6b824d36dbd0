#include "cli/cli.h"

#include "base/buf.h"
#include "base/when.h"
#include "text/utf8.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int cli_fail(const struct err *e)
{
    fprintf(stderr, "gyeol: %s\n", e->msg);
    return e->code == ERR_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

int cli_usage(const struct command *c, const char *fmt, ...)
{
    va_list ap;
    fprintf(stderr, "gyeol %s: ", c->name);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "; see gyeol %s --help\n", c->name);
    return EXIT_USAGE;
}

int cli_dispatch(const struct command *c, const struct command *const *actions, size_t n, int argc,
                 char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    size_t skip = strlen(c->name) + 1;
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        fputs(c->help, stdout);
        for (size_t i = 0; i < n; i++)
            printf("  %-10s %s\n", actions[i]->name + skip, actions[i]->summary);
        printf("\ngyeol %s ACTION --help tells more.\n", c->name);
        return EXIT_OK;
    }
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, actions[i]->name + skip) == 0)
            return actions[i]->run(argc - 1, argv + 1);
    if (!*name)
        return cli_usage(c, "want an action");
    return cli_usage(c, "no action \"%.40s\"", name);
}

int cli_option(const struct command *c, int argc, char **argv, const struct option *options)
{
    opterr = 0;
    int at = optind ? optind : 1;
    int got = getopt_long(argc, argv, ":h", options, NULL);
    if (got == 'h') {
        fputs(c->help, stdout);
        return 'h';
    }
    if (got == ':')
        cli_usage(c, "%s needs a value", argv[optind - 1]);
    else if (got == '?')
        cli_usage(c, "%s: unknown option, or a value it does not take", argv[at < argc ? at : argc - 1]);
    return got == ':' ? '?' : got;
}

int cli_number(int64_t *out, const char *option, const char *text, int64_t lo, int64_t hi, struct err *e)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno || end == text || *end || v < lo || v > hi)
        return err_set(e, ERR_USAGE, "%s %.40s: want a whole number from %lld to %lld", option, text,
                       (long long)lo, (long long)hi);
    *out = v;
    return 0;
}

int cli_real(double *out, const char *option, const char *text, double lo, double hi, struct err *e)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !(v >= lo && v <= hi))
        return err_set(e, ERR_USAGE, "%s %.40s: want a number from %g to %g", option, text, lo, hi);
    *out = v;
    return 0;
}

const char *cli_database(const char *given)
{
    const char *set = getenv("GYEOL_DB");
    return given ? given : set && *set ? set : "gyeol.db";
}

bool cli_judge_option(struct judge_options *o, int option, const char *value)
{
    switch (option) {
    case OPT_MODE:
        o->mode = value;
        return true;
    case OPT_MODEL:
        o->model = value;
        return true;
    case OPT_ADAPTER:
        o->adapter = value;
        return true;
    case OPT_TYPE:
        o->type = value;
        return true;
    case OPT_TEMPLATE:
        o->chat = value;
        return true;
    case OPT_JUDGE_THREADS: {
        int64_t n;
        struct err ignored;
        o->threads = cli_number(&n, "--threads", value, 1, 256, &ignored) ? -1 : (int)n;
        return true;
    }
    }
    return false;
}

int cli_judge_defaults(struct judge_options *o, struct err *e)
{
    const char *model = getenv("GYEOL_MODEL"), *adapter = getenv("GYEOL_ADAPTER");
    if (o->threads < 0)
        return err_set(e, ERR_USAGE, "--threads: want a whole number, 1..256");
    bool linear = o->mode && strcmp(o->mode, "linear") == 0;
    if (!o->model && model && *model && !linear)
        o->model = model;
    if (!o->adapter && adapter && *adapter && !linear && judge_is_language_model(o->model))
        o->adapter = adapter;
    return 0;
}

int cli_judge_open(struct judge **out, struct judge_options *o, struct err *e)
{
    *out = NULL;
    int rc = cli_judge_defaults(o, e);
    return rc ? rc : judge_open(out, o, e);
}

int cli_print_json(json_t *v)
{
    size_t flags = isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT;
    if (!v) {
        fputs("gyeol: out of memory\n", stderr);
        return EXIT_FAILED;
    }
    json_dumpf(v, stdout,
               flags | JSON_REAL_PRECISION(15)); /* cli_finish tells when it could not be written */
    putchar('\n');
    json_decref(v);
    return EXIT_OK;
}

json_t *cli_json_real(double v, int digits)
{
    if (!isfinite(v))
        return json_null();
    double scale = pow(10, digits);
    return json_real(round(v * scale) / scale);
}

json_t *cli_json_scores(const int scores[AXES])
{
    json_t *o = json_object();
    for (int a = 0; a < AXES; a++)
        json_object_set_new(o, axis_info[a].key, json_integer(scores[a]));
    return o;
}

json_t *cli_json_identity(const struct judge *j)
{
    const struct judge_identity *id = &j->identity;
    return json_pack("{s:s, s:o, s:s, s:s?}", "mode", id->mode, "model", cli_json_text(id->model),
                     "model_sha256", id->model_sha256, "adapter_sha256",
                     *id->adapter_sha256 ? id->adapter_sha256 : NULL);
}

json_t *cli_json_text(const char *s)
{
    struct buf b = {0};
    size_t n = strlen(s), bad;
    for (; !utf8_valid(s, n, &bad); s += bad + 1, n -= bad + 1) {
        buf_add(&b, s, bad);
        buf_str(&b, "\uFFFD");
    }
    buf_add(&b, s, n);
    json_t *v = b.failed ? NULL : json_stringn(b.data, b.len);
    buf_deinit(&b);
    return v;
}

json_t *cli_json_time(int64_t ms)
{
    char text[WHEN_TEXT];
    return ms == STORE_NO_TIME ? json_null() : json_string(when_format(text, ms));
}

int cli_finish(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "gyeol: standard output: %s\n", strerror(errno));
    return EXIT_FAILED;
}
