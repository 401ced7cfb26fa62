/* units.c - see units.h. */
#include "compare/units.h"

#include "compare/gates.h"
#include "core/fmath.h"
#include "core/tap_name.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A naive float32 sum, term by term in one accumulator, is legitimate: its measured error may be up to 4
 * units, so that 16 units leave room for 4 times that. */
enum { NAIVE = 4, DRAWS = 4 };

double units_floored(double own, double truth_rms, budget_t budget) {
    precision_t results = budget_results(budget);
    double floor = results == PRECISION_F64 ? 32 : 0.5;
    return fmax(own, floor * precision_unit(results) * truth_rms);
}

/* ---- the case's figures -------------------------------------------------------------------------------- */

/* One draw of a float32 rounding is no measure for a gate of two numbers: taps of fewer than SMALL numbers
 * count with at least the error made over all of them, relative to their size. */
enum { SMALL = 16 };

static bool is_small(const comparison_t *c, size_t i) {
    return c->meta[i].tap && shape_count(c->result->row[i].shape) < SMALL &&
           c->meta[i].truth_rms > 0;
}

typedef struct {
    double cumulative, careful, naive, emulated;
} pooled_t;

static pooled_t pool_small(const comparison_t *c) {
    pooled_t sum = {0};
    size_t taps = 0;
    for (size_t i = 0; i < c->result->rows; i++) {
        if (!is_small(c, i)) continue;
        const golden_tap_t *t = c->meta[i].tap;
        double size = c->meta[i].truth_rms;
        sum.cumulative += (t->peer_rms / size) * (t->peer_rms / size);
        sum.careful += (t->isolated_rms / size) * (t->isolated_rms / size);
        sum.naive += (t->orders_rms / size) * (t->orders_rms / size);
        sum.emulated += (c->meta[i].emulated / size) * (c->meta[i].emulated / size);
        taps++;
    }
    if (!taps) return sum;
    double n = (double)taps;
    return (pooled_t){sqrt(sum.cumulative / n), sqrt(sum.careful / n), sqrt(sum.naive / n),
                      sqrt(sum.emulated / n)};
}

/* Of an input: what the case says of it, else the error of its module, relative to the tensors' sizes. */
static double input_error(const comparison_t *c, size_t i) {
    const char *name = c->result->row[i].name;
    char *module = tap_name_layer(name, ""), *base = tap_name_layer(name, ".mole.base");
    size_t at = pass_find_row(c, module), below = pass_find_row(c, base);
    free(module);
    free(base);
    if (below != SIZE_MAX && !(at != SIZE_MAX && c->meta[at].tap->in_rms > 0)) at = below;
    if (at == SIZE_MAX || !c->meta[at].tap) return 0;
    const golden_tap_t *t = c->meta[at].tap;
    if (t->in_rms > 0) return t->in_rms;
    return c->meta[at].truth_rms > 0
               ? t->isolated_rms * c->meta[i].truth_rms / c->meta[at].truth_rms
               : 0;
}

void units_of_case(comparison_t *c) {
    pooled_t pooled = pool_small(c);
    for (size_t i = 0; i < c->result->rows; i++) {
        row_meta_t *m = &c->meta[i];
        compare_row_t *row = &c->result->row[i];
        if (!m->tap) {
            m->careful = input_error(c, i);
            m->naive = 0;
            continue;
        }
        double small = is_small(c, i) ? m->truth_rms : 0;
        row->peer_rms = fmax(m->tap->peer_rms, pooled.cumulative * small);
        m->careful = fmax(m->tap->isolated_rms, pooled.careful * small);
        m->naive = fmax(m->tap->orders_rms, pooled.naive * small);
    }
}

/* ---- types below float32: the module run with rounded numbers ------------------------------------------ */

/* The same forced numbers in both runs, on the type's grid, as a candidate's are. The first run keeps what
 * each module makes of them exactly, the second rounds what goes in (glue between modules: sums,
 * activations), the weights and what comes out. Rounding a weight moves a sum as rounding the input beside
 * it does: half a unit of either sign. */
typedef struct {
    spool_t *spool;
    bool exact;
    gate_mean_t gate;
} emulation_t;

static void round_all(double *x, size_t count, precision_t grid) {
    for (size_t i = 0; i < count; i++) {
        double rounded = precision_round(grid, x[i]);
        if (isfinite(rounded)) x[i] = rounded;
    }
}

static int force_rounded(comparison_t *c, size_t at, real_t *x, view_t view) {
    size_t count = shape_count(view.shape);
    if (pass_truth(c, at, 0, count, c->b, c->err)) return -1;
    round_all(c->b, count, budget_results(c->result->row[at].budget));
    pass_put(c, x, c->b, view);
    return 0;
}

