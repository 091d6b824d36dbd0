/* report/html and report/chart: pages whose tags close, that fetch nothing, in which text is text; charts whose
 * lines lie inside them, whatever the numbers. */
#include "base/size.h"
#include "report/chart.h"
#include "report/html.h"

#include <math.h>

#include "page.h"
#include "testing.h"

static void check_text(const char *in, const char *want)
{
    struct buf b = {0};
    buf_str(&b, "");
    html_text(&b, in);
    assert_string_equal(b.data, want);
    buf_deinit(&b);
}

static void test_text_is_text(void **state)
{
    (void)state;
    check_text("결 <b a=\"1\" c='2'>&amp;", "결 &lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;");
    check_text("a\nb\tc\x7F", "a b c ");
    check_text("", "");
    check_text("\xFF가\xEA\xB0", "\xEF\xBF\xBD가\xEF\xBF\xBD\xEF\xBF\xBD");
    check_text("\xED\xA0\x80\xC0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    check_text("\xF0\x8F\xBF\xBF", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    check_text("😀\xF4\x90\x80\x80", "😀\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

static void test_an_empty_page(void **state)
{
    (void)state;
    struct buf b = {0};
    html_begin(&b, "</title><script>alert(1)</script>");
    html_end(&b);
    page_check(b.data);
    page_has(b.data, "<title>&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;</title>");
    page_has(b.data, "prefers-color-scheme:dark");
    page_has(b.data, "@media print");
    page_has(b.data, "width=device-width");
    buf_deinit(&b);
}

/* ---- charts ---- */

/* Every coordinate pair of the lines' paths: inside the drawing, and how many. */
static size_t check_paths(const char *svg)
{
    static const char begin[] = "<path class=\"line";
    size_t n = 0;
    if (strstr(svg, "nan") || strstr(svg, "inf"))
        fail_msg("no number: %.9000s", svg);
    for (const char *at = svg; (at = strstr(at, begin)); at++) {
        const char *s = strstr(at, " d=\"") + 4;
        while (*s && *s != '"' && *s != 'h') {
            char *end;
            double x = strtod(s + 1, &end), y = strtod(end, &end);
            if (!(x >= 0 && x <= 440 && y >= 0 && y <= 264))
                fail_msg("%.40s lies outside: %g %g", s, x, y);
            n++;
            s = end;
        }
    }
    return n;
}

static struct buf drawn(const struct chart *c)
{
    struct buf b = {0};
    assert_true(chart_draw(&b, c));
    assert_false(b.failed);
    page_check(b.data);
    check_paths(b.data);
    return b;
}

static void test_a_chart_has_its_parts(void **state)
{
    (void)state;
    const double x[] = {0, 100, 200, 300}, y[] = {1.05, 0.61, NAN, 0.42}, z[] = {0.9, 0.7, 0.5, 0.47};
    const struct chart c = {.title = "손실 <1>",
                            .x_label = "step",
                            .series = {{"training", x, y, 4, false}, {"dev", x, z, 4, true}},
                            .n = 2,
                            .mark_x = 300,
                            .mark = "kept"};
    struct buf b = drawn(&c);
    static const char *const parts[] = {">손실 &lt;1&gt;</text>",
                                        ">training</text>",
                                        ">dev</text>",
                                        ">step</text>",
                                        ">kept</text>",
                                        ">0.4</text>",
                                        ">1.0</text>",
                                        ">1.2</text>",
                                        ">0</text>",
                                        ">300</text>",
                                        "<title>dev 0.47 (step 300)</title>"};
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        page_has(b.data, parts[i]);
    /* Three points of one line, four of the other, and a sample of each in the legend. */
    assert_int_equal(check_paths(b.data), 3 + 4 + 2);
    buf_deinit(&b);
}

static void check_ticks(double low, double high, const char *const *want)
{
    const double x[] = {0, 1}, y[] = {low, high};
    const struct chart c = {
        .title = "t", .x_label = "x", .series = {{"s", x, y, 2, false}}, .n = 1, .mark_x = NAN};
    struct buf b = drawn(&c);
    const char *at = b.data;
    for (size_t i = 0; want[i]; i++) {
        char label[60];
        snprintf(label, sizeof label, "text-anchor=\"end\">%s</text>", want[i]);
        if (!(at = strstr(at, label)))
            fail_msg("%g to %g: no tick %s (in order) in %s", low, high, want[i], b.data);
    }
    buf_deinit(&b);
}

static void test_ticks_are_round(void **state)
{
    (void)state;
    check_ticks(0, 1, (const char *[]){"0", "0.2", "0.4", "0.6", "0.8", "1.0", NULL});
    check_ticks(-3, 11, (const char *[]){"-5", "0", "5", "10", "15", NULL});
    check_ticks(0, 2e-4, (const char *[]){"0", "5e-5", "1e-4", "1.5e-4", "2e-4", NULL});
    check_ticks(0.912, 0.934, (const char *[]){"0.910", "0.915", "0.920", "0.925", "0.930", "0.935", NULL});
    check_ticks(0, 52000, (const char *[]){"0", "20k", "40k", "60k", NULL});
    check_ticks(0, 3e6, (const char *[]){"0", "1M", "2M", "3M", NULL});
    check_ticks(0.999998, 1.000001, (const char *[]){"0.999998", "0.999999", "1.000000", "1.000001", NULL});
    check_ticks(20000000, 20000004, (const char *[]){"20M", "20.000001M", "20.000002M", NULL});
    check_ticks(7, 7, (const char *[]){"6.0", "6.5", "7.0", "7.5", "8.0", NULL});
    check_ticks(0, 0, (const char *[]){"-1.0", "-0.5", "0", "0.5", "1.0", NULL});
}

static void test_nothing_to_show(void **state)
{
    (void)state;
    const double x[] = {0, 1}, y[] = {NAN, INFINITY};
    struct chart c = {.title = "t", .x_label = "x", .series = {{"s", x, y, 2, true}}, .n = 1, .mark_x = NAN};
    struct buf b = {0};
    assert_false(chart_draw(&b, &c));
    c.n = 0;
    assert_false(chart_draw(&b, &c));
    assert_int_equal(b.len, 0);
    /* A single point cannot be a line, so it is drawn as a point. */
    const double one[] = {4};
    c = (struct chart){
        .title = "t", .x_label = "x", .series = {{"s", one, one, 1, false}}, .n = 1, .mark_x = 9};
    b = drawn(&c);
    page_has(b.data, "class=\"point");
    assert_null(strstr(b.data, "\"mark\"")); /* outside what is shown */
    buf_deinit(&b);
}

/* The lowest and the highest of many values are still there. */
static void test_many_points_are_thinned(void **state)
{
    (void)state;
    enum { MANY = 200000 };
    double *x = calloc(MANY, sizeof *x), *y = calloc(MANY, sizeof *y);
    struct rng r = seeded();
    for (size_t i = 0; i < MANY; i++) {
        x[i] = (double)i;
        y[i] = (double)rng_below(&r, 1000) / 1000;
    }
    y[777] = 50;
    y[99999] = -50;
    const struct chart c = {
        .title = "t", .x_label = "x", .series = {{"s", x, y, MANY, true}}, .n = 1, .mark_x = NAN};
    struct buf b = drawn(&c);
    assert_true(b.len < 30000);
    const char *d = strstr(strstr(b.data, "<path class=\"line"), " d=\"") + 4;
    double top = INFINITY, bottom = 0;
    while (*d != '"') {
        char *end;
        strtod(d + 1, &end);
        double v = strtod(end, &end);
        top = fmin(top, v);
        bottom = fmax(bottom, v);
        d = end;
    }
    assert_true(top < 60 && bottom > 200); /* of a plot from 34 to 224 that shows -60 to 60 */
    buf_deinit(&b);
    free(x);
    free(y);
}

static void test_any_numbers(void **state)
{
    (void)state;
    struct rng r = seeded();
    for (int round = 0; round < 2000; round++) {
        double x[40], y[2][40], size = pow(10, (double)rng_below(&r, 60) - 30);
        double middle = rng_below(&r, 2) ? pow(10, (double)rng_below(&r, 30) - 15) : 0;
        size_t n = 1 + rng_below(&r, 40);
        for (size_t i = 0; i < n; i++) {
            x[i] = (i ? x[i - 1] : 0) + (double)rng_below(&r, 3);
            for (int k = 0; k < 2; k++)
                y[k][i] = rng_below(&r, 10) ? middle + size * ((double)rng_below(&r, 1000) - 500) / 500 : NAN;
        }
        const struct chart c = {.title = "t",
                                .x_label = "x",
                                .series = {{"a", x, y[0], n, rng_below(&r, 2)}, {"b", x, y[1], n, true}},
                                .n = 1 + rng_below(&r, 2),
                                .from_zero = rng_below(&r, 2),
                                .mark_x = (double)rng_below(&r, 60),
                                .mark = "m"};
        struct buf b = {0};
        if (chart_draw(&b, &c)) {
            page_check(b.data);
            check_paths(b.data);
            assert_true(b.len < 40000);
        }
        buf_deinit(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_text),          cmocka_unit_test(test_an_empty_page),
        cmocka_unit_test(test_a_chart_has_its_parts), cmocka_unit_test(test_ticks_are_round),
        cmocka_unit_test(test_nothing_to_show),       cmocka_unit_test(test_many_points_are_thinned),
        cmocka_unit_test(test_any_numbers),
    };
    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
