/* test_report_text.c - what a comparison says on a terminal, line by line. */
#include <math.h>
#include <utf8proc.h>

#include "../unit.h"
#include "report/report.h"
#include "report/report_parts.h"
#include "report_sample.h"

/* What the report says: fresh memory. */
static char *text_of(const compare_result_t *result, bool all) {
    FILE *to = tmpfile();
    assert_non_null(to);
    assert_int_equal(report_text(result, all, to), 0);
    long bytes = ftell(to);
    char *text = xmalloc((size_t)bytes + 1);
    rewind(to);
    assert_int_equal(fread(text, 1, (size_t)bytes, to), bytes);
    text[bytes] = '\0';
    fclose(to);
    return text;
}

static void assert_says(const char *text, const char *words) {
    if (!strstr(text, words)) fail_msg("should say \"%s\"; says:\n%s", words, text);
}

static void assert_silent(const char *text, const char *words) {
    if (strstr(text, words)) fail_msg("should not say \"%s\"; says:\n%s", words, text);
}

/* Columns on a terminal; fails on bytes that are not UTF-8 and on characters that steer it. */
static size_t columns_of(const char *line, size_t bytes) {
    size_t columns = 0;
    for (size_t at = 0; at < bytes;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)line + at,
                                                 (utf8proc_ssize_t)(bytes - at), &c);
        if (step <= 0) fail_msg("not UTF-8: %.*s", (int)bytes, line);
        utf8proc_category_t kind = utf8proc_category(c);
        if (kind == UTF8PROC_CATEGORY_CC || kind == UTF8PROC_CATEGORY_CF)
            fail_msg("U+%04X in: %.*s", (unsigned)c, (int)bytes, line);
        columns += (size_t)utf8proc_charwidth(c);
        at += (size_t)step;
    }
    return columns;
}

static size_t check_lines(const char *text) {
    size_t lines = 0;
    for (const char *line = text, *end; *line; line = end + 1, lines++) {
        end = strchr(line, '\n');
        assert_non_null(end);
        size_t columns = columns_of(line, (size_t)(end - line));
        if (columns > 160) fail_msg("%zu columns: %.*s", columns, (int)(end - line), line);
    }
    return lines;
}

/* The line that contains `words`, without its end: fresh memory. */
static char *line_with(const char *text, const char *words) {
    const char *at = strstr(text, words);
    if (!at) fail_msg("no line with \"%s\" in:\n%s", words, text);
    while (at > text && at[-1] != '\n') at--;
    return strndup(at, strcspn(at, "\n"));
}

static void summary(void **state) {
    (void)state;
    compare_result_t r;
    report_sample(&r, 0);
    char *text = text_of(&r, false);
    static const char expected[] =
        "reference  golden/runs/unet-step\n"
        "candidate  port.safetensors\n"
        "precision  f32: float32, as the candidate's numbers show (stored as F32); one rounding is "
        "off by at most 6.0e-08\n"
        "verdict    DIFFERS: 9 of 10 taps compared; 2 differ, 1 not finite, 1 of another shape; "
        "1 inherited, 1 suspicious, 3 agree; judged as f32\n"
        "ratio      median 2.2x, worst inf of the rounding error expected\n"
        "note       runs of 3 & 2 steps\n"
        "culprit    #1 unet.down_blocks.0.resnets.0.norm1 (2, 4)\n"
        "  because  rms error is 59x the rounding error expected here, the worst 0.001 of the "
        "tensor's largest number, for its own inputs; limit 16\n"
        "  isolated 59x: max 0.0025 at [1,2] (1.5125 for 1.5), rel rms 0.004, cosine 0.99999\n"
        "  cumul.   60x: max 0.0125 at [1,2] (1.5125 for 1.5), rel rms 0.004, cosine 0.99999\n"
        "  limit    16: times PyTorch's own float32 error, measured\n"
        "  cause    epsilon 1e-06 instead of 1e-05 explains 99.8% of it\n"
        "  after it not innocent: 1 later tap is wrong by itself as well, the first of them #5 "
        "unet.down_blocks.0.resnets.0.norm2; 1 inherited, 2 unknown\n"
        "missing    1 of the reference's taps: not in the candidate, so not judged\n"
        "           unet.down_blocks.0.resnets.0.time_emb_proj\n"
        "extra      7 of the candidate's taps: not in the reference, so not compared\n"
        "           port.extra.0, which holds the numbers of unet.conv_in\n"
        "           port.extra.1, perhaps unet.down_blocks.0.resnets.0.conv1\n"
        "           port.extra.2\n"
        "           port.extra.3\n"
        "           port.extra.4\n"
        "           ... and 2 more\n";
    assert_memory_equal(text, expected, strlen(expected));
    check_lines(text);
    free(text);
    text = text_of(&r, true);
    assert_says(text, "port.extra.6\n");
    assert_silent(text, "and 2 more");
    free(text);
    r.complete = true;
    text = text_of(&r, false);
    assert_says(
        text,
        "missing    1 of the reference's taps: not in the candidate, and all were demanded\n");
    free(text);
    compare_free(&r);
}

