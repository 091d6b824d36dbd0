/* Model folders that a test puts together: a temporary folder, and tensors to be written into it. */
#ifndef GYEOL_TESTS_MODEL_FOLDER_H
#define GYEOL_TESTS_MODEL_FOLDER_H

#include "base/arena.h"
#include "base/file.h"
#include "format/checkpoint.h"
#include "format/safetensors.h"

#include <dirent.h>
#include <unistd.h>

#include "testing.h"

static char folder[] = "/tmp/gyeol-model-XXXXXX";

static inline int folder_new(void **state)
{
    (void)state;
    memcpy(folder, "/tmp/gyeol-model-XXXXXX", sizeof folder);
    return mkdtemp(folder) ? 0 : -1;
}

static inline const char *in_folder(const char *name)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static inline void folder_empty(void)
{
    DIR *d = opendir(folder);
    for (struct dirent *at; (at = readdir(d));)
        unlink(in_folder(at->d_name));
    closedir(d);
}

static inline int folder_remove(void **state)
{
    (void)state;
    folder_empty();
    return rmdir(folder);
}

static inline void put_text(const char *name, const char *text)
{
    ok(file_write(in_folder(name), text, strlen(text), &error));
}

/* ---- tensors ---- */

struct bag {
    struct tensor t[400];
    size_t n;
    struct arena arena;
    struct rng rng;
};

static inline struct tensor *bag_add(struct bag *b, const char *name, enum dtype type, int rank, size_t d0,
                                     size_t d1, const void *data)
{
    size_t row, rows = rank == 2 ? d0 : 1;
    struct tensor *t = &b->t[b->n++];
    assert_true(b->n <= sizeof b->t / sizeof *b->t);
    assert_true(dtype_row_bytes(type, rank == 2 ? d1 : d0, &row));
    unsigned char *bytes = arena_alloc(&b->arena, rows * row + 1, 1);
    *t = (struct tensor){arena_copy(&b->arena, name, strlen(name)), type, rank, {d0, d1}, bytes, rows * row};
    if (data)
        memcpy(bytes, data, t->bytes);
    for (size_t i = 0; !data && type == DT_F32 && i < t->bytes / 4; i++) {
        float f = (float)(rng_next(&b->rng) >> 40) / (1 << 23) - 1;
        memcpy(bytes + 4 * i, &f, 4);
    }
    return t;
}

/* A role's tensor as Hugging Face names it, "model." replaced by prefix. */
static inline void bag_role(struct bag *b, const struct config *c, enum role r, uint32_t layer,
                            const char *prefix)
{
    char pattern[200], name[200];
    size_t dim[2];
    int rank = role_shape(r, c, dim);
    const char *hf = role_hf_name(r, c);
    if (rank == 0 || !hf)
        return;
    const char *rest = strncmp(hf, "model.", 6) == 0 ? hf + 6 : NULL;
    snprintf(pattern, sizeof pattern, "%s%s", rest ? prefix : "", rest ? rest : hf);
    const char *number = strstr(pattern, "%u");
    if (number)
        snprintf(name, sizeof name, "%.*s%u%s", (int)(number - pattern), pattern, layer, number + 2);
    else
        snprintf(name, sizeof name, "%s", pattern);
    bag_add(b, name, DT_F32, rank, dim[0], dim[1], NULL);
}

static inline struct bag *bag_model(const struct config *c, const char *prefix)
{
    struct bag *b = calloc(1, sizeof *b);
    b->rng = (struct rng){7};
    for (uint32_t layer = 0; layer < c->layers; layer++)
        for (int r = layer ? ROLE_FIRST_LAYER : 0; r < ROLE_COUNT; r++)
            bag_role(b, c, (enum role)r, layer, prefix);
    return b;
}

static inline struct tensor *bag_find(struct bag *b, const char *name)
{
    for (size_t i = 0; i < b->n; i++)
        if (strcmp(b->t[i].name, name) == 0)
            return &b->t[i];
    fail_msg("no tensor %s to spoil", name);
    return NULL;
}

static inline void bag_write(const struct bag *b, size_t from, size_t to, const char *name)
{
    ok(safetensors_write(in_folder(name), b->t + from, to - from, NULL, 0, &error));
}

static inline void bag_free(struct bag *b)
{
    arena_deinit(&b->arena);
    free(b);
}

static inline struct config config_of(const char *json)
{
    struct config c;
    ok(config_from_json(&c, "config.json", json, strlen(json), &error));
    return c;
}

#endif
