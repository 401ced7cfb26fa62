/* causes_rerun.c - the reference's run once more, on the candidate's own taps and with one thing changed that
 * the candidate did not dump: the timestep and XL's six numbers that the UNet is given, the scale of the
 * latents that the VAE is given, the tokens that a text encoder is given. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "causes/causes_hunt.h"
#include "core/tap_name.h"
#include "io/trace.h"

/* ---- the timestep ---------------------------------------------------------------------------------- */

typedef struct {
    double right, wrong;
    bool known; /* the sinusoids that came by are those of `right` */
} timesteps_t;

static void change_timestep(void *who, double *x, shape_t shape) {
    timesteps_t *t = who;
    size_t count = shape_count(shape), dim = shape.ndim ? shape.dim[shape.ndim - 1] : 0;
    if (dim < 4 || dim % 2) return;
    double *own = xmalloc(dim * sizeof *own);
    for (int way = 0; way < 4; way++) {
        time_way_t sinusoid = {t->right, way / 2, 10000, way % 2 == 0};
        double apart = 0;
        hunt_embed_time(own, dim, dim, sinusoid);
        for (size_t i = 0; i < dim; i++) apart = fmax(apart, fabs(own[i] - x[i]));
        if (apart > 1e-9) continue;
        sinusoid.t = t->wrong;
        hunt_embed_time(x, count, dim, sinusoid);
        t->known = true;
        break;
    }
    free(own);
}

enum { TIMESTEPS = 8 };

/* Wrong timesteps, each once, with all that leads to it. */
typedef struct {
    double right, wrong[TIMESTEPS];
    char why[TIMESTEPS][192];
    size_t count;
} ways_t;

static void add_way(ways_t *w, double wrong, const char *why) {
    size_t i = 0;
    while (i < w->count && w->wrong[i] != wrong) i++;
    if (wrong == w->right || wrong < 0 || i == TIMESTEPS) return;
    if (i == w->count) w->wrong[w->count++] = wrong;
    size_t used = strlen(w->why[i]);
    snprintf(w->why[i] + used, sizeof w->why[i] - used, "%s%s", used ? " or " : "", why);
}

/* The timestep of this step under another setting of the schedule. */
static void add_plan(hunt_t *h, ways_t *w, ddim_config_t config, const char *why) {
    ddim_plan_t plan;
    err_t err;
    if (ddim_plan(&plan, &config, h->c->ddim->steps, &err)) return;
    if (h->c->step < plan.steps) add_way(w, plan.timesteps[h->c->step], why);
    ddim_free(&plan);
}

static void add_ways(hunt_t *h, ways_t *w) {
    const ddim_plan_t *ddim = h->c->ddim;
    char why[64];
    ddim_config_t way = ddim->config;
    way.steps_offset = !way.steps_offset;
    snprintf(why, sizeof why, "of steps_offset %d", way.steps_offset);
    add_plan(h, w, way, why);
    for (timestep_spacing_t s = SPACING_LEADING; s <= SPACING_LINSPACE; s++) {
        way = ddim->config;
        way.timestep_spacing = s;
        snprintf(why, sizeof why, "of timestep_spacing %s", timestep_spacing_name(s));
        add_plan(h, w, way, why);
    }
    add_way(w, w->right / ddim->config.num_train_timesteps,
            "divided by the number of training steps");
    add_way(w, (double)h->c->step, "the number of the step");
    if (h->c->step + 1 < ddim->steps)
        add_way(w, ddim->timesteps[h->c->step + 1], "that of the next step");
    if (h->c->step > 0) add_way(w, ddim->timesteps[h->c->step - 1], "that of the step before");
}

static bool is_in_unet(const hunt_t *h) {
    return strncmp(h->name, "unet", 4) == 0 || strcmp(h->name, "noise_pred") == 0;
}

void cause_timestep(hunt_t *h) {
    const ddim_plan_t *ddim = h->c->ddim;
    shape_t shape;
    if (!ddim || h->c->step >= ddim->steps || !is_in_unet(h)) return;
    if (hunt_tap(h, "unet.time_proj", &shape)) return; /* it has that, and that is right */
    ways_t w = {.right = ddim->timesteps[h->c->step]};
    add_ways(h, &w);
    for (size_t i = 0; i < w.count && !h->best.accepted; i++) {
        timesteps_t t = {w.right, w.wrong[i], false};
        const double *guess = hunt_again(h, "unet.time_proj", change_timestep, &t);
        if (guess && t.known)
            hunt_try(h, guess, "schedule", "the UNet is given timestep %g (%s); it should be %g",
                     w.wrong[i], w.why[i], w.right);
    }
}

