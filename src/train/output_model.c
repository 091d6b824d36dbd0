/* A whole model as a Hugging Face directory. */
#include "base/file.h"
#include "base/size.h"
#include "compute/quant.h"
#include "format/safetensors.h"
#include "train/output_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- model.safetensors ---- */

/* The tensors of a file, names and rounded values in memory of its own. */
struct weights {
    struct tensor *t; /* [n] */
    char (*name)[OUTPUT_NAME_MAX];
    unsigned char *rounded; /* NULL for f32: the parameters' own values */
    size_t n;
};

static void weights_deinit(struct weights *w)
{
    free(w->t);
    free(w->name);
    free(w->rounded);
}

static void add_weight(struct weights *w, const struct parameter *p, const struct config *c, enum dtype type,
                       unsigned char **at)
{
    size_t values = p->rows * p->cols, dim[2];
    int rank = role_shape(p->role, c, dim);
    struct tensor *t = &w->t[w->n];
    output_weight_name(w->name[w->n], p, c);
    *t = (struct tensor){.name = w->name[w->n],
                         .type = type,
                         .rank = rank,
                         .dim = {dim[0], rank > 1 ? dim[1] : 0},
                         .data = (const unsigned char *)p->value,
                         .bytes = values * dtype_info[type].bytes};
    if (type != DT_F32) {
        quant_encode(*at, type, p->value, values);
        t->data = *at;
        *at += t->bytes;
    }
    w->n++;
}

/* Embedding, layers, then what follows them, as Transformers' state_dict has it. */
static int collect(struct weights *w, const struct parameters *p, const struct config *c, enum dtype type,
                   struct err *e)
{
    w->t = calloc(p->n, sizeof *w->t);
    w->name = calloc(p->n, sizeof *w->name);
    if (type != DT_F32)
        w->rounded = malloc(p->count * dtype_info[type].bytes);
    if (!w->t || !w->name || (type != DT_F32 && !w->rounded))
        return err_set(e, ERR_MEMORY, "out of memory for the model's %zu weights", p->count);
    unsigned char *at = w->rounded;
    for (int pass = 0; pass < 3; pass++)
        for (size_t i = 0; i < p->n; i++) {
            enum role r = p->p[i].role;
            int when = r == ROLE_EMBEDDING ? 0 : r >= ROLE_FIRST_LAYER ? 1 : 2;
            if (when == pass)
                add_weight(w, &p->p[i], c, type, &at);
        }
    return 0;
}

static int write_weights(const char *dir, const struct parameters *p, const struct config *c, enum dtype type,
                         struct err *e)
{
    static const struct safetensors_pair metadata = {"format", "pt"};
    struct weights w = {0};
    char *path = NULL;
    int rc = collect(&w, p, c, type, e);
    if (!rc)
        rc = output_path(&path, dir, "model.safetensors", e);
    if (!rc)
        rc = safetensors_write(path, w.t, w.n, &metadata, 1, e);
    free(path);
    weights_deinit(&w);
    return rc;
}

/* ---- the rest of the directory ---- */

static int write_config(const char *dir, const struct config *c, enum dtype type, struct err *e)
{
    struct buf out = {0};
    char *text, *path;
    int rc = output_path(&path, dir, "config.json", e);
    if (rc)
        return rc;
    rc = config_to_json(&text, c, path, type, e);
    if (!rc) {
        buf_str(&out, text);
        buf_str(&out, "\n");
        rc = output_text(dir, "config.json", &out, e);
    }
    buf_deinit(&out);
    free(text);
    free(path);
    return rc;
}

static int copy_file(const char *dir, const char *from_dir, const char *name, struct err *e)
{
    struct file_map map;
    char *from = NULL, *to = NULL;
    int rc = output_path(&to, dir, name, e);
    if (!rc && asprintf(&from, "%s/%s", from_dir, name) < 0) {
        from = NULL;
        rc = err_set(e, ERR_MEMORY, "out of memory");
    }
    if (!rc && access(from, F_OK) == 0) {
        rc = file_map_open(&map, from, e);
        if (!rc) {
            rc = file_write(to, map.data, map.len, e);
            file_map_close(&map);
        }
    }
    free(from);
    free(to);
    return rc;
}

static bool same_directory(const char *a, const char *b)
{
    char *x = realpath(a, NULL), *y = realpath(b, NULL);
    bool same = x && y && strcmp(x, y) == 0;
    free(x);
    free(y);
    return same;
}

static int copy_words(const char *dir, const char *from, struct err *e)
{
    static const char *const name[] = {"tokenizer.json",
                                       "tokenizer.model",
                                       "tokenizer_config.json",
                                       "vocab.json",
                                       "merges.txt",
                                       "vocab.txt",
                                       "added_tokens.json",
                                       "special_tokens_map.json",
                                       "chat_template.jinja",
                                       "generation_config.json"};
    int rc = 0;
    if (same_directory(dir, from))
        return 0;
    for (size_t i = 0; !rc && i < COUNT_OF(name); i++)
        rc = copy_file(dir, from, name[i], e);
    return rc;
}

/* config.json last: a directory without one is not taken for a model. */
int output_model(const char *dir, const struct parameters *p, const struct config *c, enum dtype type,
                 const char *words_dir, struct err *e)
{
    char *text;
    if (type != DT_F32 && type != DT_BF16)
        return err_set(e, ERR_USAGE, "a model's weights are written as f32 or bf16, not as %s",
                       dtype_info[type].name);
    int rc = config_to_json(&text, c, dir, type, e); /* before a gigabyte is written */
    free(text);
    if (!rc)
        rc = write_weights(dir, p, c, type, e);
    if (!rc && words_dir)
        rc = copy_words(dir, words_dir, e);
    return rc ? rc : write_config(dir, c, type, e);
}
