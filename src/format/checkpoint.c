#include "format/checkpoint_int.h"

#include "base/size.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *checkpoint_join(struct arena *a, const char *path, const char *name)
{
    size_t n = strlen(path) + strlen(name) + 2;
    char *out = arena_alloc(a, n, 1);
    if (out)
        snprintf(out, n, "%s%s%s", path, *path && path[strlen(path) - 1] == '/' ? "" : "/", name);
    return out;
}

/* ---- what is there ---- */

static const char *what_is(enum part p)
{
    return p == PART_WEIGHT ? "weight" : "part of a quantised weight";
}

int checkpoint_put(struct slot *slots, const struct config *c, const struct place *p, const struct tensor *t,
                   const char *file, struct err *e)
{
    struct slot *s = &slots[checkpoint_index(c, p->role, p->layer)];
    if (s->part[p->part]) /* a file names no tensor twice, but two prefixes may mean the same one */
        return err_set(e, ERR_FORMAT, "%s: %.100s and %.100s are the same %s, want one of them", file,
                       s->part[p->part]->name, t->name, what_is(p->part));
    s->part[p->part] = t;
    if (p->part == PART_WEIGHT)
        s->file = file;
    return 0;
}

/* ---- is it what the configuration demands ---- */

static void shape_text(char out[64], const size_t *dim, int rank)
{
    int at = snprintf(out, 64, "[");
    for (int i = 0; i < rank && at < 40; i++)
        at += snprintf(out + at, 64 - (size_t)at, "%s%zu", i ? ", " : "", dim[i]);
    snprintf(out + at, 64 - (size_t)at, "]");
}

static int check_shape(const struct tensor *t, const char *file, const size_t want[2], int rank,
                       struct err *e)
{
    if (t->rank == rank && t->dim[0] == want[0] && (rank == 1 || t->dim[1] == want[1]))
        return 0;
    char found[64], wanted[64];
    shape_text(found, t->dim, t->rank);
    shape_text(wanted, want, rank);
    return err_set(e, ERR_FORMAT, "%s: %.120s is %s, want %s", file, t->name, found, wanted);
}

static int check_type(const struct tensor *t, const char *file, bool gguf, bool vector, struct err *e)
{
    bool plain = t->type == DT_F32 || t->type == DT_F16 || t->type == DT_BF16,
         number = dtype_info[t->type].number;
    if (gguf && !vector ? number : plain)
        return 0;
    return err_set(e, ERR_FORMAT, "%s: %.120s is %s, want %s", file, t->name, dtype_info[t->type].name,
                   gguf && !vector ? "a type of numbers" : "f32, f16 or bf16");
}

static int check_bytes(const struct tensor *t, const char *file, const size_t dim[2], int rank, struct err *e)
{
    size_t row, all, rows = rank == 2 ? dim[0] : 1;
    if (!dtype_row_bytes(t->type, dim[rank - 1], &row) || !size_mul(row, rows, &all) || all != t->bytes)
        return err_set(e, ERR_FORMAT, "%s: %.120s: %zu bytes of %s do not make its shape", file, t->name,
                       t->bytes, dtype_info[t->type].name);
    return 0;
}

static void set_flags(struct weight *w, const struct config *c, enum role r, bool gguf)
{
    bool norm = r == ROLE_NORM || r >= ROLE_ATTENTION_NORM;
    bool q = r == ROLE_Q || r == ROLE_Q_BIAS, k = r == ROLE_K || r == ROLE_K_BIAS;
    w->plus_one = norm && c->norm_plus_one;
    w->minus_one = norm && gguf && c->post_norms; /* Gemma's, whose norms hold 1+w there */
    w->permuted = gguf && strcmp(c->architecture, "llama") == 0 && (q || k);
    w->heads = w->permuted ? q ? c->heads : c->kv_heads : 0;
}

static int missing(const struct checkpoint *c, enum role r, uint32_t layer, struct err *e)
{
    char name[100];
    const char *pattern = c->gguf ? role_gguf_name(r) : role_hf_name(r, &c->config),
               *number = strstr(pattern, "%u");
    if (number)
        snprintf(name, sizeof name, "%.*s%u%s", (int)(number - pattern), pattern, layer, number + 2);
    else
        snprintf(name, sizeof name, "%s", pattern);
    return err_set(e, ERR_FORMAT, "%s: no tensor %s, which the configuration demands", c->path, name);
}

static int settle(struct checkpoint *c, enum role r, uint32_t layer, const struct slot *s, struct weight *w,
                  struct err *e)
{
    size_t dim[2];
    int rank = role_shape(r, &c->config, dim), rc;
    const struct tensor *t = s->part[PART_WEIGHT];
    if (rank == 0)
        return 0;
    if (!t)
        return missing(c, r, layer, e);
    set_flags(w, &c->config, r, c->gguf != NULL);
    w->tensor = *t;
    if (s->part[PART_STATE])
        return checkpoint_nf4(w, s, dim, e);
    for (int p = PART_WEIGHT + 1; p < PART_COUNT; p++)
        if (s->part[p])
            return err_set(e, ERR_FORMAT,
                           "%s: %.120s is there, but %.120s.quant_state.bitsandbytes__nf4 is not", s->file,
                           s->part[p]->name, t->name);
    rc = check_shape(t, s->file, dim, rank, e);
    if (!rc)
        rc = check_type(t, s->file, c->gguf != NULL, rank == 1, e);
    return rc ? rc : check_bytes(t, s->file, dim, rank, e);
}

