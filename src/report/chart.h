/* Line charts as SVG for pages (report/html.h): title, axes with round ticks, legend, one marked place. Colours
 * are the page's (--c0 .. --c3), so a chart is right in light, in dark and on paper; lines differ by their
 * points' form too. */
#ifndef GYEOL_REPORT_CHART_H
#define GYEOL_REPORT_CHART_H

#include "base/buf.h"

#include <stddef.h>

#define CHART_SERIES_MAX 4

struct chart_series {
    const char *name;    /* for the legend */
    const double *x, *y; /* [n], x never falling; what is no number is left out */
    size_t n;
    bool points; /* draw each of them, not the line alone */
};

struct chart {
    const char *title, *x_label; /* text */
    struct chart_series series[CHART_SERIES_MAX];
    size_t n;
    bool from_zero;   /* the y axis begins at 0 */
    double mark_x;    /* a vertical line here, named `mark`; NAN: none */
    const char *mark; /* text */
};

/* Appends one <figure class="chart">; false, and nothing appended, when no series has a number to show. A line
 * of very many points is drawn through the lowest and highest of each column of pixels. */
bool chart_draw(struct buf *out, const struct chart *c);

extern const char chart_style[]; /* CSS that a page with charts needs */

#endif
