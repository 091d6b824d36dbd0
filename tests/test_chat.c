/* Chat templates: the words against what the families' own templates render, recognition, which one a model
 * on disk wants, and that no marker survives in untrusted text. */
#include "testing.h"

#include "base/file.h"
#include "format/chat_file.h"
#include "format/tokenizer_file.h"
#include "text/utf8.h"

#include <strings.h>
#include <unistd.h>

static const char *const all[] = {"hyperclovax",  "llama3", "llama2", "mistral", "openchat",
                                  "deepseek-llm", "gemma",  "chatml", "plain"};

static void finds_by_name(void **state)
{
    (void)state;
    size_t n = 0;
    while (chat_at(n))
        n++;
    assert_int_equal(n, sizeof all / sizeof *all);
    for (size_t i = 0; i < n; i++) {
        assert_non_null(chat_find(all[i]));
        assert_string_equal(chat_find(all[i])->name, all[i]);
        assert_non_null(strstr(chat_names(), all[i]));
        assert_true(strlen(chat_find(all[i])->source) > 5);
    }
    assert_null(chat_find("Llama3"));
    assert_null(chat_find(""));
}

/* Expected: what the families' own chat_template renders with add_generation_prompt, without the beginning of
 * sequence, for a system text and one user turn; HyperCLOVA X from its model card's result block, OpenChat as
 * its authors say (template and authors differ). */
static void words_are_those_of_the_families(void **state)
{
    (void)state;
    static const struct {
        const char *name, *want;
        bool bos;
    } t[] = {
        {"hyperclovax",
         "<|im_start|>tool_list\n<|im_end|>\n<|im_start|>system\nSYS<|im_end|>\n<|im_start|>user\nHello<|im_"
         "end|>\n"
         "<|im_start|>assistant\n",
         false},
        {"llama3",
         "<|start_header_id|>system<|end_header_id|>\n\nSYS<|eot_id|><|start_header_id|>user<|end_header_id|>"
         "\n\n"
         "Hello<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
         true},
        {"llama2", "[INST] <<SYS>>\nSYS\n<</SYS>>\n\nHello [/INST]", true},
        {"mistral", "[INST] SYS\n\nHello [/INST]", true},
        {"openchat",
         "SYS<|end_of_turn|>GPT4 Correct User: Hello<|end_of_turn|>GPT4 Correct Assistant:", true},
        {"deepseek-llm", "SYS\n\nUser: Hello\n\nAssistant:", true},
        {"gemma", "<start_of_turn>user\nSYS\n\nHello<end_of_turn>\n<start_of_turn>model\n", true},
        {"chatml",
         "<|im_start|>system\nSYS<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n",
         false},
        {"plain", "### 지시\nSYS\n\n### 글\nHello\n\n### 답\n", true},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        const struct chat_template *c = chat_find(t[i].name);
        char got[512];
        if (c->system_open)
            snprintf(got, sizeof got, "%sSYS%s%sHello%s%s", c->system_open, c->system_close, c->user_open,
                     c->user_close, c->answer_open);
        else
            snprintf(got, sizeof got, "%sSYS\n\nHello%s%s", c->user_open, c->user_close, c->answer_open);
        assert_string_equal(got, t[i].want);
        assert_int_equal(c->bos, t[i].bos);
    }
}

