/* format/safetensors: files that other programs wrote (tests/fixtures, beside the raw arrays they hold), and
 * files that mean harm. format/gguf is in test_gguf.c. */
#include "format/safetensors.h"

#include "base/size.h"

#include "files.h"

/* A file of that header and n bytes of data, exactly allocated so that AddressSanitizer sees the end. */
static int parse_json(struct safetensors **s, const char *json, size_t n, unsigned char **bytes)
{
    uint64_t len = strlen(json);
    *bytes = calloc(8 + len + n, 1);
    memcpy(*bytes, &len, 8);
    memcpy(*bytes + 8, json, len);
    int rc = safetensors_parse(s, "file", *bytes, 8 + len + n, &error);
    if (rc)
        free(*bytes);
    return rc;
}

/* nf4.safetensors holds what the .bin files beside it hold. */
static void test_safetensors_reads(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum dtype type;
        size_t n;
    } want[] = {
        {"A", DT_F32, 4096},          {"absmax", DT_F32, 64},         {"codes", DT_U8, 4096},
        {"packed", DT_U8, 2048},      {"dequant", DT_F32, 4096},      {"nf4_codebook", DT_F32, 16},
        {"dynamic_map", DT_F32, 256}, {"absmax_q", DT_U8, 64},        {"absmax2", DT_F32, 1},
        {"absmax_offset", DT_F32, 1}, {"absmax_dequant", DT_F32, 64}, {"dequant_double", DT_F32, 4096},
    };
    struct safetensors *s;
    ok(safetensors_open(&s, FIXTURES "nf4/nf4.safetensors", &error));
    assert_int_equal(safetensors_count(s), COUNT_OF(want));
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        const struct tensor *t = safetensors_find(s, want[i].name);
        assert_non_null(t);
        assert_ptr_equal(t, safetensors_at(s, i)); /* the file is in this order */
        assert_int_equal(t->type, want[i].type);
        assert_int_equal(t->rank, 1);
        assert_int_equal(t->dim[0], want[i].n);
        char name[200];
        struct file_map m;
        snprintf(name, sizeof name, FIXTURES "nf4/%s.bin", want[i].name);
        ok(file_map_open(&m, name, &error));
        assert_int_equal(t->bytes, m.len);
        assert_memory_equal(t->data, m.data, m.len);
        file_map_close(&m);
    }
    assert_null(safetensors_find(s, "absmax3"));
    assert_null(safetensors_find(s, ""));
    assert_null(safetensors_metadata(s, "format"));
    safetensors_close(s);
    safetensors_close(NULL);
}

/* Read and written again, a file of the reference's layout is the same to the byte. */
static void test_safetensors_writes_what_it_read(void **state)
{
    (void)state;
    const char *file = FIXTURES "lora_llama/adapter_model.safetensors";
    struct safetensors *s;
    struct tensor t[100];
    ok(safetensors_open(&s, file, &error));
    size_t n = safetensors_count(s);
    assert_in_range(n, 1, COUNT_OF(t));
    for (size_t i = 0; i < n; i++)
        t[i] = *safetensors_at(s, i);
    struct safetensors_pair pair = {"format", safetensors_metadata(s, "format")};
    assert_string_equal(pair.value, "pt");
    ok(safetensors_write(path, t, n, &pair, 1, &error));
    same_files(file, path);
    safetensors_close(s);
}

