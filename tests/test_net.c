/* net/: what a hub says, read without a network, and the client against tests/hub_server.c. What the server
 * is asked to do wrong is in its modes; gyeol model pull as a whole is tests/cli/pull.sh. */
#include "base/size.h"
#include "base/when.h"
#include "net/choose.h"
#include "net/pull.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testing.h"

#define SHA1   "0123456789abcdef0123456789abcdef01234567"
#define SHA256 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* ---- names ---- */

static void test_hub_names(void **state)
{
    (void)state;
    static const char *const good[] = {"openai-community/gpt2", "gpt2", "a/b", "A.b/c_d-e.f", "01-ai/Yi"};
    static const char *const bad[] = {"",      "/",    "a/",   "/b",   "a/b/c", "../b",  "a/..", "a/.git",
                                      "a b/c", "a%/b", "a/b?", "-a/b", "a\n/b", "a/b#c", "가/b"};
    struct hub hub;
    for (size_t i = 0; i < COUNT_OF(good); i++)
        ok(hub_init(&hub, HUB_ENDPOINT, good[i], NULL, NULL, &error));
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(hub_init(&hub, HUB_ENDPOINT, bad[i], NULL, NULL, &error), ERR_USAGE);
    assert_int_equal(hub_init(&hub, HUB_ENDPOINT, "a/b", "", NULL, &error), ERR_USAGE);
    ok(hub_init(&hub, "https://mirror.example:8443/hf//", "a/b", NULL, "", &error));
    assert_string_equal(hub.endpoint, "https://mirror.example:8443/hf");
    assert_string_equal(hub.revision, "main");
    assert_null(hub.token);
}

static void test_hub_endpoints(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "huggingface.co",
                                      "file:///etc",
                                      "https://",
                                      "http:///",
                                      "https://a?b",
                                      "https://a#b",
                                      "https://a b",
                                      "https://u:p@a",
                                      "https://a\n"};
    struct hub hub;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(hub_init(&hub, bad[i], "a/b", NULL, NULL, &error), ERR_USAGE);
    assert_null(strstr(error.msg, "u:p"));
}

static void test_a_token_crosses_no_network_in_clear_text(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint;
        bool sent;
    } known[] = {{"https://a", true},          {"http://127.0.0.1:80", true}, {"http://localhost/x", true},
                 {"http://[::1]:9", true},     {"http://a", false},           {"HTTP://localhost.a", false},
                 {"http://localhosts", false}, {"http://10.0.0.1", false}};
    struct hub hub;
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        ok(hub_init(&hub, known[i].endpoint, "a/b", NULL, "t", &error));
        assert_int_equal(hub.token != NULL, known[i].sent);
    }
}

static void test_paths(void **state)
{
    (void)state;
    static const char *const good[] = {"a",   "a/b/c",    ".gitattributes", "a..b",
                                       "...", "가/나 다", ".a/b",           "a.part"};
    static const char *const bad[] = {"",
                                      "/a",
                                      "a/",
                                      "a//b",
                                      ".",
                                      "..",
                                      "../a",
                                      "a/..",
                                      "a/./b",
                                      "a/../../b",
                                      ".git",
                                      "a/.GIT/x",
                                      "a\\b",
                                      "a\nb",
                                      "\177",
                                      "a\302\233m",
                                      ".x.part",
                                      "a/.x.part.id",
                                      ".gyeol-pull.lock"};
    char path[HUB_PATH_MAX + 2];
    for (size_t i = 0; i < COUNT_OF(good); i++)
        ok(hub_path_check(good[i], &error));
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(hub_path_check(bad[i], &error), ERR_FORMAT);
    memset(path, 'a', sizeof path);
    path[HUB_PART_MAX] = 0;
    ok(hub_path_check(path, &error));
    path[HUB_PART_MAX] = 'a';
    path[HUB_PART_MAX + 1] = 0;
    assert_int_equal(hub_path_check(path, &error), ERR_FORMAT);
    for (size_t i = 0; i < sizeof path; i++)
        path[i] = i % 2 ? '/' : 'a';
    path[HUB_PATH_MAX + 1] = 0;
    assert_int_equal(hub_path_check(path, &error), ERR_FORMAT);
    path[HUB_PATH_MAX - 1] = 0;
    ok(hub_path_check(path, &error));
}

