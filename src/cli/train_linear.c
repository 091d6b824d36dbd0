#include "base/file.h"
#include "base/log.h"
#include "base/stop.h"
#include "cli/cli.h"
#include "train/linear_train.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

enum {
    OPT_DATA = OPT_FIRST,
    OPT_DEV,
    OPT_OUT,
    OPT_SEED,
    OPT_EPOCHS,
    OPT_L2,
    OPT_RATE,
    OPT_BUDGET,
    OPT_THREADS,
    OPT_JSON
};

static const struct option options[] = {{"data", required_argument, NULL, OPT_DATA},
                                        {"dev", required_argument, NULL, OPT_DEV},
                                        {"out", required_argument, NULL, OPT_OUT},
                                        {"seed", required_argument, NULL, OPT_SEED},
                                        {"epochs", required_argument, NULL, OPT_EPOCHS},
                                        {"l2", required_argument, NULL, OPT_L2},
                                        {"lr", required_argument, NULL, OPT_RATE},
                                        {"budget", required_argument, NULL, OPT_BUDGET},
                                        {"threads", required_argument, NULL, OPT_THREADS},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"help", no_argument, NULL, 'h'},
                                        {0}};

struct arguments {
    const char *data, *dev, *out;
    struct linear_options linear;
    bool json;
};

static int take(struct arguments *o, int option, const char *value, struct err *e)
{
    int64_t n = 0;
    int rc;
    switch (option) {
    case OPT_DATA:
        o->data = value;
        return 0;
    case OPT_DEV:
        o->dev = value;
        return 0;
    case OPT_OUT:
        o->out = value;
        return 0;
    case OPT_SEED:
        rc = cli_number(&n, "--seed", value, 0, INT64_MAX, e);
        o->linear.softmax.seed = (uint64_t)n;
        return rc;
    case OPT_EPOCHS:
        rc = cli_number(&n, "--epochs", value, 1, 10000, e);
        o->linear.softmax.epochs = (int)n;
        return rc;
    case OPT_THREADS:
        rc = cli_number(&n, "--threads", value, 1, 256, e);
        if (!rc)
            omp_set_num_threads((int)n);
        return rc;
    case OPT_L2:
        return cli_real(&o->linear.softmax.l2, "--l2", value, 1e-12, 1, e);
    case OPT_RATE:
        return cli_real(&o->linear.softmax.rate, "--lr", value, 1e-6, 100, e);
    case OPT_BUDGET:
        return cli_real(&o->linear.budget, "--budget", value, 0, 1, e);
    }
    o->json = true;
    return 0;
}

static json_t *guard_json(const struct linear_fit *f)
{
    return json_pack("{s:I, s:o, s:o, s:o}", "rows", (json_int_t)f->guard_rows, "threshold",
                     cli_json_real(f->guard_threshold, 4), "caught", cli_json_real(f->guard_caught, 4),
                     "false", cli_json_real(f->guard_false, 4));
}

static int print_fit(const struct arguments *o, const struct linear_fit *f, size_t train, size_t dev)
{
    json_t *axes = json_object();
    for (int a = 0; a < AXES; a++) {
        json_object_set_new(
            axes, axis_info[a].key,
            json_pack("{s:o, s:o, s:o, s:o}", "temperature", cli_json_real(f->temperature[a], 4), "threshold",
                      cli_json_real(f->threshold[a], 4), "meaningful", cli_json_real(f->meaningful[a], 4),
                      "unneeded", cli_json_real(f->unneeded[a], 4)));
        if (!o->json)
            printf("%s  temperature %.2f  threshold %.2f  on dev: meaningful %.3f, unneeded %.3f\n",
                   axis_info[a].key, f->temperature[a], f->threshold[a], f->meaningful[a], f->unneeded[a]);
    }
    if (o->json)
        return cli_print_json(json_pack("{s:s, s:I, s:I, s:I, s:o, s:o}", "out", o->out, "train_rows",
                                        (json_int_t)train, "dev_rows", (json_int_t)dev, "seed",
                                        (json_int_t)o->linear.softmax.seed, "axes", axes, "guard",
                                        guard_json(f)));
    json_decref(axes);
    if (f->guard_rows)
        printf("guard  threshold %.2f  on dev: masks a sentence in %.3f of the posts that talk to the judge, "
               "in %.3f of "
               "the others\n",
               f->guard_threshold, f->guard_caught, f->guard_false);
    printf("%s written: %zu training rows, %zu dev rows, seed %llu\n", o->out, train, dev,
           (unsigned long long)o->linear.softmax.seed);
    return EXIT_OK;
}

static void notice_ignored(const char *path, const struct labelled_posts *p)
{
    if (*p->ignored)
        log_write(LOG_WARN, "%s: ignored columns: %s", path, p->ignored);
}

static int train(const struct arguments *o, struct err *e)
{
    struct labelled_posts data = {0}, dev = {0};
    struct linear_fit fit;
    struct buf file = {0};
    int rc = labelled_read(&data, o->data, e);
    if (!rc)
        rc = labelled_read(&dev, o->dev, e);
    if (!rc) {
        notice_ignored(o->data, &data);
        notice_ignored(o->dev, &dev);
        rc = linear_train(&file, &fit, &data, &dev, &o->linear, e);
    }
    if (!rc)
        rc = file_write(o->out, file.data, file.len, e);
    if (!rc)
        rc = print_fit(o, &fit, data.n, dev.n);
    buf_deinit(&file);
    labelled_deinit(&data);
    labelled_deinit(&dev);
    return rc;
}

static int run(int argc, char **argv)
{
    struct arguments o = {.linear = LINEAR_OPTIONS_DEFAULT};
    struct err e;
    int c;
    while ((c = cli_option(&cmd_train_linear, argc, argv, options)) != -1) {
        if (c == 'h' || c == '?')
            return c == 'h' ? EXIT_OK : EXIT_USAGE;
        if (take(&o, c, optarg, &e))
            return cli_fail(&e);
    }
    if (argc != optind)
        return cli_usage(&cmd_train_linear, "%.40s: unexpected", argv[optind]);
    if (!o.data || !o.dev || !o.out)
        return cli_usage(&cmd_train_linear, "%s is missing", !o.data ? "--data" : !o.dev ? "--dev" : "--out");
    stop_install();
    int rc = train(&o, &e);
    return rc < 0 ? cli_fail(&e) : rc;
}

const struct command cmd_train_linear = {
    "train linear", "fit the linear judge",
    "usage: gyeol train linear --data TRAIN.tsv --dev DEV.tsv --out FILE.gyl [OPTIONS]\n\n"
    "Fits the linear judge: softmax regression on hashed n-grams, calibrated on dev, with a decision "
    "threshold per\n"
    "axis that keeps unneeded changes on dev within the budget. The same data, options and machine give the "
    "same\n"
    "file, bit for bit, whatever the number of threads. The data format is in docs/DATA.md.\n\n"
    "  --data FILE          posts to learn from\n"
    "  --dev FILE           posts to calibrate on and to choose thresholds\n"
    "  --out FILE           where the judge goes; replaced as a whole or not at all\n"
    "  --budget X           unneeded changes allowed on dev, per axis, 0 to 1 (default 0.05)\n"
    "  --epochs N           passes over the data (default 30)\n"
    "  --lr X               learning rate (default 2)\n"
    "  --l2 X               L2 regularisation (default 3e-6)\n"
    "  --seed N             order of the rows (default 1)\n"
    "  --threads N          at most 4 are of use: one per axis (default: one per processor)\n"
    "  --json               the result as JSON\n",
    run};
