#include "base/buf.h"
#include "base/file.h"
#include "base/when.h"
#include "cli/cli.h"
#include "judge/reason.h"
#include "text/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments {
    struct judge_options judge;
    const char *text, *mission;
    bool reason, json;
};

static json_t *axis_json(enum axis a, const struct judge_axis *x)
{
    return json_pack("{s:s, s:s?, s:{s:o, s:o, s:o}}", "decision", decision_name(x->decision), "pole",
                     axis_pole(a, x->decision), "p", "up", cli_json_real(x->up, 6), "keep",
                     cli_json_real(x->keep, 6), "down", cli_json_real(x->down, 6));
}

static int print_verdict_json(const struct judge *j, const struct judge_input *in,
                              const struct judge_verdict *v, const char *reason, double ms)
{
    json_t *axes = json_object();
    for (int a = 0; a < AXES; a++)
        json_object_set_new(axes, axis_info[a].key, axis_json(a, &v->axis[a]));
    json_t *o =
        json_pack("{s:s, s:s?, s:o, s:o, s:s?, s:o}", "text", in->text, "mission", in->mission, "judge",
                  cli_json_identity(j), "axes", axes, "reason", reason, "latency_ms", cli_json_real(ms, 4));
    if (o && v->evidence_ms > 0)
        json_object_set_new(o, "evidence_ms", cli_json_real(v->evidence_ms, 4));
    if (o && v->generated)
        json_object_update_new(o, json_pack("{s:I, s:I}", "unparsed", (json_int_t)v->unparsed,
                                            "generated_tokens", (json_int_t)v->generated));
    return cli_print_json(o);
}

static int print_verdict(const struct judge_verdict *v, const char *reason)
{
    for (int a = 0; a < AXES; a++) {
        const struct judge_axis *x = &v->axis[a];
        const char *pole = axis_pole(a, x->decision);
        printf("%s/%s  %-4s %s  %s %.2f  keep %.2f  %s %.2f\n", axis_info[a].pole_down, axis_info[a].pole_up,
               decision_name(x->decision), pole ? pole : "-", axis_info[a].pole_up, x->up, x->keep,
               axis_info[a].pole_down, x->down);
    }
    if (reason)
        puts(reason);
    return EXIT_OK;
}

static int judge_one(struct arguments *o, const struct judge_input *in, struct err *e)
{
    struct judge *j;
    struct judge_verdict v;
    struct buf reason = {0};
    o->judge.quotes = o->reason;
    int rc = cli_judge_open(&j, &o->judge, e);
    if (rc)
        return rc;
    uint64_t start = when_monotonic_ns();
    rc = judge_text(j, in, &v, e);
    if (!rc && o->reason) {
        reason_text(&reason, in->text, &v, WEIGHT_DEFAULT);
        rc = buf_check(&reason, "reason", e);
    }
    double ms = (double)(when_monotonic_ns() - start) / 1e6 - (rc ? 0 : v.evidence_ms);
    const char *said = reason.len ? reason.data : NULL;
    if (!rc)
        rc = o->json ? print_verdict_json(j, in, &v, said, ms) : print_verdict(&v, said);
    buf_deinit(&reason);
    judge_close(j);
    return rc;
}

/* "-" is standard input, one text; its last newline is no part of it. */
static int read_text(const char *argument, char **owned, const char **text, struct err *e)
{
    size_t n;
    *text = argument;
    if (strcmp(argument, "-") != 0)
        return 0;
    int rc = file_read(owned, &n, "-", JUDGE_TEXT_MAX + 2, e);
    if (rc)
        return rc;
    if (strlen(*owned) != n)
        return err_set(e, ERR_FORMAT, "standard input: NUL byte at offset %zu, want text", strlen(*owned));
    if (n && (*owned)[n - 1] == '\n')
        (*owned)[n - 1] = 0;
    *text = *owned;
    return 0;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {JUDGE_OPTIONS,
                                            {"mission", required_argument, NULL, 'm'},
                                            {"reason", no_argument, NULL, 'r'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct arguments o = {0};
    int c;
    while ((c = cli_option(&cmd_judge, argc, argv, options)) != -1)
        switch (c) {
        case 'h':
            return EXIT_OK;
        case '?':
            return EXIT_USAGE;
        case 'm':
            o.mission = optarg;
            break;
        case 'r':
            o.reason = true;
            break;
        case 'j':
            o.json = true;
            break;
        default:
            cli_judge_option(&o.judge, c, optarg);
        }
    if (argc - optind > 1)
        return cli_usage(&cmd_judge, "%d texts given, want one: quote it", argc - optind);
    struct err e;
    char *owned = NULL;
    struct judge_input in = {.mission = o.mission};
    int rc = 0;
    if (o.mission && !utf8_valid(o.mission, strlen(o.mission), NULL))
        rc = err_set(&e, ERR_FORMAT, "--mission: not UTF-8");
    if (!rc)
        rc = read_text(optind < argc ? argv[optind] : "-", &owned, &in.text, &e);
    if (!rc)
        rc = judge_one(&o, &in, &e);
    free(owned);
    return rc < 0 ? cli_fail(&e) : rc;
}

const struct command cmd_judge = {
    "judge", "judge one text, without a database",
    "usage: gyeol judge [OPTIONS] [TEXT or -]\n\n"
    "Judges one text (or standard input) and prints, for each axis, the decision and its probabilities.\n\n"
    "  --mission TEXT       the mission the text answers (context, never evidence)\n"
    "  --reason             also the reason, in Korean\n"
    "  --json               one JSON object\n" JUDGE_HELP "\n"
    "A side is decided when its probability passes the axis's threshold, which was chosen so that few posts "
    "that\n"
    "say nothing are moved; it need not be the likeliest of the three. A text of 5 characters or fewer is "
    "kept on\n"
    "all axes and has a reason of its own. A text that begins with - needs -- before it. Example:\n"
    "  gyeol judge --reason \"나는 친구들이랑 노는게 재밌어\"\n",
    run};
