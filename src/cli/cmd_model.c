#include "base/size.h"
#include "cli/cli.h"

static int run(int argc, char **argv)
{
    static const struct command *const actions[] = {&cmd_model_info, &cmd_model_logits, &cmd_model_pack,
                                                    &cmd_model_merge, &cmd_model_pull};
    return cli_dispatch(&cmd_model, actions, COUNT_OF(actions), argc, argv);
}

const struct command cmd_model = {"model", "language models: look into, convert, fetch",
                                  "usage: gyeol model ACTION [OPTIONS]\n\n"
                                  "Language models, as they come from others.\n\n",
                                  run};