static void test_patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path;
        bool match;
    } known[] = {{"*.gguf", "a.gguf", true},
                 {"*.gguf", "q/4/a.gguf", true},
                 {"*.gguf", "a.gguf.txt", false},
                 {"q/*", "q/a", true},
                 {"q/*", "q/4/a", false},
                 {"q/*", "p/q/a", false},
                 {"*", ".gitattributes", true},
                 {"*/*", "a/b", true},
                 {"*/*", "a", false},
                 {"a?c", "abc", true},
                 {"model-0000[1-3]*", "model-00002-of", true},
                 {"LICENSE*", "LICENSE.txt", true},
                 {"license*", "LICENSE.txt", false},
                 {"config.json", "1/config.json", true}};
    for (size_t i = 0; i < COUNT_OF(known); i++)
        assert_int_equal(hub_match(known[i].pattern, known[i].path), known[i].match);
}

static void test_addresses_are_escaped(void **state)
{
    (void)state;
    struct buf b = {0};
    struct hub hub;
    ok(hub_init(&hub, HUB_ENDPOINT, "a/b", NULL, NULL, &error));
    hub_file_url(&b, &hub, SHA1, "d/x y?#%&+é~.txt");
    assert_string_equal(b.data, HUB_ENDPOINT "/a/b/resolve/" SHA1 "/d/x%20y%3F%23%25%26%2B%C3%A9~.txt");
    buf_reset(&b);
    http_escape(&b, "refs/pr/1", "");
    assert_string_equal(b.data, "refs%2Fpr%2F1");
    buf_deinit(&b);
}

/* ---- answers ---- */

static int parse_tree(struct hub_listing *l, const char *json)
{
    size_t entries;
    *l = (struct hub_listing){0};
    return hub_parse_tree(l, &entries, json, strlen(json), &error);
}

static void test_tree(void **state)
{
    (void)state;
    struct hub_listing l;
    ok(parse_tree(&l,
                  "[{\"type\":\"directory\",\"path\":\"d\",\"oid\":\"" SHA1 "\",\"size\":0},"
                  "{\"type\":\"file\",\"path\":\"d/a\",\"oid\":\"" SHA1 "\",\"size\":7,\"new\":{}},"
                  "{\"type\":\"file\",\"path\":\"b\",\"oid\":\"" SHA1 "\",\"size\":9,"
                  "\"lfs\":{\"oid\":\"sha256:" SHA256 "\",\"size\":9,\"pointerSize\":134},\"xetHash\":\"x\"},"
                  "{\"type\":\"file\",\"path\":\"c\",\"size\":1}]"));
    assert_int_equal(l.n, 3);
    assert_string_equal(l.file[0].path, "d/a");
    assert_string_equal(l.file[0].hash, SHA1);
    assert_int_equal(l.file[0].size, 7);
    assert_string_equal(l.file[1].hash, SHA256);
    assert_string_equal(l.file[2].hash, "");
    hub_listing_deinit(&l);
}

static void test_trees_that_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{}",
        "[1]",
        "[",
        "[{\"type\":\"file\",\"size\":1}]",
        "[{\"type\":\"file\",\"path\":\"a\"}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":-1}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":1.5}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":9223372036854775807}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":1,\"oid\":\"abc\"}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":1,\"oid\":\"" SHA256 "\"}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"size\":1,\"lfs\":{\"oid\":\"" SHA1 "\",\"size\":1}}]",
        "[{\"type\":\"directory\",\"path\":\"..\",\"size\":0}]",
        "[{\"type\":\"file\",\"path\":\"a\\u0000b\",\"size\":1}]",
        "[{\"type\":\"file\",\"path\":\"a\",\"path\":\"b\",\"size\":1}]"};
    struct hub_listing l;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(parse_tree(&l, bad[i]), ERR_FORMAT);
        assert_int_equal(l.n, 0);
        hub_listing_deinit(&l);
    }
}

static void test_commit(void **state)
{
    (void)state;
    char commit[DIGEST_HEX];
    size_t n;
    static const char good[] =
        "{\"sha\":\"" SHA1 "\",\"siblings\":[{\"rfilename\":\"a\"},{\"rfilename\":\"b\"}]}";
    static const char *const bad[] = {
        "", "[]", "{}", "{\"sha\":7}", "{\"sha\":\"../../x\"}", "{\"sha\":\"main\"}"};
    ok(hub_parse_commit(commit, &n, good, strlen(good), &error));
    assert_string_equal(commit, SHA1);
    assert_int_equal(n, 2);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(hub_parse_commit(commit, &n, bad[i], strlen(bad[i]), &error), ERR_FORMAT);
}

