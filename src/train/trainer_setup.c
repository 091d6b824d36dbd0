/* Opening all that a run needs, and the list of settings that decides about its result. */
#include "base/file.h"
#include "base/log.h"
#include "base/size.h"
#include "compute/kernels.h"
#include "format/chat_file.h"
#include "format/tokenizer_file.h"
#include "judge/notes.h"
#include "model/pack.h"
#include "train/trainer_int.h"
#include "train/world.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONFIG_LIMIT = 1 << 20,
    TEXT_SEQUENCE = 256, /* tokens */
    TEXT_BATCH = 8,
    POSTS_TOKENS = 1024, /* of a pass, besides the instruction, which is a fifth then (180 tokens) */
    POSTS_LEAST = 4,
    POSTS_MOST = 32,
    EVALUATIONS = 6 /* of a run, at least */
};

const char *const trainer_metric_name[2] = {"dev_loss", "direction_accuracy"};

/* What both kinds of run begin with. */
#define DEFAULTS                                                                                             \
    .epochs = 3, .accumulate = 1, .weight_decay = 0.01, .clip = 1, .schedule = SCHEDULE_COSINE,              \
    .warmup = TRAINER_DEFAULT, .optimizer_bits = 32, .seed = 1, .patience = 4, .budget = 0.05,               \
    .compute = TRAINER_DEFAULT

const struct trainer_options trainer_defaults_lora = {
    DEFAULTS, .quant = MODEL_NF4, .lr = TRAINER_DEFAULT,
    .lora = {.rank = 8, .alpha = 16, .dropout = 0.05f, .targets = 0xf}, /* q, k, v, o */
};

const struct trainer_options trainer_defaults_full = {DEFAULTS, .full = true, .quant = MODEL_F32, .lr = 3e-4};

/* ---- the model ---- */

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

static int read_config(struct trainer *t, struct err *e)
{
    char *path, *bytes = NULL;
    size_t n = 0;
    if (asprintf(&path, "%s/config.json", t->o.scratch) < 0)
        return err_set(e, ERR_MEMORY, "out of memory");
    int rc = file_read(&bytes, &n, path, CONFIG_LIMIT, e);
    if (!rc)
        rc = config_from_json(&t->config, path, bytes, n, e);
    if (!rc)
        digest_sha256(t->base_sha256, bytes, n);
    free(bytes);
    free(path);
    return rc;
}

static int open_source(struct trainer *t, struct err *e)
{
    t->words = t->o.scratch;
    if (t->o.scratch)
        return read_config(t, e);
    int rc = source_open(&t->source, t->o.model, "none", e);
    if (rc)
        return rc;
    t->words = t->source.base;
    t->config = *checkpoint_config(t->source.checkpoint);
    if (t->o.full && checkpoint_gguf(t->source.checkpoint))
        return err_set(e, ERR_FORMAT, "%s: want a Hugging Face directory: its tokenizer's files go along",
                       t->source.base);
    return pack_source_sha256(t->base_sha256, t->source.checkpoint, e);
}

/* The template that a path's notes name, as the judge would choose it; *chat stays without. */
static int noted_chat(const struct chat_template **chat, const char *path, struct err *e)
{
    struct notes n;
    const char *name = NULL;
    int rc = notes_read(&n, path, e);
    if (!rc)
        rc = fields_string(&n.fields, "template", &name, e);
    if (!rc && name && !(*chat = chat_find(name)))
        rc = fields_bad(&n.fields, "template", chat_names(), e);
    notes_deinit(&n);
    return rc;
}

/* The option's, the judge directory's, the base's, or the model's own. */
static int choose_chat(struct trainer *t, struct err *e)
{
    int rc = 0;
    t->chat = t->o.chat ? chat_find(t->o.chat) : NULL;
    if (t->o.chat && !t->chat)
        return err_set(e, ERR_USAGE, "--template %.40s: want one of %s", t->o.chat, chat_names());
    if (!t->chat && t->source.base)
        rc = noted_chat(&t->chat, t->o.model, e);
    if (!rc && !t->chat && t->source.base)
        rc = noted_chat(&t->chat, t->source.base, e);
    return rc || t->chat ? rc : chat_open(&t->chat, t->words, t->tokenizer, e);
}

