/* Writes a small random Llama with a byte-fallback tokenizer as GGUF: what command-line tests judge with when
 * no real model is at hand. usage: tiny_model OUT.gguf [SEED [WIDTH [LAYERS]]] */
#include "base/rng.h"
#include "base/size.h"
#include "format/gguf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tiny {
    struct gguf_writer *w;
    struct rng rng;
    size_t D, layers, F, V;
};

/* Pieces after <unk>, <s>, </s> and the 256 bytes. */
static const char *const pieces[] = {"\u2581",     "상승",       "유지",       "하락",
                                     "\u2581상승", "\u2581유지", "\u2581하락", "\u2581혼자",
                                     "\u2581친구", "\u2581계획", "싫다",       "좋다"};

static void put_tokenizer(struct tiny *t)
{
    enum { BYTES = 256, FIRST = 3 };
    static char text[BYTES][8];
    struct gguf_string token[FIRST + BYTES + COUNT_OF(pieces)];
    float score[COUNT_OF(token)];
    int32_t type[COUNT_OF(token)];
    const char *special[FIRST] = {"<unk>", "<s>", "</s>"};
    for (size_t i = 0; i < COUNT_OF(token); i++) {
        const char *s = i < FIRST           ? special[i]
                        : i < FIRST + BYTES ? text[i - FIRST]
                                            : pieces[i - FIRST - BYTES];
        if (i >= FIRST && i < FIRST + BYTES)
            snprintf(text[i - FIRST], sizeof text[0], "<0x%02X>", (unsigned)(i - FIRST));
        token[i] = (struct gguf_string){s, strlen(s)};
        score[i] = i < FIRST + BYTES ? 0 : -(float)i;
        type[i] = i == 0 ? 2 : i < FIRST ? 3 : i < FIRST + BYTES ? 6 : 1;
    }
    t->V = COUNT_OF(token);
    gguf_put_string(t->w, "tokenizer.ggml.model", "llama", 5);
    gguf_put_string(t->w, "tokenizer.ggml.pre", "default", 7);
    gguf_put_strings(t->w, "tokenizer.ggml.tokens", token, t->V);
    gguf_put_f32s(t->w, "tokenizer.ggml.scores", score, t->V);
    gguf_put_i32s(t->w, "tokenizer.ggml.token_type", type, t->V);
    gguf_put_u32(t->w, "tokenizer.ggml.unknown_token_id", 0);
    gguf_put_u32(t->w, "tokenizer.ggml.bos_token_id", 1);
    gguf_put_u32(t->w, "tokenizer.ggml.eos_token_id", 2);
    gguf_put_bool(t->w, "tokenizer.ggml.add_space_prefix", false);
}

static void put_configuration(struct tiny *t)
{
    const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {{"llama.block_count", (uint32_t)t->layers},
                   {"llama.context_length", 4096},
                   {"llama.embedding_length", (uint32_t)t->D},
                   {"llama.feed_forward_length", (uint32_t)t->F},
                   {"llama.attention.head_count", 4},
                   {"llama.attention.head_count_kv", 2},
                   {"llama.attention.key_length", (uint32_t)t->D / 4},
                   {"llama.attention.value_length", (uint32_t)t->D / 4},
                   {"llama.rope.dimension_count", (uint32_t)t->D / 4},
                   {"general.file_type", 0}};
    gguf_put_string(t->w, "general.architecture", "llama", 5);
    gguf_put_string(t->w, "general.name", "tiny", 4);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        gguf_put_u32(t->w, numbers[i].key, numbers[i].value);
    gguf_put_f32(t->w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_put_f32(t->w, "llama.rope.freq_base", 10000);
}

/* Describes (pass 0) or writes (pass 1) one tensor. */
static int tensor(struct tiny *t, int pass, const char *name, size_t rows, size_t cols, struct err *e)
{
    size_t dim[2] = {rows, cols}, n = rows * cols;
    if (!pass) {
        gguf_put_tensor(t->w, name, DT_F32, rows > 1 ? 2 : 1, rows > 1 ? dim : dim + 1);
        return 0;
    }
    float *v = malloc(n * sizeof *v);
    if (!v)
        return err_set(e, ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++)
        v[i] = rows == 1 ? 1 : 1.7f / sqrtf((float)cols) * ((float)(rng_next(&t->rng) >> 40) * 0x1p-23f - 1);
    int rc = gguf_write_data(t->w, v, n * sizeof *v, e);
    free(v);
    return rc;
}

static int tensors(struct tiny *t, int pass, struct err *e)
{
    const struct {
        const char *name;
        size_t rows, cols;
    } layer[] = {{"attn_norm", 1, t->D},     {"attn_q", t->D, t->D},      {"attn_k", t->D / 2, t->D},
                 {"attn_v", t->D / 2, t->D}, {"attn_output", t->D, t->D}, {"ffn_norm", 1, t->D},
                 {"ffn_gate", t->F, t->D},   {"ffn_up", t->F, t->D},      {"ffn_down", t->D, t->F}};
    int rc = tensor(t, pass, "token_embd.weight", t->V, t->D, e);
    for (size_t l = 0; l < t->layers; l++)
        for (size_t i = 0; !rc && i < COUNT_OF(layer); i++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%zu.%s.weight", l, layer[i].name);
            rc = tensor(t, pass, name, layer[i].rows, layer[i].cols, e);
        }
    return rc ? rc : tensor(t, pass, "output_norm.weight", 1, t->D, e);
}

int main(int argc, char **argv)
{
    struct tiny t = {.rng = {argc > 2 ? strtoull(argv[2], NULL, 10) : 1},
                     .D = argc > 3 ? strtoull(argv[3], NULL, 10) : 64,
                     .layers = argc > 4 ? strtoull(argv[4], NULL, 10) : 2};
    struct err e;
    t.F = 2 * t.D;
    int rc = argc < 2 ? err_set(&e, ERR_USAGE, "usage: tiny_model OUT.gguf [SEED [WIDTH [LAYERS]]]")
                      : gguf_create(&t.w, argv[1], &e);
    if (!rc) {
        put_configuration(&t);
        put_tokenizer(&t);
        rc = tensors(&t, 0, &e);
    }
    if (!rc)
        rc = gguf_begin_data(t.w, &e);
    if (!rc)
        rc = tensors(&t, 1, &e);
    if (!rc)
        rc = gguf_finish(t.w, &e);
    else if (argc > 1)
        gguf_abandon(t.w);
    if (rc)
        fprintf(stderr, "tiny_model: %s\n", e.msg);
    return rc ? 1 : 0;
}
