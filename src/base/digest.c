#include "base/digest.h"

#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <stdio.h>

_Static_assert(sizeof(struct sha256_ctx) <= sizeof((struct digest *)0)->state, "state holds SHA-256");
_Static_assert(sizeof(struct sha1_ctx) <= sizeof((struct digest *)0)->state, "state holds SHA-1");
_Static_assert(_Alignof(struct sha256_ctx) <= 8 && _Alignof(struct sha1_ctx) <= 8, "state is aligned");

static struct sha256_ctx *sha256(struct digest *d)
{
    return (struct sha256_ctx *)(void *)d->state;
}

static struct sha1_ctx *sha1(struct digest *d)
{
    return (struct sha1_ctx *)(void *)d->state;
}

void digest_init(struct digest *d, enum digest_kind kind, uint64_t size)
{
    *d = (struct digest){.kind = kind};
    if (kind == DIGEST_SHA256) {
        sha256_init(sha256(d));
        return;
    }
    char head[32];
    int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)size);
    sha1_init(sha1(d));
    digest_update(d, head, (size_t)n + 1);
}

void digest_update(struct digest *d, const void *data, size_t len)
{
    if (d->kind == DIGEST_SHA256)
        sha256_update(sha256(d), len, data);
    else
        sha1_update(sha1(d), len, data);
}

void digest_final(struct digest *d, char hex[DIGEST_HEX])
{
    static const char digit[] = "0123456789abcdef";
    uint8_t raw[SHA256_DIGEST_SIZE];
    size_t n = d->kind == DIGEST_SHA256 ? SHA256_DIGEST_SIZE : SHA1_DIGEST_SIZE;
    if (d->kind == DIGEST_SHA256)
        sha256_digest(sha256(d), n, raw);
    else
        sha1_digest(sha1(d), n, raw);
    for (size_t i = 0; i < n; i++) {
        hex[2 * i] = digit[raw[i] >> 4];
        hex[2 * i + 1] = digit[raw[i] & 15];
    }
    hex[2 * n] = 0;
}

void digest_sha256(char hex[DIGEST_HEX], const void *data, size_t len)
{
    struct digest d;
    digest_init(&d, DIGEST_SHA256, 0);
    digest_update(&d, data, len);
    digest_final(&d, hex);
}
