/* plan.c - `hone plan`: layers, nodes and memory of an experiment before anything is run.
 *
 * The programs are compiled up to the plan with the very options of training (src/train/setup.c), so
 * the bytes are those that a run would allocate. Data is opened only to learn its size and classes, and
 * not at all where the page and --classes tell them. */
#include "cli/plan.h"

#include <stdlib.h>
#include <string.h>

#include "cli/machine.h"
#include "graph/graph_print.h"
#include "train/text.h"

/* --- programs ----------------------------------------------------------------------------------------- */
/* Room for tokens that a text takes in a batch: half above the mean, as nearly all batches need; a guess where
 * the data are not at hand. */
static int64_t usual_tokens(const hone_trainer *t)
{
    enum { GUESS = 256 };
    const hone_dataset *d = t->text ? t->data->train : NULL;
    int64_t count = d ? hone_dataset_count(d) : 0;
    return count ? hone_dataset_token_offsets(d)[count] * 3 / 2 / count + 1 : GUESS;
}

/* The graph that training would build, but for the pool: samples are not memory of the program. */
static hone_status build_graph(const hone_trainer *t, hone_mode mode, int64_t batch, hone_graph **graph,
                               hone_model_io *io)
{
    const hone_preprocess *pre = hone_model_preprocess(t->model);
    hone_model_opts build = hone_setup_train_opts(t).build;
    build.mode = mode;
    build.batch = batch;
    build.tokens = batch * usual_tokens(t);
    build.pool_rows = batch; /* the sample pool is memory of the data, not of the program */
    build.pool_h = pre->height;
    build.pool_w = pre->width;
    build.class_weights = t->config->train.loss.class_weights != HONE_WEIGHTS_NONE;
    return hone_model_build(t->model, &build, graph, io);
}

hone_status hone_plan_program(const hone_trainer *t, hone_mode mode, int64_t batch, bool allocate, hone_program **out)
{
    hone_graph *graph = NULL;
    hone_model_io io;
    *out = NULL;
    HONE_TRY(build_graph(t, mode, batch, &graph, &io));
    hone_compile_opts train = hone_setup_train_opts(t).compile, infer = {.loss = HONE_NONE};
    infer.precision = train.precision;
    train.loss = io.loss;
    const hone_compile_opts *opts = mode == HONE_MODE_TRAIN ? &train : &infer;
    hone_status status =
        allocate ? hone_compile(graph, t->backend, opts, out) : hone_compile_plan(graph, t->backend, opts, out);
    hone_graph_free(graph);
    return status;
}

/* Activations one by one: what 16-bit storage halves, and what stays fp32. */
static void sum_storage(const hone_graph *g, size_t bytes[HONE_DTYPE_COUNT])
{
    for (hone_tid k = 0; k < g->tensor_count; k++) {
        const hone_tensor *x = &g->tensor[k];
        if (x->role == HONE_ROLE_ACT && x->alias == HONE_NONE && x->offset >= 0)
            bytes[x->dtype] += hone_tensor_bytes(x);
    }
}

/* Figures of one mode at the batch of the config. */
static hone_status plan_mode(const hone_trainer *t, hone_mode mode, bool allocate, hone_plan_mode *out, char **nodes)
{
    hone_program *p = NULL;
    HONE_TRY(hone_plan_program(t, mode, t->config->train.batch, allocate, &p));
    hone_program_memory(p, &out->planned, &out->allocated);
    out->was_allocated = allocate;
    out->together = hone_program_steps_most(p);
    sum_storage(hone_program_graph(p), out->stored);
    hone_text text = {0};
    if (nodes) hone_graph_print(hone_program_graph(p), &text);
    if (nodes) *nodes = hone_text_take(&text);
    hone_program_free(p);
    return HONE_OK;
}

/* --- the largest batch ----------------------------------------------------------------------------------- */
/* What a training program of that batch would allocate. */
static hone_status training_bytes(const hone_trainer *t, int64_t batch, size_t *bytes)
{
    hone_program *p = NULL;
    hone_memory planned, allocated;
    HONE_TRY(hone_plan_program(t, HONE_MODE_TRAIN, batch, false, &p));
    hone_program_memory(p, &planned, &allocated);
    hone_program_free(p);
    *bytes = planned.total;
    return HONE_OK;
}

/* Memory is nearly a straight line in the batch, so the search starts at the line's answer, steps away
 * from it in growing strides until it has one batch that fits and one that does not, and halves. */
