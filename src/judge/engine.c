#include "judge/engine.h"

#include "base/file.h"
#include "base/when.h"
#include "format/chat_file.h"
#include "format/tokenizer_file.h"
#include "model/generate.h"
#include "model/pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { JSON_LIMIT = 1 << 20, POSITIONS = 2048 };

/* What gyeol.json and the options together say. All owned. */
struct plan {
    char *base, *adapter, *home;
    char type[16], chat[32];
    json_t *calibration; /* borrowed from one of the two */
    json_t *judge, *tuned;
};

static void plan_deinit(struct plan *p)
{
    free(p->base);
    free(p->adapter);
    free(p->home);
    json_decref(p->judge);
    json_decref(p->tuned);
}

static char *join(const char *dir, const char *name)
{
    char *s = NULL;
    if (*name == '/')
        return strdup(name);
    return asprintf(&s, "%s/%s", dir, name) < 0 ? NULL : s;
}

static bool is_directory(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* A JSON object from path, or NULL when there is no such file. */
static int load_json(json_t **out, const char *path, struct err *e)
{
    char *text;
    size_t n;
    json_error_t why;
    struct stat st;
    *out = NULL;
    if (stat(path, &st))
        return 0;
    int rc = file_read(&text, &n, path, JSON_LIMIT, e);
    if (rc)
        return rc;
    *out = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
    free(text);
    if (!*out)
        return err_set(e, ERR_FORMAT, "%s:%d: %.200s", path, why.line, why.text);
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return err_set(e, ERR_FORMAT, "%s: want an object", path);
    }
    return 0;
}

static void copy_text(char *to, size_t size, const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    if (s && !*to)
        snprintf(to, size, "%s", s);
}

/* A judge directory has a gyeol.json with "base"; its adapter is the one named there unless another is given.
 */
static int read_judge_directory(struct plan *p, const char *dir, const char *file, const char *adapter,
                                struct err *e)
{
    const char *base = json_string_value(json_object_get(p->judge, "base"));
    const char *own = json_string_value(json_object_get(p->judge, "adapter"));
    if (!base)
        return 0;
    p->base = join(dir, base);
    if (own && !adapter)
        p->adapter = join(dir, own);
    /* Its calibration belongs to the base with its own adapter. */
    if (!adapter || (!own && strcmp(adapter, "none") == 0)) {
        p->calibration = json_object_get(p->judge, "calibration");
        p->home = strdup(file);
    }
    return p->base ? 0 : err_set(e, ERR_MEMORY, "out of memory");
}

static int read_adapter_notes(struct plan *p, struct err *e)
{
    char *file = join(p->adapter, "gyeol.json");
    int rc = file ? load_json(&p->tuned, file, e) : err_set(e, ERR_MEMORY, "out of memory");
    if (!rc && !p->calibration)
        p->calibration = json_object_get(p->tuned, "calibration");
    if (!p->home)
        p->home = file;
    else
        free(file);
    return rc;
}

/* Where the model's own notes are: gyeol.json in a directory, FILE.gyeol.json beside a file. */
static int read_notes(struct plan *p, const char *model, char **file, struct err *e)
{
    *file = NULL;
    if (is_directory(model))
        *file = join(model, "gyeol.json");
    else if (asprintf(file, "%s.gyeol.json", model) < 0)
        *file = NULL;
    return *file ? load_json(&p->judge, *file, e) : err_set(e, ERR_MEMORY, "out of memory");
}

static int make_plan(struct plan *p, const struct judge_options *o, struct err *e)
{
    char *file;
    int rc = read_notes(p, o->model, &file, e);
    if (!rc && is_directory(o->model))
        rc = read_judge_directory(p, o->model, file, o->adapter, e);
    if (!rc && !p->base)
        p->base = strdup(o->model);
    if (!rc && o->adapter && strcmp(o->adapter, "none") != 0)
        p->adapter = strdup(o->adapter);
    if (!rc && p->adapter)
        rc = read_adapter_notes(p, e);
    if (!rc && !p->home) {
        p->home = file;
        file = NULL;
        p->calibration = json_object_get(p->judge, "calibration");
    }
    free(file);
    copy_text(p->type, sizeof p->type, p->judge, "type");
    copy_text(p->chat, sizeof p->chat, p->tuned, "template");
    copy_text(p->chat, sizeof p->chat, p->judge, "template");
    return rc;
}

/* --- the parts */

/* The cheapest type that loses nothing to speak of: 4- and 8-bit files as they are, k-quants as 8-bit, others
 * bf16. */
static enum model_type natural_type(const struct checkpoint *c)
{
    const struct weight *w = checkpoint_weight(c, ROLE_GATE, 0);
    switch (w->tensor.type) {
    case DT_F32:
    case DT_F16:
    case DT_BF16:
        return MODEL_BF16;
    case DT_Q4_0:
        return MODEL_Q4_0;
    default:
        return MODEL_Q8_0;
    }
}

static int choose_type(enum model_type *type, const struct plan *p, const struct judge_options *o,
                       const struct checkpoint *c, struct err *e)
{
    const char *name = o->type ? o->type : *p->type ? p->type : NULL;
    int t = name ? model_type_parse(name) : (int)natural_type(c);
    if (t < 0 || t == MODEL_NF4)
        return err_set(e, ERR_USAGE, "--type %.40s: want f32, bf16, q8_0 or q4_0", name);
    *type = (enum model_type)t;
    return 0;
}

