/* trace.h - a tap sink that writes every tap of a run to a safetensors file.
 *
 * Tensors stand in the order of execution, in torch's dimension order, as real_t, under the tap's name;
 * during denoising "step.000/" and so on stand in front. Metadata says what made the file
 * (format "mole-trace", version 1). The file appears whole or not at all, and memory stays bounded by
 * the largest tensor. A failing disk is remembered and reported by trace_finish. */
#ifndef MOLE_IO_TRACE_H
#define MOLE_IO_TRACE_H

#include "core/err.h"
#include "core/tap.h"

typedef struct trace trace_t;

/* inputs: also NAME.in of every module that has weights. */
int trace_open(trace_t **trace, const char *path, bool inputs, err_t *err);
/* The sink to hand to a run. */
tap_sink_t *trace_sink(trace_t *trace);
void trace_metadata(trace_t *trace, const char *key, const char *value);
/* Taps since the start. */
size_t trace_count(const trace_t *trace);
/* Finish (or, with keep = false, discard) and free. Returns 0, or -1 and err. */
int trace_close(trace_t *trace, bool keep, err_t *err);

#endif
