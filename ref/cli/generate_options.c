/* generate_options.c - see generate_options.h. */
#include "cli/generate_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "io/file.h"

/* A line for each, with what it changes; the caller frees it. */
static char *deviations_help(void) {
    char *text = xstrdup("");
    for (size_t i = 0; i < DEVIATIONS; i++) {
        const deviation_row_t *row = &deviation_table[i];
        char *longer = xasprintf("%s    %-24s  %s\n", text, row->name, row->what);
        free(text);
        text = longer;
    }
    return text;
}

static void print_help(void) {
    char *deviations = deviations_help();
    printf(
        "usage: mole generate --model FOLDER --prompt TEXT -o OUT.png [OPTIONS]\n\n"
        "Make pictures from prompts.\n\n%s\n"
        "  --prompt TEXT        what the picture shows\n"
        "  --from-file FILE     one prompt a line instead; blank lines are passed over; the "
        "authors' options\n"
        "                       n, w, h, s, d and l, each after two dashes, may follow a prompt\n"
        "  --shard I/N          of all pictures only the I-th and every N-th after it: one of N "
        "machines\n"
        "                       that share a list (1/1)\n"
        "  --negative TEXT      what it shall not show (\"\")\n"
        "  --negative-rule encoded|zeros  what stands for a negative prompt that is not given: the "
        "encoded empty\n"
        "                       text, as in the authors' scripts, or zeros, as diffusers has it "
        "for XL (encoded)\n"
        "  --preset paper|authors-xl  what the authors' commands do: paper their fixed words; "
        "authors-xl all\n"
        "                       deviations below and weighted prompts, as their command for XL\n"
        "  --deviation NAME     one such deviation from the method; may be repeated:\n%s"
        "  --syntax plain|weighted  weighted: (word) [word] (word:1.3) as in the authors' scripts "
        "(plain)\n"
        "  --max-chunks N       chunks of 75 tokens a prompt may have (1); the rest is cut off\n"
        "  --seed N             torch's seed, 0 .. 2^64-1 (0); picture i of a prompt uses N + i\n"
        "  --images N           pictures per prompt (1)\n"
        "  --steps N            denoising steps, 1 .. 1000 (50)\n"
        "  --scale X            guidance scale (7.5); at most 1: no guidance, no negative prompt\n"
        "  --width N --height N pixels (the model's own)\n"
        "  --original-size H,W --target-size H,W --crops-coords-top-left T,L  what a model of two "
        "text\n"
        "                       encoders is told of the picture (its own size, twice; 0,0)\n"
        "  --eta X              0: deterministic DDIM, 1: full noise (0)\n"
        "  --scheduler authors|config|euler|FILE  DDIM as the authors' scripts end up with it; "
        "what the\n"
        "                       model's scheduler_config.json asks for, or a file of that kind: "
        "Euler\n"
        "                       where it is EulerDiscreteScheduler's, else DDIM; Euler with the "
        "model's\n"
        "                       settings (authors)\n"
        "  --noise cpu|cuda     whose torch.randn the latents come from (cpu)\n"
        "  --latents FILE       start from these instead: .npy, .npz or .safetensors, "
        "(1,4,H/8,W/8)\n"
        "  --trace FILE         every intermediate tensor, safetensors (one prompt, one picture)\n"
        "  --trace-inputs       the trace also holds NAME.in, what goes into each module with "
        "weights\n"
        "  --peek GLOB          print a line for each tap of such a name as it passes, as mole peek "
        "does\n"
        "  --peek-stop          end the run after the first of them: no picture is made\n"
        "  --expert-strength EXPERT=X  what that expert adds times X, -10 to 10 (1)\n"
        "  --gate EXPERT.local=X, EXPERT.global=X  X, 0 to 1, in place of what its gates say\n"
        "  --profile            where the time went, by kinds of operations, after the run\n"
        "  --profile-json FILE  the same as JSON\n"
        "  --sheet FILE         one labelled picture of how it came about: with and without "
        "experts, the\n"
        "                       steps, where and when the gates opened, attention to a word\n"
        "  --sheet-word WORD    of the prompt (an expert's name, else what the picture shows)\n"
        "  --steps-png FILE     of that the steps alone\n"
        "  --gates-png FILE|FOLDER  FILE.png: of that the gates alone; a folder: maps of each "
        "expert's\n"
        "                       strength, over all pictures of a list\n"
        "  --xray FILE          a page (HTML) to look inside: the steps, the UNet, what each module "
        "does\n"
        "  -o, --output FILE    the picture; with several: FILE-0001.png, FILE-0002.png, ...\n"
        "  --overwrite          make every picture of a list anew. Without it, a picture that is "
        "there and\n"
        "                       says that it was made with the same settings is kept, and one that "
        "says\n"
        "                       otherwise is refused. A single picture is always made\n"
        "  -q, --quiet          no progress and no settings on the screen\n\n%s\n"
        "example:\n"
        "  mole generate --model golden/models/sd15-tiny --prompt \"a portrait, waving\" --seed 7 "
        "--steps 10 \\\n"
        "      --face golden/models/sd15-tiny-mole/face.safetensors \\\n"
        "      --hand golden/models/sd15-tiny-mole/hand.safetensors \\\n"
        "      --gates golden/models/sd15-tiny-mole/gates.safetensors -o portrait.png\n",
        cli_model_help, deviations, cli_run_help(CLI_COMMON_DEFAULTS));
    free(deviations);
}

