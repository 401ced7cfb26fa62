/* run_case.c - see run_case.h. */
#include "golden/run_case.h"

#include <stdlib.h>
#include <string.h>

#include "golden/run_call.h"
#include "io/synth.h"

/* An input tensor of `ndim` dimensions. */
static int find_input(const golden_case_t *g, const char *key, int ndim, const st_tensor_t **tensor,
                      err_t *err) {
    json_node_t inputs;
    const char *name;
    if (json_get_object(g->root, "inputs", &inputs, err) ||
        json_get_string(inputs, key, &name, err))
        return -1;
    *tensor = st_find(g->tensors, name);
    if (!*tensor) return json_node_error(inputs, key, err, "no tensor '%s'", name);
    if ((*tensor)->shape.ndim != ndim)
        return json_node_error(inputs, key, err, "expected %d dimensions, found %d", ndim,
                               (*tensor)->shape.ndim);
    return 0;
}

/* {"formula": "input.sample", "shape": [2, 4, 64, 64]}: numbers of io/synth.h, seed 0. */
static int make_input(const run_t *run, json_node_t entry, int ndim, real_t **out, shape_t *shape,
                      err_t *err) {
    const char *name;
    int64_t dim[4];
    size_t count;
    synth_spec_t spec = {.rank = 1, .alpha = 1};
    if (json_get_string(entry, "formula", &name, err) ||
        json_get_ints(entry, "shape", 1, 1 << 20, (size_t)ndim, (size_t)ndim, dim, &count, err))
        return -1;
    *shape = (shape_t){.ndim = ndim};
    for (int i = 0; i < ndim; i++) shape->dim[i] = (size_t)dim[i];
    if (!shape_count_checked(*shape, &count) || count >> 32)
        return json_node_error(entry, "shape", err, "2^32 numbers or more");
    *out = arena_reals(run->arena, count);
    synth_tensor_t tensor = synth_tensor(&spec, name, *shape);
    synth_numbers(*out, &tensor, 0, count);
    return 0;
}

/* The same as real_t in the arena. */
static int read_input(const run_t *run, const golden_case_t *g, const char *key, int ndim,
                      real_t **out, shape_t *shape, err_t *err) {
    const st_tensor_t *tensor;
    json_node_t inputs, made;
    if (json_get_object(g->root, "inputs", &inputs, err)) return -1;
    if (json_is_object(json_object_get(inputs.value, key)))
        return json_get_object(inputs, key, &made, err) ||
               make_input(run, made, ndim, out, shape, err);
    if (find_input(g, key, ndim, &tensor, err)) return -1;
    if (tensor->dtype != DTYPE_F32 && tensor->dtype != DTYPE_F64)
        return err_set(err, "%s: input '%s' is %s, expected F32 or F64", g->folder, key,
                       dtype_name(tensor->dtype));
    *shape = tensor->shape;
    *out = arena_reals(run->arena, shape_count(*shape));
    dtype_to_real(*out, tensor->data, tensor->dtype, shape_count(*shape));
    return 0;
}

static int run_text_encoder(const run_t *run, const golden_case_t *g, const pipeline_t *p,
                            err_t *err) {
    size_t which = strcmp(g->component, pipeline_text_encoder_name(1)) == 0;
    if (which >= p->texts) return err_set(err, "%s: the model has no %s", g->folder, g->component);
    const text_encoder_t *encoder = p->text_encoder[which];
    const text_encoder_config_t *c = text_encoder_config(encoder);
    const st_tensor_t *input;
    if (find_input(g, "input_ids", 2, &input, err)) return -1;
    size_t B = input->shape.dim[0], T = input->shape.dim[1];
    if (T > c->max_position_embeddings)
        return err_set(err, "%s: input_ids: %zu tokens, at most %zu", g->folder, T,
                       c->max_position_embeddings);
    double *numbers = arena_bytes(run->arena, B * T * sizeof *numbers);
    int32_t *ids = arena_bytes(run->arena, B * T * sizeof *ids);
    dtype_to_double(numbers, input->data, input->dtype, B * T);
    for (size_t i = 0; i < B * T; i++) {
        if (!(numbers[i] >= 0 && numbers[i] < (double)c->vocab_size))
            return err_set(err, "%s: input_ids: %g is no token id", g->folder, numbers[i]);
        ids[i] = (int32_t)numbers[i];
    }
    real_t *out = arena_reals(run->arena, B * T * c->hidden_size);
    real_t *pooled =
        text_encoder_use(encoder).pooled ? arena_reals(run->arena, B * c->projection_dim) : NULL;
    text_encoder_forward(run, encoder, out, pooled, ids, B, T);
    return 0;
}

