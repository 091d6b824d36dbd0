/* format/gguf: the reference converter's file against its own listing of it (tests/fixtures/llama_tied),
 * files that mean harm, and writing. */
#include "format/gguf.h"

#include "base/buf.h"
#include "base/size.h"

#include "files.h"

/* ---- reading what others wrote ---- */

/* One line of gguf_keys.txt, "KEY [TYPE] = VALUE" as gguf-py printed it, against what we read. */
static void check_key_line(const struct gguf *g, const char *line)
{
    char key[100], type[40], text[100] = "", want[100];
    const char *value = strstr(line, "] = ");
    if (!value || sscanf(line, "%99s [%39[^]]]", key, type) != 2 || strncmp(key, "GGUF.", 5) == 0)
        return;
    const struct gguf_value *v = gguf_find(g, key);
    assert_non_null(v);
    value += 4;
    snprintf(want, sizeof want, "%.99s", value);
    if (strcmp(type, "UINT32") == 0) {
        uint32_t n = 0;
        ok(gguf_get_u32(g, key, &n, &error));
        snprintf(text, sizeof text, "%u", n);
    } else if (strcmp(type, "FLOAT32") == 0) {
        float f = 0;
        ok(gguf_get_f32(g, key, &f, &error));
        assert_true((double)f == strtod(value, NULL));
        return;
    } else if (strcmp(type, "STRING") == 0) {
        struct gguf_string s = {0};
        ok(gguf_get_string(g, key, &s, &error));
        snprintf(text, sizeof text, "'%.*s'", (int)s.len, s.data);
    } else if (strcmp(type, "ARRAY/INT32") == 0) {
        assert_int_equal(v->element, GGUF_I32);
        snprintf(text, sizeof text, "<%zu items> [%g, %g, %g, %g]", v->count, gguf_number_at(v, 0),
                 gguf_number_at(v, 1), gguf_number_at(v, 2), gguf_number_at(v, 3));
    } else {
        const struct gguf_string *s = v->strings;
        assert_string_equal(type, "ARRAY/STRING");
        snprintf(text, sizeof text, "<%zu items> ['%.*s', '%.*s', '%.*s', '%.*s']", v->count, (int)s[0].len,
                 s[0].data, (int)s[1].len, s[1].data, (int)s[2].len, s[2].data, (int)s[3].len, s[3].data);
    }
    assert_string_equal(text, want);
}

/* "NAME [dims, innermost first] F32 OFFSET" */
static void check_tensor_line(const struct gguf *g, size_t i, const char *line)
{
    char name[100], want[200];
    const struct tensor *t = gguf_tensor_at(g, i), *first = gguf_tensor_at(g, 0);
    assert_int_equal(sscanf(line, "%99s", name), 1);
    assert_string_equal(name, t->name);
    assert_ptr_equal(gguf_tensor_find(g, name), t);
    if (t->rank == 2)
        snprintf(want, sizeof want, "%s [%zu, %zu] F32 %td", name, t->dim[1], t->dim[0],
                 t->data - first->data);
    else
        snprintf(want, sizeof want, "%s [%zu] F32 %td", name, t->dim[0], t->data - first->data);
    assert_string_equal(line, want);
    assert_int_equal(t->bytes, 4 * t->dim[0] * (t->rank == 2 ? t->dim[1] : 1));
}

