/* adapter_config.json: which modules an adapter changes, by which rank and scale, by PEFT's rules
 * (tuners_utils.py, check_target_module_exists; utils/other.py, get_pattern_key). */
#ifndef GYEOL_FORMAT_PEFT_CONFIG_H
#define GYEOL_FORMAT_PEFT_CONFIG_H

#include "format/fields.h"
#include "text/regex.h"

#include <stddef.h>

/* A module's name is matched by a regular expression, or is one of some names or ends in ".NAME". */
struct peft_names {
    struct regex *regex;
    const json_t *list;
};

/* rank_pattern, alpha_pattern: expressions for the end of a module's name, the first that matches counts. */
struct peft_pattern {
    const char *key;
    struct regex *regex; /* NULL: key is a plain name */
    float value;
};
struct peft_patterns {
    struct peft_pattern *item; /* owned */
    size_t n;
};

struct peft_rules {
    json_t *root; /* owned; what is below points into it */
    const char *file;
    uint32_t rank;
    float alpha;
    bool rslora, all_linear;
    struct peft_names target, exclude;
    const json_t *layers;        /* an integer or a list of them; NULL: all */
    struct regex **layers_regex; /* owned [layers_regexes]; none: any name before the number */
    size_t layers_regexes;
    struct peft_patterns ranks, alphas;
};

/* `file` is borrowed. On failure out needs no freeing. */
int peft_rules_parse(struct peft_rules *out, const char *file, const char *bytes, size_t n,
                     struct err *e) MUST_CHECK;
void peft_rules_deinit(struct peft_rules *r);

/* Whether the linear module of that layer ("model.layers.3.mlp.up_proj", 3) is adapted. */
int peft_rules_target(const struct peft_rules *r, const char *module, uint32_t layer, bool *yes,
                      struct err *e) MUST_CHECK;
int peft_rules_scale(const struct peft_rules *r, const char *module, uint32_t *rank, float *scale,
                     struct err *e) MUST_CHECK;

#endif