/* What the command line says before it is checked as a whole. */
typedef struct {
    const char *prompt, *from_file, *negative;
} words_t;

enum {
    OPT_PROMPT = OPT_OWN,
    OPT_FROM_FILE,
    OPT_SHARD,
    OPT_OVERWRITE,
    OPT_PEEK,
    OPT_PEEK_STOP,
    OPT_NEGATIVE,
    OPT_NEGATIVE_RULE,
    OPT_ORIGINAL_SIZE,
    OPT_TARGET_SIZE,
    OPT_CROPS,
    OPT_PRESET,
    OPT_DEVIATION,
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
    OPT_GATES_PNG,
    OPT_PROFILE,
    OPT_PROFILE_JSON,
    OPT_SHEET,
    OPT_SHEET_WORD,
    OPT_STEPS_PNG,
    OPT_XRAY,
    OPT_EXPERT_STRENGTH,
    OPT_GATE
};

static const struct option long_options[] = {
    CLI_MODEL_OPTIONS,
    CLI_RUN_OPTIONS,
    {"prompt", required_argument, NULL, OPT_PROMPT},
    {"from-file", required_argument, NULL, OPT_FROM_FILE},
    {"shard", required_argument, NULL, OPT_SHARD},
    {"overwrite", no_argument, NULL, OPT_OVERWRITE},
    {"negative", required_argument, NULL, OPT_NEGATIVE},
    {"negative-rule", required_argument, NULL, OPT_NEGATIVE_RULE},
    {"original-size", required_argument, NULL, OPT_ORIGINAL_SIZE},
    {"target-size", required_argument, NULL, OPT_TARGET_SIZE},
    {"crops-coords-top-left", required_argument, NULL, OPT_CROPS},
    {"preset", required_argument, NULL, OPT_PRESET},
    {"deviation", required_argument, NULL, OPT_DEVIATION},
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
    {"peek", required_argument, NULL, OPT_PEEK},
    {"peek-stop", no_argument, NULL, OPT_PEEK_STOP},
    {"gates-png", required_argument, NULL, OPT_GATES_PNG},
    {"profile", no_argument, NULL, OPT_PROFILE},
    {"profile-json", required_argument, NULL, OPT_PROFILE_JSON},
    {"sheet", required_argument, NULL, OPT_SHEET},
    {"sheet-word", required_argument, NULL, OPT_SHEET_WORD},
    {"steps-png", required_argument, NULL, OPT_STEPS_PNG},
    {"xray", required_argument, NULL, OPT_XRAY},
    {"expert-strength", required_argument, NULL, OPT_EXPERT_STRENGTH},
    {"gate", required_argument, NULL, OPT_GATE},
    {"output", required_argument, NULL, 'o'},
    {"quiet", no_argument, NULL, 'q'},
    CLI_HELP_OPTION};

static const char command[] = "generate";