static int open_weights(struct engine *g, const struct plan *p, const struct judge_options *o, struct err *e)
{
    enum model_type type = MODEL_F32;
    int rc = checkpoint_open(&g->checkpoint, p->base, e);
    if (!rc)
        rc = choose_type(&type, p, o, g->checkpoint, e);
    if (!rc)
        rc = pack_open(&g->model, g->checkpoint, type, g->model_sha256, NULL, e);
    return rc;
}

static int open_adapter(struct engine *g, const struct plan *p, struct err *e)
{
    if (!p->adapter)
        return 0;
    char *file = join(p->adapter, "adapter_model.safetensors");
    struct file_map map = {0};
    int rc = file ? peft_open(&g->peft, p->adapter, &g->model->config, g->model_sha256, e)
                  : err_set(e, ERR_MEMORY, "out of memory");
    if (!rc)
        rc = adapter_load(&g->adapter, g->peft, g->model, e);
    if (!rc)
        rc = file_map_open(&map, file, e);
    if (!rc)
        digest_sha256(g->adapter_sha256, map.data, map.len);
    file_map_close(&map);
    free(file);
    return rc;
}

static int open_words(struct engine *g, const struct plan *p, const struct judge_options *o, struct err *e)
{
    const char *name = o->chat ? o->chat : *p->chat ? p->chat : NULL;
    const struct chat_template *chat = NULL;
    int rc = tokenizer_open(&g->tokenizer, p->base, e);
    if (!rc && name && !(chat = chat_find(name)))
        rc = err_set(e, ERR_USAGE, "--template %.40s: want one of %s", name, chat_names());
    if (!rc && !chat)
        rc = chat_open(&chat, p->base, g->tokenizer, e);
    return rc ? rc : prompt_init(&g->prompt, g->tokenizer, chat, ENGINE_POST_TOKENS, e);
}

static int open_calibration(struct engine *g, const struct plan *p, const struct judge_options *o,
                            struct err *e)
{
    calibration_none(&g->calibration);
    if (!p->calibration || o->recalibrate)
        return 0;
    int rc = calibration_read(&g->calibration, p->home, p->calibration, e);
    if (!rc && *g->calibration.prompt_sha256 && strcmp(g->calibration.prompt_sha256, g->prompt.sha256) != 0)
        rc = err_set(e, ERR_STATE, "%s: calibrated for another prompt; run gyeol train calibrate again",
                     p->home);
    return rc;
}

static int open_prefix(struct engine *g, const struct judge_options *o, struct err *e)
{
    const struct session_options so = {ENGINE_PASS_TOKENS, POSITIONS, o->threads};
    float *hidden = malloc(g->model->config.width * sizeof *hidden);
    int rc = hidden ? session_new(&g->session, g->model, &so, e) : err_set(e, ERR_MEMORY, "out of memory");
    if (!rc) {
        session_set_adapter(g->session, g->adapter);
        rc = kv_new(&g->prefix, g->model, NULL, g->prompt.prefix.n, false, e);
    }
    if (!rc)
        rc = session_prefill(g->session, g->prefix, g->prompt.prefix.id, g->prompt.prefix.n, hidden, e);
    free(hidden);
    return rc;
}

static double lap(uint64_t *at)
{
    uint64_t now = when_monotonic_ns();
    double ms = (double)(now - *at) / 1e6;
    *at = now;
    return ms;
}

static int open_parts(struct engine *g, struct plan *p, const struct judge_options *o, struct err *e)
{
    uint64_t at = when_monotonic_ns();
    int rc = open_weights(g, p, o, e);
    g->open_ms[0] = lap(&at);
    if (!rc)
        rc = open_words(g, p, o, e);
    g->open_ms[1] = lap(&at);
    if (!rc)
        rc = open_adapter(g, p, e);
    if (!rc)
        rc = open_calibration(g, p, o, e);
    g->open_ms[2] = lap(&at);
    if (!rc)
        rc = open_prefix(g, o, e);
    g->open_ms[3] = lap(&at);
    return rc;
}

int engine_open(struct engine **out, const struct judge_options *o, struct err *e)
{
    struct engine *g = calloc(1, sizeof *g);
    struct plan plan = {0};
    const char *slash = strrchr(o->model, '/');
    *out = NULL;
    if (g)
        g->name = strdup(slash && slash[1] ? slash + 1 : o->model);
    int rc = g && g->name ? make_plan(&plan, o, e) : err_set(e, ERR_MEMORY, "out of memory");
    if (!rc)
        rc = open_parts(g, &plan, o, e);
    if (!rc) {
        g->home = plan.home;
        plan.home = NULL;
        *out = g;
    } else {
        engine_close(g);
    }
    plan_deinit(&plan);
    return rc;
}

void engine_close(struct engine *g)
{
    if (!g)
        return;
    kv_free(g->prefix);
    session_free(g->session);
    prompt_deinit(&g->prompt);
    tokenizer_close(g->tokenizer);
    adapter_close(g->adapter);
    peft_close(g->peft);
    model_close(g->model);
    checkpoint_close(g->checkpoint);
    free(g->name);
    free(g->home);
    free(g);
}

int engine_save_calibration(const struct engine *g, struct err *e)
{
    json_t *notes = NULL;
    int rc = load_json(&notes, g->home, e);
    if (rc)
        return rc;
    if (!notes)
        notes = json_object();
    json_object_set_new(notes, "calibration", calibration_json(&g->calibration));
    char *text = json_dumps(notes, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    rc = text ? file_write(g->home, text, strlen(text), e) : err_set(e, ERR_MEMORY, "out of memory");
    free(text);
    json_decref(notes);
    return rc;
}
