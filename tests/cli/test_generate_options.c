/* test_generate_options.c - every option of `mole generate` changes what it names, and nothing else.
 *
 * The program runs as a user runs it; MOLE and MOLE_F64 say where it was built. Pictures are compared pixel
 * by pixel with those of other command lines that must give the same, or another, picture. */
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../scratch.h"
#include "../trace/trace_fixture.h"
#include "../unit.h"
#include "core/real.h"
#include "io/png.h"
#include "io/safetensors.h"

#define FACE  "golden/models/sd15-tiny-mole/face.safetensors"
#define HAND  "golden/models/sd15-tiny-mole/hand.safetensors"
#define GATES "golden/models/sd15-tiny-mole/gates.safetensors"
#define NAMED "hand=" HAND

enum { WORDS = 64 };

/* ---- running the program -------------------------------------------------- */

static const char *program(void) {
    return getenv(sizeof(real_t) == sizeof(double) ? "MOLE_F64" : "MOLE");
}

static void to_file(int fd, const char *path) {
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (file < 0 || dup2(file, fd) < 0) _exit(126);
}

/* Runs "mole generate" with these words; what it says goes to the scratch files out and err. */
static int run(const char *const *words) {
    const char *argv[WORDS] = {program(), "generate"};
    size_t count = 2;
    for (; words[count - 2]; count++) {
        assert_in_range(count, 0, WORDS - 2);
        argv[count] = words[count - 2];
    }
    const char *out = scratch_path("out"), *err = scratch_path("err");
    pid_t child = fork();
    if (child == 0) {
        to_file(1, out);
        to_file(2, err);
        setenv("OMP_NUM_THREADS", "1",
               1); /* on so small a picture more only wait for one another */
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What the last run said, "out" or "err"; good until the next call. */
static const char *said(const char *name) {
    static char text[1 << 14];
    size_t bytes;
    char *all = scratch_slurp(scratch_path(name), &bytes);
    snprintf(text, sizeof text, "%s", all);
    free(all);
    return text;
}

/* Words of a command line; of an option given twice the last one counts. */
#define WITH(...) ((const char *const[]){__VA_ARGS__, NULL})
#define USUAL                                                                                      \
    "--model", "golden/models/sd15-tiny", "--prompt", "two hands and a smiling face",              \
        "--negative", "blue", "--seed", "5", "--steps", "2", "--width", "24", "--height", "16"
#define EXPERTS "--face", FACE, "--hand", HAND, "--gates", GATES

static void generate(const char *name, const char *const *words) {
    const char *line[WORDS];
    size_t n = 0;
    if (!program()) skip();
    for (; words[n]; n++) line[n] = words[n];
    assert_in_range(n, 0, WORDS - 3);
    line[n++] = "-o";
    line[n++] = scratch_path(name);
    line[n] = NULL;
    int status = run(line);
    if (status) fail_msg("exit code %d: %s", status, said("err"));
}

static picture_t load(const char *name) {
    picture_t picture;
    err_t err;
    if (picture_read(&picture, scratch_path(name), &err)) fail_msg("%s", err.text);
    return picture;
}

static bool same_pixels(const char *name, const char *other) {
    picture_t a = load(name), b = load(other);
    bool same = a.width == b.width && a.height == b.height &&
                memcmp(a.pixels, b.pixels, a.width * a.height * a.channels) == 0;
    picture_free(&a);
    picture_free(&b);
    return same;
}

/* ---- options and pictures -------------------------------------------------- */

/* Each of these gives another picture than the usual line. */
static void options_that_change_the_picture(void **state) {
    (void)state;
    static const struct {
        const char *what;
        const char *word[5];
    } table[] = {{"--seed", {"--seed", "6"}},
                 {"--prompt", {"--prompt", "two hats"}},
                 {"--negative", {"--negative", "red"}},
                 {"--negative empty", {"--negative", ""}},
                 {"--preset", {"--preset", "paper"}},
                 {"prompt-suffixes", {"--deviation", "prompt-suffixes"}},
                 {"vae-without-attention", {"--deviation", "vae-without-attention"}},
                 {"bf16-gates", {"--deviation", "bf16-gates"}},
                 {"--syntax", {"--syntax", "weighted", "--prompt", "two (hands:1.4)"}},
                 {"--steps", {"--steps", "3"}},
                 {"--scale", {"--scale", "3"}},
                 {"--eta", {"--eta", "1"}},
                 {"--noise", {"--noise", "cuda"}},
                 {"--scheduler", {"--scheduler", "config"}}};
    generate("usual.png", WITH(USUAL, EXPERTS));
    generate("again.png", WITH(USUAL, EXPERTS));
    assert_true(same_pixels("usual.png", "again.png"));
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *const *w = table[i].word;
        generate("other.png", w[2] ? WITH(USUAL, EXPERTS, w[0], w[1], w[2], w[3])
                                   : WITH(USUAL, EXPERTS, w[0], w[1]));
        if (same_pixels("usual.png", "other.png")) fail_msg("%s changes nothing", table[i].what);
    }
    generate("plain.png", WITH(USUAL));
    assert_false(same_pixels("usual.png", "plain.png"));
    generate("ungated.png", WITH(USUAL, "--face", FACE, "--hand", HAND, "--plain-lora"));
    assert_false(same_pixels("usual.png", "ungated.png"));
    assert_false(same_pixels("plain.png", "ungated.png"));
}

/* And these the same. */
static void options_that_do_not(void **state) {
    (void)state;
    generate("usual.png", WITH(USUAL, EXPERTS));
    generate("turned.png", WITH(USUAL, "--gates", GATES, "--hand", HAND, "--face", FACE));
    assert_true(same_pixels("usual.png", "turned.png"));
    generate("named.png", WITH(USUAL, "--gates", GATES, "--expert", NAMED, "--face", FACE));
    assert_true(same_pixels("usual.png", "named.png"));
    generate("quiet.png", WITH(USUAL, EXPERTS, "-q", "--allow-unused", "--threads", "1"));
    assert_true(same_pixels("usual.png", "quiet.png"));
    /* The preset's words are those one can type. */
    generate("preset.png", WITH(USUAL, EXPERTS, "--preset", "paper"));
    generate("typed.png",
             WITH(USUAL, EXPERTS, "--prompt", "two hands and a smiling face best quality, 8K",
                  "--negative", "blue poor quality, unclear hand, bad face "));
    assert_true(same_pixels("preset.png", "typed.png"));
    generate("words.png", WITH(USUAL, EXPERTS, "--deviation", "prompt-suffixes"));
    assert_true(same_pixels("preset.png", "words.png"));
    /* Without guidance nobody listens to the negative prompt. */
    generate("one.png", WITH(USUAL, EXPERTS, "--scale", "1"));
    generate("two.png", WITH(USUAL, EXPERTS, "--scale", "0.5", "--negative", "red"));
    assert_true(same_pixels("one.png", "two.png"));
    assert_false(same_pixels("usual.png", "one.png"));
}

static void width_and_height(void **state) {
    (void)state;
    generate("usual.png", WITH(USUAL));
    picture_t p = load("usual.png");
    assert_int_equal(p.width, 24);
    assert_int_equal(p.height, 16);
    picture_free(&p);
}

/* The picture made of the seed's own latents, from a file. */
static void latents(void **state) {
    (void)state;
    static const float zeros[1 * 4 * 2 * 3] = {0};
    char path[512];
    snprintf(path, sizeof path, "%s",
             fixture_npy_file("latents.npy", DTYPE_F32, SHAPE4(1, 4, 2, 3), zeros));
    generate("usual.png", WITH(USUAL));
    generate("given.png", WITH(USUAL, "--latents", path));
    assert_false(same_pixels("usual.png", "given.png"));
    generate("seed.png", WITH(USUAL, "--latents", path, "--seed", "6"));
    assert_true(same_pixels("given.png", "seed.png"));
}

/* Picture i of a prompt is that of seed N + i; pictures of several prompts are numbered through, and each
 * is what its prompt gives alone. */
static void several_pictures(void **state) {
    (void)state;
    static const char second[] = "an old man with a hat";
    char prompts[512];
    snprintf(prompts, sizeof prompts, "%s",
             scratch_text("prompts.txt",
                          "two hands and a smiling face\n\n  \nan old man with a hat\r\n"));
    generate("five.png", WITH(USUAL, EXPERTS));
    generate("six.png", WITH(USUAL, EXPERTS, "--seed", "6"));
    generate("hat.png", WITH(USUAL, EXPERTS, "--prompt", second));
    generate("hat6.png", WITH(USUAL, EXPERTS, "--prompt", second, "--seed", "6"));
    generate("many.png", WITH("--from-file", prompts, "--images", "2", "--model",
                              "golden/models/sd15-tiny", "--negative", "blue", "--seed", "5",
                              "--steps", "2", "--width", "24", "--height", "16", EXPERTS));
    static const char *const alone[] = {"five.png", "six.png", "hat.png", "hat6.png"};
    for (size_t i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "many-%04zu.png", i + 1);
        if (!same_pixels(name, alone[i])) fail_msg("%s is not %s", name, alone[i]);
    }
}

