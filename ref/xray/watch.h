/* watch.h - what an X-ray page shows of a run, collected while it goes on.
 *
 * A tap sink. Of every tap of the UNet, of "guided" and of "latents" it keeps, for the last row of the batch
 * (the prompt's, not the negative prompt's):
 *
 *   figures    mean, deviation, least and most, in every step that the slider has (at most WATCH_STEPS,
 *              evenly spaced, the first and the last among them)
 *   tiles      four channels, evenly spaced, made smaller to at most `side` cells a side, in 64 levels; in
 *              WATCH_KEPT of those steps
 *   gates      of a layer with experts: D as a map like a tile, and its figures; G
 *   words      of cross attention: the share of each word, mean over the heads, as maps and as means over the
 *              places
 *
 * The memory is bounded: side is the largest of 16, 8 and 4 with which the tiles of all modules take at most
 * WATCH_TILES characters; everything else grows with modules and steps, of which there are at most
 * WATCH_STEPS. */
#ifndef MOLE_XRAY_WATCH_H
#define MOLE_XRAY_WATCH_H

#include "xray/kinds.h"
#include "xray/tiles.h"
#include "xray/words.h"

enum { WATCH_STEPS = 50, WATCH_KEPT = 8, WATCH_CHANNELS = 4, WATCH_LEVELS = 8 };
enum { WATCH_TILES = 6 << 20 }; /* 6 MiB */

/* `pictures` of rows x columns cells in each kept step, from low to high; each array as long as there are
 * kept steps, cells[i] NULL where there was nothing to see. */
typedef struct {
    size_t pictures, rows, columns;
    double low[WATCH_KEPT], high[WATCH_KEPT];
    char *cells[WATCH_KEPT]; /* (pictures,rows,columns), no NUL behind it */
} tiles_t;

typedef struct {
    tiles_t local;            /* one picture, from 0 to 1 */
    figures_t *local_figures; /* (steps) */
    double *global;           /* (steps) */
} watch_gate_t;

typedef struct {
    char *name; /* without the step */
    const kind_t *kind;
    shape_t shape; /* of the whole batch */
    size_t channel[WATCH_CHANNELS];
    size_t H, W;        /* of what a tile shows */
    figures_t *figures; /* (steps) */
    tiles_t tiles;
    watch_gate_t *gate; /* (experts), or NULL */
    tiles_t word;       /* a picture of each word and one of the rest, from 0 to the largest */
    double *share;      /* (steps,words + 1), or NULL */
} watch_module_t;

typedef struct {
    const pipeline_t *pipeline;
    const pipeline_image_t *image;
    const mole_files_t *experts; /* names, which have to stay */
    const words_t *words;        /* likewise */
} watch_what_t;

typedef struct {
    tap_sink_t sink, *next; /* next: also gets every tap, or NULL */
    watch_what_t what;
    sampler_t sampler;
    size_t C, H, W, side;
    size_t levels;
    struct {
        size_t H, W;
    } level[WATCH_LEVELS];              /* the UNet's resolutions, fine to coarse */
    size_t run_steps;                   /* of the run, */
    size_t steps, step[WATCH_STEPS];    /* of the slider, as steps of the run, */
    size_t kept, kept_step[WATCH_KEPT]; /* and of the tiles, as steps of the slider */
    real_t *sample;                     /* (C,H,W) the latents that the next step starts from */
    real_t *input[WATCH_STEPS];         /* (C,H,W) what the network got, */
    real_t *clean[WATCH_STEPS];         /* and x0, what it took for the picture */
    watch_module_t *module;             /* (modules) in the order of their first tap */
    size_t modules, room, at;           /* at: where the next tap is likely to be */
    real_t *query;     /* (queries,channels) of the attention whose keys come next */
    double *attention; /* (queries,tokens) of the attention whose output comes next */
    size_t queries, tokens;
} watch_t;

/* The UNet stays open while taps come; of what it is told the pointers stay until watch_close. Returns 0, or
 * -1 and err (settings that make no schedule); on success watch_close is due. */
int watch_open(watch_t *watch, const watch_what_t *what, tap_sink_t *next, err_t *err);
void watch_close(watch_t *watch);

#endif
