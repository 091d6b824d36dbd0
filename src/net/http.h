/* HTTP as a client, the one user of libcurl: a request, bounded in size and time, tried again when the fault
 * may pass, and left at once when the user interrupts (base/stop.h). Certificates are always checked; proxies
 * are those of libcurl's environment (https_proxy, no_proxy, ...).
 *
 * POST is one more method with a body in struct http_request: the rest, retries included, does not depend on
 * what is sent. A struct http serves one thread at a time; any number of them may be open. */
#ifndef GYEOL_NET_HTTP_H
#define GYEOL_NET_HTTP_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct http; /* connections that later requests use again */

int http_open(struct http **h, struct err *e) MUST_CHECK;
void http_close(struct http *h);

enum http_method { HTTP_GET, HTTP_HEAD };

enum { HTTP_ETAG_MAX = 200 };

/* A body that goes to a file, in pieces if need be: what is there already is not fetched again. */
struct http_file {
    int fd;                       /* open for writing; nothing else moves or writes it meanwhile */
    uint64_t have;                /* in: bytes it holds; out: bytes it holds now, also after an error */
    uint64_t size;                /* bytes it must hold in the end; more, or another length, is an error */
    char etag[HTTP_ETAG_MAX + 1]; /* in, out: names the version of these bytes; "" when not known */
    /* Called when bytes begin to come, after the file was cut to `have` (0 when the server sends all of it
     * anew), before the first is written; and then as they come. Either may be NULL. */
    int (*begins)(void *context, const struct http_file *f, struct err *e);
    void (*grows)(void *context, uint64_t have);
    void *context;
};

struct http_request {
    enum http_method method;
    const char *url;            /* http or https; errors show it without its query */
    const char *const *headers; /* "Name: value", ended by NULL; or NULL */
    /* Sent as a bearer token to the scheme, host and port of `url` and to nobody that a redirect leads to;
     * never part of an error or a log line. NULL for none. */
    const char *token;
    struct http_file *file; /* where a 2xx body goes; NULL: into http_response.body */
    size_t body_max;        /* most bytes kept in memory, else ERR_LIMIT; 0: 1 MiB */
    int attempts;           /* 0: 5 */
    int connect_s;          /* seconds to connect; 0: 30 */
    int stall_s;            /* seconds with less than a byte a second before it counts as lost; 0: 60 */
    int total_s;            /* seconds for one attempt; 0: 120 into memory, no bound into a file */
    int redirects;          /* at most so many; 0: 10 */
    int backoff_ms;         /* the first wait between attempts; 0: 500 */
};

struct http_response {
    int status;
    int attempts;       /* made */
    struct buf body;    /* of a 2xx without http_file; of any other, cut short at 64 KiB */
    struct buf headers; /* "name\0value\0" of every response on the way, in order */
    size_t last;        /* where those of the last response begin */
};

/* 0 when there is an answer, whatever its status. Attempts end with the first answer other than 408, 429 or
 * 5xx, or with one that asks for a wait of more than two minutes. Between attempts it waits as Retry-After
 * says, else backoff_ms, doubled each time, at most half a minute, with jitter. An attempt that brought a
 * file 1 MiB forward is not counted. ERR_IO: no connection, or it kept breaking; ERR_FORMAT: a broken answer;
 * ERR_STOPPED: interrupted. r needs http_response_deinit in any case. */
int http_send(struct http *h, const struct http_request *q, struct http_response *r,
              struct err *e) MUST_CHECK;
void http_response_deinit(struct http_response *r);

/* The value of a header of the last response, name in any case; NULL when there is none. */
const char *http_header(const struct http_response *r, const char *name);

/* The same, looking also at the responses that redirected, first hop first. */
const char *http_header_first(const struct http_response *r, const char *name);

/* Appends s, each byte but letters, digits and "-._~" as %XX; `keep` names more that stay ("/"). */
void http_escape(struct buf *b, const char *s, const char *keep);

#endif
