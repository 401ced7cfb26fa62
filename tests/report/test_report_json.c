/* test_report_json.c - the JSON report: every figure of the result, the schema, files whole or not at
 * all. */
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../scratch.h"
#include "../unit.h"
#include "io/safetensors.h"
#include "report/report.h"
#include "report/report_parts.h"
#include "report/report_pictures.h"
#include "report_sample.h"

static json_t *written(const compare_result_t *result) {
    err_t err = {""};
    json_error_t where;
    const char *path = scratch_path("report.json");
    if (report_json(result, path, &err)) fail_msg("%s", err.text);
    json_t *value = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
    if (!value) fail_msg("%s:%d: %s", path, where.line, where.text);
    return value;
}

/* "rows.3.isolated.rms" */
static json_t *at(json_t *value, const char *path) {
    for (const char *p = path; *p;) {
        size_t length = strcspn(p, ".");
        char *key = strndup(p, length);
        value = json_is_array(value) ? json_array_get(value, strtoul(key, NULL, 10))
                                     : json_object_get(value, key);
        free(key);
        if (!value) fail_msg("no %s", path);
        p += length + (p[length] == '.');
    }
    return value;
}

static void assert_number(json_t *value, const char *path, double expected) {
    json_t *found = at(value, path);
    if (!json_is_number(found) || json_number_value(found) != expected)
        fail_msg("%s is %.17g (type %d), expected %.17g", path, json_number_value(found),
                 (int)json_typeof(found), expected);
}

static void assert_text(json_t *value, const char *path, const char *expected) {
    if (!json_is_string(at(value, path))) fail_msg("%s is no string", path);
    assert_string_equal(json_string_value(at(value, path)), expected);
}

static void assert_no(json_t *value, const char *path) {
    if (!json_is_null(at(value, path))) fail_msg("%s is not null", path);
}

static void assert_sizes(json_t *value, const char *path, size_t a, size_t b) {
    json_t *found = at(value, path);
    assert_int_equal(json_array_size(found), 2);
    assert_int_equal(json_integer_value(json_array_get(found, 0)), a);
    assert_int_equal(json_integer_value(json_array_get(found, 1)), b);
}

static void head(void **state) {
    (void)state;
    compare_result_t r;
    report_sample(&r, 2);
    json_t *o = written(&r);
    assert_text(o, "format", "mole-compare");
    assert_number(o, "version", 1);
    assert_text(o, "reference", r.reference);
    assert_text(o, "candidate", r.candidate);
    assert_text(o, "budget.name", "f32");
    assert_number(o, "budget.unit", 0x1p-24);
    assert_true(json_is_true(at(o, "differs")));
    assert_true(json_is_false(at(o, "complete")));
    assert_number(o, "compared", 11);
    static const struct {
        const char *verdict;
        int count;
    } counts[] = {{"agrees", 5},  {"suspicious", 1}, {"differs", 2},   {"inherited", 1},
                  {"missing", 1}, {"shape", 1},      {"not-finite", 1}};
    for (size_t i = 0; i < 7; i++) {
        char path[64];
        snprintf(path, sizeof path, "counts.%s", counts[i].verdict);
        assert_number(o, path, counts[i].count);
    }
    assert_number(o, "median_ratio", 2.25);
    assert_text(o, "worst_ratio", "Infinity");
    assert_number(o, "culprit.index", SAMPLE_NORM);
    assert_text(o, "culprit.name", r.row[SAMPLE_NORM].name);
    assert_number(o, "culprit.after.wrong", 1);
    assert_number(o, "culprit.after.unknown", 2);
    assert_number(o, "culprit.after.inherited", 1);
    assert_int_equal(json_array_size(at(o, "extra")), 7);
    assert_int_equal(json_array_size(at(o, "meant")), 7);
    const json_t *meant = json_array_get(at(o, "meant"), 0);
    assert_string_equal(json_string_value(json_object_get(meant, "name")), r.row[0].name);
    assert_string_equal(json_string_value(json_object_get(meant, "by")), "value");
    meant = json_array_get(at(o, "meant"), 1);
    assert_string_equal(json_string_value(json_object_get(meant, "by")), "name");
    assert_true(json_is_null(json_array_get(at(o, "meant"), 2)));
    assert_string_equal(json_string_value(json_array_get(at(o, "notes"), 0)),
                        "runs of 3 & 2 steps");
    assert_text(o, "extra.6", "port.extra.6");
    assert_int_equal(json_array_size(at(o, "rows")), SAMPLE_ROWS + 2);
    json_decref(o);
    compare_free(&r);
}

