/* image_batch_simd.c - the first node of an image program: gather, crop, flip, normalise.
 *
 * A pixel has 256 values, so normalising is a table look-up: (256) floats a channel, made by ref's own
 * expression, which gives its bits. The view of a sample is a function of (seed, epoch, sample) alone.
 * pool u8 (P, Hp, Wp, C), row and sample (N), x (N, H, W, C). */
#include <string.h>

#include "hone/philox.h"
#include "cpu/pointwise.h"
#include "cpu/simd.h"

/* pool (rows, Hp, Wp, C), row (N) or NULL: image n; sample (N), x (N, H, W, C). The table is (v/255 - mean) / std of each byte:
 * a look-up replaces two float operations an element, and rounds once. */
typedef struct image_job {
    const uint8_t *pool;
    const int32_t *row, *sample;
    const hone_step *step;
    const hone_image_attr *a;
    float *x;
    int64_t Hp, Wp;
    float table[HONE_MAX_CHANNELS][256];
} image_job;

typedef struct view { /* where the crop lies in the pool's image */
    int64_t top, left;
    int mirror;
} view;

/* A draw depends on (seed, epoch, sample) alone: neither the batch nor its place in it shows. */
static view choose_view(const image_job *job, int64_t n)
{
    const hone_image_attr *a = job->a;
    view v = {(job->Hp - a->height) / 2, (job->Wp - a->width) / 2, 0};
    if (!a->augment) return v;
    hone_augment d = hone_augment_draw(job->step->seed, a->stream, (uint64_t)(uint32_t)job->sample[n],
                                       (uint64_t)(uint32_t)job->step->epoch, a->crop_pad, a->flip);
    v.top += d.dy;
    v.left += d.dx;
    v.mirror = d.flip;
    return v;
}

/* Bytes of one channel in order, eight to a load */
static void look_up_plain(const float *restrict table, const uint8_t *restrict from, int64_t count, float *restrict x)
{
    int64_t w = 0;
    for (; w + 8 <= count; w += 8) {
        uint64_t bytes;
        memcpy(&bytes, from + w, sizeof bytes);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) x[w + i] = table[bytes >> 8 * i & 255];
    }
    for (; w < count; w++) x[w] = table[from[w]];
}

/* `count` pixels of C channels from `from`, walking by `step` bytes: C forwards, -C for a mirrored row. */
static void look_up(const image_job *job, const uint8_t *from, int64_t step, int64_t count, int64_t C, float *x)
{
    if (step == 1) {
        look_up_plain(job->table[0], from, count, x);
        return;
    }
    for (int64_t w = 0; w < count; w++)
        for (int64_t c = 0; c < C; c++) x[w * C + c] = job->table[c][from[w * step + c]];
}

/* Pixels outside the image are black: value 0 before normalising. */
static void fill_black(const image_job *job, int64_t count, int64_t C, float *x)
{
    for (int64_t w = 0; w < count; w++)
        for (int64_t c = 0; c < C; c++) x[w * C + c] = job->table[c][0];
}

/* One row of the crop; [first, last) are its pixels that lie inside the image, in the order written. */
static void image_row(const image_job *job, const uint8_t *source, view v, float *x)
{
    int64_t W = job->a->width, C = job->a->channels, left = v.left, right = v.left + W;
    int64_t before = left < 0 ? -left : 0, after = right > job->Wp ? right - job->Wp : 0;
    before = before > W ? W : before;
    after = after > W - before ? W - before : after;
    int64_t first = v.mirror ? after : before, inside = W - before - after;
    fill_black(job, first, C, x);
    if (inside > 0) {
        int64_t start = v.mirror ? left + W - 1 - first : left + first;
        look_up(job, source + start * C, v.mirror ? -C : C, inside, C, x + first * C);
    }
    fill_black(job, W - first - inside, C, x + (first + inside) * C);
}

/* row[n] is where the pixels lie, sample[n] who it is; they differ when batches are streamed. */
static void image_range(const void *arg, int64_t begin, int64_t end)
{
    const image_job *job = arg;
    int64_t H = job->a->height, W = job->a->width, C = job->a->channels;
    for (int64_t n = begin; n < end; n++) {
        view v = choose_view(job, n);
        const uint8_t *image = job->pool + (job->row ? job->row[n] : n) * job->Hp * job->Wp * C;
        if (C == 1 && !v.mirror && v.left == 0 && W == job->Wp && v.top >= 0 && v.top + H <= job->Hp) {
            look_up(job, image + v.top * W, 1, H * W, 1, job->x + n * H * W); /* rows without a gap */
            continue;
        }
        for (int64_t h = 0; h < H; h++) {
            float *x = job->x + (n * H + h) * W * C;
            int64_t from = v.top + h;
            if (from < 0 || from >= job->Hp) fill_black(job, W, C, x);
            else image_row(job, image + from * job->Wp * C, v, x);
        }
    }
}

/* The table is made anew each launch: 768 divisions, nothing beside a batch. */
void SIMD(cpu_image_batch)(hone_backend *b, const hone_launch *l)
{
    image_job job = {.pool = l->in[0], .row = l->in[1], .sample = l->in[2], .step = l->in[3], .x = l->out[0]};
    job.a = &l->node->attr.image;
    job.Hp = l->in_desc[0]->dim[1];
    job.Wp = l->in_desc[0]->dim[2];
    for (int c = 0; c < job.a->channels; c++)
        for (int v = 0; v < 256; v++)
            job.table[c][v] = (float)((v / 255.0 - (double)job.a->mean[c]) / (double)job.a->std[c]);
    int64_t N = l->out_desc[0]->dim[0];
    hone_cpu_ranges(b, hone_cpu_team(b, hone_tensor_count(l->out_desc[0])), N, 1, image_range, &job);
}
