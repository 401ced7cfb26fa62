/* deviations.h - where the authors' published program computes something else than their method says.
 *
 * Each deviation is a switch with a name, off by default; a run carries the set of those that are on
 * (run_t), and the place that computes looks at it. docs/decisions.md says what each one changes. Presets
 * are sets with names: what a command that the authors have published does. */
#ifndef MOLE_CORE_DEVIATIONS_H
#define MOLE_CORE_DEVIATIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"
#include "core/real.h"

typedef enum {
    DEVIATION_PROMPT_SUFFIXES = 1,          /* prompt_suffixed in prompt/prompt.h */
    DEVIATION_VAE_WITHOUT_ATTENTION = 2,    /* vae.c: x + to_out(group_norm(x)) */
    DEVIATION_TEXT_PROJECTION_UNTURNED = 4, /* text_encoder.c: the pooled vector times W, not W^T */
    DEVIATION_BF16_GATES = 8                /* mole.c: logits and gates have bfloat16's numbers */
} deviation_t;

typedef unsigned deviations_t; /* of deviation_t, or'd */

enum { DEVIATIONS = 4 };

typedef struct {
    const char *name;
    deviation_t bit;
    const char *what; /* in half a line */
} deviation_row_t;

extern const deviation_row_t deviation_table[DEVIATIONS];

/* Switch one on by its name. Returns 0, or -1 and err, which lists the names that there are. */
int deviations_add(deviations_t *set, const char *name, err_t *err);
/* "prompt-suffixes, bf16-gates", in the table's order; "" for none. The caller frees it. */
char *deviations_text(deviations_t set);

typedef struct {
    const char *name;
    deviations_t deviations;
    bool weighted; /* brackets in prompts weigh words */
} preset_t;

/* NULL for a name that no preset has; preset_names has them, "paper or authors-xl". */
const preset_t *preset_find(const char *name);
extern const char preset_names[];

/* x as a run in bfloat16 holds it: rounded to float32, then to nearest, ties to even. */
real_t bf16_rounded(double x);

#endif
