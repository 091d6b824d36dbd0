#include "cli/train_options.h"

static int run(int argc, char **argv)
{
    return train_main(&cmd_train_full, &trainer_defaults_full, argc, argv);
}

const struct command cmd_train_full = {
    "train full", "train all weights of a small model",
    "usage: gyeol train full --model MODEL|--scratch DIR --data FILE --out DIR [OPTIONS]\n\n"
    "Trains every weight, from those of a Hugging Face directory or from weights drawn at random, and writes "
    "a "
    "Hugging\n"
    "Face directory. docs/TRAINING.md tells more.\n\n"
    "  --model DIR          where to begin: a Hugging Face directory with weights\n"
    "  --scratch DIR        or one with config.json and a tokenizer; weights are drawn from the seed\n"
    "  --data FILE          text (.txt, a document per line), or labelled posts (.tsv, .csv, .jsonl)\n"
    "  --dev FILE           the same, not trained on: chooses the best weights (posts: calibrates too)\n"
    "  --out DIR            where the model goes; the checkpoint while it is being made\n"
    "  --lr X               learning rate (default 3e-4)\n"
    "  --seq N              tokens of a sequence of text (default 256); most tokens of a post\n" TRAIN_HELP,
    run};
