/* isolate.c - see isolate.h. */
#include "compare/isolate.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "causes/causes.h"
#include "core/tap_name.h"
#include "io/trace.h"

typedef struct {
    size_t culprit; /* whose cause is wanted; SIZE_MAX: none, every row is measured */
    bool again;     /* hypotheses may ask for runs of their own */
    double *input;  /* of the module whose output comes next */
    size_t room;
    bool dumped; /* these are the numbers that went into the candidate's module, see is_dumped */
    shape_t shape;
    char name[512];           /* of that module */
    double *found, *expected; /* the culprit's numbers, kept until its cause is looked for */
    shape_t culprit_shape;
    uint64_t output;  /* digest of what comes out of that module */
    bool same;        /* ... and it is the culprit, under another name */
    uint64_t *forced; /* digests of the tensors that were put in */
    size_t forced_count, forced_room;
} forcing_t;

/* ---- inputs -------------------------------------------------------------------------------------------- */

/* Of the numbers, in any order: a module may see a tensor transposed. */
static uint64_t digest(const double *x, size_t count) {
    uint64_t sum = count, bits;
    for (size_t i = 0; i < count; i++) {
        memcpy(&bits, &x[i], sizeof bits);
        bits = (bits ^ bits >> 31) * 0x9E3779B97F4A7C15;
        sum += bits ^ bits >> 29;
    }
    return sum;
}

static void remember(forcing_t *f, const double *x, size_t count) {
    if (f->forced_count == f->forced_room) {
        f->forced_room = 2 * f->forced_room + 64;
        f->forced = xrealloc(f->forced, f->forced_room * sizeof *f->forced);
    }
    f->forced[f->forced_count++] = digest(x, count);
}

/* Whether these numbers went into the candidate's module too: a tensor that it dumped, or numbers of
 * float32 from the case or from tensors put together. What the reference made on the way to a module (an
 * activation, a sum, attention) has all the digits of float64. */
static bool is_dumped(const forcing_t *f, const double *x, size_t count) {
    size_t on_grid = 0;
    while (on_grid < count && x[on_grid] == (double)(float)x[on_grid]) on_grid++;
    if (on_grid == count) return true;
    uint64_t wanted = digest(x, count);
    for (size_t i = f->forced_count; i-- > 0;)
        if (f->forced[i] == wanted) return true;
    return false;
}

/* NAME.in: keep it until NAME comes by. c->a holds the numbers. */
static void keep_input(comparison_t *c, forcing_t *f, const char *name, view_t view, bool forced) {
    size_t count = shape_count(view.shape);
    f->dumped = forced || is_dumped(f, c->a, count);
    if (count > f->room) {
        f->input = xrealloc(f->input, count * sizeof *f->input);
        f->room = count;
    }
    memcpy(f->input, c->a, count * sizeof *f->input);
    f->shape = view.shape;
    snprintf(f->name, sizeof f->name, "%.*s", (int)tap_name(name).layer.length, name);
}

/* ---- the provable bound -------------------------------------------------------------------------------- */

/* The module whose linear map a tap shows: itself without experts, NAME.mole.base with them. */
static const module_t *linear_map_of(const comparison_t *c, const forcing_t *f, const char *text) {
    tap_name_t name = tap_name(text);
    bool is_base = strcmp(name.part, "base") == 0;
    if (!tap_span_is(name.layer, f->name) || (*name.suffix && !is_base)) return NULL;
    const module_t *m = pipeline_module(&c->pipeline, f->name);
    if (!m || m->kind == MODULE_GROUP_NORM || m->kind == MODULE_LAYER_NORM) return NULL;
    bool experts = m->kind == MODULE_LINEAR && m->as.linear->mole;
    return experts == is_base ? m : NULL;
}

/* The worst error in units of the sum of magnitudes; c->a expected, c->b found. */
static void measure_share(comparison_t *c, const forcing_t *f, compare_row_t *row,
                          const module_t *m) {
    size_t count, start = compare_part(row, &count), end = start + count;
    double *magnitude = xmalloc((shape_count(row->shape) + 1) * sizeof *magnitude);
    row->sum_length = compare_bound_magnitudes(m, magnitude, f->input, f->shape);
    row->sum_share = 0;
    for (size_t i = start; row->sum_length && i < end; i++) {
        double error = fabs(c->b[i] - c->a[i]), slack = 64 * 0x1p-53 * magnitude[i];
        if (error > slack) /* else the reference's own rounding */
            row->sum_share = fmax(row->sum_share, error / (magnitude[i] + slack));
    }
    free(magnitude);
}

/* ---- the culprit's cause ------------------------------------------------------------------------------- */

