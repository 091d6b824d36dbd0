/* gyeol bench: a whole model at a real shape with random weights, every figure as a share of what this machine was
 * measured to do in the same run. Rounds interleave what is compared; the first is discarded; medians are printed. */
#include "base/size.h"
#include "base/when.h"
#include "cli/bench.h"
#include "cli/cli.h"
#include "compute/limits.h"
#include "judge/onepass.h"
#include "model/generate.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_SHAPE = OPT_FIRST, OPT_ROUNDS, OPT_BASELINE, OPT_JSON };

/* A judgement's tokens: instruction (cached), post with its tail, and four branches; the earlier judge's calls. */
enum { PREFIX = 240, POST = 46, BRANCH = 6, ASK = 490, ANSWER = 60, DECIDE = 120, DECISION = 10 };

enum figure { PREFILL_64, DECODE, PREFILL_512, JUDGEMENT, FIGURES }; /* decoding goes on after the 64 */

struct bench {
    struct model *model;
    struct session *session;
    struct kv *kv, *post, *branch[AXES];
    struct matrix verbalisers;
    void *space;
    float *hidden, *logits;
    int32_t *ids;
    double seconds[FIGURES][BENCH_ROUNDS];
    double read[BENCH_ROUNDS],
        share[BENCH_ROUNDS]; /* bandwidth around each decoding, and decoding's share of it */
    struct limits limits;
};

struct arguments {
    const char *shape, *type, *model;
    int64_t rounds, threads;
    bool baseline, json;
};

static double linear_weights(const struct model *m)
{
    double n = 0;
    for (int i = 0; i < LINEARS; i++)
        n += (double)m->layer[0].w[i].rows * (double)m->layer[0].w[i].cols;
    return n * m->config.layers;
}

/* Bytes read for one generated token: the projections, and the head (the embedding gives one row). */
static double decode_bytes(const struct model *m)
{
    double n = (double)matrix_bytes(m->head.type, m->head.rows, m->head.cols);
    for (int i = 0; i < LINEARS; i++) {
        const struct matrix *w = &m->layer[0].w[i];
        n += (double)matrix_bytes(w->type, w->rows, w->cols) * m->config.layers;
    }
    return n;
}

static int set_up_model(struct bench *b, const struct arguments *o, struct err *e)
{
    struct config c;
    int type = model_type_parse(o->type), rc = bench_config(&c, o->shape, e);
    if (rc)
        return rc;
    if (type < 0 || type == MODEL_NF4)
        return err_set(e, ERR_USAGE, "--type %.40s: want f32, bf16, q8_0 or q4_0", o->type);
    return model_random(&b->model, &c, (enum model_type)type, 1, e);
}

static int set_up(struct bench *b, const struct arguments *o, struct err *e)
{
    const struct session_options so = {.tokens = 512, .positions = 768, .threads = (int)o->threads};
    const int32_t rows[AXES * 3] = {11, 22, 33, 44, 55, 66, 77, 88, 99, 110, 121, 132};
    int rc = set_up_model(b, o, e);
    if (rc)
        return rc;
    const struct config *c = &b->model->config;
    rc = session_new(&b->session, b->model, &so, e);
    if (!rc)
        rc = kv_new(&b->kv, b->model, NULL, 640, false, e);
    if (!rc)
        rc = kv_new(&b->post, b->model, b->kv, POST, false, e);
    for (int a = 0; !rc && a < AXES; a++)
        rc = kv_new(&b->branch[a], b->model, b->post, BRANCH, true, e);
    if (!rc)
        rc = model_head_rows(b->model, rows, AXES * 3, &b->verbalisers, &b->space, e);
    b->hidden = malloc((size_t)AXES * c->width * sizeof *b->hidden);
    b->logits = malloc((size_t)c->vocabulary * sizeof *b->logits);
    b->ids = malloc(1024 * sizeof *b->ids);
    if (!rc && (!b->hidden || !b->logits || !b->ids))
        rc = err_set(e, ERR_MEMORY, "out of memory");
    for (int i = 0; !rc && i < 1024; i++)
        b->ids[i] = (int32_t)((uint32_t)i * 7919u % c->vocabulary);
    return rc;
}

