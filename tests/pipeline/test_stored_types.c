/* A checkpoint under the names of an older diffusers is the same model. So is one stored in another type,
 * where that type holds its numbers: the golden text encoder's are bfloat16's and stored as F32, the golden
 * UNet's are half precision's and stored so. Widened at load they give the same picture, bit for bit. */
#include <unistd.h>

#include "../model/model_copy.h"
#include "../scratch.h"
#include "../unit.h"
#include "io/safetensors.h"
#include "tiny.h"

static const char text_file[] = "text_encoder/model.safetensors";
static const char unet_file[] = "unet/diffusion_pytorch_model.safetensors";

/* Write a file of the copy anew, every tensor in `type`; its numbers must survive that. Returns the type that
 * they had. */
static dtype_t store_as(const char *root, const char *name, dtype_t type) {
    char path[1200];
    err_t err;
    st_file_t *old;
    st_writer_t *writer;
    snprintf(path, sizeof path, "%s/%s", root, name);
    if (st_open(&old, path, &err) || st_writer_open(&writer, path, &err)) fail_msg("%s", err.text);
    dtype_t had = st_at(old, 0)->dtype;
    for (size_t i = 0; i < st_count(old); i++) {
        const st_tensor_t *t = st_at(old, i);
        size_t count = shape_count(t->shape);
        double *exact = fixture_bytes(count * sizeof *exact), *again = fixture_bytes(count * 8);
        float *x = fixture_bytes(count * sizeof *x);
        dtype_to_double(exact, t->data, t->dtype, count);
        for (size_t k = 0; k < count; k++) x[k] = (float)exact[k];
        dtype_from_f32(x, x, type, count);
        dtype_to_double(again, x, type, count);
        assert_memory_equal(exact, again, count * sizeof *exact);
        assert_int_equal(st_writer_add(writer, t->name, type, t->shape, x, &err), 0);
    }
    st_close(old);
    assert_int_equal(unlink(path), 0); /* the link, not what it leads to */
    if (st_writer_finish(writer, &err)) fail_msg("%s", err.text);
    return had;
}

/* A VAE's file of the copy with the names that diffusers gave to the projections of attention before 0.18. */
static void name_as_before(const char *root) {
    static const char *const pairs[][2] = {{".to_q.", ".query."},
                                           {".to_k.", ".key."},
                                           {".to_v.", ".value."},
                                           {".to_out.0.", ".proj_attn."}};
    char path[1200], name[256];
    size_t renamed = 0;
    err_t err;
    st_file_t *old;
    st_writer_t *writer;
    snprintf(path, sizeof path, "%s/vae/diffusion_pytorch_model.safetensors", root);
    if (st_open(&old, path, &err) || st_writer_open(&writer, path, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < st_count(old); i++) {
        const st_tensor_t *t = st_at(old, i);
        snprintf(name, sizeof name, "%s", t->name);
        for (size_t k = 0; k < 4; k++) {
            const char *at = strstr(t->name, pairs[k][0]);
            if (!at) continue;
            snprintf(name, sizeof name, "%.*s%s%s", (int)(at - t->name), t->name, pairs[k][1],
                     at + strlen(pairs[k][0]));
            renamed++;
        }
        assert_int_equal(st_writer_add(writer, name, t->dtype, t->shape, t->data, &err), 0);
    }
    st_close(old);
    assert_int_equal(renamed, 16); /* of the encoder and the decoder, weights and biases */
    assert_int_equal(unlink(path), 0);
    if (st_writer_finish(writer, &err)) fail_msg("%s", err.text);
}

static tiny_picture_t picture_of(const char *folder) {
    err_t err;
    pipeline_t p;
    pipeline_files_t files = {.folder = folder};
    if (pipeline_open(&p, &files, &err)) fail_msg("%s", err.text);
    tiny_run_t settings = tiny_usual();
    tiny_picture_t picture = tiny_picture(&p, &settings);
    pipeline_close(&p);
    return picture;
}

static void text_encoder_in_bf16(void **state) {
    (void)state;
    const char *root = model_copy();
    tiny_picture_t usual = picture_of("golden/models/sd15-tiny");
    assert_int_equal(store_as(root, text_file, DTYPE_BF16), DTYPE_F32);
    tiny_picture_t other = picture_of(root);
    tiny_same(&usual, &other, "text encoder BF16 and F32");
}

static void unet_in_f16_and_f32(void **state) {
    (void)state;
    const char *root = model_copy();
    tiny_picture_t usual = picture_of("golden/models/sd15-tiny");
    assert_int_equal(store_as(root, unet_file, DTYPE_F32), DTYPE_F16);
    tiny_picture_t other = picture_of(root);
    tiny_same(&usual, &other, "UNet F16 and F32");
    assert_int_equal(store_as(root, unet_file, DTYPE_F16), DTYPE_F32);
    other = picture_of(root);
    tiny_same(&usual, &other, "UNet F16 again");
}

static void older_names_of_attention(void **state) {
    (void)state;
    const char *root = model_copy();
    tiny_picture_t usual = picture_of("golden/models/sd15-tiny");
    name_as_before(root);
    tiny_picture_t other = picture_of(root);
    tiny_same(&usual, &other, "the VAE's attention under its older names");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(text_encoder_in_bf16),
        fixture_test(unet_in_f16_and_f32),
        fixture_test(older_names_of_attention),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