/* ---- XL's six numbers ------------------------------------------------------------------------------ */

/* bits: each is rounded to so many; 0: of each pair the second stands first. */
typedef struct {
    int bits, from;
    double to;
    bool changed; /* by more than nothing, and all were known; from becomes to */
} sizes_t;

static double other_size(const sizes_t *o, const int *n, size_t r) {
    return o->bits ? cause_round(n[r], o->bits, -126) : n[r % 2 ? r - 1 : r + 1];
}

static void change_sizes(void *who, double *x, shape_t shape) {
    sizes_t *o = who;
    size_t rows = shape.ndim == 2 ? shape.dim[0] : 0, dim = rows ? shape.dim[1] : 0;
    if (!rows || rows % 2 || dim < 4 || dim % 2) return;
    double *scratch = xmalloc(dim * sizeof *scratch);
    int *n = xcalloc(rows, sizeof *n);
    for (int flip = 1; flip >= 0; flip--) {
        size_t r = 0;
        while (r < rows && (n[r] = hunt_number_of(x + r * dim, dim, flip, scratch)) >= 0) r++;
        if (r < rows) continue;
        while (r-- > 0) {
            double other = other_size(o, n, r);
            hunt_embed_time(x + r * dim, dim, dim, (time_way_t){other, 0, 10000, flip});
            if (other != n[r]) o->from = n[r], o->to = other, o->changed = true;
        }
        break;
    }
    free(scratch);
    free(n);
}

void cause_added_sizes(hunt_t *h) {
    static const struct {
        int bits;
        const char *how;
    } ways[] = {{8, "rounded to bfloat16 before they are embedded"},
                {11, "rounded to float16 before they are embedded"},
                {0, "width first (left first) in each pair; it should be height (top) first"}};
    shape_t shape;
    if (!is_in_unet(h)) return;
    if (hunt_tap(h, "unet.add_time_proj", &shape)) return; /* it has that, and that is right */
    for (size_t i = 0; i < sizeof ways / sizeof *ways && !h->best.accepted; i++) {
        sizes_t change = {.bits = ways[i].bits};
        const double *guess = hunt_again(h, "unet.add_time_proj", change_sizes, &change);
        if (guess && change.changed)
            hunt_try(h, guess, ways[i].bits ? "time" : "swapped-halves",
                     "the six numbers (sizes and corner) are %s: %d becomes %g", ways[i].how,
                     change.from, change.to);
    }
}

/* ---- the scale of the latents ---------------------------------------------------------------------- */

static void change_scale(void *who, double *x, shape_t shape) {
    const double *factor = who;
    for (size_t i = 0; i < shape_count(shape); i++) x[i] *= *factor;
}

static void try_scale(hunt_t *h, double factor, const char *text) {
    if (h->best.accepted || fabs(factor - 1) < 1e-6) return;
    const double *guess = hunt_again(h, "vae.post_quant_conv.in", change_scale, &factor);
    if (guess) hunt_try(h, guess, "gain", "%s", text);
}

void cause_latents_scale(hunt_t *h) {
    static const struct {
        double factor;
        const char *whose;
    } others[] = {{0.13025, "SDXL's"}, {0.18215, "v1's and v2's"}};
    char text[CAUSE_TEXT];
    shape_t shape;
    if (!h->c->pipeline || !h->c->pipeline->vae || strncmp(h->name, "vae.", 4) != 0) return;
    if (hunt_tap(h, "vae.post_quant_conv", &shape)) return; /* it has that, and that is right */
    double scale = vae_config(h->c->pipeline->vae)->scaling_factor;
    snprintf(text, sizeof text, "the latents are not divided by the scaling factor, %g", scale);
    try_scale(h, scale, text);
    snprintf(text, sizeof text, "the latents are multiplied by the scaling factor, %g, not divided",
             scale);
    try_scale(h, scale * scale, text);
    snprintf(text, sizeof text, "the latents are divided by the scaling factor, %g, twice", scale);
    try_scale(h, 1 / scale, text);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(text, sizeof text, "the latents are divided by %g, %s factor; it should be %g",
                 others[i].factor, others[i].whose, scale);
        try_scale(h, scale / others[i].factor, text);
    }
}

