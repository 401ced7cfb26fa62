/* own_options.h - the words that say which model of one's own is run, and how: mole compare --model, mole
 * golden. */
#ifndef MOLE_CLI_OWN_OPTIONS_H
#define MOLE_CLI_OWN_OPTIONS_H

#include "cli/cli.h"
#include "cli/prompt_list.h"
#include "golden/own_case.h"

typedef struct {
    cli_common_t common;
    prompt_settings_t set;
    own_case_t own;       /* ready after own_options_check */
    const char *stranger; /* an option that says something of a model that is not named, or NULL */
} own_options_t;

#define OWN_DEFAULTS                                                                               \
    ((own_options_t){.common = CLI_DIRECT_DEFAULTS,                                                \
                     .set = {.steps = 50, .scale = 7.5},                                           \
                     .own = {.timestep = NAN, .scheduler = "authors"}})

/* For a subcommand's long option table, beside CLI_MODEL_OPTIONS. */
enum {
    OPT_OWN_PROMPT = 768,
    OPT_OWN_NEGATIVE,
    OPT_OWN_NEGATIVE_RULE,
    OPT_OWN_SEED,
    OPT_OWN_STEPS,
    OPT_OWN_SCALE,
    OPT_OWN_WIDTH,
    OPT_OWN_HEIGHT,
    OPT_OWN_ETA,
    OPT_OWN_SCHEDULER,
    OPT_OWN_DEVIATION,
    OPT_OWN_INPUTS,
    OPT_OWN_TIMESTEP
};
#define OWN_OPTIONS                                                                                \
    {"prompt", required_argument, NULL, OPT_OWN_PROMPT},                                           \
        {"negative", required_argument, NULL, OPT_OWN_NEGATIVE},                                   \
        {"negative-rule", required_argument, NULL, OPT_OWN_NEGATIVE_RULE},                         \
        {"seed", required_argument, NULL, OPT_OWN_SEED},                                           \
        {"steps", required_argument, NULL, OPT_OWN_STEPS},                                         \
        {"scale", required_argument, NULL, OPT_OWN_SCALE},                                         \
        {"width", required_argument, NULL, OPT_OWN_WIDTH},                                         \
        {"height", required_argument, NULL, OPT_OWN_HEIGHT},                                       \
        {"eta", required_argument, NULL, OPT_OWN_ETA},                                             \
        {"scheduler", required_argument, NULL, OPT_OWN_SCHEDULER},                                 \
        {"deviation", required_argument, NULL, OPT_OWN_DEVIATION},                                 \
        {"inputs", required_argument, NULL, OPT_OWN_INPUTS}, {                                     \
        "timestep", required_argument, NULL, OPT_OWN_TIMESTEP                                      \
    }
extern const char own_options_help[];

/* One of these, or of the model's. Returns 0, or EXIT_USAGE after a message; -1: none of them. */
int own_options_set(own_options_t *options, const char *command, int option, const char *value);
/* The options as a whole. Returns 0 or EXIT_USAGE. */
int own_options_check(own_options_t *options, const char *command);

#endif