static void test_links(void **state)
{
    (void)state;
    static const struct {
        const char *link, *query;
    } known[] = {{"<https://h/api?cursor=A%3D&limit=5>; rel=\"next\"", "cursor=A%3D&limit=5"},
                 {"<https://h/?a>; rel=\"prev\", <https://h/?b>; rel=next", "b"},
                 {"<https://h/?a>; title=\"x\"; REL=\"next\"", "a"},
                 {"<https://h/?a>; rel=\"prev\"", NULL},
                 {"<https://h/>; rel=\"next\"", NULL},
                 {"<https://h/?a", NULL},
                 {"", NULL},
                 {NULL, NULL}};
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        struct buf b = {0};
        assert_int_equal(hub_next_query(&b, known[i].link), known[i].query != NULL);
        if (known[i].query)
            assert_string_equal(b.data, known[i].query);
        buf_deinit(&b);
    }
}

/* ---- choosing ---- */

/* "a b c": the chosen ones of a repository that holds these files, or the error's code. */
static int chosen(char out[500], const char *files, const char *const *pattern, size_t n)
{
    struct hub_file file[30] = {0};
    struct hub_listing l = {.file = file};
    char copy[500], *save, *p;
    size_t at = 0;
    snprintf(copy, sizeof copy, "%s", files);
    for (p = strtok_r(copy, " ", &save); p; p = strtok_r(NULL, " ", &save))
        file[l.n++].path = p;
    int rc = choose_files(&l, "a/b", pattern, n, &error);
    out[0] = 0;
    for (size_t i = 0; i < l.n && !rc; i++)
        if (file[i].chosen)
            at += (size_t)snprintf(out + at, 500 - at, "%s%s", at ? " " : "", file[i].path);
    return rc;
}

static void test_choosing(void **state)
{
    (void)state;
    char out[500];
    static const char *const two[] = {"*.bin", "sub/*"};
    ok(chosen(out,
              "config.json model.safetensors model.safetensors.index.json pytorch_model.bin "
              "onnx/model.safetensors x.gguf",
              NULL, 0));
    assert_string_equal(out, "config.json model.safetensors model.safetensors.index.json");
    ok(chosen(out, "consolidated.safetensors model-1.safetensors", NULL, 0));
    assert_string_equal(out, "model-1.safetensors");
    ok(chosen(out, "consolidated.safetensors params.json", NULL, 0));
    assert_string_equal(out, "consolidated.safetensors");
    ok(chosen(out, "README.md LICENSE LICENSE.md sub/x.gguf", NULL, 0));
    assert_string_equal(out, "README.md LICENSE LICENSE.md sub/x.gguf");
    ok(chosen(out, "a.bin sub/b sub/c/d sub/e.bin", two, 2));
    assert_string_equal(out, "a.bin sub/b sub/e.bin");
    assert_int_equal(chosen(out, "a.bin c", two, 2), ERR_MISSING);
    assert_int_equal(chosen(out, "a.gguf b.gguf", NULL, 0), ERR_STATE);
    assert_int_equal(chosen(out, "config.json adapter_model.bin training_args.bin", NULL, 0), ERR_STATE);
    assert_int_equal(chosen(out, "config.json training_args.bin", NULL, 0), ERR_MISSING);
    assert_int_equal(chosen(out, "", NULL, 0), ERR_MISSING);
    assert_int_equal(chosen(out, "..\\x.safetensors", NULL, 0), ERR_FORMAT);
    ok(chosen(out, "..\\x.txt model.safetensors", NULL, 0)); /* unfit, but nobody asked for it */
}

/* ---- the client ---- */

enum { BIG = 300000 };

static char dir[100], endpoint[100];
static unsigned char content[BIG];
static pid_t server;

