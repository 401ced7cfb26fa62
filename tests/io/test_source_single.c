/* test_source_single.c - numbers of single files that are not stored as a model takes them, by hand:
 * OpenCLIP's projections of q, k and v in one tensor, in this order, and its text projection the other way
 * round. */
#include <stdlib.h>
#include <string.h>

#include "../scratch.h"
#include "../unit.h"
#include "io/safetensors.h"
#include "io/weights.h"

#define UNET "model.diffusion_model."
#define TEXT "conditioner.embedders.1.model."
enum { D = 20, P = 13 };

/* Number i of a tensor is 1000 `thousand` + i. */
static void add(st_writer_t *writer, const char *name, shape_t shape, int thousand) {
    err_t err;
    size_t count = shape_count(shape);
    float *numbers = malloc(count * sizeof *numbers);
    assert_non_null(numbers);
    for (size_t i = 0; i < count; i++) numbers[i] = (float)(1000 * thousand) + (float)i;
    must(st_writer_add(writer, name, DTYPE_F32, shape, numbers, &err), &err);
    free(numbers);
}

/* The least that is taken for XL in few channels, with a text encoder of one layer. */
static weights_t *open_text(void) {
    static const char layer[] = TEXT "transformer.resblocks.0.attn.";
    const char *path = scratch_path("xl.safetensors");
    char name[128], folder[1200];
    err_t err;
    st_writer_t *writer;
    weights_t *w;
    must(st_writer_open(&writer, path, &err), &err);
    add(writer, UNET "input_blocks.0.0.weight", SHAPE4(8, 4, 3, 3), 0);
    add(writer, UNET "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight", SHAPE2(12, 36), 0);
    snprintf(name, sizeof name, "%sin_proj_weight", layer);
    add(writer, name, SHAPE2(3 * D, D), 1);
    snprintf(name, sizeof name, "%sin_proj_bias", layer);
    add(writer, name, SHAPE1(3 * D), 7);
    add(writer, TEXT "text_projection", SHAPE2(D, P), 9);
    must(st_writer_finish(writer, &err), &err);
    snprintf(folder, sizeof folder, "%s/text_encoder_2", path);
    must(weights_open(&w, folder, "model", &err), &err);
    return w;
}

static void fused_projections_in_order(void **state) {
    (void)state;
    static const char *const names[] = {"q", "k", "v"};
    weights_t *w = open_text();
    for (size_t part = 0; part < 3; part++) {
        const real_t *weight, *bias;
        char name[128];
        err_t err;
        snprintf(name, sizeof name, "text_model.encoder.layers.0.self_attn.%s_proj.weight",
                 names[part]);
        must(weights_take(w, name, SHAPE2(D, D), &weight, &err), &err);
        snprintf(name, sizeof name, "text_model.encoder.layers.0.self_attn.%s_proj.bias",
                 names[part]);
        must(weights_take(w, name, SHAPE1(D), &bias, &err), &err);
        for (size_t row = 0; row < D; row++) {
            size_t stored = part * D + row;
            assert_true(bias[row] == (real_t)(7000 + stored));
            for (size_t column = 0; column < D; column++)
                assert_true(weight[row * D + column] == (real_t)(1000 + stored * D + column));
        }
    }
    weights_close(w);
}

/* The file has it for x P, a Linear's weight is its transpose: not square here, so that both show. */
static void text_projection_turned(void **state) {
    (void)state;
    const real_t *weight;
    err_t err;
    weights_t *w = open_text();
    must(weights_take(w, "text_projection.weight", SHAPE2(P, D), &weight, &err), &err);
    for (size_t p = 0; p < P; p++)
        for (size_t d = 0; d < D; d++) assert_true(weight[p * D + d] == (real_t)(9000 + d * P + p));
    weights_close(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(fused_projections_in_order),
                                       cmocka_unit_test(text_projection_turned)};
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