static int bad(const char *option, const char *expected, const char *value) {
    return cli_usage_error(command, "--%s takes %s, not '%s'", option, expected, value);
}

/* One of two words: *index says which. */
static bool either(const char *value, const char *first, const char *second, int *index) {
    *index = strcmp(value, second) == 0;
    return *index || strcmp(value, first) == 0;
}

/* I/N with I from 1 to N. */
static bool parse_shard(const char *value, size_t *shard, size_t *shards) {
    const char *slash = strchr(value, '/');
    if (!slash || slash == value) return false;
    char *first = xasprintf("%.*s", (int)(slash - value), value);
    bool good =
        cli_parse_size(slash + 1, 1, 1000000, shards) && cli_parse_size(first, 1, *shards, shard);
    free(first);
    return good;
}

/* "H,W", each from `least` on: what diffusers' pipeline takes as (H, W). */
static int set_pair(generate_options_t *o, const char *option, const char *value, size_t least,
                    size_t pair[2]) {
    const char *comma = strchr(value, ',');
    char *first = xasprintf("%.*s", (int)(comma ? comma - value : 0), value);
    bool good = comma && cli_parse_size(first, least, 1 << 20, &pair[0]) &&
                cli_parse_size(comma + 1, least, 1 << 20, &pair[1]);
    free(first);
    o->sized = true;
    return good ? 0 : bad(option, least ? "H,W, height first, each from 1" : "TOP,LEFT", value);
}

static int set_number(generate_options_t *o, int option, const char *value) {
    static const struct {
        int option;
        const char *name;
        char letter; /* in a file of prompts */
    } usual[] = {{OPT_SEED, "seed", 'd'},
                 {OPT_STEPS, "steps", 's'},
                 {OPT_WIDTH, "width", 'w'},
                 {OPT_HEIGHT, "height", 'h'},
                 {OPT_SCALE, "scale", 'l'}};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        if (usual[i].option != option) continue;
        const char *takes = prompt_set(&o->usual, usual[i].letter, value);
        return takes ? bad(usual[i].name, takes, value) : 0;
    }
    switch (option) {
    case OPT_IMAGES:
        return cli_parse_size(value, 1, 1000000, &o->images)
                   ? 0
                   : bad("images", "a number from 1 to 1000000", value);
    case OPT_MAX_CHUNKS:
        return cli_parse_size(value, 1, 100, &o->max_chunks)
                   ? 0
                   : bad("max-chunks", "a number from 1 to 100", value);
    case OPT_SHARD:
        return parse_shard(value, &o->shard, &o->shards)
                   ? 0
                   : bad("shard", "I/N, I from 1 to N, N to 1000000", value);
    default:
        return cli_parse_double(value, 0, 1, &o->eta) ? 0
                                                      : bad("eta", "a number from 0 to 1", value);
    }
}

static int set_preset(generate_options_t *o, const char *value) {
    const preset_t *preset = preset_find(value);
    if (!preset) return bad("preset", preset_names, value);
    o->deviations |= preset->deviations;
    if (preset->weighted) o->syntax = PROMPT_WEIGHTED;
    return 0;
}