static int open_words(struct trainer *t, struct err *e)
{
    int rc = tokenizer_open(&t->tokenizer, t->words, e);
    if (rc)
        return rc;
    if (tokenizer_size(t->tokenizer) > t->config.vocabulary)
        return err_set(e, ERR_FORMAT, "%s: a tokenizer of %zu tokens, but the model has %u", t->words,
                       tokenizer_size(t->tokenizer), t->config.vocabulary);
    return t->text ? 0 : choose_chat(t, e);
}

enum dtype trainer_compute(void)
{
    return strcmp(kernels_get()->isa, "avx512") == 0 ? DT_BF16 : DT_F32;
}

static int open_weights(struct trainer *t, struct err *e)
{
    enum model_type full = t->o.compute == DT_BF16 ? MODEL_BF16 : MODEL_F32;
    enum model_type type = t->o.full ? full : t->o.quant;
    struct checkpoint *c = t->source.checkpoint;
    t->o.lora.seed = t->o.seed;
    int rc = trainer_fits(t, e);
    if (rc)
        return rc;
    rc = c ? model_load(&t->model, c, type, e) : model_random(&t->model, &t->config, type, t->o.seed, e);
    if (!rc && t->o.full)
        rc = parameters_full(&t->p, t->model, c, t->o.seed, e);
    else if (!rc)
        rc = parameters_lora(&t->p, t->model, &t->o.lora, e);
    if (!rc)
        parameters_sync(t->p, t->model);
    if (!rc && !t->text)
        rc = engine_over(&t->engine, t->model, t->p->adapter, t->tokenizer, t->chat, t->o.threads, e);
    return rc;
}

/* ---- the data ---- */

static int read_posts(struct labelled_posts *p, const char *path, struct err *e)
{
    int rc = labelled_read(p, path, e);
    if (!rc && *p->ignored)
        log_write(LOG_WARN, "%s: ignored columns: %s", path, p->ignored);
    return rc;
}

static int open_posts(struct trainer *t, struct err *e)
{
    const struct corpus_posts_options co = {.class_weights = !t->o.no_class_weights,
                                            .word_dropout = t->o.word_dropout,
                                            .reason_weight = t->o.reason_weight};
    if (!t->o.seq || t->o.seq > ENGINE_POST_TOKENS)
        t->o.seq = ENGINE_POST_TOKENS;
    int rc = read_posts(&t->data, t->o.data, e);
    if (!rc)
        rc = read_posts(&t->dev, t->o.dev, e);
    if (!rc)
        rc = trainer_check_dev(t, e);
    if (!rc)
        rc = prompt_init(&t->prompt, t->tokenizer, t->chat, t->o.seq, e);
    if (rc)
        return rc;
    rc = corpus_posts(&t->corpus, &t->data, &t->prompt, &co, e);
    return rc ? err_prefix(e, "%s: ", t->o.data) : 0;
}

static int open_text(struct trainer *t, struct err *e)
{
    if (!t->o.seq)
        t->o.seq = TEXT_SEQUENCE;
    int rc = corpus_text(&t->corpus, t->o.data, t->tokenizer, t->o.seq, e);
    if (!rc && t->o.dev)
        rc = corpus_text(&t->dev_text, t->o.dev, t->tokenizer, t->o.seq, e);
    return rc;
}

/* The largest power of two whose posts have at most POSTS_TOKENS on the average. */
static size_t choose_batch(const struct trainer *t)
{
    uint64_t tokens = 0;
    size_t n = POSTS_LEAST;
    for (size_t i = 0; i < t->corpus->n; i++)
        tokens += t->corpus->length[i];
    while (!t->text && n < POSTS_MOST && 2 * n * tokens <= POSTS_TOKENS * (uint64_t)t->corpus->n)
        n *= 2;
    return t->text ? TEXT_BATCH : n;
}

/* As QLoRA (Dettmers et al. 2023: 2e-4 for the widest models), and higher for narrow ones, as the best rate of Adam
 * falls with the width (Yang et al. 2022, "Tensor Programs V"). */