/* ---- the latents that the UNet is given ------------------------------------------------------------ */

typedef struct {
    const double *latents;
    size_t count;
    double factor; /* by which they are larger than what is due */
} bare_t;

static void change_latents(void *who, double *x, shape_t shape) {
    bare_t *bare = who;
    size_t count = shape_count(shape), most = 0;
    if (count % bare->count) return;
    for (size_t i = 1; i < bare->count; i++)
        if (fabs(x[i]) > fabs(x[most])) most = i;
    bare->factor = bare->latents[most] / x[most];
    for (size_t i = 0; i < count; i++) x[i] = bare->latents[i % bare->count];
}

/* Euler divides them by sqrt(sigma^2 + 1) before. */
void cause_bare_latents(hunt_t *h) {
    tap_name_t tap = tap_name(h->c->name);
    char prefix[STEP_PREFIX] = "", name[STEP_PREFIX + 16];
    shape_t shape;
    if (!tap.has_step || !is_in_unet(h) || !h->c->tap) return;
    if (hunt_tap(h, "unet.conv_in", &shape)) return; /* it has that, and that is right */
    snprintf(name, sizeof name, "%slatents", tap.step ? tap_step(prefix, tap.step - 1) : "");
    double *x = h->c->tap(h->c->context, name, &shape);
    bare_t bare = {x, x ? shape_count(shape) : 0, 1};
    const double *guess =
        bare.count ? hunt_again(h, "unet.conv_in.in", change_latents, &bare) : NULL;
    if (guess && fabs(bare.factor - 1) > 1e-6)
        hunt_try(
            h, guess, "gain",
            "the UNet is given the latents as they are, %.6g times too large: scale_model_input is left "
            "out",
            bare.factor);
    free(x);
}

/* ---- the tokens ------------------------------------------------------------------------------------ */

/* One change of texts (B,T) of an encoder, whose tokens are read from the vectors that come by. */
typedef struct {
    const text_encoder_t *encoder;
    int32_t pad;    /* in the place of the padding; -1: it stays */
    size_t sample;  /* that becomes the empty text; SIZE_MAX: none */
    size_t samples; /* that came by */
    int32_t was;    /* the padding that was found */
    bool changed;
    bool no_begin, no_end; /* the first token, the end token left out of every text */
} tokens_t;

/* The token whose vector stands at position t; -1: none's. */
static int32_t token_at(const tokens_t *o, const double *x, size_t t) {
    size_t V = text_encoder_config(o->encoder)->vocab_size;
    size_t D = text_encoder_config(o->encoder)->hidden_size;
    const real_t *token, *position;
    text_encoder_tables(o->encoder, &token, &position);
    for (size_t id = 0; id < V; id++) {
        size_t d = 0;
        while (d < D && fabs(x[d] - (double)token[id * D + d] - (double)position[t * D + d]) < 1e-6)
            d++;
        if (d == D) return (int32_t)id;
    }
    return -1;
}

static void put_token(const tokens_t *o, double *x, size_t t, int32_t id) {
    size_t D = text_encoder_config(o->encoder)->hidden_size;
    const real_t *token, *position;
    text_encoder_tables(o->encoder, &token, &position);
    for (size_t d = 0; d < D; d++) x[d] = (double)(token[(size_t)id * D + d] + position[t * D + d]);
}

/* One text: its vectors x (T,D), their tokens ids (T). */
static void change_text(tokens_t *o, double *x, const int32_t *ids, size_t T, bool empty) {
    size_t D = text_encoder_config(o->encoder)->hidden_size, first = T;
    int32_t pad = ids[T - 1], end = 0;
    for (size_t t = 0; t < T; t++) end = ids[t] > end ? ids[t] : end;
    while (first > 1 && ids[first - 1] == pad) first--;
    if (pad == end) first++; /* the end token itself is no padding */
    if (first >= T) return;
    o->was = pad;
    if (empty) put_token(o, x + D, 1, end), first = 2;
    if (o->no_begin || o->no_end) {
        size_t from = o->no_begin ? 1 : first;
        for (size_t t = from; t < first; t++) put_token(o, x + (t - 1) * D, t - 1, ids[t]);
        first--;
        o->changed = true;
    }
    for (size_t t = first; t < T; t++) {
        int32_t id = o->pad < 0 ? pad : o->pad;
        put_token(o, x + t * D, t, id);
        o->changed = o->changed || id != ids[t];
    }
}

