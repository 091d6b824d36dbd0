/* People, missions, surveys and posts from files into the store, all of it or nothing. */
#ifndef GYEOL_PIPELINE_IMPORT_H
#define GYEOL_PIPELINE_IMPORT_H

#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>

enum import_kind { IMPORT_PEOPLE, IMPORT_MISSIONS, IMPORT_SURVEYS, IMPORT_POSTS, IMPORT_KINDS };
extern const char *const import_kind_name[IMPORT_KINDS]; /* "people", ... */

struct import_result {
    size_t added[IMPORT_KINDS], changed[IMPORT_KINDS], same[IMPORT_KINDS];
    size_t bad; /* rows refused */
};

/* One refused row ("posts.csv:12: ...") or, with notice, something worth knowing ("... ignored"). */
typedef void import_report_fn(void *context, bool notice, const char *message);

/* Which kind a file is, by its name: people.csv, missions.tsv, surveys.jsonl, posts.csv ... */
int import_kind_of(enum import_kind *out, const char *path, struct err *e) MUST_CHECK;

/* Imports the files (people first, posts last, whatever their order) in one transaction. A row that is not
 * good is reported; then nothing is imported (ERR_FORMAT) unless keep_going, which imports the others. A
 * column that is not known is an error, with keep_going a notice. Rows already there are left as they are:
 * importing again changes nothing. A survey without taken_at counts from the beginning; a post without
 * written_at is written now. */
int import_files(struct store *s, const char *const *path, size_t n, bool keep_going,
                 import_report_fn *report, void *context, struct import_result *result,
                 struct err *e) MUST_CHECK;

#endif
