/* A model file. The first byte is a set of flags: as it is, or the rest stretched to a file of the right size
 * with magic, version and (by flag) checksum in place, so that the numbers and weights come from the fuzzer.
 * What parses gives probabilities that are finite and add up to 1; what does not leaves one line. */
#include "judge/linear.h"
#include "text/utf8.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEEP = 1, SEALED = 2, FINITE = 4 };
enum { NUMBERS = 32, HEADER = 188, WEIGHTS = 9 << 18, DIGEST = 32, WHOLE = HEADER + WEIGHTS + DIGEST };

static const char text[] = "나는 친구들이랑 노는게 재밌어\n혼자 책을 읽었다. Hello, 2026!";

static void check_axis(const struct judge_axis *x, bool quoted)
{
    double sum = x->up + x->keep + x->down;
    if (!isfinite(sum) || fabs(sum - 1) > 1e-9 || x->up < 0 || x->keep < 0 || x->down < 0)
        abort();
    if (x->decision < DECISION_DOWN || x->decision > DECISION_UP)
        abort();
    if (x->quote > sizeof text - 1 || x->quote_len > sizeof text - 1 - x->quote)
        abort();
    if (quoted && (x->decision != DECISION_KEEP) != (x->quote_len > 0))
        abort();
}

static void check_message(const struct err *e, int rc)
{
    if (rc != ERR_FORMAT || e->code != rc || strncmp(e->msg, "fuzz: ", 6) != 0)
        abort();
    if (!utf8_valid(e->msg, strlen(e->msg), NULL) || strpbrk(e->msg, "\r\n"))
        abort();
}

static void check_model(const unsigned char *bytes, size_t n, bool verify)
{
    struct err e = {0};
    struct linear_model m;
    struct features f;
    struct arena a = {0};
    struct judge_verdict v = {0};
    int rc = linear_parse(&m, "fuzz", bytes, n, verify, &e);
    if (rc)
        check_message(&e, rc);
    else if (features_extract(&f, text, sizeof text - 1, NULL, &a, &e) == 0)
        linear_verdict(&m, &f, &v);
    for (int k = 0; k < AXES && !rc; k++)
        check_axis(&v.axis[k], false);
    arena_deinit(&a);
}

/* The whole way, with quotes. */
static void check_judge(const unsigned char *bytes, size_t n)
{
    struct err e = {0};
    struct judge *j;
    struct judge_verdict v;
    int rc = linear_open_bytes(&j, "fuzz", bytes, n, &e);
    if (rc) {
        check_message(&e, rc);
        return;
    }
    if (judge_text(j, &(struct judge_input){text, NULL}, &v, &e))
        abort();
    for (int k = 0; k < AXES; k++)
        check_axis(&v.axis[k], true);
    judge_close(j);
}

static void seal(unsigned char *file)
{
    char hex[DIGEST_HEX];
    digest_sha256(hex, file, WHOLE - DIGEST);
    for (int i = 0; i < DIGEST; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
        file[WHOLE - DIGEST + i] = (unsigned char)strtoul(pair, NULL, 16);
    }
}

/* Header from the first bytes, weights from the others over and over. */
static void stretch(unsigned char *file, const uint8_t *data, size_t size, int flags)
{
    size_t head = size < HEADER - 16 ? size : HEADER - 16, rest = size - head;
    memset(file, 0, WHOLE);
    memcpy(file, "gyeol-l1\1\0\0\0\22\0\0\0", 16);
    memcpy(file + 16, data, head);
    for (size_t at = 0; rest && at < WEIGHTS; at += rest)
        memcpy(file + HEADER + at, data + head, rest < WEIGHTS - at ? rest : WEIGHTS - at);
    for (size_t k = 0; flags & FINITE && k < 23;
         k++) /* sign and top exponent bit off: in range, or nearly so */
        file[NUMBERS + 4 * k + 3] &= 0x3F;
    if (flags & SEALED)
        seal(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char *file;
    if (size == 0)
        return 0;
    int flags = data[0];
    if (!(flags & DEEP)) {
        check_model(data + 1, size - 1, flags & SEALED);
        return 0;
    }
    if (!file && !(file = malloc(WHOLE)))
        abort();
    stretch(file, data + 1, size - 1, flags);
    check_model(file, WHOLE, false);
    if (flags & SEALED)
        check_judge(file, WHOLE);
    return 0;
}