static void test_gguf_reads_as_listed(void **state)
{
    (void)state;
    struct gguf *g;
    char *list;
    size_t n, tensors = 0;
    bool in_tensors = false;
    ok(gguf_open(&g, FIXTURES "llama_tied/model.gguf", &error));
    ok(file_read(&list, &n, FIXTURES "llama_tied/gguf_keys.txt", 1 << 20, &error));
    char *save = NULL;
    for (char *line = strtok_r(list, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (strncmp(line, "--", 2) == 0)
            in_tensors = true;
        else if (in_tensors)
            check_tensor_line(g, tensors++, line);
        else
            check_key_line(g, line);
    assert_int_equal(gguf_keys(g), 26);
    assert_int_equal(gguf_tensors(g), 29);
    assert_int_equal(tensors, 29);
    const struct gguf_value *v;
    assert_string_equal(gguf_key_at(g, 0, &v), "general.architecture");
    assert_ptr_equal(v, gguf_find(g, "general.architecture"));
    assert_null(gguf_find(g, "general.architectur"));
    assert_null(gguf_tensor_find(g, "blk.3.attn_q.weight"));
    assert_string_equal(gguf_name(g), FIXTURES "llama_tied/model.gguf");
    free(list);
    gguf_close(g);
    gguf_close(NULL);
}

/* ---- good and bad files ---- */

/* Bytes from a description: words "1:N", "4:N", "8:N" are integers of that many bytes, "s:TEXT" a string with
 * its length, "r:TEXT" text as it is, "z:N" zeros, "a:N" zeros up to a multiple of N. NH stands for magic and
 * version. */
#define NH "r:GGUF 4:3 "

static void add_word(struct buf *b, const char *word)
{
    static const char zeros[4096];
    uint64_t n = strtoull(word + 2, NULL, 0), len = strlen(word + 2);
    if (word[0] >= '1' && word[0] <= '8')
        buf_add(b, &n, (size_t)(word[0] - '0'));
    else if (word[0] == 'z')
        buf_add(b, zeros, n);
    else if (word[0] == 'a')
        buf_add(b, zeros, (n - b->len % n) % n);
    else {
        if (word[0] == 's')
            buf_add(b, &len, 8);
        buf_str(b, word + 2);
    }
}

/* Parses what is described, exactly allocated; *bytes to be freed after closing. */
static int parse_words(struct gguf **g, const char *words, unsigned char **bytes)
{
    struct buf b = {0};
    char *copy = strdup(words), *save = NULL;
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
        add_word(&b, word);
    assert_false(b.failed);
    *bytes = malloc(b.len + !b.len);
    if (b.len)
        memcpy(*bytes, b.data, b.len);
    int rc = gguf_parse(g, "file", *bytes, b.len, &error);
    if (rc)
        free(*bytes);
    buf_deinit(&b);
    free(copy);
    return rc;
}

static void test_gguf_accepts(void **state)
{
    (void)state;
    static const char *const good[] = {
        NH "8:0 8:0",                                                    /* nothing at all */
        "r:GGUF 4:2 8:0 8:1 s:k 4:8 s:v",                                /* version 2; vocabulary alone */
        NH "8:0 8:1 s:k 4:9 4:8 8:0",                                    /* an empty array */
        NH "8:1 8:0 s:t 4:1 8:3 4:0 8:0 a:32 z:12",                      /* without padding at the end */
        NH "8:1 8:0 s:t 4:0 4:0 8:0 a:32 z:4",                           /* a scalar */
        NH "8:2 8:0 s:t 4:1 8:8 4:0 8:32 s:u 4:1 8:8 4:0 8:0 a:32 z:64", /* out of order */
        NH "8:2 8:0 s:t 4:1 8:8 4:0 8:64 s:u 4:1 8:8 4:0 8:0 a:32 z:96", /* a hole */
        NH "8:1 8:1 s:general.alignment 4:4 4:8 s:t 4:1 8:1 4:0 8:8 a:8 z:12",
        NH "8:1 8:1 s:general.alignment 4:10 8:64 s:t 4:1 8:1 4:0 8:64 a:64 z:68",
    };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct gguf *g;
        unsigned char *bytes;
        int rc = parse_words(&g, good[i], &bytes);
        if (rc)
            fail_msg("%s: %s", good[i], error.msg);
        gguf_close(g);
        free(bytes);
    }
}

/* Types without an equivalent here stay visible, without bytes. */
static void test_gguf_lists_unknown_types(void **state)
{
    (void)state;
    struct gguf *g;
    unsigned char *bytes;
    ok(parse_words(&g, NH "8:2 8:0 s:odd 4:2 8:256 8:3 4:10 8:0 s:t 4:3 8:32 8:2 8:5 4:8 8:32 a:32 z:372",
                   &bytes));
    const struct tensor *odd = gguf_tensor_find(g, "odd"), *t = gguf_tensor_find(g, "t");
    assert_true(odd->type == DT_OTHER && odd->bytes == 0 && !odd->data && odd->rank == 2);
    assert_true(odd->dim[0] == 3 && odd->dim[1] == 256);
    assert_true(t->type == DT_Q8_0 && t->bytes == 340 && t->data == bytes + 160);
    assert_true(t->dim[0] == 5 && t->dim[1] == 2 && t->dim[2] == 32);
    gguf_close(g);
    free(bytes);
}

static void test_gguf_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *words, *part;
    } bad[] = {
        {"", "not a GGUF file"},
        {"r:GGU", "not a GGUF file"},
        {"r:ggml 4:3 8:0 8:0", "not a GGUF file"},
        {"r:GGUF 4:1 4:0 4:0", "GGUF version 1, wanted 2 or 3"},
        {"r:GGUF 4:4 8:0 8:0", "GGUF version 4"},
        {"r:GGUF 4:0x03000000 8:0 8:0", "big-endian"},
        {NH "8:0 4:0", "cut short: 8 bytes wanted at byte 16 of 20"},
        {NH "8:0 8:0xFFFFFFFFFFFFFFFF z:64", "18446744073709551615 keys and 0 tensors do not fit"},
        {NH "8:0x7FFFFFFFFFFFFFFF 8:0 z:64", "tensors do not fit"},
        {NH "8:0 8:5 z:69", "5 keys and 0 tensors do not fit in 93 bytes"},
        {NH "8:3 8:0 z:74", "0 keys and 3 tensors do not fit in 98 bytes"},
        /* keys */
        {NH "8:0 8:1 s: 4:4 4:1", "key 0: name of 0 bytes"},
        {NH "8:0 8:1 8:0xFFFFFFFFFFFFFFFF z:9", "key 0: string of 18446744073709551615 bytes at byte 24"},
        {NH "8:0 8:1 8:1 1:0 4:4 4:1", "key 0: name at byte 24 is not printable"},
        {NH "8:0 8:1 8:1 1:0xC3 4:4 4:1", "not printable"},
        {NH "8:0 8:2 s:same 4:4 4:1 s:same 4:0 1:1", "key same: twice"},
        {NH "8:0 8:1 s:k 4:13 4:1 z:9", "key k: value type 13 at byte 33, at most 12"},
        {NH "8:0 8:1 s:k 4:7 1:2", "key k: bool of 2"},
        {NH "8:0 8:1 s:k 4:9 4:7 8:3 1:0 1:1 1:255", "key k: bool of 255"},
        {NH "8:0 8:1 s:k 4:10 4:1", "key k: cut short: 8 bytes"},
        {NH "8:0 8:1 s:k 4:8 8:0x8000000000000000 z:5", "key k: string of 9223372036854775808 bytes"},
        {NH "8:0 8:1 s:k 4:9 4:9 8:1 4:4 8:0", "key k: array of arrays"},
        {NH "8:0 8:1 s:k 4:9 4:4 8:3 z:11", "key k: array of 3 u32s"},
        {NH "8:0 8:1 s:k 4:9 4:10 8:0x2000000000000001 z:8", "key k: array of 2305843009213693953 u64s"},
        {NH "8:0 8:1 s:k 4:9 4:8 8:0x1000000000000000 z:8", "key k: array of 1152921504606846976 strings"},
        {NH "8:0 8:1 s:k 4:9 4:8 8:2 8:9 z:8", "key k: string of 9 bytes"},
        /* tensors */
        {NH "8:1 8:0 s: 4:1 8:1 4:0 8:0 a:32 z:4", "tensor 0: name of 0 bytes"},
        {NH "8:1 8:0 s:t 4:5 8:1 8:1 8:1 8:1 8:1 4:0 8:0 a:32 z:4", "tensor t: 5 dimensions, at most 4"},
        {NH "8:1 8:0 s:t 4:0xFFFFFFFF 8:1 4:0 8:0 a:32 z:4", "tensor t: 4294967295 dimensions"},
        {NH "8:1 8:0 s:t 4:2 8:0 8:1 4:0 8:0 a:32 z:4", "tensor t: dimension of 0"},
        {NH "8:1 8:0 s:t 4:2 8:0x100000000 8:0x100000000 4:0 8:0 a:32 z:4",
         "tensor t: dimension of 4294967296"},
        {NH "8:1 8:0 s:t 4:2 8:0x8000000000000000 8:2 4:99 8:0 a:32 z:4", "tensor t: dimension of 2"},
        {NH "8:1 8:0 s:t 4:1 8:0x4000000000000000 4:0 8:0 a:32 z:4", "tensor t: rows of 4611686018427387904"},
        {NH "8:1 8:0 s:t 4:2 8:1 8:0x4000000000000000 4:0 8:0 a:32 z:4", "tensor t: more bytes"},
        {NH "8:1 8:0 s:t 4:1 8:31 4:8 8:0 a:32 z:34",
         "tensor t: rows of 31 values are no whole blocks of q8_0"},
        {NH "8:1 8:0 s:t 4:2 8:16 8:2 4:2 8:0 a:32 z:34", "tensor t: rows of 16 values"},
        {NH "8:1 8:0 s:t 4:1 8:1 4:0 8:16 a:32 z:64", "tensor t: offset 16, wanted a multiple of 32"},
        {NH "8:1 8:0 s:t 4:1 8:9 4:0 8:32 a:32 z:64",
         "tensor t: 36 bytes at offset 32 of the data, which has 64"},
        {NH "8:1 8:0 s:t 4:1 8:1 4:0 8:0xFFFFFFFFFFFFFFE0 a:32 z:64", "offset 18446744073709551584"},
        {NH "8:1 8:0 s:t 4:1 8:1 4:99 8:0xFFFFFFFFFFFFFFE0 a:32 z:64", "offset 18446744073709551584"},
        {NH "8:1 8:0 s:t 4:1 8:1 4:0 8:0", "which has 0"},
        {NH "8:2 8:0 s:t 4:1 8:9 4:0 8:0 s:u 4:1 8:1 4:0 8:32 a:32 z:64", "tensors t and u overlap"},
        {NH "8:2 8:0 s:t 4:1 8:1 4:0 8:0 s:u 4:1 8:1 4:0 8:0 a:32 z:64", "overlap"},
        {NH "8:2 8:0 s:t 4:1 8:1 4:0 8:0 s:t 4:1 8:1 4:0 8:32 a:32 z:64", "tensor t: twice"},
        {NH "8:0 8:1 s:general.alignment 4:4 4:0", "general.alignment: wanted a multiple of 8"},
        {NH "8:0 8:1 s:general.alignment 4:4 4:12", "general.alignment"},
        {NH "8:0 8:1 s:general.alignment 4:4 4:0x80000000", "general.alignment"},
        {NH "8:0 8:1 s:general.alignment 4:8 s:32", "general.alignment"},
        {NH "8:0 8:1 s:general.alignment 4:11 8:-32", "general.alignment"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct gguf *g;
        unsigned char *bytes;
        check_refused(parse_words(&g, bad[i].words, &bytes), ERR_FORMAT, bad[i].part);
    }
}

