/* A model from a hub into a directory. A file comes into being as DIR/.FILE.part, which a later pull goes on
 * with, and gets its name once its size and hash are what the hub says and it is on the disk: under its own
 * name there is never half a file or a wrong one. */
#ifndef GYEOL_NET_PULL_H
#define GYEOL_NET_PULL_H

#include "net/hub.h"

enum pull_state { PULL_FETCHED, PULL_RESUMED, PULL_PRESENT, PULL_STATES };
extern const char *const pull_state_name[PULL_STATES];

struct pull_options {
    const char *dir;            /* made if need be; its parent must exist */
    const char *const *include; /* patterns of choose_files; n_include 0: what gyeol reads */
    size_t n_include;
    bool replace; /* files that are there and differ; without it they are ERR_STATE */
    /* Bytes, of which `done` grows to `total`; what: "checking", "fetching". May be NULL. */
    void (*progress)(void *context, const char *what, uint64_t done, uint64_t total);
    void *context;
};

struct pull_result {
    struct hub_listing listing; /* those with `chosen` are in DIR now */
    enum pull_state *state;     /* owned; one for each file of the listing */
    size_t files;               /* chosen */
    uint64_t bytes, fetched;    /* of them, and what came over the network */
};

/* ERR_BUSY: another pull is at work in DIR; ERR_LIMIT: no room on the disk; ERR_STOPPED: interrupted, what
 * was fetched stays for the next; ERR_FORMAT: bytes that are not what the hub says. r needs
 * pull_result_deinit in any case. */
int pull_model(const struct hub *hub, const struct pull_options *o, struct pull_result *r,
               struct err *e) MUST_CHECK;
void pull_result_deinit(struct pull_result *r);

#endif
