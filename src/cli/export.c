#include "cli/export.h"

#include "cli/cli.h"

/* Appends v to the array in context. */
static int append(void *context, json_t *v, struct err *e)
{
    return json_array_append_new(context, v) ? err_set(e, ERR_MEMORY, "out of memory for an export") : 0;
}

json_t *export_step(const struct store_step *v)
{
    return json_pack("{s:I, s:s, s:o, s:s, s:s, s:i, s:i, s:o, s:s}", "seq", (json_int_t)v->seq, "post",
                     v->post, "written_at", cli_json_time(v->written_at), "axis", axis_info[v->axis].key,
                     "pole", axis_pole(v->axis, v->decision), "previous", v->previous, "current", v->current,
                     "scores", cli_json_scores(v->scores), "reason", v->reason);
}

static int add_step(void *context, const struct store_step *v, struct err *e)
{
    return append(context, export_step(v), e);
}

static int add_survey(void *context, const struct store_survey *v, struct err *e)
{
    return append(
        context,
        json_pack("{s:o, s:o}", "taken_at", cli_json_time(v->taken_at), "scores", cli_json_scores(v->scores)),
        e);
}

static int add_freeze(void *context, const struct store_freeze *v, struct err *e)
{
    return append(context,
                  json_pack("{s:o, s:o}", "from", cli_json_time(v->from), "to", cli_json_time(v->to)), e);
}

static int add_post(void *context, const struct store_post *v, struct err *e)
{
    return append(context,
                  json_pack("{s:s, s:s?, s:o, s:o, s:o, s:o}", "id", v->id, "mission", v->mission,
                            "written_at", cli_json_time(v->written_at), "edited_at",
                            cli_json_time(v->edited_at), "deleted_at", cli_json_time(v->deleted_at),
                            "content", cli_json_text(v->content)),
                  e);
}

static int add_judgement(void *context, const struct store_judged *v, struct err *e)
{
    const struct store_judgement *j = &v->judgement;
    json_t *axes = json_object();
    for (int a = 0; a < AXES; a++)
        json_object_set_new(axes, axis_info[a].key,
                            json_pack("{s:s, s:{s:f, s:f, s:f}, s:s?}", "decision",
                                      decision_name(j->axis[a].decision), "p", "up", j->axis[a].up, "keep",
                                      j->axis[a].keep, "down", j->axis[a].down, "why", j->axis[a].why));
    return append(context,
                  json_pack("{s:s, s:i, s:b, s:{s:s, s:s, s:s, s:s?}, s:s, s:i, s:o, s:f, s:o, s:s?}", "post",
                            v->post, "version", v->version, "counts", v->counts, "judge", "mode",
                            v->model.mode, "model", v->model.name, "model_sha256", v->model.model_sha256,
                            "adapter_sha256", v->model.adapter_sha256, "policy", policy_name[j->policy],
                            "weight", j->weight, "judged_at", cli_json_time(j->judged_at), "latency_ms",
                            j->latency_ms, "axes", axes, "reason", j->reason),
                  e);
}

int export_person(struct store *s, const char *id, json_t **out, struct err *e)
{
    struct arena a = {0};
    struct store_person p = {0};
    json_t *surveys = json_array(), *freezes = json_array(), *posts = json_array(),
           *judgements = json_array(), *history = json_array();
    char type[AXES + 1] = "";
    int rc = store_begin_read(s, e);
    if (!rc)
        rc = store_person(s, id, &a, &p, e);
    if (!rc)
        rc = store_surveys(s, id, add_survey, surveys, e);
    if (!rc)
        rc = store_freezes(s, id, add_freeze, freezes, e);
    if (!rc)
        rc = store_posts(s, id, add_post, posts, e);
    if (!rc)
        rc = store_judgements(s, id, add_judgement, judgements, e);
    if (!rc)
        rc = store_history(s, id, 0, 0, add_step, history, e);
    store_end_read(s);
    if (!rc) {
        axis_type(type, p.scores);
        *out = json_pack("{s:s, s:o, s:o, s:s, s:b, s:b, s:O, s:O, s:O, s:O, s:O}", "id", p.id, "created_at",
                         cli_json_time(p.created_at), "scores", cli_json_scores(p.scores), "type", type,
                         "surveyed", p.surveyed, "frozen", p.frozen, "surveys", surveys, "freezes", freezes,
                         "posts", posts, "judgements", judgements, "history", history);
        if (!*out)
            rc = err_set(e, ERR_MEMORY, "out of memory for an export");
    }
    json_t *parts[] = {surveys, freezes, posts, judgements, history};
    for (int i = 0; i < 5; i++)
        json_decref(parts[i]);
    arena_deinit(&a);
    return rc;
}
