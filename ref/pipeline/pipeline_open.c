/* pipeline_open.c - loading a model folder and its experts; see pipeline.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/tap_name.h"
#include "io/config_keys.h"
#include "io/file.h"
#include "io/marks.h"
#include "io/source.h"
#include "pipeline/pipeline.h"

static void note_unknown(notes_t *notes, const char *folder, const char *file, const char *keys) {
    if (*keys)
        notes_add(notes, "warning: %s/%s: passed over, since nothing here knows what it means: %s",
                  folder, file, keys);
}

/* A pipeline folder is known by its model_index.json. `scheduler` gets the class that it names, or "". */
static int check_index(const char *folder, char scheduler[SHOWN_TEXT], notes_t *notes, err_t *err) {
    json_file_t *index;
    char unknown[CONFIG_UNKNOWN];
    if (source_check(folder, err)) return -1;
    if (config_open(&index, folder, "model_index.json", config_keys_index, unknown, err)) return -1;
    note_unknown(notes, folder, "model_index.json", unknown);
    const json_t *pair = json_object_get(json_file_root(index).value, "scheduler");
    const char *name = json_string_value(json_array_get(pair, 1));
    text_shown(scheduler, name ? name : "");
    json_file_close(index);
    return 0;
}

static int check_tokenizer(const pipeline_files_t *files, err_t *err) {
    if (files->tokenizer || !source_is_single(files->folder)) return 0;
    return err_set(
        err,
        "%s: a single-file checkpoint has no tokenizer: name one with --tokenizer FOLDER "
        "(vocab.json, merges.txt)",
        files->folder);
}

/* Components that were not made for each other. */
static int check_fit(const pipeline_t *p, const char *folder, err_t *err) {
    const text_encoder_config_t *text = text_encoder_config(p->text_encoder);
    const tokenizer_info_t *tokens = tokenizer_info(p->tokenizer);
    const unet_config_t *unet = unet_config(p->unet);
    const vae_config_t *vae = vae_config(p->vae);
    if (tokens->vocab > text->vocab_size)
        return err_set(err, "%s: the tokenizer has %zu ids, the text encoder %zu", folder,
                       tokens->vocab, text->vocab_size);
    if (tokens->max_length > text->max_position_embeddings)
        return err_set(err,
                       "%s: the tokenizer makes rows of %zu tokens, the text encoder has %zu "
                       "positions",
                       folder, tokens->max_length, text->max_position_embeddings);
    if (unet->cross_attention_dim != text->hidden_size)
        return err_set(err,
                       "%s: the UNet expects text vectors of %zu numbers "
                       "(cross_attention_dim), the text encoder makes %zu (hidden_size)",
                       folder, unet->cross_attention_dim, text->hidden_size);
    if (unet->in_channels != vae->latent_channels || unet->out_channels != vae->latent_channels)
        return err_set(err,
                       "%s: the UNet goes from %zu to %zu channels, the VAE has %zu latent "
                       "channels (inpainting models and learned variances are not supported)",
                       folder, unet->in_channels, unet->out_channels, vae->latent_channels);
    if (vae->out_channels != 3)
        return err_set(err, "%s: the VAE makes %zu channels, expected 3", folder,
                       vae->out_channels);
    return 0;
}

int pipeline_attach_experts(pipeline_t *p, const mole_files_t *files, bool allow_unused,
                            err_t *err) {
    const mole_site_t *site = unet_mole_sites(p->unet, &p->mole_layers);
    p->mole_layer = xcalloc(p->mole_layers, sizeof *p->mole_layer);
    mole_target_t *target = xcalloc(p->mole_layers, sizeof *target);
    for (size_t i = 0; i < p->mole_layers; i++) {
        const linear_t *layer = site[i].layer;
        target[i] = (mole_target_t){.path = layer->name + strlen("unet."),
                                    .d_in = layer->in,
                                    .d_out = layer->out,
                                    .conv = site[i].conv,
                                    .layer = &p->mole_layer[i]};
    }
    int status = mole_files_load(&p->mole, files, target, p->mole_layers, allow_unused, err);
    for (size_t i = 0; !status && i < p->mole_layers; i++) site[i].layer->mole = &p->mole_layer[i];
    free(target);
    return status;
}

