/* causes_sampler.c - guidance, the sampler's step, noise, the picture, the text's vectors. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "causes/causes_hunt.h"
#include "io/trace.h"

/* ---- guidance -------------------------------------------------------------------------------- */

/* The candidate is p uncond + q cond; the expected one (1 - g) uncond + g cond. */
static void name_guidance(hunt_t *h, const double *guess, double p, double q, double g) {
    double near = 1e-4 * (1 + fabs(g));
    if (fabs(p - g) < near && fabs(q - (1 - g)) < near)
        hunt_try(
            h, guess, "order",
            "conditional and unconditional are exchanged: the unconditional sample comes first");
    else if (fabs(p + q - 1) < near && fabs(q - (g + 1)) < near)
        hunt_try(h, guess, "order",
                 "guidance is cond + g (cond - uncond); it is uncond + g (...): "
                 "your scale acts as %.6g for %.6g",
                 q, g);
    else if (fabs(q) < near && fabs(p - 1) < near)
        hunt_try(h, guess, "order", "no guidance: the unconditional prediction alone");
    else if (fabs(p) < near && fabs(q - 1) < near)
        hunt_try(h, guess, "order", "no guidance: the conditional prediction alone");
    else if (fabs(p + q - 1) < near)
        hunt_try(h, guess, "order", "a guidance scale of %.6g; it should be %.6g", q, g);
    else
        hunt_try(h, guess, "order",
                 "your result is %.6g uncond + %.6g cond; it should be %.6g uncond + %.6g cond", p,
                 q, 1 - g, g);
}

void cause_guidance(hunt_t *h) {
    shape_t shape;
    if (strcmp(h->name, "guided") != 0) return;
    const double *pred = hunt_tap(h, "noise_pred", &shape);
    size_t n = h->c->count;
    if (!pred || shape_count(shape) != 2 * n) return;
    double p, q, u, g;
    if (!hunt_fit2(h->c->candidate, pred, pred + n, n, &p, &q)) return;
    if (!hunt_fit2(h->c->expected, pred, pred + n, n, &u, &g)) return;
    double *guess = hunt_doubles(h, n);
    for (size_t i = 0; i < n; i++) guess[i] = p * pred[i] + q * pred[n + i];
    name_guidance(h, guess, p, q, g);
}

/* ---- the sampler's step ---------------------------------------------------------------------- */

/* The same step with other settings, or of another step of the plan. */
static void try_settings(hunt_t *h, ddim_config_t config, const double *x, const double *m,
                         const char *text) {
    const culprit_t *c = h->c;
    ddim_t ddim;
    err_t err;
    if (ddim_plan(&ddim, &config, c->ddim->steps, &err)) return;
    if (c->step < ddim.steps) {
        real_t *out = hunt_reals(h, NULL, c->count);
        real_t *model = hunt_reals(h, m, c->count), *sample = hunt_reals(h, x, c->count);
        ddim_step(out, &ddim, c->step, model, sample, c->count, 0, NULL);
        double *guess = hunt_doubles(h, c->count);
        for (size_t i = 0; i < c->count; i++) guess[i] = (double)out[i];
        hunt_try(h, guess, "schedule", "%s", text);
    }
    ddim_free(&ddim);
}

static void try_offsets(hunt_t *h, const double *x, const double *m) {
    const ddim_config_t right = h->c->ddim->config;
    char text[CAUSE_TEXT];
    for (int offset = 0; offset <= 1; offset++) {
        ddim_config_t way = right;
        way.steps_offset = offset;
        if (offset == right.steps_offset) continue;
        snprintf(text, sizeof text, "steps_offset is %d; it should be %d", offset,
                 right.steps_offset);
        try_settings(h, way, x, m, text);
    }
    for (timestep_spacing_t s = SPACING_LEADING; s <= SPACING_LINSPACE; s++) {
        ddim_config_t way = right;
        way.timestep_spacing = s;
        if (s == right.timestep_spacing) continue;
        snprintf(text, sizeof text, "timestep_spacing is %s; it should be %s",
                 timestep_spacing_name(s), timestep_spacing_name(right.timestep_spacing));
        try_settings(h, way, x, m, text);
    }
}

