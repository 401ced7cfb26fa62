/* --help of every subcommand: it works, its example runs as it stands, and docs/cli.md tells of every option
 * it has and of no other. */
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../scratch.h"
#include "api/mole.h"
#include "program.h"

enum { COMMANDS = 32, OPTIONS = 64, NAME = 32 };

/* The subcommands that `mole --help` lists: lines of two spaces and a name, before the first empty line
 * after them. */
static size_t commands(char name[COMMANDS][NAME]) {
    ran_t help = program_run(NULL, "--help");
    assert_int_equal(help.status, 0);
    assert_string_equal(help.err, "");
    const char *line = strstr(help.out, "usage: mole COMMAND");
    assert_non_null(line);
    size_t count = 0;
    for (line = strstr(line, "\n\n") + 2; *line == ' '; line = strchr(line, '\n') + 1)
        assert_int_equal(sscanf(line, " %31s", name[count++]), 1);
    assert_true(count >= 4 && count < COMMANDS);
    return count;
}

/* ---- examples --------------------------------------------------------------------------------------- */

/* A folder of its own in which "golden" and "mole" are what a user of a fresh clone has. */
static void make_home(const char *name) {
    char golden[PATH_MAX], path[PATH_MAX];
    assert_non_null(realpath("golden", golden));
    assert_int_equal(mkdir(program_file(name), 0777), 0);
    snprintf(path, sizeof path, "%s/golden", name);
    assert_int_equal(symlink(golden, program_file(path)), 0);
    snprintf(path, sizeof path, "%s/mole", name);
    assert_int_equal(symlink(program_path(), program_file(path)), 0);
}

static void run_example(const char *help, const char *name) {
    const char *example = strstr(help, "\nexample");
    if (!example) fail_msg("%s --help gives no example", name);
    example = strchr(example + 1, '\n') + 1;
    if (strncmp(example, "  mole ", 7) != 0) fail_msg("%s --help: the example is no command", name);
    make_home(name);
    /* All golden cases take minutes where sanitizers look on and other programs run. */
    run_how_t shell = {.program = "/bin/sh", .folder = program_file(name), .seconds = 240};
    char *script = fixture_bytes(strlen(example) + 32);
    sprintf(script, "set -e; PATH=.:$PATH\n%s", example);
    ran_t ran = program_run(&shell, "-c %s", script);
    if (ran.status) fail_msg("%s: the example ends with %d: %s", name, ran.status, ran.err);
    if (!ran.out[0]) fail_msg("%s: the example prints nothing", name);
}

static void examples_run(void **state) {
    (void)state;
    char name[COMMANDS][NAME];
    size_t count = commands(name);
    run_example(program_run(NULL, "--help").out, "mole");
    for (size_t i = 0; i < count; i++) {
        ran_t help = program_run(NULL, "%s --help", name[i]);
        if (help.status || help.err[0])
            fail_msg("%s --help: %d, %s", name[i], help.status, help.err);
        run_example(help.out, name[i]);
    }
    /* And what the examples were for: pictures. */
    assert_int_equal(access(program_file("generate/portrait.png"), R_OK), 0);
    assert_int_equal(access(program_file("mole/hands.png"), R_OK), 0);
}

/* --help wins over anything else that is wrong or missing before it is looked at. */
static void help_is_enough(void **state) {
    (void)state;
    char name[COMMANDS][NAME];
    size_t count = commands(name);
    ran_t plain = program_run(NULL, "help");
    assert_int_equal(plain.status, 0);
    assert_string_equal(plain.out, program_run(NULL, "--help").out);
    for (size_t i = 0; i < count; i++) {
        ran_t help = program_run(NULL, "%s --help --no-such-option", name[i]);
        assert_int_equal(help.status, 0);
    }
}

static void same_answer(const char *help, const char *words, const char *name) {
    ran_t ran = program_run(NULL, words, name);
    if (ran.status || ran.err[0]) fail_msg("%s, %s: %d, %s", words, name, ran.status, ran.err);
    assert_string_equal(ran.out, help);
}