/* ---- what is written beside the pixels -------------------------------------------------- */

static void must_hold(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("no '%s' in: %s", part, text);
}

static void metadata(void **state) {
    (void)state;
    generate("note.png",
             WITH(USUAL, EXPERTS, "--images", "2", "--scale", "3.5", "--eta", "0.5", "--scheduler",
                  "config", "--deviation", "bf16-gates", "--deviation", "vae-without-attention"));
    picture_t p = load("note-0002.png");
    assert_int_equal(p.text_count, 1);
    assert_string_equal(p.keys[0], "parameters");
    static const char *const parts[] = {"two hands and a smiling face\nNegative prompt: blue\n",
                                        "Steps: 2, Sampler: DDIM, CFG scale: 3.5, Seed: 6, "
                                        "Size: 24x16, Model: sd15-tiny, Eta: 0.5",
                                        "MoLE experts: face, hand (gated)",
                                        "Timestep spacing: leading, Steps offset: 1",
                                        "Set alpha to one: false",
                                        "Prediction type: epsilon",
                                        "RNG: CPU",
                                        ", Deviations: vae-without-attention, bf16-gates, W",
                                        "Precision: " REAL_NAME};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) must_hold(p.values[0], parts[i]);
    picture_free(&p);
}

static st_file_t *trace(const char *const *words) {
    st_file_t *file;
    err_t err;
    generate("traced.png", words);
    if (st_open(&file, scratch_path("trace.safetensors"), &err)) fail_msg("%s", err.text);
    return file;
}

