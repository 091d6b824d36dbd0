#include "report/chart.h"

#include "base/size.h"
#include "report/html.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Units of the drawing: about pixels on a wide screen, a few tenths smaller on a phone. */
enum { WIDTH = 440, HEIGHT = 264, RIGHT = 18, BOTTOM = 40, LEGEND_ROW = 18, DIGIT = 7, POINTS_MAX = 40 };
#define TICKS_Y 5
#define TICKS_X 6

/* clang-format off */
const char chart_style[] =
    ".chart{margin:0;background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.5rem}\n"
    ".chart svg{display:block;width:100%;height:auto}\n"
    ".chart text{fill:var(--soft);font-size:12px;font-family:inherit}\n"
    ".chart .title{fill:var(--ink);font-size:14px;font-weight:600}\n"
    ".chart .grid{stroke:var(--grid)}.chart .axis{stroke:var(--mark)}\n"
    ".chart .mark{stroke:var(--mark);stroke-dasharray:3 3}"
    ".chart .tag{paint-order:stroke;stroke:var(--card);stroke-width:5px;stroke-linejoin:round}\n"
    ".chart .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}\n"
    ".chart .thin{stroke-width:1}\n"
    ".chart .point{stroke:var(--card);stroke-width:1}\n"
    ".chart .s0{stroke:var(--c0)}.chart .s1{stroke:var(--c1)}.chart .s2{stroke:var(--c2)}"
    ".chart .s3{stroke:var(--c3)}\n"
    ".chart .p0{fill:var(--c0)}.chart .p1{fill:var(--c1)}.chart .p2{fill:var(--c2)}.chart .p3{fill:var(--c3)}\n";
/* clang-format on */

struct axis_scale {
    double from, to, step; /* ticks at whole multiples of step */
    double at, length;     /* in the drawing: where `from` is; may run backwards */
};

struct drawing {
    const struct chart *chart;
    struct axis_scale x, y;
    int left, top, bottom; /* the plot's edges */
};

/* ---- scales ---- */

/* The largest step of 1, 2, 5 x 10^k that makes at most `ticks` parts is too fine; the next one is right. */
static double round_step(double span, int ticks)
{
    double raw = span / ticks, ten = pow(10, floor(log10(raw)));
    static const double times[] = {1, 2, 5, 10};
    for (size_t i = 0; i < COUNT_OF(times); i++)
        if (times[i] * ten >= raw * (1 - 1e-9))
            return times[i] * ten;
    return 10 * ten;
}

/* Values that are the same, or but for rounding, get some room around them. */
static void widen(double *low, double *high)
{
    double size = fmax(fabs(*low), fabs(*high));
    if (*high - *low <= size * 1e-9) {
        double more = size > 0 ? size / 10 : 1;
        *low -= more;
        *high += more;
    }
}

/* y: whole steps, so that every line lies between two ticks. x: just the data, and 0 where it is near. */
static struct axis_scale scale_of(double low, double high, int ticks, bool whole)
{
    widen(&low, &high);
    struct axis_scale a = {low, high, round_step(high - low, ticks), 0, 0};
    if (whole) {
        a.from = floor(low / a.step + 1e-9) * a.step;
        a.to = ceil(high / a.step - 1e-9) * a.step;
    } else if (low > 0 && low < a.step) {
        a.from = 0;
    }
    return a;
}

static double place(const struct axis_scale *a, double v)
{
    return a->at + a->length * ((v - a->from) / (a->to - a->from));
}

static bool shown(const struct chart_series *s, size_t i)
{
    return isfinite(s->x[i]) && isfinite(s->y[i]);
}

static size_t count_shown(const struct chart_series *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += shown(s, i);
    return n;
}

static bool find_range(const struct chart *c, double x[2], double y[2])
{
    x[0] = y[0] = INFINITY;
    x[1] = y[1] = -INFINITY;
    for (size_t k = 0; k < c->n; k++)
        for (size_t i = 0; i < c->series[k].n; i++) {
            const struct chart_series *s = &c->series[k];
            if (!shown(s, i))
                continue;
            x[0] = fmin(x[0], s->x[i]);
            x[1] = fmax(x[1], s->x[i]);
            y[0] = fmin(y[0], s->y[i]);
            y[1] = fmax(y[1], s->y[i]);
        }
    if (c->from_zero && y[0] > 0)
        y[0] = 0;
    return x[0] <= x[1];
}

/* ---- words ---- */

