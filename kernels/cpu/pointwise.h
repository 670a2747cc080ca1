/* pointwise.h - what the kernels that are not plain linear or conv share: their rows, and how work is cut.
 *
 * Work is cut into `parts` equal ranges, one a thread, by arithmetic alone: for a given thread count the
 * same elements meet in the same order, so two runs give the same bits. Small work stays on the calling
 * thread, because waking a team costs some microseconds. Nothing here allocates: scratch is stated in prepare. */
#ifndef HONE_KERNELS_CPU_POINTWISE_H
#define HONE_KERNELS_CPU_POINTWISE_H

#include "cpu/cpu.h"

/* X(op, prepare): launches are cpu_<op>_<isa> of the *_simd.c files. */
#define HONE_CPU_POINTWISE(X)                                                                                          \
    X(relu, NULL)                                                                                                      \
    X(relu_dx, NULL)                                                                                                   \
    X(relu6, NULL)                                                                                                     \
    X(relu6_dx, NULL)                                                                                                  \
    X(leaky_relu, NULL)                                                                                                \
    X(leaky_relu_dx, NULL)                                                                                             \
    X(gelu, NULL)                                                                                                      \
    X(gelu_dx, NULL)                                                                                                   \
    X(gelu_tanh, NULL)                                                                                                 \
    X(gelu_tanh_dx, NULL)                                                                                              \
    X(silu, NULL)                                                                                                      \
    X(silu_dx, NULL)                                                                                                   \
    X(tanh, NULL)                                                                                                      \
    X(tanh_dx, NULL)                                                                                                   \
    X(sigmoid, NULL)                                                                                                   \
    X(sigmoid_dx, NULL)                                                                                                \
    X(add, NULL)                                                                                                       \
    X(mul, NULL)                                                                                                       \
    X(add_relu, NULL)                                                                                                  \
    X(add_rows, NULL)                                                                                                  \
    X(add_rows_dp, NULL)                                                                                               \
    X(dropout, NULL)                                                                                                   \
    X(dropout_dx, NULL)                                                                                                \
    X(drop_path, NULL)                                                                                                 \
    X(drop_path_dx, NULL)                                                                                              \
    X(maxpool, NULL)                                                                                                   \
    X(maxpool_dx, NULL)                                                                                                \
    X(avgpool, NULL)                                                                                                   \
    X(avgpool_dx, NULL)                                                                                                \
    X(global_avgpool, NULL)                                                                                            \
    X(global_avgpool_dx, NULL)                                                                                         \
    X(batchnorm, hone_cpu_norm_prepare)                                                                                \
    X(batchnorm_relu, hone_cpu_norm_prepare)                                                                           \
    X(batchnorm_add_relu, hone_cpu_norm_prepare)                                                                       \
    X(batchnorm_dx, hone_cpu_norm_prepare)                                                                             \
    X(batchnorm_relu_dx, hone_cpu_norm_prepare)                                                                        \
    X(batchnorm_add_relu_dx, hone_cpu_norm_prepare)                                                                    \
    X(batchnorm_infer, hone_cpu_norm_prepare)                                                                          \
    X(batchnorm_infer_relu, hone_cpu_norm_prepare)                                                                     \
    X(batchnorm_infer_add_relu, hone_cpu_norm_prepare)                                                                 \
    X(batchnorm_relu6, hone_cpu_norm_prepare)                                                                          \
    X(batchnorm_relu6_dx, hone_cpu_norm_prepare)                                                                       \
    X(batchnorm_infer_relu6, hone_cpu_norm_prepare)                                                                    \
    X(layernorm, NULL)                                                                                                 \
    X(layernorm_dx, hone_cpu_norm_prepare)                                                                             \
    X(add_layernorm, NULL)                                                                                             \
    X(layernorm_add_dx, hone_cpu_norm_prepare)                                                                         \
    X(softmax, NULL)                                                                                                   \
    X(softmax_xent, NULL)                                                                                              \
    X(softmax_xent_dx, NULL)                                                                                           \
    X(softmax_xent_both, NULL)                                                                                         \
    X(grad_norm, NULL)                                                                                                 \
    X(sgd, NULL)                                                                                                       \
    X(adamw, NULL)                                                                                                     \
    X(image_batch, NULL)                                                                                               \
    X(image_view, NULL)                                                                                                \
    X(image_adjust, hone_cpu_image_adjust_prepare)                                                                     \
    X(image_erase, NULL)                                                                                               \
    X(image_mix, NULL)                                                                                                 \
    X(attention, hone_cpu_attention_prepare)                                                                           \
    X(attention_dx, hone_cpu_attention_prepare)                                                                        \
    X(conv_act_maxpool, hone_cpu_conv_pool_prepare)                                                                    \
    X(conv_act_maxpool_dw, hone_cpu_conv_pool_dw_prepare)                                                              \
    X(maxpool_act_dx, hone_cpu_pool_gate_prepare)                                                                      \
    X(embedding_bag, NULL)                                                                                             \
    X(embedding_bag_dw, NULL)                                                                                          \
    X(embedding_bag_rows, hone_cpu_rows_prepare)                                                                       \
    X(embedding_bag_norm, NULL)                                                                                        \
    X(embedding_bag_sgd, NULL)                                                                                         \
    X(embedding, NULL)                                                                                                 \
    X(embedding_dw, NULL)                                                                                              \
    X(embedding_rows, hone_cpu_rows_prepare)                                                                           \
    X(ragged_mean, NULL)                                                                                               \
    X(ragged_mean_dx, NULL)                                                                                            \
    X(ragged_max, NULL)                                                                                                \
    X(ragged_max_dx, NULL)                                                                                             \
    X(ragged_first, NULL)                                                                                              \
    X(ragged_first_dx, NULL)                                                                                           \
    X(ragged_add, NULL)                                                                                                \
    X(ragged_add_dp, NULL)                                                                                             \
    X(ragged_attention, hone_cpu_attention_prepare)                                                                    \
    X(ragged_attention_dx, hone_cpu_attention_prepare)                                                                 \
    X(gru, hone_cpu_gru_prepare)                                                                                       \
    X(gru_dx, hone_cpu_gru_prepare)                                                                                    \
    X(rows_norm, NULL)                                                                                                 \
    X(sgd_rows, NULL)                                                                                                  \
    X(adamw_rows, NULL)