static void try_scheduler(hunt_t *h, const double *x, const double *m) {
    const ddim_config_t right = h->c->ddim->config;
    char text[CAUSE_TEXT];
    ddim_config_t way = right;
    way.set_alpha_to_one = !right.set_alpha_to_one;
    try_settings(
        h, way, x, m,
        right.set_alpha_to_one
            ? "the last step ends at alphas_cumprod[0]; it should be 1 (set_alpha_to_one)"
            : "the last step ends at 1; it should be alphas_cumprod[0] (set_alpha_to_one)");
    way = right, way.clip_sample = !right.clip_sample;
    if (way.clip_sample && !(way.clip_sample_range > 0)) way.clip_sample_range = 1;
    try_settings(h, way, x, m,
                 right.clip_sample ? "the predicted sample is not clipped (clip_sample)"
                                   : "the predicted sample is clipped (clip_sample)");
    for (prediction_type_t type = PREDICT_EPSILON; type <= PREDICT_SAMPLE; type++) {
        way = right, way.prediction_type = type;
        if (type == right.prediction_type) continue;
        snprintf(text, sizeof text, "the model's output is taken for %s; it is %s",
                 prediction_type_name(type), prediction_type_name(right.prediction_type));
        try_settings(h, way, x, m, text);
    }
    for (beta_schedule_t beta = BETA_LINEAR; beta <= BETA_SQUAREDCOS_CAP_V2; beta++) {
        way = right, way.beta_schedule = beta;
        if (beta == right.beta_schedule) continue;
        snprintf(text, sizeof text, "beta_schedule is %s; it should be %s",
                 beta_schedule_name(beta), beta_schedule_name(right.beta_schedule));
        try_settings(h, way, x, m, text);
    }
    try_offsets(h, x, m);
}

/* Any step is p x + q m: other factors than expected are other noise levels. */
static void try_factors(hunt_t *h, const double *x, const double *m) {
    double p, q, u, v;
    size_t n = h->c->count;
    if (n < 8 || !hunt_fit2(h->c->candidate, x, m, n, &p, &q)) return;
    if (!hunt_fit2(h->c->expected, x, m, n, &u, &v)) return;
    double *guess = hunt_doubles(h, n);
    for (size_t i = 0; i < n; i++) guess[i] = p * x[i] + q * m[i];
    if (fabs(q + v) < 1e-4 * fabs(v) && fabs(p - u) < 1e-4 * fabs(u))
        hunt_try(h, guess, "schedule", "the sign of the model's output is turned");
    else
        hunt_try(h, guess, "schedule",
                 "your step is %.6g latents + %.6g prediction; it should be %.6g latents + %.6g "
                 "prediction: other noise levels (offset, final alpha, prediction type?)",
                 p, q, u, v);
}

/* Epsilon prediction: the noise levels follow from the factors u and v of the expected step,
 * because
 *   u = sqrt(alpha_prev / alpha),  v = sqrt(1 - alpha_prev) - u sqrt(1 - alpha)
 * and v falls with alpha. With them the clipped step is known without the schedule. */
static void try_clipped(hunt_t *h, const double *x, const double *m) {
    double u, v, low = 0, high = 1;
    size_t n = h->c->count;
    if (n < 8 || !hunt_fit2(h->c->expected, x, m, n, &u, &v) || !(u > 0)) return;
    high = fmin(1, 1 / (u * u));
    for (int i = 0; i < 200; i++) {
        double a = (low + high) / 2;
        double f = sqrt(fmax(1 - u * u * a, 0)) - u * sqrt(1 - a);
        if (f > v)
            low = a;
        else
            high = a;
    }
    double a = low, previous = u * u * a;
    double *guess = hunt_doubles(h, n);
    for (size_t i = 0; i < n; i++) {
        double x0 = fmin(fmax((x[i] - sqrt(1 - a) * m[i]) / sqrt(a), -1), 1);
        guess[i] = sqrt(previous) * x0 + sqrt(fmax(1 - previous, 0)) * m[i];
    }
    h->tolerance = fmax(h->tolerance, 1e-11 * h->scale); /* the levels are fitted, not known */
    hunt_try(h, guess, "schedule", "the predicted sample is clipped to -1 .. 1 (clip_sample)");
}

