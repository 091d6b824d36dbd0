/* What the readers of the two kinds of checkpoint share: tensors sorted into slots by role and layer, then
 * proved. */
#ifndef GYEOL_FORMAT_CHECKPOINT_INT_H
#define GYEOL_FORMAT_CHECKPOINT_INT_H

#include "base/arena.h"
#include "format/checkpoint.h"
#include "format/gguf.h"
#include "format/safetensors.h"

/* A bitsandbytes weight is six tensors: X.weight and X.weight.PART. */
enum part { PART_WEIGHT, PART_ABSMAX, PART_MAP, PART_NESTED_ABSMAX, PART_NESTED_MAP, PART_STATE, PART_COUNT };

struct slot {
    const struct tensor *part[PART_COUNT];
    const char *file; /* that holds the weight */
};

struct checkpoint {
    struct config config;
    struct arena arena; /* owns all that follows but the open files */
    const char *path;
    struct gguf *gguf;
    struct safetensors **shard; /* [files], of a directory */
    const char **file;          /* [files] */
    size_t files;
    struct weight *weight; /* by checkpoint_index; tensor.name NULL: this model has none */
};

/* Where a role of a layer stands in the tables, and how many places there are. */
size_t checkpoint_index(const struct config *c, enum role r, uint32_t layer);
size_t checkpoint_places(const struct config *c);

/* What a tensor's name means: its role, layer and part. */
struct place {
    enum role role;
    uint32_t layer;
    enum part part;
};
enum placing {
    PLACE_FOUND,
    PLACE_OTHER,   /* not of the decoder's layers: an image tower, an optimiser's remains */
    PLACE_UNKNOWN, /* within the decoder, but nothing that this engine computes with */
    PLACE_UNUSED,  /* within the decoder, without influence */
};

/* `prefix` comes before "layers." and "embed_tokens.": "model." and its variants. */
enum placing place_hf(struct place *out, const char *name, const char *prefix, const struct config *c);
enum placing place_gguf(struct place *out, const char *name, const struct config *c);

/* A decoder layer's number at s ("12."): fills *layer and returns what follows the dot, or NULL. */
const char *place_layer(const char *s, uint32_t *layer);

/* Puts the tensor into the slots, or refuses it by name. */
int checkpoint_put(struct slot *slots, const struct config *c, const struct place *p, const struct tensor *t,
                   const char *file, struct err *e) MUST_CHECK;

/* slots -> c->weight: everything demanded is there, in the right shape and type. */
int checkpoint_settle(struct checkpoint *c, const struct slot *slots, struct err *e) MUST_CHECK;

/* slot with PART_STATE -> weight. */
int checkpoint_nf4(struct weight *w, const struct slot *s, const size_t dim[2], struct err *e) MUST_CHECK;

int checkpoint_open_directory(struct checkpoint *c, struct err *e) MUST_CHECK;

/* "PATH/NAME" in the arena, or NULL when memory is out. */
const char *checkpoint_join(struct arena *a, const char *path, const char *name);

#endif