static void test_safetensors_writes_every_type(void **state)
{
    (void)state;
    static const enum dtype type[] = {DT_F32, DT_F16, DT_BF16, DT_F64, DT_U8,
                                      DT_I8,  DT_I16, DT_I32,  DT_I64, DT_BOOL};
    static const unsigned char bytes[48] = "what the tensors hold, one after the other";
    struct tensor t[COUNT_OF(type) + 2];
    for (size_t i = 0; i < COUNT_OF(type); i++)
        t[i] = (struct tensor){dtype_info[type[i]].name,     type[i], 2, {2, 3}, bytes,
                               6 * dtype_info[type[i]].bytes};
    t[COUNT_OF(type)] = (struct tensor){.name = "scalar", .type = DT_I32, .data = bytes, .bytes = 4};
    t[COUNT_OF(type) + 1] = (struct tensor){"nothing 한", DT_F32, 2, {0, 7}, NULL, 0};
    struct safetensors_pair pair[] = {{"a", "1\n\"2\""}, {"둘", ""}};
    struct safetensors *s;
    ok(safetensors_write(path, t, COUNT_OF(t), pair, 2, &error));
    ok(safetensors_open(&s, path, &error));
    assert_int_equal(safetensors_count(s), COUNT_OF(t));
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        const struct tensor *r = safetensors_find(s, t[i].name);
        assert_non_null(r);
        assert_true(r->type == t[i].type && r->rank == t[i].rank && r->bytes == t[i].bytes);
        assert_memory_equal(r->dim, t[i].dim, sizeof r->dim);
        if (r->bytes)
            assert_memory_equal(r->data, t[i].data, r->bytes);
    }
    assert_string_equal(safetensors_metadata(s, "a"), "1\n\"2\"");
    assert_string_equal(safetensors_metadata(s, "둘"), "");
    safetensors_close(s);
}

static void test_safetensors_refuses_to_write(void **state)
{
    (void)state;
    static const unsigned char bytes[64];
    const struct tensor good = {"a", DT_F32, 1, {2}, bytes, 8};
    struct tensor t[2] = {good, {"q", DT_Q8_0, 1, {32}, bytes, 34}};
    assert_int_equal(safetensors_write(path, t, 2, NULL, 0, &error), ERR_FORMAT);
    t[1] = (struct tensor){"b", DT_F32, 1, {3}, bytes, 8};
    assert_int_equal(safetensors_write(path, t, 2, NULL, 0, &error), ERR_FORMAT);
    t[1] = good;
    assert_int_equal(safetensors_write(path, t, 2, NULL, 0, &error), ERR_FORMAT);
    t[1].name = "\xFF";
    assert_int_equal(safetensors_write(path, t, 2, NULL, 0, &error), ERR_FORMAT);
    assert_int_equal(access(path, F_OK), -1);
    char nowhere[400];
    snprintf(nowhere, sizeof nowhere, "%s/none/f", dir);
    assert_int_equal(safetensors_write(nowhere, t, 1, NULL, 0, &error), ERR_MISSING);
}

/* Holes, types we do not know, empty tensors, extra fields: allowed. */
static void test_safetensors_is_lenient(void **state)
{
    (void)state;
    struct safetensors *s;
    unsigned char *bytes;
    ok(parse_json(
        &s,
        " {\"z\":{\"dtype\":\"F8_E4M3\",\"shape\":[5],\"data_offsets\":[8,13],\"x\":[null]},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
        "\"e\":{\"dtype\":\"BF16\",\"shape\":[0,9],\"data_offsets\":[20,20]},\"__metadata__\":{}}  ",
        20, &bytes));
    assert_int_equal(safetensors_count(s), 3);
    assert_string_equal(safetensors_at(s, 0)->name, "b");
    assert_string_equal(safetensors_at(s, 2)->name, "e");
    const struct tensor *z = safetensors_find(s, "z");
    assert_true(z->type == DT_OTHER && z->bytes == 5 && z->dim[0] == 5);
    safetensors_close(s);
    free(bytes);
    ok(parse_json(&s, "{}", 0, &bytes));
    assert_int_equal(safetensors_count(s), 0);
    assert_null(safetensors_find(s, "b"));
    safetensors_close(s);
    free(bytes);
}

#define TENSOR(dtype, shape, range)                                                                          \
    "{\"a.b\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" range "}}"

