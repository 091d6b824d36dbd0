/* Models written as GGUF files: tensor for tensor and key for key what the reference converter makes of the
 * same models (tests/fixtures, model.gguf), with the source's logits; other types, adapters folded in, and
 * what the reference has no keys for. */
#include "base/size.h"
#include "base/stop.h"
#include "compute/quant.h"
#include "format/chat_file.h"
#include "format/tokenizer_file.h"
#include "model/export.h"
#include "model/session.h"

#include <math.h>
#include <signal.h>

#include "model_folder.h"

#define FIXTURES "tests/fixtures/"
enum { TOKENS = 24, VOCABULARY = 256 };

static const char *const models[] = {"llama_tied", "llama_untied", "llama_hcx", "llama31",
                                     "mistral",    "gemma2",       "gemma3"};

static const char *fixture(const char *model, const char *file)
{
    static char path[256];
    snprintf(path, sizeof path, FIXTURES "%s%s%s", model, *file ? "/" : "", file);
    return path;
}

/* ---- writing ---- */

static struct export_report written(const char *from, const char *adapter, enum dtype type, const char *to)
{
    struct checkpoint *c;
    struct peft *p = NULL;
    struct export_report report;
    ok(checkpoint_open(&c, from, &error));
    if (adapter)
        ok(peft_open(&p, adapter, checkpoint_config(c), NULL, &error));
    const struct export_options o = {.type = type, .folded = p};
    ok(export_gguf(in_folder(to), c, &o, &report, &error));
    peft_close(p);
    checkpoint_close(c);
    return report;
}

/* ---- logits ---- */

static const int32_t input[TOKENS] = {1,  17, 42,  200, 255, 3,   3,  99, 128, 64,  7, 250,
                                      31, 5,  180, 77,  12,  230, 66, 2,  111, 140, 9, 54};

static float *logits_of(const char *path)
{
    struct checkpoint *c;
    struct model *m;
    struct session *s;
    struct kv *kv;
    size_t every[TOKENS];
    const struct session_options o = {.tokens = TOKENS, .positions = TOKENS};
    ok(checkpoint_open(&c, path, &error));
    ok(model_load(&m, c, MODEL_F32, &error));
    ok(session_new(&s, m, &o, &error));
    ok(kv_new(&kv, m, NULL, TOKENS, false, &error));
    float *hidden = malloc(TOKENS * m->config.width * sizeof *hidden),
          *logits = malloc(TOKENS * VOCABULARY * sizeof *logits);
    for (size_t i = 0; i < TOKENS; i++)
        every[i] = i;
    struct run run = {.kv = kv, .ids = input, .n = TOKENS};
    struct outputs out = {every, TOKENS, hidden, NULL};
    ok(session_forward(s, &run, 1, &out, &error));
    session_logits(s, &m->head, hidden, TOKENS, logits, VOCABULARY);
    free(hidden);
    kv_free(kv);
    session_free(s);
    model_close(m);
    checkpoint_close(c);
    return logits;
}

static void check_logits(const char *path, const char *want_file)
{
    struct file_map want;
    double most = 0;
    float *got = logits_of(path), reference[TOKENS * VOCABULARY];
    ok(file_map_open(&want, want_file, &error));
    assert_int_equal(want.len, sizeof reference);
    memcpy(reference, want.data, sizeof reference);
    for (size_t i = 0; i < COUNT_OF(reference); i++)
        most = fmax(most, fabs((double)got[i] - (double)reference[i]));
    if (!(most <= 2e-4))
        fail_msg("%s: logits %g from those in %s", path, most, want_file);
    print_message("# %s: logits within %.1e\n", want_file, most);
    file_map_close(&want);
    free(got);
}

/* ---- against the reference converter's files ---- */

