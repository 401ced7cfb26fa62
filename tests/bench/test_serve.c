/* mole bench --serve: one answer a line, and memory that is the program's own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli/program.h"
#include "../fixture.h"
#include "../scratch.h"

#define SERVE "bench --serve vae_decoder --model synth:sd15-tiny --width 64 --height 64"

/* Standard input is a file, and nothing stands between us and the program: the shell becomes it. */
static ran_t serve(const char *lines) {
    const char *input = scratch_text("lines", lines);
    char script[1024];
    snprintf(script, sizeof script, "exec '%s' " SERVE " <'%s'", program_path(), input);
    run_how_t shell = {.program = "/bin/sh"};
    return program_run(&shell, "-c %s", script);
}

/* The next number; white space before it, and the word "ready", are passed over. */
static double number(const char **text) {
    char *end;
    if (strncmp(*text, "ready", 5) == 0) *text += 5;
    double value = strtod(*text, &end);
    if (end == *text) fail_msg("a number is missing at: %s", *text);
    *text = end;
    return value;
}

static void answers_line_by_line(void **state) {
    (void)state;
    ran_t ran = serve("go\nyardstick\ngo\n");
    assert_int_equal(ran.status, 0);
    assert_int_equal(strncmp(ran.out, "ready ", 6), 0);
    double n[9]; /* GFLOP, weights; seconds, faults, peak; yardstick; seconds, faults, peak */
    const char *at = ran.out;
    for (size_t i = 0; i < 9; i++) n[i] = number(&at);
    assert_string_equal(at, "\n");
    assert_true(n[0] > 0 && n[2] > 0 && n[5] > 0 && n[6] > 0);
    assert_true(n[4] > n[1] && n[8] >= n[4]);
    ran = serve("go\nstop\n");
    assert_int_equal(ran.status, 2);
    assert_non_null(strstr(ran.err, "found 'stop'"));
}

/* What a large program starts is not itself large. */
static void memory_is_its_own(void **state) {
    (void)state;
    enum { BYTES = 512 << 20 };
    volatile char *block = malloc(BYTES);
    assert_non_null((const void *)block);
    for (size_t i = 0; i < BYTES; i += 4096) block[i] = 1;
    ran_t ran = serve("go\n");
    free((char *)block);
    assert_int_equal(ran.status, 0);
    const char *at = ran.out;
    double n[5];
    for (size_t i = 0; i < 5; i++) n[i] = number(&at);
    if (n[4] >= BYTES) fail_msg("peak %.0f bytes of a tiny model: the caller's memory", n[4]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(answers_line_by_line),
        fixture_test(memory_is_its_own),
    };
    return cmocka_run_group_tests_name("bench/serve " REAL_NAME, tests, scratch_setup,
                                       scratch_teardown);
}
