/* run.h - what a module needs besides its tensors: scratch memory, somebody watching, and the choices
 * that a user makes once for a whole run. Passed down by pointer; nothing here is global. */
#ifndef MOLE_MOLE_RUN_H
#define MOLE_MOLE_RUN_H

#include "core/arena.h"
#include "core/deviations.h"
#include "core/tap.h"
#include "ops/ops.h"

typedef enum {
    MOLE_DIRECT, /* the definition, with every tap; see mole.h */
    MOLE_STACKED /* the cheaper equal form */
} mole_form_t;

typedef struct {
    arena_t *arena;
    tap_sink_t *sink; /* NULL: nobody is watching */
    matmul_way_t matmul;
    conv2d_way_t conv;
    mole_form_t form;
    deviations_t deviations; /* from the method, off by default */
} run_t;

#endif
