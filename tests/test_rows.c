#include "base/buf.h"
#include "data/rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const wanted[] = {"id", "text", "when"};

enum { ID, TEXT, WHEN, WANTED };

/* ---- helpers ---- */

static struct rows *open_bytes(enum rows_format format, const char *bytes, size_t len)
{
    struct err e = {0};
    struct rows *r;
    if (rows_open(&r, "f", format, bytes, len, wanted, WANTED, &e))
        fail_msg("%s", e.msg);
    return r;
}

static struct rows *open_text(enum rows_format format, const char *text)
{
    return open_bytes(format, text, strlen(text));
}

static void expect_open_error(enum rows_format format, const char *bytes, size_t len, int code,
                              const char *message)
{
    struct err e = {0};
    struct rows *r = (struct rows *)&e;
    assert_int_equal(rows_open(&r, "f", format, bytes, len, wanted, WANTED, &e), code);
    assert_null(r);
    assert_int_equal(e.code, code);
    assert_string_equal(e.msg, message);
}

static void expect_field(const struct rows *r, size_t i, const char *want)
{
    const char *got = rows_get(r, i);
    if (want) {
        assert_non_null(got);
        assert_string_equal(got, want);
    } else {
        assert_null(got);
    }
}

static void expect_row(struct rows *r, size_t line, const char *id, const char *text)
{
    struct err e = {0};
    if (rows_next(r, &e) != 1)
        fail_msg("want a row on line %zu: %s", line, e.msg);
    assert_int_equal(rows_line(r), line);
    expect_field(r, ID, id);
    expect_field(r, TEXT, text);
}

static void expect_bad_code(struct rows *r, int code, const char *message)
{
    struct err e = {0};
    assert_int_equal(rows_next(r, &e), code);
    assert_int_equal(e.code, code);
    assert_string_equal(e.msg, message);
    for (size_t i = 0; i < WANTED; i++)
        assert_null(rows_get(r, i));
}

static void expect_bad(struct rows *r, const char *message)
{
    expect_bad_code(r, ERR_FORMAT, message);
}

/* The end stays the end. */
static void expect_end(struct rows *r)
{
    struct err e = {0};
    assert_int_equal(rows_next(r, &e), 0);
    assert_int_equal(rows_next(r, &e), 0);
    assert_null(rows_get(r, ID));
    rows_close(r);
}

static void fill(struct buf *b, char c, size_t n)
{
    char *p = malloc(n);
    assert_non_null(p);
    memset(p, c, n);
    buf_add(b, p, n);
    free(p);
}

/* ---- formats by extension ---- */

static void test_format_of(void **state)
{
    (void)state;
    enum rows_format f;
    struct err e;
    assert_int_equal(rows_format_of(&f, "a/posts.csv", &e), 0);
    assert_int_equal(f, ROWS_CSV);
    assert_int_equal(rows_format_of(&f, "posts.TSV", &e), 0);
    assert_int_equal(f, ROWS_TSV);
    assert_int_equal(rows_format_of(&f, "./posts.x.jsonl", &e), 0);
    assert_int_equal(f, ROWS_JSONL);
    assert_int_equal(rows_format_of(&f, "posts.ndjson", &e), 0);
    assert_int_equal(f, ROWS_JSONL);
    assert_int_equal(rows_format_of(&f, "posts.csv/plain", &e), ERR_FORMAT);
    assert_int_equal(rows_format_of(&f, "posts", &e), ERR_FORMAT);
    assert_int_equal(rows_format_of(&f, "", &e), ERR_FORMAT);
    assert_int_equal(rows_format_of(&f, "posts.json", &e), ERR_FORMAT);
    assert_string_equal(e.msg, "posts.json: unknown extension, want .csv, .tsv, .jsonl or .ndjson");
}

/* ---- CSV ---- */

static void test_csv_plain(void **state)
{
    (void)state;
    struct rows *r = open_text(ROWS_CSV, "id,text\n1,안녕\n2,\n,b\n");
    expect_row(r, 2, "1", "안녕");
    expect_row(r, 3, "2", "");
    expect_row(r, 4, "", "b");
    expect_end(r);
}

