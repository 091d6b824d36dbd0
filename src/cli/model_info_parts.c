#include "cli/model_info.h"

#include "base/size.h"
#include "cli/cli.h"
#include "format/fields.h"
#include "format/safetensors.h"
#include "model/kv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONFIG_BYTES_MAX = 1 << 20 };

/* ---- configurations ---- */

/* The decimal that people wrote: a float has no more than 7 digits of it. */
static json_t *real(float v)
{
    char text[40];
    snprintf(text, sizeof text, "%.7g", v);
    return json_real(strtod(text, NULL));
}

json_t *info_shape(const struct config *c)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "layers", (json_int_t)c->layers,
                     "width", (json_int_t)c->width, "heads", (json_int_t)c->heads, "kv_heads",
                     (json_int_t)c->kv_heads, "head_width", (json_int_t)c->head_width, "ff_width",
                     (json_int_t)c->ff_width, "vocabulary", (json_int_t)c->vocabulary, "context",
                     (json_int_t)c->context, "tied", (int)c->tied);
}

static json_t *rope(const struct config *c, const struct config_rope_kind *k)
{
    static const char *const scaling[] = {"none", "linear", "llama3", "factors"};
    json_t *v = json_pack("{s:o, s:I, s:s}", "base", real(k->theta), "width", (json_int_t)c->rope_width,
                          "scaling", scaling[k->scaling]);
    if (k->scaling == ROPE_LINEAR || k->scaling == ROPE_LLAMA3)
        json_object_set_new(v, "factor", real(k->factor));
    if (k->scaling == ROPE_LLAMA3)
        json_object_set_new(v, "original_context", json_integer((json_int_t)k->original_context));
    return v;
}

static json_t *or_none(float v)
{
    return v != 0 ? real(v) : json_null();
}

json_t *info_attention(const struct config *c)
{
    json_t *windowed = json_array();
    for (uint32_t i = 0; i < c->layers; i++)
        if (c->sliding[i])
            json_array_append_new(windowed, json_integer((json_int_t)i));
    bool any = json_array_size(windowed) > 0;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "scale", real(c->attention_scale), "softcap",
                     or_none(c->attention_softcap), "sliding_window",
                     any ? json_integer((json_int_t)c->sliding_window) : json_null(), "windowed_layers",
                     windowed, "rope", rope(c, &c->rope[0]), "rope_windowed",
                     any ? rope(c, &c->rope[1]) : json_null());
}

json_t *info_arithmetic(const struct config *c)
{
    static const char *const activation[] = {
        [ACT_SILU] = "silu", [ACT_GELU_TANH] = "gelu_tanh", [ACT_GELU] = "gelu"};
    return json_pack("{s:s, s:o, s:o, s:o, s:b, s:b, s:b}", "activation", activation[c->activation],
                     "norm_epsilon", real(c->norm_eps), "embedding_scale", real(c->embedding_scale),
                     "logit_softcap", or_none(c->logit_softcap), "post_norms", (int)c->post_norms, "qk_norm",
                     (int)c->qk_norm, "biases", (int)(c->qkv_bias || c->o_bias || c->mlp_bias));
}

json_t *info_memory(const struct config *c)
{
    json_t *v = json_object();
    for (int type = 0; type < MODEL_TYPES; type++)
        json_object_set_new(v, model_type_name[type],
                            json_integer((json_int_t)model_block_bytes(c, (enum model_type)type)));
    json_object_set_new(v, "kv_per_position", json_integer((json_int_t)(kv_bytes(c, 16) / 16)));
    return v;
}

uint64_t info_parameters(const struct config *c)
{
    uint64_t n = 0;
    for (int r = 0; r < ROLE_COUNT; r++) {
        size_t dim[2];
        int rank = role_shape((enum role)r, c, dim);
        uint64_t one = rank == 0 || r == ROLE_ROPE_FREQS ? 0 : rank == 1 ? dim[0] : (uint64_t)dim[0] * dim[1];
        n += r < ROLE_FIRST_LAYER ? one : one * c->layers;
    }
    return n;
}

