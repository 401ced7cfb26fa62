/* test_report_junit.c - the JUnit report: well-formed whatever names it holds, its counts true. */
#include <ctype.h>
#include <utf8proc.h>

#include "../scratch.h"
#include "../unit.h"
#include "report/report.h"
#include "report/report_parts.h"
#include "report_sample.h"

/* ---- a parser of as much XML as a JUnit report may use --------------------------------------- */

enum { DEPTH = 8, NODES = 4096, ATTRIBUTES = 8, TEXT = 1024 };

typedef struct {
    char tag[32], text[TEXT];
    char key[ATTRIBUTES][32], value[ATTRIBUTES][TEXT];
    int attributes, parent;
} node_t;

typedef struct {
    const char *at;
    node_t *node;
    int nodes;
} xml_t;

static void expect(xml_t *x, const char *words) {
    if (strncmp(x->at, words, strlen(words)) != 0)
        fail_msg("expected '%s' at: %.60s", words, x->at);
    x->at += strlen(words);
}

static void skip_space(xml_t *x) {
    while (isspace((unsigned char)*x->at)) x->at++;
}

static void read_word(xml_t *x, char word[32]) {
    size_t n = strcspn(x->at, " \n\t=/><\"'&");
    if (n == 0 || n > 31) fail_msg("no name at: %.60s", x->at);
    memcpy(word, x->at, n);
    word[n] = '\0';
    x->at += n;
}

/* Text up to one of `ends`, entities resolved, every character one that XML 1.0 holds. */
static void read_text(xml_t *x, const char *ends, char out[TEXT]) {
    static const struct {
        const char *name;
        char c;
    } entity[] = {{"&amp;", '&'},  {"&lt;", '<'},  {"&gt;", '>'},   {"&quot;", '"'},
                  {"&#39;", '\''}, {"&#9;", '\t'}, {"&#10;", '\n'}, {"&#13;", '\r'}};
    size_t used = 0;
    while (!strchr(ends, *x->at)) {
        utf8proc_int32_t c;
        utf8proc_ssize_t bytes = utf8proc_iterate((const utf8proc_uint8_t *)x->at, -1, &c);
        if (bytes <= 0) fail_msg("not UTF-8 at: %.60s", x->at);
        if ((c < 0x20 && c != '\n') || (c >= 0x7f && c < 0xa0) || c == 0xfffe || c == 0xffff)
            fail_msg("U+%04X at: %.60s", (unsigned)c, x->at);
        if (c == '<' || strncmp(x->at, "]]>", 3) == 0) fail_msg("bare markup at: %.60s", x->at);
        size_t known = 0;
        if (c == '&') {
            while (known < 8 && strncmp(x->at, entity[known].name, strlen(entity[known].name)) != 0)
                known++;
            if (known == 8) fail_msg("no entity at: %.60s", x->at);
            bytes = (utf8proc_ssize_t)strlen(entity[known].name);
        }
        if (used + 4 < TEXT) {
            if (c == '&')
                out[used++] = entity[known].c;
            else
                memcpy(out + used, x->at, (size_t)bytes), used += (size_t)bytes;
        }
        x->at += bytes;
    }
    out[used] = '\0';
}

static void read_attribute(xml_t *x, node_t *n) {
    assert_true(n->attributes < ATTRIBUTES);
    read_word(x, n->key[n->attributes]);
    for (int i = 0; i < n->attributes; i++)
        assert_string_not_equal(n->key[i], n->key[n->attributes]);
    expect(x, "=\"");
    read_text(x, "\"\n", n->value[n->attributes++]); /* a bare line end would become a blank */
    expect(x, "\"");
}

static void read_element(xml_t *x, int parent, int depth) {
    assert_true(x->nodes < NODES && depth < DEPTH);
    int self = x->nodes++;
    node_t *n = &x->node[self];
    *n = (node_t){.parent = parent};
    expect(x, "<");
    read_word(x, n->tag);
    for (skip_space(x); *x->at != '>' && *x->at != '/'; skip_space(x)) read_attribute(x, n);
    if (*x->at == '/') {
        expect(x, "/>");
        return;
    }
    expect(x, ">");
    for (;;) {
        char text[TEXT];
        read_text(x, "<", text);
        if (text[strspn(text, " \n")]) memcpy(n->text, text, TEXT);
        if (x->at[1] == '/') break;
        read_element(x, self, depth + 1);
    }
    expect(x, "</");
    expect(x, n->tag);
    expect(x, ">");
}

/* ---- the report ------------------------------------------------------------------------------ */

static char *file_text;

