/* Every file that the program reads, spoilt in every way: one line that names the file (and the tensor),
 * exit code 3, nothing written. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../model/model_copy.h"
#include "../scratch.h"
#include "io/safetensors.h"
#include "program.h"
#include "spoil.h"

static void describe(char *text, size_t size, const char *what, spoil_t how) {
    snprintf(text, size, "%s, %s:", what, spoil_name[how]);
}

/* The message has to name the file, and the tensor when the damage is about one. */
static void refused(const ran_t *ran, const char *what, spoil_t how, const char *file,
                    const char *tensor) {
    char label[256];
    describe(label, sizeof label, what, how);
    program_check_refusal(ran, 3, file, label);
    if (how >= SPOIL_DTYPE && !strstr(ran->err, tensor))
        fail_msg("%s should name %s: %s", label, tensor, ran->err);
    if ((how == SPOIL_PICKLE || how == SPOIL_ZIP_PICKLE) && !strstr(ran->err, "safetensors"))
        fail_msg("%s should say how to convert it: %s", label, ran->err);
}

/* ---- components of the model ------------------------------------------------------------------------ */

static void component(const char *file, const char *tensor) {
    char name[64], from[256], to[512];
    snprintf(name, sizeof name, "model-%.4s", file);
    const char *model = model_copy_named(name);
    snprintf(from, sizeof from, "golden/models/sd15-tiny/%s", file);
    snprintf(to, sizeof to, "%s/%s", model, file);
    for (spoil_t how = 0; how < SPOIL_KINDS; how++) {
        spoil_file(from, to, how, tensor);
        char *before = program_listing(scratch_folder());
        ran_t ran = program_run(NULL, "generate --model %s --prompt x --steps 1 -o %s", model,
                                program_file("out.png"));
        refused(&ran, file, how, to, tensor);
        assert_string_equal(before, program_listing(scratch_folder()));
        fixture_free(NULL);
    }
}

static void text_encoder(void **state) {
    (void)state;
    component("text_encoder/model.safetensors", "text_model.final_layer_norm.weight");
}

static void unet(void **state) {
    (void)state;
    component("unet/diffusion_pytorch_model.safetensors", "conv_in.weight");
}

static void vae(void **state) {
    (void)state;
    component("vae/diffusion_pytorch_model.safetensors", "decoder.conv_in.weight");
}

/* ---- experts and gates ------------------------------------------------------------------------------ */

#define MID "lora_unet_mid_block_attentions_0_proj_in."

/* alpha may be missing, and may be a whole number. */
static bool is_damage(const char *tensor, spoil_t how) {
    return !strstr(tensor, ".alpha") || (how != SPOIL_DTYPE && how != SPOIL_MISSING);
}

/* One of the three files spoilt, the others as they are. */
static void expert(const char *which, const char *tensor, spoil_t first_kind) {
    char from[3][256], spoilt[256];
    static const char *const names[] = {"face", "hand", "gates"};
    const char *path[3];
    snprintf(spoilt, sizeof spoilt, "%s/%s.safetensors", scratch_folder(), which);
    size_t at = 0;
    for (size_t i = 0; i < 3; i++) {
        snprintf(from[i], sizeof from[i], EXPERTS "%s.safetensors", names[i]);
        path[i] = from[i];
        if (strcmp(names[i], which) == 0) at = i;
    }
    path[at] = spoilt;
    for (spoil_t how = first_kind; how < SPOIL_KINDS; how++) {
        if (!is_damage(tensor, how)) continue;
        spoil_file(from[at], spoilt, how, tensor);
        char *before = program_listing(scratch_folder());
        ran_t ran = program_run(NULL, SMALL_RUN "-o %s --face %s --hand %s --gates %s",
                                program_file("out.png"), path[0], path[1], path[2]);
        refused(&ran, tensor, how, spoilt, tensor);
        assert_string_equal(before, program_listing(scratch_folder()));
        fixture_free(NULL);
    }
}

