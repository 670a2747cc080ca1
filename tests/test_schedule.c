/* test_schedule.c - learning rates against torch.optim.lr_scheduler (values printed by PyTorch 2.15), the
 * figures of an evaluation against values worked by hand.
 * rooms: train data model config io core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/evaluate.h"
#include "train/metrics.h"

enum { STEPS = 20 };

static void check(hone_config *c, int64_t per_epoch, const double *expected)
{
    for (int s = 0; s < STEPS; s++) {
        double lr = hone_schedule_lr(c, s, per_epoch, STEPS, 1.0);
        if (fabs(lr - expected[s]) > 1e-12) fail_msg("step %d: %.17g, PyTorch has %.17g", s, lr, expected[s]);
    }
}

static void test_against_torch(void **state)
{
    (void)state;
    static const double cosine[STEPS] = {0.1,
                                         0.0994459753267812,
                                         0.09779754323328192,
                                         0.09509529358847656,
                                         0.09140576474687265,
                                         0.08681980515339464,
                                         0.0814503363531613,
                                         0.07542957248827961,
                                         0.06890576474687264,
                                         0.0620395509268104,
                                         0.055,
                                         0.04796044907318962,
                                         0.041094235253127366,
                                         0.03457042751172039,
                                         0.02854966364683871,
                                         0.02318019484660536,
                                         0.018594235253127367,
                                         0.014904706411523447,
                                         0.01220245676671809,
                                         0.010554024673218806};
    static const double one_cycle[STEPS] = {0.0040000000000000036,
                                            0.013167184270002533,
                                            0.037167184270002526,
                                            0.06683281572999747,
                                            0.09083281572999748,
                                            0.1,
                                            0.09874640062350874,
                                            0.09504846320134738,
                                            0.089091617757105,
                                            0.0811745653949763,
                                            0.07169430017913009,
                                            0.06112620219362893,
                                            0.0500002,
                                            0.03887419780637107,
                                            0.028306099820869922,
                                            0.0188258346050237,
                                            0.010908782242895003,
                                            0.004951936798652629,
                                            0.0012539993764912555,
                                            4e-07};
    static const double linear[STEPS] = {0.1,     0.09525, 0.0905,  0.08575, 0.081,   0.07625, 0.0715,
                                         0.06675, 0.062,   0.05725, 0.0525,  0.04775, 0.043,   0.03825,
                                         0.0335,  0.02875, 0.024,   0.01925, 0.0145,  0.00975};
    static const double warm_cosine[STEPS] = {0.02,
                                              0.04,
                                              0.06,
                                              0.08,
                                              0.1,
                                              0.1,
                                              0.09890738003669029,
                                              0.09567727288213004,
                                              0.09045084971874738,
                                              0.08345653031794292,
                                              0.075,
                                              0.06545084971874739,
                                              0.05522642316338269,
                                              0.04477357683661735,
                                              0.03454915028125265,
                                              0.025,
                                              0.01654346968205711,
                                              0.009549150281252635,
                                              0.004322727117869953,
                                              0.001092619963309716};
    double step[STEPS], constant[STEPS];
    hone_config *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->train.optimizer.lr = 0.1;
    for (int s = 0; s < STEPS; s++) {
        step[s] = s < 10 ? 0.1 : 0.01;
        constant[s] = 0.1;
    }
    c->train.schedule.name = HONE_SCHEDULE_COSINE;
    c->train.schedule.final = 0.1;
    check(c, 4, cosine);
    c->train.schedule.final = 0;
    c->train.schedule.warmup = 1.25; /* epochs of 4 steps: 5 steps */
    check(c, 4, warm_cosine);
    c->train.schedule.warmup = 0;
    c->train.schedule.name = HONE_SCHEDULE_ONECYCLE;
    check(c, 4, one_cycle);
    c->train.schedule.name = HONE_SCHEDULE_LINEAR;
    c->train.schedule.final = 0.05;
    check(c, 4, linear);
    c->train.schedule.name = HONE_SCHEDULE_STEP;
    c->train.schedule.step_every = 2.5; /* epochs: 10 steps */
    c->train.schedule.gamma = 0.1;
    check(c, 4, step);
    c->train.schedule.name = HONE_SCHEDULE_CONSTANT;
    check(c, 4, constant);
    c->train.schedule.name = HONE_SCHEDULE_PLATEAU;
    assert_true(hone_schedule_lr(c, 7, 4, STEPS, 0.25) == 0.025);
    free(c);
}

