/* compare.c - mole compare: which layer of a port is wrong, and is the rest acceptable? */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/compare_case.h"
#include "cli/own_options.h"
#include "cli/reports.h"
#include "compare/compare.h"
#include "io/file.h"
#include "report/statement.h"

static const char command[] = "compare";

static void print_help(void) {
    printf(
        "usage: mole compare [OPTIONS] REFERENCE CANDIDATE\n"
        "       mole compare --model FOLDER --prompt TEXT|--inputs FILE [OPTIONS] CANDIDATE\n\n"
        "Hold a candidate's trace against a golden case, another trace, or a model of one's own, "
        "whose truth\n"
        "is then made here in float64, and name the first layer that is wrong by itself. Exit code "
        "0:\n"
        "agrees, 1: differs, 3: cannot be compared.\n\n"
        "  REFERENCE            a golden folder (manifest.json), or a trace\n"
        "  CANDIDATE            a trace: .safetensors, a folder of .npy files, .npz; or "
        "statistics of one: .json,\n"
        "                       .csv\n\n"
        "  --all                every tap, not only culprit and worst ten\n"
        "  --filter GLOB, --only GLOB  only taps whose name matches (* within an element, ** "
        "across)\n"
        "  --map FILE|ldm|diffusers|auto  rules from the candidate's names to ours; auto: what no "
        "rule\n"
        "                       finds is found by its numbers\n"
        "  --write-map FILE     the names that were matched, as rules for --map\n"
        "  --budget TYPE        type the candidate computes in (found from its numbers): f64, f32, "
        "tf32,\n"
        "                       f16-acc32, bf16-acc32 (sums in float32), f16, bf16 (sums in that "
        "type)\n"
        "  --limit X            error a tap may have, in units of rounding (16; 8 below float32)\n"
        "  --complete           a tap that the candidate lacks is a failure too\n"
        "  --no-isolate         do not run the reference on the candidate's inputs: faster, but "
        "an\n"
        "                       inherited error then looks like one that was made\n"
        "  --peer TRACE         trace against trace: whose error is the unit (PyTorch's float32, "
        "say); without\n"
        "                       it an error of 64 to 2048 units is UNDECIDED, exit code 1\n"
        "  --json FILE --junit FILE --html FILE  reports beside the text\n"
        "  --statement FILE     add to FILE what was checked and found, for mole check-statement; "
        "a golden\n"
        "                       case takes the place of its entry before\n\n"
        "a model of one's own in place of REFERENCE:\n%s%s"
        "  --stop-at-first      run no further than twice the steps that lead to the first "
        "culprit\n\n"
        "examples:\n"
        "  mole compare golden/runs/vae-decode golden/runs/vae-decode/tensors.safetensors\n"
        "  mole compare --model golden/models/sd15-tiny --inputs "
        "golden/runs/vae-decode/tensors.safetensors \\\n"
        "      golden/runs/vae-decode/tensors.safetensors\n",
        cli_model_help, own_options_help);
}

typedef struct {
    compare_options_t compare;
    name_map_t *map;
    const char *reference, *candidate, *peer, *map_path, *write_map, *statement;
    reports_t reports;
    own_options_t own;
    double start; /* of the run of a model of one's own */
    bool all;
} options_t;

enum {
    OPT_ALL = OPT_OWN_REPORTS,
    OPT_FILTER,
    OPT_MAP,
    OPT_WRITE_MAP,
    OPT_BUDGET,
    OPT_LIMIT,
    OPT_COMPLETE,
    OPT_NO_ISOLATE,
    OPT_PEER,
    OPT_STOP_AT_FIRST,
    OPT_STATEMENT
};

static int set_budget(options_t *o, const char *value) {
    o->compare.budget = strcmp(value, budget_name(BUDGET_AUTO)) ? budget_parse(value) : BUDGET_AUTO;
    if (o->compare.budget != BUDGETS) return 0;
    return cli_usage_error(
        command,
        "--budget takes auto, f64, f32, tf32, f16, bf16, f16-acc32 or bf16-acc32, not '%s'", value);
}

