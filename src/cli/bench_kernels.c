/* gyeol bench kernels: every kernel of every table in the shapes of a 1.5B model, first compared with the portable
 * table, then timed, in turns with each other and with the machine's limits, so that a neighbour that takes time
 * takes it from all. */
#include "base/progress.h"
#include "base/rng.h"
#include "base/size.h"
#include "base/stop.h"
#include "base/when.h"
#include "cli/cli.h"
#include "compute/limits.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPT_THREADS = OPT_FIRST,
    OPT_ISA,
    OPT_WIDTH,
    OPT_ROUNDS,
    OPT_JSON,
    TABLES = 3,
    MATRICES = 7, /* of a layer: q, k, v, o, gate, up, down */
    MOST_ROUNDS = 99,
    MOST_TOKENS = 512,
    TRAINED = 128, /* tokens of a training step */
    HEAD = 128,
    POSITIONS = 512,
    ROWS = 64, /* of the kernels that work on rows, each TIMES times */
    TIMES = 8,
};

static const struct option options[] = {{"threads", required_argument, NULL, OPT_THREADS},
                                        {"isa", required_argument, NULL, OPT_ISA},
                                        {"width", required_argument, NULL, OPT_WIDTH},
                                        {"rounds", required_argument, NULL, OPT_ROUNDS},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"help", no_argument, NULL, 'h'},
                                        {0}};

struct arguments {
    int64_t threads, width, rounds;
    const char *isa;
    bool json;
};

/* What a kernel does to one row of the scratch y. */
struct bench;
struct job;
typedef void row_kernel(const struct bench *b, const struct kernels *k, const struct job *j, size_t row);

/* Times a layer's products. */
typedef double layer_timer(struct bench *b, const struct kernels *k, const struct job *j);
typedef int layer_check(struct bench *b, const struct kernels *k, const struct job *j, struct err *e);

struct job {
    const char *name, *detail;
    size_t T;           /* tokens, or rows */
    enum dtype type;    /* of the weights */
    row_kernel *row;    /* NULL: products of a layer */
    size_t rows;        /* calls of `row` a token */
    double ops, bytes;  /* of the whole */
    enum dtype compute; /* products: the rows' type */
    layer_timer *layer;
    layer_check *check;
};

struct result {
    const struct job *job;
    size_t table;
    int n;
    double seconds[MOST_ROUNDS];
};

struct bench {
    size_t width, wide; /* of the model, of its feed-forward part */
    int rounds;
    const char *isa; /* NULL: every table */
    size_t tables;
    const struct kernels *table[TABLES];
    struct limits limits[TABLES];
    float *x, *y, *expected;   /* [MOST_TOKENS, wide], y twice as wide */
    float *cache;              /* keys or values: POSITIONS of all heads */
    void *rounded[3];          /* activations of `width`, of `wide`, of width / 2 columns */
    float *gradient, *scratch; /* of the widest matrix, and what matmul_outer wants */
    unsigned char *weights;    /* the same layer several times, together larger than the caches */
    size_t layers, layer_bytes, next;
    struct matrix matrix[MATRICES]; /* of the first */
    struct job job[80];
    struct result result[80 * TABLES];
    size_t jobs, results;
    uint64_t rounds_done;
};

static double seconds_since(uint64_t start)
{
    return (double)(when_monotonic_ns() - start + 1) / 1e9;
}

/* ---- what is timed ---- */

static void round_tokens(const struct bench *b, const struct kernels *k, enum dtype type, size_t T,
                         struct activation a[3])
{
    const size_t cols[] = {b->width, b->wide, b->width / 2};
    for (int i = 0; i < 3; i++) {
        activation_init(&a[i], type, T, cols[i], b->rounded[i]);
        matmul_prepare(k, &a[i], b->x, b->wide);
    }
}

/* The next layer's. */
static void next_layer(struct bench *b, struct matrix m[MATRICES])
{
    size_t offset = b->next++ % b->layers * b->layer_bytes;
    for (int i = 0; i < MATRICES; i++) {
        m[i] = b->matrix[i];
        m[i].data += offset;
    }
}

