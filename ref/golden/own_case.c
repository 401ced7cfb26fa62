/* own_case.c - see own_case.h. */
#include "golden/own_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the manifest ------------------------------------------------------------------------------------ */

/* NULL becomes null. */
static void set_text(json_t *object, const char *key, const char *text) {
    json_object_set_new(object, key, text ? json_string(text) : json_null());
}

static json_t *model_of(const pipeline_files_t *files) {
    json_t *model = json_object();
    const mole_files_t *mole = &files->mole;
    set_text(model, "folder", files->folder);
    if (files->tokenizer) set_text(model, "tokenizer", files->tokenizer);
    set_text(model, "face", NULL);
    set_text(model, "hand", NULL);
    for (size_t i = 0; i < mole->experts; i++) set_text(model, mole->name[i], mole->path[i]);
    set_text(model, "gates", mole->gates);
    if (files->allow_unused) json_object_set_new(model, "allow_unused", json_true());
    return model;
}

static json_t *deviations_of(deviations_t deviations) {
    json_t *names = json_array();
    for (size_t i = 0; i < DEVIATIONS; i++)
        if (deviations & deviation_table[i].bit)
            json_array_append_new(names, json_string(deviation_table[i].name));
    return names;
}

static json_t *pair_of(const size_t pair[2]) {
    return json_pack("[I, I]", (json_int_t)pair[0], (json_int_t)pair[1]);
}

static json_t *settings_of(const own_case_t *own) {
    const pipeline_image_t *image = &own->image;
    json_t *s = json_object();
    set_text(s, "prompt", own->prompt);
    set_text(s, "negative_prompt", own->negative);
    set_text(s, "negative_rule", own->rule == NEGATIVE_ZEROS ? "zeros" : "encoded");
    json_object_set_new(s, "seed", json_integer((json_int_t)image->seed));
    json_object_set_new(s, "num_inference_steps", json_integer((json_int_t)image->steps));
    json_object_set_new(s, "guidance_scale", json_real(image->guidance_scale));
    json_object_set_new(s, "eta", json_real(image->eta));
    if (own->deviations) json_object_set_new(s, "deviations", deviations_of(own->deviations));
    return s;
}

/* ---- the inputs of one pass --------------------------------------------------------------------------- */

/* What golden cases call it, or plainly; NULL: the file has none. */
static const char *find_key(const golden_case_t *g, const char *const names[]) {
    for (size_t i = 0; names[i]; i++)
        if (st_find(g->tensors, names[i])) return names[i];
    return NULL;
}

static int add_timestep(const golden_case_t *g, const own_case_t *own, json_t *inputs, err_t *err) {
    static const char *const names[] = {"input/timestep", "timestep", NULL};
    const char *key = find_key(g, names);
    double timestep = own->timestep;
    if (isnan(timestep)) {
        const st_tensor_t *tensor = key ? st_find(g->tensors, key) : NULL;
        if (!tensor || shape_count(tensor->shape) != 1)
            return err_set(
                err,
                "%s: %s, expected a tensor 'timestep' of one number: add it, or say --timestep",
                own->inputs, tensor ? "its timestep is not one number" : "no timestep");
        dtype_to_double(&timestep, tensor->data, tensor->dtype, 1);
    }
    if (!isfinite(timestep))
        return err_set(err, "%s: the timestep is %g, expected a finite number", own->inputs,
                       timestep);
    json_object_set_new(inputs, "timestep", json_real(timestep));
    return 0;
}

typedef struct {
    const char *component, *input, *names[4];
    bool needed;
} input_row_t;

static const input_row_t input_table[] = {
    {"unet", "sample", {"input/sample", "sample", NULL}, true},
    {"unet",
     "encoder_hidden_states",
     {"input/context", "context", "encoder_hidden_states", NULL},
     true},
    {"unet", "text_embeds", {"input/text_embeds", "text_embeds", NULL}, false},
    {"unet", "time_ids", {"input/time_ids", "time_ids", NULL}, false},
    {"vae_decoder", "latents", {"input/latents", "latents", NULL}, true},
    {"text_encoder", "input_ids", {"input/input_ids", "input_ids", NULL}, true}};
enum { INPUTS = sizeof input_table / sizeof *input_table };

/* The component whose inputs are there: the first that has one of its own. */
static const char *component_of(const golden_case_t *g) {
    for (size_t i = 0; i < INPUTS; i++)
        if (input_table[i].needed && find_key(g, input_table[i].names))
            return input_table[i].component;
    return NULL;
}

