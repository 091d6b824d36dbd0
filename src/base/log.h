/* Diagnostics on standard error, one line each. Post texts, names and secrets are never passed here. */
#ifndef GYEOL_BASE_LOG_H
#define GYEOL_BASE_LOG_H

#include "base/err.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level); /* default LOG_WARN; call before threads start */
int log_parse_level(const char *name);    /* "error", "warning", "info", "debug", or -1 */
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
