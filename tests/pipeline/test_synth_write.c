/* test_synth_write.c - a made model in place, as a diffusers folder and as one LDM file is the same model. */
#include <math.h>
#include <sys/stat.h>

#include "../fixture.h"
#include "../scratch.h"
#include "../unit.h"
#include "io/file.h"
#include "io/ldm_names.h"
#include "io/safetensors.h"
#include "pipeline/synth_write.h"
#include "tiny.h"

static synth_write_t tiny_job(const char *path) {
    return (synth_write_t){
        .model = {.kind = SYNTH_MODEL, .arch = "sd15-tiny"}, .dtype = DTYPE_F32, .path = path};
}

static void write_job(const synth_write_t *job) {
    err_t err;
    if (synth_write(job, &err)) fail_msg("%s", err.text);
}

static tiny_picture_t picture_of(const pipeline_files_t *files) {
    err_t err;
    pipeline_t p;
    if (pipeline_open(&p, files, &err)) fail_msg("%s", err.text);
    tiny_run_t settings = tiny_usual();
    tiny_picture_t picture = tiny_picture(&p, &settings);
    pipeline_close(&p);
    return picture;
}

static void same_picture_from_every_form(void **state) {
    (void)state;
    static const char *const names[] = {"face", "hand", "gates"};
    char *folder = xstrdup(scratch_path("folder")), *experts = xstrdup(scratch_path("experts"));
    char *single = xstrdup(scratch_path("single.safetensors")), *file[3];
    synth_write_t job = tiny_job(folder);
    job.model.seed = 3;
    job.experts = experts;
    job.face = (synth_spec_t){SYNTH_EXPERT, "", 3, 4, 2, false};
    job.hand = (synth_spec_t){SYNTH_EXPERT, "", 3, 5, 4, false};
    job.gates = (synth_spec_t){.kind = SYNTH_GATES, .seed = 3};
    write_job(&job);
    synth_write_t one = tiny_job(single);
    one.model.seed = 3;
    one.ldm = true;
    write_job(&one);
    for (int i = 0; i < 3; i++) file[i] = xasprintf("%s/%s.safetensors", experts, names[i]);

    pipeline_files_t made = {.folder = "synth:sd15-tiny,seed=3"};
    made.mole =
        (mole_files_t){.experts = 2,
                       .name = {"face", "hand"},
                       .path = {"synth:rank=4,alpha=2,seed=3", "synth:rank=5,alpha=4,seed=3"},
                       .gates = "synth:seed=3"};
    pipeline_files_t written = {.folder = folder};
    written.mole = (mole_files_t){
        .experts = 2, .name = {"face", "hand"}, .path = {file[0], file[1]}, .gates = file[2]};
    pipeline_files_t ldm = written;
    ldm.folder = single;
    ldm.tokenizer = "synth:sd15-tiny/tokenizer";
    tiny_picture_t a = picture_of(&made), b = picture_of(&written), c = picture_of(&ldm);
    tiny_same(&a, &b, "in place, diffusers folder");
    tiny_same(&a, &c, "in place, LDM file");

    made.folder = "synth:sd15-tiny,seed=4";
    tiny_picture_t other = picture_of(&made);
    assert_true(tiny_distance(&a, &other) > 0.01);
    assert_true(file_exists(scratch_path("folder/unet/config.json")));
    for (int i = 0; i < 3; i++) free(file[i]);
    free(folder);
    free(experts);
    free(single);
}

