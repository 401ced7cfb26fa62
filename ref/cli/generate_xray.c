/* generate_xray.c - see generate_xray.h. */
#include "cli/generate_xray.h"

#include <stdio.h>
#include <stdlib.h>

int generate_xray_open(job_t *job, run_t *run, const pipeline_image_t *settings, err_t *err) {
    const generate_options_t *o = job->options;
    xray_what_t what = {&job->pipeline,
                        settings,
                        &o->common.files.mole,
                        o->list.prompt[0].positive,
                        {o->syntax, o->max_chunks}};
    if (!o->xray) return 0;
    if (xray_open(&job->xray, &what, run->sink, err)) return -1;
    run->sink = xray_sink(job->xray);
    return 0;
}

int generate_xray_finish(job_t *job, const run_t *run, const picture_job_t *picture,
                         const pipeline_image_t *settings, const real_t *image, err_t *err) {
    uint8_t *pixels = xmalloc(3 * settings->width * settings->height);
    pipeline_to_rgb8(pixels, image, settings->height, settings->width);
    xray_picture(job->xray, pixels);
    free(pixels);
    for (size_t i = 0; i < xray_steps(job->xray); i++) {
        if (progress_interrupted()) return err_set(err, "stopped before the page was written");
        xray_decode(job->xray, run, i);
    }
    char *note = note_of(job, picture);
    int status = xray_write(job->xray, job->options->xray, note, err);
    if (!status) printf("%s  X-ray page\n", job->options->xray);
    fflush(stdout);
    free(note);
    return status;
}
