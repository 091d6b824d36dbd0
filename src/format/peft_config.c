#include "format/peft_config.h"

#include "base/size.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    NAMES_MAX = 4096,      /* every linear module of 512 layers by its name */
    EXPRESSIONS_MAX = 256, /* each may be tried on every module */
    EXPRESSION_BYTES = 2000,
    RANK_MAX = 1 << 20,
};

static int out_of_memory(const struct peft_rules *r, struct err *e)
{
    return err_set(e, ERR_MEMORY, "%s: out of memory", r->file);
}

/* ---- refusals ---- */

static int want_string(const struct fields *f, const char *key, const char *by_default, const char *want,
                       struct err *e)
{
    const char *found = by_default;
    int rc = fields_string(f, key, &found, e);
    return rc || strcmp(found, want) == 0 ? rc : fields_bad(f, key, want, e);
}

static bool is_empty(const json_t *v)
{
    return !v || (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

/* Fields that make an adapter more than W + scale B A; each is what PEFT writes when it is not used. */
static int refuse(const struct fields *f, struct err *e)
{
    static const char *const must_be_false[] = {"use_dora",   "fan_in_fan_out",      "lora_bias",
                                                "use_qalora", "ensure_weight_tying", "use_bdlora"};
    static const char *const must_be_empty[] = {"modules_to_save",   "layer_replication",
                                                "target_parameters", "trainable_token_indices",
                                                "arrow_config",      "alora_invocation_tokens"};
    int rc = want_string(f, "peft_type", "missing", "LORA", e);
    if (!rc)
        rc = want_string(f, "bias", "none", "none", e);
    for (size_t i = 0; !rc && i < COUNT_OF(must_be_false); i++) {
        bool set = false;
        rc = fields_bool(f, must_be_false[i], &set, e);
        if (!rc && set)
            rc = fields_bad(f, must_be_false[i], "false", e);
    }
    for (size_t i = 0; !rc && i < COUNT_OF(must_be_empty); i++)
        if (!is_empty(fields_get(f, must_be_empty[i])))
            rc = fields_bad(f, must_be_empty[i], "null", e);
    return rc;
}

/* Some initialisations also change the base weights, and PEFT repeats that when it loads the adapter. */
static int check_initialisation(const struct fields *f, struct err *e)
{
    static const char *const harmless[] = {"gaussian", "eva", "orthogonal"};
    const json_t *v = fields_get(f, "init_lora_weights");
    if (!v || json_is_boolean(v))
        return 0;
    for (size_t i = 0; json_is_string(v) && i < COUNT_OF(harmless); i++)
        if (strcmp(json_string_value(v), harmless[i]) == 0)
            return 0;
    return fields_bad(f, "init_lora_weights",
                      "an initialisation that leaves the base as it is (true, \"gaussian\")", e);
}

/* ---- expressions and lists ---- */

static int compile(struct regex **out, const struct fields *f, const char *key, const char *before,
                   const char *s, const char *after, struct err *e)
{
    char whole[EXPRESSION_BYTES + 40];
    size_t n = strlen(s);
    if (n > EXPRESSION_BYTES)
        return err_set(e, ERR_LIMIT, "%s: %s has an expression of %zu bytes, want at most %d", f->file, key,
                       n, EXPRESSION_BYTES);
    snprintf(whole, sizeof whole, "%s%s%s", before, s, after);
    int rc = regex_compile(out, whole, strlen(whole), REGEX_PERL, e);
    return rc ? err_prefix(e, "%s: %s: ", f->file, key) : 0;
}

static int check_list(const struct fields *f, const char *key, const json_t *list, struct err *e)
{
    if (!json_is_array(list))
        return fields_bad(f, key, "a list of names or an expression", e);
    if (json_array_size(list) > NAMES_MAX)
        return err_set(e, ERR_LIMIT, "%s: %s has %zu names, want at most %d", f->file, key,
                       json_array_size(list), NAMES_MAX);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!json_is_string(json_array_get(list, i)))
            return err_set(e, ERR_FORMAT, "%s: %s[%zu] is no string, want a module's name", f->file, key, i);
    return 0;
}

static int read_names(struct peft_names *out, const struct fields *f, const char *key, struct err *e)
{
    const json_t *v = fields_get(f, key);
    if (json_is_string(v))
        return compile(&out->regex, f, key, "", json_string_value(v), "", e);
    out->list = v;
    return check_list(f, key, v, e);
}

static bool ends_in(const char *module, const char *name, bool *whole)
{
    size_t n = strlen(module), k = strlen(name);
    *whole = n == k;
    return n >= k && strcmp(module + n - k, name) == 0 && (n == k || module[n - k - 1] == '.');
}

static int match_names(const struct peft_names *names, const char *module, bool *yes, bool *whole,
                       struct err *e)
{
    *yes = *whole = false;
    if (names->regex) {
        int rc = regex_full(names->regex, module, strlen(module), e);
        *yes = rc > 0;
        return rc < 0 ? rc : 0;
    }
    for (size_t i = 0; i < json_array_size(names->list) && !*whole; i++) {
        bool all;
        if (ends_in(module, json_string_value(json_array_get(names->list, i)), &all)) {
            *yes = true;
            *whole |= all;
        }
    }
    return 0;
}

/* ---- layers ---- */

static int check_layers(const struct peft_rules *r, const struct fields *f, struct err *e)
{
    static const char key[] = "layers_to_transform";
    if (json_is_integer(r->layers))
        return 0;
    if (!json_is_array(r->layers) || json_array_size(r->layers) > NAMES_MAX)
        return fields_bad(f, key, "a layer's number or a list of them", e);
    for (size_t i = 0; i < json_array_size(r->layers); i++)
        if (!json_is_integer(json_array_get(r->layers, i)))
            return fields_bad(f, key, "a layer's number or a list of them", e);
    return 0;
}

static int read_layers_pattern(struct peft_rules *r, const struct fields *f, struct err *e)
{
    static const char key[] = "layers_pattern";
    const json_t *v = fields_get(f, key);
    size_t n = json_is_array(v) ? json_array_size(v) : v ? 1 : 0;
    if (json_is_string(v) && !*json_string_value(v))
        n = 0; /* as good as none, says PEFT */
    if (n > EXPRESSIONS_MAX)
        return fields_bad(f, key, "fewer expressions", e);
    if (n && !(r->layers_regex = calloc(n, sizeof *r->layers_regex)))
        return out_of_memory(r, e);
    for (size_t i = 0; i < n; i++) {
        const char *s = json_string_value(json_is_array(v) ? json_array_get(v, i) : v);
        int rc = s ? compile(&r->layers_regex[i], f, key, "(?:.*\\.", s, "\\.(\\d+)\\.).*", e)
                   : fields_bad(f, key, "an expression or a list of them", e);
        if (rc)
            return rc;
        r->layers_regexes = i + 1;
    }
    return 0;
}

static int read_layers(struct peft_rules *r, const struct fields *f, struct err *e)
{
    r->layers = fields_get(f, "layers_to_transform");
    int rc = r->layers ? check_layers(r, f, e) : 0;
    if (json_is_array(r->layers) && json_array_size(r->layers) == 0)
        r->layers = NULL;
    if (!rc && r->layers && (r->target.regex || r->all_linear))
        rc = fields_bad(f, "layers_to_transform", "null, since target_modules is an expression", e);
    return rc ? rc : read_layers_pattern(r, f, e);
}

static int match_layer(const struct peft_rules *r, const char *module, uint32_t layer, bool *yes,
                       struct err *e)
{
    bool named = r->layers_regexes == 0 && strstr(module, ".layers.");
    *yes = false;
    for (size_t i = 0; i < r->layers_regexes && !named; i++) {
        int rc = regex_full(r->layers_regex[i], module, strlen(module), e);
        if (rc < 0)
            return rc;
        named = rc > 0;
    }
    if (!named)
        return 0;
    if (json_is_integer(r->layers))
        *yes = json_integer_value(r->layers) == layer;
    for (size_t i = 0; i < json_array_size(r->layers); i++)
        *yes |= json_integer_value(json_array_get(r->layers, i)) == layer;
    return 0;
}

/* ---- patterns ---- */

/* Letters, digits, _ - and dots, which match any character: no need to compile the thousands a file may have.
 */
static bool is_plain(const char *key)
{
    for (; *key; key++)
        if (!strchr("_-.", *key) && !(*key >= '0' && *key <= '9') &&
            !((*key | 32) >= 'a' && (*key | 32) <= 'z'))
            return false;
    return true;
}

static bool plain_matches(const char *key, const char *module)
{
    size_t n = strlen(module), k = strlen(key);
    if (k > n || (k < n && module[n - k - 1] != '.'))
        return false;
    for (module += n - k; *key; key++, module++)
        if (*key != *module && *key != '.')
            return false;
    return true;
}

static int read_pattern(struct peft_patterns *out, const struct fields *f, const char *what, const char *key,
                        const json_t *value, struct err *e)
{
    struct peft_pattern *p = &out->item[out->n];
    *p = (struct peft_pattern){.key = key, .value = (float)json_number_value(value)};
    if (!json_is_number(value) || !(p->value > 0) || !isfinite(p->value))
        return err_set(e, ERR_FORMAT, "%s: %s has no number above 0 for %.100s", f->file, what, key);
    int rc = is_plain(key) ? 0 : compile(&p->regex, f, what, "(?:.*\\.)?(?:", key, ")", e);
    if (!rc)
        out->n++;
    return rc;
}

static int read_patterns(struct peft_patterns *out, const struct fields *f, const char *what, struct err *e)
{
    struct fields o;
    const char *key;
    json_t *value;
    size_t expressions = 0;
    if (!fields_get(f, what))
        return 0;
    int rc = fields_object(f, what, &o, e);
    if (rc)
        return rc;
    size_t n = json_object_size(o.object);
    if (n > NAMES_MAX)
        return err_set(e, ERR_LIMIT, "%s: %s has %zu names, want at most %d", f->file, what, n, NAMES_MAX);
    if (!(out->item = calloc(n + 1, sizeof *out->item)))
        return err_set(e, ERR_MEMORY, "%s: out of memory", f->file);
    json_object_foreach((json_t *)o.object, key, value)
    {
        expressions += !is_plain(key);
        rc = expressions > EXPRESSIONS_MAX ? err_set(e, ERR_LIMIT, "%s: %s has more than %d expressions",
                                                     f->file, what, EXPRESSIONS_MAX)
                                           : read_pattern(out, f, what, key, value, e);
        if (rc)
            return rc;
    }
    return 0;
}

static int match_patterns(const struct peft_patterns *p, const char *module, float *value, struct err *e)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct peft_pattern *at = &p->item[i];
        int rc =
            at->regex ? regex_full(at->regex, module, strlen(module), e) : plain_matches(at->key, module);
        if (rc > 0)
            *value = at->value;
        if (rc)
            return rc < 0 ? rc : 0;
    }
    return 0;
}

