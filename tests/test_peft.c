/* format/peft: adapters that PEFT wrote (tests/fixtures), its rules of which module is adapted by what rank
 * and scale, and adapters that must be refused. */
#include "base/buf.h"
#include "base/size.h"
#include "format/peft.h"

#include <math.h>

#include "model_folder.h"

#define FIXTURES "tests/fixtures/"

/* ---- the fixtures ---- */

static void check_fixture(const char *name, const char *base, float scale, enum role last, size_t tensors)
{
    char path[200];
    struct checkpoint *c;
    struct peft *p;
    struct safetensors *s;
    size_t met = 0;
    print_message("# %s\n", name);
    snprintf(path, sizeof path, FIXTURES "%s", base);
    ok(checkpoint_open(&c, path, &error));
    snprintf(path, sizeof path, FIXTURES "%s", name);
    ok(peft_open(&p, path, checkpoint_config(c), NULL, &error));
    assert_string_equal(peft_dir(p), path);
    assert_null(peft_base_sha256(p));
    snprintf(path, sizeof path, FIXTURES "%s/adapter_model.safetensors", name);
    ok(safetensors_open(&s, path, &error));
    for (uint32_t layer = 0; layer < checkpoint_config(c)->layers; layer++)
        for (int r = ROLE_Q; r <= ROLE_DOWN; r++) {
            struct peft_pair pair = peft_get(p, (enum role)r, layer);
            assert_int_equal(pair.a != NULL, r <= (int)last);
            assert_int_equal(pair.b != NULL, r <= (int)last);
            if (!pair.a)
                continue;
            char hf[200], want[300];
            snprintf(hf, sizeof hf, role_hf_name((enum role)r, checkpoint_config(c)), layer);
            hf[strlen(hf) - strlen(".weight")] = 0;
            snprintf(want, sizeof want, "base_model.model.%s.lora_A.weight", hf);
            assert_string_equal(pair.a->name, want);
            assert_memory_equal(pair.a->data, safetensors_find(s, want)->data, pair.a->bytes);
            snprintf(want, sizeof want, "base_model.model.%s.lora_B.weight", hf);
            assert_string_equal(pair.b->name, want);
            assert_memory_equal(pair.b->data, safetensors_find(s, want)->data, pair.b->bytes);
            assert_int_equal(pair.rank, 4);
            assert_true(pair.scale == scale);
            met += 2;
        }
    assert_int_equal(met, tensors);
    assert_int_equal(safetensors_count(s), tensors);
    assert_null(peft_get(p, ROLE_Q, checkpoint_config(c)->layers).a);
    assert_null(peft_get(p, ROLE_HEAD, 0).a);
    safetensors_close(s);
    peft_close(p);
    checkpoint_close(c);
}

static void test_adapters_that_peft_wrote(void **state)
{
    (void)state;
    check_fixture("lora_llama", "llama_tied", 2, ROLE_O, 24);
    check_fixture("lora_llama", "llama_tied/model.gguf", 2, ROLE_O, 24);
    check_fixture("qlora_llama", "llama_tied", 2, ROLE_O, 24);
    check_fixture("lora_llama_all", "llama_untied", 4, ROLE_DOWN, 28); /* rslora: 8 / sqrt(4) */
    check_fixture("lora_gemma2", "gemma2", 2, ROLE_DOWN, 56);
    check_fixture("lora_gemma3", "gemma3", 2, ROLE_DOWN, 84);
}

static void test_an_adapter_of_another_base_is_refused(void **state)
{
    (void)state;
    struct checkpoint *c;
    struct peft *p;
    ok(checkpoint_open(&c, FIXTURES "llama_untied", &error)); /* two layers of three */
    assert_int_equal(peft_open(&p, FIXTURES "lora_llama", checkpoint_config(c), NULL, &error), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "layers.2.self_attn"));
    assert_non_null(strstr(error.msg, "the base's 2 layers"));
    checkpoint_close(c);
    ok(checkpoint_open(&c, FIXTURES "llama_hcx", &error)); /* wider heads */
    assert_int_equal(peft_open(&p, FIXTURES "lora_llama_all", checkpoint_config(c), NULL, &error),
                     ERR_FORMAT);
    assert_non_null(strstr(error.msg, "q_proj.lora_B.weight is [64, 4], want [128, 4]"));
    checkpoint_close(c);
}

