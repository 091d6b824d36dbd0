/* Text by repeated next-token choice: for the baselines that answer in words, and for written reasons. */
#ifndef GYEOL_MODEL_GENERATE_H
#define GYEOL_MODEL_GENERATE_H

#include "model/session.h"

/* Appends any number of tokens, in passes of what the session holds; hidden [D] gets the last one's state. n
 * > 0. */
int session_prefill(struct session *s, struct kv *kv, const int32_t *ids, size_t n, float *hidden,
                    struct err *e) MUST_CHECK;

struct generate_options {
    size_t max_tokens;
    float temperature; /* 0: greedy (the lowest id among equals) */
    float top_p;       /* 0 or 1: all tokens; else the fewest likeliest that reach this probability */
    uint64_t seed;
};

/* Continues after `hidden`, the state of kv's last token. `token` sees each chosen id and says whether to go
 * on; the id it refuses is not appended. */
int session_generate(struct session *s, struct kv *kv, float *hidden, const struct generate_options *o,
                     bool (*token)(void *context, int32_t id), void *context, struct err *e) MUST_CHECK;

/* One choice from logits [V], which it may overwrite. order: space for V ids when sampling. */
int32_t generate_choose(float *logits, size_t V, const struct generate_options *o, uint64_t *state,
                        int32_t *order);

#endif