/* Every cell of rows of each kind, and columns that stand under each other. */
static void table(void **state) {
    (void)state;
    compare_result_t r;
    report_sample(&r, 0);
    char *text = text_of(&r, true);
    char *from = strstr(text, "\n\n") + 2;
    assert_int_equal(strncmp(from, "all taps, in the order of execution\n\n", 37), 0);
    static const char *const rows[SAMPLE_ROWS] = {
        "0 unet.conv_in (2,4) 1.3e-02 [1,2] 4.0e-03 1-1.0e-05 3.5 0.8x 0.5x 31% agrees",
        "resnets.0.norm1 (2,4) 1.3e-02 [1,2] 4.0e-03 1-1.0e-05 3.5 60x 59x - DIFFERS",
        "resnets.0.conv1 (2,4) 1.3e-02 [1,2] 4.0e-03 1-1.0e-05 3.5 45x 0.8x - inherited",
        "(2,4) 1.3e-02 [1,2] 4.0e-03 1-1.0e-05 3.5 2.2x 2.0x 20% suspicious",
        "4 unet.down_blocks.0.resnets.0.time_emb_proj (2,4) - - - - - - - - missing",
        "5 unet.down_blocks.0.resnets.0.norm2 (2,4) - (4,2) - - - - - - SHAPE",
        "6 unet.mid_block.resnets.0 (2,4) inf [1,2] inf 0.00000 3.5 inf - - NOT FINITE",
        "7 unet.conv_out (2,4) 1.3e-02 [1,2] 4.0e-03 1-1.0e-05 3.5 1.0e+07x - - DIFFERS",
        "8 vae.decoder.conv_in (2,4) 1.3e-02 [1,2] 4.0e-03 1-1.0e-05 3.5 - - - agrees",
        "9 step.001/latents (2,4) 0.0e+00 [0,0] 0.0e+00 1 0.0 0x - - agrees",
    };
    const char *line = strchr(strstr(from, "\n\n") + 2, '\n') + 1;
    size_t verdict_column = 0;
    for (size_t i = 0; i < SAMPLE_ROWS; i++, line = strchr(line, '\n') + 1) {
        char squeezed[512];
        size_t used = 0, bytes = strcspn(line, "\n");
        for (size_t k = 0; k < bytes; k++)
            if (line[k] != ' ' || (used && squeezed[used - 1] != ' ')) squeezed[used++] = line[k];
        squeezed[used] = '\0';
        if (!strstr(squeezed, rows[i]))
            fail_msg("row %zu is \"%s\", expected \"%s\"", i, squeezed, rows[i]);
        const char *verdict = line;
        for (const char *p = line; p < line + bytes; p++)
            if (*p == ' ' && strncmp(p, " FINITE", 7) != 0) verdict = p + 1;
        if (i == 0) verdict_column = (size_t)(verdict - line);
        assert_int_equal(verdict - line, verdict_column);
    }
    assert_int_equal(*line, '\n'); /* the legend's paragraph */
    assert_says(text, "\n>1 unet.down_blocks.0.resnets.0.norm1 ");
    assert_says(text, "\n 2 unet.down_blocks.0.resnets.0.conv1 ");
    free(text);
    compare_free(&r);
}

