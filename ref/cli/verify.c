/* verify.c - mole verify: golden folders in, verdict out. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "verify/verify.h"

static const char command[] = "verify";

static void print_help(void) {
    printf("usage: mole verify [OPTIONS] FOLDER...\n\n"
           "Run golden cases (docs/golden-format.md, kind \"run\" or \"fingerprint\") and compare "
           "every tap\nwith the float64 truth. error: worst |difference| / max |truth|. ratio: our "
           "float32 error in\nunits of PyTorch's.\n"
           "Exit code 0: all taps within bounds, 1: not, 3: a case cannot be run.\n\n%s"
           "  --forced             put the truth in place of every output: each module on its own\n"
           "  --bound X            largest error allowed (f64: 1e-11 free, 1e-12 forced; f32: no "
           "bound)\n"
           "  --bound-ratio X      largest ratio allowed, f32 (2 with blas, 1 with plain), for "
           "taps of at\n"
           "                       least 16 numbers; smaller ones are judged together\n"
           "                       (fingerprints: twice that)\n"
           "  --all                every tap, not only the worst ten of a case\n"
           "  --json FILE --junit FILE --html FILE  a report beside the text (one case)\n\n"
           "example:\n  mole verify --precision f64 golden/runs/unet-step\n",
           cli_run_help);
}

typedef struct {
    cli_common_t common;
    verify_mode_t mode;
    double bound, bound_ratio; /* 0: none */
    bool all, own_ratio;       /* own_ratio: --bound-ratio was given */
    const char *json, *junit, *html;
} options_t;

/* The bounds that this project holds itself to (docs/numbers.md). */
static void default_bounds(options_t *o, bool bound_given, bool ratio_given) {
    bool f64 = sizeof(real_t) == sizeof(double);
    if (!bound_given && f64) o->bound = o->mode == VERIFY_FORCED ? 1e-12 : 1e-11;
    if (!ratio_given && !f64) o->bound_ratio = o->common.matmul == MATMUL_PLAIN ? 1 : 2;
}

/* Returns -1 and the options, first folder at argv[optind], or the exit code to leave with. */
static int parse(options_t *o, int argc, char **argv) {
    enum {
        OPT_FORCED = OPT_OWN,
        OPT_BOUND,
        OPT_BOUND_RATIO,
        OPT_ALL,
        OPT_JSON,
        OPT_JUNIT,
        OPT_HTML
    };
    static const struct option table[] = {CLI_RUN_OPTIONS,
                                          {"forced", no_argument, NULL, OPT_FORCED},
                                          {"bound", required_argument, NULL, OPT_BOUND},
                                          {"bound-ratio", required_argument, NULL, OPT_BOUND_RATIO},
                                          {"all", no_argument, NULL, OPT_ALL},
                                          {"json", required_argument, NULL, OPT_JSON},
                                          {"junit", required_argument, NULL, OPT_JUNIT},
                                          {"html", required_argument, NULL, OPT_HTML},
                                          CLI_HELP_OPTION};
    *o = (options_t){.common = CLI_COMMON_DEFAULTS, .mode = VERIFY_FREE};
    o->common.form = MOLE_DIRECT;
    bool bound_given = false, ratio_given = false;
    int option, status = 0;
    while (!status && (option = cli_next_option(command, argc, argv, ":", table)) != -1) {
        switch (option) {
        case OPT_HELP: return print_help(), 0;
        case '?': return EXIT_USAGE;
        case OPT_FORCED: o->mode = VERIFY_FORCED; break;
        case OPT_ALL: o->all = true; break;
        case OPT_JSON: o->json = optarg; break;
        case OPT_JUNIT: o->junit = optarg; break;
        case OPT_HTML: o->html = optarg; break;
        case OPT_BOUND:
            bound_given = cli_parse_double(optarg, 0, 1e300, &o->bound);
            if (!bound_given)
                return cli_usage_error(command, "--bound takes a number, not '%s'", optarg);
            break;
        case OPT_BOUND_RATIO:
            ratio_given = cli_parse_double(optarg, 0, 1e300, &o->bound_ratio);
            if (!ratio_given)
                return cli_usage_error(command, "--bound-ratio takes a number, not '%s'", optarg);
            break;
        default: status = cli_common_option(&o->common, command, option, optarg);
        }
    }
    if (!status) status = cli_check_precision(&o->common, command);
    if (status) return status;
    if (optind == argc) return cli_usage_error(command, "name at least one golden folder");
    if ((o->json || o->junit || o->html) && optind + 1 != argc)
        return cli_usage_error(command,
                               "--json, --junit and --html report on one case: name one folder");
    o->own_ratio = ratio_given;
    default_bounds(o, bound_given, ratio_given);
    return -1;
}

static int by_error(const void *a, const void *b) {
    double x = diff_relative(&((const verify_row_t *)a)->diff);
    double y = diff_relative(&((const verify_row_t *)b)->diff);
    return (y > x) - (y < x);
}

