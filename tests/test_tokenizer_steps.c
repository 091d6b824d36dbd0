/* What happens to a text before the model: regular expressions, Unicode, normalisers, pre-tokenizers. Expected words
 * are those of the tests of the tokenizers library, of BERT and of SentencePiece where they have any. */
#include "base/size.h"
#include "text/regex.h"
#include "text/tokenizer_spec.h"
#include "text/unicode.h"

#include <utf8proc.h>

#include "tokenizing.h"

/* ---- regular expressions ---- */

static int search(const char *pattern, enum regex_syntax syntax, const char *text, size_t *begin, size_t *end)
{
    struct regex *r;
    struct regex_match *m = regex_match_new();
    ok(regex_compile(&r, pattern, strlen(pattern), syntax, &error));
    int got = regex_search(r, m, text, strlen(text), 0, begin, end, &error);
    regex_free(r);
    regex_match_free(m);
    return got;
}

static void finds(const char *pattern, const char *text, const char *want)
{
    size_t begin = 0, end = 0;
    int got = search(pattern, REGEX_RUBY, text, &begin, &end);
    if (got != (want != NULL))
        fail_msg("/%s/ in \"%s\": %d", pattern, text, got);
    if (want && (end - begin != strlen(want) || strncmp(text + begin, want, end - begin) != 0))
        fail_msg("/%s/ in \"%s\": \"%.*s\", want \"%s\"", pattern, text, (int)(end - begin), text + begin,
                 want);
}

static void test_regex_reads_ruby(void **state)
{
    (void)state;
    finds("\\s", "a\u3000b", "\u3000");
    finds("\\s",
          "a\xC2\x85"
          "b",
          "\xC2\x85");
    finds("\\s", "a\u180Eb", NULL); /* no white space since Unicode 6.3 */
    finds("\\s", "a\u200Bb", NULL);
    finds("[^\\s\\p{L}]+", "가나 !?", "!?");
    finds("\\S+", " 가나", "가나");
    finds("\\w+", "-é가1_\u0300x", "é가1_\u0300x");
    finds("[\\w-]+", " a-b ", "a-b");
    finds("\\W+", "a -b", " -");
    finds("\\h+", "xyzBEEF", "BEEF");
    finds("[g\\h]+", "xg1f-", "g1f");
    finds("^b", "a\nb", "b"); /* every line has a beginning and an end */
    finds("a$", "a\nb", "a");
    finds("[(\\s|[.,])]+", "x ).,(y", " ).,("); /* a class in a class is a union */
    finds("[^(\\s|[.,!?])]+", ".,ab c", "ab");
    finds("[[:alpha:]_]+", "1a_b", "a_b");
    finds("[]a]+", "b]a", "]a");
    finds("\\p{N}{1,3}+", "x1234567", "1234567"); /* repeated, not possessive */
    finds("[0-9]{2}+", "123456", "123456");
    finds("é{2}+", "ééé", "éé");
    finds("(?i:'s|'ll)", "I'LL", "'LL");
    finds("(?i:'s)", "x'\u017F", "'\u017F"); /* long s folds to s */
    finds("\\x{AC00}+", "가가나", "가가");
    finds("a++b", "aab", "aab");
    finds("\\s+(?!\\S)", "a   b", "  ");
}

static void test_regex_refused(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *part;
    } bad[] = {{"(", "offset 1"},        {"[a", "missing terminating"}, {"[a&&b]", "&& inside a class"},
               {"[a[^b]]", "[^ inside"}, {"(ab){2}+", "after a group"}, {"\\C", "\\C"}};
    struct regex *r;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int rc = regex_compile(&r, bad[i].pattern, strlen(bad[i].pattern), REGEX_RUBY, &error);
        if (rc != ERR_FORMAT || !strstr(error.msg, bad[i].part) || r)
            fail_msg("/%s/: code %d, \"%s\"", bad[i].pattern, rc, error.msg);
    }
    char *huge = calloc(1, 70000);
    memset(huge, 'a', 70000);
    assert_int_equal(regex_compile(&r, huge, 70000, REGEX_RUBY, &error), ERR_LIMIT);
    free(huge);
}

