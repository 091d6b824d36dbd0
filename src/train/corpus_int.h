/* Shared by the kinds of corpus. */
#ifndef GYEOL_TRAIN_CORPUS_INT_H
#define GYEOL_TRAIN_CORPUS_INT_H

#include "train/corpus.h"

/* Keys of dropout masks: of run `run` of item i, and of the prefix. */
#define CORPUS_PREFIX_KEY  UINT64_MAX
#define corpus_key(i, run) ((uint64_t)(i) << 8 | (uint64_t)(run))

/* Appends a run with a copy of its n tokens. */
int batch_add_run(struct batch *b, const int32_t *ids, size_t n, int parent, uint64_t key,
                  struct err *e) MUST_CHECK;

/* Appends a target at a token that is there already, behind those before. */
int batch_add_target(struct batch *b, struct target t, struct err *e) MUST_CHECK;

/* Allocates length and weight for n items. ERR_LIMIT: more than an order can number. */
int corpus_items(struct corpus *c, size_t n, struct err *e) MUST_CHECK;

/* Frees those and c itself. */
void corpus_free(struct corpus *c);

#endif
