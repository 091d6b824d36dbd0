/* Which words carried a language model's decisions. First every span's keys are hidden from a fresh branch of
 * each moved axis (the post is not computed again, only the few tokens of the branches); then the two spans
 * whose absence weakened a decision most are truly deleted and the post judged again without them. The words
 * quoted are those whose absence weakens the decision most. Everything together stays within
 * ONEPASS_EVIDENCE_COST judgements' tokens. */
#include "judge/onepass_int.h"
#include "judge/quote.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHARS_FIRST = 12, AGAIN = ONEPASS_SLOTS * AXES /* rows of hidden states */ };

struct span {
    struct quote_span at;
    size_t first, end;   /* tokens of the post */
    float weaker[AXES];  /* how much less the decision's logit is with the span hidden */
    float deleted[AXES]; /* the same with the span deleted */
    bool tried;
};

struct search {
    struct onepass *j;
    const struct request *r;
    size_t slot;
    const struct judge_verdict *verdict;
    struct arena arena;
    struct span *span;
    size_t n;
    int moved[AXES], axes; /* the moved axes */
    float strength[AXES];
    size_t budget; /* tokens left */
};

/* The decided side's logit against both others together. */
static float strength(enum decision d, const float z[3])
{
    int side = d == DECISION_UP ? 0 : 2;
    float other = z[2 - side], keep = z[1], top = fmaxf(other, keep);
    return z[side] - (top + logf(expf(other - top) + expf(keep - top)));
}

static size_t branch_cost(const struct search *s)
{
    size_t n = 0;
    for (int i = 0; i < s->axes; i++)
        n += s->j->engine->prompt.branch[s->moved[i]].n;
    return n;
}

/* Spans as fine as the budget of one judgement allows, at most as long as a quote. */
static int cut_spans(struct search *s, struct err *e)
{
    size_t most = s->r->ids.n / branch_cost(s) + 1, count = 0, chars = CHARS_FIRST;
    struct quote_span *q = NULL;
    for (;; chars = chars * 3 / 2 < QUOTE_CHARS_MAX ? chars * 3 / 2 : QUOTE_CHARS_MAX) {
        int rc = quote_spans(s->r->in->text, chars, &s->arena, &q, &count, e);
        if (rc)
            return rc;
        if (count <= most || chars >= QUOTE_CHARS_MAX)
            break;
    }
    s->span = arena_alloc(&s->arena, count + 1, sizeof *s->span);
    if (!s->span)
        return err_set(e, ERR_MEMORY, "out of memory for %zu spans", count);
    for (size_t i = 0; i < count && i < most; i++)
        s->span[s->n++].at = q[i];
    return 0;
}

static int find_tokens(struct search *s, struct err *e)
{
    struct tokens ids = {0};
    uint32_t *begin = NULL, *end = NULL;
    int rc =
        prompt_post_spans(&s->j->engine->prompt, s->r->in->text, s->r->in->mission, &ids, &begin, &end, e);
    for (size_t i = 0; !rc && i < s->n; i++) {
        struct span *p = &s->span[i];
        p->first = p->end = 0;
        for (size_t t = 0; t < ids.n; t++)
            if (begin[t] < end[t] && begin[t] < p->at.end && end[t] > p->at.begin) {
                p->first = p->end ? p->first : t;
                p->end = t + 1;
            }
    }
    tokens_deinit(&ids);
    free(begin);
    free(end);
    return rc;
}

/* --- hiding */

struct probe {
    struct span *span;
    int axis;
};

static int run_probes(struct search *s, const struct probe *probe, size_t n, struct kv **kv, struct err *e)
{
    struct onepass *j = s->j;
    const struct engine *g = j->engine;
    struct run run[AGAIN];
    size_t wanted[AGAIN], at = 0, start = g->prefix->n;
    for (size_t i = 0; i < n; i++) {
        const struct tokens *b = &g->prompt.branch[probe[i].axis];
        kv_reuse(kv[i], j->slot[s->slot].post);
        run[i] = (struct run){.kv = kv[i],
                              .ids = b->id,
                              .n = b->n,
                              .hide_begin = start + probe[i].span->first,
                              .hide_end = start + probe[i].span->end};
        at += b->n;
        wanted[i] = at - 1;
    }
    struct outputs out = {.wanted = wanted, .wanted_n = n, .hidden = j->hidden};
    int rc = session_forward(g->session, run, n, &out, e);
    if (rc)
        return rc;
    s->budget -= at < s->budget ? at : s->budget;
    session_logits(g->session, &j->verbalisers, j->hidden, n, j->logits, 16);
    for (size_t i = 0; i < n; i++) {
        int a = probe[i].axis;
        float now = strength(s->verdict->axis[a].decision, j->logits + i * 16 + (size_t)a * 3);
        probe[i].span->weaker[a] = s->strength[a] - now;
    }
    return 0;
}

/* Every span that has tokens, for every moved axis. */
static size_t list_probes(const struct search *s, struct probe *probe)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        for (int k = 0; k < s->axes; k++)
            if (s->span[i].first < s->span[i].end)
                probe[n++] = (struct probe){&s->span[i], s->moved[k]};
    return n;
}

