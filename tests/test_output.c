/* train/output: what a run leaves. Adapters and models are compared with those that PEFT and Transformers wrote
 * (tests/fixtures): names, order, types, shapes, bytes, and the logits they give. */
#include "base/size.h"
#include "compute/quant.h"
#include "model/session.h"
#include "train/output.h"

#include <math.h>
#include <sys/stat.h>

#include "model_folder.h"

#define FIXTURES "tests/fixtures/"
enum { TOKENS = 24, VOCABULARY = 256 };

static const char *fixture(const char *name, const char *file)
{
    static char path[256];
    snprintf(path, sizeof path, FIXTURES "%s%s%s", name, *file ? "/" : "", file);
    return path;
}

static char *whole(const char *path)
{
    char *text;
    size_t n;
    ok(file_read(&text, &n, path, 1 << 24, &error));
    return text;
}

/* ---- parameters as files have them ---- */

static void add(struct parameters *p, enum role r, uint32_t layer, enum parameter_part part,
                const struct tensor *t)
{
    struct parameter *q = &p->p[p->n++];
    *q = (struct parameter){.role = r,
                            .layer = layer,
                            .part = part,
                            .rows = t->rank > 1 ? t->dim[0] : 1,
                            .cols = t->dim[t->rank - 1],
                            .value = p->values + p->count};
    assert_int_equal(t->type, DT_F32);
    memcpy(q->value, t->data, t->bytes);
    p->count += q->rows * q->cols;
}

static struct parameters *parameters_new(size_t count)
{
    struct parameters *p = calloc(1, sizeof *p);
    p->p = calloc(400, sizeof *p->p);
    p->values = calloc(count, sizeof *p->values);
    return p;
}

static void parameters_release(struct parameters *p)
{
    free(p->p);
    free(p->values);
    free(p);
}

static struct parameters *parameters_of_adapter(const struct config *c, const struct peft *from)
{
    struct parameters *p = parameters_new(1 << 17);
    for (uint32_t layer = 0; layer < c->layers; layer++)
        for (int r = ROLE_Q; r <= ROLE_DOWN; r++) {
            struct peft_pair pair = peft_get(from, (enum role)r, layer);
            if (!pair.a)
                continue;
            add(p, (enum role)r, layer, PART_LORA_A, pair.a);
            add(p, (enum role)r, layer, PART_LORA_B, pair.b);
        }
    return p;
}

/* In the order of roles, and in the file's convention: the tensors themselves, not what multiplies. */
static struct parameters *parameters_of_model(const struct checkpoint *from)
{
    const struct config *c = checkpoint_config(from);
    struct parameters *p = parameters_new(1 << 20);
    for (int r = 0; r < ROLE_FIRST_LAYER; r++)
        if (checkpoint_weight(from, (enum role)r, 0))
            add(p, (enum role)r, 0, PART_WEIGHT, &checkpoint_weight(from, (enum role)r, 0)->tensor);
    for (uint32_t layer = 0; layer < c->layers; layer++)
        for (int r = ROLE_FIRST_LAYER; r < ROLE_COUNT; r++)
            if (checkpoint_weight(from, (enum role)r, layer))
                add(p, (enum role)r, layer, PART_WEIGHT,
                    &checkpoint_weight(from, (enum role)r, layer)->tensor);
    return p;
}

/* ---- logits ---- */

static const int32_t input[TOKENS] = {1,  17, 42,  200, 255, 3,   3,  99, 128, 64,  7, 250,
                                      31, 5,  180, 77,  12,  230, 66, 2,  111, 140, 9, 54};

