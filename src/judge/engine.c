#include "judge/engine.h"

#include "base/when.h"
#include "format/chat_file.h"
#include "format/tokenizer_file.h"
#include "judge/notes.h"
#include "model/generate.h"
#include "model/pack.h"
#include "model/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POSITIONS = 2048, POSITIONS_MAX = 1 << 15 };

/* The Makefile embeds models/mini: the GGUF file and gyeol.json; both ends are equal where there is none. */
extern const unsigned char mini_model_begin[], mini_model_end[], mini_notes_begin[], mini_notes_end[];
extern const char mini_model_sha256[];
#define EMBEDDED_NAME "gyeol-mini"

static size_t bytes_between(const unsigned char *begin, const unsigned char *end)
{
    return (size_t)((uintptr_t)end - (uintptr_t)begin);
}

/* What the notes and the options together say. */
struct plan {
    struct source where; /* base and adapter, not opened; no base: the model compiled in */
    struct notes model, adapter, base;
    struct notes *home;              /* keeps the calibration of this base with this adapter */
    const struct notes *calibration; /* has one; NULL: there is none */
};

static void plan_deinit(struct plan *p)
{
    source_close(&p->where);
    notes_deinit(&p->model);
    notes_deinit(&p->adapter);
    notes_deinit(&p->base);
}

/* A judge directory's calibration is of its base with its own adapter; an adapter brings its own. */
static int find_calibration(struct plan *p, const struct judge_options *o, struct err *e)
{
    int rc = 0;
    p->home = &p->model;
    if (o->adapter && p->where.adapter) {
        p->home = &p->adapter;
    } else if (p->where.judge && o->adapter && fields_get(&p->model.fields, "adapter")) {
        p->home = &p->base;
        rc = notes_read(&p->base, p->where.base, e);
    }
    if (!rc && fields_get(&p->home->fields, "calibration"))
        p->calibration = p->home;
    else if (!rc && fields_get(&p->adapter.fields, "calibration"))
        p->calibration = &p->adapter;
    return rc;
}

/* The model compiled in, with an adapter that is somebody's own. */
static int plan_embedded(struct plan *p, const char *adapter, struct err *e)
{
    if (!bytes_between(mini_model_begin, mini_model_end))
        return err_set(e, ERR_MISSING,
                       "this build holds no language model; name one with --model or GYEOL_MODEL");
    if (adapter && strcmp(adapter, "none") != 0 && !(p->where.adapter = strdup(adapter)))
        return err_set(e, ERR_MEMORY, "out of memory");
    return notes_parse(&p->model, EMBEDDED_NAME "'s gyeol.json", (const char *)mini_notes_begin,
                       bytes_between(mini_notes_begin, mini_notes_end), e);
}

static int make_plan(struct plan *p, const struct judge_options *o, struct err *e)
{
    int rc = o->model ? notes_read(&p->model, o->model, e) : plan_embedded(p, o->adapter, e);
    if (!rc && o->model)
        rc = source_find(&p->where, o->model, o->adapter, e);
    if (!rc && p->where.adapter)
        rc = notes_read(&p->adapter, p->where.adapter, e);
    return rc ? rc : find_calibration(p, o, e);
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
    static const char want[] = "f32, bf16, q8_0 or q4_0";
    const char *name = o->type;
    int rc = name ? 0 : fields_string(&p->model.fields, "type", &name, e);
    if (rc)
        return rc;
    int t = name ? model_type_parse(name) : (int)natural_type(c);
    if (t < 0 || t == MODEL_NF4)
        return o->type ? err_set(e, ERR_USAGE, "--type %.40s: want %s", name, want)
                       : fields_bad(&p->model.fields, "type", want, e);
    *type = (enum model_type)t;
    return 0;
}

static int open_checkpoint(struct checkpoint **out, const struct plan *p, struct err *e)
{
    if (p->where.base)
        return checkpoint_open(out, p->where.base, e);
    return checkpoint_open_bytes(out, EMBEDDED_NAME, mini_model_begin,
                                 bytes_between(mini_model_begin, mini_model_end), e);
}

static int open_weights(struct engine *g, const struct plan *p, const struct judge_options *o, struct err *e)
{
    enum model_type type = MODEL_F32;
    int rc = choose_type(&type, p, o, g->checkpoint, e);
    if (rc)
        return rc;
    if (p->where.base)
        return pack_open(&g->model, g->checkpoint, type, g->model_sha256, NULL, e);
    memcpy(g->model_sha256, mini_model_sha256, DIGEST_HEX);
    return model_load(&g->model, g->checkpoint, type, e);
}

