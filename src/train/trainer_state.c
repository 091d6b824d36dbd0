/* OUT/checkpoint: state-STEP.safetensors, and state.json, which names it. The JSON is renamed into its place
 * last, so whatever happens it names a whole file; only then the older one goes. */
#include "base/file.h"
#include "base/size.h"
#include "format/fields.h"
#include "format/safetensors.h"
#include "train/trainer_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { JSON_LIMIT = 1 << 20, FORMAT = 1 };

static char *path_of(const struct trainer *t, const char *name, struct err *e)
{
    char *s;
    if (asprintf(&s, "%s/checkpoint%s%s", t->o.out, *name ? "/" : "", name) < 0) {
        err_set(e, ERR_MEMORY, "out of memory");
        return NULL;
    }
    return s;
}

int trainer_add_record(struct trainer *t, const struct train_record *r, struct err *e)
{
    if (t->records == t->record_capacity) {
        size_t capacity = t->record_capacity ? 2 * t->record_capacity : 64;
        void *p = realloc(t->record, capacity * sizeof *t->record);
        if (!p)
            return err_set(e, ERR_MEMORY, "out of memory for %zu records", capacity);
        t->record = p;
        t->record_capacity = capacity;
    }
    t->record[t->records++] = *r;
    return 0;
}

/* ---- numbers of the JSON: everything but arrays ---- */

struct number {
    const char *name;
    uint64_t *whole; /* or */
    double *real;
};

enum { NUMBERS = 13 };

static void list_numbers(struct trainer *t, uint64_t *adam, uint64_t *best_record, struct number n[NUMBERS])
{
    const struct number all[NUMBERS] = {{"step", &t->step, NULL},
                                        {"evaluated", &t->evaluated, NULL},
                                        {"best_step", &t->best_step, NULL},
                                        {"best_record", best_record, NULL},
                                        {"bad", &t->bad, NULL},
                                        {"optimizer_steps", adam, NULL},
                                        {"sum_steps", &t->sum_steps, NULL},
                                        {"sum_loss", NULL, &t->sum_loss},
                                        {"sum_tokens", NULL, &t->sum_tokens},
                                        {"sum_seconds", NULL, &t->sum_seconds},
                                        {"lr", NULL, &t->lr},
                                        {"grad_norm", NULL, &t->grad_norm},
                                        {"seconds", NULL, &t->seconds}};
    memcpy(n, all, sizeof all);
}

/* Whole numbers as text, NEVER being more than JSON's integers hold; reals as C's hexadecimal, exactly. */
static json_t *numbers_json(struct trainer *t)
{
    struct number n[NUMBERS];
    uint64_t adam = adamw_steps(t->adam), best = t->best_record;
    json_t *o = json_object();
    list_numbers(t, &adam, &best, n);
    for (int i = 0; i < NUMBERS; i++)
        json_object_set_new(o, n[i].name,
                            n[i].whole ? json_sprintf("%" PRIu64, *n[i].whole)
                                       : json_sprintf("%a", *n[i].real));
    json_object_set_new(o, "best_value", json_sprintf("%a", t->best_value));
    return o;
}

static int read_number(const struct number *n, const struct fields *f, struct err *e)
{
    const char *text = NULL;
    char *end;
    int rc = fields_string(f, n->name, &text, e);
    if (rc)
        return rc;
    errno = 0;
    if (n->whole)
        *n->whole = text ? strtoull(text, &end, 10) : 0;
    else
        *n->real = text ? strtod(text, &end) : 0;
    return text && *text && !*end && !errno ? 0 : fields_bad(f, n->name, "a number written as text", e);
}

static int read_numbers(struct trainer *t, const struct fields *f, struct err *e)
{
    struct number n[NUMBERS];
    const struct number value = {"best_value", NULL, &t->best_value};
    uint64_t adam = 0, best = 0;
    int rc = read_number(&value, f, e);
    list_numbers(t, &adam, &best, n);
    for (int i = 0; !rc && i < NUMBERS; i++)
        rc = read_number(&n[i], f, e);
    t->best_record = (size_t)best;
    if (!rc)
        adamw_set_steps(t->adam, adam);
    if (!rc && (t->step > t->steps || adam != t->step))
        rc = fields_bad(f, "step", "a step of this run", e);
    return rc;
}

/* ---- the arrays ---- */

enum { ARRAYS = 7, RECORD_CELLS = sizeof(struct train_record) / sizeof(double) };
_Static_assert(sizeof(struct train_record) % sizeof(double) == 0 && sizeof(uint64_t) == sizeof(double),
               "records are kept as rows of 8-byte cells");