static void check_logits(const char *path, const char *adapter_dir, enum model_type type,
                         const char *want_file, double within)
{
    struct checkpoint *c;
    struct model *m;
    struct session *s;
    struct kv *kv;
    struct peft *peft = NULL;
    struct adapter *adapter = NULL;
    struct file_map want;
    size_t every[TOKENS];
    float logits[TOKENS * VOCABULARY], reference[TOKENS * VOCABULARY];
    double most = 0;
    const struct session_options o = {.tokens = TOKENS, .positions = TOKENS};
    ok(checkpoint_open(&c, path, &error));
    ok(model_load(&m, c, type, &error));
    if (adapter_dir) {
        ok(peft_open(&peft, adapter_dir, checkpoint_config(c), NULL, &error));
        ok(adapter_load(&adapter, peft, m, &error));
    }
    ok(session_new(&s, m, &o, &error));
    session_set_adapter(s, adapter);
    ok(kv_new(&kv, m, NULL, TOKENS, false, &error));
    float *hidden = malloc(TOKENS * m->config.width * sizeof *hidden);
    for (size_t i = 0; i < TOKENS; i++)
        every[i] = i;
    struct run run = {.kv = kv, .ids = input, .n = TOKENS};
    struct outputs out = {every, TOKENS, hidden, NULL};
    ok(session_forward(s, &run, 1, &out, &error));
    session_logits(s, &m->head, hidden, TOKENS, logits, VOCABULARY);
    ok(file_map_open(&want, want_file, &error));
    assert_int_equal(want.len, sizeof reference);
    memcpy(reference, want.data, sizeof reference);
    for (size_t i = 0; i < COUNT_OF(reference); i++)
        most = fmax(most, fabs((double)logits[i] - (double)reference[i]));
    if (!(most <= within))
        fail_msg("%s: logits %g from those in %s", path, most, want_file);
    print_message("# %s: logits within %.1e\n", want_file, most);
    file_map_close(&want);
    free(hidden);
    kv_free(kv);
    session_free(s);
    adapter_close(adapter);
    peft_close(peft);
    model_close(m);
    checkpoint_close(c);
}

/* ---- structure ---- */

static void same_structure(const char *a, const char *b, bool values)
{
    struct safetensors *x, *y;
    ok(safetensors_open(&x, a, &error));
    ok(safetensors_open(&y, b, &error));
    assert_int_equal(safetensors_count(x), safetensors_count(y));
    assert_string_equal(safetensors_metadata(x, "format"), safetensors_metadata(y, "format"));
    for (size_t i = 0; i < safetensors_count(x); i++) {
        const struct tensor *t = safetensors_at(x, i), *u = safetensors_at(y, i);
        assert_string_equal(t->name, u->name);
        assert_int_equal(t->type, u->type);
        assert_int_equal(t->rank, u->rank);
        for (int d = 0; d < t->rank; d++)
            assert_int_equal(t->dim[d], u->dim[d]);
        if (values)
            assert_memory_equal(t->data, u->data, u->bytes);
    }
    safetensors_close(x);
    safetensors_close(y);
}

/* Every key of a is in b, with the same value unless it is listed. */
static void same_keys(const json_t *a, const json_t *b, const char *const *others)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)a, key, value)
    {
        bool other = false;
        for (size_t i = 0; others[i]; i++)
            other |= strcmp(others[i], key) == 0;
        const json_t *theirs = json_object_get(b, key);
        if (!theirs || (!other && !json_equal(value, theirs)))
            fail_msg("%s is %s", key, theirs ? "another" : "missing");
    }
}

/* inference_mode: PEFT saves true, and the reference was saved while training. */
static void same_adapter_config(const char *mine, const char *theirs)
{
    static const char *const others[] = {"inference_mode", NULL};
    json_error_t why;
    json_t *a = json_load_file(mine, 0, &why), *b = json_load_file(theirs, 0, &why);
    assert_true(a && b);
    same_keys(a, b, others);
    same_keys(b, a, others);
    const char *key_a, *key_b;
    void *at_a = json_object_iter(a), *at_b = json_object_iter(b);
    for (; at_a && at_b; at_a = json_object_iter_next(a, at_a), at_b = json_object_iter_next(b, at_b)) {
        key_a = json_object_iter_key(at_a);
        key_b = json_object_iter_key(at_b);
        assert_string_equal(key_a, key_b);
    }
    assert_true(json_is_true(json_object_get(a, "inference_mode")));
    json_decref(a);
    json_decref(b);
}

/* ---- adapters ---- */

static struct lora_options options_of(const char *name)
{
    bool all = strcmp(name, "lora_llama") != 0 && strcmp(name, "qlora_llama") != 0;
    return (struct lora_options){
        .rank = 4, .alpha = 8, .rslora = strcmp(name, "lora_llama_all") == 0, .targets = all ? 0x7F : 0x0F};
}