static void tear_down(struct bench *b)
{
    for (int a = 0; a < AXES; a++)
        kv_free(b->branch[a]);
    kv_free(b->post);
    kv_free(b->kv);
    session_free(b->session);
    model_close(b->model);
    free(b->space);
    free(b->hidden);
    free(b->logits);
    free(b->ids);
}

/* --- what is timed */

static int prefill(struct bench *b, size_t n, struct err *e)
{
    kv_truncate(b->kv, 0);
    return session_prefill(b->session, b->kv, b->ids, n, b->hidden, e);
}

static int decode(struct bench *b, size_t n, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++) {
        rc = session_prefill(b->session, b->kv, b->ids + i, 1, b->hidden, e);
        if (!rc)
            session_logits(b->session, &b->model->head, b->hidden, 1, b->logits, b->model->head.rows);
    }
    return rc;
}

static int judgement(struct bench *b, struct err *e)
{
    struct run run[1 + AXES];
    size_t wanted[AXES];
    kv_truncate(b->kv, PREFIX);
    kv_reuse(b->post, b->kv);
    run[0] = (struct run){.kv = b->post, .ids = b->ids + PREFIX, .n = POST};
    for (int a = 0; a < AXES; a++) {
        kv_reuse(b->branch[a], b->post);
        run[1 + a] = (struct run){.kv = b->branch[a], .ids = b->ids + 400 + 10 * a, .n = BRANCH};
        wanted[a] = POST + (size_t)(a + 1) * BRANCH - 1;
    }
    struct outputs out = {.wanted = wanted, .wanted_n = AXES, .hidden = b->hidden};
    int rc = session_forward(b->session, run, 1 + AXES, &out, e);
    if (!rc)
        session_logits(b->session, &b->verbalisers, b->hidden, AXES, b->logits, 16);
    return rc;
}

/* Four questions answered in words, and a call that decides: what one post cost before. */
static int baseline(struct bench *b, double *seconds, struct err *e)
{
    uint64_t start = when_monotonic_ns();
    int rc = 0;
    for (int a = 0; !rc && a < AXES; a++) {
        rc = prefill(b, ASK, e);
        if (!rc)
            rc = decode(b, ANSWER, e);
    }
    if (!rc)
        rc = prefill(b, DECIDE, e);
    if (!rc)
        rc = decode(b, DECISION, e);
    *seconds = (double)(when_monotonic_ns() - start) / 1e9;
    return rc;
}

static int timed(struct bench *b, enum figure f, double *seconds, struct err *e)
{
    enum { DECODED = 8 };
    if (f == JUDGEMENT && prefill(b, PREFIX, e))
        return e->code;
    uint64_t start = when_monotonic_ns();
    int rc = f == PREFILL_64    ? prefill(b, 64, e)
             : f == PREFILL_512 ? prefill(b, 512, e)
             : f == DECODE      ? decode(b, DECODED, e)
                                : judgement(b, e);
    *seconds = (double)(when_monotonic_ns() - start) / 1e9 / (f == DECODE ? DECODED : 1);
    return rc;
}

/* Memory's speed changes from minute to minute on shared machines: it is read right before and after decoding. */
static int decode_round(struct bench *b, int64_t round, double *seconds, struct err *e)
{
    const struct model *m = b->model;
    double before = limits_read(m->block, m->block_bytes);
    int rc = timed(b, DECODE, seconds, e);
    if (rc || round < 0)
        return rc;
    b->read[round] = (before + limits_read(m->block, m->block_bytes)) / 2;
    b->share[round] = decode_bytes(m) / *seconds / b->read[round];
    return 0;
}