static void same_tensor(const char *model, const struct tensor *a, const struct tensor *b)
{
    bool same = strcmp(a->name, b->name) == 0 && a->type == b->type && a->rank == b->rank &&
                a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
    for (int i = 0; same && i < a->rank; i++)
        same = a->dim[i] == b->dim[i];
    if (!same)
        fail_msg("%s: tensor %s (%s, %zu bytes) is not %s (%s, %zu)", model, a->name,
                 dtype_info[a->type].name, a->bytes, b->name, dtype_info[b->type].name, b->bytes);
}

static bool compared(const char *key)
{
    static const char *const apart[] = {"general.name", "general.type", "general.size_label"};
    for (size_t i = 0; i < COUNT_OF(apart); i++)
        if (strcmp(key, apart[i]) == 0)
            return false;
    return strncmp(key, "tokenizer.", 10) != 0 && strncmp(key, "gyeol.", 6) != 0;
}

static bool same_value(const struct gguf_value *a, const struct gguf_value *b)
{
    if (a->type != b->type || a->count != b->count)
        return false;
    if (a->type == GGUF_STRING)
        return a->strings[0].len == b->strings[0].len &&
               memcmp(a->strings[0].data, b->strings[0].data, a->strings[0].len) == 0;
    return gguf_number_at(a, 0) == gguf_number_at(b, 0);
}

/* Every key of `a` is in `b` with the same value. */
static size_t check_keys(const char *model, const struct gguf *a, const struct gguf *b)
{
    size_t n = 0;
    for (size_t i = 0; i < gguf_keys(a); i++) {
        const struct gguf_value *x, *y;
        const char *key = gguf_key_at(a, i, &x);
        if (!compared(key))
            continue;
        n++;
        y = gguf_find(b, key);
        if (!y || !same_value(x, y))
            fail_msg("%s: %s is %s", model, key, y ? "another" : "missing");
    }
    return n;
}

static void test_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(models); i++) {
        struct gguf *got, *want;
        struct export_report r = written(fixture(models[i], ""), NULL, DT_F32, "f32.gguf");
        ok(gguf_open(&got, in_folder("f32.gguf"), &error));
        ok(gguf_open(&want, fixture(models[i], "model.gguf"), &error));
        assert_int_equal(r.tensors, gguf_tensors(want));
        assert_int_equal(gguf_tensors(got), gguf_tensors(want));
        assert_int_equal(r.kept, 0);
        for (size_t k = 0; k < gguf_tensors(want); k++)
            same_tensor(models[i], gguf_tensor_at(got, k), gguf_tensor_at(want, k));
        size_t keys = check_keys(models[i], want, got);
        assert_int_equal(check_keys(models[i], got, want), keys);
        assert_true(keys >= 12);
        gguf_close(got);
        gguf_close(want);
    }
}

static void test_logits(void **state)
{
    (void)state;
    for (size_t i = 0; i <= COUNT_OF(models); i++) {
        const char *model = i < COUNT_OF(models) ? models[i] : "gemma3_layertypes";
        written(fixture(model, ""), NULL, DT_F32, "f32.gguf");
        check_logits(in_folder("f32.gguf"), fixture(model, "logits.bin"));
    }
}

/* A GGUF file goes through as it is; what it means stays what it means. */
static void test_from_gguf(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(models); i++) {
        struct gguf *got, *want;
        written(fixture(models[i], "model.gguf"), NULL, DT_F32, "f32.gguf");
        ok(gguf_open(&got, in_folder("f32.gguf"), &error));
        ok(gguf_open(&want, fixture(models[i], "model.gguf"), &error));
        assert_int_equal(gguf_keys(got), gguf_keys(want));
        for (size_t k = 0; k < gguf_tensors(want); k++)
            same_tensor(models[i], gguf_tensor_at(got, k), gguf_tensor_at(want, k));
        gguf_close(got);
        gguf_close(want);
        check_logits(in_folder("f32.gguf"), fixture(models[i], "logits_gguf.bin"));
    }
}

