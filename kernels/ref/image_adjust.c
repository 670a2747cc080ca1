/* image_adjust.c - colour jitter and RandAugment: steps drawn for each sample, one after the other (ref.h).
 *
 * x, y u8 (N, H, W, C), C = 1 or 3; sample i32 (N). A step reads a whole picture and writes a whole one, so two
 * buffers take turns: y itself, and one picture of scratch. What a step does to a pixel stands in hone/augment.h. */
#include "ref.h"

typedef struct picture { /* sizes, and both buffers (H, W, C) */
    int32_t H, W, C;
    uint8_t *from, *to;
} picture;

/* One picture of scratch. */
hone_status REF(image_adjust_prepare)(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    const hone_tensor *x = &g->tensor[n->in[0]];
    n->work_bytes = (size_t)(x->dim[1] * x->dim[2] * x->dim[3]);
    return HONE_OK;
}

/* Mean of the grey picture, rounded to nearest: what contrast is measured from. */
static int32_t grey_mean(const picture *p)
{
    int64_t sum = 0, pixels = (int64_t)p->H * p->W;
    for (int64_t i = 0; i < pixels; i++) sum += hone_grey(p->from + i * p->C, p->C);
    return (int32_t)((2 * sum + pixels) / (2 * pixels));
}

/* A byte becomes another by a table of its channel. */
static void by_table(const picture *p, hone_adjust_step step)
{
    int64_t pixels = (int64_t)p->H * p->W;
    int32_t mean = step.kind == HONE_ADJUST_CONTRAST ? grey_mean(p) : 0;
    for (int32_t c = 0; c < p->C; c++) {
        uint32_t histogram[256] = {0};
        uint8_t table[256];
        int32_t low = 255, high = 0;
        for (int64_t i = 0; i < pixels; i++) histogram[p->from[i * p->C + c]]++;
        for (int32_t v = 0; v < 256; v++) {
            if (v < low && histogram[v]) low = v;
            if (v > high && histogram[v]) high = v;
        }
        if (step.kind == HONE_ADJUST_CONTRAST) low = mean;
        for (int32_t v = 0; v < 256; v++) table[v] = hone_adjust_byte(step, v, low, high);
        if (step.kind == HONE_ADJUST_EQUALIZE) hone_equalize_table(histogram, table);
        for (int64_t i = 0; i < pixels; i++) p->to[i * p->C + c] = table[p->from[i * p->C + c]];
    }
}

/* A pixel moves away from its grey, turns its hue, moves away from its surroundings, or is another place's pixel. */
static void by_place(const picture *p, hone_adjust_step step)
{
    hone_view v = hone_adjust_view(step, p->H, p->W);
    for (int32_t h = 0; h < p->H; h++)
        for (int32_t w = 0; w < p->W; w++) {
            int64_t at = ((int64_t)h * p->W + w) * p->C;
            hone_point point = hone_view_point(&v, h, w, p->H, p->W, p->H, p->W);
            if (step.kind == HONE_ADJUST_HUE) {
                hone_hue(p->from + at, p->C, step.value, p->to + at);
                continue;
            }
            for (int32_t c = 0; c < p->C; c++) {
                const uint8_t *pixel = p->from + at;
                if (step.kind == HONE_ADJUST_SATURATION)
                    p->to[at + c] = hone_blend(hone_grey(pixel, p->C), pixel[c], step.value);
                else if (step.kind == HONE_ADJUST_SHARPNESS)
                    p->to[at + c] = hone_blend(hone_smooth(p->from, h, w, p->H, p->W, p->C, c), pixel[c], step.value);
                else p->to[at + c] = hone_view_pixel(&point, p->from, p->W, p->C, c);
            }
        }
}

/* Steps one by one, each through the scratch picture and back: slow, and easy to follow. */
void REF(image_adjust)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const int64_t *dim = l->out_desc[0]->dim;
    const int32_t *sample = l->in[1]; /* (N) */
    const hone_step *block = l->in[2];
    int64_t bytes = dim[1] * dim[2] * dim[3];
    for (int64_t n = 0; n < dim[0]; n++) {
        hone_adjust_step step[HONE_ADJUST_MOST];
        uint8_t *y = (uint8_t *)l->out[0] + n * bytes, *scratch = l->work;
        picture p = {(int32_t)dim[1], (int32_t)dim[2], (int32_t)dim[3], y, scratch};
        int count = hone_adjust_draw(&attrs(l)->augment, block->seed, sample[n], block->epoch, p.H, p.W, step);
        memcpy(y, (const uint8_t *)l->in[0] + n * bytes, (size_t)bytes);
        for (int k = 0; k < count; k++) {
            bool place = hone_adjust_moves(step[k].kind) || step[k].kind == HONE_ADJUST_SATURATION ||
                         step[k].kind == HONE_ADJUST_SHARPNESS || step[k].kind == HONE_ADJUST_HUE;
            if (place) by_place(&p, step[k]);
            else by_table(&p, step[k]);
            memcpy(y, scratch, (size_t)bytes);
        }
    }
}
