/* A hub that misbehaves to order, for tests/cli/pull.sh and tests/test_net.c. It serves the models in ROOT:
 * of each, ROOT/NAME/manifest lists "path<TAB>size<TAB>lfs or git<TAB>hash", which the test computed with
 * sha256sum and sha1sum. The owner in OWNER/NAME says how it behaves (struct mode). A second port plays the
 * content network that files are redirected to. Every request is a line of LOG.
 *
 * hub_server ROOT LOG    prints "PORT PORT2" and serves until it is killed, ten minutes at most. */
#include <jansson.h>
#include <microhttpd.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMIT "00112233445566778899aabbccddeeff00112233"
#define TOKEN  "hf_secret"

static const struct mode {
    const char *owner;
    bool token, gated, cdn; /* wants the token; refuses even so; redirects LFS files to the second port */
    bool no_range, no_hash;
    bool bad_hash, bad_size, chunked, longer; /* lists a wrong one; sends no length; sends a byte too many */
    int cut;                                  /* so many answers of each file end half-way */
    int busy;                                 /* so many answers of each address are 429, Retry-After: 1 */
    bool down, slow, stall, loop, endless, patient, renamed;
    int many; /* entries made up */
    bool forgets;
} modes[] = {
    {.owner = "normal"},
    {.owner = "token", .token = true},
    {.owner = "gated", .gated = true},
    {.owner = "cdn", .token = true, .cdn = true},
    {.owner = "cdncut", .cdn = true, .cut = 1},
    {.owner = "norange", .no_range = true, .cut = 1},
    {.owner = "nohash", .no_hash = true, .cdn = true},
    {.owner = "cut", .cut = 2},
    {.owner = "stuck", .no_range = true, .cut = 1000000},
    {.owner = "badhash", .bad_hash = true},
    {.owner = "badsize", .bad_size = true},
    {.owner = "longer", .chunked = true, .longer = true},
    {.owner = "chunked", .chunked = true},
    {.owner = "busy", .busy = 1},
    {.owner = "patient", .patient = true}, /* 429, Retry-After: an hour */
    {.owner = "renamed", .renamed = true}, /* its owner is "token" now */
    {.owner = "down", .down = true},
    {.owner = "slow", .slow = true},
    {.owner = "stall", .stall = true},
    {.owner = "loop", .loop = true},       /* files redirect to themselves */
    {.owner = "endless", .endless = true}, /* empty pages that link on */
    {.owner = "many", .many = 10050},
    {.owner = "full", .many = 9990},
    {.owner = "forgets", .forgets = true}, /* no link to the next page */
    {.owner = "evil"},                     /* the name of the model says which name is listed */
};

enum { PAGE = 3, SEEN_MAX = 4096, FILES_MAX = 64 };

static const char *root;
static FILE *log_file;
static int port[2];
static struct {
    char url[300];
    int times;
} seen[SEEN_MAX];
static size_t n_seen;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* How often this address was asked for before. */
static int times_before(const char *url)
{
    size_t i = 0;
    pthread_mutex_lock(&mutex);
    while (i < n_seen && strcmp(seen[i].url, url) != 0)
        i++;
    if (i == n_seen && n_seen < SEEN_MAX)
        snprintf(seen[n_seen++].url, sizeof seen[0].url, "%s", url);
    int before = i < SEEN_MAX ? seen[i].times++ : 0;
    pthread_mutex_unlock(&mutex);
    return before;
}

/* ---- what a model holds ---- */

struct entry {
    char path[200], hash[80];
    unsigned long long size;
    bool lfs;
};

static size_t read_manifest(struct entry e[FILES_MAX], const char *name)
{
    char path[600], kind[8];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/%s/manifest", root, name);
    FILE *f = fopen(path, "r");
    while (f && n < FILES_MAX &&
           fscanf(f, "%199[^\t]\t%llu\t%7s\t%79s\n", e[n].path, &e[n].size, kind, e[n].hash) == 4) {
        e[n].lfs = strcmp(kind, "lfs") == 0;
        n++;
    }
    if (f)
        fclose(f);
    return n;
}

static json_t *entry_json(const struct mode *m, struct entry *e)
{
    json_t *v = json_pack("{s:s, s:s, s:I}", "type", "file", "path", e->path, "size",
                          (json_int_t)(e->size + (m->bad_size && e->lfs)));
    if (m->bad_hash && e->lfs)
        e->hash[0] = e->hash[0] == '0' ? '1' : '0';
    if (m->no_hash)
        return v;
    /* the oid of a file in LFS is that of its pointer */
    json_object_set_new(v, "oid", json_string(e->lfs ? "cccccccccccccccccccccccccccccccccccccccc" : e->hash));
    if (e->lfs)
        json_object_set_new(v, "lfs",
                            json_pack("{s:s, s:I, s:i}", "oid", e->hash, "size",
                                      (json_int_t)(e->size + m->bad_size), "pointerSize", 134));
    return v;
}

