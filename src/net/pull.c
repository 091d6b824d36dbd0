#include "net/pull.h"

#include "base/progress.h"
#include "base/stop.h"
#include "net/choose.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LOCK_NAME ".gyeol-pull.lock"

enum { CHUNK = 256 << 10, ID_MAX = DIGEST_HEX + HTTP_ETAG_MAX + 2, LOCK_TRIES = 20 };

const char *const pull_state_name[PULL_STATES] = {"fetched", "resumed", "present"};

struct pull {
    const struct hub *hub;
    const struct pull_options *o;
    struct pull_result *r;
    struct http *http;
    int dir, lock;
    bool made;            /* the directory is ours */
    uint64_t total, done; /* bytes of all files to fetch, and of those that are finished */
    struct err *e;
};

/* ---- the directory ---- */

static int open_directory(struct pull *p)
{
    const char *dir = p->o->dir;
    p->made = mkdir(dir, 0777) == 0;
    if (!p->made && errno != EEXIST)
        return err_errno(p->e, "%s: making the directory", dir);
    p->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return p->dir < 0 ? err_errno(p->e, "%s", dir) : 0;
}

/* The lock's file goes when its holder ends, so what was locked may by then be nobody's: the name must still
 * lead to it. */
static int take_lock(struct pull *p)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        struct stat mine, named;
        int fd = openat(p->dir, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
        if (fd < 0)
            return err_errno(p->e, "%s/" LOCK_NAME, p->o->dir);
        if (flock(fd, LOCK_EX | LOCK_NB)) {
            int rc = errno == EWOULDBLOCK
                         ? err_set(p->e, ERR_BUSY, "%s: another pull is at work there", p->o->dir)
                         : err_errno(p->e, "%s/" LOCK_NAME ": locking", p->o->dir);
            close(fd);
            return rc;
        }
        if (fstat(fd, &mine) == 0 && fstatat(p->dir, LOCK_NAME, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
            mine.st_ino == named.st_ino && mine.st_dev == named.st_dev) {
            p->lock = fd;
            return 0;
        }
        close(fd);
    }
    return err_set(p->e, ERR_BUSY, "%s: other pulls come and go there", p->o->dir);
}

static void leave_directory(struct pull *p, int rc)
{
    if (p->lock >= 0) {
        unlinkat(p->dir, LOCK_NAME, 0);
        close(p->lock);
    }
    if (p->dir >= 0)
        close(p->dir);
    if (rc && p->made)
        rmdir(p->o->dir); /* goes only if nothing came into it */
}

/* Opens the folder that holds `path`, whose last part *base becomes, going down part by part so that no
 * symbolic link leads out of the directory. -1 in *folder when it is not there and `make` is false. */
static int open_folder(struct pull *p, const char *path, bool make, int *folder, const char **base)
{
    int at = fcntl(p->dir, F_DUPFD_CLOEXEC, 0), rc = 0;
    const char *slash;
    for (; at >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
        char part[HUB_PART_MAX + 1];
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        if (make && mkdirat(at, part, 0777) && errno != EEXIST)
            rc = err_errno(p->e, "%s/%s: making the directory", p->o->dir, part);
        int next = rc ? -1 : openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (!rc && next < 0 && (make || errno != ENOENT))
            rc = err_errno(p->e, "%s/%s: want a directory, not a link to one", p->o->dir, part);
        close(at);
        at = next;
    }
    *folder = at;
    *base = path;
    return rc;
}

/* ---- what is there ---- */

static void report(struct pull *p, const char *what, uint64_t done, uint64_t total)
{
    if (p->o->progress)
        p->o->progress(p->o->context, what, done, total);
}

