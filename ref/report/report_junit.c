/* report_junit.c - a comparison for a continuous integration: JUnit XML.
 *
 * A test suite per step and component ("step.003/unet"), a test case per tap. A wrong tap is a
 * failure; a missing one is skipped (a failure where all were demanded), and so is one that inherited
 * its error: it is not red, because it is innocent, and not green, because nothing was proven good
 * about its numbers. A suspicious one passes and says so. */
#include <stdlib.h>
#include <string.h>

#include "report/report.h"
#include "report/report_parts.h"

/* Text or attribute: the five characters with a meaning, and in attributes the white space that a
 * reader would turn into blanks. "]]>" needs no care, because no '>' stays. */
static void put_xml(FILE *to, const char *text) {
    char *clean = report_clean(text, CLEAN_XML);
    for (const char *p = clean; *p; p++) {
        switch (*p) {
        case '&': fputs("&amp;", to); break;
        case '<': fputs("&lt;", to); break;
        case '>': fputs("&gt;", to); break;
        case '"': fputs("&quot;", to); break;
        case '\'': fputs("&#39;", to); break;
        case '\t':
        case '\n':
        case '\r': fprintf(to, "&#%d;", *p); break;
        default: fputc(*p, to);
        }
    }
    free(clean);
}

static void put_attribute(FILE *to, const char *name, const char *value) {
    fprintf(to, " %s=\"", name);
    put_xml(to, value);
    fputc('"', to);
}

/* ---- suites: the rows of one step and component, wherever they stand ------------------------- */

typedef struct {
    const char *name;
    size_t key;          /* bytes of the name that make the suite's */
    size_t index, first; /* of this row; of the suite's first row */
} member_t;

/* "step.003/unet" of "step.003/unet.conv_in"; "step.003" of "step.003/latents"; all of "image". */
static size_t suite_length(const char *name) {
    const char *slash = strrchr(name, '/'), *rest = slash ? slash + 1 : name;
    const char *dot = strchr(rest, '.');
    if (dot) return (size_t)(dot - name);
    return slash ? (size_t)(slash - name) : strlen(name);
}

static int compare_keys(const member_t *x, const member_t *y) {
    int order = memcmp(x->name, y->name, x->key < y->key ? x->key : y->key);
    return order ? order : (x->key > y->key) - (x->key < y->key);
}

