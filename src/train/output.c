#include "base/file.h"
#include "train/output_int.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int output_path(char **path, const char *dir, const char *name, struct err *e)
{
    *path = NULL;
    if (mkdir(dir, 0777) && errno != EEXIST)
        return err_errno(e, "%s: making the directory", dir);
    if (asprintf(path, "%s/%s", dir, name) >= 0)
        return 0;
    *path = NULL;
    return err_set(e, ERR_MEMORY, "out of memory");
}

int output_text(const char *dir, const char *name, const struct buf *text, struct err *e)
{
    char *path;
    int rc = buf_check(text, name, e);
    if (rc)
        return rc;
    rc = output_path(&path, dir, name, e);
    if (!rc)
        rc = file_write(path, text->data, text->len, e);
    free(path);
    return rc;
}

int output_json(const char *dir, const char *name, const json_t *value, size_t flags, struct err *e)
{
    struct buf text = {0};
    char *made = json_dumps(value, flags);
    if (!made)
        return err_set(e, ERR_MEMORY, "%s: out of memory", name);
    buf_str(&text, made);
    buf_str(&text, "\n");
    free(made);
    int rc = output_text(dir, name, &text, e);
    buf_deinit(&text);
    return rc;
}

void output_weight_name(char out[OUTPUT_NAME_MAX], const struct parameter *p, const struct config *c)
{
    const char *pattern = role_hf_name(p->role, c), *number = strstr(pattern, "%u");
    if (number)
        snprintf(out, OUTPUT_NAME_MAX, "%.*s%u%s", (int)(number - pattern), pattern, p->layer, number + 2);
    else
        snprintf(out, OUTPUT_NAME_MAX, "%s", pattern);
}

const char *output_number(char out[OUTPUT_NUMBER_MAX], double v)
{
    out[0] = 0;
    for (int digits = 6; isfinite(v) && digits <= 17; digits++) {
        snprintf(out, OUTPUT_NUMBER_MAX, "%.*g", digits, v);
        if (strtod(out, NULL) == v)
            break;
    }
    return out;
}

const char *output_figure(char out[OUTPUT_NUMBER_MAX], double v, int decimals)
{
    if (isfinite(v) && fabs(v) < 1e15)
        snprintf(out, OUTPUT_NUMBER_MAX, "%.*f", decimals, v);
    else
        snprintf(out, OUTPUT_NUMBER_MAX, "–");
    return out;
}

const char *output_duration(char out[OUTPUT_NUMBER_MAX], double seconds)
{
    long s = lround(seconds);
    if (s >= 3600)
        snprintf(out, OUTPUT_NUMBER_MAX, "%ld h %ld min", s / 3600, s % 3600 / 60);
    else if (s >= 60)
        snprintf(out, OUTPUT_NUMBER_MAX, "%ld min %ld s", s / 60, s % 60);
    else
        snprintf(out, OUTPUT_NUMBER_MAX, "%ld s", s);
    return out;
}

struct train_record train_record_none(uint64_t step)
{
    struct train_record r = {step, NAN, NAN, NAN, NAN, NAN, NAN, {0}};
    for (int i = 0; i < METRICS; i++)
        r.dev[i] = NAN;
    return r;
}