/* As the decoder does it: q, k, v with one wake-up of the threads, and gate, up. */
static double time_layer(struct bench *b, const struct kernels *k, const struct job *j)
{
    struct activation a[3];
    struct matrix m[MATRICES];
    next_layer(b, m);
    round_tokens(b, k, j->compute, j->T, a);
    size_t ldy = 2 * b->wide;
    const struct product qkv[] = {
        {b->y, ldy, &m[0]}, {b->y + b->width, ldy, &m[1]}, {b->y + 2 * b->width, ldy, &m[2]}};
    const struct product ff[] = {{b->y, ldy, &m[4]}, {b->y + b->wide, ldy, &m[5]}};
    uint64_t start = when_monotonic_ns();
    matmul_many(k, qkv, COUNT_OF(qkv), &a[0]);
    matmul_run(k, b->y, ldy, &m[3], &a[0]);
    matmul_many(k, ff, COUNT_OF(ff), &a[0]);
    matmul_run(k, b->y, ldy, &m[6], &a[1]);
    return seconds_since(start);
}

static const struct activation *rows_for(const struct bench *b, const struct matrix *m,
                                         const struct activation a[3])
{
    return &a[m->rows == b->width ? 0 : m->rows == b->wide ? 1 : 2];
}

/* Gradients of all seven inputs. */
static double time_transposed(struct bench *b, const struct kernels *k, const struct job *j)
{
    struct activation a[3];
    struct matrix m[MATRICES];
    next_layer(b, m);
    round_tokens(b, k, j->compute, j->T, a);
    uint64_t start = when_monotonic_ns();
    for (int i = 0; i < MATRICES; i++)
        matmul_transposed(k, b->y, 2 * b->wide, &m[i], rows_for(b, &m[i], a), false);
    return seconds_since(start);
}

/* Gradients of all seven matrices, one after another in the same place. */
static double time_outer(struct bench *b, const struct kernels *k, const struct job *j)
{
    uint64_t start = when_monotonic_ns();
    for (int i = 0; i < MATRICES; i++) {
        const struct matrix *m = &b->matrix[i];
        matmul_outer(k, b->gradient, b->x, b->wide, m->rows, b->x, b->wide, m->cols, j->T, j->compute,
                     b->scratch);
    }
    return seconds_since(start);
}

static double time_rows(const struct bench *b, const struct kernels *k, const struct job *j)
{
    uint64_t start = when_monotonic_ns();
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < j->rows; i++)
        for (int again = 0; again < TIMES; again++)
            j->row(b, k, j, i);
    return seconds_since(start) / TIMES;
}

static double time_job(struct bench *b, const struct kernels *k, const struct job *j)
{
    return j->row ? time_rows(b, k, j) : j->layer(b, k, j);
}

/* j->T queries of head `h` times the keys of all positions, and their weights times the values. */
static void row_scores(const struct bench *b, const struct kernels *k, const struct job *j, size_t h)
{
    k->matmul_f32(b->y + h * j->T * POSITIONS, POSITIONS, b->cache + h * HEAD * POSITIONS, HEAD * PANEL,
                  POSITIONS / PANEL, b->x + h * HEAD, b->wide, j->T, HEAD, false);
}

static void row_values(const struct bench *b, const struct kernels *k, const struct job *j, size_t h)
{
    k->matmul_f32(b->y + h * j->T * POSITIONS, POSITIONS, b->cache + h * HEAD * POSITIONS, POSITIONS * PANEL,
                  HEAD / PANEL, b->x, b->wide, j->T, POSITIONS, false);
}

static void row_rmsnorm(const struct bench *b, const struct kernels *k, const struct job *j, size_t r)
{
    (void)j;
    k->rmsnorm(b->y + r * b->wide, b->x + r * b->wide, b->x, b->width, 1e-6f);
}

static void row_softmax(const struct bench *b, const struct kernels *k, const struct job *j, size_t r)
{
    memcpy(b->y + r * b->wide, b->x + r * b->wide, POSITIONS * sizeof *b->y);
    k->softmax(b->y + r * b->wide, 0, POSITIONS, 0.1f, *j->detail ? 50 : 0);
}