static void test_adapters(void **state)
{
    static const char *const pairs[][2] = {{"lora_llama", "llama_tied"},
                                           {"lora_llama_all", "llama_untied"},
                                           {"lora_gemma2", "gemma2"},
                                           {"lora_gemma3", "gemma3"}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        char adapter[256];
        snprintf(adapter, sizeof adapter, "%s", fixture(pairs[i][0], ""));
        written(fixture(pairs[i][1], ""), adapter, DT_F32, "merged.gguf");
        check_logits(in_folder("merged.gguf"), fixture(pairs[i][0], "logits.bin"));
    }
    /* The same into a GGUF file, whose q and k are permuted. */
    char adapter[256];
    snprintf(adapter, sizeof adapter, "%s", fixture("lora_llama_all", ""));
    written(fixture("llama_untied", "model.gguf"), adapter, DT_F32, "merged.gguf");
    check_logits(in_folder("merged.gguf"), fixture("lora_llama_all", "logits.bin"));
}

/* ---- types ---- */

static enum dtype wanted_type(const struct tensor *t, enum dtype type)
{
    bool table = strcmp(t->name, "token_embd.weight") == 0 || strcmp(t->name, "output.weight") == 0;
    return t->rank == 1 ? DT_F32 : type == DT_Q4_0 && table ? DT_Q8_0 : type;
}

/* `got` is `source` (f32), rounded as ggml rounds. */
static void check_rounded(const struct tensor *got, const struct tensor *source, enum dtype type)
{
    size_t values = source->bytes / 4;
    float *f = malloc(source->bytes);
    unsigned char *want = malloc(source->bytes);
    memcpy(f, source->data, source->bytes);
    assert_string_equal(got->name, source->name);
    assert_int_equal(got->type, wanted_type(source, type));
    quant_encode(want, got->type, f, values);
    assert_memory_equal(got->data, want, got->bytes);
    free(f);
    free(want);
}

static uint32_t file_type(const struct gguf *g)
{
    uint32_t v = UINT32_MAX;
    ok(gguf_get_u32(g, "general.file_type", &v, &error));
    return v;
}

static void check_type(const char *model, enum dtype type, uint32_t ftype)
{
    struct gguf *got, *source, *again;
    ok(gguf_open(&source, fixture(model, "model.gguf"), &error));
    written(fixture(model, ""), NULL, type, "a.gguf");
    written(fixture(model, "model.gguf"), NULL, type, "b.gguf");
    written(in_folder("a.gguf"), NULL, type, "c.gguf");
    ok(gguf_open(&got, in_folder("a.gguf"), &error));
    assert_int_equal(file_type(got), ftype);
    for (size_t k = 0; k < gguf_tensors(source); k++)
        check_rounded(gguf_tensor_at(got, k), gguf_tensor_at(source, k), type);
    for (int other = 0; other < 2; other++) {
        ok(gguf_open(&again, in_folder(other ? "b.gguf" : "c.gguf"), &error));
        assert_int_equal(gguf_tensors(again), gguf_tensors(got));
        for (size_t k = 0; k < gguf_tensors(got); k++)
            same_tensor(model, gguf_tensor_at(again, k), gguf_tensor_at(got, k));
        gguf_close(again);
    }
    gguf_close(got);
    gguf_close(source);
}

static void test_types(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(models); i++) {
        check_type(models[i], DT_BF16, 32);
        check_type(models[i], DT_Q8_0, 7);
        check_type(models[i], DT_Q4_0, 2);
    }
}

/* ---- models put together here ---- */

#define SHAPE                                                                                                \
    "\"hidden_size\": 40, \"intermediate_size\": 64, \"num_hidden_layers\": 3, \"num_attention_heads\": 4,"  \
    "\"num_key_value_heads\": 2, \"head_dim\": 16, \"vocab_size\": 256, \"max_position_embeddings\": 64,"

static const char biased[] =
    "{\"model_type\": \"llama\"," SHAPE "\"attention_bias\": true, \"mlp_bias\": true,"
    "\"tie_word_embeddings\": false}";