/* diffusers makes a scheduler of the class that model_index.json names, from scheduler_config.json, which
 * names one as well: what they ask for together. */
static void merge_class(ddim_config_t *scheduler, const char *named) {
    char *own = scheduler->class_name;
    size_t used = strlen(own);
    if (ddim_is_class(named) || strcmp(named, own) == 0) return;
    if (ddim_is_class(own)) used = 0;
    snprintf(own + used, sizeof scheduler->class_name - used, "%s%s", used ? ", " : "", named);
}

/* A single-file checkpoint has no scheduler_config.json: its marks stand in for it. Those of a folder must
 * not say something else. */
static int apply_prediction(pipeline_t *p, const marks_t *m, bool single, err_t *err) {
    if (!m->prediction) return 0;
    prediction_type_t type = PREDICT_EPSILON;
    while (strcmp(prediction_type_name(type), m->prediction) != 0) type++;
    if (single) p->scheduler.prediction_type = type;
    if (p->scheduler.prediction_type == type) return 0;
    return err_set(err, "%s: %s says %s, scheduler_config.json says %s: change what is wrong",
                   weights_path(unet_weights(p->unet)), m->prediction_by, m->prediction,
                   prediction_type_name(p->scheduler.prediction_type));
}

static int apply_zero_snr(pipeline_t *p, const marks_t *m, bool single, err_t *err) {
    const char *path = weights_path(unet_weights(p->unet));
    if (!m->zero_snr) return 0;
    if (single) p->scheduler.rescale_betas_zero_snr = true;
    if (!p->scheduler.rescale_betas_zero_snr)
        return err_set(err,
                       "%s: %s says zero terminal SNR, rescale_betas_zero_snr of "
                       "scheduler_config.json is false: change what is wrong",
                       path, m->zero_snr_by);
    if (p->scheduler.prediction_type != PREDICT_EPSILON) return 0;
    return err_set(err,
                   "%s: %s says zero terminal SNR, and nothing says v_prediction (a tensor "
                   "'v_pred'): with epsilon the first step would divide by zero",
                   path, m->zero_snr_by);
}

static int apply_marks(pipeline_t *p, const pipeline_files_t *files, err_t *err) {
    marks_t m;
    bool single = source_is_single(files->folder);
    if (single) p->scheduler.taken[0] = p->scheduler.defaults[0] = '\0'; /* there is no such file */
    if (marks_read(&m, unet_weights(p->unet), err) || apply_prediction(p, &m, single, err) ||
        apply_zero_snr(p, &m, single, err))
        return -1;
    snprintf(p->marked_by, sizeof p->marked_by, "%s%s%s", m.prediction_by,
             *m.prediction_by && *m.zero_snr_by ? ", " : "", m.zero_snr_by);
    if (m.zero_snr || (m.prediction && p->scheduler.prediction_type != PREDICT_EPSILON))
        notes_add(files->notes, "note: %s: prediction_type %s%s, as %s says",
                  weights_path(unet_weights(p->unet)),
                  prediction_type_name(p->scheduler.prediction_type),
                  m.zero_snr ? ", rescale_betas_zero_snr true" : "", p->marked_by);
    return 0;
}

static void note_components(const pipeline_t *p, const pipeline_files_t *files) {
    notes_t *notes = files->notes;
    const char *folder = files->folder;
    note_unknown(notes, files->tokenizer ? files->tokenizer : folder,
                 files->tokenizer ? "tokenizer_config.json" : "tokenizer/tokenizer_config.json",
                 tokenizer_info(p->tokenizer)->unknown_keys);
    note_unknown(notes, folder, "text_encoder/config.json",
                 text_encoder_config(p->text_encoder)->unknown_keys);
    note_unknown(notes, folder, "unet/config.json", unet_config(p->unet)->unknown_keys);
    note_unknown(notes, folder, "vae/config.json", vae_config(p->vae)->unknown_keys);
    weights_note_unused(text_encoder_weights(p->text_encoder), notes);
    weights_note_unused(unet_weights(p->unet), notes);
    weights_note_unused(vae_weights(p->vae), notes);
}

