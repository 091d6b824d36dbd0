/* config.json of the families this engine computes. What a file leaves out has the value of that family's
 * configuration class in Transformers (configuration_llama.py, _mistral.py, _gemma2.py, _gemma3.py). Which
 * fields a family knows is decided there and in its modeling file: hidden_act means nothing to Gemma, biases
 * nothing to Mistral, windows nothing to Llama, layer_types nothing to either. */
#include "base/size.h"
#include "format/config_int.h"

#include <math.h>
#include <string.h>

#define GEMMA                                                                                                \
    .width = 2304, .layers = 26, .heads = 8, .kv_heads = 4, .head_width = 256, .ff_width = 9216,             \
    .norm_eps = 1e-6f, .activation = ACT_GELU_TANH, .tied = true, .norm_plus_one = true, .post_norms = true, \
    .sliding_window = 4096, .bos = 2, .eos = 1, .pad = 0
#define LLAMA                                                                                                \
    .width = 4096, .layers = 32, .heads = 32, .norm_eps = 1e-6f, .activation = ACT_SILU,                     \
    .vocabulary = 32000, .rope = {{.theta = 10000}, {.theta = 10000}}, .bos = 1, .eos = 2, .pad = -1

static const struct family {
    const char *model_type;
    bool gemma, local_rope;
    bool attention_bias, mlp_bias, attention_softcap; /* fields that it reads */
    uint32_t period;                                  /* of windowed layers; 0: all of them */
    struct config defaults;
} families[] = {
    {"llama", .attention_bias = true, .mlp_bias = true,
     .defaults = {.architecture = "llama", LLAMA, .ff_width = 11008, .context = 2048}},
    {"mistral", .defaults = {.architecture = "mistral",
                             LLAMA,
                             .ff_width = 14336,
                             .kv_heads = 8,
                             .context = 131072,
                             .sliding_window = 4096}},
    {"gemma2", .gemma = true, .attention_bias = true, .attention_softcap = true, .period = 2,
     .defaults = {.architecture = "gemma2",
                  GEMMA,
                  .vocabulary = 256000,
                  .context = 8192,
                  .attention_softcap = 50,
                  .logit_softcap = 30,
                  .rope = {{.theta = 10000}, {.theta = 10000}}}},
    {"gemma3_text", .gemma = true, .local_rope = true, .attention_bias = true, .period = 6,
     .defaults = {.architecture = "gemma3",
                  GEMMA,
                  .vocabulary = 262208,
                  .context = 131072,
                  .qk_norm = true,
                  .rope = {{.theta = 1000000}, {.theta = 10000}}}},
};

static int find_family(const struct family **out, const struct fields *f, struct err *e)
{
    const char *type = "";
    int rc = fields_string(f, "model_type", &type, e);
    for (size_t i = 0; !rc && i < COUNT_OF(families); i++)
        if (strcmp(families[i].model_type, type) == 0) {
            *out = &families[i];
            return 0;
        }
    return rc ? rc
              : fields_bad(f, "model_type",
                           "\"llama\", \"mistral\", \"gemma2\", \"gemma3\" or \"gemma3_text\"", e);
}

static int read_numbers(struct config *c, const struct fields *f, struct err *e)
{
    for (size_t i = 0; i < CONFIG_NUMBERS; i++) {
        const struct config_number *n = &config_numbers[i];
        int rc = fields_u32(f, n->json, config_number_at(c, n), 1, n->max, e);
        if (rc)
            return rc;
    }
    /* null is "not given", and then head for head, whatever the class gives when the field is absent. */
    if (fields_is_null(f, "num_key_value_heads"))
        c->kv_heads = 0;
    if (fields_is_null(f, "head_dim"))
        c->head_width = 0;
    return fields_positive(f, "rms_norm_eps", &c->norm_eps, e);
}

static int read_activation(struct config *c, const struct fields *f, const char *key, struct err *e)
{
    static const struct {
        const char *name;
        enum config_activation is;
    } known[] = {{"silu", ACT_SILU},          {"swish", ACT_SILU},
                 {"gelu", ACT_GELU},          {"gelu_pytorch_tanh", ACT_GELU_TANH},
                 {"gelu_new", ACT_GELU_TANH}, {"gelu_fast", ACT_GELU_TANH}};
    const char *name = NULL;
    int rc = fields_string(f, key, &name, e);
    if (rc || !name)
        return rc;
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (strcmp(known[i].name, name) == 0) {
            c->activation = known[i].is;
            return 0;
        }
    return fields_bad(f, key, "\"silu\", \"gelu\", \"gelu_pytorch_tanh\" or \"gelu_new\"", e);
}

static int read_biases(struct config *c, const struct fields *f, const struct family *family, struct err *e)
{
    int rc = 0;
    if (family->attention_bias)
        rc = fields_bool(f, "attention_bias", &c->qkv_bias, e);
    c->o_bias = c->qkv_bias;
    if (!rc && family->mlp_bias)
        rc = fields_bool(f, "mlp_bias", &c->mlp_bias, e);
    return rc ? rc : fields_bool(f, "tie_word_embeddings", &c->tied, e);
}

