#include "base/size.h"
#include "base/when.h"
#include "cli/cli.h"
#include "cli/export.h"

#include <stdio.h>
#include <string.h>

struct arguments {
    const char *db, *id;
    bool json;
};

enum { OPT_DB = OPT_FIRST, OPT_JSON };

static const struct option options[] = {{"db", required_argument, NULL, OPT_DB},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"help", no_argument, NULL, 'h'},
                                        {0}};

/* "E 55/100 (up from I...)": text for people names the pole and how far the score is towards it. */
static void print_scores(const int scores[AXES])
{
    for (int a = 0; a < AXES; a++) {
        bool up = scores[a] > SCORE_MAX / 2;
        printf("%s%s %d", a ? "  " : "", up ? axis_info[a].pole_up : axis_info[a].pole_down,
               up ? scores[a] : SCORE_MAX - scores[a]);
    }
}

static json_t *person_json(const struct store_person *p)
{
    char type[AXES + 1];
    axis_type(type, p->scores);
    return json_pack("{s:s, s:o, s:s, s:I, s:b, s:b, s:o}", "id", p->id, "scores", cli_json_scores(p->scores),
                     "type", type, "posts", (json_int_t)p->posts, "surveyed", p->surveyed, "frozen",
                     p->frozen, "created_at", cli_json_time(p->created_at));
}

struct listing {
    json_t *array; /* NULL: print as text */
    size_t n;
};

static int list_person(void *context, const struct store_person *p, struct err *e)
{
    (void)e;
    struct listing *l = context;
    l->n++;
    if (l->array)
        return json_array_append_new(l->array, person_json(p)) ? err_set(e, ERR_MEMORY, "out of memory") : 0;
    char type[AXES + 1];
    axis_type(type, p->scores);
    printf("%-20s %s  ", p->id, type);
    print_scores(p->scores);
    printf("  %lld posts%s%s\n", (long long)p->posts, p->surveyed ? "" : ", no survey",
           p->frozen ? ", frozen" : "");
    return 0;
}

static int user_list(struct store *s, const struct arguments *o, struct err *e)
{
    struct listing l = {.array = o->json ? json_array() : NULL};
    int rc = store_people(s, NULL, 0, list_person, &l, e);
    if (rc)
        json_decref(l.array);
    else if (o->json)
        return cli_print_json(l.array);
    else if (l.n == 0)
        puts("nobody yet; gyeol import brings people and posts");
    return rc;
}

static int user_show(struct store *s, const struct arguments *o, struct err *e)
{
    struct arena a = {0};
    struct store_person p;
    char type[AXES + 1], time[WHEN_TEXT];
    int rc = store_person(s, o->id, &a, &p, e);
    if (!rc && o->json)
        rc = cli_print_json(person_json(&p));
    else if (!rc) {
        axis_type(type, p.scores);
        printf("%s  %s\n", p.id, type);
        for (int i = 0; i < AXES; i++)
            printf("  %s %3d | %-3d %s\n", axis_info[i].pole_down, SCORE_MAX - p.scores[i], p.scores[i],
                   axis_info[i].pole_up);
        printf("rests on %lld judged posts; %s; here since %s%s\n", (long long)p.posts,
               p.surveyed ? "began at a survey" : "no survey: began at 50", when_format(time, p.created_at),
               p.frozen ? "; frozen" : "");
    }
    arena_deinit(&a);
    return rc;
}

static int list_step(void *context, const struct store_step *v, struct err *e)
{
    struct listing *l = context;
    char time[WHEN_TEXT];
    l->n++;
    if (l->array)
        return json_array_append_new(l->array, export_step(v)) ? err_set(e, ERR_MEMORY, "out of memory") : 0;
    const struct axis_info *x = &axis_info[v->axis];
    printf("%.16s  post %-12s %s/%s  %d -> %d towards %s\n    %s\n", when_format(time, v->written_at),
           v->post, x->pole_down, x->pole_up, v->previous, v->current, axis_pole(v->axis, v->decision),
           v->reason);
    return 0;
}

static int user_history(struct store *s, const struct arguments *o, struct err *e)
{
    struct listing l = {.array = o->json ? json_array() : NULL};
    int rc = store_history(s, o->id, 0, 0, list_step, &l, e);
    if (rc)
        json_decref(l.array);
    else if (o->json)
        return cli_print_json(l.array);
    else if (l.n == 0)
        puts("no change yet");
    return rc;
}

