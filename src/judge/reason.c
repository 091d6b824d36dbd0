#include "judge/reason.h"

static const char *const trait[AXES][2] = {
    [AXIS_EI] = {"다른 사람과 어울리며 힘을 얻는 외향(E)", "혼자 조용히 있을 때 힘을 얻는 내향(I)"},
    [AXIS_SN] = {"상상과 의미, 가능성에 끌리는 직관(N)", "구체적인 사실과 경험을 살피는 감각(S)"},
    [AXIS_TF] = {"사람의 마음과 관계를 먼저 헤아리는 감정(F)", "원인과 논리, 기준을 먼저 따지는 사고(T)"},
    [AXIS_JP] = {"그때그때 자유롭게 움직이는 인식(P)", "미리 정하고 계획대로 움직이는 판단(J)"},
};

void reason_clause(struct buf *out, const char *text, enum axis a, const struct judge_axis *x)
{
    if (x->decision == DECISION_KEEP)
        return;
    buf_printf(out, "'%.*s'에서 %s 성향이 드러나", (int)x->quote_len, text + x->quote,
               trait[a][x->decision == DECISION_DOWN]);
}

void reason_text(struct buf *out, const char *text, const struct judge_verdict *v, int weight)
{
    if (v->too_short) {
        buf_str(out, JUDGE_SHORT_REASON);
        return;
    }
    for (int a = 0; a < AXES; a++) {
        enum decision d = v->axis[a].decision;
        if (d == DECISION_KEEP)
            continue;
        if (out->len)
            buf_str(out, " ");
        reason_clause(out, text, a, &v->axis[a]);
        buf_printf(out, " %s 쪽으로 %d점 %s습니다.", axis_pole(a, d), weight, d > 0 ? "올렸" : "내렸");
    }
}
