/* generate_job.h - one run of mole generate: what it holds, and what it is going to do. */
#ifndef MOLE_CLI_GENERATE_JOB_H
#define MOLE_CLI_GENERATE_JOB_H

#include "bench/profile.h"
#include "cli/generate_options.h"
#include "cli/peek_taps.h"
#include "io/trace.h"
#include "pipeline/gate_maps.h"
#include "sheet/sheet.h"
#include "xray/xray.h"

/* Everything a run of the command holds; freed in one place. */
typedef struct {
    generate_options_t *options;
    pipeline_t pipeline;
    arena_t *arena;
    real_t *latents; /* from --latents, or NULL */
    ddim_config_t scheduler;
    sampler_choice_t sampler;
    notes_t notes;         /* what the user must know */
    uint64_t weights;      /* stands for the files, in the notes of pictures */
    size_t black;          /* pictures not written, for they have NaN */
    bool *make;            /* (pictures) to be made; the others are there, or another shard's */
    pipeline_text_t *text; /* (prompts) encoded ahead, or NULL: each when it is its turn */
    progress_list_t list;
    trace_t *trace;
    peek_taps_t peek; /* with --peek */
    gate_maps_t *maps;
    sheet_t *sheet;    /* NULL: none is wanted */
    xray_t *xray;      /* likewise */
    profile_t profile; /* with --profile; started when its sink is set */
} job_t;

/* One of the pictures, numbered from 1 over all prompts. */
typedef struct {
    size_t number;
    const picture_prompt_t *prompt;
    uint64_t seed;
} picture_job_t;

picture_job_t *picture_of(picture_job_t *picture, const job_t *job, size_t number);
/* What the picture says about itself; the caller frees it. */
char *note_of(const job_t *job, const picture_job_t *picture);
/* The work of a picture, in units that take about the same time. */
double work_of(const prompt_settings_t *set);

/* Everything that can be known before the first step: settings and sizes, latents, which pictures are to be
 * made; that all texts can be read and all files be written. 0, or -1 and err. */
int generate_plan(job_t *job, err_t *err);

#endif
