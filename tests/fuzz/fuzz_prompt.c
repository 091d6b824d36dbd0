/* A post under every chat template: first byte the tokenizer (byte-level, as it is or with NFKC), second the
 * template, third the limit; the rest the post, with a mission after the first NUL. Whatever is written, no
 * token of it is a control token or a marker, none of the template's markers can be read in it, and its spans
 * lie in the text in order. */
#include "format/tokenizer_file.h"
#include "judge/prompt.h"
#include "text/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { TOKENIZERS = 2, TEMPLATES = 9, LIMITS = 2 };

static struct tokenizer *tokenizer[TOKENIZERS];
static struct prompt prompts[TOKENIZERS][TEMPLATES][LIMITS];

static void must(int rc, const struct err *e)
{
    if (rc) {
        fprintf(stderr, "%s\n", e->msg);
        abort();
    }
}

/* One token per byte in GPT-2's spelling, and turn tokens that match in any text. */
static void make_json(struct buf *b, const char *normalizer)
{
    static const char *const added[] = {"<start_of_turn>", "<end_of_turn>", "<|im_end|>", "[INST]",
                                        "\xE2\x90\x9F"};
    uint32_t other = 256;
    buf_str(b, "{\"version\":\"1.0\",\"added_tokens\":[");
    for (size_t i = 0; i < sizeof added / sizeof *added; i++)
        buf_printf(b,
                   "%s{\"id\":%zu,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                   "\"normalized\":false,\"special\":false}",
                   i ? "," : "", 256 + i, added[i]);
    buf_printf(
        b,
        "],\"normalizer\":%s,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
        "\"trim_offsets\":true,\"use_regex\":true},\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":"
        "false,\"trim_offsets\":true,\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":"
        "{",
        normalizer);
    for (uint32_t i = 0; i < 256; i++) {
        bool self = (i >= 33 && i <= 126) || (i >= 161 && i <= 172) || i >= 174;
        buf_printf(b, "%s\"\\u%04x\":%u", i ? "," : "", self ? i : other, i);
        other += !self;
    }
    buf_str(b, "}}}");
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const normalizer[TOKENIZERS] = {"null", "{\"type\":\"NFKC\"}"};
    struct err e;
    (void)argc, (void)argv;
    for (int t = 0; t < TOKENIZERS; t++) {
        struct buf b = {0};
        make_json(&b, normalizer[t]);
        must(tokenizer_parse_json(&tokenizer[t], "bytes", b.data, b.len, &e), &e);
        buf_deinit(&b);
        for (size_t c = 0; c < TEMPLATES; c++)
            for (int l = 0; l < LIMITS; l++)
                must(prompt_init(&prompts[t][c][l], tokenizer[t], chat_at(c), l ? 20 : 100000, &e), &e);
    }
    return 0;
}

static void check_said(const struct prompt *p, const struct tokens *t)
{
    struct err e;
    struct buf said = {0};
    size_t n = t->n - p->tail.n;
    for (size_t i = 0; i < n; i++)
        if (inset_forbids(&p->inset, t->id[i]))
            abort();
    must(tokenizer_decode(p->tokenizer, t->id, n, true, &said, &e), &e);
    if (!utf8_valid(said.data, said.len, NULL))
        abort();
    for (int m = 0; m < CHAT_MARKERS_MAX && p->chat->marker[m]; m++)
        for (size_t i = 0, len = strlen(p->chat->marker[m]); i + len <= said.len; i++)
            if (strncasecmp(said.data + i, p->chat->marker[m], len) == 0)
                abort();
    buf_deinit(&said);
}

static void check_spans(const char *text, const uint32_t *begin, const uint32_t *end, size_t n)
{
    uint32_t from = 0, to = 0, len = (uint32_t)strlen(text);
    for (size_t i = 0; i < n; i++) {
        if (end[i] == 0)
            continue;
        if (begin[i] < from || begin[i] > to || end[i] < begin[i] || end[i] > len)
            abort();
        if ((text[begin[i]] & 0xC0) == 0x80 || (text[end[i]] & 0xC0) == 0x80)
            abort();
        from = begin[i];
        to = end[i] > to ? end[i] : to;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > 4096)
        return 0;
    const struct prompt *p = &prompts[data[0] % TOKENIZERS][data[1] % TEMPLATES][data[2] % LIMITS];
    char text[4100] = {0};
    memcpy(text, data + 3, size - 3);
    const char *mission = strlen(text) < size - 3 ? text + strlen(text) + 1 : NULL;
    struct tokens t = {0}, same = {0};
    uint32_t *begin, *end;
    bool cut;
    struct err e;
    bool valid =
        utf8_valid(text, strlen(text), NULL) && (!mission || utf8_valid(mission, strlen(mission), NULL));
    int rc = prompt_post_spans(p, text, mission, &t, &begin, &end, &e);
    if (valid)
        must(rc, &e);
    if (!rc && valid) {
        check_said(p, &t);
        check_spans(text, begin, end, t.n);
        must(prompt_post(p, text, mission, &same, &cut, &e), &e);
        if (same.n != t.n || memcmp(same.id, t.id, t.n * sizeof *t.id) != 0 || t.n > prompt_post_max(p))
            abort();
    }
    free(begin);
    free(end);
    tokens_deinit(&t);
    tokens_deinit(&same);
    return 0;
}
