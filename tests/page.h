/* What a page that stands alone must be: every tag closed in its order, attributes quoted, nothing fetched and
 * nothing run. No HTML parser: it knows the HTML that report/html.h and its users write, and no more. */
#ifndef GYEOL_TESTS_PAGE_H
#define GYEOL_TESTS_PAGE_H

#include "testing.h"

static inline void page_has(const char *page, const char *part)
{
    if (!strstr(page, part))
        fail_msg("no %s in %.2000s", part, page);
}

static inline void page_fetches_nothing(const char *page)
{
    static const char *const bad[] = {"http:",   "https:",  "<script",    "<link",  "<iframe",
                                      "<img",    "<object", " src=",      " href=", "url(",
                                      "@import", " on",     "javascript:"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *at = page;
        while ((at = strstr(at, bad[i]))) {
            const char *tag = at; /* " on" is an attribute only inside a tag */
            while (tag > page && *tag != '<' && *tag != '>')
                tag--;
            if (strcmp(bad[i], " on") != 0 || *tag == '<')
                fail_msg("%s in the page: %.80s", bad[i], at);
            at++;
        }
    }
}

/* A tag's attributes: name="value" each, or nothing. Returns what follows its '>'. */
static inline const char *page_attributes(const char *s, bool *closed)
{
    *closed = false;
    while (*s && *s != '>') {
        if (*s == '/' && s[1] == '>') {
            *closed = true;
            s++;
            continue;
        }
        if (*s != ' ')
            fail_msg("a tag goes on with %.40s", s);
        s++;
        size_t name = strcspn(s, "= />\"");
        assert_true(name > 0);
        s += name;
        if (*s != '=')
            continue; /* <!DOCTYPE html> */
        if (s[1] != '"')
            fail_msg("an attribute without quotes: %.40s", s);
        s += 2;
        s += strcspn(s, "\"<>");
        assert_int_equal(*s, '"');
        s++;
    }
    assert_int_equal(*s, '>');
    return s + 1;
}

static inline bool page_is_void(const char *name)
{
    return strcmp(name, "meta") == 0 || strcmp(name, "!DOCTYPE") == 0;
}

static inline const char *page_skip_text(const char *s, bool style)
{
    while (*s && *s != '<') {
        if (*s == '>' && !style)
            fail_msg("a bare > in text: %.40s", s);
        if (*s == '&' && !style && strcspn(s, ";") > 6)
            fail_msg("a bare & in text: %.40s", s);
        s++;
    }
    return s;
}

static inline void page_check(const char *page)
{
    char open[40][20];
    int depth = 0;
    page_fetches_nothing(page);
    for (const char *s = page_skip_text(page, false); *s;) {
        bool end = s[1] == '/', closed;
        char name[20];
        s += end ? 2 : 1;
        size_t n = strcspn(s, " />");
        assert_true(n > 0 && n < sizeof name);
        snprintf(name, sizeof name, "%.*s", (int)n, s);
        s = page_attributes(s + n, &closed);
        if (end) {
            if (depth == 0 || strcmp(open[depth - 1], name) != 0)
                fail_msg("</%s> closes %s: %.60s", name, depth ? open[depth - 1] : "nothing", s);
            depth--;
        } else if (!closed && !page_is_void(name)) {
            assert_true(depth < 40);
            snprintf(open[depth++], sizeof open[0], "%s", name);
        }
        s = page_skip_text(s, depth && strcmp(open[depth - 1], "style") == 0);
    }
    if (depth)
        fail_msg("<%s> is never closed", open[depth - 1]);
}

#endif