static double choose_rate(const struct trainer *t)
{
    double rate = 0.5 / t->config.width;
    return rate < 2e-4 ? 2e-4 : rate > 2e-3 ? 2e-3 : rate;
}

/* Twice an epoch, but not more than a tenth of the time: an item on dev takes about a third of one that is
 * trained on. A short run is evaluated often enough to choose all the same. */
static uint64_t choose_eval_every(const struct trainer *t)
{
    uint64_t whole = (uint64_t)t->o.batch * t->o.accumulate, every = t->per_epoch / 2;
    uint64_t dev = t->text ? (t->dev_text ? t->dev_text->n : 0) : t->dev.n;
    uint64_t tenth = rounded_up(10 * dev, 3 * whole), most = rounded_up(t->steps, EVALUATIONS);
    every = every > tenth ? every : tenth;
    every = every < most ? every : most;
    return every ? every : 1;
}

static int count_steps(struct trainer *t, struct err *e)
{
    struct trainer_options *o = &t->o;
    if (!t->corpus->n)
        return err_set(e, ERR_FORMAT, "%s: nothing to learn from", o->data);
    if (!o->batch)
        o->batch = choose_batch(t);
    t->per_epoch = rounded_up(t->corpus->n, (uint64_t)o->batch * o->accumulate);
    if (o->steps)
        t->steps = o->steps;
    else if (__builtin_mul_overflow(o->epochs, t->per_epoch, &t->steps))
        return err_set(e, ERR_LIMIT, "--epochs: more steps than can be counted");
    if (!o->eval_every)
        o->eval_every = choose_eval_every(t);
    if (!o->save_every)
        o->save_every = o->eval_every;
    if (o->lr < 0)
        o->lr = choose_rate(t);
    if (o->warmup == TRAINER_DEFAULT)
        o->warmup = (int64_t)(t->steps * 3 / 100);
    t->order = calloc(t->corpus->n, sizeof *t->order);
    t->order_epoch = NEVER;
    return t->order ? 0 : err_set(e, ERR_MEMORY, "out of memory for %zu items", t->corpus->n);
}

/* ---- the tape: room for the largest items together ---- */

struct largest {
    uint32_t *v;
    size_t n;
};

static int descending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x < y) - (x > y);
}

static size_t sum_of_largest(uint32_t *v, size_t n, size_t k)
{
    size_t sum = 0;
    qsort(v, n, sizeof *v, descending);
    for (size_t i = 0; i < n && i < k; i++)
        sum += v[i];
    return sum;
}

/* Builds every item once: what cannot be built shows before the first step. size: [3][n] tokens, runs,
 * targets. */
