/* word.h - which tokens of a prompt a word is. */
#ifndef MOLE_SHEET_WORD_H
#define MOLE_SHEET_WORD_H

#include "mole/mole_file.h"
#include "prompt/prompt.h"

/* The word to look at where nobody named one: the first that is the name of an expert, or "hands" for "hand";
 * else the last word of weight in the prompt's first part, which ends at a mark or at a word like "with" ("a
 * photo of a cat in the rain": cat). NULL when there is none. The caller frees it. */
char *word_usual(const char *prompt, const mole_files_t *experts);

/* The tokens that are the word (one or several words, in any case), each time it occurs, as positions among
 * the rows of prompt_encode. Returns 0, or -1 and err, which lists the prompt's words, when it does not
 * occur; *token is the caller's to free. */
int word_tokens(size_t **token, size_t *count, const tokenizer_t *tokenizer, const char *prompt,
                const prompt_options_t *options, const char *word, err_t *err);

#endif