int info_config_json(json_t **out, char model_type[64], const char *dir, struct err *e)
{
    static const char *const keys[] = {
        "hidden_size",       "num_hidden_layers", "num_attention_heads",     "num_key_value_heads",
        "intermediate_size", "vocab_size",        "max_position_embeddings", "hidden_act"};
    char path[4096];
    struct fields f;
    json_t *root;
    const char *type = "";
    snprintf(path, sizeof path, "%.4000s/config.json", dir);
    int rc = fields_read(&f, &root, path, CONFIG_BYTES_MAX, e);
    if (rc)
        return rc;
    rc = fields_string(&f, "model_type", &type, e);
    snprintf(model_type, 64, "%.63s", type);
    *out = json_object();
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (fields_get(&f, keys[i]))
            json_object_set(*out, keys[i], (json_t *)fields_get(&f, keys[i]));
    json_decref(root);
    return rc;
}

/* ---- tensors ---- */

struct tally {
    size_t tensors[DT_COUNT];
    uint64_t bytes[DT_COUNT];
};

static void count(struct tally *t, const struct tensor *tensor)
{
    t->tensors[tensor->type]++;
    t->bytes[tensor->type] += tensor->bytes;
}

static json_t *tally_json(const struct tally *t)
{
    json_t *v = json_object();
    for (int type = 0; type < DT_COUNT; type++)
        if (t->tensors[type])
            json_object_set_new(v, dtype_info[type].name,
                                json_pack("{s:I, s:I}", "tensors", (json_int_t)t->tensors[type], "bytes",
                                          (json_int_t)t->bytes[type]));
    return v;
}

json_t *info_gguf_tensors(const struct gguf *g)
{
    struct tally t = {0};
    for (size_t i = 0; i < gguf_tensors(g); i++)
        count(&t, gguf_tensor_at(g, i));
    return tally_json(&t);
}

int info_safetensors(json_t **out, uint64_t *parameters, const struct info_files *files, struct err *e)
{
    struct tally t = {0};
    *parameters = 0;
    for (size_t i = 0; i < files->n; i++) {
        struct safetensors *s;
        int rc = safetensors_open(&s, files->path[i], e);
        if (rc)
            return rc;
        for (size_t k = 0; k < safetensors_count(s); k++) {
            const struct tensor *tensor = safetensors_at(s, k);
            uint64_t values = tensor->type < DT_F64; /* numbers, not ids or packed bytes */
            for (int d = 0; d < tensor->rank; d++)
                values *= tensor->dim[d];
            *parameters += values;
            count(&t, tensor);
        }
        safetensors_close(s);
    }
    *out = tally_json(&t);
    return 0;
}

/* ---- words ---- */

json_t *info_tokenizer(const char *path)
{
    (void)path;
    return json_null();
}

json_t *info_chat_template(const char *path)
{
    (void)path;
    return json_null();
}

/* ---- adapters ---- */

static int read_fields(json_t *to, const char *path, const char *const *keys, size_t n, struct err *e)
{
    struct fields f;
    json_t *root;
    if (access(path, F_OK) != 0)
        return 0;
    int rc = fields_read(&f, &root, path, CONFIG_BYTES_MAX, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++)
        if (fields_get(&f, keys[i]))
            json_object_set(to, keys[i], (json_t *)fields_get(&f, keys[i]));
    json_decref(root);
    return 0;
}

