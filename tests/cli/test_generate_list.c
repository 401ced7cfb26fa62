/* test_generate_list.c - lists of prompts: shards, what is kept and what is refused, lines with options,
 * runs that were stopped. Every picture must be, byte for byte, what a run of its own makes. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../scratch.h"
#include "program.h"

#define MODEL "generate --model golden/models/sd15-tiny --width 8 --height 8 --seed 5 "
#define LIST  MODEL "--steps 2 --images 2 --from-file %s -o %s "

enum { PICTURES = 6, NAME_SIZE = 32 };

static const char *prompts(void) {
    static char path[512];
    snprintf(path, sizeof path, "%s",
             scratch_text("prompts.txt", "a face\n\ntwo hands\r\nan old man, waving\n"));
    return path;
}

/* A file in a new folder of the scratch folder. */
static const char *out_in(const char *folder) {
    char name[NAME_SIZE];
    mkdir(program_file(folder), 0777);
    snprintf(name, sizeof name, "%s/x.png", folder);
    return program_file(name);
}

static const char *picture(const char *folder, int number) {
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s/x-%04d.png", folder, number);
    return program_file(name);
}

static bool there(const char *path) {
    return access(path, F_OK) == 0;
}

static void works(const ran_t *ran) {
    if (ran->status) fail_msg("exit code %d: %s", ran->status, ran->err);
}

static void holds(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("no \"%s\" in: %s", part, text);
}

static void same_file(const char *a, const char *b) {
    size_t m, n;
    char *x = scratch_slurp(a, &m), *y = scratch_slurp(b, &n);
    if (m != n || memcmp(x, y, m) != 0) fail_msg("%s and %s differ", a, b);
    free(x);
    free(y);
}

/* The whole list in one go, to compare with: made once. */
static const char *whole(void) {
    static bool made;
    if (!made) {
        ran_t ran = program_run(NULL, LIST "-q", prompts(), out_in("whole"));
        works(&ran);
        made = true;
    }
    return "whole";
}

static void same_pictures(const char *folder) {
    for (int number = 1; number <= PICTURES; number++)
        same_file(picture(folder, number), picture(whole(), number));
}

static void clear(const char *folder) {
    for (int number = 1; number <= PICTURES; number++) unlink(picture(folder, number));
    rmdir(program_file(folder));
}

static size_t times(const char *text, const char *part) {
    size_t count = 0;
    for (; (text = strstr(text, part)); text++) count++;
    return count;
}

/* ---- shards --------------------------------------------------------------------------------------- */

/* Shard I of N makes the pictures I, I + N, I + 2N ... under the names that they have without shards. */
static void shards(void **state) {
    (void)state;
    const char *out = out_in("shards");
    for (int shard = 1; shard <= 4; shard++) {
        char part[16];
        snprintf(part, sizeof part, "%d/4", shard);
        ran_t ran = program_run(NULL, LIST "--shard %s", prompts(), out, part);
        works(&ran);
        assert_int_equal(times(ran.out, ".png  seed"), shard <= 2 ? 2 : 1);
        assert_int_equal(times(ran.out, "there already"), 0);
        for (int number = 1; number <= PICTURES; number++)
            assert_int_equal(there(picture("shards", number)), (number - 1) % 4 < shard);
    }
    same_pictures("shards");
    clear("shards");
    /* More machines than pictures. */
    ran_t ran = program_run(NULL, LIST "--shard 7/7", prompts(), out_in("none"));
    works(&ran);
    holds(ran.out, "shard 7/7: none");
    assert_int_equal(rmdir(program_file("none")), 0);
}