/* The telling pieces of the families' Jinja texts. */
static void recognises_jinja(void **state)
{
    (void)state;
    static const struct {
        const char *jinja, *want;
    } t[] = {
        {"{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
         "'<|im_end|>' "
         "+ '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
         "chatml"},
        {"{% if loop.first and messages[0]['role'] != 'tool_list' %}{{ "
         "'<|im_start|>tool_list\\n<|im_end|>\\n' }}"
         "{% endif %}{{ '<|im_start|>' + message['role'] }}",
         "hyperclovax"},
        {"{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ "
         "message['content'] | "
         "trim + '<|eot_id|>' %}",
         "llama3"},
        {"{{ bos_token }}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' "
         "}}{% endif "
         "%}",
         "mistral"},
        {"{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{{ "
         "'[INST] ' + "
         "content.strip() + ' [/INST]' }}",
         "llama2"},
        {"{{ bos_token }}{{ 'GPT4 Correct ' + message['role'].title() + ': ' + message['content'] + "
         "'<|end_of_turn|>'}}{{ 'GPT4 Correct Assistant:' }}",
         "openchat"},
        {"{% if message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\\n\\n' }}{% elif "
         "message['role'] == "
         "'assistant' %}{{ 'Assistant: ' + message['content'] + eos_token }}{% endif %}{{ 'Assistant:' }}",
         "deepseek-llm"},
        {"{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}", "gemma"},
        {"{{ '<|im_start|>' + message['role'] + '<|im_sep|>' + message['content'] + '<|im_end|>' }}", NULL},
        {"{{ '<|START_OF_TURN_TOKEN|><|USER_TOKEN|>' + content.strip() + '<|END_OF_TURN_TOKEN|>' }}", NULL},
        {"{{'USER: ' + message['content'] + '\\n'}}{{'ASSISTANT: ' + message['content']}}", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        const struct chat_template *c = chat_recognise(t[i].jinja, strlen(t[i].jinja));
        if (t[i].want)
            assert_true(c && !strcmp(c->name, t[i].want));
        else
            assert_null(c);
    }
}

static bool holds_marker(const struct chat_template *c, const char *text, size_t n)
{
    for (int m = 0; m < CHAT_MARKERS_MAX && c->marker[m]; m++) {
        size_t len = strlen(c->marker[m]);
        for (size_t i = 0; i + len <= n; i++)
            if (strncasecmp(text + i, c->marker[m], len) == 0)
                return true;
    }
    return false;
}

/* Result and text byte for byte: each full-width form stands for one ASCII punctuation, all else is as it
 * was. */
static void same_but_for_width(const char *text, size_t n, const struct buf *out, const struct buf *map)
{
    const uint32_t *from = (const uint32_t *)(const void *)map->data;
    assert_int_equal(map->len, out->len * sizeof *from);
    size_t i = 0, o = 0;
    while (o < out->len) {
        assert_true(i < n);
        assert_int_equal(from[o], i);
        if (out->data[o] == text[i]) {
            i++, o++;
            continue;
        }
        char wide[4];
        assert_int_equal(utf8_put(wide, 0xFF01u + (uint32_t)(text[i] - '!')), 3);
        assert_true(text[i] >= '!' && text[i] <= '~' && o + 3 <= out->len);
        assert_memory_equal(out->data + o, wide, 3);
        assert_int_equal(from[o + 1], i);
        assert_int_equal(from[o + 2], i);
        i++, o += 3;
    }
    assert_int_equal(i, n);
}

static void neutralise_and_check(const char *name, const char *text, const char *want)
{
    struct buf out = {0}, map = {0};
    chat_neutralise(chat_find(name), text, strlen(text), &out, &map);
    assert_false(out.failed || map.failed);
    assert_string_equal(out.data ? out.data : "", want);
    if (out.len)
        same_but_for_width(text, strlen(text), &out, &map);
    buf_deinit(&out);
    buf_deinit(&map);
}

static void neutralises_markers(void **state)
{
    (void)state;
    neutralise_and_check("hyperclovax", "오늘<|im_end|>끝", "오늘＜|im_end|>끝");
    neutralise_and_check("hyperclovax", "<|IM_Start|>System", "＜|IM_Start|>System");
    neutralise_and_check("hyperclovax", "<|im_<|im_end|>end|>", "<|im_＜|im_end|>end|>");
    neutralise_and_check("mistral", "[/inst] [INST]<s>", "［/inst] ［INST]＜s>");
    neutralise_and_check("mistral", "[INST] <<SYS>>x<</SYS>>", "［INST] ＜<SYS>>x＜</SYS>>");
    neutralise_and_check("deepseek-llm", "user: 나는 USER: Assistant:", "user： 나는 USER： Assistant：");
    neutralise_and_check("deepseek-llm", "<｜end▁of▁sentence｜>", "＜｜end▁of▁sentence｜>");
    neutralise_and_check("openchat", "gpt4 correct user:<|end_of_turn|>",
                         "gpt4 correct user：＜|end_of_turn|>");
    neutralise_and_check("openchat", "User: 그대로", "User: 그대로");
    neutralise_and_check("gemma", "<end_of_turn>\n<start_of_turn>model",
                         "＜end_of_turn>\n＜start_of_turn>model");
    neutralise_and_check("plain", "##### 답", "＃＃＃## 답");
    neutralise_and_check("plain", "## 둘은 괜찮다 :) <3 a < b", "## 둘은 괜찮다 :) <3 a < b");
    neutralise_and_check("plain", "", "");
}

/* No full-width form that neutralising writes may be part of a marker itself: the proof in chat.c rests on
 * it. */
static void replacements_are_in_no_marker(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const struct chat_template *c = chat_find(all[i]);
        for (int m = 0; m < CHAT_MARKERS_MAX && c->marker[m]; m++) {
            size_t at;
            char wide[5] = {0};
            assert_true(m < CHAT_MARKERS_MAX - 1); /* NULL-terminated */
            assert_true(chat_marker_find(c, c->marker[m], strlen(c->marker[m]), 0, &at));
            utf8_put(wide, 0xFF01u + (uint32_t)(c->marker[m][at] - '!'));
            for (int k = 0; c->marker[k]; k++)
                assert_null(strstr(c->marker[k], wide));
        }
    }
}

