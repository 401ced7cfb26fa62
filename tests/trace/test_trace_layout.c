/* test_trace_layout.c - numbers in another order than they are stored, against a walk over all indices. */
#include <math.h>

#include "../scratch.h"
#include "../unit.h"
#include "io/safetensors.h"
#include "trace/trace_file.h"

/* A stored tensor whose number at place p of entry e is 1000 e + p, if p is below 1000. */
typedef struct {
    size_t stored, read, passes, last;
} source_t;

static int read_stored(void *who, size_t entry, size_t first, size_t count, double *out,
                       err_t *err) {
    source_t *s = who;
    (void)err;
    if (first + count > s->stored)
        fail_msg("%zu numbers from %zu, of %zu", count, first, s->stored);
    s->passes += first < s->last || !s->read;
    s->last = first + count;
    s->read += count;
    for (size_t i = 0; i < count; i++) out[i] = (double)(entry * 1000 + first + i);
    return 0;
}

static uint32_t next(uint32_t *seed, uint32_t below) {
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 8) % below;
}

/* Index by index, without strides: the place in memory of an index is counted from the slowest axis on. */
static size_t place_of(shape_t view, const int *order, const bool *repeat, size_t flat) {
    size_t index[SHAPE_DIMS], place = 0;
    for (int i = view.ndim - 1; i >= 0; i--) index[i] = flat % view.dim[i], flat /= view.dim[i];
    for (int i = 0; i < view.ndim; i++)
        if (!repeat[order[i]]) place = place * view.dim[order[i]] + index[order[i]];
    return place;
}

typedef struct {
    shape_t view;
    int order[SHAPE_DIMS];
    bool repeat[SHAPE_DIMS];
    trace_layout_t layout;
    source_t source;
} subject_t;

static subject_t random_subject(uint32_t *seed) {
    subject_t s = {.view = {.ndim = (int)next(seed, 6)}};
    for (int i = 0; i < s.view.ndim; i++) {
        s.view.dim[i] = 1 + next(seed, 6);
        s.order[i] = i;
        s.repeat[i] = next(seed, 8) == 0;
    }
    for (int i = s.view.ndim - 1; i > 0; i--) {
        int k = (int)next(seed, (uint32_t)i + 1), t = s.order[i];
        s.order[i] = s.order[k], s.order[k] = t;
    }
    s.layout = (trace_layout_t){.shape = s.view, .view = s.view};
    trace_layout_order(&s.layout, s.order, s.repeat);
    s.source.stored = trace_layout_stored(&s.layout);
    return s;
}

static void any_order(void **state) {
    (void)state;
    uint32_t seed = 5;
    trace_band_t band = {0};
    err_t err;
    size_t plain = 0;
    for (int round = 0; round < 3000; round++) {
        subject_t s = random_subject(&seed);
        size_t count = shape_count(s.view), first = next(&seed, (uint32_t)count + 1);
        size_t n = next(&seed, (uint32_t)(count - first) + 1), entry = next(&seed, 3);
        double *x = xcalloc(n + 1, sizeof *x);
        band.count = 0;
        assert_int_equal(
            trace_layout_read(&s.layout, &band, entry, read_stored, &s.source, first, n, x, &err),
            0);
        bool in_order = true;
        for (size_t i = 0; i < count; i++) {
            size_t place = place_of(s.view, s.order, s.repeat, i);
            in_order &= place == i;
            assert_int_equal(trace_layout_place(&s.layout, i), place);
            if (i >= first && i < first + n)
                assert_true(x[i - first] == (double)(entry * 1000 + place));
        }
        assert_int_equal(trace_layout_is_plain(&s.layout), in_order);
        plain += in_order;
        free(x);
    }
    assert_in_range(plain, 300, 2000);
    free(band.x);
}

/* One entry after the other, and the same with another order, through one band. */
static void the_band_knows_whose_it_is(void **state) {
    (void)state;
    trace_band_t band = {0};
    err_t err;
    double x[6];
    trace_layout_t layout = {.shape = SHAPE2(2, 3), .view = SHAPE2(2, 3)};
    source_t source = {.stored = 6};
    trace_layout_order(&layout, (const int[]){1, 0}, NULL);
    for (size_t entry = 0; entry < 4; entry++) {
        assert_int_equal(
            trace_layout_read(&layout, &band, entry % 2, read_stored, &source, 0, 6, x, &err), 0);
        static const double wanted[] = {0, 2, 4, 1, 3, 5};
        for (size_t i = 0; i < 6; i++) assert_true(x[i] == (double)(entry % 2) * 1000 + wanted[i]);
    }
    free(band.x);
}

