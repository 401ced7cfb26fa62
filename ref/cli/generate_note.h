/* generate_note.h - what a picture says about itself, and pictures that earlier runs have left. */
#ifndef MOLE_CLI_GENERATE_NOTE_H
#define MOLE_CLI_GENERATE_NOTE_H

#include "cli/generate_options.h"

/* The key of the text chunk in the PNG. */
#define GENERATE_NOTE "parameters"

/* What was used, in the form that Stable Diffusion tools read. Sizes in prompt->set are those of the
 * picture. `weights` stands for the files, see below. The caller frees it. */
char *generate_note(const generate_options_t *options, const picture_prompt_t *prompt,
                    uint64_t seed, const ddim_config_t *scheduler, sampler_choice_t sampler,
                    uint64_t weights);

/* A number that tells files of weights (and latents) apart: FNV-1a of their sizes and contents, of large
 * files the contents of some hundred places. What cannot be read is passed over: opening it says so. */
uint64_t generate_weights(const generate_options_t *options);

/* Is the picture at `path` there, and made with the settings of `note`? 1 when it is, 0 when nothing is
 * there, -1 and err with the first difference when something else is. */
int generate_is_there(const char *path, const char *note, err_t *err);

/* Remove temporary files that killed runs have left beside pictures of this shard: those of a process that
 * runs on this machine no more. */
void generate_sweep(const generate_options_t *options);

#endif
