/* Telling of a run of training: lines on standard error, a moving one on a terminal. */
#ifndef GYEOL_CLI_TRAIN_REPORT_H
#define GYEOL_CLI_TRAIN_REPORT_H

#include "cli/cli.h"
#include "train/trainer.h"

struct train_report {
    bool terminal, drawn;
    uint64_t drawn_ns, told_ns;
};

struct trainer_events train_report_start(struct train_report *r);
void train_report_finish(struct train_report *r); /* wipes the moving line */

/* The result on standard output; an exit status. */
int train_report_result(const struct trainer_options *o, const struct trainer_result *r, bool json);

#endif
