/* Three fences around what people wrote. Markers are neutralised in the text. Control tokens are not looked
 * for when it is encoded. And because a tokenizer may normalise (a full-width bracket back to a bracket) or
 * match added tokens in any text, what came out is looked at: text is cut within a forbidden token and its
 * pieces encoded apart, and a marker that only the tokens' own text shows loses the token that completes it.
 */
#include "judge/inset.h"

#include "text/align.h"

#include <string.h>

enum {
    ROUNDS = 6, /* of cutting, of taking out; after that whatever is left goes */
};

/* ---- our own words ---- */

static bool begins_with(const struct tokens *t, size_t from, const struct tokens *head)
{
    return t->n - from >= head->n && memcmp(t->id + from, head->id, head->n * sizeof *head->id) == 0;
}

/* SentencePiece puts a space before every text it is given. In mid-prompt none belongs there, so the text is
 * given behind a line break whose tokens are known. */
static int encode(const struct inset *s, const char *text, size_t n, bool special, struct tokens *out,
                  struct err *e)
{
    if (!s->newline.n)
        return tokenizer_encode(s->tokenizer, text, n, special, out, e);
    struct buf b = {0};
    buf_add(&b, "\n", 1);
    buf_add(&b, text, n);
    size_t from = out->n;
    int rc = buf_check(&b, "a prompt's words", e);
    if (!rc)
        rc = tokenizer_encode(s->tokenizer, b.data, b.len, special, out, e);
    buf_deinit(&b);
    if (rc)
        return rc;
    if (!begins_with(out, from,
                     &s->newline)) { /* the line break merged with the text: then with the prefix */
        out->n = from;
        return tokenizer_encode(s->tokenizer, text, n, special, out, e);
    }
    memmove(out->id + from, out->id + from + s->newline.n, (out->n - from - s->newline.n) * sizeof *out->id);
    out->n -= s->newline.n;
    return 0;
}

int inset_words(const struct inset *s, const char *words, struct tokens *out, struct err *e)
{
    return encode(s, words, strlen(words), true, out, e);
}

/* ---- making one ---- */

static int find_forbidden(struct inset *s, struct err *e)
{
    const struct chat_template *c;
    int rc = 0;
    for (size_t i = 0; !rc && (c = chat_at(i)); i++)
        for (int m = 0; !rc && m < CHAT_MARKERS_MAX && c->marker[m]; m++) {
            int32_t id = tokenizer_find(s->tokenizer, c->marker[m], strlen(c->marker[m]));
            /* Another family's marker is a word like others unless it was added as a whole. */
            if (id >= 0 && (c == s->chat || tokenizer_kind(s->tokenizer, id) == TOKEN_USER) &&
                !inset_forbids(s, id))
                rc = tokens_add(&s->forbidden, id, e);
        }
    return rc;
}

/* Does encoding begin a text with a space of its own? Then the first piece of "a" is "\u2581..." or " ...".
 */
static int find_prefix(struct inset *s, struct err *e)
{
    struct tokens t = {0};
    int rc = tokenizer_encode(s->tokenizer, "a", 1, false, &t, e);
    if (!rc && t.n) {
        size_t n;
        const char *piece = tokenizer_piece(s->tokenizer, t.id[0], &n);
        s->anchor = t.id[t.n - 1];
        if (n >= 3 && memcmp(piece, "\xE2\x96\x81", 3) == 0)
            rc = tokenizer_encode(s->tokenizer, "\n", 1, false, &s->newline, e);
    }
    tokens_deinit(&t);
    return rc;
}

int inset_init(struct inset *s, const struct tokenizer *t, const struct chat_template *c, struct err *e)
{
    *s = (struct inset){.tokenizer = t, .chat = c, .anchor = -1};
    int rc = find_prefix(s, e);
    if (!rc)
        rc = find_forbidden(s, e);
    if (!rc)
        rc = encode(s, " ", 1, false, &s->space, e);
    if (rc)
        inset_deinit(s);
    return rc;
}

void inset_deinit(struct inset *s)
{
    tokens_deinit(&s->newline);
    tokens_deinit(&s->space);
    tokens_deinit(&s->forbidden);
}

bool inset_forbids(const struct inset *s, int32_t id)
{
    if (tokenizer_kind(s->tokenizer, id) == TOKEN_CONTROL)
        return true;
    for (size_t i = 0; i < s->forbidden.n; i++)
        if (s->forbidden.id[i] == id)
            return true;
    return false;
}

/* ---- untrusted text ---- */

struct job {
    const struct inset *inset;
    struct buf text, map; /* neutralised; for each of its bytes the offset in what came */
    size_t came, limit;
    struct arena *arena;
    struct inset_text *out;
    size_t capacity;
    bool changed; /* the tokens do not say the text byte for byte */
};

/* The text of tokens, and where each one's ends. */
struct spelt {
    struct tokens ids;
    struct buf text;
    size_t *end; /* [ids.n], in the arena */
};

