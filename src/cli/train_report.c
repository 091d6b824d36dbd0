#include "cli/train_report.h"

#include "base/progress.h"
#include "base/when.h"
#include "train/world.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

enum { DRAW_NS = 100000000 };
#define TELL_NS 30000000000u /* a line at least every ten steps, and not more than every half minute */

static void wipe(struct train_report *r)
{
    if (r->drawn)
        fputs("\r\033[K", stderr);
    r->drawn = false;
}

static const char *duration(char text[32], double s)
{
    if (s < 60)
        snprintf(text, 32, "%.0f s", s);
    else if (s < 3600)
        snprintf(text, 32, "%.0f min %02.0f s", floor(s / 60), fmod(s, 60));
    else
        snprintf(text, 32, "%.0f h %02.0f min", floor(s / 3600), floor(fmod(s, 3600) / 60));
    return text;
}

static void plan(void *context, const struct trainer_plan *p)
{
    char weights[PROGRESS_BYTES], bytes[PROGRESS_BYTES], there[PROGRESS_BYTES], time[32];
    (void)context;
    fprintf(stderr,
            "%zu items, %zu dev; %llu steps, %llu an epoch of %.3g tokens; %zu parameters beside %s of "
            "weights; %s (%s)\n",
            p->items, p->dev_items, (unsigned long long)p->steps, (unsigned long long)p->per_epoch,
            p->tokens_per_epoch, p->parameters, progress_bytes(weights, (double)p->weights), p->compute,
            p->isa);
    if (p->first)
        fprintf(stderr, "going on after step %llu\n", (unsigned long long)p->first);
    fprintf(stderr, "forecast: %s of memory (%s available), %s", progress_bytes(bytes, (double)p->bytes),
            progress_bytes(there, (double)p->available), duration(time, p->seconds + p->dev_seconds));
    if (p->dev_seconds > 0)
        fprintf(stderr, ", %.0f %% of it on dev", 100 * p->dev_seconds / (p->seconds + p->dev_seconds));
    fputc('\n', stderr);
}

static void print_step(const struct trainer_progress *p)
{
    char time[32];
    fprintf(stderr, "step %llu/%llu  loss %.4f  lr %.2e  norm %.2f  %.0f tokens/s  %s left",
            (unsigned long long)p->step, (unsigned long long)p->steps, p->loss, p->lr, p->grad_norm,
            p->tokens_per_s, duration(time, p->seconds_left));
}

static void step(void *context, const struct trainer_progress *p)
{
    struct train_report *r = context;
    uint64_t now = when_monotonic_ns();
    if (r->terminal && now - r->drawn_ns > DRAW_NS) {
        fputs("\r\033[K", stderr);
        print_step(p);
        fflush(stderr);
        r->drawn = true;
        r->drawn_ns = now;
    }
    bool due = p->step % 10 == 0 && (p->step <= 100 || now - r->told_ns > TELL_NS);
    if (r->terminal || !(due || p->step == p->steps))
        return;
    print_step(p);
    fputc('\n', stderr);
    r->told_ns = now;
}

static void dev(void *context, const struct train_record *x, bool best, uint64_t since_best)
{
    wipe(context);
    fprintf(stderr, "step %llu  epoch %.2f  loss %.4f  dev loss %.4f", (unsigned long long)x->step, x->epoch,
            x->loss, x->dev_loss);
    if (isnan(x->dev[METRIC_DIRECTION]))
        fprintf(stderr, " (perplexity %.2f)", exp(x->dev_loss));
    else
        fprintf(stderr, "  direction %.3f  meaningful %.3f  unneeded %.3f", x->dev[METRIC_DIRECTION],
                x->dev[METRIC_MEANINGFUL], x->dev[METRIC_UNNEEDED]);
    if (best)
        fputs("  best\n", stderr);
    else
        fprintf(stderr, "  not better %llu times\n", (unsigned long long)since_best);
}

struct trainer_events train_report_start(struct train_report *r)
{
    *r = (struct train_report){.terminal = isatty(STDERR_FILENO) == 1};
    return (struct trainer_events){.plan = plan, .step = step, .dev = dev, .context = r};
}

void train_report_finish(struct train_report *r)
{
    wipe(r);
}

static int print_json(const struct trainer_options *o, const struct trainer_result *r)
{
    json_t *dev = json_object();
    for (int k = 0; r->judged && k < METRICS; k++)
        json_object_set_new(dev, metric_name[k], cli_json_real(r->best.dev[k], 4));
    return cli_print_json(json_pack("{s:o, s:I, s:I, s:b, s:o, s:o, s:o}", "out", cli_json_text(o->out),
                                    "steps", (json_int_t)r->steps, "best_step", (json_int_t)r->best_step,
                                    "stopped_early", r->early, "dev_loss", cli_json_real(r->best.dev_loss, 6),
                                    "dev", dev, "seconds", cli_json_real(r->seconds, 1)));
}

int train_report_result(const struct trainer_options *o, const struct trainer_result *r, bool json)
{
    char time[32];
    if (world_rank() != 0)
        return EXIT_OK;
    if (json)
        return print_json(o, r);
    printf("%s written: step %llu of %llu%s, %s of training", o->out, (unsigned long long)r->best_step,
           (unsigned long long)r->steps, r->early ? " (stopped early)" : "", duration(time, r->seconds));
    if (!isnan(r->best.dev_loss))
        printf("; dev loss %.4f", r->best.dev_loss);
    if (!isnan(r->best.dev[METRIC_DIRECTION]))
        printf(", direction accuracy %.3f, unneeded %.3f", r->best.dev[METRIC_DIRECTION],
               r->best.dev[METRIC_UNNEEDED]);
    puts("");
    return EXIT_OK;
}
