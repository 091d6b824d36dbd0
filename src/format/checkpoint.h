/* A model as people have it: a Hugging Face directory or a GGUF file. Gives the configuration and, by role,
 * every weight the decoder needs, with shapes proved against the configuration. */
#ifndef GYEOL_FORMAT_CHECKPOINT_H
#define GYEOL_FORMAT_CHECKPOINT_H

#include "base/digest.h"
#include "base/err.h"
#include "format/config.h"
#include "format/tensor.h"

enum role {
    /* once per model */
    ROLE_EMBEDDING,  /* [V, D] */
    ROLE_HEAD,       /* [V, D]; absent when tied */
    ROLE_NORM,       /* [D] */
    ROLE_ROPE_FREQS, /* [rope_width / 2], GGUF only; may be absent */
    /* once per layer */
    ROLE_Q,    /* [H Dh, D] */
    ROLE_K,    /* [Hk Dh, D] */
    ROLE_V,    /* [Hk Dh, D] */
    ROLE_O,    /* [D, H Dh] */
    ROLE_GATE, /* [F, D] */
    ROLE_UP,   /* [F, D] */
    ROLE_DOWN, /* [D, F] */
    ROLE_Q_BIAS,
    ROLE_K_BIAS,
    ROLE_V_BIAS,
    ROLE_O_BIAS,
    ROLE_GATE_BIAS,
    ROLE_UP_BIAS,
    ROLE_DOWN_BIAS,
    ROLE_ATTENTION_NORM,      /* [D] before attention */
    ROLE_POST_ATTENTION_NORM, /* [D] Gemma: after attention, before the residual */
    ROLE_FF_NORM,             /* [D] before the feed-forward */
    ROLE_POST_FF_NORM,        /* [D] Gemma: after the feed-forward */
    ROLE_Q_NORM,              /* [Dh] */
    ROLE_K_NORM,              /* [Dh] */
    ROLE_COUNT
};
#define ROLE_FIRST_LAYER ROLE_Q

/* Hugging Face and GGUF names: "model.layers.%u.self_attn.q_proj.weight", "blk.%u.attn_q.weight". Hugging
 * Face calls the norm before the feed-forward post_attention_layernorm where there is no norm after
 * attention, so its names depend on the configuration. NULL: no such tensor there. */
const char *role_hf_name(enum role r, const struct config *c);
const char *role_gguf_name(enum role r);

/* Shape of a role's weight, outermost first; returns its rank, 0 when such a model has none. */
int role_shape(enum role r, const struct config *c, size_t dim[2]);

/* One weight as found. `tensor` views the file; for bitsandbytes 4-bit weights tensor->type is DT_NF4, its
 * dims are the logical [outputs, inputs], its data the packed codes, and the rest is here. */
struct weight {
    struct tensor tensor;
    bool permuted;  /* GGUF Llama q and k: rows of each head interleaved; weight_decode_rows puts them back */
    bool plus_one;  /* Hugging Face Gemma norms hold w for 1+w; decoding adds the 1 */
    bool minus_one; /* GGUF Gemma norms hold 1+w; decoding gives what the file holds, the flag is for writers
                     */
    const unsigned char *absmax; /* NF4: u8 codes [blocks], or f32 [blocks] when absmax_scale is NULL */
    const unsigned char *absmax_scale, *absmax_map,
        *code_map; /* f32 (unaligned): nested_absmax, nested_quant_map, quant_map */
    float absmax_offset;
    uint32_t heads; /* of permuted rows */
};

struct checkpoint;

/* path: a directory with config.json, or a .gguf file. Reads headers only. */
int checkpoint_open(struct checkpoint **out, const char *path, struct err *e) MUST_CHECK;

/* The same for a GGUF file's bytes in memory, which stay the caller's and must outlive the checkpoint; `name`
 * serves as its path in messages. It has no file, so no pack either (model/pack.h): model_load takes it. */
int checkpoint_open_bytes(struct checkpoint **out, const char *name, const unsigned char *bytes, size_t n,
                          struct err *e) MUST_CHECK;
void checkpoint_close(struct checkpoint *c); /* NULL allowed */

const char *checkpoint_path(const struct checkpoint *c);
const struct config *checkpoint_config(const struct checkpoint *c);
const struct gguf *checkpoint_gguf(const struct checkpoint *c); /* NULL for a directory */

/* The weight of a role (layer ignored for ROLE < ROLE_FIRST_LAYER), or NULL when this model has none. All
 * that the configuration demands are there: checkpoint_open has proved it. */
const struct weight *checkpoint_weight(const struct checkpoint *c, enum role r, uint32_t layer);

/* Rows first .. first+n-1 (in Hugging Face order) of a [rows, columns] weight, or of a vector (rows = 1), as
 * f32 [n, columns]. Norm vectors come as w with norm_plus_one applied: exactly what multiplies. */
int weight_decode_rows(float *out, const struct weight *w, size_t first, size_t n, struct err *e) MUST_CHECK;

/* The maxima [blocks of 64] of a weight of DT_NF4, decoded. ERR_FORMAT: its codes do not stand for nf4_codebook. */
int weight_nf4_absmax(float *out, const struct weight *w, struct err *e) MUST_CHECK;

/* Number of files that hold weights, their paths, and how to hash one (model info, adapters). */
size_t checkpoint_files(const struct checkpoint *c);
const char *checkpoint_file(const struct checkpoint *c, size_t i);

#endif
