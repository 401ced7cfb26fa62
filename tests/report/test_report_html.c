/* test_report_html.c - the page: self-contained, its data those of the JSON report, its pictures those of
 * the tensors.
 *
 * MOLE_REPORT_DIR=DIR keeps pages and JSON reports in DIR, for the test in a real browser
 * (tests/html/test_report_html.py): "sample" is made by hand, "hostile" has names that attack, "mutant" and
 * "unet" are runs of the tiny model in which one layer, or three, were made wrong; the traces of these runs
 * are kept too. */
#include <ctype.h>
#include <jansson.h>
#include <math.h>

#include "../scratch.h"
#include "../unit.h"
#include "golden/run_case.h"
#include "io/safetensors.h"
#include "io/trace.h"
#include "report/report.h"
#include "report/report_parts.h"
#include "report/report_pictures.h"
#include "report_sample.h"

/* Where a report goes: kept for the browser, or scratch. */
static const char *place_of(const char *name) {
    static char path[2][512];
    static int next;
    const char *folder = getenv("MOLE_REPORT_DIR");
    if (!folder) return scratch_path(name);
    next = !next;
    snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
    return path[next];
}

/* ---- the page -------------------------------------------------------------------------------- */

static const char data_begin[] = "<script type=\"application/json\" id=\"data\">\n";

typedef struct {
    char *text, *data; /* data: without what stands around it */
    size_t bytes;
    json_t *json;
} page_t;

static page_t page_of(const char *path) {
    page_t page;
    page.text = scratch_slurp(path, &page.bytes);
    assert_int_equal(strlen(page.text), page.bytes);
    char *from = strstr(page.text, data_begin);
    assert_non_null(from);
    from += strlen(data_begin);
    page.data = strndup(from, strcspn(from, "<"));
    json_error_t where;
    page.json = json_loads(page.data, JSON_REJECT_DUPLICATES, &where);
    if (!page.json) fail_msg("data: %s: %.80s", where.text, page.data);
    return page;
}

static void page_done(page_t *page) {
    json_decref(page->json);
    free(page->text);
    free(page->data);
}

static void write_page(const compare_result_t *r, const golden_case_t *golden,
                       trace_file_t *reference, trace_file_t *candidate, const char *path) {
    err_t err = {""};
    if (report_html(r, golden, reference, candidate, path, &err)) fail_msg("%s", err.text);
}

/* Without data at most 48 KB, of which the words of the glossary are 6; nothing in it asks for anything from
 * elsewhere. */
static void self_contained(void **state) {
    (void)state;
    compare_result_t r;
    report_sample(&r, 0);
    r.stretch.from = xstrdup("unet.conv_in");
    r.stretch.between = xcalloc(1, sizeof *r.stretch.between);
    r.stretch.between[r.stretch.betweens++] = xstrdup("unet.down_blocks.0.resnets.0.time_emb_proj");
    write_page(&r, NULL, NULL, NULL, place_of("sample.html"));
    err_t err;
    assert_int_equal(report_json(&r, place_of("sample.json"), &err), 0);
    page_t page = page_of(place_of("sample.html"));
    size_t own = page.bytes - strlen(page.data);
    if (own > 48 * 1024)
        fail_msg("the page has %zu bytes without data, at most 49152 are wanted", own);
    static const char *const foreign[] = {"src=",   "href=",     "url(",           "@import",
                                          "fetch(", "XMLHttp",   "import(",        "WebSocket",
                                          "{{",     "innerHTML", "insertAdjacent", "document.write",
                                          "eval(",  "outerHTML"};
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        if (strstr(page.text, foreign[i])) fail_msg("the page holds '%s'", foreign[i]);
    const char *address = page.text;
    while ((address = strstr(address, "://"))) { /* names of XML vocabularies are no addresses */
        assert_int_equal(strncmp(address - 4, "http://www.w3.org/", 18), 0);
        address += 3;
    }
    assert_non_null(strstr(page.text, "default-src 'none'"));
    assert_non_null(strstr(page.text, "</html>"));
    page_done(&page);
    compare_free(&r);
}

