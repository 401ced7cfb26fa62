/* Runs that work, and what they leave: names, metadata, equal bytes; runs that cannot end well (an output
 * that cannot be written, a full disk, Ctrl-C): one line, no file of theirs. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../scratch.h"
#include "io/png.h"
#include "io/safetensors.h"
#include "program.h"

static void works(const ran_t *ran) {
    if (ran->status) fail_msg("exit code %d: %s", ran->status, ran->err);
}

static bool exists(const char *name) {
    return access(program_file(name), F_OK) == 0;
}

static void same_bytes(const char *a, const char *b) {
    size_t m, n;
    char *x = scratch_slurp(program_file(a), &m), *y = scratch_slurp(program_file(b), &n);
    if (m != n || memcmp(x, y, m) != 0) fail_msg("%s and %s differ", a, b);
    free(x);
    free(y);
}

/* ---- outputs that cannot be ------------------------------------------------------------------------- */

static void unwritable_outputs(void **state) {
    (void)state;
    const char *out = program_file("out.png");
    scratch_text("a-file", "x");
    mkdir(program_file("a-folder"), 0777);
    program_refuses(3, "No such file or directory", SMALL_RUN "-q -o %s",
                    program_file("none/out.png"));
    program_refuses(3, "Not a directory", SMALL_RUN "-q -o %s", program_file("a-file/out.png"));
    program_refuses(3, "is a directory", SMALL_RUN "-q -o %s", program_file("a-folder"));
    program_refuses(3, "not a regular file", SMALL_RUN "-q -o /dev/full");
    program_refuses(3, "name is empty", SMALL_RUN "-q -o ''");
    program_refuses(3, "No such file or directory", SMALL_RUN "-q -o %s --trace %s", out,
                    program_file("none/trace"));
    program_refuses(3, "is a directory", SMALL_RUN "-q -o %s --trace %s", out,
                    program_file("a-folder"));
    program_refuses(3, "not a regular file", SMALL_RUN "-q -o %s --trace /dev/full", out);
    program_refuses(3, "a-file", SMALL_RUN GATED "-q -o %s --gates-png %s", out,
                    program_file("a-file"));
    program_refuses(3, "none/maps", SMALL_RUN GATED "-q -o %s --gates-png %s", out,
                    program_file("none/maps"));
    /* The second of two pictures. */
    mkdir(program_file("out-0002.png"), 0777);
    program_refuses(3, "out-0002.png: is a directory", SMALL_RUN "-q --images 2 -o %s", out);
    rmdir(program_file("out-0002.png"));
}

static void read_only_folder(void **state) {
    (void)state;
    if (geteuid() == 0) {
        printf("SKIP: root may write everywhere\n");
        skip();
    }
    mkdir(program_file("locked"), 0555);
    program_refuses(3, "Permission denied", SMALL_RUN "-q -o %s", program_file("locked/out.png"));
    rmdir(program_file("locked"));
}

/* A disk that takes 4 KiB more, which some OpenMP libraries need for themselves, and no picture of
 * 64 x 64. */
static void full_disk(void **state) {
    (void)state;
    const char *words = SMALL_RUN "-q --width 64 --height 64 -o %s", *out = program_file("out.png");
    char *before = program_listing(scratch_folder());
    run_how_t how = {.file_limit = 4096};
    ran_t ran = program_run(&how, words, out);
    program_check_refusal(&ran, 3, "out.png: cannot write: File too large", words);
    assert_string_equal(before, program_listing(scratch_folder()));

    scratch_text("out.png", "an output of an earlier run");
    before = program_listing(scratch_folder());
    ran = program_run(&how, words, out);
    program_check_refusal(&ran, 3, "out.png: cannot write: File too large", words);
    assert_string_equal(before, program_listing(scratch_folder()));
    unlink(out);

    words = SMALL_RUN GATED "-q --width 64 --height 64 -o %s --gates-png %s";
    before = program_listing(scratch_folder());
    ran = program_run(&how, words, out, program_file("maps"));
    program_check_refusal(&ran, 3, "cannot write: File too large", words);
    assert_string_equal(before, program_listing(scratch_folder()));

    /* The picture fits and the trace does not: the one is whole, of the other there is nothing. */
    how.file_limit = 1 << 16;
    ran = program_run(&how, SMALL_RUN "-q -o %s --trace %s", out, program_file("trace"));
    program_check_refusal(&ran, 3, "trace: cannot write: File too large", words);
    err_t err;
    picture_t picture;
    assert_int_equal(picture_read(&picture, out, &err), 0);
    picture_free(&picture);
    unlink(out);
    assert_string_equal(before, program_listing(scratch_folder()));
}