static void test_csv_quotes(void **state)
{
    (void)state;
    struct rows *r = open_text(ROWS_CSV, "\"id\",\"text\"\n"
                                         "\"1\",\"a,b\"\n"
                                         "2,\"she said \"\"hi\"\"\"\n"
                                         "3,\"\"\"\"\n"
                                         "\"\",\"\"\n"
                                         "4, spaces stay \n");
    expect_row(r, 2, "1", "a,b");
    expect_row(r, 3, "2", "she said \"hi\"");
    expect_row(r, 4, "3", "\"");
    expect_row(r, 5, "", "");
    expect_row(r, 6, "4", " spaces stay ");
    expect_end(r);
}

static void test_csv_line_breaks(void **state)
{
    (void)state;
    struct rows *r = open_text(ROWS_CSV, "id,text\n1,\"a\nb\r\n\n\rc\"\n2,d\n3,\"\n\"\n\n4,e\n");
    expect_row(r, 2, "1", "a\nb\r\n\n\rc");
    expect_row(r, 6, "2", "d");
    expect_row(r, 7, "3", "\n");
    expect_row(r, 10, "4", "e");
    expect_end(r);
}

static void test_csv_line_ends(void **state)
{
    (void)state;
    struct rows *r = open_text(ROWS_CSV, "id,text\r\n1,a\r\n\r\n\"2\",\"b\"\r\n3,");
    expect_row(r, 2, "1", "a");
    expect_row(r, 4, "2", "b");
    expect_row(r, 5, "3", "");
    expect_end(r);
    r = open_text(ROWS_CSV, "id,text\n1,\"a\"");
    expect_row(r, 2, "1", "a");
    expect_end(r);
    r = open_text(ROWS_CSV, "id,text\n1,a\r2,b\n3,c\n4,d\r");
    expect_bad(r, "f:2: column \"text\": a carriage return alone, want LF or CRLF at a line's end");
    expect_row(r, 3, "3", "c");
    expect_bad(r, "f:4: column \"text\": a carriage return alone, want LF or CRLF at a line's end");
    expect_end(r);
}

static void test_csv_mark_and_blank_lines(void **state)
{
    (void)state;
    struct rows *r = open_text(ROWS_CSV, "\xEF\xBB\xBF\n\r\nid,text\n\n\n1,a\n\n");
    expect_row(r, 6, "1", "a");
    expect_end(r);
    r = open_text(ROWS_CSV, "\xEF\xBB\xBFid\n\"\"\n");
    expect_row(r, 2, "", NULL);
    expect_end(r);
    r = open_text(ROWS_CSV, "id,text");
    expect_end(r);
}

static void test_csv_broken_quotes(void **state)
{
    (void)state;
    struct rows *r = open_text(ROWS_CSV, "id,text\n1,\"secret\" tail\n2,b\n3,sec\"ret\"\n4,d\n"
                                         "5,\"x\ny\"z,\"\nw\n6,e\n7,\"never\n8,f\n");
    expect_bad(r, "f:2: column \"text\": text after the closing quote, want a comma or a line end");
    expect_row(r, 3, "2", "b");
    expect_bad(r,
               "f:4: column \"text\": a quote inside an unquoted field, want the field quoted and its quotes "
               "doubled");
    expect_row(r, 5, "4", "d");
    expect_bad(r, "f:6: column \"text\": text after the closing quote, want a comma or a line end (line 7)");
    expect_bad(r, "f:8: 1 field, want 2 as in the header");
    expect_row(r, 9, "6", "e");
    expect_bad(r, "f:10: column \"text\": quote never closed, want a closing quote; nothing after it is read "
                  "(line 12)");
    expect_end(r);
}

