/* tokenizer.h - CLIP's byte-level BPE: text to ids, as transformers' CLIPTokenizer does.
 *
 *   text -> special tokens cut out -> NFC -> lower case -> pieces -> bytes -> BPE merges -> ids
 *
 * pieces: contractions ('s 't 're 've 'm 'll 'd), runs of letters (L), single numbers (N), runs of
 * anything else that is not white space; white space separates and is dropped. The last byte of a
 * piece carries "</w>". Pieces are BPE-merged on their own, lowest rank first, leftmost first.
 *
 * Files of a tokenizer folder (all hostile until checked):
 *   vocab.json + merges.txt   the vocabulary and the merges in the order of their rank
 *   tokenizer.json            model.vocab, model.merges ("a b" or ["a", "b"]), added_tokens; where
 *                             it is there it counts, and the pair is not read, as in transformers
 *   tokenizer_config.json     special tokens, model_max_length, added_tokens_decoder
 *   special_tokens_map.json   special tokens; goes before tokenizer_config.json (but see
 *                             tokenizer_config.h for folders with an added_tokens_decoder)
 *   added_tokens.json         more tokens, token -> id
 * What none of them says is CLIP's own: <|startoftext|>, <|endoftext|> also as pad and unknown
 * token, 77 positions (where transformers has no limit); tokenizer_info_t lists what was taken by
 * default. A special token that is not in the vocabulary is refused, as are settings that would
 * change the ids and are not implemented: single_word tokens, padding or truncation on the left,
 * split_special_tokens. */
#ifndef MOLE_PROMPT_TOKENIZER_H
#define MOLE_PROMPT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

/* The longest text that is encoded, in bytes; a longer one is refused. */
enum { TOKENIZER_TEXT_MAX = 1 << 20 };

typedef struct tokenizer tokenizer_t;

typedef struct {
    size_t vocab;       /* V: ids are 0 .. V-1 */
    size_t merges;      /* number of merge rules */
    size_t max_length;  /* model_max_length: tokens of a whole row, BOS and EOS among them */
    int32_t bos, eos;   /* begin and end of a row */
    int32_t pad;        /* fills a row: EOS for SD 1.x, 0 ("!") for SD 2.x */
    int32_t unk;        /* stands for a byte that the vocabulary lacks */
    const char *source; /* the file(s) that the vocabulary came from, for people */
    /* The settings that no file gave, for which CLIP's own were taken: "pad_token, ..."; or "". */
    const char *defaults;
    const char *unknown_keys; /* of tokenizer_config.json; see config_keys.h */
} tokenizer_info_t;

/* Read a tokenizer folder. Returns 0 and *tok, or -1 and err (file, entry, what was expected), *tok
 * NULL. The caller closes it. A tokenizer is read-only after this: threads may share it. */
int tokenizer_open(tokenizer_t **tok, const char *folder, err_t *err);
void tokenizer_close(tokenizer_t *tok); /* NULL is allowed */

const tokenizer_info_t *tokenizer_info(const tokenizer_t *tok);
/* Pad with this id, below the vocabulary's size, whatever the files say. Before any thread uses tok. */
void tokenizer_set_pad(tokenizer_t *tok, int32_t id);

/* A growing list of ids. Starts as {0}; token_list_free empties it. */
typedef struct {
    int32_t *id;
    size_t count, capacity;
} token_list_t;

void token_list_push(token_list_t *list, int32_t id);
void token_list_free(token_list_t *list);

/* Append the ids of text (UTF-8, length bytes, need not end in NUL) to out: no BOS, no EOS, no
 * limit. Special and added tokens inside the text are found as such and give their one id: as they
 * stand, or, where the files say "normalized", in any case.
 * Returns 0, or -1 and err with the byte offset for invalid UTF-8, a NUL, or more than
 * TOKENIZER_TEXT_MAX bytes; out is then as it was. O(n log n) in the length. */
int tokenizer_encode(const tokenizer_t *tok, const char *text, size_t length, token_list_t *out,
                     err_t *err);

/* One row of the text encoder's input: BOS, ids, EOS, pad ... pad.
 *   row (max_length)    ids beyond max_length - 2 are cut off, and *truncated (may be NULL) says so
 * Same errors as tokenizer_encode; row is then unchanged. */
int tokenizer_encode_padded(const tokenizer_t *tok, const char *text, size_t length, int32_t *row,
                            bool *truncated, err_t *err);

/* The vocabulary's spelling of an id, as "photo</w>": bytes are written as CLIP's printable
 * characters. NULL for an id outside 0 .. V-1 or one that the vocabulary does not use. */
const char *tokenizer_piece(const tokenizer_t *tok, int32_t id);

#endif
