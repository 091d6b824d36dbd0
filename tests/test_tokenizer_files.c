/* Files of tokenizers: every pair of texts and ids in ../shared/tokenizers, read from each kind of file and again from
 * a GGUF file written here; SentencePiece models and GGUF metadata made here, damaged in every place. */
#include "base/file.h"
#include "base/size.h"
#include "format/tokenizer_file.h"
#include "text/tokenizer_spec.h"

#include <sys/stat.h>
#include <unistd.h>
#include <utf8proc.h>

#include "tokenizing.h"

#define SHARED "../shared/tokenizers/"

/* ---- texts with expected ids ---- */

struct pair {
    const char *name, *model, *texts; /* texts: TEXTS.inp and TEXTS.out */
    bool special;
};

static const struct pair pairs[] = {
    {"hyperclovax", "hyperclovax", "hyperclovax/hyperclovax", false},
    {"hyperclovax special", "hyperclovax", "hyperclovax/hyperclovax-special", true},
    {"gpt-2", "gpt-2/ggml-vocab-gpt-2.gguf", "gpt-2/ggml-vocab-gpt-2.gguf", false},
    {"deepseek-llm", "deepseek-llm/ggml-vocab-deepseek-llm.gguf", "deepseek-llm/ggml-vocab-deepseek-llm.gguf",
     false},
    {"llama-spm", "llama-spm/ggml-vocab-llama-spm.gguf", "llama-spm/ggml-vocab-llama-spm.gguf", false},
    {"mistral-v1", "mistral-v1", "mistral-v1/mistral-v1", false},
    {"mistral-v1 control", "mistral-v1/tokenizer.model", "mistral-v1/mistral-v1-ctl", false},
    {"bert-bge", "bert-bge/ggml-vocab-bert-bge.gguf", "bert-bge/ggml-vocab-bert-bge.gguf", false},
    {"vocab.txt", "wordpiece-uncased", "bert-bge/ggml-vocab-bert-bge.gguf", false}, /* the same vocabulary */
    {"spm-unigram", "spm-unigram", "spm-unigram/spm-unigram", false},
    {"spm-unigram control", "spm-unigram", "spm-unigram/spm-unigram-ctl", false},
    {"spm-bpe-llama", "spm-bpe-llama", "spm-bpe-llama/spm-bpe-llama", false},
    {"spm-bpe-llama control", "spm-bpe-llama", "spm-bpe-llama/spm-bpe-llama-ctl", false},
};

static void shared_path(char *out, size_t room, const char *name, const char *end)
{
    snprintf(out, room, SHARED "%s%s", name, end);
    struct stat st;
    if (stat(out, &st)) {
        print_message("# %s is not there\n", out);
        skip();
    }
}

struct texts {
    char *inp, *out;
    size_t inp_n, out_n;
};

static void texts_open(struct texts *x, const char *name)
{
    char path[300];
    shared_path(path, sizeof path, name, ".inp");
    ok(file_read(&x->inp, &x->inp_n, path, 1 << 24, &error));
    shared_path(path, sizeof path, name, ".out");
    ok(file_read(&x->out, &x->out_n, path, 1 << 24, &error));
}

static void texts_close(struct texts *x)
{
    free(x->inp);
    free(x->out);
}

/* A text and the ids it must have, "" for a line of white space only. */
typedef void each_text(void *ctx, const char *text, size_t n, const char *ids);

static size_t for_texts(const struct texts *x, each_text *f, void *ctx)
{
    static const char mark[] = "\n__ggml_vocab_test__\n";
    size_t m = sizeof mark - 1, count = 0;
    const char *text = x->inp, *end = x->inp + x->inp_n, *line = x->out;
    while (line < x->out + x->out_n) {
        const char *hit = memmem(text, (size_t)(end - text), mark, m), *nl = strchrnul(line, '\n');
        size_t n = (size_t)((hit ? hit : end) - text), len = (size_t)(nl - line);
        while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\r'))
            len--;
        const char *from = line;
        while (len > 0 && *from == ' ')
            from++, len--;
        char *ids = strndup(from, len);
        f(ctx, text, n, ids);
        free(ids);
        count++;
        text = hit ? hit + m : end;
        line = nl + 1;
    }
    assert_true(text == end); /* as many texts as lines of ids */
    return count;
}

struct checking {
    const struct tokenizer *t;
    bool special;
    size_t same, other; /* counted when not failed at once */
    bool count;
};