static void row_gated(const struct bench *b, const struct kernels *k, const struct job *j, size_t r)
{
    enum activation_function f = *j->detail == 's' ? ACTIVATION_SILU : ACTIVATION_GELU_TANH;
    memcpy(b->y + r * b->wide, b->x + r * b->wide, b->wide * sizeof *b->y);
    k->gated(b->y + r * b->wide, b->x, b->wide, strcmp(j->detail, "gelu") ? f : ACTIVATION_GELU);
}

static void row_add(const struct bench *b, const struct kernels *k, const struct job *j, size_t r)
{
    (void)j;
    memcpy(b->y + r * b->wide, b->x, b->width * sizeof *b->y);
    k->add(b->y + r * b->wide, b->x + r * b->wide, b->width);
}

static void row_rope(const struct bench *b, const struct kernels *k, const struct job *j, size_t r)
{
    (void)j;
    memcpy(b->y + r * b->wide, b->x, HEAD * sizeof *b->y);
    k->rope(b->y + r * b->wide, b->x + r * b->wide, b->x + r * b->wide + HEAD, HEAD / 2);
}

static void row_prepare(const struct bench *b, const struct kernels *k, const struct job *j, size_t r)
{
    struct activation a;
    activation_init(&a, j->type, ROWS, b->width, b->rounded[0]);
    k->prepare(&a, b->x, b->wide, r, r + 1);
}

/* ---- comparing ---- */

static int compare(const float *got, const float *want, size_t n, const struct kernels *k,
                   const struct job *j, struct err *e)
{
    float size = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        float off = fabsf(got[i] - want[i]);
        size = fmaxf(size, fabsf(want[i]));
        worst = off <= worst ? worst : off; /* NaN too */
    }
    if (worst <= 2e-5f * size)
        return 0;
    return err_set(e, ERR_STATE,
                   "%s %s %s, %zu tokens: off by %g from the portable kernel, of values up to %g", k->isa,
                   j->name, j->detail, j->T, (double)worst, (double)size);
}

/* The last token of every matrix, alone in the portable table. */
static int check_layer(struct bench *b, const struct kernels *k, const struct job *j, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < MATRICES && !rc; i++) {
        const struct matrix *m = &b->matrix[i];
        struct activation a;
        void *space = b->rounded[m->cols == b->wide];
        activation_init(&a, j->compute, j->T, m->cols, space);
        matmul_prepare(k, &a, b->x, b->wide);
        matmul_run(k, b->y, b->wide, m, &a);
        activation_init(&a, j->compute, 1, m->cols, space);
        matmul_prepare(b->table[0], &a, b->x + (j->T - 1) * b->wide, b->wide);
        matmul_run(b->table[0], b->expected, b->wide, m, &a);
        rc = compare(b->y + (j->T - 1) * b->wide, b->expected, m->rows, k, j, e);
    }
    return rc;
}

static int check_transposed(struct bench *b, const struct kernels *k, const struct job *j, struct err *e)
{
    int rc = 0;
    struct activation a[3];
    for (int i = 0; i < MATRICES && !rc; i++) {
        const struct matrix *m = &b->matrix[i];
        size_t at = (j->T - 1) * b->wide;
        round_tokens(b, k, j->compute, j->T, a);
        matmul_transposed(k, b->y, b->wide, m, rows_for(b, m, a), false);
        struct activation last = *rows_for(b, m, a);
        last.bf16 += (j->T - 1) * last.ld;
        last.rows = 1;
        matmul_transposed(b->table[0], b->expected, b->wide, m, &last, false);
        rc = compare(b->y + at, b->expected, m->cols, k, j, e);
    }
    return rc;
}

