#include "format/tokenizer_file.h"

#include "base/file.h"
#include "format/tokenizer_int.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

static bool there(const char *dir, const char *name)
{
    struct buf path = {0};
    buf_printf(&path, "%s/%s", dir, name);
    bool yes = !path.failed && access(path.data, F_OK) == 0;
    buf_deinit(&path);
    return yes;
}

/* The directory a file is in, with its slash; "./" for a bare name. */
static void directory_of(struct buf *out, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash)
        buf_add(out, path, (size_t)(slash - path) + 1);
    else
        buf_str(out, "./");
}

static int open_gguf(struct tokenizer **out, const char *path, struct err *e)
{
    struct gguf *g;
    int rc = gguf_open(&g, path, e);
    if (rc)
        return rc;
    rc = tokenizer_from_gguf(out, g, e);
    gguf_close(g);
    return rc;
}

typedef int spec_reader(struct tokenizer_spec *s, const char *dir, const char *bytes, size_t n,
                        struct err *e);

static int read_json(struct tokenizer_spec *s, const char *dir, const char *bytes, size_t n, struct err *e)
{
    json_t *root = NULL;
    int rc = json_read(&root, bytes, n, e);
    if (!rc)
        rc = spec_from_json(s, root, e);
    json_decref(root);
    return rc ? rc : spec_side_files(s, dir, e);
}

static int read_model(struct tokenizer_spec *s, const char *dir, const char *bytes, size_t n, struct err *e)
{
    int rc = spec_from_model(s, bytes, n, e);
    return rc ? rc : spec_model_side_files(s, dir, e);
}

static int open_file(struct tokenizer **out, const char *path, spec_reader *read, struct err *e)
{
    struct file_map m;
    struct tokenizer_spec s;
    struct buf dir = {0};
    int rc = file_map_open(&m, path, e);
    if (rc)
        return rc;
    spec_init(&s);
    directory_of(&dir, path);
    rc = buf_check(&dir, path, e);
    if (!rc)
        rc = read(&s, dir.data, (const char *)m.data, m.len, e);
    file_map_close(&m);
    if (!rc)
        rc = tokenizer_new(out, &s, e);
    spec_deinit(&s);
    buf_deinit(&dir);
    return rc ? err_prefix(e, "%s: ", path) : 0;
}

/* By name; a GGUF file may have any. */
static int open_one(struct tokenizer **out, const char *path, struct err *e)
{
    if (ends_with(path, ".json") && !ends_with(path, "vocab.json"))
        return open_file(out, path, read_json, e);
    if (ends_with(path, ".model"))
        return open_file(out, path, read_model, e);
    if (ends_with(path, "vocab.json") || ends_with(path, "merges.txt"))
        return open_file(out, path, spec_from_vocab_json, e);
    if (ends_with(path, "vocab.txt"))
        return open_file(out, path, spec_from_vocab_txt, e);
    return open_gguf(out, path, e);
}

static int open_directory(struct tokenizer **out, const char *dir, struct err *e)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!there(dir, names[i]) || (!strcmp(names[i], "vocab.json") && !there(dir, "merges.txt")))
            continue;
        struct buf path = {0};
        buf_printf(&path, "%s/%s", dir, names[i]);
        int rc = buf_check(&path, dir, e);
        if (!rc)
            rc = open_one(out, path.data, e);
        buf_deinit(&path);
        return rc;
    }
    return err_set(
        e, ERR_MISSING,
        "%s: no tokenizer there: want tokenizer.json, tokenizer.model, vocab.json with merges.txt, or "
        "vocab.txt",
        dir);
}

int tokenizer_open(struct tokenizer **out, const char *path, struct err *e)
{
    struct stat st;
    *out = NULL;
    if (stat(path, &st))
        return err_errno(e, "%s", path);
    return S_ISDIR(st.st_mode) ? open_directory(out, path, e) : open_one(out, path, e);
}
