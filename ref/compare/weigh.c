/* weigh.c - how far a candidate's tensor is from the truth, and in which type the candidate computes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compare/match.h"
#include "core/tap_name.h"
#include "trace/ulps.h"

/* ---- the error ----------------------------------------------------------------------------------------- */

size_t compare_part(const compare_row_t *row, size_t *count) {
    *count = shape_count(row->shape) / (row->one_row ? row->shape.dim[0] : 1);
    return row->one_row ? row->batch_row * *count : 0;
}

int compare_tensors(compare_row_t *row, trace_file_t *candidate, size_t index, const truth_t *truth,
                    double unit, err_t *err) {
    enum { CHUNK = 1 << 17 };
    size_t count, start = compare_part(row, &count), room = count < CHUNK ? count + 1 : CHUNK;
    double *a = xmalloc(room * sizeof *a), *b = xmalloc(room * sizeof *b);
    ulps_t ulps = {0};
    int status = 0;
    row->cumulative = diff_tensors(NULL, NULL, 0);
    for (size_t first = 0; !status && first < count; first += CHUNK) {
        size_t n = count - first < CHUNK ? count - first : CHUNK;
        status = trace_file_read(candidate, index, start + first, n, a, err) ||
                 truth->read(truth->who, truth->index, start + first, n, b, err);
        if (status) break;
        diff_t part = diff_tensors(a, b, n);
        diff_append(&row->cumulative, &part);
        ulps_add(&ulps, a, b, n, unit);
    }
    row->cumulative.worst += start;
    row->ulp_p99 = ulps_p99(&ulps);
    free(a);
    free(b);
    return status ? -1 : 0;
}

double compare_ratio(const diff_t *diff, double scale) {
    if (diff->rms == 0) return 0;
    return scale > 0 ? diff->rms / scale : INFINITY;
}

/* ---- the type ------------------------------------------------------------------------------------------ */

/* So many numbers of a tap are looked at, and of these so many must be able to tell a grid from a finer
 * one. */
enum { SAMPLE = MATCH_HEAD, TELLING = 8 };

/* So many of a row's numbers, from `start` on: the candidate's, or the known ones of its statistics, and
 * the truth's. */
static int read_sample(const compare_row_t *row, trace_file_t *candidate, size_t source,
                       const truths_t *truths, size_t index, size_t start, double *mine,
                       double *true_numbers, size_t *known) {
    const statistics_t *s = trace_file_statistics(candidate, source);
    size_t count = shape_count(row->shape) - start;
    if (count > SAMPLE) count = SAMPLE;
    *known = s ? statistics_elements(s, mine) : count;
    if (!s && trace_file_read(candidate, source, start, count, mine, NULL)) return -1;
    return truths->read(truths->who, truths->index[index], start, count, true_numbers, NULL);
}

/* The grid that a row's numbers lie on; *tells: it says something of the candidate, being the finest or
 * not the truth's as well. Where the first numbers say nothing (a negative prompt of zeros), the last are
 * asked. */
static precision_t grid_of(const compare_row_t *row, trace_file_t *candidate, size_t source,
                           const truths_t *truths, size_t index, bool *tells) {
    double mine[SAMPLE], true_numbers[SAMPLE];
    size_t count = shape_count(row->shape), start = 0, known, telling, ignored;
    *tells = false;
    if (read_sample(row, candidate, source, truths, index, 0, mine, true_numbers, &known))
        return PRECISION_F64;
    precision_t grid = precision_of(mine, known, &telling);
    if (telling < TELLING && count > SAMPLE && !trace_file_statistics(candidate, source)) {
        start = count - SAMPLE;
        if (read_sample(row, candidate, source, truths, index, start, mine, true_numbers, &known))
            return PRECISION_F64;
        grid = precision_of(mine, known, &telling);
    }
    if (count - start > SAMPLE) count = start + SAMPLE;
    *tells = telling >= TELLING &&
             (grid == PRECISION_F64 || precision_of(true_numbers, count - start, &ignored) > grid);
    return grid;
}

