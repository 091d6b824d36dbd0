/* config.json, adapter_config.json, GGUF metadata and the state of a 4-bit weight: whatever the bytes, a
 * configuration that holds together or a refusal that names the file. */
#include "format/checkpoint_int.h"
#include "format/peft_config.h"
#include "text/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void check_message(const struct err *e, int rc)
{
    bool known = rc == ERR_FORMAT || rc == ERR_LIMIT || rc == ERR_MEMORY;
    if (!known || e->code != rc || strncmp(e->msg, "fuzz", 4) != 0)
        abort();
    if (!utf8_valid(e->msg, strlen(e->msg), NULL) || strpbrk(e->msg, "\r\n"))
        abort();
}

static bool good_rope(const struct config_rope_kind *k)
{
    bool scaled = k->scaling == ROPE_LINEAR || k->scaling == ROPE_LLAMA3;
    if (k->scaling == ROPE_LLAMA3 && !(k->low_freq_factor > 0 && k->high_freq_factor > k->low_freq_factor))
        return false;
    return k->theta > 0 && isfinite(k->theta) && (!scaled || (k->factor > 0 && isfinite(k->factor)));
}

/* What the decoder takes for granted. */
static void check_config(const struct config *c)
{
    bool sizes = c->layers >= 1 && c->layers <= CONFIG_LAYERS_MAX && c->width && c->heads && c->kv_heads &&
                 c->ff_width && c->vocabulary && c->context && c->head_width >= 2 &&
                 c->head_width <= CONFIG_HEAD_MAX;
    bool even = sizes && c->heads % c->kv_heads == 0 && c->rope_width >= 2 && c->rope_width % 2 == 0 &&
                c->rope_width <= c->head_width;
    bool scales = isfinite(c->embedding_scale) && c->attention_scale > 0 && isfinite(c->attention_scale) &&
                  c->attention_softcap >= 0 && c->logit_softcap >= 0 && c->norm_eps > 0;
    if (!even || !scales || !good_rope(&c->rope[0]) || !good_rope(&c->rope[1]))
        abort();
    for (uint32_t i = 0; i < CONFIG_LAYERS_MAX; i++)
        if (c->sliding[i] && (i >= c->layers || c->sliding_window == 0))
            abort();
    if (c->bos < -1 || c->bos >= (int32_t)c->vocabulary || !utf8_valid(c->name, strlen(c->name), NULL))
        abort();
    for (int r = 0; r < ROLE_COUNT; r++) {
        size_t dim[2];
        int rank = role_shape((enum role)r, c, dim);
        if (rank < 0 || rank > 2 || (rank && (dim[0] == 0 || dim[1] == 0)))
            abort();
    }
}

static void fuzz_config(const char *bytes, size_t n)
{
    struct err e = {0};
    struct config c;
    int rc = config_from_json(&c, "fuzz", bytes, n, &e);
    if (rc)
        check_message(&e, rc);
    else
        check_config(&c);
}

static void fuzz_adapter(const char *bytes, size_t n)
{
    static const char *const module[] = {"model.layers.0.self_attn.q_proj", "layers.1.mlp.down_proj"};
    struct err e = {0};
    struct peft_rules r;
    int rc = peft_rules_parse(&r, "fuzz", bytes, n, &e);
    if (rc) {
        check_message(&e, rc);
        return;
    }
    for (uint32_t i = 0; i < 2; i++) {
        bool yes;
        uint32_t rank = 0;
        float scale = 0;
        rc = peft_rules_target(&r, module[i], i, &yes, &e);
        if (!rc)
            rc = peft_rules_scale(&r, module[i], &rank, &scale, &e);
        if (rc)
            check_message(&e, rc);
        else if (rank == 0 || !(scale >= 0))
            abort();
    }
    peft_rules_deinit(&r);
}

static void fuzz_state(const unsigned char *bytes, size_t n)
{
    static const unsigned char data[4096];
    static const struct tensor packed = {"w", DT_U8, 2, {2048, 1}, data, 2048},
                               absmax = {"w.absmax", DT_F32, 1, {64}, data, 256},
                               codes = {"w.absmax", DT_U8, 1, {64}, data, 64},
                               map = {"w.quant_map", DT_F32, 1, {16}, data, 64},
                               nested = {"w.nested_absmax", DT_F32, 1, {1}, data, 4},
                               nested_map = {"w.nested_quant_map", DT_F32, 1, {256}, data, 1024};
    struct tensor state = {"w.quant_state.bitsandbytes__nf4", DT_U8, 1, {n}, bytes, n};
    for (int twice = 0; twice < 2; twice++) {
        struct slot s = {{&packed, twice ? &codes : &absmax, &map, twice ? &nested : NULL,
                          twice ? &nested_map : NULL, &state},
                         "fuzz"};
        struct weight w = {.tensor = packed};
        struct err e = {0};
        float out[64];
        int rc = checkpoint_nf4(&w, &s, (size_t[]){64, 64}, &e);
        if (rc)
            check_message(&e, rc);
        else if (weight_decode_rows(out, &w, 63, 1, &e))
            abort();
    }
}

static void fuzz_gguf(const unsigned char *bytes, size_t n)
{
    struct err e = {0};
    struct config c;
    struct gguf *g;
    int rc = gguf_parse(&g, "fuzz", bytes, n, &e);
    if (!rc) {
        rc = config_from_gguf(&c, g, &e);
        if (!rc)
            check_config(&c);
        gguf_close(g);
    }
    if (rc)
        check_message(&e, rc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] == 'a')
        fuzz_adapter((const char *)data + 1, size - 1);
    else if (data[0] == 'g')
        fuzz_gguf(data + 1, size - 1);
    else if (data[0] == 's')
        fuzz_state(data + 1, size - 1);
    else
        fuzz_config((const char *)data + 1, size - 1);
    return 0;
}
