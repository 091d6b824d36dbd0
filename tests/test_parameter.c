/* What trains: how it begins, where it is read from, and what the forward pass sees of it. */
#include "base/file.h"
#include "compute/quant.h"
#include "model/parameter.h"
#include "testing.h"

#include <math.h>

#define FIXTURES "tests/fixtures/"

struct opened {
    struct checkpoint *checkpoint;
    struct model *model;
};

static struct opened open_model(const char *name, enum model_type type)
{
    struct opened o;
    char path[256];
    snprintf(path, sizeof path, FIXTURES "%s", name);
    ok(checkpoint_open(&o.checkpoint, path, &error));
    ok(model_load(&o.model, o.checkpoint, type, &error));
    return o;
}

static void close_model(struct opened *o)
{
    model_close(o->model);
    checkpoint_close(o->checkpoint);
}

static bool is_norm(enum role r)
{
    return r == ROLE_NORM || r >= ROLE_ATTENTION_NORM;
}

/* --- LoRA */

static const struct lora_options options = {.rank = 6, .alpha = 12, .targets = 1 | 8 | 64, .seed = 3};

static void test_lora_begins_as_peft_does(void **state)
{
    struct opened o = open_model("llama_tied", MODEL_F32);
    struct parameters *p, *again, *other;
    struct lora_options more = options;
    size_t at = 0;
    (void)state;
    ok(parameters_lora(&p, o.model, &options, &error));
    ok(parameters_lora(&again, o.model, &options, &error));
    more.seed++;
    ok(parameters_lora(&other, o.model, &more, &error));
    assert_int_equal(p->n, 2 * 3 * o.model->config.layers);
    assert_true(p->scale == 2);
    for (uint32_t l = 0; l < o.model->config.layers; l++)
        for (int r = ROLE_Q; r <= ROLE_DOWN; r++) {
            if (!(options.targets >> (r - ROLE_Q) & 1)) {
                assert_null(parameters_find(p, (enum role)r, l, PART_LORA_A));
                continue;
            }
            const struct matrix *w = &o.model->layer[l].w[r - ROLE_Q];
            const struct parameter *a = &p->p[at++], *b = &p->p[at++];
            double limit = 1 / sqrt((double)w->cols), most = 0, sum = 0;
            assert_ptr_equal(parameters_find(p, (enum role)r, l, PART_LORA_A), a);
            assert_ptr_equal(parameters_find(p, (enum role)r, l, PART_LORA_B), b);
            assert_true(a->rows == 6 && a->cols == w->cols && b->rows == w->rows && b->cols == 6);
            for (size_t i = 0; i < a->rows * a->cols; i++) {
                most = fmax(most, fabs((double)a->value[i]));
                sum += (double)a->value[i];
            }
            assert_true(most <= limit && most > 0.95 * limit);
            assert_true(fabs(sum / (double)(a->rows * a->cols)) < 0.15 * limit);
            for (size_t i = 0; i < b->rows * b->cols; i++)
                assert_true(b->value[i] == 0);
        }
    assert_memory_equal(p->values, again->values, p->count * sizeof(float));
    assert_memory_not_equal(p->values, other->values, p->count * sizeof(float));
    parameters_free(p);
    parameters_free(again);
    parameters_free(other);
    close_model(&o);
}

static void test_adapter_follows(void **state)
{
    struct opened o = open_model("llama_tied", MODEL_F32);
    struct lora_options rs = options;
    struct parameters *p;
    float row[512];
    (void)state;
    rs.rslora = true;
    ok(parameters_lora(&p, o.model, &rs, &error));
    assert_true(fabs((double)p->scale - 12 / sqrt(6)) < 1e-6);
    for (size_t i = 0; i < p->count; i++)
        p->values[i] = (float)i;
    parameters_sync(p, NULL);
    for (size_t i = 0; i < p->n; i++) {
        const struct parameter *x = &p->p[i];
        const struct lora *l = &p->adapter->lora[x->layer * LINEARS + (size_t)(x->role - ROLE_Q)];
        const struct matrix *m = x->part == PART_LORA_A ? &l->a : &l->b;
        float scale = x->part == PART_LORA_A ? p->scale : 1;
        for (size_t r = 0; r < x->rows; r++) {
            matrix_row(row, m, r);
            for (size_t k = 0; k < x->cols; k++)
                assert_true(row[k] == x->value[r * x->cols + k] * scale);
        }
    }
    assert_int_equal(p->adapter->lora[ROLE_K - ROLE_Q].a.rows, 0);
    parameters_free(p);
    close_model(&o);
}

