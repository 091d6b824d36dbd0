/* The decoder against the reference implementation's numbers on tiny models of every family (tests/fixtures),
 * and against itself: however the same tokens are put through, the same bits come out. */
#include "base/file.h"
#include "compute/quant.h"
#include "model/generate.h"
#include "model/session.h"
#include "testing.h"

#include <math.h>

enum { TOKENS = 24, VOCABULARY = 256 };
#define FIXTURES "tests/fixtures/"

static void *read_floats(const char *model, const char *file, size_t n)
{
    char path[256], *data;
    size_t len;
    snprintf(path, sizeof path, FIXTURES "%s/%s", model, file);
    ok(file_read(&data, &len, path, 1 << 26, &error));
    assert_int_equal(len, n * sizeof(float));
    return data;
}

static const int32_t input[TOKENS] = {1,  17, 42,  200, 255, 3,   3,  99, 128, 64,  7, 250,
                                      31, 5,  180, 77,  12,  230, 66, 2,  111, 140, 9, 54};

struct loaded {
    struct checkpoint *checkpoint;
    struct model *model;
    struct session *session;
};

static struct loaded load(const char *name, const char *file, enum model_type type)
{
    char path[256];
    struct loaded l;
    snprintf(path, sizeof path, FIXTURES "%s%s%s", name, *file ? "/" : "", file);
    ok(checkpoint_open(&l.checkpoint, path, &error));
    ok(model_load(&l.model, l.checkpoint, type, &error));
    const struct session_options o = {.tokens = 64, .positions = 64};
    ok(session_new(&l.session, l.model, &o, &error));
    return l;
}

static void unload(struct loaded *l)
{
    session_free(l->session);
    model_close(l->model);
    checkpoint_close(l->checkpoint);
}

static const size_t every[TOKENS] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                     12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23};

/* Logits [TOKENS, V] of one plain pass; trace may be NULL. */
static float *plain(struct loaded *l, float *trace)
{
    size_t D = l->model->config.width;
    float *hidden = malloc(TOKENS * D * sizeof *hidden),
          *logits = malloc(TOKENS * VOCABULARY * sizeof *logits);
    struct kv *kv;
    ok(kv_new(&kv, l->model, NULL, TOKENS, false, &error));
    struct run run = {.kv = kv, .ids = input, .n = TOKENS};
    struct outputs out = {every, TOKENS, hidden, trace};
    ok(session_forward(l->session, &run, 1, &out, &error));
    session_logits(l->session, &l->model->head, hidden, TOKENS, logits, VOCABULARY);
    kv_free(kv);
    free(hidden);
    return logits;
}

static double furthest(const float *a, const float *b, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        most = d > most || d != d ? d : most;
    }
    return most;
}

static void check_model(const char *name, const char *file, const char *logits_file, bool layers)
{
    struct loaded l = load(name, file, MODEL_F32);
    size_t n = (size_t)l.model->config.layers * TOKENS * l.model->config.width;
    float *trace = layers ? malloc(n * sizeof *trace) : NULL;
    float *logits = plain(&l, trace), *want = read_floats(name, logits_file, TOKENS * VOCABULARY);
    double far = furthest(logits, want, TOKENS * VOCABULARY);
    print_message("# %s/%s: logits within %.1e\n", name, file, far);
    assert_true(far <= 2e-4);
    if (layers) {
        float *stream = read_floats(name, "hidden_per_layer.bin", n);
        assert_true(furthest(trace, stream, n) <= 2e-4);
        free(stream);
    }
    free(trace);
    free(logits);
    free(want);
    unload(&l);
}

static void test_reference_logits(void **state)
{
    static const char *const models[] = {"llama_tied", "llama_untied", "llama_hcx", "llama31",
                                         "mistral",    "gemma2",       "gemma3",    "gemma3_layertypes"};
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        check_model(models[i], "", "logits.bin", true);
}

static void test_reference_gguf(void **state)
{
    static const char *const models[] = {"llama_tied", "llama_untied", "llama_hcx", "llama31",
                                         "mistral",    "gemma2",       "gemma3"};
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        check_model(models[i], "model.gguf", "logits_gguf.bin", false);
}

/* --- configurations the reference fixtures do not have: odd widths, biases, 70 positions, by numpy in 64 bits
 * (tests/fixtures/README.md), in pieces of 33 so that windows reach over passes */

