/* What a run will take, before it takes it. */
#include "base/file.h"
#include "base/progress.h"
#include "base/size.h"
#include "compute/kernels.h"
#include "model/layout.h"
#include "train/trainer_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PROC_LIMIT = 1 << 16, OTHER = 24 << 20 /* the program, threads' stacks, buffers of files */ };

/* ---- what there is ---- */

/* The whole number after `key` in a file of lines "key number"; key "": the file is the number. */
static bool proc_number(const char *path, const char *key, size_t *out)
{
    char *text = NULL, *at, *end;
    size_t n = 0;
    if (file_read(&text, &n, path, PROC_LIMIT, NULL))
        return false;
    at = *key ? strstr(text, key) : text;
    unsigned long long v = at ? strtoull(at + strlen(key), &end, 10) : 0;
    bool found = at && end != at + strlen(key);
    free(text);
    *out = (size_t)v;
    return found;
}

/* A group's limit less what it holds and cannot give back (cgroup v2, else v1). */
static size_t group_available(const char *dir, const char *limit_name, const char *used_name,
                              const char *cache_key)
{
    char path[600];
    size_t limit, used, cache = 0;
    snprintf(path, sizeof path, "%s/%s", dir, limit_name);
    if (!proc_number(path, "", &limit))
        return SIZE_MAX;
    snprintf(path, sizeof path, "%s/%s", dir, used_name);
    if (!proc_number(path, "", &used))
        return SIZE_MAX;
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    if (proc_number(path, cache_key, &cache))
        used -= cache < used ? cache : used;
    return limit > used ? limit - used : 0;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The groups from this process's own up to the root, as far as this mount shows them. */
static size_t groups_available(void)
{
    char dir[500], *text = NULL, *own;
    size_t n = 0, least = group_available("/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                          "memory.usage_in_bytes", "total_inactive_file ");
    if (file_read(&text, &n, "/proc/self/cgroup", PROC_LIMIT, NULL))
        return least;
    own = strstr(text, "0::/");
    int len = own ? snprintf(dir, sizeof dir, "/sys/fs/cgroup%.*s", (int)strcspn(own + 3, "\n"), own + 3) : 0;
    while (len > 0 && strlen(dir) >= strlen("/sys/fs/cgroup")) {
        least = smaller(least, group_available(dir, "memory.max", "memory.current", "\ninactive_file "));
        *strrchr(dir, '/') = 0;
    }
    free(text);
    return least;
}

static size_t address_space_available(void)
{
    struct rlimit limit;
    size_t pages;
    if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY ||
        !proc_number("/proc/self/statm", "", &pages))
        return SIZE_MAX;
    size_t used = pages * (size_t)sysconf(_SC_PAGESIZE);
    return limit.rlim_cur > used ? limit.rlim_cur - used : 0;
}

size_t memory_available(void)
{
    size_t kb, all = SIZE_MAX;
    if (proc_number("/proc/meminfo", "MemAvailable:", &kb))
        all = kb * 1024;
    return smaller(smaller(all, groups_available()), address_space_available());
}

/* ---- what it takes ---- */

static size_t sum(size_t a, size_t b)
{
    size_t r;
    return size_add(a, b, &r) ? r : SIZE_MAX;
}

static size_t times(size_t a, size_t b)
{
    size_t r;
    return size_mul(a, b, &r) ? r : SIZE_MAX;
}

static size_t count_parameters(const struct trainer *t)
{
    struct layout l;
    size_t n = 0, rows, cols;
    for (layout_start(&l, &t->config, MODEL_F32); layout_next(&l);) {
        enum role r = (enum role)l.role;
        layout_shape(&t->config, r, &rows, &cols);
        bool target = r >= ROLE_Q && r <= ROLE_DOWN && (t->o.lora.targets >> (r - ROLE_Q) & 1);
        if (t->o.full)
            n = sum(n, times(rows, cols));
        else if (target)
            n = sum(n, times(t->o.lora.rank, sum(rows, cols)));
    }
    return n;
}

/* Weights, parameters (values, gradients, the best, and LoRA's packed copies), optimiser. */
static size_t standing_bytes(const struct trainer *t, enum model_type type)
{
    size_t n = count_parameters(t), block = model_block_bytes(&t->config, type);
    size_t each = (t->o.full ? 3 : 4) * sizeof(float);
    size_t bytes = sum(block ? block : SIZE_MAX, times(n, each));
    return sum(sum(bytes, adamw_bytes(n, t->o.optimizer_bits)), OTHER);
}

static enum model_type base_type(const struct trainer *t)
{
    if (!t->o.full)
        return t->o.quant;
    return t->o.compute == DT_BF16 ? MODEL_BF16 : MODEL_F32;
}

static size_t all_bytes(const struct trainer *t, enum model_type type, const struct tape_options *w)
{
    size_t bytes = standing_bytes(t, type);
    if (t->p)
        bytes = sum(bytes, tape_bytes(&t->config, t->p, w));
    if (t->engine)
        bytes = sum(bytes, session_bytes(t->engine->session));
    return bytes;
}

size_t trainer_bytes(const struct trainer *t)
{
    return all_bytes(t, base_type(t), &t->capacity);
}

/* ---- what would fit ---- */

static struct tape_options with_batch(const struct trainer *t, size_t batch)
{
    struct tape_options w = t->capacity;
    size_t prefix = t->corpus->prefix;
    w.tokens = prefix + rounded_up((w.tokens - prefix) * batch, t->o.batch);
    w.runs = 1 + rounded_up((w.runs - 1) * batch, t->o.batch);
    w.targets = rounded_up(w.targets * batch, t->o.batch);
    return w;
}

/* The first of: recomputing activations, smaller batches, both, a base in 4 bits. False: none fits. */
static bool find_fit(const struct trainer *t, char *text, size_t size)
{
    char bytes[PROGRESS_BYTES];
    for (int c = t->o.checkpointing; t->p && c <= 1; c++)
        for (size_t b = t->o.batch; b > 0; b /= 2) {
            struct tape_options w = with_batch(t, b);
            w.checkpointing = c;
            size_t need = all_bytes(t, base_type(t), &w);
            if (need > t->available)
                continue;
            snprintf(text, size, "%s%s%s%.0zu would take %s",
                     c && !t->o.checkpointing ? "--checkpointing" : "",
                     c && !t->o.checkpointing && b < t->o.batch ? " " : "", b < t->o.batch ? "--batch " : "",
                     b < t->o.batch ? b : 0, progress_bytes(bytes, (double)need));
            return true;
        }
    size_t nf4 = all_bytes(t, MODEL_NF4, &t->capacity);
    if (t->o.full || t->o.quant == MODEL_NF4 || nf4 > t->available)
        return false;
    snprintf(text, size, "--quant nf4 would take %s", progress_bytes(bytes, (double)nf4));
    return true;
}

int trainer_fits(struct trainer *t, struct err *e)
{
    char need[PROGRESS_BYTES], there[PROGRESS_BYTES], other[160];
    if (!t->available)
        t->available = memory_available();
    size_t bytes = trainer_bytes(t);
    if (bytes <= t->available)
        return 0;
    if (!find_fit(t, other, sizeof other))
        snprintf(other, sizeof other, "want a smaller model, or more memory");
    return err_set(e, ERR_LIMIT, "this run would take %s of memory, but %s are available; %s",
                   bytes == SIZE_MAX ? "more than can be counted" : progress_bytes(need, (double)bytes),
                   progress_bytes(there, (double)t->available), other);
}

int trainer_forecast(struct trainer *t, struct trainer_plan *plan, struct err *e)
{
    double steps, evaluating;
    int rc = trainer_forecast_time(t, &steps, &evaluating, e);
    *plan = (struct trainer_plan){
        .items = t->corpus->n,
        .dev_items = t->text ? (t->dev_text ? t->dev_text->n : 0) : t->dev.n,
        .steps = t->steps,
        .per_epoch = t->per_epoch,
        .first = t->step,
        .eval_every = t->o.eval_every,
        .parameters = t->p->count,
        .weights = t->model->block_bytes,
        .bytes = trainer_bytes(t),
        .available = t->available,
        .tokens_per_epoch = t->tokens,
        .seconds = steps,
        .dev_seconds = evaluating,
        .compute = dtype_info[t->o.compute].name,
        .isa = kernels_get()->isa,
    };
    return rc;
}
