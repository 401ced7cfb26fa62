/* own_figures.c - see own_figures.h.
 *
 * The float64 run is given, at every tap, the truth with noise of a rounding to float32. What arrives at the
 * next taps is what roundings before a module come to behind it: in the glue between modules (activations,
 * sums, the softmax of attention), in the module itself. A rounding of the result is added, and what the
 * module's own sums lose (own_sums.h): all of it where they are added up term by term (orders_rms), less in
 * a careful program's, which begins anew every BLOCK terms and adds up the parts (isolated_rms).
 * tests/compare/test_own_figures.c holds both against what PyTorch's passes lost in the golden cases. */
#include "compare/own_figures.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare/own_sums.h"
#include "core/fmath.h"
#include "core/name_ids.h"
#include "core/tap_name.h"

/* ---- the taps -------------------------------------------------------------------------------------- */

static void add_row(comparison_t *c, const char *name, shape_t shape) {
    compare_result_t *r = c->result;
    r->row = xrealloc(r->row, (r->rows + 1) * sizeof *r->row);
    c->meta = xrealloc(c->meta, (r->rows + 1) * sizeof *c->meta);
    r->row[r->rows] =
        (compare_row_t){.name = xstrdup(name), .shape = shape, .is_input = tap_name_is_input(name)};
    c->meta[r->rows++] = (row_meta_t){.source = SIZE_MAX};
}

/* A name that comes by twice is its first. */
static int see_tap(comparison_t *c, void *who, size_t ignored, const char *name, real_t *x,
                   view_t view) {
    name_ids_t *seen = who;
    (void)ignored;
    if (name_id_of(seen, name) != SIZE_MAX) return 0;
    name_id(seen, name);
    add_row(c, name, view.shape);
    pass_get(c, c->a, x, view);
    return pass_keep_places(c, c->result->rows - 1);
}

static void name_taps(comparison_t *c) {
    compare_result_t *r = c->result;
    golden_case_t *g = c->own;
    g->tap = xcalloc(r->rows + 1, sizeof *g->tap);
    for (size_t i = 0; i < r->rows; i++) {
        if (r->row[i].is_input) continue;
        golden_tap_t *tap = &g->tap[g->taps++];
        *tap = (golden_tap_t){.name = pool_printf(&g->names, "%s", r->row[i].name),
                              .shape = r->row[i].shape,
                              .in_rms = NAN};
        name_id(&g->ids, tap->name);
        c->meta[i].tap = tap;
    }
}

static int survey(comparison_t *c) {
    name_ids_t seen = {0};
    int status = spool_open(&c->spool, c->err) || pass_run(c, see_tap, &seen, true) ? -1 : 0;
    name_ids_free(&seen);
    if (status) return -1;
    name_taps(c);
    pass_index_rows(c);
    return 0;
}

/* ---- what they lose -------------------------------------------------------------------------------- */

/* OpenBLAS, oneDNN and MKL cut the inner dimension of a matrix product into blocks of 256 to 512 terms: n of
 * them lose sqrt(n) times what one does, and one accumulator n times as much. */
enum { DRAWS = 2, BLOCK = 256 };

typedef struct {
    size_t draw;
    own_input_t in;
} rounding_t;

/* c->b holds the input's truth. */
static void keep_input(comparison_t *c, own_input_t *in, const char *name, shape_t shape) {
    size_t count = shape_count(shape);
    if (count > in->room) {
        in->room = count;
        in->input = xrealloc(in->input, count * sizeof *in->input);
    }
    memcpy(in->input, c->b, count * sizeof *in->input);
    in->shape = shape;
    snprintf(in->name, sizeof in->name, "%.*s", (int)tap_name(name).layer.length, name);
}

/* Scores of attention are sums of as many products as a head is wide, at most 512 (the VAE's): a quarter of
 * what they lose is what three roundings of queries and keys come to. Keys say how many tokens are attended
 * to. */
static double attention_noise(own_input_t *in, const char *name, shape_t shape) {
    bool keys = text_ends(name, ".to_k") || text_ends(name, ".k_proj");
    if (keys && shape.ndim == 3) in->attended = shape.dim[1];
    return keys || text_ends(name, ".to_q") || text_ends(name, ".q_proj") ? 8 : 1;
}

/* The angle of a sine of 0 to 1, by Newton's steps: of small ones, as here, to the last bits. */
static double angle_of(double sine) {
    double angle = sine;
    for (int i = 0; i < 4; i++) angle -= (fmath_sin(angle) - sine) / fmath_cos(angle);
    return angle;
}

/* The angles of timesteps, t 10000^(-i/half), are float32 in diffusers: the exponential is off by as many
 * roundings as its exponent is large, and t times it by one more. The smallest angle of a row says t. x (B,2
 * half): sines and cosines. */
