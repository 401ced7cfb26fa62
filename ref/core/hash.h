/* hash.h - where a key stands in a hash table. Names come out of files that may be hostile: with a known hash
 * function somebody can write names that all fall on one place, and a look-up takes as long as the list. */
#ifndef MOLE_CORE_HASH_H
#define MOLE_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* SipHash-1-3 (Aumasson & Bernstein 2012, "SipHash: a fast short-input PRF") under a key that is drawn once
 * for each process. Equal bytes have equal hashes in one process; nothing that is written may depend on them.
 * Any thread may call it. */
uint64_t hash_bytes(const void *bytes, size_t count);
/* SipHash-c-d under a given key. */
uint64_t hash_sip(int c, int d, const uint64_t key[2], const void *bytes, size_t count);

#endif