/* A tick's number, with as many digits as tell it from the next: 0.25, 20k, 1.5e-4. */
static void tick_text(char out[32], double v, double step)
{
    double size = fmax(fabs(v), step);
    int digits = (int)ceil(log10(size / step) - 1e-9) + 2;
    if (fabs(v) < step / 1000) {
        snprintf(out, 32, "0");
    } else if (size >= 1e6) {
        snprintf(out, 32, "%.*gM", digits, v / 1e6);
    } else if (size >= 1e4) {
        snprintf(out, 32, "%.*gk", digits, v / 1e3);
    } else if (step >= 1e-3 || size >= 0.01) {
        snprintf(out, 32, "%.*f", step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9), v);
    } else {
        int power = (int)floor(log10(fabs(v)) + 1e-9);
        snprintf(out, 32, "%.*ge%d", digits, v / pow(10, power), power);
    }
}

static double text_width(const char *s)
{
    double w = 0;
    for (; *s; s++)
        w += ((unsigned char)*s & 0xC0) == 0x80 ? 0 : (unsigned char)*s < 0x80 ? 7.2 : 12;
    return w;
}

static void value_text(struct buf *out, const struct chart *c, const struct chart_series *s, size_t i)
{
    buf_str(out, "<title>");
    html_text(out, s->name);
    buf_printf(out, " %.4g (", s->y[i]);
    html_text(out, c->x_label);
    buf_printf(out, " %.6g)</title>", s->x[i]);
}

/* ---- axes ---- */

static void draw_y(struct buf *out, const struct drawing *d)
{
    const struct axis_scale *a = &d->y;
    for (long k = lround(a->from / a->step); (double)k * a->step <= a->to + a->step / 1000; k++) {
        char label[32];
        double v = (double)k * a->step, y = place(a, v);
        tick_text(label, v, a->step);
        buf_printf(out,
                   "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>"
                   "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                   d->left, y, WIDTH - RIGHT, y, d->left - 6, y + 4, label);
    }
}

static void draw_x(struct buf *out, const struct drawing *d)
{
    const struct axis_scale *a = &d->x;
    buf_printf(out, "<line class=\"axis\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n", d->left, d->bottom,
               WIDTH - RIGHT, d->bottom);
    for (long k = (long)ceil(a->from / a->step - 1e-9); (double)k * a->step <= a->to + a->step / 1000; k++) {
        char label[32];
        double v = (double)k * a->step, x = place(a, v);
        tick_text(label, v, a->step);
        buf_printf(out,
                   "<line class=\"axis\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>"
                   "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
                   x, d->bottom, x, d->bottom + 4, x, d->bottom + 17, label);
    }
    buf_printf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (d->left + WIDTH - RIGHT) / 2,
               HEIGHT - 5);
    html_text(out, d->chart->x_label);
    buf_str(out, "</text>\n");
}

static void draw_mark(struct buf *out, const struct drawing *d)
{
    const struct chart *c = d->chart;
    if (!(c->mark_x >= d->x.from && c->mark_x <= d->x.to) || !c->mark)
        return;
    double x = place(&d->x, c->mark_x);
    bool left = x > (d->left + WIDTH) / 2.0;
    buf_printf(out,
               "<line class=\"mark\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>"
               "<text class=\"tag\" x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">",
               x, d->top, x, d->bottom, left ? x - 5 : x + 5, d->top + 11, left ? "end" : "start");
    html_text(out, c->mark);
    buf_str(out, "</text>\n");
}

/* ---- series ---- */

/* A form of its own for each: circle, square, triangle, diamond. */
static void begin_point(struct buf *out, size_t k, double x, double y)
{
    static const char *const form[] = {
        "M%.1f %.1fm-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z", "M%.1f %.1fm-3.2 -3.2h6.4v6.4h-6.4z",
        "M%.1f %.1fm0 -4.2l4.2 7.4h-8.4z", "M%.1f %.1fm0 -4.4l4.4 4.4l-4.4 4.4l-4.4 -4.4z"};
    char d[96];
    snprintf(d, sizeof d, form[k % COUNT_OF(form)], x, y);
    buf_printf(out, "<path class=\"point p%zu\" d=\"%s\">", k, d);
}

static void draw_points(struct buf *out, const struct drawing *d, size_t k)
{
    const struct chart_series *s = &d->chart->series[k];
    size_t n = count_shown(s);
    if (n > POINTS_MAX || (n > 1 && !s->points))
        return; /* but a single one has no line */
    for (size_t i = 0; i < s->n; i++)
        if (shown(s, i)) {
            begin_point(out, k, place(&d->x, s->x[i]), place(&d->y, s->y[i]));
            value_text(out, d->chart, s, i);
            buf_str(out, "</path>\n");
        }
}

/* The values of one column of pixels. */
struct column {
    long at;
    size_t low, high;
    bool any;
};

