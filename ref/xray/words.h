/* words.h - the words of a prompt, and where their tokens stand. */
#ifndef MOLE_XRAY_WORDS_H
#define MOLE_XRAY_WORDS_H

#include "prompt/prompt.h"

enum { WORDS_MOST = 32 };

/* A run of tokens up to one that ends a word: "hair" and "," are two. */
typedef struct {
    char *text; /* UTF-8, as the tokenizer has it: in lower case, brackets of weights gone */
    size_t first, count; /* of its tokens among the rows of prompt_encode */
} word_t;

typedef struct {
    word_t word[WORDS_MOST]; /* the first of the prompt */
    size_t count, left_out;  /* left_out: further words */
} words_t;

/* Returns 0, or -1 and err as prompt_encode. words_free is due. */
int words_find(words_t *words, const tokenizer_t *tokenizer, const char *prompt,
               const prompt_options_t *options, err_t *err);
void words_free(words_t *words);

#endif
