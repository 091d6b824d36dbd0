#include "model/pack.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PACK_VERSION 1
#define PACK_HEADER  4096 /* a page, so that the block can be mapped aligned */

struct header {
    char magic[8]; /* "gyeolpk" */
    uint32_t version, type;
    uint64_t block_bytes;
    char stamp[DIGEST_HEX];  /* of sizes, times and inodes of the source's files */
    char config[DIGEST_HEX]; /* of the configuration as read: another reader, another pack */
    char source[DIGEST_HEX];
    char block[DIGEST_HEX];
};

static int stamp_of(char hex[DIGEST_HEX], const struct checkpoint *c, struct err *e)
{
    struct buf b = {0};
    int rc = 0;
    for (size_t i = 0; i < checkpoint_files(c); i++) {
        struct stat st;
        const char *path = checkpoint_file(c, i);
        if (stat(path, &st)) {
            rc = err_errno(e, "%s", path);
            break;
        }
        buf_printf(&b, "%lld %lld.%09ld %llu\n", (long long)st.st_size, (long long)st.st_mtim.tv_sec,
                   st.st_mtim.tv_nsec, (unsigned long long)st.st_ino);
    }
    if (!rc)
        rc = buf_check(&b, "file stamp", e);
    if (!rc)
        digest_sha256(hex, b.data, b.len);
    buf_deinit(&b);
    return rc;
}

/* Pages that have been read are given back: a model's file would be resident whole before its weights are. */
int pack_file_sha256(char hex[DIGEST_HEX], const char *path, struct err *e)
{
    enum { PIECE = 16 << 20 };
    struct file_map map;
    struct digest d;
    int rc = file_map_open(&map, path, e);
    if (rc)
        return rc;
    madvise((void *)map.data, map.len, MADV_SEQUENTIAL);
    digest_init(&d, DIGEST_SHA256, 0);
    for (size_t at = 0; at < map.len; at += PIECE) {
        size_t n = map.len - at < PIECE ? map.len - at : PIECE;
        digest_update(&d, map.data + at, n);
        madvise((void *)(map.data + at), n, MADV_DONTNEED);
    }
    digest_final(&d, hex);
    file_map_close(&map);
    return 0;
}

int pack_join_sha256(char hex[DIGEST_HEX], char (*each)[DIGEST_HEX], const struct checkpoint *c,
                     struct err *e)
{
    size_t n = checkpoint_files(c);
    struct buf b = {0};
    for (size_t i = 0; i < n; i++) {
        const char *path = checkpoint_file(c, i), *slash = strrchr(path, '/');
        buf_printf(&b, "%s %s\n", slash ? slash + 1 : path, each[i]);
    }
    int rc = buf_check(&b, "digests", e);
    if (!rc && n == 1)
        memcpy(hex, each[0], DIGEST_HEX);
    else if (!rc)
        digest_sha256(hex, b.data, b.len);
    buf_deinit(&b);
    return rc;
}

int pack_source_sha256(char hex[DIGEST_HEX], const struct checkpoint *c, struct err *e)
{
    size_t n = checkpoint_files(c);
    char(*each)[DIGEST_HEX] = calloc(n, sizeof *each);
    int rc = each ? 0 : err_set(e, ERR_MEMORY, "out of memory");
    for (size_t i = 0; !rc && i < n; i++)
        rc = pack_file_sha256(each[i], checkpoint_file(c, i), e);
    if (!rc)
        rc = pack_join_sha256(hex, each, c, e);
    free(each);
    return rc;
}

/* --- names */

/* Beside a GGUF file: FILE.TYPE.w16.pack; in a directory: DIR/gyeol.TYPE.w16.pack. */
static void name_beside(struct buf *out, const struct checkpoint *c, enum model_type type)
{
    buf_reset(out);
    buf_printf(out, "%s%s.%s.%s.pack", checkpoint_path(c), checkpoint_gguf(c) ? "" : "/gyeol",
               model_type_name[type], PACK_LAYOUT);
}

/* False without a home: in a place that everybody writes to, anybody could lay out weights for us. */
static bool name_cached(struct buf *out, const struct checkpoint *c, enum model_type type, const char *stamp)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const char *path = checkpoint_path(c), *slash = strrchr(path, '/');
    buf_reset(out);
    if (cache && *cache)
        buf_printf(out, "%s/gyeol", cache);
    else if (home && *home)
        buf_printf(out, "%s/.cache/gyeol", home);
    else
        return false;
    buf_printf(out, "/%s-%.16s.%s.%s.pack", slash && slash[1] ? slash + 1 : "model", stamp,
               model_type_name[type], PACK_LAYOUT);
    return true;
}

/* The parents of a file in the cache: $XDG_CACHE_HOME and gyeol in it. */
static void make_parents(const char *path)
{
    char *copy = strdup(path);
    for (char *p = copy ? strchr(copy + 1, '/') : NULL; p; p = strchr(p + 1, '/')) {
        *p = 0;
        (void)!mkdir(copy, 0755); /* what fails here fails clearly when the file is created */
        *p = '/';
    }
    free(copy);
}