static void change_tokens(void *who, double *x, shape_t shape) {
    tokens_t *o = who;
    const text_encoder_config_t *config = text_encoder_config(o->encoder);
    if (shape.ndim != 3 || shape.dim[1] < 3 || shape.dim[2] != config->hidden_size) return;
    size_t B = shape.dim[0], T = shape.dim[1], D = shape.dim[2];
    int32_t *ids = xcalloc(T, sizeof *ids);
    o->samples = B;
    for (size_t b = 0; b < B; b++) {
        size_t t = 0;
        while (t < T && (ids[t] = token_at(o, x + (b * T + t) * D, t)) >= 0) t++;
        if (t == T && (o->pad >= 0 || b == o->sample || o->no_begin || o->no_end))
            change_text(o, x + b * T * D, ids, T, b == o->sample);
    }
    free(ids);
}

/* 0 and the end token, which is the last of the vocabulary, are what tokenizers pad with. */
static void try_paddings(hunt_t *h, const text_encoder_t *e, const char *name) {
    int32_t ids[] = {0, (int32_t)text_encoder_config(e)->vocab_size - 1};
    char tap[96];
    snprintf(tap, sizeof tap, "%s.text_model.embeddings", name);
    for (size_t i = 0; i < 2; i++) {
        tokens_t change = {.encoder = e, .pad = ids[i], .sample = SIZE_MAX, .was = -1};
        const double *guess = hunt_again(h, tap, change_tokens, &change);
        if (guess && change.changed)
            hunt_try(h, guess, "padding",
                     "the texts for %s are padded with token %d; it should be %d", name, ids[i],
                     change.was);
    }
}

static void try_empty(hunt_t *h, const text_encoder_t *e, const char *name) {
    char tap[96];
    size_t samples = 1;
    snprintf(tap, sizeof tap, "%s.text_model.embeddings", name);
    for (size_t b = 0; b < samples && b < 2; b++) {
        tokens_t change = {.encoder = e, .pad = -1, .sample = b, .was = -1};
        const double *guess = hunt_again(h, tap, change_tokens, &change);
        samples = change.samples;
        if (guess && change.changed)
            hunt_try(h, guess, "prompt",
                     "%s is given the empty text as text %zu of %zu; another is due", name, b + 1,
                     samples);
    }
}

static void try_marks(hunt_t *h, const text_encoder_t *e, const char *name) {
    char tap[96];
    snprintf(tap, sizeof tap, "%s.text_model.embeddings", name);
    for (int end = 0; end < 2; end++) {
        tokens_t change = {e,         .pad = -1,        .sample = SIZE_MAX,
                           .was = -1, .no_begin = !end, .no_end = end};
        const double *guess = hunt_again(h, tap, change_tokens, &change);
        if (guess && change.changed)
            hunt_try(h, guess, "prompt", "the texts for %s have no %s token", name,
                     end ? "end" : "begin");
    }
}

void cause_tokens(hunt_t *h) {
    const pipeline_t *p = h->c->pipeline;
    bool text = strncmp(h->name, "text_encoder", 12) == 0 || text_ends(h->name, "prompt_embeds");
    if (!p || !text) return;
    for (size_t i = 0; i < p->texts; i++) {
        const char *name = pipeline_text_encoder_name(i);
        char tap[96];
        shape_t shape;
        snprintf(tap, sizeof tap, "%s.text_model.embeddings", name);
        if (!p->text_encoder[i] || hunt_tap(h, tap, &shape)) continue; /* it has that */
        try_paddings(h, p->text_encoder[i], name);
        if (!h->best.accepted) try_empty(h, p->text_encoder[i], name);
        if (!h->best.accepted) try_marks(h, p->text_encoder[i], name);
    }
}
