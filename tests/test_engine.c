/* judge/engine, judge/onepass and judge/evidence on a small random model (tests/random_model.c): what company
 * a post has, who asks and with how many threads must not change one bit of its verdict, evidence must stay
 * within its price and quote the post, and what is beside a model is believed only where it fits. */
#include "base/buf.h"
#include "base/file.h"
#include "base/size.h"
#include "judge/notes.h"
#include "judge/onepass_int.h"
#include "text/utf8.h"

#include <math.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model_folder.h"
#include "tiny_model.h"

static char model_path[400]; /* "FOLDER/m.gguf" */

static int setup(void **state)
{
    if (folder_new(state))
        return -1;
    snprintf(model_path, sizeof model_path, "%s", in_folder("m.gguf"));
    tiny_model(model_path, NULL);
    return 0;
}

static struct engine *open_engine(int threads)
{
    const struct judge_options o = {.model = model_path, .threads = threads};
    struct engine *g;
    ok(engine_open(&g, &o, &error));
    return g;
}

static struct judge *open_judge(struct engine *g, bool quotes)
{
    struct judge *j;
    ok(onepass_over(&j, g, quotes, &error));
    return j;
}

/* ---- posts ---- */

/* clang-format off */
static const char *const words[] = {
    "나는", "친구들이랑", "노는게", "재밌어", "혼자", "책을 읽었다", "계획", "싫다", "좋다", "상승", "\u2581하락",
    "\u1112\u1161\u11AB\u1100\u1173\u11AF", "ㅋㅋㅋ", "Seoul", "2026", "😀", "👨‍👩‍👧", "e\u0301a\u0300",
    "아주아주아주아주아주아주아주아주아주아주아주아주아주아주아주아주긴낱말", "(정말)", "...", "!?", "x", "\u200D", "</s>",
    "<|im_end|>", "\x01\x02", "\u3164"};
static const char *const gaps[] = {" ", " ", " ", " ", " ", "", "  ", "\n", "\t", ", ", ". ", "\u00A0", "\u200B"};
/* clang-format on */

/* Long enough to be judged; in a block of its own, so that reading past the end is seen. */
static char *random_post(struct rng *r, size_t most)
{
    struct buf b = {0};
    for (size_t k = rng_below(r, most) + 1; k > 0; k--) {
        buf_str(&b, gaps[rng_below(r, COUNT_OF(gaps))]);
        buf_str(&b, words[rng_below(r, COUNT_OF(words))]);
    }
    buf_str(&b, " 여섯글자임다");
    char *text = strdup(b.data);
    buf_deinit(&b);
    assert_non_null(text);
    return text;
}

static char *repeated(const char *unit, size_t bytes)
{
    struct buf b = {0};
    while (b.len + strlen(unit) <= bytes)
        buf_str(&b, unit);
    return b.data;
}

enum { POSTS_MAX = 40 };

/* SHORT=1: where sanitizers make everything ten times as long. */
static size_t posts(void)
{
    return getenv("SHORT") ? 6 : POSTS_MAX;
}

/* Short ones, ones of more than a pass, ones that are cut, with missions and without. */
static void some_posts(struct rng *r, struct judge_input in[POSTS_MAX])
{
    static const size_t most[] = {3, 3, 8, 8, 8, 20, 60, 200};
    for (size_t i = 0; i < posts(); i++)
        in[i] =
            (struct judge_input){.text = random_post(r, most[rng_below(r, COUNT_OF(most))]),
                                 .mission = rng_below(r, 2) ? words[rng_below(r, COUNT_OF(words))] : NULL};
}

static void free_posts(struct judge_input *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free((char *)in[i].text);
}

static void same(const struct judge_verdict *a, const struct judge_verdict *b, const char *text)
{
    assert_int_equal(a->too_short, b->too_short);
    for (int i = 0; i < AXES; i++)
        if (memcmp(&a->axis[i], &b->axis[i], sizeof a->axis[i]) != 0)
            fail_msg("axis %d: %d %.17g %.17g %.17g quote %zu+%zu, else %d %.17g %.17g %.17g quote %zu+%zu, "
                     "of \"%s\"",
                     i, a->axis[i].decision, a->axis[i].up, a->axis[i].keep, a->axis[i].down,
                     a->axis[i].quote, a->axis[i].quote_len, b->axis[i].decision, b->axis[i].up,
                     b->axis[i].keep, b->axis[i].down, b->axis[i].quote, b->axis[i].quote_len, text);
}

