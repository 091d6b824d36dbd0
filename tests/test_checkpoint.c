/* format/checkpoint: models that the reference code wrote (tests/fixtures), the same weights in two kinds of
 * file, and folders put together here: in shards, under other prefixes, 4-bit, and wrong in every way we
 * could think of. */
#include "base/buf.h"
#include "base/file.h"
#include "base/size.h"
#include "format/checkpoint.h"
#include "format/safetensors.h"

#include <math.h>
#include <unistd.h>

#include "testing.h"

#define FIXTURES "tests/fixtures/"

static struct checkpoint *open_model(const char *path)
{
    struct checkpoint *c;
    ok(checkpoint_open(&c, path, &error));
    return c;
}

/* ---- the fixtures ---- */

/* What the folders' config.json say, read by eye. */
static const struct {
    const char *folder, *architecture;
    uint32_t layers, head_width, window, windowed; /* windowed: a bit per layer */
    float theta[2], eps;
    bool tied, gemma, qk_norm, gguf;
} model[] = {
    {"llama_tied", "llama", 3, 16, 0, 0, {1e4f, 1e4f}, 1e-5f, .tied = true, .gguf = true},
    {"llama_untied", "llama", 2, 16, 0, 0, {1e4f, 1e4f}, 1e-5f, .gguf = true},
    {"llama_hcx", "llama", 2, 32, 0, 0, {1e8f, 1e8f}, 1e-5f, .tied = true, .gguf = true},
    {"llama31", "llama", 2, 16, 0, 0, {1e4f, 1e4f}, 1e-5f, .tied = true, .gguf = true},
    {"mistral", "mistral", 2, 16, 8, 3, {1e4f, 1e4f}, 1e-5f, .gguf = true},
    {"gemma2", "gemma2", 4, 32, 8, 5, {1e4f, 1e4f}, 1e-6f, .tied = true, .gemma = true, .gguf = true},
    {"gemma3",
     "gemma3",
     6,
     32,
     8,
     31,
     {1e6f, 1e4f},
     1e-6f,
     .tied = true,
     .gemma = true,
     .qk_norm = true,
     .gguf = true},
    {"gemma3_layertypes",
     "gemma3",
     6,
     32,
     8,
     45,
     {1e6f, 1e4f},
     1e-6f,
     .tied = true,
     .gemma = true,
     .qk_norm = true},
};

static void check_sizes(const struct config *c, size_t i, bool gguf)
{
    assert_string_equal(c->architecture, gguf && !model[i].gemma ? "llama" : model[i].architecture);
    assert_int_equal(c->layers, model[i].layers);
    assert_int_equal(c->width, 64);
    assert_int_equal(c->heads, 4);
    assert_int_equal(c->kv_heads, 2);
    assert_int_equal(c->head_width, model[i].head_width);
    assert_int_equal(c->rope_width, model[i].head_width);
    assert_int_equal(c->ff_width, 128);
    assert_int_equal(c->vocabulary, 256);
    assert_int_equal(c->context, 128);
    assert_int_equal(c->bos, 1);
    assert_int_equal(c->eos, 2);
    assert_int_equal(c->pad, 0);
}

static void check_arithmetic(const struct config *c, size_t i, bool gguf)
{
    bool gemma = model[i].gemma, gemma2 = gemma && !model[i].qk_norm;
    assert_true(c->norm_eps == model[i].eps);
    assert_int_equal(c->activation, gemma ? ACT_GELU_TANH : ACT_SILU);
    assert_int_equal(c->tied, model[i].tied);
    assert_int_equal(c->norm_plus_one, gemma && !gguf);
    assert_int_equal(c->post_norms, gemma);
    assert_int_equal(c->qk_norm, model[i].qk_norm);
    assert_false(c->qkv_bias || c->o_bias || c->mlp_bias);
    assert_true(c->embedding_scale == (gemma ? 8.0f : 1.0f));
    float scalar = gemma && !gguf ? 24 : (float)model[i].head_width; /* GGUF has no query_pre_attn_scalar */
    assert_float_equal(c->attention_scale, 1 / sqrtf(scalar), 1e-7);
    assert_true(c->attention_softcap == (gemma2 ? 4.0f : 0.0f));
    assert_true(c->logit_softcap == (gemma2 ? 3.0f : 0.0f));
}

static void check_layers(const struct config *c, size_t i, bool gguf)
{
    bool windows = !gguf || model[i].gemma; /* Mistral's is lost in GGUF */
    assert_int_equal(c->sliding_window, windows ? model[i].window : 0);
    for (uint32_t k = 0; k < CONFIG_LAYERS_MAX; k++)
        assert_int_equal(c->sliding[k], windows && k < 32 && model[i].windowed >> k & 1);
    /* GGUF has no base for gemma2, and readers take 10,000: the same here */
    assert_true(c->rope[0].theta == model[i].theta[0] && c->rope[1].theta == model[i].theta[1]);
    if (strcmp(model[i].folder, "llama31") != 0)
        assert_int_equal(c->rope[0].scaling, ROPE_PLAIN);
    else if (gguf)
        assert_int_equal(c->rope[0].scaling, ROPE_FACTORS);
    else {
        assert_int_equal(c->rope[0].scaling, ROPE_LLAMA3);
        assert_true(c->rope[0].factor == 8 && c->rope[0].low_freq_factor == 1 &&
                    c->rope[0].high_freq_factor == 4);
        assert_int_equal(c->rope[0].original_context, 32);
    }
    assert_int_equal(c->rope[1].scaling, model[i].qk_norm ? ROPE_PLAIN : c->rope[0].scaling);
}

