/* vocab.h - the tables of a byte-level BPE: pieces and ids, merges and their ranks. */
#ifndef MOLE_PROMPT_VOCAB_H
#define MOLE_PROMPT_VOCAB_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

/* Bounds on what a file may bring. CLIP has 49,408 pieces and 48,894 merges. */
enum { VOCAB_PIECES_MAX = 1 << 20, VOCAB_MERGES_MAX = 1 << 20, VOCAB_FILE_MAX = 64 << 20 };

typedef struct {
    int32_t left, right; /* left < 0: an empty slot */
    int32_t rank, result;
} vocab_merge_t;

typedef struct {
    size_t size;         /* V: ids are 0 .. V-1 */
    size_t capacity;     /* of piece */
    char **piece;        /* (V): NULL where an id is not used */
    size_t slots;        /* of the hash table piece -> id, a power of two */
    int32_t *slot;       /* (slots): id, or -1 */
    size_t merges;       /* number of merge rules */
    size_t pairs;        /* slots of the hash table (left, right) -> rank, a power of two */
    vocab_merge_t *pair; /* (pairs) */
    int32_t byte[256], byte_end[256]; /* id of a byte within and at the end of a word; -1: none */
} vocab_t;

/* Ids are unique, 0 <= id < twice the number of pieces.
 *   pieces    the JSON object piece -> id
 *   where     "FILE" or "FILE: model.vocab", for messages
 * Returns 0, or -1 and err. Either way vocab_free frees. */
int vocab_from_json(vocab_t *vocab, const json_t *pieces, const char *where, err_t *err);

/* Merges in order of rank: both parts and their concatenation must be pieces, no pair stands twice.
 * vocab_merges_text takes the contents of merges.txt: lines "left right", "#version" lines skipped.
 * vocab_merges_json takes an array of "left right" or ["left", "right"]. */
int vocab_merges_text(vocab_t *vocab, const char *text, size_t length, const char *where,
                      err_t *err);
int vocab_merges_json(vocab_t *vocab, const json_t *merges, const char *where, err_t *err);

void vocab_free(vocab_t *vocab);

/* The id of a piece, or -1. */
int32_t vocab_find(const vocab_t *vocab, const char *piece);
/* A new piece with the id V; the piece must not be there. Returns the id. */
int32_t vocab_add(vocab_t *vocab, const char *piece);
/* The merge of two neighbours, or NULL. */
const vocab_merge_t *vocab_merge(const vocab_t *vocab, int32_t left, int32_t right);

/* The printable character, as a code point, that stands for a byte: itself for 33..126, 161..172
 * and 174..255; the other 68 bytes in order are U+0100 and on. */
int32_t vocab_byte_symbol(int byte);

#endif
