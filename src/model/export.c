#include "model/export.h"

#include "base/progress.h"
#include "base/size.h"
#include "base/stop.h"
#include "compute/quant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_VALUES = 4 << 20 }; /* decoded at a time */

/* ggml.h, enum ggml_ftype; quantisation version 2 is GGML_QNT_VERSION. */
static const struct {
    enum dtype type;
    uint32_t ftype;
} types[] = {{DT_F32, 0}, {DT_BF16, 32}, {DT_Q8_0, 7}, {DT_Q4_0, 2}};
#define QUANTISATION_VERSION 2

static size_t find_type(enum dtype t)
{
    size_t i = 0;
    while (i < COUNT_OF(types) && types[i].type != t)
        i++;
    return i;
}

bool export_type_parse(enum dtype *out, const char *name)
{
    int t = dtype_parse(name);
    if (t < 0 || find_type((enum dtype)t) == COUNT_OF(types))
        return false;
    *out = (enum dtype)t;
    return true;
}

/* ---- the tensors, in the reference converter's order ---- */

static const enum role order[] = {
    /* once, before the layers */
    ROLE_ROPE_FREQS,
    ROLE_HEAD,
    ROLE_EMBEDDING,
    /* per layer: Hugging Face's names in alphabetical order */
    ROLE_ATTENTION_NORM,
    ROLE_DOWN_BIAS,
    ROLE_DOWN,
    ROLE_GATE_BIAS,
    ROLE_GATE,
    ROLE_UP_BIAS,
    ROLE_UP,
    ROLE_POST_ATTENTION_NORM,
    ROLE_POST_FF_NORM,
    ROLE_FF_NORM,
    ROLE_K_NORM,
    ROLE_K_BIAS,
    ROLE_K,
    ROLE_O_BIAS,
    ROLE_O,
    ROLE_Q_NORM,
    ROLE_Q_BIAS,
    ROLE_Q,
    ROLE_V_BIAS,
    ROLE_V,
    /* once, at the end */
    ROLE_NORM,
};
enum { FIRST_OF_LAYER = 3, AFTER_LAYER = COUNT_OF(order) - 1 };

struct item {
    const struct checkpoint *checkpoint;
    enum dtype want; /* of matrices */
    size_t at;       /* in order[]; begins before 0 */
    uint32_t layer;
    /* the tensor: */
    enum role role;
    const struct weight *weight; /* NULL: rope factors, which the source has as numbers */
    struct peft_pair pair;
    enum dtype type;
    int rank;
    size_t dim[2], row_bytes;
    bool raw; /* of that type already, and in that order */
    char name[80];
};

static void set_name(struct item *t)
{
    const char *pattern = role_gguf_name(t->role), *number = strstr(pattern, "%u");
    if (number)
        snprintf(t->name, sizeof t->name, "%.*s%u%s", (int)(number - pattern), pattern, t->layer, number + 2);
    else
        snprintf(t->name, sizeof t->name, "%s", pattern);
}

static void set_type(struct item *t)
{
    enum dtype found = t->weight ? t->weight->tensor.type : DT_F32;
    t->type = t->rank == 1 ? DT_F32 : t->want;
    if (t->type == DT_Q4_0 && (t->role == ROLE_EMBEDDING || t->role == ROLE_HEAD))
        t->type = DT_Q8_0;
    if (!dtype_row_bytes(t->type, t->dim[t->rank - 1], &t->row_bytes)) {
        t->type = found == DT_BF16 ? DT_BF16 : DT_F16;
        dtype_row_bytes(t->type, t->dim[t->rank - 1], &t->row_bytes);
    }
    t->raw = checkpoint_gguf(t->checkpoint) && found == t->type && !t->pair.a;
}

