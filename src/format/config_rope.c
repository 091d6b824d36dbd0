/* Rotary embedding in config.json, in the three ways it has been written: rope_theta beside rope_scaling
 * (with "type", later "rope_type"), and since Transformers 5 one rope_parameters, flat or per kind of layer.
 */
#include "format/config_int.h"

#include <string.h>

static const char original_context[] = "original_max_position_embeddings";

static int need(const struct fields *f, const char *key, float *out, struct err *e)
{
    return fields_get(f, key) ? fields_positive(f, key, out, e) : fields_bad(f, key, "a number above 0", e);
}

/* context: what original_max_position_embeddings is when it is not given (Transformers 5). */
static int read_llama3(struct config_rope_kind *k, const struct fields *f, uint32_t context, struct err *e)
{
    int rc = need(f, "factor", &k->factor, e);
    if (!rc)
        rc = need(f, "low_freq_factor", &k->low_freq_factor, e);
    if (!rc)
        rc = need(f, "high_freq_factor", &k->high_freq_factor, e);
    if (!rc && !(k->high_freq_factor > k->low_freq_factor))
        rc = fields_bad(f, "high_freq_factor", "more than low_freq_factor", e);
    k->original_context = context;
    if (!rc)
        rc = fields_u32(f, original_context, &k->original_context, 1, 1u << 30, e);
    if (!rc)
        k->scaling = ROPE_LLAMA3;
    return rc;
}

/* One description of one kind of layer. */
static int read_kind(struct config_rope_kind *k, const struct fields *f, uint32_t context, struct err *e)
{
    const char *key = fields_get(f, "rope_type") ? "rope_type" : "type", *type = "default";
    int rc = fields_string(f, key, &type, e);
    if (!rc)
        rc = fields_positive(f, "rope_theta", &k->theta, e);
    if (rc || strcmp(type, "default") == 0)
        return rc;
    if (strcmp(type, "llama3") == 0)
        return read_llama3(k, f, context, e);
    if (strcmp(type, "linear") != 0)
        return fields_bad(f, key, "\"default\", \"linear\" or \"llama3\"", e);
    rc = need(f, "factor", &k->factor, e);
    if (!rc)
        k->scaling = ROPE_LINEAR;
    return rc;
}

static int read_one_of_two(struct config *c, const struct fields *both, const char *key, int kind,
                           float *partial, uint32_t context, struct err *e)
{
    struct fields f;
    if (!fields_get(both, key))
        return 0;
    int rc = fields_object(both, key, &f, e);
    if (!rc)
        rc = read_kind(&c->rope[kind], &f, context, e);
    return rc ? rc : fields_positive(&f, "partial_rotary_factor", partial, e);
}

static int read_all(struct config *c, const struct fields *text, const char *key, bool local, float *partial,
                    struct err *e)
{
    struct fields f;
    uint32_t context = c->context;
    if (!fields_get(text, key))
        return 0;
    int rc = fields_u32(text, original_context, &context, 1, 1u << 30, e);
    if (!rc)
        rc = fields_object(text, key, &f, e);
    if (rc)
        return rc;
    if (fields_get(&f, "full_attention") || fields_get(&f, "sliding_attention")) {
        float two[2] = {*partial, *partial};
        rc = read_one_of_two(c, &f, "full_attention", 0, &two[0], context, e);
        if (!rc)
            rc = read_one_of_two(c, &f, "sliding_attention", 1, &two[1], context, e);
        if (!rc && two[0] != two[1])
            rc = fields_bad(&f, "full_attention", "the partial_rotary_factor of sliding_attention", e);
        *partial = two[0];
        return rc;
    }
    if (local && strcmp(key, "rope_parameters") == 0)
        return fields_bad(text, key, "full_attention and sliding_attention in it", e);
    rc = read_kind(&c->rope[0], &f, context, e);
    if (!rc)
        rc = fields_positive(&f, "partial_rotary_factor", partial, e);
    if (!local)
        c->rope[1] = c->rope[0];
    return rc;
}

/* rope_scaling, unless it is empty, takes the place of rope_parameters; Gemma 3 adds it to the global layers'
 * (convert_rope_params_to_dict in modeling_rope_utils.py and configuration_gemma3.py). */
static bool replaced(const struct fields *text, bool local)
{
    const json_t *scaling = fields_get(text, "rope_scaling");
    return !local && json_is_object(scaling) && json_object_size(scaling) > 0;
}

int config_rope_json(struct config *c, const struct fields *text, bool local, struct err *e)
{
    float partial = 1;
    int rc = fields_positive(text, "rope_theta", &c->rope[0].theta, e);
    if (!rc && local)
        rc = fields_positive(text, "rope_local_base_freq", &c->rope[1].theta, e);
    else if (!rc)
        c->rope[1] = c->rope[0];
    if (!rc)
        rc = fields_positive(text, "partial_rotary_factor", &partial, e);
    if (!rc && !replaced(text, local))
        rc = read_all(c, text, "rope_parameters", local, &partial, e);
    if (!rc)
        rc = read_all(c, text, "rope_scaling", local, &partial, e);
    if (!rc && partial > 1)
        rc = fields_bad(text, "partial_rotary_factor", "at most 1", e);
    if (rc || partial == 1)
        return rc;
    uint32_t head = c->head_width ? c->head_width : c->width / c->heads;
    c->rope_width = (uint32_t)((double)partial * head);
    return c->rope_width ? 0 : fields_bad(text, "partial_rotary_factor", "some of the head to be rotated", e);
}
