/* train/output: what a run says of itself. gyeol.json and who else writes there, metrics.csv read back,
 * report.html and README.md with names that would like to be markup. */
#include "base/size.h"
#include "judge/notes.h"
#include "model/pack.h"
#include "model/source.h"
#include "train/output.h"

#include <limits.h>
#include <math.h>
#include <sys/stat.h>

#include "model_folder.h"
#include "page.h"

#define FIXTURES "tests/fixtures/"

static char *whole(const char *path)
{
    char *text;
    size_t n;
    ok(file_read(&text, &n, path, 1 << 24, &error));
    return text;
}

/* ---- runs ---- */

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static const struct output_setting some_settings[] = {
    {"rank", "8", true}, {"learning rate", "2e-4", true}, {"targets", "q, k | <v> & \"o\"", false}};

static struct output_run some_run(const struct train_record *record, size_t n)
{
    return (struct output_run){.method = "lora",
                               .name = "결 <b> & \"다\" | #1",
                               .base = FIXTURES "llama_tied",
                               .base_sha256 = SHA_A,
                               .data = "train_<1>.tsv",
                               .dev = "dev.tsv",
                               .data_sha256 = SHA_B,
                               .chat = "plain",
                               .prompt_sha256 = SHA_A,
                               .seed = 7,
                               .steps = 300,
                               .setting = some_settings,
                               .settings = COUNT_OF(some_settings),
                               .record = record,
                               .records = n,
                               .best = OUTPUT_NO_BEST,
                               .ended = "Stopped early: the dev loss did not fall for 3 evaluations",
                               .seconds = 3725};
}

static json_t *notes_of_folder(void)
{
    json_error_t why;
    json_t *v = json_load_file(in_folder("gyeol.json"), 0, &why);
    if (!v)
        fail_msg("%s", why.text);
    return v;
}

static const char *noted(const json_t *v, const char *a, const char *b)
{
    const json_t *at = json_object_get(v, a);
    return json_string_value(b ? json_object_get(at, b) : at);
}

static struct calibration some_calibration(void)
{
    struct calibration k;
    calibration_none(&k);
    k.fitted = true;
    k.axis[2].threshold = 0.1234567890123456;
    memcpy(k.prompt_sha256, SHA_A, DIGEST_HEX);
    return k;
}

/* ---- gyeol.json ---- */

static void test_notes(void **state)
{
    (void)state;
    struct train_record best = train_record_none(120);
    best.dev_loss = 0.25;
    best.dev[METRIC_DIRECTION] = 0.875;
    struct calibration k = some_calibration(), again;
    struct output_run r = some_run(&best, 1);
    r.best = 0;
    r.calibration = &k;
    folder_empty();
    put_text("gyeol.json", "{\"mine\": [1, 2], \"base\": \"old\", \"type\": \"q4_0\"}");
    ok(output_notes(folder, &r, &error));
    json_t *v = notes_of_folder(), *t = json_object_get(v, "training"), *m = json_object_get(t, "metrics");
    assert_int_equal(json_array_size(json_object_get(v, "mine")), 2); /* not ours: stays */
    assert_null(json_object_get(v, "type"));                          /* ours, and not said now */
    assert_string_equal(noted(v, "adapter", NULL), ".");
    assert_string_equal(noted(v, "base_sha256", NULL), SHA_A);
    assert_string_equal(noted(v, "template", NULL), "plain");
    assert_string_equal(noted(v, "prompt_sha256", NULL), SHA_A);
    assert_string_equal(noted(t, "data", "sha256"), SHA_B);
    assert_string_equal(noted(t, "dev", "file"), "dev.tsv");
    assert_null(noted(t, "dev", "sha256"));
    assert_int_equal(json_integer_value(json_object_get(t, "seed")), 7);
    assert_int_equal(json_integer_value(json_object_get(t, "best_step")), 120);
    assert_true(json_real_value(json_object_get(m, "dev_loss")) == 0.25);
    assert_true(json_real_value(json_object_get(m, "direction_accuracy")) == 0.875);
    assert_null(json_object_get(m, "auc")); /* was not measured */
    t = json_object_get(t, "hyperparameters");
    assert_int_equal(json_integer_value(json_object_get(t, "rank")), 8);
    assert_true(json_real_value(json_object_get(t, "learning rate")) == 2e-4);
    assert_string_equal(noted(t, "targets", NULL), "q, k | <v> & \"o\"");
    ok(calibration_read(&again, "f", json_object_get(v, "calibration"), &error));
    assert_true(again.axis[2].threshold == k.axis[2].threshold);
    assert_string_equal(again.prompt_sha256, SHA_A);
    json_decref(v);
    r.calibration = NULL; /* of other weights than these */
    ok(output_notes(folder, &r, &error));
    v = notes_of_folder();
    assert_null(json_object_get(v, "calibration"));
    json_decref(v);
}

