/* verify.c - mole verify: golden folders in, verdict out. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/reports.h"
#include "compare/verify.h"
#include "io/file.h"

static const char command[] = "verify";
static const bool is_f64 = sizeof(real_t) == sizeof(double);

static void print_help(void) {
    printf("usage: mole verify [OPTIONS] FOLDER...\n\n"
           "Run golden cases (docs/golden-format.md, kinds \"run\", \"fingerprint\" and "
           "\"calls\"), or all\n"
           "those below a folder, and compare every tap with the float64 truth. error: worst\n"
           "|difference| / max |truth|. ratio: our float32 error in units of PyTorch's.\n"
           "Exit code 0: all taps within bounds, 1: not, 3: a case cannot be run.\n\n%s"
           "  --forced             put the truth in place of every output: each module on its own\n"
           "  --bound X            largest error allowed (f64: 1e-11 free, 1e-12 forced; f32: no "
           "bound)\n"
           "  --bound-ratio X      largest ratio allowed, f32 (of networks 4 with blas, 2 with "
           "plain; of\n"
           "                       operations 2 and 1), for taps of at least 16 numbers; smaller\n"
           "                       ones are judged together\n"
           "  --all                every tap, not only the worst ten of a case\n"
           "  --json FILE --junit FILE --html FILE  a report beside the text; of several cases\n"
           "                       one report, in which taps are named FOLDER/TAP\n\n"
           "examples:\n  mole verify --precision f64 golden/runs/unet-step\n"
           "  mole verify --junit golden.xml golden/ops golden/runs\n",
           cli_run_help(CLI_DIRECT_DEFAULTS));
}

typedef struct {
    cli_common_t common;
    verify_bounds_t bounds;
    bool ratio_given, all;
    reports_t reports;
} options_t;

/* The bounds that this project holds itself to (docs/numbers.md). */
static void default_bounds(options_t *o, bool bound_given) {
    verify_bounds_t *b = &o->bounds;
    if (!bound_given && is_f64) b->error = b->mode == VERIFY_FORCED ? 1e-12 : 1e-11;
    b->form = o->common.form;
}

static verify_bounds_t bounds_of(const options_t *o, const golden_case_t *golden) {
    verify_bounds_t b = o->bounds;
    if (!o->ratio_given && !is_f64) b.ratio = verify_usual_ratio(golden, o->common.matmul);
    return b;
}