/* The other kinds: OpenCLIP's names, its three projections in one, a second text encoder. */
static void same_picture_of_other_kinds(void **state) {
    (void)state;
    static const char *const archs[] = {"sd21-tiny", "sdxl-tiny"};
    for (size_t i = 0; i < 2; i++) {
        char *folder = xstrdup(scratch_path(archs[i]));
        char *single = xasprintf("%s.safetensors", folder), *made = xasprintf("synth:%s", archs[i]);
        char *tokenizers = xasprintf("%s/tokenizer", folder);
        synth_write_t job = tiny_job(folder);
        snprintf(job.model.arch, sizeof job.model.arch, "%s", archs[i]);
        write_job(&job);
        job.path = single;
        job.ldm = true;
        write_job(&job);
        /* One vocabulary for both text encoders, each with its own padding; or the folder of a model. */
        pipeline_files_t formula = {.folder = made}, written = {.folder = folder};
        pipeline_files_t ldm = {.folder = single, .tokenizer = tokenizers};
        pipeline_files_t beside = {.folder = single, .tokenizer = folder};
        tiny_picture_t a = picture_of(&formula), b = picture_of(&written), c = picture_of(&ldm);
        tiny_picture_t d = picture_of(&beside);
        tiny_same(&a, &b, "in place, diffusers folder");
        tiny_same(&a, &c, "in place, LDM file");
        tiny_same(&a, &d, "LDM file with a model's tokenizers");
        free(folder);
        free(single);
        free(made);
        free(tokenizers);
    }
}

/* F16 and BF16: every number rounded, and the folder still a model. */
static void narrow_types(void **state) {
    (void)state;
    err_t err;
    dtype_t types[] = {DTYPE_F16, DTYPE_BF16};
    for (int i = 0; i < 2; i++) {
        const char *path = scratch_path(i ? "bf16.safetensors" : "f16.safetensors");
        synth_write_t job = tiny_job(path);
        job.ldm = true;
        job.dtype = types[i];
        write_job(&job);
        st_file_t *file;
        assert_int_equal(st_open(&file, path, &err), 0);
        const st_tensor_t *t = st_find(file, "model.diffusion_model.out.2.weight");
        assert_non_null(t);
        assert_int_equal(t->dtype, types[i]);
        synth_tensor_t exact = synth_tensor(&job.model, "unet.conv_out.weight", t->shape);
        size_t count = shape_count(t->shape);
        double *stored = malloc(count * sizeof *stored);
        float *x = malloc(count * sizeof *x);
        assert_non_null(stored);
        assert_non_null(x);
        dtype_to_double(stored, t->data, t->dtype, count);
        synth_numbers_f32(x, &exact, 0, count);
        for (size_t k = 0; k < count; k++) {
            double error = stored[k] - (double)x[k], size = x[k] < 0 ? -(double)x[k] : (double)x[k];
            assert_true((error < 0 ? -error : error) <= size / (i ? 256 : 2048) + 0x1p-25);
        }
        free(stored);
        free(x);
        st_close(file);
    }
}

