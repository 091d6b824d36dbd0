/* Loss and gradients on small random models of every family, over trees of runs: against differences of a plain decoder
 * in doubles (tape_reference.h), and against themselves, however the same tokens are put through. */
#include "model/session.h"
#include "tape_reference.h"

enum { V = 51, RUNS = 8, T_MAX = 96 };

/* --- models */

static struct config base_config(const char *architecture)
{
    struct config c = {.layers = 2,
                       .width = 40,
                       .heads = 4,
                       .kv_heads = 2,
                       .head_width = 12,
                       .ff_width = 56,
                       .vocabulary = V,
                       .context = 128,
                       .norm_eps = 1e-5f,
                       .activation = ACT_SILU,
                       .tied = true,
                       .embedding_scale = 1,
                       .attention_scale = 0.3f,
                       .rope_width = 12,
                       .bos = -1,
                       .eos = -1,
                       .pad = -1};
    snprintf(c.architecture, sizeof c.architecture, "%s", architecture);
    c.rope[0].theta = c.rope[1].theta = 100;
    return c;
}

static struct config gemma(const char *architecture)
{
    struct config c = base_config(architecture);
    c.activation = ACT_GELU_TANH;
    c.norm_plus_one = c.post_norms = true;
    c.embedding_scale = 6.3125f;
    c.sliding_window = 7;
    c.sliding[0] = true;
    return c;
}

enum { LLAMA, BIASED, MISTRAL, GEMMA2, GEMMA3, FAMILIES };
static const char *const family_name[] = {"llama", "biased", "mistral", "gemma2", "gemma3"};

static struct config family(int f)
{
    struct config c = base_config(f == BIASED ? "llama" : family_name[f]);
    switch (f) {
    case BIASED:
        c.qkv_bias = c.o_bias = c.mlp_bias = true;
        c.rope_width = 8;
        c.activation = ACT_GELU;
        c.kv_heads = 1;
        break;
    case MISTRAL:
        c.tied = false;
        c.sliding_window = 18;
        c.sliding[0] = c.sliding[1] = true;
        break;
    case GEMMA2:
        c = gemma("gemma2");
        c.attention_softcap = 2.5f;
        c.logit_softcap = 3;
        break;
    case GEMMA3:
        c = gemma("gemma3");
        c.qk_norm = true;
        c.rope[0] = (struct config_rope_kind){.theta = 1000, .scaling = ROPE_LINEAR, .factor = 4};
        c.layers = 3;
        break;
    default:
        break;
    }
    return c;
}

static float around(struct rng *r, double size)
{
    return (float)(size * ((double)(rng_next(r) >> 11) * 0x1p-52 - 1));
}

/* Values of trained size everywhere, norms and biases too. */
static void draw(struct parameters *p, struct rng *r)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct parameter *x = &p->p[i];
        bool pair = x->part != PART_WEIGHT, vector = x->rows == 1 && !pair;
        double size = vector ? 0.3 : pair ? 0.25 : 1.7 / sqrt((double)x->cols);
        for (size_t k = 0; k < x->rows * x->cols; k++)
            x->value[k] = (vector ? x->value[k] : 0) + around(r, size);
    }
}

static struct tape_options options_of(enum dtype compute)
{
    return (struct tape_options){.tokens = T_MAX,
                                 .positions = T_MAX,
                                 .runs = RUNS,
                                 .targets = T_MAX,
                                 .compute = compute,
                                 .threads = 2,
                                 .seed = 7};
}

static const struct lora_options pairs = {.rank = 3, .alpha = 5, .targets = 127, .seed = 4};

/* lora NULL: every weight trains. */
static struct rig random_rig(const struct config *c, enum model_type type, const struct lora_options *lora,
                             const struct tape_options *o, uint64_t seed)
{
    struct rig rig = {0};
    struct rng r = {seed};
    ok(model_random(&rig.model, c, type, seed, &error));
    ok(parameters_full(&rig.p, rig.model, NULL, seed, &error));
    draw(rig.p, &r);
    parameters_sync(rig.p, rig.model);
    if (lora) {
        parameters_free(rig.p);
        ok(parameters_lora(&rig.p, rig.model, lora, &error));
        draw(rig.p, &r);
        parameters_sync(rig.p, NULL);
    }
    rig.tape = new_tape(&rig, o);
    return rig;
}

