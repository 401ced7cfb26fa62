/* test_hostile.c - the files of cases.json, each made by hostile.py and given to the program.
 * Both number types read with the same code, so that only the float build runs them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "../unit.h"
#include "core/real.h"

/* Under the sanitizers memory and time say nothing of the program. */
#if defined(__SANITIZE_ADDRESS__)
#define LIMITS "--no-limits "
#else
#define LIMITS ""
#endif

static const char *python(void) {
    const char *given = getenv("MOLE_PYTHON");
    return given && *given ? given : "python3";
}

static bool has_python(void) {
    char line[512];
    snprintf(line, sizeof line,
             "%s -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null", python());
    return system(line) == 0; /* NOLINT(cert-env33-c): a word of the maker's own */
}

static void every_file(void **state) {
    (void)state;
    char line[512];
    if (sizeof(real_t) != sizeof(float)) {
        print_message("SKIP: the float build runs them\n");
        skip();
    }
    if (!has_python()) {
        print_message("SKIP: no Python 3.9 (%s)\n", python());
        skip();
    }
    snprintf(line, sizeof line, "%s tests/hostile/hostile.py " LIMITS "--jobs 2", python());
    int status = system(line); /* NOLINT(cert-env33-c): as above */
    if (status) fail_msg("%s: status %d", line, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
