/* hash.c - see hash.h. c, d and v0 to v3 are the paper's names; numbers are little endian. */
#include "core/hash.h"

#include <pthread.h>
#include <sys/random.h>

static uint64_t process_key[2];

/* Without a source of random numbers the key stays 0: slower against hostile files, no other result. */
static void draw_key(void) {
    if (getrandom(process_key, sizeof process_key, GRND_NONBLOCK) != (ssize_t)sizeof process_key)
        process_key[0] = process_key[1] = 0;
}

static uint64_t rotate(uint64_t x, int by) {
    return x << by | x >> (64 - by);
}

static void rounds(uint64_t v[4], int count) {
    for (int i = 0; i < count; i++) {
        v[0] += v[1], v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1], v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

/* `count` bytes, at most 8, as a number. */
static uint64_t word(const unsigned char *bytes, size_t count) {
    uint64_t x = 0;
    for (size_t i = 0; i < count; i++) x |= (uint64_t)bytes[i] << 8 * i;
    return x;
}

static void compress(uint64_t v[4], int c, uint64_t m) {
    v[3] ^= m;
    rounds(v, c);
    v[0] ^= m;
}

uint64_t hash_sip(int c, int d, const uint64_t key[2], const void *bytes, size_t count) {
    const unsigned char *at = bytes;
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                     key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    size_t whole = count & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) compress(v, c, word(at + i, 8));
    compress(v, c, word(at + whole, count - whole) | (uint64_t)count << 56);
    v[2] ^= 0xff;
    rounds(v, d);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t hash_bytes(const void *bytes, size_t count) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, draw_key);
    return hash_sip(1, 3, process_key, bytes, count);
}
