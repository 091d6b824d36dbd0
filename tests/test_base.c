/* base/: errors, memory, files, time. Expected values come from standards, from
 * `date`, from timegm, or from a property that needs no implementation. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/size.h"
#include "base/when.h"
#include "text/utf8.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdalign.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testing.h"

static char dir[200], path[300];

/* ---- err ---- */

static void test_err_records_code_and_message(void **state)
{
    (void)state;
    assert_int_equal(err_set(&error, ERR_LIMIT, "%d of %s", 3, "셋"), ERR_LIMIT);
    assert_int_equal(error.code, ERR_LIMIT);
    assert_string_equal(error.msg, "3 of 셋");
    assert_int_equal(err_set(NULL, ERR_STATE, "nobody listens"), ERR_STATE);
}

static void test_err_is_one_line_without_control_characters(void **state)
{
    (void)state;
    err_set(&error, ERR_IO, "%s", "a\nb\tc\r\033[0m\177끝\001");
    assert_string_equal(error.msg, "a?b?c??[0m?끝?");
}

/* What is kept of `lead` times 'a', then `unit` over and over, must be its longest prefix of whole
 * characters, or that less one character (which the buffer's end may have cut). */
static void check_cut(size_t lead, const char *unit)
{
    char whole[1200] = "";
    size_t width = strlen(unit), kept;
    memset(whole, 'a', lead);
    for (size_t n = lead; n + width < sizeof whole; n += width)
        memcpy(whole + n, unit, width + 1);
    err_set(&error, ERR_IO, "%s", whole);
    kept = strlen(error.msg);
    assert_true(kept < sizeof error.msg && kept >= sizeof error.msg - 1 - width);
    assert_memory_equal(error.msg, whole, kept);
    assert_int_equal((kept - lead) % width, 0);
}

static void test_err_is_cut_on_a_character_boundary(void **state)
{
    (void)state;
    static const char *const unit[] = {"b", "é", "가", "😀"};
    for (size_t i = 0; i < COUNT_OF(unit); i++)
        for (size_t lead = 0; lead < 5; lead++)
            check_cut(lead, unit[i]);
}

static void test_err_prefix_goes_before(void **state)
{
    (void)state;
    err_set(&error, ERR_FORMAT, "no label");
    assert_int_equal(err_prefix(&error, "%s:%d: ", "글.tsv", 12), ERR_FORMAT);
    assert_int_equal(error.code, ERR_FORMAT);
    assert_string_equal(error.msg, "글.tsv:12: no label");
    assert_int_equal(err_prefix(&error, "again: "), ERR_FORMAT);
    assert_string_equal(error.msg, "again: 글.tsv:12: no label");
}

static void test_err_errno_maps_codes(void **state)
{
    (void)state;
    static const int pair[][2] = {{ENOENT, ERR_MISSING}, {ENOMEM, ERR_MEMORY}, {EACCES, ERR_IO}};
    for (size_t i = 0; i < COUNT_OF(pair); i++) {
        char want[200];
        snprintf(want, sizeof want, "reading x: %s", strerror(pair[i][0]));
        errno = pair[i][0];
        assert_int_equal(err_errno(&error, "reading %s", "x"), pair[i][1]);
        assert_int_equal(error.code, pair[i][1]);
        assert_string_equal(error.msg, want);
    }
}

/* Whatever the context's length, and wherever a buffer within ends, the message is UTF-8 (err.h). */
static void test_every_message_stays_utf8(void **state)
{
    (void)state;
    char name[1000];
    size_t bad;
    for (size_t lead = 0; lead < 3; lead++) {
        memset(name, 'a', lead);
        for (size_t n = lead; n + 3 < sizeof name; n += 3)
            memcpy(name + n, "가", 4);
        errno = EACCES;
        err_errno(&error, "%s", name);
        if (!utf8_valid(error.msg, strlen(error.msg), &bad))
            fail_msg("err_errno, %zu before the hangul: not UTF-8 at byte %zu", lead, bad);
        err_set(&error, ERR_IO, "x");
        err_prefix(&error, "%s: ", name);
        if (!utf8_valid(error.msg, strlen(error.msg), &bad))
            fail_msg("err_prefix, %zu before the hangul: not UTF-8 at byte %zu", lead, bad);
    }
}

