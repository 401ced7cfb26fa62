/* test_tap_header.c - what scripts/ports/tap.h writes, whose copies are in other programs, is a trace. */
#include <stdlib.h>
#include <sys/stat.h>

#include "../../scripts/ports/tap.h"
#include "../fixture.h"
#include "../scratch.h"
#include "trace/trace_file.h"

typedef struct {
    const char *name;
    int ndim;
    long long shape[8];
} tap_t;

static const tap_t taps[] = {{"unet.conv_in", 4, {2, 3, 4, 5}},
                             {"step.003/noise_pred", 4, {1, 4, 2, 2}},
                             {"unet.time_embedding.linear_1", 2, {2, 7}},
                             {"a name, with a comma", 1, {1}},
                             {"unet.scalar", 0, {0}},
                             {"an.empty.one", 3, {2, 0, 5}},
                             {"eight", 8, {1, 2, 1, 2, 1, 2, 1, 2}}};
enum { TAPS = sizeof taps / sizeof *taps };

static float number(size_t tap, size_t i) {
    return (float)tap * 1000 - (float)i / 3;
}

static size_t numbers_of(const tap_t *t) {
    size_t count = 1;
    for (int i = 0; i < t->ndim; i++) count *= (size_t)t->shape[i];
    return count;
}

static void names_order_shapes_and_numbers(void **state) {
    (void)state;
    const char *folder = scratch_path("dump");
    assert_int_equal(mkdir(folder, 0777), 0);
    mole_tap_t written = {folder, 0};
    for (size_t k = 0; k < TAPS; k++) {
        size_t count = numbers_of(&taps[k]);
        float *x = fixture_bytes((count + 1) * sizeof *x);
        for (size_t i = 0; i < count; i++) x[i] = number(k, i);
        assert_int_equal(mole_tap(&written, taps[k].name, x, taps[k].ndim, taps[k].shape), 0);
    }
    trace_file_t *trace;
    err_t err;
    must(trace_file_open(&trace, folder, &err), &err);
    assert_int_equal(trace_file_count(trace), TAPS);
    for (size_t k = 0; k < TAPS; k++) {
        const trace_entry_t *entry = trace_file_at(trace, k);
        double x[256];
        assert_string_equal(entry->name, taps[k].name);
        assert_int_equal(entry->dtype, DTYPE_F32);
        assert_int_equal(entry->shape.ndim, taps[k].ndim);
        for (int i = 0; i < taps[k].ndim; i++)
            assert_int_equal(entry->shape.dim[i], (size_t)taps[k].shape[i]);
        must(trace_file_read(trace, k, 0, entry->count, x, &err), &err);
        for (size_t i = 0; i < entry->count; i++) assert_true(x[i] == (double)number(k, i));
    }
    trace_file_close(trace);
    fixture_free(NULL);
}

static void failures_are_said(void **state) {
    (void)state;
    float x = 1;
    const long long one[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
                    many[16] = {1LL << 62, 1LL << 62, 1LL << 62, 1LL << 62, 1LL << 62, 1LL << 62,
                                1LL << 62, 1LL << 62, 1LL << 62, 1LL << 62, 1LL << 62, 1LL << 62};
    mole_tap_t nowhere = {scratch_path("not/there"), 0}, here = {scratch_path("dump"), 0};
    assert_int_equal(mole_tap(&nowhere, "a", &x, 1, one), -1);
    assert_int_equal(mole_tap(&here, "a", &x, 12, many), -1);
    assert_int_equal(mole_tap(&here, "a", &x, 16, one), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_order_shapes_and_numbers),
        cmocka_unit_test(failures_are_said),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
