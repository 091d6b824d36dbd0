/* How text is cut into words before byte-level BPE, by the names GGUF files use (llama.cpp, llama-vocab.cpp),
 * each as the model's own tokenizer.json has it. A name that is not here is refused: another pattern gives
 * other tokens. */
#include "base/size.h"
#include "format/tokenizer_int.h"

#include <stdlib.h>
#include <string.h>

/* JSON within C: a backslash of a pattern is four here. */
#define CL100K                                                                                               \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L"    \
    "}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define QWEN2                                                                                                \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p"   \
    "{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define O200K                                                                                                \
    "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]*[\\\\p{Ll}\\\\p{Lm"        \
    "}\\\\p{Lo}\\\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{Lu}\\\\p{Lt"     \
    "}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]+[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"       \
    "|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n/]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define TEKKEN                                                                                               \
    "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]*[\\\\p{Ll}\\\\p{Lm"        \
    "}\\\\p{Lo}\\\\p{M}]+|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]+"     \
    "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]*|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n/]*|\\\\s*"       \
    "[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define GPT2                                                                                                 \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\\\p{L}+| ?\\\\p{N}+| ?[^\\\\s\\\\p{L}\\\\p{N}]+|\\\\s+(?!\\\\S)|\\\\s+"
#define DEEPSEEK_PUNCTUATION "\\\\s?[!-/:-~\\uff01-\\uff0f\\uff1a-\\uff5e\\u2018-\\u201f\\u3000-\\u3002]+"
#define DEEPSEEK_CJK         "[\\u4e00-\\u9fa5\\u0800-\\u4e00\\uac00-\\ud7ff]+"
#define DEEPSEEK_V3                                                                                          \
    "[!\\\\\\\"#$%&'()*+,\\\\-./:;<=>?@\\\\[\\\\\\\\\\\\]^_`{|}~][A-Za-z]+|[^\\\\r\\\\n\\\\p{L}\\\\p{P"      \
    "}\\\\p{S}]?[\\\\p{L}\\\\p{M}]+| ?[\\\\p{P}\\\\p{S}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S"   \
    ")|\\\\s+"
#define DEEPSEEK_V3_CJK     "[\\u4e00-\\u9fa5\\u3040-\\u309f\\u30a0-\\u30ff]+"
#define DEFAULT_PUNCTUATION "[\\\\p{P}\\\\$\\\\+<=>\\\\^~\\\\|]+"

/* Cased letters, as deepseek-llm lists them. */
#define DEEPSEEK_LETTERS                                                                                     \
    "A-Za-z\\\\x{B5}\\\\x{C0}-\\\\x{D6}\\\\x{D8}-\\\\x{F6}\\\\x{F8}-\\\\x{1BA}\\\\x{1BC}-\\\\x{1BF}\\\\x{"   \
    "1C4}-\\\\x{293}"                                                                                        \
    "\\\\x{295}-\\\\x{2AF}\\\\x{370}-\\\\x{373}\\\\x{376}\\\\x{377}\\\\x{37B}-\\\\x{37D}\\\\x{37F}\\\\x{"    \
    "386}"                                                                                                   \
    "\\\\x{388}-\\\\x{38A}\\\\x{38C}\\\\x{38E}-\\\\x{3A1}\\\\x{3A3}-\\\\x{3F5}\\\\x{3F7}-\\\\x{481}\\\\x{"   \
    "48A}-\\\\x{52F}"                                                                                        \
    "\\\\x{531}-\\\\x{556}\\\\x{10A0}-\\\\x{10C5}\\\\x{13A0}-\\\\x{13F5}\\\\x{13F8}-\\\\x{13FD}\\\\x{1C90}-" \
    "\\\\x{1CBA}"                                                                                            \
    "\\\\x{1CBD}-\\\\x{1CBF}\\\\x{1D00}-\\\\x{1D2B}\\\\x{1D6B}-\\\\x{1D77}\\\\x{1D79}-\\\\x{1D9A}\\\\x{"     \
    "1E00}-\\\\x{1F15}"                                                                                      \
    "\\\\x{1F18}-\\\\x{1F1D}\\\\x{1F20}-\\\\x{1F45}\\\\x{1F48}-\\\\x{1F4D}\\\\x{1F50}-\\\\x{1F57}\\\\x{"     \
    "1F59}"                                                                                                  \
    "\\\\x{1F5B}\\\\x{1F5D}\\\\x{1F5F}-\\\\x{1F7D}\\\\x{1F80}-\\\\x{1FB4}\\\\x{1FB6}-\\\\x{1FBC}\\\\x{1FBE}" \
    "\\\\x{1FC2}-\\\\x{1FC4}\\\\x{1FC6}-\\\\x{1FCC}\\\\x{1FD0}-\\\\x{1FD3}\\\\x{1FD6}-\\\\x{1FDB}\\\\x{"     \
    "1FE0}-\\\\x{1FEC}"                                                                                      \
    "\\\\x{1FF2}-\\\\x{1FF4}\\\\x{1FF6}-\\\\x{1FFC}\\\\x{2102}\\\\x{2107}\\\\x{210A}-\\\\x{2113}\\\\x{2115}" \
    "\\\\x{2119}-\\\\x{211D}\\\\x{2124}\\\\x{2126}\\\\x{2128}\\\\x{212A}-\\\\x{212D}\\\\x{212F}-\\\\x{2134}" \
    "\\\\x{2139}\\\\x{213C}-\\\\x{213F}\\\\x{2145}-\\\\x{2149}\\\\x{214E}\\\\x{2183}\\\\x{2184}\\\\x{2C00}-" \
    "\\\\x{2C7B}"                                                                                            \
    "\\\\x{2C7E}-\\\\x{2CE4}\\\\x{2CEB}-\\\\x{2CEE}\\\\x{2CF2}\\\\x{2CF3}\\\\x{A640}-\\\\x{A66D}\\\\x{A680}" \
    "-\\\\x{A69B}"                                                                                           \
    "\\\\x{A722}-\\\\x{A76F}\\\\x{A771}-\\\\x{A787}\\\\x{A78B}-\\\\x{A78E}\\\\x{AB70}-\\\\x{ABBF}\\\\x{"     \
    "FB00}-\\\\x{FB06}"                                                                                      \
    "\\\\x{FB13}-\\\\x{FB17}\\\\x{FF21}-\\\\x{FF3A}\\\\x{FF41}-\\\\x{FF5A}\\\\x{10400}-\\\\x{1044F}\\\\x{"   \
    "104B0}-\\\\x{104D3}"                                                                                    \
    "\\\\x{104D8}-\\\\x{104FB}\\\\x{10C80}-\\\\x{10CB2}\\\\x{10CC0}-\\\\x{10CF2}\\\\x{118A0}-\\\\x{118DF}"   \
    "\\\\x{1E900}-\\\\x{1E943}"

