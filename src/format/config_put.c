/* A configuration as GGUF metadata, key for key as the reference converter (convert_hf_to_gguf.py) writes it:
 * tests/test_export.c compares with its files. */
#include "format/config_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define KEY_MAX 96

static bool is(const struct config *c, const char *architecture)
{
    return strcmp(config_gguf_architecture(c), architecture) == 0;
}

static const char *key_of(char out[KEY_MAX], const struct config *c, const char *rest)
{
    snprintf(out, KEY_MAX, "%s.%s", config_gguf_architecture(c), rest);
    return out;
}

static void put_u32(struct gguf_writer *w, const struct config *c, const char *rest, uint32_t v)
{
    char key[KEY_MAX];
    gguf_put_u32(w, key_of(key, c, rest), v);
}

static void put_f32(struct gguf_writer *w, const struct config *c, const char *rest, float v)
{
    char key[KEY_MAX];
    gguf_put_f32(w, key_of(key, c, rest), v);
}

static void put_rope(struct gguf_writer *w, const struct config *c)
{
    static const char linear[] = "linear";
    const struct config_rope_kind *k = &c->rope[0];
    char key[KEY_MAX];
    bool gemma2 = is(c, "gemma2"), llama = is(c, "llama");
    if (!gemma2 || k->theta != 10000) /* which is what readers take where there is none */
        put_f32(w, c, "rope.freq_base", k->theta);
    if (is(c, "gemma3"))
        put_f32(w, c, "rope.freq_base_swa", c->rope[1].theta);
    if (llama || c->rope_width != c->head_width)
        put_u32(w, c, "rope.dimension_count", c->rope_width);
    if (k->scaling != ROPE_LINEAR)
        return;
    gguf_put_string(w, key_of(key, c, "rope.scaling.type"), linear, strlen(linear));
    put_f32(w, c, "rope.scaling.factor", k->factor);
}

static void put_gemma(struct gguf_writer *w, const struct config *c)
{
    if (c->attention_softcap > 0)
        put_f32(w, c, "attn_logit_softcapping", c->attention_softcap);
    if (c->logit_softcap > 0)
        put_f32(w, c, "final_logit_softcapping", c->logit_softcap);
    if (c->sliding_window)
        put_u32(w, c, "attention.sliding_window", c->sliding_window);
}

int config_put_gguf(struct gguf_writer *w, const struct config *c, struct err *e)
{
    struct config assumed;
    for (size_t i = 0; i < CONFIG_NUMBERS; i++)
        if (config_numbers[i].gguf)
            put_u32(w, c, config_numbers[i].gguf, *config_number_at((struct config *)c, &config_numbers[i]));
    put_u32(w, c, "attention.value_length", c->head_width);
    put_f32(w, c, "attention.layer_norm_rms_epsilon", c->norm_eps);
    put_rope(w, c);
    if (is(c, "llama"))
        put_u32(w, c, "vocab_size", c->vocabulary);
    else
        put_gemma(w, c);
    config_gguf_assumed(&assumed, c);
    return config_own_put(w, c, &assumed, e);
}

/* Llama 3's scaling as numbers to divide each frequency by, in the arithmetic of LlamaModel's
 * generate_extra_tensors (f32 throughout). */
void config_rope_factors(float *out, const struct config *c)
{
    const struct config_rope_kind *k = &c->rope[0];
    float context = (float)k->original_context, low = context / k->low_freq_factor,
          high = context / k->high_freq_factor;
    for (uint32_t i = 0; i < c->rope_width / 2; i++) {
        float f = 1 / powf(k->theta, (float)(2 * i) / (float)c->rope_width);
        float wavelength = (float)(2 * M_PI) / f;
        float smooth =
            (context / wavelength - k->low_freq_factor) / (k->high_freq_factor - k->low_freq_factor);
        out[i] = wavelength < high  ? 1
                 : wavelength > low ? k->factor
                                    : 1 / ((1 - smooth) / k->factor + smooth);
    }
}
