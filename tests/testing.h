/* What the unit tests share: the error that calls leave, and seeded randomness that can be repeated. */
#ifndef GYEOL_TESTS_TESTING_H
#define GYEOL_TESTS_TESTING_H

#include "base/err.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct err error;

/* Seeds from $SEED, else the clock, and says which. */
static inline struct rng seeded(void)
{
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("# SEED=%llu\n", (unsigned long long)seed);
    return (struct rng){seed};
}

static inline void ok(int rc)
{
    if (rc)
        fail_msg("error %d: %s", rc, error.msg);
}

#endif
