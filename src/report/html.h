/* Pages that stand alone: one file of HTML with its style inside, nothing fetched, no script. Readable on a
 * phone and on paper, in light and in dark. */
#ifndef GYEOL_REPORT_HTML_H
#define GYEOL_REPORT_HTML_H

#include "base/buf.h"

/* Appends text with what HTML would read as markup escaped; control characters become spaces, bytes that are
 * no UTF-8 become U+FFFD. Safe between tags and inside quoted attributes. */
void html_text(struct buf *out, const char *s);

/* A page's beginning, up to and with <main>, and its end. `title` is text. What stands in between is written
 * by the caller; the style knows header, section, .tiles (<div><b>figure</b><span>what</span></div>), .charts
 * (report/chart.h), .wide (tables that may scroll), table, code, tr.best. */
void html_begin(struct buf *out, const char *title);
void html_end(struct buf *out);

#endif