static budget_t budget_of_storage(dtype_t dtype) {
    switch (dtype) {
    case DTYPE_F64: return BUDGET_F64;
    case DTYPE_F16: return BUDGET_F16_ACC32;
    case DTYPE_BF16: return BUDGET_BF16_ACC32;
    default: return BUDGET_F32;
    }
}

static budget_t most_votes(const size_t votes[BUDGETS]) {
    budget_t best = BUDGET_F32;
    for (budget_t b = BUDGET_F64; b < BUDGETS; b++)
        if (votes[b] > votes[best]) best = b;
    return best;
}

static void count_storage(compare_result_t *r, size_t votes[BUDGETS]) {
    size_t of[DTYPES] = {0}, most = 0;
    for (size_t i = 0; i < r->rows; i++) {
        if (!r->row[i].candidate_name) continue;
        dtype_t dtype = r->row[i].candidate_dtype;
        votes[budget_of_storage(dtype)]++;
        if (++of[dtype] > most) most = of[dtype], r->stored = dtype;
    }
}

enum { MANY = 10 }; /* one of so many */

/* Some taps on a coarser grid are a mistake: a layer that computes in another type. Where they are many,
 * the candidate mixes types on purpose (PyTorch's autocast: products in bfloat16, norms in float32), and
 * each tap has its own. */
static void judge_each_in_its_own(compare_result_t *r, const size_t seen[BUDGETS], size_t telling) {
    size_t coarser = 0;
    for (budget_t b = r->computed + 1; b < BUDGETS; b++) coarser += seen[b];
    r->mixed = coarser * MANY >= telling ? coarser : 0;
    for (size_t i = 0; i < r->rows; i++)
        r->row[i].budget = r->mixed ? budget_coarser(r->budget, r->row[i].budget) : r->budget;
}

/* Tensors that the reference has no tap for are stored as what they were computed in, or wider. */
static size_t count_extras(const compare_result_t *r, trace_file_t *candidate, const size_t *source,
                           size_t votes[BUDGETS]) {
    size_t entries = trace_file_count(candidate), extras = 0;
    bool *used = xcalloc(entries + 1, sizeof *used);
    for (size_t i = 0; i < r->rows; i++)
        if (source[i] < entries) used[source[i]] = true;
    for (size_t i = 0; i < entries; i++) {
        if (used[i]) continue;
        votes[budget_of_storage(trace_file_at(candidate, i)->dtype)]++;
        extras++;
    }
    free(used);
    return extras;
}

/* In which type a tap was computed that nobody dumped is not known: in the coarsest that is common among
 * those that were. */
static void judge_hidden(compare_result_t *r, trace_file_t *candidate, const size_t *source,
                         size_t seen[BUDGETS], size_t telling) {
    telling += count_extras(r, candidate, source, seen);
    for (budget_t b = r->budget + 1; b < BUDGETS; b++)
        if (seen[b] > 0 && seen[b] * MANY >= telling) r->hidden = b;
    for (size_t i = 0; i < r->rows; i++)
        if (!r->row[i].candidate_name) r->row[i].budget = r->hidden;
}

/* PyTorch multiplies a float16 prediction by a float32 number in float16, and only the sum with float32
 * latents is float32: a step's result has the digits of the prediction, the row before it. */
static void judge_steps_as_predictions(compare_result_t *r) {
    for (size_t i = 1; i < r->rows; i++) {
        tap_name_t name = tap_name(r->row[i].name);
        if (name.has_step && strcmp(name.name, "latents") == 0)
            r->row[i].budget = budget_coarser(r->row[i].budget, r->row[i - 1].budget);
    }
}

static bool is_run(const compare_result_t *r) {
    for (size_t i = 0; i < r->rows; i++)
        if (tap_name(r->row[i].name).has_step) return true;
    return false;
}