/* -h, --help and `mole help COMMAND` are one. */
static void ways_to_ask(void **state) {
    (void)state;
    char name[COMMANDS][NAME];
    size_t count = commands(name);
    char *general = program_run(NULL, "--help").out;
    same_answer(general, "-h", "");
    same_answer(general, "help %s", "help");
    same_answer(general, "help %s", "--help");
    for (size_t i = 0; i < count; i++) {
        char *help = program_run(NULL, "%s --help", name[i]).out;
        same_answer(help, "%s -h", name[i]);
        same_answer(help, "help %s", name[i]);
    }
    program_refuses(2, "no command 'paint'", "help paint");
    program_refuses(2, "not also 'inspect'", "help compare inspect");
    program_refuses(2, "no command '-x'", "-x");
}

/* "mole 1.2.3, f32, ...": the version of the library's header and the number type. */
static void version(void **state) {
    (void)state;
    static const char *const words[] = {"--version",    "version",          "-V",
                                        "help version", "verify --version", "peek -V"};
    char expected[64];
    snprintf(expected, sizeof expected, "mole %s, %s, ", MOLE_VERSION, REAL_NAME);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        ran_t ran = program_run(NULL, words[i]);
        if (ran.status || ran.err[0]) fail_msg("%s: %d, %s", words[i], ran.status, ran.err);
        if (strncmp(ran.out, expected, strlen(expected)) != 0) fail_msg("'%s'", ran.out);
        assert_ptr_equal(strchr(ran.out, '\n'), ran.out + strlen(ran.out) - 1);
    }
}

/* ---- the manual ------------------------------------------------------------------------------------- */

typedef struct {
    char name[OPTIONS][NAME];
    size_t count;
} options_t;

static bool has(const options_t *options, const char *name) {
    for (size_t i = 0; i < options->count; i++)
        if (strcmp(options->name[i], name) == 0) return true;
    return false;
}

/* Every --word between two places of a text. */
static options_t options_in(const char *text, const char *end) {
    options_t found = {.count = 0};
    for (const char *at = text; (at = strstr(at, "--")) && at < end; at += 2) {
        size_t length = 2 + strspn(at + 2, "abcdefghijklmnopqrstuvwxyz0123456789-");
        bool starts = at == text || !(isalnum((unsigned char)at[-1]) || at[-1] == '-');
        if (!starts || length < 3 || length >= NAME || !isalpha((unsigned char)at[2])) continue;
        char word[NAME];
        snprintf(word, sizeof word, "%.*s", (int)length, at);
        assert_true(found.count < OPTIONS);
        if (!has(&found, word)) strcpy(found.name[found.count++], word);
    }
    return found;
}

/* The options of a section of docs/cli.md are those of its table rows: "| `--steps N` | ...". */
static options_t documented(const char *manual, const char *command) {
    char heading[64];
    snprintf(heading, sizeof heading, "\n## mole %s\n", command);
    const char *section = strstr(manual, heading);
    if (!section) fail_msg("docs/cli.md has no section \"mole %s\"", command);
    const char *end = strstr(section + 1, "\n## ");
    options_t all = {.count = 0};
    for (const char *row = section; (row = strstr(row, "\n| `-")) && (!end || row < end); row++) {
        options_t found = options_in(row, strchr(row + 3, '|'));
        for (size_t i = 0; i < found.count; i++) {
            if (has(&all, found.name[i]))
                fail_msg("docs/cli.md: %s twice in mole %s", found.name[i], command);
            strcpy(all.name[all.count++], found.name[i]);
        }
    }
    return all;
}

static void manual_is_complete(void **state) {
    (void)state;
    char name[COMMANDS][NAME];
    size_t count = commands(name), bytes, wrong = 0;
    char *manual = scratch_slurp("docs/cli.md", &bytes);
    for (size_t i = 0; i < count; i++) {
        const char *help = program_run(NULL, "%s --help", name[i]).out;
        options_t real = options_in(help, strstr(help, "\nexample")),
                  told = documented(manual, name[i]);
        for (size_t k = 0; k < real.count; k++)
            if (!has(&told, real.name[k]))
                wrong++, printf("docs/cli.md, mole %s: no %s\n", name[i], real.name[k]);
        for (size_t k = 0; k < told.count; k++)
            if (!has(&real, told.name[k]))
                wrong++, printf("docs/cli.md, mole %s: %s is no option\n", name[i], told.name[k]);
    }
    free(manual);
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(examples_run), fixture_test(help_is_enough),     fixture_test(ways_to_ask),
        fixture_test(version),      fixture_test(manual_is_complete),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
