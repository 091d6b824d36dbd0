/* The models and added tokens of text/tokenizer, on vocabularies small enough to work out by hand; examples of the
 * reference's own tests where it has some; and models written down here a second time, in the plainest way, against
 * the fast ones on random texts. */
#include "base/size.h"
#include "text/tokenizer_spec.h"

#include "tokenizing.h"

/* ---- merges ---- */

#define BPE(vocab, merges, more) "{`model`:{`type`:`BPE`,`vocab`:{" vocab "},`merges`:[" merges "]" more "}}"
#define LETTERS                  "`a`:0,`b`:1,`c`:2,`d`:3"

static void test_merges_in_order(void **state)
{
    (void)state;
    /* "ab" comes before "bc": of "abc" the b goes to the a; "cd" only when its c is left */
    const char *json = BPE(LETTERS ",`ab`:4,`bc`:5,`abc`:6,`cd`:7", "`a b`,`b c`,`c d`,`ab c`", "");
    check_json(json, "abc", "6");
    check_json(json, "bcd", "5 3");
    check_json(json, "abcd", "4 7"); /* c d comes before ab c */
    check_json(json, "", "");
    /* the leftmost of equals: aaa is aa a, not a aa */
    check_json(BPE("`a`:0,`aa`:1", "`a a`", ""), "aaa", "1 0");
    check_json(BPE("`a`:0,`aa`:1", "`a a`", ""), "aaaaa", "1 1 0");
    /* pairs instead of strings, and a piece with a space in it */
    check_json(BPE("`a`:0,` `:1,`a `:2,`a a`:3", "[`a`,` `],[`a `,`a`]", ""), "a a", "3");
    /* a later entry for the same pair counts */
    check_json(BPE(LETTERS ",`ab`:4,`bc`:5", "`a b`,`b c`,`a b`", ""), "abc", "0 5");
}

static void test_merges_refused(void **state)
{
    (void)state;
    check_json_refused(BPE(LETTERS, "`a b`", ""), "merge 0: \"ab\" is not in the vocabulary");
    check_json_refused(BPE(LETTERS, "`a z`", ""), "\"z\" is not in the vocabulary");
    check_json_refused(BPE(LETTERS, "`ab`", ""), "merges: entry 0: want two pieces");
    check_json_refused(BPE(LETTERS, "`a b c`", ""), "merges: entry 0: want two pieces");
    check_json_refused(BPE(LETTERS, "[`a`]", ""), "merges: entry 0");
    check_json_refused(BPE(LETTERS, "1", ""), "merges: entry 0");
    check_json_refused("{`model`:{`type`:`BPE`,`vocab`:{`a`:0}}}", "merges: want an array");
    check_json_refused(BPE("`a`:-1", "", ""), "token id -1");
    check_json_refused(BPE("`a`:70000", "", ""), "token id 70000"); /* out of proportion to one piece */
    check_json_refused(BPE("`a`:1.5", "", ""), "want a whole number");
    check_json_refused(BPE("`a`:0,`b`:0", "", ""), "token id 0 is there twice");
    check_json_refused(BPE("", "", ""), "vocabulary of 0");
    check_json_refused(BPE(LETTERS, "", ",`dropout`:0.1"), "dropout");
    check_json_refused("{`model`:{`type`:`WordLevel`,`vocab`:{`a`:0}}}", "type \"WordLevel\"");
    check_json_refused("[]", "want an object");
    check_json_refused("{", "line 1");
}

