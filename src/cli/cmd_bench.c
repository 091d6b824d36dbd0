#include "cli/cli.h"

#include <string.h>

static int run(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "kernels") == 0)
        return cmd_bench_kernels.run(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "train") == 0)
        return cmd_bench_train.run(argc - 1, argv + 1);
    return cmd_bench_model.run(argc, argv);
}

const struct command cmd_bench = {"bench", "speed of the engine against this machine's limits", "", run};
