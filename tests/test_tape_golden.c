/* Training steps against the reference implementation's (PyTorch, PEFT; tests/fixtures/README.md): loss, logits,
 * gradients, and parameters after steps of AdamW. */
#include "base/file.h"
#include "format/safetensors.h"
#include "tape_rig.h"

enum { FIRST = 10, TERMS = TOKENS - FIRST };

/* The reference's loss: the mean over the tokens whose next one has a label. */
static size_t next_tokens(struct target *targets)
{
    for (size_t i = 0; i < TERMS; i++)
        targets[i] = (struct target){.token = FIRST - 1 + i, .id = input[FIRST + i], .weight = 1.0f / TERMS};
    return TERMS;
}

static double step(struct rig *r)
{
    const struct tape_run run = {input, TOKENS, -1, 0, 0};
    struct target targets[TERMS];
    double loss;
    memset(r->p->grads, 0, r->p->count * sizeof *r->p->grads);
    ok(tape_forward(r->tape, &run, 1, targets, next_tokens(targets), 0, true, &loss, &error));
    tape_backward(r->tape);
    return loss;
}

/* torch.optim.AdamW, in doubles: an implementation of its own, for comparison. */
struct adamw_reference {
    double *m, *v;
    int t;
};

static void update(struct adamw_reference *a, struct parameters *p)
{
    const double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, decay = 0.01;
    a->t++;
    for (size_t i = 0; i < p->count; i++) {
        double g = (double)p->grads[i], x = (double)p->values[i];
        a->m[i] = beta1 * a->m[i] + (1 - beta1) * g;
        a->v[i] = beta2 * a->v[i] + (1 - beta2) * g * g;
        x -= lr * decay * x;
        x -= lr * (a->m[i] / (1 - pow(beta1, a->t))) / (sqrt(a->v[i] / (1 - pow(beta2, a->t))) + eps);
        p->values[i] = (float)x;
    }
}

/* --- the reference's tensors */

static const struct tensor *tensor_of(const struct safetensors *s, const struct parameter *x,
                                      const struct config *c)
{
    char name[200], place[200];
    snprintf(place, sizeof place, role_hf_name(x->role, c), x->layer);
    if (x->part == PART_WEIGHT)
        snprintf(name, sizeof name, "%s", place);
    else
        snprintf(name, sizeof name, "base_model.model.%.*slora_%c.weight",
                 (int)(strlen(place) - strlen("weight")), place, x->part == PART_LORA_A ? 'A' : 'B');
    const struct tensor *t = safetensors_find(s, name);
    if (!t)
        fail_msg("no tensor %s", name);
    assert_int_equal(t->bytes, x->rows * x->cols * sizeof(float));
    return t;
}

static struct safetensors *reference(const char *name, const char *file)
{
    char path[256];
    struct safetensors *s;
    snprintf(path, sizeof path, FIXTURES "%s/%s.safetensors", name, file);
    ok(safetensors_open(&s, path, &error));
    return s;
}

static float value_at(const struct tensor *t, size_t i)
{
    float f;
    memcpy(&f, t->data + i * sizeof f, sizeof f);
    return f;
}

/* Within 1e-3 of each, or 1e-5 of the tensor's largest. */
static void check_gradient(const struct parameter *x, const struct tensor *t, double *worst)
{
    double largest = 0;
    for (size_t i = 0; i < x->rows * x->cols; i++)
        largest = fmax(largest, fabs((double)value_at(t, i)));
    assert_true(largest > 0);
    for (size_t i = 0; i < x->rows * x->cols; i++) {
        double want = (double)value_at(t, i), far = fabs((double)x->grad[i] - want);
        *worst = fmax(*worst, far / largest);
        if (!(far <= fmax(1e-3 * fabs(want), 1e-5 * largest)))
            fail_msg("%s at %zu: %g, want %g (largest %g)", t->name, i, (double)x->grad[i], want, largest);
    }
}

static void check_gradients(struct rig *r, const char *name)
{
    struct safetensors *s = reference(name, "grads");
    double worst = 0;
    assert_int_equal(safetensors_count(s), r->p->n);
    for (size_t i = 0; i < r->p->n; i++)
        check_gradient(&r->p->p[i], tensor_of(s, &r->p->p[i], &r->model->config), &worst);
    print_message("# %s: gradients within %.1e of each tensor's largest\n", name, worst);
    safetensors_close(s);
}

static void check_values(struct rig *r, const char *name, const char *file)
{
    struct safetensors *s = reference(name, file);
    double worst = 0;
    for (size_t i = 0; i < r->p->n; i++) {
        const struct parameter *x = &r->p->p[i];
        const struct tensor *t = tensor_of(s, x, &r->model->config);
        for (size_t k = 0; k < x->rows * x->cols; k++)
            worst = fmax(worst, fabs((double)x->value[k] - (double)value_at(t, k)));
    }
    print_message("# %s: %s within %.1e\n", name, file, worst);
    assert_true(worst <= 1e-5);
    safetensors_close(s);
}

