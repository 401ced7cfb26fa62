/* The hash of tables: the paper's vector, every length, and names made to collide. */
#include <string.h>

#include "../fixture.h"
#include "core/hash.h"
#include "core/name_ids.h"

/* Aumasson & Bernstein 2012, appendix A: key 00 .. 0f, message 00 .. 0e. */
static void the_papers_vector(void **state) {
    (void)state;
    const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    unsigned char message[15];
    for (unsigned char i = 0; i < 15; i++) message[i] = i;
    assert_true(hash_sip(2, 4, key, message, sizeof message) == 0xa129ca6149be45e5);
}

/* Every byte and the length count; the place in memory does not. */
static void every_byte_counts(void **state) {
    (void)state;
    unsigned char text[40], moved[41];
    for (size_t count = 0; count < sizeof text; count++) {
        memset(text, 'a', sizeof text);
        uint64_t hash = hash_bytes(text, count);
        memcpy(moved + 1, text, count);
        assert_true(hash == hash_bytes(moved + 1, count));
        if (count + 1 < sizeof text) assert_true(hash != hash_bytes(text, count + 1));
        for (size_t i = 0; i < count; i++) {
            text[i] ^= 1;
            assert_true(hash != hash_bytes(text, count));
            text[i] ^= 1;
        }
    }
}

static size_t known_place(const char *name, size_t places) {
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a: what is known can be aimed at */
    for (const char *p = name; *p; p++) hash = (hash ^ (unsigned char)*p) * 0x100000001b3;
    return (hash ^ hash >> 32) % places;
}

/* 256 names on one place of a known function spread over a table of 1024 places. */
static void names_aimed_at_one_place_spread(void **state) {
    (void)state;
    enum { NAMES = 256, PLACES = 1024 };
    unsigned char taken[PLACES] = {0};
    size_t names = 0, places = 0;
    char name[16];
    for (unsigned i = 0; names < NAMES; i++) {
        snprintf(name, sizeof name, "tap.%u", i);
        if (known_place(name, PLACES) != 7) continue;
        size_t at = hash_bytes(name, strlen(name)) % PLACES;
        places += !taken[at];
        taken[at] = 1;
        names++;
    }
    /* 226 are expected, with a deviation of 5 */
    assert_in_range(places, 180, NAMES);
}

static void texts_keep_their_numbers(void **state) {
    (void)state;
    name_ids_t ids = {0};
    char name[16];
    for (size_t i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "tap.%zu", i);
        assert_int_equal(name_id_of(&ids, name), SIZE_MAX);
        assert_int_equal(name_id(&ids, name), i);
    }
    for (size_t i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "tap.%zu", i);
        assert_int_equal(name_id(&ids, name), i);
        assert_string_equal(ids.text[i], name);
    }
    name_ids_free(&ids);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_papers_vector),
        cmocka_unit_test(every_byte_counts),
        cmocka_unit_test(names_aimed_at_one_place_spread),
        cmocka_unit_test(texts_keep_their_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
