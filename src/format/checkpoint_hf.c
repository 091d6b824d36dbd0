/* A Hugging Face directory: config.json, and the tensors in model.safetensors or in the shards that
 * model.safetensors.index.json names. Pickled weights (pytorch_model.bin) are programs and are refused. */
#include "base/file.h"
#include "base/size.h"
#include "format/checkpoint_int.h"
#include "format/fields.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CONFIG_BYTES_MAX = 1 << 20,
    INDEX_BYTES_MAX = 4 << 20, /* 126 layers have 0.1 MB */
    SHARDS_MAX = 512,
};

/* Bare decoders, decoders inside models with eyes (two generations of names), and decoders saved without
 * their head. */
static const char *const prefixes[] = {"model.", "language_model.model.", "model.language_model.", ""};

static int out_of_memory(const struct checkpoint *c, struct err *e)
{
    return err_set(e, ERR_MEMORY, "%s: out of memory", c->path);
}

static int read_config(struct checkpoint *c, struct err *e)
{
    char *bytes;
    size_t n;
    const char *path = checkpoint_join(&c->arena, c->path, "config.json");
    if (!path)
        return out_of_memory(c, e);
    int rc = file_read(&bytes, &n, path, CONFIG_BYTES_MAX, e);
    if (rc)
        return rc;
    rc = config_from_json(&c->config, path, bytes, n, e);
    free(bytes);
    return rc;
}

/* ---- one tensor ---- */

struct sorting {
    struct checkpoint *c;
    struct slot *slots;
    const char *prefix;
};

static int sort_one(const struct sorting *s, const struct tensor *t, const char *file, struct err *e)
{
    struct place p;
    const struct config *c = &s->c->config;
    switch (place_hf(&p, t->name, s->prefix, c)) {
    case PLACE_FOUND:
        return checkpoint_put(s->slots, c, &p, t, file, e);
    case PLACE_UNKNOWN:
        return err_set(e, ERR_FORMAT,
                       "%s: %.120s is a tensor that a %u-layer %s of this configuration has no use for", file,
                       t->name, c->layers, c->architecture);
    default:
        return 0;
    }
}

static bool has_embedding(struct safetensors *file, const json_t *map, const char *prefix)
{
    char name[64];
    snprintf(name, sizeof name, "%sembed_tokens.weight", prefix);
    return map ? json_object_get(map, name) != NULL : safetensors_find(file, name) != NULL;
}

static int find_prefix(struct sorting *s, const json_t *map, const char *where, struct err *e)
{
    for (size_t i = 0; i < COUNT_OF(prefixes); i++)
        if (has_embedding(s->c->files ? s->c->shard[0] : NULL, map, prefixes[i])) {
            s->prefix = prefixes[i];
            return 0;
        }
    return err_set(e, ERR_FORMAT,
                   "%s: no tensor model.embed_tokens.weight, by this or another model's prefix", where);
}

/* ---- files ---- */

static int open_shard(struct checkpoint *c, const char *name, struct err *e)
{
    const char *path = checkpoint_join(&c->arena, c->path, name);
    if (!path)
        return out_of_memory(c, e);
    int rc = safetensors_open(&c->shard[c->files], path, e);
    if (!rc)
        c->file[c->files++] = path;
    return rc;
}

static bool make_room(struct checkpoint *c, size_t files)
{
    c->shard = arena_alloc(&c->arena, files, sizeof *c->shard);
    c->file = arena_alloc(&c->arena, files, sizeof *c->file);
    return c->shard && c->file;
}

static int sort_file(struct sorting *s, const char *name, struct err *e)
{
    struct checkpoint *c = s->c;
    if (!make_room(c, 1))
        return out_of_memory(c, e);
    int rc = open_shard(c, name, e);
    if (!rc)
        rc = find_prefix(s, NULL, c->file[0], e);
    for (size_t i = 0; !rc && i < safetensors_count(c->shard[0]); i++)
        rc = sort_one(s, safetensors_at(c->shard[0], i), c->file[0], e);
    return rc;
}

/* A name from the index must stay in the directory. */
static bool sound_name(const char *name)
{
    return *name && !strchr(name, '/') && !strstr(name, "..");
}

/* The shard of that name, opened when it is met first. */
static int find_shard(struct checkpoint *c, const char **names, const char *name, size_t *at, struct err *e)
{
    if (*at < c->files && strcmp(names[*at], name) == 0)
        return 0; /* neighbours in the index mostly share a shard */
    for (*at = 0; *at < c->files; (*at)++)
        if (strcmp(names[*at], name) == 0)
            return 0;
    if (c->files == SHARDS_MAX)
        return err_set(e, ERR_LIMIT, "%s: more than %d shards", c->path, SHARDS_MAX);
    names[c->files] = name;
    return open_shard(c, name, e);
}

