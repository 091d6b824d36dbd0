/* The one error form. Every function that can fail on input takes a `struct err *` last, returns 0 or a
 * negative `enum err_code`, and on failure leaves one line that says what was wrong, where, and what was
 * expected. Only cli/ prints it. */
#ifndef GYEOL_BASE_ERR_H
#define GYEOL_BASE_ERR_H

#define MUST_CHECK        __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

enum err_code {
    ERR_IO = -1,      /* the operating system refused: missing, unreadable, full, closed */
    ERR_FORMAT = -2,  /* bytes that are not what they should be */
    ERR_LIMIT = -3,   /* more than a stated bound */
    ERR_MEMORY = -4,  /* allocation failed */
    ERR_STATE = -5,   /* valid, but not possible now: locked, already there, frozen */
    ERR_MISSING = -6, /* the thing named does not exist */
    ERR_USAGE = -7,   /* wrong options or arguments */
    ERR_STOPPED = -8, /* interrupted by a signal */
    ERR_BUSY = -9,    /* somebody else is at it; try again */
};

struct err {
    int code;
    char msg[512]; /* one line of UTF-8; what is not becomes "?" */
};

/* Records code and message; returns code, so that `return err_set(...)` reads well. e may be NULL. */
int err_set(struct err *e, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The same with ": " and the text of errno appended. Maps ENOMEM to ERR_MEMORY, ENOENT to ERR_MISSING. */
int err_errno(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Puts context ("file:12: ") before the message already there; returns the code already there. */
int err_prefix(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
