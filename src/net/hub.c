#include "net/hub.h"

#include "base/log.h"

#include <ctype.h>
#include <fnmatch.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PAGE_MAX = 16 << 20, ENTRIES_MAX = 4 * HUB_FILES_MAX, QUERY_MAX = 4096 };

#define SIZE_MOST ((json_int_t)1 << 46) /* 64 TiB; sums of HUB_FILES_MAX of them do not overflow */

/* ---- what the caller gives ---- */

static bool is_loopback(const char *host)
{
    size_t n = strcspn(host, ":/");
    return (n == 9 && strncasecmp(host, "localhost", 9) == 0) || strncmp(host, "127.", 4) == 0 ||
           strncmp(host, "[::1]", 5) == 0;
}

static int set_endpoint(struct hub *hub, const char *endpoint, struct err *e)
{
    size_t n = strlen(endpoint), scheme = strncasecmp(endpoint, "https://", 8) == 0  ? 8
                                          : strncasecmp(endpoint, "http://", 7) == 0 ? 7
                                                                                     : 0;
    while (n > scheme && endpoint[n - 1] == '/')
        n--;
    if (memchr(endpoint, '@', n)) /* not shown: it may hold a password */
        return err_set(e, ERR_USAGE, "the endpoint has a user name or password; a token goes into HF_TOKEN");
    if (scheme == 0 || n == scheme || n >= sizeof hub->endpoint || strpbrk(endpoint, "?#"))
        return err_set(e, ERR_USAGE,
                       "endpoint %.100s: want https://HOST or http://HOST, a port and a path if need be",
                       endpoint);
    for (size_t i = 0; i < n; i++)
        if (!isgraph((unsigned char)endpoint[i]))
            return err_set(e, ERR_USAGE, "endpoint %.100s: a blank or a byte that is not ASCII", endpoint);
    memcpy(hub->endpoint, endpoint, n);
    hub->endpoint[n] = 0;
    return 0;
}

/* Letters, digits, "-", "_" and "." as the hub allows, not beginning with a dot: the last part names a
 * directory. */
static bool is_name_part(const char *s, size_t n)
{
    if (n == 0 || n > 96 || s[0] == '.' || s[0] == '-')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("-_.", s[i]))
            return false;
    return true;
}

static int set_name(struct hub *hub, const char *name, struct err *e)
{
    const char *slash = strchr(name, '/');
    size_t n = strlen(name), owner = slash ? (size_t)(slash - name) : 0;
    bool good =
        slash ? is_name_part(name, owner) && is_name_part(slash + 1, n - owner - 1) : is_name_part(name, n);
    if (!good)
        return err_set(e, ERR_USAGE, "model %.100s: want OWNER/NAME of letters, digits, '-', '_' and '.'",
                       name);
    memcpy(hub->name, name, n + 1);
    return 0;
}

int hub_init(struct hub *hub, const char *endpoint, const char *name, const char *revision, const char *token,
             struct err *e)
{
    *hub = (struct hub){.token = token && *token ? token : NULL};
    size_t n = strlen(revision ? revision : (revision = "main"));
    int rc = set_endpoint(hub, endpoint, e);
    if (!rc)
        rc = set_name(hub, name, e);
    if (!rc && (n == 0 || n > HUB_NAME_MAX))
        rc = err_set(e, ERR_USAGE, "revision %.60s: want a branch, tag or commit of 1 to %d bytes", revision,
                     HUB_NAME_MAX);
    if (rc)
        return rc;
    memcpy(hub->revision, revision, n + 1);
    if (hub->token && strncasecmp(hub->endpoint, "http://", 7) == 0 && !is_loopback(hub->endpoint + 7)) {
        log_write(LOG_WARN, "HF_TOKEN is not sent to %s: without https everybody on the way could read it",
                  hub->endpoint);
        hub->token = NULL;
    }
    return 0;
}

/* ---- names ---- */

