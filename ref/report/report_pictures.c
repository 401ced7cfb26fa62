/* report_pictures.c - see report_pictures.h. */
#include "report/report_pictures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/fmath.h"
#include "report/report_parts.h"

enum { CHUNK = 4096, DECADES = 8 };

/* ---- two tensors, piece by piece ------------------------------------------------------------- */

typedef struct {
    const st_tensor_t *truth; /* of a golden case, or NULL: */
    trace_file_t *reference;  /* then this trace's entry */
    size_t reference_index;
    trace_file_t *candidate;
    size_t candidate_index;
    size_t start, count; /* the part by which the row is judged */
    double a[CHUNK], b[CHUNK];
} pair_t;

/* False when one of the two cannot be had, or is not what the row says. */
static bool find_whole(pair_t *pair, const compare_row_t *row, const golden_case_t *golden,
                       trace_file_t *reference, trace_file_t *candidate) {
    const golden_tap_t *tap = golden ? golden_case_find(golden, row->name) : NULL;
    pair->truth = tap ? tap->truth : NULL;
    pair->reference = reference;
    pair->candidate = candidate;
    pair->count = shape_count(row->shape);
    if (!candidate || !row->candidate_name || pair->count == 0) return false;
    pair->candidate_index = trace_file_find(candidate, row->candidate_name);
    if (pair->candidate_index == SIZE_MAX ||
        trace_file_statistics(candidate, pair->candidate_index) ||
        trace_file_at(candidate, pair->candidate_index)->count != pair->count)
        return false;
    if (tap) return shape_count(tap->shape) == pair->count;
    if (!reference) return false;
    pair->reference_index = trace_file_find(reference, row->name);
    return pair->reference_index != SIZE_MAX &&
           trace_file_at(reference, pair->reference_index)->count == pair->count;
}

static bool find_pair(pair_t *pair, const compare_row_t *row, const golden_case_t *golden,
                      trace_file_t *reference, trace_file_t *candidate) {
    if (!find_whole(pair, row, golden, reference, candidate)) return false;
    pair->start = compare_part(row, &pair->count);
    return true;
}

static int read_pair(pair_t *pair, size_t first, size_t count, err_t *err) {
    first += pair->start;
    if (trace_file_read(pair->candidate, pair->candidate_index, first, count, pair->a, err))
        return -1;
    if (!pair->truth)
        return trace_file_read(pair->reference, pair->reference_index, first, count, pair->b, err);
    const st_tensor_t *truth = pair->truth;
    const unsigned char *from = truth->data;
    dtype_to_double(pair->b, from + first * dtype_size(truth->dtype), truth->dtype, count);
    return 0;
}

/* |a - b|: 0 for an Inf that both hold, Inf or NaN for what diff_tensors calls a mismatch. */
static double difference(double a, double b) {
    return a == b ? 0 : fabs(a - b);
}

/* ---- what is gathered ------------------------------------------------------------------------ */

typedef struct {
    size_t height, width, sample; /* of the tensor seen as a matrix; numbers of the first sample */
    size_t rows, columns;         /* of the map */
    double sum[PICTURE_SIDE * PICTURE_SIDE];
    size_t number[PICTURE_SIDE * PICTURE_SIDE];
    bool broken[PICTURE_SIDE * PICTURE_SIDE]; /* NaN or Inf in the cell */
    double largest;                           /* finite |difference|, of the whole tensor */
    double low, high;                         /* log10 of the histogram's ends */
    size_t bin[PICTURE_BINS], equal, below, not_finite;
} picture_data_t;

static void set_frame(picture_data_t *p, shape_t shape) {
    int n = shape.ndim;
    p->width = n > 0 ? shape.dim[n - 1] : 1;
    p->height = n > 1 ? shape.dim[n - 2] : 1;
    p->sample = n > 2 ? shape_count(shape) / shape.dim[0] : p->height * p->width;
    p->rows = p->height < PICTURE_SIDE ? p->height : PICTURE_SIDE;
    p->columns = p->width < PICTURE_SIDE ? p->width : PICTURE_SIDE;
}

/* First pass: the largest, from which the histogram's range follows: the DECADES below it. */
static int find_largest(picture_data_t *p, pair_t *pair, err_t *err) {
    for (size_t first = 0; first < pair->count; first += CHUNK) {
        size_t count = pair->count - first < CHUNK ? pair->count - first : CHUNK;
        if (read_pair(pair, first, count, err)) return -1;
        for (size_t i = 0; i < count; i++) {
            double d = difference(pair->a[i], pair->b[i]);
            if (isfinite(d) && d > p->largest) p->largest = d;
        }
    }
    p->high = p->largest > 0 ? fmath_log(p->largest) / fmath_log(10) : 0;
    p->low = p->high - DECADES;
    return 0;
}