static void check_one(void *ctx, const char *text, size_t n, const char *want)
{
    struct checking *c = ctx;
    if (!c->count) {
        check_text(c->t, text, n, c->special, want);
        return;
    }
    struct tokens ids = {0};
    struct buf got = {0};
    ok(tokenizer_encode(c->t, text, n, c->special, &ids, &error));
    print_tokens(&got, &ids);
    *(strcmp(got.data, want) == 0 ? &c->same : &c->other) += 1;
    tokens_deinit(&ids);
    buf_deinit(&got);
}

static void test_pair(void **state)
{
    const struct pair *p = *state;
    char path[300];
    struct texts x;
    struct checking c = {.special = p->special};
    struct tokenizer *t;
    shared_path(path, sizeof path, p->model, "");
    texts_open(&x, p->texts);
    ok(tokenizer_open(&t, path, &error));
    c.t = t;
    assert_true(for_texts(&x, check_one, &c) >= 7);
    texts_close(&x);
    tokenizer_close(t);
}

/* ---- there and back ---- */

enum { LINES = 100000 };

static void nfc(struct buf *out, const char *s, size_t n)
{
    utf8proc_uint8_t *made;
    utf8proc_ssize_t len = utf8proc_map((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &made,
                                        UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    assert_true(len >= 0);
    buf_reset(out);
    buf_add(out, made, (size_t)len);
    free(made);
}

/* Lines that people wrote come back byte for byte, for HyperCLOVAX in NFC. */
static void test_round_trip(void **state)
{
    const char *model = *state;
    char path[300], data[300], command[400], *line = NULL;
    struct tokenizer *t;
    struct tokens ids = {0};
    struct buf got = {0}, want = {0};
    size_t room = 0, lines = 0;
    shared_path(path, sizeof path, model, "");
    shared_path(data, sizeof data, "../data/korean_cc0.txt.xz", "");
    snprintf(command, sizeof command, "xz -dc %s", data);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    ok(tokenizer_open(&t, path, &error));
    for (ssize_t n; lines < LINES && (n = getline(&line, &room, f)) > 0; lines++) {
        n -= line[n - 1] == '\n';
        ids.n = 0;
        buf_reset(&got);
        ok(tokenizer_encode(t, line, (size_t)n, false, &ids, &error));
        ok(tokenizer_decode(t, ids.id, ids.n, false, &got, &error));
        nfc(&want, line, (size_t)n);
        if (strcmp(model, "hyperclovax") != 0) {
            buf_reset(&want);
            buf_add(&want, line, (size_t)n);
        }
        if (got.len != want.len || memcmp(got.data, want.data, got.len) != 0)
            fail_msg("line %zu: \"%s\" came back as \"%s\"", lines + 1, want.data, got.data);
    }
    pclose(f);
    if (lines == 0) {
        print_message("# xz is not there\n");
        skip();
    }
    assert_int_equal(lines, LINES);
    free(line);
    tokens_deinit(&ids);
    buf_deinit(&got);
    buf_deinit(&want);
    tokenizer_close(t);
}

/* ---- through GGUF ---- */

static void write_gguf(const char *path, const struct tokenizer *t, size_t vocabulary)
{
    struct gguf_writer *w;
    ok(gguf_create(&w, path, &error));
    ok(tokenizer_put_gguf(w, t, vocabulary, &error));
    ok(gguf_begin_data(w, &error));
    ok(gguf_finish(w, &error));
}

static void same_pieces(const struct tokenizer *a, const struct tokenizer *b)
{
    assert_true(tokenizer_size(b) >= tokenizer_size(a));
    for (size_t i = 0; i < tokenizer_size(a); i++) {
        size_t n, m;
        const char *x = tokenizer_piece(a, (int32_t)i, &n), *y = tokenizer_piece(b, (int32_t)i, &m);
        if (n != m || memcmp(x, y, n) != 0 || tokenizer_kind(a, (int32_t)i) != tokenizer_kind(b, (int32_t)i))
            fail_msg("piece %zu: \"%.*s\" of kind %d became \"%.*s\" of kind %d", i, (int)n, x,
                     (int)tokenizer_kind(a, (int32_t)i), (int)m, y, (int)tokenizer_kind(b, (int32_t)i));
    }
    assert_int_equal(tokenizer_bos(a), tokenizer_bos(b));
    assert_int_equal(tokenizer_eos(a), tokenizer_eos(b));
    assert_int_equal(tokenizer_unk(a), tokenizer_unk(b));
    assert_int_equal(tokenizer_pad(a), tokenizer_pad(b));
    assert_int_equal(tokenizer_spec_of(a)->add_bos, tokenizer_spec_of(b)->add_bos);
    assert_int_equal(tokenizer_spec_of(a)->strip_prefix, tokenizer_spec_of(b)->strip_prefix);
}

static void test_pair_through_gguf(void **state)
{
    const struct pair *p = *state;
    char path[300], file[] = "/tmp/gyeol-tokenizer-XXXXXX";
    struct texts x;
    struct tokenizer *t, *again;
    struct checking c = {.special = p->special};
    shared_path(path, sizeof path, p->model, "");
    texts_open(&x, p->texts);
    close(mkstemp(file));
    ok(tokenizer_open(&t, path, &error));
    write_gguf(file, t, tokenizer_size(t) + 100);
    ok(tokenizer_open(&again, file, &error));
    same_pieces(t, again);
    assert_int_equal(tokenizer_size(again), tokenizer_size(t) + 100);
    assert_int_equal(tokenizer_kind(again, (int32_t)tokenizer_size(t) + 99), TOKEN_UNUSED);
    c.t = again;
    for_texts(&x, check_one, &c);
    tokenizer_close(again);
    tokenizer_close(t);
    texts_close(&x);
    unlink(file);
}

/* The file as other programs see it: without the key that only we know. What they cannot know is HyperCLOVAX's NFC,
 * and which texts are not in NFC. */
static void test_pair_through_standard_keys(void **state)
{
    const struct pair *p = *state;
    char path[300], file[] = "/tmp/gyeol-tokenizer-XXXXXX", *bytes;
    size_t n;
    struct texts x;
    struct tokenizer *t;
    struct checking c = {.special = p->special, .count = true};
    shared_path(path, sizeof path, p->model, "");
    texts_open(&x, p->texts);
    close(mkstemp(file));
    ok(tokenizer_open(&t, path, &error));
    write_gguf(file, t, 0);
    tokenizer_close(t);
    ok(file_read(&bytes, &n, file, 1 << 28, &error));
    char *key = memmem(bytes, n, "gyeol.tokenizer", 15);
    assert_non_null(key);
    key[0] = 'x';
    struct gguf *g;
    ok(gguf_parse(&g, "file", (unsigned char *)bytes, n, &error));
    ok(tokenizer_from_gguf(&t, g, &error));
    c.t = t;
    for_texts(&x, check_one, &c);
    if (c.other > (strncmp(p->name, "hyperclovax", 11) == 0 ? 6 : 0))
        fail_msg("%s: %zu of %zu texts differ", p->name, c.other, c.same + c.other);
    tokenizer_close(t);
    gguf_close(g);
    free(bytes);
    texts_close(&x);
    unlink(file);
}

static void test_too_small_a_model(void **state)
{
    (void)state;
    char file[] = "/tmp/gyeol-tokenizer-XXXXXX";
    struct gguf_writer *w;
    struct tokenizer *t = from_json("{`model`:{`type`:`BPE`,`vocab`:{`a`:0,`b`:1},`merges`:[]}}");
    close(mkstemp(file));
    ok(gguf_create(&w, file, &error));
    assert_int_equal(tokenizer_put_gguf(w, t, 1, &error), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "tokenizer of 2 tokens for a model of 1"));
    gguf_abandon(w);
    tokenizer_close(t);
    unlink(file);
}

/* What a tokenizer.json can ask for comes back from GGUF. */
static void test_json_through_gguf(void **state)
{
    (void)state;
    static const char *const json[] = {
        "{`added_tokens`:[{`id`:9,`content`:`<s>`,`special`:true},{`id`:5,`content`:`AB`,`lstrip`:true},"
        "{`id`:6,`content`:`ba`,`single_word`:true,`rstrip`:true,`normalized`:false}],"
        "`normalizer`:{`type`:`Lowercase`},`pre_tokenizer`:{`type`:`Digits`,`individual_digits`:true},`model`"
        ":{`type`:"
        "`BPE`,`fuse_unk`:true,`unk_token`:`?`,`vocab`:{`a`:0,`b`:1,`ab`:2,`?`:3,` `:4},`merges`:[`a b`]}}",
        "{`pre_tokenizer`:{`type`:`Metaspace`,`prepend_scheme`:`first`,`split`:false},`model`:{`type`:`BPE`,"
        "`byte_fallback`:true,`vocab`:{`▁`:0,`a`:1,`▁a`:2,`<0xEA>`:3,`<0xB0>`:4,`<0x80>`:5,`b`:6,`s`:7},`"
        "merges`:[`▁ a`]}}",
        "{`normalizer`:{`type`:`Nmt`},`pre_tokenizer`:{`type`:`Metaspace`},`model`:{`unk_id`:0,`vocab`:[[`<"
        "unk>`,0],"
        "[`▁`,-1.5],[`a`,-2],[`▁a`,-3.25],[`b`,-4],[`s`,-1]]}}",
        "{`added_tokens`:[{`id`:0,`content`:`[U]`,`special`:true}],`pre_tokenizer`:{`type`:`Whitespace`},`"
        "model`:{`type`:"
        "`WordPiece`,`unk_token`:`[U]`,`max_input_chars_per_word`:4,`vocab`:{`[U]`:0,`a`:1,`##b`:2,`##a`:3,`"
        "s`:4}}}",
        "{`model`:{`type`:`BPE`,`continuing_subword_prefix`:`@`,`end_of_word_suffix`:`$`,`vocab`:{`a`:0,`@b`:"
        "1,`@b$`:2,"
        "`ab$`:3,`@a`:4},`merges`:[`a @b$`]}}",
    };
    static const char *const texts[] = {
        "", "a", "ab", "ba", "a ba AB <s>1 b", "가a a가  ab<s>", "aabbaabb s x?", "A\007b"};
    char file[] = "/tmp/gyeol-tokenizer-XXXXXX";
    close(mkstemp(file));
    for (size_t i = 0; i < COUNT_OF(json); i++) {
        struct tokenizer *t = from_json(json[i]), *again;
        write_gguf(file, t, 0);
        ok(tokenizer_open(&again, file, &error));
        same_pieces(t, again);
        for (size_t k = 0; k < 2 * COUNT_OF(texts); k++) {
            const char *s = texts[k / 2];
            struct tokens ids = {0};
            struct buf want = {0};
            ok(tokenizer_encode(t, s, strlen(s), k % 2, &ids, &error));
            print_tokens(&want, &ids);
            check_text(again, s, strlen(s), k % 2, want.data);
            tokens_deinit(&ids);
            buf_deinit(&want);
        }
        tokenizer_close(again);
        tokenizer_close(t);
    }
    unlink(file);
}

/* ---- SentencePiece models made here ---- */

static void varint(struct buf *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        buf_add(b, &(char){(char)(v | 0x80)}, 1);
    buf_add(b, &(char){(char)v}, 1);
}

static void field_number(struct buf *b, unsigned number, uint64_t v)
{
    varint(b, number << 3);
    varint(b, v);
}

static void field_bytes(struct buf *b, unsigned number, const void *s, size_t n)
{
    varint(b, number << 3 | 2);
    varint(b, n);
    buf_add(b, s, n);
}

static void add_piece(struct buf *model, const char *s, size_t n, float score, enum token_kind kind)
{
    struct buf p = {0};
    field_bytes(&p, 1, s, n);
    varint(&p, 2 << 3 | 5);
    buf_add(&p, &score, 4);
    if (kind != TOKEN_NORMAL)
        field_number(&p, 3, kind);
    field_bytes(model, 1, p.data, p.len);
    buf_deinit(&p);
}

/* type: 1 Unigram, 2 BPE. The text is taken as it is: nothing added, nothing removed. */
static void finish_model(struct buf *model, unsigned type, bool byte_fallback)
{
    struct buf t = {0}, z = {0};
    field_number(&t, 3, type);
    field_number(&t, 35, byte_fallback);
    field_number(&t, 40, 0);
    field_number(&t, 43, UINT64_MAX); /* pad_id -1 */
    field_bytes(model, 2, t.data, t.len);
    field_bytes(&z, 1, "identity", 8);
    field_number(&z, 3, 0);
    field_number(&z, 4, 0);
    field_bytes(model, 3, z.data, z.len);
    buf_deinit(&t);
    buf_deinit(&z);
}

static struct tokenizer *from_model(const struct buf *model)
{
    struct tokenizer *t;
    ok(tokenizer_parse_model(&t, "file", model->data, model->len, &error));
    return t;
}

static void test_sentencepiece_bpe(void **state)
{
    (void)state;
    struct buf m = {0};
    add_piece(&m, "<unk>", 5, 0, TOKEN_UNKNOWN);
    add_piece(&m, "<s>", 3, 0, TOKEN_CONTROL);
    add_piece(&m, "ab", 2, -1, TOKEN_NORMAL);    /* 2 */
    add_piece(&m, "bc", 2, -0.5f, TOKEN_NORMAL); /* 3 */
    add_piece(&m, "abc", 3, -2, TOKEN_UNUSED);   /* 4 */
    add_piece(&m, "a", 1, -3, TOKEN_NORMAL);     /* 5 */
    add_piece(&m, "b", 1, -3, TOKEN_NORMAL);     /* 6 */
    add_piece(&m, "c", 1, -3, TOKEN_NORMAL);     /* 7 */
    add_piece(&m, "c<s", 3, -3, TOKEN_USER);     /* 8 */
    finish_model(&m, 2, false);
    struct tokenizer *t = from_model(&m);
    check(t, "abc", "5 3"); /* bc first; then abc, which is not to be used, is taken apart again */
    check(t, "abab", "2 2");
    check(t, "bcc<sc", "3 8 7"); /* what was added whole takes no part in merges */
    check(t, "<s>", "0");        /* three unknown characters, one token */
    check_special(t, "a<s>b", "5 1 6");
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), -1);
    assert_int_equal(tokenizer_unk(t), 0);
    tokenizer_close(t);
    buf_deinit(&m);
}

