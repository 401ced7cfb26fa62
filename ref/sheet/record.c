/* record.c - see record.h. */
#include "sheet/record.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/tap_name.h"
#include "sheet/attention.h"

/* ---- maps --------------------------------------------------------------------------------------------- */

static record_map_t new_map(size_t H, size_t W) {
    return (record_map_t){H, W, 0, xcalloc(H * W, sizeof(double))};
}

/* x (H,W) on the map's places: each takes the number it lies in. */
static void add_map(record_map_t *map, const double *x, size_t H, size_t W) {
    for (size_t v = 0; v < map->H; v++)
        for (size_t u = 0; u < map->W; u++)
            map->sum[v * map->W + u] += x[v * H / map->H * W + u * W / map->W];
    map->count++;
}

void record_mean(double *out, const record_map_t *map) {
    for (size_t i = 0; i < map->H * map->W; i++)
        out[i] = map->count ? map->sum[i] / (double)map->count : 0;
}

/* ---- steps -------------------------------------------------------------------------------------------- */

size_t record_spread(size_t steps, size_t most, size_t *step) {
    size_t n = steps < most ? steps : most;
    for (size_t i = 0; i < n; i++) step[i] = n > 1 ? (i * (steps - 1) + (n - 1) / 2) / (n - 1) : 0;
    return n;
}

/* Which of the shown steps it is; `shown` when none. */
static size_t place_of(const record_t *r, size_t step) {
    size_t i = 0;
    while (i < r->shown && r->step[i] != step) i++;
    return i;
}

/* The network's answer in a step that is shown. */
static void keep_step(record_t *r, size_t step, const real_t *guided) {
    size_t i = place_of(r, step), n = r->C * r->H * r->W;
    if (i == r->shown) return;
    sampler_scale_input(r->latents[i], &r->sampler, step, r->sample, n);
    sampler_x0(r->clean[i], &r->sampler, step, guided, r->sample, n);
}

/* ---- gates -------------------------------------------------------------------------------------------- */

/* The resolution of so many places; false when it is none. */
static bool level_of(const record_t *r, size_t places, size_t *level) {
    for (*level = 0; *level < r->levels; ++*level)
        if (r->level[*level].H * r->level[*level].W == places) return true;
    return false;
}

static void keep_local(record_t *r, record_expert_t *e, size_t step, const real_t *x, view_t view) {
    size_t T = view.shape.dim[1], first = (view.shape.dim[0] - 1) * T, level;
    if (!level_of(r, T, &level)) return;
    size_t H = r->level[level].H, W = r->level[level].W, i = place_of(r, step);
    double *gate = xmalloc(T * sizeof *gate);
    for (size_t t = 0; t < T; t++) gate[t] = (double)x[first + t];
    add_map(&e->local, gate, H, W);
    add_map(&e->level[level], gate, H, W);
    if (i < r->shown) add_map(&e->at_step[i], gate, H, W);
    free(gate);
}

static void keep_global(record_expert_t *e, size_t step, double gate) {
    record_range_t *range = &e->global[step];
    range->least = range->count ? fmin(range->least, gate) : gate;
    range->most = range->count ? fmax(range->most, gate) : gate;
    range->sum += gate;
    range->count++;
}

static void keep_gate(record_t *r, const tap_name_t *name, const real_t *x, view_t view) {
    if (name->step >= r->steps || strstr(name->name, ".attn2.to_k.") ||
        strstr(name->name, ".attn2.to_v."))
        return;
    for (size_t i = 0; i < r->experts; i++) {
        record_expert_t *e = &r->expert[i];
        if (!tap_span_is(name->expert, e->name)) continue;
        if (strcmp(name->part, "local") == 0) keep_local(r, e, name->step, x, view);
        if (strcmp(name->part, "global") == 0)
            keep_global(e, name->step, (double)x[view.shape.dim[0] - 1]);
    }
}

/* ---- attention ---------------------------------------------------------------------------------------- */

/* The last row of queries (B,T,C). */
static void keep_query(record_t *r, const real_t *x, view_t view) {
    size_t n = view.shape.dim[1] * view.shape.dim[2];
    r->query = xrealloc(r->query, n * sizeof *x);
    memcpy(r->query, x + (view.shape.dim[0] - 1) * n, n * sizeof *x);
    r->queries = view.shape.dim[1];
}

/* Keys (B,S,C) of the queries that came last. */
static void keep_attention(record_t *r, const record_attention_t *a, size_t step, const real_t *x,
                           view_t view) {
    size_t T = r->queries, S = view.shape.dim[1], level, i = place_of(r, step);
    size_t C = a->heads * a->width;
    const real_t *key = x + (view.shape.dim[0] - 1) * S * C;
    if (!r->query || !level_of(r, T, &level)) return;
    size_t H = r->level[level].H, W = r->level[level].W;
    double *share = xmalloc(T * sizeof *share);
    attention_to(share, r->query, key, T, S, a->heads, a->width, r->token, r->tokens);
    add_map(&r->word, share, H, W);
    if (i < r->shown) add_map(&r->word_at[i], share, H, W);
    free(share);
}