static struct tensor flat(const char *name, enum dtype type, const void *data, size_t n, size_t bytes)
{
    return (struct tensor){.name = name, .type = type, .rank = 1, .dim = {n}, .data = data, .bytes = bytes};
}

static size_t list_arrays(struct trainer *t, struct tensor a[ARRAYS])
{
    struct adamw_part part[4];
    size_t bytes = t->p->count * sizeof(float), n = 0, parts = adamw_parts(t->adam, part);
    a[n++] = flat("parameters", DT_F32, t->p->values, t->p->count, bytes);
    if (t->best_step != NEVER)
        a[n++] = flat("best", DT_F32, t->best, t->p->count, bytes);
    for (size_t i = 0; i < parts; i++)
        a[n++] = flat(part[i].name, DT_U8, part[i].data, part[i].bytes, part[i].bytes);
    size_t cells = t->records * RECORD_CELLS;
    a[n++] = flat("records", DT_I64, t->record, cells, cells * sizeof(double));
    return n;
}

static int take_array(const struct safetensors *s, const char *file, const struct tensor *to, struct err *e)
{
    const struct tensor *t = safetensors_find(s, to->name);
    if (!t || t->bytes != to->bytes || t->type != to->type)
        return err_set(e, ERR_FORMAT, "%s: %s is missing or of another size than this run's", file, to->name);
    memcpy((void *)(uintptr_t)to->data, t->data, t->bytes);
    return 0;
}

static int take_records(struct trainer *t, const struct safetensors *s, const char *file, struct err *e)
{
    const struct tensor *r = safetensors_find(s, "records");
    if (!r || r->bytes % sizeof(struct train_record))
        return err_set(e, ERR_FORMAT, "%s: records are missing or cut short", file);
    t->records = 0;
    for (size_t at = 0; at < r->bytes; at += sizeof(struct train_record)) {
        struct train_record one;
        memcpy(&one, r->data + at, sizeof one);
        int rc = trainer_add_record(t, &one, e);
        if (rc)
            return rc;
    }
    if (t->best_step != NEVER && t->best_record >= t->records)
        return err_set(e, ERR_FORMAT, "%s: the best record is not there", file);
    return 0;
}

static int take_arrays(struct trainer *t, const char *file, struct err *e)
{
    struct safetensors *s;
    struct tensor a[ARRAYS];
    int rc = safetensors_open(&s, file, e);
    if (rc)
        return rc;
    rc = take_records(t, s, file, e);
    size_t n = list_arrays(t, a);
    for (size_t i = 0; !rc && i + 1 < n; i++) /* all but the records */
        rc = take_array(s, file, &a[i], e);
    safetensors_close(s);
    return rc;
}

/* ---- settings ---- */

static json_t *settings_json(const struct trainer *t)
{
    json_t *o = json_object();
    for (size_t i = 0; i < t->settings; i++)
        json_object_set_new(o, t->setting[i].name, json_string(t->setting[i].value));
    return o;
}

static const char *dashes(const char *name)
{
    static const char *const none[] = {"method", "prompt", "processes"}; /* no options */
    for (size_t i = 0; i < COUNT_OF(none); i++)
        if (strcmp(name, none[i]) == 0)
            return "";
    return "--";
}

static const char *shown(const char *value)
{
    return !value ? "not given" : strlen(value) == DIGEST_HEX - 1 ? "given" : value;
}

/* Adds to a list of what is not as it was; NULL: not given. */
static void add_change(char *list, size_t size, const char *name, const char *was, const char *now)
{
    size_t n = strlen(list);
    bool hashes = was && now && strlen(was) == DIGEST_HEX - 1 && strlen(now) == DIGEST_HEX - 1;
    if (was && now && strcmp(was, now) == 0)
        return;
    n += (size_t)snprintf(list + n, size - n, "%s%s%s ", n ? ", " : "", dashes(name), name);
    if (n >= size)
        return;
    if (hashes)
        snprintf(list + n, size - n, "has other content");
    else
        snprintf(list + n, size - n, "was %.40s, now %.40s", shown(was), shown(now));
}

