/* gyeol model info: what a path holds, be it a model that this program runs or not. */
#include "cli/model_info.h"

#include "base/file.h"
#include "base/size.h"
#include "base/stop.h"
#include "cli/cli.h"
#include "judge/linear.h"
#include "model/pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPT_VERIFY = OPT_FIRST, OPT_JSON };
#define HASHED_UNASKED                                                                                       \
    ((off_t)2 << 30) /* bytes; reading more takes longer than people expect of a question */

struct arguments {
    const char *path;
    bool verify, json;
};

static void put(json_t *to, const char *key, json_t *v)
{
    json_object_set_new(to, key, v ? v : json_null());
}

static bool holds(const char *dir, const char *name)
{
    char *path = NULL;
    bool there = asprintf(&path, "%s/%s", dir, name) >= 0 && access(path, F_OK) == 0;
    free(path);
    return there;
}

/* ---- a decoder of ours ---- */

static bool recorded_sha256(char hex[DIGEST_HEX], const struct checkpoint *c)
{
    for (int type = 0; type < MODEL_TYPES; type++) {
        char *path;
        struct err e;
        int rc = pack_find(&path, hex, c, (enum model_type)type, &e);
        free(path);
        if (!rc)
            return true;
    }
    return false;
}

static int put_files(json_t *to, const struct checkpoint *c, const struct info_files *f, struct err *e)
{
    char hex[DIGEST_HEX];
    int rc = f->sha256 ? pack_join_sha256(hex, f->sha256, c, e) : 0;
    if (rc)
        return rc;
    put(to, "sha256", f->sha256 || recorded_sha256(hex, c) ? json_string(hex) : NULL);
    put(to, "files", info_files_json(f));
    return 0;
}

static int put_pack(json_t *packs, const struct checkpoint *c, enum model_type type, bool verify,
                    struct err *e)
{
    char *path, hex[DIGEST_HEX];
    struct err none;
    struct stat st = {0};
    if (pack_find(&path, hex, c, type, &none))
        return 0;
    int rc = verify ? pack_verify(c, type, e) : stat(path, &st) ? err_errno(e, "%s", path) : 0;
    json_array_append_new(packs, json_pack("{s:s, s:o, s:I}", "type", model_type_name[type], "path",
                                           cli_json_text(path), "bytes", (json_int_t)st.st_size));
    free(path);
    return rc;
}

static int read_files(json_t *to, struct info_files *f, const struct checkpoint *c, bool verify,
                      struct err *e)
{
    uint64_t parameters;
    json_t *tensors = NULL;
    int rc = 0;
    for (size_t i = 0; !rc && i < checkpoint_files(c); i++)
        rc = info_files_add(f, checkpoint_file(c, i), e);
    if (!rc && checkpoint_gguf(c))
        tensors = info_gguf_tensors(checkpoint_gguf(c));
    else if (!rc)
        rc = info_safetensors(&tensors, &parameters, f, e);
    put(to, "tensors", tensors);
    return rc ? rc : info_files_read(f, verify, e);
}

static void put_config(json_t *to, const struct config *c)
{
    put(to, "architecture", json_string(c->architecture));
    put(to, "name", cli_json_text(c->name));
    put(to, "parameters", json_integer((json_int_t)info_parameters(c)));
    put(to, "shape", info_shape(c));
    put(to, "attention", info_attention(c));
    put(to, "arithmetic", info_arithmetic(c));
    put(to, "memory", info_memory(c));
}

static int decoder(json_t *to, const struct arguments *o, const struct source *s, struct err *e)
{
    const struct checkpoint *c = s->checkpoint;
    struct info_files files = {0};
    json_t *judge = NULL, *adapter = NULL, *packs = json_array();
    put(to, "kind", json_string(s->judge ? "judge" : "decoder"));
    put(to, "format", json_string(checkpoint_gguf(c) ? "gguf" : "safetensors"));
    put(to, "runnable", json_true());
    int rc = s->judge ? info_judge(&judge, o->path, e) : 0;
    if (judge)
        put(to, "judge", judge);
    put_config(to, checkpoint_config(c));
    if (!rc)
        rc = read_files(to, &files, c, o->verify, e);
    put(to, "tokenizer", info_tokenizer(s->base));
    put(to, "chat_template", info_chat_template(s->base));
    if (!rc && s->adapter)
        rc = info_adapter(&adapter, s->adapter, o->verify, e);
    if (adapter)
        put(to, "adapter", adapter);
    if (!rc)
        rc = put_files(to, c, &files, e);
    for (int type = 0; !rc && type < MODEL_TYPES; type++)
        rc = put_pack(packs, c, (enum model_type)type, o->verify, e);
    put(to, "packs", packs);
    info_files_deinit(&files);
    return rc;
}

