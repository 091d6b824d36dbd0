/* A progress bar on standard error: shown only on a terminal and only once a task has lasted a second. */
#ifndef GYEOL_BASE_PROGRESS_H
#define GYEOL_BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what; /* borrowed: "judging" */
    uint64_t total;   /* 0 when unknown: then no percentage and no time left */
    uint64_t started_ns, drawn_ns;
    bool terminal, drawn;
};

void progress_start(struct progress *p, const char *what, uint64_t total);
void progress_update(struct progress *p, uint64_t done); /* redraws at most ten times a second */
void progress_finish(struct progress *p);                /* wipes the bar */

#endif
