#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A message is one line of valid UTF-8: control characters become '?', and a character cut by the buffer's
 * end is dropped whole. */
static void tidy(char *s, size_t capacity)
{
    size_t n = strlen(s);
    if (n == capacity - 1) {
        size_t start = n;
        while (start > 0 && ((unsigned char)s[start - 1] & 0xC0) == 0x80)
            start--;
        if (start > 0 && (unsigned char)s[start - 1] >= 0xC0)
            s[start - 1] = 0;
    }
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7F)
            *s = '?';
}

static int set_v(struct err *e, int code, const char *fmt, va_list ap)
{
    if (e) {
        e->code = code;
        vsnprintf(e->msg, sizeof e->msg, fmt, ap);
        tidy(e->msg, sizeof e->msg);
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
