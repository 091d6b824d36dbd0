#include "cli/train_options.h"

#include "base/progress.h"
#include "base/size.h"
#include "base/stop.h"
#include "cli/train_report.h"
#include "train/world.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

enum {
    OPT_DATA = OPT_FIRST,
    OPT_DEV,
    OPT_OUT,
    OPT_SCRATCH,
    OPT_QUANT,
    OPT_RANK,
    OPT_ALPHA,
    OPT_RSLORA,
    OPT_DROPOUT,
    OPT_TARGETS,
    OPT_EPOCHS,
    OPT_STEPS,
    OPT_BATCH,
    OPT_ACCUMULATE,
    OPT_SEQ,
    OPT_LR,
    OPT_SCHEDULE,
    OPT_WARMUP,
    OPT_DECAY,
    OPT_CLIP,
    OPT_BITS,
    OPT_SEED,
    OPT_EVAL,
    OPT_PATIENCE,
    OPT_METRIC,
    OPT_BUDGET,
    OPT_REASON,
    OPT_WORD_DROPOUT,
    OPT_CLASSES,
    OPT_SAVE,
    OPT_RESUME,
    OPT_STOP,
    OPT_RECOMPUTE,
    OPT_COMPUTE,
    OPT_JSON
};

struct train_arguments {
    struct trainer_options o;
    bool json;
};

static const struct option both[] = {{"model", required_argument, NULL, OPT_MODEL},
                                     {"data", required_argument, NULL, OPT_DATA},
                                     {"dev", required_argument, NULL, OPT_DEV},
                                     {"out", required_argument, NULL, OPT_OUT},
                                     {"epochs", required_argument, NULL, OPT_EPOCHS},
                                     {"steps", required_argument, NULL, OPT_STEPS},
                                     {"batch", required_argument, NULL, OPT_BATCH},
                                     {"accumulate", required_argument, NULL, OPT_ACCUMULATE},
                                     {"seq", required_argument, NULL, OPT_SEQ},
                                     {"lr", required_argument, NULL, OPT_LR},
                                     {"schedule", required_argument, NULL, OPT_SCHEDULE},
                                     {"warmup", required_argument, NULL, OPT_WARMUP},
                                     {"weight-decay", required_argument, NULL, OPT_DECAY},
                                     {"clip", required_argument, NULL, OPT_CLIP},
                                     {"optimizer-bits", required_argument, NULL, OPT_BITS},
                                     {"seed", required_argument, NULL, OPT_SEED},
                                     {"eval-every", required_argument, NULL, OPT_EVAL},
                                     {"patience", required_argument, NULL, OPT_PATIENCE},
                                     {"metric", required_argument, NULL, OPT_METRIC},
                                     {"budget", required_argument, NULL, OPT_BUDGET},
                                     {"reason-weight", required_argument, NULL, OPT_REASON},
                                     {"word-dropout", required_argument, NULL, OPT_WORD_DROPOUT},
                                     {"class-weights", required_argument, NULL, OPT_CLASSES},
                                     {"save-every", required_argument, NULL, OPT_SAVE},
                                     {"resume", no_argument, NULL, OPT_RESUME},
                                     {"stop-after", required_argument, NULL, OPT_STOP},
                                     {"checkpointing", no_argument, NULL, OPT_RECOMPUTE},
                                     {"compute", required_argument, NULL, OPT_COMPUTE},
                                     {"template", required_argument, NULL, OPT_TEMPLATE},
                                     {"threads", required_argument, NULL, OPT_JUDGE_THREADS},
                                     {"json", no_argument, NULL, OPT_JSON},
                                     {"help", no_argument, NULL, 'h'}};
static const struct option lora[] = {
    {"quant", required_argument, NULL, OPT_QUANT},     {"rank", required_argument, NULL, OPT_RANK},
    {"alpha", required_argument, NULL, OPT_ALPHA},     {"rslora", no_argument, NULL, OPT_RSLORA},
    {"dropout", required_argument, NULL, OPT_DROPOUT}, {"targets", required_argument, NULL, OPT_TARGETS}};
static const struct option full[] = {{"scratch", required_argument, NULL, OPT_SCRATCH}};

static void make_table(struct option *table, bool is_full)
{
    memcpy(table, both, sizeof both);
    if (is_full)
        memcpy(table + COUNT_OF(both), full, sizeof full);
    else
        memcpy(table + COUNT_OF(both), lora, sizeof lora);
}

/* ---- values ---- */

static int count(uint64_t *out, const char *name, const char *text, int64_t lo, int64_t hi, struct err *e)
{
    int64_t n = 0;
    int rc = cli_number(&n, name, text, lo, hi, e);
    if (!rc)
        *out = (uint64_t)n;
    return rc;
}

