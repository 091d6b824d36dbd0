/* format/checkpoint on folders put together here: prefixes, shards, 4-bit weights (bitsandbytes' own values,
 * tests/fixtures/nf4), GGUF with what converters write now and then, and everything that must be refused. */
#include "base/buf.h"
#include "base/size.h"
#include "format/gguf.h"
#include "model/model.h"

#include <math.h>

#include "model_folder.h"

#define SMALL                                                                                                \
    "\"hidden_size\": 8, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2,"  \
    "\"head_dim\": 4, \"intermediate_size\": 12, \"vocab_size\": 10"
#define UNTIED "{\"model_type\": \"llama\", " SMALL "}"
#define TIED   "{\"model_type\": \"llama\", \"tie_word_embeddings\": true, " SMALL "}"
#define BIASED "{\"model_type\": \"llama\", \"attention_bias\": true, \"mlp_bias\": true, " SMALL "}"

static void check_weight(const struct weight *w, const struct tensor *t)
{
    float out[400];
    size_t rows = t->rank == 2 ? t->dim[0] : 1;
    assert_true(t->bytes <= sizeof out);
    ok(weight_decode_rows(out, w, 0, rows, &error));
    assert_memory_equal(out, t->data, t->bytes);
}

/* Every role is there and holds what the bag's tensor of that place does. */
static void check_model(struct bag *b, const struct config *c)
{
    struct checkpoint *k;
    size_t at = 0;
    ok(checkpoint_open(&k, folder, &error));
    for (uint32_t layer = 0; layer < c->layers; layer++)
        for (int r = layer ? ROLE_FIRST_LAYER : 0; r < ROLE_COUNT; r++) {
            size_t dim[2];
            const struct weight *w = checkpoint_weight(k, (enum role)r, layer);
            assert_int_equal(w != NULL, role_shape((enum role)r, c, dim) > 0);
            if (w)
                check_weight(w, &b->t[at++]);
        }
    checkpoint_close(k);
}

static void check_refused(int code, const char *part)
{
    struct checkpoint *k = NULL;
    int rc = checkpoint_open(&k, folder, &error);
    if (rc != code || strncmp(error.msg, folder, strlen(folder)) != 0 || !strstr(error.msg, part))
        fail_msg("code %d, \"%s\"; want %d, \"%s...%s...\"", rc, rc ? error.msg : "", code, folder, part);
}

/* ---- names ---- */

static void test_every_prefix_is_known(void **state)
{
    (void)state;
    static const char *const prefix[] = {"model.", "language_model.model.", "model.language_model.", ""};
    static const char *const head[] = {"lm_head.weight", "language_model.lm_head.weight", "lm_head.weight",
                                       "lm_head.weight"};
    struct config c = config_of(UNTIED);
    for (size_t i = 0; i < COUNT_OF(prefix); i++) {
        struct bag *b = bag_model(&c, prefix[i]);
        size_t n = b->n;
        folder_empty();
        put_text("config.json", UNTIED);
        bag_find(b, "lm_head.weight")->name = head[i];
        bag_add(b, "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight", DT_F32, 2, 3, 3,
                NULL);
        bag_add(b, "model.vision_tower.vision_model.embeddings.patch_embedding.bias", DT_F32, 1, 3, 0, NULL);
        bag_add(b, "multi_modal_projector.mm_soft_emb_norm.weight", DT_F32, 1, 3, 0, NULL);
        char inv_freq[100];
        snprintf(inv_freq, sizeof inv_freq, "%slayers.1.self_attn.rotary_emb.inv_freq", prefix[i]);
        bag_add(b, inv_freq, DT_F32, 1, 2, 0, NULL);
        bag_write(b, 0, b->n, "model.safetensors");
        b->n = n;
        check_model(b, &c);
        bag_free(b);
    }
}

static void test_biases_and_a_stray_head(void **state)
{
    (void)state;
    struct config c = config_of(BIASED);
    struct bag *b = bag_model(&c, "model.");
    folder_empty();
    put_text("config.json", BIASED);
    bag_write(b, 0, b->n, "weights.safetensors"); /* the only one, so the name is free */
    check_model(b, &c);
    bag_free(b);
    c = config_of(TIED);
    b = bag_model(&c, "model.");
    bag_add(b, "lm_head.weight", DT_F32, 2, 10, 8, NULL);
    folder_empty();
    put_text("config.json", TIED);
    bag_write(b, 0, b->n, "model.safetensors");
    check_model(b, &c);
    bag_free(b);
}