static json_t *made_up(int i)
{
    char path[60];
    snprintf(path, sizeof path, "deep/down/file-%05d.txt", i);
    return json_pack("{s:s, s:s, s:i, s:s}", "type", "file", "path", path, "size", 1, "oid",
                     "dddddddddddddddddddddddddddddddddddddddd");
}

/* The names that a hostile hub might list. As JSON, for one of them is not to be had otherwise. */
static char *evil_page(const char *name)
{
    static const char *const names[][2] = {
        {"dotdot", "../escape.safetensors"},     {"inner", "a/../../escape.safetensors"},
        {"absolute", "/tmp/escape.safetensors"}, {"backslash", "..\\\\escape.safetensors"},
        {"git", ".Git/hooks/post-checkout"},     {"nul", "model.safetensors\\u0000.txt"},
        {"control", "a\\u001b[2J.safetensors"},  {"lock", ".gyeol-pull.lock"},
        {"part", ".model.safetensors.part"},     {"empty", "a//b.safetensors"}};
    static const char form[] = "[{\"type\":\"file\",\"path\":\"%s\",\"size\":4,\"oid\":\"%s\"}]";
    static const char hash[] = "dddddddddddddddddddddddddddddddddddddddd";
    char long_name[1200], *page = malloc(2000);
    memset(long_name, 'x', sizeof long_name);
    snprintf(long_name + (strcmp(name, "part200") == 0 ? 201 : 1100), 20, ".safetensors");
    if (strcmp(name, "twice") == 0) {
        snprintf(page, 2000,
                 "[{\"type\":\"file\",\"path\":\"a\",\"size\":4,\"oid\":\"%s\"},"
                 "{\"type\":\"file\",\"path\":\"a\",\"size\":5,\"oid\":\"%s\"}]",
                 hash, hash);
        return page;
    }
    const char *path = long_name;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i][0]) == 0)
            path = names[i][1];
    snprintf(page, 2000, form, path, hash);
    return page;
}

/* ---- answers ---- */

struct call {
    struct MHD_Connection *c;
    const char *url;
    const struct mode *m;
    char owner[100], name[100];
    const char *rest; /* after the name */
};

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, char *owned, const char *header,
                              const char *value)
{
    if (!owned)
        owned = strdup("{\"error\": \"no\"}");
    struct MHD_Response *r = MHD_create_response_from_buffer(strlen(owned), owned, MHD_RESPMEM_MUST_FREE);
    if (header)
        MHD_add_response_header(r, header, value);
    enum MHD_Result ok = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result send_json(struct call *k, json_t *v, const char *link)
{
    char *text = json_dumps(v, JSON_COMPACT);
    json_decref(v);
    return answer(k->c, 200, text, link ? "Link" : NULL, link);
}

static enum MHD_Result serve_revision(struct call *k)
{
    struct entry e[FILES_MAX];
    const char *revision = k->rest + strlen("revision/");
    if (strcmp(revision, "main") != 0 && strcmp(revision, "refs/pr/1") != 0 && strcmp(revision, COMMIT) != 0)
        return answer(k->c, 404, NULL, "X-Error-Code", "RevisionNotFound");
    size_t n = read_manifest(e, k->name);
    json_t *siblings = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(siblings, json_pack("{s:s}", "rfilename", e[i].path));
    return send_json(k, json_pack("{s:s, s:s, s:o}", "id", k->name, "sha", COMMIT, "siblings", siblings),
                     NULL);
}

static enum MHD_Result serve_tree(struct call *k)
{
    struct entry e[FILES_MAX];
    const char *cursor = MHD_lookup_connection_value(k->c, MHD_GET_ARGUMENT_KIND, "cursor");
    size_t n = read_manifest(e, k->name), at = cursor ? strtoul(cursor, NULL, 10) : 0,
           page = k->m->many ? 1000 : PAGE;
    size_t total = n + (size_t)k->m->many, end = at + page < total ? at + page : total;
    char link[500];
    /* The link's host is the other port: a client that follows it there takes its token along. */
    snprintf(link, sizeof link,
             "<http://127.0.0.1:%d%s?recursive=true&limit=%zu>; rel=\"first\", "
             "<http://127.0.0.1:%d%s?recursive=true&cursor=%zu>; rel=\"next\"",
             port[1], k->url, page, port[1], k->url, end);
    if (strcmp(k->owner, "evil") == 0)
        return answer(k->c, 200, evil_page(k->name), NULL, NULL);
    if (k->m->endless)
        return answer(k->c, 200, strdup("[]"), "Link", link);
    json_t *list = json_array();
    if (at == 0) {
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:i, s:s}", "type", "directory", "path", "1_Pooling",
                                        "size", 0, "oid", "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"));
    }
    for (size_t i = at; i < end; i++)
        json_array_append_new(list, i < n ? entry_json(k->m, &e[i]) : made_up((int)(i - n)));
    return send_json(k, list, end < total && !k->m->forgets ? link : NULL);
}

