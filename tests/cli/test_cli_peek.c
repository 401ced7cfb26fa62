/* mole peek: the numbers of a file whose numbers are known, in every format; names that are not there. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "../scratch.h"
#include "../trace/trace_fixture.h"
#include "program.h"

enum { T = 2, H = 3, W = 4 };

/* x[t,h,w] = 100 t + 10 h + w, and small tensors of every kind. */
static const char *small(format_t format) {
    static double x[T * H * W];
    static const float odd[] = {1.5f, NAN, -INFINITY, -0.25f, 0};
    static const int32_t ids[] = {49406, 1234567, -3};
    static const double one = 0.125;
    for (size_t i = 0; i < T * H * W; i++)
        x[i] = 100.0 * (double)(i / (H * W)) + 10.0 * (double)(i / W % H) + (double)(i % W);
    const fixture_tensor_t tensors[] = {{"step.000/unet.x", DTYPE_F64, SHAPE3(T, H, W), x, false},
                                        {"step.000/unet.odd", DTYPE_F32, SHAPE1(5), odd, false},
                                        {"ids", DTYPE_I32, SHAPE1(3), ids, false},
                                        {"scale", DTYPE_F64, SHAPE0(), &one, false},
                                        {"nothing", DTYPE_F64, SHAPE2(0, 3), &one, false}};
    static int made;
    char name[32];
    snprintf(name, sizeof name, "%d-%s", made++, format_names[format]);
    return fixture_trace(name, format, tensors, 5);
}

static char *peek(const char *words, const char *path) {
    ran_t ran = program_run(NULL, words, path);
    if (ran.status || ran.err[0]) fail_msg("%s: %d, %s", words, ran.status, ran.err);
    return ran.out;
}

static void says(const char *out, const char *expected) {
    if (!strstr(out, expected)) fail_msg("no \"%s\" in:\n%s", expected, out);
}

static void numbers(void **state) {
    (void)state;
    for (format_t format = 0; format < TRACE_FORMATS; format++) {
        const char *path = small(format);
        assert_string_equal(peek("peek %s step.000/unet.x[1,~-1,~1:3]", path),
                            "F64 (2, 3, 4)[1, -1, 1:3]: 121 122\n");
        assert_string_equal(peek("peek %s step.000/unet.x[0,~::2,~:2]", path),
                            "F64 (2, 3, 4)[0, ::2, :2] is (2, 2):\n[[ 0,  1],\n [20, 21]]\n");
        assert_string_equal(peek("peek --plain %s step.000/unet.x[:,1,2:]", path),
                            "12 13\n112 113\n");
        assert_string_equal(peek("peek %s ids[:]", path), "I32 (3)[:]: 49406 1234567 -3\n");
        assert_string_equal(peek("peek %s scale[...]", path), "F64 ()[...]: 0.125\n");
        assert_string_equal(peek("peek --plain %s scale", path), "0.125\n");
        assert_string_equal(peek("peek %s nothing[:,1]", path), "F64 (0, 3)[:,1] is (0):\n[]\n");
        assert_string_equal(peek("peek --plain %s nothing", path), "");
        assert_string_equal(peek("peek %s step.000/unet.odd[:]", path),
                            "F32 (5)[:]: 1.5 nan -inf -0.25 0\n");
    }
}

/* By hand: the mean of x is 50 + 10 + 1.5; variances add up. */
static void statistics(void **state) {
    (void)state;
    const char *path = small(SAFETENSORS);
    char *out = peek("peek --digits 9 %s step.000/unet.x", path);
    double deviation = sqrt(2500 + 200.0 / 3 + 1.25);
    char expected[64];
    says(out, "step.000/unet.x  F64 (2, 3, 4)\nnumbers     24\nmean        61.5\n");
    snprintf(expected, sizeof expected, "deviation   %.9g\n", deviation);
    says(out, expected);
    says(out, "min         0\nmax         123\n");
    snprintf(expected, sizeof expected, "norm        %.9g\n",
             sqrt(24 * (61.5 * 61.5 + deviation * deviation)));
    says(out, expected);
    says(out, "zeros       1\nnot finite  0\n");
    says(out, "         0 .. 7.688      |######################################## 4\n");
    says(out, "\n[0, :, :]\n[[ 0,  1,  2,  3],\n [10, 11, 12, 13],\n [20, 21, 22, 23]]\n");
    out = peek("peek %s step.000/unet.odd", path);
    says(out, "not finite  2 (1 NaN, 1 Inf)\n");
    says(out, "mean        0.416667\n");
    out = peek("peek %s nothing", path);
    says(out, "numbers     0\nmean        nan\n");
    assert_null(strstr(out, "|"));
    out = peek("peek --stats %s step.000/unet.x[1]", path);
    says(out, "mean        111.5\n");
}

