/* The one table that says what the weights are called and how they are shaped. */
#include "base/size.h"
#include "format/checkpoint_int.h"

#include <string.h>

#define HF_LAYER   "model.layers.%u."
#define GGUF_LAYER "blk.%u."

static const struct {
    const char *hf, *gguf; /* without the layer's part where there is one */
} names[ROLE_COUNT] = {
    [ROLE_EMBEDDING] = {"model.embed_tokens.weight", "token_embd.weight"},
    [ROLE_HEAD] = {"lm_head.weight", "output.weight"},
    [ROLE_NORM] = {"model.norm.weight", "output_norm.weight"},
    [ROLE_ROPE_FREQS] = {NULL, "rope_freqs.weight"},
    [ROLE_Q] = {HF_LAYER "self_attn.q_proj.weight", GGUF_LAYER "attn_q.weight"},
    [ROLE_K] = {HF_LAYER "self_attn.k_proj.weight", GGUF_LAYER "attn_k.weight"},
    [ROLE_V] = {HF_LAYER "self_attn.v_proj.weight", GGUF_LAYER "attn_v.weight"},
    [ROLE_O] = {HF_LAYER "self_attn.o_proj.weight", GGUF_LAYER "attn_output.weight"},
    [ROLE_GATE] = {HF_LAYER "mlp.gate_proj.weight", GGUF_LAYER "ffn_gate.weight"},
    [ROLE_UP] = {HF_LAYER "mlp.up_proj.weight", GGUF_LAYER "ffn_up.weight"},
    [ROLE_DOWN] = {HF_LAYER "mlp.down_proj.weight", GGUF_LAYER "ffn_down.weight"},
    [ROLE_Q_BIAS] = {HF_LAYER "self_attn.q_proj.bias", GGUF_LAYER "attn_q.bias"},
    [ROLE_K_BIAS] = {HF_LAYER "self_attn.k_proj.bias", GGUF_LAYER "attn_k.bias"},
    [ROLE_V_BIAS] = {HF_LAYER "self_attn.v_proj.bias", GGUF_LAYER "attn_v.bias"},
    [ROLE_O_BIAS] = {HF_LAYER "self_attn.o_proj.bias", GGUF_LAYER "attn_output.bias"},
    [ROLE_GATE_BIAS] = {HF_LAYER "mlp.gate_proj.bias", GGUF_LAYER "ffn_gate.bias"},
    [ROLE_UP_BIAS] = {HF_LAYER "mlp.up_proj.bias", GGUF_LAYER "ffn_up.bias"},
    [ROLE_DOWN_BIAS] = {HF_LAYER "mlp.down_proj.bias", GGUF_LAYER "ffn_down.bias"},
    [ROLE_ATTENTION_NORM] = {HF_LAYER "input_layernorm.weight", GGUF_LAYER "attn_norm.weight"},
    [ROLE_POST_ATTENTION_NORM] = {HF_LAYER "post_attention_layernorm.weight",
                                  GGUF_LAYER "post_attention_norm.weight"},
    [ROLE_FF_NORM] = {HF_LAYER "pre_feedforward_layernorm.weight", GGUF_LAYER "ffn_norm.weight"},
    [ROLE_POST_FF_NORM] = {HF_LAYER "post_feedforward_layernorm.weight", GGUF_LAYER "post_ffw_norm.weight"},
    [ROLE_Q_NORM] = {HF_LAYER "self_attn.q_norm.weight", GGUF_LAYER "attn_q_norm.weight"},
    [ROLE_K_NORM] = {HF_LAYER "self_attn.k_norm.weight", GGUF_LAYER "attn_k_norm.weight"},
};

const char *role_hf_name(enum role r, const struct config *c)
{
    size_t dim[2];
    if (role_shape(r, c, dim) == 0)
        return NULL;
    return names[r == ROLE_FF_NORM && !c->post_norms ? ROLE_POST_ATTENTION_NORM : r].hf;
}

const char *role_gguf_name(enum role r)
{
    return names[r].gguf;
}