void cause_step(hunt_t *h) {
    const culprit_t *c = h->c;
    unsigned long step;
    char prefix[STEP_PREFIX] = "", name[STEP_PREFIX + 16];
    shape_t shape;
    if (strcmp(h->name, "latents") != 0 || strncmp(c->name, "step.", 5) != 0 || !c->tap) return;
    step = strtoul(c->name + 5, NULL, 10);
    const double *m = hunt_tap(h, "guided", &shape);
    if (!m || shape_count(shape) != c->count) return;
    snprintf(name, sizeof name, "%slatents", step ? trace_step(prefix, (size_t)step - 1) : "");
    double *x = c->tap(c->context, name, &shape);
    if (x && shape_count(shape) == c->count) {
        hunt_try(h, x, "unconverged", "the latents are those of the step before: not updated");
        if (c->ddim) try_scheduler(h, x, m);
        if (!h->best.accepted) try_factors(h, x, m);
        if (!h->best.accepted) try_clipped(h, x, m);
    }
    free(x);
}

/* ---- the noise that a run starts from -------------------------------------------------------- */

/* torch draws 16 and more numbers in blocks: 8 radii with cosines, the same 8 with sines. */
static void try_blocks(hunt_t *h) {
    const culprit_t *c = h->c;
    enum { HALF = 8, BLOCK = 16 };
    double *guess = hunt_doubles(h, c->count), right = 0;
    size_t whole = c->count / BLOCK * BLOCK;
    for (size_t i = 0; i < c->count; i++)
        guess[i] = c->expected[i < whole ? (i % BLOCK < HALF ? i + HALF : i - HALF) : i];
    hunt_try(h, guess, "layout",
             "in each block of 16 numbers cosines and sines of Box and Muller are "
             "exchanged: cosines come first");
    if (c->count <= BLOCK || c->count % BLOCK == 0) return;
    for (size_t i = 0; i + BLOCK < c->count; i++)
        right = fmax(right, fabs(c->candidate[i] - c->expected[i]));
    if (right <= h->tolerance && right <= 1e-2 * h->difference)
        hunt_try(
            h, c->candidate, "noise",
            "only the last 16 numbers of the noise are others: where 16 does not divide the size, "
            "torch draws them anew");
}

void cause_noise(hunt_t *h) {
    const culprit_t *c = h->c;
    double dot = 0, own = 0, other = 0, n = (double)c->count;
    if (strcmp(c->name, "latents") != 0 || c->count < 32) return;
    try_blocks(h);
    if (h->best.accepted) return;
    for (size_t i = 0; i < c->count; i++) {
        dot += c->candidate[i] * c->expected[i];
        own += c->candidate[i] * c->candidate[i];
        other += c->expected[i] * c->expected[i];
    }
    bool alike = own > 0.6 * other && own < 1.7 * other;
    if (alike && fabs(dot) < 4 / sqrt(n) * sqrt(own * other))
        hunt_try(h, c->candidate, "noise",
                 "this is noise of the same size, but other numbers: another "
                 "generator, seed, or order of drawing");
}

/* ---- the picture ----------------------------------------------------------------------------- */

void cause_image(hunt_t *h) {
    shape_t shape;
    if (strcmp(h->name, "image") != 0) return;
    const double *x = hunt_tap(h, "vae.decoder", &shape);
    size_t n = h->c->count;
    if (!x || shape_count(shape) != n) return;
    static const struct {
        double gain, offset, least, most;
        const char *kind, *text;
    } ways[] = {{0.5, 0.5, -HUGE_VAL, HUGE_VAL, "range", "the picture is not clamped to 0 .. 1"},
                {1, 0, -HUGE_VAL, HUGE_VAL, "offset",
                 "the picture is still -1 .. 1: x / 2 + 0.5 is missing"},
                {1, 0, -1, 1, "offset", "the picture is -1 .. 1: x / 2 + 0.5 is missing"},
                {1, 0, 0, 1, "offset", "the picture is clamped to 0 .. 1 without x / 2 + 0.5"},
                {1, 1, 0, 1, "gain", "the picture is x + 1 in place of (x + 1) / 2"},
                {127.5, 127.5, 0, 255, "range", "the picture is 0 .. 255; it should be 0 .. 1"}};
    double *guess = hunt_doubles(h, n);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        for (size_t i = 0; i < n; i++)
            guess[i] =
                fmin(fmax(ways[w].gain * x[i] + ways[w].offset, ways[w].least), ways[w].most);
        hunt_try(h, guess, ways[w].kind, "%s", ways[w].text);
    }
}