static void full_stdout(void **state) {
    (void)state;
    static const char *const lines[] = {"--help", "tokenize --model golden/models/sd15-tiny word",
                                        "inspect --model golden/models/sd15-tiny",
                                        "verify golden/runs/text-encoder"};
    run_how_t how = {.stdout_to = "/dev/full"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        ran_t ran = program_run(&how, lines[i]);
        program_check_refusal(&ran, 3, "standard output", lines[i]);
    }
}

/* Ctrl-C, a hang-up and kill: the run stops at the next step and tidies up. */
static void interrupted(void **state) {
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < 3; i++) {
        char *before = program_listing(scratch_folder());
        run_how_t how = {.word = "prompt ", .signal_after_word = signals[i]};
        const char *words = "generate --model golden/models/sd15-tiny --prompt x --steps 999 "
                            "-o %s --trace %s";
        ran_t ran = program_run(&how, words, program_file("out.png"), program_file("trace"));
        program_check_refusal(&ran, 3, "stopped after", words);
        assert_string_equal(before, program_listing(scratch_folder()));
    }
}

/* ---- the other number type -------------------------------------------------------------------------- */

static void precision(void **state) {
    (void)state;
    const char *f64 = getenv("MOLE_F64"), *out = program_file("a.png");
    assert_non_null(f64);
    run_how_t mole = {.program = program_mole()};
    ran_t ran = program_run(&mole, SMALL_RUN GATED "-o %s --precision f64", out);
    works(&ran);
    assert_non_null(strstr(ran.out, "numbers    f64"));
    ran = program_run(&mole, SMALL_RUN GATED "-o %s --precision=f64", program_file("b.png"));
    works(&ran);
    same_bytes("a.png", "b.png");
    ran = program_run(&mole, SMALL_RUN GATED "-o %s --precision f64 --precision f32",
                      program_file("c.png"));
    works(&ran);
    assert_non_null(strstr(ran.out, "numbers    f32"));
    ran = program_run(&mole, "verify --precision f64 golden/runs/text-encoder");
    works(&ran);
    assert_non_null(strstr(ran.out, "f64, matmul"));
    /* After "--" it is a word like any other. */
    ran = program_run(&mole, "tokenize --model golden/models/sd15-tiny -- --precision=f64");
    works(&ran);
    for (const char *name = "abc"; *name; name++) {
        char file[] = {*name, '.', 'p', 'n', 'g', '\0'};
        unlink(program_file(file));
    }
}

static void copy_program(const char *from, const char *to) {
    size_t bytes;
    char *data = scratch_slurp(from, &bytes);
    const char *path = scratch_write(to, data, bytes);
    free(data);
    assert_int_equal(chmod(path, 0755), 0);
}

static void other_program_is_missing(void **state) {
    (void)state;
    mkdir(program_file("alone"), 0777);
    copy_program(program_path(), "alone/program");
    run_how_t alone = {.program = program_file("alone/program")};
    bool f32 = sizeof(real_t) == sizeof(float);
    const char *words = f32 ? SMALL_RUN "--precision f64 -o %s" : SMALL_RUN "--precision f32 -o %s";
    char *before = program_listing(scratch_folder());
    ran_t ran = program_run(&alone, words, program_file("out.png"));
    program_check_refusal(&ran, 3,
                          f32 ? "alone/mole-f64: No such file" : "alone/mole: No such file", words);
    assert_string_equal(before, program_listing(scratch_folder()));
    unlink(program_file("alone/program"));
    rmdir(program_file("alone"));
}

/* ---- what a run leaves ------------------------------------------------------------------------------ */

/* Two prompts of two pictures: four files numbered through, each what a run of its own would make. */
static void several_pictures(void **state) {
    (void)state;
    scratch_text("prompts.txt", "a face\r\n\n  \ntwo hands");
    ran_t ran =
        program_run(NULL,
                    "generate --model golden/models/sd15-tiny --steps 1 --width 8 --height 8 "
                    "--seed 5 --images 2 " GATED "--from-file %s -o %s",
                    program_file("prompts.txt"), program_file("out.png"));
    works(&ran);
    for (int number = 1; number <= 4; number++) {
        char name[32], seed[8];
        snprintf(name, sizeof name, "out-%04d.png", number);
        snprintf(seed, sizeof seed, "%d", number % 2 ? 5 : 6);
        assert_true(exists(name));
        assert_non_null(strstr(ran.out, name));
        ran_t one =
            program_run(NULL, SMALL_RUN GATED "--prompt %s --seed %s -o %s",
                        number <= 2 ? "a face" : "two hands", seed, program_file("one.png"));
        works(&one);
        same_bytes(name, "one.png");
        unlink(program_file(name));
    }
    assert_false(exists("out.png"));
    ran = program_run(NULL, SMALL_RUN "-q --images 2 -o %s", program_file("bare"));
    works(&ran);
    assert_true(exists("bare-0001") && exists("bare-0002"));
    unlink(program_file("bare-0001"));
    unlink(program_file("bare-0002"));
    unlink(program_file("one.png"));
}

