/* sha256.h - SHA-256 (FIPS 180-4), with which golden manifests name the bytes of their files. */
#ifndef MOLE_GOLDEN_SHA256_H
#define MOLE_GOLDEN_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

enum { SHA256_BYTES = 32, SHA256_TEXT = 65 /* 64 lower-case hex digits and the NUL */ };

/* A hash under way; plain memory, may be copied to fork it. */
typedef struct {
    uint32_t state[8];
    uint64_t length; /* bytes so far */
    uint8_t block[64];
} sha256_t;

void sha256_init(sha256_t *hash);
/* data may be NULL when bytes is 0. Any split of a message into calls gives the same digest. */
void sha256_update(sha256_t *hash, const void *data, size_t bytes);
/* Writes the digest; the hash must be initialised again before it is used again. */
void sha256_final(sha256_t *hash, uint8_t digest[SHA256_BYTES]);

/* Digest as hex; returns text. */
const char *sha256_hex(char text[SHA256_TEXT], const uint8_t digest[SHA256_BYTES]);

/* Of memory, of a whole file (0, or -1 and err: "FILE: cannot open: ..."), both as hex. */
const char *sha256_memory(char text[SHA256_TEXT], const void *data, size_t bytes);
int sha256_file(char text[SHA256_TEXT], const char *path, err_t *err);

#endif
