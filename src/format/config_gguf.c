/* The configuration in GGUF metadata. It says less than config.json, and readers fill in the rest by
 * architecture (llama.cpp, llama-model.cpp, load_hparams): no scale of queries but the head width's (27B
 * Gemmas excepted), no window for Mistral, which travels as "llama"; Gemma norms are stored as 1+w. */
#include "base/size.h"
#include "format/config_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define KEY_MAX 96

static const struct family {
    const char *name;
    bool gemma, local_rope;
    uint32_t period, wide; /* wide: layers of the size whose queries are scaled by width / heads */
    struct config defaults;
} families[] = {
    {.name = "llama", .defaults = {.architecture = "llama", .activation = ACT_SILU}},
    {.name = "gemma2",
     .gemma = true,
     .period = 2,
     .wide = 46,
     .defaults = {.architecture = "gemma2",
                  .activation = ACT_GELU_TANH,
                  .post_norms = true,
                  .attention_softcap = 50,
                  .logit_softcap = 30,
                  .sliding_window = 4096}},
    {.name = "gemma3",
     .gemma = true,
     .local_rope = true,
     .period = 6,
     .wide = 62,
     .defaults =
         {.architecture = "gemma3", .activation = ACT_GELU_TANH, .post_norms = true, .qk_norm = true}},
};

static const char *key_of(char out[KEY_MAX], const struct config *c, const char *rest)
{
    snprintf(out, KEY_MAX, "%s.%s", c->architecture, rest);
    return out;
}

static int find_family(const struct family **out, const struct gguf *g, struct err *e)
{
    struct gguf_string s = {"", 0};
    int rc = gguf_get_string(g, "general.architecture", &s, e);
    for (size_t i = 0; !rc && i < COUNT_OF(families); i++)
        if (strlen(families[i].name) == s.len && memcmp(families[i].name, s.data, s.len) == 0) {
            *out = &families[i];
            return 0;
        }
    return rc ? rc
              : err_set(e, ERR_FORMAT, "%s: general.architecture is \"%.*s\", want llama, gemma2 or gemma3",
                        gguf_name(g), (int)(s.len < 40 ? s.len : 40), s.data);
}

static int get_in_range(const struct config *c, const struct gguf *g, const char *rest, uint32_t *out,
                        uint32_t max, struct err *e)
{
    char key[KEY_MAX];
    uint32_t v = 0;
    if (!gguf_find(g, key_of(key, c, rest)))
        return 0;
    int rc = gguf_get_u32(g, key, &v, e);
    if (!rc && (v == 0 || v > max))
        rc = err_set(e, ERR_FORMAT, "%s: %s is %u, want 1 to %u", gguf_name(g), key, v, max);
    if (!rc)
        *out = v;
    return rc;
}

static int get_positive(const struct config *c, const struct gguf *g, const char *rest, float *out,
                        struct err *e)
{
    char key[KEY_MAX];
    float v = 0;
    if (!gguf_find(g, key_of(key, c, rest)))
        return 0;
    int rc = gguf_get_f32(g, key, &v, e);
    if (!rc && !(v > 0 && isfinite(v)))
        rc = err_set(e, ERR_FORMAT, "%s: %s is %g, want a number above 0", gguf_name(g), key, v);
    if (!rc)
        *out = v;
    return rc;
}

static int read_numbers(struct config *c, const struct gguf *g, struct err *e)
{
    char key[KEY_MAX];
    for (size_t i = 0; i < CONFIG_NUMBERS; i++) {
        const struct config_number *n = &config_numbers[i];
        uint32_t *at = config_number_at(c, n);
        if (!n->gguf)
            continue;
        int rc = get_in_range(c, g, n->gguf, at, n->max, e);
        if (rc)
            return rc;
        bool optional = at == &c->kv_heads || at == &c->head_width;
        if (*at == 0 && !optional)
            return err_set(e, ERR_FORMAT, "%s: %s is missing", gguf_name(g), key_of(key, c, n->gguf));
    }
    if (c->kv_heads == 0)
        c->kv_heads = c->heads;
    int rc = get_positive(c, g, "attention.layer_norm_rms_epsilon", &c->norm_eps, e);
    if (!rc && c->norm_eps == 0)
        rc = err_set(e, ERR_FORMAT, "%s: %s is missing", gguf_name(g),
                     key_of(key, c, "attention.layer_norm_rms_epsilon"));
    return rc;
}

static int read_value_width(const struct config *c, const struct gguf *g, struct err *e)
{
    uint32_t value = c->head_width;
    int rc = get_in_range(c, g, "attention.value_length", &value, CONFIG_HEAD_MAX, e);
    if (!rc && c->head_width && value != c->head_width)
        rc = err_set(e, ERR_FORMAT, "%s: attention.value_length is %u, want the key_length of %u",
                     gguf_name(g), value, c->head_width);
    return rc;
}