static void holds(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("no \"%s\" in: %s", part, text);
}

/* The settings are in the picture, in the form that other tools read. */
static void metadata(void **state) {
    (void)state;
    ran_t ran = program_run(NULL,
                            SMALL_RUN GATED
                            "--prompt an~\xc3\xa9toile,~\xe2\x98\x85 --negative blurry "
                            "--preset paper --seed 18446744073709551615 --scale 4.5 --eta 0.5 "
                            "--noise cuda --scheduler config --steps 3 -o %s",
                            program_file("m.png"));
    works(&ran);
    err_t err;
    picture_t picture;
    if (picture_read(&picture, program_file("m.png"), &err)) fail_msg("%s", err.text);
    assert_int_equal(picture.width, 8);
    assert_int_equal(picture.height, 8);
    assert_int_equal(picture.channels, 3);
    assert_int_equal(picture.text_count, 1);
    assert_string_equal(picture.keys[0], "parameters");
    const char *text = picture.values[0];
    assert_true(strncmp(text,
                        "an \xc3\xa9toile, \xe2\x98\x85 best quality, 8K\nNegative prompt: blurry "
                        "poor quality",
                        60) == 0);
    static const char *const parts[] = {
        "\nSteps: 3, Sampler: DDIM, CFG scale: 4.5, Seed: 18446744073709551615, Size: 8x8, Model: "
        "sd15-tiny",
        "Eta: 0.5",
        "MoLE experts: face, hand (gated)",
        "Timestep spacing: leading",
        "Steps offset: 1",
        "Set alpha to one: false",
        "Prediction type: epsilon",
        "RNG: GPU",
        "Precision: " REAL_NAME};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) holds(text, parts[i]);
    picture_free(&picture);
    unlink(program_file("m.png"));
}

/* A trace and maps of the gates beside the picture change no byte of it; both say what they are. */
static void traces_and_maps(void **state) {
    (void)state;
    ran_t ran = program_run(NULL, SMALL_RUN GATED "-q --width 16 -o %s", program_file("bare.png"));
    works(&ran);
    ran = program_run(NULL, SMALL_RUN GATED "-q --width 16 -o %s --trace %s --gates-png %s",
                      program_file("seen.png"), program_file("trace"), program_file("maps"));
    works(&ran);
    holds(ran.out, " taps");
    same_bytes("bare.png", "seen.png");
    err_t err;
    st_file_t *trace;
    if (st_open(&trace, program_file("trace"), &err)) fail_msg("%s", err.text);
    assert_string_equal(st_metadata(trace, "format"), "mole-trace");
    assert_string_equal(st_metadata(trace, "precision"), REAL_NAME);
    assert_string_equal(st_metadata(trace, "prompt"), "x");
    assert_string_equal(st_at(trace, st_count(trace) - 1)->name, "image");
    assert_non_null(
        st_find(trace, "step.000/unet.mid_block.attentions.0.proj_in.mole.hand.global"));
    st_close(trace);
    static const char *const maps[] = {"maps/face.png", "maps/hand.png"};
    for (size_t i = 0; i < 2; i++) {
        picture_t picture;
        if (picture_read(&picture, program_file(maps[i]), &err)) fail_msg("%s", err.text);
        assert_string_equal(picture.keys[0], "mole:gates");
        assert_int_equal(picture.height, 8);
        picture_free(&picture);
        unlink(program_file(maps[i]));
    }
    rmdir(program_file("maps"));
    unlink(program_file("trace"));
    unlink(program_file("bare.png"));
    unlink(program_file("seen.png"));
}

/* An earlier picture of the same name is replaced, whole. */
static void an_output_is_replaced(void **state) {
    (void)state;
    scratch_text("out.png", "an output of an earlier run");
    ran_t ran = program_run(NULL, SMALL_RUN "-q -o %s", program_file("out.png"));
    works(&ran);
    ran = program_run(NULL, SMALL_RUN "-q -o %s", program_file("again.png"));
    works(&ran);
    same_bytes("out.png", "again.png");
    unlink(program_file("out.png"));
    unlink(program_file("again.png"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(unwritable_outputs),
        fixture_test(read_only_folder),
        fixture_test(full_disk),
        fixture_test(full_stdout),
        fixture_test(interrupted),
        fixture_test(precision),
        fixture_test(other_program_is_missing),
        fixture_test(several_pictures),
        fixture_test(metadata),
        fixture_test(traces_and_maps),
        fixture_test(an_output_is_replaced),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
