/* Which chat template a model on disk wants: its own Jinja text, recognised (text/chat.h), else its
 * vocabulary's marks. */
#ifndef GYEOL_FORMAT_CHAT_FILE_H
#define GYEOL_FORMAT_CHAT_FILE_H

#include "format/gguf.h"
#include "text/chat.h"

/* model_path: a Hugging Face directory (chat_template.jinja, else chat_template in tokenizer_config.json: a
 * text, or a list of {name, template} of which "default" counts, else the first) or a GGUF file
 * (tokenizer.chat_template). A template that is none of ours, or none at all, leaves it to chat_guess. *out
 * is static, never NULL on success. Files that are there but cannot be read are errors. */
int chat_open(const struct chat_template **out, const char *model_path, const struct tokenizer *t,
              struct err *e) MUST_CHECK;

/* The same for a GGUF file that is open already. */
int chat_from_gguf(const struct chat_template **out, const struct gguf *g, const struct tokenizer *t,
                   struct err *e) MUST_CHECK;

/* The Jinja text that chat_open recognises by: *out malloc'd and NUL-terminated, NULL when there is none. */
int chat_text(char **out, size_t *n, const char *model_path, struct err *e) MUST_CHECK;

#endif
