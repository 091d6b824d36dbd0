/* gyeol.json: the judge notes of what was trained. */
#include "base/size.h"
#include "judge/notes.h"
#include "train/output_int.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *or_null(const char *s)
{
    return output_has(s) ? s : NULL;
}

/* ---- where the base is, seen from the directory ---- */

static bool inside(const char *path, const char *dir, size_t n)
{
    return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == 0);
}

/* Relative where base and directory lie together, so that both can be moved as one; else the whole path. */
static char *seen_from(const char *dir, const char *base)
{
    char *from = realpath(dir, NULL), *to = realpath(base, NULL), *out = NULL;
    if (from && to) {
        size_t n = strlen(from);
        const char *slash = strrchr(from, '/');
        size_t parent = (size_t)(slash - from);
        if (inside(to, from, n))
            out = strdup(to[n] ? to + n + 1 : ".");
        else if (parent > 0 && inside(to, from, parent) && to[parent])
            out = asprintf(&out, "..%s", to + parent) < 0 ? NULL : out;
        else
            out = strdup(to);
    }
    free(from);
    free(to);
    return out;
}

/* ---- the object "training" ---- */

static json_t *setting_value(const struct output_setting *s)
{
    char *end;
    long long whole;
    if (!s->number)
        return json_string(s->value);
    whole = strtoll(s->value, &end, 10);
    return *end == 0 ? json_integer(whole) : json_real(strtod(s->value, NULL));
}

static json_t *settings(const struct output_run *r)
{
    json_t *o = json_object();
    for (size_t i = 0; o && i < r->settings; i++)
        if (json_object_set_new(o, r->setting[i].name, setting_value(&r->setting[i]))) {
            json_decref(o);
            return NULL;
        }
    return o;
}

static bool put_finite(json_t *o, const char *key, double v)
{
    return !isfinite(v) || json_object_set_new(o, key, json_real(v)) == 0;
}

/* The dev split's figures, what was not measured left out. */
static json_t *figures(const struct output_run *r)
{
    const struct train_record *b = output_best(r);
    json_t *o = json_object();
    bool fine = o && (!b || put_finite(o, "dev_loss", b->dev_loss));
    for (int i = 0; fine && i < METRICS; i++)
        fine = put_finite(o, metric_name[i], output_dev(r, (enum metric)i));
    if (!fine)
        json_decref(o);
    return fine ? o : NULL;
}

static json_t *file(const char *name, const char *sha256)
{
    return json_pack("{s:s*, s:s*}", "file", or_null(name), "sha256", or_null(sha256));
}

static json_t *training(const struct output_run *r, const char *base)
{
    const struct train_record *b = output_best(r);
    bool full = strcmp(r->method, "full") == 0;
    json_t *o = json_pack("{s:s, s:s*, s:s*, s:o, s:o, s:I, s:I}", "method", r->method, "base",
                          full ? base : NULL, "base_sha256", full ? or_null(r->base_sha256) : NULL, "data",
                          file(r->data, r->data_sha256), "dev", file(r->dev, r->dev_sha256), "seed",
                          (json_int_t)r->seed, "steps", (json_int_t)r->steps);
    bool fine = o != NULL;
    if (fine && b)
        fine = json_object_set_new(o, "best_step", json_integer((json_int_t)b->step)) == 0;
    if (fine && output_has(r->ended))
        fine = json_object_set_new(o, "ended", json_string(r->ended)) == 0;
    fine = fine && put_finite(o, "seconds", r->seconds > 0 ? round(r->seconds) : NAN) &&
           json_object_set_new(o, "hyperparameters", settings(r)) == 0 &&
           json_object_set_new(o, "metrics", figures(r)) == 0;
    if (!fine)
        json_decref(o);
    return fine ? o : NULL;
}

/* ---- the whole ---- */

/* Null takes a key out: a directory trained again is not left with the first run's. */
static json_t *changes(const struct output_run *r, const char *base)
{
    bool lora = strcmp(r->method, "lora") == 0;
    json_t *calibration = r->calibration ? calibration_json(r->calibration) : json_null();
    return json_pack("{s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:o, s:o}", "base", lora ? base : NULL, "adapter",
                     lora && base ? "." : NULL, "base_sha256", lora ? or_null(r->base_sha256) : NULL, "type",
                     or_null(r->type), "template", or_null(r->chat), "prompt_sha256",
                     or_null(r->prompt_sha256), "calibration", calibration, "training", training(r, base));
}

int output_notes(const char *dir, const struct output_run *r, struct err *e)
{
    char *path, *base = NULL;
    int rc = output_path(&path, dir, "gyeol.json", e);
    if (rc)
        return rc;
    if (output_has(r->base) && !(base = seen_from(dir, r->base)))
        rc = err_errno(e, "%s", r->base);
    json_t *made = rc ? NULL : changes(r, base);
    if (!rc)
        rc = made ? notes_update(path, made, e)
                  : err_set(e, ERR_FORMAT, "%s: a name is not UTF-8, or out of memory", path);
    json_decref(made);
    free(base);
    free(path);
    return rc;
}