/* ---- tensors that say what the metadata does not ---- */

static int read_tensors(struct config *c, const struct gguf *g, struct err *e)
{
    const struct tensor *t = gguf_tensor_find(g, "token_embd.weight");
    if (!t || t->rank != 2)
        return err_set(e, ERR_FORMAT, "%s: want a matrix token_embd.weight", gguf_name(g));
    if (t->dim[0] == 0 || t->dim[0] > 1u << 24)
        return err_set(e, ERR_FORMAT, "%s: token_embd.weight has %zu rows, want 1 to %u", gguf_name(g),
                       t->dim[0], 1u << 24);
    c->vocabulary = (uint32_t)t->dim[0];
    c->tied = !gguf_tensor_find(g, "output.weight");
    c->qkv_bias = gguf_tensor_find(g, "blk.0.attn_q.bias");
    c->o_bias = gguf_tensor_find(g, "blk.0.attn_output.bias");
    c->mlp_bias = gguf_tensor_find(g, "blk.0.ffn_gate.bias");
    return 0;
}

/* ---- rotary embedding ---- */

static int read_scaling(struct config *c, const struct gguf *g, float *factor, struct err *e)
{
    char key[KEY_MAX];
    struct gguf_string type = {"linear", 6};
    *factor = 1;
    /* Files of 2023 say scale_linear; a factor of 0 stood for none. */
    float old = 0;
    int rc = gguf_get_string(g, key_of(key, c, "rope.scaling.type"), &type, e);
    if (!rc && type.len == 4 && memcmp(type.data, "none", 4) == 0)
        return 0;
    if (!rc && (type.len != 6 || memcmp(type.data, "linear", 6) != 0))
        return err_set(e, ERR_FORMAT, "%s: %s is \"%.*s\", want \"none\" or \"linear\"", gguf_name(g), key,
                       (int)(type.len < 40 ? type.len : 40), type.data);
    if (!rc)
        rc = gguf_get_f32(g, key_of(key, c, "rope.scale_linear"), &old, e);
    if (!rc && old != 0)
        rc = get_positive(c, g, "rope.scale_linear", factor, e);
    return rc ? rc : get_positive(c, g, "rope.scaling.factor", factor, e);
}

static int read_rope(struct config *c, const struct gguf *g, const struct family *family, struct err *e)
{
    float factor;
    c->rope[0].theta = 10000;
    int rc = get_positive(c, g, "rope.freq_base", &c->rope[0].theta, e);
    if (!rc)
        rc = read_scaling(c, g, &factor, e);
    if (!rc)
        rc = get_in_range(c, g, "rope.dimension_count", &c->rope_width, CONFIG_HEAD_MAX, e);
    if (rc)
        return rc;
    bool factors = gguf_tensor_find(g, "rope_freqs.weight");
    if (factors && factor != 1)
        return err_set(e, ERR_FORMAT,
                       "%s: both a linear rope scaling and rope_freqs.weight, want one of them",
                       gguf_name(g));
    if (factors)
        c->rope[0].scaling = ROPE_FACTORS;
    else if (factor != 1)
        c->rope[0] =
            (struct config_rope_kind){.theta = c->rope[0].theta, .scaling = ROPE_LINEAR, .factor = factor};
    c->rope[1] = c->rope[0];
    if (!family->local_rope)
        return 0;
    c->rope[1] = (struct config_rope_kind){.theta = 10000};
    return get_positive(c, g, "rope.freq_base_swa", &c->rope[1].theta, e);
}

/* ---- windows ---- */

/* The pattern is not written by converters of today; where it is, it is a period or a truth value per layer.
 */
static int read_pattern(struct config *c, const struct gguf *g, uint32_t period, struct err *e)
{
    char key[KEY_MAX];
    const struct gguf_value *v = gguf_find(g, key_of(key, c, "attention.sliding_window_pattern"));
    if (v && v->type == GGUF_ARRAY) {
        if (v->element == GGUF_STRING || v->count != c->layers)
            return err_set(e, ERR_FORMAT, "%s: %s has %zu elements, want a truth value for each of %u layers",
                           gguf_name(g), key, v->count, c->layers);
        for (uint32_t i = 0; i < c->layers; i++)
            c->sliding[i] = c->sliding_window > 0 && gguf_number_at(v, i) != 0;
        return 0;
    }
    int rc = get_in_range(c, g, "attention.sliding_window_pattern", &period, CONFIG_LAYERS_MAX, e);
    config_set_period(c, period);
    return rc;
}