/* text_embeds (B,P) and time_ids (B,6). */
static int read_added(const run_t *run, const golden_case_t *g, const unet_config_t *c,
                      conditioning_t *given, err_t *err) {
    real_t *text_embeds, *time_ids;
    shape_t e, i;
    size_t P = unet_text_embeds(c);
    if (read_input(run, g, "text_embeds", 2, &text_embeds, &e, err) ||
        read_input(run, g, "time_ids", 2, &time_ids, &i, err))
        return -1;
    if (!shape_equal(e, SHAPE2(given->B, P)) || !shape_equal(i, SHAPE2(given->B, UNET_TIME_IDS)))
        return err_set(err, "%s: expected text_embeds (%zu, %zu) and time_ids (%zu, %d)", g->folder,
                       given->B, P, given->B, UNET_TIME_IDS);
    given->text_embeds = text_embeds;
    given->time_ids = time_ids;
    return 0;
}

static int run_unet(const run_t *run, const golden_case_t *g, const pipeline_t *p, err_t *err) {
    real_t *sample, *tokens;
    shape_t s, t;
    double timestep;
    json_node_t inputs;
    if (read_input(run, g, "sample", 4, &sample, &s, err) ||
        read_input(run, g, "encoder_hidden_states", 3, &tokens, &t, err) ||
        json_get_object(g->root, "inputs", &inputs, err) ||
        json_get_double(inputs, "timestep", &timestep, err))
        return -1;
    const unet_config_t *c = unet_config(p->unet);
    if (s.dim[1] != c->in_channels || t.dim[0] != s.dim[0] || t.dim[2] != c->cross_attention_dim)
        return err_set(err, "%s: inputs do not fit the UNet (%zu channels, text vectors of %zu)",
                       g->folder, c->in_channels, c->cross_attention_dim);
    conditioning_t given = {.B = t.dim[0], .S = t.dim[1], .encoder_hidden_states = tokens};
    real_t *out = arena_reals(run->arena, s.dim[0] * c->out_channels * s.dim[2] * s.dim[3]);
    if (c->added_embedding && read_added(run, g, c, &given, err)) return -1;
    context_kv_t context = unet_context(run, p->unet, &given);
    unet_forward(run, p->unet, out, sample, timestep, &context, s.dim[2], s.dim[3]);
    return 0;
}

static int run_vae_decoder(const run_t *run, const golden_case_t *g, const pipeline_t *p,
                           err_t *err) {
    real_t *latents;
    shape_t s;
    if (read_input(run, g, "latents", 4, &latents, &s, err)) return -1;
    const vae_config_t *c = vae_config(p->vae);
    size_t side = vae_scale(p->vae);
    if (s.dim[1] != c->latent_channels)
        return err_set(err, "%s: latents have %zu channels, the VAE %zu", g->folder, s.dim[1],
                       c->latent_channels);
    real_t *image =
        arena_reals(run->arena, s.dim[0] * c->out_channels * s.dim[2] * s.dim[3] * side * side);
    vae_decode(run, p->vae, image, latents, s.dim[0], s.dim[2], s.dim[3]);
    return 0;
}

/* The settings that a sampler of `kind` has of its own: DDIM two switches, Euler none. */
static int read_switches(json_node_t node, sampler_kind_t kind, ddim_config_t *scheduler,
                         err_t *err) {
    if (kind == SAMPLER_EULER) return 0;
    return json_get_bool(node, "set_alpha_to_one", &scheduler->set_alpha_to_one, err) ||
           json_get_bool(node, "clip_sample", &scheduler->clip_sample, err);
}

/* By diffusers' class: DDIM where none is named. */
static int read_class(json_node_t node, sampler_kind_t *kind, err_t *err) {
    static const char *const classes[] = {"DDIMScheduler", "EulerDiscreteScheduler", NULL};
    size_t index;
    if (json_get_choice_or(node, "class", classes, 0, &index, err)) return -1;
    *kind = sampler_of_class(classes[index]);
    return 0;
}

