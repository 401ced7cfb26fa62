/* mole generate --sheet, --steps-png, --gates-png FILE.png: the picture is what it is without them; the same
 * bytes again; what is shown is what other runs make; what is refused, before any work. */
#include <signal.h>
#include <unistd.h>

#include "../scratch.h"
#include "io/png.h"
#include "program.h"
#include "sheet/layout.h"

#define MODEL  "generate --model golden/models/sd15-tiny -q --width 32 --height 24 --prompt a~hand "
#define SHORT  MODEL "--steps 3 "
#define SHEETS "-o %s --sheet %s --steps-png %s --gates-png %s "

static picture_t read_picture(const char *path) {
    picture_t picture;
    err_t err;
    must(picture_read(&picture, path, &err), &err);
    return picture;
}

/* Does `small`, every pixel times x times, stand in `large` at (left, top)? */
static bool stands_at(const picture_t *large, const picture_t *small, size_t times, size_t left,
                      size_t top) {
    if (top + small->height * times > large->height) return false;
    for (size_t y = 0; y < small->height * times; y++)
        for (size_t x = 0; x < small->width * times; x++)
            if (memcmp(large->pixels + 3 * ((top + y) * large->width + left + x),
                       small->pixels + 3 * (y / times * small->width + x / times), 3) != 0)
                return false;
    return true;
}

/* Is the picture that these words make the one of the sheet's column, two columns wide? */
static bool shows(const char *sheet_path, size_t column, const char *words) {
    program_works(program_run(NULL, words, program_file("one.png")));
    picture_t sheet = read_picture(sheet_path), one = read_picture(program_file("one.png"));
    size_t left = LAYOUT_MARGIN + column * (LAYOUT_CELL + LAYOUT_GAP), times = 16;
    bool found = false;
    for (size_t top = 0; !found && top < sheet.height; top++)
        found = stands_at(&sheet, &one, times, left, top);
    picture_free(&sheet);
    picture_free(&one);
    return found;
}

static void the_picture_is_the_same(void **state) {
    (void)state;
    const char *with = program_file("with.png"), *without = program_file("without.png"),
               *sheet = program_file("sheet.png"), *again = program_file("again.png"),
               *steps = program_file("steps.png"), *gates = program_file("gates.png");
    program_works(program_run(NULL, SHORT GATED "-o %s", without));
    ran_t ran = program_works(program_run(NULL, SHORT GATED SHEETS, with, sheet, steps, gates));
    assert_non_null(strstr(ran.out, "sheet.png  contact sheet\n"));
    assert_non_null(strstr(ran.out, "steps.png  steps\n"));
    assert_non_null(strstr(ran.out, "gates.png  gates\n"));
    program_same_file(with, without);
    program_works(program_run(NULL, SHORT GATED "-o %s --sheet %s", with, again));
    program_same_file(with, without);
    program_same_file(sheet, again); /* twice, and whatever else is written */
    picture_t picture = read_picture(sheet), part = read_picture(steps), last = read_picture(gates);
    assert_int_equal(picture.width, LAYOUT_WIDTH);
    assert_int_equal(part.width, LAYOUT_WIDTH);
    assert_int_equal(last.width, LAYOUT_WIDTH);
    assert_true(part.height + last.height < picture.height);
    assert_int_equal(picture.text_count, 1);
    assert_string_equal(picture.keys[0], "parameters");
    assert_memory_equal(picture.values[0], "a hand\n", 7);
    picture_free(&picture);
    picture_free(&part);
    picture_free(&last);
}

static void any_number_of_threads(void **state) {
    (void)state;
    const char *one = program_file("t1.png"), *three = program_file("t3.png"),
               *out = program_file("t.png");
    program_works(
        program_run(NULL, SHORT GATED "--matmul plain --threads 1 -o %s --sheet %s", out, one));
    program_works(
        program_run(NULL, SHORT GATED "--matmul plain --threads 3 -o %s --sheet %s", out, three));
    program_same_file(one, three);
}

/* What stands beside the picture is what runs of their own make. */
static void the_other_pictures(void **state) {
    (void)state;
    const char *sheet = program_file("others.png"), *out = program_file("o.png");
    program_works(program_run(NULL, SHORT GATED "-o %s --sheet %s", out, sheet));
    assert_true(shows(sheet, 0, SHORT "-o %s"));
    assert_true(shows(sheet, 2, SHORT GATED "--expert-strength hand=0 -o %s"));
    assert_true(shows(sheet, 4, SHORT GATED "--expert-strength face=0 -o %s"));
    assert_true(shows(sheet, 6, SHORT GATED "-o %s"));
    assert_false(shows(sheet, 4, SHORT GATED "-o %s"));
    /* What was asked of the experts holds for each of them. */
    program_works(
        program_run(NULL, SHORT GATED "--gate face.local=1 -o %s --sheet %s", out, sheet));
    assert_true(shows(sheet, 2, SHORT GATED "--gate face.local=1 --expert-strength hand=0 -o %s"));
    assert_true(shows(sheet, 6, SHORT GATED "--gate face.local=1 -o %s"));
    /* One expert: with and without it. */
#define ONE "--face " EXPERTS "face.safetensors --plain-lora "
    program_works(program_run(NULL, SHORT ONE "-o %s --sheet %s", out, sheet));
    assert_true(shows(sheet, 0, SHORT "-o %s"));
    assert_true(shows(sheet, 2, SHORT ONE "-o %s"));
    program_works(program_run(NULL, SHORT "-o %s --sheet %s", out, sheet));
    assert_true(shows(sheet, 0, SHORT "-o %s"));
}