static void test_unknown_characters(void **state)
{
    (void)state;
    check_json(BPE("`a`:0", "", ""), "azza", "0 0"); /* nothing stands for them: left out */
    check_json(BPE("`a`:0,`?`:1", "", ",`unk_token`:`?`"), "azza", "0 1 1 0");
    check_json(BPE("`a`:0,`?`:1", "", ",`unk_token`:`?`,`fuse_unk`:true"), "azzaz", "0 1 0 1");
    /* bytes, where all of a character's have a token; 0x79 y but no 0xC3 0xA8 */
    check_json(BPE("`a`:0,`?`:1,`<0x7A>`:2,`<0xC3>`:4,`<0xA9>`:5", "",
                   ",`unk_token`:`?`,`fuse_unk`:true,`byte_fallback`:true"),
               "az\u00E9\u00E8y", "0 2 4 5 1");
    check_json(BPE("`a`:0,`<0x7A>`:2", "", ",`byte_fallback`:true"), "az", "0 2");
    /* without byte_fallback such pieces are ordinary ones that these characters do not make */
    check_json(BPE("`a`:0,`<0x7A>`:2", "", ""), "az", "0");
}

static void test_affixes(void **state)
{
    (void)state;
    const char *json =
        BPE("`a`:0,`##a`:1,`##b</w>`:2,`a</w>`:3,`aa`:4,`aab</w>`:5,`##b`:6", "`a ##a`,`aa ##b</w>`",
            ",`continuing_subword_prefix`:`##`,`end_of_word_suffix`:`</w>`");
    check_json(json, "aab", "5");
    check_json(json, "a", "3");
    check_json(json, "ab", "0 2");
    check_json(json, "aba", "0 6"); /* ##a</w> is not there */
}

static void test_ignore_merges(void **state)
{
    (void)state;
    const char *vocab_and_merges = BPE(LETTERS ",`ab`:4,`abc`:5", "`a b`", "");
    check_json(vocab_and_merges, "abc", "4 2");
    check_json(BPE(LETTERS ",`ab`:4,`abc`:5", "`a b`", ",`ignore_merges`:true"), "abc", "5");
    check_json(BPE(LETTERS ",`ab`:4,`abc`:5", "`a b`", ",`ignore_merges`:true"), "abcd", "4 2 3");
}

/* ---- the same model again: the whole list of merges for every merge ---- */

struct plain_merge {
    int left, right, made;
};

static void plain_bpe(const struct plain_merge *m, size_t merges, struct tokens *t)
{
    for (;;) {
        size_t best = merges, at = 0;
        for (size_t i = 0; i + 1 < t->n; i++)
            for (size_t k = 0; k < best; k++)
                if (m[k].left == t->id[i] && m[k].right == t->id[i + 1]) {
                    best = k;
                    at = i;
                }
        if (best == merges)
            return;
        t->id[at] = m[best].made;
        memmove(t->id + at + 1, t->id + at + 2, (t->n - at - 2) * sizeof *t->id);
        t->n--;
    }
}

enum { ALPHABET = 4, RANDOM_MERGES = 40 };

struct random_bpe {
    char piece[ALPHABET + RANDOM_MERGES][64];
    struct plain_merge merge[RANDOM_MERGES];
    size_t pieces, merges;
};

static void random_bpe(struct random_bpe *r, struct rng *rng)
{
    r->merges = 0;
    for (r->pieces = 0; r->pieces < ALPHABET; r->pieces++)
        snprintf(r->piece[r->pieces], 64, "%c", (char)('a' + r->pieces));
    while (r->merges < RANDOM_MERGES) {
        int left = (int)rng_below(rng, r->pieces), right = (int)rng_below(rng, r->pieces);
        char made[130];
        snprintf(made, sizeof made, "%s%s", r->piece[left], r->piece[right]);
        size_t k = 0;
        while (k < r->pieces && strcmp(r->piece[k], made) != 0)
            k++;
        if (strlen(made) > 12 || (k < r->pieces && rng_below(rng, 2)))
            continue;
        bool twice = false;
        for (size_t i = 0; i < r->merges; i++)
            twice |= r->merge[i].left == left && r->merge[i].right == right;
        if (twice)
            continue;
        if (k == r->pieces)
            memcpy(r->piece[r->pieces++], made, strlen(made) + 1);
        r->merge[r->merges++] = (struct plain_merge){left, right, (int)k};
    }
}

