#include "base/when.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

enum { SEOUL_MINUTES = 9 * 60, DAY_SECONDS = 86400 };

/* Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant, "chrono-compatible low-level date
 * algorithms", days_from_civil). */
static int64_t days_from_civil(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = y / 400, yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static int days_in_month(int y, int m)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return m == 2 && leap ? 29 : days[m - 1];
}

/* Exactly n digits, or -1. */
static int digits(const char **s, int n)
{
    int v = 0;
    for (int i = 0; i < n; i++, (*s)++) {
        if (**s < '0' || **s > '9')
            return -1;
        v = v * 10 + (**s - '0');
    }
    return v;
}

static bool take(const char **s, char c)
{
    return **s == c ? ((*s)++, true) : false;
}

static bool parse_date(const char **s, int64_t *day)
{
    int y = digits(s, 4);
    if (y < 1970 || !take(s, '-'))
        return false;
    int m = digits(s, 2);
    if (m < 1 || m > 12 || !take(s, '-'))
        return false;
    int d = digits(s, 2);
    if (d < 1 || d > days_in_month(y, m))
        return false;
    *day = days_from_civil(y, m, d);
    return true;
}

static bool parse_fraction(const char **s, int *ms)
{
    if (!take(s, '.') && !take(s, ','))
        return true;
    if (**s < '0' || **s > '9')
        return false;
    for (int scale = 100; **s >= '0' && **s <= '9'; (*s)++, scale /= 10)
        *ms += (**s - '0') * scale;
    return true;
}

static bool parse_clock(const char **s, int64_t *ms)
{
    int h = digits(s, 2), minute, second = 0, fraction = 0;
    if (h < 0 || h > 23 || !take(s, ':'))
        return false;
    minute = digits(s, 2);
    if (minute < 0 || minute > 59)
        return false;
    if (take(s, ':')) {
        second = digits(s, 2);
        if (second < 0 || second > 59 || !parse_fraction(s, &fraction))
            return false;
    }
    *ms = ((h * 60 + minute) * 60 + second) * 1000LL + fraction;
    return true;
}

static bool parse_zone(const char **s, int *minutes)
{
    *minutes = SEOUL_MINUTES;
    if (**s == 0)
        return true;
    *minutes = 0;
    if (take(s, 'Z') || take(s, 'z'))
        return true;
    int sign = take(s, '+') ? 1 : take(s, '-') ? -1 : 0;
    int h = sign ? digits(s, 2) : -1, m = 0;
    if (h < 0 || h > 23)
        return false;
    if (**s) {
        take(s, ':');
        m = digits(s, 2);
    }
    *minutes = sign * (h * 60 + m);
    return m >= 0 && m <= 59;
}

static int refuse(const char *text, struct err *e)
{
    bool ascii = true;
    for (const char *s = text; *s; s++)
        ascii &= (unsigned char)*s < 0x80;
    return err_set(
        e, ERR_FORMAT,
        "time \"%.30s\": want ISO 8601 such as 2026-05-03T14:00:00+09:00, from 1970 to 9999, a real date",
        ascii ? text : "...");
}

int when_parse(int64_t *ms, const char *text, struct err *e)
{
    const char *s = text;
    int64_t day, clock = 0;
    int zone = SEOUL_MINUTES;
    bool ok = parse_date(&s, &day);
    if (ok && *s)
        ok = (take(&s, 'T') || take(&s, 't') || take(&s, ' ')) && parse_clock(&s, &clock) &&
             parse_zone(&s, &zone);
    if (!ok || *s)
        return refuse(text, e);
    int64_t v = day * DAY_SECONDS * 1000LL + clock - zone * 60000LL;
    if (v < WHEN_FIRST || v > WHEN_LAST)
        return refuse(text, e);
    *ms = v;
    return 0;
}

char *when_format(char text[WHEN_TEXT], int64_t ms)
{
    int64_t local = ms + SEOUL_MINUTES * 60000LL;
    int part = (int)(((local % 1000) + 1000) % 1000);
    time_t seconds = (time_t)((local - part) / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(text, WHEN_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
    if (part)
        n += (size_t)snprintf(text + n, WHEN_TEXT - n, ".%03d", part);
    snprintf(text + n, WHEN_TEXT - n, "+09:00");
    return text;
}

int64_t when_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

uint64_t when_monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