/* What calibrating writes later leaves what training wrote, and the other way. */
static void test_notes_are_shared(void **state)
{
    (void)state;
    struct output_run r = some_run(NULL, 0);
    struct calibration k = some_calibration();
    folder_empty();
    ok(output_notes(folder, &r, &error));
    json_t *changes = json_pack("{s:o}", "calibration", calibration_json(&k));
    ok(notes_update(in_folder("gyeol.json"), changes, &error));
    json_decref(changes);
    json_t *v = notes_of_folder();
    assert_non_null(json_object_get(v, "calibration"));
    assert_string_equal(noted(v, "training", "method"), "lora");
    json_decref(v);
    put_text("gyeol.json", "[1]");
    assert_int_equal(output_notes(folder, &r, &error), ERR_FORMAT);
    char *left = whole(in_folder("gyeol.json"));
    assert_string_equal(left, "[1]"); /* somebody's: not overwritten */
    free(left);
}

/* The directory is a judge directory: its base and its adapter are found, and no other base is taken. */
static void copy_adapter(const char *name)
{
    char from[200];
    snprintf(from, sizeof from, FIXTURES "lora_llama/%s", name);
    char *bytes;
    size_t n;
    ok(file_read(&bytes, &n, from, 1 << 24, &error));
    ok(file_write(in_folder(name), bytes, n, &error));
    free(bytes);
}

static void test_the_directory_is_a_judge(void **state)
{
    (void)state;
    struct checkpoint *c;
    struct source s;
    char sha[DIGEST_HEX], real[PATH_MAX];
    struct output_run r = some_run(NULL, 0);
    folder_empty();
    copy_adapter("adapter_model.safetensors");
    copy_adapter("adapter_config.json");
    ok(checkpoint_open(&c, r.base, &error));
    ok(pack_source_sha256(sha, c, &error));
    checkpoint_close(c);
    r.base_sha256 = sha;
    ok(output_notes(folder, &r, &error));
    ok(source_open(&s, folder, NULL, &error));
    assert_true(s.judge && s.peft);
    assert_true(realpath(s.base, real) && strstr(real, "/tests/fixtures/llama_tied"));
    assert_string_equal(peft_base_sha256(s.peft), sha);
    source_close(&s);
    r.base_sha256 = SHA_B;
    ok(output_notes(folder, &r, &error));
    assert_int_equal(source_open(&s, folder, NULL, &error), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "was made for a base of SHA-256 bbbb"));
}

static void check_base(const char *dir, const char *base, const char *want)
{
    struct output_run r = some_run(NULL, 0);
    char path[500];
    json_error_t why;
    r.base = base;
    ok(output_notes(dir, &r, &error));
    snprintf(path, sizeof path, "%s/gyeol.json", dir);
    json_t *v = json_load_file(path, 0, &why);
    assert_string_equal(noted(v, "base", NULL), want);
    json_decref(v);
    unlink(path);
}

