/* SHA-256 (FIPS 180-4), and the SHA-1 that names a blob in git, by Nettle: names models and files. */
#ifndef GYEOL_BASE_DIGEST_H
#define GYEOL_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_HEX 65 /* 64 hexadecimal digits and a NUL */

void digest_sha256(char hex[DIGEST_HEX], const void *data, size_t len);

enum digest_kind { DIGEST_SHA256, DIGEST_GIT_BLOB };

/* The same of bytes that come in pieces. Plain data: copy it to fork it, nothing to free. */
struct digest {
    enum digest_kind kind;
    _Alignas(8) unsigned char state[120]; /* nettle's context */
};

/* `size` counts only for DIGEST_GIT_BLOB, whose SHA-1 is over "blob SIZE", a NUL and then the bytes. */
void digest_init(struct digest *d, enum digest_kind kind, uint64_t size);
void digest_update(struct digest *d, const void *data, size_t len);

/* Lower case, NUL-terminated: 64 digits, or 40 of a git blob. Ends this use of d. */
void digest_final(struct digest *d, char hex[DIGEST_HEX]);

#endif