/* No schedule may give a rate that is not finite, negative, or above lr, at the edges of its range. */
static void test_edges(void **state)
{
    (void)state;
    hone_config *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->train.optimizer.lr = 1;
    c->train.schedule.gamma = 0.1;
    c->train.schedule.step_every = 1;
    for (int kind = HONE_SCHEDULE_CONSTANT; kind <= HONE_SCHEDULE_PLATEAU; kind++) {
        c->train.schedule.name = (hone_schedule_kind)kind;
        for (int warm = 0; warm < 4; warm++) {
            c->train.schedule.warmup = warm;
            for (int64_t total = 1; total < 6; total++)
                for (int64_t s = 0; s <= total; s++) {
                    double lr = hone_schedule_lr(c, s, 1, total, 1.0);
                    if (!(lr >= 0 && lr <= 1))
                        fail_msg("schedule %d, warm %d, step %d of %d: %g", kind, warm, (int)s, (int)total, lr);
                }
        }
    }
    free(c);
}

static void test_wilson(void **state)
{
    (void)state;
    double low, high; /* values of statsmodels' proportion_confint(method="wilson") */
    hone_wilson(9, 10, &low, &high);
    assert_true(fabs(low - 0.59585) < 1e-5 && fabs(high - 0.98212) < 1e-5);
    hone_wilson(0, 10, &low, &high);
    assert_true(low == 0 && fabs(high - 0.27753) < 1e-5);
    hone_wilson(9300, 10000, &low, &high);
    assert_true(low < 0.93 && high > 0.93 && high - low < 0.011);
    hone_wilson(0, 0, &low, &high);
    assert_true(low == 0 && high == 1);
}

/* Truth 0 0 0 1 1 2, predicted 0 0 1 1 0 1: worked by hand; class 3 never occurs. */
static void test_figures(void **state)
{
    (void)state;
    int32_t truth[6] = {0, 0, 0, 1, 1, 2}, predicted[6] = {0, 0, 1, 1, 0, 1};
    float loss[6] = {1, 2, 3, 4, 5, 6}, score[6] = {0};
    double precision[4], recall[4], f1[4];
    int64_t support[4], confusion[16];
    char *names[4] = {"a", "b\"", "c,", "d"};
    hone_evaluation e = {.n = 6,
                         .classes = 4,
                         .class_name = names,
                         .precision = precision,
                         .recall = recall,
                         .f1 = f1,
                         .support = support,
                         .confusion = confusion,
                         .truth = truth,
                         .predicted = predicted,
                         .row_loss = loss,
                         .score = score};
    hone_confused pair[5];
    hone_evaluation_finish(&e);
    assert_true(e.accuracy == 0.5 && e.loss == 3.5);
    assert_true(fabs(precision[0] - 2.0 / 3) < 1e-15 && fabs(recall[0] - 2.0 / 3) < 1e-15 &&
                fabs(f1[0] - 2.0 / 3) < 1e-15);
    assert_true(fabs(precision[1] - 1.0 / 3) < 1e-15 && fabs(recall[1] - 0.5) < 1e-15 && fabs(f1[1] - 0.4) < 1e-15);
    assert_true(precision[2] == 0 && recall[2] == 0 && f1[2] == 0 && support[2] == 1);
    assert_true(fabs(e.f1_macro - (2.0 / 3 + 0.4) / 3) < 1e-15); /* over the three that occur */
    assert_int_equal(hone_evaluation_confused(&e, 5, pair), 3);
    assert_int_equal(pair[0].truth * 10 + pair[0].predicted, 1);
    assert_int_equal(pair[2].truth * 10 + pair[2].predicted, 21);
    char *text = hone_evaluation_json(&e);
    json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    assert_int_equal(json_integer_value(json_object_get(o, "n")), 6);
    assert_int_equal(json_array_size(json_object_get(o, "confusion")), 4);
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(o, "per_class"), 1), "label")),
                        "b\"");
    json_decref(o);
    free(text);
    text = hone_evaluation_confusion_csv(&e);
    assert_non_null(strstr(text, "a,\"b\"\"\",\"c,\",d\n"));
    free(text);
}

static void test_lines(void **state)
{
    (void)state;
    hone_train_line l = {.step = 50, .epoch = 0.1, .loss = NAN, .accuracy = 1.0 / 3, .lr = 0.1};
    char *text = hone_train_line_json(&l);
    assert_string_equal(text, "{\"split\":\"train\",\"step\":50,\"epoch\":0.1,\"loss\":null,\"accuracy\":0.333333333,"
                              "\"lr\":0.1,\"grad_norm\":0,\"samples_per_second\":0,\"data_wait\":0}");
    free(text);
    l.skipped = 2;
    text = hone_train_line_json(&l);
    assert_non_null(strstr(text, ",\"skipped\":2}"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_torch), cmocka_unit_test(test_edges), cmocka_unit_test(test_wilson),
        cmocka_unit_test(test_figures),       cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
