/* What a command is going to write is looked at before its work: names that stand for another format, two
 * outputs of one name, folders that are missing. One line, and nothing is left behind. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../scratch.h"
#include "io/safetensors.h"
#include "program.h"

#define CASE  "golden/runs/vae-decode"
#define TRACE CASE "/tensors.safetensors"

/* ---- endings ---------------------------------------------------------------------------------------- */

static void another_picture_format(void **state) {
    (void)state;
    static const char *const endings[] = {"jpg",  "jpeg", "webp", "gif", "bmp", "tif",
                                          "tiff", "avif", "svg",  "ppm", "JPG", "Jpeg"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char name[64], expected[64];
        snprintf(name, sizeof name, "a.b.%s", endings[i]);
        snprintf(expected, sizeof expected, ".%s names another format", endings[i]);
        program_refuses(2, expected, SMALL_RUN "-q -o %s", program_file(name));
        program_refuses(2, "a.b.png", SMALL_RUN "-q -o %s", program_file(name));
    }
    /* Of several pictures, too. */
    program_refuses(2, ".jpg names another", SMALL_RUN "-q --images 2 -o %s",
                    program_file("a.jpg"));
}

static void a_name_without_format(void **state) {
    (void)state;
    static const char *const names[] = {"picture", "v1.5", "a.png", "a.PNG", ".jpg", "a.jpg."};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ran_t ran = program_run(NULL, SMALL_RUN "-q -o %s", program_file(names[i]));
        if (ran.status) fail_msg("%s: %d, %s", names[i], ran.status, ran.err);
        assert_int_equal(unlink(program_file(names[i])), 0);
    }
    mkdir(program_file("old.jpg"), 0777); /* the folder's name is no ending */
    assert_int_equal(program_run(NULL, SMALL_RUN "-q -o %s", program_file("old.jpg/a")).status, 0);
    unlink(program_file("old.jpg/a"));
    rmdir(program_file("old.jpg"));
    /* The number stands before the ending, however that is written. */
    ran_t ran = program_run(NULL, SMALL_RUN "-q --images 2 -o %s", program_file("a.PNG"));
    assert_int_equal(ran.status, 0);
    assert_int_equal(unlink(program_file("a-0001.PNG")), 0);
    assert_int_equal(unlink(program_file("a-0002.PNG")), 0);
}

/* The same of everything else that is written. */
static void another_format(void **state) {
    (void)state;
    const char *png = program_file("a.png"), *json = program_file("a.json"),
               *npz = program_file("a.npz"), *html = program_file("a.html"),
               *st = program_file("a.safetensors");
    program_refuses(2, "--trace", SMALL_RUN "-q -o %s --trace %s", png, npz);
    program_refuses(2, "--profile-json", SMALL_RUN "-q -o %s --profile-json %s", png, html);
    program_refuses(2, "--gates-png", SMALL_RUN GATED "-q -o %s --gates-png %s", png, json);
    program_refuses(2, "a.html", "compare " CASE " " TRACE " --html %s", json);
    program_refuses(2, "--junit", "compare " CASE " " TRACE " --junit %s", json);
    program_refuses(2, "a.map", "compare " CASE " " TRACE " --write-map %s", json);
    program_refuses(2, "--json", "verify " CASE " --json %s", html);
    program_refuses(2, "--json", "bench --model synth:sd15-tiny --json %s", png);
    program_refuses(2, "a.safetensors", "replay op.softmax --inputs x -o %s", npz);
    program_refuses(2, "a folder is written", "synth --arch sd15-tiny -o %s", st);
}

static void one_name_twice(void **state) {
    (void)state;
    const char *x = program_file("x");
    program_refuses(2, "-o and --trace name the same file", SMALL_RUN "-q -o %s --trace %s", x, x);
    program_refuses(2, "--trace and --profile-json name the same file",
                    SMALL_RUN "-q -o %s --trace %s --profile-json %s", program_file("y"), x, x);
    program_refuses(2, "--json and --html name the same file",
                    "compare " CASE " " TRACE " --json %s --html %s", x, x);
    program_refuses(2, "--json and --junit name the same file",
                    "verify " CASE " --json %s --junit %s", x, x);
}