static void make_folder(const char *json, enum dtype type)
{
    struct config c = config_of(json);
    struct bag *b = bag_model(&c, "model.");
    for (size_t i = 0; type == DT_BF16 && i < b->n; i++) {
        struct tensor *t = &b->t[i];
        uint16_t *half = (uint16_t *)(void *)t->data;
        for (size_t k = 0; k < t->bytes / 4; k++) {
            float f;
            memcpy(&f, t->data + 4 * k, 4);
            half[k] = quant_f32_to_bf16(f);
        }
        t->type = type;
        t->bytes /= 2;
    }
    put_text("config.json", json);
    bag_write(b, 0, b->n, "model.safetensors");
    bag_free(b);
}

static void same_logits(const char *a, const char *b)
{
    float *x = logits_of(a), *y = logits_of(b);
    assert_memory_equal(x, y, TOKENS * VOCABULARY * sizeof *x);
    free(x);
    free(y);
}

/* Biases (permuted like the rows they belong to), rows that are no whole blocks. */
static void test_kept(void **state)
{
    (void)state;
    make_folder(biased, DT_F32);
    struct export_report r = written(folder, NULL, DT_F32, "f32.gguf");
    assert_int_equal(r.tensors, 3 + 3 * 16);
    same_logits(folder, in_folder("f32.gguf"));
    r = written(folder, NULL, DT_Q8_0, "q8.gguf");
    /* rows of 40: embedding, head, q, k, v, gate, up */
    assert_int_equal(r.kept, 2 + 3 * 5);
    assert_int_equal(r.kept_type, DT_F16);
    assert_string_equal(r.kept_name, "output.weight");
    struct gguf *g;
    ok(gguf_open(&g, in_folder("q8.gguf"), &error));
    assert_int_equal(gguf_tensor_find(g, "blk.2.attn_output.weight")->type, DT_Q8_0);
    assert_int_equal(gguf_tensor_find(g, "blk.2.ffn_up.weight")->type, DT_F16);
    assert_int_equal(gguf_tensor_find(g, "blk.2.attn_q.bias")->type, DT_F32);
    gguf_close(g);
    folder_empty();
}

static void test_lossless(void **state)
{
    (void)state;
    make_folder(biased, DT_BF16);
    written(folder, NULL, DT_BF16, "bf16.gguf");
    same_logits(folder, in_folder("bf16.gguf"));
    struct export_report r = written(folder, NULL, DT_Q4_0, "q4.gguf");
    assert_int_equal(r.kept_type, DT_BF16);
    folder_empty();
}

/* Turns a layer's down_proj into bitsandbytes' codes, absolute maxima and state. */
static void quantise(struct bag *b, uint32_t layer, size_t rows, size_t columns)
{
    char name[200], part[260], json[200];
    size_t n = rows * columns, blocks = (n + NF4_BLOCK - 1) / NF4_BLOCK;
    float *values = malloc(n * sizeof *values), *absmax = malloc(blocks * sizeof *absmax);
    uint8_t *packed = malloc(n / 2);
    snprintf(name, sizeof name, "model.layers.%u.mlp.down_proj.weight", layer);
    struct tensor *t = bag_find(b, name);
    memcpy(values, t->data, n * sizeof *values);
    nf4_encode(packed, absmax, values, n);
    memcpy((unsigned char *)t->data, packed, n / 2);
    t->type = DT_U8;
    t->dim[0] = t->bytes = n / 2;
    t->dim[1] = 1;
    snprintf(part, sizeof part, "%s.absmax", name);
    bag_add(b, part, DT_F32, 1, blocks, 0, absmax);
    snprintf(part, sizeof part, "%s.quant_map", name);
    bag_add(b, part, DT_F32, 1, 16, 0, nf4_codebook);
    snprintf(part, sizeof part, "%s.quant_state.bitsandbytes__nf4", name);
    snprintf(json, sizeof json, "{\"quant_type\": \"nf4\", \"blocksize\": 64, \"shape\": [%zu, %zu]}", rows,
             columns);
    bag_add(b, part, DT_U8, 1, strlen(json), 0, json);
    free(values);
    free(absmax);
    free(packed);
}

