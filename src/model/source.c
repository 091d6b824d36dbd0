#include "model/source.h"

#include "base/size.h"
#include "base/stop.h"
#include "compute/quant.h"
#include "format/fields.h"
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
    int rc = pack_source_sha256(found, NULL, s->checkpoint, e);
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
    float *space;
    size_t room;
    uint64_t done;
    struct progress *progress;
};

static int make_room(struct reader *r, size_t values, struct err *e)
{
    if (values <= r->room)
        return 0;
    free(r->space);
    r->space = malloc(values * sizeof *r->space);
    r->room = r->space ? values : 0;
    return r->space ? 0 : err_set(e, ERR_MEMORY, "out of memory for %zu weights", values);
}

static int verify_weight(struct reader *r, const struct weight *w, struct err *e)
{
    const struct tensor *t = &w->tensor;
    size_t rows = t->rank == 2 ? t->dim[0] : 1, columns = t->dim[t->rank - 1];
    size_t most = columns < CHUNK_VALUES ? CHUNK_VALUES / columns : 1;
    most = most < rows ? most : rows;
    int rc = make_room(r, most * columns, e);
    for (size_t row = 0, n; !rc && row < rows; row += n) {
        n = rows - row < most ? rows - row : most;
        rc = stop_requested() ? err_set(e, ERR_STOPPED, "stopped")
                              : weight_decode_rows(r->space, w, row, n, e);
        if (!rc && !all_finite(r->space, n * columns))
            rc = err_set(e, ERR_FORMAT, "%.120s holds an infinity or what is no number", t->name);
        progress_update(r->progress, r->done += n * columns);
    }
    return rc;
}

static int verify_pair(struct reader *r, const struct peft_pair *p, struct err *e)
{
    const struct weight a = {.tensor = *p->a}, b = {.tensor = *p->b};
    int rc = verify_weight(r, &a, e);
    return rc ? rc : verify_weight(r, &b, e);
}

static int verify_place(struct reader *r, const struct source *s, enum role role, uint32_t layer,
                        struct err *e)
{
    const struct weight *w = checkpoint_weight(s->checkpoint, role, layer);
    if (w && verify_weight(r, w, e))
        return err_prefix(e, "%s: ", s->base);
    if (!s->peft)
        return 0;
    struct peft_pair pair = peft_get(s->peft, role, layer);
    return pair.a && verify_pair(r, &pair, e) ? err_prefix(e, "%s: ", s->adapter) : 0;
}

int source_verify(const struct source *s, struct progress *progress, struct err *e)
{
    struct reader r = {.progress = progress};
    int rc = 0;
    for (uint32_t layer = 0; layer < checkpoint_config(s->checkpoint)->layers; layer++)
        for (int role = layer ? ROLE_FIRST_LAYER : 0; !rc && role < ROLE_COUNT; role++)
            rc = verify_place(&r, s, (enum role)role, layer, e);
    free(r.space);
    return rc;
}
