/* Statistics in place of a trace: right ones of any type raise no alarm, whatever of them was kept; what they
 * show is noticed, and what they cannot show is said. Statistics are made here, by plain loops. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare_made.h"
#include "trace/fingerprint.h"

static char file[300];

enum { MEAN = 1, DEVIATION = 2, LEAST = 4, MOST = 8, NORM = 16, VALUES = 32, ALL = 63 };
typedef enum { AS_F64, AS_F32, AS_F16, AS_BF16 } type_t;

/* To so many significant bits, ties to even; subnormal numbers of float16 have fewer. */
static double rounded(double x, type_t type) {
    static const int bits[] = {53, 24, 11, 8};
    int exponent;
    if (x == 0 || type == AS_F64) return x;
    frexp(x, &exponent);
    int last = exponent - bits[type];
    if (type == AS_F16 && last < -24) last = -24;
    return ldexp(rint(ldexp(x, -last)), last);
}

typedef struct {
    type_t type;
    unsigned fields;    /* of every tap */
    bool at_random;     /* of every tap, and taps, at random */
    bool unbiased;      /* the deviation over N - 1, as torch.std has it */
    const char *number; /* printf's; NULL: %.17g */
    edit_t *edit;       /* of TAP */
    bool no_type, no_shape, as_nhwc, csv;
} kept_form_t;

/* What a tool would have seen of one tensor. */
typedef struct {
    double mean, deviation, least, most, norm;
} seen_t;

static seen_t look(const double *x, size_t n, bool unbiased) {
    seen_t s = {.least = x[0], .most = x[0]};
    double squares = 0, spread = 0;
    for (size_t i = 0; i < n; i++) {
        s.mean += x[i] / (double)n;
        squares += x[i] * x[i];
        if (x[i] < s.least) s.least = x[i];
        if (x[i] > s.most) s.most = x[i];
    }
    for (size_t i = 0; i < n; i++) spread += (x[i] - s.mean) * (x[i] - s.mean);
    s.deviation = sqrt(spread / (double)(unbiased && n > 1 ? n - 1 : n));
    s.norm = sqrt(squares);
    return s;
}

static void put_figure(FILE *to, const kept_form_t *f, bool there, const char *name, double value) {
    if (f->csv && !there) fprintf(to, ",");
    if (!there) return;
    fprintf(to, f->csv ? "," : ", \"%s\": ", name);
    fprintf(to, f->number ? f->number : "%.17g", value);
}

static void put_shape(FILE *to, const kept_form_t *f, shape_t s) {
    if (f->as_nhwc && s.ndim == 4) s = SHAPE4(s.dim[0], s.dim[2], s.dim[3], s.dim[1]);
    fprintf(to, f->csv ? ",\"(" : ", \"shape\": [");
    for (int i = 0; i < s.ndim; i++) fprintf(to, "%s%zu", i ? ", " : "", s.dim[i]);
    fprintf(to, f->csv ? ")\"" : "]");
}

static void put_values(FILE *to, const kept_form_t *f, const double *x, size_t n) {
    if (f->csv) return;
    fprintf(to, ", \"values\": [");
    for (size_t k = 0; k < n && k < 32; k++) {
        fprintf(to, k ? ", " : "");
        fprintf(to, f->number ? f->number : "%.17g", x[fingerprint_position(k, n)]);
    }
    fprintf(to, "]");
}

static void put_tap(FILE *to, const kept_form_t *f, const char *name, const double *x,
                    shape_t shape, unsigned fields) {
    static const char *const types[] = {"F64", "F32", "F16", "BF16"};
    size_t n = shape_count(shape);
    seen_t s = look(x, n, f->unbiased);
    fprintf(to, f->csv ? "%s" : "{\"name\": \"%s\"", name);
    if (!f->no_type) fprintf(to, f->csv ? ",%s" : ", \"dtype\": \"%s\"", types[f->type]);
    if (!f->no_shape) put_shape(to, f, shape);
    put_figure(to, f, fields & MEAN, "mean", s.mean);
    put_figure(to, f, fields & DEVIATION, "deviation", s.deviation);
    put_figure(to, f, fields & LEAST, "min", s.least);
    put_figure(to, f, fields & MOST, "max", s.most);
    put_figure(to, f, fields & NORM, "norm", s.norm);
    if (fields & VALUES) put_values(to, f, x, n);
    fprintf(to, f->csv ? "\n" : "}");
}