static void test_sentencepiece_unigram(void **state)
{
    (void)state;
    struct buf m = {0};
    add_piece(&m, "<unk>", 5, 0, TOKEN_UNKNOWN);
    add_piece(&m, "a", 1, -1, TOKEN_NORMAL);
    add_piece(&m, "ab", 2, -3, TOKEN_NORMAL);
    add_piece(&m, "b", 1, -1.5f, TOKEN_NORMAL);
    add_piece(&m, "abab", 4, -0.1f, TOKEN_UNUSED);
    add_piece(&m, "bb", 2, -100, TOKEN_USER);
    add_piece(&m, "<0x7A>", 6, 0, TOKEN_BYTE);
    finish_model(&m, 1, true);
    struct tokenizer *t = from_model(&m);
    check(t, "ab", "1 3");
    check(t, "abab", "1 3 1 3"); /* not the unused piece */
    check(t, "abba", "1 5 1");   /* whatever its score says */
    check(t, "z", "6");
    check(t, "zy", "6 0"); /* no byte token for y */
    tokenizer_close(t);
    buf_deinit(&m);
}

/* The plain way: all neighbours tried for every merge, by their bytes. */
struct plain_piece {
    const char *s;
    float score;
};

static void plain_scored(const struct plain_piece *p, size_t pieces, const char *text, struct tokens *out)
{
    char part[400][16];
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        snprintf(part[i], 16, "%c", text[i]);
    for (;;) {
        size_t best = SIZE_MAX, at = 0;
        for (size_t i = 0; i + 1 < n; i++)
            for (size_t k = 0; k < pieces; k++) {
                size_t left = strlen(part[i]);
                if (!strncmp(p[k].s, part[i], left) && !strcmp(p[k].s + left, part[i + 1]) &&
                    (best == SIZE_MAX || p[k].score > p[best].score)) {
                    best = k;
                    at = i;
                }
            }
        if (best == SIZE_MAX)
            break;
        snprintf(part[at], 16, "%s", p[best].s);
        memmove(part[at + 1], part[at + 2], (n - at - 2) * sizeof part[0]);
        n--;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < pieces; k++)
            if (!strcmp(part[i], p[k].s))
                ok(tokens_add(out, (int32_t)k + 1, &error));
}