/* The data are the JSON report with pictures and commands added. */
static void data_is_the_json_report(void **state) {
    (void)state;
    compare_result_t r;
    err_t err;
    report_sample(&r, 30);
    write_page(&r, NULL, NULL, NULL, scratch_path("page.html"));
    assert_int_equal(report_json(&r, scratch_path("page.json"), &err), 0);
    page_t page = page_of(scratch_path("page.html"));
    json_t *expected = json_load_file(scratch_path("page.json"), 0, NULL);
    assert_int_equal(json_array_size(json_object_get(page.json, "pictures")), 0);
    json_object_set_new(expected, "pictures", json_array());
    json_object_set_new(expected, "replay", json_pack("{s:s, s:[]}", "common", "", "rows"));
    assert_true(json_equal(page.json, expected));
    json_decref(expected);
    page_done(&page);
    compare_free(&r);
}

static void hostile_names(void **state) {
    (void)state;
    compare_result_t r;
    report_sample_hostile(&r, 0);
    snprintf(r.reference, sizeof r.reference, "%s", hostile_name[0]);
    snprintf(r.candidate, sizeof r.candidate, "%s", hostile_name[1]);
    snprintf(r.row[1].cause.text, sizeof r.row[1].cause.text, "%s", hostile_name[0]);
    snprintf(r.row[1].cause.kind, sizeof r.row[1].cause.kind, "%s", "<b>\xe2\x80\xae");
    snprintf(r.row[1].origin, sizeof r.row[1].origin, "%s", hostile_name[1]);
    write_page(&r, NULL, NULL, NULL, place_of("hostile.html"));
    err_t err;
    assert_int_equal(report_json(&r, place_of("hostile.json"), &err), 0);
    page_t page = page_of(place_of("hostile.html"));
    for (const char *p = page.data; *p; p++)
        if (*p == '<' || *p == '>' || *p == '&' || (unsigned char)*p > 0x7f)
            fail_msg("a bare %c in the data", *p);
    /* after the data comes what always comes after them */
    const char *after = strstr(page.text, data_begin) + strlen(data_begin) + strlen(page.data);
    assert_int_equal(strncmp(after, "</script>\n<script>\n\"use strict\"", 31), 0);
    json_t *rows = json_object_get(page.json, "rows");
    for (size_t i = 0; i < 7; i++)
        assert_string_equal(json_string_value(json_object_get(json_array_get(rows, i), "name")),
                            hostile_name[i]);
    page_done(&page);
    compare_free(&r);
}

/* ---- pictures -------------------------------------------------------------------------------- */

/* A trace of one float64 tensor "x". */
static trace_file_t *trace_of(const char *file, shape_t shape, const double *x) {
    err_t err = {""};
    st_writer_t *writer;
    trace_file_t *trace = NULL;
    const char *path = scratch_path(file);
    if (st_writer_open(&writer, path, &err) ||
        st_writer_add(writer, "x", DTYPE_F64, shape, x, &err) || st_writer_finish(writer, &err) ||
        trace_file_open(&trace, path, &err))
        fail_msg("%s", err.text);
    return trace;
}

/* The picture of one tensor whose candidate is a and whose reference is b. */
static json_t *picture_of(shape_t shape, const double *a, const double *b) {
    compare_row_t row = {.name = "x",
                         .candidate_name = "x",
                         .shape = shape,
                         .candidate_shape = shape,
                         .verdict = ROW_DIFFERS};
    row.cumulative = diff_tensors(a, b, shape_count(shape));
    compare_result_t r = {.row = &row, .rows = 1, .budget = BUDGET_F32};
    trace_file_t *candidate = trace_of("a.safetensors", shape, a);
    trace_file_t *reference = trace_of("b.safetensors", shape, b);
    err_t err;
    json_t *list = report_pictures(&r, NULL, reference, candidate, &err);
    trace_file_close(candidate);
    trace_file_close(reference);
    assert_int_equal(json_array_size(list), 1);
    json_t *picture = json_incref(json_array_get(list, 0));
    json_decref(list);
    assert_int_equal(json_integer_value(json_object_get(picture, "index")), 0);
    return picture;
}

