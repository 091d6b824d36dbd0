#include "net/http.h"

#include "base/log.h"
#include "base/rng.h"
#include "base/size.h"
#include "base/stop.h"
#include "base/when.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
    ATTEMPTS = 5,
    CONNECT_S = 30,
    STALL_S = 60,
    TOTAL_S = 120,
    REDIRECTS = 10,
    BACKOFF_MS = 500,
    BACKOFF_MOST_MS = 30000,
    RETRY_AFTER_MOST_S = 120,
    BODY_MAX = 1 << 20,
    ERROR_BODY_MAX = 64 << 10,
    HEADERS_MAX = 256 << 10,
    BUFFER = 256 << 10,
    FORWARD = 1 << 20, /* bytes that make an attempt worth not counting */
};

struct http {
    CURL *easy;
    struct rng rng; /* jitter */
    char detail[CURL_ERROR_SIZE];
};

/* One attempt, as the callbacks see it. */
struct attempt {
    struct http *h;
    const struct http_request *q;
    struct http_response *r;
    struct err *e;
    bool begun; /* bytes of the body are for the file */
    int rc;     /* what a callback found wrong; e says what */
};

/* Addresses that were signed hold secrets in their query, so none is shown. */
static int fail(struct attempt *a, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int fail(struct attempt *a, int code, const char *fmt, ...)
{
    char what[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return a->rc = err_set(a->e, code, "%.*s: %s", (int)strcspn(a->q->url, "?"), a->q->url, what);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode initialised;

static void initialise(void)
{
    initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
}

int http_open(struct http **out, struct err *e)
{
    pthread_once(&once, initialise);
    if (initialised != CURLE_OK)
        return err_set(e, ERR_STATE, "libcurl: %s", curl_easy_strerror(initialised));
    struct http *h = calloc(1, sizeof *h);
    if (!h || !(h->easy = curl_easy_init())) {
        free(h);
        return err_set(e, ERR_MEMORY, "out of memory");
    }
    h->rng.state = when_monotonic_ns() ^ ((uint64_t)getpid() << 32) ^ (uintptr_t)h;
    *out = h;
    return 0;
}

void http_close(struct http *h)
{
    if (h)
        curl_easy_cleanup(h->easy);
    free(h);
}

void http_response_deinit(struct http_response *r)
{
    buf_deinit(&r->body);
    buf_deinit(&r->headers);
}

/* ---- headers ---- */

static const char *header_from(const struct http_response *r, size_t at, const char *name)
{
    const char *p = r->headers.data;
    while (at < r->headers.len) {
        const char *value = p + at + strlen(p + at) + 1;
        if (strcasecmp(p + at, name) == 0)
            return value;
        at = (size_t)(value - p) + strlen(value) + 1;
    }
    return NULL;
}

const char *http_header(const struct http_response *r, const char *name)
{
    return header_from(r, r->last, name);
}

const char *http_header_first(const struct http_response *r, const char *name)
{
    return header_from(r, 0, name);
}

static size_t on_header(char *line, size_t size, size_t n, void *context)
{
    struct attempt *a = context;
    struct buf *b = &a->r->headers;
    const char *colon = memchr(line, ':', n);
    size_t end = n;
    if (n >= 5 && memcmp(line, "HTTP/", 5) == 0)
        a->r->last = b->len;
    if (colon && memchr(line, 0, n) == NULL && (n < 5 || memcmp(line, "HTTP/", 5) != 0)) {
        size_t name = (size_t)(colon - line), value = name + 1;
        while (value < end && isspace((unsigned char)line[value]))
            value++;
        while (end > value && isspace((unsigned char)line[end - 1]))
            end--;
        buf_add(b, line, name);
        buf_add(b, "", 1);
        buf_add(b, line + value, end - value);
        buf_add(b, "", 1);
    }
    if (!b->failed)
        return n * size;
    fail(a, ERR_LIMIT, "headers of more than %d bytes", HEADERS_MAX);
    return 0;
}

/* ---- bodies ---- */

/* "bytes 100-199/200": its first byte; *total stays when it is "*". */
static bool content_range(const char *text, uint64_t *first, uint64_t *total)
{
    unsigned long long a, b, t;
    if (!text)
        return false;
    int n = sscanf(text, "bytes %llu-%llu/%llu", &a, &b, &t);
    if (n < 2 || b < a)
        return false;
    *first = a;
    if (n == 3)
        *total = t;
    return true;
}

/* A weak validator ("W/...") may stand for other bytes, so it cannot join two parts (RFC 9110, 13.1.5). */
static void note_etag(struct http_file *f, const char *etag)
{
    size_t n = etag ? strlen(etag) : 0;
    f->etag[0] = 0;
    if (n >= 2 && n <= HTTP_ETAG_MAX && etag[0] == '"' && etag[n - 1] == '"')
        memcpy(f->etag, etag, n + 1);
}

static int wrong_size(struct attempt *a, uint64_t got)
{
    return fail(a, ERR_FORMAT, "the server sends %llu bytes, want %llu", (unsigned long long)got,
                (unsigned long long)a->q->file->size);
}

/* The answer is 200 or 206: what is to come must go on where the file ends, or begin it anew. */
static int begin_file(struct attempt *a)
{
    struct http_file *f = a->q->file;
    uint64_t first = 0, total = f->size;
    curl_off_t length = -1;
    curl_easy_getinfo(a->h->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (a->r->status == 206 && !content_range(http_header(a->r, "Content-Range"), &first, &total))
        return fail(a, ERR_FORMAT, "part of a file without a Content-Range");
    if (a->r->status == 200 && length >= 0)
        total = (uint64_t)length;
    if (total != f->size)
        return wrong_size(a, total);
    if (a->r->status == 206 && first != f->have)
        return fail(a, ERR_FORMAT, "the part from byte %llu, want from %llu", (unsigned long long)first,
                    (unsigned long long)f->have);
    f->have = first;
    if (ftruncate(f->fd, (off_t)f->have))
        return fail(a, ERR_IO, "cutting the file to %llu bytes: %s", (unsigned long long)f->have,
                    strerror(errno));
    note_etag(f, http_header(a->r, "ETag"));
    if (f->begins && f->begins(f->context, f, a->e))
        return a->rc = a->e->code;
    a->begun = true;
    return 0;
}

static int write_file(struct attempt *a, const char *p, size_t n)
{
    struct http_file *f = a->q->file;
    if (!a->begun && begin_file(a))
        return a->rc;
    if (n > f->size - f->have)
        return wrong_size(a, f->have + n);
    while (n > 0) {
        ssize_t w = pwrite(f->fd, p, n, (off_t)f->have);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return fail(a, ERR_IO, "writing at byte %llu: %s", (unsigned long long)f->have, strerror(errno));
        f->have += (uint64_t)w;
        p += w;
        n -= (size_t)w;
    }
    if (f->grows)
        f->grows(f->context, f->have);
    return 0;
}

static int keep_body(struct attempt *a, const char *p, size_t n)
{
    struct buf *b = &a->r->body;
    bool good = a->r->status / 100 == 2;
    if (!good && n > b->limit - b->len)
        n = b->limit - b->len;
    buf_add(b, p, n);
    if (!b->failed)
        return 0;
    return fail(a, ERR_LIMIT, "an answer of more than %zu bytes", b->limit);
}

static bool for_file(const struct attempt *a)
{
    return a->q->file && (a->r->status == 200 || a->r->status == 206);
}

static void note_status(struct attempt *a)
{
    long status = 0;
    curl_easy_getinfo(a->h->easy, CURLINFO_RESPONSE_CODE, &status);
    a->r->status = (int)status;
    size_t most = a->q->body_max ? a->q->body_max : BODY_MAX;
    a->r->body.limit = status / 100 == 2 ? most : ERROR_BODY_MAX;
}

static size_t on_body(char *p, size_t size, size_t n, void *context)
{
    struct attempt *a = context;
    note_status(a);
    int rc = for_file(a) ? write_file(a, p, n * size) : keep_body(a, p, n * size);
    return rc ? CURL_WRITEFUNC_ERROR : n * size;
}

static int on_progress(void *context, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal,
                       curl_off_t ulnow)
{
    (void)context, (void)dltotal, (void)dlnow, (void)ultotal, (void)ulnow;
    return stop_requested();
}

/* ---- one attempt ---- */

static long given(int value, int otherwise)
{
    return value ? value : otherwise;
}

static void add_line(struct curl_slist **list, bool *failed, const char *line)
{
    struct curl_slist *more = line ? curl_slist_append(*list, line) : NULL;
    if (more)
        *list = more;
    else
        *failed = true;
}

/* libcurl keeps an Authorization header from other hosts, ports and schemes as long as
 * CURLOPT_UNRESTRICTED_AUTH stays off, which is its default. */
static struct curl_slist *header_lines(const struct http_request *q)
{
    struct curl_slist *list = NULL;
    struct buf line = {0};
    bool failed = false;
    for (size_t i = 0; q->headers && q->headers[i]; i++)
        add_line(&list, &failed, q->headers[i]);
    add_line(&list, &failed, "Accept-Encoding: identity"); /* sizes and ranges are those of the file itself */
    if (q->token) {
        buf_printf(&line, "Authorization: Bearer %s", q->token);
        add_line(&list, &failed, line.failed ? NULL : line.data);
    }
    if (q->file && q->file->have) {
        buf_reset(&line);
        buf_printf(&line, "Range: bytes=%llu-", (unsigned long long)q->file->have);
        add_line(&list, &failed, line.failed ? NULL : line.data);
    }
    if (q->file && q->file->have && *q->file->etag) {
        buf_reset(&line);
        buf_printf(&line, "If-Range: %s", q->file->etag);
        add_line(&list, &failed, line.failed ? NULL : line.data);
    }
    buf_deinit(&line);
    if (!failed)
        return list;
    curl_slist_free_all(list);
    return NULL;
}

static void set_callbacks(struct attempt *a)
{
    CURL *c = a->h->easy;
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, a->h->detail);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, a);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, a);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
}

static void set_options(struct attempt *a, struct curl_slist *lines)
{
    CURL *c = a->h->easy;
    const struct http_request *q = a->q;
    curl_easy_reset(c); /* options go, connections stay */
    set_callbacks(a);
    curl_easy_setopt(c, CURLOPT_URL, q->url);
    curl_easy_setopt(c, CURLOPT_NOBODY, (long)(q->method == HTTP_HEAD));
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, lines);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "gyeol/" GYEOL_VERSION);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L); /* threads */
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR,
                     strncasecmp(q->url, "https:", 6) ? "http,https" : "https"); /* never down to cleartext */
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, given(q->redirects, REDIRECTS));
    curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, given(q->connect_s, CONNECT_S));
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, given(q->stall_s, STALL_S));
    curl_easy_setopt(c, CURLOPT_TIMEOUT, given(q->total_s, q->file ? 0 : TOTAL_S));
    curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, (long)BUFFER);
}

