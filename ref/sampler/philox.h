/* philox.h - Philox 4x32-10, the random bijection of torch's CUDA generator.
 *
 * Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3". */
#ifndef MOLE_SAMPLER_PHILOX_H
#define MOLE_SAMPLER_PHILOX_H

#include <stdint.h>

/* out = the counter enciphered by the key, ten rounds; out may be counter. cuRAND's use of it:
 *   key     (seed low, seed high)
 *   counter (offset / 4 low, high, subsequence low, high) */
void philox4x32_10(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

#endif