/* ---- adapters put together here ---- */

#define LAYERS 3
static const char base_json[] =
    "{\"model_type\": \"llama\", \"hidden_size\": 8, \"num_hidden_layers\": 3,"
    "\"num_attention_heads\": 2, \"head_dim\": 6, \"intermediate_size\": 10, \"vocab_size\": 5}";

/* What is in the file: "LAYER MODULE RANK" lines, layers of "*" are all. */
static void add_pair(struct bag *b, const struct config *c, const char *prefix, uint32_t layer,
                     const char *module, size_t rank, const char *adapter)
{
    char name[300], end[64];
    size_t dim[2];
    for (int r = ROLE_Q; r <= ROLE_DOWN; r++) {
        const char *hf = role_hf_name((enum role)r, c);
        snprintf(end, sizeof end, ".%s.weight", module);
        if (!strstr(hf, end))
            continue;
        role_shape((enum role)r, c, dim);
        const char *rest = hf + strlen("model.layers.%u.");
        int n = (int)(strlen(rest) - strlen(".weight"));
        snprintf(name, sizeof name, "base_model.model.%slayers.%u.%.*s.lora_A.%sweight", prefix, layer, n,
                 rest, adapter);
        bag_add(b, name, DT_F32, 2, rank, dim[1], NULL);
        snprintf(name, sizeof name, "base_model.model.%slayers.%u.%.*s.lora_B.%sweight", prefix, layer, n,
                 rest, adapter);
        bag_add(b, name, DT_F32, 2, dim[0], rank, NULL);
    }
}

static void put_config(const char *fields)
{
    struct buf out = {0};
    buf_printf(&out, "{\"peft_type\": \"LORA\", \"task_type\": \"CAUSAL_LM\"%s%s}", *fields ? ", " : "",
               fields);
    put_text("adapter_config.json", out.data);
    buf_deinit(&out);
}

/* present: per layer and linear role in order, the rank, '.' for none: "4... ..., ...". */
static struct bag *put_adapter(const char *fields, const char *prefix, const char *present,
                               const char *adapter)
{
    static const char *const module[] = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                         "gate_proj", "up_proj", "down_proj"};
    struct config c = config_of(base_json);
    struct bag *b = calloc(1, sizeof *b);
    size_t at = 0;
    for (; *present; present++) {
        if (*present == ' ')
            continue;
        if (*present != '.')
            add_pair(b, &c, prefix, (uint32_t)(at / 7), module[at % 7], (size_t)(*present - '0'), adapter);
        at++;
    }
    folder_empty();
    put_config(fields);
    bag_write(b, 0, b->n, "adapter_model.safetensors");
    return b;
}

static int open_adapter(struct peft **p)
{
    struct config c = config_of(base_json);
    return peft_open(p, folder, &c, NULL, &error);
}

/* The adapter opens, and adapts exactly what is in the file. */
static void check_good(const char *fields, const char *prefix, const char *present)
{
    for (int form = 0; form < 2; form++) {
        struct bag *b = put_adapter(fields, prefix, present, form ? "default." : "");
        struct peft *p;
        size_t at = 0;
        int rc = open_adapter(&p);
        if (rc)
            fail_msg("{%s}: error %d: %s", fields, rc, error.msg);
        for (const char *s = present; *s; s++) {
            if (*s == ' ')
                continue;
            struct peft_pair pair = peft_get(p, (enum role)(ROLE_Q + at % 7), (uint32_t)(at / 7));
            assert_int_equal(pair.a != NULL, *s != '.');
            if (pair.a)
                assert_int_equal(pair.rank, *s - '0');
            at++;
        }
        peft_close(p);
        bag_free(b);
    }
}

static void check_bad(const char *fields, const char *prefix, const char *present, const char *part)
{
    struct peft *p = NULL;
    struct bag *b = put_adapter(fields, prefix, present, "");
    int rc = open_adapter(&p);
    bool right = (rc == ERR_FORMAT || rc == ERR_LIMIT) && strncmp(error.msg, folder, strlen(folder)) == 0;
    if (!right || !strstr(error.msg, part))
        fail_msg("{%s}: code %d, \"%s\"; want \"%s\"", fields, rc, rc ? error.msg : "", part);
    bag_free(b);
}

