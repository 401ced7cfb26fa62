/* generate.c - mole generate: prompt in, PNG out. What is to be made is decided in generate_plan.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/generate_job.h"
#include "cli/generate_note.h"
#include "cli/generate_sheet.h"
#include "cli/generate_xray.h"
#include "cli/profile.h"
#include "io/file.h"
#include "io/png.h"

/* Texts are encoded ahead up to so many bytes, less than the text encoder of v1.5 takes. */
static const size_t embeddings_limit = (size_t)256 << 20;

/* ---- text ----------------------------------------------------------------------------------------- */

static pipeline_image_t settings_of(const job_t *job, const picture_job_t *picture) {
    const prompt_settings_t *set = &picture->prompt->set;
    return (pipeline_image_t){.width = set->width,
                              .height = set->height,
                              .steps = set->steps,
                              .guidance_scale = set->scale,
                              .eta = job->options->eta,
                              .seed = picture->seed,
                              .noise = job->options->noise,
                              .latents = job->latents,
                              .scheduler = job->scheduler,
                              .sampler = job->sampler,
                              .size = job->options->size};
}

/* Does this shard make a picture of the prompt? */
static bool is_wanted(const job_t *job, size_t prompt) {
    size_t images = job->options->images;
    for (size_t i = 0; i < images; i++)
        if (job->make[prompt * images + i]) return true;
    return false;
}

static int embed(const job_t *job, const run_t *run, size_t prompt, pipeline_text_t *text,
                 err_t *err) {
    const generate_options_t *o = job->options;
    const picture_prompt_t *p = &o->list.prompt[prompt];
    bool guided = p->set.scale > 1;
    pipeline_prompt_t words = {p->positive,
                               p->has_negative ? p->negative : NULL,
                               o->negative_rule,
                               guided,
                               {o->syntax, o->max_chunks}};
    if (pipeline_embed(run, &job->pipeline, &words, text, err)) return -1;
    picture_job_t first;
    pipeline_image_t settings = settings_of(job, picture_of(&first, job, prompt * o->images + 1));
    if (pipeline_check_memory(run, &job->pipeline, text, &settings, err)) return -1;
    if (text->truncated[0] || (guided && text->truncated[1]))
        fprintf(stderr,
                "mole generate: warning: the %s is longer than %zu chunk(s) of tokens; the rest "
                "is cut off (--max-chunks)\n",
                guided && text->truncated[0] ? "negative prompt" : "prompt", o->max_chunks);
    return 0;
}

/* All texts at once, after which the text encoder is no longer needed. Not when they would take more memory
 * than it does: a list of thousands is encoded prompt by prompt. */
static int embed_all(job_t *job, const run_t *run, err_t *err) {
    const generate_options_t *o = job->options;
    size_t rows = 2 * o->max_chunks * tokenizer_info(job->pipeline.tokenizer[0])->max_length;
    size_t bytes = rows * unet_config(job->pipeline.unet)->cross_attention_dim * sizeof(real_t);
    if (job->list.count > embeddings_limit / bytes) return 0;
    job->text = xcalloc(o->list.count, sizeof *job->text);
    for (size_t i = 0; i < o->list.count; i++)
        if (is_wanted(job, i) && embed(job, run, i, &job->text[i], err)) return -1;
    pipeline_drop_text_encoders(&job->pipeline);
    return 0;
}

/* ---- pictures ------------------------------------------------------------------------------------- */

static int save(const job_t *job, const char *path, const picture_job_t *picture,
                const real_t *image, err_t *err) {
    size_t width = picture->prompt->set.width, height = picture->prompt->set.height;
    uint8_t *pixels = xmalloc(3 * width * height);
    pipeline_to_rgb8(pixels, image, height, width);
    char *text = note_of(job, picture);
    picture_text_t note = {GENERATE_NOTE, text};
    int status = picture_write(path, pixels, width, height, 3, &note, 1, err);
    free(text);
    free(pixels);
    return status;
}

