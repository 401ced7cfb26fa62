/* test_statistics.c - tensors of which a few numbers were kept: what they are, which forms are read, and
 * which contradict themselves. */
#include <math.h>
#include <stdlib.h>

#include "../scratch.h"
#include "../unit.h"
#include "trace/statistics.h"
#include "trace/trace_file.h"
#include "trace_fixture.h"

/* ---- of a tensor --------------------------------------------------------------------------------------- */

enum { COUNT = 70001 }; /* three chunks */

static double number(size_t i) {
    return 1000 + sin((double)i * 1.7) * 3 + (double)(i % 13);
}

static int read_numbers(void *who, size_t index, size_t first, size_t count, double *out,
                        err_t *err) {
    (void)who;
    (void)index;
    (void)err;
    for (size_t i = 0; i < count; i++) out[i] = number(first + i);
    return 0;
}

/* Against plain loops in long double: mean and deviation of numbers whose mean is large. */
static void are_those_of_the_tensor(void **state) {
    (void)state;
    static const size_t counts[] = {1, 31, 32, 33, 32768, COUNT};
    err_t err;
    for (size_t c = 0; c < 6; c++) {
        size_t n = counts[c];
        long double sum = 0, spread = 0, squares = 0;
        double least = INFINITY, most = -INFINITY;
        statistics_t s;
        for (size_t i = 0; i < n; i++) {
            sum += number(i);
            squares += (long double)number(i) * number(i);
            least = fmin(least, number(i));
            most = fmax(most, number(i));
        }
        for (size_t i = 0; i < n; i++) spread += (number(i) - sum / n) * (number(i) - sum / n);
        assert_int_equal(statistics_of(&s, read_numbers, NULL, 0, n, &err), 0);
        assert_true(fabs(s.value[STATISTIC_MEAN] - (double)(sum / n)) <= 1e-10);
        assert_true(fabs(s.value[STATISTIC_DEVIATION] - (double)sqrtl(spread / n)) <= 1e-10);
        assert_true(fabs(s.value[STATISTIC_NORM] / (double)sqrtl(squares) - 1) <= 1e-13);
        assert_true(s.value[STATISTIC_LEAST] == least && s.value[STATISTIC_MOST] == most);
        assert_int_equal(s.places, n < 32 ? n : 32);
        for (size_t k = 0; k < s.places; k++)
            assert_true(s.at[k] == number(fingerprint_position(k, n)));
    }
}

/* ---- what is read -------------------------------------------------------------------------------------- */

static const char *json(const char *text) {
    return scratch_text("statistics.json", text);
}

static const char *csv(const char *text) {
    return scratch_text("statistics.csv", text);
}

/* One tap, its name, type, shape, and one of its statistics. */
static void holds(const char *path, const char *name, dtype_t dtype, shape_t shape,
                  statistic_t which, double value) {
    trace_file_t *trace = trace_opened(path);
    size_t at = trace_file_find(trace, name);
    if (at == SIZE_MAX) fail_msg("%s has no '%s'", path, name);
    const trace_entry_t *entry = trace_file_at(trace, at);
    const statistics_t *s = trace_file_statistics(trace, at);
    assert_non_null(s);
    assert_int_equal(entry->dtype, dtype);
    assert_true(shape_equal(entry->shape, shape));
    assert_true(s->has[which] && s->value[which] == value);
    trace_file_close(trace);
}

static void all_forms_are_read(void **state) {
    (void)state;
    static const shape_t shape = {2, {2, 3}};
    holds(
        json(
            "{\"format\": \"mole-statistics\", \"version\": 1, \"taps\": [{\"name\": \"a\", \"dtype\": "
            "\"F16\", \"shape\": [2, 3], \"mean\": 0.5}]}"),
        "a", DTYPE_F16, shape, STATISTIC_MEAN, 0.5);
    holds(json("[{\"tap\": \"a\", \"shape\": [2, 3], \"dtype\": \"torch.bfloat16\", \"std\": 2}]"),
          "a", DTYPE_BF16, shape, STATISTIC_DEVIATION, 2);
    holds(json("{\"a\": {\"numel\": 6, \"Min\": -1.5, \"Max\": null}}"), "a", DTYPE_F32,
          (shape_t){1, {6}}, STATISTIC_LEAST, -1.5);
    holds(csv("name,shape,dtype,l2_norm,mine\n\"a\",\"(2, 3)\",float32,4,x\n\nb,,,1,\n"), "a",
          DTYPE_F32, shape, STATISTIC_NORM, 4);
    holds(
        csv("Op Type,Op Name,IO,Slot,Data Type,Shape,Max Value,Min Value,Avg Value,L2Norm Value\r\n"
            "x,a,input,0,float16,\"(7)\",1,1,1,1\r\nx,a,output,0,float16,\"(2,3)\",2,0,1,3\r\n"
            "x,a,output,1,float16,\"(2,3)\",1,1,1,1\r\n"),
        "a", DTYPE_F16, shape, STATISTIC_MOST, 2);
}