/* ---- others ---- */

static bool is_of_ours(const char *type)
{
    static const char *const ours[] = {"llama", "mistral", "gemma2", "gemma3", "gemma3_text"};
    for (size_t i = 0; i < COUNT_OF(ours); i++)
        if (strcmp(type, ours[i]) == 0)
            return true;
    return false;
}

static bool is_encoder(const char *type)
{
    static const char *const encoders[] = {
        "bert",       "roberta",    "xlm-roberta", "distilbert", "mpnet",  "electra",     "deberta-v2",
        "modernbert", "nomic_bert", "nomic-bert",  "camembert",  "albert", "jina-bert-v2"};
    for (size_t i = 0; i < COUNT_OF(encoders); i++)
        if (strcmp(type, encoders[i]) == 0)
            return true;
    return false;
}

static const char *kind_of(const char *type)
{
    return is_encoder(type) ? "encoder" : "other";
}

static int foreign_directory(json_t *to, const struct arguments *o, json_t *fields, const char *type,
                             struct err *e)
{
    struct info_files files = {0};
    uint64_t parameters = 0;
    json_t *tensors = NULL;
    int rc = info_files_find(&files, o->path, e);
    if (!rc)
        rc = info_safetensors(&tensors, &parameters, &files, e);
    if (!rc)
        rc = info_files_read(&files, o->verify, e);
    put(to, "kind", json_string(kind_of(type)));
    put(to, "format", json_string("safetensors"));
    put(to, "runnable", json_false());
    put(to, "architecture", cli_json_text(type));
    put(to, "parameters", json_integer((json_int_t)parameters));
    put(to, "config", fields);
    put(to, "tensors", tensors);
    put(to, "tokenizer", info_tokenizer(o->path));
    put(to, "files", info_files_json(&files));
    info_files_deinit(&files);
    return rc;
}

static int of_ours(json_t *to, const struct arguments *o, struct err *e)
{
    struct source s;
    int rc = source_open(&s, o->path, NULL, e);
    if (rc)
        return rc;
    rc = decoder(to, o, &s, e);
    source_close(&s);
    return rc;
}

static int with_config(json_t *to, const struct arguments *o, struct err *e)
{
    char type[64];
    json_t *fields = NULL;
    int rc = info_config_json(&fields, type, o->path, e);
    if (!rc && !is_of_ours(type))
        return foreign_directory(to, o, fields, type, e);
    json_decref(fields);
    return rc ? rc : of_ours(to, o, e);
}

static int words_alone(json_t *to, const struct arguments *o, struct err *e)
{
    json_t *tokenizer = info_tokenizer(o->path);
    bool none = json_is_null(tokenizer);
    put(to, "kind", json_string("vocabulary"));
    put(to, "tokenizer", tokenizer);
    return none ? err_set(e, ERR_FORMAT,
                          "%s: no model there: want config.json, adapter_config.json or gyeol.json", o->path)
                : 0;
}

static int directory(json_t *to, const struct arguments *o, struct err *e)
{
    struct source s;
    int rc = source_find(&s, o->path, NULL, e);
    if (rc)
        return rc;
    bool judge = s.judge;
    source_close(&s);
    if (judge)
        return of_ours(to, o, e);
    if (holds(o->path, "config.json"))
        return with_config(to, o, e);
    if (!holds(o->path, "adapter_config.json"))
        return words_alone(to, o, e);
    json_t *adapter = NULL;
    rc = info_adapter(&adapter, o->path, o->verify, e);
    put(to, "kind", json_string("adapter"));
    put(to, "adapter", adapter);
    return rc;
}

static int foreign_gguf(json_t *to, const struct arguments *o, const struct gguf *g, const char *type,
                        struct err *e)
{
    struct info_files files = {0};
    size_t tensors = gguf_tensors(g);
    int rc = info_files_add(&files, o->path, e);
    if (!rc)
        rc = info_files_read(&files, o->verify, e);
    put(to, "kind", json_string(tensors ? kind_of(type) : "vocabulary"));
    put(to, "format", json_string("gguf"));
    put(to, "runnable", json_false());
    put(to, "architecture", cli_json_text(type));
    if (tensors)
        put(to, "tensors", info_gguf_tensors(g));
    put(to, "tokenizer", info_tokenizer(o->path));
    put(to, "chat_template", info_chat_template(o->path));
    put(to, "files", info_files_json(&files));
    info_files_deinit(&files);
    return rc;
}