static void test_sentencepiece_equals_the_plain_way(void **state)
{
    (void)state;
    struct rng r = seeded();
    for (int round = 0; round < 40; round++) {
        struct plain_piece p[40];
        char name[40][16];
        size_t n = 0;
        struct buf m = {0};
        add_piece(&m, "<unk>", 5, 0, TOKEN_UNKNOWN);
        while (n < COUNT_OF(p)) {
            size_t len = n < 3 ? 1 : 2 + rng_below(&r, 5), k = 0;
            for (size_t i = 0; i < len; i++)
                name[n][i] = (char)('a' + (n < 3 ? n : rng_below(&r, 3)));
            name[n][len] = 0;
            while (k < n && strcmp(name[k], name[n]) != 0)
                k++;
            if (k < n)
                continue;
            p[n] = (struct plain_piece){name[n], -(float)rng_below(&r, 12)}; /* with equals */
            add_piece(&m, name[n], len, p[n].score, TOKEN_NORMAL);
            n++;
        }
        finish_model(&m, 2, false);
        struct tokenizer *t = from_model(&m);
        for (int i = 0; i < 40; i++) {
            char text[201];
            size_t len = rng_below(&r, sizeof text - 1);
            struct tokens want = {0};
            struct buf list = {0};
            for (size_t k = 0; k < len; k++)
                text[k] = (char)('a' + rng_below(&r, 3));
            text[len] = 0;
            plain_scored(p, n, text, &want);
            print_tokens(&list, &want);
            check(t, text, list.data);
            tokens_deinit(&want);
            buf_deinit(&list);
        }
        tokenizer_close(t);
        buf_deinit(&m);
    }
}

