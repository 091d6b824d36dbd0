#include "base/progress.h"

#include "base/size.h"
#include "base/when.h"

#include <stdio.h>
#include <unistd.h>

enum { WIDTH = 24 };

void progress_start(struct progress *p, const char *what, uint64_t total)
{
    *p = (struct progress){.what = what, .total = total, .started_ns = when_monotonic_ns()};
    p->terminal = isatty(STDERR_FILENO) == 1;
}

const char *progress_bytes(char text[PROGRESS_BYTES], double n)
{
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB"};
    size_t k = 0;
    while (n >= 999.5 && k + 1 < COUNT_OF(unit)) {
        n /= 1000;
        k++;
    }
    snprintf(text, PROGRESS_BYTES, "%.*f %s", k == 0 || n >= 99.95 ? 0 : n >= 9.995 ? 1 : 2, n, unit[k]);
    return text;
}

static const char *amount(const struct progress *p, char text[PROGRESS_BYTES], double n)
{
    if (p->bytes)
        return progress_bytes(text, n);
    snprintf(text, PROGRESS_BYTES, "%.0f", n);
    return text;
}

static void draw(const struct progress *p, uint64_t done, double seconds)
{
    char speed[PROGRESS_BYTES], count[PROGRESS_BYTES];
    double rate = done > p->before ? (double)(done - p->before) / seconds : 0;
    amount(p, speed, rate);
    if (!p->total) {
        fprintf(stderr, "\r\033[K%s: %s, %s/s", p->what, amount(p, count, (double)done), speed);
        return;
    }
    double share = done < p->total ? (double)done / (double)p->total : 1;
    int full = (int)(share * WIDTH);
    double left = rate > 0 ? (double)(p->total - (done < p->total ? done : p->total)) / rate : 0;
    fprintf(stderr, "\r\033[K%s [%.*s%*s] %3.0f%%  %s/s  %.0f s left", p->what, full,
            "########################", WIDTH - full, "", 100 * share, speed, left);
}

void progress_update(struct progress *p, uint64_t done)
{
    if (!p->terminal)
        return;
    uint64_t now = when_monotonic_ns();
    if (now - p->started_ns < 1000000000u || now - p->drawn_ns < 100000000u)
        return;
    p->drawn_ns = now;
    p->drawn = true;
    draw(p, done, (double)(now - p->started_ns) / 1e9);
    fflush(stderr);
}

void progress_finish(struct progress *p)
{
    if (p->drawn)
        fputs("\r\033[K", stderr);
    p->drawn = false;
}