static struct tokenizer *tokenizer_of(const struct random_bpe *r)
{
    struct buf b = {0};
    buf_str(&b, "{`model`:{`type`:`BPE`,`vocab`:{");
    for (size_t i = 0; i < r->pieces; i++)
        buf_printf(&b, "%s`%s`:%zu", i ? "," : "", r->piece[i], i);
    buf_str(&b, "},`merges`:[");
    for (size_t i = 0; i < r->merges; i++)
        buf_printf(&b, "%s`%s %s`", i ? "," : "", r->piece[r->merge[i].left], r->piece[r->merge[i].right]);
    buf_str(&b, "]}}");
    struct tokenizer *t = from_json(b.data);
    buf_deinit(&b);
    return t;
}

/* Words short enough to be searched, and long enough for the heap. */
static void test_merges_equal_the_plain_way(void **state)
{
    (void)state;
    struct rng rng = seeded();
    static struct random_bpe r;
    for (int round = 0; round < 40; round++) {
        random_bpe(&r, &rng);
        struct tokenizer *t = tokenizer_of(&r);
        for (int i = 0; i < 60; i++) {
            char text[301];
            struct tokens want = {0};
            struct buf list = {0};
            size_t n = rng_below(&rng, i % 3 ? 30 : 300), letters = 1 + rng_below(&rng, ALPHABET);
            for (size_t k = 0; k < n; k++) {
                text[k] = (char)('a' + rng_below(&rng, letters));
                ok(tokens_add(&want, text[k] - 'a', &error));
            }
            text[n] = 0;
            if (n)
                plain_bpe(r.merge, r.merges, &want);
            print_tokens(&list, &want);
            check(t, text, list.data);
            tokens_deinit(&want);
            buf_deinit(&list);
        }
        tokenizer_close(t);
    }
}

/* ---- WordPiece ---- */

#define WORDPIECE(more)                                                                                      \
    "{`model`:{`type`:`WordPiece`,`unk_token`:`[UNK]`,`continuing_subword_prefix`:`##`" more                 \
    ",`vocab`:{`[UNK]`:0,`un`:1,`##aff`:2,`##able`:3,`able`:4,`##a`:5,`a`:6,`가`:7,`##나`:8}},"            \
    "`pre_tokenizer`:{`type`:`WhitespaceSplit`}}"

static void test_wordpiece(void **state)
{
    (void)state;
    check_json(WORDPIECE(""), "unaffable", "1 2 3"); /* the example of BERT's tokenization.py */
    check_json(WORDPIECE(""), "able unable aa", "4 1 3 6 5");
    check_json(WORDPIECE(""), "unaffablex able", "0 4"); /* a word that does not work out is unknown whole */
    check_json(WORDPIECE(""), "가나 나", "7 8 0");
    check_json(WORDPIECE(",`max_input_chars_per_word`:3"), "aaa aaaa 가나나나", "6 5 5 0 0");
    check_json(WORDPIECE(",`max_input_chars_per_word`:0"), "a", "0");
    check_json_refused("{`model`:{`type`:`WordPiece`,`unk_token`:`?`,`vocab`:{`a`:0}}}", "unk_token \"?\"");
}

/* ---- Unigram ---- */

