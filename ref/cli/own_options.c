/* own_options.c - see own_options.h. */
#include "cli/own_options.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char own_options_help[] =
    "  --prompt TEXT        a whole run, prompt to picture, as mole generate has it, with\n"
    "  --negative TEXT --negative-rule encoded|zeros --seed N --steps N --scale X --width N\n"
    "  --height N --eta X --scheduler authors|config|euler --deviation NAME\n"
    "  --inputs FILE        or one pass of the UNet on what this safetensors file holds, F32, named "
    "as\n"
    "                       golden cases do: input/sample, input/context, for XL "
    "input/text_embeds and\n"
    "                       input/time_ids. input/latents: the VAE's decoder; input/input_ids: "
    "the text\n"
    "                       encoder\n"
    "  --timestep X         of the UNet's pass (else a tensor 'timestep' of one number)\n";

static int bad(const char *command, const char *option, const char *takes, const char *value) {
    return cli_usage_error(command, "--%s takes %s, not '%s'", option, takes, value);
}

/* The numbers that a line of a file of prompts may set too. -1: none of these. */
static int set_number(own_options_t *o, const char *command, int option, const char *value) {
    static const struct {
        int option;
        const char *name;
        char letter;
    } table[] = {{OPT_OWN_SEED, "seed", 'd'},
                 {OPT_OWN_STEPS, "steps", 's'},
                 {OPT_OWN_SCALE, "scale", 'l'},
                 {OPT_OWN_WIDTH, "width", 'w'},
                 {OPT_OWN_HEIGHT, "height", 'h'}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].option != option) continue;
        const char *takes = prompt_set(&o->set, table[i].letter, value);
        return takes ? bad(command, table[i].name, takes, value) : 0;
    }
    return -1;
}

/* Index in `words`, or -1. */
static int which(const char *const words[], const char *value) {
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], value) == 0) return i;
    return -1;
}

static int set_choice(own_options_t *o, const char *command, int option, const char *value) {
    static const char *const rules[] = {"encoded", "zeros", NULL};
    static const char *const schedulers[] = {"authors", "config", "euler", NULL};
    own_case_t *own = &o->own;
    err_t err;
    switch (option) {
    case OPT_OWN_NEGATIVE_RULE:
        if (which(rules, value) < 0)
            return bad(command, "negative-rule", "encoded or zeros", value);
        own->rule = which(rules, value) ? NEGATIVE_ZEROS : NEGATIVE_ENCODED;
        return 0;
    case OPT_OWN_SCHEDULER:
        own->scheduler = value;
        if (which(schedulers, value) >= 0) return 0;
        return bad(command, "scheduler", "authors, config or euler here", value);
    case OPT_OWN_DEVIATION:
        if (!deviations_add(&own->deviations, value, &err)) return 0;
        return cli_usage_error(command, "--deviation: %s", err.text);
    case OPT_OWN_ETA:
        if (cli_parse_double(value, 0, 1, &own->image.eta)) return 0;
        return bad(command, "eta", "a number from 0 to 1", value);
    default:
        if (cli_parse_double(value, 0, 1e6, &own->timestep)) return 0;
        return bad(command, "timestep", "a number from 0 to 1000000", value);
    }
}

static int set_own(own_options_t *o, const char *command, int option, const char *value) {
    switch (option) {
    case OPT_OWN_PROMPT: o->own.prompt = value; return 0;
    case OPT_OWN_NEGATIVE: o->own.negative = value; return 0;
    case OPT_OWN_INPUTS: o->own.inputs = value; return 0;
    case OPT_OWN_NEGATIVE_RULE:
    case OPT_OWN_SCHEDULER:
    case OPT_OWN_DEVIATION:
    case OPT_OWN_ETA:
    case OPT_OWN_TIMESTEP: return set_choice(o, command, option, value);
    default: return set_number(o, command, option, value);
    }
}

int own_options_set(own_options_t *o, const char *command, int option, const char *value) {
    int status = set_own(o, command, option, value);
    if (status < 0) status = cli_common_option(&o->common, command, option, value);
    if (!status && !o->stranger) o->stranger = value ? value : "";
    return status;
}

/* What a golden case can say of experts. */
static int check_files(const own_options_t *o, const char *command) {
    const mole_files_t *mole = &o->common.files.mole;
    for (size_t i = 0; i < mole->experts; i++)
        if (strcmp(mole->name[i], "face") != 0 && strcmp(mole->name[i], "hand") != 0)
            return cli_usage_error(command, "--expert %s: a case knows --face and --hand alone",
                                   mole->name[i]);
    return 0;
}

int own_options_check(own_options_t *o, const char *command) {
    own_case_t *own = &o->own;
    int status = cli_check_experts(&o->common, command);
    if (!status) status = check_files(o, command);
    if (status) return status;
    if (!own->prompt == !own->inputs)
        return cli_usage_error(command, "--model goes with --prompt, or with --inputs");
    if (own->inputs && own->negative)
        return cli_usage_error(command, "--negative goes with --prompt, not with --inputs");
    if (own->prompt && !isnan(own->timestep))
        return cli_usage_error(command, "--timestep goes with --inputs, not with --prompt");
    if (o->set.seed > INT64_MAX)
        return cli_usage_error(command, "--seed: a case holds seeds up to 2^63-1");
    own->files = o->common.files;
    own->image.seed = o->set.seed;
    own->image.steps = o->set.steps;
    own->image.width = o->set.width;
    own->image.height = o->set.height;
    own->image.guidance_scale = o->set.scale;
    return 0;
}