/* Another tap of the candidate's, for the hypotheses about the culprit. */
static double *candidate_tap(void *context, const char *name, shape_t *shape) {
    const comparison_t *c = context;
    size_t at = pass_find_row(c, name);
    if (at == SIZE_MAX || c->meta[at].source == SIZE_MAX) return NULL;
    *shape = c->result->row[at].candidate_shape;
    if (c->result->row[at].one_row) shape->dim[0] = 1; /* whichever is read, it is that one */
    size_t count = shape_count(*shape);
    double *out = xmalloc((count + 1) * sizeof *out);
    if (trace_file_read(c->candidate, c->meta[at].source, 0, count, out, NULL) == 0) return out;
    free(out);
    return NULL;
}

/* The i-th row before the culprit that the candidate has. */
static const char *earlier_tap(void *context, size_t i) {
    const comparison_t *c = context;
    for (size_t at = 0; at < c->result->culprit; at++)
        if (c->meta[at].source != SIZE_MAX && i-- == 0) return c->result->row[at].name;
    return NULL;
}

/* "step.012/...": 12, and the candidate's same tap one step earlier; else 0 and NULL. */
static double *step_of(comparison_t *c, const char *name, shape_t shape, size_t *step) {
    char earlier[512], prefix[STEP_PREFIX];
    shape_t found;
    tap_name_t tap = tap_name(name);
    *step = tap.step;
    if (*step == 0) return NULL;
    snprintf(earlier, sizeof earlier, "%s%s", tap_step(prefix, *step - 1), tap.name);
    double *out = candidate_tap(c, earlier, &found);
    if (out && shape_equal(shape, found)) return out;
    free(out);
    return NULL;
}

/* c->b = the candidate's numbers; of rows of a batch that it does not have, the reference's own. */
static int read_candidate(comparison_t *c, size_t at, size_t count) {
    size_t part, start = compare_part(&c->result->row[at], &part);
    memcpy(c->b, c->a, count * sizeof *c->b);
    return trace_file_read(c->candidate, c->meta[at].source, start, part, c->b + start, c->err);
}

typedef struct {
    const culprit_edit_t *edit;
    double *out; /* the part of the culprit by which it is judged */
    bool made;
} again_t;

/* The candidate's taps up to the culprit take the place of the reference's, and one is changed. */
static int change(comparison_t *c, void *who, size_t at, const char *name, real_t *x, view_t view) {
    again_t *again = who;
    const culprit_edit_t *edit = again->edit;
    size_t culprit = c->result->culprit, part, count = shape_count(view.shape);
    bool edited = strcmp(name, edit->name) == 0;
    bool forced = at < culprit && c->meta[at].forced && !c->meta[at].withheld;
    if (again->made || !(edited || forced || at == culprit)) return 0;
    pass_get(c, c->a, x, view);
    if (at == culprit) {
        size_t start = compare_part(&c->result->row[at], &part);
        memcpy(again->out, c->a + start, part * sizeof *again->out);
        again->made = true;
        return 0;
    }
    if (forced && read_candidate(c, at, count)) return -1;
    if (forced) memcpy(c->a, c->b, count * sizeof *c->a);
    if (edited) edit->change(edit->who, c->a, view.shape);
    pass_put(c, x, c->a, view);
    return 0;
}

static bool run_again(void *context, const culprit_edit_t *edit, double *out) {
    again_t again = {edit, out, false};
    return pass_run(context, change, &again, true) == 0 && again.made;
}

/* The part of the culprit's numbers and of its input by which it is judged. An input whose axis 0 is another
 * is none. */
static void narrow(culprit_t *culprit, const compare_row_t *row) {
    size_t start = compare_part(row, &culprit->count), each = shape_count(culprit->input_shape);
    culprit->candidate += start;
    culprit->expected += start;
    if (!row->one_row) return;
    culprit->shape.dim[0] = 1;
    if (!culprit->input) return;
    each /= culprit->input_shape.dim[0];
    if (culprit->input_shape.dim[0] == row->shape.dim[0])
        culprit->input += row->batch_row * each;
    else
        culprit->input = NULL;
    culprit->input_shape.dim[0] = 1;
}

/* The culprit shows what a layer gives that was not dumped. */
static void say_where(cause_t *cause, const char *layer) {
    char *text = *cause->text ? xasprintf("%s, in %s", cause->text, layer) : NULL;
    if (text && strlen(text) < sizeof cause->text)
        snprintf(cause->text, sizeof cause->text, "%s", text);
    free(text);
}