/* Denoise and decode; after the last denoising the UNet and the experts go, unless a sheet needs them. */
static int draw(job_t *job, const run_t *run, pipeline_text_t *text,
                const pipeline_image_t *settings, real_t *image, err_t *err) {
    real_t *latents = arena_reals(run->arena, pipeline_latents(&job->pipeline, settings));
    if (pipeline_denoise(run, &job->pipeline, text, settings, latents, err)) return -1;
    if (job->list.number == job->list.count && !job->sheet) pipeline_drop_unet(&job->pipeline);
    pipeline_decode(run, &job->pipeline, settings, latents, image);
    return 0;
}

/* Whether all are numbers. A picture of NaN would be a black file that nobody asks about; said is which, and
 * the run goes on: its trace tells where the first came from. */
static bool is_picture(job_t *job, const char *path, const real_t *image, size_t count) {
    size_t bad = 0;
    for (size_t i = 0; i < count; i++) bad += isnan(image[i]) != 0;
    if (!bad) return true;
    job->black++;
    cli_say("mole generate: %s: not written: %zu of its %zu numbers are NaN. Of a --trace, mole "
            "inspect --ranges names the taps that have them",
            path, bad, count);
    return false;
}

/* One picture; `text` is shared by the pictures of a prompt. */
static int make_image(job_t *job, const run_t *run, pipeline_text_t *text,
                      const picture_job_t *picture, const char *path, err_t *err) {
    progress_t progress;
    pipeline_image_t settings = settings_of(job, picture);
    settings.progress = progress_step;
    settings.who = &progress;
    if (pipeline_check_memory(run, &job->pipeline, text, &settings, err)) return -1;
    arena_mark_t mark = arena_mark(run->arena);
    real_t *image = arena_reals(run->arena, 3 * settings.width * settings.height);
    job->list.number++;
    job->list.now = work_of(&picture->prompt->set);
    progress_start(&progress, path, job->options->quiet,
                   generate_is_list(job->options) ? &job->list : NULL);
    int status = draw(job, run, text, &settings, image, err);
    progress_end(&progress);
    bool whole = !status && is_picture(job, path, image, 3 * settings.width * settings.height);
    if (whole) status = save(job, path, picture, image, err);
    if (whole && !status) {
        job->list.done += job->list.now;
        cli_print("%s  seed %llu, %.1f s", path, (unsigned long long)picture->seed,
                  clock_seconds() - progress.start);
        fflush(stdout);
        if (job->sheet)
            status = generate_sheet_finish(job, run, text, picture, &settings, image, err);
        if (!status && job->xray)
            status = generate_xray_finish(job, run, picture, &settings, image, err);
    }
    arena_release(run->arena, mark);
    return status;
}

/* All pictures of one prompt. */
static int make_prompt(job_t *job, const run_t *run, size_t prompt, err_t *err) {
    const generate_options_t *o = job->options;
    arena_mark_t mark = arena_mark(run->arena);
    pipeline_text_t text = {0};
    int status = 0;
    if (is_wanted(job, prompt)) {
        if (job->text)
            text = job->text[prompt];
        else
            status = embed(job, run, prompt, &text, err);
        if (!status) pipeline_context(run, &job->pipeline, &text);
    }
    for (size_t i = 0; !status && i < o->images; i++) {
        picture_job_t picture;
        picture_of(&picture, job, prompt * o->images + i + 1);
        if (!generate_is_ours(o, picture.number)) continue;
        char *path = generate_output_path(o, picture.number);
        if (job->make[picture.number - 1])
            status = make_image(job, run, &text, &picture, path, err);
        else
            cli_print("%s  there already", path);
        free(path);
    }
    arena_release(run->arena, mark);
    return status;
}

static int make_all(job_t *job, const run_t *run, err_t *err) {
    const generate_options_t *o = job->options;
    int status = embed_all(job, run, err);
    job->list.start = clock_seconds();
    for (size_t i = 0; !status && i < o->list.count; i++) status = make_prompt(job, run, i, err);
    if (status && progress_interrupted() && generate_is_list(o))
        err_prefix(err, "the same command goes on from here (%zu of %zu pictures to make)",
                   job->list.count - job->list.number + 1, job->list.count);
    return status;
}