static const char msprobe[] =
    "{\"task\": \"statistics\", \"level\": \"L0\", \"framework\": \"pytorch\", \"data\": {\n"
    "\"Module.unet.conv_in.Conv2d.forward.0\": {\"input_args\": [{\"type\": \"torch.Tensor\", "
    "\"Max\": 9}], \"input_kwargs\": {}, \"output\": [{\"type\": \"torch.Tensor\", \"dtype\": "
    "\"torch.float16\", \"shape\": [2, 3], \"Max\": 2.5, \"Min\": -1.0, \"Mean\": 0.25, \"Norm\": 4.0, "
    "\"requires_grad\": false}], \"parameters\": {}},\n"
    "\"Functional.conv2d.0.forward\": {\"output\": [{\"Max\": 1}]},\n"
    "\"Module.unet.act.SiLU.forward.%d\": {\"output\": [{\"shape\": [2, 3], \"Max\": 2.5}]},\n"
    "\"Module.unet.act.SiLU.backward.0\": {\"output\": [{\"shape\": [2, 3], \"Max\": 2.5}]}}}";

/* The first output of a module; a module that is called again makes all names those of steps. */
static void msprobes_are_read(void **state) {
    (void)state;
    static const shape_t shape = {2, {2, 3}};
    char text[1200];
    snprintf(text, sizeof text, msprobe, 0);
    holds(json(text), "unet.conv_in", DTYPE_F16, shape, STATISTIC_MEAN, 0.25);
    trace_file_t *trace = trace_opened(json(text));
    assert_int_equal(trace_file_count(trace), 2);
    assert_int_equal(trace_file_skips(trace), 2);
    trace_file_close(trace);
    snprintf(text, sizeof text, msprobe, 1);
    holds(json(text), "step.000/unet.conv_in", DTYPE_F16, shape, STATISTIC_NORM, 4);
    holds(json(text), "step.001/unet.act", DTYPE_F32, shape, STATISTIC_MOST, 2.5);
    holds(csv("Op Name,Shape,Max Value\nCell.a.b.Conv.forward.0.output.0,\"(2,3)\",2\n"
              "Cell.a.b.Conv.forward.0.input.0,\"(2,3)\",9\n"),
          "a.b", DTYPE_F32, shape, STATISTIC_MOST, 2);
}

static void numbers_are_not_there(void **state) {
    (void)state;
    err_t err;
    double x;
    trace_file_t *trace = trace_opened(json("{\"a\": {\"count\": 1, \"mean\": 0}}"));
    assert_int_equal(trace_file_read(trace, 0, 0, 1, &x, &err), -1);
    if (!strstr(err.text, "holds statistics of 'a' and not its numbers")) fail_msg("%s", err.text);
    trace_file_close(trace);
}

/* Numbers on the grid of a coarser type than is stated were computed in that; few digits hide none. */
static void types_are_found(void **state) {
    (void)state;
    static const struct {
        const char *format;
        dtype_t dtype;
    } cases[] = {
        {"%.17g", DTYPE_BF16}, {"%.9g", DTYPE_BF16}, {"%.4g", DTYPE_BF16}, {"%.3g", DTYPE_F32}};
    for (size_t c = 0; c < 4; c++) {
        char text[2000] = "name,dtype,min,max\n", line[120], low[40], high[40];
        for (int i = 1; i < 9; i++) {
            snprintf(low, sizeof low, cases[c].format, -(1 + (2 * i + 1) / 128.0) * ldexp(1, -i));
            snprintf(high, sizeof high, cases[c].format,
                     (1 + (14 * i + 1) / 128.0) * ldexp(1, -i % 3));
            snprintf(line, sizeof line, "a%d,torch.float32,%s,%s\n", i, low, high);
            strcat(text, line);
        }
        trace_file_t *trace = trace_opened(csv(text));
        assert_int_equal(trace_file_at(trace, 0)->dtype, cases[c].dtype);
        trace_file_close(trace);
    }
}

/* ---- what contradicts itself --------------------------------------------------------------------------- */

