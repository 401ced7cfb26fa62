/* generate.c - mole generate: prompt in, PNG out. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/generate_options.h"
#include "io/file.h"
#include "io/png.h"
#include "io/tensor_file.h"
#include "io/trace.h"
#include "pipeline/gate_maps.h"

/* Everything a run of the command holds; freed in one place. */
typedef struct {
    const generate_options_t *options;
    pipeline_t pipeline;
    arena_t *arena;
    real_t *latents; /* from --latents, or NULL */
    ddim_config_t scheduler;
    size_t width, height;
    trace_t *trace;
    gate_maps_t *maps;
} job_t;

static int load_latents(job_t *job, err_t *err) {
    const char *path = job->options->latents;
    if (!path) return 0;
    tensor_file_t tensor = {0};
    if (tensor_file_read(&tensor, path, NULL, err)) return -1;
    size_t C = vae_config(job->pipeline.vae)->latent_channels,
           unit = pipeline_size_unit(&job->pipeline);
    shape_t expected = SHAPE4(1, C, job->height / unit, job->width / unit);
    char want[SHAPE_TEXT], have[SHAPE_TEXT];
    int status = 0;
    if (shape_equal(tensor.shape, expected)) {
        size_t n = shape_count(expected);
        job->latents = xmalloc(n * sizeof *job->latents);
        for (size_t j = 0; j < n && !status; j++) {
            job->latents[j] = (real_t)tensor.data[j];
            if (!isfinite(job->latents[j]))
                status = err_set(err, "%s: number %zu of the latents is %g, expected finite ones",
                                 path, j, tensor.data[j]);
        }
    } else {
        status = err_set(err, "%s: expected latents %s for %zu x %zu pixels, found %s", path,
                         shape_text(want, expected), job->width, job->height,
                         shape_text(have, tensor.shape));
    }
    tensor_file_free(&tensor);
    return status;
}

/* The authors' settings, the model's own, or those of a file. A model's prediction type is a property of
 * its weights: the authors' preset takes it from the model. */
static int choose_scheduler(job_t *job, err_t *err) {
    const char *wanted = job->options->scheduler;
    if (strcmp(wanted, "config") == 0) {
        job->scheduler = job->pipeline.scheduler;
        return 0;
    }
    if (strcmp(wanted, "authors") == 0) {
        job->scheduler = ddim_config_authors;
        job->scheduler.prediction_type = job->pipeline.scheduler.prediction_type;
        return 0;
    }
    return ddim_config_read(&job->scheduler, wanted, err);
}

