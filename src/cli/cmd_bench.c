#include "base/size.h"
#include "cli/cli.h"

static int run(int argc, char **argv)
{
    static const struct command *const actions[] = {&cmd_bench_kernels};
    return cli_dispatch(&cmd_bench, actions, COUNT_OF(actions), argc, argv);
}

const struct command cmd_bench = {
    "bench", "speed against this machine's limits",
    "usage: gyeol bench ACTION [OPTIONS]\n\n"
    "Measures the engine, and in the same run what the machine could do at most.\n\n",
    run};
