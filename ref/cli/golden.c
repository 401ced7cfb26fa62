/* golden.c - mole golden: a golden case of one's own model. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/own_options.h"
#include "compare/own_golden.h"
#include "io/file.h"

static const char command[] = "golden";

static void print_help(void) {
    printf(
        "usage: mole golden --model FOLDER --prompt TEXT|--inputs FILE --case NAME -o FOLDER "
        "[OPTIONS]\n\n"
        "Write a golden case (docs/golden-format.md) from a model of one's own: every tap of a "
        "run in\n"
        "float64, how far a careful float32 program is off at each, and the hashes of all files. "
        "mole verify\n"
        "and mole compare take the folder like any other.\n\n%s%s"
        "  --case NAME          the case's name: a-z, A-Z, 0-9, '.', '_' and '-'\n"
        "  --about TEXT         a sentence for people\n"
        "  --only GLOB          only taps whose name matches (* within an element, ** across)\n"
        "  --fingerprint        of every tap statistics and 32 numbers, not the tensor: for large "
        "models\n"
        "  -o, --output FOLDER  is made; a case that is there is not written over\n\n"
        "example:\n"
        "  mole golden --model golden/models/sd15-tiny --inputs "
        "golden/runs/vae-decode/tensors.safetensors \\\n"
        "      --case decode -o decode\n",
        cli_model_help, own_options_help);
}

typedef struct {
    own_options_t own;
    own_golden_t golden;
    double start;
} options_t;

enum { OPT_CASE = OPT_OWN, OPT_ABOUT, OPT_ONLY, OPT_FINGERPRINT };

static int set_option(options_t *o, int option, const char *value) {
    switch (option) {
    case OPT_CASE: o->golden.name = value; return 0;
    case OPT_ABOUT: o->golden.about = value; return 0;
    case OPT_ONLY: o->golden.filter = value; return 0;
    case OPT_FINGERPRINT: o->golden.fingerprint = true; return 0;
    case 'o': o->golden.folder = value; return 0;
    default: break;
    }
    int status = own_options_set(&o->own, command, option, value);
    return status < 0 ? EXIT_USAGE : status;
}

static int check(options_t *o) {
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    own_golden_t *g = &o->golden;
    int status = own_options_check(&o->own, command);
    if (status) return status;
    if (!g->name) return cli_usage_error(command, "--case NAME is missing");
    if (!*g->name || strlen(g->name) > 100 || g->name[strspn(g->name, letters)])
        return cli_usage_error(
            command, "--case takes 1 to 100 of a-z, A-Z, 0-9, '.', '_' and '-', not '%s'", g->name);
    if (!g->folder) return cli_usage_error(command, "-o FOLDER is missing");
    if (g->about && text_defect(g->about))
        return cli_usage_error(command, "--about %s", text_defect(g->about));
    return 0;
}

/* Returns -1 and the options, or the exit code to leave with. */
static int parse(options_t *o, int argc, char **argv) {
    static const struct option table[] = {{"case", required_argument, NULL, OPT_CASE},
                                          {"about", required_argument, NULL, OPT_ABOUT},
                                          {"only", required_argument, NULL, OPT_ONLY},
                                          {"fingerprint", no_argument, NULL, OPT_FINGERPRINT},
                                          {"output", required_argument, NULL, 'o'},
                                          CLI_MODEL_OPTIONS,
                                          OWN_OPTIONS,
                                          CLI_HELP_OPTION};
    *o = (options_t){.own = OWN_DEFAULTS};
    int option, status = 0;
    while (!status && (option = cli_next_option(command, argc, argv, ":ho:", table)) != -1) {
        if (option == OPT_HELP) return print_help(), 0;
        status = option == '?' ? EXIT_USAGE : set_option(o, option, optarg);
    }
    if (!status && optind < argc)
        status = cli_usage_error(command, "unexpected word '%s'", argv[optind]);
    if (!status) status = check(o);
    return status ? status : -1;
}

static void say_cost(void *who, size_t taps) {
    enum { RUNS = 14 };
    const options_t *o = who;
    double seconds = clock_seconds() - o->start;
    fprintf(
        stderr,
        "mole golden: %zu taps; one run of the model in float64 takes %.1f s and is made %d times "
        "(%.0f s)\n",
        taps, seconds, RUNS, RUNS * seconds);
}

int cli_golden(int argc, char **argv) {
    options_t o;
    int usage = parse(&o, argc, argv);
    if (usage >= 0) return usage;
    err_t err;
    size_t taps = 0;
    run_t run = {.matmul = MATMUL_BLAS, .conv = CONV_TILES, .form = MOLE_DIRECT};
    o.start = clock_seconds();
    o.golden.surveyed = say_cost;
    o.golden.who = &o;
    int status = arena_create(&run.arena, 0, &err);
    if (!status) {
        status = own_golden_write(&run, &o.own.own, &o.golden, &taps, &err);
        arena_destroy(run.arena);
    }
    if (status) return cli_input_error(command, &err);
    cli_print("%s  %zu taps%s", o.golden.folder, taps,
              o.golden.fingerprint ? ", fingerprints" : "");
    return 0;
}
