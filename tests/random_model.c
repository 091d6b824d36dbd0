/* Writes a small random Llama with a byte-fallback tokenizer as GGUF: what command-line tests judge with when
 * no real model is at hand. usage: tiny_model OUT.gguf [SEED [WIDTH [LAYERS]]] */
#include "base/rng.h"
#include "base/size.h"
#include "compute/quant.h"
#include "format/tokenizer_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shape {
    const char *name;
    size_t D, layers, heads, kv_heads, head, F, V;
    float theta;
};

static const struct shape shapes[] = {{"tiny", 64, 2, 4, 2, 16, 128, 0, 1e4f},
                                      {"hcx-0.5b", 1024, 24, 16, 8, 128, 4096, 110592, 1e8f},
                                      {"hcx-1.5b", 2048, 24, 16, 8, 128, 7168, 110592, 1e8f}};

struct writer {
    struct gguf_writer *w;
    struct rng rng;
    const struct shape *shape;
    enum dtype type;
    size_t V;
    const char *words; /* a tokenizer's path in place of the byte tokenizer, or NULL */
};

/* Pieces after <unk>, <s>, </s> and the 256 bytes. */
static const char *const pieces[] = {"\u2581",     "상승",       "유지",       "하락",
                                     "\u2581상승", "\u2581유지", "\u2581하락", "\u2581혼자",
                                     "\u2581친구", "\u2581계획", "싫다",       "좋다"};

enum { BYTES = 256, FIRST = 3, OWN = FIRST + BYTES + COUNT_OF(pieces) };

static const char *token_text(size_t i, char space[32])
{
    static const char *const special[FIRST] = {"<unk>", "<s>", "</s>"};
    if (i < FIRST)
        return special[i];
    if (i >= FIRST + BYTES && i < OWN)
        return pieces[i - FIRST - BYTES];
    if (i < OWN)
        snprintf(space, 32, "<0x%02zX>", i - FIRST);
    else
        snprintf(space, 32, "<unused%zu>", i);
    return space;
}

static int put_words(struct writer *t, struct err *e)
{
    struct tokenizer *words;
    int rc = tokenizer_open(&words, t->words, e);
    if (rc)
        return rc;
    t->V = t->shape->V ? t->shape->V : tokenizer_size(words);
    rc = tokenizer_put_gguf(t->w, words, t->V, e);
    tokenizer_close(words);
    return rc;
}

static int put_tokenizer(struct writer *t, struct err *e)
{
    if (t->words)
        return put_words(t, e);
    size_t V = t->V = t->shape->V ? t->shape->V : OWN;
    struct gguf_string *token = calloc(V, sizeof *token);
    float *score = calloc(V, sizeof *score);
    int32_t *type = calloc(V, sizeof *type);
    char(*space)[32] = calloc(V, sizeof *space);
    if (!token || !score || !type || !space)
        return err_set(e, ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < V; i++) {
        const char *s = token_text(i, space[i]);
        token[i] = (struct gguf_string){s, strlen(s)};
        score[i] = i < FIRST + BYTES ? 0 : -(float)i;
        type[i] = i == 0 ? 2 : i < FIRST ? 3 : i < FIRST + BYTES ? 6 : i < OWN ? 1 : 5;
    }
    gguf_put_string(t->w, "tokenizer.ggml.model", "llama", 5);
    gguf_put_string(t->w, "tokenizer.ggml.pre", "default", 7);
    gguf_put_strings(t->w, "tokenizer.ggml.tokens", token, V);
    gguf_put_f32s(t->w, "tokenizer.ggml.scores", score, V);
    gguf_put_i32s(t->w, "tokenizer.ggml.token_type", type, V);
    gguf_put_u32(t->w, "tokenizer.ggml.unknown_token_id", 0);
    gguf_put_u32(t->w, "tokenizer.ggml.bos_token_id", 1);
    gguf_put_u32(t->w, "tokenizer.ggml.eos_token_id", 2);
    gguf_put_bool(t->w, "tokenizer.ggml.add_space_prefix", false);
    free(token);
    free(score);
    free(type);
    free(space);
    return 0;
}

