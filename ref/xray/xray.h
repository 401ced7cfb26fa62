/* xray.h - one self-contained page of one picture being made: mole generate --xray.
 *
 *   xray_open; a run whose taps go to xray_sink; xray_picture; xray_decode of each step; xray_write;
 *   xray_close
 *
 * Read before: watch.h, for what is kept. */
#ifndef MOLE_XRAY_XRAY_H
#define MOLE_XRAY_XRAY_H

#include "xray/watch.h"

typedef struct xray xray_t;

typedef struct {
    const pipeline_t *pipeline;
    const pipeline_image_t *image;
    const mole_files_t *experts;
    const char *prompt; /* as it is encoded, with which syntax */
    prompt_options_t syntax;
} xray_what_t;

/* The pipeline, of it the UNet until the run is over, and the names of the experts stay until xray_close.
 * Returns 0, or -1 and err: settings that make no schedule. On success xray_close is due. */
int xray_open(xray_t **xray, const xray_what_t *what, tap_sink_t *next, err_t *err);
void xray_close(xray_t *xray); /* NULL is allowed */

/* The sink of the run; `next` of xray_open also gets every tap. */
tap_sink_t *xray_sink(xray_t *xray);

/* The picture that was made, (height,width,3). */
void xray_picture(xray_t *xray, const uint8_t *pixels);
/* Decode what the network took for the picture, of the steps of the slider: how many there are, and the i-th.
 * Needs of the pipeline the VAE alone, and of the arena no more than the picture did. */
size_t xray_steps(const xray_t *xray);
void xray_decode(xray_t *xray, const run_t *run, size_t i);

/* The page. `note` is what the picture says of itself: its first line the prompt. Returns 0, or -1 and
 * err. */
int xray_write(const xray_t *xray, const char *path, const char *note, err_t *err);

#endif
