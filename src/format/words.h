/* Everything of a model directory that turns text into ids, put into a GGUF file. */
#ifndef GYEOL_FORMAT_WORDS_H
#define GYEOL_FORMAT_WORDS_H

#include "format/config.h"

/* The tokenizer, the chat template's text, and the ids that only the configuration has. dir NULL, or without
 * tokenizer (*there is false then): the keys by which other programs know that there is none. */
int words_put_gguf(struct gguf_writer *w, const char *dir, const struct config *c, bool *there,
                   struct err *e) MUST_CHECK;

#endif