/* --- passes */

struct pass {
    int32_t ids[T_MAX];
    struct tape_run run[RUNS];
    struct target target[T_MAX];
    int32_t among[T_MAX][4];
    size_t runs, targets, T;
};

static void add_run(struct pass *p, int parent, size_t n)
{
    p->run[p->runs] = (struct tape_run){p->ids + p->T, n, parent, 100 + p->runs, 0};
    p->runs++;
    p->T += n;
}

static void add_target(struct pass *p, size_t token, bool among, struct rng *r)
{
    struct target *x = &p->target[p->targets];
    *x = (struct target){.token = token, .id = (int32_t)rng_below(r, V), .weight = 0.1f + around(r, 0.09)};
    for (int32_t i = 0; among && i < 3; i++)
        p->among[p->targets][i] = (x->id + 7 * i) % V;
    if (among) {
        x->among = p->among[p->targets];
        x->among_n = 3;
    }
    p->targets++;
}

/* A trunk with branches, branches on those, and trees beside it; runs longer than a tile and a panel. */
static void make_tree(struct pass *p, struct rng *r)
{
    *p = (struct pass){0};
    for (size_t i = 0; i < T_MAX; i++)
        p->ids[i] = (int32_t)rng_below(r, V);
    add_run(p, -1, 9);
    add_run(p, 0, 29);
    add_run(p, 0, 5);
    add_run(p, 1, 3);
    add_run(p, -1, 17);
    add_run(p, 2, 4);
    add_run(p, 3, 2);
    for (size_t t = 4; t < p->T; t += 1 + rng_below(r, 4)) {
        add_target(p, t, rng_below(r, 3) == 0, r);
        if (rng_below(r, 5) == 0)
            add_target(p, t, rng_below(r, 2) == 0, r);
    }
}

static double run_pass(struct rig *rig, const struct pass *p, uint64_t step)
{
    double loss;
    memset(rig->p->grads, 0, rig->p->count * sizeof *rig->p->grads);
    ok(tape_forward(rig->tape, p->run, p->runs, p->target, p->targets, step, true, &loss, &error));
    tape_backward(rig->tape);
    return loss;
}

/* --- differences */

static double largest_of(const struct parameter *x, size_t *where)
{
    double most = 0;
    for (size_t k = 0; k < x->rows * x->cols; k++)
        if (fabs((double)x->grad[k]) > most) {
            most = fabs((double)x->grad[k]);
            *where = k;
        }
    return most;
}

static double difference(const struct reference *ref, const struct pass *p, double *value)
{
    const double h = 1e-4, at = *value;
    *value = at + h;
    double up = reference_loss(ref, p->run, p->runs, p->target, p->targets);
    *value = at - h;
    double down = reference_loss(ref, p->run, p->runs, p->target, p->targets);
    *value = at;
    return (up - down) / (2 * h);
}

static void check_differences(struct rig *rig, const struct pass *p, const char *name, struct rng *r)
{
    struct reference ref = reference_new(rig->model, rig->p);
    double loss = run_pass(rig, p, 0), want = reference_loss(&ref, p->run, p->runs, p->target, p->targets);
    double worst = 0;
    int entries = getenv("SHORT") ? 1 : 2;
    assert_true(fabs(loss - want) <= 2e-5 * fabs(want));
    for (size_t i = 0; i < rig->p->n; i++) {
        const struct parameter *x = &rig->p->p[i];
        size_t where = 0, n = x->rows * x->cols;
        double most = largest_of(x, &where);
        assert_true(most > 0);
        for (int k = 0; k < entries; k++, where = rng_below(r, n)) {
            double got = (double)x->grad[where], slope = difference(&ref, p, &ref.value[i][where]);
            worst = fmax(worst, fabs(got - slope) / most);
            if (!(fabs(got - slope) <= 1e-3 * fabs(slope) + 2e-5 * most))
                fail_msg("%s: role %d layer %u part %d at %zu: %g, want %g (largest %g)", name, (int)x->role,
                         x->layer, (int)x->part, where, got, slope, most);
        }
    }
    print_message("# %s: loss %.6f, want %.6f; gradients within %.1e\n", name, loss, want, worst);
    reference_free(&ref);
}