/* ---- windows ---- */

static int read_layer_types(struct config *c, const struct fields *f, struct err *e)
{
    const json_t *types = fields_get(f, "layer_types");
    if (!json_is_array(types) || json_array_size(types) != c->layers)
        return fields_bad(f, "layer_types", "a list of as many as num_hidden_layers", e);
    for (uint32_t i = 0; i < c->layers; i++) {
        const char *type = json_string_value(json_array_get(types, i));
        bool sliding = type && strcmp(type, "sliding_attention") == 0;
        if (!sliding && (!type || strcmp(type, "full_attention") != 0))
            return err_set(e, ERR_FORMAT,
                           "%s: %slayer_types[%u] is %.40s, want \"full_attention\" or \"sliding_attention\"",
                           f->file, f->scope, i, type ? type : "no string");
        if (sliding && c->sliding_window == 0)
            return fields_bad(f, "sliding_window", "a number: layer_types has windowed layers", e);
        c->sliding[i] = sliding;
    }
    return 0;
}

static int read_windows(struct config *c, const struct fields *f, const struct family *family, struct err *e)
{
    uint32_t period = family->period;
    if (c->sliding_window == 0)
        return 0; /* a family without windows, whatever the file says */
    int rc = fields_u32(f, "sliding_window", &c->sliding_window, 1, 1u << 30, e);
    if (fields_is_null(f, "sliding_window"))
        c->sliding_window = 0;
    if (!rc && family->local_rope)
        rc = fields_u32(f, "sliding_window_pattern", &period, 1, CONFIG_LAYERS_MAX, e);
    if (rc)
        return rc;
    if (family->gemma && fields_get(f, "layer_types"))
        return read_layer_types(c, f, e);
    if (c->sliding_window == 0 && family->local_rope && period > 1)
        return fields_bad(f, "sliding_window", "a number: local layers have windows", e);
    config_set_period(c, period);
    return 0;
}

/* ---- what else multiplies ---- */

static int read_softcap(float *cap, const struct fields *f, const char *key, struct err *e)
{
    if (fields_is_null(f, key))
        *cap = 0;
    return fields_positive(f, key, cap, e);
}

/* Gemma 3's configuration class has attn_logit_softcapping too, but its attention is never told. */
static int read_gemma(struct config *c, const struct fields *f, const struct family *family, struct err *e)
{
    float scalar = 256;
    int rc = fields_positive(f, "query_pre_attn_scalar", &scalar, e);
    if (!rc && family->attention_softcap)
        rc = read_softcap(&c->attention_softcap, f, "attn_logit_softcapping", e);
    if (!rc)
        rc = read_softcap(&c->logit_softcap, f, "final_logit_softcapping", e);
    c->attention_scale = (float)(1 / sqrt(scalar));
    c->embedding_scale = (float)sqrt(c->width);
    return rc;
}

/* HyperCLOVA X configurations carry the multipliers of maximal update parametrisation, nearly always 1. */
static int read_multipliers(struct config *c, const struct fields *f, struct err *e)
{
    static const char *const other[] = {"residual_multiplier", "logits_scaling"};
    float attention = 1;
    c->embedding_scale = 1;
    int rc = fields_positive(f, "embedding_multiplier", &c->embedding_scale, e);
    if (!rc)
        rc = fields_positive(f, "attention_multiplier", &attention, e);
    if (attention != 1)
        c->attention_scale = attention;
    for (size_t i = 0; !rc && i < COUNT_OF(other); i++) {
        float one = 1;
        rc = fields_f32(f, other[i], &one, e);
        if (!rc && one != 1)
            rc = fields_bad(f, other[i], "1", e);
    }
    return rc;
}

/* Arithmetic that only variants have, each with a field that says so. */
static int refuse_variants(const struct fields *f, struct err *e)
{
    static const char *const flag[] = {
        "use_bidirectional_attention", "use_post_norm", "use_qk_norm", "qk_norm", "alibi", "parallel_attn"};
    static const char *const count[] = {"num_local_experts", "num_experts", "n_routed_experts"};
    for (size_t i = 0; i < COUNT_OF(flag); i++)
        if (json_is_true(fields_get(f, flag[i])))
            return fields_bad(f, flag[i], "false", e);
    for (size_t i = 0; i < COUNT_OF(count); i++) {
        uint32_t one = 1;
        if (fields_u32(f, count[i], &one, 0, UINT32_MAX, e) || one > 1)
            return fields_bad(f, count[i], "at most 1: mixtures of experts are not computed", e);
    }
    return 0;
}

static int want_string(const struct fields *f, const char *key, const char *by_default, const char *want,
                       struct err *e)
{
    const char *found = by_default;
    int rc = fields_string(f, key, &found, e);
    return rc || strcmp(found, want) == 0 ? rc : fields_bad(f, key, want, e);
}