static int keep_exact(comparison_t *c, emulation_t *e, size_t at, const char *name, real_t *x,
                      view_t view) {
    if (at == SIZE_MAX) return 0;
    pass_get(c, c->a, x, view);
    c->meta[at].gate =
        gate_rounding(&e->gate, c, c->result->row[at].budget, name, c->a, view.shape);
    if (spool_write(e->spool, c->a, shape_count(view.shape), &c->meta[at].emulation, c->err))
        return -1;
    return tap_name_is_input(name) ? 0 : force_rounded(c, at, x, view);
}

/* The budget of the module that NAME.in goes into. */
static budget_t module_budget(const comparison_t *c, const char *input, const module_t **module) {
    char *name = tap_name_layer(input, "");
    size_t at = pass_find_row(c, name);
    *module = pipeline_module(&c->pipeline, name);
    free(name);
    return at == SIZE_MAX ? c->result->hidden : c->result->row[at].budget;
}

static int measure_rounded(comparison_t *c, const emulation_t *e, size_t at, size_t count) {
    if (spool_read(e->spool, c->meta[at].emulation, c->c, count, c->err)) return -1;
    c->meta[at].emulated = pass_rms(c->a, c->c, count);
    return 0;
}

/* A weight is the same for every token: rounded, it moves all one way, which a mean over tokens keeps. */
static size_t channel_of(size_t i, shape_t shape, const module_t *m) {
    bool image = m->kind == MODULE_CONV || (shape.ndim == 4 && shape.dim[1] == m->as.linear->in);
    if (!image) return i % shape.dim[shape.ndim - 1];
    return i / (shape_count(shape) / (shape.dim[0] * shape.dim[1])) % shape.dim[1];
}

static int round_input(comparison_t *c, const emulation_t *e, size_t at, const char *name,
                       real_t *x, view_t view) {
    size_t count = shape_count(view.shape);
    const module_t *module;
    budget_t budget = module_budget(c, name, &module);
    bool product = module && (module->kind == MODULE_LINEAR || module->kind == MODULE_CONV);
    if (!budget_is_low(budget) || (budget == BUDGET_TF32 && !product)) return 0;
    pass_get(c, c->a, x, view);
    round_all(c->a, count, budget_inputs(budget));
    if (at != SIZE_MAX && measure_rounded(c, e, at, count)) return -1;
    for (size_t i = 0; product && i < count; i++)
        c->a[i] *= 1 + pass_sign(SIZE_MAX, channel_of(i, view.shape, module), 0) * 0.5 *
                           budget_unit(budget);
    pass_put(c, x, c->a, view);
    return 0;
}

static int emulate(comparison_t *c, void *who, size_t at, const char *name, real_t *x,
                   view_t view) {
    emulation_t *e = who;
    size_t count = shape_count(view.shape);
    if (e->exact) return keep_exact(c, e, at, name, x, view);
    if (tap_name_is_input(name)) return round_input(c, e, at, name, x, view);
    pass_get(c, c->a, x, view);
    round_all(c->a, count,
              budget_results(at == SIZE_MAX ? c->result->hidden : c->result->row[at].budget));
    if (at == SIZE_MAX) return pass_put(c, x, c->a, view), 0;
    return measure_rounded(c, e, at, count) || force_rounded(c, at, x, view) ? -1 : 0;
}

/* The row of the latents that a step began with: those of the step before, or the noise. SIZE_MAX: none. */
static size_t latents_before(const comparison_t *c, size_t at) {
    for (size_t i = at; i-- > 0;)
        if (strcmp(tap_name(c->result->row[i].name).name, "latents") == 0 &&
            shape_equal(c->result->row[i].shape, c->result->row[at].shape))
            return i;
    return SIZE_MAX;
}

/* A step is a sum, x and what is added to it. Computed in bfloat16 both are rounded, and where noise is
 * taken from sigma 14 to sigma 1 they are ten times as large as the result, of which alone the emulation
 * knows. Half of the largest rounding is about what numbers are off in the mean. */
static int add_step_rounding(comparison_t *c, size_t at) {
    const compare_row_t *row = &c->result->row[at];
    tap_name_t name = tap_name(row->name);
    if (!name.has_step || strcmp(name.name, "latents") != 0 || !budget_is_low(row->budget))
        return 0;
    size_t before = latents_before(c, at), count = shape_count(row->shape);
    if (before == SIZE_MAX) return 0;
    if (pass_truth(c, at, 0, count, c->a, c->err) || pass_truth(c, before, 0, count, c->b, c->err))
        return -1;
    double change = pass_rms(c->a, c->b, count) * 0.5 * budget_unit(row->budget);
    c->meta[at].emulated = fmath_hypot(c->meta[at].emulated, change);
    return 0;
}