static void check_in_pieces(struct loaded *l, const char *name, const int32_t *ids, size_t n,
                            const float *want)
{
    size_t V = l->model->config.vocabulary, ld = (V + 15) & ~(size_t)15, D = l->model->config.width;
    float *hidden = malloc(33 * D * sizeof *hidden), *some = malloc(33 * ld * sizeof *some);
    double far = 0;
    struct kv *kv;
    ok(kv_new(&kv, l->model, NULL, n, false, &error));
    for (size_t at = 0, m; at < n; at += m) {
        m = n - at < 33 ? n - at : 33;
        size_t wanted[33];
        for (size_t i = 0; i < m; i++)
            wanted[i] = i;
        struct run run = {.kv = kv, .ids = ids + at, .n = m};
        struct outputs out = {wanted, m, hidden, NULL};
        ok(session_forward(l->session, &run, 1, &out, &error));
        session_logits(l->session, &l->model->head, hidden, m, some, ld);
        for (size_t i = 0; i < m; i++) {
            double d = furthest(some + i * ld, want + (at + i) * V, V);
            far = d > far || d != d ? d : far;
        }
    }
    print_message("# %s by %s: logits within %.1e\n", name, l->model->kernels->isa, far);
    assert_true(far <= 2e-4);
    kv_free(kv);
    free(hidden);
    free(some);
}

static void test_other_configurations(void **state)
{
    static const char *const models[] = {"refcheck_llama", "refcheck_mistral", "refcheck_gemma2",
                                         "refcheck_gemma3"};
    enum { N = 70 };
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct loaded l = load(models[i], "", MODEL_F32);
        const struct session_options o = {.tokens = 33, .positions = N};
        session_free(l.session);
        ok(session_new(&l.session, l.model, &o, &error));
        const struct kernels *table[3];
        size_t tables = kernels_all(table);
        float *want = read_floats(models[i], "logits.bin", N * (size_t)l.model->config.vocabulary);
        int32_t *ids = read_floats(models[i], "input_ids.bin", N);
        for (size_t k = 0; k < tables; k++) {
            l.model->kernels = table[k];
            check_in_pieces(&l, models[i], ids, N, want);
        }
        free(want);
        free(ids);
        unload(&l);
    }
}

/* --- adapters: logits with PEFT's adapter applied, as the reference gives them */

static void check_adapter(const char *name, const char *base, enum model_type type)
{
    char dir[128];
    struct loaded l = load(base, "", type);
    struct peft *peft;
    struct adapter *adapter;
    snprintf(dir, sizeof dir, FIXTURES "%s", name);
    ok(peft_open(&peft, dir, &l.model->config, NULL, &error));
    ok(adapter_load(&adapter, peft, l.model, &error));
    float *bare = plain(&l, NULL), *want = read_floats(name, "logits.bin", TOKENS * VOCABULARY);
    session_set_adapter(l.session, adapter);
    float *logits = plain(&l, NULL);
    double far = furthest(logits, want, TOKENS * VOCABULARY);
    print_message("# %s: logits within %.1e\n", name, far);
    assert_true(far <= 2e-4);
    assert_true(furthest(bare, want, TOKENS * VOCABULARY) > 0.1); /* the adapter matters */
    free(bare);
    free(want);
    free(logits);
    adapter_close(adapter);
    peft_close(peft);
    unload(&l);
}

static void test_reference_adapters(void **state)
{
    (void)state;
    check_adapter("lora_llama", "llama_tied", MODEL_F32);
    check_adapter("lora_llama_all", "llama_untied", MODEL_F32);
    check_adapter("lora_gemma2", "gemma2", MODEL_F32);
    check_adapter("lora_gemma3", "gemma3", MODEL_F32);
    check_adapter("qlora_llama", "llama_tied", MODEL_NF4);
}

/* --- quantised weights */

static double relative_error(const float *got, const float *want, size_t n)
{
    double error = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)got[i] - (double)want[i]) * ((double)got[i] - (double)want[i]);
        norm += (double)want[i] * (double)want[i];
    }
    return sqrt(error / norm);
}

/* Random weights are the worst case: no structure that rounding errors could average out against. */
static void test_quantised_logits(void **state)
{
    static const char *const models[] = {"llama_hcx", "mistral", "gemma2", "gemma3"};
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct loaded exact = load(models[i], "", MODEL_F32);
        float *want = plain(&exact, NULL);
        for (int type = MODEL_BF16; type <= MODEL_NF4; type++) {
            struct loaded l = load(models[i], "", (enum model_type)type);
            float *logits = plain(&l, NULL);
            double error = relative_error(logits, want, TOKENS * VOCABULARY);
            print_message("# %s %s: relative error of logits %.4f\n", models[i], model_type_name[type],
                          error);
            assert_true(error <= (type == MODEL_BF16 || type == MODEL_Q8_0 ? 0.05 : 0.6));
            assert_true(error > 0);
            free(logits);
            unload(&l);
        }
        free(want);
        unload(&exact);
    }
}

