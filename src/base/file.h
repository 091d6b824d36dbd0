/* Whole files: mapped read-only, or written so that a reader never sees half of one. */
#ifndef GYEOL_BASE_FILE_H
#define GYEOL_BASE_FILE_H

#include "base/err.h"

#include <stddef.h>

struct file_map {
    const unsigned char *data; /* page-aligned; NULL when the file is empty */
    size_t len;
};

/* Maps a regular file read-only. The file must not shrink while mapped (a reader would get SIGBUS). */
int file_map_open(struct file_map *m, const char *path, struct err *e) MUST_CHECK;
void file_map_close(struct file_map *m);

/* Reads a file, a pipe, or standard input (path "-") into malloc'd *data, NUL-terminated; at most `limit`
 * bytes, else ERR_LIMIT. */
int file_read(char **data, size_t *len, const char *path, size_t limit, struct err *e) MUST_CHECK;

/* A file in the making: bytes go to a temporary name beside path, and only a commit puts them there. Zeroed
 * is a valid idle one. Where path is a device or a pipe, bytes go straight into it. */
struct file_out {
    char *path, *temporary; /* owned; NULL when idle; temporary is NULL too when there is none */
    int fd;
};

int file_out_open(struct file_out *o, const char *path, struct err *e) MUST_CHECK;
int file_out_write(struct file_out *o, const void *data, size_t len, struct err *e) MUST_CHECK;
/* Syncs, renames, syncs the directory. Afterwards o is idle, and on failure the temporary file is gone. */
int file_out_commit(struct file_out *o, struct err *e) MUST_CHECK;
/* Removes the temporary file, if there is one. */
void file_out_abandon(struct file_out *o);

/* Writes to a temporary name beside path, syncs, renames, syncs the directory: afterwards path holds either
 * all of it or what it held before, whatever happens. */
int file_write(const char *path, const void *data, size_t len, struct err *e) MUST_CHECK;

#endif