static int set_option(generate_options_t *o, words_t *w, int option, const char *value) {
    int index;
    err_t err;
    switch (option) {
    case OPT_PROMPT: w->prompt = value; return 0;
    case OPT_FROM_FILE: w->from_file = value; return 0;
    case OPT_NEGATIVE: w->negative = value; return 0;
    case OPT_PRESET: return set_preset(o, value);
    case OPT_DEVIATION:
        if (deviations_add(&o->deviations, value, &err))
            return cli_usage_error(command, "--deviation: %s", err.text);
        return 0;
    case OPT_SYNTAX:
        if (!either(value, "plain", "weighted", &index))
            return bad("syntax", "plain or weighted", value);
        o->syntax = index ? PROMPT_WEIGHTED : PROMPT_PLAIN;
        return 0;
    case OPT_NEGATIVE_RULE:
        if (!either(value, "encoded", "zeros", &index))
            return bad("negative-rule", "encoded or zeros", value);
        o->negative_rule = index ? NEGATIVE_ZEROS : NEGATIVE_ENCODED;
        return 0;
    case OPT_ORIGINAL_SIZE: return set_pair(o, "original-size", value, 1, o->size.original_size);
    case OPT_TARGET_SIZE: return set_pair(o, "target-size", value, 1, o->size.target_size);
    case OPT_CROPS:
        return set_pair(o, "crops-coords-top-left", value, 0, o->size.crops_coords_top_left);
    case OPT_NOISE:
        if (!either(value, "cpu", "cuda", &index)) return bad("noise", "cpu or cuda", value);
        o->noise = index ? NOISE_CUDA : NOISE_CPU;
        return 0;
    case OPT_SCHEDULER: o->scheduler = value; return 0;
    case OPT_LATENTS: o->latents = value; return 0;
    case OPT_TRACE: o->trace = value; return 0;
    case OPT_OVERWRITE: o->overwrite = true; return 0;
    case OPT_TRACE_INPUTS: o->trace_inputs = true; return 0;
    case OPT_PEEK: o->peek = value; return 0;
    case OPT_PEEK_STOP: o->peek_stop = true; return 0;
    case OPT_GATES_PNG: o->gates_png = value; return 0;
    case OPT_SHEET: o->sheet = value; return 0;
    case OPT_SHEET_WORD: o->sheet_word = value; return 0;
    case OPT_STEPS_PNG: o->steps_png = value; return 0;
    case OPT_XRAY: o->xray = value; return 0;
    case OPT_EXPERT_STRENGTH: what_if_keep(&o->what_if, false, value); return 0;
    case OPT_GATE: what_if_keep(&o->what_if, true, value); return 0;
    case OPT_PROFILE: o->profile = true; return 0;
    case OPT_PROFILE_JSON: o->profile_json = value; return 0;
    case 'o': o->output = value; return 0;
    case 'q': o->quiet = true; return 0;
    default: return set_number(o, option, value);
    }
}

static int read_prompts(generate_options_t *o, const words_t *w) {
    err_t err;
    o->from_file = w->from_file;
    o->list.suffixed = (o->deviations & DEVIATION_PROMPT_SUFFIXES) != 0;
    if (!w->from_file)
        prompt_list_add(&o->list, w->prompt, strlen(w->prompt), w->negative, &o->usual);
    else if (prompt_list_read(&o->list, w->from_file, w->negative, &o->usual, &err))
        return cli_input_error(command, &err);
    return 0;
}

static int check_seeds(const generate_options_t *o) {
    for (size_t i = 0; i < o->list.count; i++) {
        uint64_t seed = o->list.prompt[i].set.seed;
        if (seed + (o->images - 1) < seed)
            return cli_usage_error(command,
                                   "--images %zu from seed %llu: the last seed is above 2^64-1",
                                   o->images, (unsigned long long)seed);
    }
    return 0;
}

/* The first option that asks for a sheet, a part of one, or an X-ray page. */
static const char *sheet_option(const generate_options_t *o) {
    if (o->sheet) return "--sheet";
    if (o->steps_png) return "--steps-png";
    return generate_gates_file(o) ? "--gates-png FILE.png" : "--xray";
}

static int check_sheet(const generate_options_t *o) {
    if (o->sheet_word && !o->sheet) return cli_usage_error(command, "--sheet-word without --sheet");
    if (generate_has_sheet(o) && generate_pictures(o) > 1)
        return cli_usage_error(command, "%s shows one picture: one prompt, no --images",
                               sheet_option(o));
    return 0;
}

/* What is of the whole run goes with one run for all. */
static int check_shard(const generate_options_t *o) {
    if (o->shards == 1) return 0;
    if (o->trace) return cli_usage_error(command, "--trace holds one picture: leave out --shard");
    if (generate_has_sheet(o))
        return cli_usage_error(command, "%s shows one picture: leave out --shard", sheet_option(o));
    if (o->gates_png)
        return cli_usage_error(command,
                               "--gates-png is over all pictures of a list: leave out --shard");
    return 0;
}

