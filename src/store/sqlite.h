/* The embedded database: SQLite 3 in one file, WAL, full synchronisation. */
#ifndef GYEOL_STORE_SQLITE_H
#define GYEOL_STORE_SQLITE_H

#include "store/store.h"

int sqlite_store_open(struct store **out, const char *path, enum store_open_mode mode,
                      struct err *e) MUST_CHECK;

#endif