/* A row of a run that stands for a whole component: the text encoder's, the UNet's, the decoder's result. */
static bool is_component(const char *text) {
    tap_name_t name = tap_name(text);
    if (name.has_step) return strcmp(name.name, "noise_pred") == 0;
    return strcmp(name.name, "latents") != 0 && strcmp(name.name, "image") != 0;
}

/* Autocast ends a text encoder, whose products are float16, in a norm of float32; a decoder of float32 takes
 * latents that were scaled in bfloat16. What is inside a component, or right before it, is no tap of a run,
 * and may have been computed in the coarsest type that is common. */
static void judge_components_as_hidden(compare_result_t *r) {
    if (!r->mixed || !is_run(r)) return;
    for (size_t i = 0; i < r->rows; i++)
        if (is_component(r->row[i].name))
            r->row[i].budget = budget_coarser(r->row[i].budget, r->hidden);
}

void compare_detect(compare_result_t *r, trace_file_t *candidate, const size_t *source,
                    const truths_t *truths, budget_t wanted) {
    size_t seen[BUDGETS] = {0}, stored[BUDGETS] = {0}, telling = 0;
    count_storage(r, stored);
    for (size_t i = 0; i < r->rows; i++) {
        compare_row_t *row = &r->row[i];
        bool tells;
        row->budget = BUDGET_AUTO;
        if (!row->candidate_name || !shape_equal(row->shape, row->candidate_shape)) continue;
        precision_t grid = grid_of(row, candidate, source[i], truths, i, &tells);
        if (!tells) continue;
        row->budget = budget_of(grid);
        seen[row->budget]++;
        telling++;
    }
    r->detected = telling > 0;
    r->computed = most_votes(telling ? seen : stored);
    r->budget = r->hidden = wanted != BUDGET_AUTO ? wanted : r->computed;
    if (wanted == BUDGET_AUTO && telling) {
        judge_each_in_its_own(r, seen, telling);
        judge_hidden(r, candidate, source, seen, telling);
        judge_components_as_hidden(r);
        judge_steps_as_predictions(r);
        return;
    }
    for (size_t i = 0; i < r->rows; i++) r->row[i].budget = r->budget;
}

/* The type of the truth's first numbers; AUTO where they say nothing. */
static budget_t type_of_truth(const truths_t *truths, size_t row, size_t count) {
    double x[SAMPLE];
    size_t telling;
    if (count > SAMPLE) count = SAMPLE;
    if (truths->read(truths->who, truths->index[row], 0, count, x, NULL)) return BUDGET_AUTO;
    precision_t grid = precision_of(x, count, &telling);
    return telling < TELLING ? BUDGET_AUTO : budget_of(grid);
}

/* As for a candidate: most taps say what the reference is, and where one of MANY or more is coarser than
 * that, its types mix and each tap has its own. */
void compare_detect_reference(compare_result_t *r, const truths_t *truths, budget_t wanted) {
    size_t seen[BUDGETS] = {0}, telling = 0, coarser = 0;
    budget_t *of = xcalloc(r->rows + 1, sizeof *of);
    for (size_t i = 0; i < r->rows; i++) {
        of[i] = type_of_truth(truths, i, shape_count(r->row[i].shape));
        if (of[i] == BUDGET_AUTO) continue;
        seen[of[i]]++;
        telling++;
    }
    if (telling) r->held = most_votes(seen);
    for (budget_t b = r->held + 1; b < BUDGETS; b++) coarser += seen[b];
    for (size_t i = 0; telling && wanted == BUDGET_AUTO && i < r->rows; i++) {
        budget_t held = coarser * MANY >= telling ? budget_coarser(r->held, of[i]) : r->held;
        r->row[i].budget = budget_coarser(r->row[i].budget, held);
    }
    if (wanted == BUDGET_AUTO) r->budget = r->hidden = budget_coarser(r->budget, r->held);
    free(of);
}
