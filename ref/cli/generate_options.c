/* generate_options.c - see generate_options.h. */
#include "cli/generate_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"

static void print_help(void) {
    printf(
        "usage: mole generate --model FOLDER --prompt TEXT -o OUT.png [OPTIONS]\n\n"
        "Make pictures from prompts.\n\n%s\n"
        "  --prompt TEXT        what the picture shows\n"
        "  --prompts-from FILE  one prompt a line instead; blank lines are passed over\n"
        "  --negative TEXT      what it shall not show (\"\")\n"
        "  --preset paper       append the authors' fixed words to prompt and negative prompt\n"
        "  --syntax plain|weighted  weighted: (word) [word] (word:1.3) as in the authors' scripts "
        "(plain)\n"
        "  --max-chunks N       chunks of 75 tokens a prompt may have (1); the rest is cut off\n"
        "  --seed N             torch's seed, 0 .. 2^64-1 (0); picture i of a prompt uses N + i\n"
        "  --images N           pictures per prompt (1)\n"
        "  --steps N            denoising steps, 1 .. 1000 (50)\n"
        "  --scale X            guidance scale (7.5); at most 1: no guidance, no negative prompt\n"
        "  --width N --height N pixels (the model's own)\n"
        "  --eta X              0: deterministic DDIM, 1: full noise (0)\n"
        "  --scheduler authors|config|FILE  DDIM settings: what the authors' scripts end up with, "
        "the\n"
        "                       model's scheduler_config.json, or a file of that kind (authors)\n"
        "  --noise cpu|cuda     whose torch.randn the latents come from (cpu)\n"
        "  --latents FILE       start from these instead: .npy, .npz or .safetensors, "
        "(1,4,H/8,W/8)\n"
        "  --trace FILE         every intermediate tensor, safetensors (one prompt, one picture)\n"
        "  --trace-inputs       the trace also holds NAME.in, what goes into each module with "
        "weights\n"
        "  --gates-png FOLDER   pictures of how strong each expert was, where\n"
        "  -o, --output FILE    the picture; with several: FILE-0001.png, FILE-0002.png, ...\n"
        "  -q, --quiet          no progress and no settings on the screen\n\n%s\n"
        "example:\n"
        "  mole generate --model golden/models/sd15-tiny --prompt \"a portrait, waving\" --seed 7 "
        "--steps 10 \\\n"
        "      --face golden/models/sd15-tiny-mole/face.safetensors \\\n"
        "      --hand golden/models/sd15-tiny-mole/hand.safetensors \\\n"
        "      --gates golden/models/sd15-tiny-mole/gates.safetensors -o portrait.png\n",
        cli_model_help, cli_run_help(CLI_COMMON_DEFAULTS));
}

/* What the command line says before it is checked as a whole. */
typedef struct {
    const char *prompt, *prompts_from, *negative;
    bool paper;
} words_t;

enum {
    OPT_PROMPT = OPT_OWN,
    OPT_PROMPTS_FROM,
    OPT_NEGATIVE,
    OPT_PRESET,
    OPT_SYNTAX,
    OPT_MAX_CHUNKS,
    OPT_SEED,
    OPT_IMAGES,
    OPT_STEPS,
    OPT_SCALE,
    OPT_WIDTH,
    OPT_HEIGHT,
    OPT_ETA,
    OPT_SCHEDULER,
    OPT_NOISE,
    OPT_LATENTS,
    OPT_TRACE,
    OPT_TRACE_INPUTS,
    OPT_GATES_PNG
};

static const struct option long_options[] = {
    CLI_MODEL_OPTIONS,
    CLI_RUN_OPTIONS,
    {"prompt", required_argument, NULL, OPT_PROMPT},
    {"prompts-from", required_argument, NULL, OPT_PROMPTS_FROM},
    {"negative", required_argument, NULL, OPT_NEGATIVE},
    {"preset", required_argument, NULL, OPT_PRESET},
    {"syntax", required_argument, NULL, OPT_SYNTAX},
    {"max-chunks", required_argument, NULL, OPT_MAX_CHUNKS},
    {"seed", required_argument, NULL, OPT_SEED},
    {"images", required_argument, NULL, OPT_IMAGES},
    {"steps", required_argument, NULL, OPT_STEPS},
    {"scale", required_argument, NULL, OPT_SCALE},
    {"width", required_argument, NULL, OPT_WIDTH},
    {"height", required_argument, NULL, OPT_HEIGHT},
    {"eta", required_argument, NULL, OPT_ETA},
    {"scheduler", required_argument, NULL, OPT_SCHEDULER},
    {"noise", required_argument, NULL, OPT_NOISE},
    {"latents", required_argument, NULL, OPT_LATENTS},
    {"trace", required_argument, NULL, OPT_TRACE},
    {"trace-inputs", no_argument, NULL, OPT_TRACE_INPUTS},
    {"gates-png", required_argument, NULL, OPT_GATES_PNG},
    {"output", required_argument, NULL, 'o'},
    {"quiet", no_argument, NULL, 'q'},
    CLI_HELP_OPTION};

