/* causes_image.c - upsampling, skip connections and residuals: what stands between the layers. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "causes/causes_hunt.h"

/* ---- upsampling: the input of a convolution is an enlarged image ----------------------------- */

typedef enum { UP_HALF_PIXEL, UP_CORNERS, UP_CENTRES, UP_TILED, UP_ZEROS, UP_WAYS } up_way_t;

/* Number at a place between pixels, linear, edges held. */
static double between(const double *image, size_t H, size_t W, double y, double x) {
    y = fmin(fmax(y, 0), (double)(H - 1));
    x = fmin(fmax(x, 0), (double)(W - 1));
    size_t y0 = (size_t)y, x0 = (size_t)x;
    size_t y1 = y0 + 1 < H ? y0 + 1 : y0, x1 = x0 + 1 < W ? x0 + 1 : x0;
    double v = y - (double)y0, u = x - (double)x0;
    return (1 - v) * ((1 - u) * image[y0 * W + x0] + u * image[y0 * W + x1]) +
           v * ((1 - u) * image[y1 * W + x0] + u * image[y1 * W + x1]);
}

static double enlarged(const double *small, size_t H, size_t W, size_t Ho, size_t Wo, size_t y,
                       size_t x, up_way_t way) {
    double ry = (double)H / (double)Ho, rx = (double)W / (double)Wo, fy = (double)y, fx = (double)x;
    switch (way) {
    case UP_HALF_PIXEL: return between(small, H, W, (fy + 0.5) * ry - 0.5, (fx + 0.5) * rx - 0.5);
    case UP_CORNERS:
        ry = Ho > 1 ? (double)(H - 1) / (double)(Ho - 1) : 0;
        rx = Wo > 1 ? (double)(W - 1) / (double)(Wo - 1) : 0;
        return between(small, H, W, fy * ry, fx * rx);
    case UP_CENTRES:
        y = (size_t)((fy + 0.5) * ry), x = (size_t)((fx + 0.5) * rx);
        return small[(y < H ? y : H - 1) * W + (x < W ? x : W - 1)];
    case UP_TILED: return small[y % H * W + x % W];
    default: return y % 2 || x % 2 ? 0 : small[y / 2 * W + x / 2];
    }
}

void cause_upsample(hunt_t *h) {
    static const struct {
        const char *kind, *text;
    } ways[UP_WAYS] = {
        {"interpolation", "bilinear upsampling (half-pixel centres); it is nearest"},
        {"interpolation", "bilinear upsampling with aligned corners; it is nearest"},
        {"shift",
         "nearest by the pixels' centres; it is floor(i * size / wanted), by their corners"},
        {"interpolation", "the image is tiled; each pixel should be repeated"},
        {"interpolation", "upsampled with zeros between; each pixel should be repeated"}};
    const culprit_t *c = h->c;
    if (!hunt_layer_is(h, "upsamplers.0.conv") || !c->input || c->input_shape.ndim != 4) return;
    size_t Ho = c->input_shape.dim[2], Wo = c->input_shape.dim[3], H = (Ho + 1) / 2,
           W = (Wo + 1) / 2;
    size_t planes = c->input_shape.dim[0] * c->input_shape.dim[1];
    double *small = hunt_doubles(h, planes * H * W), *x = hunt_doubles(h, planes * Ho * Wo);
    for (size_t i = 0; i < planes * H * W; i++) { /* the first pixel that was copied from each */
        size_t y = (i / W % H * Ho + H - 1) / H, column = (i % W * Wo + W - 1) / W;
        small[i] = c->input[i / W / H * Ho * Wo + y * Wo + column];
    }
    for (size_t i = 0; i < planes * Ho * Wo; i++) {
        size_t y = i / Wo % Ho * H / Ho, column = i % Wo * W / Wo;
        if (c->input[i] != small[i / Wo / Ho * H * W + y * W + column]) return;
    }
    for (up_way_t way = UP_HALF_PIXEL; way < UP_WAYS; way++) {
        for (size_t i = 0; i < planes * Ho * Wo; i++)
            x[i] = enlarged(small + i / Wo / Ho * H * W, H, W, Ho, Wo, i / Wo % Ho, i % Wo, way);
        const double *guess = strcmp(h->part, ".in") == 0 ? x : hunt_apply(h, x);
        if (guess) hunt_try(h, guess, ways[way].kind, "%s", ways[way].text);
    }
}

/* ---- skips: norm1 and conv_shortcut of the up path take [h | skip] --------------------------- */

static void try_skip(hunt_t *h, const double *x, const char *kind, const char *text) {
    const double *guess = hunt_apply(h, x);
    if (guess) hunt_try(h, guess, kind, "%s", text);
}

/* [h | skip] -> [skip | h], `first` being the channels of h. */
static void try_swapped(hunt_t *h, size_t first) {
    const shape_t *s = &h->c->input_shape;
    size_t C = s->dim[1], P = s->dim[2] * s->dim[3], rest = C - first;
    double *x = hunt_doubles(h, shape_count(*s));
    for (size_t b = 0; b < s->dim[0]; b++) {
        const double *from = h->c->input + b * C * P;
        memcpy(x + b * C * P, from + first * P, rest * P * sizeof *x);
        memcpy(x + (b * C + rest) * P, from, first * P * sizeof *x);
    }
    try_skip(h, x, "swapped-halves",
             "the skip is concatenated in front: [skip | h]; it should be [h | skip]");
}