static void test_target_modules(void **state)
{
    (void)state;
    static const char q_v[] = "2.2.... 2.2.... 2.2....", all[] = "2222222 2222222 2222222";
    check_good("\"r\": 2, \"target_modules\": [\"q_proj\", \"v_proj\"]", "model.", q_v);
    check_good("\"r\": 2, \"target_modules\": [\"self_attn.q_proj\", \"v_proj\"]", "model.", q_v);
    check_good("\"r\": 2, \"target_modules\": [\"q_proj\", \"v_proj\", \"c_attn\"]", "model.", q_v);
    check_good("\"r\": 2, \"target_modules\": \".*\\\\.(q|v)_proj\"", "model.", q_v);
    check_good("\"r\": 2, \"target_modules\": \"model\\\\.layers\\\\.\\\\d+\\\\.self_attn\\\\.[qv]_proj\"",
               "model.", q_v);
    check_good("\"r\": 2, \"target_modules\": \".*(?P<which>q|v)_proj\"", "model.", q_v);
    check_good("\"r\": 2, \"target_modules\": \"all-linear\"", "model.", all);
    check_good("\"r\": 2, \"target_modules\": \"ALL-LINEAR\"", "model.", all);
    check_good("\"r\": 2, \"target_modules\": \"all-linear\", \"exclude_modules\": [\"down_proj\", "
               "\"model.layers.0.mlp.up_proj\"]",
               "model.", "22222.. 222222. 222222.");
    check_good("\"r\": 2, \"target_modules\": \"all-linear\", \"exclude_modules\": \".*mlp.*\"", "model.",
               "2222... 2222... 2222...");
    check_good("\"r\": 2, \"target_modules\": [\"model.layers.1.self_attn.q_proj\"]", "model.",
               "....... 2...... .......");
    check_good("\"r\": 2, \"target_modules\": [\"layers.1.self_attn.q_proj\"]", "model.",
               "....... 2...... .......");
    /* re.fullmatch, so a part or an alternative that stops early is no match */
    check_bad("\"r\": 2, \"target_modules\": \"q_proj\"", "model.", q_v, "does not target");
    check_bad("\"r\": 2, \"target_modules\": \".*q|.*v\"", "model.", q_v, "does not target");
    check_bad("\"r\": 2, \"target_modules\": [\"proj\"]", "model.", q_v, "does not target");
    check_bad("\"r\": 2, \"target_modules\": [\"q_proj\"]", "model.", q_v, "v_proj.lora_A.weight is there");
    check_bad("\"r\": 2, \"target_modules\": [\"q_proj\", \"v_proj\", \"o_proj\"]", "model.", q_v,
              "no lora_A of model.layers.0.self_attn.o_proj");
    check_bad("\"r\": 2, \"target_modules\": \"all-linear\"", "model.", q_v,
              "no lora_A of model.layers.0.self_attn.k_proj");
    check_bad("\"r\": 2, \"target_modules\": [\"q_proj\"]", "model.", "2...... ....... 2......",
              "no lora_A of model.layers.1");
}

static void test_layers_to_transform(void **state)
{
    (void)state;
#define Q_OF "\"r\": 3, \"target_modules\": [\"q_proj\"], "
    check_good(Q_OF "\"layers_to_transform\": [0, 2]", "model.", "3...... ....... 3......");
    check_good(Q_OF "\"layers_to_transform\": 1", "model.", "....... 3...... .......");
    check_good(Q_OF "\"layers_to_transform\": []", "model.", "3...... 3...... 3......");
    check_good(Q_OF "\"layers_to_transform\": [1], \"layers_pattern\": \"layers\"", "model.",
               "....... 3...... .......");
    check_good(Q_OF "\"layers_to_transform\": [1], \"layers_pattern\": [\"h\", \"layers\"]", "model.",
               "....... 3...... .......");
    check_good(Q_OF "\"layers_to_transform\": [1], \"layers_pattern\": \"\"", "model.",
               "....... 3...... .......");
    check_good("\"r\": 3, \"target_modules\": [\"q_proj\", \"model.layers.2.self_attn.q_proj\"], "
               "\"layers_to_transform\": [0]",
               "model.", "3...... ....... 3......"); /* a module by its whole name needs no layer */
    check_bad(Q_OF "\"layers_to_transform\": [1], \"layers_pattern\": [\"h\"]", "model.",
              "....... 3...... .......", "does not target");
    check_bad(Q_OF "\"layers_to_transform\": [\"1\"]", "model.", "....... 3...... .......",
              "layers_to_transform");
    check_bad(Q_OF "\"layers_to_transform\": 1.5", "model.", "....... 3...... .......",
              "layers_to_transform is 1.5");
    check_bad("\"r\": 3, \"target_modules\": \".*q_proj\", \"layers_to_transform\": [1]", "model.",
              "....... 3...... .......", "layers_to_transform is a list, want null");
}