static void test_field_count(void **state)
{
    (void)state;
    struct rows *r = open_text(ROWS_CSV, "id,text\n1\n2,b,\n3,c,,d\n4,d\n");
    expect_bad(r, "f:2: 1 field, want 2 as in the header");
    expect_bad(r, "f:3: 3 fields, want 2 as in the header");
    expect_bad(r, "f:4: 4 fields, want 2 as in the header");
    expect_row(r, 5, "4", "d");
    expect_end(r);
    struct buf b = {0};
    buf_str(&b, "id\ttext\n");
    fill(&b, '\t', 100000);
    buf_str(&b, "\n5\te");
    r = open_bytes(ROWS_TSV, b.data, b.len);
    expect_bad(r, "f:2: 100001 fields, want 2 as in the header");
    expect_row(r, 3, "5", "e");
    expect_end(r);
    buf_deinit(&b);
}

/* ---- the header ---- */

static void test_header_errors(void **state)
{
    (void)state;
    expect_open_error(ROWS_CSV, NULL, 0, ERR_FORMAT, "f:1: empty, want a header row");
    expect_open_error(ROWS_TSV, "\xEF\xBB\xBF\n\n", 5, ERR_FORMAT, "f:1: empty, want a header row");
    expect_open_error(ROWS_JSONL, " \n\t", 3, ERR_FORMAT, "f:1: empty, want JSON objects");
    expect_open_error(ROWS_CSV, "id,\xC0\xAF\n", 6, ERR_FORMAT,
                      "f:1: header column 2: byte 1 is not UTF-8, want UTF-8");
    expect_open_error(ROWS_CSV, "i\0d\n", 4, ERR_FORMAT, "f:1: header column 1: byte 2 is NUL, want text");
    expect_open_error(ROWS_TSV, "\xFF\xFEi\0d\0", 6, ERR_FORMAT, "f:1: UTF-16, want UTF-8");
    expect_open_error(
        ROWS_CSV, "\nid,\"", 5, ERR_FORMAT,
        "f:2: header column 2: quote never closed, want a closing quote; nothing after it is read");
    expect_open_error(ROWS_CSV, "id,text,\"id\"\n1,2,3\n", 19, ERR_FORMAT,
                      "f:1: column \"id\" named twice, want each column once");
}

static void test_header_width(void **state)
{
    (void)state;
    struct buf b = {0};
    for (int i = 1; i < ROWS_COLUMNS_MAX; i++)
        buf_printf(&b, "c%d,", i);
    buf_str(&b, "id");
    rows_close(open_bytes(ROWS_CSV, b.data, b.len));
    buf_str(&b, ",text");
    expect_open_error(ROWS_CSV, b.data, b.len, ERR_LIMIT, "f:1: 65 columns, want at most 64");
    buf_deinit(&b);
}

static void test_columns(void **state)
{
    (void)state;
    struct rows *r = open_text(ROWS_CSV, "extra,text,\"two\nlines\",id\nx,a,y,1\n");
    assert_true(rows_has(r, ID));
    assert_true(rows_has(r, TEXT));
    assert_false(rows_has(r, WHEN));
    assert_false(rows_has(r, WANTED));
    assert_string_equal(rows_ignored(r), "extra, two?lines");
    expect_row(r, 3, "1", "a");
    expect_field(r, WHEN, NULL);
    expect_field(r, WANTED, NULL);
    expect_end(r);
    r = open_text(ROWS_CSV, "id\n");
    assert_string_equal(rows_ignored(r), "");
    expect_end(r);
}

/* Twelve syllables and a half would be 40 bytes with the dots; none is cut in two. */
static void test_long_names_are_cut(void **state)
{
    (void)state;
    struct rows *r = open_text(ROWS_CSV, "id,가나다라마바사아자차카타파하\n1,\"a\"b\n");
    assert_string_equal(rows_ignored(r), "가나다라마바사아자차카타...");
    expect_bad(r, "f:2: column \"가나다라마바사아자차카타...\": text after the closing quote, want a comma "
                  "or a line end");
    expect_end(r);
    r = open_text(ROWS_CSV, "id,0123456789012345678901234567890123456789\n");
    assert_string_equal(rows_ignored(r), "0123456789012345678901234567890123456789");
    expect_end(r);
}

/* ---- TSV ---- */

