#include "format/chat_file.h"

#include "base/buf.h"
#include "base/file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define JINJA_KEY "tokenizer.chat_template"
enum { CONFIG_MAX = 64 << 20 }; /* bytes: a tokenizer_config.json lists every added token */

/* 0 with *data NULL when there is no such file. */
static int read_in(const char *directory, const char *name, char **data, size_t *n, struct err *e)
{
    struct buf path = {0};
    struct stat st;
    *data = NULL;
    buf_printf(&path, "%s/%s", directory, name);
    int rc = buf_check(&path, "a path", e);
    if (!rc && stat(path.data, &st) == 0)
        rc = file_read(data, n, path.data, CONFIG_MAX, e);
    buf_deinit(&path);
    return rc;
}

static int copy_text(char **out, size_t *n, const char *s, size_t len, struct err *e)
{
    char *copy = malloc(len + 1);
    if (!copy)
        return err_set(e, ERR_MEMORY, "out of memory for a chat template");
    memcpy(copy, s, len);
    copy[len] = 0;
    *out = copy;
    *n = len;
    return 0;
}

static const json_t *from_list(const json_t *list)
{
    const json_t *item, *use = json_array_get(list, 0);
    size_t i;
    json_array_foreach(list, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name && strcmp(name, "default") == 0)
            use = item;
    }
    return json_object_get(use, "template");
}

static int from_config(const char *directory, char **out, size_t *len, struct err *e)
{
    char *data;
    size_t n;
    json_error_t error;
    int rc = read_in(directory, "tokenizer_config.json", &data, &n, e);
    if (rc || !data)
        return rc;
    /* Hugging Face writes 10^30 for "no limit", which is no integer of jansson's. */
    json_t *config = json_loadb(data, n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    if (!config)
        rc = err_set(e, ERR_FORMAT, "%s/tokenizer_config.json:%d: %s", directory, error.line, error.text);
    const json_t *text = json_object_get(config, "chat_template");
    if (json_is_array(text))
        text = from_list(text);
    if (json_is_string(text))
        rc = copy_text(out, len, json_string_value(text), json_string_length(text), e);
    json_decref(config);
    free(data);
    return rc;
}

static int from_directory(const char *directory, char **out, size_t *n, struct err *e)
{
    int rc = read_in(directory, "chat_template.jinja", out, n, e);
    return rc || *out ? rc : from_config(directory, out, n, e);
}

static int from_gguf(const char *path, char **out, size_t *n, struct err *e)
{
    struct gguf *g;
    struct gguf_string text = {0};
    int rc = gguf_open(&g, path, e);
    if (rc)
        return rc;
    rc = gguf_get_string(g, JINJA_KEY, &text, e);
    if (!rc && text.data)
        rc = copy_text(out, n, text.data, text.len, e);
    gguf_close(g);
    return rc;
}

static int is_gguf(const char *path, bool *yes, struct err *e)
{
    struct file_map m;
    int rc = file_map_open(&m, path, e);
    if (rc)
        return rc;
    *yes = m.len >= 4 && memcmp(m.data, "GGUF", 4) == 0;
    file_map_close(&m);
    return 0;
}

int chat_text(char **out, size_t *n, const char *model_path, struct err *e)
{
    struct stat st;
    bool gguf = false;
    *out = NULL;
    *n = 0;
    if (stat(model_path, &st))
        return err_errno(e, "%s", model_path);
    if (S_ISDIR(st.st_mode))
        return from_directory(model_path, out, n, e);
    int rc = is_gguf(model_path, &gguf, e);
    return rc || !gguf ? rc : from_gguf(model_path, out, n, e);
}

static const struct chat_template *choose(const char *jinja, size_t n, const struct tokenizer *t)
{
    const struct chat_template *own = jinja ? chat_recognise(jinja, n) : NULL;
    return own ? own : chat_guess(t);
}

int chat_open(const struct chat_template **out, const char *model_path, const struct tokenizer *t,
              struct err *e)
{
    char *text;
    size_t n;
    *out = NULL;
    int rc = chat_text(&text, &n, model_path, e);
    if (rc)
        return rc;
    *out = choose(text, n, t);
    free(text);
    return 0;
}

int chat_from_gguf(const struct chat_template **out, const struct gguf *g, const struct tokenizer *t,
                   struct err *e)
{
    struct gguf_string text = {0};
    int rc = gguf_get_string(g, JINJA_KEY, &text, e);
    *out = rc ? NULL : choose(text.data, text.len, t);
    return rc;
}