static int measure(struct trainer *t, const struct corpus *c, uint32_t *size, struct err *e)
{
    size_t shared = c->prefix ? 1 : 0;
    for (uint32_t i = 0; i < c->n; i++) {
        batch_clear(&t->batch);
        int rc = corpus_batch(c, &i, 1, 1, &t->batch, e);
        if (rc)
            return rc;
        size[i] = (uint32_t)(t->batch.n_tokens - c->prefix);
        size[c->n + i] = (uint32_t)(t->batch.n_runs - shared);
        size[2 * c->n + i] = (uint32_t)t->batch.n_targets;
        t->tokens += size[i];
    }
    return 0;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static int widen(struct trainer *t, const struct corpus *c, struct err *e)
{
    struct tape_options *w = &t->capacity;
    uint32_t *size = c->n ? calloc(c->n, 3 * sizeof *size) : NULL;
    int rc = size ? measure(t, c, size, e) : err_set(e, ERR_MEMORY, "out of memory for %zu items", c->n);
    if (!rc) {
        uint32_t longest = 0;
        for (size_t i = 0; i < c->n; i++)
            longest = size[i] > longest ? size[i] : longest;
        w->positions = larger(w->positions, c->prefix + longest);
        w->tokens = larger(w->tokens, c->prefix + sum_of_largest(size, c->n, t->o.batch));
        w->runs = larger(w->runs, 1 + sum_of_largest(size + c->n, c->n, t->o.batch));
        w->targets = larger(w->targets, sum_of_largest(size + 2 * c->n, c->n, t->o.batch));
    }
    free(size);
    return rc;
}

static int size_tape(struct trainer *t, struct err *e)
{
    double passes = (double)rounded_up(t->corpus->n, t->o.batch);
    int rc = widen(t, t->corpus, e);
    t->tokens += passes * (double)t->corpus->prefix;
    if (!rc && t->dev_text) {
        double tokens = t->tokens;
        rc = t->dev_text->n ? widen(t, t->dev_text, e)
                            : err_set(e, ERR_FORMAT, "%s: nothing to measure on", t->o.dev);
        t->tokens = tokens;
    }
    t->capacity.compute = (enum dtype)t->o.compute;
    t->capacity.checkpointing = t->o.checkpointing;
    t->capacity.threads = t->o.threads;
    t->capacity.seed = t->o.seed;
    return rc;
}

static int open_tape(struct trainer *t, struct err *e)
{
    const struct adamw_options ao = {0.9, 0.999, 1e-8, t->o.weight_decay, t->o.optimizer_bits};
    int rc = tape_new(&t->tape, t->model, t->p, &t->capacity, e);
    if (!rc)
        rc = adamw_new(&t->adam, t->p->count, &ao, e);
    t->best = rc ? NULL : calloc(t->p->count, sizeof *t->best);
    return rc || t->best ? rc : err_set(e, ERR_MEMORY, "out of memory for the best parameters");
}

/* ---- the settings ---- */

static void put(struct trainer *t, const char *name, bool number, const char *fmt, ...) PRINTF_LIKE(4, 5);

static void put(struct trainer *t, const char *name, bool number, const char *fmt, ...)
{
    char text[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (t->settings < TRAINER_SETTINGS) /* one too many shows as a missing value: trainer_list_settings */
        t->setting[t->settings] =
            (struct output_setting){name, arena_copy(&t->arena, text, strlen(text)), number};
    t->settings++;
}

/* As few digits as read back to the same number. */
static void put_real(struct trainer *t, const char *name, double v)
{
    char text[32];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    put(t, name, true, "%s", text);
}

static void put_single(struct trainer *t, const char *name, float v)
{
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v)
            break;
    }
    put(t, name, true, "%s", text);
}

static void put_targets(struct trainer *t)
{
    static const char *const name[LINEARS] = {"q", "k", "v", "o", "gate", "up", "down"};
    char text[64] = "";
    for (int i = 0; i < LINEARS; i++)
        if (t->o.lora.targets >> i & 1) {
            size_t n = strlen(text);
            snprintf(text + n, sizeof text - n, "%s%s", n ? "," : "", name[i]);
        }
    put(t, "targets", false, "%s", text);
}

static void put_lora(struct trainer *t)
{
    put(t, "quant", false, "%s", model_type_name[t->o.quant]);
    put(t, "rank", true, "%u", t->o.lora.rank);
    put_single(t, "alpha", t->o.lora.alpha);
    put(t, "rslora", false, "%s", t->o.lora.rslora ? "yes" : "no");
    put_single(t, "dropout", t->o.lora.dropout);
    put_targets(t);
}

static void put_loop(struct trainer *t)
{
    static const char *const schedule[] = {"cosine", "linear", "constant"};
    const struct trainer_options *o = &t->o;
    put(t, "steps", true, "%" PRIu64, t->steps);
    put(t, "batch", true, "%zu", o->batch);
    put(t, "accumulate", true, "%zu", o->accumulate);
    put(t, "seq", true, "%zu", o->seq);
    put_real(t, "lr", o->lr);
    put(t, "schedule", false, "%s", schedule[o->schedule]);
    put(t, "warmup", true, "%" PRId64, o->warmup);
    put_real(t, "weight-decay", o->weight_decay);
    put_real(t, "clip", o->clip);
    put(t, "optimizer-bits", true, "%d", o->optimizer_bits);
    put(t, "compute", false, "%s", dtype_info[o->compute].name);
    put(t, "checkpointing", false, "%s", o->checkpointing ? "yes" : "no");
    put(t, "seed", true, "%" PRIu64, o->seed);
    put(t, "eval-every", true, "%" PRIu64, o->eval_every);
    put(t, "patience", true, "%" PRIu64, o->patience);
    put(t, "metric", false, "%s", trainer_metric_name[o->metric]);
    put(t, "processes", true, "%d", world_size());
}