static void contradictions_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *fields, *words;
    } cases[] = {
        {"\"deviation\": -1", "the deviation is -1, below zero"},
        {"\"norm\": -1", "the norm is -1, below zero"},
        {"\"min\": 2, \"max\": 1", "the min, 2, is above the max, 1"},
        {"\"min\": 2.125, \"mean\": 1.125", "the mean, 1.125, is below the min, 2.125"},
        {"\"max\": 2.125, \"mean\": 3.125", "the mean, 3.125, is above the max, 2.125"},
        {"\"mean\": 3.0625, \"deviation\": 4.0625, \"norm\": 13.0625",
         "the norm is 13.0625, and mean and deviation of 6 numbers make it 12.46"},
        {"\"count\": 7, \"mean\": 0", "count is 7, and its shape holds 6 numbers"},
        {"\"count\": 6.5, \"mean\": 0", "count should be a whole number"},
        {"\"mean\": \"1\"", "mean should be a number, and is a text"},
        {"\"mean\": true", "mean should be a number, and is none"},
        {"\"values\": [1, 2]", "2 values; of 6 numbers there should be 6"},
        {"\"values\": [1, 2, 3, 4, 5, null]", "a value should be a number"},
        {"\"max\": 5.5, \"values\": [1, 2, 3, 4, 5, 6.5]",
         "value 5 is 6.5, outside of min and max"},
        {"\"median\": 1", "holds none of mean, deviation, min, max, norm, values"},
    };
    char text[400];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "[{\"name\": \"a\", \"shape\": [2, 3], %s}]", cases[i].fields);
        trace_refused(json(text), "'a'", cases[i].words);
    }
    trace_refused(json("[{\"name\": \"a\", \"shape\": [\"2\"], \"mean\": 1}]"), "'a'",
                  "the shape should");
    trace_refused(json("[{\"name\": \"a\", \"shape\": 6, \"mean\": 1}]"), "'a'",
                  "should be a list");
    trace_refused(json("[{\"name\": \"a\", \"mean\": 1}, {\"name\": \"a\", \"mean\": 1}]"), "'a'",
                  "stands for two tensors");
    trace_refused(json("[{\"mean\": 1}]"), "[0]", "an object with a name");
    trace_refused(json("[{\"name\": \"a\", \"mean\": NaN}]"), "statistics.json", "not JSON");
    trace_refused(json("3"), "expected statistics", NULL);
    trace_refused(json("{\"a\": 3}"), "'a'", "expected an object of statistics");
    trace_refused(csv("name,mean\na,nan\n"), "'a'", "mean is NaN, which says nothing");
    trace_refused(csv("name,mean\na,-inf\n"), "'a'", "mean is infinite, which says nothing");
    trace_refused(csv("name,mean\na,1x\n"), "'a'", "'1x' should be a number");
    trace_refused(csv("name,mean,Avg Value\na,1,2\n"), ":1:", "two columns mean the same");
    trace_refused(csv("tag,mean\na,1\n"), ":1:", "the column name");
    trace_refused(csv("name,mean\na,1,2\n"), ":2:", "3 fields");
    trace_refused(csv("name,value.0,value.2\na,1,2\n"), "'a'", "one before it is not");
    trace_refused(json("{\"task\": \"statistics\", \"data\": {\"Functional.add.0.forward\": {}}}"),
                  "Functional.add.0.forward", "no module's output");
}

/* torch.std divides by N - 1; bfloat16's mean and norm have eight bits; a table has four decimals. */
static void right_ones_are_read(void **state) {
    (void)state;
    static const char *const fine[] = {
        "\"mean\": 3, \"deviation\": 4, \"norm\": 12.24744871391589",
        "\"mean\": 3, \"deviation\": 4.3817804600413286, \"norm\": 12.24744871391589",
        "\"dtype\": \"torch.bfloat16\", \"mean\": 3, \"deviation\": 4, \"norm\": 12.25",
        "\"mean\": 3.00, \"deviation\": 4.01, \"norm\": 12.2",
        "\"mean\": null, \"deviation\": null, \"not_finite\": 2",
    };
    char text[400];
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        snprintf(text, sizeof text, "[{\"name\": \"a\", \"shape\": [2, 3], %s}]", fine[i]);
        trace_file_close(trace_opened(json(text)));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(are_those_of_the_tensor), cmocka_unit_test(all_forms_are_read),
        cmocka_unit_test(msprobes_are_read),       cmocka_unit_test(numbers_are_not_there),
        cmocka_unit_test(types_are_found),         cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(right_ones_are_read),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
