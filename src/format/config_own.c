/* What a configuration says beyond GGUF's own keys: Gemma's scale of queries, Mistral's window, patterns of
 * layers that follow no period. Such things are written under keys of our own, so that a packed model is the
 * model it was packed from; other readers skip them and get what the format means without. */
#include "format/config_int.h"

#include "base/size.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define KEY_ACTIVATION      "gyeol.activation"
#define KEY_EMBEDDING_SCALE "gyeol.embedding.scale"
#define KEY_ATTENTION_SCALE "gyeol.attention.scale"
#define KEY_ATTENTION_CAP   "gyeol.attention.softcap"
#define KEY_LOGIT_CAP       "gyeol.logit.softcap"
#define KEY_WINDOW          "gyeol.attention.sliding_window"
#define KEY_LAYER_TYPES     "gyeol.attention.layer_types"
#define KEY_LOCAL_BASE      "gyeol.rope.local.freq_base"
#define KEY_LOCAL_FACTOR    "gyeol.rope.local.scaling_factor"

enum { WINDOW_MAX = 1 << 30 };

/* config.json's words. */
static const char *const activation_name[] = {
    [ACT_SILU] = "silu", [ACT_GELU_TANH] = "gelu_pytorch_tanh", [ACT_GELU] = "gelu"};
static const char *const layer_type[] = {"full_attention", "sliding_attention"};

static const struct {
    const char *key;
    size_t offset;
    float least;
} numbers[] = {
    {KEY_EMBEDDING_SCALE, offsetof(struct config, embedding_scale), 1e-30f},
    {KEY_ATTENTION_SCALE, offsetof(struct config, attention_scale), 1e-30f},
    {KEY_ATTENTION_CAP, offsetof(struct config, attention_softcap), 0}, /* 0: none */
    {KEY_LOGIT_CAP, offsetof(struct config, logit_softcap), 0},
};

static float *number_at(const struct config *c, size_t i)
{
    return (float *)((char *)c + numbers[i].offset);
}

/* ---- reading ---- */

static int get_number(float *out, const struct gguf *g, const char *key, float least, struct err *e)
{
    float v = *out;
    int rc = gguf_get_f32(g, key, &v, e);
    if (!rc && gguf_find(g, key) && !(v >= least && isfinite(v)))
        rc =
            err_set(e, ERR_FORMAT, "%s: %s is %g, want a number of at least %g", gguf_name(g), key, v, least);
    if (!rc)
        *out = v;
    return rc;
}

static bool is_text(const struct gguf_string *s, const char *text)
{
    return s->len == strlen(text) && memcmp(s->data, text, s->len) == 0;
}

static int get_activation(struct config *c, const struct gguf *g, struct err *e)
{
    struct gguf_string s = {NULL, 0};
    int rc = gguf_get_string(g, KEY_ACTIVATION, &s, e);
    if (rc || !s.data)
        return rc;
    for (size_t i = 0; i < COUNT_OF(activation_name); i++)
        if (is_text(&s, activation_name[i])) {
            c->activation = (enum config_activation)i;
            return 0;
        }
    return err_set(e, ERR_FORMAT, "%s: " KEY_ACTIVATION " is \"%.*s\", want silu, gelu or gelu_pytorch_tanh",
                   gguf_name(g), (int)(s.len < 40 ? s.len : 40), s.data);
}

static int get_layer_types(struct config *c, const struct gguf *g, struct err *e)
{
    const struct gguf_value *v = gguf_find(g, KEY_LAYER_TYPES);
    if (!v)
        return 0;
    if (v->type != GGUF_ARRAY || v->element != GGUF_STRING || v->count != c->layers)
        return err_set(e, ERR_FORMAT, "%s: " KEY_LAYER_TYPES " is no list of %u names, one for each layer",
                       gguf_name(g), c->layers);
    for (uint32_t i = 0; i < c->layers; i++) {
        c->sliding[i] = is_text(&v->strings[i], layer_type[1]);
        if (!c->sliding[i] && !is_text(&v->strings[i], layer_type[0]))
            return err_set(e, ERR_FORMAT, "%s: " KEY_LAYER_TYPES "[%u] is \"%.*s\", want %s or %s",
                           gguf_name(g), i, (int)(v->strings[i].len < 40 ? v->strings[i].len : 40),
                           v->strings[i].data, layer_type[0], layer_type[1]);
        if (c->sliding[i] && c->sliding_window == 0)
            return err_set(e, ERR_FORMAT,
                           "%s: " KEY_LAYER_TYPES " has windowed layers, but there is no window",
                           gguf_name(g));
    }
    return 0;
}

