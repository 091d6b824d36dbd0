/* Typed reads of GGUF metadata. Converters disagree about widths (u32, i32, u64 for the same count), so any
 * integer that fits will do. */
#include "base/le.h"
#include "format/gguf_int.h"

#include <float.h>
#include <math.h>

static const struct {
    const char *name;
    size_t bytes;
} value_type[] = {
    [GGUF_U8] = {"u8", 1},       [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2},     [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4},     [GGUF_BOOL] = {"bool", 1}, [GGUF_STRING] = {"string", 0},
    [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

size_t gguf_size(enum gguf_type t)
{
    return value_type[t].bytes;
}

const char *gguf_type_name(enum gguf_type t)
{
    return value_type[t].name;
}

static int wrong(const struct gguf *g, const char *key, const struct gguf_value *v, const char *wanted,
                 struct err *e)
{
    return err_set(e, ERR_FORMAT, "%s: key %s: a value of type %s, wanted %s", gguf_name(g), key,
                   gguf_type_name(v->type), wanted);
}

bool gguf_as_u32(const struct gguf_value *v, uint32_t *out)
{
    int64_t n;
    switch (v->type) {
    case GGUF_U8:
        n = v->data[0];
        break;
    case GGUF_I8:
        n = (int8_t)v->data[0];
        break;
    case GGUF_U16:
        n = le16(v->data);
        break;
    case GGUF_I16:
        n = (int16_t)le16(v->data);
        break;
    case GGUF_U32:
        n = le32(v->data);
        break;
    case GGUF_I32:
        n = (int32_t)le32(v->data);
        break;
    case GGUF_U64: /* what does not fit an i64 comes out negative */
    case GGUF_I64:
        n = (int64_t)le64(v->data);
        break;
    default:
        return false;
    }
    if (n < 0 || n > UINT32_MAX)
        return false;
    *out = (uint32_t)n;
    return true;
}

int gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out, struct err *e)
{
    const struct gguf_value *v = gguf_find(g, key);
    return !v || gguf_as_u32(v, out) ? 0 : wrong(g, key, v, "an integer from 0 to 4294967295", e);
}

int gguf_get_f32(const struct gguf *g, const char *key, float *out, struct err *e)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v)
        return 0;
    double d = v->type == GGUF_F32 || v->type == GGUF_F64 ? gguf_number_at(v, 0) : NAN;
    if ((v->type != GGUF_F32 && v->type != GGUF_F64) || (isfinite(d) && fabs(d) > (double)FLT_MAX))
        return wrong(g, key, v, "a number that fits in 32 bits of floating point", e);
    *out = (float)d;
    return 0;
}

int gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct err *e)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v)
        return 0;
    if (v->type != GGUF_BOOL)
        return wrong(g, key, v, "a bool", e);
    *out = v->data[0];
    return 0;
}

int gguf_get_string(const struct gguf *g, const char *key, struct gguf_string *out, struct err *e)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v)
        return 0;
    if (v->type != GGUF_STRING)
        return wrong(g, key, v, "a string", e);
    *out = v->strings[0];
    return 0;
}

double gguf_number_at(const struct gguf_value *v, size_t i)
{
    const unsigned char *p = v->data + i * gguf_size(v->element);
    switch (v->element) {
    case GGUF_U8:
    case GGUF_BOOL:
        return *p;
    case GGUF_I8:
        return (int8_t)*p;
    case GGUF_U16:
        return le16(p);
    case GGUF_I16:
        return (int16_t)le16(p);
    case GGUF_U32:
        return le32(p);
    case GGUF_I32:
        return (int32_t)le32(p);
    case GGUF_F32:
        return (double)le_f32(p);
    case GGUF_U64:
        return (double)le64(p);
    case GGUF_I64:
        return (double)(int64_t)le64(p);
    case GGUF_F64:
        return le_f64(p);
    default:
        return NAN; /* strings: the caller was to look first */
    }
}
