/* bench.c - mole bench: how fast, in turns with the machine's own matrix product. */
#include <fnmatch.h>
#include <jansson.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/component.h"
#include "bench/measure.h"
#include "bench/operation.h"
#include "cli/cli.h"
#include "ops/blas.h"

static const char command[] = "bench";

static void print_help(void) {
    printf(
        "usage: mole bench [OPTIONS]\n\n"
        "Measure components and operations. In every round each runs once, and so does a product "
        "of\n"
        "2048 x 2048 matrices, the yardstick; rounds in which that was slow do not count.\n\n%s\n"
        "  --only GLOB          of text_encoder, text_encoder_2, unet, unet_mole, vae_decoder, "
        "op.* (all)\n"
        "  --rounds N           counted rounds, after one that warms up (5)\n"
        "  --batch B            rows of the UNet (2: guidance)\n"
        "  --width N --height N pixels (512)\n"
        "  --json FILE          all figures, also those of single rounds\n"
        "  --serve NAME         load one, say \"ready GFLOP BYTES_OF_WEIGHTS\", and run it for "
        "each line\n"
        "                       \"go\": answers seconds, page faults, peak resident bytes. "
        "\"yardstick\"\n"
        "                       answers GFLOP/s\n\n%s\n"
        "Without --model it is synth:sd15, without experts unet_mole has two of rank 256. A UNet's "
        "first\n"
        "run also computes the keys and values of cross-attention; counted ones find them.\n\n"
        "example:\n  mole bench --model synth:sd15-tiny --only 'unet*' --rounds 3\n",
        cli_model_help, cli_run_help(CLI_COMMON_DEFAULTS));
}

typedef struct {
    cli_common_t common;
    const char *only, *json, *serve;
    size_t rounds, batch, width, height;
} options_t;

static int number(const char *option, const char *value, size_t least, size_t most, size_t *out) {
    if (cli_parse_size(value, least, most, out)) return 0;
    return cli_usage_error(command, "--%s takes a number from %zu to %zu, not '%s'", option, least,
                           most, value);
}

static int parse(options_t *o, int argc, char **argv) {
    enum { OPT_ONLY = OPT_OWN, OPT_ROUNDS, OPT_BATCH, OPT_WIDTH, OPT_HEIGHT, OPT_JSON, OPT_SERVE };
    static const struct option table[] = {CLI_MODEL_OPTIONS,
                                          CLI_RUN_OPTIONS,
                                          {"only", required_argument, NULL, OPT_ONLY},
                                          {"rounds", required_argument, NULL, OPT_ROUNDS},
                                          {"batch", required_argument, NULL, OPT_BATCH},
                                          {"width", required_argument, NULL, OPT_WIDTH},
                                          {"height", required_argument, NULL, OPT_HEIGHT},
                                          {"json", required_argument, NULL, OPT_JSON},
                                          {"serve", required_argument, NULL, OPT_SERVE},
                                          CLI_HELP_OPTION};
    *o = (options_t){.common = CLI_COMMON_DEFAULTS, .only = "*", .rounds = 5, .batch = 2};
    int option, status = 0;
    while (!status && (option = cli_next_option(command, argc, argv, ":h", table)) != -1) {
        status = cli_common_option(&o->common, command, option, optarg);
        if (status >= 0) continue;
        status = 0;
        switch (option) {
        case OPT_HELP: return print_help(), 0;
        case OPT_ONLY: o->only = optarg; break;
        case OPT_JSON: o->json = optarg; break;
        case OPT_SERVE: o->serve = optarg; break;
        case OPT_ROUNDS: status = number("rounds", optarg, 1, 1000, &o->rounds); break;
        case OPT_BATCH: status = number("batch", optarg, 1, 64, &o->batch); break;
        case OPT_WIDTH: status = number("width", optarg, 8, 4096, &o->width); break;
        case OPT_HEIGHT: status = number("height", optarg, 8, 4096, &o->height); break;
        default: return EXIT_USAGE;
        }
    }
    if (status) return status;
    if (optind < argc) return cli_usage_error(command, "unexpected word '%s'", argv[optind]);
    if (o->serve && (o->json || strcmp(o->only, "*") != 0))
        return cli_usage_error(command, "--serve goes without --json and --only");
    if (!o->common.files.folder) o->common.files.folder = "synth:sd15";
    status = cli_check_precision(&o->common, command);
    if (!status) status = cli_check_experts(&o->common, command);
    const cli_output_t report = {"--json", o->json, CLI_JSON};
    if (!status) status = cli_check_outputs(command, &report, 1);
    return status ? status : -1;
}

