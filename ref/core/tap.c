/* tap.c - see tap.h. */
#include "core/tap.h"

#include <stdio.h>

void tap_suffix(tap_sink_t *sink, const char *name, const char *suffix, real_t *x, shape_t shape,
                layout_t layout) {
    if (!sink) return;
    char full[512];
    snprintf(full, sizeof full, "%s%s", name, suffix);
    sink->tap(sink, full, x, shape, layout);
}