static void test_gguf_name_lengths(void **state)
{
    (void)state;
    static const struct {
        int len;
        bool tensor, good;
    } row[] = {{255, true, true}, {256, true, false}, {65535, false, true}, {65536, false, false}};
    for (size_t i = 0; i < COUNT_OF(row); i++) {
        struct gguf *g;
        unsigned char *bytes;
        struct buf words = {0};
        buf_printf(&words, NH "8:%d 8:%d s:%0*d %s", row[i].tensor, !row[i].tensor, row[i].len, 0,
                   row[i].tensor ? "4:1 8:1 4:0 8:0 a:32 z:4" : "4:4 4:1");
        int rc = parse_words(&g, words.data, &bytes);
        if (row[i].good) {
            ok(rc);
            gguf_close(g);
            free(bytes);
        } else
            check_refused(rc, ERR_FORMAT, "name of");
        buf_deinit(&words);
    }
}

static void test_gguf_typed_reads(void **state)
{
    (void)state;
    struct gguf *g;
    unsigned char *bytes;
    ok(parse_words(
        &g,
        NH "8:0 8:17 s:u8 4:0 1:255 s:i8 4:1 1:255 s:u16 4:2 2:65535 s:i16 4:3 2:7 s:u32 4:4 4:4294967295 "
           "s:i32 4:5 4:8 s:f32 4:6 4:0x3FC00000 s:yes 4:7 1:1 s:no 4:7 1:0 s:str 4:8 s:word "
           "s:u64 4:10 8:4294967296 s:fits 4:10 8:9 s:i64 4:11 8:-1 s:f64 4:12 8:0xC004000000000000 "
           "s:big 4:12 8:0x7E37E43C8800759C s:arr 4:9 4:3 8:2 2:1 2:-2 s:top 4:10 8:0xFFFFFFFFFFFFFFFF",
        &bytes));
    static const struct {
        const char *key;
        int64_t want; /* -1: refused */
    } integer[] = {{"u8", 255}, {"i8", -1},  {"u16", 65535}, {"i16", 7},  {"u32", 4294967295},
                   {"i32", 8},  {"f32", -1}, {"yes", -1},    {"str", -1}, {"u64", -1},
                   {"fits", 9}, {"i64", -1}, {"f64", -1},    {"arr", -1}, {"top", -1}};
    for (size_t i = 0; i < COUNT_OF(integer); i++) {
        uint32_t n = 12345;
        int rc = gguf_get_u32(g, integer[i].key, &n, &error);
        if (integer[i].want < 0)
            check_refused(rc, ERR_FORMAT, integer[i].key);
        else
            ok(rc);
        assert_int_equal(n, integer[i].want < 0 ? 12345 : (uint32_t)integer[i].want);
    }
    float f = 3;
    ok(gguf_get_f32(g, "f32", &f, &error));
    assert_true(f == 1.5f);
    ok(gguf_get_f32(g, "f64", &f, &error));
    assert_true(f == -2.5f);
    ok(gguf_get_f32(g, "absent", &f, &error));
    check_refused(gguf_get_f32(g, "big", &f, &error), ERR_FORMAT, "key big: a value of type f64"); /* 1e300 */
    check_refused(gguf_get_f32(g, "u8", &f, &error), ERR_FORMAT, "key u8: a value of type u8");
    assert_true(f == -2.5f);
    bool yes = false, no = true;
    ok(gguf_get_bool(g, "yes", &yes, &error));
    ok(gguf_get_bool(g, "no", &no, &error));
    assert_true(yes && !no);
    check_refused(gguf_get_bool(g, "u8", &yes, &error), ERR_FORMAT, "wanted a bool");
    struct gguf_string s = {0};
    ok(gguf_get_string(g, "str", &s, &error));
    assert_true(s.len == 4 && memcmp(s.data, "word", 4) == 0);
    check_refused(gguf_get_string(g, "arr", &s, &error), ERR_FORMAT,
                  "key arr: a value of type array, wanted a string");
    const struct gguf_value *v = gguf_find(g, "arr");
    assert_true(v->count == 2 && gguf_number_at(v, 0) == 1 && gguf_number_at(v, 1) == -2);
    assert_true(gguf_number_at(gguf_find(g, "top"), 0) == 0x1p64);
    assert_true(gguf_number_at(gguf_find(g, "i64"), 0) == -1);
    gguf_close(g);
    free(bytes);
}