static void test_tsv(void **state)
{
    (void)state;
    struct rows *r = open_text(ROWS_TSV, "id\ttext\r\n"
                                         "1\ta\\tb\\nc\\rd\\\\e\r\n"
                                         "2\t\\x\\\\n\\\n"
                                         "3\\\t\"q\" , \"\"\n"
                                         "\n"
                                         "4\t\n"
                                         "5\t\\");
    expect_row(r, 2, "1", "a\tb\nc\rd\\e");
    expect_row(r, 3, "2", "\\x\\n\\");
    expect_row(r, 4, "3\\", "\"q\" , \"\"");
    expect_row(r, 6, "4", "");
    expect_row(r, 7, "5", "\\");
    expect_end(r);
}

static void test_tsv_bad_rows(void **state)
{
    (void)state;
    struct rows *r = open_text(ROWS_TSV, "id\ttext\n1\n2\ta\rb\n3\tc\td\n4\td\n");
    expect_bad(r, "f:2: 1 field, want 2 as in the header");
    expect_bad(r,
               "f:3: column \"text\": a carriage return alone, want \\r in text, LF or CRLF at a line's end");
    expect_bad(r, "f:4: 3 fields, want 2 as in the header");
    expect_row(r, 5, "4", "d");
    expect_end(r);
}

/* ---- text that is not text ---- */

static void test_invalid_utf8(void **state)
{
    (void)state;
    struct rows *r =
        open_text(ROWS_CSV, "id,text\n1,\"a\nb\xED\xA0\x80\"\n2,\xC0\xBC,\"x\ny\"\n3,\xEA\xB0\n4,d\n");
    expect_bad(r, "f:2: column \"text\": byte 4 is not UTF-8, want UTF-8");
    expect_bad(r, "f:4: column \"text\": byte 1 is not UTF-8, want UTF-8");
    expect_bad(r, "f:6: column \"text\": byte 1 is not UTF-8, want UTF-8");
    expect_row(r, 7, "4", "d");
    expect_end(r);
    r = open_text(ROWS_TSV, "id\ttext\n1\ta\\tb\xFF\n2\tb");
    expect_bad(r, "f:2: column \"text\": byte 4 is not UTF-8, want UTF-8");
    expect_row(r, 3, "2", "b");
    expect_end(r);
    r = open_text(ROWS_JSONL, "{\"id\":\"\xFF\"}\n{\"id\":\"2\"}");
    expect_bad(r, "f:1: byte 8 is not UTF-8, want UTF-8");
    expect_row(r, 2, "2", NULL);
    expect_end(r);
}

static void test_nul(void **state)
{
    (void)state;
    static const char csv[] = "id,text\n1,a\0b\n2,\"c\0\"\n\0\n3,d\n";
    struct rows *r = open_bytes(ROWS_CSV, csv, sizeof csv - 1);
    expect_bad(r, "f:2: column \"text\": byte 2 is NUL, want text");
    expect_bad(r, "f:3: column \"text\": byte 2 is NUL, want text");
    expect_bad(r, "f:4: column \"id\": byte 1 is NUL, want text");
    expect_row(r, 5, "3", "d");
    expect_end(r);
    static const char tsv[] = "id\ttext\n1\t\\\0\n2\tb\n";
    r = open_bytes(ROWS_TSV, tsv, sizeof tsv - 1);
    expect_bad(r, "f:2: column \"text\": byte 2 is NUL, want text");
    expect_row(r, 3, "2", "b");
    expect_end(r);
    static const char json[] =
        "{\"id\":\"\0\"}\n{\"id\":\"a\\u0000b\"}\n{\"a\\u0000b\":1}\n{\"id\":\"4\"}\0\n{\"id\":5}\n";
    r = open_bytes(ROWS_JSONL, json, sizeof json - 1);
    expect_bad(r, "f:1: byte 8 is NUL, want text");
    expect_bad(r, "f:2: \\u0000 in a string, want text without NUL (at byte 16)");
    expect_bad(r, "f:3: \\u0000 in a key, want text without NUL (at byte 11)");
    expect_bad(r, "f:4: byte 11 is NUL, want text");
    expect_row(r, 5, "5", NULL);
    expect_end(r);
}

/* ---- JSON lines ---- */