static void test_differences(void **state)
{
    struct rng r = seeded();
    (void)state;
    for (int f = 0; f < FAMILIES; f++) {
        struct config c = family(f);
        struct tape_options o = options_of(DT_F32);
        struct pass p;
        make_tree(&p, &r);
        struct rig rig = random_rig(&c, MODEL_F32, NULL, &o, rng_next(&r));
        check_differences(&rig, &p, family_name[f], &r);
        close_rig(&rig);
        rig = random_rig(&c, MODEL_F32, &pairs, &o, rng_next(&r));
        check_differences(&rig, &p, family_name[f], &r);
        close_rig(&rig);
    }
}

/* --- the same tokens by other ways */

/* Of the chain that ends with run r one plain run, with r's targets. */
static void make_chain(struct pass *out, const struct pass *p, size_t r)
{
    size_t first[RUNS], at = 0, parts = 0, chain[RUNS];
    for (size_t i = 0; i < p->runs; at += p->run[i++].n)
        first[i] = at;
    *out = (struct pass){0};
    for (int i = (int)r; i >= 0; i = p->run[i].parent)
        chain[parts++] = (size_t)i;
    size_t n = 0;
    while (parts-- > 0) {
        const struct tape_run *run = &p->run[chain[parts]];
        memcpy(out->ids + n, run->ids, run->n * sizeof *run->ids);
        n += run->n;
    }
    add_run(out, -1, n);
    for (size_t i = 0; i < p->targets; i++)
        if (p->target[i].token >= first[r] && p->target[i].token < first[r] + p->run[r].n) {
            out->target[out->targets] = p->target[i];
            out->target[out->targets++].token += n - p->run[r].n - first[r];
        }
}

static double norm_of(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (b ? (double)b[i] : 0);
        sum += d * d;
    }
    return sqrt(sum);
}

static void test_tree_is_its_chains(void **state)
{
    struct rng r = seeded();
    (void)state;
    for (int f = 0; f < 2 * FAMILIES; f++) {
        struct config c = family(f / 2);
        struct tape_options o = options_of(DT_F32);
        struct pass p, chain;
        make_tree(&p, &r);
        struct rig rig = random_rig(&c, MODEL_F32, f % 2 ? &pairs : NULL, &o, rng_next(&r));
        size_t n = rig.p->count;
        float *whole = malloc(n * sizeof *whole), *sum = calloc(n, sizeof *sum);
        double loss = run_pass(&rig, &p, 0), parts = 0;
        memcpy(whole, rig.p->grads, n * sizeof *whole);
        for (size_t i = 0; i < p.runs; i++) {
            make_chain(&chain, &p, i);
            parts += run_pass(&rig, &chain, 0);
            for (size_t k = 0; k < n; k++)
                sum[k] += rig.p->grads[k];
        }
        assert_true(fabs(loss - parts) <= 1e-5 * loss);
        assert_true(norm_of(whole, sum, n) <= 1e-5 * norm_of(whole, NULL, n));
        free(whole);
        free(sum);
        close_rig(&rig);
    }
}

/* Bits of loss and gradients under other options. */
static void check_same_bits(const struct config *c, const struct lora_options *lora,
                            const struct tape_options *one, const struct tape_options *other,
                            const struct pass *p, uint64_t seed)
{
    enum model_type type = one->compute == DT_BF16 ? MODEL_BF16 : MODEL_F32;
    struct rig a = random_rig(c, type, lora, one, seed), b = random_rig(c, type, lora, other, seed);
    double loss = run_pass(&a, p, 1);
    assert_true(loss == run_pass(&b, p, 1));
    assert_memory_equal(a.p->grads, b.p->grads, a.p->count * sizeof(float));
    assert_true(norm_of(a.p->grads, NULL, a.p->count) > 0);
    close_rig(&a);
    close_rig(&b);
}

/* Layers recomputed; one thread, or more than there are processors. */
static void test_same_bits(void **state)
{
    struct rng r = seeded();
    struct lora_options dropping = pairs;
    (void)state;
    dropping.dropout = 0.1f;
    for (int f = 0; f < 2 * FAMILIES; f++) {
        struct config c = family(f / 2);
        struct pass p;
        make_tree(&p, &r);
        uint64_t seed = rng_next(&r);
        struct tape_options o = options_of(f % 2 ? DT_BF16 : DT_F32), other = o;
        for (other.threads = 1; other.threads <= 3; other.threads++) {
            other.checkpointing = other.threads == 2;
            check_same_bits(&c, NULL, &o, &other, &p, seed);
            check_same_bits(&c, &dropping, &o, &other, &p, seed);
        }
    }
}