static void test_regex_gives_up(void **state)
{
    (void)state;
    char text[60];
    size_t b, x;
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = 0;
    assert_int_equal(search("(a+)+b|(a*)*c", REGEX_PERL, text, &b, &x), ERR_LIMIT);
}

static void test_regex_full(void **state)
{
    (void)state;
    struct regex *r;
    const char *pattern = "model\\.layers\\.\\d+\\.(q|q_proj|v_proj)";
    ok(regex_compile(&r, pattern, strlen(pattern), REGEX_PERL, &error));
    assert_int_equal(regex_full(r, "model.layers.12.q_proj", 22, &error), 1); /* not content with q */
    assert_int_equal(regex_full(r, "model.layers.12.q_proj.x", 24, &error), 0);
    assert_int_equal(regex_full(r, "xmodel.layers.1.q", 17, &error), 0);
    assert_int_equal(regex_full(r, "", 0, &error), 0);
    assert_int_equal(regex_full(r, "\xFF", 1, &error), ERR_FORMAT);
    regex_free(r);
}

/* ---- Unicode ---- */

static void check_form(enum unicode_form f, const char *s, size_t n)
{
    static const utf8proc_option_t options[] = {UTF8PROC_COMPOSE, UTF8PROC_DECOMPOSE,
                                                UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
                                                UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT};
    utf8proc_uint8_t *want;
    utf8proc_ssize_t want_n =
        utf8proc_map((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &want, UTF8PROC_STABLE | options[f]);
    struct buf got = {0};
    ok(unicode_normalize(&got, f, s, n, &error));
    if (got.len != (size_t)want_n || memcmp(got.data ? got.data : "", want, got.len) != 0)
        fail_msg("form %d: %zu bytes become %zu, utf8proc says %td", (int)f, n, got.len, (ptrdiff_t)want_n);
    if (unicode_is_plain(f, s, n) && (got.len != n || memcmp(got.data ? got.data : "", s, n) != 0))
        fail_msg("form %d: called plain, but changes", (int)f);
    free(want);
    buf_deinit(&got);
}

static void test_forms_equal_utf8proc(void **state)
{
    (void)state;
    static const uint32_t range[][2] = {
        {0x20, 0x7E},     {0xA0, 0x24F},      {0x300, 0x34E},     {0x1100, 0x1175}, {0x11A8, 0x11C2},
        {0xAC00, 0xD7A3}, {0x3041, 0x3099},   {0x30A1, 0x30FE},   {0xFF01, 0xFF9F}, {0x1E00, 0x1EFF},
        {0x2000, 0x2130}, {0x3131, 0x318E},   {0x4E00, 0x4EFF},   {0xF900, 0xFA2D}, {0xFB1D, 0xFB4E},
        {0xFDF0, 0xFDFB}, {0x1D15E, 0x1D164}, {0x1F600, 0x1F64F}, {0x0590, 0x05C7}, {0x0F71, 0x0F84},
        {0x09C7, 0x09D7}, {0x2460, 0x24FF},   {0x3300, 0x3357},   {0x212A, 0x212B}};
    struct rng r = seeded();
    for (int i = 0; i < 20000; i++) {
        struct buf b = {0};
        size_t kind[3], n = rng_below(&r, 30);
        buf_add(&b, "", 0);
        for (int k = 0; k < 3; k++)
            kind[k] = rng_below(&r, COUNT_OF(range));
        for (size_t k = 0; k < n; k++) {
            const uint32_t *x = range[kind[rng_below(&r, 3)]];
            unicode_put(&b, x[0] + (uint32_t)rng_below(&r, x[1] - x[0] + 1));
        }
        for (int f = UNICODE_NFC; f <= UNICODE_NFKD; f++)
            check_form((enum unicode_form)f, b.data, b.len);
        buf_deinit(&b);
    }
}

/* Every code point by itself and after a letter. */
static void test_forms_of_every_code_point(void **state)
{
    (void)state;
    struct buf b = {0};
    for (uint32_t c = 0; c < 0x30000; c++) {
        if (c >= 0xD800 && c <= 0xDFFF)
            continue;
        buf_reset(&b);
        unicode_put(&b, c % 3 ? 'o' : 0xAC00);
        unicode_put(&b, c);
        unicode_put(&b, 0x301);
        for (int f = UNICODE_NFC; f <= UNICODE_NFKD; f++)
            check_form((enum unicode_form)f, b.data, b.len);
    }
    buf_deinit(&b);
}

/* ---- pre-tokenizers ---- */

static void put_json_string(struct buf *out, const char *s, size_t n)
{
    buf_str(out, "\"");
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < ' ' || s[i] == '"' || s[i] == '\\')
            buf_printf(out, "\\u%04x", (unsigned)(unsigned char)s[i]);
        else
            buf_add(out, s + i, 1);
    buf_str(out, "\"");
}

