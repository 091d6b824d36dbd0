/* What the two readers of configurations share. */
#ifndef GYEOL_FORMAT_CONFIG_INT_H
#define GYEOL_FORMAT_CONFIG_INT_H

#include "format/config.h"
#include "format/fields.h"

/* The sizes of a model: where each stands in struct config, what either file calls it, and the most it may
 * be. */
struct config_number {
    const char *json, *gguf; /* gguf without "llama."; NULL: not there */
    size_t offset;
    uint32_t max;
};
#define CONFIG_NUMBERS 8
extern const struct config_number config_numbers[CONFIG_NUMBERS];

static inline uint32_t *config_number_at(struct config *c, const struct config_number *n)
{
    return (uint32_t *)((char *)c + n->offset);
}

/* The name as far as it fits, in UTF-8 whatever was there. */
void config_set_name(struct config *c, const char *s, size_t n);

/* Windows from a period: the last layer of each period sees everything. 0: every layer is windowed. */
void config_set_period(struct config *c, uint32_t period);

/* Fills what follows from the rest (head width, rope width, attention scale when they are 0) and proves that
 * the numbers agree with each other. */
int config_finish(struct config *c, const char *name, struct err *e) MUST_CHECK;

/* rope_theta, rope_local_base_freq, rope_scaling, rope_parameters, partial_rotary_factor. local: sliding
 * layers have a base of their own, which rope_scaling leaves alone (Gemma 3). */
int config_rope_json(struct config *c, const struct fields *text, bool local, struct err *e) MUST_CHECK;

/* Keys of our own, for what GGUF's cannot say. Reading overrides what the rest of the file says; writing puts
 * only what differs from what a reader assumes without. */
int config_own_read(struct config *c, const struct gguf *g, struct err *e) MUST_CHECK;
int config_own_put(struct gguf_writer *w, const struct config *c, const struct config *assumed,
                   struct err *e) MUST_CHECK;

/* What a reader of GGUF takes a model of c's numbers to be, where the metadata has no key for it. */
void config_gguf_assumed(struct config *out, const struct config *c);

#endif