static float scale_of(const char *fields, const char *present, enum role r, uint32_t layer)
{
    struct peft *p;
    struct bag *b = put_adapter(fields, "model.", present, "");
    ok(open_adapter(&p));
    float scale = peft_get(p, r, layer).scale;
    peft_close(p);
    bag_free(b);
    return scale;
}

static void test_ranks_and_scales(void **state)
{
    (void)state;
#define QV "\"target_modules\": [\"q_proj\", \"v_proj\"]"
    check_good("\"r\": 2, \"rank_pattern\": {\"v_proj\": 5}, " QV, "model.", "2.5.... 2.5.... 2.5....");
    check_good("\"r\": 2, \"rank_pattern\": {\"layers.1.self_attn.v_proj\": 5, \"v_proj\": 4}, " QV, "model.",
               "2.4.... 2.5.... 2.4....");
    check_good("\"r\": 2, \"rank_pattern\": {\"v_proj\": 4, \"layers.1.self_attn.v_proj\": 5}, " QV, "model.",
               "2.4.... 2.4.... 2.4...."); /* the first that matches */
    check_good("\"r\": 2, \"rank_pattern\": {\"model.layers.[02].self_attn.(q|v)_proj\": 3}, " QV, "model.",
               "3.3.... 2.2.... 3.3....");
    check_good("\"r\": 2, \"rank_pattern\": {\"proj\": 4, \"selfXattn.v_proj\": 4, \"self_attn\": 4}, " QV,
               "model.", "2.2.... 2.2.... 2.2....");
    check_good("\"r\": 2, \"rank_pattern\": {\"self.attn.v_proj\": 4}, " QV, "model.",
               "2.4.... 2.4.... 2.4....");
    check_good("\"rank_pattern\": null, " QV, "model.", "8.8.... 8.8.... 8.8....");
    check_bad("\"r\": 2, \"rank_pattern\": {\"v_proj\": 5}, " QV, "model.", "2.2.... 2.2.... 2.2....",
              "v_proj.lora_A.weight is [2, 8], want [5, 8]");
    static const char four[] = "4.4.... 4.4.... 4.4....";
    assert_true(scale_of("\"r\": 4, \"lora_alpha\": 8, " QV, four, ROLE_Q, 0) == 2);
    assert_true(scale_of("\"r\": 4, \"lora_alpha\": 6.0, " QV, four, ROLE_V, 2) == 1.5f);
    assert_true(scale_of("\"r\": 4, " QV, four, ROLE_V, 2) == 2); /* alpha 8 by default */
    assert_true(scale_of("\"r\": 4, \"use_rslora\": true, \"lora_alpha\": 5, " QV, four, ROLE_V, 2) == 2.5f);
    assert_true(scale_of("\"r\": 4, \"lora_alpha\": 8, \"alpha_pattern\": {\"v_proj\": 32}, " QV, four,
                         ROLE_V, 1) == 8);
    assert_true(scale_of("\"r\": 4, \"lora_alpha\": 8, \"alpha_pattern\": {\"v_proj\": 32}, " QV, four,
                         ROLE_Q, 1) == 2);
    assert_true(
        scale_of("\"r\": 4, \"rank_pattern\": {\"q_proj\": 3}, \"lora_alpha\": 10, \"use_rslora\": true, " QV,
                 "3.4.... 3.4.... 3.4....", ROLE_Q, 1) == (float)(10 / sqrt(3)));
}