/* The words that the steps make of a text, with | between them: each is a piece of a vocabulary that has nothing
 * else. */
static void words(const char *steps, const char *text, const char *want)
{
    struct buf json = {0}, ids = {0}, seen = {0};
    int n = 0;
    buf_printf(&json, "{%s,`model`:{`type`:`BPE`,`ignore_merges`:true,`merges`:[],`vocab`:{", steps);
    for (char *p = json.data; (p = strchr(p, '`'));)
        *p = '"';
    buf_add(&ids, "", 0);
    buf_str(&seen, "|");
    for (const char *w = want; *w; w += strcspn(w, "|"), w += *w == '|') {
        struct buf key = {0};
        buf_printf(&key, "|%.*s=", (int)strcspn(w, "|"), w);
        char *before = strstr(seen.data, key.data);
        int id = before ? atoi(before + key.len) : n;
        if (!before) {
            buf_str(&json, n ? "," : "");
            put_json_string(&json, w, strcspn(w, "|"));
            buf_printf(&json, ":%d", n++);
            buf_printf(&seen, "%s%d|", key.data + 1, id);
        }
        buf_printf(&ids, "%s%d", ids.len ? " " : "", id);
        buf_deinit(&key);
    }
    buf_str(&json, n ? "}}}" : "\"x\":0}}}");
    struct tokenizer *t;
    ok(tokenizer_parse_json(&t, "file", json.data, json.len, &error));
    check(t, text, ids.data);
    tokenizer_close(t);
    buf_deinit(&json);
    buf_deinit(&ids);
    buf_deinit(&seen);
}

#define PRE(json)  "`pre_tokenizer`:" json
#define NORM(json) "`normalizer`:" json

/* pre_tokenizers/split.rs, basic() */
static void test_split(void **state)
{
    (void)state;
#define SPLIT(behavior)                                                                                      \
    PRE("{`type`:`Split`,`pattern`:{`Regex`:`\\\\w+|[^\\\\w\\\\s]+`},`invert`:true,`behavior`:`" behavior    \
        "`}")
    const char *text = "How are you doing?";
    words(SPLIT("Removed"), text, "How|are|you|doing|?");
    words(SPLIT("Isolated"), text, "How| |are| |you| |doing|?");
    words(SPLIT("MergedWithPrevious"), text, "How |are |you |doing|?");
    words(SPLIT("MergedWithNext"), text, "How| are| you| doing|?");
    words(SPLIT("Contiguous"), text, "How| |are| |you| |doing?");
#undef SPLIT
#define SPLIT(behavior)                                                                                      \
    PRE("{`type`:`Split`,`pattern`:{`String`:`-`},`invert`:false,`behavior`:`" behavior "`}")
    /* tokenizer/normalizer.rs, split() */
    text = "The-final--countdown";
    words(SPLIT("Removed"), text, "The|final|countdown");
    words(SPLIT("Isolated"), text, "The|-|final|-|-|countdown");
    words(SPLIT("MergedWithPrevious"), text, "The-|final-|-|countdown");
    words(SPLIT("MergedWithNext"), text, "The|-final|-|-countdown");
    words(SPLIT("Contiguous"), text, "The|-|final|--|countdown");
    words(SPLIT("MergedWithNext"), "-a--", "-a|-|-");
    words(SPLIT("MergedWithPrevious"), "--a", "-|-|a");
#undef SPLIT
    words(PRE("{`type`:`Split`,`pattern`:{`String`:``},`invert`:false,`behavior`:`Isolated`}"), "가나a",
          "가|나|a");
    words(PRE("{`type`:`Split`,`pattern`:{`Regex`:`x*`},`invert`:false,`behavior`:`Isolated`}"), "axxb",
          "a|xx|b");
    words(PRE("{`type`:`CharDelimiterSplit`,`delimiter`:`.`}"), "the.final.countdown", "the|final|countdown");
}

