#include "report/html.h"

#include "base/size.h"
#include "report/chart.h"

#include <stddef.h>
#include <string.h>

/* What a first byte promises, and the range of the second (Unicode 15, table 3-7); the rest is 80..BF. */
static const struct {
    unsigned char from, to, low, high, bytes;
} lead[] = {{0x00, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
            {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
            {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4}};

/* Bytes of the well-formed UTF-8 character at s, or 0. s ends with a NUL. */
static size_t character(const unsigned char *s)
{
    size_t k = 0;
    while (k < COUNT_OF(lead) && !(s[0] >= lead[k].from && s[0] <= lead[k].to))
        k++;
    if (k == COUNT_OF(lead) || (lead[k].bytes > 1 && !(s[1] >= lead[k].low && s[1] <= lead[k].high)))
        return 0;
    for (size_t i = 2; i < lead[k].bytes; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    return lead[k].bytes;
}

static const char *entity(unsigned char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return c < 0x20 || c == 0x7F ? " " : NULL;
    }
}

void html_text(struct buf *out, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        size_t n = character(s);
        const char *instead = n == 0 ? "\xEF\xBF\xBD" : n == 1 ? entity(*s) : NULL;
        if (instead)
            buf_str(out, instead);
        else
            buf_add(out, s, n);
        s += n ? n : 1;
    }
}

/* clang-format off */
static const char style[] =
    ":root{color-scheme:light dark;--page:#f7f7f4;--card:#fff;--ink:#1c1e21;--soft:#5d636b;--line:#dfe0da;"
    "--grid:#e9e9e4;--c0:#2361b5;--c1:#c4540a;--c2:#0b7d6b;--c3:#8a3fa0;--mark:#8b9098;--best:#eef3fb}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#15171a;--card:#1d2024;--ink:#e8e9ea;--soft:#a2a8b0;"
    "--line:#33373d;--grid:#2a2e33;--c0:#79aef5;--c1:#f2a25c;--c2:#4fc7b0;--c3:#cf9be0;--mark:#7d848d;"
    "--best:#22303f}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--page);color:var(--ink);-webkit-text-size-adjust:100%;"
    "font:16px/1.5 system-ui,-apple-system,'Segoe UI','Noto Sans KR','Noto Sans CJK KR',sans-serif}\n"
    "main{max-width:66rem;margin:0 auto;padding:1.5rem 1rem 3rem}\n"
    "header{margin-bottom:1.25rem}\n"
    "h1{font-size:1.6rem;line-height:1.25;margin:0 0 .25rem;overflow-wrap:anywhere}\n"
    "h2{font-size:1.1rem;margin:2rem 0 .6rem}\n"
    "p{margin:.3rem 0;max-width:46rem}\n"
    ".soft{color:var(--soft)}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.2rem,1fr));gap:.6rem}\n"
    ".tiles div{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.6rem .8rem}\n"
    ".tiles b{display:block;font-size:1.35rem;line-height:1.3;font-variant-numeric:tabular-nums}\n"
    ".tiles span{color:var(--soft);font-size:.82rem;line-height:1.3;display:block}\n"
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:.8rem}\n"
    ".wide{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:.6rem}\n"
    "table{border-collapse:collapse;width:100%;font-size:.9rem}\n"
    "th,td{padding:.38rem .8rem;text-align:left;border-top:1px solid var(--grid);vertical-align:top}\n"
    "tr:first-child>*{border-top:0}\n"
    "th{font-weight:500;color:var(--soft);white-space:nowrap}\n"
    "td{overflow-wrap:anywhere}\n"
    ".figures th,.figures td{text-align:right;padding-left:.5rem;padding-right:.6rem;"
    "white-space:nowrap;font-variant-numeric:tabular-nums}\n"
    ".best>*{background:var(--best);font-weight:600}\n"
    "code{font:.86em/1.4 ui-monospace,Consolas,'DejaVu Sans Mono',monospace;overflow-wrap:anywhere}\n"
    "summary{cursor:pointer;padding:.4rem 0}\n"
    "footer{margin-top:2rem;color:var(--soft);font-size:.85rem}\n"
    "@media print{:root{color-scheme:light;--page:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;"
    "--grid:#ddd;--c0:#2361b5;--c1:#c4540a;--c2:#0b7d6b;--c3:#8a3fa0;--mark:#777;--best:#eee}"
    "body{font-size:11pt}main{max-width:none;padding:0}.charts{grid-template-columns:1fr 1fr}"
    ".chart,.tiles div,tr{break-inside:avoid}h2{break-after:avoid}.wide{overflow:visible}}\n";
/* clang-format on */

void html_begin(struct buf *out, const char *title)
{
    buf_str(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    html_text(out, title);
    buf_str(out, "</title>\n<style>\n");
    buf_str(out, style);
    buf_str(out, chart_style);
    buf_str(out, "</style>\n</head>\n<body>\n<main>\n");
}

void html_end(struct buf *out)
{
    buf_str(out, "</main>\n</body>\n</html>\n");
}