/* --- reading */

static bool is_digest(const char hex[DIGEST_HEX])
{
    return strnlen(hex, DIGEST_HEX) == DIGEST_HEX - 1 && strspn(hex, "0123456789abcdef") == DIGEST_HEX - 1;
}

static bool usable(const struct header *h, const struct header *want)
{
    return is_digest(h->source) && is_digest(h->block) &&
           memcmp(h->magic, want->magic, sizeof h->magic) == 0 && h->version == want->version &&
           h->type == want->type && h->block_bytes == want->block_bytes &&
           memcmp(h->stamp, want->stamp, DIGEST_HEX) == 0 && memcmp(h->config, want->config, DIGEST_HEX) == 0;
}

/* Maps path when it is the wanted pack; else leaves *map NULL. */
static void map_pack(const char *path, struct header *h, void **map)
{
    struct header got;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block */
    *map = NULL;
    if (fd < 0)
        return;
    if (!fstat(fd, &st) && (uint64_t)st.st_size == PACK_HEADER + h->block_bytes &&
        read(fd, &got, sizeof got) == sizeof got && usable(&got, h)) {
        void *p = mmap(NULL, PACK_HEADER + h->block_bytes, PROT_READ, MAP_SHARED, fd, 0);
        if (p != MAP_FAILED) {
            *h = got;
            *map = p;
        }
    }
    close(fd);
}

/* --- making */

static int fill_file(int fd, const char *path, struct header *h, const struct checkpoint *c, struct err *e)
{
    size_t bytes = PACK_HEADER + h->block_bytes;
    /* Room first: a hole in a full file system would be a SIGBUS in the middle of packing. */
    int failed = posix_fallocate(fd, 0, (off_t)bytes);
    if (failed) {
        errno = failed;
        return err_errno(e, "%s: %zu MB for packed weights", path, bytes >> 20);
    }
    unsigned char *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return err_errno(e, "%s: mapping %zu MB", path, bytes >> 20);
    struct progress progress;
    progress_start(&progress, "packing", h->block_bytes);
    int rc = model_fill(map + PACK_HEADER, checkpoint_config(c), (enum model_type)h->type, c, &progress, e);
    progress_finish(&progress);
    if (!rc)
        rc = pack_source_sha256(h->source, c, e);
    if (!rc) {
        digest_sha256(h->block, map + PACK_HEADER, h->block_bytes);
        memcpy(map, h, sizeof *h);
        if (msync(map, bytes, MS_SYNC) || fsync(fd))
            rc = err_errno(e, "%s: writing %zu MB", path, bytes >> 20);
    }
    munmap(map, bytes);
    return rc;
}

/* Another process may have put other weights there meanwhile: what was read is then of neither. */
static int check_unchanged(const struct header *h, const struct checkpoint *c, struct err *e)
{
    char now[DIGEST_HEX];
    int rc = stamp_of(now, c, e);
    return rc || strcmp(now, h->stamp) == 0
               ? rc
               : err_set(e, ERR_STATE, "%s: changed while it was packed", checkpoint_path(c));
}

/* A file without a name where the file system has such, so that gigabytes are not left behind when we are
 * killed; else *named, by a temporary name made from `name`. */