static const char *copy(const char *from, const char *name) {
    size_t bytes;
    char *data = scratch_slurp(from, &bytes);
    const char *path = scratch_write(name, data, bytes);
    free(data);
    return path;
}

/* However it is written, and where it is read. */
static void one_file_under_two_names(void **state) {
    (void)state;
    const char *x = program_file("x.safetensors"), *json = program_file("a.json");
    const char *folder = scratch_folder(), *other = program_file("link.json");
    char *crooked = xasprintf("%s/../%s/x.safetensors", folder, strrchr(folder, '/') + 1);
    program_refuses(2, "--json and --html name the same file",
                    "compare " CASE " " TRACE " --json %s --html %s", x, crooked);
    scratch_text("a.json", "{}");
    assert_int_equal(symlink(json, other), 0);
    program_refuses(2, "--json and --html name the same file",
                    "compare " CASE " " TRACE " --json %s --html %s", json, other);
    copy(TRACE, "x.safetensors");
    program_refuses(2, "--write-map and CANDIDATE name the same file: what is read would be lost",
                    "compare " CASE " %s --write-map %s", x, crooked);
    program_refuses(2, "--json and REFERENCE", "compare %s " TRACE " --json %s", x, x);
    program_refuses(2, "--json and --peer", "compare " TRACE " " TRACE " --peer %s --json %s", x,
                    x);
    program_refuses(2, "--json and --map", "compare " CASE " " TRACE " --map %s --json %s", x, x);
    program_refuses(2, "-o and --inputs", "replay op.softmax --inputs %s -o %s", x, crooked);
    program_refuses(2, "--trace and an expert",
                    SMALL_RUN "-q -o %s --plain-lora --face %s --trace %s", program_file("p.png"),
                    x, x);
    program_refuses(2, "--trace and --gates", SMALL_RUN "-q -o %s --face y --gates %s --trace %s",
                    program_file("p.png"), x, x);
    program_refuses(2, "--trace and --latents", SMALL_RUN "-q -o %s --latents %s --trace %s",
                    program_file("p.png"), x, crooked);
    free(crooked);
    /* two inputs may be one file */
    assert_int_equal(program_run(NULL, "compare " TRACE " " TRACE " --peer %s", TRACE).status, 0);
}

/* ---- streams that are closed ------------------------------------------------------------------------- */