static void put_fingerprints(struct trainer *t)
{
    put(t, "method", false, "%s", t->o.full ? "full" : "lora");
    put(t, t->o.scratch ? "scratch" : "model", false, "%s", t->base_sha256);
    put(t, "data", false, "%s", t->text ? t->corpus->sha256 : t->data.sha256);
    if (t->o.dev)
        put(t, "dev", false, "%s", t->text ? t->dev_text->sha256 : t->dev.sha256);
    if (!t->text)
        put(t, "prompt", false, "%s", t->prompt.sha256);
    t->fingerprints = t->settings;
}

int trainer_list_settings(struct trainer *t, struct err *e)
{
    put_fingerprints(t);
    if (!t->o.full)
        put_lora(t);
    if (!t->text) {
        put(t, "template", false, "%s", t->chat->name);
        put_real(t, "word-dropout", t->o.word_dropout);
        put_real(t, "reason-weight", t->o.reason_weight);
        put(t, "class-weights", false, "%s", t->o.no_class_weights ? "no" : "yes");
        put_real(t, "budget", t->o.budget);
    }
    put_loop(t);
    bool whole = t->settings <= TRAINER_SETTINGS;
    for (size_t i = 0; whole && i < t->settings; i++)
        whole = t->setting[i].value != NULL;
    return whole ? 0 : err_set(e, ERR_MEMORY, "out of memory for the settings");
}

/* ---- all of it ---- */

static int check(const struct trainer *t, struct err *e)
{
    const struct trainer_options *o = &t->o;
    if (t->text && !o->full)
        return err_set(e, ERR_USAGE, "--data %.200s: text is for gyeol train full; want labelled posts",
                       o->data);
    if (!t->text && !o->dev)
        return err_set(e, ERR_USAGE, "--dev is missing: a judge is chosen and calibrated on it");
    if (o->dev && ends_with(o->dev, ".txt") != t->text)
        return err_set(e, ERR_USAGE, "--dev %.200s: want %s, like --data", o->dev,
                       t->text ? "text (.txt)" : "labelled posts");
    if (t->text && o->metric != TRAINER_DEV_LOSS)
        return err_set(e, ERR_USAGE, "--metric %s: text has only dev_loss", trainer_metric_name[o->metric]);
    return 0;
}

int trainer_open(struct trainer *t, struct err *e)
{
    t->text = ends_with(t->o.data, ".txt");
    if (t->o.compute == TRAINER_DEFAULT)
        t->o.compute = (int)trainer_compute();
    t->evaluated = t->saved = t->best_step = NEVER;
    t->best_record = OUTPUT_NO_BEST;
    int rc = check(t, e);
    if (!rc)
        rc = open_source(t, e);
    if (!rc)
        rc = open_words(t, e);
    if (!rc)
        rc = t->text ? open_text(t, e) : open_posts(t, e);
    if (!rc)
        rc = count_steps(t, e);
    if (!rc)
        rc = size_tape(t, e);
    if (!rc)
        rc = open_weights(t, e);
    if (!rc)
        rc = trainer_fits(t, e);
    if (!rc)
        rc = open_tape(t, e);
    if (!rc)
        rc = trainer_list_settings(t, e);
    return rc;
}

void trainer_release(struct trainer *t)
{
    engine_close(t->engine);
    tape_free(t->tape);
    adamw_free(t->adam);
    parameters_free(t->p);
    model_close(t->model);
    free(t->best);
    t->engine = NULL;
    t->tape = NULL;
    t->adam = NULL;
    t->p = NULL;
    t->model = NULL;
    t->best = NULL;
}

void trainer_close(struct trainer *t)
{
    trainer_release(t);
    corpus_close(t->corpus);
    corpus_close(t->dev_text);
    batch_deinit(&t->batch);
    labelled_deinit(&t->data);
    labelled_deinit(&t->dev);
    prompt_deinit(&t->prompt);
    tokenizer_close(t->tokenizer);
    source_close(&t->source);
    free(t->order);
    free(t->record);
    arena_deinit(&t->arena);
}