static int vector(size_t dim[2], bool there, size_t n)
{
    dim[0] = n;
    return there ? 1 : 0;
}

static int matrix(size_t dim[2], size_t rows, size_t columns)
{
    dim[0] = rows;
    dim[1] = columns;
    return 2;
}

static int linear_shape(enum role r, const struct config *c, size_t dim[2])
{
    size_t D = c->width, F = c->ff_width, q = (size_t)c->heads * c->head_width,
           k = (size_t)c->kv_heads * c->head_width;
    switch (r) {
    case ROLE_Q:
        return matrix(dim, q, D);
    case ROLE_K:
    case ROLE_V:
        return matrix(dim, k, D);
    case ROLE_O:
        return matrix(dim, D, q);
    case ROLE_DOWN:
        return matrix(dim, D, F);
    default:
        return matrix(dim, F, D);
    }
}

static int bias_shape(enum role r, const struct config *c, size_t dim[2])
{
    bool mlp = r == ROLE_GATE_BIAS || r == ROLE_UP_BIAS || r == ROLE_DOWN_BIAS;
    linear_shape((enum role)(r - ROLE_Q_BIAS + ROLE_Q), c, dim);
    return vector(dim, mlp ? c->mlp_bias : r == ROLE_O_BIAS ? c->o_bias : c->qkv_bias, dim[0]);
}

int role_shape(enum role r, const struct config *c, size_t dim[2])
{
    dim[0] = dim[1] = 1;
    if (r >= ROLE_Q && r <= ROLE_DOWN)
        return linear_shape(r, c, dim);
    if (r >= ROLE_Q_BIAS && r <= ROLE_DOWN_BIAS)
        return bias_shape(r, c, dim);
    switch (r) {
    case ROLE_EMBEDDING:
        return matrix(dim, c->vocabulary, c->width);
    case ROLE_HEAD:
        return c->tied ? 0 : matrix(dim, c->vocabulary, c->width);
    case ROLE_ROPE_FREQS:
        return vector(dim, c->rope[0].scaling == ROPE_FACTORS, c->rope_width / 2);
    case ROLE_POST_ATTENTION_NORM:
    case ROLE_POST_FF_NORM:
        return vector(dim, c->post_norms, c->width);
    case ROLE_Q_NORM:
    case ROLE_K_NORM:
        return vector(dim, c->qk_norm, c->head_width);
    default:
        return vector(dim, true, c->width);
    }
}

/* ---- what a tensor's name means ---- */

/* What follows `start` in s, or NULL. */
static const char *after(const char *s, const char *start)
{
    size_t n = strlen(start);
    return strncmp(s, start, n) == 0 ? s + n : NULL;
}

const char *place_layer(const char *s, uint32_t *layer)
{
    uint32_t n = 0;
    int digits = 0;
    while (digits < 6 && s[digits] >= '0' && s[digits] <= '9')
        n = 10 * n + (uint32_t)(s[digits++] - '0');
    if (digits == 0 || (digits > 1 && s[0] == '0') || s[digits] != '.')
        return NULL;
    *layer = n;
    return s + digits + 1;
}

/* The end of a bitsandbytes name after "X.weight". */
static bool part_of(const char *rest, enum part *part)
{
    static const char *const end[PART_COUNT] = {
        [PART_WEIGHT] = "",
        [PART_ABSMAX] = ".absmax",
        [PART_MAP] = ".quant_map",
        [PART_NESTED_ABSMAX] = ".nested_absmax",
        [PART_NESTED_MAP] = ".nested_quant_map",
        [PART_STATE] = ".quant_state.bitsandbytes__nf4",
    };
    for (int i = 0; i < PART_COUNT; i++)
        if (strcmp(rest, end[i]) == 0) {
            *part = (enum part)i;
            return true;
        }
    return false;
}

static bool is_linear(enum role r)
{
    return (r >= ROLE_Q && r <= ROLE_DOWN) || r == ROLE_HEAD;
}