static void test_simple_pretokenizers(void **state)
{
    (void)state;
    words(PRE("{`type`:`Digits`,`individual_digits`:false}"), "Hey 123 friend!", "Hey |123| friend!");
    words(PRE("{`type`:`Digits`,`individual_digits`:true}"), "Hey 123 friend!", "Hey |1|2|3| friend!");
    words(PRE("{`type`:`Digits`,`individual_digits`:true}"), "a\u00BD\u0661b", "a|\u00BD|\u0661|b");
    words(PRE("{`type`:`Punctuation`}"), "Hey friend!     How are you?!?",
          "Hey friend|!|     How are you|?|!|?");
    words(PRE("{`type`:`Punctuation`,`behavior`:`Contiguous`}"), "Hey?!? $", "Hey|?!?| |$");
    words(PRE("{`type`:`Whitespace`}"), "How are you doing?", "How|are|you|doing|?");
    words(PRE("{`type`:`Whitespace`}"), "Hey man!\n\u3000가_1", "Hey|man|!|가_1");
    words(PRE("{`type`:`WhitespaceSplit`}"), "Hey, man, Good?\u3000x\n", "Hey,|man,|Good?|x");
    words(PRE("{`type`:`BertPreTokenizer`}"), "Hey friend!     How are you?!?",
          "Hey|friend|!|How|are|you|?|!|?");
    words(PRE("{`type`:`Sequence`,`pretokenizers`:[{`type`:`WhitespaceSplit`},{`type`:`Digits`,`individual_"
              "digits`:true}]}"),
          "a12 3", "a|1|2|3");
    words(PRE("null"), "a b", "a b");
}

static void test_byte_level(void **state)
{
    (void)state;
#define BYTES(prefix, pattern) "{`type`:`ByteLevel`,`add_prefix_space`:" prefix ",`use_regex`:" pattern "}"
    const char *text = "Hello my friend, how is your day going?";
    const char *want = "ĠHello|Ġmy|Ġfriend|,|Ġhow|Ġis|Ġyour|Ġday|Ġgoing|?";
    words(PRE(BYTES("true", "true")), text, want);
    words(PRE(BYTES("false", "true")), text, want + strlen("Ġ"));
    words(PRE(BYTES("true", "true")), " Hello my friend, how is your day going?", want);
    words(PRE(BYTES("true", "false")), "a b", "ĠaĠb");
    words(PRE(BYTES("false", "true")), "Hello there\nHello there", "Hello|Ġthere|Ċ|Hello|Ġthere");
    words(PRE(BYTES("false", "true")), "Hello there       dear", "Hello|Ġthere|ĠĠĠĠĠĠ|Ġdear");
    words(PRE(BYTES("false", "true")), "i⭢j", "i|âŃ¢|j");
    words(PRE(BYTES("false", "true")), "we'll can't I'S", "we|'ll|Ġcan|'t|ĠI|'|S");
    /* a space goes before every word of an earlier step */
    words(PRE("{`type`:`Sequence`,`pretokenizers`:[{`type`:`WhitespaceSplit`}," BYTES("true", "true") "]}"),
          "a b!", "Ġa|Ġb|!");
    /* and characters of bytes are seen by the steps after it, as in falcon: U+00B2 stands for a byte and is a number */
    words(PRE("{`type`:`Sequence`,`pretokenizers`:[" BYTES(
              "false", "true") ",{`type`:`Digits`,`individual_digits`:false}]}"),
          "x\u00F2y 12", "xÃ|²|y|Ġ|12");
    words(NORM("{`type`:`ByteLevel`}"), "a é", "aĠÃ©");
#undef BYTES
}

