/* SHA-256 (FIPS 180-4) by Nettle: names models and files. */
#ifndef GYEOL_BASE_DIGEST_H
#define GYEOL_BASE_DIGEST_H

#include <stddef.h>

#define DIGEST_HEX 65 /* 64 hexadecimal digits and a NUL */

void digest_sha256(char hex[DIGEST_HEX], const void *data, size_t len);

#endif