static void make_model(void)
{
    char path[200], command[300];
    struct rng r = {42};
    for (size_t i = 0; i < BIG; i++)
        content[i] = (unsigned char)rng_next(&r);
    snprintf(path, sizeof path, "%s/m", dir);
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(path, sizeof path, "%s/m/manifest", dir);
    FILE *f = fopen(path, "w");
    fprintf(f, "big\t%d\tlfs\t" SHA256 "\nsmall\t10\tgit\t" SHA1 "\n", BIG);
    fclose(f);
    snprintf(command, sizeof command, "%s/m/big", dir);
    f = fopen(command, "wb");
    assert_int_equal(fwrite(content, 1, BIG, f), BIG);
    fclose(f);
    snprintf(command, sizeof command, "%s/m/small", dir);
    f = fopen(command, "wb");
    fputs("ten bytes.", f);
    fclose(f);
}

static int start_server(void **state)
{
    (void)state;
    const char *build = getenv("BUILD");
    char program[200], log[200], line[100] = "";
    int out[2], port;
    unsetenv("http_proxy");
    setenv("no_proxy", "*", 1);
    snprintf(dir, sizeof dir, "/tmp/gyeol-net-XXXXXX");
    if (!mkdtemp(dir) || pipe(out))
        return -1;
    make_model();
    snprintf(program, sizeof program, "%s/hub_server", build ? build : "build");
    snprintf(log, sizeof log, "%s/log", dir);
    server = fork();
    if (server == 0) {
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        close(out[1]);
        execl(program, program, dir, log, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    ssize_t n = read(out[0], line, sizeof line - 1);
    close(out[0]);
    if (n <= 0 || sscanf(line, "%d", &port) != 1)
        return -1;
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d", port);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    static const char *const files[] = {"m/manifest", "m/big", "m/small", "m", "log", ""};
    char path[200];
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        remove(path);
    }
    return 0;
}

static const char *address(char url[300], const char *owner, const char *file)
{
    snprintf(url, 300, "%s/%s/m/resolve/00112233445566778899aabbccddeeff00112233/%s", endpoint, owner, file);
    return url;
}

static void test_get_and_head(void **state)
{
    (void)state;
    char url[300];
    struct http *h;
    struct http_response r;
    ok(http_open(&h, &error));
    struct http_request q = {.url = address(url, "normal", "small")};
    ok(http_send(h, &q, &r, &error));
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body.data, "ten bytes.");
    assert_string_equal(http_header(&r, "etag"), "\"" SHA1 "\"");
    assert_null(http_header(&r, "no-such-header"));
    http_response_deinit(&r);
    q.method = HTTP_HEAD;
    ok(http_send(h, &q, &r, &error));
    assert_int_equal(r.body.len, 0);
    assert_string_equal(http_header(&r, "Content-Length"), "10");
    http_response_deinit(&r);
    q.url = address(url, "normal", "none");
    ok(http_send(h, &q, &r, &error));
    assert_int_equal(r.status, 404);
    assert_int_equal(r.attempts, 1);
    http_response_deinit(&r);
    q.url = address(url, "cdn", "big");
    q.token = "hf_secret";
    ok(http_send(h, &q, &r, &error));
    assert_string_equal(http_header_first(&r, "X-Linked-ETag"), "\"" SHA256 "\"");
    assert_null(http_header(&r, "X-Linked-ETag")); /* of the hop before */
    http_response_deinit(&r);
    http_close(h);
}

static void test_bounds(void **state)
{
    (void)state;
    char url[300];
    struct http *h;
    struct http_response r;
    ok(http_open(&h, &error));
    struct http_request q = {.url = address(url, "normal", "big"), .body_max = BIG - 1};
    assert_int_equal(http_send(h, &q, &r, &error), ERR_LIMIT);
    http_response_deinit(&r);
    q.body_max = BIG;
    ok(http_send(h, &q, &r, &error));
    assert_int_equal(r.body.len, BIG);
    assert_memory_equal(r.body.data, content, BIG);
    http_response_deinit(&r);
    static const char *const split[] = {"A: b\r\nC: d", NULL};
    q = (struct http_request){.url = address(url, "normal", "small"), .headers = split};
    assert_int_equal(http_send(h, &q, &r, &error), ERR_USAGE);
    q = (struct http_request){.url = "http://127.0.0.1/ x"};
    assert_int_equal(http_send(h, &q, &r, &error), ERR_USAGE);
    q.url = "file:///etc/passwd";
    assert_int_equal(http_send(h, &q, &r, &error), ERR_IO);
    assert_int_equal(r.attempts, 1);
    http_response_deinit(&r);
    http_close(h);
}

