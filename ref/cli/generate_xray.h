/* generate_xray.h - --xray FILE.html: a page of a picture being made. */
#ifndef MOLE_CLI_GENERATE_XRAY_H
#define MOLE_CLI_GENERATE_XRAY_H

#include "cli/generate_job.h"

/* Watch the run: its sink becomes the page's, which passes everything on. Nothing where no page is wanted.
 * Returns 0, or -1 and err. xray_close(job->xray) is due. */
int generate_xray_open(job_t *job, run_t *run, const pipeline_image_t *settings, err_t *err);
/* After the picture: `image` (3,height,width) is it. Decodes the steps and writes the page; the UNet may be
 * closed. Returns 0, or -1 and err (stopped, too). */
int generate_xray_finish(job_t *job, const run_t *run, const picture_job_t *picture,
                         const pipeline_image_t *settings, const real_t *image, err_t *err);

#endif