/* 32 columns of the gradient's first rows. */
static int check_outer(struct bench *b, const struct kernels *k, const struct job *j, struct err *e)
{
    enum { N = 128, K = 32 };
    memset(b->gradient, 0, (size_t)N * b->wide * sizeof *b->gradient);
    memset(b->expected, 0, (size_t)N * K * sizeof *b->expected);
    matmul_outer(k, b->gradient, b->x, b->wide, N, b->x, b->wide, b->wide, j->T, j->compute, b->scratch);
    matmul_outer(b->table[0], b->expected, b->x, b->wide, N, b->x, b->wide, K, j->T, j->compute, b->scratch);
    for (size_t n = 0; n < N; n++)
        memcpy(b->y + n * K, b->gradient + n * b->wide, K * sizeof *b->y);
    return compare(b->y, b->expected, (size_t)N * K, k, j, e);
}

static int check_rows(struct bench *b, const struct kernels *k, const struct job *j, struct err *e)
{
    size_t n = MOST_TOKENS * b->wide;
    memset(b->y, 0, n * sizeof *b->y);
    time_rows(b, b->table[0], j);
    memcpy(b->expected, b->y, n * sizeof *b->y);
    memset(b->y, 0, n * sizeof *b->y);
    time_rows(b, k, j);
    return compare(b->y, b->expected, n, k, j, e);
}

/* ---- the list ---- */

static void add_job(struct bench *b, const struct job *j)
{
    b->job[b->jobs++] = *j;
}

static double weights_of(const struct bench *b)
{
    double weights = 0;
    for (int i = 0; i < MATRICES; i++)
        weights += (double)b->matrix[i].rows * (double)b->matrix[i].cols;
    return weights;
}

/* What training adds: rows in bf16, the gradient of the input, and where the weights are trained that of the weights. */
static void list_training(struct bench *b, enum dtype type)
{
    double ops = 2 * weights_of(b) * TRAINED, bytes = (double)b->layer_bytes;
    const char *name = dtype_info[type].name;
    if (type == DT_NF4)
        add_job(b, &(struct job){"product", name, TRAINED, type, NULL, 0, ops, bytes, DT_BF16, time_layer,
                                 check_layer});
    if (type == DT_NF4 || type == DT_BF16)
        add_job(b, &(struct job){"turned", name, TRAINED, type, NULL, 0, ops, bytes, DT_BF16, time_transposed,
                                 check_transposed});
    if (type == DT_BF16)
        add_job(b, &(struct job){"outer", name, TRAINED, type, NULL, 0, ops, 4 * weights_of(b), DT_BF16,
                                 time_outer, check_outer});
}

static void list_layers(struct bench *b, enum dtype type)
{
    static const size_t tokens[] = {1, 4, 16, 64, MOST_TOKENS};
    double weights = weights_of(b);
    for (size_t i = 0; type != DT_NF4 && i < COUNT_OF(tokens); i++)
        add_job(b, &(struct job){.name = "product",
                                 .detail = dtype_info[type].name,
                                 .T = tokens[i],
                                 .type = type,
                                 .ops = 2 * weights * (double)tokens[i],
                                 .bytes = (double)b->layer_bytes,
                                 .compute = type,
                                 .layer = time_layer,
                                 .check = check_layer});
    list_training(b, type);
}

static void add_rows(struct bench *b, const char *name, const char *detail, size_t T, enum dtype type,
                     row_kernel *row, size_t rows, double ops, double bytes)
{
    add_job(b, &(struct job){.name = name,
                             .detail = detail,
                             .T = T,
                             .type = type,
                             .row = row,
                             .rows = rows,
                             .ops = ops,
                             .bytes = bytes});
}