static void test_metaspace(void **state)
{
    (void)state;
#define META(more) "{`type`:`Metaspace`,`replacement`:`▁`" more "}"
    words(PRE(META(",`add_prefix_space`:true")), "Hey friend!", "▁Hey|▁friend!");
    words(PRE(META(",`prepend_scheme`:`always`")), "Hey   friend!", "▁Hey|▁|▁|▁friend!");
    words(PRE(META(",`prepend_scheme`:`always`")), " Hey", "▁Hey");
    words(PRE(META(",`prepend_scheme`:`always`")), "▁Hey", "▁Hey");
    words(PRE(META(",`prepend_scheme`:`never`")), "Hey friend", "Hey|▁friend");
    words(PRE(META(",`add_prefix_space`:false")), "Hey friend", "Hey|▁friend");
    words(PRE(META(",`prepend_scheme`:`first`")), "Hey friend", "▁Hey|▁friend");
    words(PRE(META(",`prepend_scheme`:`always`,`split`:false")), "Hey friend", "▁Hey▁friend");
#define AFTER(scheme)                                                                                        \
    PRE("{`type`:`Sequence`,`pretokenizers`:[{`type`:`WhitespaceSplit`}," META(",`prepend_scheme`:`" scheme  \
                                                                               "`") "]}")
    words(AFTER("always"), "Hey friend", "▁Hey|▁friend");
    words(AFTER("first"), "Hey friend", "▁Hey|friend");
    words(AFTER("first"), " Hey friend", "Hey|friend"); /* no word begins where the text does */
#undef AFTER
#undef META
}

/* Only what begins the whole text is first, not what follows a special token. */
static void test_metaspace_first_and_added(void **state)
{
    (void)state;
    struct tokenizer *t = from_json("{`added_tokens`:[{`id`:5,`content`:`<s>`,`special`:true}]," PRE(
        "{`type`:`Metaspace`,`replacement`:`▁`,`prepend_scheme`:`first`,`split`:false}") ",`model`:{`type`:`"
                                                                                         "BPE`,"
                                                                                         "`vocab`:{`▁`:0,`a`:"
                                                                                         "1},`merges`:[]}}");
    check_special(t, "a<s>a", "0 1 5 1");
    check_special(t, "<s>a", "5 1");
    tokenizer_close(t);
}

/* Sixty steps that each double the text end at a bound. */
static void test_growth_is_bounded(void **state)
{
    (void)state;
    struct buf b = {0};
    struct tokens ids = {0};
    buf_str(&b, "{`normalizer`:{`type`:`Sequence`,`normalizers`:[");
    for (int i = 0; i < 60; i++)
        buf_printf(&b, "%s{`type`:`Replace`,`pattern`:{`String`:`a`},`content`:`aa`}", i ? "," : "");
    buf_str(&b, "]},`model`:{`type`:`BPE`,`vocab`:{`a`:0},`merges`:[]}}");
    struct tokenizer *t = from_json(b.data);
    assert_int_equal(tokenizer_encode(t, "aaa", 3, false, &ids, &error), ERR_MEMORY);
    assert_non_null(strstr(error.msg, "normalised text: more than"));
    tokenizer_close(t);
    buf_deinit(&b);
}

static void test_real_patterns(void **state)
{
    (void)state;
#define CL100K                                                                                               \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "                   \
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
    const char *text = "I'LL  go 12345!!\n\n x\u00A0\uC548\uB155 \u3139\u3139 \n \nb  ";
    words(PRE("{`type`:`Split`,`pattern`:{`Regex`:`" CL100K "`},`behavior`:`Removed`,`invert`:true}"), text,
          "I|'LL| | go| |123|45|!!\n\n| x|\u00A0\uC548\uB155| \u3139\u3139| \n \n|b|  ");
    words(PRE("{`type`:`Split`,`pattern`:{`Regex`:`" CL100K "`},`behavior`:`Isolated`,`invert`:false}"), text,
          "I|'LL| | go| |123|45|!!\n\n| x|\u00A0\uC548\uB155| \u3139\u3139| \n \n|b|  ");
#undef CL100K
}

