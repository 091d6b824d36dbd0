/* What may be wrong with labelled posts before anyone trains on or measures with them: rows told twice,
 * people on both sides of a split, stock phrases, and texts that give away the answer or a person. */
#ifndef GYEOL_DATA_CHECK_H
#define GYEOL_DATA_CHECK_H

#include "base/arena.h"
#include "base/axis.h"
#include "base/err.h"
#include "data/posts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECK_SIMILARITY   0.7 /* trigram Jaccard from which two texts are near duplicates, see data/near.h */
#define CHECK_PHRASE_WORDS 4
#define CHECK_PHRASE_ROWS  8    /* a run of words may be in so many rows */
#define CHECK_STORED       1000 /* findings kept of each kind; all are counted */

enum check_kind {
    CHECK_EXACT_WITHIN, /* folded text equal to the first such row of the same file */
    CHECK_EXACT_ACROSS, /* ... to the first such row of all, in an earlier file */
    CHECK_NEAR_WITHIN,  /* a pair alike but not equal, in one file */
    CHECK_NEAR_ACROSS,  /* ... in two */
    CHECK_PHRASE,       /* a run of words in too many rows */
    CHECK_PERSON,       /* a user in more than one file */
    CHECK_TYPE_NAME,    /* INFP, MBTI, 인프피, ... in a text */
    CHECK_EMAIL,
    CHECK_PHONE, /* Korean numbers */
    CHECK_KINDS
};

extern const char *const check_kind_name[CHECK_KINDS]; /* "exact-within", ... */

struct check_place {
    uint32_t file; /* index in check_report.file */
    size_t line;
};

struct check_finding {
    struct check_place at;
    struct check_place other; /* duplicates: the earlier row; phrase, person: a second place; else as `at` */
    double similarity;        /* of duplicates, else 0 */
    size_t rows;              /* phrase, person: rows of all files that hold it, else 0 */
    const char *what; /* phrase, person, or the match (folded, ASCII letters lower case); NULL: duplicates */
};

enum { CHECK_UP, CHECK_DOWN, CHECK_KEEP, CHECK_UNKNOWN, CHECK_LABELS }; /* + - 0 ? */

struct check_file {
    const char *name;
    size_t rows, label[AXES][CHECK_LABELS];
    bool weak;
};

struct check_report {
    struct check_file *file;
    size_t n_files, rows;
    size_t count[CHECK_KINDS];                  /* all findings */
    size_t stored[CHECK_KINDS];                 /* min(count, CHECK_STORED) */
    struct check_finding *finding[CHECK_KINDS]; /* [stored] by place */
    struct arena arena;                         /* owns all of the above */
};

/* Checks n files, one for each split (names are copied). Finding something is no error. */
int check_posts(struct check_report *out, const struct labelled_posts *posts, const char *const *name,
                size_t n, struct err *e) MUST_CHECK;
void check_deinit(struct check_report *r);

/* The first match in a folded text (near_fold) at or after *at; true sets [*at, *end) in bytes. ASCII letters
 * must be lower case. For the three kinds that look at one text: type name, e-mail, phone. */
bool check_text(enum check_kind kind, const char *s, size_t *at, size_t *end);

#endif
