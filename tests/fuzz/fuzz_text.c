/* A post, as the linear judge compiled in sees it, and a time. The bytes after the first NUL, if any, are the
 * mission. Whatever they are, a verdict is a set of probabilities, and its quotes lie in the text. */
#include "base/when.h"
#include "judge/judge.h"
#include "text/utf8.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct judge *judge;

static bool inside(const char *text, const struct judge_axis *x)
{
    size_t n = strlen(text), end = x->quote + x->quote_len;
    if (x->quote > n || x->quote_len > n - x->quote)
        return false;
    if ((text[x->quote] & 0xC0) == 0x80 || (text[end] & 0xC0) == 0x80)
        return false;
    return memchr(text + x->quote, '\n', x->quote_len) == NULL;
}

static void check_axis(const char *text, const struct judge_axis *x, bool too_short)
{
    double sum = x->up + x->keep + x->down;
    if (!isfinite(sum) || fabs(sum - 1) > 1e-9 || x->up < 0 || x->keep < 0 || x->down < 0)
        abort();
    if (!inside(text, x) || (x->decision != DECISION_KEEP) != (x->quote_len > 0))
        abort();
    if (too_short && (x->decision != DECISION_KEEP || x->keep != 1))
        abort();
}

static void check_message(const struct err *e, int rc)
{
    if (e->code != rc || !*e->msg || strpbrk(e->msg, "\r\n"))
        abort();
}

static void check_judge(const char *text, const char *mission)
{
    struct err e = {0};
    struct judge_verdict v;
    int rc = judge_text(judge, &(struct judge_input){text, mission}, &v, &e);
    size_t n = strlen(text);
    if (rc) {
        bool expected = n > JUDGE_TEXT_MAX ? rc == ERR_LIMIT : rc == ERR_FORMAT && !utf8_valid(text, n, NULL);
        if (!expected || !utf8_valid(e.msg, strlen(e.msg), NULL))
            abort();
        check_message(&e, rc);
        return;
    }
    if (!utf8_valid(text, n, NULL))
        abort();
    for (int a = 0; a < AXES; a++)
        check_axis(text, &v.axis[a], v.too_short);
}

/* What is read as a time is written as one that reads the same. */
static void check_when(const char *text)
{
    struct err e = {0};
    int64_t ms, again;
    char out[WHEN_TEXT];
    int rc = when_parse(&ms, text, &e);
    if (rc) {
        check_message(&e, rc);
        return;
    }
    when_format(out, ms);
    if (ms < -32400000 - 86400000 || strlen(out) < 25)
        abort();
    if (out[4] == '-' && strncmp(out, "19", 2) > 0 && (when_parse(&again, out, &e) || again != ms))
        abort(); /* an offset may move it out of the years 1970 to 9999, then it does not read */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e;
    if (!judge && judge_open(&judge, &(struct judge_options){.mode = "linear"}, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        abort();
    }
    char *text = malloc(size + 1);
    if (!text)
        abort();
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    size_t n = strlen(text);
    check_judge(text, n < size ? text + n + 1 : NULL);
    check_when(text);
    free(text);
    return 0;
}
