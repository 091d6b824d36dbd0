/* A safetensors file, byte for byte. What parses has every tensor's bytes within the file, apart from all
 * others, as many as type and shape say, and is found by its name; what does not leaves one line. */
#include "base/err.h"
#include "compute/quant.h"
#include "format/safetensors.h"
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

static void check_tensor(const struct tensor *t, const uint8_t *from, const uint8_t *to)
{
    size_t values = 1, bytes;
    float first;
    if (t->rank < 0 || t->rank > TENSOR_RANK_MAX || t->data < from || t->data > to ||
        t->bytes > (size_t)(to - t->data))
        abort();
    for (int i = 0; i < t->rank; i++)
        values *= t->dim[i];
    if (t->type != DT_OTHER && (!dtype_row_bytes(t->type, values, &bytes) || bytes != t->bytes))
        abort();
    if (dtype_info[t->type].number && values > 0)
        quant_decode(&first, t->type, t->data, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct safetensors *s;
    struct err e = {0};
    int rc = safetensors_parse(&s, "fuzz", data, size, &e);
    if (rc) {
        check_message(&e, rc);
        return 0;
    }
    const uint8_t *from = data + 8;
    for (size_t i = 0; i < safetensors_count(s); i++) {
        const struct tensor *t = safetensors_at(s, i);
        check_tensor(t, from, data + size);
        if (safetensors_find(s, t->name) != t || !utf8_valid(t->name, strlen(t->name), NULL))
            abort();
        from = t->data + t->bytes;
    }
    safetensors_metadata(s, "format");
    safetensors_close(s);
    return 0;
}
