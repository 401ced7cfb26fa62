/* generate_plan.c - what a run is going to do, and whether it can; see generate_job.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/generate_job.h"
#include "cli/generate_note.h"
#include "io/file.h"
#include "io/tensor_file.h"

picture_job_t *picture_of(picture_job_t *picture, const job_t *job, size_t number) {
    const generate_options_t *o = job->options;
    picture->number = number;
    picture->prompt = &o->list.prompt[(number - 1) / o->images];
    picture->seed = picture->prompt->set.seed + (number - 1) % o->images;
    return picture;
}

char *note_of(const job_t *job, const picture_job_t *picture) {
    const generate_options_t *o = job->options;
    return generate_note(o, picture->prompt, picture->seed, &job->scheduler, job->sampler,
                         job->weights);
}

double work_of(const prompt_settings_t *set) {
    return (double)set->steps * (double)set->width * (double)set->height;
}

/* All pictures that start from a file have one size. */
static int check_one_size(const job_t *job, const char *option, err_t *err) {
    const prompt_list_t *list = &job->options->list;
    for (size_t i = 1; i < list->count; i++)
        if (list->prompt[i].set.width != list->prompt[0].set.width ||
            list->prompt[i].set.height != list->prompt[0].set.height)
            return err_set(err,
                           "%s: prompt %zu: another size than the first, which %s does not go with",
                           job->options->from_file, i + 1, option);
    return 0;
}

static int load_latents(job_t *job, err_t *err) {
    const char *path = job->options->latents;
    if (!path) return 0;
    const prompt_settings_t *set = &job->options->list.prompt[0].set;
    if (check_one_size(job, "--latents", err)) return -1;
    size_t C = vae_config(job->pipeline.vae)->latent_channels,
           unit = pipeline_size_unit(&job->pipeline);
    shape_t expected = SHAPE4(1, C, set->height / unit, set->width / unit);
    tensor_file_t tensor = {0};
    if (tensor_file_read_shape(&tensor, path, NULL, &expected, err)) return -1;
    int status = 0;
    size_t n = shape_count(expected);
    job->latents = xmalloc(n * sizeof *job->latents);
    for (size_t j = 0; j < n && !status; j++) {
        job->latents[j] = (real_t)tensor.data[j];
        if (!isfinite(job->latents[j]))
            status = err_set(err, "%s: number %zu of the latents is %g, expected finite ones", path,
                             j, tensor.data[j]);
    }
    tensor_file_free(&tensor);
    return status;
}

/* Noise levels that the model was not made for, as far as its own settings tell: the user's word goes
 * before them, but not in silence. */
static void note_other_levels(job_t *job) {
    const ddim_config_t *run = &job->scheduler, *model = &job->pipeline.scheduler;
    notes_t *notes = &job->notes;
    static const char where[] = "the model";
    if (run->prediction_type != model->prediction_type && !job->pipeline.prediction_assumed)
        notes_add(notes, "warning: prediction_type %s, where %s has %s",
                  prediction_type_name(run->prediction_type), where,
                  prediction_type_name(model->prediction_type));
    if (run->rescale_betas_zero_snr != model->rescale_betas_zero_snr)
        notes_add(notes, "warning: rescale_betas_zero_snr %s, where %s has the opposite",
                  run->rescale_betas_zero_snr ? "true" : "false", where);
    if (run->beta_schedule != model->beta_schedule || run->beta_start != model->beta_start ||
        run->beta_end != model->beta_end || run->num_train_timesteps != model->num_train_timesteps)
        notes_add(notes,
                  "warning: noise levels %s %g to %g over %d, where %s has %s %g to %g over %d",
                  beta_schedule_name(run->beta_schedule), run->beta_start, run->beta_end,
                  run->num_train_timesteps, where, beta_schedule_name(model->beta_schedule),
                  model->beta_start, model->beta_end, model->num_train_timesteps);
}