static void set_gemma_scales(struct config *c, const struct family *family)
{
    c->embedding_scale = (float)sqrt(c->width);
    if (c->layers == family->wide)
        c->attention_scale = (float)(1 / sqrt((double)c->width / c->heads));
}

static int read_gemma(struct config *c, const struct gguf *g, const struct family *family, struct err *e)
{
    char key[KEY_MAX];
    int rc = gguf_get_u32(g, key_of(key, c, "attention.sliding_window"), &c->sliding_window, e);
    if (!rc && c->sliding_window > 1u << 30)
        rc = err_set(e, ERR_FORMAT, "%s: %s is %u, want at most %u", gguf_name(g), key, c->sliding_window,
                     1u << 30);
    if (!rc)
        rc = read_pattern(c, g, family->period, e);
    if (!rc)
        rc = get_positive(c, g, "attn_logit_softcapping", &c->attention_softcap, e);
    if (!rc)
        rc = get_positive(c, g, "final_logit_softcapping", &c->logit_softcap, e);
    set_gemma_scales(c, family);
    return rc;
}

/* ---- names and ids ---- */

static int read_id(int32_t *id, const struct gguf *g, const char *key, struct err *e)
{
    uint32_t v = UINT32_MAX;
    *id = -1;
    const struct gguf_value *found = gguf_find(g, key);
    if (!found || found->type == GGUF_ARRAY || found->type == GGUF_STRING || gguf_number_at(found, 0) < 0)
        return 0;
    int rc = gguf_get_u32(g, key, &v, e);
    if (!rc && v <= INT32_MAX)
        *id = (int32_t)v;
    return rc;
}

static int read_names(struct config *c, const struct gguf *g, struct err *e)
{
    struct gguf_string name = {"", 0};
    int rc = gguf_get_string(g, "general.name", &name, e);
    config_set_name(c, name.data, name.len);
    if (!rc)
        rc = read_id(&c->bos, g, "tokenizer.ggml.bos_token_id", e);
    if (!rc)
        rc = read_id(&c->eos, g, "tokenizer.ggml.eos_token_id", e);
    return rc ? rc : read_id(&c->pad, g, "tokenizer.ggml.padding_token_id", e);
}

static int refuse_experts(const struct config *c, const struct gguf *g, struct err *e)
{
    char key[KEY_MAX];
    uint32_t experts = 0;
    int rc = gguf_get_u32(g, key_of(key, c, "expert_count"), &experts, e);
    if (!rc && experts > 1)
        rc = err_set(e, ERR_FORMAT, "%s: %s is %u, want at most 1: mixtures of experts are not computed",
                     gguf_name(g), key, experts);
    return rc;
}

int config_from_gguf(struct config *c, const struct gguf *g, struct err *e)
{
    const struct family *family = NULL;
    int rc = find_family(&family, g, e);
    if (rc)
        return rc;
    *c = family->defaults;
    c->embedding_scale = 1;
    rc = read_numbers(c, g, e);
    if (!rc)
        rc = read_value_width(c, g, e);
    if (!rc)
        rc = read_tensors(c, g, e);
    if (!rc)
        rc = read_rope(c, g, family, e);
    if (!rc && family->gemma)
        rc = read_gemma(c, g, family, e);
    if (!rc)
        rc = refuse_experts(c, g, e);
    if (!rc)
        rc = config_own_read(c, g, e);
    if (!rc)
        rc = read_names(c, g, e);
    return rc ? rc : config_finish(c, gguf_name(g), e);
}

/* ---- for the writer ---- */

const char *config_gguf_architecture(const struct config *c)
{
    return strcmp(c->architecture, "mistral") == 0 ? "llama" : c->architecture;
}

static const struct family *family_of(const struct config *c)
{
    for (size_t i = 0; i < COUNT_OF(families); i++)
        if (strcmp(families[i].name, config_gguf_architecture(c)) == 0)
            return &families[i];
    return &families[0];
}

void config_gguf_assumed(struct config *out, const struct config *c)
{
    const struct family *f = family_of(c);
    const struct config *d = &f->defaults;
    *out = *c;
    out->activation = d->activation;
    out->embedding_scale = 1;
    out->attention_scale = (float)(1 / sqrt(c->head_width));
    if (f->gemma)
        set_gemma_scales(out, f);
    if (!f->gemma || c->attention_softcap == 0)
        out->attention_softcap = d->attention_softcap;
    if (!f->gemma || c->logit_softcap == 0)
        out->logit_softcap = d->logit_softcap;
    if (!f->gemma || c->sliding_window == 0)
        out->sliding_window = d->sliding_window;
    config_set_period(out, f->period);
    out->rope[1] = f->local_rope ? (struct config_rope_kind){.theta = c->rope[1].theta} : c->rope[0];
}