static void list_rows(struct bench *b)
{
    static const size_t tokens[] = {1, 16, 64};
    size_t heads = b->width / HEAD;
    double width = (double)b->width * ROWS, wide = (double)b->wide * ROWS;
    double products = 2.0 * (double)b->width * POSITIONS, cache = (double)b->width * POSITIONS * 4;
    for (size_t i = 0; i < COUNT_OF(tokens); i++) {
        double n = (double)tokens[i];
        add_rows(b, "scores", "f32", tokens[i], DT_F32, row_scores, heads, products * n, cache);
        add_rows(b, "values", "f32", tokens[i], DT_F32, row_values, heads, products * n, cache);
    }
    add_rows(b, "prepare", "bf16", ROWS, DT_BF16, row_prepare, ROWS, 0, width * 6);
    add_rows(b, "prepare", "q8_0", ROWS, DT_Q8_0, row_prepare, ROWS, 0, width * 5);
    add_rows(b, "rmsnorm", "", ROWS, DT_F32, row_rmsnorm, ROWS, 0, width * 12);
    add_rows(b, "softmax", "", ROWS, DT_F32, row_softmax, ROWS, 0, ROWS * POSITIONS * 8.0);
    add_rows(b, "softmax", "cap", ROWS, DT_F32, row_softmax, ROWS, 0, ROWS * POSITIONS * 8.0);
    add_rows(b, "gated", "silu", ROWS, DT_F32, row_gated, ROWS, 0, wide * 12);
    add_rows(b, "gated", "tanh", ROWS, DT_F32, row_gated, ROWS, 0, wide * 12);
    add_rows(b, "gated", "gelu", ROWS, DT_F32, row_gated, ROWS, 0, wide * 12);
    add_rows(b, "add", "", ROWS, DT_F32, row_add, ROWS, 0, width * 12);
    add_rows(b, "rope", "", ROWS, DT_F32, row_rope, ROWS, 0, ROWS * HEAD * 12.0);
}

/* ---- weights ---- */

/* Four panels of random weights over and over: speed does not depend on values, as long as they are ordinary. */
static int fill_layer(struct bench *b, enum dtype type, unsigned char *to, struct err *e)
{
    struct rng r = {1};
    float *rows = malloc(PANEL * b->wide * sizeof *rows);
    if (!rows)
        return err_set(e, ERR_MEMORY, "out of memory for a panel of %zu columns", b->wide);
    for (int i = 0; i < MATRICES; i++) {
        struct matrix *m = &b->matrix[i];
        size_t bytes = matrix_panel_bytes(type, m->cols);
        m->data = to;
        for (size_t p = 0; p < matrix_panels(m->rows); p++, to += bytes) {
            for (size_t j = 0; p < 4 && j < PANEL * m->cols; j++)
                rows[j] = (float)rng_below(&r, 2001) / 1e4f - 0.1f;
            if (p < 4)
                matrix_pack(to, type, rows, PANEL, m->cols);
            else
                memcpy(to, to - 4 * bytes, bytes);
        }
    }
    free(rows);
    return 0;
}

static int load(struct bench *b, enum dtype type, struct err *e)
{
    const size_t kv = b->width / 2, least = limits_beyond_caches();
    const size_t shape[MATRICES][2] = {{b->width, b->width}, {kv, b->width},      {kv, b->width},
                                       {b->width, b->width}, {b->wide, b->width}, {b->wide, b->width},
                                       {b->width, b->wide}};
    b->layer_bytes = 0;
    for (int i = 0; i < MATRICES; i++) {
        b->matrix[i] = (struct matrix){type, shape[i][0], shape[i][1], NULL};
        b->layer_bytes += matrix_bytes(type, shape[i][0], shape[i][1]);
    }
    b->layers = least / b->layer_bytes + 1;
    free(b->weights);
    b->weights = limits_memory(b->layers * b->layer_bytes);
    if (!b->weights)
        return err_set(e, ERR_MEMORY, "out of memory for %zu layers of weights", b->layers);
    int rc = fill_layer(b, type, b->weights, e);
    for (size_t i = 1; i < b->layers && !rc; i++)
        memcpy(b->weights + i * b->layer_bytes, b->weights, b->layer_bytes);
    return rc;
}

/* ---- timing ---- */

/* Another table than the one asked for; or the portable one at many tokens, which takes seconds and tells nothing
 * new. */
static bool left_out(const struct bench *b, const struct job *j, size_t table)
{
    if (b->isa)
        return strcmp(b->table[table]->isa, b->isa) != 0;
    return table == 0 && b->tables > 1 && !j->row && j->T > 16;
}