static int emulate_low(comparison_t *c) {
    emulation_t e = {.exact = true};
    if (spool_open(&e.spool, c->err)) return -1;
    int status = pass_run(c, emulate, &e, true);
    e.exact = false;
    if (!status) status = pass_run(c, emulate, &e, true);
    spool_close(e.spool);
    gate_free(&e.gate);
    double pooled = pool_small(c).emulated;
    for (size_t i = 0; i < c->result->rows; i++) {
        row_meta_t *m = &c->meta[i];
        if (is_small(c, i)) m->emulated = fmax(m->emulated, pooled * m->truth_rms);
        m->emulated = fmath_hypot(m->emulated, m->gate);
        if (!status) status = add_step_rounding(c, i);
    }
    return status;
}

/* Sums kept in a low type lose what naive sums lose in float32, in proportion to the roundoff; what both
 * kinds of float32 sums lose alike (the angles of the time embedding, which are float32 in every type)
 * does not grow. */
static double own_of(const row_meta_t *m, budget_t budget) {
    double f32 = fmax(m->careful, m->naive / NAIVE), per_rounding = budget_unit(budget) / 0x1p-24;
    if (!budget_is_low(budget)) return f32 * per_rounding;
    double sums = m->naive > m->careful ? sqrt(m->naive * m->naive - m->careful * m->careful) : 0;
    double narrow = budget_narrow_sums(budget) ? sums * per_rounding : 0;
    return sqrt(m->emulated * m->emulated + f32 * f32 + narrow * narrow);
}

int units_own(comparison_t *c) {
    bool low = false;
    for (size_t i = 0; i < c->result->rows; i++) low |= budget_is_low(c->result->row[i].budget);
    if (low && c->opened && emulate_low(c)) return -1;
    for (size_t i = 0; i < c->result->rows; i++)
        c->meta[i].own = own_of(&c->meta[i], c->result->row[i].budget);
    return 0;
}

/* ---- noise --------------------------------------------------------------------------------------------- */

typedef enum { NOISE_STRETCH, NOISE_TAINT, NOISE_CUMULATIVE } noise_kind_t;

typedef struct {
    noise_kind_t kind;
    size_t draw;
    double scale; /* of a unit, to the size of float32's rounding */
    double *last; /* what was forced last */
    size_t last_count, last_room;
    size_t most,
        watch; /* taint: rows up to `most` are noisy, and only row `watch` is looked at; SIZE_MAX: all */
} noise_pass_t;

/* Taint: noise of this part of a tensor, and what counts as moved by it. Float64 and the truth's own error
 * stay a thousand times below. */
#define TAINT   0x1p-10
#define TAINTED 1e-10

static double amplitude(const comparison_t *c, const noise_pass_t *n, size_t at) {
    const row_meta_t *m = &c->meta[at];
    if (n->kind == NOISE_TAINT)
        return at > n->most ? 0 : TAINT * (m->truth_rms > 0 ? m->truth_rms : 1);
    return n->scale * m->own;
}

/* A container's output is often its last child's, unchanged (unet.down_blocks.0 and its downsampler):
 * where the child was forced there is nothing left to be wrong. c->a holds the tap. */
static bool is_last_forced(const comparison_t *c, const noise_pass_t *n, size_t count) {
    return n->last_count == count && memcmp(n->last, c->a, count * sizeof *c->a) == 0;
}

static double root_mean_square(const double *x, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += x[i] * x[i];
    return sqrt(sum / (double)count);
}

static void add_noise(comparison_t *c, const noise_pass_t *n, size_t at, real_t *x, view_t view) {
    size_t count = shape_count(view.shape);
    double size = amplitude(c, n, at);
    if (!(size > 0)) return;
    pass_get(c, c->a, x, view);
    if (is_last_forced(c, n, count)) return;
    double rms = root_mean_square(c->a, count);
    if (n->kind == NOISE_TAINT || !(rms > 0))
        for (size_t i = 0; i < count; i++) c->a[i] += size * pass_sign(at, i, n->draw);
    else /* an element is off in proportion to its size */
        for (size_t i = 0; i < count; i++) c->a[i] *= 1 + size / rms * pass_sign(at, i, n->draw);
    pass_put(c, x, c->a, view);
}

/* c->b holds the truth. What the run goes on with is kept, as the build's type holds it. */
static void force_truth(comparison_t *c, noise_pass_t *n, real_t *x, view_t view) {
    size_t count = shape_count(view.shape);
    pass_put(c, x, c->b, view);
    if (count > n->last_room) {
        n->last = xrealloc(n->last, count * sizeof *n->last);
        n->last_room = count;
    }
    pass_get(c, n->last, x, view);
    n->last_count = count;
}

