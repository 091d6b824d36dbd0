/* The domain's vocabulary: four axes, three decisions, 0-100 scores, two policies. */
#ifndef GYEOL_BASE_AXIS_H
#define GYEOL_BASE_AXIS_H

enum axis { AXIS_EI, AXIS_SN, AXIS_TF, AXIS_JP, AXES };

/* up is evidence for the 100-pole, down for the 0-pole. */
enum decision { DECISION_DOWN = -1, DECISION_KEEP = 0, DECISION_UP = 1 };

enum policy {
    POLICY_FIXED,    /* move by the weight */
    POLICY_WEIGHTED, /* move by round(weight x (p_up - p_down)) when the decision is not keep */
};

#define SCORE_START    50 /* of a person without a survey */
#define SCORE_MAX      100
#define WEIGHT_DEFAULT 5

struct axis_info {
    const char *key;         /* "ei" */
    const char *column;      /* "EI" */
    const char *pole_up;     /* letter of the 100-pole: "E" */
    const char *pole_down;   /* letter of the 0-pole: "I" */
    const char *korean_up;   /* "외향" */
    const char *korean_down; /* "내향" */
};

extern const struct axis_info axis_info[AXES];
extern const char *const policy_name[2];

const char *decision_name(enum decision d);          /* "up", "keep", "down" */
const char *axis_pole(enum axis a, enum decision d); /* "E"; NULL for keep */
int policy_parse(const char *name);                  /* enum policy, or -1 */
void axis_type(char type[AXES + 1],
               const int scores[AXES]); /* "ESTJ": above 50 the 100-pole, else the 0-pole */

#endif