static void announce_list(const job_t *job) {
    const generate_options_t *o = job->options;
    size_t ours = 0;
    for (size_t number = 1; number <= generate_pictures(o); number++)
        ours += generate_is_ours(o, number);
    printf("list       %zu prompts, %zu pictures", o->list.count, generate_pictures(o));
    if (o->shards > 1) printf("; of shard %zu/%zu: %zu", o->shard, o->shards, ours);
    if (ours > job->list.count) printf("; there already: %zu", ours - job->list.count);
    printf("\n");
}

static void announce_scheduler(const job_t *job) {
    const generate_options_t *o = job->options;
    const ddim_config_t *s = &job->scheduler;
    printf("scheduler  %s, %s: %s, steps_offset %d, ", sampler_name(job->sampler.kind),
           o->scheduler, timestep_spacing_name(s->timestep_spacing), s->steps_offset);
    if (job->sampler.kind == SAMPLER_DDIM)
        printf("set_alpha_to_one %s, clip_sample %s, %s, eta %g",
               s->set_alpha_to_one ? "true" : "false", s->clip_sample ? "true" : "false",
               prediction_type_name(s->prediction_type), o->eta);
    else
        printf("final_sigmas_type %s, %s", job->sampler.final_sigma_min ? "sigma_min" : "zero",
               prediction_type_name(s->prediction_type));
    printf("%s\n", s->rescale_betas_zero_snr ? ", rescale_betas_zero_snr" : "");
}

static void announce(const job_t *job) {
    const generate_options_t *o = job->options;
    const prompt_settings_t *set = &o->list.prompt[0].set;
    char experts[512];
    cli_print("model      %s", o->common.files.folder);
    printf("experts    %s", cli_experts_text(&o->common, experts, sizeof experts));
    if (job->pipeline.mole_layers) printf(", %zu layers wrapped", job->pipeline.mole_layers);
    char *asked = what_if_text(&o->what_if, &o->common.files.mole);
    if (asked[0]) printf("\nwhat if    %s", asked + 2);
    free(asked);
    printf("\nsettings   %zux%zu, %zu steps, guidance %g, seed %llu (torch %s)\n", set->width,
           set->height, set->steps, set->scale, (unsigned long long)set->seed,
           o->noise == NOISE_CPU ? "CPU" : "CUDA");
    announce_scheduler(job);
    if (job->pipeline.marked_by[0]) printf("marked by  %s\n", job->pipeline.marked_by);
    printf("numbers    %s, matmul %s, mole %s\n", REAL_NAME,
           o->common.matmul == MATMUL_BLAS ? "blas" : "plain",
           o->common.form == MOLE_DIRECT ? "direct" : "stacked");
    if (generate_is_list(o)) announce_list(job);
    if (!o->from_file) printf("prompt     %s\n", o->list.prompt[0].positive);
    fflush(stdout);
}

/* The sinks of a run: a profile, an X-ray page, a sheet, maps of the gates, lines on the screen, then the
 * trace. */
static int open_sinks(job_t *job, run_t *run, err_t *err) {
    const generate_options_t *o = job->options;
    if (o->trace && trace_open(&job->trace, o->trace, o->trace_inputs, err)) return -1;
    if (job->trace) {
        trace_metadata(job->trace, "prompt", o->list.prompt[0].positive);
        trace_metadata(job->trace, "negative_prompt", o->list.prompt[0].negative);
        run->sink = trace_sink(job->trace);
    }
    if (o->peek) {
        peek_taps_start(&job->peek, o->peek, o->peek_stop, run->sink);
        run->sink = &job->peek.sink;
    }
    if (o->gates_png && !generate_gates_file(o)) {
        size_t unit = pipeline_size_unit(&job->pipeline);
        const prompt_settings_t *set = &o->list.prompt[0].set;
        job->maps =
            gate_maps_new(&o->common.files.mole, set->height / unit, set->width / unit, run->sink);
        run->sink = gate_maps_sink(job->maps);
    }
    picture_job_t first;
    pipeline_image_t settings = settings_of(job, picture_of(&first, job, 1));
    if (generate_sheet_open(job, run, &settings, err)) return -1;
    if (generate_xray_open(job, run, &settings, err)) return -1;
    if (o->profile || o->profile_json) {
        pipeline_component_t component[PIPELINE_COMPONENTS];
        modules_t sets[PIPELINE_COMPONENTS];
        size_t count = pipeline_components(&job->pipeline, component);
        for (size_t i = 0; i < count; i++) sets[i] = component[i].modules;
        profile_start(&job->profile, sets, count, run->sink);
        run->sink = &job->profile.sink;
    }
    return 0;
}