static bool has_tap(const st_file_t *file, const char *name) {
    return st_find(file, name) != NULL;
}

/* --matmul and --mole choose how the same numbers are computed: seen in a trace, and in what is said. */
static void ways_of_computing(void **state) {
    (void)state;
    static const char gate[] = "step.000/unet.mid_block.attentions.0.proj_in.mole.face.local";
    static const char base[] = "step.000/unet.mid_block.attentions.0.proj_in.mole.base";
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_path("trace.safetensors"));
    st_file_t *blas = trace(WITH(USUAL, EXPERTS, "--trace", path));
    assert_true(has_tap(blas, gate) && !has_tap(blas, base));
    assert_true(has_tap(blas, "step.001/latents") && !has_tap(blas, "step.002/latents"));
    assert_string_equal(st_metadata(blas, "prompt"), "two hands and a smiling face");
    assert_string_equal(st_metadata(blas, "negative_prompt"), "blue");
    must_hold(said("out"), "matmul blas, mole stacked");

    st_file_t *plain = trace(WITH(USUAL, EXPERTS, "--trace", path, "--matmul", "plain"));
    const st_tensor_t *a = st_find(blas, "step.001/latents"),
                      *b = st_find(plain, "step.001/latents");
    assert_int_equal(a->bytes, b->bytes);
    assert_memory_not_equal(a->data, b->data, a->bytes);
    must_hold(said("out"), "matmul plain, mole stacked");

    st_file_t *direct = trace(WITH(USUAL, EXPERTS, "--trace", path, "--mole", "direct"));
    assert_true(has_tap(direct, gate) && has_tap(direct, base));
    must_hold(said("out"), "matmul blas, mole direct");
    st_close(blas);
    st_close(plain);
    st_close(direct);
}

/* Experts whose strength nobody has named are refused. */
static void experts_without_gates(void **state) {
    (void)state;
    if (!program()) skip();
    size_t before = scratch_entries();
    assert_int_equal(run(WITH(USUAL, "--face", FACE, "--hand", HAND, "-o", "out/never.png")), 2);
    must_hold(said("err"), "--plain-lora");
    assert_int_equal(run(WITH(USUAL, "--gates", GATES, "-o", "out/never.png")), 2);
    must_hold(said("err"), "--face");
    assert_in_range(scratch_entries(), before, before + 2); /* out and err */
    assert_int_not_equal(access("out/never.png", F_OK), 0);
}

int main(void) {
    if (!program())
        print_message("SKIP: MOLE and MOLE_F64 do not say where the program is (make test does)\n");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_that_change_the_picture),
        cmocka_unit_test(options_that_do_not),
        cmocka_unit_test(width_and_height),
        cmocka_unit_test(latents),
        cmocka_unit_test(several_pictures),
        cmocka_unit_test(metadata),
        cmocka_unit_test(ways_of_computing),
        cmocka_unit_test(experts_without_gates),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