static int measure(struct bench *b, const struct arguments *o, struct err *e)
{
    double warm_up = 0;
    int rc = limits_measure(&b->limits, b->model->kernels, e);
    for (int64_t r = -1; !rc && r < o->rounds; r++) {
        limits_again(&b->limits, NULL, 0);
        for (int f = 0; !rc && f < FIGURES; f++) {
            double *seconds = r < 0 ? &warm_up : &b->seconds[f][r];
            rc = f == DECODE ? decode_round(b, r, seconds, e) : timed(b, (enum figure)f, seconds, e);
        }
    }
    return rc;
}

static json_t *report(struct bench *b, const struct arguments *o, double baseline_s)
{
    double m[FIGURES], weights = linear_weights(b->model), bytes = decode_bytes(b->model);
    enum dtype t = b->model->layer[0].w[0].type;
    double peak = limits_of(&b->limits, t);
    for (int f = 0; f < FIGURES; f++)
        m[f] = bench_median(b->seconds[f], o->rounds);
    double ops64 = 2 * weights * 64 / m[PREFILL_64], ops512 = 2 * weights * 512 / m[PREFILL_512];
    double rate = bytes / m[DECODE], tokens = POST + AXES * BRANCH;
    double bound = 1.15 * tokens * m[PREFILL_64] / 64 + 0.010;
    json_t *v =
        json_pack("{s:s, s:s, s:s, s:i, s:I}", "shape", o->shape, "type", o->type, "isa",
                  b->model->kernels->isa, "threads", (int)o->threads, "rounds", (json_int_t)o->rounds);
    json_object_update_new(v, json_pack("{s:{s:o, s:o, s:o, s:o}}", "limits", "read_gb_s",
                                        cli_json_real(b->limits.read / 1e9, 2), "int8_gop_s",
                                        cli_json_real(b->limits.int8 / 1e9, 1), "bf16_gflop_s",
                                        cli_json_real(b->limits.bf16 / 1e9, 1), "f32_gflop_s",
                                        cli_json_real(b->limits.f32 / 1e9, 1)));
    json_object_update_new(
        v, json_pack("{s:{s:o, s:o}, s:{s:o, s:o}}", "prefill_64", "gop_s", cli_json_real(ops64 / 1e9, 1),
                     "of_peak", cli_json_real(ops64 / peak, 3), "prefill_512", "gop_s",
                     cli_json_real(ops512 / 1e9, 1), "of_peak", cli_json_real(ops512 / peak, 3)));
    json_object_update_new(v, json_pack("{s:{s:o, s:o, s:o}}", "decode", "tokens_s",
                                        cli_json_real(1 / m[DECODE], 2), "gb_s", cli_json_real(rate / 1e9, 2),
                                        "of_bandwidth", cli_json_real(bench_median(b->share, o->rounds), 3)));
    json_object_update_new(v, json_pack("{s:{s:o, s:o, s:o}}", "judgement", "tokens",
                                        cli_json_real(tokens, 0), "ms", cli_json_real(m[JUDGEMENT] * 1e3, 2),
                                        "bound_ms", cli_json_real(bound * 1e3, 2)));
    json_object_set_new(v, "per_axis_s", baseline_s > 0 ? cli_json_real(baseline_s, 2) : json_null());
    json_object_update_new(
        v, json_pack("{s:{s:o, s:o}}", "memory", "weights_mb",
                     cli_json_real((double)b->model->block_bytes / 1e6, 1), "beyond_them_mb",
                     cli_json_real((bench_memory("VmRSS:") - (double)b->model->block_bytes) / 1e6, 1)));
    return v;
}

static double number(const json_t *v, const char *group, const char *key)
{
    return json_number_value(json_object_get(group ? json_object_get(v, group) : v, key));
}