static void add_point(struct buf *out, const struct drawing *d, const struct chart_series *s, size_t i,
                      bool *begun)
{
    buf_printf(out, "%s%.1f %.1f", *begun ? "L" : "M", place(&d->x, s->x[i]), place(&d->y, s->y[i]));
    *begun = true;
}

static void add_column(struct buf *out, const struct drawing *d, const struct chart_series *s,
                       const struct column *c, bool *begun)
{
    size_t first = c->low < c->high ? c->low : c->high, second = c->low < c->high ? c->high : c->low;
    if (!c->any)
        return;
    add_point(out, d, s, first, begun);
    if (second != first)
        add_point(out, d, s, second, begun);
}

static void draw_line(struct buf *out, const struct drawing *d, size_t k)
{
    const struct chart_series *s = &d->chart->series[k];
    bool dense = count_shown(s) > 2 * WIDTH, begun = false;
    struct column c = {0};
    buf_printf(out, "<path class=\"line%s s%zu\" d=\"", dense ? " thin" : "", k);
    for (size_t i = 0; i < s->n; i++) {
        if (!shown(s, i))
            continue;
        long at = dense ? lround(place(&d->x, s->x[i])) : (long)i;
        if (c.any && at != c.at) {
            add_column(out, d, s, &c, &begun);
            c.any = false;
        }
        if (!c.any)
            c = (struct column){at, i, i, true};
        if (s->y[i] < s->y[c.low])
            c.low = i;
        if (s->y[i] > s->y[c.high])
            c.high = i;
    }
    add_column(out, d, s, &c, &begun);
    buf_str(out, "\"/>\n");
}

/* ---- legend ---- */

/* Draws it, or with out NULL only counts its rows. A single series is named by the title. */
static int draw_legend(struct buf *out, const struct chart *c, int y)
{
    double x = 10;
    int rows = 0;
    size_t series = 0;
    for (size_t k = 0; k < c->n; k++)
        series += count_shown(&c->series[k]) > 0;
    for (size_t k = 0; k < c->n && series > 1; k++) {
        if (count_shown(&c->series[k]) == 0)
            continue;
        double width = 28 + text_width(c->series[k].name) + 14;
        if (rows == 0 || x + width > WIDTH - RIGHT) {
            x = 10;
            rows++;
        }
        int at = y + (rows - 1) * LEGEND_ROW;
        if (out) {
            buf_printf(out, "<path class=\"line s%zu\" d=\"M%.1f %dh20\"/>", k, x, at);
            if (c->series[k].points) {
                begin_point(out, k, x + 10, at);
                buf_str(out, "</path>");
            }
            buf_printf(out, "<text x=\"%.1f\" y=\"%d\">", x + 26, at + 4);
            html_text(out, c->series[k].name);
            buf_str(out, "</text>\n");
        }
        x += width;
    }
    return rows;
}

/* ---- the whole ---- */

static int label_space(const struct axis_scale *a)
{
    size_t most = 1;
    for (long k = lround(a->from / a->step); (double)k * a->step <= a->to + a->step / 1000; k++) {
        char label[32];
        tick_text(label, (double)k * a->step, a->step);
        most = strlen(label) > most ? strlen(label) : most;
    }
    return 14 + DIGIT * (int)most;
}

static bool lay_out(struct drawing *d, const struct chart *c)
{
    double x[2], y[2];
    if (!find_range(c, x, y))
        return false;
    *d = (struct drawing){
        .chart = c, .x = scale_of(x[0], x[1], TICKS_X, false), .y = scale_of(y[0], y[1], TICKS_Y, true)};
    d->left = label_space(&d->y);
    d->top = 34 + LEGEND_ROW * draw_legend(NULL, c, 0);
    d->bottom = HEIGHT - BOTTOM;
    d->x.at = d->left;
    d->x.length = WIDTH - RIGHT - d->left;
    d->y.at = d->bottom;
    d->y.length = d->top - d->bottom;
    return true;
}

bool chart_draw(struct buf *out, const struct chart *c)
{
    struct drawing d;
    if (!lay_out(&d, c))
        return false;
    buf_printf(out, "<figure class=\"chart\"><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH,
               HEIGHT);
    html_text(out, c->title);
    buf_str(out, "\">\n<text class=\"title\" x=\"10\" y=\"19\">");
    html_text(out, c->title);
    buf_str(out, "</text>\n");
    draw_legend(out, c, 36);
    draw_y(out, &d);
    draw_x(out, &d);
    for (size_t k = 0; k < c->n; k++) {
        draw_line(out, &d, k);
        draw_points(out, &d, k);
    }
    draw_mark(out, &d);
    buf_str(out, "</svg></figure>\n");
    return true;
}
