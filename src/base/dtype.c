#include "base/dtype.h"

#include "base/size.h"

#include <string.h>

const struct dtype_info dtype_info[DT_COUNT] = {
    [DT_F32] = {"f32", 1, 4, true},       [DT_F16] = {"f16", 1, 2, true},
    [DT_BF16] = {"bf16", 1, 2, true},     [DT_Q8_0] = {"q8_0", 32, 34, true},
    [DT_Q4_0] = {"q4_0", 32, 18, true},   [DT_Q4_1] = {"q4_1", 32, 20, true},
    [DT_Q5_0] = {"q5_0", 32, 22, true},   [DT_Q5_1] = {"q5_1", 32, 24, true},
    [DT_Q4_K] = {"q4_k", 256, 144, true}, [DT_Q5_K] = {"q5_k", 256, 176, true},
    [DT_Q6_K] = {"q6_k", 256, 210, true}, [DT_NF4] = {"nf4", 64, 0, false},
    [DT_F64] = {"f64", 1, 8, true},       [DT_U8] = {"u8", 1, 1, false},
    [DT_I8] = {"i8", 1, 1, false},        [DT_I16] = {"i16", 1, 2, false},
    [DT_I32] = {"i32", 1, 4, false},      [DT_I64] = {"i64", 1, 8, false},
    [DT_BOOL] = {"bool", 1, 1, false},    [DT_OTHER] = {"other", 1, 0, false},
};

bool dtype_row_bytes(enum dtype t, size_t n, size_t *bytes)
{
    const struct dtype_info *d = &dtype_info[t];
    return d->bytes && n % d->values == 0 && size_mul(n / d->values, d->bytes, bytes);
}

int dtype_parse(const char *name)
{
    for (int t = 0; t < DT_OTHER; t++)
        if (strcmp(name, dtype_info[t].name) == 0)
            return t;
    return -1;
}