/* What was given and what is given, whichever of the two lacks one: both ways. */
static int compare_settings(const struct trainer *t, const struct fields *f, struct err *e)
{
    struct fields was;
    const char *name;
    json_t *value;
    char list[300] = "";
    int rc = fields_object(f, "settings", &was, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < t->settings; i++)
        add_change(list, sizeof list, t->setting[i].name,
                   json_string_value(fields_get(&was, t->setting[i].name)), t->setting[i].value);
    json_object_foreach((json_t *)(uintptr_t)was.object, name, value)
    {
        bool there = false;
        for (size_t i = 0; i < t->settings && !there; i++)
            there = strcmp(t->setting[i].name, name) == 0;
        if (!there)
            add_change(list, sizeof list, name, json_string_value(value), NULL);
    }
    return *list ? err_set(e, ERR_STATE, "%s: %s: --resume changes nothing", f->file, list) : 0;
}

/* ---- writing ---- */

static int write_json(struct trainer *t, const char *state, struct err *e)
{
    json_t *o = json_pack("{s:i, s:s, s:o, s:o}", "format", FORMAT, "state", state, "numbers",
                          numbers_json(t), "settings", settings_json(t));
    char *text = o ? json_dumps(o, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL;
    char *path = path_of(t, "state.json", e);
    int rc = text && path ? file_write(path, text, strlen(text), e) : err_set(e, ERR_MEMORY, "out of memory");
    free(path);
    free(text);
    json_decref(o);
    return rc;
}

/* Removes what is not `keep` (NULL: everything, and the directory). */
static void clean(const struct trainer *t, const char *keep)
{
    char *dir = path_of(t, "", NULL);
    DIR *d = dir ? opendir(dir) : NULL;
    for (struct dirent *at; d && (at = readdir(d));)
        if (strncmp(at->d_name, "state", 5) == 0 && (!keep || strcmp(at->d_name, keep) != 0) &&
            (!keep || strcmp(at->d_name, "state.json") != 0))
            unlinkat(dirfd(d), at->d_name, 0);
    if (d)
        closedir(d);
    if (!keep && dir)
        rmdir(dir);
    free(dir);
}

void trainer_forget(const struct trainer *t)
{
    clean(t, NULL);
}

int trainer_save(struct trainer *t, struct err *e)
{
    char name[64];
    struct tensor a[ARRAYS];
    snprintf(name, sizeof name, "state-%010" PRIu64 "%s.safetensors", t->step,
             t->evaluated == t->step ? "e" : "");
    char *dir = path_of(t, "", e), *path = path_of(t, name, e);
    int rc = dir && path ? 0 : ERR_MEMORY;
    if (!rc && mkdir(dir, 0777) && errno != EEXIST)
        rc = err_errno(e, "%s: making the directory", dir);
    if (!rc)
        rc = safetensors_write(path, a, list_arrays(t, a), NULL, 0, e);
    if (!rc)
        rc = write_json(t, name, e);
    if (!rc)
        clean(t, name);
    free(dir);
    free(path);
    return rc;
}

/* ---- reading ---- */

static int restore(struct trainer *t, const char *json, struct err *e)
{
    struct fields f, numbers;
    json_t *root;
    const char *state = NULL;
    uint32_t format = 0;
    int rc = fields_read(&f, &root, json, JSON_LIMIT, e);
    if (rc)
        return rc;
    rc = fields_u32(&f, "format", &format, FORMAT, FORMAT, e);
    if (!rc)
        rc = compare_settings(t, &f, e);
    if (!rc)
        rc = fields_string(&f, "state", &state, e);
    if (!rc && (!state || strchr(state, '/')))
        rc = fields_bad(&f, "state", "a file's name", e);
    if (!rc)
        rc = fields_object(&f, "numbers", &numbers, e);
    if (!rc)
        rc = read_numbers(t, &numbers, e);
    char *path = rc ? NULL : path_of(t, state, e);
    if (!rc)
        rc = path ? take_arrays(t, path, e) : ERR_MEMORY;
    if (!rc)
        parameters_sync(t->p, t->model);
    free(path);
    json_decref(root);
    return rc;
}

int trainer_restore(struct trainer *t, struct err *e)
{
    char *json = path_of(t, "state.json", e);
    if (!json)
        return ERR_MEMORY;
    bool there = access(json, F_OK) == 0;
    int rc = 0;
    if (there && t->o.resume)
        rc = restore(t, json, e);
    else if (there)
        rc = err_set(e, ERR_STATE, "%s: an unfinished run; want --resume, or another --out (or remove it)",
                     json);
    else if (t->o.resume)
        rc = err_set(e, ERR_MISSING, "%s: no checkpoint to go on from", json);
    if (!rc && there)
        t->saved = t->step;
    free(json);
    return rc;
}
