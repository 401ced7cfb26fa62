/* generate_options.h - the words of mole generate. */
#ifndef MOLE_CLI_GENERATE_OPTIONS_H
#define MOLE_CLI_GENERATE_OPTIONS_H

#include "cli/cli.h"
#include "cli/prompt_list.h"
#include "cli/what_if.h"

typedef struct {
    cli_common_t common;
    prompt_settings_t usual; /* what the command line says; a line of a file may say otherwise */
    prompt_list_t list;
    const char *from_file; /* the file they are from, or NULL */
    size_t images;         /* per prompt */
    size_t shard, shards;  /* --shard shard/shards, from 1 */
    double eta;
    const char *scheduler, *latents, *trace, *gates_png, *profile_json, *output;
    const char *sheet, *sheet_word, *steps_png, *xray, *peek;
    noise_source_t noise;
    prompt_syntax_t syntax;
    size_t max_chunks;
    negative_rule_t negative_rule;
    deviations_t deviations;
    size_conditioning_t size;
    bool sized; /* size was given, or a part of it */
    what_if_t what_if;
    bool quiet, trace_inputs, overwrite, profile, peek_stop;
} generate_options_t;

/* Returns -1 and the options (generate_options_free is due), or the exit code to leave with. */
int generate_options_parse(generate_options_t *options, int argc, char **argv);
void generate_options_free(generate_options_t *options);

/* Pictures are numbered from 1, over all prompts, those of one prompt together: how many there are, and
 * whether `number` is one for this shard. */
size_t generate_pictures(const generate_options_t *options);
bool generate_is_ours(const generate_options_t *options, size_t number);
/* May pictures of an earlier run be there, to be kept? Of a single picture nobody expects that. */
bool generate_is_list(const generate_options_t *options);

/* --gates-png names a folder, for maps over all pictures of a list, or FILE.png, for one labelled picture:
 * that file, or NULL. Is there a sheet to be made, a part of one, or an X-ray page? */
const char *generate_gates_file(const generate_options_t *options);
bool generate_has_sheet(const generate_options_t *options);

/* The file of picture `number`: OUT itself when there is one picture, OUT with -0001 before its ending when
 * there are several. The caller frees it. */
char *generate_output_path(const generate_options_t *options, size_t number);

#endif
