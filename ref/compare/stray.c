/* stray.c - see stray.h. */
#include "compare/stray.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "compare/isolate.h"
#include "compare/units.h"
#include "compare/verdicts.h"

static bool by_itself(const compare_row_t *row) {
    return row->verdict == ROW_DIFFERS && row->has_isolated;
}

/* Wrong against the truth too: perhaps stray. */
static bool wrong(const compare_row_t *row) {
    return by_itself(row) && !(row->ratio <= row->limit);
}

/* Wrong for its inputs alone: perhaps innocent. */
static bool right(const compare_row_t *row) {
    return by_itself(row) && row->ratio <= row->limit;
}

/* Takes back the verdicts of rows that agree without the wrong ones in front of them; the others stay as they
 * were in `before`. Returns how many. */
static size_t acquit(compare_result_t *r, const compare_row_t *before) {
    size_t acquitted = 0;
    for (size_t i = 0; i < r->rows; i++) {
        if (right(&before[i]) && r->row[i].verdict == ROW_AGREES)
            acquitted++;
        else
            r->row[i] = before[i];
    }
    compare_count(r);
    return acquitted;
}

static void note_stray(compare_result_t *r, const compare_row_t *before) {
    for (size_t i = 0, last = SIZE_MAX; i < r->rows; i++) {
        if (wrong(&before[i])) last = i;
        if (!right(&before[i]) || r->row[i].verdict != ROW_AGREES) continue;
        compare_note(
            r, xasprintf("'%s' agrees, and '%s' in front of it does not: it was not computed from "
                         "the tensor that stands under that name (another tap's, or changed in "
                         "place before it was written)",
                         r->row[i].name, r->row[last].name));
        return;
    }
}

int stray_taps(comparison_t *c, double limit) {
    compare_result_t *r = c->result;
    size_t first = 0, innocent = 0;
    while (first < r->rows && !wrong(&r->row[first])) first++;
    for (size_t i = first; i < r->rows; i++) innocent += right(&r->row[i]);
    if (innocent == 0) return 0;
    bool stretches = c->stretches;
    compare_row_t *before = xcalloc(r->rows, sizeof *before);
    memcpy(before, r->row, r->rows * sizeof *before);
    for (size_t i = first; i < r->rows; i++) c->meta[i].forced &= !wrong(&r->row[i]);
    int status = units_known(c) || isolate_rows(c) || verdicts_of_isolated(c, limit) ? -1 : 0;
    for (size_t i = first; i < r->rows; i++) c->meta[i].forced |= wrong(&before[i]);
    c->stretches = stretches;
    if (!status && acquit(r, before)) note_stray(r, before);
    free(before);
    return status;
}