static void test_bf16_is_close(void **state)
{
    struct rng r = seeded();
    (void)state;
    for (int f = 0; f < 2 * FAMILIES; f++) {
        struct config c = family(f / 2);
        const struct lora_options *lora = f % 2 ? &pairs : NULL;
        struct tape_options exact = options_of(DT_F32), rounded = options_of(DT_BF16);
        struct pass p;
        make_tree(&p, &r);
        uint64_t seed = rng_next(&r);
        struct rig a = random_rig(&c, MODEL_F32, lora, &exact, seed);
        struct rig b = random_rig(&c, MODEL_BF16, lora, &rounded, seed);
        double want = run_pass(&a, &p, 0), got = run_pass(&b, &p, 0);
        double far = norm_of(a.p->grads, b.p->grads, a.p->count) / norm_of(a.p->grads, NULL, a.p->count);
        print_message("# %s in bf16: loss %.5f for %.5f, gradients off by %.3f\n", family_name[f / 2], got,
                      want, far);
        assert_true(fabs(got - want) <= 0.02 * want);
        assert_true(far > 0 && far <= 0.1);
        close_rig(&a);
        close_rig(&b);
    }
}

/* --- what serves: the same tokens through a session */

static double session_loss(const struct rig *rig, const struct pass *p)
{
    const struct session_options so = {.tokens = T_MAX, .positions = T_MAX, .threads = 1};
    struct session *s;
    struct kv *kv[RUNS];
    struct run run[RUNS];
    size_t wanted[T_MAX], D = rig->model->config.width, ld = (V + 15) & ~15;
    float *hidden = malloc(T_MAX * D * sizeof *hidden), *logits = malloc(T_MAX * ld * sizeof *logits);
    double loss = 0;
    ok(session_new(&s, rig->model, &so, &error));
    session_set_adapter(s, rig->p->adapter);
    for (size_t i = 0; i < p->runs; i++) {
        struct kv *parent = p->run[i].parent >= 0 ? kv[p->run[i].parent] : NULL;
        ok(kv_new(&kv[i], rig->model, parent, p->run[i].n, false, &error));
        run[i] = (struct run){.kv = kv[i], .ids = p->run[i].ids, .n = p->run[i].n};
    }
    for (size_t t = 0; t < p->T; t++)
        wanted[t] = t;
    const struct outputs out = {wanted, p->T, hidden, NULL};
    ok(session_forward(s, run, p->runs, &out, &error));
    session_logits(s, &rig->model->head, hidden, p->T, logits, ld);
    for (size_t i = 0; i < p->targets; i++) {
        const struct target *x = &p->target[i];
        const float *z = logits + x->token * ld;
        double sum = 0;
        for (size_t k = 0; k < (x->among_n ? x->among_n : V); k++)
            sum += exp((double)z[x->among_n ? (size_t)x->among[k] : k]);
        loss += (log(sum) - (double)z[x->id]) * (double)x->weight;
    }
    for (size_t i = p->runs; i-- > 0;)
        kv_free(kv[i]);
    session_free(s);
    free(hidden);
    free(logits);
    return loss;
}

static void test_session_agrees(void **state)
{
    struct rng r = seeded();
    (void)state;
    for (int f = 0; f < 2 * FAMILIES; f++) {
        struct config c = family(f / 2);
        struct tape_options o = options_of(DT_F32);
        struct pass p;
        double loss;
        make_tree(&p, &r);
        struct rig rig = random_rig(&c, MODEL_F32, f % 2 ? &pairs : NULL, &o, rng_next(&r));
        ok(tape_forward(rig.tape, p.run, p.runs, p.target, p.targets, 0, false, &loss, &error));
        double want = session_loss(&rig, &p);
        assert_true(fabs(loss - want) <= 1e-5 * want);
        close_rig(&rig);
    }
}

/* --- dropout */

static double loss_of(struct rig *rig, const struct pass *p, uint64_t step, bool train)
{
    double loss;
    ok(tape_forward(rig->tape, p->run, p->runs, p->target, p->targets, step, train, &loss, &error));
    return loss;
}