static void test_adapters(void **state)
{
    static const char *const pairs[][2] = {{"lora_llama", "llama_tied"},
                                           {"qlora_llama", "llama_tied"},
                                           {"lora_llama_all", "llama_untied"},
                                           {"lora_gemma2", "gemma2"},
                                           {"lora_gemma3", "gemma3"}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        struct checkpoint *base;
        struct peft *golden;
        char name[64], mine[400];
        const struct lora_options o = options_of(pairs[i][0]);
        ok(checkpoint_open(&base, fixture(pairs[i][1], ""), &error));
        ok(peft_open(&golden, fixture(pairs[i][0], ""), checkpoint_config(base), NULL, &error));
        struct parameters *p = parameters_of_adapter(checkpoint_config(base), golden);
        snprintf(name, sizeof name, "../%s", pairs[i][1]);
        folder_empty();
        ok(output_adapter(folder, p, &o, checkpoint_config(base), name, &error));
        snprintf(mine, sizeof mine, "%s", in_folder("adapter_model.safetensors"));
        same_structure(mine, fixture(pairs[i][0], "adapter_model.safetensors"), true);
        snprintf(mine, sizeof mine, "%s", in_folder("adapter_config.json"));
        same_adapter_config(mine, fixture(pairs[i][0], "adapter_config.json"));
        assert_int_not_equal(access(in_folder("gyeol.json"), F_OK), 0);
        snprintf(mine, sizeof mine, "%s", fixture(pairs[i][1], ""));
        bool quantised = strcmp(pairs[i][0], "qlora_llama") == 0;
        check_logits(mine, folder, quantised ? MODEL_NF4 : MODEL_F32, fixture(pairs[i][0], "logits.bin"),
                     2e-4);
        parameters_release(p);
        peft_close(golden);
        checkpoint_close(base);
    }
}

static void test_the_file_is_theirs_byte_for_byte(void **state)
{
    (void)state;
    struct checkpoint *base;
    struct peft *golden;
    const struct lora_options o = options_of("lora_llama");
    ok(checkpoint_open(&base, fixture("llama_tied", ""), &error));
    ok(peft_open(&golden, fixture("lora_llama", ""), checkpoint_config(base), NULL, &error));
    struct parameters *p = parameters_of_adapter(checkpoint_config(base), golden);
    ok(output_adapter(folder, p, &o, checkpoint_config(base), "base", &error));
    struct file_map a, b;
    ok(file_map_open(&a, in_folder("adapter_model.safetensors"), &error));
    ok(file_map_open(&b, fixture("lora_llama", "adapter_model.safetensors"), &error));
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, b.len);
    file_map_close(&a);
    file_map_close(&b);
    parameters_release(p);
    peft_close(golden);
    checkpoint_close(base);
}

static void test_adapter_numbers(void **state)
{
    (void)state;
    struct config c = config_of("{\"model_type\": \"llama\", \"hidden_size\": 8, \"num_hidden_layers\": 1,"
                                "\"num_attention_heads\": 2, \"intermediate_size\": 10, \"vocab_size\": 5}");
    struct parameters none = {0};
    const struct lora_options o = {.rank = 3, .alpha = 0.5f, .dropout = 0.1f, .targets = 0x41};
    folder_empty();
    ok(output_adapter(folder, &none, &o, &c, "이름", &error));
    char *text = whole(in_folder("adapter_config.json"));
    static const char *const want[] = {"\"r\": 3", "\"lora_alpha\": 0.5", "\"lora_dropout\": 0.1",
                                       "\"base_model_name_or_path\": \"이름\"",
                                       "\"q_proj\",\n    \"down_proj\"\n"};
    for (size_t i = 0; i < COUNT_OF(want); i++)
        if (!strstr(text, want[i]))
            fail_msg("no %s in %s", want[i], text);
    free(text);
    assert_int_equal(output_adapter("/nowhere/at/all", &none, &o, &c, "b", &error), ERR_MISSING);
    assert_non_null(strstr(error.msg, "/nowhere/at/all"));
}

/* ---- models ---- */

static const char *const models[] = {"llama_tied", "llama_untied", "llama_hcx", "llama31",
                                     "mistral",    "gemma2",       "gemma3"};

static void test_models(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(models); i++) {
        struct checkpoint *c, *again;
        char mine[400];
        folder_empty();
        ok(checkpoint_open(&c, fixture(models[i], ""), &error));
        struct parameters *p = parameters_of_model(c);
        ok(output_model(folder, p, checkpoint_config(c), DT_F32, NULL, &error));
        ok(checkpoint_open(&again, folder, &error));
        assert_null(config_differs(checkpoint_config(c), checkpoint_config(again)));
        struct safetensors *x, *y;
        ok(safetensors_open(&x, in_folder("model.safetensors"), &error));
        ok(safetensors_open(&y, fixture(models[i], "model.safetensors"), &error));
        assert_int_equal(safetensors_count(x), safetensors_count(y));
        assert_string_equal(safetensors_metadata(x, "format"), "pt");
        for (size_t k = 0; k < safetensors_count(y); k++) {
            const struct tensor *u = safetensors_at(y, k), *t = safetensors_find(x, u->name);
            assert_non_null(t);
            assert_true(t->type == u->type && t->rank == u->rank && t->dim[0] == u->dim[0]);
            assert_memory_equal(t->data, u->data, u->bytes);
        }
        safetensors_close(x);
        safetensors_close(y);
        checkpoint_close(again);
        snprintf(mine, sizeof mine, "%s", folder);
        check_logits(mine, NULL, MODEL_F32, fixture(models[i], "logits.bin"), 2e-4);
        parameters_release(p);
        checkpoint_close(c);
    }
}

