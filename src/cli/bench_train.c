/* gyeol bench train: one step of training at a real shape with random weights, as a share of what this machine was
 * measured to multiply right before and after each step, and the memory of a process that does nothing else. */
#include "base/when.h"
#include "cli/bench.h"
#include "cli/cli.h"
#include "compute/limits.h"
#include "model/tape.h"
#include "train/trainer.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_SHAPE = OPT_FIRST, OPT_FULL, OPT_ROUNDS, OPT_JSON };

/* A post of training: its tokens, four of which are judged. Of text: tokens of a sequence, sequences of a pass. */
enum { POST = 128, VERDICTS = AXES, SEQUENCE = 256, SEQUENCES = 16 };

enum phase { FORWARD, BACKWARD, UPDATE, PHASES };
static const char *const phase_name[PHASES] = {"forward_ms", "backward_ms", "update_ms"};

struct arguments {
    const char *shape;
    int64_t rounds, threads;
    bool full, json;
};

struct bench {
    struct model *model;
    struct parameters *p;
    struct tape *tape;
    struct adamw *adam;
    struct tape_options o;
    int32_t *ids;
    struct tape_run run[SEQUENCES];
    struct target *target;
    size_t runs, targets;
    double lr;
    uint64_t steps;
    double first, last; /* losses */
    double seconds[PHASES][BENCH_ROUNDS], step[BENCH_ROUNDS];
    double peak_bytes, forecast; /* of the process after its first step */
    struct limits limits;
};

/* --- what a step works on */

/* Text: every token but the last of a sequence foretells the next. A post: its last tokens are judged. */
static void set_targets(struct bench *b, bool full)
{
    for (size_t r = 0; full && r < b->runs; r++)
        for (size_t i = 0; i + 1 < SEQUENCE; i++) {
            size_t at = r * SEQUENCE + i;
            b->target[b->targets++] = (struct target){
                .token = at, .id = b->ids[at + 1], .weight = 1.0f / (SEQUENCES * (SEQUENCE - 1))};
        }
    for (size_t i = 0; !full && i < VERDICTS; i++)
        b->target[b->targets++] =
            (struct target){.token = POST - VERDICTS + i, .id = b->ids[i], .weight = 1.0f / VERDICTS};
}

static int set_batch(struct bench *b, bool full, uint32_t vocabulary, struct err *e)
{
    size_t n = full ? SEQUENCE : POST;
    b->runs = full ? SEQUENCES : 1;
    b->ids = malloc(b->runs * n * sizeof *b->ids);
    b->target = malloc(b->runs * n * sizeof *b->target);
    if (!b->ids || !b->target)
        return err_set(e, ERR_MEMORY, "out of memory for %zu tokens", b->runs * n);
    for (size_t i = 0; i < b->runs * n; i++)
        b->ids[i] = (int32_t)((uint32_t)i * 7919u % vocabulary);
    for (size_t r = 0; r < b->runs; r++)
        b->run[r] = (struct tape_run){.ids = b->ids + r * n, .n = n, .parent = -1, .key = r};
    set_targets(b, full);
    b->o = (struct tape_options){.tokens = b->runs * n,
                                 .positions = n,
                                 .runs = b->runs,
                                 .targets = b->targets,
                                 .compute = trainer_compute(),
                                 .seed = 1};
    return 0;
}

static int new_parameters(struct bench *b, const struct arguments *o, const struct config *c, struct err *e)
{
    enum model_type whole = b->o.compute == DT_BF16 ? MODEL_BF16 : MODEL_F32;
    int rc = model_random(&b->model, c, o->full ? whole : trainer_defaults_lora.quant, 1, e);
    if (rc)
        return rc;
    if (!o->full)
        return parameters_lora(&b->p, b->model, &trainer_defaults_lora.lora, e);
    rc = parameters_full(&b->p, b->model, NULL, 1, e);
    if (!rc)
        parameters_sync(b->p, b->model);
    return rc;
}

