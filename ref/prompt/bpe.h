/* bpe.h - byte-pair encoding of one word. */
#ifndef MOLE_PROMPT_BPE_H
#define MOLE_PROMPT_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "prompt/vocab.h"

/* Scratch that grows with the longest word; starts as {0}, bpe_free frees. */
typedef struct {
    size_t capacity;
    int32_t *id; /* (capacity) the piece that starts at a byte; -1: merged into one before it */
    uint32_t *previous;         /* (capacity) */
    uint32_t *next;             /* (capacity) */
    struct bpe_candidate *heap; /* (3 capacity) */
} bpe_t;

/* Merge the bytes of a word, the last of which is taken with "</w>": as long as there is a pair
 * with a rule, merge the pair of lowest rank, the leftmost of equals. A byte without a piece is
 * `unk`.
 *   word    length >= 1 bytes
 * Returns the number of ids, which stand at bpe->id[0] and on until the next call. O(n log n). */
size_t bpe_word(bpe_t *bpe, const vocab_t *vocab, const char *word, size_t length, int32_t unk);

void bpe_free(bpe_t *bpe);

#endif
