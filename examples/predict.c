/* predict.c - labels pictures or texts with a trained model, from as many threads as you like:
 *
 *     cc predict.c $(pkg-config --cflags --libs hone) -o predict
 *     ./predict RUN shoe.png shirt.jpg            files, for a model of pictures
 *     ./predict -t 8 RUN "free money, act now"    the text itself, for a model of texts; 8 threads at once
 *
 * One predictor serves all threads. Each thread predicts every input and the answers must agree; they are printed once,
 * a line each: input, label, probability. */
#include <hone/hone.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the threads share, and one thread's own. */
typedef struct job {
    hone_predictor *predictor;
    char **input;
    int count;
    float *probability; /* (count, classes) */
    hone_error error;   /* of this thread: the library keeps errors per thread */
} job;

/* A picture as it lies on disk: the library decodes it. */
static hone_status predict_picture(hone_predictor *p, const char *path, float *probability)
{
    char *data;
    size_t bytes;
    HONE_TRY(hone_file_read(path, (size_t)1 << 30, &data, &bytes));
    hone_status status = hone_predictor_encoded(p, (const void *const[]){data}, &bytes, 1, probability);
    if (status != HONE_OK) hone_error_context("%s", path);
    free(data);
    return status;
}

static hone_status predict_text(hone_predictor *p, const char *text, float *probability)
{
    size_t bytes = strlen(text);
    return hone_predictor_texts(p, &text, &bytes, 1, probability);
}

/* One thread: all inputs, one after the other. */
static void *run(void *arg)
{
    job *j = arg;
    int classes = hone_predictor_classes(j->predictor);
    for (int k = 0; k < j->count; k++) {
        float *probability = j->probability + (size_t)k * (size_t)classes;
        hone_status status = hone_predictor_takes_text(j->predictor)
                                 ? predict_text(j->predictor, j->input[k], probability)
                                 : predict_picture(j->predictor, j->input[k], probability);
        hone_error_save(&j->error, status);
        if (status != HONE_OK) break;
    }
    return NULL;
}

/* Prints the record of the calling thread. */
static int fail(void)
{
    fprintf(stderr, "%s\n", hone_error_message());
    if (hone_error_hint()[0]) fprintf(stderr, "  fix: %s\n", hone_error_hint());
    return 1;
}

/* Runs the jobs at once and compares their answers with those of the first. */
static int run_all(job *jobs, pthread_t *thread, int threads, size_t bytes)
{
    for (int t = 0; t < threads; t++)
        if (pthread_create(&thread[t], NULL, run, &jobs[t]) != 0) return perror("pthread_create"), exit(1), 1;
    for (int t = 0; t < threads; t++) pthread_join(thread[t], NULL);
    for (int t = 0; t < threads; t++) {
        if (jobs[t].error.status != HONE_OK) return (void)hone_error_restore(&jobs[t].error), fail();
        if (memcmp(jobs[t].probability, jobs[0].probability, bytes) != 0) return fputs("threads disagree\n", stderr), 1;
    }
    return 0;
}

static void print(const job *j)
{
    int classes = hone_predictor_classes(j->predictor), best;
    for (int k = 0; k < j->count; k++) {
        const float *p = j->probability + (size_t)k * (size_t)classes;
        hone_predictor_top(p, classes, 1, &best);
        printf("%s\t%s\t%.9g\n", j->input[k], hone_predictor_label(j->predictor, best), (double)p[best]);
    }
}

int main(int argc, char **argv)
{
    int threads = 1, at = 1;
    if (argc > 2 && strcmp(argv[1], "-t") == 0) threads = atoi(argv[2]), at = 3;
    if (argc - at < 2 || threads < 1 || threads > 1024)
        return fputs("usage: predict [-t THREADS] MODEL INPUT...\n", stderr), 2;
    hone_predictor *predictor;
    hone_predictor_opts opts = {.device = "cpu", .threads = 1, .lanes = threads};
    if (hone_predictor_open_with(argv[at], &opts, &predictor) != HONE_OK) return fail();
    int count = argc - at - 1, result = 1;
    size_t bytes = (size_t)count * (size_t)hone_predictor_classes(predictor) * sizeof(float);
    job *jobs = calloc((size_t)threads, sizeof *jobs);
    pthread_t *thread = calloc((size_t)threads, sizeof *thread);
    float *all = malloc(bytes * (size_t)threads);
    for (int t = 0; jobs && all && t < threads; t++)
        jobs[t] = (job){.predictor = predictor,
                        .input = argv + at + 1,
                        .count = count,
                        .probability = all + (size_t)t * (bytes / sizeof *all)};
    if (jobs && thread && all) result = run_all(jobs, thread, threads, bytes);
    else fputs("out of memory\n", stderr);
    if (result == 0) print(&jobs[0]);
    free(all), free(thread), free(jobs);
    hone_predictor_close(predictor);
    return result;
}
