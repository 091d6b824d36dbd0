/* train/trainer: the loop. What a pass computes is tested elsewhere; here dev losses are dictated, numbers spoilt
 * and runs cut short, and what is kept is compared. */
#include "train/trainer_int.h"
#include "train/world.h"

#include <math.h>
#include <sys/stat.h>

#include "model_folder.h"

enum { STEPS = 12 };

/* ---- what the loop asks, answered by the test ---- */

static double dictated[16]; /* of evaluation i, when `dictating` */
static size_t evaluations, dictating;
static enum { LOSS, NORM } spoilt;
static uint64_t spoil_at; /* a training pass or norm, counted from 1; 0: none */
static double spoil_with;
static uint64_t passes_done, norms_done;

int __real_trainer_evaluate(struct trainer *t, struct train_record *r, struct err *e);
int __wrap_trainer_evaluate(struct trainer *t, struct train_record *r, struct err *e);
int __real_tape_forward(struct tape *t, const struct tape_run *runs, size_t n, const struct target *targets,
                        size_t n_targets, uint64_t step, bool train, double *loss, struct err *e);
int __wrap_tape_forward(struct tape *t, const struct tape_run *runs, size_t n, const struct target *targets,
                        size_t n_targets, uint64_t step, bool train, double *loss, struct err *e);
double __real_gradient_norm(const float *grad, size_t n);
double __wrap_gradient_norm(const float *grad, size_t n);
int __real_trainer_forecast_time(struct trainer *t, double *steps, double *evaluating, struct err *e);
int __wrap_trainer_forecast_time(struct trainer *t, double *steps, double *evaluating, struct err *e);

int __wrap_trainer_evaluate(struct trainer *t, struct train_record *r, struct err *e)
{
    if (!dictating)
        return __real_trainer_evaluate(t, r, e);
    assert_true(evaluations < dictating);
    r->dev_loss = dictated[evaluations];
    r->dev[METRIC_DIRECTION] = dictated[evaluations++];
    return 0;
}

int __wrap_tape_forward(struct tape *t, const struct tape_run *runs, size_t n, const struct target *targets,
                        size_t n_targets, uint64_t step, bool train, double *loss, struct err *e)
{
    int rc = __real_tape_forward(t, runs, n, targets, n_targets, step, train, loss, e);
    if (train && ++passes_done == spoil_at && spoilt == LOSS)
        *loss = spoil_with;
    return rc;
}

double __wrap_gradient_norm(const float *grad, size_t n)
{
    double norm = __real_gradient_norm(grad, n);
    return ++norms_done == spoil_at && spoilt == NORM ? spoil_with : norm;
}

/* What it times is counted from 0 again. */
int __wrap_trainer_forecast_time(struct trainer *t, double *steps, double *evaluating, struct err *e)
{
    int rc = __real_trainer_forecast_time(t, steps, evaluating, e);
    passes_done = norms_done = 0;
    return rc;
}

/* ---- a run on text ---- */

static char scratch[400], text[400], dev[400];

static void write_tokenizer(void)
{
    char *json = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&json, &n);
    fputs("{\"added_tokens\":[{\"id\":2,\"content\":\"</"
          "s>\",\"special\":true}],\"model\":{\"type\":\"Unigram\",\"unk_id\":0,"
          "\"byte_fallback\":true,\"vocab\":[[\"<unk>\",0],[\"<s>\",0],[\"</s>\",0]",
          f);
    for (int i = 0; i < 256; i++)
        fprintf(f, ",[\"<0x%02X>\",0]", i);
    fputs("]}}", f);
    fclose(f);
    put_text("tokenizer.json", json);
    free(json);
    put_text("tokenizer_config.json",
             "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"unk_token\":\"<unk>\"}");
}