/* What bitsandbytes makes of the whole weight, kept as codes; tables that a checkpoint has in floats stay floats. */
static void test_nf4_weights(void **state)
{
    static const char *const models[] = {"llama_untied", "gemma2"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct loaded l = load(models[i], "", MODEL_NF4);
        size_t codes = 0;
        for (int r = ROLE_Q; r <= ROLE_DOWN; r++) {
            const struct matrix *w = &l.model->layer[1].w[r - ROLE_Q];
            size_t n = w->rows * w->cols;
            float *want = malloc(n * sizeof *want), *row = malloc(w->cols * sizeof *row);
            ok(weight_decode_rows(want, checkpoint_weight(l.checkpoint, (enum role)r, 1), 0, w->rows,
                                  &error));
            assert_int_equal(nf4_round_trip(want, n), 0);
            assert_int_equal(w->type, w->cols % 64 ? DT_F32 : DT_NF4);
            codes += w->type == DT_NF4;
            for (size_t k = 0; k < w->rows; k++) {
                matrix_row(row, w, k);
                assert_memory_equal(row, want + k * w->cols, w->cols * sizeof *row);
            }
            free(want);
            free(row);
        }
        assert_true(codes >= 5);
        assert_int_equal(l.model->embedding.type, DT_F32);
        assert_int_equal(l.model->head.type, DT_F32);
        unload(&l);
    }
}

/* --- choosing tokens */

static void test_choosing(void **state)
{
    enum { V = 8, DRAWS = 40000 };
    static const float logits[V] = {0, 2, -1, 2.5f, 1, -3, 2, 0.5f};
    const struct generate_options sample = {.temperature = 0.7f}, top = {.temperature = 0.7f, .top_p = 0.6f},
                                  greedy = {0};
    int32_t order[V];
    float space[V];
    size_t count[2][V] = {0};
    uint64_t state_of[2] = {5, 5}, again = 5;
    double total = 0;
    (void)state;
    memcpy(space, logits, sizeof space);
    assert_int_equal(generate_choose(space, V, &greedy, &again, NULL), 3);
    for (int i = 0; i < V; i++)
        total += exp(logits[i] / 0.7);
    for (int d = 0; d < DRAWS; d++)
        for (int way = 0; way < 2; way++) {
            memcpy(space, logits, sizeof space);
            count[way][generate_choose(space, V, way ? &top : &sample, &state_of[way], order)]++;
        }
    for (int i = 0; i < V; i++) {
        double p = exp(logits[i] / 0.7) / total, sigma = sqrt(p * (1 - p) / DRAWS);
        assert_true(fabs((double)count[0][i] / DRAWS - p) < 5 * sigma);
    }
    /* 3 has 0.45, then 1 and 6 have 0.22 each: two tokens reach 0.6, and of equals the lower id comes first. */
    for (int i = 0; i < V; i++)
        assert_int_equal(count[1][i] > 0, i == 3 || i == 1);
}

struct written {
    int32_t id[8];
    size_t n;
};

static bool write_down(void *context, int32_t id)
{
    struct written *w = context;
    w->id[w->n++] = id;
    return w->n < 8;
}

/* Greedy text is the argmax of plain passes over what is there so far. */
static void test_generation(void **state)
{
    struct loaded l = load("gemma3", "", MODEL_F32);
    size_t D = l.model->config.width;
    float hidden[64];
    struct kv *kv;
    struct written w = {0};
    const struct generate_options o = {.max_tokens = 8};
    int32_t ids[TOKENS];
    (void)state;
    assert_true(D <= 64);
    ok(kv_new(&kv, l.model, NULL, 32, false, &error));
    ok(session_prefill(l.session, kv, input, 16, hidden, &error));
    ok(session_generate(l.session, kv, hidden, &o, write_down, &w, &error));
    assert_int_equal(w.n, 8);
    memcpy(ids, input, 16 * sizeof *ids);
    for (size_t i = 0; i < 8; i++) {
        float logits[VOCABULARY];
        uint64_t none = 0;
        kv_truncate(kv, 0);
        ok(session_prefill(l.session, kv, ids, 16 + i, hidden, &error));
        session_logits(l.session, &l.model->head, hidden, 1, logits, VOCABULARY);
        ids[16 + i] = generate_choose(logits, VOCABULARY, &o, &none, NULL);
        assert_int_equal(w.id[i], ids[16 + i]);
    }
    kv_free(kv);
    unload(&l);
}