static int make_noise(comparison_t *c, void *who, size_t at, const char *name, real_t *x,
                      view_t view) {
    noise_pass_t *n = who;
    size_t count = shape_count(view.shape);
    if (at == SIZE_MAX) return 0;
    row_meta_t *m = &c->meta[at];
    bool input = tap_name_is_input(name), force = n->kind != NOISE_CUMULATIVE && m->forced;
    if (force || n->kind == NOISE_CUMULATIVE) {
        pass_get(c, c->a, x, view);
        if (pass_truth(c, at, 0, count, c->b, c->err)) return -1;
        double moved = pass_rms(c->a, c->b, count);
        if (n->kind != NOISE_TAINT) {
            m->moved += moved * moved / (n->scale * n->scale);
            m->most_moved = fmax(m->most_moved, pass_most(c->a, c->b, count) / n->scale);
        }
        if (n->kind == NOISE_TAINT && (n->watch == SIZE_MAX || n->watch == at))
            m->tainted |= !(moved <= TAINTED * m->truth_rms);
    }
    if (force && !m->withheld)
        force_truth(c, n, x, view);
    else if (!input)
        add_noise(c, n, at, x, view);
    return 0;
}

/* A few draws of two numbers are no measure either. */
static void pool_moved(comparison_t *c) {
    double sum = 0, taps = 0;
    for (size_t i = 0; i < c->result->rows; i++) {
        const row_meta_t *m = &c->meta[i];
        if (!is_small(c, i) || !(m->moved > 0)) continue;
        sum += m->moved / (m->truth_rms * m->truth_rms);
        taps++;
    }
    for (size_t i = 0; i < c->result->rows; i++) {
        row_meta_t *m = &c->meta[i];
        if (is_small(c, i) && m->moved > 0)
            m->moved = fmax(m->moved, sum / taps * m->truth_rms * m->truth_rms);
    }
}

static int run_noise(comparison_t *c, noise_pass_t n, size_t draws) {
    int status = 0;
    for (size_t i = 0; i < c->result->rows; i++) {
        c->meta[i].moved = c->meta[i].most_moved = 0;
        c->meta[i].tainted = false;
    }
    for (n.draw = 0; !status && n.draw < draws; n.draw++) {
        n.last_count = 0;
        status = pass_run(c, make_noise, &n, true);
    }
    free(n.last);
    for (size_t i = 0; i < c->result->rows; i++) c->meta[i].moved /= (double)draws;
    pool_moved(c);
    return status;
}

/* From a unit of the budget to one of float32. */
static double to_float32(const comparison_t *c) {
    return 0x1p-24 / budget_unit(c->result->budget);
}

int units_known(comparison_t *c) {
    compare_result_t *r = c->result;
    size_t missing = 0;
    for (size_t i = 0; i < r->rows; i++)
        missing += (!c->meta[i].forced || c->meta[i].withheld) && !r->row[i].is_input;
    for (size_t i = 0; i < r->rows; i++) r->row[i].inputs_known = true;
    c->stretches = missing > 0 && !c->golden->is_calls;
    if (!c->stretches) return 0;
    if (run_noise(
            c, (noise_pass_t){.kind = NOISE_TAINT, .scale = 1, .most = SIZE_MAX, .watch = SIZE_MAX},
            1))
        return -1;
    for (size_t i = 0; i < r->rows; i++) r->row[i].inputs_known = !c->meta[i].tainted;
    return 0;
}

int units_stretch(comparison_t *c) {
    compare_result_t *r = c->result;
    noise_pass_t noise = {.kind = NOISE_STRETCH, .scale = to_float32(c)};
    for (size_t i = 0; i < r->rows; i++) r->row[i].stretch = 0;
    if (!c->stretches) return 0;
    if (run_noise(c, noise, DRAWS)) return -1;
    for (size_t i = 0; i < r->rows; i++)
        r->row[i].stretch = r->row[i].inputs_known ? 0 : sqrt(c->meta[i].moved);
    return 0;
}

int units_cumulative(comparison_t *c) {
    double scale = budget_is_low(c->result->budget) ? 1 : to_float32(c);
    return run_noise(c, (noise_pass_t){.kind = NOISE_CUMULATIVE, .scale = scale}, DRAWS);
}

int units_first_before(comparison_t *c, size_t at, size_t *first) {
    size_t low = 0, high = at; /* noise up to `high` reaches `at`, or high == at */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (run_noise(
                c, (noise_pass_t){.kind = NOISE_TAINT, .scale = 1, .most = middle, .watch = at}, 1))
            return -1;
        if (c->meta[at].tainted)
            high = middle;
        else
            low = middle + 1;
    }
    *first = high;
    return 0;
}
