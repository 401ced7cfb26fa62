/* tokenizer_config.h - special tokens and the length limit, from the small files of a tokenizer
 * folder.
 *
 * The precedence is that of transformers 5:
 *   added tokens     tokenizer_config.json: added_tokens_decoder; without it added_tokens.json,
 *                    then tokenizer.json: added_tokens
 *   named tokens     special_tokens_map.json over tokenizer_config.json, but for a folder with an
 *                    added_tokens_decoder, where only the latter is read; then CLIP's defaults
 *   flags            a token of the added ones has its flags from there; of several others with
 *                    the same content the last counts, in the order bos, eos, unk, sep, pad, cls,
 *                    mask, extra
 * A name may be a string (not normalized) or an object {"content": ..., "normalized": ...}. */
#ifndef MOLE_PROMPT_TOKENIZER_CONFIG_H
#define MOLE_PROMPT_TOKENIZER_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "io/config_keys.h"

/* More tokens than these besides the vocabulary, or longer rows, are refused. */
enum { ADDED_TOKENS_MAX = 1024, ROW_LENGTH_MAX = 65536 };

/* A token that is found in the text as it stands. */
typedef struct {
    char *content;
    bool normalized; /* looked for after normalisation, as normalised; else before, as it stands */
    bool is_object;  /* an object in the file; a string and an object are never the same token */
    int64_t id;      /* the id that a file states, or -1 */
} added_token_t;

enum { TOKEN_BOS, TOKEN_EOS, TOKEN_UNK, TOKEN_SEP, TOKEN_PAD, TOKEN_CLS, TOKEN_MASK, TOKEN_NAMES };
extern const char *const token_names[TOKEN_NAMES]; /* "bos_token", ... */

typedef struct {
    added_token_t *added; /* (count) in the order in which they are added */
    size_t count;
    char *named[TOKEN_NAMES]; /* content; NULL only for sep, cls, mask */
    size_t max_length;
    char defaults[128]; /* "bos_token, model_max_length": what no file said */
    char unknown_keys[CONFIG_UNKNOWN];
} tokenizer_config_t;

/* Read tokenizer_config.json, special_tokens_map.json and added_tokens.json, each of which may be
 * absent.
 *   whole    tokenizer.json, parsed, or NULL
 * Returns 0, or -1 and err. Either way tokenizer_config_free frees. */
int tokenizer_config_read(tokenizer_config_t *config, const char *folder, const json_t *whole,
                          err_t *err);
void tokenizer_config_free(tokenizer_config_t *config);

/* FOLDER/NAME as JSON, an object, duplicate keys refused; *json is NULL, without an error, for a file that
 * does not exist. The caller decrefs. */
int tokenizer_json(json_t **json, const char *folder, const char *name, size_t limit, err_t *err);

#endif