static int gguf_file(json_t *to, const struct arguments *o, struct err *e)
{
    struct gguf *g;
    struct gguf_string s = {"", 0};
    char type[64];
    int rc = gguf_open(&g, o->path, e);
    if (rc)
        return rc;
    rc = gguf_get_string(g, "general.architecture", &s, e);
    snprintf(type, sizeof type, "%.*s", (int)(s.len < sizeof type ? s.len : sizeof type - 1), s.data);
    bool ours = !rc && is_of_ours(type) && gguf_tensors(g) > 0;
    if (!rc && !ours)
        rc = foreign_gguf(to, o, g, type, e);
    gguf_close(g);
    return ours ? of_ours(to, o, e) : rc;
}

static int linear_file(json_t *to, const struct arguments *o, const struct file_map *map, struct err *e)
{
    struct linear_model m;
    struct info_files files = {0};
    int rc = linear_parse(&m, o->path, map->data, map->len, true, e);
    if (!rc)
        rc = info_files_add(&files, o->path, e);
    if (!rc)
        rc = info_files_read(&files, false, e); /* linear_parse has verified it */
    if (!rc) {
        put(to, "kind", json_string("linear"));
        put(to, "format", json_string("gyl"));
        put(to, "runnable", json_true());
        put(to, "parameters", json_integer((json_int_t)FEATURE_BUCKETS * LINEAR_COLUMNS));
        put(to, "training",
            json_pack("{s:I, s:s, s:I, s:s, s:I}", "rows", (json_int_t)m.train_rows, "sha256", m.train_sha256,
                      "dev_rows", (json_int_t)m.dev_rows, "dev_sha256", m.dev_sha256, "seed",
                      (json_int_t)m.seed));
        put(to, "sha256", json_string(files.sha256[0]));
        put(to, "files", info_files_json(&files));
    }
    info_files_deinit(&files);
    return rc;
}

static int one_file(json_t *to, const struct arguments *o, struct err *e)
{
    struct file_map map;
    int rc = file_map_open(&map, o->path, e);
    if (rc)
        return rc;
    bool gguf = map.len >= 4 && memcmp(map.data, "GGUF", 4) == 0,
         linear = map.len >= 8 && memcmp(map.data, "gyeol-l1", 8) == 0;
    if (linear)
        rc = linear_file(to, o, &map, e);
    file_map_close(&map);
    if (linear)
        return rc;
    if (gguf)
        return gguf_file(to, o, e);
    return err_set(e, ERR_FORMAT,
                   "%s: neither a GGUF file nor a linear judge; want one, or a model's directory", o->path);
}

/* ---- the command ---- */

static int info(const struct arguments *o, struct err *e)
{
    struct stat st;
    if (stat(o->path, &st))
        return err_errno(e, "%s", o->path);
    json_t *all = json_object();
    put(all, "path", cli_json_text(o->path));
    int rc = S_ISDIR(st.st_mode) ? directory(all, o, e) : one_file(all, o, e);
    if (!rc)
        put(all, "verified", o->verify ? json_true() : json_null());
    if (!rc && o->json)
        return cli_print_json(all);
    if (!rc)
        info_print(all);
    json_decref(all);
    return rc;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {{"verify", no_argument, NULL, OPT_VERIFY},
                                            {"json", no_argument, NULL, OPT_JSON},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct arguments o = {0};
    struct err e;
    int c;
    while ((c = cli_option(&cmd_model_info, argc, argv, options)) != -1) {
        if (c == 'h' || c == '?')
            return c == 'h' ? EXIT_OK : EXIT_USAGE;
        if (c == OPT_VERIFY)
            o.verify = true;
        else
            o.json = true;
    }
    if (argc - optind != 1)
        return cli_usage(&cmd_model_info, "want one path");
    o.path = argv[optind];
    stop_install();
    int rc = info(&o, &e);
    return rc < 0 ? cli_fail(&e) : rc;
}

const struct command cmd_model_info = {
    "model info", "what a model file or directory holds",
    "usage: gyeol model info PATH [--verify] [--json]\n\n"
    "Tells architecture, shapes, types, parameters, memory at each precision, tokenizer, chat template and\n"
    "digests of a Hugging Face directory, a GGUF file (also one with a vocabulary alone), a judge directory, "
    "a\n"
    "LoRA adapter, an encoder, or a linear judge. Nothing of a model is computed with.\n\n"
    "  --verify             read everything: all weights are numbers, the digests are computed whatever the\n"
    "                       size, packed weights beside the model match their checksums and the model\n"
    "  --json               JSON instead of text\n\n"
    "Without --verify, weights of more than 2 GiB are hashed only if a packed copy has recorded the "
    "digest.\n",
    run};
