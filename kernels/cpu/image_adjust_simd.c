/* image_adjust_simd.c - colour jitter and RandAugment, a thread a range of samples.
 *
 * Steps that are a table of bytes run in place; steps that look around write into the other of two buffers: y, or the
 * sample's own picture of scratch. x, y u8 (N, H, W, C), C = 1 or 3; sample i32 (N). */
#include <string.h>

#include "cpu/pointwise.h"
#include "cpu/simd.h"

/* What all threads read; each writes the pictures of its own samples. */
typedef struct adjust_job {
    const uint8_t *x;      /* (N, H, W, C)             */
    const int32_t *sample; /* (N): who it is           */
    const hone_step *step; /* seed and epoch           */
    const hone_augment_attr *a;
    uint8_t *y, *scratch; /* (N, H, W, C) both */
    int32_t H, W, C;
} adjust_job;

/* Counts of each byte by channel (C, 256), and the sum of the grey picture where contrast asks for it. */
static int64_t survey(const adjust_job *job, const uint8_t *from, bool grey, uint32_t histogram[3][256])
{
    int64_t pixels = (int64_t)job->H * job->W, sum = 0;
    memset(histogram, 0, 3 * sizeof histogram[0]);
    for (int64_t i = 0; grey && i < pixels; i++) sum += hone_grey(from + i * job->C, job->C);
    for (int64_t i = 0; !grey && i < pixels; i++)
        for (int32_t c = 0; c < job->C; c++) histogram[c][from[i * job->C + c]]++;
    return sum;
}

/* The table (256) of one channel. */
static void make_table(hone_adjust_step step, const uint32_t histogram[256], int32_t mean, uint8_t table[256])
{
    int32_t low = 0, high = 255;
    if (step.kind == HONE_ADJUST_EQUALIZE) {
        hone_equalize_table(histogram, table);
        return;
    }
    /* the first and the last byte that the channel has */
    if (step.kind == HONE_ADJUST_AUTOCONTRAST) {
        while (low < 255 && histogram[low] == 0) low++;
        while (high > low && histogram[high] == 0) high--;
    }
    if (step.kind == HONE_ADJUST_CONTRAST) low = mean;
    for (int32_t v = 0; v < 256; v++) table[v] = hone_adjust_byte(step, v, low, high);
}

/* A table a channel: bytes become others whatever stands around them, so `to` may be `from`. Only the steps that
 * measure a picture count its bytes first. */
static void by_table(const adjust_job *job, hone_adjust_step step, const uint8_t *from, uint8_t *to)
{
    uint32_t histogram[3][256];
    uint8_t table[3][256];
    int64_t pixels = (int64_t)job->H * job->W;
    bool grey = step.kind == HONE_ADJUST_CONTRAST;
    bool counts = step.kind == HONE_ADJUST_EQUALIZE || step.kind == HONE_ADJUST_AUTOCONTRAST;
    int64_t sum = grey || counts ? survey(job, from, grey, histogram) : 0;
    int32_t mean = (int32_t)((2 * sum + pixels) / (2 * pixels));
    for (int32_t c = 0; c < job->C; c++) make_table(step, histogram[c], mean, table[c]);
    if (job->C == 1)
        for (int64_t i = 0; i < pixels; i++) to[i] = table[0][from[i]];
    else
        for (int64_t i = 0; i < pixels; i++)
            for (int32_t c = 0; c < 3; c++) to[3 * i + c] = table[c][from[3 * i + c]];
}

/* A pixel moves away from its own grey, or towards it, or turns its hue; in place is fine, as all of it is read first. */
static void recolour(const adjust_job *job, hone_adjust_step step, const uint8_t *from, uint8_t *to)
{
    int64_t pixels = (int64_t)job->H * job->W;
    for (int64_t i = 0; i < pixels; i++) {
        if (step.kind == HONE_ADJUST_HUE) {
            hone_hue(from + i * job->C, job->C, step.value, to + i * job->C);
            continue;
        }
        int32_t grey = hone_grey(from + i * job->C, job->C);
        for (int32_t c = 0; c < job->C; c++) to[i * job->C + c] = hone_blend(grey, from[i * job->C + c], step.value);
    }
}

/* Steps that look at more than the pixel itself: `to` is another buffer. */
static void by_place(const adjust_job *job, hone_adjust_step step, const uint8_t *from, uint8_t *to)
{
    int32_t H = job->H, W = job->W, C = job->C;
    hone_view v = hone_adjust_view(step, H, W);
    for (int32_t h = 0; h < H; h++)
        for (int32_t w = 0; w < W; w++, to += C) {
            const uint8_t *pixel = from + ((int64_t)h * W + w) * C;
            if (step.kind == HONE_ADJUST_SHARPNESS) {
                for (int32_t c = 0; c < C; c++)
                    to[c] = hone_blend(hone_smooth(from, h, w, H, W, C, c), pixel[c], step.value);
                continue;
            }
            /* a rotation or shear: a bilinear look-up, as image_view makes it */
            hone_point p = hone_view_point(&v, h, w, H, W, H, W);
            for (int32_t c = 0; c < C; c++) to[c] = hone_view_pixel(&p, from, W, C, c);
        }
}

/* A sample goes through all its steps before the next one begins: it stays in cache. `now` says where it stands, since
 * nothing is copied between steps. */
static void adjust_range(const void *arg, int64_t begin, int64_t end)
{
    const adjust_job *job = arg;
    int64_t bytes = (int64_t)job->H * job->W * job->C;
    for (int64_t n = begin; n < end; n++) {
        hone_adjust_step step[HONE_ADJUST_MOST];
        const uint8_t *now = job->x + n * bytes; /* where the picture stands */
        uint8_t *y = job->y + n * bytes, *scratch = job->scratch + n * bytes;
        int count = hone_adjust_draw(job->a, job->step->seed, job->sample[n], job->step->epoch, job->H, job->W, step);
        for (int k = 0; k < count; k++) {
            bool moves = hone_adjust_moves(step[k].kind) || step[k].kind == HONE_ADJUST_SHARPNESS;
            /* what looks around must not read what it has written; all else may as well write into y */
            uint8_t *to = moves && now == y ? scratch : y;
            if (step[k].kind == HONE_ADJUST_NONE) continue;
            if (moves) by_place(job, step[k], now, to);
            else if (step[k].kind == HONE_ADJUST_SATURATION || step[k].kind == HONE_ADJUST_HUE)
                recolour(job, step[k], now, to);
            else by_table(job, step[k], now, to);
            now = to;
        }
        if (now != y) memcpy(y, now, (size_t)bytes);
    }
}

/* 16: a few steps of a few visits each. */
void SIMD(cpu_image_adjust)(hone_backend *b, const hone_launch *l)
{
    const int64_t *dim = l->out_desc[0]->dim;
    adjust_job job = {.x = l->in[0], .sample = l->in[1], .step = l->in[2], .y = l->out[0], .scratch = l->work};
    job.a = &l->node->attr.augment;
    job.H = (int32_t)dim[1];
    job.W = (int32_t)dim[2];
    job.C = (int32_t)dim[3];
    hone_cpu_ranges(b, hone_cpu_team(b, 16 * hone_tensor_count(l->out_desc[0])), dim[0], 1, adjust_range, &job);
}