static void put_configuration(struct writer *t)
{
    const struct shape *s = t->shape;
    const struct {
        const char *key;
        size_t value;
    } numbers[] = {{"llama.block_count", s->layers},         {"llama.context_length", 4096},
                   {"llama.embedding_length", s->D},         {"llama.feed_forward_length", s->F},
                   {"llama.attention.head_count", s->heads}, {"llama.attention.head_count_kv", s->kv_heads},
                   {"llama.attention.key_length", s->head},  {"llama.attention.value_length", s->head},
                   {"llama.rope.dimension_count", s->head}};
    gguf_put_string(t->w, "general.architecture", "llama", 5);
    gguf_put_string(t->w, "general.name", "random", 6);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        gguf_put_u32(t->w, numbers[i].key, (uint32_t)numbers[i].value);
    gguf_put_f32(t->w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_put_f32(t->w, "llama.rope.freq_base", s->theta);
}

static int write_rows(struct writer *t, enum dtype type, size_t rows, size_t cols, struct err *e)
{
    size_t bytes;
    float *v = malloc(cols * sizeof *v);
    unsigned char *packed = malloc(cols * sizeof *v);
    int rc = v && packed && dtype_row_bytes(type, cols, &bytes) ? 0 : err_set(e, ERR_MEMORY, "out of memory");
    for (size_t r = 0; !rc && r < rows; r++) {
        for (size_t i = 0; i < cols; i++)
            v[i] =
                rows == 1 ? 1 : 1.7f / sqrtf((float)cols) * ((float)(rng_next(&t->rng) >> 40) * 0x1p-23f - 1);
        quant_encode(packed, type, v, cols);
        rc = gguf_write_data(t->w, packed, bytes, e);
    }
    free(v);
    free(packed);
    return rc;
}

/* Describes (pass 0) or writes (pass 1) one tensor. */
static int tensor(struct writer *t, int pass, const char *name, size_t rows, size_t cols, struct err *e)
{
    size_t dim[2] = {rows, cols};
    enum dtype type = rows == 1                                              ? DT_F32
                      : strncmp(name, "token", 5) == 0 && t->type == DT_Q4_0 ? DT_Q8_0
                                                                             : t->type;
    if (pass)
        return write_rows(t, type, rows, cols, e);
    gguf_put_tensor(t->w, name, type, rows > 1 ? 2 : 1, rows > 1 ? dim : dim + 1);
    return 0;
}

static int tensors(struct writer *t, int pass, struct err *e)
{
    const struct shape *s = t->shape;
    size_t q = s->heads * s->head, kv = s->kv_heads * s->head;
    const struct {
        const char *name;
        size_t rows, cols;
    } layer[] = {{"attn_norm", 1, s->D},   {"attn_q", q, s->D},      {"attn_k", kv, s->D},
                 {"attn_v", kv, s->D},     {"attn_output", s->D, q}, {"ffn_norm", 1, s->D},
                 {"ffn_gate", s->F, s->D}, {"ffn_up", s->F, s->D},   {"ffn_down", s->D, s->F}};
    int rc = tensor(t, pass, "token_embd.weight", t->V, s->D, e);
    for (size_t l = 0; l < s->layers; l++)
        for (size_t i = 0; !rc && i < COUNT_OF(layer); i++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%zu.%s.weight", l, layer[i].name);
            rc = tensor(t, pass, name, layer[i].rows, layer[i].cols, e);
        }
    return rc ? rc : tensor(t, pass, "output_norm.weight", 1, s->D, e);
}

static int arguments(struct writer *t, int argc, char **argv, struct err *e)
{
    int type = argc > 3 ? dtype_parse(argv[3]) : DT_F32;
    const char *name = argc > 2 ? argv[2] : "tiny";
    t->rng.state = argc > 4 ? strtoull(argv[4], NULL, 10) : 1;
    t->type = (enum dtype)type;
    t->words = argc > 5 ? argv[5] : NULL;
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        if (strcmp(shapes[i].name, name) == 0)
            t->shape = &shapes[i];
    if (argc < 2 || !t->shape || type < 0)
        return err_set(e, ERR_USAGE,
                       "usage: random_model OUT.gguf [tiny|hcx-0.5b|hcx-1.5b [TYPE [SEED [TOKENIZER]]]]");
    return gguf_create(&t->w, argv[1], e);
}

int main(int argc, char **argv)
{
    struct writer t = {0};
    struct err e;
    int rc = arguments(&t, argc, argv, &e);
    if (!rc) {
        put_configuration(&t);
        rc = put_tokenizer(&t, &e);
    }
    if (!rc)
        rc = tensors(&t, 0, &e);
    if (!rc)
        rc = gguf_begin_data(t.w, &e);
    if (!rc)
        rc = tensors(&t, 1, &e);
    if (!rc)
        rc = gguf_finish(t.w, &e);
    else
        gguf_abandon(t.w);
    if (rc)
        fprintf(stderr, "random_model: %s\n", e.msg);
    return rc ? 1 : 0;
}