static void test_steps_refused(void **state)
{
    (void)state;
#define WITH(steps) "{" steps ",`model`:{`type`:`BPE`,`vocab`:{`a`:0},`merges`:[]}}"
    check_json_refused(WITH(PRE("{`type`:`UnicodeScripts`}")), "pre_tokenizer: type \"UnicodeScripts\"");
    check_json_refused(WITH(PRE("{`type`:`Sequence`,`pretokenizers`:[{`type`:`Foo`}]}")), "type \"Foo\"");
    check_json_refused(WITH(PRE("{`type`:`Split`,`pattern`:{`Regex`:`(`},`behavior`:`Isolated`}")),
                       "regular expression");
    check_json_refused(WITH(PRE("{`type`:`Split`,`pattern`:{`Regex`:`a`},`behavior`:`Odd`}")), "behavior");
    check_json_refused(WITH(PRE("{`type`:`Split`,`pattern`:{},`behavior`:`Isolated`}")), "pattern: want");
    check_json_refused(WITH(PRE("{`type`:`Metaspace`,`prepend_scheme`:`x`}")), "prepend_scheme");
    check_json_refused(WITH(PRE("{`type`:`Metaspace`,`replacement`:``}")), "replacement is empty");
    check_json_refused(WITH(NORM("{`type`:`Foo`}")), "normalizer: type \"Foo\"");
    check_json_refused(WITH(NORM("{`type`:`Replace`,`pattern`:{`String`:``},`content`:`x`}")),
                       "pattern is empty");
    check_json_refused(WITH(NORM("{`type`:`Replace`,`pattern`:{`String`:`x`}}")), "content: want");
    check_json_refused(WITH(NORM("{`type`:`Prepend`}")), "prepend: want");
    check_json_refused(WITH(NORM("{`type`:`Precompiled`,`precompiled_charsmap`:`####`}")), "not base64");
    check_json_refused(WITH(NORM("{`type`:`Precompiled`,`precompiled_charsmap`:`AAA=`}")), "want at least 4");
    check_json_refused(WITH(NORM("{`type`:`Precompiled`,`precompiled_charsmap`:`/////w==`}")), "trie of");
    check_json_refused(WITH(NORM("{`type`:`Sequence`,`normalizers`:{}}")), "Sequence");
#undef WITH
}

/* ---- normalizers ---- */

static void test_normalizers(void **state)
{
    (void)state;
    words(NORM("{`type`:`NFC`}"), "\u1112\u1161\u11ABe\u0301", "\uD55C\u00E9");
    words(NORM("{`type`:`NFD`}"), "\uD55C\u00E9", "\u1112\u1161\u11ABe\u0301");
    words(NORM("{`type`:`NFKC`}"), "\uFB01\uFF21\u00BD", "fiA1\u20442");
    words(NORM("{`type`:`NFKD`}"), "\uFB01\u1E9B\u0323", "fis\u0323\u0307"); /* UAX #15, figure 6 */
    words(NORM("{`type`:`Lowercase`}"), "ABÉ\u0130ΣΑΣ", "abéi\u0307σασ");
    words(NORM("{`type`:`Sequence`,`normalizers`:[{`type`:`NFD`},{`type`:`StripAccents`}]}"),
          "Me llamó \u0903", "Me llamo ");
    words(NORM("{`type`:`Strip`,`strip_left`:true,`strip_right`:true}"), " \u3000a b\n", "a b");
    words(NORM("{`type`:`Strip`,`strip_left`:false,`strip_right`:true}"), " a ", " a");
    words(NORM("{`type`:`Strip`,`strip_left`:true,`strip_right`:true}"), " \n", "");
    words(NORM("{`type`:`Replace`,`pattern`:{`String`:`''`},`content`:`\\u0022`}"), "This is a ''test''",
          "This is a \"test\"");
    words(NORM("{`type`:`Replace`,`pattern`:{`Regex`:`\\\\s+`},`content`:` `}"),
          "This     is   a         test", "This is a test");
    words(NORM("{`type`:`Replace`,`pattern`:{`Regex`:`x*`},`content`:`-`}"), "axxb", "-a-b-");
    words(NORM("{`type`:`Replace`,`pattern`:{`String`:`a`},`content`:``}"), "aaab", "b");
    words(NORM("{`type`:`Prepend`,`prepend`:`▁`}"), "Hello", "▁Hello");
    words(NORM("{`type`:`Prepend`,`prepend`:`▁`}"), "", "");
    words(NORM("{`type`:`Nmt`}"), "a\001\tb\u200B\uFEFFc\u2581\xC2\x9F", "a b  c ");
    words(NORM("null"), "\uFB01", "\uFB01");
}