static void test_prefixes(void **state)
{
    (void)state;
    static const char *const prefix[] = {"model.", "language_model.model.", "model.language_model.", ""};
    for (size_t i = 0; i < COUNT_OF(prefix); i++)
        check_good("\"r\": 2, \"target_modules\": [\"q_proj\"]", prefix[i], "2...... 2...... 2......");
    check_good("\"r\": 2, \"target_modules\": \".*language_model.*q_proj\"", prefix[1],
               "2...... 2...... 2......");
    check_bad("\"r\": 2, \"target_modules\": [\"q_proj\"]", "decoder.", "2...... 2...... 2......",
              "adapts no linear weight");
}

/* One adapter on q with something more in the file, or less. */
static void check_spoiled(const char *name, enum dtype type, int rank, size_t d0, size_t d1, const char *part)
{
    struct peft *p;
    struct bag *b =
        put_adapter("\"r\": 2, \"target_modules\": [\"q_proj\"]", "model.", "2...... 2...... 2......", "");
    struct tensor *t = NULL;
    for (size_t i = 0; i < b->n; i++)
        if (strcmp(b->t[i].name, name) == 0)
            t = &b->t[i];
    struct tensor *more = bag_add(b, name, type, rank, d0, d1, NULL);
    if (t) {
        *t = *more;
        b->n--;
    }
    bag_write(b, 0, b->n, "adapter_model.safetensors");
    int rc = open_adapter(&p);
    if (rc != ERR_FORMAT || !strstr(error.msg, name) || !strstr(error.msg, part))
        fail_msg("%s: code %d, \"%s\"; want \"%s\"", name, rc, rc ? error.msg : "", part);
    bag_free(b);
}

static void test_tensors_that_do_not_belong_are_refused(void **state)
{
    (void)state;
#define M "base_model.model."
#define Q M "model.layers.0.self_attn.q_proj."
    check_spoiled(M "lm_head.lora_A.weight", DT_F32, 2, 2, 8, "adapts no linear weight");
    check_spoiled(M "model.embed_tokens.lora_embedding_A", DT_F32, 2, 2, 5,
                  "a plain LoRA adapter does not have");
    check_spoiled(Q "lora_magnitude_vector", DT_F32, 1, 12, 0, "a plain LoRA adapter does not have");
    check_spoiled(Q "lora_A.other.weight", DT_F32, 2, 2, 8, "a plain LoRA adapter does not have");
    check_spoiled(Q "lora_B.bias", DT_F32, 1, 12, 0, "a plain LoRA adapter does not have");
    check_spoiled("model.layers.0.self_attn.q_proj.lora_A.weight", DT_F32, 2, 2, 8,
                  "a plain LoRA adapter does not have");
    check_spoiled(M "model.layers.3.self_attn.q_proj.lora_A.weight", DT_F32, 2, 2, 8, "the base's 3 layers");
    check_spoiled(M "model.layers.0.input_layernorm.lora_A.weight", DT_F32, 2, 2, 8,
                  "adapts no linear weight");
    check_spoiled(M "layers.0.self_attn.k_proj.lora_A.weight", DT_F32, 2, 2, 8,
                  "begins unlike the other modules");
    check_spoiled(Q "lora_A.default.weight", DT_F32, 2, 2, 8, "are the same");
    check_spoiled(Q "lora_A.weight", DT_F32, 2, 3, 8, "is [3, 8], want [2, 8]");
    check_spoiled(Q "lora_A.weight", DT_F32, 2, 8, 2, "is [8, 2], want [2, 8]");
    check_spoiled(Q "lora_A.weight", DT_F32, 1, 16, 0, "is [16, 1], want [2, 8]");
    check_spoiled(Q "lora_B.weight", DT_F32, 2, 8, 2, "is [8, 2], want [12, 2]");
    check_spoiled(Q "lora_B.weight", DT_I32, 2, 12, 2, "is i32, want f32, f16 or bf16");
    check_bad("\"r\": 2, \"target_modules\": [\"q_proj\"]", "model.", "", "no tensor that adapts a layer");
}

