#include "base/file.h"

#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int file_map_open(struct file_map *m, const char *path, struct err *e)
{
    *m = (struct file_map){0};
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = 0; /* a FIFO must not block */
    if (fd < 0)
        return err_errno(e, "%s", path);
    if (fstat(fd, &st))
        rc = err_errno(e, "%s", path);
    else if (!S_ISREG(st.st_mode))
        rc = err_set(e, ERR_FORMAT, "%s: not a regular file", path);
    else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            rc = err_errno(e, "%s: mapping %lld bytes", path, (long long)st.st_size);
        else
            *m = (struct file_map){p, (size_t)st.st_size};
    }
    close(fd);
    return rc;
}

void file_map_close(struct file_map *m)
{
    if (m->data)
        munmap((void *)m->data, m->len);
    *m = (struct file_map){0};
}

static int read_all(struct buf *b, int fd, const char *name, struct err *e)
{
    char chunk[65536];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n == 0)
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, "%s", name);
        buf_add(b, chunk, (size_t)n);
        if (b->failed)
            return err_set(e, ERR_LIMIT, "%s: larger than %zu bytes, the most that is read", name, b->limit);
    }
}

int file_read(char **data, size_t *len, const char *path, size_t limit, struct err *e)
{
    bool standard_input = strcmp(path, "-") == 0;
    const char *name = standard_input ? "standard input" : path;
    int fd = standard_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "%s", name);
    struct buf b = {.limit = limit};
    buf_add(&b, "", 0);
    int rc = read_all(&b, fd, name, e);
    if (!standard_input)
        close(fd);
    if (rc) {
        buf_deinit(&b);
        return rc;
    }
    *data = b.data;
    *len = b.len;
    return 0;
}

/* The rename is durable only once the directory is. */
static void sync_directory(const char *path)
{
    char *copy = strdup(path);
    int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)!fsync(fd); /* some file systems refuse to sync a directory; the data itself is synced */
        close(fd);
    }
    free(copy);
}

static void release(struct file_out *o)
{
    if (o->fd >= 0)
        close(o->fd);
    free(o->path);
    free(o->temporary);
    *o = (struct file_out){0};
}

/* A device or a pipe is written to, not replaced: as root a rename would take /dev/null's place. */
static bool is_special(const char *path)
{
    struct stat st;
    return !stat(path, &st) && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

static int open_special(struct file_out *o, const char *path, struct err *e)
{
    *o = (struct file_out){.path = strdup(path), .fd = -1};
    int rc = o->path ? 0 : err_set(e, ERR_MEMORY, "%s: out of memory", path);
    if (!rc && (o->fd = open(path, O_WRONLY | O_CLOEXEC)) < 0)
        rc = err_errno(e, "%s", path);
    if (rc)
        release(o);
    return rc;
}

int file_out_open(struct file_out *o, const char *path, struct err *e)
{
    struct buf name = {0};
    if (is_special(path))
        return open_special(o, path, e);
    /* A link stays one, as with any writer: /dev/stdout is a link to a file where output is redirected. */
    char *real = realpath(path, NULL);
    *o = (struct file_out){real ? real : strdup(path), NULL, -1};
    buf_printf(&name, "%s.tmp-XXXXXX", o->path ? o->path : path);
    int rc = buf_check(&name, path, e);
    o->temporary = name.data;
    if (rc == 0 && !o->path)
        rc = err_set(e, ERR_MEMORY, "%s: out of memory", path);
    if (rc == 0 && (o->fd = mkstemp(o->temporary)) < 0)
        rc = err_errno(e, "%s: creating a temporary file beside it", path);
    if (rc)
        release(o);
    return rc;
}

int file_out_write(struct file_out *o, const void *data, size_t len, struct err *e)
{
    const char *p = data;
    for (size_t left = len; left > 0;) {
        ssize_t w = write(o->fd, p, left);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return err_errno(e, "%s: writing %zu bytes", o->path, len);
        p += w;
        left -= (size_t)w;
    }
    return 0;
}

int file_out_commit(struct file_out *o, struct err *e)
{
    mode_t mask = umask(0);
    umask(mask);
    if (!o->temporary) {
        release(o);
        return 0;
    }
    if (fsync(o->fd) || fchmod(o->fd, 0666 & ~mask) || rename(o->temporary, o->path)) {
        int rc = err_errno(e, "%s: putting what was written in its place", o->path);
        file_out_abandon(o);
        return rc;
    }
    sync_directory(o->path);
    release(o);
    return 0;
}

void file_out_abandon(struct file_out *o)
{
    if (o->temporary)
        unlink(o->temporary);
    if (o->path)
        release(o);
}

int file_write(const char *path, const void *data, size_t len, struct err *e)
{
    struct file_out o;
    int rc = file_out_open(&o, path, e);
    if (rc)
        return rc;
    rc = file_out_write(&o, data, len, e);
    if (rc == 0)
        return file_out_commit(&o, e);
    file_out_abandon(&o);
    return rc;
}