#define BERT(flags) NORM("{`type`:`BertNormalizer`" flags "}") "," PRE("{`type`:`BertPreTokenizer`}")

/* google-research/bert, tokenization_test.py */
static void test_bert(void **state)
{
    (void)state;
    words(BERT(",`lowercase`:true"), " \tHeLLo!how  \n Are yoU?  ", "hello|!|how|are|you|?");
    words(BERT(",`lowercase`:true"), "H\u00E9llo", "hello");
    words(BERT(",`lowercase`:false"), " \tHeLLo!how  \n Are yoU?  ", "HeLLo|!|how|Are|yoU|?");
    words(BERT(",`lowercase`:false"), "H\u00E9llo", "H\u00E9llo");
    words(BERT(",`lowercase`:true,`strip_accents`:false"), "H\u00E9llo", "h\u00E9llo");
    words(BERT(",`lowercase`:false,`strip_accents`:true"), "H\u00E9llo", "Hello");
    words(BERT(",`lowercase`:true"), "ah\u535A\u63A8zz", "ah|\u535A|\u63A8|zz");
    words(BERT(",`lowercase`:true,`handle_chinese_chars`:false"), "ah\u535A\u63A8zz", "ah\u535A\u63A8zz");
    words(BERT(""), "b\uFFFDc\007d\u200Be\r\nf", "bcde|f");
    words(BERT(",`clean_text`:false"), "b\007d\u3000e", "b\007d|e");
    words(BERT(""), "가", "\u1100\u1161"); /* Hangul is decomposed, and stays so */
}

/* ---- character maps ---- */

/* A double array of one key, "A", which becomes "bc": the root's children begin at 256, the leaf is at 321 ^ 1. */
static struct buf one_key_map(void)
{
    struct buf b = {0};
    uint32_t unit[322] = {0}, bytes = sizeof unit;
    unit[0] = 256u << 10;
    unit[256 ^ 'A'] = 1u << 10 | 1u << 8 | 'A';
    unit[256 ^ 'A' ^ 1] = 1u << 31 | 2;
    buf_add(&b, &bytes, 4);
    buf_add(&b, unit, sizeof unit);
    buf_add(&b, "x\0bc\0", 5);
    return b;
}

static struct tokenizer *with_normalizer(struct spec_normalizer z, const char *whole)
{
    struct tokenizer_spec s;
    struct tokenizer *t;
    spec_init(&s);
    s.ignore_merges = true;
    s.pieces = 1;
    s.piece = arena_alloc(&s.arena, 1, sizeof *s.piece);
    s.piece[0] = (struct spec_piece){.bytes = whole, .len = (uint32_t)strlen(whole), .kind = TOKEN_NORMAL};
    s.normalizers = 1;
    s.normalizer = arena_alloc(&s.arena, 1, sizeof *s.normalizer);
    s.normalizer[0] = z;
    ok(tokenizer_new(&t, &s, &error));
    return t;
}

static void normalizes(struct spec_normalizer z, const char *text, const char *want)
{
    struct tokenizer *t = with_normalizer(z, *want ? want : "never");
    check(t, text, *want ? "0" : "");
    tokenizer_close(t);
}

