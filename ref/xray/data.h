/* data.h - what the page is made from, as JSON. */
#ifndef MOLE_XRAY_DATA_H
#define MOLE_XRAY_DATA_H

#include <jansson.h>

#include "xray/watch.h"

/* Pictures on the page: those of steps and the last one, no side longer. */
enum { DATA_STEP_SIDE = 128, DATA_PICTURE_SIDE = 384 };

/* (height,width,3) as "data:image/png;base64,...", made smaller where a side is longer than `side`. */
json_t *data_picture(const uint8_t *pixels, size_t width, size_t height, size_t side);
/* The latents (C,H,W) likewise, their first three channels as red, green and blue (sheet/colour.h). */
json_t *data_latents(const real_t *latents, size_t C, size_t H, size_t W);

/* Everything else. Steps that were not seen, and numbers that are not finite, are null. The fields:
 *
 *   steps, step       of the run; the slider's, as steps of the run, from 0
 *   kept, side        the steps that have tiles, as places of the slider; the longest side of a tile
 *   timestep          of each of the slider's steps
 *   experts           names
 *   words, words_left_out   texts; how many further words of the prompt are among the rest
 *   kinds             key: {title, equation, code: [{file, function, text}]}
 *   modules           {name, kind, shape, size: [H, W], channels: those of the tiles,
 *                      mean, deviation, least, most: of each of the slider's steps, tiles,
 *                      gates: [{local: tiles, mean, deviation, least, most, global}], one per expert; or
 *                      absent
 *                      words: {tiles, share: [step][word, last the rest]}; or absent}
 *   a tile            {pictures, rows, columns, low: [kept], high: [kept], cells: [kept] texts} */
json_t *data_of(const watch_t *watch);

/* A text that may not be UTF-8 (a folder's name). */
json_t *data_text(const char *text);

#endif
