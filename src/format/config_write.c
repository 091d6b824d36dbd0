/* The configuration as config.json, in the fields of the family's configuration class in Transformers. What is
 * written is read back and compared, so a model that its family cannot describe is refused, never bent. */
#include "base/size.h"
#include "format/config_int.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct family {
    const char *architecture, *model_type, *class;
    bool gemma, local_rope, mistral;
} families[] = {
    {.architecture = "llama", .model_type = "llama", .class = "LlamaForCausalLM"},
    {.architecture = "mistral", .model_type = "mistral", .class = "MistralForCausalLM", .mistral = true},
    {.architecture = "gemma2", .model_type = "gemma2", .class = "Gemma2ForCausalLM", .gemma = true},
    {.architecture = "gemma3",
     .model_type = "gemma3_text",
     .class = "Gemma3ForCausalLM",
     .gemma = true,
     .local_rope = true},
};

static const struct family *family_of(const struct config *c)
{
    for (size_t i = 0; i < COUNT_OF(families); i++)
        if (strcmp(families[i].architecture, c->architecture) == 0)
            return &families[i];
    return NULL;
}

/* ---- values ---- */

/* The shortest decimal number that is read as this float, as Python would have written it. */
static json_t *real(float f)
{
    char text[40];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)f);
        if (strtof(text, NULL) == f)
            break;
    }
    return json_real(strtod(text, NULL));
}

static json_t *real_or_null(float f)
{
    return f != 0 ? real(f) : json_null();
}

static json_t *id_or_null(int32_t id)
{
    return id >= 0 ? json_integer(id) : json_null();
}

static void put(json_t *o, const char *key, json_t *value, bool *failed)
{
    *failed |= json_object_set_new(o, key, value) != 0;
}

/* ---- groups of fields ---- */

static void put_numbers(json_t *o, const struct config *c, bool *failed)
{
    struct config copy = *c;
    for (size_t i = 0; i < CONFIG_NUMBERS; i++)
        put(o, config_numbers[i].json, json_integer(*config_number_at(&copy, &config_numbers[i])), failed);
    put(o, "rms_norm_eps", real(c->norm_eps), failed);
    put(o, "attention_dropout", json_real(0), failed);
    put(o, "initializer_range", json_real(0.02), failed);
    put(o, "bos_token_id", id_or_null(c->bos), failed);
    put(o, "eos_token_id", id_or_null(c->eos), failed);
    put(o, "pad_token_id", id_or_null(c->pad), failed);
    put(o, "tie_word_embeddings", json_boolean(c->tied), failed);
    put(o, "use_cache", json_true(), failed);
}

static json_t *scaling(const struct config_rope_kind *k)
{
    bool failed = false;
    json_t *o;
    switch (k->scaling) {
    case ROPE_LINEAR:
        o = json_object();
        put(o, "rope_type", json_string("linear"), &failed);
        put(o, "factor", real(k->factor), &failed);
        break;
    case ROPE_LLAMA3:
        o = json_object();
        put(o, "rope_type", json_string("llama3"), &failed);
        put(o, "factor", real(k->factor), &failed);
        put(o, "low_freq_factor", real(k->low_freq_factor), &failed);
        put(o, "high_freq_factor", real(k->high_freq_factor), &failed);
        put(o, "original_max_position_embeddings", json_integer(k->original_context), &failed);
        break;
    default:
        return json_null();
    }
    if (failed)
        json_decref(o);
    return failed ? NULL : o;
}

/* Transformers takes int(head width * factor), so a quotient a little above is as good, and safe. */
static double partial_factor(const struct config *c)
{
    return ((double)c->rope_width + 0.25) / c->head_width;
}

static void put_rope(json_t *o, const struct config *c, const struct family *family, bool *failed)
{
    put(o, "rope_theta", real(c->rope[0].theta), failed);
    put(o, "rope_scaling", scaling(&c->rope[0]), failed);
    if (family->local_rope)
        put(o, "rope_local_base_freq", real(c->rope[1].theta), failed);
    if (c->rope_width != c->head_width)
        put(o, "partial_rotary_factor", json_real(partial_factor(c)), failed);
}

static const char *activation_name(enum config_activation a)
{
    return a == ACT_SILU ? "silu" : a == ACT_GELU ? "gelu" : "gelu_pytorch_tanh";
}

static void put_llama(json_t *o, const struct config *c, const struct family *family, bool *failed)
{
    put(o, "hidden_act", json_string(activation_name(c->activation)), failed);
    if (family->mistral) {
        put(o, "sliding_window", c->sliding_window ? json_integer(c->sliding_window) : json_null(), failed);
    } else {
        put(o, "attention_bias", json_boolean(c->qkv_bias), failed);
        put(o, "mlp_bias", json_boolean(c->mlp_bias), failed);
    }
    if (c->embedding_scale != 1)
        put(o, "embedding_multiplier", real(c->embedding_scale), failed);
    if (c->attention_scale != (float)(1 / sqrt(c->head_width)))
        put(o, "attention_multiplier", real(c->attention_scale), failed);
}

static json_t *query_scalar(float scale)
{
    double exact = 1 / ((double)scale * scale), whole = round(exact);
    if ((float)(1 / sqrt(whole)) == scale)
        return json_integer((json_int_t)whole);
    return real((float)exact);
}

/* Before layer_types there was a period; releases that know only that read it beside them. */
static uint32_t period_of(const struct config *c)
{
    struct config other = *c;
    for (uint32_t period = 2; period <= c->layers; period++) {
        config_set_period(&other, period);
        if (memcmp(other.sliding, c->sliding, sizeof c->sliding) == 0)
            return period;
    }
    return 0;
}