/* ---- company, threads, callers ---- */

/* Alone by one thread, then in random groups by three. */
static void check_company(struct rng *r, const char *type)
{
    struct judge_input in[POSTS_MAX];
    struct judge_verdict alone[POSTS_MAX], together[POSTS_MAX];
    struct judge_result result[POSTS_MAX];
    struct judge_options o = {.model = model_path, .type = type, .threads = 1, .quotes = true};
    struct judge *j;
    some_posts(r, in);
    ok(judge_open(&j, &o, &error));
    for (size_t i = 0; i < posts(); i++)
        ok(judge_text(j, &in[i], &alone[i], &error));
    judge_close(j);
    o.threads = 3;
    ok(judge_open(&j, &o, &error));
    for (size_t i = posts(); i-- > 1;) {
        size_t k = rng_below(r, i + 1);
        struct judge_input x = in[i];
        struct judge_verdict v = alone[i];
        in[i] = in[k], in[k] = x;
        alone[i] = alone[k], alone[k] = v;
    }
    for (size_t i = 0; i < posts();) {
        size_t n = rng_below(r, posts() - i) + 1;
        judge_texts(j, in + i, n, 0, together + i, result + i);
        i += n;
    }
    for (size_t i = 0; i < posts(); i++) {
        assert_int_equal(result[i].rc, 0);
        same(&together[i], &alone[i], in[i].text);
    }
    free_posts(in, posts());
    judge_close(j);
}

static void test_company_changes_nothing(void **state)
{
    (void)state;
    struct rng r = seeded();
    static const char *const types[] = {"f32", "bf16", "q8_0", "q4_0"};
    for (size_t i = 0; i < COUNT_OF(types); i++)
        check_company(&r, types[i]);
}

struct caller {
    const struct judge *judge;
    const struct judge_input *in;
    const struct judge_verdict *want;
    size_t first;
    bool same;
};

static void *call(void *context)
{
    struct caller *c = context;
    c->same = true;
    for (size_t i = 0; i < posts(); i++) {
        size_t k = (c->first + i) % posts();
        struct judge_verdict v;
        struct err e;
        if (judge_text(c->judge, &c->in[k], &v, &e) || memcmp(v.axis, c->want[k].axis, sizeof v.axis) != 0)
            c->same = false;
    }
    return NULL;
}

static void test_several_callers(void **state)
{
    (void)state;
    struct rng r = seeded();
    struct judge_input in[POSTS_MAX];
    struct judge_verdict want[POSTS_MAX];
    pthread_t thread[4];
    struct caller caller[4];
    struct engine *g = open_engine(1);
    struct judge *j = open_judge(g, true);
    some_posts(&r, in);
    for (size_t i = 0; i < posts(); i++)
        ok(judge_text(j, &in[i], &want[i], &error));
    for (size_t t = 0; t < COUNT_OF(thread); t++) {
        caller[t] = (struct caller){j, in, want, 17 * t, false};
        assert_int_equal(pthread_create(&thread[t], NULL, call, &caller[t]), 0);
    }
    for (size_t t = 0; t < COUNT_OF(thread); t++) {
        pthread_join(thread[t], NULL);
        assert_true(caller[t].same);
    }
    free_posts(in, posts());
    judge_close(j);
    engine_close(g);
}

/* ---- evidence ---- */

static void check_quotes(const char *text, const struct judge_verdict *v)
{
    size_t n = strlen(text);
    for (int a = 0; a < AXES; a++) {
        const struct judge_axis *x = &v->axis[a];
        if (x->decision == DECISION_KEEP) {
            assert_int_equal(x->quote_len, 0);
            continue;
        }
        if (x->quote_len == 0 || x->quote > n || x->quote_len > n - x->quote ||
            (text[x->quote] & 0xC0) == 0x80 || (text[x->quote + x->quote_len] & 0xC0) == 0x80 ||
            !utf8_valid(text + x->quote, x->quote_len, NULL))
            fail_msg("axis %d: quote %zu+%zu of %zu bytes of \"%s\"", a, x->quote, x->quote_len, n, text);
    }
}