static int set_up(struct bench *b, const struct arguments *o, struct err *e)
{
    const struct trainer_options *t = o->full ? &trainer_defaults_full : &trainer_defaults_lora;
    const struct adamw_options ao = {0.9, 0.999, 1e-8, t->weight_decay, t->optimizer_bits};
    struct config c;
    int rc = bench_config(&c, o->shape, e);
    if (!rc && o->full && c.width > 256)
        rc = err_set(e, ERR_USAGE, "--full trains small models: want --shape mini or tiny");
    if (!rc)
        rc = set_batch(b, o->full, c.vocabulary, e);
    if (!rc)
        rc = new_parameters(b, o, &c, e);
    if (!rc)
        rc = tape_new(&b->tape, b->model, b->p, &b->o, e);
    if (!rc)
        rc = adamw_new(&b->adam, b->p->count, &ao, e);
    b->lr = 3e-4; /* any: the time does not depend on it */
    return rc;
}

static void tear_down(struct bench *b)
{
    adamw_free(b->adam);
    tape_free(b->tape);
    parameters_free(b->p);
    model_close(b->model);
    free(b->target);
    free(b->ids);
}

/* --- a step */

/* seconds since *from, which becomes now. */
static double lap(uint64_t *from)
{
    uint64_t now = when_monotonic_ns();
    double seconds = (double)(now - *from) / 1e9;
    *from = now;
    return seconds;
}

/* What the trainer's step does (train/trainer.c). */
static int step(struct bench *b, double seconds[PHASES], struct err *e)
{
    uint64_t at = when_monotonic_ns();
    memset(b->p->grads, 0, b->p->count * sizeof *b->p->grads);
    int rc = tape_forward(b->tape, b->run, b->runs, b->target, b->targets, b->steps, true, &b->last, e);
    if (rc)
        return rc;
    seconds[FORWARD] = lap(&at);
    tape_backward(b->tape);
    seconds[BACKWARD] = lap(&at);
    double norm = gradient_norm(b->p->grads, b->p->count);
    adamw_step(b->adam, b->p->values, b->p->grads, b->lr, norm > 1 ? 1 / norm : 1);
    parameters_sync(b->p, b->model);
    seconds[UPDATE] = lap(&at);
    if (!isfinite(b->last) || !isfinite(norm))
        return err_set(e, ERR_STATE, "step %llu: loss %g, gradient %g: want numbers",
                       (unsigned long long)b->steps + 1, b->last, norm);
    if (!b->steps++)
        b->first = b->last;
    return 0;
}

static double bytes_of_parameters(const struct bench *b)
{
    double packed = 0;
    if (b->p->adapter)
        packed = (double)adapter_bytes(&b->model->config, trainer_defaults_lora.lora.rank,
                                       trainer_defaults_lora.lora.targets);
    return 2.0 * (double)b->p->count * sizeof(float) + packed;
}

static double bytes_of_tape(const struct bench *b)
{
    return (double)tape_bytes(&b->model->config, b->p, &b->o);
}

/* The first step warms up and shows the memory. */
static int measure(struct bench *b, const struct arguments *o, struct err *e)
{
    double seconds[PHASES];
    int rc = step(b, seconds, e);
    b->peak_bytes = bench_memory("VmHWM:");
    b->limits = (struct limits){.isa = b->model->kernels->isa, .threads = (int)o->threads};
    for (int64_t r = 0; !rc && r < o->rounds; r++) {
        limits_again(&b->limits, NULL, 0);
        rc = step(b, seconds, e);
        b->step[r] = 0;
        for (int i = 0; i < PHASES; i++) {
            b->seconds[i][r] = seconds[i];
            b->step[r] += seconds[i];
        }
    }
    limits_again(&b->limits, NULL, 0);
    return rc;
}

/* --- figures */

/* Operations of a step. LoRA: 4 for each of the decoder's linear weights and token, that is its forward pass and the
 * gradient of its input. All weights, the head's too: 6, with the weight's own gradient. */
static double operations(const struct bench *b, const struct arguments *o)
{
    double n = 0;
    for (int i = 0; i < LINEARS; i++)
        n += (double)b->model->layer[0].w[i].rows * (double)b->model->layer[0].w[i].cols;
    n *= b->model->config.layers;
    if (o->full)
        n += (double)b->model->head.rows * (double)b->model->head.cols;
    return n * (o->full ? 6 : 4) * (double)b->o.tokens;
}

/* What the project asks of a step: share of the peak, bytes of memory; NAN: nothing. */
static double bound_of_peak(const struct arguments *o)
{
    return o->full ? NAN : 0.5;
}

