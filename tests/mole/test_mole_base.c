/* test_mole_base.c - files of experts and gates of another base model are refused, and both are named. */
#include "../scratch.h"
#include "../unit.h"
#include "io/safetensors.h"
#include "mole/mole_check.h"

/* A file of two factors or of two matrices of gates, for text vectors and for tokens of so many numbers, held
 * against a base model. */
static int base_check(err_t *err, const char *part, family_widths_t theirs, family_widths_t base) {
    static const char layer[] = "lora_unet_mid_block_attentions_0_transformer_blocks_0_";
    static const float zeros[2 * 2048];
    const char *path = scratch_path("base.safetensors");
    char name[128];
    st_writer_t *writer;
    weights_t *w;
    must(st_writer_open(&writer, path, err), err);
    snprintf(name, sizeof name, "%sattn2_to_k%s", layer, part);
    must(st_writer_add(writer, name, DTYPE_F32, SHAPE2(2, theirs.text), zeros, err), err);
    snprintf(name, sizeof name, "%sattn1_to_q%s", layer, part);
    must(st_writer_add(writer, name, DTYPE_F32, SHAPE2(2, theirs.narrowest), zeros, err), err);
    must(st_writer_finish(writer, err), err);
    must(weights_open_part(&w, path, SOURCE_EXPERT, "face", err), err);
    int status = mole_check_base(w, base, err);
    weights_close(w);
    return status;
}

static void other_base_is_named(void **state) {
    (void)state;
    err_t err;
    static const char down[] = ".lora_down.weight", gate[] = ".softmoe.Phi_1.weight";
    static const family_widths_t v1 = {768, 320}, v2 = {1024, 320}, xl = {2048, 640};
    static const family_widths_t refiner = {1280, 768}, tiny = {36, 8}, strange = {2048, 320};
    assert_int_equal(base_check(&err, down, xl, xl), 0);
    assert_int_equal(base_check(&err, gate, v1, v1), 0);
    assert_int_equal(base_check(&err, ".alpha", xl, v1), 0); /* nothing that takes text vectors */
    assert_int_equal(base_check(&err, down, xl, v1), -1);
    assert_message(&err,
                   "base.safetensors: these experts are for Stable Diffusion XL, this base "
                   "model is Stable Diffusion v1: ",
                   "lora_down", "2048 numbers, this UNet hears 768 (cross_attention_dim)", NULL);
    assert_int_equal(base_check(&err, gate, v1, v2), -1);
    assert_message(&err, "these gates are for Stable Diffusion v1",
                   "is Stable Diffusion v2:", "Phi_1", "768 numbers, this UNet hears 1024", NULL);
    assert_int_equal(base_check(&err, gate, tiny, (family_widths_t){24, 8}), -1);
    assert_message(&err, "these gates are for another base model", "36 numbers", "24", NULL);
    assert_int_equal(base_check(&err, down, tiny, xl), -1);
    assert_message(&err, "for none of the published families", "is Stable Diffusion XL", NULL);
    assert_int_equal(base_check(&err, down, refiner, xl), -1);
    assert_message(&err, "for the refiner of Stable Diffusion XL", NULL);
    /* A width alone is no family. */
    assert_int_equal(base_check(&err, down, strange, v2), -1);
    assert_message(&err, "for none of the published families", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(other_base_is_named)};
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