static void test_evidence_has_a_price(void **state)
{
    (void)state;
    struct rng r = seeded();
    struct engine *g = open_engine(1);
    struct judge *plain = open_judge(g, false), *quoting = open_judge(g, true);
    double dearest = 0;
    for (int i = 0; i < (getenv("SHORT") ? 12 : 150); i++) {
        static const char *const units[] = {"가",    "a ",     "a",    ". ",      "😀",
                                            "혼자 ", "\n친구", "</s>", "ㅋ\u200B"};
        struct judge_input in = {.text = i % 10 ? random_post(&r, (size_t)i)
                                                : repeated(units[rng_below(&r, COUNT_OF(units))],
                                                           20 + rng_below(&r, i % 30 ? 2000 : 65000)),
                                 .mission = rng_below(&r, 2) ? "혼자 산책하기" : NULL};
        struct judge_verdict v, w;
        size_t before = session_work(g->session);
        ok(judge_text(plain, &in, &v, &error));
        size_t judgement = session_work(g->session) - before;
        before = session_work(g->session);
        ok(judge_text(quoting, &in, &w, &error));
        size_t evidence = session_work(g->session) - before - judgement;
        if (judgement && (double)evidence / (double)judgement > dearest)
            dearest = (double)evidence / (double)judgement;
        if (evidence > ONEPASS_EVIDENCE_COST * judgement)
            fail_msg("evidence %zu tokens, judgement %zu: \"%s\"", evidence, judgement, in.text);
        check_quotes(in.text, &w);
        free((char *)in.text);
    }
    print_message("# dearest: %.3f judgements\n", dearest);
    judge_close(plain);
    judge_close(quoting);
    engine_close(g);
}

/* ---- what is beside a model ---- */

static int open_with(struct engine **g, const char *model, const char *adapter)
{
    const struct judge_options o = {.model = model, .adapter = adapter, .threads = 1};
    return engine_open(g, &o, &error);
}

/* The folder with these notes: refused with that code, naming that. */
static void refused(const char *notes, int code, const char *what)
{
    struct engine *g;
    put_text("gyeol.json", notes);
    assert_int_equal(open_with(&g, folder, NULL), code);
    assert_null(g);
    if (!strstr(error.msg, what))
        fail_msg("\"%s\", want \"%s\"", error.msg, what);
}

#define AXIS(scale, up, threshold)                                                                           \
    "{\"scale\": " scale ", \"up\": " up ", \"down\": 0, \"threshold\": " threshold "}"
#define CALIBRATED(axis)                                                                                     \
    "{\"base\": \"m.gguf\", \"calibration\": {\"axes\": {\"ei\": " axis ", \"sn\": " axis ", \"tf\": " axis  \
    ", \"jp\": " axis "}}}"

