#include "model/source.h"

#include "base/file.h"
#include "base/stop.h"
#include "compute/quant.h"
#include "format/fields.h"
#include "format/safetensors.h"
#include "model/pack.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { JSON_LIMIT = 1 << 20, CHUNK_VALUES = 1 << 20 };

static char *join(const char *dir, const char *name)
{
    char *s = NULL;
    if (*name == '/')
        return strdup(name);
    return asprintf(&s, "%s/%s", dir, name) < 0 ? NULL : s;
}

static int copy(char **out, const char *s, struct err *e)
{
    *out = strdup(s);
    return *out ? 0 : err_set(e, ERR_MEMORY, "out of memory");
}

/* ---- paths ---- */

static int read_notes(struct source *s, const char *dir, const char *file, bool own, struct err *e)
{
    struct fields f;
    json_t *root;
    const char *base = NULL, *adapter = NULL;
    int rc = fields_read(&f, &root, file, JSON_LIMIT, e);
    if (rc)
        return rc;
    rc = fields_string(&f, "base", &base, e);
    if (!rc)
        rc = fields_string(&f, "adapter", &adapter, e);
    if (!rc && base) {
        s->judge = true;
        s->base = join(dir, base);
        s->adapter = adapter && own ? join(dir, adapter) : NULL;
        if (!s->base || (adapter && own && !s->adapter))
            rc = err_set(e, ERR_MEMORY, "out of memory");
    }
    json_decref(root);
    return rc;
}

static int find_paths(struct source *s, const char *path, const char *adapter, struct err *e)
{
    struct stat st;
    int rc = 0;
    if (!stat(path, &st) && S_ISDIR(st.st_mode)) {
        char *file = join(path, "gyeol.json");
        if (!file)
            return err_set(e, ERR_MEMORY, "out of memory");
        if (access(file, F_OK) == 0)
            rc = read_notes(s, path, file, adapter == NULL, e);
        free(file);
    }
    if (!rc && !s->base)
        rc = copy(&s->base, path, e);
    if (!rc && adapter && strcmp(adapter, "none") != 0)
        rc = copy(&s->adapter, adapter, e);
    return rc;
}

int source_find(struct source *s, const char *path, const char *adapter, struct err *e)
{
    *s = (struct source){0};
    int rc = find_paths(s, path, adapter, e);
    if (rc)
        source_close(s);
    return rc;
}

/* ---- opening ---- */

/* The base is read whole for its digest only when the adapter records one. */
static int check_base(const struct source *s, struct err *e)
{
    char found[DIGEST_HEX];
    const char *want = peft_base_sha256(s->peft);
    if (!want)
        return 0;
    int rc = pack_source_sha256(found, s->checkpoint, e);
    if (!rc && strcmp(found, want) != 0)
        rc = err_set(e, ERR_FORMAT, "%s: was made for a base of SHA-256 %.64s, but %.100s is %.64s",
                     s->adapter, want, s->base, found);
    return rc;
}

static bool holds(const char *dir, const char *name)
{
    char *path = join(dir, name);
    bool there = path && access(path, F_OK) == 0;
    free(path);
    return there;
}

static int open_both(struct source *s, struct err *e)
{
    if (holds(s->base, "adapter_config.json") && !holds(s->base, "config.json"))
        return err_set(e, ERR_FORMAT, "%s: an adapter alone; want its base model here, and it as --adapter",
                       s->base);
    int rc = checkpoint_open(&s->checkpoint, s->base, e);
    if (!rc && s->adapter)
        rc = peft_open(&s->peft, s->adapter, checkpoint_config(s->checkpoint), NULL, e);
    return rc || !s->peft ? rc : check_base(s, e);
}

int source_open(struct source *s, const char *path, const char *adapter, struct err *e)
{
    int rc = source_find(s, path, adapter, e);
    if (rc)
        return rc;
    rc = open_both(s, e);
    if (rc)
        source_close(s);
    return rc;
}

void source_close(struct source *s)
{
    peft_close(s->peft);
    checkpoint_close(s->checkpoint);
    free(s->base);
    free(s->adapter);
    *s = (struct source){0};
}

/* ---- verifying ---- */

static bool all_finite(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return false;
    return true;
}

struct reader {
    const char *path;
    float *values; /* [CHUNK_VALUES] */
    uint64_t *done;
    struct progress *progress;
};

static int verify_tensor(struct reader *r, const struct tensor *t, struct err *e)
{
    const struct dtype_info *type = &dtype_info[t->type];
    size_t blocks = type->number ? t->bytes / type->bytes : 0, most = CHUNK_VALUES / type->values;
    for (size_t at = 0, n; at < blocks; at += n) {
        n = blocks - at < most ? blocks - at : most;
        if (stop_requested())
            return err_set(e, ERR_STOPPED, "stopped");
        quant_decode(r->values, t->type, t->data + at * type->bytes, n * type->values);
        if (!all_finite(r->values, n * type->values))
            return err_set(e, ERR_FORMAT, "%s: %.120s holds an infinity or what is no number", r->path,
                           t->name);
        progress_update(r->progress, *r->done += n * type->bytes);
    }
    return 0;
}

static int verify_gguf(struct reader *r, struct err *e)
{
    struct gguf *g;
    int rc = gguf_open(&g, r->path, e);
    if (rc)
        return rc;
    for (size_t i = 0; !rc && i < gguf_tensors(g); i++)
        rc = verify_tensor(r, gguf_tensor_at(g, i), e);
    gguf_close(g);
    return rc;
}

static int verify_safetensors(struct reader *r, struct err *e)
{
    struct safetensors *s;
    int rc = safetensors_open(&s, r->path, e);
    if (rc)
        return rc;
    for (size_t i = 0; !rc && i < safetensors_count(s); i++)
        rc = verify_tensor(r, safetensors_at(s, i), e);
    safetensors_close(s);
    return rc;
}

static int is_gguf(bool *yes, const char *path, struct err *e)
{
    struct file_map map;
    int rc = file_map_open(&map, path, e);
    if (rc)
        return rc;
    *yes = map.len >= 4 && memcmp(map.data, "GGUF", 4) == 0;
    file_map_close(&map);
    return 0;
}

int source_verify_file(const char *path, uint64_t *done, struct progress *progress, struct err *e)
{
    struct reader r = {path, malloc(CHUNK_VALUES * sizeof(float)), done, progress};
    bool gguf = false;
    int rc = r.values ? is_gguf(&gguf, path, e) : err_set(e, ERR_MEMORY, "out of memory");
    if (!rc)
        rc = gguf ? verify_gguf(&r, e) : verify_safetensors(&r, e);
    free(r.values);
    return rc;
}
