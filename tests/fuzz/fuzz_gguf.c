/* A GGUF file, byte for byte. What parses has every value and every tensor's bytes within the file, no
 * tensor's bytes shared, and is found by its name; what does not leaves one line. */
#include "base/err.h"
#include "compute/quant.h"
#include "format/gguf.h"
#include "text/utf8.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void check_message(const struct err *e, int rc)
{
    if (rc >= 0 || e->code != rc || strncmp(e->msg, "fuzz: ", 6) != 0)
        abort();
    if (!utf8_valid(e->msg, strlen(e->msg), NULL) || strpbrk(e->msg, "\r\n"))
        abort();
}

static void check_name(const char *name, size_t max)
{
    size_t n = strlen(name);
    if (n == 0 || n > max)
        abort();
    for (size_t i = 0; i < n; i++)
        if (name[i] < 0x20 || name[i] > 0x7E)
            abort();
}

/* Every byte is read once, for AddressSanitizer to see. */
static unsigned touch(const char *p, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (unsigned char)p[i];
    return sum;
}

static void check_value(const struct gguf_value *v)
{
    static volatile double sink;
    if (v->type != GGUF_ARRAY && (v->count != 1 || v->element != v->type))
        abort();
    for (size_t i = 0; i < v->count; i++)
        if (v->element == GGUF_STRING)
            sink = touch(v->strings[i].data, v->strings[i].len);
        else
            sink = gguf_number_at(v, i);
    (void)sink;
}

static void check_typed(const struct gguf *g, const char *key)
{
    struct err e = {0};
    uint32_t n;
    float f;
    bool b;
    struct gguf_string s;
    int rc[] = {gguf_get_u32(g, key, &n, &e), gguf_get_f32(g, key, &f, &e), gguf_get_bool(g, key, &b, &e),
                gguf_get_string(g, key, &s, &e)};
    int good = 0;
    for (int i = 0; i < 4; i++)
        good += rc[i] == 0;
    if (good > 1)
        abort();
    check_message(&e, e.code); /* at most one of them did not complain */
}

static void check_tensor(const struct tensor *t, const uint8_t *data, size_t size)
{
    static float block[256];
    check_name(t->name, 255);
    if (t->type == DT_OTHER) {
        if (t->data || t->bytes)
            abort();
        return;
    }
    if (t->data < data || t->bytes == 0 || t->bytes > size - (size_t)(t->data - data))
        abort();
    size_t row = 0, rows = 1;
    if (!dtype_row_bytes(t->type, t->rank ? t->dim[t->rank - 1] : 1, &row))
        abort();
    for (int i = 0; i + 1 < t->rank; i++)
        rows *= t->dim[i];
    if (row * rows != t->bytes)
        abort();
    if (dtype_info[t->type].number)
        quant_decode(block, t->type, t->data, dtype_info[t->type].values);
}

static void check_apart(const struct gguf *g)
{
    size_t n = gguf_tensors(g) < 100 ? gguf_tensors(g) : 100;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++) {
            const struct tensor *a = gguf_tensor_at(g, i), *b = gguf_tensor_at(g, k);
            if (a->bytes && b->bytes && a->data < b->data + b->bytes && b->data < a->data + a->bytes)
                abort();
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *g;
    struct err e = {0};
    int rc = gguf_parse(&g, "fuzz", data, size, &e);
    if (rc) {
        check_message(&e, rc);
        return 0;
    }
    for (size_t i = 0; i < gguf_keys(g); i++) {
        const struct gguf_value *v;
        const char *key = gguf_key_at(g, i, &v);
        check_name(key, 65535);
        if (gguf_find(g, key) != v)
            abort();
        check_value(v);
        check_typed(g, key);
    }
    for (size_t i = 0; i < gguf_tensors(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        check_tensor(t, data, size);
        if (gguf_tensor_find(g, t->name) != t)
            abort();
    }
    check_apart(g);
    gguf_close(g);
    return 0;
}