static void test_four_bit_source(void **state)
{
    (void)state;
    struct config c = config_of(biased);
    struct bag *b = bag_model(&c, "model.");
    for (uint32_t layer = 0; layer < c.layers; layer++)
        quantise(b, layer, c.width, c.ff_width);
    put_text("config.json", biased);
    bag_write(b, 0, b->n, "model.safetensors");
    bag_free(b);
    written(folder, NULL, DT_F32, "f32.gguf");
    same_logits(folder, in_folder("f32.gguf"));
    folder_empty();
}

/* What GGUF's own keys cannot say comes back all the same. */
static void test_own_keys(void **state)
{
    static const char *const configs[] = {
        "{\"model_type\": \"llama\"," SHAPE "\"hidden_act\": \"gelu\", \"tie_word_embeddings\": true,"
        "\"embedding_multiplier\": 3.5, \"attention_multiplier\": 0.3, \"rope_theta\": 5000}",
        "{\"model_type\": \"llama\"," SHAPE "\"partial_rotary_factor\": 0.5,"
        "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}}",
        "{\"model_type\": \"mistral\"," SHAPE "\"sliding_window\": 5,"
        "\"layer_types\": [\"full_attention\", \"sliding_attention\", \"full_attention\"]}",
        "{\"model_type\": \"mistral\"," SHAPE "\"sliding_window\": null}",
        "{\"model_type\": \"gemma2\"," SHAPE "\"attn_logit_softcapping\": null, \"sliding_window\": 7,"
        "\"final_logit_softcapping\": null, \"query_pre_attn_scalar\": 16, \"rope_theta\": 20000}",
        "{\"model_type\": \"gemma2\"," SHAPE "\"sliding_window\": null, \"query_pre_attn_scalar\": 40}",
        "{\"model_type\": \"gemma3_text\"," SHAPE "\"sliding_window\": 6, \"hidden_activation\": \"gelu\","
        "\"layer_types\": [\"full_attention\", \"sliding_attention\", \"sliding_attention\"],"
        "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8.0}}",
        "{\"model_type\": \"gemma3_text\"," SHAPE "\"sliding_window\": 6, \"rope_parameters\": {"
        "\"full_attention\": {\"rope_type\": \"default\", \"rope_theta\": 70000},"
        "\"sliding_attention\": {\"rope_type\": \"linear\", \"factor\": 2.0, \"rope_theta\": 9000}}}"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(configs); i++) {
        make_folder(configs[i], DT_F32);
        written(folder, NULL, DT_F32, "own.gguf");
        same_logits(folder, in_folder("own.gguf"));
        folder_empty();
    }
}

static void test_bad_own_keys(void **state)
{
    static const char *const part[] = {"gyeol.attention.scale is -1",
                                       "gyeol.activation is \"relu\"",
                                       "gyeol.attention.layer_types is no list of 3",
                                       "gyeol.attention.layer_types[1] is \"both\"",
                                       "there is no window",
                                       "gyeol.attention.sliding_window is 2147483648"};
    static const struct gguf_string types[] = {{"full_attention", 14}, {"both", 4}, {"full_attention", 14}},
                                    windowed[] = {
                                        {"full_attention", 14}, {"sliding_attention", 17}, {"both", 4}};
    (void)state;
    make_folder("{\"model_type\": \"llama\"," SHAPE "\"tie_word_embeddings\": true}", DT_F32);
    written(folder, NULL, DT_F32, "good.gguf");
    for (size_t i = 0; i < COUNT_OF(part); i++) {
        struct gguf *g;
        struct gguf_writer *w;
        struct config c;
        const struct gguf_value *v;
        ok(gguf_open(&g, in_folder("good.gguf"), &error));
        ok(gguf_create(&w, in_folder("bad.gguf"), &error));
        for (size_t k = 0; k < gguf_keys(g); k++) {
            const char *key = gguf_key_at(g, k, &v);
            gguf_put_value(w, key, v);
        }
        if (i == 0)
            gguf_put_f32(w, "gyeol.attention.scale", -1);
        else if (i == 1)
            gguf_put_string(w, "gyeol.activation", "relu", 4);
        else if (i == 5)
            gguf_put_u32(w, "gyeol.attention.sliding_window", 1u << 31);
        else
            gguf_put_strings(w, "gyeol.attention.layer_types", i == 4 ? windowed : types, i == 2 ? 2 : 3);
        const struct tensor *t = gguf_tensor_find(g, "token_embd.weight");
        gguf_put_tensor(w, t->name, t->type, t->rank, t->dim);
        ok(gguf_begin_data(w, &error));
        ok(gguf_write_data(w, t->data, t->bytes, &error));
        ok(gguf_finish(w, &error));
        gguf_close(g);
        ok(gguf_open(&g, in_folder("bad.gguf"), &error));
        assert_int_equal(config_from_gguf(&c, g, &error), ERR_FORMAT);
        if (!strstr(error.msg, part[i]))
            fail_msg("\"%s\", want \"...%s...\"", error.msg, part[i]);
        gguf_close(g);
    }
    folder_empty();
}

