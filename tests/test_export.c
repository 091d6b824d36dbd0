/* Models written as GGUF files: tensor for tensor and key for key what the reference converter makes of the
 * same models (tests/fixtures, model.gguf), with the source's logits; other types, adapters folded in, and
 * what the reference has no keys for. */
#include "base/size.h"
#include "base/stop.h"
#include "compute/quant.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),    cmocka_unit_test(test_logits),
        cmocka_unit_test(test_from_gguf),    cmocka_unit_test(test_adapters),
        cmocka_unit_test(test_types),        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_lossless),     cmocka_unit_test(test_own_keys),
        cmocka_unit_test(test_bad_own_keys), cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, folder_new, folder_remove);
}