/* By default culprit and worst ten, however many agree; with all, every row in order. */
static void worst_and_all(void **state) {
    (void)state;
    compare_result_t r;
    report_sample(&r, 500);
    char *text = text_of(&r, false);
    assert_says(text, "the worst taps, in the order of execution");
    /* 6 rows were found wanting; of the rest come those of the largest ratio, and none that is missing */
    assert_says(text, "unet.filler.499");
    assert_says(text, "unet.filler.498");
    assert_says(text, "unet.filler.497");
    assert_says(text, "unet.filler.496");
    assert_silent(text, "unet.filler.495");
    assert_silent(text, "missing\n");
    assert_silent(text, "vae.decoder.conv_in");
    free(text);
    text = text_of(&r, true);
    const char *at = text;
    for (size_t i = 0; i < 500; i++) {
        char words[64];
        snprintf(words, sizeof words, " unet.filler.%zu ", i);
        at = strstr(at, words);
        if (!at) fail_msg("no %s in its place", words);
    }
    check_lines(text);
    free(text);
    /* the culprit is shown although ten others are worse */
    for (size_t i = 0; i < 20; i++) {
        r.row[SAMPLE_ROWS + i].verdict = ROW_DIFFERS;
        r.row[SAMPLE_ROWS + i].ratio = 1e12;
    }
    size_t index[11], count = report_worst(&r, 10, index);
    assert_int_equal(count, 11);
    assert_int_equal(index[0], SAMPLE_NORM);
    for (size_t i = 1; i < count; i++) assert_true(index[i] > index[i - 1]);
    compare_free(&r);
}

static void after_the_culprit(void **state) {
    (void)state;
    compare_result_t r;
    report_sample(&r, 0);
    r.row[SAMPLE_SHAPE].verdict = ROW_AGREES;
    char *said = report_after_text(&r);
    assert_string_equal(said,
                        "not known: 2 later taps differ, and the inputs of these modules were "
                        "not seen; mend the culprit and compare again");
    free(said);
    r.row[SAMPLE_UNKNOWN].verdict = ROW_AGREES;
    r.row[SAMPLE_NOT_FINITE].verdict = ROW_INHERITED;
    said = report_after_text(&r);
    assert_string_equal(said,
                        "innocent: 2 later taps inherited the error and are right for their own "
                        "inputs");
    free(said);
    r.row[SAMPLE_INHERITED].verdict = ROW_AGREES;
    said = report_after_text(&r);
    assert_string_equal(said, "innocent: 1 later tap inherited the error and is right for its own "
                              "inputs");
    free(said);
    r.row[SAMPLE_NOT_FINITE].verdict = ROW_AGREES;
    said = report_after_text(&r);
    assert_string_equal(said, "innocent: no later tap differs");
    free(said);
    r.culprit = r.rows - 1;
    said = report_after_text(&r);
    assert_string_equal(said, "nothing: it is the last tap");
    free(said);
    compare_free(&r);
}

static void agreeing_result(void **state) {
    (void)state;
    compare_result_t r;
    report_sample(&r, 0);
    for (size_t i = 0; i < r.rows; i++) r.row[i].verdict = ROW_AGREES;
    r.culprit = SIZE_MAX;
    r.differing = r.inherited = 0;
    char *text = text_of(&r, false);
    assert_says(text, "verdict    agrees: ");
    assert_silent(text, "culprit  ");
    assert_silent(text, "missing  ");
    free(text);
    compare_free(&r);
}