static int set_frozen(struct store *s, const struct arguments *o, bool frozen, struct err *e)
{
    int rc = store_begin(s, e);
    if (rc)
        return rc;
    rc = store_set_frozen(s, o->id, frozen, when_now(), e);
    if (rc)
        store_rollback(s);
    else
        rc = store_commit(s, e);
    if (!rc && o->json)
        return user_show(s, o, e);
    if (!rc)
        printf("%s is %s\n", o->id,
               frozen ? "frozen: no post is judged until unfreeze, posts written meanwhile never"
                      : "judged again");
    return rc;
}

static int user_freeze(struct store *s, const struct arguments *o, struct err *e)
{
    return set_frozen(s, o, true, e);
}

static int user_unfreeze(struct store *s, const struct arguments *o, struct err *e)
{
    return set_frozen(s, o, false, e);
}

static int user_export(struct store *s, const struct arguments *o, struct err *e)
{
    json_t *v;
    int rc = export_person(s, o->id, &v, e);
    return rc ? rc : cli_print_json(v);
}

static int user_erase(struct store *s, const struct arguments *o, struct err *e)
{
    int rc = store_erase(s, o->id, e);
    if (!rc && o->json)
        return cli_print_json(json_pack("{s:s, s:b}", "id", o->id, "erased", 1));
    if (!rc)
        printf("%s is erased: posts, judgements, scores and history\n", o->id);
    return rc;
}

static const struct action {
    const char *name;
    bool needs_id;
    int (*run)(struct store *s, const struct arguments *o, struct err *e);
} actions[] = {
    {"list", false, user_list},    {"show", true, user_show},         {"history", true, user_history},
    {"freeze", true, user_freeze}, {"unfreeze", true, user_unfreeze}, {"export", true, user_export},
    {"erase", true, user_erase},
};

static int dispatch(const struct action *a, const struct arguments *o)
{
    struct err e;
    struct store *s;
    int rc = store_open(&s, cli_database(o->db), STORE_EXISTING, &e);
    if (!rc) {
        rc = a->run(s, o, &e);
        store_close(s);
    }
    return rc < 0 ? cli_fail(&e) : rc;
}

static int run(int argc, char **argv)
{
    struct arguments o = {0};
    int c;
    while ((c = cli_option(&cmd_user, argc, argv, options)) != -1)
        switch (c) {
        case 'h':
            return EXIT_OK;
        case '?':
            return EXIT_USAGE;
        case OPT_DB:
            o.db = optarg;
            break;
        case OPT_JSON:
            o.json = true;
            break;
        }
    int left = argc - optind;
    for (size_t i = 0; left > 0 && i < COUNT_OF(actions); i++) {
        if (strcmp(argv[optind], actions[i].name) != 0)
            continue;
        if (left != 1 + actions[i].needs_id)
            return cli_usage(&cmd_user, "%s: want %s", actions[i].name,
                             actions[i].needs_id ? "one id" : "no argument");
        o.id = argv[optind + 1];
        return dispatch(&actions[i], &o);
    }
    return cli_usage(&cmd_user, "want list, show, history, freeze, unfreeze, export or erase");
}

const struct command cmd_user = {
    "user", "one person's record and rights",
    "usage: gyeol user ACTION [ID] [OPTIONS]\n\n"
    "  list                 everybody, with type and scores\n"
    "  show ID              one person's scores and what they rest on\n"
    "  history ID           every change since the latest survey, with its reason; also where a\n"
    "                       score at the end of its scale could not move\n"
    "  freeze ID            stop judging this person; posts written from now to unfreeze are never judged\n"
    "  unfreeze ID          judge again\n"
    "  export ID            everything held about this person, as one JSON document (always JSON)\n"
    "  erase ID             remove all of it; no byte stays in the database's files (missions and\n"
    "                       model names, which are not the person's, stay)\n\n"
    "  --db PATH            the database (default $GYEOL_DB, else gyeol.db)\n"
    "  --json               JSON instead of text\n\n"
    "An ID that begins with - needs -- before it.\n",
    run};