static int explain(comparison_t *c, const forcing_t *f) {
    /* NAME.mole.face.local belongs to NAME, and has its input. */
    compare_row_t *row = &c->result->row[f->culprit];
    ddim_plan_t ddim;
    tap_name_t tap = tap_name(row->name);
    char layer[512]; /* an input is none's */
    snprintf(layer, sizeof layer, "%.*s", tap.is_input ? 0 : (int)tap.layer.length, row->name);
    if (f->same) snprintf(layer, sizeof layer, "%s", f->name);
    bool known = f->same || (row->inputs_known && strcmp(f->name, layer) == 0);
    int planned = golden_schedule(c->golden, &c->pipeline, &ddim, c->err);
    if (planned < 0) return -1;
    bool run = !c->golden->is_calls, own = (f->same || row->inputs_known) && run;
    culprit_t culprit = {.name = f->same ? layer : row->name,
                         .shape = f->culprit_shape,
                         .count = shape_count(f->culprit_shape),
                         .candidate = f->found,
                         .expected = f->expected,
                         .module = own ? pipeline_module(&c->pipeline, layer) : NULL,
                         .input = known ? f->input : NULL,
                         .input_shape = f->shape,
                         .rounding = row->unit,
                         .layer = run ? pipeline_module(&c->pipeline, layer) : NULL,
                         .pipeline = run ? &c->pipeline : NULL,
                         .again = run && f->again ? run_again : NULL,
                         .tap = candidate_tap,
                         .earlier = earlier_tap,
                         .context = c,
                         .ddim = planned ? &ddim : NULL};
    narrow(&culprit, row);
    double *previous = step_of(c, row->name, culprit.shape, &culprit.step);
    culprit.previous = previous;
    run_t quiet = *c->run;
    quiet.sink = NULL;
    quiet.deviations = c->golden->deviations;
    causes_find(&quiet, &culprit, &row->cause);
    if (f->same) say_where(&row->cause, tap_name(layer).name);
    free(previous);
    if (planned) ddim_free(&ddim);
    return 0;
}

/* Of the culprit what the hypotheses need: they are tried when the pass is over, for they make passes of
 * their own. c->a expected, c->b found. */
static void keep_culprit(comparison_t *c, forcing_t *f, const char *name, shape_t shape) {
    size_t bytes = (shape_count(shape) + 1) * sizeof *f->found;
    f->culprit_shape = shape;
    f->same =
        f->dumped && strcmp(name, f->name) != 0 && f->output == digest(c->a, shape_count(shape));
    f->expected = xmalloc(bytes);
    f->found = xmalloc(bytes);
    memcpy(f->expected, c->a, shape_count(shape) * sizeof *f->expected);
    memcpy(f->found, c->b, shape_count(shape) * sizeof *f->found);
}

/* ---- the pass ------------------------------------------------------------------------------------------ */

static void measure(comparison_t *c, const forcing_t *f, size_t at, const char *name) {
    compare_row_t *row = &c->result->row[at];
    size_t count, start = compare_part(row, &count);
    row->isolated = diff_tensors(c->b + start, c->a + start, count);
    row->isolated.worst += start;
    row->has_isolated = true;
    row->sum_length = 0;
    const module_t *m = row->inputs_known && f->dumped ? linear_map_of(c, f, name) : NULL;
    if (m) measure_share(c, f, row, m);
}

static int force(comparison_t *c, void *who, size_t at, const char *name, real_t *x, view_t view) {
    forcing_t *f = who;
    size_t count = shape_count(view.shape);
    bool input = tap_name_is_input(name), forced = at != SIZE_MAX && c->meta[at].forced;
    bool output = f->culprit != SIZE_MAX && !forced && strcmp(name, f->name) == 0;
    if (f->found) return 0;
    if (input || forced || output) pass_get(c, c->a, x, view);
    if (output) f->output = digest(c->a, count);
    if (forced) {
        if (read_candidate(c, at, count)) return -1;
        if (f->culprit == SIZE_MAX)
            measure(c, f, at, name);
        else if (f->culprit == at)
            return keep_culprit(c, f, name, view.shape), 0;
        forced = !c->meta[at].withheld;
    }
    if (forced) {
        pass_put(c, x, c->b, view);
        remember(f, c->b, count);
        if (input) memcpy(c->a, c->b, count * sizeof *c->a);
    }
    if (input) keep_input(c, f, name, view, forced);
    return 0;
}

static int run_forced(comparison_t *c, size_t culprit, bool again) {
    forcing_t f = {.culprit = culprit, .again = again};
    int status = pass_run(c, force, &f, true);
    if (!status && f.found) status = explain(c, &f);
    free(f.input);
    free(f.forced);
    free(f.found);
    free(f.expected);
    return status;
}

int isolate_rows(comparison_t *c) {
    return run_forced(c, SIZE_MAX, false);
}

int isolate_explain(comparison_t *c, size_t culprit, bool again) {
    return run_forced(c, culprit, again);
}