static int create(char *name, bool *named)
{
    char self[64];
    char *copy = strdup(name);
    int fd = copy ? open(dirname(copy), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
    free(copy);
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    *named = fd < 0 || access(self, F_OK);
    if (!*named)
        return fd;
    if (fd >= 0)
        close(fd);
    return mkstemp(name);
}

/* A nameless file gets a name first: rename replaces, linkat does not. */
static int publish(int fd, char *name, bool *named, const char *path)
{
    char self[64];
    int reserved = *named ? -1 : mkstemp(name);
    if (reserved >= 0) {
        close(reserved);
        snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        *named = !unlink(name) && !linkat(AT_FDCWD, self, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
    }
    return *named ? rename(name, path) : -1;
}

static int make_pack(const char *path, struct header *h, const struct checkpoint *c, struct err *e)
{
    struct buf name = {0};
    struct stat st;
    bool named = false;
    buf_printf(&name, "%s.tmp-XXXXXX", path);
    int rc = buf_check(&name, path, e), fd = -1;
    if (!rc && (fd = create(name.data, &named)) < 0)
        rc = err_errno(e, "%s", path);
    if (!rc)
        rc = fill_file(fd, path, h, c, e);
    if (!rc)
        rc = check_unchanged(h, c, e);
    /* Who may read the weights may read them packed. */
    if (!rc && (stat(checkpoint_file(c, 0), &st) || fchmod(fd, (st.st_mode & 0666) | S_IRUSR) ||
                publish(fd, name.data, &named, path)))
        rc = err_errno(e, "%s", path);
    if (rc && named)
        unlink(name.data);
    if (fd >= 0)
        close(fd);
    buf_deinit(&name);
    return rc;
}

static int open_at(const char *path, struct header *h, const struct checkpoint *c, void **map, bool *made,
                   struct err *e)
{
    map_pack(path, h, map);
    if (*map)
        return 0;
    int rc = make_pack(path, h, c, e);
    if (rc)
        return rc;
    *made = true;
    map_pack(path, h, map);
    return *map ? 0 : err_set(e, ERR_IO, "%s: changed while it was opened", path);
}

static int wanted_header(struct header *h, const struct checkpoint *c, enum model_type type, struct err *e)
{
    *h = (struct header){.magic = "gyeolpk", .version = PACK_VERSION, .type = (uint32_t)type};
    h->block_bytes = model_block_bytes(checkpoint_config(c), type);
    digest_sha256(h->config, checkpoint_config(c), sizeof(struct config));
    return stamp_of(h->stamp, c, e);
}

static int in_memory(struct model **out, const struct checkpoint *c, enum model_type type,
                     char sha256[DIGEST_HEX], const char *why, struct err *e)
{
    log_write(LOG_WARN, "packed weights are kept in memory only: %s", why);
    int rc = pack_source_sha256(sha256, c, e);
    return rc ? rc : model_load(out, c, type, e);
}

int pack_open(struct model **out, const struct checkpoint *c, enum model_type type, char sha256[DIGEST_HEX],
              bool *made, struct err *e)
{
    struct header h;
    struct buf path = {0};
    void *map = NULL;
    bool fresh = false;
    *out = NULL;
    int rc = wanted_header(&h, c, type, e);
    if (rc)
        return rc;
    name_beside(&path, c, type);
    rc = buf_check(&path, "pack file name", e);
    if (!rc)
        rc = open_at(path.data, &h, c, &map, &fresh, e);
    if (rc == ERR_IO && name_cached(&path, c, type, h.stamp)) {
        make_parents(path.data);
        rc = open_at(path.data, &h, c, &map, &fresh, e);
    }
    buf_deinit(&path);
    if (made)
        *made = fresh;
    if (rc == ERR_IO || rc == ERR_MISSING)
        return in_memory(out, c, type, sha256, e->msg, e);
    if (!rc)
        rc = model_new(out, checkpoint_config(c), type, e);
    if (rc) {
        model_close(*out);
        *out = NULL;
        if (map)
            munmap(map, PACK_HEADER + h.block_bytes);
        return rc;
    }
    model_attach(*out, map, PACK_HEADER + h.block_bytes, (unsigned char *)map + PACK_HEADER);
    memcpy(sha256, h.source, DIGEST_HEX);
    return 0;
}

/* --- verifying */

static int verify_map(const struct header *h, const void *map, const char *path, const struct checkpoint *c,
                      struct err *e)
{
    char hex[DIGEST_HEX];
    int rc = pack_source_sha256(hex, c, e);
    if (rc)
        return rc;
    if (strcmp(hex, h->source) != 0)
        return err_set(e, ERR_FORMAT, "%s: SHA-256 %.16s..., the pack was made from %.16s...",
                       checkpoint_path(c), hex, h->source);
    digest_sha256(hex, (const unsigned char *)map + PACK_HEADER, h->block_bytes);
    if (strcmp(hex, h->block) != 0)
        return err_set(e, ERR_FORMAT,
                       "%s: checksum %.16s..., want %.16s...: delete it, it will be made again", path, hex,
                       h->block);
    return 0;
}

/* The pack of this type, mapped, wherever it lies; ERR_MISSING. */
static int find_map(struct buf *path, struct header *h, void **map, const struct checkpoint *c,
                    enum model_type type, struct err *e)
{
    *map = NULL;
    int rc = wanted_header(h, c, type, e);
    if (rc)
        return rc;
    name_beside(path, c, type);
    rc = buf_check(path, "pack file name", e);
    if (!rc)
        map_pack(path->data, h, map);
    if (!rc && !*map && name_cached(path, c, type, h->stamp))
        map_pack(path->data, h, map);
    if (!rc && !*map)
        rc = err_set(e, ERR_MISSING, "%s: no pack of type %s yet", checkpoint_path(c), model_type_name[type]);
    return rc;
}

int pack_find(char **path, char sha256[DIGEST_HEX], const struct checkpoint *c, enum model_type type,
              struct err *e)
{
    struct header h;
    struct buf b = {0};
    void *map;
    int rc = find_map(&b, &h, &map, c, type, e);
    *path = NULL;
    if (!rc) {
        munmap(map, PACK_HEADER + h.block_bytes);
        memcpy(sha256, h.source, DIGEST_HEX);
        *path = strdup(b.data);
        rc = *path ? 0 : err_set(e, ERR_MEMORY, "out of memory");
    }
    buf_deinit(&b);
    return rc;
}

int pack_verify(const struct checkpoint *c, enum model_type type, struct err *e)
{
    struct header h;
    struct buf path = {0};
    void *map;
    int rc = find_map(&path, &h, &map, c, type, e);
    if (!rc) {
        rc = verify_map(&h, map, path.data, c, e);
        munmap(map, PACK_HEADER + h.block_bytes);
    }
    buf_deinit(&path);
    return rc;
}