static int want_bool(const struct fields *f, const char *key, bool want, struct err *e)
{
    bool found = false;
    int rc = fields_bool(f, key, &found, e);
    return rc || found == want ? rc : fields_bad(f, key, want ? "true" : "false", e);
}

/* Of all quantised folders only bitsandbytes' 4-bit nf4 is read; absent fields have bitsandbytes' own
 * defaults. */
static int check_quantisation(const struct fields *f, struct err *e)
{
    struct fields q;
    if (!fields_get(f, "quantization_config"))
        return 0;
    int rc = fields_object(f, "quantization_config", &q, e);
    if (!rc)
        rc = want_string(&q, "quant_method", "missing", "bitsandbytes", e);
    if (!rc)
        rc = want_bool(&q, "load_in_8bit", false, e);
    if (!rc)
        rc = want_bool(&q, "load_in_4bit", true, e);
    if (!rc)
        rc = want_string(&q, "bnb_4bit_quant_type", "fp4", "nf4", e);
    if (!rc)
        rc = want_string(&q, "bnb_4bit_quant_storage", "uint8", "uint8", e);
    return rc;
}

/* ---- names and ids ---- */

/* A token id, or the first of a list of them (several ways to end). */
static int read_id(int32_t *id, const struct fields *f, const char *key, struct err *e)
{
    const json_t *v = fields_get(f, key);
    if (fields_is_null(f, key))
        *id = -1;
    if (json_is_array(v))
        v = json_array_get(v, 0);
    if (!v)
        return 0;
    if (!json_is_integer(v))
        return fields_bad(f, key, "a token id", e);
    json_int_t i = json_integer_value(v);
    *id = i >= 0 && i <= INT32_MAX ? (int32_t)i : -1;
    return 0;
}

static int read_ids(struct config *c, const struct fields *f, struct err *e)
{
    int rc = read_id(&c->bos, f, "bos_token_id", e);
    if (!rc)
        rc = read_id(&c->eos, f, "eos_token_id", e);
    return rc ? rc : read_id(&c->pad, f, "pad_token_id", e);
}

static int read_name(struct config *c, const struct fields *f, struct err *e)
{
    const char *name = "";
    int rc = fields_string(f, "_name_or_path", &name, e);
    config_set_name(c, name, strlen(name));
    return rc;
}

/* ---- the whole ---- */

static int read_text(struct config *c, const struct fields *f, const struct family *family, struct err *e)
{
    *c = family->defaults;
    int rc = read_numbers(c, f, e);
    if (!rc)
        rc = read_activation(c, f, family->gemma ? "hidden_activation" : "hidden_act", e);
    if (!rc)
        rc = read_biases(c, f, family, e);
    if (!rc)
        rc = config_rope_json(c, f, family->local_rope, e);
    if (!rc)
        rc = read_windows(c, f, family, e);
    if (!rc)
        rc = family->gemma ? read_gemma(c, f, family, e) : read_multipliers(c, f, e);
    if (!rc)
        rc = refuse_variants(f, e);
    return rc;
}

/* What Gemma3ForConditionalGeneration does otherwise than Gemma3ForCausalLM: its logits are never capped, and
 * the file's own tie_word_embeddings, outside text_config, can untie the head as well. */
static int read_eyes(struct config *c, const struct fields *root, struct err *e)
{
    bool tied = true;
    int rc = fields_bool(root, "tie_word_embeddings", &tied, e);
    c->tied = c->tied && tied;
    c->logit_softcap = 0;
    return rc;
}

static int read_root(struct config *c, const struct fields *root, struct err *e)
{
    struct fields text = *root;
    const struct family *family = &families[COUNT_OF(families) - 1];
    const char *type = "";
    int rc = fields_string(root, "model_type", &type, e);
    /* Gemma 3 with eyes: the decoder's fields stand in text_config, ids and quantisation outside it. */
    bool with_eyes = !rc && strcmp(type, "gemma3") == 0;
    if (with_eyes && fields_get(root, "text_config"))
        rc = fields_object(root, "text_config", &text, e);
    if (!rc && !with_eyes)
        rc = find_family(&family, &text, e);
    if (!rc)
        rc = read_text(c, &text, family, e);
    if (!rc && with_eyes)
        rc = read_eyes(c, root, e);
    if (!rc && with_eyes)
        rc = read_ids(c, &text, e);
    if (!rc)
        rc = read_ids(c, root, e);
    if (!rc)
        rc = read_name(c, root, e);
    if (!rc)
        rc = check_quantisation(root, e);
    return rc ? rc : check_quantisation(&text, e);
}

int config_from_json(struct config *c, const char *name, const char *bytes, size_t n, struct err *e)
{
    struct fields root;
    json_t *owned;
    int rc = fields_parse(&root, &owned, name, bytes, n, e);
    if (rc)
        return rc;
    rc = read_root(c, &root, e);
    json_decref(owned);
    return rc ? rc : config_finish(c, name, e);
}
