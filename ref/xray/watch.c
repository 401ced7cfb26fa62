/* watch.c - see watch.h. */
#include "xray/watch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/tap_name.h"
#include "sheet/attention.h"
#include "sheet/record.h"

/* ---- steps and places --------------------------------------------------------------------------------- */

/* Where `step` is among the n of `list`; n when it is not. */
static size_t place_of(const size_t *list, size_t n, size_t step) {
    size_t i = 0;
    while (i < n && list[i] != step) i++;
    return i;
}

/* The resolution of so many places: false when it is none. */
static bool size_of(const watch_t *w, size_t places, size_t *H, size_t *W) {
    for (size_t i = 0; i < w->levels; i++) {
        *H = w->level[i].H;
        *W = w->level[i].W;
        if (*H * *W == places) return true;
    }
    return false;
}

/* Each half of the one before, rounded up. */
static void find_levels(watch_t *w) {
    for (size_t H = w->H, W = w->W; w->levels < WATCH_LEVELS; H = (H + 1) / 2, W = (W + 1) / 2) {
        w->level[w->levels].H = H;
        w->level[w->levels++].W = W;
        if (H == 1 && W == 1) break;
    }
}

/* ---- tiles -------------------------------------------------------------------------------------------- */

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* How large the pictures of H x W numbers are: a channel within side x side; what there is only one of within
 * four times as much. */
static tiles_t tiles_for(const watch_t *w, size_t pictures, size_t H, size_t W, bool alone) {
    size_t s = w->side;
    tiles_t tiles = {pictures, smaller(H, s), smaller(W, s), {0}, {0}, {NULL}};
    if (alone) tiles.columns = smaller(W, H > 1 ? 4 * s : 4 * s * s);
    return tiles;
}

/* The pictures of step i, x (pictures,rows,columns), from low to high. */
static void keep_tiles(tiles_t *tiles, size_t i, const double *x, double low, double high) {
    size_t n = tiles->pictures * tiles->rows * tiles->columns;
    tiles->cells[i] = xrealloc(tiles->cells[i], n);
    tiles->low[i] = low;
    tiles->high[i] = high;
    tile_levels(tiles->cells[i], x, n, low, high);
}

static void free_tiles(tiles_t *tiles) {
    for (size_t i = 0; i < WATCH_KEPT; i++) free(tiles->cells[i]);
}

static void ends_of(const double *x, size_t n, double *low, double *high) {
    *low = INFINITY;
    *high = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        *low = fmin(*low, x[i]);
        *high = fmax(*high, x[i]);
    }
}

/* ---- modules ------------------------------------------------------------------------------------------ */

static watch_module_t *add_module(watch_t *w, const char *name) {
    if (w->modules == w->room) {
        w->room = w->room ? 2 * w->room : 128;
        w->module = xrealloc(w->module, w->room * sizeof *w->module);
    }
    watch_module_t *m = &w->module[w->modules++];
    *m = (watch_module_t){.name = xstrdup(name), .kind = kind_of(w->what.pipeline, name)};
    m->figures = xcalloc(w->steps, sizeof *m->figures);
    for (size_t k = 0; k < w->steps; k++) m->figures[k] = (figures_t){NAN, NAN, NAN, NAN};
    return m;
}

/* By name; steps have the same taps in the same order, so it is most often the one after the last. A new one
 * stands at the end. */
static watch_module_t *module_of(watch_t *w, const char *name) {
    for (size_t i = 0; i < w->modules; i++) {
        size_t at = (w->at + i) % w->modules;
        if (strcmp(w->module[at].name, name) != 0) continue;
        w->at = at;
        return &w->module[at];
    }
    w->at = w->modules;
    return add_module(w, name);
}

/* Tokens of the text, in place of those of the picture. */
static bool sees_text(const char *name) {
    return text_ends(name, ".attn2.to_k") || text_ends(name, ".attn2.to_v");
}

