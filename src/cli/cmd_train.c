#include "base/size.h"
#include "cli/cli.h"

static int run(int argc, char **argv)
{
    static const struct command *const actions[] = {&cmd_train_linear, &cmd_train_lora, &cmd_train_full,
                                                    &cmd_train_calibrate};
    return cli_dispatch(&cmd_train, actions, COUNT_OF(actions), argc, argv);
}

const struct command cmd_train = {"train", "fit a judge to labelled posts",
                                  "usage: gyeol train ACTION [OPTIONS]\n\n"
                                  "Fits judges to labelled posts (docs/DATA.md tells their format).\n\n",
                                  run};
