/* Writing a model as a GGUF file that any program which reads that format can load, ours giving the source's
 * logits; with an adapter, W + scale B A in W's place. */
#ifndef GYEOL_MODEL_EXPORT_H
#define GYEOL_MODEL_EXPORT_H

#include "format/peft.h"

#include <stdbool.h>

struct export_options {
    enum dtype type;           /* of the matrices: DT_F32, DT_BF16, DT_Q8_0, DT_Q4_0 */
    const struct peft *folded; /* an adapter to fold in, or NULL */
};

struct export_report {
    size_t tensors;
    uint64_t parameters, bytes; /* bytes: of tensor data */
    size_t kept;                /* tensors whose rows are no whole blocks of the type: written as kept_type */
    enum dtype kept_type;
    char kept_name[80]; /* the first of them */
    bool tokenizer;     /* false: the source has none, so the file has none */
};

/* "f32", "bf16", "q8_0", "q4_0" -> *out; false: none of them. */
bool export_type_parse(enum dtype *out, const char *name);

/* Writes path anew: through a temporary name, synced, renamed. Norms and biases are f32; embedding and output
 * head stay at 8 bits when the projections get 4. What is of the type already is copied unchanged. Shows
 * progress; ERR_STOPPED after a signal that asks to stop. */
int export_gguf(const char *path, const struct checkpoint *c, const struct export_options *o,
                struct export_report *report, struct err *e) MUST_CHECK;

#endif