/* Base and adapter that lie together can be moved together. */
static void test_where_the_base_is(void **state)
{
    (void)state;
    char inner[400], base[400], beside[400];
    folder_empty();
    snprintf(inner, sizeof inner, "%s/out", folder);
    snprintf(base, sizeof base, "%s/out/base", folder);
    snprintf(beside, sizeof beside, "%s/outer", folder); /* begins like out */
    assert_true(!mkdir(inner, 0777) && !mkdir(base, 0777) && !mkdir(beside, 0777));
    check_base(inner, base, "base");
    check_base(inner, beside, "../outer");
    check_base(base, beside, beside);
    assert_true(!rmdir(base) && !rmdir(beside));
    struct output_run r = some_run(NULL, 0);
    r.base = beside;
    assert_int_equal(output_notes(inner, &r, &error), ERR_MISSING);
    assert_non_null(strstr(error.msg, "/outer"));
    assert_int_equal(rmdir(inner), 0);
}

static void test_notes_of_a_full_model(void **state)
{
    (void)state;
    struct output_run r = some_run(NULL, 0);
    r.method = "full";
    folder_empty();
    ok(output_notes(folder, &r, &error));
    json_t *v = notes_of_folder();
    assert_null(json_object_get(v, "base")); /* it stands for itself */
    assert_null(json_object_get(v, "adapter"));
    assert_null(json_object_get(v, "base_sha256"));
    assert_string_equal(noted(v, "training", "base_sha256"), SHA_A);
    assert_string_equal(noted(v, "template", NULL), "plain");
    json_decref(v);
}

/* ---- metrics.csv ---- */

static bool same_number(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static double some_double(struct rng *r)
{
    return rng_below(r, 4) ? ldexp((double)(rng_next(r) >> 11), (int)rng_below(r, 80) - 90) : NAN;
}

static void test_metrics_come_back(void **state)
{
    (void)state;
    enum { N = 300 };
    struct rng rng = seeded();
    struct train_record record[N], *again;
    size_t n;
    for (size_t i = 0; i < N; i++) {
        record[i] = (struct train_record){10 * i,
                                          some_double(&rng),
                                          some_double(&rng),
                                          some_double(&rng),
                                          some_double(&rng),
                                          some_double(&rng),
                                          some_double(&rng),
                                          {0}};
        for (int m = 0; m < METRICS; m++)
            record[i].dev[m] = some_double(&rng);
    }
    const struct output_run r = some_run(record, N);
    folder_empty();
    assert_int_equal(output_read_metrics(&again, &n, folder, &error), ERR_MISSING);
    ok(output_report(folder, &r, &error));
    ok(output_read_metrics(&again, &n, folder, &error));
    assert_int_equal(n, N);
    for (size_t i = 0; i < N; i++) {
        const struct train_record *a = &record[i], *b = &again[i];
        bool same = a->step == b->step && same_number(a->epoch, b->epoch) && same_number(a->loss, b->loss) &&
                    same_number(a->lr, b->lr) && same_number(a->grad_norm, b->grad_norm) &&
                    same_number(a->tokens_per_s, b->tokens_per_s) && same_number(a->dev_loss, b->dev_loss);
        for (int m = 0; m < METRICS; m++)
            same &= same_number(a->dev[m], b->dev[m]);
        assert_true(same);
    }
    free(again);
}

static void refuse_metrics(const char *text, const char *part)
{
    struct train_record *record;
    size_t n;
    put_text("metrics.csv", text);
    assert_int_equal(output_read_metrics(&record, &n, folder, &error), ERR_FORMAT);
    assert_null(record);
    if (!strstr(error.msg, part))
        fail_msg("\"%s\" does not say %s", error.msg, part);
}

static void test_metrics_that_are_no_metrics(void **state)
{
    (void)state;
    struct train_record record[2] = {train_record_none(1), train_record_none(2)};
    const struct output_run r = some_run(record, 2);
    ok(output_report(folder, &r, &error));
    char *good = whole(in_folder("metrics.csv")), *bad;
    size_t n = strlen(good);
    assert_non_null(strstr(good, "step,epoch,loss,lr,grad_norm,tokens_per_s,dev_loss,dev_meaningful,"));
    assert_non_null(strstr(good, "\n1,,,,,,,,,,,,,,\n2,,,,,,,,,,,,,,\n"));
    refuse_metrics("", "metrics.csv:1: ");
    refuse_metrics("step,loss\n", "metrics.csv:1: other columns");
    for (size_t cut = n - 1; cut > n - 15; cut--) {
        bad = strndup(good, cut);
        refuse_metrics(bad, "metrics.csv:3: ");
        free(bad);
    }
    assert_true(asprintf(&bad, "%s3,x,,,,,,,,,,,,,\n", good) > 0);
    refuse_metrics(bad, "metrics.csv:4: ");
    free(bad);
    assert_true(asprintf(&bad, "%s3,nan,,,,,,,,,,,,,\n", good) > 0);
    refuse_metrics(bad, "metrics.csv:4: ");
    free(bad);
    assert_true(asprintf(&bad, "%s-3,,,,,,,,,,,,,,\n", good) > 0);
    refuse_metrics(bad, "metrics.csv:4: ");
    free(bad);
    free(good);
}

/* ---- report.html, README.md ---- */

static size_t times(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, part)); at++)
        n++;
    return n;
}