/* ---- shards ---- */

static void put_index(const struct bag *b, size_t shards, const char *spoiled, const char *as)
{
    struct buf out = {0};
    buf_str(&out, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
    for (size_t i = 0; i < b->n; i++) {
        char name[64];
        snprintf(name, sizeof name, "\"model-%05zu-of-%05zu.safetensors\"", i * shards / b->n + 1, shards);
        bool spoil = spoiled && strcmp(spoiled, b->t[i].name) == 0;
        buf_printf(&out, "%s\"%s\": %s", i ? ", " : "", b->t[i].name, spoil ? as : name);
    }
    buf_str(&out, "}}");
    put_text("model.safetensors.index.json", out.data);
    buf_deinit(&out);
}

static struct bag *put_shards(const struct config *c, const char *config, size_t shards)
{
    struct bag *b = bag_model(c, "model.");
    folder_empty();
    put_text("config.json", config);
    for (size_t s = 0, from = 0; s < shards; s++) {
        char name[64];
        size_t to = from;
        while (to < b->n && to * shards / b->n == s)
            to++;
        snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", s + 1, shards);
        bag_write(b, from, to, name);
        from = to;
    }
    put_index(b, shards, NULL, NULL);
    return b;
}

static void test_shards_are_one_model(void **state)
{
    (void)state;
    struct config c = config_of(UNTIED);
    for (size_t shards = 1; shards <= 5; shards++) {
        struct bag *b = put_shards(&c, UNTIED, shards);
        struct checkpoint *k;
        check_model(b, &c);
        ok(checkpoint_open(&k, folder, &error));
        assert_int_equal(checkpoint_files(k), shards);
        for (size_t i = 0; i < shards; i++)
            assert_int_equal(access(checkpoint_file(k, i), R_OK), 0);
        checkpoint_close(k);
        bag_free(b);
    }
}

static void test_wrong_shards_are_refused(void **state)
{
    (void)state;
    struct config c = config_of(UNTIED);
    struct bag *b = put_shards(&c, UNTIED, 3);
    static const char *const outside[] = {"\"../model-00001-of-00003.safetensors\"",
                                          "\"/etc/passwd\"",
                                          "\"a/b\"",
                                          "\"..\"",
                                          "\"\"",
                                          "5",
                                          "null"};
    for (size_t i = 0; i < COUNT_OF(outside); i++) {
        put_index(b, 3, "model.norm.weight", outside[i]);
        check_refused(ERR_FORMAT, "weight_map gives model.norm.weight");
    }
    put_index(b, 3, "model.norm.weight", "\"model-00003-of-00003.safetensors\"");
    check_refused(ERR_FORMAT, "no tensor model.norm.weight, which");
    put_index(b, 3, "model.norm.weight", "\"model-00004-of-00003.safetensors\"");
    check_refused(ERR_MISSING, "model-00004-of-00003.safetensors");
    put_index(b, 3, "model.norm.weight", "\"config.json\"");
    check_refused(ERR_FORMAT, "config.json");
    put_text("model.safetensors.index.json", "{}");
    check_refused(ERR_FORMAT, "weight_map is missing");
    put_text("model.safetensors.index.json", "{\"weight_map\": []}");
    check_refused(ERR_FORMAT, "weight_map is a list");
    put_text("model.safetensors.index.json", "{\"weight_map\": {}}");
    check_refused(ERR_FORMAT, "no tensor model.embed_tokens.weight");
    put_text("model.safetensors.index.json", "not json");
    check_refused(ERR_FORMAT, "not JSON");
    bag_free(b);
}

/* ---- what a folder may lack ---- */

static void test_folders_without_weights_are_refused(void **state)
{
    (void)state;
    struct config c = config_of(TIED);
    struct bag *b = bag_model(&c, "model.");
    folder_empty();
    check_refused(ERR_MISSING, "config.json");
    put_text("config.json", TIED);
    check_refused(ERR_MISSING, "no model.safetensors");
    put_text("adapter_model.safetensors", "x");
    check_refused(ERR_MISSING, "no model.safetensors");
    put_text("pytorch_model.bin", "x");
    check_refused(ERR_FORMAT, "pytorch_model.bin");
    bag_write(b, 0, b->n, "a.safetensors");
    check_model(b, &c);
    bag_write(b, 0, b->n, "b.safetensors");
    check_refused(ERR_FORMAT, "2 safetensors files");
    put_text("model.safetensors", "");
    check_refused(ERR_FORMAT, "model.safetensors");
    bag_free(b);
    struct checkpoint *k;
    assert_int_equal(checkpoint_open(&k, in_folder("none"), &error), ERR_MISSING);
    assert_int_equal(checkpoint_open(&k, in_folder("config.json"), &error), ERR_FORMAT); /* no GGUF file */
}

/* Writes the bag without its tensor i. */
static void write_without(const struct bag *b, size_t i)
{
    struct bag *less = malloc(sizeof *less);
    *less = *b;
    memmove(&less->t[i], &less->t[i + 1], (less->n - i - 1) * sizeof *less->t);
    bag_write(less, 0, b->n - 1, "model.safetensors");
    free(less);
}

static void test_every_missing_tensor_is_named(void **state)
{
    (void)state;
    struct config c = config_of(BIASED);
    struct bag *b = bag_model(&c, "model.");
    folder_empty();
    put_text("config.json", BIASED);
    for (size_t i = 0; i < b->n; i++) {
        write_without(b, i);
        check_refused(ERR_FORMAT, b->t[i].name);
    }
    bag_free(b);
}

static void test_every_wrong_shape_and_type_is_named(void **state)
{
    (void)state;
    struct config c = config_of(BIASED);
    struct bag *b = bag_model(&c, "model.");
    folder_empty();
    put_text("config.json", BIASED);
    for (size_t i = 0; i < b->n; i++) {
        struct tensor kept = b->t[i], *t = &b->t[i];
        char want[64];
        if (t->rank == 2)
            snprintf(want, sizeof want, "is [%zu, %zu], want [%zu, %zu]", t->dim[1], t->dim[0], t->dim[0],
                     t->dim[1]);
        else
            snprintf(want, sizeof want, "is [1, %zu], want [%zu]", t->dim[0], t->dim[0]);
        t->dim[0] = t->rank == 2 ? kept.dim[1] : 1;
        t->dim[1] = kept.dim[0];
        t->rank = 2;
        bag_write(b, 0, b->n, "model.safetensors");
        if (kept.rank == 1 || kept.dim[0] != kept.dim[1]) {
            check_refused(ERR_FORMAT, kept.name);
            check_refused(ERR_FORMAT, want);
        }
        *t = kept;
        t->type = DT_I32;
        bag_write(b, 0, b->n, "model.safetensors");
        check_refused(ERR_FORMAT, kept.name);
        check_refused(ERR_FORMAT, "is i32, want f32, f16 or bf16");
        *t = kept;
    }
    bag_free(b);
}

static void test_tensors_without_a_use_are_refused(void **state)
{
    (void)state;
    static const char *const name[] = {"model.layers.2.input_layernorm.weight",
                                       "model.layers.0.self_attn.q_proj.bias",
                                       "model.layers.1.self_attn.q_norm.weight",
                                       "model.layers.01.mlp.up_proj.weight",
                                       "model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__fp4",
                                       "model.layers.0.mlp.up_proj.SCB",
                                       "model.layers.4294967296.mlp.up_proj.weight",
                                       "model.layers.-1.mlp.up_proj.weight",
                                       "model.layers.",
                                       "model.layers.0",
                                       "model.layers.0.mlp.experts.0.up_proj.weight",
                                       "model.norm.bias",
                                       "lm_head.bias",
                                       "model.layers.0.input_layernorm.weight.absmax"};
    struct config c = config_of(TIED);
    for (size_t i = 0; i < COUNT_OF(name); i++) {
        struct bag *b = bag_model(&c, "model.");
        folder_empty();
        put_text("config.json", TIED);
        bag_add(b, name[i], DT_F32, 1, 8, 0, NULL);
        bag_write(b, 0, b->n, "model.safetensors");
        check_refused(ERR_FORMAT, name[i]);
        bag_free(b);
    }
}

/* ---- bitsandbytes 4-bit ---- */

#define NF4 "tests/fixtures/nf4/"
/* 4,096 values as queries: as many blocks as rows, then two rows to a block */
#define SQUARE "\"hidden_size\": 64, \"num_attention_heads\": 4, \"head_dim\": 16"
#define NARROW "\"hidden_size\": 32, \"num_attention_heads\": 8, \"head_dim\": 16"
#define QUANTISED                                                                                            \
    "\"num_hidden_layers\": 1, \"num_key_value_heads\": 2, \"intermediate_size\": 6, \"vocab_size\": 5,"     \
    "\"quantization_config\": {\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true,"                  \
    "\"bnb_4bit_quant_type\": \"nf4\"}}"
static const char *const quantised[2] = {"{\"model_type\": \"llama\", " SQUARE ", " QUANTISED,
                                         "{\"model_type\": \"llama\", " NARROW ", " QUANTISED};
static const char q_proj[] = "model.layers.0.self_attn.q_proj.weight";

static float *golden(const char *name, size_t n)
{
    char path[200], *data;
    size_t got;
    snprintf(path, sizeof path, NF4 "%s", name);
    ok(file_read(&data, &got, path, 1 << 20, &error));
    assert_int_equal(got, n * 4);
    return (float *)(void *)data;
}

static void add_file(struct bag *b, const char *end, enum dtype type, size_t n, const char *file)
{
    char name[200], path[200], *data;
    size_t got;
    snprintf(path, sizeof path, NF4 "%s", file);
    snprintf(name, sizeof name, "%s.%s", q_proj, end);
    ok(file_read(&data, &got, path, 1 << 20, &error));
    assert_int_equal(got, n * (type == DT_F32 ? 4 : 1));
    bag_add(b, name, type, 1, n, 0, data);
    free(data);
}

static void add_state(struct bag *b, const char *json)
{
    char name[200];
    snprintf(name, sizeof name, "%s.quant_state.bitsandbytes__nf4", q_proj);
    bag_add(b, name, DT_U8, 1, strlen(json), 0, json);
}

/* The model with q_proj as bitsandbytes keeps it. Without a state (NULL) the caller adds one. */
static struct bag *quantised_bag(int narrow, bool nested, const char *state)
{
    struct config c = config_of(quantised[narrow]);
    struct bag *b = bag_model(&c, "model.");
    char *packed;
    size_t n;
    ok(file_read(&packed, &n, NF4 "packed.bin", 1 << 20, &error));
    struct tensor *t = bag_find(b, q_proj);
    struct bag one = *b;
    one.n = 0;
    *t = *bag_add(&one, q_proj, DT_U8, 2, 2048, 1, packed);
    b->arena = one.arena;
    free(packed);
    add_file(b, "quant_map", DT_F32, 16, "nf4_codebook.bin");
    if (nested) {
        add_file(b, "absmax", DT_U8, 64, "absmax_q.bin");
        add_file(b, "nested_absmax", DT_F32, 1, "absmax2.bin");
        add_file(b, "nested_quant_map", DT_F32, 256, "dynamic_map.bin");
    } else {
        add_file(b, "absmax", DT_F32, 64, "absmax.bin");
    }
    if (state)
        add_state(b, state);
    folder_empty();
    put_text("config.json", quantised[narrow]);
    return b;
}

static void nested_state(char out[400], const char *shape)
{
    float *offset = golden("absmax_offset.bin", 1);
    snprintf(out, 400,
             "{\"quant_type\": \"nf4\", \"blocksize\": 64, \"dtype\": \"float32\", \"shape\": %s,"
             "\"nested_blocksize\": 256, \"nested_dtype\": \"float32\", \"nested_offset\": %.17g}",
             shape, (double)*offset);
    free(offset);
}

static void check_dequantised(const char *want_file)
{
    struct checkpoint *model;
    ok(checkpoint_open(&model, folder, &error));
    const struct weight *w = checkpoint_weight(model, ROLE_Q, 0);
    assert_int_equal(w->tensor.type, DT_NF4);
    size_t rows = w->tensor.dim[0], columns = w->tensor.dim[1];
    assert_int_equal(rows * columns, 4096);
    float *want = golden(want_file, 4096), out[4097];
    for (size_t first = 0; first < rows; first++)
        for (size_t k = 0; k < 6; k++) {
            size_t left = rows - first, n = k < left ? k : left;
            if (k == 5)
                n = left;
            out[n * columns] = 12345;
            ok(weight_decode_rows(out, w, first, n, &error));
            for (size_t i = 0; i < n * columns; i++)
                if (out[i] != want[first * columns + i])
                    fail_msg("rows %zu+%zu: value %zu is %.9g, want %.9g", first, n, i, out[i],
                             want[first * columns + i]);
            assert_true(out[n * columns] == 12345);
        }
    struct model *loaded; /* whose panels hold the same codes, or where rows are no whole blocks floats */
    ok(model_load(&loaded, model, MODEL_NF4, &error));
    const struct matrix *q = &loaded->layer[0].w[0];
    assert_int_equal(q->type, columns % 64 ? DT_F32 : DT_NF4);
    for (size_t r = 0; r < rows; r++) {
        matrix_row(out, q, r);
        assert_memory_equal(out, want + r * columns, columns * sizeof *out);
    }
    model_close(loaded);
    free(want);
    checkpoint_close(model);
}

static void test_nf4_is_what_bitsandbytes_means(void **state)
{
    (void)state;
    for (int narrow = 0; narrow < 2; narrow++) {
        const char *shape = narrow ? "[128, 32]" : "[64, 64]";
        char text[400];
        nested_state(text, shape);
        struct bag *b = quantised_bag(narrow, true, text);
        bag_write(b, 0, b->n, "model.safetensors");
        check_dequantised("dequant_double.bin");
        bag_free(b);
        snprintf(text, sizeof text,
                 "{\"quant_type\": \"nf4\", \"blocksize\": 64, \"dtype\": \"float32\", \"shape\": %s}",
                 shape);
        b = quantised_bag(narrow, false, text);
        bag_write(b, 0, b->n, "model.safetensors");
        check_dequantised("dequant.bin");
        bag_free(b);
    }
}

static void test_wrong_states_of_nf4_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *part;
    } bad[] = {
        {"{\"quant_type\": \"fp4\", \"blocksize\": 64, \"shape\": [64, 64]}", "quant_type is \"fp4\""},
        {"{\"quant_type\": \"nf4\", \"blocksize\": 128, \"shape\": [64, 64]}", "blocksize is 128, want 64"},
        {"{\"quant_type\": \"nf4\", \"shape\": [64, 64]}", "blocksize is missing"},
        {"{\"quant_type\": \"nf4\", \"blocksize\": 64}", "shape is missing"},
        {"{\"quant_type\": \"nf4\", \"blocksize\": 64, \"shape\": [32, 128]}",
         "shape is [32, 128], want [64, 64]"},
        {"{\"quant_type\": \"nf4\", \"blocksize\": 64, \"shape\": [\"64\", 64]}", "shape is [0, 64]"},
        {"{\"quant_type\": \"nf4\", \"blocksize\": 64, \"shape\": [64, 64], \"nested_blocksize\": 512}",
         "nested_blocksize is 512"},
        {"{\"quant_type\": \"nf4\", \"blocksize\": 64, \"shape\": [64, 64], \"nested_blocksize\": 256}",
         "nested_offset is missing"},
        {"{\"quant_type\": \"nf4\", \"blocksize\": 64, \"shape\": [64, 64], \"nested_blocksize\": 256,"
         "\"nested_offset\": 1, \"nested_dtype\": \"float16\"}",
         "nested_dtype is \"float16\""},
        {"no", "not JSON"},
        {"", "not JSON"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct bag *b = quantised_bag(0, true, bad[i].json);
        bag_write(b, 0, b->n, "model.safetensors");
        check_refused(ERR_FORMAT, bad[i].part);
        check_refused(ERR_FORMAT, "bitsandbytes__nf4");
        bag_free(b);
    }
}

