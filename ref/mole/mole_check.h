/* mole_check.h - what an expert's file may hold besides two factors and an alpha for each layer, and must not
 * be taken for them: other ways to change a layer, another scaling, factors of other networks, strengths
 * that no training gives. Refused where the result would be wrong, noted where it is right without. */
#ifndef MOLE_MOLE_MOLE_CHECK_H
#define MOLE_MOLE_MOLE_CHECK_H

#include "core/notes.h"
#include "io/families.h"
#include "io/weights.h"

/* A scale alpha / rank beyond this, in magnitude, is no expert's: training gives 0.01 to 10. */
#define MOLE_SCALE_MAX 1e3
/* Below this an expert is off; an alpha of 0 is not (it stands for the rank). */
#define MOLE_SCALE_MIN 1e-6

/* The file as a whole: names of another convention, metadata that asks for another scaling: refused.
 * Factors of text encoders: noted. Returns 0, or -1 and err. */
int mole_check_file(const weights_t *weights, notes_t *notes, err_t *err);
/* A file of experts or gates of another base model, which the width of the text vectors shows that its
 * layers take: refused where all of them are of one width, and not base.text. Returns 0, or -1 and err,
 * which names the families of both where they are published ones. */
int mole_check_base(const weights_t *weights, family_widths_t base, err_t *err);
/* A layer, by what its keys begin with ("lora_unet_mid_block_attentions_0_proj_in"): no other kind of factor.
 * Returns 0, or -1 and err. */
int mole_check_layer(const weights_t *weights, const char *layer, err_t *err);

/* The strengths of one expert, layer by layer. */
typedef struct {
    size_t negative, weak;
    char first_negative[128], first_weak[128]; /* "'KEY.alpha' is -1" */
} mole_strengths_t;

/* Returns 0, or -1 and err: a scale beyond MOLE_SCALE_MAX. */
int mole_check_alpha(mole_strengths_t *strengths, const weights_t *weights, const char *key,
                     double alpha, size_t rank, err_t *err);
/* Once all layers are known. */
void mole_note_strengths(const mole_strengths_t *strengths, const char *expert,
                         const weights_t *weights, notes_t *notes);

#endif
