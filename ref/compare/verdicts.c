/* verdicts.c - see verdicts.h. */
#include "compare/verdicts.h"

#include <math.h>
#include <stdio.h>

#include "compare/units.h"

/* Roundings of one element of a linear map, on the way: in sums, of inputs and weights, of the result. */
static double roundings(const compare_row_t *row, bool typical) {
    double K = (double)(row->sum_length + 1), sums = budget_is_low(row->budget) ? 0x1p-24 : 0;
    double u = budget_unit(row->budget);
    if (!budget_is_low(row->budget) || budget_narrow_sums(row->budget)) sums = u;
    double of_sums = typical ? 4 * sqrt(K) * sums : K * sums / (1 - K * sums);
    return of_sums + (budget_is_low(row->budget) ? 3 * u : 0);
}

static void bound_ratios(compare_row_t *row) {
    double K = (double)(row->sum_length + 1);
    row->has_bound = row->inputs_known && row->sum_length > 0 && K * budget_unit(row->budget) < 1;
    row->bound_used = row->has_bound ? row->sum_share / roundings(row, false) : 0;
    row->typical_used = row->has_bound ? row->sum_share / roundings(row, true) : 0;
}

/* Units are those of true inputs. On the candidate's own a module may give larger numbers (a gate that
 * bfloat16 has open where it is shut, a fault before it), and rounds them by as much more. */
static double growth(const compare_row_t *row, double truth_rms) {
    double now = row->has_isolated ? row->isolated.truth_rms : 0;
    return truth_rms > 0 && now > truth_rms ? now / truth_rms : 1;
}

static void set_ratios(comparison_t *c, bool propagated) {
    for (size_t i = 0; i < c->result->rows; i++) {
        compare_row_t *row = &c->result->row[i];
        const row_meta_t *m = &c->meta[i];
        double per_rounding = budget_unit(row->budget) / 0x1p-24;
        double cumulative = budget_is_low(row->budget) ? 0 : row->peer_rms * per_rounding;
        if (propagated) cumulative = fmax(cumulative, sqrt(m->moved + m->own * m->own));
        row->cumulative_unit = units_floored(cumulative, m->truth_rms, row->budget);
        row->ratio = compare_ratio(&row->cumulative, row->cumulative_unit);
        row->own_unit = units_floored(m->own, m->truth_rms, row->budget);
        row->unit = sqrt(row->own_unit * row->own_unit + row->stretch * row->stretch) *
                    growth(row, m->truth_rms);
        if (row->has_isolated) row->isolated_ratio = compare_ratio(&row->isolated, row->unit);
        bound_ratios(row);
        snprintf(row->origin, sizeof row->origin, "%s",
                 budget_is_low(row->budget) ? "times the rounding of its type along the reference"
                 : c->golden->derived       ? "times the rounding of a careful computation, derived"
                                            : "times the error of a careful computation, measured");
    }
}

static bool any_beyond(const compare_result_t *r, double limit) {
    for (size_t i = 0; i < r->rows; i++)
        if (r->row[i].candidate_name && r->row[i].has_isolated &&
            !(r->row[i].ratio <= compare_limit(&r->row[i], limit)))
            return true;
    return false;
}

/* Cumulative errors of float32 and float64 are held against those of PyTorch's passes, and, where these
 * are exceeded, against the modules' units propagated: an order of sums that is worse everywhere adds up. */
int verdicts_of_isolated(comparison_t *c, double limit) {
    bool low = budget_is_low(c->result->budget) || c->own; /* no pass was measured */
    if (units_own(c) || units_stretch(c) || (low && units_cumulative(c))) return -1;
    set_ratios(c, low);
    if (!low && any_beyond(c->result, limit)) {
        if (units_cumulative(c)) return -1;
        set_ratios(c, true);
    }
    compare_judge(c->result, limit);
    return 0;
}

static bool off_by_statistics(const compare_result_t *r, double limit) {
    for (size_t i = 0; i < r->rows; i++)
        if (r->row[i].candidate_name && !(r->row[i].ratio <= compare_limit(&r->row[i], limit)))
            return true;
    return false;
}

int verdicts_of_statistics(comparison_t *c, double limit) {
    bool low = c->own;
    for (size_t i = 0; i < c->result->rows; i++) low |= budget_is_low(c->result->row[i].budget);
    if (low && (pass_open(c) || units_own(c) || units_cumulative(c))) return -1;
    set_ratios(c, low);
    if (!low && off_by_statistics(c->result, limit)) {
        if (pass_open(c) || units_own(c) || units_cumulative(c)) return -1;
        set_ratios(c, true);
    }
    compare_judge(c->result, limit);
    return 0;
}

int verdicts_of_cumulative(comparison_t *c, double limit) {
    if (units_own(c) || (c->own && units_cumulative(c))) return -1;
    set_ratios(c, c->own);
    compare_judge(c->result, limit);
    return 0;
}
