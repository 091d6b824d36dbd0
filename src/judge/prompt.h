/* The words put before a model, as token ids: a constant prefix, the post, and one branch per axis.
 *
 *   prefix   chat template's opening, the instruction, what introduces the post      same for every post:
 * cached post     mission and post (untrusted), end of the user's turn, the answer's opening branch   per
 * axis, the few words after which one verbaliser token is judged     sees prefix and post only
 *
 * Serving and training build their tokens here and nowhere else. Untrusted text is encoded apart from the
 * template's words, without control tokens, with the template's markers neutralised (text/chat.h), and cut to
 * `post_tokens`. */
#ifndef GYEOL_JUDGE_PROMPT_H
#define GYEOL_JUDGE_PROMPT_H

#include "base/axis.h"
#include "base/digest.h"
#include "judge/inset.h"

enum prompt_words {
    PROMPT_MISSION_OPEN,  /* 유저는 ' */
    PROMPT_MISSION_CLOSE, /* ' 미션을 수행하며 아래 피드를 작성했습니다: */
    PROMPT_NO_MISSION,    /* 유저는 아래 피드를 작성했습니다: */
    PROMPT_WORDS,
};

struct prompt {
    const struct tokenizer *tokenizer; /* borrowed */
    const struct chat_template *chat;  /* static */
    struct tokens prefix, tail;        /* tail: what follows the post, before the branches */
    struct tokens branch[AXES];
    struct tokens words[PROMPT_WORDS]; /* ours, around mission and post */
    int32_t verbaliser[AXES][3]; /* DECISION order: up, keep, down; single, distinct tokens in context */
    const char *verbaliser_name; /* the candidate triple used: "상승/유지/하락" */
    size_t post_tokens;          /* most tokens of mission and post, our words and the tail not counted */
    char sha256[DIGEST_HEX];     /* of everything above: names the template in caches and calibrations */
    struct inset inset;
};

/* chat: format/chat_file.h finds the model's own; NULL: chat_guess by the tokenizer alone. ERR_FORMAT when no
 * verbaliser triple has single tokens under this tokenizer. */
int prompt_init(struct prompt *p, const struct tokenizer *t, const struct chat_template *chat,
                size_t post_tokens, struct err *e) MUST_CHECK;
void prompt_deinit(struct prompt *p);

/* The most tokens prompt_post appends: what a session's memory is sized by. */
size_t prompt_post_max(const struct prompt *p);

/* Appends a post's tokens (mission may be NULL), tail included. Valid UTF-8. *cut is set when text was left
 * out. */
int prompt_post(const struct prompt *p, const char *text, const char *mission, struct tokens *out, bool *cut,
                struct err *e) MUST_CHECK;

/* As prompt_post, and for each of the n tokens appended the bytes of `text` it stands for in begin[i], end[i]
 * (0, 0 for words that are not the post's): what evidence spans are cut from. Whole characters; together they
 * cover the text that was not cut away. The arrays are the caller's to free. */
int prompt_post_spans(const struct prompt *p, const char *text, const char *mission, struct tokens *out,
                      uint32_t **begin, uint32_t **end, struct err *e) MUST_CHECK;

/* What a model may learn beside the verdicts: a fifth branch under the post, our words "이유:", the reason as untrusted
 * text (at most post_tokens), and the token that ends an answer. Appends it; *words is the number of its tokens that
 * are ours and stand before the reason. Serving never asks for it. */
int prompt_reason(const struct prompt *p, const char *reason, struct tokens *out, size_t *words,
                  struct err *e) MUST_CHECK;

/* The baseline people use: one whole question per axis, answered by generated text. Up to the post it is the
 * same for all posts. */
int prompt_question(const struct prompt *p, enum axis axis, const char *text, const char *mission,
                    struct tokens *out, struct err *e) MUST_CHECK;

#endif