/* ---- what is measured ------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    component_t *component; /* one of the two */
    operation_t *operation;
    double gflop;
    double *seconds; /* (rounds) */
    size_t faults, bytes;
} subject_t;

static const struct {
    const char *name;
    component_kind_t kind;
    bool experts;
} components[] = {{"text_encoder", COMPONENT_TEXT_ENCODER, false},
                  {"text_encoder_2", COMPONENT_TEXT_ENCODER_2, false},
                  {"unet", COMPONENT_UNET, false},
                  {"unet_mole", COMPONENT_UNET, true},
                  {"vae_decoder", COMPONENT_VAE_DECODER, false}};
enum { COMPONENTS = sizeof components / sizeof *components };

static run_t run_of(const options_t *o) {
    return (run_t){.matmul = o->common.matmul, .conv = o->common.conv, .form = o->common.form};
}

/* A second text encoder is measured where there is one; that the model lacks another part is its error. */
static bool is_there(const options_t *o, size_t index) {
    component_kind_t kind = components[index].kind;
    return kind != COMPONENT_TEXT_ENCODER_2 || component_exists(kind, &o->common.files);
}

static int open_component(subject_t *s, const options_t *o, size_t index, err_t *err) {
    pipeline_files_t files = o->common.files;
    if (!components[index].experts) {
        files.mole = (mole_files_t){0};
    } else if (!files.mole.experts) {
        files.mole = (mole_files_t){.experts = 2,
                                    .name = {"face", "hand"},
                                    .path = {"synth:rank=256,alpha=64", "synth:rank=256,alpha=128"},
                                    .gates = "synth:"};
    }
    run_t run = run_of(o);
    component_kind_t kind = components[index].kind;
    size_t batch = kind == COMPONENT_UNET ? o->batch : kind == COMPONENT_VAE_DECODER ? 1 : 2;
    *s = (subject_t){.name = components[index].name};
    if (component_open(&s->component, kind, &files, &run, batch, o->width, o->height, err))
        return -1;
    s->gflop = component_gflop(s->component);
    s->bytes = component_weight_bytes(s->component);
    return 0;
}

static int open_operation(subject_t *s, const options_t *o, size_t index, err_t *err) {
    run_t run = run_of(o);
    *s = (subject_t){.name = operation_name(index), .gflop = operation_gflop(index)};
    s->operation = operation_open(index, &run, err);
    return s->operation ? 0 : -1;
}

static double run_subject(subject_t *s) {
    double start = measure_seconds();
    if (s->component)
        component_run(s->component, NULL);
    else
        operation_run(s->operation);
    return measure_seconds() - start;
}

static void close_subject(subject_t *s) {
    component_close(s->component);
    operation_close(s->operation);
    free(s->seconds);
}

/* The subject of that name; EXIT_... or 0. */
static int open_named(subject_t *s, const options_t *o, const char *name) {
    err_t err;
    for (size_t i = 0; i < COMPONENTS; i++)
        if (strcmp(components[i].name, name) == 0)
            return open_component(s, o, i, &err) ? cli_input_error(command, &err) : 0;
    for (size_t i = 0; i < operation_count(); i++)
        if (strcmp(operation_name(i), name) == 0)
            return open_operation(s, o, i, &err) ? cli_input_error(command, &err) : 0;
    return cli_usage_error(command, "--serve %s: nothing of that name is measured", name);
}

/* ---- one line, one run ------------------------------------------------------------------------------ */