static xml_t report_of(const compare_result_t *result) {
    err_t err;
    size_t bytes;
    const char *path = scratch_path("report.xml");
    if (report_junit(result, path, &err)) fail_msg("%s", err.text);
    file_text = scratch_slurp(path, &bytes);
    assert_int_equal(strlen(file_text), bytes);
    xml_t x = {file_text, calloc(NODES, sizeof(node_t)), 0};
    assert_non_null(x.node);
    expect(&x, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    read_element(&x, -1, 0);
    expect(&x, "\n");
    assert_int_equal(*x.at, '\0');
    return x;
}

static void report_done(xml_t *x, compare_result_t *result) {
    free(x->node);
    free(file_text);
    if (result) compare_free(result);
}

static const char *attribute(const node_t *n, const char *key) {
    for (int i = 0; i < n->attributes; i++)
        if (strcmp(n->key[i], key) == 0) return n->value[i];
    fail_msg("<%s> without %s", n->tag, key);
    return NULL;
}

static int number(const node_t *n, const char *key) {
    return (int)strtol(attribute(n, key), NULL, 10);
}

static bool inside(const xml_t *x, int node, int outer) {
    for (; node >= 0; node = x->node[node].parent)
        if (node == outer) return true;
    return false;
}

static int count_in(const xml_t *x, int outer, const char *tag) {
    int count = 0;
    for (int i = 0; i < x->nodes; i++)
        count += strcmp(x->node[i].tag, tag) == 0 && inside(x, i, outer);
    return count;
}

/* What every suite and the whole say of themselves is what they hold. */
static void check_counts(const xml_t *x) {
    for (int i = 0; i < x->nodes; i++) {
        const node_t *n = &x->node[i];
        if (strncmp(n->tag, "testsuite", 9) != 0) continue;
        assert_int_equal(number(n, "tests"), count_in(x, i, "testcase"));
        assert_int_equal(number(n, "failures"), count_in(x, i, "failure"));
        assert_int_equal(number(n, "skipped"), count_in(x, i, "skipped"));
        assert_int_equal(number(n, "errors"), 0);
    }
}

/* The case of a name, and its child of a tag (NULL: none). */
static const node_t *child_of(const xml_t *x, const char *name, const char *tag) {
    for (int i = 0; i < x->nodes; i++) {
        if (strcmp(x->node[i].tag, "testcase") != 0) continue;
        if (strcmp(attribute(&x->node[i], "name"), name) != 0) continue;
        for (int k = i + 1; k < x->nodes; k++)
            if (x->node[k].parent == i && strcmp(x->node[k].tag, tag) == 0) return &x->node[k];
        return NULL;
    }
    fail_msg("no test case '%s'", name);
    return NULL;
}

static void cases(void **state) {
    (void)state;
    compare_result_t r;
    report_sample(&r, 3);
    xml_t x = report_of(&r);
    check_counts(&x);
    assert_int_equal(number(&x.node[0], "tests"), (int)r.rows + 1);
    assert_int_equal(number(&x.node[0], "failures"), 4);
    assert_int_equal(number(&x.node[0], "skipped"), 2);
    static const char *const child[] = {NULL,      "failure", "skipped", "system-out", "skipped",
                                        "failure", "failure", "failure", NULL,         NULL};
    static const char *const any[] = {"failure", "skipped", "system-out"};
    for (size_t i = 0; i < SAMPLE_ROWS; i++)
        for (size_t k = 0; k < 3; k++) {
            bool wanted = child[i] && strcmp(child[i], any[k]) == 0;
            assert_int_equal(child_of(&x, r.row[i].name, any[k]) != NULL, wanted);
        }
    const node_t *culprit = child_of(&x, r.row[SAMPLE_NORM].name, "failure");
    assert_string_equal(attribute(culprit, "type"), "differs");
    assert_non_null(strstr(attribute(culprit, "message"), "59x"));
    static const char *const words[] = {"the first culprit", "cumulative: max 0.0125 at [1,2]",
                                        "isolated: max 0.0025", "limit: 16: times PyTorch's own",
                                        "cause: epsilon 1e-06"};
    for (size_t i = 0; i < 5; i++)
        if (!strstr(culprit->text, words[i])) fail_msg("no '%s' in: %s", words[i], culprit->text);
    const node_t *shape = child_of(&x, r.row[SAMPLE_SHAPE].name, "failure");
    assert_string_equal(attribute(shape, "type"), "shape");
    assert_string_equal(attribute(shape, "message"), "shape is (4, 2), expected (2, 4)");
    assert_null(strstr(shape->text, "the first culprit"));
    assert_string_equal(attribute(child_of(&x, r.row[SAMPLE_NOT_FINITE].name, "failure"), "type"),
                        "not-finite");
    report_done(&x, &r);
}

static void assert_suites(const xml_t *x, const char *const *names, size_t count) {
    size_t seen = 0;
    for (int i = 0; i < x->nodes; i++) {
        if (strcmp(x->node[i].tag, "testsuite") != 0) continue;
        assert_true(seen < count);
        assert_string_equal(attribute(&x->node[i], "name"), names[seen]);
        seen++;
    }
    assert_int_equal(seen, count);
}

/* One suite a step and component, in the order in which they begin, with all their taps in order. */
static void suites(void **state) {
    (void)state;
    compare_result_t r;
    report_sample(&r, 0);
    static const char *const taps[SAMPLE_ROWS] = {
        "step.001/unet.a", "prompt_embeds", "step.000/unet.b", "step.001/latents", "vae.c",
        "step.001/unet.d", "image",         "step.000/unet.e", "step.001/guided",  "step.0/unet.f"};
    for (size_t i = 0; i < SAMPLE_ROWS; i++) report_sample_name(&r, i, taps[i]);
    xml_t x = report_of(&r);
    check_counts(&x);
    static const char *const suite[] = {"comparison",    "step.001/unet", "prompt_embeds",
                                        "step.000/unet", "step.001",      "vae",
                                        "image",         "step.0/unet"};
    assert_suites(&x, suite, 8);
    const char *const order[] = {taps[0], taps[5], taps[1], taps[2], taps[7],
                                 taps[3], taps[8], taps[4], taps[6], taps[9]};
    size_t seen = 0;
    for (int i = 0; i < x.nodes; i++) {
        if (strcmp(x.node[i].tag, "testcase") != 0) continue;
        if (seen > 0) assert_string_equal(attribute(&x.node[i], "name"), order[seen - 1]);
        assert_string_equal(attribute(&x.node[i], "classname"),
                            attribute(&x.node[x.node[i].parent], "name"));
        seen++;
    }
    assert_int_equal(seen, SAMPLE_ROWS + 1);
    report_done(&x, &r);
}

/* A comparison that fails although no row does is not green. */
static void never_greener_than_the_verdict(void **state) {
    (void)state;
    compare_result_t r;
    report_sample(&r, 0);
    for (size_t i = 0; i < r.rows; i++) r.row[i].verdict = ROW_INHERITED;
    xml_t x = report_of(&r);
    check_counts(&x);
    assert_non_null(child_of(&x, "compared", "failure"));
    assert_non_null(strstr(file_text, "note: runs of 3 &amp; 2 steps"));
    report_done(&x, NULL);
    for (size_t i = 0; i < r.rows; i++) r.row[i].verdict = ROW_AGREES;
    r.differing = r.inherited = 0;
    x = report_of(&r);
    check_counts(&x);
    assert_null(child_of(&x, "compared", "failure"));
    assert_int_equal(number(&x.node[0], "failures"), 0);
    report_done(&x, NULL);
    /* What nobody can decide is skipped, and no agreement. */
    r.row[SAMPLE_SUSPICIOUS].verdict = ROW_SUSPICIOUS;
    r.row[SAMPLE_SUSPICIOUS].decided = 500;
    x = report_of(&r);
    check_counts(&x);
    assert_non_null(child_of(&x, r.row[SAMPLE_SUSPICIOUS].name, "skipped"));
    assert_non_null(child_of(&x, "compared", "failure"));
    report_done(&x, &r);
}

/* A missing tap is skipped, unless all were demanded. */
static void missing_taps(void **state) {
    (void)state;
    compare_result_t r;
    report_sample(&r, 0);
    r.complete = true;
    xml_t x = report_of(&r);
    check_counts(&x);
    const node_t *missing = child_of(&x, r.row[SAMPLE_MISSING].name, "failure");
    assert_non_null(missing);
    assert_string_equal(attribute(missing, "type"), "missing");
    assert_null(child_of(&x, r.row[SAMPLE_MISSING].name, "skipped"));
    report_done(&x, &r);
}

static void hostile_names(void **state) {
    (void)state;
    compare_result_t r;
    report_sample_hostile(&r, 2);
    strcpy(r.row[SAMPLE_NORM].cause.text, "]]><failure>\x01");
    strcpy(r.candidate, "\"\n\t<&\xff");
    xml_t x = report_of(&r);
    check_counts(&x);
    /* What XML can hold comes back as it was. */
    for (size_t i = 0; i < 6; i++) child_of(&x, hostile_name[i], "none");
    child_of(&x, "unet.[2J.ctl", "none");
    child_of(&x, "unet.\xe5\xb1\x82\xf0\x9f\x98\x80.wide", "none");
    assert_non_null(strstr(child_of(&x, hostile_name[1], "failure")->text, "cause: ]]><failure>"));
    const char *candidate = NULL;
    for (int i = 0; i < x.nodes; i++)
        if (strcmp(x.node[i].tag, "property") == 0 &&
            strcmp(attribute(&x.node[i], "name"), "candidate") == 0)
            candidate = attribute(&x.node[i], "value");
    assert_string_equal(candidate, "\"\n\t<&\xef\xbf\xbd");
    report_done(&x, NULL);
    if (report_shell("command -v xmllint >/dev/null") != 0) {
        print_message("SKIP: no xmllint to read the JUnit report as well\n");
    } else {
        char *command = xasprintf("xmllint --noout --nonet '%s'", scratch_path("report.xml"));
        assert_int_equal(report_shell(command), 0);
        free(command);
    }
    compare_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cases),
        cmocka_unit_test(suites),
        cmocka_unit_test(never_greener_than_the_verdict),
        cmocka_unit_test(missing_taps),
        cmocka_unit_test(hostile_names),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