/* Of more than 1000 numbers three at either end. */
static void ellipsis(void **state) {
    (void)state;
    double *x = fixture_bytes(40 * 50 * sizeof *x);
    for (size_t i = 0; i < 2000; i++) x[i] = (double)i;
    const fixture_tensor_t tensor = {"x", DTYPE_F64, SHAPE2(40, 50), x, false};
    const char *path = fixture_trace("long", SAFETENSORS, &tensor, 1);
    char *out = peek("peek %s x", path);
    says(out, "[[   0,    1,    2, ...,   47,   48,   49],\n");
    says(out, " [ 100,  101,  102, ...,  147,  148,  149],\n ...,\n [1850, ");
    says(out, " [1950, 1951, 1952, ..., 1997, 1998, 1999]]\n");
    assert_null(strstr(peek("peek %s x[:20]", path), "..."));
}

static void lists(void **state) {
    (void)state;
    for (format_t format = 0; format < TRACE_FORMATS; format++) {
        const char *path = small(format);
        char *out = peek("peek %s", path), *glob = peek("peek %s step.*/unet.*", path);
        says(out, "tensor             type  shape ");
        says(out, "\nids                I32   (3) ");
        says(out, "\nnothing            F64   (0, 3)                      nan ");
        says(glob, "\nstep.000/unet.odd  F32   (5) ");
        says(glob, "          2\n");
        assert_null(strstr(glob, "ids"));
        says(peek("peek %s scale ids", path), "0.125");
    }
}

static void single_array(void **state) {
    (void)state;
    const float x[] = {1, 2, 3, 4};
    const char *path = fixture_npy_file("latents.npy", DTYPE_F32, SHAPE2(2, 2), x);
    assert_string_equal(peek("peek %s latents[1]", path), "F32 (2, 2)[1]: 3 4\n");
    says(peek("peek %s", path), "\nlatents  F32   (2, 2) ");
    run_how_t here = {.folder = scratch_folder()};
    assert_string_equal(program_run(&here, "peek latents.npy latents[0,0]").out,
                        "F32 (2, 2)[0,0]: 1\n");
}

/* A name with brackets of its own is taken as it is, and may have an index too. */
static void brackets(void **state) {
    (void)state;
    const double x[] = {5, 6}, y[] = {7, 8};
    const fixture_tensor_t tensors[] = {{"a[0]", DTYPE_F64, SHAPE1(2), x, false},
                                        {"a", DTYPE_F64, SHAPE1(2), y, false}};
    const char *path = fixture_trace("brackets", SAFETENSORS, tensors, 2);
    assert_string_equal(peek("peek --plain %s a[0]", path), "5 6\n");
    assert_string_equal(peek("peek --plain %s a[0][1]", path), "6\n");
    assert_string_equal(peek("peek --plain %s a[1]", path), "8\n");
}

static void as_json(void **state) {
    (void)state;
    const char *path = small(SAFETENSORS);
    json_t *all = json_loads(peek("peek --json %s step.000/unet.odd[:]", path), 0, NULL);
    json_t *tensor = json_array_get(json_object_get(all, "tensors"), 0);
    json_t *values = json_object_get(tensor, "values");
    assert_int_equal(json_array_size(values), 5);
    assert_true(json_real_value(json_array_get(values, 0)) == 1.5);
    assert_string_equal(json_string_value(json_array_get(values, 1)), "NaN");
    assert_string_equal(json_string_value(json_array_get(values, 2)), "-Infinity");
    assert_int_equal(json_integer_value(json_object_get(tensor, "inf")), 1);
    json_decref(all);
    all = json_loads(peek("peek --json %s step.000/unet.x", path), 0, NULL);
    tensor = json_array_get(json_object_get(all, "tensors"), 0);
    assert_int_equal(
        json_array_size(json_object_get(json_object_get(tensor, "histogram"), "counts")), 16);
    json_decref(all);
    all = json_loads(peek("peek --json %s", path), 0, NULL);
    assert_int_equal(json_array_size(json_object_get(all, "tensors")), 5);
    tensor = json_array_get(json_object_get(all, "tensors"), 4);
    assert_true(json_is_null(json_object_get(tensor, "mean")));
    json_decref(all);
}

static void pictures(void **state) {
    (void)state;
    const char *path = small(SAFETENSORS), *png = program_file("x.png");
    static const char *const names[] = {"step.000/unet.x", "step.000/unet.odd", "scale",
                                        "step.000/unet.x[0,::2]"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ran_t ran = program_run(NULL, "peek --png %s %s %s", png, path, names[i]);
        if (ran.status || access(png, R_OK)) fail_msg("%s: %s", names[i], ran.err);
        unlink(png);
    }
    program_refuses(3, "nothing to draw", "peek --png %s %s nothing", png, path);
    program_refuses(2, "--png goes with one NAME", "peek --png %s %s", png, path);
    program_refuses(2, "--range goes with --png", "peek --range 1 %s scale", path);
    program_refuses(2, "names another format", "peek --png x.jpg %s scale", path);
    program_refuses(2, "name the same file", "peek --png %s %s scale", path, path);
}

