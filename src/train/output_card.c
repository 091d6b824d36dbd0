/* README.md: the model card. Names and values come from outside, so Markdown's own characters are escaped. */
#include "base/size.h"
#include "train/output_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *output_method(const struct output_run *r)
{
    return strcmp(r->method, "lora") == 0 ? "LoRA adapter" : "All weights trained";
}

/* Text for a cell or a paragraph: on one line, nothing of it markup. */
static void text(struct buf *out, const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20)
            buf_str(out, " ");
        else if (strchr("\\`*_[]<>|#&", *s))
            buf_printf(out, "\\%c", *s);
        else
            buf_add(out, s, 1);
}

/* In code nothing is markup but the backtick itself. */
static void code(struct buf *out, const char *s)
{
    buf_str(out, "`");
    for (; *s; s++)
        buf_printf(out, "%c", (unsigned char)*s < 0x20 ? ' ' : *s == '`' ? '\'' : *s);
    buf_str(out, "`");
}

static void row(struct buf *out, const char *name, const char *value)
{
    if (!output_has(value))
        return;
    buf_str(out, "| ");
    text(out, name);
    buf_str(out, " | ");
    text(out, value);
    buf_str(out, " |\n");
}

static void row_hashed(struct buf *out, const char *name, const char *value, const char *sha256)
{
    if (!output_has(value))
        return;
    buf_printf(out, "| %s | ", name);
    text(out, value);
    if (output_has(sha256))
        buf_printf(out, ", SHA-256 `%.64s`", sha256);
    buf_str(out, " |\n");
}

/* ---- sections ---- */

static void put_head(struct buf *out, const struct output_run *r)
{
    bool lora = strcmp(r->method, "lora") == 0;
    buf_str(out, "# ");
    text(out, r->name);
    buf_str(out, "\n\n");
    if (lora && output_has(r->base)) {
        buf_str(out, "A LoRA adapter over ");
        code(out, r->base);
        buf_str(out, " that judges Korean posts on four MBTI axes (up, keep or down for each), made with "
                     "`gyeol train lora`.\n");
    } else {
        buf_str(out, "A language model whose weights were all trained with `gyeol train full`");
        if (output_has(r->base)) {
            buf_str(out, ", beginning with those of ");
            code(out, r->base);
        }
        buf_str(out, ".\n");
    }
    if (output_has(r->ended)) {
        text(out, r->ended);
        buf_str(out, ".\n");
    }
}

static void put_origins(struct buf *out, const struct output_run *r)
{
    char number[OUTPUT_NUMBER_MAX];
    buf_str(out, "\n## Made from\n\n| | |\n|---|---|\n");
    row_hashed(out, "base", r->base, r->base_sha256);
    row_hashed(out, "training data", r->data, r->data_sha256);
    row_hashed(out, "dev data", r->dev, r->dev_sha256);
    row_hashed(out, "chat template", r->chat, NULL);
    row_hashed(out, "prompt", r->prompt_sha256, NULL);
    snprintf(number, sizeof number, "%llu", (unsigned long long)r->seed);
    row(out, "seed", number);
    if (r->seconds > 0)
        row(out, "training time", output_duration(number, r->seconds));
}

static void put_settings(struct buf *out, const struct output_run *r)
{
    if (!r->settings)
        return;
    buf_str(out, "\n## Hyperparameters\n\n| | |\n|---|---|\n");
    for (size_t i = 0; i < r->settings; i++)
        row(out, r->setting[i].name, r->setting[i].value);
}

static void put_figures(struct buf *out, const struct output_run *r)
{
    static const struct {
        enum metric metric;
        const char *name;
    } shown[] = {{METRIC_DIRECTION, "direction accuracy"},
                 {METRIC_BALANCED, "balanced direction accuracy"},
                 {METRIC_MEANINGFUL, "meaningful changes"},
                 {METRIC_UNNEEDED, "unneeded changes"},
                 {METRIC_WRONG, "wrong direction"},
                 {METRIC_MACRO_F1, "macro F1"},
                 {METRIC_AUC, "AUC"},
                 {METRIC_ECE, "calibration error"}};
    const struct train_record *b = output_best(r);
    char number[OUTPUT_NUMBER_MAX];
    if (!b)
        return;
    buf_printf(out,
               "\n## Quality on the dev split\n\nThe weights kept are those after step %llu. %s\n\n| | "
               "|\n|---|---|\n",
               (unsigned long long)b->step,
               !output_has(r->prompt_sha256) ? "The loss is per token."
               : r->finished ? "`gyeol eval` defines the measures; they are of the calibrated judge."
                             : "`gyeol eval` defines the measures; they were taken before calibration.");
    if (isfinite(b->dev_loss))
        row(out, "loss", output_figure(number, b->dev_loss, 4));
    for (size_t i = 0; i < COUNT_OF(shown); i++)
        if (isfinite(output_dev(r, shown[i].metric)))
            row(out, shown[i].name, output_figure(number, output_dev(r, shown[i].metric), 3));
    buf_str(
        out,
        "\nThe step was chosen on these rows, so they flatter it; measure on rows that took no part.\nThe "
        "curves are in `report.html`.\n");
}

/* Trained on posts, it judges; trained on text, it is a base to train a judge from. */
static void put_commands(struct buf *out, const struct output_run *r)
{
    buf_str(out, "\n## Use\n\n```\n");
    if (output_has(r->prompt_sha256))
        buf_str(out, "gyeol judge --model DIR \"오늘은 친구들을 집으로 불러 밤새 이야기했다\"\n"
                     "gyeol eval --model DIR test.tsv\n");
    else
        buf_str(out, "gyeol train lora --model DIR --data train.tsv --dev dev.tsv --out JUDGE\n");
    buf_str(out, "```\n\nDIR is this directory.");
}

static void put_use(struct buf *out, const struct output_run *r)
{
    put_commands(out, r);
    if (strcmp(r->method, "lora") == 0)
        buf_str(out,
                " The adapter is in PEFT's format: `PeftModel.from_pretrained(base, DIR)` loads it over the "
                "same base.\nOver another base gyeol refuses it: `gyeol.json` records the SHA-256 of the one "
                "it was trained with.\n");
    else
        buf_str(out, " Transformers loads it: `AutoModelForCausalLM.from_pretrained(DIR)`.\n");
    if (!output_has(r->prompt_sha256))
        return;
    buf_str(out, r->calibration
                     ? "Probabilities are calibrated on the dev split (`gyeol.json`).\n"
                     : "It is not calibrated: before its probabilities are believed, run `gyeol train "
                       "calibrate`.\n");
}

static void put_limits(struct buf *out)
{
    buf_str(
        out,
        "\n## Limits\n\n"
        "- It knows the Korean of its training data; other languages, dialects and topics may be misread, "
        "irony is.\n"
        "- A single post reveals little of a person, a few posts not much more, and MBTI itself is a coarse "
        "description.\n"
        "- For showing people how their own posts read, with the reason beside every change and the right to "
        "object. Never\n  for hiring, admission, credit, insurance or dating exclusion, never for judging "
        "minors without consent or people\n  who do not know of it.\n"
        "- The base model's licence and limits hold for what was made from it.\n");
}

int output_card(const char *dir, const struct output_run *r, struct err *e)
{
    struct buf out = {0};
    put_head(&out, r);
    put_origins(&out, r);
    put_settings(&out, r);
    put_figures(&out, r);
    put_use(&out, r);
    put_limits(&out);
    int rc = output_text(dir, "README.md", &out, e);
    buf_deinit(&out);
    return rc;
}