static size_t longest_branch(const struct prompt *p)
{
    size_t longest = 0;
    for (int a = 0; a < AXES; a++)
        longest = p->branch[a].n > longest ? p->branch[a].n : longest;
    return longest;
}

static int hide_spans(struct search *s, struct err *e)
{
    struct probe *probe = arena_alloc(&s->arena, s->n * (size_t)s->axes + 1, sizeof *probe);
    struct kv *kv[AGAIN] = {0};
    size_t longest = longest_branch(&s->j->engine->prompt), most = ENGINE_PASS_TOKENS / longest;
    if (!probe)
        return err_set(e, ERR_MEMORY, "out of memory");
    most = most < AGAIN ? most : AGAIN;
    size_t n = list_probes(s, probe);
    int rc = 0;
    for (size_t i = 0; !rc && i < n && i < most; i++)
        rc = kv_new(&kv[i], s->j->engine->model, s->j->slot[s->slot].post, longest, true, e);
    for (size_t i = 0; !rc && i < n; i += most) {
        size_t k = n - i < most ? n - i : most;
        rc = run_probes(s, probe + i, k, kv, e);
    }
    for (size_t i = 0; i < AGAIN; i++)
        kv_free(kv[i]);
    return rc;
}

/* --- deleting */

static struct span *strongest(const struct search *s, int axis, bool untried)
{
    struct span *best = NULL;
    for (size_t i = 0; i < s->n; i++)
        if (s->span[i].first < s->span[i].end && !(untried && s->span[i].tried) &&
            (!best || s->span[i].weaker[axis] > best->weaker[axis]))
            best = &s->span[i];
    return best;
}

/* Judges the text without one span, in a slot of its own, if the budget allows; says nothing of axes that
 * were not moved. It is paid for like the whole judgement; of a post that was cut more of the end fits, so it
 * may even cost more. */
static int delete_span(struct search *s, struct span *p, struct err *e)
{
    const char *text = s->r->in->text;
    size_t n = strlen(text), slot = ONEPASS_SLOTS - 1;
    char *rest = arena_copy(&s->arena, text, n);
    struct judge_input in = {.text = rest, .mission = s->r->in->mission};
    struct request r = {.in = &in};
    bool cut;
    if (!rest)
        return err_set(e, ERR_MEMORY, "out of memory");
    memmove(rest + p->at.begin, text + p->at.end, n - p->at.end + 1);
    int rc = prompt_post(&s->j->engine->prompt, rest, in.mission, &r.ids, &cut, e);
    size_t cost = onepass_cost(s->j, &r), whole = onepass_cost(s->j, s->r);
    cost = cost > whole ? cost : whole;
    p->tried = !rc && cost <= s->budget;
    s->budget -= p->tried ? cost : s->budget;
    if (p->tried)
        rc = onepass_run_at(s->j, &r, 1, slot, e);
    for (int a = 0; !rc && p->tried && a < AXES; a++)
        p->deleted[a] = s->strength[a] - strength(s->verdict->axis[a].decision, r.logits[a]);
    tokens_deinit(&r.ids);
    return rc;
}

/* The best span of every moved axis, then the second best, while there is budget. */
static int delete_spans(struct search *s, struct err *e)
{
    int rc = 0;
    for (int rank = 0; rank < 2; rank++)
        for (int k = 0; !rc && s->budget && k < s->axes; k++) {
            struct span *p = strongest(s, s->moved[k], rank > 0);
            if (p && !p->tried)
                rc = delete_span(s, p, e);
        }
    return rc;
}

/* Of spans truly deleted the one that mattered most; without any, of those hidden. */
static const struct span *choose(const struct search *s, int axis)
{
    const struct span *best = NULL;
    for (size_t i = 0; i < s->n; i++)
        if (s->span[i].tried && (!best || s->span[i].deleted[axis] > best->deleted[axis]))
            best = &s->span[i];
    return best && best->deleted[axis] > 0 ? best : strongest(s, axis, false);
}

static void begin(struct search *s, const struct judge_verdict *v)
{
    for (int a = 0; a < AXES; a++)
        if (v->axis[a].decision != DECISION_KEEP) {
            s->moved[s->axes++] = a;
            s->strength[a] = strength(v->axis[a].decision, s->r->logits[a]);
        }
}

int onepass_evidence(struct onepass *j, const struct request *r, size_t slot, struct judge_verdict *out,
                     struct err *e)
{
    struct search s = {.j = j, .r = r, .slot = slot, .verdict = out};
    begin(&s, out);
    if (!s.axes)
        return 0;
    s.budget = ONEPASS_EVIDENCE_COST * onepass_cost(j, r);
    int rc = cut_spans(&s, e);
    if (!rc)
        rc = find_tokens(&s, e);
    if (!rc && s.n > 1)
        rc = hide_spans(&s, e);
    if (!rc && s.n > 1)
        rc = delete_spans(&s, e);
    for (int k = 0; !rc && k < s.axes; k++) {
        const struct span *p = choose(&s, s.moved[k]);
        if (!p && s.n)
            p = &s.span[0];
        if (p) {
            out->axis[s.moved[k]].quote = p->at.quote_begin;
            out->axis[s.moved[k]].quote_len = p->at.quote_end - p->at.quote_begin;
        }
    }
    arena_deinit(&s.arena);
    return rc;
}