hone_status hone_plan_largest_batch(const hone_trainer *t, size_t limit, int64_t *batch)
{
    /* No batch above a million is looked for: train.batch takes none. */
    enum { MOST = 1 << 20 };
    size_t one = 0, bytes = 0;
    int64_t fits = 1, above = MOST + 1, known = t->config->train.batch > 1 ? t->config->train.batch : 2;
    *batch = 0;
    HONE_TRY(training_bytes(t, 1, &one));
    /* 0: not even one sample fits, which is an answer and no error */
    if (one > limit) return HONE_OK;
    HONE_TRY(training_bytes(t, known, &bytes));
    if (bytes <= limit) fits = known;
    else above = known;
    /* Bytes for one more sample. */
    double slope = bytes > one ? (double)(bytes - one) / (double)(known - 1) : 1,
           line = 1 + (double)(limit - one) / slope;
    int64_t at = line < MOST ? (int64_t)line : MOST, stride = 1 + at / 256;
    bool first = true, up = true, striding = true;
    while (above - fits > 1) {
        if (at <= fits) at = fits + 1;
        if (at >= above) at = above - 1;
        HONE_TRY(training_bytes(t, at, &bytes));
        bool ok = bytes <= limit;
        if (ok) fits = at;
        else above = at;
        if (first) up = ok;
        striding = striding && ok == up;
        first = false;
        at = !striding ? fits + (above - fits) / 2 : up ? fits + stride : above - stride;
        stride *= 4;
    }
    *batch = fits;
    return HONE_OK;
}

/* --- sizes and classes --------------------------------------------------------------------------------- */
/* What planning needs of the data: no samples. */
typedef struct shape {
    hone_data data;
    hone_data *opened; /* NULL where the page told everything */
    char (*name)[24];
    char **name_list;
} shape;

/* Names that were made here, or the data that was opened for them. */
static void shape_free(shape *s)
{
    hone_data_free(s->opened);
    free(s->name);
    free(s->name_list);
}

/* Stand-in names: a plan depends on how many classes there are, not on what they are called. */
static hone_status name_classes(shape *s, int classes)
{
    s->name = calloc((size_t)classes, sizeof *s->name);
    s->name_list = calloc((size_t)classes, sizeof *s->name_list);
    if (!s->name || !s->name_list) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %d classes", classes);
    for (int k = 0; k < classes; k++) {
        snprintf(s->name[k], sizeof *s->name, "class %d", k);
        s->name_list[k] = s->name[k];
    }
    s->data.classes = classes;
    s->data.class_name = s->name_list;
    return HONE_OK;
}

/* From the page where it says enough, else from the data (headers only). */
static hone_status find_shape(const hone_config *c, int64_t classes, shape *s)
{
    s->data = (hone_data){.height = c->image.height, .width = c->image.width, .channels = c->image.channels};
    /* Nothing is made or opened for synthetic data. */
    if (c->data.synthetic.given && c->task == HONE_TASK_IMAGE) {
        s->data.height = (int)c->data.synthetic.shape[0];
        s->data.width = (int)c->data.synthetic.shape[1];
        s->data.channels = (int)c->data.synthetic.shape[2];
        return name_classes(s, (int)(classes ? classes : c->data.synthetic.classes));
    }
    bool known = c->task == HONE_TASK_TEXT || (s->data.height && s->data.channels);
    if (classes && known) return name_classes(s, (int)classes);
    hone_image_spec spec = {c->image.height, c->image.width, c->image.channels, c->image.resize};
    hone_status status = hone_data_open(c, &spec, &s->opened);
    if (status == HONE_OK) {
        s->data = *s->opened;
    } else {
        /* copied, because the next failure overwrites the record that it points into */
        char message[2048];
        snprintf(message, sizeof message, "%s", hone_error_message());
        return hone_fail(status, "bring the data, or plan without it: --classes N, image.size and image.channels", "%s",
                         message);
    }
    return HONE_OK;
}

/* --- the command ------------------------------------------------------------------------------------------ */
/* Learned values, frozen ones too; running statistics are not parameters. */
static int64_t count_parameters(hone_model *m)
{
    int64_t count = 0;
    for (int k = 0; k < hone_model_param_count(m); k++) {
        const hone_param *p = hone_model_param(m, k);
        if (p->role == HONE_ROLE_PARAM) count += p->count;
    }
    return count;
}

/* The table is that of the training graph, without the passes that fuse it. */
static hone_status layer_table(const hone_trainer *t, char **table)
{
    hone_graph *graph = NULL;
    hone_model_io io;
    HONE_TRY(build_graph(t, HONE_MODE_TRAIN, t->config->train.batch, &graph, &io));
    *table = hone_model_table(t->model, graph);
    hone_graph_free(graph);
    return *table ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the layer table");
}

