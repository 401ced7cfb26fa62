/* deviations.c - see deviations.h. */
#include "core/deviations.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/dtype.h"

const deviation_row_t deviation_table[DEVIATIONS] = {
    {"prompt-suffixes", DEVIATION_PROMPT_SUFFIXES,
     "the authors' fixed words after prompt and negative prompt"},
    {"vae-without-attention", DEVIATION_VAE_WITHOUT_ATTENTION,
     "the VAE's middle attention is x + to_out(group_norm(x))"},
    {"text-projection-unturned", DEVIATION_TEXT_PROJECTION_UNTURNED,
     "the pooled text times the transpose of its projection"},
    {"bf16-gates", DEVIATION_BF16_GATES, "logits of gates, and gates, rounded to bfloat16"}};

char *deviations_text(deviations_t set) {
    char *text = xstrdup("");
    for (size_t i = 0; i < DEVIATIONS; i++) {
        if (!(set & deviation_table[i].bit)) continue;
        char *longer = xasprintf("%s%s%s", text, *text ? ", " : "", deviation_table[i].name);
        free(text);
        text = longer;
    }
    return text;
}

int deviations_add(deviations_t *set, const char *name, err_t *err) {
    for (size_t i = 0; i < DEVIATIONS; i++) {
        if (strcmp(name, deviation_table[i].name) != 0) continue;
        *set |= deviation_table[i].bit;
        return 0;
    }
    char *known = deviations_text(~0U);
    err_set(err, "no deviation is called '%.64s'; there are: %s", name, known);
    free(known);
    return -1;
}

static const preset_t presets[] = {{"paper", DEVIATION_PROMPT_SUFFIXES, false},
                                   {"authors-xl",
                                    DEVIATION_PROMPT_SUFFIXES | DEVIATION_VAE_WITHOUT_ATTENTION |
                                        DEVIATION_TEXT_PROJECTION_UNTURNED | DEVIATION_BF16_GATES,
                                    true}};
const char preset_names[] = "paper or authors-xl";

const preset_t *preset_find(const char *name) {
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (strcmp(name, presets[i].name) == 0) return &presets[i];
    return NULL;
}

real_t bf16_rounded(double x) {
    if (isnan(x)) return (real_t)x;
    unsigned char stored[2];
    real_t out;
    float f = (float)x;
    dtype_from_f32(stored, &f, DTYPE_BF16, 1);
    dtype_to_real(&out, stored, DTYPE_BF16, 1);
    return out;
}