/* What no tree of git holds; a listing with one was made to get out of the directory, or into its .git. */
static const char *impossible(const char *path)
{
    size_t len = strlen(path), n;
    if (len == 0 || len > HUB_PATH_MAX)
        return "an empty or overlong name";
    for (const char *p = path;; p += n + 1) {
        n = strcspn(p, "/");
        if (n == 0)
            return "an absolute name, or one with an empty part";
        if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return "a name with a part \".\" or \"..\"";
        if (n == 4 && strncasecmp(p, ".git", 4) == 0)
            return "a name within .git";
        if (p[n] == 0)
            return NULL;
    }
}

static bool ends_with(const char *s, size_t n, const char *end)
{
    size_t m = strlen(end);
    return n >= m && memcmp(s + n - m, end, m) == 0;
}

/* C0, DEL, and C1 in UTF-8 (C2 80 to C2 9F), which a terminal that prints the name would obey. */
static bool is_control(const char *s)
{
    const unsigned char *u = (const unsigned char *)s;
    return u[0] < 0x20 || u[0] == 0x7F || (u[0] == 0xC2 && u[1] >= 0x80 && u[1] < 0xA0);
}

static const char *unfit(const char *path)
{
    size_t n;
    for (const char *p = path;; p += n + 1) {
        n = strcspn(p, "/");
        if (n > HUB_PART_MAX)
            return "a part of more than 200 bytes";
        /* the files a pull keeps for itself beside the fetched ones */
        if (p[0] == '.' &&
            (ends_with(p, n, ".part") || ends_with(p, n, ".part.id") || ends_with(p, n, "-pull.lock")))
            return "a name that a pull uses itself";
        for (size_t i = 0; i < n; i++)
            if (p[i] == '\\' || is_control(p + i))
                return "a name with a backslash or a control character";
        if (p[n] == 0)
            return NULL;
    }
}

int hub_path_check(const char *path, struct err *e)
{
    const char *why = impossible(path);
    if (!why)
        why = unfit(path);
    return why ? err_set(e, ERR_FORMAT, "the hub lists \"%.120s\": %s; it is not written", path, why) : 0;
}

bool hub_match(const char *pattern, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (strchr(pattern, '/'))
        return fnmatch(pattern, path, FNM_PATHNAME) == 0;
    return fnmatch(pattern, slash ? slash + 1 : path, 0) == 0;
}

/* ---- answers ---- */

static bool copy_hash(char hash[DIGEST_HEX], const char *text, size_t n)
{
    hash[0] = 0;
    if (strlen(text) != n || strspn(text, "0123456789abcdefABCDEF") != n)
        return false;
    for (size_t i = 0; i < n; i++)
        hash[i] = (char)tolower((unsigned char)text[i]);
    hash[n] = 0;
    return true;
}

static json_t *parse(const char *json, size_t len, const char *what, struct err *e)
{
    json_error_t at;
    json_t *v = json_loadb(json ? json : "", len, JSON_REJECT_DUPLICATES, &at);
    if (!v)
        err_set(e, ERR_FORMAT, "the hub's %s is not JSON: line %d: %.100s", what, at.line, at.text);
    return v;
}

int hub_parse_commit(char commit[DIGEST_HEX], size_t *siblings, const char *json, size_t len, struct err *e)
{
    json_t *v = parse(json, len, "description of the revision", e);
    if (!v)
        return ERR_FORMAT;
    const char *sha = json_string_value(json_object_get(v, "sha"));
    int rc = 0;
    if (!sha || !(copy_hash(commit, sha, 40) || copy_hash(commit, sha, 64)))
        rc = err_set(e, ERR_FORMAT,
                     "the hub's description of the revision: sha is \"%.80s\", want a commit of 40 digits",
                     sha ? sha : "missing");
    *siblings = json_array_size(json_object_get(v, "siblings"));
    json_decref(v);
    return rc;
}

/* {"type": "file", "path": P, "size": N, "oid": blob SHA-1, "lfs": {"oid": SHA-256, "size": N}}. The oid of a
 * file in LFS names the pointer that git keeps in its place, not the file. */
