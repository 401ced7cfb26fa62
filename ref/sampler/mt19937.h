/* mt19937.h - the Mersenne Twister as torch's CPU generator runs it.
 *
 * Matsumoto & Nishimura 1998, with the seeding of their 2002 revision. */
#ifndef MOLE_SAMPLER_MT19937_H
#define MOLE_SAMPLER_MT19937_H

#include <stdint.h>

enum { MT19937_WORDS = 624 };

/* Plain memory: copying it forks the stream. */
typedef struct {
    uint32_t word[MT19937_WORDS];
    uint32_t next; /* the word that is drawn next; MT19937_WORDS: a new generation is due */
} mt19937_t;

/* torch keeps the low 32 bits of its 64-bit seed, so that seeds 2^32 apart draw the same numbers. */
void mt19937_seed(mt19937_t *engine, uint64_t seed);

/* The next 32 random bits. */
uint32_t mt19937_next(mt19937_t *engine);

#endif
