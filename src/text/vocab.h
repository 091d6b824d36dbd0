/* Pieces by their bytes. */
#ifndef GYEOL_TEXT_VOCAB_H
#define GYEOL_TEXT_VOCAB_H

#include "text/tokenizer_spec.h"

struct vocab_slot {
    uint32_t tag; /* of the hash */
    int32_t id;   /* -1: free */
};

struct vocab {
    const struct spec_piece *piece; /* borrowed */
    struct vocab_slot *slot;
    size_t mask, longest; /* longest: bytes of the longest piece */
    uint64_t key;
};

/* Of two ids with the same piece the later one is found. */
int vocab_init(struct vocab *v, const struct spec_piece *piece, size_t n, struct err *e) MUST_CHECK;
void vocab_deinit(struct vocab *v);
int32_t vocab_find(const struct vocab *v, const char *s, size_t n); /* -1: none */

#endif
