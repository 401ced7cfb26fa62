/* prompt_list.h - the pictures that a command line or a file of prompts asks for. */
#ifndef MOLE_CLI_PROMPT_LIST_H
#define MOLE_CLI_PROMPT_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

/* What a line of a file may set, and the command line for all lines that do not. */
typedef struct {
    uint64_t seed;
    size_t steps, width, height; /* width, height 0: the model's own */
    double scale;
} prompt_settings_t;

typedef struct {
    char *positive, *negative; /* owned */
    bool has_negative;         /* one was given, if only "", or the authors' words were appended */
    prompt_settings_t set;
} picture_prompt_t;

typedef struct {
    picture_prompt_t *prompt; /* (count), owned */
    size_t count;
    bool suffixed; /* append the authors' fixed words */
} prompt_list_t;

/* Set what the authors' letter stands for: w width, h height, s steps, d seed, l scale. Returns NULL, or
 * words for what it takes. */
const char *prompt_set(prompt_settings_t *settings, char letter, const char *text);

/* One more prompt, of the first `length` bytes of `text`. negative: NULL where none is given. */
void prompt_list_add(prompt_list_t *list, const char *text, size_t length, const char *negative,
                     const prompt_settings_t *settings);

/* All prompts of a file: one a line, blank lines are passed over. " --" after the prompt starts the authors'
 * options, which hold for this line alone: --n NEGATIVE --w WIDTH --h HEIGHT --s STEPS --d SEED --l SCALE.
 * 0, or -1 and err with file and line: cannot be read, a NUL byte, no prompt, an option that is none. */
int prompt_list_read(prompt_list_t *list, const char *path, const char *negative,
                     const prompt_settings_t *settings, err_t *err);
void prompt_list_free(prompt_list_t *list);

#endif