static void test_every_fixture_has_the_right_configuration(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(model); i++)
        for (int gguf = 0; gguf <= model[i].gguf; gguf++) {
            char path[200];
            snprintf(path, sizeof path, FIXTURES "%s%s", model[i].folder, gguf ? "/model.gguf" : "");
            struct checkpoint *c = open_model(path);
            print_message("# %s\n", path);
            check_sizes(checkpoint_config(c), i, gguf);
            check_arithmetic(checkpoint_config(c), i, gguf);
            check_layers(checkpoint_config(c), i, gguf);
            assert_string_equal(checkpoint_path(c), path);
            assert_int_equal(checkpoint_files(c), 1);
            assert_int_equal(checkpoint_gguf(c) != NULL, gguf);
            checkpoint_close(c);
        }
}

static float *decode(const struct weight *w, size_t *n)
{
    size_t rows = w->tensor.rank == 2 ? w->tensor.dim[0] : 1;
    *n = rows * w->tensor.dim[w->tensor.rank - 1];
    float *out = malloc(*n * sizeof *out);
    ok(weight_decode_rows(out, w, 0, rows, &error));
    return out;
}

/* Any range of rows is what the whole has there. */
static void check_ranges(const struct weight *w, const float *all, size_t n)
{
    size_t rows = w->tensor.rank == 2 ? w->tensor.dim[0] : 1, columns = n / rows;
    static const size_t few[] = {0, 1, 2, 3, 7};
    float *out = malloc((n + 1) * sizeof *out);
    for (size_t first = 0; first <= rows; first++)
        for (size_t k = 0; k < COUNT_OF(few) && first + few[k] <= rows; k++) {
            size_t got = few[k] * columns;
            out[got] = 12345;
            ok(weight_decode_rows(out, w, first, few[k], &error));
            assert_memory_equal(out, all + first * columns, got * sizeof *out);
            assert_true(out[got] == 12345); /* nothing beyond */
        }
    assert_int_equal(weight_decode_rows(out, w, rows, 1, &error), ERR_LIMIT);
    assert_int_equal(weight_decode_rows(out, w, 1, SIZE_MAX, &error), ERR_LIMIT);
    free(out);
}

static void check_same(const struct weight *a, const struct weight *b)
{
    size_t n, m;
    float *x = decode(a, &n), *y = decode(b, &m);
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i])
            fail_msg("%s and %s: value %zu is %g and %g", a->tensor.name, b->tensor.name, i, x[i], y[i]);
    check_ranges(a, x, n);
    check_ranges(b, y, n);
    free(x);
    free(y);
}

/* The reference converter's GGUF holds the folder's weights; only the factors of rotation are its own. */
static void test_gguf_and_folder_hold_the_same_weights(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(model); i++) {
        char path[200];
        if (!model[i].gguf)
            continue;
        print_message("# %s\n", model[i].folder);
        snprintf(path, sizeof path, FIXTURES "%s", model[i].folder);
        struct checkpoint *a = open_model(path);
        snprintf(path, sizeof path, FIXTURES "%s/model.gguf", model[i].folder);
        struct checkpoint *b = open_model(path);
        for (uint32_t layer = 0; layer < model[i].layers; layer++)
            for (int r = 0; r < ROLE_COUNT; r++) {
                const struct weight *x = checkpoint_weight(a, (enum role)r, layer),
                                    *y = checkpoint_weight(b, (enum role)r, layer);
                if (r == ROLE_ROPE_FREQS) {
                    assert_null(x);
                    assert_int_equal(y != NULL, strcmp(model[i].folder, "llama31") == 0);
                    continue;
                }
                assert_int_equal(x != NULL, y != NULL);
                if (x)
                    check_same(x, y);
            }
        assert_null(checkpoint_weight(a, ROLE_Q, model[i].layers));
        checkpoint_close(a);
        checkpoint_close(b);
    }
}

/* ---- bytes in memory ---- */

static void test_bytes_are_the_file(void **state)
{
    (void)state;
    static const char path[] = FIXTURES "llama_tied/model.gguf";
    char *bytes;
    size_t n;
    struct checkpoint *memory, *file = open_model(path);
    ok(file_read(&bytes, &n, path, 1 << 26, &error));
    ok(checkpoint_open_bytes(&memory, "gyeol-x", (unsigned char *)bytes, n, &error));
    assert_string_equal(checkpoint_path(memory), "gyeol-x");
    assert_int_equal(checkpoint_files(memory), 0);
    assert_memory_equal(checkpoint_config(memory), checkpoint_config(file), sizeof(struct config));
    for (int r = 0; r < ROLE_COUNT; r++) {
        const struct weight *a = checkpoint_weight(memory, (enum role)r, 1),
                            *b = checkpoint_weight(file, (enum role)r, 1);
        assert_true(!a == !b);
        if (!a)
            continue;
        assert_string_equal(a->tensor.name, b->tensor.name);
        assert_int_equal(a->tensor.bytes, b->tensor.bytes);
        assert_memory_equal(a->tensor.data, b->tensor.data, a->tensor.bytes);
    }
    checkpoint_close(memory);
    checkpoint_close(file);
    assert_int_equal(checkpoint_open_bytes(&memory, "gyeol-x", (unsigned char *)bytes, n / 2, &error),
                     ERR_FORMAT);
    assert_non_null(strstr(error.msg, "gyeol-x: "));
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_fixture_has_the_right_configuration),
        cmocka_unit_test(test_gguf_and_folder_hold_the_same_weights),
        cmocka_unit_test(test_bytes_are_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