static void run_of_ten(struct train_record record[10])
{
    for (size_t i = 0; i < 10; i++) {
        record[i] = train_record_none(10 * (i + 1));
        record[i].loss = 1.0 / (double)(i + 1);
        record[i].lr = 1e-4;
        record[i].grad_norm = 2;
        record[i].tokens_per_s = 1000;
        if (i % 3 == 0) {
            record[i].dev_loss = 1.1 - 0.1 * (double)i;
            record[i].dev[METRIC_DIRECTION] = 0.5 + 0.04 * (double)i;
            record[i].dev[METRIC_UNNEEDED] = 0.08;
        }
    }
}

static void test_report(void **state)
{
    (void)state;
    struct train_record record[10];
    run_of_ten(record);
    struct output_run r = some_run(record, 10);
    r.best = 6;
    folder_empty();
    ok(output_report(folder, &r, &error));
    char *page = whole(in_folder("report.html"));
    page_check(page);
    static const char *const parts[] = {
        "<h1>결 &lt;b&gt; &amp; &quot;다&quot; | #1</h1>", /* text, not markup */
        "<td>q, k | &lt;v&gt; &amp; &quot;o&quot;</td>",
        "<td>train_&lt;1&gt;.tsv</td>",
        "<b>70</b><span>step kept</span>",
        "<b>0.5000</b><span>dev loss</span>",
        "<b>0.740</b><span>direction accuracy (dev)</span>",
        "<b>1 h 2 min</b>",
        "<th scope=\"row\">rank</th><td>8</td>",
        "<code>" SHA_A "</code>",
        "<code>" SHA_B "</code>",
        "<tr class=\"best\"><th scope=\"row\">70</th>",
        "Stopped early: the dev loss did not fall for 3 evaluations.",
        "<title>dev 0.5 (step 70)</title>",
        ">kept</text>"};
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        page_has(page, parts[i]);
    assert_int_equal(times(page, "<figure"), 6);
    assert_int_equal(times(page, "<tr><th scope=\"row\">") + times(page, "<tr class=\"best\""), 4 + 5 + 7);
    free(page);
}

/* At the start, after a divergence, without names: a page all the same. */
static void test_a_report_of_little(void **state)
{
    (void)state;
    struct train_record odd[3] = {train_record_none(0), train_record_none(1), train_record_none(2)};
    odd[1].loss = INFINITY;
    odd[2].loss = 3;
    const struct output_run least = {.method = "full", .name = "", .best = OUTPUT_NO_BEST};
    struct output_run r = some_run(odd, 3);
    folder_empty();
    for (size_t n = 0; n <= 3; n++) {
        r.records = n;
        ok(output_report(folder, n ? &r : &least, &error));
        char *page = whole(in_folder("report.html"));
        page_check(page);
        assert_int_equal(times(page, "<figure"), n == 3);
        assert_null(strstr(page, "nan"));
        free(page);
    }
    ok(output_card(folder, &least, &error));
    ok(output_notes(folder, &least, &error));
}