/* Returns -1 and the options, first folder at argv[optind], or the exit code to leave with. */
static int parse(options_t *o, int argc, char **argv) {
    enum { OPT_FORCED = OPT_OWN_REPORTS, OPT_BOUND, OPT_BOUND_RATIO, OPT_ALL };
    static const struct option table[] = {CLI_RUN_OPTIONS,
                                          {"forced", no_argument, NULL, OPT_FORCED},
                                          {"bound", required_argument, NULL, OPT_BOUND},
                                          {"bound-ratio", required_argument, NULL, OPT_BOUND_RATIO},
                                          {"all", no_argument, NULL, OPT_ALL},
                                          REPORTS_OPTIONS,
                                          CLI_HELP_OPTION};
    *o = (options_t){.common = CLI_DIRECT_DEFAULTS};
    bool bound_given = false;
    int option, status = 0;
    while (!status && (option = cli_next_option(command, argc, argv, ":h", table)) != -1) {
        switch (option) {
        case OPT_HELP: return print_help(), 0;
        case '?': return EXIT_USAGE;
        case OPT_FORCED: o->bounds.mode = VERIFY_FORCED; break;
        case OPT_ALL: o->all = true; break;
        case OPT_BOUND:
            bound_given = cli_parse_double(optarg, 0, 1e300, &o->bounds.error);
            if (!bound_given)
                return cli_usage_error(command, "--bound takes a number, not '%s'", optarg);
            break;
        case OPT_BOUND_RATIO:
            o->ratio_given = cli_parse_double(optarg, 0, 1e300, &o->bounds.ratio);
            if (!o->ratio_given)
                return cli_usage_error(command, "--bound-ratio takes a number, not '%s'", optarg);
            break;
        default:
            if (!reports_option(&o->reports, option, optarg))
                status = cli_common_option(&o->common, command, option, optarg);
        }
    }
    if (!status) status = cli_check_precision(&o->common, command);
    if (status) return status;
    if (optind == argc) return cli_usage_error(command, "name at least one golden folder");
    default_bounds(o, bound_given);
    status = reports_check(&o->reports, NULL, 0, command);
    return status ? status : -1;
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

/* Prints the case. Returns 0, 1 when it is not within bounds, or -1 and err. */
static int judge(const options_t *o, const golden_case_t *golden, const verify_result_t *result,
                 const compare_result_t *report, err_t *err) {
    verify_summary_t s = verify_summarise(result);
    if (report->rows == 0) return err_set(err, "%s: no tap that this form has", golden->folder);
    bool good = !compare_differs(report);
    printf("%-6s %s: %zu taps", good ? "agrees" : "DIFFERS", golden->name, s.seen);
    if (report->missing) printf(", %zu never came by", report->missing);
    if (s.misshapen) printf(", %zu of another shape", s.misshapen);
    if (s.worst_error) printf("; worst error %.2e (%s)", s.error, s.worst_error->tap->name);
    if (sizeof(real_t) == sizeof(float)) {
        printf("; ratio median %.3f", s.median_ratio);
        if (s.worst_ratio) printf(", worst %.3f (%s)", s.ratio, s.worst_ratio->tap->name);
        if (s.small) printf(", %zu small taps together %.3f", s.small, s.small_ratio);
    }
    printf("\n");
    if (o->all || !good) print_rows(result, o->all);
    return good ? EXIT_AGREES : EXIT_DIFFERS;
}

/* ---- which cases ------------------------------------------------------------------------------------- */

typedef struct {
    char **folder; /* (count), owned */
    size_t count;
} cases_t;

enum { DEPTH = 8 };

static void add_case(cases_t *cases, const char *folder) {
    cases->folder = xrealloc(cases->folder, (cases->count + 1) * sizeof *cases->folder);
    cases->folder[cases->count++] = xstrdup(folder);
}

static void free_cases(cases_t *cases) {
    for (size_t i = 0; i < cases->count; i++) free(cases->folder[i]);
    free(cases->folder);
}

static int visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

/* A folder with a manifest is a case; else every one below it, in the order of names. Those that
 * `mole verify` does not run are said, unless the folder was named itself: then the case's own error
 * says so. */
static int find_cases(cases_t *cases, const char *folder, bool forced, int depth, err_t *err) {
    char *manifest = file_join(folder, "manifest.json"), reason[GOLDEN_REASON] = "";
    bool is_case = file_exists(manifest);
    free(manifest);
    if (is_case) {
        if (depth > 0 && golden_case_peek(folder, forced, reason, err)) return -1;
        if (*reason)
            printf("not run %s: %s\n", folder, reason);
        else
            add_case(cases, folder);
        return 0;
    }
    struct dirent **entry;
    int entries = depth < DEPTH ? scandir(folder, &entry, visible, alphasort) : 0, status = 0;
    if (entries < 0) /* no folder */
        return depth ? 0 : err_set(err, "%s: cannot read the folder: %s", folder, strerror(errno));
    for (int i = 0; i < entries; i++) {
        struct stat about;
        char *below = file_join(folder, entry[i]->d_name);
        /* Symbolic links are not followed: they can go in circles. */
        if (!status && lstat(below, &about) == 0 && S_ISDIR(about.st_mode))
            status = find_cases(cases, below, forced, depth + 1, err);
        free(below);
        free(entry[i]);
    }
    if (depth < DEPTH) free(entry);
    return status;
}

static int find_all_cases(cases_t *cases, bool forced, int argc, char **argv, err_t *err) {
    for (int i = optind; i < argc; i++) {
        size_t before = cases->count;
        if (find_cases(cases, argv[i], forced, 0, err)) return -1;
        if (cases->count == before)
            return err_set(err, "%s: neither a golden case (manifest.json) nor a folder with any",
                           argv[i]);
    }
    return 0;
}

/* Of several cases the taps of each begin with its folder. */
static void add_to_report(compare_result_t *all, compare_result_t *one, const char *folder,
                          size_t cases) {
    char *prefix = cases > 1 ? xasprintf("%s/", folder) : xstrdup("");
    if (cases > 1)
        snprintf(all->reference, sizeof all->reference, "%zu golden cases", cases);
    else
        memcpy(all->reference, one->reference, sizeof all->reference);
    compare_join(all, one, prefix);
    free(prefix);
}

/* 0, 1 when the case is not within bounds, or -1 and err. */
static int verify_case(const options_t *o, const run_t *run, const char *folder, size_t cases,
                       compare_result_t *all, err_t *err) {
    golden_case_t golden;
    verify_result_t result;
    compare_result_t one;
    if (golden_case_open(&golden, folder, err)) return -1;
    golden.widen = o->common.files.widen;
    int verdict = verify_run(run, &golden, o->bounds.mode, &result, err);
    if (!verdict) {
        verify_bounds_t bounds = bounds_of(o, &golden);
        verify_report(&result, &golden, &bounds, &one);
        verdict = judge(o, &golden, &result, &one, err);
        add_to_report(all, &one, folder, cases);
        verify_result_free(&result);
    }
    golden_case_close(&golden);
    return verdict;
}

static int verify_cases(const options_t *o, const run_t *run, const cases_t *cases, err_t *err) {
    compare_result_t all = {0};
    int verdict = EXIT_AGREES;
    printf("%s, matmul %s, mole %s, %s\n", REAL_NAME, run->matmul == MATMUL_BLAS ? "blas" : "plain",
           run->form == MOLE_DIRECT ? "direct" : "stacked",
           o->bounds.mode == VERIFY_FORCED ? "each module on true inputs" : "free running");
    for (size_t i = 0; i < cases->count && verdict >= 0; i++) {
        int code = verify_case(o, run, cases->folder[i], cases->count, &all, err);
        verdict = code < 0 ? code : code > verdict ? code : verdict;
    }
    if (verdict >= 0 && reports_write(&o->reports, &all, NULL, NULL, NULL, err)) verdict = -1;
    compare_free(&all);
    return verdict;
}

int cli_verify(int argc, char **argv) {
    options_t o;
    int usage = parse(&o, argc, argv);
    if (usage >= 0) return usage;
    err_t err;
    cases_t cases = {0};
    arena_t *arena = NULL;
    int verdict = find_all_cases(&cases, o.bounds.mode == VERIFY_FORCED, argc, argv, &err) ||
                          arena_create(&arena, 0, &err)
                      ? -1
                      : 0;
    if (!verdict) {
        run_t run = {.arena = arena,
                     .matmul = o.common.matmul,
                     .conv = o.common.conv,
                     .form = o.common.form};
        verdict = verify_cases(&o, &run, &cases, &err);
        arena_destroy(arena);
    }
    free_cases(&cases);
    return verdict < 0 ? cli_input_error(command, &err) : verdict;
}