static int set_option(options_t *o, int option, const char *value) {
    switch (option) {
    case OPT_ALL: o->all = true; return 0;
    case OPT_FILTER: o->compare.filter = value; return 0;
    case OPT_MAP: o->map_path = value; return 0;
    case OPT_WRITE_MAP: o->write_map = value; return 0;
    case OPT_BUDGET: return set_budget(o, value);
    case OPT_LIMIT:
        if (cli_parse_double(value, 0, 1e300, &o->compare.limit) && o->compare.limit > 0) return 0;
        return cli_usage_error(command, "--limit takes a number above 0, not '%s'", value);
    case OPT_COMPLETE: o->compare.complete = true; return 0;
    case OPT_NO_ISOLATE: o->compare.isolate = false; return 0;
    case OPT_PEER: o->peer = value; return 0;
    case OPT_STATEMENT: o->statement = value; return 0;
    case OPT_STOP_AT_FIRST: o->compare.stop_at_first = true; return 0;
    default: break;
    }
    if (reports_option(&o->reports, option, value)) return 0;
    int status = own_options_set(&o->own, command, option, value);
    return status < 0 ? EXIT_USAGE : status;
}

/* REFERENCE CANDIDATE, or CANDIDATE alone where a model is named. Returns 0 or EXIT_USAGE. */
static int check_words(options_t *o, int count, char **word) {
    bool own = o->own.common.files.folder;
    if (!own && o->own.stranger)
        return cli_usage_error(command, "'%s' says something of a model: name it with --model",
                               o->own.stranger);
    if (own && count != 1)
        return cli_usage_error(command,
                               "with --model give CANDIDATE alone: the model is the reference");
    if (!own && count != 2) return cli_usage_error(command, "give REFERENCE and CANDIDATE");
    o->reference = own ? NULL : word[0];
    o->candidate = word[count - 1];
    if (!own && o->compare.stop_at_first)
        return cli_usage_error(command, "--stop-at-first is for --model, whose run it ends");
    if (own && o->statement)
        return cli_usage_error(command, "--statement is for golden cases, not for --model: mole "
                                        "golden makes a case of a model");
    if (own && o->peer)
        return cli_usage_error(command, "--peer is for trace against trace, not for --model");
    return own ? own_options_check(&o->own, command) : 0;
}

/* Returns -1 and the options, or the exit code to leave with. */
static int parse(options_t *o, int argc, char **argv) {
    static const struct option table[] = {{"all", no_argument, NULL, OPT_ALL},
                                          {"filter", required_argument, NULL, OPT_FILTER},
                                          {"map", required_argument, NULL, OPT_MAP},
                                          {"write-map", required_argument, NULL, OPT_WRITE_MAP},
                                          {"budget", required_argument, NULL, OPT_BUDGET},
                                          {"limit", required_argument, NULL, OPT_LIMIT},
                                          {"complete", no_argument, NULL, OPT_COMPLETE},
                                          {"no-isolate", no_argument, NULL, OPT_NO_ISOLATE},
                                          {"peer", required_argument, NULL, OPT_PEER},
                                          {"only", required_argument, NULL, OPT_FILTER},
                                          {"stop-at-first", no_argument, NULL, OPT_STOP_AT_FIRST},
                                          {"statement", required_argument, NULL, OPT_STATEMENT},
                                          REPORTS_OPTIONS,
                                          CLI_MODEL_OPTIONS,
                                          OWN_OPTIONS,
                                          CLI_HELP_OPTION};
    *o = (options_t){.compare = {.isolate = true}, .own = OWN_DEFAULTS};
    int option, status = 0;
    while (!status && (option = cli_next_option(command, argc, argv, ":h", table)) != -1) {
        if (option == OPT_HELP) return print_help(), 0;
        status = set_option(o, option, optarg);
    }
    if (status) return status;
    if ((status = check_words(o, argc - optind, argv + optind))) return status;
    const cli_output_t more[] = {
        {"--write-map", o->write_map, CLI_MAP}, {"--statement", o->statement, CLI_JSON},
        {"REFERENCE", o->reference, CLI_INPUT}, {"CANDIDATE", o->candidate, CLI_INPUT},
        {"--peer", o->peer, CLI_INPUT},         {"--inputs", o->own.own.inputs, CLI_INPUT},
        {"--map", o->map_path, CLI_INPUT}};
    status = reports_check(&o->reports, more, sizeof more / sizeof *more, command);
    return status ? status : -1;
}

