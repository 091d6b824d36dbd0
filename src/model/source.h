/* A model as it is named on a command line: a Hugging Face directory, a GGUF file, or a judge directory,
 * whose gyeol.json names a base and an adapter that belong together. */
#ifndef GYEOL_MODEL_SOURCE_H
#define GYEOL_MODEL_SOURCE_H

#include "base/progress.h"
#include "format/peft.h"

#include <stdbool.h>

struct source {
    char *base;    /* the model's path; owned */
    char *adapter; /* the adapter's directory, or NULL; owned */
    bool judge;    /* the path was a judge directory's */
    struct checkpoint *checkpoint;
    struct peft *peft; /* NULL without adapter */
};

/* Finds the two paths, opens nothing. adapter: a PEFT directory, "none", or NULL for the judge directory's
 * own. */
int source_find(struct source *s, const char *path, const char *adapter, struct err *e) MUST_CHECK;

/* Finds and opens both. An adapter that records its base's digest is refused with another base. */
int source_open(struct source *s, const char *path, const char *adapter, struct err *e) MUST_CHECK;
void source_close(struct source *s);

/* Reads every tensor of a GGUF or safetensors file: ERR_FORMAT names the first that holds an infinity or what
 * is no number. Adds bytes to *done as it goes, for progress; ERR_STOPPED after a signal that asks to stop.
 */
int source_verify_file(const char *path, uint64_t *done, struct progress *progress, struct err *e) MUST_CHECK;

#endif
