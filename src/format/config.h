/* What a decoder is, read from config.json or GGUF metadata: flags and numbers, no family name anywhere
 * beyond this file's reader. Dimension letters: D model width, H query heads, Hk key/value heads, Dh head
 * width, F feed-forward width, V vocabulary. */
#ifndef GYEOL_FORMAT_CONFIG_H
#define GYEOL_FORMAT_CONFIG_H

#include "base/err.h"
#include "format/gguf.h"

#include <stdbool.h>
#include <stdint.h>

#define CONFIG_LAYERS_MAX 512
#define CONFIG_HEAD_MAX   1024 /* widest head */

enum config_activation { ACT_SILU, ACT_GELU_TANH, ACT_GELU };

/* Rotary embedding of one kind of layer. Frequencies: theta^(-2i/rope_width), then scaling. */
enum config_rope {
    ROPE_PLAIN,
    ROPE_LINEAR,
    ROPE_LLAMA3,
    ROPE_FACTORS /* GGUF rope_freqs.weight: divide by it */
};
struct config_rope_kind {
    float theta;
    enum config_rope scaling;
    float factor, low_freq_factor, high_freq_factor; /* linear: factor alone; llama3: all */
    uint32_t original_context;                       /* llama3 */
};

struct config {
    char architecture[32]; /* "llama", "mistral", "gemma2", "gemma3": GGUF's names */
    char name[128];        /* general.name or _name_or_path; "" unknown */
    uint32_t layers, width /* D */, heads /* H */, kv_heads /* Hk */, head_width /* Dh */, ff_width /* F */;
    uint32_t vocabulary /* V */, context; /* context: positions it was trained for */
    float norm_eps;
    enum config_activation activation;
    bool tied;          /* output head is the embedding */
    bool norm_plus_one; /* stored norm weight w means 1+w (Gemma in Hugging Face files) */
    bool post_norms;    /* norms after attention and feed-forward, before the residual (Gemma 2, 3) */
    bool qk_norm;       /* per-head norm of queries and keys before RoPE (Gemma 3) */
    bool qkv_bias, o_bias, mlp_bias;
    bool bf16_tables;      /* the checkpoint holds embedding and head in bf16, which then keeps them whole */
    float embedding_scale; /* 1, or sqrt(D) rounded as the reference does (Gemma) */
    float attention_scale; /* on q.k: 1/sqrt(Dh), or 1/sqrt(query_pre_attn_scalar) */
    float attention_softcap, logit_softcap; /* 0: none; else cap*tanh(x/cap) */
    uint32_t sliding_window;                /* 0: none. A query at p sees keys p-window+1 .. p */
    bool sliding[CONFIG_LAYERS_MAX];        /* this layer is windowed, and uses rope[1] */
    struct config_rope_kind rope[2];        /* [0] full-attention layers, [1] sliding layers */
    uint32_t rope_width;   /* leading values of a head that are rotated; Dh unless the file says less */
    int32_t bos, eos, pad; /* -1 unknown */
};

/* config.json's bytes. `name` for messages. Unknown model types, and fields that would change the arithmetic
 * in a way this engine does not have, are ERR_FORMAT naming the field. */
int config_from_json(struct config *c, const char *name, const char *bytes, size_t n,
                     struct err *e) MUST_CHECK;
int config_from_gguf(struct config *c, const struct gguf *g, struct err *e) MUST_CHECK;

/* The way back: config.json for Transformers, of weights stored as `type`, as malloc'd *text (`name` for
 * messages). It is read back before it is given: config_from_json gives c again, all but its name and
 * norm_plus_one (which such files imply). ERR_FORMAT: no family's configuration class can say what c is. */
int config_to_json(char **text, const struct config *c, const char *name, enum dtype type,
                   struct err *e) MUST_CHECK;

/* What distinguishes the two, name and norm_plus_one apart: a few words, or NULL when nothing does. */
const char *config_differs(const struct config *a, const struct config *b);

/* The name GGUF has for the architecture: Mistrals travel as "llama". */
const char *config_gguf_architecture(const struct config *c);

/* Everything of c but names and token ids as metadata that config_from_gguf reads back: GGUF's keys, and
 * where they do not suffice keys of our own ("gyeol..."), which other readers skip. Llama 3's rope scaling
 * goes with the tensor rope_freqs.weight, of rope_width / 2 factors. ERR_FORMAT: the file cannot say it. */
int config_put_gguf(struct gguf_writer *w, const struct config *c, struct err *e) MUST_CHECK;
void config_rope_factors(float *out, const struct config *c);

#endif
