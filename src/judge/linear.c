#include "judge/linear.h"

#include "base/file.h"
#include "judge/guard.h"
#include "judge/quote.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "gyeol-l1"
enum {
    VERSION = 1,
    DIGEST_BYTES = 32,
    HEADER_BYTES = 8 + 4 + 4 + 8 + 4 + 4 + 4 * (16 + AXES + 3) + 2 * DIGEST_BYTES
};
#define WEIGHT_BYTES (FEATURE_BUCKETS * LINEAR_COLUMNS)
#define FILE_BYTES   (HEADER_BYTES + WEIGHT_BYTES + DIGEST_BYTES)

/* The Makefile embeds models/linear/linear.gyl; both ends are equal when there is none yet. */
extern const unsigned char linear_model_begin[], linear_model_end[];
extern const char linear_model_sha256[];

struct linear_judge {
    struct judge base;
    struct linear_model model;
    struct file_map file;
    char *name;
};

/* ---- the file ---- */

static uint64_t take(const unsigned char **p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t) * (*p)++ << (8 * i);
    return v;
}

static bool take_floats(const unsigned char **p, float *out, int n)
{
    bool finite = true;
    for (int i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)take(p, 4);
        memcpy(&out[i], &bits, 4);
        finite &= isfinite(out[i]) != 0;
    }
    return finite;
}

static void take_digest(const unsigned char **p, char hex[DIGEST_HEX])
{
    for (int i = 0; i < DIGEST_BYTES; i++)
        for (int half = 0; half < 2; half++)
            hex[2 * i + half] = "0123456789abcdef"[half ? (*p)[i] & 15 : (*p)[i] >> 4];
    hex[2 * DIGEST_BYTES] = 0;
    *p += DIGEST_BYTES;
}

static bool in_range(float scale, float threshold)
{
    return scale >= 0 && threshold >= 0 && threshold <= 1;
}

static int take_numbers(struct linear_model *m, const char *name, const unsigned char **p, struct err *e)
{
    bool finite = take_floats(p, m->bias[0], AXES * SIDES);
    finite &= take_floats(p, m->scale[0], AXES * SIDES);
    finite &= take_floats(p, m->threshold, AXES);
    finite &= take_floats(p, &m->guard_bias, 1);
    finite &= take_floats(p, &m->guard_scale, 1);
    finite &= take_floats(p, &m->guard_threshold, 1);
    if (!finite)
        return err_set(e, ERR_FORMAT, "%s: a bias, scale or threshold is not a finite number", name);
    bool sound = in_range(m->guard_scale, m->guard_threshold);
    for (int i = 0; i < AXES * SIDES; i++)
        sound &= in_range(m->scale[i / SIDES][i % SIDES], m->threshold[i / SIDES]);
    return sound ? 0 : err_set(e, ERR_FORMAT, "%s: a threshold is not in 0..1, or a scale is negative", name);
}

int linear_parse(struct linear_model *m, const char *name, const unsigned char *bytes, size_t n, bool verify,
                 struct err *e)
{
    *m = (struct linear_model){0};
    if (n < 8 || memcmp(bytes, MAGIC, 8) != 0)
        return err_set(e, ERR_FORMAT, "%s: not a linear judge (no \"%s\" at its beginning)", name, MAGIC);
    if (n != FILE_BYTES)
        return err_set(e, ERR_FORMAT, "%s: %zu bytes, want %zu: cut short or not version %d", name, n,
                       (size_t)FILE_BYTES, VERSION);
    const unsigned char *p = bytes + 8;
    uint32_t version = (uint32_t)take(&p, 4), bits = (uint32_t)take(&p, 4);
    if (version != VERSION || bits != FEATURE_BITS)
        return err_set(e, ERR_FORMAT, "%s: version %u with %u feature bits, want %d with %d", name, version,
                       bits, VERSION, FEATURE_BITS);
    m->seed = take(&p, 8);
    m->train_rows = (uint32_t)take(&p, 4);
    m->dev_rows = (uint32_t)take(&p, 4);
    int rc = take_numbers(m, name, &p, e);
    if (rc)
        return rc;
    take_digest(&p, m->train_sha256);
    take_digest(&p, m->dev_sha256);
    m->weight = (const int8_t *)p;
    p += WEIGHT_BYTES;
    char stated[DIGEST_HEX], actual[DIGEST_HEX];
    take_digest(&p, stated);
    if (!verify)
        return 0;
    digest_sha256(actual, bytes, n - DIGEST_BYTES);
    if (strcmp(stated, actual) != 0)
        return err_set(e, ERR_FORMAT, "%s: damaged: checksum %.12s..., want %.12s...", name, actual, stated);
    return 0;
}