static const char command[] = "generate";
enum { SIDE_MAX = 65528 }; /* the largest multiple of 8 that a picture may have, see io/png.h */

static int bad(const char *option, const char *expected, const char *value) {
    return cli_usage_error(command, "--%s takes %s, not '%s'", option, expected, value);
}

/* One of two words: *index says which. */
static bool either(const char *value, const char *first, const char *second, int *index) {
    *index = strcmp(value, second) == 0;
    return *index || strcmp(value, first) == 0;
}

static int set_number(generate_options_t *o, int option, const char *value) {
    switch (option) {
    case OPT_SEED:
        return cli_parse_u64(value, &o->seed)
                   ? 0
                   : bad("seed", "a whole number from 0 to 2^64-1", value);
    case OPT_IMAGES:
        return cli_parse_size(value, 1, 1000000, &o->images)
                   ? 0
                   : bad("images", "a number from 1 to 1000000", value);
    case OPT_STEPS:
        return cli_parse_size(value, 1, 1000, &o->steps)
                   ? 0
                   : bad("steps", "a number from 1 to 1000", value);
    case OPT_WIDTH:
        return cli_parse_size(value, 8, SIDE_MAX, &o->width) && o->width % 8 == 0
                   ? 0
                   : bad("width", "a multiple of 8 from 8 to 65528", value);
    case OPT_HEIGHT:
        return cli_parse_size(value, 8, SIDE_MAX, &o->height) && o->height % 8 == 0
                   ? 0
                   : bad("height", "a multiple of 8 from 8 to 65528", value);
    case OPT_MAX_CHUNKS:
        return cli_parse_size(value, 1, 100, &o->max_chunks)
                   ? 0
                   : bad("max-chunks", "a number from 1 to 100", value);
    case OPT_SCALE:
        return cli_parse_double(value, 0, 1000, &o->scale)
                   ? 0
                   : bad("scale", "a number from 0 to 1000", value);
    default:
        return cli_parse_double(value, 0, 1, &o->eta) ? 0
                                                      : bad("eta", "a number from 0 to 1", value);
    }
}

static int set_option(generate_options_t *o, words_t *w, int option, const char *value) {
    int index;
    switch (option) {
    case OPT_PROMPT: w->prompt = value; return 0;
    case OPT_PROMPTS_FROM: w->prompts_from = value; return 0;
    case OPT_NEGATIVE: w->negative = value; return 0;
    case OPT_PRESET:
        w->paper = strcmp(value, "paper") == 0;
        return w->paper ? 0 : bad("preset", "paper", value);
    case OPT_SYNTAX:
        if (!either(value, "plain", "weighted", &index))
            return bad("syntax", "plain or weighted", value);
        o->syntax = index ? PROMPT_WEIGHTED : PROMPT_PLAIN;
        return 0;
    case OPT_NOISE:
        if (!either(value, "cpu", "cuda", &index)) return bad("noise", "cpu or cuda", value);
        o->noise = index ? NOISE_CUDA : NOISE_CPU;
        return 0;
    case OPT_SCHEDULER: o->scheduler = value; return 0;
    case OPT_LATENTS: o->latents = value; return 0;
    case OPT_TRACE: o->trace = value; return 0;
    case OPT_TRACE_INPUTS: o->trace_inputs = true; return 0;
    case OPT_GATES_PNG: o->gates_png = value; return 0;
    case 'o': o->output = value; return 0;
    case 'q': o->quiet = true; return 0;
    default: return set_number(o, option, value);
    }
}