/* ---- the whole ---- */

static int read_targets(struct peft_rules *r, const struct fields *f, struct err *e)
{
    const json_t *v = fields_get(f, "target_modules");
    if (json_is_string(v) && strcasecmp(json_string_value(v), "all-linear") == 0)
        r->all_linear = true;
    int rc = r->all_linear ? 0 : read_names(&r->target, f, "target_modules", e);
    if (!rc && fields_get(f, "exclude_modules"))
        rc = read_names(&r->exclude, f, "exclude_modules", e);
    return rc;
}

static int read_rules(struct peft_rules *r, const struct fields *f, struct err *e)
{
    r->rank = 8;
    r->alpha = 8; /* LoraConfig's own */
    int rc = refuse(f, e);
    if (!rc)
        rc = check_initialisation(f, e);
    if (!rc)
        rc = fields_u32(f, "r", &r->rank, 1, RANK_MAX, e);
    if (!rc)
        rc = fields_positive(f, "lora_alpha", &r->alpha, e);
    if (!rc)
        rc = fields_bool(f, "use_rslora", &r->rslora, e);
    if (!rc)
        rc = read_targets(r, f, e);
    if (!rc)
        rc = read_layers(r, f, e);
    if (!rc)
        rc = read_patterns(&r->ranks, f, "rank_pattern", e);
    return rc ? rc : read_patterns(&r->alphas, f, "alpha_pattern", e);
}