static int read_entry(struct hub_file *f, const json_t *v, struct err *e)
{
    const json_t *lfs = json_object_get(v, "lfs"), *size = json_object_get(v, "size");
    const char *oid = json_string_value(json_object_get(json_is_object(lfs) ? lfs : v, "oid"));
    if (json_is_object(lfs) && json_object_get(lfs, "size"))
        size = json_object_get(lfs, "size");
    if (!json_is_integer(size) || json_integer_value(size) < 0 || json_integer_value(size) > SIZE_MOST)
        return err_set(e, ERR_FORMAT, "the hub lists \"%.120s\" without a size, or with an impossible one",
                       f->path);
    f->size = (uint64_t)json_integer_value(size);
    if (oid && strncmp(oid, "sha256:", 7) == 0) /* some mirrors write it so */
        oid += 7;
    if (oid && !copy_hash(f->hash, oid, json_is_object(lfs) ? 64 : 40))
        return err_set(e, ERR_FORMAT, "the hub lists \"%.120s\" with the hash \"%.80s\", want %d digits",
                       f->path, oid, json_is_object(lfs) ? 64 : 40);
    return 0;
}

static int grow(struct hub_listing *l, struct err *e)
{
    if (l->n == HUB_FILES_MAX)
        return err_set(e, ERR_LIMIT, "the hub lists more than %d files", HUB_FILES_MAX);
    if (l->n < l->capacity)
        return 0;
    size_t want = l->capacity ? 2 * l->capacity : 64;
    struct hub_file *p = realloc(l->file, want * sizeof *p);
    if (!p)
        return err_set(e, ERR_MEMORY, "out of memory");
    l->file = p;
    l->capacity = want;
    return 0;
}

static int add_entry(struct hub_listing *l, const json_t *v, struct err *e)
{
    const char *path = json_string_value(json_object_get(v, "path"));
    const char *type = json_string_value(json_object_get(v, "type"));
    if (!path || !type)
        return err_set(e, ERR_FORMAT, "the hub's list of files: an entry without path or type");
    const char *why = impossible(path);
    if (why)
        return err_set(e, ERR_FORMAT, "the hub lists \"%.120s\": %s", path, why);
    if (strcmp(type, "file") != 0)
        return 0;
    int rc = grow(l, e);
    if (rc)
        return rc;
    struct hub_file *f = &l->file[l->n];
    *f = (struct hub_file){.path = arena_copy(&l->memory, path, strlen(path))};
    if (!f->path)
        return err_set(e, ERR_MEMORY, "out of memory");
    rc = read_entry(f, v, e);
    l->n += !rc;
    return rc;
}

int hub_parse_tree(struct hub_listing *l, size_t *entries, const char *json, size_t len, struct err *e)
{
    size_t i;
    json_t *v = parse(json, len, "list of files", e), *entry;
    if (!v)
        return ERR_FORMAT;
    int rc = json_is_array(v) ? 0 : err_set(e, ERR_FORMAT, "the hub's list of files: want a JSON array");
    *entries = json_array_size(v);
    json_array_foreach(v, i, entry) if (!rc) rc = add_entry(l, entry, e);
    json_decref(v);
    return rc;
}

/* The parameters after <...>, up to the next link, hold rel="next". */
static bool is_next(const char *p, size_t n)
{
    for (size_t i = 0; i + 8 <= n; i++)
        if (strncasecmp(p + i, "rel=next", 8) == 0 ||
            (i + 10 <= n && strncasecmp(p + i, "rel=\"next\"", 10) == 0))
            return true;
    return false;
}

bool hub_next_query(struct buf *query, const char *link)
{
    for (const char *open = link ? strchr(link, '<') : NULL, *close; open; open = strchr(close, '<')) {
        close = strchr(open, '>');
        if (!close)
            return false;
        const char *mark = memchr(open, '?', (size_t)(close - open));
        if (mark && is_next(close, strcspn(close, "<"))) {
            buf_add(query, mark + 1, (size_t)(close - mark - 1));
            return true;
        }
    }
    return false;
}

