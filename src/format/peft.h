/* LoRA adapters as PEFT writes them: adapter_config.json and adapter_model.safetensors. For a linear weight W
 * [outputs, inputs] the adapter adds scale * B A with A [r, inputs], B [outputs, r]; scale = alpha / r, or
 * alpha / sqrt(r) with use_rslora. */
#ifndef GYEOL_FORMAT_PEFT_H
#define GYEOL_FORMAT_PEFT_H

#include "format/checkpoint.h"

struct peft_pair {
    const struct tensor *a, *b; /* NULL: this weight is not adapted. f32, f16 or bf16 */
    uint32_t rank;
    float scale;
};

struct peft;

/* Reads dir and proves every pair against the base's configuration: shapes, ranks (r, rank_pattern), target
 * modules (list, regular expression, "all-linear") all agree with the tensors there. Refused by name: DoRA,
 * bias other than "none", modules_to_save, fan_in_fan_out, peft_type other than LORA, layers the base lacks.
 * When gyeol.json in dir records base_sha256, base_sha256 must equal it (NULL: not known, not compared). */
int peft_open(struct peft **out, const char *dir, const struct config *base, const char *base_sha256,
              struct err *e) MUST_CHECK;
void peft_close(struct peft *p); /* NULL allowed */

/* r: ROLE_Q .. ROLE_DOWN. */
struct peft_pair peft_get(const struct peft *p, enum role r, uint32_t layer);

/* The base's SHA-256 that gyeol.json recorded, or NULL. */
const char *peft_base_sha256(const struct peft *p);
const char *peft_dir(const struct peft *p);

#endif
