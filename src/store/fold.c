#include "store/fold.h"

#include <math.h>
#include <string.h>

int fold_move(enum policy policy, int weight, enum decision d, double p_up, double p_down)
{
    if (d == DECISION_KEEP)
        return 0;
    if (policy == POLICY_FIXED)
        return (int)d * weight;
    return (int)lround(weight * (p_up - p_down));
}

int fold_clamp(int previous, int move)
{
    int next = previous + move;
    return next < 0 ? 0 : next > SCORE_MAX ? SCORE_MAX : next;
}

int fold_id_rank(const char *id)
{
    size_t n = strspn(id, "0123456789");
    return n == 0 || id[n] || n > 18 || (id[0] == '0' && n > 1) ? 99 : (int)n;
}

void fold_reason(struct buf *out, const char *why, enum axis a, enum decision d, int previous, int current)
{
    int points = current > previous ? current - previous : previous - current;
    buf_str(out, why);
    if (points == 0)
        buf_printf(out, " %s 쪽이지만 점수는 %d점 그대로입니다.", axis_pole(a, d), current);
    else
        buf_printf(out, " %s 쪽으로 %d점 %s습니다.", axis_pole(a, d), points, d > 0 ? "올렸" : "내렸");
}