/* Rounded to nearest even, norms and all, and config.json says so. */
static void test_models_in_bf16(void **state)
{
    (void)state;
    struct checkpoint *c;
    struct safetensors *x;
    folder_empty();
    ok(checkpoint_open(&c, fixture("gemma2", ""), &error));
    struct parameters *p = parameters_of_model(c);
    ok(output_model(folder, p, checkpoint_config(c), DT_BF16, NULL, &error));
    ok(safetensors_open(&x, in_folder("model.safetensors"), &error));
    for (size_t k = 0; k < safetensors_count(x); k++) {
        const struct tensor *t = safetensors_at(x, k);
        const struct parameter *q = NULL;
        for (size_t i = 0; i < p->n && !q; i++) {
            char name[200];
            snprintf(name, sizeof name, role_hf_name(p->p[i].role, checkpoint_config(c)), p->p[i].layer);
            q = strcmp(name, t->name) == 0 ? &p->p[i] : NULL;
        }
        assert_non_null(q);
        assert_int_equal(t->type, DT_BF16);
        assert_int_equal(t->bytes, 2 * q->rows * q->cols);
        for (size_t i = 0; i < q->rows * q->cols; i++) {
            uint16_t h;
            memcpy(&h, t->data + 2 * i, 2);
            assert_int_equal(h, quant_f32_to_bf16(q->value[i]));
        }
    }
    safetensors_close(x);
    char *text = whole(in_folder("config.json"));
    assert_non_null(strstr(text, "\"torch_dtype\": \"bfloat16\""));
    free(text);
    struct config bad = *checkpoint_config(c);
    bad.qk_norm = true;
    folder_empty();
    assert_int_equal(output_model(folder, p, &bad, DT_F32, NULL, &error), ERR_FORMAT);
    assert_int_not_equal(access(in_folder("model.safetensors"), F_OK), 0); /* refused before it is written */
    assert_int_equal(output_model(folder, p, checkpoint_config(c), DT_Q8_0, NULL, &error), ERR_USAGE);
    parameters_release(p);
    checkpoint_close(c);
}

static void test_words_come_along(void **state)
{
    static const char *const files[] = {"tokenizer.json", "tokenizer.model", "special_tokens_map.json",
                                        "tokenizer_config.json", "generation_config.json"};
    (void)state;
    char source[] = "/tmp/gyeol-words-XXXXXX", from[400];
    struct checkpoint *c;
    assert_non_null(mkdtemp(source));
    folder_empty();
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        snprintf(from, sizeof from, "%s/%s", source, files[i]);
        ok(file_write(from, "\0\xFF odd", 2 + i, &error));
    }
    snprintf(from, sizeof from, "%s/config.json", source);
    ok(file_write(from, "not mine", 8, &error));
    ok(checkpoint_open(&c, fixture("llama_tied", ""), &error));
    struct parameters *p = parameters_of_model(c);
    ok(output_model(folder, p, checkpoint_config(c), DT_F32, source, &error));
    ok(output_model(folder, p, checkpoint_config(c), DT_F32, folder, &error)); /* onto itself */
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        struct file_map map;
        ok(file_map_open(&map, in_folder(files[i]), &error));
        assert_int_equal(map.len, 2 + i);
        assert_memory_equal(map.data, "\0\xFF odd", map.len);
        file_map_close(&map);
        snprintf(from, sizeof from, "%s/%s", source, files[i]);
        unlink(from);
    }
    assert_int_not_equal(access(in_folder("vocab.txt"), F_OK), 0);
    snprintf(from, sizeof from, "%s/config.json", source);
    unlink(from);
    rmdir(source);
    parameters_release(p);
    checkpoint_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adapters),        cmocka_unit_test(test_the_file_is_theirs_byte_for_byte),
        cmocka_unit_test(test_adapter_numbers), cmocka_unit_test(test_models),
        cmocka_unit_test(test_models_in_bf16),  cmocka_unit_test(test_words_come_along),
    };
    return cmocka_run_group_tests_name("output", tests, folder_new, folder_remove);
}