static void add_prompt(generate_options_t *o, const words_t *w, const char *text, size_t length) {
    o->prompt = xrealloc(o->prompt, (o->prompts + 1) * sizeof *o->prompt);
    generate_prompt_t *p = &o->prompt[o->prompts++];
    p->positive = xasprintf("%.*s%s", (int)length, text, w->paper ? prompt_paper_positive : "");
    p->negative = xasprintf("%s%s", w->negative, w->paper ? prompt_paper_negative : "");
}

static int read_prompts(generate_options_t *o, const words_t *w) {
    enum { LIMIT = 64 << 20 };
    err_t err;
    char *data;
    size_t bytes;
    if (file_read(w->prompts_from, LIMIT, &data, &bytes, &err))
        return cli_input_error(command, &err);
    int status = 0;
    if (memchr(data, '\0', bytes)) {
        err_set(&err, "%s: has a NUL byte; expected text, one prompt a line", w->prompts_from);
        status = cli_input_error(command, &err);
    }
    o->prompts_from = w->prompts_from;
    for (const char *line = data; !status && *line;) {
        size_t length = strcspn(line, "\n"), kept = length;
        if (kept && line[kept - 1] == '\r') kept--;
        if (strspn(line, " \t\r") < kept) add_prompt(o, w, line, kept);
        line += length + (line[length] == '\n');
    }
    free(data);
    if (!status && !o->prompts) {
        err_set(&err, "%s: holds no prompt", w->prompts_from);
        status = cli_input_error(command, &err);
    }
    return status;
}

/* The options as a whole. */
static int check(generate_options_t *o, const words_t *w) {
    int status = cli_check_precision(&o->common, command);
    if (!status) status = cli_check_experts(&o->common, command);
    if (status) return status;
    if (!o->output) return cli_usage_error(command, "-o OUT.png is missing");
    if (!w->prompt == !w->prompts_from)
        return cli_usage_error(command, "give either --prompt or --prompts-from");
    if (o->seed + (o->images - 1) < o->seed)
        return cli_usage_error(command,
                               "--images %zu from seed %llu: the last seed is above 2^64-1",
                               o->images, (unsigned long long)o->seed);
    if (o->trace && strcmp(o->trace, o->output) == 0)
        return cli_usage_error(command, "--trace and -o name the same file");
    if (o->gates_png && !o->common.files.mole.gates)
        return cli_usage_error(command, "--gates-png without --gates: there are no gates to draw");
    if (o->trace_inputs && !o->trace)
        return cli_usage_error(command, "--trace-inputs without --trace");
    if (o->latents && o->images > 1)
        return cli_usage_error(command, "--latents makes one picture: leave out --images");
    if (w->prompt)
        add_prompt(o, w, w->prompt, strlen(w->prompt));
    else if ((status = read_prompts(o, w)))
        return status;
    if (o->trace && o->prompts * o->images > 1)
        return cli_usage_error(command, "--trace holds one picture: one prompt, no --images");
    return 0;
}

int generate_options_parse(generate_options_t *o, int argc, char **argv) {
    *o = (generate_options_t){.common = CLI_COMMON_DEFAULTS,
                              .images = 1,
                              .steps = 50,
                              .scale = 7.5,
                              .scheduler = "authors",
                              .max_chunks = 1};
    words_t words = {.negative = ""};
    int option, status = 0;
    while (!status && (option = cli_next_option(command, argc, argv, ":o:q", long_options)) != -1) {
        if (option == OPT_HELP) return print_help(), 0;
        if (option == '?')
            status = EXIT_USAGE;
        else
            status = cli_common_option(&o->common, command, option, optarg);
        if (status < 0) status = set_option(o, &words, option, optarg);
    }
    if (!status && optind < argc)
        status = cli_usage_error(command, "unexpected word '%s'", argv[optind]);
    if (!status) status = check(o, &words);
    if (!status) return -1;
    generate_options_free(o);
    return status;
}

void generate_options_free(generate_options_t *o) {
    for (size_t i = 0; i < o->prompts; i++) {
        free(o->prompt[i].positive);
        free(o->prompt[i].negative);
    }
    free(o->prompt);
    o->prompt = NULL;
    o->prompts = 0;
}

char *generate_output_path(const generate_options_t *o, size_t number) {
    if (o->prompts * o->images == 1) return xstrdup(o->output);
    size_t stem = strlen(o->output);
    bool ending = stem >= 4 && strcmp(o->output + stem - 4, ".png") == 0;
    if (ending) stem -= 4;
    return xasprintf("%.*s-%04zu%s", (int)stem, o->output, number, ending ? ".png" : "");
}
