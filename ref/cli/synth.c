/* synth.c - mole synth: a checkpoint of any size from a formula. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "pipeline/synth_write.h"

static const char command[] = "synth";

static void print_help(void) {
    printf("usage: mole synth --arch ARCH -o PATH [OPTIONS]\n\n"
           "Write a model whose every number follows from a formula (docs/synth.md), the same bits "
           "as a\nmodel named synth:ARCH has in place, for programs that read files.\n\n"
           "  --arch sd15|sd21|sdxl  Stable Diffusion v1.5, v2.1 or XL; sd15-tiny, sd21-tiny, "
           "sdxl-tiny:\n"
           "                       the same with few channels\n"
           "  --seed N             another draw of all numbers (0)\n"
           "  --format diffusers|ldm  a pipeline folder, or one checkpoint file (diffusers)\n"
           "  --dtype f32|f16|bf16  of the model's numbers (f32)\n"
           "  -o PATH              the folder, or FILE.safetensors\n"
           "  --experts FOLDER     write face, hand and gates.safetensors there as well\n"
           "  --rank R             of both experts (256)\n"
           "  --face-alpha A, --hand-alpha A  (a quarter of the rank, half of it)\n"
           "  -q                   no progress on stderr\n\n"
           "example:\n  mole synth --arch sd15-tiny -o tiny --experts tiny-mole --rank 4\n");
}

typedef struct {
    synth_write_t job;
    uint64_t seed;
    double face_alpha, hand_alpha;
    size_t rank;
    bool quiet;
} options_t;

enum {
    OPT_ARCH = OPT_OWN,
    OPT_SEED,
    OPT_FORMAT,
    OPT_DTYPE,
    OPT_EXPERTS,
    OPT_RANK,
    OPT_FACE_ALPHA,
    OPT_HAND_ALPHA
};

/* Returns 0, or EXIT_USAGE after a message. */
static int set_option(options_t *o, int option, const char *value) {
    err_t err;
    switch (option) {
    case OPT_ARCH: {
        char *text = xasprintf("synth:%s", value);
        int status = synth_parse(&o->job.model, SYNTH_MODEL, text, NULL, &err);
        free(text);
        if (status || strpbrk(value, ",/"))
            return cli_usage_error(
                command, "--arch takes sd15, sd21 or sdxl, or one with -tiny, not '%s'", value);
        return 0;
    }
    case OPT_SEED:
        if (cli_parse_u64(value, &o->seed)) return 0;
        return cli_usage_error(command, "--seed takes 0 to 2^64-1, not '%s'", value);
    case OPT_FORMAT:
        o->job.ldm = strcmp(value, "ldm") == 0;
        if (o->job.ldm || strcmp(value, "diffusers") == 0) return 0;
        return cli_usage_error(command, "--format takes diffusers or ldm, not '%s'", value);
    case OPT_DTYPE:
        o->job.dtype = strcmp(value, "f16") == 0    ? DTYPE_F16
                       : strcmp(value, "bf16") == 0 ? DTYPE_BF16
                                                    : DTYPE_F32;
        if (o->job.dtype != DTYPE_F32 || strcmp(value, "f32") == 0) return 0;
        return cli_usage_error(command, "--dtype takes f32, f16 or bf16, not '%s'", value);
    case OPT_EXPERTS: o->job.experts = value; return 0;
    case OPT_RANK:
        if (cli_parse_size(value, 1, SYNTH_RANK_MAX, &o->rank)) return 0;
        return cli_usage_error(command, "--rank takes 1 to %d, not '%s'", SYNTH_RANK_MAX, value);
    case OPT_FACE_ALPHA:
    case OPT_HAND_ALPHA: {
        double *alpha = option == OPT_FACE_ALPHA ? &o->face_alpha : &o->hand_alpha;
        if (cli_parse_double(value, 1e-30, 1e30, alpha)) return 0;
        return cli_usage_error(command, "an alpha is a number above 0, not '%s'", value);
    }
    case 'o': o->job.path = value; return 0;
    case 'q': o->quiet = true; return 0;
    default: return EXIT_USAGE;
    }
}

