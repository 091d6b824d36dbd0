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
    /* to be set after progress_start: */
    bool bytes;      /* counts are bytes, shown as kB, MB, GB */
    uint64_t before; /* done before it began: part of the bar, not of the speed */
};

void progress_start(struct progress *p, const char *what, uint64_t total);
void progress_update(struct progress *p, uint64_t done); /* redraws at most ten times a second */
void progress_finish(struct progress *p);                /* wipes the bar */

#define PROGRESS_BYTES 24

/* "812 B", "1.20 kB", "34.0 MB": decimal units. Returns text. */
const char *progress_bytes(char text[PROGRESS_BYTES], double n);

#endif