static void refuse_lora(const struct model *m, struct lora_options o, const char *part)
{
    struct parameters *p;
    int rc = parameters_lora(&p, m, &o, &error);
    if (rc != ERR_USAGE || !strstr(error.msg, part))
        fail_msg("%d \"%s\", want \"%s\"", rc, error.msg, part);
    assert_null(p);
}

static void test_lora_refusals(void **state)
{
    struct opened o = open_model("llama_tied", MODEL_F32);
    struct lora_options bad;
    struct parameters *p;
    struct peft *peft;
    (void)state;
    bad = options, bad.rank = 0, refuse_lora(o.model, bad, "rank 0");
    bad = options, bad.rank = 513, refuse_lora(o.model, bad, "rank 513");
    bad = options, bad.alpha = 0, refuse_lora(o.model, bad, "alpha 0");
    bad = options, bad.dropout = 1, refuse_lora(o.model, bad, "dropout 1");
    bad = options, bad.targets = 0, refuse_lora(o.model, bad, "without a projection");
    ok(peft_open(&peft, FIXTURES "lora_llama", &o.model->config, NULL, &error)); /* r 4, alpha 8, q k v o */
    struct lora_options right = {.rank = 4, .alpha = 8, .targets = 15};
    ok(parameters_lora(&p, o.model, &right, &error));
    ok(parameters_load_lora(p, peft, &error));
    assert_true(parameters_find(p, ROLE_V, 1, PART_LORA_B)->value[3] != 0);
    parameters_free(p);
    bad = right, bad.targets = 7;
    ok(parameters_lora(&p, o.model, &bad, &error));
    assert_int_equal(parameters_load_lora(p, peft, &error), ERR_FORMAT);
    parameters_free(p);
    bad = right, bad.targets = 31;
    ok(parameters_lora(&p, o.model, &bad, &error));
    assert_int_equal(parameters_load_lora(p, peft, &error), ERR_FORMAT);
    parameters_free(p);
    bad = right, bad.alpha = 4;
    ok(parameters_lora(&p, o.model, &bad, &error));
    assert_int_equal(parameters_load_lora(p, peft, &error), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "scales"));
    parameters_free(p);
    bad = right, bad.rank = 8, bad.alpha = 16;
    ok(parameters_lora(&p, o.model, &bad, &error));
    assert_int_equal(parameters_load_lora(p, peft, &error), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "want [8"));
    parameters_free(p);
    peft_close(peft);
    close_model(&o);
}

/* --- every weight */

/* What the model holds after a sync is what it held before: the same file, read two ways. */
static void check_reading(const char *name, enum model_type type)
{
    struct opened o = open_model(name, type);
    unsigned char *before = malloc(o.model->block_bytes);
    struct parameters *p;
    float row[1024];
    memcpy(before, o.model->block, o.model->block_bytes);
    ok(parameters_full(&p, o.model, o.checkpoint, 0, &error));
    parameters_sync(p, o.model);
    assert_memory_equal(before, o.model->block, o.model->block_bytes);
    const struct parameter *q = parameters_find(p, ROLE_DOWN, 1, PART_WEIGHT);
    ok(weight_decode_rows(row, checkpoint_weight(o.checkpoint, ROLE_DOWN, 1), 5, 1, &error));
    assert_memory_equal(row, q->value + 5 * q->cols, q->cols * sizeof *row);
    assert_true(!parameters_find(p, ROLE_HEAD, 0, PART_WEIGHT) == o.model->config.tied);
    free(before);
    parameters_free(p);
    close_model(&o);
}

