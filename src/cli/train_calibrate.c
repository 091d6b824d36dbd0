#include "base/log.h"
#include "base/progress.h"
#include "base/stop.h"
#include "cli/cli.h"
#include "train/engine_calibrate.h"

#include <stdio.h>
#include <string.h>

enum { OPT_DATA = OPT_FIRST, OPT_BUDGET, OPT_JSON };

static const struct option options[] = {JUDGE_OPTIONS,
                                        {"data", required_argument, NULL, OPT_DATA},
                                        {"budget", required_argument, NULL, OPT_BUDGET},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"help", no_argument, NULL, 'h'},
                                        {0}};

struct arguments {
    struct judge_options judge;
    const char *data;
    double budget;
    bool json;
};

static void show(void *context, size_t rows)
{
    progress_update(context, rows);
}

static int print_fit(const struct arguments *o, const struct engine *g, const struct calibrate_fit *f)
{
    json_t *axes = json_object();
    for (int a = 0; a < AXES; a++) {
        const struct calibration_axis *k = &g->calibration.axis[a];
        json_object_set_new(
            axes, axis_info[a].key,
            json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "temperature", cli_json_real(1 / k->scale, 4),
                      "threshold", cli_json_real(k->threshold, 4), "loss_before",
                      cli_json_real(f->before[a], 4), "loss_after", cli_json_real(f->after[a], 4),
                      "meaningful", cli_json_real(f->meaningful[a], 4), "unneeded",
                      cli_json_real(f->unneeded[a], 4)));
        if (!o->json)
            printf(
                "%s  temperature %.2f  threshold %.2f  loss %.3f, was %.3f  meaningful %.3f, unneeded %.3f\n",
                axis_info[a].key, 1 / k->scale, k->threshold, f->after[a], f->before[a], f->meaningful[a],
                f->unneeded[a]);
    }
    if (o->json)
        return cli_print_json(json_pack("{s:o, s:I, s:o, s:o}", "data", cli_json_text(o->data), "rows",
                                        (json_int_t)g->calibration.rows, "out", cli_json_text(g->home),
                                        "axes", axes));
    json_decref(axes);
    printf("%s written: calibrated on %lld rows\n", g->home, (long long)g->calibration.rows);
    return EXIT_OK;
}

static int calibrate(struct arguments *o, struct err *e)
{
    struct labelled_posts dev = {0};
    struct engine *g = NULL;
    struct calibrate_fit fit;
    struct progress bar;
    int rc = labelled_read(&dev, o->data, e);
    if (!rc && *dev.ignored)
        log_write(LOG_WARN, "%s: ignored columns: %s", o->data, dev.ignored);
    if (!rc)
        rc = engine_open(&g, &o->judge, e);
    if (!rc) {
        progress_start(&bar, "judging", dev.n);
        rc = engine_calibrate(g, &dev, o->budget, &fit, show, &bar, e);
        progress_finish(&bar);
    }
    if (!rc)
        rc = engine_save_calibration(g, e);
    if (!rc)
        rc = print_fit(o, g, &fit);
    engine_close(g);
    labelled_deinit(&dev);
    return rc;
}

static int check(struct arguments *o, int argc, char **argv)
{
    struct err e;
    if (argc != optind)
        return cli_usage(&cmd_train_calibrate, "%.40s: unexpected", argv[optind]);
    if (!o->data)
        return cli_usage(&cmd_train_calibrate, "--data is missing");
    if (o->judge.mode && strcmp(o->judge.mode, "one-pass") != 0)
        return cli_usage(&cmd_train_calibrate, "--mode %.40s: one-pass alone is calibrated here",
                         o->judge.mode);
    if (cli_judge_defaults(&o->judge, &e))
        return cli_fail(&e);
    if (!o->judge.model)
        return cli_usage(&cmd_train_calibrate,
                         "--model is missing: the judge compiled in is calibrated already");
    return EXIT_OK;
}

static int run(int argc, char **argv)
{
    struct arguments o = {.budget = 0.05, .judge.recalibrate = true};
    struct err e = {0};
    int c, rc = 0;
    while ((c = cli_option(&cmd_train_calibrate, argc, argv, options)) != -1) {
        if (c == 'h' || c == '?')
            return c == 'h' ? EXIT_OK : EXIT_USAGE;
        if (c == OPT_DATA)
            o.data = optarg;
        else if (c == OPT_BUDGET)
            rc = cli_real(&o.budget, "--budget", optarg, 0, 1, &e);
        else if (c == OPT_JSON)
            o.json = true;
        else
            cli_judge_option(&o.judge, c, optarg);
        if (rc)
            return cli_fail(&e);
    }
    rc = check(&o, argc, argv);
    if (rc)
        return rc;
    stop_install();
    rc = calibrate(&o, &e);
    return rc < 0 ? cli_fail(&e) : rc;
}

const struct command cmd_train_calibrate = {
    "train calibrate", "make a language model's probabilities honest",
    "usage: gyeol train calibrate --model PATH --data DEV.tsv [OPTIONS]\n\n"
    "Judges the posts, fits one temperature, two biases and one decision threshold per axis, and keeps them "
    "in the\n"
    "gyeol.json of the adapter, of the judge or model directory, or beside the GGUF file "
    "(FILE.gyeol.json).\n\n"
    "  --data FILE          labelled posts that the model was not trained on\n"
    "  --budget X           unneeded changes allowed on them, per axis, 0 to 1 (default 0.05)\n"
    "  --json               the result as JSON\n" JUDGE_HELP,
    run};
