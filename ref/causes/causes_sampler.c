/* causes_sampler.c - guidance, the sampler's step, noise, the picture. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "causes/causes_hunt.h"
#include "core/sort.h"
#include "core/tap_name.h"
#include "io/trace.h"

/* ---- guidance -------------------------------------------------------------------------------- */

/* pred is the unconditional prediction, then the conditional one, n numbers each. */
static const double *combine(hunt_t *h, const double *pred, double p, double q) {
    size_t n = h->c->count;
    double *guess = hunt_doubles(h, n);
    for (size_t i = 0; i < n; i++) guess[i] = p * pred[i] + q * pred[n + i];
    return guess;
}

/* s of uncond + s (cond - uncond) that comes nearest to y. */
static double scale_of(const double *y, const double *pred, size_t n) {
    double s = 0;
    for (int round = 0; round < 2; round++) { /* the second fits what the first's sums lose */
        double dot = 0, square = 0;
        for (size_t i = 0; i < n; i++) {
            double d = pred[n + i] - pred[i];
            dot += (y[i] - pred[i] - s * d) * d;
            square += d * d;
        }
        s += square > 0 ? dot / square : 0;
    }
    return s;
}

/* Any scale, then any combination: fitted. */
static void try_scales(hunt_t *h, const double *pred, double g) {
    char text[4][HUNT_NUMBER];
    size_t n = h->c->count;
    double s = scale_of(h->c->candidate, pred, n), p, q;
    hunt_try_fitted(h, combine(h, pred, 1 - s, s), 1, "order",
                    "a guidance scale of %s; it should be %s", hunt_number(h, text[0], s, g),
                    hunt_number(h, text[1], g, s));
    if (h->best.accepted || !hunt_fit2(h->c->candidate, pred, pred + n, n, &p, &q)) return;
    if (fabs(g) > 1e-3 && fabs(p * g - q * (1 - g)) < 1e-6 * fabs(q)) {
        hunt_try_fitted(h, combine(h, pred, (1 - g) * q / g, q), 1, "gain",
                        "the guided prediction is multiplied by %s, as guidance_rescale does",
                        hunt_number(h, text[0], q / g, 1));
        if (h->best.accepted) return;
    }
    hunt_fits(h, combine(h, pred, p, q), 2, "order",
              "your result is %s uncond + %s cond; it should be %s uncond + %s cond",
              hunt_number(h, text[0], p, 1 - g), hunt_number(h, text[1], q, g),
              hunt_number(h, text[2], 1 - g, p), hunt_number(h, text[3], g, q));
}

void cause_guidance(hunt_t *h) {
    shape_t shape;
    char plus[HUNT_NUMBER], right[HUNT_NUMBER];
    if (strcmp(h->name, "guided") != 0) return;
    const double *pred = hunt_tap(h, "noise_pred", &shape);
    size_t n = h->c->count;
    if (!pred || shape_count(shape) != 2 * n) return;
    double g = scale_of(h->c->expected, pred, n);
    if (!hunt_same(h, combine(h, pred, 1 - g, g), h->c->expected, n)) return;
    hunt_try(h, combine(h, pred, g, 1 - g), "order",
             "conditional and unconditional are exchanged: the unconditional sample comes first");
    hunt_try(h, combine(h, pred, -g, g + 1), "order",
             "guidance is cond + g (cond - uncond); it is uncond + g (...): your scale acts as %s "
             "for %s",
             hunt_number(h, plus, g + 1, g), hunt_number(h, right, g, g + 1));
    hunt_try(h, combine(h, pred, 1, 0), "order", "no guidance: the unconditional prediction alone");
    hunt_try(h, combine(h, pred, 0, 1), "order", "no guidance: the conditional prediction alone");
    if (!h->best.accepted) try_scales(h, pred, g);
}

/* ---- the sampler's step ---------------------------------------------------------------------- */

/* The same step with other settings, or of another step of the plan. */
static void try_settings(hunt_t *h, ddim_config_t config, const double *x, const double *m,
                         const char *text) {
    const culprit_t *c = h->c;
    ddim_plan_t ddim;
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
    double *guess = hunt_doubles(h, n), *turned = hunt_doubles(h, n);
    char text[4][HUNT_NUMBER];
    for (size_t i = 0; i < n; i++) guess[i] = p * x[i] + q * m[i], turned[i] = u * x[i] - v * m[i];
    if (hunt_try(h, turned, "schedule", "the sign of the model's output is turned")) return;
    hunt_fits(h, guess, 2, "schedule",
              "your step is %s latents + %s prediction; it should be %s latents + %s prediction "
              "(which noise levels and prediction type decide)",
              hunt_number(h, text[0], p, u), hunt_number(h, text[1], q, v),
              hunt_number(h, text[2], u, p), hunt_number(h, text[3], v, q));
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
    tap_name_t tap = tap_name(c->name);
    char prefix[STEP_PREFIX] = "", name[STEP_PREFIX + 16];
    shape_t shape;
    if (strcmp(h->name, "latents") != 0 || !tap.has_step || !c->tap) return;
    const double *m = hunt_tap(h, "guided", &shape);
    if (!m || shape_count(shape) != c->count) return;
    snprintf(name, sizeof name, "%slatents", tap.step ? tap_step(prefix, tap.step - 1) : "");
    double *x = c->tap(c->context, name, &shape);
    if (x && shape_count(shape) == c->count) {
        hunt_is(h, x, "unconverged", "the latents are those of the step before");
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
    hunt_is(
        h, guess, "layout",
        "in each block of 16 numbers cosines and sines of Box and Muller are exchanged: cosines "
        "come first");
    if (c->count <= BLOCK || c->count % BLOCK == 0) return;
    for (size_t i = 0; i + BLOCK < c->count; i++)
        right = fmax(right, fabs(c->candidate[i] - c->expected[i]));
    if (right <= h->tolerance && right <= 1e-2 * h->difference)
        hunt_say(h, "noise",
                 "only the last 16 numbers of the noise are others: where 16 does not divide the "
                 "size, torch draws them anew");
}

/* The same numbers in another order. */
static bool is_reordered(hunt_t *h) {
    const culprit_t *c = h->c;
    double *a = hunt_doubles(h, c->count), *b = hunt_doubles(h, c->count);
    memcpy(a, c->candidate, c->count * sizeof *a);
    memcpy(b, c->expected, c->count * sizeof *b);
    sort_doubles(a, c->count);
    sort_doubles(b, c->count);
    double rest = 0;
    for (size_t i = 0; i < c->count; i++) rest += (a[i] - b[i]) * (a[i] - b[i]);
    return hunt_same(h, a, b, c->count) && sqrt(rest / (double)c->count) <= h->difference / 100;
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
    double cosine = dot / sqrt(own * other);
    if (is_reordered(h))
        hunt_say(h, "noise", "these are the expected numbers in another order");
    else if (alike && fabs(cosine) < 4 / sqrt(n))
        hunt_say(h, "noise",
                 "these numbers are of the expected size (%.3g times) and have nothing to do with "
                 "the expected ones (cosine %.2g): another generator, seed, or order of drawing",
                 sqrt(own / other), cosine);
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
        hunt_is(h, guess, ways[w].kind, "%s", ways[w].text);
    }
}