static void test_unigram(void **state)
{
    (void)state;
    /* The example in the library's documentation of Unigram::encode, and the unknown run as one token. */
    const char *json =
        "{`model`:{`type`:`Unigram`,`unk_id`:0,`vocab`:[[`<unk>`,0.0],[`a`,0.0],[`b`,0.0],[`c`,0.0],"
        "[`d`,0.0],[`cd`,1.0],[`ab`,2.0],[`abc`,5.0],[`abcd`,10.0]]}}";
    check_json(json, "abcd", "8");
    check_json(json, "abcdacdxx", "8 1 5 0");
    check_json(json, "xabcx", "0 7 0");
    check_json(json, "<unk>", "0"); /* unknown characters, all of them: not the token's name */
    /* The vocabulary of the library's test_encode2; by its scores q and r beat qr, and abcdabcd all else. */
    check_json("{`model`:{`unk_id`:0,`vocab`:[[`<unk>`,0.0],[`ab`,0.0],[`cd`,-0.1],[`abc`,-0.2],[`a`,-0.3],[`"
               "b`,-0.4],"
               "[`c`,-0.5],[`ABC`,-0.5],[`abcdabcd`,20.0],[`q`,20.5],[`r`,20.5],[`qr`,-0.5]]}}",
               "abcqr", "3 9 10");
    check_json("{`model`:{`unk_id`:0,`vocab`:[[`<unk>`,0.0],[`ab`,0.0],[`cd`,-0.1],[`abc`,-0.2],[`a`,-0.3],[`"
               "b`,-0.4],"
               "[`c`,-0.5],[`ABC`,-0.5],[`abcdabcd`,20.0],[`q`,20.5],[`r`,20.5],[`qr`,-0.5]]}}",
               "abcdabcdA", "8 0");
    /* bytes for unknown characters */
    check_json("{`model`:{`unk_id`:0,`byte_fallback`:true,`vocab`:[[`<unk>`,0.0],[`<0xC3>`,-0.01],[`<0xA9>`,-"
               "0.03]]}}",
               "\u00E9", "1 2"); /* library's test_unigram_bytefallback */
    check_json("{`model`:{`unk_id`:0,`byte_fallback`:true,`vocab`:[[`<unk>`,0.0],[`<0xC3>`,-0.01],[`<0xA9>`,-"
               "0.03]]}}",
               "?\u00E9", "0");
    struct tokenizer *t = from_json("{`model`:{`type`:`Unigram`,`vocab`:[[`a`,0]]}}");
    struct tokens ids = {0};
    assert_int_equal(tokenizer_encode(t, "ab", 2, false, &ids, &error), ERR_FORMAT);
    assert_int_equal(ids.n, 0);
    tokens_deinit(&ids);
    tokenizer_close(t);
    check_json_refused("{`model`:{`type`:`Unigram`,`unk_id`:1,`vocab`:[[`a`,0]]}}", "unk_id 1");
    check_json_refused("{`model`:{`type`:`Unigram`,`vocab`:[[`a`]]}}", "vocab: entry 0");
}

/* ---- added tokens ---- */

#define ADDED(tokens, rest)                                                                                  \
    "{`added_tokens`:[" tokens                                                                               \
    "],`model`:{`type`:`BPE`,`vocab`:{`a`:0,`b`:1,`<`:2,`>`:3,` `:4,`s`:5,`A`:6},`merges`:[]}" rest "}"

static void test_added_tokens(void **state)
{
    (void)state;
    struct tokenizer *t =
        from_json(ADDED("{`id`:10,`content`:`<s>`,`special`:true},{`id`:11,`content`:`<b>`,`special`:false,"
                        "`normalized`:false},{`id`:12,`content`:`<b><`,`special`:false,`normalized`:false}",
                        ""));
    check(t, "a<s>b", "0 2 5 3 1"); /* user text gives no control token */
    check_special(t, "a<s>b", "0 10 1");
    check(t, "a<b>b", "0 11 1");
    check(t, "a<b><s>b", "0 12 5 3 1"); /* the longest that begins leftmost */
    check_special(t, "<s><s>", "10 10");
    check_special(t, "", "");
    assert_int_equal(tokenizer_size(t), 13);
    assert_int_equal(tokenizer_find(t, "<s>", 3), 10);
    assert_int_equal(tokenizer_kind(t, 10), TOKEN_CONTROL);
    assert_int_equal(tokenizer_kind(t, 11), TOKEN_USER);
    assert_int_equal(tokenizer_kind(t, 8), TOKEN_UNUSED); /* a hole */
    size_t n;
    tokenizer_piece(t, 8, &n);
    assert_int_equal(n, 0);
    tokenizer_close(t);
}