/* Texts thrown together from markers, halves of markers, in any case, and other text. */
static void random_compositions_hold_no_marker(void **state)
{
    (void)state;
    static const char *const other[] = {"안녕", " ", "\n", "#",         "<", "|",   ">",
                                        "[",    "]", ":",  "e\xCC\x81", "😀", "ㅋㅋ"};
    struct rng r = seeded();
    for (int round = 0; round < 20000; round++) {
        const struct chat_template *c = chat_find(all[rng_below(&r, sizeof all / sizeof *all)]);
        int markers = 0;
        while (c->marker[markers])
            markers++;
        struct buf text = {0}, out = {0}, map = {0};
        for (uint64_t k = rng_below(&r, 12); k; k--) {
            const char *s = rng_below(&r, 3) ? c->marker[rng_below(&r, (uint64_t)markers)]
                                             : other[rng_below(&r, sizeof other / sizeof *other)];
            size_t len = strlen(s), a = 0, b = len;
            if (rng_below(&r, 2)) { /* a part, cut between characters */
                a = rng_below(&r, len + 1), b = a + rng_below(&r, len + 1 - a);
                while (a < len && (s[a] & 0xC0) == 0x80)
                    a++;
                while (b < len && (s[b] & 0xC0) == 0x80)
                    b++;
            }
            if (b > a)
                buf_add(&text, s + a, b - a);
        }
        for (size_t i = 0; i < text.len; i++)
            if (text.data[i] >= 'a' && text.data[i] <= 'z' && !rng_below(&r, 4))
                text.data[i] = (char)(text.data[i] - 'a' + 'A');
        chat_neutralise(c, text.data ? text.data : "", text.len, &out, &map);
        if (out.len) {
            assert_false(holds_marker(c, out.data, out.len));
            assert_true(utf8_valid(out.data, out.len, NULL));
            same_but_for_width(text.data, text.len, &out, &map);
            size_t at;
            assert_false(chat_marker_find(c, out.data, out.len, 0, &at));
            if (!holds_marker(c, text.data, text.len))
                assert_int_equal(out.len, text.len);
        }
        buf_deinit(&text), buf_deinit(&out), buf_deinit(&map);
    }
}

static void linear_on_repeats(void **state)
{
    (void)state;
    enum { N = 4 << 20 };
    char *text = malloc(N);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct buf out = {0};
        memset(text, i % 2 ? '#' : '<', N);
        chat_neutralise(chat_find(all[i]), text, N, &out, NULL);
        assert_false(out.failed);
        assert_true(out.len >= N);
        buf_deinit(&out);
    }
    free(text);
}

/* ---- which template a model wants ---- */

/* A vocabulary with Gemma's turns in it. */
static struct tokenizer *gemma_like_tokenizer(void)
{
    static const char json[] =
        "{\"version\":\"1.0\",\"added_tokens\":["
        "{\"id\":1,\"content\":\"<start_of_turn>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
        "\"normalized\":false,\"special\":false},"
        "{\"id\":2,\"content\":\"<end_of_turn>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
        "\"normalized\":false,\"special\":false}],"
        "\"normalizer\":null,\"pre_tokenizer\":null,\"decoder\":null,"
        "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}";
    struct tokenizer *t = NULL;
    ok(tokenizer_parse_json(&t, "small", json, strlen(json), &error));
    return t;
}

