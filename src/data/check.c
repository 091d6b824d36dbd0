#include "data/check.h"

#include "base/size.h"
#include "data/near.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

const char *const check_kind_name[CHECK_KINDS] = {"exact-within", "exact-across", "near-within",
                                                  "near-across",  "phrase",       "person",
                                                  "type-name",    "email",        "phone"};

struct row {
    const struct labelled_post *post;
    uint32_t file;
    struct near_text text;
};

struct work {
    struct row *row;        /* of all files, in order */
    struct near_text *text; /* the same texts side by side, for near_pairs */
    size_t n;
    struct check_report *out;
    struct arena arena;
};

/* ---- findings ---- */

static struct check_place place(const struct row *r)
{
    return (struct check_place){r->file, r->post->line};
}

/* NULL once enough are kept. */
static struct check_finding *add(struct check_report *r, enum check_kind kind, const struct row *at,
                                 const struct row *other)
{
    if (r->count[kind]++ >= CHECK_STORED)
        return NULL;
    struct check_finding *f = &r->finding[kind][r->stored[kind]++];
    *f = (struct check_finding){.at = place(at), .other = place(other)};
    return f;
}

static int tell(struct check_report *r, struct check_finding *f, const char *s, size_t n, size_t rows,
                struct err *e)
{
    if (!f)
        return 0;
    f->rows = rows;
    f->what = arena_copy(&r->arena, s, n);
    return f->what ? 0 : err_set(e, ERR_MEMORY, "out of memory for the report");
}

static int compare_places(struct check_place a, struct check_place b)
{
    if (a.file != b.file)
        return a.file < b.file ? -1 : 1;
    return (a.line > b.line) - (a.line < b.line);
}

static int compare_findings(const void *pa, const void *pb)
{
    const struct check_finding *a = pa, *b = pb;
    int c = compare_places(a->at, b->at);
    if (!c)
        c = compare_places(a->other, b->other);
    if (!c && a->what && b->what)
        c = strcmp(a->what, b->what);
    return c;
}

/* ---- type names ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_alnum(char c)
{
    return is_alpha(c) || is_digit(c);
}

/* U+00C0 to U+024F, as two bytes of UTF-8: the accented letters of Latin words (and two signs). */
static bool is_latin_lead(char c)
{
    return (unsigned char)c >= 0xC3 && (unsigned char)c <= 0xC9;
}

static bool latin_before(const char *s, size_t i)
{
    return i > 0 && (is_alpha(s[i - 1]) || (i > 1 && (s[i - 1] & 0xC0) == 0x80 && is_latin_lead(s[i - 2])));
}

static bool latin_after(const char *s, size_t end)
{
    return is_alpha(s[end]) || is_latin_lead(s[end]);
}

