/* gyeol <command> [options]: finds the command and runs it. */
#include "base/log.h"
#include "base/size.h"
#include "base/stop.h"
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct command *const commands[] = {
    &cmd_judge, &cmd_import, &cmd_batch, &cmd_user, &cmd_eval, &cmd_data, &cmd_train, &cmd_model, &cmd_bench,
};

static void print_help(FILE *f)
{
    fputs("usage: gyeol COMMAND [OPTIONS]\n\n"
          "Reads what people write in a community app, judges which way each of the four MBTI axes moves, "
          "and keeps\n"
          "every person's scores, their history and a reason for each change in a database.\n\n",
          f);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        fprintf(f, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\nThe database is --db PATH, else $GYEOL_DB, else gyeol.db. GYEOL_LOG is error, warning\n"
          "(default), info or debug. Exit status: 0 done, 1 failed, 2 "
          "wrong usage.\n"
          "gyeol COMMAND --help tells more; gyeol --version prints the version.\n",
          f);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    const char *level = getenv("GYEOL_LOG");
    if (level && *level && log_parse_level(level) < 0) {
        fprintf(stderr, "gyeol: GYEOL_LOG=%.20s: want error, warning, info or debug\n", level);
        return EXIT_USAGE;
    }
    if (level && *level)
        log_set_level((enum log_level)log_parse_level(level));
    const char *name = argc > 1 ? argv[1] : "";
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        print_help(stdout);
        return cli_finish(EXIT_OK);
    }
    if (!strcmp(name, "--version")) {
        puts("gyeol " GYEOL_VERSION);
        return cli_finish(EXIT_OK);
    }
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (!strcmp(name, commands[i]->name))
            return cli_finish(commands[i]->run(argc - 1, argv + 1));
    fprintf(stderr, "gyeol: no command \"%.40s\"; gyeol --help lists them\n", name);
    return EXIT_USAGE;
}