static void put(struct buf *b, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++, v >>= 8) {
        char c = (char)(v & 255);
        buf_add(b, &c, 1);
    }
}

static void put_floats(struct buf *b, const float *v, int n)
{
    for (int i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &v[i], 4);
        put(b, bits, 4);
    }
}

static void put_digest(struct buf *b, const char *hex)
{
    for (int i = 0; i < DIGEST_BYTES; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
        put(b, strtoul(pair, NULL, 16), 1);
    }
}

int linear_write(struct buf *out, const struct linear_model *m, struct err *e)
{
    size_t start = out->len;
    buf_add(out, MAGIC, 8);
    put(out, VERSION, 4);
    put(out, FEATURE_BITS, 4);
    put(out, m->seed, 8);
    put(out, m->train_rows, 4);
    put(out, m->dev_rows, 4);
    put_floats(out, m->bias[0], AXES * SIDES);
    put_floats(out, m->scale[0], AXES * SIDES);
    put_floats(out, m->threshold, AXES);
    put_floats(out, &m->guard_bias, 1);
    put_floats(out, &m->guard_scale, 1);
    put_floats(out, &m->guard_threshold, 1);
    put_digest(out, m->train_sha256);
    put_digest(out, m->dev_sha256);
    buf_add(out, m->weight, WEIGHT_BYTES);
    int rc = buf_check(out, "linear model", e);
    if (rc)
        return rc;
    char hex[DIGEST_HEX];
    digest_sha256(hex, out->data + start, out->len - start);
    put_digest(out, hex);
    return buf_check(out, "linear model", e);
}

/* ---- judging ---- */

static void decide(struct judge_axis *x, float threshold)
{
    double best = x->up > x->down ? x->up : x->down;
    bool sure = x->up != x->down && best > threshold;
    x->decision = !sure ? DECISION_KEEP : x->up > x->down ? DECISION_UP : DECISION_DOWN;
}

void linear_verdict(const struct linear_model *m, const struct features *f, struct judge_verdict *out)
{
    int32_t sum[LINEAR_GUARD] = {0};
    for (size_t i = 0; i < f->n_distinct; i++) {
        const int8_t *w = m->weight + (size_t)f->bucket[i] * LINEAR_COLUMNS;
        for (int k = 0; k < LINEAR_GUARD; k++)
            sum[k] += w[k];
    }
    double norm = f->n_distinct ? 1 / sqrt((double)f->n_distinct) : 0;
    for (int a = 0; a < AXES; a++) {
        struct judge_axis *x = &out->axis[a];
        double up = m->bias[a][SIDE_UP] + m->scale[a][SIDE_UP] * (double)sum[a * SIDES + SIDE_UP] * norm;
        double down =
            m->bias[a][SIDE_DOWN] + m->scale[a][SIDE_DOWN] * (double)sum[a * SIDES + SIDE_DOWN] * norm;
        double top = up > down ? up : down;
        top = top > 0 ? top : 0;
        double eu = exp(up - top), ed = exp(down - top), ek = exp(-top), total = eu + ed + ek;
        *x = (struct judge_axis){.up = eu / total, .keep = ek / total, .down = ed / total};
        decide(x, m->threshold[a]);
    }
}

/* How much one feature spoke for the decided side, against keep and against the other side together. */
static float evidence(const struct linear_model *m, uint32_t bucket, int a, int side)
{
    const int8_t *w = m->weight + (size_t)bucket * LINEAR_COLUMNS + (size_t)a * SIDES;
    return 2 * m->scale[a][side] * (float)w[side] - m->scale[a][!side] * (float)w[!side];
}