static int by_key(const void *a, const void *b) {
    const member_t *x = a, *y = b;
    int order = compare_keys(x, y);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

static int by_suite(const void *a, const void *b) {
    const member_t *x = a, *y = b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* The rows, suite by suite, suites in the order in which they begin. */
static member_t *members_of(const compare_result_t *result) {
    member_t *member = xmalloc((result->rows + 1) * sizeof *member);
    for (size_t i = 0; i < result->rows; i++) {
        const char *name = result->row[i].name;
        member[i] = (member_t){name, suite_length(name), i, i};
    }
    qsort(member, result->rows, sizeof *member, by_key);
    for (size_t i = 1; i < result->rows; i++)
        if (compare_keys(&member[i - 1], &member[i]) == 0) member[i].first = member[i - 1].first;
    qsort(member, result->rows, sizeof *member, by_suite);
    return member;
}

/* ---- cases ----------------------------------------------------------------------------------- */

static bool is_skipped(const compare_result_t *result, const compare_row_t *row) {
    return row->verdict == ROW_INHERITED || compare_row_undecided(row) ||
           (row->verdict == ROW_MISSING && !result->complete);
}

static void put_details(FILE *to, const compare_row_t *row) {
    char shape[SHAPE_TEXT];
    fprintf(to, "%s", shape_text(shape, row->shape));
    if (report_measured(row)) {
        char *numbers = report_diff_text(&row->cumulative, row->shape);
        fputs("\ncumulative: ", to);
        put_xml(to, numbers);
        free(numbers);
        if (row->has_isolated) {
            numbers = report_diff_text(&row->isolated, row->shape);
            fputs("\nisolated: ", to);
            put_xml(to, numbers);
            free(numbers);
        }
    }
    if (*row->origin) {
        fprintf(to, "\nlimit: %.3g: ", row->limit);
        put_xml(to, row->origin);
    }
    if (*row->cause.text) {
        fputs("\ncause: ", to);
        put_xml(to, row->cause.text);
    }
}

static void put_stretch(FILE *to, const compare_result_t *result) {
    char *where = report_stretch_text(result);
    if (where) {
        put_xml(to, where);
        fputc('\n', to);
    }
    free(where);
}

static void put_case(FILE *to, const compare_result_t *result, const member_t *member) {
    const compare_row_t *row = &result->row[member->index];
    char *reason = report_reason(row), *suite = xasprintf("%.*s", (int)member->key, member->name);
    fputs("  <testcase", to);
    put_attribute(to, "classname", suite);
    put_attribute(to, "name", row->name);
    fputs(" time=\"0\"", to);
    if (report_fails(result, row)) {
        fputs("><failure", to);
        put_attribute(to, "type", report_verdict(row->verdict));
        put_attribute(to, "message", reason);
        fputs(member->index == result->culprit ? ">the first culprit\n" : ">", to);
        if (member->index == result->culprit) put_stretch(to, result);
        put_details(to, row);
        fputs("</failure></testcase>\n", to);
    } else if (is_skipped(result, row)) {
        fputs("><skipped", to);
        put_attribute(to, "message", reason);
        fputs("/></testcase>\n", to);
    } else if (row->verdict == ROW_SUSPICIOUS) {
        fputs("><system-out>suspicious: ", to);
        put_xml(to, reason);
        fputs("</system-out></testcase>\n", to);
    } else {
        fputs("/>\n", to);
    }
    free(reason);
    free(suite);
}

static void put_counts(FILE *to, const compare_result_t *result, const member_t *member,
                       size_t count) {
    size_t failures = 0, skipped = 0;
    for (size_t i = 0; i < count; i++) {
        failures += report_fails(result, &result->row[member[i].index]);
        skipped += is_skipped(result, &result->row[member[i].index]);
    }
    fprintf(to, " tests=\"%zu\" failures=\"%zu\" errors=\"0\" skipped=\"%zu\" time=\"0\"", count,
            failures, skipped);
}

static void put_suite(FILE *to, const compare_result_t *result, const member_t *member,
                      size_t count) {
    char *name = xasprintf("%.*s", (int)member->key, member->name);
    fputs(" <testsuite", to);
    put_attribute(to, "name", name);
    put_counts(to, result, member, count);
    fputs(">\n", to);
    for (size_t i = 0; i < count; i++) put_case(to, result, &member[i]);
    fputs(" </testsuite>\n", to);
    free(name);
}

/* What belongs to no tap: who was compared, and names that only the candidate has. The case fails when
 * the comparison does and no row says why, so that a report never looks better than the exit code. */
static void put_overall(FILE *to, const compare_result_t *result, bool silent_failure) {
    fprintf(to,
            " <testsuite name=\"comparison\" tests=\"1\" failures=\"%d\" errors=\"0\" skipped=\"0\""
            " time=\"0\">\n  <properties>\n   <property name=\"reference\"",
            silent_failure);
    put_attribute(to, "value", result->reference);
    fputs("/>\n   <property name=\"candidate\"", to);
    put_attribute(to, "value", result->candidate);
    fputs("/>\n   <property name=\"precision\"", to);
    put_attribute(to, "value", budget_name(result->budget));
    fputs("/>\n  </properties>\n  <testcase classname=\"comparison\" name=\"compared\" time=\"0\">",
          to);
    if (silent_failure) fputs("<failure type=\"differs\" message=\"the comparison failed\"/>", to);
    fprintf(to, "<system-out>%zu of %zu taps compared, %zu extra", result->compared, result->rows,
            result->extras);
    for (size_t i = 0; i < result->notes; i++) {
        fputs("\nnote: ", to);
        put_xml(to, result->note[i]);
    }
    for (size_t i = 0; i < result->extras; i++) {
        char *extra = report_extra_text(result, i);
        fputs("\nextra: ", to);
        put_xml(to, extra);
        free(extra);
    }
    fputs("</system-out></testcase>\n </testsuite>\n", to);
}

int report_junit(const compare_result_t *result, const char *path, err_t *err) {
    report_file_t file;
    size_t failures = 0, skipped = 0;
    if (report_file_open(&file, path, err)) return -1;
    for (size_t i = 0; i < result->rows; i++) {
        failures += report_fails(result, &result->row[i]);
        skipped += is_skipped(result, &result->row[i]);
    }
    bool failed = compare_differs(result) || compare_undecided(result) > 0;
    bool silent_failure = failures == 0 && failed;
    fprintf(file.to,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"mole compare\""
            " tests=\"%zu\" failures=\"%zu\" errors=\"0\" skipped=\"%zu\" time=\"0\">\n",
            result->rows + 1, failures + silent_failure, skipped);
    put_overall(file.to, result, silent_failure);
    member_t *member = members_of(result);
    for (size_t from = 0, to; from < result->rows; from = to) {
        for (to = from + 1; to < result->rows && member[to].first == member[from].first;) to++;
        put_suite(file.to, result, &member[from], to - from);
    }
    free(member);
    fputs("</testsuites>\n", file.to);
    return report_file_close(&file, 0, err);
}
