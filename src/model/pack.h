/* Packed weights beside the model: made once, then mapped and used in place.
 *
 * MODEL.gguf.<type>.<layout>.pack holds a model's whole weight block in the layout the kernels read. It knows
 * its source by size, modification time and inode, and keeps the source's SHA-256, so neither is computed
 * again; the block's own SHA-256 is checked when somebody asks (model info --verify). Where the model's
 * folder cannot be written, the file goes to $XDG_CACHE_HOME/gyeol. Without room anywhere the weights are
 * packed in memory, with a warning. */
#ifndef GYEOL_MODEL_PACK_H
#define GYEOL_MODEL_PACK_H

#include "model/model.h"

/* The layout's name in the file's: one for all instruction sets, for panels of 16 rows suit them all. */
#define PACK_LAYOUT "w16"

/* Opens the model's pack of this type, making it first if there is none or the source has changed. *made is
 * set when it was made (may be NULL). sha256 gets the source's digest. */
int pack_open(struct model **out, const struct checkpoint *c, enum model_type type, char sha256[DIGEST_HEX],
              bool *made, struct err *e) MUST_CHECK;

/* Rereads everything: the source against the recorded digest, the block against its checksum. ERR_MISSING:
 * there is no pack of this type. */
int pack_verify(const struct checkpoint *c, enum model_type type, struct err *e) MUST_CHECK;

/* The pack of this type as it is, if it is of this source: its path (malloc'd) and the source's digest as
 * recorded. ERR_MISSING: there is none. */
int pack_find(char **path, char sha256[DIGEST_HEX], const struct checkpoint *c, enum model_type type,
              struct err *e) MUST_CHECK;

/* SHA-256 of a checkpoint's weight files: of the file itself when there is one, else of the lines "NAME
 * SHA256\n". */
int pack_source_sha256(char hex[DIGEST_HEX], const struct checkpoint *c, struct err *e) MUST_CHECK;
/* The same from the files' own digests, in the checkpoint's order. */
int pack_join_sha256(char hex[DIGEST_HEX], char (*each)[DIGEST_HEX], const struct checkpoint *c,
                     struct err *e) MUST_CHECK;
int pack_file_sha256(char hex[DIGEST_HEX], const char *path, struct err *e) MUST_CHECK;

#endif