static int check(options_t *o) {
    if (!o->job.model.arch[0]) return cli_usage_error(command, "--arch is missing");
    if (!o->job.path) return cli_usage_error(command, "-o PATH is missing");
    if (!o->job.experts && (o->rank || o->face_alpha > 0 || o->hand_alpha > 0))
        return cli_usage_error(command, "--rank and the alphas are those of --experts FOLDER");
    size_t length = strlen(o->job.path);
    if (o->job.ldm && (length < 12 || strcmp(o->job.path + length - 12, ".safetensors") != 0))
        return cli_usage_error(command, "--format ldm writes one file: -o FILE.safetensors");
    if (!o->rank) o->rank = 256;
    double rank = (double)o->rank;
    double face = (double)(float)(o->face_alpha > 0 ? o->face_alpha : rank / 4);
    double hand = (double)(float)(o->hand_alpha > 0 ? o->hand_alpha : rank / 2);
    o->job.model.seed = o->seed;
    o->job.face = (synth_spec_t){SYNTH_EXPERT, "", o->seed, o->rank, face, false};
    o->job.hand = (synth_spec_t){SYNTH_EXPERT, "", o->seed, o->rank, hand, false};
    o->job.gates = (synth_spec_t){SYNTH_GATES, "", o->seed, o->rank, rank, false};
    const cli_output_t outputs[] = {{"-o", o->job.path, o->job.ldm ? CLI_TENSORS : CLI_FOLDER},
                                    {"--experts", o->job.experts, CLI_FOLDER}};
    return cli_check_outputs(command, outputs, 2);
}

typedef struct {
    double last;
    bool quiet;
} shown_t;

/* For synth_write_t: a line every second. */
static bool show(void *who, size_t done, const char *file) {
    shown_t *shown = who;
    double now = clock_seconds();
    if (!shown->quiet && now - shown->last >= 1) {
        fprintf(stderr, "%s: %.0f MB so far\n", file, (double)done / 1e6);
        shown->last = now;
    }
    return !progress_interrupted();
}

int cli_synth(int argc, char **argv) {
    static const struct option table[] = {{"arch", required_argument, NULL, OPT_ARCH},
                                          {"seed", required_argument, NULL, OPT_SEED},
                                          {"format", required_argument, NULL, OPT_FORMAT},
                                          {"dtype", required_argument, NULL, OPT_DTYPE},
                                          {"experts", required_argument, NULL, OPT_EXPERTS},
                                          {"rank", required_argument, NULL, OPT_RANK},
                                          {"face-alpha", required_argument, NULL, OPT_FACE_ALPHA},
                                          {"hand-alpha", required_argument, NULL, OPT_HAND_ALPHA},
                                          CLI_HELP_OPTION};
    options_t o = {.job = {.dtype = DTYPE_F32}};
    int option, status = 0;
    while (!status && (option = cli_next_option(command, argc, argv, ":ho:q", table)) != -1) {
        if (option == OPT_HELP) return print_help(), 0;
        status = option == '?' ? EXIT_USAGE : set_option(&o, option, optarg);
    }
    if (!status && optind < argc)
        status = cli_usage_error(command, "unexpected word '%s'", argv[optind]);
    if (!status) status = check(&o);
    if (status) return status;
    err_t err;
    shown_t shown = {clock_seconds(), o.quiet};
    o.job.progress = show;
    o.job.who = &shown;
    progress_catch_interrupt();
    if (synth_write(&o.job, &err)) return cli_input_error(command, &err);
    cli_print("%s  %s, seed %llu", o.job.path, o.job.model.arch, (unsigned long long)o.seed);
    if (o.job.experts) cli_print("%s  face, hand, gates, rank %zu", o.job.experts, o.rank);
    return EXIT_AGREES;
}
