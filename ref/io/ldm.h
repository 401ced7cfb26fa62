/* ldm.h - single-file LDM checkpoints: Stable Diffusion v1.x as its first authors saved it.
 *
 * One safetensors file holds all components under names of its own (ldm_names.h); a path into it,
 * "FILE.safetensors/unet", stands for a component's folder. Such a file has no configurations:
 * those of SD v1.5 are assumed (synth.h has them), and the shapes of its tensors are held against
 * them. */
#ifndef MOLE_IO_LDM_H
#define MOLE_IO_LDM_H

#include <stdbool.h>

#include "core/err.h"

/* "PATH.safetensors/REST" whose first part is a regular file: true, *file in fresh memory and
 * *rest in path. */
bool ldm_split(const char *path, char **file, const char **rest);

/* Does a name belong to a component, or to what such files hold besides and no run needs: averaged weights
 * (model_ema.), the tables of the schedule, marks (marks.h)? */
bool ldm_is_known(const char *name);

/* The text of a configuration, as synth_file: path is "FILE.safetensors/unet/config.json". The
 * architecture is known by the width of the UNet's first convolution. Returns 0, or -1 and err. */
int ldm_file(char **text, const char *path, err_t *err);

#endif
