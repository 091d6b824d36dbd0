/* Text to token ids and back, exactly as the model's own tokenizer does it. Immutable once made: any number
 * of threads may encode and decode with one tokenizer at the same time. Which file it came from is format/'s
 * business (format/tokenizer_file.h opens one); what it is made of is in text/tokenizer_spec.h. */
#ifndef GYEOL_TEXT_TOKENIZER_H
#define GYEOL_TEXT_TOKENIZER_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbered as in SentencePiece models and GGUF files. */
enum token_kind {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN, /* what stands for text without a token */
    TOKEN_CONTROL, /* never comes out of plain text */
    TOKEN_USER,    /* added whole: always matched as one */
    TOKEN_UNUSED,  /* an id that text does not give */
    TOKEN_BYTE,    /* one byte of what has no other token: "<0xEA>" */
};

/* `struct tokens t = {0}` is a valid empty list. */
struct tokens {
    int32_t *id; /* owned */
    size_t n, capacity;
};

int tokens_add(struct tokens *t, int32_t id, struct err *e) MUST_CHECK;
void tokens_deinit(struct tokens *t);

struct tokenizer;

void tokenizer_close(struct tokenizer *t); /* NULL allowed */

/* Appends the ids of text to out; no token is added that the text does not hold (a SentencePiece dummy prefix
 * belongs to the text). text: UTF-8, NUL and CR allowed; other bytes are ERR_FORMAT naming the offset.
 * Control tokens written out in the text ("<s>") are recognised only if `special`; otherwise they are
 * ordinary characters. On failure out holds what it held. */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, bool special, struct tokens *out,
                     struct err *e) MUST_CHECK;

/* Appends the text of ids to out: bytes, which need not be UTF-8 when the ids end within a character. Control
 * tokens give nothing unless `special`. What the tokenizer put before the text (a dummy prefix) is taken
 * away. Ids outside the vocabulary are ERR_FORMAT. */
int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, bool special, struct buf *out,
                     struct err *e) MUST_CHECK;

size_t tokenizer_size(const struct tokenizer *t);      /* ids are 0 .. size-1 */
const char *tokenizer_name(const struct tokenizer *t); /* "byte-level BPE, llama-bpe": for people */
int32_t tokenizer_bos(const struct tokenizer *t);      /* these four: -1 when there is none */
int32_t tokenizer_eos(const struct tokenizer *t);
int32_t tokenizer_unk(const struct tokenizer *t);
int32_t tokenizer_pad(const struct tokenizer *t);

/* The id whose piece, as the file writes it, is exactly these bytes, or -1. */
int32_t tokenizer_find(const struct tokenizer *t, const char *piece, size_t n);

/* The piece of an id in 0 .. size-1 as the file writes it, *n bytes, not NUL-terminated; n 0 for an id that
 * the file leaves out. */
const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *n);
enum token_kind tokenizer_kind(const struct tokenizer *t, int32_t id);

#endif
