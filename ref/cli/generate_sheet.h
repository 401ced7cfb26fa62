/* generate_sheet.h - --sheet, --steps-png and --gates-png FILE.png: how a picture came about. */
#ifndef MOLE_CLI_GENERATE_SHEET_H
#define MOLE_CLI_GENERATE_SHEET_H

#include "cli/generate_job.h"

/* Watch the run: its sink becomes the sheet's, which passes everything on. Nothing where no sheet is wanted.
 * Returns 0, or -1 and err. sheet_close(job->sheet) is due. */
int generate_sheet_open(job_t *job, run_t *run, const pipeline_image_t *settings, err_t *err);
/* After the picture: `image` (3,height,width) is it. Makes the runs without some experts, decodes what is
 * shown of the steps, writes the files. Closes the UNet. Returns 0, or -1 and err (stopped, too). */
int generate_sheet_finish(job_t *job, const run_t *run, pipeline_text_t *text,
                          const picture_job_t *picture, const pipeline_image_t *settings,
                          const real_t *image, err_t *err);

#endif