static int print(const json_t *v)
{
    printf("%s, random weights, %s, %s kernels, %d threads, medians of %d rounds\n\n",
           json_string_value(json_object_get(v, "shape")), json_string_value(json_object_get(v, "type")),
           json_string_value(json_object_get(v, "isa")), (int)number(v, NULL, "threads"),
           (int)number(v, NULL, "rounds"));
    printf("this machine          read %.1f GB/s   8-bit products %.0f GOP/s   bf16 %.0f GFLOP/s   f32 %.0f "
           "GFLOP/s\n",
           number(v, "limits", "read_gb_s"), number(v, "limits", "int8_gop_s"),
           number(v, "limits", "bf16_gflop_s"), number(v, "limits", "f32_gflop_s"));
    printf("prompt, 64 tokens     %.0f GOP/s, %.1f %% of the peak\n", number(v, "prefill_64", "gop_s"),
           100 * number(v, "prefill_64", "of_peak"));
    printf("prompt, 512 tokens    %.0f GOP/s, %.1f %% of the peak\n", number(v, "prefill_512", "gop_s"),
           100 * number(v, "prefill_512", "of_peak"));
    printf("generation            %.1f tokens/s, %.1f GB/s, %.1f %% of the read bandwidth\n",
           number(v, "decode", "tokens_s"), number(v, "decode", "gb_s"),
           100 * number(v, "decode", "of_bandwidth"));
    printf("one judgement         %.1f ms for %.0f tokens after the cached instruction; 1.15 x prompt speed "
           "+ 10 ms is "
           "%.1f ms\n",
           number(v, "judgement", "ms"), number(v, "judgement", "tokens"),
           number(v, "judgement", "bound_ms"));
    if (json_is_number(json_object_get(v, "per_axis_s")))
        printf("the same per axis     %.1f s (four questions of %d tokens answered in %d, and a deciding "
               "call)\n",
               number(v, NULL, "per_axis_s"), ASK, ANSWER);
    printf("memory                weights %.0f MB, %.0f MB beyond them\n", number(v, "memory", "weights_mb"),
           number(v, "memory", "beyond_them_mb"));
    return EXIT_OK;
}

static int bench_shape(const struct arguments *o, struct err *e)
{
    struct bench b = {0};
    double baseline_s = 0;
    int rc = set_up(&b, o, e);
    if (!rc)
        rc = measure(&b, o, e);
    if (!rc && o->baseline)
        rc = baseline(&b, &baseline_s, e);
    if (!rc) {
        json_t *v = report(&b, o, baseline_s);
        if (o->json) {
            rc = cli_print_json(v);
        } else {
            rc = print(v);
            json_decref(v);
        }
    }
    tear_down(&b);
    return rc;
}

/* --- starting with a model from a file */

enum { STEPS = 5 };

/* One judgement by the engine just opened, in milliseconds. */
static int first_judgement(struct engine *g, double *ms, struct err *e)
{
    const struct judge_input in = {
        .text = "주말엔 약속 없이 집에서 조용히 쉬는 게 제일 좋다. 누가 부르면 피곤하다"};
    struct judge_verdict v;
    struct judge *j;
    uint64_t start = when_monotonic_ns();
    int rc = onepass_over(&j, g, false, e);
    if (rc)
        return rc;
    rc = judge_text(j, &in, &v, e);
    *ms = (double)(when_monotonic_ns() - start) / 1e6;
    judge_close(j);
    return rc;
}

static int bench_start(const struct arguments *o, struct err *e)
{
    static const char *const steps[STEPS] = {"weights", "tokenizer", "adapter", "instruction", "judgement"};
    const struct judge_options jo = {.model = o->model, .type = o->type, .threads = (int)o->threads};
    struct engine *g;
    double total = 0, ms[STEPS];
    int rc = engine_open(&g, &jo, e);
    if (!rc)
        rc = first_judgement(g, &ms[STEPS - 1], e);
    if (rc) {
        engine_close(g);
        return rc;
    }
    memcpy(ms, g->open_ms, sizeof g->open_ms);
    for (size_t i = 0; i < STEPS; i++)
        total += ms[i];
    json_t *v =
        json_pack("{s:o, s:s}", "model", cli_json_text(o->model), "type", model_type_name[g->model->type]);
    for (size_t i = 0; i < STEPS; i++) {
        json_object_set_new(v, steps[i], cli_json_real(ms[i], 3));
        if (!o->json)
            printf("%-12s %9.2f ms  %5.1f %%\n", steps[i], ms[i], 100 * ms[i] / total);
    }
    json_object_set_new(v, "total", cli_json_real(total, 3));
    if (o->json)
        rc = cli_print_json(v);
    else
        printf("%-12s %9.2f ms, the instruction having %zu tokens\n", "altogether", total,
               g->prompt.prefix.n);
    if (!o->json)
        json_decref(v);
    engine_close(g);
    return rc;
}

