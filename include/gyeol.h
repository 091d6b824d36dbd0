/* libgyeol: judge a Korean text on the four MBTI axes, from C.
 *
 *     struct gyeol *g;
 *     struct gyeol_error error;
 *     struct gyeol_verdict v;
 *     if (gyeol_open(&g, NULL, &error) || gyeol_judge(g, "나는 친구들이랑 노는게 재밌어", NULL, &v, &error))
 *         return fprintf(stderr, "%s\n", error.message), 1;
 *     printf("E/I: %d (up %.2f)\n%s\n", v.axis[GYEOL_EI].decision, v.axis[GYEOL_EI].up, v.reason);
 *     gyeol_verdict_clear(&v);
 *     gyeol_close(g);
 *
 * Functions return 0, or a negative code with one line in error->message. No function prints, exits or keeps
 * global state. One handle may judge from several threads at once. */
#ifndef GYEOL_H
#define GYEOL_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define GYEOL_API __attribute__((visibility("default")))
#else
#define GYEOL_API
#endif

enum { GYEOL_EI, GYEOL_SN, GYEOL_TF, GYEOL_JP, GYEOL_AXES };

struct gyeol; /* a judge, opened once, used often */

struct gyeol_error {
    int code;          /* as returned */
    char message[512]; /* UTF-8, one line */
};

struct gyeol_axis {
    int decision;          /* 1 up (towards E, N, F, P), 0 keep, -1 down (towards I, S, T, J) */
    double up, keep, down; /* probabilities; they add up to 1 */
};

struct gyeol_verdict {
    struct gyeol_axis axis[GYEOL_AXES];
    char *reason; /* Korean, quotes the text; "" when every axis keeps. Freed by gyeol_verdict_clear. */
};

/* model: what `gyeol judge --model` takes (a file of `gyeol train linear`, a judge directory, a GGUF file), or NULL
 * for the judge compiled in. */
GYEOL_API int gyeol_open(struct gyeol **out, const char *model, struct gyeol_error *error);
GYEOL_API void gyeol_close(struct gyeol *g); /* NULL allowed */

/* text: UTF-8, at most 65,535 bytes. mission: the task the text answers, or NULL; context, never evidence.
 * Fills *out, which the caller clears. The same text and model always give the same verdict. */
GYEOL_API int gyeol_judge(const struct gyeol *g, const char *text, const char *mission,
                          struct gyeol_verdict *out, struct gyeol_error *error);
GYEOL_API void gyeol_verdict_clear(struct gyeol_verdict *v);

GYEOL_API const char *gyeol_version(void); /* "0.1.0" */

#ifdef __cplusplus
}
#endif

#endif