static void test_jsonl_values(void **state)
{
    (void)state;
    struct rows *r = open_text(
        ROWS_JSONL,
        "\xEF\xBB\xBF\n {\"id\": 9007199254740993, \"text\": \"a\\n\\\"\\uD55C\\ud83d\\ude00\"} \r\n"
        " \t\r\n"
        "{\"id\":-9223372036854775808,\"text\":null}\n"
        "{\"id\":0.1,\"text\":true}\n"
        "{\"id\":false,\"when\":1e300}\n"
        "{}\n"
        "{\"text\":\"\"}");
    assert_true(rows_has(r, WHEN));
    expect_row(r, 2, "9007199254740993", "a\n\"한😀");
    expect_field(r, WHEN, NULL);
    expect_row(r, 4, "-9223372036854775808", NULL);
    expect_row(r, 5, "0.10000000000000001", "true");
    expect_row(r, 6, "false", NULL);
    expect_field(r, WHEN, "1.0000000000000001e+300");
    expect_row(r, 7, NULL, NULL);
    expect_row(r, 8, NULL, "");
    expect_end(r);
}

static void test_jsonl_bad_values(void **state)
{
    (void)state;
    struct rows *r = open_text(ROWS_JSONL, "{\"id\":[1,2]}\n"
                                           "{\"other\":{\"secret\":1}}\n"
                                           "{\"id\":1,\"id\":2}\n"
                                           "[1]\n"
                                           "\"secret\"\n"
                                           "{\"id\":9223372036854775808}\n"
                                           "{\"id\":1e999}\n"
                                           "{\"id\":7}\n");
    expect_bad(r, "f:1: key \"id\": an array, want text, a number, true, false or null");
    expect_bad(r, "f:2: key \"other\": an object, want text, a number, true, false or null");
    expect_bad(r, "f:3: a key given twice, want each key once (at byte 12)");
    expect_bad(r, "f:4: JSON but not an object, want one JSON object a line");
    expect_bad(r, "f:5: JSON but not an object, want one JSON object a line");
    expect_bad(r, "f:6: a number out of range, want a 64-bit integer or a double (at byte 25)");
    expect_bad(r, "f:7: a number out of range, want a 64-bit integer or a double (at byte 11)");
    expect_row(r, 8, "7", NULL);
    expect_end(r);
}

static void test_jsonl_bad_syntax(void **state)
{
    (void)state;
    struct rows *r = open_text(ROWS_JSONL, "{\"id\":secret}\n"
                                           "{\"id\":\"\\ud800\"}\n"
                                           "{\"id\":1} {\"id\":2}\n"
                                           "{\"id\":1,}\n"
                                           "{\"id\":1\n"
                                           "id,text\n"
                                           "{\"id\":7}");
    struct err e = {0};
    for (int line = 1; line <= 6; line++) {
        assert_int_equal(rows_next(r, &e), ERR_FORMAT);
        assert_int_equal(rows_line(r), line);
        assert_null(strstr(e.msg, "secret"));
        assert_non_null(strstr(e.msg, "want one JSON object a line"));
    }
    expect_row(r, 7, "7", NULL);
    expect_end(r);
}

static void test_jsonl_ignored(void **state)
{
    (void)state;
    struct rows *r = open_text(ROWS_JSONL, "{\"id\":1,\"b\\n\":1}\n{\"id\":2,\"a\":null,\"b\\n\":2}\n");
    assert_string_equal(rows_ignored(r), "");
    expect_row(r, 1, "1", NULL);
    assert_string_equal(rows_ignored(r), "b?");
    expect_row(r, 2, "2", NULL);
    assert_string_equal(rows_ignored(r), "b?, a");
    expect_end(r);
}

/* Keys made up without end neither grow the list nor hide that there were more. */
static void test_jsonl_ignored_is_bounded(void **state)
{
    (void)state;
    struct buf b = {0};
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "{\"k%d\":1}\n", i);
    struct rows *r = open_bytes(ROWS_JSONL, b.data, b.len);
    for (size_t i = 1; i <= 1000; i++)
        expect_row(r, i, NULL, NULL);
    assert_non_null(strstr(rows_ignored(r), "k0, k1, k2, "));
    assert_non_null(strstr(rows_ignored(r), ", k63, ..."));
    assert_null(strstr(rows_ignored(r), "k64"));
    expect_end(r);
    buf_deinit(&b);
}