static int add_inputs(golden_case_t *g, const own_case_t *own, err_t *err) {
    json_t *inputs = json_object();
    json_object_set_new(g->made, "inputs", inputs);
    if (st_open(&g->tensors, own->inputs, err)) return -1;
    g->component = component_of(g);
    if (!g->component)
        return err_set(err,
                       "%s: no inputs of a pass: expected input/sample and input/context (UNet), "
                       "input/latents (VAE) or input/input_ids (text encoder)",
                       own->inputs);
    for (size_t i = 0; i < INPUTS; i++) {
        const input_row_t *row = &input_table[i];
        const char *key = find_key(g, row->names);
        if (strcmp(row->component, g->component) != 0) continue;
        if (key)
            set_text(inputs, row->input, key);
        else if (row->needed)
            return err_set(err, "%s: no tensor '%s', which a pass of the %s gets", own->inputs,
                           row->names[0], g->component);
    }
    return strcmp(g->component, "unet") == 0 ? add_timestep(g, own, inputs, err) : 0;
}

int own_case_open(golden_case_t *g, const own_case_t *own, err_t *err) {
    *g = (golden_case_t){
        .folder = xstrdup(own->files.folder), .own = true, .derived = true, .made = json_object()};
    g->root = (json_node_t){.path = g->folder, .value = g->made};
    g->name = "own";
    g->component = "pipeline";
    g->widen = own->files.widen;
    json_object_set_new(g->made, "model", model_of(&own->files));
    int status = 0;
    if (own->inputs) {
        status = add_inputs(g, own, err);
        if (own->deviations)
            json_object_set_new(g->made, "settings",
                                json_pack("{s:o}", "deviations", deviations_of(own->deviations)));
    } else {
        json_object_set_new(g->made, "settings", settings_of(own));
    }
    set_text(g->made, "component", g->component);
    if (!status) status = golden_read_deviations(g, err);
    if (status) golden_case_close(g);
    return status ? -1 : 0;
}

/* ---- what the model knows ------------------------------------------------------------------------------ */

/* As mole generate has it: the authors' settings but for what the model predicts, or the model's own. */
static json_t *scheduler_of(const own_case_t *own, const pipeline_t *p) {
    bool authors = strcmp(own->scheduler, "authors") == 0;
    const ddim_config_t *c = authors ? &ddim_config_authors : &p->scheduler;
    bool euler = strcmp(own->scheduler, "euler") == 0 ||
                 (!authors && sampler_of_class(c->class_name) == SAMPLER_EULER);
    json_t *s =
        json_pack("{s:s, s:i, s:s}", "timestep_spacing", timestep_spacing_name(c->timestep_spacing),
                  "steps_offset", c->steps_offset, "prediction_type",
                  prediction_type_name(p->scheduler.prediction_type));
    if (euler) {
        set_text(s, "class", "EulerDiscreteScheduler");
        return s;
    }
    json_object_set_new(s, "set_alpha_to_one", json_boolean(c->set_alpha_to_one));
    json_object_set_new(s, "clip_sample", json_boolean(c->clip_sample));
    return s;
}

int own_case_complete(golden_case_t *g, const own_case_t *own, const pipeline_t *p, err_t *err) {
    if (own->inputs) return 0;
    json_t *s = json_object_get(g->made, "settings");
    const pipeline_image_t *image = &own->image;
    size_t usual = pipeline_default_size(p), unit = pipeline_size_unit(p);
    size_t width = image->width ? image->width : usual;
    size_t height = image->height ? image->height : usual;
    if (width % unit || height % unit)
        return err_set(err, "%zu x %zu pixels: width and height must be multiples of %zu", width,
                       height, unit);
    json_object_set_new(s, "width", json_integer((json_int_t)width));
    json_object_set_new(s, "height", json_integer((json_int_t)height));
    if (unet_config(p->unet)->added_embedding) {
        size_t own_size[2] = {height, width};
        json_object_set_new(s, "original_size", pair_of(own_size));
        json_object_set_new(s, "crops_coords_top_left", pair_of((size_t[2]){0, 0}));
        json_object_set_new(s, "target_size", pair_of(own_size));
    }
    json_object_set_new(s, "scheduler", scheduler_of(own, p));
    return 0;
}