/* Jobs from..to-1 of all tables in turns; the first round only warms up. */
static int time_jobs(struct bench *b, size_t from, size_t to, struct progress *bar, struct err *e)
{
    size_t first = b->results;
    for (size_t i = from; i < to; i++)
        for (size_t t = 0; t < b->tables; t++) {
            if (left_out(b, &b->job[i], t))
                continue;
            struct job *j = &b->job[i];
            int rc = j->row ? check_rows(b, b->table[t], j, e) : j->check(b, b->table[t], j, e);
            if (rc)
                return rc;
            b->result[b->results++] = (struct result){.job = j, .table = t};
        }
    for (int round = -1; round < b->rounds; round++) {
        for (size_t i = first; i < b->results; i++) {
            struct result *r = &b->result[i];
            if (stop_requested())
                return err_set(e, ERR_STOPPED, "interrupted");
            bool reads = !r->job->row && r->job->T <= 4;
            limits_again(&b->limits[r->table], reads ? b->weights : NULL, b->layers * b->layer_bytes);
            double s = time_job(b, b->table[r->table], r->job);
            if (round >= 0)
                r->seconds[r->n++] = s;
        }
        progress_update(bar, ++b->rounds_done);
    }
    return 0;
}

/* One rate for all tables: the best of any, or of a kernel that read its weights faster than the plain loop did while
 * it was its turn. */
static void settle_read_limit(struct bench *b)
{
    double most = 0;
    for (size_t i = 0; i < b->tables; i++)
        most = fmax(most, b->limits[i].read);
    for (size_t i = 0; i < b->results; i++)
        for (int round = 0; !b->result[i].job->row && round < b->result[i].n; round++)
            most = fmax(most, b->result[i].job->bytes / b->result[i].seconds[round]);
    for (size_t i = 0; i < b->tables; i++)
        b->limits[i].read = most;
}

static int measure(struct bench *b, struct err *e)
{
    static const enum dtype types[] = {DT_F32, DT_BF16, DT_Q8_0, DT_Q4_0, DT_NF4};
    struct progress bar;
    int rc = 0;
    progress_start(&bar, "kernels", (COUNT_OF(types) + 1) * (size_t)(b->rounds + 1));
    for (size_t i = 0; i < COUNT_OF(types) && !rc; i++) {
        size_t from = b->jobs;
        rc = load(b, types[i], e);
        if (!rc) {
            list_layers(b, types[i]);
            rc = time_jobs(b, from, b->jobs, &bar, e);
        }
    }
    if (!rc) {
        size_t from = b->jobs;
        list_rows(b);
        rc = time_jobs(b, from, b->jobs, &bar, e);
    }
    progress_finish(&bar);
    settle_read_limit(b);
    return rc;
}

/* ---- figures ---- */

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* Rates at the median time and at the best, and what they are of the limits; NAN where there is none. */
struct figures {
    double seconds, ops, of_peak, best_of_peak, bytes, of_read;
};

static struct figures figures_of(const struct bench *b, struct result *r)
{
    const struct job *j = r->job;
    qsort(r->seconds, (size_t)r->n, sizeof *r->seconds, ascending);
    double s = r->seconds[r->n / 2], peak = limits_of(&b->limits[r->table], j->row ? j->type : j->compute);
    struct figures f = {s, NAN, NAN, NAN, j->bytes / s, NAN};
    if (j->ops > 0) {
        f.ops = j->ops / s;
        f.of_peak = f.ops / peak;
        f.best_of_peak = j->ops / r->seconds[0] / peak;
    }
    if (!j->row) /* rows fit in the caches */
        f.of_read = f.bytes / b->limits[0].read;
    return f;
}

