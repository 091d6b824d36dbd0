/* format/config: configurations as people have them (fields as the models' publishers give them), what absent
 * fields mean by Transformers' configuration classes, and files that lie. GGUF metadata is tested in
 * test_checkpoint.c. */
#include "base/buf.h"
#include "base/file.h"
#include "base/size.h"
#include "format/config.h"

#include <math.h>

#include "testing.h"

static int read_json(struct config *c, const char *json)
{
    return config_from_json(c, "config.json", json, strlen(json), &error);
}

static struct config good(const char *json)
{
    struct config c;
    memset(&c, 0xAA, sizeof c); /* everything is set, whatever was there */
    ok(read_json(&c, json));
    return c;
}

/* ---- models as published ---- */

#define LLAMA_MULTIPLIERS                                                                                    \
    "\"attention_multiplier\": 0.08838834764831845, \"embedding_multiplier\": 1.0, \"logits_scaling\": 1.0," \
    "\"residual_multiplier\": 1.0, \"resid_pdrop\": 0.2, \"end_token_id\": 100257,"

static const char hyperclovax_05b[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"attention_bias\": false, \"attention_dropout\": 0.0,"
    "\"bos_token_id\": 100257, \"eos_token_id\": 100257, \"head_dim\": 128, \"hidden_act\": \"silu\","
    "\"hidden_size\": 1024, \"initializer_range\": 0.02, \"intermediate_size\": 4096,"
    "\"max_position_embeddings\": 4096, \"mlp_bias\": false, \"model_type\": \"llama\","
    "\"num_attention_heads\": 16, \"num_hidden_layers\": 24, \"num_key_value_heads\": 8, \"pad_token_id\": "
    "100257,"
    "\"pretraining_tp\": 1, \"rms_norm_eps\": 1e-05, \"rope_scaling\": null, \"rope_theta\": 100000000,"
    "\"tie_word_embeddings\": true, \"torch_dtype\": \"bfloat16\", \"transformers_version\": \"4.52.4\","
    "\"use_cache\": false, \"vocab_size\": 110592}";

static const char hyperclovax_15b[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"attention_bias\": false, " LLAMA_MULTIPLIERS
    "\"bos_token_id\": 100257, \"eos_token_id\": 100257, \"head_dim\": 128, \"hidden_act\": \"silu\","
    "\"hidden_size\": 2048, \"intermediate_size\": 7168, \"max_position_embeddings\": 131072, \"mlp_bias\": "
    "false,"
    "\"model_type\": \"llama\", \"num_attention_heads\": 16, \"num_hidden_layers\": 24,"
    "\"num_key_value_heads\": 8, \"pad_token_id\": 100257, \"rms_norm_eps\": 1e-05, \"rope_scaling\": null,"
    "\"rope_theta\": 100000000, \"tie_word_embeddings\": true, \"vocab_size\": 110592}";

static const char llama31_8b[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"attention_bias\": false, \"attention_dropout\": 0.0,"
    "\"bos_token_id\": 128000, \"eos_token_id\": [128001, 128008, 128009], \"hidden_act\": \"silu\","
    "\"hidden_size\": 4096, \"initializer_range\": 0.02, \"intermediate_size\": 14336,"
    "\"max_position_embeddings\": 131072, \"mlp_bias\": false, \"model_type\": \"llama\","
    "\"num_attention_heads\": 32, \"num_hidden_layers\": 32, \"num_key_value_heads\": 8, \"pretraining_tp\": "
    "1,"
    "\"rms_norm_eps\": 1e-05, \"rope_scaling\": {\"factor\": 8.0, \"low_freq_factor\": 1.0,"
    "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 8192, \"rope_type\": \"llama3\"},"
    "\"rope_theta\": 500000.0, \"tie_word_embeddings\": false, \"torch_dtype\": \"bfloat16\","
    "\"transformers_version\": \"4.42.3\", \"use_cache\": true, \"vocab_size\": 128256}";

static const char llama32_3b[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"attention_bias\": false, \"bos_token_id\": 128000,"
    "\"eos_token_id\": 128001, \"head_dim\": 128, \"hidden_act\": \"silu\", \"hidden_size\": 3072,"
    "\"intermediate_size\": 8192, \"max_position_embeddings\": 131072, \"mlp_bias\": false,"
    "\"model_type\": \"llama\", \"num_attention_heads\": 24, \"num_hidden_layers\": 28,"
    "\"num_key_value_heads\": 8, \"rms_norm_eps\": 1e-05, \"rope_scaling\": {\"factor\": 32.0,"
    "\"high_freq_factor\": 4.0, \"low_freq_factor\": 1.0, \"original_max_position_embeddings\": 8192,"
    "\"rope_type\": \"llama3\"}, \"rope_theta\": 500000.0, \"tie_word_embeddings\": true, \"vocab_size\": "
    "128256}";

static const char deepseek_7b[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"bos_token_id\": 100000, \"eos_token_id\": 100001,"
    "\"hidden_act\": \"silu\", \"hidden_size\": 4096, \"initializer_range\": 0.02, \"intermediate_size\": "
    "11008,"
    "\"max_position_embeddings\": 4096, \"model_type\": \"llama\", \"num_attention_heads\": 32,"
    "\"num_hidden_layers\": 30, \"num_key_value_heads\": 32, \"pretraining_tp\": 1, \"rms_norm_eps\": 1e-06,"
    "\"rope_scaling\": null, \"rope_theta\": 10000.0, \"tie_word_embeddings\": false,"
    "\"torch_dtype\": \"bfloat16\", \"transformers_version\": \"4.33.1\", \"use_cache\": true,"
    "\"vocab_size\": 102400}";

static const char mistral_7b[] =
    "{\"architectures\": [\"MistralForCausalLM\"], \"bos_token_id\": 1, \"eos_token_id\": 2,"
    "\"hidden_act\": \"silu\", \"hidden_size\": 4096, \"initializer_range\": 0.02, \"intermediate_size\": "
    "14336,"
    "\"max_position_embeddings\": 32768, \"model_type\": \"mistral\", \"num_attention_heads\": 32,"
    "\"num_hidden_layers\": 32, \"num_key_value_heads\": 8, \"rms_norm_eps\": 1e-05, \"rope_theta\": 10000.0,"
    "\"sliding_window\": 4096, \"tie_word_embeddings\": false, \"torch_dtype\": \"bfloat16\","
    "\"transformers_version\": \"4.34.0.dev0\", \"use_cache\": true, \"vocab_size\": 32000}";

static const char gemma2_9b[] =
    "{\"architectures\": [\"Gemma2ForCausalLM\"], \"attention_bias\": false, \"attention_dropout\": 0.0,"
    "\"attn_logit_softcapping\": 50.0, \"bos_token_id\": 2, \"cache_implementation\": \"hybrid\","
    "\"eos_token_id\": 1, \"final_logit_softcapping\": 30.0, \"head_dim\": 256,"
    "\"hidden_act\": \"gelu_pytorch_tanh\", \"hidden_activation\": \"gelu_pytorch_tanh\", \"hidden_size\": "
    "3584,"
    "\"initializer_range\": 0.02, \"intermediate_size\": 14336, \"max_position_embeddings\": 8192,"
    "\"model_type\": \"gemma2\", \"num_attention_heads\": 16, \"num_hidden_layers\": 42,"
    "\"num_key_value_heads\": 8, \"pad_token_id\": 0, \"query_pre_attn_scalar\": 256, \"rms_norm_eps\": "
    "1e-06,"
    "\"rope_theta\": 10000.0, \"sliding_window\": 4096, \"sliding_window_size\": 4096,"
    "\"torch_dtype\": \"float32\", \"use_cache\": true, \"vocab_size\": 256000}";

static const char gemma3_4b[] =
    "{\"architectures\": [\"Gemma3ForConditionalGeneration\"], \"boi_token_index\": 255999,"
    "\"eoi_token_index\": 256000, \"eos_token_id\": [1, 106], \"image_token_index\": 262144,"
    "\"initializer_range\": 0.02, \"mm_tokens_per_image\": 256, \"model_type\": \"gemma3\","
    "\"text_config\": {\"hidden_size\": 2560, \"intermediate_size\": 10240, \"model_type\": \"gemma3_text\","
    "\"num_hidden_layers\": 34, \"rope_scaling\": {\"factor\": 8.0, \"rope_type\": \"linear\"},"
    "\"sliding_window\": 1024}, \"torch_dtype\": \"bfloat16\", \"transformers_version\": \"4.50.0.dev0\","
    "\"vision_config\": {\"hidden_size\": 1152, \"image_size\": 896, \"intermediate_size\": 4304,"
    "\"model_type\": \"siglip_vision_model\", \"num_attention_heads\": 16, \"num_hidden_layers\": 27,"
    "\"patch_size\": 14, \"vision_use_head\": false}}";

static void check_sizes(const struct config *c, const uint32_t want[9])
{
    const uint32_t got[] = {c->layers,   c->width,      c->heads,   c->kv_heads,  c->head_width,
                            c->ff_width, c->vocabulary, c->context, c->rope_width};
    for (size_t i = 0; i < COUNT_OF(got); i++)
        if (got[i] != want[i])
            fail_msg("size %zu: %u, want %u", i, got[i], want[i]);
}

static void check_llama(const struct config *c, float theta, float eps, bool tied)
{
    assert_true(c->rope[0].theta == theta && c->rope[1].theta == theta);
    assert_true(c->norm_eps == eps);
    assert_int_equal(c->tied, tied);
    assert_int_equal(c->activation, ACT_SILU);
    assert_true(c->embedding_scale == 1);
    assert_true(c->attention_scale == (float)(1 / sqrt(c->head_width)));
    assert_true(c->attention_softcap == 0 && c->logit_softcap == 0);
    assert_false(c->norm_plus_one || c->post_norms || c->qk_norm || c->qkv_bias || c->o_bias || c->mlp_bias);
}

static uint32_t windowed(const struct config *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < CONFIG_LAYERS_MAX; i++)
        n += c->sliding[i];
    return n;
}

static void test_hyperclovax(void **state)
{
    (void)state;
    struct config c = good(hyperclovax_05b);
    check_sizes(&c, (uint32_t[]){24, 1024, 16, 8, 128, 4096, 110592, 4096, 128});
    check_llama(&c, 1e8f, 1e-5f, true);
    assert_int_equal(c.bos, 100257);
    assert_int_equal(c.pad, 100257);
    assert_string_equal(c.architecture, "llama");
    assert_int_equal(windowed(&c), 0);
    c = good(hyperclovax_15b);
    check_sizes(&c, (uint32_t[]){24, 2048, 16, 8, 128, 7168, 110592, 131072, 128});
    check_llama(&c, 1e8f, 1e-5f, true);
}

static void check_llama3(const struct config_rope_kind *k, float factor)
{
    assert_int_equal(k->scaling, ROPE_LLAMA3);
    assert_true(k->factor == factor && k->low_freq_factor == 1 && k->high_freq_factor == 4);
    assert_int_equal(k->original_context, 8192);
}

static void test_llama(void **state)
{
    (void)state;
    struct config c = good(llama31_8b);
    check_sizes(&c, (uint32_t[]){32, 4096, 32, 8, 128, 14336, 128256, 131072, 128});
    check_llama(&c, 5e5f, 1e-5f, false);
    check_llama3(&c.rope[0], 8);
    check_llama3(&c.rope[1], 8);
    assert_int_equal(c.eos, 128001);
    assert_int_equal(c.pad, -1);
    c = good(llama32_3b);
    check_sizes(&c, (uint32_t[]){28, 3072, 24, 8, 128, 8192, 128256, 131072, 128});
    check_llama(&c, 5e5f, 1e-5f, true);
    check_llama3(&c.rope[0], 32);
    c = good(deepseek_7b);
    check_sizes(&c, (uint32_t[]){30, 4096, 32, 32, 128, 11008, 102400, 4096, 128});
    check_llama(&c, 1e4f, 1e-6f, false);
    assert_int_equal(c.bos, 100000);
    assert_int_equal(c.rope[0].scaling, ROPE_PLAIN);
}

static void test_mistral(void **state)
{
    (void)state;
    struct config c = good(mistral_7b);
    check_sizes(&c, (uint32_t[]){32, 4096, 32, 8, 128, 14336, 32000, 32768, 128});
    check_llama(&c, 1e4f, 1e-5f, false);
    assert_int_equal(c.sliding_window, 4096);
    assert_int_equal(windowed(&c), 32);
    c = good(
        "{\"model_type\": \"mistral\", \"sliding_window\": null, \"rope_theta\": 1e6, \"head_dim\": null}");
    check_sizes(&c, (uint32_t[]){32, 4096, 32, 8, 128, 14336, 32000, 131072, 128});
    check_llama(&c, 1e6f, 1e-6f, false);
    assert_int_equal(c.sliding_window, 0);
    assert_int_equal(windowed(&c), 0);
    c = good("{\"model_type\": \"mistral\"}");
    assert_int_equal(c.sliding_window, 4096);
    assert_int_equal(windowed(&c), 32);
}

static void check_gemma(const struct config *c, bool qk_norm, float attention_softcap, float logit_softcap)
{
    assert_true(c->norm_eps == 1e-6f);
    assert_true(c->tied && c->norm_plus_one && c->post_norms);
    assert_int_equal(c->qk_norm, qk_norm);
    assert_int_equal(c->activation, ACT_GELU_TANH);
    assert_true(c->embedding_scale == (float)sqrt(c->width));
    assert_true(c->attention_scale == 1.0f / 16);
    assert_true(c->attention_softcap == attention_softcap && c->logit_softcap == logit_softcap);
    assert_int_equal(c->bos, 2);
    assert_int_equal(c->eos, 1);
    assert_int_equal(c->pad, 0);
}

static void test_gemma2(void **state)
{
    (void)state;
    struct config c = good(gemma2_9b);
    check_sizes(&c, (uint32_t[]){42, 3584, 16, 8, 256, 14336, 256000, 8192, 256});
    check_gemma(&c, false, 50, 30);
    assert_int_equal(c.sliding_window, 4096);
    for (uint32_t i = 0; i < CONFIG_LAYERS_MAX; i++)
        assert_int_equal(c.sliding[i], i < 42 && i % 2 == 0);
    c = good("{\"model_type\": \"gemma2\"}");
    check_sizes(&c, (uint32_t[]){26, 2304, 8, 4, 256, 9216, 256000, 8192, 256});
    check_gemma(&c, false, 50, 30); /* absent: the class's own; null: none */
    assert_int_equal(windowed(&c), 13);
    c = good(
        "{\"model_type\": \"gemma2\", \"attn_logit_softcapping\": null, \"final_logit_softcapping\": null,"
        "\"hidden_act\": \"silu\"}");
    check_gemma(&c, false, 0, 0);
}

static void test_gemma3(void **state)
{
    (void)state;
    struct config c = good(gemma3_4b);
    check_sizes(&c, (uint32_t[]){34, 2560, 8, 4, 256, 10240, 262208, 131072, 256});
    check_gemma(&c, true, 0, 0);
    assert_string_equal(c.architecture, "gemma3");
    assert_int_equal(c.sliding_window, 1024);
    for (uint32_t i = 0; i < CONFIG_LAYERS_MAX; i++)
        assert_int_equal(c.sliding[i], i < 34 && i % 6 != 5);
    assert_true(c.rope[0].theta == 1e6f && c.rope[1].theta == 1e4f);
    assert_int_equal(c.rope[0].scaling, ROPE_LINEAR); /* of the global layers alone */
    assert_true(c.rope[0].factor == 8);
    assert_int_equal(c.rope[1].scaling, ROPE_PLAIN);
    c = good("{\"model_type\": \"gemma3_text\", \"sliding_window_pattern\": 3, \"num_hidden_layers\": 7}");
    check_sizes(&c, (uint32_t[]){7, 2304, 8, 4, 256, 9216, 262208, 131072, 256});
    assert_int_equal(c.sliding_window, 4096);
    for (uint32_t i = 0; i < CONFIG_LAYERS_MAX; i++)
        assert_int_equal(c.sliding[i], i < 7 && i % 3 != 2);
    /* Written beside layer_types, and never read. */
    c = good("{\"model_type\": \"gemma3_text\", \"_sliding_window_pattern\": 2, \"num_hidden_layers\": 4}");
    assert_int_equal(windowed(&c), 4);
    check_gemma(&c, true, 0, 0);
}

/* What each class and its model do with the same field (configuration_*.py and modeling_*.py). */
static void test_fields_that_a_family_does_not_read(void **state)
{
    (void)state;
    struct config c = good("{\"model_type\": \"mistral\", \"attention_bias\": true, \"mlp_bias\": true,"
                           "\"num_hidden_layers\": 2, \"layer_types\": [\"full_attention\", 5]}");
    assert_false(c.qkv_bias || c.o_bias || c.mlp_bias);
    assert_int_equal(windowed(&c), 2);
    c = good("{\"model_type\": \"gemma2\", \"attention_bias\": true, \"mlp_bias\": true}");
    assert_true(c.qkv_bias && c.o_bias && !c.mlp_bias);
    c = good("{\"model_type\": \"llama\", \"sliding_window\": 0, \"num_hidden_layers\": 1,"
             "\"layer_types\": [\"sliding_attention\"]}");
    assert_int_equal(windowed(&c), 0);
    c = good("{\"model_type\": \"gemma3_text\", \"attn_logit_softcapping\": 50,"
             "\"final_logit_softcapping\": 30}");
    assert_true(c.attention_softcap == 0 && c.logit_softcap == 30);
}

static void test_gemma3_with_eyes(void **state)
{
    (void)state;
    struct config c =
        good("{\"model_type\": \"gemma3\", \"text_config\": {\"final_logit_softcapping\": 30}}");
    assert_true(c.tied && c.logit_softcap == 0);
    c = good("{\"model_type\": \"gemma3\", \"tie_word_embeddings\": false, \"text_config\": {}}");
    assert_false(c.tied);
    c = good("{\"model_type\": \"gemma3\", \"text_config\": {\"tie_word_embeddings\": false}}");
    assert_false(c.tied);
}

/* ---- single fields ---- */

static void test_llama_defaults(void **state)
{
    (void)state;
    struct config c = good("{\"model_type\": \"llama\", \"sliding_window\": 77}");
    check_sizes(&c, (uint32_t[]){32, 4096, 32, 32, 128, 11008, 32000, 2048, 128});
    check_llama(&c, 1e4f, 1e-6f, false);
    assert_int_equal(c.sliding_window, 0); /* LlamaModel has no window */
    assert_int_equal(c.bos, 1);
    assert_int_equal(c.eos, 2);
    assert_int_equal(c.pad, -1);
    assert_string_equal(c.name, "");
}

static struct config small(const char *more)
{
    struct buf b = {0};
    buf_printf(&b,
               "{\"model_type\": \"llama\", \"hidden_size\": 64, \"num_hidden_layers\": 3, "
               "\"num_attention_heads\": 4,"
               "\"vocab_size\": 100, %s}",
               more);
    struct config c = good(b.data);
    buf_deinit(&b);
    return c;
}

static void test_single_fields(void **state)
{
    (void)state;
    struct config c = small("\"attention_bias\": true");
    assert_true(c.qkv_bias && c.o_bias && !c.mlp_bias);
    c = small("\"mlp_bias\": true, \"_name_or_path\": \"가나다\"");
    assert_true(!c.qkv_bias && !c.o_bias && c.mlp_bias);
    assert_string_equal(c.name, "가나다");
    c = small("\"hidden_act\": \"gelu\"");
    assert_int_equal(c.activation, ACT_GELU);
    c = small("\"hidden_act\": \"gelu_new\"");
    assert_int_equal(c.activation, ACT_GELU_TANH);
    c = small("\"partial_rotary_factor\": 0.5");
    assert_int_equal(c.rope_width, 8);
    c = small("\"attention_multiplier\": 0.25, \"embedding_multiplier\": 12, \"residual_multiplier\": null");
    assert_true(c.attention_scale == 0.25f && c.embedding_scale == 12);
    c = small("\"attention_multiplier\": 1.0");
    assert_true(c.attention_scale == 0.25f);
    c = small("\"bos_token_id\": 100, \"eos_token_id\": 99, \"pad_token_id\": -1");
    assert_int_equal(c.bos, -1); /* no such token */
    assert_int_equal(c.eos, 99);
    assert_int_equal(c.pad, -1);
    c = small(
        "\"quantization_config\": {\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true,"
        "\"load_in_8bit\": false, \"bnb_4bit_quant_type\": \"nf4\", \"bnb_4bit_quant_storage\": \"uint8\","
        "\"bnb_4bit_use_double_quant\": true}");
    assert_int_equal(c.layers, 3);
    c = good("{\"model_type\": \"gemma2\", \"num_hidden_layers\": 3, \"sliding_window\": 5,"
             "\"layer_types\": [\"full_attention\", \"sliding_attention\", \"full_attention\"]}");
    assert_int_equal(c.sliding_window, 5);
    assert_true(!c.sliding[0] && c.sliding[1] && !c.sliding[2]);
}

static void test_rope_is_read_in_every_spelling(void **state)
{
    (void)state;
    struct config c = small("\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}, \"rope_theta\": 7");
    assert_true(c.rope[0].scaling == ROPE_LINEAR && c.rope[0].factor == 2 && c.rope[0].theta == 7);
    assert_memory_equal(&c.rope[0], &c.rope[1], sizeof c.rope[0]);
    c = small("\"rope_scaling\": {\"rope_type\": \"default\"}, \"rope_theta\": 7");
    assert_true(c.rope[0].scaling == ROPE_PLAIN && c.rope[0].theta == 7);
    c = small("\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 5e5}");
    assert_true(c.rope[0].scaling == ROPE_PLAIN && c.rope[0].theta == 5e5f && c.rope[1].theta == 5e5f);
    c = small("\"rope_parameters\": {\"rope_type\": \"llama3\", \"rope_theta\": 5e5, \"factor\": 8, "
              "\"low_freq_factor\": 1,"
              "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 8192}");
    check_llama3(&c.rope[0], 8);
    check_llama3(&c.rope[1], 8);
    /* Not given: the file's own, then max_position_embeddings. */
    c = small("\"rope_parameters\": {\"rope_type\": \"llama3\", \"rope_theta\": 5e5, \"factor\": 8, "
              "\"low_freq_factor\": 1, \"high_freq_factor\": 4}, \"max_position_embeddings\": 8192");
    check_llama3(&c.rope[0], 8);
    c = small("\"rope_parameters\": {\"rope_type\": \"llama3\", \"rope_theta\": 5e5, \"factor\": 8, "
              "\"low_freq_factor\": 1, \"high_freq_factor\": 4}, \"original_max_position_embeddings\": 8192");
    check_llama3(&c.rope[0], 8);
    c = small("\"rope_theta\": 9, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}, "
              "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 7}");
    assert_true(c.rope[0].scaling == ROPE_LINEAR && c.rope[0].factor == 2 && c.rope[0].theta == 9);
    c = small("\"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 2}, \"rope_scaling\": {}");
    assert_true(c.rope[0].scaling == ROPE_LINEAR && c.rope[1].scaling == ROPE_LINEAR);
    c = small("\"rope_parameters\": {\"partial_rotary_factor\": 0.25}");
    assert_int_equal(c.rope_width, 4);
    c = good("{\"model_type\": \"gemma3_text\", \"rope_parameters\": {"
             "\"full_attention\": {\"rope_type\": \"linear\", \"factor\": 8, \"rope_theta\": 2e6},"
             "\"sliding_attention\": {\"rope_type\": \"default\", \"rope_theta\": 3e4}}}");
    assert_true(c.rope[0].scaling == ROPE_LINEAR && c.rope[0].factor == 8 && c.rope[0].theta == 2e6f);
    assert_true(c.rope[1].scaling == ROPE_PLAIN && c.rope[1].theta == 3e4f);
    c = good("{\"model_type\": \"gemma3_text\", \"rope_parameters\": {"
             "\"full_attention\": {\"rope_type\": \"default\"}, \"sliding_attention\": {\"rope_type\": "
             "\"default\"}}}");
    assert_true(c.rope[0].theta == 1e6f && c.rope[1].theta == 1e4f);
}

/* ---- refusals ---- */

/* The message must name the file and say `part`. */
static void check_refused(const char *json, const char *part)
{
    struct config c;
    int rc = read_json(&c, json);
    if (rc != ERR_FORMAT || strncmp(error.msg, "config.json:", 12) != 0 || !strstr(error.msg, part))
        fail_msg("%.200s: code %d, \"%s\"; want \"%s\"", json, rc, rc ? error.msg : "", part);
}

static void test_what_is_not_computed_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *type, *field, *part;
    } bad[] = {
        {"llama", "\"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 2}",
         "rope_scaling.rope_type is \"dynamic\""},
        {"llama", "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2}", "rope_scaling.type is \"yarn\""},
        {"llama", "\"rope_scaling\": {\"rope_type\": \"longrope\"}", "\"longrope\""},
        {"llama", "\"rope_scaling\": {\"rope_type\": \"linear\"}", "rope_scaling.factor is missing"},
        {"llama", "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8}",
         "low_freq_factor is missing"},
        {"llama",
         "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4,"
         "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 1}",
         "high_freq_factor is 4"},
        {"llama",
         "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1,"
         "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 0}",
         "original_max_position_embeddings is 0"},
        {"gemma3_text", "\"rope_parameters\": {\"rope_type\": \"default\"}",
         "full_attention and sliding_attention"},
        {"llama", "\"hidden_act\": \"relu\"", "hidden_act is \"relu\""},
        {"gemma2", "\"hidden_activation\": \"relu\"", "hidden_activation is \"relu\""},
        {"llama", "\"residual_multiplier\": 0.5", "residual_multiplier is 0.5, want 1"},
        {"llama", "\"logits_scaling\": 8", "logits_scaling is 8, want 1"},
        {"gemma3_text", "\"use_bidirectional_attention\": true", "use_bidirectional_attention is true"},
        {"mistral", "\"num_local_experts\": 8", "num_local_experts is 8"},
        {"llama", "\"quantization_config\": {\"quant_method\": \"gptq\", \"bits\": 4}",
         "quant_method is \"gptq\""},
        {"llama", "\"quantization_config\": {\"quant_method\": \"awq\"}", "quant_method is \"awq\""},
        {"llama", "\"quantization_config\": {\"quant_method\": \"bitsandbytes\", \"load_in_8bit\": true}",
         "load_in_8bit"},
        {"llama",
         "\"quantization_config\": {\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true,"
         "\"bnb_4bit_quant_type\": \"fp4\"}",
         "bnb_4bit_quant_type is \"fp4\""},
        {"llama", "\"quantization_config\": {\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true}",
         "bnb_4bit_quant_type is missing"},
        {"gemma2", "\"layer_types\": [\"full_attention\"]", "layer_types is a list"},
        {"gemma3_text", "\"num_hidden_layers\": 1, \"layer_types\": [\"chunked_attention\"]",
         "chunked_attention"},
        {"gemma3_text", "\"num_hidden_layers\": 1, \"layer_types\": [7]", "layer_types[0] is no string"},
        {"gemma2",
         "\"num_hidden_layers\": 1, \"sliding_window\": null, \"layer_types\": [\"sliding_attention\"]",
         "sliding_window is null"},
        {"gemma3_text", "\"sliding_window\": null", "sliding_window is null"},
        {"qwen2", "\"hidden_size\": 64", "model_type is \"qwen2\""},
        {"gemma3", "\"text_config\": 5", "text_config is 5, want an object"},
        {"gemma3", "\"text_config\": {\"hidden_size\": -1}", "text_config.hidden_size is -1"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char json[600];
        snprintf(json, sizeof json, "{\"model_type\": \"%s\", %s}", bad[i].type, bad[i].field);
        check_refused(json, bad[i].part);
    }
    check_refused("{\"hidden_size\": 64}", "model_type is missing");
}

static void test_numbers_that_lie_are_refused(void **state)
{
    (void)state;
    static const char *const number[] = {
        "num_hidden_layers",   "hidden_size", "intermediate_size", "num_attention_heads",
        "num_key_value_heads", "head_dim",    "vocab_size",        "max_position_embeddings"};
    static const char *const wrong[] = {"0",     "-1",   "1000000000000",        "4294967297", "1.5",
                                        "\"8\"", "true", "-9223372036854775808", "[8]",        "{}"};
    static const char *const real[] = {"rms_norm_eps", "rope_theta", "partial_rotary_factor",
                                       "attention_multiplier", "embedding_multiplier"};
    static const char *const wrong_real[] = {"0", "-1", "\"8\"", "true", "1e300", "[8]", "1e-300"};
    char json[300];
    for (size_t i = 0; i < COUNT_OF(number); i++)
        for (size_t k = 0; k < COUNT_OF(wrong); k++) {
            snprintf(json, sizeof json, "{\"model_type\": \"llama\", \"%s\": %s}", number[i], wrong[k]);
            check_refused(json, number[i]);
        }
    for (size_t i = 0; i < COUNT_OF(real); i++)
        for (size_t k = 0; k < COUNT_OF(wrong_real); k++) {
            snprintf(json, sizeof json, "{\"model_type\": \"llama\", \"%s\": %s}", real[i], wrong_real[k]);
            check_refused(json, real[i]);
        }
    check_refused("{\"model_type\": \"llama\", \"num_hidden_layers\": 1000000000}",
                  "want a whole number from 1 to 512");
    check_refused("{\"model_type\": \"llama\", \"num_hidden_layers\": 513}", "num_hidden_layers is 513");
}

static void test_numbers_must_agree(void **state)
{
    (void)state;
    check_refused("{\"model_type\": \"llama\", \"num_key_value_heads\": 5}", "32 query heads cannot share 5");
    check_refused("{\"model_type\": \"llama\", \"num_key_value_heads\": 64}",
                  "32 query heads cannot share 64");
    check_refused("{\"model_type\": \"llama\", \"hidden_size\": 100}", "100 is no multiple of 32 heads");
    check_refused("{\"model_type\": \"llama\", \"hidden_size\": 96}", "heads are 3 wide");
    check_refused("{\"model_type\": \"llama\", \"head_dim\": 7}", "heads are 7 wide");
    check_refused("{\"model_type\": \"llama\", \"hidden_size\": 65536}", "heads are 2048 wide");
    check_refused("{\"model_type\": \"llama\", \"head_dim\": 1025}", "head_dim is 1025");
    check_refused("{\"model_type\": \"llama\", \"head_dim\": 10, \"partial_rotary_factor\": 0.3}",
                  "3 values of a head");
    check_refused("{\"model_type\": \"llama\", \"partial_rotary_factor\": 0.001}", "partial_rotary_factor");
    check_refused("{\"model_type\": \"llama\", \"partial_rotary_factor\": 1.01}", "partial_rotary_factor");
    check_refused("{\"model_type\": \"llama\", \"rms_norm_eps\": 1}", "epsilon is 1");
}

static void test_what_is_no_json_object_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "[]",
                                      "5",
                                      "{",
                                      "{}}",
                                      "{\"a\": 1, \"a\": 2}",
                                      "{\"a\": \"\\u0000\"}",
                                      "\xff{}",
                                      "{\"model_type\": \"llama\", \"hidden_size\": 1e999}",
                                      "{\"model_type\": \"llama\", \"hidden_size\": 99999999999999999999}"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        check_refused(bad[i], "JSON");
}

/* ---- written, and read again ---- */

static void check_written(const struct config *c, const char *what)
{
    char *text;
    struct config again;
    int rc = config_to_json(&text, c, what, DT_BF16, &error);
    if (rc)
        fail_msg("%s", error.msg);
    ok(config_from_json(&again, what, text, strlen(text), &error));
    const char *other = config_differs(c, &again);
    if (other)
        fail_msg("%s: another %s", what, other);
    free(text);
}

static void test_what_is_written_means_the_same(void **state)
{
    static const char *const texts[] = {hyperclovax_05b, hyperclovax_15b, llama31_8b, llama32_3b,
                                        deepseek_7b,     mistral_7b,      gemma2_9b,  gemma3_4b};
    static const char *const folders[] = {"llama_tied",      "llama_untied",      "llama_hcx",
                                          "llama31",         "mistral",           "gemma2",
                                          "gemma3",          "gemma3_layertypes", "refcheck_gemma2",
                                          "refcheck_gemma3", "refcheck_llama",    "refcheck_mistral"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct config c = good(texts[i]);
        check_written(&c, "real");
    }
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        char file[200], *bytes;
        size_t n;
        struct config c;
        snprintf(file, sizeof file, "tests/fixtures/%s/config.json", folders[i]);
        ok(file_read(&bytes, &n, file, 1 << 20, &error));
        ok(config_from_json(&c, file, bytes, n, &error));
        check_written(&c, folders[i]);
        free(bytes);
    }
}

/* Fields as Transformers' own files spell them, in numbers as Python prints them. */
static void test_what_is_written_reads_like_theirs(void **state)
{
    static const char *const want[] = {"\"architectures\": [\n    \"LlamaForCausalLM\"\n  ]",
                                       "\"model_type\": \"llama\"",
                                       "\"rms_norm_eps\": 1e-5",
                                       "\"torch_dtype\": \"bfloat16\"",
                                       "\"rope_type\": \"llama3\"",
                                       "\"original_max_position_embeddings\": 8192",
                                       "\"tie_word_embeddings\": true",
                                       "\"pad_token_id\": null"};
    (void)state;
    char *text;
    struct config c = good(llama32_3b);
    ok(config_to_json(&text, &c, "c", DT_BF16, &error));
    for (size_t i = 0; i < COUNT_OF(want); i++)
        if (!strstr(text, want[i]))
            fail_msg("no %s in %s", want[i], text);
    free(text);
}

static void check_unsayable(struct config c, const char *what)
{
    char *text;
    assert_int_equal(config_to_json(&text, &c, "c", DT_F32, &error), ERR_FORMAT);
    assert_null(text);
    if (!strstr(error.msg, what))
        fail_msg("\"%s\" does not say %s", error.msg, what);
}

static void test_what_cannot_be_said_is_refused(void **state)
{
    (void)state;
    struct config c = good(llama31_8b);
    c.o_bias = true; /* Llama has one flag for all four */
    check_unsayable(c, "bias of attention's output");
    c = good(llama31_8b);
    c.rope[0].scaling = ROPE_FACTORS; /* of a GGUF file */
    check_unsayable(c, "rotary embedding");
    c = good(mistral_7b);
    c.qkv_bias = true;
    check_unsayable(c, "biases of queries");
    c = good(gemma2_9b);
    c.qk_norm = true;
    check_unsayable(c, "norms of queries and keys");
    c = good(gemma3_4b);
    c.rope[1] = c.rope[0];
    check_unsayable(c, "windowed layers");
    c = good(gemma3_4b);
    c.attention_softcap = 50;
    check_unsayable(c, "attention soft cap");
    c = good(llama31_8b);
    snprintf(c.architecture, sizeof c.architecture, "falcon");
    check_unsayable(c, "falcon");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hyperclovax),
        cmocka_unit_test(test_llama),
        cmocka_unit_test(test_mistral),
        cmocka_unit_test(test_gemma2),
        cmocka_unit_test(test_gemma3),
        cmocka_unit_test(test_fields_that_a_family_does_not_read),
        cmocka_unit_test(test_gemma3_with_eyes),
        cmocka_unit_test(test_llama_defaults),
        cmocka_unit_test(test_single_fields),
        cmocka_unit_test(test_rope_is_read_in_every_spelling),
        cmocka_unit_test(test_what_is_not_computed_is_refused_by_name),
        cmocka_unit_test(test_numbers_that_lie_are_refused),
        cmocka_unit_test(test_numbers_must_agree),
        cmocka_unit_test(test_what_is_no_json_object_is_refused),
        cmocka_unit_test(test_what_is_written_means_the_same),
        cmocka_unit_test(test_what_is_written_reads_like_theirs),
        cmocka_unit_test(test_what_cannot_be_said_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
