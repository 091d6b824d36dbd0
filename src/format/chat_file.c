#include "format/chat_file.h"

#include "base/buf.h"
#include "base/file.h"
#include "format/gguf.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

static const struct chat_template *recognise_json(const json_t *text)
{
    return json_is_string(text) ? chat_recognise(json_string_value(text), json_string_length(text)) : NULL;
}

static const struct chat_template *from_list(const json_t *list)
{
    const json_t *item, *use = json_array_get(list, 0);
    size_t i;
    json_array_foreach(list, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name && strcmp(name, "default") == 0)
            use = item;
    }
    return recognise_json(json_object_get(use, "template"));
}

static int from_config(const char *directory, const struct chat_template **out, struct err *e)
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
    *out = json_is_array(text) ? from_list(text) : recognise_json(text);
    json_decref(config);
    free(data);
    return rc;
}

static int from_directory(const char *directory, const struct chat_template **out, struct err *e)
{
    char *data;
    size_t n;
    int rc = read_in(directory, "chat_template.jinja", &data, &n, e);
    if (rc)
        return rc;
    if (!data)
        return from_config(directory, out, e);
    *out = chat_recognise(data, n);
    free(data);
    return 0;
}

static int from_gguf(const char *path, const struct chat_template **out, struct err *e)
{
    struct gguf *g;
    struct gguf_string text = {0};
    int rc = gguf_open(&g, path, e);
    if (rc)
        return rc;
    rc = gguf_get_string(g, "tokenizer.chat_template", &text, e);
    if (!rc && text.data)
        *out = chat_recognise(text.data, text.len);
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

int chat_open(const struct chat_template **out, const char *model_path, const struct tokenizer *t,
              struct err *e)
{
    struct stat st;
    bool gguf = false;
    int rc;
    *out = NULL;
    if (stat(model_path, &st))
        return err_errno(e, "%s", model_path);
    if (S_ISDIR(st.st_mode))
        rc = from_directory(model_path, out, e);
    else {
        rc = is_gguf(model_path, &gguf, e);
        if (!rc && gguf)
            rc = from_gguf(model_path, out, e);
    }
    if (!rc && !*out)
        *out = chat_guess(t);
    return rc;
}
