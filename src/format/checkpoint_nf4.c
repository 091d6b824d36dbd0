/* bitsandbytes' 4-bit weights as it saves them: X.weight holds the packed codes, X.weight.absmax the blocks'
 * maxima (themselves 8-bit codes under double quantisation, with X.weight.nested_*), and a JSON text in bytes
 * the rest (functional.py, QuantState.as_dict). */
#include "base/size.h"
#include "compute/quant.h"
#include "format/checkpoint_int.h"
#include "format/fields.h"

#include <stdio.h>
#include <string.h>

enum { STATE_BYTES_MAX = 4096 };

struct state {
    uint32_t blocksize, nested_blocksize;
    float offset;
    bool nested;
};

static int one_of(const struct fields *f, const char *key, const char *want, struct err *e)
{
    const char *found = "";
    char quoted[40];
    snprintf(quoted, sizeof quoted, "\"%s\"", want);
    int rc = fields_string(f, key, &found, e);
    return rc || strcmp(found, want) == 0 ? rc : fields_bad(f, key, quoted, e);
}

static int is_number(const struct fields *f, const char *key, uint32_t want, struct err *e)
{
    uint32_t found = 0;
    char text[40];
    snprintf(text, sizeof text, "%u, the only size that is read", want);
    int rc = fields_u32(f, key, &found, 0, UINT32_MAX, e);
    return rc || found == want ? rc : fields_bad(f, key, text, e);
}

static int check_shape(const struct fields *f, const size_t dim[2], struct err *e)
{
    char want[64];
    const json_t *shape = fields_get(f, "shape");
    snprintf(want, sizeof want, "[%zu, %zu]", dim[0], dim[1]);
    if (json_array_size(shape) != 2)
        return fields_bad(f, "shape", want, e);
    for (size_t i = 0; i < 2; i++)
        if (json_integer_value(json_array_get(shape, i)) != (json_int_t)dim[i])
            return err_set(e, ERR_FORMAT, "%s: shape is [%lld, %lld], want %s", f->file,
                           (long long)json_integer_value(json_array_get(shape, 0)),
                           (long long)json_integer_value(json_array_get(shape, 1)), want);
    return 0;
}

static int read_state(struct state *out, const struct fields *f, const size_t dim[2], struct err *e)
{
    int rc = one_of(f, "quant_type", "nf4", e);
    if (!rc)
        rc = is_number(f, "blocksize", NF4_BLOCK, e);
    if (!rc)
        rc = check_shape(f, dim, e);
    if (rc || !out->nested)
        return rc;
    rc = is_number(f, "nested_blocksize", NF4_BLOCK2, e);
    if (!rc && fields_get(f, "nested_dtype"))
        rc = one_of(f, "nested_dtype", "float32", e);
    if (!rc && !fields_get(f, "nested_offset"))
        rc = fields_bad(f, "nested_offset", "a number", e);
    return rc ? rc : fields_f32(f, "nested_offset", &out->offset, e);
}

static int parse_state(struct state *out, const struct slot *s, const size_t dim[2], struct err *e)
{
    const struct tensor *t = s->part[PART_STATE];
    char name[512];
    struct fields f;
    json_t *root;
    snprintf(name, sizeof name, "%.250s: %.200s", s->file, t->name);
    if (t->type != DT_U8 || t->bytes > STATE_BYTES_MAX)
        return err_set(e, ERR_FORMAT, "%s: %zu bytes of %s, want at most %d of u8", name, t->bytes,
                       dtype_info[t->type].name, STATE_BYTES_MAX);
    int rc = fields_parse(&f, &root, name, (const char *)t->data, t->bytes, e);
    if (rc)
        return rc;
    rc = read_state(out, &f, dim, e);
    json_decref(root);
    return rc;
}

/* The part's data, when there are n values of that type in it. */
static int take(const unsigned char **out, const struct slot *s, enum part p, enum dtype type, size_t n,
                struct err *e)
{
    const struct tensor *t = s->part[p];
    size_t width = type == DT_F32 ? 4 : 1;
    if (!t)
        return err_set(e, ERR_FORMAT, "%s: %.120s lacks its %s", s->file, s->part[PART_WEIGHT]->name,
                       p == PART_MAP          ? "quant_map"
                       : p == PART_NESTED_MAP ? "nested_quant_map"
                                              : "absmax");
    if (t->type != type || t->bytes != n * width)
        return err_set(e, ERR_FORMAT, "%s: %.120s is %zu bytes of %s, want %zu of %s", s->file, t->name,
                       t->bytes, dtype_info[t->type].name, n * width, dtype_info[type].name);
    *out = t->data;
    return 0;
}

int checkpoint_nf4(struct weight *w, const struct slot *s, const size_t dim[2], struct err *e)
{
    size_t n;
    struct state state = {.nested = s->part[PART_NESTED_ABSMAX] != NULL};
    if (!size_mul(dim[0], dim[1], &n) || n % 2)
        return err_set(e, ERR_FORMAT, "%s: %.120s: %zu x %zu values cannot be packed in pairs", s->file,
                       s->part[PART_WEIGHT]->name, dim[0], dim[1]);
    size_t blocks = n / NF4_BLOCK + (n % NF4_BLOCK != 0);
    const unsigned char *packed;
    int rc = parse_state(&state, s, dim, e);
    if (!rc)
        rc = take(&packed, s, PART_WEIGHT, DT_U8, n / 2, e);
    if (!rc)
        rc = take(&w->code_map, s, PART_MAP, DT_F32, 16, e);
    if (!rc)
        rc = take(&w->absmax, s, PART_ABSMAX, state.nested ? DT_U8 : DT_F32, blocks, e);
    if (!rc && state.nested)
        rc = take(&w->absmax_scale, s, PART_NESTED_ABSMAX, DT_F32,
                  blocks / NF4_BLOCK2 + (blocks % NF4_BLOCK2 != 0), e);
    if (!rc && state.nested)
        rc = take(&w->absmax_map, s, PART_NESTED_MAP, DT_F32, 256, e);
    if (rc)
        return rc;
    w->absmax_offset = state.offset;
    w->tensor.type = DT_NF4;
    w->tensor.rank = 2;
    w->tensor.dim[0] = dim[0];
    w->tensor.dim[1] = dim[1];
    return 0;
}
