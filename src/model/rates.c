/* rates.c - layer-wise learning rates: which share of the rate each parameter learns with (model.h).
 *
 * Depth is read off the names, so that it works for any net made of numbered blocks: parameters stand in the order of
 * the layers, and a block is named by the path up to its first number ("bert.encoder.layer.3", "layer2.0"). */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "model/model_private.h"

/* Bytes of the path up to and with its first component of digits alone; 0 where it has none. */
static size_t block_bytes(const char *name)
{
    for (const char *at = name; *at;) {
        size_t n = strcspn(at, "."), digits = 0;
        while (digits < n && isdigit((unsigned char)at[digits])) digits++;
        if (n > 0 && digits == n) return (size_t)(at - name) + n;
        at += n + (at[n] == '.');
    }
    return 0;
}

/* Whether parameter k begins another block than the one before it (`last`, -1: none yet). */
static bool begins(const hone_model *m, int k, int last)
{
    const char *name = m->params.item[k].name;
    size_t n = block_bytes(name);
    if (n == 0) return false;
    if (last < 0) return true;
    const char *other = m->params.item[last].name;
    return n != block_bytes(other) || strncmp(name, other, n) != 0;
}

/* Two passes: how many blocks there are, and where the last one ends, must be known before the first rate. */
hone_status hone_model_layer_decay(hone_model *m, double decay)
{
    int blocks = 0, last = -1;
    for (int k = 0; k < m->params.count; k++) {
        blocks += begins(m, k, last);
        if (block_bytes(m->params.item[k].name)) last = k;
    }
    if (blocks == 0)
        return hone_fail(HONE_ERR_USAGE, "leave it at 1, or build the net from `repeat` or `encoder` layers",
                         "train.layer_decay: the model has no numbered blocks");
    /* 0: before the blocks; 1..blocks; blocks + 1: behind the last of their parameters */
    for (int k = 0, depth = 0, seen = -1; k < m->params.count; k++) {
        depth += begins(m, k, seen);
        if (block_bytes(m->params.item[k].name)) seen = k;
        m->params.item[k].lr_scale = (float)pow(decay, k > last ? 0 : blocks + 1 - depth);
    }
    return HONE_OK;
}