/* ---- the tokenizer inside ---- */

static const char pieces[] =
    "[PAD] [UNK] [CLS] [SEP] 나 ##는 친구 ##들 ##이랑 노 ##게 재밌 ##어 . ! <|im_start|>";
enum { PIECES = 16 };
static const char said[] = "나는 친구들이랑 노는게 재밌어! <image>";

/* vocab.txt of those and fillers, up to n. */
static void put_vocabulary(size_t n)
{
    struct buf b = {0};
    for (const char *p = pieces; *p; p++)
        buf_add(&b, *p == ' ' ? "\n" : p, 1);
    for (size_t i = PIECES; i < n; i++)
        buf_printf(&b, "\n##filler%zu", i);
    buf_str(&b, "\n");
    ok(buf_check(&b, "vocabulary", &error));
    put_text("vocab.txt", b.data);
    buf_deinit(&b);
}

static struct tokens encoded(const char *path, const char *text, size_t n)
{
    struct tokenizer *t;
    struct tokens ids = {0};
    ok(tokenizer_open(&t, path, &error));
    ok(tokenizer_encode(t, text, n, true, &ids, &error));
    tokenizer_close(t);
    return ids;
}

static void check_words(const char *file, size_t vocabulary)
{
    struct tokens want = encoded(folder, said, strlen(said)),
                  got = encoded(in_folder(file), said, strlen(said));
    struct tokenizer *t;
    const struct chat_template *chat;
    assert_true(want.n > 9);
    assert_int_equal(got.n, want.n);
    assert_memory_equal(got.id, want.id, want.n * sizeof *want.id);
    tokens_deinit(&want);
    tokens_deinit(&got);
    ok(tokenizer_open(&t, in_folder(file), &error));
    assert_int_equal(tokenizer_size(t), vocabulary);
    ok(chat_open(&chat, in_folder(file), t, &error));
    assert_string_equal(chat->name, "chatml");
    tokenizer_close(t);
}

static void put_shape(size_t vocabulary)
{
    char json[400];
    snprintf(json, sizeof json,
             "{\"model_type\": \"llama\", \"hidden_size\": 8, \"intermediate_size\": 8,"
             "\"num_hidden_layers\": 1, \"num_attention_heads\": 1, \"vocab_size\": %zu, \"eos_token_id\": 3,"
             "\"bos_token_id\": 2, \"tie_word_embeddings\": true}",
             vocabulary);
    make_folder(json, DT_F32);
    put_text("tokenizer_config.json",
             "{\"chat_template\": \"{% for m in messages %}<|im_start|>{{ m.role }}\\n{{ m.content "
             "}}<|im_end|>{% endfor %}\", \"do_lower_case\": false}");
}

