/* What `make install` makes, used as somebody else would: installed.sh has the checks, one a case. */
#include <sys/wait.h>

#include "../scratch.h"
#include "../unit.h"
#include "core/real.h"

enum { SKIPPED = 77 };

static void check(const char *name) {
    char command[512];
    snprintf(command, sizeof command, "tests/api/installed.sh %s " REAL_NAME " '%s' >'%s/log' 2>&1",
             name, scratch_folder(), scratch_folder());
    int status = system(command); /* NOLINT(cert-env33-c): a script of this repository */
    size_t bytes;
    char *said = scratch_slurp(scratch_path("log"), &bytes);
    char text[4096];
    snprintf(text, sizeof text, "%s", said);
    free(said);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
        printf("SKIP: installed %s: %s", name, text);
        skip();
    }
    if (status) fail_msg("%s: %s", name, text);
    if (text[0]) printf("%s: %s", name, text);
}

#define CHECK(f, name)                                                                             \
    static void f(void **state) {                                                                  \
        (void)state;                                                                               \
        check(name);                                                                               \
    }
CHECK(shared_library_shows_what_the_header_says, "exports_shared")
CHECK(static_library_shows_what_the_header_says, "exports_static")
CHECK(soname_and_links, "soname")
CHECK(program_with_the_shared_library, "shared")
CHECK(program_with_the_static_library, "static")
CHECK(names_of_others_do_not_clash, "no_clash")
CHECK(precisions_do_not_link_with_each_other, "wrong_precision")
CHECK(header_stands_alone, "header")
CHECK(versions_and_flags_of_pkg_config, "version")
#ifdef MOLE_F64 /* once is enough */
CHECK(programs_run, "programs")
CHECK(manual_page_says_what_help_says, "man")
CHECK(destdir_and_uninstall, "destdir")
CHECK(python_binding, "python-library")
CHECK(python_operations, "python-ops")
CHECK(python_models, "python-model")
CHECK(python_on_the_page, "python-docs")
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_library_shows_what_the_header_says),
        cmocka_unit_test(static_library_shows_what_the_header_says),
        cmocka_unit_test(soname_and_links),
        cmocka_unit_test(program_with_the_shared_library),
        cmocka_unit_test(program_with_the_static_library),
        cmocka_unit_test(names_of_others_do_not_clash),
        cmocka_unit_test(precisions_do_not_link_with_each_other),
        cmocka_unit_test(header_stands_alone),
        cmocka_unit_test(versions_and_flags_of_pkg_config),
#ifdef MOLE_F64
        cmocka_unit_test(programs_run),
        cmocka_unit_test(manual_page_says_what_help_says),
        cmocka_unit_test(destdir_and_uninstall),
        cmocka_unit_test(python_binding),
        cmocka_unit_test(python_operations),
        cmocka_unit_test(python_models),
        cmocka_unit_test(python_on_the_page),
#endif
    };
    return cmocka_run_group_tests_name("api/installed " REAL_NAME, tests, scratch_setup,
                                       scratch_teardown);
}
