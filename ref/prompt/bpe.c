/* bpe.c - see bpe.h.
 *
 * The word is a doubly linked list of pieces; a heap holds the pairs that have a rule. A merge
 * makes two new pairs and leaves outdated ones in the heap, which are recognised when they come up:
 * the pair that now starts there has another rank. */
#include "prompt/bpe.h"

#include <stdbool.h>
#include <stdlib.h>

typedef struct bpe_candidate {
    int32_t rank;
    uint32_t at; /* the byte at which the left piece starts */
} candidate_t;

#define NONE UINT32_MAX

static bool before(candidate_t a, candidate_t b) {
    return a.rank < b.rank || (a.rank == b.rank && a.at < b.at);
}

static void heap_push(candidate_t *heap, size_t *count, candidate_t new) {
    size_t i = (*count)++;
    for (; i > 0 && before(new, heap[(i - 1) / 2]); i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = new;
}

static candidate_t heap_pop(candidate_t *heap, size_t *count) {
    candidate_t top = heap[0], last = heap[--*count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < *count; i = child) {
        if (child + 1 < *count && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], last)) break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return top;
}

static void reserve(bpe_t *bpe, size_t length) {
    if (length <= bpe->capacity) return;
    bpe->capacity = 2 * length;
    bpe->id = xrealloc(bpe->id, bpe->capacity * sizeof *bpe->id);
    bpe->previous = xrealloc(bpe->previous, bpe->capacity * sizeof *bpe->previous);
    bpe->next = xrealloc(bpe->next, bpe->capacity * sizeof *bpe->next);
    /* One candidate per neighbouring pair at the start, at most two per merge. */
    bpe->heap = xrealloc(bpe->heap, 3 * bpe->capacity * sizeof *bpe->heap);
}

/* The rule for the piece at `at` and the one behind it, or NULL. */
static const vocab_merge_t *rule_at(const bpe_t *bpe, const vocab_t *vocab, uint32_t at) {
    if (at == NONE || bpe->id[at] < 0 || bpe->next[at] == NONE) return NULL;
    return vocab_merge(vocab, bpe->id[at], bpe->id[bpe->next[at]]);
}

static void offer(bpe_t *bpe, const vocab_t *vocab, uint32_t at, size_t *count) {
    const vocab_merge_t *rule = rule_at(bpe, vocab, at);
    if (rule) heap_push(bpe->heap, count, (candidate_t){rule->rank, at});
}

size_t bpe_word(bpe_t *bpe, const vocab_t *vocab, const char *word, size_t length, int32_t unk) {
    reserve(bpe, length);
    for (size_t i = 0; i < length; i++) {
        const int32_t *symbol = i + 1 < length ? vocab->byte : vocab->byte_end;
        int32_t id = symbol[(unsigned char)word[i]];
        bpe->id[i] = id >= 0 ? id : unk;
        bpe->previous[i] = i ? (uint32_t)i - 1 : NONE;
        bpe->next[i] = i + 1 < length ? (uint32_t)i + 1 : NONE;
    }
    size_t candidates = 0;
    for (size_t i = 0; i < length; i++) offer(bpe, vocab, (uint32_t)i, &candidates);
    while (candidates) {
        candidate_t best = heap_pop(bpe->heap, &candidates);
        const vocab_merge_t *rule = rule_at(bpe, vocab, best.at);
        if (!rule || rule->rank != best.rank) continue;
        uint32_t merged = bpe->next[best.at], behind = bpe->next[merged];
        bpe->id[best.at] = rule->result;
        bpe->id[merged] = -1;
        bpe->next[best.at] = behind;
        if (behind != NONE) bpe->previous[behind] = best.at;
        offer(bpe, vocab, bpe->previous[best.at], &candidates);
        offer(bpe, vocab, best.at, &candidates);
    }
    size_t count = 0;
    for (size_t i = 0; i < length; i++)
        if (bpe->id[i] >= 0) bpe->id[count++] = bpe->id[i];
    return count;
}

void bpe_free(bpe_t *bpe) {
    free(bpe->id);
    free(bpe->previous);
    free(bpe->next);
    free(bpe->heap);
    *bpe = (bpe_t){0};
}