/* --- the same tokens by other ways */

/* Puts tokens first .. first+n-1 into kv and their logits where they belong. */
static void put(struct loaded *l, const struct run *runs, size_t n, const size_t *first, float *logits)
{
    size_t D = l->model->config.width, total = 0, wanted[64];
    float *hidden = malloc(64 * D * sizeof *hidden), *some = malloc(64 * VOCABULARY * sizeof *some);
    for (size_t r = 0; r < n; r++)
        total += runs[r].n;
    for (size_t i = 0; i < total; i++)
        wanted[i] = i;
    struct outputs out = {wanted, total, hidden, NULL};
    ok(session_forward(l->session, runs, n, &out, &error));
    session_logits(l->session, &l->model->head, hidden, total, some, VOCABULARY);
    for (size_t r = 0, at = 0; r < n; at += runs[r++].n)
        memcpy(logits + first[r] * VOCABULARY, some + at * VOCABULARY, runs[r].n * VOCABULARY * sizeof *some);
    free(hidden);
    free(some);
}

static struct kv *segment(struct loaded *l, struct kv *parent, bool transient)
{
    struct kv *kv;
    ok(kv_new(&kv, l->model, parent, TOKENS, transient, &error));
    return kv;
}

static void by_chunks(struct loaded *l, struct rng *rng, float *logits)
{
    struct kv *kv = segment(l, NULL, false);
    for (size_t at = 0; at < TOKENS;) {
        size_t n = 1 + rng_below(rng, TOKENS - at);
        struct run run = {.kv = kv, .ids = input + at, .n = n};
        put(l, &run, 1, &at, logits);
        at += n;
    }
    kv_free(kv);
}

/* A prefix, a post on it, and two branches on that in one pass with a stranger; both branches get the same
 * tokens, and must agree. */
static void by_tree(struct loaded *l, struct rng *rng, float *logits)
{
    size_t a = 1 + rng_below(rng, TOKENS - 2), b = a + 1 + rng_below(rng, TOKENS - a - 1), zero = 0;
    float *twin = malloc(3 * TOKENS * VOCABULARY * sizeof *twin);
    struct kv *root = segment(l, NULL, false), *post = segment(l, root, false),
              *other = segment(l, NULL, false);
    struct kv *one = segment(l, post, true), *two = segment(l, post, true);
    struct run prefix = {.kv = root, .ids = input, .n = a};
    put(l, &prefix, 1, &zero, logits);
    struct run runs[] = {{.kv = other, .ids = input + 3, .n = 1 + rng_below(rng, 9)},
                         {.kv = post, .ids = input + a, .n = b - a},
                         {.kv = one, .ids = input + b, .n = TOKENS - b},
                         {.kv = two, .ids = input + b, .n = TOKENS - b}};
    const size_t first[] = {0, TOKENS + a, TOKENS + b, 2 * TOKENS + b};
    put(l, runs, TOKENS == b ? 2 : 4, first, twin);
    memcpy(logits + a * VOCABULARY, twin + (TOKENS + a) * VOCABULARY,
           (TOKENS - a) * VOCABULARY * sizeof *twin);
    assert_memory_equal(twin + (TOKENS + b) * VOCABULARY, twin + (2 * TOKENS + b) * VOCABULARY,
                        (TOKENS - b) * VOCABULARY * sizeof *twin);
    struct kv *all[] = {one, two, post, root, other};
    for (size_t i = 0; i < 5; i++)
        kv_free(all[i]);
    free(twin);
}

static void check_ways(const char *name, enum model_type type, struct rng *rng)
{
    struct loaded l = load(name, "", type);
    const struct kernels *table[3];
    size_t tables = kernels_all(table), bytes = TOKENS * VOCABULARY * sizeof(float);
    float *logits = malloc(bytes);
    for (size_t k = 0; k < tables; k++) {
        l.model->kernels = table[k];
        float *want = plain(&l, NULL);
        for (int round = 0; round < 6; round++) {
            session_free(l.session);
            const struct session_options o = {.tokens = 64, .positions = 64, .threads = 1 + round % 3};
            ok(session_new(&l.session, l.model, &o, &error));
            memset(logits, 0, bytes);
            by_chunks(&l, rng, logits);
            assert_memory_equal(logits, want, bytes);
            memset(logits, 0, bytes);
            by_tree(&l, rng, logits);
            assert_memory_equal(logits, want, bytes);
        }
        free(want);
    }
    free(logits);
    unload(&l);
}

