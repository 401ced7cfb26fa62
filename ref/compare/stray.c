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

/* Wrong for its inputs alone, not against the truth: perhaps its inputs are not what stands there. */
static bool in_doubt(const compare_row_t *row) {
    return by_itself(row) && row->ratio <= row->limit;
}

/* Without the numbers in doubt a tap is right, and less than half as far off: a fault of its own would
 * stay. */
static bool innocent(const compare_row_t *before, const compare_row_t *after) {
    return in_doubt(before) && after->isolated_ratio <= after->limit &&
           2 * after->isolated.rms < before->isolated.rms;
}

static void note_stray(compare_result_t *r, const char *right, const char *stray) {
    compare_note(
        r,
        xasprintf("'%s' agrees, and '%s' in front of it does not: it was not computed from the "
                  "tensor that stands under that name (another tap's, or changed in place before "
                  "it was written)",
                  right, stray));
}

/* Innocent rows are as the second run says, the others as they were. */
static void acquit(compare_result_t *r, const compare_row_t *before) {
    size_t guilty = SIZE_MAX;
    bool noted = false;
    for (size_t i = 0; i < r->rows; i++) {
        if (innocent(&before[i], &r->row[i]) && guilty != SIZE_MAX) {
            r->row[i].verdict = ROW_AGREES;
            if (!noted) note_stray(r, r->row[i].name, r->row[guilty].name);
            noted = true;
            continue;
        }
        r->row[i] = before[i];
        if (by_itself(&r->row[i])) guilty = i;
    }
    compare_count(r);
}

static bool any_in_doubt(const compare_result_t *r) {
    bool wrong = false;
    for (size_t i = 0; i < r->rows; i++) {
        if (wrong && in_doubt(&r->row[i])) return true;
        wrong |= by_itself(&r->row[i]);
    }
    return false;
}

/* Judged by a budget that its numbers cannot hold, every tap is off by their rounding. */
static bool judged_too_finely(const compare_result_t *r) {
    return r->detected && r->computed > r->budget;
}

int stray_taps(comparison_t *c, double limit) {
    compare_result_t *r = c->result;
    bool stretches = c->stretches;
    if (judged_too_finely(r) || !any_in_doubt(r)) return 0;
    compare_row_t *before = xcalloc(r->rows, sizeof *before);
    memcpy(before, r->row, r->rows * sizeof *before);
    for (size_t i = 0; i < r->rows; i++) c->meta[i].withheld = by_itself(&r->row[i]);
    int status = units_known(c) || isolate_rows(c) || verdicts_of_isolated(c, limit) ? -1 : 0;
    for (size_t i = 0; i < r->rows; i++) c->meta[i].withheld = false;
    c->stretches = stretches;
    if (!status) acquit(r, before);
    free(before);
    return status;
}
