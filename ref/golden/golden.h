/* golden.h - reading a golden case of kind "run", "fingerprint" or "calls" (docs/golden-format.md).
 *
 * The case is hostile until checked: format version, SHA-256 of every file it names, every tap's tensor
 * present with the stated shape and in float64. */
#ifndef MOLE_GOLDEN_GOLDEN_H
#define MOLE_GOLDEN_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>

#include "core/deviations.h"
#include "core/err.h"
#include "core/name_ids.h"
#include "core/pool.h"
#include "core/shape.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "io/weights.h"

typedef struct {
    const char *name;
    shape_t shape;
    const st_tensor_t *truth;
    const double *statistics,
        *values;               /* of a fingerprint, in place of truth (trace/fingerprint.h) */
    double peer_rms, peer_max; /* PyTorch's own float32 error */
    double strict_rms;         /* the same with exact timestep angles; peer_rms where not stated */
    double isolated_rms; /* the same of this module by itself; peer_rms where the case has none */
    bool has_isolated;   /* the case states it */
    double orders_rms;   /* of this module by itself, its sums term by term in one accumulator, the
                          * larger of both directions; isolated_rms where the case has none */
    double in_rms; /* of its input, every tap before it being right; NaN where the case has none */
} golden_tap_t;

typedef struct {
    char *folder;
    json_file_t *manifest;
    st_file_t *tensors;
    json_node_t root;
    const char *name, *component; /* component: "calls" where there is none */
    bool fingerprint;             /* of every tap a few numbers, not the tensor */
    widen_t widen;                /* for whoever opens the model: golden_open_model looks at it */
    bool is_calls;                /* single operations, no model: their outputs are the taps */
    golden_tap_t *tap;            /* in execution order; of calls: ID.NAME */
    size_t taps;
    pool_t names;            /* of the taps of calls */
    name_ids_t ids;          /* of every tap: the number of each is its place in tap */
    deviations_t deviations; /* of settings, the authors' (core/deviations.h) */
    bool derived;            /* what it states of float32 was derived, no program was measured */
    size_t only_steps;       /* of an own run: no further than so many steps, no picture; 0: all */
    bool own;                /* of somebody's own model: no folder, no truth kept (own_case.h) */
    json_t *made;            /* its manifest, owned */
} golden_case_t;

/* Returns 0, or -1 and err; on success golden_case_close is due. */
int golden_case_open(golden_case_t *golden, const char *folder, err_t *err);
void golden_case_close(golden_case_t *golden);

/* What keeps a case from being run here, before it is opened: "kind random", "calls of ddim_step", a part
 * of a model alone (the tests run those); "" when nothing does. whole: the tensors of its taps are wanted.
 * Returns 0, or -1 and err for a manifest that cannot be read. */
enum { GOLDEN_REASON = 128 };
int golden_case_peek(const char *folder, bool whole, char reason[GOLDEN_REASON], err_t *err);

/* The deviations that its settings name. 0, or -1 and err. */
int golden_read_deviations(golden_case_t *golden, err_t *err);

/* NULL when the case has no tap of that name. */
const golden_tap_t *golden_case_find(const golden_case_t *golden, const char *name);

/* A path of the manifest, relative to the case's folder, as one that can be opened (a "synth:..."
 * is one as it stands, and so are those of a case of one's own); the caller frees it.
 * NULL for a key that is absent or null. */
char *golden_case_path(const golden_case_t *golden, json_node_t node, const char *key);

#endif
