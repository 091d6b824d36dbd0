/* Any bytes as a tokenizer.json. */
#include "fuzz/tokenizer_bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return try_tokenizer(tokenizer_parse_json, data, size);
}
