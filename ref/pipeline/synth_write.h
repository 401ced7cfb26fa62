/* synth_write.h - a made model as files: what io/synth.h gives in place, for programs that want to read it.
 *
 * Tensors are streamed, one in memory at a time; every file appears whole or not at all. */
#ifndef MOLE_PIPELINE_SYNTH_WRITE_H
#define MOLE_PIPELINE_SYNTH_WRITE_H

#include <stdbool.h>

#include "core/dtype.h"
#include "core/err.h"
#include "io/synth.h"

typedef struct {
    synth_spec_t model;
    bool ldm;      /* one file of LDM's names (io/ldm.h), else a diffusers folder */
    dtype_t dtype; /* of the weights: F32, F16 or BF16, rounded to nearest, ties to even */
    const char *path;

    /* Experts: face, hand and gates.safetensors in this folder, always F32; NULL: none. */
    const char *experts;
    synth_spec_t face, hand, gates;

    /* Called with bytes so far before every tensor; false stops. May be NULL. */
    bool (*progress)(void *who, size_t done, const char *file);
    void *who;
} synth_write_t;

/* Folders are made as needed. Returns 0, or -1 and err. */
int synth_write(const synth_write_t *job, err_t *err);

#endif