static int sort_map(struct sorting *s, const char *index, json_t *map, struct err *e)
{
    struct checkpoint *c = s->c;
    const char **names = arena_alloc(&c->arena, SHARDS_MAX, sizeof *names), *key;
    json_t *value;
    size_t at = 0;
    if (!names || !make_room(c, SHARDS_MAX))
        return out_of_memory(c, e);
    int rc = find_prefix(s, map, index, e);
    if (rc)
        return rc;
    json_object_foreach(map, key, value)
    {
        const char *name = json_string_value(value);
        if (!name || !sound_name(name))
            return err_set(e, ERR_FORMAT,
                           "%s: weight_map gives %.100s the file \"%.100s\", want a file's name in %s", index,
                           key, name ? name : "(no string)", c->path);
        rc = find_shard(c, names, name, &at, e);
        if (rc)
            return rc;
        const struct tensor *t = safetensors_find(c->shard[at], key);
        if (!t)
            return err_set(e, ERR_FORMAT, "%s: no tensor %.100s, which %s says is there", c->file[at], key,
                           index);
        rc = sort_one(s, t, c->file[at], e);
        if (rc)
            return rc;
    }
    return 0;
}

static int sort_index(struct sorting *s, const char *name, struct err *e)
{
    struct fields f, map;
    json_t *root;
    const char *path = checkpoint_join(&s->c->arena, s->c->path, name);
    if (!path)
        return out_of_memory(s->c, e);
    int rc = fields_read(&f, &root, path, INDEX_BYTES_MAX, e);
    if (rc)
        return rc;
    rc = fields_object(&f, "weight_map", &map, e);
    if (!rc)
        rc = sort_map(s, path, json_object_get(root, "weight_map"), e);
    json_decref(root);
    return rc;
}

/* ---- which files ---- */

static bool is_there(struct checkpoint *c, const char *name)
{
    const char *path = checkpoint_join(&c->arena, c->path, name);
    return path && access(path, F_OK) == 0;
}

static bool is_weights_name(const char *name)
{
    size_t n = strlen(name), end = strlen(".safetensors");
    return name[0] != '.' && n > end && strcmp(name + n - end, ".safetensors") == 0 &&
           strncmp(name, "adapter", 7) != 0;
}

/* The only *.safetensors of the directory, copied; NULL when there is none or several. */
static char *only_file(struct checkpoint *c, size_t *found)
{
    DIR *d = opendir(c->path);
    char *name = NULL;
    *found = 0;
    for (struct dirent *at; d && (at = readdir(d));)
        if (is_weights_name(at->d_name) && (*found)++ == 0)
            name = arena_copy(&c->arena, at->d_name, strlen(at->d_name));
    if (d)
        closedir(d);
    return *found == 1 ? name : NULL;
}

static int sort_directory(struct sorting *s, struct err *e)
{
    size_t found;
    char *name;
    struct checkpoint *c = s->c;
    if (is_there(c, "model.safetensors.index.json"))
        return sort_index(s, "model.safetensors.index.json", e);
    if (is_there(c, "model.safetensors"))
        return sort_file(s, "model.safetensors", e);
    if ((name = only_file(c, &found)))
        return sort_file(s, name, e);
    if (found > 1)
        return err_set(e, ERR_FORMAT, "%s: %zu safetensors files, want one or a model.safetensors.index.json",
                       c->path, found);
    if (is_there(c, "pytorch_model.bin") || is_there(c, "pytorch_model.bin.index.json"))
        return err_set(e, ERR_FORMAT,
                       "%s: the weights are in pytorch_model.bin, which is a program to run; want "
                       "model.safetensors (save_pretrained with safe_serialization=True writes it)",
                       c->path);
    return err_set(e, ERR_MISSING, "%s: no model.safetensors", c->path);
}

int checkpoint_open_directory(struct checkpoint *c, struct err *e)
{
    int rc = read_config(c, e);
    if (rc)
        return rc;
    struct sorting s = {.c = c, .slots = calloc(checkpoint_places(&c->config), sizeof *s.slots)};
    if (!s.slots)
        return out_of_memory(c, e);
    rc = sort_directory(&s, e);
    if (!rc)
        rc = checkpoint_settle(c, s.slots, e);
    free(s.slots);
    return rc;
}
