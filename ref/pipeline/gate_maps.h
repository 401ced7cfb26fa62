/* gate_maps.h - pictures of who decided what, where.
 *
 * A tap sink that listens to the gates of every layer that sees the picture (not to attn2.to_k and
 * to_v, which see the text) and averages the strength D_i G_i that expert i was given at every place, over
 * layers and steps, for the conditional row. One map per expert and resolution of the UNet. */
#ifndef MOLE_PIPELINE_GATE_MAPS_H
#define MOLE_PIPELINE_GATE_MAPS_H

#include "core/tap.h"
#include "mole/mole_file.h"

typedef struct gate_maps gate_maps_t;

/* Latents are H x W; names (experts) as in mole_files_t. `next` also gets every tap, or is NULL. */
gate_maps_t *gate_maps_new(const mole_files_t *files, size_t H, size_t W, tap_sink_t *next);
tap_sink_t *gate_maps_sink(gate_maps_t *maps);
void gate_maps_free(gate_maps_t *maps);

/* FOLDER/<expert>.png: the resolutions from fine to coarse side by side, each drawn H*8 pixels high,
 * black for the weakest place of the map and white for the strongest; the picture's text metadata gives both
 * numbers. The folder is made if it is missing. Returns 0, or -1 and err. */
int gate_maps_write(const gate_maps_t *maps, const char *folder, err_t *err);

#endif