/* The last row as planes, whatever its shape. */
static planes_t planes(const watch_t *w, const char *name, const real_t *x, view_t view) {
    size_t H = 1, W = 1;
    bool tokens = view.shape.ndim == 3 && !sees_text(name) && size_of(w, view.shape.dim[1], &H, &W);
    return planes_of(x, view, H, W, !tokens);
}

/* The first tap of a module says how large it is. */
static void shape_module(watch_t *w, watch_module_t *m, const planes_t *p, shape_t shape) {
    size_t n = smaller(p->channels, WATCH_CHANNELS);
    m->shape = shape;
    m->H = p->H;
    m->W = p->W;
    record_spread(p->channels, n, m->channel);
    m->tiles = tiles_for(w, n, p->H, p->W, p->channels == 1);
}

static void draw_tiles(watch_module_t *m, const planes_t *p, size_t kept) {
    tiles_t *t = &m->tiles;
    size_t cells = t->rows * t->columns;
    double *x = xmalloc(t->pictures * cells * sizeof *x), low, high;
    for (size_t i = 0; i < t->pictures; i++)
        plane_shrink(x + i * cells, p, m->channel[i], t->rows, t->columns);
    ends_of(x, t->pictures * cells, &low, &high);
    keep_tiles(t, kept, x, low, high);
    free(x);
}

/* ---- gates -------------------------------------------------------------------------------------------- */

static void keep_local(watch_t *w, watch_gate_t *gate, const char *name, size_t k, const real_t *x,
                       view_t view) {
    size_t T = view.shape.dim[1], kept = place_of(w->kept_step, w->kept, k), H = 1, W = T;
    if (sees_text(name) || !size_of(w, T, &H, &W)) H = 1, W = T;
    planes_t p = planes_of(x, VIEW_TOKENS(view.shape.dim[0], T, 1), H, W, false);
    gate->local_figures[k] = planes_figures(&p);
    if (kept == w->kept) return;
    if (!gate->local.pictures) gate->local = tiles_for(w, 1, H, W, H == 1);
    double *map = xmalloc(gate->local.rows * gate->local.columns * sizeof *map);
    plane_shrink(map, &p, 0, gate->local.rows, gate->local.columns);
    keep_tiles(&gate->local, kept, map, 0, 1);
    free(map);
}

static watch_gate_t *new_gates(const watch_t *w) {
    watch_gate_t *gate = xcalloc(w->what.experts->experts, sizeof *gate);
    for (size_t i = 0; i < w->what.experts->experts; i++) {
        gate[i].local_figures = xcalloc(w->steps, sizeof *gate[i].local_figures);
        gate[i].global = xcalloc(w->steps, sizeof *gate[i].global);
        for (size_t k = 0; k < w->steps; k++) {
            gate[i].local_figures[k] = (figures_t){NAN, NAN, NAN, NAN};
            gate[i].global[k] = NAN;
        }
    }
    return gate;
}

static void keep_gate(watch_t *w, const tap_name_t *name, size_t k, const real_t *x, view_t view) {
    bool local = strcmp(name->part, "local") == 0;
    if (!local && strcmp(name->part, "global") != 0) return;
    char *layer = xasprintf("%.*s", (int)name->module.length, name->module.text);
    watch_module_t *m = module_of(w, layer);
    if (!m->gate) m->gate = new_gates(w);
    for (size_t i = 0; i < w->what.experts->experts; i++) {
        if (!tap_span_is(name->expert, w->what.experts->name[i])) continue;
        if (local)
            keep_local(w, &m->gate[i], layer, k, x, view);
        else
            m->gate[i].global[k] = (double)x[view.shape.dim[0] - 1];
    }
    free(layer);
}

/* ---- attention ---------------------------------------------------------------------------------------- */

/* The last row of queries (B,T,C). */
static void keep_query(watch_t *w, const real_t *x, view_t view) {
    size_t n = view.shape.dim[1] * view.shape.dim[2];
    w->query = xrealloc(w->query, n * sizeof *x);
    memcpy(w->query, x + (view.shape.dim[0] - 1) * n, n * sizeof *x);
    w->queries = view.shape.dim[1];
}