static void test_nf4_without_its_parts_is_refused(void **state)
{
    (void)state;
    static const char *const part[] = {"quant_map", "absmax", "nested_quant_map"};
    char text[400], name[200];
    nested_state(text, "[64, 64]");
    for (size_t i = 0; i < COUNT_OF(part); i++)
        for (int cut = 0; cut < 2; cut++) {
            struct bag *b = quantised_bag(0, true, text);
            snprintf(name, sizeof name, "%s.%s", q_proj, part[i]);
            struct tensor *t = bag_find(b, name);
            if (cut) {
                t->bytes /= 2;
                t->dim[0] /= 2;
                bag_write(b, 0, b->n, "model.safetensors");
            } else {
                write_without(b, (size_t)(t - b->t));
            }
            check_refused(ERR_FORMAT, part[i]);
            bag_free(b);
        }
    struct bag *b = quantised_bag(0, true, NULL);
    bag_write(b, 0, b->n, "model.safetensors");
    check_refused(ERR_FORMAT, "quant_state.bitsandbytes__nf4 is not");
    bag_free(b);
    b = quantised_bag(0, true, text);
    bag_find(b, q_proj)->dim[0] = 2047;
    bag_find(b, q_proj)->bytes = 2047;
    bag_write(b, 0, b->n, "model.safetensors");
    check_refused(ERR_FORMAT, "is 2047 bytes of u8, want 2048");
    bag_free(b);
}