/* Fills the item for order[at]; false when this model has no such tensor. */
static bool describe(struct item *t, const struct peft *folded)
{
    const struct config *c = checkpoint_config(t->checkpoint);
    t->role = order[t->at];
    t->weight = checkpoint_weight(t->checkpoint, t->role, t->layer);
    t->rank = role_shape(t->role, c, t->dim);
    if (t->role == ROLE_ROPE_FREQS && c->rope[0].scaling == ROPE_LLAMA3) {
        t->rank = 1;
        t->dim[0] = c->rope_width / 2;
    } else if (!t->weight) {
        return false;
    }
    t->pair = folded && t->rank == 2 ? peft_get(folded, t->role, t->layer) : (struct peft_pair){0};
    set_type(t);
    set_name(t);
    return true;
}

static void start(struct item *t, const struct checkpoint *c, enum dtype want)
{
    *t = (struct item){.checkpoint = c, .want = want, .at = SIZE_MAX};
}

static bool next(struct item *t, const struct peft *folded)
{
    do {
        t->at++;
        if (t->at == AFTER_LAYER && t->layer + 1 < checkpoint_config(t->checkpoint)->layers) {
            t->layer++;
            t->at = FIRST_OF_LAYER;
        }
        if (t->at == COUNT_OF(order))
            return false;
    } while (!describe(t, folded));
    return true;
}

/* ---- values ---- */

/* GGUF's Llama keeps the halves of a rotated head interleaved: the row of Hugging Face's order that stands at
 * `row` (convert_hf_to_gguf.py, LlamaModel.permute). */
static size_t source_row(const struct item *t, size_t row)
{
    const struct config *c = checkpoint_config(t->checkpoint);
    bool q = t->role == ROLE_Q || t->role == ROLE_Q_BIAS, k = t->role == ROLE_K || t->role == ROLE_K_BIAS;
    if (!(q || k) || strcmp(config_gguf_architecture(c), "llama") != 0)
        return row;
    size_t in = row % c->head_width;
    return row - in + in % 2 * (c->head_width / 2) + in / 2;
}

struct fold {
    float *a, *b; /* scale A [r, inputs], B [outputs, r]; NULL: nothing to fold in */
    size_t rank;
};

static int open_fold(struct fold *f, const struct peft_pair *p, struct err *e)
{
    *f = (struct fold){0};
    if (!p->a)
        return 0;
    size_t a = p->a->dim[0] * p->a->dim[1], b = p->b->dim[0] * p->b->dim[1];
    f->rank = p->rank;
    f->a = malloc(a * sizeof *f->a);
    f->b = malloc(b * sizeof *f->b);
    if (!f->a || !f->b)
        return err_set(e, ERR_MEMORY, "out of memory for an adapter of rank %u", p->rank);
    quant_decode(f->a, p->a->type, p->a->data, a);
    quant_decode(f->b, p->b->type, p->b->data, b);
    for (size_t i = 0; i < a; i++)
        f->a[i] *= p->scale;
    return 0;
}

static void close_fold(struct fold *f)
{
    free(f->a);
    free(f->b);
}

/* values[columns] += row `row` of B A; the products are added up first, being small beside W. */
static void fold_row(const struct fold *f, float *values, float *delta, size_t columns, size_t row)
{
    memset(delta, 0, columns * sizeof *delta);
    for (size_t k = 0; k < f->rank; k++) {
        float b = f->b[row * f->rank + k];
        const float *a = f->a + k * columns;
        for (size_t i = 0; i < columns; i++)
            delta[i] += b * a[i];
    }
    for (size_t i = 0; i < columns; i++)
        values[i] += delta[i];
}