static void hostile_names(void **state) {
    (void)state;
    compare_result_t r;
    report_sample_hostile(&r, 2);
    strcpy(r.candidate, "a\nb\x1b[31m\xff");
    strcpy(r.row[SAMPLE_NORM].cause.text, "\x1b[2J");
    char *text = text_of(&r, true);
    check_lines(text);
    assert_says(text, "candidate  a?b?[31m\xef\xbf\xbd\n");
    assert_says(text, "unet.?gnp.?rtl");
    free(text);
    compare_free(&r);
}

/* Names of any length end up in 160 columns, their two ends kept, whole characters only. */
static void long_names(void **state) {
    (void)state;
    compare_result_t r;
    char name[4001] = "", wide[3001] = "";
    for (size_t i = 0; i + 1 < sizeof name; i++) name[i] = (char)('a' + i % 26);
    for (size_t i = 0; i + 3 < sizeof wide; i += 3) memcpy(wide + i, "\xe5\xb1\x82", 3);
    memcpy(name, "begin.", 6);
    memcpy(name + 3990, ".theveryend", 10);
    report_sample(&r, 0);
    report_sample_name(&r, SAMPLE_NO_PEER, name);
    report_sample_name(&r, SAMPLE_EXACT, wide);
    r.row[SAMPLE_CONV_IN].shape = r.row[SAMPLE_CONV_IN].candidate_shape =
        (shape_t){8, {1000000000, 1000000000, 1, 1, 1, 1, 1, 1000000000}};
    char *text = text_of(&r, true);
    check_lines(text);
    char *line = line_with(text, "begin.");
    assert_non_null(strstr(line, "..."));
    assert_non_null(strstr(line, ".theveryen"));
    assert_int_equal(columns_of(line, strlen(line)) <= 160, 1);
    free(line);
    free(text);
    compare_free(&r);
}

static void nothing_in_it(void **state) {
    (void)state;
    compare_result_t none = {
        .culprit = SIZE_MAX, .budget = BUDGET_F32, .median_ratio = NAN, .worst_ratio = NAN};
    char *text = text_of(&none, false);
    assert_says(text, "0 of 0 taps compared");
    assert_silent(text, "ratio ");
    free(text);
}

static void failing_stream(void **state) {
    (void)state;
    compare_result_t r;
    report_sample(&r, 0);
    FILE *to = fopen("/dev/full", "w");
    assert_non_null(to);
    setvbuf(to, NULL, _IONBF, 0);
    assert_int_equal(report_text(&r, true, to), -1);
    fclose(to);
    compare_free(&r);
}

static void numbers(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *ratio, *share;
    } cases[] = {{0, "0x", "0%"},
                 {0.004, "0.004x", "0.4%"},
                 {0.0949, "0.09x", "9.5%"},
                 {0.75, "0.8x", "75%"},
                 {1.34, "1.3x", "134%"},
                 {9.96, "10x", "996%"},
                 {60.2, "60x", "6020%"},
                 {99999, "99999x", "1e+07%"},
                 {1234567, "1.2e+06x", "1.2e+08%"},
                 {INFINITY, "inf", "inf"},
                 {NAN, "-", "-"}};
    char text[NUMBER_TEXT];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(report_ratio(text, cases[i].value), cases[i].ratio);
        assert_string_equal(report_share(text, cases[i].value), cases[i].share);
    }
    assert_true(strlen(report_ratio(text, 1.7e308)) < NUMBER_TEXT);
    assert_true(strlen(report_share(text, 1e300)) < NUMBER_TEXT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(summary),         cmocka_unit_test(table),
        cmocka_unit_test(worst_and_all),   cmocka_unit_test(after_the_culprit),
        cmocka_unit_test(agreeing_result), cmocka_unit_test(hostile_names),
        cmocka_unit_test(long_names),      cmocka_unit_test(nothing_in_it),
        cmocka_unit_test(failing_stream),  cmocka_unit_test(numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
