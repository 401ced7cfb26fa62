/* modules.h - a model's parts by name: what `replay` runs, and what a comparison knows of a tap. */
#ifndef MOLE_MODEL_MODULES_H
#define MOLE_MODEL_MODULES_H

#include "model/layers.h"

/* out = the module on x alone, both row-major in torch's order.
 *   linear  x (...,in) or, for a 1x1 convolution, (B,in,H,W); with experts, when the layer has them, for
 *           which x (B,T,in)
 *   conv    x (B,in,H,W)       group norm  x (B,C,...)       layer norm  x (...,C)
 * *shape_out receives the shape; out NULL: only that. Returns 0, or -1 and err when the shape does not fit. */
int module_replay(const run_t *run, const module_t *module, real_t *out, shape_t *shape_out,
                  const real_t *x, shape_t shape, err_t *err);

#endif
