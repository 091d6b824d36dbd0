/* One named tensor as a file holds it: a view into the file's mapping. */
#ifndef GYEOL_FORMAT_TENSOR_H
#define GYEOL_FORMAT_TENSOR_H

#include "base/dtype.h"

#include <stddef.h>
#include <stdint.h>

#define TENSOR_RANK_MAX 8

struct tensor {
    const char *name; /* NUL-terminated, owned by the file */
    enum dtype type;
    int rank;
    size_t dim[TENSOR_RANK_MAX]; /* outermost first, as Hugging Face writes it: a linear weight is [outputs,
                                    inputs]. (GGUF files list the innermost first; the reader turns them
                                    round.) */
    const unsigned char *data;   /* in the mapping, not necessarily aligned */
    size_t bytes;
};

#endif