static int size(size_t *out, const char *name, const char *text, int64_t hi, struct err *e)
{
    uint64_t n = 0;
    int rc = count(&n, name, text, 1, hi, e);
    if (!rc)
        *out = (size_t)n;
    return rc;
}

static int single(float *out, const char *name, const char *text, double lo, double hi, struct err *e)
{
    double v = 0;
    int rc = cli_real(&v, name, text, lo, hi, e);
    if (!rc)
        *out = (float)v;
    return rc;
}

/* Index of text among the words, or ERR_USAGE listing them. */
static int word(int *out, const char *name, const char *text, const char *const *words, int n, struct err *e)
{
    char list[120] = "";
    for (int i = 0; i < n; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i;
            return 0;
        }
        size_t k = strlen(list);
        snprintf(list + k, sizeof list - k, "%s%s", i ? ", " : "", words[i]);
    }
    return err_set(e, ERR_USAGE, "%s %.40s: want %s", name, text, list);
}

/* "q,k,v,o", "gate,up,down", "all". */
static int targets(unsigned *out, const char *text, struct err *e)
{
    static const char *const name[LINEARS] = {"q", "k", "v", "o", "gate", "up", "down"};
    unsigned bits = strcmp(text, "all") == 0 ? (1u << LINEARS) - 1 : 0;
    for (const char *at = text; !bits || at != text;) {
        size_t n = strcspn(at, ",");
        int i = 0;
        while (i < LINEARS && (strlen(name[i]) != n || strncmp(at, name[i], n) != 0))
            i++;
        if (i == LINEARS)
            return err_set(e, ERR_USAGE,
                           "--targets %.60s: want all, or some of q,k,v,o,gate,up,down separated by commas",
                           text);
        bits |= 1u << i;
        at += n;
        if (!*at++)
            break;
    }
    *out = bits;
    return 0;
}

static int take_lora(struct trainer_options *o, int option, const char *value, struct err *e)
{
    uint64_t n = 0;
    int rc, t = 0;
    switch (option) {
    case OPT_QUANT:
        t = model_type_parse(value);
        if (t < 0 || t == MODEL_Q4_0)
            return err_set(e, ERR_USAGE, "--quant %.40s: want nf4, q8_0, bf16, f32", value);
        o->quant = (enum model_type)t;
        return 0;
    case OPT_RANK:
        rc = count(&n, "--rank", value, 1, ADAPTER_RANK_MAX, e);
        o->lora.rank = (uint32_t)n;
        return rc;
    case OPT_ALPHA:
        return single(&o->lora.alpha, "--alpha", value, 1e-6, 1e6, e);
    case OPT_RSLORA:
        o->lora.rslora = true;
        return 0;
    case OPT_DROPOUT:
        return single(&o->lora.dropout, "--dropout", value, 0, 0.9, e);
    default:
        return targets(&o->lora.targets, value, e);
    }
}

static int take_optimizer(struct trainer_options *o, int option, const char *value, struct err *e)
{
    static const char *const schedules[] = {"cosine", "linear", "constant"};
    static const char *const bits[] = {"32", "8"};
    int i = 0, rc;
    switch (option) {
    case OPT_LR:
        return cli_real(&o->lr, "--lr", value, 0, 10, e);
    case OPT_SCHEDULE:
        rc = word(&i, "--schedule", value, schedules, 3, e);
        o->schedule = (enum schedule)i;
        return rc;
    case OPT_WARMUP:
        return cli_number(&o->warmup, "--warmup", value, 0, INT64_MAX, e);
    case OPT_DECAY:
        return cli_real(&o->weight_decay, "--weight-decay", value, 0, 10, e);
    case OPT_CLIP:
        return cli_real(&o->clip, "--clip", value, 0, 1e9, e);
    default:
        rc = word(&i, "--optimizer-bits", value, bits, 2, e);
        o->optimizer_bits = i ? 8 : 32;
        return rc;
    }
}

static int take_evaluation(struct trainer_options *o, int option, const char *value, struct err *e)
{
    static const char *const yes_no[] = {"yes", "no"};
    int i = 0, rc;
    switch (option) {
    case OPT_EVAL:
        return count(&o->eval_every, "--eval-every", value, 1, INT64_MAX, e);
    case OPT_PATIENCE:
        return count(&o->patience, "--patience", value, 0, INT64_MAX, e);
    case OPT_METRIC:
        rc = word(&i, "--metric", value, trainer_metric_name, 2, e);
        o->metric = (enum trainer_metric)i;
        return rc;
    case OPT_BUDGET:
        return cli_real(&o->budget, "--budget", value, 0, 1, e);
    case OPT_WORD_DROPOUT:
        return cli_real(&o->word_dropout, "--word-dropout", value, 0, 0.9, e);
    case OPT_REASON:
        return cli_real(&o->reason_weight, "--reason-weight", value, 0, 1000, e);
    default:
        rc = word(&i, "--class-weights", value, yes_no, 2, e);
        o->no_class_weights = i == 1;
        return rc;
    }
}