static void face(void **state) {
    (void)state;
    expert("face", MID "lora_up.weight", 0);
    expert("face", MID "alpha", SPOIL_DTYPE);
}

static void hand(void **state) {
    (void)state;
    expert("hand", MID "lora_up.weight", 0);
    expert("hand", MID "alpha", SPOIL_DTYPE);
}

static void gates(void **state) {
    (void)state;
    expert("gates", "moe_" MID "softmoe.face_scale.weight", 0);
    expert("gates", "moe_" MID "softmoe.Phi_1.weight", SPOIL_DTYPE);
    expert("gates", "moe_" MID "softmoe.Phi_1.bias", SPOIL_DTYPE);
    expert("gates", "moe_" MID "softmoe.hand_scale.bias", SPOIL_DTYPE);
}

/* Files of the right kind that do not belong together. */
static void experts_that_do_not_fit(void **state) {
    (void)state;
    const char *out = program_file("out.png");
    program_refuses(3, "2 rows, one for each expert, but 1 expert is named",
                    SMALL_RUN "-o %s --face " EXPERTS "face.safetensors --gates " EXPERTS
                              "gates.safetensors",
                    out);
    program_refuses(3, "2 rows, one for each expert, but 3 experts are named",
                    SMALL_RUN "-o %s " GATED "--expert feet=" EXPERTS "face.safetensors", out);
    program_refuses(3, "lora_down.weight",
                    SMALL_RUN "-o %s --face " EXPERTS "gates.safetensors --hand " EXPERTS
                              "hand.safetensors --gates " EXPERTS "gates.safetensors",
                    out);
    program_refuses(3, "Phi_1.weight",
                    SMALL_RUN "-o %s " GATED "--gates " EXPERTS "face.safetensors", out);
    program_refuses(3, "nowhere: cannot open", SMALL_RUN "-o %s " GATED "--gates nowhere", out);
    program_refuses(3, "golden: is a directory", SMALL_RUN "-o %s " GATED "--gates golden", out);
}

/* Nothing in the files says which expert is which: swapped files load and make another picture. */
static void swapped_experts_load(void **state) {
    (void)state;
    const char *right = program_file("right.png"), *wrong = program_file("wrong.png");
    assert_int_equal(program_run(NULL, SMALL_RUN GATED "-o %s", right).status, 0);
    assert_int_equal(program_run(NULL,
                                 SMALL_RUN "-o %s --hand " EXPERTS
                                           "face.safetensors --face " EXPERTS
                                           "hand.safetensors --gates " EXPERTS "gates.safetensors",
                                 wrong)
                         .status,
                     0);
    size_t a, b;
    char *one = scratch_slurp(right, &a), *other = scratch_slurp(wrong, &b);
    assert_true(a != b || memcmp(one, other, a) != 0);
    free(one);
    free(other);
    unlink(right);
    unlink(wrong);
}

/* ---- folders and configurations --------------------------------------------------------------------- */