static void add_object(struct buf *b, int keys)
{
    for (int i = 0; i < keys; i++)
        buf_printf(b, "%c\"k%d\":%d", i ? ',' : '{', i, i);
    buf_str(b, "}\n");
}

static void test_jsonl_bounds(void **state)
{
    (void)state;
    struct buf b = {0};
    add_object(&b, ROWS_COLUMNS_MAX);
    add_object(&b, ROWS_COLUMNS_MAX + 1);
    add_object(&b, 5000);
    buf_str(&b, "{\"id\":\"");
    fill(&b, ',', 5000);
    buf_str(&b, "\\\",\"}\n{\"id\":");
    fill(&b, '[', 100000);
    buf_str(&b, "\n{\"id\":6}\n");
    struct rows *r = open_bytes(ROWS_JSONL, b.data, b.len);
    expect_row(r, 1, NULL, NULL);
    expect_bad_code(r, ERR_LIMIT, "f:2: 65 keys, want at most 64");
    expect_bad_code(r, ERR_LIMIT, "f:3: more than 4096 values, want at most 64 keys with plain values");
    struct err e = {0};
    assert_int_equal(rows_next(r, &e), 1);
    assert_int_equal(strlen(rows_get(r, ID)), 5002);
    assert_int_equal(rows_next(r, &e), ERR_FORMAT);
    assert_non_null(strstr(e.msg, "f:5: values nested too deep, want plain values"));
    expect_row(r, 6, "6", NULL);
    expect_end(r);
    buf_deinit(&b);
}

/* ---- lengths ---- */

static void test_long_lines(void **state)
{
    (void)state;
    static const struct {
        enum rows_format format;
        const char *before, *after, *message;
    } t[] = {
        {ROWS_CSV, "id,text\n1,", "\n2,b\n",
         "f:2: column \"text\": more than 1048576 bytes, want at most that many in a field"},
        {ROWS_CSV, "id,text\n1,\"", "\"\n2,b\n",
         "f:2: column \"text\": more than 1048576 bytes, want at most that many in a field"},
        {ROWS_TSV, "id\ttext\n1\t", "\n2\tb\n",
         "f:2: column \"text\": more than 1048576 bytes, want at most that many in a field"},
        {ROWS_JSONL, "\n{\"text\":\"", "\"}\n{\"id\":2,\"text\":\"b\"}\n",
         "f:2: a line of 10000012 bytes, want at most 8388608"},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        struct buf b = {0};
        buf_str(&b, t[i].before);
        fill(&b, 'x', 10000000);
        buf_str(&b, t[i].after);
        struct rows *r = open_bytes(t[i].format, b.data, b.len);
        expect_bad_code(r, ERR_LIMIT, t[i].message);
        expect_row(r, 3, "2", "b");
        expect_end(r);
        buf_deinit(&b);
    }
}

/* A quote never closed explains the length, so it is what is reported. */
static void test_long_open_quote(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_str(&b, "id,text\n1,\"");
    fill(&b, 'x', 2 * ROWS_FIELD_MAX);
    struct rows *r = open_bytes(ROWS_CSV, b.data, b.len);
    expect_bad(r, "f:2: column \"text\": quote never closed, want a closing quote; nothing after it is read");
    expect_end(r);
    buf_deinit(&b);
}

static void test_longest_field(void **state)
{
    (void)state;
    struct buf b = {0};
    struct err e = {0};
    for (size_t more = 0; more < 2; more++) {
        buf_reset(&b);
        buf_str(&b, "{\"id\":\"");
        for (size_t i = 0; i < ROWS_FIELD_MAX; i++)
            buf_str(&b, "\\u0041");
        buf_str(&b, more ? "A\"}" : "\"}");
        struct rows *r = open_bytes(ROWS_JSONL, b.data, b.len);
        if (more) {
            expect_bad_code(r, ERR_LIMIT,
                            "f:1: key \"id\": more than 1048576 bytes, want at most that many in a field");
        } else {
            assert_int_equal(rows_next(r, &e), 1);
            assert_int_equal(strlen(rows_get(r, ID)), ROWS_FIELD_MAX);
        }
        expect_end(r);
    }
    buf_deinit(&b);
}