/* ---- GGUF ---- */

struct gguf_model {
    const char *architecture;
    struct config c;
    const char *extra_tensor, *without_tensor;
    uint32_t layers_said, experts, pattern;
    const char *scaling;
    float factor;
    bool no_eps, wrong_value_length;
};

static void put_keys(struct gguf_writer *w, const struct gguf_model *m)
{
    const char *a = m->architecture;
    char key[100];
#define KEY(k) (snprintf(key, sizeof key, "%s.%s", a, k), key)
    gguf_put_string(w, "general.architecture", a, strlen(a));
    gguf_put_u32(w, KEY("block_count"), m->layers_said ? m->layers_said : m->c.layers);
    gguf_put_u32(w, KEY("context_length"), m->c.context);
    gguf_put_u32(w, KEY("embedding_length"), m->c.width);
    gguf_put_u32(w, KEY("feed_forward_length"), m->c.ff_width);
    gguf_put_u32(w, KEY("attention.head_count"), m->c.heads);
    gguf_put_u32(w, KEY("attention.head_count_kv"), m->c.kv_heads);
    gguf_put_u32(w, KEY("attention.key_length"), m->c.head_width);
    if (m->wrong_value_length)
        gguf_put_u32(w, KEY("attention.value_length"), 2 * m->c.head_width);
    if (!m->no_eps)
        gguf_put_f32(w, KEY("attention.layer_norm_rms_epsilon"), 1e-5f);
    if (m->experts)
        gguf_put_u32(w, KEY("expert_count"), m->experts);
    if (m->scaling)
        gguf_put_string(w, KEY("rope.scaling.type"), m->scaling, strlen(m->scaling));
    if (m->factor != 0)
        gguf_put_f32(w, KEY("rope.scaling.factor"), m->factor);
    if (m->c.sliding_window)
        gguf_put_u32(w, KEY("attention.sliding_window"), m->c.sliding_window);
    if (m->pattern)
        gguf_put_u32(w, KEY("attention.sliding_window_pattern"), m->pattern);
#undef KEY
}