/* The model's vocabulary has the word, and merges could make it: still only on demand. */
static void test_special_words_of_the_model(void **state)
{
    (void)state;
    struct tokenizer *t =
        from_json("{`added_tokens`:[{`id`:3,`content`:`ab`,`special`:true}],`model`:{`type`:`BPE`,"
                  "`ignore_merges`:true,`vocab`:{`a`:0,`b`:1,`c`:2,`ab`:3},`merges`:[`a b`]}}");
    check(t, "abc", "0 1 2");
    check(t, "ab", "0 1");
    check_special(t, "abc", "3 2");
    tokenizer_close(t);
    t = from_json(
        "{`added_tokens`:[{`id`:1,`content`:`<s>`,`special`:true}],`model`:{`unk_id`:0,`vocab`:[[`<unk>`,0],"
        "[`<s>`,0],[`<`,-1],[`s`,-1],[`>`,-1]]}}");
    check(t, "<s>", "2 3 4");
    check_special(t, "<s>", "1");
    tokenizer_close(t);
}

static void test_added_token_flags(void **state)
{
    (void)state;
    check_json(ADDED("{`id`:10,`content`:`<b>`,`lstrip`:true}", ""), "a  <b> b", "0 10 4 1");
    check_json(ADDED("{`id`:10,`content`:`<b>`,`rstrip`:true}", ""), "a <b>  b", "0 4 10 1");
    check_json(ADDED("{`id`:10,`content`:`<b>`,`lstrip`:true,`rstrip`:true}", ""), "a <b>  <b> ", "0 10 10");
    check_json(ADDED("{`id`:10,`content`:`<b>`,`lstrip`:true}", ""), "\u3000\u00A0<b>", "10");
    check_json(ADDED("{`id`:10,`content`:`ab`,`single_word`:true}", ""), "ab bab ab b ab",
               "10 4 1 0 1 4 10 4 1 4 10");
    check_json(ADDED("{`id`:10,`content`:`ab`,`single_word`:true}", ""), "<ab>", "2 10 3");
    check_json(ADDED("{`id`:10,`content`:`ab`,`single_word`:true}", ""), "\uAC00ab", "0 1");
    /* matched in the text as it is, or as normalised */
    check_json(ADDED("{`id`:10,`content`:`AB`,`normalized`:false}", ",`normalizer`:{`type`:`Lowercase`}"),
               "abAB", "0 1 10");
    check_json(ADDED("{`id`:10,`content`:`AB`,`normalized`:true}", ",`normalizer`:{`type`:`Lowercase`}"),
               "abAB", "10 10");
    /* an id of its own is not taken over when the model has the content */
    check_json(ADDED("{`id`:10,`content`:`a`}", ""), "ba", "1 0");
    check_json(ADDED("{`id`:10,`content`:``}", ""), "a", "0");
    check_json_refused(ADDED("{`id`:0,`content`:`x`}", ""),
                       "added_tokens: entry 0: token id 0 is there twice");
    check_json_refused(ADDED("{`content`:`x`}", ""), "added_tokens: entry 0: \"x\": id");
    check_json_refused(ADDED("{`id`:99999999,`content`:`x`}", ""), "token id 99999999");
    check_json_refused(ADDED("{`id`:7}", ""), "content: want a string");
    check_json_refused(ADDED("{`id`:7,`content`:`x`,`special`:1}", ""), "special: want true or false");
}

/* ---- texts ---- */

