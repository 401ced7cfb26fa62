/* peek_taps.c - see peek_taps.h. */
#include "cli/peek_taps.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/peek.h"
#include "io/file.h"
#include "trace/names.h"

/* The figures do not depend on the order of the numbers. */
static tally_t tally_reals(const real_t *x, size_t count) {
    enum { PIECE = 4096 };
    tally_state_t state = {0};
    double piece[PIECE];
    for (size_t at = 0, n; at < count; at += n) {
        n = count - at < PIECE ? count - at : PIECE;
        for (size_t i = 0; i < n; i++) piece[i] = (double)x[at + i];
        tally_add(&state, piece, n);
    }
    return tally_result(&state);
}

static void leave(void) {
    bool lost = fflush(stdout) || ferror(stdout);
    out_files_abandon();
    exit(lost ? EXIT_INPUT : 0);
}

static void show(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    enum { WIDTH = 48, DIGITS = 6 };
    peek_taps_t *p = (peek_taps_t *)self;
    if (p->next) p->next->tap(p->next, name, x, view);
    if (!name_matches(p->glob, name)) return;
    const trace_entry_t entry = {.name = name, .dtype = dtype_real(), .shape = view.shape};
    tally_t tally = tally_reals(x, shape_count(view.shape));
    if (p->shown++ == 0) peek_print_head(WIDTH);
    peek_print_line(&entry, &tally, DIGITS, WIDTH);
    fflush(stdout);
    if (p->stop) leave();
}

void peek_taps_start(peek_taps_t *p, const char *glob, bool stop, tap_sink_t *next) {
    *p = (peek_taps_t){{show, next && next->inputs}, next, glob, stop, 0};
}
