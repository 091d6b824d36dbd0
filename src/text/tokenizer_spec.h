/* What a tokenizer is made of, in no file's form: readers in format/ fill it in, tokenizer_new builds the
 * tokenizer. The steps are those of Hugging Face's tokenizers library (its names are used) and of
 * SentencePiece. Nothing here is trusted: tokenizer_new checks all that encoding relies on. */
#ifndef GYEOL_TEXT_TOKENIZER_SPEC_H
#define GYEOL_TEXT_TOKENIZER_SPEC_H

#include "base/arena.h"
#include "text/tokenizer.h"

struct spec_string {
    const char *bytes; /* NULL: absent */
    size_t len;
};

struct spec_piece {
    const char *bytes; /* NULL: this id has no piece */
    uint32_t len;
    enum token_kind kind;
    bool outside; /* not of the model: matched only as an added token */
    double score;
};

struct spec_merge {
    struct spec_string left, right;
};

/* A token matched in the text before anything else looks at it. */
struct spec_added {
    int32_t id;          /* of its piece */
    bool special;        /* matched only when control tokens are */
    bool lstrip, rstrip; /* takes the white space before, behind it along */
    bool single_word;    /* not within a word */
    bool normalized;     /* matched in the normalised text, else in the text as it is */
};

enum normalizer_kind {
    NORMALIZER_NFC,
    NORMALIZER_NFD,
    NORMALIZER_NFKC,
    NORMALIZER_NFKD,
    NORMALIZER_LOWERCASE,
    NORMALIZER_STRIP_ACCENTS,
    NORMALIZER_STRIP,   /* left, right */
    NORMALIZER_REPLACE, /* pattern (a regular expression if regex), content */
    NORMALIZER_PREPEND, /* content */
    NORMALIZER_NMT,
    NORMALIZER_BERT,        /* clean_text, chinese, strip_accents, lowercase */
    NORMALIZER_PRECOMPILED, /* charsmap, applied to grapheme clusters */
    NORMALIZER_BYTE_LEVEL,
    NORMALIZER_SENTENCEPIECE, /* charsmap (may be absent), and the five flags at the end */
};

struct spec_normalizer {
    enum normalizer_kind kind;
    struct spec_string pattern, content, charsmap;
    bool regex, left, right;
    bool clean_text, chinese, strip_accents, lowercase;
    bool dummy_prefix, remove_extra_whitespaces, escape_whitespaces, whitespace_suffix;
    bool keep_user; /* pieces of kind TOKEN_USER pass unchanged */
};

enum split_behavior {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT,
    SPLIT_CONTIGUOUS,
};

enum prepend_scheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };

enum pretokenizer_kind {
    PRETOKENIZER_SPLIT,       /* pattern (a regular expression if regex), behavior, invert */
    PRETOKENIZER_BYTE_LEVEL,  /* prefix_space, gpt2_pattern */
    PRETOKENIZER_METASPACE,   /* pattern: the character that stands for a space; prepend, split */
    PRETOKENIZER_DIGITS,      /* behavior: isolated or contiguous */
    PRETOKENIZER_PUNCTUATION, /* behavior */
    PRETOKENIZER_WHITESPACE,
    PRETOKENIZER_WHITESPACE_SPLIT,
    PRETOKENIZER_BERT,
};

struct spec_pretokenizer {
    enum pretokenizer_kind kind;
    struct spec_string pattern;
    enum split_behavior behavior;
    enum prepend_scheme prepend;
    bool regex, invert, prefix_space, gpt2_pattern, split;
};

enum tokenizer_model {
    MODEL_BPE,        /* merges in order */
    MODEL_SCORED_BPE, /* SentencePiece: the merge that makes the best-scored piece first */
    MODEL_UNIGRAM,    /* the best-scored sequence of pieces */
    MODEL_WORDPIECE,  /* the longest piece first */
};

enum tokenizer_decoder {
    DECODER_PLAIN,      /* pieces as they are, one after another */
    DECODER_BYTE_LEVEL, /* GPT-2's 256 characters for bytes */
    DECODER_METASPACE,  /* U+2581 is a space, byte tokens are bytes */
    DECODER_WORDPIECE,  /* a space before every piece without the continuing prefix */
};

struct tokenizer_spec {
    struct arena arena; /* holds everything that is pointed to, or what outlives the tokenizer does */
    enum tokenizer_model model;
    enum tokenizer_decoder decoder;
    const char *name; /* of the kind, for people; NULL: named after the model */

    struct spec_piece *piece; /* [pieces], index is the id */
    size_t pieces;
    struct spec_merge *merge; /* [merges], first is first */
    size_t merges;
    struct spec_added *added;
    size_t added_count;
    struct spec_normalizer *normalizer;
    size_t normalizers;
    struct spec_pretokenizer *pretokenizer;
    size_t pretokenizers;

    int32_t bos, eos, unk, pad; /* -1: none. unk is what unknown text becomes */
    bool fuse_unk;              /* a run of unknown characters is one unknown token */
    bool byte_fallback;         /* unknown characters become byte tokens where all their bytes have one */
    bool ignore_merges;         /* a word that is a piece is that piece, whatever the merges say */
    bool single_precision;      /* Unigram: sums in float, as SentencePiece; else double */
    bool inline_user;  /* SentencePiece: pieces of kind TOKEN_USER are matched by the model, within words */
    bool strip_prefix; /* decoding takes one space away from the beginning */
    bool add_bos, add_eos;                /* what the model expects around a text; encoding adds neither */
    struct spec_string continuing_prefix; /* before a piece that does not begin a word: "##" */
    struct spec_string word_suffix;       /* behind a piece that ends a word: "</w>" */
    size_t max_word_chars;                /* WordPiece: longer words are unknown */

    /* For writers, absent where the reader did not know: */
    struct spec_string pre;             /* GGUF's name of the pre-tokenizer */
    struct spec_string normalizer_json; /* the steps in tokenizer.json's form */
    struct spec_string pretokenizer_json;
};

/* A spec with the ids at -1 and nothing in it. */
void spec_init(struct tokenizer_spec *s);
void spec_deinit(struct tokenizer_spec *s);

/* Takes over *s (left empty) in any case. Errors name what is wrong with it. */
int tokenizer_new(struct tokenizer **out, struct tokenizer_spec *s, struct err *e) MUST_CHECK;

/* What t was made from. */
const struct tokenizer_spec *tokenizer_spec_of(const struct tokenizer *t);

#endif
