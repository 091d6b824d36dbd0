/* The public C API: thin, so that everything inside may change behind it. */
#include "gyeol.h"

#include "judge/judge.h"
#include "judge/reason.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)GYEOL_AXES == (int)AXES && (int)GYEOL_JP == (int)AXIS_JP, "the axes' order is public");

struct gyeol {
    struct judge *judge;
};

static int give(struct gyeol_error *out, const struct err *e)
{
    if (out) {
        out->code = e->code;
        snprintf(out->message, sizeof out->message, "%s", e->msg);
    }
    return e->code;
}

int gyeol_open(struct gyeol **out, const char *model, struct gyeol_error *error)
{
    struct err e;
    struct judge_options o = {.model = model, .quotes = true};
    struct gyeol *g = calloc(1, sizeof *g);
    *out = NULL;
    if (!g) {
        err_set(&e, ERR_MEMORY, "out of memory");
        return give(error, &e);
    }
    if (judge_open(&g->judge, &o, &e)) {
        free(g);
        return give(error, &e);
    }
    *out = g;
    return 0;
}

void gyeol_close(struct gyeol *g)
{
    if (g)
        judge_close(g->judge);
    free(g);
}

int gyeol_judge(const struct gyeol *g, const char *text, const char *mission, struct gyeol_verdict *out,
                struct gyeol_error *error)
{
    struct err e;
    struct judge_input in = {text, mission};
    struct judge_verdict v;
    struct buf reason = {0};
    *out = (struct gyeol_verdict){0};
    int rc = judge_text(g->judge, &in, &v, &e);
    if (!rc) {
        buf_str(&reason, "");
        reason_text(&reason, text, &v, WEIGHT_DEFAULT);
        rc = buf_check(&reason, "reason", &e);
    }
    if (rc) {
        buf_deinit(&reason);
        return give(error, &e);
    }
    for (int a = 0; a < AXES; a++)
        out->axis[a] = (struct gyeol_axis){v.axis[a].decision, v.axis[a].up, v.axis[a].keep, v.axis[a].down};
    out->reason = reason.data;
    return 0;
}

void gyeol_verdict_clear(struct gyeol_verdict *v)
{
    free(v->reason);
    *v = (struct gyeol_verdict){0};
}

const char *gyeol_version(void)
{
    return GYEOL_VERSION;
}