static int read_scheduler(json_node_t settings, const pipeline_t *p, sampler_choice_t *sampler,
                          ddim_config_t *scheduler, err_t *err) {
    static const char *const spacings[] = {"leading", "trailing", "linspace"};
    static const char *const predictions[] = {"epsilon", "v_prediction", "sample"};
    json_node_t node;
    const char *spacing, *prediction;
    int64_t offset;
    *scheduler = p->scheduler;
    if (json_get_object(settings, "scheduler", &node, err) ||
        json_get_string(node, "timestep_spacing", &spacing, err) ||
        json_get_string(node, "prediction_type", &prediction, err) ||
        json_get_int(node, "steps_offset", 0, 1000, &offset, err) ||
        read_class(node, &sampler->kind, err) || read_switches(node, sampler->kind, scheduler, err))
        return -1;
    scheduler->steps_offset = (int)offset;
    bool known[2] = {false, false};
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(spacing, spacings[i]) == 0)
            scheduler->timestep_spacing = (timestep_spacing_t)i, known[0] = true;
        if (strcmp(prediction, predictions[i]) == 0)
            scheduler->prediction_type = (prediction_type_t)i, known[1] = true;
    }
    if (!known[0]) return json_node_error(node, "timestep_spacing", err, "unknown '%s'", spacing);
    if (!known[1]) return json_node_error(node, "prediction_type", err, "unknown '%s'", prediction);
    return 0;
}

/* The caller frees both texts. */
static int read_words(json_node_t s, deviations_t deviations, pipeline_prompt_t *words,
                      char *text[2], err_t *err) {
    static const char *const rules[] = {"encoded", "zeros", NULL};
    const char *positive, *negative = NULL;
    size_t rule;
    bool suffixed = (deviations & DEVIATION_PROMPT_SUFFIXES) != 0;
    if (json_get_string(s, "prompt", &positive, err) ||
        json_get_choice_or(s, "negative_rule", rules, NEGATIVE_ENCODED, &rule, err) ||
        (json_node_has(s, "negative_prompt") &&
         json_get_string(s, "negative_prompt", &negative, err)))
        return -1;
    text[0] = prompt_suffixed(positive, strlen(positive), false, suffixed);
    text[1] = prompt_suffixed(negative, negative ? strlen(negative) : 0, true, suffixed);
    words->text = text[0];
    words->negative = negative || suffixed ? text[1] : NULL;
    words->rule = (negative_rule_t)rule;
    return 0;
}

/* Two numbers of settings; what is absent stays. */
static int read_pair(json_node_t s, const char *key, size_t pair[2], err_t *err) {
    int64_t number[2];
    size_t count;
    if (!json_node_has(s, key)) return 0;
    if (json_get_ints(s, key, 0, 1 << 20, 2, 2, number, &count, err)) return -1;
    for (size_t i = 0; i < 2; i++) pair[i] = (size_t)number[i];
    return 0;
}

static int read_size(json_node_t s, size_conditioning_t *size, err_t *err) {
    return read_pair(s, "original_size", size->original_size, err) ||
           read_pair(s, "crops_coords_top_left", size->crops_coords_top_left, err) ||
           read_pair(s, "target_size", size->target_size, err);
}

static int read_image(json_node_t s, const pipeline_t *p, pipeline_image_t *image, err_t *err) {
    int64_t seed, steps, width, height;
    if (read_size(s, &image->size, err) || json_get_int(s, "seed", 0, INT64_MAX, &seed, err) ||
        json_get_int(s, "num_inference_steps", 1, 1000, &steps, err) ||
        json_get_int(s, "width", 1, 1 << 14, &width, err) ||
        json_get_int(s, "height", 1, 1 << 14, &height, err) ||
        json_get_double(s, "guidance_scale", &image->guidance_scale, err) ||
        json_get_double(s, "eta", &image->eta, err) ||
        read_scheduler(s, p, &image->sampler, &image->scheduler, err))
        return -1;
    image->width = (size_t)width;
    image->height = (size_t)height;
    image->steps = (size_t)steps;
    image->seed = (uint64_t)seed;
    size_t unit = pipeline_size_unit(p);
    if (image->width % unit || image->height % unit)
        return json_node_error(s, "width", err, "width and height must be multiples of %zu", unit);
    return 0;
}

/* false: as far as is wanted. */
static bool go_on(void *who, size_t step, size_t steps) {
    const golden_case_t *g = who;
    (void)steps;
    return !g->only_steps || step < g->only_steps;
}

static int run_pipeline(const run_t *run, const golden_case_t *g, const pipeline_t *p, err_t *err) {
    json_node_t s;
    pipeline_prompt_t words = {.syntax = PROMPT_DEFAULTS};
    pipeline_text_t text;
    pipeline_image_t image = {.progress = go_on, .who = (void *)g};
    char *spelt[2] = {NULL, NULL};
    int status = json_get_object(g->root, "settings", &s, err) || read_image(s, p, &image, err) ||
                 read_words(s, run->deviations, &words, spelt, err);
    words.guided = image.guidance_scale > 1;
    if (!status) status = pipeline_encode(run, p, &words, &text, err);
    free(spelt[0]);
    free(spelt[1]);
    if (!status) status = pipeline_check_memory(run, p, &text, &image, err);
    if (status) return -1;
    real_t *pixels = arena_reals(run->arena, 3 * image.width * image.height);
    status = pipeline_generate(run, p, &text, &image, pixels, err);
    return status && go_on((void *)g, image.steps, image.steps) ? -1 : 0;
}

