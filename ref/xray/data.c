/* data.c - see data.h. */
#include "xray/data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/png.h"
#include "sheet/canvas.h"
#include "sheet/colour.h"

json_t *data_text(const char *text) {
    char shown[SHOWN_TEXT];
    json_t *value = json_string(text);
    return value ? value : json_string(text_shown(shown, text));
}

static json_t *number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *sizes(const size_t *x, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_integer((json_int_t)x[i]));
    return list;
}

static json_t *numbers(const double *x, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, number(x[i]));
    return list;
}

/* ---- pictures ----------------------------------------------------------------------------------------- */

/* Three bytes are four characters, the last ones filled up with '='. */
static char *base64(const char *before, const uint8_t *x, size_t n) {
    char *text = xasprintf("%s%*s", before, (int)((n + 2) / 3 * 4), "");
    char *to = text + strlen(before);
    for (size_t i = 0; i < n; i += 3, to += 4) {
        uint32_t three = (uint32_t)x[i] << 16;
        if (i + 1 < n) three |= (uint32_t)x[i + 1] << 8;
        if (i + 2 < n) three |= x[i + 2];
        for (int k = 0; k < 4; k++) to[k] = tile_alphabet[three >> (18 - 6 * k) & 63];
        if (i + 2 >= n) to[3] = '=';
        if (i + 1 >= n) to[2] = '=';
    }
    return text;
}

json_t *data_picture(const uint8_t *pixels, size_t width, size_t height, size_t side) {
    size_t longer = width > height ? width : height, bytes;
    size_t w = longer > side ? width * side / longer : width;
    size_t h = longer > side ? height * side / longer : height;
    canvas_t canvas = canvas_new(w ? w : 1, h ? h : 1, (rgb_t){0, 0, 0});
    rect_t all = {0, 0, canvas.width, canvas.height};
    canvas_blit(&canvas, all, pixels, width, height);
    uint8_t *png = picture_bytes(&bytes, canvas.pixels, canvas.width, canvas.height, 3);
    char *text = base64("data:image/png;base64,", png, bytes);
    json_t *value = json_string(text);
    free(text);
    free(png);
    canvas_free(&canvas);
    return value;
}

json_t *data_latents(const real_t *latents, size_t C, size_t H, size_t W) {
    uint8_t *pixels = xmalloc(3 * H * W);
    latents_rgb(pixels, latents, C, H, W);
    json_t *value = data_picture(pixels, W, H, DATA_STEP_SIDE);
    free(pixels);
    return value;
}

/* ---- modules ------------------------------------------------------------------------------------------ */

static json_t *tiles_of(const tiles_t *t, size_t kept) {
    json_t *cells = json_array();
    size_t n = t->pictures * t->rows * t->columns;
    for (size_t i = 0; i < kept; i++)
        json_array_append_new(cells, t->cells[i] ? json_stringn(t->cells[i], n) : json_null());
    return json_pack("{s:i, s:i, s:i, s:o, s:o, s:o}", "pictures", (int)t->pictures, "rows",
                     (int)t->rows, "columns", (int)t->columns, "low", numbers(t->low, kept), "high",
                     numbers(t->high, kept), "cells", cells);
}

/* Four lists of the steps, into `to`. */
static void put_figures(json_t *to, const figures_t *f, size_t steps) {
    json_t *mean = json_array(), *deviation = json_array();
    json_t *least = json_array(), *most = json_array();
    for (size_t k = 0; k < steps; k++) {
        json_array_append_new(mean, number(f[k].mean));
        json_array_append_new(deviation, number(f[k].deviation));
        json_array_append_new(least, number(f[k].least));
        json_array_append_new(most, number(f[k].most));
    }
    json_object_set_new(to, "mean", mean);
    json_object_set_new(to, "deviation", deviation);
    json_object_set_new(to, "least", least);
    json_object_set_new(to, "most", most);
}

static json_t *gates_of(const watch_t *w, const watch_module_t *m) {
    json_t *list = json_array();
    for (size_t i = 0; i < w->what.experts->experts; i++) {
        const watch_gate_t *g = &m->gate[i];
        json_t *gate = json_pack("{s:o, s:o}", "local", tiles_of(&g->local, w->kept), "global",
                                 numbers(g->global, w->steps));
        put_figures(gate, g->local_figures, w->steps);
        json_array_append_new(list, gate);
    }
    return list;
}

static json_t *words_of(const watch_t *w, const watch_module_t *m) {
    size_t n = w->what.words->count + 1;
    json_t *share = json_array();
    for (size_t k = 0; k < w->steps; k++)
        json_array_append_new(share, numbers(m->share + k * n, n));
    return json_pack("{s:o, s:o}", "tiles", tiles_of(&m->word, w->kept), "share", share);
}

static json_t *module_data(const watch_t *w, const watch_module_t *m) {
    size_t size[] = {m->H, m->W};
    json_t *value =
        json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "name", m->name, "kind", m->kind->key, "shape",
                  sizes(m->shape.dim, m->shape.ndim), "size", sizes(size, 2), "channels",
                  sizes(m->channel, m->tiles.pictures), "tiles", tiles_of(&m->tiles, w->kept));
    put_figures(value, m->figures, w->steps);
    if (m->gate) json_object_set_new(value, "gates", gates_of(w, m));
    if (m->share) json_object_set_new(value, "words", words_of(w, m));
    return value;
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

static json_t *kinds_data(void) {
    size_t kinds, codes;
    const kind_t *kind = kinds_all(&kinds);
    const kind_code_t *code = kinds_code(&codes);
    json_t *value = json_object();
    for (size_t i = 0; i < kinds; i++) {
        json_t *list = json_array();
        for (size_t j = 0; j < codes; j++)
            if (strcmp(code[j].key, kind[i].key) == 0)
                json_array_append_new(list,
                                      json_pack("{s:s, s:s, s:s}", "file", code[j].file, "function",
                                                code[j].function, "text", code[j].text));
        json_object_set_new(value, kind[i].key,
                            json_pack("{s:s, s:s, s:o}", "title", kind[i].title, "equation",
                                      kind[i].equation, "code", list));
    }
    return value;
}

json_t *data_of(const watch_t *w) {
    json_t *words = json_array(), *experts = json_array(), *modules = json_array();
    double timestep[WATCH_STEPS];
    for (size_t k = 0; k < w->steps; k++) timestep[k] = sampler_timestep(&w->sampler, w->step[k]);
    for (size_t i = 0; i < w->what.words->count; i++)
        json_array_append_new(words, data_text(w->what.words->word[i].text));
    for (size_t i = 0; i < w->what.experts->experts; i++)
        json_array_append_new(experts, data_text(w->what.experts->name[i]));
    for (size_t i = 0; i < w->modules; i++)
        json_array_append_new(modules, module_data(w, &w->module[i]));
    return json_pack(
        "{s:i, s:o, s:o, s:i, s:o, s:o, s:o, s:i, s:o, s:o}", "steps", (int)w->run_steps, "step",
        sizes(w->step, w->steps), "kept", sizes(w->kept_step, w->kept), "side", (int)w->side,
        "timestep", numbers(timestep, w->steps), "experts", experts, "words", words,
        "words_left_out", (int)w->what.words->left_out, "kinds", kinds_data(), "modules", modules);
}
