#include "format/peft.h"

#include "base/file.h"
#include "base/size.h"
#include "format/checkpoint_int.h"
#include "format/fields.h"
#include "format/peft_config.h"
#include "format/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOT "base_model.model."

enum {
    CONFIG_BYTES_MAX = 1 << 20,
    ROLES = ROLE_DOWN - ROLE_Q + 1,
    NAME_MAX_BYTES = 256,
};

struct peft {
    struct arena arena;
    const struct config *base; /* while opening */
    struct peft_rules rules;   /* while opening */
    struct safetensors *file;
    const char *dir, *path, *base_sha256;
    const char *prefix; /* of the layers in module names; NULL: not met yet */
    uint32_t layers;
    struct peft_pair *pair; /* [layers][ROLES] */
};

static int out_of_memory(const char *dir, struct err *e)
{
    return err_set(e, ERR_MEMORY, "%s: out of memory", dir);
}

/* ---- the side files ---- */

static int read_config(struct peft *p, struct err *e)
{
    char *bytes;
    size_t n;
    const char *path = checkpoint_join(&p->arena, p->dir, "adapter_config.json");
    if (!path)
        return out_of_memory(p->dir, e);
    int rc = file_read(&bytes, &n, path, CONFIG_BYTES_MAX, e);
    if (rc)
        return rc;
    rc = peft_rules_parse(&p->rules, path, bytes, n, e);
    free(bytes);
    return rc;
}

/* gyeol.json, which our own training leaves beside the adapter. */
static int read_base(struct peft *p, const char *base_sha256, struct err *e)
{
    struct fields f;
    json_t *root;
    const char *sha = NULL, *path = checkpoint_join(&p->arena, p->dir, "gyeol.json");
    if (!path)
        return out_of_memory(p->dir, e);
    if (access(path, F_OK) != 0)
        return 0;
    int rc = fields_read(&f, &root, path, CONFIG_BYTES_MAX, e);
    if (rc)
        return rc;
    rc = fields_string(&f, "base_sha256", &sha, e);
    if (!rc && sha && base_sha256 && strcmp(sha, base_sha256) != 0)
        rc = err_set(e, ERR_FORMAT,
                     "%s: base_sha256 is %.64s, but the base is %.64s: the adapter was made for another",
                     path, sha, base_sha256);
    if (!rc && sha && !(p->base_sha256 = arena_copy(&p->arena, sha, strlen(sha))))
        rc = out_of_memory(p->dir, e);
    json_decref(root);
    return rc;
}

static int open_tensors(struct peft *p, struct err *e)
{
    const char *pickled = checkpoint_join(&p->arena, p->dir, "adapter_model.bin");
    p->path = checkpoint_join(&p->arena, p->dir, "adapter_model.safetensors");
    if (!p->path || !pickled)
        return out_of_memory(p->dir, e);
    if (access(p->path, F_OK) != 0 && access(pickled, F_OK) == 0)
        return err_set(e, ERR_FORMAT,
                       "%s is a program to run; want adapter_model.safetensors (save_pretrained writes it)",
                       pickled);
    return safetensors_open(&p->file, p->path, e);
}

/* ---- tensors to pairs ---- */

/* "base_model.model.MODULE.lora_A.weight": the module, and whether it is B. */
static bool split_name(char module[NAME_MAX_BYTES], bool *is_b, const char *name)
{
    static const char *const end[] = {".lora_A.weight", ".lora_A.default.weight", ".lora_B.weight",
                                      ".lora_B.default.weight"};
    size_t root = strlen(ROOT), n = strlen(name);
    if (n - root >= NAME_MAX_BYTES || strncmp(name, ROOT, root) != 0)
        return false;
    for (size_t i = 0; i < COUNT_OF(end); i++) {
        size_t k = strlen(end[i]);
        if (n > root + k && strcmp(name + n - k, end[i]) == 0) {
            snprintf(module, NAME_MAX_BYTES, "%.*s", (int)(n - root - k), name + root);
            *is_b = i >= 2;
            return true;
        }
    }
    return false;
}

/* A model with eyes may have been adapted as a whole; what concerns images has no say in what is read. */
static bool is_of_images(const char *module)
{
    return strstr(module, "vision_tower.") || strstr(module, "vision_model.") ||
           strstr(module, "multi_modal_projector.");
}

static const char *prefix_of(const char *module)
{
    static const char *const prefixes[] = {"model.", "language_model.model.", "model.language_model.", ""};
    for (size_t i = 0; i < COUNT_OF(prefixes); i++) {
        size_t n = strlen(prefixes[i]);
        if (strncmp(module, prefixes[i], n) == 0 && strncmp(module + n, "layers.", 7) == 0)
            return prefixes[i];
    }
    return NULL;
}

static struct peft_pair *pair_at(const struct peft *p, enum role r, uint32_t layer)
{
    return &p->pair[(size_t)layer * ROLES + (r - ROLE_Q)];
}