static int get_windows(struct config *c, const struct gguf *g, struct err *e)
{
    int rc = gguf_get_u32(g, KEY_WINDOW, &c->sliding_window, e);
    if (!rc && c->sliding_window > WINDOW_MAX)
        rc = err_set(e, ERR_FORMAT, "%s: " KEY_WINDOW " is %u, want at most %d", gguf_name(g),
                     c->sliding_window, WINDOW_MAX);
    for (uint32_t i = 0; !rc && c->sliding_window == 0 && i < c->layers; i++)
        c->sliding[i] = false;
    return rc ? rc : get_layer_types(c, g, e);
}

static int get_local_rope(struct config *c, const struct gguf *g, struct err *e)
{
    float factor = 1;
    struct config_rope_kind k = {.theta = c->rope[1].theta};
    if (!gguf_find(g, KEY_LOCAL_BASE))
        return 0;
    int rc = get_number(&k.theta, g, KEY_LOCAL_BASE, 1e-30f, e);
    if (!rc)
        rc = get_number(&factor, g, KEY_LOCAL_FACTOR, 1e-30f, e);
    if (rc)
        return rc;
    if (factor != 1) {
        k.scaling = ROPE_LINEAR;
        k.factor = factor;
    }
    c->rope[1] = k;
    return 0;
}

int config_own_read(struct config *c, const struct gguf *g, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < COUNT_OF(numbers); i++)
        rc = get_number(number_at(c, i), g, numbers[i].key, numbers[i].least, e);
    if (!rc)
        rc = get_activation(c, g, e);
    if (!rc)
        rc = get_windows(c, g, e);
    return rc ? rc : get_local_rope(c, g, e);
}

/* ---- writing ---- */

static void put_text(struct gguf_writer *w, const char *key, const char *text)
{
    gguf_put_string(w, key, text, strlen(text));
}

static void put_windows(struct gguf_writer *w, const struct config *c, const struct config *assumed)
{
    struct gguf_string types[CONFIG_LAYERS_MAX];
    bool differs = false;
    if (c->sliding_window != assumed->sliding_window)
        gguf_put_u32(w, KEY_WINDOW, c->sliding_window);
    for (uint32_t i = 0; i < c->layers; i++) {
        const char *type = layer_type[c->sliding[i]];
        types[i] = (struct gguf_string){type, strlen(type)};
        differs |= c->sliding[i] != assumed->sliding[i];
    }
    if (differs && c->sliding_window)
        gguf_put_strings(w, KEY_LAYER_TYPES, types, c->layers);
}

static bool same_rope(const struct config_rope_kind *a, const struct config_rope_kind *b)
{
    if (a->theta != b->theta || a->scaling != b->scaling)
        return false;
    if (a->scaling == ROPE_LINEAR)
        return a->factor == b->factor;
    return a->scaling != ROPE_LLAMA3 ||
           (a->factor == b->factor && a->low_freq_factor == b->low_freq_factor &&
            a->high_freq_factor == b->high_freq_factor && a->original_context == b->original_context);
}

static bool windowed(const struct config *c)
{
    for (uint32_t i = 0; i < c->layers; i++)
        if (c->sliding[i])
            return true;
    return false;
}

static int put_local_rope(struct gguf_writer *w, const struct config *c, const struct config *assumed,
                          struct err *e)
{
    const struct config_rope_kind *k = &c->rope[1];
    if (same_rope(k, &assumed->rope[1]) || !windowed(c))
        return 0;
    if (k->scaling != ROPE_PLAIN && k->scaling != ROPE_LINEAR)
        return err_set(e, ERR_FORMAT,
                       "a GGUF file cannot hold this model: its windowed layers scale their rotary embedding "
                       "otherwise than the rest, want default or linear scaling there");
    gguf_put_f32(w, KEY_LOCAL_BASE, k->theta);
    gguf_put_f32(w, KEY_LOCAL_FACTOR, k->scaling == ROPE_LINEAR ? k->factor : 1);
    return 0;
}

int config_own_put(struct gguf_writer *w, const struct config *c, const struct config *assumed, struct err *e)
{
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        if (*number_at(c, i) != *number_at(assumed, i))
            gguf_put_f32(w, numbers[i].key, *number_at(c, i));
    if (c->activation != assumed->activation)
        put_text(w, KEY_ACTIVATION, activation_name[c->activation]);
    put_windows(w, c, assumed);
    return put_local_rope(w, c, assumed, e);
}