static void test_words(void **state)
{
    struct checkpoint *c;
    (void)state;
    put_shape(300); /* padded beyond the tokenizer */
    put_vocabulary(200);
    assert_true(written(folder, NULL, DT_F32, "words.gguf").tokenizer);
    check_words("words.gguf", 300);
    ok(checkpoint_open(&c, in_folder("words.gguf"), &error));
    assert_int_equal(checkpoint_config(c)->bos, 2); /* said by the configuration alone */
    assert_int_equal(checkpoint_config(c)->eos, 3);
    checkpoint_close(c);
    assert_true(written(in_folder("words.gguf"), NULL, DT_Q8_0, "again.gguf").tokenizer);
    check_words("again.gguf", 300);
    struct export_report r;
    const struct export_options without = {.type = DT_F32, .no_tokenizer = true};
    for (int gguf = 0; gguf < 2; gguf++) {
        struct gguf *g;
        ok(checkpoint_open(&c, gguf ? in_folder("words.gguf") : folder, &error));
        ok(export_gguf(in_folder("mute.gguf"), c, &without, &r, &error));
        checkpoint_close(c);
        assert_false(r.tokenizer);
        ok(gguf_open(&g, in_folder("mute.gguf"), &error));
        assert_null(gguf_find(g, "tokenizer.ggml.tokens"));
        assert_non_null(gguf_find(g, "tokenizer.ggml.model"));
        gguf_close(g);
    }
    folder_empty();
}

/* Tokenizers of the real world, where they are at hand: the ids of a page of texts stay the same. */
static void test_real_words(void **state)
{
    static const struct {
        const char *name;
        size_t vocabulary;
    } real[] = {{"hyperclovax", 110592}, {"mistral-v1", 32064}, {"spm-unigram", 4000}};
    static const char *const files[] = {"tokenizer.json", "tokenizer.model", "tokenizer_config.json",
                                        "special_tokens_map.json", "added_tokens.json"};
    (void)state;
    if (access("../shared/tokenizers", F_OK) != 0)
        skip();
    for (size_t i = 0; i < COUNT_OF(real); i++) {
        char from[400], *text, *here = realpath("../shared/tokenizers", NULL);
        size_t n;
        put_shape(real[i].vocabulary);
        unlink(in_folder("tokenizer_config.json"));
        for (size_t k = 0; k < COUNT_OF(files); k++) {
            snprintf(from, sizeof from, "%s/%s/%s", here, real[i].name, files[k]);
            if (access(from, F_OK) == 0)
                assert_int_equal(symlink(from, in_folder(files[k])), 0);
        }
        snprintf(from, sizeof from, "%s/%s/%s.inp", here, real[i].name, real[i].name);
        ok(file_read(&text, &n, from, 1 << 20, &error));
        assert_true(written(folder, NULL, DT_F32, "words.gguf").tokenizer);
        struct tokens want = encoded(folder, text, n), got = encoded(in_folder("words.gguf"), text, n);
        assert_int_equal(got.n, want.n);
        assert_memory_equal(got.id, want.id, want.n * sizeof *want.id);
        print_message("# %s: %zu ids\n", real[i].name, got.n);
        tokens_deinit(&want);
        tokens_deinit(&got);
        free(text);
        free(here);
        folder_empty();
    }
}

