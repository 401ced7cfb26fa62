/* sha256.c - see sha256.h. Names are those of FIPS 180-4, section 6.2. */
#include "golden/sha256.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"

enum { BLOCK = 64, LENGTH_AT = 56 };

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotr(uint32_t x, int n) {
    return x >> n | x << (32 - n);
}

static void compress(uint32_t state[8], const uint8_t block[BLOCK]) {
    uint32_t W[64], v[8];
    for (int t = 0; t < 16; t++)
        W[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 |
               (uint32_t)block[4 * t + 2] << 8 | block[4 * t + 3];
    for (int t = 16; t < 64; t++) {
        uint32_t s0 = rotr(W[t - 15], 7) ^ rotr(W[t - 15], 18) ^ W[t - 15] >> 3;
        uint32_t s1 = rotr(W[t - 2], 17) ^ rotr(W[t - 2], 19) ^ W[t - 2] >> 10;
        W[t] = s1 + W[t - 7] + s0 + W[t - 16];
    }
    memcpy(v, state, sizeof v);
    for (int t = 0; t < 64; t++) {
        uint32_t a = v[0], e = v[4];
        uint32_t sum1 = rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25);
        uint32_t choose = (e & v[5]) ^ (~e & v[6]);
        uint32_t T1 = v[7] + sum1 + choose + K[t] + W[t];
        uint32_t sum0 = rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22);
        uint32_t majority = (a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]);
        memmove(v + 1, v, 7 * sizeof v[0]);
        v[4] += T1;
        v[0] = T1 + sum0 + majority;
    }
    for (int i = 0; i < 8; i++) state[i] += v[i];
}

void sha256_init(sha256_t *hash) {
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(hash->state, initial, sizeof initial);
    hash->length = 0;
}

void sha256_update(sha256_t *hash, const void *data, size_t bytes) {
    const uint8_t *p = data;
    while (bytes > 0) {
        size_t filled = (size_t)(hash->length % BLOCK);
        size_t take = bytes < BLOCK - filled ? bytes : BLOCK - filled;
        memcpy(hash->block + filled, p, take);
        hash->length += take;
        p += take;
        bytes -= take;
        if (filled + take == BLOCK) compress(hash->state, hash->block);
    }
}

void sha256_final(sha256_t *hash, uint8_t digest[SHA256_BYTES]) {
    uint64_t bits = hash->length * 8;
    uint8_t padding[BLOCK] = {0x80}, length[8];
    size_t filled = (size_t)(hash->length % BLOCK);
    sha256_update(hash, padding,
                  filled < LENGTH_AT ? LENGTH_AT - filled : BLOCK + LENGTH_AT - filled);
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)(bits >> (56 - 8 * i));
    sha256_update(hash, length, sizeof length);
    for (int i = 0; i < SHA256_BYTES; i++)
        digest[i] = (uint8_t)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
}

const char *sha256_hex(char text[SHA256_TEXT], const uint8_t digest[SHA256_BYTES]) {
    for (int i = 0; i < SHA256_BYTES; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return text;
}

const char *sha256_memory(char text[SHA256_TEXT], const void *data, size_t bytes) {
    sha256_t hash;
    uint8_t digest[SHA256_BYTES];
    sha256_init(&hash);
    sha256_update(&hash, data, bytes);
    sha256_final(&hash, digest);
    return sha256_hex(text, digest);
}

int sha256_file(char text[SHA256_TEXT], const char *path, err_t *err) {
    size_t bytes;
    int fd = file_open_read(path, &bytes, err);
    if (fd < 0) return -1;
    sha256_t hash;
    uint8_t buffer[1 << 15], digest[SHA256_BYTES];
    ssize_t got;
    sha256_init(&hash);
    while ((got = read(fd, buffer, sizeof buffer)) > 0 || (got < 0 && errno == EINTR))
        if (got > 0) sha256_update(&hash, buffer, (size_t)got);
    int why = got < 0 ? errno : 0;
    close(fd);
    if (why) return err_set(err, "%s: cannot read: %s", path, strerror(why));
    sha256_final(&hash, digest);
    sha256_hex(text, digest);
    return 0;
}