int golden_schedule(const golden_case_t *g, const pipeline_t *p, ddim_plan_t *ddim, err_t *err) {
    json_node_t settings;
    ddim_config_t config;
    sampler_choice_t sampler = {0};
    int64_t steps;
    if (strcmp(g->component, "pipeline") != 0) return 0;
    if (json_get_object(g->root, "settings", &settings, err) ||
        json_get_int(settings, "num_inference_steps", 1, 1000, &steps, err) ||
        read_scheduler(settings, p, &sampler, &config, err))
        return -1;
    if (sampler.kind != SAMPLER_DDIM) return 0;
    return ddim_plan(ddim, &config, (size_t)steps, err) ? -1 : 1;
}

/* The experts that the case names, face first: without gates they count in full. */
static void add_expert(mole_files_t *mole, const char *name, const char *path) {
    if (!path) return;
    mole->name[mole->experts] = name;
    mole->path[mole->experts++] = path;
}

int golden_open_model(const golden_case_t *g, pipeline_t *p, err_t *err) {
    json_node_t model;
    *p = (pipeline_t){0};
    if (g->is_calls) return 0;
    if (json_get_object(g->root, "model", &model, err)) return -1;
    enum { FOLDER, TOKENIZER, FACE, HAND, GATES, PATHS };
    static const char *const key[PATHS] = {"folder", "tokenizer", "face", "hand", "gates"};
    char *path[PATHS];
    for (int i = 0; i < PATHS; i++) path[i] = golden_case_path(g, model, key[i]);
    pipeline_files_t files = {.folder = path[FOLDER],
                              .tokenizer = path[TOKENIZER],
                              .widen = g->widen,
                              .mole = {.gates = path[GATES]}};
    add_expert(&files.mole, "face", path[FACE]);
    add_expert(&files.mole, "hand", path[HAND]);
    int status = json_get_bool_or(model, "allow_unused", false, &files.allow_unused, err);
    if (!status && !files.folder)
        status = json_node_error(model, "folder", err, "expected a path, found nothing");
    if (!status) status = pipeline_open(p, &files, err);
    for (int i = 0; i < PATHS; i++) free(path[i]);
    return status;
}

static int read_tensor(const void *who, const char *name, tensor_file_t *tensor, err_t *err) {
    const golden_case_t *g = who;
    const st_tensor_t *stored = st_find(g->tensors, name);
    if (!stored) return err_set(err, "no tensor '%s'", name);
    size_t count = shape_count(stored->shape);
    *tensor = (tensor_file_t){stored->shape, xmalloc((count + 1) * sizeof(double))};
    dtype_to_double(tensor->data, stored->data, stored->dtype, count);
    return 0;
}

/* Call by call, each with the whole arena. */
static int run_calls(const run_t *run, const golden_case_t *g, const pipeline_t *p, err_t *err) {
    size_t calls;
    int status = json_get_length(g->root, "calls", &calls, err);
    (void)p;
    for (size_t i = 0; !status && i < calls; i++) {
        json_node_t call;
        arena_mark_t mark = arena_mark(run->arena);
        status = json_get_item(g->root, "calls", i, &call, err) ||
                         calls_execute(run, &(call_tensors_t){read_tensor, g}, call, err)
                     ? -1
                     : 0;
        arena_release(run->arena, mark);
    }
    return status;
}

int golden_execute(const run_t *run, const golden_case_t *g, const pipeline_t *p, err_t *err) {
    static const struct {
        const char *component;
        int (*go)(const run_t *, const golden_case_t *, const pipeline_t *, err_t *);
    } table[] = {{"text_encoder", run_text_encoder},
                 {"text_encoder_2", run_text_encoder},
                 {"unet", run_unet},
                 {"vae_decoder", run_vae_decoder},
                 {"pipeline", run_pipeline},
                 {"calls", run_calls}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(g->component, table[i].component) != 0) continue;
        arena_mark_t mark = arena_mark(run->arena);
        run_t deviating = *run;
        deviating.deviations = g->deviations;
        int status = g->is_calls ? 0 : pipeline_check_deviations(p, g->deviations, err);
        if (!status) status = table[i].go(&deviating, g, p, err);
        arena_release(run->arena, mark);
        return status;
    }
    return err_set(err, "%s: unknown component '%s'", g->folder, g->component);
}