/* v-prediction; two text encoders and another number of levels. */
#define OF(model)                                                                                  \
    "generate --model golden/models/" model " -q --width 32 --height 24 --steps 2 --prompt "       \
    "a~hand --face golden/models/" model "-mole/face.safetensors --hand golden/models/" model      \
    "-mole/hand.safetensors --gates golden/models/" model "-mole/gates.safetensors -o %s "         \
    "--sheet %s"

/* Other models, other ways to draw; a trace beside it; no guidance. */
static void other_settings(void **state) {
    (void)state;
    static const char *const rows[] = {
        MODEL GATED "--steps 1 -o %s --sheet %s",
        MODEL GATED "--steps 12 --scheduler euler -o %s --sheet %s",
        SHORT GATED "--scale 1 --eta 0.5 -o %s --sheet %s --mole direct",
        OF("sd21-tiny"),
        OF("sdxl-tiny"),
        SHORT "--syntax weighted --max-chunks 2 --negative (x:1.2) -o %s --sheet %s",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        program_works(program_run(NULL, rows[i], program_file("r.png"), program_file("s.png")));
    const char *one = program_file("t1.safetensors"), *two = program_file("t2.safetensors");
    program_works(program_run(NULL, SHORT GATED "-o %s --trace %s", program_file("r.png"), one));
    program_works(program_run(NULL, SHORT GATED "-o %s --trace %s --sheet %s",
                              program_file("r.png"), two, program_file("s.png")));
    program_same_file(one, two);
    program_works(program_run(NULL,
                              "generate --model golden/models/sd15-tiny -q --width 32 --height 24 "
                              "--steps 1 --prompt %s -o %s --sheet %s",
                              "\xe6\x89\x8b \xc3\xa9t\xc3\xa9", program_file("r.png"),
                              program_file("s.png")));
    program_works(program_run(NULL,
                              "generate --model golden/models/sd15-tiny -q --width 8 --height 8 "
                              "--steps 1 --prompt '' -o %s --sheet %s",
                              program_file("r.png"), program_file("s.png")));
}

static void refused(void **state) {
    (void)state;
    const char *out = program_file("never.png"), *jpg = program_file("never.jpg"),
               *none = program_file("none/never.png"), *sheet = program_file("never-s.png");
    program_refuses(2, "--sheet", SHORT "-o %s --sheet %s", out, jpg);
    program_refuses(2, "--steps-png", SHORT "-o %s --steps-png %s", out, jpg);
    program_refuses(2, "-o and --sheet name the same file", SHORT "-o %s --sheet %s", out, out);
    program_refuses(3, "none/never", "generate --model nowhere --prompt x -o %s --sheet %s", out,
                    none);
    program_refuses(3, "none/never", "generate --model nowhere --prompt x -o %s --steps-png %s",
                    out, none);
    program_refuses(3, "none/never",
                    "generate --model nowhere --prompt x --face x --gates x -o %s --gates-png %s",
                    out, none);
    program_refuses(2, "--gates-png without --gates", SHORT "-o %s --gates-png %s", out, sheet);
    program_refuses(2, "--sheet-word without --sheet", SHORT "-o %s --sheet-word hand", out);
    program_refuses(2, "--sheet shows one picture", SHORT "-o %s --sheet %s --images 2", out,
                    sheet);
    program_refuses(2, "--steps-png shows one picture", SHORT "-o %s --steps-png %s --images 2",
                    out, sheet);
    program_refuses(2, "--gates-png FILE.png shows one picture",
                    SHORT GATED "-o %s --gates-png %s --images 2", out, sheet);
    program_refuses(2, "leave out --shard", SHORT "-o %s --sheet %s --shard 1/2", out, sheet);
    program_refuses(3, "its words: a, hand", SHORT "-o %s --sheet %s --sheet-word foot", out,
                    sheet);
    program_refuses(3, "its words: a, hand", SHORT "-o %s --sheet %s --sheet-word foot --trace %s",
                    out, sheet, program_file("never.safetensors"));
}

/* A prompt of any length, words of any length: the sheet shows how they begin. */
static void long_prompts(void **state) {
    (void)state;
    enum { LONG = 100000 };
    char *words = fixture_bytes(LONG + 1), *word = fixture_bytes(LONG + 1);
    for (size_t i = 0; i < LONG; i++) words[i] = i % 9 ? 'a' : ' ';
    memset(word, 'b', LONG);
    words[LONG] = word[LONG] = '\0';
    const char *const prompts[] = {words, word};
    for (size_t i = 0; i < 2; i++) {
        program_works(
            program_run(NULL,
                        "generate --model golden/models/sd15-tiny -q --width 8 --height 8 "
                        "--steps 1 --prompt %s -o %s --sheet %s",
                        prompts[i], program_file("l.png"), program_file("ls.png")));
        picture_t sheet = read_picture(program_file("ls.png"));
        assert_in_range(sheet.height, 1000, 3000);
        picture_free(&sheet);
    }
}

/* Stopped in one of the runs that only the sheet needs: the picture is there, of the sheet nothing. */
static void stopped(void **state) {
    (void)state;
    const char *out = program_file("stopped.png"), *sheet = program_file("stopped-sheet.png");
    run_how_t how = {.signal_after_word = SIGINT, .word = "stopped.png  seed"};
    ran_t ran = program_run(&how, MODEL GATED "--steps 60 -o %s --sheet %s", out, sheet);
    assert_int_equal(ran.status, 3);
    assert_int_equal(access(out, F_OK), 0);
    assert_int_not_equal(access(sheet, F_OK), 0);
    assert_null(strstr(program_listing(scratch_folder()), ".tmp."));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(the_picture_is_the_same),
        fixture_test(any_number_of_threads),
        fixture_test(the_other_pictures),
        fixture_test(other_settings),
        fixture_test(long_prompts),
        fixture_test(refused),
        fixture_test(stopped),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
