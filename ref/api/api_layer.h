/* api_layer.h - a MoLE layer on given tensors in a run of the caller's, for golden cases. */
#ifndef MOLE_API_API_LAYER_H
#define MOLE_API_API_LAYER_H

#include "api/api_check.h"
#include "mole/mole.h"

/* As mole_layer, in the run's form, with taps named id + ".mole.base", id + ".mole." + names[i] + ".expert"
 * and so on; names NULL: "0", "1", ... The layer's own taps are not written.
 *   out of `shape`: (B,T,d') or, with layer->image, (B,d',...); x likewise with d
 * Returns 0, or -1 and error. */
int api_layer(const run_t *run, const char *id, const char *const *names, shape_t shape,
              mole_real_t *out, const mole_real_t *x, const mole_layer_args_t *layer,
              mole_error_t *error);

#endif