static double bound_of_memory(const struct arguments *o)
{
    if (o->full)
        return NAN;
    return strcmp(o->shape, "hcx-1.5b") == 0 ? 2.0e9 : strcmp(o->shape, "hcx-0.5b") == 0 ? 0.8e9 : NAN;
}

static json_t *megabytes(double bytes)
{
    return cli_json_real(bytes / 1e6, 2);
}

static json_t *memory_report(const struct bench *b, const struct arguments *o)
{
    double weights = (double)b->model->block_bytes, parameters = bytes_of_parameters(b);
    double tape = bytes_of_tape(b), optimizer = (double)adamw_bytes(b->p->count, 32);
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "weights_mb", megabytes(weights), "parameters_mb",
                     megabytes(parameters), "optimizer_mb", megabytes(optimizer), "tape_mb", megabytes(tape),
                     "forecast_mb", megabytes(weights + parameters + optimizer + tape), "peak_mb",
                     megabytes(b->peak_bytes), "bound_mb", megabytes(bound_of_memory(o)));
}

static json_t *step_report(struct bench *b, const struct arguments *o)
{
    double s = bench_median(b->step, o->rounds), rate = operations(b, o) / s;
    double peak = limits_of(&b->limits, b->o.compute); /* the median has sorted the steps */
    json_t *v = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "ms", cli_json_real(s * 1e3, 2), "tokens_s",
                          cli_json_real((double)b->o.tokens / s, 1), "gflop_s", cli_json_real(rate / 1e9, 4),
                          "of_peak", cli_json_real(rate / peak, 3), "best_of_peak",
                          cli_json_real(operations(b, o) / b->step[0] / peak, 3), "bound",
                          cli_json_real(bound_of_peak(o), 2));
    for (int i = 0; i < PHASES; i++)
        json_object_set_new(v, phase_name[i], cli_json_real(bench_median(b->seconds[i], o->rounds) * 1e3, 2));
    return v;
}

static json_t *report(struct bench *b, const struct arguments *o)
{
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:[o, o], s:{s:o, s:o}, s:o, s:o}", "shape", o->shape,
        "trains", o->full ? "full" : "lora", "isa", b->model->kernels->isa, "compute",
        dtype_info[b->o.compute].name, "threads", (int)o->threads, "rounds", (json_int_t)o->rounds, "tokens",
        (json_int_t)b->o.tokens, "targets", (json_int_t)b->targets, "trained", (json_int_t)b->p->count,
        "loss", cli_json_real(b->first, 6), cli_json_real(b->last, 6), "limits", "bf16_gflop_s",
        cli_json_real(b->limits.bf16 / 1e9, 1), "f32_gflop_s", cli_json_real(b->limits.f32 / 1e9, 1), "step",
        step_report(b, o), "memory", memory_report(b, o));
}

static double number(const json_t *v, const char *group, const char *key)
{
    const json_t *x = json_object_get(group ? json_object_get(v, group) : v, key);
    return json_is_number(x) ? json_number_value(x) : NAN;
}

static const char *text(const json_t *v, const char *key)
{
    return json_string_value(json_object_get(v, key));
}

static void print_memory(const json_t *v)
{
    double peak = number(v, "memory", "peak_mb"), bound = number(v, "memory", "bound_mb");
    printf("memory                weights %.0f MB, trained values %.0f, optimiser %.0f, passes %.0f: %.0f MB",
           number(v, "memory", "weights_mb"), number(v, "memory", "parameters_mb"),
           number(v, "memory", "optimizer_mb"), number(v, "memory", "tape_mb"),
           number(v, "memory", "forecast_mb"));
    if (!isnan(peak))
        printf("; resident at most %.0f MB", peak);
    if (!isnan(bound))
        printf(" (want at most %.0f)", bound);
    putchar('\n');
}