/* The hash of a file's first f->size bytes, of the kind that the hub gave. */
static int hash_file(struct pull *p, int fd, const struct hub_file *f, char hex[DIGEST_HEX])
{
    struct digest d;
    char *chunk = malloc(CHUNK);
    int rc = chunk ? 0 : err_set(p->e, ERR_MEMORY, "out of memory");
    uint64_t at = 0;
    digest_init(&d, strlen(f->hash) == 40 ? DIGEST_GIT_BLOB : DIGEST_SHA256, f->size);
    while (!rc && at < f->size) {
        ssize_t n = pread(fd, chunk, f->size - at < CHUNK ? (size_t)(f->size - at) : CHUNK, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            rc = n ? err_errno(p->e, "%s/%s", p->o->dir, f->path)
                   : err_set(p->e, ERR_STATE, "%s/%s: became shorter while it was read", p->o->dir, f->path);
        else if (stop_requested())
            rc = err_set(p->e, ERR_STOPPED, "interrupted");
        else {
            digest_update(&d, chunk, (size_t)n);
            report(p, "checking", at += (uint64_t)n, f->size);
        }
    }
    digest_final(&d, hex);
    free(chunk);
    return rc;
}

/* *same: the file is there and is what the hub has. */
static int compare(struct pull *p, int folder, const char *base, const struct hub_file *f, bool *same)
{
    struct stat st;
    char hex[DIGEST_HEX];
    int rc = 0, fd = openat(folder, base, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    *same = false;
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return err_errno(p->e, "%s/%s: is there, but cannot be read as a file%s", p->o->dir, f->path,
                         errno == ELOOP ? " (a symbolic link)" : "");
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        rc = err_set(p->e, ERR_STATE, "%s/%s: is there, but is no regular file", p->o->dir, f->path);
    else if ((uint64_t)st.st_size == f->size && !(rc = hash_file(p, fd, f, hex)))
        *same = strcmp(hex, f->hash) == 0;
    if (!rc && !*same && !p->o->replace)
        rc = err_set(p->e, ERR_STATE,
                     "%s/%s is there already and differs from the hub's; --replace puts the hub's in "
                     "its place",
                     p->o->dir, f->path);
    close(fd);
    return rc;
}

static void part_names(const char *base, char part[HUB_PART_MAX + 16], char id[HUB_PART_MAX + 16])
{
    snprintf(part, HUB_PART_MAX + 16, ".%.*s.part", HUB_PART_MAX, base);
    snprintf(id, HUB_PART_MAX + 16, ".%.*s.part.id", HUB_PART_MAX, base);
}

/* Whether file i is there; if not, what room it needs. */
static int look(struct pull *p, size_t i, uint64_t *room)
{
    const struct hub_file *f = &p->r->listing.file[i];
    const char *base;
    char part[HUB_PART_MAX + 16], id[HUB_PART_MAX + 16];
    struct stat st;
    bool same = false;
    int folder, rc = open_folder(p, f->path, false, &folder, &base);
    if (!rc && folder >= 0)
        rc = compare(p, folder, base, f, &same);
    p->r->bytes += f->size;
    p->r->state[i] = same ? PULL_PRESENT : PULL_FETCHED;
    if (!rc && !same) {
        part_names(base, part, id);
        bool begun = folder >= 0 && fstatat(folder, part, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                     S_ISREG(st.st_mode) && (uint64_t)st.st_size <= f->size;
        *room += begun ? f->size - (uint64_t)st.st_size : f->size;
        p->total += f->size;
    }
    if (folder >= 0)
        close(folder);
    return rc;
}

static int check_room(struct pull *p, uint64_t room)
{
    struct statvfs v;
    char need[PROGRESS_BYTES], free_bytes[PROGRESS_BYTES];
    if (fstatvfs(p->dir, &v))
        return err_errno(p->e, "%s: free space", p->o->dir);
    double free_space = (double)v.f_bavail * (double)v.f_frsize;
    if ((double)room <= free_space)
        return 0;
    return err_set(p->e, ERR_LIMIT, "%s: %s are to be fetched, and the disk has %s free", p->o->dir,
                   progress_bytes(need, (double)room), progress_bytes(free_bytes, free_space));
}

/* ---- one file ---- */

struct part {
    struct pull *p;
    const struct hub_file *f;
    int folder;
    const char *base;
    char name[HUB_PART_MAX + 16], id[HUB_PART_MAX + 16];
    struct http_file file;
    uint64_t counted; /* bytes of it in p->r->fetched, or there before */
    bool joined;      /* begins with bytes of an earlier connection */
};

/* Beside a part stands which bytes it is the beginning of: the hash they must have in the end, and the ETag
 * under which they came. A part without, or of another version, is begun anew. */
static int write_id(void *context, const struct http_file *file, struct err *e)
{
    struct part *t = context;
    char text[ID_MAX + 1];
    int n = snprintf(text, sizeof text, "%s\n%s\n", t->f->hash, file->etag);
    int fd = openat(t->folder, t->id, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    bool good = fd >= 0 && write(fd, text, (size_t)n) == n;
    int rc = good ? 0 : err_errno(e, "%s: writing %s", t->p->o->dir, t->id);
    if (fd >= 0)
        close(fd);
    t->joined = file->have > 0;
    t->counted = file->have;
    return rc;
}

static void count(void *context, uint64_t have)
{
    struct part *t = context;
    t->p->r->fetched += have - t->counted;
    t->counted = have;
    report(t->p, "fetching", t->p->done + have, t->p->total);
}

static bool read_id(struct part *t)
{
    char text[ID_MAX + 1];
    int fd = openat(t->folder, t->id, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd >= 0 ? read(fd, text, ID_MAX) : -1;
    if (fd >= 0)
        close(fd);
    if (n <= 0 || text[n - 1] != '\n')
        return false;
    text[n - 1] = 0;
    char *etag = strchr(text, '\n');
    if (!etag || strlen(etag + 1) > HTTP_ETAG_MAX || strpbrk(etag + 1, "\r\n"))
        return false;
    *etag++ = 0;
    memcpy(t->file.etag, etag, strlen(etag) + 1);
    return strcmp(text, t->f->hash) == 0;
}

static int open_part(struct part *t, struct err *e)
{
    struct stat st;
    int fd = openat(t->folder, t->name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0666);
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        int rc = err_errno(e, "%s: opening %s", t->p->o->dir, t->name);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    t->file =
        (struct http_file){.fd = fd, .size = t->f->size, .begins = write_id, .grows = count, .context = t};
    if (st.st_size > 0 && (uint64_t)st.st_size <= t->f->size && read_id(t))
        t->file.have = (uint64_t)st.st_size;
    t->joined = t->file.have > 0;
    t->counted = t->file.have;
    return 0;
}

static int receive(struct part *t)
{
    struct pull *p = t->p;
    struct http_response r = {0};
    struct buf url = {0};
    hub_file_url(&url, p->hub, p->r->listing.commit, t->f->path);
    struct http_request q = {.url = url.data, .token = p->hub->token, .file = &t->file};
    int rc = buf_check(&url, "an address", p->e);
    if (!rc)
        rc = http_send(p->http, &q, &r, p->e);
    if (!rc && r.status != 200 && r.status != 206)
        rc = hub_refusal(p->hub, &r, t->f->path, p->e);
    http_response_deinit(&r);
    buf_deinit(&url);
    return rc;
}

static int refuse(struct part *t, const char *hex)
{
    unlinkat(t->folder, t->name, 0);
    unlinkat(t->folder, t->id, 0);
    return err_set(t->p->e, ERR_FORMAT, "%s: what came has the hash %s, the hub says %s; it was deleted",
                   t->f->path, hex, t->f->hash);
}

/* Bytes joined from two connections may not fit together (a crash before they were on the disk): then once
 * more from the beginning. */
static int fill(struct part *t)
{
    char hex[DIGEST_HEX];
    for (;;) {
        int rc = t->file.have < t->f->size ? receive(t) : 0;
        if (!rc && ftruncate(t->file.fd, (off_t)t->f->size)) /* an empty file is not asked for */
            rc = err_errno(t->p->e, "%s/%s", t->p->o->dir, t->f->path);
        if (!rc)
            rc = hash_file(t->p, t->file.fd, t->f, hex);
        if (rc || strcmp(hex, t->f->hash) == 0)
            return rc;
        if (!t->joined)
            return refuse(t, hex);
        t->file.have = 0;
        t->file.etag[0] = 0;
        t->joined = false;
    }
}

static int settle(struct part *t)
{
    if (fsync(t->file.fd) || renameat(t->folder, t->name, t->folder, t->base))
        return err_errno(t->p->e, "%s/%s", t->p->o->dir, t->f->path);
    unlinkat(t->folder, t->id, 0);
    (void)!fsync(t->folder); /* some file systems refuse; the bytes themselves are safe */
    return 0;
}

/* A part without a byte is of no use to the next pull. */
static int give_up(struct part *t, int rc)
{
    struct stat st;
    if (fstat(t->file.fd, &st) == 0 && st.st_size == 0) {
        unlinkat(t->folder, t->name, 0);
        unlinkat(t->folder, t->id, 0);
    }
    return rc;
}

static int fetch(struct pull *p, size_t i)
{
    struct part t = {.p = p, .f = &p->r->listing.file[i]};
    int rc = open_folder(p, t.f->path, true, &t.folder, &t.base);
    if (rc)
        return rc;
    part_names(t.base, t.name, t.id);
    rc = open_part(&t, p->e);
    if (!rc) {
        rc = fill(&t);
        rc = rc ? give_up(&t, rc) : settle(&t);
        close(t.file.fd);
    }
    if (!rc)
        p->r->state[i] = t.joined ? PULL_RESUMED : PULL_FETCHED;
    p->done += t.f->size;
    close(t.folder);
    return rc;
}

/* ---- all of it ---- */

static int list(struct pull *p)
{
    struct hub_listing *l = &p->r->listing;
    int rc = hub_list(p->http, p->hub, l, p->e);
    if (!rc)
        rc = choose_files(l, p->hub->name, p->o->include, p->o->n_include, p->e);
    for (size_t i = 0; i < l->n && !rc; i++)
        if (l->file[i].chosen) {
            p->r->files++;
            if (!*l->file[i].hash)
                rc = hub_describe(p->http, p->hub, l->commit, &l->file[i], p->e);
        }
    if (!rc && !(p->r->state = calloc(l->n + 1, sizeof *p->r->state)))
        rc = err_set(p->e, ERR_MEMORY, "out of memory");
    return rc;
}

static int fill_directory(struct pull *p)
{
    struct hub_listing *l = &p->r->listing;
    uint64_t room = 0;
    int rc = open_directory(p);
    if (!rc)
        rc = take_lock(p);
    for (size_t i = 0; i < l->n && !rc; i++)
        if (l->file[i].chosen)
            rc = look(p, i, &room);
    if (!rc)
        rc = check_room(p, room);
    for (size_t i = 0; i < l->n && !rc; i++)
        if (l->file[i].chosen && p->r->state[i] != PULL_PRESENT)
            rc = fetch(p, i);
    return rc;
}

int pull_model(const struct hub *hub, const struct pull_options *o, struct pull_result *r, struct err *e)
{
    struct err local = {0};
    struct pull p = {.hub = hub, .o = o, .r = r, .dir = -1, .lock = -1, .e = e ? e : &local};
    *r = (struct pull_result){0};
    int rc = http_open(&p.http, p.e);
    if (!rc)
        rc = list(&p);
    if (!rc) {
        rc = fill_directory(&p);
        leave_directory(&p, rc);
    }
    http_close(p.http);
    if (rc == ERR_STOPPED)
        rc = err_set(p.e, rc, "interrupted; what was fetched stays, and the same command goes on from there");
    return rc;
}

void pull_result_deinit(struct pull_result *r)
{
    hub_listing_deinit(&r->listing);
    free(r->state);
    r->state = NULL;
}
