#include "cli/bench.h"

#include "base/size.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    uint32_t layers, width, ff_width, heads, kv_heads, head_width, vocabulary;
    float theta;
} shapes[] = {{"hcx-1.5b", 24, 2048, 7168, 16, 8, 128, 110592, 1e8f},
              {"hcx-0.5b", 24, 1024, 4096, 16, 8, 128, 110592, 1e8f},
              {"mini", 8, 256, 768, 4, 2, 64, 8192, 1e4f},
              {"tiny", 2, 64, 128, 4, 2, 16, 512, 1e4f}};

int bench_config(struct config *c, const char *shape, struct err *e)
{
    size_t i = 0;
    while (i < COUNT_OF(shapes) && strcmp(shapes[i].name, shape) != 0)
        i++;
    if (i == COUNT_OF(shapes))
        return err_set(e, ERR_USAGE, "--shape %.40s: want hcx-1.5b, hcx-0.5b, mini or tiny", shape);
    *c = (struct config){.layers = shapes[i].layers,
                         .width = shapes[i].width,
                         .ff_width = shapes[i].ff_width,
                         .heads = shapes[i].heads,
                         .kv_heads = shapes[i].kv_heads,
                         .head_width = shapes[i].head_width,
                         .rope_width = shapes[i].head_width,
                         .vocabulary = shapes[i].vocabulary,
                         .context = 4096,
                         .norm_eps = 1e-5f,
                         .tied = true,
                         .bf16_tables = true,
                         .embedding_scale = 1,
                         .attention_scale = 1 / sqrtf((float)shapes[i].head_width),
                         .bos = -1,
                         .eos = -1,
                         .pad = -1};
    c->rope[0].theta = c->rope[1].theta = shapes[i].theta;
    snprintf(c->architecture, sizeof c->architecture, "llama");
    return 0;
}

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

double bench_median(double *v, int64_t n)
{
    qsort(v, (size_t)n, sizeof *v, ascending);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

double bench_memory(const char *line)
{
    FILE *f = fopen("/proc/self/status", "re");
    char text[256];
    double bytes = NAN;
    while (f && fgets(text, sizeof text, f))
        if (strncmp(text, line, strlen(line)) == 0)
            bytes = 1024 * strtod(text + strlen(line), NULL);
    if (f)
        fclose(f);
    return bytes;
}