static void test_ways(void **state)
{
    static const char *const models[] = {"llama_hcx", "mistral", "gemma2", "gemma3"};
    struct rng rng = seeded();
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        for (int type = 0; type < MODEL_NF4; type++)
            check_ways(models[i], (enum model_type)type, &rng);
}

/* Selected rows of the head give the bits that the whole head gives. */
static void test_head_rows(void **state)
{
    static const int32_t ids[] = {200, 3, 77, 255, 0};
    (void)state;
    for (int type = 0; type < MODEL_NF4; type++) {
        struct loaded l = load("llama_untied", "", (enum model_type)type);
        float hidden[64], all[VOCABULARY], some[16];
        struct matrix rows;
        void *space;
        struct rng rng = {7};
        for (size_t i = 0; i < 64; i++)
            hidden[i] = (float)(rng_next(&rng) >> 40) * 0x1p-22f - 2;
        ok(model_head_rows(l.model, ids, 5, &rows, &space, &error));
        session_logits(l.session, &l.model->head, hidden, 1, all, VOCABULARY);
        session_logits(l.session, &rows, hidden, 1, some, 16);
        for (int i = 0; i < 5; i++)
            assert_memory_equal(&some[i], &all[ids[i]], sizeof(float));
        free(space);
        unload(&l);
    }
}

/* What stands at a hidden position does not matter to the token it is hidden from (but for the rounding of
 * the weights that are given to the others). */
static void test_hidden_positions(void **state)
{
    struct loaded l = load("llama_tied", "", MODEL_F32);
    size_t last = 3, D = l.model->config.width;
    int32_t ids[16];
    float hidden[3][64];
    (void)state;
    for (int way = 0; way < 3; way++) {
        memcpy(ids, input, sizeof ids);
        if (way == 2)
            ids[9] = 100;
        struct kv *root = segment(&l, NULL, false), *branch = segment(&l, root, true);
        struct run run[] = {
            {.kv = root, .ids = ids, .n = 10},
            {.kv = branch, .ids = input + 10, .n = 4, .hide_begin = way ? 9 : 4, .hide_end = way ? 10 : 4}};
        size_t want = 10 + last;
        struct outputs out = {&want, 1, hidden[way], NULL};
        ok(session_forward(l.session, run, 2, &out, &error));
        kv_free(branch);
        kv_free(root);
    }
    assert_true(furthest(hidden[0], hidden[1], D) > 1e-2);
    assert_true(furthest(hidden[1], hidden[2], D) < 1e-5);
    unload(&l);
}

static void test_refused(void **state)
{
    struct loaded l = load("llama_tied", "", MODEL_F32);
    struct kv *kv = segment(&l, NULL, false);
    static const int32_t bad[] = {1, 256};
    struct outputs none = {0};
    (void)state;
    struct run run = {.kv = kv, .ids = bad, .n = 2};
    assert_int_equal(session_forward(l.session, &run, 1, &none, &error), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "token id 256, want 0..255"));
    int32_t many[65] = {0};
    run = (struct run){.kv = kv, .ids = many, .n = 65};
    assert_int_equal(session_forward(l.session, &run, 1, &none, &error), ERR_LIMIT);
    run.n = 40; /* the segment has 32 cells */
    assert_int_equal(session_forward(l.session, &run, 1, &none, &error), ERR_LIMIT);
    assert_int_equal(kv->n, 0);
    kv_free(kv);
    unload(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reference_logits),
                                       cmocka_unit_test(test_reference_gguf),
                                       cmocka_unit_test(test_other_configurations),
                                       cmocka_unit_test(test_reference_adapters),
                                       cmocka_unit_test(test_quantised_logits),
                                       cmocka_unit_test(test_nf4_weights),
                                       cmocka_unit_test(test_choosing),
                                       cmocka_unit_test(test_generation),
                                       cmocka_unit_test(test_ways),
                                       cmocka_unit_test(test_head_rows),
                                       cmocka_unit_test(test_hidden_positions),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