static void assert_diff(json_t *row, const char *which, const diff_t *d) {
    json_t *o = at(row, which);
    assert_number(o, "count", (double)d->count);
    assert_number(o, "max_abs", d->max_abs);
    assert_number(o, "candidate_at", d->candidate_at);
    assert_number(o, "truth_at", d->truth_at);
    assert_number(o, "rms", d->rms);
    assert_number(o, "relative_rms", d->rms / d->truth_rms);
    assert_number(o, "truth_max", d->truth_max);
    assert_number(o, "truth_rms", d->truth_rms);
    assert_number(o, "storage_floor", d->storage_floor);
    assert_number(o, "candidate_rms", d->candidate_rms);
    assert_number(o, "cosine", d->cosine);
    assert_number(o, "nan_candidate", (double)d->nan_candidate);
    assert_number(o, "nan_truth", (double)d->nan_truth);
    assert_number(o, "inf_mismatch", (double)d->inf_mismatch);
}

/* Every field of a row, all of them with values that no other field has. */
static void one_row(void **state) {
    (void)state;
    compare_result_t r;
    report_sample(&r, 0);
    compare_row_t *row = &r.row[SAMPLE_NORM];
    row->cumulative = (diff_t){8, 0.1, 5, 0.2, 0.3, 1 / 3.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0, 9, 10};
    row->isolated = (diff_t){8, 1.1, 7, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.75, 1.8, 0, 19, 20};
    row->has_bound = true;
    row->peer_rms = 2.1;
    row->ratio = 2.2;
    row->ulp_p99 = 2.3;
    row->isolated_ratio = 2.4;
    row->bound_used = 2.5;
    row->typical_used = 2.6;
    row->limit = 2.7;
    row->candidate_dtype = DTYPE_BF16;
    row->statistic = "deviation";
    row->one_row = true;
    row->batch_row = 1;
    json_t *o = written(&r), *found = at(o, "rows.1");
    assert_number(found, "index", 1);
    assert_text(found, "name", row->name);
    assert_text(found, "verdict", "differs");
    assert_text(found, "candidate_name", row->name);
    assert_text(found, "candidate_dtype", "BF16");
    assert_sizes(found, "shape", 2, 4);
    assert_sizes(found, "candidate_shape", 2, 4);
    assert_diff(found, "cumulative", &row->cumulative);
    assert_diff(found, "isolated", &row->isolated);
    assert_sizes(found, "cumulative.worst_at", 1, 1);
    assert_sizes(found, "isolated.worst_at", 1, 3);
    assert_number(found, "peer_rms", 2.1);
    assert_number(found, "ratio", 2.2);
    assert_number(found, "ulp_p99", 2.3);
    assert_text(found, "statistic", "deviation");
    assert_number(found, "batch_row", 1);
    assert_no(o, "rows.0.batch_row");
    assert_number(found, "isolated_ratio", 2.4);
    assert_number(found, "bound_used", 2.5);
    assert_number(found, "typical_used", 2.6);
    assert_number(found, "limit", 2.7);
    assert_text(found, "origin", row->origin);
    assert_text(found, "cause.kind", "epsilon");
    assert_text(found, "cause.text", row->cause.text);
    assert_int_equal(json_object_size(found), 26);
    assert_int_equal(json_object_size(at(found, "isolated")), 15);
    json_decref(o);
    compare_free(&r);
}