static int take(struct arguments *o, int option, const char *value, struct err *e)
{
    switch (option) {
    case OPT_SHAPE:
        o->shape = value;
        return 0;
    case OPT_TYPE:
        o->type = value;
        return 0;
    case OPT_MODEL:
        o->model = value;
        return 0;
    case OPT_JUDGE_THREADS:
        return cli_number(&o->threads, "--threads", value, 1, 256, e);
    case OPT_ROUNDS:
        return cli_number(&o->rounds, "--rounds", value, 1, BENCH_ROUNDS, e);
    }
    *(option == OPT_JSON ? &o->json : &o->baseline) = true;
    return 0;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {{"shape", required_argument, NULL, OPT_SHAPE},
                                            {"type", required_argument, NULL, OPT_TYPE},
                                            {"model", required_argument, NULL, OPT_MODEL},
                                            {"threads", required_argument, NULL, OPT_JUDGE_THREADS},
                                            {"rounds", required_argument, NULL, OPT_ROUNDS},
                                            {"baseline", no_argument, NULL, OPT_BASELINE},
                                            {"json", no_argument, NULL, OPT_JSON},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct arguments o = {.rounds = 5, .threads = omp_get_max_threads()};
    struct err e;
    int c;
    while ((c = cli_option(&cmd_bench_model, argc, argv, options)) != -1) {
        if (c == 'h' || c == '?')
            return c == 'h' ? EXIT_OK : EXIT_USAGE;
        if (take(&o, c, optarg, &e))
            return cli_fail(&e);
    }
    if (argc != optind)
        return cli_usage(&cmd_bench_model, "%.40s: unexpected", argv[optind]);
    if (o.model && o.shape)
        return cli_usage(&cmd_bench_model, "--model times starting, --shape times running: one of them");
    omp_set_num_threads((int)o.threads);
    if (!o.model) {
        o.shape = o.shape ? o.shape : "hcx-1.5b";
        o.type = o.type ? o.type : "q4_0";
    }
    int rc = o.model ? bench_start(&o, &e) : bench_shape(&o, &e);
    return rc < 0 ? cli_fail(&e) : rc;
}

const struct command cmd_bench_model = {
    "bench", "speed of the engine against this machine's measured limits",
    "usage: gyeol bench [--shape NAME] [--type f32|bf16|q8_0|q4_0] [OPTIONS]\n"
    "       gyeol bench --model PATH [--type TYPE]\n"
    "       gyeol bench train [OPTIONS]\n"
    "       gyeol bench kernels [OPTIONS]\n\n"
    "Runs a model of a real shape with random weights: prompts of 64 and 512 tokens, generation, and one "
    "judgement of\n"
    "a 40-token post after the cached instruction. Every figure stands beside what this machine was measured "
    "to do in\n"
    "the same run. With --model: how long opening that model takes, step by step. train: a step of "
    "training.\n"
    "kernels: each kernel by itself.\n\n"
    "  --shape NAME         hcx-1.5b (default), hcx-0.5b, mini or tiny\n"
    "  --type TYPE          weights (default q4_0)\n"
    "  --threads N          (default: one per processor)\n"
    "  --rounds N           measurements of each figure (default 5); a first one is discarded\n"
    "  --baseline           also the earlier way: one question per axis, answered in words (takes a minute)\n"
    "  --json               one JSON object\n",
    run};