static void gguf_name_of(char out[100], enum role r, uint32_t layer)
{
    const char *pattern = role_gguf_name(r), *number = strstr(pattern, "%u");
    if (number)
        snprintf(out, 100, "%.*s%u%s", (int)(number - pattern), pattern, layer, number + 2);
    else
        snprintf(out, 100, "%s", pattern);
}

/* Row j of head h, half s is stored at 2 j + s: reshape(H, 2, Dh / 2).swapaxes(1, 2). */
static void write_permuted(struct gguf_writer *w, const struct tensor *t, size_t heads)
{
    size_t rows = t->dim[0], row = t->bytes / rows, half = rows / heads / 2;
    for (size_t h = 0; h < heads; h++)
        for (size_t j = 0; j < half; j++)
            for (size_t s = 0; s < 2; s++)
                ok(gguf_write_data(w, t->data + row * (h * 2 * half + s * half + j), row, &error));
}

/* Visits every tensor the model has, in one order; the bag's tensors stand in the same. */
static void put_gguf_tensors(struct gguf_writer *w, const struct gguf_model *m, struct bag *b, bool data)
{
    size_t at = 0;
    for (uint32_t layer = 0; layer < m->c.layers; layer++)
        for (int r = layer ? ROLE_FIRST_LAYER : 0; r < ROLE_COUNT; r++) {
            size_t dim[2];
            char name[100];
            int rank = role_shape((enum role)r, &m->c, dim);
            if (rank == 0)
                continue;
            struct tensor *t = &b->t[at++];
            gguf_name_of(name, (enum role)r, layer);
            bool q = r == ROLE_Q || r == ROLE_Q_BIAS, k = r == ROLE_K || r == ROLE_K_BIAS;
            if (m->without_tensor && strcmp(name, m->without_tensor) == 0)
                continue;
            if (!data)
                gguf_put_tensor(w, name, DT_F32, rank, dim);
            else if ((q || k) && strcmp(m->architecture, "llama") == 0)
                write_permuted(w, t, q ? m->c.heads : m->c.kv_heads);
            else
                ok(gguf_write_data(w, t->data, t->bytes, &error));
        }
}