static void check_logits(struct rig *r, const char *name)
{
    const struct tape_run run = {input, TOKENS, -1, 0, 0};
    struct target every[TOKENS];
    char path[256], *want;
    size_t len;
    double loss;
    float *logits = malloc(sizeof(float) * TOKENS * VOCABULARY);
    for (size_t i = 0; i < TOKENS; i++)
        every[i] = (struct target){.token = i, .id = input[i], .weight = 1};
    ok(tape_forward(r->tape, &run, 1, every, TOKENS, 0, false, &loss, &error));
    tape_logits(r->tape, logits);
    snprintf(path, sizeof path, FIXTURES "%s/logits.bin", name);
    ok(file_read(&want, &len, path, 1 << 26, &error));
    assert_int_equal(len, sizeof(float) * TOKENS * VOCABULARY);
    double far = furthest(logits, (float *)(void *)want, TOKENS * VOCABULARY);
    print_message("# %s: logits within %.1e\n", name, far);
    assert_true(far <= 2e-4);
    free(want);
    free(logits);
}

/* files: after 1, 2, 3 steps; NULL: the reference has none. */
static void check_steps(struct rig *r, const char *name, const double *losses, const char *const files[3])
{
    struct adamw_reference a = {calloc(r->p->count, sizeof(double)), calloc(r->p->count, sizeof(double)), 0};
    check_logits(r, name);
    for (int i = 0; i < 4; i++) {
        double loss = step(r);
        print_message("# %s: loss %.6f, want %.6f\n", name, loss, losses[i]);
        assert_true(fabs(loss - losses[i]) <= 1e-4);
        if (i == 0)
            check_gradients(r, name);
        if (i == 3)
            break;
        update(&a, r->p);
        parameters_sync(r->p, r->model);
        if (files[i])
            check_values(r, name, files[i]);
    }
    free(a.m);
    free(a.v);
}

static const char *const adapters[3] = {"adapter_after_step1", "adapter_after_step2", "adapter_after_step3"};
enum { QKVO = 15, ALL = 127 };

static void check_lora(const char *name, const char *base, enum model_type type, unsigned targets,
                       bool rslora, const double *losses)
{
    for (int checkpointing = 0; checkpointing < 2; checkpointing++) {
        const struct lora_options lo = {.rank = 4, .alpha = 8, .rslora = rslora, .targets = targets};
        struct tape_options o = plain_options;
        o.checkpointing = checkpointing;
        struct rig r = lora_rig(base, name, type, &lo, &o);
        check_steps(&r, name, losses, adapters);
        close_rig(&r);
    }
}

static void test_lora_llama(void **state)
{
    static const double losses[] = {13.88985538482666, 12.784624099731445, 11.848784446716309,
                                    11.042814254760742};
    (void)state;
    check_lora("lora_llama", "llama_tied", MODEL_F32, QKVO, false, losses);
}

static void test_qlora_llama(void **state)
{
    static const double losses[] = {13.596511840820312, 12.547579765319824, 11.702272415161133,
                                    10.982881546020508};
    (void)state;
    check_lora("qlora_llama", "llama_tied", MODEL_NF4, QKVO, false, losses);
}

static void test_lora_llama_all(void **state)
{
    static const double losses[] = {5.835960388183594, 5.3466949462890625, 4.907883644104004,
                                    4.550921440124512};
    (void)state;
    check_lora("lora_llama_all", "llama_untied", MODEL_F32, ALL, true, losses);
}

static void test_lora_gemma2(void **state)
{
    static const double losses[] = {6.114779949188232, 5.696346282958984, 5.355236053466797,
                                    5.070315837860107};
    (void)state;
    check_lora("lora_gemma2", "gemma2", MODEL_F32, ALL, false, losses);
}

static void test_lora_gemma3(void **state)
{
    static const double losses[] = {6.989329814910889, 6.351546764373779, 5.810824394226074,
                                    5.359400272369385};
    (void)state;
    check_lora("lora_gemma3", "gemma3", MODEL_F32, ALL, false, losses);
}

static void test_full_llama(void **state)
{
    static const double losses[] = {12.682291984558105, 6.363995552062988, 3.0515530109405518,
                                    1.3228559494018555};
    static const char *const files[3] = {"model_after_step1", NULL, "model_after_step3"};
    (void)state;
    struct rig r = full_rig("llama_tied", MODEL_F32, &plain_options);
    check_steps(&r, "full_llama", losses, files);
    close_rig(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_llama),     cmocka_unit_test(test_lora_llama),
        cmocka_unit_test(test_lora_llama_all), cmocka_unit_test(test_lora_gemma2),
        cmocka_unit_test(test_lora_gemma3),    cmocka_unit_test(test_qlora_llama),
    };
    return cmocka_run_group_tests_name("tape_golden", tests, NULL, NULL);
}