/* ---- arena, buf, size ---- */

static void test_arena_is_aligned_zeroed_and_apart(void **state)
{
    (void)state;
    enum { N = 300 };
    struct arena a = {0};
    unsigned char *p[N];
    for (int round = 0; round < 3; round++, arena_reset(&a)) {
        for (size_t i = 0; i < N; i++) {
            size_t n = i * i + 1; /* up to 90,000 bytes: more than a block */
            p[i] = arena_alloc(&a, n, 1);
            assert_non_null(p[i]);
            assert_int_equal((uintptr_t)p[i] % alignof(max_align_t), 0);
            for (size_t k = 0; k < n; k++)
                if (p[i][k])
                    fail_msg("round %d: byte %zu of allocation %zu is not zero", round, k, i);
            memset(p[i], (int)(i % 255) + 1, n);
        }
        for (size_t i = 0; i < N; i++)
            for (size_t k = 0; k <= i * i; k++)
                if (p[i][k] != i % 255 + 1)
                    fail_msg("allocation %zu was overwritten at byte %zu", i, k);
    }
    arena_deinit(&a);
}

static void test_arena_refuses_sizes_that_overflow(void **state)
{
    (void)state;
    struct arena a = {0};
    static const size_t pair[][2] = {
        {SIZE_MAX, 2}, {2, SIZE_MAX},      {SIZE_MAX / 2 + 1, 2}, {(size_t)1 << 32, SIZE_MAX >> 31},
        {SIZE_MAX, 1}, {1, SIZE_MAX - 14}, {SIZE_MAX - 15, 1},    {SIZE_MAX / 16, 16}};
    for (size_t i = 0; i < COUNT_OF(pair); i++)
        assert_null(arena_alloc(&a, pair[i][0], pair[i][1]));
    assert_null(arena_copy(&a, "x", SIZE_MAX));
    char *p = arena_alloc(&a, 7, 3); /* a refusal breaks nothing */
    assert_non_null(p);
    memset(p, 1, 21);
    arena_deinit(&a);
}

static void test_arena_copies_and_resets(void **state)
{
    (void)state;
    struct arena a = {0};
    char *s = arena_copy(&a, "가나\0다", 10);
    assert_memory_equal(s, "가나\0다", 11);
    assert_string_equal(arena_copy(&a, "abc", 0), "");
    arena_reset(&a);
    assert_ptr_equal(arena_alloc(&a, 1, 1), s); /* the block is kept and used again */
    arena_deinit(&a);
    assert_null(a.block);
    assert_non_null(arena_alloc(&a, 1, 1)); /* usable again */
    arena_deinit(&a);
    arena_reset(&a); /* an empty arena may be reset */
    assert_null(a.block);
}

static void test_buf_grows_and_terminates(void **state)
{
    (void)state;
    struct buf b = {0};
    for (int i = 0; i < 20000; i++)
        buf_printf(&b, "%d,", i);
    assert_int_equal(buf_check(&b, "numbers", &error), 0);
    assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4 + 9000 * 5 + 10000 * 6); /* digits and comma */
    assert_int_equal(strlen(b.data), b.len);
    char *s = b.data;
    for (long i = 0; i < 20000; i++, s++)
        assert_int_equal(strtol(s, &s, 10), i);
    buf_add(&b, "\0z", 2);
    assert_memory_equal(b.data + b.len - 3, ",\0z\0", 4);
    buf_deinit(&b);
    assert_null(b.data);
}

static void check_unchanged(const struct buf *b, const char *want)
{
    assert_true(b->failed);
    assert_int_equal(b->len, strlen(want));
    assert_string_equal(b->data, want);
}

