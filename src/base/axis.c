#include "base/axis.h"

#include <stddef.h>
#include <string.h>

const struct axis_info axis_info[AXES] = {
    [AXIS_EI] = {"ei", "EI", "E", "I", "외향", "내향"},
    [AXIS_SN] = {"sn", "SN", "N", "S", "직관", "감각"},
    [AXIS_TF] = {"tf", "TF", "F", "T", "감정", "사고"},
    [AXIS_JP] = {"jp", "JP", "P", "J", "인식", "판단"},
};

const char *const policy_name[2] = {"fixed", "weighted"};

const char *decision_name(enum decision d)
{
    return d > 0 ? "up" : d < 0 ? "down" : "keep";
}

const char *axis_pole(enum axis a, enum decision d)
{
    return d > 0 ? axis_info[a].pole_up : d < 0 ? axis_info[a].pole_down : NULL;
}

int policy_parse(const char *name)
{
    for (int i = 0; i < 2; i++)
        if (strcmp(name, policy_name[i]) == 0)
            return i;
    return -1;
}

void axis_type(char type[AXES + 1], const int scores[AXES])
{
    for (int a = 0; a < AXES; a++)
        type[a] = scores[a] > SCORE_MAX / 2 ? axis_info[a].pole_up[0] : axis_info[a].pole_down[0];
    type[AXES] = 0;
}