static void test_time_runs_out(void **state)
{
    (void)state;
    char url[300];
    struct http *h;
    struct http_response r;
    ok(http_open(&h, &error));
    struct http_request q = {.url = address(url, "stall", "big"), .stall_s = 1, .attempts = 1};
    uint64_t start = when_monotonic_ns();
    assert_int_equal(http_send(h, &q, &r, &error), ERR_IO);
    http_response_deinit(&r);
    q = (struct http_request){.url = url, .total_s = 1, .attempts = 2, .backoff_ms = 1};
    assert_int_equal(http_send(h, &q, &r, &error), ERR_IO);
    assert_int_equal(r.attempts, 2);
    assert_non_null(strstr(error.msg, "after 2 attempts"));
    /* libcurl takes the speed over the last five seconds, so a stall is seen five seconds late */
    assert_in_range((when_monotonic_ns() - start) / 1000000, 3000, 25000);
    http_response_deinit(&r);
    http_close(h);
}

struct seen {
    int begun;
    uint64_t begins_at, grown_to;
};

static int seen_begin(void *context, const struct http_file *f, struct err *e)
{
    struct seen *s = context;
    (void)e;
    s->begun++;
    s->begins_at = f->have;
    return 0;
}

static void seen_grow(void *context, uint64_t have)
{
    ((struct seen *)context)->grown_to = have;
}

/* Whatever a file holds of it already, and whether the server heeds Range or not, it ends as the whole. */
static void test_files_are_joined(void **state)
{
    (void)state;
    static const char *const owner[] = {"normal", "norange", "chunked", "cdncut"};
    struct rng rng = seeded();
    char url[300], name[200];
    unsigned char *got = malloc(BIG);
    struct http *h;
    ok(http_open(&h, &error));
    for (int i = 0; i < 24; i++) {
        struct http_response r;
        struct seen seen = {0};
        uint64_t have = rng_below(&rng, BIG);
        snprintf(name, sizeof name, "%s/part", dir);
        int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
        assert_int_equal(pwrite(fd, content, have, 0), have);
        struct http_file f = {fd, have, BIG, "", seen_begin, seen_grow, &seen};
        struct http_request q = {.url = address(url, owner[i % 4], "big"), .file = &f, .backoff_ms = 1};
        ok(http_send(h, &q, &r, &error));
        assert_int_equal(f.have, BIG);
        assert_int_equal(seen.grown_to, BIG);
        assert_in_range(seen.begun, 1, 2);
        assert_int_equal(lseek(fd, 0, SEEK_END), BIG);
        assert_int_equal(pread(fd, got, BIG, 0), BIG);
        assert_memory_equal(got, content, BIG);
        assert_true(f.etag[0] == '"');
        if (i % 4 == 0)
            assert_int_equal(seen.begins_at, have);
        http_response_deinit(&r);
        close(fd);
        unlink(name);
    }
    free(got);
    http_close(h);
}

static void *fetch_often(void *context)
{
    char url[300];
    struct http *h;
    struct http_response r;
    bool good = http_open(&h, NULL) == 0;
    struct http_request q = {.url = address(url, "normal", "big")};
    for (int i = 0; good && i < 10; i++) {
        good = http_send(h, &q, &r, NULL) == 0 && r.body.len == BIG && memcmp(r.body.data, content, BIG) == 0;
        http_response_deinit(&r);
    }
    http_close(h);
    return good ? context : NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t thread[4];
    void *good;
    for (size_t i = 0; i < COUNT_OF(thread); i++)
        assert_int_equal(pthread_create(&thread[i], NULL, fetch_often, endpoint), 0);
    for (size_t i = 0; i < COUNT_OF(thread); i++) {
        pthread_join(thread[i], &good);
        assert_non_null(good);
    }
}

#define T(f) cmocka_unit_test(f)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_hub_names),
        T(test_hub_endpoints),
        T(test_a_token_crosses_no_network_in_clear_text),
        T(test_paths),
        T(test_patterns),
        T(test_addresses_are_escaped),
        T(test_tree),
        T(test_trees_that_are_refused),
        T(test_commit),
        T(test_links),
        T(test_choosing),
        T(test_get_and_head),
        T(test_bounds),
        T(test_time_runs_out),
        T(test_files_are_joined),
        T(test_threads),
    };
    return cmocka_run_group_tests_name("net", tests, start_server, stop_server);
}
