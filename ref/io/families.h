/* families.h - the published families of base models, and what tells them apart: the one table that files of
 * experts, files of gates and base models are held against.
 *
 *   a base model          the layout of its UNet and the widths in it, of its configuration or its tensors
 *   experts and gates     the widths of what they multiply
 *
 * A width alone does not make a family: a model of the same width and another layout is none of these. */
#ifndef MOLE_IO_FAMILIES_H
#define MOLE_IO_FAMILIES_H

#include <stdbool.h>
#include <stddef.h>

#include "core/shape.h"
#include "io/ldm_names.h"

typedef struct {
    const char *name;           /* "Stable Diffusion XL" */
    const ldm_layout_t *layout; /* of its UNet, and of its single files */
    size_t channels;            /* block_out_channels[0] */
    size_t text;                /* cross_attention_dim: numbers of a text vector */
    bool linear;                /* use_linear_projection */
    const char *model;          /* its configurations, "synth:sdxl"; NULL: it is not run */
} family_t;

enum { FAMILY_V1, FAMILY_V2, FAMILY_XL, FAMILY_XL_REFINER, FAMILIES };
extern const family_t families[FAMILIES];

/* The family whose UNet is laid out so (components of the layout are not looked at); NULL for none. */
const family_t *family_of_layout(const ldm_layout_t *unet, bool linear);

/* ---- by widths --------------------------------------------------------------------------------- */

typedef struct {
    size_t text;      /* numbers of a text vector: the input of attn2.to_k; 0: not known */
    size_t narrowest; /* of a token: the least input of a to_q; 0: not known */
} family_widths_t;

/* NULL for none. */
const family_t *family_of_widths(family_widths_t widths);
/* Its name, or "none of the published families". */
const char *family_name(const family_t *family);

/* A file of experts or gates, tensor by tensor, from {0} on. */
typedef struct {
    family_widths_t widths;
    const char *part; /* "experts" or "gates"; NULL: no layer that takes text vectors was seen */
    const char *of;   /* "lora_down", "Phi_1": what multiplies the text vectors */
    bool mixed;       /* layers of the file take text vectors of different widths */
} family_file_t;
void family_see(family_file_t *file, const char *name, shape_t shape);
/* NULL for none, and for a mixed file. */
const family_t *family_of_file(const family_file_t *file);

#endif
