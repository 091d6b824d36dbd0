/* The words of each family's conversation, and what keeps untrusted text from speaking them. Each template
 * was written down from the place named in `source`; where a family's own template adds things that depend on
 * the day (Llama 3.1's dates), they are left out: the same post must give the same tokens on every day. */
#include "text/chat.h"

#include "base/size.h"
#include "text/utf8.h"

#include <stdint.h>
#include <string.h>

static const struct chat_template templates[] = {
    {
        .name = "hyperclovax",
        /* The empty tool_list turn comes first even when there are no tools. */
        .source =
            "naver-hyperclovax/HyperCLOVAX-SEED-Text-Instruct-0.5B README.md, usage example and its result",
        .system_open = "<|im_start|>tool_list\n<|im_end|>\n<|im_start|>system\n",
        .system_close = "<|im_end|>\n",
        .user_open = "<|im_start|>user\n",
        .user_close = "<|im_end|>\n",
        .answer_open = "<|im_start|>assistant\n",
        .stop = {"<|endofturn|>", "<|stop|>", "<|im_end|>"},
        .marker = {"<|im_start|>", "<|im_end|>", "<|stop|>", "<|endofturn|>", "<|endoftext|>",
                   "<|endofprompt|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"},
    },
    {
        .name = "llama3",
        .source =
            "meta-llama/Meta-Llama-3-8B-Instruct tokenizer_config.json; the same turns in 3.1 and 3.2, whose "
            "dates are left out",
        .bos = true,
        .system_open = "<|start_header_id|>system<|end_header_id|>\n\n",
        .system_close = "<|eot_id|>",
        .user_open = "<|start_header_id|>user<|end_header_id|>\n\n",
        .user_close = "<|eot_id|>",
        .answer_open = "<|start_header_id|>assistant<|end_header_id|>\n\n",
        .stop = {"<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"},
        .marker = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>",
                   "<|begin_of_text|>", "<|end_of_text|>", "<|python_tag|>", "<|finetune_right_pad_id|>"},
    },
    {
        .name = "llama2",
        .source = "meta-llama/Llama-2-7b-chat-hf tokenizer_config.json",
        .bos = true,
        .system_open = "[INST] <<SYS>>\n",
        .system_close = "\n<</SYS>>\n\n",
        .user_open = "",
        .user_close = " [/INST]",
        .answer_open = "",
        .stop = {"</s>"},
        .marker = {"[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>", "</s>"},
    },
    {
        .name = "mistral",
        .source = "mistralai/Mistral-7B-Instruct-v0.1 tokenizer_config.json",
        .bos = true,
        .user_open = "[INST] ",
        .user_close = " [/INST]",
        .answer_open = "",
        .stop = {"</s>"},
        .marker = {"[INST]", "[/INST]", "<s>", "</s>", "<<SYS>>", "<</SYS>>", "[SYSTEM_PROMPT]",
                   "[/SYSTEM_PROMPT]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[AVAILABLE_TOOLS]"},
    },
    {
        .name = "openchat",
        /* The authors put the system text before the first turn without a role; the Jinja text does not. */
        .source = "openchat/openchat-3.5-0106 tokenizer_config.json; system text as in openchat/openchat_3.5 "
                  "discussion 5",
        .bos = true,
        .system_open = "",
        .system_close = "<|end_of_turn|>",
        .user_open = "GPT4 Correct User: ",
        .user_close = "<|end_of_turn|>",
        .answer_open = "GPT4 Correct Assistant:",
        .stop = {"<|end_of_turn|>", "</s>"},
        .marker = {"<|end_of_turn|>", "GPT4 Correct User:", "GPT4 Correct Assistant:", "GPT4 Correct System:",
                   "<s>", "</s>", "<|pad_0|>"},
    },
    {
        .name = "deepseek-llm",
        .source = "deepseek-ai/deepseek-llm-7b-chat tokenizer_config.json",
        .bos = true,
        .system_open = "",
        .system_close = "\n\n",
        .user_open = "User: ",
        .user_close = "\n\n",
        .answer_open = "Assistant:",
        .stop = {"<｜end▁of▁sentence｜>"},
        .marker = {"User:", "Assistant:", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"},
    },
    {
        .name = "gemma",
        .source = "google/gemma-2-2b-it and google/gemma-3-1b-it tokenizer_config.json",
        .bos = true,
        .user_open = "<start_of_turn>user\n",
        .user_close = "<end_of_turn>\n",
        .answer_open = "<start_of_turn>model\n",
        .stop = {"<end_of_turn>", "<eos>"},
        .marker = {"<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>", "<pad>", "<start_of_image>",
                   "<end_of_image>", "<image_soft_token>"},
    },
    {
        .name = "chatml",
        .source = "teknium/OpenHermes-2.5-Mistral-7B tokenizer_config.json",
        .system_open = "<|im_start|>system\n",
        .system_close = "<|im_end|>\n",
        .user_open = "<|im_start|>user\n",
        .user_close = "<|im_end|>\n",
        .answer_open = "<|im_start|>assistant\n",
        .stop = {"<|im_end|>", "<|endoftext|>", "</s>"},
        .marker = {"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>"},
    },
    {
        .name = "plain",
        .source = "ours: headings, for models that were never taught turns",
        .bos = true,
        .system_open = "### 지시\n",
        .system_close = "\n\n",
        .user_open = "### 글\n",
        .user_close = "\n\n",
        .answer_open = "### 답\n",
        .stop = {"###", "<|endoftext|>", "</s>"},
        .marker = {"###", "<|endoftext|>", "<s>", "</s>"},
    },
};