static int print_json(struct bench *b)
{
    json_t *limits = json_array(), *kernels = json_array();
    for (size_t i = 0; i < b->tables; i++) {
        const struct limits *l = &b->limits[i];
        json_array_append_new(limits, json_pack("{s:s, s:o, s:o, s:o}", "isa", l->isa, "f32_gop_s",
                                                cli_json_real(l->f32 / 1e9, 1), "bf16_gop_s",
                                                cli_json_real(l->bf16 / 1e9, 1), "int8_gop_s",
                                                cli_json_real(l->int8 / 1e9, 1)));
    }
    for (size_t i = 0; i < b->results; i++) {
        const struct job *j = b->result[i].job;
        struct figures f = figures_of(b, &b->result[i]);
        json_array_append_new(
            kernels, json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "isa",
                               b->table[b->result[i].table]->isa, "kernel", j->name, "of", j->detail,
                               "tokens", (json_int_t)j->T, "ms", cli_json_real(f.seconds * 1e3, 4), "gop_s",
                               cli_json_real(f.ops / 1e9, 2), "of_peak", cli_json_real(f.of_peak, 4),
                               "best_of_peak", cli_json_real(f.best_of_peak, 4), "gb_s",
                               cli_json_real(f.bytes / 1e9, 2), "of_read", cli_json_real(f.of_read, 4)));
    }
    return cli_print_json(
        json_pack("{s:i, s:I, s:I, s:i, s:o, s:o, s:o}", "threads", b->limits[0].threads, "width",
                  (json_int_t)b->width, "feed_forward", (json_int_t)b->wide, "rounds", b->rounds, "read_gb_s",
                  cli_json_real(b->limits[0].read / 1e9, 2), "limits", limits, "kernels", kernels));
}

static void print_share(double v)
{
    if (isnan(v))
        printf("        -");
    else
        printf("  %5.1f %%", 100 * v);
}

static int print_table(struct bench *b)
{
    printf("threads %d, width %zu, feed-forward %zu; median of %d rounds\n"
           "read from memory: %.1f GB/s\n",
           b->limits[0].threads, b->width, b->wide, b->rounds, b->limits[0].read / 1e9);
    for (size_t i = 0; i < b->tables; i++)
        printf("%-8s from registers: f32 %.0f, bf16 %.0f, int8 %.0f GOP/s\n", b->limits[i].isa,
               b->limits[i].f32 / 1e9, b->limits[i].bf16 / 1e9, b->limits[i].int8 / 1e9);
    printf("\n%-8s  %-8s %-5s  %6s  %10s  %8s  %7s  %7s  %7s  %7s\n", "table", "kernel", "", "tokens", "ms",
           "GOP/s", "of peak", "best", "GB/s", "of read");
    for (size_t i = 0; i < b->results; i++) {
        const struct job *j = b->result[i].job;
        struct figures f = figures_of(b, &b->result[i]);
        printf("%-8s  %-8s %-5s  %6zu  %10.4f", b->table[b->result[i].table]->isa, j->name, j->detail, j->T,
               f.seconds * 1e3);
        if (isnan(f.ops))
            printf("         -");
        else
            printf("  %8.1f", f.ops / 1e9);
        print_share(f.of_peak);
        print_share(f.best_of_peak);
        printf("  %7.1f", f.bytes / 1e9);
        print_share(f.of_read);
        putchar('\n');
    }
    return EXIT_OK;
}

/* ---- the command ---- */

static int allocate(struct bench *b, struct err *e)
{
    struct rng r = {2};
    size_t n = MOST_TOKENS * b->wide, kv = b->width * POSITIONS;
    b->x = limits_memory(n * sizeof *b->x);
    b->y = limits_memory(2 * n * sizeof *b->y);
    b->expected = limits_memory(n * sizeof *b->expected);
    b->cache = limits_memory(kv * sizeof *b->cache);
    for (int i = 0; i < 3; i++) /* bf16 takes the most room */
        b->rounded[i] = limits_memory(activation_bytes(DT_BF16, MOST_TOKENS, b->wide));
    b->gradient = limits_memory(b->width * b->wide * sizeof *b->gradient);
    b->scratch = limits_memory(matmul_outer_bytes(b->wide, b->wide, TRAINED, DT_BF16));
    if (!b->x || !b->y || !b->expected || !b->cache || !b->rounded[0] || !b->rounded[1] || !b->rounded[2] ||
        !b->gradient || !b->scratch)
        return err_set(e, ERR_MEMORY, "out of memory for %d tokens of width %zu", MOST_TOKENS, b->wide);
    for (size_t i = 0; i < n; i++)
        b->x[i] = (float)rng_below(&r, 2001) / 1e3f - 1;
    for (size_t i = 0; i < kv; i++)
        b->cache[i] = (float)rng_below(&r, 2001) / 1e3f - 1;
    return 0;
}

