/* generate_sheet.c - see generate_sheet.h. */
#include "cli/generate_sheet.h"

#include <stdio.h>
#include <stdlib.h>

/* The files, and of what each. */
typedef struct {
    const char *path, *what;
    unsigned parts;
} wanted_t;

enum { FILES = 3 };

static void list_files(wanted_t wanted[FILES], const generate_options_t *o) {
    wanted[0] = (wanted_t){o->sheet, "contact sheet", SHEET_ALL};
    wanted[1] = (wanted_t){o->steps_png, "steps", SHEET_STEPS};
    wanted[2] = (wanted_t){generate_gates_file(o), "gates", SHEET_GATES};
}

static unsigned parts_of(const generate_options_t *o) {
    wanted_t wanted[FILES];
    unsigned parts = 0;
    list_files(wanted, o);
    for (size_t i = 0; i < FILES; i++)
        if (wanted[i].path) parts |= wanted[i].parts;
    return parts;
}

int generate_sheet_open(job_t *job, run_t *run, const pipeline_image_t *settings, err_t *err) {
    const generate_options_t *o = job->options;
    sheet_what_t what = {.pipeline = &job->pipeline,
                         .image = settings,
                         .experts = &o->common.files.mole,
                         .what_if = run->what_if,
                         .prompt = o->list.prompt[0].positive,
                         .syntax = {o->syntax, o->max_chunks},
                         .parts = parts_of(o),
                         .word = o->sheet_word};
    if (!what.parts) return 0;
    if (sheet_open(&job->sheet, &what, run->sink, err)) return -1;
    run->sink = sheet_sink(job->sheet);
    return 0;
}

static void keep(job_t *job, size_t i, const pipeline_image_t *settings, const real_t *image) {
    uint8_t *pixels = xmalloc(3 * settings->width * settings->height);
    pipeline_to_rgb8(pixels, image, settings->height, settings->width);
    sheet_picture(job->sheet, i, pixels);
    free(pixels);
}

/* The same picture, with what run i asks of the experts; what the network made of the text is not its own.
 * The arena holds no more than in the run that is watched. */
static int draw(job_t *job, const run_t *run, size_t i, pipeline_text_t *text,
                const pipeline_image_t *settings, err_t *err) {
    run_t other = *run;
    other.sink = NULL;
    other.what_if = sheet_run(job->sheet, i);
    text->context.ready = false;
    real_t *latents = xmalloc(pipeline_latents(&job->pipeline, settings) * sizeof *latents);
    real_t *image = xmalloc(3 * settings->width * settings->height * sizeof *image);
    int status = pipeline_denoise(&other, &job->pipeline, text, settings, latents, err);
    if (!status) {
        pipeline_decode(&other, &job->pipeline, settings, latents, image);
        keep(job, i, settings, image);
    }
    free(latents);
    free(image);
    return status;
}

static int draw_with_progress(job_t *job, const run_t *run, size_t i, pipeline_text_t *text,
                              const pipeline_image_t *settings, err_t *err) {
    progress_t progress;
    pipeline_image_t watched = *settings;
    char *label = xasprintf("%s: %s", job->options->sheet, sheet_run_label(job->sheet, i));
    watched.progress = progress_step;
    watched.who = &progress;
    progress_start(&progress, label, job->options->quiet, NULL);
    int status = draw(job, run, i, text, &watched, err);
    progress_end(&progress);
    free(label);
    return status;
}

static int write_files(const job_t *job, const picture_job_t *picture, err_t *err) {
    wanted_t wanted[FILES];
    char *note = note_of(job, picture);
    int status = 0;
    list_files(wanted, job->options);
    for (size_t i = 0; !status && i < FILES; i++) {
        if (!wanted[i].path) continue;
        status = sheet_write(job->sheet, wanted[i].parts, wanted[i].path, note, err);
        if (!status) cli_print("%s  %s", wanted[i].path, wanted[i].what);
    }
    fflush(stdout);
    free(note);
    return status;
}

int generate_sheet_finish(job_t *job, const run_t *run, pipeline_text_t *text,
                          const picture_job_t *picture, const pipeline_image_t *settings,
                          const real_t *image, err_t *err) {
    size_t runs = sheet_runs(job->sheet);
    keep(job, runs, settings, image);
    for (size_t i = 0; i < runs; i++)
        if (draw_with_progress(job, run, i, text, settings, err)) return -1;
    pipeline_drop_unet(&job->pipeline);
    for (size_t i = 0; i < sheet_steps(job->sheet); i++) {
        if (progress_interrupted()) return err_set(err, "stopped before the sheet was written");
        sheet_decode(job->sheet, run, i);
    }
    return write_files(job, picture, err);
}