/* Cut short anywhere, and with any bit turned: an error or a tokenizer, never more. */
static void test_damaged_models(void **state)
{
    (void)state;
    struct buf m = {0};
    struct tokenizer *t;
    add_piece(&m, "<unk>", 5, 0, TOKEN_UNKNOWN);
    add_piece(&m, "ab", 2, -1, TOKEN_NORMAL);
    add_piece(&m, "a", 1, -2, TOKEN_USER);
    add_piece(&m, "<0x61>", 6, 0, TOKEN_BYTE);
    finish_model(&m, 1, true);
    for (size_t i = 0; i < m.len * 9; i++) {
        size_t n = i < m.len ? i : m.len;
        char *copy = malloc(n ? n : 1);
        memcpy(copy, m.data, n);
        if (i >= m.len)
            copy[(i - m.len) / 8] ^= (char)(1 << (i - m.len) % 8);
        struct tokens ids = {0};
        t = NULL;
        if (tokenizer_parse_model(&t, "file", copy, n, &error) == 0)
            (void)!tokenizer_encode(t, "abaa ba<unk>z", 13, true, &ids, &error);
        else
            assert_non_null(strstr(error.msg, "file: "));
        tokens_deinit(&ids);
        tokenizer_close(t);
        free(copy);
    }
    assert_int_equal(tokenizer_parse_model(&t, "file", "", 0, &error), ERR_FORMAT);
    assert_int_equal(tokenizer_parse_model(&t, "file", "\n\0", 2, &error), ERR_FORMAT);
    buf_deinit(&m);
}