static void folders(void **state) {
    (void)state;
    static const struct {
        const char *file, *expected;
    } needed[] = {
        {"model_index.json", "model_index.json"},
        {"scheduler/scheduler_config.json", "scheduler_config.json"},
        {"text_encoder/config.json", "text_encoder/config.json"},
        {"unet/config.json", "unet/config.json"},
        {"vae/config.json", "vae/config.json"},
        {"unet/diffusion_pytorch_model.safetensors", "unet"},
        {"vae/diffusion_pytorch_model.safetensors", "vae"},
        {"text_encoder/model.safetensors", "text_encoder"},
    };
    const char *out = program_file("out.png");
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        char name[32], file[512];
        snprintf(name, sizeof name, "model-%zu", i);
        const char *model = model_copy_named(name);
        spoil_remove(model, needed[i].file);
        program_refuses(3, needed[i].expected, "generate --model %s --prompt x -o %s", model, out);
        if (!strstr(needed[i].file, ".json")) continue;
        snprintf(file, sizeof file, "%s/%s", name, needed[i].file);
        scratch_text(file, "{\"a\": 1, ");
        program_refuses(3, needed[i].expected, "generate --model %s --prompt x -o %s", model, out);
        scratch_text(file, "[1]");
        program_refuses(3, needed[i].expected, "generate --model %s --prompt x -o %s", model, out);
    }
    const char *bare = model_copy_named("model-no-words");
    spoil_remove(bare, "tokenizer/vocab.json");
    spoil_remove(bare, "tokenizer/tokenizer.json");
    program_refuses(3, "tokenizer", "generate --model %s --prompt x -o %s", bare, out);
    program_refuses(3, "nowhere", "generate --model nowhere --prompt x -o %s", out);
    program_refuses(3, "not a folder", "generate --model README.md --prompt x -o %s", out);
    program_refuses(3, "model_index.json", "generate --model golden --prompt x -o %s", out);
    program_refuses(3, "model_index.json", "inspect --model golden");
    program_refuses(3, "nowhere", "tokenize --model nowhere x");
    program_refuses(3, "nowhere", "verify nowhere");
    program_refuses(3, "\"run\"", "verify golden/sampler/randn");
    program_refuses(3, "README.md", "inspect README.md");
}

static void scheduler(void **state) {
    (void)state;
    const char *out = program_file("out.png"), *file = program_file("scheduler.json");
    scratch_text("scheduler.json", "not json");
    program_refuses(3, "scheduler.json", SMALL_RUN "-o %s --scheduler %s", out, file);
    scratch_text("scheduler.json", "{\"_class_name\": \"PNDMScheduler\"}");
    program_refuses(3, "scheduler.json", SMALL_RUN "-o %s --scheduler %s", out, file);
    program_refuses(3, "1000 steps", SMALL_RUN "-o %s --steps 1000", out);
}

/* ---- texts ------------------------------------------------------------------------------------------ */

static void prompts(void **state) {
    (void)state;
    const char *out = program_file("out.png"), *file = program_file("prompts.txt");
    program_refuses(3, "--prompt: invalid UTF-8 at byte 1", SMALL_RUN "-o %s --prompt a\xff", out);
    program_refuses(3, "--negative: invalid UTF-8 at byte 0", SMALL_RUN "-o %s --negative \xc0\xaf",
                    out);
    program_refuses(3, "--prompt: invalid UTF-8", SMALL_RUN "-o %s --prompt \xed\xa0\x80", out);
    program_refuses(3, "invalid UTF-8", "tokenize --model golden/models/sd15-tiny \xff");
#define FROM "generate --model golden/models/sd15-tiny --steps 1 --from-file %s -o %s"
    scratch_text("prompts.txt", "a good one\n\nanother\nbad \xff one\n");
    program_refuses(3, "prompts.txt: prompt 3: invalid UTF-8 at byte 4", FROM, file, out);
    scratch_write("prompts.txt", "nul\0here\n", 9);
    program_refuses(3, "NUL", FROM, file, out);
    scratch_text("prompts.txt", " \n\r\n");
    program_refuses(3, "no prompt", FROM, file, out);
    size_t large = (1 << 20) + 4097;
    char *text = fixture_bytes(large);
    for (size_t i = 0; i < large; i++) text[i] = "word "[i % 5];
    scratch_write("prompts.txt", text, large);
    program_refuses(3, "prompts.txt: prompt 1", FROM, file, out);
    program_refuses(3, "nowhere", FROM, "nowhere", out);
    program_refuses(3, "directory", FROM, "golden", out);
    program_refuses(2, "either --prompt or --from-file", FROM " --prompt x", file, out);
}

