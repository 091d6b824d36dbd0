#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the well-formed multi-byte character at s, or 0. */
static size_t character(const unsigned char *s)
{
    size_t n = s[0] >= 0xC2 && s[0] <= 0xDF   ? 2
               : s[0] >= 0xE0 && s[0] <= 0xEF ? 3
               : s[0] >= 0xF0 && s[0] <= 0xF4 ? 4
                                              : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

/* The beginning of a character, then the end of the text. */
static bool is_cut_short(const unsigned char *s)
{
    size_t n = 1;
    while ((s[n] & 0xC0) == 0x80)
        n++;
    return s[0] >= 0xC2 && s[0] <= 0xF4 && s[n] == 0 && n < 4;
}

/* A message is one line of UTF-8, whatever was quoted in it: control characters and what is left of a
 * character cut by
 * "%.40s" become "?"; one cut by the end of the message is dropped. */
static void tidy(char *text)
{
    for (unsigned char *s = (unsigned char *)text; *s;) {
        size_t n = *s >= 0x80 ? character(s) : 1;
        if (n == 0 && is_cut_short(s))
            *s = 0;
        else if (n == 0 || *s < 0x20 || *s == 0x7F)
            *s = '?';
        s += n ? n : *s != 0;
    }
}

static int set_v(struct err *e, int code, const char *fmt, va_list ap)
{
    if (e) {
        e->code = code;
        vsnprintf(e->msg, sizeof e->msg, fmt, ap);
        tidy(e->msg);
    }
    return code;
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_v(e, code, fmt, ap);
    va_end(ap);
    return code;
}

int err_errno(struct err *e, const char *fmt, ...)
{
    int number = errno;
    int code = number == ENOMEM ? ERR_MEMORY : number == ENOENT ? ERR_MISSING : ERR_IO;
    char what[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return err_set(e, code, "%s: %s", what, strerror(number));
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    if (!e)
        return ERR_STATE;
    char old[sizeof e->msg], context[sizeof e->msg / 2];
    memcpy(old, e->msg, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(context, sizeof context, fmt, ap);
    va_end(ap);
    return err_set(e, e->code, "%s%s", context, old);
}