static int setup(void **state)
{
    if (folder_new(state))
        return -1;
    write_tokenizer();
    put_text("config.json",
             "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":259,\"hidden_"
             "size\":16,"
             "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":8,"
             "\"intermediate_size\":32,\"hidden_act\":\"silu\",\"max_position_embeddings\":64,\"rope_theta\":"
             "10000,"
             "\"rms_norm_eps\":1e-5,\"tie_word_embeddings\":true,\"bos_token_id\":1,\"eos_token_id\":2}");
    put_text("text.txt", "an owl may fly by night\nno one saw it go\nso it came back again and sat there\n"
                         "the moon was up by then\nand so was I, awake\n");
    put_text("dev.txt", "it sat there by night\n");
    snprintf(scratch, sizeof scratch, "%s", folder);
    snprintf(text, sizeof text, "%s", in_folder("text.txt"));
    snprintf(dev, sizeof dev, "%s", in_folder("dev.txt"));
    return 0;
}

static void remove_all(const char *dir)
{
    char path[500];
    DIR *d = opendir(dir);
    for (struct dirent *at; d && (at = readdir(d));) {
        if (at->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, at->d_name);
        if (unlink(path))
            remove_all(path);
    }
    if (d)
        closedir(d);
    rmdir(dir);
}

static int teardown(void **state)
{
    (void)state;
    remove_all(folder);
    return 0;
}

/* Twelve steps at a constant rate, so that what step s leaves does not depend on how many follow. */
static struct trainer_options options(const char *out)
{
    struct trainer_options o = trainer_defaults_full;
    o.scratch = scratch;
    o.data = text;
    o.dev = dev;
    o.out = out;
    o.seq = 16;
    o.batch = 2;
    o.steps = STEPS;
    o.lr = 1e-2;
    o.schedule = SCHEDULE_CONSTANT;
    o.warmup = 0;
    o.eval_every = 2;
    o.patience = 0;
    o.compute = DT_F32;
    o.threads = 1;
    evaluations = dictating = 0;
    spoil_at = 0;
    return o;
}

static const char *out_dir(const char *name)
{
    static char path[2][400];
    static int which;
    which = !which;
    snprintf(path[which], sizeof path[which], "%s/%s", folder, name);
    return path[which];
}

static void dictate(size_t n, const double *value)
{
    memcpy(dictated, value, n * sizeof *value);
    dictating = n;
}