/* The role among [from, to) whose name, less its first `skip` characters, is the beginning of s. */
static bool find_role(struct place *out, const char *s, enum role from, enum role to, const struct config *c,
                      size_t skip)
{
    for (int r = from; r < (int)to; r++) {
        const char *name = c ? role_hf_name((enum role)r, c) : role_gguf_name((enum role)r);
        const char *rest = name ? after(s, name + skip) : NULL;
        if (rest && part_of(rest, &out->part) &&
            (out->part == PART_WEIGHT || (c && is_linear((enum role)r)))) {
            out->role = (enum role)r;
            return true;
        }
    }
    return false;
}

enum placing place_hf(struct place *out, const char *name, const char *prefix, const struct config *c)
{
    static const char *const head[] = {"lm_head.", "language_model.lm_head.", "model.lm_head."};
    *out = (struct place){0};
    for (size_t i = 0; i < COUNT_OF(head); i++)
        if (after(name, head[i])) {
            const char *end = strstr(name, "lm_head.");
            if (c->tied) /* savers leave the shared tensor in now and then */
                return strcmp(end, "lm_head.bias") == 0 ? PLACE_UNKNOWN : PLACE_UNUSED;
            return find_role(out, end, ROLE_HEAD, ROLE_NORM, c, 0) ? PLACE_FOUND : PLACE_UNKNOWN;
        }
    const char *rest = after(name, prefix), *in_layer;
    if (!rest)
        return PLACE_OTHER;
    const char *layer = after(rest, "layers.");
    if (!layer)
        return find_role(out, rest, ROLE_EMBEDDING, ROLE_HEAD, c, strlen("model.")) ||
                       find_role(out, rest, ROLE_NORM, ROLE_FIRST_LAYER, c, strlen("model."))
                   ? PLACE_FOUND
               : strcmp(rest, "norm.bias") == 0 ? PLACE_UNKNOWN
                                                : PLACE_OTHER;
    in_layer = place_layer(layer, &out->layer);
    if (!in_layer || out->layer >= c->layers)
        return PLACE_UNKNOWN;
    if (strcmp(in_layer, "self_attn.rotary_emb.inv_freq") == 0)
        return PLACE_UNUSED; /* follows from rope_theta; saved by Transformers before 4.32 */
    return find_role(out, in_layer, ROLE_FIRST_LAYER, ROLE_COUNT, c, strlen(HF_LAYER)) ? PLACE_FOUND
                                                                                       : PLACE_UNKNOWN;
}

enum placing place_gguf(struct place *out, const char *name, const struct config *c)
{
    size_t dim[2];
    *out = (struct place){0};
    const char *layer = after(name, "blk."), *in_layer;
    if (!layer)
        return find_role(out, name, ROLE_EMBEDDING, ROLE_FIRST_LAYER, NULL, 0) ? PLACE_FOUND : PLACE_UNKNOWN;
    in_layer = place_layer(layer, &out->layer);
    if (!in_layer || out->layer >= c->layers)
        return PLACE_UNKNOWN;
    if (strcmp(in_layer, "attn_rot_embd.weight") == 0)
        return PLACE_UNUSED; /* the same, in files of 2023 */
    return find_role(out, in_layer, ROLE_FIRST_LAYER, ROLE_COUNT, NULL, strlen(GGUF_LAYER)) &&
                   role_shape(out->role, c, dim)
               ? PLACE_FOUND
               : PLACE_UNKNOWN;
}

/* ---- tables by role ---- */

size_t checkpoint_index(const struct config *c, enum role r, uint32_t layer)
{
    (void)c;
    return r < ROLE_FIRST_LAYER
               ? (size_t)r
               : ROLE_FIRST_LAYER + (size_t)layer * (ROLE_COUNT - ROLE_FIRST_LAYER) + (r - ROLE_FIRST_LAYER);
}

size_t checkpoint_places(const struct config *c)
{
    return ROLE_FIRST_LAYER + (size_t)c->layers * (ROLE_COUNT - ROLE_FIRST_LAYER);
}
