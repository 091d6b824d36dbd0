/* What the subcommands share. Only this folder prints and exits. */
#ifndef GYEOL_CLI_CLI_H
#define GYEOL_CLI_CLI_H

#include "base/err.h"
#include "judge/judge.h"
#include "store/store.h"

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* A subcommand: `run` gets its own argv (argv[0] is its name) and returns an exit status. */
struct command {
    const char *name;
    const char *summary; /* one line for gyeol --help */
    const char *help;    /* whole text of gyeol NAME --help */
    int (*run)(int argc, char **argv);
};

extern const struct command cmd_judge, cmd_import, cmd_batch, cmd_user, cmd_eval, cmd_data, cmd_train,
    cmd_model;

/* Prints "gyeol: MESSAGE" on stderr; 2 for ERR_USAGE, else 1. */
int cli_fail(const struct err *e);

/* The same for a usage error made here, with a pointer to the help of `command`. */
int cli_usage(const struct command *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* getopt_long with one-line messages of our own: returns the option's val, -1 at the end, '?' after it has
 * printed what was wrong (return EXIT_USAGE then), 'h' for --help (printed; return EXIT_OK). */
int cli_option(const struct command *c, int argc, char **argv, const struct option *options);

/* Whole numbers in lo..hi; ERR_USAGE names the option. */
int cli_number(int64_t *out, const char *option, const char *text, int64_t lo, int64_t hi,
               struct err *e) MUST_CHECK;
int cli_real(double *out, const char *option, const char *text, double lo, double hi,
             struct err *e) MUST_CHECK;

/* --db, else $GYEOL_DB, else gyeol.db. */
const char *cli_database(const char *given);

/* Options shared by every command that judges; getopt values from 256 on. */
enum { OPT_MODE = 256, OPT_MODEL, OPT_ADAPTER, OPT_FIRST };
#define JUDGE_OPTIONS                                                                                        \
    {"mode", required_argument, NULL, OPT_MODE}, {"model", required_argument, NULL, OPT_MODEL},              \
    {                                                                                                        \
        "adapter", required_argument, NULL, OPT_ADAPTER                                                      \
    }
#define JUDGE_HELP                                                                                           \
    "  --model FILE         a judge made by gyeol train linear (default: the one compiled in)\n"             \
    "  --mode MODE          linear (the only mode of this version)\n"                                        \
    "  --adapter NAME       none (the linear judge takes no adapter)\n"

bool cli_judge_option(struct judge_options *o, int option, const char *value);

/* JSON output: pretty on a terminal, one line otherwise; takes ownership; 0 or EXIT_FAILED. */
int cli_print_json(json_t *v);
json_t *cli_json_real(double v, int digits); /* null for NAN; rounded to `digits` decimals */
json_t *cli_json_scores(const int scores[AXES]);
json_t *cli_json_identity(const struct judge *j);
json_t *cli_json_text(const char *s); /* bytes that are not UTF-8 (somebody else wrote them) as U+FFFD */
json_t *cli_json_time(int64_t ms);    /* null for STORE_NO_TIME */

/* Flushes standard output; a full disk or closed pipe is an error like any other. */
int cli_finish(int status);

#endif
