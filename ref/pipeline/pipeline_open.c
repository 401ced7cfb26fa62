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

static const pipeline_kind_t kinds[] = {
    {"StableDiffusionPipeline", 1, {{.final_norm = true}}},
    {"StableDiffusionXLPipeline", 2, {{.skip = 1}, {.skip = 1, .pooled = true}}}};

/* NULL for a class that is not in the table. */
static const pipeline_kind_t *kind_of(const char *class_name) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(class_name, kinds[i].class_name) == 0) return &kinds[i];
    return NULL;
}

const char *pipeline_text_encoder_name(size_t text) {
    return text ? "text_encoder_2" : "text_encoder";
}

const char *pipeline_tokenizer_name(size_t text) {
    return text ? "tokenizer_2" : "tokenizer";
}

static void note_unknown(notes_t *notes, const char *folder, const char *file, const char *keys) {
    if (*keys)
        notes_add(notes, "warning: %s/%s: passed over, since nothing here knows what it means: %s",
                  folder, file, keys);
}

/* What a member of model_index.json, ["library", "class"], names as class; "" for none. */
static const char *named_class(const json_t *index, const char *member) {
    const char *name = json_string_value(json_array_get(json_object_get(index, member), 1));
    return name ? name : "";
}

/* Those that the kind needs are there: a pipeline without its second text encoder does not fit its name. */
static int check_members(json_node_t index, const pipeline_kind_t *kind, err_t *err) {
    for (size_t i = 1; i < PIPELINE_TEXTS; i++) {
        const char *members[] = {pipeline_text_encoder_name(i), pipeline_tokenizer_name(i)};
        for (size_t k = 0; k < 2; k++) {
            bool there = *named_class(index.value, members[k]), wanted = i < kind->texts;
            if (there != wanted)
                return json_node_error(index, members[k], err, "expected %s for a %s, found %s",
                                       wanted ? "one" : "none", kind->class_name,
                                       there ? "one" : "none");
        }
    }
    return 0;
}

/* diffusers' pipeline for one text encoder has no such rule, whatever its file says; a single file says
 * nothing. */
static empty_rule_t empty_rule_of(json_node_t index, const pipeline_kind_t *kind,
                                  const char *folder) {
    const json_t *zeros = json_object_get(index.value, "force_zeros_for_empty_prompt");
    if (kind->texts == 1 || source_is_single(folder) || !json_is_boolean(zeros))
        return EMPTY_NOT_SAID;
    return json_is_true(zeros) ? EMPTY_ZEROS : EMPTY_ENCODED;
}

/* A pipeline folder is known by its model_index.json. `scheduler` gets the class that it names, or "". */
static int check_index(pipeline_t *p, const char *folder, char scheduler[SHOWN_TEXT],
                       notes_t *notes, err_t *err) {
    json_file_t *index;
    char unknown[CONFIG_UNKNOWN];
    const char *class_name;
    if (source_check(folder, err)) return -1;
    if (config_open(&index, folder, "model_index.json", config_keys_index, unknown, err)) return -1;
    json_node_t root = json_file_root(index);
    int status = json_get_string_or(root, "_class_name", kinds[0].class_name, &class_name, err);
    p->kind = status ? NULL : kind_of(class_name);
    if (!status) status = check_members(root, p->kind, err);
    if (!status) p->empty = empty_rule_of(root, p->kind, folder);
    note_unknown(notes, folder, "model_index.json", unknown);
    text_shown(scheduler, named_class(root.value, "scheduler"));
    json_file_close(index);
    return status;
}

static int check_tokenizer(const pipeline_files_t *files, err_t *err) {
    if (files->tokenizer || !source_is_single(files->folder)) return 0;
    return err_set(
        err,
        "%s: a single-file checkpoint has no tokenizer: name one with --tokenizer FOLDER "
        "(vocab.json, merges.txt)",
        files->folder);
}

static int check_text(const pipeline_t *p, size_t i, const char *folder, err_t *err) {
    const text_encoder_config_t *text = text_encoder_config(p->text_encoder[i]);
    const tokenizer_info_t *tokens = tokenizer_info(p->tokenizer[i]);
    const char *which = i ? "second " : "";
    if (tokens->vocab > text->vocab_size)
        return err_set(err, "%s: the %stokenizer has %zu ids, the %stext encoder %zu", folder,
                       which, tokens->vocab, which, text->vocab_size);
    if (tokens->max_length > text->max_position_embeddings)
        return err_set(err,
                       "%s: the %stokenizer makes rows of %zu tokens, the %stext encoder has %zu "
                       "positions",
                       folder, which, tokens->max_length, which, text->max_position_embeddings);
    return 0;
}

