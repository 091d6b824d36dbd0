#include "base/file.h"
#include "cli/cli.h"
#include "format/tokenizer_file.h"
#include "model/source.h"
#include "text/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 1 << 28 };

struct arguments {
    const char *model, *text;
    bool lines, special, json;
};

static json_t *piece_json(const struct tokenizer *t, int32_t id)
{
    struct buf b = {0};
    size_t n;
    const char *piece = tokenizer_piece(t, id, &n), *end = memchr(piece, 0, n);
    buf_add(&b, piece, end ? (size_t)(end - piece) : n);
    json_t *v = b.failed ? NULL : cli_json_text(b.data);
    buf_deinit(&b);
    return v;
}

static json_t *tokens_json(const struct tokenizer *t, const struct tokens *ids)
{
    json_t *list = json_array(), *pieces = json_array();
    for (size_t i = 0; i < ids->n; i++) {
        json_array_append_new(list, json_integer(ids->id[i]));
        json_array_append_new(pieces, piece_json(t, ids->id[i]));
    }
    return json_pack("{s:o, s:o}", "ids", list, "pieces", pieces);
}

static void print_ids(const struct tokens *ids)
{
    for (size_t i = 0; i < ids->n; i++)
        printf("%s%d", i ? " " : "", (int)ids->id[i]);
    putchar('\n');
}

static int tokenize(const struct arguments *o, const struct tokenizer *t, const char *s, size_t n,
                    struct tokens *ids, json_t *list, struct err *e)
{
    ids->n = 0;
    int rc = tokenizer_encode(t, s, n, o->special, ids, e);
    if (!rc && list)
        json_array_append_new(list, tokens_json(t, ids));
    else if (!rc)
        print_ids(ids);
    return rc;
}

/* A line break ends a line; one at the end of the input begins none. */
static int tokenize_lines(const struct arguments *o, const struct tokenizer *t, const char *s, size_t n,
                          struct tokens *ids, json_t *list, struct err *e)
{
    size_t line = 1;
    int rc = 0;
    for (size_t i = 0, end; i < n && !rc; i = end + 1, line++) {
        const char *nl = memchr(s + i, '\n', n - i);
        end = nl ? (size_t)(nl - s) : n;
        rc = tokenize(o, t, s + i, end - i, ids, list, e);
    }
    return rc ? err_prefix(e, "line %zu: ", line - 1) : 0;
}

static int print_all(const struct arguments *o, const struct tokenizer *t, const char *s, size_t n,
                     struct err *e)
{
    struct tokens ids = {0};
    json_t *list = o->json ? json_array() : NULL;
    int rc = o->lines ? tokenize_lines(o, t, s, n, &ids, list, e) : tokenize(o, t, s, n, &ids, list, e);
    if (!rc && list)
        rc = cli_print_json(json_pack("{s:s, s:i, s:O}", "tokenizer", tokenizer_name(t), "vocabulary",
                                      (int)tokenizer_size(t), "texts", list));
    json_decref(list);
    tokens_deinit(&ids);
    return rc;
}

/* A judge directory's tokenizer is its base's. */
static int open_tokenizer(struct tokenizer **out, const char *path, struct err *e)
{
    struct source s;
    int rc = source_find(&s, path, "none", e);
    if (rc)
        return rc;
    rc = tokenizer_open(out, s.base, e);
    source_close(&s);
    return rc;
}

static int run_tokenize(const struct arguments *o, struct err *e)
{
    struct tokenizer *t;
    char *owned = NULL;
    const char *text = o->text;
    size_t n = strlen(text);
    int rc = open_tokenizer(&t, o->model, e);
    if (rc)
        return rc;
    if (!strcmp(text, "-")) {
        rc = file_read(&owned, &n, "-", TEXT_MAX, e);
        text = owned;
    }
    if (!rc)
        rc = print_all(o, t, text, n, e);
    free(owned);
    tokenizer_close(t);
    return rc;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {
        {"ids-only", no_argument, NULL, 'i'}, {"lines", no_argument, NULL, 'l'},
        {"special", no_argument, NULL, 's'},  {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},     {0}};
    struct arguments o = {.text = "-"};
    struct err e;
    int c;
    while ((c = cli_option(&cmd_model_tokenize, argc, argv, options)) != -1) {
        if (c == 'h' || c == '?')
            return c == 'h' ? EXIT_OK : EXIT_USAGE;
        o.lines |= c == 'l';
        o.special |= c == 's';
        o.json |= c == 'j';
    }
    if (argc - optind < 1 || argc - optind > 2)
        return cli_usage(&cmd_model_tokenize, "want MODEL and one text: quote it");
    o.model = argv[optind];
    if (argc - optind == 2)
        o.text = argv[optind + 1];
    int rc = run_tokenize(&o, &e);
    return rc < 0 ? cli_fail(&e) : rc;
}

const struct command cmd_model_tokenize = {
    "model tokenize", "the token ids of a text",
    "usage: gyeol model tokenize MODEL [TEXT or -] [--lines] [--special] [--ids-only] [--json]\n\n"
    "Prints the token ids of a text (or of standard input, byte for byte), separated by spaces, on one line. "
    "No\n"
    "token is added that the text does not hold. MODEL is a Hugging Face directory, one of its files\n"
    "(tokenizer.json, tokenizer.model, vocab.json, vocab.txt), a GGUF file with or without weights, or a "
    "judge\n"
    "directory.\n\n"
    "  --lines      every line of the input is a text\n"
    "  --special    control tokens written out in the text, such as <s>, are that token, not characters\n"
    "  --ids-only   only the ids (the default: for scripts that say so)\n"
    "  --json       ids and pieces\n",
    run};
