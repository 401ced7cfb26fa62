/* names_plan.h - names that are nearly the reference's: what was put in front of them, left out or
 * spelled otherwise throughout a trace is found out and undone.
 *
 *   model._orig_mod.conv_in    wrappers that frameworks put around a module are taken off anywhere
 *   unet_down_blocks_0         words may be parted by anything
 *   unet.conv_in.output        an ending that says "output" is taken off
 *   model.diffusion_model...   the built-in maps are tried: "ldm", "diffusers"
 *   down_blocks.0              words missing, or too many, before the rest of a name: the change that makes
 *                              the most names known; where two changes do, and for words that nobody knows,
 *                              numbers decide
 *
 * Nothing is put in the place of another word: decoder.x is never encoder.x. What stands before a '/'
 * names a pass ("step.003/"), and stays. */
#ifndef MOLE_TRACE_NAMES_PLAN_H
#define MOLE_TRACE_NAMES_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "trace/names.h"

typedef struct names_plan names_plan_t;

/* Whose names are asked for. same: 1 when the numbers of theirs are those of ours, 0 when not, -1 when
 * they cannot tell (or NULL). */
typedef struct {
    const char *const *ours; /* (count); NULL: nobody's name */
    size_t count;
    const bool *taken;         /* (count): ours that have been found already */
    const char *const *theirs; /* (strangers): what is not ours as it stands */
    size_t strangers;
    const name_map_t *
        map; /* one that was asked for, or NULL: tried on what is left of a name without wrappers */
    int (*same)(void *context, size_t theirs, size_t ours);
    void *context;
} names_question_t;

/* meant[i]: which of ours theirs[i] is, or SIZE_MAX. Several may be one. names_plan_free is due. */
names_plan_t *names_plan(const names_question_t *question, size_t *meant);
void names_plan_free(names_plan_t *plan);

/* The same for a name that was not asked for, taken or not. */
size_t names_plan_apply(names_plan_t *plan, const char *name);

/* What was done, a sentence each ("'_orig_mod' taken off 2257 names"), owned by the plan. */
size_t names_plan_said(const names_plan_t *plan);
const char *names_plan_saying(const names_plan_t *plan, size_t index);

/* Whether these names are mostly those of single-file checkpoints, which the map "ldm" knows. */
bool names_are_ldm(const char *const *names, size_t count);

#endif