static int open_adapter(struct engine *g, const struct plan *p, struct err *e)
{
    const char *dir = p->where.adapter;
    char *file;
    if (!dir)
        return 0;
    if (asprintf(&file, "%s/adapter_model.safetensors", dir) < 0)
        return err_set(e, ERR_MEMORY, "out of memory");
    int rc = peft_open(&g->peft, dir, &g->model->config, g->model_sha256, e);
    if (!rc)
        rc = adapter_load(&g->adapter, g->peft, g->model, e);
    if (!rc)
        rc = pack_file_sha256(g->adapter_sha256, file, e);
    free(file);
    return rc;
}

/* The option's template, that of the adapter's notes or of the model's, or NULL: the model's own. */
static int choose_chat(const struct chat_template **chat, const struct plan *p, const struct judge_options *o,
                       struct err *e)
{
    const struct fields *noted =
        fields_get(&p->adapter.fields, "template") ? &p->adapter.fields : &p->model.fields;
    const char *name = o->chat;
    int rc = name ? 0 : fields_string(noted, "template", &name, e);
    *chat = name ? chat_find(name) : NULL;
    if (rc || !name || *chat)
        return rc;
    return o->chat ? err_set(e, ERR_USAGE, "--template %.40s: want one of %s", name, chat_names())
                   : fields_bad(noted, "template", chat_names(), e);
}

/* Counts that a tokenizer may not make absurd: a branch without a token has no end to judge at, and a post's
 * last token must share a pass with all branches. */
static int check_prompt(const struct prompt *p, struct err *e)
{
    size_t total = 0, least = SIZE_MAX;
    for (int a = 0; a < AXES; a++) {
        total += p->branch[a].n;
        least = p->branch[a].n < least ? p->branch[a].n : least;
    }
    if (!least || total >= ENGINE_PASS_TOKENS)
        return err_set(e, ERR_FORMAT,
                       "tokenizer (%s): %zu tokens for the four questions, the shortest %zu; want 1 to %d",
                       tokenizer_name(p->tokenizer), total, least, ENGINE_PASS_TOKENS - 1);
    return 0;
}

static int open_words(struct engine *g, const struct plan *p, const struct judge_options *o, struct err *e)
{
    const struct chat_template *chat = NULL;
    const struct gguf *file = checkpoint_gguf(g->checkpoint);
    int rc =
        file ? tokenizer_from_gguf(&g->tokenizer, file, e) : tokenizer_open(&g->tokenizer, p->where.base, e);
    if (!rc)
        rc = choose_chat(&chat, p, o, e);
    if (!rc && !chat)
        rc = file ? chat_from_gguf(&chat, file, g->tokenizer, e)
                  : chat_open(&chat, p->where.base, g->tokenizer, e);
    if (!rc)
        rc = prompt_init(&g->prompt, g->tokenizer, chat, ENGINE_POST_TOKENS, e);
    return rc ? rc : check_prompt(&g->prompt, e);
}

static int open_calibration(struct engine *g, const struct plan *p, const struct judge_options *o,
                            struct err *e)
{
    const struct calibration *c = &g->calibration;
    const char *other = NULL;
    calibration_none(&g->calibration);
    if (!p->calibration || o->recalibrate)
        return 0;
    const char *file = p->calibration->fields.file;
    int rc = calibration_read(&g->calibration, file, fields_get(&p->calibration->fields, "calibration"), e);
    if (rc)
        return rc;
    if (strcmp(c->prompt_sha256, g->prompt.sha256) != 0)
        other = "another prompt";
    else if (strcmp(c->model_sha256, g->model_sha256) != 0)
        other = "another model";
    else if (strcmp(c->adapter_sha256, g->adapter_sha256) != 0)
        other = "another adapter, or none";
    return other
               ? err_set(e, ERR_STATE, "%s: calibrated for %s; run gyeol train calibrate again", file, other)
               : 0;
}

/* Positions that a post and its branches may reach behind the instruction. */
static size_t positions(const struct prompt *p)
{
    size_t longest = 0;
    for (int a = 0; a < AXES; a++)
        longest = p->branch[a].n > longest ? p->branch[a].n : longest;
    size_t n = p->prefix.n + prompt_post_max(p) + longest;
    return n > POSITIONS ? n : POSITIONS;
}