/* The pooled text that the UNet is told of. */
static int check_pooled(const unet_config_t *unet, size_t pooled, const char *folder, err_t *err) {
    size_t wanted = unet_text_embeds(unet);
    size_t left = unet->projection_class_embeddings_input_dim - pooled;
    if (wanted == pooled) return 0;
    if (!wanted || !pooled)
        return err_set(err,
                       "%s: the UNet's addition_embed_type is %s, the pipeline has %s text "
                       "encoder with a pooled vector: is this model_index.json the UNet's own?",
                       folder, wanted ? "\"text_time\"" : "null", pooled ? "a" : "no");
    return err_set(err,
                   "%s: the UNet's projection_class_embeddings_input_dim is %zu, expected %zu: "
                   "projection_dim of text_encoder_2 (%zu) and %d x addition_time_embed_dim "
                   "(%zu)%s",
                   folder, unet->projection_class_embeddings_input_dim,
                   pooled + UNET_TIME_IDS * unet->addition_time_embed_dim, pooled, UNET_TIME_IDS,
                   unet->addition_time_embed_dim,
                   left == (UNET_TIME_IDS - 1) * unet->addition_time_embed_dim
                       ? "; a refiner, which is told five numbers, is not supported"
                       : "");
}

/* Components that were not made for each other. */
static int check_fit(const pipeline_t *p, const char *folder, err_t *err) {
    const unet_config_t *unet = unet_config(p->unet);
    const vae_config_t *vae = vae_config(p->vae);
    size_t hidden = 0, pooled = 0;
    for (size_t i = 0; i < p->texts; i++) {
        const text_encoder_config_t *text = text_encoder_config(p->text_encoder[i]);
        hidden += text->hidden_size;
        if (p->kind->use[i].pooled) pooled = text->projection_dim;
        if (check_text(p, i, folder, err)) return -1;
    }
    if (unet->cross_attention_dim != hidden)
        return err_set(err,
                       "%s: the UNet expects text vectors of %zu numbers "
                       "(cross_attention_dim), the text encoder%s %zu (hidden_size)",
                       folder, unet->cross_attention_dim, p->texts > 1 ? "s make" : " makes",
                       hidden);
    if (check_pooled(unet, pooled, folder, err)) return -1;
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
    char **ldm = xcalloc(p->mole_layers, sizeof *ldm);
    ldm_layout_t layout = unet_config_layout(unet_config(p->unet));
    for (size_t i = 0; i < p->mole_layers; i++) {
        const linear_t *layer = site[i].layer;
        const char *path = layer->name + strlen("unet.");
        ldm[i] = ldm_name_theirs(&layout, "unet", path);
        target[i] = (mole_target_t){.path = path,
                                    .ldm_path = ldm[i],
                                    .d_in = layer->in,
                                    .d_out = layer->out,
                                    .conv = site[i].conv,
                                    .layer = &p->mole_layer[i]};
    }
    int status = mole_files_load(&p->mole, files, target, p->mole_layers, allow_unused, err);
    for (size_t i = 0; !status && i < p->mole_layers; i++) site[i].layer->mole = &p->mole_layer[i];
    for (size_t i = 0; i < p->mole_layers; i++) free(ldm[i]);
    free(ldm);
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
    p->prediction_assumed =
        single && !m.prediction && p->scheduler.prediction_type != PREDICT_EPSILON;
    if (p->prediction_assumed && !files->scheduler_given)
        notes_add(
            files->notes,
            "note: %s: nothing in it says what the model predicts; %s is taken, as of v2's 768 "
            "model (for its base model name a scheduler_config.json that says epsilon)",
            weights_path(unet_weights(p->unet)),
            prediction_type_name(p->scheduler.prediction_type));
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
    pipeline_component_t component[PIPELINE_COMPONENTS];
    size_t count = pipeline_components(p, component);
    for (size_t i = 0; i < p->texts; i++) {
        char file[64];
        snprintf(file, sizeof file, "%s%stokenizer_config.json",
                 files->tokenizer ? "" : pipeline_tokenizer_name(i), files->tokenizer ? "" : "/");
        note_unknown(notes, files->tokenizer ? files->tokenizer : folder, file,
                     tokenizer_info(p->tokenizer[i])->unknown_keys);
    }
    for (size_t i = 0; i < count; i++) {
        char file[64];
        snprintf(file, sizeof file, "%s/config.json", component[i].name);
        note_unknown(notes, folder, file, component[i].unknown_keys);
    }
    for (size_t i = 0; i < count; i++) weights_note_unused(component[i].weights, notes);
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

/* Where a tokenizer is: in the model; in another model's folder, --tokenizer; or that folder itself. */
static char *tokenizer_folder(const pipeline_files_t *files, size_t i) {
    const char *name = pipeline_tokenizer_name(i), *other = files->tokenizer;
    char *own = xasprintf("%s/%s", other ? other : files->folder, name);
    char *config = xasprintf("%s/tokenizer_config.json", own);
    char *vocab = xasprintf("%s/vocab.json", own);
    bool plain = other && !source_has(config) && !source_has(vocab);
    free(config);
    free(vocab);
    if (!plain) return own;
    free(own);
    return xstrdup(other);
}

static int open_tokenizers(pipeline_t *p, const pipeline_files_t *files, err_t *err) {
    int status = 0;
    for (size_t i = 0; !status && i < p->kind->texts; i++) {
        char *folder = tokenizer_folder(files, i);
        status = tokenizer_open(&p->tokenizer[i], folder, err);
        free(folder);
    }
    return status;
}

/* A vocabulary from elsewhere has the padding of whoever it is from. OpenCLIP's text encoders (hidden_act
 * "gelu") were trained with padding 0, the others with the end token. */
static void choose_padding(pipeline_t *p, const pipeline_files_t *files) {
    for (size_t i = 0; files->tokenizer && source_is_single(files->folder) && i < p->texts; i++)
        if (text_encoder_config(p->text_encoder[i])->hidden_act == ACT_GELU)
            tokenizer_set_pad(p->tokenizer[i], 0);
}

static int open_text_encoders(pipeline_t *p, const pipeline_files_t *files, err_t *err) {
    int status = 0;
    for (size_t i = 0; !status && i < p->kind->texts; i++) {
        const char *name = pipeline_text_encoder_name(i);
        char *folder = xasprintf("%s/%s", files->folder, name);
        status = text_encoder_open(&p->text_encoder[i], folder, name, p->kind->use[i],
                                   files->allow_unused, err);
        free(folder);
    }
    p->texts = p->kind->texts;
    if (!status) choose_padding(p, files);
    return status;
}

/* Experts are widened when the UNet is. */
static int attach(pipeline_t *p, const mole_files_t *mole, bool loose, err_t *err) {
    mole_files_t files = *mole;
    files.late = weights_late(unet_weights(p->unet));
    return pipeline_attach_experts(p, &files, loose, err);
}

int pipeline_open(pipeline_t *p, const pipeline_files_t *files, err_t *err) {
    *p = (pipeline_t){0};
    const char *folder = files->folder;
    char *unet = xasprintf("%s/unet", folder), *vae = xasprintf("%s/vae", folder);
    char *scheduler = xasprintf("%s/scheduler/scheduler_config.json", folder);
    bool loose = files->allow_unused;
    char class_name[SHOWN_TEXT] = "";
    int status =
        check_index(p, folder, class_name, files->notes, err) || check_tokenizer(files, err) ||
        open_tokenizers(p, files, err) || ddim_config_read(&p->scheduler, scheduler, err) ||
        open_text_encoders(p, files, err) ||
        unet_open_widening(&p->unet, unet, loose, files->widen, err) ||
        apply_marks(p, files, err) || vae_open(&p->vae, vae, loose, err) ||
        check_fit(p, folder, err) || (files->mole.experts && attach(p, &files->mole, loose, err));
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
    for (size_t i = 0; i < PIPELINE_TEXTS; i++) {
        tokenizer_close(p->tokenizer[i]);
        text_encoder_close(p->text_encoder[i]);
    }
    unet_close(p->unet);
    vae_close(p->vae);
    mole_set_free(p->mole);
    free(p->mole_layer);
    *p = (pipeline_t){0};
}

size_t pipeline_components(const pipeline_t *p,
                           pipeline_component_t component[PIPELINE_COMPONENTS]) {
    size_t count = 0;
    for (size_t i = 0; i < PIPELINE_TEXTS; i++) {
        const text_encoder_t *e = p->text_encoder[i];
        if (!e) continue;
        component[count++] =
            (pipeline_component_t){pipeline_text_encoder_name(i), text_encoder_weights(e),
                                   text_encoder_modules(e), text_encoder_config(e)->unknown_keys};
    }
    if (p->unet)
        component[count++] =
            (pipeline_component_t){"unet", unet_weights(p->unet), unet_modules(p->unet),
                                   unet_config(p->unet)->unknown_keys};
    if (p->vae)
        component[count++] = (pipeline_component_t){"vae", vae_weights(p->vae), vae_modules(p->vae),
                                                    vae_config(p->vae)->unknown_keys};
    return count;
}

size_t pipeline_size_unit(const pipeline_t *p) {
    return vae_scale(p->vae);
}

size_t pipeline_default_size(const pipeline_t *p) {
    return unet_config(p->unet)->sample_size * vae_scale(p->vae);
}

const block_t *pipeline_block(const pipeline_t *p, const char *name) {
    pipeline_component_t c[PIPELINE_COMPONENTS];
    size_t count = pipeline_components(p, c);
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < c[s].modules.blocks; i++)
            if (strcmp(c[s].modules.block[i].name, name) == 0) return &c[s].modules.block[i];
    return NULL;
}

const module_t *pipeline_module(const pipeline_t *p, const char *name) {
    pipeline_component_t c[PIPELINE_COMPONENTS];
    size_t count = pipeline_components(p, c);
    name += tap_step_length(name);
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < c[s].modules.count; i++)
            if (strcmp(c[s].modules.module[i].name, name) == 0) return &c[s].modules.module[i];
    return NULL;
}