/* Names by hand, from the LDM sources' numbering. */
static void names_of_ldm(void **state) {
    (void)state;
    static const char *const pairs[][3] = {
        {"unet", "conv_in.weight", "model.diffusion_model.input_blocks.0.0.weight"},
        {"unet", "time_embedding.linear_2.bias", "model.diffusion_model.time_embed.2.bias"},
        {"unet", "down_blocks.0.resnets.0.norm1.weight",
         "model.diffusion_model.input_blocks.1.0.in_layers.0.weight"},
        {"unet", "down_blocks.1.resnets.0.conv_shortcut.bias",
         "model.diffusion_model.input_blocks.4.0.skip_connection.bias"},
        {"unet", "down_blocks.2.attentions.1.transformer_blocks.0.attn1.to_out.0.bias",
         "model.diffusion_model.input_blocks.8.1.transformer_blocks.0.attn1.to_out.0.bias"},
        {"unet", "down_blocks.2.downsamplers.0.conv.weight",
         "model.diffusion_model.input_blocks.9.0.op.weight"},
        {"unet", "mid_block.resnets.1.time_emb_proj.weight",
         "model.diffusion_model.middle_block.2.emb_layers.1.weight"},
        {"unet", "up_blocks.0.upsamplers.0.conv.bias",
         "model.diffusion_model.output_blocks.2.1.conv.bias"},
        {"unet", "up_blocks.2.upsamplers.0.conv.bias",
         "model.diffusion_model.output_blocks.8.2.conv.bias"},
        {"unet", "up_blocks.3.resnets.2.conv2.weight",
         "model.diffusion_model.output_blocks.11.0.out_layers.3.weight"},
        {"unet", "conv_norm_out.weight", "model.diffusion_model.out.0.weight"},
        {"vae", "decoder.mid_block.attentions.0.to_out.0.bias",
         "first_stage_model.decoder.mid.attn_1.proj_out.bias"},
        {"vae", "decoder.up_blocks.3.resnets.0.conv_shortcut.weight",
         "first_stage_model.decoder.up.0.block.0.nin_shortcut.weight"},
        {"vae", "decoder.up_blocks.0.upsamplers.0.conv.weight",
         "first_stage_model.decoder.up.3.upsample.conv.weight"},
        {"vae", "decoder.conv_norm_out.bias", "first_stage_model.decoder.norm_out.bias"},
        {"vae", "post_quant_conv.weight", "first_stage_model.post_quant_conv.weight"},
        {"text_encoder", "text_model.encoder.layers.3.mlp.fc1.weight",
         "cond_stage_model.transformer.text_model.encoder.layers.3.mlp.fc1.weight"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *name = ldm_name(&ldm_layout_v1, pairs[i][0], pairs[i][1]);
        assert_non_null(name);
        assert_string_equal(name, pairs[i][2]);
        free(name);
    }
    assert_null(ldm_name(&ldm_layout_v1, "unet", "down_blocks.7.resnets.0.conv1.weight"));
    assert_null(ldm_name(&ldm_layout_v1, "unet", "anything"));
}

/* ---- bad input ---------------------------------------------------------------------------------------- */

/* A copy of an LDM file without one tensor, with one of another shape, or with one more. */
static void spoil(const char *from, const char *to, const char *drop, const char *reshape,
                  const char *extra) {
    err_t err;
    st_file_t *file;
    st_writer_t *writer;
    static const float zeros[64];
    assert_int_equal(st_open(&file, from, &err), 0);
    assert_int_equal(st_writer_open(&writer, to, &err), 0);
    for (size_t i = 0; i < st_count(file); i++) {
        const st_tensor_t *t = st_at(file, i);
        if (drop && strcmp(t->name, drop) == 0) continue;
        bool other = reshape && strcmp(t->name, reshape) == 0;
        assert_int_equal(st_writer_add(writer, t->name, t->dtype, other ? SHAPE1(3) : t->shape,
                                       other ? zeros : t->data, &err),
                         0);
    }
    if (extra) assert_int_equal(st_writer_add(writer, extra, DTYPE_F32, SHAPE1(2), zeros, &err), 0);
    assert_int_equal(st_writer_finish(writer, &err), 0);
    st_close(file);
}

static void bad_single_files(void **state) {
    (void)state;
    static const char conv_in[] = "model.diffusion_model.input_blocks.0.0.weight";
    static const char query[] = "first_stage_model.decoder.mid.attn_1.q.weight";
    static const struct {
        const char *drop, *reshape, *extra, *word;
    } bad[] = {
        {conv_in, NULL, NULL, conv_in},
        {NULL, conv_in, NULL, "(320, 4, 3, 3)"},
        {query, NULL, NULL, query},
        {NULL, query, NULL, query},
        {NULL, NULL, "model.diffusion_model.label_emb.0.0.weight", "label_emb"},
    };
    char *good = xstrdup(scratch_path("good.safetensors"));
    char *spoilt = xstrdup(scratch_path("spoilt.safetensors"));
    synth_write_t job = tiny_job(good);
    job.ldm = true;
    write_job(&job);
    err_t err;
    pipeline_t p;
    pipeline_files_t files = {.folder = good};
    assert_int_equal(pipeline_open(&p, &files, &err), -1);
    assert_message(&err, "--tokenizer", NULL);
    files = (pipeline_files_t){.folder = spoilt, .tokenizer = "synth:sd15-tiny/tokenizer"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        spoil(good, spoilt, bad[i].drop, bad[i].reshape, bad[i].extra);
        if (!pipeline_open(&p, &files, &err)) fail_msg("%s was accepted", bad[i].word);
        assert_message(&err, "spoilt.safetensors", bad[i].word, NULL);
    }
    /* What other components have, and what no model here uses. */
    spoil(good, spoilt, NULL, NULL, "model_ema.decay");
    if (pipeline_open(&p, &files, &err)) fail_msg("%s", err.text);
    pipeline_close(&p);
    free(good);
    free(spoilt);
}

static void write_ldm(const char *arch, const char *path) {
    synth_write_t job = tiny_job(path);
    snprintf(job.model.arch, sizeof job.model.arch, "%s", arch);
    job.ldm = true;
    write_job(&job);
}

/* The twenty-fourth layer of v2's text encoder, its projection, scale and mask: known, and not read. */
static void spare_tensors_of_v2(void **state) {
    (void)state;
    static const char *const extra[] = {
        "cond_stage_model.model.transformer.resblocks.5.ln_1.weight",
        "cond_stage_model.model.text_projection", "cond_stage_model.model.logit_scale",
        "cond_stage_model.model.attn_mask"};
    char *good = xstrdup(scratch_path("v2.safetensors"));
    char *more = xstrdup(scratch_path("more.safetensors"));
    write_ldm("sd21-tiny", good);
    err_t err;
    pipeline_t p;
    pipeline_files_t files = {.folder = more, .tokenizer = "synth:sd21-tiny/tokenizer"};
    for (size_t i = 0; i < sizeof extra / sizeof *extra; i++) {
        spoil(good, more, NULL, NULL, extra[i]);
        if (pipeline_open(&p, &files, &err)) fail_msg("%s", err.text);
        pipeline_close(&p);
    }
    spoil(good, more, NULL, NULL, "cond_stage_model.model.something");
    assert_int_equal(pipeline_open(&p, &files, &err), -1);
    assert_message(&err, "more.safetensors", "something", "left over", NULL);
    spoil(good, more, "cond_stage_model.model.transformer.resblocks.2.attn.in_proj_bias", NULL,
          NULL);
    assert_int_equal(pipeline_open(&p, &files, &err), -1);
    assert_message(&err, "resblocks.2.attn.in_proj_bias[0]", "missing", NULL);
    spoil(good, more, NULL, "cond_stage_model.model.transformer.resblocks.2.attn.in_proj_weight",
          NULL);
    assert_int_equal(pipeline_open(&p, &files, &err), -1);
    assert_message(&err, "resblocks.2.attn.in_proj_weight[0]", "expected shape (24, 24)", NULL);
    free(good);
    free(more);
}

/* Copy a file without the tensors whose names start with `front`. */
static void leave_out(const char *from, const char *to, const char *front) {
    err_t err;
    st_file_t *old;
    st_writer_t *writer;
    if (st_open(&old, from, &err) || st_writer_open(&writer, to, &err)) fail_msg("%s", err.text);
    int status = 0;
    for (size_t i = 0; !status && i < st_count(old); i++) {
        const st_tensor_t *t = st_at(old, i);
        if (strncmp(t->name, front, strlen(front)) != 0)
            status = st_writer_add(writer, t->name, t->dtype, t->shape, t->data, &err);
    }
    st_close(old);
    if (status || st_writer_finish(writer, &err)) fail_msg("%s", err.text);
}

/* Files without one of their components: the family is told all the same, and what is missing is named. */
static void components_that_are_missing(void **state) {
    (void)state;
    static const struct {
        const char *arch, *front, *family, *component;
    } rows[] = {
        {"sdxl-tiny", "conditioner.embedders.0.", "Stable Diffusion XL", "its text_encoder:"},
        {"sdxl-tiny", "conditioner.embedders.1.", "Stable Diffusion XL", "its text_encoder_2:"},
        {"sdxl-tiny", "conditioner.", "Stable Diffusion XL", "its text_encoder:"},
        {"sd21-tiny", "cond_stage_model.", "Stable Diffusion v2", "its text_encoder:"},
        {"sd15-tiny", "cond_stage_model.", "Stable Diffusion v1", "its text_encoder:"},
        {"sd15-tiny", "first_stage_model.", "Stable Diffusion v1", "its vae:"}};
    char *whole = xstrdup(scratch_path("whole.safetensors"));
    char *part = xstrdup(scratch_path("part.safetensors"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        err_t err;
        pipeline_t p;
        char tokenizer[64];
        snprintf(tokenizer, sizeof tokenizer, "synth:%s", rows[i].arch);
        pipeline_files_t files = {.folder = part, .tokenizer = tokenizer};
        write_ldm(rows[i].arch, whole);
        leave_out(whole, part, rows[i].front);
        if (pipeline_open(&p, &files, &err) == 0) fail_msg("%s was accepted", rows[i].front);
        assert_message(&err, "part.safetensors: a file of", rows[i].family, rows[i].component,
                       rows[i].front, NULL);
    }
    free(whole);
    free(part);
}

/* A tensor that is turned on its way in is looked through as any other. */
static void nan_in_a_turned_tensor(void **state) {
    (void)state;
    static const char name[] = "conditioner.embedders.1.model.text_projection";
    char *path = xstrdup(scratch_path("xl.safetensors"));
    write_ldm("sdxl-tiny", path);
    err_t err;
    st_file_t *file;
    assert_int_equal(st_open(&file, path, &err), 0);
    const st_tensor_t *t = st_find(file, name);
    assert_non_null(t);
    assert_true(shape_equal(t->shape, SHAPE2(20, 20)));
    size_t bytes;
    char *all = scratch_slurp(path, &bytes);
    st_close(file);
    assert_int_equal(st_open(&file, path, &err), 0);
    t = st_find(file, name);
    const float number = *((const float *)t->data + 3 * 20 + 7), nan = (float)NAN;
    st_close(file);
    /* Number (3,7) of the file is (7,3) of the Linear. */
    for (size_t at = 0; at + sizeof number <= bytes; at++)
        if (memcmp(all + at, &number, sizeof number) == 0) memcpy(all + at, &nan, sizeof nan);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(all, 1, bytes, out), bytes);
    fclose(out);
    free(all);
    pipeline_t p;
    pipeline_files_t files = {.folder = path, .tokenizer = "synth:sdxl-tiny"};
    assert_int_equal(pipeline_open(&p, &files, &err), -1);
    assert_message(&err, name, "NaN at index (7, 3)", NULL);
    free(path);
}

static bool stop(void *who, size_t done, const char *file) {
    (void)who, (void)file;
    return done < 100000;
}

static void a_stopped_file_is_not_there(void **state) {
    (void)state;
    err_t err;
    size_t before = scratch_entries();
    synth_write_t job = tiny_job(scratch_path("stopped.safetensors"));
    job.ldm = true;
    job.progress = stop;
    assert_int_equal(synth_write(&job, &err), -1);
    assert_message(&err, "stopped", NULL);
    assert_int_equal(scratch_entries(), before);
    job.path = "/nowhere/at/all.safetensors";
    assert_int_equal(synth_write(&job, &err), -1);
    assert_message(&err, "/nowhere", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(same_picture_from_every_form),
        fixture_test(same_picture_of_other_kinds),
        fixture_test(spare_tensors_of_v2),
        fixture_test(components_that_are_missing),
        fixture_test(nan_in_a_turned_tensor),
        cmocka_unit_test(narrow_types),
        cmocka_unit_test(names_of_ldm),
        cmocka_unit_test(bad_single_files),
        cmocka_unit_test(a_stopped_file_is_not_there),
    };
    return cmocka_run_group_tests_name("synth_write", tests, scratch_setup, scratch_teardown);
}