/* Rows first .. first+n-1, as they will stand in the file; values and delta are scratch [n][columns]. */
static int make_rows(const struct item *t, const struct fold *f, size_t first, size_t n, float *values,
                     float *delta, unsigned char *out, struct err *e)
{
    size_t columns = t->dim[1];
    int rc = 0;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++) {
        struct err mine;
        size_t row = source_row(t, first + i);
        int my = weight_decode_rows(values + i * columns, t->weight, row, 1, &mine);
        if (!my && f->a)
            fold_row(f, values + i * columns, delta + i * columns, columns, row);
        if (!my)
            quant_encode(out + i * t->row_bytes, t->type, values + i * columns, columns);
        if (my)
#pragma omp critical
        {
            rc = my;
            if (e)
                *e = mine;
        }
    }
    return rc;
}

struct job {
    struct gguf_writer *writer;
    struct progress progress;
    uint64_t done;
};

static int put(struct job *j, const void *data, size_t n, struct err *e)
{
    if (stop_requested())
        return err_set(e, ERR_STOPPED, "stopped");
    int rc = gguf_write_data(j->writer, data, n, e);
    j->done += n;
    progress_update(&j->progress, j->done);
    return rc;
}

static int write_matrix(struct job *j, const struct item *t, struct err *e)
{
    size_t most = t->dim[1] < CHUNK_VALUES ? CHUNK_VALUES / t->dim[1] : 1;
    most = most < t->dim[0] ? most : t->dim[0];
    struct fold fold;
    float *values = malloc(2 * most * t->dim[1] * sizeof *values);
    unsigned char *bytes = malloc(most * t->row_bytes);
    int rc = open_fold(&fold, &t->pair, e);
    if (!rc && (!values || !bytes))
        rc = err_set(e, ERR_MEMORY, "out of memory for rows of %zu", t->dim[1]);
    for (size_t row = 0; !rc && row < t->dim[0]; row += most) {
        size_t n = t->dim[0] - row < most ? t->dim[0] - row : most;
        rc = make_rows(t, &fold, row, n, values, values + most * t->dim[1], bytes, e);
        if (!rc)
            rc = put(j, bytes, n * t->row_bytes, e);
    }
    close_fold(&fold);
    free(values);
    free(bytes);
    return rc;
}

static int write_vector(struct job *j, const struct item *t, struct err *e)
{
    size_t n = t->dim[0];
    float *values = malloc(2 * n * sizeof *values), *stored = values + n;
    int rc = values ? 0 : err_set(e, ERR_MEMORY, "out of memory for %zu values", n);
    if (!rc && !t->weight)
        config_rope_factors(values, checkpoint_config(t->checkpoint));
    else if (!rc)
        rc = weight_decode_rows(values, t->weight, 0, 1, e);
    for (size_t i = 0; !rc && i < n; i++)
        stored[i] = values[source_row(t, i)];
    if (!rc)
        rc = put(j, stored, n * sizeof *stored, e);
    free(values);
    return rc;
}

static int write_raw(struct job *j, const struct item *t, struct err *e)
{
    const struct tensor *from = &t->weight->tensor;
    int rc = 0;
    for (size_t at = 0, n; !rc && at < from->bytes; at += n) {
        n = from->bytes - at < CHUNK_VALUES ? from->bytes - at : CHUNK_VALUES;
        rc = put(j, from->data + at, n, e);
    }
    return rc;
}

static int write_item(struct job *j, const struct item *t, struct err *e)
{
    if (t->raw)
        return write_raw(j, t, e);
    return t->rank == 1 ? write_vector(j, t, e) : write_matrix(j, t, e);
}

/* ---- metadata ---- */

static void put_text(struct gguf_writer *w, const char *key, const char *text)
{
    gguf_put_string(w, key, text, strlen(text));
}

/* What people call it: the last part of the name, or of the path, that has one. */
static void put_name(struct gguf_writer *w, const struct checkpoint *c)
{
    const struct config *config = checkpoint_config(c);
    const char *name = *config->name ? config->name : checkpoint_path(c);
    size_t n = strlen(name), from;
    while (n > 1 && name[n - 1] == '/')
        n--;
    for (from = n; from > 0 && name[from - 1] != '/'; from--)
        ;
    gguf_put_string(w, "general.name", name + from, n - from);
}

