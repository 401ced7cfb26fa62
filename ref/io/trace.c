/* trace.c - see trace.h. */
#include "io/trace.h"

#include <stdio.h>
#include <stdlib.h>

#include "io/safetensors.h"

struct trace {
    tap_sink_t sink; /* first: a pointer to the sink is a pointer to the trace */
    st_writer_t *writer;
    real_t *buffer;
    size_t room, taps;
    err_t err;
    bool failed;
};

static void write_tap(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    trace_t *t = (trace_t *)self;
    if (t->failed) return;
    const real_t *data = x;
    if (view.layout != LAYOUT_TORCH) {
        size_t count = shape_count(view.shape);
        if (count > t->room) {
            t->buffer = xrealloc(t->buffer, count * sizeof *t->buffer);
            t->room = count;
        }
        view_to_torch(t->buffer, x, view);
        data = t->buffer;
    }
    t->failed = st_writer_add(t->writer, name, dtype_real(), view.shape, data, &t->err) != 0;
    t->taps++;
}

int trace_open(trace_t **trace, const char *path, bool inputs, err_t *err) {
    st_writer_t *writer;
    if (st_writer_open(&writer, path, err)) return -1;
    st_writer_metadata(writer, "format", "mole-trace");
    st_writer_metadata(writer, "version", "1");
    st_writer_metadata(writer, "precision", REAL_NAME);
    *trace = xcalloc(1, sizeof **trace);
    (*trace)->sink = (tap_sink_t){write_tap, inputs};
    (*trace)->writer = writer;
    return 0;
}

tap_sink_t *trace_sink(trace_t *trace) {
    return &trace->sink;
}

void trace_metadata(trace_t *trace, const char *key, const char *value) {
    st_writer_metadata(trace->writer, key, value);
}

size_t trace_count(const trace_t *trace) {
    return trace->taps;
}

int trace_close(trace_t *trace, bool keep, err_t *err) {
    if (!trace) return 0;
    int status = 0;
    if (trace->failed || !keep) {
        st_writer_abort(trace->writer);
        if (trace->failed) status = err_set(err, "%s", trace->err.text);
    } else {
        status = st_writer_finish(trace->writer, err);
    }
    free(trace->buffer);
    free(trace);
    return status;
}