/* Run r of p alone, with its own targets and key. */
static void make_alone(struct pass *out, const struct pass *p, size_t r)
{
    make_chain(out, p, r);
    out->run[0].key = p->run[r].key;
}

static void test_dropout_masks(void **state)
{
    struct rng r = seeded();
    struct lora_options dropping = pairs;
    struct tape_options o = options_of(DT_F32), other = o;
    struct config c = family(LLAMA);
    struct pass p, first, alone;
    uint64_t seed = rng_next(&r);
    (void)state;
    dropping.dropout = 0.1f;
    other.seed++;
    make_tree(&p, &r);
    struct rig bare = random_rig(&c, MODEL_F32, &pairs, &o, seed);
    struct rig a = random_rig(&c, MODEL_F32, &dropping, &o, seed);
    struct rig b = random_rig(&c, MODEL_F32, &dropping, &other, seed);
    double loss = loss_of(&a, &p, 3, true);
    assert_true(loss == loss_of(&a, &p, 3, true));
    assert_true(loss != loss_of(&a, &p, 4, true));
    assert_true(loss != loss_of(&b, &p, 3, true));
    assert_true(loss != loss_of(&bare, &p, 3, true));
    assert_true(loss_of(&a, &p, 3, false) == loss_of(&bare, &p, 3, true));
    p.run[0].key++;
    assert_true(loss != loss_of(&a, &p, 3, true));
    /* a root's mask does not depend on its company */
    make_alone(&alone, &p, 4);
    assert_true(alone.targets > 0);
    first = p;
    first.targets = 0;
    for (size_t i = 0; i < p.targets; i++)
        if (p.target[i].token >= 46 && p.target[i].token < 63)
            first.target[first.targets++] = p.target[i];
    assert_int_equal(first.targets, alone.targets);
    assert_true(loss_of(&a, &first, 3, true) == loss_of(&a, &alone, 3, true));
    close_rig(&bare);
    close_rig(&a);
    close_rig(&b);
}

/* Words dropped: a function of seed, step and key; nothing without training; no gradient where nothing was read. */
static void test_word_dropout(void **state)
{
    struct rng r = seeded();
    struct tape_options o = options_of(DT_F32);
    struct config c = family(MISTRAL); /* untied: the embedding's gradient is the input's alone */
    struct pass p, all;
    (void)state;
    make_tree(&p, &r);
    struct rig rig = random_rig(&c, MODEL_F32, NULL, &o, rng_next(&r));
    const struct parameter *table = parameters_find(rig.p, ROLE_EMBEDDING, 0, PART_WEIGHT);
    size_t n = table->rows * table->cols;
    double plain = loss_of(&rig, &p, 3, true);
    for (size_t i = 0; i < p.runs; i++)
        p.run[i].drop = 0.4f;
    double loss = loss_of(&rig, &p, 3, true);
    assert_true(loss != plain && loss == loss_of(&rig, &p, 3, true));
    assert_true(loss != loss_of(&rig, &p, 4, true));
    assert_true(loss_of(&rig, &p, 3, false) == plain);
    run_pass(&rig, &p, 3);
    double length = norm_of(table->grad, NULL, n), h = 2e-3 / length, side[2];
    float *grad = malloc(n * sizeof *grad), *at = malloc(n * sizeof *at);
    memcpy(grad, table->grad, n * sizeof *grad);
    memcpy(at, table->value, n * sizeof *at);
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < n; i++)
            table->value[i] = at[i] + (float)((k ? -h : h) * (double)grad[i]);
        parameters_sync(rig.p, rig.model);
        side[k] = loss_of(&rig, &p, 3, true);
    }
    double slope = (side[0] - side[1]) / (2 * h * length);
    assert_true(length > 0 && fabs(slope - length) <= 0.02 * length);
    all = p;
    for (size_t i = 0; i < all.runs; i++)
        all.run[i].drop = 1;
    run_pass(&rig, &all, 3);
    assert_true(norm_of(table->grad, NULL, n) == 0);
    free(grad);
    free(at);
    close_rig(&rig);
}

/* With masks fixed the loss is a function of the pairs, and the gradient is its slope: moved a little along the
 * gradient, the loss moves by its length. */