static double angles_error(const double *x, shape_t shape) {
    size_t width = shape.dim[shape.ndim - 1], half = width / 2, rows = shape_count(shape) / width;
    double square = 0;
    for (size_t b = 0; half > 1 && b < rows; b++) {
        const double *row = x + b * width;
        double least = fmath_exp(-fmath_log(10000) * (double)(half - 1) / (double)half);
        double t = angle_of(fmin(1, fmin(fabs(row[half - 1]), fabs(row[width - 1])))) / least;
        for (size_t i = 1; i < half; i++) {
            double exponent = fmath_log(10000) * (double)i / (double)half,
                   angle = t * fmath_exp(-exponent);
            square += angle * angle * (2 + 2 * exponent * exponent) / 2;
        }
    }
    return rows && half ? OWN_ROUNDING * sqrt(square / (double)(rows * half)) : 0;
}

static double rms_of(const double *x, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += x[i] * x[i];
    return count ? sqrt(sum / (double)count) : 0;
}

/* c->b holds the truth, `moved` the mean square so far. careful and naive hold what is lost besides. */
static void measure_own(comparison_t *c, rounding_t *r, size_t at, const char *name,
                        shape_t shape) {
    row_meta_t *m = &c->meta[at];
    size_t count = shape_count(shape);
    m->truth_rms = rms_of(c->b, count);
    double result = OWN_ROUNDING * m->truth_rms;
    if (text_ends(name, "time_proj")) result = fmath_hypot(result, angles_error(c->b, shape));
    own_sums_t sums = own_sum_error(c, &r->in, name, c->b, shape);
    double careful = sums.length > BLOCK ? sqrt(BLOCK / (double)sums.length) : 1;
    m->naive = fmath_hypot(result, sums.rms);
    m->careful = fmath_hypot(result, sums.rms * careful);
}

static int round_tap(comparison_t *c, void *who, size_t at, const char *name, real_t *x,
                     view_t view) {
    rounding_t *r = who;
    size_t count = shape_count(view.shape);
    if (at == SIZE_MAX || !count) return 0;
    pass_get(c, c->a, x, view);
    if (pass_truth(c, at, 0, count, c->b, c->err)) return -1;
    double moved = pass_rms(c->a, c->b, count);
    c->meta[at].moved += moved * moved / DRAWS;
    if (c->result->row[at].is_input) {
        if (r->draw == 0) keep_input(c, &r->in, name, view.shape);
        if (r->draw == 0) c->meta[at].careful = OWN_ROUNDING * rms_of(c->b, count);
        return 0;
    }
    double noise = attention_noise(&r->in, name, view.shape) * OWN_ROUNDING;
    if (r->draw == 0) measure_own(c, r, at, name, view.shape);
    for (size_t i = 0; i < count; i++) c->b[i] *= 1 + noise * pass_sign(at, i, r->draw);
    pass_put(c, x, c->b, view);
    return 0;
}

/* What goes into a module is said of its output. */
static void state_input(comparison_t *c, size_t at) {
    char *name = tap_name_layer(c->result->row[at].name, "");
    size_t output = pass_find_row(c, name);
    const row_meta_t *in = &c->meta[at];
    free(name);
    if (output == SIZE_MAX) return;
    golden_tap_t *tap = c->own->tap + (c->meta[output].tap - c->own->tap);
    tap->in_rms = sqrt(in->moved + in->careful * in->careful);
}

static void state_figures(comparison_t *c) {
    const compare_result_t *r = c->result;
    for (size_t i = 0; i < r->rows; i++) {
        const row_meta_t *m = &c->meta[i];
        if (r->row[i].is_input) {
            state_input(c, i);
            continue;
        }
        golden_tap_t *tap = c->own->tap + (m->tap - c->own->tap);
        tap->isolated_rms = sqrt(m->moved + m->careful * m->careful);
        tap->orders_rms = sqrt(m->moved + m->naive * m->naive);
        tap->has_isolated = true;
    }
}

static int find_figures(comparison_t *c) {
    rounding_t r = {.draw = 0};
    int status = 0;
    for (size_t i = 0; i < c->result->rows; i++) c->meta[i].moved = 0;
    for (; !status && r.draw < DRAWS; r.draw++) status = pass_run(c, round_tap, &r, true);
    free(r.in.input);
    gate_free(&r.in.gate);
    if (!status) state_figures(c);
    return status;
}

int own_taps(comparison_t *c, const own_case_t *own, void (*surveyed)(void *who, size_t taps),
             void *who) {
    if (golden_open_model(c->golden, &c->pipeline, c->err)) return -1;
    c->opened = true;
    if (own_case_complete(c->own, own, &c->pipeline, c->err) || survey(c)) return -1;
    if (surveyed) surveyed(who, c->own->taps);
    return find_figures(c);
}
