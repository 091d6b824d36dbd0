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
    cmd_model, cmd_bench;
extern const struct command cmd_train_linear, cmd_train_calibrate, cmd_train_lora,
    cmd_train_full; /* of train */
extern const struct command cmd_model_info, cmd_model_logits, cmd_model_pack, cmd_model_merge, cmd_model_pull,
    cmd_model_tokenize;                                                          /* of model */
extern const struct command cmd_bench_kernels, cmd_bench_model, cmd_bench_train; /* of bench */

/* A command of several actions: runs the one that argv[1] names, or lists them. Actions are named "COMMAND
 * ACTION". */
int cli_dispatch(const struct command *c, const struct command *const *actions, size_t n, int argc,
                 char **argv);

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
enum { OPT_MODE = 256, OPT_MODEL, OPT_ADAPTER, OPT_TYPE, OPT_TEMPLATE, OPT_JUDGE_THREADS, OPT_FIRST };
/* clang-format off */
#define JUDGE_OPTIONS                                          \
    {"mode", required_argument, NULL, OPT_MODE},               \
    {"model", required_argument, NULL, OPT_MODEL},             \
    {"adapter", required_argument, NULL, OPT_ADAPTER},         \
    {"type", required_argument, NULL, OPT_TYPE},               \
    {"template", required_argument, NULL, OPT_TEMPLATE},       \
    {"threads", required_argument, NULL, OPT_JUDGE_THREADS}
/* clang-format on */
#define JUDGE_HELP                                                                                           \
    "  --model PATH         a judge directory (gyeol.json), a Hugging Face directory, a GGUF file, or a "    \
    "file of\n"                                                                                              \
    "                       gyeol train linear (default: $GYEOL_MODEL, else the judge compiled in)\n"        \
    "  --adapter DIR        a LoRA adapter as PEFT writes it; none: not even the judge directory's own\n"    \
    "                       (default: $GYEOL_ADAPTER)\n"                                                     \
    "  --mode MODE          linear, one-pass (default for language models) or per-axis; without --model\n"   \
    "                       the judge of that kind compiled in\n"                                            \
    "  --type TYPE          weights of a language model in memory: f32, bf16, q8_0, q4_0 (default: as the\n" \
    "                       file suggests)\n"                                                                \
    "  --template NAME      chat template, instead of the model's own\n"                                     \
    "  --threads N          of a language model (default: one per processor)\n"

/* Takes one of the options above; false: it is another. */
bool cli_judge_option(struct judge_options *o, int option, const char *value);

/* Fills in the environment's defaults, checks --threads; and opens such a judge. */
int cli_judge_defaults(struct judge_options *o, struct err *e) MUST_CHECK;
int cli_judge_open(struct judge **out, struct judge_options *o, struct err *e) MUST_CHECK;

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
