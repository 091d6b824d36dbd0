#include "base/progress.h"

#include "base/when.h"

#include <stdio.h>
#include <unistd.h>

enum { WIDTH = 24 };

void progress_start(struct progress *p, const char *what, uint64_t total)
{
    *p = (struct progress){.what = what, .total = total, .started_ns = when_monotonic_ns()};
    p->terminal = isatty(STDERR_FILENO) == 1;
}

static void draw(const struct progress *p, uint64_t done, double seconds)
{
    double rate = (double)done / seconds;
    if (!p->total) {
        fprintf(stderr, "\r\033[K%s: %llu, %.0f/s", p->what, (unsigned long long)done, rate);
        return;
    }
    double share = done < p->total ? (double)done / (double)p->total : 1;
    int full = (int)(share * WIDTH);
    double left = rate > 0 ? (double)(p->total - (done < p->total ? done : p->total)) / rate : 0;
    fprintf(stderr, "\r\033[K%s [%.*s%*s] %3.0f%%  %.0f/s  %.0f s left", p->what, full,
            "########################", WIDTH - full, "", 100 * share, rate, left);
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