static void count_one(picture_data_t *p, double d) {
    if (!isfinite(d)) {
        p->not_finite++;
    } else if (d == 0) {
        p->equal++;
    } else {
        double place = (fmath_log(d) / fmath_log(10) - p->low) / DECADES * PICTURE_BINS;
        if (place < 0)
            p->below++;
        else
            p->bin[place < PICTURE_BINS ? (size_t)place : PICTURE_BINS - 1]++;
    }
}

/* The product stays far below 2^64: a file's dimensions are bounded by its bytes. */
static size_t cell_of(size_t index, size_t size, size_t cells) {
    return index * cells / size;
}

static void map_one(picture_data_t *p, size_t index, double d) {
    size_t row = index / p->width % p->height, column = index % p->width;
    size_t cell =
        cell_of(row, p->height, p->rows) * p->columns + cell_of(column, p->width, p->columns);
    p->number[cell]++;
    if (isfinite(d))
        p->sum[cell] += d / p->largest; /* relative, so that no sum overflows */
    else
        p->broken[cell] = true;
}

static int gather(picture_data_t *p, pair_t *pair, err_t *err) {
    if (find_largest(p, pair, err)) return -1;
    if (p->largest == 0) p->largest = 1; /* all differences are 0 or not finite */
    for (size_t first = 0; first < pair->count; first += CHUNK) {
        size_t count = pair->count - first < CHUNK ? pair->count - first : CHUNK;
        if (read_pair(pair, first, count, err)) return -1;
        for (size_t i = 0; i < count; i++) {
            double d = difference(pair->a[i], pair->b[i]);
            count_one(p, d);
            if (first + i < p->sample) map_one(p, first + i, d);
        }
    }
    return 0;
}

/* ---- as JSON --------------------------------------------------------------------------------- */

/* 01 .. fe on a logarithmic scale from low to high. */
static int level(double value, double low, double high) {
    double range = fmath_log(high) - fmath_log(low);
    double place = range > 0 ? (fmath_log(value) - fmath_log(low)) / range : 1;
    int step = 1 + (int)(place * 253 + 0.5);
    return step < 1 ? 1 : step > 254 ? 254 : step;
}

static json_t *map_value(picture_data_t *p) {
    char cells[2 * PICTURE_SIDE * PICTURE_SIDE + 1] = "";
    double low = INFINITY, high = 0;
    size_t count = p->rows * p->columns;
    for (size_t i = 0; i < count; i++) {
        p->sum[i] /= (double)p->number[i];
        if (p->sum[i] > 0 && p->sum[i] < low) low = p->sum[i];
        if (p->sum[i] > high) high = p->sum[i];
    }
    for (size_t i = 0; i < count; i++) {
        int value = p->broken[i] ? 255 : p->sum[i] > 0 ? level(p->sum[i], low, high) : 0;
        snprintf(cells + 2 * i, 3, "%02x", (unsigned)value);
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:s}", "rows", (json_int_t)p->rows, "columns",
                     (json_int_t)p->columns, "height", (json_int_t)p->height, "width",
                     (json_int_t)p->width, "low", high > 0 ? low * p->largest : 0, "high",
                     high * p->largest, "cells", cells);
}

static json_t *histogram_value(const picture_data_t *p) {
    json_t *bins = json_array();
    for (int i = 0; i < PICTURE_BINS; i++)
        json_array_append_new(bins, json_integer((json_int_t)p->bin[i]));
    return json_pack("{s:f, s:f, s:o, s:I, s:I, s:I}", "low", p->low, "high", p->high, "bins", bins,
                     "equal", (json_int_t)p->equal, "below", (json_int_t)p->below, "not_finite",
                     (json_int_t)p->not_finite);
}

json_t *report_pictures(const compare_result_t *result, const golden_case_t *golden,
                        trace_file_t *reference, trace_file_t *candidate, err_t *err) {
    size_t index[PICTURE_ROWS + 1];
    json_t *list = json_array();
    pair_t *pair = xcalloc(1, sizeof *pair);
    picture_data_t *data = xmalloc(sizeof *data);
    size_t count = report_worst(result, PICTURE_ROWS, index);
    int status = 0;
    for (size_t i = 0; i < count && !status; i++) {
        const compare_row_t *row = &result->row[index[i]];
        if (row->verdict == ROW_AGREES || !report_measured(row)) continue;
        if (!find_pair(pair, row, golden, reference, candidate)) continue;
        memset(data, 0, sizeof *data);
        shape_t part = row->shape;
        if (row->one_row) part.dim[0] = 1;
        set_frame(data, part);
        status = gather(data, pair, err);
        if (!status)
            json_array_append_new(list,
                                  json_pack("{s:I, s:o, s:o}", "index", (json_int_t)index[i], "map",
                                            map_value(data), "histogram", histogram_value(data)));
    }
    free(data);
    free(pair);
    if (!status) return list;
    json_decref(list);
    return NULL;
}
