#include "cli/train_options.h"

static int run(int argc, char **argv)
{
    return train_main(&cmd_train_lora, &trainer_defaults_lora, argc, argv);
}

const struct command cmd_train_lora = {
    "train lora", "fine-tune a language model with (Q)LoRA",
    "usage: gyeol train lora --model MODEL --data TRAIN.tsv --dev DEV.tsv --out DIR [OPTIONS]\n\n"
    "Trains a LoRA adapter over a frozen, quantised model on labelled posts, keeps the best one on dev, "
    "calibrates it\n"
    "and writes a judge directory that PEFT reads too. docs/TRAINING.md tells more.\n\n"
    "  --model PATH         a Hugging Face directory, a GGUF file, or a judge directory (its base is taken)\n"
    "  --data FILE          labelled posts to learn from\n"
    "  --dev FILE           labelled posts to choose and calibrate on\n"
    "  --out DIR            where the judge goes; the checkpoint while it is being made\n"
    "  --quant TYPE         the base in memory: nf4 (default), q8_0, bf16, f32\n"
    "  --rank N             of the adapter (default 8)\n"
    "  --alpha X            scale: alpha / rank (default 16)\n"
    "  --rslora             scale: alpha / sqrt(rank)\n"
    "  --dropout X          on the adapter's input (default 0.05)\n"
    "  --targets LIST       all, or some of q,k,v,o,gate,up,down (default q,k,v,o)\n"
    "  --lr X               learning rate (default 2e-4, narrow models higher: 0.5 / width)\n"
    "  --seq N              most tokens of a post (default as many as when judged)\n" TRAIN_HELP,
    run};
