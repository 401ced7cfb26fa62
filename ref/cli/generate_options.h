/* generate_options.h - the words of mole generate. */
#ifndef MOLE_CLI_GENERATE_OPTIONS_H
#define MOLE_CLI_GENERATE_OPTIONS_H

#include "cli/cli.h"

typedef struct {
    char *positive, *negative;
} generate_prompt_t;

typedef struct {
    cli_common_t common;
    generate_prompt_t *prompt; /* (prompts), owned */
    size_t prompts;
    const char *prompts_from; /* the file they are from, or NULL */
    uint64_t seed;
    size_t images, steps, width, height; /* width, height 0: the model's own */
    double scale, eta;
    const char *scheduler, *latents, *trace, *gates_png, *output;
    noise_source_t noise;
    prompt_syntax_t syntax;
    size_t max_chunks;
    bool quiet, trace_inputs;
} generate_options_t;

/* Returns -1 and the options (generate_options_free is due), or the exit code to leave with. */
int generate_options_parse(generate_options_t *options, int argc, char **argv);
void generate_options_free(generate_options_t *options);

/* The file of picture `number` (from 1): OUT itself when there is one picture, OUT with -0001 before its
 * ending when there are several. The caller frees it. */
char *generate_output_path(const generate_options_t *options, size_t number);

#endif
