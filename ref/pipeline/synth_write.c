/* synth_write.c - see synth_write.h. The list of tensors is what the models themselves ask for;
 * only the VAE's encoder, which no model here has, is listed by hand. */
#include "pipeline/synth_write.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/file.h"
#include "io/ldm_names.h"
#include "io/safetensors.h"
#include "io/source.h"
#include "model/text_encoder.h"
#include "model/unet.h"
#include "model/vae.h"
#include "pipeline/pipeline.h"

static const ldm_layout_t *layout_of(const char *arch) {
    return strncmp(arch, "sdxl", 4) == 0   ? &ldm_layout_xl
           : strncmp(arch, "sd21", 4) == 0 ? &ldm_layout_v2
                                           : &ldm_layout_v1;
}

/* A file on the way. */
typedef struct {
    const synth_write_t *job;
    const synth_spec_t *spec;
    const char *component, *path;
    st_writer_t *writer;
    dtype_t dtype;
    size_t *done;
} output_t;

/* x (shape_count): the numbers of component.name. */
static void fill(const output_t *o, const char *name, shape_t shape, float *x) {
    char *whole = xasprintf("%s.%s", o->component, name);
    synth_tensor_t tensor = synth_tensor(o->spec, whole, shape);
    synth_numbers_f32(x, &tensor, 0, shape_count(shape));
    free(whole);
}

/* Writes x, which is converted in place. */
static int put_tensor(const output_t *o, const char *saved, shape_t as, float *x, err_t *err) {
    size_t count = shape_count(as);
    dtype_from_f32(x, x, o->dtype, count);
    *o->done += count * dtype_size(o->dtype);
    return st_writer_add(o->writer, saved, o->dtype, as, x, err);
}

/* Memory for the numbers of a tensor, and whether to go on. */
static float *start_tensor(const output_t *o, const char *saved, size_t count, err_t *err) {
    if (o->job->progress && !o->job->progress(o->job->who, *o->done, o->path)) {
        err_set(err, "%s: stopped", o->path);
        return NULL;
    }
    float *x = malloc(count * sizeof *x);
    if (!x) err_set(err, "%s: tensor '%s': out of memory", o->path, saved);
    return x;
}

/* One tensor under the name `saved`, its numbers those of component.name. */
static int add_tensor(const output_t *o, const char *name, const char *saved, shape_t shape,
                      shape_t as, err_t *err) {
    float *x = start_tensor(o, saved, shape_count(shape), err);
    if (!x) return -1;
    if (shape.ndim == 0)
        *x = (float)o->spec->alpha;
    else
        fill(o, name, shape, x);
    int status = put_tensor(o, saved, as, x, err);
    free(x);
    return status;
}

/* The projections of q, k and v in one, as OpenCLIP has them; `name` is q's, `saved` ends in "[0]". */
static int add_fused(const output_t *o, const char *name, const char *saved, shape_t shape,
                     err_t *err) {
    size_t count = shape_count(shape);
    const char *at = strstr(name, "q_proj");
    char *whole = xasprintf("%.*s", (int)strlen(saved) - 3, saved);
    float *x = start_tensor(o, whole, 3 * count, err);
    for (size_t part = 0; x && part < 3; part++) {
        char *one = xasprintf("%.*s%c%s", (int)(at - name), name, "qkv"[part], at + 1);
        fill(o, one, shape, x + part * count);
        free(one);
    }
    shape.dim[0] *= 3;
    int status = x ? put_tensor(o, whole, shape, x, err) : -1;
    free(x);
    free(whole);
    return status;
}