/* (B, C, H, W) as it lies in memory channels last. */
static void put_channels_last(double *x, shape_t s) {
    size_t C = s.dim[1], P = s.dim[2] * s.dim[3], n = shape_count(s);
    double *torch = fixture_bytes(n * sizeof *torch);
    memcpy(torch, x, n * sizeof *torch);
    for (size_t i = 0; i < n; i++) x[(i / (C * P) * P + i % P) * C + i / P % C] = torch[i];
}

/* The truth of the case, rounded to a type. */
static void make_statistics(kept_form_t f, unsigned seed) {
    snprintf(file, sizeof file, "%s", scratch_path(f.csv ? "candidate.csv" : "candidate.json"));
    FILE *to = fopen(file, "w");
    const char *between = "";
    assert_non_null(to);
    fprintf(to, f.csv ? "name,dtype,shape,mean,deviation,min,max,norm\n" : "[");
    srand(seed);
    for (size_t i = 0; i < golden.taps; i++) {
        const golden_tap_t *t = &golden.tap[i];
        shape_t shape = t->shape;
        size_t n = shape_count(shape);
        double *x = fixture_bytes(2 * n * sizeof *x);
        unsigned fields = f.at_random ? 1U + (unsigned)rand() % ALL : f.fields;
        dtype_to_double(x, t->truth->data, DTYPE_F64, n);
        if (f.edit && strcmp(t->name, TAP) == 0) f.edit(x, &shape);
        for (size_t k = 0; k < n; k++) x[k] = rounded(x[k], f.type);
        if (f.at_random && rand() % 2) continue;
        if (f.as_nhwc && shape.ndim == 4) put_channels_last(x, shape);
        if (!f.csv) fprintf(to, "%s\n", between);
        put_tap(to, &f, t->name, x, shape, fields);
        between = ",";
    }
    fprintf(to, f.csv ? "" : "]\n");
    fclose(to);
    fixture_free(NULL);
}

static void gives(int code, const char *text, const char *options) {
    int found = mole_says("compare %s %s %s", options, CASE, file);
    if (found != code || (text && !strstr(output, text)))
        fail_msg("exit code %d, expected %d, and '%s' in:\n%s", found, code, text ? text : "",
                 output);
}

/* ---- right ones ---------------------------------------------------------------------------------------- */

static void right_ones_agree(void **state) {
    (void)state;
    static const char *const judged[] = {"judged as f64,", "judged as f32,", "judged as f16-acc32,",
                                         "judged as bf16-acc32,"};
    for (type_t type = AS_F64; type <= AS_BF16; type++) {
        bool low = type > AS_F32; /* rounding is then propagated, which takes a second */
        make_statistics(
            (kept_form_t){.type = type, .fields = ALL, .unbiased = true, .no_type = true}, 0);
        if (type != AS_F16) gives(0, judged[type], "");
        for (unsigned seed = 1; seed < (low ? 2 : 4); seed++) {
            make_statistics((kept_form_t){.type = type, .at_random = true, .unbiased = seed % 2},
                            seed);
            if (type != AS_BF16) gives(0, "by statistics alone", "");
        }
    }
}

/* Few digits, with and without a type, as a table or not. */
static void few_digits_agree(void **state) {
    (void)state;
    static const char *const numbers[] = {"%.9g", "%.5g", "%.3f", "%.2g"};
    for (size_t i = 0; i < 4; i++) {
        make_statistics(
            (kept_form_t){AS_F32, .fields = ALL, .number = numbers[i], .unbiased = true}, 0);
        gives(0, "agrees", "");
    }
    make_statistics((kept_form_t){AS_BF16, .fields = ALL & ~VALUES, .number = "%.3g", .csv = true},
                    0);
    gives(0, "agrees", "");
}

/* ---- what shows, and what does not --------------------------------------------------------------------- */

static void by_a_thousandth(double *x, shape_t *shape) {
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] *= 1.001;
}

static void by_minus_one(double *x, shape_t *shape) {
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] *= -1;
}

/* (1, C, H, W): the first two channels change places. */
static void channels_exchanged(double *x, shape_t *shape) {
    size_t each = shape->dim[2] * shape->dim[3];
    for (size_t i = 0; i < each; i++) {
        double kept = x[i];
        x[i] = x[each + i];
        x[each + i] = kept;
    }
}

static void one_of_all(double *x, shape_t *shape) {
    (void)shape;
    x[fingerprint_position(5, shape_count(*shape))] += 0.1;
}