static int linear_quote(const struct linear_model *m, const char *text, const struct features *f, int a,
                        struct judge_axis *x, struct arena *arena, struct err *e)
{
    int side = x->decision == DECISION_UP ? SIDE_UP : SIDE_DOWN;
    float *weight = arena_alloc(arena, f->n + 1, sizeof *weight);
    if (!weight)
        return err_set(e, ERR_MEMORY, "out of memory for %zu features", f->n);
    for (size_t i = 0; i < f->n; i++)
        weight[i] = evidence(m, f->all[i].bucket, a, side) / (float)f->times[f->all[i].distinct];
    return quote_find(text, f, weight, arena, &x->quote, &x->quote_len, e);
}

static int linear_judge(const struct judge *base, const struct judge_input *in, struct judge_verdict *out,
                        struct err *e)
{
    const struct linear_judge *j = (const struct linear_judge *)base;
    struct arena arena = {0};
    struct features f;
    bool *skip;
    size_t n = strlen(in->text);
    int rc = guard_mask(&j->model, in->text, n, in->mission, &arena, &skip, e);
    if (!rc)
        rc = features_extract(&f, in->text, n, skip, &arena, e);
    if (!rc)
        linear_verdict(&j->model, &f, out);
    for (int a = 0; a < AXES && !rc; a++)
        if (out->axis[a].decision != DECISION_KEEP)
            rc = linear_quote(&j->model, in->text, &f, a, &out->axis[a], &arena, e);
    arena_deinit(&arena);
    return rc;
}

static void linear_close(struct judge *base)
{
    struct linear_judge *j = (struct linear_judge *)base;
    file_map_close(&j->file);
    free(j->name);
    free(j);
}

static const struct judge_ops ops = {.judge = linear_judge, .close = linear_close};

static struct linear_judge *new_judge(const char *name, struct err *e)
{
    struct linear_judge *j = calloc(1, sizeof *j);
    if (j)
        j->name = strdup(name);
    if (!j || !j->name) {
        free(j);
        err_set(e, ERR_MEMORY, "%s: out of memory", name);
        return NULL;
    }
    j->base.ops = &ops;
    j->base.identity.mode = "linear";
    j->base.identity.model = j->name;
    return j;
}

int linear_open_bytes(struct judge **out, const char *name, const unsigned char *bytes, size_t n,
                      struct err *e)
{
    struct linear_judge *j = new_judge(name, e);
    int rc = j ? linear_parse(&j->model, name, bytes, n, true, e) : ERR_MEMORY;
    if (rc) {
        if (j)
            linear_close(&j->base);
        return rc;
    }
    digest_sha256(j->base.identity.model_sha256, bytes, n);
    *out = &j->base;
    return 0;
}

static int open_embedded(struct judge **out, struct err *e)
{
    size_t n = (size_t)((uintptr_t)linear_model_end - (uintptr_t)linear_model_begin);
    if (n == 0)
        return err_set(e, ERR_MISSING, "this build holds no linear judge; name one with --model");
    struct linear_judge *j = new_judge("gyeol-linear", e);
    int rc =
        j ? linear_parse(&j->model, "the judge compiled in", linear_model_begin, n, false, e) : ERR_MEMORY;
    if (rc) {
        if (j)
            linear_close(&j->base);
        return rc;
    }
    memcpy(j->base.identity.model_sha256, linear_model_sha256, DIGEST_HEX);
    *out = &j->base;
    return 0;
}

int linear_open(struct judge **out, const char *path, struct err *e)
{
    if (!path)
        return open_embedded(out, e);
    struct file_map file;
    int rc = file_map_open(&file, path, e);
    if (rc)
        return rc;
    const char *slash = strrchr(path, '/');
    const unsigned char *bytes = file.data ? file.data : (const unsigned char *)"";
    rc = linear_open_bytes(out, slash ? slash + 1 : path, bytes, file.len, e);
    if (rc)
        file_map_close(&file);
    else
        ((struct linear_judge *)*out)->file = file;
    return rc;
}
