#include "model/rope.h"

#include <math.h>

/* Llama 3's scaling: long wavelengths are slowed by `factor`, short ones kept, those between blended
 * (transformers/modeling_rope_utils.py, _compute_llama3_parameters). */
static float llama3_frequency(const struct config_rope_kind *r, float f)
{
    float wavelength = 2 * (float)M_PI / f, context = (float)r->original_context;
    float low = context / r->low_freq_factor, high = context / r->high_freq_factor;
    if (wavelength < high)
        return f;
    if (wavelength > low)
        return f / r->factor;
    float smooth = (context / wavelength - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    return (1 - smooth) * f / r->factor + smooth * f;
}

static float frequency(const struct model *m, const struct config_rope_kind *r, size_t i)
{
    float f = 1.0f / powf(r->theta, (float)(2 * i) / (float)m->config.rope_width);
    switch (r->scaling) {
    case ROPE_LINEAR:
        return f / r->factor;
    case ROPE_LLAMA3:
        return llama3_frequency(r, f);
    case ROPE_FACTORS:
        return f / m->rope_factors[i];
    default:
        return f;
    }
}

void rope_fill(float *table, size_t stride, const struct model *m, int kind, size_t positions)
{
    size_t half = m->config.rope_width / 2;
    for (size_t i = 0; i < half; i++) {
        float f = frequency(m, &m->config.rope[kind], i);
        for (size_t p = 0; p < positions; p++) {
            float angle = (float)p * f, *row = table + p * stride;
            row[i] = cosf(angle);
            row[half + i] = sinf(angle);
        }
    }
}
