/* peek_taps.h - mole generate --peek: taps of a run as lines of mole peek, while it goes on. */
#ifndef MOLE_CLI_PEEK_TAPS_H
#define MOLE_CLI_PEEK_TAPS_H

#include "core/tap.h"

typedef struct {
    tap_sink_t sink; /* first: a pointer to it is a pointer to the whole */
    tap_sink_t *next;
    const char *glob;
    bool
        stop; /* the program ends, with exit code 0, after the first line; what is half written is removed */
    size_t shown;
} peek_taps_t;

/* Every tap goes on to `next`, which may be NULL. */
void peek_taps_start(peek_taps_t *peek, const char *glob, bool stop, tap_sink_t *next);

#endif