/* A run of hours shall not end at something that could be known before it: can all texts be read? */
static int check_texts(const job_t *job, err_t *err) {
    const generate_options_t *o = job->options;
    prompt_options_t syntax = {o->syntax, o->max_chunks};
    for (size_t i = 0; i < o->prompts; i++) {
        const char *const texts[] = {o->prompt[i].positive, o->prompt[i].negative};
        for (size_t k = 0; k < (o->scale > 1 ? 2 : 1); k++) {
            prompt_tokens_t tokens;
            if (!prompt_encode(&tokens, job->pipeline.tokenizer, &texts[k], NULL, 1, &syntax,
                               err)) {
                prompt_tokens_free(&tokens);
            } else if (o->prompts_from && k == 0) {
                return err_prefix(err, "%s: prompt %zu", o->prompts_from, i + 1);
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

/* Likewise: can all files be written? */
static int check_outputs(const job_t *job, err_t *err) {
    const generate_options_t *o = job->options;
    int status = 0;
    for (size_t number = 1; !status && number <= o->prompts * o->images; number++) {
        char *path = generate_output_path(o, number);
        status = check_writable(path, err);
        free(path);
    }
    if (status || !o->gates_png) return status;
    bool made = mkdir(o->gates_png, 0777) == 0;
    if (!made && errno != EEXIST)
        return err_set(err, "%s: cannot be made: %s", o->gates_png, strerror(errno));
    char *probe = file_join(o->gates_png, "probe.png");
    status = check_writable(probe, err);
    free(probe);
    if (made) rmdir(o->gates_png);
    return status;
}

static int choose_size(job_t *job, err_t *err) {
    const generate_options_t *o = job->options;
    size_t unit = pipeline_size_unit(&job->pipeline), usual = pipeline_default_size(&job->pipeline);
    job->width = o->width ? o->width : usual;
    job->height = o->height ? o->height : usual;
    if (job->width % unit == 0 && job->height % unit == 0) return 0;
    return err_set(err, "%zu x %zu pixels: width and height must be multiples of %zu", job->width,
                   job->height, unit);
}

/* What was used, in the form that Stable Diffusion tools read: the "parameters" of a picture. */
static char *parameters(const job_t *job, const generate_prompt_t *prompt, uint64_t seed,
                        const char *experts) {
    const generate_options_t *o = job->options;
    const ddim_config_t *s = &job->scheduler;
    const char *folder = strrchr(o->common.files.folder, '/');
    return xasprintf(
        "%s\nNegative prompt: %s\nSteps: %zu, Sampler: DDIM, CFG scale: %g, Seed: %llu, "
        "Size: %zux%zu, Model: %s, Eta: %g, MoLE experts: %s, Timestep spacing: %s, Steps "
        "offset: %d, Set alpha to one: %s, Prediction type: %s, RNG: %s, Precision: %s",
        prompt->positive, prompt->negative, o->steps, o->scale, (unsigned long long)seed,
        job->width, job->height, folder && folder[1] ? folder + 1 : o->common.files.folder, o->eta,
        experts, timestep_spacing_name(s->timestep_spacing), s->steps_offset,
        s->set_alpha_to_one ? "true" : "false", prediction_type_name(s->prediction_type),
        o->noise == NOISE_CPU ? "CPU" : "GPU", REAL_NAME);
}

static int save(const job_t *job, const char *path, const generate_prompt_t *prompt, uint64_t seed,
                const real_t *image, err_t *err) {
    char experts[512];
    uint8_t *pixels = xmalloc(3 * job->width * job->height);
    pipeline_to_rgb8(pixels, image, job->height, job->width);
    cli_experts_text(&job->options->common, experts, sizeof experts);
    char *text = parameters(job, prompt, seed, experts);
    picture_text_t note = {"parameters", text};
    int status = picture_write(path, pixels, job->width, job->height, 3, &note, 1, err);
    free(text);
    free(pixels);
    return status;
}

/* One picture of one prompt; `text` is shared by the pictures of a prompt. */
static int make_image(const job_t *job, const run_t *run, pipeline_text_t *text,
                      const generate_prompt_t *prompt, uint64_t seed, const char *path,
                      err_t *err) {
    const generate_options_t *o = job->options;
    progress_t progress;
    pipeline_image_t settings = {.width = job->width,
                                 .height = job->height,
                                 .steps = o->steps,
                                 .guidance_scale = o->scale,
                                 .eta = o->eta,
                                 .seed = seed,
                                 .noise = o->noise,
                                 .latents = job->latents,
                                 .scheduler = job->scheduler,
                                 .progress = progress_step,
                                 .who = &progress};
    if (pipeline_check_memory(run, &job->pipeline, text, &settings, err)) return -1;
    arena_mark_t mark = arena_mark(run->arena);
    real_t *image = arena_reals(run->arena, 3 * job->width * job->height);
    progress_start(&progress, path, o->quiet);
    int status = pipeline_generate(run, &job->pipeline, text, &settings, image, err);
    progress_end(&progress);
    if (!status) status = save(job, path, prompt, seed, image, err);
    arena_release(run->arena, mark);
    if (!status)
        printf("%s  seed %llu, %.1f s\n", path, (unsigned long long)seed,
               clock_seconds() - progress.start);
    return status;
}

/* All pictures of one prompt. `number` counts pictures over all prompts, for their names. */
static int make_prompt(const job_t *job, const run_t *run, const generate_prompt_t *prompt,
                       size_t *number, err_t *err) {
    const generate_options_t *o = job->options;
    arena_mark_t mark = arena_mark(run->arena);
    prompt_options_t syntax = {o->syntax, o->max_chunks};
    pipeline_text_t text;
    bool guided = o->scale > 1;
    int status = pipeline_encode(run, &job->pipeline, prompt->positive, prompt->negative, guided,
                                 &syntax, &text, err);
    if (!status && (text.truncated[0] || (guided && text.truncated[1])))
        fprintf(stderr,
                "mole generate: warning: the %s is longer than %zu chunk(s) of tokens; the rest "
                "is cut off (--max-chunks)\n",
                guided && text.truncated[0] ? "negative prompt" : "prompt", o->max_chunks);
    for (size_t i = 0; !status && i < o->images; i++, ++*number) {
        char *path = generate_output_path(o, *number);
        status = make_image(job, run, &text, prompt, o->seed + i, path, err);
        free(path);
    }
    arena_release(run->arena, mark);
    return status;
}

static void announce(const job_t *job) {
    const generate_options_t *o = job->options;
    const ddim_config_t *s = &job->scheduler;
    char experts[512];
    printf("model      %s\n", o->common.files.folder);
    printf("experts    %s", cli_experts_text(&o->common, experts, sizeof experts));
    if (job->pipeline.mole_layers) printf(", %zu layers wrapped", job->pipeline.mole_layers);
    printf("\nsettings   %zux%zu, %zu steps, guidance %g, seed %llu (torch %s)\n", job->width,
           job->height, o->steps, o->scale, (unsigned long long)o->seed,
           o->noise == NOISE_CPU ? "CPU" : "CUDA");
    printf("scheduler  DDIM, %s: %s, steps_offset %d, set_alpha_to_one %s, clip_sample %s, %s, eta "
           "%g\n",
           o->scheduler, timestep_spacing_name(s->timestep_spacing), s->steps_offset,
           s->set_alpha_to_one ? "true" : "false", s->clip_sample ? "true" : "false",
           prediction_type_name(s->prediction_type), o->eta);
    printf("numbers    %s, matmul %s, mole %s\n", REAL_NAME,
           o->common.matmul == MATMUL_BLAS ? "blas" : "plain",
           o->common.form == MOLE_DIRECT ? "direct" : "stacked");
    for (size_t i = 0; i < o->prompts; i++) printf("prompt     %s\n", o->prompt[i].positive);
    fflush(stdout);
}

/* The sinks of a run: maps of the gates, then the trace. */
static int open_sinks(job_t *job, run_t *run, err_t *err) {
    const generate_options_t *o = job->options;
    if (o->trace && trace_open(&job->trace, o->trace, o->trace_inputs, err)) return -1;
    if (job->trace) {
        trace_metadata(job->trace, "prompt", o->prompt[0].positive);
        trace_metadata(job->trace, "negative_prompt", o->prompt[0].negative);
        run->sink = trace_sink(job->trace);
    }
    if (!o->gates_png) return 0;
    size_t unit = pipeline_size_unit(&job->pipeline);
    job->maps =
        gate_maps_new(&o->common.files.mole, job->height / unit, job->width / unit, run->sink);
    run->sink = gate_maps_sink(job->maps);
    return 0;
}

/* Output that belongs to the whole run; on failure nothing of it is left. */
static int close_sinks(job_t *job, int status, err_t *err) {
    const generate_options_t *o = job->options;
    size_t taps = job->trace ? trace_count(job->trace) : 0;
    if (job->trace) status |= trace_close(job->trace, !status, err);
    if (!status && job->trace) printf("%s  %zu taps\n", o->trace, taps);
    if (!status && job->maps) {
        status = gate_maps_write(job->maps, o->gates_png, err);
        if (!status)
            printf("%s/  gate maps of %zu experts\n", o->gates_png, o->common.files.mole.experts);
    }
    gate_maps_free(job->maps);
    return status;
}

static int run_job(job_t *job, err_t *err) {
    const generate_options_t *o = job->options;
    progress_catch_interrupt();
    if (choose_scheduler(job, err) || choose_size(job, err) || load_latents(job, err) ||
        check_texts(job, err) || check_outputs(job, err))
        return -1;
    if (arena_create(&job->arena, 0, err)) return -1;
    run_t run = {.arena = job->arena,
                 .matmul = o->common.matmul,
                 .conv = o->common.conv,
                 .form = o->common.form};
    if (!o->quiet) announce(job);
    int status = open_sinks(job, &run, err);
    if (status) return status;
    size_t number = 1;
    for (size_t i = 0; !status && i < o->prompts; i++)
        status = make_prompt(job, &run, &o->prompt[i], &number, err);
    return close_sinks(job, status, err);
}

int cli_generate(int argc, char **argv) {
    generate_options_t options;
    int usage = generate_options_parse(&options, argc, argv);
    if (usage >= 0) return usage;
    err_t err;
    job_t job = {.options = &options};
    int status = pipeline_open(&job.pipeline, &options.common.files, &err);
    if (!status) {
        status = run_job(&job, &err);
        pipeline_close(&job.pipeline);
    }
    arena_destroy(job.arena);
    free(job.latents);
    generate_options_free(&options);
    return status ? cli_input_error("generate", &err) : 0;
}
