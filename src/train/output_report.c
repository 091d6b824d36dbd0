/* report.html: the curves of a run, what it was made of, and the weights that were kept. */
#include "base/size.h"
#include "report/chart.h"
#include "report/html.h"
#include "train/output_int.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- columns of the records ---- */

static double field(const struct train_record *r, size_t offset)
{
    double v;
    memcpy(&v, (const char *)r + offset, sizeof v);
    return v;
}

#define FIELD(name)  offsetof(struct train_record, name)
#define FIGURE(name) (FIELD(dev) + (name) * sizeof(double))

static const struct curves {
    const char *title;
    bool from_zero, of_weights; /* of_weights: shows how good the weights were, so the kept ones are marked */
    struct {
        const char *name; /* NULL: no more */
        size_t offset;
        bool points;
    } series[CHART_SERIES_MAX];
} charts[] = {
    {"Loss", false, true, {{"training", FIELD(loss), false}, {"dev", FIELD(dev_loss), true}}},
    {"Dev split: what is found",
     false,
     true,
     {{"direction accuracy", FIGURE(METRIC_DIRECTION), true},
      {"balanced", FIGURE(METRIC_BALANCED), true},
      {"meaningful changes", FIGURE(METRIC_MEANINGFUL), true}}},
    {"Dev split: what goes wrong",
     true,
     true,
     {{"unneeded changes", FIGURE(METRIC_UNNEEDED), true},
      {"wrong direction", FIGURE(METRIC_WRONG), true},
      {"calibration error", FIGURE(METRIC_ECE), true}}},
    {"Learning rate", true, false, {{"learning rate", FIELD(lr), false}}},
    {"Gradient norm, before clipping", true, false, {{"gradient norm", FIELD(grad_norm), false}}},
    {"Tokens per second", true, false, {{"tokens per second", FIELD(tokens_per_s), false}}},
};

/* Columns of numbers for the charts: the steps, then one per series. */
static void draw(struct buf *out, const struct curves *k, const struct output_run *r, double *space)
{
    const struct train_record *best = output_best(r);
    struct chart c = {.title = k->title,
                      .x_label = "step",
                      .from_zero = k->from_zero,
                      .mark_x = best && k->of_weights ? (double)best->step : NAN,
                      .mark = "kept"};
    double *x = space;
    for (size_t i = 0; i < r->records; i++)
        x[i] = (double)r->record[i].step;
    for (; c.n < CHART_SERIES_MAX && k->series[c.n].name; c.n++) {
        double *y = space + (c.n + 1) * r->records;
        for (size_t i = 0; i < r->records; i++)
            y[i] = field(&r->record[i], k->series[c.n].offset);
        c.series[c.n] = (struct chart_series){k->series[c.n].name, x, y, r->records, k->series[c.n].points};
    }
    chart_draw(out, &c);
}

static int draw_charts(struct buf *out, const struct output_run *r, struct err *e)
{
    double *space = calloc(r->records + 1, (CHART_SERIES_MAX + 1) * sizeof *space);
    if (!space)
        return err_set(e, ERR_MEMORY, "out of memory");
    buf_str(out, "<section>\n<h2>Curves</h2>\n<div class=\"charts\">\n");
    if (!r->records)
        buf_str(out, "<p class=\"soft\">No step has been recorded yet.</p>\n");
    for (size_t i = 0; i < COUNT_OF(charts); i++)
        draw(out, &charts[i], r, space);
    buf_str(out, "</div>\n</section>\n");
    free(space);
    return 0;
}

/* ---- what was kept ---- */

static void tile(struct buf *out, const char *what, const char *figure)
{
    buf_str(out, "<div><b>");
    html_text(out, figure);
    buf_str(out, "</b><span>");
    html_text(out, what);
    buf_str(out, "</span></div>\n");
}

static void tile_number(struct buf *out, const char *what, double v, int decimals)
{
    char text[OUTPUT_NUMBER_MAX];
    if (isfinite(v))
        tile(out, what, output_figure(text, v, decimals));
}

static void put_tiles(struct buf *out, const struct output_run *r)
{
    const struct train_record *best = output_best(r);
    char text[OUTPUT_NUMBER_MAX];
    buf_str(out, "<section>\n<div class=\"tiles\">\n");
    if (best) {
        tile_number(out, "step kept", (double)best->step, 0);
        tile_number(out, "dev loss", best->dev_loss, 4);
        tile_number(out, "direction accuracy (dev)", output_dev(r, METRIC_DIRECTION), 3);
        tile_number(out, "meaningful changes (dev)", output_dev(r, METRIC_MEANINGFUL), 3);
        tile_number(out, "unneeded changes (dev)", output_dev(r, METRIC_UNNEEDED), 3);
    } else if (r->records) {
        tile_number(out, "last step", (double)r->record[r->records - 1].step, 0);
        tile_number(out, "training loss", r->record[r->records - 1].loss, 4);
    }
    if (r->seconds > 0)
        tile(out, "training time", output_duration(text, r->seconds));
    buf_str(out, "</div>\n</section>\n");
}

static void put_head(struct buf *out, const struct output_run *r)
{
    buf_str(out, "<header>\n<h1>");
    html_text(out, r->name);
    buf_str(out, "</h1>\n<p class=\"soft\">");
    html_text(out, output_method(r));
    if (output_has(r->base)) {
        buf_str(out, " over ");
        html_text(out, r->base);
    }
    buf_str(out, "</p>\n");
    if (output_has(r->ended)) {
        buf_str(out, "<p>");
        html_text(out, r->ended);
        buf_str(out, ".</p>\n");
    }
    buf_str(out, "</header>\n");
}

/* ---- tables ---- */