/* (P,D) written as (D,P). */
static int add_turned(const output_t *o, const char *name, const char *saved, shape_t shape,
                      err_t *err) {
    size_t P = shape.dim[0], D = shape.dim[1];
    float *x = start_tensor(o, saved, P * D, err), *turned = x ? malloc(P * D * sizeof *x) : NULL;
    int status = x && !turned ? err_set(err, "%s: out of memory", o->path) : x ? 0 : -1;
    if (!status) {
        fill(o, name, shape, x);
        for (size_t i = 0; i < P * D; i++) turned[i % D * P + i / D] = x[i];
        status = put_tensor(o, saved, SHAPE2(D, P), turned, err);
    }
    free(x);
    free(turned);
    return status;
}

/* A tensor of OpenCLIP's, where it is not as transformers has it; 1 when it is. */
static int add_open_clip(const output_t *o, const char *name, const char *saved, shape_t shape,
                         err_t *err) {
    if (text_ends(saved, "[0]")) return add_fused(o, name, saved, shape, err);
    if (text_ends(saved, "[1]") || text_ends(saved, "[2]")) return 0; /* with the first */
    return text_ends(saved, ".text_projection") ? add_turned(o, name, saved, shape, err) : 1;
}

/* A tensor of the model, named for the format. */
static int add_model(const output_t *o, const char *name, shape_t shape, err_t *err) {
    if (!o->job->ldm) return add_tensor(o, name, name, shape, shape, err);
    char *saved = ldm_name(layout_of(o->spec->arch), o->component, name);
    if (!saved) return err_set(err, "%s: LDM has no name for '%s'", o->path, name);
    int done = add_open_clip(o, name, saved, shape, err);
    if (done <= 0) {
        free(saved);
        return done;
    }
    bool attention = strstr(saved, ".mid.attn_1.") && shape.ndim == 2;
    shape_t as = attention ? SHAPE4(shape.dim[0], shape.dim[1], 1, 1) : shape;
    int status = add_tensor(o, name, saved, shape, as, err);
    free(saved);
    return status;
}

static int add_listed(const output_t *o, const weights_t *w, err_t *err) {
    for (size_t i = 0; i < weights_count(w); i++) {
        weight_entry_t entry = weights_entry(w, i);
        if (add_model(o, entry.name, entry.shape, err)) return -1;
    }
    return 0;
}

/* ---- the VAE's encoder
 * ------------------------------------------------------------------------------ */

static int add_layer(const output_t *o, const char *at, const char *layer, shape_t shape,
                     err_t *err) {
    char *weight = xasprintf("%s%s.weight", at, layer), *bias = xasprintf("%s%s.bias", at, layer);
    int status = add_model(o, weight, shape, err) || add_model(o, bias, SHAPE1(shape.dim[0]), err);
    free(weight);
    free(bias);
    return status ? -1 : 0;
}

static int add_encoder_resnet(const output_t *o, const char *at, size_t in, size_t out,
                              err_t *err) {
    return add_layer(o, at, ".norm1", SHAPE1(in), err) ||
           add_layer(o, at, ".conv1", SHAPE4(out, in, 3, 3), err) ||
           add_layer(o, at, ".norm2", SHAPE1(out), err) ||
           add_layer(o, at, ".conv2", SHAPE4(out, out, 3, 3), err) ||
           (in != out && add_layer(o, at, ".conv_shortcut", SHAPE4(out, in, 1, 1), err));
}

static int add_encoder_level(const output_t *o, const vae_config_t *c, size_t level, err_t *err) {
    char at[96];
    size_t out = c->block_out_channels[level], in = c->block_out_channels[level ? level - 1 : 0];
    for (size_t i = 0; i < c->layers_per_block; i++) {
        snprintf(at, sizeof at, "encoder.down_blocks.%zu.resnets.%zu", level, i);
        if (add_encoder_resnet(o, at, i ? out : in, out, err)) return -1;
    }
    if (level + 1 == c->levels) return 0;
    snprintf(at, sizeof at, "encoder.down_blocks.%zu.downsamplers.0", level);
    return add_layer(o, at, ".conv", SHAPE4(out, out, 3, 3), err);
}