/* ---- directories ---- */

static void put_file(const char *dir, const char *name, const char *text)
{
    char path[400];
    struct buf b = {0};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    buf_str(&b, text);
    for (char *p = b.data; (p = strchr(p, '`'));)
        *p = '"';
    ok(file_write(path, b.data, b.len, &error));
    buf_deinit(&b);
}

static void remove_all(const char *dir)
{
    static const char *const names[] = {"vocab.json",
                                        "merges.txt",
                                        "added_tokens.json",
                                        "special_tokens_map.json",
                                        "tokenizer_config.json",
                                        "vocab.txt",
                                        "tokenizer.json",
                                        "tokenizer.model"};
    char path[400];
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

static void test_vocab_and_merges(void **state)
{
    (void)state;
    char dir[] = "/tmp/gyeol-tokenizer-XXXXXX", path[100];
    struct tokenizer *t;
    assert_non_null(mkdtemp(dir));
    put_file(dir, "vocab.json", "{`a`:0,`b`:1,`Ġ`:2,`ab`:3,`Ġab`:4,`<e>`:5,`1`:6,`11`:7}");
    put_file(dir, "merges.txt", "#version: 0.2\na b\r\nĠ ab\n1 1\n\n");
    ok(tokenizer_open(&t, dir, &error));
    check(t, "ab ab", "3 4");
    check(t, "1111 ab", "7 7 4"); /* GPT-2's pattern: digits in one run */
    check_special(t, "<e>", "");
    tokenizer_close(t);
    put_file(dir, "special_tokens_map.json",
             "{`eos_token`:{`content`:`<e>`,`lstrip`:false},`additional_special_tokens`:[`<x>`]}");
    put_file(dir, "added_tokens.json", "{`<x>`:8,`<y>`:9}");
    put_file(dir, "tokenizer_config.json",
             "{`tokenizer_class`:`GPT2TokenizerFast`,`model_max_length`:1000000000000000019884624838656,`add_"
             "bos_token`:true,"
             "`added_tokens_decoder`:{`10`:{`content`:`<z>`,`lstrip`:true,`special`:true}}}");
    snprintf(path, sizeof path, "%s/vocab.json", dir);
    ok(tokenizer_open(&t, path, &error));
    check_special(t, "a<e>b<x><y> <z>", "0 5 1 8 9 10");
    check(t, "<y>", "9"); /* added, not special */
    assert_int_equal(tokenizer_eos(t), 5);
    assert_int_equal(tokenizer_bos(t), -1);
    assert_true(tokenizer_spec_of(t)->add_bos);
    tokenizer_close(t);
    put_file(dir, "tokenizer_config.json", "{`tokenizer_class`:`CLIPTokenizer`}");
    assert_int_equal(tokenizer_open(&t, dir, &error), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "tokenizer_class \"CLIPTokenizer\" is not supported"));
    put_file(dir, "tokenizer_config.json", "{`tokenizer_class`:`GPT2Tokenizer`,`add_prefix_space`:true}");
    ok(tokenizer_open(&t, dir, &error));
    check(t, "ab ab", "4 4");
    tokenizer_close(t);
    /* tokenizer.json comes before all others */
    put_file(dir, "tokenizer.json", "{`model`:{`type`:`BPE`,`vocab`:{`a`:3,`<e>`:1},`merges`:[]}}");
    ok(tokenizer_open(&t, dir, &error));
    check(t, "aa", "3 3");
    assert_int_equal(tokenizer_eos(t), 1);
    tokenizer_close(t);
    remove_all(dir);
}