static double figure(json_t *picture, const char *part, const char *key) {
    json_t *value = json_object_get(json_object_get(picture, part), key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static int cell(json_t *picture, size_t index) {
    const char *cells =
        json_string_value(json_object_get(json_object_get(picture, "map"), "cells"));
    char two[3] = {cells[2 * index], cells[2 * index + 1], 0};
    return (int)strtol(two, NULL, 16);
}

static double *mismatch(shape_t shape, double **candidate, unsigned seed) {
    size_t count = shape_count(shape);
    double *b = xcalloc(2 * count + 1, sizeof *b), *a = b + count;
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        b[i] = (double)(seed >> 8) / 0x1p24;
        seed = seed * 1664525u + 1013904223u;
        a[i] = b[i] + ldexp((double)(seed >> 8) / 0x1p24 - 0.5, -(int)(seed % 20));
        if (seed % 7 == 0) a[i] = b[i];
    }
    *candidate = a;
    return b;
}

/* The map against a mean computed cell by cell, from the definition. */
static void check_map(json_t *picture, shape_t s, const double *a, const double *b) {
    size_t W = s.ndim ? s.dim[s.ndim - 1] : 1, H = s.ndim > 1 ? s.dim[s.ndim - 2] : 1, layers = 1;
    size_t rows = H < 64 ? H : 64, columns = W < 64 ? W : 64;
    for (int d = 1; d < s.ndim - 2; d++) layers *= s.dim[d];
    double mean[64 * 64], low = INFINITY, high = 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            double sum = 0, n = 0;
            for (size_t l = 0; l < layers; l++)
                for (size_t h = 0; h < H; h++)
                    for (size_t w = 0; w < W; w++)
                        if (h * rows / H == r && w * columns / W == c) {
                            size_t i = (l * H + h) * W + w;
                            sum += fabs(a[i] - b[i]);
                            n++;
                        }
            double m = mean[r * columns + c] = sum / n;
            if (m > 0 && m < low) low = m;
            if (m > high) high = m;
        }
    assert_int_equal((size_t)figure(picture, "map", "rows"), rows);
    assert_int_equal((size_t)figure(picture, "map", "columns"), columns);
    assert_int_equal((size_t)figure(picture, "map", "height"), H);
    assert_int_equal((size_t)figure(picture, "map", "width"), W);
    assert_true(fabs(figure(picture, "map", "low") - low) <= 1e-12 * low);
    assert_true(fabs(figure(picture, "map", "high") - high) <= 1e-12 * high);
    for (size_t i = 0; i < rows * columns; i++) {
        double place = high > low ? log(mean[i] / low) / log(high / low) : 1;
        int expected = mean[i] > 0 ? 1 + (int)floor(place * 253 + 0.5) : 0,
            found = cell(picture, i);
        if (abs(found - expected) > 1) fail_msg("cell %zu is %d, expected %d", i, found, expected);
        if ((mean[i] == 0) != (found == 0)) fail_msg("cell %zu is %d for %g", i, found, mean[i]);
    }
}

static void check_histogram(json_t *picture, shape_t s, const double *a, const double *b) {
    size_t count = shape_count(s), equal = 0, below = 0, bin[64] = {0};
    double low = figure(picture, "histogram", "low"), high = figure(picture, "histogram", "high");
    double most = 0;
    for (size_t i = 0; i < count; i++) most = fmax(most, fabs(a[i] - b[i]));
    assert_true(fabs(high - log10(most)) < 1e-12);
    assert_true(fabs(high - low - 8) < 1e-12);
    for (size_t i = 0; i < count; i++) {
        double place = (log10(fabs(a[i] - b[i])) - low) * 8;
        if (a[i] == b[i])
            equal++;
        else if (place < 0)
            below++;
        else
            bin[place < 63 ? (size_t)place : 63]++;
    }
    json_t *bins = json_object_get(json_object_get(picture, "histogram"), "bins");
    assert_int_equal(json_array_size(bins), 64);
    size_t sum = equal + below;
    for (size_t i = 0; i < 64; i++) {
        size_t found = (size_t)json_integer_value(json_array_get(bins, i));
        sum += found;
        if (found > bin[i] + 1 ||
            found + 1 < bin[i]) /* a number on the edge may fall to either side */
            fail_msg("bin %zu holds %zu, expected %zu", i, found, bin[i]);
    }
    assert_int_equal(sum, count);
    assert_int_equal((size_t)figure(picture, "histogram", "equal"), equal);
    assert_int_equal((size_t)figure(picture, "histogram", "not_finite"), 0);
}