static bool hangul_before(const char *s, size_t i)
{
    if (i < 3)
        return false;
    const unsigned char *p = (const unsigned char *)s + i - 3;
    if (p[0] < 0xEA || p[0] > 0xED)
        return false;
    uint32_t c = (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
    return c >= 0xAC00 && c <= 0xD7A3;
}

static size_t starts(const char *s, const char *with)
{
    size_t n = strlen(with);
    return strncmp(s, with, n) == 0 ? n : 0;
}

static size_t latin_type(const char *s, size_t i)
{
    if (starts(s + i, "mbti")) /* part of no word, so also inside #mbtitest */
        return 4;
    for (int a = 0; a < AXES; a++)
        if (s[i + (size_t)a] != (axis_info[a].pole_up[0] | 0x20) &&
            s[i + (size_t)a] != (axis_info[a].pole_down[0] | 0x20))
            return 0;
    return latin_before(s, i) || latin_after(s, i + AXES) ? 0 : AXES;
}

/* Some spellings end and begin as ordinary words do that lack the space between: 온라인팁, 디자인티제작,
 * 페이스팁. They are taken at the beginning of a word or after what people put before their type. */
static bool free_before(const char *s, size_t i)
{
    static const char *const before[] = {"는", "은",     "도",     "난",   "파워", "찐",
                                         "극", "대문자", "소문자", "완전", "진짜", "트루"};
    if (latin_before(s, i))
        return false;
    if (!hangul_before(s, i))
        return true;
    for (size_t k = 0; k < COUNT_OF(before); k++) {
        size_t n = strlen(before[k]);
        if (i >= n && memcmp(s + i - n, before[k], n) == 0)
            return true;
    }
    return false;
}

/* The two letters of each half. `strict`: only where free_before allows; T endings, as 팁 and 티 are in many
 * words. A half that is spelled letter by letter goes with another such half. */
struct half {
    const char *s;
    bool strict, letters;
};

/* Longer ones before those they begin with. 앤티 is also "anti", so 앤 is taken for 엔 only before F. */
static const struct half heads[] = {
    {"아이에스", false, true}, {"아이엔", false, true}, {"이에스", false, true}, {"이엔", false, true},
    {"에스", false, false},    {"이스", false, false},  {"엔", false, false},    {"인", false, false},
    {"잇", false, false},      {"있", false, false},    {"엣", false, false},    {"앤", true, false},
};
static const struct half tails[] = {
    {"에프제이", false, true}, {"에프피", false, true}, {"티제이", true, true},   {"티피", true, true},
    {"티제이", true, false},   {"티제", true, false},   {"티피", true, false},    {"팁", true, false},
    {"티j", true, false},      {"티p", true, false},    {"프제이", false, false}, {"프제", false, false},
    {"프피", false, false},    {"프삐", false, false},  {"뿌제", false, false},   {"뿌피", false, false},
    {"뿌삐", false, false},    {"프j", false, false},   {"프p", false, false},
};

static size_t korean_tail(const char *s, size_t i, const struct half *head)
{
    size_t n = strlen(head->s);
    for (size_t k = 0; k < COUNT_OF(tails); k++) {
        const struct half *tail = &tails[k];
        size_t m = tail->letters == head->letters ? starts(s + i + n, tail->s) : 0;
        if (m == 0 || (tail->strict && (head->strict || !free_before(s, i))))
            continue;
        if (is_alpha(s[i + n + m - 1]) && latin_after(s, i + n + m))
            continue;
        return n + m;
    }
    return 0;
}

static size_t korean_type(const char *s, size_t i)
{
    static const char *const test_name[] = {"엠비티아이", "엠비티", "앰비티아이", "앰비티"};
    for (size_t k = 0; k < COUNT_OF(test_name); k++)
        if (starts(s + i, test_name[k]))
            return strlen(test_name[k]);
    for (size_t k = 0; k < COUNT_OF(heads); k++) {
        size_t n = starts(s + i, heads[k].s) ? korean_tail(s, i, &heads[k]) : 0;
        if (n > 0)
            return n;
    }
    return 0;
}

static size_t type_name_at(const char *s, size_t i)
{
    if ((s[i] & 0xC0) == 0x80) /* inside a character */
        return 0;
    return s[i] & 0x80 ? korean_type(s, i) : latin_type(s, i);
}

/* ---- e-mail ---- */

static bool is_local(char c)
{
    return is_alnum(c) || (c != 0 && strchr("._%+-", c));
}

/* End of a domain that begins at i: labels joined by dots, of which the last, not the first, begins with two
 * letters or more (a Korean particle may follow it). i when there is none. */
static size_t domain_end(const char *s, size_t i)
{
    size_t end = i;
    for (size_t j = i, label = 0;; label++, j++) {
        size_t begin = j, letters = 0;
        while (is_alpha(s[begin + letters]))
            letters++;
        while (is_alnum(s[j]) || s[j] == '-')
            j++;
        if (j == begin)
            return end;
        if (label > 0 && letters >= 2 && !is_digit(s[begin + letters]))
            end = begin + letters;
        if (s[j] != '.')
            return end;
    }
}

static size_t email_at(const char *s, size_t i)
{
    if (!is_local(s[i]) || (i > 0 && is_local(s[i - 1])))
        return 0;
    size_t j = i;
    bool named = false;
    for (; is_local(s[j]); j++)
        named |= is_alnum(s[j]);
    if (!named || s[j] != '@')
        return 0;
    size_t end = domain_end(s, j + 1);
    return end > j + 1 ? end - i : 0;
}

/* ---- phone numbers ---- */

static size_t digits(const char *s)
{
    return strspn(s, "0123456789");
}

/* "-", " - ", ") " and their like. */
static size_t skip_separator(const char *s, size_t i)
{
    for (int k = 0; k < 3 && s[i] && strchr(" -.()", s[i]); k++)
        i++;
    return i;
}

/* Digits of the code after its leading 0: mobile, Seoul, provinces, internet, free and forwarding numbers. */
static size_t area(const char *s)
{
    switch (s[0]) {
    case '1':
        return s[1] && strchr("016789", s[1]) ? 2 : 0;
    case '2':
        return 1;
    case '3':
    case '4':
    case '6':
        return s[1] >= '1' && s[1] <= '5' ? 2 : 0;
    case '5':
        if (s[1] == '0')
            return s[2] >= '2' && s[2] <= '8' ? 3 : 0;
        return s[1] >= '1' && s[1] <= '5' ? 2 : 0;
    case '7':
    case '8':
        return s[1] == '0' ? 2 : 0;
    }
    return 0;
}

/* Four or three digits, then four and no more; the end, or 0. */
static size_t subscriber_end(const char *s, size_t i)
{
    for (size_t n = 4; n >= 3; n--) {
        if (digits(s + i) < n)
            continue;
        size_t j = skip_separator(s, i + n);
        if (digits(s + j) == 4)
            return j + 4;
    }
    return 0;
}

/* Just after the 0 of a code that begins at i, or after the country code in its place; 0 when there is
 * neither. */
static size_t after_trunk(const char *s, size_t i)
{
    size_t n = starts(s + i, "+82");
    if (n == 0)
        n = starts(s + i, "0082");
    if (n == 0)
        n = starts(s + i, "82");
    if (n == 0)
        return s[i] == '0' ? i + 1 : 0;
    size_t j = skip_separator(s, i + n);
    if (s[j] == '0') /* +82 (0)10 */
        j = skip_separator(s, j + 1);
    return s[i] == '8' && s[j] != '1' ? 0 : j; /* a bare 82 may be any number, so mobile only */
}

/* The tail of a longer number: 2026-010-..., or the decimals of 1.01012345678 (but 1.010-1234-5678 is an item
 * of a list). */
static bool continues(const char *s, size_t i, size_t end)
{
    if (i > 0 && is_digit(s[i - 1]))
        return true;
    if (i < 2 || !is_digit(s[i - 2]))
        return false;
    return s[i - 1] == '-' || ((s[i - 1] == '.' || s[i - 1] == ',') && digits(s + i) == end - i);
}

static size_t phone_at(const char *s, size_t i)
{
    size_t j = after_trunk(s, i), n = j ? area(s + j) : 0;
    if (n == 0)
        return 0;
    size_t k = skip_separator(s, j + n);
    if (s[j] != '1' && s[k] == '0') /* no exchange begins with 0 */
        return 0;
    size_t end = subscriber_end(s, k);
    return end > 0 && !continues(s, i, end) ? end - i : 0;
}

/* ---- what a text gives away ---- */

bool check_text(enum check_kind kind, const char *s, size_t *at, size_t *end)
{
    size_t (*match)(const char *, size_t) = kind == CHECK_EMAIL   ? email_at
                                            : kind == CHECK_PHONE ? phone_at
                                                                  : type_name_at;
    for (size_t i = *at; s[i]; i++) {
        size_t n = match(s, i);
        if (n > 0) {
            *at = i;
            *end = i + n;
            return true;
        }
    }
    return false;
}

/* Full-width ASCII, capitals and the many dashes, as people write codes and numbers. */
static uint32_t plain(uint32_t c)
{
    if (c >= 0xFF01 && c <= 0xFF5E)
        c -= 0xFEE0;
    if ((c >= 0x2010 && c <= 0x2015) || c == 0x2212)
        return '-';
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

static int check_row(struct work *w, const struct row *r, struct err *e)
{
    static const enum check_kind kinds[] = {CHECK_TYPE_NAME, CHECK_EMAIL, CHECK_PHONE};
    char *s = malloc(4 * r->text.n + 1);
    if (!s)
        return err_set(e, ERR_MEMORY, "out of memory for a text of %zu bytes", r->text.len);
    size_t n = 0;
    for (size_t i = 0; i < r->text.n; i++)
        n += utf8_put(s + n, plain(r->text.code[i]));
    s[n] = 0;
    int rc = 0;
    for (size_t k = 0; k < COUNT_OF(kinds); k++)
        for (size_t at = 0, end; !rc && check_text(kinds[k], s, &at, &end); at = end)
            rc = tell(w->out, add(w->out, kinds[k], r, r), s + at, end - at, 0, e);
    free(s);
    return rc;
}

/* ---- duplicates ---- */

static void add_equal(struct check_report *r, enum check_kind kind, const struct row *at,
                      const struct row *other)
{
    struct check_finding *f = add(r, kind, at, other);
    if (f)
        f->similarity = 1;
}

/* Each row against the first of its file and the first of all: with n copies n findings, not n squared. */
static int check_equal(struct work *w, struct err *e)
{
    struct near_key *key = arena_alloc(&w->arena, w->n + 1, sizeof *key);
    if (!key)
        return err_set(e, ERR_MEMORY, "out of memory for %zu rows", w->n);
    for (size_t i = 0; i < w->n; i++)
        key[i] = near_key(w->text[i].s, w->text[i].len, (uint32_t)i);
    near_key_sort(key, w->n);
    for (size_t i = 0, end; i < w->n; i = end) {
        end = near_key_run(key, w->n, i);
        const struct row *first = &w->row[key[i].row], *own = first;
        for (size_t k = i + 1; k < end; k++) {
            const struct row *r = &w->row[key[k].row];
            if (r->file != own->file)
                own = r;
            else
                add_equal(w->out, CHECK_EXACT_WITHIN, r, own);
            if (r->file != first->file)
                add_equal(w->out, CHECK_EXACT_ACROSS, r, first);
        }
    }
    return 0;
}

static void add_near(void *context, uint32_t a, uint32_t b, double similarity)
{
    struct work *w = context;
    const struct row *x = &w->row[a], *y = &w->row[b];
    if (similarity == 1 && x->text.len == y->text.len && memcmp(x->text.s, y->text.s, x->text.len) == 0)
        return; /* told by check_equal */
    struct check_finding *f = add(w->out, x->file == y->file ? CHECK_NEAR_WITHIN : CHECK_NEAR_ACROSS, y, x);
    if (f)
        f->similarity = similarity;
}

/* ---- phrases and people ---- */

/* Distinct rows of a run of equal keys (sorted by row); *second is the second one. */
static size_t distinct_rows(const struct near_key *key, size_t n, uint32_t *second)
{
    size_t rows = 1;
    *second = key[0].row;
    for (size_t i = 1; i < n; i++)
        if (key[i].row != key[i - 1].row && ++rows == 2)
            *second = key[i].row;
    return rows;
}

/* Runs of words in a folded text: all keys when key is not NULL; returns how many. */
static size_t add_phrases(struct near_key *key, const struct near_text *t, uint32_t row)
{
    size_t begin[CHECK_PHRASE_WORDS], words = 0, n = 0;
    for (size_t i = 0; i < t->len; i++) {
        if (i == 0 || t->s[i - 1] == ' ')
            begin[words++ % CHECK_PHRASE_WORDS] = i;
        bool last = i + 1 == t->len || t->s[i + 1] == ' ';
        if (!last || t->s[i] == ' ' || words < CHECK_PHRASE_WORDS)
            continue;
        size_t from = begin[words % CHECK_PHRASE_WORDS];
        if (key)
            key[n] = near_key(t->s + from, i + 1 - from, row);
        n++;
    }
    return n;
}

static int check_phrases(struct work *w, struct err *e)
{
    size_t n = 0, at = 0;
    for (size_t i = 0; i < w->n; i++)
        n += add_phrases(NULL, &w->text[i], 0);
    struct near_key *key = arena_alloc(&w->arena, n + 1, sizeof *key);
    if (!key)
        return err_set(e, ERR_MEMORY, "out of memory for %zu runs of words", n);
    for (size_t i = 0; i < w->n; i++)
        at += add_phrases(key + at, &w->text[i], (uint32_t)i);
    near_key_sort(key, n);
    int rc = 0;
    for (size_t i = 0, end; i < n && !rc; i = end) {
        end = near_key_run(key, n, i);
        uint32_t second;
        size_t rows = distinct_rows(key + i, end - i, &second);
        if (rows > CHECK_PHRASE_ROWS)
            rc = tell(w->out, add(w->out, CHECK_PHRASE, &w->row[key[i].row], &w->row[second]), key[i].s,
                      key[i].len, rows, e);
    }
    return rc;
}

/* Rows are in order of their files, so the last of a run is in another file than the first or none is. */
static int add_person(struct work *w, const struct near_key *key, size_t n, struct err *e)
{
    const struct row *first = &w->row[key[0].row];
    if (w->row[key[n - 1].row].file == first->file)
        return 0;
    size_t k = 1;
    while (w->row[key[k].row].file == first->file)
        k++;
    return tell(w->out, add(w->out, CHECK_PERSON, first, &w->row[key[k].row]), key[0].s, key[0].len, n, e);
}

static int check_people(struct work *w, struct err *e)
{
    struct near_key *key = arena_alloc(&w->arena, w->n + 1, sizeof *key);
    int rc = key ? 0 : err_set(e, ERR_MEMORY, "out of memory for %zu rows", w->n);
    size_t n = 0;
    for (size_t i = 0; i < w->n && !rc; i++) {
        struct near_text user = {0};
        if (w->row[i].post->user)
            rc = near_fold(&user, w->row[i].post->user, &w->arena, e);
        if (!rc && user.len > 0)
            key[n++] = near_key(user.s, user.len, (uint32_t)i);
    }
    if (rc)
        return rc;
    near_key_sort(key, n);
    for (size_t i = 0, end; i < n && !rc; i = end) {
        end = near_key_run(key, n, i);
        rc = add_person(w, key + i, end - i, e);
    }
    return rc;
}

/* ---- report ---- */

static int start_report(struct check_report *r, const struct labelled_posts *posts, const char *const *name,
                        size_t n, struct err *e)
{
    r->file = arena_alloc(&r->arena, n + 1, sizeof *r->file);
    bool ok = r->file != NULL;
    for (size_t i = 0; i < n && ok; i++) {
        const char *copy = arena_copy(&r->arena, name[i], strlen(name[i]));
        r->file[r->n_files++] = (struct check_file){.name = copy, .rows = posts[i].n, .weak = posts[i].weak};
        r->rows += posts[i].n;
        ok = copy != NULL;
    }
    for (int k = 0; k < CHECK_KINDS && ok; k++) {
        r->finding[k] = arena_alloc(&r->arena, CHECK_STORED, sizeof *r->finding[k]);
        ok = r->finding[k] != NULL;
    }
    return ok ? 0 : err_set(e, ERR_MEMORY, "out of memory for the report");
}

static void count_labels(struct check_file *f, const struct labelled_posts *p)
{
    for (size_t i = 0; i < p->n; i++)
        for (int a = 0; a < AXES; a++)
            switch (label_char(p->row[i].label[a])) {
            case '+':
                f->label[a][CHECK_UP]++;
                break;
            case '-':
                f->label[a][CHECK_DOWN]++;
                break;
            case '0':
                f->label[a][CHECK_KEEP]++;
                break;
            default:
                f->label[a][CHECK_UNKNOWN]++;
            }
}

static int fold_rows(struct work *w, const struct labelled_posts *posts, struct err *e)
{
    struct check_report *r = w->out;
    if (r->rows >= UINT32_MAX)
        return err_set(e, ERR_LIMIT, "%zu rows: at most %u", r->rows, UINT32_MAX - 1);
    w->row = arena_alloc(&w->arena, r->rows + 1, sizeof *w->row);
    w->text = arena_alloc(&w->arena, r->rows + 1, sizeof *w->text);
    if (!w->row || !w->text)
        return err_set(e, ERR_MEMORY, "out of memory for %zu rows", r->rows);
    for (uint32_t f = 0; f < r->n_files; f++) {
        count_labels(&r->file[f], &posts[f]);
        for (size_t i = 0; i < posts[f].n; i++, w->n++) {
            int rc = near_fold(&w->text[w->n], posts[f].row[i].text, &w->arena, e);
            if (rc)
                return rc;
            w->row[w->n] = (struct row){&posts[f].row[i], f, w->text[w->n]};
        }
    }
    return 0;
}

static int check_all(struct work *w, struct err *e)
{
    int rc = check_equal(w, e);
    if (!rc)
        rc = near_pairs(w->text, w->n, CHECK_SIMILARITY, add_near, w, e);
    if (!rc)
        rc = check_phrases(w, e);
    if (!rc)
        rc = check_people(w, e);
    for (size_t i = 0; i < w->n && !rc; i++)
        rc = check_row(w, &w->row[i], e);
    return rc;
}

int check_posts(struct check_report *out, const struct labelled_posts *posts, const char *const *name,
                size_t n, struct err *e)
{
    *out = (struct check_report){0};
    struct work w = {.out = out};
    int rc = start_report(out, posts, name, n, e);
    if (!rc)
        rc = fold_rows(&w, posts, e);
    if (!rc)
        rc = check_all(&w, e);
    arena_deinit(&w.arena);
    for (int k = 0; k < CHECK_KINDS && !rc; k++)
        if (out->stored[k] > 1)
            qsort(out->finding[k], out->stored[k], sizeof *out->finding[k], compare_findings);
    if (rc)
        check_deinit(out);
    return rc;
}

void check_deinit(struct check_report *r)
{
    arena_deinit(&r->arena);
    *r = (struct check_report){0};
}