static void test_buf_keeps_to_its_limit(void **state)
{
    (void)state;
    struct buf b = {.limit = 10};
    buf_str(&b, "12345");
    buf_printf(&b, "%s", "67890");
    assert_false(b.failed);
    assert_string_equal(b.data, "1234567890");
    buf_add(&b, "x", 1);
    check_unchanged(&b, "1234567890");
    assert_int_equal(buf_check(&b, "the thing", &error), ERR_MEMORY);
    assert_non_null(strstr(error.msg, "the thing"));
    buf_reset(&b);
    assert_false(b.failed);
    assert_string_equal(b.data, "");
    buf_str(&b, "abc");
    buf_printf(&b, "%08d", 1); /* 11 in all */
    check_unchanged(&b, "abc");
    buf_str(&b, "d"); /* would fit, but what is missing before it must not be hidden */
    check_unchanged(&b, "abc");
    buf_add(&b, "", SIZE_MAX);
    check_unchanged(&b, "abc");
    buf_deinit(&b);
    assert_int_equal(b.limit, 10);
    assert_false(b.failed);
}

static void test_sizes_never_wrap(void **state)
{
    (void)state;
    size_t out = 77;
    assert_false(size_add(SIZE_MAX, 1, &out) || size_mul(SIZE_MAX / 2 + 1, 2, &out));
    assert_int_equal(out, 77);
    assert_true(size_add(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
    assert_true(size_mul(SIZE_MAX, 1, &out) && out == SIZE_MAX);
    assert_true(size_mul(0, SIZE_MAX, &out) && out == 0);
    struct rng r = seeded();
    for (int i = 0; i < 100000; i++) {
        size_t a = rng_next(&r) >> rng_below(&r, 64), b = rng_next(&r) >> rng_below(&r, 64);
        unsigned __int128 sum = (unsigned __int128)a + b, product = (unsigned __int128)a * b;
        out = 1;
        assert_int_equal(size_add(a, b, &out), sum <= SIZE_MAX);
        assert_true(out == (sum <= SIZE_MAX ? (size_t)sum : 1));
        out = 1;
        assert_int_equal(size_mul(a, b, &out), product <= SIZE_MAX);
        assert_true(out == (product <= SIZE_MAX ? (size_t)product : 1));
    }
}

/* ---- files ---- */

static int setup(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%.150s/gyeol-base-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/f", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    DIR *d = opendir(dir);
    for (struct dirent *x; d && (x = readdir(d));) {
        char name[600];
        snprintf(name, sizeof name, "%s/%s", dir, x->d_name);
        if (unlink(name))
            rmdir(name);
    }
    closedir(d);
    return rmdir(dir);
}

static int entries(void)
{
    int n = -2; /* . and .. */
    DIR *d = opendir(dir);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void put(const char *name, const char *bytes, size_t n)
{
    FILE *f = fopen(name, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static void test_file_map(void **state)
{
    (void)state;
    struct file_map m;
    assert_int_equal(file_map_open(&m, path, &error), ERR_MISSING);
    assert_non_null(strstr(error.msg, path));
    assert_int_equal(file_map_open(&m, dir, &error), ERR_FORMAT);
    assert_non_null(strstr(error.msg, dir));
    assert_null(m.data);
    put(path, "", 0);
    ok(file_map_open(&m, path, &error));
    assert_null(m.data);
    assert_int_equal(m.len, 0);
    file_map_close(&m);
    put(path, "a\0b\n", 4);
    ok(file_map_open(&m, path, &error));
    assert_int_equal(m.len, 4);
    assert_memory_equal(m.data, "a\0b\n", 4);
    file_map_close(&m);
    assert_null(m.data);
    file_map_close(&m); /* twice is harmless */
}

static void test_file_read_keeps_to_its_limit(void **state)
{
    (void)state;
    char *data = NULL, *big = malloc(200000);
    size_t n;
    memset(big, 'x', 200000);
    put(path, big, 200000);
    ok(file_read(&data, &n, path, 200000, &error));
    assert_int_equal(n, 200000);
    assert_memory_equal(data, big, n);
    assert_int_equal(data[n], 0);
    free(data);
    assert_int_equal(file_read(&data, &n, path, 199999, &error), ERR_LIMIT);
    assert_non_null(strstr(error.msg, "199999"));
    put(path, "", 0);
    ok(file_read(&data, &n, path, 1, &error));
    assert_int_equal(n, 0);
    assert_string_equal(data, "");
    free(data);
    free(big);
    assert_int_equal(file_read(&data, &n, dir, 10, &error), ERR_IO);
    unlink(path);
    assert_int_equal(file_read(&data, &n, path, 10, &error), ERR_MISSING);
}

static void test_file_read_takes_standard_input(void **state)
{
    (void)state;
    int fd[2], keep = dup(STDIN_FILENO);
    char *data;
    size_t n;
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(write(fd[1], "관\0pipe", 8), 8);
    close(fd[1]);
    dup2(fd[0], STDIN_FILENO);
    int rc = file_read(&data, &n, "-", 100, &error);
    dup2(keep, STDIN_FILENO);
    close(fd[0]);
    close(keep);
    ok(rc);
    assert_int_equal(n, 8);
    assert_memory_equal(data, "관\0pipe", 9);
    free(data);
}

static void test_file_write_replaces(void **state)
{
    (void)state;
    struct file_map old, now;
    ok(file_write(path, "first", 5, &error));
    ok(file_map_open(&old, path, &error));
    ok(file_write(path, "2\0", 2, &error));
    ok(file_map_open(&now, path, &error));
    assert_int_equal(now.len, 2);
    assert_memory_equal(now.data, "2\0", 2);
    assert_memory_equal(old.data, "first", 5); /* a reader keeps the file it opened */
    assert_int_equal(entries(), 1);
    file_map_close(&old);
    file_map_close(&now);
    ok(file_write(path, "", 0, &error));
    ok(file_map_open(&now, path, &error));
    assert_int_equal(now.len, 0);
}

static void test_file_write_goes_through_a_link(void **state)
{
    (void)state;
    char link[300], *data;
    struct stat st;
    size_t n;
    snprintf(link, sizeof link, "%s/link", dir);
    ok(file_write(path, "before", 6, &error));
    assert_int_equal(symlink(path, link), 0);
    ok(file_write(link, "after", 5, &error));
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    ok(file_read(&data, &n, path, 100, &error));
    assert_string_equal(data, "after");
    free(data);
    unlink(link);
}

static void test_file_write_that_fails_leaves_nothing(void **state)
{
    (void)state;
    char inside[400];
    snprintf(inside, sizeof inside, "%s/missing/f", dir);
    assert_int_equal(file_write(inside, "x", 1, &error), ERR_MISSING);
    assert_non_null(strstr(error.msg, inside));
    assert_int_equal(entries(), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(file_write(path, "x", 1, &error), ERR_IO); /* a directory cannot be replaced */
    assert_int_equal(entries(), 1);
}

static void test_file_out_puts_pieces_together(void **state)
{
    (void)state;
    struct file_out o = {0};
    char *data;
    size_t n;
    ok(file_write(path, "before", 6, &error));
    ok(file_out_open(&o, path, &error));
    ok(file_out_write(&o, "one", 3, &error));
    ok(file_out_write(&o, NULL, 0, &error));
    file_out_abandon(&o);
    ok(file_out_open(&o, path, &error));
    ok(file_out_write(&o, "two", 3, &error));
    ok(file_read(&data, &n, path, 100, &error)); /* nothing to see yet */
    assert_string_equal(data, "before");
    free(data);
    ok(file_out_write(&o, " three", 6, &error));
    ok(file_out_commit(&o, &error));
    file_out_abandon(&o); /* idle: nothing to do */
    ok(file_read(&data, &n, path, 100, &error));
    assert_string_equal(data, "two three");
    free(data);
    assert_int_equal(entries(), 1);
}

/* The system refuses in the middle: what was there stays, nothing else does. */
static void test_file_write_without_room(void **state)
{
    (void)state;
    static char much[100000];
    struct rlimit was;
    char *data;
    size_t n;
    ok(file_write(path, "before", 6, &error));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){50000, was.rlim_max}), 0);
    int rc = file_write(path, much, sizeof much, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(rc, ERR_IO);
    assert_non_null(strstr(error.msg, "/f: writing 100000 bytes: "));
    ok(file_read(&data, &n, path, 100, &error));
    assert_string_equal(data, "before");
    free(data);
    assert_int_equal(entries(), 1);
}

static void test_file_write_follows_umask(void **state)
{
    (void)state;
    static const mode_t mask[] = {022, 027, 077, 0, 0137};
    mode_t before = umask(0);
    for (size_t i = 0; i < COUNT_OF(mask); i++) {
        struct stat st;
        umask(mask[i]);
        int rc = file_write(path, "x", 1, &error);
        mode_t after = umask(before);
        ok(rc);
        assert_int_equal(after, mask[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0666 & ~mask[i]);
    }
    umask(before);
}

static void write_in_turn(const char *a, const char *b, size_t n)
{
    for (int i = 0; i < 60; i++)
        if (file_write(path, i % 2 ? a : b, i % 2 ? n : n / 2, &error))
            _exit(1);
    _exit(0);
}

static void test_a_reader_never_sees_half_a_file(void **state)
{
    (void)state;
    enum { N = 300000 };
    char *a = malloc(N), *b = malloc(N);
    memset(a, 'a', N);
    memset(b, 'b', N);
    ok(file_write(path, a, N, &error));
    pid_t child = fork();
    if (child == 0)
        write_in_turn(a, b, N);
    int status = -1, reads = 0;
    for (; waitpid(child, &status, WNOHANG) == 0; reads++) {
        struct file_map m;
        ok(file_map_open(&m, path, &error));
        assert_true(m.len == N || m.len == N / 2);
        assert_memory_equal(m.data, m.len == N ? a : b, m.len);
        file_map_close(&m);
    }
    assert_int_equal(status, 0);
    assert_true(reads > 0);
    assert_int_equal(entries(), 1);
    free(a);
    free(b);
}

/* ---- time ---- */

/* Milliseconds by GNU date: date -u -d '2026-05-03T14:00:00+09:00' +%s%3N. Where date cannot read the form,
 * the same instant was given to it with Z or an offset, and the fraction added by hand. */
static void test_when_parse_known_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } known[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00+09:00", -32400000},
        {"1970-01-01", -32400000}, /* midnight in Seoul */
        {"1970-01-01T09:00", 0},   /* no zone: Seoul */
        {"2001-09-09T01:46:40Z", 1000000000000},
        {"2001-09-09t10:46:40", 1000000000000},
        {"2001-09-09 10:46:40", 1000000000000},
        {"2038-01-19T03:14:08Z", 2147483648000},
        {"2026-05-03T14:00:00+09:00", 1777784400000},
        {"2026-05-03T14:00:00+0900", 1777784400000},
        {"2026-05-03T14:00+09", 1777784400000},
        {"2026-05-03T14:00", 1777784400000},
        {"2026-05-03", 1777734000000},
        {"2026-05-03T14:00:00-11:30", 1777858200000},
        {"2026-05-03T14:00:00-03", 1777827600000},
        {"2026-05-03T14:00:00+23:59", 1777730460000},
        {"2026-12-31T23:59:59", 1798729199000},
        {"2000-02-29T23:59:59z", 951868799000},
        {"2000-03-01T00:00:00Z", 951868800000},
        {"2024-02-29T12:00+05:30", 1709188200000},
        {"2100-02-28T23:59:59Z", 4107542399000},
        {"2100-03-01T00:00:00Z", 4107542400000},
        {"2400-02-29T00:00:00Z", 13574563200000},
        {"9999-12-31T23:59:59+09:00", 253402268399000},
        {"2001-09-09T01:46:40.5Z", 1000000000500},
        {"2001-09-09T01:46:40.05Z", 1000000000050},
        {"2001-09-09T01:46:40,123Z", 1000000000123},
        {"2001-09-09T01:46:40.9999999999999Z", 1000000000999}, /* cut, never rounded up to the next second */
        {"2001-09-09T10:46:40.001", 1000000000001},
        {"2001-09-09T01:46:40-00:00", 1000000000000},
    };
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        int64_t ms = -1;
        ok(when_parse(&ms, known[i].text, &error));
        if (ms != known[i].ms)
            fail_msg("%s: %lld, date says %lld", known[i].text, (long long)ms, (long long)known[i].ms);
    }
}

static void test_when_parse_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "어제",
        "2026",
        "2026-05",
        "2026-5-3",
        "20260503",
        "2026/05/03",
        "26-05-03",
        "02026-05-03",
        "1969-12-31",
        "1969-12-31T23:59:59Z",
        "10000-01-01",
        "9999-12-31T23:59:59Z", /* 10000-01-01 in Seoul */
        "1970-01-01T00:00:00+14:00",
        "-2026-05-03",
        "+2026-05-03",
        " 2026-05-03",
        "2026-05-03 ",
        "2026-00-03",
        "2026-13-03",
        "2026-05-00",
        "2026-05-32",
        "2026-04-31",
        "2026-02-29",
        "2100-02-29",
        "1900-02-29",
        "2026-05-03T",
        "2026-05-03T14",
        "2026-05-03T14:",
        "2026-05-03T14:0",
        "2026-05-03T1:00",
        "2026-05-03T24:00",
        "2026-05-03T14:60",
        "2026-05-03T14:00:60",
        "2026-05-03T14:00:",
        "2026-05-03T14:00:0",
        "2026-05-03T14:00:00.",
        "2026-05-03T14:00:00.Z",
        "2026-05-03T14:00.5",
        "2026-05-03T-1:00",
        "2026-05-03T14:00:00+",
        "2026-05-03T14:00:00+9",
        "2026-05-03T14:00:00+09:",
        "2026-05-03T14:00:00+09:0",
        "2026-05-03T14:00:00+09:60",
        "2026-05-03T14:00:00+24:00",
        "2026-05-03T14:00:00+09:00x",
        "2026-05-03T14:00:00ZZ",
        "2026-05-03T14:00:00 +09:00",
        "2026-05-03T14:00:00KST",
        "2026-05-03x14:00",
        "2026-05-03Z",
        "2026-05-03T14:00:00.5.5",
        "2026-05-03T14:00:00−09:00",
        "２０２６-05-03",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int64_t ms = 42;
        if (when_parse(&ms, bad[i], &error) != ERR_FORMAT)
            fail_msg("\"%s\" is read as %lld", bad[i], (long long)ms);
        assert_int_equal(ms, 42);
        assert_non_null(strstr(error.msg, "ISO 8601"));
    }
}

