/* What train/world.h says, tried by all ranks at once; tests/cli/world.sh starts it alone and under mpirun. Prints
 * one line from rank 0; exits 1 when any rank saw something else. "world_check fail RANK": that rank gives up while
 * the others wait. */
#include "base/rng.h"
#include "train/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool bad;

static void want(bool ok, const char *what, size_t n)
{
    if (!ok)
        fprintf(stderr, "rank %d: %s of %zu values\n", world_rank(), what, n);
    bad |= !ok;
}

/* Value i of a rank: of all magnitudes, so that every order of adding has sums of its own. */
static double value(int rank, size_t i)
{
    struct rng r = {(uint64_t)rank << 40 | i};
    uint64_t bits = rng_next(&r);
    return ((double)(bits >> 32) / 2147483648.0 - 1) * (double)(1 << (bits & 15));
}

static void check_floats(size_t n)
{
    float *v = malloc((n + 1) * sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = (float)value(world_rank(), i);
    v[n] = 7;
    world_sum(v, n);
    for (size_t i = 0; i < n && !bad; i++) {
        float sum = (float)value(0, i);
        for (int r = 1; r < world_size(); r++)
            sum += (float)value(r, i);
        want(v[i] == sum, "sum", n);
    }
    want(v[n] == 7, "end", n);
    free(v);
}

static void check_doubles(size_t n)
{
    double *v = malloc((n + 1) * sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = value(world_rank(), i);
    v[n] = 7;
    world_sum_double(v, n);
    for (size_t i = 0; i < n && !bad; i++) {
        double sum = value(0, i);
        for (int r = 1; r < world_size(); r++)
            sum += value(r, i);
        want(v[i] == sum, "sum in double", n);
    }
    want(v[n] == 7, "end in double", n);
    free(v);
}

static void check_broadcast(size_t n)
{
    unsigned char *bytes = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)(i * 7 + (size_t)world_rank());
    bytes[n] = 99;
    world_broadcast(bytes, n);
    for (size_t i = 0; i < n && !bad; i++)
        want(bytes[i] == (unsigned char)(i * 7), "broadcast", n);
    want(bytes[n] == 99, "broadcast's end", n);
    free(bytes);
}

static int fail(int rank)
{
    if (world_rank() == rank) {
        world_finish(3);
        return 3;
    }
    world_barrier();
    want(world_size() == 1, "waiting", 0);
    world_finish(0);
    return bad;
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {0, 1, 2, 3, 1000, 131072, 262143, 262144, 262145, 1000003};
    world_init(&argc, &argv);
    if (argc > 2 && strcmp(argv[1], "fail") == 0)
        return fail(atoi(argv[2]));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_floats(sizes[i]);
        check_doubles(sizes[i]);
        check_broadcast(sizes[i]);
    }
    want(!world_any(false), "none", 0);
    want(world_any(true), "all", 0);
    for (int r = 0; r < world_size(); r++)
        want(world_any(world_rank() == r), "any", 0);
    world_barrier();
    bool failed = world_any(bad);
    if (world_rank() == 0)
        printf("%d %s\n", world_size(), failed ? "ranks, and something is wrong" : "ranks agree");
    world_finish(0);
    return failed;
}