int info_adapter(json_t **out, const char *dir, bool verify, struct err *e)
{
    static const char *const config[] = {"peft_type",
                                         "r",
                                         "lora_alpha",
                                         "use_rslora",
                                         "rank_pattern",
                                         "alpha_pattern",
                                         "target_modules",
                                         "bias",
                                         "base_model_name_or_path"},
                             *const notes[] = {"base_sha256", "template"};
    char path[4096];
    struct info_files files = {0};
    uint64_t parameters = 0;
    json_t *tensors = NULL, *v = *out = json_object();
    json_object_set_new(v, "path", cli_json_text(dir));
    snprintf(path, sizeof path, "%.4000s/adapter_config.json", dir);
    int rc = read_fields(v, path, config, COUNT_OF(config), e);
    snprintf(path, sizeof path, "%.4000s/gyeol.json", dir);
    if (!rc)
        rc = read_fields(v, path, notes, COUNT_OF(notes), e);
    snprintf(path, sizeof path, "%.4000s/adapter_model.safetensors", dir);
    if (!rc)
        rc = info_files_add(&files, path, e);
    if (!rc)
        rc = info_safetensors(&tensors, &parameters, &files, e);
    if (!rc)
        rc = info_files_read(&files, verify, e);
    if (!rc) {
        json_object_set_new(v, "parameters", json_integer((json_int_t)parameters));
        json_object_set_new(v, "tensors", tensors);
        json_object_set_new(v, "files", info_files_json(&files));
    }
    info_files_deinit(&files);
    return rc;
}

int info_judge(json_t **out, const char *dir, struct err *e)
{
    static const char *const keys[] = {"base", "adapter", "type", "template", "calibration"};
    char path[4096];
    *out = json_object();
    snprintf(path, sizeof path, "%.4000s/gyeol.json", dir);
    int rc = read_fields(*out, path, keys, COUNT_OF(keys), e);
    bool calibrated = json_object_get(*out, "calibration") != NULL;
    json_object_set_new(*out, "calibration", json_boolean(calibrated));
    return rc;
}

/* ---- text ---- */

/* Strings from files of others must not reach a terminal with control characters. */
static void print_string(const char *s)
{
    for (; *s; s++)
        putchar((unsigned char)*s < 0x20 || *s == 0x7F ? '?' : *s);
}

static void print_scalar(const json_t *v)
{
    if (json_is_string(v))
        print_string(json_string_value(v));
    else if (json_is_integer(v))
        printf("%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        printf("%.9g", json_real_value(v));
    else
        fputs(json_is_true(v) ? "yes" : json_is_false(v) ? "no" : "-", stdout);
}

static void print_list(const json_t *v)
{
    size_t i;
    json_t *one;
    json_array_foreach(v, i, one)
    {
        fputs(i ? ", " : "", stdout);
        print_scalar(one);
    }
    puts(i ? "" : "-");
}

static bool has_structure(const json_t *v)
{
    return (json_is_object(v) && json_object_size(v)) ||
           (json_is_array(v) && json_is_object(json_array_get(v, 0)));
}

static void print_members(const json_t *v, int depth, bool bytes)
{
    const char *key;
    json_t *one, *item;
    size_t i;
    char size[PROGRESS_BYTES];
    json_object_foreach((json_t *)v, key, one)
    {
        bool of_bytes = bytes || strcmp(key, "bytes") == 0;
        printf("%*s", 2 * depth, "");
        print_string(key);
        if (has_structure(one)) {
            puts("");
            if (json_is_object(one))
                print_members(one, depth + 1, strcmp(key, "memory") == 0);
            json_array_foreach(one, i, item) print_members(item, depth + 1, false);
            continue;
        }
        printf("%*s", (int)(24 - 2 * depth - (int)strlen(key)) > 1 ? 24 - 2 * depth - (int)strlen(key) : 1,
               "");
        if (json_is_array(one)) {
            print_list(one);
            continue;
        }
        print_scalar(one);
        if (of_bytes && json_is_integer(one))
            printf(" (%s)", progress_bytes(size, (double)json_integer_value(one)));
        puts("");
    }
}

void info_print(const json_t *v)
{
    print_members(v, 0, false);
}
