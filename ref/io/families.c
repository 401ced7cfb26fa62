/* families.c - see families.h. The numbers are those of the published config.json files. */
#include "io/families.h"

#include "core/err.h"

static const ldm_layout_t layout_refiner = {.levels = 4, .layers = 2, .depth = {0, 4, 4, 0}};

const family_t families[FAMILIES] = {
    [FAMILY_V1] = {"Stable Diffusion v1", &ldm_layout_v1, 320, 768, false, "synth:sd15"},
    [FAMILY_V2] = {"Stable Diffusion v2", &ldm_layout_v2, 320, 1024, true, "synth:sd21"},
    [FAMILY_XL] = {"Stable Diffusion XL", &ldm_layout_xl, 320, 2048, true, "synth:sdxl"},
    [FAMILY_XL_REFINER] = {"the refiner of Stable Diffusion XL", &layout_refiner, 384, 1280, true,
                           NULL}};

static bool same_layout(const ldm_layout_t *a, const ldm_layout_t *b) {
    bool same = a->levels == b->levels && a->layers == b->layers;
    for (size_t i = 0; same && i < a->levels; i++) same = a->depth[i] == b->depth[i];
    return same;
}

const family_t *family_of_layout(const ldm_layout_t *unet, bool linear) {
    for (size_t i = 0; i < FAMILIES; i++)
        if (linear == families[i].linear && same_layout(unet, families[i].layout))
            return &families[i];
    return NULL;
}

/* Each level is twice as wide as the one before, as far as the first with attention. */
static size_t narrowest_of(const family_t *family) {
    size_t level = 0;
    while (!family->layout->depth[level]) level++;
    return family->channels << level;
}

const family_t *family_of_widths(family_widths_t widths) {
    for (size_t i = 0; i < FAMILIES; i++)
        if (widths.text == families[i].text &&
            (!widths.narrowest || widths.narrowest == narrowest_of(&families[i])))
            return &families[i];
    return NULL;
}

const char *family_name(const family_t *family) {
    return family ? family->name : "none of the published families";
}

void family_see(family_file_t *file, const char *name, shape_t shape) {
    static const struct {
        const char *text, *token, *part, *of;
    } rows[] = {{"attn2_to_k.lora_down.weight", "to_q.lora_down.weight", "experts", "lora_down"},
                {"attn2_to_k.softmoe.Phi_1.weight", "to_q.softmoe.Phi_1.weight", "gates", "Phi_1"}};
    family_widths_t *w = &file->widths;
    if (shape.ndim < 2) return;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t width = shape.dim[1];
        if (text_ends(name, rows[i].token) && (!w->narrowest || width < w->narrowest))
            w->narrowest = width;
        if (!text_ends(name, rows[i].text)) continue;
        file->mixed |= file->part && width != w->text;
        w->text = width;
        file->part = rows[i].part;
        file->of = rows[i].of;
    }
}

const family_t *family_of_file(const family_file_t *file) {
    return file->mixed ? NULL : family_of_widths(file->widths);
}