static void release(struct bench *b)
{
    free(b->x);
    free(b->y);
    free(b->expected);
    free(b->cache);
    free(b->rounded[0]);
    free(b->rounded[1]);
    free(b->rounded[2]);
    free(b->gradient);
    free(b->scratch);
    free(b->weights);
    free(b);
}

static int bench(const struct arguments *o, struct err *e)
{
    struct bench *b = calloc(1, sizeof *b);
    if (!b)
        return err_set(e, ERR_MEMORY, "out of memory");
    b->width = (size_t)o->width;
    b->wide = b->width / 2 * 7;
    b->rounds = (int)o->rounds;
    b->isa = o->isa;
    b->tables = kernels_all(b->table);
    int rc = allocate(b, e);
    for (size_t i = 0; i < b->tables && !rc; i++)
        rc = limits_measure(&b->limits[i], b->table[i], e);
    if (!rc)
        rc = measure(b, e);
    if (!rc)
        rc = o->json ? print_json(b) : print_table(b);
    release(b);
    return rc;
}

static int parse_isa(const char **out, const char *text, struct err *e)
{
    const struct kernels *all[TABLES];
    size_t n = kernels_all(all);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(all[i]->isa, text)) {
            *out = all[i]->isa;
            return 0;
        }
    return err_set(e, ERR_USAGE, "--isa %.40s: this processor's widest table is %s", text, all[n - 1]->isa);
}

static int run(int argc, char **argv)
{
    struct arguments o = {.width = 2048, .rounds = 7};
    struct err e;
    int c, rc = 0;
    while ((c = cli_option(&cmd_bench_kernels, argc, argv, options)) != -1) {
        if (c == 'h' || c == '?')
            return c == 'h' ? EXIT_OK : EXIT_USAGE;
        if (c == OPT_THREADS)
            rc = cli_number(&o.threads, "--threads", optarg, 1, 1024, &e);
        else if (c == OPT_ISA)
            rc = parse_isa(&o.isa, optarg, &e);
        else if (c == OPT_WIDTH)
            rc = cli_number(&o.width, "--width", optarg, 256, 8192, &e);
        else if (c == OPT_ROUNDS)
            rc = cli_number(&o.rounds, "--rounds", optarg, 1, MOST_ROUNDS, &e);
        else
            o.json = true;
        if (rc)
            return cli_fail(&e);
    }
    if (argc != optind)
        return cli_usage(&cmd_bench_kernels, "%.40s: unexpected", argv[optind]);
    if (o.width % (2 * HEAD))
        return cli_usage(&cmd_bench_kernels, "--width %d: want a multiple of %d", (int)o.width, 2 * HEAD);
    if (o.threads)
        omp_set_num_threads((int)o.threads);
    stop_install();
    rc = bench(&o, &e);
    return rc < 0 ? cli_fail(&e) : rc;
}

const struct command cmd_bench_kernels = {
    "bench kernels", "the engine's kernels one by one",
    "usage: gyeol bench kernels [OPTIONS]\n\n"
    "Compares every kernel of every instruction set that this processor has with the portable one, then "
    "times\n"
    "them in turns. `product` is all seven weight matrices of one layer, each time of another layer, so "
    "that\n"
    "weights come from memory; `turned` and `outer` are the gradients of their inputs and of the weights "
    "as\n"
    "training takes them, and nf4's `product` its forward pass, all with 128 tokens in bf16. The other "
    "kernels\n"
    "work on 64 rows that fit in the caches. Limits are measured in the same run: operations from "
    "registers\n"
    "alone (multiply and add are two), in order reads from memory.\n\n"
    "  --threads N          (default: OMP_NUM_THREADS, else one per processor)\n"
    "  --isa NAME           only portable, avx2 or avx512\n"
    "  --width N            of the model: 16 heads and a feed-forward part of 7168 at the default of 2048\n"
    "  --rounds N           the median of so many, 1 to 99 (default 7); a first one only warms up\n"
    "  --json               one JSON object\n",
    run};
