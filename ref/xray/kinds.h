/* kinds.h - what a tap of the UNet is: its equation, and the code that computes it. */
#ifndef MOLE_XRAY_KINDS_H
#define MOLE_XRAY_KINDS_H

#include "pipeline/pipeline.h"

typedef struct {
    const char *key, *title, *equation;
} kind_t;

/* A function of the sources, as it stood when the program was built. */
typedef struct {
    const char *key; /* of the kind */
    const char *file, *function, *text;
} kind_code_t;

/* Of a tap's name without its step, "unet.conv_in", "guided": never NULL. The UNet is open. */
const kind_t *kind_of(const pipeline_t *pipeline, const char *name);

/* All kinds; all code, that of a kind in the order to read it. */
const kind_t *kinds_all(size_t *count);
const kind_code_t *kinds_code(size_t *count);

#endif
