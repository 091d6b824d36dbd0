/* Tokenizers as people have them: a Hugging Face directory or one of its files, a SentencePiece model, a GGUF
 * file. */
#ifndef GYEOL_FORMAT_TOKENIZER_FILE_H
#define GYEOL_FORMAT_TOKENIZER_FILE_H

#include "format/gguf.h"
#include "text/tokenizer.h"

/* path: a directory, of which tokenizer.json is read, else tokenizer.model, else vocab.json with merges.txt,
 * else vocab.txt, with the side files there (tokenizer_config.json, special_tokens_map.json,
 * added_tokens.json); or one of those files itself; or a GGUF file, with or without tensors. What a file asks
 * for and this program does not do exactly is ERR_FORMAT naming it. */
int tokenizer_open(struct tokenizer **out, const char *path, struct err *e) MUST_CHECK;

/* The same from bytes in memory, without side files; `name` for messages. */
int tokenizer_parse_json(struct tokenizer **out, const char *name, const char *bytes, size_t n,
                         struct err *e) MUST_CHECK;
int tokenizer_parse_model(struct tokenizer **out, const char *name, const char *bytes, size_t n,
                          struct err *e) MUST_CHECK;
int tokenizer_from_gguf(struct tokenizer **out, const struct gguf *g, struct err *e) MUST_CHECK;

/* Writes the tokenizer.ggml.* keys that other programs read, and gyeol.tokenizer for what those keys cannot
 * say, so that tokenizer_from_gguf gives the same ids. Tokens are padded with unused ones up to `vocabulary`,
 * the rows of the model's embedding (0: as many as the tokenizer has); added tokens beyond are left out, for
 * the model has no use for them. ERR_FORMAT: others are beyond. */
int tokenizer_put_gguf(struct gguf_writer *w, const struct tokenizer *t, size_t vocabulary,
                       struct err *e) MUST_CHECK;

#endif