static void test_hostile_notes(void **state)
{
    (void)state;
    struct buf b = {0};
    refused("", ERR_FORMAT, "gyeol.json:1: ");
    refused("[]", ERR_FORMAT, "want a JSON object");
    refused("{\"base\": \"m.gguf\", \"base\": \"m.gguf\"}", ERR_FORMAT, "gyeol.json:1: ");
    refused("{\"base\": 7}", ERR_FORMAT, "gyeol.json: base is 7");
    refused("{\"base\": \"none.gguf\"}", ERR_MISSING, "/none.gguf: ");
    refused("{\"base\": \"m.gguf\", \"adapter\": [\"a\"]}", ERR_FORMAT, "gyeol.json: adapter is a list");
    refused("{\"base\": \"m.gguf\", \"adapter\": \"none\"}", ERR_MISSING, "/none/");
    refused("{\"base\": \"m.gguf\", \"type\": 8}", ERR_FORMAT, "gyeol.json: type is 8");
    refused("{\"base\": \"m.gguf\", \"type\": \"q8_0_and_more_than_fits\"}", ERR_FORMAT, "want f32");
    refused("{\"base\": \"m.gguf\", \"type\": \"nf4\"}", ERR_FORMAT, "type is \"nf4\", want f32");
    refused("{\"base\": \"m.gguf\", \"template\": {}}", ERR_FORMAT, "template is an object");
    refused("{\"base\": \"m.gguf\", \"template\": \"x\"}", ERR_FORMAT, "template is \"x\", want");
    refused("{\"base\": \"m.gguf\", \"calibration\": 7}", ERR_FORMAT, "gyeol.json: \"calibration\"");
    refused("{\"base\": \"m.gguf\", \"calibration\": {}}", ERR_FORMAT, "calibration of ei");
    refused(CALIBRATED(AXIS("1e300", "0", "0.5")), ERR_FORMAT, "calibration of ei: want scale");
    refused(CALIBRATED(AXIS("0", "0", "0.5")), ERR_FORMAT, "calibration of ei: want scale");
    refused(CALIBRATED(AXIS("1", "-1e300", "0.5")), ERR_FORMAT, "calibration of ei: want scale");
    refused(CALIBRATED(AXIS("1", "0", "1.5")), ERR_FORMAT, "calibration of ei: want scale");
    refused(CALIBRATED(AXIS("1", "0", "\"1\"")), ERR_FORMAT, "calibration of ei: ");
    refused(CALIBRATED(AXIS("1", "0", "0.5")), ERR_STATE, "calibrated for another prompt");
    for (int i = 0; i < 100000; i++)
        buf_str(&b, "{\"a\":");
    refused(b.data, ERR_FORMAT, "gyeol.json");
    buf_deinit(&b);
    char *long_one = repeated(" ", (1 << 20) + 1);
    refused(long_one, ERR_LIMIT, "gyeol.json");
    free(long_one);
    unlink(in_folder("gyeol.json"));
    ok(mkdir(in_folder("gyeol.json"), 0700));
    struct engine *g;
    assert_int_equal(open_with(&g, folder, NULL), ERR_FORMAT);
    rmdir(in_folder("gyeol.json"));
}

/* A calibration as train calibrate would leave it, so far as it matters whose it is. */
static void calibrate(struct engine *g)
{
    g->calibration.fitted = true;
    for (int a = 0; a < AXES; a++)
        g->calibration.axis[a] = (struct calibration_axis){1.5, -0.25, 0.125, 0.75};
    memcpy(g->calibration.prompt_sha256, g->prompt.sha256, DIGEST_HEX);
    memcpy(g->calibration.model_sha256, g->model_sha256, DIGEST_HEX);
    memcpy(g->calibration.adapter_sha256, g->adapter_sha256, DIGEST_HEX);
    ok(engine_save_calibration(g, &error));
}

static void test_a_calibration_is_of_one_model(void **state)
{
    (void)state;
    struct engine *g;
    char *text;
    size_t n;
    put_text("gyeol.json",
             "{\"z\": 12345678901234567, \"base\": \"m.gguf\", \"calibration\": 1, \"a\": [0.1]}");
    const struct judge_options again = {.model = folder, .recalibrate = true, .threads = 1};
    ok(engine_open(&g, &again, &error));
    assert_string_equal(g->home, in_folder("gyeol.json"));
    assert_false(g->calibration.fitted);
    calibrate(g);
    ok(file_read(&text, &n, g->home, 1 << 20, &error));
    const char *z = strstr(text, "\"z\": 12345678901234567"), *base = strstr(text, "\"base\": \"m.gguf\""),
               *last = strstr(text, "\"a\": [\n  0.1");
    assert_true(z && base && last && z < base && base < strstr(text, "\"calibration\"") && base < last);
    free(text);
    engine_close(g);
    ok(open_with(&g, folder, NULL));
    assert_true(g->calibration.fitted && g->calibration.axis[3].scale == 1.5);
    static const char *const whose[] = {"another prompt", "another model", "another adapter"};
    char *const digest[] = {g->prompt.sha256, g->model_sha256, g->adapter_sha256};
    for (size_t i = 0; i < COUNT_OF(whose); i++) {
        char was[DIGEST_HEX];
        struct engine *other;
        memcpy(was, digest[i], DIGEST_HEX);
        memset(digest[i], '7', DIGEST_HEX - 1);
        calibrate(g);
        assert_int_equal(open_with(&other, folder, NULL), ERR_STATE);
        assert_non_null(strstr(error.msg, whose[i]));
        memcpy(digest[i], was, DIGEST_HEX);
    }
    engine_close(g);
    unlink(in_folder("gyeol.json"));
}

