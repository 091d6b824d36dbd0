/* What the tests of file formats share: a file name of their own, and how refusals must read. */
#ifndef GYEOL_TESTS_FILES_H
#define GYEOL_TESTS_FILES_H

#include "base/file.h"

#include <unistd.h>

#include "testing.h"

#define FIXTURES "tests/fixtures/"

static char dir[] = "/tmp/gyeol-format-XXXXXX", path[300];

static inline int setup(void **state)
{
    (void)state;
    memcpy(dir, "/tmp/gyeol-format-XXXXXX", sizeof dir);
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/f", dir);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir); /* fails when a temporary file was left behind */
}

static inline void same_files(const char *a, const char *b)
{
    struct file_map x, y;
    ok(file_map_open(&x, a, &error));
    ok(file_map_open(&y, b, &error));
    if (x.len != y.len || memcmp(x.data, y.data, x.len) != 0)
        fail_msg("%s (%zu bytes) and %s (%zu) differ", a, x.len, b, y.len);
    file_map_close(&x);
    file_map_close(&y);
}

/* The message must begin with the file's name and say `part`. */
static inline void check_refused(int rc, int code, const char *part)
{
    if (rc != code || strncmp(error.msg, "file: ", 6) != 0 || !strstr(error.msg, part))
        fail_msg("code %d, \"%s\"; wanted %d, \"file: ...%s...\"", rc, error.msg, code, part);
}

#endif