/* Images, tokens, matrices, vectors, a scalar; larger and smaller than the map; longer than a read. */
static void pictures(void **state) {
    (void)state;
    const shape_t shapes[] = {SHAPE4(2, 3, 4, 5),  SHAPE4(1, 2, 100, 70),
                              SHAPE3(2, 77, 130),  SHAPE2(65, 64),
                              SHAPE2(3, 2),        SHAPE1(5),
                              SHAPE1(9000),        SHAPE0(),
                              {5, {2, 2, 3, 4, 5}}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        double *a, *b = mismatch(shapes[i], &a, (unsigned)i + 1);
        if (shape_count(shapes[i]) == 1) a[0] = b[0] + 0.25;
        json_t *picture = picture_of(shapes[i], a, b);
        check_map(picture, shapes[i], a, b);
        check_histogram(picture, shapes[i], a, b);
        json_decref(picture);
        free(b);
    }
}

/* NaN and Inf have a colour and a count of their own, and equal Infs are equal. */
static void not_finite_pictures(void **state) {
    (void)state;
    const double b[6] = {1, 2, INFINITY, INFINITY, 5, 6};
    const double a[6] = {1, NAN, INFINITY, -INFINITY, 5.5, 6};
    json_t *picture = picture_of(SHAPE2(2, 3), a, b);
    const int expected[6] = {0, 255, 0, 255, 254, 0};
    for (size_t i = 0; i < 6; i++) assert_int_equal(cell(picture, i), expected[i]);
    assert_int_equal((int)figure(picture, "histogram", "not_finite"), 2);
    assert_int_equal((int)figure(picture, "histogram", "equal"), 3);
    assert_true(figure(picture, "map", "high") == 0.5);
    json_decref(picture);
    const double nan[2] = {NAN, NAN}, zero[2] = {0, 0};
    picture = picture_of(SHAPE1(2), nan, zero);
    assert_int_equal(cell(picture, 1), 255);
    assert_int_equal((int)figure(picture, "histogram", "not_finite"), 2);
    json_decref(picture);
}

/* Sizes at both ends of the numbers. */
static void extreme_pictures(void **state) {
    (void)state;
    const double b[4] = {0, 0, 0, 0}, a[4] = {1.7e308, 1.7e308, 5e-324, 0};
    json_t *picture = picture_of(SHAPE2(2, 2), a, b);
    assert_int_equal(cell(picture, 0), 254);
    assert_int_equal(cell(picture, 3), 0);
    assert_true(figure(picture, "map", "high") == 1.7e308);
    assert_int_equal((int)figure(picture, "histogram", "below"), 1);
    json_decref(picture);
}

/* ---- a wrong run of the tiny model ----------------------------------------------------------- */

/* Passes every tap on, some of them with a gain. */
typedef struct {
    tap_sink_t sink;
    tap_sink_t *to;
    const char *const *layer; /* ended by NULL */
} spoiler_t;

static void spoil(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    spoiler_t *s = (spoiler_t *)self;
    for (const char *const *layer = s->layer; *layer; layer++)
        for (size_t i = 0; strcmp(name, *layer) == 0 && i < shape_count(view.shape); i++)
            x[i] *= (real_t)1.01;
    s->to->tap(s->to, name, x, view);
}

static void spoiled_trace(const golden_case_t *golden, run_t run, const char *const *layer,
                          const char *path) {
    err_t err = {""};
    trace_t *trace;
    pipeline_t pipeline;
    if (trace_open(&trace, path, true, &err) || golden_open_model(golden, &pipeline, &err))
        fail_msg("%s", err.text);
    spoiler_t spoiler = {*trace_sink(trace), trace_sink(trace), layer};
    spoiler.sink.tap = spoil;
    run.sink = &spoiler.sink;
    if (golden_execute(&run, golden, &pipeline, &err) || trace_close(trace, true, &err))
        fail_msg("%s", err.text);
    pipeline_close(&pipeline);
}

