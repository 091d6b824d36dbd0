/* Any bytes as a text, to tokenizers of every kind. What is not UTF-8 is refused and nothing else is; ids are in the
 * vocabulary; control tokens come only on demand; byte-level tokens give back the text. */
#include "format/tokenizer_file.h"
#include "text/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {
    /* byte-level, with what the pattern of HyperCLOVAX does */
    "{`pre_tokenizer`:{`type`:`Sequence`,`pretokenizers`:[{`type`:`Split`,`pattern`:{`Regex`:`(?i:'s|'t|'re|'"
    "ve|'m|'ll|'d)|"
    "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+`},"
    "`behavior`:`Removed`,`invert`:true},{`type`:`ByteLevel`,`add_prefix_space`:false,`use_regex`:false}]},",
    "{`normalizer`:{`type`:`Sequence`,`normalizers`:[{`type`:`NFKD`},{`type`:`StripAccents`},{`type`:`NFC`},{"
    "`type`:`Prepend`,"
    "`prepend`:`▁`},{`type`:`Replace`,`pattern`:{`String`:` `},`content`:`▁`}]},",
    "{`normalizer`:{`type`:`BertNormalizer`},`pre_tokenizer`:{`type`:`BertPreTokenizer`},",
    "{`normalizer`:{`type`:`Nmt`},`pre_tokenizer`:{`type`:`Sequence`,`pretokenizers`:[{`type`:`Whitespace`},{"
    "`type`:`Digits`},"
    "{`type`:`Punctuation`,`behavior`:`MergedWithNext`},{`type`:`Metaspace`,`prepend_scheme`:`first`}]},",
    "{`pre_tokenizer`:{`type`:`ByteLevel`,`add_prefix_space`:true},",
};

enum { KINDS = sizeof kinds / sizeof *kinds };

static const char added[] =
    "`added_tokens`:[{`id`:2,`content`:`<s>`,`special`:true,`lstrip`:true},{`id`:3,`content`:`ab `,"
    "`rstrip`:true,`normalized`:true},{`id`:4,`content`:`가`,`single_word`:true,`normalized`:false}],";

static struct tokenizer *tokenizer[KINDS];

static void put_char(char *out, unsigned b)
{
    unsigned c = b <= 32 ? 256 + b : b >= 127 && b <= 160 ? 256 + 33 + b - 127 : b == 173 ? 256 + 67 : b;
    out[utf8_put(out, c)] = 0;
}

/* 256 bytes' characters, a few more, and merges of them all over. */
static void make(int kind)
{
    struct buf b = {0};
    char x[5], y[5];
    buf_printf(&b,
               "%s%s`model`:{`type`:`%s`,`unk_token`:`[UNK]`,`byte_fallback`:%s,`vocab`:{`[UNK]`:0,`##a`:1",
               kinds[kind], added, kind == 2 ? "WordPiece" : "BPE", kind % 2 ? "true" : "false");
    for (unsigned i = 0; i < 256; i++) {
        put_char(x, i);
        if (i != '"' && i != '\\' && i != '`')
            buf_printf(&b, ",`%s`:%u,`<0x%02X>`:%u", x, 10 + i, i, 300 + i);
        else
            buf_printf(&b, ",`\\u%04x`:%u", i, 10 + i);
    }
    for (unsigned i = 'a'; i < 'z'; i++)
        buf_printf(&b, ",`%c%c`:%u", (char)i, (char)(i + 1), 600 + i);
    buf_str(&b, ",`가`:800,`▁`:801},`merges`:[");
    for (unsigned i = 'a'; i < 'z'; i++)
        buf_printf(&b, "%s`%c %c`", i > 'a' ? "," : "", (char)i, (char)(i + 1));
    buf_str(&b, "]}}");
    (void)y;
    for (char *p = b.data; (p = strchr(p, '`'));)
        *p = '"';
    struct err e;
    if (tokenizer_parse_json(&tokenizer[kind], "fuzz", b.data, b.len, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        abort();
    }
    buf_deinit(&b);
}

static void check_ids(const struct tokenizer *t, const struct tokens *ids, bool special)
{
    for (size_t i = 0; i < ids->n; i++)
        if (ids->id[i] < 0 || (size_t)ids->id[i] >= tokenizer_size(t) ||
            (!special && tokenizer_kind(t, ids->id[i]) == TOKEN_CONTROL))
            abort();
}

static void check_text(int kind, const char *s, size_t n, bool special)
{
    struct err e;
    struct tokens ids = {0};
    struct buf text = {0};
    size_t bad;
    const struct tokenizer *t = tokenizer[kind];
    int rc = tokenizer_encode(t, s, n, special, &ids, &e);
    if ((rc == 0) != utf8_valid(s, n, &bad) || (rc && (rc != ERR_FORMAT || ids.n)))
        abort();
    check_ids(t, &ids, special);
    if (tokenizer_decode(t, ids.id, ids.n, true, &text, &e))
        abort();
    if (!rc && kind == 0 && !memmem(s, n, "<s>", 3) && !memmem(s, n, "ab ", 3) &&
        (text.len != n || (n && memcmp(text.data, s, n) != 0)))
        abort();
    tokens_deinit(&ids);
    buf_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int k = 0; k < KINDS; k++) {
        if (!tokenizer[k])
            make(k);
        check_text(k, (const char *)data, size, false);
        check_text(k, (const char *)data, size, true);
    }
    return 0;
}