#define SPLIT(re)                                                                                            \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" re "\"},\"behavior\":\"Isolated\",\"invert\":false}"
#define DIGITS(each) "{\"type\":\"Digits\",\"individual_digits\":" each "}"
#define BYTES(pattern)                                                                                       \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":" pattern "}"
#define STEPS(list) "{\"type\":\"Sequence\",\"pretokenizers\":[" list "]}"

#define LLAMA3_STEPS    STEPS(SPLIT(CL100K) "," BYTES("false"))
#define QWEN2_STEPS     STEPS(SPLIT(QWEN2) "," BYTES("false"))
#define O200K_STEPS     STEPS(SPLIT(O200K) "," BYTES("false"))
#define TEKKEN_STEPS    STEPS(SPLIT(TEKKEN) "," BYTES("false"))
#define STARCODER_STEPS STEPS(DIGITS("true") "," BYTES("true"))
#define FALCON_STEPS                                                                                         \
    STEPS("{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}," BYTES("true") "," DIGITS(                \
        "false") "," SPLIT("[0-9][0-9][0-9]"))
#define DEEPSEEK_LLM_STEPS                                                                                   \
    STEPS(SPLIT("[\\r\\n]") "," SPLIT("\\\\s?[" DEEPSEEK_LETTERS "]+") "," SPLIT(                            \
        DEEPSEEK_PUNCTUATION) "," SPLIT("\\\\s+$") "," SPLIT(DEEPSEEK_CJK) "," DIGITS("true") "," BYTES("fa" \
                                                                                                        "ls" \
                                                                                                        "e"))
#define DEEPSEEK_CODER_STEPS                                                                                 \
    STEPS(SPLIT("[\\r\\n]") "," SPLIT("\\\\s?\\\\p{L}+") "," SPLIT("\\\\s?\\\\p{P}+") "," SPLIT(             \
        DEEPSEEK_CJK) "," DIGITS("true") "," BYTES("false"))
#define DEEPSEEK_V3_STEPS                                                                                    \
    STEPS(SPLIT("\\\\p{N}{1,3}") "," SPLIT(DEEPSEEK_V3_CJK) "," SPLIT(DEEPSEEK_V3) "," BYTES("false"))
/* llama.cpp's guess for files that name no pre-tokenizer. */
#define DEFAULT_STEPS                                                                                        \
    STEPS(SPLIT(DEFAULT_PUNCTUATION) "," SPLIT(GPT2) "," SPLIT("\\\\p{N}+") "," SPLIT(                       \
        "[0-9][0-9][0-9]") "," BYTES("false"))