/* ---- requests ---- */

static int refused(const struct hub *hub, const struct http_response *r, const char *code, struct err *e)
{
    const char *shown = hub->endpoint, *name = hub->name;
    if (code && strcmp(code, "GatedRepo") == 0)
        return err_set(
            e, ERR_STATE,
            "%s is gated: accept its terms at %s/%s, then set HF_TOKEN to a token that may read it", name,
            shown, name);
    if (hub->token)
        return err_set(
            e, ERR_STATE,
            "%s answers %d: no model %s, or it is private or gated and this HF_TOKEN may not read it", shown,
            r->status, name);
    return err_set(e, ERR_STATE, "%s answers %d: no model %s, or it is private or gated; if so, set HF_TOKEN",
                   shown, r->status, name);
}

int hub_refusal(const struct hub *hub, const struct http_response *r, const char *what, struct err *e)
{
    const char *code = http_header(r, "X-Error-Code"), *text = http_header(r, "X-Error-Message");
    if (r->status == 401 || r->status == 403)
        return refused(hub, r, code, e);
    if (r->status == 404 && code && strcmp(code, "RevisionNotFound") == 0)
        return err_set(e, ERR_MISSING, "%s: no %s", hub->name, what);
    if (r->status == 404 && code && strcmp(code, "RepoNotFound") == 0)
        return err_set(e, ERR_MISSING, "%s: no such model at %s", hub->name, hub->endpoint);
    if (r->status == 404)
        return err_set(e, ERR_MISSING, "%s: no such model at %s, or no %s", hub->name, hub->endpoint, what);
    return err_set(e, r->status == 429 || r->status >= 500 ? ERR_BUSY : ERR_IO,
                   "%s: %s: the hub answers %d, after %d attempt%s%s%.120s", hub->name, what, r->status,
                   r->attempts, r->attempts == 1 ? "" : "s", text ? ": " : "", text ? text : "");
}

static int get_json(struct http *h, const struct hub *hub, const struct buf *url, const char *what,
                    struct http_response *r, struct err *e)
{
    struct http_request q = {.url = url->data, .token = hub->token, .body_max = PAGE_MAX};
    int rc = buf_check(url, "an address", e);
    *r = (struct http_response){0};
    if (!rc)
        rc = http_send(h, &q, r, e);
    if (!rc && r->status != 200)
        rc = hub_refusal(hub, r, what, e);
    return rc;
}

static int find_commit(struct http *h, const struct hub *hub, struct hub_listing *l, size_t *siblings,
                       struct err *e)
{
    struct http_response r;
    struct buf url = {0};
    char what[HUB_NAME_MAX + 20] = "";
    snprintf(what, sizeof what, "revision %s", hub->revision);
    buf_printf(&url, "%s/api/models/%s/revision/", hub->endpoint, hub->name);
    http_escape(&url, hub->revision, "");
    int rc = get_json(h, hub, &url, what, &r, e);
    if (!rc)
        rc = hub_parse_commit(l->commit, siblings, r.body.data, r.body.len, e);
    http_response_deinit(&r);
    buf_deinit(&url);
    return rc;
}

/* One page; *more when another follows, whose query is then in `query`. Only the query of a link is used: the
 * rest of the address is ours, so that no link takes the token elsewhere (and a mirror may link to the
 * original). */
static int list_page(struct http *h, const struct hub *hub, struct hub_listing *l, struct buf *query,
                     size_t *entries, bool *more, struct err *e)
{
    struct http_response r;
    struct buf url = {0};
    buf_printf(&url, "%s/api/models/%s/tree/%s?%s", hub->endpoint, hub->name, l->commit, query->data);
    int rc = get_json(h, hub, &url, "list of files", &r, e);
    if (!rc)
        rc = hub_parse_tree(l, entries, r.body.data, r.body.len, e);
    buf_reset(query);
    *more = !rc && hub_next_query(query, http_header(&r, "Link"));
    if (!rc && query->failed)
        rc = err_set(e, ERR_LIMIT, "the hub's list of files: a link of more than %d bytes", QUERY_MAX);
    http_response_deinit(&r);
    buf_deinit(&url);
    return rc;
}