static void test_dropout_gradient(void **state)
{
    struct rng r = seeded();
    struct lora_options dropping = pairs;
    (void)state;
    dropping.dropout = 0.3f;
    for (int f = 0; f < FAMILIES; f++) {
        struct config c = family(f);
        struct tape_options o = options_of(DT_F32);
        struct pass p;
        make_tree(&p, &r);
        struct rig rig = random_rig(&c, MODEL_F32, &dropping, &o, rng_next(&r));
        size_t n = rig.p->count;
        float *at = malloc(n * sizeof *at), *grad = malloc(n * sizeof *grad);
        run_pass(&rig, &p, 5);
        memcpy(at, rig.p->values, n * sizeof *at);
        memcpy(grad, rig.p->grads, n * sizeof *grad);
        for (size_t i = 0; i < rig.p->n; i++) {
            const struct parameter *x = &rig.p->p[i];
            size_t from = (size_t)(x->value - rig.p->values), size = x->rows * x->cols;
            double length = norm_of(grad + from, NULL, size), loss[2], far = fmin(1e-3, 4e-3 / length);
            for (int side = 0; side < 2; side++) {
                double h = (side ? -far : far) / length;
                for (size_t k = 0; k < size; k++)
                    x->value[k] = at[from + k] + (float)(h * (double)grad[from + k]);
                parameters_sync(rig.p, NULL);
                loss[side] = loss_of(&rig, &p, 5, true);
            }
            memcpy(x->value, at + from, size * sizeof *at);
            double slope = (loss[0] - loss[1]) / (2 * far);
            if (!(fabs(slope - length) <= 0.01 * length))
                fail_msg("%s: role %d layer %u part %d: slope %g, want %g", family_name[f], (int)x->role,
                         x->layer, (int)x->part, slope, length);
        }
        free(at);
        free(grad);
        close_rig(&rig);
    }
}

/* Mean and variance of a logit's change by dropout p, over steps. One layer, its down projection alone adapted, and
 * little: the last norm's curvature does not show. */
static void measure_dropout(double p, double *mean, double *variance)
{
    enum { STEPS = 400 };
    const struct lora_options down = {.rank = 1, .alpha = 1, .targets = 64, .dropout = (float)p};
    struct tape_options o = options_of(DT_F32);
    struct config c = family(LLAMA);
    int32_t id = 5;
    const struct tape_run run = {&id, 1, -1, 9, 0};
    const struct target x = {.token = 0, .id = 5, .weight = 1};
    float logits[V];
    double loss, sum = 0, squares = 0;
    c.layers = 1;
    struct rig rig = random_rig(&c, MODEL_F32, &down, &o, 11);
    for (size_t k = 0; k < rig.p->p[1].rows; k++)
        rig.p->p[1].value[k] *= 1e-2f;
    parameters_sync(rig.p, NULL);
    ok(tape_forward(rig.tape, &run, 1, &x, 1, 0, false, &loss, &error));
    tape_logits(rig.tape, logits);
    double full = (double)logits[5];
    for (uint64_t s = 0; s < STEPS; s++) {
        ok(tape_forward(rig.tape, &run, 1, &x, 1, s, true, &loss, &error));
        tape_logits(rig.tape, logits);
        sum += (double)logits[5] - full;
        squares += ((double)logits[5] - full) * ((double)logits[5] - full);
    }
    *mean = sum / STEPS;
    *variance = squares / STEPS;
    assert_true(fabs(*mean) <= 4 * sqrt(*variance / STEPS));
    close_rig(&rig);
}

/* Elements fall with probability p and the rest grows by 1 / (1 - p): no bias, and a variance of p / (1 - p). */
static void test_dropout_share(void **state)
{
    double mean, half, quarter;
    (void)state;
    measure_dropout(0.5, &mean, &half);
    measure_dropout(0.25, &mean, &quarter);
    print_message("# dropout 0.5 over 0.25: variance %.2f, want 3\n", half / quarter);
    assert_true(quarter > 0 && half / quarter > 2.2 && half / quarter < 4);
}

/* --- limits */

static void refuse(struct rig *rig, const struct pass *p, int code, const char *part)
{
    double loss;
    int rc = tape_forward(rig->tape, p->run, p->runs, p->target, p->targets, 0, true, &loss, &error);
    if (rc != code || !strstr(error.msg, part))
        fail_msg("code %d \"%s\", want %d \"%s\"", rc, error.msg, code, part);
    tape_backward(rig->tape); /* of nothing */
}