static int take_run(struct trainer_options *o, int option, const char *value, struct err *e)
{
    static const char *const types[] = {"f32", "bf16"};
    uint64_t n = 0;
    int i = 0, rc;
    switch (option) {
    case OPT_EPOCHS:
        return count(&o->epochs, "--epochs", value, 1, INT64_MAX, e);
    case OPT_STEPS:
        return count(&o->steps, "--steps", value, 1, INT64_MAX, e);
    case OPT_BATCH:
        return size(&o->batch, "--batch", value, 65536, e);
    case OPT_ACCUMULATE:
        return size(&o->accumulate, "--accumulate", value, 65536, e);
    case OPT_SEQ:
        return size(&o->seq, "--seq", value, 1 << 15, e);
    case OPT_SEED:
        return count(&o->seed, "--seed", value, 0, INT64_MAX, e);
    case OPT_SAVE:
        return count(&o->save_every, "--save-every", value, 1, INT64_MAX, e);
    case OPT_STOP:
        return count(&o->stop_after, "--stop-after", value, 1, INT64_MAX, e);
    case OPT_COMPUTE:
        rc = word(&i, "--compute", value, types, 2, e);
        o->compute = i ? DT_BF16 : DT_F32;
        return rc;
    default:
        rc = count(&n, "--threads", value, 1, 256, e);
        o->threads = (int)n;
        return rc;
    }
}

static bool take_path(struct train_arguments *a, int option, const char *value)
{
    struct trainer_options *o = &a->o;
    const char **path = option == OPT_MODEL      ? &o->model
                        : option == OPT_SCRATCH  ? &o->scratch
                        : option == OPT_DATA     ? &o->data
                        : option == OPT_DEV      ? &o->dev
                        : option == OPT_OUT      ? &o->out
                        : option == OPT_TEMPLATE ? &o->chat
                                                 : NULL;
    if (path)
        *path = value;
    o->resume |= option == OPT_RESUME;
    o->checkpointing |= option == OPT_RECOMPUTE;
    a->json |= option == OPT_JSON;
    return path || option == OPT_RESUME || option == OPT_RECOMPUTE || option == OPT_JSON;
}

static int take(struct train_arguments *a, int option, const char *value, struct err *e)
{
    if (take_path(a, option, value))
        return 0;
    if (option >= OPT_QUANT && option <= OPT_TARGETS)
        return take_lora(&a->o, option, value, e);
    if (option >= OPT_LR && option <= OPT_BITS)
        return take_optimizer(&a->o, option, value, e);
    if (option >= OPT_EVAL && option <= OPT_CLASSES)
        return take_evaluation(&a->o, option, value, e);
    return take_run(&a->o, option, value, e);
}

/* ---- the command ---- */

static int check(const struct command *c, const struct trainer_options *o, int argc, char **argv)
{
    if (argc != optind)
        return cli_usage(c, "%.40s: unexpected", argv[optind]);
    if (o->full && !o->model == !o->scratch)
        return cli_usage(c, "want --model, or --scratch for weights drawn at random");
    if (!o->full && !o->model)
        return cli_usage(c, "--model is missing");
    if (!o->data || !o->out)
        return cli_usage(c, "%s is missing", !o->data ? "--data" : "--out");
    return EXIT_OK;
}

static int parse(const struct command *c, struct train_arguments *a, int argc, char **argv)
{
    struct option table[COUNT_OF(both) + COUNT_OF(lora) + 1] = {0};
    struct err e;
    int option;
    make_table(table, a->o.full);
    while ((option = cli_option(c, argc, argv, table)) != -1) {
        if (option == 'h' || option == '?')
            return option == 'h' ? -1 : EXIT_USAGE;
        if (take(a, option, optarg, &e))
            return cli_fail(&e);
    }
    return check(c, &a->o, argc, argv);
}

int train_main(const struct command *c, const struct trainer_options *defaults, int argc, char **argv)
{
    struct train_arguments a = {.o = *defaults};
    struct err e;
    world_init(&argc, &argv);
    int status = parse(c, &a, argc, argv);
    if (status == 0) {
        if (a.o.threads)
            omp_set_num_threads(a.o.threads);
        stop_install();
        struct train_report report;
        struct trainer_result result;
        struct trainer_events events = train_report_start(&report);
        int rc = trainer_run(&a.o, &events, &result, &e);
        train_report_finish(&report);
        status = rc ? cli_fail(&e) : train_report_result(&a.o, &result, a.json);
    }
    world_finish(status < 0 ? 0 : status);
    return status < 0 ? EXIT_OK : status;
}
