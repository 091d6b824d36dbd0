/* A LoRA adapter in PEFT's files (peft/utils/save_and_load.py, get_peft_model_state_dict; LoraConfig). */
#include "base/size.h"
#include "format/safetensors.h"
#include "train/output_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = OUTPUT_NAME_MAX + 40 };

/* ---- adapter_model.safetensors ---- */

/* "base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight" */
static void adapter_name(char out[NAME_MAX_BYTES], const struct parameter *p, const struct config *c)
{
    char weight[OUTPUT_NAME_MAX];
    output_weight_name(weight, p, c);
    weight[strlen(weight) - strlen(".weight")] = 0;
    snprintf(out, NAME_MAX_BYTES, "base_model.model.%s.lora_%c.weight", weight,
             p->part == PART_LORA_A ? 'A' : 'B');
}

static int write_tensors(const char *dir, const struct parameters *p, const struct config *c, struct err *e)
{
    static const struct safetensors_pair metadata = {"format", "pt"};
    struct tensor *t = calloc(p->n, sizeof *t);
    char(*name)[NAME_MAX_BYTES] = calloc(p->n, sizeof *name), *path = NULL;
    int rc = t && name ? output_path(&path, dir, "adapter_model.safetensors", e)
                       : err_set(e, ERR_MEMORY, "out of memory");
    for (size_t i = 0; !rc && i < p->n; i++) {
        const struct parameter *q = &p->p[i];
        adapter_name(name[i], q, c);
        t[i] = (struct tensor){.name = name[i],
                               .type = DT_F32,
                               .rank = 2,
                               .dim = {q->rows, q->cols},
                               .data = (const unsigned char *)q->value,
                               .bytes = q->rows * q->cols * sizeof(float)};
    }
    if (!rc)
        rc = safetensors_write(path, t, p->n, &metadata, 1, e);
    free(path);
    free(name);
    free(t);
    return rc;
}

/* ---- adapter_config.json ---- */

static json_t *targets(unsigned bits)
{
    static const char *const module[] = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                         "gate_proj", "up_proj", "down_proj"};
    json_t *list = json_array();
    for (size_t i = 0; i < COUNT_OF(module); i++)
        if (bits >> i & 1 && json_array_append_new(list, json_string(module[i]))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* A float as the decimal number it was written as, whole ones as integers. */
static json_t *number(float f)
{
    char text[40];
    if (f == floorf(f) && fabsf(f) < 1e9f)
        return json_integer((json_int_t)f);
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)f);
        if (strtof(text, NULL) == f)
            break;
    }
    return json_real(strtod(text, NULL));
}

static int write_config(const char *dir, const struct lora_options *o, const char *base_name, struct err *e)
{
    json_t *dropout = o->dropout > 0 ? number(o->dropout) : json_real(0);
    json_t *v = json_pack("{s:{}, s:n, s:s, s:s, s:b, s:b, s:b, s:n, s:n, s:o, s:o, s:n, s:s, s:i, s:{}, "
                          "s:n, s:o, s:s, s:b, s:b}",
                          "alpha_pattern", "auto_mapping", "base_model_name_or_path", base_name, "bias",
                          "none", "fan_in_fan_out", 0, "inference_mode", 1, "init_lora_weights", 1,
                          "layers_pattern", "layers_to_transform", "lora_alpha", number(o->alpha),
                          "lora_dropout", dropout, "modules_to_save", "peft_type", "LORA", "r", (int)o->rank,
                          "rank_pattern", "revision", "target_modules", targets(o->targets), "task_type",
                          "CAUSAL_LM", "use_dora", 0, "use_rslora", (int)o->rslora);
    int rc =
        v ? output_json(dir, "adapter_config.json", v, JSON_INDENT(2) | JSON_REAL_PRECISION(15), e)
          : err_set(e, ERR_FORMAT, "adapter_config.json: the base's name is not UTF-8, or out of memory");
    json_decref(v);
    return rc;
}

int output_adapter(const char *dir, const struct parameters *p, const struct lora_options *o,
                   const struct config *c, const char *base_name, struct err *e)
{
    int rc = write_tensors(dir, p, c, e);
    return rc ? rc : write_config(dir, o, base_name, e);
}
