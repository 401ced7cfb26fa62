/* test_report_replay.c - for which rows of a comparison the page has a command of mole replay, and for
 * which not. That the commands run and agree with the page, tests/html/test_report_html.py tries. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "../scratch.h"
#include "../unit.h"
#include "core/dtype.h"
#include "golden/run_case.h"
#include "io/safetensors.h"
#include "report/report_replay.h"

static const char folder[] = "golden/runs/unet-step";
static const char resnet[] = "unet.down_blocks.0.resnets.0",
                  norm[] = "unet.down_blocks.0.resnets.0.norm1";

/* How a candidate is written from the truth. */
typedef struct {
    const char *without; /* a tap, or NULL */
    dtype_t type;
    bool last; /* (B,C,H,W) as (B,H,W,C) */
} writing_t;

static void channels_last(float *to, const double *from, shape_t s) {
    size_t C = s.dim[1], P = s.dim[2] * s.dim[3];
    for (size_t b = 0; b < s.dim[0]; b++)
        for (size_t c = 0; c < C; c++)
            for (size_t p = 0; p < P; p++)
                to[(b * P + p) * C + c] = (float)from[(b * C + c) * P + p];
}

static void write_tap(st_writer_t *writer, const golden_tap_t *tap, const writing_t *how) {
    err_t err = {""};
    shape_t shape = tap->shape;
    size_t count = shape_count(shape);
    double *truth = xcalloc(count + 1, sizeof *truth);
    float *x = xcalloc(count + 1, sizeof *x);
    void *stored = xcalloc(count + 1, sizeof *x);
    dtype_to_double(truth, tap->truth->data, tap->truth->dtype, count);
    for (size_t i = 0; i < count; i++) x[i] = (float)truth[i];
    if (how->last && shape.ndim == 4) {
        channels_last(x, truth, shape);
        shape = SHAPE4(shape.dim[0], shape.dim[2], shape.dim[3], shape.dim[1]);
    }
    dtype_from_f32(stored, x, how->type, count);
    must(st_writer_add(writer, tap->name, how->type, shape, stored, &err), &err);
    free(truth);
    free(x);
    free(stored);
}

static const char *write_candidate(const golden_case_t *golden, const char *path, writing_t how) {
    err_t err = {""};
    st_writer_t *writer;
    must(st_writer_open(&writer, path, &err), &err);
    for (size_t i = 0; i < golden->taps; i++)
        if (golden->tap[i].truth && (!how.without || strcmp(golden->tap[i].name, how.without) != 0))
            write_tap(writer, &golden->tap[i], &how);
    must(st_writer_finish(writer, &err), &err);
    return path;
}

/* What the page gets of a candidate; the caller json_decrefs it. */
static json_t *replay_of(const golden_case_t *golden, const char *path, bool isolate) {
    err_t err = {""};
    compare_result_t r;
    trace_file_t *candidate;
    run_t run = {.matmul = MATMUL_BLAS, .form = MOLE_DIRECT};
    compare_options_t options = {.isolate = isolate};
    must(arena_create(&run.arena, 0, &err), &err);
    must(trace_file_open(&candidate, path, &err), &err);
    must(compare_golden(&run, golden, candidate, &options, &r, &err), &err);
    json_t *replay = report_replay(&r, golden, candidate, &err);
    if (!replay) fail_msg("%s", err.text);
    compare_free(&r);
    trace_file_close(candidate);
    arena_destroy(run.arena);
    return replay;
}

/* The words of a module's inputs, or NULL. */
static const char *inputs_of(const json_t *replay, const char *module) {
    json_t *row;
    size_t i;
    json_array_foreach(json_object_get(replay, "rows"), i,
                       row) if (strcmp(json_string_value(json_object_get(row, "module")), module) ==
                                0) return json_string_value(json_object_get(row, "inputs"));
    return NULL;
}

static size_t rows_of(const json_t *replay) {
    return json_array_size(json_object_get(replay, "rows"));
}

static void look(const char *file, writing_t how, bool isolate, void (*check)(const json_t *)) {
    err_t err = {""};
    golden_case_t golden;
    must(golden_case_open(&golden, folder, &err), &err);
    json_t *replay = replay_of(&golden, write_candidate(&golden, scratch_path(file), how), isolate);
    check(replay);
    json_decref(replay);
    golden_case_close(&golden);
}

static void commands_of(const char *file, writing_t how, void (*check)(const json_t *replay)) {
    look(file, how, true, check);
}

static void has_all(const json_t *replay) {
    const char *common = json_string_value(json_object_get(replay, "common"));
    assert_string_equal(inputs_of(replay, resnet),
                        " --input unet.conv_in --input "
                        "'temb=unet.time_embedding' --expect unet.down_blocks.0.resnets.0");
    assert_string_equal(inputs_of(replay, norm),
                        " --input unet.conv_in --expect unet.down_blocks.0.resnets.0.norm1");
    assert_non_null(
        strstr(common, " --model golden/runs/unet-step/../../models/sd15-tiny --face "));
    assert_non_null(strstr(common, " --gates "));
    assert_null(inputs_of(replay, "unet.down_blocks.0.resnets.0.conv1")); /* SiLU was not dumped */
    assert_null(inputs_of(replay, "unet.down_blocks.0")); /* no module of replay's */
    /* one token: the attention gives its values back, which are no input of what follows */
    assert_null(
        inputs_of(replay, "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"));
}

static void whole(void **state) {
    (void)state;
    commands_of("a.safetensors", (writing_t){.type = DTYPE_F32}, has_all);
}

static void has_no_input(const json_t *replay) {
    assert_null(inputs_of(replay, resnet));
    assert_null(inputs_of(replay, norm));
    assert_true(rows_of(replay) > 100);
}

static void input_not_dumped(void **state) {
    (void)state;
    commands_of("b.safetensors", (writing_t){"unet.conv_in", DTYPE_F32, false}, has_no_input);
}

static void has_rows_only(const json_t *replay) {
    assert_null(inputs_of(replay, resnet));
    assert_non_null(inputs_of(replay, "unet.time_embedding.linear_2"));
}

/* replay reads a file as it is stored. */
static void another_layout(void **state) {
    (void)state;
    commands_of("c.safetensors", (writing_t){NULL, DTYPE_F32, true}, has_rows_only);
}

static void has_none(const json_t *replay) {
    assert_int_equal(rows_of(replay), 0);
}

/* replay's limit is that of float32. */
static void another_type(void **state) {
    (void)state;
    commands_of("d.safetensors", (writing_t){.type = DTYPE_BF16}, has_none);
}

/* A path that cannot be shown as it is, or that a terminal would obey. */
static void hostile_paths(void **state) {
    (void)state;
    commands_of("e\xe2\x80\xae.safetensors", (writing_t){.type = DTYPE_F32}, has_none);
    commands_of("e\n.safetensors", (writing_t){.type = DTYPE_F32}, has_none);
    commands_of("e\xff.safetensors", (writing_t){.type = DTYPE_F32}, has_none);
}

static void reference_not_run(void **state) {
    (void)state;
    look("f.safetensors", (writing_t){.type = DTYPE_F32}, false, has_none);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),          cmocka_unit_test(input_not_dumped),
        cmocka_unit_test(another_layout), cmocka_unit_test(another_type),
        cmocka_unit_test(hostile_paths),  cmocka_unit_test(reference_not_run),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