/* Euler with a file's settings; DDIM stays, which is said, where they ask of Euler what is not built. */
static void try_euler(job_t *job, const char *path) {
    ddim_config_t config;
    err_t why;
    if (!sampler_read_euler(&job->sampler, &config, path, &why)) job->scheduler = config;
}

/* A file's settings, for the sampler of its class. */
static int read_scheduler(job_t *job, const char *path, err_t *err) {
    if (ddim_config_read(&job->scheduler, path, err)) return -1;
    if (sampler_of_class(job->scheduler.class_name) == SAMPLER_EULER) try_euler(job, path);
    return 0;
}

/* The model's own settings as Euler takes them; what the model predicts may be said elsewhere, by a mark. */
static int choose_euler(job_t *job, bool asked, err_t *err) {
    const ddim_config_t *own = &job->pipeline.scheduler;
    char *path = file_join(job->options->common.files.folder, "scheduler/scheduler_config.json");
    int status = 0;
    job->scheduler = *own;
    if (asked)
        status = sampler_read_euler(&job->sampler, &job->scheduler, path, err);
    else
        try_euler(job, path);
    free(path);
    job->scheduler.prediction_type = own->prediction_type;
    job->scheduler.rescale_betas_zero_snr = own->rescale_betas_zero_snr;
    return status;
}

/* The authors' settings, the model's own, or those of a file. What a model predicts, and whether its noise
 * levels end in nothing but noise, are properties of its weights: the authors' preset takes them from the
 * model. */
static int choose_scheduler(job_t *job, err_t *err) {
    const char *wanted = job->options->scheduler;
    bool euler = sampler_of_class(job->pipeline.scheduler.class_name) == SAMPLER_EULER;
    bool config = strcmp(wanted, "config") == 0;
    if (strcmp(wanted, "euler") == 0 || (config && euler)) {
        if (choose_euler(job, !config, err)) return -1;
    } else if (config) {
        job->scheduler = job->pipeline.scheduler;
    } else if (strcmp(wanted, "authors") == 0) {
        job->scheduler = ddim_config_authors;
        job->scheduler.prediction_type = job->pipeline.scheduler.prediction_type;
        job->scheduler.rescale_betas_zero_snr = job->pipeline.scheduler.rescale_betas_zero_snr;
    } else if (read_scheduler(job, wanted, err)) {
        return -1;
    }
    note_other_levels(job);
    if (job->sampler.kind == SAMPLER_EULER && job->options->eta > 0)
        return err_set(err, "--eta %g: Euler's steps take no noise, leave it out",
                       job->options->eta);
    return 0;
}

/* A run of hours shall not end at something that could be known before it: can all texts be read? */
static int check_texts(const job_t *job, err_t *err) {
    const generate_options_t *o = job->options;
    prompt_options_t syntax = {o->syntax, o->max_chunks};
    for (size_t i = 0; i < o->list.count; i++) {
        const picture_prompt_t *prompt = &o->list.prompt[i];
        const char *const texts[] = {prompt->positive, prompt->negative};
        for (size_t k = 0; k < (prompt->set.scale > 1 ? 2 : 1); k++) {
            prompt_tokens_t tokens;
            if (!prompt_encode(&tokens, job->pipeline.tokenizer[0], &texts[k], NULL, 1, &syntax,
                               err)) {
                prompt_tokens_free(&tokens);
            } else if (o->from_file) {
                return err_prefix(err, "%s: prompt %zu%s", o->from_file, i + 1,
                                  k ? ": its negative prompt" : "");
            } else {
                return err_prefix(err, k ? "--negative" : "--prompt");
            }
        }
    }
    return 0;
}

static int check_writable(const char *path, err_t *err) {
    out_file_t out;
    if (out_file_open(&out, path, "", err)) return -1;
    out_file_abort(&out);
    return 0;
}

/* Is this picture of a list there already? If not, can it be written? Maps of the gates are over all
 * pictures, which then are made all the same; so is one that a sheet shows. */