/* Weights in training, or compiled in: there is no file to keep a calibration. */
static void test_no_home_keeps_no_calibration(void **state)
{
    (void)state;
    struct engine *over, *g = open_engine(1), *embedded;
    ok(engine_over(&over, g->model, NULL, g->tokenizer, g->prompt.chat, 1, &error));
    assert_int_equal(engine_save_calibration(over, &error), ERR_STATE);
    engine_close(over);
    engine_close(g);
    const struct judge_options o = {.threads = 1};
    int rc = engine_open(&embedded, &o, &error);
    if (rc) {
        assert_int_equal(rc, ERR_MISSING);
        assert_non_null(strstr(error.msg, "this build holds no language model"));
        return;
    }
    assert_int_equal(engine_save_calibration(embedded, &error), ERR_STATE);
    assert_non_null(strstr(error.msg, "gyeol-mini"));
    engine_close(embedded);
}

static void test_notes_in_memory(void **state)
{
    (void)state;
    struct notes n;
    static const char good[] = "{\"type\": \"f32\"}", bad[] = "{\"type\"";
    ok(notes_parse(&n, "gyeol-x", good, strlen(good), &error));
    assert_null(n.file);
    assert_string_equal(json_string_value(fields_get(&n.fields, "type")), "f32");
    notes_deinit(&n);
    assert_int_equal(notes_parse(&n, "gyeol-x", bad, strlen(bad), &error), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "gyeol-x:1: "));
    notes_deinit(&n);
}

static void make_adapter(void)
{
    struct bag *b = calloc(1, sizeof *b);
    b->rng = (struct rng){9};
    for (int layer = 0; layer < 2; layer++) {
        char name[100];
        snprintf(name, sizeof name, "base_model.model.model.layers.%d.self_attn.q_proj.lora_A.weight", layer);
        bag_add(b, name, DT_F32, 2, 2, 64, NULL);
        memcpy(strstr(name, "lora_A"), "lora_B", 6);
        bag_add(b, name, DT_F32, 2, 64, 2, NULL);
    }
    ok(mkdir(in_folder("a"), 0700));
    bag_write(b, 0, b->n, "a/adapter_model.safetensors");
    put_text("a/adapter_config.json",
             "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"target_modules\": [\"q_proj\"]}");
    bag_free(b);
}

static void test_an_adapter_has_a_calibration_of_its_own(void **state)
{
    (void)state;
    struct engine *g;
    char a[400];
    make_adapter();
    snprintf(a, sizeof a, "%s", in_folder("a"));
    put_text("gyeol.json", "{\"base\": \"m.gguf\", \"adapter\": \"a\"}");
    ok(open_with(&g, folder, NULL));
    assert_non_null(g->adapter);
    calibrate(g);
    engine_close(g);
    ok(open_with(&g, folder, NULL));
    assert_true(g->calibration.fitted);
    engine_close(g);
    ok(open_with(&g, folder, "none")); /* the base alone: neither calibrated by that, nor will it be there */
    assert_true(!g->adapter && !g->calibration.fitted);
    assert_string_equal(g->home, in_folder("m.gguf.gyeol.json"));
    engine_close(g);
    ok(open_with(&g, folder, a));
    assert_true(g->adapter && !g->calibration.fitted);
    assert_string_equal(g->home, in_folder("a/gyeol.json"));
    calibrate(g);
    engine_close(g);
    put_text("gyeol.json", "{\"base\": \"m.gguf\", \"adapter\": \"a\"}"); /* what the adapter brings counts */
    ok(open_with(&g, folder, NULL));
    assert_true(g->calibration.fitted);
    assert_string_equal(g->home, in_folder("gyeol.json"));
    engine_close(g);
    ok(open_with(&g, model_path, a));
    assert_true(g->adapter && g->calibration.fitted);
    engine_close(g);
    unlink(in_folder("gyeol.json"));
    unlink(in_folder("a/gyeol.json"));
    unlink(in_folder("a/adapter_config.json"));
    unlink(in_folder("a/adapter_model.safetensors"));
    rmdir(a);
}

static void test_names(void **state)
{
    (void)state;
    struct engine *g;
    char path[400];
    put_text("gyeol.json", "{\"base\": \"m.gguf\"}");
    snprintf(path, sizeof path, "%s//", folder);
    ok(open_with(&g, path, NULL));
    assert_string_equal(g->name, strrchr(folder, '/') + 1);
    engine_close(g);
    ok(open_with(&g, model_path, NULL));
    assert_string_equal(g->name, "m.gguf");
    engine_close(g);
    unlink(in_folder("gyeol.json"));
}

