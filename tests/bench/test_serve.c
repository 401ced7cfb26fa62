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

static void answers_line_by_line(void **state) {
    (void)state;
    ran_t ran = serve("go\nyardstick\ngo\n");
    assert_int_equal(ran.status, 0);
    double gflop, first, yardstick, second;
    size_t weights, faults, peak, more, later;
    int end = 0;
    assert_int_equal(sscanf(ran.out, "ready %lf %zu\n%lf %zu %zu\n%lf\n%lf %zu %zu\n%n", &gflop,
                            &weights, &first, &faults, &peak, &yardstick, &second, &more, &later,
                            &end),
                     9);
    assert_int_equal(ran.out[end], '\0');
    assert_true(gflop > 0 && first > 0 && second > 0 && yardstick > 0);
    assert_true(peak > weights && later >= peak);
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
    double gflop, seconds;
    size_t weights, faults, peak;
    assert_int_equal(
        sscanf(ran.out, "ready %lf %zu\n%lf %zu %zu\n", &gflop, &weights, &seconds, &faults, &peak),
        5);
    if (peak >= BYTES) fail_msg("peak %zu bytes of a tiny model: the caller's memory", peak);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(answers_line_by_line),
        fixture_test(memory_is_its_own),
    };
    return cmocka_run_group_tests_name("bench/serve " REAL_NAME, tests, scratch_setup,
                                       scratch_teardown);
}