const struct chat_template *chat_at(size_t i)
{
    return i < COUNT_OF(templates) ? &templates[i] : NULL;
}

const struct chat_template *chat_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(templates); i++)
        if (strcmp(name, templates[i].name) == 0)
            return &templates[i];
    return NULL;
}

const char *chat_names(void)
{
    return "hyperclovax, llama3, llama2, mistral, openchat, deepseek-llm, gemma, chatml, plain";
}

const struct chat_template *chat_recognise(const char *jinja, size_t n)
{
    /* In order: the first row all of whose words occur decides. Words that make a template another family's
     * although it uses ours come first, with no name. All Mistral versions share [INST] and take a system
     * text in the user's turn; they differ in single spaces. */
    static const struct {
        const char *name, *word[2];
    } rows[] = {
        {NULL, {"<|im_sep|>"}}, /* Phi 4 */
        {"hyperclovax", {"<|im_start|>", "tool_list"}},
        {"llama3", {"<|start_header_id|>", "<|eot_id|>"}},
        {"gemma", {"<start_of_turn>"}},
        {"openchat", {"GPT4 Correct "}},
        {"chatml", {"<|im_start|>", "<|im_end|>"}},
        {"llama2", {"[INST]", "<<SYS>>"}},
        {"mistral", {"[INST]", "[/INST]"}},
        {"deepseek-llm", {"'User: '", "'Assistant:"}},
        {"deepseek-llm", {"\"User: \"", "\"Assistant:"}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *a = rows[i].word[0], *b = rows[i].word[1];
        if (memmem(jinja, n, a, strlen(a)) && (!b || memmem(jinja, n, b, strlen(b))))
            return rows[i].name ? chat_find(rows[i].name) : NULL;
    }
    return NULL;
}

const struct chat_template *chat_guess(const struct tokenizer *t)
{
    static const struct {
        const char *name, *token[2];
    } rows[] = {
        {"hyperclovax", {"<|im_start|>", "<|endofturn|>"}},   {"chatml", {"<|im_start|>", "<|im_end|>"}},
        {"llama3", {"<|start_header_id|>", "<|eot_id|>"}},    {"gemma", {"<start_of_turn>", "<end_of_turn>"}},
        {"openchat", {"<|end_of_turn|>", "<|end_of_turn|>"}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *a = rows[i].token[0], *b = rows[i].token[1];
        if (tokenizer_find(t, a, strlen(a)) >= 0 && tokenizer_find(t, b, strlen(b)) >= 0)
            return chat_find(rows[i].name);
    }
    return chat_find("plain");
}

/* No <ctype.h>: what is punctuation may not depend on the locale. */
static bool is_punct(char c)
{
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Is text[at] the first punctuation of a marker that stands there? */
static bool marker_at(const struct chat_template *c, const char *text, size_t n, size_t at)
{
    for (int i = 0; i < CHAT_MARKERS_MAX && c->marker[i]; i++) {
        const char *m = c->marker[i];
        size_t before = 0, len = strlen(m), k = 0;
        while (before < len && !is_punct(m[before]))
            before++;
        if (before == len || m[before] != text[at] || at < before || n - (at - before) < len)
            continue;
        const char *start = text + at - before;
        while (k < len && lower(start[k]) == lower(m[k]))
            k++;
        if (k == len)
            return true;
    }
    return false;
}

bool chat_marker_find(const struct chat_template *c, const char *text, size_t n, size_t from, size_t *at)
{
    for (size_t i = from; i < n; i++)
        if (is_punct(text[i]) && marker_at(c, text, n, i)) {
            *at = i;
            return true;
        }
    return false;
}

static void append(const char *bytes, size_t n, size_t from, bool same, struct buf *out, struct buf *map)
{
    buf_add(out, bytes, n);
    for (size_t i = 0; map && i < n; i++) {
        uint32_t at = (uint32_t)(same ? from : from + i);
        buf_add(map, &at, sizeof at);
    }
}

/* Markers are looked for in the text as it came. Whatever marker the result held would consist of bytes that
 * were not changed, so it would stand in the text too, and its first punctuation would have been changed:
 * hence the result holds none, overlapping and nested ones included. */
void chat_neutralise(const struct chat_template *c, const char *text, size_t n, struct buf *out,
                     struct buf *map)
{
    size_t done = 0, at;
    while (chat_marker_find(c, text, n, done, &at)) {
        char wide[4];
        size_t w = utf8_put(wide, 0xFF01u + (uint32_t)(text[at] - '!'));
        append(text + done, at - done, done, false, out, map);
        append(wide, w, at, true, out, map);
        done = at + 1;
    }
    append(text + done, n - done, done, false, out, map);
}