/* Every row's command names its module and its tap; a shell reads the trace's path back as it is. */
static void check_commands(const json_t *replay, const compare_result_t *r, const char *path) {
    size_t i;
    json_t *row, *rows = json_object_get(replay, "rows");
    char line[1024] = "";
    assert_true(json_array_size(rows) > 10);
    json_array_foreach(rows, i, row) {
        const compare_row_t *of = &r->row[json_integer_value(json_object_get(row, "index"))];
        assert_non_null(strstr(of->name, json_string_value(json_object_get(row, "module"))));
        assert_non_null(strstr(json_string_value(json_object_get(row, "inputs")), of->name));
    }
    char *words =
        xasprintf("printf '%%s\\n' %s", json_string_value(json_object_get(replay, "common")));
    FILE *shell = popen(words, "r");
    while (fgets(line, sizeof line, shell)) line[strcspn(line, "\n")] = '\0';
    assert_int_equal(pclose(shell), 0);
    assert_string_equal(line, path);
    free(words);
}

/* Pages and JSON of the comparison with a run in which the layers have a gain; the first is the culprit,
 * and drawn. */
static void report_mutant(const char *folder, const char *const *layer, const char *name) {
    err_t err = {""};
    golden_case_t golden;
    compare_result_t r;
    trace_file_t *candidate;
    char html[64], json[64], trace[64];
    run_t run = {.matmul = MATMUL_BLAS, .form = MOLE_DIRECT};
    compare_options_t options = {.isolate = true};
    snprintf(html, sizeof html, "%s.html", name);
    snprintf(json, sizeof json, "%s.json", name);
    snprintf(trace, sizeof trace, "%s's $(echo) trace.safetensors", name);
    const char *path = place_of(trace);
    if (golden_case_open(&golden, folder, &err) || arena_create(&run.arena, 0, &err))
        fail_msg("%s", err.text);
    spoiled_trace(&golden, run, layer, path);
    if (trace_file_open(&candidate, path, &err) ||
        compare_golden(&run, &golden, candidate, &options, &r, &err))
        fail_msg("%s", err.text);
    snprintf(r.candidate, sizeof r.candidate, "port.safetensors");
    assert_true(r.culprit < r.rows);
    assert_string_equal(r.row[r.culprit].name, *layer);
    write_page(&r, &golden, NULL, candidate, place_of(html));
    assert_int_equal(report_json(&r, place_of(json), &err), 0);
    page_t page = page_of(place_of(html));
    json_t *drawn = json_object_get(page.json, "pictures");
    bool seen = false;
    /* The worst rows, of which some are a few numbers that nobody draws: which, the last bits decide. */
    assert_true(json_array_size(drawn) >= 5 && json_array_size(drawn) <= PICTURE_ROWS + 1);
    for (size_t i = 0; i < json_array_size(drawn); i++) {
        json_t *index = json_object_get(json_array_get(drawn, i), "index");
        seen = seen || (size_t)json_integer_value(index) == r.culprit;
    }
    assert_true(seen);
    check_commands(json_object_get(page.json, "replay"), &r, trace_file_path(candidate));
    page_done(&page);
    compare_free(&r);
    trace_file_close(candidate);
    golden_case_close(&golden);
    arena_destroy(run.arena);
}

static void mutant(void **state) {
    (void)state;
    static const char *const one[] = {"vae.decoder.mid_block.resnets.0.norm2", NULL};
    static const char *const three[] = {
        "unet.down_blocks.2.attentions.0.transformer_blocks.0.attn2.to_v.mole.hand.expert",
        "unet.up_blocks.2.attentions.1.proj_in", "unet.up_blocks.3.resnets.1", NULL};
    report_mutant("golden/runs/vae-decode", one, "mutant");
    if (getenv("MOLE_REPORT_DIR")) /* thousands of taps: for the browser only */
        report_mutant("golden/runs/unet-step", three, "unet");
}

/* No source to read: a page without pictures, and no failure. */
static void no_sources(void **state) {
    (void)state;
    compare_result_t r;
    report_sample(&r, 0);
    const double x[8] = {0};
    trace_file_t *other = trace_of("other.safetensors", SHAPE2(2, 4), x);
    write_page(&r, NULL, other, other, scratch_path("none.html"));
    page_t page = page_of(scratch_path("none.html"));
    assert_int_equal(json_array_size(json_object_get(page.json, "pictures")), 0);
    page_done(&page);
    trace_file_close(other);
    compare_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(self_contained),
        cmocka_unit_test(data_is_the_json_report),
        cmocka_unit_test(hostile_names),
        cmocka_unit_test(pictures),
        cmocka_unit_test(not_finite_pictures),
        cmocka_unit_test(extreme_pictures),
        cmocka_unit_test(mutant),
        cmocka_unit_test(no_sources),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
