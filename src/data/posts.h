/* Labelled posts: a TSV (or CSV, JSON lines) with `text`, optional `mission`, `user`, `reason`, `kind`, and
 * the labels `ei sn tf jp`, each + (up), - (down), 0 (keep) or ? (unknown). A column `type` (INFP) may stand
 * for the four: a weak label, the author's own type, never 0. */
#ifndef GYEOL_DATA_POSTS_H
#define GYEOL_DATA_POSTS_H

#include "base/arena.h"
#include "base/axis.h"
#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LABEL_UNKNOWN 2 /* besides -1, 0, 1 */

struct labelled_post {
    const char *text, *mission, *user, *reason, *kind; /* NULL: absent or empty, text never */
    int8_t label[AXES];
    size_t line;
};

struct labelled_posts {
    struct labelled_post *row;
    size_t n;
    unsigned used;           /* bit i: a row has text, mission, user, reason, kind (in this order) */
    bool weak;               /* labels come from `type` */
    char sha256[DIGEST_HEX]; /* of the file */
    char ignored[256];       /* names of columns not used, joined by ", " */
    struct arena arena;      /* owns the texts */
};

/* Reads a whole file; any bad row refuses it, with its line. Up to 1 GiB. */
int labelled_read(struct labelled_posts *out, const char *path, struct err *e) MUST_CHECK;
void labelled_deinit(struct labelled_posts *p);

char label_char(int label); /* '+', '-', '0', '?' */

/* Appends the TSV header, or row i, as labelled_read reads it: text and those of mission user reason kind
 * that some row has, then ei sn tf jp, or type for weak labels. */
void labelled_write_header(struct buf *out, const struct labelled_posts *p);
void labelled_write_row(struct buf *out, const struct labelled_posts *p, size_t i);

#endif