static int add_encoder(const output_t *o, const vae_config_t *c, err_t *err) {
    static const char *const maps[] = {"to_q", "to_k", "to_v", "to_out.0"};
    const char *attention = "encoder.mid_block.attentions.0.";
    size_t first = c->block_out_channels[0], deep = c->block_out_channels[c->levels - 1];
    size_t twice = 2 * c->latent_channels;
    if (add_layer(o, "encoder.", "conv_in", SHAPE4(first, 3, 3, 3), err)) return -1;
    for (size_t i = 0; i < c->levels; i++)
        if (add_encoder_level(o, c, i, err)) return -1;
    if (add_encoder_resnet(o, "encoder.mid_block.resnets.0", deep, deep, err) ||
        add_layer(o, attention, "group_norm", SHAPE1(deep), err))
        return -1;
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        if (add_layer(o, attention, maps[i], SHAPE2(deep, deep), err)) return -1;
    return add_encoder_resnet(o, "encoder.mid_block.resnets.1", deep, deep, err) ||
           add_layer(o, "encoder.", "conv_norm_out", SHAPE1(deep), err) ||
           add_layer(o, "encoder.", "conv_out", SHAPE4(twice, deep, 3, 3), err) ||
           add_layer(o, "", "quant_conv", SHAPE4(twice, twice, 1, 1), err);
}

/* ---- components
 * --------------------------------------------------------------------------------------- */

/* Everything that a component of the model has. */
static int add_component(output_t *o, err_t *err) {
    char *folder = xasprintf("synth:%s,names/%s", o->spec->arch, o->component);
    int status;
    if (strcmp(o->component, "unet") == 0) {
        unet_t *unet;
        status = unet_open(&unet, folder, false, err);
        if (!status) status = add_listed(o, unet_weights(unet), err);
        unet_close(unet);
    } else if (strcmp(o->component, "vae") == 0) {
        vae_t *vae;
        status = vae_open(&vae, folder, false, err);
        if (!status) status = add_listed(o, vae_weights(vae), err);
        if (!status) status = add_encoder(o, vae_config(vae), err);
        vae_close(vae);
    } else {
        text_encoder_t *text;
        bool pooled = strcmp(o->component, pipeline_text_encoder_name(1)) == 0;
        text_use_t use = {.final_norm = true, .pooled = pooled};
        status = text_encoder_open(&text, folder, o->component, use, false, err);
        if (!status) status = add_listed(o, text_encoder_weights(text), err);
        text_encoder_close(text);
    }
    free(folder);
    return status;
}

static int open_output(output_t *o, const char *path, dtype_t dtype, err_t *err) {
    o->path = path;
    o->dtype = dtype;
    if (st_writer_open(&o->writer, path, err)) return -1;
    st_writer_metadata(o->writer, "format", "pt");
    return 0;
}

static int close_output(output_t *o, int status, err_t *err) {
    if (!status) return st_writer_finish(o->writer, err);
    st_writer_abort(o->writer);
    return -1;
}

static int make_folder(const char *path, err_t *err) {
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return 0;
    return err_set(err, "%s: cannot make this folder: %s", path, strerror(errno));
}

static const char *const components[] = {"text_encoder", "text_encoder_2", "unet", "vae"};
enum { COMPONENTS = sizeof components / sizeof *components };

/* A model of one text encoder has no second. */
static bool has_component(const output_t *o, size_t i) {
    char *config = xasprintf("synth:%s/%s/config.json", o->job->model.arch, components[i]);
    bool there = source_has(config);
    free(config);
    return there;
}

static int write_ldm(output_t *o, err_t *err) {
    if (open_output(o, o->job->path, o->job->dtype, err)) return -1;
    int status = 0;
    for (size_t i = 0; i < COMPONENTS && !status; i++) {
        if (!has_component(o, i)) continue;
        o->component = components[i];
        status = add_component(o, err);
    }
    return close_output(o, status, err);
}