struct body {
    int fd;
    const struct mode *m;
    uint64_t first, end; /* what of the file is sent; a cut is at `end` */
    bool cut;
};

static ssize_t read_body(void *context, uint64_t at, char *buf, size_t max)
{
    struct body *b = context;
    uint64_t from = b->first + at;
    if (b->m->stall && at > 0)
        sleep(30);
    if (b->m->slow) {
        usleep(100000);
        max = max < 65536 ? max : 65536;
    }
    if (from >= b->end && b->m->longer && from == b->end) {
        buf[0] = 'x';
        return 1;
    }
    if (from >= b->end)
        return b->cut ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
    if (max > b->end - from)
        max = (size_t)(b->end - from);
    ssize_t n = pread(b->fd, buf, max, (off_t)from);
    return n > 0 ? n : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void free_body(void *context)
{
    close(((struct body *)context)->fd);
    free(context);
}

static enum MHD_Result send_file(struct call *k, int fd, const char *etag)
{
    struct stat st;
    char text[200];
    unsigned long long first = 0;
    const char *range = MHD_lookup_connection_value(k->c, MHD_HEADER_KIND, "Range");
    const char *condition = MHD_lookup_connection_value(k->c, MHD_HEADER_KIND, "If-Range");
    if (fstat(fd, &st))
        return MHD_NO;
    uint64_t size = (uint64_t)st.st_size;
    bool partial = range && !k->m->no_range && (!condition || strcmp(condition, etag) == 0) &&
                   sscanf(range, "bytes=%llu-", &first) == 1;
    if (partial && first >= size) {
        close(fd);
        return answer(k->c, 416, NULL, NULL, NULL);
    }
    struct body *b = malloc(sizeof *b);
    *b = (struct body){.fd = fd, .m = k->m, .first = partial ? first : 0, .end = size};
    if (k->m->cut && size > 1000) {
        b->cut = times_before(k->url) < k->m->cut;
        b->end = b->cut ? b->first + (size - b->first) / 2 : size;
    }
    struct MHD_Response *r = MHD_create_response_from_callback(
        k->m->chunked ? MHD_SIZE_UNKNOWN : size - b->first, 65536, read_body, b, free_body);
    MHD_add_response_header(r, "ETag", etag);
    snprintf(text, sizeof text, "bytes %llu-%llu/%llu", first, (unsigned long long)size - 1,
             (unsigned long long)size);
    if (partial)
        MHD_add_response_header(r, "Content-Range", text);
    enum MHD_Result ok = MHD_queue_response(k->c, partial ? 206 : 200, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result redirect(struct call *k, const struct entry *e)
{
    char to[600], hash[100], size[30];
    struct MHD_Response *r = MHD_create_response_from_buffer(5, (char *)"moved", MHD_RESPMEM_PERSISTENT);
    snprintf(to, sizeof to, "http://127.0.0.1:%d/%s/%s/blob/%s?X-Amz-Signature=abc", port[1], k->owner,
             k->name, e->path);
    snprintf(hash, sizeof hash, "\"%s\"", e->hash);
    snprintf(size, sizeof size, "%llu", e->size);
    MHD_add_response_header(r, "Location", k->m->loop ? k->url : to);
    MHD_add_response_header(r, "X-Linked-ETag", hash);
    MHD_add_response_header(r, "X-Linked-Size", size);
    enum MHD_Result ok = MHD_queue_response(k->c, 302, r);
    MHD_destroy_response(r);
    return ok;
}

/* From the hub: resolve/COMMIT/PATH. From the network behind it: blob/PATH, under an ETag of its own. */
static enum MHD_Result serve_file(struct call *k, const char *path, bool behind)
{
    struct entry e[FILES_MAX];
    char name[800], etag[100];
    size_t n = read_manifest(e, k->name), i = 0;
    while (i < n && strcmp(e[i].path, path) != 0)
        i++;
    if (i == n)
        return answer(k->c, 404, NULL, "X-Error-Code", "EntryNotFound");
    if (!behind && ((k->m->cdn && e[i].lfs) || k->m->loop))
        return redirect(k, &e[i]);
    if (behind && MHD_lookup_connection_value(k->c, MHD_HEADER_KIND, "Authorization"))
        return answer(k->c, 400, NULL, NULL, NULL);
    snprintf(name, sizeof name, "%s/%s/%s", root, k->name, path);
    snprintf(etag, sizeof etag, behind ? "\"%.20s-behind\"" : "\"%s\"", e[i].hash);
    int fd = open(name, O_RDONLY);
    return fd < 0 ? answer(k->c, 500, NULL, NULL, NULL) : send_file(k, fd, etag);
}

/* As the hub does for models that moved: to an address without a host. */
static enum MHD_Result move_on(struct call *k)
{
    char to[600];
    const char *at = strstr(k->url, "renamed");
    snprintf(to, sizeof to, "%.*stoken%s", (int)(at - k->url), k->url, at + strlen("renamed"));
    return answer(k->c, 307, NULL, "Location", to);
}

static enum MHD_Result refuse(struct call *k)
{
    const char *auth = MHD_lookup_connection_value(k->c, MHD_HEADER_KIND, "Authorization");
    struct stat st;
    char path[600];
    snprintf(path, sizeof path, "%s/%s", root, k->name);
    if (k->m->renamed)
        return move_on(k);
    if (k->m->gated)
        return answer(k->c, 403, NULL, "X-Error-Code", "GatedRepo");
    if (k->m->token && (!auth || strcmp(auth, "Bearer " TOKEN) != 0))
        return answer(k->c, 401, NULL, NULL, NULL);
    if (strcmp(k->owner, "evil") != 0 && stat(path, &st))
        return answer(k->c, 401, NULL, "X-Error-Code", "RepoNotFound");
    if (k->m->down)
        return answer(k->c, 500, NULL, "X-Error-Message", "the database is away");
    if (k->m->patient)
        return answer(k->c, 429, NULL, "Retry-After", "3600");
    if (k->m->busy && times_before(k->url) < k->m->busy)
        return answer(k->c, 429, NULL, "Retry-After", "1");
    return MHD_NO; /* not refused */
}

static bool split(struct call *k)
{
    int n = 0;
    const char *url = strncmp(k->url, "/api/models/", 12) == 0 ? k->url + 12 : k->url + 1;
    if (sscanf(url, "%99[^/]/%99[^/]/%n", k->owner, k->name, &n) != 2 || n == 0)
        return false;
    k->rest = url + n;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(k->owner, modes[i].owner) == 0)
            k->m = &modes[i];
    return k->m != NULL;
}

static enum MHD_Result serve(void *context, struct MHD_Connection *c, const char *url, const char *method,
                             const char *version, const char *upload, size_t *upload_size, void **state)
{
    (void)version, (void)upload, (void)upload_size, (void)state;
    bool behind = context != NULL;
    struct call k = {.c = c, .url = url};
    const char *range = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Range");
    const char *condition = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "If-Range");
    bool auth = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization") != NULL;
    pthread_mutex_lock(&mutex);
    fprintf(log_file, "%s %s %s range=%s if-range=%s token=%s\n", behind ? "cdn" : "hub", method, url,
            range ? range : "none", condition ? condition : "none", auth ? "yes" : "no");
    fflush(log_file);
    pthread_mutex_unlock(&mutex);
    if (!split(&k))
        return answer(c, 404, NULL, NULL, NULL);
    if (behind)
        return strncmp(k.rest, "blob/", 5) == 0 ? serve_file(&k, k.rest + 5, true)
                                                : answer(c, 400, NULL, NULL, NULL);
    if (refuse(&k) == MHD_YES)
        return MHD_YES;
    if (strncmp(k.rest, "revision/", 9) == 0)
        return serve_revision(&k);
    if (strncmp(k.rest, "tree/" COMMIT, 5 + 40) == 0)
        return serve_tree(&k);
    if (strncmp(k.rest, "resolve/" COMMIT "/", 9 + 40) == 0)
        return serve_file(&k, k.rest + 9 + 40, false);
    return answer(c, 404, NULL, NULL, NULL);
}

static struct MHD_Daemon *start(int *number, void *behind)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_Daemon *d =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION, 0, NULL, NULL,
                         serve, behind, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&at, MHD_OPTION_END);
    const union MHD_DaemonInfo *info = d ? MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT) : NULL;
    *number = info ? info->port : 0;
    return d;
}

int main(int argc, char **argv)
{
    if (argc != 3 || !(log_file = fopen(argv[2], "w")))
        return 2;
    root = argv[1];
    if (!start(&port[0], NULL) || !start(&port[1], &port))
        return 1;
    printf("%d %d\n", port[0], port[1]);
    fclose(stdout);
    alarm(600);
    for (;;)
        pause();
}