/* Of several pictures the first of this shard is tried, unless it is there, where it may be kept. */
static int check_outputs(const generate_options_t *o) {
    enum { OUTPUTS = 9 };
    cli_output_t outputs[] = {
        {"-o", o->output, CLI_PICTURE},
        {"--trace", o->trace, CLI_TENSORS},
        {"--profile-json", o->profile_json, CLI_JSON},
        {"--sheet", o->sheet, CLI_PICTURE},
        {"--steps-png", o->steps_png, CLI_PICTURE},
        {"--gates-png", o->gates_png, generate_gates_file(o) ? CLI_PICTURE : CLI_FOLDER},
        {"--xray", o->xray, CLI_HTML},
        {"--latents", o->latents, CLI_INPUT},
        {"--from-file", o->from_file, CLI_INPUT},
        [OUTPUTS + CLI_EXPERT_INPUTS - 1] = {NULL, NULL, CLI_INPUT}};
    size_t count = cli_expert_inputs(&o->common, outputs, OUTPUTS);
    int status = cli_check_names(command, outputs, count);
    if (status || o->shard > generate_pictures(o)) return status;
    char *picture = generate_output_path(o, o->shard);
    outputs[0].path = generate_is_list(o) && file_exists(picture) ? NULL : picture;
    status = cli_check_writable(command, outputs, count);
    free(picture);
    return status;
}

/* The options as a whole. */
static int check(generate_options_t *o, const words_t *w) {
    int status = cli_check_precision(&o->common, command);
    if (!status) status = cli_check_experts(&o->common, command);
    if (!status) status = what_if_read(&o->what_if, &o->common, command);
    if (status) return status;
    if (!o->output) return cli_usage_error(command, "-o OUT.png is missing");
    if (!w->prompt == !w->from_file)
        return cli_usage_error(command, "give either --prompt or --from-file");
    if (o->gates_png && !o->common.files.mole.gates)
        return cli_usage_error(command, "--gates-png without --gates: there are no gates to draw");
    if (o->trace_inputs && !o->trace)
        return cli_usage_error(command, "--trace-inputs without --trace");
    if (o->peek_stop && !o->peek) return cli_usage_error(command, "--peek-stop without --peek");
    if (o->latents && o->images > 1)
        return cli_usage_error(command, "--latents makes one picture: leave out --images");
    if ((status = check_shard(o)) || (status = read_prompts(o, w)) || (status = check_seeds(o)))
        return status;
    if (o->trace && generate_pictures(o) > 1)
        return cli_usage_error(command, "--trace holds one picture: one prompt, no --images");
    if ((status = check_sheet(o))) return status;
    return check_outputs(o);
}

int generate_options_parse(generate_options_t *o, int argc, char **argv) {
    *o = (generate_options_t){.common = CLI_COMMON_DEFAULTS,
                              .usual = {.steps = 50, .scale = 7.5},
                              .images = 1,
                              .shard = 1,
                              .shards = 1,
                              .scheduler = "authors",
                              .max_chunks = 1};
    words_t words = {.prompt = NULL};
    int option, status = 0;
    while (!status &&
           (option = cli_next_option(command, argc, argv, ":ho:q", long_options)) != -1) {
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
    prompt_list_free(&o->list);
}

size_t generate_pictures(const generate_options_t *o) {
    return o->list.count * o->images;
}

bool generate_is_ours(const generate_options_t *o, size_t number) {
    return (number - 1) % o->shards == o->shard - 1;
}

const char *generate_gates_file(const generate_options_t *o) {
    size_t length = o->gates_png ? strlen(o->gates_png) : 0;
    return length > 4 && strcasecmp(o->gates_png + length - 4, ".png") == 0 ? o->gates_png : NULL;
}

bool generate_has_sheet(const generate_options_t *o) {
    return o->sheet || o->steps_png || generate_gates_file(o) || o->xray;
}

bool generate_is_list(const generate_options_t *o) {
    return o->from_file || o->images > 1;
}

char *generate_output_path(const generate_options_t *o, size_t number) {
    if (generate_pictures(o) == 1) return xstrdup(o->output);
    size_t stem = strlen(o->output);
    bool ending = stem >= 4 && strcasecmp(o->output + stem - 4, ".png") == 0;
    if (ending) stem -= 4;
    return xasprintf("%.*s-%04zu%s", (int)stem, o->output, number, o->output + stem);
}