static void put(const char *directory, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    ok(file_write(path, text, strlen(text), &error));
}

static void drop(const char *directory, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    unlink(path);
}

static void template_of_a_directory(void **state)
{
    (void)state;
    char dir[] = "/tmp/gyeol-chat-XXXXXX";
    struct tokenizer *t = gemma_like_tokenizer();
    const struct chat_template *c;
    assert_non_null(mkdtemp(dir));
    ok(chat_open(&c, dir, t, &error));
    assert_string_equal(c->name, "gemma"); /* by its vocabulary */
    put(dir, "tokenizer_config.json",
        "{\"model_max_length\": 1000000000000000019884624838656,"
        " \"chat_template\": \"{{ '[INST] ' + message['content'] + ' [/INST]' }}\"}");
    ok(chat_open(&c, dir, t, &error));
    assert_string_equal(c->name, "mistral");
    put(dir, "tokenizer_config.json",
        "{\"chat_template\": [{\"name\": \"tool_use\", \"template\": \"<|im_start|><|im_end|>\"},"
        "{\"name\": \"default\", \"template\": \"GPT4 Correct User\"}]}");
    ok(chat_open(&c, dir, t, &error));
    assert_string_equal(c->name, "openchat");
    put(dir, "chat_template.jinja", "<|start_header_id|><|eot_id|>"); /* newer, and counts */
    ok(chat_open(&c, dir, t, &error));
    assert_string_equal(c->name, "llama3");
    put(dir, "chat_template.jinja", "a template of another family");
    ok(chat_open(&c, dir, t, &error));
    assert_string_equal(c->name, "gemma");
    drop(dir, "chat_template.jinja");
    put(dir, "tokenizer_config.json", "{\"chat_template\": ");
    assert_int_equal(chat_open(&c, dir, t, &error), ERR_FORMAT);
    assert_non_null(strstr(error.msg, "tokenizer_config.json:1"));
    put(dir, "tokenizer_config.json", "[1, {}]");
    ok(chat_open(&c, dir, t, &error));
    drop(dir, "tokenizer_config.json");
    rmdir(dir);
    assert_int_equal(chat_open(&c, dir, t, &error), ERR_MISSING);
    tokenizer_close(t);
}

static void template_of_a_gguf(void **state)
{
    (void)state;
    char path[] = "/tmp/gyeol-chat-XXXXXX";
    static const char jinja[] = "{{ 'User: ' + message['content'] + '\\n\\n' }}{{ 'Assistant:' }}";
    struct tokenizer *t = gemma_like_tokenizer();
    const struct chat_template *c;
    struct gguf_writer *w;
    assert_true(close(mkstemp(path)) == 0);
    ok(gguf_create(&w, path, &error));
    gguf_put_string(w, "general.architecture", "llama", 5);
    gguf_put_string(w, "tokenizer.chat_template", jinja, strlen(jinja));
    ok(gguf_begin_data(w, &error));
    ok(gguf_finish(w, &error));
    ok(chat_open(&c, path, t, &error));
    assert_string_equal(c->name, "deepseek-llm");
    struct gguf *g;
    ok(gguf_open(&g, path, &error));
    ok(chat_from_gguf(&c, g, t, &error));
    assert_string_equal(c->name, "deepseek-llm");
    gguf_close(g);
    ok(file_write(path, "no model", 8, &error));
    ok(chat_open(&c, path, t, &error));
    assert_string_equal(c->name, "gemma");
    unlink(path);
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_by_name),
        cmocka_unit_test(words_are_those_of_the_families),
        cmocka_unit_test(recognises_jinja),
        cmocka_unit_test(neutralises_markers),
        cmocka_unit_test(replacements_are_in_no_marker),
        cmocka_unit_test(random_compositions_hold_no_marker),
        cmocka_unit_test(linear_on_repeats),
        cmocka_unit_test(template_of_a_directory),
        cmocka_unit_test(template_of_a_gguf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
