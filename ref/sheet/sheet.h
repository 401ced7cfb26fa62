/* sheet.h - one labelled picture of how a picture came about.
 *
 *   sheet_open; a run whose taps go to sheet_sink; the runs without some experts (sheet_run); sheet_decode;
 *   sheet_write, as often as one likes; sheet_close
 *
 * Read before: record.h, layout.h. */
#ifndef MOLE_SHEET_SHEET_H
#define MOLE_SHEET_SHEET_H

#include "sheet/layout.h"

typedef struct sheet sheet_t;

typedef struct {
    const pipeline_t *pipeline;
    const pipeline_image_t *image;
    const mole_files_t *experts;
    const mole_what_if_t *what_if; /* of the run that is watched; NULL: as trained */
    const char *prompt;            /* as it is encoded, with which syntax */
    prompt_options_t syntax;
    unsigned parts;   /* of sheet_parts_t: what will be asked of sheet_write */
    const char *word; /* to show attention to; NULL: word_usual's */
} sheet_what_t;

/* The pipeline and the names of the experts stay until sheet_close. Returns 0, or -1 and err: settings that
 * make no schedule, a word that is not in the prompt. On success sheet_close is due. */
int sheet_open(sheet_t **sheet, const sheet_what_t *what, tap_sink_t *next, err_t *err);
void sheet_close(sheet_t *sheet);

/* The sink of the run; `next` of sheet_open also gets every tap. */
tap_sink_t *sheet_sink(sheet_t *sheet);

/* Runs to make besides the one that is watched, of the same prompt, seed and settings: without experts, and,
 * of several, with each alone. 0 where no pictures are wanted. What to ask of run i, and what to call it. */
size_t sheet_runs(const sheet_t *sheet);
const mole_what_if_t *sheet_run(const sheet_t *sheet, size_t i);
const char *sheet_run_label(const sheet_t *sheet, size_t i);

/* The picture that run i made, (height,width,3), which is copied; i = sheet_runs(): that of the run that is
 * watched. */
void sheet_picture(sheet_t *sheet, size_t i, const uint8_t *pixels);
/* Decode what the network took for the picture in the steps that are shown, one by one, all before
 * sheet_write is asked for them: how many there are, and the i-th. Needs of the pipeline the VAE alone, and
 * of the arena no more than the picture did. */
size_t sheet_steps(const sheet_t *sheet);
void sheet_decode(sheet_t *sheet, const run_t *run, size_t i);

/* These parts of what was opened, as far as there is something to show, to a PNG. The first line of `note` is
 * its title, the others stand below; all of it goes with the PNG as the text `parameters`. Returns 0, or -1
 * and err. */
int sheet_write(const sheet_t *sheet, unsigned parts, const char *path, const char *note,
                err_t *err);

#endif
