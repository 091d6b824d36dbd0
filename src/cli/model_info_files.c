/* The weight files that gyeol model info tells of: found, hashed, read. */
#include "base/file.h"
#include "base/size.h"
#include "base/stop.h"
#include "cli/cli.h"
#include "cli/model_info.h"
#include "model/pack.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Bytes hashed unasked; reading more takes longer than people expect of a question. */
#define HASHED_UNASKED ((uint64_t)2 << 30)

int info_files_add(struct info_files *f, const char *path, struct err *e)
{
    struct stat st;
    char **grown = realloc(f->path, (f->n + 1) * sizeof *grown);
    if (stat(path, &st)) {
        f->path = grown ? grown : f->path;
        return err_errno(e, "%s", path);
    }
    if (grown)
        f->path = grown;
    if (!grown || !(f->path[f->n] = strdup(path)))
        return err_set(e, ERR_MEMORY, "out of memory");
    f->n++;
    f->bytes += (uint64_t)st.st_size;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_weights(const char *name)
{
    const char *dot = strrchr(name, '.');
    return name[0] != '.' && dot && strcmp(dot, ".safetensors") == 0;
}

static int add_in(struct info_files *f, const char *dir, const char *name, struct err *e)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", dir, name) < 0)
        return err_set(e, ERR_MEMORY, "out of memory");
    int rc = info_files_add(f, path, e);
    free(path);
    return rc;
}

int info_files_find(struct info_files *f, const char *dir, struct err *e)
{
    DIR *d = opendir(dir);
    int rc = d ? 0 : err_errno(e, "%s", dir);
    for (struct dirent *at; !rc && (at = readdir(d));)
        if (is_weights(at->d_name))
            rc = add_in(f, dir, at->d_name, e);
    if (d)
        closedir(d);
    if (f->n)
        qsort(f->path, f->n, sizeof *f->path, by_name);
    return rc;
}

static int hash(struct info_files *f, struct err *e)
{
    int rc = 0;
    f->sha256 = calloc(f->n + 1, sizeof *f->sha256);
    if (!f->sha256)
        return err_set(e, ERR_MEMORY, "out of memory");
    for (size_t i = 0; !rc && i < f->n; i++)
        rc = pack_file_sha256(f->sha256[i], f->path[i], e);
    return rc;
}

int info_files_read(struct info_files *f, bool verify, struct err *e)
{
    struct progress p;
    uint64_t done = 0;
    int rc = verify || f->bytes <= HASHED_UNASKED ? hash(f, e) : 0;
    if (rc || !verify)
        return rc;
    progress_start(&p, "reading weights", f->bytes);
    p.bytes = true;
    for (size_t i = 0; !rc && i < f->n; i++)
        rc = source_verify_file(f->path[i], &done, &p, e);
    progress_finish(&p);
    return rc;
}

json_t *info_files_json(const struct info_files *f)
{
    json_t *v = json_array();
    for (size_t i = 0; i < f->n; i++) {
        struct stat st = {0};
        json_int_t bytes = stat(f->path[i], &st) ? 0 : (json_int_t)st.st_size;
        json_array_append_new(v, json_pack("{s:o, s:I, s:s?}", "path", cli_json_text(f->path[i]), "bytes",
                                           bytes, "sha256", f->sha256 ? f->sha256[i] : NULL));
    }
    return v;
}

void info_files_deinit(struct info_files *f)
{
    for (size_t i = 0; i < f->n; i++)
        free(f->path[i]);
    free(f->path);
    free(f->sha256);
    *f = (struct info_files){0};
}