/* A LoRA whose metadata says that it was trained on another prediction type joins all the same. */
static void note_prediction(const pipeline_t *p, const mole_files_t *files, notes_t *notes) {
    const char *ours = prediction_type_name(p->scheduler.prediction_type);
    for (size_t i = 0; i < files->experts; i++) {
        err_t err;
        marks_t m;
        const weights_t *w = mole_set_expert(p->mole, i);
        if (marks_read(&m, w, &err))
            notes_add(notes, "warning: %s", err.text);
        else if (m.prediction && strcmp(m.prediction, ours) != 0)
            notes_add(notes, "warning: %s: %s says %s, the model predicts %s", weights_path(w),
                      m.prediction_by, m.prediction, ours);
    }
}

static void note_experts(const pipeline_t *p, const pipeline_files_t *files) {
    const notes_t *own = mole_set_notes(p->mole);
    for (size_t i = 0; i < own->count; i++) notes_add(files->notes, "%s", own->text[i]);
    note_prediction(p, &files->mole, files->notes);
}

int pipeline_open(pipeline_t *p, const pipeline_files_t *files, err_t *err) {
    *p = (pipeline_t){0};
    const char *folder = files->folder;
    char *tokenizer =
        files->tokenizer ? xstrdup(files->tokenizer) : xasprintf("%s/tokenizer", folder);
    char *text_encoder = xasprintf("%s/text_encoder", folder);
    char *unet = xasprintf("%s/unet", folder), *vae = xasprintf("%s/vae", folder);
    char *scheduler = xasprintf("%s/scheduler/scheduler_config.json", folder);
    bool loose = files->allow_unused;
    char class_name[SHOWN_TEXT] = "";
    int status = check_index(folder, class_name, files->notes, err) ||
                 check_tokenizer(files, err) || tokenizer_open(&p->tokenizer, tokenizer, err) ||
                 ddim_config_read(&p->scheduler, scheduler, err) ||
                 text_encoder_open(&p->text_encoder, text_encoder, loose, err) ||
                 unet_open(&p->unet, unet, loose, err) || apply_marks(p, files, err) ||
                 vae_open(&p->vae, vae, loose, err) || check_fit(p, folder, err) ||
                 (files->mole.experts && pipeline_attach_experts(p, &files->mole, loose, err));
    free(tokenizer);
    free(text_encoder);
    free(unet);
    free(vae);
    free(scheduler);
    if (!status) {
        note_components(p, files);
        if (p->mole) note_experts(p, files);
        merge_class(&p->scheduler, class_name);
        return 0;
    }
    pipeline_close(p);
    return -1;
}

void pipeline_close(pipeline_t *p) {
    tokenizer_close(p->tokenizer);
    text_encoder_close(p->text_encoder);
    unet_close(p->unet);
    vae_close(p->vae);
    mole_set_free(p->mole);
    free(p->mole_layer);
    *p = (pipeline_t){0};
}

size_t pipeline_size_unit(const pipeline_t *p) {
    return vae_scale(p->vae);
}

size_t pipeline_default_size(const pipeline_t *p) {
    return unet_config(p->unet)->sample_size * vae_scale(p->vae);
}

const block_t *pipeline_block(const pipeline_t *p, const char *name) {
    modules_t sets[] = {unet_modules(p->unet), vae_modules(p->vae)};
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++)
        for (size_t i = 0; i < sets[s].blocks; i++)
            if (strcmp(sets[s].block[i].name, name) == 0) return &sets[s].block[i];
    return NULL;
}

const module_t *pipeline_module(const pipeline_t *p, const char *name) {
    modules_t sets[] = {text_encoder_modules(p->text_encoder), unet_modules(p->unet),
                        vae_modules(p->vae)};
    name += tap_step_length(name);
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++)
        for (size_t i = 0; i < sets[s].count; i++)
            if (strcmp(sets[s].module[i].name, name) == 0) return &sets[s].module[i];
    return NULL;
}