static int write_text(const char *path, const char *text, err_t *err) {
    out_file_t out;
    if (out_file_open(&out, path, "", err)) return -1;
    if (out_file_write(&out, text, strlen(text), err)) {
        out_file_abort(&out);
        return -1;
    }
    return out_file_commit(&out, err);
}

/* "unet/config.json" and the others; model_index.json, by which a folder is known, comes last. */
static int write_configs(const synth_write_t *job, bool index, err_t *err) {
    int status = 0;
    for (size_t i = 0; !status && synth_file_name(i); i++) {
        const char *name = synth_file_name(i), *slash = strchr(name, '/');
        if (!slash != index) continue;
        char *made = xasprintf("synth:%s/%s", job->model.arch, name), *text = NULL;
        char *path = file_join(job->path, name);
        char *folder = slash ? xasprintf("%s/%.*s", job->path, (int)(slash - name), name) : NULL;
        status = synth_file(&text, made, err) ||
                 (text && ((folder && make_folder(folder, err)) || write_text(path, text, err)));
        free(made);
        free(text);
        free(path);
        free(folder);
    }
    return status ? -1 : 0;
}

static int write_folder(output_t *o, err_t *err) {
    if (make_folder(o->job->path, err) || write_configs(o->job, false, err)) return -1;
    for (size_t i = 0; i < COMPONENTS; i++) {
        if (!has_component(o, i)) continue;
        o->component = components[i];
        char *path =
            xasprintf("%s/%s/%s.safetensors", o->job->path, components[i],
                      strncmp(components[i], "text", 4) == 0 ? "model" : "diffusion_pytorch_model");
        int status = open_output(o, path, o->job->dtype, err);
        if (!status) status = close_output(o, add_component(o, err), err);
        free(path);
        if (status) return -1;
    }
    return write_configs(o->job, true, err);
}

/* ---- experts
 * ------------------------------------------------------------------------------------------ */

/* The experts as they are used in place, and what they ask for. */
static int write_experts(output_t *o, err_t *err) {
    const synth_write_t *job = o->job;
    static const char *const names[] = {"face", "hand", "gates"};
    const synth_spec_t *specs[] = {&job->face, &job->hand, &job->gates};
    char *unet_folder = xasprintf("synth:%s,names/unet", job->model.arch);
    char *folder[2];
    for (int i = 0; i < 2; i++) folder[i] = xasprintf("synth:names,rank=%zu", specs[i]->rank);
    mole_files_t files = {.experts = 2,
                          .name = {"face", "hand"},
                          .path = {folder[0], folder[1]},
                          .gates = "synth:names"};
    pipeline_t p = {0};
    int status = make_folder(job->experts, err) || unet_open(&p.unet, unet_folder, false, err) ||
                 pipeline_attach_experts(&p, &files, false, err);
    for (int i = 0; i < 3 && !status; i++) {
        const weights_t *w = i < 2 ? mole_set_expert(p.mole, (size_t)i) : mole_set_gates(p.mole);
        char *path = xasprintf("%s/%s.safetensors", job->experts, names[i]);
        o->spec = specs[i];
        o->component = names[i];
        status = open_output(o, path, DTYPE_F32, err);
        if (!status) {
            for (size_t k = 0; k < weights_count(w) && !status; k++) {
                weight_entry_t e = weights_entry(w, k);
                status = add_tensor(o, e.name, e.name, e.shape, e.shape, err);
            }
            status = close_output(o, status, err);
        }
        free(path);
    }
    pipeline_close(&p);
    free(unet_folder);
    free(folder[0]);
    free(folder[1]);
    return status ? -1 : 0;
}

int synth_write(const synth_write_t *job, err_t *err) {
    size_t done = 0;
    output_t o = {.job = job, .spec = &job->model, .done = &done};
    if (job->path && (job->ldm ? write_ldm(&o, err) : write_folder(&o, err))) return -1;
    return job->experts ? write_experts(&o, err) : 0;
}