static int list_pages(struct http *h, const struct hub *hub, struct hub_listing *l, struct err *e)
{
    struct buf query = {.limit = QUERY_MAX};
    size_t total = 0, entries = 0;
    bool more = true;
    buf_str(&query, "recursive=true");
    int rc = buf_check(&query, "an address", e);
    while (!rc && more) {
        rc = list_page(h, hub, l, &query, &entries, &more, e);
        total += entries;
        if (!rc && more && (entries == 0 || total > ENTRIES_MAX)) /* or pages might go on for ever */
            rc = err_set(e, ERR_LIMIT, "the hub's list of files: %s",
                         entries ? "too many entries" : "a page of none that links to a next");
    }
    buf_deinit(&query);
    return rc;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct hub_file *)a)->path, ((const struct hub_file *)b)->path);
}

int hub_list(struct http *h, const struct hub *hub, struct hub_listing *l, struct err *e)
{
    size_t siblings = 0;
    *l = (struct hub_listing){0};
    int rc = find_commit(h, hub, l, &siblings, e);
    if (!rc)
        rc = list_pages(h, hub, l, e);
    if (!rc && l->n < siblings) /* a mirror that forgets its pages must not make half a model look whole */
        rc = err_set(e, ERR_FORMAT, "the hub names %zu files and lists only %zu", siblings, l->n);
    if (rc)
        return rc;
    if (l->n)
        qsort(l->file, l->n, sizeof *l->file, by_path);
    for (size_t i = 1; i < l->n; i++)
        if (strcmp(l->file[i - 1].path, l->file[i].path) == 0)
            return err_set(e, ERR_FORMAT, "the hub lists \"%.120s\" twice", l->file[i].path);
    return 0;
}

void hub_listing_deinit(struct hub_listing *l)
{
    free(l->file);
    arena_deinit(&l->memory);
    *l = (struct hub_listing){0};
}

void hub_file_url(struct buf *b, const struct hub *hub, const char *commit, const char *path)
{
    buf_printf(b, "%s/%s/resolve/%s/", hub->endpoint, hub->name, commit);
    http_escape(b, path, "/");
}

/* A hub says of a file in LFS X-Linked-ETag, its SHA-256, before it redirects to where the bytes are; of
 * others ETag, their blob SHA-1. What the place behind the redirect says is its own affair. */
static bool hash_of(char hash[DIGEST_HEX], const struct http_response *r)
{
    const char *tag = http_header_first(r, "X-Linked-ETag");
    char bare[DIGEST_HEX] = "";
    if (!tag)
        tag = http_header(r, "ETag");
    if (!tag)
        return false;
    if (strncmp(tag, "W/", 2) == 0)
        tag += 2;
    tag += *tag == '"';
    size_t n = strcspn(tag, "\"");
    if (n < sizeof bare)
        memcpy(bare, tag, n);
    return copy_hash(hash, bare, 64) || copy_hash(hash, bare, 40);
}

int hub_describe(struct http *h, const struct hub *hub, const char *commit, struct hub_file *f, struct err *e)
{
    struct http_response r = {0};
    struct buf url = {0};
    hub_file_url(&url, hub, commit, f->path);
    struct http_request q = {.method = HTTP_HEAD, .url = url.data, .token = hub->token};
    int rc = buf_check(&url, "an address", e);
    if (!rc)
        rc = http_send(h, &q, &r, e);
    if (!rc && r.status != 200 && !http_header_first(&r, "X-Linked-ETag"))
        rc = hub_refusal(hub, &r, f->path, e);
    if (!rc && !hash_of(f->hash, &r))
        rc = err_set(e, ERR_FORMAT, "the hub tells no hash of \"%.120s\", so it cannot be checked", f->path);
    http_response_deinit(&r);
    buf_deinit(&url);
    return rc;
}
