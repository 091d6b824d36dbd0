/* The interrupt flag: SIGINT and SIGTERM ask long work to finish its current step and leave cleanly; a second
 * signal ends the process at once. */
#ifndef GYEOL_BASE_STOP_H
#define GYEOL_BASE_STOP_H

#include <stdbool.h>

void stop_install(void);
bool stop_requested(void);

/* Waits up to ms milliseconds, less if a signal arrives. */
void stop_sleep(int ms);

#endif
