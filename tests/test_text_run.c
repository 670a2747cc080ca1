/* test_text_run.c - bags, TextCNN and GRU from a table to answers: training learns, stops and goes on to the same bytes;
 * eval and predict need the run directory alone; the answer to a text does not depend on what stands beside it.
 * rooms: train text data model config io core
 * needs: cli */
#include "support/text_run.h"

#include <math.h>
#include <sys/stat.h>

static void compare(const char *dir, const char *a, const char *b, const char *name)
{
    char *x, *y, path[500];
    size_t m, n;
    snprintf(path, sizeof path, "%s/%s/%s", dir, a, name);
    assert_int_equal(hone_file_read(path, 1 << 26, &x, &m), HONE_OK);
    snprintf(path, sizeof path, "%s/%s/%s", dir, b, name);
    assert_int_equal(hone_file_read(path, 1 << 26, &y, &n), HONE_OK);
    if (m != n || memcmp(x, y, m) != 0) fail_msg("%s of %s and %s differ", name, a, b);
    free(x);
    free(y);
}

/* --- training ------------------------------------------------------------------------------------------- */

/* Only 2-grams tell ham from spam, so this is learned from them or not at all. */
static void test_learns(void **state)
{
    watch w = {0};
    hone_evaluation e, again;
    hone_eval_opts o = {.device = "cpu", .threads = 2, .batch = 7};
    write_all(*state);
    if (train(*state, "run", plain, 1, &w, &e) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_int_equal(e.n, 100);
    assert_true(e.accuracy > 0.95);
    /* from the directory alone, with other batches and threads: the same figures, the same answer to each text */
    if (hone_evaluate(path_in(*state, "run"), &o, &again) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_true(e.accuracy == again.accuracy && fabs(e.loss - again.loss) < 1e-6);
    for (int k = 0; k < 100; k++) assert_int_equal(e.predicted[k], again.predicted[k]);
    hone_evaluation_free(&e);
    hone_evaluation_free(&again);
}

/* A label that is wrong on purpose is the surest mistake: shown with the text, in worst.csv and after the table. */
static void test_mistakes(void **state)
{
    watch w = {0};
    hone_evaluation e;
    char *text;
    size_t bytes;
    write_all(*state);
    assert_int_equal(hone_file_read(path_in(*state, "test.tsv"), 1 << 26, &text, &bytes), HONE_OK);
    char *line = strstr(text, "\nnews\t"), *all = malloc(bytes + 40);
    size_t at = (size_t)(line - text) + 1;
    int n = sprintf(all, "%.*sham\tpaper b, \"c\" \xC3\xA9\n", (int)at, text);
    memcpy(all + n, text + at, bytes - at);
    assert_int_equal(hone_file_write(path_in(*state, "test.tsv"), all, (size_t)n + bytes - at), HONE_OK);
    free(text);
    free(all);
    if (train(*state, "run", plain, 1, &w, &e) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_non_null(strstr(e.mistakes, "  ham -> news "));
    assert_non_null(strstr(e.mistakes, "test.tsv:4  paper b, \"c\" \xC3\xA9\n"));
    assert_int_equal(hone_file_read(path_in(*state, "run/eval/worst.csv"), 1 << 26, &text, &bytes), HONE_OK);
    assert_int_equal(strncmp(text, "sample,source,truth,predicted,score,loss,text\n2,test.tsv:4,ham,news,", 66), 0);
    assert_non_null(strstr(text, ",\"paper b, \"\"c\"\" \xC3\xA9\"\n"));
    free(text);
    hone_evaluation_free(&e);
}

/* Threads share rows by owner: one and three give the same bytes. */
static void test_threads(void **state)
{
    watch w = {0};
    write_all(*state);
    assert_int_equal(train(*state, "one", plain, 1, &w, NULL), HONE_OK);
    assert_int_equal(train(*state, "three", plain, 3, &w, NULL), HONE_OK);
    compare(*state, "one", "three", "tokenizer.json");
    compare(*state, "one", "three", "best.safetensors");
}

/* In the middle of an epoch, at its end, in the last one; by each kind of update. */
static void test_resumes(void **state)
{
    static const char *const optimizer[] = {plain, "{name: sgd, lr: 0.5, momentum: 0.9}", "{name: adamw, lr: 0.02}"};
    static const int64_t at[] = {5, 40, 120, 159};
    write_all(*state);
    for (int k = 0; k < 3; k++) {
        char whole[16], parts[16];
        watch w = {0};
        snprintf(whole, sizeof whole, "whole%d", k);
        snprintf(parts, sizeof parts, "parts%d", k);
        assert_int_equal(train(*state, whole, optimizer[k], 1, &w, NULL), HONE_OK);
        for (int i = 0; i < 4; i++) {
            w.stop_at = at[i];
            assert_int_equal(train(*state, parts, optimizer[k], 1, &w, NULL), HONE_INTERRUPTED);
        }
        if (train(*state, parts, optimizer[k], 1, &w, NULL) != HONE_OK) fail_msg("%s", hone_error_message());
        compare(*state, whole, parts, "best.safetensors");
        compare(*state, whole, parts, "results.csv");
        compare(*state, whole, parts, "eval/confusion.csv");
        compare(*state, whole, parts, "checkpoints/step-00000160/model.safetensors");
        compare(*state, whole, parts, "checkpoints/step-00000160/optim.safetensors");
    }
}

/* A run without a validation part, with a table that is updated as a whole, so that it can have an average. */
static hone_status train_unwatched(const char *dir, const char *out, const char *extra, watch *w, hone_evaluation *e)
{
    char page[1200];
    hone_config *c;
    hone_train_opts o = {.device = "cpu", .threads = 1, .out = path_in(dir, out), .stop = &stop};
    o.progress = on_progress;
    o.progress_arg = w;
    snprintf(page, sizeof page,
             "task: text\ndata: {train: %s, test: %s, val_fraction: 0}\n"
             "text: {ngram: {words: [1, 2], buckets: 512}}\n"
             "model: {layers: [embedding_bag: {dim: 10, sparse: false}, linear: classes]}\n"
             "train: {epochs: 3, batch: 16, optimizer: %s, schedule: {name: linear}%s}\n"
             "log: {every: 3}\n",
             path_in(dir, "train.tsv"), path_in(dir, "test.tsv"), plain, extra);
    if (hone_config_read_text("page.yaml", page, NULL, 0, &c) != HONE_OK) fail_msg("%s", hone_error_message());
    hone_status status = hone_train(c, &o, e);
    stop = 0;
    hone_config_free(c);
    return status;
}

/* The newest weights are the best where nothing judges them: written once, by the end of the run, the average where there
 * is one; and what was written is what was evaluated. A full disk at that moment costs nothing but a second start. */
static void check_unwatched(const char *dir, const char *whole, const char *parts, const char *extra)
{
    char path[600];
    hone_evaluation e, again;
    hone_eval_opts o = {.device = "cpu", .threads = 1};
    watch w = {0};
    if (train_unwatched(dir, whole, extra, &w, &e) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_int_equal(hone_evaluate(path_in(dir, whole), &o, &again), HONE_OK);
    assert_true(e.accuracy == again.accuracy && fabs(e.loss - again.loss) < 1e-6);
    hone_evaluation_free(&e);
    hone_evaluation_free(&again);
    snprintf(path, sizeof path, "%s/%s/best.safetensors", dir, parts);
    w.stop_at = 45; /* of 60: two epochs are over */
    assert_int_equal(train_unwatched(dir, parts, extra, &w, NULL), HONE_INTERRUPTED);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(mkdir(path, 0700), 0); /* in the way of the file's name, as a full disk would be */
    assert_int_equal(train_unwatched(dir, parts, extra, &w, NULL), HONE_ERR_RUNTIME);
    assert_non_null(strstr(hone_error_message(), "best.safetensors"));
    assert_int_equal(rmdir(path), 0);
    if (train_unwatched(dir, parts, extra, &w, NULL) != HONE_OK) fail_msg("%s", hone_error_message());
    compare(dir, whole, parts, "best.safetensors");
    compare(dir, whole, parts, "results.csv");
    compare(dir, whole, parts, "eval/report.json");
}

static void test_unwatched(void **state)
{
    write_all(*state);
    check_unwatched(*state, "whole", "parts", "");
    check_unwatched(*state, "whole-average", "parts-average", ", ema: 0.9");
}

static const char textcnn[] = "embedding: 10, conv1d: {out: 9, kernel: [2, 3]}, relu, pool: max, dropout: 0.2";
/* Dropout everywhere: attention, activations and sums draw what they drew before a stop. */
static const char transformer[] = "embedding: {dim: 12, init: {normal: 0.1}}, position: learned, dropout: 0.1, "
                                  "encoder: {layers: 2, heads: 3, ff: 24, dropout: 0.1}, layernorm, pool: mean";
static const char gru[] = "embedding: 10, dropout: 0.1, bigru: 7, gru: 9, pool: mean";

/* What reads the order of single words learns what the bag needs 2-grams for; stopped or not, on one thread or three,
 * it ends with the same bytes, and answers a text alone as among others. */
static void check_net(const char *dir, const char *layers)
{
    static const char adamw[] = "{name: adamw, lr: 0.01}";
    static const int64_t at[] = {5, 40, 159};
    watch w = {0};
    hone_evaluation e, again;
    hone_eval_opts o = {.device = "cpu", .threads = 2, .batch = 7};
    write_all(dir);
    if (train_net(dir, "whole", layers, adamw, 1, &w, &e) != HONE_OK) fail_msg("%s", hone_error_message());
    if (e.accuracy <= 0.9) fail_msg("%s: accuracy %g", layers, e.accuracy);
    assert_int_equal(hone_evaluate(path_in(dir, "whole"), &o, &again), HONE_OK);
    assert_true(e.accuracy == again.accuracy && fabs(e.loss - again.loss) < 1e-6);
    hone_evaluation_free(&e);
    hone_evaluation_free(&again);
    assert_int_equal(train_net(dir, "three", layers, adamw, 3, &w, NULL), HONE_OK);
    compare(dir, "whole", "three", "best.safetensors");
    for (int i = 0; i < 3; i++) {
        w.stop_at = at[i];
        assert_int_equal(train_net(dir, "parts", layers, adamw, 1, &w, NULL), HONE_INTERRUPTED);
    }
    assert_int_equal(train_net(dir, "parts", layers, adamw, 1, &w, NULL), HONE_OK);
    compare(dir, "whole", "parts", "best.safetensors");
    compare(dir, "whole", "parts", "checkpoints/step-00000160/model.safetensors");
    compare(dir, "whole", "parts", "checkpoints/step-00000160/optim.safetensors");
}

static void test_textcnn(void **state) { check_net(*state, textcnn); }
static void test_transformer(void **state) { check_net(*state, transformer); }
static void test_gru(void **state) { check_net(*state, gru); }

/* --- predicting ------------------------------------------------------------------------------------------- */

enum { TEXTS = 300, CLASSES = 3 };

/* Texts of all lengths, one longer than the first program has room for. */
static void make_texts(char **text, const char **list, size_t *bytes)
{
    for (int k = 0; k < TEXTS; k++) {
        int words = k == 250 ? 40000 : k % 23;
        text[k] = malloc((size_t)words * 8 + 32);
        size_t at = 0;
        for (int w = 0; w < words; w++) at += (size_t)sprintf(text[k] + at, "w%d ", (k + w * 31) % 150);
        at += (size_t)sprintf(text[k] + at, "%s", k % 2 ? "left right" : "right left");
        if (k == 100) at = 0; /* an empty one */
        list[k] = text[k];
        bytes[k] = at;
    }
}

static void test_predict(void **state)
{
    watch w = {0};
    hone_predictor *p, *q;
    char *text[TEXTS];
    const char *list[TEXTS];
    size_t bytes[TEXTS];
    static float together[TEXTS * CLASSES], one[CLASSES], threads[TEXTS * CLASSES];
    write_all(*state);
    assert_int_equal(train(*state, "run", plain, 1, &w, NULL), HONE_OK);
    make_texts(text, list, bytes);
    if (hone_predictor_open(path_in(*state, "run"), "cpu", 1, &p) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_int_equal(hone_predictor_open(path_in(*state, "run"), "cpu", 3, &q), HONE_OK);
    assert_int_equal(hone_predictor_texts(p, list, bytes, TEXTS, together), HONE_OK);
    assert_int_equal(hone_predictor_texts(q, list, bytes, TEXTS, threads), HONE_OK);
    assert_memory_equal(together, threads, sizeof together);
    for (int k = 0; k < TEXTS; k++) {
        assert_int_equal(hone_predictor_texts(p, &list[k], &bytes[k], 1, one), HONE_OK);
        for (int c = 0; c < CLASSES; c++) assert_true(fabsf(one[c] - together[k * CLASSES + c]) < 1e-6f);
    }
    uint8_t pixel = 0;
    assert_int_equal(hone_predictor_run(p, &pixel, 1, one), HONE_ERR_USAGE); /* no image */
    hone_predictor_close(p);
    hone_predictor_close(q);
    for (int k = 0; k < TEXTS; k++) free(text[k]);
}

/* The command: a line in, a line out, an empty one too; CRLF; no newline at the end; short lines in one pipe. */
static void test_stdin(void **state)
{
    char command[900], line[400], *out;
    size_t bytes;
    watch w = {0};
    write_all(*state);
    assert_int_equal(train(*state, "run", plain, 1, &w, NULL), HONE_OK);
    snprintf(command, sizeof command,
             "printf 'left right\\nright left\\r\\n\\nsome paper' | " HONE_BINARY
             " predict %s - --device cpu --top 1 --format csv > %s",
             path_in(*state, "run"), path_in(*state, "out.csv"));
    assert_int_equal(system(command), 0);
    assert_int_equal(hone_file_read(path_in(*state, "out.csv"), 1 << 20, &out, &bytes), HONE_OK);
    static const char *const begins[] = {"input,label,score", "left right,ham,0.", "right left,spam,0.", ",",
                                         "some paper,news,0."};
    char *at = out;
    for (int k = 0; k < 5; k++) {
        snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
        if (strncmp(line, begins[k], strlen(begins[k])) != 0) fail_msg("line %d is %s", k, line);
        at += strlen(line) + 1;
    }
    assert_int_equal(at - out, bytes);
    free(out);
}

/* What a table of two million buckets costs under plain SGD is itself: no gradient of its size, no moments. */
static void test_plan(void **state)
{
    char command[900], page[1200], *out;
    size_t bytes;
    write_all(*state);
    int n = snprintf(page, sizeof page,
                     "task: text\ndata: {train: %s}\ntext: {ngram: {words: [1, 2], buckets: 2000000}}\n"
                     "model: {layers: [embedding_bag: {dim: 2}, linear: classes]}\n"
                     "train: {optimizer: {name: sgd, lr: 1, momentum: 0, weight_decay: 0}}\n",
                     path_in(*state, "train.tsv"));
    assert_int_equal(hone_file_write(path_in(*state, "page.yaml"), page, (size_t)n), HONE_OK);
    snprintf(command, sizeof command, HONE_BINARY " plan %s --device cpu > %s", path_in(*state, "page.yaml"),
             path_in(*state, "plan"));
    assert_int_equal(system(command), 0);
    assert_int_equal(hone_file_read(path_in(*state, "plan"), 1 << 20, &out, &bytes), HONE_OK);
    const char *param = strstr(out, "\nparam "), *grad = strstr(out, "\ngrad ");
    assert_true(param && strtoll(param + 7, NULL, 10) > 2000000LL * 2 * 4);
    assert_true(grad && strtoll(grad + 6, NULL, 10) < 1024);
    assert_null(strstr(out, "\nopt "));
    free(out);
    /* momentum asks for a slot a row, and the same line says so */
    snprintf(command, sizeof command,
             HONE_BINARY " plan %s train.optimizer.momentum=0.9 --device cpu | grep -q '^opt '",
             path_in(*state, "page.yaml"));
    assert_int_equal(system(command), 0);
}

/* A model file without its tokenizer, or with another's, is refused by name. */
static void test_tokenizer_missing(void **state)
{
    watch w = {0};
    hone_predictor *p;
    write_all(*state);
    assert_int_equal(train(*state, "run", plain, 1, &w, NULL), HONE_OK);
    assert_int_equal(remove(path_in(*state, "run/tokenizer.json")), 0);
    assert_true(hone_predictor_open(path_in(*state, "run"), "cpu", 1, &p) != HONE_OK);
    assert_non_null(strstr(hone_error_message(), "tokenizer.json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(test_learns),   WITH_SCRATCH(test_threads),     WITH_SCRATCH(test_resumes),
        WITH_SCRATCH(test_predict),  WITH_SCRATCH(test_stdin),       WITH_SCRATCH(test_tokenizer_missing),
        WITH_SCRATCH(test_mistakes), WITH_SCRATCH(test_plan),        WITH_SCRATCH(test_textcnn),
        WITH_SCRATCH(test_gru),      WITH_SCRATCH(test_transformer), WITH_SCRATCH(test_unwatched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
