/* The end of a run: the best weights into their files, calibrated as they will be served. */
#include "train/engine_calibrate.h"
#include "train/trainer_int.h"

#include <string.h>

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static struct output_run describe(const struct trainer *t, const char *ended)
{
    const struct trainer_options *o = &t->o;
    return (struct output_run){
        .method = o->full ? "full" : "lora",
        .name = last_part(o->out),
        .base = t->source.base,
        .base_sha256 = o->scratch ? NULL : t->base_sha256,
        .data = last_part(o->data),
        .dev = o->dev ? last_part(o->dev) : NULL,
        .data_sha256 = t->text ? t->corpus->sha256 : t->data.sha256,
        .dev_sha256 = t->text ? (t->dev_text ? t->dev_text->sha256 : NULL) : t->dev.sha256,
        .chat = t->chat ? t->chat->name : NULL,
        .prompt_sha256 = t->text ? NULL : t->prompt.sha256,
        .seed = o->seed,
        .steps = t->steps,
        .setting = t->setting + t->fingerprints,
        .settings = t->settings - t->fingerprints,
        .record = t->record,
        .records = t->records,
        .best = t->best_record,
        .ended = ended,
        .seconds = t->seconds,
    };
}

int trainer_write_report(struct trainer *t, const char *ended, struct err *e)
{
    struct output_run r = describe(t, ended);
    return output_report(t->o.out, &r, e);
}

static int write_weights(struct trainer *t, struct err *e)
{
    if (t->best_step != NEVER) {
        memcpy(t->p->values, t->best, t->p->count * sizeof *t->best);
        parameters_sync(t->p, t->model);
    }
    if (t->o.full)
        return output_model(t->o.out, t->p, &t->config, DT_F32, t->words, e);
    return output_adapter(t->o.out, t->p, &t->o.lora, &t->config, t->source.base, e);
}

/* What was written is opened as anybody would open it, so that the calibration is of those very files: the
 * base in the type it is served in, not in the one it was trained on. */
static int calibrate(const struct trainer *t, struct output_run *r, struct calibration *c, struct err *e)
{
    const struct judge_options jo = {.model = t->o.out, .threads = t->o.threads, .recalibrate = true};
    struct engine *g;
    struct calibrate_fit fit;
    int rc = engine_open(&g, &jo, e);
    if (rc)
        return rc;
    rc = engine_calibrate(g, &t->dev, t->o.budget, &fit, NULL, NULL, e);
    *c = g->calibration;
    r->calibration = c;
    engine_close(g);
    return rc ? rc : output_notes(t->o.out, r, e);
}

int trainer_finish(struct trainer *t, const char *ended, struct err *e)
{
    struct calibration c;
    struct output_run r = describe(t, ended);
    int rc = write_weights(t, e);
    if (!rc)
        rc = output_notes(t->o.out, &r, e);
    trainer_release(t); /* the judge is opened anew, and needs the room */
    if (!rc && !t->text)
        rc = calibrate(t, &r, &c, e);
    if (!rc)
        rc = output_report(t->o.out, &r, e);
    if (!rc)
        rc = output_card(t->o.out, &r, e);
    if (!rc)
        trainer_forget(t);
    return rc;
}