int peft_rules_parse(struct peft_rules *out, const char *file, const char *bytes, size_t n, struct err *e)
{
    struct fields f;
    *out = (struct peft_rules){.file = file};
    int rc = fields_parse(&f, &out->root, file, bytes, n, e);
    if (rc)
        return rc;
    rc = read_rules(out, &f, e);
    if (rc)
        peft_rules_deinit(out);
    return rc;
}

static void free_patterns(struct peft_patterns *p)
{
    for (size_t i = 0; i < p->n; i++)
        regex_free(p->item[i].regex);
    free(p->item);
}

void peft_rules_deinit(struct peft_rules *r)
{
    regex_free(r->target.regex);
    regex_free(r->exclude.regex);
    for (size_t i = 0; i < r->layers_regexes; i++)
        regex_free(r->layers_regex[i]);
    free(r->layers_regex);
    free_patterns(&r->ranks);
    free_patterns(&r->alphas);
    json_decref(r->root);
    *r = (struct peft_rules){0};
}

int peft_rules_target(const struct peft_rules *r, const char *module, uint32_t layer, bool *yes,
                      struct err *e)
{
    bool whole, excluded;
    int rc = match_names(&r->exclude, module, &excluded, &whole, e);
    *yes = !rc && !excluded;
    if (!*yes || r->all_linear)
        return rc ? err_prefix(e, "%s: exclude_modules: ", r->file) : 0;
    rc = match_names(&r->target, module, yes, &whole, e);
    if (!rc && *yes && !whole && r->layers)
        rc = match_layer(r, module, layer, yes, e);
    return rc ? err_prefix(e, "%s: target_modules: ", r->file) : 0;
}

int peft_rules_scale(const struct peft_rules *r, const char *module, uint32_t *rank, float *scale,
                     struct err *e)
{
    float rank_of = (float)r->rank, alpha = r->alpha;
    int rc = match_patterns(&r->ranks, module, &rank_of, e);
    if (!rc)
        rc = match_patterns(&r->alphas, module, &alpha, e);
    if (rc)
        return err_prefix(e, "%s: rank_pattern or alpha_pattern: ", r->file);
    if (rank_of > RANK_MAX || rank_of != floorf(rank_of))
        return err_set(e, ERR_FORMAT, "%s: rank_pattern gives %.120s the rank %g, want a whole number",
                       r->file, module, rank_of);
    *rank = (uint32_t)rank_of;
    *scale = (float)(alpha / (r->rslora ? sqrt(rank_of) : (double)rank_of));
    return 0;
}