static void print_rows(const verify_result_t *result, bool all) {
    enum { WORST = 10 };
    verify_row_t *row = xmalloc((result->rows + 1) * sizeof *row);
    memcpy(row, result->row, result->rows * sizeof *row);
    if (!all) qsort(row, result->rows, sizeof *row, by_error);
    size_t shown = all || result->rows < WORST ? result->rows : WORST;
    printf("  %9s %9s %7s %8s  tap\n", "error", "rel rms", "ratio", "numbers");
    for (size_t i = 0; i < shown; i++) {
        const diff_t *d = &row[i].diff;
        if (!row[i].seen || row[i].misshapen) {
            printf("  %s  %s\n", row[i].seen ? "another shape" : "never came by", row[i].tap->name);
            continue;
        }
        printf("  %9.2e %9.2e %7.3f %8zu  %s\n", diff_relative(d),
               d->truth_rms > 0 ? d->rms / d->truth_rms : d->rms, verify_row_ratio(&row[i]),
               d->count, row[i].tap->name);
    }
    free(row);
}

/* 32 values stand for a whole tensor in a fingerprint: their rms is an estimate, so twice as much. */
static double ratio_bound(const options_t *o, const golden_case_t *golden) {
    return golden->fingerprint && !o->own_ratio ? 2 * o->bound_ratio : o->bound_ratio;
}

/* In the stacked form the inner taps of the direct one do not exist. */
static bool excused(const options_t *o, const verify_row_t *row) {
    return !row->seen && o->common.form == MOLE_STACKED && strstr(row->tap->name, ".mole.");
}

/* Prints the case; true when it is within bounds. */
static bool judge(const options_t *o, const golden_case_t *golden, const verify_result_t *result) {
    verify_summary_t s = verify_summarise(result);
    size_t missing = 0;
    for (size_t i = 0; i < result->rows; i++)
        missing += !result->row[i].seen && !excused(o, &result->row[i]);
    bool good = !missing && !s.misshapen && s.seen > 0;
    if (o->bound > 0) good = good && s.error <= o->bound;
    if (o->bound_ratio > 0)
        good = good && s.ratio <= ratio_bound(o, golden) && s.small_ratio <= ratio_bound(o, golden);
    printf("%-6s %s: %zu taps", good ? "agrees" : "DIFFERS", golden->name, s.seen);
    if (missing) printf(", %zu never came by", missing);
    if (s.misshapen) printf(", %zu of another shape", s.misshapen);
    if (s.worst_error) printf("; worst error %.2e (%s)", s.error, s.worst_error->tap->name);
    if (sizeof(real_t) == sizeof(float)) {
        printf("; ratio median %.3f", s.median_ratio);
        if (s.worst_ratio) printf(", worst %.3f (%s)", s.ratio, s.worst_ratio->tap->name);
        if (s.small) printf(", %zu small taps together %.3f", s.small, s.small_ratio);
    }
    printf("\n");
    if (o->all || !good) print_rows(result, o->all);
    return good;
}

static int write_reports(const options_t *o, const golden_case_t *golden,
                         const verify_result_t *result, err_t *err) {
    compare_result_t report;
    verify_report(result, golden, o->mode, o->bound, ratio_bound(o, golden), &report);
    int status = (o->json && report_json(&report, o->json, err)) ||
                 (o->junit && report_junit(&report, o->junit, err)) ||
                 (o->html && report_html(&report, golden, NULL, NULL, o->html, err));
    compare_free(&report);
    return status ? -1 : 0;
}

int cli_verify(int argc, char **argv) {
    options_t o;
    int usage = parse(&o, argc, argv), verdict = EXIT_AGREES;
    if (usage >= 0) return usage;
    err_t err;
    arena_t *arena;
    if (arena_create(&arena, 0, &err)) return cli_input_error(command, &err);
    run_t run = {.arena = arena, .matmul = o.common.matmul, .form = o.common.form};
    printf("%s, matmul %s, mole %s, %s\n", REAL_NAME, run.matmul == MATMUL_BLAS ? "blas" : "plain",
           run.form == MOLE_DIRECT ? "direct" : "stacked",
           o.mode == VERIFY_FORCED ? "each module on true inputs" : "free running");
    for (int i = optind; i < argc && verdict != EXIT_INPUT; i++) {
        golden_case_t golden;
        verify_result_t result;
        int status = golden_case_open(&golden, argv[i], &err);
        if (!status) {
            status = verify_run(&run, &golden, o.mode, &result, &err);
            if (!status) {
                if (!judge(&o, &golden, &result)) verdict = EXIT_DIFFERS;
                status = write_reports(&o, &golden, &result, &err);
                verify_result_free(&result);
            }
            golden_case_close(&golden);
        }
        if (status) verdict = cli_input_error(command, &err);
    }
    arena_destroy(arena);
    return verdict;
}
