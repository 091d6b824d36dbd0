/* AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019; as torch.optim.AdamW computes
 * it), its state in 32 bits, or in 8 bits by blocks of 256 values (Dettmers et al., "8-bit Optimizers via
 * Block-wise Quantization", 2022: dynamic map, signed for the first moment, unsigned for the second). Also the
 * global gradient norm and the learning-rate schedules. Bits do not depend on the number of threads. */
#ifndef GYEOL_TRAIN_ADAMW_H
#define GYEOL_TRAIN_ADAMW_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct adamw_options {
    double beta1, beta2, eps, weight_decay; /* 0.9, 0.999, 1e-8, 0.01 */
    int bits;                               /* 32 or 8 */
};

struct adamw;

int adamw_new(struct adamw **out, size_t n, const struct adamw_options *o, struct err *e) MUST_CHECK;
void adamw_free(struct adamw *a); /* NULL allowed */
size_t adamw_bytes(size_t n, int bits);

/* One step on n values: values move, gradients are multiplied by grad_scale as they are read (clipping). */
void adamw_step(struct adamw *a, float *value, const float *grad, double lr, double grad_scale);

/* The state as bytes, for checkpoints: sizes and pointers into it (first moment, second moment, and for 8 bits
 * their scales), and the number of steps taken. */
struct adamw_part {
    const char *name; /* "exp_avg", "exp_avg_sq", "exp_avg_scale", "exp_avg_sq_scale" */
    void *data;
    size_t bytes;
};
size_t adamw_parts(struct adamw *a, struct adamw_part part[4]);
uint64_t adamw_steps(const struct adamw *a);
void adamw_set_steps(struct adamw *a, uint64_t steps);

/* sqrt of the sum of squares, in double, in an order fixed by n. */
double gradient_norm(const float *grad, size_t n);

enum schedule { SCHEDULE_COSINE, SCHEDULE_LINEAR, SCHEDULE_CONSTANT };

/* Factor of the learning rate at step (0-based) of `steps`: linear warm-up over `warmup` steps, then the
 * schedule down to 0 (transformers.get_scheduler's values: step s trains with factor(s)). */
double schedule_factor(enum schedule s, uint64_t step, uint64_t warmup, uint64_t steps);

#endif