/* "1.5B", "127K": gguf-py's model_weight_count_rounded_notation. */
static void put_size_label(struct gguf_writer *w, uint64_t parameters)
{
    static const char unit[] = "KMBT";
    double n = (double)parameters / 1e3;
    char text[32];
    int k = 0;
    while (n > 1000 && k < 3) {
        n /= 1000;
        k++;
    }
    snprintf(text, sizeof text, "%.*f%c", n < 9.5 ? 1 : 0, n, unit[k]);
    put_text(w, "general.size_label", text);
}

static bool begins(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

/* A GGUF file's own metadata goes along as it is, but for what the tensors' types decide. */
static void copy_metadata(struct gguf_writer *w, const struct gguf *g)
{
    for (size_t i = 0; i < gguf_keys(g); i++) {
        const struct gguf_value *v;
        const char *key = gguf_key_at(g, i, &v);
        if (strcmp(key, "general.file_type") != 0 && strcmp(key, "general.quantization_version") != 0 &&
            !begins(key, "split.") && !begins(key, "quantize."))
            gguf_put_value(w, key, v);
    }
}

static int put_metadata(struct gguf_writer *w, const struct checkpoint *c, const struct export_options *o,
                        struct export_report *report, struct err *e)
{
    const struct gguf *g = checkpoint_gguf(c);
    int rc = 0;
    if (g) {
        copy_metadata(w, g);
        report->tokenizer = gguf_find(g, "tokenizer.ggml.tokens") != NULL;
    } else {
        put_text(w, "general.architecture", config_gguf_architecture(checkpoint_config(c)));
        put_text(w, "general.type", "model");
        put_name(w, c);
        put_size_label(w, report->parameters);
        rc = config_put_gguf(w, checkpoint_config(c), e);
    }
    gguf_put_u32(w, "general.file_type", types[find_type(o->type)].ftype);
    gguf_put_u32(w, "general.quantization_version", QUANTISATION_VERSION);
    return rc;
}

/* ---- the whole ---- */

static void count(struct export_report *r, const struct item *t)
{
    uint64_t rows = t->rank == 2 ? t->dim[0] : 1;
    r->tensors++;
    r->parameters += t->role == ROLE_ROPE_FREQS ? 0 : rows * t->dim[t->rank - 1];
    r->bytes += rows * t->row_bytes;
    if (t->rank == 2 && (t->type == DT_F16 || t->type == DT_BF16) && t->want != t->type && r->kept++ == 0) {
        r->kept_type = t->type;
        snprintf(r->kept_name, sizeof r->kept_name, "%s", t->name);
    }
}

static int write_all(struct job *j, const struct checkpoint *c, const struct export_options *o,
                     struct export_report *r, struct err *e)
{
    struct item t;
    for (start(&t, c, o->type); next(&t, o->folded);)
        count(r, &t);
    int rc = put_metadata(j->writer, c, o, r, e);
    for (start(&t, c, o->type); !rc && next(&t, o->folded);)
        gguf_put_tensor(j->writer, t.name, t.type, t.rank, t.dim);
    if (!rc)
        rc = gguf_begin_data(j->writer, e);
    j->progress.total = r->bytes;
    for (start(&t, c, o->type); !rc && next(&t, o->folded);)
        rc = write_item(j, &t, e);
    return rc;
}

int export_gguf(const char *path, const struct checkpoint *c, const struct export_options *o,
                struct export_report *report, struct err *e)
{
    struct job j = {0};
    *report = (struct export_report){0};
    int rc = gguf_create(&j.writer, path, e);
    if (rc)
        return rc;
    progress_start(&j.progress, "writing", 0);
    rc = write_all(&j, c, o, report, e);
    progress_finish(&j.progress);
    if (!rc)
        return gguf_finish(j.writer, e);
    gguf_abandon(j.writer);
    return rc;
}