/* Of names with the same steps the first is what files are written with. */
static const struct preset presets[] = {
    {"gpt-2", BYTES("true"), false},
    {"phi-2", BYTES("true"), false},
    {"mpt", BYTES("true"), false},
    {"olmo", BYTES("true"), false},
    {"jais", BYTES("true"), false},
    {"gigachat", BYTES("true"), false},
    {"roberta-bpe", BYTES("true"), false},
    {"jina-es", BYTES("true"), false},
    {"jina-de", BYTES("true"), false},
    {"jina-v1-en", BYTES("true"), false},
    {"jina-v2-es", BYTES("true"), false},
    {"jina-v2-de", BYTES("true"), false},
    {"jina-v2-code", BYTES("true"), false},
    {"a.x-4.0", BYTES("true"), false},
    {"mellum", BYTES("true"), false},
    {"exaone4", BYTES("true"), false},
    {"trillion", BYTES("true"), false},
    {"llama-bpe", LLAMA3_STEPS, true},
    {"llama3", LLAMA3_STEPS, true},
    {"llama-v3", LLAMA3_STEPS, true},
    {"falcon3", LLAMA3_STEPS, true},
    {"falcon-h1", LLAMA3_STEPS, true},
    {"pixtral", LLAMA3_STEPS, true},
    {"midm-2.0", LLAMA3_STEPS, true},
    {"lfm2", LLAMA3_STEPS, true},
    {"dbrx", LLAMA3_STEPS, false},
    {"smaug-bpe", LLAMA3_STEPS, false},
    {"chatglm-bpe", LLAMA3_STEPS, false},
    {"glm4", LLAMA3_STEPS, false},
    {"deepseek-llm", DEEPSEEK_LLM_STEPS, false},
    {"deepseek-coder", DEEPSEEK_CODER_STEPS, false},
    {"deepseek-v3", DEEPSEEK_V3_STEPS, false},
    {"qwen2", QWEN2_STEPS, false},
    {"stablelm2", QWEN2_STEPS, false},
    {"deepseek-r1-qwen", QWEN2_STEPS, false},
    {"megrez", QWEN2_STEPS, false},
    {"hunyuan", QWEN2_STEPS, false},
    {"grok-2", QWEN2_STEPS, false},
    {"kormo", QWEN2_STEPS, false},
    {"gpt-4o", O200K_STEPS, false},
    {"llama4", O200K_STEPS, false},
    {"tekken", TEKKEN_STEPS, true},
    {"starcoder", STARCODER_STEPS, false},
    {"refact", STARCODER_STEPS, false},
    {"command-r", STARCODER_STEPS, false},
    {"smollm", STARCODER_STEPS, false},
    {"codeshell", STARCODER_STEPS, false},
    {"exaone", STARCODER_STEPS, false},
    {"minerva-7b", STARCODER_STEPS, false},
    {"falcon", FALCON_STEPS, false},
    {"default", DEFAULT_STEPS, false},
};

const struct preset *preset_find(const char *name, size_t n)
{
    for (size_t i = 0; i < COUNT_OF(presets); i++)
        if (strlen(presets[i].name) == n && memcmp(presets[i].name, name, n) == 0)
            return &presets[i];
    return NULL;
}

/* What of a step decides about the words, as one line. Isolating every match and removing what does not match
 * are the same where everything matches, which holds for all patterns here that are used so. */
static void describe(struct buf *out, const json_t *step)
{
    static const char *const fields[] = {"type", "individual_digits", "add_prefix_space", "use_regex"};
    const char *pattern = json_string_value(json_object_get(json_object_get(step, "pattern"), "Regex"));
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        const json_t *v = json_object_get(step, fields[i]);
        buf_printf(out, "%s ", json_is_string(v) ? json_string_value(v) : json_is_true(v) ? "yes" : "-");
    }
    buf_printf(out, "%s\n", pattern ? pattern : "");
}

static void describe_all(struct buf *out, const json_t *v)
{
    const json_t *list = json_object_get(v, "pretokenizers");
    if (!json_is_array(list))
        describe(out, v);
    for (size_t i = 0; i < json_array_size(list); i++)
        describe(out, json_array_get(list, i));
}

const char *preset_name_of(const json_t *pretokenizer, bool ignore_merges)
{
    const char *name = NULL, *last = NULL;
    struct buf want = {0}, have = {0};
    if (json_is_object(pretokenizer))
        describe_all(&want, pretokenizer);
    for (size_t i = 0; i < COUNT_OF(presets) && want.len && !name; i++) {
        if (presets[i].ignore_merges != ignore_merges || presets[i].pretokenizer == last)
            continue;
        last = presets[i].pretokenizer;
        json_t *v = json_loads(last, 0, NULL);
        buf_reset(&have);
        describe_all(&have, v);
        json_decref(v);
        if (!have.failed && !want.failed && have.len == want.len &&
            memcmp(have.data, want.data, have.len) == 0)
            name = presets[i].name;
    }
    buf_deinit(&want);
    buf_deinit(&have);
    return name;
}