static void test_card(void **state)
{
    (void)state;
    struct train_record record[10];
    run_of_ten(record);
    struct output_run r = some_run(record, 10);
    r.best = 6;
    folder_empty();
    ok(output_card(folder, &r, &error));
    char *card = whole(in_folder("README.md"));
    static const char *const parts[] = {"# 결 \\<b\\> \\& \"다\" \\| \\#1\n",
                                        "A LoRA adapter over `tests/fixtures/llama_tied`",
                                        "| training data | train\\_\\<1\\>.tsv, SHA-256 `" SHA_B "` |\n",
                                        "| base | tests/fixtures/llama\\_tied, SHA-256 `" SHA_A "` |\n",
                                        "| learning rate | 2e-4 |\n",
                                        "| targets | q, k \\| \\<v\\> \\& \"o\" |\n",
                                        "| direction accuracy | 0.740 |\n",
                                        "| seed | 7 |\n",
                                        "those after step 70. `gyeol eval`",
                                        "gyeol judge --model DIR",
                                        "It is not calibrated",
                                        "## Limits\n"};
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        page_has(card, parts[i]);
    assert_null(strstr(card, "| AUC |")); /* was not measured */
    free(card);
    struct calibration k = some_calibration();
    double finished[METRICS] = {0};
    for (int i = 0; i < METRICS; i++)
        finished[i] = 0.9 + 0.01 * i;
    r.finished = finished;
    r.method = "full";
    r.calibration = &k;
    ok(output_card(folder, &r, &error));
    card = whole(in_folder("README.md"));
    page_has(card, "beginning with those of `tests/fixtures/llama_tied`");
    page_has(card, "AutoModelForCausalLM.from_pretrained");
    page_has(card, "calibrated on the dev split");
    page_has(card, "of the calibrated judge");
    page_has(card, "| direction accuracy | 0.930 |\n");
    page_has(card, "| AUC | 0.960 |\n");
    free(card);
    ok(output_report(folder, &r, &error));
    card = whole(in_folder("report.html"));
    page_check(card);
    page_has(card, "<b>0.930</b><span>direction accuracy (dev)</span>");
    free(card);
    ok(output_notes(folder, &r, &error));
    json_t *v = notes_of_folder();
    const json_t *m = json_object_get(json_object_get(v, "training"), "metrics");
    assert_true(json_real_value(json_object_get(m, "direction_accuracy")) == finished[METRIC_DIRECTION]);
    json_decref(v);
}

/* A model trained on text has a loss and no verdicts. */
static void test_a_run_on_text(void **state)
{
    (void)state;
    struct train_record record[2] = {train_record_none(10), train_record_none(20)};
    record[0].dev_loss = 4;
    record[1].dev_loss = 3;
    struct output_run r = some_run(record, 2);
    r.method = "full";
    r.base = r.prompt_sha256 = NULL;
    r.best = 1;
    folder_empty();
    ok(output_report(folder, &r, &error));
    ok(output_card(folder, &r, &error));
    char *page = whole(in_folder("report.html")), *card = whole(in_folder("README.md"));
    page_check(page);
    page_has(page, "<th scope=\"col\">dev loss</th></tr>");
    assert_null(strstr(page, ">direction<"));
    assert_null(strstr(card, "gyeol judge"));
    assert_null(strstr(card, "calibrated"));
    page_has(card, "gyeol train lora --model DIR");
    page_has(card, "The loss is per token.");
    free(page);
    free(card);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_notes_are_shared),
        cmocka_unit_test(test_the_directory_is_a_judge),
        cmocka_unit_test(test_where_the_base_is),
        cmocka_unit_test(test_notes_of_a_full_model),
        cmocka_unit_test(test_metrics_come_back),
        cmocka_unit_test(test_metrics_that_are_no_metrics),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_a_report_of_little),
        cmocka_unit_test(test_card),
        cmocka_unit_test(test_a_run_on_text),
    };
    return cmocka_run_group_tests_name("output_run", tests, folder_new, folder_remove);
}
