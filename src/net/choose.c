#include "net/choose.h"

#include "base/size.h"

#include <fnmatch.h>
#include <string.h>

/* Whole paths: folders hold the same weights for other programs (onnx/, openvino/, original/). */
static const char *const companions[] = {"config.json",
                                         "generation_config.json",
                                         "tokenizer.json",
                                         "tokenizer.model",
                                         "tokenizer_config.json",
                                         "special_tokens_map.json",
                                         "added_tokens.json",
                                         "chat_template.jinja",
                                         "chat_template.json",
                                         "vocab.json",
                                         "merges.txt",
                                         "vocab.txt",
                                         "adapter_config.json",
                                         "modules.json",
                                         "1_Pooling/config.json",
                                         "sentence_bert_config.json",
                                         "README.md",
                                         "LICENSE*"};
static const char *const safetensors[] = {"*.safetensors", "*.safetensors.index.json"};

/* Mistral's own format, beside the same weights under the usual names. */
static const char consolidated[] = "consolidated*.safetensors*";

static size_t choose(struct hub_listing *l, const char *const *pattern, size_t n)
{
    size_t found = 0;
    for (size_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < n; k++)
            if (!l->file[i].chosen && fnmatch(pattern[k], l->file[i].path, FNM_PATHNAME) == 0) {
                l->file[i].chosen = true;
                found++;
            }
    return found;
}

static void drop_consolidated(struct hub_listing *l)
{
    bool others = false;
    for (size_t i = 0; i < l->n; i++)
        others |= fnmatch(safetensors[0], l->file[i].path, FNM_PATHNAME) == 0 &&
                  fnmatch(consolidated, l->file[i].path, FNM_PATHNAME) != 0;
    for (size_t i = 0; others && i < l->n; i++)
        if (fnmatch(consolidated, l->file[i].path, FNM_PATHNAME) == 0)
            l->file[i].chosen = false;
}

static size_t count(const struct hub_listing *l, const char *pattern, size_t *first)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        if (hub_match(pattern, l->file[i].path) && n++ == 0)
            *first = i;
    return n;
}

static int choose_gguf(struct hub_listing *l, const char *name, struct err *e)
{
    size_t at = 0, n = count(l, "*.gguf", &at);
    if (n == 1) {
        l->file[at].chosen = true;
        return 0;
    }
    if (n > 1)
        return err_set(e, ERR_STATE, "%s holds %zu GGUF files (%.80s, ...): choose with --include PATTERN",
                       name, n, l->file[at].path);
    if (count(l, "*model*.bin", &at) || count(l, "*model*.pt", &at) || count(l, "*.pth", &at))
        return err_set(e, ERR_STATE,
                       "%s holds its weights only as %.80s, which can run code when it is read and which "
                       "gyeol does not read: want safetensors or GGUF",
                       name, l->file[at].path);
    return err_set(e, ERR_MISSING,
                   "%s holds no weights that gyeol reads (*.safetensors, *.gguf); --include PATTERN "
                   "fetches other files",
                   name);
}

static int choose_given(struct hub_listing *l, const char *name, const char *const *pattern, size_t n,
                        struct err *e)
{
    for (size_t k = 0; k < n; k++) {
        size_t found = 0;
        for (size_t i = 0; i < l->n; i++)
            if (hub_match(pattern[k], l->file[i].path)) {
                l->file[i].chosen = true;
                found++;
            }
        if (found == 0)
            return err_set(e, ERR_MISSING, "%s: none of %zu files matches --include %.80s", name, l->n,
                           pattern[k]);
    }
    return 0;
}

int choose_files(struct hub_listing *l, const char *name, const char *const *pattern, size_t n, struct err *e)
{
    int rc = 0;
    if (n)
        rc = choose_given(l, name, pattern, n, e);
    else {
        choose(l, companions, COUNT_OF(companions));
        if (choose(l, safetensors, 1))
            choose(l, safetensors + 1, 1);
        else
            rc = choose_gguf(l, name, e);
        drop_consolidated(l);
    }
    for (size_t i = 0; i < l->n && !rc; i++)
        if (l->file[i].chosen)
            rc = hub_path_check(l->file[i].path, e);
    return rc;
}