/* Fields within their bound that are too much together. */
static void test_longest_row(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_str(&b, "id,text,c,d,e,f,g,h,i\n");
    for (int i = 0; i < 9; i++) {
        buf_str(&b, i ? "," : "");
        fill(&b, 'x', ROWS_FIELD_MAX);
    }
    buf_str(&b, "\n1,2,3,4,5,6,7,8,9\n");
    struct rows *r = open_bytes(ROWS_CSV, b.data, b.len);
    expect_bad_code(r, ERR_LIMIT,
                    "f:2: column \"h\": more than 8388608 bytes in this row, want at most that many");
    expect_row(r, 3, "1", "2");
    expect_end(r);
    buf_deinit(&b);
}

/* ---- anything at all ---- */

/* Every text of up to five of the bytes that mean something, after a header: reading on ends, always. */
static void test_always_ends(void **state)
{
    (void)state;
    static const char alphabet[] = "a,\t\"\\\n\r{}:";
    size_t k = sizeof alphabet - 1, texts = k * k * k * k * k;
    for (size_t t = 0; t < 3 * texts; t++) {
        char text[32] = "";
        enum rows_format format = (enum rows_format)(t % 3);
        strcpy(text, format == ROWS_CSV ? "id,text\n" : format == ROWS_TSV ? "id\ttext\n" : "{}\n");
        size_t n = strlen(text), calls = 0, line = 0;
        for (size_t v = t / 3; v > 0; v /= k)
            text[n++] = alphabet[v % k];
        struct rows *r = open_bytes(format, text, n);
        struct err e;
        while (rows_next(r, &e) != 0) {
            assert_true(++calls <= n);
            assert_true(rows_line(r) > line);
            line = rows_line(r);
        }
        rows_close(r);
    }
    rows_close(NULL);
}

/* No message may carry a post's text or run over a line. */
static void test_messages_tell_nothing(void **state)
{
    (void)state;
    static const char *const tails[] = {
        "\"secret\nsecret\" x\n", "secret\"\n", "secret\xFF\n", "secret\rsecret\n", "secret\n",
        "\"secret\xFF",           "\"secret\n", "secret\n\n"};
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        struct buf b = {0};
        struct err e = {0};
        buf_printf(&b, "id,text,when\n1,%s", tails[i]);
        struct rows *r = open_bytes(ROWS_CSV, b.data, b.len);
        assert_true(rows_next(r, &e) < 0);
        assert_memory_equal(e.msg, "f:2: ", 5);
        assert_null(strstr(e.msg, "secret"));
        assert_null(strpbrk(e.msg, "\r\n"));
        rows_close(r);
        buf_deinit(&b);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_of),
        cmocka_unit_test(test_csv_plain),
        cmocka_unit_test(test_csv_quotes),
        cmocka_unit_test(test_csv_line_breaks),
        cmocka_unit_test(test_csv_line_ends),
        cmocka_unit_test(test_csv_mark_and_blank_lines),
        cmocka_unit_test(test_csv_broken_quotes),
        cmocka_unit_test(test_field_count),
        cmocka_unit_test(test_header_errors),
        cmocka_unit_test(test_header_width),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_long_names_are_cut),
        cmocka_unit_test(test_tsv),
        cmocka_unit_test(test_tsv_bad_rows),
        cmocka_unit_test(test_invalid_utf8),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_jsonl_values),
        cmocka_unit_test(test_jsonl_bad_values),
        cmocka_unit_test(test_jsonl_bad_syntax),
        cmocka_unit_test(test_jsonl_ignored),
        cmocka_unit_test(test_jsonl_ignored_is_bounded),
        cmocka_unit_test(test_jsonl_bounds),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_long_open_quote),
        cmocka_unit_test(test_longest_field),
        cmocka_unit_test(test_longest_row),
        cmocka_unit_test(test_always_ends),
        cmocka_unit_test(test_messages_tell_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