static void test_any_bytes(void **state)
{
    (void)state;
    struct tokenizer *t = from_json(BPE("`a`:0,`\\u000d`:1,`\\n`:2", "", ""));
    check_text(t, "a\0a\r\n", 5, false, "0 0 1 2"); /* NUL is a character without a token here */
    struct tokens ids = {0};
    ok(tokens_add(&ids, 7, &error));
    assert_int_equal(tokenizer_encode(t, "a\xFF", 2, false, &ids, &error), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "not UTF-8 at offset 1"));
    assert_int_equal(ids.n, 1); /* as it was */
    assert_int_equal(tokenizer_encode(t, "\xED\xA0\x80", 3, false, &ids, &error), ERR_FORMAT);
    assert_int_equal(tokenizer_encode(t, "", (size_t)1 << 31, false, &ids, &error), ERR_LIMIT);
    tokens_deinit(&ids);
    tokenizer_close(t);
}

static void test_decoding(void **state)
{
    (void)state;
    struct tokenizer *t =
        from_json("{`added_tokens`:[{`id`:7,`content`:`<s>`,`special`:true}],`pre_tokenizer`:{`type`:"
                  "`Metaspace`,`replacement`:`▁`,`prepend_scheme`:`always`},`model`:{`type`:`BPE`,"
                  "`byte_fallback`:true,`vocab`:{`▁`:0,`a`:1,`▁a`:2,`<0xEA>`:3,`<0xB0>`:4,`<0x80>`:5},"
                  "`merges`:[`▁ a`]}}");
    check(t, "a a가", "2 2 3 4 5");
    check_decoded(t, (int32_t[]){2, 2, 3, 4, 5}, 5, false, "a a가");
    check_decoded(t, (int32_t[]){7, 2, 7}, 3, false, "a");
    check_decoded(t, (int32_t[]){7, 2, 7}, 3, true, "<s>a<s>");
    check_decoded(t, (int32_t[]){0, 2}, 2, false, " a"); /* one space is the tokenizer's own */
    struct buf b = {0};
    assert_int_equal(tokenizer_decode(t, (int32_t[]){8}, 1, false, &b, &error), ERR_FORMAT);
    assert_int_equal(tokenizer_decode(t, (int32_t[]){-1}, 1, false, &b, &error), ERR_FORMAT);
    buf_deinit(&b);
    tokenizer_close(t);
    t = from_json(WORDPIECE(""));
    check_decoded(t, (int32_t[]){1, 2, 3, 4}, 4, false, "unaffable able");
    tokenizer_close(t);
}

/* One tokenizer, many threads: what each gets is what one alone gets. */
static void test_threads(void **state)
{
    (void)state;
    struct rng rng = seeded();
    static struct random_bpe r;
    random_bpe(&r, &rng);
    struct tokenizer *t = tokenizer_of(&r);
    struct tokens want = {0};
    char text[400];
    int different = 0;
    for (size_t k = 0; k < sizeof text; k++)
        text[k] = (char)('a' + rng_below(&rng, ALPHABET));
    ok(tokenizer_encode(t, text, sizeof text, false, &want, &error));
#pragma omp parallel for num_threads(4) reduction(+ : different)
    for (int i = 0; i < 400; i++) {
        struct tokens got = {0};
        struct err e;
        int rc = tokenizer_encode(t, text, sizeof text, false, &got, &e);
        different += rc || got.n != want.n || memcmp(got.id, want.id, got.n * sizeof *got.id) != 0;
        tokens_deinit(&got);
    }
    assert_int_equal(different, 0);
    tokens_deinit(&want);
    tokenizer_close(t);
}

#define T(f) cmocka_unit_test(f)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_merges_in_order),    T(test_merges_refused),
        T(test_unknown_characters), T(test_affixes),
        T(test_ignore_merges),      T(test_merges_equal_the_plain_way),
        T(test_wordpiece),          T(test_unigram),
        T(test_added_tokens),       T(test_special_words_of_the_model),
        T(test_added_token_flags),  T(test_any_bytes),
        T(test_decoding),           T(test_threads),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
