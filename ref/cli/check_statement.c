/* check_statement.c - mole check-statement: what mole compare --statement wrote, held against the files and
 * against what comparing them again finds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/compare_case.h"
#include "io/file.h"
#include "report/statement.h"

static const char command[] = "check-statement";

static void print_help(void) {
    printf(
        "usage: mole check-statement [--no-run] FILE\n\n"
        "Check a statement that mole compare wrote: that golden cases, candidates and maps are the "
        "files that\n"
        "were compared (SHA-256), and that comparing them again finds the same. Paths are relative "
        "to the\n"
        "folder of FILE. One line for each case, and if all hold, the line for a README. Exit code "
        "0: holds,\n"
        "1: does not, 3: cannot be read or run.\n\n"
        "  --no-run             only the hashes\n\n"
        "example:\n"
        "  mole compare --statement port.json golden/ops/silu golden/ops/silu/tensors.safetensors "
        "\\\n"
        "      >/dev/null && mole check-statement port.json\n");
}

typedef struct {
    const char *path;
    bool no_run;
} options_t;

static int parse(options_t *o, int argc, char **argv) {
    enum { OPT_NO_RUN = OPT_OWN };
    static const struct option table[] = {{"no-run", no_argument, NULL, OPT_NO_RUN},
                                          CLI_HELP_OPTION};
    *o = (options_t){0};
    int option;
    while ((option = cli_next_option(command, argc, argv, ":h", table)) != -1) {
        if (option == OPT_HELP) return print_help(), 0;
        if (option != OPT_NO_RUN) return EXIT_USAGE;
        o->no_run = true;
    }
    if (argc - optind != 1) return cli_usage_error(command, "give one FILE");
    o->path = argv[optind];
    return -1;
}

/* *why is fresh memory, or NULL where the file is the one that was stated. 0, or -1 and err. */
static int check_hash(const statement_t *s, const statement_file_t *file, const char *name,
                      char **why, err_t *err) {
    char hash[SHA256_TEXT];
    if (*why || !*file->sha256) return 0;
    char *path = statement_path(s, file->path), *whole = name ? file_join(path, name) : NULL;
    int status = statement_hash(hash, whole ? whole : path, err);
    if (!status && strcmp(hash, file->sha256) != 0)
        *why =
            xasprintf("%s: stated SHA-256 %s, found %s", whole ? whole : path, file->sha256, hash);
    free(whole);
    free(path);
    return status;
}

/* The manifest names the hashes of the case's other files, which golden_case_open looks at. */
static int check_hashes(const statement_t *s, const statement_entry_t *e, char **why, err_t *err) {
    if (check_hash(s, &e->golden, "manifest.json", why, err) ||
        check_hash(s, &e->candidate, NULL, why, err) || check_hash(s, &e->map, NULL, why, err))
        return -1;
    if (*why) return 0;
    golden_case_t golden;
    char *folder = statement_path(s, e->golden.path);
    int status = golden_case_open(&golden, folder, err);
    free(folder);
    if (status) return -1;
    if (strcmp(golden.name, e->name) != 0)
        *why = xasprintf("name: stated %s, found %s", e->name, golden.name);
    golden_case_close(&golden);
    return 0;
}

static int compare_again(statement_t *s, const statement_entry_t *e, trace_file_t *candidate,
                         name_map_t *map, char **why, err_t *err) {
    compare_options_t options = {.budget = e->budget,
                                 .limit = e->limit,
                                 .filter = e->only,
                                 .map = map,
                                 .complete = e->complete,
                                 .isolate = e->isolate};
    golden_case_t golden;
    compare_result_t result;
    statement_found_t found;
    char *folder = statement_path(s, e->golden.path);
    int status = compare_case(&golden, folder, candidate, &options, &result, err);
    free(folder);
    if (status) return -1;
    statement_find(&found, &result, &s->pool);
    *why = statement_difference(&e->found, &found);
    compare_free(&result);
    golden_case_close(&golden);
    return 0;
}

static int run_again(statement_t *s, const statement_entry_t *e, char **why, err_t *err) {
    name_map_t *map = NULL;
    trace_file_t *candidate;
    char *path = statement_path(s, e->candidate.path);
    char *rules = !e->map.path     ? NULL
                  : *e->map.sha256 ? statement_path(s, e->map.path)
                                   : xstrdup(e->map.path);
    int status = rules ? name_map_open(&map, rules, err) : 0;
    if (!status) status = trace_file_open(&candidate, path, err);
    if (!status) {
        status = compare_again(s, e, candidate, map, why, err);
        trace_file_close(candidate);
    }
    name_map_free(map);
    free(rules);
    free(path);
    return status;
}

/* Prints the entry's line. EXIT_AGREES or EXIT_DIFFERS, or -1 and err. */
static int check_entry(statement_t *s, const statement_entry_t *e, bool no_run, err_t *err) {
    char *why = NULL;
    int status = check_hashes(s, e, &why, err);
    if (!status && !why && !no_run) status = run_again(s, e, &why, err);
    if (status) return err_prefix(err, "%s: case %s", s->path, e->name);
    if (why)
        printf("%-14s %s: %s\n", "DOES NOT HOLD", e->name, why);
    else
        printf("%-14s %s: %s, %zu of %zu taps, %s\n", no_run ? "same files" : "holds", e->name,
               e->found.agrees ? "agrees" : "differs", e->found.compared, e->found.taps,
               budget_name(e->found.budget));
    status = why ? EXIT_DIFFERS : EXIT_AGREES;
    free(why);
    return status;
}

/* What a README shows is what the entries say. */
static int check_line(const statement_t *s, bool holds) {
    char *line = statement_line(s);
    bool same = strcmp(line, s->line) == 0;
    if (!same)
        printf("%-14s line: stated \"%s\", the entries give \"%s\"\n", "DOES NOT HOLD", s->line,
               line);
    else if (holds)
        printf("%s\n", line);
    free(line);
    return holds && same ? EXIT_AGREES : EXIT_DIFFERS;
}

static int check(statement_t *s, const options_t *o, err_t *err) {
    bool holds = true;
    if (statement_open(s, o->path, err)) return -1;
    for (size_t i = 0; i < s->entries; i++) {
        int status = check_entry(s, &s->entry[i], o->no_run, err);
        if (status < 0) return -1;
        holds = holds && status == EXIT_AGREES;
    }
    return check_line(s, holds);
}

int cli_check_statement(int argc, char **argv) {
    options_t o;
    statement_t statement;
    err_t err;
    int usage = parse(&o, argc, argv);
    if (usage >= 0) return usage;
    int status = check(&statement, &o, &err);
    statement_free(&statement);
    return status < 0 ? cli_input_error(command, &err) : status;
}