/* What is printed goes nowhere, and never into the first file that is opened. */
static void closed_streams(void **state) {
    (void)state;
    const char *png = program_file("c.png"), *trace = program_file("c.safetensors");
    static const char run[] = SMALL_RUN "-o %s --trace %s";
    size_t bytes, more;
    ran_t ran = program_run(NULL, run, png, trace);
    assert_int_equal(ran.status, 0);
    char *right = scratch_slurp(trace, &bytes);
    static const struct {
        const char *closed;
        int status;
    } cases[] = {{"0", 0}, {"2", 0}, {"02", 0}, {"1", 3}, {"12", 3}, {"012", 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const run_how_t how = {.closed = cases[i].closed};
        ran = program_run(&how, run, png, trace);
        if (ran.status != cases[i].status) fail_msg("%s: %d", cases[i].closed, ran.status);
        char *found = scratch_slurp(trace, &more);
        assert_int_equal(more, bytes);
        assert_memory_equal(found, right, bytes);
        free(found);
    }
    free(right);
}

/* ---- files that shrink -------------------------------------------------------------------------------- */

/* Numbers stored as F32 are used where the file is mapped, in the program of that type. */
static void a_mapped_file_that_shrinks(void **state) {
    (void)state;
    if (sizeof(real_t) != 4) return;
    const char *model = program_file("mapped");
    assert_int_equal(program_run(NULL, "synth --arch sd15-tiny -q -o %s", model).status, 0);
    const char *unet = program_file("mapped/unet/diffusion_pytorch_model.safetensors");
    const run_how_t how = {.word = "s-0001.png  seed", .empty_after_word = unet};
    ran_t ran = program_run(&how, "generate --model %s --prompt x --steps 20 --images 100 -q -o %s",
                            model, program_file("s.png"));
    assert_int_equal(ran.status, 3);
    assert_non_null(strstr(ran.err, "mole: a file shrank"));
    assert_null(strstr(program_listing(scratch_folder()), ".tmp."));
}

/* ---- folders that are missing ------------------------------------------------------------------------ */

/* Inputs that the work would stumble over come after: what is refused is the output. */
static void missing_folders(void **state) {
    (void)state;
    const char *out = program_file("none/out"), *png = program_file("a.png");
    static const char *const commands[] = {
        "compare nowhere nowhere.npz --json %s",
        "compare nowhere nowhere.npz --junit %s",
        "compare nowhere nowhere.npz --html %s",
        "verify nowhere --json %s",
        "verify nowhere --junit %s",
        "verify nowhere --html %s",
        "bench --model nowhere --json %s",
        "replay op.softmax --inputs nowhere -o %s",
        "synth --arch sd15-tiny -o %s",
        "generate --model nowhere --prompt x -o %s",
        "compare nowhere nowhere.npz --write-map %s",
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        program_refuses(3, "none/out", commands[i], out);
    program_refuses(3, "none/out", "synth --arch sd15-tiny --format ldm -o %s",
                    program_file("none/out.safetensors"));
#define NOWHERE "generate --model nowhere --prompt x -o %s "
    program_refuses(3, "none/out", NOWHERE "--trace %s", png, out);
    program_refuses(3, "none/out", NOWHERE "--profile-json %s", png, out);
    program_refuses(3, "none/out", NOWHERE "--face x --gates x --gates-png %s", png, out);
    program_refuses(3, "none/out", "synth --arch sd15-tiny -o %s --experts %s",
                    program_file("made"), out);
    program_refuses(3, "none/out-0001.png", NOWHERE "--images 2", program_file("none/out.png"));
    program_refuses(3, "none/out-0002.png", NOWHERE "--images 2 --shard 2/2",
                    program_file("none/out.png"));
}

/* Experts may go into the folder that the same command makes. */
static void a_folder_in_a_new_one(void **state) {
    (void)state;
    ran_t ran = program_run(NULL, "synth --arch sd15-tiny -q -o %s --experts %s --rank 1",
                            program_file("made"), program_file("made/experts"));
    if (ran.status) fail_msg("%d, %s", ran.status, ran.err);
    assert_int_equal(access(program_file("made/experts/gates.safetensors"), R_OK), 0);
    assert_int_equal(access(program_file("made/model_index.json"), R_OK), 0);
}

/* ---- compare TRACE CASE ------------------------------------------------------------------------------- */

static void golden_case_second(void **state) {
    (void)state;
    program_refuses(2, "the golden case is given first: mole compare " CASE " " TRACE,
                    "compare " TRACE " " CASE);
    program_refuses(2, "the golden case is given first", "compare nowhere golden/sampler/randn");
    program_refuses(2, "CANDIDATE is a trace", "compare " CASE " golden/runs/text-encoder");
    /* A folder of a trace may hold a manifest of its own. */
    mkdir(program_file("trace"), 0777);
    scratch_text("trace/manifest.json", "{\"what\": \"mine\"}");
    program_refuses(3, "trace", "compare " CASE " %s", program_file("trace"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(another_picture_format),
        fixture_test(a_name_without_format),
        fixture_test(another_format),
        fixture_test(one_name_twice),
        fixture_test(one_file_under_two_names),
        fixture_test(closed_streams),
        fixture_test(a_mapped_file_that_shrinks),
        fixture_test(missing_folders),
        fixture_test(a_folder_in_a_new_one),
        fixture_test(golden_case_second),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
