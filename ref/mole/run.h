/* run.h - what a module needs besides its tensors: scratch memory, somebody watching, and the choices
 * that a user makes once for a whole run. Passed down by pointer; nothing here is global. */
#ifndef MOLE_MOLE_RUN_H
#define MOLE_MOLE_RUN_H

#include <math.h>

#include "core/arena.h"
#include "core/deviations.h"
#include "core/tap.h"
#include "ops/ops.h"

typedef enum {
    MOLE_DIRECT, /* the definition, with every tap; see mole.h */
    MOLE_STACKED /* the cheaper equal form */
} mole_form_t;

/* What a user asks of one expert in every layer, to see what would be if. */
typedef struct {
    double strength; /* times what the expert adds; its gates do not see it */
    double local,
        global; /* every D or G of it, from 0 to 1, in place of what the gate says; NAN: that */
} mole_what_if_t;

#define MOLE_AS_TRAINED ((mole_what_if_t){1, NAN, NAN})

typedef struct {
    arena_t *arena;
    tap_sink_t *sink; /* NULL: nobody is watching */
    matmul_way_t matmul;
    conv2d_way_t conv;
    mole_form_t form;
    deviations_t deviations;       /* from the method, off by default */
    const mole_what_if_t *what_if; /* of each expert, in their order; NULL: all as trained */
} run_t;

#endif
