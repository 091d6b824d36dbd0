/* gyeol model ACTION: finds the action and runs it. */
#include "base/size.h"
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

extern const struct command cmd_model_pull;

static const struct {
    const char *name;
    const struct command *command;
} actions[] = {{"pull", &cmd_model_pull}};

static int run(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
        fputs(cmd_model.help, stdout);
        for (size_t i = 0; i < COUNT_OF(actions); i++)
            printf("  %-8s %s\n", actions[i].name, actions[i].command->summary);
        puts("\ngyeol model ACTION --help tells more.");
        return EXIT_OK;
    }
    for (size_t i = 0; i < COUNT_OF(actions); i++)
        if (!strcmp(name, actions[i].name))
            return actions[i].command->run(argc - 1, argv + 1);
    if (!*name)
        return cli_usage(&cmd_model, "want an action");
    return cli_usage(&cmd_model, "no action \"%.40s\"", name);
}

const struct command cmd_model = {"model", "fetch a language model",
                                  "usage: gyeol model ACTION [OPTIONS]\n\n"
                                  "Language models, as they come from others.\n\n",
                                  run};
