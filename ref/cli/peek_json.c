/* peek_json.c - mole peek: a tensor as JSON; see peek.h. Figures that are not finite are the strings "NaN",
 * "Infinity" and "-Infinity", as in the report of mole compare. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "cli/peek.h"

static json_t *figure(double value) {
    if (isnan(value)) return json_string("NaN");
    if (isinf(value)) return json_string(value > 0 ? "Infinity" : "-Infinity");
    return json_real(value);
}

static json_t *known(double value) {
    return isnan(value) ? json_null() : figure(value);
}

static json_int_t size(size_t value) {
    return (json_int_t)value;
}

static json_t *shape_json(shape_t shape) {
    json_t *list = json_array();
    for (int d = 0; d < shape.ndim; d++)
        json_array_append_new(list, json_integer(size(shape.dim[d])));
    return list;
}

static json_t *histogram_json(const histogram_t *h) {
    json_t *counts = json_array();
    for (size_t i = 0; i < HISTOGRAM_BINS; i++)
        json_array_append_new(counts, json_integer(size(h->bin[i])));
    return json_pack("{s:f, s:f, s:o}", "low", h->low, "high", h->high, "counts", counts);
}

/* The numbers, row-major in one list. */
static json_t *values_json(const peek_t *p, err_t *err) {
    size_t count = shape_count(p->slice.shape);
    if (count > PEEK_JSON_MOST) {
        err_set(err,
                "%s: %zu numbers; as JSON at most %d are written: take a smaller slice, or --plain",
                trace_file_path(p->trace), count, PEEK_JSON_MOST);
        return NULL;
    }
    double *x = xmalloc((count + 1) * sizeof *x);
    int status = slice_read(p->trace, p->index, &p->slice, 0, count, x, err);
    json_t *list = json_array();
    for (size_t i = 0; i < count && !status; i++) json_array_append_new(list, figure(x[i]));
    free(x);
    if (!status) return list;
    json_decref(list);
    return NULL;
}

json_t *peek_json(const peek_t *p, err_t *err) {
    const trace_entry_t *entry = trace_file_at(p->trace, p->index);
    const tally_t *t = &p->tally;
    json_t *out = json_pack("{s:s, s:s, s:o}", "tensor", entry->name, "dtype",
                            dtype_name(entry->dtype), "shape", shape_json(entry->shape));
    if (p->place) {
        json_t *values = values_json(p, err);
        if (!values) return json_decref(out), NULL;
        json_object_set_new(out, "index", json_string(p->place));
        json_object_set_new(out, "index_shape", shape_json(p->slice.shape));
        json_object_set_new(out, "values", values);
    }
    json_t *figures =
        json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "numbers", size(t->count),
                  "mean", known(t->mean), "deviation", known(t->deviation), "min", known(t->min),
                  "max", known(t->max), "norm", known(t->norm), "zeros", size(t->zeros), "nan",
                  size(t->nan), "inf", size(t->inf));
    json_object_update_missing(out, figures);
    json_decref(figures);
    if (p->statistics && tally_finite(t))
        json_object_set_new(out, "histogram", histogram_json(&p->histogram));
    return out;
}
