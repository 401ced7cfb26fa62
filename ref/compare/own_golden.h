/* own_golden.h - a golden case written from somebody's own model, in the form of docs/golden-format.md. */
#ifndef MOLE_COMPARE_OWN_GOLDEN_H
#define MOLE_COMPARE_OWN_GOLDEN_H

#include "compare/compare.h"

typedef struct {
    const char *folder; /* is made; a manifest that is there already is not touched */
    const char *name;
    const char *about;                        /* a sentence, or NULL */
    const char *filter;                       /* glob over taps, or NULL: all */
    bool fingerprint;                         /* of every tap a few numbers, not the tensor */
    void (*surveyed)(void *who, size_t taps); /* as in compare_options_t */
    void *who;
} own_golden_t;

/* Writes manifest.json and tensors.safetensors; *taps is how many it holds. On failure nothing is left that
 * was not there before. 0, or -1 and err. */
int own_golden_write(const run_t *run, const own_case_t *own, const own_golden_t *golden,
                     size_t *taps, err_t *err);

#endif