static bool is_passing(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR: /* also a connection lost in the handshake; a bad certificate is another
                                     code */
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return true;
    default:
        return false;
    }
}

static int connection_error(struct attempt *a, CURLcode code)
{
    if (code == CURLE_OUT_OF_MEMORY)
        return err_set(a->e, ERR_MEMORY, "out of memory");
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return err_set(a->e, ERR_STOPPED, "interrupted");
    if (code == CURLE_TOO_MANY_REDIRECTS)
        return fail(a, ERR_FORMAT, "more than %ld redirects", given(a->q->redirects, REDIRECTS));
    return fail(a, ERR_IO, "%s", a->h->detail[0] ? a->h->detail : curl_easy_strerror(code));
}

/* What came of an attempt: *again when another may do better. */
static int judge(struct attempt *a, CURLcode code, bool *again)
{
    note_status(a);
    *again = false;
    if (a->rc)
        return a->rc;
    if (code != CURLE_OK) {
        *again = is_passing(code);
        return connection_error(a, code);
    }
    if (!for_file(a)) {
        int s = a->r->status;
        *again = s == 408 || s == 429 || (s >= 500 && s != 501);
        return 0;
    }
    if (!a->begun && begin_file(a)) /* a body without a byte */
        return a->rc;
    if (a->q->file->have == a->q->file->size)
        return 0;
    *again = true;
    return fail(a, ERR_IO, "the connection ended at byte %llu of %llu", (unsigned long long)a->q->file->have,
                (unsigned long long)a->q->file->size);
}

