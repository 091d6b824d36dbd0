/* base/: digests, random numbers, and how bytes are shown. Expected values come from standards and reference programs. */
#include "base/digest.h"
#include "base/progress.h"
#include "base/size.h"
#include "model/pack.h"
#include "testing.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* NIST, "Secure Hash Standard" examples for FIPS 180-4 (SHA256.pdf, SHA2_Additional.pdf, SHAVS). */
static void test_sha256_vectors(void **state)
{
    (void)state;
    static const char *const known[][2] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmno"
         "pqrst"
         "nopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    char hex[DIGEST_HEX];
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        digest_sha256(hex, known[i][0], strlen(known[i][0]));
        assert_string_equal(hex, known[i][1]);
    }
    char *million = malloc(1000000);
    memset(million, 'a', 1000000);
    digest_sha256(hex, million, 1000000);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

/* git hash-object of the empty file and of "hello"; in pieces it is the same as at once. */
static void test_digests_in_pieces(void **state)
{
    (void)state;
    struct rng r = seeded();
    struct digest d;
    char hex[DIGEST_HEX], whole[DIGEST_HEX], bytes[1000];
    digest_init(&d, DIGEST_GIT_BLOB, 0);
    digest_final(&d, hex);
    assert_string_equal(hex, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    digest_init(&d, DIGEST_GIT_BLOB, 5);
    digest_update(&d, "hel", 3);
    digest_update(&d, "lo", 2);
    digest_final(&d, hex);
    assert_string_equal(hex, "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0");
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)rng_next(&r);
    digest_sha256(whole, bytes, sizeof bytes);
    digest_init(&d, DIGEST_SHA256, 0);
    for (size_t at = 0, n; at < sizeof bytes; at += n) {
        n = rng_below(&r, sizeof bytes - at + 1);
        digest_update(&d, bytes + at, n);
    }
    digest_final(&d, hex);
    assert_string_equal(hex, whole);
}

static void test_bytes_are_shown_in_three_digits(void **state)
{
    (void)state;
    static const struct {
        double n;
        const char *text;
    } known[] = {{0, "0 B"},         {999, "999 B"},      {1000, "1.00 kB"},  {9994, "9.99 kB"},
                 {9996, "10.0 kB"},  {99960, "100 kB"},   {999400, "999 kB"}, {999600, "1.00 MB"},
                 {4.4e9, "4.40 GB"}, {1.5e16, "15000 TB"}};
    char text[PROGRESS_BYTES];
    for (size_t i = 0; i < COUNT_OF(known); i++)
        assert_string_equal(progress_bytes(text, known[i].n), known[i].text);
}

/* The reference implementation's first outputs (Vigna, splitmix64.c) for seed 1234567. */
static void test_rng_reference_values(void **state)
{
    (void)state;
    static const uint64_t known[] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                     4593380528125082431u, 16408922859458223821u};
    struct rng r = {1234567};
    for (size_t i = 0; i < COUNT_OF(known); i++)
        assert_true(rng_next(&r) == known[i]);
}

static void test_rng_below_is_bounded_and_even(void **state)
{
    (void)state;
    struct rng r = seeded();
    for (int i = 0; i < 100000; i++) {
        size_t n = (rng_next(&r) >> rng_below(&r, 64)) | 1;
        assert_true(rng_below(&r, n) < n);
        assert_int_equal(rng_below(&r, 1), 0);
    }
    size_t count[10] = {0};
    r = (struct rng){7}; /* fixed: 100,000 draws, 10,000 each, standard deviation 95 */
    for (int i = 0; i < 100000; i++)
        count[rng_below(&r, 10)]++;
    for (int i = 0; i < 10; i++)
        assert_in_range(count[i], 9600, 10400);
}

static void test_shuffle_is_an_even_permutation(void **state)
{
    (void)state;
    struct rng r = {99};
    size_t at[4][4] = {0};
    for (int i = 0; i < 40000; i++) {
        uint32_t v[4] = {0, 1, 2, 3}, seen = 0;
        rng_shuffle(&r, v, 4);
        for (int k = 0; k < 4; k++) {
            seen |= 1u << v[k];
            at[k][v[k]]++;
        }
        assert_int_equal(seen, 15);
    }
    for (int k = 0; k < 16; k++) /* 10,000 each, standard deviation 87 */
        assert_in_range(at[k / 4][k % 4], 9600, 10400);
}

/* Most memory this process ever had, in KiB. */
static long most_resident(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

/* A process of its own digests 64 MiB and 5 bytes of zeros; the digest is sha256sum's. */
static void test_a_file_need_not_fit_into_memory(void **state)
{
    (void)state;
    char name[] = "/tmp/gyeol-digest-XXXXXX", hex[DIGEST_HEX];
    const long size = (64 << 20) + 5;
    int fd = mkstemp(name), status;
    assert_true(fd >= 0 && ftruncate(fd, size) == 0);
    close(fd);
    pid_t child = fork();
    if (child == 0) {
        long before = most_resident();
        int rc = pack_file_sha256(hex, name, &error);
        bool same = !rc && !strcmp(hex, "e137416c8a18fa8914ef0cc00dc3c0ec5248a719465647a54755612c25dd14b1");
        _exit(!same ? 1 : most_resident() - before > 32 << 10 ? 2 : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    unlink(name);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_need_not_fit_into_memory),
        cmocka_unit_test(test_sha256_vectors),
        cmocka_unit_test(test_digests_in_pieces),
        cmocka_unit_test(test_bytes_are_shown_in_three_digits),
        cmocka_unit_test(test_rng_reference_values),
        cmocka_unit_test(test_rng_below_is_bounded_and_even),
        cmocka_unit_test(test_shuffle_is_an_even_permutation),
    };
    return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