static int open_session(struct engine *g, int threads, struct err *e)
{
    const struct session_options so = {ENGINE_PASS_TOKENS, positions(&g->prompt), threads};
    if (so.positions > POSITIONS_MAX)
        return err_set(e, ERR_LIMIT,
                       "tokenizer (%s): %zu tokens for the instruction, want at most %d altogether",
                       tokenizer_name(g->tokenizer), g->prompt.prefix.n, POSITIONS_MAX);
    int rc = session_new(&g->session, g->model, &so, e);
    if (rc)
        return rc;
    session_set_adapter(g->session, g->adapter);
    return kv_new(&g->prefix, g->model, NULL, g->prompt.prefix.n, false, e);
}

int engine_refresh(struct engine *g, struct err *e)
{
    float *hidden = malloc(g->model->config.width * sizeof *hidden);
    kv_truncate(g->prefix, 0);
    int rc = hidden
                 ? session_prefill(g->session, g->prefix, g->prompt.prefix.id, g->prompt.prefix.n, hidden, e)
                 : err_set(e, ERR_MEMORY, "out of memory");
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
    int rc = open_checkpoint(&g->checkpoint, p, e);
    g->open_ms[0] = lap(&at);
    if (!rc) /* before the weights: nothing is packed for a model that cannot be asked */
        rc = open_words(g, p, o, e);
    g->open_ms[1] = lap(&at);
    if (!rc)
        rc = open_weights(g, p, o, e);
    g->open_ms[0] += lap(&at);
    if (!rc)
        rc = open_adapter(g, p, e);
    if (!rc)
        rc = open_calibration(g, p, o, e);
    g->open_ms[2] = lap(&at);
    if (!rc)
        rc = open_session(g, o->threads, e);
    if (!rc)
        rc = engine_refresh(g, e);
    g->open_ms[3] = lap(&at);
    return rc;
}

/* The last part of a path, whatever slashes end it. */
static char *name_of(const char *path)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    return begin < end ? strndup(path + begin, end - begin) : strdup(path);
}

int engine_open(struct engine **out, const struct judge_options *o, struct err *e)
{
    struct engine *g = calloc(1, sizeof *g);
    struct plan plan = {0};
    *out = NULL;
    if (g)
        g->name = name_of(o->model ? o->model : EMBEDDED_NAME);
    int rc = g && g->name ? make_plan(&plan, o, e) : err_set(e, ERR_MEMORY, "out of memory");
    if (!rc)
        rc = open_parts(g, &plan, o, e);
    if (!rc) {
        g->home = plan.home->file;
        plan.home->file = NULL;
        *out = g;
    } else {
        engine_close(g);
    }
    plan_deinit(&plan);
    return rc;
}

int engine_over(struct engine **out, struct model *m, struct adapter *a, struct tokenizer *t,
                const struct chat_template *chat, int threads, struct err *e)
{
    struct engine *g = calloc(1, sizeof *g);
    *out = NULL;
    if (!g)
        return err_set(e, ERR_MEMORY, "out of memory");
    g->borrowed = true;
    g->model = m;
    g->adapter = a;
    g->tokenizer = t;
    calibration_none(&g->calibration);
    g->name = strdup("the model in training");
    int rc = g->name ? prompt_init(&g->prompt, t, chat, ENGINE_POST_TOKENS, e)
                     : err_set(e, ERR_MEMORY, "out of memory");
    if (!rc)
        rc = check_prompt(&g->prompt, e);
    if (!rc)
        rc = open_session(g, threads, e);
    if (rc)
        engine_close(g);
    else
        *out = g;
    return rc;
}

void engine_close(struct engine *g)
{
    if (!g)
        return;
    kv_free(g->prefix);
    session_free(g->session);
    prompt_deinit(&g->prompt);
    peft_close(g->peft);
    if (!g->borrowed) {
        tokenizer_close(g->tokenizer);
        adapter_close(g->adapter);
        model_close(g->model);
    }
    checkpoint_close(g->checkpoint);
    free(g->name);
    free(g->home);
    free(g);
}

int engine_save_calibration(const struct engine *g, struct err *e)
{
    if (!g->home)
        return err_set(e, ERR_STATE, "%s: has no file that could keep a calibration", g->name);
    json_t *changes = json_pack("{s:o*}", "calibration", calibration_json(&g->calibration));
    int rc = json_object_size(changes) ? notes_update(g->home, changes, e)
                                       : err_set(e, ERR_MEMORY, "out of memory");
    json_decref(changes);
    return rc;
}