static int plan_picture(job_t *job, size_t number, err_t *err) {
    const generate_options_t *o = job->options;
    picture_job_t picture;
    char *path = generate_output_path(o, number), *note = NULL;
    int there = 0;
    if (generate_is_list(o) && !o->overwrite) {
        note = note_of(job, picture_of(&picture, job, number));
        there = generate_is_there(path, note, err);
    }
    int status = there < 0 ? -1 : 0;
    job->make[number - 1] = there == 0 || o->gates_png || generate_has_sheet(o);
    if (there == 0) status = check_writable(path, err);
    free(note);
    free(path);
    return status;
}

static int plan_pictures(job_t *job, err_t *err) {
    const generate_options_t *o = job->options;
    size_t count = generate_pictures(o);
    job->make = xcalloc(count, sizeof *job->make);
    job->weights = generate_weights(o);
    for (size_t number = 1; number <= count; number++) {
        if (!generate_is_ours(o, number)) continue;
        if (plan_picture(job, number, err)) return -1;
        if (!job->make[number - 1]) continue;
        job->list.count++;
        job->list.work += work_of(&o->list.prompt[(number - 1) / o->images].set);
    }
    generate_sweep(o);
    return 0;
}

static int check_gates_png(const job_t *job, err_t *err) {
    const generate_options_t *o = job->options;
    if (!o->gates_png) return 0;
    return check_one_size(job, "--gates-png", err);
}

/* Sizes that a model is told where it asks for some. */
static int check_sized(const job_t *job, err_t *err) {
    const generate_options_t *o = job->options;
    if (!o->sized || unet_config(job->pipeline.unet)->added_embedding) return 0;
    return err_set(err,
                   "%s: --original-size, --target-size and --crops-coords-top-left are for a model "
                   "that is told of sizes, which this one is not (addition_embed_type)",
                   o->common.files.folder);
}

static int choose_sizes(job_t *job, err_t *err) {
    const generate_options_t *o = job->options;
    size_t unit = pipeline_size_unit(&job->pipeline), usual = pipeline_default_size(&job->pipeline);
    for (size_t i = 0; i < o->list.count; i++) {
        prompt_settings_t *set = &o->list.prompt[i].set;
        if (!set->width) set->width = usual;
        if (!set->height) set->height = usual;
        if (set->width % unit || set->height % unit)
            return err_set(err, "%zu x %zu pixels: width and height must be multiples of %zu",
                           set->width, set->height, unit);
    }
    return 0;
}

/* A negative prompt that is not given, where the model's folder asks for the other rule. */
static void note_negative_rule(job_t *job) {
    const generate_options_t *o = job->options;
    bool zeros = o->negative_rule == NEGATIVE_ZEROS, missing = false;
    for (size_t i = 0; i < o->list.count; i++)
        missing |= !o->list.prompt[i].has_negative && o->list.prompt[i].set.scale > 1;
    empty_rule_t empty = job->pipeline.empty;
    if (!missing || empty == EMPTY_NOT_SAID || zeros == (empty == EMPTY_ZEROS)) return;
    notes_add(
        &job->notes,
        "note: %s/model_index.json has force_zeros_for_empty_prompt %s, so diffusers %s where "
        "no negative prompt is given; here %s (--negative-rule %s does as diffusers)",
        o->common.files.folder, zeros ? "false" : "true",
        zeros ? "encodes the empty text" : "takes zeros",
        zeros ? "zeros are taken" : "the empty text is encoded", zeros ? "encoded" : "zeros");
}

int generate_plan(job_t *job, err_t *err) {
    note_negative_rule(job);
    return pipeline_check_deviations(&job->pipeline, job->options->deviations, err) ||
                   choose_scheduler(job, err) || choose_sizes(job, err) || check_sized(job, err) ||
                   load_latents(job, err) || check_texts(job, err) || plan_pictures(job, err) ||
                   check_gates_png(job, err)
               ? -1
               : 0;
}