static int attempt(struct attempt *a, bool *again)
{
    struct curl_slist *lines = header_lines(a->q);
    *again = false;
    if (!lines)
        return err_set(a->e, ERR_MEMORY, "out of memory");
    buf_reset(&a->r->body);
    buf_reset(&a->r->headers);
    a->r->headers.limit = HEADERS_MAX;
    a->r->last = 0;
    a->h->detail[0] = 0;
    set_options(a, lines);
    CURLcode code = curl_easy_perform(a->h->easy);
    int rc = judge(a, code, again);
    curl_easy_setopt(a->h->easy, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(lines);
    if (!rc && a->r->status == 416 && a->q->file && a->q->file->have) {
        a->q->file->have = 0; /* the server's file is shorter than our part: it is another one */
        *again = true;
    }
    return rc;
}

/* ---- attempts ---- */

static bool wait_ms(uint64_t ms)
{
    uint64_t end = when_monotonic_ns() + ms * 1000000u;
    while (!stop_requested() && when_monotonic_ns() < end)
        stop_sleep(50); /* short: a signal just before the wait would not end it */
    return !stop_requested();
}

/* Milliseconds to wait after the nth attempt in vain. Jitter keeps many clients from coming back at once. */
static uint64_t pause_after(struct http *h, const struct http_request *q, int n, curl_off_t retry_after)
{
    uint64_t ms = (uint64_t)given(q->backoff_ms, BACKOFF_MS);
    if (retry_after > 0)
        return (uint64_t)retry_after * 1000 + rng_below(&h->rng, 250);
    for (int i = 1; i < n && ms < BACKOFF_MOST_MS; i++)
        ms *= 2;
    ms = ms < BACKOFF_MOST_MS ? ms : BACKOFF_MOST_MS;
    return ms / 2 + rng_below(&h->rng, ms / 2 + 1);
}

static int check_request(const struct http_request *q, struct err *e)
{
    size_t n = strlen(q->url);
    for (size_t i = 0; i < n; i++)
        if (!isgraph((unsigned char)q->url[i]))
            return err_set(e, ERR_USAGE, "an address with a blank or a byte that is not ASCII");
    for (const char *t = q->token; t && *t; t++)
        if (!isgraph((unsigned char)*t)) /* or it could end the header's line */
            return err_set(e, ERR_USAGE, "the access token has a blank or a byte that is not ASCII");
    for (size_t i = 0; q->headers && q->headers[i]; i++)
        if (strpbrk(q->headers[i], "\r\n"))
            return err_set(e, ERR_USAGE, "a header of more than one line");
    return 0;
}

static int say_attempts(struct err *e, int n)
{
    char what[sizeof e->msg];
    memcpy(what, e->msg, sizeof what);
    return n == 1 ? e->code : err_set(e, e->code, "%s, after %d attempts", what, n);
}

int http_send(struct http *h, const struct http_request *q, struct http_response *r, struct err *e)
{
    struct err local = {0};
    struct attempt a = {.h = h, .q = q, .r = r, .e = e ? e : &local};
    int most = (int)given(q->attempts, ATTEMPTS), rc = check_request(q, a.e);
    uint64_t furthest = q->file ? q->file->have : 0;
    *r = (struct http_response){0};
    for (int n = 1; !rc; n++) {
        bool again;
        curl_off_t retry_after = 0;
        a.begun = false;
        a.rc = 0;
        r->attempts++;
        rc = attempt(&a, &again);
        curl_easy_getinfo(h->easy, CURLINFO_RETRY_AFTER, &retry_after);
        log_write(LOG_INFO, "%s %.*s: %d%s%s", q->method == HTTP_HEAD ? "HEAD" : "GET",
                  (int)strcspn(q->url, "?"), q->url, r->status, rc ? ", " : "", rc ? a.e->msg : "");
        /* Counted from the furthest byte ever reached, or a server that always ends at the same one would be
         * asked for ever. */
        if (q->file && q->file->have >= furthest + FORWARD) {
            furthest = q->file->have;
            n = 1;
        }
        if (!again || n >= most || retry_after > RETRY_AFTER_MOST_S)
            return again && rc ? say_attempts(a.e, r->attempts) : rc;
        rc = wait_ms(pause_after(h, q, n, retry_after)) ? 0 : err_set(a.e, ERR_STOPPED, "interrupted");
    }
    return rc;
}

void http_escape(struct buf *b, const char *s, const char *keep)
{
    for (; *s; s++) {
        if (isalnum((unsigned char)*s) || strchr("-._~", *s) || strchr(keep, *s))
            buf_add(b, s, 1);
        else
            buf_printf(b, "%%%02X", (unsigned char)*s);
    }
}