static void test_when_parse_message_is_utf8(void **state)
{
    (void)state;
    int64_t ms;
    size_t bad;
    assert_int_equal(when_parse(&ms, "오늘 오후 세 시 반쯤이었던 것 같은데 잘 모르겠다", &error), ERR_FORMAT);
    if (!utf8_valid(error.msg, strlen(error.msg), &bad))
        fail_msg("byte %zu of the message is not UTF-8", bad);
}

static void test_when_format_known_times(void **state)
{
    (void)state;
    char text[WHEN_TEXT];
    assert_string_equal(when_format(text, 0), "1970-01-01T09:00:00+09:00");
    assert_string_equal(when_format(text, 1777784400000), "2026-05-03T14:00:00+09:00");
    assert_string_equal(when_format(text, 1777784400007), "2026-05-03T14:00:00.007+09:00");
    assert_string_equal(when_format(text, -1), "1970-01-01T08:59:59.999+09:00");
    assert_string_equal(when_format(text, -32400000), "1970-01-01T00:00:00+09:00");
    assert_string_equal(when_format(text, 951836400000), "2000-03-01T00:00:00+09:00");
    assert_string_equal(when_format(text, 951836399999), "2000-02-29T23:59:59.999+09:00");
    assert_ptr_equal(when_format(text, 5), text);
}