static int serve(const options_t *o) {
    subject_t s = {.name = "yardstick"};
    bool yardstick = strcmp(o->serve, "yardstick") == 0;
    int status = yardstick ? 0 : open_named(&s, o, o->serve);
    if (status) return status;
    printf("ready %.6f %zu\n", s.gflop, s.bytes);
    fflush(stdout);
    char line[64];
    while (!status && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        size_t before = measure_faults();
        if (strcmp(line, "yardstick") == 0 || (yardstick && strcmp(line, "go") == 0)) {
            printf("%.2f\n", measure_yardstick());
        } else if (strcmp(line, "go") == 0) {
            double seconds = run_subject(&s);
            printf("%.6f %zu %zu\n", seconds, measure_faults() - before, measure_peak_bytes());
        } else {
            status = cli_usage_error(command,
                                     "--serve: expected \"go\" or \"yardstick\", found '%s'", line);
        }
        fflush(stdout);
    }
    close_subject(&s);
    return status;
}

/* ---- rounds ----------------------------------------------------------------------------------------- */

typedef struct {
    const options_t *options;
    subject_t *subject;
    size_t subjects;
    double *yardstick; /* (rounds) */
    bool *steady;      /* (rounds) */
    size_t counted;
} report_t;

static int open_all(report_t *r, err_t *err) {
    const options_t *o = r->options;
    r->subject = xcalloc(COMPONENTS + operation_count(), sizeof *r->subject);
    for (size_t i = 0; i < COMPONENTS + operation_count(); i++) {
        bool component = i < COMPONENTS;
        const char *name = component ? components[i].name : operation_name(i - COMPONENTS);
        if (fnmatch(o->only, name, 0)) continue;
        if (component && !is_there(o, i)) continue;
        fprintf(stderr, "mole bench: loading %s\n", name);
        subject_t *s = &r->subject[r->subjects];
        if (component ? open_component(s, o, i, err) : open_operation(s, o, i - COMPONENTS, err))
            return -1;
        s->seconds = xcalloc(o->rounds, sizeof *s->seconds);
        r->subjects++;
    }
    if (r->subjects) return 0;
    return err_set(err, "--only %s: nothing of that name is measured (see mole bench --help)",
                   o->only);
}

static void run_rounds(report_t *r) {
    const options_t *o = r->options;
    for (size_t i = 0; i < r->subjects; i++) run_subject(&r->subject[i]); /* warm */
    for (size_t round = 0; round < o->rounds; round++) {
        r->yardstick[round] = measure_yardstick();
        for (size_t i = 0; i < r->subjects; i++) {
            subject_t *s = &r->subject[i];
            size_t before = measure_faults();
            s->seconds[round] = run_subject(s);
            s->faults = measure_faults() - before;
        }
        fprintf(stderr, "mole bench: round %zu/%zu, yardstick %.0f GFLOP/s\n", round + 1, o->rounds,
                r->yardstick[round]);
    }
    r->counted = steady_rounds(r->steady, r->yardstick, o->rounds);
}

/* Over the rounds that count: seconds, and the share of the same round's yardstick. */
static spread_t steady_seconds(const report_t *r, const subject_t *s, spread_t *share) {
    size_t n = 0;
    double *seconds = xmalloc(r->counted * sizeof *seconds);
    double *shares = xmalloc(r->counted * sizeof *shares);
    for (size_t k = 0; k < r->options->rounds; k++) {
        if (!r->steady[k]) continue;
        seconds[n] = s->seconds[k];
        shares[n++] = s->gflop / s->seconds[k] / r->yardstick[k];
    }
    spread_t result = spread_of(seconds, n);
    *share = spread_of(shares, n);
    free(seconds);
    free(shares);
    return result;
}