/* What is not known is null, what is not finite a string; neither is ever a number. */
static void not_numbers(void **state) {
    (void)state;
    compare_result_t r;
    report_sample(&r, 0);
    r.median_ratio = NAN;
    r.row[SAMPLE_CONV_IN].cumulative.truth_at = -INFINITY;
    json_t *o = written(&r);
    assert_no(o, "median_ratio");
    assert_text(o, "rows.0.cumulative.truth_at", "-Infinity");
    assert_text(o, "rows.6.cumulative.max_abs", "Infinity");
    assert_text(o, "rows.6.cumulative.candidate_at", "NaN");
    assert_number(o, "rows.6.cumulative.nan_candidate", 1);
    assert_text(o, "rows.6.ratio", "Infinity");
    assert_no(o, "rows.8.ratio");
    assert_no(o, "rows.8.peer_rms");
    assert_no(o, "rows.8.isolated");
    assert_no(o, "rows.8.isolated_ratio");
    assert_no(o, "rows.8.bound_used");
    assert_no(o, "rows.8.typical_used");
    assert_no(o, "rows.8.cause");
    static const char *const missing[] = {"candidate_name", "candidate_shape", "candidate_dtype",
                                          "cumulative",     "ratio",           "ulp_p99",
                                          "limit"};
    for (size_t i = 0; i < 7; i++) assert_no(at(o, "rows.4"), missing[i]);
    assert_no(o, "rows.5.cumulative");
    assert_no(o, "rows.5.ratio");
    assert_sizes(o, "rows.5.candidate_shape", 4, 2);
    json_decref(o);
    r.culprit = SIZE_MAX;
    r.differing = r.inherited = 0;
    o = written(&r);
    assert_no(o, "culprit");
    assert_true(json_is_false(at(o, "differs")));
    assert_number(o, "undecided", 0);
    json_decref(o);
    r.row[SAMPLE_SUSPICIOUS].decided = r.row[SAMPLE_CONV_IN].decided = 500; /* one of them agrees */
    o = written(&r);
    assert_number(o, "undecided", 1);
    json_decref(o);
    compare_free(&r);
}

