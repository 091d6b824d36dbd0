/* Rows of a weight as floats, whatever the file holds, in Hugging Face's order. */
#include "compute/quant.h"
#include "format/checkpoint.h"

#include <string.h>

static float f32_at(const unsigned char *p, size_t i)
{
    float f;
    memcpy(&f, p + 4 * i, 4);
    return f;
}

/* ---- NF4: blocks run through the whole matrix, rows need not begin with one ---- */

static float block_scale(const struct weight *w, size_t block)
{
    if (!w->absmax_scale)
        return f32_at(w->absmax, block);
    return f32_at(w->absmax_map, w->absmax[block]) * f32_at(w->absmax_scale, block / NF4_BLOCK2) +
           w->absmax_offset;
}

int weight_nf4_absmax(float *out, const struct weight *w, struct err *e)
{
    size_t n = w->tensor.dim[0] * w->tensor.dim[1];
    for (size_t i = 0; i < 16; i++)
        if (f32_at(w->code_map, i) != nf4_codebook[i])
            return err_set(e, ERR_FORMAT, "%.120s: quant_map[%zu] is %g, want NF4's %g", w->tensor.name, i,
                           (double)f32_at(w->code_map, i), (double)nf4_codebook[i]);
    for (size_t b = 0; b * NF4_BLOCK < n; b++)
        out[b] = block_scale(w, b);
    return 0;
}

static void decode_nf4(float *out, const struct weight *w, size_t at, size_t n)
{
    size_t end = at + n;
    while (at < end) {
        size_t block = at / NF4_BLOCK, stop = (block + 1) * NF4_BLOCK;
        float scale = block_scale(w, block);
        for (stop = stop < end ? stop : end; at < stop; at++) {
            unsigned char pair = w->tensor.data[at / 2];
            *out++ = f32_at(w->code_map, at % 2 ? pair & 15 : pair >> 4) * scale;
        }
    }
}

/* ---- GGUF's Llama: Hugging Face's rows [heads, 2, half] are stored as [heads, half, 2] ---- */

static size_t stored_row(const struct weight *w, size_t rows, size_t row)
{
    if (!w->permuted)
        return row;
    size_t head = rows / w->heads, half = head / 2, in = row % head;
    return row - in + in % half * 2 + in / half;
}

/* A bias is one row whose values are permuted as a matrix's rows would be. */
static void decode_permuted_vector(float *out, const struct weight *w, size_t n)
{
    size_t bytes = dtype_info[w->tensor.type].bytes;
    for (size_t i = 0; i < n; i++)
        quant_decode(&out[i], w->tensor.type, w->tensor.data + bytes * stored_row(w, n, i), 1);
}

static void decode_vector(float *out, const struct weight *w, size_t n)
{
    if (w->permuted)
        decode_permuted_vector(out, w, n);
    else
        quant_decode(out, w->tensor.type, w->tensor.data, n);
    for (size_t i = 0; w->plus_one && i < n; i++)
        out[i] += 1;
}

int weight_decode_rows(float *out, const struct weight *w, size_t first, size_t n, struct err *e)
{
    const struct tensor *t = &w->tensor;
    size_t rows = t->rank == 2 ? t->dim[0] : 1, columns = t->dim[t->rank - 1], bytes;
    if (first > rows || n > rows - first)
        return err_set(e, ERR_LIMIT, "%.120s: rows %zu to %zu of %zu", t->name, first, first + n, rows);
    if (t->type == DT_NF4) {
        decode_nf4(out, w, first * columns, n * columns);
        return 0;
    }
    if (!dtype_row_bytes(t->type, columns, &bytes))
        return err_set(e, ERR_FORMAT, "%.120s: rows of %zu are no whole blocks of %s", t->name, columns,
                       dtype_info[t->type].name);
    if (t->rank == 1 && n)
        decode_vector(out, w, columns);
    for (size_t i = 0; t->rank == 2 && i < n; i++)
        quant_decode(out + i * columns, t->type, t->data + bytes * stored_row(w, rows, first + i), columns);
    return 0;
}