static void test_charsmap(void **state)
{
    (void)state;
    struct buf map = one_key_map();
    struct spec_normalizer z = {.kind = NORMALIZER_PRECOMPILED, .charsmap = {map.data, map.len}};
    normalizes(z, "xAyA", "xbcybc");
    normalizes(z, "A\u0301z", "bcz"); /* a cluster of less than 6 bytes goes by the shortest key */
    normalizes(z, "A\u0301\u0301\u0301z", "bc\u0301\u0301\u0301z"); /* 7 bytes: character by character */
    z.kind = NORMALIZER_SENTENCEPIECE;
    normalizes(z, "A\u0301 A", "bc\u0301 bc");
    for (size_t n = 1; n < map.len; n++) { /* cut anywhere: refused, or steps that end */
        struct spec_normalizer cut = {.kind = NORMALIZER_PRECOMPILED};
        struct tokenizer_spec s;
        struct tokenizer *t = NULL;
        spec_init(&s);
        char *copy = malloc(n);
        memcpy(copy, map.data, n);
        cut.charsmap = (struct spec_string){copy, n};
        s.pieces = 1;
        s.piece = &(struct spec_piece){.bytes = "a", .len = 1, .kind = TOKEN_NORMAL};
        s.normalizers = 1;
        s.normalizer = &cut;
        if (tokenizer_new(&t, &s, &error) == 0)
            check(t, "Aa", "0");
        tokenizer_close(t);
        free(copy);
    }
    buf_deinit(&map);
}

/* Every bit of the map turned: reading it stays within it. */
static void test_damaged_charsmap(void **state)
{
    (void)state;
    struct buf map = one_key_map();
    struct rng r = seeded();
    for (int i = 0; i < 3000; i++) {
        char *copy = malloc(map.len);
        memcpy(copy, map.data, map.len);
        for (size_t k = 1 + rng_below(&r, 8); k > 0; k--)
            copy[rng_below(&r, 2) ? rng_below(&r, 40) : rng_below(&r, map.len)] ^=
                (char)(1 << rng_below(&r, 8));
        struct tokenizer_spec s;
        struct tokenizer *t = NULL;
        struct tokens ids = {0};
        spec_init(&s);
        s.pieces = 1;
        s.piece = &(struct spec_piece){.bytes = "a", .len = 1, .kind = TOKEN_NORMAL};
        s.normalizers = 1;
        s.normalizer = &(struct spec_normalizer){.kind = NORMALIZER_PRECOMPILED, .charsmap = {copy, map.len}};
        if (tokenizer_new(&t, &s, &error) == 0)
            (void)!tokenizer_encode(t, "AbaABC\u0301", 8, false, &ids, &error);
        tokens_deinit(&ids);
        tokenizer_close(t);
        free(copy);
    }
    buf_deinit(&map);
}

/* google/sentencepiece, normalizer_test.cc */
static void test_sentencepiece(void **state)
{
    (void)state;
    struct spec_normalizer z = {.kind = NORMALIZER_SENTENCEPIECE,
                                .dummy_prefix = true,
                                .remove_extra_whitespaces = true,
                                .escape_whitespaces = true};
    normalizes(z, "", "");
    normalizes(z, "      ", "");
    normalizes(z, "ABC", "▁ABC");
    normalizes(z, " ABC ", "▁ABC");
    normalizes(z, "  A  B  C ", "▁A▁B▁C");
    normalizes(z, "   ABC   DEF   ", "▁ABC▁DEF");
    z.dummy_prefix = false;
    normalizes(z, "  A  B  C ", "A▁B▁C");
    z.dummy_prefix = true;
    z.whitespace_suffix = true;
    normalizes(z, "  hello  world  ", "hello▁world▁");
    z.whitespace_suffix = z.remove_extra_whitespaces = false;
    normalizes(z, "  hello  world  ", "▁▁▁hello▁▁world▁▁");
    z.remove_extra_whitespaces = true;
    z.escape_whitespaces = false;
    normalizes(z, "  hello  world  ", " hello world");
}

#define T(f) cmocka_unit_test(f)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_regex_reads_ruby),
        T(test_regex_refused),
        T(test_regex_gives_up),
        T(test_regex_full),
        T(test_forms_equal_utf8proc),
        T(test_forms_of_every_code_point),
        T(test_split),
        T(test_simple_pretokenizers),
        T(test_byte_level),
        T(test_metaspace),
        T(test_metaspace_first_and_added),
        T(test_real_patterns),
        T(test_growth_is_bounded),
        T(test_steps_refused),
        T(test_normalizers),
        T(test_bert),
        T(test_charsmap),
        T(test_damaged_charsmap),
        T(test_sentencepiece),
    };
    return cmocka_run_group_tests_name("tokenizer_steps", tests, NULL, NULL);
}
