#include "judge/peraxis.h"

#include "base/when.h"
#include "judge/engine.h"
#include "model/generate.h"
#include "text/utf8.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct peraxis {
    struct judge base;
    struct engine *engine;
    pthread_mutex_t lock;
    float *hidden; /* [D] */
};

bool peraxis_parse(const char *answer, size_t n, enum decision *out)
{
    static const struct {
        const char *word;
        enum decision decision;
    } words[] = {{"상승", DECISION_UP}, {"유지", DECISION_KEEP}, {"하락", DECISION_DOWN}};
    size_t i = 0;
    while (i < n && strchr(" \t\r\n\"'*`", answer[i]) && answer[i])
        i++;
    for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
        size_t len = strlen(words[w].word);
        if (n - i < len || memcmp(answer + i, words[w].word, len) != 0)
            continue;
        /* A letter or a Hangul syllable right after it makes another word of it. */
        unsigned char next = i + len < n ? (unsigned char)answer[i + len] : ' ';
        if (next >= 0x80 || (next >= '0' && next <= '9') || ((next | 32) >= 'a' && (next | 32) <= 'z'))
            return false;
        *out = words[w].decision;
        return true;
    }
    return false;
}

/* --- generating an answer */

struct answer {
    const struct engine *engine;
    struct buf text;
    size_t tokens;
    int rc;
    struct err *e;
};

static bool stopped(const struct answer *a)
{
    const struct chat_template *c = a->engine->prompt.chat;
    for (int i = 0; c->stop[i]; i++)
        if (a->text.data && strstr(a->text.data, c->stop[i]))
            return true;
    return false;
}

static bool add_token(void *context, int32_t id)
{
    struct answer *a = context;
    const struct config *c = &a->engine->model->config;
    a->tokens++;
    if (id == c->eos || id == tokenizer_eos(a->engine->tokenizer))
        return false;
    a->rc = tokenizer_decode(a->engine->tokenizer, &id, 1, true, &a->text, a->e);
    return !a->rc && !stopped(a);
}

static int ask(struct peraxis *j, enum axis axis, const struct judge_input *in, struct answer *a,
               struct err *e)
{
    const struct engine *g = j->engine;
    struct tokens ids = {0};
    struct kv *kv = NULL;
    const struct generate_options o = {.max_tokens = ENGINE_ANSWER_MAX};
    int rc = prompt_question(&g->prompt, axis, in->text, in->mission, &ids, e);
    if (!rc)
        rc = kv_new(&kv, g->model, NULL, ids.n + ENGINE_ANSWER_MAX, false, e);
    if (!rc)
        rc = session_prefill(g->session, kv, ids.id, ids.n, j->hidden, e);
    if (!rc)
        rc = session_generate(g->session, kv, j->hidden, &o, add_token, a, e);
    kv_free(kv);
    tokens_deinit(&ids);
    return rc ? rc : a->rc;
}

static int judge_axis(struct peraxis *j, enum axis axis, const struct judge_input *in,
                      struct judge_verdict *out, struct err *e)
{
    struct answer a = {.engine = j->engine, .e = e};
    struct judge_axis *x = &out->axis[axis];
    int rc = ask(j, axis, in, &a, e);
    *x = (struct judge_axis){.decision = DECISION_KEEP};
    if (!rc && !peraxis_parse(a.text.data ? a.text.data : "", a.text.len, &x->decision)) {
        x->decision = DECISION_KEEP;
        out->unparsed++;
    }
    x->up = x->decision == DECISION_UP;
    x->keep = x->decision == DECISION_KEEP;
    x->down = x->decision == DECISION_DOWN;
    out->generated += a.tokens;
    buf_deinit(&a.text);
    return rc;
}

static int judge_one(const struct judge *base, const struct judge_input *in, struct judge_verdict *out,
                     struct err *e)
{
    struct peraxis *j = (struct peraxis *)base;
    uint64_t start = when_monotonic_ns();
    int rc = 0;
    pthread_mutex_lock(&j->lock);
    for (int a = 0; !rc && a < AXES; a++)
        rc = judge_axis(j, (enum axis)a, in, out, e);
    pthread_mutex_unlock(&j->lock);
    out->judge_ms = (double)(when_monotonic_ns() - start) / 1e6;
    return rc;
}

/* One after another: a pass's memory is shared, and each is threaded in itself. */
static void judge_many(const struct judge *base, const struct judge_input *in, size_t n,
                       struct judge_verdict *out, struct judge_result *result)
{
    for (size_t i = 0; i < n; i++)
        result[i].rc = judge_one(base, &in[i], &out[i], &result[i].error);
}

static void close_judge(struct judge *base)
{
    struct peraxis *j = (struct peraxis *)base;
    engine_close(j->engine);
    pthread_mutex_destroy(&j->lock);
    free(j->hidden);
    free(j);
}

static const struct judge_ops ops = {.judge = judge_one, .judge_many = judge_many, .close = close_judge};

int peraxis_open(struct judge **out, const struct judge_options *o, struct err *e)
{
    struct peraxis *j = calloc(1, sizeof *j);
    *out = NULL;
    if (!j)
        return err_set(e, ERR_MEMORY, "out of memory");
    pthread_mutex_init(&j->lock, NULL);
    int rc = engine_open(&j->engine, o, e);
    if (!rc) {
        j->hidden = malloc(j->engine->model->config.width * sizeof *j->hidden);
        rc = j->hidden ? 0 : err_set(e, ERR_MEMORY, "out of memory");
    }
    if (rc) {
        close_judge(&j->base);
        return rc;
    }
    j->base.ops = &ops;
    j->base.identity.mode = "per-axis";
    j->base.identity.model = j->engine->name;
    memcpy(j->base.identity.model_sha256, j->engine->model_sha256, DIGEST_HEX);
    memcpy(j->base.identity.adapter_sha256, j->engine->adapter_sha256, DIGEST_HEX);
    *out = &j->base;
    return 0;
}