static const struct {
    const char *name;
    size_t offset;
    int decimals;
} figure_column[] = {
    {"epoch", FIELD(epoch), 2},
    {"training loss", FIELD(loss), 4},
    {"dev loss", FIELD(dev_loss), 4},
    {"direction", FIGURE(METRIC_DIRECTION), 3},
    {"balanced", FIGURE(METRIC_BALANCED), 3},
    {"meaningful", FIGURE(METRIC_MEANINGFUL), 3},
    {"unneeded", FIGURE(METRIC_UNNEEDED), 3},
    {"wrong", FIGURE(METRIC_WRONG), 3},
    {"macro F1", FIGURE(METRIC_MACRO_F1), 3},
    {"AUC", FIGURE(METRIC_AUC), 3},
    {"ECE", FIGURE(METRIC_ECE), 3},
};

static bool evaluated(const struct train_record *r)
{
    bool any = isfinite(r->dev_loss);
    for (int i = 0; i < METRICS; i++)
        any |= isfinite(r->dev[i]);
    return any;
}

/* A column that has nothing to show is not shown: training on text has no figures but the loss. */
static bool shown(const struct output_run *r, size_t column)
{
    for (size_t i = 0; i < r->records; i++)
        if (evaluated(&r->record[i]) && isfinite(field(&r->record[i], figure_column[column].offset)))
            return true;
    return false;
}

static void put_evaluation(struct buf *out, const struct output_run *r, size_t i, const bool *show)
{
    char text[OUTPUT_NUMBER_MAX];
    buf_printf(out, "<tr%s><th scope=\"row\">%llu</th>", i == r->best ? " class=\"best\"" : "",
               (unsigned long long)r->record[i].step);
    for (size_t c = 0; c < COUNT_OF(figure_column); c++)
        if (show[c])
            buf_printf(out, "<td>%s</td>",
                       output_figure(text, field(&r->record[i], figure_column[c].offset),
                                     figure_column[c].decimals));
    buf_str(out, "</tr>\n");
}

static void put_evaluations(struct buf *out, const struct output_run *r)
{
    bool show[COUNT_OF(figure_column)], any = false;
    for (size_t c = 0; c < COUNT_OF(figure_column); c++)
        any |= show[c] = shown(r, c);
    if (!any)
        return;
    buf_str(out, "<section>\n<h2>Evaluations on the dev split</h2>\n");
    if (r->finished)
        buf_str(out, "<p class=\"soft\">While training, before calibration; the figures above are of the "
                     "finished judge.</p>\n");
    buf_str(out, "<div class=\"wide\">\n<table class=\"figures\">\n<thead><tr><th scope=\"col\">step</th>");
    for (size_t c = 0; c < COUNT_OF(figure_column); c++)
        if (show[c])
            buf_printf(out, "<th scope=\"col\">%s</th>", figure_column[c].name);
    buf_str(out, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < r->records; i++)
        if (evaluated(&r->record[i]))
            put_evaluation(out, r, i, show);
    buf_str(out, "</tbody>\n</table>\n</div>\n</section>\n");
}

static void row(struct buf *out, const char *name, const char *value, bool code)
{
    if (!output_has(value))
        return;
    buf_str(out, "<tr><th scope=\"row\">");
    html_text(out, name);
    buf_str(out, code ? "</th><td><code>" : "</th><td>");
    html_text(out, value);
    buf_str(out, code ? "</code></td></tr>\n" : "</td></tr>\n");
}

static void begin_table(struct buf *out, const char *title)
{
    buf_str(out, "<section>\n<h2>");
    html_text(out, title);
    buf_str(out, "</h2>\n<div class=\"wide\">\n<table>\n<tbody>\n");
}

static void end_table(struct buf *out)
{
    buf_str(out, "</tbody>\n</table>\n</div>\n</section>\n");
}

static void put_settings(struct buf *out, const struct output_run *r)
{
    char number[OUTPUT_NUMBER_MAX];
    begin_table(out, "Hyperparameters");
    for (size_t i = 0; i < r->settings; i++)
        row(out, r->setting[i].name, r->setting[i].value, false);
    snprintf(number, sizeof number, "%llu", (unsigned long long)r->steps);
    row(out, "steps planned", r->steps ? number : "", false);
    snprintf(number, sizeof number, "%llu", (unsigned long long)r->seed);
    row(out, "seed", number, false);
    end_table(out);
}

static void put_origins(struct buf *out, const struct output_run *r)
{
    begin_table(out, "Made from");
    row(out, "base", r->base, false);
    row(out, "base SHA-256", r->base_sha256, true);
    row(out, "training data", r->data, false);
    row(out, "data SHA-256", r->data_sha256, true);
    row(out, "dev data", r->dev, false);
    row(out, "dev SHA-256", r->dev_sha256, true);
    row(out, "chat template", r->chat, false);
    row(out, "prompt SHA-256", r->prompt_sha256, true);
    end_table(out);
}

static int write_page(const char *dir, const struct output_run *r, struct err *e)
{
    struct buf out = {0};
    html_begin(&out, r->name);
    put_head(&out, r);
    put_tiles(&out, r);
    int rc = draw_charts(&out, r, e);
    put_evaluations(&out, r);
    put_settings(&out, r);
    put_origins(&out, r);
    buf_str(&out, "<footer>Written by gyeol " GYEOL_VERSION ". The numbers behind the curves are in "
                  "metrics.csv.</footer>\n");
    html_end(&out);
    if (!rc)
        rc = output_text(dir, "report.html", &out, e);
    buf_deinit(&out);
    return rc;
}

int output_report(const char *dir, const struct output_run *r, struct err *e)
{
    int rc = output_metrics(dir, r, e);
    return rc ? rc : write_page(dir, r, e);
}
