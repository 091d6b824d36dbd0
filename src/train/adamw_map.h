/* The 8-bit codes of the second moment. */
#ifndef GYEOL_TRAIN_ADAMW_MAP_H
#define GYEOL_TRAIN_ADAMW_MAP_H

/* bitsandbytes/functional.py, create_dynamic_map(signed=False): for i in 0..6 the midpoints of 2^(i+1) equal steps from
 * 0.1 to 1, times 10^(i-6), and 0, and 1. A table, because the last bits are those of torch.linspace. */
extern const float adamw_map[256];

#endif