static void assert_same_model(const char *a, const char *b)
{
    char path[500], *x, *y;
    size_t n, m;
    snprintf(path, sizeof path, "%s/model.safetensors", a);
    ok(file_read(&x, &n, path, 1 << 24, &error));
    snprintf(path, sizeof path, "%s/model.safetensors", b);
    ok(file_read(&y, &m, path, 1 << 24, &error));
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

/* ---- tests ---- */

static void best_is_kept(void **state)
{
    static const double losses[] = {5, 3, NAN, 3.5, 3, 3.2}; /* best after step 4; equal is not better */
    struct trainer_result r;
    (void)state;
    struct trainer_options o = options(out_dir("best"));
    dictate(6, losses);
    ok(trainer_run(&o, NULL, &r, &error));
    assert_int_equal(evaluations, 6);
    assert_int_equal(r.best_step, 4);
    assert_int_equal(r.steps, STEPS);
    assert_false(r.early);
    struct trainer_options s = options(out_dir("four"));
    s.steps = 4;
    s.dev = NULL; /* the last is kept */
    ok(trainer_run(&s, NULL, &r, &error));
    assert_same_model(o.out, s.out);
}

static void patience_ends_a_run(void **state)
{
    static const double losses[] = {5, 4, 4.5, 4.1, 4.2};
    struct trainer_result r;
    (void)state;
    struct trainer_options o = options(out_dir("patience"));
    o.patience = 3;
    dictate(5, losses);
    ok(trainer_run(&o, NULL, &r, &error));
    assert_int_equal(r.steps, 10);
    assert_int_equal(r.best_step, 4);
    assert_true(r.early);
    assert_true(r.best.dev_loss == 4);
    struct trainer_options s = options(out_dir("four"));
    s.steps = 4;
    s.dev = NULL; /* the last is kept */
    ok(trainer_run(&s, NULL, &r, &error));
    assert_same_model(o.out, s.out);
}

/* Nothing can be measured: the last weights are what there is. */
static void without_dev(void **state)
{
    struct trainer_result r;
    (void)state;
    struct trainer_options o = options(out_dir("blind"));
    o.dev = NULL;
    ok(trainer_run(&o, NULL, &r, &error));
    assert_int_equal(r.best_step, STEPS);
    static const double falling[] = {6, 5, 4, 3, 2, 1};
    struct trainer_options s = options(out_dir("seen"));
    dictate(6, falling);
    ok(trainer_run(&s, NULL, &r, &error));
    assert_same_model(o.out, s.out);
}

static void spoil(int what, double value, const char *said)
{
    struct trainer_result r;
    struct trainer_options o = options(out_dir("spoilt"));
    o.save_every = 3;
    spoilt = what;
    spoil_at = 8;
    spoil_with = value;
    assert_int_equal(trainer_run(&o, NULL, &r, &error), ERR_STATE);
    if (!strstr(error.msg, said))
        fail_msg("said: %s", error.msg);
    assert_non_null(strstr(error.msg, "checkpoint holds step 6, want a lower --lr"));
    spoil_at = 0;
    o.resume = true;
    ok(trainer_run(&o, NULL, &r, &error));
    struct trainer_options s = options(out_dir("whole"));
    ok(trainer_run(&s, NULL, &r, &error));
    assert_same_model(o.out, s.out);
    remove_all(o.out);
}

/* The line names the step; the checkpoint before it is taken up to the end that there would have been. */
static void divergence(void **state)
{
    (void)state;
    spoil(LOSS, NAN, "the loss of step 8 is nan: the run diverged; ");
    spoil(LOSS, INFINITY, "the loss of step 8 is inf: the run diverged; ");
    spoil(NORM, INFINITY, "the gradient of step 8 is inf: the run diverged; ");
    spoil(NORM, NAN, "the gradient of step 8 is nan: the run diverged; ");
    spoil(NORM, 0, "the gradient of step 8 is 0: the run diverged; ");
}

static void diverging_at_once(void **state)
{
    struct trainer_result r;
    (void)state;
    struct trainer_options o = options(out_dir("atonce"));
    spoilt = LOSS;
    spoil_at = 1;
    spoil_with = NAN;
    assert_int_equal(trainer_run(&o, NULL, &r, &error), ERR_STATE);
    assert_string_equal(error.msg, "the loss of step 1 is nan: the run diverged; want a lower --lr");
}

/* ---- what is told ---- */

struct told {
    struct trainer_plan plan;
    uint64_t plans, steps, devs, saves, bests;
    double lr[STEPS + 1], tokens;
};

static void on_plan(void *context, const struct trainer_plan *p)
{
    struct told *t = context;
    t->plan = *p;
    assert_int_equal(t->plans++ + t->steps, 0);
}

static void on_step(void *context, const struct trainer_progress *p)
{
    struct told *t = context;
    assert_int_equal(p->step, ++t->steps);
    assert_int_equal(p->steps, STEPS);
    assert_true(isfinite(p->loss) && p->loss > 0 && p->grad_norm > 0 && p->tokens_per_s > 0);
    assert_true(p->seconds_left >= 0 && (p->seconds_left > 0) == (p->step < STEPS));
    t->lr[p->step] = p->lr;
}

static void on_dev(void *context, const struct train_record *r, bool best, uint64_t since)
{
    struct told *t = context;
    t->devs++;
    t->bests += best;
    assert_int_equal(r->step, 2 * t->devs);
    assert_true(best == (since == 0));
    assert_true(fabs(r->epoch - (double)r->step / (double)t->plan.per_epoch) < 1e-12);
}

static void on_saved(void *context, uint64_t step)
{
    struct told *t = context;
    t->saves++;
    assert_int_equal(step % 5 == 0 || step == STEPS, 1);
}

static void events(void **state)
{
    struct told t = {0};
    struct trainer_events v = {on_plan, on_step, on_dev, on_saved, &t};
    struct trainer_result r;
    (void)state;
    struct trainer_options o = options(out_dir("told"));
    o.schedule = SCHEDULE_LINEAR;
    o.warmup = 3;
    o.save_every = 5;
    ok(trainer_run(&o, &v, &r, &error));
    assert_int_equal(t.plans, 1);
    assert_int_equal(t.steps, STEPS);
    assert_int_equal(t.devs, STEPS / 2);
    assert_int_equal(t.saves, 3); /* 5, 10, and the end */
    assert_true(t.bests > 0);
    assert_int_equal(t.plan.steps, STEPS);
    assert_int_equal(t.plan.items, rounded_up((uint64_t)t.plan.tokens_per_epoch, 16));
    assert_int_equal(t.plan.per_epoch, rounded_up(t.plan.items, 2));
    assert_int_equal(t.plan.parameters, 259 * 16 + 3 * 16 + 2 * 16 * 16 + 2 * 8 * 16 + 3 * 32 * 16);
    assert_true(t.plan.seconds > 0 && t.plan.dev_seconds > 0);
    for (uint64_t i = 1; i <= STEPS; i++) /* 1-based here, 0-based there; Transformers' linear schedule */
        assert_true(fabs(t.lr[i] - 1e-2 * (i <= 3 ? (double)(i - 1) / 3 : (double)(STEPS - i + 1) / 9)) <
                    1e-12);
}

/* ---- defaults ---- */

static void defaults_of_text(void **state)
{
    struct trainer t = {.o = options(out_dir("defaults"))};
    (void)state;
    t.o.batch = 0;
    t.o.eval_every = t.o.save_every = 0;
    t.o.warmup = TRAINER_DEFAULT;
    t.o.steps = 200;
    ok(trainer_open(&t, &error));
    assert_int_equal(t.o.batch, 8);
    assert_int_equal(t.per_epoch, rounded_up(t.corpus->n, 8));
    assert_int_equal(t.o.eval_every, 1); /* dev is two sequences */
    assert_int_equal(t.o.save_every, t.o.eval_every);
    assert_int_equal(t.o.warmup, 6);
    trainer_close(&t);
}

/* All items of an epoch, each once, for any number of them in a step. */
static void an_epoch_is_every_item_once(void **state)
{
    struct rng r = seeded();
    (void)state;
    for (int round = 0; round < 5; round++) {
        struct trainer t = {.o = options(out_dir("order"))};
        t.o.batch = 1 + (size_t)rng_below(&r, 5);
        t.o.accumulate = 1 + (size_t)rng_below(&r, 3);
        ok(trainer_open(&t, &error));
        size_t seen[64] = {0}, n = t.corpus->n;
        assert_true(n < 64);
        for (uint64_t s = t.per_epoch; s < 2 * t.per_epoch; s++) { /* the second */
            const uint32_t *items;
            size_t k = trainer_step_items(&t, s, &items);
            assert_true(k >= 1 && k <= t.o.batch * t.o.accumulate);
            for (size_t i = 0; i < k; i++)
                seen[items[i]]++;
        }
        for (size_t i = 0; i < n; i++)
            assert_int_equal(seen[i], 1);
        trainer_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(best_is_kept),      cmocka_unit_test(patience_ends_a_run),
        cmocka_unit_test(without_dev),       cmocka_unit_test(divergence),
        cmocka_unit_test(diverging_at_once), cmocka_unit_test(events),
        cmocka_unit_test(defaults_of_text),  cmocka_unit_test(an_epoch_is_every_item_once),
    };
    return cmocka_run_group_tests_name("trainer", tests, setup, teardown);
}
