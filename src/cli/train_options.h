/* What gyeol train lora and gyeol train full share: options, and telling of a run. */
#ifndef GYEOL_CLI_TRAIN_OPTIONS_H
#define GYEOL_CLI_TRAIN_OPTIONS_H

#include "cli/cli.h"
#include "train/trainer.h"

#define TRAIN_HELP                                                                                           \
    "  --epochs N           times the data is gone through (default 3)\n"                                    \
    "  --steps N            or as many steps\n"                                                              \
    "  --batch N            items of one pass (default 8 of text; of posts some 1024 tokens: 16)\n"          \
    "  --accumulate N       passes of one step (default 1)\n"                                                \
    "  --schedule KIND      of the learning rate: cosine (default), linear, constant\n"                      \
    "  --warmup N           steps in which the rate rises (default 3 % of all)\n"                            \
    "  --weight-decay X     decoupled, as AdamW has it (default 0.01)\n"                                     \
    "  --clip X             largest norm of the gradient; 0: any (default 1)\n"                              \
    "  --optimizer-bits N   of AdamW's state: 32 (default) or 8\n"                                           \
    "  --seed N             of weights, order and dropout (default 1)\n"                                     \
    "  --eval-every N       steps between evaluations on dev (default twice an epoch or a tenth of the "     \
    "time)\n"                                                                                                \
    "  --patience N         evaluations without a better one that end the run; 0: never (default 4)\n"       \
    "  --metric NAME        what is better: dev_loss (default) or direction_accuracy\n"                      \
    "  --budget X           unneeded changes allowed on dev, per axis (default 0.05)\n"                      \
    "  --word-dropout X     share of a post's words that a step does not read (default 0)\n"                 \
    "  --reason-weight X    of the reasons' words where rows have them; 0 (default): not learned\n"          \
    "  --class-weights W    yes (default): up, keep and down of an axis weigh the same; no: as they come\n"  \
    "  --save-every N       steps between checkpoints (default as often as evaluated)\n"                     \
    "  --resume             go on from the checkpoint in --out, with the same options\n"                     \
    "  --stop-after N       leave after step N as an interrupt does\n"                                       \
    "  --checkpointing      recompute activations: less memory, a third slower\n"                            \
    "  --compute TYPE       of products: bf16 or f32 (default bf16 where the processor has it)\n"            \
    "  --template NAME      chat template, instead of the model's own\n"                                     \
    "  --threads N          (default: one per processor)\n"                                                  \
    "  --json               the result as JSON\n"

/* Parses, trains, prints. */
int train_main(const struct command *c, const struct trainer_options *defaults, int argc, char **argv);

#endif