static struct bag *put_gguf(const struct gguf_model *m)
{
    struct bag *b = bag_model(&m->c, "model.");
    struct gguf_writer *w;
    static const float extra[8];
    ok(gguf_create(&w, in_folder("m.gguf"), &error));
    put_keys(w, m);
    put_gguf_tensors(w, m, b, false);
    if (m->extra_tensor)
        gguf_put_tensor(w, m->extra_tensor, DT_F32, 1, (size_t[]){8});
    ok(gguf_begin_data(w, &error));
    put_gguf_tensors(w, m, b, true);
    if (m->extra_tensor)
        ok(gguf_write_data(w, extra, sizeof extra, &error));
    ok(gguf_finish(w, &error));
    return b;
}

static void test_gguf_biases_are_put_back_in_order(void **state)
{
    (void)state;
    struct gguf_model m = {.architecture = "llama", .c = config_of(BIASED)};
    struct checkpoint *k;
    size_t at = 0;
    folder_empty();
    struct bag *b = put_gguf(&m);
    ok(checkpoint_open(&k, in_folder("m.gguf"), &error));
    for (uint32_t layer = 0; layer < m.c.layers; layer++)
        for (int r = layer ? ROLE_FIRST_LAYER : 0; r < ROLE_COUNT; r++) {
            const struct weight *w = checkpoint_weight(k, (enum role)r, layer);
            if (w)
                check_weight(w, &b->t[at++]);
        }
    assert_int_equal(at, b->n);
    const struct config *c = checkpoint_config(k);
    assert_true(c->qkv_bias && c->o_bias && c->mlp_bias && !c->tied);
    assert_true(c->rope[0].theta == 10000); /* absent there */
    checkpoint_close(k);
    bag_free(b);
}