static void test_what_is_of_images_is_left_alone(void **state)
{
    (void)state;
    struct peft *p;
    struct bag *b = put_adapter("\"r\": 2, \"target_modules\": [\"q_proj\"]", "language_model.model.",
                                "2...... 2...... 2......", "");
    bag_add(b, M "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.lora_A.weight", DT_F32, 2, 2, 9,
            NULL);
    bag_add(b, M "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.lora_B.weight", DT_F32, 2, 9, 2,
            NULL);
    bag_write(b, 0, b->n, "adapter_model.safetensors");
    ok(open_adapter(&p));
    peft_close(p);
    bag_free(b);
}

static void test_half_types(void **state)
{
    (void)state;
    struct peft *p;
    struct bag *b =
        put_adapter("\"r\": 2, \"target_modules\": [\"q_proj\"]", "model.", "2...... 2...... 2......", "");
    for (size_t i = 0; i < b->n; i++) {
        b->t[i].type = i % 2 ? DT_F16 : DT_BF16;
        b->t[i].bytes /= 2;
    }
    bag_write(b, 0, b->n, "adapter_model.safetensors");
    ok(open_adapter(&p));
    assert_int_equal(peft_get(p, ROLE_Q, 0).a->type, DT_BF16);
    assert_int_equal(peft_get(p, ROLE_Q, 0).b->type, DT_F16);
    peft_close(p);
    bag_free(b);
}

static void test_kinds_of_adapters_that_are_refused_by_name(void **state)
{
    (void)state;
    static const char q[] = "8...... 8...... 8......";
    static const char *const field[] = {"\"use_dora\": true",
                                        "\"bias\": \"all\"",
                                        "\"bias\": \"lora_only\"",
                                        "\"modules_to_save\": [\"lm_head\"]",
                                        "\"fan_in_fan_out\": true",
                                        "\"lora_bias\": true",
                                        "\"layer_replication\": [[0, 1]]",
                                        "\"target_parameters\": [\"x\"]",
                                        "\"trainable_token_indices\": [1]",
                                        "\"init_lora_weights\": \"pissa\"",
                                        "\"init_lora_weights\": \"loftq\"",
                                        "\"r\": 0",
                                        "\"r\": -1",
                                        "\"r\": 4294967296",
                                        "\"r\": \"8\"",
                                        "\"lora_alpha\": 0",
                                        "\"lora_alpha\": \"8\"",
                                        "\"use_rslora\": 1",
                                        "\"rank_pattern\": []",
                                        "\"rank_pattern\": {\"q_proj\": \"4\"}",
                                        "\"rank_pattern\": {\"q_proj\": 0}",
                                        "\"rank_pattern\": {\"q_proj\": 1.5}",
                                        "\"alpha_pattern\": {\"q_proj\": -1}",
                                        "\"rank_pattern\": {\"(\": 1}",
                                        "\"exclude_modules\": 5",
                                        "\"layers_to_transform\": [0], \"layers_pattern\": \"(\"",
                                        "\"layers_to_transform\": [0], \"layers_pattern\": [5]"};
    for (size_t i = 0; i < COUNT_OF(field); i++) {
        char fields[300], part[64];
        const char *last = strstr(field[i], "layers_pattern");
        snprintf(fields, sizeof fields, "\"target_modules\": [\"q_proj\"], %s", field[i]);
        snprintf(part, sizeof part, "%.*s", (int)strcspn(last ? last : field[i] + 1, "\""),
                 last ? last : field[i] + 1);
        check_bad(fields, "model.", q, part);
    }
    check_bad("\"target_modules\": \"(\"", "model.", q, "target_modules");
    check_bad("\"target_modules\": null", "model.", q, "target_modules is null");
    check_bad("", "model.", q, "target_modules is missing");
    check_bad("\"target_modules\": [5]", "model.", q, "target_modules[0]");
    check_bad("\"target_modules\": [\"q_proj\"], \"peft_type\": \"LORA\"", "model.", q,
              "not JSON"); /* twice */
    check_good("\"target_modules\": [\"q_proj\"], \"use_dora\": false, \"modules_to_save\": null, "
               "\"layer_replication\": [],"
               "\"init_lora_weights\": \"gaussian\", \"bias\": \"none\", \"megatron_config\": null, "
               "\"lora_dropout\": 0.1,"
               "\"loftq_config\": {}, \"inference_mode\": true",
               "model.", q);
    folder_empty();
    put_text("adapter_config.json", "{\"peft_type\": \"IA3\", \"target_modules\": [\"q_proj\"]}");
    struct peft *p;
    assert_int_equal(open_adapter(&p), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "peft_type is \"IA3\", want LORA"));
    put_text("adapter_config.json", "{\"target_modules\": [\"q_proj\"]}");
    assert_int_equal(open_adapter(&p), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "peft_type is missing"));
}