/* NH of "unet.A.transformer_blocks.K.attn2.to_k"; 0 when the UNet has no such attention. */
static size_t heads_of(const watch_t *w, const char *name) {
    static const char blocks[] = ".transformer_blocks.";
    const char *at = strstr(name, blocks);
    if (!at) return 0;
    char *container = xasprintf("%.*s", (int)(at - name), name);
    const block_t *block = pipeline_block(w->what.pipeline, container);
    size_t k = strtoul(at + strlen(blocks), NULL, 10);
    free(container);
    if (!block || !block->transformer || k >= block->transformer->depth) return 0;
    return block->transformer->block[k].attn2.heads;
}

/* Keys (B,S,C) of the queries that came last. */
static void attend(watch_t *w, const char *name, const real_t *x, view_t view) {
    size_t S = view.shape.dim[1], C = view.shape.dim[2], NH = heads_of(w, name);
    if (!w->query || !NH) return;
    w->attention = xrealloc(w->attention, w->queries * S * sizeof *w->attention);
    w->tokens = S;
    attention_shares(w->attention, w->query, x + (view.shape.dim[0] - 1) * S * C, w->queries, S, NH,
                     C / NH);
}

/* out (T) = the share of word i; that of all other tokens for i = count. */
static void word_share(const watch_t *w, size_t i, double *out) {
    const words_t *words = w->what.words;
    for (size_t t = 0; t < w->queries; t++) {
        const double *row = w->attention + t * w->tokens;
        out[t] = i < words->count ? 0 : 1;
        for (size_t k = 0; k < words->count; k++)
            for (size_t j = 0; j < words->word[k].count; j++) {
                double share = row[words->word[k].first + j];
                if (i == words->count) out[t] -= share;
                if (i == k) out[t] += share;
            }
    }
}

/* What came last belongs to m, an attn2. */
static void keep_words(watch_t *w, watch_module_t *m, size_t k) {
    size_t n = w->what.words->count + 1, T = w->queries, H, W;
    size_t kept = place_of(w->kept_step, w->kept, k);
    if (!w->attention || !size_of(w, T, &H, &W)) return;
    if (!m->share) {
        m->share = xmalloc(w->steps * n * sizeof *m->share);
        for (size_t i = 0; i < w->steps * n; i++) m->share[i] = NAN;
        m->word = tiles_for(w, n, H, W, false);
    }
    size_t cells = m->word.rows * m->word.columns;
    double *map = xmalloc(n * cells * sizeof *map), *share = xmalloc(T * sizeof *share), low, high;
    real_t *rounded = xmalloc(T * sizeof *rounded);
    for (size_t i = 0; i < n; i++) {
        word_share(w, i, share);
        for (size_t t = 0; t < T; t++) rounded[t] = (real_t)share[t];
        planes_t p = planes_of(rounded, VIEW_TOKENS(1, T, 1), H, W, false);
        m->share[k * n + i] = planes_figures(&p).mean;
        plane_shrink(map + i * cells, &p, 0, m->word.rows, m->word.columns);
    }
    ends_of(map, (n - 1) * cells, &low, &high); /* most goes to the rest, which may be cut off */
    if (kept < w->kept) keep_tiles(&m->word, kept, map, 0, n > 1 ? high : 1);
    free(rounded);
    free(share);
    free(map);
}

/* ---- the sink ----------------------------------------------------------------------------------------- */

static void keep_module(watch_t *w, const char *name, size_t k, const real_t *x, view_t view) {
    watch_module_t *m = module_of(w, name);
    planes_t p = planes(w, name, x, view);
    size_t kept = place_of(w->kept_step, w->kept, k);
    if (!m->shape.ndim) shape_module(w, m, &p, view.shape);
    m->figures[k] = planes_figures(&p);
    if (kept < w->kept) draw_tiles(m, &p, kept);
    if (text_ends(name, ".attn2.to_q")) keep_query(w, x, view);
    if (text_ends(name, ".attn2.to_k")) attend(w, name, x, view);
    if (text_ends(name, ".attn2")) keep_words(w, m, k);
}