static struct config gguf_config(const struct gguf_model *m)
{
    struct checkpoint *k;
    folder_empty();
    bag_free(put_gguf(m));
    ok(checkpoint_open(&k, in_folder("m.gguf"), &error));
    struct config c = *checkpoint_config(k);
    checkpoint_close(k);
    return c;
}

#define GEMMA(type) "{\"model_type\": \"" type "\", \"sliding_window\": 3, " SMALL "}"

static void test_gguf_metadata(void **state)
{
    (void)state;
    struct gguf_model m = {
        .architecture = "gemma3", .c = config_of(GEMMA("gemma3_text")), .scaling = "linear", .factor = 8};
    struct config c = gguf_config(&m);
    assert_true(c.rope[0].scaling == ROPE_LINEAR && c.rope[0].factor == 8);
    assert_true(c.rope[1].scaling == ROPE_PLAIN && c.rope[1].theta == 1e4f);
    assert_true(c.sliding[0] && c.sliding[1] && c.sliding_window == 3);
    m.pattern = 2;
    c = gguf_config(&m);
    assert_true(c.sliding[0] && !c.sliding[1]);
    m = (struct gguf_model){.architecture = "gemma3", .c = config_of(GEMMA("gemma3_text"))};
    m.c.sliding_window = 0;
    c = gguf_config(&m);
    assert_true(!c.sliding[0] && c.attention_softcap == 0 && c.logit_softcap == 0);
    m = (struct gguf_model){.architecture = "gemma2", .c = config_of(GEMMA("gemma2"))};
    m.c.sliding_window = 0; /* not written */
    c = gguf_config(&m);
    assert_true(c.sliding[0] && !c.sliding[1] && c.sliding_window == 4096);
    assert_true(c.attention_softcap == 50 && c.logit_softcap == 30);
    m = (struct gguf_model){.architecture = "llama", .c = config_of(TIED), .scaling = "linear", .factor = 4};
    c = gguf_config(&m);
    assert_true(c.rope[0].factor == 4 && c.rope[1].factor == 4 && c.tied);
    m.scaling = "none";
    c = gguf_config(&m);
    assert_int_equal(c.rope[0].scaling, ROPE_PLAIN);
}