static void print_report(const report_t *r) {
    char cpu[128];
    spread_t yardstick = spread_of(r->yardstick, r->options->rounds);
    printf("machine    %s, %d threads, %s\n", measure_cpu(cpu, sizeof cpu), omp_get_max_threads(),
           REAL_NAME);
    printf("yardstick  %.0f GFLOP/s (%.0f to %.0f): %s, kernel %s\n", yardstick.median,
           yardstick.min, yardstick.max, matmul_library(), matmul_kernel());
    printf("rounds     %zu of %zu count\n\n", r->counted, r->options->rounds);
    printf("%-36s %10s %10s %10s %9s %7s %7s\n", "", "median ms", "min", "max", "GFLOP/s", "share",
           "faults");
    for (size_t i = 0; i < r->subjects; i++) {
        const subject_t *s = &r->subject[i];
        spread_t share, t = steady_seconds(r, s, &share);
        printf("%-36s %10.3f %10.3f %10.3f", s->name, 1e3 * t.median, 1e3 * t.min, 1e3 * t.max);
        if (s->gflop > 0)
            printf(" %9.1f %7.3f", s->gflop / t.median, share.median);
        else
            printf(" %9s %7s", "-", "-");
        printf(" %7zu\n", s->faults);
    }
    printf("\npeak resident memory %zu MiB\n", measure_peak_bytes() >> 20);
}

static json_t *numbers(const double *x, size_t n) {
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(array, json_real(x[i]));
    return array;
}

static json_t *results(const report_t *r) {
    json_t *array = json_array();
    size_t rounds = r->options->rounds;
    for (size_t i = 0; i < r->subjects; i++) {
        const subject_t *s = &r->subject[i];
        spread_t share, t = steady_seconds(r, s, &share);
        json_array_append_new(array, json_pack("{s:s, s:f, s:o, s:o, s:f, s:f, s:f, s:f, s:f, s:I}",
                                               "name", s->name, "gflop", s->gflop, "seconds",
                                               numbers(s->seconds, rounds), "yardstick_gflops",
                                               numbers(r->yardstick, rounds), "median_s", t.median,
                                               "min_s", t.min, "max_s", t.max, "gflops",
                                               s->gflop / t.median, "share", share.median, "faults",
                                               (json_int_t)s->faults));
    }
    return array;
}

static int write_json(const report_t *r, err_t *err) {
    const options_t *o = r->options;
    static const char *const conv[] = {"auto", "tiles", "winograd"};
    char cpu[128];
    size_t bytes = 0;
    for (size_t i = 0; i < r->subjects; i++) bytes += r->subject[i].bytes;
    json_t *root = json_pack(
        "{s:s, s:{s:s, s:i, s:s, s:s, s:s, s:i}, s:{s:s, s:I, s:I, s:I, s:s, s:s, s:s, s:s, s:I}, "
        "s:I, s:I, s:o}",
        "format", "mole bench 1", "machine", "cpu", measure_cpu(cpu, sizeof cpu), "cores",
        omp_get_num_procs(), "blas", matmul_library(), "kernel", matmul_kernel(), "compiler",
        __VERSION__, "threads", omp_get_max_threads(), "settings", "model", o->common.files.folder,
        "width", (json_int_t)o->width, "height", (json_int_t)o->height, "batch",
        (json_int_t)o->batch, "precision", REAL_NAME, "matmul",
        o->common.matmul == MATMUL_BLAS ? "blas" : "plain", "conv", conv[o->common.conv], "mole",
        o->common.form == MOLE_DIRECT ? "direct" : "stacked", "rounds", (json_int_t)o->rounds,
        "weights_bytes", (json_int_t)bytes, "peak_rss_bytes", (json_int_t)measure_peak_bytes(),
        "results", results(r));
    return cli_write_json(o->json, root, err);
}

int cli_bench(int argc, char **argv) {
    options_t o;
    int usage = parse(&o, argc, argv);
    if (usage >= 0) return usage;
    if (o.serve) return serve(&o);
    err_t err;
    report_t r = {.options = &o};
    r.yardstick = xcalloc(o.rounds, sizeof *r.yardstick);
    r.steady = xcalloc(o.rounds, sizeof *r.steady);
    int status = open_all(&r, &err);
    if (!status) {
        run_rounds(&r);
        print_report(&r);
        status = o.json ? write_json(&r, &err) : 0;
    }
    for (size_t i = 0; i < r.subjects; i++) close_subject(&r.subject[i]);
    free(r.subject);
    free(r.yardstick);
    free(r.steady);
    return status ? cli_input_error(command, &err) : 0;
}
