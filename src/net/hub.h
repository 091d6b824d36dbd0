/* A hub in the manner of huggingface.co: which files a model has at a revision, their sizes and hashes, and
 * where they are fetched. Everything a hub says is untrusted: counts, lengths and names are checked here, and
 * a token goes to the hub's own address alone.
 *
 *   GET {endpoint}/api/models/{name}/revision/{revision}       the commit that the revision names
 *   GET {endpoint}/api/models/{name}/tree/{commit}?recursive=true   its files; pages linked by a Link header
 *   GET {endpoint}/{name}/resolve/{commit}/{path}              one file, often by way of a redirect */
#ifndef GYEOL_NET_HUB_H
#define GYEOL_NET_HUB_H

#include "base/arena.h"
#include "base/digest.h"
#include "net/http.h"

#define HUB_ENDPOINT "https://huggingface.co"

enum { HUB_FILES_MAX = 10000, HUB_PATH_MAX = 1024, HUB_PART_MAX = 200, HUB_NAME_MAX = 200 };

struct hub {
    char endpoint[512]; /* without a slash at the end */
    char name[HUB_NAME_MAX + 1];
    char revision[HUB_NAME_MAX + 1];
    const char *token; /* borrowed; NULL for none */
};

/* Checks and copies; revision NULL is "main". A token is left out, with a warning, where it would cross the
 * network in clear text. ERR_USAGE says what is wrong; the endpoint may hold no user or password, for errors
 * show it. */
int hub_init(struct hub *hub, const char *endpoint, const char *name, const char *revision, const char *token,
             struct err *e) MUST_CHECK;

struct hub_file {
    const char *path; /* in the listing's memory */
    uint64_t size;
    char hash[DIGEST_HEX]; /* 64 digits: SHA-256; 40: git's blob SHA-1; "" when the listing has none */
    bool chosen;           /* by choose_files */
};

struct hub_listing {
    char commit[DIGEST_HEX];
    struct hub_file *file; /* owned; ordered by path, each path once */
    size_t n, capacity;
    struct arena memory;
};

/* Files without a hash get the one that HEAD tells (hub_describe) once they are chosen. ERR_STATE: private or
 * gated; ERR_MISSING: no such model or revision; ERR_BUSY: the hub has no time for us. */
int hub_list(struct http *h, const struct hub *hub, struct hub_listing *l, struct err *e) MUST_CHECK;
void hub_listing_deinit(struct hub_listing *l);

int hub_describe(struct http *h, const struct hub *hub, const char *commit, struct hub_file *f,
                 struct err *e) MUST_CHECK;

/* Appends the address of a file. */
void hub_file_url(struct buf *b, const struct hub *hub, const char *commit, const char *path);

/* The error that an answer other than 200 or 206 stands for; what: "revision main", a path. */
int hub_refusal(const struct hub *hub, const struct http_response *r, const char *what, struct err *e);

/* May this file be written below a directory of ours? ERR_FORMAT says why not. A listing with a name that git
 * itself cannot hold ("..", absolute, ".git") is refused whole; one that is merely unfit (a backslash) only
 * when chosen. */
int hub_path_check(const char *path, struct err *e) MUST_CHECK;

/* fnmatch(3) on the whole path, '*' staying within a directory; a pattern without a slash matches the last
 * part of a path in any directory. */
bool hub_match(const char *pattern, const char *path);

/* ---- the hub's answers; apart for the tests ---- */

/* *siblings: how many files the answer names. */
int hub_parse_commit(char commit[DIGEST_HEX], size_t *siblings, const char *json, size_t len,
                     struct err *e) MUST_CHECK;

/* Adds a page of the tree to l; *entries is what it held, folders too. */
int hub_parse_tree(struct hub_listing *l, size_t *entries, const char *json, size_t len,
                   struct err *e) MUST_CHECK;

/* Appends the query of the link with rel="next"; false when there is none. */
bool hub_next_query(struct buf *query, const char *link);

#endif