/* Every truncation that takes a byte of the description or of a tensor is refused, cleanly. */
static void test_gguf_cut_anywhere(void **state)
{
    (void)state;
    struct file_map m;
    struct gguf *g;
    ok(file_map_open(&m, FIXTURES "llama_tied/model.gguf", &error));
    for (size_t n = 0; n < m.len; n += n < 7000 ? 1 : 997) {
        unsigned char *part = malloc(n + 1);
        memcpy(part, m.data, n);
        assert_int_equal(gguf_parse(&g, "file", part, n, &error), ERR_FORMAT);
        free(part);
    }
    file_map_close(&m);
}

/* ---- writing GGUF ---- */

static void put_all(struct gguf_writer *w, const struct gguf *g)
{
    for (size_t i = 0; i < gguf_keys(g); i++) {
        const struct gguf_value *v;
        const char *key = gguf_key_at(g, i, &v);
        gguf_put_value(w, key, v);
    }
    for (size_t i = 0; i < gguf_tensors(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        gguf_put_tensor(w, t->name, t->type, t->rank, t->dim);
    }
}

/* The reference converter's file, read and written again in uneven pieces, is the same to the byte. */
static void test_gguf_writes_what_it_read(void **state)
{
    (void)state;
    const char *file = FIXTURES "llama_tied/model.gguf";
    struct rng r = seeded();
    struct gguf *g;
    struct gguf_writer *w;
    ok(gguf_open(&g, file, &error));
    ok(gguf_create(&w, path, &error));
    put_all(w, g);
    ok(gguf_begin_data(w, &error));
    for (size_t i = 0; i < gguf_tensors(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        for (size_t at = 0, part; at < t->bytes; at += part) {
            part = rng_below(&r, t->bytes - at + 1);
            ok(gguf_write_data(w, t->data + at, part, &error));
        }
    }
    assert_int_equal(access(path, F_OK), -1); /* nothing to see before the end */
    ok(gguf_finish(w, &error));
    same_files(file, path);
    gguf_close(g);
}

static void check_value(const struct gguf *g, const char *key, enum gguf_type type, size_t count,
                        double first)
{
    const struct gguf_value *v = gguf_find(g, key);
    assert_non_null(v);
    assert_int_equal(v->element, type);
    assert_int_equal(v->count, count);
    if (gguf_number_at(v, 0) != first)
        fail_msg("%s is %g, wanted %g", key, gguf_number_at(v, 0), first);
}

static void put_one_of_each(struct gguf_writer *w)
{
    static const struct gguf_string words[] = {{"한 글", 7}, {NULL, 0}, {"a\0b", 3}};
    gguf_put_u32(w, "u32", 7);
    gguf_put_u64(w, "u64", (uint64_t)1 << 63);
    gguf_put_f32(w, "f32", 0.1f);
    gguf_put_bool(w, "bool", true);
    gguf_put_string(w, "string", "\0\n", 2);
    gguf_put_strings(w, "strings", words, 3);
    gguf_put_strings(w, "none", NULL, 0);
    gguf_put_i32s(w, "i32s", (int32_t[]){-5, 6}, 2);
    gguf_put_f32s(w, "f32s", (float[]){0.25f, 1}, 2);
    gguf_put_u32(w, "general.alignment", 64);
}

static void test_gguf_writes_every_kind(void **state)
{
    (void)state;
    static const enum dtype type[] = {DT_F32,  DT_F16,  DT_BF16, DT_Q8_0, DT_Q4_0, DT_Q4_1, DT_Q5_0, DT_Q5_1,
                                      DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_F64,  DT_I8,   DT_I16,  DT_I32,  DT_I64};
    static unsigned char bytes[3 * 256 * 8];
    struct rng r = seeded();
    struct gguf_writer *w;
    struct gguf *g;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)rng_next(&r);
    ok(gguf_create(&w, path, &error));
    put_one_of_each(w);
    for (size_t i = 0; i < COUNT_OF(type); i++)
        gguf_put_tensor(w, dtype_info[type[i]].name, type[i], 2, (size_t[]){3, 256});
    gguf_put_tensor(w, "odd", DT_I8, 1, (size_t[]){3});
    ok(gguf_begin_data(w, &error));
    for (size_t i = 0; i < COUNT_OF(type); i++)
        ok(gguf_write_data(w, bytes, 3 * 256 / dtype_info[type[i]].values * dtype_info[type[i]].bytes,
                           &error));
    ok(gguf_write_data(w, bytes, 3, &error));
    ok(gguf_finish(w, &error));
    ok(gguf_open(&g, path, &error));
    check_value(g, "u32", GGUF_U32, 1, 7);
    check_value(g, "u64", GGUF_U64, 1, 0x1p63);
    check_value(g, "f32", GGUF_F32, 1, (double)0.1f);
    check_value(g, "bool", GGUF_BOOL, 1, 1);
    check_value(g, "i32s", GGUF_I32, 2, -5);
    check_value(g, "f32s", GGUF_F32, 2, 0.25);
    const struct gguf_value *v = gguf_find(g, "strings");
    assert_true(v->count == 3 && v->strings[0].len == 7 && v->strings[1].len == 0 && v->strings[2].len == 3);
    assert_memory_equal(v->strings[0].data, "한 글", 7);
    assert_memory_equal(v->strings[2].data, "a\0b", 3);
    assert_int_equal(gguf_find(g, "none")->count, 0);
    for (size_t i = 0; i < COUNT_OF(type); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        assert_true(t->type == type[i] && t->rank == 2 && t->dim[0] == 3 && t->dim[1] == 256);
        assert_int_equal((uintptr_t)t->data % 64, 0); /* the mapping begins on a page */
        assert_memory_equal(t->data, bytes, t->bytes);
    }
    gguf_close(g);
}

/* What a file cannot hold is reported when the data begins; what was begun leaves nothing behind (teardown
 * looks). */
static void test_gguf_refuses_to_write(void **state)
{
    (void)state;
    static const struct {
        enum dtype type;
        int rank;
        size_t dim[5];
    } bad[] = {{DT_NF4, 1, {64}},
               {DT_U8, 1, {1}},
               {DT_OTHER, 1, {1}},
               {DT_Q8_0, 1, {31}},
               {DT_F32, 5, {1, 1, 1, 1, 1}},
               {DT_F32, 2, {0, 1}},
               {DT_F32, 2, {SIZE_MAX / 4, 2}},
               {DT_F32, 1, {0}}};
    struct gguf_writer *w;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        ok(gguf_create(&w, path, &error));
        gguf_put_tensor(w, "t", bad[i].type, bad[i].rank, bad[i].dim);
        assert_int_equal(gguf_begin_data(w, &error), ERR_FORMAT);
        assert_non_null(strstr(error.msg, "tensor t: GGUF cannot hold"));
        gguf_abandon(w);
    }
    ok(gguf_create(&w, path, &error));
    gguf_put_u32(w, "general.alignment", 7);
    assert_int_equal(gguf_begin_data(w, &error), ERR_FORMAT);
    gguf_abandon(w);
    gguf_abandon(NULL);
    assert_int_equal(access(path, F_OK), -1);
    char nowhere[400];
    snprintf(nowhere, sizeof nowhere, "%s/none/f", dir);
    assert_int_equal(gguf_create(&w, nowhere, &error), ERR_MISSING);
}

#define T(f) cmocka_unit_test(f)
#define F(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_gguf_reads_as_listed),     T(test_gguf_accepts),
        T(test_gguf_lists_unknown_types), T(test_gguf_refuses),
        T(test_gguf_name_lengths),        T(test_gguf_typed_reads),
        T(test_gguf_cut_anywhere),        F(test_gguf_writes_what_it_read),
        F(test_gguf_writes_every_kind),   F(test_gguf_refuses_to_write),
    };
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