/* Added tokens may lie beyond the model's rows; pieces may not. */
static void test_words_beyond(void **state)
{
    static const char json[] =
        "{\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", \"continuing_subword_prefix\": "
        "\"##\","
        "\"max_input_chars_per_word\": 100, \"vocab\": {\"[UNK]\": 0, \"나\": 1, \"##는\": 2, \"친구\": 3}},"
        "\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}, \"normalizer\": null,"
        "\"decoder\": {\"type\": \"WordPiece\", \"prefix\": \"##\", \"cleanup\": false},"
        "\"added_tokens\": [{\"id\": 4, \"content\": \"<image>\", \"special\": true, \"lstrip\": false,"
        "\"rstrip\": false, \"single_word\": false, \"normalized\": false}]}";
    struct checkpoint *c;
    struct tokenizer *t;
    struct export_report r;
    const struct export_options o = {.type = DT_F32};
    (void)state;
    put_shape(4);
    put_text("tokenizer.json", json);
    written(folder, NULL, DT_F32, "words.gguf");
    ok(tokenizer_open(&t, in_folder("words.gguf"), &error));
    assert_int_equal(tokenizer_size(t), 4);
    assert_int_equal(tokenizer_find(t, "<image>", 7), -1);
    tokenizer_close(t);
    folder_empty();
    put_shape(3);
    put_text("tokenizer.json", json);
    ok(checkpoint_open(&c, folder, &error));
    assert_int_equal(export_gguf(in_folder("words.gguf"), c, &o, &r, &error), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "tokenizer of 5 tokens for a model of 3"));
    checkpoint_close(c);
    put_text("tokenizer.json", "{\"model\": 7}"); /* a damaged one is no missing one */
    ok(checkpoint_open(&c, folder, &error));
    assert_int_equal(export_gguf(in_folder("words.gguf"), c, &o, &r, &error), ERR_FORMAT);
    checkpoint_close(c);
    folder_empty();
}

/* ---- failing ---- */

static void test_failures(void **state)
{
    struct checkpoint *c;
    struct export_report r;
    const struct export_options o = {.type = DT_F32};
    enum dtype t;
    (void)state;
    folder_empty();
    ok(checkpoint_open(&c, FIXTURES "llama_tied", &error));
    assert_int_equal(export_gguf("/nowhere/x.gguf", c, &o, &r, &error), ERR_MISSING);
    assert_non_null(strstr(error.msg, "/nowhere/x.gguf"));
    assert_false(export_type_parse(&t, "nf4"));
    assert_false(export_type_parse(&t, "q4_k"));
    assert_true(export_type_parse(&t, "q8_0") && t == DT_Q8_0);
    stop_install();
    raise(SIGTERM);
    assert_int_equal(export_gguf(in_folder("stopped.gguf"), c, &o, &r, &error), ERR_STOPPED);
    checkpoint_close(c);
    assert_int_equal(rmdir(folder), 0); /* nothing was left behind */
    assert_int_equal(folder_new(NULL), 0);
}

/* A model for QLoRA keeps embedding and head in two bytes where that is what the checkpoint has. */
static void test_bf16_tables_stay_so(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) { /* tied, untied */
        struct checkpoint *c;
        struct model *m;
        float want[64], got[64];
        folder_empty();
        written(fixture(models[i], ""), NULL, DT_BF16, "bf16.gguf");
        ok(checkpoint_open(&c, in_folder("bf16.gguf"), &error));
        ok(model_load(&m, c, MODEL_NF4, &error));
        assert_true(checkpoint_config(c)->bf16_tables);
        assert_int_equal(m->embedding.type, DT_BF16);
        assert_int_equal(m->head.type, DT_BF16);
        assert_int_equal(m->embedding.cols, 64);
        ok(weight_decode_rows(want, checkpoint_weight(c, i ? ROLE_HEAD : ROLE_EMBEDDING, 0), 7, 1, &error));
        matrix_row(got, &m->head, 7);
        assert_memory_equal(got, want, sizeof want);
        model_close(m);
        checkpoint_close(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),  cmocka_unit_test(test_logits),
        cmocka_unit_test(test_from_gguf),  cmocka_unit_test(test_adapters),
        cmocka_unit_test(test_types),      cmocka_unit_test(test_kept),
        cmocka_unit_test(test_lossless),   cmocka_unit_test(test_four_bit_source),
        cmocka_unit_test(test_own_keys),   cmocka_unit_test(test_bad_own_keys),
        cmocka_unit_test(test_words),      cmocka_unit_test(test_words_beyond),
        cmocka_unit_test(test_real_words), cmocka_unit_test(test_bf16_tables_stay_so),
        cmocka_unit_test(test_failures),

    };
    return cmocka_run_group_tests(tests, folder_new, folder_remove);
}
