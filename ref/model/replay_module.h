/* replay_module.h - a model's parts by name: what `replay` runs, and what a comparison knows of a tap. */
#ifndef MOLE_MODEL_REPLAY_MODULE_H
#define MOLE_MODEL_REPLAY_MODULE_H

#include "model/layers.h"

/* out = the module on x alone, both row-major in torch's order; out may not overlap x.
 *   linear      x (...,in), or (B,in,H,W) for a 1x1 convolution: 4 dimensions of which the second
 *               is `in` are an image. With experts, when the layer has them; then x is (B,T,in) or
 *               an image, because the global gate has to know what one sample is
 *   conv        x (B,in,H,W)
 *   group norm  x (B,C,...)
 *   layer norm  x (...,C)
 * *shape_out receives the shape; out NULL: only that, x is not read. What linear_forward and
 * conv_forward tap (experts, gates) goes to run->sink, and so does the output. Scratch is in
 * run->arena and given back. Returns 0, or -1 and err when the shape does not fit, is empty or
 * overflows. */
int module_replay(const run_t *run, const module_t *module, real_t *out, shape_t *shape_out,
                  const real_t *x, shape_t shape, err_t *err);

#endif
