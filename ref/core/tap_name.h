/* tap_name.h - the grammar of a tap's name, read in one place.
 *
 *   [step.NNN/] MODULE [.mole.base | .mole.EXPERT.PART | .in]
 *
 *   step.003/unet.mid_block.attentions.0.proj_in.mole.face.local
 *
 * NNN is the denoising step, from 0. MODULE is a module's path in diffusers, whose first element is the
 * component; a value of the pipeline has one element ("latents"). PART is expert, local, global or out. ".in"
 * is what goes into the module. A name is read as it stands: any text has a reading. */
#ifndef MOLE_CORE_TAP_NAME_H
#define MOLE_CORE_TAP_NAME_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const char *text;
    size_t length;
} tap_span_t;

/* All pointers are into the text that was read. */
typedef struct {
    bool has_step;
    size_t step;        /* 0 without */
    const char *name;   /* without the step */
    tap_span_t layer;   /* without the suffix: "step.003/unet.mid_block.attentions.0.proj_in" */
    tap_span_t module;  /* without both */
    const char *suffix; /* ".mole.face.local", ".mole.base", ".in"; or "" */
    bool is_mole, is_input;
    tap_span_t expert; /* "face"; empty without */
    const char *part;  /* "local", "base"; "" without */
} tap_name_t;

tap_name_t tap_name(const char *text);

bool tap_name_is_input(const char *text);
/* The layer as text of its own, with `suffix` behind it; the caller frees. */
char *tap_name_layer(const char *text, const char *suffix);
/* Whether the span and the text are the same. */
bool tap_span_is(tap_span_t span, const char *text);

/* The prefix of denoising step k, written: "step.012/". */
enum { STEP_PREFIX = 32 };
const char *tap_step(char text[STEP_PREFIX], size_t step);
/* Length of such a prefix in front of a text, or 0. */
size_t tap_step_length(const char *text);

#endif
