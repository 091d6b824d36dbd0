/* Opens judges by mode, and what every judge does alike: refuse bytes that are no text, keep what is too
 * short. */
#include "judge/judge.h"

#include "judge/linear.h"
#include "text/utf8.h"

#include <string.h>

int judge_open(struct judge **out, const struct judge_options *o, struct err *e)
{
    *out = NULL;
    if (o->mode && strcmp(o->mode, "linear") != 0) {
        static const char *const known[] = {"one-pass", "per-axis", "rag", "remote"};
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (strcmp(o->mode, known[i]) == 0)
                return err_set(e, ERR_USAGE, "--mode %s: this version judges only with --mode linear",
                               o->mode);
        return err_set(e, ERR_USAGE, "--mode %.40s: no such mode, want linear", o->mode);
    }
    if (o->adapter && strcmp(o->adapter, "none") != 0)
        return err_set(e, ERR_USAGE, "--adapter: the linear judge takes no adapter");
    return linear_open(out, o->model, e);
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

int judge_text(const struct judge *j, const struct judge_input *in, struct judge_verdict *out, struct err *e)
{
    size_t n = strlen(in->text), bad, chars = 0;
    *out = (struct judge_verdict){0};
    if (n > JUDGE_TEXT_MAX)
        return err_set(e, ERR_LIMIT, "text of %zu bytes, want at most %d", n, JUDGE_TEXT_MAX);
    if (!utf8_valid(in->text, n, &bad))
        return err_set(e, ERR_FORMAT, "text is not UTF-8: byte 0x%02x at offset %zu",
                       (unsigned)(unsigned char)in->text[bad], bad);
    int rc = trimmed_length(in->text, n, &chars, e);
    if (rc)
        return rc;
    if (chars <= JUDGE_SHORT_MAX) {
        out->too_short = true;
        for (int a = 0; a < AXES; a++)
            out->axis[a].keep = 1;
        return 0;
    }
    return j->ops->judge(j, in, out, e);
}