static void test_refusals(void **state)
{
    struct rng r = {1};
    struct config c = family(LLAMA);
    struct tape_options o = options_of(DT_F32);
    struct pass p, bad;
    int32_t among[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    (void)state;
    o.tokens = 70;
    o.positions = 50;
    o.runs = 7;
    o.targets = 60;
    make_tree(&p, &r);
    struct rig rig = random_rig(&c, MODEL_F32, NULL, &o, 3);
    memset(rig.p->grads, 0, rig.p->count * sizeof *rig.p->grads);
    bad = p;
    bad.run[1].n = 200;
    refuse(&rig, &bad, ERR_LIMIT, "more than 70 tokens");
    bad = p;
    bad.run[4].n = 19;
    refuse(&rig, &bad, ERR_LIMIT, "more than 70 tokens");
    bad = p;
    bad.runs = 8;
    refuse(&rig, &bad, ERR_LIMIT, "8 runs");
    bad = p;
    bad.run[5].parent = 1;
    bad.run[5].n = 13;
    bad.run[4].n = 2;
    refuse(&rig, &bad, ERR_LIMIT, "51 positions");
    bad = p;
    bad.run[2].parent = 2;
    refuse(&rig, &bad, ERR_USAGE, "follows run 2");
    bad = p;
    bad.ids[3] = V;
    bad.run[0].ids = bad.ids;
    refuse(&rig, &bad, ERR_FORMAT, "token id 51");
    bad = p;
    bad.target[0].id = -1;
    bad.target[0].among_n = 0;
    refuse(&rig, &bad, ERR_FORMAT, "token id -1");
    bad = p;
    bad.target[0].token = 1000;
    refuse(&rig, &bad, ERR_USAGE, "target 0");
    bad = p;
    bad.target[1].token = 0;
    refuse(&rig, &bad, ERR_USAGE, "in order");
    bad = p;
    bad.target[0].among = among;
    bad.target[0].among_n = 9;
    refuse(&rig, &bad, ERR_LIMIT, "among 9");
    bad.target[0].among_n = 3;
    bad.target[0].id = 40;
    refuse(&rig, &bad, ERR_USAGE, "not among");
    bad = p;
    bad.targets = 61;
    refuse(&rig, &bad, ERR_LIMIT, "61 targets");
    assert_true(norm_of(rig.p->grads, NULL, rig.p->count) == 0);
    bad = p;
    bad.targets = 0;
    double loss;
    ok(tape_forward(rig.tape, bad.run, bad.runs, bad.target, 0, 0, true, &loss, &error));
    tape_backward(rig.tape);
    assert_true(loss == 0 && norm_of(rig.p->grads, NULL, rig.p->count) == 0);
    close_rig(&rig);
}

/* Gradients add up over passes, and a pass that does not train leaves none. */
static void test_gradients_add_up(void **state)
{
    struct rng r = seeded();
    struct config c = family(GEMMA2);
    struct tape_options o = options_of(DT_F32);
    struct pass p;
    (void)state;
    make_tree(&p, &r);
    struct rig rig = random_rig(&c, MODEL_F32, NULL, &o, rng_next(&r));
    run_pass(&rig, &p, 0);
    double once = norm_of(rig.p->grads, NULL, rig.p->count);
    loss_of(&rig, &p, 0, true);
    tape_backward(rig.tape);
    double twice = norm_of(rig.p->grads, NULL, rig.p->count);
    assert_true(fabs(twice - 2 * once) <= 1e-5 * twice);
    loss_of(&rig, &p, 0, false);
    tape_backward(rig.tape);
    assert_true(norm_of(rig.p->grads, NULL, rig.p->count) == twice);
    close_rig(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_differences),      cmocka_unit_test(test_tree_is_its_chains),
        cmocka_unit_test(test_same_bits),        cmocka_unit_test(test_bf16_is_close),
        cmocka_unit_test(test_session_agrees),   cmocka_unit_test(test_dropout_masks),
        cmocka_unit_test(test_dropout_gradient), cmocka_unit_test(test_word_dropout),
        cmocka_unit_test(test_dropout_share),    cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_gradients_add_up),
    };
    return cmocka_run_group_tests_name("tape", tests, NULL, NULL);
}
