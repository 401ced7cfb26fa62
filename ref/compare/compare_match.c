/* compare_match.c - which tap of the candidate is which of the reference's; and of those that are none, which
 * they perhaps are, by their numbers or by their names. */
#include <stdlib.h>
#include <string.h>

#include "compare/match.h"
#include "trace/names_plan.h"

/* Of a batch, with or without its axis. */
static bool is_row_of(shape_t shape, shape_t stored) {
    int axis = stored.ndim == shape.ndim;
    if (stored.ndim + !axis != shape.ndim || (axis && stored.dim[0] != 1)) return false;
    for (int i = 1; i < shape.ndim; i++)
        if (stored.dim[i - !axis] != shape.dim[i]) return false;
    return true;
}

/* The shape of statistics: the row's where none is stated, or where they are of as many numbers. */
static void take_shape(const match_t *m, compare_row_t *row, const statistics_t *s) {
    shape_t stored = row->candidate_shape;
    row->one_row = s->has_count && match_is_batch_row(m, row->shape, shape_count(stored));
    row->batch_row = m->batch_row;
    if (!row->one_row && s->has_count && shape_count(stored) != shape_count(row->shape)) return;
    bool same = row->one_row ? is_row_of(row->shape, stored) : shape_equal(stored, row->shape);
    row->rearranged = s->has_shape && !same;
    row->candidate_shape = row->shape;
}

/* What was found goes to the rows and, as aliases, to the trace. */
static void fill_rows(const match_t *m) {
    compare_result_t *r = m->r;
    for (size_t i = 0; i < r->rows; i++) {
        if (m->source[i] == NO_ROW) continue;
        const trace_entry_t *entry = trace_file_at(m->candidate, m->source[i]);
        trace_file_set_alias(m->candidate, m->source[i], r->row[i].name);
        r->row[i].candidate_name = entry->name;
        r->row[i].candidate_shape = entry->shape;
        if (r->statistics)
            take_shape(m, &r->row[i], trace_file_statistics(m->candidate, m->source[i]));
        r->row[i].candidate_dtype = entry->dtype;
        r->compared++;
    }
}

/* The candidate's taps that the reference has not. */
static void list_extras(match_t *m) {
    compare_result_t *r = m->r;
    size_t entries = trace_file_count(m->candidate);
    size_t *extra_at = xcalloc(entries + 1, sizeof *extra_at);
    r->extra = xcalloc(entries + 1, sizeof *r->extra);
    for (size_t i = 0; i < entries; i++) {
        if (m->row[i] != NO_ROW || !m->asked[i]) continue;
        extra_at[r->extras] = i;
        r->extra[r->extras++] = xstrdup(trace_file_at(m->candidate, i)->name);
    }
    match_suggest(m, extra_at);
    free(extra_at);
}

/* Nothing in common: say what the candidate has, and what it probably means. */
static int nothing_in_common(const compare_result_t *r, trace_file_t *candidate, err_t *err) {
    const char *path = trace_file_path(candidate);
    if (trace_file_count(candidate) == 0) return err_set(err, "%s: the trace is empty", path);
    size_t first = 0; /* one whose numbers are known, if there is one */
    for (size_t i = r->extras; i-- > 0;)
        if (r->meant[i].by_value) first = i;
    const char *name = r->extras ? r->extra[first] : trace_file_at(candidate, 0)->name;
    const char *meant = r->extras ? r->meant[first].name : NULL;
    const char *why = !meant                     ? ""
                      : r->meant[first].by_value ? ", which holds the numbers of '"
                                                 : ", perhaps '";
    const char *kind = names_are_ldm((const char *const *)r->extra, r->extras)
                           ? ". Its names are those of single-file checkpoints, which were read by "
                             "the built-in map 'ldm', and the reference has none of these modules"
                           : "";
    return err_set(
        err,
        "%s: no tap has a name that the reference knows; there is '%.120s'%s%.120s%s%s. Dump "
        "under the documented names or give --map%s.",
        path, name, why, meant ? meant : "", meant ? "'" : "", kind,
        r->extras && r->meant[first].by_value ? "; --map auto goes by the numbers" : "");
}

/* ---- both -------------------------------------------------------------------------------------------- */

int compare_match(compare_result_t *r, trace_file_t *candidate, const compare_options_t *options,
                  const truths_t *truths, size_t *source, err_t *err) {
    size_t entries = trace_file_count(candidate) + 1;
    match_t m = {r,
                 candidate,
                 options,
                 truths,
                 source,
                 xcalloc(entries, sizeof *m.row),
                 xcalloc(entries, sizeof *m.asked),
                 xcalloc(entries, sizeof *m.settled),
                 NO_ROW};
    r->statistics = compare_by_statistics(candidate);
    int status = match_names(&m, err);
    if (!status && name_map_is_auto(options->map) && !r->statistics) match_numbers(&m);
    if (!status) {
        match_batch(&m);
        if (!r->statistics) match_layouts(&m);
        fill_rows(&m);
        match_note_batch(&m);
        list_extras(&m);
        if (r->compared == 0) status = nothing_in_common(r, candidate, err);
    }
    free(m.row);
    free(m.asked);
    free(m.settled);
    if (status) return -1;
    r->complete = options->complete;
    return 0;
}
