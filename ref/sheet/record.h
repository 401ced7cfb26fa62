/* record.h - what a sheet shows of a run, collected while it goes on.
 *
 * A tap sink that keeps averages, and of a few steps what is drawn of them: memory does not grow with the
 * number of layers or steps, but for some numbers a step of each expert. Of two rows, negative and prompt, it
 * looks at the last, the prompt's. */
#ifndef MOLE_SHEET_RECORD_H
#define MOLE_SHEET_RECORD_H

#include "core/tap.h"
#include "pipeline/pipeline.h"

enum { RECORD_STEPS = 8, RECORD_LEVELS = 8 };

/* Sums of maps of H x W places. */
typedef struct {
    size_t H, W, count;
    double *sum; /* (H,W) */
} record_map_t;

/* The mean of the maps, (H,W), into out; 0 where there is none. */
void record_mean(double *out, const record_map_t *map);

/* Of one step: over the layers, those that see the picture. */
typedef struct {
    double least, most, sum;
    size_t count;
} record_range_t;

typedef struct {
    const char *name;
    record_map_t local;                 /* D over all layers and steps, on the latents' places */
    record_map_t level[RECORD_LEVELS];  /* over the layers of one resolution and all steps */
    record_map_t at_step[RECORD_STEPS]; /* over all layers, of the steps that are shown */
    record_range_t *global;             /* (steps) G */
} record_expert_t;

/* An attention to the text: where its numbers come from. */
typedef struct {
    const char *query, *key; /* names of taps */
    size_t heads, width;
} record_attention_t;

/* What is to be watched. */
typedef struct {
    const pipeline_t *pipeline;
    const pipeline_image_t *image;
    const mole_files_t *experts; /* names, which have to stay */
    const size_t *token;         /* (tokens) of the word; tokens 0: no word */
    size_t tokens;
} record_what_t;

typedef struct {
    tap_sink_t sink, *next; /* next: also gets every tap, or NULL */
    sampler_t sampler;
    size_t C, H, W, steps;
    size_t shown, step[RECORD_STEPS]; /* which steps are shown */
    real_t *sample;                   /* (C,H,W) the latents that the next step starts from */
    real_t *latents[RECORD_STEPS]; /* (C,H,W) what the network got in the steps that are shown, */
    real_t *clean[RECORD_STEPS];   /* and x0, what it took for the picture */
    size_t levels;
    struct {
        size_t H, W;
    } level[RECORD_LEVELS]; /* the UNet's resolutions, fine to coarse */
    size_t experts;
    record_expert_t expert[MOLE_EXPERTS];
    record_attention_t *attention; /* (attentions) */
    size_t attentions, *token, tokens;
    record_map_t
        word; /* attention to the word over all heads, layers and steps, on the latents' places */
    record_map_t word_at[RECORD_STEPS]; /* the same in the steps that are shown */
    real_t *query; /* (queries,channels) of the attention whose key comes next */
    size_t queries;
} record_t;

/* Of `steps` at most `most`, evenly spaced, the first and the last among them, into step. Returns how
 * many. */
size_t record_spread(size_t steps, size_t most, size_t *step);

/* Returns 0, or -1 and err (settings that make no schedule); on success record_close is due. `record` stays
 * where it is until then. */
int record_open(record_t *record, const record_what_t *what, tap_sink_t *next, err_t *err);
void record_close(record_t *record);

#endif