hone_status hone_cpu_image_adjust_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status hone_cpu_norm_prepare(hone_backend *b, const hone_graph *g, hone_node *n); /* scratch of the norms */
hone_status hone_cpu_conv_pool_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status hone_cpu_attention_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status hone_cpu_pool_gate_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status hone_cpu_rows_prepare(hone_backend *b, const hone_graph *g, hone_node *n); /* scratch of the sort */
hone_status hone_cpu_gru_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status hone_cpu_conv_pool_dw_prepare(hone_backend *b, const hone_graph *g, hone_node *n);

/* The rows of these kernels; ends with op == HONE_OP_COUNT. */
extern const hone_cpu_row hone_cpu_pointwise_rows[];

/* Part `part` of `parts` of [0, count), cut at multiples of `grain`; empty where there is too little. */
static inline void hone_cpu_cut(int64_t count, int64_t grain, int part, int parts, int64_t *begin, int64_t *end)
{
    int64_t grains = (count + grain - 1) / grain;
    *begin = grains * part / parts * grain;
    *end = grains * (part + 1) / parts * grain;
    if (*begin > count) *begin = count;
    if (*end > count) *end = count;
}

/* Threads for work of about `cost` element visits (a visit moves some bytes or does some flops): about
 * 5 us of one core is where a second thread begins to pay. */
static inline int hone_cpu_team(const hone_backend *b, int64_t cost) { return cost >= 32768 ? b->threads : 1; }

/* Runs body(arg, begin, end) on every part of [0, count). */
typedef void hone_cpu_range_fn(const void *arg, int64_t begin, int64_t end);
typedef struct hone_cpu_range_job {
    hone_cpu_range_fn *body;
    const void *arg;
    int64_t count, grain;
} hone_cpu_range_job;
static inline void hone_cpu_range_part(void *arg, int part, int parts)
{
    const hone_cpu_range_job *j = arg;
    int64_t begin, end;
    hone_cpu_cut(j->count, j->grain, part, parts, &begin, &end);
    if (begin < end) j->body(j->arg, begin, end);
}
static inline void hone_cpu_ranges(const hone_backend *b, int parts, int64_t count, int64_t grain,
                                   hone_cpu_range_fn *body, const void *arg)
{
    hone_cpu_range_job j = {body, arg, count, grain};
    hone_cpu_parallel(b, parts, hone_cpu_range_part, &j);
}

/* Runs body(arg, part) for every part: where each thread keeps sums of its own in scratch. */
typedef void hone_cpu_part_fn(const void *arg, int part);
typedef struct hone_cpu_part_job {
    hone_cpu_part_fn *body;
    const void *arg;
} hone_cpu_part_job;
static inline void hone_cpu_one_part(void *arg, int part, int parts)
{
    (void)parts;
    const hone_cpu_part_job *j = arg;
    j->body(j->arg, part);
}
static inline void hone_cpu_each_part(const hone_backend *b, int parts, hone_cpu_part_fn *body, const void *arg)
{
    hone_cpu_part_job j = {body, arg};
    hone_cpu_parallel(b, parts, hone_cpu_one_part, &j);
}

/* Elements of all axes but the last, and the last: a (.., C) tensor as (rows, C). */
static inline int64_t hone_cpu_last(const hone_tensor *t) { return t->rank ? t->dim[t->rank - 1] : 1; }
static inline int64_t hone_cpu_rows(const hone_tensor *t)
{
    int64_t rows = 1;
    for (int32_t k = 0; k + 1 < t->rank; k++) rows *= t->dim[k];
    return rows;
}

#endif