/* A name that --peek waited for in vain. */
static void warn_unseen(job_t *job) {
    char shown[SHOWN_TEXT];
    size_t said = job->notes.count;
    notes_add(&job->notes, "warning: --peek: no tap of this run matches '%s'",
              text_shown(shown, job->options->peek));
    cli_print_notes("generate", &job->notes, said);
}

/* Output that belongs to the whole run; on failure nothing of it is left. */
static int close_sinks(job_t *job, int status, err_t *err) {
    const generate_options_t *o = job->options;
    size_t taps = job->trace ? trace_count(job->trace) : 0;
    if (job->trace) status |= trace_close(job->trace, !status, err);
    if (!status && job->trace) cli_print("%s  %zu taps", o->trace, taps);
    if (!status && o->peek && !job->peek.shown) warn_unseen(job);
    if (!status && job->maps) {
        status = gate_maps_write(job->maps, o->gates_png, err);
        if (!status)
            cli_print("%s/  gate maps of %zu experts", o->gates_png, o->common.files.mole.experts);
    }
    gate_maps_free(job->maps);
    sheet_close(job->sheet);
    xray_close(job->xray);
    if (!status && o->profile) cli_print_profile(&job->profile);
    if (!status && o->profile_json) status = cli_write_profile(&job->profile, o->profile_json, err);
    profile_free(&job->profile);
    return status;
}

static int run_job(job_t *job, err_t *err) {
    const generate_options_t *o = job->options;
    size_t said = job->notes.count;
    progress_catch_interrupt();
    if (generate_plan(job, err)) return -1;
    cli_print_notes("generate", &job->notes, said);
    if (arena_create(&job->arena, 0, err)) return -1;
    bool config = strcmp(o->scheduler, "config") == 0;
    if (job->sampler.kind == SAMPLER_DDIM)
        cli_warn_scheduler("generate", config ? o->common.files.folder : o->scheduler,
                           &job->scheduler);
    run_t run = {.arena = job->arena,
                 .matmul = o->common.matmul,
                 .conv = o->common.conv,
                 .form = o->common.form,
                 .deviations = o->deviations,
                 .what_if = what_if_run(&o->what_if)};
    if (!o->quiet) announce(job);
    int status = open_sinks(job, &run, err);
    if (!status) status = make_all(job, &run, err);
    return close_sinks(job, status, err);
}

/* More machines than pictures: some have nothing to do. */
static bool has_work(const generate_options_t *o) {
    if (o->shard <= generate_pictures(o)) return true;
    if (!o->quiet)
        printf("list       %zu pictures; of shard %zu/%zu: none\n", generate_pictures(o), o->shard,
               o->shards);
    return false;
}

static bool is_scheduler_file(const char *scheduler) {
    return strcmp(scheduler, "authors") != 0 && strcmp(scheduler, "config") != 0 &&
           strcmp(scheduler, "euler") != 0;
}

int cli_generate(int argc, char **argv) {
    generate_options_t options;
    int usage = generate_options_parse(&options, argc, argv);
    if (usage >= 0) return usage;
    err_t err;
    job_t job = {.options = &options};
    int status = 0;
    if (has_work(&options)) {
        options.common.files.notes = &job.notes;
        options.common.files.scheduler_given = is_scheduler_file(options.scheduler);
        status = pipeline_open(&job.pipeline, &options.common.files, &err);
        cli_print_notes("generate", &job.notes, 0);
        if (!status) status = run_job(&job, &err);
        pipeline_close(&job.pipeline);
    }
    arena_destroy(job.arena);
    notes_free(&job.notes);
    free(job.latents);
    free(job.make);
    free(job.text);
    generate_options_free(&options);
    if (status) return cli_input_error("generate", &err);
    return job.black ? EXIT_INPUT : 0;
}
