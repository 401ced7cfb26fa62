/* test_sha256.c - SHA-256 against the published examples of FIPS 180-4 and its lengths' corners. */
#include <unistd.h>

#include "../unit.h"
#include "golden/sha256.h"

static void published_examples(void **state) {
    /* NIST, "Examples with intermediate values", SHA-256; and its million letters a. */
    static const struct {
        const char *message, *digest;
    } rows[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno"
         "ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    char text[SHA256_TEXT];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(sha256_memory(text, rows[i].message, strlen(rows[i].message)),
                            rows[i].digest);
    enum { MILLION = 1000000 };
    char *many = malloc(MILLION);
    assert_non_null(many);
    memset(many, 'a', MILLION);
    assert_string_equal(sha256_memory(text, many, MILLION),
                        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(many);
}

/* Messages of 0 .. 130 bytes 0, 1, 2 ...: the padding has its corners at 55, 56, 63, 64, 119, 120.
 * The digest of all their digests: Python's hashlib. */
static void every_padding(void **state) {
    uint8_t message[130], digest[SHA256_BYTES];
    char text[SHA256_TEXT];
    sha256_t all;
    (void)state;
    for (size_t i = 0; i < sizeof message; i++) message[i] = (uint8_t)i;
    sha256_init(&all);
    for (size_t n = 0; n <= sizeof message; n++) {
        sha256_t one;
        sha256_init(&one);
        sha256_update(&one, message, n);
        sha256_final(&one, digest);
        sha256_update(&all, digest, sizeof digest);
    }
    sha256_final(&all, digest);
    assert_string_equal(sha256_hex(text, digest),
                        "e5bbbecd60c3632a3455f465bfd8b079c30ef608d2bcc34227f4e5573029020e");
}

static void any_split_is_the_same(void **state) {
    uint8_t message[300], digest[SHA256_BYTES];
    char whole[SHA256_TEXT], text[SHA256_TEXT];
    (void)state;
    for (size_t i = 0; i < sizeof message; i++) message[i] = (uint8_t)(i * 37);
    sha256_memory(whole, message, sizeof message);
    for (size_t step = 1; step <= 130; step++) {
        sha256_t hash;
        sha256_init(&hash);
        for (size_t at = 0; at < sizeof message; at += step) {
            size_t left = sizeof message - at;
            sha256_update(&hash, message + at, left < step ? left : step);
            sha256_update(&hash, NULL, 0);
        }
        sha256_final(&hash, digest);
        assert_string_equal(sha256_hex(text, digest), whole);
    }
}

static void files(void **state) {
    char path[] = "/tmp/mole-sha256-XXXXXX", text[SHA256_TEXT], expected[SHA256_TEXT];
    enum { BYTES = 100003 }; /* more than a buffer, and not a multiple of one */
    uint8_t *data = malloc(BYTES);
    err_t err;
    (void)state;
    int descriptor = mkstemp(path);
    FILE *file = fdopen(descriptor, "wb");
    assert_non_null(file);
    assert_non_null(data);
    for (size_t i = 0; i < BYTES; i++) data[i] = (uint8_t)(i >> 3);
    assert_int_equal(fwrite(data, 1, BYTES, file), BYTES);
    fclose(file);
    assert_int_equal(sha256_file(text, path, &err), 0);
    assert_string_equal(text, sha256_memory(expected, data, BYTES));
    remove(path);
    free(data);

    strcpy(text, "untouched");
    assert_int_equal(sha256_file(text, path, &err), -1);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "cannot open"));
    assert_int_equal(sha256_file(text, "/tmp", &err), -1);
    assert_string_equal(text, "untouched");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_examples),
        cmocka_unit_test(every_padding),
        cmocka_unit_test(any_split_is_the_same),
        cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
