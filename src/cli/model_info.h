/* Parts of what gyeol model info tells, each as JSON; text is printed from the same. */
#ifndef GYEOL_CLI_MODEL_INFO_H
#define GYEOL_CLI_MODEL_INFO_H

#include "format/checkpoint.h"
#include "model/source.h"

#include <jansson.h>
#include <stdbool.h>

/* All make *out the caller's. A NULL *out is out of memory. */
json_t *info_shape(const struct config *c);
json_t *info_attention(const struct config *c);
json_t *info_arithmetic(const struct config *c);
json_t *info_memory(const struct config *c); /* bytes by type; of keys and values per position */
uint64_t info_parameters(const struct config *c);

/* Tensors and bytes by type. */
json_t *info_gguf_tensors(const struct gguf *g);
struct info_files;
int info_safetensors(json_t **out, uint64_t *parameters, const struct info_files *files,
                     struct err *e) MUST_CHECK;

/* Paths, and what is known of them. */
struct info_files {
    char **path; /* owned */
    size_t n;
    uint64_t bytes;
    char (*sha256)[DIGEST_HEX]; /* owned; NULL: not computed */
};
int info_files_add(struct info_files *f, const char *path, struct err *e) MUST_CHECK;
int info_files_find(struct info_files *f, const char *dir, struct err *e) MUST_CHECK; /* its *.safetensors */
/* Hashes them if they are not too large or everything is to be verified; verifying also reads every tensor.
 */
int info_files_read(struct info_files *f, bool verify, struct err *e) MUST_CHECK;
json_t *info_files_json(const struct info_files *f);
void info_files_deinit(struct info_files *f);

/* null where there is none; what cannot be read says why. */
json_t *info_tokenizer(const char *path);
json_t *info_chat_template(const char *path);

int info_adapter(json_t **out, const char *dir, bool verify, struct err *e) MUST_CHECK;

/* What gyeol.json of a judge directory says. */
int info_judge(json_t **out, const char *dir, struct err *e) MUST_CHECK;

/* config.json of what is no decoder of ours: the fields most have. */
int info_config_json(json_t **out, char model_type[64], const char *dir, struct err *e) MUST_CHECK;

/* For people: one line for each value. */
void info_print(const json_t *v);

#endif