int checkpoint_settle(struct checkpoint *c, const struct slot *slots, struct err *e)
{
    c->weight = arena_alloc(&c->arena, checkpoint_places(&c->config), sizeof *c->weight);
    if (!c->weight)
        return err_set(e, ERR_MEMORY, "%s: out of memory", c->path);
    for (uint32_t layer = 0; layer < c->config.layers; layer++)
        for (int r = layer ? ROLE_FIRST_LAYER : 0; r < ROLE_COUNT; r++) {
            size_t i = checkpoint_index(&c->config, (enum role)r, layer);
            int rc = settle(c, (enum role)r, layer, &slots[i], &c->weight[i], e);
            if (rc)
                return rc;
        }
    const struct weight *head = checkpoint_weight(c, ROLE_HEAD, 0);
    c->config.bf16_tables = checkpoint_weight(c, ROLE_EMBEDDING, 0)->tensor.type == DT_BF16 &&
                            (!head || head->tensor.type == DT_BF16);
    return 0;
}

/* ---- the rest of the interface ---- */

/* Configuration and weights of c->gguf. */
static int read_gguf(struct checkpoint *c, struct err *e)
{
    int rc = config_from_gguf(&c->config, c->gguf, e);
    if (rc)
        return rc;
    struct slot *slots = calloc(checkpoint_places(&c->config), sizeof *slots);
    if (!slots)
        return err_set(e, ERR_MEMORY, "%s: out of memory", c->path);
    for (size_t i = 0; !rc && i < gguf_tensors(c->gguf); i++) {
        const struct tensor *t = gguf_tensor_at(c->gguf, i);
        struct place p;
        enum placing is = place_gguf(&p, t->name, &c->config);
        if (is == PLACE_FOUND)
            rc = checkpoint_put(slots, &c->config, &p, t, c->path, e);
        else if (is == PLACE_UNKNOWN)
            rc = err_set(e, ERR_FORMAT, "%s: %.120s is a tensor that a %u-layer %s has no use for", c->path,
                         t->name, c->config.layers, c->config.architecture);
    }
    if (!rc)
        rc = checkpoint_settle(c, slots, e);
    free(slots);
    return rc;
}

static int open_gguf(struct checkpoint *c, struct err *e)
{
    int rc = gguf_open(&c->gguf, c->path, e);
    if (!rc)
        rc = read_gguf(c, e);
    if (rc)
        return rc;
    c->file = arena_alloc(&c->arena, 1, sizeof *c->file);
    if (!c->file)
        return err_set(e, ERR_MEMORY, "%s: out of memory", c->path);
    c->file[c->files++] = c->path;
    return 0;
}

static struct checkpoint *new_checkpoint(const char *path, struct err *e)
{
    struct checkpoint *c = calloc(1, sizeof *c);
    if (c && (c->path = arena_copy(&c->arena, path, strlen(path))))
        return c;
    checkpoint_close(c);
    err_set(e, ERR_MEMORY, "%s: out of memory", path);
    return NULL;
}

/* Gives c to the caller, or closes what could not be read. */
static int hand_over(struct checkpoint **out, struct checkpoint *c, int rc)
{
    if (rc)
        checkpoint_close(c);
    else
        *out = c;
    return rc;
}

int checkpoint_open(struct checkpoint **out, const char *path, struct err *e)
{
    struct stat st;
    if (stat(path, &st))
        return err_errno(e, "%s", path);
    struct checkpoint *c = new_checkpoint(path, e);
    if (!c)
        return ERR_MEMORY;
    return hand_over(out, c, S_ISDIR(st.st_mode) ? checkpoint_open_directory(c, e) : open_gguf(c, e));
}

int checkpoint_open_bytes(struct checkpoint **out, const char *name, const unsigned char *bytes, size_t n,
                          struct err *e)
{
    struct checkpoint *c = new_checkpoint(name, e);
    if (!c)
        return ERR_MEMORY;
    int rc = gguf_parse(&c->gguf, name, bytes, n, e);
    return hand_over(out, c, rc ? rc : read_gguf(c, e));
}

void checkpoint_close(struct checkpoint *c)
{
    if (!c)
        return;
    gguf_close(c->gguf);
    for (size_t i = 0; c->shard && i < c->files; i++)
        safetensors_close(c->shard[i]);
    arena_deinit(&c->arena);
    free(c);
}

const char *checkpoint_path(const struct checkpoint *c)
{
    return c->path;
}

const struct config *checkpoint_config(const struct checkpoint *c)
{
    return &c->config;
}

const struct gguf *checkpoint_gguf(const struct checkpoint *c)
{
    return c->gguf;
}

const struct weight *checkpoint_weight(const struct checkpoint *c, enum role r, uint32_t layer)
{
    if (r >= ROLE_FIRST_LAYER && layer >= c->config.layers)
        return NULL;
    const struct weight *w = &c->weight[checkpoint_index(&c->config, r, layer)];
    return w->tensor.name ? w : NULL;
}

size_t checkpoint_files(const struct checkpoint *c)
{
    return c->files;
}

const char *checkpoint_file(const struct checkpoint *c, size_t i)
{
    return c->file[i];
}