/* One random time of the years 1970 to 9999 as a broken-down clock, and its milliseconds by timegm. */
static int64_t random_time(struct rng *r, struct tm *tm, int *part)
{
    time_t any = (time_t)rng_below(r, 253402300800u);
    gmtime_r(&any, tm);
    *part = rng_below(r, 3) ? (int)rng_below(r, 1000) : 0;
    return (int64_t)timegm(tm) * 1000 + *part;
}

static void test_when_agrees_with_timegm(void **state)
{
    (void)state;
    struct rng r = seeded();
    for (int i = 0; i < 20000; i++) {
        struct tm tm;
        char text[80], again[WHEN_TEXT];
        int part, minutes = (int)rng_below(&r, 2 * 1440 - 1) - 1439, size = abs(minutes);
        int64_t clock = random_time(&r, &tm, &part), got;
        size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
        if (part)
            n += (size_t)snprintf(text + n, 10, ".%03d", part);
        snprintf(text + n, 20, "+09:00"); /* the same clock in Seoul, which when_format writes */
        assert_string_equal(when_format(again, clock - 9 * 3600000), text);
        ok(when_parse(&got, again, &error));
        assert_true(got == clock - 9 * 3600000);
        snprintf(text + n, 20, "%c%02d%s%02d", minutes < 0 ? '-' : '+', size / 60, i % 2 ? ":" : "",
                 size % 60);
        int64_t want = clock - minutes * 60000LL;
        if (want < WHEN_FIRST || want > WHEN_LAST) {
            assert_int_equal(when_parse(&got, text, &error), ERR_FORMAT);
            continue;
        }
        ok(when_parse(&got, text, &error));
        if (got != clock - minutes * 60000LL)
            fail_msg("%s: %lld, timegm says %lld", text, (long long)got,
                     (long long)(clock - minutes * 60000LL));
    }
}