/* What goes into the network in slider step k, and what it takes for the picture. */
static void keep_pictures(watch_t *w, size_t step, size_t k, const real_t *guided) {
    size_t n = w->C * w->H * w->W;
    w->input[k] = xmalloc(n * sizeof *w->input[k]);
    w->clean[k] = xmalloc(n * sizeof *w->clean[k]);
    sampler_scale_input(w->input[k], &w->sampler, step, w->sample, n);
    sampler_x0(w->clean[k], &w->sampler, step, guided, w->sample, n);
}

static void keep(watch_t *w, const tap_name_t *name, const real_t *x, view_t view) {
    size_t k = name->has_step ? place_of(w->step, w->steps, name->step) : w->steps;
    bool guided = strcmp(name->name, "guided") == 0, latents = strcmp(name->name, "latents") == 0;
    bool unet = strncmp(name->name, "unet", 4) == 0;
    if (k < w->steps) {
        if (name->is_mole)
            keep_gate(w, name, k, x, view);
        else if (!name->is_input && (unet || guided || latents))
            keep_module(w, name->name, k, x, view);
        if (guided && !w->input[k]) keep_pictures(w, name->step, k, x);
    }
    if (latents) memcpy(w->sample, x, w->C * w->H * w->W * sizeof *x);
}

static void listen(tap_sink_t *self, const char *text, real_t *x, view_t view) {
    watch_t *w = (watch_t *)self;
    tap_name_t name = tap_name(text);
    if (w->next) w->next->tap(w->next, text, x, view);
    keep(w, &name, x, view);
}

/* Taps that may have tiles: parts with weights, blocks, and what has neither. */
static size_t choose_side(const pipeline_t *pipeline, size_t kept) {
    modules_t m = unet_modules(pipeline->unet);
    size_t side = 16, taps = m.count + 6 * m.blocks;
    while (side > 4 && taps * WATCH_CHANNELS * side * side * kept > WATCH_TILES) side /= 2;
    return side;
}

int watch_open(watch_t *w, const watch_what_t *what, tap_sink_t *next, err_t *err) {
    const pipeline_image_t *image = what->image;
    size_t unit = vae_scale(what->pipeline->vae);
    *w = (watch_t){.sink = {listen, next && next->inputs},
                   .next = next,
                   .what = *what,
                   .C = vae_config(what->pipeline->vae)->latent_channels,
                   .H = image->height / unit,
                   .W = image->width / unit,
                   .run_steps = image->steps};
    if (sampler_plan(&w->sampler, image->sampler, &image->scheduler, image->steps, image->eta, err))
        return -1;
    w->steps = record_spread(image->steps, WATCH_STEPS, w->step);
    w->kept = record_spread(w->steps, WATCH_KEPT, w->kept_step);
    w->side = choose_side(what->pipeline, w->kept);
    w->sample = xcalloc(w->C * w->H * w->W, sizeof *w->sample);
    find_levels(w);
    return 0;
}

static void close_module(watch_module_t *m, size_t experts) {
    for (size_t i = 0; m->gate && i < experts; i++) {
        free_tiles(&m->gate[i].local);
        free(m->gate[i].local_figures);
        free(m->gate[i].global);
    }
    free_tiles(&m->tiles);
    free_tiles(&m->word);
    free(m->name);
    free(m->figures);
    free(m->gate);
    free(m->share);
}

void watch_close(watch_t *w) {
    if (!w->sample) return;
    for (size_t i = 0; i < w->modules; i++) close_module(&w->module[i], w->what.experts->experts);
    for (size_t i = 0; i < w->steps; i++) {
        free(w->input[i]);
        free(w->clean[i]);
    }
    sampler_free(&w->sampler);
    free(w->module);
    free(w->sample);
    free(w->query);
    free(w->attention);
    *w = (watch_t){.modules = 0};
}
