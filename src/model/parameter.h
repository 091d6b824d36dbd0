/* What training changes: a list of float tensors, each with its gradient, in Hugging Face's order and
 * convention (rows one after another; Gemma's norms as w for 1+w). Either LoRA pairs beside a frozen base
 * (Hu et al., "LoRA", 2021; initialised as PEFT does) or every weight of a model.
 *
 * The forward pass reads packed copies: `adapter` for LoRA, the model's own block for full training;
 * parameters_sync writes them anew after the values changed. */
#ifndef GYEOL_MODEL_PARAMETER_H
#define GYEOL_MODEL_PARAMETER_H

#include "model/adapter.h"

enum parameter_part { PART_WEIGHT, PART_LORA_A, PART_LORA_B };

struct parameter {
    enum role role;
    uint32_t layer; /* 0 for roles before ROLE_FIRST_LAYER */
    enum parameter_part part;
    size_t rows, cols;   /* a vector: rows 1 */
    float *value, *grad; /* [rows, cols], views into the blocks below */
};

struct parameters {
    struct parameter *p; /* LoRA: A before B, by layer then role; full: in the layout's order */
    size_t n;
    float *values, *grads;   /* all of them one after another: what the optimiser walks */
    size_t count;            /* floats in each */
    struct adapter *adapter; /* LoRA: the packed pairs, B A scaled; NULL for full training */
    float scale, dropout;    /* LoRA: alpha / r or alpha / sqrt(r); share of A's inputs set to zero */
    void *space;
};

struct lora_options {
    uint32_t rank;
    float alpha;
    bool rslora;
    float dropout;
    unsigned targets; /* bit (role - ROLE_Q) per projection */
    uint64_t seed;
};

/* A ~ U(-1/sqrt(inputs), 1/sqrt(inputs)) (PEFT: kaiming_uniform with a = sqrt 5), B = 0. */
int parameters_lora(struct parameters **out, const struct model *m, const struct lora_options *o,
                    struct err *e) MUST_CHECK;

/* Values from an adapter's files: the same targets, ranks and shapes, one rank throughout. */
int parameters_load_lora(struct parameters *p, const struct peft *from, struct err *e) MUST_CHECK;

/* All weights of m (of type MODEL_F32 or MODEL_BF16, its block in memory of its own), read from c exactly
 * (not from m's rounded copy), or with c NULL drawn: normal with deviation 0.02, those that write to the
 * residual stream (o, down) 0.02 / sqrt(2 layers) (GPT-2), norms 1, biases 0. A tied head is one parameter. */
int parameters_full(struct parameters **out, const struct model *m, const struct checkpoint *c, uint64_t seed,
                    struct err *e) MUST_CHECK;
void parameters_free(struct parameters *p); /* NULL allowed */

/* The parameter, or NULL when it is not trained. */
struct parameter *parameters_find(const struct parameters *p, enum role r, uint32_t layer,
                                  enum parameter_part part);

/* Packs the values where the forward pass reads them: the adapter's panels (m is not looked at and may be NULL),
 * or m's block (m is written). */
void parameters_sync(struct parameters *p, struct model *m);

#endif