static void test_vocab_txt(void **state)
{
    (void)state;
    char dir[] = "/tmp/gyeol-tokenizer-XXXXXX";
    struct tokenizer *t;
    assert_non_null(mkdtemp(dir));
    put_file(dir, "vocab.txt", "[PAD]\n[UNK]\n[CLS]\r\nhe\n##llo\n!\nHe\n");
    ok(tokenizer_open(&t, dir, &error));
    check(t, "H\u00E9llo! x", "3 4 5 1");
    check(t, "[CLS]", "1 1 1"); /* brackets and letters */
    check_special(t, "[CLS]hello", "2 3 4");
    tokenizer_close(t);
    put_file(dir, "tokenizer_config.json",
             "{`do_lower_case`:false,`tokenizer_class`:`BertTokenizer`,`pad_token`:`[PAD]`}");
    ok(tokenizer_open(&t, dir, &error));
    check(t, "Hello hello", "6 4 3 4");
    assert_int_equal(tokenizer_pad(t), 0);
    tokenizer_close(t);
    remove_all(dir);
}

/* What OpenChat and others have: tokens behind those of the model. */
static void test_added_behind_a_model(void **state)
{
    (void)state;
    char dir[] = "/tmp/gyeol-tokenizer-XXXXXX", path[100];
    struct buf m = {0};
    struct tokenizer *t;
    assert_non_null(mkdtemp(dir));
    add_piece(&m, "<unk>", 5, 0, TOKEN_UNKNOWN);
    add_piece(&m, "<s>", 3, 0, TOKEN_CONTROL);
    add_piece(&m, "a", 1, -1, TOKEN_NORMAL);
    finish_model(&m, 2, false);
    snprintf(path, sizeof path, "%s/tokenizer.model", dir);
    ok(file_write(path, m.data, m.len, &error));
    put_file(dir, "added_tokens.json", "{`<s>`:1,`<e>`:3,`<t>`:4}");
    put_file(dir, "tokenizer_config.json", "{`eos_token`:`<e>`,`add_bos_token`:false}");
    ok(tokenizer_open(&t, dir, &error));
    check(t, "a<t>a<e>", "2 4 2 0");
    check_special(t, "<s>a<t>a<e>", "1 2 4 2 3");
    assert_int_equal(tokenizer_eos(t), 3);
    assert_int_equal(tokenizer_size(t), 5);
    assert_false(tokenizer_spec_of(t)->add_bos);
    tokenizer_close(t);
    put_file(dir, "added_tokens.json", "{`<x>`:2}");
    assert_int_equal(tokenizer_open(&t, dir, &error), ERR_FORMAT);
    put_file(dir, "added_tokens.json", "{`<x>`:900000}");
    assert_int_equal(tokenizer_open(&t, dir, &error), ERR_FORMAT);
    remove_all(dir);
    buf_deinit(&m);
}