static void test_wrong_gguf_is_refused(void **state)
{
    (void)state;
    struct config tied = config_of(TIED);
    const struct {
        struct gguf_model m;
        const char *part;
    } bad[] = {
        {{.architecture = "qwen2", .c = tied}, "general.architecture is \"qwen2\""},
        {{.architecture = "llama", .c = tied, .layers_said = 3}, "no tensor blk.2.attn_q.weight"},
        {{.architecture = "llama", .c = tied, .layers_said = 1}, "blk.1."},
        {{.architecture = "llama", .c = tied, .layers_said = 1000000000},
         "llama.block_count is 1000000000, want 1 to 512"},
        {{.architecture = "llama", .c = tied, .experts = 8}, "expert_count is 8"},
        {{.architecture = "llama", .c = tied, .scaling = "yarn"}, "rope.scaling.type is \"yarn\""},
        {{.architecture = "llama", .c = tied, .no_eps = true}, "layer_norm_rms_epsilon is missing"},
        {{.architecture = "llama", .c = tied, .wrong_value_length = true},
         "value_length is 8, want the key_length of 4"},
        {{.architecture = "llama", .c = tied, .extra_tensor = "blk.0.attn_q_norm.weight"},
         "blk.0.attn_q_norm.weight"},
        {{.architecture = "llama", .c = tied, .extra_tensor = "blk.0.attn_k.bias"}, "blk.0.attn_k.bias"},
        {{.architecture = "llama", .c = tied, .extra_tensor = "rope_factors_long.weight"},
         "rope_factors_long.weight"},
        {{.architecture = "llama", .c = tied, .extra_tensor = "output.weight"},
         "output.weight is [8], want [10, 8]"},
        {{.architecture = "llama", .c = tied, .extra_tensor = "rope_freqs.weight"},
         "rope_freqs.weight is [8], want [2]"},
        {{.architecture = "llama", .c = tied, .extra_tensor = "rope_freqs.weight", .factor = 2},
         "both a linear"},
        {{.architecture = "llama", .c = tied, .without_tensor = "token_embd.weight"}, "token_embd.weight"},
        {{.architecture = "llama", .c = tied, .without_tensor = "blk.1.ffn_norm.weight"},
         "no tensor blk.1.ffn_norm.weight"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct checkpoint *k;
        folder_empty();
        bag_free(put_gguf(&bad[i].m));
        int rc = checkpoint_open(&k, in_folder("m.gguf"), &error);
        if (rc != ERR_FORMAT || !strstr(error.msg, "/m.gguf: ") || !strstr(error.msg, bad[i].part))
            fail_msg("case %zu: code %d, \"%s\"; want \"%s\"", i, rc, rc ? error.msg : "", bad[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_prefix_is_known),
        cmocka_unit_test(test_biases_and_a_stray_head),
        cmocka_unit_test(test_shards_are_one_model),
        cmocka_unit_test(test_wrong_shards_are_refused),
        cmocka_unit_test(test_folders_without_weights_are_refused),
        cmocka_unit_test(test_every_missing_tensor_is_named),
        cmocka_unit_test(test_every_wrong_shape_and_type_is_named),
        cmocka_unit_test(test_tensors_without_a_use_are_refused),
        cmocka_unit_test(test_nf4_is_what_bitsandbytes_means),
        cmocka_unit_test(test_wrong_states_of_nf4_are_refused),
        cmocka_unit_test(test_nf4_without_its_parts_is_refused),
        cmocka_unit_test(test_gguf_biases_are_put_back_in_order),
        cmocka_unit_test(test_gguf_metadata),
        cmocka_unit_test(test_wrong_gguf_is_refused),
    };
    return cmocka_run_group_tests(tests, folder_new, folder_remove);
}