static void spelt_deinit(struct spelt *p)
{
    tokens_deinit(&p->ids);
    buf_deinit(&p->text);
}

static int spell(const struct inset *s, struct spelt *p, struct arena *a, struct err *e)
{
    struct buf b = {0};
    int32_t pair[2] = {s->anchor, 0};
    int rc = 0;
    p->end = arena_alloc(a, p->ids.n + 1, sizeof *p->end);
    if (!p->end)
        rc = err_set(e, ERR_MEMORY, "out of memory for %zu tokens", p->ids.n);
    if (!rc && s->anchor >= 0)
        rc = tokenizer_decode(s->tokenizer, pair, 1, false, &b, e);
    size_t head = b.len;
    buf_reset(&p->text);
    for (size_t i = 0; !rc && i < p->ids.n; i++) {
        buf_reset(&b);
        pair[1] = p->ids.id[i];
        rc = s->anchor < 0 ? tokenizer_decode(s->tokenizer, pair + 1, 1, false, &b, e)
                           : tokenizer_decode(s->tokenizer, pair, 2, false, &b, e);
        if (!rc && b.len > head)
            buf_add(&p->text, b.data + head, b.len - head);
        p->end[i] = p->text.len;
    }
    if (!rc)
        rc = buf_check(&p->text, "a post's tokens", e);
    buf_deinit(&b);
    return rc;
}

