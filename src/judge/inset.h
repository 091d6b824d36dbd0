/* Text set into other text: how the pieces of a prompt become tokens without touching each other. Our own
 * words may hold control tokens; what people wrote may not, in whatever way they spell them, and every token
 * of it knows the bytes it stands for. */
#ifndef GYEOL_JUDGE_INSET_H
#define GYEOL_JUDGE_INSET_H

#include "base/arena.h"
#include "text/chat.h"
#include "text/tokenizer.h"

struct inset {
    const struct tokenizer *tokenizer;
    const struct chat_template *chat;
    struct tokens
        newline; /* put before a piece and taken away again where a dummy prefix would begin it; else empty */
    struct tokens space;     /* what stands in for a token that makes up a marker */
    struct tokens forbidden; /* markers that are one token, beside those of kind TOKEN_CONTROL */
    int32_t anchor;          /* a token that others are decoded behind, as the first one may lose a space */
};

struct inset_token {
    int32_t id;
    uint32_t begin, end; /* bytes of the text: whole characters; the text's end where it is none of them */
    bool whole;          /* a character ends with it */
};

struct inset_text {
    struct inset_token *token; /* in the arena */
    size_t n;
    bool cut; /* the limit left something out */
};

/* Both borrowed. */
int inset_init(struct inset *s, const struct tokenizer *t, const struct chat_template *c,
               struct err *e) MUST_CHECK;
void inset_deinit(struct inset *s);

/* Appends our own words, control tokens recognised, without a dummy prefix. */
int inset_words(const struct inset *s, const char *words, struct tokens *out, struct err *e) MUST_CHECK;

/* Untrusted text, valid UTF-8: markers neutralised, no control token or marker in it, at most `limit` tokens,
 * cut at its end between characters. `spaced`: a space goes before it, into its first token where the
 * tokenizer does that. */
int inset_untrusted(const struct inset *s, const char *text, size_t n, bool spaced, size_t limit,
                    struct arena *a, struct inset_text *out, struct err *e) MUST_CHECK;

/* A token that untrusted text may not hold. */
bool inset_forbids(const struct inset *s, int32_t id);

#endif