static void test_full_reading(void **state)
{
    static const char *const models[] = {"llama_tied",
                                         "llama_untied",
                                         "gemma2",
                                         "gemma3",
                                         "refcheck_llama",
                                         "refcheck_mistral",
                                         "llama31/model.gguf",
                                         "llama_tied/model.gguf",
                                         "mistral",
                                         "gemma3/model.gguf"};
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        for (int type = MODEL_F32; type <= MODEL_BF16; type++)
            check_reading(models[i], (enum model_type)type);
}

/* Gemma's norms are w for 1+w from either kind of file. */
static void test_norms_by_file(void **state)
{
    struct opened a = open_model("gemma2", MODEL_F32), b = open_model("gemma2/model.gguf", MODEL_F32);
    struct parameters *p, *q;
    (void)state;
    ok(parameters_full(&p, a.model, a.checkpoint, 0, &error));
    ok(parameters_full(&q, b.model, b.checkpoint, 0, &error));
    assert_int_equal(p->count, q->count);
    for (size_t i = 0; i < p->count; i++)
        assert_true(fabs((double)p->values[i] - (double)q->values[i]) < 2e-7);
    parameters_free(p);
    parameters_free(q);
    close_model(&a);
    close_model(&b);
}

static void check_drawn(const struct parameter *x, const struct config *c)
{
    size_t n = x->rows * x->cols;
    double sum = 0, squares = 0, want = 0.02;
    if (x->role == ROLE_O || x->role == ROLE_DOWN)
        want /= sqrt(2.0 * c->layers);
    for (size_t i = 0; i < n; i++) {
        sum += (double)x->value[i];
        squares += (double)x->value[i] * (double)x->value[i];
    }
    if (x->rows == 1) {
        assert_true(sum == (is_norm(x->role) && !c->post_norms ? (double)n : 0));
        return;
    }
    assert_true(fabs(sum / (double)n) < 5 * want / sqrt((double)n));
    assert_true(fabs(sqrt(squares / (double)n) / want - 1) < 5 / sqrt(2 * (double)n));
}

static void test_drawing(void **state)
{
    static const char *const models[] = {"llama_tied", "gemma2", "refcheck_llama"};
    (void)state;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        struct opened o = open_model(models[m], MODEL_F32);
        struct parameters *p, *q;
        ok(parameters_full(&p, o.model, NULL, 8, &error));
        for (size_t i = 0; i < p->n; i++)
            check_drawn(&p->p[i], &o.model->config);
        parameters_sync(p, o.model);
        for (uint32_t k = 0; k < o.model->config.width; k++)
            assert_true(o.model->norm[k] == 1);
        ok(parameters_full(&q, o.model, NULL, 8, &error));
        assert_memory_equal(p->values, q->values, p->count * sizeof(float));
        parameters_free(q);
        ok(parameters_full(&q, o.model, NULL, 9, &error));
        assert_memory_not_equal(p->values, q->values, p->count * sizeof(float));
        parameters_free(q);
        parameters_free(p);
        close_model(&o);
    }
}

static void test_full_refusals(void **state)
{
    struct opened o = open_model("llama_tied", MODEL_Q8_0);
    struct parameters *p;
    (void)state;
    assert_int_equal(parameters_full(&p, o.model, o.checkpoint, 0, &error), ERR_USAGE);
    assert_non_null(strstr(error.msg, "q8_0"));
    o.model->type = MODEL_F32;
    unsigned char *own = o.model->block;
    o.model->block += 4096; /* as in a pack file's mapping */
    assert_int_equal(parameters_full(&p, o.model, o.checkpoint, 0, &error), ERR_STATE);
    o.model->block = own;
    close_model(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lora_begins_as_peft_does),
        cmocka_unit_test(test_adapter_follows),
        cmocka_unit_test(test_lora_refusals),
        cmocka_unit_test(test_full_reading),
        cmocka_unit_test(test_norms_by_file),
        cmocka_unit_test(test_drawing),
        cmocka_unit_test(test_full_refusals),
    };
    return cmocka_run_group_tests_name("parameter", tests, NULL, NULL);
}