static void test_nothing_there(void **state)
{
    (void)state;
    char dir[] = "/tmp/gyeol-tokenizer-XXXXXX", path[100];
    struct tokenizer *t;
    assert_int_equal(tokenizer_open(&t, "/nonexistent", &error), ERR_MISSING);
    assert_non_null(mkdtemp(dir));
    assert_int_equal(tokenizer_open(&t, dir, &error), ERR_MISSING);
    assert_non_null(strstr(error.msg, "no tokenizer there: want tokenizer.json"));
    put_file(dir, "vocab.json", "{}");
    assert_int_equal(tokenizer_open(&t, dir, &error), ERR_MISSING); /* without merges.txt */
    put_file(dir, "tokenizer.json", "");
    assert_int_equal(tokenizer_open(&t, dir, &error), ERR_FORMAT);
    snprintf(path, sizeof path, "%s/vocab.txt", dir);
    put_file(dir, "vocab.txt", "");
    assert_int_equal(tokenizer_open(&t, path, &error), ERR_FORMAT);
    put_file(dir, "vocab.txt", "[UNK]\n\xFF\n");
    assert_int_equal(tokenizer_open(&t, path, &error), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "line 2: want UTF-8"));
    remove_all(dir);
}

/* ---- GGUF metadata made here ---- */

struct gguf_case {
    const char *model, *pre;
    bool no_tokens, short_types;
    const char *part;
};

static void test_gguf_refused(void **state)
{
    (void)state;
    static const struct gguf_case cases[] = {
        {"gpt2", "no-such-pattern", false, false, "pre-tokenizer \"no-such-pattern\" is not supported"},
        {"rwkv", NULL, false, false, "tokenizer.ggml.model: \"rwkv\""},
        {NULL, NULL, false, false, "tokenizer.ggml.model: \"\""},
        {"gpt2", "gpt-2", true, false, "tokenizer.ggml.tokens is absent"},
        {"llama", NULL, false, true, "tokenizer.ggml.token_type: 1 entries, want one for each of 2"},
    };
    char file[] = "/tmp/gyeol-tokenizer-XXXXXX";
    close(mkstemp(file));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct gguf_case *c = &cases[i];
        struct gguf_writer *w;
        struct tokenizer *t;
        ok(gguf_create(&w, file, &error));
        gguf_put_string(w, "general.architecture", "odd", 3);
        if (c->model)
            gguf_put_string(w, "tokenizer.ggml.model", c->model, strlen(c->model));
        if (c->pre)
            gguf_put_string(w, "tokenizer.ggml.pre", c->pre, strlen(c->pre));
        if (!c->no_tokens)
            gguf_put_strings(w, "tokenizer.ggml.tokens", (struct gguf_string[]){{"a", 1}, {"b", 1}}, 2);
        gguf_put_i32s(w, "tokenizer.ggml.token_type", (int32_t[]){1, 1}, c->short_types ? 1 : 2);
        ok(gguf_begin_data(w, &error));
        ok(gguf_finish(w, &error));
        int rc = tokenizer_open(&t, file, &error);
        if (rc >= 0 || !strstr(error.msg, c->part))
            fail_msg("case %zu: code %d, \"%s\"", i, rc, rc ? error.msg : "");
    }
    unlink(file);
}

#define T(f) cmocka_unit_test(f)

int main(void)
{
    enum { PAIRS = COUNT_OF(pairs), OTHERS = 13 };
    static char name[3 * PAIRS][80];
    struct CMUnitTest tests[3 * PAIRS + OTHERS];
    size_t n = 0;
    for (size_t i = 0; i < PAIRS; i++) {
        static const char *const how[] = {"", " through GGUF", " through GGUF's standard keys"};
        static CMUnitTestFunction const f[] = {test_pair, test_pair_through_gguf,
                                               test_pair_through_standard_keys};
        for (size_t k = 0; k < COUNT_OF(how); k++, n++) {
            snprintf(name[n], sizeof name[n], "%s%s", pairs[i].name, how[k]);
            tests[n] = (struct CMUnitTest){name[n], f[k], NULL, NULL, (void *)&pairs[i]};
        }
    }
    const struct CMUnitTest others[OTHERS] = {
        {"there and back: hyperclovax", test_round_trip, NULL, NULL, (void *)"hyperclovax"},
        {"there and back: mistral-v1", test_round_trip, NULL, NULL, (void *)"mistral-v1"},
        T(test_too_small_a_model),
        T(test_json_through_gguf),
        T(test_sentencepiece_bpe),
        T(test_sentencepiece_unigram),
        T(test_damaged_models),
        T(test_sentencepiece_equals_the_plain_way),
        T(test_vocab_and_merges),
        T(test_vocab_txt),
        T(test_nothing_there),
        T(test_added_behind_a_model),
        T(test_gguf_refused),

    };
    memcpy(tests + n, others, sizeof others);
    return _cmocka_run_group_tests("tokenizer_files", tests, n + OTHERS, NULL, NULL);
}
