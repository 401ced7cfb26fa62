/* mt19937.c - see mt19937.h. */
#include "sampler/mt19937.h"

enum { SHIFT = 397 };

void mt19937_seed(mt19937_t *engine, uint64_t seed) {
    uint32_t *w = engine->word;
    w[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < MT19937_WORDS; i++)
        w[i] = 1812433253u * (w[i - 1] ^ (w[i - 1] >> 30)) + i;
    engine->next = MT19937_WORDS;
}

/* word[k] <- word[k + 397] ^ A (top bit of word[k], low 31 bits of word[k + 1]), indices mod 624 */
static void next_generation(mt19937_t *engine) {
    uint32_t *w = engine->word;
    for (uint32_t k = 0; k < MT19937_WORDS; k++) {
        uint32_t joined = (w[k] & 0x80000000u) | (w[(k + 1) % MT19937_WORDS] & 0x7fffffffu);
        uint32_t twisted = (joined >> 1) ^ (joined & 1 ? 0x9908b0dfu : 0);
        w[k] = w[(k + SHIFT) % MT19937_WORDS] ^ twisted;
    }
    engine->next = 0;
}

uint32_t mt19937_next(mt19937_t *engine) {
    if (engine->next >= MT19937_WORDS) next_generation(engine);
    uint32_t y = engine->word[engine->next++];
    y ^= y >> 11; /* tempering */
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    y ^= y >> 18;
    return y;
}