static void listen_to_attention(record_t *r, const tap_name_t *name, const real_t *x, view_t view) {
    for (size_t i = 0; i < r->attentions; i++) {
        const record_attention_t *a = &r->attention[i];
        if (strcmp(name->name, a->query) == 0) keep_query(r, x, view);
        if (strcmp(name->name, a->key) == 0) keep_attention(r, a, name->step, x, view);
    }
}

/* ---- the sink ----------------------------------------------------------------------------------------- */

static void keep(record_t *r, const tap_name_t *name, const real_t *x, view_t view) {
    if (name->is_mole)
        keep_gate(r, name, x, view);
    else if (text_ends(name->name, ".attn2.to_q") || text_ends(name->name, ".attn2.to_k"))
        listen_to_attention(r, name, x, view);
    else if (name->has_step && strcmp(name->name, "guided") == 0)
        keep_step(r, name->step, x);
    else if (strcmp(name->name, "latents") == 0)
        memcpy(r->sample, x, r->C * r->H * r->W * sizeof *x);
}

static void listen(tap_sink_t *self, const char *text, real_t *x, view_t view) {
    record_t *r = (record_t *)self;
    tap_name_t name = tap_name(text);
    if (r->next) r->next->tap(r->next, text, x, view);
    keep(r, &name, x, view);
}

/* The resolutions of the UNet, each half of the one before, rounded up. */
static void find_levels(record_t *r) {
    for (size_t H = r->H, W = r->W; r->levels < RECORD_LEVELS; H = (H + 1) / 2, W = (W + 1) / 2) {
        r->level[r->levels].H = H;
        r->level[r->levels++].W = W;
        if (H == 1 && W == 1) break;
    }
}

static void open_expert(record_t *r, record_expert_t *e, const char *name) {
    e->name = name;
    e->local = new_map(r->H, r->W);
    for (size_t i = 0; i < r->levels; i++) e->level[i] = new_map(r->level[i].H, r->level[i].W);
    for (size_t i = 0; i < r->shown; i++) e->at_step[i] = new_map(r->H, r->W);
    e->global = xcalloc(r->steps, sizeof *e->global);
}

/* Every attn2 of the UNet. */
static void find_attentions(record_t *r, const unet_t *unet) {
    modules_t modules = unet_modules(unet);
    for (size_t i = 0; i < modules.blocks; i++) {
        const transformer_t *t = modules.block[i].transformer;
        for (size_t k = 0; t && k < t->depth; k++) {
            const attention_t *a = &t->block[k].attn2;
            r->attention = xrealloc(r->attention, (r->attentions + 1) * sizeof *r->attention);
            r->attention[r->attentions++] =
                (record_attention_t){a->to_q.name, a->to_k.name, a->heads, a->width};
        }
    }
}

static void open_word(record_t *r, const record_what_t *what) {
    find_attentions(r, what->pipeline->unet);
    r->tokens = what->tokens;
    r->token = xmalloc(r->tokens * sizeof *r->token);
    memcpy(r->token, what->token, r->tokens * sizeof *r->token);
    r->word = new_map(r->H, r->W);
    for (size_t i = 0; i < r->shown; i++) r->word_at[i] = new_map(r->H, r->W);
}

int record_open(record_t *r, const record_what_t *what, tap_sink_t *next, err_t *err) {
    const pipeline_image_t *image = what->image;
    size_t unit = vae_scale(what->pipeline->vae);
    *r = (record_t){.sink = {listen, next && next->inputs},
                    .next = next,
                    .C = vae_config(what->pipeline->vae)->latent_channels,
                    .H = image->height / unit,
                    .W = image->width / unit,
                    .steps = image->steps,
                    .experts = what->experts->experts};
    if (sampler_plan(&r->sampler, image->sampler, &image->scheduler, r->steps, image->eta, err))
        return -1;
    size_t n = r->C * r->H * r->W;
    r->shown = record_spread(r->steps, RECORD_STEPS, r->step);
    r->sample = xcalloc(n, sizeof *r->sample);
    for (size_t i = 0; i < r->shown; i++) r->latents[i] = xcalloc(n, sizeof *r->sample);
    for (size_t i = 0; i < r->shown; i++) r->clean[i] = xcalloc(n, sizeof *r->sample);
    find_levels(r);
    for (size_t i = 0; i < r->experts; i++) open_expert(r, &r->expert[i], what->experts->name[i]);
    if (what->tokens) open_word(r, what);
    return 0;
}

static void close_expert(record_t *r, record_expert_t *e) {
    free(e->local.sum);
    for (size_t i = 0; i < r->levels; i++) free(e->level[i].sum);
    for (size_t i = 0; i < r->shown; i++) free(e->at_step[i].sum);
    free(e->global);
}

void record_close(record_t *r) {
    if (!r->sample) return;
    for (size_t i = 0; i < r->experts; i++) close_expert(r, &r->expert[i]);
    for (size_t i = 0; i < r->shown; i++) {
        free(r->latents[i]);
        free(r->clean[i]);
        free(r->word_at[i].sum);
    }
    sampler_free(&r->sampler);
    free(r->sample);
    free(r->attention);
    free(r->token);
    free(r->word.sum);
    free(r->query);
    *r = (record_t){0};
}