/* A megabyte that is just allowed: read, cut to the model's length with a warning. */
static void a_megabyte_of_prompt(void **state) {
    (void)state;
    size_t large = 1 << 20;
    char *text = fixture_bytes(large);
    for (size_t i = 0; i < large; i++) text[i] = "word "[i % 5];
    scratch_write("prompts.txt", text, large);
    const char *out = program_file("long.png");
    ran_t ran =
        program_run(NULL,
                    "generate --model golden/models/sd15-tiny --steps 1 --width 8 --height 8 "
                    "-q --from-file %s -o %s",
                    program_file("prompts.txt"), out);
    assert_int_equal(ran.status, 0);
    assert_non_null(strstr(ran.err, "warning: the prompt is longer"));
    assert_int_equal(access(out, R_OK), 0);
    unlink(out);
}

/* ---- latents ---------------------------------------------------------------------------------------- */

static const char *latents(const char *name, dtype_t dtype, shape_t shape, double value,
                           size_t tensors) {
    err_t err;
    st_writer_t *writer;
    size_t count = shape_count(shape);
    double *x = fixture_bytes(8 * count);
    memset(x, 0, 8 * count);
    if (dtype == DTYPE_F64) x[count - 1] = value;
    const char *path = program_file(name);
    if (st_writer_open(&writer, path, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < tensors; i++)
        if (st_writer_add(writer, i ? "more" : "latents", dtype, shape, x, &err))
            fail_msg("%s", err.text);
    if (st_writer_finish(writer, &err)) fail_msg("%s", err.text);
    return path;
}

static void latents_files(void **state) {
    (void)state;
    const char *out = program_file("out.png");
#define WITH SMALL_RUN "-o %s --latents %s"
    shape_t right = SHAPE4(1, 4, 1, 1);
    program_refuses(3, "(1, 4, 1, 1)", WITH, out,
                    latents("a", DTYPE_F64, SHAPE4(1, 4, 2, 2), 0, 1));
    program_refuses(3, "(1, 4, 1, 1)", WITH, out, latents("a", DTYPE_F64, SHAPE3(4, 1, 1), 0, 1));
    program_refuses(3, "(1, 4, 1, 1)", WITH, out,
                    latents("a", DTYPE_F64, SHAPE4(2, 4, 1, 1), 0, 1));
    program_refuses(3, "finite", WITH, out, latents("a", DTYPE_F64, right, NAN, 1));
    program_refuses(3, "finite", WITH, out, latents("a", DTYPE_F64, right, -INFINITY, 1));
    program_refuses(3, "2 tensors", WITH, out, latents("a", DTYPE_F64, right, 0, 2));
    program_refuses(3, "nowhere", WITH, out, "nowhere");
    program_refuses(3, "golden: is a directory", WITH, out, "golden");
    program_refuses(3, "README.md", WITH, out, "README.md");
    scratch_write("c.npy",
                  "\x93NUMPY\x01\x00\x46\x00{'descr': '<c16', 'fortran_order': False, 'shape': "
                  "(1, 4, 1, 1), }        \n",
                  80);
    program_refuses(3, "c.npy", WITH, out, program_file("c.npy"));
    if (sizeof(real_t) == sizeof(float)) /* infinite once it is a float */
        program_refuses(3, "finite", WITH, out, latents("a", DTYPE_F64, right, 1e300, 1));
    latents("a", DTYPE_F64, right, 1, 1);
    assert_int_equal(program_run(NULL, WITH, program_file("made.png"), program_file("a")).status,
                     0);
    unlink(program_file("made.png"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(text_encoder),
        fixture_test(unet),
        fixture_test(vae),
        fixture_test(face),
        fixture_test(hand),
        fixture_test(gates),
        fixture_test(experts_that_do_not_fit),
        fixture_test(swapped_experts_load),
        fixture_test(folders),
        fixture_test(scheduler),
        fixture_test(prompts),
        fixture_test(a_megabyte_of_prompt),
        fixture_test(latents_files),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
