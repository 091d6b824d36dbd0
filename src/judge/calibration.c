#include "judge/calibration.h"

#include <math.h>
#include <string.h>

#define LARGEST 1e9

void calibration_none(struct calibration *c)
{
    *c = (struct calibration){0};
    for (int a = 0; a < AXES; a++)
        c->axis[a] = (struct calibration_axis){.scale = 1};
}

void calibration_decide(const struct calibration *c, int axis, const float logit[3], struct judge_axis *out)
{
    const struct calibration_axis *k = &c->axis[axis];
    double up = k->scale * ((double)logit[0] - (double)logit[1]) + k->up;
    double down = k->scale * ((double)logit[2] - (double)logit[1]) + k->down;
    double top = fmax(fmax(up, down), 0), eu = exp(up - top), ed = exp(down - top), ek = exp(-top);
    double total = eu + ed + ek;
    *out = (struct judge_axis){.up = eu / total, .keep = ek / total, .down = ed / total};
    double best = fmax(out->up, out->down), floor = c->fitted ? k->threshold : out->keep;
    bool sure = out->up != out->down && best > floor;
    out->decision = !sure ? DECISION_KEEP : out->up > out->down ? DECISION_UP : DECISION_DOWN;
}

static int read_axis(struct calibration_axis *k, const char *name, const char *axis, const json_t *v,
                     struct err *e)
{
    json_error_t why;
    if (json_unpack_ex((json_t *)v, &why, 0, "{s:F, s:F, s:F, s:F}", "scale", &k->scale, "up", &k->up, "down",
                       &k->down, "threshold", &k->threshold))
        return err_set(e, ERR_FORMAT, "%s: calibration of %s: %.100s", name, axis, why.text);
    /* Bounds that no logit of 32 bits can bring to infinity. */
    if (!(k->scale > 0 && k->scale <= LARGEST) || !(fabs(k->up) <= LARGEST) || !(fabs(k->down) <= LARGEST) ||
        !(k->threshold >= 0 && k->threshold <= 1))
        return err_set(
            e, ERR_FORMAT,
            "%s: calibration of %s: want scale in 0..%g, biases of at most that, threshold in 0..1", name,
            axis, LARGEST);
    return 0;
}

static void read_digest(char to[DIGEST_HEX], const json_t *v, const char *key)
{
    const char *s = json_string_value(json_object_get(v, key));
    if (s && strlen(s) == DIGEST_HEX - 1)
        memcpy(to, s, DIGEST_HEX);
}

int calibration_read(struct calibration *c, const char *name, const json_t *v, struct err *e)
{
    calibration_none(c);
    if (!json_is_object(v))
        return err_set(e, ERR_FORMAT, "%s: \"calibration\" is no object", name);
    for (int a = 0; a < AXES; a++) {
        int rc = read_axis(&c->axis[a], name, axis_info[a].key,
                           json_object_get(json_object_get(v, "axes"), axis_info[a].key), e);
        if (rc)
            return rc;
    }
    read_digest(c->prompt_sha256, v, "prompt_sha256");
    read_digest(c->model_sha256, v, "model_sha256");
    read_digest(c->adapter_sha256, v, "adapter_sha256");
    read_digest(c->data_sha256, v, "data_sha256");
    c->rows = json_integer_value(json_object_get(v, "rows"));
    c->fitted = true;
    return 0;
}

json_t *calibration_json(const struct calibration *c)
{
    json_t *axes = json_object();
    for (int a = 0; a < AXES; a++) {
        const struct calibration_axis *k = &c->axis[a];
        json_object_set_new(axes, axis_info[a].key,
                            json_pack("{s:f, s:f, s:f, s:f}", "scale", k->scale, "up", k->up, "down", k->down,
                                      "threshold", k->threshold));
    }
    return json_pack("{s:o, s:s, s:s, s:s, s:s, s:I}", "axes", axes, "prompt_sha256", c->prompt_sha256,
                     "model_sha256", c->model_sha256, "adapter_sha256", c->adapter_sha256, "data_sha256",
                     c->data_sha256, "rows", (json_int_t)c->rows);
}
