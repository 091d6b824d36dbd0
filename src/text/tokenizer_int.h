/* What the files of the tokenizer share: the built tokenizer, the working memory of one call, and the models.
 */
#ifndef GYEOL_TEXT_TOKENIZER_INT_H
#define GYEOL_TEXT_TOKENIZER_INT_H

#include "text/charsmap.h"
#include "text/heap.h"
#include "text/regex.h"
#include "text/tokenizer_spec.h"
#include "text/trie.h"
#include "text/vocab.h"

#define METASPACE     "\xE2\x96\x81" /* U+2581 */
#define METASPACE_LEN 3

/* A normalizer or pre-tokenizer step made ready. */
struct normalizer {
    const struct spec_normalizer *spec;
    struct regex *regex; /* of NORMALIZER_REPLACE with a regular expression */
    struct charsmap charsmap;
};

struct pretokenizer {
    const struct spec_pretokenizer *spec;
    struct regex *regex;
};

struct merge_slot {
    uint64_t pair; /* left id << 32 | right id; ~0: free */
    uint32_t rank;
    int32_t id;
};

struct tokenizer {
    struct tokenizer_spec spec;
    struct vocab vocab;
    char name[96];
    struct normalizer *normalizer; /* [spec.normalizers] */
    struct pretokenizer *pretokenizer;
    struct trie raw, normalized;      /* added tokens; values are indices of spec.added */
    bool raw_plain, normalized_plain; /* some of them match without `special` */
    struct trie user;                 /* pieces of kind TOKEN_USER, if they are matched inline */
    int32_t byte_piece[256];          /* byte tokens, or -1 */
    bool cut_at_space;                /* no piece goes on across a space: see tokenizer.c */

    /* MODEL_BPE */
    struct merge_slot *merge;
    size_t merge_mask;
    uint64_t merge_key;
    bool raw_bytes; /* the last pre-tokenizer step maps bytes to characters: skipped, byte_id used instead */
    int32_t byte_id[256];
    /* MODEL_SCORED_BPE */
    uint32_t *rank;  /* of each piece: 0 has the best score; equal scores, equal ranks */
    int32_t *unused; /* ids of kind TOKEN_UNUSED, ascending */
    size_t unused_count;
    /* MODEL_UNIGRAM */
    struct trie pieces;
    double min_score, max_score;
};

/* Stretches of a text. */
struct span {
    uint32_t begin, end;
};

struct spans {
    struct buf text;
    struct span *at;
    size_t n, capacity;
    bool at_start; /* byte 0 of text is where the whole text began */
};

struct symbol {
    int32_t prev, next;
    union {
        int32_t id;
        uint32_t begin;
    };
    uint32_t len; /* 0: merged into another */
    bool frozen;  /* never merged */
};

struct best_path {
    double score;
    uint32_t from; /* UINT32_MAX: not reached */
    int32_t id;
};

/* Working memory of one call. */
struct scratch {
    struct buf normal[2], word;
    struct spans spans[2];
    const char *words; /* what the spans of the last pretokenize() are of */
    struct regex_match *match;
    struct symbol *symbol;
    size_t symbols_capacity;
    struct heap heap;
    struct best_path *path;
    size_t path_capacity;
    uint32_t *unused_left; /* MODEL_SCORED_BPE: how many bytes of each unused piece were its left half */
    bool last_unknown;     /* the last token was the unknown one, and may swallow the next */
};

/* normalizer.c. *out is text itself, or lies in s->normal. */
int normalizer_init(struct normalizer *z, const struct spec_normalizer *spec, struct err *e) MUST_CHECK;
void normalizer_deinit(struct normalizer *z);
int normalize(const struct tokenizer *t, struct scratch *s, const char *text, size_t n, const char **out,
              size_t *out_n, struct err *e) MUST_CHECK;

/* ERR_FORMAT for what no regular expression may be tried on. */
int check_utf8(const char *s, size_t n, struct err *e) MUST_CHECK;

/* pretokenizer.c. Splits text into s->spans[*which]. */
int pretokenizer_init(struct pretokenizer *p, const struct spec_pretokenizer *spec, struct err *e) MUST_CHECK;
void pretokenizer_deinit(struct pretokenizer *p);
int pretokenize(const struct tokenizer *t, struct scratch *s, const char *text, size_t n, bool at_start,
                int *which, struct err *e) MUST_CHECK;

/* The models: one word (n > 0) to ids. */
int bpe_init(struct tokenizer *t, struct err *e) MUST_CHECK;
int bpe_encode(const struct tokenizer *t, struct scratch *s, const char *w, size_t n, struct tokens *out,
               struct err *e) MUST_CHECK;
int scored_init(struct tokenizer *t, struct err *e) MUST_CHECK;
int scored_encode(const struct tokenizer *t, struct scratch *s, const char *w, size_t n, struct tokens *out,
                  struct err *e) MUST_CHECK;
int unigram_init(struct tokenizer *t, struct err *e) MUST_CHECK;
int unigram_encode(const struct tokenizer *t, struct scratch *s, const char *w, size_t n, struct tokens *out,
                   struct err *e) MUST_CHECK;
int wordpiece_encode(const struct tokenizer *t, struct scratch *s, const char *w, size_t n,
                     struct tokens *out, struct err *e) MUST_CHECK;

/* Room for n symbols in s->symbol. */
int scratch_symbols(struct scratch *s, size_t n, struct err *e) MUST_CHECK;

/* The id of a piece that plain text may give, or -1. */
int32_t model_find(const struct tokenizer *t, const char *s, size_t n);

#endif