static void faults_are_noticed(void **state) {
    (void)state;
    static const unsigned kept[] = {ALL, ALL & ~VALUES, MEAN | LEAST | MOST | NORM};
    for (size_t i = 0; i < 3; i++) {
        make_statistics((kept_form_t){AS_F32, .fields = kept[i], .edit = by_a_thousandth}, 0);
        gives(1, "culprit    #3 " TAP, "--budget f32");
    }
    make_statistics((kept_form_t){AS_BF16, .fields = ALL, .edit = by_minus_one}, 0);
    gives(1, "culprit    #3 " TAP, "--budget bf16-acc32");
    make_statistics((kept_form_t){AS_F32, .fields = VALUES, .edit = one_of_all}, 0);
    gives(1, "of the values the worst is", "--budget f32");
}

/* Without values nobody can tell, and that is said; with values it shows. */
static void order_shows_in_values_alone(void **state) {
    (void)state;
    make_statistics((kept_form_t){AS_F32, .fields = ALL, .edit = channels_exchanged}, 0);
    gives(1, "culprit    #3 " TAP, "--budget f32");
    make_statistics((kept_form_t){AS_F32, .fields = ALL & ~VALUES, .edit = channels_exchanged}, 0);
    gives(0, "order is not checked in 95 of 95 taps", "");
    gives(0, "not there, so not compared: values (95 taps)", "");
    make_statistics((kept_form_t){AS_F32, .fields = ALL, .as_nhwc = true}, 0);
    gives(0, "taps have another shape of as many numbers", "");
}

static void shapes_and_strangers(void **state) {
    (void)state;
    make_statistics((kept_form_t){AS_F32, .fields = ALL, .no_shape = true}, 0);
    gives(0, "95 taps have no shape", "");
    make_statistics((kept_form_t){AS_F32, .fields = ALL & ~VALUES, .edit = fewer}, 0);
    gives(1, "of another shape", "");
    snprintf(file, sizeof file, "%s",
             scratch_text("wrapped.json", "{\"decoder._orig_mod.conv_in\": {\"min\": 1e9}, "
                                          "\"" TAP "\": {\"not_finite\": 2}}"));
    gives(1, "1 differ, 1 not finite", "");
    snprintf(file, sizeof file, "%s", scratch_text("other.json", "{\"a\": {\"min\": 1}}"));
    gives(3, "no tap has a name that the reference knows", "");
    snprintf(file, sizeof file, "%s",
             scratch_text("odd.json", "{\"a\": {\"min\": 1, \"max\": 0.5}}"));
    gives(3, "'a': the min, 1, is above the max, 0.5", "");
}

/* The reference may be a trace, but no statistics; the reports are written. */
static void traces_and_reports(void **state) {
    (void)state;
    char options[900];
    make(reference, (made_t){0});
    make_statistics((kept_form_t){AS_F32, .fields = ALL}, 0);
    if (mole_says("compare %s %s", reference, file) != 0) fail_msg("%s", output);
    if (mole_says("compare %s %s", file, reference) != 3 || !strstr(output, "not its numbers"))
        fail_msg("%s", output);
    make_statistics((kept_form_t){AS_F32, .fields = ALL, .edit = by_minus_one}, 0);
    if (mole_says("compare %s %s", reference, file) != 1) fail_msg("%s", output);
    snprintf(options, sizeof options, "--json %s --html %s --junit %s", scratch_path("r.json"),
             scratch_path("r.html"), scratch_path("r.xml"));
    gives(1, TAP, options);
}

/* What `mole inspect --statistics` writes is read back, and agrees as the trace does. */
static void written_ones_agree(void **state) {
    (void)state;
    static const char *const endings[] = {"s.json", "s.csv"};
    make(candidate, (made_t){.dtype = DTYPE_F32});
    for (size_t i = 0; i < 2; i++) {
        snprintf(file, sizeof file, "%s", scratch_path(endings[i]));
        if (mole_says("inspect --statistics %s -o %s", candidate, file) != 0)
            fail_msg("%s", output);
        gives(0, "judged as f32, by statistics alone", "");
    }
    make(candidate, (made_t){.edit = one_nan});
    if (mole_says("inspect --statistics %s -o %s", candidate, file) != 0) fail_msg("%s", output);
    gives(1, "1 not finite", "");
}

/* One program compares, whatever the build of this test: it is asked once. */
int main(void) {
    const struct CMUnitTest again[] = {fixture_test(written_ones_agree)};
    const struct CMUnitTest all[] = {
        fixture_test(right_ones_agree),     fixture_test(few_digits_agree),
        fixture_test(faults_are_noticed),   fixture_test(order_shows_in_values_alone),
        fixture_test(shapes_and_strangers), fixture_test(traces_and_reports),
        fixture_test(written_ones_agree),
    };
    if (dtype_real() == DTYPE_F64) return cmocka_run_group_tests(again, open_case, close_case);
    return cmocka_run_group_tests(all, open_case, close_case);
}