/* ---- packs ---- */

enum { SOURCE_AT = 154, PAGE = 4096 }; /* where a pack's header keeps the source's digest; its length */

static void test_a_pack_that_is_none(void **state)
{
    (void)state;
    struct rng r = seeded();
    struct engine *g;
    struct stat st;
    char pack[400], *bytes, sha256[DIGEST_HEX];
    size_t n;
    ok(open_with(&g, model_path, NULL));
    memcpy(sha256, g->model_sha256, DIGEST_HEX);
    engine_close(g);
    snprintf(pack, sizeof pack, "%s", in_folder("m.gguf.bf16.w16.pack"));
    ok(file_read(&bytes, &n, pack, 1 << 26, &error));
    assert_memory_equal(bytes + SOURCE_AT, sha256, DIGEST_HEX);
    for (int i = 0; i < 8; i++) {
        char *bad = malloc(n);
        memcpy(bad, bytes, n);
        if (i == 0)
            memset(bad, 0, PAGE);
        else if (i == 1)
            memset(bad + SOURCE_AT, 'a', DIGEST_HEX); /* a string without an end */
        else if (i == 2)
            bad[SOURCE_AT] = 'X';
        else if (i < 6)
            for (size_t k = 0; k < SOURCE_AT; k++)
                bad[k] ^= (char)rng_below(&r, i == 5 ? 256 : 2);
        ok(file_write(pack, bad, i == 6 ? n - 1 : i == 7 ? PAGE / 2 : n, &error));
        free(bad);
        ok(open_with(&g, model_path, NULL));
        assert_string_equal(g->model_sha256, sha256);
        engine_close(g);
        char *again;
        size_t len;
        ok(file_read(&again, &len, pack, 1 << 26, &error));
        assert_int_equal(len, n);
        assert_memory_equal(again, bytes, n);
        free(again);
    }
    free(bytes);
    unlink(pack);
    ok(mkfifo(pack, 0600)); /* must not wait for a writer */
    ok(chmod(model_path, 0640));
    ok(open_with(&g, model_path, NULL));
    engine_close(g);
    assert_int_equal(stat(pack, &st), 0);
    assert_true(S_ISREG(st.st_mode) && (st.st_mode & 0777) == 0640); /* whoever may read the model */
    DIR *d = opendir(folder);
    for (struct dirent *at; (at = readdir(d));)
        assert_null(strstr(at->d_name, ".tmp"));
    closedir(d);
}

/* ---- damaged weights ---- */

static void test_what_is_no_number_decides_nothing(void **state)
{
    (void)state;
    char *bytes, path[400];
    size_t n;
    struct engine *g;
    struct judge_verdict v;
    const struct judge_input in = {.text = "나는 친구들이랑 노는게 재밌어"};
    float logits[1][AXES][3];
    snprintf(path, sizeof path, "%s", in_folder("nan.gguf"));
    ok(file_read(&bytes, &n, model_path, 1 << 26, &error));
    memset(bytes + n - 256, 0xFF, 256); /* the last norm */
    ok(file_write(path, bytes, n, &error));
    free(bytes);
    ok(open_with(&g, path, NULL));
    struct judge *j = open_judge(g, true);
    assert_int_equal(judge_text(j, &in, &v, &error), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "nan.gguf: its answer on ei is no number"));
    assert_int_equal(onepass_logits(g, &in, 1, logits, &error), ERR_FORMAT);
    judge_close(j);
    engine_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_company_changes_nothing),
        cmocka_unit_test(test_several_callers),
        cmocka_unit_test(test_evidence_has_a_price),
        cmocka_unit_test(test_hostile_notes),
        cmocka_unit_test(test_a_calibration_is_of_one_model),
        cmocka_unit_test(test_no_home_keeps_no_calibration),
        cmocka_unit_test(test_notes_in_memory),
        cmocka_unit_test(test_an_adapter_has_a_calibration_of_its_own),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_a_pack_that_is_none),
        cmocka_unit_test(test_what_is_no_number_decides_nothing),
    };
    return cmocka_run_group_tests_name("engine", tests, setup, folder_remove);
}