/* ---- token embeddings ------------------------------------------------------------------------ */

/* The same vector in the place of the last tokens of each sample, and right before them. */
static void try_padding(hunt_t *h, const double *delta, size_t B, size_t T, size_t C) {
    double *spread = hunt_doubles(h, h->c->count), *mean = hunt_doubles(h, C);
    size_t wrong = 0;
    memset(mean, 0, C * sizeof *mean);
    memset(spread, 0, h->c->count * sizeof *spread);
    size_t *first = (size_t *)hunt_doubles(h, B);
    for (size_t b = 0; b < B; b++) {
        for (first[b] = 0; first[b] < T; first[b]++) {
            double sum = 0;
            for (size_t c = 0; c < C; c++) sum += fabs(delta[(b * T + first[b]) * C + c]);
            if (sum > h->tolerance * (double)C) break;
        }
        for (size_t t = first[b]; t < T; t++, wrong++)
            for (size_t c = 0; c < C; c++) mean[c] += delta[(b * T + t) * C + c];
    }
    if (wrong < 2 || wrong == B * T) return;
    for (size_t b = 0; b < B; b++)
        for (size_t t = first[b]; t < T; t++)
            for (size_t c = 0; c < C; c++) spread[(b * T + t) * C + c] = mean[c] / (double)wrong;
    hunt_try_delta(
        h, spread, 1, "padding",
        "the last tokens (from %zu on in the first sample) are all off by one vector: another "
        "token id pads them",
        first[0]);
}

void cause_embeddings(hunt_t *h) {
    const shape_t *s = &h->c->shape;
    if (!hunt_ends(h->name, "text_model.embeddings") || s->ndim != 3) return;
    size_t B = s->dim[0], T = s->dim[1], C = s->dim[2], n = h->c->count;
    double *delta = hunt_doubles(h, n), *mean = hunt_doubles(h, T * C);
    for (size_t i = 0; i < n; i++) delta[i] = h->c->candidate[i] - h->c->expected[i];
    try_padding(h, delta, B, T, C);
    if (B < 2) return;
    memset(mean, 0, T * C * sizeof *mean);
    for (size_t i = 0; i < n; i++) mean[i % (T * C)] += delta[i] / (double)B;
    double *spread = hunt_doubles(h, n);
    for (size_t i = 0; i < n; i++) spread[i] = mean[i % (T * C)];
    hunt_try_delta(h, spread, 1, "shift",
                   "each position is off by the same vector in every sample: position embeddings "
                   "(left out, or off by one?)");
}

/* The text's vectors are right up to a token of each sample and wrong from there on. Causal
 * attention lets a token change only itself and those behind it. */
void cause_prompt(hunt_t *h) {
    const shape_t *s = &h->c->shape;
    if (!hunt_ends(h->name, "prompt_embeds") || s->ndim != 3) return;
    size_t least = SIZE_MAX, most = 0;
    for (size_t b = 0; b < s->dim[0]; b++) {
        size_t at = 0, each = s->dim[1] * s->dim[2];
        for (; at < each; at++) {
            double d = h->c->candidate[b * each + at] - h->c->expected[b * each + at];
            if (fabs(d) > 4 * h->tolerance) break;
        }
        least = at / s->dim[2] < least ? at / s->dim[2] : least;
        most = at / s->dim[2] > most ? at / s->dim[2] : most;
    }
    if (least >= 2 && least < s->dim[1])
        hunt_try(h, h->c->candidate, "padding",
                 "right up to token %zu, wrong from there on (%zu in another sample): other ids "
                 "behind the "
                 "end of the prompt, another padding?",
                 least, most);
}