static size_t token_at(const struct spelt *p, size_t byte)
{
    size_t lo = 0, hi = p->ids.n - 1;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (p->end[mid] > byte)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

static int emit(struct job *j, int32_t id, size_t begin, size_t end, bool whole, struct err *e)
{
    struct inset_text *out = j->out;
    const uint32_t *map = (const uint32_t *)(const void *)j->map.data;
    if (out->n == j->capacity) {
        size_t more = j->capacity ? 2 * j->capacity : 64;
        struct inset_token *t = arena_alloc(j->arena, more, sizeof *t);
        if (!t)
            return err_set(e, ERR_MEMORY, "out of memory for %zu tokens", more);
        if (out->n)
            memcpy(t, out->token, out->n * sizeof *t);
        out->token = t;
        j->capacity = more;
    }
    uint32_t last = (uint32_t)j->came;
    out->token[out->n++] = (struct inset_token){id, begin < j->text.len ? map[begin] : last,
                                                end < j->text.len ? map[end] : last, whole};
    return 0;
}

/* Bytes of a range of the text that token i of p stands for. */
struct range {
    size_t begin, end;
};

struct ranges {
    uint32_t *begin, *end; /* per byte of p's text */
};

static struct range range_of(const struct spelt *p, const struct ranges *r, size_t i)
{
    size_t from = i ? p->end[i - 1] : 0, to = p->end[i];
    if (from == to) {
        size_t here = from ? r->end[from - 1] : 0;
        return (struct range){here, here};
    }
    return (struct range){r->begin[from], r->end[to - 1]};
}

static int align(const struct job *j, const struct spelt *p, const char *text, size_t n, struct ranges *r,
                 struct err *e)
{
    r->begin = arena_alloc(j->arena, p->text.len + 1, sizeof *r->begin);
    r->end = arena_alloc(j->arena, p->text.len + 1, sizeof *r->end);
    if (!r->begin || !r->end)
        return err_set(e, ERR_MEMORY, "out of memory for a text of %zu bytes", n);
    return align_texts(p->text.data ? p->text.data : "", p->text.len, text, n, r->begin, r->end, j->arena, e);
}

static int encode_range(struct job *j, size_t begin, size_t end, int round, struct err *e);

/* Cuts in the middle of every forbidden token; one that stands for a single character is left out with it. */
static int cut_forbidden(struct job *j, const struct spelt *p, const struct ranges *r, size_t begin,
                         size_t end, int round, struct err *e)
{
    const char *text = j->text.data + begin;
    size_t done = 0;
    int rc = 0;
    for (size_t i = 0; !rc && i < p->ids.n; i++) {
        if (!inset_forbids(j->inset, p->ids.id[i]))
            continue;
        struct range at = range_of(p, r, i);
        size_t stop = (at.begin + at.end) / 2, next;
        while (stop < at.end && (text[stop] & 0xC0) == 0x80)
            stop++;
        next = stop;
        if (stop <= at.begin || stop >= at.end)
            stop = at.begin, next = at.end, j->changed = true;
        if (stop > done)
            rc = encode_range(j, begin + done, begin + stop, round + 1, e);
        if (next > done)
            done = next;
    }
    if (!rc && begin + done < end)
        rc = encode_range(j, begin + done, end, round + 1, e);
    return rc;
}

static bool has_forbidden(const struct inset *s, const struct tokens *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (inset_forbids(s, t->id[i]))
            return true;
    return false;
}

static int emit_all(struct job *j, const struct spelt *p, size_t begin, size_t end, struct err *e)
{
    struct ranges r;
    const char *text = j->text.data + begin;
    int rc = align(j, p, text, end - begin, &r, e);
    if (p->text.len != end - begin || memcmp(p->text.data, text, p->text.len) != 0)
        j->changed = true;
    for (size_t i = 0; !rc && i < p->ids.n && j->out->n <= j->limit; i++) {
        struct range at = range_of(p, &r, i);
        bool whole = p->end[i] == p->text.len || (p->text.data[p->end[i]] & 0xC0) != 0x80;
        if (inset_forbids(j->inset, p->ids.id[i])) /* after the last round some may be left */
            j->changed = true;
        else
            rc = emit(j, p->ids.id[i], begin + at.begin, begin + at.end, whole, e);
    }
    return rc;
}

static int encode_range(struct job *j, size_t begin, size_t end, int round, struct err *e)
{
    if (j->out->n > j->limit)
        return 0;
    struct spelt p = {0};
    struct ranges r;
    const char *text = j->text.data + begin;
    size_t n = end - begin;
    int rc = encode(j->inset, text, n, false, &p.ids, e);
    if (!rc)
        rc = spell(j->inset, &p, j->arena, e);
    if (!rc && round < ROUNDS && has_forbidden(j->inset, &p.ids)) {
        rc = align(j, &p, text, n, &r, e);
        if (!rc)
            rc = cut_forbidden(j, &p, &r, begin, end, round, e);
    } else if (!rc) {
        rc = emit_all(j, &p, begin, end, e);
    }
    spelt_deinit(&p);
    return rc;
}

/* Of the tokens in whose text a marker is completed each becomes a space, or nothing. *clean: there was none. */
static int take_out_markers(struct job *j, const struct spelt *p, bool *clean, struct err *e)
{
    const struct inset *s = j->inset;
    struct inset_text *t = j->out;
    bool *bad = arena_alloc(j->arena, t->n + 1, sizeof *bad);
    size_t at, kept = 0;
    if (!bad)
        return err_set(e, ERR_MEMORY, "out of memory for %zu tokens", t->n);
    *clean = true;
    for (size_t from = 0; chat_marker_find(s->chat, p->text.data, p->text.len, from, &at); from = at + 1) {
        bad[token_at(p, at)] = true;
        *clean = false;
    }
    for (size_t i = 0; i < t->n; i++) {
        if (bad[i] && s->space.n == 1)
            t->token[i].id = s->space.id[0];
        if (!bad[i] || s->space.n == 1)
            t->token[kept++] = t->token[i];
    }
    t->n = kept;
    return 0;
}

/* Neutralised text holds no marker, so only where the tokens say something else need they be searched. Taking one out
 * may complete another, but each time there is less left to make one of. */
static int clean_markers(struct job *j, struct err *e)
{
    bool clean = !j->changed;
    int rc = 0;
    for (int round = 0; !rc && !clean && round < ROUNDS && j->out->n; round++) {
        struct spelt p = {0};
        for (size_t i = 0; !rc && i < j->out->n; i++)
            rc = tokens_add(&p.ids, j->out->token[i].id, e);
        if (!rc)
            rc = spell(j->inset, &p, j->arena, e);
        if (!rc)
            rc = take_out_markers(j, &p, &clean, e);
        spelt_deinit(&p);
    }
    if (!clean)
        j->out->n = 0;
    return rc;
}

/* Characters that no token is left of go with the token behind them, at the end with the last. */
static void cover(struct inset_text *t, size_t came)
{
    uint32_t to = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (t->token[i].begin > to)
            t->token[i].begin = to;
        if (t->token[i].end > to)
            to = t->token[i].end;
    }
    if (t->n && !t->cut)
        t->token[t->n - 1].end = (uint32_t)came;
}

int inset_untrusted(const struct inset *s, const char *text, size_t n, bool spaced, size_t limit,
                    struct arena *a, struct inset_text *out, struct err *e)
{
    struct job j = {.inset = s, .came = n, .limit = limit, .arena = a, .out = out};
    uint32_t zero = 0;
    *out = (struct inset_text){0};
    if (n == 0)
        return 0;
    if (n > UINT32_MAX / 4)
        return err_set(e, ERR_LIMIT, "text of %zu bytes: at most %u", n, UINT32_MAX / 4);
    if (spaced) {
        buf_add(&j.text, " ", 1);
        buf_add(&j.map, &zero, sizeof zero);
    }
    chat_neutralise(s->chat, text, n, &j.text, &j.map);
    int rc = buf_check(&j.text, "a post", e);
    if (!rc)
        rc = buf_check(&j.map, "a post", e);
    if (!rc)
        rc = encode_range(&j, 0, j.text.len, 0, e);
    if (!rc)
        rc = clean_markers(&j, e);
    if (!rc && out->n > limit) {
        out->cut = true;
        out->n = limit;
        while (out->n && !out->token[out->n - 1].whole)
            out->n--;
    }
    cover(out, n);
    buf_deinit(&j.text);
    buf_deinit(&j.map);
    return rc;
}
