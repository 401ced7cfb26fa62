/* test_batch_row.c - a candidate that runs the rows of a batch one after the other, and dumps one of them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fixture.h"
#include "../scratch.h"
#include "golden/golden.h"
#include "io/safetensors.h"
#include "mole_says.h"

#define CASE "golden/runs/unet-step"
#define NORM "unet.mid_block.attentions.0.norm"

static golden_case_t golden;

static int open_case(void **state) {
    err_t err;
    must(golden_case_open(&golden, CASE, &err), &err);
    return scratch_setup(state);
}

static int close_case(void **state) {
    golden_case_close(&golden);
    return scratch_teardown(state);
}

typedef enum { AS_IT_IS, WITHOUT_AXIS, CHANNELS_LAST } form_name_t;

typedef struct {
    size_t row, other; /* the row that is dumped; and that NORM has, where `strange` */
    bool strange;
    double gain; /* of NORM; 0: none */
    form_name_t form;
    size_t every; /* of the taps, every so many; 0: all */
    double noise; /* on everything, in standard deviations */
} dump_t;

static void to_channels_last(double *y, const double *x, shape_t *shape) {
    size_t C = shape->dim[1], HW = shape->dim[2] * shape->dim[3];
    for (size_t c = 0; c < C; c++)
        for (size_t p = 0; p < HW; p++) y[p * C + c] = x[c * HW + p];
    *shape = SHAPE4(shape->dim[0], shape->dim[2], shape->dim[3], C);
}

static shape_t without_axis(shape_t shape) {
    shape_t out = {shape.ndim - 1, {0}};
    for (int i = 0; i < out.ndim; i++) out.dim[i] = shape.dim[i + 1];
    return out;
}

static void put_tap(st_writer_t *w, const golden_tap_t *t, const dump_t *d) {
    size_t count = shape_count(t->shape), each = count / t->shape.dim[0];
    bool norm = strcmp(t->name, NORM) == 0;
    double *x = fixture_bytes(count * sizeof *x), *y = fixture_bytes(each * sizeof *y);
    shape_t shape = t->shape;
    shape.dim[0] = 1;
    dtype_to_double(x, t->truth->data, t->truth->dtype, count);
    const double *from = x + (norm && d->strange ? d->other : d->row) * each;
    memcpy(y, from, each * sizeof *y);
    for (size_t i = 0; i < each; i++) {
        if (norm && d->gain != 0) y[i] *= d->gain;
        if (d->noise > 0) y[i] = d->noise * ((double)((i * 7919 + 13) % 101) - 50);
    }
    if (d->form == CHANNELS_LAST && shape.ndim == 4) {
        memcpy(x, y, each * sizeof *x);
        to_channels_last(y, x, &shape);
    }
    if (d->form == WITHOUT_AXIS) shape = without_axis(shape);
    err_t err;
    must(st_writer_add(w, t->name, DTYPE_F64, shape, y, &err), &err);
    fixture_free(NULL);
}

static const char *dump(const dump_t *d) {
    const char *path = scratch_path("row.safetensors");
    err_t err;
    st_writer_t *w;
    must(st_writer_open(&w, path, &err), &err);
    for (size_t i = 0; i < golden.taps; i++) {
        const golden_tap_t *t = &golden.tap[i];
        bool kept = !d->every || i % d->every == 0 || strcmp(t->name, NORM) == 0;
        if (t->truth && t->shape.dim[0] == 2 && kept) put_tap(w, t, d);
    }
    must(st_writer_finish(w, &err), &err);
    return path;
}

static void expect(int code, const char *text, const dump_t *d) {
    int found = mole_says("compare " CASE " %s", dump(d));
    if (found != code || !strstr(output, text))
        fail_msg("exit code %d for %d, or without '%s':\n%s", found, code, text, output);
}

/* ---- right ones ---------------------------------------------------------------------------------------- */

static void a_right_row_agrees(void **state) {
    (void)state;
    static const form_name_t forms[] = {AS_IT_IS, WITHOUT_AXIS, CHANNELS_LAST};
    for (size_t row = 0; row < 2; row++)
        for (size_t f = 0; f < 3; f++) {
            char said[64];
            dump_t d = {.row = row, .form = forms[f], .every = f ? 17 : 0};
            snprintf(said, sizeof said, "by the numbers it is row %zu, counted from 0", row);
            expect(0, said, &d);
            assert_null(strstr(output, "have another shape"));
            assert_true(!strstr(output, "are stored as (1,H,W,C)") == (forms[f] != CHANNELS_LAST));
        }
}

