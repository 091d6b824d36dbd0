/* Opens judges by mode, and what every judge does alike: refuse bytes that are no text, keep what is too
 * short. */
#include "judge/judge.h"

#include "base/when.h"
#include "judge/linear.h"
#include "judge/onepass.h"
#include "judge/peraxis.h"
#include "text/utf8.h"

#include <fcntl.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern const char default_mode[]; /* of what is compiled in: the Makefile's DEFAULT_JUDGE */

bool judge_is_language_model(const char *path)
{
    struct stat st;
    char magic[4] = {0};
    if (!path || stat(path, &st))
        return false;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode);
    FILE *f = fopen(path, "rbe");
    size_t n = f ? fread(magic, 1, sizeof magic, f) : 0;
    if (f)
        fclose(f);
    return n == sizeof magic && memcmp(magic, "GGUF", 4) == 0;
}

static int open_linear(struct judge **out, const struct judge_options *o, struct err *e)
{
    if (o->adapter && strcmp(o->adapter, "none") != 0)
        return err_set(e, ERR_USAGE, "--adapter: the linear judge takes no adapter");
    if (o->type || o->chat)
        return err_set(e, ERR_USAGE, "--%s: only for language models", o->type ? "type" : "template");
    if (judge_is_language_model(o->model))
        return err_set(e, ERR_USAGE, "--mode linear: %s is a language model", o->model);
    return linear_open(out, o->model, e);
}

/* A directory that holds neither of the files it would have to. */
static bool is_other_directory(const char *path)
{
    static const char *const wanted[] = {"config.json", "gyeol.json"};
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return false;
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), found = dir < 0;
    for (size_t i = 0; dir >= 0 && i < sizeof wanted / sizeof *wanted; i++)
        found |= faccessat(dir, wanted[i], F_OK, 0) == 0;
    if (dir >= 0)
        close(dir);
    return !found;
}

static int open_language_model(struct judge **out, const struct judge_options *o, const char *mode,
                               struct err *e)
{
    if (o->model && !judge_is_language_model(o->model))
        return access(o->model, F_OK)
                   ? err_errno(e, "%s", o->model)
                   : err_set(e, ERR_FORMAT, "%s: neither a model directory nor a GGUF file", o->model);
    if (o->model && is_other_directory(o->model))
        return err_set(e, ERR_FORMAT, "%s: a directory without config.json or gyeol.json is no model",
                       o->model);
    return strcmp(mode, "per-axis") == 0 ? peraxis_open(out, o, e) : onepass_open(out, o, e);
}

static const char *mode_of(const char *path)
{
    return judge_is_language_model(path) ? "one-pass" : "linear";
}

int judge_open(struct judge **out, const struct judge_options *o, struct err *e)
{
    const char *mode = o->mode ? o->mode : o->model ? mode_of(o->model) : default_mode;
    *out = NULL;
    if (strcmp(mode, "linear") == 0)
        return open_linear(out, o, e);
    if (strcmp(mode, "one-pass") == 0 || strcmp(mode, "per-axis") == 0)
        return open_language_model(out, o, mode, e);
    if (strcmp(mode, "rag") == 0 || strcmp(mode, "remote") == 0)
        return err_set(e, ERR_USAGE,
                       "--mode %s: not in this version, which has linear, one-pass and per-axis", mode);
    return err_set(e, ERR_USAGE, "--mode %.40s: no such mode, want linear, one-pass or per-axis", mode);
}

void judge_close(struct judge *j)
{
    if (j)
        j->ops->close(j);
}

static int trimmed_length(const char *text, size_t n, size_t *chars, struct err *e)
{
    struct arena a = {0};
    struct utf8_unit *u;
    size_t count;
    int rc = utf8_nfc(text, n, &a, &u, &count, e);
    size_t begin = 0;
    if (!rc) {
        while (begin < count && utf8_is_space(u[begin].code))
            begin++;
        while (count > begin && utf8_is_space(u[count - 1].code))
            count--;
        *chars = count - begin;
    }
    arena_deinit(&a);
    return rc;
}

int judge_settle(const struct judge_input *in, struct judge_verdict *out, bool *settled, struct err *e)
{
    size_t n = strlen(in->text), bad, chars = 0;
    *out = (struct judge_verdict){0};
    *settled = true;
    if (n > JUDGE_TEXT_MAX)
        return err_set(e, ERR_LIMIT, "text of %zu bytes, want at most %d", n, JUDGE_TEXT_MAX);
    if (!utf8_valid(in->text, n, &bad))
        return err_set(e, ERR_FORMAT, "text is not UTF-8: byte 0x%02x at offset %zu",
                       (unsigned)(unsigned char)in->text[bad], bad);
    int rc = trimmed_length(in->text, n, &chars, e);
    if (rc)
        return rc;
    *settled = chars <= JUDGE_SHORT_MAX;
    out->too_short = *settled;
    for (int a = 0; *settled && a < AXES; a++)
        out->axis[a].keep = 1;
    return 0;
}

int judge_text(const struct judge *j, const struct judge_input *in, struct judge_verdict *out, struct err *e)
{
    bool settled;
    int rc = judge_settle(in, out, &settled, e);
    return rc || settled ? rc : j->ops->judge(j, in, out, e);
}

/* Runs of texts that are left to judge go to the judge together. */
static void judge_runs(const struct judge *j, const struct judge_input *in, size_t n,
                       struct judge_verdict *out, struct judge_result *result)
{
    size_t first = 0;
    for (size_t i = 0; i <= n; i++) {
        bool settled = true;
        if (i < n)
            result[i].rc = judge_settle(&in[i], &out[i], &settled, &result[i].error);
        if (!settled)
            continue;
        if (i > first)
            j->ops->judge_many(j, in + first, i - first, out + first, result + first);
        first = i + 1;
    }
}

void judge_texts(const struct judge *j, const struct judge_input *in, size_t n, int workers,
                 struct judge_verdict *out, struct judge_result *result)
{
    if (j->ops->judge_many) {
        judge_runs(j, in, n, out, result);
        return;
    }
    /* Starting threads costs more than judging a handful of posts. */
#pragma omp parallel for schedule(dynamic, 16)                                                               \
    num_threads(workers ? workers : omp_get_num_procs()) if (n > 32)
    for (size_t i = 0; i < n; i++) {
        uint64_t start = when_monotonic_ns();
        result[i].rc = judge_text(j, &in[i], &out[i], &result[i].error);
        out[i].judge_ms = (double)(when_monotonic_ns() - start) / 1e6;
    }
}