static void test_safetensors_refuses_headers(void **state)
{
    (void)state;
    static const struct {
        const char *json, *part;
    } bad[] = {
        {"", "header: "},
        {"[]", "not an object"},
        {"{\"a\":", "header: "},
        {"{} x", "header: "},
        {"{\"a.b\":1}", "tensor a.b: no dtype"},
        {"{\"a.b\":{}}", "tensor a.b: no dtype"},
        {TENSOR("F32", "7", "[0,4]"), "a.b: shape is not a list"},
        {TENSOR("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), "a.b: shape is not a list of at most 8"},
        {TENSOR("F32", "[-1]", "[0,4]"), "a.b: a number in shape"},
        {TENSOR("F32", "[1.0]", "[0,4]"), "a.b: a number in shape"},
        {TENSOR("F32", "[4294967296,4294967296]", "[0,0]"), "a.b: shape has more values"},
        {TENSOR("F32", "[9223372036854775807,2,1]", "[0,0]"), "0 bytes of data"},
        {TENSOR("F32", "[9223372036854775808]", "[0,0]"), "header: "},
        {TENSOR("F64", "[2305843009213693952]", "[0,0]"), "0 bytes of data"},
        {TENSOR("F32", "[1]", "[0]"), "list of two numbers"},
        {TENSOR("F32", "[1]", "[0,4,8]"), "list of two numbers"},
        {TENSOR("F32", "[1]", "[-4,0]"), "a number in data_offsets"},
        {TENSOR("F32", "[1]", "[4,0]"), "[4, 0], wanted a range within 16 bytes"},
        {TENSOR("F32", "[1]", "[16,20]"), "[16, 20], wanted a range"},
        {TENSOR("F32", "[1]", "[0,9223372036854775807]"), "wanted a range"},
        {TENSOR("F32", "[1]", "[0,8]"), "8 bytes of data, wanted 1 values of F32"},
        {TENSOR("F32", "[3]", "[0,8]"), "8 bytes of data, wanted 3 values of F32"},
        {TENSOR("U16", "[1]", "[14,17]"), "wanted a range"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
         "duplicate"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
         "tensors a and b overlap"},
        {"{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
         "overlap"},
        {"{\"__metadata__\":3}", "__metadata__ is not an object"},
        {"{\"__metadata__\":{\"k\":3}}", "__metadata__ k is not a string"},
        {"{\"a\\u0000b\":{}}", "header: "},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct safetensors *s;
        unsigned char *bytes;
        check_refused(parse_json(&s, bad[i].json, 16, &bytes), ERR_FORMAT, bad[i].part);
    }
}

static void test_safetensors_refuses_lengths(void **state)
{
    (void)state;
    static const uint64_t len[] = {3, 1000, (uint64_t)1 << 63, UINT64_MAX, UINT64_MAX - 7};
    struct safetensors *s;
    for (size_t i = 0; i < COUNT_OF(len); i++) {
        unsigned char *bytes = malloc(10);
        memcpy(bytes, &len[i], 8);
        memcpy(bytes + 8, "{}", 2);
        check_refused(safetensors_parse(&s, "file", bytes, 10, &error), ERR_FORMAT, "cut short");
        free(bytes);
    }
    for (size_t n = 0; n < 8; n++)
        check_refused(safetensors_parse(&s, "file", (const unsigned char *)"\2\0\0\0\0\0\0", n, &error),
                      ERR_FORMAT, "wanted the 8");
    uint64_t huge = 100000001;
    unsigned char *bytes = calloc(8 + huge, 1);
    memcpy(bytes, &huge, 8);
    check_refused(safetensors_parse(&s, "file", bytes, 8 + huge, &error), ERR_LIMIT, "at most 100000000");
    free(bytes);
    assert_int_equal(safetensors_open(&s, "/nonexistent/x", &error), ERR_MISSING);
}

/* Every truncation of a good file is refused, cleanly. */
static void test_safetensors_cut_anywhere(void **state)
{
    (void)state;
    struct file_map m;
    struct safetensors *s;
    ok(file_map_open(&m, FIXTURES "lora_llama/adapter_model.safetensors", &error));
    for (size_t n = 0; n < m.len; n += n < 4000 ? 1 : 97) {
        unsigned char *part = malloc(n + 1);
        memcpy(part, m.data, n);
        assert_int_equal(safetensors_parse(&s, "file", part, n, &error), ERR_FORMAT);
        free(part);
    }
    file_map_close(&m);
}

#define T(f) cmocka_unit_test(f)
#define F(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_safetensors_reads),
        F(test_safetensors_writes_what_it_read),
        F(test_safetensors_writes_every_type),
        F(test_safetensors_refuses_to_write),
        T(test_safetensors_is_lenient),
        T(test_safetensors_refuses_headers),
        T(test_safetensors_refuses_lengths),
        T(test_safetensors_cut_anywhere),
    };
    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
