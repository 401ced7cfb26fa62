/* text_normalize.h - the Unicode side of the tokenizer: checking, normal form, classes of
 * characters.
 *
 * What transformers' CLIPTokenizer does to text before it cuts it into pieces, for every code
 * point. Its parts stand on different versions of Unicode (NFC on 9, classes on 16, lower case on
 * 17); utf8proc brings one, which differs from system to system. Small tables in the source close
 * the gap, so that the same text gives the same ids with utf8proc 2.7 (Unicode 14) and later. A
 * utf8proc of Unicode 17 or later still takes that version's new letters and numbers for such,
 * where the original does not. */
#ifndef MOLE_PROMPT_TEXT_NORMALIZE_H
#define MOLE_PROMPT_TEXT_NORMALIZE_H

#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

/* CHAR_SPACE is White_Space, a letter is category L*, a number N*. */
typedef enum { CHAR_SPACE, CHAR_LETTER, CHAR_NUMBER, CHAR_OTHER } char_class_t;

char_class_t char_class(int32_t code);

/* 0 when text is UTF-8 without NUL (no overlong forms, surrogates, or code points above U+10FFFF)
 * and at most `limit` bytes long; else -1 and err with the byte offset. */
int utf8_check(const char *text, size_t length, size_t limit, err_t *err);

/* The code point at text[*at] of checked text; *at moves behind it. */
int32_t utf8_next(const char *text, size_t *at);

/* NFC, then each run of white space to one space, then lower case, each character by itself:
 * capital sigma gives the inner small sigma everywhere, and U+0130 gives "i" and U+0307.
 *   text (length)    checked UTF-8
 * Returns fresh memory that the caller frees, NUL at the end; *out_length in bytes. O(n log n),
 * also for endless stacks of combining marks. */
char *text_normalize(const char *text, size_t length, size_t *out_length);

#endif
