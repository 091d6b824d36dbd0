/* What the commands of `gyeol bench` share. */
#ifndef GYEOL_CLI_BENCH_H
#define GYEOL_CLI_BENCH_H

#include "format/config.h"

#include <stddef.h>
#include <stdint.h>

#define BENCH_ROUNDS 50 /* most */

/* A Llama of that name's shape, embedding and head in bf16 as its checkpoint has them: hcx-1.5b, hcx-0.5b
 * (HyperCLOVAX-SEED), mini (the small model that ships), tiny (for tests). ERR_USAGE names them. */
int bench_config(struct config *c, const char *shape, struct err *e) MUST_CHECK;

double bench_median(double *v, int64_t n); /* sorts v */

/* A line of /proc/self/status, such as "VmHWM:", in bytes; NAN where the system does not tell. */
double bench_memory(const char *line);

#endif