static void put_windows(json_t *o, const struct config *c, const struct family *family, bool *failed)
{
    json_t *types = json_array();
    uint32_t period = c->sliding_window ? period_of(c) : 0;
    for (uint32_t i = 0; i < c->layers; i++)
        *failed |= json_array_append_new(
                       types, json_string(c->sliding[i] ? "sliding_attention" : "full_attention")) != 0;
    put(o, "sliding_window", c->sliding_window ? json_integer(c->sliding_window) : json_null(), failed);
    if (family->local_rope && period)
        put(o, "sliding_window_pattern", json_integer(period), failed);
    put(o, "layer_types", types, failed);
}

static void put_gemma(json_t *o, const struct config *c, const struct family *family, bool *failed)
{
    put(o, "hidden_act", json_string(activation_name(c->activation)), failed);
    put(o, "hidden_activation", json_string(activation_name(c->activation)), failed);
    put(o, "attention_bias", json_boolean(c->qkv_bias), failed);
    put(o, "query_pre_attn_scalar", query_scalar(c->attention_scale), failed);
    put(o, "attn_logit_softcapping", real_or_null(c->attention_softcap), failed);
    put(o, "final_logit_softcapping", real_or_null(c->logit_softcap), failed);
    put_windows(o, c, family, failed);
}

static json_t *make(const struct config *c, const struct family *family, const char *torch_type)
{
    bool failed = false;
    json_t *o = json_object();
    put(o, "architectures", json_pack("[s]", family->class), &failed);
    put(o, "model_type", json_string(family->model_type), &failed);
    put_numbers(o, c, &failed);
    put_rope(o, c, family, &failed);
    if (family->gemma)
        put_gemma(o, c, family, &failed);
    else
        put_llama(o, c, family, &failed);
    put(o, "torch_dtype", json_string(torch_type), &failed);
    if (failed)
        json_decref(o);
    return failed ? NULL : o;
}

/* ---- is it the same ---- */

static bool same_rope(const struct config_rope_kind *a, const struct config_rope_kind *b)
{
    return a->theta == b->theta && a->scaling == b->scaling && a->factor == b->factor &&
           a->low_freq_factor == b->low_freq_factor && a->high_freq_factor == b->high_freq_factor &&
           a->original_context == b->original_context;
}

static const char *numbers_differ(const struct config *a, const struct config *b)
{
    struct config x = *a, y = *b;
    for (size_t i = 0; i < CONFIG_NUMBERS; i++)
        if (*config_number_at(&x, &config_numbers[i]) != *config_number_at(&y, &config_numbers[i]))
            return config_numbers[i].json;
    return NULL;
}

const char *config_differs(const struct config *a, const struct config *b)
{
    const struct {
        bool same;
        const char *what;
    } part[] = {
        {strcmp(a->architecture, b->architecture) == 0, "architecture"},
        {a->norm_eps == b->norm_eps, "norm epsilon"},
        {a->activation == b->activation, "activation"},
        {a->tied == b->tied, "tied output head"},
        {a->post_norms == b->post_norms, "norms after attention and feed-forward"},
        {a->qk_norm == b->qk_norm, "norms of queries and keys"},
        {a->qkv_bias == b->qkv_bias, "biases of queries, keys and values"},
        {a->o_bias == b->o_bias, "bias of attention's output"},
        {a->mlp_bias == b->mlp_bias, "biases of the feed-forward"},
        {a->embedding_scale == b->embedding_scale, "embedding scale"},
        {a->attention_scale == b->attention_scale, "attention scale"},
        {a->attention_softcap == b->attention_softcap, "attention soft cap"},
        {a->logit_softcap == b->logit_softcap, "logit soft cap"},
        {a->sliding_window == b->sliding_window, "sliding window"},
        {memcmp(a->sliding, b->sliding, sizeof a->sliding) == 0, "windowed layers"},
        {same_rope(&a->rope[0], &b->rope[0]), "rotary embedding"},
        {same_rope(&a->rope[1], &b->rope[1]), "rotary embedding of windowed layers"},
        {a->rope_width == b->rope_width, "rotated width"},
        {a->bos == b->bos && a->eos == b->eos && a->pad == b->pad, "token ids"},
    };
    for (size_t i = 0; i < COUNT_OF(part); i++)
        if (!part[i].same)
            return part[i].what;
    return numbers_differ(a, b);
}

static int check(const struct config *c, const char *name, const char *text, struct err *e)
{
    struct config again;
    int rc = config_from_json(&again, name, text, strlen(text), e);
    const char *what = rc ? NULL : config_differs(c, &again);
    return what ? err_set(e, ERR_FORMAT, "%s: a config.json of family %s cannot say this model's %s", name,
                          c->architecture, what)
                : rc;
}

int config_to_json(char **text, const struct config *c, const char *name, enum dtype type, struct err *e)
{
    const struct family *family = family_of(c);
    const char *torch = type == DT_BF16 ? "bfloat16" : type == DT_F16 ? "float16" : "float32";
    *text = NULL;
    if (!family)
        return err_set(e, ERR_FORMAT, "%s: no family of Transformers is known for \"%.40s\"", name,
                       c->architecture);
    json_t *o = make(c, family, torch);
    char *made = o ? json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(o);
    if (!made)
        return err_set(e, ERR_MEMORY, "%s: out of memory", name);
    int rc = check(c, name, made, e);
    if (rc)
        free(made);
    else
        *text = made;
    return rc;
}
