/* What a hub says. The first byte picks the answer, the rest is it: a page of the tree (its files then chosen
 * from), the description of a revision, or a Link header. What is taken from it keeps its bounds, and no name
 * that is let through leads out of a directory. */
#include "net/choose.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void check_message(const struct err *e, int rc)
{
    if (e->code != rc || rc >= 0 || strlen(e->msg) >= sizeof e->msg || strpbrk(e->msg, "\r\n"))
        abort();
}

static void check_hash(const char *hash)
{
    size_t n = strlen(hash);
    if ((n != 0 && n != 40 && n != 64) || strspn(hash, "0123456789abcdef") != n)
        abort();
}

/* No part is "..", "." or empty; said in another way than hub_path_check does. */
static void check_path(const char *path)
{
    char framed[HUB_PATH_MAX + 3];
    struct err e;
    if (strlen(path) > HUB_PATH_MAX)
        abort();
    framed[0] = '/';
    memcpy(framed + 1, path, strlen(path) + 1);
    strncat(framed, "/", 2);
    if (strstr(framed, "//") || strstr(framed, "/../") || strstr(framed, "/./") || strstr(framed, "/.git/"))
        abort();
    if (hub_path_check(path, &e) == 0 && (strchr(path, '\\') || strpbrk(path, "\r\n\t\033")))
        abort();
}

static void check_tree(const char *json, size_t len)
{
    static const char *const all[] = {"*"};
    struct hub_listing l = {0};
    struct err e;
    size_t entries = 0;
    int rc = hub_parse_tree(&l, &entries, json, len, &e);
    if (rc)
        check_message(&e, rc);
    if (l.n > HUB_FILES_MAX || l.n > entries)
        abort();
    for (size_t i = 0; i < l.n; i++) {
        check_hash(l.file[i].hash);
        check_path(l.file[i].path);
    }
    for (size_t n = 0; n < 2; n++) {
        int chose = choose_files(&l, "a/b", all, n, &e);
        if (chose)
            check_message(&e, chose);
        for (size_t i = 0; i < l.n && !chose; i++)
            if (l.file[i].chosen && hub_path_check(l.file[i].path, &e))
                abort();
    }
    hub_listing_deinit(&l);
}

static void check_commit(const char *json, size_t len)
{
    char commit[DIGEST_HEX];
    struct err e;
    size_t siblings;
    int rc = hub_parse_commit(commit, &siblings, json, len, &e);
    if (rc)
        check_message(&e, rc);
    else if (*commit)
        check_hash(commit);
    else
        abort();
}

static void check_link(const char *bytes, size_t len)
{
    struct buf query = {0};
    char *link = malloc(len + 1);
    memcpy(link, bytes, len);
    link[len] = 0;
    if (hub_next_query(&query, link) && (query.failed || query.len > len))
        abort();
    buf_deinit(&query);
    free(link);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const char *rest = (const char *)data + 1;
    if (data[0] % 3 == 0)
        check_tree(rest, size - 1);
    else if (data[0] % 3 == 1)
        check_commit(rest, size - 1);
    else
        check_link(rest, size - 1);
    return 0;
}