/* Backtracking without end must end. */
static void test_expressions_have_bounds(void **state)
{
    (void)state;
    check_bad("\"r\": 2, \"target_modules\": \"(.*)*(.*)*(.*)*(.*)*(.*)*(.*)*[#%]\"", "model.",
              "2...... 2...... 2......", "target_modules");
    struct buf long_one = {0};
    buf_str(&long_one, "\"r\": 2, \"target_modules\": \"");
    for (int i = 0; i < 3000; i++)
        buf_str(&long_one, "a");
    buf_str(&long_one, "\"");
    check_bad(long_one.data, "model.", "2...... 2...... 2......", "expression of 3000 bytes");
    buf_deinit(&long_one);
}

/* ---- files ---- */

static void test_missing_files_are_named(void **state)
{
    (void)state;
    struct peft *p;
    folder_empty();
    assert_int_equal(open_adapter(&p), ERR_MISSING);
    assert_non_null(strstr(error.msg, "adapter_config.json"));
    put_config("\"target_modules\": [\"q_proj\"]");
    assert_int_equal(open_adapter(&p), ERR_MISSING);
    assert_non_null(strstr(error.msg, "adapter_model.safetensors"));
    put_text("adapter_model.bin", "x");
    assert_int_equal(open_adapter(&p), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "adapter_model.bin is a program to run"));
    put_text("adapter_model.safetensors", "x");
    assert_int_equal(open_adapter(&p), ERR_FORMAT);
    peft_close(NULL);
}

static void test_the_base_must_be_the_one_recorded(void **state)
{
    (void)state;
    struct config c = config_of(base_json);
    struct peft *p;
    bag_free(
        put_adapter("\"r\": 2, \"target_modules\": [\"q_proj\"]", "model.", "2...... 2...... 2......", ""));
    put_text("gyeol.json", "{\"base_sha256\": \"0123\", \"other\": 1}");
    ok(peft_open(&p, folder, &c, "0123", &error));
    assert_string_equal(peft_base_sha256(p), "0123");
    peft_close(p);
    ok(peft_open(&p, folder, &c, NULL, &error));
    assert_string_equal(peft_base_sha256(p), "0123");
    peft_close(p);
    assert_int_equal(peft_open(&p, folder, &c, "4567", &error), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "base_sha256 is 0123, but the base is 4567"));
    put_text("gyeol.json", "{}");
    ok(peft_open(&p, folder, &c, "4567", &error));
    assert_null(peft_base_sha256(p));
    peft_close(p);
    put_text("gyeol.json", "{\"base_sha256\": 5}");
    assert_int_equal(peft_open(&p, folder, &c, NULL, &error), ERR_FORMAT);
    put_text("gyeol.json", "no");
    assert_int_equal(peft_open(&p, folder, &c, NULL, &error), ERR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adapters_that_peft_wrote),
        cmocka_unit_test(test_an_adapter_of_another_base_is_refused),
        cmocka_unit_test(test_target_modules),
        cmocka_unit_test(test_layers_to_transform),
        cmocka_unit_test(test_ranks_and_scales),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_tensors_that_do_not_belong_are_refused),
        cmocka_unit_test(test_what_is_of_images_is_left_alone),
        cmocka_unit_test(test_half_types),
        cmocka_unit_test(test_kinds_of_adapters_that_are_refused_by_name),
        cmocka_unit_test(test_expressions_have_bounds),
        cmocka_unit_test(test_missing_files_are_named),
        cmocka_unit_test(test_the_base_must_be_the_one_recorded),
    };
    return cmocka_run_group_tests(tests, folder_new, folder_remove);
}