/* Everything that can fail, in the order of its cost. */
static hone_status make_plan(const hone_cli *cli, hone_trainer *t, hone_plan_result *r)
{
    bool allocate = hone_cli_value(cli, "--allocate") != NULL, nodes = hone_cli_value(cli, "--nodes") != NULL;
    hone_precision precision;
    HONE_TRY(hone_backend_open(cli->device, cli->threads, &t->backend));
    HONE_TRY(hone_precision_choose(t->backend, t->config->train.precision, &precision));
    r->precision = hone_precision_name(precision);
    /* the vocabulary is part of the table's rows: without data only the buckets are known */
    t->vocab = t->config->text.ngram.buckets;
    if (t->config->task == HONE_TASK_TEXT && t->data->train) HONE_TRY(hone_text_open(t, t->backend->threads));
    HONE_TRY(hone_setup_model(t));
    HONE_TRY(layer_table(t, &r->layers));
    HONE_TRY(plan_mode(t, HONE_MODE_TRAIN, allocate, &r->train, nodes ? &r->nodes : NULL));
    HONE_TRY(plan_mode(t, HONE_MODE_EVAL, allocate, &r->infer, NULL));
    r->device = t->backend->name;
    r->threads = t->backend->threads;
    r->batch = t->config->train.batch;
    r->classes = t->data->classes;
    r->parameters = count_parameters(t->model);
    /* in MiB, as `free -m` shows it */
    int64_t memory = 0;
    HONE_TRY(hone_cli_int(cli, "--memory", 1, 1000000000, &memory));
    r->memory_given = memory > 0;
    r->free_bytes = memory ? (size_t)memory << 20 : hone_machine_free_memory();
    t->backend->untimed = true; /* dozens of batch sizes are planned and none is run */
    return hone_plan_largest_batch(t, r->free_bytes, &r->largest_batch);
}

/* --allocate: what was planned must be what was allocated, to the byte. */
static hone_status compare(const hone_plan_result *r)
{
    const hone_plan_mode *mode[2] = {&r->train, &r->infer};
    for (int k = 0; k < 2; k++)
        if (mode[k]->was_allocated && mode[k]->planned.total != mode[k]->allocated.total)
            return hone_fail(HONE_ERR_VERIFY, NULL, "%s: planned %zu bytes, allocated %zu",
                             k ? "inference" : "training", mode[k]->planned.total, mode[k]->allocated.total);
    return HONE_OK;
}

/* One exit: everything is freed whatever failed. */
static int plan_run(const hone_cli *cli)
{
    int64_t batch = 0, classes = 0;
    hone_config *c = NULL;
    shape s = {0};
    HONE_TRY(hone_cli_int(cli, "--batch", 1, 1000000, &batch));
    HONE_TRY(hone_cli_int(cli, "--classes", 1, 10000000, &classes));
    HONE_TRY(hone_cli_config(cli, cli->arg[0], 1, &c));
    if (batch) c->train.batch = (int)batch;
    c->image.mean_auto = c->image.std_auto = false; /* their values do not change a plan */
    hone_train_opts opts = {.device = cli->device, .threads = cli->threads};
    hone_trainer t = {.config = c, .opts = &opts, .data = &s.data};
    hone_plan_result r = {.path = cli->arg[0]};
    hone_status status = find_shape(c, classes, &s);
    if (status == HONE_OK) status = make_plan(cli, &t, &r);
    if (status == HONE_OK) {
        if (cli->json) status = hone_plan_print_json(&r);
        else hone_plan_print(&r);
    }
    if (status == HONE_OK) status = compare(&r);
    hone_model_free(t.model);
    hone_backend_close(t.backend);
    hone_text_close(t.text);
    shape_free(&s);
    hone_config_free(c);
    free(r.layers);
    free(r.nodes);
    return status;
}

/* --classes, and image.size of the page, make a plan possible where the data are not: before they are fetched. */
static const hone_cli_flag flags[] = {
    {"--batch", "N", "train.batch of the config"},
    {"--nodes", NULL, "also every node of the training step: op, algorithm, shapes, FLOPs, bytes"},
    {"--classes", "N", "number of classes, where the data is not at hand"},
    {"--memory", "MIB", "look for the largest batch in this much memory, not in what is free now"},
    {"--allocate", NULL, "also allocate the programs and compare with the plan; exit 7 if they differ"},
    {NULL, NULL, NULL},
};

const hone_cli_command hone_cli_plan_command = {
    .name = "plan",
    .run = plan_run,
    .arguments = "CONFIG [key.sub=value ...]",
    .summary = "the layer table: shapes, parameters, FLOPs, bytes; memory to the byte; largest batch",
    .least = 1,
    .most = -1,
    .flag = flags,
    .details =
        "Activations are shown as planned, with memory used again when a tensor's last reader is done, and as they\n"
        "would be without. The largest batch is the one whose training fits in the memory that is free now;\n"
        "the samples themselves are not counted.",
    .examples = "hone plan configs/fashion-cnn.yaml\n"
                "hone plan configs/bench/resnet50.yaml --batch 64 --nodes\n"
                "hone plan configs/folder-resnet50.yaml --classes 1000 --json",
};