static bool is_golden(const char *folder) {
    char *manifest = file_join(folder, "manifest.json");
    bool is = file_exists(manifest);
    free(manifest);
    return is;
}

/* "mole compare TRACE CASE": the golden case of a case given second. */
static int check_order(const options_t *o) {
    err_t ignored;
    char reason[GOLDEN_REASON];
    if (!o->reference) return 0;
    bool golden = is_golden(o->reference);
    if (golden_case_peek(o->candidate, false, reason, &ignored)) {
        if (golden || !o->statement) return 0;
        return cli_usage_error(command, "--statement is for golden cases, and %s is none",
                               o->reference);
    }
    if (golden)
        return cli_usage_error(command, "CANDIDATE is a trace, and %s is a golden case, too",
                               o->candidate);
    return cli_usage_error(command, "the golden case is given first: mole compare %s %s",
                           o->candidate, o->reference);
}

/* Of every name that was matched, and of inputs, what it stands for. */
static int write_map(const char *path, trace_file_t *candidate, err_t *err) {
    size_t entries = trace_file_count(candidate), count = 0;
    const char **from = xcalloc(entries + 1, sizeof *from), **to = xcalloc(entries + 1, sizeof *to);
    for (size_t i = 0; i < entries; i++) {
        const trace_entry_t *entry = trace_file_at(candidate, i);
        if (!entry->alias) continue;
        from[count] = entry->name;
        to[count++] = entry->alias;
    }
    int status = name_map_write(path, from, to, count, err);
    free(from);
    free(to);
    return status;
}

static int write_reports(const options_t *o, const compare_result_t *result,
                         const golden_case_t *golden, trace_file_t *reference,
                         trace_file_t *candidate, err_t *err) {
    report_text(result, o->all, stdout);
    if (o->write_map && write_map(o->write_map, candidate, err)) return -1;
    return reports_write(&o->reports, result, golden, reference, candidate, err);
}

/* What is known before the comparison: names, hashes, options. */
static int begin_entry(const options_t *o, statement_t *statement, statement_entry_t *entry,
                       err_t *err) {
    const char *map = o->map_path;
    bool built_in = map && name_map_is_builtin(map);
    *entry = (statement_entry_t){.budget = o->compare.budget,
                                 .limit = o->compare.limit,
                                 .only = o->compare.filter,
                                 .complete = o->compare.complete,
                                 .isolate = o->compare.isolate};
    if (entry->only && text_defect(entry->only))
        return err_set(err, "--only %s, and a statement has to hold it", text_defect(entry->only));
    if (built_in) entry->map.path = map;
    if (statement_open_or_new(statement, o->statement, err) ||
        statement_name(statement, &entry->golden, o->reference, err) ||
        statement_name(statement, &entry->candidate, o->candidate, err))
        return -1;
    return map && !built_in ? statement_name(statement, &entry->map, map, err) : 0;
}

static int write_entry(statement_t *statement, statement_entry_t *entry,
                       const golden_case_t *golden, const compare_result_t *result, err_t *err) {
    entry->name = golden->name;
    statement_find(&entry->found, result, &statement->pool);
    if (statement_put(statement, entry, err) || statement_write(statement, err)) return -1;
    char *line = statement_line(statement);
    printf("%-11s%s\n", "statement", line);
    free(line);
    return 0;
}