static void test_clocks_run(void **state)
{
    (void)state;
    int64_t now = when_now();
    uint64_t start = when_monotonic_ns();
    assert_true(llabs(now / 1000 - (int64_t)time(NULL)) <= 1);
    usleep(2000);
    assert_true(when_monotonic_ns() - start >= 2000000);
}

#define T(f) cmocka_unit_test(f)
#define F(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_err_records_code_and_message),
        T(test_err_is_one_line_without_control_characters),
        T(test_err_is_cut_on_a_character_boundary),
        T(test_err_prefix_goes_before),
        T(test_err_errno_maps_codes),
        T(test_every_message_stays_utf8),
        T(test_arena_is_aligned_zeroed_and_apart),
        T(test_arena_refuses_sizes_that_overflow),
        T(test_arena_copies_and_resets),
        T(test_buf_grows_and_terminates),
        T(test_buf_keeps_to_its_limit),
        T(test_sizes_never_wrap),
        F(test_file_map),
        F(test_file_read_keeps_to_its_limit),
        F(test_file_read_takes_standard_input),
        F(test_file_write_replaces),
        F(test_file_write_goes_through_a_link),
        F(test_file_write_that_fails_leaves_nothing),
        F(test_file_out_puts_pieces_together),
        F(test_file_write_without_room),
        F(test_file_write_follows_umask),
        F(test_a_reader_never_sees_half_a_file),
        T(test_when_parse_known_times),
        T(test_when_parse_refuses),
        T(test_when_parse_message_is_utf8),
        T(test_when_format_known_times),
        T(test_when_agrees_with_timegm),
        T(test_clocks_run),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
