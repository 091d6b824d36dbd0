/* Chat templates of the families this program runs, as plain words around a user's turn; not a Jinja interpreter. */
#ifndef GYEOL_TEXT_CHAT_H
#define GYEOL_TEXT_CHAT_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define CHAT_MARKERS_MAX 12

struct chat_template {
    const char *
        name; /* "hyperclovax", "llama3", "deepseek-llm", "mistral", "openchat", "gemma", "chatml", "plain" */
    const char *source; /* where the words come from: the repository whose chat_template says so */
    bool bos;           /* begins with the beginning-of-sequence token */
    /* A conversation of one system text and one user turn, ready for the answer:
     * system_open SYSTEM system_close user_open USER user_close answer_open; with no system role the system text goes
     * into the user's turn (system_open NULL: user_open SYSTEM "\n\n" USER ...). Control tokens are written out. */
    const char *system_open, *system_close, *user_open, *user_close, *answer_open;
    const char *stop[4];                  /* texts that end an answer, NULL-terminated */
    const char *marker[CHAT_MARKERS_MAX]; /* what untrusted text may not contain as such, NULL-terminated */
};

const struct chat_template *chat_find(const char *name); /* NULL: no such template */
const char *chat_names(void);                            /* "hyperclovax, llama3, ...": for messages */

/* Which template a Jinja text (tokenizer_config.json, tokenizer.chat_template) is, by the words only that family uses;
 * NULL when it is none of ours. */
const struct chat_template *chat_recognise(const char *jinja, size_t n);

/* Appends `text` with every marker of the template (letter case ignored) made harmless: its first ASCII punctuation
 * becomes the full-width form (U+FF01..U+FF5E), so it reads the same and is no marker. `map`, if not NULL, gets for
 * each byte appended the offset of the byte of `text` it came from (as uint32_t). */
void chat_neutralise(const struct chat_template *c, const char *text, size_t n, struct buf *out,
                     struct buf *map);

#endif