/* The exit code; -1 and err for what cannot be compared. */
static int compare_with_golden(const options_t *o, trace_file_t *candidate, err_t *err) {
    golden_case_t golden;
    compare_result_t result;
    statement_t statement = {0};
    statement_entry_t entry;
    if (o->peer)
        return err_set(err,
                       "--peer is for trace against trace: a golden case brings PyTorch's error");
    int status = o->statement ? begin_entry(o, &statement, &entry, err) : 0;
    if (!status) status = compare_case(&golden, o->reference, candidate, &o->compare, &result, err);
    if (!status) {
        status = write_reports(o, &result, &golden, NULL, candidate, err);
        if (!status && o->statement)
            status = write_entry(&statement, &entry, &golden, &result, err);
        if (!status) status = compare_differs(&result) ? EXIT_DIFFERS : EXIT_AGREES;
        compare_free(&result);
        golden_case_close(&golden);
    }
    statement_free(&statement);
    return status;
}

/* What the rest will take, on stderr: runs of the reference, each of which makes the truth anew. */
static void say_cost(void *who, size_t taps) {
    enum { RUNS = 15, WITHOUT_ALL = 10, CULPRIT = 40 + CAUSES_RUNS };
    const options_t *o = who;
    double seconds = clock_seconds() - o->start;
    fprintf(
        stderr,
        "mole compare: %zu taps; one run of the model in float64 takes %.1f s and is made about %d "
        "times (%.0f s), %d times more where taps were not dumped, and up to %d times to find "
        "the cause of a culprit\n",
        taps, seconds, RUNS, RUNS * seconds, WITHOUT_ALL, CULPRIT);
}

static int compare_with_own(options_t *o, trace_file_t *candidate, err_t *err) {
    run_t run = {.matmul = MATMUL_BLAS, .conv = CONV_TILES, .form = MOLE_DIRECT};
    compare_result_t result;
    o->start = clock_seconds();
    o->compare.surveyed = say_cost;
    o->compare.who = o;
    int status = arena_create(&run.arena, 0, err);
    if (!status) {
        status = compare_own(&run, &o->own.own, candidate, &o->compare, &result, err);
        if (!status) {
            status = write_reports(o, &result, NULL, NULL, candidate, err);
            if (!status) status = compare_differs(&result) ? EXIT_DIFFERS : EXIT_AGREES;
            compare_free(&result);
        }
        arena_destroy(run.arena);
    }
    return status;
}

static int compare_with_trace(const options_t *o, trace_file_t *candidate, err_t *err) {
    trace_file_t *reference, *peer = NULL;
    if (trace_file_open(&reference, o->reference, err)) return -1;
    int status = o->peer ? trace_file_open(&peer, o->peer, err) : 0;
    compare_result_t result;
    if (!status) status = compare_traces(reference, candidate, peer, &o->compare, &result, err);
    if (!status) {
        status = write_reports(o, &result, NULL, reference, candidate, err);
        bool agrees = !compare_differs(&result) && compare_undecided(&result) == 0;
        if (!status) status = agrees ? EXIT_AGREES : EXIT_DIFFERS;
        compare_free(&result);
    }
    if (peer) trace_file_close(peer);
    trace_file_close(reference);
    return status;
}

static int compare_candidate(options_t *o, trace_file_t *candidate, err_t *err) {
    if (!o->reference) return compare_with_own(o, candidate, err);
    return is_golden(o->reference) ? compare_with_golden(o, candidate, err)
                                   : compare_with_trace(o, candidate, err);
}

int cli_compare(int argc, char **argv) {
    options_t o;
    int usage = parse(&o, argc, argv);
    if (usage >= 0) return usage;
    if ((usage = check_order(&o))) return usage;
    err_t err;
    trace_file_t *candidate;
    if (o.map_path && name_map_open(&o.map, o.map_path, &err))
        return cli_input_error(command, &err);
    o.compare.map = o.map;
    int status = trace_file_open(&candidate, o.candidate, &err);
    if (!status) {
        status = compare_candidate(&o, candidate, &err);
        trace_file_close(candidate);
    }
    name_map_free(o.map);
    return status < 0 ? cli_input_error(command, &err) : status;
}