static void refused(void **state) {
    (void)state;
    const char *path = small(SAFETENSORS);
    program_refuses(3, "no tensor 'unet.x'; nearest: 'step.000/unet.x'\n", "peek %s unet.x", path);
    program_refuses(3, "no tensor 'scael'; nearest: 'scale'\n", "peek %s scael", path);
    program_refuses(3, "no tensor 'scael'; nearest: 'scale'\n", "peek %s scael[0]", path);
    program_refuses(3, "no tensor 'zzzzzzzzzz'\n", "peek %s zzzzzzzzzz", path);
    program_refuses(3, "no tensor 'a?b'", "peek %s %s ids", path,
                    "a\x1b"
                    "b");
    program_refuses(3, "none of 5 tensors matches 'q*'", "peek %s q*", path);
    program_refuses(3, "'ids': [3]: dimension 0 has 3 places, not a place 3; the shape is (3)",
                    "peek %s ids[3]", path);
    program_refuses(3, "'ids[0]': an index goes with one NAME", "peek %s scale ids[0]", path);
    program_refuses(3, "'i*[0]': an index goes with one NAME", "peek %s i*[0]", path);
    program_refuses(3, "is no index", "peek %s ids[x]", path);
    program_refuses(3, "nowhere: cannot open", "peek nowhere");
    program_refuses(2, "FILE is missing", "peek");
    program_refuses(2, "--digits takes a number from 1 to 17, not '0'", "peek --digits 0 %s", path);
    program_refuses(2, "--plain goes with one NAME", "peek --plain %s", path);
    program_refuses(2, "--json or --plain", "peek --plain --json %s ids", path);
}

/* The text with runs of blanks made one. */
static char *squeezed(const char *text) {
    char *out = fixture_bytes(strlen(text) + 1), *to = out;
    for (; *text; text++)
        if (*text != ' ' || text[1] != ' ') *to++ = *text;
    *to = '\0';
    return out;
}

#define RUN "generate --model golden/models/sd15-tiny --prompt x --steps 2 --width 8 --height 8 -q "

/* What passes is what stands in the trace, and the trace is the same. */
static void while_it_runs(void **state) {
    (void)state;
    const char *glob = "step.*/unet.*_block.**";
    const char *png = program_file("run.png"), *with = program_file("with.safetensors"),
               *without = program_file("without.safetensors");
    ran_t ran = program_run(NULL, RUN "--peek %s --trace %s -o %s", glob, with, png);
    if (ran.status || ran.err[0]) fail_msg("%d, %s", ran.status, ran.err);
    char *lines = squeezed(ran.out), *list = squeezed(peek("peek %s step.*/unet.*_block.**", with));
    if (strncmp(lines, list, strlen(list)) != 0) fail_msg("%s\nis not\n%s", lines, list);
    says(list, "\nstep.001/unet.mid_block.resnets.1 ");
    assert_int_equal(program_run(NULL, RUN "--trace %s -o %s", without, png).status, 0);
    size_t bytes, others;
    char *a = scratch_slurp(with, &bytes), *b = scratch_slurp(without, &others);
    assert_true(bytes == others && memcmp(a, b, bytes) == 0);
    free(a);
    free(b);
}

/* One line, exit code 0, and nothing is left. */
static void stopped(void **state) {
    (void)state;
    char *before = program_listing(scratch_folder());
    ran_t ran = program_run(NULL, RUN "--peek step.*/unet.conv_in --peek-stop --trace %s -o %s",
                            program_file("s.safetensors"), program_file("s.png"));
    assert_int_equal(ran.status, 0);
    says(ran.out, "not finite\nstep.000/unet.conv_in ");
    assert_null(strstr(ran.out, "step.001"));
    assert_string_equal(before, program_listing(scratch_folder()));
    ran = program_run(NULL, RUN "--peek unet.conv_in --peek-stop -o %s", program_file("s.png"));
    assert_int_equal(ran.status, 0);
    says(ran.err, "warning: --peek: no tap of this run matches 'unet.conv_in'");
    program_refuses(2, "--peek-stop without --peek", RUN "--peek-stop -o s.png");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(numbers),       fixture_test(statistics),   fixture_test(ellipsis),
        fixture_test(lists),         fixture_test(single_array), fixture_test(brackets),
        fixture_test(as_json),       fixture_test(pictures),     fixture_test(refused),
        fixture_test(while_it_runs), fixture_test(stopped),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
