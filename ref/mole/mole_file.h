/* mole_file.h - experts and gates from the files that the authors' training writes.
 *
 *   LoRA   lora_unet_<path>.alpha            ()            one file per expert (face, hand)
 *          lora_unet_<path>.lora_down.weight (R,d)         (R,d,1,1) for a convolution
 *          lora_unet_<path>.lora_up.weight   (d',R)        (d',R,1,1)
 *   gates  moe_lora_unet_<path>.softmoe.Phi_1.weight (E,d), .Phi_1.bias (E),
 *          .<expert>_scale.weight (1,d'), .<expert>_scale.bias (1)   for each expert, in Phi's order
 *
 * <path> is the module path in the UNet with '_' for '.', of diffusers ("down_blocks_1_attentions_0_proj_in")
 * or of the first authors' single files ("input_blocks_4_1_proj_in"), one or the other in a whole file. Every
 * layer needs all of them; rank and alpha may differ per layer and expert. alpha missing or 0 stands for the
 * rank, as in the authors' code. Text-encoder factors (lora_te...) in a LoRA file are not used by MoLE, and
 * a note says so. What else may stand in such a file, and is refused: mole_check.h. */
#ifndef MOLE_MOLE_MOLE_FILE_H
#define MOLE_MOLE_MOLE_FILE_H

#include "core/notes.h"
#include "io/weights.h"
#include "mole/mole.h"

enum { MOLE_EXPERTS = 16 };

/* What a user names on the command line. */
typedef struct {
    size_t experts;
    const char *name[MOLE_EXPERTS]; /* "face", "hand", in the order of Phi's rows */
    const char *path[MOLE_EXPERTS];
    const char *gates; /* NULL: no gates; every expert is added at full strength (plain LoRA) */
    bool late;         /* factors stay as they are stored (io/weights.h) */
} mole_files_t;

/* A layer that experts join. */
typedef struct {
    const char *path;     /* "down_blocks.1.attentions.0.proj_in" */
    const char *ldm_path; /* "input_blocks.4.1.proj_in"; NULL: the file has no such names */
    size_t d_in, d_out;
    bool conv;           /* 1x1 convolution: factors may be 4-D (both are accepted for either) */
    mole_layer_t *layer; /* filled by mole_files_load */
} mole_target_t;

typedef struct mole_set mole_set_t;

/* Load, check and prepare the experts of all targets. Strict: every target gets every expert, and no
 * UNet tensor of any file is left over (unless allow_unused). Returns 0, or -1 and err. */
int mole_files_load(mole_set_t **set, const mole_files_t *files, mole_target_t *targets,
                    size_t count, bool allow_unused, err_t *err);
void mole_set_free(mole_set_t *set);

/* What the user must know of the files. */
const notes_t *mole_set_notes(const mole_set_t *set);
/* The files behind a set, for listing; gates: NULL without. */
const weights_t *mole_set_expert(const mole_set_t *set, size_t expert);
const weights_t *mole_set_gates(const mole_set_t *set);

#endif
