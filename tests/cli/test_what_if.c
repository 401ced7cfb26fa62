/* --expert-strength and --gate: what they change, what a picture says of it, what is refused. */
#include "../scratch.h"
#include "io/png.h"
#include "program.h"

#define LARGER SMALL_RUN GATED "-q --width 16 --height 16 -o %s "
#define PLAIN  SMALL_RUN "-q --width 16 --height 16 -o %s "

enum { BYTES = 3 * 16 * 16 };

static picture_t read_picture(const char *path) {
    picture_t picture;
    err_t err;
    must(picture_read(&picture, path, &err), &err);
    assert_int_equal(picture.width * picture.height * picture.channels, BYTES);
    return picture;
}

/* The pixels that these words make. */
static uint8_t *pixels(const char *words) {
    const char *path = program_file("made.png");
    ran_t ran = program_run(NULL, words, path);
    if (ran.status) fail_msg("%s: %d, %s", words, ran.status, ran.err);
    picture_t picture = read_picture(path);
    uint8_t *kept = fixture_bytes(BYTES);
    memcpy(kept, picture.pixels, BYTES);
    picture_free(&picture);
    return kept;
}

static bool same(const uint8_t *a, const char *words) {
    return memcmp(a, pixels(words), BYTES) == 0;
}

/* What the picture says of its settings. */
static char *note(const char *words) {
    const char *path = program_file("noted.png");
    ran_t ran = program_run(NULL, words, path);
    if (ran.status) fail_msg("%s: %d, %s", words, ran.status, ran.err);
    picture_t picture = read_picture(path);
    char *kept = fixture_bytes(strlen(picture.values[0]) + 1);
    strcpy(kept, picture.values[0]);
    picture_free(&picture);
    return kept;
}

static void strengths(void **state) {
    (void)state;
    uint8_t *mole = pixels(LARGER), *plain = pixels(PLAIN);
    assert_true(same(mole, LARGER "--expert-strength face=1 --expert-strength hand=1.0"));
    assert_true(same(plain, LARGER "--expert-strength face=0 --expert-strength hand=0"));
    assert_true(same(mole, LARGER "--expert-strength face=0 --expert-strength face=1"));
    assert_false(same(mole, LARGER "--expert-strength face=0.5"));
    assert_false(same(mole, LARGER "--expert-strength hand=-1"));
    /* Each its own. */
    assert_false(
        same(pixels(LARGER "--expert-strength face=0"), LARGER "--expert-strength hand=0"));
    /* Before or behind the experts. */
    assert_true(same(pixels(LARGER "--expert-strength hand=2"), SMALL_RUN
                     "--expert-strength hand=2 " GATED "-q --width 16 --height 16 -o %s"));
    /* Without gates too. */
#define UNGATED PLAIN "--face " EXPERTS "face.safetensors --plain-lora "
    assert_true(same(plain, UNGATED "--expert-strength face=0"));
    assert_false(same(pixels(UNGATED), UNGATED "--expert-strength face=2"));
}

static void gates(void **state) {
    (void)state;
    uint8_t *mole = pixels(LARGER), *plain = pixels(PLAIN);
    assert_false(same(mole, LARGER "--gate face.global=0"));
    assert_false(same(mole, LARGER "--gate face.local=1"));
    /* Shut, whichever of the two: the expert adds nothing. */
    assert_true(same(plain, LARGER "--gate face.global=0 --gate hand.local=0"));
    uint8_t *hand = pixels(LARGER "--expert-strength face=0");
    assert_true(same(hand, LARGER "--gate face.global=0"));
    assert_true(same(hand, LARGER "--gate face.local=0"));
    assert_true(same(hand, LARGER "--gate face.local=0 --mole stacked"));
    /* Open: the experts at full strength. The same function, in another order of roundings. */
    pixels(LARGER
           "--gate face.local=1 --gate face.global=1 --gate hand.local=1 --gate hand.global=1");
}

static void said_in_the_picture(void **state) {
    (void)state;
    char *usual = note(LARGER),
         *text = note(LARGER "--expert-strength hand=1 --gate face.local=0.1");
    assert_null(strstr(usual, "Expert strength"));
    assert_null(strstr(usual, "Forced gates"));
    assert_null(strstr(text, "Expert strength"));
    assert_non_null(strstr(text, ", Forced gates: face.local=0.1, Weights: "));
    text = note(LARGER "--expert-strength hand=-0.25 --expert-strength face=2 --gate hand.global=1 "
                       "--gate face.global=0");
    assert_non_null(strstr(text, ", Expert strength: face=2, hand=-0.25, Forced gates: "
                                 "face.global=0, hand.global=1, Weights: "));
}

/* A list that is made again keeps what was asked the same, and refuses another. */
static void known_again(void **state) {
    (void)state;
#define TWO SMALL_RUN GATED "-q --images 2 -o %s "
    const char *out = program_file("two.png");
    ran_t ran = program_run(NULL, TWO "--expert-strength face=0.5", out);
    assert_int_equal(ran.status, 0);
    ran = program_run(NULL, TWO "--expert-strength face=0.5", out);
    assert_non_null(strstr(ran.out, "two-0002.png  there already"));
    program_refuses(3, "made with Expert strength: face=0.5;", TWO, out);
    program_refuses(3, "face=0.5 where this run has Expert strength: face=0.25",
                    TWO "--expert-strength face=0.25", out);
    program_refuses(3, "made without Forced gates: face.local=0",
                    TWO "--expert-strength face=0.5 --gate face.local=0", out);
}

static void refused(void **state) {
    (void)state;
    static const char *const strengths_of[] = {"nose=1",  "face",    "face=",    "face=x",
                                               "face=11", "fac=1",   "face=nan", "face.local=1",
                                               "=1",      "faces=1", "face=1x",  "''"};
    static const char *const gates_of[] = {"face=1",        "face.local",   "face.local=2",
                                           "face.local=-1", "nose.local=1", "face.globe=1",
                                           "local=1",       ".local=1",     "face.local=nan"};
    const char *out = program_file("never.png");
    for (size_t i = 0; i < sizeof strengths_of / sizeof *strengths_of; i++)
        program_refuses(2, "EXPERT of: face, hand; not", LARGER "--expert-strength %s", out,
                        strengths_of[i]);
    for (size_t i = 0; i < sizeof gates_of / sizeof *gates_of; i++)
        program_refuses(2, "EXPERT of: face, hand; not", LARGER "--gate %s", out, gates_of[i]);
    program_refuses(2, "--expert-strength without experts", PLAIN "--expert-strength face=1", out);
    program_refuses(2, "--gate without experts", PLAIN "--gate face.local=1", out);
    program_refuses(2, "--gate without --gates", UNGATED "--gate face.local=1", out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(strengths),   fixture_test(gates),   fixture_test(said_in_the_picture),
        fixture_test(known_again), fixture_test(refused),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
