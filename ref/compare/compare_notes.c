/* compare_notes.c - what the two look like as wholes: the same file, runs of other lengths, another model. A
 * note changes no verdict; it keeps a reader from looking for a mistake in a layer. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "compare/compare_internal.h"

#include "core/tap_name.h"

void compare_note(compare_result_t *r, char *text) {
    r->note = xrealloc(r->note, (r->notes + 1) * sizeof *r->note);
    r->note[r->notes++] = text;
}

static bool same_file(const char *a, const char *b) {
    struct stat one, other;
    return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

/* "step.012/...": 13; anything else 0. */
static size_t step_count(const char *text) {
    tap_name_t name = tap_name(text);
    return name.has_step && name.step < SIZE_MAX ? name.step + 1 : 0;
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static void note_steps(compare_result_t *r) {
    size_t reference = 0, candidate = 0;
    for (size_t i = 0; i < r->rows; i++) {
        size_t steps = step_count(r->row[i].name);
        reference = larger(reference, steps);
        if (r->row[i].candidate_name) candidate = larger(candidate, steps);
    }
    for (size_t i = 0; i < r->extras; i++) candidate = larger(candidate, step_count(r->extra[i]));
    if (reference == candidate || !reference || !candidate) return;
    compare_note(
        r, xasprintf("the candidate has %zu steps, the reference %zu: %s of another number of "
                     "steps, whose timesteps are others from the first step on",
                     candidate, reference,
                     candidate < reference ? "a part of such a run, or one" : "a run"));
}

static void note_shapes(compare_result_t *r) {
    size_t others = 0;
    for (size_t i = 0; i < r->rows; i++) others += r->row[i].verdict == ROW_SHAPE;
    if (2 * others > r->compared)
        compare_note(
            r, xasprintf("%zu of the %zu taps compared have another shape: a trace of another "
                         "model, or of another picture size",
                         others, r->compared));
}

/* An agreement of a few taps must not look like one of all. */
static void note_coverage(compare_result_t *r) {
    enum { FEW = 10 };
    if (r->compared * FEW >= r->rows) return;
    compare_note(r,
                 xasprintf("only %zu of %zu taps were compared: the verdict goes as far as these; "
                           "--complete demands all",
                           r->compared, r->rows));
}

/* A trace that ends early: nearly all is there up to a tap, and nothing behind it. */
static void note_end(compare_result_t *r) {
    enum { MANY = 10 }; /* of fewer taps nothing can be said */
    size_t end = r->rows;
    while (end > 0 && !r->row[end - 1].candidate_name) end--;
    size_t behind = r->rows - end;
    if (end < MANY || behind * MANY < r->rows || r->compared * MANY < end * (MANY - 1)) return;
    compare_note(r, xasprintf("the trace ends at '%s': of the %zu taps behind it none was dumped; "
                              "if a whole trace was meant, it is cut off",
                              r->row[end - 1].name, behind));
}

static void note_types(compare_result_t *r) {
    size_t of[DTYPES] = {0}, kinds = 0;
    char text[160] = "";
    for (size_t i = 0; i < r->rows; i++)
        if (r->row[i].candidate_name) of[r->row[i].candidate_dtype]++;
    for (size_t d = 0; d < DTYPES; d++) {
        size_t used = strlen(text);
        if (!of[d]) continue;
        snprintf(text + used, sizeof text - used, "%s%zu as %s", kinds++ ? ", " : "", of[d],
                 dtype_name((dtype_t)d));
    }
    if (kinds < 2) return;
    char *weighed = r->hidden != r->budget
                        ? xasprintf("each weighed as its own, what was not dumped as %s",
                                    budget_name(r->hidden))
                    : r->mixed ? xstrdup("each weighed as its own")
                               : xasprintf("all weighed as %s", budget_name(r->budget));
    compare_note(
        r,
        xasprintf("the candidate's taps are stored as several types (%s) and %s; --budget chooses",
                  text, weighed));
    free(weighed);
}

void compare_notes(compare_result_t *r, const char *reference, const char *candidate,
                   const compare_options_t *options) {
    if (same_file(reference, candidate))
        compare_note(r,
                     xstrdup("reference and candidate are the same file, which says nothing about "
                             "a port"));
    note_steps(r);
    note_shapes(r);
    note_coverage(r);
    note_end(r);
    if (options->budget == BUDGET_AUTO) note_types(r);
}

void compare_note_skipped(compare_result_t *r, const char *whose, const trace_file_t *trace) {
    char *text = trace_file_skipped_text(trace);
    if (text) compare_note(r, xasprintf("the %s holds what is not compared: %s", whose, text));
    free(text);
}
