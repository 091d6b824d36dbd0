/* What the readers of tokenizer files share. */
#ifndef GYEOL_FORMAT_TOKENIZER_INT_H
#define GYEOL_FORMAT_TOKENIZER_INT_H

#include "format/tokenizer_file.h"
#include "text/tokenizer_spec.h"

#include <jansson.h>

/* JSON fields. Absent and null leave *out as it was; another type is ERR_FORMAT naming the key. */
int field_bool(const json_t *o, const char *key, bool *out, struct err *e) MUST_CHECK;
int field_id(const json_t *o, const char *key, int32_t *out, struct err *e) MUST_CHECK;
int field_string(const json_t *o, const char *key, struct arena *a, struct spec_string *out,
                 struct err *e) MUST_CHECK;

/* "id" and the flags of an added token. */
int added_fields(struct spec_added *a, const json_t *v, struct err *e) MUST_CHECK;

/* Copies in the arena; out of memory is ERR_MEMORY. */
int spec_copy(struct arena *a, const char *s, size_t n, struct spec_string *out, struct err *e) MUST_CHECK;

/* What one place of the vocabulary holds. The table grows; an id beyond `most` is ERR_FORMAT. */
struct piece_table {
    struct spec_piece *piece; /* owned until piece_table_give */
    size_t n, capacity, most;
};
int piece_put(struct piece_table *v, struct arena *a, int64_t id, const char *s, size_t n,
              enum token_kind kind, double score, struct err *e) MUST_CHECK;
int piece_table_give(struct piece_table *v, struct tokenizer_spec *s, struct err *e) MUST_CHECK; /* frees v */
void piece_table_deinit(struct piece_table *v);

/* Reads JSON bytes; the caller owns *out. */
int json_read(json_t **out, const char *bytes, size_t n, struct err *e) MUST_CHECK;
int json_read_with(json_t **out, const char *bytes, size_t n, size_t flags, struct err *e) MUST_CHECK;

/* The normalizer and pre_tokenizer of a tokenizer.json, also kept in their JSON form. NULL and null: none. */
int spec_normalizers(struct tokenizer_spec *s, const json_t *v, struct err *e) MUST_CHECK;
int spec_pretokenizers(struct tokenizer_spec *s, const json_t *v, struct err *e) MUST_CHECK;

/* A whole tokenizer.json. */
int spec_from_json(struct tokenizer_spec *s, const json_t *root, struct err *e) MUST_CHECK;

/* Special ids from tokenizer_config.json and special_tokens_map.json in dir (which ends in a slash), if
 * there. */
int spec_side_files(struct tokenizer_spec *s, const char *dir, struct err *e) MUST_CHECK;

/* The same for a SentencePiece model, with the tokens that added_tokens.json and tokenizer_config.json add to it. */
int spec_model_side_files(struct tokenizer_spec *s, const char *dir, struct err *e) MUST_CHECK;

/* vocab.json and merges.txt in dir with their side files; bytes: whichever of the two was named (not used).
 */
int spec_from_vocab_json(struct tokenizer_spec *s, const char *dir, const char *bytes, size_t n,
                         struct err *e) MUST_CHECK;

/* vocab.txt of WordPiece. */
int spec_from_vocab_txt(struct tokenizer_spec *s, const char *dir, const char *bytes, size_t n,
                        struct err *e) MUST_CHECK;

/* A SentencePiece model. */
int spec_from_model(struct tokenizer_spec *s, const char *bytes, size_t n, struct err *e) MUST_CHECK;

/* The steps, added tokens and flags that go with SentencePiece's pieces, which s has already. */
int spec_sentencepiece(struct tokenizer_spec *s, const struct spec_normalizer *z, struct err *e) MUST_CHECK;

/* What the standard keys of a GGUF file cannot say, as one JSON string in a key of our own. */
#define GYEOL_TOKENIZER_KEY "gyeol.tokenizer"
enum { OWN_MODELS = 4, OWN_DECODERS = 4 };
extern const char *const own_models[OWN_MODELS]; /* by enum tokenizer_model, _decoder */
extern const char *const own_decoders[OWN_DECODERS];

int spec_from_gguf(struct tokenizer_spec *s, const struct gguf *g, struct err *e) MUST_CHECK;

/* Split patterns by GGUF's names for them. */
struct preset {
    const char *name;
    const char *pretokenizer; /* JSON */
    bool ignore_merges;
};
const struct preset *preset_find(const char *name, size_t n); /* NULL: unknown */
/* The name to write for these steps; NULL: none fits. */
const char *preset_name_of(const json_t *pretokenizer, bool ignore_merges);

#endif
