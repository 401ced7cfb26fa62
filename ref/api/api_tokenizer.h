/* api_tokenizer.h - a tokenizer of ours as the library's handle: the same object. */
#ifndef MOLE_API_API_TOKENIZER_H
#define MOLE_API_API_TOKENIZER_H

#include "api/mole.h"
#include "prompt/tokenizer.h"

const mole_tokenizer_t *api_tokenizer(const tokenizer_t *tokenizer);

#endif