static int print(const json_t *v)
{
    bool full = strcmp(text(v, "trains"), "full") == 0;
    printf("%s, random weights, %s, %s kernels in %s, %d threads, medians of %d rounds\n\n", text(v, "shape"),
           full ? "all of them trained" : "nf4 under a LoRA adapter of rank 8 on q, k, v, o", text(v, "isa"),
           text(v, "compute"), (int)number(v, NULL, "threads"), (int)number(v, NULL, "rounds"));
    printf("this machine          bf16 %.0f GFLOP/s   f32 %.0f GFLOP/s\n",
           number(v, "limits", "bf16_gflop_s"), number(v, "limits", "f32_gflop_s"));
    printf("a step                %.0f ms for %.0f tokens: forward %.0f, backward %.0f, update %.1f; %.0f "
           "tokens/s\n",
           number(v, "step", "ms"), number(v, NULL, "tokens"), number(v, "step", "forward_ms"),
           number(v, "step", "backward_ms"), number(v, "step", "update_ms"), number(v, "step", "tokens_s"));
    printf("its products          %.0f GFLOP/s, %.1f %% of the peak in %s, the fastest step's %.1f %%",
           number(v, "step", "gflop_s"), 100 * number(v, "step", "of_peak"), text(v, "compute"),
           100 * number(v, "step", "best_of_peak"));
    if (!full)
        printf(" (want at least %.0f %%)", 100 * number(v, "step", "bound"));
    putchar('\n');
    print_memory(v);
    return EXIT_OK;
}

static int bench(const struct arguments *o, struct err *e)
{
    struct bench *b = calloc(1, sizeof *b);
    if (!b)
        return err_set(e, ERR_MEMORY, "out of memory");
    int rc = set_up(b, o, e);
    if (!rc)
        rc = measure(b, o, e);
    if (!rc) {
        json_t *v = report(b, o);
        if (o->json) {
            rc = cli_print_json(v);
        } else {
            rc = print(v);
            json_decref(v);
        }
    }
    tear_down(b);
    free(b);
    return rc;
}

static int take(struct arguments *o, int option, const char *value, struct err *e)
{
    switch (option) {
    case OPT_SHAPE:
        o->shape = value;
        return 0;
    case OPT_JUDGE_THREADS:
        return cli_number(&o->threads, "--threads", value, 1, 256, e);
    case OPT_ROUNDS:
        return cli_number(&o->rounds, "--rounds", value, 1, BENCH_ROUNDS, e);
    }
    *(option == OPT_JSON ? &o->json : &o->full) = true;
    return 0;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {{"shape", required_argument, NULL, OPT_SHAPE},
                                            {"full", no_argument, NULL, OPT_FULL},
                                            {"threads", required_argument, NULL, OPT_JUDGE_THREADS},
                                            {"rounds", required_argument, NULL, OPT_ROUNDS},
                                            {"json", no_argument, NULL, OPT_JSON},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct arguments o = {.rounds = 5, .threads = omp_get_max_threads()};
    struct err e;
    int c;
    while ((c = cli_option(&cmd_bench_train, argc, argv, options)) != -1) {
        if (c == 'h' || c == '?')
            return c == 'h' ? EXIT_OK : EXIT_USAGE;
        if (take(&o, c, optarg, &e))
            return cli_fail(&e);
    }
    if (argc != optind)
        return cli_usage(&cmd_bench_train, "%.40s: unexpected", argv[optind]);
    if (!o.shape)
        o.shape = o.full ? "mini" : "hcx-1.5b";
    omp_set_num_threads((int)o.threads);
    int rc = bench(&o, &e);
    return rc < 0 ? cli_fail(&e) : rc;
}

const struct command cmd_bench_train = {
    "bench train", "a step of training",
    "usage: gyeol bench train [--shape NAME] [--full] [OPTIONS]\n\n"
    "Times a step of training (forward, backward, AdamW) at a real shape with random weights: a LoRA adapter "
    "as\n"
    "`gyeol train lora` makes it by default over a base in NF4, one post of 128 tokens judged at four; or "
    "with --full\n"
    "all weights on 16 sequences of 256 tokens of text. Operations are counted as 4 (--full: 6) for each "
    "weight and\n"
    "token, and stand beside what this machine was measured to do before and after each step. Memory is what "
    "the\n"
    "process had resident at most when it had done one step and nothing else.\n\n"
    "  --shape NAME         hcx-1.5b (default), hcx-0.5b, mini (default with --full) or tiny\n"
    "  --full               train all weights (mini and tiny)\n"
    "  --threads N          (default: one per processor)\n"
    "  --rounds N           steps to take the median of (default 5); a first one is discarded\n"
    "  --json               one JSON object\n",
    run};