static void hostile_names(void **state) {
    (void)state;
    compare_result_t r;
    report_sample_hostile(&r, 0);
    strcpy(r.candidate, "\xff/port");
    json_t *o = written(&r);
    for (size_t i = 0; i < HOSTILE_NAMES; i++) {
        const char *name =
            json_string_value(json_object_get(json_array_get(at(o, "rows"), i), "name"));
        assert_non_null(name);
        if (strstr(hostile_name[i], "bytes"))
            assert_string_equal(name, "unet." /* six bytes, none of them a character */
                                      "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                                      "\xef\xbf\xbd.bytes");
        else
            assert_string_equal(name, hostile_name[i]);
    }
    assert_text(o, "candidate", "\xef\xbf\xbd/port");
    json_decref(o);
    compare_free(&r);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void bad_paths(void **state) {
    (void)state;
    compare_result_t r;
    err_t err;
    report_sample(&r, 0);
    size_t before = scratch_entries();
    assert_int_equal(report_json(&r, scratch_path("no/such/folder.json"), &err), -1);
    assert_message(&err, "no/such/folder.json", "No such file", NULL);
    assert_int_equal(report_junit(&r, scratch_folder(), &err), -1);
    assert_message(&err, scratch_folder(), "is a directory", NULL);
    assert_int_equal(report_html(&r, NULL, NULL, NULL, scratch_path("no/page.html"), &err), -1);
    assert_message(&err, "no/page.html", "No such file", NULL);
    assert_int_equal(scratch_entries(), before);
    compare_free(&r);
}

/* One file descriptor is there for the file, none for the stream to it. */
static void no_more_files(void **state) {
    (void)state;
    compare_result_t r;
    err_t err = {""};
    struct rlimit old, limit;
    report_sample(&r, 0);
    size_t before = scratch_entries();
    int next = dup(STDIN_FILENO);
    assert_true(next >= 0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    limit = (struct rlimit){(rlim_t)next + 1, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int status = report_json(&r, scratch_path("files.json"), &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(status, -1);
    assert_message(&err, "files.json", "cannot write", "Too many open files", NULL);
    assert_int_equal(scratch_entries(), before);
    compare_free(&r);
}

static int write_any(int kind, const compare_result_t *r, const char *path, err_t *err) {
    if (kind == 0) return report_json(r, path, err);
    if (kind == 1) return report_junit(r, path, err);
    return report_html(r, NULL, NULL, NULL, path, err);
}

/* A disk that is full at any place: one message, nothing left, and what was there before stays. */
static void full_disk(void **state) {
    (void)state;
    static const char *const name[] = {"full.json", "full.xml", "full.html"};
    compare_result_t r;
    struct rlimit old, limit;
    report_sample(&r, 50);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (int kind = 0; kind < 3; kind++) {
        const char *path = scratch_text(name[kind], "old");
        size_t entries = scratch_entries(), bytes;
        static const rlim_t limits[] = {0, 1, 4096, 5000};
        for (size_t i = 0; i < 4; i++) {
            err_t err = {""};
            limit = (struct rlimit){limits[i], old.rlim_max};
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
            int status = write_any(kind, &r, path, &err);
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
            assert_int_equal(status, -1);
            assert_message(&err, name[kind], "cannot write", NULL);
            assert_int_equal(scratch_entries(), entries);
            char *content = scratch_slurp(path, &bytes);
            assert_string_equal(content, "old");
            free(content);
        }
        err_t err;
        assert_int_equal(write_any(kind, &r, path, &err), 0);
        assert_int_equal(scratch_entries(), entries);
    }
    compare_free(&r);
}

/* ---- the schema ------------------------------------------------------------------------------ */

static int validate(const char *path) {
    char *command = xasprintf("python3 tests/report/validate.py docs/compare.schema.json %s", path);
    int status = report_shell(command);
    free(command);
    return status;
}

/* The data of a page with a picture. */
static void report_with_picture(const char *path) {
    const double a[6] = {1, 2, NAN, 4, 5, 6}, b[6] = {1, 2.5, 3, 4, 5, 6.25};
    compare_row_t row = {.name = "x",
                         .candidate_name = "x",
                         .verdict = ROW_NOT_FINITE,
                         .budget = BUDGET_F32,
                         .shape = SHAPE2(2, 3),
                         .candidate_shape = SHAPE2(2, 3)};
    row.cumulative = diff_tensors(a, b, 6);
    compare_result_t r = {.row = &row,
                          .rows = 1,
                          .compared = 1,
                          .budget = BUDGET_F32,
                          .hidden = BUDGET_F32,
                          .computed = BUDGET_F32};
    trace_file_t *trace[2];
    for (int i = 0; i < 2; i++) {
        err_t err = {""};
        st_writer_t *writer;
        const char *file = scratch_path(i ? "b.safetensors" : "a.safetensors");
        if (st_writer_open(&writer, file, &err) ||
            st_writer_add(writer, "x", DTYPE_F64, row.shape, i ? b : a, &err) ||
            st_writer_finish(writer, &err) || trace_file_open(&trace[i], file, &err))
            fail_msg("%s", err.text);
    }
    json_t *value = report_json_value(&r),
           *pictures = report_pictures(&r, NULL, trace[1], trace[0], NULL);
    assert_int_equal(json_array_size(pictures), 1);
    json_object_set_new(value, "pictures", pictures);
    assert_int_equal(json_dump_file(value, path, 0), 0);
    json_decref(value);
    trace_file_close(trace[0]);
    trace_file_close(trace[1]);
}

static void schema(void **state) {
    (void)state;
    err_t err;
    compare_result_t r, none = {.culprit = SIZE_MAX,
                                .budget = BUDGET_F64,
                                .hidden = BUDGET_F64,
                                .computed = BUDGET_F64,
                                .median_ratio = NAN};
    if (validate("") == 77 || report_shell("command -v python3 >/dev/null") != 0) {
        print_message(
            "SKIP: no python3 with jsonschema to hold the JSON report against its schema\n");
        skip();
    }
    report_sample(&r, 5);
    for (size_t i = 0; i < HOSTILE_NAMES; i++) report_sample_name(&r, i, hostile_name[i]);
    const char *path = scratch_path("schema.json");
    assert_int_equal(report_json(&r, path, &err), 0);
    assert_int_equal(validate(path), 0);
    assert_int_equal(report_json(&none, path, &err), 0);
    assert_int_equal(validate(path), 0);
    report_with_picture(path);
    assert_int_equal(validate(path), 0);
    compare_free(&r);
    /* and it does refuse: a field of another name, a verdict that there is not */
    json_t *o = json_load_file(path, 0, NULL);
    json_object_set_new(o, "verdict", json_string("fine"));
    assert_int_equal(json_dump_file(o, path, 0), 0);
    assert_int_equal(validate(path), 1);
    json_decref(o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head),          cmocka_unit_test(one_row),   cmocka_unit_test(not_numbers),
        cmocka_unit_test(hostile_names), cmocka_unit_test(bad_paths), cmocka_unit_test(full_disk),
        cmocka_unit_test(no_more_files), cmocka_unit_test(schema),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
