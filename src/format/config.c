#include "format/config_int.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

const struct config_number config_numbers[CONFIG_NUMBERS] = {
    {"num_hidden_layers", "block_count", offsetof(struct config, layers), CONFIG_LAYERS_MAX},
    {"hidden_size", "embedding_length", offsetof(struct config, width), 1u << 20},
    {"intermediate_size", "feed_forward_length", offsetof(struct config, ff_width), 1u << 22},
    {"num_attention_heads", "attention.head_count", offsetof(struct config, heads), 1u << 14},
    {"num_key_value_heads", "attention.head_count_kv", offsetof(struct config, kv_heads), 1u << 14},
    {"head_dim", "attention.key_length", offsetof(struct config, head_width), CONFIG_HEAD_MAX},
    {"vocab_size", NULL, offsetof(struct config, vocabulary), 1u << 24},
    {"max_position_embeddings", "context_length", offsetof(struct config, context), 1u << 30},
};

void config_set_name(struct config *c, const char *s, size_t n)
{
    struct err clean; /* its messages are one line of UTF-8 */
    err_set(&clean, 0, "%.*s", (int)(n < sizeof c->name ? n : sizeof c->name - 1), s);
    n = strlen(clean.msg);
    memcpy(c->name, clean.msg, n < sizeof c->name ? n : 0);
    c->name[n < sizeof c->name ? n : 0] = 0;
}

void config_set_period(struct config *c, uint32_t period)
{
    for (uint32_t i = 0; i < c->layers; i++)
        c->sliding[i] = c->sliding_window > 0 && (period == 0 || (i + 1) % period != 0);
}

static int check_heads(const struct config *c, const char *name, struct err *e)
{
    if (c->kv_heads > c->heads || c->heads % c->kv_heads)
        return err_set(e, ERR_FORMAT, "%s: %u query heads cannot share %u key and value heads evenly", name,
                       c->heads, c->kv_heads);
    if (c->head_width % 2)
        return err_set(e, ERR_FORMAT, "%s: heads are %u wide, want an even number", name, c->head_width);
    if (c->rope_width == 0 || c->rope_width % 2 || c->rope_width > c->head_width)
        return err_set(e, ERR_FORMAT, "%s: %u values of a head are rotated, want an even number from 2 to %u",
                       name, c->rope_width, c->head_width);
    return 0;
}

static void forget_unknown_id(int32_t *id, uint32_t vocabulary)
{
    if (*id < 0 || (uint32_t)*id >= vocabulary)
        *id = -1;
}

int config_finish(struct config *c, const char *name, struct err *e)
{
    if (c->kv_heads == 0)
        c->kv_heads = c->heads;
    if (c->head_width == 0 && c->width % c->heads)
        return err_set(e, ERR_FORMAT,
                       "%s: a width of %u is no multiple of %u heads, and no head width is given", name,
                       c->width, c->heads);
    if (c->head_width == 0)
        c->head_width = c->width / c->heads;
    if (c->head_width > CONFIG_HEAD_MAX)
        return err_set(e, ERR_FORMAT, "%s: heads are %u wide, want at most %d", name, c->head_width,
                       CONFIG_HEAD_MAX);
    if (c->rope_width == 0)
        c->rope_width = c->head_width;
    int rc = check_heads(c, name, e);
    if (rc)
        return rc;
    if (!(c->norm_eps > 0 && c->norm_eps < 1))
        return err_set(e, ERR_FORMAT, "%s: the norms' epsilon is %g, want between 0 and 1", name,
                       c->norm_eps);
    if (c->attention_scale == 0)
        c->attention_scale = (float)(1 / sqrt(c->head_width));
    forget_unknown_id(&c->bos, c->vocabulary);
    forget_unknown_id(&c->eos, c->vocabulary);
    forget_unknown_id(&c->pad, c->vocabulary);
    return 0;
}