/* ---- wrong ones ---------------------------------------------------------------------------------------- */

/* Alone or among few, in either row, and no smaller than in a whole batch. */
static void a_wrong_row_differs(void **state) {
    (void)state;
    for (size_t row = 0; row < 2; row++)
        for (size_t few = 0; few < 2; few++) {
            dump_t d = {.row = row, .gain = 1 + 1e-9, .every = few ? 40 : 0};
            expect(1, "culprit    #", &d);
            assert_non_null(strstr(output, " " NORM " (2,"));
            assert_non_null(strstr(output, "your output is the expected one times 1.000000001"));
        }
}

/* The numbers of the other row, in one tap. */
static void the_other_row_differs(void **state) {
    (void)state;
    dump_t d = {.row = 1, .other = 0, .strange = true};
    expect(1, " " NORM " (2,", &d);
}

static void other_numbers_are_no_row(void **state) {
    (void)state;
    dump_t d = {.noise = 0.7};
    expect(1, "2230 of another shape", &d);
    assert_null(strstr(output, "by the numbers it is row"));
}

/* Of statistics in place of tensors the same is said. */
static void statistics_of_a_row(void **state) {
    (void)state;
    char arguments[2048], said[64];
    for (size_t row = 0; row < 2; row++)
        for (int wrong = 0; wrong < 2; wrong++) {
            dump_t d = {
                .row = row, .gain = wrong ? 1.01 : 0, .form = row ? WITHOUT_AXIS : AS_IT_IS};
            const char *file = scratch_path("row.json");
            assert_int_equal(mole_says("inspect --statistics %s -o %s", dump(&d), file), 0);
            snprintf(arguments, sizeof arguments, "compare " CASE " %s", scratch_path("row.json"));
            int found = mole_says("%s", arguments);
            snprintf(said, sizeof said, "by the numbers it is row %zu, counted from 0", row);
            if (found != wrong || !strstr(output, said)) fail_msg("%d:\n%s", found, output);
            if (wrong) assert_non_null(strstr(output, " " NORM " (2,"));
        }
}

/* ---- figures ------------------------------------------------------------------------------------------- */

/* The rms error of NORM is that of its row alone: a gain's, computed here. */
static void the_error_is_that_of_the_row(void **state) {
    (void)state;
    const golden_tap_t *t = golden_case_find(&golden, NORM);
    size_t count = shape_count(t->shape), each = count / 2, bytes;
    double *x = fixture_bytes(count * sizeof *x), gain = 1.25, sum = 0;
    char wanted[64];
    dtype_to_double(x, t->truth->data, t->truth->dtype, count);
    for (size_t i = each; i < count; i++)
        sum += (gain * x[i] - x[i]) * (gain * x[i] - x[i]) / (double)each;
    dump_t d = {.row = 1, .gain = gain, .every = 400};
    dump(&d);
    mole_says("compare " CASE " %s --no-isolate --json %s", scratch_path("row.safetensors"),
              scratch_path("row.json"));
    char *json = scratch_slurp(scratch_path("row.json"), &bytes);
    const char *row = strstr(json, "\"rows\": [");
    row = row ? strstr(row, "\"name\": \"" NORM "\"") : NULL;
    const char *rms = row ? strstr(row, "\"rms\": ") : NULL;
    assert_non_null(rms);
    double found = strtod(rms + strlen("\"rms\": "), NULL);
    snprintf(wanted, sizeof wanted, "%.9g for %.9g", found, sqrt(sum));
    if (!(fabs(found / sqrt(sum) - 1) < 1e-9)) fail_msg("%s", wanted);
    free(json);
    fixture_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_right_row_agrees),    cmocka_unit_test(a_wrong_row_differs),
        cmocka_unit_test(the_other_row_differs), cmocka_unit_test(other_numbers_are_no_row),
        cmocka_unit_test(statistics_of_a_row),   cmocka_unit_test(the_error_is_that_of_the_row),
    };
    return cmocka_run_group_tests(tests, open_case, close_case);
}