static void wrong_shards(void **state) {
    (void)state;
    static const char *const values[] = {"0/2", "3/2",   "1",    "/2",   "1/", "1/0",      "-1/2",
                                         "a/b", "1/2/3", "1 /2", "1/2x", "''", "1/1000001"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        program_refuses(2, "--shard takes I/N", LIST "--shard %s", prompts(), "never.png",
                        values[i]);
    program_refuses(2, "leave out --shard", MODEL "--prompt x -o x.png --trace t --shard 1/2");
    program_refuses(2, "leave out --shard",
                    MODEL GATED "--prompt x -o x.png --gates-png maps --shard 1/2");
}

/* ---- run again ------------------------------------------------------------------------------------ */

static void kept_when_equal(void **state) {
    (void)state;
    const char *out = out_in("kept");
    ran_t ran = program_run(NULL, LIST "-q --shard 2/3", prompts(), out);
    works(&ran);
    char *before = program_listing(program_file("kept"));
    ran = program_run(NULL, LIST "-q --shard 2/3", prompts(), out);
    works(&ran);
    assert_int_equal(times(ran.out, "there already"), 2);
    assert_int_equal(times(ran.out, "seed"), 0);
    assert_string_equal(before, program_listing(program_file("kept")));
    /* Another division of the same list. */
    ran = program_run(NULL, LIST, prompts(), out);
    works(&ran);
    holds(ran.out, "list       3 prompts, 6 pictures; there already: 2");
    assert_int_equal(times(ran.out, "png  there already"), 2);
    assert_int_equal(times(ran.out, "png  seed"), 4);
    same_pictures("kept");
    clear("kept");
}

/* Each of these would make another picture than the one that is there; nothing is made, nothing changed. */
static void refused_when_different(void **state) {
    (void)state;
    whole();
    static const char *const rows[][2] = {
        {"--steps 3", "made with Steps: 2 where this run has Steps: 3"},
        {"--scale 3", "CFG scale: 7.5 where this run has CFG scale: 3"},
        {"--seed 6", "made with Seed: 5 where this run has Seed: 6"},
        {"--width 16", "made with Size: 8x8 where this run has Size: 16x8"},
        {"--eta 1", "made with Eta: 0 where this run has Eta: 1"},
        {"--scheduler config", "Set alpha to one: true where this run has Set alpha to one: false"},
        {"--noise cuda", "RNG: CPU where this run has RNG: GPU"},
        {"--negative blue", "another negative prompt"},
        {"--preset paper", "another prompt"},
        {"--matmul plain", "without Matmul: plain"},
        {"--mole direct", "without MoLE form: direct"},
        {"--syntax weighted", "without Prompt syntax: weighted"},
        {"--max-chunks 2", "without Max chunks: 2"},
        {GATED,
         "MoLE experts: none (plain Stable Diffusion) where this run has MoLE experts: face, "
         "hand (gated)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char words[512];
        snprintf(words, sizeof words, "%s-q %s", LIST, rows[i][0]);
        char *before = program_listing(program_file("whole"));
        program_refuses(3, rows[i][1], words, prompts(), program_file("whole/x.png"));
        program_refuses(3, "x-0001.png: there already", words, prompts(),
                        program_file("whole/x.png"));
        assert_string_equal(before, program_listing(program_file("whole")));
    }
}

/* The same names of files, other weights in them. */
static void other_weights(void **state) {
    (void)state;
    const char *out = out_in("weights"), *face = EXPERTS "face.safetensors",
               *hand = EXPERTS "hand.safetensors", *gates = EXPERTS "gates.safetensors";
#define WEIGHTS LIST "-q --face %s --hand %s --gates %s"
    ran_t ran = program_run(NULL, WEIGHTS, prompts(), out, face, hand, gates);
    works(&ran);
    ran = program_run(NULL, WEIGHTS, prompts(), out, face, hand, gates);
    works(&ran);
    assert_int_equal(times(ran.out, "there already"), PICTURES);
    program_refuses(3, "made with Weights: ", WEIGHTS, prompts(), out, hand, face, gates);
    clear("weights");
}

static void overwritten(void **state) {
    (void)state;
    const char *out = out_in("over");
    ran_t ran = program_run(NULL, LIST "-q --negative blue", prompts(), out);
    works(&ran);
    ran = program_run(NULL, LIST "-q --overwrite", prompts(), out);
    works(&ran);
    assert_int_equal(times(ran.out, "seed"), PICTURES);
    same_pictures("over");
    clear("over");
}

/* A file that is no picture of ours is not replaced unasked either. */
static void foreign_files(void **state) {
    (void)state;
    const char *out = out_in("foreign");
    scratch_text("foreign/x-0004.png", "holiday");
    program_refuses(3, "there already, and not a picture", LIST "-q", prompts(), out);
    assert_false(there(picture("foreign", 1)));
    /* Another shard's is none of this one's business. */
    ran_t ran = program_run(NULL, LIST "-q --shard 1/2", prompts(), out);
    works(&ran);
    ran = program_run(NULL, LIST "-q --overwrite", prompts(), out);
    works(&ran);
    same_pictures("foreign");
    clear("foreign");
}

/* ---- lines with options --------------------------------------------------------------------------- */

static void options_of_a_line(void **state) {
    (void)state;
    const char *out = out_in("lines");
    const char *list = program_file("lines.txt");
    scratch_text("lines.txt", "plain one\n"
                              "two hands --n blue sky, red --s 3 --d 9 --l 3.5 --w 16 --h 24 \r\n"
                              "weak --l 1\n");
    ran_t ran = program_run(NULL, MODEL "--steps 2 -q --from-file %s -o %s", list, out);
    works(&ran);
    static const char *const alone[] = {
        MODEL "--steps 2 -q -o %s --prompt plain~one",
        MODEL "-q -o %s --prompt two~hands --negative blue~sky,~red --steps 3 --seed 9 --scale 3.5 "
              "--width 16 --height 24",
        MODEL "--steps 2 -q -o %s --prompt weak --scale 1"};
    for (int number = 1; number <= 3; number++) {
        ran = program_run(NULL, alone[number - 1], program_file("alone.png"));
        works(&ran);
        same_file(picture("lines", number), program_file("alone.png"));
    }
    unlink(program_file("alone.png"));
    unlink(list);
    clear("lines");
}

static void wrong_lines(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"a\nb --x 3\n", "line 2: ' --x 3' is no option"},
        {"a --nl 3\n", "line 1: ' --nl 3' is no option"},
        {"a cat -- asleep\n", "line 1: ' -- asleep' is no option"},
        {"a --\n", "line 1: ' --' is no option"},
        {"a --w 12\n", "line 1: --w takes a multiple of 8 from 8 to 65528, not '12'"},
        {"a --h\n", "line 1: --h takes a multiple of 8 from 8 to 65528, not ''"},
        {"a --s 0\n", "line 1: --s takes a number from 1 to 1000, not '0'"},
        {"a --d 1,2\n", "line 1: --d takes a whole number from 0 to 2^64-1, not '1,2'"},
        {"a --l x\n", "line 1: --l takes a number from 0 to 1000, not 'x'"},
        {"\n\n --s 3\n", "line 3: options without a prompt"},
        {"--s 3\n", "line 1: options without a prompt"},
        {"a --d 18446744073709551615\n", "the last seed is above 2^64-1"},
        {"a\nb --n \xff\n", "prompt 2: its negative prompt: invalid UTF-8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *list = program_file("wrong.txt");
        scratch_text("wrong.txt", rows[i][0]);
        program_refuses(strstr(rows[i][1], "seed is above") ? 2 : 3, rows[i][1],
                        MODEL "--images 2 --from-file %s -o %s", list, "never.png");
    }
    /* What is of one size for all does not go with lines of several. */
    const char *list = program_file("wrong.txt");
    scratch_text("wrong.txt", "a\nb --w 16\n");
    program_refuses(3, "--gates-png", MODEL GATED "--from-file %s -o x.png --gates-png maps", list);
    program_refuses(3, "--latents", MODEL "--from-file %s -o x.png --latents nowhere", list);
    unlink(list);
}

/* ---- stopped runs --------------------------------------------------------------------------------- */

/* The listing of a folder without what kill -9 may leave. */
static size_t temporary_files(const char *folder) {
    return times(program_listing(program_file(folder)), ".tmp.");
}

/* Stopped after the second picture, started again: the same bytes as in one go. */
static void stopped(int signal_number, int status) {
    const char *out = out_in("stopped");
    run_how_t how = {.word = "x-0002.png  seed", .signal_after_word = signal_number};
    ran_t ran =
        program_run(&how, MODEL "--steps 150 --images 2 --from-file %s -o %s", prompts(), out);
    assert_int_equal(ran.status, status);
    if (status == 3) {
        holds(ran.err, "the same command goes on from here");
        assert_int_equal(temporary_files("stopped"), 0);
    }
    assert_true(there(picture("stopped", 1)) && there(picture("stopped", 2)));
    assert_false(there(picture("stopped", PICTURES)));
    ran = program_run(NULL, MODEL "-q --steps 150 --images 2 --from-file %s -o %s", prompts(), out);
    works(&ran);
    assert_true(times(ran.out, "there already") >= 2);
    assert_int_equal(temporary_files("stopped"), 0);
    static bool made; /* once for all signals */
    if (!made) {
        ran = program_run(NULL, MODEL "-q --steps 150 --images 2 --from-file %s -o %s", prompts(),
                          out_in("unstopped"));
        works(&ran);
        made = true;
    }
    for (int number = 1; number <= PICTURES; number++)
        same_file(picture("stopped", number), picture("unstopped", number));
    clear("stopped");
}

static void interrupted(void **state) {
    (void)state;
    stopped(SIGINT, 3);
}

static void killed(void **state) {
    (void)state;
    stopped(SIGKILL, 128 + SIGKILL);
}

/* Temporary files of a process that is gone go, those of another shard or of a living process stay. */
static void leftovers(void **state) {
    (void)state;
    const char *out = out_in("left");
    char alive[NAME_SIZE * 2];
    static const char *const gone[] = {"left/x-0001.png.tmp.999999999.0",
                                       "left/x-0005.png.tmp.999999999.17"};
    static const char *const stay[] = {
        "left/x-0002.png.tmp.999999999.0",  "left/x-0007.png.tmp.999999999.0",
        "left/x-0001.png.tmp.999999999",    "left/x-0001.png.tmp.999999999.0.bak",
        "left/xy-0001.png.tmp.999999999.0", "left/x.png.tmp.999999999.0"};
    snprintf(alive, sizeof alive, "left/x-0003.png.tmp.%ld.0", (long)getpid());
    for (size_t i = 0; i < 2; i++) scratch_text(gone[i], "");
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++) scratch_text(stay[i], "");
    scratch_text(alive, "");
    ran_t ran = program_run(NULL, LIST "-q --shard 1/2", prompts(), out);
    works(&ran);
    for (size_t i = 0; i < 2; i++) assert_false(there(program_file(gone[i])));
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++) {
        if (!there(program_file(stay[i]))) fail_msg("%s is gone", stay[i]);
        unlink(program_file(stay[i]));
    }
    assert_true(there(program_file(alive)));
    unlink(program_file(alive));
    clear("left");
}

/* ---- progress ------------------------------------------------------------------------------------- */

static void progress(void **state) {
    (void)state;
    ran_t ran = program_run(NULL, LIST "--shard 2/3", prompts(), out_in("told"));
    works(&ran);
    holds(ran.err, "x-0002.png: step 2/2, ");
    holds(ran.err, ", picture 1 of 2, ");
    holds(ran.err, ", picture 2 of 2, 0 s left for all\n");
    clear("told");
    ran = program_run(NULL, MODEL "--steps 1 --prompt x -o %s", program_file("one.png"));
    works(&ran);
    assert_null(strstr(ran.err, "picture"));
    unlink(program_file("one.png"));
}

int main(void) {
    setenv("OMP_NUM_THREADS", "1", 1); /* on so small a picture more only wait for one another */
    const struct CMUnitTest tests[] = {
        fixture_test(shards),          fixture_test(wrong_shards),
        fixture_test(kept_when_equal), fixture_test(refused_when_different),
        fixture_test(other_weights),   fixture_test(overwritten),
        fixture_test(foreign_files),   fixture_test(options_of_a_line),
        fixture_test(wrong_lines),     fixture_test(interrupted),
        fixture_test(killed),          fixture_test(leftovers),
        fixture_test(progress),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