/* Larger than the band: read in two passes at most of it each, and in one where the slowest axis stays. */
static void large_tensors_are_read_in_bands(void **state) {
    (void)state;
    enum { C = 5, P = (1 << 21) + 3, N = 2 };
    static const int channels_last[] = {0, 2, 1}, batch_last[] = {1, 2, 0};
    const int *orders[] = {channels_last, batch_last};
    err_t err;
    for (size_t o = 0; o < 2; o++) {
        trace_layout_t l = {.shape = SHAPE3(N, C, P), .view = SHAPE3(N, C, P)};
        source_t source = {.stored = shape_count(l.shape)};
        trace_band_t band = {0};
        trace_layout_order(&l, orders[o], NULL);
        enum { CHUNK = 1 << 17 };
        double *x = xmalloc(CHUNK * sizeof *x);
        for (size_t first = 0; first < source.stored; first += CHUNK) {
            size_t n = source.stored - first < CHUNK ? source.stored - first : CHUNK;
            assert_int_equal(
                trace_layout_read(&l, &band, 0, read_stored, &source, first, n, x, &err), 0);
            for (size_t i = 0; i < n; i += 97) {
                bool repeat[3] = {false, false, false};
                assert_true(x[i] == (double)place_of(l.view, orders[o], repeat, first + i));
            }
        }
        assert_true(band.room <= TRACE_BAND);
        size_t bands = (source.stored + TRACE_BAND - 1) / TRACE_BAND;
        assert_int_equal(bands, 3);
        assert_true(source.passes == bands || o == 0);
        /* Channels last: of each of the two pictures no more than is needed. */
        assert_true(source.read <= (o == 0 ? 5 : 6) * source.stored / 2);
        free(x);
        free(band.x);
    }
}

static int fail_to_read(void *who, size_t entry, size_t first, size_t count, double *out,
                        err_t *err) {
    (void)who, (void)entry, (void)first, (void)count, (void)out;
    return err_set(err, "the disk is gone");
}

static void failures_are_passed_on(void **state) {
    (void)state;
    trace_band_t band = {0};
    trace_layout_t layout = {.shape = SHAPE2(2, 3), .view = SHAPE2(2, 3)};
    source_t source = {.stored = 6};
    double x[6];
    err_t err;
    trace_layout_order(&layout, (const int[]){1, 0}, NULL);
    assert_int_equal(trace_layout_read(&layout, &band, 0, fail_to_read, NULL, 0, 6, x, &err), -1);
    assert_message(&err, "the disk is gone", NULL);
    /* What is in the band then is nobody's. */
    assert_int_equal(trace_layout_read(&layout, &band, 0, read_stored, &source, 0, 6, x, &err), 0);
    assert_true(x[1] == 2);
    free(band.x);
}

/* In a file: the entry has the other shape and order until it is taken back; the others stay. */
static void entries_of_a_trace(void **state) {
    (void)state;
    const float numbers[] = {0, 1, 2, 3, 4, 5};
    const char *path = scratch_path("layout.safetensors");
    err_t err;
    st_writer_t *w;
    trace_file_t *trace;
    double x[12];
    assert_int_equal(st_writer_open(&w, path, &err), 0);
    assert_int_equal(st_writer_add(w, "a", DTYPE_F32, SHAPE2(2, 3), numbers, &err), 0);
    assert_int_equal(st_writer_add(w, "b", DTYPE_F32, SHAPE1(6), numbers, &err), 0);
    assert_int_equal(st_writer_finish(w, &err), 0);
    assert_int_equal(trace_file_open(&trace, path, &err), 0);
    trace_layout_t layout = {.shape = SHAPE3(2, 3, 2), .view = SHAPE3(2, 3, 2)};
    trace_layout_order(&layout, (const int[]){2, 1, 0}, (const bool[]){true, false, false});
    trace_file_set_layout(trace, 0, &layout);
    assert_true(shape_equal(trace_file_at(trace, 0)->shape, SHAPE3(2, 3, 2)));
    assert_true(shape_equal(trace_file_stored_shape(trace, 0), SHAPE2(2, 3)));
    assert_int_equal(trace_file_at(trace, 0)->count, 12);
    static const double wanted[] = {0, 3, 1, 4, 2, 5, 0, 3, 1, 4, 2, 5};
    assert_int_equal(trace_file_read(trace, 0, 0, 12, x, &err), 0);
    for (size_t i = 0; i < 12; i++) assert_true(x[i] == wanted[i]);
    assert_int_equal(trace_file_read(trace, 1, 0, 6, x, &err), 0);
    for (size_t i = 0; i < 6; i++) assert_true(x[i] == (double)i);
    layout = (trace_layout_t){.shape = SHAPE2(3, 2), .view = SHAPE2(3, 2)};
    trace_layout_order(&layout, (const int[]){1, 0}, NULL);
    trace_file_set_layout(trace, 0, &layout);
    assert_int_equal(trace_file_read(trace, 0, 1, 2, x, &err), 0);
    assert_true(x[0] == 3 && x[1] == 1);
    assert_true(shape_equal(trace_file_stored_shape(trace, 0), SHAPE2(2, 3)));
    trace_file_set_layout(trace, 0, NULL);
    assert_int_equal(trace_file_read(trace, 0, 1, 2, x, &err), 0);
    assert_true(x[0] == 1 && x[1] == 2);
    assert_true(shape_equal(trace_file_at(trace, 0)->shape, SHAPE2(2, 3)));
    trace_file_close(trace);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order),
        cmocka_unit_test(the_band_knows_whose_it_is),
        cmocka_unit_test(large_tensors_are_read_in_bands),
        cmocka_unit_test(failures_are_passed_on),
        cmocka_unit_test_setup_teardown(entries_of_a_trace, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests_name("trace_layout", tests, NULL, NULL);
}
