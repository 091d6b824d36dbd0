/* Chat templates of the families this program runs, as plain words around a user's turn; not a Jinja
 * interpreter. */
#ifndef GYEOL_TEXT_CHAT_H
#define GYEOL_TEXT_CHAT_H

#include "base/buf.h"
#include "base/err.h"
#include "text/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>

#define CHAT_MARKERS_MAX 12

struct chat_template {
    const char *name;   /* "hyperclovax", "llama3", "llama2", "deepseek-llm", "mistral", "openchat", "gemma",
                           "chatml",   "plain" */
    const char *source; /* where the words come from: the repository whose chat_template says so */
    bool bos;           /* begins with the beginning-of-sequence token */
    /* A conversation of one system text and one user turn, ready for the answer:
     * system_open SYSTEM system_close user_open USER user_close answer_open; with no system role the system
     * text goes into the user's turn (system_open NULL: user_open SYSTEM "\n\n" USER ...). Control tokens are
     * written out. */
    const char *system_open, *system_close, *user_open, *user_close, *answer_open;
    const char *stop[4];                  /* texts that end an answer, NULL-terminated */
    const char *marker[CHAT_MARKERS_MAX]; /* what untrusted text may not contain as such, NULL-terminated */
};

const struct chat_template *chat_find(const char *name); /* NULL: no such template */
const struct chat_template *chat_at(size_t i);           /* all of them in turn; NULL past the last */
const char *chat_names(void);                            /* "hyperclovax, llama3, ...": for messages */

/* Which template a Jinja text (tokenizer_config.json, tokenizer.chat_template) is, by the words only that
 * family uses; NULL when it is none of ours. */
const struct chat_template *chat_recognise(const char *jinja, size_t n);

/* The template whose turns the vocabulary has tokens for; "plain" when it has none's. */
const struct chat_template *chat_guess(const struct tokenizer *t);

/* Appends `text` with every marker of the template (letter case ignored) made harmless: its first ASCII
 * punctuation becomes the full-width form (U+FF01..U+FF5E), so it reads the same and is no marker. `map`, if
 * not NULL, gets for each byte appended the offset of the byte of `text` it came from (as uint32_t). */
void chat_neutralise(const struct chat_template *c, const char *text, size_t n, struct buf *out,
                     struct buf *map);

/* The first marker (letter case ignored) in the n bytes from `from` on: *at is the offset of its first ASCII
 * punctuation. False when there is none. */
bool chat_marker_find(const struct chat_template *c, const char *text, size_t n, size_t from, size_t *at);

#endif
