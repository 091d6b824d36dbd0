#include "base/digest.h"

#include <nettle/sha2.h>
#include <stdint.h>

void digest_sha256(char hex[DIGEST_HEX], const void *data, size_t len)
{
    static const char digit[] = "0123456789abcdef";
    struct sha256_ctx ctx;
    uint8_t raw[SHA256_DIGEST_SIZE];
    sha256_init(&ctx);
    sha256_update(&ctx, len, data);
    sha256_digest(&ctx, sizeof raw, raw);
    for (size_t i = 0; i < sizeof raw; i++) {
        hex[2 * i] = digit[raw[i] >> 4];
        hex[2 * i + 1] = digit[raw[i] & 15];
    }
    hex[2 * sizeof raw] = 0;
}