/* Another output of the down path in the skip's place. */
static void try_other_skip(hunt_t *h, const char *name, double *x) {
    const shape_t *s = &h->c->input_shape;
    char text[CAUSE_TEXT];
    shape_t found;
    const double *skip = hunt_tap(h, name, &found);
    if (!skip || found.ndim != 4 || found.dim[0] != s->dim[0] || found.dim[1] >= s->dim[1] ||
        found.dim[2] != s->dim[2] || found.dim[3] != s->dim[3])
        return;
    size_t C = s->dim[1], P = s->dim[2] * s->dim[3], own = found.dim[1];
    memcpy(x, h->c->input, shape_count(*s) * sizeof *x);
    for (size_t b = 0; b < s->dim[0]; b++)
        memcpy(x + (b * C + C - own) * P, skip + b * own * P, own * P * sizeof *x);
    snprintf(text, sizeof text, "the skip is %.100s: another one is due (last in, first out)",
             name);
    try_skip(h, x, "swapped-tensors", text);
}

void cause_skip(hunt_t *h) {
    static const char *const kinds[] = {"resnets", "attentions", "downsamplers"};
    const culprit_t *c = h->c;
    bool up = strstr(h->module, "unet.up_blocks.") && strstr(h->module, ".resnets.");
    if (!up || !(hunt_layer_is(h, ".norm1") || hunt_layer_is(h, ".conv_shortcut"))) return;
    if (!c->input || c->input_shape.ndim != 4 || *h->part) return;
    size_t C = c->input_shape.dim[1];
    for (size_t parts = 2; parts <= 6; parts++)
        for (size_t of = 1; of < parts; of++)
            if (C % parts == 0) try_swapped(h, C / parts * of);
    if (h->best.accepted) return;
    double *x = hunt_doubles(h, shape_count(c->input_shape));
    try_other_skip(h, "unet.conv_in", x);
    for (int level = 0; level < 8; level++)
        for (int i = 0; i < 4; i++)
            for (int k = 0; k < 3; k++) {
                char name[128];
                snprintf(name, sizeof name, "unet.down_blocks.%d.%s.%d", level, kinds[k], i);
                try_other_skip(h, name, x);
            }
    memcpy(x, c->input, shape_count(c->input_shape) * sizeof *x);
    size_t P = c->input_shape.dim[2] * c->input_shape.dim[3], half = C / 2 * P;
    for (size_t b = 0; b < c->input_shape.dim[0]; b++)
        memset(x + b * C * P + C * P - half, 0, half * sizeof *x);
    try_skip(h, x, "skip", "the second half of the channels, where the skip belongs, is all zeros");
}

/* ---- residuals: a container's output is its input plus its last branch ----------------------- */

/* The branch in the culprit's shape: tokens (B,T,C) of an image are turned. */
static const double *branch_of(hunt_t *h, const char *tail) {
    char name[512];
    shape_t found;
    const shape_t *s = &h->c->shape;
    int length = snprintf(name, sizeof name, "%s%s", h->module, tail);
    if (length < 0 || (size_t)length >= sizeof name) return NULL;
    const double *x = hunt_tap(h, name, &found);
    if (!x || shape_count(found) != h->c->count) return NULL;
    if (shape_equal(found, *s)) return x;
    if (found.ndim != 3 || s->ndim != 4 || found.dim[2] != s->dim[1]) return NULL;
    double *out = hunt_doubles(h, h->c->count);
    hunt_swap_axes(out, x, found.dim[0], found.dim[1], found.dim[2]);
    return out;
}

void cause_residual(hunt_t *h) {
    static const char *const branches[] = {".conv2", ".proj_out", ".to_out.0", ".ff", ".mlp"};
    if (*h->part || h->c->module) return;
    for (size_t i = 0; i < sizeof branches / sizeof *branches; i++) {
        const double *branch = branch_of(h, branches[i]), *e = h->c->expected;
        if (!branch || hunt_same(h, branch, e, h->c->count)) continue; /* no residual here */
        double *guess = hunt_doubles(h, h->c->count);
        hunt_try(h, branch, "residual", "the residual is missing: your tensor is %s alone",
                 branches[i] + 1);
        for (size_t j = 0; j < h->c->count; j++) guess[j] = e[j] - branch[j];
        hunt_try(h, guess, "residual", "%s is not added: your tensor is the residual alone",
                 branches[i] + 1);
        for (size_t j = 0; j < h->c->count; j++) guess[j] = e[j] + branch[j];
        hunt_try(h, guess, "residual", "%s is added twice", branches[i] + 1);
        for (size_t j = 0; j < h->c->count; j++) guess[j] = 2 * e[j] - branch[j];
        hunt_try(h, guess, "residual", "the residual is added twice");
        for (size_t j = 0; j < h->c->count; j++) guess[j] = e[j] / sqrt(2.0);
        hunt_try(h, guess, "residual",
                 "the sum is divided by sqrt(2), as an output_scale_factor of sqrt(2) does");
    }
}