static int put(struct peft *p, const struct tensor *t, struct err *e)
{
    char module[NAME_MAX_BYTES], weight[NAME_MAX_BYTES + 8];
    bool is_b = false;
    struct place at;
    if (!split_name(module, &is_b, t->name))
        return err_set(e, ERR_FORMAT, "%s: %.150s is a tensor that a plain LoRA adapter does not have",
                       p->path, t->name);
    if (is_of_images(module))
        return 0;
    const char *prefix = prefix_of(module);
    snprintf(weight, sizeof weight, "%s.weight", module);
    if (!prefix || place_hf(&at, weight, prefix, p->base) != PLACE_FOUND || at.role < ROLE_Q ||
        at.role > ROLE_DOWN)
        return err_set(e, ERR_FORMAT, "%s: %.150s adapts no linear weight of the base's %u layers", p->path,
                       t->name, p->layers);
    if (p->prefix && p->prefix != prefix)
        return err_set(e, ERR_FORMAT, "%s: %.150s begins unlike the other modules", p->path, t->name);
    p->prefix = prefix;
    struct peft_pair *pair = pair_at(p, at.role, at.layer);
    const struct tensor **side = is_b ? &pair->b : &pair->a;
    if (*side)
        return err_set(e, ERR_FORMAT, "%s: %.100s and %.100s are the same, want one of them", p->path,
                       (*side)->name, t->name);
    *side = t;
    return 0;
}

/* ---- do tensors and rules agree ---- */

static int check_side(const struct peft *p, const struct tensor *t, size_t rows, size_t columns,
                      struct err *e)
{
    size_t row, bytes;
    if (t->type != DT_F32 && t->type != DT_F16 && t->type != DT_BF16)
        return err_set(e, ERR_FORMAT, "%s: %.150s is %s, want f32, f16 or bf16", p->path, t->name,
                       dtype_info[t->type].name);
    if (t->rank != 2 || t->dim[0] != rows || t->dim[1] != columns)
        return err_set(e, ERR_FORMAT, "%s: %.150s is [%zu, %zu], want [%zu, %zu]", p->path, t->name,
                       t->rank > 0 ? t->dim[0] : 1, t->rank > 1 ? t->dim[1] : 1, rows, columns);
    if (!dtype_row_bytes(t->type, columns, &row) || !size_mul(row, rows, &bytes) || bytes != t->bytes)
        return err_set(e, ERR_FORMAT, "%s: %.150s has %zu bytes, too many or too few", p->path, t->name,
                       t->bytes);
    return 0;
}

static int check_pair(struct peft *p, enum role r, uint32_t layer, struct err *e)
{
    struct peft_pair *pair = pair_at(p, r, layer);
    const struct tensor *any = pair->a ? pair->a : pair->b;
    const char *hf = role_hf_name(r, p->base) + strlen("model.layers.%u.");
    char module[NAME_MAX_BYTES];
    size_t dim[2];
    bool targeted;
    snprintf(module, sizeof module, "%slayers.%u.%.*s", p->prefix, layer,
             (int)(strlen(hf) - strlen(".weight")), hf);
    int rc = peft_rules_target(&p->rules, module, layer, &targeted, e);
    if (rc)
        return rc;
    if (any && !targeted)
        return err_set(e, ERR_FORMAT, "%s: %.150s is there, but adapter_config.json does not target it",
                       p->path, any->name);
    if (targeted && (!pair->a || !pair->b))
        return err_set(e, ERR_FORMAT, "%s: no lora_%c of %s, which adapter_config.json targets", p->path,
                       pair->a ? 'B' : 'A', module);
    if (!targeted)
        return 0;
    role_shape(r, p->base, dim);
    rc = peft_rules_scale(&p->rules, module, &pair->rank, &pair->scale, e);
    if (!rc)
        rc = check_side(p, pair->a, pair->rank, dim[1], e);
    return rc ? rc : check_side(p, pair->b, dim[0], pair->rank, e);
}

static int read_pairs(struct peft *p, struct err *e)
{
    int rc = 0;
    if (!(p->pair = arena_alloc(&p->arena, (size_t)p->layers * ROLES, sizeof *p->pair)))
        return out_of_memory(p->dir, e);
    for (size_t i = 0; !rc && i < safetensors_count(p->file); i++)
        rc = put(p, safetensors_at(p->file, i), e);
    if (!rc && !p->prefix)
        rc = err_set(e, ERR_FORMAT, "%s: no tensor that adapts a layer", p->path);
    for (uint32_t layer = 0; layer < p->layers; layer++)
        for (int r = ROLE_Q; !rc && r <= ROLE_DOWN; r++)
            rc = check_pair(p, (enum role)r, layer, e);
    return rc;
}

/* ---- the interface ---- */

static int open_all(struct peft *p, const char *base_sha256, struct err *e)
{
    int rc = read_config(p, e);
    if (!rc)
        rc = read_base(p, base_sha256, e);
    if (!rc)
        rc = open_tensors(p, e);
    if (!rc)
        rc = read_pairs(p, e);
    peft_rules_deinit(&p->rules);
    return rc;
}

int peft_open(struct peft **out, const char *dir, const struct config *base, const char *base_sha256,
              struct err *e)
{
    struct peft *p = calloc(1, sizeof *p);
    if (!p || !(p->dir = arena_copy(&p->arena, dir, strlen(dir)))) {
        free(p);
        return out_of_memory(dir, e);
    }
    p->base = base;
    p->layers = base->layers;
    int rc = open_all(p, base_sha256, e);
    if (rc)
        peft_close(p);
    else
        *out = p;
    return rc;
}

void peft_close(struct peft *p)
{
    if (!p)
        return;
    safetensors_close(p->file);
    arena_deinit(&p->arena);
    free(p);
}

struct peft_pair peft_get(const struct peft *p, enum role r, uint32_t layer)
{
    if (r < ROLE_Q || r > ROLE_DOWN || layer >= p->layers)
        return (struct peft_pair){0};
    return *pair_at(p, r, layer);
}

const char *peft_base_sha256(const struct peft *p)
{
    return p->base_sha256;
}

const char *peft_dir(const struct peft *p)
{
    return p->dir;
}
